"""Which layers stay, and where each of them ends up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tamis.errors import RecipeError


@dataclass(frozen=True)
class KeptLayers:
    """The layers that stay, of a model with ``n_layers``.

    Attributes
    ----------
    indices : tuple of int
        Ascending, 0-based.
    n_layers : int

    Examples
    --------
    >>> kept = KeptLayers.checked((0, 1, 4), n_layers=5)
    >>> kept.position, kept.of_each("abcde"), kept.renumbered([1, 2, 4]), kept.count_below(3)
    ({0: 0, 1: 1, 4: 2}, ['a', 'b', 'e'], [1, 2], 2)
    """

    indices: tuple[int, ...]
    n_layers: int

    @classmethod
    def checked(cls, kept: Iterable[int], n_layers: int) -> KeptLayers:
        """Make it from indices; RecipeError unless they ascend, are at least one, and below ``n_layers``."""
        indices = tuple(kept)
        ascending = all(a < b for a, b in pairwise(indices))
        if not indices or not ascending or indices[0] < 0 or indices[-1] >= n_layers:
            raise RecipeError(
                f"The layers to keep must be at least one ascending index in [0, {n_layers}). Got {indices!r} instead."
            )
        return cls(indices, n_layers)

    @property
    def position(self) -> dict[int, int]:
        """New index by old index."""
        return {old: new for new, old in enumerate(self.indices)}

    @property
    def moves(self) -> bool:
        """Whether any kept layer gets another index; False where only the last layers go."""
        return self.indices != tuple(range(len(self.indices)))

    def of_each(self, entries: Sequence[Any]) -> list[Any]:
        """Entries of the kept layers, of a list with one for each layer."""
        return [entries[old] for old in self.indices]

    def renumbered(self, layers: Iterable[int]) -> list[int]:
        """New indices of those of the given layers that stay."""
        position = self.position
        return [position[old] for old in layers if old in position]

    def count_below(self, bound: int) -> int:
        """How many of the first ``bound`` layers stay."""
        return sum(old < bound for old in self.indices)

    def breaks_period(self, period: int) -> bool:
        """Whether a rule that repeats every ``period`` layers means other layers after the cut."""
        return any(new % period != old % period for new, old in enumerate(self.indices))
