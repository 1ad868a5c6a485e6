from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import pytest

from tamis.curate.comparison import compare_ratings, compare_selections
from tamis.data import Signal
from tamis.errors import DataError
from tamis.select import Selection


def signal(values: Mapping[str, float | None], *, rater: str = "judge", criterion: str = "overall") -> Signal:
    rows = [{"unit_id": k, "value": v, "status": "ok" if v is not None else "refused"} for k, v in values.items()]
    frame = pl.DataFrame(rows, schema={"unit_id": pl.String, "value": pl.Float64, "status": pl.String})
    return Signal.from_frame(frame, rater=rater, criterion=criterion)


def selection(decisions: dict[str, str | None], **columns: list[Any]) -> Selection:
    frame = pl.DataFrame(
        {"unit_id": list(decisions), "decision": list(decisions.values()), **columns},
        schema_overrides={"decision": pl.String},
    )
    return Selection(frame)


def test_each_rater_of_one_is_compared_with_each_of_the_other_and_namesakes_first() -> None:
    values = {f"u{i}": float(i % 5) for i in range(20)}
    a = Signal.concat([signal(values, rater="x"), signal(values, rater="y"), signal(values, criterion="style")])
    b = Signal.concat([signal(values, rater="y"), signal(values, rater="z")])
    found = compare_ratings(a, b, seed=0)
    assert found["criteria"] == ["overall"]
    assert [(pair["a"], pair["b"]) for pair in found["pairs"]] == [("y", "y"), ("x", "y"), ("x", "z"), ("y", "z")]
    assert all(pair["agreement"]["exact"][0] == 1 for pair in found["pairs"])
    assert all(pair["most_changed"] == [] for pair in found["pairs"])


def test_states_that_changed_are_counted_and_never_take_part_in_agreement() -> None:
    a = signal({"both": 4, "lost": 5, "found": None, "gone": 1})
    b = signal({"both": 4, "lost": None, "found": 2, "new": 3})
    found = compare_ratings(a, b, seed=0)
    [pair] = found["pairs"]
    assert found["units"] == {"shared": 3, "only_a": 1, "only_b": 1}
    assert pair["statuses"] == [["ok", "ok", 1], ["ok", "refused", 1], ["refused", "ok", 1]]
    assert pair["status_changed"] == 2
    assert pair["agreement"]["n"] == 1
    assert pair["agreement"]["exact"] == [None, None, None]


def test_a_shared_unit_that_one_rater_does_not_hold_is_absent() -> None:
    a = Signal.concat([signal({"u": 1}, rater="x"), signal({"v": 1}, rater="y")])
    found = compare_ratings(a, signal({"u": 1, "v": 2}), seed=0)
    assert found["pairs"][0]["statuses"] == [["absent", "ok", 1], ["ok", "ok", 1]]


def test_units_that_changed_most_come_first_and_are_at_most_twenty() -> None:
    a = signal({f"u{i:03d}": 5.0 for i in range(60)})
    b = signal({f"u{i:03d}": 5.0 + (i % 2 * 2 - 1) * i / 10 for i in range(60)})
    most = compare_ratings(a, b, seed=0)["pairs"][0]["most_changed"]
    assert [row["unit_id"] for row in most] == [f"u{i:03d}" for i in range(59, 39, -1)]
    assert most[1] == {"unit_id": "u058", "a": 5.0, "b": pytest.approx(-0.8), "change": pytest.approx(-5.8)}


def test_joint_table_of_whole_ratings_only() -> None:
    draw = np.random.default_rng(0)
    x, y = draw.integers(1, 4, 100), draw.integers(2, 6, 100)
    a, b = (signal({f"u{i}": float(v) for i, v in enumerate(values)}) for values in (x, y))
    joint = compare_ratings(a, b, seed=0)["pairs"][0]["joint"]
    assert joint["levels_a"] == [1, 2, 3]
    assert joint["levels_b"] == [2, 3, 4, 5]
    for i, one in enumerate(joint["levels_a"]):
        for j, two in enumerate(joint["levels_b"]):
            assert joint["counts"][i][j] == int(((x == one) & (y == two)).sum())
    between = signal({f"u{i}": v + 0.25 for i, v in enumerate(y)})
    assert compare_ratings(a, between, seed=0)["pairs"][0]["joint"] is None


def test_nothing_shared_is_an_error_that_says_what_was_found() -> None:
    with pytest.raises(DataError, match=r"share no unit: the first holds 1, e\.g\. 'x'"):
        compare_ratings(signal({"x": 1}), signal({"y": 1}), seed=0)
    with pytest.raises(DataError, match="share no criterion"):
        compare_ratings(signal({"x": 1}), signal({"x": 1}, criterion="style"), seed=0)
    with pytest.raises(DataError, match="share no unit"):
        compare_selections(selection({"x": "keep"}), selection({"y": "keep"}))


def test_selections_overlap_and_changes() -> None:
    a = selection(
        {"p": "keep", "q": "drop", "r": "keep", "s": None, "only": "keep"},
        score=[0.9, 0.1, 0.8, None, 0.5], rank=[1, None, 0, None, 2], reason=["pa", "qa", "ra", None, "oa"],
    )  # fmt: skip
    b = selection(
        {"p": "drop", "q": "keep", "r": "drop", "s": "keep", "new": "keep"},
        score=[0.2, 0.9, 0.1, 0.5, 0.7], reason=["pb", "qb", "rb", "sb", "nb"],
    )  # fmt: skip
    found = compare_selections(a, b)
    assert found["units"] == {"shared": 4, "only_a": 1, "only_b": 1}
    assert found["chosen"] == {"both": 0, "only_a": 3, "only_b": 3, "jaccard": 0.0}
    assert found["scores"]["n"] == 3
    assert found["scores"]["spearman"][0] == pytest.approx(-0.5)
    assert found["decisions"] == [["keep", "drop", 2], ["drop", "keep", 1], ["undecided", "keep", 1]]
    assert found["changed"] == 4
    assert [row["unit_id"] for row in found["first_changed"]] == ["r", "p", "q", "s"]
    assert found["first_changed"][3] == {
        "unit_id": "s", "a": "undecided", "b": "keep", "reason_a": None, "reason_b": "sb"
    }  # fmt: skip


def test_equal_selections_and_empty_choices() -> None:
    decisions: dict[str, str | None] = {f"u{i}": "keep" if i % 2 else "drop" for i in range(60)}
    found = compare_selections(selection(decisions), selection(decisions))
    assert (found["chosen"]["jaccard"], found["changed"], found["first_changed"]) == (1.0, 0, [])
    nothing: dict[str, str | None] = dict.fromkeys(decisions, "drop")
    assert compare_selections(selection(nothing), selection(nothing))["chosen"]["jaccard"] is None
    assert len(compare_selections(selection(decisions), selection(nothing))["first_changed"]) == 20


def test_results_are_json_and_the_same_each_time() -> None:
    draw = np.random.default_rng(0)
    a, b = (signal({f"u{i}": float(v) for i, v in enumerate(draw.integers(1, 6, 80))}) for _ in range(2))
    found = compare_ratings(a, b, seed=3)
    assert json.dumps(found, allow_nan=False) == json.dumps(compare_ratings(a, b, seed=3), allow_nan=False)
    one = selection({"x": None, "y": None})
    json.dumps(compare_selections(one, one), allow_nan=False)
