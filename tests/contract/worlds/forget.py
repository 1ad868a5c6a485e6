"""World of UGradSL, and a small classifier."""

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

from tamis.forget import UGradSL
from tamis.forget.named_examples import read_named
from tamis.models.classifier import find_classifier, load_classifier, save_classifier
from tamis.models.small_networks import mlp
from tamis.train import TrainSettings, train
from tamis.train.labelled import CrossEntropy, LabelledExamples
from tamis.train.seeded import seeded

from .world import EditorWorld


class ForgetWorld(EditorWorld):
    """150 examples of three classes that overlap, 20 of them from a source that is to be forgotten."""

    estimator = UGradSL
    params: ClassVar[dict[str, Any]] = {"epochs": 1, "batch_rows": 65, "learning_rate": 0.05}
    small = "tamis.forget.forgetter:CHECKPOINT_STEPS"
    features: ClassVar[list[str]] = [f"x{i}" for i in range(8)]
    training: ClassVar[dict[str, Any]] = {"epochs": 2.0, "learning_rate": 0.1, "batch_rows": 65}

    def frames(self) -> dict[str, pl.DataFrame]:
        rng = np.random.default_rng(4)
        found = {}
        for role, n in (("data", 150), ("held_out", 60), ("test", 60)):
            label = rng.integers(0, 3, n)
            x = (rng.normal(size=(n, 8)) + np.eye(8)[label] * 2).round(3)
            ids = {"id": [f"{role}-{i:03d}" for i in range(n)], "label": label}
            source = pl.Series("source", ["bad" if i % 7 == 3 and i < 140 else "good" for i in range(n)])
            found[role] = pl.DataFrame({**ids, **dict(zip(self.features, x.T, strict=True))}).with_columns(source)
        return found

    def examples(self, frame: pl.DataFrame) -> Any:
        return LabelledExamples.of(frame.select(self.features).to_numpy().astype(np.float32), frame["label"])

    def given(self) -> dict[str, Any]:
        frames = self.frames()
        return {
            "network": load_classifier(find_classifier(small_classifier())),
            "examples": self.examples(frames["data"]),
            "forget": np.flatnonzero((frames["data"]["source"] == "bad").to_numpy()),
            "held_out": self.examples(frames["held_out"]),
        }

    def duplicated(self, given: dict[str, Any], folder: Path) -> list[Callable[[], Any]]:
        frame = self.frames()["data"]
        twice = pl.concat([frame, frame[:1]])
        twice.write_csv(folder / "data.csv")
        twice.write_ndjson(folder / "data.jsonl")
        x = twice.select(self.features).to_numpy()
        np.savez(folder / "data.npz", x=x, y=twice["label"].to_numpy(), id=np.array(twice["id"].to_list()))
        return [functools.partial(read_named, folder / f"data.{kind}", {}) for kind in ("csv", "jsonl", "npz")]

    def files(
        self, folder: Path, given: dict[str, Any], *, content_ids: bool = False, shuffled: bool = False
    ) -> tuple[dict[str, str], dict[str, Any]]:
        for role, frame in self.frames().items():
            rows = frame.drop("id") if content_ids else frame
            rows = rows.sample(fraction=1, shuffle=True, seed=1) if shuffled else rows
            rows.write_csv(folder / f"{role}.csv")
        inputs = {role: str(folder / f"{role}.csv") for role in self.frames()}
        params = {**self.params, "model": small_classifier(), "where": "source=bad", "retrain": True, "seeds": 2}
        return inputs, params


@functools.cache
def small_classifier() -> str:
    """Folder of a perceptron that learned the world of examples."""
    world, sizes = ForgetWorld(), [8, 32, 3]
    with seeded(0, torch.device("cpu")):
        network = mlp(sizes)
    settings = TrainSettings(**{**world.training, "epochs": 100.0, "optimizer": "sgd", "momentum": 0.9, "tune": "full"})
    train(network, CrossEntropy(world.examples(world.frames()["data"])), settings)
    folder = tempfile.mkdtemp(prefix="tamis-world-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    description = {"network": "mlp", "arguments": {"sizes": sizes}, "training": world.training}
    save_classifier(network, Path(folder), description)
    return folder
