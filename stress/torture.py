"""`make torture MINUTES=30 SEED=1`: every campaign for its share of the time, two at once.

A broken promise is printed with the seed and case that reproduce it; the exit code is then 1.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

# The campaigns of a row run one after the other, each for its share of the time.
ROWS = (
    {"model_files": 0.7, "processes": 0.3},
    {"kills": 0.35, "failures": 0.3, "power": 0.15, "damage": 0.05, "texts": 0.05,
     "settings": 0.05, "names": 0.05},
)  # fmt: skip


def main(minutes: float, seed: int) -> int:
    """Run all campaigns; return how many of them failed."""
    print(f"seed {seed}, {minutes:g} minutes on {os.cpu_count()} processors", flush=True)
    rows = [list(row.items()) for row in ROWS]
    running: list[tuple[str, subprocess.Popen[str]] | None] = [None] * len(rows)
    failed = 0
    while any(rows) or any(running):
        for place, row in enumerate(rows):
            now = running[place]
            if now and now[1].poll() is not None:
                failed += not _print_report(*now)
                running[place] = now = None
            if row and not now:
                name, share = row.pop(0)
                running[place] = name, _start(name, seed, minutes * 60 * share)
        time.sleep(0.2)
    print(f"{failed} of {sum(map(len, ROWS))} campaigns failed")
    return failed


def _start(name: str, seed: int, seconds: float) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "stress", name, str(seed), f"{seconds}s"]
    # In memory if possible: so many small files would only wear out a disk.
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()
    environment = {**os.environ, "TMPDIR": place, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def _print_report(name: str, process: "subprocess.Popen[str]") -> bool:
    out, _ = process.communicate()
    if not out:
        print(f"{name}: ended with {process.returncode}", flush=True)
        return False
    report = json.loads(out)
    outcomes = ", ".join(f"{count:,} {what}" for what, count in sorted(report["outcomes"].items()))
    print(
        f"{name}: {report['cases']:,} cases ({outcomes}); slowest {report['slowest']:.2f} s; "
        f"at most {report['most_memory'] >> 20} MB; {len(report['failures'])} failures",
        *report["failures"][:20],
        sep="\n  ",
        flush=True,
    )
    return not process.returncode


if __name__ == "__main__":
    sys.exit(bool(main(float(sys.argv[1]), int(sys.argv[2]))))
