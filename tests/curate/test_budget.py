import numpy as np
import polars as pl
import pytest

from tamis.curate.budget import fill_budget, rank_records
from tamis.data import Table


def table_of(n, ids=None):
    ids = ids or [f"r{i:03d}" for i in range(n)]
    return Table.from_frame(pl.DataFrame({"id": ids, "text": [f"t{i}" for i in range(n)]}))


def fill(score, longtail, budget, *, ids=None, ties="id", origin=None, names=None):
    n = len(score)
    return fill_budget(
        table_of(n, ids),
        score=np.array(score, dtype=np.float64),
        longtail=np.array(longtail, dtype=np.float64),
        origin=np.array(["rated"] * n if origin is None else origin),
        score_names=names,
        budget=budget,
        ties=ties,
    )


def as_in_the_paper(score, longtail, budget, n_classes):
    """Buckets from the top in index order; the rarest of the last, partly used bucket (DS2, selection)."""
    kept = []
    for s in range(n_classes - 1, -1, -1):
        bucket = [i for i in range(len(score)) if score[i] == s]
        remaining = budget - len(kept)
        if len(bucket) < remaining:
            kept += bucket
        else:
            kept += sorted(bucket, key=lambda i: (-longtail[i], i))[:remaining]
            break
    return set(kept)


@pytest.mark.parametrize("seed", range(8))
def test_it_keeps_what_the_paper_keeps_at_every_budget(seed):
    rng = np.random.default_rng(seed)
    score = rng.integers(0, 4, 40).astype(float)
    longtail = rng.integers(0, 5, 40) / 7  # with ties
    for budget in (1, 5, 13, 39, 40):
        chosen = {int(i[1:]) for i in fill(score, longtail, budget, ties="row").chosen}
        assert chosen == as_in_the_paper(score, longtail, budget, 4)
        assert len(chosen) == budget


def test_rarity_decides_only_inside_the_last_bucket():
    found = fill([3, 3, 2, 2, 2, 1], [0.0, 0.1, 0.2, 0.9, 0.5, 1.0], 4)
    assert set(found.chosen) == {"r000", "r001", "r003", "r004"}
    by_id = {row["unit_id"]: row for row in found.frame.to_dicts()}
    assert "above the cut" in by_id["r000"]["reason"]
    assert "at the cut, among its rarest" in by_id["r003"]["reason"]
    assert "at the cut, less rare" in by_id["r002"]["reason"]
    assert "below the cut" in by_id["r005"]["reason"]


def test_ties_go_by_id_or_by_row():
    ids = ["d", "c", "b", "a"]
    assert set(fill([1] * 4, [0.5] * 4, 2, ids=ids).chosen) == {"a", "b"}
    assert set(fill([1] * 4, [0.5] * 4, 2, ids=ids, ties="row").chosen) == {"d", "c"}


def test_an_unmeasured_record_is_undecided_and_not_ranked():
    found = fill([np.nan, 2, np.nan, 1], [9, 0, 9, 0], 1)
    assert found.counts() == {"keep": 1, "drop": 1, "undecided": 2}
    row = found.explain("r000")
    assert (row["decision"], row["score"], row["rank"]) == (None, None, None)
    assert "not measured" in row["reason"]


def test_a_budget_that_the_measured_records_cannot_fill_keeps_them_all_and_nothing_else():
    found = fill([np.nan, 2, np.nan, 1], [9, 0, 9, 0], 3)
    assert found.counts() == {"keep": 2, "drop": 0, "undecided": 2}


def test_ranks_count_from_the_best():
    found = fill([1, 3, 2, 3], [0, 0.1, 0, 0.2], 2)
    assert found.frame["rank"].to_list() == [3, 1, 2, 0]
    assert found.chosen == ["r003", "r001"]


def test_corrected_ratings_say_so():
    reasons = fill([2, 1], [0, 0], 1, origin=["corrected", "rated"]).frame["reason"].to_list()
    assert reasons[0].startswith("corrected score 2.00,")
    assert reasons[1].startswith("rated score 1.00,")


def test_one_rater_s_classes_are_called_by_their_names():
    names = ("1-4", "5", "6", "7", "8", "9-10")
    reasons = fill([5, 0, np.nan], [0, 0, 0], 1, names=names).frame["reason"].to_list()
    assert reasons[0].startswith("rated score 9-10, at the cut")
    assert reasons[1].startswith("rated score 1-4, below the cut")
    assert reasons[2].startswith("no rating")


def test_rank_records_orders_by_score_then_rarity_then_tie():
    score = np.array([1.0, np.nan, 2.0, 2.0, 1.0])
    longtail = np.array([0.5, 0.9, 0.1, 0.2, 0.5])
    assert rank_records(score, longtail, np.array([4, 3, 2, 1, 0])).tolist() == [3, 2, 4, 0]
