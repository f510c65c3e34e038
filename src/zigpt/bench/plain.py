"""The plain side of the benchmark: v2.py itself, whole batches in float32, without a cache."""

import importlib.util
from pathlib import Path
from types import ModuleType

from zigpt.gpt.config import GPTConfig

_HERE = Path(__file__).parent


def load_textbook(config: GPTConfig) -> ModuleType:
    """Run v2.py again, with the shape of `config` for its constants."""
    path = _HERE / "v2.py"  # in an installed wheel; in a checkout it lies at the root
    if not path.exists():
        path = _HERE.parents[2] / "v2.py"
    spec = importlib.util.spec_from_file_location("v2", path)
    assert spec
    assert spec.loader
    v2 = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(v2)
    v2.__dict__.update(
        N_EMBED=config.n_embd,
        N_LAYERS=config.n_layer,
        N_HEADS=config.n_head,
        BLOCK_SIZE=config.block_size,
        DROP_OUT=config.dropout,
    )
    return v2
