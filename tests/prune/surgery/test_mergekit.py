"""The recipe says which runs of layers stay, ends exclusive."""

from __future__ import annotations

import yaml

from tamis.errors import RecipeError
from tamis.prune.surgery.mergekit import mergekit_yaml


def test_the_recipe():
    text = mergekit_yaml("owner/model", (0, 2, 3, 7), dtype="float16")
    assert yaml.safe_load(text) == {
        "slices": [
            {"sources": [{"model": "owner/model", "layer_range": layers}]} for layers in ([0, 1], [2, 4], [7, 8])
        ],
        "merge_method": "passthrough",
        "dtype": "float16",
    }
    assert "#" not in text


def test_it_warns_of_what_mergekit_does_not_change():
    text = mergekit_yaml("owner/model", (0, 2), dtype="float16", per_layer_entries=True)
    assert text.startswith("# mergekit")
    assert "layer_types" in text
    assert yaml.safe_load(text)["dtype"] == "float16"


def test_kept_layers_are_checked(refused):
    with refused(RecipeError, "ascending"):
        mergekit_yaml("owner/model", (2, 1), dtype="float16")
