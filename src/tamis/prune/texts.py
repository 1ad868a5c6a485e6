"""The texts of a prune run as tokens: to calibrate with, to heal with, to choose with, and to measure with."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tamis.data import read
from tamis.data.token_rows import TokenRows
from tamis.errors import DataError
from tamis.models.causal_lm import LocalModel, context_length, load_tokenizer
from tamis.models.chat_tokens import encode_chats
from tamis.prune.settings import PruneSettings
from tamis.recipe import Recipe
from tamis.recipe.pool import READ_OPTIONS
from tamis.runs import Step, atomic_write_text
from tamis.runs.digests import derive_seed
from tamis.runs.step_files import write_frame

CHOICE_RECORDS = 24
"""Records to compare cuts with; they are no part of the evidence."""
MEASURED_LENGTH = 512
DOCUMENT_LENGTH = 2048
PLAIN = (".txt", ".md", ".txt.gz")
PARTS = ("train", "held", "choice", "documents")


@dataclass(frozen=True)
class Texts:
    """Where the tokens of a run are.

    Attributes
    ----------
    folder : Path
        Of the step that encoded them.
    said : dict
        How many records and tokens of each kind there are, and what was left out.
    """

    folder: Path
    said: dict[str, Any]

    def rows(self, part: str) -> TokenRows:
        """Tokens of one of :data:`PARTS`."""
        return TokenRows.from_frame(pl.read_parquet(self.folder / f"{part}.parquet"))

    def documents(self) -> list[list[int]]:
        """Token ids of the documents to calibrate with."""
        found: list[list[int]] = pl.read_parquet(self.folder / "documents.parquet")["input_ids"].to_list()
        return found


def is_plain(path: Path) -> bool:
    """Whether a file is running text and not records."""
    return path.name.endswith(PLAIN)


def encode_texts(step: Step, recipe: Recipe, model: LocalModel, settings: PruneSettings) -> Texts:
    """Encode all texts of a recipe once, into the step's folder.

    Records are taken in the order of their ids. Of ``data``, some are held out to choose and some to measure with; the
    others heal. ``held_out`` replaces what is held out, ``calibration`` the documents to calibrate with (else those
    that heal). A file of running text is cut into pieces.

    Raises
    ------
    DataError
        If there are too few records to hold some out, or none has an answer.
    """
    if not step.complete:
        made = _Encoder(recipe, model, settings)
        parts = made.parts()
        for name in PARTS:
            write_frame(step.folder / f"{name}.parquet", parts[name].to_frame())
        said = {name: {"records": len(rows), "tokens": len(rows.ids)} for name, rows in parts.items()}
        atomic_write_text(step.folder / "texts.json", json.dumps({**said, "lost": made.lost}) + "\n")
        step.finish()
    return Texts(step.folder, json.loads((step.folder / "texts.json").read_text(encoding="utf-8")))


class _Encoder:
    """Reads and encodes the inputs of a recipe."""

    def __init__(self, recipe: Recipe, model: LocalModel, settings: PruneSettings) -> None:
        self.recipe, self.settings = recipe, settings
        self.tokenizer = load_tokenizer(model)
        self.context = context_length(model) or DOCUMENT_LENGTH
        self.lost = 0

    def parts(self) -> dict[str, TokenRows]:
        """Rows of each part; a part without texts is empty."""
        nothing = TokenRows.from_lists([], [], [])
        parts = dict.fromkeys(PARTS, nothing)
        inputs = self.recipe.inputs
        if "data" in inputs:
            plain = is_plain(self.recipe.input_path("data"))
            length = MEASURED_LENGTH if plain else DOCUMENT_LENGTH  # of a piece, all of which is used
            pool = self._rows("data", length, limit=self.settings.limit)
            order = np.random.default_rng(derive_seed(self.recipe.seed, "held out")).permutation(len(pool))
            n = 0 if "held_out" in inputs else self.settings.held_records + CHOICE_RECORDS
            if len(pool) < n + 2:
                raise DataError(
                    f"{self.recipe.input_path('data')} has {len(pool)} records that can be used; {n} are held out, and "
                    "at least 2 have to be left to learn from: give more data, a --held-out FILE, or fewer "
                    "--held-records."
                )
            parts["choice"] = _cut(pool.take(np.sort(order[: min(n, CHOICE_RECORDS)])), MEASURED_LENGTH)
            parts["held"] = _cut(pool.take(np.sort(order[CHOICE_RECORDS:n])), MEASURED_LENGTH)
            rest = pool.take(np.sort(order[n:]))
            parts["documents"] = rest
            parts["train"] = _answered((_split if plain else _cut)(rest, self.settings.max_length))
            if not len(parts["train"]):
                raise DataError(
                    f"No record of {self.recipe.input_path('data')} has an answer within {self.settings.max_length} "
                    "tokens; raise --max-length."
                )
        if "held_out" in inputs:
            rows = self._rows("held_out", MEASURED_LENGTH)
            order = np.random.default_rng(derive_seed(self.recipe.seed, "measured")).permutation(len(rows))
            if len(rows) < 4:
                raise DataError(f"{self.recipe.input_path('held_out')} has {len(rows)} records or pieces; give more.")
            n = min(CHOICE_RECORDS, len(rows) // 2)
            parts["choice"] = rows.take(np.sort(order[:n]))
            parts["held"] = rows.take(np.sort(order[n : n + self.settings.held_records]))
        if "calibration" in inputs:
            parts["documents"] = self._rows("calibration", DOCUMENT_LENGTH)
        return parts

    def _rows(self, role: str, length: int, *, limit: int | None = None) -> TokenRows:
        path, length = self.recipe.input_path(role), min(length, self.context)
        if is_plain(path):
            rows = plain_rows(path, self.tokenizer, length)
            return rows if limit is None else rows.take(range(min(limit, len(rows))))
        options = {name: self.recipe.params.get(name) for name in READ_OPTIONS if name != "group"}
        options = options if role == "data" else {}
        table = read(path, **{k: str(v) for k, v in options.items() if v is not None})  # type: ignore[arg-type]
        if limit is not None:
            table = table.take(range(min(limit, len(table))))
        table = table.take(table.ids.arg_sort())
        made = encode_chats(table.chats(), table.ids, self.tokenizer, max_length=length)
        self.lost += len(made.problems)
        if not len(made.rows):
            raise DataError(f"No record of {path} can be encoded; the first one {next(iter(made.problems.values()))}.")
        return made.rows


def plain_rows(path: Path, tokenizer: Any, length: int) -> TokenRows:
    """Cut running text into pieces of ``length`` tokens; all but the first token of each count.

    Raises
    ------
    DataError
        If the file cannot be read or is empty.
    """
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no text in UTF-8 ({error}).") from error
    ids = np.asarray(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"], dtype=np.int32)
    pieces = [ids[start : start + length] for start in range(0, len(ids), length)]
    pieces = [piece for piece in pieces if len(piece) > 1]
    if not pieces:
        raise DataError(f"{path} holds no text.")
    names = [f"{path.name.partition('.')[0]}-{number:06d}" for number in range(len(pieces))]
    flags = [np.arange(len(piece)) > 0 for piece in pieces]
    return TokenRows.from_lists(names, pieces, flags)


def _cut(rows: TokenRows, length: int) -> TokenRows:
    """Leave out what lies behind the first ``length`` tokens of each record."""
    ends = np.minimum(rows.lengths, length)
    spans = [(start, start + end) for start, end in zip(rows.offsets[:-1], ends, strict=True)]
    return TokenRows.from_lists(
        rows.unit_ids, [rows.ids[a:b] for a, b in spans], [rows.response[a:b] for a, b in spans]
    )


def _split(rows: TokenRows, length: int) -> TokenRows:
    """Cut each record into pieces of ``length`` tokens."""
    spans = [
        (f"{unit_id}.{number:04d}", start, min(start + length, stop))
        for unit_id, first, stop in zip(rows.unit_ids, rows.offsets[:-1], rows.offsets[1:], strict=True)
        for number, start in enumerate(range(first, stop, length))
    ]
    return TokenRows.from_lists(
        [name for name, _, _ in spans], [rows.ids[a:b] for _, a, b in spans], [rows.response[a:b] for _, a, b in spans]
    )


def _answered(rows: TokenRows) -> TokenRows:
    """Records of which some token is an answer."""
    return rows.take(np.unique(rows.row_of[rows.response]))
