"""Checkpoints with one damaged file."""

import shutil
from pathlib import Path

from stress.crashes import CPU, Life, undisturbed
from stress.report import Report, each_case
from zigpt.runs.checkpoint import list_checkpoints, restore_newest
from zigpt.training.loop import TrainState

FILES = ("weights.safetensors", "optimizer.safetensors", "counters.json", "MANIFEST.json")
KINDS = ("flip", "flip", "flip", "flip", "cut", "swap", "zeros", "longer", "gone")


def campaign(
    folder: Path, seed: int, cases: int | None = None, seconds: float | None = None
) -> Report:
    """Damage the newest checkpoint: it must be detected and set aside, the previous one loaded."""
    life = Life.small(folder / "life")
    undisturbed(life)
    *_, before, newest = list_checkpoints(life.folder / "undisturbed" / "checkpoints")
    state = TrainState.initialise(life.model, life.config, CPU)
    report = Report()
    for name, choose in each_case(report, seed, cases, seconds):
        kind, file = choose.choice(KINDS), choose.choice(FILES)
        data = bytearray((newest / file).read_bytes())
        at = choose.randrange(len(data))
        if kind == "flip":
            data[at] ^= 1 << choose.randrange(8)
        elif kind == "cut":
            del data[at:]
        elif kind == "zeros":
            data[at : at + choose.choice((1, 512, 4096))] = bytes(len(data[at : at + 4096]))
        elif kind == "longer":
            data += data[at:]
        else:
            data = bytearray((before / file).read_bytes())
        if kind != "gone" and bytes(data) == (newest / file).read_bytes():
            continue
        report.count(kind)
        place = folder / "damaged"
        shutil.copytree(newest.parent, place)
        damaged = place / newest.name
        (damaged / file).unlink() if kind == "gone" else (damaged / file).write_bytes(data)
        with report.failing(f"{name} ({kind} in {file} at {at})"):
            notices: list[str] = []
            restore_newest(place, state, notices.append)
            assert state.step == int(before.name[5:]), f"resumed at {state.step}"
            assert "".join(notices).startswith(f"{newest.name} is damaged"), notices
            assert (place / f"{newest.name}.bad").is_dir()
        shutil.rmtree(place)
    return report
