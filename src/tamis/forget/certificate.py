"""The certificate of a forget run: what was asked, what was done to which bytes, and what was measured.

It says what was done and measured. It never says that anything is gone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from tamis.errors import DataError, RecipeError, RunStateError
from tamis.evidence import Evidence
from tamis.forget.comparison import Comparison
from tamis.forget.findings import Setting
from tamis.forget.rerun import run_again
from tamis.models.classifier import find_classifier
from tamis.runs import Run, atomic_write_text
from tamis.runs.digests import digest_file
from tamis.runs.step_files import write_frame

FOLDER = "certificate"
CERTIFICATE, SEAL = "certificate.json", "certificate.digest"
RESULTS = ("selection.parquet", "evidence.parquet")
"""Of the run, at its top."""
STATEMENT = (
    "This certificate says what was requested, what was done to which bytes, and what was measured. It does not say "
    "that the examples left no trace: the method is approximate, and its closeness to a model trained without them is "
    "what is measured here."
)
TOLERANCE = 1e-9


def certify(
    folder: Path,
    run: Run,
    setting: Setting,
    found: Mapping[str, Any],
    predictions: pl.DataFrame,
    evidence: Evidence,
    results: Mapping[str, Sequence[Path]],
) -> None:
    """Write ``certificate/``: the request, digests before and after, settings, predictions and metrics.

    ``certificate.digest`` beside it is what to hand over: whoever has it can tell whether the certificate is the same.

    Parameters
    ----------
    folder : Path
        Run directory, with the edited model in ``model/`` and its results.
    run : Run
    setting : Setting
    found : mapping
        As :func:`tamis.forget.findings.findings` returns it.
    predictions : polars.DataFrame
        As :class:`~tamis.forget.comparison.Comparison` takes it.
    evidence : Evidence
    results : mapping
        Folders of the models of each seed, by kind (edited, retrained).
    """
    model = setting.model
    target = folder / FOLDER
    target.mkdir(exist_ok=True)
    write_frame(target / "predictions.parquet", predictions)
    write_frame(target / "evidence.parquet", evidence.frame)
    forgotten = predictions.filter((pl.col("model") == "original") & (pl.col("split") == "forget"))["id"].to_list()
    atomic_write_text(target / "request.json", json.dumps({**found["request"], "ids": forgotten}, indent=1) + "\n")
    after = find_classifier(str(folder / "model"), factory=model.factory)
    again = [("original", 0, Path(model.folder)), ("edited", 0, folder / "model")]
    again += [(kind, number, path) for kind, paths in results.items() for number, path in enumerate(paths)
              if (kind, number) != ("edited", 0)]  # fmt: skip
    files = {path.name: digest_file(path) for path in sorted(target.glob("*")) if path.name not in (CERTIFICATE, SEAL)}
    said = {
        "statement": STATEMENT,
        "made": run.manifest["identity"],
        "model": {"before": model.fingerprint, "after": after.fingerprint, "factory": model.factory},
        "models": [
            {
                "model": kind,
                "seed": number,
                "folder": str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path),
                "fingerprint": find_classifier(str(path), factory=model.factory).fingerprint,
            }
            for kind, number, path in again
        ],
        "images": {"data": setting.data.files, "test": None if setting.test is None else setting.test.files},
        "model_files": {
            path.name: digest_file(path) for path in sorted((folder / "model").iterdir()) if path.is_file()
        },
        "files": files,
        "results": {name: digest_file(folder / name) for name in RESULTS},
        "method": found["method"],
        "data": found["data"],
        "metrics": found["metrics"],
        "gap": found["gap"],
        "seconds": found["seconds"],
        "can_say": found["proof"]["can"],
        "cannot_say": found["proof"]["cannot"],
    }
    atomic_write_text(target / CERTIFICATE, json.dumps(said, indent=1, allow_nan=False) + "\n")
    atomic_write_text(target / SEAL, digest_file(target / CERTIFICATE) + "\n")


def verify(folder: str | Path, *, files_only: bool = False, network: str | None = None) -> dict[str, Any]:
    """Recompute digests and metrics of a certificate, and run the models again.

    Parameters
    ----------
    folder : str or Path
        Run directory.
    files_only : bool, default=False
        Run no models.
    network : str, optional
        ``MODULE:FUNCTION`` that makes the network, where the run was told so.

    Returns
    -------
    dict
        ``holds``; ``checks``, each with ``what``, ``holds``, ``expected`` and ``got``; and ``not_checked``, what
        neither holds nor fails, with the reason: models and data that are gone, or not those that were certified.

    Raises
    ------
    RunStateError
        If there is no certificate, or it cannot be read.
    """
    run, target = Path(folder), Path(folder) / FOLDER
    path = target / CERTIFICATE
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        expected = [("model/" + name, digest) for name, digest in said["model_files"].items()]
        expected += [(f"{FOLDER}/{name}", digest) for name, digest in said["files"].items()]
        expected += said["results"].items()
        expected.append((f"{FOLDER}/{CERTIFICATE}", (target / SEAL).read_text(encoding="utf-8").strip()))
        metrics, seed, _, _ = said["metrics"], said["made"]["seed"], said["models"], said["images"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunStateError(
            f"{folder} holds no certificate that can be read ({error!r}); finish the run first."
        ) from error
    checks = [_digest_check(run / name, name, digest) for name, digest in expected]
    checks += _changed_models(run, said)
    extra = sorted(each.name for each in (run / "model").glob("*") if each.name not in said["model_files"])
    if extra:
        checks.append(_check("files of the model", False, "none but those certified", ", ".join(extra)))
    not_checked = ["metrics and predictions: the files are not those that were certified"]
    if all(each["holds"] for each in checks):
        frame = pl.read_parquet(target / "predictions.parquet")
        gone = json.loads((target / "request.json").read_text(encoding="utf-8"))["gone"]
        compared = Comparison(frame, forgotten_classes=gone, seconds=said["seconds"], seed=seed)
        for model, values in metrics.items():
            for name, numbers in values.items():
                got = compared.metrics.get(model, {}).get(name, [])
                checks.append(_check(f"{name} of the {model} model", _same(got, numbers), numbers, got))
        checks.append(_check("the gaps", _same(compared.gap(), said["gap"]), said["gap"], compared.gap()))
        checks += _against_predictions(target, compared, frame)
        not_checked = ["predictions: no model was run (--files-only)"]
        if not files_only:
            again, not_checked = run_again(run, said, frame, network=network)
            checks += [_check(what, not n, f"all {of} as stored", f"{n} that differ") for what, n, of in again]
    holds = all(each["holds"] for each in checks)
    return {"run": str(run), "holds": holds, "checks": checks, "not_checked": not_checked}


def _against_predictions(target: Path, compared: Comparison, frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Checks of the evidence and of the ids of the request against the predictions."""
    stored, again = pl.read_parquet(target / "evidence.parquet").to_dicts(), compared.evidence().frame.to_dicts()
    wrong = sum(not _same(list(a.values()), list(b.values())) for a, b in zip(stored, again, strict=False))
    wrong += abs(len(stored) - len(again))
    asked = json.loads((target / "request.json").read_text(encoding="utf-8"))["ids"]
    forgotten = frame.filter((pl.col("model") == "original") & (pl.col("split") == "forget"))["id"].to_list()
    return [
        _check("rows of the evidence", not wrong, f"all {len(stored)} as the predictions give them", f"{wrong} others"),
        _check("ids of the request", sorted(asked) == sorted(forgotten), f"{len(forgotten)} predictions", "other ids"),
    ]


def _same(one: Any, other: Any) -> bool:
    """Whether values are equal, numbers but for rounding."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE) or (math.isnan(one) and math.isnan(other))
    return bool(one == other)


def _changed_models(run: Path, said: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Checks of the models of single seeds: one that is there must be the one that was certified."""
    checks = []
    for each in said["models"]:
        folder = run / each["folder"]
        if folder.is_relative_to(run / "steps") and folder.is_dir():
            try:
                got = find_classifier(str(folder), factory=said["model"]["factory"]).fingerprint
            except (RecipeError, DataError) as error:
                got = str(error).rstrip(".")
            what = f"the {each['model']} model of seed {each['seed']}"
            checks.append(_check(what, got == each["fingerprint"], each["fingerprint"], got))
    return checks


def _digest_check(path: Path, name: str, expected: str) -> dict[str, Any]:
    got = digest_file(path) if path.is_file() else "no such file"
    return _check(name, got == expected, expected, got)


def _check(what: str, holds: bool, expected: Any, got: Any) -> dict[str, Any]:
    return {"what": what, "holds": holds, "expected": expected, "got": got}
