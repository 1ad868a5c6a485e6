"""Brackets that a model has to close: the questions, and what counts as an answer."""

from __future__ import annotations

import pytest

from tamis.evidence.bracket_probe import PAIRS, Brackets, brackets


def opened(question):
    return question[question.rindex(":") + 1 :].split()


def test_each_answer_closes_its_question():
    asked = brackets(200, seed=1)
    for each in asked:
        assert each.answer == "".join(PAIRS[bracket] for bracket in reversed(opened(each.question)))
        assert each.solved(each.answer)
        assert each.solved("".join(opened(each.question)) + each.answer)
    assert {len(each.answer) for each in asked} == {1, 2, 3, 4}
    assert set("".join(each.answer for each in asked)) == set(")]}")


def test_seeds():
    assert brackets(20, seed=1) == brackets(20, seed=1)
    assert brackets(20, seed=1) != brackets(20, seed=2)
    assert brackets(0, seed=1) == []


@pytest.mark.parametrize(
    ("reply", "solved"),
    [("]})", True), ("] } )", True), ("]\n}\n)", True), ("The answer is: ]}).", True), ("({[]})", True),
     ("]})]})", True), ("", False), ("]}", False), (")}]", False), ("({[", False), ("({[)}]", False),
     ("()[]{}", False), ("( { [", False), ("]}}", False), ("no brackets", False), ("({[({[]})", False)],
)  # fmt: skip
def test_replies(reply, solved):
    assert Brackets("Close these: ( { [", "]})").solved(reply) is solved


def test_an_answer_is_hard_to_guess():
    asked = brackets(500, seed=3)
    for always in (")", "]", "}", ")]}"):
        assert sum(each.solved(always) for each in asked) < 0.2 * len(asked)
