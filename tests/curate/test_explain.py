"""Why a run decided as it did, read back from the run directory alone."""

import json

import numpy as np
import polars as pl
import pytest

from tamis.curate.explain import explain
from tamis.curate.job import curate
from tamis.data import write
from tamis.engine import get_engine
from tamis.errors import DataError, RunStateError
from tamis.recipe import Recipe
from tamis.runs import Run


@pytest.fixture(scope="module")
def begun(make_pool, tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain")
    pool = make_pool(n_clusters=10)
    ratings = np.where(np.arange(150) == 7, np.nan, pool.ratings)
    write(pool.table.with_columns(pl.Series("rating", ratings)), folder / "pool.parquet")
    np.save(folder / "vectors.npy", pool.vectors)
    recipe = Recipe(
        method="ds2",
        inputs={"pool": str(folder / "pool.parquet"), "embeddings": str(folder / "vectors.npy")},
        params={"budget": 40, "ratings": "rating", "n_bootstrap": 0},
    )
    return folder / "run", lambda: Run.start(folder / "run", recipe, command="")


def test_before_and_after_the_decision(begun):
    folder, start = begun
    start().close()
    with pytest.raises(RunStateError, match="has not decided yet; go on with: tamis resume"):
        explain(folder, "r0001")
    with start() as run:
        summary = curate(run, engine=get_engine("inline"))
    assert summary["undecided"] == 1

    found = json.loads(json.dumps(explain(folder, "r0001"), allow_nan=False))
    assert found["decision"] in ("keep", "drop")
    assert len(found["neighbors"]) == 5
    (rating,) = found["ratings"]
    assert rating["rater"] == "rating"
    assert found["neighbors"][0]["similarity"] >= found["neighbors"][4]["similarity"]
    assert "r0001" not in [n["unit_id"] for n in found["neighbors"]]

    unrated = explain(folder, "r0007")
    assert unrated["decision"] is None
    assert (unrated["ratings"][0]["status"], unrated["ratings"][0]["rating"]) == ("missing", None)

    assert explain(folder, "r0149")["unit_id"] == "r0149"
    with pytest.raises(DataError, match=r"begins several ids \(r0000, r0001"):
        explain(folder, "r00")
    with pytest.raises(DataError, match="no unit 'q1'"):
        explain(folder, "q1")
    with pytest.raises(RunStateError, match="not a run directory"):
        explain(folder.parent, "r0001")
