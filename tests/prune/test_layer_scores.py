"""Scores of layers: a table that is whole or refused, and files that come back as they went."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from tamis.errors import DataError
from tamis.prune import LayerScores
from tamis.prune.layer_scores import scores_from_file


def frame(layers, scores, **more):
    return pl.DataFrame({"layer": layers, "score": scores, **more})


class TestOrder:
    def test_lowest_first_and_of_equal_ones_the_lower_index(self):
        assert LayerScores.of([0.2, 0.1, 0.2, 0.1], criterion="x").order == (1, 3, 0, 2)

    def test_the_order_of_rows_means_nothing(self):
        one = LayerScores(frame([2, 0, 1], [0.1, 0.1, 0.3]), criterion="x")
        assert one == LayerScores(frame([0, 1, 2], [0.1, 0.3, 0.1]), criterion="x")
        assert one.order == (0, 2, 1)

    def test_a_given_order_wins_over_scores(self):
        scores = LayerScores.of([0.1, 0.2, 0.3], criterion="sleb", order=(2, 0, 1))
        assert scores.order == (2, 0, 1)
        assert scores.frame["rank"].to_list() == [1, 2, 0]

    def test_minus_zero_and_zero_are_equal(self):
        assert LayerScores.of([0.0, -0.0, -1.0], criterion="x").order == (2, 0, 1)

    @pytest.mark.parametrize("missing", [float("nan"), float("inf"), -float("inf"), None])
    def test_what_is_no_number_has_no_place(self, missing):
        scores = LayerScores(frame([0, 1, 2], [0.3, missing, 0.1]), criterion="x")
        assert scores.order == (2, 0)
        assert scores.frame["score"].to_list() == [0.3, None, 0.1]
        assert scores.frame["rank"][1] is None
        assert len(scores) == 3

    def test_a_missing_score_takes_the_rank_with_it(self):
        scores = LayerScores(frame([0, 1, 2], [0.3, None, 0.1], rank=[2, 0, 1]), criterion="sleb")
        assert scores.frame["rank"].to_list() == [2, None, 1]
        assert scores.order == (2, 0)

    def test_whole_numbers_and_numbers_as_text(self):
        assert LayerScores(frame([0.0, 1.0], [3, 2]), criterion="x").order == (1, 0)
        assert LayerScores(frame(["0", "1"], ["3", "2.5"]), criterion="x").order == (1, 0)


class TestRefused:
    @pytest.mark.parametrize(
        ("given", "words"),
        [(frame([0, 1, 1], [1.0, 2.0, 3.0]), ("layer 1 is there more than once",)),
         (frame([0, 1, 3], [1.0, 2.0, 3.0]), ("3 rows", "none of layer 2")),
         (frame([1, 2, 3], [1.0, 2.0, 3.0]), ("from layer 1 to 3", "none of layer 0")),
         (frame([-1, 0], [1.0, 2.0]), ("from layer -1",)),
         (frame([], []), ("got none",)),
         (frame([0, 1], ["a", "b"]), ("must be numbers",)),
         (pl.DataFrame({"layer": [0]}), ("the column 'score'",)),
         (pl.DataFrame({"score": [0.0]}), ("the column 'layer'",)),
         (frame([0, 1], [1.0, 2.0], rank=[0, 0]), ("a rank of its own",)),
         (frame([0, 1], [1.0, 2.0], rank=[0, None]), ("a rank of its own",))],
    )  # fmt: skip
    def test_tables(self, given, words, one_sentence):
        with one_sentence(DataError, *words):
            LayerScores(given, criterion="x")

    @pytest.mark.parametrize(
        ("name", "content"),
        [("a.csv", ""), ("a.csv", "\0\0"), ("a.json", "[1, 2]"), ("a.json", "{"), ("a.json", '{"layers": 3}'),
         ("a.json", "{}"), ("a.csv", "layer;score\n0;1\n"), ("a.csv", "layer,score\n0,high\n1,low\n"),
         ("a.json", '{"layers": [{"layer": 0, "score": "x"}]}'), ("a.json", '{"layers": []}'), ("a.csv", None)],
    )  # fmt: skip
    def test_files(self, tmp_path, name, content, one_sentence):
        if content is not None:
            (tmp_path / name).write_text(content)
        with one_sentence(DataError):
            LayerScores.read(tmp_path / name)

    def test_scores_of_another_model(self, tmp_path, one_sentence):
        LayerScores.of([1.0, 2.0], criterion="bi").write(tmp_path / "a.csv")
        with one_sentence(DataError, "2 layers", "the model has 8"):
            scores_from_file(tmp_path / "a.csv", 8)


class TestFiles:
    SCORES = LayerScores.of([0.1, float("nan"), 1 / 3, 0.1], criterion="sleb", order=(3, 0, 2, 1))

    @pytest.mark.parametrize("name", ["a.csv", "a.json"])
    def test_come_back_to_the_bit(self, tmp_path, name):
        self.SCORES.write(tmp_path / name, kept=(0, 2), seed=42)
        read = LayerScores.read(tmp_path / name)
        assert read == self.SCORES
        assert read.order == (3, 0, 2)

    def test_json_says_what_it_is(self, tmp_path):
        self.SCORES.write(tmp_path / "a.json", kept=(0, 2), seed=42)
        found = json.loads((tmp_path / "a.json").read_text())
        assert (found["criterion"], found["seed"]) == ("sleb", 42)
        assert found["layers"][1] == {"layer": 1, "score": None, "rank": None, "kept": False}

    def test_a_table_of_ones_own(self, tmp_path):
        (tmp_path / "mine.csv").write_text("score,layer\n0.5,1\nNaN,0\n0.25,2\n")
        read = LayerScores.read(tmp_path / "mine.csv")
        assert (read.criterion, read.order) == ("mine", (2, 1))

    def test_a_file_used_again_and_again_keeps_its_name(self, tmp_path):
        scores = LayerScores.of([1.0, 2.0], criterion="bi")
        for _ in range(3):
            scores.write(tmp_path / "a.csv")
            scores = scores_from_file(tmp_path / "a.csv", 2)
        assert scores.criterion == "bi, file"


def test_take_keeps_the_whole():
    scores = LayerScores.of(np.array([3.0, 1.0, 2.0]), criterion="x")
    assert scores.take([2, 0, 1]) == scores
    assert scores.unit_ids == ["layer-000", "layer-001", "layer-002"]
    assert scores != LayerScores.of([3.0, 1.0, 2.0], criterion="y")
