"""Membership inference without shadow models: how well an attacker tells training examples from others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tamis.errors import DataError

Floats = NDArray[np.float64]
MOST = 10_000
"""Examples of each kind that the support-vector attack learns from."""


def true_label_confidence(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> Floats:
    """Softmax probability of the true label, shape (N,).

    Examples
    --------
    >>> true_label_confidence(np.log([[0.25, 0.75], [0.5, 0.5]]), np.array([1, 0]))
    array([0.75, 0.5 ])
    """
    shifted = np.asarray(logits, dtype=np.float64) - np.max(logits, axis=1, keepdims=True)
    weights = np.exp(shifted)
    confidence: Floats = weights[np.arange(len(labels)), labels] / weights.sum(axis=1)
    return confidence


def margin(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> Floats:
    """``log p / (1 - p)`` of the true label's probability p, computed without rounding at 1; shape (N,).

    Carlini et al., "Membership Inference Attacks From First Principles" (arXiv 2112.03570), eq. 5: logit-scaled
    confidence is nearly normal, where confidences crowd at 1.

    Examples
    --------
    >>> margin(np.array([[50.0, 0.0, 0.0]]), np.array([0])).round(2)
    array([49.31])
    """
    found = np.asarray(logits, dtype=np.float64)
    own = found[np.arange(len(labels)), labels]
    others = found.copy()
    others[np.arange(len(labels)), labels] = -np.inf
    top = others.max(axis=1)
    rest: Floats = top + np.log(np.exp(others - top[:, None]).sum(axis=1))
    return np.asarray(own - rest, dtype=np.float64)


def svc_attack(retain: Floats, test: Floats, forget: Floats, *, seed: int = 0, most: int = MOST) -> NDArray[np.bool_]:
    """Whether each forgotten example looks like one that was not trained on.

    A support-vector classifier (radial, C = 3) learns to tell the confidences of retained examples from those of test
    examples; the share of forgotten ones that it takes for strangers is the MIA of the unlearning literature.

    Parameters
    ----------
    retain, test, forget : ndarray of float
        Confidence in the true label. Of the retained, ``len(test)`` are learned from.
    seed : int, default=0
        Draws which to learn from.
    most : int, default=10000

    Returns
    -------
    ndarray of bool, shape (len(forget),)

    Raises
    ------
    DataError
        If one is empty.

    Notes
    -----
    It tells nothing of a network that has collapsed: look at its accuracies first.

    Examples
    --------
    >>> retain, test = np.full(50, 0.99), np.linspace(0.2, 0.9, 50)
    >>> svc_attack(retain, test, np.array([0.99, 0.4]))
    array([False,  True])
    """
    from sklearn.svm import SVC

    if not (len(retain) and len(test) and len(forget)):
        raise DataError("A membership attack needs retained, test and forgotten examples; one of the three is empty.")
    rng = np.random.default_rng(seed)
    sizes = min(len(retain), len(test), most), min(len(test), most)
    known = [rng.choice(values, n, replace=False) for values, n in zip((retain, test), sizes, strict=True)]
    x = np.concatenate(known)[:, None]
    y = np.repeat([1, 0], [len(each) for each in known])
    member = SVC(C=3, gamma="auto", kernel="rbf").fit(x, y).predict(np.asarray(forget)[:, None])
    return np.asarray(member == 0)
