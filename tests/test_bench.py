"""The benchmark measures what it claims to; no speed is tested."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import zigpt
from tests.texts import story
from zigpt.bench import growth as growth_module
from zigpt.bench import limits
from zigpt.bench.cost import Prices, Step, deviations, matrix_flops, training_flops
from zigpt.bench.growth import Case, measure_growth, standard_cases
from zigpt.bench.growth_plot import draw_growth
from zigpt.bench.plain import load_textbook
from zigpt.bench.record import Trained
from zigpt.bench.record import lines as record_lines
from zigpt.bench.rounds import Comparison, compare, rate, shown
from zigpt.bench.saving import compare_saving
from zigpt.bench.speed import (
    compare_memory,
    compare_training,
    compare_writing,
    measure_start,
    measure_text,
    random_text,
)
from zigpt.cli import bench
from zigpt.cli.main import main
from zigpt.gpt.config import GPTConfig, TrainConfig
from zigpt.runs.record import read_record
from zigpt.training.device import pick_precision, precision_name

CPU = torch.device("cpu")
SMALL = GPTConfig(vocab_size=65, block_size=16, n_layer=2, n_head=2, n_embd=16)


@pytest.fixture(autouse=True)
def short_turns(monkeypatch):
    monkeypatch.setattr(limits, "_SIDE", 32)
    monkeypatch.setattr(limits, "_BYTES", 1 << 16)
    monkeypatch.setattr(limits, "_CALLS", 20)
    monkeypatch.setattr(growth_module, "_TURN", 0.0)


def is_sound(comparison: Comparison, rounds: int) -> bool:
    numbers = [number for values in comparison.values.values() for number in values]
    compared = {comparison.reference, comparison.limit} - {None}
    return (
        all(len(values) == rounds for values in comparison.values.values())
        and all(0 < number < math.inf for number in numbers)
        and compared <= comparison.values.keys()
        and len(comparison.lines()) == 1 + len(comparison.values)
    )


def test_sides_alternate_after_warming_up():
    calls = []
    sides = {name: lambda name=name: calls.append(name) or float(len(calls)) for name in "ab"}
    comparison = compare("order", "calls", 2, sides)
    assert calls == ["a", "b", "a", "b", "a", "b"]
    assert comparison.values == {"a": [3, 5], "b": [4, 6]}


@pytest.mark.parametrize(("less_is_better", "times"), [(False, 0.5), (True, 2.0)])
def test_where_less_is_better_the_ratio_is_inverted(less_is_better, times):
    values = {"ours": [1.0, 9.0, 2.0], "theirs": [4.0, 0.0, 5.0]}
    comparison = Comparison("x", "s", values, less_is_better=less_is_better)
    assert comparison.median("ours") == 2.0
    assert comparison.times_better("ours", "theirs") == times


def test_a_rate_is_the_amount_over_the_elapsed_time(monkeypatch):
    times = iter([10.0, 10.5])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    assert rate(lambda: None, 20) == 40


def test_numbers_are_shown_with_three_digits():
    assert [shown(x) for x in (12345.6, 99.94, 0.12345)] == ["12,346", "99.9", "0.123"]


def test_every_side_of_training_and_writing_runs_at_any_shape():
    config = TrainConfig(batch_size=2)
    training = compare_training(SMALL, config, CPU, 2)
    assert is_sound(training, 2)
    assert list(training.values)[:2] == ["zigpt", "textbook"]
    one, several = (compare_writing(SMALL, count, CPU, 2, (4, 4, 2)) for count in (1, 3))
    assert is_sound(one, 2)
    assert is_sound(several, 2)
    precision = precision_name(pick_precision(CPU))
    assert training.limit == several.limit == f"limit: {precision} products"


def test_text_to_ids_and_the_limits_are_measured():
    for measured in (measure_text(CPU, 2, 4000), limits.measure_limits(CPU, 2)):
        assert all(is_sound(comparison, 2) for comparison in measured)


def test_saving_is_measured_on_the_given_disk_and_leaves_nothing(tmp_path):
    saving = compare_saving(SMALL, TrainConfig(batch_size=2), tmp_path, CPU, 2)
    assert is_sound(saving, 2)
    assert saving.title.startswith("saving, ")
    assert list(tmp_path.iterdir()) == []


def test_memory_and_first_character_are_those_of_real_processes():
    first, memory = measure_start(CPU, 1)
    assert is_sound(first, 1)
    assert is_sound(memory, 1)
    assert memory.median("python, doing nothing") < memory.median("zigpt --help")
    assert memory.median("zigpt --help") < memory.median("importing torch") / 2


def test_the_memory_of_training_is_that_of_real_processes():
    memory = compare_memory("tiny")
    assert is_sound(memory, 1)
    assert memory.median("importing torch") < memory.median("zigpt")


def test_the_textbook_takes_any_shape_and_learns_in_whole_batches():
    torch.manual_seed(0)
    wide, v2 = load_textbook(GPTConfig(5, 8, 3, 4, 32)), load_textbook(SMALL)
    model = v2.GPT(SMALL.vocab_size)
    assert sum(p.numel() for p in model.parameters()) == SMALL.n_parameters
    assert (wide.N_EMBED, v2.N_EMBED) == (32, 16)  # one shape leaves the other alone
    batches = []
    model.register_forward_pre_hook(lambda _, ids: batches.append(ids[0].shape))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    ids = torch.randint(5, (3, 16))

    def loss() -> float:
        return torch.nn.functional.cross_entropy(model(ids).flatten(0, 1), ids.flatten()).item()

    before = loss()
    for _ in range(20):
        v2.train_step(model, optimizer, ids, ids, at_once=3)
    assert loss() < before / 2
    assert set(batches) == {ids.shape}
    assert v2.generate(model, ids, 4).shape == (3, 20)
    assert v2.encode("baab", ["a", "b"]) == [1, 0, 0, 1]


def test_flops_equal_a_count_by_hand():
    model = GPTConfig(vocab_size=10, block_size=8, n_layer=3, n_head=2, n_embd=4)
    weights = 3 * (4 * 12 + 4 * 4 + 4 * 16 + 16 * 4) + 10 * 4
    assert matrix_flops(model) == 3 * 2 * weights
    # Each of 8 positions multiplies with 8 / 2 others on average, for scores and for values.
    assert training_flops(model) == matrix_flops(model) + 3 * 3 * (2 * 2 * 4 * 8 // 2)


def test_prices_are_recovered_from_steps_that_cost_exactly_that():
    prices = Prices(flop=3e-12, score=5e-9, activation=4e-8)
    steps = []
    for case in standard_cases():
        step = Step(case.model, case.batch_size, seconds=1.0)
        steps.append(Step(case.model, case.batch_size, prices.seconds(step)))
    found = Prices.fit(steps)
    assert found.flop == pytest.approx(prices.flop)
    assert found.score == pytest.approx(prices.score)
    assert found.activation == pytest.approx(prices.activation)
    assert deviations(steps) == pytest.approx([0.0] * len(steps), abs=1e-6)


def test_a_step_that_breaks_the_formula_shows_in_its_own_deviation():
    prices = Prices(flop=3e-12, score=5e-9, activation=4e-8)
    steps = [
        Step(case.model, case.batch_size, prices.seconds(Step(case.model, case.batch_size, 1.0)))
        for case in standard_cases()
    ]
    slow = Step(steps[3].model, steps[3].batch_size, 2 * steps[3].seconds)
    off = deviations([*steps[:3], slow, *steps[4:]])
    assert off[3] == pytest.approx(-0.5, abs=1e-6)
    assert np.argmax(np.abs(off)) == 3


def test_the_sweeps_cover_their_ranges():
    sizes = {
        sweep: [case.size for case in standard_cases() if case.sweep == sweep]
        for sweep in ("parameters", "context", "text")
    }
    assert sizes["parameters"][0] < 10**6 < 4 * 10**7 < sizes["parameters"][-1]
    assert (sizes["context"][0], sizes["context"][-1]) == (64, 4096)
    assert (sizes["text"][0], sizes["text"][-1]) == (10**6, 10**9)


def test_growth_is_measured_and_plotted(tmp_path):
    cases = [
        *(Case("parameters", GPTConfig(65, 32, n, 2, 16), 2000) for n in (1, 2, 3)),
        *(Case("context", GPTConfig(65, t, 1, 2, 16), 9000) for t in (64, 8192)),
        *(Case("text", GPTConfig(65, 16, 1, 2, 16), n) for n in (2000, 50_000)),
    ]
    found = measure_growth(cases, CPU, 2, tmp_path)
    assert not list(tmp_path.iterdir())
    assert [case.batch_size for case in cases] == [128, 128, 128, 64, 1, 256, 256]
    assert all(len(values) == 2 and min(values) > 0 for values in found.values)
    assert len(found.deviations) == len(found.steps) == len(cases)
    assert draw_growth(found).startswith(b"\x89PNG")


def test_random_texts_use_their_whole_alphabet():
    assert set(random_text(1000, "abc")) == set("abc")
    assert len(random_text(1000)) == 1000


def test_the_record_shows_mean_spread_and_extremes_of_the_seeds():
    runs = [
        Trained(name, seed, 60.0 + seed, to_goal, loss, "a text")
        for name, to_goal, losses in (
            ("1 minute", None, (1.5, 1.52, 1.51)),
            ("3 minutes", 144.2, (1.44, 1.46)),
        )
        for seed, loss in enumerate(losses)
    ]
    text, head, one, three, *_, laptop, a100, seeds = record_lines(runs)
    assert text == "a text"
    assert head.split() == [
        "nats",
        "spread",
        "bits",
        "lowest",
        "highest",
        "seconds",
        "below",
        "1.4697",
    ]
    assert " ".join(one.split()) == "zigpt, 1 minute 1.5100 0.0100 2.1785 1.5000 1.5200 61.0"
    assert three.split()[3:] == ["1.4500", "0.0141", "2.0919", "1.4400", "1.4600", "60.5", "144.2"]
    assert laptop.split()[-4] == "1.8800"
    assert a100.split()[-4] == "1.4697"
    assert seeds.split()[-5:-2] == ["1.4655", "0.0027", "2.1142"]


class TestTheCommand:
    def test_prints_one_json_object_and_saves_it(self, tmp_path, capsys):
        assert main(["bench", "limits", "--rounds=1", "--json", f"--run={tmp_path / 'b'}"]) == 0
        captured = capsys.readouterr()
        printed = json.loads(captured.out)
        assert printed == json.loads((tmp_path / "b" / "bench.json").read_text())
        assert printed["growth"] is None
        sides = printed["comparisons"][0]["sides"]
        in_hardware = {precision_name(pick_precision(torch.device("cpu")))}
        assert set(sides) == {"float32"} | in_hardware  # others would take minutes
        assert sides["float32"]["median"] == sides["float32"]["values"][0] > 0
        assert "matrix products, GFLOP/s" in captured.err

    def test_plots_the_growth(self, tmp_path, capsys, monkeypatch):
        cases = [
            Case(sweep, GPTConfig(65, block_size, 1, 2, width), chars)
            for sweep in ("parameters", "context", "text")
            for block_size, width, chars in ((16, 16, 2000), (32, 32, 3000))
        ]
        monkeypatch.setattr("zigpt.cli.bench.standard_cases", lambda: cases)
        assert main(["bench", "growth", "--rounds=1", f"--run={tmp_path / 'b'}"]) == 0
        assert (tmp_path / "b" / "growth.png").read_bytes().startswith(b"\x89PNG")
        table = capsys.readouterr().out
        assert "seconds per training step" in table
        assert len(json.loads((tmp_path / "b" / "bench.json").read_text())["growth"]["points"]) == 6

    def test_uses_a_free_folder_when_none_is_given(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for _ in range(2):
            assert main(["bench", "limits", "--rounds=1"]) == 0
        assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["bench", "bench-2"]

    def test_the_record_is_of_real_training_runs(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        Path("input.txt").write_text(story(3000), encoding="utf-8")
        assert main(["bench", "record", "--rounds=1", "--minutes=0.04", "--run=bench"]) == 0
        (trained,) = json.loads(Path("bench", "bench.json").read_text())["record"]
        run = Path("bench", "0.04-minutes-seed-1337")
        assert read_record(run).training.seed == trained["seed"] == 1337
        assert trained["loss"] == pytest.approx(zigpt.load(run).loss(story(3000)[-300:]))
        assert trained["name"] == "0.04 minutes"
        assert trained["seconds"] > 1
        shown = capsys.readouterr().out
        assert f"zigpt, 0.04 minutes {trained['loss']:>32.4f}" in shown
        assert trained["text"].startswith("the validation split of ")

    def test_of_a_gpu_the_step_and_five_runs_of_its_preset_are_measured(
        self, tmp_path, monkeypatch, capsys
    ):
        monkeypatch.chdir(tmp_path)
        Path("input.txt").write_text(story(3000), encoding="utf-8")
        small = ["--n-layer=1", "--n-embd=12", "--block-size=16", "--batch-size=4", "--max-steps=9"]
        monkeypatch.setattr(
            "zigpt.cli.bench.GPU_PRESET", {"preset gpu": ["--preset", "gpu", *small]}
        )
        monkeypatch.setitem(bench._PARTS, "gpu", limits.measure_limits)  # as quick as it gets
        assert main(["bench", "gpu", "--run=bench"]) == 0
        kept = json.loads(Path("bench", "bench.json").read_text())
        assert [run["seed"] for run in kept["record"]] == [1337, 1338, 1339, 1340, 1341]
        assert [each["unit"] for each in kept["comparisons"]] == ["GFLOP/s", "GB/s", "microseconds"]

    def test_a_training_run_of_the_record_that_is_refused_says_why_and_ends_it(
        self, tmp_path, monkeypatch, capfd
    ):
        monkeypatch.chdir(tmp_path)
        Path("input.txt").write_text("abcab", encoding="utf-8")
        assert main(["bench", "record", "--rounds=1", "--minutes=1"]) == 3
        assert capfd.readouterr().err.startswith("error: 5 characters are too few")

    def test_a_time_that_is_none_is_refused_before_anything_is_made(
        self, tmp_path, monkeypatch, capsys
    ):
        monkeypatch.chdir(tmp_path)
        assert main(["bench", "record", "--minutes=3", "--minutes=-1"]) == 2
        assert "--minutes -1.0 is not a time to train" in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []

    def test_refuses_zero_rounds_and_an_occupied_folder(self, tmp_path, capsys):
        assert main(["bench", "--rounds=0"]) == 2
        assert "--rounds 0 measures nothing" in capsys.readouterr().err
        (tmp_path / "notes.txt").write_text("mine")
        assert main(["bench", "limits", f"--run={tmp_path}"]) == 4
        assert main(["bench", "nothing"]) == 2
