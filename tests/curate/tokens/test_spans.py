"""Runs of tokens with one decision, and records, as selections."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.curate.tokens.spans import KEEP, MASK, UNMEASURED, record_selection, span_selection
from tamis.data.token_rows import TokenRows

#       a: prompt, kept, kept, masked   b: prompt, kept, lost, prompt, kept   c: prompt   d: prompt, masked, masked
CODES = [[None, 1, 1, 0], [None, 1, 2, None, 1], [None], [None, 0, 0], [None, 2], [None, 1]]


def world(codes=CODES, names="abcdef"):
    flags = [[code is not None for code in row] for row in codes]
    rows = TokenRows.from_lists(list(names)[: len(codes)], [[9] * len(row) for row in codes], flags)
    flat = [code for row in codes for code in row]
    state = np.array([0 if code is None else code for code in flat], dtype=np.int8)
    score = np.array([np.nan if code in (None, 2) else i + code for i, code in enumerate(flat)], dtype=np.float32)
    return rows, state, score, rows.response.copy()


def by_id(selection):
    return {row["unit_id"]: row for row in selection.frame.to_dicts()}


class TestSpans:
    def test_they_are_as_long_as_they_go_within_a_record(self):
        found = by_id(span_selection(*world()))
        assert {name: row["decision"] for name, row in found.items()} == {
            "a[1:3]": "keep", "a[3:4]": "mask", "b[1:2]": "keep", "b[2:3]": None, "b[4:5]": "keep", "d[1:3]": "mask",
            "e[1:2]": None, "f[1:2]": "keep",
        }  # fmt: skip

    def test_the_score_is_the_mean_of_the_tokens(self):
        rows, state, score, candidate = world()
        found = by_id(span_selection(rows, state, score, candidate))
        assert found["a[1:3]"]["score"] == score[1:3].mean()
        assert found["d[1:3]"]["score"] == score[11:13].mean()
        assert found["b[2:3]"]["score"] is None
        assert found["e[1:2]"]["score"] is None

    def test_each_has_a_reason_and_a_step(self):
        found = by_id(span_selection(*world()))
        assert {row["reason"] for row in found.values()} == {
            "among the tokens kept", "below the cut", "no loss could be measured"
        }  # fmt: skip
        assert {row["step"] for row in found.values()} == {"tokens"}

    def test_equal_decisions_of_neighbouring_records_do_not_merge(self):
        rows, state, score, candidate = world([[1, 1], [1, 1]])
        assert list(by_id(span_selection(rows, state, score, candidate))) == ["a[0:2]", "b[0:2]"]

    def test_none(self):
        rows, state, score, candidate = world([[None], [None, None]])
        assert len(span_selection(rows, state, score, candidate)) == 0

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.lists(st.sampled_from([None, KEEP, MASK, UNMEASURED]), min_size=1, max_size=9), min_size=1,
                    max_size=6))  # fmt: skip
    def test_together_they_are_the_states(self, codes):
        rows, state, score, candidate = world(codes)
        decided = {}
        for name, row in by_id(span_selection(rows, state, score, candidate)).items():
            start, stop = map(int, name[2:-1].split(":"))
            for j in range(start, stop):
                assert (name[0], j) not in decided
                decided[name[0], j] = row["decision"]
        code = {KEEP: "keep", MASK: "mask", UNMEASURED: None}
        assert decided == {
            ("abcdef"[i], j): code[each]
            for i, row in enumerate(codes)
            for j, each in enumerate(row)
            if each is not None
        }


class TestRecords:
    def test_decisions(self):
        found = by_id(record_selection(*world()))
        assert {name: row["decision"] for name, row in found.items()} == {
            "a": "mask", "b": "mask", "c": None, "d": "drop", "e": None, "f": "keep"
        }  # fmt: skip

    def test_reasons(self):
        found = by_id(record_selection(*world()))
        assert {name: row["reason"] for name, row in found.items()} == {
            "a": "2 of 3 tokens kept",
            "b": "2 of 3 tokens kept; 1 without a loss",
            "c": "no token to train on: it has no answer, or the answer lies behind the maximum length",
            "d": "0 of 2 tokens kept",
            "e": "no loss could be measured",
            "f": "1 of 1 tokens kept",
        }

    def test_the_score_is_the_mean_of_what_was_measured(self):
        rows, state, score, candidate = world()
        found = by_id(record_selection(rows, state, score, candidate))
        assert found["a"]["score"] == pytest.approx(score[1:4].mean())
        assert found["b"]["score"] == pytest.approx((score[5] + score[8]) / 2)
        assert [name for name, row in found.items() if row["score"] is None] == ["c", "e"]

    def test_a_missing_measurement_never_drops_a_record(self):
        """Nothing kept and something lost: what was measured decides, and the rest is told."""
        rows, state, score, candidate = world([[None, 0, 2], [None, 2, 2]])
        found = by_id(record_selection(rows, state, score, candidate))
        assert found["b"]["decision"] is None
        assert "1 without a loss" in found["a"]["reason"]

    def test_no_records(self):
        rows = TokenRows.from_lists([], [], [])
        none = np.zeros(0, np.int8), np.zeros(0, np.float32), np.zeros(0, bool)
        assert len(record_selection(rows, *none)) == len(span_selection(rows, *none)) == 0
