"""Labelled examples in memory, and what a network says of them."""

import numpy as np
import pytest

from tamis.errors import DataError
from tamis.train.labelled import CrossEntropy, LabelledExamples, logits_of, require_logits


@pytest.fixture
def linear():
    import torch

    return torch.nn.Linear(4, 3)


def examples(n=10, k=3):
    rng = np.random.default_rng(0)
    return LabelledExamples.of(rng.normal(size=(n, 4)).astype(np.float32), rng.integers(0, k, n))


def test_one_tensor_or_named_ones(linear):
    import torch

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = linear

        def forward(self, x, scale):
            from types import SimpleNamespace

            return SimpleNamespace(logits=self.linear(x) * scale)

    plain = examples()
    named = LabelledExamples.of({"x": plain.inputs, "scale": np.full((10, 1), 2, np.float32)}, plain.labels)
    np.testing.assert_allclose(logits_of(Model(), named), 2 * logits_of(linear, plain), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(logits_of(Model(), named.take([3, 1])), 2 * logits_of(linear, plain)[[3, 1]], rtol=1e-5)


def test_batches_do_not_matter(linear):
    np.testing.assert_allclose(logits_of(linear, examples(), batch=3), logits_of(linear, examples()), rtol=1e-5)
    assert logits_of(linear, examples().take([])).shape == (0, 0)


def test_the_loss_is_cross_entropy(linear):
    import torch

    data = examples()
    wanted = torch.nn.functional.cross_entropy(linear(data.inputs[[4, 2]]), data.labels[[4, 2]], reduction="sum")
    torch.testing.assert_close(CrossEntropy(data).loss(linear, [4, 2]), wanted)
    assert len(CrossEntropy(data)) == 10


def test_whole_numbers_as_floats_are_labels():
    assert LabelledExamples.of(np.zeros((2, 1)), [0.0, 2.0]).labels.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("labels", "words"),
    [([0.5, 1], "whole numbers"), ([float("nan"), 1], "whole numbers"), (["a", "b"], "whole numbers"),
     ([0, -1], "Got -1 at position 1"), ([0, 1, 1], "3 labels, but 2 inputs"), ([[0], [1]], "one an example")],
)  # fmt: skip
def test_wrong_labels(labels, words):
    with pytest.raises(DataError, match=words):
        LabelledExamples.of(np.zeros((2, 1)), labels)


def test_networks_that_are_no_classifiers(linear):
    from torch import nn

    data = examples()
    assert require_logits(linear, data) == 3
    for network, words in (
        (nn.Sequential(linear, nn.Softmax(1)), "probabilities"),
        (nn.Linear(4, 1), "at least 2 classes"),
        (nn.Sequential(linear, nn.Unflatten(1, (3, 1))), "at least 2 classes"),
        (nn.Linear(4, 2), "2 classes, but the label at position"),
    ):
        with pytest.raises(DataError, match=words):
            require_logits(network, data)
    nn.init.constant_(linear.weight, float("nan"))
    with pytest.raises(DataError, match="not finite"):
        require_logits(linear, data)
