"""What a run was made with: versions, platform, digests, seeds, times."""

from __future__ import annotations

import json
import platform
import secrets
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tamis.errors import RunStateError
from tamis.runs.atomic import atomic_write_text

FORMAT = 1
RECORDED_PACKAGES = (
    "tamis", "numpy", "scipy", "faiss-cpu", "polars", "pyarrow", "torch", "transformers", "sentence-transformers",
)  # fmt: skip


def package_versions(names: tuple[str, ...] = RECORDED_PACKAGES) -> dict[str, str | None]:
    """Installed version of each package, None where it is not installed; nothing is imported."""
    found: dict[str, str | None] = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def new_manifest(*, identity: dict[str, Any], command: str, created: str, cwd: str) -> dict[str, Any]:
    """Return the manifest of a run that begins. Its ``run_id`` tells it from every other run, wherever it is moved."""
    return {
        "format": FORMAT,
        "run_id": secrets.token_hex(8),
        "status": "running",
        "created": created,
        "finished": None,
        "command": command,
        "cwd": cwd,
        "identity": identity,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "packages": package_versions(),
        "steps": {},
        "summary": {},
    }


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read ``manifest.json`` of a run directory.

    Raises
    ------
    RunStateError
        If there is none, it is no JSON, or it was written by a newer tamis.
    """
    path = folder / "manifest.json"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunStateError(f"{folder} is not a run directory: it has no manifest.json.") from None
    except ValueError as error:
        raise RunStateError(f"{path} is not valid JSON ({error}); restore it or start a run in a new folder.") from None
    if manifest.get("format", 0) > FORMAT:
        raise RunStateError(f"{folder} was written by a newer tamis (format {manifest['format']}); upgrade tamis.")
    return manifest


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write ``manifest.json``, whole or not at all."""
    atomic_write_text(folder / "manifest.json", json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
