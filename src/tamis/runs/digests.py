"""128-bit BLAKE2 digests of files and JSON values, and seeds derived from them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tamis.errors import DataError

DIGEST_BYTES = 16
_READ = 1 << 20


def digest_json(value: Any) -> str:
    """Hex digest of the canonical JSON of ``value`` (sorted keys, no spaces).

    Examples
    --------
    >>> digest_json({"b": 1, "a": 2}) == digest_json({"a": 2, "b": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.blake2b(text.encode("utf-8"), digest_size=DIGEST_BYTES).hexdigest()


def digest_file(path: str | Path) -> str:
    """Hex digest of the bytes of a file, or of the files of a folder with their relative names.

    Raises
    ------
    DataError
        If nothing is there.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
        return digest_json([[str(p.relative_to(path)), digest_file(p)] for p in files])
    if not path.exists():
        raise DataError(f"There is no file {path}.")
    state = hashlib.blake2b(digest_size=DIGEST_BYTES)
    with path.open("rb") as stream:
        while block := stream.read(_READ):
            state.update(block)
    return state.hexdigest()


def derive_seed(seed: int, *names: str | int) -> int:
    """Seed of one step or shard, from the run's seed and the names that lead to it.

    Examples
    --------
    >>> derive_seed(0, "bootstrap", 1) != derive_seed(0, "bootstrap", 2)
    True
    """
    return int(digest_json([int(seed), *names])[:15], 16)
