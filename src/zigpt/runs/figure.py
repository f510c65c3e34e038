"""An empty matplotlib figure, and a figure as a PNG. matplotlib is loaded only to draw."""

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs


def new_figure(width: float, height: float) -> Any:
    """Make an empty figure; sizes in inches, of 120 pixels."""
    with _place_for_fonts():  # matplotlib takes 0.3 s to load
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def as_png(figure: Any) -> bytes:
    """Draw a figure."""
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=120)
    return image.getvalue()


@contextmanager
def _place_for_fonts() -> Iterator[None]:
    """Let matplotlib keep its list of fonts in zigpt's cache, or not at all.

    By default it takes the home folder; where that cannot be written to, it prints a warning and
    leaves a temporary folder behind.
    """
    if "MPLCONFIGDIR" in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = platformdirs.user_cache_path("zigpt") / "matplotlib"
        os.environ["MPLCONFIGDIR"] = str(folder if _is_writable(folder) else temporary)
        try:
            yield
        finally:
            del os.environ["MPLCONFIGDIR"]


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)
