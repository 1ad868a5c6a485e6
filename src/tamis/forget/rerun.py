"""Running the models of a certificate again, and holding what they say against the predictions that it stores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import softmax

from tamis.errors import DataError, MissingExtraError, RecipeError
from tamis.evidence.forgetting import Predictions
from tamis.forget.comparison import predictions_of
from tamis.forget.example_inputs import examples_reader
from tamis.forget.forget_recipe import ForgetRecipe
from tamis.forget.named_examples import NamedExamples
from tamis.models.classifier import LocalClassifier, describe_classifier, find_classifier, load_classifier
from tamis.recipe import Recipe
from tamis.runs.digests import digest_file
from tamis.train.labelled import logits_of

TOLERANCE = 1e-3
"""Difference of probabilities, and share of a margin, that rounding on another machine may make."""
SPLITS = {"data": ("forget", "retain"), "test": ("test",)}


def run_again(
    run: Path, said: Mapping[str, Any], stored: pl.DataFrame, *, network: str | None
) -> tuple[list[tuple[str, int, int]], list[str]]:
    """Run every model that is still there on every file that is still there.

    Parameters
    ----------
    run : Path
        Run directory; the digests of its files hold.
    said : mapping
        The certificate.
    stored : polars.DataFrame
        Its predictions.
    network : str, optional
        ``MODULE:FUNCTION`` that makes the network. It is never taken from the certificate, whose word is not yet good
        enough to run code by.

    Returns
    -------
    list of (str, int, int)
        What was compared, how many examples of it differ, and of how many.
    list of str
        What was not checked, each with the reason. It neither holds nor fails: a user may rightly have deleted the
        forgotten records, or the original.
    """
    if network != said["model"]["factory"]:
        expected = said["model"]["factory"] or "none"
        return [], [f"all predictions: the network was made by {expected}; name it with --network to run the models"]
    try:
        read, skipped = _files(run, said, network)
        models, more = _models(run, said, network)
    except (MissingExtraError, RecipeError, DataError) as error:
        return [], [f"all predictions: {str(error).rstrip('.')}"]
    found, skipped = [], [*skipped, *more]
    for what, model, own in models:
        try:
            loaded = load_classifier(model)
            for role, named in read.items():
                rows = stored.filter(own, pl.col("split").is_in(SPLITS[role]))
                found.append((f"{what} on the {role} file", *_differing(loaded, named, rows)))
        except (MissingExtraError, RecipeError, DataError) as error:
            skipped.append(f"{what}: {str(error).rstrip('.')}")
    return found, skipped


def _files(run: Path, said: Mapping[str, Any], network: str | None) -> tuple[dict[str, NamedExamples], list[str]]:
    """Examples by role, and the files that are not those of the certificate any more."""
    made = said["made"]
    recipe = Recipe.from_yaml(run / "recipe.yaml").model_copy(update={"params": made["params"]})
    model = find_classifier(str(run / "model"), factory=network)
    reader = examples_reader(model, describe_classifier(model), ForgetRecipe.of(recipe))
    read, skipped = {}, []
    for role in SPLITS:
        if role not in made["inputs"]:
            continue
        path = recipe.input_path(role)
        try:
            if digest_file(path) != made["inputs"][role]:
                raise DataError(f"{path} is not the file that was certified any more")
            named = reader(path)
            if named.files != said["images"][role]:
                raise DataError(f"the images that {path} names are not those that were certified any more")
            read[role] = named
        except DataError as error:
            skipped.append(f"predictions on the {role} file: {str(error).rstrip('.')}")
    return read, skipped


def _models(
    run: Path, said: Mapping[str, Any], network: str | None
) -> tuple[list[tuple[str, LocalClassifier, pl.Expr]], list[str]]:
    """Models with their rows of the predictions, and those that are not what was certified any more."""
    found, skipped = [], []
    for each in said["models"]:
        kind, number = each["model"], each["seed"]
        what = f"predictions of the {kind} model" + f" of seed {number}" * (kind != "original")
        try:
            model = find_classifier(str(run / each["folder"]), factory=network)
            if model.fingerprint != each["fingerprint"]:
                raise RecipeError(f"{model.folder} is not the model that was certified any more")
            found.append((what, model, (pl.col("model") == kind) & (pl.col("seed") == number)))
        except (RecipeError, DataError) as error:
            skipped.append(f"{what}: {str(error).rstrip('.')}")
    return found, skipped


def _differing(network: Any, named: NamedExamples, stored: pl.DataFrame) -> tuple[int, int]:
    """How many examples differ from what is stored, are stored twice or on one side only; and how many there are."""
    ids = pl.DataFrame({"id": named.ids, "at": np.arange(len(named.ids))})
    both = stored.join(ids, on="id", maintain_order="left")
    part = named.examples.take(both["at"].to_list())
    wrong = differs(logits_of(network, part), part.labels.numpy(), both).sum() if len(both) else 0
    alone = len(ids) + len(stored) - 2 * both["id"].n_unique()
    return int(wrong) + alone, len(ids)


def differs(logits: NDArray[np.floating], labels: NDArray[np.int64], stored: pl.DataFrame) -> NDArray[np.bool_]:
    """Whether logits say something else than stored predictions, by more than rounding.

    Examples
    --------
    >>> logits, labels = np.array([[2.0, 0.0], [2.0, 0.0]]), np.array([0, 0])
    >>> said = {"label": labels, "predicted": [0, 1], "confidence": [0.881, 0.881], "margin": [2.0, 2.0]}
    >>> differs(logits, labels, pl.DataFrame(said))
    array([False,  True])
    """
    p, rows = softmax(np.asarray(logits, dtype=np.float64), axis=1), np.arange(len(logits))
    now, before = Predictions.of(logits, labels), predictions_of(stored)
    likely = p[rows, np.clip(before.predicted, 0, p.shape[1] - 1)] >= p.max(axis=1) - TOLERANCE
    same = (
        (labels == before.labels)
        & likely
        & np.isclose(now.confidence, before.confidence, rtol=0, atol=TOLERANCE)
        & np.isclose(now.margin, before.margin, rtol=TOLERANCE, atol=TOLERANCE)
    )
    return np.asarray(~same)
