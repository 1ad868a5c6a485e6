"""What a run says of itself, counted again by hand; and the evidence and kinds of tokens that go with it."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from tamis.curate.tokens import TokenCleaner
from tamis.curate.tokens.evidence import LOSS, SHARE, token_evidence
from tamis.curate.tokens.findings import NEAR, findings
from tamis.curate.tokens.outcome import Outcome, merged_stages
from tamis.curate.tokens.token_classes import CLASSES, Vocabulary, token_class, valued_ngrams
from tamis.data import Table
from tamis.data.token_rows import TokenRows

WORDS = ["<pad>", "<s>", "<end>", " the", " cat", " sat", "42", " 7", ".", "\n", " +", "\ufffd", "", "'s", " on", "$"]
WORDS += [f" w{i}" for i in range(16, 30)]


class Words:
    """A tokenizer that knows a few words."""

    all_special_ids = [0, 1, 2]

    def batch_decode(self, rows, **_):
        return ["".join(WORDS[i] for i in row) for row in rows]


def outcome_of(rows, losses, **params):
    return Outcome.fixed(TokenCleaner(**params), rows, *losses)


def table_of(rows, **columns):
    n = len(rows)
    frame = pl.DataFrame({"id": rows.unit_ids, "prompt": [f"q{i}" for i in range(n)], "response": ["a"] * n, **columns})
    return Table.from_frame(frame, roles={"group": "source"} if "source" in columns else None)


@pytest.fixture
def found(rows, losses):
    """Outcome and findings of a ranking with a source and a few tokens that have no loss."""
    base = losses[0].copy()
    base[np.flatnonzero(rows.response)[:3]] = np.nan
    outcome = outcome_of(rows, (base, losses[1]), keep=0.5)
    table = table_of(rows, source=["web" if i % 3 else "book" for i in range(len(rows))])
    return outcome, findings(outcome, table, Vocabulary(Words(), rows.ids))


def test_they_are_json(found):
    text = json.dumps(found[1], allow_nan=False)
    assert json.loads(text) == found[1]


def test_what_was_kept(found):
    outcome, said = found
    kept, ranked, score = said["kept"], outcome.ranked, outcome.score
    decided = outcome.candidate & (outcome.state != 2)
    assert kept["tokens"] == outcome.mask.sum()
    assert kept["share"] == outcome.mask.sum() / decided.sum()
    assert kept["cut"] == outcome.cut
    assert kept["positive"][0] == pytest.approx((score[ranked] > 0).mean())
    near = np.abs(score[ranked] - np.float32(outcome.cut)) <= NEAR
    assert kept["near"][0] == pytest.approx(near.mean())
    assert kept["slope"] == pytest.approx(near.mean() / 0.02)
    assert kept["ties"] == (score[ranked] == np.float32(outcome.cut)).sum() - 1 > 0
    for name in ("positive", "near"):
        value, low, high = kept[name]
        assert 0 <= low <= value <= high <= 1


def test_the_density_counts_every_ranked_token(found):
    outcome, said = found
    density = said["density"]
    assert sum(density["counts"]) + density["below"] + density["above"] == outcome.ranked.sum()
    assert len(density["edges"]) == len(density["counts"]) + 1
    assert density["edges"] == sorted(density["edges"])


@pytest.mark.parametrize("value", [0.0, 3.5])
def test_a_density_of_equal_scores(rows, losses, value):
    outcome = outcome_of(rows, (losses[0], losses[0] - np.float32(value)))
    said = findings(outcome, table_of(rows), Vocabulary(Words(), rows.ids))
    assert sum(said["density"]["counts"]) + said["density"]["below"] + said["density"]["above"] == outcome.ranked.sum()


class TestShares:
    def shares(self, said, name):
        return {each["name"]: (each["tokens"], each["kept"][0]) for each in said["shares"][name]}

    def expected(self, outcome, group):
        decided = outcome.candidate & (outcome.state != 2)
        return {g: (int((decided & (group == g)).sum()), outcome.mask[decided & (group == g)].mean())
                for g in np.unique(group[decided])}  # fmt: skip

    def check(self, found, expected):
        assert {name: n for name, (n, _) in found.items()} == {name: n for name, (n, _) in expected.items()}
        for name, (_, share) in found.items():
            assert share == pytest.approx(expected[name][1])

    def test_by_source(self, found):
        outcome, said = found
        source = np.array(["web" if i % 3 else "book" for i in range(len(outcome.rows))])[outcome.rows.row_of]
        self.check(self.shares(said, "source"), self.expected(outcome, source))
        assert said["shares"]["source"][0]["name"] == "web", "the most frequent first"

    def test_by_class(self, found):
        outcome, said = found
        classes = np.array([token_class(WORDS[i], special=i < 3) for i in outcome.rows.ids.tolist()])
        self.check(self.shares(said, "class"), self.expected(outcome, classes))

    def test_by_role(self, rows, losses):
        outcome = outcome_of(rows, losses, with_prompt_tokens=True)
        said = findings(outcome, table_of(rows), Vocabulary(Words(), rows.ids))
        role = np.where(rows.response, "response", "prompt")
        self.check(self.shares(said, "role"), self.expected(outcome, role))

    def test_by_position(self):
        rows = TokenRows.from_lists(["a", "b"], [[1] * 21, [1] * 11], [[False] + [True] * 20, [False] + [True] * 10])
        base = np.concatenate([-np.arange(21.0), -np.arange(11.0)]).astype(np.float32)
        outcome = outcome_of(rows, (base, np.zeros_like(base)), scope="sample", keep=0.5)
        said = findings(outcome, table_of(rows), Vocabulary(Words(), rows.ids))
        shares = said["shares"]["position"]
        assert [each["name"] for each in shares] == [f"{10 * i} to {10 * i + 10} %" for i in range(10)]
        assert [each["tokens"] for each in shares] == [3] * 10
        assert [each["kept"][0] for each in shares] == [1.0] * 5 + [0.0] * 5

    def test_without_a_source(self, rows, losses):
        said = findings(outcome_of(rows, losses), table_of(rows), Vocabulary(Words(), rows.ids))
        assert said["shares"]["source"] == []


def test_emptied_records_are_named(rows, losses):
    base, reference = losses[0].copy(), losses[1].copy()
    empty = (rows.row_of == 1) | (rows.row_of == 4)
    base[empty] = reference[empty] - 9
    outcome = outcome_of(rows, (base, reference), keep=0.5)
    said = findings(outcome, table_of(rows), Vocabulary(Words(), rows.ids))
    kept = np.bincount(rows.row_of[outcome.mask], minlength=len(rows))
    answered = np.bincount(rows.row_of[rows.response], minlength=len(rows)) > 0
    names = rows.unit_ids.filter(pl.Series((kept == 0) & answered)).to_list()
    assert {rows.unit_ids[1], rows.unit_ids[4]} <= set(names) | set(rows.unit_ids.filter(pl.Series(~answered)))
    assert said["emptied"] == {"rows": len(names), "ids": names}


def test_strips_show_records_token_by_token(found):
    outcome, said = found
    rows = outcome.rows
    assert 1 < len(said["strips"]) <= 12
    assert len({each["unit_id"] for each in said["strips"]}) == len(said["strips"])
    for each in said["strips"]:
        row = rows.unit_ids.to_list().index(each["unit_id"])
        places = np.flatnonzero((rows.row_of == row) & outcome.candidate)
        assert each["tokens"] == [WORDS[i] for i in rows.ids[places].tolist()]
        assert each["keep"] == outcome.mask[places].tolist()
        assert each["score"] == [None if np.isnan(v) else pytest.approx(v, abs=1e-4) for v in outcome.score[places]]
        assert not each["cut_short"]
    means = [np.mean([v for v in each["score"] if v is not None]) for each in said["strips"]]
    assert means == sorted(means, reverse=True)


def test_long_records_and_prompts_are_cut_in_the_strips(rows):
    long = TokenRows.from_lists(["a", "b"], [[3] * 300, [4] * 200], [[False] + [True] * 299, [False] + [True] * 199])
    base = np.random.default_rng(0).random(500).astype(np.float32)
    table = Table.from_frame(pl.DataFrame({"id": ["a", "b"], "prompt": ["x" * 999, "y"], "response": ["", "r"]}))
    said = findings(outcome_of(long, (base, base / 2)), table, Vocabulary(Words(), long.ids))
    by = {each["unit_id"]: each for each in said["strips"]}
    assert len(by["a"]["tokens"]) == len(by["a"]["score"]) == 120
    assert by["a"]["cut_short"]
    assert by["a"]["prompt"] == "x" * 300 + "…"
    assert by["b"]["prompt"] == "y"


class TestNgrams:
    def test_runs_that_occur_in_several_records_are_valued(self):
        ids = [[1, 5, 6, 7, 8], [1, 5, 6, 7, 9], [1, 5, 6, 7, 4], [1, 8, 8, 8, 8]]
        rows = TokenRows.from_lists(list("abcd"), ids, [[False, *[True] * 4]] * 4)
        score = np.where(rows.response, np.arange(20) % 5, np.nan).astype(np.float32)
        most, least = valued_ngrams(rows.ids, score, score >= 3, rows.row_of)
        assert most["ids"].to_list() == [[5, 6, 7]], "8 8 8 stands in one record only, and no run crosses a border"
        assert most.row(0)[1:] == (3, 3, 2.0, 2.0, 2.0, pytest.approx(1 / 3))
        assert len(least) == 0

    def test_none(self):
        rows = TokenRows.from_lists(["a"], [[1, 2]], [[False, True]])
        most, least = valued_ngrams(rows.ids, np.zeros(2, np.float32), np.ones(2, bool), rows.row_of)
        assert len(most) == len(least) == 0

    def test_the_lists_do_not_overlap(self):
        rng = np.random.default_rng(0)
        ids = np.tile(rng.integers(0, 5, 30), 4).astype(np.int32)
        rows_of, score = np.repeat(np.arange(4), 30), rng.normal(size=120).astype(np.float32)
        most, least = valued_ngrams(ids, score, score > 0, rows_of, shown=9)
        assert len(most) == 9
        assert len(least) > 0
        assert most["score"].min() >= least["score"].max()
        assert least["score"].to_list() == sorted(least["score"])
        assert not {tuple(each) for each in most["ids"]} & {tuple(each) for each in least["ids"]}


@pytest.mark.parametrize(
    ("text", "name"),
    [(" the", "word"), ("é", "word"), ("日", "word"), ("42", "number"), ("½", "number"), (").", "punctuation"),
     ("'s", "punctuation"), (" +", "symbol"), ("$", "symbol"), ("\n\n", "white space"), (" ", "white space"),
     ("\ufffd", "part of a character"), (" \ufffd", "part of a character"), ("", "other"), ("\x00", "other")],
)  # fmt: skip
def test_kinds_of_tokens(text, name):
    assert token_class(text) == name
    assert name in CLASSES
    assert token_class(text, special=True) == "end of answer"


class TestEvidence:
    def test_losses_and_shares(self, found):
        outcome, _ = found
        frame = token_evidence(outcome).frame
        measured = outcome.candidate & np.isfinite(outcome.base) & np.isfinite(outcome.reference)
        splits = {"ranked tokens": measured, "kept tokens": measured & outcome.mask,
                  "masked tokens": measured & ~outcome.mask}  # fmt: skip
        for split, which in splits.items():
            row = frame.row(by_predicate=(pl.col("metric") == LOSS) & (pl.col("split") == split), named=True)
            assert row["before"] == pytest.approx(outcome.base[which].mean())
            assert row["after"] == pytest.approx(outcome.reference[which].mean())
            assert row["n"] == which.sum()
            assert row["low"] < row["after"] < row["high"]
        share = frame.row(by_predicate=pl.col("metric") == SHARE, named=True)
        assert share["after"] == pytest.approx(outcome.mask.sum() / outcome.candidate.sum())
        assert 0 <= share["low"] <= share["high"] <= 1

    def test_no_row_for_what_is_not_there(self, rows, losses):
        frame = token_evidence(outcome_of(rows, losses, keep=1.0)).frame
        assert "masked tokens" not in frame["split"].to_list()


def test_the_first_slice_counts_as_kept_and_as_not_ranked(rows, losses):
    half = np.arange(10), np.arange(10, 20)
    cleaner = TokenCleaner(keep=0.5)
    places = rows.places(half[1])
    cleaner.fit(rows.take(half[1]), base=losses[0][places], reference=losses[1][places])
    pieces = [(half[0], None, np.zeros(0, np.float32)), (half[1], cleaner, losses[1][places])]
    outcome = merged_stages(rows, losses[0], pieces)
    said = findings(outcome, table_of(rows), Vocabulary(Words(), rows.ids))
    first = int(rows.response[rows.places(half[0])].sum())
    assert said["kept"]["tokens"] == first + cleaner.mask_.sum()
    assert sum(said["density"]["counts"]) + said["density"]["below"] + said["density"]["above"] == len(places[
        rows.response[places]
    ])  # fmt: skip
    assert (said["kept"]["cut"], said["kept"]["near"]) == (None, [None, None, None])
    assert [each["kept"] for each in said["stages"]] == [first, int(cleaner.mask_.sum())]
    assert len(token_evidence(outcome).frame) == 4
