"""The model as an ONNX graph with 8-bit weights, made for writing one character at a time.

Writing waits for memory, not for arithmetic: every character reads all weights once. In 8 bits they
are a quarter of the size, and the graph has one node for each thing that a library does well, so
little is spent on going from one to the next. It computes what `zigpt.model` defines, from the same
weights: a test compares the two. Names in capitals are dimensions, as everywhere.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from jaxtyping import Float, UInt8
from onnx import TensorProto, helper, numpy_helper

from zigpt.config import GPTConfig
from zigpt.errors import ModelFileError

Weights = Mapping[str, Float[np.ndarray, "..."]]

_GROUP = 32  # neighbouring weights of a row that share a scale
_MIDDLE = 128  # the byte that stands for 0
_HEAD_MULTIPLE = 8  # what the attention node asks of a head's size
_STANDARD = ("Gather", "Add", "LayerNormalization")
_EXTENSIONS = "com.microsoft"  # where all other nodes come from: onnxruntime itself
_INT8_ACTIVATIONS = 4  # `accuracy_level`: each row's inputs are rounded to 8 bits as well


def quantize(
    weight: Float[np.ndarray, "N K"],
) -> tuple[UInt8[np.ndarray, "N G S"], Float[np.ndarray, "N G"]]:
    """Round to bytes in G groups of S along each row: weight ≈ (byte - 128) x scale.

    The last group is filled up with zeros.
    """
    missing = -weight.shape[1] % _GROUP
    groups = np.pad(weight, ((0, 0), (0, missing))).reshape(len(weight), -1, _GROUP)
    scales = np.abs(groups).max(-1) / (_MIDDLE - 1)
    scales[scales == 0] = 1  # all zeros: any scale will do
    return (np.rint(groups / scales[..., None]) + _MIDDLE).astype(np.uint8), scales


class _Graph:
    """Nodes, constants and the names that tie them; what a method adds, it returns the name of."""

    def __init__(self, config: GPTConfig, weights: Weights) -> None:
        self.config, self._weights = config, weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def weight(self, name: str) -> np.ndarray:
        """Look a weight up.

        Raises:
            ModelFileError: it holds a NaN or an infinity.
        """
        weight = self._weights[name]
        if not np.isfinite(weight).all():  # in 8 bits it would pass for a number
            raise ModelFileError(
                "the model's weights are not numbers",
                f"{name} holds a NaN or an infinity",
                "use another copy of the model, or train again",
            )
        return weight

    def constant(self, name: str, value: np.ndarray | None = None) -> str:
        value = self.weight(name) if value is None else value
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(
        self, kind: str, inputs: list[str], name: str, also: Sequence[str] = (), **attributes: Any
    ) -> str:
        domain = "" if kind in _STANDARD else _EXTENSIONS
        node = helper.make_node(kind, inputs, [name, *also], domain=domain, **attributes)
        self.nodes.append(node)
        return name

    def linear(self, x: str, weight: np.ndarray, bias: str | None, name: str) -> str:
        """X weightᵀ + bias, the weights in 8 bits."""
        bytes_, scales = quantize(weight)
        inputs = [
            x,
            self.constant(f"{name}.bytes", bytes_),
            self.constant(f"{name}.scales", scales),
            *(["", "", bias] if bias else []),
        ]
        n, k = weight.shape
        return self.node(
            "MatMulNBits", inputs, name,
            N=n, K=k, bits=8, block_size=_GROUP, accuracy_level=_INT8_ACTIVATIONS,
        )  # fmt: skip

    def norm(self, x: str, branch: str | None, name: str) -> tuple[str, str]:
        """LayerNorm of x + branch; returns its name and that of the sum."""
        gain, bias = self.constant(f"{name}.weight"), self.constant(f"{name}.bias")
        if branch is None:
            return self.node("LayerNormalization", [x, gain, bias], name, epsilon=1e-5), x
        total = f"{name}.sum"
        also = ["", "", total]
        inputs = [x, branch, gain, bias]
        self.node("SkipLayerNormalization", inputs, name, also=also, epsilon=1e-5)
        return name, total

    def attention(self, x: str, layer: int, prefix: str) -> str:
        """Attention over the cache, which the node itself extends in place."""
        heads, size = self.config.n_head, self.config.n_embd // self.config.n_head
        spare = -size % _HEAD_MULTIPLE  # zeros in q, k and v add nothing to any product
        qkv = _fill_heads(self.weight(f"{prefix}.qkv.weight"), 3 * heads, spare)
        bias = _fill_heads(self.weight(f"{prefix}.qkv.bias"), 3 * heads, spare)
        packed = self.linear(x, qkv, self.constant(f"{prefix}.qkv.bias", bias), f"{prefix}.qkv")
        inputs = [packed, "", "", *cache_names("past", layer), "last", "length"]
        mixed = self.node(
            "GroupQueryAttention", inputs, f"{prefix}.heads", also=cache_names("present", layer),
            num_heads=heads, kv_num_heads=heads, scale=1 / math.sqrt(size),
        )  # fmt: skip
        project = _fill_heads(self.weight(f"{prefix}.project.weight").T, heads, spare).T
        bias_name = self.constant(f"{prefix}.project.bias")
        return self.linear(mixed, project, bias_name, f"{prefix}.project")

    def feed_forward(self, x: str, prefix: str) -> str:
        """project(GELU(expand(x)))."""
        weight = self.weight(f"{prefix}.expand.weight")
        expanded = self.linear(x, weight, None, f"{prefix}.expand")
        bias = self.constant(f"{prefix}.expand.bias")
        active = self.node("FastGelu", [expanded, bias], f"{prefix}.gelu")
        weight, bias = self.weight(f"{prefix}.project.weight"), f"{prefix}.project.bias"
        return self.linear(active, weight, self.constant(bias), f"{prefix}.project")


def build_graph(config: GPTConfig, weights: Weights) -> onnx.ModelProto:
    """Lay out the model: ids (B, T) and their positions in, logits (B, T, V) out.

    The cache of each layer is an input and an output of one shape, (B, H, block_size, D), meant to
    share their memory. `last` (B) is the position of each text's newest character, `length` how
    many characters are read in all.
    """
    graph = _Graph(config, weights)
    tokens = graph.node("Gather", [graph.constant("token_embedding.weight"), "ids"], "tokens")
    places = graph.constant("position_embedding.weight")
    x = graph.node("Add", [tokens, graph.node("Gather", [places, "positions"], "places")], "x")
    branch: str | None = None
    for layer in range(config.n_layer):
        block = f"blocks.{layer}"
        normed, x = graph.norm(x, branch, f"{block}.ln_1")
        branch = graph.attention(normed, layer, f"{block}.attn")
        normed, x = graph.norm(x, branch, f"{block}.ln_2")
        branch = graph.feed_forward(normed, f"{block}.ffn")
    normed, _ = graph.norm(x, branch, "ln_f")
    graph.linear(normed, graph.weight("head.weight"), None, "logits")
    describe = helper.make_tensor_value_info
    cache: list[str | int | None] = ["B", *cache_shape(config, 1)[1:]]
    inputs = [
        describe("ids", TensorProto.INT64, ["B", "T"]),
        describe("positions", TensorProto.INT64, ["B", "T"]),
        describe("last", TensorProto.INT32, ["B"]),
        describe("length", TensorProto.INT32, []),
    ]
    outputs = [describe("logits", TensorProto.FLOAT, ["B", "T", config.vocab_size])]
    for layer in range(config.n_layer):
        inputs += [describe(n, TensorProto.FLOAT, cache) for n in cache_names("past", layer)]
        outputs += [describe(n, TensorProto.FLOAT, cache) for n in cache_names("present", layer)]
    whole = helper.make_graph(graph.nodes, "zigpt", inputs, outputs, graph.constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(_EXTENSIONS, 1)]
    return helper.make_model(whole, opset_imports=opsets, ir_version=8)


def cache_names(which: str, layer: int) -> list[str]:
    """Names of a layer's keys and values, `which` being "past" or "present"."""
    return [f"{which}.{layer}.keys", f"{which}.{layer}.values"]


def cache_shape(config: GPTConfig, count: int) -> tuple[int, int, int, int]:
    """Shape of a layer's keys, and of its values; heads are filled up to a multiple of 8."""
    size = config.n_embd // config.n_head
    return count, config.n_head, config.block_size, size + -size % _HEAD_MULTIPLE


def _fill_heads(rows: np.ndarray, n_heads: int, spare: int) -> np.ndarray:
    """Give each of `n_heads` equal groups of rows `spare` more, of zeros."""
    heads = rows.reshape(n_heads, -1, *rows.shape[1:])
    widths = [(0, 0), (0, spare)] + [(0, 0)] * (rows.ndim - 1)
    return np.pad(heads, widths).reshape(-1, *rows.shape[1:])
