"""The prompts of a local judge as tokens: what all samples share, cut from the model's chat template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tamis.errors import RecipeError
from tamis.models.judging import JudgePrompt
from tamis.models.rating_tokens import RatingTokens, Tokens, shared_start
from tamis.runs.digests import digest_json

_SOME_DAY = datetime(2024, 7, 26)
"""What a template is told when it asks for the date: ratings must not depend on the day."""
_NOT_CRITERIA = ("mass", "p")


@dataclass(frozen=True)
class Frame:
    """Everything around the sample, as tokens; one for all prompts that differ in the sample alone.

    A row is read as ``prefix + sample + common + tail`` for each tail. There is a tail for each criterion and each path
    of its rating tokens (one path for the scales in use).

    Attributes
    ----------
    prefix : tuple of int
        Beginning of the chat, system message, opening.
    common : tuple of int
        How all tails begin: read once.
    tails : tuple of tuple of int
        What is left of question, end of the user's turn, and beginning of the answer.
    keeps : tuple of int
        How many positions at the end of each tail are looked at.
    ratings : tuple of (criterion, RatingTokens)
        The tails in groups: those of the first criterion's paths come first.
    closing : tuple of int
        Follows the sample where the judge generates its reply.
    """

    prefix: Tokens
    common: Tokens
    tails: tuple[Tokens, ...]
    keeps: tuple[int, ...]
    ratings: tuple[tuple[str, RatingTokens], ...]
    closing: Tokens

    def tokens_read(self, sample: int) -> int:
        """Tokens read for all criteria of a row whose sample has that many; the prefix counts for every row."""
        return len(self.prefix) + sample + len(self.common) + sum(map(len, self.tails))

    def longest(self, sample: int) -> int:
        """Tokens of the longest text of such a row: what has to fit into the context."""
        return len(self.prefix) + sample + len(self.common) + max(map(len, self.tails))

    def tokens_prompted(self, sample: int) -> int:
        """Tokens of the prompt of such a row where the judge generates its reply."""
        return len(self.prefix) + sample + len(self.closing)


def frame_of(prompt: JudgePrompt, tokenizer: Any, name: str) -> Frame:
    """Cut the prompt at its sample and tokenize what is left.

    The pieces come from rendering the chat template with marks for sample and question. If the template knows no system
    role, the system text opens the user's message. Without a template the texts are put one after the other, with an
    empty line after the system text and before the answer. Templates that can think are asked not to.

    Parameters
    ----------
    prompt : JudgePrompt
        Its sample is not looked at.
    tokenizer : transformers.PreTrainedTokenizerBase
    name : str
        Of the model, for messages.

    Raises
    ------
    RecipeError
        If the template cannot be rendered, a criterion has a name that the reply needs itself, or the tokenizer cannot
        write the ratings.
    """

    def encode(text: str) -> list[int]:
        tokens: list[int] = tokenizer.encode(text, add_special_tokens=False)
        return tokens

    head, end_of_turn = _around(prompt, tokenizer, name)
    prefix = tuple(encode(head))
    if not tokenizer.chat_template:
        prefix = (*_begin_token(tokenizer), *prefix)
    ratings, tails, keeps = [], [], []
    for criterion, question in prompt.questions:
        if criterion in _NOT_CRITERIA:
            raise RecipeError(f"A local judge cannot rate a criterion called {criterion!r}; call it something else.")
        asked = question + end_of_turn + prompt.answer.format(criterion=criterion)
        rating = RatingTokens.after(asked, prompt.low, prompt.high, encode=encode)
        ratings.append((criterion, rating))
        tails += [rating.stem + path for path in rating.paths]
        keeps += [len(path) + 1 for path in rating.paths]
    # one tail alone has nothing to share; of several, each keeps the positions that are looked at
    most = min(len(tail) - keep for tail, keep in zip(tails, keeps, strict=True)) if len(tails) > 1 else 0
    common = shared_start(tails)[: max(most, 0)]
    return Frame(
        prefix=prefix,
        common=common,
        tails=tuple(tail[len(common) :] for tail in tails),
        keeps=tuple(keeps),
        ratings=tuple(ratings),
        closing=tuple(encode(prompt.closing + end_of_turn)),
    )


def sample_tokens(samples: Sequence[str], tokenizer: Any) -> list[list[int]]:
    """Tokenize samples as plain text: ``<|im_end|>`` inside a sample becomes letters, not the end of a turn."""
    if not samples:
        return []
    encoded = tokenizer(
        list(samples),
        add_special_tokens=False,
        split_special_tokens=True,
        return_attention_mask=False,
        verbose=False,
    )
    tokens: list[list[int]] = encoded["input_ids"]
    return tokens


def _around(prompt: JudgePrompt, tokenizer: Any, name: str) -> tuple[str, str]:
    """Return the text before the sample, and what follows the user's message up to the answer."""
    if not tokenizer.chat_template:
        return "\n\n".join(part for part in (prompt.system, prompt.opening) if part), "\n\n"
    mark = f"sample-{digest_json([prompt.system, prompt.opening])}"
    user = {"role": "user", "content": prompt.opening + mark}
    rendered, refusal = "", None
    if prompt.system:
        rendered, refusal = _rendered([{"role": "system", "content": prompt.system}, user], tokenizer)
    if not prompt.system or refusal or prompt.system.strip() not in rendered:
        merged = "\n\n".join(part for part in (prompt.system, user["content"]) if part)
        rendered, refusal = _rendered([{"role": "user", "content": merged}], tokenizer)
    if refusal or rendered.count(mark) != 1:
        raise RecipeError(
            f"The chat template of the model {name!r} cannot be used: "
            f"{refusal or 'it does not give the user message back once'}; choose another model."
        )
    head, _, end_of_turn = rendered.partition(mark)
    return head, end_of_turn


def _rendered(messages: list[dict[str, str]], tokenizer: Any) -> tuple[str, str | None]:
    """Return the chat as text, or the template's refusal."""
    from jinja2 import TemplateError

    try:
        text: str = tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,
            date_string=_SOME_DAY.strftime("%d %b %Y"),
            strftime_now=_SOME_DAY.strftime,
        )
    except TemplateError as error:
        return "", str(error) or type(error).__name__
    return text, None


def _begin_token(tokenizer: Any) -> Tokens:
    """Return the token that the tokenizer puts before every text, if it does."""
    begin = tokenizer.bos_token_id
    return (begin,) if begin is not None and tokenizer.encode("a")[:1] == [begin] else ()
