"""Whether the layers of a model are pre-norm, so that leaving one out passes the residual stream on as it is."""

from __future__ import annotations

from typing import Any

from tamis.errors import RecipeError
from tamis.models.decoder_layers import decoder_layers

_NORMED_RESIDUAL = ("apply_residual_connection_post_layernorm",)
_NORMED_RESIDUAL_TYPES = ("minimax",)


class _Seen(Exception):  # noqa: N818 - it ends a forward pass, and is no error
    """The first layer has read its input."""


def require_pre_norm(network: Any) -> None:
    """Raise RecipeError if a layer's first weights read the residual stream without a norm before them.

    A pre-norm layer computes x + f(norm(x)). Where x itself goes into a projection (BERT, GPT-1, OPT-350m, OLMo-2), or
    the sum starts from norm(x) (some BLOOM), the criteria that tell which layers matter do not hold.

    Parameters
    ----------
    network : transformers.PreTrainedModel
        On the meta device; a few tokens are sent through its first layer.

    Notes
    -----
    Seen by what each module with a matrix of its own gets as its input. A model that does not run on the meta device is
    taken to be pre-norm.
    """
    config = network.config.get_text_config(decoder=True)
    reader = next((f"{key} is true" for key in _NORMED_RESIDUAL if getattr(config, key, False)), None)
    if config.model_type in _NORMED_RESIDUAL_TYPES:
        reader = "the sum starts from the normed input"
    if reader is None and (name := _raw_reader(network)):
        reader = f"{name!r} reads the residual stream without a norm before it"
    if reader is not None:
        raise RecipeError(
            f"The layers of {type(network).__name__} are not pre-norm ({reader}), and layer pruning was studied on "
            "pre-norm models only; pass allow_post_norm=True (on the command line: "
            "--allow-post-norm) to cut it all the same."
        )


def _raw_reader(network: Any) -> str | None:
    """Name of a module in the first layer that multiplies the layer's own input with a matrix."""
    import torch

    layer = decoder_layers(network).layers[0]
    found: list[str] = []
    given: list[torch.Tensor] = []

    def enters(_: Any, args: Any, kwargs: Any) -> None:
        inputs = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
        given[:] = [value for value in inputs if value.is_floating_point()][:1]

    def reads(name: str) -> Any:
        def hook(_: Any, args: Any, kwargs: Any) -> None:
            if any(value is x for value in (*args, *kwargs.values()) for x in given):
                found.append(name)
                raise _Seen

        return hook

    def leaves(*_: Any) -> None:
        raise _Seen

    hooks = [layer.register_forward_pre_hook(enters, with_kwargs=True), layer.register_forward_hook(leaves)]
    for name, module in layer.named_modules():
        if name and any(parameter.dim() > 1 for parameter in module.parameters(recurse=False)):
            hooks.append(module.register_forward_pre_hook(reads(name), with_kwargs=True))
    ids = torch.zeros((1, 4), dtype=torch.long, device="meta")
    # a whole mask keeps transformers from looking into the ids; some older families take only ones of two
    for mask in (torch.ones((1, 1, 4, 4), dtype=torch.bool, device="meta"), None):
        try:
            with torch.no_grad():
                network(input_ids=ids, attention_mask=mask, use_cache=False)
        except _Seen:
            break
        except (RuntimeError, ValueError, TypeError, NotImplementedError, AttributeError, IndexError, KeyError):
            continue
    for hook in hooks:
        hook.remove()
    return found[0] if found else None
