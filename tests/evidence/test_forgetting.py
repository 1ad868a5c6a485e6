"""What is measured of a network that was to forget, beside what scikit-learn and SciPy say."""

import numpy as np
import pytest

from tamis.errors import DataError
from tamis.evidence.forgetting import METRICS, Predictions, attack_auc, average_gap, forgetting_metrics
from tamis.evidence.membership import margin, svc_attack, true_label_confidence


def logits_and_labels(n, *, right=1.0, sure=3.0, seed=0, k=4):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    said = np.where(rng.random(n) < right, labels, (labels + 1) % k)
    logits = rng.normal(0, 0.5, (n, k))
    logits[np.arange(n), said] += sure
    return logits, labels


def predictions(n, **more):
    return Predictions.of(*logits_and_labels(n, **more))


def test_confidence_is_the_softmax_and_the_margin_its_logit():
    from scipy.special import logit, softmax

    logits, labels = logits_and_labels(50)
    p = true_label_confidence(logits, labels)
    assert p == pytest.approx(softmax(logits, axis=1)[np.arange(50), labels])
    assert margin(logits, labels) == pytest.approx(logit(p))


def test_margins_do_not_overflow():
    assert np.isfinite(margin(np.array([[1e4, 0.0], [-1e4, 0.0]]), np.array([0, 0]))).all()


def test_auc_is_that_of_scikit_learn_and_within_its_interval():
    from sklearn.metrics import roc_auc_score

    forget, test = predictions(70, sure=3), predictions(90, sure=2, seed=1)
    margins = np.concatenate([forget.margin, test.margin])
    value, low, high = attack_auc(forget, test)
    assert value == pytest.approx(100 * roc_auc_score(np.repeat([1, 0], [70, 90]), margins))
    assert 0 < low < value < high < 100


def test_the_attack_tells_sure_from_unsure():
    sure, unsure = predictions(200, sure=8).confidence, predictions(200, sure=1, seed=1).confidence
    assert svc_attack(sure, unsure, sure[:50]).mean() < 0.2
    assert svc_attack(sure, unsure, unsure[:50]).mean() > 0.8


def test_a_sample_of_a_large_set_comes_from_the_seed():
    rng = np.random.default_rng(0)
    retain, test, forget = rng.beta(5, 1, 500), rng.beta(2, 1, 500), rng.beta(3, 1, 100)
    runs = [svc_attack(retain, test, forget, seed=seed, most=60) for seed in (0, 0, 1)]
    assert (runs[0] == runs[1]).all()
    assert (runs[0] != runs[2]).any()


@pytest.mark.parametrize("empty", range(3))
def test_nothing_to_attack_with(empty):
    parts = [np.ones(3), np.zeros(3), np.ones(3)]
    parts[empty] = np.zeros(0)
    with pytest.raises(DataError, match="one of the three is empty"):
        svc_attack(*parts)


def test_the_four_metrics():
    forget, retain, test = predictions(100, right=0.4), predictions(300, seed=1), predictions(200, right=0.9, seed=2)
    found = forgetting_metrics(forget, retain, test)
    assert found["UA"] == pytest.approx(100 * (1 - forget.right.mean()))
    assert found["RA"] == 100 * retain.right.mean()
    assert found["TA"] == 100 * test.right.mean()
    assert forgetting_metrics(forget, retain, test) == found


def test_forgotten_classes_are_no_part_of_the_test():
    forget, retain, test = predictions(100), predictions(300, seed=1), predictions(200, right=0.9, seed=2)
    found = forgetting_metrics(forget, retain, test, forgotten_classes=[2])
    assert found["TA"] == 100 * test.right[test.labels != 2].mean()


def test_the_gap_is_of_means_over_seeds():
    retrained = {name: [90.0, 92.0] for name in METRICS}
    found = retrained | {"UA": [80.0, 102.0], "MIA": [81.0, 93.0]}
    assert average_gap(retrained, retrained) == 0
    assert average_gap(found, retrained) == pytest.approx(4 / 4)
