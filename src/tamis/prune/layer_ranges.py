"""Layers as people write them: ``22-28,30``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby

from tamis.errors import RecipeError

_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def layer_id(layer: int) -> str:
    """Id of a layer as a unit; ids sort as the layers do.

    Examples
    --------
    >>> layer_id(7)
    'layer-007'
    """
    return f"layer-{layer:03d}"


def read_ranges(text: str, n_layers: int) -> tuple[int, ...]:
    """Read layers, both ends of a range included, the first layer being 0.

    Parameters
    ----------
    text : str
        Such as ``"22-28,30"``.
    n_layers : int
        Layers of the model.

    Raises
    ------
    RecipeError
        If the text is no list of ranges, or names a layer that the model has not.

    Examples
    --------
    >>> read_ranges("22-24, 30", 32)
    (22, 23, 24, 30)
    """
    found: set[int] = set()
    for piece in text.split(","):
        match = _RANGE.fullmatch(piece.strip())
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise RecipeError(
                f"{text!r} names no layers: expected numbers and ranges such as '22-28,30'. Got {piece!r}."
            )
        last = int(match[2] or match[1])
        if last >= n_layers:
            raise RecipeError(
                f"{text!r} names layer {last}, but the model has {n_layers} layers, 0 to {n_layers - 1}; the first "
                "one is 0."
            )
        found.update(range(int(match[1]), last + 1))
    return tuple(sorted(found))


def runs_of(layers: Iterable[int]) -> list[tuple[int, int]]:
    """First and last layer of each run of neighbours.

    Examples
    --------
    >>> runs_of([0, 1, 2, 5])
    [(0, 2), (5, 5)]
    """
    found = []
    for _, run in groupby(enumerate(sorted(layers)), key=lambda pair: pair[1] - pair[0]):
        members = [layer for _, layer in run]
        found.append((members[0], members[-1]))
    return found


def write_ranges(layers: Sequence[int]) -> str:
    """Write layers as :func:`read_ranges` reads them.

    Examples
    --------
    >>> write_ranges([22, 23, 24, 30]), write_ranges([])
    ('22-24,30', 'none')
    """
    return ",".join(f"{a}-{b}" if b > a else str(a) for a, b in runs_of(layers)) or "none"
