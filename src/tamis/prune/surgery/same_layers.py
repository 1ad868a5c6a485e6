"""A proof by construction: every kept layer is built as it was, whatever the family's configuration looks like."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tamis.errors import RecipeError
from tamis.models.decoder_layers import decoder_layers
from tamis.prune.surgery.kept_layers import KeptLayers
from tamis.prune.surgery.pre_norm import require_pre_norm
from tamis.prune.surgery.transformers_config import decoder_config, meta_network

_STATES = ("training", "gradient_checkpointing")
_PLAIN = (bool, int, float, str, type(None))


def require_same_layers(
    original: dict[str, Any], cut: dict[str, Any], kept: Iterable[int], *, allow_post_norm: bool = False
) -> None:
    """Build both models without weights and compare each kept layer with itself.

    Compared are classes, names and shapes of parameters, and plain attributes of every submodule; of the rest of the
    model names and shapes; and the lists in the configurations that have an entry for each layer. So a dependence on
    the layer's index that :func:`~tamis.prune.surgery.config.pruned_config` does not know is found before anything is
    cut.

    Parameters
    ----------
    original, cut : dict
        Raw configurations.
    kept : iterable of int
        Ascending, 0-based.
    allow_post_norm : bool, default=False
        Take models whose layers read or write the residual stream through a norm in other ways than pre-norm ones.

    Raises
    ------
    RecipeError
        If a kept layer would become another one, if it is not pre-norm, or if transformers cannot build the model.

    Examples
    --------
    >>> gpt2 = {"model_type": "gpt2", "n_layer": 3, "n_embd": 8, "n_head": 1, "vocab_size": 9}
    >>> require_same_layers(gpt2, {**gpt2, "n_layer": 2}, kept=(0, 2))
    >>> scaled = {**gpt2, "scale_attn_by_inverse_layer_idx": True}
    >>> require_same_layers(scaled, {**scaled, "n_layer": 2}, kept=(0, 2))
    Traceback (most recent call last):
    ...
    tamis.errors.RecipeError: Layer 2 would become another one as layer 1 of the cut model: its 'attn.scaling' is ...
    """
    before, after = meta_network(original), meta_network(cut)
    if not allow_post_norm:
        require_pre_norm(before)
    same_networks(before, after, kept)


def same_networks(before: Any, after: Any, kept: Iterable[int]) -> None:
    """Compare two built models as :func:`require_same_layers` does."""
    old, new = decoder_layers(before), decoder_layers(after)
    layers = KeptLayers.checked(kept, len(old.layers))
    if len(new.layers) != len(layers.indices):
        raise RecipeError(
            f"The cut configuration makes a model of {len(new.layers)} layers, expected {len(layers.indices)}; check "
            "the entries of config.json that count layers."
        )
    for position, index in enumerate(layers.indices):
        for what, was, becomes in _differences(old.layers[index], new.layers[position]):
            if (was, becomes) != (index, position):
                raise _other(index, position, f"its {what!r} is {was!r} and would be {becomes!r}")
    for name, was, becomes in _pairs(_shapes(before, old.path), _shapes(after, new.path)):
        if was != becomes:
            raise RecipeError(
                f"{name!r} beside the layers has shape {was} in the original and {becomes} in the cut model, so that "
                "it depends on the number of layers; this model cannot lose layers."
            )
    _same_lists(decoder_config(before.config), decoder_config(after.config), layers)


def _other(index: int, position: int, why: str) -> RecipeError:
    return RecipeError(
        f"Layer {index} would become another one as layer {position} of the cut model: {why}; if an entry of "
        "config.json decides this by the index of layers, pass its value for the cut model as values={KEY: ...} (on "
        "the command line: --config KEY=JSON), else this model cannot lose these layers."
    )


def _differences(was: Any, becomes: Any) -> Iterator[tuple[str, Any, Any]]:
    """Name and both values of whatever differs between two layers."""
    for name, old, new in _pairs(dict(was.named_modules()), dict(becomes.named_modules())):
        if type(old) is not type(new):
            yield name, type(old).__name__, type(new).__name__
            continue
        for attribute, a, b in _pairs(_plain(old), _plain(new)):
            if a != b:
                yield f"{name}.{attribute}".lstrip("."), a, b
    for name, old, new in _pairs(_shapes(was), _shapes(becomes)):
        if old != new:
            yield name, old, new


def _pairs(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    return [(name, old.get(name), new.get(name)) for name in {**old, **new}]


def _plain(module: Any) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, _PLAIN) and not name.startswith("_") and name not in _STATES
    }


def _shapes(module: Any, without: str | None = None) -> dict[str, tuple[int, ...]]:
    """Shapes of all that is stored, what is below ``without`` aside."""
    stored = module.state_dict().items()
    return {name: tuple(tensor.shape) for name, tensor in stored if not without or not name.startswith(f"{without}.")}


def _same_lists(old: Any, new: Any, layers: KeptLayers) -> None:
    """Compare what is looked up by the layer's index in the forward pass."""
    for name, entries in _lists(old).items():
        cut = _lists(new).get(name)
        if len(entries) != layers.n_layers or cut is None:
            continue
        if list(cut) not in (layers.of_each(entries), layers.renumbered(entries), list(entries)):
            index = next((i for i, old_index in enumerate(layers.indices) if cut[i : i + 1] != [entries[old_index]]), 0)
            raise _other(layers.indices[index], index, f"the configuration's {name!r} would have another entry for it")


def _lists(config: Any) -> dict[str, list[Any]]:
    from transformers import PretrainedConfig  # whose own properties say nothing of layers, and some warn when read

    names = set(dir(type(config))) - set(dir(PretrainedConfig))
    properties = [name for name in sorted(names) if isinstance(getattr(type(config), name, None), property)]
    found = vars(config) | {name: getattr(config, name, None) for name in properties if not name.startswith("_")}
    return {name: list(value) for name, value in found.items() if isinstance(value, (list, tuple))}
