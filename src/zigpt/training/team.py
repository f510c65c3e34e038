"""Several processes that train one model: process 0 leads, all compute.

torchrun starts them; `join` brings those of one job together. Nothing is decided but by process 0:
it tells the others what comes next, and each computes its parts of the batch.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

from zigpt.errors import ProcessLostError
from zigpt.language import tr

HANGS_AFTER = timedelta(minutes=5)  # a process that says nothing for so long is taken for dead
_LONGEST_START = timedelta(days=7)  # of process 0: a large text is read and encoded first
WAIT = "wait"  # an order: there is nothing to compute for the moment
_RUN, _STARTED = "zigpt/run", "started"


class GivenUp(Exception):
    """Process 0 has given up a step: its gradients are of no use."""


class Team:
    """The processes of one training; by default only this one.

    Raises:
        ProcessLostError: by every method that needs another process: it is gone, or hangs.
    """

    def __init__(
        self,
        rank: int = 0,
        size: int = 1,
        store: TCPStore | None = None,  # outlives a restart
        attempt: PrefixStore | None = None,  # of these processes alone
    ) -> None:
        self.rank, self.size, self._store, self._attempt = rank, size, store, attempt
        self._has_started = self._is_dismissed = False

    def add_up(self, part: Callable[[int], list[Tensor]], parts: int) -> list[Tensor]:
        """Add up what `part` computes for each number below `parts`, a power of two.

        The sums of both halves are added, and so on within each. Each process computes a branch of
        that tree, so the sums have the same bits however many processes share it. Where there are
        more processes than parts, some compute what another does.

        Raises:
            GivenUp: in another process `part` has failed.
        """
        first, count = self._own(parts)
        try:
            sums = _branch(part, first, count)
        except BaseException:
            self._agree(False)
            raise
        if self.size == 1:
            return sums
        if not self._agree(True):
            raise GivenUp
        flat = torch.cat([each.flatten() for each in sums])
        gathered = [torch.empty_like(flat) for _ in range(self.size)]
        with _together():
            distributed.all_gather(gathered, flat)
        pieces = _tree(gathered, parts).split([each.numel() for each in sums])
        return [piece.view_as(each) for piece, each in zip(pieces, sums, strict=True)]

    def _own(self, parts: int) -> tuple[int, int]:
        """Tell which parts are this process's: the first, and how many."""
        first, processes = 0, range(self.size)
        while len(processes) > 1 and parts > 1:
            parts //= 2
            middle = (len(processes) + 1) // 2
            is_right = self.rank >= processes[middle]
            processes = processes[middle:] if is_right else processes[:middle]
            first += parts * is_right
        return first, parts

    def _agree(self, is_fine: bool) -> bool:
        """Whether it is fine for all."""
        answers = [torch.zeros(1) for _ in range(self.size)]
        if self.size > 1:
            with _together():
                distributed.all_gather(answers, torch.tensor([float(is_fine)]))
        return all(answers)

    def tell(self, order: Any) -> None:
        """Let the others know what comes next; process 0 only."""
        if self.size > 1:
            with _together():
                distributed.broadcast_object_list([order])

    def meanwhile(self, check: Callable[[], None]) -> Callable[[], None]:
        """Let the others know, whenever `check` is called, that process 0 is still at work."""

        def check_and_tell() -> None:
            check()
            self.tell(WAIT)

        return check_and_tell if self.size > 1 else check

    def hear(self) -> Any:
        """Wait for what process 0 tells; the others only."""
        order = [None]
        with _together():
            distributed.broadcast_object_list(order)
        return order[0]

    @torch.no_grad()
    def spread(self, tensors: Iterable[Tensor]) -> None:
        """Give the others' tensors the values of those of process 0."""
        if self.size > 1:
            with _together():
                for tensor in tensors:
                    distributed.broadcast(tensor, 0)

    @property
    def leads(self) -> bool:
        """Whether this is process 0."""
        return self.rank == 0

    @property
    def run(self) -> str | None:
        """The run folder that these processes had before torchrun started them again."""
        if self._store is None or not self._store.check([_RUN]):
            return None
        return str(self._store.get(_RUN).decode())

    def remember_run(self, path: str) -> None:
        """Let the processes that may follow these resume the same run."""
        if self._store is not None:
            self._store.set(_RUN, path)

    def start(self, job: Any) -> None:
        """Hand the others their job, for which they may have waited long; process 0 only."""
        if self._attempt is not None:
            self._has_started = True
            self._attempt.set(_STARTED, "")
            self.tell(job)

    def wait_for_job(self) -> Any:
        """Wait for what process 0 hands to `start`; None: there is nothing to do."""
        assert self._attempt
        with _together():
            self._attempt.wait([_STARTED], _LONGEST_START)
        return self.hear()

    def dismiss(self) -> None:
        """Let the others end, unless they have been told; process 0 only."""
        if self._is_dismissed:
            return
        self._is_dismissed = True
        with suppress(ProcessLostError):  # then they end without a word
            if self._has_started:
                self.tell(None)
            else:
                self.start(None)


ALONE = Team()


def join() -> Team:
    """Join the processes that torchrun has started together with this one.

    Raises:
        ProcessLostError: the others do not come.
    """
    rank, size, port = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "MASTER_PORT"))
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    with _together():
        store = TCPStore(os.environ["MASTER_ADDR"], port, is_master=False)
        # After a restart the old processes' keys are still in the store, and would mislead the new.
        attempt = PrefixStore(f"zigpt/{os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
        distributed.init_process_group(
            store=attempt, rank=rank, world_size=size, timeout=HANGS_AFTER
        )
    return Team(rank, size, store, attempt)


@contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ProcessLostError(
            tr("another process of this training is gone"),
            str(error).splitlines()[0][:200],
            tr("if torchrun does not start them all again, `resume`"),
        ) from error


def _branch(part: Callable[[int], list[Tensor]], first: int, count: int) -> list[Tensor]:
    if count == 1:
        return part(first)
    half = count // 2
    left, right = _branch(part, first, half), _branch(part, first + half, half)
    torch._foreach_add_(left, right)
    return left


def _tree(sums: Sequence[Tensor], parts: int) -> Tensor:
    """Add up the branches that `Team._own` has dealt out, as one process alone would."""
    if len(sums) == 1 or parts == 1:
        return sums[0]
    middle = (len(sums) + 1) // 2
    return _tree(sums[:middle], parts // 2) + _tree(sums[middle:], parts // 2)
