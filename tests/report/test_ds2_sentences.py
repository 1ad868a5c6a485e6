from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from tamis.report.ds2_sentences import summary, verdict_of
from tamis.report.findings import read_findings
from tamis.runs import Run


@pytest.fixture
def found(usable_run: Path) -> dict[str, Any]:
    return copy.deepcopy(read_findings(Run.open(usable_run), "curate"))


def make_doubtful(rater: dict[str, Any]) -> None:
    rater["transition"]["diagnostics"]["row_max"] = [True, False, True]
    rater["transition"]["diagnostics"]["observed"] = [0.4, 0.2, 0.4]
    rater.update(verdict="partly usable", correctable=[0, 2])


def said(found: dict[str, Any], **settings: Any) -> str:
    return verdict_of(found["raters"][0], {**found["settings"], **settings}).consequence


def test_each_setting_has_its_own_consequence(found: dict[str, Any]) -> None:
    make_doubtful(found["raters"][0])
    assert "left ratings in class 2 as they were" in said(found)
    assert "switched off" in said(found, correct="none")
    assert "asked for in spite of this" in said(found, correct="all")
    assert "paper's procedure does not consult this verdict" in said(found, fidelity="paper")
    found["raters"][0]["correctable"] = [0, 1, 2]
    assert said(found, rule="vote").startswith("The vote rule does not use the matrix")
    found["raters"][0]["correctable"] = []
    found["raters"][0]["changed"] = 0
    assert said(found) == "tamis therefore corrected nothing: all ratings of this rater were used as they came."


def test_changes_without_correction_are_put_down_to_copies(found: dict[str, Any]) -> None:
    found["raters"][0].update(correctable=[], changed=0, settled=15)
    assert "exact copies which were rated apart share the lower median of their ratings (15 ratings differ" in said(
        found
    )
    assert "(15 ratings differ" in said(found, correct="none")


def test_forced_correction_of_a_sound_matrix_is_not_called_spite(found: dict[str, Any]) -> None:
    assert "in spite" not in said(found, correct="all")


def test_not_usable_gives_the_reason_that_applies(found: dict[str, Any]) -> None:
    rater = found["raters"][0]
    rater["verdict"] = "not usable"
    rater["transition"]["diagnostics"]["row_max"] = [False, False, True]
    rater["transition"]["diagnostics"]["observed"] = [0.5, 0.3, 0.2]
    judged = verdict_of(rater, found["settings"])
    assert judged.level == "stop"
    assert "Classes 1 and 2 cannot be identified from neighbourhoods, and 80 % of the ratings" in judged.reason
    rater["transition"]["diagnostics"]["kappa"] = 0.001
    assert (
        "do not follow the content: records that are close to each other agree hardly more"
        in verdict_of(rater, found["settings"]).reason
    )


def test_summary_says_when_the_budget_was_not_filled(found: dict[str, Any]) -> None:
    assert "could not be filled" not in summary(found, "pool.jsonl")
    found["selection"]["budget"] = 500
    assert "(the budget of 500 could not be filled)" in summary(found, "pool.jsonl")


def test_summary_of_many_raters_counts_verdicts(found: dict[str, Any]) -> None:
    found["raters"] = [copy.deepcopy(found["raters"][0]) for _ in range(5)]
    found["raters"][0]["verdict"] = "not usable"
    text = summary(found, "pool.jsonl")
    assert "Of 5 raters' matrices, 4 usable, 0 partly usable and 1 not usable" in text


def test_summary_counts_one_in_the_singular(found: dict[str, Any]) -> None:
    found["unmeasured"] = 1
    found["raters"][0]["changed"] = 1
    text = summary(found, "pool.jsonl")
    assert "1 record has no rating" in text
    assert "1 rating (0.4 %) of 236 was changed" in text
