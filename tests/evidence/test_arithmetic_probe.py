"""Sums that a model has to write out: what is asked, and what counts as solved."""

from __future__ import annotations

import re

import pytest

from tamis.evidence.arithmetic_probe import Sum, solved_share, sums
from tamis.evidence.resampling import share_interval


def test_the_questions_hold_their_answers():
    asked = sums(200, seed=1)
    assert len(asked) == 200
    for each in asked:
        a, b = map(int, re.findall(r"\d+", each.question))
        assert a + b == each.answer
        assert 1 <= min(a, b) <= max(a, b) < 20
    assert len({each.question for each in asked}) > 100


def test_the_seed_decides_what_is_asked():
    assert sums(20, seed=1) == sums(20, seed=1) != sums(20, seed=2)
    assert sums(5, seed=1) == sums(20, seed=1)[:5]
    assert sums(0, seed=1) == []


@pytest.mark.parametrize(
    ("reply", "solved"),
    [
        ("12", True), ("12.", True), (" 12\n", True), ("7 + 5 = 12", True), ("7+5=12", True),
        ("The answer is 12.", True), ("**12**", True), ("$12$", True), ("The sum is:\n12", True), ("\n\n12\n5", True),
        ("13", False), ("", False), ("twelve", False), ("-12", False), ("120", False), ("1 2", False),
        ("12 or 13", False), ("13\n12", False), ("5 + 7", False),
    ],
)  # fmt: skip
def test_what_counts_as_solved(reply, solved):
    assert Sum("What is 7 + 5?", 12).solved(reply) is solved


def test_a_thousands_comma_is_no_border():
    assert Sum("", 1234).solved("1,234")


def test_decimals_of_zero_do_not_make_another_number():
    assert Sum("", 12).solved("12.0")
    assert not Sum("", 5).solved("12.5")


def test_the_share_has_a_wilson_interval():
    asked = sums(10, seed=0)
    wrong = {3, 7}

    def write(questions):
        assert questions == [each.question for each in asked]
        return [f"I say {each.answer + (i in wrong)}" for i, each in enumerate(asked)]

    assert solved_share(asked, write) == share_interval(8, 10)


def test_a_model_that_gives_too_few_replies_is_an_error():
    with pytest.raises(ValueError, match="shorter"):
        solved_share(sums(3, seed=0), lambda questions: questions[:2])
