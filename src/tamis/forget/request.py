"""Turning a request - classes, a share, a column's value, ids, a Selection - into positions of training examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.data.rows import quoted
from tamis.errors import DataError, RecipeError, did_you_mean
from tamis.forget.forget_sets import class_positions, random_positions
from tamis.forget.named_examples import NamedExamples
from tamis.runs.digests import derive_seed
from tamis.select import Selection

FORGOTTEN = ("drop", "flag", "forget", "mask")
"""Decisions of another method's Selection that mark a record as one to be forgotten."""


def requested(
    named: NamedExamples, request: tuple[str, Any], described: Mapping[str, Any], *, seed: int
) -> NDArray[np.int64]:
    """Positions of what is to be forgotten, ascending.

    Parameters
    ----------
    named : NamedExamples
    request : tuple of (str, value)
        As :attr:`tamis.forget.forget_recipe.ForgetRecipe.request`.
    described : mapping
        Of the classifier, for names of classes.
    seed : int
        Of a random share.

    Raises
    ------
    RecipeError, DataError
        If it names nothing, or what is not there.
    """
    kind, value = request
    if kind == "share":
        return random_positions(
            len(named.ids), float(value), np.random.default_rng(derive_seed(seed, "share to forget"))
        )
    if kind == "where":
        return positions_where(named, str(value))
    if kind == "forget":
        return positions_of(named, ids_of(Path(value)))
    names = [str(each) for each in described.get("classes") or []]
    labels = named.examples.labels.numpy()
    wanted = [str(each) for each in (value if isinstance(value, list | tuple) else [value])]
    numbers = [str(names.index(each)) if each in names else each for each in wanted]
    wrong = [each for each in numbers if not each.isdecimal()]
    if wrong:
        raise DataError(
            f"The model has no class {quoted(wrong)}; it has {quoted(names) if names else 'classes from 0'}."
        )
    return np.sort(np.concatenate([class_positions(labels, int(each)) for each in numbers]))


def ids_of(path: Path) -> list[str]:
    """Ids that a file names: a Selection, or the run that made it, or a table with ``unit_id`` or ``id``, or lines.

    Raises
    ------
    DataError
        If it names none, or is nothing of these.
    """
    if path.is_dir() or (path.suffix == ".parquet" and "decision" in pl.read_parquet_schema(path)):
        frame = Selection.read(path).frame
        ids = frame.filter(pl.col("decision").is_in(FORGOTTEN))["unit_id"].to_list()
        what = f"decides to {', '.join(FORGOTTEN)} nothing"
    elif path.suffix in (".csv", ".parquet"):
        table = pl.read_csv(path, infer_schema=False) if path.suffix == ".csv" else pl.read_parquet(path)
        column = next((name for name in ("unit_id", "id") if name in table.columns), None)
        if column is None:
            raise DataError(f"{path} has no column 'id' or 'unit_id'; it has {quoted(table.columns)}.")
        ids, what = table[column].cast(pl.String).to_list(), "has no rows"
    else:
        ids = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        what = "has no lines"
    if not ids:
        raise DataError(f"{path} {what}, so there is nothing to forget.")
    return list(dict.fromkeys(ids))


def positions_where(named: NamedExamples, where: str) -> NDArray[np.int64]:
    """Positions of the rows with ``COLUMN=VALUE``.

    Raises
    ------
    RecipeError
        If the column does not exist, or no row has that value.
    """
    column, sign, value = where.partition("=")
    if not sign or column not in named.columns.columns:
        raise RecipeError(
            f"'where' must be COLUMN=VALUE with a column of the data. Got {where!r} instead."
            f"{did_you_mean(column, named.columns.columns)}"
        )
    found = np.flatnonzero((named.columns[column].cast(pl.String) == value).fill_null(False).to_numpy())
    if not len(found):
        raise RecipeError(f"No row has {column} = {value!r}, so there is nothing to forget.")
    return found.astype(np.int64)


def positions_of(named: NamedExamples, ids: Sequence[str]) -> NDArray[np.int64]:
    """Positions of the examples with these ids, ascending.

    Raises
    ------
    DataError
        If ids are not in the data.
    """
    place = {each: i for i, each in enumerate(named.ids)}
    unknown = [each for each in ids if each not in place]
    if unknown:
        raise DataError(f"{len(unknown)} of {len(ids)} ids to forget are not in the data, such as {quoted(unknown)}.")
    return np.array(sorted({place[each] for each in ids}), dtype=np.int64)
