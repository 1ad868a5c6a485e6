"""The configuration of a model of which layers were cut, with all that it says about layers by their index."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from tamis.errors import RecipeError
from tamis.prune.surgery.kept_layers import KeptLayers
from tamis.prune.surgery.layer_keys import (
    ACROSS_LAYERS,
    BY_OWN_INDEX,
    COUNTS,
    FIRST_LAYERS,
    INDEX_LISTS,
    OTHER_TOWERS,
    PER_LAYER,
    PERIODS,
    PLAIN_LISTS,
    SPEAKS_OF_LAYERS,
    TEXT_SECTIONS,
    layer_count,
    refuse_encoder_decoder,
    text_section,
)
from tamis.prune.surgery.quantization import cut_quantization
from tamis.prune.surgery.same_layers import require_same_layers
from tamis.prune.surgery.transformers_config import decoder_config, model_config

__all__ = ["pruned_config", "require_same_layers"]


def pruned_config(
    config: dict[str, Any], kept: Iterable[int], n_layers: int, *, values: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the raw configuration of the model that is left.

    Lists with an entry for each layer are cut to the kept ones, lists of indices are renumbered, counts of first layers
    are counted anew. Where transformers derives such a list from a layer's index, the list that it derives for the
    ORIGINAL model is written out, so that every kept layer stays what it was.

    Parameters
    ----------
    config : dict
        ``config.json`` of the original. Not changed.
    kept : iterable of int
        Ascending, 0-based.
    n_layers : int
        Of the original.
    values : mapping of str to Any, optional
        Entries to write as they are, in place of any rule: the answer where an entry is refused.

    Raises
    ------
    RecipeError
        If an entry depends on the index of layers in a way that is not known, or that fewer layers cannot have.

    Examples
    --------
    >>> gemma = {"model_type": "gemma2", "num_hidden_layers": 4}
    >>> cut = pruned_config(gemma, kept=(0, 2, 3), n_layers=4)
    >>> cut["num_hidden_layers"], cut["layer_types"]
    (3, ['sliding_attention', 'sliding_attention', 'full_attention'])
    """
    layers = KeptLayers.checked(kept, n_layers)
    refuse_encoder_decoder(config)
    whole = model_config(config)
    result = deepcopy(config)
    if whole is not None and decoder_config(whole) is not whole and layer_count(result) is None:
        result["text_config"] = result.get("text_config") or {"model_type": decoder_config(whole).model_type}
    text = text_section(result)
    derived = {} if whole is None else vars(decoder_config(whole))
    counted_by = "num_hidden_layers" if whole is None else _count_key(decoder_config(whole))
    _Section(text, derived, layers, values or {}).cut(counted_by)
    if text is not result and layer_count({key: result.get(key) for key in COUNTS}) == n_layers:
        _Section(result, {}, layers, values or {}).cut(None)
    if isinstance(result.get("quantization_config"), dict) and "quantization_config" not in (values or {}):
        result["quantization_config"] = cut_quantization(result["quantization_config"], layers)
    for key, value in (values or {}).items():
        (result if key in result and key not in text else text)[key] = deepcopy(value)
    model_config(result)
    return result


def _count_key(config: Any) -> str:
    return str(config.attribute_map.get("num_hidden_layers", "num_hidden_layers"))


class _Section:
    """A part of the configuration while it is cut: what it says, and what transformers derives where it is silent."""

    def __init__(
        self, section: dict[str, Any], derived: Mapping[str, Any], layers: KeptLayers, answers: Mapping[str, Any]
    ) -> None:
        self.section, self.derived, self.layers, self.answers = section, derived, layers, answers

    def given(self, key: str) -> Any:
        """The value that holds in the original; None if it is answered for the cut one."""
        if key in self.answers:
            return None
        value = self.section.get(key)
        # transformers takes null and, in Llama 4, an empty list for "as usual"
        return self.derived.get(key) if value is None or value == [] else value

    def cut(self, counted_by: str | None) -> None:
        """Apply the rules, all of which read the original entries."""
        written: dict[str, Any] = {}
        self._refuse_fixed()
        kept = len(self.layers.indices)
        written |= {key: kept for key in COUNTS if self.section.get(key) == self.layers.n_layers}
        if counted_by:
            written[counted_by] = kept
        written |= self._per_layer() | self._index_lists() | self._first_layers() | self._attention_types()
        written |= self._sparse_step()
        self._refuse_periods(written)
        self._refuse_unknown(written)
        self.section |= {key: value for key, value in written.items() if key not in self.answers}

    def _refuse_fixed(self) -> None:
        fixed = ACROSS_LAYERS | (BY_OWN_INDEX if self.layers.moves else {})
        for key, why in fixed.items():
            if self.given(key):
                raise _refused(key, self.given(key), why)

    def _per_layer(self) -> dict[str, Any]:
        n, written = self.layers.n_layers, {}
        for key in PER_LAYER:
            entries = self.given(key)
            if not entries or not isinstance(entries, (list, tuple, str)):
                continue
            if key == "block_types":
                entries = [entries[layer % len(entries)] for layer in range(n)]
            if len(entries) != n:
                raise _refused(key, entries, f"it has {len(entries)} entries for {n} layers")
            cut = self.layers.of_each(entries)
            written[key] = "".join(cut) if isinstance(entries, str) else cut
        return written

    def _index_lists(self) -> dict[str, Any]:
        found = {key: self.given(key) for key in INDEX_LISTS}
        return {
            key: self.layers.renumbered(indices)
            for key, indices in found.items()
            if isinstance(indices, (list, tuple)) and (indices or key in self.section)
        }

    def _first_layers(self) -> dict[str, Any]:
        counts = {key: self.given(key) for key in FIRST_LAYERS}
        written = {
            key: self.layers.count_below(count)
            for key, count in counts.items()
            if isinstance(count, int) and 0 < count < self.layers.n_layers
        }
        last = self.given("moe_layer_end_index")
        if isinstance(last, int) and last >= 0:
            written["moe_layer_end_index"] = self.layers.count_below(last + 1) - 1
            if written["moe_layer_end_index"] < 0:
                raise _refused("moe_layer_end_index", last, "no layer with experts is left")
        return written

    def _attention_types(self) -> dict[str, Any]:
        """GPT-Neo's list of pairs (types, times): one pair of all."""
        pairs = self.given("attention_types")
        if not pairs:
            return {}
        each = [kind for kinds, times in pairs for kind in list(kinds) * times]
        if len(each) != self.layers.n_layers:
            raise _refused("attention_types", pairs, f"it describes {len(each)} of {self.layers.n_layers} layers")
        return {"attention_types": [[self.layers.of_each(each), 1]]}

    def _sparse_step(self) -> dict[str, Any]:
        """Experts in every p-th layer (Qwen): a list of those without, since others are p-th now."""
        step, listed = self.given("decoder_sparse_step"), self.given("mlp_only_layers") or ()
        if not isinstance(step, int) or step <= 1:
            return {}
        dense = [layer for layer in range(self.layers.n_layers) if layer in listed or (layer + 1) % step]
        return {"decoder_sparse_step": 1, "mlp_only_layers": self.layers.renumbered(dense)}

    def _refuse_periods(self, written: dict[str, Any]) -> None:
        for key, instead in PERIODS.items():
            period = self.given(key)
            if instead in written or instead in self.answers or key in written:
                continue
            if isinstance(period, str) or (
                isinstance(period, int) and period > 1 and self.layers.breaks_period(period)
            ):
                raise _refused(key, period, "it counts layers, and kept ones get another index")

    def _refuse_unknown(self, written: dict[str, Any]) -> None:
        known = {*written, *self.answers, *PERIODS, *TEXT_SECTIONS, "quantization_config", "auto_map"}
        for key, value in self.section.items():
            if key in known or PLAIN_LISTS.search(key) or OTHER_TOWERS.search(key):
                continue
            for name, entry in value.items() if isinstance(value, dict) else [(key, value)]:
                if self._may_be_of_layers(name, entry):
                    what = "it" if name == key else f"its {name!r}"
                    raise _refused(
                        key, value, f"{what} may say something of single layers, and tamis does not know what"
                    )

    def _may_be_of_layers(self, name: str, entry: Any) -> bool:
        if isinstance(entry, str):
            return bool(SPEAKS_OF_LAYERS.search(name) and re.fullmatch(r"\d+(\s*,\s*\d+)+", entry))
        if not isinstance(entry, (list, tuple)) or not entry:
            return False
        indices = all(isinstance(each, int) for each in entry) and SPEAKS_OF_LAYERS.search(name)
        return len(entry) == self.layers.n_layers or bool(indices)


def _refused(key: str, value: Any, why: str) -> RecipeError:
    shown = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:57]}..."
    return RecipeError(
        f"The entry {key!r} of config.json ({shown}) does not carry over to fewer layers: {why}; pass the value of the "
        f"cut model as values={{{key!r}: ...}} (on the command line: --config {key}=JSON)."
    )
