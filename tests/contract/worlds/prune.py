"""World of layer pruning, and a deep model."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import torch

from tamis.data import Table
from tamis.prune import LayerPruner, LayerScores

from .tokens import two_models
from .world import SelectorWorld


@functools.cache
def deep_model() -> str:
    """Folder of a random llama with 60 layers, three of which hold a weight that is no number."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    small = AutoTokenizer.from_pretrained(two_models()[0])
    config = LlamaConfig(vocab_size=len(small), hidden_size=8, intermediate_size=8, num_hidden_layers=60,
                         num_attention_heads=1, bos_token_id=0, eos_token_id=0)  # fmt: skip
    network = LlamaForCausalLM(config)
    noise = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, weights in network.named_parameters():
            if "norm" not in name:
                weights.copy_(torch.randn(weights.shape, generator=noise))
        for layer in (11, 30, 58):
            network.model.layers[layer].mlp.up_proj.weight[0, 0] = float("nan")
    folder = tempfile.mkdtemp(prefix="tamis-world-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    network.save_pretrained(folder)
    small.save_pretrained(folder)
    return folder


class PruneWorld(SelectorWorld):
    """60 layers, scored by their weights; three cannot be scored, six are protected."""

    estimator = LayerPruner
    params: ClassVar[dict[str, Any]] = {"n_drop": 12, "protect_first": 4, "protect_last": 2}
    ends = ("selection.parquet", "evidence.parquet", "scores.csv")

    def given(self, *, content_ids: bool = False) -> dict[str, Any]:
        return {"scores": _layer_scores()}

    def units(self, given: dict[str, Any]) -> list[str]:
        return given["scores"].unit_ids

    def size(self, given: dict[str, Any]) -> int:
        return len(given["scores"])

    def take(self, given: dict[str, Any], rows: Any) -> dict[str, Any]:
        frame = given["scores"].frame[np.asarray(rows, dtype=np.int64)]
        return {"scores": _Rows(frame) if len(frame) > 1 else LayerScores(frame, criterion="magnitude")}

    def order(self, given: dict[str, Any]) -> list[str]:
        return given["scores"].unit_ids

    def duplicated(self, given: dict[str, Any], folder: Path) -> list[Callable[[], Any]]:
        frame = given["scores"].frame
        twice = pl.concat([frame, frame[:1]])
        twice.write_csv(folder / "scores.csv")
        return [lambda: LayerScores(twice, criterion="x"), lambda: LayerScores.read(folder / "scores.csv")]

    def applied(self, fitted: Any, given: dict[str, Any]) -> tuple[Table, int]:
        layers = Table.from_frame(pl.DataFrame({"id": self.units(given), "prompt": self.units(given)}))
        return fitted.select().apply(layers), len(fitted.kept_)

    def hidden(self, given: dict[str, Any], ids: list[str], status: str) -> dict[str, Any]:
        failed = {"missing": None, "refused": float("nan"), "unparsed": float("inf")}[status]
        frame = given["scores"].frame.drop("rank").with_columns(unit=pl.Series(self.units(given)))
        score = pl.when(pl.col("unit").is_in(ids)).then(pl.lit(failed, dtype=pl.Float64)).otherwise("score")
        return {"scores": LayerScores(frame.with_columns(score=score), criterion="magnitude")}

    def untouched(self, fitted: Any) -> dict[str, np.ndarray]:
        return {"protected": fitted.protected_}

    def files(self, folder: Path, given: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
        return {}, {**self.params, "model": deep_model(), "criterion": "magnitude"}


class _Rows(LayerScores):
    """Scores that say in which order their rows were given."""

    def __init__(self, frame: pl.DataFrame) -> None:
        super().__init__(frame, criterion="magnitude")
        self.given = frame

    @property
    def unit_ids(self) -> list[str]:
        return [f"layer-{layer:03d}" for layer in self.given["layer"]]


@functools.cache
def _layer_scores() -> LayerScores:
    from tamis.models.causal_lm import find_model
    from tamis.prune.scoring import ScoreLayers
    from tamis.prune.settings import PruneSettings
    from tamis.train.tuned_model import TunedModel

    model = find_model(deep_model())
    settings = PruneSettings(model=model.name, criterion="magnitude")
    task = ScoreLayers(TunedModel(model), "magnitude", settings, [], 12, (True,) * 60, 0)
    return LayerScores(task(tuple(range(60))), criterion="magnitude")
