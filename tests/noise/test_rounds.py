"""Repeated agreement: the bit-sliced implementation against one plain round after another."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from tamis.errors import DataError, RecipeError
from tamis.noise import half_hidden_votes, knn_agreement, rank_rule, visibility_words, vote_rule


def pool(seed, n, n_classes=4, m=40, missing=0.1, padding=0.05):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, size=n)
    labels[rng.random(n) < missing] = -1
    idx = (np.arange(n)[:, None] + np.argsort(rng.random((n, n - 1)), axis=1)[:, :m] + 1) % n
    dist = np.sort(rng.random(idx.shape) * 0.8, axis=1).astype(np.float32)
    # neighbours lean towards the own label, so that agreement means something
    alike = rng.random(idx.shape) < 0.5
    same = [np.flatnonzero(labels == c) for c in range(n_classes)]
    for i in np.flatnonzero(labels >= 0):
        pick = rng.choice(same[labels[i]], size=idx.shape[1])
        use = alike[i] & (pick != i)
        idx[i, use] = pick[use]
    idx[rng.random(idx.shape) < padding] = -1
    return labels, idx.astype(np.int32), dist, visibility_words([f"item-{i}" for i in range(n)], seed)


def round_by_round(labels, idx, dist, n_classes, words, *, k, n_rounds, rule, T, p, classes=None):
    """Judge the pool once per round with the plain primitives."""
    flagged = np.zeros(labels.size, dtype=np.int64)
    votes = np.zeros((labels.size, n_classes), dtype=np.int32)
    for r in range(n_rounds):
        seen = (words >> np.uint64(r)) & np.uint64(1) == 1
        raw = np.zeros((labels.size, n_classes))
        for n in range(labels.size):
            around = [(j, d) for j, d in zip(idx[n], dist[n], strict=True) if j >= 0 and seen[j] and labels[j] >= 0]
            for j, d in around[:k]:
                raw[n, labels[j]] += 1 - float(d)
        norm = np.linalg.norm(raw, axis=1)
        vote = np.where(norm > 0, raw.argmax(axis=1), -1)
        score = np.where((norm > 0) & (labels >= 0), raw[np.arange(labels.size), labels], np.nan)
        score = np.divide(score, norm, out=np.full(labels.size, np.nan), where=norm > 0)
        flags = rank_rule(labels, score, T, p, n_classes) if rule == "rank" else vote_rule(labels, vote)
        if classes is not None:
            flags &= np.isin(labels, classes)
        flagged += flags
        votes[np.flatnonzero(flags), vote[flags]] += 1
    return flagged, votes


@pytest.mark.parametrize("rule", ["rank", "vote"])
@pytest.mark.parametrize(("k", "n_rounds", "classes"), [(10, 51, None), (3, 64, [1, 2]), (1, 1, None), (15, 9, None)])
def test_equals_plain_rounds_exactly(rule, k, n_rounds, classes):
    labels, idx, dist, words = pool(k, 150)
    T, p = np.random.default_rng(0).dirichlet(np.ones(4), size=4), np.array([0.2, 0.3, 0.3, 0.2])
    result = half_hidden_votes(
        labels, idx, dist, 4, words, k=k, n_rounds=n_rounds, rule=rule, T=T, p=p, classes=classes
    )
    flagged, votes = round_by_round(
        labels, idx, dist, 4, words, k=k, n_rounds=n_rounds, rule=rule, T=T, p=p, classes=classes
    )
    np.testing.assert_array_equal(result.flagged, flagged)
    np.testing.assert_array_equal(result.votes, votes)
    assert result.appearances == n_rounds
    assert result.flagged.any()


def test_equals_knn_agreement_over_several_chunks_when_everyone_is_visible():
    labels, idx, dist, _ = pool(0, 5000)
    everyone = np.full(5000, 2**64 - 1, dtype=np.uint64)
    T, p = np.full((4, 4), 0.2) + 0.2 * np.eye(4), np.full(4, 0.25)
    single = knn_agreement(labels, idx, dist, 4, k=10)
    flags = {"rank": rank_rule(labels, single.score, T, p, 4), "vote": vote_rule(labels, single.vote)}
    for rule, expected in flags.items():
        result = half_hidden_votes(labels, idx, dist, 4, everyone, n_rounds=3, rule=rule, T=T, p=p)
        np.testing.assert_array_equal(result.flagged, 3 * expected)
        np.testing.assert_array_equal(result.votes.sum(axis=1), result.flagged)


def test_the_result_does_not_depend_on_threads():
    labels, idx, dist, words = pool(1, 6000, m=20)
    T, p = np.full((4, 4), 0.2) + 0.2 * np.eye(4), np.full(4, 0.25)
    results = [half_hidden_votes(labels, idx, dist, 4, words, T=T, p=p, n_threads=threads) for threads in (1, 2, 5)]
    for other in results[1:]:
        np.testing.assert_array_equal(results[0].flagged, other.flagged)
        np.testing.assert_array_equal(results[0].votes, other.votes)


def test_the_result_follows_the_rows_when_they_are_shuffled():
    labels, idx, dist, words = pool(2, 400, padding=0.0)
    T, p = np.full((4, 4), 0.2) + 0.2 * np.eye(4), np.full(4, 0.25)
    order = np.random.default_rng(0).permutation(400)
    place = np.empty(400, dtype=np.int32)
    place[order] = np.arange(400)
    one = half_hidden_votes(labels, idx, dist, 4, words, T=T, p=p)
    other = half_hidden_votes(labels[order], place[idx[order]], dist[order], 4, words[order], T=T, p=p)
    np.testing.assert_array_equal(one.flagged[order], other.flagged)
    np.testing.assert_array_equal(one.votes[order], other.votes)


def test_a_missing_label_neither_votes_nor_is_flagged():
    labels, idx, dist, words = pool(3, 300, missing=0.4)
    result = half_hidden_votes(labels, idx, dist, 4, words, rule="vote")
    assert not result.flagged[labels < 0].any()
    # hiding the unlabelled changes nothing, since they take no place among the k
    hidden = np.where(labels < 0, np.uint64(0), words)
    np.testing.assert_array_equal(result.votes, half_hidden_votes(labels, idx, dist, 4, hidden, rule="vote").votes)


def test_without_visible_neighbours_nothing_is_flagged():
    labels, idx, dist, _ = pool(4, 100)
    nobody = np.zeros(100, dtype=np.uint64)
    T, p = np.full((4, 4), 0.25), np.full(4, 0.25)
    for rule in ("rank", "vote"):
        assert not half_hidden_votes(labels, idx, dist, 4, nobody, rule=rule, T=T, p=p).flagged.any()


def test_a_tied_vote_goes_to_the_lowest_class():
    # item 0 sees one neighbour of class 2 and one of class 1 at the same distance
    labels, idx = np.array([0, 2, 1]), np.array([[1, 2], [0, -1], [0, -1]])
    dist = np.full((3, 2), 0.25, dtype=np.float32)
    everyone = np.full(3, 2**64 - 1, dtype=np.uint64)
    result = half_hidden_votes(labels, idx, dist, 3, everyone, rule="vote", n_rounds=2)
    np.testing.assert_array_equal(result.votes[0], [0, 2, 0])
    assert knn_agreement(labels, idx, dist, 3).vote[0] == 1


def test_words_are_keyed_hashes_of_the_ids():
    words = visibility_words(["a", "ü", "c"], 5)
    key = (5).to_bytes(8, "little")
    expected = [
        int.from_bytes(hashlib.blake2b(i.encode(), digest_size=8, key=key).digest(), "little") for i in ["a", "ü", "c"]
    ]
    np.testing.assert_array_equal(words, np.array(expected, dtype=np.uint64))
    np.testing.assert_array_equal(visibility_words(["c", "a"], 5), words[[2, 0]])
    assert (visibility_words(["a"], 6) != words[0]).all()
    many = visibility_words((str(i) for i in range(4000)), 0)
    share = np.mean([(many >> np.uint64(r)) & np.uint64(1) for r in range(64)], axis=1)
    assert (np.abs(share - 0.5) < 5 * 0.5 / np.sqrt(4000)).all()
    assert visibility_words([], 0).shape == (0,)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"k": 16}, "'k' parameter"),
        ({"n_rounds": 65}, "'n_rounds' parameter"),
        ({"rule": "mode"}, "'rule' parameter"),
        ({"rule": "rank"}, "'T and p' parameter"),
        ({"n_threads": 0}, "'n_threads' parameter"),
    ],
)
def test_bad_parameters_are_refused(parameters, message):
    labels, idx, dist, words = pool(5, 60)
    with pytest.raises(RecipeError, match=message):
        half_hidden_votes(labels, idx, dist, 4, words, **{"rule": "vote", **parameters})


def test_bad_words_and_seeds_are_refused():
    labels, idx, dist, words = pool(5, 60)
    with pytest.raises(DataError, match="one uint64 word per item"):
        half_hidden_votes(labels, idx, dist, 4, words.astype(np.int64), rule="vote")
    with pytest.raises(RecipeError, match="'seed' parameter"):
        visibility_words(["a"], -1)
