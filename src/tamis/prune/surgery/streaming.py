"""Write a checkpoint without some of its layers, byte for byte and without ever holding a tensor."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tamis.errors import DataError, RunStateError
from tamis.prune.surgery.checkpoint import INDEX, WEIGHTS, Checkpoint
from tamis.prune.surgery.kept_layers import KeptLayers
from tamis.prune.surgery.quantization import cut_quantization
from tamis.prune.surgery.safetensors_header import BITS, TensorPlace, write_header
from tamis.prune.surgery.side_files import NAMES_LAYERS, side_files
from tamis.runs.whole_folder import whole_folder

_CHUNK = 1 << 22
_NO_RANGE_COPY = (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.ETXTBSY)


def write_cut(
    checkpoint: Checkpoint,
    kept: Iterable[int],
    target: Path,
    *,
    config: dict[str, Any],
    card: str,
    max_shard_bytes: int = 5_000_000_000,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Copy the tensors of the kept layers, under their new names, and all files that the model came with.

    Parameters
    ----------
    checkpoint : Checkpoint
    kept : iterable of int
        Ascending, 0-based.
    target : Path
        Must not exist yet, or be empty. It appears when it is whole.
    config : dict
        The new ``config.json``, see :func:`~tamis.prune.surgery.config.pruned_config`.
    card : str
        The new ``README.md``.
    max_shard_bytes : int, default=5_000_000_000
        Tensors that go into one file; a larger tensor has a file of its own.
    progress : callable, optional
        Told the bytes of tensors written, and those to write, after each tensor.

    Raises
    ------
    RecipeError
        If the layers to keep are none, or not of this model.
    DataError
        If a file of the checkpoint becomes shorter meanwhile.
    RunStateError
        If the folder holds something, does not fit on the disk, or cannot be written.

    Notes
    -----
    Tensors keep their bytes, and so their dtype; matrices that are tied stay so. Tokenizer, chat template, generation
    settings, licence and remote code are copied as they are, weights in other formats and the old model card are not.
    """
    layers = KeptLayers.checked(kept, checkpoint.n_layers)
    tensors = _renamed(checkpoint, layers)
    total, beside = sum(place.n_bytes for place in tensors.values()), side_files(checkpoint.folder)
    _require_room(target, total + sum(path.stat().st_size for path in beside))
    shards = list(_shards(tensors, max_shard_bytes))
    names = [WEIGHTS] if len(shards) == 1 else [_shard_name(i, len(shards)) for i in range(len(shards))]
    done = 0
    with _writing(target), whole_folder(target) as folder:
        for name, shard in zip(names, shards, strict=True):
            for n_bytes in _write_shard(folder / name, shard):
                done += n_bytes
                if progress is not None:
                    progress(done, total)
        if len(shards) > 1:
            placed = {tensor: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
            index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(placed.items()))}
            _write_json(folder / INDEX, index)
        for path in beside:
            copy = folder / path.relative_to(checkpoint.folder)
            copy.parent.mkdir(exist_ok=True)
            if path.name in NAMES_LAYERS:
                _write_json(copy, cut_quantization(json.loads(path.read_text(encoding="utf-8")), layers, path.name))
            else:
                shutil.copyfile(path, copy)
        _write_json(folder / "config.json", config)
        (folder / "README.md").write_text(card, encoding="utf-8")


def _renamed(checkpoint: Checkpoint, layers: KeptLayers) -> dict[str, TensorPlace]:
    """The tensors that stay, by their new names."""
    position, tensors = layers.position, {}
    for name, place in checkpoint.kept_tensors(layers.indices).items():
        layer = checkpoint.layer_of(name)
        if layer is not None:
            rest = name[len(checkpoint.prefix) :].partition(".")[2]
            name = f"{checkpoint.prefix}{position[layer]}.{rest}"
        tensors[name] = place
    return tensors


def _shards(tensors: dict[str, TensorPlace], limit: int) -> Iterator[dict[str, TensorPlace]]:
    shard: dict[str, TensorPlace] = {}
    size = 0
    for name, place in tensors.items():
        if shard and size + place.n_bytes > limit:
            yield _aligned(shard)
            shard, size = {}, 0
        shard[name] = place
        size += place.n_bytes
    yield _aligned(shard)


def _aligned(shard: dict[str, TensorPlace]) -> dict[str, TensorPlace]:
    """Wide numbers first, so that every tensor begins at a multiple of its own width."""
    return dict(sorted(shard.items(), key=lambda item: -BITS[item[1].dtype]))


def _shard_name(i: int, n: int) -> str:
    return f"model-{i + 1:05d}-of-{n:05d}.safetensors"


def _write_shard(path: Path, shard: dict[str, TensorPlace]) -> Iterator[int]:
    """Write a file of tensors; yield the size of each when it is written."""
    with ExitStack() as stack:
        sources = {file: stack.enter_context(file.open("rb")) for file in {place.file for place in shard.values()}}
        out = stack.enter_context(path.open("wb", buffering=0))
        _write_all(out.fileno(), write_header({k: (p.dtype, p.shape, p.n_bytes) for k, p in shard.items()}))
        for place in shard.values():
            _copy_range(sources[place.file].fileno(), out.fileno(), place)
            yield place.n_bytes


def _copy_range(source: int, target: int, place: TensorPlace) -> None:
    """Append the bytes of a tensor, inside the kernel where it can."""
    at, within_kernel = place.start, hasattr(os, "copy_file_range")
    while at < place.stop:
        if within_kernel:
            try:
                n = os.copy_file_range(source, target, place.stop - at, offset_src=at)
            except OSError as error:
                if error.errno not in _NO_RANGE_COPY:
                    raise
                within_kernel = False
                continue
        else:
            piece = os.pread(source, min(_CHUNK, place.stop - at), at)
            _write_all(target, piece)
            n = len(piece)
        if n == 0:
            raise DataError(f"{place.file} became shorter while it was copied; leave it alone and start again.")
        at += n


def _write_all(target: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(target, view) :]


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _require_room(target: Path, needed: int) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RunStateError(f"{target} exists already; write the model to another folder, or remove this one.")
    above = next(folder for folder in target.absolute().parents if folder.exists())
    free = shutil.disk_usage(above).free
    if needed > free:
        raise RunStateError(
            f"The cut model needs {needed:,} bytes and {above} has {free:,} free; free some space or write it "
            "elsewhere."
        )


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            target.rmdir()
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise RunStateError(f"The disk of {target.parent} is full; free some space and start again.") from error
        raise RunStateError(f"The model cannot be written to {target} ({error.strerror or error}).") from error
