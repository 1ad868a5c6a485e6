"""Bad files behind good options, and the promise that earlier work survives a refused command."""

import json

import numpy as np
import polars as pl
import pytest


def rows_of(pool):
    return [json.loads(line) for line in (pool / "pool.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("ratings.parquet", b"PAR1 and no more", ["ratings.parquet"]),
        ("ratings.jsonl", b'{"id": "a", "rating": 1}\n{"id": "b", "rat', ["cannot be read", "line 2"]),
        ("ratings.csv", b"who,what\n1,2\n", ["unit_id"]),
        ("ratings.csv", b"", ["ratings.csv"]),
        ("ratings.xlsx", b"PK", [".xlsx"]),
        ("ratings.csv", b"id,rating\na,1\na,2\n", ["more than once"]),
    ],
    ids=["torn parquet", "truncated", "no columns", "empty", "extension", "twice"],
)
def test_rating_files(curate, pool, name, content, words, refused):
    (pool / name).write_bytes(content)
    refused(curate(ratings=pool / name), *words)


def test_vectors_in_parquet(curate, pool, refused):
    (pool / "bad.parquet").write_bytes(b"PAR1 and no more")
    refused(curate(embeddings="bad.parquet"), "not a readable Parquet")
    frame = pl.DataFrame({"id": ["a", "b"], "vector": [[1.0], [2.0]]})
    frame.write_parquet(pool / "other.parquet")
    refused(curate(embeddings="other.parquet"), "no vector for 60 of 60 pool rows")


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
def test_pools_that_are_not_what_their_name_says(curate, pool, suffix, refused):
    (pool / f"bad.{suffix}").write_bytes(b"\xff\xfe\x00\xd8{")
    refused(curate(source=f"bad.{suffix}"), f"bad.{suffix}")


def test_a_line_that_is_no_utf8_is_rejected_and_the_rest_goes_on(curate, pool):
    lines = (pool / "pool.jsonl").read_bytes().splitlines(keepends=True)
    lines[7] = lines[7].replace(b"q7", b"q\xff")
    (pool / "pool.jsonl").write_bytes(b"".join(lines))
    np.save(pool / "vectors.npy", np.delete(np.load(pool / "vectors.npy"), 7, axis=0))
    result = curate("--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["rejected"] == 1
    (reject,) = pl.read_parquet(pool / "run" / "rejects.parquet").to_dicts()
    assert reject["line"] == 8
    assert "UTF-8" in reject["reason"]


def test_columns_that_are_not_there(curate, refused):
    refused(curate("--truth", "ratingg"), "Did you mean 'rating'?")
    refused(curate("--group", "kindd"), "kindd")
    refused(curate("--id-column", "uuid"), "uuid")
    refused(curate("--criterion", "style"), "style")


def test_truth_off_the_scale(curate, pool, refused):
    rows = [{**row, "true": 50 if i == 3 else row["rating"]} for i, row in enumerate(rows_of(pool))]
    (pool / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    refused(curate("--truth", "true"), "1 true ratings lie outside the scale")


def test_one_bootstrap_replicate_is_refused_before_anything_is_made(call, pool, refused):
    given = ["--ratings", "rating", "--budget", 5, "--out", pool / "run", "--embeddings", pool / "vectors.npy"]
    refused(call("curate", pool / "pool.jsonl", *given, "--bootstrap", 1), "'n_bootstrap' parameter of DS2")
    assert not (pool / "run").exists()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda pool: (pool / "pool.jsonl").write_text(""),
        lambda pool: (pool / "pool.jsonl").unlink(),
        lambda pool: np.save(pool / "vectors.npy", np.full((60, 4), np.nan)),
        lambda pool: (pool / "run" / "recipe.yaml").write_text("method: ["),
        lambda pool: (pool / "run" / "manifest.json").write_text("{"),
    ],
    ids=["pool emptied", "pool gone", "vectors changed", "recipe torn", "manifest torn"],
)
def test_a_refused_resume_keeps_what_was_computed(curate, call, pool, spoil, refused):
    assert curate("--quiet").exit_code == 0
    kept = {p: p.read_bytes() for p in (pool / "run").rglob("*.parquet")}
    kept[pool / "run" / "report.html"] = (pool / "run" / "report.html").read_bytes()
    spoil(pool)
    refused(call("resume", pool / "run", "--quiet"))
    assert {p: p.read_bytes() for p in kept} == kept


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"ratings": "ratingg"}, "DataError"),
        ({"source": "absent.jsonl"}, "DataError"),
        ({"embeddings": "absent.npy"}, "DataError"),
        ({"budget": 61}, "RecipeError"),
        ({"out": "pool.jsonl/run"}, "RunStateError"),
    ],
    ids=["column", "pool", "vectors", "budget", "folder"],
)
def test_with_json_every_error_is_an_object_on_standard_output(curate, arguments, kind, refused):
    result = curate("--json", **arguments)
    refused(result)
    error = json.loads(result.stdout)
    assert (error["kind"], error["exit_code"]) == (kind, 2)
    assert f"tamis: {error['error']}" == result.stderr.strip()


def test_other_verbs_refuse_in_json_too(call, pool, refused):
    for arguments in (("status",), ("resume",), ("report",), ("why", "x")):
        verb, *rest = arguments
        result = call(verb, pool / "absent", *rest, "--json")
        refused(result, "absent")
        assert json.loads(result.stdout)["kind"] == "RunStateError"


def test_why_asks_for_an_id_it_can_find(curate, call, pool, refused):
    assert curate("--quiet").exit_code == 0
    refused(call("why", pool / "run", "nosuchid"), "nosuchid")
    refused(call("why", pool / "run", ""), "several ids")
