"""Rows of evidence: what is counted, what is estimated, and what is paired."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.evidence.ratios import ratio_interval
from tamis.prune.evidence import CHANGE, PERPLEXITY, SIZES, SOLVED, SPEEDS, perplexity, prune_evidence

COUNTS = [10, 20, 30, 5]
DENSE = [12.0, 30.0, 31.0, 4.0]
CUT = [20.0, 50.0, 55.0, 11.0]


def model(sums, counts=COUNTS, solved=0.5, tasks=()):
    return {"sums": sums, "counts": counts, "solved": {"sums probe": [solved, solved - 0.1, solved + 0.1]},
            "questions": 20, "tasks": list(tasks)}  # fmt: skip


def size(layers, cache=512):
    return {"layers": layers, "parameters": 100 * layers, "bytes": 400 * layers, "cache_bytes_per_token": cache}


def speed(model, prefill):
    return [{"model": model, "round": i, "prefill": value, "decode": 2 * value} for i, value in enumerate(prefill, 1)]


@pytest.fixture
def rows():
    measured = {"dense": model(DENSE), "cut": model(CUT, solved=0.1), "healed": model(DENSE)}
    sizes = {"dense": size(8), "cut": size(6, 384), "healed": size(6, 384)}
    timed = speed("dense", [10.0, 10.0, 10.0]) + speed("healed", [13.0, 14.0, 15.0])
    frame = prune_evidence(measured, sizes, timed).frame
    return {(row["metric"], row["split"], row["group"]): row for row in frame.to_dicts()}


def test_sizes_are_counted(rows):
    for key, name in SIZES.items():
        row = rows[name, "", "cut"]
        assert (row["before"], row["after"]) == (size(8)[key], size(6, 384)[key])
        assert row["low"] == row["after"] == row["high"]
        assert row["better"] == "lower"


def test_perplexity_is_that_of_all_tokens(rows):
    row = rows[PERPLEXITY, "held-out records", "cut"]
    assert row["before"] == pytest.approx(np.exp(sum(DENSE) / sum(COUNTS)))
    assert row["after"] == pytest.approx(np.exp(sum(CUT) / sum(COUNTS)))
    assert row["low"] < row["after"] < row["high"]
    assert row["n"] == sum(COUNTS)


def test_the_change_is_paired(rows):
    row = rows[CHANGE, "held-out records", "cut"]
    expected = ratio_interval(np.subtract(CUT, DENSE), np.array(COUNTS))
    assert (row["after"], row["low"], row["high"]) == pytest.approx(expected)
    same = rows[CHANGE, "held-out records", "healed"]
    assert (same["after"], same["low"], same["high"]) == (0, 0, 0)


def test_probes_and_speeds(rows):
    row = rows[SOLVED, "sums probe", "cut"]
    assert (row["before"], row["after"], row["better"], row["n"]) == (0.5, 0.1, "higher", 20)
    row = rows[SPEEDS["prefill"], "", "healed"]
    assert (row["before"], row["n"], row["better"]) == (pytest.approx(10), 3, "higher")
    assert row["after"] == pytest.approx((13 * 14 * 15) ** (1 / 3))
    assert (SPEEDS["prefill"], "", "cut") not in rows


def test_nothing_but_sizes():
    measured = {
        name: {"sums": [], "counts": [], "solved": {}, "questions": 0, "tasks": []} for name in ("dense", "cut")
    }
    frame = prune_evidence(measured, {"dense": size(8, None), "cut": size(6, None)}, []).frame
    assert frame["metric"].to_list() == ["layers", "parameters", "bytes of the weights"]
    assert len(prune_evidence({}, {}, []).frame) == 0


def test_what_is_no_number_is_no_row():
    measured = {"dense": model(DENSE), "cut": model([1.0, float("nan"), 2.0, 3.0])}
    frame = prune_evidence(measured, {"dense": size(8), "cut": size(6)}, []).frame
    assert not {PERPLEXITY, CHANGE} & set(frame["metric"])
    assert np.isfinite(frame.select("after", "low", "high").to_numpy()).all()


@pytest.mark.parametrize("nats", [800.0, 1e6])
def test_a_ruined_model_has_a_finite_perplexity(nats):
    assert np.isfinite(perplexity([nats * 10, nats * 30], [10, 20])).all()


def test_one_token_more_is_no_more_records():
    assert perplexity([np.log(2), 0.0], [1, 0])[0] == pytest.approx(2)
    assert np.isnan(perplexity([], [])[0])
