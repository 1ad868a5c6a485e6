"""TransitionMatrix: verdict, words, frame, JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tamis.errors import DataError
from tamis.noise import TransitionMatrix, diagnose, estimate_transition, model_moments


def matrix_of(T, p, **options):
    T, p = np.asarray(T, dtype=float), np.asarray(p, dtype=float)
    moments = options.pop("moments", model_moments(T, p))
    flags = {name: options.pop(name) for name in ("duplicate_share", "namings_agree") if name in options}
    return TransitionMatrix.of_fit(T, p, diagnostics=diagnose(T, p, moments, **flags), **options)


GOOD = [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]]


def test_a_clean_estimate_is_usable_and_says_nothing():
    matrix = matrix_of(GOOD, [0.3, 0.3, 0.4])
    assert matrix.verdict == "usable"
    assert matrix.usable
    assert matrix.warnings() == []
    assert matrix.usable_classes == (0, 1, 2)


def test_a_row_without_its_maximum_on_the_diagonal_is_named():
    matrix = matrix_of([[0.8, 0.1, 0.1], [0.1, 0.4, 0.5], [0.0, 0.1, 0.9]], [0.4, 0.2, 0.4])
    assert matrix.unusable_classes == (1,)
    assert matrix.verdict == "partly usable"
    assert matrix.usable
    assert matrix.usable_classes == (0, 2)
    assert matrix.warnings()[0].startswith("scores 1 and 2 cannot be told apart by this rater")


def test_a_rare_class_is_named_with_its_prior():
    matrix = matrix_of(GOOD, [0.5, 0.488, 0.012])
    assert matrix.unusable_classes == (2,)
    assert "class 2 is too rare (p = 0.012) to be identified" in matrix.warnings()


def test_class_names_and_nominal_words_are_used():
    T = [[0.8, 0.1, 0.1], [0.1, 0.4, 0.5], [0.0, 0.1, 0.9]]
    words = matrix_of(T, [0.4, 0.2, 0.4], class_names=("cat", "dog", "fox"), ordinal=False).warnings()
    assert words[0].startswith("classes dog and fox cannot be told apart")
    with pytest.raises(DataError, match="one class name per class"):
        matrix_of(T, [0.4, 0.2, 0.4], class_names=("cat",))


def test_not_usable_when_most_labels_fall_in_unusable_classes():
    matrix = matrix_of([[0.8, 0.1, 0.1], [0.1, 0.4, 0.5], [0.0, 0.6, 0.4]], [0.2, 0.4, 0.4])
    assert matrix.verdict == "not usable"
    assert not matrix.usable
    assert matrix.usable_classes == ()


def test_not_usable_when_labels_ignore_the_features():
    row = np.array([0.5, 0.3, 0.2])
    matrix = matrix_of(GOOD, [0.3, 0.3, 0.4], moments=model_moments(np.tile(row, (3, 1)), [0.3, 0.3, 0.4]))
    assert matrix.verdict == "not usable"
    assert "labels do not follow the features" in matrix.warnings()[0]


def test_overlap_low_diagonal_singularity_naming_and_copies_are_said():
    T = np.array([[0.45, 0.35, 0.2], [0.43, 0.44, 0.13], [0.0, 0.1, 0.9]])
    words = " | ".join(
        matrix_of(T, [0.3, 0.3, 0.4], low=T - 0.1, high=T + 0.1, duplicate_share=0.25, namings_agree=False).warnings()
    )
    assert "scores 0 and 1 may not be told apart" in words
    assert "score 0 is written as itself less than half of the time (0.45)" in words
    assert "rows may be swapped" in words
    assert "copies" not in words, "copies are merged: they are a figure, not a warning"
    nearly = matrix_of([[0.501, 0.499], [0.499, 0.501]], [0.5, 0.5])
    assert any("close to singular" in one for one in nearly.warnings())


def test_the_frame_is_tidy():
    matrix = matrix_of(GOOD, [0.3, 0.3, 0.4], class_names=("a", "b", "c"))
    frame = matrix.to_frame()
    assert frame.columns == ["true", "observed", "value", "low", "high"]
    assert frame.height == 9
    assert frame.row(5) == ("b", "c", 0.1, None, None)
    spread = matrix_of(GOOD, [0.3, 0.3, 0.4], low=np.zeros((3, 3)), high=np.ones((3, 3))).to_frame()
    assert spread.row(0) == ("0", "0", 0.8, 0.0, 1.0)


@pytest.mark.parametrize("n_bootstrap", [0, 10])
def test_json_round_trip_is_exact(n_bootstrap):
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 100)
    idx = (np.arange(300)[:, None] + [[1, 2, 3]]) % 100 + 100 * truth[:, None]
    labels = np.where(rng.random(300) < 0.8, truth, (truth + 1) % 3)
    matrix = estimate_transition(labels, idx, 3, n_bootstrap=n_bootstrap, ordinal=False, seed=0)
    text = json.dumps(matrix.to_dict(), allow_nan=False)
    back = TransitionMatrix.from_dict(json.loads(text))
    assert back.to_dict() == matrix.to_dict()
    np.testing.assert_array_equal(back.T, matrix.T)
    assert back.warnings() == matrix.warnings()


def test_an_incomplete_mapping_is_refused():
    data = matrix_of(GOOD, [0.3, 0.3, 0.4]).to_dict()
    del data["p"]
    with pytest.raises(DataError, match=r"without \['p'\]"):
        TransitionMatrix.from_dict(data)
