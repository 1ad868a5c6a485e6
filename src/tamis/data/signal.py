"""The Signal: measured values about units, with who measured them and what became of each measurement."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from tamis.data.readers import parse
from tamis.data.signal_checks import SIGNAL_SCHEMA, STATUSES, check_keys, check_values, choose, value_statuses
from tamis.data.signal_frame import completed, json_cells, long_frame
from tamis.data.table import Table
from tamis.errors import DataError, RecipeError, did_you_mean
from tamis.runs.atomic import atomic_path

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["STATUSES", "Signal"]


@dataclass(frozen=True, repr=False, eq=False)
class Signal:
    """Measurements in long form. A measurement that failed has a status and no value, never a zero.

    Make one with :meth:`from_column`, :meth:`from_frame` or :meth:`read`.

    Parameters
    ----------
    frame : pl.DataFrame
        ``unit_id`` String, ``rater`` String, ``criterion`` String, ``value`` Float64 (null unless ok), ``status`` Enum
        (ok, missing, refused, unparsed), ``cost`` Float64 (in the rater's currency, null if unknown), ``raw_ref``
        String (where the raw reply is kept, null if nowhere). One row per unit, rater and criterion.

    Raises
    ------
    DataError
        If columns or types differ, or the rules of :meth:`from_frame` are broken.

    Examples
    --------
    >>> signal = Signal.from_frame(pl.DataFrame({"id": ["a", "b"], "rating": [4, None]}))
    >>> signal
    Signal(2 measurements of 2 units by rating on overall: 1 ok, 1 missing)
    """

    frame: pl.DataFrame

    def __post_init__(self) -> None:
        if dict(self.frame.schema) != SIGNAL_SCHEMA:
            raise DataError(
                f"The frame of a Signal must have the columns {', '.join(SIGNAL_SCHEMA)} with their types, found "
                f"{', '.join(f'{name} {dtype}' for name, dtype in self.frame.schema.items())}; use Signal.from_frame."
            )
        check_keys(self.frame, "the signal")
        check_values(self.frame, "the signal")

    @classmethod
    def from_column(cls, table: Table, column: str, *, rater: str | None = None, criterion: str = "overall") -> Signal:
        """Take a column of a table as measurements of its records.

        Null, NaN and blank text are missing; text that is no number, and infinite values, are unparsed (see
        :meth:`counts`).

        Parameters
        ----------
        table : Table
            Records that carry their ratings.
        column : str
            Column of numbers, booleans or text.
        rater : str, optional
            Who measured. Default: the name of the column.
        criterion : str
            What was measured.

        Raises
        ------
        RecipeError
            If there is no such column.
        DataError
            If the column holds neither numbers nor text.

        Examples
        --------
        >>> table = Table.from_records([{"text": "x", "gpt4": 4.5}, {"text": "y", "gpt4": None}])
        >>> Signal.from_column(table, "gpt4").frame["value"].to_list()
        [4.5, None]
        """
        if column not in table.frame.columns:
            hint = did_you_mean(column, table.frame.columns)
            raise RecipeError(f"The 'column' {column!r} is no column of {table.source.name}.{hint}")
        cells = table.frame[column]
        if column in table.source.json_columns:
            cells = json_cells(cells)
        read = value_statuses(cells)
        frame = pl.DataFrame({"unit_id": table.ids, "value": read["value"], "status": read["status"]})
        return cls(completed(frame, rater or column, criterion))

    @classmethod
    def from_frame(
        cls, frame: Any, *, rater: str | None = None, criterion: str | None = None, where: str = "the signal"
    ) -> Signal:
        """Take a long frame as measurements.

        Parameters
        ----------
        frame : frame or list of dicts
            ``unit_id`` (or ``id``) and ``value`` (or ``rating`` or ``score``); optional ``rater``, ``criterion``,
            ``status``, ``cost``, ``raw_ref``. Other columns are left out. Without ``status`` it follows from the value
            as in :meth:`from_column`.
        rater, criterion : str, optional
            Used where the frame has no such column. Default: the name of the value column, and ``overall``.
        where : str
            What messages call the frame.

        Raises
        ------
        DataError
            If columns are absent, a status is unknown, a value stands beside a status other than ok or an ok beside no
            finite value, or a (unit, rater, criterion) occurs twice.

        Examples
        --------
        >>> rows = [{"unit_id": "a", "value": 1, "status": "ok"}, {"unit_id": "b", "status": "refused"}]
        >>> Signal.from_frame(rows, rater="judge").counts().rows()
        [('judge', 'overall', 'ok', 1), ('judge', 'overall', 'refused', 1)]
        """
        parsed = parse(frame)
        if len(parsed.rejects):
            raise DataError(f"{where} has a row that is no measurement: {parsed.rejects.first}; mend or drop it.")
        return cls(long_frame(parsed, rater, criterion, where))

    @classmethod
    def read(cls, path: str | Path, *, rater: str | None = None, criterion: str | None = None) -> Signal:
        """Read a long file: Parquet, CSV, TSV, JSON or JSONL.

        Two columns are enough: ``id,value``, ``unit_id,value``, ``id,rating`` or ``id,score``. See :meth:`from_frame`
        for the rest. Unlike records, a bad line is an error: left out, its unit would look unmeasured.

        Raises
        ------
        DataError
            If the file cannot be read, or the rules of :meth:`from_frame` are broken.
        """
        parsed = parse(Path(path))
        if len(parsed.rejects):
            raise DataError(
                f"{path} has {len(parsed.rejects)} lines that cannot be read (first: {parsed.rejects.first}); "
                "mend them."
            )
        return cls(long_frame(parsed, rater, criterion, str(path)))

    @classmethod
    def concat(cls, signals: Iterable[Signal]) -> Signal:
        """Put signals together.

        Raises
        ------
        DataError
            If two of them hold the same (unit, rater, criterion), or there is none.

        Examples
        --------
        >>> parts = [Signal.from_frame([{"id": "a", "value": 1}], rater=rater) for rater in ("x", "y")]
        >>> Signal.concat(parts).raters
        ['x', 'y']
        """
        frames = [signal.frame for signal in signals]
        if not frames:
            raise DataError("Signal.concat needs at least one signal, got none.")
        return cls(pl.concat(frames))

    def __len__(self) -> int:
        return self.frame.height

    def __repr__(self) -> str:
        states = self.frame["status"].cast(pl.String).value_counts()
        by_name = dict(states.iter_rows())
        counts = ", ".join(f"{by_name[status]} {status}" for status in STATUSES if status in by_name) or "none"
        units = self.frame["unit_id"].n_unique()
        return (
            f"Signal({len(self)} measurements of {units} units by {', '.join(self.raters)} "
            f"on {', '.join(self.criteria)}: {counts})"
        )

    @property
    def raters(self) -> list[str]:
        """Who measured, in order of first appearance."""
        return self.frame["rater"].unique(maintain_order=True).to_list()

    @property
    def criteria(self) -> list[str]:
        """What was measured, in order of first appearance."""
        return self.frame["criterion"].unique(maintain_order=True).to_list()

    def counts(self) -> pl.DataFrame:
        """Return how many measurements each rater and criterion has in each status: rater, criterion, status, n."""
        keys = ["rater", "criterion", "status"]
        return self.frame.group_by(keys).len("n").sort(keys).with_columns(pl.col("status").cast(pl.String))

    def write(self, path: str | Path) -> Path:
        """Write the signal as Parquet, whole or not at all.

        Raises
        ------
        RecipeError
            If the name does not end in ``.parquet``.
        DataError
            If the folder does not exist.
        """
        path = Path(path)
        if path.suffix.lower() != ".parquet":
            raise RecipeError(f"A signal is written as Parquet: give a name that ends in .parquet. Got {path} instead.")
        if not path.parent.is_dir():
            raise DataError(f"The folder {path.parent} to write {path.name} into does not exist; create it first.")
        with atomic_path(path) as temporary:
            self.frame.with_columns(pl.col("status").cast(pl.String)).write_parquet(temporary)
        return path

    def unmatched(self, table: Table) -> int:
        """Return how many units of the signal are not in the table.

        Examples
        --------
        >>> table = Table.from_records([{"id": "a", "text": "x"}])
        >>> Signal.from_frame([{"id": "a", "value": 1}, {"id": "z", "value": 2}]).unmatched(table)
        1
        """
        units = self.frame["unit_id"].unique()
        return int((~units.is_in(table.ids.to_list())).sum())

    def aligned(
        self, table: Table, *, rater: str | None = None, criterion: str | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
        """Return values and statuses in the order of a table.

        Parameters
        ----------
        table : Table
            n records.
        rater, criterion : str, optional
            Which measurements; needed if the signal has several.

        Returns
        -------
        values : float64, shape (n,)
            NaN where the status is not ok.
        statuses : str, shape (n,)
            A record the signal does not know is ``missing``. Units of the signal that are not in the table are left
            out: see :meth:`unmatched`.

        Raises
        ------
        RecipeError
            If the rater or criterion is unknown, or not given although there are several.
        DataError
            If no record of the table was measured.

        Examples
        --------
        >>> table = Table.from_records([{"id": "a", "text": "x"}, {"id": "b", "text": "y"}])
        >>> values, statuses = Signal.from_frame([{"id": "b", "value": 4}]).aligned(table)
        >>> values.tolist(), statuses.tolist()
        ([nan, 4.0], ['missing', 'ok'])
        """
        import numpy as np

        rater = choose("rater", rater, self.raters)
        criterion = choose("criterion", criterion, self.criteria)
        chosen = self.frame.filter((pl.col("rater") == rater) & (pl.col("criterion") == criterion))
        joined = table.frame.select("id").join(
            chosen.select("unit_id", "value", "status"),
            left_on="id",
            right_on="unit_id",
            how="left",
            maintain_order="left",
        )
        if len(table) and joined["status"].null_count() == len(table):
            raise _no_match(table, chosen, rater)
        values = joined["value"].fill_null(float("nan")).to_numpy().astype(np.float64)
        statuses = np.asarray(joined["status"].cast(pl.String).fill_null("missing").to_list(), dtype="U8")
        return values, statuses


def _no_match(table: Table, chosen: pl.DataFrame, rater: str) -> DataError:
    origin = (
        "made from the content of each record (prompt, context, response, messages, image)"
        if table.source.generated_ids
        else f"taken from the column {table.source.id_column!r}"
    )
    return DataError(
        f"None of the {len(table)} records of {table.source.name} was measured by {rater!r}: its {chosen.height} units "
        f"are called like {chosen['unit_id'][0]!r}, the records like {table.ids[0]!r}. Ids of this table are {origin}; "
        "rate this very table, or read it with the id_column that the ratings use."
    )
