"""Magnitudes by numpy, whatever the dtype and however a tensor is cut; which tensors count."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.errors import DataError, RecipeError
from tamis.prune.criteria import magnitude
from tamis.prune.criteria.magnitude import layer_magnitude


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("chunk", [7, 1 << 20])
def test_by_numpy(decoder, monkeypatch, p, chunk):
    monkeypatch.setattr(magnitude, "_CHUNK", chunk)
    for layer in decoder("llama").model.layers:
        arrays = [weight.detach().numpy().astype(np.float64).ravel() for weight in layer.parameters()]
        expected = {
            "norm_sum": sum(np.linalg.norm(each, p) for each in arrays),
            "pow_sum": sum((abs(each) ** p).sum() for each in arrays),
            "concat": np.linalg.norm(np.concatenate(arrays), p),
        }
        for reduction, value in expected.items():
            assert layer_magnitude(layer.named_parameters(), reduction=reduction, p=p) == pytest.approx(
                value, rel=1e-12
            )


def test_norms_count_and_biases_do_not(decoder):
    import torch

    layer = dict(decoder("gpt2").transformer.h[0].named_parameters())
    before = layer_magnitude(layer.items())
    with torch.no_grad():
        for name, weight in layer.items():
            if name.endswith("bias"):
                weight.fill_(100)
    assert layer_magnitude(layer.items()) == before
    with torch.no_grad():
        layer["ln_1.weight"] += 1
    assert layer_magnitude(layer.items()) == pytest.approx(before + 16)


def test_experts_in_one_tensor_count(decoder):
    layer = dict(decoder("mixtral").model.layers[0].named_parameters())
    experts = [name for name in layer if "experts" in name]
    assert experts
    rest = {name: weight for name, weight in layer.items() if name not in experts}
    total = sum(layer[name].abs().double().sum().item() for name in experts)
    assert layer_magnitude(layer.items()) - layer_magnitude(rest.items()) == pytest.approx(total)


def test_a_generator_is_enough_and_holds_one_tensor_at_a_time():
    import weakref

    import torch

    alive = weakref.WeakSet()

    def tensors():
        for index in range(5):
            tensor = torch.ones(3)
            alive.add(tensor)
            yield f"{index}.weight", tensor
            del tensor
            assert len(alive) <= 1

    assert layer_magnitude(tensors()) == 15


def test_half_precision_is_summed_in_float64():
    import torch

    many = torch.full((100_000,), 0.1, dtype=torch.float16)
    assert layer_magnitude([("weight", many)]) == pytest.approx(float(many[0]) * 100_000, rel=1e-12)
    huge = torch.full((4,), 60_000.0, dtype=torch.float16)
    assert layer_magnitude([("weight", huge)], reduction="pow_sum", p=2) == pytest.approx(4 * 59_999.9**2, rel=1e-3)


def test_what_cannot_be_measured():
    import torch

    with pytest.raises(DataError, match="finds no weight in a layer"):
        layer_magnitude([("attn.bias", torch.ones(2)), ("embed_tokens.weight", torch.ones(2, 2))])
    with pytest.raises(DataError, match=r"'q\.weight' is torch\.int8; use the model before it was quantised"):
        layer_magnitude([("q.weight", torch.ones(2, dtype=torch.int8))])
    for value in (torch.nan, torch.inf):
        assert np.isnan(layer_magnitude([("q.weight", torch.tensor([1.0, value]))])), "unmeasured, and no sort key"
    for wrong in ({"reduction": "sum"}, {"p": 3}):
        with pytest.raises(RecipeError, match=f"'{next(iter(wrong))}' parameter of layer_magnitude"):
            layer_magnitude([], **wrong)
