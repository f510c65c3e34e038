"""`zigpt train`, the part before torch: what can be refused at once, and how to be stopped."""

from zigpt.cli.options import TrainOptions, said
from zigpt.cli.signals import Stopped, listening
from zigpt.errors import UsageError
from zigpt.runs.lock import require_unlocked
from zigpt.runs.paths import newest_path


def run(options: TrainOptions) -> int:
    """Train, or go on training. Returns the exit code.

    Raises:
        UsageError: the options contradict each other.
        RunBusyError: another training is going on in this folder.
    """
    _check(options)
    if options.run or options.resume:
        require_unlocked(options.run or newest_path())
    with listening() as signals:
        try:
            from zigpt.cli.learning import learn  # torch takes a second to load

            return learn(options, signals)
        except Stopped as stop:
            return stop.code


def _check(options: TrainOptions) -> None:
    if options.minutes is not None and not 0 < options.minutes < 100_000:
        raise UsageError(
            f"--minutes {options.minutes} is not a time to train",
            "it must be above 0",
            "try --minutes 3",
        )
    if options.minutes is not None and (options.resume or said(options.settings).get("max_steps")):
        raise UsageError(
            "--minutes cannot be combined with --max-steps or --resume",
            "each of them decides the number of steps",
            "keep one of them",
        )
