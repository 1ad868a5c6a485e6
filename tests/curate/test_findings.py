"""What a curation hands to the report and to ``why``: strict JSON and one row a record and rater."""

import json

import numpy as np
import polars as pl
import pytest

from tamis.curate import DS2
from tamis.curate.evidence import curation_evidence
from tamis.curate.findings import curation_frame, findings
from tamis.data import Signal, Table


@pytest.fixture(scope="module")
def fitted(make_pool):
    pool = make_pool(n_clusters=20)
    second = np.where(np.arange(300) % 11 == 0, np.nan, np.clip(pool.ratings - 1, 1, 5))
    signal = Signal.concat(
        [
            Signal.from_frame(pl.DataFrame({"id": pool.table.ids, "value": pool.ratings}), rater="a"),
            Signal.from_frame(pl.DataFrame({"id": pool.table.ids, "value": second}), rater="b"),
        ]
    )
    table = Table.from_frame(pool.table.frame, roles={"group": "group"})
    ds2 = DS2(80, n_bootstrap=10, n_restarts=1).fit(table, ratings=signal, embeddings=pool.vectors, truth=pool.truth)
    return pool, table, signal, ds2


def strict(value):
    return json.loads(json.dumps(value, allow_nan=False))


def test_findings_are_strict_json(fitted):
    _, table, signal, ds2 = fitted
    found = strict(findings(ds2, table, signal, source={"embeddings": "ab"}))
    assert found["selection"] == {
        "keep": 80,
        "drop": 220,
        "undecided": 0,
        "budget": 80,
        "cut": found["selection"]["cut"],
    }
    assert found["graph"]["source"] == {"embeddings": "ab"}
    assert [r["rater"] for r in found["raters"]] == ["a", "b"]
    assert sum(g["pool"] for g in found["composition"]) == 300
    assert sum(g["kept"] for g in found["composition"]) == 80
    assert len(found["scatter"]) == 300


def test_findings_are_strict_json_when_nothing_can_be_corrected(fitted):
    """No correction has no precision: the figure is null in JSON, not a NaN that no other reader accepts."""
    pool, table, _, _ = fitted
    # records agree with all their neighbours: neither rule finds anything wrong
    ds2 = DS2(20, rule="vote", n_bootstrap=0, n_restarts=1)
    ds2.fit(table, ratings=pool.truth, embeddings=pool.vectors, truth=pool.truth)
    signal = Signal.from_frame(pl.DataFrame({"id": table.ids, "value": pool.truth}))
    strict(findings(ds2, table, signal, source={}))


def test_raters_that_share_only_constant_ratings_have_no_correlation(make_pool):
    pool = make_pool(n_clusters=4)
    one, two = pool.ratings.copy(), pool.ratings.copy()
    one[:30], one[30:50], two[30:50], two[50:] = np.nan, 3, 3, np.nan
    signal = Signal.concat(
        Signal.from_frame(pl.DataFrame({"id": pool.table.ids, "value": values}), rater=name)
        for name, values in (("a", one), ("b", two))
    )
    ds2 = DS2(20, n_bootstrap=0, n_restarts=1).fit(pool.table, ratings=signal, embeddings=pool.vectors)
    (pair,) = strict(findings(ds2, pool.table, signal, source={}))["agreement"]
    assert (pair["n"], pair["exact"], pair["kappa"], pair["rho"]) == (20, 1.0, None, None)


def test_counts_of_a_rater_add_up(fitted):
    _, table, signal, ds2 = fitted
    found = findings(ds2, table, signal, source={})
    for rater, curation in zip(found["raters"], ds2.raters_.values(), strict=True):
        measured = rater["status"]["ok"]
        assert sum(rater["before"]) == sum(rater["after"]) == sum(rater["values"]["counts"]) == measured
        assert rater["changed"] == int(curation.corrected.sum()) == sum(n for _, _, n in rater["flows"])
        assert dict(rater["thresholds"])[0.5] == rater["changed"]
        shares = [n for _, n in rater["thresholds"]]
        assert shares == sorted(shares, reverse=True)
        for old, new, _ in rater["flows"]:
            assert old != new
    assert found["raters"][1]["status"]["missing"] == 28
    (pair,) = found["agreement"]
    assert (pair["a"], pair["b"], pair["n"]) == ("a", "b", 272)
    assert 0 < pair["kappa"] < 1
    assert 0 < pair["rho"] <= 1


def test_agreement_between_raters_is_that_of_scikit_learn(fitted):
    from sklearn.metrics import cohen_kappa_score

    _, table, signal, ds2 = fitted
    (pair,) = findings(ds2, table, signal, source={})["agreement"]
    a, b = (r.labels.observed for r in ds2.raters_.values())
    both = (a >= 0) & (b >= 0)
    assert pair["kappa"] == pytest.approx(cohen_kappa_score(a[both], b[both], weights="quadratic"))
    assert pair["exact"] == pytest.approx((a[both] == b[both]).mean())


def test_doubtful_ratings_come_most_confident_first_with_their_neighbours(fitted):
    _, table, signal, ds2 = fitted
    doubtful = findings(ds2, table, signal, source={})["doubtful"]
    assert 0 < len(doubtful) <= 20
    confidence = [d["confidence"] for d in doubtful]
    assert confidence == sorted(confidence, reverse=True)
    texts = dict(zip(table.ids, table.responses(), strict=True))
    cluster = {i: text.split()[-1] for i, text in texts.items()}
    for d in doubtful:
        assert len(d["neighbors"]) == 5
        assert {cluster[n["id"]] for n in d["neighbors"]} == {cluster[d["id"]]}
        assert texts[d["id"]] == d["response"]


def test_the_frame_has_a_row_for_each_record_and_rater(fitted):
    _, table, _, ds2 = fitted
    frame = curation_frame(ds2, table)
    assert frame.height == 600
    assert frame.select("unit_id", "rater").n_unique() == 600
    assert frame["misrated_prob"].is_nan().sum() == 0
    unrated = frame.filter(pl.col("status") != "ok")
    assert unrated.height == 28
    for column in ("rating", "agreement", "misrated_prob", "observed_name", "suggested_name"):
        assert unrated[column].null_count() == 28, column
    assert unrated["curated"].unique().to_list() == [-1]
    changed = frame.filter(pl.col("curated") != pl.col("observed"))
    assert (changed["confidence"] >= 0.5).all()
    assert (changed["curated"] == changed["suggested"]).all()
    decided = frame.filter(pl.col("rater") == "a").select("unit_id", "decision", "score", "rank", "reason")
    assert decided.equals(ds2.selection_.frame.select("unit_id", "decision", "score", "rank", "reason"))


def test_neighbours_in_the_frame_are_rows_of_the_table(fitted):
    pool, table, _, ds2 = fitted
    frame = curation_frame(ds2, table).filter(pl.col("rater") == "a")
    unit = pool.vectors / np.linalg.norm(pool.vectors, axis=1, keepdims=True)
    row = 137
    near, similarity = frame["near"][row].to_list(), frame["similarity"][row].to_list()
    cosine = unit @ unit[row]
    cosine[row] = -1
    assert near == np.argsort(-cosine, kind="stable")[:5].tolist()
    np.testing.assert_allclose(similarity, cosine[near], atol=1e-5)


def test_evidence_compares_the_kept_with_all_measured(fitted):
    _, table, _, ds2 = fitted
    rows = {(r["metric"], r["group"]): r for r in curation_evidence(ds2, table).frame.to_dicts()}
    score = rows["mean curated score", ""]
    assert score["before"] == pytest.approx(np.nanmean(ds2.score_))
    assert score["low"] <= score["after"] <= score["high"]
    assert score["after"] > score["before"]
    assert (score["n"], score["better"]) == (80, "higher")
    kept = ds2.selection_.frame["decision"].to_numpy() == "keep"
    assert rows["mean rarity", ""]["after"] == pytest.approx(ds2.longtail_[kept].mean())
    assert {group for metric, group in rows if metric == "mean rating"} == {"a", "b"}
