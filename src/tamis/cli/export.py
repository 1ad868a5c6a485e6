"""``tamis export``: hand the mask of a token run to a trainer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tamis.cli.console import JsonOption, guarded, print_json

if TYPE_CHECKING:
    from tamis.data.token_rows import TokenRows
    from tamis.runs import Run

METHOD, TOKENS = "tokens", "tokens.parquet"
MARKER = "export.json"
"""Lies in the folder of an export before anything else does, and says whether the export is whole."""
DIGITS = 8
_USAGE = {
    "trl": (
        'data = load_dataset("parquet", data_files={path}, split="train")',
        "SFTTrainer(model, train_dataset=data, args=SFTConfig(max_length={longest}, completion_only_loss=True))",
    ),
    "axolotl": (
        "paste {note} into axolotl's configuration: it names the file, with an empty type",
        "sequence_len: {longest}    # or more; axolotl drops longer records",
    ),
    "axolotl-segments": (
        "paste {note} into axolotl's configuration: it names the file, with type: input_output",
        "sequence_len: {longest}    # or more; and train_on_inputs: false",
    ),
    "llama-factory": (
        "tokenized_path: {path}",
        "dataset: tamis    # any name: LLaMA-Factory asks for one and reads tokenized_path",
    ),
    "parquet": (
        "data = polars.read_parquet({path})",
        'labels = data["labels"]    # -100 where the loss leaves a token out',
    ),
}


@guarded
def export(
    run: Annotated[Path, typer.Argument(help="Directory of a finished run of 'tamis tokens'.")],
    format: Annotated[str, typer.Option(help="trl, axolotl, axolotl-segments, llama-factory or parquet.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write (default: RUN/export-FORMAT).", show_default=False)
    ] = None,
    keep_empty: Annotated[bool, typer.Option("--keep-empty", help="Write records that keep no token, too.")] = False,
    json_: JsonOption = False,
) -> None:
    """Write the records of a token run with their mask, as data that a trainer reads."""
    from tamis.data.writers.token_masks import FORMATS, write_token_masks
    from tamis.errors import RecipeError, did_you_mean

    if format not in FORMATS:
        raise RecipeError(f"There is no trainer format {format!r}.{did_you_mean(format, FORMATS)}")
    opened = _token_run(run)
    rows, masks = _read_tokens(opened, with_score=format == "parquet")
    coders = _coders(opened, rows) if format == "axolotl-segments" else {}
    folder = run / f"export-{format}" if out is None else out
    path = folder / _file_name(opened, format, keep_empty)
    _claim(folder)
    found = write_token_masks(rows, path=path, format=format, drop_empty=not keep_empty, **masks, **coders)
    _finish(folder, opened, found)
    found |= {"run": str(run), "out": str(folder), "status": opened.status, "usage": _usage(found)}
    if json_:
        print_json(found)
    else:
        typer.echo(outcome(found))


def outcome(found: dict[str, Any]) -> str:
    """Write what was exported, and what the trainer needs, as text."""
    left_out = f"; {found['left_out']} left out, since none of their tokens is kept" if found["left_out"] else ""
    lines = [
        f"wrote {found['rows']} records with {found['tokens']} tokens, {found['kept']} of them trained on{left_out}",
        *found["files"],
    ]
    if found["status"] != "complete":
        lines.append("the run is incomplete: tokens that could not be measured are not trained on")
    if found.get("unlabelled"):
        lines.append(f"{found['unlabelled']} kept tokens are not trained on: text cannot end inside a character")
    if found.get("retokenised") is not None:
        lines.append(
            f"{found['retokenised']} of {found['rows']} records get other tokens when the trainer tokenises their "
            "segments; --format axolotl carries the mask exactly"
        )
    return "\n".join([*lines, f"use it with {found['format']}:", *(f"  {line}" for line in found["usage"])])


def _token_run(folder: Path) -> Run:
    """Open a run of the method whose mask is finished."""
    from tamis.errors import RecipeError, RunStateError
    from tamis.runs import Run

    run = Run.open(folder)
    if run.recipe.method != METHOD:
        raise RecipeError(
            f"{folder} is a run of {run.recipe.method!r}, which masks no tokens; give one of 'tamis tokens'."
        )
    if run.status == "running":
        raise RunStateError(f"{folder} is not finished; go on with: tamis resume {folder}")
    if not (folder / TOKENS).is_file():
        raise RunStateError(f"{folder} has no {TOKENS}; restore it, or run tamis tokens again with another --out.")
    return run


def _read_tokens(run: Run, *, with_score: bool) -> tuple[TokenRows, dict[str, Any]]:
    """Token ids of the run's records, and flat arrays: ``keep``, and ``score`` if asked for."""
    import numpy as np
    import polars as pl

    from tamis.data.token_rows import TokenRows, flat_of
    from tamis.errors import DataError

    path = run.folder / TOKENS
    flat = {"keep": np.bool_} | ({"score": np.float32} if with_score else {})
    try:
        frame = pl.read_parquet(path, columns=["unit_id", "input_ids", "response", *flat])
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path} is not what 'tamis tokens' writes: {str(error).splitlines()[0]}.") from error
    return TokenRows.from_frame(frame), {name: flat_of(frame[name], dtype) for name, dtype in flat.items()}


def _coders(run: Run, rows: TokenRows) -> dict[str, Any]:
    """How the base model's tokenizer turns ids into text and back."""
    from functools import partial

    from tamis.errors import DataError, RecipeError
    from tamis.models.causal_lm import find_model, load_tokenizer

    name = run.recipe.params.get("base")
    if not isinstance(name, str):
        raise RecipeError(
            f"The recipe of {run.folder} names no base model, whose tokenizer turns its tokens into text."
        )
    tokenizer = load_tokenizer(find_model(name))
    if len(rows.ids) and int(rows.ids.max()) >= len(tokenizer):
        raise DataError(
            f"The tokens of {run.folder} were not made by the tokenizer of {name!r} as it is now: there are ids up to "
            f"{int(rows.ids.max())}, and it has {len(tokenizer)} tokens."
        )
    coder = tokenizer.backend_tokenizer
    coder.no_truncation()
    coder.no_padding()
    return {
        "decode": partial(coder.decode, skip_special_tokens=False),
        "encode": lambda text: coder.encode(text, add_special_tokens=False).ids,
    }


def _file_name(run: Run, format: str, keep_empty: bool) -> str:
    """Name with a digest of the mask, since trainers cache what they prepared by the name of the file."""
    from tamis.data.writers.token_masks import SUFFIXES
    from tamis.runs import digest_file, digest_json

    digest = digest_json([digest_file(run.folder / TOKENS), keep_empty])[:DIGITS]
    return f"tokens-{digest}{SUFFIXES[format][0]}"


def _claim(folder: Path) -> None:
    """Make the folder of an export, or take over one."""
    from tamis.errors import DataError
    from tamis.runs import atomic_write_text
    from tamis.runs.atomic import PREFIX, clear_temporaries

    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file; give the name of a folder as --out.")
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if MARKER not in names and any(not name.startswith(PREFIX) for name in names):
        raise DataError(f"{folder} exists and is no export of tamis; choose another --out.")
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write_text(folder / MARKER, json.dumps({"whole": False}) + "\n")
    clear_temporaries(folder)


def _finish(folder: Path, run: Run, found: dict[str, Any]) -> None:
    """Remove what an earlier export left, so that nobody trains on an old mask, and mark the folder whole."""
    from tamis.runs import atomic_write_text

    new = {Path(file).name for file in found["files"]}
    for path in folder.glob(f"tokens-{'[0-9a-f]' * DIGITS}*"):
        if path.is_dir() and path.name not in new:
            shutil.rmtree(path)
        elif path.name not in new:
            path.unlink()
    origin = {"run_id": run.manifest["run_id"], "base": run.recipe.params.get("base")}
    atomic_write_text(folder / MARKER, json.dumps({"whole": True, **origin, **found}, indent=2) + "\n")


def _usage(found: dict[str, Any]) -> list[str]:
    """Two lines of the trainer's configuration or code."""
    data, note = (Path(found["files"][i]).resolve() for i in (0, -1))
    quoted = json.dumps(str(data), ensure_ascii=False)  # as YAML and as Python
    return [line.format(path=quoted, note=note, longest=found["longest"]) for line in _USAGE[found["format"]]]
