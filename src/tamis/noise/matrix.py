"""`TransitionMatrix`: how often true class i is written down as j, and how far to believe it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.errors import DataError
from tamis.noise.diagnostics import NoiseDiagnostics

Verdict = Literal["usable", "partly usable", "not usable"]

_MIN_USABLE_SHARE = 0.5
_LOW_DIAGONAL = 0.5
_HIGH_CONDITION = 100.0


@dataclass(frozen=True, eq=False)
class TransitionMatrix:
    """The NoiseModel of labels and scores: P(observed = j | true = i), with intervals and a verdict.

    It measures inconsistency inside neighbourhoods, **not accuracy**: bias that neighbours share is invisible,
    exact copies flatter the rater and mixed classes slander it. Never show it as a confusion matrix against truth.

    Parameters
    ----------
    T : ndarray of float64, shape (K, K)
        Row = true class, column = observed class, rows sum to 1.
    p : ndarray of float64, shape (K,)
        Prior of the true class.
    low, high : ndarray of float64, shape (K, K), or None
        95 % bootstrap interval of each ``T_ij``; None if no bootstrap was run. It covers the sampling of triples
        only, not violated assumptions, and treats overlapping triples as independent, so it is rather too narrow.
    n_classes : int
        Number of classes K.
    n_triples : int
        Triples behind the estimate.
    losses : tuple of float
        Final loss of each restart.
    diagnostics : NoiseDiagnostics
        Everything else that was measured.
    class_names : tuple of str
        Names of the classes, "0".."K-1" by default.
    ordinal : bool
        Whether classes are ordered scores.

    Examples
    --------
    >>> from tamis.noise.moments import model_moments
    >>> from tamis.noise.diagnostics import diagnose
    >>> T, p = np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0.5, 0.5])
    >>> matrix = TransitionMatrix.of_fit(T, p, diagnostics=diagnose(T, p, model_moments(T, p)))
    >>> matrix.verdict, matrix.unusable_classes
    ('partly usable', (1,))
    >>> matrix.warnings()[0]
    'scores 0 and 1 cannot be told apart by this rater (true 1 is written as 0 with probability 0.60, as 1 with 0.40)'
    """

    T: NDArray[np.float64]
    p: NDArray[np.float64]
    low: NDArray[np.float64] | None
    high: NDArray[np.float64] | None
    n_classes: int
    n_triples: int
    losses: tuple[float, ...]
    diagnostics: NoiseDiagnostics
    class_names: tuple[str, ...]
    ordinal: bool

    @classmethod
    def of_fit(
        cls,
        T: NDArray[np.float64],
        p: NDArray[np.float64],
        *,
        diagnostics: NoiseDiagnostics,
        low: NDArray[np.float64] | None = None,
        high: NDArray[np.float64] | None = None,
        n_triples: int = 0,
        losses: tuple[float, ...] = (),
        class_names: tuple[str, ...] | None = None,
        ordinal: bool = True,
    ) -> TransitionMatrix:
        """Build a matrix, naming classes "0".."K-1" unless told otherwise.

        Raises
        ------
        DataError
            If the number of names is not K.
        """
        n_classes = int(T.shape[0])
        names = tuple(str(c) for c in range(n_classes)) if class_names is None else tuple(class_names)
        if len(names) != n_classes:
            raise DataError(
                f"TransitionMatrix expects one class name per class ({n_classes}). Got {len(names)}: {list(names)}."
            )
        return cls(T, p, low, high, n_classes, n_triples, losses, diagnostics, names, ordinal)

    @property
    def unusable_classes(self) -> tuple[int, ...]:
        """Classes whose row may not be acted on: ``T_ii`` is not the row maximum, or ``p_i < 0.02``."""
        bad = ~self.diagnostics.row_max | self.diagnostics.rare
        return tuple(int(c) for c in np.flatnonzero(bad))

    @property
    def usable_classes(self) -> tuple[int, ...]:
        """Classes whose row passes both checks; empty when the verdict is "not usable"."""
        if not self.usable:
            return ()
        return tuple(c for c in range(self.n_classes) if c not in self.unusable_classes)

    @property
    def verdict(self) -> Verdict:
        """One of "usable" (no unusable class), "partly usable" and "not usable".

        The last is given if labels ignore the features, or if more than half of the labels fall in unusable classes.
        """
        bad = list(self.unusable_classes)
        if not self.diagnostics.agreement.follows_features:
            return "not usable"
        if float(self.diagnostics.observed[bad].sum()) > _MIN_USABLE_SHARE or len(bad) == self.n_classes:
            return "not usable"
        return "partly usable" if bad else "usable"

    @property
    def usable(self) -> bool:
        """Whether any class may be acted on: true for "usable" and "partly usable" (see `usable_classes`)."""
        return self.verdict != "not usable"

    def warnings(self) -> list[str]:
        """Say in plain language what is wrong with the estimate, gravest first; empty if nothing was found."""
        return [
            *_about_features(self),
            *_about_rows(self),
            *_about_rare_classes(self),
            *_about_identification(self),
        ]

    def to_frame(self) -> pl.DataFrame:
        """Return one row per cell: ``true, observed, value, low, high`` (low and high null without bootstrap)."""
        true, observed = np.divmod(np.arange(self.n_classes**2), self.n_classes)
        names = np.asarray(self.class_names, dtype=object)
        return pl.DataFrame(
            {
                "true": names[true].tolist(),
                "observed": names[observed].tolist(),
                "value": self.T.ravel().tolist(),
                "low": [None] * self.n_classes**2 if self.low is None else self.low.ravel().tolist(),
                "high": [None] * self.n_classes**2 if self.high is None else self.high.ravel().tolist(),
            },
            schema={
                "true": pl.String, "observed": pl.String, "value": pl.Float64, "low": pl.Float64, "high": pl.Float64
            },
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers that JSON can hold; `from_dict` restores them exactly."""
        return {
            "T": self.T.tolist(),
            "p": self.p.tolist(),
            "low": None if self.low is None else self.low.tolist(),
            "high": None if self.high is None else self.high.tolist(),
            "n_triples": self.n_triples,
            "losses": list(self.losses),
            "diagnostics": self.diagnostics.to_dict(),
            "class_names": list(self.class_names),
            "ordinal": self.ordinal,
            "verdict": self.verdict,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TransitionMatrix:
        """Rebuild what `to_dict` returned; the verdict is derived again, not trusted.

        Raises
        ------
        DataError
            If a field is missing.
        """
        expected = {"T", "p", "low", "high", "n_triples", "losses", "diagnostics", "class_names", "ordinal"}
        absent = sorted(expected - set(data))
        if absent:
            raise DataError(
                f"TransitionMatrix.from_dict expects what to_dict returned. Got a mapping without {absent}."
            )
        return cls.of_fit(
            np.asarray(data["T"], dtype=np.float64),
            np.asarray(data["p"], dtype=np.float64),
            diagnostics=NoiseDiagnostics.from_dict(data["diagnostics"]),
            low=None if data["low"] is None else np.asarray(data["low"], dtype=np.float64),
            high=None if data["high"] is None else np.asarray(data["high"], dtype=np.float64),
            n_triples=int(data["n_triples"]),
            losses=tuple(float(loss) for loss in data["losses"]),
            class_names=tuple(data["class_names"]),
            ordinal=bool(data["ordinal"]),
        )


def _about_features(matrix: TransitionMatrix) -> list[str]:
    agreement = matrix.diagnostics.agreement
    if agreement.follows_features:
        return []
    z = "" if agreement.z is None else f", z = {agreement.z:.1f}"
    return [
        f"labels do not follow the features: neighbours agree hardly more often than chance "
        f"(kappa = {agreement.kappa:.3f}{z}), so no correction may be made"
    ]


def _about_rows(matrix: TransitionMatrix) -> list[str]:
    noun = "score" if matrix.ordinal else "class"
    plural = "scores" if matrix.ordinal else "classes"
    found = []
    for i in range(matrix.n_classes):
        row, name = matrix.T[i], matrix.class_names[i]
        others = np.where(np.arange(matrix.n_classes) == i, -np.inf, row)
        j = int(others.argmax())
        rival = matrix.class_names[j]
        pair = " and ".join(matrix.class_names[c] for c in sorted((i, j)))
        if not matrix.diagnostics.row_max[i]:
            found.append(
                f"{plural} {pair} cannot be told apart by this rater (true {name} is written as {rival} with "
                f"probability {row[j]:.2f}, as {name} with {row[i]:.2f})"
            )
        elif matrix.low is not None and matrix.high is not None and matrix.low[i, i] <= matrix.high[i, j]:
            found.append(
                f"{plural} {pair} may not be told apart by this rater (for true {name} the intervals of writing "
                f"{name} and {rival} overlap)"
            )
        if round(float(row[i]), 2) < _LOW_DIAGONAL and matrix.diagnostics.row_max[i]:
            found.append(
                f"{noun} {name} is written as itself less than half of the time ({row[i]:.2f}); at this level of "
                "noise the estimate is poor and more data hardly improves it"
            )
    return found


def _about_rare_classes(matrix: TransitionMatrix) -> list[str]:
    return [
        f"class {matrix.class_names[i]} is too rare (p = {matrix.p[i]:.3f}) to be identified"
        for i in np.flatnonzero(matrix.diagnostics.rare)
    ]


def _about_identification(matrix: TransitionMatrix) -> list[str]:
    found = []
    if matrix.diagnostics.condition_number > _HIGH_CONDITION:
        found.append(
            f"the matrix is close to singular (condition number {matrix.diagnostics.condition_number:.0f}): different "
            "matrices explain the same labels"
        )
    if not matrix.diagnostics.namings_agree:
        found.append(
            "matching hidden classes to labels and sorting them by mean score disagree: a class with a higher name has "
            "a lower mean, so rows may be swapped"
        )
    return found
