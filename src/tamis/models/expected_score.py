"""Probabilities of the ratings from a causal language model's next-token logits: nothing is sampled."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.models.judge_frame import Frame
from tamis.models.rating_tokens import Tokens

States = list[tuple[Any, Any]]
"""Keys and values of each layer."""


@dataclass(frozen=True)
class Scorer:
    """A network that has read the prefix of a frame.

    Attributes
    ----------
    network : transformers.PreTrainedModel
    frame : Frame
    states : list of (keys, values) or None
        What the network remembers of the prefix, shape (1, heads, length of the prefix, d) each. None if that cannot be
        shared between rows: then every text is read from its beginning.
    """

    network: Any
    frame: Frame
    states: States | None

    @classmethod
    def after_prefix(cls, network: Any, frame: Frame) -> Scorer:
        """Read the prefix."""
        return cls(network, frame, _prefix_states(network, frame.prefix))

    def probabilities(self, samples: Sequence[Sequence[int]]) -> list[NDArray[np.float64]]:
        """Read a batch of samples.

        Parameters
        ----------
        samples : sequence of sequence of int, length n
            Tokens of each sample.

        Returns
        -------
        list of ndarray of shape (n, number of ratings)
            Per criterion, P(rating) as :meth:`RatingTokens.probabilities` defines it, not normalised. They are what
            separate passes over the whole texts give, up to rounding in float32.
        """
        import torch

        with torch.inference_mode():
            logits = self._shared(samples) if self.states is not None else self._separate(samples)
            position, found = 0, []
            for _, rating in self.frame.ratings:
                of_paths = logits[position : position + len(rating.paths)]
                position += len(rating.paths)
                found.append(rating.probabilities([_log_p(each, rating.vocabulary) for each in of_paths]))
        return found

    def _separate(self, samples: Sequence[Sequence[int]]) -> list[Any]:
        """Logits of each tail, the whole text read for each."""
        frame = self.frame
        found = []
        for tail, keep in zip(frame.tails, frame.keeps, strict=True):
            texts = [[*frame.prefix, *sample, *frame.common, *tail] for sample in samples]
            ids, mask = left_padded(self.network, texts)
            found.append(self._forward(ids, mask, keep, use_cache=False))
        return found

    def _shared(self, samples: Sequence[Sequence[int]]) -> list[Any]:
        """Logits of each tail, prefix and sample read once: tails are read on top and taken off again."""
        import torch
        from transformers import DynamicCache

        frame, rows = self.frame, len(samples)
        alone = frame.tails[0] if len(frame.tails) == 1 else ()
        ids, mask = left_padded(self.network, [[*sample, *frame.common, *alone] for sample in samples])
        mask = torch.cat([mask.new_ones(rows, len(frame.prefix)), mask], dim=1)
        cache = DynamicCache()
        for layer, (keys, values) in enumerate(self.states or ()):
            cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), layer)
        if alone:
            return [self._forward(ids, mask, frame.keeps[0], cache=cache, use_cache=True)]
        if ids.shape[1]:
            self._forward(ids, mask, 1, cache=cache, use_cache=True)
        found = []
        for tail, keep in zip(frame.tails, frame.keeps, strict=True):
            ids = torch.tensor([tail], device=mask.device).expand(rows, -1)
            whole = torch.cat([mask, mask.new_ones(rows, len(tail))], dim=1)
            found.append(self._forward(ids, whole, keep, cache=cache, use_cache=True))
            cache.crop(-len(tail))
        return found

    def _forward(self, ids: Any, mask: Any, keep: int, *, cache: Any = None, **options: Any) -> Any:
        accepted = inspect.signature(self.network.forward).parameters
        if cache is not None:  # transformers 5.24 renamed it, and warns of the old name
            options["cache" if "cache" in accepted else "past_key_values"] = cache
        if "position_ids" in accepted:
            # padding has no place in the text: positions count the tokens that are there
            positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
            options["position_ids"] = positions[:, -ids.shape[1] :]
        if "logits_to_keep" in accepted:
            options["logits_to_keep"] = keep
        return self.network(input_ids=ids, attention_mask=mask, **options).logits[:, -keep:]


def left_padded(network: Any, texts: Sequence[Sequence[int]]) -> tuple[Any, Any]:
    """Return token ids and attention mask, both of shape (texts, longest text), on the network's device."""
    import torch

    width = max(map(len, texts))
    ids = torch.zeros((len(texts), width), dtype=torch.long)
    mask = torch.zeros((len(texts), width), dtype=torch.long)
    for row, text in enumerate(texts):
        if text:
            ids[row, -len(text) :] = torch.tensor(text)
            mask[row, -len(text) :] = 1
    return ids.to(network.device), mask.to(network.device)


def _prefix_states(network: Any, prefix: Tokens) -> States | None:
    """Read the prefix; None where its states cannot stand before samples of different length.

    That is so for recurrent layers and for layers with a sliding window, which count padding as distance, and for
    networks that take no positions.
    """
    import torch
    from transformers.cache_utils import DynamicCache, DynamicLayer

    if not prefix or "position_ids" not in inspect.signature(network.forward).parameters:
        return None
    with torch.inference_mode():
        ids = torch.tensor([prefix], device=network.device)
        read = network(input_ids=ids, use_cache=True)
        cache = read.get("cache", None) or read.get("past_key_values", None)
    if not isinstance(cache, DynamicCache) or any(type(layer) is not DynamicLayer for layer in cache.layers):
        return None
    return [(layer.keys, layer.values) for layer in cache.layers]


def _log_p(logits: Any, vocabulary: Sequence[int]) -> NDArray[np.float64]:
    """Log-probabilities of some tokens, shape (rows, positions, tokens)."""
    import torch

    log_p = torch.log_softmax(logits.double(), dim=-1)
    chosen: NDArray[np.float64] = log_p[..., torch.tensor(vocabulary, device=logits.device)].cpu().numpy()
    return chosen
