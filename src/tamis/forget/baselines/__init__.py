"""Other published ways to forget, over the same training loop, and training anew."""

from tamis.forget.baselines.pairs import FineTune, GradientAscent, L1Sparse, NegGradPlus
from tamis.forget.baselines.relabelled import RandomLabels, SalUn
from tamis.forget.baselines.retrain import Retrain
from tamis.forget.baselines.teachers import BadTeacher, Scrub

__all__ = [
    "BadTeacher",
    "FineTune",
    "GradientAscent",
    "L1Sparse",
    "NegGradPlus",
    "RandomLabels",
    "Retrain",
    "SalUn",
    "Scrub",
]
