"""The run directory: recipe, manifest, ledger, steps and resume. Correctness after ``kill -9`` lives here."""

from tamis.runs.atomic import atomic_path, atomic_write_text
from tamis.runs.digests import derive_seed, digest_file, digest_json
from tamis.runs.run import Run, require_run
from tamis.runs.steps import Step

__all__ = [
    "Run",
    "Step",
    "atomic_path",
    "atomic_write_text",
    "derive_seed",
    "digest_file",
    "digest_json",
    "require_run",
]
