"""GGUF files as folders of safetensors: converted once, kept in the user's cache, whole or absent."""

from __future__ import annotations

import fcntl
import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

from tamis.cache import cache_folder
from tamis.errors import DataError, RecipeError, RunStateError
from tamis.models._transformers import first_line, quiet
from tamis.runs.whole_folder import clear_temporary_folders, whole_folder


def converted_folder(file: Path, digest: str) -> Path:
    """Return the safetensors folder of a GGUF file, converting the file if that was not done yet.

    Processes that want the same file at once wait for the first. The folder gets its name when it is whole: one that a
    killed process left half-written never counts, and is cleared by the next.

    Parameters
    ----------
    file : Path
    digest : str
        Digest of the file, by which the folder is called.

    Returns
    -------
    Path
        ``models/<digest>`` in the cache folder: float32 weights, tokenizer and chat template.

    Raises
    ------
    RecipeError
        If transformers cannot run the architecture.
    DataError
        If the file is damaged.
    RunStateError
        If the folder cannot be written.
    """
    target = cache_folder() / "models" / digest
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target):
            if not target.is_dir():
                _convert(file, target)
    except OSError as error:
        raise RunStateError(
            f"The model {file.name} cannot be converted in {target.parent} ({error}); free some space or set "
            "TAMIS_CACHE to another folder."
        ) from error
    return target


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Let one process at a time convert, the others wait for it, and clear what a killed one left."""
    with target.with_name(f".{target.name}.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        clear_temporary_folders(target.parent, target.name)
        yield


def _convert(file: Path, target: Path) -> None:
    """Write the safetensors folder of a GGUF file."""
    architecture = _gguf_architecture(file)
    # the bar over the tensors heeds no setting of transformers
    with whole_folder(target) as temporary, quiet(), redirect_stderr(io.StringIO()):
        _save(file, temporary, architecture)


def _save(file: Path, folder: Path, architecture: str) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    where = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name, "local_files_only": True}
    try:
        if AutoConfig.from_pretrained(**where).is_encoder_decoder:
            raise ValueError("it is an encoder-decoder model")
        tokenizer = AutoTokenizer.from_pretrained(**where)
        network = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    except (OSError, ValueError, KeyError, NotImplementedError) as error:
        raise RecipeError(
            f"transformers cannot run the GGUF file {file} of architecture {architecture!r} ({first_line(error)}); "
            "use the model's safetensors folder, or serve the file with llama.cpp or Ollama and rate with openai:."
        ) from error
    # the weights are plain float32 now, but save_pretrained refuses as long as the model is marked as quantised
    network.hf_quantizer, network.is_quantized = None, False
    if hasattr(network.config, "quantization_config"):
        del network.config.quantization_config
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _gguf_architecture(file: Path) -> str:
    from gguf import GGUFReader

    try:
        field = GGUFReader(file).get_field("general.architecture")
    except (ValueError, IndexError, KeyError, OverflowError, TypeError) as error:
        raise DataError(f"The GGUF file {file} is damaged or cut short: {first_line(error)}.") from error
    if field is None:
        raise DataError(f"The GGUF file {file} does not say of what architecture it is (general.architecture).")
    return str(field.contents())
