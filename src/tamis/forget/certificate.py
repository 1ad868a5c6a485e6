"""The certificate of a forget run: what was asked, what was done to which bytes, and what was measured.

It says what was done and measured. It never says that anything is gone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from tamis.errors import RunStateError
from tamis.evidence import Evidence
from tamis.forget.comparison import Comparison
from tamis.models.classifier import LocalClassifier, find_classifier
from tamis.runs import Run, atomic_write_text
from tamis.runs.digests import digest_file
from tamis.runs.step_files import write_frame

FOLDER = "certificate"
STATEMENT = (
    "This certificate says what was requested, what was done to which bytes, and what was measured. It does not say "
    "that the examples left no trace: the method is approximate, and its closeness to a model trained without them is "
    "what is measured here."
)
TOLERANCE = 1e-9


def certify(
    folder: Path,
    run: Run,
    model: LocalClassifier,
    found: Mapping[str, Any],
    predictions: pl.DataFrame,
    evidence: Evidence,
) -> None:
    """Write ``certificate/``: the request, digests before and after, settings, predictions and metrics.

    Parameters
    ----------
    folder : Path
        Run directory, with the edited model in ``model/``.
    run : Run
    model : LocalClassifier
        Before.
    found : mapping
        As :func:`tamis.forget.findings.findings` returns it.
    predictions : polars.DataFrame
        As :class:`~tamis.forget.comparison.Comparison` takes it.
    evidence : Evidence
    """
    target = folder / FOLDER
    target.mkdir(exist_ok=True)
    write_frame(target / "predictions.parquet", predictions)
    write_frame(target / "evidence.parquet", evidence.frame)
    forgotten = predictions.filter((pl.col("model") == "original") & (pl.col("split") == "forget"))["id"].to_list()
    atomic_write_text(target / "request.json", json.dumps({**found["request"], "ids": forgotten}, indent=1) + "\n")
    after = find_classifier(str(folder / "model"), factory=model.factory)
    files = {path.name: digest_file(path) for path in sorted(target.glob("*")) if path.name != "certificate.json"}
    said = {
        "statement": STATEMENT,
        "made": run.manifest["identity"],
        "model": {"before": model.fingerprint, "after": after.fingerprint, "factory": model.factory},
        "model_files": {
            path.name: digest_file(path) for path in sorted((folder / "model").iterdir()) if path.is_file()
        },
        "files": files,
        "method": found["method"],
        "data": found["data"],
        "metrics": found["metrics"],
        "gap": found["gap"],
        "seconds": found["seconds"],
        "can_say": found["proof"]["can"],
        "cannot_say": found["proof"]["cannot"],
    }
    atomic_write_text(target / "certificate.json", json.dumps(said, indent=1, allow_nan=False) + "\n")


def verify(folder: str | Path) -> dict[str, Any]:
    """Recompute digests and metrics of a certificate.

    Parameters
    ----------
    folder : str or Path
        Run directory.

    Returns
    -------
    dict
        ``holds``, and ``checks``: each with ``what``, ``holds``, ``expected`` and ``got``.

    Raises
    ------
    RunStateError
        If there is no certificate, or it cannot be read.
    """
    run, target = Path(folder), Path(folder) / FOLDER
    path = target / "certificate.json"
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        expected = [("model/" + name, digest) for name, digest in said["model_files"].items()]
        expected += [(f"{FOLDER}/{name}", digest) for name, digest in said["files"].items()]
        metrics, seed = said["metrics"], said["made"]["seed"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunStateError(
            f"{folder} holds no certificate that can be read ({error!r}); finish the run first."
        ) from error
    checks = [_digest_check(run / name, name, digest) for name, digest in expected]
    extra = sorted(each.name for each in (run / "model").glob("*") if each.name not in said["model_files"])
    if extra:
        checks.append(_check("files of the model", False, "none but those certified", ", ".join(extra)))
    if all(each["holds"] for each in checks):
        frame = pl.read_parquet(target / "predictions.parquet")
        gone = json.loads((target / "request.json").read_text(encoding="utf-8"))["gone"]
        again = Comparison(frame, forgotten_classes=gone, seconds=said["seconds"], seed=seed).metrics
        for model, values in metrics.items():
            for name, numbers in values.items():
                got = again.get(model, {}).get(name, [])
                same = len(got) == len(numbers) and all(
                    abs(a - b) <= TOLERANCE for a, b in zip(got, numbers, strict=True)
                )
                checks.append(_check(f"{name} of the {model} model", same, numbers, got))
    return {"run": str(run), "holds": all(each["holds"] for each in checks), "checks": checks}


def _digest_check(path: Path, name: str, expected: str) -> dict[str, Any]:
    got = digest_file(path) if path.is_file() else "no such file"
    return _check(name, got == expected, expected, got)


def _check(what: str, holds: bool, expected: Any, got: Any) -> dict[str, Any]:
    return {"what": what, "holds": holds, "expected": expected, "got": got}
