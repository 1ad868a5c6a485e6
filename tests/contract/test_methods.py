"""What every method promises, whatever it does: the manners of its class, and its place in the house."""

from __future__ import annotations

import copy
import inspect
from pathlib import Path

import numpy as np
import pytest

from tamis.data import read
from tamis.errors import DataError, RecipeError
from tamis.registry import METHODS

ROOT = Path(__file__).parents[2]


class TestConstructor:
    def test_only_the_budget_may_be_positional(self, world):
        for name, parameter in list(inspect.signature(world.estimator.__init__).parameters.items())[1:]:
            if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
                assert name == "budget"
            else:
                assert parameter.kind is inspect.Parameter.KEYWORD_ONLY, name
                assert parameter.default is not inspect.Parameter.empty, name

    def test_it_stores_exactly_what_it_is_given_and_does_no_work(self, world):
        names = world.estimator.parameter_names()
        anything = {name: object() for name in names}
        made = world.estimator(**anything)
        assert vars(made).keys() == anything.keys()
        for name in names:
            assert getattr(made, name) is anything[name], name

    def test_parameters_go_round(self, world):
        made = world.make(seed=5)
        again = world.estimator(**made.get_params())
        assert again.get_params() == made.get_params() == copy.deepcopy(made).get_params()
        assert again.set_params(seed=6) is again
        assert (again.seed, made.seed) == (6, 5)

    def test_scikit_learn_can_clone_it(self, world):
        from sklearn.base import clone

        made = world.make(seed=3)
        twin = clone(made)
        assert twin is not made
        assert twin.get_params() == made.get_params()

    def test_an_unknown_parameter_is_refused_with_a_suggestion(self, world, one_sentence):
        made = world.make()
        before = made.get_params()
        with pytest.raises(RecipeError, match=r"Did you mean 'seed'\?") as caught:
            made.set_params(sead=1)
        one_sentence(caught.value)
        assert made.get_params() == before

    def test_repr_shows_what_differs_from_the_defaults(self, world):
        shown = repr(world.make(seed=9))
        assert shown.startswith(f"{world.estimator.__name__}(")
        assert "seed=9" in shown

    def test_defaults_are_immutable(self, world):
        for name, parameter in inspect.signature(world.estimator.__init__).parameters.items():
            assert not isinstance(parameter.default, list | dict | set | np.ndarray), name


class TestSurfaces:
    def test_the_registry_names_a_class_of_its_own_name(self, method, world):
        assert METHODS[method].load() is world.estimator
        assert callable(METHODS[method].load_job())

    def test_it_has_a_page_in_the_docs(self, method):
        page = ROOT / METHODS[method].docs
        assert page.exists(), f"{page} is missing"
        text = page.read_text(encoding="utf-8")
        assert METHODS[method].paper.split()[-1] in text
        assert f"tamis {METHODS[method].verb}" in text

    def test_it_has_a_verb(self, method):
        from tamis.cli.app import app

        assert METHODS[method].verb in {command.name for command in (*app.registered_commands, *app.registered_groups)}

    def test_it_has_a_section_of_the_report(self, method):
        assert callable(METHODS[method].load_section())

    def test_every_parameter_is_documented(self, world):
        docs = inspect.getdoc(world.estimator)
        for name in world.estimator.parameter_names():
            assert f"\n{name} : " in docs, name


def test_an_empty_file_is_refused(one_sentence, tmp_path):
    (tmp_path / "pool.jsonl").write_text("")
    with pytest.raises(DataError, match="no usable rows") as caught:
        read(tmp_path / "pool.jsonl")
    one_sentence(caught.value)
