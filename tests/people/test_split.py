"""The published estimator, against the released walk written out."""

from __future__ import annotations

import numpy as np

from tamis.people.split import split_groups, split_joint


def walk(R):
    """Groups of the raters of a workers x tasks matrix, nan where there is no answer."""
    one, two = set(), set()
    for t in range(R.shape[1]):
        raters = [int(w) for w in np.flatnonzero(~np.isnan(R[:, t]))]
        a, b = set(raters[:2]), set(raters[2:])
        if one & a or two & b:
            one |= b
            two |= a
        else:
            one |= a
            two |= b
    return one, two


def plain_joint(R, K):
    one, two = walk(R)
    P, margins, both = np.zeros((K, K)), [np.zeros(K), np.zeros(K)], 0
    seen = [0, 0]
    for t in range(R.shape[1]):
        shares = []
        for g, group in enumerate((sorted(one), sorted(two))):
            labels = R[group, t]
            labels = labels[~np.isnan(labels)].astype(int)
            share = np.bincount(labels, minlength=K) / len(labels) if len(labels) else None
            shares.append(share)
            if share is not None:
                margins[g] += share
                seen[g] += 1
        if shares[0] is not None and shares[1] is not None:
            P += np.outer(*shares)
            both += 1
    return P / both, np.outer(margins[0] / seen[0], margins[1] / seen[1]), both


def test_groups_and_estimate_are_those_of_the_released_walk(crowd):
    for seed in range(8):
        codes, _ = crowd(workers=9, tasks=14, density=0.5, seed=seed)
        R = np.full((9, 14), np.nan)
        R[codes.worker, codes.task] = codes.label
        shuffled = np.random.default_rng(seed).permutation(len(codes))  # the order of the answers must not matter
        place, worker, label = codes.task[shuffled], codes.worker[shuffled], codes.label[shuffled]
        assert split_groups(place, worker, 14) == walk(R)
        found = split_joint(place, worker, label, (14, 3))
        joint, independent, both = plain_joint(R, 3)
        np.testing.assert_allclose(found.joint, joint)
        np.testing.assert_allclose(found.independent, independent)
        assert found.n_tasks == both


def test_a_worker_can_be_in_both_groups():
    one, two = split_groups(np.array([0, 0, 0, 1, 1, 1]), np.array([0, 1, 2, 0, 3, 4]), 2)
    assert one & two == {0}
