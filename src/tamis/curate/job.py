"""The ``curate`` job: a DS2 recipe executed in a run directory, step by step, resumable at every point."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tamis.curate.budget import canonical_order
from tamis.curate.ds2 import DS2, VERSION
from tamis.curate.evidence import curation_evidence
from tamis.curate.findings import curation_frame, findings
from tamis.curate.ratings import require_measured
from tamis.curate.vectors import pool_vectors
from tamis.data import Signal, Table, write
from tamis.engine import Engine
from tamis.errors import DataError, IncompleteError, RecipeError, did_you_mean, parameter_error
from tamis.neighbors import NeighborGraph, assemble, knn_graph, merge_duplicates, query_blocks, search_block, unit_rows
from tamis.neighbors.blocks import GraphBlock
from tamis.recipe import Recipe
from tamis.recipe.pool import READ_OPTIONS, read_pool
from tamis.runs import Run, Step, atomic_write_text, digest_file, digest_json
from tamis.runs.digests import DIGEST_BYTES
from tamis.runs.step_files import save_array, write_frame
from tamis.runs.steps import Progress
from tamis.select import Selection

BLOCK_SIZE = 4096
_COLUMNS = ("ratings", "truth")
"""What a recipe's parameters hold beside those of the method: columns of the pool."""


def curate(run: Run, *, engine: Engine, progress: Progress | None = None) -> dict[str, Any]:
    """Execute a curation recipe and finish the run.

    Parameters
    ----------
    run : Run
        Started run; ``recipe.inputs`` names ``pool`` and perhaps ``ratings`` and ``embeddings``, ``recipe.params``
        holds the parameters of :class:`DS2`, and ``ratings`` if they are a column.
    engine : Engine
        Who embeds and searches.
    progress : callable, optional
        Called with (step name, units done, units in all).

    Returns
    -------
    dict
        The summary that ``--json`` prints; the manifest keeps it.
    """
    recipe = run.recipe
    ds2 = ds2_of(recipe)
    table = read_pool(recipe)
    if len(table.rejects):
        write_frame(run.folder / "rejects.parquet", table.rejects)
    ds2.validate(n_rows=len(table))
    signal = ratings_of(recipe, table)
    truth = _read_truth(run, table)
    require_measured(table, signal, criterion=ds2.criterion, rater=ds2.rater, scale=ds2.scale, truth=truth)

    vectors, source = pool_vectors(run, table, embedder=ds2.embedder, engine=engine, progress=progress)
    graph = None if ds2.fidelity == "paper" else _graph(run, vectors, table, ds2, engine, progress)

    step = run.step(
        "curate",
        version=VERSION,
        params={**ds2.get_params(), "embedder": None},  # the source stands for it
        ratings=_digest_ratings(signal),
        truth=None if truth is None else digest_json(np.nan_to_num(truth, nan=-1e9).tolist()),
        graph=source,
        pool=recipe.identity({r: digest_file(p) for r, p in recipe.inputs.items()})["inputs"]["pool"],
        read={k: recipe.params.get(k) for k in READ_OPTIONS},
    )
    if not step.complete:
        started = time.monotonic()
        ds2.fit(table, ratings=signal, embeddings=vectors if graph is None else None, graph=graph, truth=truth)
        write_frame(step.folder / "part-00000.parquet", curation_frame(ds2, table))
        ds2.selection_.write(step.folder / "selection.parquet")
        write_frame(step.folder / "evidence.parquet", curation_evidence(ds2, table).frame)
        found = findings(ds2, table, signal, source=source)
        atomic_write_text(step.folder / "findings.json", json.dumps(found, ensure_ascii=False, allow_nan=False) + "\n")
        step.finish(seconds=time.monotonic() - started)
    return _publish(run, step, table)


def _text(run: Run, name: str) -> str | None:
    value = run.recipe.params.get(name)
    return None if value is None else str(value)


def ds2_of(recipe: Recipe) -> DS2:
    """Return the method with a recipe's parameters, checked as far as they can be without the pool.

    Raises
    ------
    RecipeError
        If a parameter is unknown, absent or wrong.
    """
    params = {k: v for k, v in recipe.params.items() if k not in (*READ_OPTIONS, *_COLUMNS)}
    known = [name for name in DS2.parameter_names() if name != "seed"]
    for name in params:
        if name not in known:
            raise RecipeError(f"The params of a DS2 recipe have no {name!r}.{did_you_mean(name, known)}")
    if "budget" not in params:
        raise RecipeError("The recipe does not say how many records to keep; add 'budget: N' to its params.")
    for name in ("scale", "criterion", "embedder"):
        if not isinstance(params.get(name, ""), str):
            raise parameter_error("DS2", name, "text", params[name])
    if not isinstance(params.get("rater"), str | None):
        raise parameter_error("DS2", "rater", "text or None", params["rater"])
    ds2 = DS2(**params, seed=recipe.seed)  # type: ignore[arg-type]
    ds2.validate()
    return ds2


def ratings_of(recipe: Recipe, table: Table) -> Signal:
    """Read the ratings that a recipe names: a file, or a column of its pool.

    Raises
    ------
    RecipeError
        If it names none.
    DataError
        If they are not there or cannot be read.
    """
    if "ratings" in recipe.inputs:
        return Signal.read(recipe.inputs["ratings"])
    column = recipe.params.get("ratings")
    if not isinstance(column, str):
        raise RecipeError(
            "The recipe names no ratings; add 'ratings: FILE' to its inputs or 'ratings: COLUMN' to its params."
        )
    if column not in table.frame.columns:
        raise DataError(
            f"The ratings {column!r} are neither a file nor a column of the pool."
            f"{did_you_mean(column, [c for c in table.frame.columns if c != 'id'])}"
        )
    return Signal.from_column(table, column)


def _read_truth(run: Run, table: Table) -> np.ndarray | None:
    column = _text(run, "truth")
    return None if column is None else Signal.from_column(table, column).aligned(table)[0]


def _digest_ratings(signal: Signal) -> str:
    frame = signal.frame.sort("unit_id", "rater", "criterion").select(
        "unit_id", "rater", "criterion", "value", "status"
    )
    return digest_json([column.to_list() for column in frame.get_columns()])


@dataclass(frozen=True)
class _SearchBlock:
    """Search one block of rows; the matrix is shared between processes through its file."""

    path: str
    k: int

    def __call__(self, block: tuple[int, int]) -> pl.DataFrame:
        X = np.load(self.path, mmap_mode="r", allow_pickle=False)
        found = search_block(X, *block, self.k)
        return pl.DataFrame({"idx": found.idx, "dist": found.dist})


def _graph(
    run: Run, vectors: np.ndarray, table: Table, ds2: DS2, engine: Engine, progress: Progress | None
) -> NeighborGraph:
    """Neighbour graph over rows in order of their ids, returned for rows in table order.

    The key names the very matrix that is searched: another pool, or the same one under other ids, is another graph.
    """
    order = canonical_order(table)
    X = unit_rows(vectors[order], copy=False)
    searched = hashlib.blake2b(np.ascontiguousarray(X).data, digest_size=DIGEST_BYTES).hexdigest()
    k = ds2.graph_neighbors
    key = {"version": VERSION, "k": k, "X": searched, "index": ds2.index}
    if ds2.index != "exact":
        step = run.step("neighbors", seed=ds2.seed, **key)
        if not step.complete:
            started = time.monotonic()
            report = None if progress is None else (lambda done, total: progress("neighbors", done, total))
            knn_graph(X, k=k, method=ds2.index, seed=ds2.seed, progress=report).save(step.folder)
            step.finish(seconds=time.monotonic() - started)
        return NeighborGraph.load(step.folder).for_rows(order)
    step = run.step("neighbors", block=BLOCK_SIZE, **key)
    copies = merge_duplicates(X)
    X = X[copies.first] if copies.n_merged else X
    k = min(k, len(X) - 1)
    shared = step.folder / "unit.npy"
    if not step.complete:
        save_array(shared, X)
        blocks = query_blocks(len(X), BLOCK_SIZE)
        sizes = [stop - start for start, stop in blocks]
        step.map(_SearchBlock(str(shared), k), blocks, engine=engine, sizes=sizes, progress=progress)
    shared.unlink(missing_ok=True)
    idx, dist = assemble(_blocks(step.parts(), k))
    graph = NeighborGraph(idx=idx, dist=dist, group=copies.group, first=copies.first, method="exact", recall=1.0)
    return graph.for_rows(order)


def _blocks(parts: Any, k: int) -> Sequence[GraphBlock]:
    blocks, start = [], 0
    for part in parts:
        idx, dist = part["idx"].to_numpy().reshape(-1, k), part["dist"].to_numpy().reshape(-1, k)
        blocks.append(GraphBlock(start, idx, dist))
        start += part.height
    return blocks


def _publish(run: Run, step: Step, table: Table) -> dict[str, Any]:
    """Put the results at the top of the run directory and finish it."""
    selection = Selection.read(step.folder)
    selection.write(run.folder / "selection.parquet")
    write_frame(run.folder / "evidence.parquet", pl.read_parquet(step.folder / "evidence.parquet"))
    selected = write(selection.apply(table), run.folder / f"selected.{table.source.format}")
    found = json.loads((step.folder / "findings.json").read_text(encoding="utf-8"))
    counts = selection.counts()
    budget = int(run.recipe.params["budget"])  # type: ignore[arg-type]
    summary = {
        "run": str(run.folder),
        "rows": len(table),
        "rejected": len(table.rejects),
        **counts,
        "budget": budget,
        "filled": counts["keep"] == budget,
        "exit_code": 0 if counts["keep"] == budget else IncompleteError.exit_code,
        "raters": {
            r["rater"]: {
                "verdict": r["verdict"],
                "measured": r["status"].get("ok", 0),
                "corrected": r["changed"],
                "warnings": r["warnings"],
            }
            for r in found["raters"]
        },
        "selected": str(selected),
        "selection": str(run.folder / "selection.parquet"),
        "report": str(run.folder / "report.html"),
    }
    run.finish("incomplete" if found["ratings_missing"] else "complete", summary)
    return summary
