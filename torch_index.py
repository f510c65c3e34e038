"""Say where `make` should fetch PyTorch from: print an index, or nothing for the usual one.

On Linux the usual build brings CUDA libraries of several gigabytes. Where there is no NVIDIA GPU,
PyTorch's own index has one for the CPU, a tenth as large, that does the same. ZIGPT_TORCH_INDEX
names another index, such as a mirror, or, left empty, forbids any. An index that does not answer
within a few seconds, or lacks a wheel for this Python, is done without. Needs no package.
"""

import os
import re
import shutil
import sys
import sysconfig
import threading
import urllib.request
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urljoin

CPU = "https://download.pytorch.org/whl/cpu"
PATIENCE = 4.0  # seconds, for all questions together
NVIDIA = ("/proc/driver/nvidia/version", "/usr/lib/wsl/lib/nvidia-smi")


def main() -> None:
    """Print the index on stdout, and in words on stderr what will be fetched."""
    index = wanted_index()
    if not index:
        return
    wheel, size = ask(index, locked_version())
    if wheel:
        print(index)
        say(
            f"PyTorch for the CPU: {wheel}{size} from {index}",
            f"CPU 版 PyTorch：{wheel}{size}，来自 {index}",
        )
    else:
        say(
            f"{index} has no answer within {PATIENCE:.0f} s, or no wheel for this Python: PyTorch "
            "comes from the usual index; on Linux that is several GB, with CUDA libraries",
            f"{index} 在 {PATIENCE:.0f} 秒内没有回应，或没有适合这个 Python 的安装包：改从默认的源"
            "安装 PyTorch；在 Linux 上它带有 CUDA 库，有好几 GB",
        )


def wanted_index() -> str:
    """Choose the index by the environment and the hardware."""
    named = os.environ.get("ZIGPT_TORCH_INDEX")
    if named is not None:
        return named
    has_gpu = shutil.which("nvidia-smi") or any(os.path.exists(path) for path in NVIDIA)
    return "" if has_gpu or sys.platform != "linux" else CPU


def locked_version() -> str:
    """Look up which PyTorch the lock file names."""
    lock = Path(__file__).with_name("requirements.lock").read_text(encoding="utf-8")
    return re.search(r"^torch==(\S+)", lock, re.MULTILINE)[1]


def ask(index: str, version: str) -> tuple[str, str]:
    """Find the wheel of a version and its size in words; empty if time is up or there is none."""
    found: list[str] = []

    def attempt() -> None:
        with suppress(Exception):  # whatever goes wrong is no answer
            look_up(index, version, found)

    # In a thread of its own: neither a name server nor a trickle of bytes minds a timeout.
    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    wheel, size = [*found, "", ""][:2]
    return wheel, size


def look_up(index: str, version: str, found: list[str]) -> None:
    """Append the wheel's name to `found`, and then its size."""
    page = f"{index.rstrip('/')}/torch/"
    with urllib.request.urlopen(page, timeout=PATIENCE) as answer:
        links = re.findall(r'href="([^"#]+)', answer.read().decode())
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    machine = sysconfig.get_platform().partition("-")[2].replace("-", "_")
    name = rf"torch-{re.escape(version)}(\+\w+)?-{tag}-{tag}-\w*{machine}\.whl"
    link = next(link for link in links if re.search(name, unquote(link)))
    found.append(unquote(link).rpartition("/")[2])
    head = urllib.request.Request(urljoin(page, link), method="HEAD")
    with urllib.request.urlopen(head, timeout=PATIENCE) as answer:
        found.append(f" ({int(answer.headers['Content-Length']) / 1e6:.0f} MB)")


def say(english: str, chinese: str) -> None:
    """Tell the person, beside what `make` reads, in the language that zigpt will speak."""
    variables = map(os.environ.get, ("ZIGPT_LANG", "LC_ALL", "LC_MESSAGES", "LANG"))
    is_chinese = next(filter(None, variables), "").lower().startswith("zh")
    print(chinese if is_chinese else english, file=sys.stderr)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # without waiting for an index that never ends
