"""The criteria by name, what each needs, and which layers each spares by default."""

from __future__ import annotations

from dataclasses import dataclass

GIVEN, FROM_FILE = "given", "file"


@dataclass(frozen=True)
class Criterion:
    """One way of scoring layers.

    Attributes
    ----------
    summary : str
        What it measures, as a clause.
    reads_text : bool
        Whether it needs calibration texts.
    source : str
    """

    summary: str
    reads_text: bool
    source: str


_PAPER, _SHORT = "Lu et al., arXiv 2411.15558", "Men et al., ShortGPT, arXiv 2403.03853"

CRITERIA: dict[str, Criterion] = {
    "auto": Criterion("several orders, compared by perplexity of the cut model on held-out texts", True, "tamis"),
    "reverse": Criterion("the last layers go", False, _PAPER),
    "random": Criterion("layers at random", False, _PAPER),
    "magnitude": Criterion("norms of the weights", False, "Kim et al., Shortened LLaMA, arXiv 2402.02834"),
    "taylor": Criterion("|weight x gradient|, first order", True, "Kim et al., Shortened LLaMA, arXiv 2402.02834"),
    "ppl": Criterion("perplexity without the layer", True, "Kim et al., Shortened LLaMA, arXiv 2402.02834"),
    "bi": Criterion("1 - cosine of input and output, mean over tokens (block influence)", True, _SHORT),
    "bi-flat": Criterion("1 - cosine of flattened input and output, as the official code", True, _PAPER),
    "sleb": Criterion("greedy: the layer whose loss the already cut model feels least", True,
                      "Song et al., SLEB, arXiv 2402.09025"),
    "angular": Criterion("angle between the states before and behind a block of layers", True,
                         "Gromov et al., arXiv 2403.17887"),
}  # fmt: skip
"""Names of ``--criterion``."""

PROTECTED_BY_DEFAULT = {"magnitude": (4, 2), "taylor": (4, 2), "ppl": (4, 2), "sleb": (1, 1)}
"""First and last layers that stay: without it Taylor and magnitude cut the first layers, which ruins a model. The rule
is that of Shortened LLaMA ("plus"), for SLEB its own; the paper has none."""
