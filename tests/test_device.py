"""What a machine offers: its devices, its fastest precision, the batches that fit its caches."""

import contextlib
import ctypes
import platform
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zigpt.errors import UsageError
from zigpt.training.device import autocast, describe, micro_batch_size, pick_device, pick_precision

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda"), torch.device("mps")
sizes = st.integers(1, 600)


@pytest.fixture
def machine(monkeypatch):
    """Pretend to have a number of CUDA devices, and MPS or not."""

    def have(cuda: int = 0, mps: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return have


@pytest.mark.parametrize(
    ("cuda", "mps", "best"),
    [(0, False, "cpu"), (0, True, "mps"), (1, False, "cuda"), (2, True, "cuda")],
)
def test_the_best_device_is_the_default(machine, cuda, mps, best):
    machine(cuda, mps)
    assert pick_device() == pick_device("auto") == torch.device(best)


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:0", "cuda:1", "mps"])
def test_a_device_of_this_machine_can_be_chosen(machine, name):
    machine(cuda=2, mps=True)
    assert pick_device(name) == torch.device(name)


@pytest.mark.parametrize(
    ("cuda", "mps", "name", "offered", "advised"),
    [
        (0, False, "cuda", "cpu", "cpu"),
        (0, False, "mps", "cpu", "cpu"),
        (0, False, "tpu", "cpu", "cpu"),
        (0, False, "", "cpu", "cpu"),
        (0, True, "cuda:0", "mps, cpu", "mps"),
        (2, False, "cuda:2", "cuda, cuda:0, cuda:1, cpu", "cuda"),
        (1, True, "xpu", "cuda, cuda:0, mps, cpu", "cuda"),
    ],
)
def test_an_absent_device_is_refused_with_those_on_offer(
    machine, cuda, mps, name, offered, advised
):
    machine(cuda, mps)
    with pytest.raises(UsageError) as refusal:
        pick_device(name)
    assert str(refusal.value) == (
        f"no device named {name!r} here\n"
        f"why: this machine offers {offered}\n"
        f"fix: use `device` {advised}, or leave it out"
    )
    assert refusal.value.exit_code == 2


def test_a_cpu_is_described_with_its_threads(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    assert describe(CPU) == "CPU, 7 threads"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert describe(CPU) == "CPU, 1 thread"


def test_a_gpu_is_described_by_its_own_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Maker {device}")
    assert describe(torch.device("cuda:1")) == "Maker cuda:1"
    assert describe(MPS) == "mps"


@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_bfloat16_is_chosen_exactly_where_the_hardware_has_it(monkeypatch, has_bfloat16):
    asked = []

    def cuda_has_it(including_emulation: bool = True) -> bool:
        asked.append(including_emulation)
        return has_bfloat16 or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", cuda_has_it)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has_bfloat16})
    expected = torch.bfloat16 if has_bfloat16 else torch.float32
    assert pick_precision(CUDA) == pick_precision(CPU) == expected
    assert pick_precision(MPS) == torch.float32
    assert asked == [False]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="not an x86 CPU")
def test_torch_reports_bfloat16_under_the_name_that_is_read():
    assert "avx512_bf16" in torch.cpu.get_capabilities()


@pytest.mark.parametrize("device", [CPU, CUDA, MPS], ids=str)
def test_a_chosen_precision_is_used_on_any_hardware(device):
    assert pick_precision(device, "bfloat16") == torch.bfloat16
    assert pick_precision(device, "float32") == torch.float32


def test_autocast_is_off_for_float32_and_lowers_only_matrix_products():
    x = torch.ones(2, 2)
    with autocast(CPU, torch.float32) as nothing:
        assert (x @ x).dtype == torch.float32
    assert nothing is None
    assert isinstance(autocast(CPU, torch.float32), contextlib.nullcontext)
    with autocast(CPU, torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16
        assert (x + x).dtype == torch.float32
    assert (x @ x).dtype == torch.float32


@given(batch_size=sizes, block_size=st.integers(1, 3000), n_embd=st.integers(1, 3000))
def test_a_cpu_gets_the_fewest_nearly_equal_micro_batches_that_fit_its_caches(
    batch_size, block_size, n_embd
):
    size = micro_batch_size(batch_size, block_size, n_embd, CPU)
    fitting = max(1, 2**21 // (block_size * n_embd))
    parts = -(-batch_size // size)
    assert 1 <= size <= min(batch_size, fitting)
    assert parts == -(-batch_size // fitting)
    assert parts * (size - 1) < batch_size  # a smaller size would need more of them


@given(batch_size=sizes, block_size=sizes, n_embd=sizes, factor=st.integers(1, 20))
def test_larger_windows_never_go_through_in_larger_micro_batches(
    batch_size, block_size, n_embd, factor
):
    size = micro_batch_size(batch_size, block_size, n_embd, CPU)
    assert micro_batch_size(batch_size, block_size * factor, n_embd, CPU) <= size
    assert micro_batch_size(batch_size, block_size, n_embd * factor, CPU) <= size


@pytest.mark.parametrize("device", [CUDA, MPS], ids=str)
def test_on_other_devices_the_whole_batch_goes_through_at_once(device):
    assert micro_batch_size(64, 4096, 4096, device) == 64
    assert micro_batch_size(61, 1, 1, device) == 61


def test_a_micro_batch_holds_at_least_one_window_however_large():
    assert micro_batch_size(7, 10**6, 10**6, CPU) == 1


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not the GNU C library")
def test_freed_memory_is_kept_and_not_faulted_in_again_page_by_page():
    program = """
import resource, torch
from zigpt.training.device import keep_freed_memory
if {keep}: keep_freed_memory()
for _ in range(3): torch.ones(9_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(30): torch.ones(9_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    faults = [
        int(subprocess.check_output([sys.executable, "-c", program.format(keep=keep)]))
        for keep in (False, True)
    ]
    assert faults[1] * 5 < faults[0]
