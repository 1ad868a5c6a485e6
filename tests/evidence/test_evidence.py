import numpy as np
import pytest

from tamis.errors import DataError
from tamis.evidence import Evidence, mean_interval


def test_an_estimate_without_interval_is_refused():
    with pytest.raises(DataError, match="'accuracy' has no interval"):
        Evidence([{"metric": "accuracy", "after": 0.5}])


@pytest.mark.parametrize("distinct", [3, 1000])
def test_interval_covers_the_mean_as_often_as_it_says(distinct):
    rng = np.random.default_rng(0)
    population = rng.normal(size=distinct)
    hits = 0
    for _ in range(200):
        low, high = mean_interval(rng.choice(population, 400), rng=rng, n_bootstrap=300)
        hits += low <= population.mean() <= high
    assert 0.90 <= hits / 200 <= 0.99


def test_nothing_measured_is_nan_not_zero():
    assert np.isnan(mean_interval(np.array([np.nan]), rng=np.random.default_rng(0))).all()


def test_the_interval_of_many_values_is_that_of_the_bootstrap(monkeypatch):
    from tamis.evidence import evidence

    values = np.random.default_rng(1).gamma(2.0, 1.0, 60_000)
    normal = evidence.mean_interval(values, rng=np.random.default_rng(0))
    monkeypatch.setattr(evidence, "_MANY", 10**9)
    drawn = evidence.mean_interval(values, rng=np.random.default_rng(0), n_bootstrap=400)
    np.testing.assert_allclose(normal, drawn, atol=0.15 * (normal[1] - normal[0]))
