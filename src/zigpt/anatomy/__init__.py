"""What the eye wants to see of a model. Every number is the model's own.

inspect                          one forward pass, whole
lens, contributions, score_parts     through the layers
trace                                any number of it, to its terms and its line of code
predict, judge, influence            what it answers, and what moves the answers
TrainingText                         which passages of a text were copied
"""

from zigpt.anatomy.activations import Activations, inspect
from zigpt.anatomy.copies import Passage, TrainingText
from zigpt.anatomy.influence import influence
from zigpt.anatomy.layers import Label, ScoreParts, contributions, lens, score_parts
from zigpt.anatomy.predictions import Predictions, judge, predict
from zigpt.anatomy.trace import SHAPES, Line, Trace, trace

__all__ = [
    "SHAPES",
    "Activations",
    "Label",
    "Line",
    "Passage",
    "Predictions",
    "ScoreParts",
    "Trace",
    "TrainingText",
    "contributions",
    "influence",
    "inspect",
    "judge",
    "lens",
    "predict",
    "score_parts",
    "trace",
]
