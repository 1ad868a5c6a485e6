"""A second small generative probe: brackets that a model has to close in the right order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tamis.runs.digests import derive_seed

PAIRS = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class Brackets:
    """A question with open brackets, and what closes them."""

    question: str
    answer: str

    def solved(self, reply: str) -> bool:
        """Whether the first brackets of the reply close those of the question, white space aside.

        A reply may repeat the open ones first.

        Examples
        --------
        >>> asked = Brackets("Close the brackets: ( [", "])")
        >>> asked.solved("])"), asked.solved("([])"), asked.solved(")]"), asked.solved("I can help: ] )")
        (True, True, False, True)
        """
        written = "".join(each for each in reply if each in "()[]{}")
        opened = self.question[self.question.rindex(":") + 1 :].replace(" ", "")
        return written.removeprefix(opened)[: len(self.answer)] == self.answer


def brackets(n: int, *, seed: int) -> list[Brackets]:
    """Return n questions of one to four open brackets."""
    rng = np.random.default_rng(derive_seed(seed, "brackets"))
    asked = []
    for depth in rng.integers(1, 5, n).tolist():
        opened = [list(PAIRS)[kind] for kind in rng.integers(0, len(PAIRS), depth).tolist()]
        closed = "".join(PAIRS[each] for each in reversed(opened))
        ask = "Write only the closing brackets that are missing, innermost first: "
        asked.append(Brackets(ask + " ".join(opened), closed))
    return asked
