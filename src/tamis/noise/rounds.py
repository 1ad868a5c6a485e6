"""Repeated agreement: every item is judged in many rounds, each against a random half of the pool."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamis.errors import DataError, parameter_error
from tamis.noise._inputs import checked_distances, checked_labels, checked_neighbors
from tamis.noise.agreement import (
    chosen_classes,
    implied_flag_rate,
    label_frequencies,
    threshold_position,
)

MAX_ROUNDS = 64
_CHUNK = 2048


@dataclass(frozen=True, eq=False)
class RoundVotes:
    """What repeated rounds say about each item.

    Parameters
    ----------
    appearances : int, or ndarray of int64, shape (N,)
        Rounds A in which an item was judged; one number where every item is judged in every round.
    flagged : ndarray of int64, shape (N,)
        Rounds F_n in which the rule flagged the item.
    votes : ndarray of int32, shape (N, K)
        V_nc: flagged rounds in which the neighbours voted for class c; rows sum to ``flagged``.
    """

    appearances: int | NDArray[np.int64]
    flagged: NDArray[np.int64]
    votes: NDArray[np.int32]


def visibility_words(ids: Iterable[str], seed: int) -> NDArray[np.uint64]:
    """Return one 64-bit word per id; bit r says whether the item is visible in round r.

    The word is the 8-byte BLAKE2b digest of the id keyed with the seed, so it depends neither on the order of rows
    nor on which other items are in the pool. Each bit is set with probability one half.

    Parameters
    ----------
    ids : iterable of str
    seed : int
        At least 0.

    Examples
    --------
    >>> words = visibility_words(["a", "b"], seed=0)
    >>> words.dtype, bool((words[::-1] == visibility_words(["b", "a"], seed=0)).all())
    (dtype('uint64'), True)
    """
    if not 0 <= seed < 2**64:
        raise parameter_error("visibility_words", "seed", "an int in [0, 2**64)", seed)
    keyed = hashlib.blake2b(digest_size=8, key=seed.to_bytes(8, "little"))
    digests = bytearray()
    for one in ids:
        state = keyed.copy()
        state.update(one.encode())
        digests += state.digest()
    return np.frombuffer(bytes(digests), dtype="<u8").astype(np.uint64)


def half_hidden_votes(
    labels: ArrayLike,
    idx: ArrayLike,
    dist: ArrayLike,
    n_classes: int,
    visible: ArrayLike,
    *,
    k: int = 10,
    n_rounds: int = 51,
    rule: Literal["rank", "vote"] = "rank",
    T: ArrayLike | None = None,
    p: ArrayLike | None = None,
    classes: ArrayLike | None = None,
    n_threads: int = 2,
) -> RoundVotes:
    """Flag and vote in ``n_rounds`` rounds, each hiding a random half of the pool.

    In each round every item, hidden or not, is judged by its k nearest visible, labelled neighbours within its row
    of the graph (never itself), weighted ``1 - d``. Agreement and the rule are computed per round over all items: with
    the rank rule each class's threshold is that round's percentile. A flagged item gives one vote for
    ``argmax_c v_n[c]`` (lowest class on ties), which under the rank rule may be its own label.

    Parameters
    ----------
    labels : array-like of int, shape (N,)
        Labels 0..K-1; -1 is missing: such an item gives no vote and is never flagged.
    idx, dist : array-like, shapes (N, m)
        Neighbours ascending by distance and their ``1 - cosine`` distances; -1 pads ``idx``. m of about 4 k leaves
        k visible neighbours almost always; fewer are used where the row runs out.
    n_classes : int
        Number of classes K, at most 127.
    visible : array-like of uint64, shape (N,)
        Bit r = visible in round r, see `visibility_words`.
    k : int, default=10
        Neighbours per round, at most 15.
    n_rounds : int, default=51
        Rounds A, at most 64.
    rule : {"rank", "vote"}, default="rank"
    T, p : array-like, shapes (K, K) and (K,)
        Transition matrix and prior; required by ``rule="rank"``, unused by ``"vote"``.
    classes : array-like of int, optional
        Observed classes in which items may be flagged; all by default.
    n_threads : int, default=2
        Threads over chunks of items; the result does not depend on it.

    Returns
    -------
    RoundVotes

    Raises
    ------
    RecipeError
        If a parameter is out of range or T and p are missing for the rank rule.
    DataError
        If labels, graph or words are malformed.

    Notes
    -----
    This replaces the unequal subsampling of DS2 (arXiv 2410.10877, score curation), whose confidence depends on N.
    An item without a visible, labelled neighbour in a round is not flagged in it: F/A then understates doubt.
    Memory beyond the input is about ``N n_rounds`` times 5 bytes.

    Examples
    --------
    >>> idx = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])
    >>> everyone = np.full(4, 2**64 - 1, dtype=np.uint64)
    >>> result = half_hidden_votes([0, 0, 0, 1], idx, np.full((4, 3), 0.1), 2, everyone, k=3, rule="vote")
    >>> result.flagged, result.votes[3]
    (array([ 0,  0,  0, 51]), array([51,  0], dtype=int32))
    """
    _check_parameters(k, n_rounds, rule, n_classes, n_threads)
    own = checked_labels(labels, n_classes, "half_hidden_votes")
    neighbors = checked_neighbors(idx, own.shape[0], "half_hidden_votes")
    distances = checked_distances(dist, neighbors, "half_hidden_votes")
    words = np.asarray(visible)
    if words.dtype != np.uint64 or words.shape != own.shape:
        raise DataError(
            f"half_hidden_votes expects one uint64 word per item, shape {own.shape}. Got {words.dtype} of shape "
            f"{words.shape}; use visibility_words."
        )
    if rule == "rank" and (T is None or p is None):
        raise parameter_error("half_hidden_votes", "T and p", "given for rule='rank'", None)
    # an unlabelled item is visible in no round, so it never takes one of the k places
    seen = np.where(own >= 0, words, np.uint64(0))
    score, vote = _judge_all(own, neighbors, distances, seen, n_classes, k, n_rounds, n_threads)
    allowed = chosen_classes(classes, n_classes, "half_hidden_votes")
    if rule == "vote" or T is None or p is None:
        flags = _vote_flags(own, vote, allowed)
    else:
        rates = implied_flag_rate(T, p, label_frequencies(own, n_classes))
        flags = _rank_flags(own, score, rates, allowed, n_threads)
    return _tally(flags, vote, n_classes)


def _check_parameters(k: int, n_rounds: int, rule: str, n_classes: int, n_threads: int) -> None:
    owner = "half_hidden_votes"
    if not 1 <= k <= 15:
        raise parameter_error(owner, "k", "an int in [1, 15]", k)
    if not 1 <= n_rounds <= MAX_ROUNDS:
        raise parameter_error(owner, "n_rounds", f"an int in [1, {MAX_ROUNDS}]", n_rounds)
    if rule not in ("rank", "vote"):
        raise parameter_error(owner, "rule", "'rank' or 'vote'", rule)
    if not 2 <= n_classes <= 127:
        raise parameter_error(owner, "n_classes", "an int in [2, 127]", n_classes)
    if n_threads < 1:
        raise parameter_error(owner, "n_threads", "an int in [1, inf)", n_threads)


def _judge_all(
    labels: NDArray[np.int64],
    neighbors: NDArray[np.signedinteger],
    distances: NDArray[np.floating],
    seen: NDArray[np.uint64],
    n_classes: int,
    k: int,
    n_rounds: int,
    n_threads: int,
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Return agreement (n_rounds, N) float32, nan where unmeasured, and vote (n_rounds, N) int8, -1 for none."""
    n_items = labels.shape[0]
    score = np.empty((n_rounds, n_items), dtype=np.float32)
    vote = np.empty((n_rounds, n_items), dtype=np.int8)

    def judge(start: int) -> None:
        rows = slice(start, min(start + _CHUNK, n_items))
        taken = _nearest_visible(seen, neighbors[rows], k)
        votes = _chunk_votes(labels, neighbors[rows], distances[rows], taken, n_classes, n_rounds)
        score[:, rows], vote[:, rows] = _agreement_and_vote(votes, labels[rows])

    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(judge, range(0, n_items, _CHUNK)))
    return score, vote


def _nearest_visible(seen: NDArray[np.uint64], neighbors: NDArray[np.signedinteger], k: int) -> NDArray[np.uint64]:
    """Return words (m, columns): bit r of column j is set iff neighbour j is one of the k nearest visible in round r.

    All rounds advance at once: four words per item hold, bit by bit, a 4-bit counter for each round.
    """
    columns = np.ascontiguousarray(neighbors.T)
    words = seen[columns]
    words[columns < 0] = 0
    counter = [np.zeros(columns.shape[1], dtype=np.uint64) for _ in range(4)]
    for word in words:
        full = np.full(columns.shape[1], ~np.uint64(0), dtype=np.uint64)
        for place, bits in enumerate(counter):
            full &= bits if (k >> place) & 1 else ~bits
        word &= ~full
        carry = word
        for place in range(4):
            counter[place], carry = counter[place] ^ carry, counter[place] & carry
    return np.ascontiguousarray(words.T)


def _chunk_votes(
    labels: NDArray[np.int64],
    neighbors: NDArray[np.signedinteger],
    distances: NDArray[np.floating],
    taken: NDArray[np.uint64],
    n_classes: int,
    n_rounds: int,
) -> NDArray[np.float32]:
    """Return unnormalised votes (m, K, n_rounds): weights by class times the bits that say who was taken."""
    n_bytes = (n_rounds + 7) // 8
    octets = taken.astype("<u8", copy=False).view(np.uint8).reshape(*taken.shape, 8)[:, :, :n_bytes]
    bits = np.unpackbits(octets, axis=2, bitorder="little").astype(np.float32)
    label = np.where(neighbors >= 0, labels[neighbors], -1)
    by_class = label[:, None, :] == np.arange(n_classes)[:, None]
    weights = np.where(by_class, np.float32(1) - distances[:, None, :].astype(np.float32), np.float32(0))
    return np.asarray((weights @ bits)[:, :, :n_rounds], dtype=np.float32)


def _agreement_and_vote(
    votes: NDArray[np.float32], own: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Return agreement and vote, both (n_rounds, m), from votes (m, K, n_rounds)."""
    highest = votes[:, 0].copy()
    winner: NDArray[np.int8] = np.zeros(highest.shape, dtype=np.int8)
    square = votes[:, 0] ** 2
    for observed in range(1, votes.shape[1]):
        candidate = votes[:, observed]
        square += candidate**2
        winner[candidate > highest] = observed
        np.maximum(highest, candidate, out=highest)
    norm = np.sqrt(square)
    measured = norm > 0
    winner[~measured] = -1
    supported = votes[np.arange(own.shape[0]), own]
    norm[~measured | (own < 0)[:, None]] = np.nan
    return np.asarray((supported / norm).T, dtype=np.float32), winner.T


def _vote_flags(labels: NDArray[np.int64], vote: NDArray[np.int8], allowed: NDArray[np.int64]) -> NDArray[np.bool_]:
    may_flag = np.isin(labels, allowed)
    return np.asarray((vote >= 0) & (vote != labels.astype(np.int8)) & may_flag, dtype=bool)


def _rank_flags(
    labels: NDArray[np.int64],
    score: NDArray[np.float32],
    rates: NDArray[np.float64],
    allowed: NDArray[np.int64],
    n_threads: int,
) -> NDArray[np.bool_]:
    """Apply the rank rule in each round; see `rank_rule` for why one order statistic is the percentile threshold."""
    flags = np.zeros(score.shape, dtype=bool)
    members = [(np.flatnonzero(labels == observed), float(rates[observed])) for observed in allowed]

    def apply_rule(number: int) -> None:
        for rows, rate in members:
            _flag_lowest(score[number], rows, rate, flags[number])

    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(apply_rule, range(score.shape[0])))
    return flags


def _flag_lowest(score: NDArray[np.float32], rows: NDArray[np.intp], rate: float, flags: NDArray[np.bool_]) -> None:
    values = score[rows]
    n_measured = rows.size - int(np.isnan(values).sum())
    if n_measured:
        position = threshold_position(n_measured, rate)
        # nan sorts last, so a position below n_measured is always a measured value
        flags[rows] = values <= np.partition(values, position)[position]


def _tally(flags: NDArray[np.bool_], vote: NDArray[np.int8], n_classes: int) -> RoundVotes:
    votes = np.empty((flags.shape[1], n_classes), dtype=np.int32)
    for observed in range(n_classes):
        votes[:, observed] = np.count_nonzero(flags & (vote == observed), axis=0)
    return RoundVotes(appearances=int(flags.shape[0]), flagged=np.asarray(np.count_nonzero(flags, axis=0)), votes=votes)
