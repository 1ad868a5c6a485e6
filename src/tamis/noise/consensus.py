"""The HOC objective with its analytic gradient, and Adam over a batch of problems."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tamis.noise.moments import ConsensusMoments, symmetrised

_ADAM_BETA1, _ADAM_BETA2, _ADAM_EPSILON = 0.9, 0.999, 1e-8
_SMALLEST_NORM = 1e-300


@dataclass(frozen=True, eq=False)
class MomentTargets:
    """Measured moments in the form the objective needs, one set or a batch.

    The model's moments are symmetric, so only the symmetric part of a measured moment meets the parameters; its
    asymmetric part adds a constant to the squared norm (``rest2``, ``rest3``).

    Parameters
    ----------
    c1, c2, c3 : ndarray of float64, shapes (B, K), (B, K, K), (B, K, K*K)
        Symmetric parts; B is 1 or the batch size.
    rest2, rest3 : ndarray of float64, shape (B,)
        Squared Frobenius norms of the asymmetric parts of ``c2`` and ``c3``.
    """

    c1: NDArray[np.float64]
    c2: NDArray[np.float64]
    c3: NDArray[np.float64]
    rest2: NDArray[np.float64]
    rest3: NDArray[np.float64]

    @classmethod
    def of(cls, c1: NDArray[np.float64], c2: NDArray[np.float64], c3: NDArray[np.float64]) -> MomentTargets:
        """Build targets from moments with a batch axis: (B, K), (B, K, K), (B, K, K, K)."""
        batch, n_classes = c1.shape
        even2, even3 = (c2 + np.swapaxes(c2, -1, -2)) / 2, symmetrised(c3)
        return cls(
            c1=c1,
            c2=even2,
            c3=even3.reshape(batch, n_classes, n_classes**2),
            rest2=((c2 - even2) ** 2).sum(axis=(1, 2)),
            rest3=((c3 - even3) ** 2).sum(axis=(1, 2, 3)),
        )


def consensus_loss(
    Z: NDArray[np.float64], z: NDArray[np.float64], moments: ConsensusMoments
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    r"""Return the HOC objective and its analytic gradient with respect to the logits.

    .. math:: L = \|c_1-\hat c_1\|_2 + \|c_2-\hat c_2\|_F + \|c_3-\hat c_3\|_F,
              \quad T = \mathrm{softmax}(Z), \; p = \mathrm{softmax}(z)

    Parameters
    ----------
    Z : ndarray, shape (K, K) or (R, K, K)
        Logits of T, softmax over the last axis; R is a batch of restarts.
    z : ndarray, shape (K,) or (R, K)
        Logits of the prior.
    moments : ConsensusMoments
        Measured moments.

    Returns
    -------
    loss : ndarray, shape () or (R,)
    gZ : ndarray, shape of Z
    gz : ndarray, shape of z

    Notes
    -----
    The norms are unsquared and weigh 1 each, as in the official HOC code. Where a residual is exactly zero the norm
    has no derivative; 0 is returned for its part.

    Examples
    --------
    >>> from tamis.noise.moments import model_moments
    >>> loss, gZ, gz = consensus_loss(np.zeros((2, 2)), np.zeros(2), model_moments(np.full((2, 2), 0.5), [0.5, 0.5]))
    >>> float(loss), gZ.shape, gz.shape
    (0.0, (2, 2), (2,))
    """
    single = Z.ndim == 2
    theta = np.concatenate([Z, z[..., None, :]], axis=-2)
    targets = MomentTargets.of(moments.c1[None], moments.c2[None], moments.c3[None])
    loss, gradient = loss_and_gradient(softmax_rows(theta[None] if single else theta), targets)
    if single:
        loss, gradient = loss[0], gradient[0]
    return loss, gradient[..., :-1, :], gradient[..., -1, :]


def softmax_rows(theta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the softmax over the last axis.

    Examples
    --------
    >>> softmax_rows(np.zeros((1, 2)))
    array([[0.5, 0.5]])
    """
    shifted = np.exp(theta - theta.max(axis=-1, keepdims=True))
    shifted /= shifted.sum(axis=-1, keepdims=True)
    return np.asarray(shifted, dtype=np.float64)


def loss_and_gradient(
    S: NDArray[np.float64], targets: MomentTargets
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return loss (R,) and the gradient (R, K+1, K) with respect to the logits behind ``S``.

    ``S`` (R, K+1, K) stacks the rows of T and, last, the prior p, all after the softmax.
    """
    batch, n_classes = S.shape[0], S.shape[2]
    T, p = S[:, :-1], S[:, -1, :, None]
    pairs = (T[:, :, :, None] * T[:, :, None, :]).reshape(batch, n_classes, n_classes**2)
    weighted_t = (p * T).transpose(0, 2, 1)
    e1 = weighted_t.sum(axis=2) - targets.c1
    e2 = weighted_t @ T - targets.c2
    e3 = weighted_t @ pairs - targets.c3
    n1 = np.sqrt(np.einsum("ra,ra->r", e1, e1))
    n2 = np.sqrt(np.einsum("rab,rab->r", e2, e2) + targets.rest2)
    n3 = np.sqrt(np.einsum("rab,rab->r", e3, e3) + targets.rest3)
    e1 /= np.maximum(n1, _SMALLEST_NORM)[:, None]
    e2 /= np.maximum(n2, _SMALLEST_NORM)[:, None, None]
    e3 /= np.maximum(n3, _SMALLEST_NORM)[:, None, None]
    part1 = e1[:, None, :]
    part2 = T @ e2
    part3 = pairs @ e3.transpose(0, 2, 1)
    slope = np.empty_like(S)
    slope[:, :-1] = p * (part1 + 2 * part2 + 3 * part3)
    slope[:, -1] = (T * (part1 + part2 + part3)).sum(axis=2)
    slope -= (slope * S).sum(axis=2, keepdims=True)
    slope *= S
    return n1 + n2 + n3, slope


def minimise(
    theta: NDArray[np.float64], targets: MomentTargets, *, n_steps: int, learning_rate: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Run Adam on every row of the batch at once; return each row's best softmax values (R, K+1, K) and loss (R,).

    The best iterate is kept: Adam at a fixed learning rate jitters around the kink of an unsquared norm.
    """
    theta = theta.copy()
    mean, square = np.zeros_like(theta), np.zeros_like(theta)
    best = softmax_rows(theta)
    lowest = np.full(theta.shape[0], np.inf)
    for step in range(1, n_steps + 1):
        S = softmax_rows(theta)
        loss, gradient = loss_and_gradient(S, targets)
        better = loss < lowest
        if better.any():
            lowest[better] = loss[better]
            best[better] = S[better]
        mean += (1 - _ADAM_BETA1) * (gradient - mean)
        gradient *= gradient
        square += (1 - _ADAM_BETA2) * (gradient - square)
        scale = np.sqrt(square)
        scale *= 1 / np.sqrt(1 - _ADAM_BETA2**step)
        scale += _ADAM_EPSILON
        theta -= (learning_rate / (1 - _ADAM_BETA1**step)) * mean / scale
    return best, lowest
