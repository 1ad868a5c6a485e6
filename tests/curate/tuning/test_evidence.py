"""What fine-tuning did, counted again by hand: over records with one seed, over seeds with several."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import t

from tamis.curate.tuning.evidence import CHANGE, GAIN, LOSS, SOLVED, tuning_evidence
from tamis.evidence.ratios import ratio_interval
from tamis.evidence.resampling import share_interval

COUNTS = {"all answer tokens": [4, 2, 0, 6], "tokens that the run kept": [2, 1, 0, 3]}
BEFORE = {"sums": {"all answer tokens": [8.0, 4.0, 0.0, 15.0], "tokens that the run kept": [5.0, 3.0, 0.0, 9.0]},
          "solved": (0.25, 0.1, 0.5)}  # fmt: skip


def measured(factor, *, solved=0.5):
    noise = 1 + 0.1 * np.arange(4) * factor
    sums = {name: (factor * noise * np.array(each)).tolist() for name, each in BEFORE["sums"].items()}
    return {"sums": sums, "solved": None if solved is None else (solved, 0.0, 1.0)}


def found(*factors, arms=("kept", "all"), solved=0.5):
    return [{"arm": arm, "seed": seed, "measured": measured(factor + 0.1 * (arm == "all"), solved=solved)}
            for arm in arms for seed, factor in enumerate(factors)]  # fmt: skip


def row(evidence, metric, split, arm):
    which = (pl.col("metric") == metric) & (pl.col("split") == split) & (pl.col("group") == arm)
    return evidence.frame.row(by_predicate=which, named=True)


def test_one_seed_has_intervals_over_records():
    results = found(0.8)
    evidence = tuning_evidence(BEFORE, results, COUNTS, questions=20)
    for split, n in COUNTS.items():
        for each in results:
            got = row(evidence, LOSS, split, each["arm"])
            expected = ratio_interval(np.array(each["measured"]["sums"][split]), np.array(n))
            assert (got["after"], got["low"], got["high"]) == pytest.approx(expected)
            assert got["before"] == pytest.approx(sum(BEFORE["sums"][split]) / sum(n))
            assert (got["n"], got["better"]) == (sum(n), "lower")


@pytest.mark.parametrize("factors", [(0.8,), (0.8, 0.7, 0.95)], ids=["one seed", "three seeds"])
def test_the_change_is_paired_with_the_base(factors):
    results = found(*factors, arms=("kept",))
    evidence = tuning_evidence(BEFORE, results, COUNTS, questions=20)
    for split, n in COUNTS.items():
        changes = [np.array(each["measured"]["sums"][split]) - np.array(BEFORE["sums"][split]) for each in results]
        got = row(evidence, CHANGE, split, "kept")
        assert (got["before"], got["better"]) == (None, "lower")
        if len(factors) == 1:
            expected = ratio_interval(changes[0], np.array(n))
        else:
            means = [each.sum() / sum(n) for each in changes]
            half = t.ppf(0.975, 2) * np.std(means, ddof=1) / np.sqrt(3)
            expected = np.mean(means), np.mean(means) - half, np.mean(means) + half
        assert (got["after"], got["low"], got["high"]) == pytest.approx(expected)


def test_the_gain_is_paired_by_record():
    results = found(0.8)
    evidence = tuning_evidence(BEFORE, results, COUNTS, questions=20)
    for split, n in COUNTS.items():
        own, other = (np.array(each["measured"]["sums"][split]) for each in results)
        got = row(evidence, GAIN, split, "kept")
        assert (got["after"], got["low"], got["high"]) == pytest.approx(ratio_interval(own - other, np.array(n)))
        assert got["before"] is None
        assert got["after"] < 0
    assert "all" not in evidence.frame.filter(metric=GAIN)["group"].to_list(), "an arm is not compared with itself"


def test_several_seeds_have_intervals_over_seeds():
    results = found(0.8, 0.7, 0.95)
    evidence = tuning_evidence(BEFORE, results, COUNTS, questions=20)
    for split, n in COUNTS.items():
        means = [sum(each["measured"]["sums"][split]) / sum(n) for each in results[:3]]
        half = t.ppf(0.975, 2) * np.std(means, ddof=1) / np.sqrt(3)
        got = row(evidence, LOSS, split, "kept")
        centre = np.mean(means)
        assert (got["after"], got["low"], got["high"]) == pytest.approx((centre, centre - half, centre + half))
        gaps = [(sum(a["measured"]["sums"][split]) - sum(b["measured"]["sums"][split])) / sum(n)
                for a, b in zip(results[:3], results[3:], strict=True)]  # fmt: skip
        got = row(evidence, GAIN, split, "kept")
        assert got["after"] == pytest.approx(np.mean(gaps))
        assert got["high"] - got["low"] == pytest.approx(2 * t.ppf(0.975, 2) * np.std(gaps, ddof=1) / np.sqrt(3))


def test_more_seeds_make_no_more_questions():
    results = found(0.8, 0.7, solved=0.4)
    got = row(tuning_evidence(BEFORE, results, COUNTS, questions=10), SOLVED, "arithmetic probe", "kept")
    assert (got["after"], got["low"], got["high"]) == pytest.approx(share_interval(4, 10))
    assert (got["before"], got["n"], got["better"]) == (0.25, 10, "higher")


def test_without_the_arm_all_there_is_no_gain():
    evidence = tuning_evidence(BEFORE, found(0.8, arms=("kept", "random")), COUNTS, questions=20)
    assert GAIN not in evidence.frame["metric"].to_list()
    assert set(evidence.frame["group"]) == {"kept", "random"}


def test_without_questions_or_records():
    before = {"sums": {}, "solved": None}
    results = [{"arm": "kept", "seed": 0, "measured": before}]
    assert len(tuning_evidence(before, results, {}, questions=0).frame) == 0
    only = tuning_evidence({**before, "solved": (0.0, 0.0, 0.2)}, found(0.8), {}, questions=20)
    assert set(only.frame["metric"]) == {SOLVED}


def test_a_loss_that_is_no_number_is_no_row():
    results = found(0.8)
    results[0]["measured"]["sums"]["all answer tokens"][1] = float("nan")
    evidence = tuning_evidence(BEFORE, results, COUNTS, questions=20)
    kept = evidence.frame.filter((pl.col("group") == "kept") & (pl.col("split") == "all answer tokens"))
    assert len(kept) == 0
    assert len(evidence.frame.filter(pl.col("group") == "all")) == 5


def test_a_split_without_tokens_is_no_row():
    counts = {**COUNTS, "tokens that the run kept": [0, 0, 0, 0]}
    results = found(0.8)
    for each in results:
        each["measured"]["sums"]["tokens that the run kept"] = [0.0] * 4
    evidence = tuning_evidence(BEFORE, results, counts, questions=20)
    assert "tokens that the run kept" not in evidence.frame["split"].to_list()


def test_a_split_without_tokens_is_no_row_with_several_seeds():
    counts = {"tokens that the run kept": [0, 0, 0, 0]}
    results = found(0.8, 0.7)
    for each in results:
        each["measured"]["sums"]["tokens that the run kept"] = [0.0] * 4
    evidence = tuning_evidence(BEFORE, results, counts, questions=20)
    assert "tokens that the run kept" not in evidence.frame["split"].to_list()
