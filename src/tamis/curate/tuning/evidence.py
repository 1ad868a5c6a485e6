"""What fine-tuning did: losses of held-out records and sums solved, by arm, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tamis.evidence import Evidence
from tamis.evidence.ratios import ratio_interval
from tamis.evidence.resampling import share_interval, student_interval

LOSS = "loss a held-out token (nats)"
CHANGE = "change of the loss a held-out token (nats)"
GAIN = "loss a held-out token, less that of the arm 'all' (nats)"
SOLVED = "share of sums solved"


def tuning_evidence(
    before: Mapping[str, Any],
    found: Sequence[Mapping[str, Any]],
    counts: Mapping[str, Sequence[int]],
    *,
    questions: int,
) -> Evidence:
    """Rows for each arm.

    With one seed, intervals are over records; with several, over seeds (Student). Changes are paired with the base, and
    differences with the arm ``all``: over records of the same seed, or over seeds.

    Parameters
    ----------
    before : mapping
        ``sums`` of the base model by split, and ``solved``.
    found : sequence of mapping
        ``arm``, ``seed`` and ``measured`` (as ``before``) of each training.
    counts : mapping
        Tokens of each held-out record, by split.
    questions : int
        Sums that were asked.
    """
    counts = {split: n for split, n in counts.items() if sum(n)}
    arms = list(dict.fromkeys(each["arm"] for each in found))
    rows: list[dict[str, Any]] = []
    for arm in arms:
        own = [each["measured"] for each in found if each["arm"] == arm]
        for split, n in counts.items():
            base, after = np.asarray(before["sums"][split]), [np.asarray(each["sums"][split]) for each in own]
            loss, change = _over_seeds(after, n), _over_seeds([each - base for each in after], n)
            rows.append(_row(LOSS, split, arm, float(base.sum()) / sum(n), loss, sum(n), "lower"))
            rows.append(_row(CHANGE, split, arm, None, change, sum(n), "lower"))
        if before["solved"] is not None:
            # all seeds are asked the same questions: more seeds make no more questions
            share = float(np.mean([each["solved"][0] for each in own]))
            right = share_interval(share * questions, questions)
            rows.append(_row(SOLVED, "arithmetic probe", arm, before["solved"][0], right, questions, "higher"))
        for task, earlier in enumerate(before.get("tasks", ())):
            # the mean over seeds, each end too: more seeds make no more questions
            ends = np.array([each["tasks"][task]["estimate"] for each in own], dtype=np.float64).mean(axis=0)
            name, split = f"share right ({earlier['metric']})", f"lm-eval {earlier['task']}"
            rows.append(_row(name, split, arm, earlier["estimate"][0], ends, earlier["n"], "higher"))
    if "all" in arms:
        for arm in arms:
            pairs = [
                (each["measured"], other["measured"])
                for each in found
                for other in found
                if each["arm"] == arm != "all" and other["arm"] == "all" and other["seed"] == each["seed"]
            ]
            for split, n in counts.items() if pairs else ():
                gaps = [np.subtract(a["sums"][split], b["sums"][split]) for a, b in pairs]
                rows.append(_row(GAIN, split, arm, None, _over_seeds(gaps, n), sum(n), "lower"))
    return Evidence(each for each in rows if each is not None)


def _over_seeds(sums: Sequence[Any], counts: Sequence[int]) -> tuple[float, float, float]:
    """Mean loss a token, with an interval over seeds, or over records if there is one seed."""
    if len(sums) == 1:
        return ratio_interval(np.asarray(sums[0]), np.asarray(counts))
    return student_interval([float(np.sum(each)) / max(1, sum(counts)) for each in sums])


def _row(
    metric: str,
    split: str,
    arm: str,
    before: float | None,
    after: Sequence[float],
    n: int | None,
    better: str,
) -> Any:
    value, low, high = after
    if any(each is None or np.isnan(each) for each in (value, low, high)):
        return None
    return {"metric": metric, "split": split, "group": arm, "before": before, "after": value, "low": low, "high": high,
            "n": n, "better": better}  # fmt: skip
