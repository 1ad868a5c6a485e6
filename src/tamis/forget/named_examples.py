"""Reading labelled examples for a classifier: rows of features, or arrays, in the order of their ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import polars as pl

from tamis.data import read
from tamis.data.rows import quoted
from tamis.errors import DataError, did_you_mean
from tamis.train.labelled import LabelledExamples

if TYPE_CHECKING:
    from tamis.forget.example_inputs import ExampleInputs

ARRAYS = ".npz"


@dataclass(frozen=True, eq=False)
class NamedExamples:
    """Labelled examples with their ids, and the columns that are no input.

    Attributes
    ----------
    examples : LabelledExamples
    ids : list of str
    columns : polars.DataFrame
        What else the source has, row by row: to choose by, and to group by.
    features : list of str
        Columns that became inputs, in order; empty for arrays, texts and images.
    files : str or None
        Digest of the image files that the source names.
    """

    examples: LabelledExamples
    ids: list[str]
    columns: pl.DataFrame
    features: list[str]
    files: str | None = None

    def take(self, positions: Any) -> NamedExamples:
        """Return some of them, in the order given."""
        at = np.asarray(positions, dtype=np.int64)
        return replace(self, examples=self.examples.take(at), ids=[self.ids[i] for i in at], columns=self.columns[at])


def read_named(
    path: Path,
    description: Mapping[str, Any],
    *,
    label: str = "label",
    id_column: str | None = None,
    inputs: ExampleInputs | None = None,
) -> NamedExamples:
    """Read examples, and put them in the order of their ids: in which order a file has its rows changes no result.

    Parameters
    ----------
    path : Path
        A table (CSV, JSONL, Parquet) with a column of labels and numeric features, or ``.npz`` with ``x`` (N, ...),
        ``y`` (N,) and perhaps ``id`` (default: positions).
    description : mapping
        Of the classifier: ``classes`` (names of the labels; labels may also be their numbers
        from 0, unless a name is one), ``features`` (columns;
        default: all numeric ones), ``mean`` and ``scale`` (subtracted, and divided by), ``shape`` (of one input).
    label : str, default="label"
        Column, or array, of the labels.
    id_column : str, optional
    inputs : ExampleInputs, optional
        What makes inputs of texts or images, for a model of transformers. Default: features are inputs.

    Raises
    ------
    DataError
        If a row cannot be read, a column is missing or not numeric, a value is missing, a label is no class, or an
        id is there twice.
    """
    if path.suffix == ARRAYS:
        named = _arrays(path, description, label, inputs)
    else:
        named = _rows(path, description, label, id_column, inputs)
    return named.take(pl.Series(named.ids, dtype=pl.String).arg_sort())


def _rows(
    path: Path, description: Mapping[str, Any], label: str, id_column: str | None, inputs: ExampleInputs | None
) -> NamedExamples:
    table = read(path, id_column=id_column)
    frame, bad = table.frame, table.rejects
    if len(bad):
        raise DataError(
            f"{len(bad)} rows of {path} cannot be used, the first in line {bad['line'][0]}: it {bad['reason'][0]}; put "
            "them right, or leave them out."
        )
    if label not in frame.columns:
        raise DataError(f"{path} has no column {label!r} of labels.{did_you_mean(label, frame.columns)}")
    labels = _classes(frame[label].to_list(), description, path)
    if inputs is not None:
        made, files = inputs.of_table(frame, path)
        return NamedExamples(LabelledExamples.of(made, labels), table.ids.to_list(), frame, [], files)
    x, features = _features(frame, path, description, label)
    return NamedExamples(LabelledExamples.of(_scaled(x, description), labels), table.ids.to_list(), frame, features)


def _features(frame: pl.DataFrame, path: Path, description: Mapping[str, Any], label: str) -> tuple[Any, list[str]]:
    features = list(description.get("features") or _numeric(frame, label))
    lacking = [name for name in features if name not in frame.columns]
    if lacking or not features:
        raise DataError(
            f"{path} lacks the features {quoted(lacking)}." if lacking else f"{path} has no numeric columns."
        )
    wrong = [name for name in features if not (frame[name].dtype.is_numeric() or frame[name].dtype == pl.Boolean)]
    if wrong:
        raise DataError(f"The features {quoted(wrong)} of {path} are no numbers; encode them first, or leave them out.")
    values = frame.select(pl.col(features).cast(pl.Float32))
    empty = [name for name in features if values[name].is_null().any() or values[name].is_nan().any()]
    if empty:
        raise DataError(f"The features {quoted(empty)} of {path} have missing values; fill them in, or leave rows out.")
    return values.to_numpy(), features


def _arrays(path: Path, description: Mapping[str, Any], label: str, inputs: ExampleInputs | None) -> NamedExamples:
    name = "y" if label == "label" else label
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
    except (OSError, ValueError, BadZipFile) as error:
        raise DataError(f"{path} cannot be read as arrays: {error}.") from error
    for key in ("x", name):
        if key not in arrays:
            raise DataError(f"{path} has no array {key!r}; it has {quoted(list(arrays))}.")
    x, y = arrays["x"], arrays[name]
    if len(x) != len(y):
        raise DataError(f"{path} has {len(x)} inputs and {len(y)} labels.")
    x = x.astype(np.float32).reshape(len(x), *(description.get("shape") or x.shape[1:]))
    ids = [str(each) for each in arrays["id"]] if "id" in arrays else [f"{i:06d}" for i in range(len(y))]
    if len(ids) != len(y):
        raise DataError(f"{path} has {len(ids)} ids and {len(y)} labels.")
    if twice := sorted(each for each, times in Counter(ids).items() if times > 1):
        raise DataError(f"The ids of {path} must be unique, but {quoted(twice[:3])} occur more than once.")
    columns = {key: list(values) for key, values in arrays.items() if values.shape == (len(y),) and key != "id"}
    frame = pl.DataFrame({"id": ids, **columns})
    x = _scaled(x, description)
    examples = LabelledExamples.of(
        x if inputs is None else inputs.of_array(x, path), _classes(y.tolist(), description, path)
    )
    return NamedExamples(examples, ids, frame, [])


def _scaled(x: Any, description: Mapping[str, Any]) -> Any:
    mean, scale = (
        np.asarray(description.get(key, default), dtype=np.float32) for key, default in (("mean", 0), ("scale", 1))
    )
    return ((x - mean) / scale).astype(np.float32)


def _classes(labels: Sequence[Any], description: Mapping[str, Any], path: Path) -> list[int]:
    names = [str(each) for each in description.get("classes") or []]
    numbers = [str(i) for i in range(len(names))]
    if names and not set(names) & set(numbers) and {str(each) for each in labels} <= set(numbers):
        names = numbers
    if not names:
        wrong = [each for each in labels if not _whole(each)]
        if wrong:
            raise DataError(
                f"The label {wrong[0]!r} of {path} is no number from 0; name the classes in classifier.json."
            )
        return [int(float(each)) for each in labels]
    place = {name: i for i, name in enumerate(names)}
    unknown = sorted({str(each) for each in labels} - place.keys())
    if unknown:
        raise DataError(f"The labels {quoted(unknown)} of {path} are no classes of the model; it has {quoted(names)}.")
    return [place[str(each)] for each in labels]


def _whole(label: Any) -> bool:
    try:
        return float(label).is_integer()
    except (TypeError, ValueError):
        return False


def _numeric(frame: pl.DataFrame, label: str) -> list[str]:
    return [name for name, dtype in frame.schema.items() if dtype.is_numeric() and name not in ("id", label)]
