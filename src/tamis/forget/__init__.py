"""Forgetting: make a trained classifier behave as if it had never seen some of its examples (arXiv 2406.07698)."""

from tamis.forget.forget_sets import ForgetSets
from tamis.forget.forgetter import Forgetter, Forgotten
from tamis.forget.ugradsl import UGradSL

__all__ = ["ForgetSets", "Forgetter", "Forgotten", "UGradSL"]
