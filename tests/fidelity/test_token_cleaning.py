"""Token Cleaning against its specification: section 7 (a) of ``methods/token_cleaning.md``, bullet by bullet.

The recovery of a planted truth with real, trained models lives in ``bench/``; here losses are simulated.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.curate.tokens import TokenCleaner
from tamis.curate.tokens.cleaner import NO_SIGNAL
from tamis.curate.tokens.job import clean
from tamis.data.token_rows import TokenRows
from tamis.engine import get_engine
from tamis.errors import DataError
from tamis.evidence import auroc
from tamis.recipe import Recipe
from tamis.runs import Run
from tamis.train import MaskedTokens

EIGHTHS = st.integers(-20, 60).map(lambda n: n / 8)


def make_rows(lengths, prompts):
    flags = [[j >= prompt for j in range(length)] for length, prompt in zip(lengths, prompts, strict=True)]
    ids = [[3 + (7 * i + j) % 20 for j in range(length)] for i, length in enumerate(lengths)]
    return TokenRows.from_lists([f"r{i:03d}" for i in range(len(lengths))], ids, flags)


@st.composite
def worlds(draw):
    """Records with losses in eighths, so that ties are frequent, and here and there none."""
    n = draw(st.integers(2, 8))
    lengths = draw(st.lists(st.integers(1, 9), min_size=n, max_size=n))
    prompts = [draw(st.integers(1, length)) for length in lengths]
    rows = make_rows(lengths, prompts)
    total = len(rows.ids)
    base = np.array(draw(st.lists(EIGHTHS, min_size=total, max_size=total)), dtype=np.float32)
    reference = np.array(draw(st.lists(EIGHTHS, min_size=total, max_size=total)), dtype=np.float32)
    lost = np.array(draw(st.lists(st.integers(0, 9), min_size=total, max_size=total))) == 0
    base[lost] = np.nan
    return rows, base, reference


SHARE = st.sampled_from([0.05, 0.29, 0.3, 0.5, 0.6, 0.7, 0.9, 1.0])


def ranked_of(rows, base, reference):
    return rows.response & np.isfinite(base - reference)


def fit(world, **params):
    rows, base, reference = world
    return TokenCleaner(**params).fit(rows, base=base, reference=reference)


class TestAPlantedToken:
    @pytest.mark.parametrize("place", range(3, 12))
    @pytest.mark.parametrize("scope", ["global", "batch"])
    def test_it_is_the_only_one_kept(self, place, scope):
        rows = make_rows([12, 12, 12], [3, 3, 3])
        rng = np.random.default_rng(place)
        base = rng.gamma(2.0, 1.0, 36).astype(np.float32)
        reference = (base - rng.random(36)).astype(np.float32)
        at = 12 + place
        base[at], reference[at] = 80.0, 1e-6
        cleaner = fit((rows, base, reference), keep=0.04, scope=scope)
        assert np.flatnonzero(cleaner.mask_).tolist() == [at]
        if scope == "global":
            assert cleaner.cut_ == np.float32(80.0) - np.float32(1e-6)

    def test_a_planted_prompt_token_is_not(self):
        rows = make_rows([12, 12], [3, 3])
        base = np.ones(24, dtype=np.float32)
        base[[1, 2, 13]] = 80.0
        cleaner = fit((rows, base, np.zeros(24, np.float32)), keep=0.06)
        assert np.flatnonzero(cleaner.mask_).tolist() == [3]


class TestCounts:
    @settings(max_examples=100, deadline=None)
    @given(worlds(), SHARE)
    def test_global(self, world, keep):
        ranked = ranked_of(*world)
        if not ranked.any():
            return
        assert fit(world, keep=keep).mask_.sum() == Fraction(str(keep)) * int(ranked.sum()) // 1

    @settings(max_examples=100, deadline=None)
    @given(worlds(), SHARE)
    def test_sample(self, world, keep):
        rows, ranked = world[0], ranked_of(*world)
        if not ranked.any():
            return
        n = np.bincount(rows.row_of[ranked], minlength=len(rows)).tolist()
        expected = [Fraction(str(keep)) * each // 1 for each in n]
        kept = np.bincount(rows.row_of[fit(world, keep=keep, scope="sample").mask_], minlength=len(rows))
        assert kept.tolist() == expected

    @settings(max_examples=50, deadline=None)
    @given(worlds(), SHARE, st.sampled_from(["global", "sample", "batch"]))
    def test_prompt_and_first_token_are_never_kept(self, world, keep, scope):
        rows, ranked = world[0], ranked_of(*world)
        if not ranked.any():
            return
        mask = fit(world, keep=keep, scope=scope).mask_
        assert not mask[~rows.response].any()
        assert not mask[~ranked].any()
        assert not mask[rows.offsets[:-1]].any()


class TestOrder:
    @settings(max_examples=100, deadline=None)
    @given(worlds(), SHARE)
    def test_equal_to_a_stable_sort_of_all_tokens(self, world, keep):
        """Ties go to the earliest: records in the order of their ids, tokens in that of the text."""
        _, base, reference = world
        places = np.flatnonzero(ranked_of(*world)).tolist()
        if not places:
            return
        score = {i: float(base[i]) - float(reference[i]) for i in places}
        order = sorted(places, key=lambda i: score[i], reverse=True)  # Python's sort is stable, reversed too
        n = Fraction(str(keep)) * len(places) // 1
        cleaner = fit(world, keep=keep)
        assert np.flatnonzero(cleaner.mask_).tolist() == sorted(order[:n])
        if n:
            assert cleaner.cut_ == score[order[n - 1]]

    def test_ties_at_the_cut(self):
        rows = make_rows([6, 6], [1, 1])
        cleaner = fit((rows, np.ones(12, np.float32), np.zeros(12, np.float32)), keep=0.6)
        assert np.flatnonzero(cleaner.mask_).tolist() == [1, 2, 3, 4, 5, 7]

    def test_deterministic(self):
        rng = np.random.default_rng(0)
        rows = make_rows([50] * 40, [5] * 40)
        base, reference = rng.gamma(2, 1, 2000).astype(np.float32), rng.gamma(2, 1, 2000).astype(np.float32)
        for params in ({}, {"scope": "batch"}, {"rank_by": "random"}):
            one, other = (fit((rows, base, reference), **params) for _ in range(2))
            np.testing.assert_array_equal(one.mask_, other.mask_)
            np.testing.assert_array_equal(one.score_, other.score_)


class TestAll:
    @settings(max_examples=50, deadline=None)
    @given(worlds(), st.sampled_from(["global", "sample", "batch"]))
    def test_a_share_of_1_is_standard_training(self, world, scope):
        rows, base, reference = world
        if not rows.response.any():
            return
        base = np.nan_to_num(base, nan=1.0)
        np.testing.assert_array_equal(fit((rows, base, reference), keep=1, scope=scope).mask_, rows.response)


class TestTheSameModelTwice:
    def test_scores_are_0_the_mask_is_the_order_and_that_is_said(self):
        rows = make_rows([6, 8, 3], [2, 2, 1])
        losses = np.random.default_rng(0).gamma(2, 1, 17).astype(np.float32)
        cleaner = fit((rows, losses, losses.copy()), keep=0.5)
        assert (cleaner.score_[rows.response] == 0).all()
        assert cleaner.cut_ == 0
        assert np.flatnonzero(cleaner.mask_).tolist() == np.flatnonzero(rows.response)[:6].tolist()
        assert cleaner.warnings_ == [NO_SIGNAL]

    @pytest.mark.parametrize("rank_by", ["excess", "reverse"])
    @pytest.mark.parametrize("scope", ["sample", "batch"])
    def test_in_other_rankings(self, rank_by, scope):
        rows = make_rows([6, 8, 3], [2, 2, 1])
        losses = np.ones(17, np.float32)
        assert fit((rows, losses, losses), scope=scope, rank_by=rank_by).warnings_ == [NO_SIGNAL]


class TestAllMaskedRows:
    @pytest.fixture
    def network(self):
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        config = LlamaConfig(vocab_size=29, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
                             num_attention_heads=2, num_key_value_heads=1, initializer_range=0.3, bos_token_id=1,
                             eos_token_id=2)  # fmt: skip
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return LlamaForCausalLM(config).eval()

    @pytest.fixture
    def cleaned(self):
        """A ranking that empties the record in the middle."""
        rows = make_rows([9, 9, 9, 9], [2, 2, 2, 2])
        base = np.where(rows.row_of == 1, 0.1, 3.0).astype(np.float32)
        reference = np.where(rows.row_of == 1, 2.0, 1.0).astype(np.float32)
        mask = fit((rows, base, reference), keep=0.6).mask_
        assert np.bincount(rows.row_of[mask], minlength=4).tolist() == [7, 0, 7, 2]
        return rows, mask

    def gradient(self, network, loss):
        network.zero_grad()
        loss.backward()
        return [each.grad.clone() for each in network.parameters()]

    def test_zero_loss_and_no_gradient(self, network, cleaned):
        rows, mask = cleaned
        objective = MaskedTokens(rows, mask, pad_id=0)
        assert objective.weights.tolist() == [7.0, 0.0, 7.0, 2.0]
        loss = objective.loss(network, [1])
        assert loss.item() == 0.0
        assert all((each == 0).all() for each in self.gradient(network, loss))

    def test_the_gradient_is_that_of_the_kept_tokens(self, network, cleaned):
        import torch

        rows, mask = cleaned
        objective = MaskedTokens(rows, mask, pad_id=0)
        plain = []
        for start, stop in zip(rows.offsets[:-1], rows.offsets[1:], strict=True):
            ids = torch.from_numpy(rows.ids[start:stop].astype(np.int64))
            labels = torch.where(torch.from_numpy(mask[start:stop]), ids, -100)[1:]
            logits = network(input_ids=ids[None]).logits[0, :-1]
            plain.append(torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum"))
        whole = self.gradient(network, objective.loss(network, range(4)))
        for one, other in zip(whole, self.gradient(network, sum(plain)), strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
        parts = self.gradient(network, objective.loss(network, [0, 1]) + objective.loss(network, [3]) +
                              objective.loss(network, [2]))  # fmt: skip
        for one, other in zip(parts, whole, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


class TestMismatch:
    @pytest.mark.parametrize("which", ["base", "reference"])
    @pytest.mark.parametrize("n", [-1, 1])
    def test_lengths(self, which, n):
        rows = make_rows([6, 6], [1, 1])
        losses = {"base": np.zeros(12, np.float32), "reference": np.zeros(12, np.float32)}
        losses[which] = np.zeros(12 + n, np.float32)
        with pytest.raises(DataError, match=f"^The {which} losses must be one a token, 12 in all"):
            TokenCleaner().fit(rows, **losses)

    def test_two_dimensions(self):
        rows = make_rows([6, 6], [1, 1])
        with pytest.raises(DataError, match=r"Got shape \(2, 6\)"):
            TokenCleaner().fit(rows, base=np.zeros((2, 6), np.float32), reference=np.zeros(12, np.float32))


KINDS = ("boilerplate", "task", "noise")


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(4)
    rows = make_rows(rng.integers(20, 60, 150).tolist(), [4] * 150)
    kind = rng.choice(3, len(rows.ids), p=[0.5, 0.3, 0.2])
    n = len(kind)
    by_record = rng.normal(0, 0.2, len(rows))[rows.row_of]
    base = np.select(
        [kind == 0, kind == 1], [rng.gamma(1, 0.1, n), 2.5 + rng.normal(0, 0.8, n)], 5 + rng.normal(0, 1, n)
    )
    drop = np.where(kind == 1, rng.gamma(3, 0.5, n), 0) + rng.normal(0, 0.1, n) + 0.1 * by_record
    base = np.maximum(base + by_record, 0).astype(np.float32)
    return rows, kind, base, np.maximum(base - drop, 0).astype(np.float32)


class TestRecovery:
    """Boilerplate both models know, noise that neither can, and the task that only the reference has learned."""

    def share(self, world, kept, name):
        rows, kind = world[:2]
        return kept[rows.response & (kind == KINDS.index(name))].mean()

    def test_the_score_finds_the_task(self, world):
        rows, kind, base, reference = world
        cleaner = fit((rows, base, reference), keep=0.3)
        score, truth = cleaner.score_[rows.response], kind[rows.response] == 1
        assert auroc(score, truth)[0] > 0.9
        # over records, as tokens of one record are not independent
        rng = np.random.default_rng(0)
        drawn = []
        of = rows.row_of[rows.response]
        for _ in range(100):
            weight = np.bincount(rng.integers(0, len(rows), len(rows)), minlength=len(rows))[of]
            drawn.append(auroc(np.repeat(score, weight), np.repeat(truth, weight))[0])
        assert np.quantile(drawn, 0.025) > 0.7

    def test_boilerplate_and_noise_lie_near_0(self, world):
        """Low scores mix what is known already and what cannot be learned: neither is called wrong."""
        rows, kind, base, reference = world
        score = fit((rows, base, reference)).score_
        for name in ("boilerplate", "noise"):
            own = rows.response & (kind == KINDS.index(name))
            assert abs(np.median(score[own])) < 0.05, name
        assert np.median(score[rows.response & (kind == 1)]) > 1

    def test_baselines_do_not(self, world):
        kept = {name: fit(world[:1] + world[2:], keep=0.3, rank_by=name).mask_
                for name in ("excess", "random", "base-high", "base-low", "reverse")}  # fmt: skip
        task = {name: self.share(world, mask, "task") for name, mask in kept.items()}
        assert task["excess"] > 0.85
        assert abs(task["random"] - 0.3) < 0.06
        assert task["reverse"] < 0.05
        assert task["base-high"] < task["excess"]
        assert self.share(world, kept["base-high"], "noise") > 0.9, "a high loss alone finds the noise"
        assert self.share(world, kept["base-low"], "boilerplate") > 0.5, "a low loss alone what is known"

    def test_per_sample_ranking_cannot_take_more_from_one_record_than_from_another(self, world):
        rows, kind, base, reference = world
        silent = (rows.row_of < 60) & (kind == 1)
        reference = np.where(silent, base, reference)
        over, each = (fit((rows, base, reference), keep=0.2, scope=scope).mask_ for scope in ("global", "sample"))
        n = np.bincount(rows.row_of[rows.response], minlength=len(rows))
        shares = np.bincount(rows.row_of[over], minlength=len(rows)) / n
        assert shares[:60].mean() < 0.1 < 0.2 < shares[60:].mean()
        assert (np.bincount(rows.row_of[each], minlength=len(rows)) == n // 5).all()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    path = Path(__file__).parents[1] / "e2e" / "tiny_llama.py"
    spec = importlib.util.spec_from_file_location("tiny_llama", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("models")
    module.main(str(folder / "base"))
    nudged(folder / "base", folder / "reference", 0.05)
    return folder


@pytest.fixture(scope="module")
def go(models, tmp_path_factory):
    """Run beside all others; returns the steps that were taken over."""
    folder = tmp_path_factory.mktemp("runs")
    rows = [{"id": f"r{i}", "prompt": f"ask {i}", "response": f"say {i} {i * i}"} for i in range(12)]
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def go(name, *, base="base", reference="reference", **params):
        given = {"base": str(models / base), "reference": str(models / reference), "check_rows": 0, **params}
        recipe = Recipe(method="tokens", inputs={"pool": str(folder / "pool.jsonl")}, params=given)
        with Run.start(folder / name, recipe, command="") as run:
            clean(run, engine=get_engine("inline"))
        events = [json.loads(line) for line in (folder / name / "ledger.jsonl").read_text().splitlines()]
        return {each["step"].partition("-")[2] for each in events if each["event"] == "reused"}

    assert go("first") == set()
    return go


class TestNothingStaleIsReused:
    """Steps are taken over from the run beside it only if all that they depend on is the same."""

    def test_what_is_the_same_is_reused(self, go):
        assert go("again") == {"tokens", "base", "reference", "decide"}

    def test_another_maximum_length(self, go):
        assert go("length", max_length=40) == set()

    @pytest.mark.parametrize("file", ["chat_template.jinja", "tokenizer.json", "model.safetensors", "config.json"])
    def test_another_base(self, go, models, file):
        name = f"base-{file.split('.')[0]}"
        changed(models / "base", models / name, file)
        assert go(name, base=name) == set()

    def test_another_reference_leaves_the_base_as_it_is(self, go, models):
        nudged(models / "base", models / "other", 0.2)
        assert go("reference", reference="other") == {"tokens", "base"}

    def test_the_same_model_in_another_folder_is_the_same(self, go, models):
        shutil.copytree(models / "base", models / "copy")
        assert go("copy", base="copy") == {"tokens", "base", "reference", "decide"}

    @pytest.mark.parametrize("change", [{"keep": 0.4}, {"rank_by": "reverse"}], ids=str)
    def test_another_ranking_does_not_score_again(self, go, change):
        assert {"tokens", "base", "reference"} <= go(f"ranking-{next(iter(change.values()))}", **change)


def nudged(source, target, size):
    """A copy of a model with other weights."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(source, target)
    tensors = load_file(target / "model.safetensors")
    noise = torch.Generator().manual_seed(5)
    moved = {name: each + size * torch.randn(each.shape, generator=noise) for name, each in tensors.items()}
    save_file(moved, target / "model.safetensors", metadata={"format": "pt"})


def changed(source, target, file):
    """A copy of a model with one file of another content and the same meaning for most of the text."""
    if file == "model.safetensors":
        return nudged(source, target, 0.01)
    shutil.copytree(source, target)
    path = target / file
    text = path.read_text(encoding="utf-8")
    if file == "chat_template.jinja":
        path.write_text(text.replace("{{ m['role'] }}\n", "{{ m['role'] }}:\n"), encoding="utf-8")
    else:
        found = json.loads(text)
        found["added_tokens" if file == "tokenizer.json" else "max_position_embeddings"] = (
            found["added_tokens"] + [{**found["added_tokens"][0], "id": 259, "content": "<more>"}]
            if file == "tokenizer.json" else 2048
        )  # fmt: skip
        path.write_text(json.dumps(found), encoding="utf-8")
    return None
