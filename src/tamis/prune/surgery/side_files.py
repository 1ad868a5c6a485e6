"""What a model's folder holds beside weights and configuration: tokenizer, chat template, licence, remote code."""

from __future__ import annotations

from pathlib import Path

LARGEST = 256_000_000
NAMES_LAYERS = ("hf_quant_config.json", "quantize_config.json")
"""Settings of quantisation beside ``config.json``, which name modules and so the index of their layer."""

_FOLDERS = ("additional_chat_templates",)
_REPLACED = ("config.json", "README.md")
_WEIGHTS = (
    ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".ggml", ".h5", ".msgpack", ".onnx", ".onnx_data", ".ot",
    ".tflite", ".npz", ".npy", ".pdparams", ".nemo", ".mlmodel", ".zip", ".tar", ".gz", ".index.json",
)  # fmt: skip


def side_files(folder: Path) -> list[Path]:
    """Files to carry over as they are, in order of their names.

    Not among them: weights in any format and their indexes, archives, hidden files, the configuration and the model
    card (a cut model has its own), and what takes more than 256 MB.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("tokenizer.json", "LICENSE", "README.md", "model.safetensors", "pytorch_model.bin.index.json"):
    ...     (folder / name).touch()
    >>> [path.name for path in side_files(folder)]
    ['LICENSE', 'tokenizer.json']
    """
    found = [path for place in (folder, *(folder / name for name in _FOLDERS)) for path in place.glob("*")]
    return sorted(path for path in found if path.is_file() and _is_carried(path))


def _is_carried(path: Path) -> bool:
    if path.name.startswith(".") or path.name in _REPLACED or path.name.endswith(_WEIGHTS):
        return False
    return path.stat().st_size <= LARGEST
