"""Each thing that can be wrong with a rating is one sentence and an exit code; a key is never printed."""

import json

import pytest

from tamis.toy import Endpoint

KEY = "sk-test-a1b2c3d4e5f6a7b8"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def rate(call, pool):
    def rate(*more, rater="scripted:", out="run"):
        given = ["--rater", rater, "--embedder", "none", "--out", pool / out, "--quiet"]
        return call("rate", pool / "pool.jsonl", *given, *more)

    return rate


@pytest.mark.parametrize(
    ("rater", "words"),
    [
        ("gpt-4o-mini", ["SCHEME:NAME"]),
        ("opnai:gpt-4o", ["Did you mean 'openai'"]),
        ("openai:", ["model"]),
        ("openai:m@127.0.0.1:8000/v1", ["http"]),
        (f"openai:m@http://user:{KEY}@127.0.0.1/v1", ["OPENAI_API_KEY"]),
        ("hf:no/such/folder", ["no/such/folder"]),
        ("hf:smolm2", ["Did you mean 'smollm2'"]),
        ("scripted:diagonal=2", ["diagonal"]),
        ("scripted:diagnal=0.5", ["Did you mean 'diagonal'"]),
        ("columns:absent", ["absent"]),
    ],
)
def test_raters(rate, rater, words, refused):
    result = rate(rater=rater)
    refused(result, *words)
    assert KEY not in result.stderr


@pytest.mark.parametrize(
    ("rubric", "words"),
    [
        ("role: You judge.\ncriteria: [{name: style, text: x}]", ["overall"]),
        ("role: You judge.\nscale: {min: 5, max: 5}\ncriteria: [{name: overall, text: x}]", ["scale"]),
        ("role: You judge.\nscale: {min: 9, max: 1}\ncriteria: [{name: overall, text: x}]", ["scale"]),
        ("role: You judge.\ncriterias: []", ["Did you mean 'criteria'"]),
        ("role: [", ["YAML"]),
        ("", ["rubric"]),
    ],
)
def test_rubrics(rate, pool, rubric, words, refused):
    (pool / "rubric.yaml").write_text(rubric)
    refused(rate("--rubric", pool / "rubric.yaml"), *words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--max-missing", "101%"), ["max_missing"]),
        (("--samples", 0), ["samples"]),
        (("--scoring", "guess"), ["expected"]),
        (("--structured", "xml"), ["schema"]),
        (("--budget-usd", 0), ["budget_usd"]),
        (("--address", "auto"), ["--engine ray"]),
        (("--engine", "rai"), ["ray"]),
        (("--prices", "absent.toml"), ["absent.toml"]),
        (("--truth", "qality"), ["qality"]),
    ],
)
def test_options(rate, options, words, refused):
    refused(rate(*options), *words)


def test_a_gguf_that_is_none(rate, pool, refused):
    (pool / "weights.gguf").write_bytes(b"not a model at all")
    refused(rate(rater=f"hf:{pool / 'weights.gguf'}"), "weights.gguf")


def said(result):
    line = result.stderr.strip().splitlines()[-1]
    assert line.startswith("tamis: ")
    assert KEY not in result.stderr + result.stdout
    return line


def test_an_endpoint_that_is_not_there_is_exit_5_and_a_resume_goes_on(call, rate, pool):
    result = rate(rater="openai:m@http://127.0.0.1:9/v1")
    assert result.exit_code == 5
    assert "127.0.0.1:9" in said(result)
    status = json.loads(call("status", pool / "run", "--json").stdout)
    assert status["status"] == "running"
    assert call("resume", pool / "run").exit_code == 5


def test_a_wrong_key_is_one_sentence_without_the_key(rate, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with Endpoint(key="another") as endpoint:
        result = rate(rater=f"openai:m@{endpoint.url}")
    assert result.exit_code == 5
    assert "OPENAI_API_KEY" in said(result)


def test_a_missing_key_is_named(rate):
    result = rate(rater="openai:gpt-4o-mini")
    assert result.exit_code in (2, 5)
    assert "OPENAI_API_KEY" in said(result)


def test_a_model_that_the_endpoint_does_not_have(rate):
    with Endpoint(models=["other"]) as endpoint:
        result = rate(rater=f"openai:m@{endpoint.url}")
    assert result.exit_code == 5
    assert "'m'" in said(result)


def test_a_prompt_longer_than_the_context_is_missing_with_the_reason(call, rate, pool):
    import polars as pl

    with Endpoint(context=200) as endpoint:
        result = rate("--json", rater=f"openai:m@{endpoint.url}")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["raters"]["m"]["status"] == {"missing": 60}
    errors = pl.read_parquet(pool / "run" / "replies.parquet")["error"].unique().to_list()
    assert len(errors) == 1
    assert "--max-chars" in errors[0]


def test_a_key_is_in_no_file_of_the_run_or_the_cache(rate, pool, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with Endpoint(key=KEY) as endpoint:
        assert rate(rater=f"openai:m@{endpoint.url}").exit_code == 0
    files = [path for path in pool.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_exit_codes_of_missing_and_budget(rate, pool):
    assert rate("--attempts", 1, rater="scripted:refuse=0.5,sticky=true").exit_code == 3
    assert rate("--attempts", 1, "--max-missing", "90%", rater="scripted:refuse=0.5,sticky=true").exit_code == 0
    assert rate("--budget-tokens", 5000, rater="scripted:", out="small").exit_code == 4


class TestDiff:
    def test_two_runs_and_two_raters(self, call, rate, pool):
        assert rate("--rater", "b=scripted:seed=2", rater="a=scripted:seed=1").exit_code == 0
        found = json.loads(call("diff", f"{pool / 'run'}:a", f"{pool / 'run'}:b", "--json").stdout)
        assert {(pair["a"], pair["b"]) for pair in found["pairs"]} == {("a", "b")}
        text = call("diff", pool / "run", pool / "run" / "signal.parquet").stdout
        assert "60 units in both" in text
        assert "kappa" in text

    def test_two_curations(self, call, curate, pool):
        curate(out="one")
        curate("--correct", "none", out="two", budget=20)
        found = call("diff", pool / "one", pool / "two")
        assert found.exit_code == 0, found.stderr
        assert "chosen by both" in found.stdout

    def test_what_cannot_be_compared(self, call, rate, pool, refused):
        rate()
        refused(call("diff", f"{pool / 'run'}:nobody", pool / "run"), "nobody")
        refused(call("diff", pool / "absent.parquet", pool / "run"), "absent.parquet")


class TestPlanAndRun:
    def test_a_recipe_is_planned_and_run_elsewhere(self, call, rate, pool):
        assert rate().exit_code == 0
        plan = json.loads(call("plan", pool / "run", "--json").stdout)
        assert plan["raters"][0]["cached"] == 60
        assert call("run", pool / "run" / "recipe.yaml", "--out", pool / "copy", "--quiet").exit_code == 0
        assert (pool / "copy" / "signal.parquet").read_bytes() == (pool / "run" / "signal.parquet").read_bytes()

    def test_a_curation_can_be_planned(self, call, curate, pool):
        curate()
        text = call("plan", pool / "run").stdout
        assert "60 rows, 60 of them rated" in text

    def test_what_is_no_recipe(self, call, pool, refused):
        refused(call("plan", pool / "absent.yaml"), "absent.yaml")
        refused(call("run", pool), "recipe.yaml")

    def test_ratings_of_another_kind_of_run(self, call, curate, pool, refused):
        curate()
        refused(curate(ratings=pool / "run", out="again"), "not of 'rate'")
