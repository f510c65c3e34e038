"""A model file taken apart, damaged in one of many ways, and put together again."""

import contextlib
import copy
import json
import pickle
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CHARACTERS = "\n abé字"
_NUMBERS = (0, 1, -1, 2, 3, 255, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 10**30)
_ODD: tuple[Any, ...] = (
    *_NUMBERS, None, True, False, 0.5, 1e308, -1e308, float("nan"), float("inf"), "", "x", "F32",
    [], {}, [[]], {"a": []}, [1, 2], "\ud800", "\0", "../../etc/passwd", "é" * 1000,
)  # fmt: skip


def _odd(choose: random.Random) -> Any:
    return copy.deepcopy(choose.choice(_ODD))  # the next mutation may change it


@dataclass
class Parts:
    """The parts of a model file, so that each can be damaged by itself."""

    tensors: dict[str, Any]
    inner: Any  # zigpt's description of the model: JSON within the JSON of the header
    body: bytearray
    header: bytes | None = None  # instead of the JSON of `tensors` and `inner`
    length: int | None = None  # instead of the true length of the header
    whole: bytes | None = None  # instead of everything


def take_apart(data: bytes) -> Parts:
    """Split a model file into its parts."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    inner = json.loads(header.pop("__metadata__")["zigpt"])
    return Parts(header, inner, bytearray(data[8 + length :]))


def put_together(parts: Parts) -> bytes:
    """Join the parts to a file, damaged as they are."""
    if parts.whole is not None:
        return parts.whole
    inner = parts.inner if isinstance(parts.inner, str) else json.dumps(parts.inner)
    header = parts.header
    if header is None:
        header = json.dumps({"__metadata__": {"zigpt": inner}, **parts.tensors}).encode()
    length = len(header) if parts.length is None else parts.length
    return struct.pack("<Q", length) + header + bytes(parts.body)


def _flip(choose: random.Random, parts: Parts) -> None:
    data = bytearray(put_together(parts))
    for _ in range(choose.choice((1, 1, 2, 10))):
        data[choose.randrange(len(data))] ^= 1 << choose.randrange(8)
    parts.whole = bytes(data)


def _cut(choose: random.Random, parts: Parts) -> None:
    data = put_together(parts)
    parts.whole = data[: choose.randrange(len(data))]


def _append(choose: random.Random, parts: Parts) -> None:
    parts.body += choose.randbytes(choose.choice((1, 4, 1000)))


def _claim(choose: random.Random, parts: Parts) -> None:
    true = struct.unpack("<Q", put_together(parts)[:8])[0]
    parts.length = choose.choice((0, 1, true - 1, true + 1, 2**31, 2**63, 2**64 - 1, 99_999_999))


def _dtype(choose: random.Random, parts: Parts) -> None:
    kinds = ("F16", "BF16", "F64", "I32", "U8", "BOOL", "C64", "F32 ", "f32", "", None, 7)
    _tensor(choose, parts)["dtype"] = choose.choice(kinds)


def _shape(choose: random.Random, parts: Parts) -> None:
    tensor = _tensor(choose, parts)
    shape = list(tensor["shape"])
    if choose.random() < 0.5:
        shape[choose.randrange(len(shape))] = _odd(choose)
    else:
        shape = choose.choice(([], [0], shape * 2, shape[::-1], [*shape, 1], [1] * 500, None, 3))
    tensor["shape"] = shape


def _offsets(choose: random.Random, parts: Parts) -> None:
    tensor = _tensor(choose, parts)
    start, end = tensor["data_offsets"]
    tensor["data_offsets"] = choose.choice((
        [end, start], [start + 1, end + 1], [start, end - 4], [0, 2**64 - 1], [start], [],
        [-4, end], [start, _odd(choose)], [2**63, 2**63 + end - start], None,
    ))  # fmt: skip


def _swap(choose: random.Random, parts: Parts) -> None:
    one, other = choose.sample(sorted(parts.tensors), 2)
    tensors = parts.tensors
    tensors[one], tensors[other] = tensors[other], tensors[one]


def _names(choose: random.Random, parts: Parts) -> None:
    name = choose.choice(sorted(parts.tensors))
    tensor = parts.tensors.pop(name)
    if choose.random() < 0.7:
        odd = (
            "",
            "x",
            name + " ",
            name.upper(),
            "__metadata__",
            "../" + name,
            "blocks.7.ln_1.bias",
        )
        parts.tensors[choose.choice(odd)] = tensor


def _repeat(choose: random.Random, parts: Parts) -> None:
    """Repeat a key: which one counts must not matter."""
    name = choose.choice(sorted(parts.tensors))
    inner = json.dumps(json.dumps(parts.inner))
    twice = f'{{"__metadata__":{{"zigpt":{inner},"zigpt":"{{}}"}},'
    twice = twice if choose.random() < 0.5 else f'{{"__metadata__":{{"zigpt":{inner}}},'
    others = json.dumps(parts.tensors)[1:]
    parts.header = f'{twice}"{name}":{json.dumps(parts.tensors[name])},{others}'.encode()


def _config(choose: random.Random, parts: Parts) -> None:
    config = parts.inner["config"]
    for _ in range(choose.choice((1, 1, 3))):
        config[choose.choice([*config, "n_experts"])] = _odd(choose)


def _description(choose: random.Random, parts: Parts) -> None:
    key = choose.choice(("format", "config", "tokenizer", "about", "sha256", "more"))
    if choose.random() < 0.3:
        parts.inner.pop(key, None)
    else:
        parts.inner[key] = _odd(choose)


def _characters(choose: random.Random, parts: Parts) -> None:
    number = len(CHARACTERS)
    pool = "\0\x1b\r\n\x9b\u202e\ud800\udfff\U0010ffffabc字" + CHARACTERS
    drawn = "".join(choose.choice(pool) for _ in range(number))
    odd = (drawn, "".join(sorted(set(drawn))), CHARACTERS[::-1], CHARACTERS * 2)
    chosen = choose.choice((*odd, "".join(sorted(choose.sample(pool[:14], 6)))))
    parts.inner["tokenizer"]["vocabulary"] = chosen


def _weights(choose: random.Random, parts: Parts) -> None:
    for _ in range(choose.choice((1, 5, 200))):
        place = 4 * choose.randrange(len(parts.body) // 4)
        odd = (float("nan"), float("inf"), -float("inf"), 3e38, -3e38, 1e-45, 0.0)
        parts.body[place : place + 4] = struct.pack("<f", choose.choice(odd))


def _bomb(choose: random.Random, parts: Parts) -> None:
    """Deep or long JSON, inside or outside; long ones are rare because they are slow to make."""
    piece = choose.choice(("[", '{"a":', "[],", "{},", '"ab",', "1e5,", "1" * 50, '"\\u0000",'))
    size = choose.choice(
        (100, 1000, 100_000, 1_000_000, 30_000_000 if choose.random() < 0.1 else 9)
    )
    text = piece * (size // len(piece))
    text = text if piece in ("[", '{"a":') or choose.random() < 0.3 else f"[{text}0]"
    if choose.random() < 0.5:
        parts.inner = text
    else:
        parts.header = f'{{"__metadata__":{text}}}'.encode()


def _other_format(choose: random.Random, parts: Parts) -> None:
    bomb = b"cos\nsystem\n(S'exit 9'\ntR."  # a pickle of the oldest protocol
    parts.whole = choose.choice((
        b"", bomb, pickle.dumps(parts.inner), pickle.dumps(print, 2), b"PK\x03\x04" + bytes(100),
        b"\x08\x08\x12\x04onnx" + choose.randbytes(200), b"GGUF" + bytes(9), b"\x1f\x8b" + bytes(9),
        choose.randbytes(choose.choice((1, 8, 9, 100, 10_000))), bytes(1000), b"{}", bomb * 100,
        struct.pack("<Q", len(bomb)) + bomb, b"\x93NUMPY" + bytes(100),
    ))  # fmt: skip


MUTATIONS: tuple[Callable[[random.Random, Parts], None], ...] = (
    _flip, _cut, _append, _claim, _dtype, _shape, _offsets, _swap, _names, _repeat, _config,
    _description, _characters, _weights, _bomb, _other_format,
)  # fmt: skip


def mutate(choose: random.Random, data: bytes) -> tuple[str, bytes]:
    """Damage a good file in one or two ways; return what was done, and the file."""
    parts = take_apart(data)
    done = choose.sample(MUTATIONS, choose.choice((1, 1, 1, 2)))
    for mutation in done:
        with contextlib.suppress(TypeError, LookupError, AttributeError, ValueError, struct.error):
            mutation(choose, parts)  # the second may not fit what the first left
    return "+".join(mutation.__name__.strip("_") for mutation in done), put_together(parts)


def _tensor(choose: random.Random, parts: Parts) -> dict[str, Any]:
    return parts.tensors[choose.choice(sorted(parts.tensors))]
