"""`zigpt explain`: the ideas behind a GPT, shown on the reader's own model and text."""

import time
from pathlib import Path

import torch

from zigpt.anatomy.activations import inspect
from zigpt.anatomy.predictions import influence, predict
from zigpt.cli.screen import column
from zigpt.cli.terminal import harmless
from zigpt.data.batches import Corpus
from zigpt.data.pieces import MOST_CHARACTERS, merge_pairs
from zigpt.errors import TextError
from zigpt.formats.saved_model import SavedModel, load_model
from zigpt.gpt.config import GPTConfig, TrainConfig
from zigpt.runs.paths import newest_path
from zigpt.runs.training_text import find_again, text_of
from zigpt.training.device import pick_device

_VISIBLE = {"\n": "⏎", "\t": "⇥", " ": "␣"}


def run(topic: str, path: Path | None, text: str, device: str) -> int:
    """Print one explanation. Returns the exit code."""
    path = path or newest_path()
    saved = load_model(path, pick_device(device))
    show = {
        "model": _model,
        "window": _window,
        "mask": _mask,
        "batch": _batch,
        "characters": _characters,
    }
    print(harmless(f"{path}: {saved.model.config.n_parameters:,} parameters\n"))
    show[topic](saved, text)
    return 0


def _text(saved: SavedModel, text: str) -> str:
    """Return the given text, or else the start of the validation split of the model's own."""
    if text:
        return text
    corpus = Corpus.from_text(find_again(text_of(saved.about)).text, saved.tokenizer)
    return saved.tokenizer.decode(corpus.validation[: saved.model.config.block_size + 1])


def _ids(saved: SavedModel, text: str, most: int) -> torch.Tensor:
    ids = saved.ids(_text(saved, text))[:most]
    if len(ids) < 2:
        raise TextError(
            f"{len(ids)} characters are too few to show anything",
            "it takes one character to read and one to predict",
            "give a longer --text",
        )
    return ids


def _visible(text: str) -> str:
    return "".join(_VISIBLE.get(c, c if c.isprintable() else "\ufffd") for c in text)


def _model(saved: SavedModel, text: str) -> None:
    config = saved.model.config
    width, heads = config.n_embd, config.n_head
    if config.architecture == "classic":
        positions, normed = f"  +  position embedding {config.block_size} x {width}", "LayerNorm(x)"
    else:
        positions, normed = (
            "  (no table of positions: attention rotates queries and keys)",
            "shift(LayerNorm(x))",
        )
    print(
        f"""ids      (B, T)      T = {config.block_size} characters at most, V = {config.vocab_size}
  │        token embedding {config.vocab_size} x {width}{positions}
x        (B, T, C)   C = {width}: the residual stream
  │   ┌──── block, {config.n_layer} times, stacked
  │   │    {f"x = x + attention({normed})":<42} {heads} heads of {width // heads} channels
  │   │    {f"x = x + feed-forward({normed})":<42} {width} -> {4 * width} -> {width}
  │   └────
  │        LayerNorm, then the head {width} -> {config.vocab_size}
logits   (B, T, V)   a score for every next character, at every position
"""
    )
    if config.architecture == "modern":
        print("shift: half of the channels come from the previous character\n")
    table = config.parameter_table()
    for part, count in [*table.items(), ("all", config.n_parameters)]:
        print(f"{part:<20}{count:>14,}  {count / config.n_parameters:7.1%}")


def _window(saved: SavedModel, text: str) -> None:
    ids = _ids(saved, text, saved.model.config.block_size + 1)
    found, length = predict(saved.model, ids), len(ids) - 1
    shown = _visible(saved.tokenizer.decode(ids.tolist()))
    guesses = _visible(saved.tokenizer.decode(found.guesses[:, 0].tolist()))
    print(f"One window gives {length} training examples, all answered in one forward pass.\n")
    print(f"{'t':>4}  {'context -> target':<42}{'p(target)':>10}{'rank':>6}  first guess")
    for t in range(length):
        example = f"{column(shown[: t + 1], 34, '>')} -> {column(shown[t + 1], 4)}"
        answer = f"{found.probabilities[t]:>10.4f}{found.ranks[t]:>6}  {guesses[t]}"
        print(f"{t:>4}  {example}{answer}")
    print("\nThe loss is the mean of -ln p(target) over these rows: ", end="")
    print(f"{found.losses.mean():.4f} nats per character.")


def _mask(saved: SavedModel, text: str) -> None:
    ids = _ids(saved, text, min(10, saved.model.config.block_size))
    names = [_visible(c) for c in saved.tokenizer.decode(ids.tolist())]
    weights = inspect(saved.model, ids).weights[0, 0]
    print("Row t sees columns 0 to t. The numbers are the attention weights of layer 0, head 0;")
    print("░ is the future: its score is set to -inf, so its weight is exactly 0.\n")
    print("    " + "".join(column(name, 6, ">") for name in names))
    for t, name in enumerate(names):
        row = [f"{weights[t, s]:6.2f}" if s <= t else "     ░" for s in range(len(names))]
        print(column(name, 4, ">") + "".join(row))
    changed = len(names) // 2
    moved = influence(saved.model, ids, changed)
    before, after = float(moved[:changed].max()), float(moved[changed:].max())
    print(
        f"\nCheck: another character at t = {changed} changes the scores before it by {before:g},"
    )
    print(f"and those from there on by up to {after:.3f}.")


def _batch(saved: SavedModel, text: str) -> None:
    model, seed = saved.model, TrainConfig()
    print(
        f"One step of the textbook run: {seed.batch_size} windows x {GPTConfig().block_size} ",
        end="",
    )
    print(f"characters = {seed.batch_size * GPTConfig().block_size:,} predictions.\n")
    ids = _ids(saved, text, model.config.block_size)
    with torch.inference_mode():
        began = time.perf_counter()
        together = model(ids.unsqueeze(0))[0]
        one_pass = time.perf_counter() - began
        began = time.perf_counter()
        alone = torch.cat([model(ids[None, : t + 1])[0, -1:] for t in range(len(ids))])
        many_passes = time.perf_counter() - began
    print(f"This window has {len(ids)} positions. Scoring the next character at all of them:")
    print(f"  in one forward pass                 {1000 * one_pass:9.1f} ms")
    print(f"  in {len(ids)} passes, one for each prefix  {1000 * many_passes:9.1f} ms")
    print(f"Largest difference between the two: {float((together - alone).abs().max()):.1e}.")
    print("The mask makes them the same: no position sees what comes after it.")


def _characters(saved: SavedModel, text: str) -> None:
    width, block = saved.model.config.n_embd, saved.model.config.block_size
    text = text or find_again(text_of(saved.about)).text[:MOST_CHARACTERS]
    print(
        "Byte-pair encoding merges the most frequent pair of neighbours again and again; here in\n"
        f"the first {min(len(text), MOST_CHARACTERS):,} characters of your text:\n"
    )
    print(
        f"{'vocabulary':>10}{'chars/piece':>15}"
        f"{f'{block} pieces cover':>20}{'embedding + head':>20}"
    )
    shown = {0, 10, 30, 100, 300, 1000}
    for merges, stage in enumerate(merge_pairs(text, max(shown))):
        if merges in shown:
            print(
                f"{stage.vocab_size:>10,}{stage.chars_per_piece:>15.2f}"
                f"{block * stage.chars_per_piece:>14,.0f} chars{2 * stage.vocab_size * width:>20,}"
            )
    print(f"{50_257:>10,}{'(GPT-2)':>15}{'':>20}{2 * 50_257 * width:>20,}")
    vocab_size, tables = saved.model.config.vocab_size, 2 * saved.model.config.vocab_size * width
    print(
        "\nPieces make a text shorter and the two tables larger. In this model, with a vocabulary"
    )
    print(
        f"of {vocab_size:,} characters, they hold "
        f"{tables / saved.model.config.n_parameters:.1%} of all parameters."
    )
