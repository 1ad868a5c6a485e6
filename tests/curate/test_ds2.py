"""DS2 as a whole: planted truth comes back, noise that is not noise stays, and nobody peeks at the truth."""

import numpy as np
import polars as pl
import pytest

from tamis.curate import DS2
from tamis.data import Signal, Table
from tamis.errors import DataError, RecipeError
from tamis.neighbors import NeighborGraph, knn_graph

FAST = {"n_bootstrap": 0, "n_restarts": 1}


@pytest.fixture(scope="module")
def pool(make_pool):
    return make_pool()


def fitted(pool, budget=60, **params):
    ds2 = DS2(budget, **{**FAST, **params})
    return ds2.fit(pool.table, ratings=pool.ratings, embeddings=pool.vectors)


def only(ds2):
    (found,) = ds2.raters_.values()
    return found


@pytest.mark.parametrize("rule", ["rank", "vote"])
def test_planted_truth_comes_back(pool, rule):
    found = only(fitted(pool, rule=rule))
    truth = found.labels.scale.classes(pool.truth)
    raw = (found.labels.observed == truth).mean()
    curated = (found.curated == truth).mean()
    assert raw == pytest.approx(0.8, abs=0.05)
    assert curated > 0.97
    corrected = found.corrected
    assert (found.curated == truth)[corrected].mean() > 0.95


def test_the_selection_holds_more_true_fives_than_the_raw_ratings_give(pool):
    n_fives = int((pool.truth == 5).sum())
    kept = fitted(pool, n_fives).selection_.frame["decision"].to_numpy() == "keep"
    raw = np.argsort(-pool.ratings, kind="stable")[:n_fives]
    assert (pool.truth[kept] == 5).mean() > (pool.truth[raw] == 5).mean() + 0.1


@pytest.mark.parametrize("rule", ["rank", "vote"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ratings_that_do_not_follow_the_features_are_left_alone(make_pool, rule, seed):
    pool = make_pool(seed=seed)
    shuffled = np.random.default_rng(seed).permutation(pool.ratings)
    ds2 = DS2(60, rule=rule, **FAST).fit(pool.table, ratings=shuffled, embeddings=pool.vectors)
    found = only(ds2)
    assert found.transition.verdict == "not usable"
    assert found.corrected.sum() == 0
    assert (found.curated == found.labels.observed).all()


def test_corrections_from_an_unusable_matrix_can_be_forced_and_forbidden(pool, make_pool):
    shuffled = np.random.default_rng(0).permutation(pool.ratings)
    forced = DS2(60, correct="all", threshold=0.3, **FAST)
    assert only(forced.fit(pool.table, ratings=shuffled, embeddings=pool.vectors)).corrected.sum() > 0
    assert only(fitted(pool, correct="none")).corrected.sum() == 0


def test_a_higher_threshold_changes_fewer_ratings(pool):
    masks = [only(fitted(pool, threshold=t)).corrected for t in (0.3, 0.6, 1.0)]
    assert masks[0].sum() >= masks[1].sum() >= masks[2].sum() > 0
    assert (masks[0] | ~masks[1]).all()


def test_truth_scores_the_rules_and_never_the_selection(pool):
    blind = fitted(pool)
    told = DS2(60, **FAST).fit(pool.table, ratings=pool.ratings, embeddings=pool.vectors, truth=pool.truth)
    lied = DS2(60, **FAST).fit(pool.table, ratings=pool.ratings, embeddings=pool.vectors, truth=6 - pool.truth)
    for ds2 in (told, lied):
        assert ds2.selection_ == blind.selection_
        assert (only(ds2).curated == only(blind).curated).all()
    assert only(blind).rules.rank is None
    assert only(told).rules.vote.accuracy_after > only(told).rules.vote.accuracy_before
    assert only(lied).rules.vote.accuracy_before < 0.5


def test_exact_copies_inherit_the_result_and_leave_the_matrix_as_it_is(pool):
    alone = fitted(pool)
    copied = np.arange(0, len(pool.table), 7)
    frame = pool.table.frame
    twins = frame[copied].with_columns(id=pl.concat_str(pl.lit("z-"), "id"))
    table = Table.from_frame(pl.concat([frame, twins]))
    rows = np.concatenate([np.arange(len(frame)), copied])
    ds2 = DS2(60, **FAST).fit(table, ratings=pool.ratings[rows], embeddings=pool.vectors[rows])
    ours, theirs = only(ds2), only(alone)
    np.testing.assert_array_equal(ours.transition.T, theirs.transition.T)
    np.testing.assert_array_equal(ours.transition.p, theirs.transition.p)
    for name in ("misrated_prob", "suggested", "confidence"):
        np.testing.assert_array_equal(getattr(ours.correction, name), getattr(theirs.correction, name)[rows])
    np.testing.assert_array_equal(ours.curated, theirs.curated[rows])
    np.testing.assert_array_equal(ours.agreement, theirs.agreement[rows])
    np.testing.assert_array_equal(ds2.longtail_, alone.longtail_[rows])


def test_copies_rated_apart_share_a_class_and_are_not_called_corrected(pool):
    frame = pool.table.frame
    twins = frame[:20].with_columns(id=pl.concat_str(pl.lit("z-"), "id"))
    table = Table.from_frame(pl.concat([frame, twins]))
    rows = np.append(np.arange(len(frame)), np.arange(20))
    ratings = np.append(pool.ratings, pool.ratings[:20] % 5 + 1)
    found = only(DS2(60, correct="none", **FAST).fit(table, ratings=ratings, embeddings=pool.vectors[rows]))
    assert found.labels.copies_rated_apart(knn_graph(pool.vectors[rows], k=1)) == (20, 20)
    assert (found.curated[-20:] == found.curated[:20]).all()
    lower = np.minimum(found.labels.observed[:20], found.labels.observed[-20:])
    assert (found.curated[:20] == lower).all()
    assert found.corrected.sum() == 0


def test_an_unrated_copy_of_a_rated_record_stays_undecided(pool):
    frame = pool.table.frame
    table = Table.from_frame(pl.concat([frame, frame[:1].with_columns(id=pl.lit("z"))]))
    rows = np.append(np.arange(len(frame)), 0)
    ratings = np.append(pool.ratings, np.nan)
    found = DS2(60, **FAST).fit(table, ratings=ratings, embeddings=pool.vectors[rows])
    assert found.select().undecided == ["z"]
    assert only(found).curated[-1] == -1


def test_several_raters_are_corrected_apart_and_combined(pool):
    rng = np.random.default_rng(5)
    second = np.where(rng.random(len(pool.truth)) < 0.1, rng.integers(1, 6, len(pool.truth)), pool.truth)
    second[:9] = np.nan
    signal = Signal.concat(
        Signal.from_frame(pl.DataFrame({"id": pool.table.ids, "value": values}), rater=name)
        for name, values in (("noisy", pool.ratings), ("better", second))
    )
    ds2 = DS2(60, **FAST).fit(pool.table, ratings=signal, embeddings=pool.vectors)
    assert list(ds2.raters_) == ["noisy", "better"]
    noisy, better = ds2.raters_["noisy"], ds2.raters_["better"]
    assert np.trace(better.transition.T) > np.trace(noisy.transition.T)
    np.testing.assert_allclose(ds2.score_[9:], (noisy.curated[9:] + better.curated[9:]) / 2)
    np.testing.assert_array_equal(ds2.score_[:9], noisy.curated[:9])
    alone = DS2(60, rater="better", **FAST).fit(pool.table, ratings=signal, embeddings=pool.vectors)
    np.testing.assert_array_equal(only(alone).curated, better.curated)


def test_a_graph_from_elsewhere_does_for_vectors(pool):
    graph = knn_graph(pool.vectors, k=40)
    given = DS2(60, **FAST).fit(pool.table, ratings=pool.ratings, graph=graph)
    assert given.selection_ == fitted(pool).selection_
    short = NeighborGraph.from_arrays(graph.idx[:, :3], graph.dist[:, :3])
    assert DS2(60, **FAST).fit(pool.table, ratings=pool.ratings, graph=short).select().counts()["keep"] == 60


def test_progress_counts_the_records_searched(pool):
    seen = []
    DS2(60, **FAST).fit(
        pool.table, ratings=pool.ratings, embeddings=pool.vectors, progress=lambda *done: seen.append(done)
    )
    assert seen[-1] == (600, 600)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"budget": 0}, r"'budget' parameter of DS2 must be an int in \[1, inf\)\. Got 0"),
        ({"budget": 601}, "'budget' parameter of DS2 must be at most the 600 rows of the pool. Got 601"),
        ({"budget": 2.5}, "'budget'"),
        ({"budget": True}, "'budget'"),
        ({"budget": "60"}, "'budget'"),
        ({"fidelity": "exact"}, "'fidelity' parameter of DS2 must be one of 'product', 'paper'"),
        ({"rule": "ranks"}, "'rule'"),
        ({"correct": True}, "'correct'"),
        ({"combine": "sum"}, "'combine'"),
        ({"index": "annoy"}, "'index'"),
        ({"naming": "none"}, "'naming'"),
        ({"neighbors": 1}, r"'neighbors' parameter of DS2 must be an int in \[2, 15\]\. Got 1"),
        ({"neighbors": 16}, "'neighbors'"),
        ({"neighbors": 2.5}, "'neighbors'"),
        ({"neighbors": "10"}, "'neighbors'"),
        ({"graph_neighbors": 9}, r"'graph_neighbors' parameter of DS2 must be an int in \[10, inf\)"),
        ({"rounds": 0}, "'rounds'"),
        ({"rounds": 65}, "'rounds'"),
        ({"rounds": 1.5}, "'rounds'"),
        ({"threshold": 0.0}, r"'threshold' parameter of DS2 must be a float in \(0, 1\]"),
        ({"threshold": 1.01}, "'threshold'"),
        ({"threshold": float("nan")}, "'threshold'"),
        ({"threshold": "high"}, "'threshold'"),
        ({"n_bootstrap": -1}, "'n_bootstrap'"),
        ({"n_bootstrap": 1}, "'n_bootstrap' parameter of DS2"),
        ({"n_restarts": 0}, "'n_restarts'"),
        ({"seed": -1.5}, "'seed'"),
        ({"scale": "1to5"}, "'scale' parameter of DS2"),
        ({"rater": "nobody"}, "no rater 'nobody'"),
        ({"criterion": "style"}, "criterion 'style'"),
        ({"fidelity": "paper", "rule": "vote"}, "'rule' parameter of DS2 must be 'rank' when fidelity is 'paper'"),
    ],
)
def test_a_bad_parameter_is_one_sentence(pool, params, message):
    ds2 = DS2(**{"budget": 60, **FAST, **params})
    with pytest.raises(RecipeError, match=message) as caught:
        ds2.fit(pool.table, ratings=pool.ratings, embeddings=pool.vectors)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda X: X[:-1], r"shape \(599, 12\); expected \(600, d\)"),
        (lambda X: X[:, 0], r"shape \(600,\); expected \(600, d\)"),
        (lambda X: np.where(np.arange(600)[:, None] == 7, np.nan, X), "NaN or infinite"),
        (lambda X: np.where(np.arange(600)[:, None] == 7, np.inf, X), "NaN or infinite"),
        (lambda X: np.where(np.arange(600)[:, None] == 7, 0, X), "only zeros"),
    ],
)
def test_bad_vectors_are_one_sentence(pool, spoil, message):
    with pytest.raises(DataError, match=message) as caught:
        DS2(60, **FAST).fit(pool.table, ratings=pool.ratings, embeddings=spoil(pool.vectors))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_a_pool_that_is_too_small(pool, n):
    small = pool.take(np.arange(n))
    with pytest.raises(DataError, match=rf"The pool has {n} row\(s\)"):
        DS2(1, **FAST).fit(small.table, ratings=small.ratings, embeddings=small.vectors)


def test_the_smallest_pool_is_decided(pool):
    small = pool.take([0, 20, 40])
    ds2 = DS2(1, **FAST).fit(small.table, ratings=np.array([1.0, 3, 5]), embeddings=small.vectors)
    assert ds2.select().counts() == {"keep": 1, "drop": 2, "undecided": 0}


def test_graphs_that_do_not_fit(pool):
    graph = knn_graph(pool.vectors[:10], k=3)
    with pytest.raises(DataError, match="about 10 rows and the table has 600"):
        DS2(60, **FAST).fit(pool.table, ratings=pool.ratings, graph=graph)
    with pytest.raises(DataError, match="pass embeddings, not a graph"):
        DS2(60, fidelity="paper").fit(pool.table, ratings=pool.ratings, graph=knn_graph(pool.vectors, k=3))


@pytest.mark.parametrize("scale", ["1-5", "1-10"])
def test_truth_off_the_scale_is_refused(pool, scale):
    truth = pool.truth.copy()
    truth[0] = 77
    with pytest.raises(DataError, match=r"1 true ratings lie outside the scale .* \(first: 77\)"):
        DS2(60, scale=scale, **FAST).fit(pool.table, ratings=pool.ratings, embeddings=pool.vectors, truth=truth)


def test_truth_of_another_length_is_refused(pool):
    with pytest.raises(DataError, match=r"true ratings have shape \(599,\); expected \(600,\)"):
        DS2(60, **FAST).fit(pool.table, ratings=pool.ratings, embeddings=pool.vectors, truth=pool.truth[1:])


def test_truth_may_be_known_for_some_records_only(pool):
    some = np.where(np.arange(600) % 3 == 0, pool.truth, np.nan)
    told = DS2(60, **FAST).fit(pool.table, ratings=pool.ratings, embeddings=pool.vectors, truth=some)
    observed = only(told).labels.observed[::3]
    right = (observed == only(told).labels.scale.classes(pool.truth[::3])).mean()
    assert only(told).rules.rank.accuracy_before == pytest.approx(right)
