"""Names of modules in the settings of a quantised checkpoint, with the index of their layer."""

from __future__ import annotations

import re
from typing import Any

from tamis.errors import RecipeError
from tamis.prune.surgery.kept_layers import KeptLayers
from tamis.prune.surgery.layer_keys import OTHER_TOWERS

_PLAIN_NAME = re.compile(r"((?:[A-Za-z_]\w*\.)*(?:layers|h|blocks|block)\.)(\d+)((?:\.\w+)*(?:\.\*)?)")
_NAMES_A_LAYER = re.compile(r"(layers|\bh|blocks?)\W*\d")
_DROPPED = object()


def cut_quantization(settings: Any, kept: KeptLayers, path: str = "quantization_config") -> Any:
    """Renumber the layers in the names of modules that quantisation skips or treats on their own.

    Raises
    ------
    RecipeError
        If a name is a pattern over layers, which cannot be renumbered safely.

    Examples
    --------
    >>> cut_quantization({"ignore": ["lm_head", "model.layers.1.mlp", "model.layers.3"]}, KeptLayers((0, 3), 4))
    {'ignore': ['lm_head', 'model.layers.1']}
    """
    if isinstance(settings, dict):
        items = [(_renamed(key, kept, path), key, value) for key, value in settings.items()]
        return {new: cut_quantization(value, kept, f"{path}.{key}") for new, key, value in items if new is not _DROPPED}
    if isinstance(settings, list):
        entries = [cut_quantization(entry, kept, path) for entry in settings]
        return [entry for entry in entries if entry is not _DROPPED]
    return _renamed(settings, kept, path)


def _renamed(name: Any, kept: KeptLayers, path: str) -> Any:
    if not isinstance(name, str) or OTHER_TOWERS.search(name):
        return name
    if match := _PLAIN_NAME.fullmatch(name):
        new = kept.position.get(int(match[2]))
        return _DROPPED if new is None else f"{match[1]}{new}{match[3]}"
    if _NAMES_A_LAYER.search(name):
        raise RecipeError(
            f"The entry {path} names layers by a pattern ({name!r}), which cannot be renumbered; pass "
            "values={'quantization_config': {...}} (on the command line: --config quantization_config=JSON)."
        )
    return name
