"""Dawid-Skene: true classes and the errors of workers, each from the other, without a gold label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamis.data.answer_codes import AnswerCodes
from tamis.errors import DataError, parameter_error
from tamis.noise.majority import majority_vote
from tamis.noise.worker_errors import AccuracyModel, ConfusionModel, ErrorModel, Floats, WorkerErrors, label_pairs


@dataclass(frozen=True, eq=False)
class DawidSkene:
    """Classes of tasks and errors of workers, as :func:`dawid_skene` found them.

    Errors that workers make together, such as those of one LLM that many of them asked, look like truth to this model.

    Attributes
    ----------
    posterior : ndarray of float64, shape (n_tasks, K)
        Probability of each class; for a task without an answer this is ``prior``.
    prior : ndarray of float64, shape (K,)
        Mean posterior of the tasks with answers.
    skill : ndarray of float64, shape (n_workers,)
        ``sum_k prior_k A_w[k, k]``, the probability that the worker is right; nan for a worker without answers.
    n_rounds : int
        E-steps that were made.
    converged : bool
        Whether the last of them moved no probability by ``tolerance`` or more.
    answered : ndarray of bool, shape (n_tasks,)
        Tasks with an answer.
    errors : WorkerErrors
        What :meth:`confusion` and :meth:`mean_confusion` are made from.
    """

    posterior: Floats
    prior: Floats
    skill: Floats
    n_rounds: int
    converged: bool
    answered: NDArray[np.bool_]
    errors: WorkerErrors

    @cached_property
    def labels(self) -> NDArray[np.int32]:
        """Most probable class of each task, shape (n_tasks,), the first on ties; -1 for a task without an answer."""
        return np.where(self.answered, self.posterior.argmax(axis=1), -1).astype(np.int32)

    def confusion(self, worker: int) -> Floats:
        """Return the confusion matrix of one worker.

        Parameters
        ----------
        worker : int
            Code of the worker.

        Returns
        -------
        ndarray of float64, shape (K, K)
            Rows are true classes, columns written ones, rows sum to 1; nan for a worker without answers.

        Raises
        ------
        DataError
            If there is no such worker.
        """
        if not 0 <= worker < len(self.skill):
            raise DataError(f"confusion expects a worker in 0..{len(self.skill) - 1}. Got {worker!r}.")
        return self.errors.confusion((np.arange(len(self.skill)) == worker).astype(np.float64))

    def mean_confusion(self, weights: ArrayLike) -> Floats:
        """Return the confusion matrix of several workers taken as one.

        Row k is the mean of the rows k of their matrices, each weighted by the answers that the worker is believed to
        have given to tasks of class k, so that who never met a class has no say about it. Smoothing is applied once.

        Parameters
        ----------
        weights : array-like of bool or float, shape (n_workers,)
            A mask, or a factor not below 0 for each worker.

        Returns
        -------
        ndarray of float64, shape (K, K)
            Rows sum to 1; nan if these workers gave no answer.

        Raises
        ------
        DataError
            If the shape is wrong, or a weight is negative or not finite.
        """
        factors = np.asarray(weights, dtype=np.float64)
        if factors.shape != self.skill.shape:
            raise DataError(
                f"mean_confusion expects one weight per worker, shape {self.skill.shape}. Got shape {factors.shape}."
            )
        if not (np.isfinite(factors) & (factors >= 0)).all():
            raise DataError(
                "mean_confusion expects finite weights that are not negative. Got others; use 0 for nobody."
            )
        return self.errors.confusion(factors)


def dawid_skene(
    codes: AnswerCodes,
    *,
    smoothing: float = 0.01,
    max_rounds: int = 100,
    tolerance: float = 1e-5,
    one_coin: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> DawidSkene:
    r"""Estimate the class of each task and the confusion matrix of each worker by expectation maximisation.

    Starting from vote shares, rounds of

    .. math::
        \pi_k = \mathrm{mean}_t\, q_t(k), \quad
        A_w[k,l] \propto s + \sum_t q_t(k)\, 1[R_{wt}=l], \quad
        q_t(k) \propto \pi_k \prod_{w \text{ rates } t} A_w[k, R_{wt}]

    are made, the last in log space, until no ``q`` moves by ``tolerance``. Prior and errors that are returned are those
    of the last ``q``. Tasks without an answer have no part in it.

    Parameters
    ----------
    codes : AnswerCodes
    smoothing : float, default 0.01
        ``s``, added to each cell of each confusion matrix.
    max_rounds : int, default 100
    tolerance : float, default 1e-5
        0 makes all rounds unless nothing moves at all.
    one_coin : bool, default False
        Give each worker one accuracy, with errors that fall on all other classes alike, in place of a matrix. Better
        for workers with few answers to many classes.
    progress : callable, optional
        Called with (rounds made, ``max_rounds``).

    Returns
    -------
    DawidSkene

    Raises
    ------
    RecipeError
        If a parameter is out of range.
    DataError
        If there is no answer.

    Notes
    -----
    Dawid and Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm", Applied Statistics
    28 (1979), equations 2.3 to 2.5, with smoothing; one-coin: Zhang, Chen, Zhou and Jordan, JMLR 17 (2016). Time is
    proportional to answers times K, memory to :func:`dawid_skene_bytes`.

    Examples
    --------
    >>> task, worker = np.divmod(np.arange(300), 3)
    >>> truth = task % 2
    >>> label = np.where((worker == 2) & (task % 5 < 2), 1 - truth, truth)  # worker 2 errs on two tasks of five
    >>> found = dawid_skene(AnswerCodes.of(task, worker, label))
    >>> found.skill.round(2).tolist(), bool((found.labels == np.arange(100) % 2).all())
    ([1.0, 1.0, 0.6], True)
    >>> found.confusion(2).round(2).tolist()
    [[0.6, 0.4], [0.4, 0.6]]
    """
    if not 0 < smoothing < np.inf:
        raise parameter_error("dawid_skene", "smoothing", "a float in (0, inf)", smoothing)
    if max_rounds < 1:
        raise parameter_error("dawid_skene", "max_rounds", "an int in [1, inf)", max_rounds)
    if not 0 <= tolerance < np.inf:
        raise parameter_error("dawid_skene", "tolerance", "a float in [0, inf)", tolerance)
    if not len(codes):
        raise DataError("dawid_skene expects at least one answer. Got none; give answers, or drop nobody before.")
    answered = codes.per_task > 0
    dense = _answered_only(codes, answered)
    coin = one_coin and codes.n_classes > 1
    model: ErrorModel = AccuracyModel(dense, smoothing) if coin else ConfusionModel(dense, smoothing)
    posterior, n_rounds, converged = _rounds(model, majority_vote(dense), max_rounds, tolerance, progress)
    prior, errors = _mean_row(posterior), model.estimate(posterior)
    if len(dense.per_task) < codes.n_tasks:
        everywhere = np.tile(prior, (codes.n_tasks, 1))
        everywhere[answered] = posterior
        posterior = everywhere
    return DawidSkene(posterior, prior, errors.skill(prior), n_rounds, converged, answered, errors)


def dawid_skene_bytes(codes: AnswerCodes) -> int:
    """Estimate the memory that :func:`dawid_skene` takes at most, beyond that of ``codes``, in bytes.

    Examples
    --------
    >>> dawid_skene_bytes(AnswerCodes.of([0, 1], [0, 0], [0, 999]))
    80048
    """
    pairs, workers = len(label_pairs(codes)[0]), int((codes.per_worker > 0).sum())
    tasks, answers = int((codes.per_task > 0).sum()), len(codes)
    # rows of K numbers that live at once: the M-step, the E-step, and giving a row to tasks without answers
    rows = max(3 * pairs + 2 * workers + tasks, pairs + 3 * tasks, pairs + tasks + codes.n_tasks)
    kept, numbering = 24 * answers, 44 * answers  # the incidence and the votes; sorting the pairs
    return kept + max(numbering, 8 * codes.n_classes * rows)


def _answered_only(codes: AnswerCodes, answered: NDArray[np.bool_]) -> AnswerCodes:
    if answered.all():
        return codes
    rows = np.cumsum(answered, dtype=np.int32) - np.int32(1)
    return replace(codes, task=rows[codes.task], n_tasks=int(answered.sum()))


def _rounds(
    model: ErrorModel,
    posterior: Floats,
    max_rounds: int,
    tolerance: float,
    progress: Callable[[int, int], None] | None,
) -> tuple[Floats, int, bool]:
    for done in range(1, max_rounds + 1):
        moved = model.log_likelihood(posterior)
        with np.errstate(divide="ignore"):  # a class that nobody names stays impossible
            moved += np.log(_mean_row(posterior))
        _normalise_log_rows(moved)
        posterior -= moved
        change = float(np.abs(posterior, out=posterior).max())
        posterior = moved
        if progress is not None:
            progress(done, max_rounds)
        if change < tolerance or change == 0:
            return posterior, done, True
    return posterior, max_rounds, False


def _mean_row(rows: Floats) -> Floats:
    mean: Floats = np.full(len(rows), 1 / len(rows)) @ rows  # several times faster than mean(axis=0) for few columns
    return mean


def _normalise_log_rows(rows: Floats) -> None:
    """Replace rows of log weights by probabilities, in place."""
    # for few columns the reductions along rows are several times slower than these
    rows -= np.ascontiguousarray(rows.T).max(axis=0)[:, None]
    np.exp(rows, out=rows)
    rows /= (rows @ np.ones(rows.shape[1]))[:, None]
