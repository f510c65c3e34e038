"""The textbook run: a GPT learns input.txt one character at a time.

    python v2.py

It reads the file, lets the untrained model write, trains it, and lets it write again: the same
prompt, the same seed. To try another size, change a constant. Minutes instead of hours without a
GPU: zigpt train input.txt
"""

import sys
from pathlib import Path

from zigpt.cli.main import guarded
from zigpt.cli.screen import duration
from zigpt.data.batches import Corpus
from zigpt.data.source import read_texts
from zigpt.generate.loop import write
from zigpt.generate.reference import ReferenceDecoder
from zigpt.gpt.config import GPTConfig, SampleConfig, TrainConfig
from zigpt.training.device import keep_freed_memory, pick_device
from zigpt.training.loop import TrainState, train
from zigpt.training.plan import time_step

N_EMBED = 384  # C: numbers that describe each character on its way through the model
N_LAYERS = 6  # blocks, one above the other
N_HEADS = 6  # ways of looking back in each block, 384 / 6 = 64 numbers each
BLOCK_SIZE = 256  # T: the longest context, in characters
BATCH_SIZE = 64  # B: windows in each step, so 64 x 256 = 16,384 predictions at once
LEARNING_RATE = 3e-4  # of AdamW, constant
DROP_OUT = 0.2  # share of activations dropped while training
EVAL_INTERVAL = 200  # steps between two looks at the train and test loss
MAX_STEPS = 5000


def main() -> None:
    """Read, write, train, write."""
    keep_freed_memory()
    corpus = Corpus.from_text(read_texts([Path("input.txt")]).text)
    corpus.require(BLOCK_SIZE)
    model = GPTConfig(
        vocab_size=corpus.tokenizer.vocab_size,
        block_size=BLOCK_SIZE,
        n_layer=N_LAYERS,
        n_head=N_HEADS,
        n_embd=N_EMBED,
        dropout=DROP_OUT,
    )
    config = TrainConfig(
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        final_learning_rate=LEARNING_RATE,
        max_steps=MAX_STEPS,
        eval_interval=EVAL_INTERVAL,
    )
    device = pick_device()
    print(f"{model.n_parameters:,} parameters on {device}")
    if device.type == "cpu":
        seconds = MAX_STEPS * time_step(model, config, corpus, device)
        print(f"{MAX_STEPS} steps will take about {duration(seconds)} on this machine.")
        print("In minutes instead: zigpt train input.txt")

    def sample() -> None:
        decoder = ReferenceDecoder(state.model)
        for character in write(decoder, corpus.tokenizer, "", 300, SampleConfig(seed=1337)):
            print(character, end="", flush=True)
        print("\n")

    state = TrainState.fresh(model, config, device)
    print("\nThe untrained model writes:")
    sample()
    for progress in train(state, corpus):
        if progress.look:
            train_loss, test_loss = progress.look.train_loss, progress.look.test_loss
            print(f"step {progress.step}: train loss {train_loss:.4f}, test loss {test_loss:.4f}")
    print("\nThe trained model writes:")
    sample()


if __name__ == "__main__":
    sys.exit(guarded(main))
