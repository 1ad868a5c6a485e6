"""What speaks against a token mask, in general and in one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tamis.report.rendering import decimal, share_with_interval, with_interval
from tamis.report.tokens_charts import NEAR
from tamis.report.tokens_sentences import RANKINGS, is_control, part_of
from tamis.report.tokens_strips import plain

Found = Mapping[str, Any]

NO_VERDICT = "A low score is no verdict on a token"
CAUTION = (
    "It mixes three cases: what both models know already, what neither of them can predict, and what the reference "
    "predicts worse than the base. A masked token is not called wrong by that, and a kept one not right. The mask "
    "belongs to this pair of models; with another base or another reference it is another mask.",
    "Masking saves no training FLOPs: masked tokens are read as context in the forward and backward pass all the same. "
    "What changes is only which tokens the loss counts.",
)
"""The box on top of every page: what a low score is, and what masking does not do."""
MANY_NEAR = 0.1
"""Share of ranked tokens near the cut from which the page says so on top."""
MANY_EMPTIED = 0.1
"""Share of records without a kept token from which the page says so on top."""


def doubts(found: Found, evidence: Sequence[Found]) -> list[tuple[str, str, str]]:
    """Say what speaks against the mask as a whole: level, heading and reason of each doubt."""
    kept, pool = found["kept"], found["pool"]
    said = []
    same = found["limits"]["same_models"] and found["settings"]["rank_by"] in ("excess", "reverse")
    if same:
        said.append(
            ("stop", "No signal: both models give every token the same loss",
             "All scores are equal, so the mask is the order of the tokens in the pool and nothing else. Give a "
             "reference that was trained further than the base.")
        )  # fmt: skip
    if is_control(found):
        said.append(
            ("caution", "This is a control, not a cleaning",
             f"Tokens were ranked by {RANKINGS[found['settings']['rank_by']]}. Such a mask is there to be compared "
             "with; it is not what the method recommends to train on.")
        )  # fmt: skip
    if not found["settings"]["held_out"] and found["warmup"] is not None:
        said.append(
            ("caution", "The reference has seen records of this pool",
             "What a model was trained on it finds easier, so these records have higher scores than their content "
             "earns, and a ranking over the whole pool keeps too many of their tokens.")
        )  # fmt: skip
    unmoved = [row for row in evidence if _no_gain(row)]
    if unmoved and not found["limits"]["same_models"]:
        said.append(("caution", "The reference is not better than the base", _no_gain_sentence(unmoved[0])))
    if (kept["near"][0] or 0) >= MANY_NEAR and not same and not is_control(found):
        said.append(
            ("caution", "The cut falls where scores are dense",
             f"{share_with_interval(kept['near'], 1)} of the ranked tokens lie within {NEAR:g} nats of it. On which "
             "side such a token lies is partly chance: another seed or another reference moves it across."
             f"{_rounded(found)}")
        )  # fmt: skip
    if found["emptied"]["rows"] >= MANY_EMPTIED * max(1, pool["records"]):
        which = part_of(found["emptied"]["rows"], pool["records"], "record")
        within = " Ranking within each answer (scope sample) avoids most of it."
        said.append(
            ("caution", "Many records have no kept token",
             f"{which} would teach nothing: for them the cut is a choice of records, not of tokens."
             f"{'' if found['settings']['scope'] == 'sample' else within}")
        )  # fmt: skip
    return said


def _rounded(found: Found) -> str:
    flips = found["kept"]["flips_bf16"]
    if flips is None or not flips[0]:
        return ""
    return f" Computing in bfloat16 alone moves {share_with_interval(flips, 1)} of the tokens of a sample."


def _no_gain(row: Found) -> bool:
    """Whether a loss did not fall; on tokens chosen by their losses it says nothing."""
    known = row["before"] is not None and row["after"] is not None
    return known and row["better"] == "lower" and not is_chosen(row) and row["after"] >= row["before"]


def _no_gain_sentence(row: Found) -> str:
    metric, split = plain(row["metric"]), plain(row["split"] or "all tokens")
    before, after = decimal(row["before"], 3), with_interval([row["after"], row["low"], row["high"]], 3)
    return (
        f"{metric[:1].upper()}{metric[1:]}, {split}: {before} before, {after} after. Scores then say what the "
        "training of the reference changed, and hardly what it learned."
    )


def is_chosen(row: Found) -> bool:
    """Whether a row of the evidence is about tokens that were chosen by the very losses it shows."""
    return (row["split"] or "") in ("kept tokens", "masked tokens")
