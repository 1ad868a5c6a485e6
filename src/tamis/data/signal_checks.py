"""What a signal's frame must be: statuses that are known and agree with the values, no unit measured twice."""

from __future__ import annotations

import polars as pl

from tamis.errors import DataError, RecipeError, did_you_mean

STATUSES = ("ok", "missing", "refused", "unparsed")
"""``ok`` has a value; ``missing`` was never measured; ``refused`` was declined; ``unparsed`` could not be read."""

SIGNAL_SCHEMA = {
    "unit_id": pl.String(),
    "rater": pl.String(),
    "criterion": pl.String(),
    "value": pl.Float64(),
    "status": pl.Enum(STATUSES),
    "cost": pl.Float64(),
    "raw_ref": pl.String(),
}

_KEY = ("unit_id", "rater", "criterion")
_SHOWN = 3


def value_statuses(column: pl.Series) -> pl.DataFrame:
    """Read a column of measurements as values and statuses.

    Numbers and booleans are values. Null, NaN and blank text (also the word ``nan``) are missing. Text that is no
    number, and an infinite value, is unparsed: an infinity is what a failed division or an overflow leaves behind,
    never a rating.

    Parameters
    ----------
    column : pl.Series
        Numbers, booleans or text, shape (n,).

    Returns
    -------
    pl.DataFrame
        ``value`` Float64, null unless ok, and ``status``.

    Raises
    ------
    DataError
        If the column holds something else, for example lists.

    Examples
    --------
    >>> value_statuses(pl.Series("x", ["4", "", "n/a", "inf"])).rows()
    [(4.0, 'ok'), (None, 'missing'), (None, 'unparsed'), (None, 'unparsed')]
    """
    dtype = column.dtype
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        text = column.cast(pl.String).str.strip_chars()
        number = text.cast(pl.Float64, strict=False)
        absent = text.is_null() | text.str.to_lowercase().is_in(["", "nan"])
    elif dtype.is_numeric() or dtype == pl.Boolean or dtype == pl.Null:
        number = column.cast(pl.Float64)
        absent = number.is_null() | number.is_nan()
    else:
        raise DataError(f"The column {column.name!r} must hold numbers or text to be a signal, found {dtype}.")
    frame = pl.DataFrame({"number": number, "absent": absent.fill_null(True)})
    measured = ~pl.col("absent") & pl.col("number").is_finite().fill_null(False)
    status = pl.when("absent").then(pl.lit("missing")).when(measured).then(pl.lit("ok")).otherwise(pl.lit("unparsed"))
    return frame.select(
        value=pl.when(measured).then("number"),
        status=status.cast(SIGNAL_SCHEMA["status"]),
    )


def check_statuses(statuses: pl.Series, where: str) -> pl.Series:
    """Return statuses as the Enum of :data:`STATUSES`.

    Raises
    ------
    DataError
        If one is unknown or null.
    """
    wrong = statuses.cast(pl.String).fill_null("null").unique(maintain_order=True)
    wrong = wrong.filter(~wrong.is_in(STATUSES))
    if len(wrong):
        raise DataError(
            f"The status of {where} must be one of {', '.join(STATUSES)}, found {wrong[0]!r}; "
            "map it to one of these before you make the signal."
        )
    return statuses.cast(pl.String).cast(SIGNAL_SCHEMA["status"])


def check_values(frame: pl.DataFrame, where: str) -> None:
    """Raise DataError if an ok row has no finite value, or another row has one."""
    finite = pl.col("value").is_finite().fill_null(False)
    bare = frame.filter((pl.col("status") == "ok") & ~finite)
    if bare.height:
        raise DataError(
            f"{bare.height} rows of {where} have status ok without a finite value (first: "
            f"unit {bare['unit_id'][0]!r}); give the value, or the status missing, refused or unparsed."
        )
    extra = frame.filter((pl.col("status") != "ok") & pl.col("value").is_not_null())
    if extra.height:
        unit, status = extra["unit_id"][0], extra["status"][0]
        raise DataError(
            f"{extra.height} rows of {where} have a value although their status is not ok (first: unit {unit!r}, "
            f"{status}); leave the value empty, a failed measurement is never a number."
        )


def check_keys(frame: pl.DataFrame, where: str) -> None:
    """Raise DataError if a unit has no id, or one rater measured it twice by one criterion."""
    for name in _KEY:
        nulls = frame[name].null_count()
        if nulls:
            raise DataError(f"{nulls} rows of {where} have no {name}; every measurement needs one.")
    keys = frame.select(_KEY)
    if keys.n_unique() == keys.height:
        return
    twice = keys.filter(keys.is_duplicated()).unique(maintain_order=True)
    shown = "; ".join(", ".join(row) for row in twice.head(_SHOWN).rows())
    raise DataError(
        f"{twice.height} units of {where} are measured more than once by the same rater and criterion (first: "
        f"{shown}); give repeats different rater names, or aggregate them first."
    )


def choose(name: str, wanted: str | None, known: list[str]) -> str:
    """Return the rater or criterion that is meant; RecipeError if it is unknown, or not given among several."""
    if wanted is None:
        if len(known) == 1:
            return known[0]
        raise RecipeError(
            f"The signal has {len(known)} values of {name} ({', '.join(known)}); choose one with {name}=."
        )
    if wanted not in known:
        raise RecipeError(f"The signal has no {name} {wanted!r}.{did_you_mean(wanted, known)}")
    return wanted
