import polars as pl
import pytest

from tamis.data import read
from tamis.errors import DataError


def test_types_stay_and_nested_chats_are_read(tmp_path):
    frame = pl.DataFrame(
        {"messages": [[{"role": "user", "content": "hi"}], []], "score": pl.Series([1, 2], dtype=pl.UInt8)}
    )
    frame.write_parquet(tmp_path / "a.parquet")
    table = read(tmp_path / "a.parquet")
    assert table.frame.schema["score"] == pl.UInt8
    assert table.chats() == [[{"role": "user", "content": "hi"}]]
    assert table.rejects.select("line", "reason").rows() == [(2, "has no messages (column 'messages')")]


def test_shards_are_widened(tmp_path):
    pl.DataFrame({"text": ["a"], "n": [1]}).write_parquet(tmp_path / "0.parquet")
    pl.DataFrame({"text": ["b"], "n": [1.5], "more": ["x"]}).write_parquet(tmp_path / "1.parquet")
    table = read(tmp_path)
    assert table.frame.drop("id").rows() == [("a", 1.0, None), ("b", 1.5, "x")]


def test_shards_that_do_not_fit(tmp_path):
    pl.DataFrame({"text": ["a"], "n": [1]}).write_parquet(tmp_path / "0.parquet")
    pl.DataFrame({"text": ["b"], "n": [[1]]}).write_parquet(tmp_path / "1.parquet")
    with pytest.raises(DataError, match=r"The shards of .* do not fit together .*; give them the same types"):
        read(tmp_path)


def test_what_is_no_parquet(tmp_path):
    (tmp_path / "a[1].parquet").write_text("no")
    with pytest.raises(DataError, match=r"cannot be read as Parquet .*; get the file again or give format="):
        read(tmp_path / "a[1].parquet")
