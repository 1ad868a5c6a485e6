"""Rating end to end in this process: what a judge fails to say stays unsaid, budgets hold, replies are paid once."""

import json

import polars as pl
import pytest

from tamis.curate.rating import RatingLimits, RatingSettings, Rubric, rate
from tamis.curate.rating.plan import plan_rating
from tamis.curate.rating.settings import parse_share
from tamis.data import Table
from tamis.engine import get_engine
from tamis.errors import BackendError, RecipeError
from tamis.models.pricing import PriceTable
from tamis.recipe import Recipe
from tamis.registry import JOBS
from tamis.runs import Run
from tamis.toy import Endpoint


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "cache"))


def table_of(n):
    return Table.from_records({"id": f"r{i}", "prompt": f"question {i}", "response": f"answer {i}"} for i in range(n))


def statuses(rating, criterion="overall"):
    frame = rating.signal.frame.filter(pl.col("criterion") == criterion)
    return dict(frame["status"].cast(pl.String).value_counts().iter_rows())


class TestStates:
    def test_every_failure_has_its_own_state_and_no_value(self):
        judge = "scripted:diagonal=1,refuse=0.2,unparsed=0.2,fail=0.3,sticky=true"
        found = rate(table_of(400), raters=judge, attempts=2, patience=2, first_wait=1e-4)
        counts = statuses(found)
        assert set(counts) == {"ok", "missing", "refused", "unparsed"}
        frame = found.signal.frame
        assert frame.filter(pl.col("status") != "ok")["value"].null_count() == (frame["status"] != "ok").sum()
        assert frame.filter(pl.col("status") == "ok")["value"].null_count() == 0

    def test_the_raw_reply_is_kept_whatever_it_is_worth(self):
        found = rate(table_of(60), raters="scripted:refuse=0.4,sticky=true", attempts=1)
        refused = found.replies.filter(pl.col("status") == "refused")
        assert len(refused) > 5
        assert refused["raw"].str.contains("can't rate").all()
        refs = found.signal.frame.filter(pl.col("criterion") == "overall")["raw_ref"].to_list()
        assert refs == [f"replies.parquet#{key}" for key in found.replies["key"]]

    def test_a_row_without_text_is_missing_and_never_asked(self):
        table = Table.from_records([{"id": "a", "prompt": " ", "response": "\n"}, {"id": "b", "prompt": "1+1?"}])
        if len(table) < 2:  # the reader may reject it before
            assert table.rejects.height == 1
            return
        found = rate(table, raters="scripted:diagonal=1")
        assert found.costs[0]["calls"] == 1
        assert statuses(found) == {"missing": 1, "ok": 1}

    def test_the_mean_is_over_the_samples_that_were_measured(self):
        found = rate(table_of(80), raters="scripted:diagonal=0.5,refuse=0.4,sticky=true", samples=3, attempts=1)
        ok = found.ratings.filter(pl.col("criterion") == "overall").group_by("unit_id").agg(pl.col("value").mean())
        expected = dict(ok.iter_rows())
        for unit, value, status in (
            found.signal.frame.filter(pl.col("criterion") == "overall").select("unit_id", "value", "status").iter_rows()
        ):
            assert value == pytest.approx(expected[unit]) if status == "ok" else expected[unit] is None
        assert 0 < found.ratings["value"].null_count() < len(found.ratings)


class TestPayingOnce:
    def test_equal_texts_share_a_reply(self):
        table = Table.from_records([{"id": str(i), "prompt": "same", "response": "same"} for i in range(5)])
        found = rate(table, raters="scripted:diagonal=0.5")
        assert found.costs[0]["calls"] == 1
        assert found.signal.frame.filter(pl.col("criterion") == "overall")["value"].n_unique() == 1

    def test_a_second_rating_asks_nothing(self):
        first = rate(table_of(30), raters="scripted:diagonal=0.5")
        second = rate(table_of(30), raters="scripted:diagonal=0.5")
        assert second.costs[0]["from_cache"] == 30
        assert second.signal.frame.equals(first.signal.frame)

    def test_what_rows_share_is_paid_for_once(self, start, tmp_path):
        rows = [{"id": str(i), "prompt": "same", "response": "same"} for i in range(5)]
        (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        spent = start()["raters"]["scripted"]
        replies, signal = (pl.read_parquet(tmp_path / "run" / f"{name}.parquet") for name in ("replies", "signal"))
        assert replies["cost"].sum() == pytest.approx(spent["cost"]) == signal["cost"].sum()
        assert replies["input_tokens"].sum() == spent["input_tokens"]

    def test_another_truth_is_another_rating(self):
        columns = {"a": [1, 2, 3] * 5, "b": [9, 8, 7] * 5}
        table = table_of(15).with_columns(*(pl.Series(name, values) for name, values in columns.items()))
        for name, values in columns.items():
            found = rate(table, raters="scripted:diagonal=1", truth=name)
            assert found.signal.frame.filter(pl.col("criterion") == "overall")["value"].to_list() == values

    def test_the_order_of_the_rows_changes_no_rating(self):
        forward = rate(table_of(30), raters="scripted:diagonal=0.5").signal.frame.sort("unit_id", "criterion")
        table = table_of(30)
        backward = rate(table.take(range(29, -1, -1)), raters="scripted:diagonal=0.5,latency=1e-4")
        assert backward.signal.frame.sort("unit_id", "criterion").equals(forward)


PRICES = '[models]\n"scripted" = { input = 100.0, output = 100.0 }\n'


@pytest.fixture
def start(tmp_path):
    """Execute a rating run; calling again continues it."""
    pool = tmp_path / "pool.jsonl"
    rows = ({"id": f"r{i}", "prompt": f"question {i}", "response": f"answer {i}"} for i in range(120))
    pool.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "prices.toml").write_text(PRICES)

    def start(judge="scripted:diagonal=0.7", folder="run", samples=1, **limits):
        recipe = Recipe(
            method="rate",
            inputs={"pool": str(pool), "prices": str(tmp_path / "prices.toml")},
            params=RatingSettings((judge,), embedder=None, samples=samples).to_params(),
            limits=RatingLimits(**limits).to_limits(),
        )
        with Run.start(tmp_path / folder, recipe, command="test") as run:
            return JOBS["rate"].load_job()(run, engine=get_engine("inline"))

    return start


class TestBudget:
    def test_it_is_never_exceeded_and_a_higher_one_goes_on(self, start, tmp_path):
        stopped = start(budget_usd=2.0)
        spent = stopped["raters"]["scripted"]
        assert stopped["exit_code"] == 4
        assert stopped["budget_reached"]
        assert 0 < spent["status"]["ok"] < 120
        assert 0 < spent["cost"] <= 2.0
        assert spent["status"]["missing"] == 120 - spent["status"]["ok"]
        again = start(budget_usd=2.0)  # what was spent before counts
        assert again["raters"]["scripted"]["cost"] <= 2.0
        done = start(budget_usd=100.0)
        assert done["exit_code"] == 0
        assert done["raters"]["scripted"]["status"] == {"ok": 120}
        straight = start(folder="straight")
        assert straight["raters"]["scripted"]["from_cache"] == 120
        assert Run.open(tmp_path / "run").status == "complete"

    def test_a_little_more_than_the_cost_is_enough(self, start):
        cost = start(folder="free/run")["raters"]["scripted"]["cost"]
        judge = "again=scripted:diagonal=0.7,seed=9"
        assert start(judge, budget_usd=1.1 * cost)["exit_code"] == 0

    def test_retries_are_paid_from_it(self, start):
        stopped = start("scripted:unparsed=1,sticky=true", budget_usd=2.0, attempts=10)
        spent = stopped["raters"]["scripted"]
        assert 1.5 < spent["cost"] <= 2.0
        assert spent["attempts"] > spent["calls"]
        again = start("scripted:unparsed=1,sticky=true", budget_usd=2.0, attempts=10)["raters"]["scripted"]
        assert (again["cost"], again["attempts"]) == (spent["cost"], spent["attempts"])

    def test_one_without_a_price_is_refused(self, start):
        with pytest.raises(RecipeError, match=r"price of '127\.0\.0\.1:9/m' is unknown"):
            start("openai:m@http://127.0.0.1:9/v1", budget_usd=1.0)

    def test_calls_that_failed_after_they_were_billed_are_on_the_bill(self, start):
        with Endpoint(faults={"null": 0.6}, seed=1) as endpoint:
            found = start(f"openai:m@{endpoint.url}", patience=2, first_wait=1e-3)["raters"]["m"]
            assert found["status"]["missing"] > 10
            assert found["attempts"] == len(endpoint.log)
            more = start(f"openai:m@{endpoint.url}", patience=2, first_wait=1e-3)["raters"]["m"]
            assert more["attempts"] == len(endpoint.log)
            assert more["input_tokens"] > found["input_tokens"]

    def test_tokens_can_be_limited_too(self, start):
        stopped = start(budget_tokens=20_000)
        spent = stopped["raters"]["scripted"]
        assert stopped["exit_code"] == 4
        assert spent["input_tokens"] + spent["output_tokens"] <= 20_000

    def test_a_reply_from_the_cache_costs_the_next_run_nothing(self, start):
        start()
        second = start(folder="elsewhere/run", budget_usd=0.01)
        assert second["exit_code"] == 0
        assert second["raters"]["scripted"]["from_cache"] == 120


class TestBatch:
    """The batch interface: cheaper, and paid for once."""

    OPTIONS = {"batch": True, "first_wait": 1e-3}

    @pytest.fixture
    def priced(self, tmp_path):
        def priced(endpoint):
            host = endpoint.url.split("/")[2]
            entry = "{ input = 100.0, output = 100.0, batch_discount = 0.5 }"
            (tmp_path / "prices.toml").write_text(f'[models]\n"{host}/m" = {entry}\n')
            return f"openai:m@{endpoint.url}"

        return priced

    def test_each_reply_has_the_price_of_the_way_it_came(self, start, priced, tmp_path):
        with Endpoint() as endpoint:
            judge = priced(endpoint)
            batched = start(judge, **self.OPTIONS)["raters"]["m"]
            single = start(f"b={judge}", folder="other/run", batch=False)["raters"]["b"]
        assert single["from_cache"] == 120
        assert batched["status"] == {"ok": 120}
        replies = pl.read_parquet(tmp_path / "run" / "replies.parquet")
        full = (replies["input_tokens"] + replies["output_tokens"]) * 100e-6
        share = (replies["cost"] / full).round(6)
        assert sorted(share.value_counts().rows()) == [
            (0.5, 119),
            (1.0, 1),
        ]  # the first call tried the key and the model

    def test_calls_of_a_batch_and_after_it_are_added_up(self, start, priced):
        with Endpoint(faults={"broken-json": 0.5}, seed=3) as endpoint:
            found = start(priced(endpoint), **self.OPTIONS)["raters"]["m"]
            assert found["attempts"] == len(endpoint.log) > 120

    def test_a_small_budget_is_kept(self, start, priced):
        with Endpoint() as endpoint:
            judge = priced(endpoint)
            found = start(judge, budget_usd=1.0, **self.OPTIONS)
        assert found["exit_code"] == 4
        assert 0.5 < found["raters"]["m"]["cost"] <= 1.0


class TestMissing:
    JUDGE = "scripted:refuse=0.2,sticky=true"

    def test_too_many_are_exit_3_and_few_are_not(self, start):
        strict = start(self.JUDGE, attempts=1)
        assert strict["exit_code"] == 3
        assert 0.1 < strict["unmeasured_share"] < 0.3
        assert start(self.JUDGE, attempts=1, max_missing=0.5)["exit_code"] == 0

    def test_a_run_with_a_gap_is_incomplete_and_asks_again(self, start, tmp_path):
        first = start("scripted:refuse=0.2", attempts=1)
        assert Run.open(tmp_path / "run").status == "incomplete"
        second = start("scripted:refuse=0.2", attempts=3)
        assert second["unmeasured"] < first["unmeasured"]
        assert second["raters"]["scripted"]["status"]["ok"] > first["raters"]["scripted"]["status"]["ok"]

    def test_a_sample_that_is_missing_beside_others_is_asked_for_again(self, start, tmp_path):
        judge = "scripted:diagonal=0.7,refuse=0.2"
        first = start(judge, samples=3, attempts=1)
        assert first["unmeasured"] < 5 < first["samples_without_rating"]
        assert Run.open(tmp_path / "run").status == "incomplete"
        assert start(judge, samples=3, attempts=3)["samples_without_rating"] < first["samples_without_rating"]

    def test_a_back_end_that_is_gone_keeps_the_run_open(self, start, tmp_path):
        with pytest.raises(BackendError):
            start("openai:m@http://127.0.0.1:9/v1", first_wait=0.01)
        assert Run.open(tmp_path / "run").status == "running"


class TestPlan:
    def test_what_it_says_is_what_happens(self, start, tmp_path):
        start(folder="elsewhere/run", budget_usd=3.0)
        recipe = Recipe.from_yaml(tmp_path / "elsewhere" / "run" / "recipe.yaml")
        [plan] = plan_rating(recipe)["raters"]
        spent = start(folder="run")["raters"]["scripted"]
        assert plan["cached"] == spent["from_cache"] > 0
        assert plan["calls"] == 120 - spent["from_cache"]
        whole = plan_rating(recipe.model_copy(update={"params": {**recipe.params, "samples": 2}}))["raters"][0]
        assert whole["cached"] == 120
        assert whole["calls"] == 120
        assert whole["input_tokens"] == spent["input_tokens"]
        assert whole["output_tokens"] == pytest.approx(spent["output_tokens"], rel=0.1)
        assert whole["usd"] == pytest.approx(spent["cost"], rel=0.1)

    def test_an_unknown_price_is_said_to_be_unknown(self, tmp_path):
        (tmp_path / "pool.jsonl").write_text('{"prompt": "1+1?", "response": "2"}\n')
        recipe = Recipe(
            method="rate",
            inputs={"pool": str(tmp_path / "pool.jsonl")},
            params=RatingSettings(("openai:nobody-sells-this@http://127.0.0.1:9/v1",)).to_params(),
        )
        plan = plan_rating(recipe)
        assert plan["usd"] is None
        assert plan["raters"][0]["price"] == "unknown"
        assert plan["raters"][0]["seconds"] is None


class TestSettings:
    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"samples": 0}, "'samples'"),
            ({"limit": 0}, "'limit'"),
            ({"scoring": "guess"}, "expected, generate"),
            ({"temperature": 3.0}, "'temperature'"),
            ({"budget_usd": -1.0}, "'budget_usd'"),
            ({"max_missing": 1.5}, "1%"),
            ({"concurency": 3}, "Did you mean 'concurrency'"),
        ],
    )
    def test_a_wrong_option_is_one_sentence(self, options, says):
        with pytest.raises(RecipeError, match=says):
            rate(table_of(3), raters="scripted:", **options)

    @pytest.mark.parametrize(
        ("rater", "says"),
        [
            ("gpt-4o", "must be SCHEME:NAME"),
            ("opnai:gpt-4o", "Did you mean 'openai'"),
            ("columns:", "names no column"),
            ("columns:absent", "absent"),
            ("openai:", "model"),
            ("hf:no-such-model", "no-such-model"),
        ],
    )
    def test_a_wrong_rater_is_one_sentence(self, rater, says):
        with pytest.raises(RecipeError, match=says):
            rate(table_of(3), raters=rater)

    def test_two_raters_of_one_name_must_be_told_apart(self):
        with pytest.raises(RecipeError, match="NAME=SCHEME"):
            rate(table_of(3), raters=["scripted:seed=1", "scripted:seed=2"])
        found = rate(table_of(3), raters=["a=scripted:seed=1", "b=scripted:seed=2"])
        assert found.signal.raters == ["a", "b"]

    @pytest.mark.parametrize("text", ["", "x", "200%", "1.5", "-1"])
    def test_a_share_is_a_share(self, text):
        with pytest.raises(RecipeError, match="max_missing"):
            parse_share(text)


def test_prices_make_the_cost_of_a_row():
    rubric = Rubric.default()
    prices = PriceTable.default()
    found = rate(table_of(4), raters="scripted:diagonal=1", rubric=rubric, prices=prices)
    by_criterion = dict(found.signal.frame.group_by("criterion").agg(pl.col("cost").sum()).iter_rows())
    assert by_criterion["rarity"] == 0.0  # one reply rates all criteria and is paid once
    assert by_criterion["overall"] == found.costs[0]["cost"]


def test_findings_are_not_taken_over_from_a_run_by_another_rubric(tmp_path):
    rows = [{"id": str(i), "prompt": f"q{i}", "response": "a", "t": i % 10 + 1} for i in range(40)]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tops = []
    for top in (10, 20):
        rubric = tmp_path / f"{top}.yaml"
        rubric.write_text(f"role: You judge.\nscale: {{min: 1, max: {top}}}\ncriteria: [{{name: overall, text: x}}]\n")
        recipe = Recipe(
            method="rate",
            inputs={"pool": str(tmp_path / "pool.jsonl"), "rubric": str(rubric)},
            params=RatingSettings(("columns:t",), embedder=None).to_params(),
        )
        with Run.start(tmp_path / "runs" / str(top), recipe, command="test") as run:
            JOBS["rate"].load_job()(run, engine=get_engine("inline"))
        [found] = (tmp_path / "runs" / str(top) / "steps").glob("*-judges/findings.json")
        tops.append(json.loads(found.read_text())["judges"]["scale"][1])
    assert tops == [10, 20]


def test_a_notebook_can_rate_too():
    import asyncio

    async def cell():
        return rate(table_of(5), raters="scripted:diagonal=1")

    assert statuses(asyncio.run(cell())) == {"ok": 5}
