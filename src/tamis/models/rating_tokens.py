"""How a tokenizer writes the ratings of a scale, and their probabilities from next-token probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tamis.errors import RecipeError

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class RatingTokens:
    """The token sequences by which one text goes on with each integer of a scale.

    Tokenizers differ: "10" may be one token, or "1" and "0"; a blank before the number may belong to its first token.
    The sequences form a tree. Its inner nodes are the places at which next-token probabilities are needed: the text
    alone, and each beginning of a longer number.

    Attributes
    ----------
    low : int
        First integer of the scale.
    stem : tuple of int
        Tokens of the text, up to where the numbers part.
    sequences : tuple of tuple of int
        Tokens that follow the stem for low, low + 1, ...; all different.

    Examples
    --------
    A tokenizer that writes digit by digit needs two places for 1..10: after the text, and after its "1".

    >>> rating = RatingTokens.after("Rating: ", 1, 10, encode=lambda text: [ord(letter) for letter in text])
    >>> rating.paths == ((ord("1"),),)
    True
    """

    low: int
    stem: Tokens
    sequences: tuple[Tokens, ...]

    @classmethod
    def after(cls, text: str, low: int, high: int, *, encode: Callable[[str], Sequence[int]]) -> RatingTokens:
        """Tokenize the text with each integer from ``low`` to ``high`` after it.

        Parameters
        ----------
        text : str
            What stands before the number, e.g. ``"Overall rating: "``.
        low, high : int
            Ends of the scale.
        encode : callable
            From a text to its tokens, without anything added.

        Raises
        ------
        RecipeError
            If the tokenizer does not tell two ratings apart, as one that does not know digits.
        """
        written = [tuple(encode(f"{text}{value}")) for value in range(low, high + 1)]
        # the text on its own bounds the stem: "1" is not part of it, even if every rating begins with "1"
        stem = shared_start([tuple(encode(text)), *written])
        sequences = tuple(tokens[len(stem) :] for tokens in written)
        if len(set(sequences)) < len(sequences) or () in sequences:
            raise RecipeError(
                f"The model's tokenizer cannot write the ratings {low} to {high} apart; choose another model."
            )
        return cls(low, stem, sequences)

    @cached_property
    def _children(self) -> dict[Tokens, tuple[Tokens, ...]]:
        """Inner nodes of the tree and the nodes below them, shortest first."""
        nodes = {tokens[:length] for tokens in self.sequences for length in range(1, len(tokens) + 1)}
        below: dict[Tokens, list[Tokens]] = {(): []}
        for node in sorted(nodes, key=lambda node: (len(node), node)):
            below.setdefault(node[:-1], []).append(node)
        return {node: tuple(children) for node, children in below.items()}

    @cached_property
    def paths(self) -> tuple[Tokens, ...]:
        """What to append to the stem, text by text, so that every place that is needed is read.

        ``((),)`` where each integer is one token. The last ``len(path) + 1`` positions of ``stem + path`` count.
        """
        inner = set(self._children)
        return tuple(sorted(node for node in inner if not any(other[:-1] == node for other in inner if other)))

    @cached_property
    def vocabulary(self) -> tuple[int, ...]:
        """Tokens whose probabilities are needed, in ascending order."""
        return tuple(sorted({token for tokens in self.sequences for token in tokens}))

    def probabilities(self, log_p: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Probability that the text goes on with each rating, and with no longer number of the scale.

        P(v) is the product of the next-token probabilities along the sequence of v, less what goes on to a longer
        number: P("1") does not include P("10").

        Parameters
        ----------
        log_p : sequence of ndarray of shape (n, len(path) + 1, len(vocabulary))
            For each path, log-probabilities of the vocabulary's tokens at its positions, for n texts.

        Returns
        -------
        ndarray of shape (n, number of ratings)
            Not normalised: the rest of the mass lies on texts that are no rating. NaN where ``log_p`` is.

        Examples
        --------
        >>> rating = RatingTokens(low=1, stem=(), sequences=((1,), (2,), (1, 0)))
        >>> at_start, after_one = [0.0, 0.6, 0.3], [0.5, 0.0, 0.0]  # of the tokens 0, 1, 2
        >>> with np.errstate(divide="ignore"):
        ...     rating.probabilities([np.log([[at_start, after_one]])])
        array([[0.3, 0.3, 0.3]])
        """
        column = {token: position for position, token in enumerate(self.vocabulary)}
        joint: dict[Tokens, NDArray[np.float64]] = {(): np.zeros(log_p[0].shape[0])}
        for node, children in self._children.items():
            which = next(i for i, path in enumerate(self.paths) if path[: len(node)] == node)
            for child in children:
                joint[child] = joint[node] + log_p[which][:, len(node), column[child[-1]]]
        mass = {node: np.exp(value) for node, value in joint.items()}
        exact = [
            mass[tokens] - sum(mass[child] for child in self._children.get(tokens, ())) for tokens in self.sequences
        ]
        return np.clip(np.stack(exact, axis=1), 0.0, None)


def shared_start(sequences: Sequence[Tokens]) -> Tokens:
    """Return the longest beginning that all sequences have in common.

    Examples
    --------
    >>> shared_start([(1, 2, 3), (1, 2), (1, 2, 4)])
    (1, 2)
    """
    shortest = min(sequences, key=len)
    for position, token in enumerate(shortest):
        if any(sequence[position] != token for sequence in sequences):
            return shortest[:position]
    return shortest
