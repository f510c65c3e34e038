"""What one server shows: a run, a model file alone, or nothing yet."""

import asyncio
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from zigpt.data.source import name_of
from zigpt.errors import ModelFileError
from zigpt.runs.paths import free_path, list_snapshots
from zigpt.web import questions
from zigpt.web.desk import Desk
from zigpt.web.guard import Refused
from zigpt.web.library import Library
from zigpt.web.looking import Windows
from zigpt.web.shelf import Shelf, Shown
from zigpt.web.training import Trainer
from zigpt.web.watch import describe_run, step_of_newest

LOOK_EVERY = 0.3  # seconds between looks at the run folder


class Site:
    """A path with all that is needed to ask about it; it changes when a training has begun.

    Without a path it is that of a run which is still to be made, of `text` or of the default.
    """

    def __init__(self, path: Path | None, device: torch.device, text: Path | None = None) -> None:
        self._device = device
        self.trainer = Trainer(text)
        self.desk = Desk()
        self.library, self.library_desk = Library(), Desk()  # to read a long text takes a while
        self.watching = 0
        self._looking = asyncio.Lock()
        self.show(path or free_path(name_of([text]) if text else "default"))

    def show(self, path: Path) -> None:
        """Show another run from now on."""
        self.path = path
        self.windows = Windows()
        self._shelf = Shelf(path, self._device)
        self._now: dict[str, Any] = {}
        self._looked = -LOOK_EVERY

    async def model(self, step: int | None = None) -> Shown:
        """The newest model there is, or that of a step, by the desk: reading it takes a while.

        Raises:
            Refused: there is none.
        """
        try:
            if step is None:
                return await self.desk.do(self._shelf.newest)
            return await self.desk.do(partial(self._shelf.at, step))
        except ModelFileError as error:
            raise Refused(404, f"{error.what}: {error.why}") from error

    async def describe(self) -> dict[str, Any]:
        """What the page begins with."""
        model: dict[str, Any] | None = None
        try:
            newest = await self.model()
            about = questions.describe(newest.saved)
            model = {**about, "version": newest.version, "trouble": newest.trouble}
        except Refused as refusal:
            if refusal.status != 404:
                raise
        return {
            "run": describe_run(self.path),
            "model": model,
            "snapshots": list_snapshots(self.path),
            "text": self.trainer.text,
        }

    async def now(self) -> dict[str, Any]:
        """What may change at any moment: looked at once for all who watch."""
        async with self._looking:
            if time.monotonic() - self._looked > LOOK_EVERY:
                run = await asyncio.to_thread(self.trainer.arrived)
                if run is not None and run != self.path:
                    self.show(run)
                self._now = await asyncio.to_thread(self._look)
                self._looked = time.monotonic()
        return self._now

    def _look(self) -> dict[str, Any]:
        return {
            "state": self.trainer.state(self.path),
            "trouble": self.trainer.trouble,
            "saved": step_of_newest(self.path),
            "model": self._shelf.version(),
            "snapshots": list_snapshots(self.path),
        }
