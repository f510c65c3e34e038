"""A `Decoder` for the CPU without torch: onnxruntime runs a `zigpt.formats.onnx_int8` graph."""

import os
from types import ModuleType

import numpy as np
from jaxtyping import Float, Int

from zigpt.formats.onnx_int8 import Weights, build_graph, empty_cache
from zigpt.generate.loop import context_start
from zigpt.gpt.config import GPTConfig

_ONLY_ERRORS = 3


class QuickDecoder:
    """A model with 8-bit weights that writes `count` texts side by side.

    Its scores differ a little from those of the reference (docs/experiments.md says by how much).
    Each text is computed for itself: it does not depend on those beside it.
    """

    def __init__(self, config: GPTConfig, weights: Weights, count: int = 1) -> None:
        self.count = count
        self._config = config
        self._start, self._end = 0, 0  # the stretch of text that is remembered
        onnxruntime = _load_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ONLY_ERRORS
        graph = build_graph(config, weights).SerializeToString()
        self._session = onnxruntime.InferenceSession(graph, options, ["CPUExecutionProvider"])
        self._binding = self._session.io_binding()
        # The session only borrows these: they must live as long as it does.
        self._memory = empty_cache(config, count)
        self._borrowed = []
        for (given, kept), memory in self._memory.items():
            # One memory for both: the session changes it in place.
            value = onnxruntime.OrtValue.ortvalue_from_numpy(memory)
            self._binding.bind_ortvalue_input(given, value)
            self._binding.bind_ortvalue_output(kept, value)
            self._borrowed.append(value)

    def next_scores(self, ids: Int[np.ndarray, "B T"]) -> Float[np.ndarray, "B V"]:
        """Score the character after `ids`, which continue what the call before was given.

        Of several texts at once, by one character at a time.
        """
        start = context_start(ids.shape[1], self._config.block_size)
        if start != self._start:
            self._start = self._end = start
            for (given, _), memory in self._memory.items():
                if given.startswith("before"):
                    memory[:] = 0
        fresh = np.ascontiguousarray(ids[:, self._end :])
        known, length = self._end - start, ids.shape[1] - start
        self._end = ids.shape[1]
        scores = np.empty((*fresh.shape, self._config.vocab_size), np.float32)
        bind = self._binding.bind_cpu_input
        bind("ids", fresh)
        if self._config.architecture == "classic":
            positions = np.broadcast_to(np.arange(known, length), fresh.shape)
            bind("positions", np.ascontiguousarray(positions))
        bind("last", np.full(self.count, length - 1, np.int32))
        bind("length", np.array(length, np.int32))
        self._binding.bind_output("logits", "cpu", 0, np.float32, scores.shape, scores.ctypes.data)
        self._session.run_with_iobinding(self._binding)
        return scores[:, -1]


def _load_onnxruntime() -> ModuleType:
    """Import onnxruntime with its telemetry off, which it decides on while it is imported.

    Left on, it writes a device id into the home folder and reports to its maker.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime
