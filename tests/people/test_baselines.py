"""crowd-kit's methods: what they say of a crowd with known truth, and what is refused."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest

from tamis.data.answer_codes import AnswerCodes
from tamis.errors import DataError, MissingExtraError, RecipeError
from tamis.noise import dawid_skene, majority_vote
from tamis.people.baselines import crowdkit_baselines

pytest.importorskip("crowdkit", reason="crowd-kit is not installed")

ALL = ["dawid-skene", "one-coin", "glad", "mace", "wawa", "kos", "mmsr", "majority-vote"]
MULTICLASS = [name for name in ALL if name != "kos"]
ACCURACY = np.array([0.95, 0.9, 0.9, 0.85, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5])


def crowd(n_classes, seed=0, n_tasks=150, relabel=None):
    """Ten workers from good to useless, the codes of an eleventh and of one more task without answers."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, n_classes, n_tasks)
    task, worker = np.nonzero(rng.random((n_tasks, len(ACCURACY))) < 0.7)
    wrong = (truth[task] + rng.integers(1, n_classes, len(task))) % n_classes
    label = np.where(rng.random(len(task)) < ACCURACY[worker], truth[task], wrong)
    if relabel is not None:
        truth, label = relabel[truth], relabel[label]
    codes = AnswerCodes.of(task, worker, label, n_tasks=n_tasks + 1, n_workers=11, n_classes=n_classes)
    return codes, truth


@pytest.fixture(scope="module")
def binary():
    codes, truth = crowd(2)
    return codes, truth, crowdkit_baselines(codes, ALL)


@pytest.fixture(scope="module")
def multiclass():
    codes, truth = crowd(4)
    return codes, truth, crowdkit_baselines(codes, MULTICLASS)


@pytest.mark.parametrize("name", ALL)
def test_each_finds_most_labels_and_rates_good_workers_above_bad_ones(binary, name):
    codes, truth, found = binary
    assert found.labels[name].dtype == np.int32
    assert found.labels[name][-1] == -1
    answered = codes.per_task[:-1] > 0
    assert np.mean(found.labels[name][:-1][answered] == truth[answered]) > 0.85
    assert np.isnan(found.skill[name][10])
    if name == "kos":
        assert np.isnan(found.skill[name]).all()
    else:
        assert np.corrcoef(found.skill[name][:10], ACCURACY)[0, 1] > 0.8


@pytest.mark.parametrize("name", MULTICLASS)
def test_each_finds_most_labels_of_four_classes(multiclass, name):
    codes, truth, found = multiclass
    answered = codes.per_task[:-1] > 0
    assert np.mean(found.labels[name][:-1][answered] == truth[answered]) > 0.9
    assert np.corrcoef(found.skill[name][:10], ACCURACY)[0, 1] > 0.8


@pytest.mark.parametrize("one_coin", [False, True])
def test_skills_and_labels_are_those_of_our_own_dawid_skene(multiclass, one_coin):
    codes, _, found = multiclass
    name = "one-coin" if one_coin else "dawid-skene"
    ours = dawid_skene(codes, one_coin=one_coin)
    np.testing.assert_allclose(found.skill[name], ours.skill, atol=0.02)
    assert np.mean(found.labels[name] == ours.labels) > 0.98


def test_majority_vote_and_wawa_count_agreement_with_the_majority(binary):
    codes, _, found = binary
    shares = np.nan_to_num(majority_vote(codes), nan=-1)
    clear = shares.max(axis=1) > 0.5
    assert (found.labels["majority-vote"] == shares.argmax(axis=1))[clear].all()
    right = found.labels["majority-vote"][codes.task] == codes.label
    agreement = np.bincount(codes.worker, right, minlength=11)[:10] / codes.per_worker[:10]
    np.testing.assert_allclose(found.skill["majority-vote"][:10], agreement)
    np.testing.assert_allclose(found.skill["wawa"][:10], agreement)
    weighted = np.zeros_like(shares)
    np.add.at(weighted, (codes.task, codes.label), found.skill["wawa"][codes.worker])
    assert (found.labels["wawa"] == weighted.argmax(axis=1))[codes.per_task > 0].all()


def test_other_codes_of_the_same_classes_change_nothing_but_the_codes():
    """crowd-kit's MACE alone confuses classes whose codes do not appear in rising order."""
    name, change = "mace", np.array([2, 0, 3, 1])
    one, two = crowd(4, n_tasks=80)[0], crowd(4, n_tasks=80, relabel=change)[0]
    first, second = (crowdkit_baselines(codes, [name]) for codes in (one, two))
    answered = one.per_task > 0
    assert np.mean(change[first.labels[name][answered]] == second.labels[name][answered]) > 0.97
    np.testing.assert_allclose(first.skill[name], second.skill[name], atol=0.02)


def test_kos_says_nothing_of_tasks_whose_messages_vanish():
    codes, _ = crowd(2)
    lonely = AnswerCodes.of(
        np.append(codes.task, [151, 152]), np.append(codes.worker, [11, 11]), np.append(codes.label, [0, 1]),
        n_tasks=153, n_workers=12, n_classes=2,
    )  # fmt: skip
    labels = crowdkit_baselines(lonely, ["kos"]).labels["kos"]
    assert (labels[[150, 151, 152]] == -1).all()
    assert np.array_equal(labels[:151], crowdkit_baselines(codes, ["kos"]).labels["kos"])
    alone = AnswerCodes.of([0, 1], [0, 0], [0, 1])
    assert crowdkit_baselines(alone, ["kos"]).labels["kos"].tolist() == [-1, -1]


def test_the_seed_decides_and_global_randomness_is_left_alone():
    codes, _ = crowd(2, n_tasks=60)
    np.random.seed(7)
    before = np.random.get_state()[1].copy()
    one, two = (crowdkit_baselines(codes, ["kos", "mace", "mmsr"], seed=3) for _ in range(2))
    assert np.array_equal(np.random.get_state()[1], before)
    for name in ("mace", "mmsr"):
        np.testing.assert_array_equal(one.skill[name], two.skill[name])
    assert np.array_equal(one.labels["kos"], two.labels["kos"])
    assert not np.array_equal(one.skill["mace"], crowdkit_baselines(codes, ["mace"], seed=4).skill["mace"])


def test_nothing_is_printed_and_nothing_is_warned_of(capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        crowdkit_baselines(crowd(2, n_tasks=40)[0], ALL)
    assert capfd.readouterr() == ("", "")


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(RecipeError, match=r"no baseline 'maze'\. Did you mean 'mace'"):
        crowdkit_baselines(crowd(2)[0], ["maze"])


@pytest.mark.parametrize(
    ("codes", "names", "message"),
    [
        (crowd(3)[0], ["wawa", "kos"], "'kos' is for two classes. Got answers of 3"),
        (AnswerCodes.of([0, 0], [0, 1], [1, 1]), ["wawa"], "two classes or more. Got 1"),
        (AnswerCodes.of([], [], []), ["wawa"], "two classes or more. Got 0"),
        (AnswerCodes.of([0] * 200, range(200), [0, 1] * 100), ["mmsr"], "at most 10000 of them. Got 19900 or more"),
        (AnswerCodes.of(np.repeat(range(25), 40), range(1000), [0, 1] * 500), ["mmsr"], "Got 19500 or more"),
        (AnswerCodes.of([0, 0], [0, 1], [0, 1]), ["mmsr"], "crowd-kit's 'mmsr' fails on these answers"),
    ],
    ids=["three classes", "one class", "no answers", "large task", "many pairs", "crowd-kit fails"],
)
def test_what_a_method_cannot_do_is_refused(codes, names, message):
    with pytest.raises(DataError, match=message):
        crowdkit_baselines(codes, names)


def test_a_missing_crowd_kit_is_an_extra_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "crowdkit.aggregation", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tamis\[crowd\]'"):
        crowdkit_baselines(crowd(2)[0], ["wawa"])
