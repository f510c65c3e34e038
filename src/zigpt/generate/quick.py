"""A `Decoder` for the CPU without torch: onnxruntime runs a `zigpt.formats.onnx_int8` graph."""

import os
from types import ModuleType

import numpy as np
from jaxtyping import Float, Int

from zigpt.formats.onnx_int8 import Weights, build_graph, empty_cache
from zigpt.generate.loop import context_start
from zigpt.gpt.config import GPTConfig
from zigpt.machine import granted_processors

_ONLY_ERRORS = 3


class QuickDecoder:
    """A model with 8-bit weights that writes `count` texts side by side.

    Its logits differ a little from those of the reference (by how much: docs/experiments.md).
    No text depends on those beside it.
    """

    def __init__(self, config: GPTConfig, weights: Weights, count: int = 1) -> None:
        self.count, self.block_size = count, config.block_size
        self._config = config
        self._start, self._end = 0, 0  # the stretch of text that is cached
        onnxruntime = _load_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ONLY_ERRORS
        options.intra_op_num_threads = granted_processors() or 0  # 0: one for each core
        graph = build_graph(config, weights).SerializeToString()
        self._session = onnxruntime.InferenceSession(graph, options, ["CPUExecutionProvider"])
        self._binding = self._session.io_binding()
        self._cache = empty_cache(config, count)
        self._bound = []  # the session only borrows these: they must live as long as it does
        for (past, present), array in self._cache.items():
            # One array for both: the session changes it in place.
            value = onnxruntime.OrtValue.ortvalue_from_numpy(array)
            self._binding.bind_ortvalue_input(past, value)
            self._binding.bind_ortvalue_output(present, value)
            self._bound.append(value)

    def reset(self, start: int = 0) -> None:
        """Forget the text, and cache from position `start` of the next one on."""
        self._start = self._end = start
        for (past, _), array in self._cache.items():
            if past.startswith("previous"):
                array[:] = 0

    def next_logits(self, ids: Int[np.ndarray, "B T"]) -> Float[np.ndarray, "B V"]:
        """Compute the logits after `ids`, which continue those of the previous call.

        Of several texts at once, by one character at a time.
        """
        start = context_start(ids.shape[1], self.block_size)
        if start != self._start:
            self.reset(start)
        new_ids = np.ascontiguousarray(ids[:, self._end :])
        n_cached, length = self._end - start, ids.shape[1] - start
        self._end = ids.shape[1]
        logits = np.empty((*new_ids.shape, self._config.vocab_size), np.float32)
        bind = self._binding.bind_cpu_input
        bind("ids", new_ids)
        if self._config.architecture == "classic":
            positions = np.broadcast_to(np.arange(n_cached, length), new_ids.shape)
            bind("positions", np.ascontiguousarray(positions))
        bind("last", np.full(self.count, length - 1, np.int32))
        bind("length", np.array(length, np.int32))
        self._binding.bind_output("logits", "cpu", 0, np.float32, logits.shape, logits.ctypes.data)
        self._session.run_with_iobinding(self._binding)
        return logits[:, -1]


def _load_onnxruntime() -> ModuleType:
    """Import onnxruntime with its telemetry off; it reads the setting while it is imported.

    Otherwise it writes a device id into the home folder and reports to its maker.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime
