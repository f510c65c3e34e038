"""Claim: `zigpt sample` writes with the scores of this very model, but for the rounding."""

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from zigpt.errors import ModelFileError
from zigpt.formats.onnx_int8 import Weights
from zigpt.generate.quick import QuickDecoder
from zigpt.gpt.model import GPT
from zigpt.verify.check import Check, Result, unchecked

_MOST = 256  # positions; the decoder takes them one by one
_NEAR = 0.1  # in probability: what 8 bits may change, several times over


@torch.inference_mode()
def check_sampling(model: GPT, weights: Weights, window: Int[Tensor, " T"]) -> Check:
    """Read a window one character at a time with 8-bit weights, and at once with the model.

    The decoder cannot see ahead: what comes later has not been given to it yet.
    """
    ids = window[:_MOST].unsqueeze(0)
    exact = model.eval()(ids)[0].float().softmax(-1).cpu()
    known = ids.cpu().numpy()
    try:
        decoder = QuickDecoder(model.config, weights)
    except ModelFileError as error:
        return unchecked("sampling", error)
    scores = [decoder.next_scores(known[:, : t + 1])[0] for t in range(known.shape[1])]
    rounded = torch.from_numpy(np.stack(scores)).softmax(-1)
    differences = (rounded - exact).abs().amax(-1)
    largest, position = float(differences.max()), int(differences.argmax())
    result: Result = "passed" if largest <= _NEAR else "failed"
    detail = (
        f"Let the 8-bit decoder of `zigpt sample` read {len(differences):,} characters one by one, "
        "so that it cannot know the next, and the model read them at once: no probability differs "
        f"by more than {largest:.2g} (at position {position}; at most {_NEAR} is let pass)."
    )
    numbers = {"positions": len(differences), "largest_difference": largest, "position": position}
    return Check("sampling", result, detail, {**numbers, "most": _NEAR})
