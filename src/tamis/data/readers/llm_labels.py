"""Reader of labels that language models gave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tamis.data.formats import SUFFIXES, data_suffix, is_gzipped
from tamis.data.llm_labels import LLMLabels, label_rows
from tamis.data.readers import parse
from tamis.errors import DataError, parameter_error


def read_llm_labels(source: Any, *, model: str | None = None, format: str | None = None) -> LLMLabels:
    """Read labels that language models gave to tasks: one row a label.

    Parameters
    ----------
    source : path or object
        What :func:`tamis.data.read` takes, with columns for the ``task`` and the ``label`` and optionally the
        ``model``, the ``sample`` (an integer from 0) and the ``status`` (ok, missing, refused, unparsed); for other
        names see :data:`tamis.data.answer_columns.COLUMN_NAMES`.
    model : str, optional
        Who labelled, where there is no column of it. Default: the name of the file without its suffix, ``llm`` for
        objects.
    format : str, optional
        ``jsonl``, ``json``, ``csv``, ``tsv`` or ``parquet``, where the suffix does not tell.

    Returns
    -------
    LLMLabels
        Without a column of samples, further rows of a model and task are the samples 1, 2, ... in their order. Without
        a status, a label that is null, NaN or blank is missing.

    Raises
    ------
    RecipeError
        If a parameter is wrong.
    DataError
        If the source cannot be read as a whole (a line left out would look like a missing label), a column is not
        found or of a wrong type, or a sample occurs twice.

    Examples
    --------
    >>> read_llm_labels([{"task": "t1", "label": 1}, {"task": "t1", "label": None}], model="gpt")
    LLMLabels(2 labels about 1 tasks by 1 models: 1 ok, 1 missing)
    """
    if model is not None and not (isinstance(model, str) and model.strip()):
        raise parameter_error("read_llm_labels", "model", "a name", model)
    parsed = parse(source, format=format)
    if len(parsed.rejects):
        raise DataError(
            f"{parsed.source.name} has {len(parsed.rejects)} rows that cannot be read (first: {parsed.rejects.first}); "
            "mend them, since a row left out would look like a missing label."
        )
    if model is None:
        model = _file_name(parsed.source.path) if parsed.source.path is not None else "llm"
    return LLMLabels(label_rows(parsed, model))


def _file_name(path: Path) -> str:
    """The name without its suffixes; a dot of a version is none."""
    name = Path(path.stem if is_gzipped(path) else path.name)
    return name.stem if data_suffix(path) in SUFFIXES else str(name)
