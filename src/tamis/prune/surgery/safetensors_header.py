"""The header of a safetensors file, read and checked without its tensors and without torch."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.errors import DataError

BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
}  # fmt: skip
_LONGEST_HEADER = 100_000_000


@dataclass(frozen=True)
class TensorPlace:
    """Where the bytes of a stored tensor are.

    Attributes
    ----------
    file : Path
    dtype : str
        As safetensors names it, such as ``BF16``.
    shape : tuple of int
    start, stop : int
        Bytes from the beginning of the file.
    """

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def n_bytes(self) -> int:
        """Bytes of the tensor."""
        return self.stop - self.start

    @property
    def n_elements(self) -> int:
        """Numbers in the tensor."""
        return math.prod(self.shape)


def read_header(file: Path) -> dict[str, TensorPlace]:
    """Read where the tensors of a file are.

    Parameters
    ----------
    file : Path

    Returns
    -------
    dict of str to TensorPlace
        By tensor name, in the order of their bytes.

    Raises
    ------
    DataError
        If the file is cut short or damaged: the header is no JSON object of tensors, a tensor's bytes do not fit its
        shape, or the tensors do not fill the file one behind the other.
    """
    raw, begin, size = _raw_header(file)
    places = {}
    for name, entry in raw.items():
        if name != "__metadata__":
            places[name] = _place(file, name, entry, begin)
    places = dict(sorted(places.items(), key=lambda item: (item[1].start, item[1].stop)))
    end = begin
    for name, place in places.items():
        if place.stop > size:
            raise DataError(
                f"{file} is cut short: the tensor {name!r} ends at byte {place.stop:,}, the file has {size:,}; fetch "
                "the file again."
            )
        if place.start != end:
            raise DataError(
                f"{file} is damaged: the tensor {name!r} begins at byte {place.start:,}, expected {end:,}, the end of "
                "the one before it; fetch the file again."
            )
        end = place.stop
    if end != size:
        raise DataError(f"{file} is damaged: its tensors end at byte {end:,}, the file has {size:,}; fetch it again.")
    return places


def write_header(tensors: dict[str, tuple[str, tuple[int, ...], int]]) -> bytes:
    """Bytes of a header whose tensors (dtype, shape, number of bytes) follow each other in the given order.

    Examples
    --------
    >>> header = write_header({"a": ("F32", (2,), 8)})
    >>> len(header) % 8, header[8:72]
    (0, b'{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"')
    """
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (dtype, shape, n_bytes) in tensors.items():
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + n_bytes]}
        at += n_bytes
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _raw_header(file: Path) -> tuple[dict[str, Any], int, int]:
    """The JSON object, the byte at which the tensors begin, and the size of the file."""
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8).ljust(8, b"\xff"))
            if length > min(_LONGEST_HEADER, size - 8):
                raise DataError(
                    f"{file} is no whole safetensors file: it should begin with the length of its header, and has "
                    f"{size:,} bytes in all; fetch it again."
                )
            header = json.loads(stream.read(length))
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror or error}).") from error
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{file} is damaged: its header is no JSON ({error}); fetch it again.") from error
    if not isinstance(header, dict):
        raise DataError(f"{file} is damaged: its header is a JSON {type(header).__name__}, expected an object.")
    return header, 8 + length, size


def _place(file: Path, name: str, entry: Any, begin: int) -> TensorPlace:
    try:
        dtype, shape, (start, stop) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        sound = all(isinstance(n, int) and n >= 0 for n in (*shape, start, stop))
    except (KeyError, TypeError, ValueError):
        sound = False
    if not sound or not isinstance(dtype, str):
        raise DataError(
            f"{file} is damaged: the header's entry of the tensor {name!r} lacks dtype, shape or data_offsets; fetch "
            "the file again."
        )
    if dtype not in BITS:
        raise DataError(f"{file} stores the tensor {name!r} as {dtype!r}; expected one of {', '.join(BITS)}.")
    expected = math.prod(shape) * BITS[dtype]
    if expected != 8 * (stop - start):
        raise DataError(
            f"{file} is damaged: the tensor {name!r} has {stop - start:,} bytes, expected {expected // 8:,} for shape "
            f"{list(shape)} of {dtype}; fetch the file again."
        )
    return TensorPlace(file, dtype, shape, begin + start, begin + stop)
