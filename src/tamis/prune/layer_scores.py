"""``LayerScores``: what a criterion says about each layer of a model, and the order in which layers go."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.errors import DataError
from tamis.prune.criteria_list import FROM_FILE
from tamis.prune.layer_ranges import layer_id
from tamis.runs.atomic import atomic_path, atomic_write_text

SCHEMA = {"layer": pl.Int64, "score": pl.Float64, "rank": pl.Int64}


class LayerScores:
    """Score and rank of each layer. The lowest rank is pruned first.

    Parameters
    ----------
    frame : polars.DataFrame
        Columns ``layer`` (from 0, each once) and ``score`` (null or not finite where a layer could not be measured);
        ``rank`` where the criterion orders layers by more than their scores, such as a greedy one. Other columns are
        left out.
    criterion : str
        Name of the criterion.

    Attributes
    ----------
    frame : polars.DataFrame
        ``layer, score, rank`` in the order of the layers; score and rank are null for a layer without a measurement.

    Raises
    ------
    DataError
        If a column is missing, a layer is missing or there twice, or a measured layer has no rank where others have.

    Examples
    --------
    >>> scores = LayerScores.of([0.3, 0.1, 0.2], criterion="bi")
    >>> scores.order, len(scores)
    ((1, 2, 0), 3)
    """

    def __init__(self, frame: pl.DataFrame, *, criterion: str) -> None:
        for name in ("layer", "score"):
            if name not in frame.columns:
                raise DataError(f"Scores of layers need the column {name!r}; found {frame.columns}.")
        try:
            frame = frame.select(pl.col(name).cast(SCHEMA[name]) for name in SCHEMA if name in frame.columns)
        except pl.exceptions.PolarsError as error:
            raise DataError(f"Scores of layers must be numbers: {str(error).splitlines()[0]}.") from error
        frame = frame.sort("layer")
        if frame["layer"].n_unique() < len(frame):
            twice = frame["layer"].filter(frame["layer"].is_duplicated())[0]
            raise DataError(f"Layers must be unique in a file of scores; layer {twice} is there more than once.")
        if not len(frame):
            raise DataError("Scores of layers need a row for each layer; got none.")
        if frame["layer"].to_list() != list(range(len(frame))):
            absent = min({*range(len(frame) + 1)} - {*frame["layer"]})
            raise DataError(
                f"Scores of layers need a row for each layer from 0; got {len(frame)} rows, from layer "
                f"{frame['layer'][0]} to {frame['layer'][-1]}, and none of layer {absent}."
            )
        measured = pl.col("score").is_finite().fill_null(False)
        frame = frame.with_columns(score=pl.when(measured).then("score"))
        if "rank" not in frame.columns:
            frame = frame.with_columns(rank=pl.struct("score", "layer").rank("ordinal").cast(pl.Int64) - 1)
        frame = frame.with_columns(rank=pl.when(measured).then("rank"))
        ranks = frame.filter(measured)["rank"]
        if ranks.null_count() or ranks.n_unique() < len(ranks):
            raise DataError("Every layer with a score needs a rank of its own, 0 for the one that is pruned first.")
        self.frame, self.criterion = frame, criterion

    @classmethod
    def of(
        cls, values: Sequence[float] | NDArray[np.float64], *, criterion: str, order: Sequence[int] | None = None
    ) -> LayerScores:
        """Make scores from one value a layer.

        Parameters
        ----------
        values : sequence of float, shape (N,)
            nan where a layer could not be measured.
        criterion : str
        order : sequence of int, optional
            All layers, the first to be pruned first. Default: by score, of equal ones the lower index first.
        """
        columns: dict[str, Any] = {"layer": range(len(values)), "score": np.asarray(values, dtype=np.float64)}
        if order is not None:
            columns["rank"] = np.argsort(np.asarray(order))
        return cls(pl.DataFrame(columns), criterion=criterion)

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        return f"LayerScores({self.criterion!r}, {len(self)} layers)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LayerScores) and self.criterion == other.criterion and self.frame.equals(other.frame)

    __hash__ = None  # type: ignore[assignment]

    @property
    def order(self) -> tuple[int, ...]:
        """Measured layers, the first to be pruned first."""
        return tuple(self.frame.filter(pl.col("rank").is_not_null()).sort("rank")["layer"])

    @property
    def unit_ids(self) -> list[str]:
        """Ids of the layers as units."""
        return [layer_id(layer) for layer in self.frame["layer"]]

    def take(self, rows: Sequence[int] | NDArray[np.integer[Any]]) -> LayerScores:
        """Return the scores of these rows; all layers have to be there."""
        return LayerScores(self.frame[np.asarray(rows, dtype=np.int64)], criterion=self.criterion)

    def write(self, path: str | Path, **said: Any) -> None:
        """Write the scores, whole or not at all.

        Parameters
        ----------
        path : str or Path
            ``.csv``, or ``.json`` for an object with the scores in ``layers``.
        **said
            JSON values that are written beside them: settings, seed, which layers were kept.
        """
        path = Path(path)
        kept = said.pop("kept", None)
        frame = self.frame if kept is None else self.frame.with_columns(kept=pl.col("layer").is_in(list(kept)))
        if path.suffix == ".json":
            found = {"criterion": self.criterion, **said, "layers": frame.to_dicts()}
            atomic_write_text(path, json.dumps(found, indent=1, allow_nan=False) + "\n")
            return
        with atomic_path(path) as temporary:
            frame.with_columns(criterion=pl.lit(self.criterion)).write_csv(temporary)

    @classmethod
    def read(cls, path: str | Path) -> LayerScores:
        """Read a file that :meth:`write` wrote, or one like it.

        Raises
        ------
        DataError
            If the file cannot be read, or what it holds are no scores.
        """
        path = Path(path)
        criterion = path.stem
        try:
            if path.suffix == ".json":
                found = json.loads(path.read_text(encoding="utf-8"))
                criterion, frame = str(found.get("criterion", criterion)), pl.DataFrame(found["layers"])
            else:
                frame = pl.read_csv(path)
                if "criterion" in frame.columns and len(frame):
                    criterion = str(frame["criterion"][0])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, pl.exceptions.PolarsError) as error:
            raise DataError(
                f"{path} holds no scores of layers ({type(error).__name__}); expected CSV with the columns layer and "
                "score, or JSON with them in 'layers'."
            ) from error
        return cls(frame, criterion=criterion)


def scores_from_file(path: Path, n_layers: int) -> LayerScores:
    """Read scores for a model of so many layers; their criterion says that they are from a file.

    Raises
    ------
    DataError
        As for :meth:`LayerScores.read`, or if they are of another number of layers.
    """
    read = LayerScores.read(path)
    if len(read) != n_layers:
        raise DataError(f"{path} scores {len(read)} layers, the model has {n_layers}; give scores of this model.")
    suffix = f", {FROM_FILE}"
    return LayerScores(read.frame, criterion=f"{read.criterion.removesuffix(suffix)}{suffix}")
