import json

import numpy as np
import pytest
from typer.testing import CliRunner

from tamis.cli.app import app


@pytest.fixture
def call():
    """Run the command line in this process; returns the result with exit_code, stdout and stderr."""

    def call(*arguments):
        return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)

    return call


@pytest.fixture
def pool(tmp_path):
    """Give 60 rated rows in two clusters with vectors."""
    rng = np.random.default_rng(0)
    quality = np.repeat([0, 1], 30)
    vectors = np.eye(4)[quality] + 0.1 * rng.normal(size=(60, 4))
    np.save(tmp_path / "vectors.npy", vectors.astype(np.float32))
    write_rows(
        tmp_path / "pool.jsonl",
        [
            {"prompt": f"q{i}", "response": f"a{i}", "rating": int(q) * 4 + 1, "kind": "abc"[i % 3]}
            for i, q in enumerate(quality)
        ],
    )
    return tmp_path


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def curate(call, pool):
    """Curate the pool; options replace the usual ones."""

    def curate(*more, ratings="rating", budget=10, embeddings="vectors.npy", source="pool.jsonl", out="run"):
        given = ["--ratings", ratings, "--budget", budget, "--out", pool / out, "--bootstrap", 0]
        given += ["--embeddings", pool / embeddings] if embeddings else []
        return call("curate", pool / source, *given, *more)

    return curate


@pytest.fixture
def refused():
    """Check that a result is one sentence on standard error, with these words, and exit code 2."""

    def refused(result, *words):
        assert result.exit_code == 2, (result.stdout, result.stderr)
        said = result.stderr.strip()
        assert said.startswith("tamis: ")
        assert "\n" not in said
        assert "Traceback" not in said
        for word in words:
            assert word in said, said

    return refused
