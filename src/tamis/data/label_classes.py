"""Labels in any type as the names of classes, and the order of these names."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import polars as pl

from tamis.errors import DataError, RecipeError, did_you_mean, parameter_error

MAX_CLASSES = 1000
"""More classes than this are measurements or free text."""

INTEGER = r"^(?:0|-?[1-9]\d{0,17})$"
"""Names of classes that are whole numbers as everybody writes them."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_EXACT = 2.0**53
_KINDS = {bool: "booleans", int: "numbers", float: "numbers", str: "texts", list: "lists", dict: "objects"}
_SHOWN = 40


def label_kind(column: pl.Series, where: str = "the answers") -> str | None:
    """Return whether a column holds ``numbers``, ``texts`` or ``booleans``; None if it has no type.

    Raises
    ------
    DataError
        If it holds something else, for example lists or dates.
    """
    dtype = column.dtype
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return "texts"
    if dtype == pl.Boolean:
        return "booleans"
    if dtype.is_numeric():
        return "numbers"
    if dtype == pl.Null:
        return None
    raise DataError(
        f"The labels of {where} (column {column.name!r}) must be text, numbers or booleans, found {dtype}; "
        "convert them first."
    )


def label_texts(column: pl.Series, *, is_json: bool = False, where: str = "the answers") -> pl.Series:
    """Return labels as the names of their classes.

    A label has one name whatever the file it comes from: numbers with an integral value are written as integers
    (also in text, where pandas wrote ``1.0``), booleans as true and false (also True, TRUE), and text loses the
    blanks around it.

    Parameters
    ----------
    column : pl.Series
        Text, numbers or booleans, shape (n,).
    is_json : bool
        Whether the cells are JSON text, because the values were of mixed types.
    where : str
        What messages call the answers.

    Returns
    -------
    pl.Series
        String, shape (n,); null where there is no label: null, NaN, blank text, or the word ``nan``.

    Raises
    ------
    DataError
        If labels are of mixed types, or neither text, nor numbers, nor booleans.

    Examples
    --------
    >>> label_texts(pl.Series([1.0, 2.5, None])).to_list()
    ['1', '2.5', None]
    >>> label_texts(pl.Series(["1.0", " cat ", "", "False"])).to_list()
    ['1', 'cat', None, 'false']
    """
    if is_json:
        cells = column.drop_nulls().unique(maintain_order=True)
        names = pl.Series(_json_names(column, cells.to_list(), where), dtype=pl.String)
        return column.replace_strict(cells, names, default=None, return_dtype=pl.String)
    kind = label_kind(column, where)
    if kind == "texts":
        texts = column.cast(pl.String)
        distinct = texts.drop_nulls().unique()
        return texts.replace_strict(distinct, _text_names(distinct), default=None, return_dtype=pl.String)
    if kind == "numbers" and not column.dtype.is_integer():
        return _float_names(column if column.dtype.is_float() else column.cast(pl.Float64))
    return column.cast(pl.String)


def _text_names(texts: pl.Series) -> pl.Series:
    name, lower = pl.col("name"), pl.col("name").str.to_lowercase()
    return (
        pl.DataFrame({"name": texts.str.strip_chars()})
        .select(
            pl.when(lower.is_in(["", "nan"]))
            .then(None)
            .when(name.is_in(["True", "TRUE", "False", "FALSE"]))
            .then(lower)
            .otherwise(name.str.replace(r"^(-?(?:0|[1-9]\d*))\.0+$", "${1}").str.replace("^-0$", "0"))
        )
        .to_series()
    )


def _float_names(column: pl.Series) -> pl.Series:
    value = pl.col("value")
    whole = value.is_finite() & (value == value.round()) & (value.abs() <= _EXACT)
    return (
        pl.DataFrame({"value": column})
        .select(
            pl.when(value.is_nan())
            .then(None)
            .when(whole)
            .then(value.cast(pl.Int64, strict=False).cast(pl.String))
            .otherwise(value.cast(pl.String))
        )
        .to_series()
    )


def _json_names(column: pl.Series, cells: list[str], where: str) -> list[str | None]:
    values = [json.loads(cell) for cell in cells]
    example: dict[str, Any] = {}
    kinds = []
    for value in values:
        absent = value is None or value != value
        kinds.append(None if absent else _KINDS[type(value)])
        if not absent:
            example.setdefault(_KINDS[type(value)], value)
    if len(example) > 1 or example.keys() & {"lists", "objects"}:
        kind_of = dict(zip(cells, kinds, strict=True))
        counts = Counter(kind_of[cell] for cell in column.drop_nulls().to_list())
        found = ", ".join(f"{counts[kind]} {kind} (such as {shown(example[kind])})" for kind in sorted(example))
        raise DataError(
            f"The labels of {where} (column {column.name!r}) must be all text, all numbers or all booleans, found "
            f"{found}; write them in one type."
        )
    return [value_name(value) for value in values]


def value_name(value: Any) -> str | None:
    """Return one label as the name of its class, None if it is none; see :func:`label_texts`.

    Examples
    --------
    >>> value_name(True), value_name(3.0), value_name(" ")
    ('true', '3', None)
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    name: str | None = label_texts(pl.Series("label", [value]))[0]
    return name


def class_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return names of classes in order: by value if all are numbers, else as text.

    Examples
    --------
    >>> class_order(["10", "9", "-1"]), class_order(["10", "9", "b"])
    (('-1', '9', '10'), ('10', '9', 'b'))
    """
    distinct = sorted(set(names))
    if all(_NUMBER.fullmatch(name) for name in distinct):
        distinct.sort(key=Decimal)
    return tuple(distinct)


def classes_of(
    labels: pl.Series, classes: Iterable[Any] | None = None, *, where: str = "the answers"
) -> tuple[str, ...]:
    """Return the classes of labels, in order.

    Parameters
    ----------
    labels : pl.Series
        Names as :func:`label_texts` makes them.
    classes : iterable, optional
        Names that fix the order; there may be more of them than labels that occur.
    where : str
        What messages call the answers.

    Raises
    ------
    RecipeError
        If ``classes`` are no names, none, too many, or name one twice.
    DataError
        If there are more than :data:`MAX_CLASSES` labels, or one is none of ``classes``.

    Examples
    --------
    >>> classes_of(pl.Series(["b", "a", None]))
    ('a', 'b')
    >>> classes_of(pl.Series(["1"]), [2, 1])
    ('2', '1')
    """
    found = labels.drop_nulls().unique()
    if classes is not None:
        given = _given(classes)
        check_known(found, given, where)
        return given
    if len(found) > MAX_CLASSES:
        raise DataError(
            f"The labels of {where} look like measurements or free text: there are {len(found)} different ones (such "
            f"as {shown(found.min())}), and at most {MAX_CLASSES} classes are meant; group them, or name the column "
            "of the labels with label=."
        )
    return class_order(found.to_list())


def check_known(labels: pl.Series, classes: tuple[str, ...], where: str) -> None:
    """Raise DataError if a label is none of the classes."""
    unknown = sorted(set(labels.drop_nulls().unique().to_list()) - set(classes))
    if unknown:
        hint = near(unknown[0], classes)
        raise DataError(
            f"{len(unknown)} labels of {where} are none of the {len(classes)} classes (first: {shown(unknown[0])}); "
            f"name them in classes= or mend them.{hint}"
        )


def _given(classes: Iterable[Any]) -> tuple[str, ...]:
    if isinstance(classes, str | bytes) or not isinstance(classes, Iterable):
        raise _no_classes(classes)
    values = [value.item() if hasattr(value, "item") and not hasattr(value, "__len__") else value for value in classes]
    if not 1 <= len(values) <= MAX_CLASSES:
        raise _no_classes(len(values))
    names: list[str] = []
    for value in values:
        name = value_name(value) if isinstance(value, str | int | float) else None
        if name is None or name in names:
            raise _no_classes(value)
        names.append(name)
    return tuple(names)


def _no_classes(got: Any) -> RecipeError:
    short = got if len(repr(got)) <= _SHOWN else shown(got)
    return parameter_error("read_answers", "classes", f"a sequence of 1 to {MAX_CLASSES} different names", short)


def shown(value: Any) -> str:
    """Return a label for a message, cut short.

    Examples
    --------
    >>> shown("a b")
    "'a b'"
    """
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def near(name: str, known: Iterable[str]) -> str:
    """Return what :func:`tamis.errors.did_you_mean` says, or nothing where it lists too many names.

    Examples
    --------
    >>> near("yse", ["yes", "no"])
    " Did you mean 'yes'?"
    """
    hint = did_you_mean(name, known)
    return hint if len(hint) <= 4 * _SHOWN else ""
