"""Token strips: the text of an answer with every token marked as kept, masked or not measured."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import numpy as np

from tamis.report.rendering import count, decimal

Found = Mapping[str, Any]
Parts = tuple[tuple[str, bool], ...]
"""Text in runs, each with whether it is a mark that stands for something invisible."""

SHARES_OF_TINTS = (0.4, 0.7, 0.9)
"""Of the kept tokens in the strips, those up to which each tint but the last one reaches."""
ENDS = 4
"""Tokens with the highest and with the lowest scores that are listed below a strip."""
LOSS_DIGITS = 3
_LINE, _TAB, _SPACE, _UNKNOWN = "↵", "⇥", "␣", "\N{REPLACEMENT CHARACTER}"
_JOINERS = "\u200c\u200d"


@dataclass(frozen=True)
class Piece:
    """A stretch of a strip in one state.

    Attributes
    ----------
    kind : str
        ``m`` (masked), ``u`` (not measured), or ``k1`` to ``k4`` (kept, by score).
    title : str
        Hover text.
    parts : Parts
        What it shows.
    lead : str
        The space that the first of its tokens begins with, shown in front of it: a shade that ends at words is
        easier to read, and a line never ends in one.
    """

    kind: str
    title: str
    parts: Parts
    lead: str


def visible(text: str) -> Parts:
    r"""Return a text in runs, with a mark in the place of every character that cannot be seen.

    Line breaks become ↵ and tabs ⇥; a text of spaces only becomes ␣; control characters become their pictures;
    characters that steer the direction of text, or have no width, become their number; what no page can hold becomes
    U+FFFD. So nothing in a token can hide or reorder what stands around it.

    Examples
    --------
    >>> visible(" cat\n"), visible("  "), visible("a\x00"), visible("\u202eb")
    (((' cat', False), ('↵', True)), (('␣␣', True),), (('a', False), ('␀', True)), (('U+202E', True), ('b', False)))
    """
    text = text.replace("\r\n", "\n")
    blank = all(char in _JOINERS or unicodedata.category(char) == "Zs" for char in text)
    shown = (_shown(char, blank=blank) for char in text)
    return tuple(("".join(char for char, _ in run), mark) for mark, run in groupby(shown, lambda pair: pair[1]))


def plain(text: str) -> str:
    r"""Return a text on one line in which nothing is invisible.

    Examples
    --------
    >>> plain("open\nqa")
    'open↵qa'
    """
    return "".join(part for part, _ in visible(text))


def _shown(char: str, *, blank: bool) -> tuple[str, bool]:
    code, kind = ord(char), unicodedata.category(char)
    if char == "\n" or kind in ("Zl", "Zp"):
        return _LINE, True
    if char == "\t":
        return _TAB, True
    if kind == "Zs" and blank:
        return _SPACE, True
    if code < 0x20 or code == 0x7F:
        return chr(0x2421 if code == 0x7F else 0x2400 + code), True
    if kind == "Cf" and (blank or char not in _JOINERS):
        return f"U+{code:04X}", True
    if kind in ("Cc", "Cs") or code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF:
        return _UNKNOWN, False
    return char, False


def tint_bounds(strips: Sequence[Found]) -> list[float]:
    """Return the scores that separate the tints, at most three, rounded so that they can be read.

    Examples
    --------
    >>> tint_bounds([{"score": [0.011, 0.1234, None, 0.5, 2.0], "keep": [True, True, False, True, True]}])
    [0.2, 0.65, 1.6]
    """
    kept = [
        score
        for strip in strips
        for score, keep in zip(strip["score"], strip["keep"], strict=True)
        if keep and score is not None
    ]
    if not kept:
        return []
    bounds = sorted({float(f"{round(float(q), 4):.2g}") for q in np.quantile(kept, SHARES_OF_TINTS)})
    return [bound for bound in bounds if bound < max(kept)]


def tints(bounds: Sequence[float]) -> list[tuple[str, str]]:
    """Name the tints for a legend: class and range of scores.

    Examples
    --------
    >>> tints([0.02, 0.5])
    [('k1', 'up to 0.02'), ('k2', '0.02 to 0.5'), ('k3', 'above 0.5')]
    >>> tints([])
    [('k1', 'kept')]
    """
    if not bounds:
        return [("k1", "kept")]
    words = [f"{bound:,.4f}".rstrip("0").rstrip(".").replace("-", "−") for bound in bounds]
    ranges = [f"up to {words[0]}", *(f"{a} to {b}" for a, b in pairwise(words))]
    return [(f"k{i}", text) for i, text in enumerate([*ranges, f"above {words[-1]}"], start=1)]


def strip_view(strip: Found, bounds: Sequence[float]) -> dict[str, Any]:
    """Return what the page shows of one record.

    Parameters
    ----------
    strip : mapping
        One of the findings' ``strips``.
    bounds : sequence of float
        Scores that separate the tints.
    """
    rows = list(_rows(strip, bounds))
    ranked = sorted((row for row in rows if row["score"] is not None), key=lambda row: -row["score"])
    return {
        "unit_id": plain(strip["unit_id"]),
        "prompt": plain(" ".join(strip["prompt"].split())),
        "pieces": list(_pieces(rows)),
        "tokens": len(rows),
        "ranked": len(ranked),
        "lost": sum(row["kind"] == "u" for row in rows),
        "kept": sum(row["kind"].startswith("k") for row in rows),
        "cut_short": strip["cut_short"],
        "whole": len(ranked) <= 2 * ENDS,
        "ends": ranked if len(ranked) <= 2 * ENDS else ranked[:ENDS] + ranked[-ENDS:],
    }


def _rows(strip: Found, bounds: Sequence[float]) -> Iterator[dict[str, Any]]:
    columns = [strip[name] for name in ("tokens", "score", "keep", "base", "reference")]
    for token, score, keep, base, reference in zip(*columns, strict=True):
        kind = f"k{1 if score is None else 1 + bisect_left(bounds, score)}" if keep else "u" if score is None else "m"
        yield {"token": token, "parts": visible(token), "kind": kind,
               "score": score, "base": base, "reference": reference}  # fmt: skip


def _pieces(rows: Sequence[Found]) -> Iterator[Piece]:
    """Join neighbours that are alike in state and in hover text; a line of text ends where a token ends one."""
    for (kind, title), run in groupby(rows, lambda row: (row["kind"], _title(row))):
        parts = [part for row in run for part in _broken(row["parts"])]
        first, mark = parts[0] if parts else ("", True)
        lead = " " if not mark and first[:1] == " " and first[:2] != "  " else ""
        yield Piece(kind, title, ((first[len(lead) :], mark), *parts[1:]), lead)


def _broken(parts: Parts) -> Iterator[tuple[str, bool]]:
    for text, mark in parts:
        yield text, mark
        if mark and _LINE in text:
            yield "\n", False


def _title(row: Found) -> str:
    if row["score"] is None and row["kind"] == "k1":
        return "kept without a score"
    if row["score"] is None:
        return "not measured: neither ranked nor kept"
    losses = ", ".join(f"{name} {decimal(row[name], LOSS_DIGITS)}" for name in ("base", "reference"))
    return f"score {nats(row['score'])}: {losses}"


def nats(value: float | None) -> str:
    """Write a score or a cut, with more decimals where it is near zero and none that nobody can read.

    Examples
    --------
    >>> nats(-0.0006), nats(0.1234), nats(0.0), nats(None), nats(12345.6)
    ('−0.0006', '0.123', '0', '–', '12,346')
    """
    if value == 0:
        return "0"
    if value is not None and abs(value) >= 1000:
        return count(value).replace("-", "−")
    return decimal(value, 4 if value is not None and abs(value) < 0.1 else 3)
