"""A causal language model on this machine as a judge, through transformers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tamis.errors import parameter_error
from tamis.models.causal_lm import LocalModel, context_length, find_model, load, load_tokenizer
from tamis.models.expected_score import Scorer
from tamis.models.generated_reply import write_replies
from tamis.models.judge_frame import Frame, frame_of, sample_tokens
from tamis.models.judging import JudgePrompt, Reply
from tamis.runs.digests import derive_seed, digest_json

VERSION = 1
"""Of the way replies come about: part of the fingerprint."""
SHARD_ROWS = 32
BATCH_TOKENS = 4096
"""Tokens of a batch with its padding. Fixed: the last bits of a logit depend on the batch it was computed in."""
DECIMALS = 4
Scoring = Literal["expected", "generate"]


@dataclass(frozen=True)
class HFJudge:
    """A local judge: it rates by the probabilities of the rating tokens, or writes a reply to be parsed.

    **expected**: the rating of a criterion is ``sum_v v P(v)`` over the integers v of the scale, where P(v) is the
    model's probability that the answer goes on with v, normalised over the scale. Nothing is sampled, so a repeated
    sample repeats the rating. The share of probability on the scale is kept as ``mass``: where it is small the model
    wanted to say something else, and the rating says little.

    **generate**: the model writes up to ``max_tokens`` tokens after the chat prompt. At temperature 0 it takes the
    likeliest token; else it samples, with random numbers that depend on seed, prompt and sample index alone.

    Replies are rounded to four decimals. The same shard gives the same bytes; the same row in another batch can differ
    in the last decimal (2 of 60 Dolly rows did, by less than 0.00002 before rounding).

    Attributes
    ----------
    model : LocalModel
    scoring : {"expected", "generate"}
    temperature : float
    max_tokens : int
    seed : int
        These three matter for ``generate`` only.
    """

    model: LocalModel
    scoring: Scoring = "expected"
    temperature: float = 0.0
    max_tokens: int = 256
    seed: int = 0

    @classmethod
    def parse(
        cls, text: str, *, scoring: Scoring = "expected", temperature: float = 0.0, max_tokens: int = 256, seed: int = 0
    ) -> HFJudge:
        """Return the judge of a model named as for :func:`tamis.models.causal_lm.find_model`.

        Parameters
        ----------
        text : str
            ``"smollm2"``, a folder, a ``.gguf`` file or ``"owner/model"``.
        scoring : {"expected", "generate"}, default="expected"
        temperature : float, default=0.0
            At least 0.
        max_tokens : int, default=256
            At least 1.
        seed : int, default=0

        Raises
        ------
        RecipeError, DataError, BackendError, MissingExtraError, RunStateError
            As ``find_model`` does, and RecipeError if a parameter is wrong.
        """
        if scoring not in ("expected", "generate"):
            raise parameter_error("HFJudge", "scoring", "'expected' or 'generate'", scoring)
        if isinstance(temperature, bool) or not isinstance(temperature, int | float):
            raise parameter_error("HFJudge", "temperature", "a float in [0, inf)", temperature)
        if not 0 <= temperature < math.inf:
            raise parameter_error("HFJudge", "temperature", "a float in [0, inf)", temperature)
        if isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 1:
            raise parameter_error("HFJudge", "max_tokens", "an int in [1, inf)", max_tokens)
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise parameter_error("HFJudge", "seed", "an int", seed)
        return cls(find_model(text), scoring, float(temperature), max_tokens, seed)

    @property
    def name(self) -> str:
        """As :attr:`tamis.models.causal_lm.LocalModel.title`."""
        return self.model.title

    @property
    def fingerprint(self) -> str:
        """Digest of the model's files and of the settings that its replies depend on.

        The device is not part of it, though a GPU computes in bfloat16: that moved SmolLM2's ratings of 24 Dolly rows
        by 0.04 in the median and 0.12 at most, where the rows themselves differ by 0.29 (standard deviation).
        """
        what = ["hf", VERSION, self.model.fingerprint, self.scoring]
        if self.scoring == "generate":
            what += [self.temperature, self.max_tokens, self.seed if self.temperature else None]
        return digest_json(what)

    @property
    def price_key(self) -> None:
        """None: it costs time, not money."""
        return

    def count_tokens(self, texts: Sequence[str]) -> tuple[list[int], bool]:
        """Tokens of each text, by the model's own tokenizer."""
        return [len(tokens) for tokens in sample_tokens(texts, load_tokenizer(self.model))], True

    def count_prompt_tokens(self, prompts: Sequence[JudgePrompt]) -> tuple[list[int], bool]:
        """Tokens of each prompt, exactly as :meth:`replies` will report them; 0 where the prompt does not fit.

        Raises
        ------
        RecipeError
            If the chat template or the tokenizer cannot be used with the rubric.
        """
        return [0 if row.too_long else row.tokens for row in self._rows(prompts)], True

    def shards(self, prompts: Sequence[JudgePrompt]) -> list[list[int]]:
        """Positions of the prompts in shards of :data:`SHARD_ROWS`, short prompts first.

        They depend on the prompts alone; whoever runs a shard forms the same batches and gets the same bytes. A shard
        cut from fewer prompts has other batches, so cut before looking what is already answered.
        """
        keys = [(len(p.system) + len(p.user), digest_json(p.payload()), i) for i, p in enumerate(prompts)]
        order = [i for *_, i in sorted(keys)]
        return [order[start : start + SHARD_ROWS] for start in range(0, len(order), SHARD_ROWS)]

    def replies(self, prompts: Sequence[JudgePrompt], samples: Sequence[int]) -> list[Reply]:
        """Answer the prompts of one shard.

        Parameters
        ----------
        prompts : sequence of JudgePrompt
        samples : sequence of int
            Which repetition each is.

        Returns
        -------
        list of Reply
            In the order of the prompts. ``failed`` where a prompt does not fit into the context, and where the network
            gives no numbers. The text of an expected rating is JSON: the rating of each criterion, ``mass`` and ``p``
            by criterion.
        """
        found: dict[int, Reply] = {}
        batches: dict[Frame, list[_Row]] = {}
        for row in self._rows(prompts):
            if row.too_long:
                found[row.position] = Reply("failed", input_tokens=0, output_tokens=0, error=row.too_long)
            else:
                batches.setdefault(row.frame, []).append(row)
        for frame, rows in batches.items():
            for batch in _batches(rows):
                answered = (
                    self._expected(frame, batch)
                    if self.scoring == "expected"
                    else self._generated(frame, batch, prompts, samples)
                )
                found.update(zip([row.position for row in batch], answered, strict=True))
        return [found[position] for position in range(len(prompts))]

    def _rows(self, prompts: Sequence[JudgePrompt]) -> list[_Row]:
        tokenizer, limit = load_tokenizer(self.model), context_length(self.model)
        rows = []
        for i, (prompt, tokens) in enumerate(
            zip(prompts, sample_tokens([prompt.sample for prompt in prompts], tokenizer), strict=True)
        ):
            frame = _frame(self.model, replace(prompt, sample="", truth=None))
            if self.scoring == "expected":
                read, longest, reply = frame.tokens_read(len(tokens)), frame.longest(len(tokens)), 0
            else:
                read = longest = frame.tokens_prompted(len(tokens))
                reply = self.max_tokens
            too_long = ""
            if limit is not None and longest + reply > limit:
                room = f" and its reply up to {reply}" if reply else ""
                too_long = (
                    f"the prompt has {longest} tokens{room}, the context of {self.name} holds {limit}; "
                    "lower --max-chars"
                )
            rows.append(_Row(i, frame, tokens, read, longest + reply, too_long))
        return rows

    def _expected(self, frame: Frame, batch: list[_Row]) -> list[Reply]:
        scorer = _scorer(self.model, frame)
        probabilities = scorer.probabilities([row.sample for row in batch])
        return [_scored(frame, [each[i] for each in probabilities], row.tokens) for i, row in enumerate(batch)]

    def _generated(
        self, frame: Frame, batch: list[_Row], prompts: Sequence[JudgePrompt], samples: Sequence[int]
    ) -> list[Reply]:
        network, tokenizer = load(self.model)
        written = write_replies(
            network,
            tokenizer,
            [[*frame.prefix, *row.sample, *frame.closing] for row in batch],
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            seeds=[
                derive_seed(self.seed, digest_json(prompts[row.position].payload()), samples[row.position])
                for row in batch
            ],
        )
        return [
            Reply("answered", reply.text, row.tokens, reply.tokens)
            if reply.sound
            else Reply("failed", "", row.tokens, reply.tokens, error="the model's logits are not numbers")
            for row, reply in zip(batch, written, strict=True)
        ]


@dataclass(frozen=True)
class _Row:
    """A prompt as tokens: where it stood, what it costs, and why it cannot be read, if it cannot."""

    position: int
    frame: Frame
    sample: list[int]
    tokens: int
    width: int
    too_long: str


def _batches(rows: list[_Row]) -> Iterator[list[_Row]]:
    """Rows of similar length together, at most BATCH_TOKENS with padding; one row may be longer alone."""
    batch: list[_Row] = []
    for row in sorted(rows, key=lambda row: (row.width, row.position)):
        if batch and (len(batch) + 1) * row.width > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _scored(frame: Frame, of_criteria: list[NDArray[np.float64]], tokens: int) -> Reply:
    """Reply with the expected rating of each criterion."""
    ratings, masses, shares = {}, {}, {}
    for (criterion, rating), probability in zip(frame.ratings, of_criteria, strict=True):
        mass = float(probability.sum())
        if not mass > 0:  # NaN is not
            why = "the model's logits are not numbers" if math.isnan(mass) else "no probability lies on the scale"
            return Reply("failed", input_tokens=tokens, output_tokens=0, error=f"{criterion}: {why}")
        values = np.arange(rating.low, rating.low + len(probability))
        ratings[criterion] = _rounded(float(values @ probability) / mass)
        masses[criterion] = _rounded(mass)
        shares[criterion] = [_rounded(float(share)) for share in probability / mass]
    text = json.dumps({**ratings, "mass": masses, "p": shares}, ensure_ascii=False)
    return Reply("answered", text, input_tokens=tokens, output_tokens=0)


def _rounded(value: float) -> float:
    return round(value, DECIMALS) + 0.0  # no -0.0


@lru_cache(maxsize=8)
def _frame(model: LocalModel, prompt: JudgePrompt) -> Frame:
    return frame_of(prompt, load_tokenizer(model), model.name)


@lru_cache(maxsize=1)
def _scorer(model: LocalModel, frame: Frame) -> Scorer:
    return Scorer.after_prefix(load(model)[0], frame)
