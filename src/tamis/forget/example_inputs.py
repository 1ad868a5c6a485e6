"""Texts and images from files, as a model of transformers takes them: tokens, or pixel values."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl

from tamis.data.rows import quoted
from tamis.errors import DataError, MissingExtraError, RecipeError, did_you_mean, parameter_error
from tamis.forget.forget_recipe import ForgetRecipe
from tamis.forget.named_examples import NamedExamples, read_named
from tamis.models.classifier import LocalClassifier, kind_of_inputs
from tamis.models.hf_classifier import configuration, load_processor
from tamis.runs.digests import digest_file, digest_json

LONGEST = 512
"""Tokens of a text by default, at most."""
NAMED = 5
AT_A_TIME = 256
"""Images that are open together."""


class ExampleInputs(Protocol):
    """Makes keyword arguments of a network."""

    def of_table(self, frame: pl.DataFrame, path: Path) -> tuple[dict[str, Any], str | None]:
        """From the rows of a table; with a digest of the files that it names."""
        ...

    def of_array(self, x: Any, path: Path) -> dict[str, Any]:
        """From an array, shape (N, ...)."""
        ...


def examples_reader(
    model: LocalClassifier, described: Mapping[str, Any], recipe: ForgetRecipe
) -> partial[NamedExamples]:
    """Return what reads a file of examples for a model, as :func:`~tamis.forget.named_examples.read_named`.

    Raises
    ------
    RecipeError
        If the recipe names texts for a model that takes none, or images.
    DataError
        If the tokenizer or image processor of the model is missing.
    """
    kind, folder = kind_of_inputs(model), Path(model.folder)
    for name, wanted in (("text", "text"), ("max_length", "text"), ("image", "image")):
        if getattr(recipe, name) is not None and kind != wanted:
            raise RecipeError(
                f"The parameter {name!r} is for {wanted} classifiers of transformers; {model.title} is none, so leave "
                "it out."
            )
    inputs: ExampleInputs | None = None
    if kind == "text":
        inputs = TextInputs(folder, recipe.text or "text", recipe.max_length)
    elif kind == "image":
        inputs = ImageInputs(folder, recipe.image or "image")
    return partial(read_named, description=described, label=recipe.label, id_column=recipe.id_column, inputs=inputs)


class TextInputs:
    """Texts of a column as tokens, padded on the right.

    Parameters
    ----------
    folder : Path
        Of the model, with its tokenizer.
    column : str
    max_length : int, optional
        Tokens after which a text is cut. Default: as many as the model takes, at most 512.

    Raises
    ------
    RecipeError
        If the model takes fewer tokens.
    DataError
        If there is no tokenizer, or no padding token.
    """

    def __init__(self, folder: Path, column: str, max_length: int | None = None) -> None:
        self.column, self.tokenizer = column, load_processor(folder)
        said = configuration(folder)
        positions = said.get("max_position_embeddings") or self.tokenizer.model_max_length
        most = int(min(positions, self.tokenizer.model_max_length))
        if max_length is not None and not 1 <= max_length <= most:
            raise parameter_error("a forget recipe", "max_length", f"an int in [1, {most}], what the model takes",
                                  max_length)  # fmt: skip
        self.max_length = min(most, LONGEST) if max_length is None else max_length
        if self.tokenizer.pad_token is None or said.get("pad_token_id", 0) is None:
            raise DataError(
                f"The tokenizer or the model in {folder} has no padding token; set pad_token of the one and "
                "pad_token_id of the other's config, and save both again."
            )

    def of_table(self, frame: pl.DataFrame, path: Path) -> tuple[dict[str, Any], str | None]:
        """Tokens of the texts.

        Raises
        ------
        DataError
            If there is no such column of texts, or a text is empty.
        """
        texts = _strings(frame, self.column, path, "--text")
        empty = [each for each, text in zip(frame["id"], texts, strict=True) if not (text or "").strip()]
        if empty:
            raise DataError(
                f"{len(empty)} of {len(texts)} texts of {path} are empty, such as {quoted(empty[:NAMED])}; leave them "
                "out."
            )
        tokens = self.tokenizer(
            texts, truncation=True, max_length=self.max_length, padding=True, padding_side="right", return_tensors="pt"
        )
        return dict(tokens), None

    def of_array(self, x: Any, path: Path) -> dict[str, Any]:
        """Refuse: arrays are no texts."""
        raise DataError(f"The model classifies texts, and {path} holds arrays; give a table with a column of texts.")


class ImageInputs:
    """Image files that a column names, as pixel values of the model's image processor.

    Parameters
    ----------
    folder : Path
        Of the model.
    column : str
        Of paths, relative to the table.
    """

    def __init__(self, folder: Path, column: str) -> None:
        self.folder, self.column, self.said = folder, column, configuration(folder)

    def of_table(self, frame: pl.DataFrame, path: Path) -> tuple[dict[str, Any], str | None]:
        """Pixel values, and a digest of the files.

        Raises
        ------
        DataError
            If there is no such column or no image processor, or files are missing or no images.
        MissingExtraError
            If pillow is not installed.
        """
        processor = load_processor(self.folder)
        names = _strings(frame, self.column, path, "--image")
        files = [path.parent / (name or "") for name in names]
        parts, wrong = [], []
        for start in range(0, len(files), AT_A_TIME):
            images = [_image(each) for each in files[start : start + AT_A_TIME]]
            wrong += [str(names[start + i]) for i, each in enumerate(images) if each is None]
            if not wrong:
                parts.append(np.asarray(processor(images, return_tensors="np")["pixel_values"], dtype=np.float32))
        if wrong:
            raise DataError(
                f"{len(wrong)} of {len(files)} images that {path} names are missing, or cannot be read, such as "
                f"{quoted(wrong[:NAMED])}; their paths are relative to its folder."
            )
        return self.of_array(np.concatenate(parts), path), digest_json([digest_file(each) for each in files])

    def of_array(self, x: Any, path: Path) -> dict[str, Any]:
        """Pixel values as they are.

        Raises
        ------
        DataError
            If they have another shape than the model takes.
        """
        size = self.said.get("image_size")
        expected = [self.said.get("num_channels"), *(size if isinstance(size, list) else [size, size])]
        if x.ndim != 4 or any(want not in (None, got) for want, got in zip(expected, x.shape[1:], strict=True)):
            shape = ", ".join("any" if each is None else str(each) for each in expected)
            raise DataError(f"The images of {path} must have the shape (N, {shape}). Got {x.shape} instead.")
        return {"pixel_values": x}


def _image(path: Path) -> Any:
    """The image as it is to be looked at, in RGB; None if it is missing or broken."""
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise MissingExtraError("Reading images needs pillow; run: pip install 'tamis[vision]'.") from error
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # pillow's words for broken files
        return None


def _strings(frame: pl.DataFrame, column: str, path: Path, option: str) -> list[str | None]:
    if column not in frame.columns:
        raise DataError(f"{path} has no column {column!r}; name it with {option}.{did_you_mean(column, frame.columns)}")
    if frame[column].dtype != pl.String:
        raise DataError(f"The column {column!r} of {path} must hold strings ({option}). Got {frame[column].dtype}.")
    return frame[column].to_list()
