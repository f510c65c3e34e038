"""Claim: the 8-bit decoder that writes text has the logits of this model, up to rounding."""

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from zigpt.errors import ModelFileError
from zigpt.formats.onnx_int8 import Weights
from zigpt.generate.quick import QuickDecoder
from zigpt.gpt.model import GPT
from zigpt.language import tr
from zigpt.verify.check import Check, Result, unchecked

_MOST = 256  # positions; the decoder takes them one by one
_NEAR = 0.1  # in probability; several times what 8 bits usually change


@torch.inference_mode()
def check_sampling(model: GPT, weights: Weights, window: Int[Tensor, " T"]) -> Check:
    """Score a window one character at a time with 8-bit weights, and at once with the model.

    The decoder cannot look ahead: later characters have not been passed to it yet.
    """
    ids = window[:_MOST].unsqueeze(0)
    exact = model.eval()(ids)[0].float().softmax(-1).cpu()
    given = ids.cpu().numpy()
    try:
        decoder = QuickDecoder(model.config, weights)
    except ModelFileError as error:
        return unchecked("sampling", error)
    logits = [decoder.next_logits(given[:, : t + 1])[0] for t in range(given.shape[1])]
    rounded = torch.from_numpy(np.stack(logits)).softmax(-1)
    differences = (rounded - exact).abs().amax(-1)
    largest, position = float(differences.max()), int(differences.argmax())
    result: Result = "passed" if largest <= _NEAR else "failed"
    detail = tr(
        "The 8-bit decoder read {count:,} characters one by one, so that it cannot see "
        "the next, and the model read them at once: the largest difference between their "
        "probabilities is {largest:.2g}, at position {position} (allowed: {allowed}).",
        count=len(differences),
        largest=largest,
        position=position,
        allowed=_NEAR,
    )
    numbers = {"positions": len(differences), "largest_difference": largest, "position": position}
    return Check("sampling", result, detail, {**numbers, "most": _NEAR})
