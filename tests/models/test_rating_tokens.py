"""Ratings as token sequences, against chain-rule probabilities of a language model that is a table."""

import numpy as np
import pytest

from tamis.errors import RecipeError
from tamis.models.rating_tokens import RatingTokens, shared_start

LETTERS = "0123456789-: R"


def letters(text):
    return [LETTERS.index(letter) for letter in text]


def whole_numbers(text):
    """A tokenizer with one token for each number; the blank before it belongs to it."""
    head, _, number = text.rpartition(" ")
    return [*letters(head), 100 + int(number)] if number else letters(text)


class TableModel:
    """Next-token probabilities drawn at random, one distribution for each text so far."""

    def __init__(self, seed):
        self.seed, self.table = seed, {}

    def p(self, text):
        if text not in self.table:
            rng = np.random.default_rng([self.seed, *(token + 1 for token in text)])
            self.table[text] = rng.dirichlet(np.full(len(LETTERS), 0.3))
        return self.table[text]

    def log_p(self, rating):
        """What a network gives for each path: log-probabilities of the vocabulary at the last positions."""
        return [
            np.log([[self.p(rating.stem + path[:n])[list(rating.vocabulary)] for n in range(len(path) + 1)]])
            for path in rating.paths
        ]

    def exactly(self, stem, number, numbers):
        """P(number and no digit that leads to another number of the scale), digit by digit."""
        text, probability = stem, 1.0
        for letter in letters(number):
            probability *= self.p(text)[letter]
            text = (*text, letter)
        goes_on = {other[len(number)] for other in numbers if other.startswith(number) and other != number}
        return probability * (1 - sum(self.p(text)[letters(digit)[0]] for digit in goes_on))


@pytest.mark.parametrize("scale", [(1, 10), (0, 5), (1, 100), (0, 1000), (-2, 2), (-12, 12), (10, 19), (7, 7)])
def test_probabilities_follow_the_chain_rule(scale):
    rating = RatingTokens.after("R: ", *scale, encode=letters)
    numbers = [str(value) for value in range(scale[0], scale[1] + 1)]
    for seed in range(3):
        model = TableModel(seed)
        found = rating.probabilities(model.log_p(rating))
        expected = [model.exactly(rating.stem, number, numbers) for number in numbers]
        assert found.shape == (1, len(numbers))
        np.testing.assert_allclose(found[0], expected, atol=1e-12)
        assert found.sum() <= 1 + 1e-12


def test_as_few_places_are_read_as_the_scale_needs():
    assert RatingTokens.after("R: ", 1, 9, encode=letters).paths == ((),)
    assert RatingTokens.after("R: ", 1, 10, encode=letters).paths == ((1,),)
    assert RatingTokens.after("R: ", 1, 100, encode=letters).paths == ((1, 0), *((digit,) for digit in range(2, 10)))
    single = RatingTokens.after("R: ", 1, 10, encode=whole_numbers)
    assert single.paths == ((),)
    assert single.sequences == tuple((100 + value,) for value in range(1, 11))


def test_a_blank_that_the_number_swallows_leaves_the_stem():
    assert RatingTokens.after("R: ", 1, 3, encode=whole_numbers).stem == tuple(letters("R:"))
    assert RatingTokens.after("R: ", 1, 3, encode=letters).stem == tuple(letters("R: "))


def test_digits_that_all_ratings_share_are_not_taken_for_the_text():
    rating = RatingTokens.after("R: ", 10, 19, encode=letters)
    assert rating.stem == tuple(letters("R: "))
    assert rating.sequences[3] == tuple(letters("13"))


def test_rows_of_a_batch_are_apart_and_nan_stays_nan():
    rating = RatingTokens.after("R: ", 1, 10, encode=letters)
    one, two = (TableModel(seed).log_p(rating)[0] for seed in (1, 2))
    both = rating.probabilities([np.concatenate([one, two, np.full_like(one, np.nan)])])
    np.testing.assert_array_equal(both[:1], rating.probabilities([one]))
    np.testing.assert_array_equal(both[1:2], rating.probabilities([two]))
    assert np.isnan(both[2]).all()


def test_a_tokenizer_without_digits_is_refused():
    with pytest.raises(RecipeError, match="cannot write the ratings 1 to 10 apart"):
        RatingTokens.after("R: ", 1, 10, encode=lambda text: [0 if letter.isdigit() else 1 for letter in text[:4]])


def test_shared_start():
    assert shared_start([(1, 2), (3,)]) == ()
    assert shared_start([(1, 2)]) == (1, 2)
