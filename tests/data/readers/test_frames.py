from datetime import date

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from tamis.data import read
from tamis.errors import DataError

ROWS = [{"prompt": "a", "response": "b", "rating": 4.5}, {"prompt": "c", "response": None, "rating": None}]


def test_every_kind_gives_the_same_ids_and_digest():
    datasets, pandas = pytest.importorskip("datasets"), pytest.importorskip("pandas")
    sources = {
        "records": ROWS,
        "polars": pl.DataFrame(ROWS),
        "pandas": pandas.DataFrame(ROWS, index=["x", "y"]),
        "arrow": pa.Table.from_pylist(ROWS),
        "datasets": datasets.Dataset.from_list(ROWS),
    }
    tables = {name: read(source) for name, source in sources.items()}
    assert {table.digest for table in tables.values()} == {tables["records"].digest}
    assert [table.source.format for table in tables.values()] == list(sources)
    assert read(pl.LazyFrame(ROWS)).digest == tables["records"].digest
    assert read(iter(ROWS)).digest == tables["records"].digest


def test_pandas_objects():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "text": ["a", "b", "c"],
            "mixed": pandas.Series([1, "x", np.nan], dtype=object),
            "chat": pandas.Series([[1], None, {"k": 2}], dtype=object),
            "when": pandas.to_datetime(["2026-01-01", None, "2026-01-02"]),
            "kind": pandas.Categorical(["u", "v", None]),
        }
    )
    table = read(frame)
    assert table.source.json_columns == ("mixed", "chat")
    records = list(table.records())
    assert [record["mixed"] for record in records] == [1, "x", None]
    assert [record["chat"] for record in records] == [[1], None, {"k": 2}]
    assert records[1]["when"] is None
    assert [record["kind"] for record in records] == ["u", "v", None]


def test_pandas_with_a_column_twice():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(DataError, match="The pandas frame names the column 'a' 2 times; rename one"):
        read(pandas.DataFrame([[1, 2]], columns=["a", "a"]))


def test_datasets_with_a_selection_a_chat_and_as_a_stream():
    datasets = pytest.importorskip("datasets")
    rows = [{"messages": [{"role": "user", "content": str(n)}]} for n in range(4)]
    dataset = datasets.Dataset.from_list(rows)
    assert read(dataset.select([3, 1])).texts() == ["###user: 3", "###user: 1"]
    assert read(dataset.to_iterable_dataset()).digest == read(dataset).digest
    assert read(dataset).digest == read(rows).digest


def test_dataset_dict_names_its_splits():
    datasets = pytest.importorskip("datasets")
    split = datasets.Dataset.from_list(ROWS)
    with pytest.raises(
        DataError, match=r"holds several splits \(train, test\); give one of them, as in read\(ds\['train'\]"
    ):
        read(datasets.DatasetDict(train=split, test=split))


def test_polars_object_columns_and_dates():
    frame = pl.DataFrame({"text": ["a"], "odd": pl.Series([{1: 2}], dtype=pl.Object), "day": [date(2026, 1, 1)]})
    table = read(frame)
    assert list(table.records()) == [{"text": "a", "odd": {"1": 2}, "day": date(2026, 1, 1)}]


@pytest.mark.parametrize("value", [7, None, {"text": ["a"]}, b"a.csv"])
def test_anything_else_is_refused(value):
    with pytest.raises(DataError, match=r"A table must be read from a path, a pandas or Polars frame, .* Got "):
        read(value)
