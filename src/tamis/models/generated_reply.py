"""Replies that a causal language model writes token by token, each from its own stream of random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tamis.models.expected_score import left_padded


@dataclass(frozen=True)
class Written:
    """A reply: its text, its tokens (the stop token counts), and whether the network gave numbers throughout."""

    text: str
    tokens: int
    sound: bool


class GumbelNoise:
    """Turns the greedy choice of the next token into a draw from softmax(logits / temperature).

    The token that maximises ``logits / T + g``, where g is standard Gumbel noise, is such a draw (the Gumbel-max trick;
    Maddison, Tarlow and Minka 2014, section 2). ``generate`` samples from torch's global generator, by which a reply
    would depend on what else is in its batch; here each row has a generator of its own.

    Parameters
    ----------
    temperature : float
        0 adds no noise: the likeliest token is taken.
    seeds : sequence of int
        One for each row of the batch.

    Attributes
    ----------
    broken : list of bool
        Rows whose logits were not numbers at some step.
    """

    def __init__(self, temperature: float, seeds: Sequence[int]) -> None:
        import torch

        self.temperature = temperature
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.broken = [False] * len(seeds)

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Return scores of shape (rows, vocabulary) with noise."""
        import torch

        nan = scores.isnan().any(dim=-1).tolist()
        self.broken = [before or now for before, now in zip(self.broken, nan, strict=True)]
        if self.temperature == 0:
            return scores
        draws = [torch.empty(scores.shape[-1]).exponential_(generator=each) for each in self.generators]
        return scores / self.temperature - torch.stack(draws).log().to(scores.device)


def greedy_replies(network: Any, tokenizer: Any, questions: Sequence[str], *, max_tokens: int) -> list[str]:
    """Let a model answer questions, each as in a chat of its own, by its likeliest tokens."""
    from tamis.models.chat_tokens import prompt_tokens

    texts = [prompt_tokens([{"role": "user", "content": each}], tokenizer) for each in questions]
    replies = write_replies(network, tokenizer, texts, temperature=0, max_tokens=max_tokens, seeds=[0] * len(texts))
    return [reply.text for reply in replies]


def write_replies(
    network: Any,
    tokenizer: Any,
    texts: Sequence[Sequence[int]],
    *,
    temperature: float,
    max_tokens: int,
    seeds: Sequence[int],
) -> list[Written]:
    """Let the network continue each text until it stops or has written ``max_tokens``.

    Parameters
    ----------
    network : transformers.PreTrainedModel
    tokenizer : transformers.PreTrainedTokenizerBase
    texts : sequence of sequence of int
        Tokens of the prompts; one batch.
    temperature : float
    max_tokens : int
    seeds : sequence of int
        One for each text: the same text and seed give the same draws, whatever the batch.
    """
    import torch
    from transformers import GenerationConfig

    stops = network.generation_config.eos_token_id
    stops = [] if stops is None else [stops] if isinstance(stops, int) else list(stops)
    settings = GenerationConfig(
        max_new_tokens=max_tokens, do_sample=False, eos_token_id=stops or None, pad_token_id=stops[0] if stops else 0
    )
    noise = GumbelNoise(temperature, seeds)
    ids, mask = left_padded(network, texts)
    with torch.inference_mode():
        out = network.generate(input_ids=ids, attention_mask=mask, generation_config=settings, logits_processor=[noise])
    found = []
    for row, broken in zip(out[:, ids.shape[1] :].tolist(), noise.broken, strict=True):
        end = next((position for position, token in enumerate(row) if token in stops), len(row))
        text = tokenizer.decode(row[:end], skip_special_tokens=True)
        found.append(Written(text, min(end + 1, len(row)), not broken))
    return found
