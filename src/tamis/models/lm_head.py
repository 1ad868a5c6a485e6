"""A causal LM in two parts: the decoder's hidden states, and the head that turns some of them into logits.

The logits of a batch need tokens x vocabulary numbers, far more than all else; whoever wants a few tokens, or a few at
a time, asks the head for those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tamis.errors import RecipeError

if TYPE_CHECKING:
    from torch import Tensor

TOLERANCE = 1e-2
"""Largest difference of a logit, relative to the largest logit, that bfloat16 rounding explains."""
_PROBE_TOKENS = 8


def hidden_states(network: Any, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
    """Return what the head reads.

    Parameters
    ----------
    network : transformers.PreTrainedModel or peft.PeftModel
    input_ids : Tensor of int, shape (B, L)
    attention_mask : Tensor of int, shape (B, L), optional
        1 where a token is, 0 where padding is. Right padding needs none: no token sees what follows it.

    Returns
    -------
    Tensor, shape (B, L, H)
    """
    decoder = _plain(network).get_decoder()
    states: Tensor = decoder(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)[0]
    return states


def head_logits(network: Any, hidden: Tensor) -> Tensor:
    """Return the logits of some hidden states, in the model's dtype.

    Parameters
    ----------
    network : transformers.PreTrainedModel or peft.PeftModel
    hidden : Tensor, shape (..., H)

    Returns
    -------
    Tensor, shape (..., V)
    """
    import torch

    plain = _plain(network)
    config = plain.config.get_text_config(decoder=True)
    logits: Tensor = plain.get_output_embeddings()(hidden)
    for name, sign in (("logit_scale", 1), ("logits_scaling", -1)):  # Cohere; Granite
        scale = getattr(config, name, None)
        if scale is not None:
            logits = logits * scale**sign
    cap = getattr(config, "final_logit_softcapping", None)  # Gemma
    return logits if cap is None else cap * torch.tanh(logits / cap)


def require_split(network: Any, name: str) -> None:
    """Raise unless head and hidden states give the logits that the model itself gives.

    Parameters
    ----------
    network : transformers.PreTrainedModel or peft.PeftModel
    name : str
        What the message calls it.

    Raises
    ------
    RecipeError
        If they do not: the model does something else to its logits.
    """
    import torch

    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            vocabulary = _plain(network).get_input_embeddings().weight.shape[0]
            ids = torch.arange(_PROBE_TOKENS, device=network.device)[None] % vocabulary
            own = network(input_ids=ids, use_cache=False).logits.float()
            ours = head_logits(network, hidden_states(network, ids)).float()
    except (AttributeError, TypeError) as error:
        raise RecipeError(
            f"The model {name!r} ({type(network).__name__}) has no decoder with a head on top ({error}); "
            "use a decoder-only causal language model."
        ) from error
    finally:
        network.train(training)
    if own.shape != ours.shape or (own - ours).abs().max() > TOLERANCE * own.abs().max():
        raise RecipeError(
            f"The model {name!r} ({type(_plain(network)).__name__}) changes its logits after the head in a way that "
            "tamis does not know; its token losses cannot be computed in parts."
        )


def _plain(network: Any) -> Any:
    """The model inside a PEFT wrapper, adapters included."""
    return network.get_base_model() if hasattr(network, "get_base_model") else network
