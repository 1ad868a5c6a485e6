"""``Selection``: what was decided about each unit, how strongly, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from tamis.data import Table
from tamis.errors import DataError, RecipeError, did_you_mean
from tamis.runs.atomic import atomic_path

DECISIONS = ("keep", "drop", "mask", "flag", "query", "forget", "restrict")

SCHEMA: dict[str, Any] = {
    "unit_id": pl.String,
    "decision": pl.String,
    "score": pl.Float64,
    "rank": pl.Int64,
    "reason": pl.String,
    "step": pl.String,
}


class Selection:
    """Decision, score, rank and reason for each unit.

    A unit is *chosen* when its decision is anything but ``drop``. A ``null`` decision is the third state: the
    unit could not be measured, so nothing was decided about it. The algebra follows Kleene's three-valued logic,
    hence an undecided unit never becomes chosen or dropped by accident: ``undecided & dropped`` is dropped,
    ``undecided & chosen`` stays undecided.

    Parameters
    ----------
    frame : polars.DataFrame
        Columns ``unit_id`` (unique), ``decision`` (one of :data:`DECISIONS`, or null), ``score`` (higher = more
        wanted, null when unmeasured), ``rank`` (0 = first, null when not ranked), ``reason`` and ``step`` (what
        decided). ``score``, ``rank``, ``reason`` and ``step`` may be absent.

    Raises
    ------
    DataError
        If a column is missing, a unit occurs twice, or a decision is unknown.

    Examples
    --------
    >>> import polars as pl
    >>> a = Selection(pl.DataFrame({"unit_id": ["x", "y", "z"], "decision": ["keep", "drop", None]}))
    >>> b = Selection(pl.DataFrame({"unit_id": ["x", "y", "z"], "decision": ["keep", "keep", "keep"]}))
    >>> (a & b).counts()
    {'keep': 1, 'drop': 1, 'undecided': 1}
    >>> (a | b).counts()
    {'keep': 3, 'drop': 0, 'undecided': 0}
    """

    def __init__(self, frame: pl.DataFrame) -> None:
        for column in ("unit_id", "decision"):
            if column not in frame.columns:
                raise DataError(f"A selection needs the column {column!r}; got the columns {frame.columns}.")
        columns = [
            (pl.col(name) if name in frame.columns else pl.lit(None).alias(name)).cast(dtype)
            for name, dtype in SCHEMA.items()
        ]
        self.frame = frame.select(columns)
        self._validate()

    def _validate(self) -> None:
        ids = self.frame["unit_id"]
        if ids.null_count() or ids.n_unique() != len(ids):
            repeated = ids.filter(ids.is_duplicated()).unique(maintain_order=True).head(3).to_list()
            raise DataError(f"A selection names each unit once; these occur more than once or are null: {repeated}.")
        unknown = set(self.frame["decision"].drop_nulls().unique()) - set(DECISIONS)
        if unknown:
            name = min(unknown)
            raise DataError(f"Unknown decision {name!r} in a selection.{did_you_mean(name, DECISIONS)}")

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        return f"Selection({', '.join(f'{k}={v}' for k, v in self.counts().items())})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selection) and self.frame.equals(other.frame)

    __hash__ = None  # type: ignore[assignment]

    @property
    def chosen(self) -> list[str]:
        """Ids of chosen units, best rank first (unranked units last, in the order of the frame)."""
        chosen = self.frame.filter(pl.col("decision").is_not_null() & (pl.col("decision") != "drop"))
        return chosen.sort("rank", nulls_last=True, maintain_order=True)["unit_id"].to_list()

    @property
    def kept(self) -> list[str]:
        """Ids of units with the decision ``keep``, best rank first: what is used as it is."""
        kept = self.frame.filter(pl.col("decision") == "keep")
        return kept.sort("rank", nulls_last=True, maintain_order=True)["unit_id"].to_list()

    @property
    def undecided(self) -> list[str]:
        """Ids of units that could not be measured."""
        return self.frame.filter(pl.col("decision").is_null())["unit_id"].to_list()

    def counts(self) -> dict[str, int]:
        """Units per decision that occurs; ``keep``, ``drop`` and ``undecided`` are always present."""
        seen = dict(self.frame.group_by("decision").len().iter_rows())
        counts = {name: seen.get(name, 0) for name in DECISIONS if name in ("keep", "drop") or name in seen}
        return {**counts, "undecided": seen.get(None, 0)}

    def explain(self, unit_id: str) -> dict[str, Any]:
        """Return the row of one unit as a dict.

        Raises
        ------
        DataError
            If the selection says nothing about the unit.
        """
        row = self.frame.filter(pl.col("unit_id") == unit_id)
        if row.is_empty():
            hint = did_you_mean(unit_id, self.frame["unit_id"].to_list()) if len(self) < 50_000 else ""
            raise DataError(f"The selection has no unit {unit_id!r}.{hint if 'mean' in hint else ''}")
        return row.row(0, named=True)

    def find(self, beginning: str) -> dict[str, Any]:
        """Return the row of the one unit whose id is, or begins with, ``beginning``.

        Raises
        ------
        DataError
            If there is none, or several ids begin so and none is equal.
        """
        ids = self.frame["unit_id"]
        matches = [beginning] if beginning in ids else ids.filter(ids.str.starts_with(beginning)).head(4).to_list()
        if len(matches) > 1:
            raise DataError(f"{beginning!r} begins several ids ({', '.join(matches)}, ...); give more of it.")
        return self.explain(matches[0] if matches else beginning)

    def apply(self, table: Table, *, decision: str = "keep", order: str = "table") -> Table:
        """Return the rows of ``table`` that carry ``decision``.

        Parameters
        ----------
        table : Table
            Rows not named by the selection are left out.
        decision : str, default "keep"
            Which units to take.
        order : {"table", "rank"}, default "table"
            Order of the result. Best-first order biases training that does not shuffle, hence the default.

        Raises
        ------
        RecipeError
            If ``order`` is unknown.
        DataError
            If a unit to take is not in ``table``.
        """
        if order not in ("table", "rank"):
            raise RecipeError(f"The 'order' parameter of apply must be 'table' or 'rank'. Got {order!r} instead.")
        wanted = self.frame.filter(pl.col("decision") == decision)
        ids = wanted.sort("rank", nulls_last=True, maintain_order=True)["unit_id"]
        absent = ids.filter(~ids.is_in(table.ids.implode()))
        if len(absent):
            raise DataError(
                f"{len(absent)} of {len(ids)} selected units are not in the table (first: {absent[0]!r}); "
                "apply a selection to the table it was made from."
            )
        if order == "table":
            ids = table.ids.filter(table.ids.is_in(ids.implode()))
        return table.select_ids(ids.to_list())

    def top(self, k: int) -> Selection:
        """Keep the ``k`` best-ranked chosen units and drop the other chosen ones.

        Raises
        ------
        RecipeError
            If ``k`` is negative.
        """
        if k < 0:
            raise RecipeError(f"The 'k' parameter of top must be an int in [0, inf). Got {k!r} instead.")
        first = self.chosen[:k]
        cut = pl.col("decision").is_not_null() & (pl.col("decision") != "drop") & ~pl.col("unit_id").is_in(first)
        return Selection(
            self.frame.with_columns(
                decision=pl.when(cut).then(pl.lit("drop")).otherwise("decision"),
                reason=pl.when(cut).then(_joined(pl.col("reason"), f"not among the top {k}")).otherwise("reason"),
            )
        )

    def invert(self, decision: str = "keep") -> Selection:
        """Drop what was chosen and give ``decision`` to what was dropped; undecided units stay undecided."""
        swapped = pl.when(pl.col("decision") == "drop").then(pl.lit(decision)).otherwise(pl.lit("drop"))
        return Selection(
            self.frame.with_columns(
                decision=pl.when(pl.col("decision").is_null()).then(None).otherwise(swapped),
                score=-pl.col("score"),
                rank=pl.lit(None),
                reason=_joined(pl.col("reason"), "inverted"),
            )
        )

    def __invert__(self) -> Selection:
        return self.invert()

    def __and__(self, other: Selection) -> Selection:
        return self._combine(other, "and")

    def __or__(self, other: Selection) -> Selection:
        return self._combine(other, "or")

    def __sub__(self, other: Selection) -> Selection:
        return self._combine(other, "minus")

    def _combine(self, other: Selection, how: str) -> Selection:
        """Join on ``unit_id``; a unit that one side does not name is dropped there, with that reason."""
        both = self.frame.join(other.frame, on="unit_id", how="full", coalesce=True, maintain_order="left_right")
        named = {
            "": pl.col("unit_id").is_in(self.frame["unit_id"].implode()),
            "_right": pl.col("unit_id").is_in(other.frame["unit_id"].implode()),
        }
        left, right = (
            pl.when(present).then(pl.col(f"decision{side}") != "drop").otherwise(False)
            for side, present in named.items()
        )
        chosen = {"and": left & right, "or": left | right, "minus": left & ~right}[how]
        # what one side keeps and the other flags is flagged: "and" never revives a unit
        stricter = left if how != "and" else left & ((pl.col("decision") != "keep") | ~right.fill_null(False))
        action = pl.when(stricter).then("decision").otherwise(pl.col("decision_right"))
        reasons = [
            pl.when(present).then(pl.col(f"reason{side}")).otherwise(pl.lit(f"not in the {name} selection"))
            for (side, present), name in zip(named.items(), ("first", "second"), strict=True)
        ]
        return Selection(
            both.with_columns(
                decision=pl.when(chosen).then(action).when(~chosen).then(pl.lit("drop")).otherwise(None),
                score=pl.coalesce("score", "score_right"),
                # ranks of two selections do not count together
                rank=pl.lit(None) if how == "or" else pl.col("rank"),
                reason=pl.concat_str(reasons, separator=f" {how} ", ignore_nulls=True),
                step=pl.concat_str("step", "step_right", separator=f" {how} ", ignore_nulls=True),
            )
        )

    def write(self, path: str | Path) -> None:
        """Write the selection as Parquet, whole or not at all."""
        with atomic_path(path) as temporary:
            self.frame.write_parquet(temporary, statistics=False)

    @classmethod
    def read(cls, path: str | Path) -> Selection:
        """Read a selection from a Parquet file, or ``selection.parquet`` of a run directory.

        Raises
        ------
        DataError
            If the file does not exist or is no Parquet.
        """
        path = Path(path)
        path = path / "selection.parquet" if path.is_dir() else path
        if not path.exists():
            raise DataError(f"There is no selection at {path}; a finished run holds one as selection.parquet.")
        try:
            return cls(pl.read_parquet(path))
        except pl.exceptions.ComputeError as error:
            raise DataError(f"{path} is not a readable Parquet file ({error}); was it cut short?") from error


def _joined(reason: pl.Expr, addition: str) -> pl.Expr:
    return pl.concat_str(reason, pl.lit(addition), separator="; ", ignore_nulls=True)
