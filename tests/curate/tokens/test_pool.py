"""Pool and warm-up records: who is held out, what is drawn, and what is encoded once."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from tamis.curate.tokens import pool as pools
from tamis.curate.tokens.pool import encode, part_numbers, pool_and_warmup, rows_of, warmup_rows
from tamis.curate.tokens.settings import TokenSettings
from tamis.errors import DataError
from tamis.models.causal_lm import find_model
from tamis.recipe import Recipe
from tamis.runs import Run

N = 30


def write_records(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def records(n=N, **columns):
    made = [{"id": f"r{i:02d}", "prompt": f"ask {i}", "response": f"say {i}"} for i in range(n)]
    return [{**row, **{name: each[i] for name, each in columns.items()}} for i, row in enumerate(made)]


@pytest.fixture
def read(tmp_path):
    """Read the pool, and perhaps a file of warm-up records, as a recipe says."""

    def read(rows=None, *, warm=None, seed=0, reading=None, **params):
        inputs = {"pool": str(write_records(tmp_path / "pool.jsonl", records() if rows is None else rows))}
        if warm is not None:
            inputs["warmup"] = str(write_records(tmp_path / "warm.jsonl", warm))
        recipe = Recipe(method="tokens", inputs=inputs, params={"base": "b", **params, **(reading or {})}, seed=seed)
        return pool_and_warmup(recipe, TokenSettings(base="b", **params))

    return read


def ids(table):
    return table.ids.to_list()


class TestWarmup:
    def test_records_of_the_pool_are_held_out(self, read):
        pool, warm = read(warmup=8)
        assert (len(pool), len(warm)) == (N - 8, 8)
        assert sorted([*ids(pool), *ids(warm)]) == [f"r{i:02d}" for i in range(N)]
        assert ids(pool) == sorted(ids(pool)), "in the order of the file"
        assert ids(warm) != [f"r{i:02d}" for i in range(8)], "drawn, not the first ones"

    def test_the_leak_of_the_published_recipe(self, read):
        pool, warm = read(warmup=8, hold_out=False)
        assert (len(pool), len(warm)) == (N, 8)
        assert set(ids(warm)) < set(ids(pool))
        assert ids(warm) == ids(read(warmup=8)[1]), "the same records are drawn"

    def test_what_is_drawn_follows_the_seed_and_not_the_order_of_the_file(self, read):
        one, again, other = (set(ids(read(warmup=8, seed=s)[1])) for s in (1, 1, 2))
        assert one == again != other
        assert set(ids(read(records()[::-1], warmup=8, seed=1)[1])) == one

    def test_a_file(self, read):
        pool, warm = read(warm=records()[:5])
        assert ids(warm) == [f"r{i:02d}" for i in range(5)]
        assert ids(pool) == [f"r{i:02d}" for i in range(5, N)]
        pool, _ = read(warm=records()[:5], hold_out=False)
        assert len(pool) == N

    def test_a_file_of_other_records(self, read):
        pool, warm = read(warm=[{"id": "x", "prompt": "p", "response": "r"}])
        assert (len(pool), len(warm)) == (N, 1)

    def test_a_file_without_ids_is_known_by_its_content(self, read):
        bare = [{k: row[k] for k in ("prompt", "response")} for row in records()]
        pool, warm = read(bare, warm=bare[:4])
        assert (len(pool), len(warm)) == (N - 4, 4)

    def test_a_file_with_another_id_column(self, read):
        named = [{"qid": row["id"], "prompt": row["prompt"], "response": row["response"]} for row in records()]
        pool, warm = read(named, warm=named[:4], reading={"id_column": "qid"})
        assert ids(warm) == ["r00", "r01", "r02", "r03"]
        assert len(pool) == N - 4

    def test_the_same_texts_without_their_ids(self, read):
        bare = [{k: row[k] for k in ("prompt", "response")} for row in records()]
        pool, warm = read(records(), warm=bare[:4])
        assert len(warm) == 4
        assert len(pool) == N - 4

    def test_none(self, read):
        pool, warm = read(reference="r")
        assert (len(pool), warm) == (N, None)

    @pytest.mark.parametrize("n", [N, N + 1, 10**9])
    def test_more_than_the_pool_has(self, read, n):
        with pytest.raises(DataError, match=rf"^The pool has {N} records, {n} of them for the warm-up leave none"):
            read(warmup=n)

    def test_all_of_the_pool(self, read):
        with pytest.raises(
            DataError, match=r"^All records of the pool are warm-up records; nothing is left to clean\.$"
        ):
            read(warm=records())

    def test_an_empty_file(self, read):
        with pytest.raises(DataError, match=r"warm\.jsonl"):
            read(warm=[])

    def test_one_record_left_is_too_few_to_rank(self, read):
        with pytest.raises(DataError, match=r"^One record is left [^\n]*a ranking needs at least two\.$"):
            read(warmup=N - 1)


class TestLimit:
    def test_the_first_records(self, read):
        assert ids(read(reference="r", limit=7)[0]) == [f"r{i:02d}" for i in range(7)]
        assert len(read(reference="r", limit=999)[0]) == N

    def test_warm_up_records_are_drawn_from_what_is_left(self, read):
        pool, warm = read(warmup=3, limit=10)
        assert sorted([*ids(pool), *ids(warm)]) == [f"r{i:02d}" for i in range(10)]
        with pytest.raises(DataError, match="has 10 records, 10 of them"):
            read(warmup=10, limit=10)


@pytest.fixture(scope="module")
def base(write_model, tmp_path_factory):
    return find_model(str(write_model(tmp_path_factory.mktemp("model"))))


class TestEncode:
    @pytest.fixture
    def encoded(self, read, base, tmp_path):
        """Encode a pool in the step of a run; returns the step and what is said."""

        def encoded(rows=None, *, folder="run", **params):
            settings = TokenSettings(base="b", **{k: v for k, v in params.items() if k != "warm"})
            pool, warm = read(rows, **params)
            recipe = Recipe(method="tokens", inputs={"pool": str(tmp_path / "pool.jsonl")}, params={})
            with Run.start(tmp_path / folder / "x", recipe, command="") as run:
                step = run.step("tokens")
                return step, encode(step, pool, warm, base, settings), (pool, warm, base, settings)

        (tmp_path / "run").mkdir()
        return encoded

    def test_records_stand_in_the_order_of_their_ids(self, encoded):
        step, said, _ = encoded(records()[::-1], reference="r")
        rows = rows_of(step)
        assert rows.unit_ids.to_list() == [f"r{i:02d}" for i in range(N)]
        assert said == {
            "template": "tokenizer, answers found by rendering", "max_length": 2048, "truncated": 0, "no_response": 0,
            "warmup_lost": 0
        }  # fmt: skip
        assert not (step.folder / "warmup.parquet").exists()

    def test_in_parts(self, encoded, monkeypatch):
        whole = rows_of(encoded(reference="r")[0]).to_frame()
        monkeypatch.setattr(pools, "PART_ROWS", 7)
        (step, _, _) = encoded(reference="r", folder="other/run")
        assert part_numbers(step) == [0, 1, 2, 3, 4]
        assert rows_of(step).to_frame().equals(whole)

    def test_warm_up_records_lie_beside(self, encoded):
        step, _, _ = encoded(warmup=5)
        warm = warmup_rows(step.folder)
        assert len(warm) == 5
        assert not set(warm.unit_ids) & set(rows_of(step).unit_ids)
        assert warm.response.any()

    def test_long_records_are_cut_and_counted(self, encoded):
        long = [{**row, "response": "x" * (80 if i < 3 else 2), "prompt": "." * (70 if i == 5 else 1)}
                for i, row in enumerate(records())]  # fmt: skip
        step, said, _ = encoded(long, reference="r", max_length=64)
        assert (said["truncated"], said["no_response"]) == (4, 1)
        assert rows_of(step).lengths.max() == 64

    def test_never_more_than_the_context(self, encoded, monkeypatch):
        monkeypatch.setattr(pools, "context_length", lambda _: 48)
        _, said, _ = encoded(reference="r", max_length=2048)
        assert said["max_length"] == 48
        monkeypatch.setattr(pools, "context_length", lambda _: None)
        assert encoded(reference="r", max_length=2048, folder="other/run")[1]["max_length"] == 2048

    def test_a_finished_step_is_not_done_again(self, encoded, monkeypatch):
        step, said, given = encoded(warmup=5)
        monkeypatch.setattr(pools, "load_tokenizer", lambda _: pytest.fail("encoded again"))
        assert encode(step, *given) == said

    def test_records_that_cannot_be_encoded_are_named(self, encoded, monkeypatch):
        real = pools.encode_chats

        def some(chats, unit_ids, tokenizer, *, max_length):
            made = real(chats[1:], unit_ids[1:], tokenizer, max_length=max_length)
            return type(made)(made.rows, made.kept + 1, made.truncated, {0: "is refused"}, made.template)

        monkeypatch.setattr(pools, "encode_chats", some)
        step, _, _ = encoded(records()[::-1], reference="r")
        assert pl.read_parquet(step.folder / "unencoded.parquet").rows() == [("r00", "is refused")]
        assert len(rows_of(step)) == N - 1

    def test_no_record_can_be_encoded(self, encoded, monkeypatch):
        real = pools.encode_chats

        def none(chats, unit_ids, tokenizer, *, max_length):
            made = real([], [], tokenizer, max_length=max_length)
            problems = dict.fromkeys(range(len(chats)), "is refused by the chat template: no")
            return type(made)(made.rows, made.kept, made.truncated, problems, made.template)

        monkeypatch.setattr(pools, "encode_chats", none)
        with pytest.raises(DataError, match=r"^No pool record can be encoded; the first one is refused by [^\n]*no\.$"):
            encoded(reference="r")

    def test_warm_up_records_without_an_answer(self, encoded):
        silent = [{"id": "w", "prompt": "only a question"}]
        with pytest.raises(DataError, match=r"^None of the 1 warm-up records has an answer to learn from"):
            encoded(warm=silent)

    def test_the_mask_file_is_flat(self, encoded):
        step, _, _ = encoded(reference="r")
        frame = pl.read_parquet(step.folder / "part-00000.parquet")
        assert frame.columns == ["unit_id", "input_ids", "response"]
        rows = rows_of(step)
        assert (np.diff(rows.offsets) > 0).all()
