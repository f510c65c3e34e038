"""Model files: the formats a model is written in, and the graph that onnxruntime runs."""

from collections.abc import Mapping

from zigpt.formats import safetensors
from zigpt.formats.base import Format

FORMATS: Mapping[str, Format] = {"safetensors": safetensors}
