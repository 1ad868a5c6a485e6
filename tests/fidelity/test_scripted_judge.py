"""A judge whose errors are known rates a pool whose truth is known: DS2 must find the judge's matrix from replies."""

import numpy as np
import polars as pl
import pytest

from tamis.curate import DS2
from tamis.curate.rating import Criterion, Rubric, rate
from tamis.data import Table
from tamis.models.scripted import ScriptedJudge

K, ROWS, CLUSTERS = 6, 6000, 60
RUBRIC = Rubric("six", "You judge.", (Criterion("overall", "how good the sample is"),), low=0, high=5)


@pytest.fixture(scope="module")
def world():
    """Clusters of records that share their true class, and vectors that show the clusters."""
    rng = np.random.default_rng(0)
    cluster = rng.integers(0, CLUSTERS, ROWS)
    truth = (cluster * K) // CLUSTERS
    vectors = 4 * rng.normal(size=(CLUSTERS, 16))[cluster] + 0.3 * rng.normal(size=(ROWS, 16))
    table = Table.from_frame(
        pl.DataFrame(
            {
                "id": [f"r{i}" for i in range(ROWS)],
                "prompt": [f"question {i}" for i in range(ROWS)],
                "response": [f"answer {i}" for i in range(ROWS)],
                "quality": truth,
            }
        )
    )
    return table, vectors.astype(np.float32), truth


@pytest.mark.parametrize("judge", ["diagonal=0.8,kind=random", "diagonal=0.7,kind=ordinal", "diagonal=0.6,kind=random"])
def test_the_matrix_of_the_judge_is_recovered_from_its_replies(world, judge, tmp_path, monkeypatch):
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path))
    table, vectors, truth = world
    faults = "refuse=0.05,unparsed=0.05,sticky=true"
    found = rate(table, raters=f"scripted:{judge},{faults}", rubric=RUBRIC, truth="quality", attempts=1)
    measured = found.signal.frame["status"] == "ok"
    assert 0.87 < measured.mean() < 0.93
    values = found.signal.frame["value"].to_numpy()

    own = ScriptedJudge.parse(judge).confusion(K)
    drawn = np.zeros((K, K))
    np.add.at(drawn, (truth[measured], values[measured].astype(int)), 1)
    drawn /= drawn.sum(axis=1, keepdims=True)
    assert np.abs(drawn - own).sum(axis=1).mean() < 0.1  # it errs as it was told to

    ds2 = DS2(budget=600, scale="0-5", n_bootstrap=0).fit(table, ratings=found.signal, embeddings=vectors)
    [rater] = ds2.raters_.values()
    assert np.abs(rater.transition.T - own).sum(axis=1).mean() < 0.15
    # nothing that was not measured is used to fill the budget
    kept = set(ds2.select().chosen)
    assert kept <= set(table.ids.filter(measured).to_list())
    curated = rater.curated[measured.to_numpy()]
    before = (values[measured] == truth[measured]).mean()
    assert (curated == truth[measured]).mean() > before + 0.1
