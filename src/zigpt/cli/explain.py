"""`zigpt explain`: the ideas behind a GPT, shown on the reader's own model and text."""

import time
from pathlib import Path

import torch

from zigpt.anatomy.activations import inspect
from zigpt.anatomy.predictions import influence, predict
from zigpt.cli.layout import column
from zigpt.cli.terminal import harmless
from zigpt.data.pieces import MOST_CHARACTERS, merge_pairs
from zigpt.errors import TextError, TextMovedError, VocabularyError
from zigpt.formats.saved_model import SavedModel, load_model
from zigpt.gpt.config import GPTConfig, TrainConfig
from zigpt.language import mark, tr
from zigpt.runs.paths import newest_path
from zigpt.runs.training_text import find_again, text_of_model
from zigpt.training.device import pick_device

_VISIBLE = {"\n": "⏎", "\t": "⇥", " ": "␣"}


def run(topic: str, path: Path | None, text: str, device: str) -> int:
    """Print one explanation. Returns the exit code.

    Raises:
        TextMovedError: it needs the training text, which is not found.
    """
    path = path or newest_path()
    saved = load_model(path, pick_device(device))
    show = {
        "model": _model,
        "window": _window,
        "mask": _mask,
        "batch": _batch,
        "characters": _characters,
    }
    count = saved.model.config.n_parameters
    print(harmless(tr("{path}: {count:,} parameters", path=path, count=count)))
    print()
    try:
        show[topic](saved, path, text)
    except TextMovedError as error:
        fix = tr("{fix}, or give a --text", fix=error.fix)
        raise TextMovedError(error.what, error.why, fix) from error
    return 0


def _text(saved: SavedModel, path: Path, text: str) -> str:
    """Return the given text, or else the start of the validation split of the model's own."""
    if text:
        return text
    source = find_again(text_of_model(path, saved.about))
    return source.text[source.n_train : source.n_train + saved.model.config.block_size + 1]


def _ids(saved: SavedModel, path: Path, text: str, most: int) -> torch.Tensor:
    try:
        ids = saved.ids(_text(saved, path, text))[:most]
    except VocabularyError as error:
        raise VocabularyError(error.what, error.why, tr("give a --text without them")) from error
    if len(ids) < 2:
        raise TextError(
            tr("{count} characters are too few to show anything", count=len(ids)),
            tr("it takes one character to read and one to predict"),
            tr("give a longer --text"),
        )
    return ids


def _visible(text: str) -> str:
    return "".join(_VISIBLE.get(c, c if c.isprintable() else "\ufffd") for c in text)


def _model(saved: SavedModel, path: Path, text: str) -> None:
    config = saved.model.config
    is_modern = config.architecture == "modern"
    embedded = (
        tr("  (no table of positions: attention rotates queries and keys)")
        if is_modern
        else tr(
            "  +  position embedding {block} x {width}",
            block=config.block_size,
            width=config.n_embd,
        )
    )
    normed = "shift(LayerNorm(x))" if is_modern else "LayerNorm(x)"
    print(
        tr(
            """ids      (B, T)      T = {block} characters at most, V = {vocabulary}
  │        token embedding {vocabulary} x {width}{embedded}
x        (B, T, C)   C = {width}: the residual stream
  │   ┌──── block, {layers} times, stacked
  │   │    {attention:<42} {heads} heads of {head} channels
  │   │    {feed_forward:<42} {width} -> {wide} -> {width}
  │   └────
  │        LayerNorm, then the head {width} -> {vocabulary}
logits   (B, T, V)   a score for every next character, at every position
""",
            block=config.block_size,
            vocabulary=config.vocab_size,
            width=config.n_embd,
            wide=4 * config.n_embd,
            layers=config.n_layer,
            heads=config.n_head,
            head=config.n_embd // config.n_head,
            embedded=embedded,
            attention="x = x + attention(" + normed + ")",
            feed_forward="x = x + feed-forward(" + normed + ")",
        )
    )
    if is_modern:
        print(tr("shift: half of the channels come from the previous character") + "\n")
    table = [*config.parameter_table().items(), (mark("all"), config.n_parameters)]
    for part, count in table:
        print(f"{column(tr(part), 20)}{count:>14,}  {count / config.n_parameters:7.1%}")


def _window(saved: SavedModel, path: Path, text: str) -> None:
    ids = _ids(saved, path, text, saved.model.config.block_size + 1)
    found, length = predict(saved.model, ids), len(ids) - 1
    shown = _visible(saved.tokenizer.decode(ids.tolist()))
    guesses = _visible(saved.tokenizer.decode(found.guesses[:, 0].tolist()))
    lead = mark("One window gives {count} training examples, all answered in one forward pass.")
    print(tr(lead, count=length) + "\n")
    titles = [column("t", 4, ">"), "  ", column(tr("context -> target"), 42)]
    titles += [column(tr("p(target)"), 10, ">"), column(tr("rank"), 6, ">"), "  "]
    print("".join([*titles, tr("first guess")]))
    for t in range(length):
        example = f"{column(shown[: t + 1], 34, '>')} -> {column(shown[t + 1], 4)}"
        answer = f"{found.probabilities[t]:>10.4f}{found.ranks[t]:>6}  {guesses[t]}"
        print(f"{t:>4}  {example}{answer}")
    end = mark(
        "The loss is the mean of -ln p(target) over these rows: {loss:.4f} nats per character."
    )
    print("\n" + tr(end, loss=float(found.losses.mean())))


def _mask(saved: SavedModel, path: Path, text: str) -> None:
    ids = _ids(saved, path, text, min(10, saved.model.config.block_size))
    names = [_visible(c) for c in saved.tokenizer.decode(ids.tolist())]
    weights = inspect(saved.model, ids).weights[0, 0]
    print(
        tr(
            "Row t sees columns 0 to t. The numbers are the attention weights of layer 0, head 0;\n"
            "░ is the future: its score is set to -inf, so its weight is exactly 0.\n"
        )
    )
    print("    " + "".join(column(name, 6, ">") for name in names))
    for t, name in enumerate(names):
        row = [f"{weights[t, s]:6.2f}" if s <= t else "     ░" for s in range(len(names))]
        print(column(name, 4, ">") + "".join(row))
    changed = len(names) // 2
    moved = influence(saved.model, ids, changed)
    print(
        tr(
            "\nCheck: another character at t = {changed} changes the scores before it by "
            "{before:g},\nand those from there on by up to {after:.3f}.",
            changed=changed,
            before=float(moved[:changed].max()),
            after=float(moved[changed:].max()),
        )
    )


def _batch(saved: SavedModel, path: Path, text: str) -> None:
    model, seed, block = saved.model, TrainConfig(), GPTConfig().block_size
    print(
        tr(
            "One step of the textbook run: {batch} windows x {block} characters = {product:,} "
            "predictions.\n",
            batch=seed.batch_size,
            block=block,
            product=seed.batch_size * block,
        )
    )
    ids = _ids(saved, path, text, model.config.block_size)
    with torch.inference_mode():
        began = time.perf_counter()
        together = model(ids.unsqueeze(0))[0]
        one_pass = time.perf_counter() - began
        began = time.perf_counter()
        alone = torch.cat([model(ids[None, : t + 1])[0, -1:] for t in range(len(ids))])
        many_passes = time.perf_counter() - began
    lead = mark("This window has {count} positions. Scoring the next character at all of them:")
    print(tr(lead, count=len(ids)))
    ways = (
        (tr("in one forward pass"), one_pass),
        (tr("in {count} passes, one for each prefix", count=len(ids)), many_passes),
    )
    for way, seconds in ways:
        print(f"  {column(way, 36)}{1000 * seconds:9.1f} ms")
    print(
        tr(
            "Largest difference between the two: {difference:.1e}.\n"
            "The mask makes them the same: no position sees what comes after it.",
            difference=float((together - alone).abs().max()),
        )
    )


def _characters(saved: SavedModel, path: Path, text: str) -> None:
    config = saved.model.config
    width, block, vocab_size = config.n_embd, config.block_size, config.vocab_size
    text = text or find_again(text_of_model(path, saved.about)).text[:MOST_CHARACTERS]
    print(
        tr(
            "Byte-pair encoding merges the most frequent pair of neighbours again and again; here "
            "in\nthe first {count:,} characters of your text:\n",
            count=min(len(text), MOST_CHARACTERS),
        )
    )
    cover = tr("{count} pieces cover", count=block)
    titles = ((tr("vocabulary"), 10), (tr("chars/piece"), 15), (cover, 20))
    print("".join(column(*title, ">") for title in (*titles, (tr("embedding + head"), 20))))
    shown = {0, 10, 30, 100, 300, 1000}
    for merges, stage in enumerate(merge_pairs(text, max(shown))):
        if merges in shown:
            reach = tr("{count:,.0f} chars", count=block * stage.chars_per_piece)
            sizes = f"{stage.vocab_size:>10,}{stage.chars_per_piece:>15.2f}"
            print(f"{sizes}{column(reach, 20, '>')}{2 * stage.vocab_size * width:>20,}")
    print(f"{50_257:>10,}{'(GPT-2)':>15}{'':>20}{2 * 50_257 * width:>20,}")
    print(
        tr(
            "\nPieces make a text shorter and the two tables larger. In this model, with a "
            "vocabulary\nof {count:,} characters, they hold {share:.1%} of all parameters.",
            count=vocab_size,
            share=2 * vocab_size * width / config.n_parameters,
        )
    )
