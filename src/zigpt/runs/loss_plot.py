"""`loss.png`: both losses over the steps, the baseline ladder dashed, the best step marked."""

from collections.abc import Sequence
from typing import Any

from zigpt.data.baselines import Ladder
from zigpt.runs.figure import as_png, new_figure

_TRAIN, _VALIDATION, _RUNG = "#4477aa", "#cc6677", "#777777"  # also distinct to the colour-blind


def draw_losses(rows: Sequence[dict[str, Any]], ladder: Ladder) -> bytes:
    """Draw the rows of metrics.jsonl as a PNG; losses in nats per character."""
    figure = new_figure(8.0, 5.0)
    axes = figure.add_subplot()
    steps = [row["step"] for row in rows]
    axes.plot(steps, [row["train_loss"] for row in rows], color=_TRAIN, label="train")
    losses = [row["val_loss"] for row in rows]
    axes.plot(steps, losses, color=_VALIDATION, marker="o", markersize=3, label="validation")
    best = min(range(len(rows)), key=losses.__getitem__)
    axes.plot(steps[best], losses[best], "*", color=_VALIDATION, markersize=14)
    axes.annotate(
        f"best {losses[best]:.3f}, step {steps[best]}",
        (steps[best], losses[best]),
        xytext=(0, 12),
        textcoords="offset points",
        ha="right" if best else "left",
        color=_VALIDATION,
    )
    for rung in ladder.rungs:
        axes.axhline(rung.loss, color=_RUNG, linestyle="--", linewidth=0.8)
        axes.text(
            1.0, rung.loss, f" {rung.name}", color=_RUNG, va="center",
            transform=axes.get_yaxis_transform(),
        )  # fmt: skip
    axes.set(xlabel="step", ylabel="loss (nats per character)")
    axes.legend(loc="upper right", framealpha=1, edgecolor="none")
    axes.spines[["top", "right"]].set_visible(False)
    return as_png(figure)
