"""What the eye wants to see of a model. Every number is the model's own."""

from zigpt.anatomy.activations import Activations, look_inside
from zigpt.anatomy.copies import Passage, TrainingText
from zigpt.anatomy.influence import influence
from zigpt.anatomy.layers import Label, ScoreParts, contributions, lens, score_parts
from zigpt.anatomy.predictions import Predictions, judge, predict

__all__ = [
    "Activations",
    "Label",
    "Passage",
    "Predictions",
    "ScoreParts",
    "TrainingText",
    "contributions",
    "influence",
    "judge",
    "lens",
    "look_inside",
    "predict",
    "score_parts",
]
