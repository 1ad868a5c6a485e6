"""The same cut as a recipe of mergekit."""

from __future__ import annotations

from collections.abc import Iterable

import yaml

from tamis.prune.surgery.kept_layers import KeptLayers

_WARNING = """\
# mergekit changes the number of layers in config.json, and none of its entries on single layers (layer_types and the
# like). This model has such entries: take the config.json that tamis wrote in place of mergekit's.
"""


def mergekit_yaml(model: str, kept: Iterable[int], *, dtype: str, per_layer_entries: bool = False) -> str:
    """Return a ``passthrough`` recipe with a slice for each run of kept layers.

    Parameters
    ----------
    model : str
        As mergekit is to find it: a folder or ``"owner/model"``.
    kept : iterable of int
        Ascending, 0-based.
    dtype : str
        As transformers names it, such as ``"bfloat16"``.
    per_layer_entries : bool, default=False
        Whether the configuration says something of single layers, which mergekit leaves as it was; the recipe then says
        so.

    Raises
    ------
    RecipeError
        If the layers to keep are none or do not ascend.

    Examples
    --------
    >>> print(mergekit_yaml("owner/model", (0, 1, 2, 5), dtype="bfloat16"))
    slices:
    - sources:
      - model: owner/model
        layer_range:
        - 0
        - 3
    - sources:
      - model: owner/model
        layer_range:
        - 5
        - 6
    merge_method: passthrough
    dtype: bfloat16
    """
    indices = tuple(kept)
    runs: list[list[int]] = []
    for layer in KeptLayers.checked(indices, max(indices, default=0) + 1).indices:
        if runs and runs[-1][1] == layer:
            runs[-1][1] = layer + 1
        else:
            runs.append([layer, layer + 1])
    slices = [{"sources": [{"model": model, "layer_range": run}]} for run in runs]
    recipe = {"slices": slices, "merge_method": "passthrough", "dtype": dtype}
    return (_WARNING if per_layer_entries else "") + yaml.safe_dump(recipe, sort_keys=False)
