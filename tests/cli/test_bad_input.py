"""Each kind of bad input gets one sentence and exit code 2, and nothing already computed is lost."""

import json

import numpy as np
import pytest

ROWS = [{"prompt": f"q{i}", "response": f"a{i}", "rating": i % 5 + 1} for i in range(60)]


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["pool.jsonl", "no usable rows"]),
        (b"\n\n", ["no usable rows"]),
        (lines(ROWS[:1]), ["1 row", "at least 3"]),
        (lines([{**row, "id": "same"} for row in ROWS]), ["id", "same"]),
        (b"\xff\xfe\xfa\n", ["no usable rows", "UTF-8"]),
        (lines([{**row, "rating": 3} for row in ROWS]), ["All 60 ratings", "equal 3"]),
        (lines([{**row, "rating": row["rating"] * 100} for row in ROWS]), ["100 to 500", "--scale"]),
        (lines([{**row, "rating": None} for row in ROWS]), ["no usable rating"]),
        (lines([{**row, "rating": "good"} for row in ROWS]), ["no usable rating"]),
    ],
    ids=["empty", "blank", "one row", "same ids", "not UTF-8", "all equal", "no scale fits", "all missing", "words"],
)
def test_pools(curate, pool, content, words, refused):
    (pool / "pool.jsonl").write_bytes(content)
    refused(curate(budget=1), *words)


def test_ratings_outside_the_given_scale(curate, refused):
    refused(curate("--scale", "0-3"), "30 ratings lie outside the scale 0-3")


def test_missing_rating_column(curate, refused):
    refused(curate(ratings="ratings"), "neither a file nor a column", "Did you mean 'rating'")


def test_a_rating_file_about_other_records(curate, pool, refused):
    (pool / "other.csv").write_text("id,rating\nx,1\ny,2\n")
    refused(curate(ratings=pool / "other.csv"), "rating")


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        (np.full((60, 4), np.nan), ["finite"]),
        (np.full((60, 4), np.inf), ["finite"]),
        (np.zeros((60, 4)), ["zero"]),
        (np.ones((59, 4)), ["(59, 4)", "(60, d)"]),
        (np.ones(60), ["(60,)", "(60, d)"]),
    ],
    ids=["nan", "inf", "zero", "too few", "flat"],
)
def test_vectors(curate, pool, vectors, words, refused):
    np.save(pool / "bad.npy", vectors)
    refused(curate(embeddings="bad.npy"), *words)


def test_vectors_of_another_kind(curate, pool, refused):
    (pool / "bad.npy").write_bytes(b"no array")
    refused(curate(embeddings="bad.npy"), "not a readable .npy")
    (pool / "bad.txt").write_text("1 2 3")
    refused(curate(embeddings="bad.txt"), ".npy or .parquet")
    refused(curate(embeddings="absent.npy"), "There is no file")


@pytest.mark.parametrize(("budget", "words"), [(0, "Got 0"), (-3, "Got -3"), (61, "at most the 60 rows")])
def test_budgets(curate, pool, budget, words, refused):
    refused(curate(budget=budget), "'budget' parameter of DS2", words)
    if budget < 1:
        assert not (pool / "run").exists(), "a folder was made for a recipe that cannot run"


@pytest.mark.parametrize(
    "option",
    [("--rule", "rnak"), ("--threshold", "2"), ("--combine", "sum"), ("--neighbors", "1"), ("--rater", "nobody"),
     ("--fidelity", "exact"), ("--index", "annoy"), ("--scale", "five"), ("--engine", "spark"), ("--seed", "-1")],
    ids=lambda o: o[0],
)  # fmt: skip
def test_options(curate, option, refused):
    refused(curate(*option))


def test_unknown_extension_and_missing_pool(curate, pool, refused):
    (pool / "pool.xlsx").write_bytes(b"PK")
    refused(curate(source="pool.xlsx"), ".xlsx")
    refused(curate(source="absent.jsonl"), "absent.jsonl")


def test_a_truncated_line_is_rejected_and_the_rest_goes_on(curate, pool):
    content = (pool / "pool.jsonl").read_bytes()
    (pool / "pool.jsonl").write_bytes(content[:-20])
    np.save(pool / "vectors.npy", np.load(pool / "vectors.npy")[:59])
    result = curate("--json")
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert (summary["rows"], summary["rejected"]) == (59, 1)
    assert (pool / "run" / "rejects.parquet").exists()


def test_unwritable_run_folder(curate, refused):
    refused(curate(out="pool.jsonl/run"), "cannot be written")


def test_a_run_of_another_recipe_is_kept(curate, pool, refused):
    assert curate().exit_code == 0
    before = {p.name: p.read_bytes() for p in (pool / "run").iterdir() if p.suffix in (".parquet", ".html")}
    refused(curate(budget=11), "another recipe", "params.budget (10 -> 11)", "--out")
    assert before == {p.name: p.read_bytes() for p in (pool / "run").iterdir() if p.suffix in (".parquet", ".html")}


def test_a_folder_that_is_no_run(curate, pool, call, refused):
    (pool / "mine").mkdir()
    (pool / "mine" / "letter.txt").write_text("dear")
    refused(curate(out="mine"), "not empty")
    for verb in ("resume", "status", "report"):
        refused(call(verb, pool / "mine"), "not a run directory")
    refused(call("why", pool / "mine", "x"), "not a run directory")


def test_bad_data_can_be_corrected_in_place(curate, pool, refused):
    good = (pool / "pool.jsonl").read_bytes()
    (pool / "pool.jsonl").write_bytes(lines(ROWS[:1]))
    refused(curate(), "1 row")
    (pool / "pool.jsonl").write_bytes(good)
    assert curate().exit_code == 0


def test_json_errors_are_json(curate):
    result = curate("--json", budget=0)
    assert result.exit_code == 2
    error = json.loads(result.stdout)
    assert (error["kind"], error["exit_code"]) == ("RecipeError", 2)
    assert "budget" in error["error"]
