from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, spearmanr
from sklearn.metrics import cohen_kappa_score

from tamis.errors import DataError
from tamis.evidence.agreement import Agreement, agreement, rank_correlation, retest, share_interval
from tamis.evidence.resampling import difference_interval


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def two_judges(n: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    truth = draw.normal(6, 2, n)
    a, b = (truth + draw.normal(0, noise, n) for _ in range(2))
    return np.clip(np.round(a), 1, 10), np.clip(np.round(b + 0.4), 1, 10)


ratings = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=2, max_size=60)


@settings(max_examples=60, deadline=None)
@given(ratings)
def test_kappa_and_rank_correlation_agree_with_scikit_learn_and_scipy(pairs: list[tuple[int, int]]) -> None:
    a, b = np.array(pairs).T
    found = agreement(a, b, rng=rng(), n_bootstrap=20)
    assert found.exact[0] == pytest.approx(np.mean(a == b))
    assert found.within_one[0] == pytest.approx(np.mean(np.abs(a - b) <= 1))
    assert found.difference[0] == pytest.approx(np.mean(a - b))
    if np.ptp(a) and np.ptp(b):
        oracle = cohen_kappa_score(a, b, weights="quadratic", labels=range(1, 11))
        assert found.kappa[0] == pytest.approx(oracle, abs=1e-9)
        assert found.spearman[0] == pytest.approx(spearmanr(a, b).statistic, abs=1e-9)
    else:
        assert np.isnan(found.kappa[0])
        assert np.isnan(found.spearman[0])


def test_ratings_that_are_not_whole_numbers() -> None:
    draw = rng()
    a = draw.normal(5, 1, 300)
    b = a + draw.normal(0.3, 0.5, 300)
    found = agreement(a, b, rng=rng())
    covariance = np.mean((a - a.mean()) * (b - b.mean()))
    assert found.kappa[0] == pytest.approx(2 * covariance / (a.var() + b.var() + (a.mean() - b.mean()) ** 2))
    assert found.spearman[0] == pytest.approx(spearmanr(a, b).statistic)
    assert found.exact[0] == pytest.approx(np.mean(np.floor(a + 0.5) == np.floor(b + 0.5)))
    assert found.within_one[0] >= found.exact[0]


def test_intervals_are_those_of_a_plain_bootstrap_over_units() -> None:
    a, b = two_judges(400, 1.0)
    found = agreement(a, b, rng=rng(), n_bootstrap=4000)
    draw = np.random.default_rng(1)
    samples = [draw.integers(0, 400, 400) for _ in range(1000)]
    plain: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
        "exact": lambda x, y: float(np.mean(x == y)),
        "kappa": lambda x, y: float(cohen_kappa_score(x, y, weights="quadratic", labels=range(1, 11))),
        "spearman": lambda x, y: float(spearmanr(x, y).statistic),
        "difference": lambda x, y: float(np.mean(x - y)),
    }
    for name, figure in plain.items():
        low, high = np.quantile([figure(a[i], b[i]) for i in samples], [0.025, 0.975])
        value, found_low, found_high = getattr(found, name)
        assert found_low < value < found_high
        assert found_low == pytest.approx(low, abs=0.12 * (high - low))
        assert found_high == pytest.approx(high, abs=0.12 * (high - low))


def test_many_distinct_values_are_resampled_like_few() -> None:
    draw = rng()
    a = draw.normal(size=5000)
    b = a + draw.normal(size=5000)
    value, low, high = agreement(a, b, rng=rng(), n_bootstrap=300).spearman
    se = (1 - value**2) * np.sqrt(1 + value**2 / 2) / np.sqrt(5000)
    assert (high - low) / (2 * 1.96 * se) == pytest.approx(1.0, abs=0.15)
    coarse = agreement(np.round(a, 1), np.round(b, 1), rng=rng(), n_bootstrap=300).spearman
    assert coarse == pytest.approx((value, low, high), abs=0.01)


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_units_are_undefined_and_not_zero(n: int) -> None:
    found = agreement([3.0] * n, [3.0] * n, rng=rng())
    assert found.n == n
    for name in ("exact", "within_one", "kappa", "spearman", "difference"):
        assert np.isnan(getattr(found, name)).all()
    assert np.isnan(rank_correlation([1.0] * n, [1.0] * n, rng=rng())).all()
    assert np.isnan(retest(np.ones((n, 2)), rng=rng()).sd).all()


def test_a_constant_rating_has_no_kappa_and_no_rank_correlation() -> None:
    found = agreement([8, 8, 8, 8], [7, 8, 9, 8], rng=rng())
    assert np.isnan(found.kappa).all()
    assert np.isnan(found.spearman).all()
    assert found.exact[0] == 0.5
    repeated = retest([[8, 8], [8, 8], [8, 8]], rng=rng())
    assert repeated.sd == (0.0, 0.0, 0.0)
    assert np.isnan(repeated.kappa).all()
    assert np.isnan(repeated.reliability).all()


def test_units_without_one_of_the_ratings_are_left_out() -> None:
    a, b = two_judges(50, 1.0)
    with_gaps = np.append(a, [np.nan, 5.0]), np.append(b, [5.0, np.nan])
    assert agreement(*with_gaps, rng=rng()) == agreement(a, b, rng=rng())


def test_order_of_units_changes_nothing() -> None:
    a, b = two_judges(200, 1.0)
    order = np.random.default_rng(5).permutation(200)
    assert agreement(a, b, rng=rng()) == agreement(a[order], b[order], rng=rng())


def test_shapes_are_checked() -> None:
    with pytest.raises(DataError, match="same units"):
        agreement([1, 2], [1, 2, 3], rng=rng())
    with pytest.raises(DataError, match="units, samples"):
        retest([1, 2, 3], rng=rng())


def test_retest_of_two_samples_is_the_agreement_of_both() -> None:
    a, b = two_judges(300, 1.0)
    repeated, between = retest(np.column_stack([a, b]), rng=rng()), agreement(a, b, rng=rng())
    assert repeated.kappa[0] == pytest.approx(between.kappa[0])
    assert repeated.exact[0] == repeated.all_equal[0] == pytest.approx(between.exact[0])
    assert repeated.sd[0] == pytest.approx(np.sqrt(np.mean((a - b) ** 2) / 2))
    assert repeated.difference[0] == pytest.approx(np.mean(np.abs(a - b)))


def plain_icc(groups: list[np.ndarray]) -> float:
    sizes = np.array([len(g) for g in groups])
    flat, n = np.concatenate(groups), len(groups)
    between = sum(len(g) * (g.mean() - flat.mean()) ** 2 for g in groups) / (n - 1)
    within = sum(((g - g.mean()) ** 2).sum() for g in groups) / (sizes.sum() - n)
    size = (sizes.sum() - (sizes**2).sum() / sizes.sum()) / (n - 1)
    return float((between - within) / (between + (size - 1) * within))


def test_retest_of_uneven_samples_against_plain_sums() -> None:
    draw = rng()
    table = np.round(draw.normal(5, 2, (120, 1)) + draw.normal(0, 1, (120, 4)))
    table[draw.random(table.shape) < 0.3] = np.nan
    groups = [row[~np.isnan(row)] for row in table]
    groups = [g for g in groups if len(g) > 1]
    pairs = np.array([(g[s], g[t]) for g in groups for s in range(len(g)) for t in range(s + 1, len(g))])
    found = retest(table, rng=rng())
    assert (found.n, found.n_pairs) == (len(groups), len(pairs))
    assert found.reliability[0] == pytest.approx(plain_icc(groups))
    within = sum(((g - g.mean()) ** 2).sum() for g in groups)
    assert found.sd[0] == pytest.approx(np.sqrt(within / sum(len(g) - 1 for g in groups)))
    assert found.all_equal[0] == pytest.approx(np.mean([len(set(g)) == 1 for g in groups]))
    assert found.exact[0] == pytest.approx(np.mean(pairs[:, 0] == pairs[:, 1]))
    assert found.difference[0] == pytest.approx(np.mean(np.abs(pairs[:, 0] - pairs[:, 1])))
    labels = pairs.astype(int)
    assert found.kappa[0] == pytest.approx(cohen_kappa_score(*labels.T, weights="quadratic", labels=range(-5, 16)))


def test_retest_recovers_planted_noise_and_reliability() -> None:
    draw = rng()
    table = draw.normal(5, 2, (3000, 1)) + draw.normal(0, 1, (3000, 3))
    found = retest(table, rng=rng(), n_bootstrap=300)
    assert found.sd[1] < 1.0 < found.sd[2]
    assert found.reliability[1] < 0.8 < found.reliability[2]


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    hits = 0
    for seed in range(200):
        draw = np.random.default_rng(seed)
        truth = draw.normal(0, 1, 150)
        a, b = (truth + draw.normal(0, 1, 150) for _ in range(2))
        _, low, high = agreement(a, b, rng=rng(), n_bootstrap=300).kappa
        hits += low <= 0.5 <= high
    assert 0.9 <= hits / 200 <= 0.99


@pytest.mark.parametrize(("count", "n"), [(0, 60), (3, 60), (60, 60), (1, 1)])
def test_share_interval_is_wilsons(count: int, n: int) -> None:
    oracle = binomtest(count, n).proportion_ci(method="wilson")
    assert share_interval(count, n) == pytest.approx((count / n, oracle.low, oracle.high), abs=1e-12)


def test_share_of_nothing_is_undefined() -> None:
    assert np.isnan(share_interval(0, 0)).all()


def test_interval_of_a_figure_that_most_resamples_lack_is_not_given() -> None:
    found: Agreement = agreement([1.0] * 400 + [2.0], [1.0] * 399 + [3.0, 1.0], rng=rng())
    value, low, high = found.spearman
    assert value < 0
    assert np.isnan([low, high]).all()  # only 40 % of the resamples hold both units that differ


def test_difference_of_estimates_adds_their_squares_and_keeps_their_skew() -> None:
    assert difference_interval((5.0, 2.0, 8.0), (1.0, -3.0, 5.0)) == pytest.approx((4.0, -1.0, 9.0))
    assert difference_interval((0.5, 0.5, 0.5), (0.2, 0.1, 0.4)) == pytest.approx((0.3, 0.1, 0.4))
    assert np.isnan(difference_interval((0.5, np.nan, np.nan), (0.2, 0.1, 0.4))[1:]).all()
