"""The digits of scikit-learn as files, and a small network trained on them: the world of ``tamis forget demo``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tamis.models._transformers import require
from tamis.models.classifier import save_classifier
from tamis.models.small_networks import mlp
from tamis.runs.digests import derive_seed
from tamis.train.labelled import CrossEntropy, LabelledExamples
from tamis.train.loop import train
from tamis.train.seeded import seeded
from tamis.train.settings import TrainSettings

LEARNED, TESTED = 1300, 300
SIZES = [64, 128, 64, 10]
RECIPE = {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 5e-4, "batch_rows": 64, "learning_rate": 0.05,
          "epochs": 60.0, "schedule": "cosine", "warmup": 0.0, "precision": "float32"}  # fmt: skip


def digits_world(folder: Path, *, seed: int) -> dict[str, Path]:
    """Write data and a trained model.

    Parameters
    ----------
    folder : Path
    seed : int
        Of the split and of the training.

    Returns
    -------
    dict
        Paths of ``model`` (a folder), ``data`` (1,300 examples), ``test`` (300) and ``held_out`` (197), CSV files with
        the columns id, label and 64 pixels from 0 to 16.
    """
    require("torch", "accelerate", "safetensors")
    import torch
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(derive_seed(seed, "digits")).permutation(len(y))
    parts = {"data": order[:LEARNED], "test": order[LEARNED : LEARNED + TESTED], "held_out": order[LEARNED + TESTED :]}
    folder.mkdir(parents=True, exist_ok=True)
    features = [f"pixel_{i}" for i in range(x.shape[1])]
    paths = {name: _write(folder / f"{name}.csv", features, x[at], y[at], at) for name, at in parts.items()}
    training = TrainSettings(**{**RECIPE, "micro_tokens": 64, "tune": "full", "seed": seed})  # type: ignore[arg-type]
    learned = LabelledExamples.of((x[parts["data"]] / 16).astype(np.float32), y[parts["data"]])
    with seeded(derive_seed(seed, "weights"), torch.device("cpu")):
        network = mlp(SIZES)
    train(network, CrossEntropy(learned), training)
    description = {
        "network": "mlp",
        "arguments": {"sizes": SIZES},
        "features": features,
        "scale": 16.0,
        "training": RECIPE,
    }
    save_classifier(network, folder / "model", description)
    return {"model": folder / "model", **paths}


def _write(path: Path, features: list[str], x: np.ndarray, y: np.ndarray, numbers: np.ndarray) -> Path:
    import polars as pl

    ids = pl.Series("id", [f"digit-{number:04d}" for number in numbers])
    pl.DataFrame(x.astype(np.int64), schema=features).insert_column(0, ids).insert_column(
        1, pl.Series("label", y)
    ).write_csv(path)
    return path
