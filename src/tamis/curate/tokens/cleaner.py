"""Token Cleaning: which response tokens of a fine-tuning set carry the loss (Pang et al., arXiv 2502.01968)."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tamis.curate.tokens.ranking import top_share, top_share_by_group
from tamis.curate.tokens.scores import RANKINGS, token_scores
from tamis.curate.tokens.spans import KEEP, MASK, UNMEASURED, record_selection, span_selection
from tamis.data.token_rows import TokenRows
from tamis.errors import DataError, parameter_error
from tamis.estimator import Selector
from tamis.runs.digests import derive_seed
from tamis.select import Selection

VERSION = 1
"""Of what a mask depends on besides its parameters and losses."""
SCOPES = ("global", "sample", "batch")
NO_SIGNAL = "all scores are equal: the two models do not differ on these tokens, and the mask is their order"

Floats = NDArray[np.float32]


class TokenCleaner(Selector):
    """Keep the share of response tokens whose loss fell most from a base to a reference model.

    1. Score: ``loss(t_j; base) - loss(t_j; reference)`` of every response token, in nats.
    2. Rank all tokens (``global``), those of each record (``sample``, as RHO in the paper) or of each batch (``batch``,
       as RHO-1).
    3. Keep the first ``floor(keep * n)``; of equal scores the earlier one. The context is never changed, only which
       tokens carry the loss.

    A token without a finite loss in either model is not ranked and not kept, and is counted.

    Parameters
    ----------
    keep : float, default=0.6
        Share of the ranked tokens that is kept, in (0, 1].
    scope : {"global", "sample", "batch"}, default="global"
        Among which tokens the share is counted.
    rank_by : {"excess", "reverse", "base-high", "base-low", "random"}, default="excess"
        The method's score, or a baseline.
    with_prompt_tokens : bool, default=False
        Rank and train on prompt tokens too.
    batch_rows : int, default=16
        Records in a batch, for the scope ``batch``.
    seed : int, default=0
        For ``rank_by="random"``, and the composition of batches.

    Attributes
    ----------
    score_ : ndarray of float32, shape (T,)
        In the order of the tokens given; nan where a token was not ranked.
    mask_ : ndarray of bool, shape (T,)
        Tokens that carry the loss.
    state_ : ndarray of int8, shape (T,)
        1 kept, 0 masked, 2 without a measurement; 0 for tokens that are not decided about.
    candidate_ : ndarray of bool, shape (T,)
        Tokens that are decided about.
    cut_ : float
        Score of the last token kept; nan for scopes other than ``global``, which have a cut each.
    warnings_ : list of str
    selection_ : Selection
        About records: all tokens kept, some masked, none kept (``drop``), or nothing measured (undecided).
    span_selection_ : Selection
        About runs of tokens, units ``ID[start:stop]``.

    Examples
    --------
    >>> rows = TokenRows.from_lists(["a", "b"], [[9, 1, 2, 3], [9, 4, 5]], [[False, True, True, True], [False, True, True]])
    >>> base = np.array([0, 2.0, 5.0, 0.1, 0, 3.0, 1.0], dtype=np.float32)
    >>> reference = np.array([0, 1.9, 1.0, 0.1, 0, 2.5, 1.5], dtype=np.float32)
    >>> cleaner = TokenCleaner(keep=0.4).fit(rows, base=base, reference=reference)
    >>> cleaner.mask_.tolist(), cleaner.cut_
    ([False, False, True, False, False, True, False], 0.5)
    >>> cleaner.span_selection_.frame["unit_id"].to_list()
    ['a[1:2]', 'a[2:3]', 'a[3:4]', 'b[1:2]', 'b[2:3]']
    """  # noqa: E501

    def __init__(
        self,
        *,
        keep: float = 0.6,
        scope: str = "global",
        rank_by: str = "excess",
        with_prompt_tokens: bool = False,
        batch_rows: int = 16,
        seed: int = 0,
    ) -> None:
        self.keep = keep
        self.scope = scope
        self.rank_by = rank_by
        self.with_prompt_tokens = with_prompt_tokens
        self.batch_rows = batch_rows
        self.seed = seed

    def validate(self) -> None:
        """Check the parameters.

        Raises
        ------
        RecipeError
            If one is wrong.
        """
        name = type(self).__name__
        if isinstance(self.keep, bool) or not isinstance(self.keep, int | float) or not 0 < self.keep <= 1:
            raise parameter_error(name, "keep", "a float in (0, 1]", self.keep)
        if self.scope not in SCOPES:
            raise parameter_error(name, "scope", "'global', 'sample' or 'batch'", self.scope)
        if self.rank_by not in RANKINGS:
            raise parameter_error(name, "rank_by", f"one of {', '.join(map(repr, RANKINGS))}", self.rank_by)
        if not isinstance(self.with_prompt_tokens, bool):
            raise parameter_error(name, "with_prompt_tokens", "a bool", self.with_prompt_tokens)
        for parameter, least in (("batch_rows", 1), ("seed", -math.inf)):
            value = getattr(self, parameter)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise parameter_error(name, parameter, "an int" + (" in [1, inf)" if least == 1 else ""), value)

    def fit(self, rows: TokenRows, *, base: Floats, reference: Floats) -> Self:
        """Decide which tokens carry the loss.

        Records are taken in the order of their ids, so that the order of the rows changes nothing.

        Parameters
        ----------
        rows : TokenRows
            T tokens of at least two records.
        base, reference : ndarray of float32, shape (T,)
            Loss of each token in nats: at index j that of predicting token j. nan where it could not be measured; the
            first token of a record, and tokens that are no candidates, are not looked at.

        Returns
        -------
        TokenCleaner

        Raises
        ------
        RecipeError
            If a parameter is wrong.
        DataError
            If there are fewer than two records, lengths differ, or no token was measured.
        """
        self.validate()
        n = len(rows.ids)
        for name, losses in (("base", base), ("reference", reference)):
            if np.shape(losses) != (n,):
                raise DataError(
                    f"The {name} losses must be one a token, {n} in all. Got shape {np.shape(losses)} instead; score "
                    "with the tokenizer that made the ids."
                )
        self.require_candidates(rows)
        order = np.asarray(rows.unit_ids.arg_sort(), dtype=np.int64)
        places = rows.places(order)
        self._decide(rows.take(order), np.asarray(base)[places], np.asarray(reference)[places])
        for name in ("score_", "mask_", "state_", "candidate_"):  # back to the order given
            values = getattr(self, name)
            given = np.empty_like(values)
            given[places] = values
            setattr(self, name, given)
        return self

    def require_candidates(self, rows: TokenRows) -> None:
        """Raise DataError unless there are two records, and tokens to decide about."""
        if len(rows) < 2:
            raise DataError(f"A ranking of tokens needs at least two records. Got {len(rows)} instead.")
        if not self._candidates(rows).any():
            raise DataError(
                f"None of the {len(rows)} records has an answer token to rank; are there answers, and do they begin "
                "before the maximum length?"
            )

    def can_rank(self, rows: TokenRows, *, base: Floats, reference: Floats) -> bool:
        """Whether any token that is decided about has a loss by both models."""
        return bool(np.isfinite(base[self._candidates(rows)] - reference[self._candidates(rows)]).any())

    def _candidates(self, rows: TokenRows) -> NDArray[np.bool_]:
        candidate = np.ones(len(rows.ids), dtype=bool) if self.with_prompt_tokens else rows.response.copy()
        candidate[rows.offsets[:-1]] = False  # nothing predicts the first token
        return candidate

    def _decide(self, rows: TokenRows, base: Floats, reference: Floats) -> None:
        candidate = self._candidates(rows)
        rng = np.random.default_rng(derive_seed(self.seed, "tokens", "random"))
        score = token_scores(self.rank_by, base, reference, rng=rng)
        score[~candidate] = np.nan
        ranked = np.isfinite(score)
        if not ranked.any():
            raise DataError(
                f"No token has a loss by both models, so nothing can be ranked ({int(candidate.sum())} response tokens "
                f"in {len(rows)} records)."
            )
        self.cut_ = float("nan")
        if self.scope == "global":
            mask, self.cut_ = top_share(score, ranked, self.keep)
        else:
            group = rows.row_of if self.scope == "sample" else self._batches(len(rows))[rows.row_of]
            mask = _ordered(score, ranked, self.keep, group)
        state = np.where(mask, KEEP, MASK).astype(np.int8)
        state[candidate & ~ranked] = UNMEASURED
        self.score_, self.mask_, self.state_, self.candidate_ = score, mask, state, candidate
        self.warnings_ = []
        if self.keep < 1 and float(np.ptp(score[ranked])) == 0:
            self.warnings_.append(NO_SIGNAL)
        self.selection_: Selection = record_selection(rows, state, score, candidate)
        self.span_selection_: Selection = span_selection(rows, state, score, candidate)

    def _batches(self, n: int) -> NDArray[np.int64]:
        """Batch of each record, at random."""
        rng = np.random.default_rng(derive_seed(self.seed, "tokens", "batches"))
        batch = np.empty(n, dtype=np.int64)
        batch[rng.permutation(n)] = np.arange(n) // self.batch_rows
        return batch


def _ordered(score: Floats, ranked: NDArray[np.bool_], keep: float, group: NDArray[Any]) -> NDArray[np.bool_]:
    """Top share by group, whatever the order of the groups."""
    if not len(group) or (np.diff(group) >= 0).all():
        return top_share_by_group(score, ranked, keep, group)[0]
    order = np.argsort(group, kind="stable")
    mask = np.empty(len(score), dtype=bool)
    mask[order] = top_share_by_group(score[order], ranked[order], keep, group[order])[0]
    return mask
