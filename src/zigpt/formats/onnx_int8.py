"""The model as an ONNX graph with 8-bit weights, made for writing one character at a time.

Writing is bound by memory, not by arithmetic: every character reads all weights once. In 8 bits
they are a quarter of the size, and the graph uses few, large nodes, so little time is spent between
them. It computes what `zigpt.gpt.model` defines, from the same weights: a test compares the two.
Names in capitals are dimensions, as everywhere.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from jaxtyping import Float, UInt8
from onnx import TensorProto, helper, numpy_helper

from zigpt.errors import ModelFileError
from zigpt.gpt.config import ROTARY_BASE, GPTConfig
from zigpt.language import tr

Weights = Mapping[str, Float[np.ndarray, "..."]]

_GROUPS = (32, 128)  # neighbouring weights of a row that share a scale: at least, at most
_MIDDLE = 128  # the byte that stands for 0
_DEVIATIONS = 10  # from its mean that a key or value can lie before it is cut off
_HEAD_MULTIPLE = 16  # what the attention node asks of a head's size (8 where it does not rotate)
_STANDARD = ("Gather", "Add", "LayerNormalization", "Split", "Concat", "Slice")
_EXTENSIONS = "com.microsoft"  # where all other nodes come from: onnxruntime itself
_INT8_ACTIVATIONS = 4  # `accuracy_level`: each row's inputs are rounded to 8 bits as well


def quantize(
    weight: Float[np.ndarray, "N K"],
) -> tuple[UInt8[np.ndarray, "N G S"], Float[np.ndarray, "N G"]]:
    """Round to bytes in G groups of S along each row: weight ≈ (byte - 128) x scale.

    S is a power of two, if possible one that divides the row; else the last group is padded with
    zeros.
    """
    columns = weight.shape[1]
    fewest, most = _GROUPS
    size = max(fewest, min(columns & -columns, most))
    groups = np.pad(weight, ((0, 0), (0, -columns % size))).reshape(len(weight), -1, size)
    scales = np.abs(groups).max(-1) / (_MIDDLE - 1)
    scales[scales == 0] = 1  # a group of zeros: any scale will do
    return (np.rint(groups / scales[..., None]) + _MIDDLE).astype(np.uint8), scales


class _Graph:
    """Nodes, constants, and the names that connect them; a method returns the name it adds."""

    def __init__(self, config: GPTConfig, weights: Weights) -> None:
        self.config, self._weights = config, weights
        self.is_modern = config.architecture == "modern"
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def weight(self, name: str) -> np.ndarray:
        """Look up a weight.

        Raises:
            ModelFileError: it holds a NaN or an infinity.
        """
        weight = self._weights[name]
        if not np.isfinite(weight).all():  # 8 bits would turn it into an ordinary number
            raise ModelFileError(
                tr("the model's weights are not finite"),
                tr("{name} holds a NaN or an infinity", name=name),
                tr("use another copy of the model, or train again"),
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
            N=n, K=k, bits=8, block_size=bytes_.shape[2], accuracy_level=_INT8_ACTIVATIONS,
        )  # fmt: skip

    def norm(self, x: str, branch: str | None, name: str) -> tuple[str, str]:
        """LayerNorm of x + branch; also return the name of the sum."""
        gain, bias = self.constant(f"{name}.weight"), self.constant(f"{name}.bias")
        if branch is None:
            return self.node("LayerNormalization", [x, gain, bias], name, epsilon=1e-5), x
        total = f"{name}.sum"
        also = ["", "", total]
        inputs = [x, branch, gain, bias]
        self.node("SkipLayerNormalization", inputs, name, also=also, epsilon=1e-5)
        return name, total

    def attention(self, x: str, layer: int, prefix: str) -> str:
        """Attention over the cache of 8-bit keys and values, which the node extends in place.

        Each channel is divided by its reach; the queries and the projection make up for that.
        """
        heads, size = self.config.n_head, self.config.n_embd // self.config.n_head
        # Zeros in q, k and v add nothing to any product. Rotation pairs the halves of a head.
        pieces, spare = (2 * heads, _spare(size) // 2) if self.is_modern else (heads, _spare(size))
        keys, values = self._reach(prefix, f"blocks.{layer}.ln_1")
        units = np.concatenate((keys, 1 / keys, 1 / values))
        weight, bias = self.weight(f"{prefix}.qkv.weight"), self.weight(f"{prefix}.qkv.bias")
        qkv = _pad(_float32(weight * units[:, None]), 3 * pieces, spare)
        bias = _pad(_float32(bias * units), 3 * pieces, spare)
        packed = self.linear(x, qkv, self.constant(f"{prefix}.qkv.bias", bias), f"{prefix}.qkv")
        inputs = [packed, "", "", *_cache_names("past", layer), "last", "length"]
        inputs += [*(["cos", "sin"] if self.is_modern else ["", ""]), "", "", "", "step", "step"]
        mixed = self.node(
            "GroupQueryAttention", inputs, f"{prefix}.heads",
            also=_cache_names("present", layer), num_heads=heads, kv_num_heads=heads,
            scale=1 / math.sqrt(size), do_rotary=int(self.is_modern), kv_cache_bit_width=8,
            k_quant_type="PER_TENSOR", v_quant_type="PER_TENSOR",
        )  # fmt: skip
        project = _float32(self.weight(f"{prefix}.project.weight") * values)
        project = _pad(project.T, pieces, spare).T
        bias_name = self.constant(f"{prefix}.project.bias")
        return self.linear(mixed, project, bias_name, f"{prefix}.project")

    def _reach(
        self, prefix: str, norm: str
    ) -> tuple[Float[np.ndarray, " C"], Float[np.ndarray, " C"]]:
        """How far from 0 each channel of the keys and of the values may lie in 8 bits.

        Each channel that a LayerNorm puts out has a deviation of 1, so the product with a row of
        weights, gain included, has a deviation of the row's norm, around the row's product with
        the LayerNorm's bias.
        """
        weight = self.weight(f"{prefix}.qkv.weight").astype(np.float64)  # no square overflows
        bias = self.weight(f"{prefix}.qkv.bias")
        varies = np.linalg.norm(weight * self.weight(f"{norm}.weight"), axis=1)
        middle = np.abs(weight @ self.weight(f"{norm}.bias") + bias)
        reach = np.maximum(_DEVIATIONS * varies + middle, np.finfo(np.float32).tiny)
        _, keys, values = np.split(reach, 3)
        if self.is_modern:  # rotation mixes a pair: one unit for both
            pairs = keys.reshape(self.config.n_head, 2, -1)
            keys = np.repeat(np.linalg.norm(pairs, axis=1, keepdims=True), 2, axis=1).ravel()
        return keys, values

    def tables(self) -> None:
        """The constants that all blocks of the modern architecture share: rotations, slice ends."""
        half = self.config.n_embd // self.config.n_head // 2
        angles = np.outer(
            np.arange(self.config.block_size), ROTARY_BASE ** (-np.arange(half) / half)
        )
        for name, table in (("cos", np.cos(angles)), ("sin", np.sin(angles))):
            filled = np.pad(table, ((0, 0), (0, _spare(2 * half) // 2)))
            self.constant(name, filled.astype(np.float32))
        width = self.config.n_embd
        cuts = {"halves": [width // 2, width - width // 2], "time": [1], "first": [0], "last": [-1]}
        for name, cut in (cuts | {"end": [2**31]}).items():
            self.constant(f"cut.{name}", np.array(cut, np.int64))

    def shift(self, x: str, branch: int) -> str:
        """Take half of the channels from the position before; put out those of the newest."""
        moving, staying = f"{x}.moving", f"{x}.staying"
        self.node("Split", [x, "cut.halves"], moving, also=[staying], axis=-1)
        joined = self.node("Concat", [f"previous.{branch}", moving], f"{x}.joined", axis=1)
        self.node("Slice", [joined, "cut.last", "cut.end", "cut.time"], f"newest.{branch}")
        cut = [joined, "cut.first", "cut.last", "cut.time"]
        return self.node("Concat", [self.node("Slice", cut, f"{x}.earlier"), staying],
                         f"{x}.shifted", axis=-1)  # fmt: skip

    def feed_forward(self, x: str, prefix: str) -> str:
        """project(GELU(expand(x)))."""
        weight = self.weight(f"{prefix}.expand.weight")
        expanded = self.linear(x, weight, None, f"{prefix}.expand")
        bias = self.constant(f"{prefix}.expand.bias")
        active = self.node("FastGelu", [expanded, bias], f"{prefix}.gelu")
        weight, bias = self.weight(f"{prefix}.project.weight"), f"{prefix}.project.bias"
        return self.linear(active, weight, self.constant(bias), f"{prefix}.project")


def build_graph(config: GPTConfig, weights: Weights) -> onnx.ModelProto:
    """Lay out the model: ids (B, T) in, logits (B, T, V) out.

    The classic one takes the `positions` (B, T) as well. `last` (B) is the position of each text's
    newest character, `length` the number of characters read so far. The cache goes in and out, see
    `empty_cache`.
    """
    graph = _Graph(config, weights)
    graph.constant("step", np.array([1 / (_MIDDLE - 1)], np.float32))  # of keys and values
    x = graph.node("Gather", [graph.constant("token_embedding.weight"), "ids"], "tokens")
    if graph.is_modern:
        graph.tables()
    else:
        places = [graph.constant("position_embedding.weight"), "positions"]
        x = graph.node("Add", [x, graph.node("Gather", places, "places")], "x")
    branch: str | None = None
    for layer in range(config.n_layer):
        block = f"blocks.{layer}"
        normed, x = graph.norm(x, branch, f"{block}.ln_1")
        if graph.is_modern:
            normed = graph.shift(normed, 2 * layer)
        branch = graph.attention(normed, layer, f"{block}.attn")
        normed, x = graph.norm(x, branch, f"{block}.ln_2")
        if graph.is_modern:
            normed = graph.shift(normed, 2 * layer + 1)
        branch = graph.feed_forward(normed, f"{block}.ffn")
    normed, _ = graph.norm(x, branch, "ln_f")
    graph.linear(normed, graph.weight("head.weight"), None, "logits")
    return _model_of(graph)


def empty_cache(config: GPTConfig, count: int) -> dict[tuple[str, str], np.ndarray]:
    """Allocate the cache of `count` texts, by the names of each array as an input and an output.

    Input and output are meant to share the array: keys and values of every layer are extended in
    place, in 8 bits, their heads padded to a multiple of 16; of the newest position half of the
    channels are kept.
    """
    size = config.n_embd // config.n_head
    shape = (count, config.n_head, config.block_size, size + _spare(size))
    cache: dict[tuple[str, str], np.ndarray] = {}
    for layer in range(config.n_layer):
        pairs = zip(_cache_names("past", layer), _cache_names("present", layer), strict=True)
        cache |= {pair: np.zeros(shape, np.int8) for pair in pairs}
    if config.architecture == "modern":
        for branch in range(2 * config.n_layer):
            newest = np.zeros((count, 1, config.n_embd // 2), np.float32)
            cache[f"previous.{branch}", f"newest.{branch}"] = newest
    return cache


def _model_of(graph: _Graph) -> onnx.ModelProto:
    describe = helper.make_tensor_value_info
    inputs = [
        describe("ids", TensorProto.INT64, ["B", "T"]),
        describe("last", TensorProto.INT32, ["B"]),
        describe("length", TensorProto.INT32, []),
    ]
    if not graph.is_modern:
        inputs.append(describe("positions", TensorProto.INT64, ["B", "T"]))
    outputs = [describe("logits", TensorProto.FLOAT, ["B", "T", graph.config.vocab_size])]
    for (past, present), array in empty_cache(graph.config, 0).items():
        kind, (_, *shape) = helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        inputs.append(describe(past, kind, ["B", *shape]))
        outputs.append(describe(present, kind, ["B", *shape]))
    whole = helper.make_graph(graph.nodes, "zigpt", inputs, outputs, graph.constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(_EXTENSIONS, 1)]
    return helper.make_model(whole, opset_imports=opsets, ir_version=8)


def _cache_names(which: str, layer: int) -> list[str]:
    return [f"{which}.{layer}.keys", f"{which}.{layer}.values"]


def _spare(size: int) -> int:
    return -size % _HEAD_MULTIPLE


def _float32(values: np.ndarray) -> np.ndarray:
    """Round to float32; what is too large becomes the largest, and its scores are not finite."""
    largest = np.finfo(np.float32).max
    return np.clip(values, -largest, largest).astype(np.float32)


def _pad(rows: np.ndarray, n_groups: int, spare: int) -> np.ndarray:
    """Pad each of `n_groups` equal groups of rows with `spare` rows of zeros."""
    groups = rows.reshape(n_groups, -1, *rows.shape[1:])
    widths = [(0, 0), (0, spare)] + [(0, 0)] * (rows.ndim - 1)
    return np.pad(groups, widths).reshape(-1, *rows.shape[1:])
