"""From several scores to one cut: the lowest perplexity wins, of equal ones the earlier."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tamis.errors import DataError, RecipeError
from tamis.prune import LayerScores
from tamis.prune.choosing import choose
from tamis.prune.settings import PruneSettings

REVERSE = LayerScores.of([5.0, 4.0, 3.0, 2.0, 1.0, 0.0], criterion="reverse")
BI = LayerScores.of([0.5, 0.1, 0.2, 0.3, 0.6, 0.7], criterion="bi")
SETTINGS = PruneSettings(model="m", n_drop=2, curve=2)


class Losses:
    """Nats a token of each cut, as a function of the layers dropped; remembers what it was asked."""

    def __init__(self, nats):
        self.nats, self.asked = nats, []

    def __call__(self, name, cuts):
        self.asked.append((name, list(cuts)))
        return [
            pl.DataFrame({"unit_id": ["a", "b"], "loss": [self.nats(set(cut)) * 3, self.nats(set(cut)) * 5],
                          "tokens": [3, 5]})
            for cut in cuts
        ]  # fmt: skip


def go(scores, nats, settings=SETTINGS):
    losses = Losses(nats)
    return choose(scores, settings, 42, losses=losses), losses.asked


class TestCandidates:
    def test_the_lowest_perplexity_wins(self):
        chosen, asked = go([REVERSE, BI], lambda cut: 3.0 if 5 in cut else 1.0)
        assert chosen.scores is BI
        assert chosen.pruner.dropped_ == (1, 2)
        assert [each["perplexity"][0] for each in chosen.candidates] == pytest.approx([np.exp(3), np.exp(1)])
        assert [each["dropped"] for each in chosen.candidates] == [[4, 5], [1, 2]]
        assert asked[0] == ("candidates", [(), (4, 5), (1, 2)])
        assert chosen.dense[0] == pytest.approx(np.exp(1))

    def test_of_equal_ones_the_earlier(self):
        for order in ([REVERSE, BI], [BI, REVERSE]):
            assert go(order, lambda cut: 2.0)[0].scores is order[0]

    def test_one_criterion_is_compared_with_none(self):
        chosen, asked = go([BI], len)
        assert chosen.candidates == []
        assert [name for name, _ in asked] == ["curve"]

    def test_the_table_holds_every_criterion(self):
        table = go([REVERSE, BI], len)[0].table()
        assert table.columns == ["layer", "unit_id", "reverse", "bi"]
        assert table["bi"].to_list() == BI.frame["score"].to_list()

    def test_a_cut_without_a_finite_loss_never_wins(self):
        chosen, _ = go([REVERSE, BI], lambda cut: float("nan") if 5 in cut else 1.0 + len(cut))
        assert chosen.scores is BI
        assert [each["criterion"] for each in chosen.candidates] == ["bi"]
        assert chosen.broken == ["reverse"]

    def test_none_or_the_uncut_model_without_a_finite_loss(self, one_sentence):
        with one_sentence(DataError, "No cut of the 2 candidates gives a finite loss", "--dtype float32"):
            go([REVERSE, BI], lambda cut: float("nan") if cut else 1.0)
        for scores in ([REVERSE, BI], [BI]):
            with one_sentence(DataError, "The uncut model gives no finite loss"):
                go(scores, lambda cut: float("nan"))

    def test_without_texts(self):
        chosen = choose([BI], SETTINGS, 42, losses=lambda name, cuts: None)
        assert (chosen.dense, chosen.curve, chosen.pruner.dropped_) == (None, [], (1, 2))


class TestCurve:
    def test_layers_go_in_the_chosen_order(self):
        chosen, asked = go([BI], len)
        assert asked == [("curve", [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 0)])]
        assert [(each["dropped"], each["layer"]) for each in chosen.curve] == [
            (0, None),
            (1, 1),
            (2, 2),
            (3, 3),
            (4, 0),
        ]
        assert [each["perplexity"][0] for each in chosen.curve] == pytest.approx(np.exp(range(5)))
        assert chosen.dense == chosen.curve[0]["perplexity"]

    def test_it_ends_where_no_layer_may_go(self):
        chosen, _ = go([BI], len, PruneSettings(model="m", n_drop=2, curve=9, protect="0,5"))
        assert [each["layer"] for each in chosen.curve] == [None, 1, 2, 3, 4]

    def test_none_is_drawn_for_a_given_list_or_where_a_layer_is_undecided(self):
        given = LayerScores.of([1.0, 0.0, 0.0, 1.0, 1.0, 1.0], criterion="given")
        assert go([given], len)[1] == []
        chosen, asked = go([LayerScores.of([1.0, 0.0, float("nan"), 1.0, 1.0, 0.5], criterion="bi")], len)
        assert (asked, chosen.curve, chosen.pruner.undecided_) == ([], [], (2,))

    def test_a_cut_that_breaks_the_model_is_told(self):
        chosen, _ = go([BI], lambda cut: float("nan") if len(cut) > 1 else 1.0)
        assert [each["dropped"] for each in chosen.curve] == [0, 1]
        assert chosen.broken == ["bi"]


def test_a_criterion_with_too_few_free_layers(one_sentence):
    ppl = LayerScores.of(range(6), criterion="ppl")
    with one_sentence(RecipeError, "2 of 6 layers are to go, but 6 are protected"):
        go([ppl], len)
