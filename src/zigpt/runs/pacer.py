"""Keeps a time budget: how many steps the rest of it allows, at the pace of the last ones."""

import math
import time
from dataclasses import replace

from zigpt.data.batches import Corpus
from zigpt.gpt.config import TrainConfig
from zigpt.training.loop import FINAL_CHARS, TrainState, split_loss
from zigpt.training.plan import FEWEST_STEPS, PICTURE, move_end

_TOLERANCE = 0.02  # of all steps: a smaller change is not worth a checkpoint
_EVALUATION_STEPS = 5  # then, between two evaluations, take as long as this many of them
_CHARS_AT_END = 900  # written after the last step: a sample, and the text of the best model


class Pacer:
    """The end of a time budget, and the pace since the last evaluation."""

    def __init__(self, ends_at: float, step: int) -> None:
        self.seconds_per_char = 0.0  # of a sample
        self._ends_at = ends_at
        self._step, self._since = step, time.monotonic()
        self._final_seconds: float | None = None

    def add_pause(self, seconds: float) -> None:
        """Time in which nothing was to be done does not count."""
        self._ends_at += seconds
        self._since += seconds

    def fit(
        self, state: TrainState, corpus: Corpus, evaluation_seconds: float
    ) -> TrainConfig | None:
        """Work out the number of steps; None where it is near enough to what is planned."""
        now, config = time.monotonic(), state.config
        spent = now - self._since - evaluation_seconds
        per_step = max(spent, 1e-3) / max(1, state.step - self._step)
        self._step, self._since = state.step, now
        if self._final_seconds is None:
            self._final_seconds = _time_final_loss(state, corpus)
        left = self._ends_at - now - self._final_seconds - PICTURE
        left -= self.seconds_per_char * _CHARS_AT_END + evaluation_seconds  # the last evaluation
        interval = config.eval_interval
        if evaluation_seconds > interval * per_step:  # steps are quicker than expected
            interval = int(_EVALUATION_STEPS * evaluation_seconds / per_step)
        per_step += evaluation_seconds / interval
        # However late it is, the learning rate falls in a few steps; and many more would bring
        # little once it has fallen far.
        planned = config.max_steps - state.step
        fewest = min(planned, max(FEWEST_STEPS - state.step, state.step // 20, 1))
        is_falling = planned < (config.decay_steps or config.max_steps - config.warmup_steps)
        most = 2 * planned if is_falling else math.inf
        steps_left = max(fewest, int(min(most, left / per_step)))
        off = abs(state.step + steps_left - config.max_steps)
        if off <= _TOLERANCE * config.max_steps:
            return None
        return replace(move_end(config, state.step, steps_left), eval_interval=interval)


def _time_final_loss(state: TrainState, corpus: Corpus) -> float:
    """Predict the seconds of the exact loss at the end, from its first few windows."""
    block_size = state.model.config.block_size
    n_windows = min(FINAL_CHARS, len(corpus.validation)) // block_size + 1
    timed = min(64, n_windows)
    began = time.monotonic()
    split_loss(state.model, corpus, "validation", timed)
    return (time.monotonic() - began) * n_windows / timed
