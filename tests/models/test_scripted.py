import asyncio
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tamis.errors import DataError, RecipeError
from tamis.models.judging import JudgePrompt
from tamis.models.scripted import REFUSAL, ScriptedJudge
from tamis.noise.injection import transition_family

CRITERIA = ("rarity", "overall")


def prompt_of(i, truth=None, low=1, high=5):
    questions = tuple((name, f"How much {name}?") for name in CRITERIA)
    return JudgePrompt("You rate.", "Rate: ", f"sample {i}", " as JSON.", questions, "{criterion}: ", low, high, truth)


def ask(judge, prompts, *, sample=0, number=0):
    async def main():
        return [await judge.attempt(prompt, sample=sample, number=number) for prompt in prompts]

    return asyncio.run(main())


def values(attempts):
    return np.array([[json.loads(a.reply.text)[name] for name in CRITERIA] for a in attempts])


def assert_frequencies(counts, probabilities):
    n = counts.sum(axis=1, keepdims=True)
    error = np.sqrt(probabilities * (1 - probabilities) / n)
    assert (np.abs(counts / n - probabilities) <= 4.5 * error + 1e-12).all()


@pytest.mark.parametrize("options", ["diagonal=0.6", "diagonal=0.5,kind=random", "diagonal=0.8,seed=9"])
def test_ratings_follow_the_confusion_matrix(options):
    judge = ScriptedJudge.parse(options)
    truth = np.arange(6000) % 5 + 1
    given = values(ask(judge, [prompt_of(i, float(t)) for i, t in enumerate(truth)]))
    T = judge.confusion(5)
    for column in given.T:
        counts = np.zeros((5, 5))
        np.add.at(counts, (truth - 1, column - 1), 1)
        assert_frequencies(counts, T)
    right = given == truth[:, None]
    d = judge.diagonal
    assert abs(right.all(axis=1).mean() - d * d) < 4.5 * np.sqrt(d * d * (1 - d * d) / 6000)  # each draws for itself


def test_samples_of_one_prompt_are_drawn_anew():
    judge = ScriptedJudge(diagonal=0.5)
    given = np.concatenate([values(ask(judge, [prompt_of(0, 3.0)], sample=s)) for s in range(3000)])
    counts = np.array([[np.sum(given[:, 0] == v) for v in range(1, 6)]])
    assert_frequencies(counts, judge.confusion(5)[2:3])


def test_ordinal_is_the_family_that_noise_injects():
    rng = np.random.default_rng(0)
    for K, d in [(2, 0.7), (6, 0.55), (10, 0.9)]:
        np.testing.assert_allclose(ScriptedJudge(diagonal=d).confusion(K), transition_family("ordinal", K, d, rng))
    T = ScriptedJudge(diagonal=0.4, kind="random").confusion(4)
    np.testing.assert_allclose(T, np.where(np.eye(4, dtype=bool), 0.4, 0.2))
    np.testing.assert_array_equal(ScriptedJudge(diagonal=0.4).confusion(1), [[1.0]])


@pytest.mark.parametrize("suffix", [".json", ".npy"])
def test_a_matrix_on_disk(tmp_path, suffix):
    T = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    path = tmp_path / f"T{suffix}"
    np.save(path, T) if suffix == ".npy" else path.write_text(json.dumps(T.tolist()))
    judge = ScriptedJudge.parse(f"matrix={path}")
    np.testing.assert_array_equal(judge.confusion(3), T)
    given = values(ask(judge, [prompt_of(i, t, high=3) for i, t in enumerate((1.0, 2.0, 3.0))]))
    np.testing.assert_array_equal(given, [[2, 2], [3, 3], [1, 1]])
    assert (
        judge.fingerprint
        == ScriptedJudge.parse(f"matrix={path},diagonal=0.1").fingerprint
        != ScriptedJudge().fingerprint
    )
    with pytest.raises(RecipeError, match="3 x 3 and the scale of the rubric has 5"):
        ask(judge, [prompt_of(0)])


def test_the_same_in_another_process_with_other_hashes():
    code = (
        "import asyncio, hashlib\n"
        "from tamis.models.judging import JudgePrompt\n"
        "from tamis.models.scripted import ScriptedJudge\n"
        "judge = ScriptedJudge.parse('refuse=0.1,unparsed=0.1,fail=0.1,seed=2')\n"
        "async def main():\n"
        "    prompts = [JudgePrompt('s', 'o', str(i), 'c', (('a', '?'), ('b', '?')), '', 1, 9) for i in range(150)]\n"
        "    return [await judge.attempt(p, sample=1, number=2) for p in prompts]\n"
        "print(judge.fingerprint, hashlib.sha256(repr(asyncio.run(main())).encode()).hexdigest())\n"
    )
    out = [
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": h}, capture_output=True, text=True
        ).stdout
        for h in ("1", "2")
    ]
    assert out[0] == out[1]
    assert len(out[0]) > 90


def test_without_a_truth_all_judges_believe_in_the_same_one():
    prompts = [prompt_of(i) for i in range(500)]
    a, b = (values(ask(ScriptedJudge(diagonal=1.0, seed=s), prompts)) for s in (1, 2))
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(a[:, 0], a[:, 1])
    assert (np.bincount(a[:, 0], minlength=6)[1:] > 60).all()  # expected 100 each, sd 9


def test_seeds_and_attempts_draw_differently():
    prompts = [prompt_of(i, 3.0) for i in range(200)]
    base = values(ask(ScriptedJudge(diagonal=0.5), prompts))
    assert (base != values(ask(ScriptedJudge(diagonal=0.5, seed=1), prompts))).mean() > 0.3
    assert (base != values(ask(ScriptedJudge(diagonal=0.5), prompts, number=1))).mean() > 0.3
    np.testing.assert_array_equal(base, values(ask(ScriptedJudge(diagonal=0.5), prompts)))


def test_the_truth_is_no_part_of_what_draws_depend_on():
    right, wrong = (values(ask(ScriptedJudge(diagonal=1.0), [prompt_of(0, t)])) for t in (2.4, 2.6))
    assert (right[0, 0], wrong[0, 0]) == (2, 3)
    for truth in (0.4, 5.6, float("nan"), float("inf")):
        with pytest.raises(DataError, match=f"A true rating of {truth} is not on the scale from 1 to 5"):
            ask(ScriptedJudge(), [prompt_of(0, truth)])


def test_share_of_refusals_and_replies_without_a_rating():
    prompts = [prompt_of(i) for i in range(4000)]
    judge = ScriptedJudge(refuse=0.2, unparsed=0.15)
    replies = [a.reply for a in ask(judge, prompts)]
    refused = [r.status == "refused" for r in replies]
    assert abs(np.mean(refused) - 0.2) < 4.5 * np.sqrt(0.2 * 0.8 / 4000)
    assert {r.text for r in replies if r.status == "refused"} == {REFUSAL}
    unusable = [r.text for r in replies if r.status == "answered" and not usable(r.text)]
    assert abs(len(unusable) / 4000 - 0.15) < 4.5 * np.sqrt(0.15 * 0.85 / 4000)
    forms = [sum(map(test, unusable)) for test in (cut_off, prose, off_scale)]
    assert sum(forms) == len(unusable)
    assert min(forms) > len(unusable) / 3 - 4.5 * np.sqrt(len(unusable) * 2 / 9)
    again = [a.reply for a in ask(judge, prompts, number=1)]
    assert 0.1 < np.mean([r.status == "refused" for r, was in zip(again, refused, strict=True) if was]) < 0.3


def usable(text):
    try:
        return all(1 <= json.loads(text)[name] <= 5 for name in CRITERIA)
    except ValueError:
        return False


def cut_off(text):
    return text == '{"rarity":'


def prose(text):
    return not text.startswith("{") and not any(c.isdigit() for c in text)


def off_scale(text):
    return text.startswith("{") and text.endswith("}") and min(json.loads(text).values()) > 5


def test_sticky_refusals_and_babble_stay():
    prompts = [prompt_of(i) for i in range(400)]
    judge = ScriptedJudge.parse("refuse=0.3,unparsed=0.3,sticky=true")
    first, third = ([a.reply for a in ask(judge, prompts, number=n)] for n in (0, 2))
    kinds = [[(r.status, usable(r.text)) for r in replies] for replies in (first, third)]
    assert kinds[0] == kinds[1]
    assert [r.text for r, k in zip(first, kinds[0], strict=True) if not k[1]] == [
        r.text for r, k in zip(third, kinds[1], strict=True) if not k[1]
    ]


def first_reply(judge, prompt):
    async def main():
        for number in range(100):
            attempt = await judge.attempt(prompt, sample=0, number=number)
            if not attempt.transient:
                return number, attempt.reply
        raise AssertionError("never answered")

    return asyncio.run(main())


def test_faults_come_at_their_share_and_change_no_reply():
    prompts = [prompt_of(i) for i in range(3000)]
    faulty = ScriptedJudge.parse("fail=0.2,limit=0.1,refuse=0.1,unparsed=0.1")
    sound = ScriptedJudge.parse("refuse=0.1,unparsed=0.1")
    assert faulty.fingerprint == sound.fingerprint
    attempts = ask(faulty, prompts)
    failed = [a for a in attempts if a.transient and not a.overloaded]
    limited = [a for a in attempts if a.overloaded]
    assert abs(len(failed) / 3000 - 0.2) < 4.5 * np.sqrt(0.2 * 0.8 / 3000)
    assert abs(len(limited) / 3000 - 0.1) < 4.5 * np.sqrt(0.1 * 0.9 / 3000)
    assert {a.retry_after for a in limited} == {0.0}
    assert {(a.reply.status, a.unreachable) for a in failed + limited} == {("failed", False)}
    late = [first_reply(faulty, prompt) for prompt in prompts[:300]]
    assert [reply for _, reply in late] == [a.reply for a in ask(sound, prompts[:300])]
    assert max(number for number, _ in late) >= 2


def test_latency_is_slept_and_no_part_of_the_fingerprint():
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    ask(ScriptedJudge(latency=0.5, sleep=sleep), [prompt_of(0), prompt_of(1)])
    assert slept == [0.5, 0.5]
    assert ScriptedJudge(latency=0.5, sleep=sleep).fingerprint == ScriptedJudge().fingerprint
    options = ["diagonal=0.6", "kind=random", "refuse=0.1", "unparsed=0.1", "seed=1", "sticky=true"]
    prints = {ScriptedJudge.parse(o).fingerprint for o in ["", *options]}
    assert len(prints) == 7


def test_tokens_are_billed_as_counted():
    prompt = prompt_of(0)
    reply = ask(ScriptedJudge(), [prompt])[0].reply
    counts, exact = ScriptedJudge().count_tokens([prompt.system, prompt.user, reply.text])
    assert exact
    assert (reply.input_tokens, reply.output_tokens) == (counts[0] + counts[1], counts[2])
    assert counts[1] == len(prompt.user) // 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("diagnal=0.7", "no option 'diagnal'. Did you mean 'diagonal'?"),
        ("sleep=1", "no option 'sleep'"),
        ("diagonal", "'diagonal' of a scripted judge needs a value; write diagonal=VALUE"),
        ("diagonal=", "needs a value"),
        ("seed=1,seed=2", "given twice"),
        ("diagonal=high", "The 'diagonal' parameter of ScriptedJudge must be a number. Got 'high'"),
        ("diagonal=1.2", r"must be a float in \[0, 1\]. Got 1.2"),
        ("refuse=nan", r"must be a float in \[0, 1\]. Got nan"),
        ("seed=1.5", "must be an int. Got '1.5'"),
        ("kind=banded", "must be one of ordinal, random. Got 'banded'"),
        ("latency=-1", "must be seconds"),
        ("sticky=maybe", "must be true or false"),
        ("refuse=0.6,unparsed=0.5", "at most 1 - refuse = 0.4"),
        ("fail=0.6,limit=0.5", "at most 1 - fail = 0.4"),
        ("matrix=absent.json", "'matrix' parameter"),
    ],
)
def test_bad_options_are_named(text, message):
    with pytest.raises(RecipeError, match=message):
        ScriptedJudge.parse(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[[0.5, 0.5]]", "must be square"),
        ("[[0.5, 0.4], [0, 1]]", "summing to one"),
        ("[[1.5, -0.5], [0, 1]]", "finite probabilities"),
        ("[[NaN, 1], [0, 1]]", "finite probabilities"),
        ("[]", "rows of K probabilities"),
        ("[1, 0]", "rows of K probabilities"),
        ("[[1, 0], [1]]", "rows of K probabilities"),
        ('{"a": 1}', "rows of K probabilities"),
        ("not json", "rows of K probabilities"),
    ],
)
def test_bad_matrices_are_refused(tmp_path, content, message):
    path = tmp_path / "T.json"
    path.write_text(content)
    with pytest.raises(RecipeError, match=message):
        ScriptedJudge.parse(f"matrix={path}")
