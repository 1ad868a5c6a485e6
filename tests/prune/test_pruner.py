"""Which layers go: how many, which are spared, and what is said about each."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.errors import DataError, RecipeError
from tamis.prune import LayerPruner, LayerScores

NAN = float("nan")


def scores(*values, criterion="bi"):
    return LayerScores.of(values, criterion=criterion)


def rows(fitted):
    return {row["unit_id"]: row for row in fitted.select().frame.to_dicts()}


class TestHowMany:
    @pytest.mark.parametrize(
        ("ratio", "n", "k"),
        [(0.25, 32, 8), (0.25, 26, 6), (0.25, 30, 7), (0.5, 32, 16), (0.25, 4, 1), (0.999, 10, 9), (0.1, 30, 3),
         (0.29, 100, 29), (0.58, 50, 29), (0.55, 20, 11), (0.57, 100, 57)],
    )  # fmt: skip
    def test_the_floor_of_the_ratio(self, ratio, n, k):
        assert LayerPruner(ratio=ratio).count(n) == k

    @pytest.mark.parametrize("percent", range(1, 100))
    def test_of_hundred_layers_so_many_percent(self, percent):
        assert LayerPruner(ratio=percent / 100).count(100) == percent

    def test_a_number_wins(self):
        assert LayerPruner(ratio=0.9, n_drop=1).count(8) == 1

    @pytest.mark.parametrize(("given", "n"), [({"n_drop": 8}, 8), ({"n_drop": 9}, 8), ({}, 3), ({"ratio": 0.01}, 8)])
    def test_none_and_all_are_refused(self, given, n, one_sentence):
        with one_sentence(RecipeError, f"Of {n} layers", "at least one"):
            LayerPruner(**given).fit(scores(*range(n)))

    def test_one_layer_is_too_few(self, one_sentence):
        with one_sentence(DataError, "at least two layers"):
            LayerPruner(n_drop=1).fit(scores(1.0))


class TestWhich:
    def test_lowest_scores_and_of_equal_ones_the_lower_index(self):
        fitted = LayerPruner(n_drop=2).fit(scores(0.5, 0.1, 0.1, 0.1, 0.9))
        assert (fitted.dropped_, fitted.kept_, fitted.order_) == ((1, 2), (0, 3, 4), (1, 2, 3, 0, 4))

    def test_protected_layers_stay_however_low(self):
        fitted = LayerPruner(n_drop=2, protect_first=1, protect_last=1, protect=(2,)).fit(
            scores(0.0, 0.5, 0.0, 0.4, 0.6, 0.0)
        )
        assert fitted.dropped_ == (1, 3)
        assert fitted.protected_.tolist() == [True, False, True, False, False, True]
        assert not set(fitted.order_) & {0, 2, 5}

    def test_protection_that_leaves_just_enough(self):
        assert LayerPruner(n_drop=2, protect_first=2, protect_last=4).fit(scores(*range(8))).dropped_ == (2, 3)

    @pytest.mark.parametrize("given", [{"protect_first": 6}, {"protect_last": 7}, {"protect": (0, 1, 2, 3, 4, 5)},
                                       {"protect_first": 99}, {"protect_first": 4, "protect_last": 3}])  # fmt: skip
    def test_too_few_free_layers(self, given, one_sentence):
        with one_sentence(RecipeError, "3 of 8 layers are to go", "protected", "protect fewer or drop fewer"):
            LayerPruner(n_drop=3, **given).fit(scores(*range(8)))

    def test_too_few_measured_layers(self, one_sentence):
        with one_sentence(RecipeError, "1 are protected and 2 have no score, which leaves 1"):
            LayerPruner(n_drop=2, protect_last=1).fit(scores(NAN, 1.0, NAN, 2.0))

    def test_a_protected_layer_without_a_score_counts_once(self):
        fitted = LayerPruner(n_drop=2, protect_first=1).fit(scores(NAN, 1.0, 2.0, 3.0))
        assert (fitted.dropped_, fitted.undecided_) == ((1, 2), (0,))

    def test_reverse_is_the_last_ones_whatever_the_scores(self):
        fitted = LayerPruner(n_drop=3, rank_by="reverse").fit(scores(*range(8)))
        assert fitted.dropped_ == (5, 6, 7)
        assert fitted.order_ == (7, 6, 5, 4, 3, 2, 1, 0)

    def test_random_is_seeded_and_touches_no_global_state(self):
        before = np.random.get_state()[1].tolist()
        cuts = {seed: LayerPruner(n_drop=8, rank_by="random", seed=seed).fit(scores(*range(32))) for seed in range(9)}
        assert np.random.get_state()[1].tolist() == before
        assert len({each.dropped_ for each in cuts.values()}) == 9
        again = LayerPruner(n_drop=8, rank_by="random", seed=3).fit(scores(*reversed(range(32))))
        assert again.dropped_ == cuts[3].dropped_

    def test_more_random_layers_hold_the_fewer(self):
        few, many = (LayerPruner(n_drop=k, rank_by="random").fit(scores(*range(16))).dropped_ for k in (3, 7))
        assert set(few) < set(many)


class TestUnmeasured:
    def test_is_neither_kept_nor_dropped(self):
        fitted = LayerPruner(n_drop=2).fit(scores(0.3, NAN, 0.1, 0.2, NAN))
        assert (fitted.dropped_, fitted.kept_, fitted.undecided_) == ((2, 3), (0,), (1, 4))
        own = rows(fitted)["layer-001"]
        assert (own["decision"], own["score"], own["rank"]) == (None, None, None)
        assert "no finite score" in own["reason"]

    @pytest.mark.parametrize("rank_by", ["score", "reverse", "random"])
    def test_by_any_ranking(self, rank_by):
        fitted = LayerPruner(n_drop=2, rank_by=rank_by).fit(scores(0.3, 0.2, 0.1, NAN))
        assert fitted.undecided_ == (3,)
        assert 3 not in {*fitted.dropped_, *fitted.kept_, *fitted.order_}

    def test_nothing_measured(self, one_sentence):
        with one_sentence(DataError, "None of the 3 layers has a score", "'bi'"):
            LayerPruner(n_drop=1).fit(scores(NAN, NAN, NAN))


class TestWhatIsSaid:
    def test_decision_rank_score_and_reason(self):
        said = rows(LayerPruner(n_drop=2, protect_first=1).fit(scores(0.0, 0.2, 0.1, 0.3)))
        assert [said[f"layer-{i:03d}"]["decision"] for i in range(4)] == ["keep", "drop", "drop", "keep"]
        assert [said[f"layer-{i:03d}"]["score"] for i in range(4)] == [0.0, 0.2, 0.1, 0.3]
        assert [said[f"layer-{i:03d}"]["rank"] for i in range(4)] == [3, 1, 2, 0]
        assert [said[f"layer-{i:03d}"]["reason"] for i in range(4)] == [
            "protected", "bi: number 2 of 2 to go", "bi: number 1 of 2 to go", "bi: behind the 2 that go",
        ]  # fmt: skip
        assert {row["step"] for row in said.values()} == {"decide"}

    def test_a_baseline_is_named(self):
        said = rows(LayerPruner(n_drop=1, rank_by="reverse").fit(scores(0.0, 0.2)))
        assert said["layer-001"]["reason"] == "reverse: number 1 of 1 to go"


class TestParameters:
    @pytest.mark.parametrize(
        ("given", "words"),
        [({"ratio": 0}, "(0, 1)"), ({"ratio": 1.0}, "(0, 1)"), ({"ratio": NAN}, "(0, 1)"), ({"ratio": "a"}, "(0, 1)"),
         ({"ratio": True}, "(0, 1)"), ({"n_drop": 0}, "[1, inf)"), ({"n_drop": 2.0}, "[1, inf)"),
         ({"n_drop": True}, "[1, inf)"), ({"protect_first": -1}, "[0, inf)"), ({"protect_last": None}, "[0, inf)"),
         ({"protect": (9,)}, "layers from 0 to 3"), ({"protect": (-1,)}, "layers from 0 to 3"),
         ({"protect": 3}, "a tuple of layers"), ({"protect": ("1",)}, "a tuple of layers"),
         ({"protect": "12"}, "a tuple of layers"), ({"rank_by": "bi"}, "'reverse'"), ({"seed": 1.5}, "an int")],
    )  # fmt: skip
    def test_one_sentence(self, given, words, one_sentence):
        with one_sentence(RecipeError, f"The {next(iter(given))!r} parameter of LayerPruner", words):
            LayerPruner(**given).fit(scores(1.0, 2.0, 3.0, 4.0))
