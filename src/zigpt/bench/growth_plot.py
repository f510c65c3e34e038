"""The plot of the growth benchmark: step time against the cost formula, a panel for each sweep."""

from zigpt.bench.growth import Growth
from zigpt.runs.figure import as_png, new_figure

_MEASURED, _FORMULA = "#4477aa", "#cc6677"
_AXES = {
    "parameters": "parameters",
    "context": "context (characters)",
    "text": "text (characters)",
}


def draw_growth(growth: Growth) -> bytes:
    """Draw measured steps as dots with their spread and the formula as a line, as a PNG."""
    figure = new_figure(11.0, 4.0)
    panels = figure.subplots(1, len(_AXES), sharey=True)
    for axes, (sweep, label) in zip(panels, _AXES.items(), strict=True):
        rows = [row for row in zip(growth.cases, growth.steps, growth.values, strict=True)
                if row[0].sweep == sweep]  # fmt: skip
        sizes = [case.size for case, _, _ in rows]
        medians = [step.seconds for _, step, _ in rows]
        below = [step.seconds - min(values) for _, step, values in rows]
        above = [max(values) - step.seconds for _, step, values in rows]
        axes.errorbar(
            sizes, medians, (below, above), fmt="o", capsize=3, color=_MEASURED, label="measured"
        )
        expected = [growth.prices.seconds(step) for _, step, _ in rows]
        axes.plot(sizes, expected, "--", color=_FORMULA, label="cost formula")
        axes.set(xscale="log", yscale="log", xlabel=label)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("seconds per training step")
    panels[0].legend(loc="upper left", framealpha=1, edgecolor="none")
    return as_png(figure)
