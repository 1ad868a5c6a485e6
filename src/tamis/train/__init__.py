"""One training loop, for any network and any summed loss: masked language modelling, healing, forgetting.

`prepare` chooses which weights of a language model learn, `train` trains them on an `Objective` as `TrainSettings` say
and resumes what was interrupted, `merge` and `save_model` make a plain model of the result. `MaskedTokens` is the
objective of a language model whose loss covers some tokens only; `held_out_loss` measures it.
"""

from tamis.train.loop import train
from tamis.train.masked_lm import MaskedTokens
from tamis.train.objective import Objective
from tamis.train.saving import model_card, save_model
from tamis.train.settings import TrainSettings
from tamis.train.token_losses import held_out_loss, token_losses
from tamis.train.trained import Trained
from tamis.train.tuning import merge, prepare

__all__ = [
    "MaskedTokens",
    "Objective",
    "TrainSettings",
    "Trained",
    "held_out_loss",
    "merge",
    "model_card",
    "prepare",
    "save_model",
    "token_losses",
    "train",
]
