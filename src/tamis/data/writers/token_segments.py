"""Masks as segments of text with a flag each, for trainers that tokenise again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.data.writers.streams import create_bytes
from tamis.errors import DataError, parameter_error
from tamis.runs.atomic import atomic_path

SEGMENTS = "axolotl-segments"
_INSIDE = "\ufffd"
"""What decoders give for bytes that are no whole character."""

Decode = Callable[[list[int]], str]
Encode = Callable[[str], list[int]]


@dataclass(frozen=True, eq=False)
class TokenChunk:
    """Some records, one after the other."""

    unit_ids: pl.Series
    offsets: NDArray[np.int64]
    ids: NDArray[np.int32]
    keep: NDArray[np.bool_]
    score: NDArray[np.float32] | None


def write_segments(
    path: Path,
    chunks: Iterator[TokenChunk],
    found: dict[str, Any],
    decode: Decode | None,
    encode: Encode | None,
    drop_empty: bool,
) -> None:
    """Write the segments of each record, and correct the counts by what text cannot carry."""
    if decode is None:
        raise parameter_error("write_token_masks", "decode", f"a callable where the format is {SEGMENTS}", decode)
    found |= {"unlabelled": 0, "retokenised": None if encode is None else 0}
    with atomic_path(path) as temporary, create_bytes(temporary) as stream:
        for chunk in chunks:
            for start, stop in pairwise(chunk.offsets.tolist()):
                ids, kept = chunk.ids[start:stop].tolist(), chunk.keep[start:stop]
                labelled = _whole_characters(ids, kept, decode)
                found["unlabelled"] += int(kept.sum() - labelled.sum())
                if drop_empty and not labelled.any():
                    found["rows"] -= 1
                    found["left_out"] += 1
                    found["tokens"] -= len(ids)
                    continue
                segments = _segments(ids, labelled, decode)
                if encode is not None:
                    again = [encode(text) for _, text in segments]
                    found["retokenised"] += again != [ids[span] for span, _ in segments]
                    found["longest"] = max(found["longest"], sum(map(len, again)))
                flagged = [{"text": text, "label": bool(labelled[span.start])} for span, text in segments]
                line = json.dumps({"segments": flagged}, ensure_ascii=False, separators=(",", ":"))
                stream.write(line.encode("utf-8") + b"\n")
        if not found["rows"]:
            raise DataError("There is nothing to write as segments: every record's mask only cuts characters.")
    found["kept"] -= found["unlabelled"]


def _segments(ids: list[int], keep: NDArray[np.bool_], decode: Decode) -> list[tuple[slice, str]]:
    """Runs of tokens with the same flag, and their texts."""
    borders = [0, *(np.flatnonzero(np.diff(keep)) + 1).tolist(), len(ids)]
    found = []
    for start, stop in pairwise(borders):
        # Decoders drop a blank at the very beginning, so each run is decoded behind the token before it.
        left = max(start - 1, 0)
        before, text = decode(ids[left:start]), decode(ids[left:stop])
        whole = text.startswith(before)
        found.append((slice(start, stop), text[len(before) :] if whole else decode(ids[start:stop])))
    return found


def _whole_characters(ids: list[int], keep: NDArray[np.bool_], decode: Decode) -> NDArray[np.bool_]:
    """Flags, false for all tokens of a character of which some are kept and some are not."""

    def inside(border: int) -> bool:
        """Whether the texts on both sides are not the text of both: a character has up to 4 bytes, hence tokens."""
        left, right = max(border - 4, 0), border + 4
        before = decode(ids[left:border])
        return before.endswith(_INSIDE) and before + decode(ids[border:right]) != decode(ids[left:right])

    whole = keep.copy()
    for border in (np.flatnonzero(np.diff(keep)) + 1).tolist():
        if inside(border):
            start, stop = border - 1, border + 1
            while start > 0 and inside(start):
                start -= 1
            while stop < len(ids) and inside(stop):
                stop += 1
            whole[start:stop] = False
    return whole
