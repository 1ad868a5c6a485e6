"""The report of a fine-tuning, drawn from what a run leaves."""

from __future__ import annotations

import json

import pytest

from tamis.evidence import Evidence
from tamis.recipe import Recipe
from tamis.report.training import section
from tamis.runs import Run
from tamis.runs.step_files import write_frame

LOSS, ANSWERS = "loss a held-out token (nats)", "all answer tokens"


def result(arm, seed, **changed):
    training = {
        "steps": 3,
        "weight": 120.0,
        "losses": [2.0, 1.5, 1.25],
        "held_out": [],
        "stopped_early": False,
        "kept_step": 3,
        "seconds": 4.0,
        "records": 9,
        "tokens": 40,
        "learns": "all weights <b>learn</b>",
    }
    return {"arm": arm, "seed": seed, "training": {**training, **changed}, "solved": None}


def row(group, before, after, low, high, **changed):
    return {
        "metric": LOSS,
        "split": ANSWERS,
        "group": group,
        "before": before,
        "after": after,
        "low": low,
        "high": high,
        "n": 40,
        "better": "lower",
        **changed,
    }


@pytest.fixture
def shown(tmp_path):
    """Write a run of these findings and evidence, and return its sections."""

    def shown(results, evidence, **changed):
        arms = list(dict.fromkeys(each["arm"] for each in results))
        found = {
            "base": {"name": "<i>tiny</i>", "fingerprint": "ab"},
            "records": {"trained": 9, "held_out": 1},
            "arms": [{"name": arm, "what": f"tokens of {arm}"} for arm in arms],
            "seeds": 1,
            "settings": {"steps": 3, "tune": "lora", "clip": None},
            "counts": {ANSWERS: 40},
            "solved_before": None,
            "results": results,
            **changed,
        }
        (tmp_path / "tokens.parquet").write_bytes(b"")
        recipe = Recipe(method="train", inputs={"tokens": str(tmp_path / "tokens.parquet")}, params={})
        with Run.start(tmp_path / "run", recipe, command="tamis train") as run:
            step = run.step("decide")
            (step.folder / "findings.json").write_text(json.dumps(found))
            step.finish()
            write_frame(run.folder / "evidence.parquet", Evidence(evidence).frame)
            run.finish("complete", {})
        return section(tmp_path / "run")

    return shown


def test_one_training(shown):
    lead, done, helped, limits = shown([result("kept", 0)], [row("kept", 2.5, 2.25, 2.0, 2.5)])
    assert lead.title == "Fine-tuning of <i>tiny</i>"  # the page escapes titles
    assert "2.5000 to 2.2500" in " ".join(lead.html.split())
    assert "&lt;b&gt;learn" in lead.html
    assert "<svg" in done.html
    assert "clip" not in done.html
    assert "With one seed" in helped.html
    assert "--arms kept,all,random" in helped.html
    assert "One training is one draw" in limits.html


def test_several_arms_and_seeds(shown):
    results = [result(arm, seed, stopped_early=arm == "all") for arm in ("kept", "all") for seed in range(2)]
    evidence = [
        row("kept", 2.5, 2.2, 2.1, 2.3),
        row("all", 2.5, 2.3, 2.2, 2.4),
        row("kept", None, -0.1, -0.2, 0.0, metric="loss a held-out token, less that of the arm 'all' (nats)"),
    ]
    _, done, helped, limits = shown(results, evidence, seeds=2)
    assert done.html.count("(early stop)") == 2
    assert "tokens of all" in done.html
    assert "−0.1000" in helped.html
    assert "over seeds" in helped.html
    assert "--arms kept,all,random" not in helped.html
    assert "One training is one draw" not in limits.html


def test_nothing_held_out(shown):
    lead, done, helped, _ = shown([result("kept", 0)], [], records={"trained": 10, "held_out": 0})
    assert "nothing here says whether that helped" in lead.html
    assert "nothing was measured" in helped.html
    assert "<svg" in done.html
