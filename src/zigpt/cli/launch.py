"""`zigpt train` in several processes: torchrun's engine starts them, or torchrun itself has."""

import logging
import os
import sys
import tempfile
import uuid
from dataclasses import replace
from pathlib import Path

from zigpt.errors import ProcessLostError
from zigpt.language import tr
from zigpt.runs.reading import Notify, read
from zigpt.runs.request import TrainRequest
from zigpt.runs.signals import Signals
from zigpt.runs.torchrun import EXIT_CODE

_MOST_RESTARTS = 3


def launch(processes: int) -> int:
    """Start this command again in so many processes on this machine; return its exit code.

    Raises:
        ProcessLostError: a process was lost more often than they are started again.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable()  # the reports of the engine: the processes print what matters
    threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    os.environ["OMP_NUM_THREADS"] = str(max(1, threads // processes))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        max_restarts=_MOST_RESTARTS,
        monitor_interval=0.1,
    )
    code = None
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "code"
        os.environ[EXIT_CODE] = str(file)
        try:
            elastic_launch(config, sys.executable)("-m", "zigpt", *sys.argv[1:])
        except SignalException as signal:
            code = 128 + signal.sigval
        except ChildFailedError:
            pass  # told below, unless process 0 has left its code
        if file.exists():
            code = int(file.read_text())
    if code is not None:
        return code
    raise ProcessLostError(
        tr("a process of this training was lost"),
        tr("all were started {count} times, and each time one was lost", count=1 + _MOST_RESTARTS),
        tr("what was saved is kept: `resume`"),
    )


def train_together(request: TrainRequest, signals: Signals, notify: Notify) -> int:
    """Be one of the processes that torchrun has started. Returns the exit code."""
    from zigpt.cli.follow import follow
    from zigpt.runs.worker import work
    from zigpt.training.team import join

    team = join()
    if not team.leads:
        work(team)
        return 0
    try:
        if team.run and not request.resume:  # torchrun has started all of them again
            request = replace(request, texts=(), run=Path(team.run), minutes=None, resume=True)
        return follow(request, signals, None if request.resume else read(request, notify), team)
    finally:
        team.dismiss()
