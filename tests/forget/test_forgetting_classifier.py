"""A torch network with the manners of scikit-learn."""

import copy

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score

from tamis.errors import DataError
from tamis.forget import UGradSL
from tamis.forget.baselines import FineTune
from tamis.forget.forgetting_classifier import ForgettingClassifier


@pytest.fixture(scope="module")
def data():
    x, y = load_digits(return_X_y=True)
    return x / 16, np.array([f"digit {each}" for each in y])


@pytest.fixture(scope="module")
def _fitted(data):
    x, y = data
    return ForgettingClassifier(epochs=15).fit(x[:1000], y[:1000])


@pytest.fixture
def fitted(_fitted):
    return copy.deepcopy(_fitted)


def test_it_learns_and_says_so_in_the_labels_given(fitted, data):
    x, y = data
    assert fitted.score(x[1000:], y[1000:]) > 0.85
    assert set(fitted.predict(x[:50])) <= set(y)
    np.testing.assert_allclose(fitted.predict_proba(x[:50]).sum(1), 1)


def test_it_forgets_a_class_and_keeps_the_others(fitted, data):
    x, y = data[0][:1000], data[1][:1000]
    three = y == "digit 3"
    before = fitted.network_
    way = UGradSL(learning_rate=0.01)
    fitted.forget(x, y, three, held_out=(data[0][1000:], data[1][1000:]), way=way)
    assert fitted.score(x[three], y[three]) < 0.1
    assert fitted.score(x[~three], y[~three]) > 0.9
    assert fitted.forgotten_.reason
    assert fitted.network_ is not before


def test_other_ways_and_other_networks(data):
    from torch import nn

    x, y = data[0][:200], data[1][:200]
    made = ForgettingClassifier(network=lambda features, classes: nn.Linear(features, classes), epochs=2).fit(x, y)
    assert made.forget(x, y, [3], way=FineTune(epochs=1)).forgotten_.settings.optimizer == "sgd"


def test_scikit_learn_can_clone_and_validate_it(data):
    made = clone(ForgettingClassifier(epochs=3, random_state=4))
    assert made.get_params()["random_state"] == 4
    assert cross_val_score(made, data[0][:300], data[1][:300], cv=3).mean() > 0.3


def test_labels_that_were_not_there(fitted, data):
    with pytest.raises(DataError, match="'digit x' was not there in training"):
        fitted.forget(data[0][:2], ["digit 1", "digit x"], [0])
