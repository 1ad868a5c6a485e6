"""Majority vote: the shares of a task's answers that name each class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tamis.data.answer_codes import AnswerCodes


def majority_vote(codes: AnswerCodes) -> NDArray[np.float64]:
    """Return the vote shares of each task.

    Parameters
    ----------
    codes : AnswerCodes

    Returns
    -------
    ndarray of float64, shape (n_tasks, K)
        Rows sum to 1; the row of a task without an answer is nan.

    Examples
    --------
    >>> codes = AnswerCodes.of([0, 0, 0, 0], [0, 1, 2, 3], [1, 1, 0, 1], n_tasks=2)
    >>> majority_vote(codes).tolist()
    [[0.25, 0.75], [nan, nan]]
    """
    votes: NDArray[np.float64] = codes.counts.toarray()
    answers = codes.per_task[:, None]
    np.divide(votes, answers, out=votes, where=answers > 0)
    votes[codes.per_task == 0] = np.nan
    return votes
