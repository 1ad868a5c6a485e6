"""Which weights of a causal language model learn: adapters, all, the head, or the last layers."""

from __future__ import annotations

import warnings
from typing import Any
from weakref import WeakKeyDictionary

from tamis.errors import RecipeError
from tamis.models.decoder_layers import decoder_layers
from tamis.runs.digests import derive_seed
from tamis.train.seeded import seeded
from tamis.train.settings import TrainSettings

_STOPPED: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
"""Input embeddings that no gradient reaches, and what ends that."""
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def prepare(network: Any, settings: TrainSettings) -> tuple[Any, str]:
    """Choose the weights that learn, as ``settings.tune`` says, and freeze the others.

    Parameters
    ----------
    network : transformers.PreTrainedModel
        A causal language model. It is changed in place.
    settings : TrainSettings

    Returns
    -------
    network : transformers.PreTrainedModel or peft.PeftModel
        The one to train.
    description : str
        What learns, in a sentence.

    Raises
    ------
    RecipeError
        If the model carries adapters already, has no such layers, or fewer than asked for.

    Notes
    -----
    Adapters go on the seven projections of a Llama-like layer where all seven exist, else on every linear layer but the
    head. They are drawn from ``settings.seed``; the global generator is neither read nor moved.
    """
    settings.validate()
    if hasattr(network, "get_base_model"):
        raise RecipeError("This model carries adapters already; merge(network) them before it is prepared anew.")
    if (stopped := _STOPPED.pop(network.get_input_embeddings(), None)) is not None:
        stopped.remove()
    if settings.tune == "lora":
        network, what = _with_adapters(network, settings)
    elif settings.tune == "full":
        network.requires_grad_(True)
        what = "all weights learn"
    else:
        what = _last_layers(network, settings.last_layers)
    learning = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    total = sum(parameter.numel() for parameter in network.parameters())
    return network, f"{what}: {learning:,} of {total:,} weights"


def merge(network: Any) -> Any:
    """Add adapters to the weights that they adapt and return the plain model; one without adapters as it is."""
    return network.merge_and_unload() if hasattr(network, "merge_and_unload") else network


def _with_adapters(network: Any, settings: TrainSettings) -> tuple[Any, str]:
    from peft import LoraConfig, get_peft_model
    from transformers.pytorch_utils import Conv1D

    present = {name.rpartition(".")[2] for name, _ in network.named_modules()}
    named = present.issuperset(PROJECTIONS)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=list(PROJECTIONS) if named else "all-linear",
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in network.modules()),
    )
    with seeded(derive_seed(settings.seed, "adapters"), network.device), warnings.catch_warnings():
        # peft asks transformers under a name that transformers 5.24 calls old
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
        adapted = get_peft_model(network, config)
    where = "all seven projections" if named else "all linear layers but the head"
    return adapted, f"LoRA adapters of rank {settings.lora_rank} on {where} learn"


def _last_layers(network: Any, n: int | None) -> str:
    """Let the head learn, alone or (n not None) with the final norm and the last n layers; say so."""
    head, embeddings = network.get_output_embeddings(), network.get_input_embeddings()
    if head is None:
        raise RecipeError(f"{type(network).__name__} has no output layer that could learn; use tune='full'.")
    learning, what = [head], "the output layer learns"
    if n is not None:
        decoder = decoder_layers(network)
        layers, norm = decoder.layers, [] if decoder.norm is None else [decoder.norm]
        if n > len(layers):
            raise RecipeError(
                f"The 'tune' parameter of TrainSettings asks for the last {n} layers, but {type(network).__name__} has "
                f"{len(layers)}; use 'last:{len(layers)}' or fewer."
            )
        learning += [*layers[len(layers) - n :], *norm]
        named = [f"the last {n} of {len(layers)} layers"] * bool(n) + ["the final norm"] * len(norm)
        what = f"{', '.join(named)} and the output layer learn" if named else what
    network.requires_grad_(False)
    for module in learning:
        module.requires_grad_(True)
    if head.weight is embeddings.weight:
        _STOPPED[embeddings] = embeddings.register_forward_hook(_detached)
        what += (
            " (the output layer is TIED to the input embeddings, so that these learn too, by what they put out: "
            "nothing flows back through the layers below)"
        )
    return what


def _detached(module: Any, args: Any, output: Any) -> Any:
    """What the model reads is no reason for its embeddings to learn: that would need a pass back through all layers."""
    return output.detach()
