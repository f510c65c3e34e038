"""What one server shows: a run, a model file alone, or nothing yet."""

import asyncio
import contextlib
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from zigpt.data.source import name_of
from zigpt.errors import ModelFileError
from zigpt.gpt.config import PRESETS
from zigpt.runs.paths import free_path, list_snapshots
from zigpt.runs.request import LONGEST_MINUTES
from zigpt.web.copy_finder import CopyFinder
from zigpt.web.guard import Refused
from zigpt.web.handlers.windows import WindowCache
from zigpt.web.model_cache import CachedModel, ModelCache
from zigpt.web.training import SpellCommand, Trainer
from zigpt.web.watch import describe_run, step_of_newest
from zigpt.web.worker import Worker

POLL_EVERY = 0.3  # seconds: how often the run folder is checked for news


class AppState:
    """A path, and all that is needed to answer about it; it changes when a new run starts.

    Without a path it is the one where a training run on `text`, or on the default text, would go.
    """

    def __init__(
        self,
        path: Path | None,
        device: torch.device,
        spell: SpellCommand,
        text: Path | None = None,
    ) -> None:
        self._device = device
        self.trainer = Trainer(spell, text)
        self.worker = Worker()
        self.copy_finder, self.copy_worker = CopyFinder(), Worker()  # reading a text takes a while
        self.watching = 0
        self._polling = asyncio.Lock()
        self.show(path or free_path(name_of([text]) if text else "default"))

    def show(self, path: Path) -> None:
        """Show another run from now on."""
        self.path = path
        self.windows = WindowCache()
        self._models = ModelCache(path, self._device)
        self._news: dict[str, Any] = {}
        self._polled_at = -POLL_EVERY

    async def model(self, at: int | None = None) -> CachedModel:
        """Read the newest model, or the snapshot `at` a step.

        Raises:
            Refused: there is none, or too many requests are waiting.
        """
        try:
            if at is None:
                return await self.worker.run(self._models.newest)
            return await self.worker.run(partial(self._models.snapshot, at))
        except ModelFileError as error:
            raise Refused(404, f"{error.what}: {error.why}") from error

    async def describe(self) -> dict[str, Any]:
        """List what the page has to know first."""
        model = None
        with contextlib.suppress(ModelFileError):
            model = (await self.worker.run(self._models.newest)).describe()
        return {
            "run": describe_run(self.path),
            "model": model,
            "snapshots": list_snapshots(self.path),
            "text": self.trainer.text,
            "presets": ["auto", *PRESETS],
            "longest_minutes": LONGEST_MINUTES,
        }

    async def poll(self) -> dict[str, Any]:
        """Look up what may change at any time: once for all who watch."""
        async with self._polling:
            if time.monotonic() - self._polled_at > POLL_EVERY:
                run = await asyncio.to_thread(self.trainer.started_run)
                if run is not None and run != self.path:
                    self.show(run)
                self._news = await asyncio.to_thread(self._look_up)
                self._polled_at = time.monotonic()
        return self._news

    def _look_up(self) -> dict[str, Any]:
        return {
            "state": self.trainer.state(self.path),
            "trouble": self.trainer.trouble,
            "saved": step_of_newest(self.path),
            "model": self._models.version(),
            "snapshots": list_snapshots(self.path),
        }
