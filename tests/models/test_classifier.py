"""Classifiers in folders: saved, found, loaded, and everything that is no classifier."""

import json

import numpy as np
import pytest

from tamis.errors import DataError, RecipeError
from tamis.models.classifier import (
    describe_classifier,
    find_classifier,
    load_classifier,
    save_classifier,
    untrained_classifier,
)
from tamis.models.small_networks import cnn, make_network, mlp

DESCRIPTION = {"network": "mlp", "arguments": {"sizes": [4, 6, 3]}, "classes": ["a", "b", "c"]}


@pytest.fixture
def folder(tmp_path):
    save_classifier(mlp([4, 6, 3]), tmp_path / "digits", DESCRIPTION)
    return tmp_path / "digits"


def my_network():
    return mlp([4, 6, 3])


def not_a_network():
    return 3


def test_comes_back_as_it_was(folder):
    import torch

    network = mlp([4, 6, 3])
    save_classifier(network, folder, DESCRIPTION)
    model = find_classifier(str(folder))
    x = torch.randn(5, 4)
    assert torch.equal(load_classifier(model)(x), network(x))
    assert not load_classifier(model).training
    assert (model.title, describe_classifier(model)) == ("digits", DESCRIPTION)
    assert not torch.equal(untrained_classifier(model)[0].weight, network[0].weight)


def test_the_fingerprint_follows_the_weights(folder):
    before = find_classifier(str(folder)).fingerprint
    assert find_classifier(str(folder)).fingerprint == before
    save_classifier(mlp([4, 6, 3]), folder, DESCRIPTION)
    assert find_classifier(str(folder)).fingerprint != before


def test_code_of_the_users_own(folder, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "their_code", sys.modules[__name__])
    (folder / "classifier.json").unlink()
    model = find_classifier(str(folder), factory="their_code:my_network")
    assert load_classifier(model)[0].in_features == 4
    assert describe_classifier(model) == {}
    with pytest.raises(RecipeError, match="returns a int"):
        load_classifier(find_classifier(str(folder), factory="their_code:not_a_network"))
    for name, words in (
        ("their_code", "MODULE:FUNCTION"),
        ("their_code:x", "cannot be imported"),
        ("nope_:x", "nope_"),
    ):
        with pytest.raises(RecipeError, match=words):
            load_classifier(find_classifier(str(folder), factory=name))


@pytest.mark.parametrize("kind", ["text", "image"])
def test_models_of_transformers(kind, tmp_path):
    import torch
    from transformers import BertConfig, BertForSequenceClassification, ViTConfig, ViTForImageClassification

    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    if kind == "text":
        network = BertForSequenceClassification(BertConfig(vocab_size=20, num_labels=3, **small)).eval()
        given = {"input_ids": torch.tensor([[3, 4, 5]])}
    else:
        network = ViTForImageClassification(ViTConfig(image_size=8, patch_size=4, num_labels=3, **small)).eval()
        given = {"pixel_values": torch.zeros(1, 3, 8, 8)}
    save_classifier(network, tmp_path, {})
    loaded = load_classifier(find_classifier(str(tmp_path)))
    torch.testing.assert_close(loaded(**given).logits, network(**given).logits)


def test_a_convolution_halves_and_may_be_normed():
    import torch

    for normed in (False, True):
        network = cnn([1, 12, 12], [4, 8], 16, 5, batch_norm=normed)
        assert network(torch.zeros(2, 1, 12, 12)).shape == (2, 5)
        assert any("BatchNorm" in type(each).__name__ for each in network) == normed


def test_what_is_no_classifier(tmp_path, folder):
    with pytest.raises(RecipeError, match="There is no folder"):
        find_classifier(str(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecipeError, match="holds no weights"):
        find_classifier(str(tmp_path / "empty"))
    (folder / "classifier.json").rename(folder / "other.json")
    with pytest.raises(RecipeError, match=r"neither classifier.json nor the config.json"):
        find_classifier(str(folder))
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    with pytest.raises(RecipeError, match="LlamaForCausalLM"):
        find_classifier(str(folder))
    (folder / "config.json").write_text("{")
    with pytest.raises(DataError, match="no model configuration"):
        find_classifier(str(folder))


@pytest.mark.parametrize(
    ("description", "error", "words"),
    [({"network": "mlpp"}, RecipeError, "Did you mean 'mlp'"), ({"network": "mlp"}, RecipeError, "arguments"),
     ({"network": "mlp", "arguments": {"sizes": [4]}}, RecipeError, "at least the sizes"), ({}, DataError, "KeyError"),
     ({"network": "mlp", "arguments": {"sizes": [4, 7, 3]}}, DataError, "another network")],
)  # fmt: skip
def test_descriptions_that_make_no_network(folder, description, error, words):
    (folder / "classifier.json").write_text(json.dumps(description))
    with pytest.raises(error, match=words):
        load_classifier(find_classifier(str(folder)))


def test_damaged_weights(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="cannot be read"):
        load_classifier(find_classifier(str(folder)))


def test_networks_by_name():
    assert make_network("mlp", {"sizes": [2, 2]})[0].in_features == 2
    assert (
        np.prod(make_network("cnn", {"shape": [1, 8, 8], "channels": [2], "hidden": 4, "classes": 2})[0].weight.shape)
        == 18
    )
