"""``fidelity="paper"`` against sections 3.4 to 3.7 of the specification, written out plainly, record by record."""

import math

import numpy as np
import pytest

from tamis.curate import DS2
from tamis.curate.official import subsample_size
from tamis.runs import derive_seed

SEED = 3
K_NEAR = 10
EPOCHS = 51


def nearest(unit, i, k):
    """The ``k`` other rows by ascending distance, ties by row."""
    distance = np.maximum(1 - unit.astype(np.float64) @ unit[i].astype(np.float64), 0).astype(np.float32)
    order = [j for j in np.lexsort((np.arange(len(unit)), distance)) if j != i][:k]
    return order, distance[order].astype(np.float64)


def judged(unit, labels, n_classes):
    """Agreement and vote of each record; the record itself is one of ten, at distance 2 d1 - d2."""
    agreement, vote = [], []
    for i in range(len(unit)):
        near, distance = nearest(unit, i, K_NEAR - 1)
        votes = np.zeros(n_classes)
        for j, d in zip(near, distance, strict=True):
            votes[labels[j]] += 1 - d
        votes[labels[i]] += 1 - (2 * distance[0] - distance[1])
        votes /= np.linalg.norm(votes)
        agreement.append(votes[labels[i]])
        vote.append(int(votes.argmax()))
    return np.array(agreement), vote


def flagged(labels, agreement, T, p):
    """The rank rule inside one subsample."""
    flags = np.zeros(len(labels), dtype=bool)
    doubt = -np.log(agreement + 1e-8)
    for label in range(len(p)):
        members = np.flatnonzero(labels == label)
        if not len(members):
            continue
        rate = 1 - min(1.0, T[label, label] * p[label] / (len(members) / len(labels)))
        rate = 0.95 if rate >= 1 else 0.05 if rate <= 0 else rate
        threshold = np.percentile(doubt[members], 100 * (1 - rate))
        flags[members] = doubt[members] >= threshold - 1e-12
    return flags


def reference(unit, observed, T, p, rng, n_classes):
    """Appearances, flags and votes of the epochs (3.4); suggestion, confidence and replacement (3.5)."""
    n = len(observed)
    A, F, V = np.zeros(n), np.zeros(n), np.zeros((n, n_classes))
    labelled = np.flatnonzero(observed >= 0)
    for _ in range(EPOCHS):
        rows = np.sort(rng.choice(labelled, int(0.9 * len(labelled)), replace=False))
        agreement, vote = judged(unit[rows], observed[rows], n_classes)
        for row, flag, voted in zip(rows, flagged(observed[rows], agreement, T, p), vote, strict=True):
            A[row] += 1
            F[row] += flag
            V[row, voted] += flag
    out = []
    for i in range(n):
        if observed[i] < 0:
            out.append((math.nan, -1, 0.0, -1))
            continue
        q = (F[i] + 1) / (A[i] + 2)
        s = (V[i] + 1) / (V[i].sum() + n_classes)
        suggestion = max((c for c in range(n_classes) if c != observed[i]), key=lambda c: s[c])
        confidence = s[suggestion] * q if q > 0.5 else 0.0
        out.append((q, suggestion, confidence, suggestion if confidence >= 0.5 else observed[i]))
    return (np.array(column) for column in zip(*out, strict=True))


def selected(curated, longtail, budget, n_classes):
    """Whole buckets from the top in index order, then the rarest of the last one (3.7)."""
    kept = []
    for s in range(n_classes - 1, -1, -1):
        bucket = np.flatnonzero(curated == s).tolist()
        remaining = budget - len(kept)
        if len(bucket) >= remaining:
            return kept + sorted(bucket, key=lambda i: (-longtail[i], i))[:remaining]
        kept += bucket
    return kept


@pytest.fixture(scope="module")
def world(make_pool):
    pool = make_pool(n_clusters=12, per_cluster=15, wrong=0.25, seed=8)
    ratings = pool.ratings.copy()
    ratings[::20] = np.nan
    ds2 = DS2(70, fidelity="paper", seed=SEED).fit(pool.table, ratings=ratings, embeddings=pool.vectors)
    return pool, ds2


def test_epochs_correction_rarity_and_selection(world):
    pool, ds2 = world
    (found,) = ds2.raters_.values()
    unit = pool.vectors / np.linalg.norm(pool.vectors.astype(np.float64), axis=1, keepdims=True)
    unit = unit.astype(np.float32)
    observed = found.labels.observed
    n_classes = found.labels.scale.n_classes
    rng = np.random.default_rng(derive_seed(SEED, "epochs", found.labels.rater))
    q, suggestion, confidence, curated = reference(
        unit, observed, found.transition.T, found.transition.p, rng, n_classes
    )
    np.testing.assert_allclose(found.correction.misrated_prob, q, rtol=1e-12)
    np.testing.assert_allclose(found.correction.confidence, confidence, rtol=1e-12, atol=0)
    error = confidence > 0
    np.testing.assert_array_equal(found.correction.suggested[error], suggestion[error])
    np.testing.assert_array_equal(found.curated, curated)
    assert (curated != observed).sum() > 10
    assert (error & (curated == observed)).sum() > 0  # flagged, but not confident: kept

    longtail = []
    for i in range(len(unit)):
        _, distance = nearest(unit, i, K_NEAR - 1)
        longtail.append(round(math.tanh((0.0 + distance.sum()) / K_NEAR / 2), 4))
    np.testing.assert_allclose(ds2.longtail_, longtail, atol=1e-9)
    chosen = {int(i[1:]) for i in ds2.select().chosen}
    assert chosen == set(selected(curated, longtail, 70, n_classes))


def test_the_fit_is_not_repaired_and_has_no_intervals(world):
    (found,) = world[1].raters_.values()
    assert found.transition.low is None
    assert len(found.transition.losses) == 1
    np.testing.assert_allclose(found.transition.T.sum(axis=1), 1)


def test_the_same_seed_gives_the_same_result_and_another_one_another(world):
    pool, ds2 = world
    (found,) = ds2.raters_.values()
    kwargs = {"ratings": found.labels.values, "embeddings": pool.vectors}
    again = DS2(70, fidelity="paper", seed=SEED).fit(pool.table, **kwargs)
    assert again.select() == ds2.select()
    other = DS2(70, fidelity="paper", seed=SEED + 1).fit(pool.table, **kwargs)
    (theirs,) = other.raters_.values()
    assert (theirs.correction.misrated_prob != found.correction.misrated_prob).any()


@pytest.mark.parametrize(("n", "size"), [(1, 1), (10, 9), (1797, 1617), (55_555, 49_999), (300_932, 50_000)])
def test_subsamples_are_nine_tenths_of_the_data_itself_never_of_a_doubled_copy(n, size):
    assert subsample_size(n) == size
