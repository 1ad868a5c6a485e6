from tamis.data import Rejects
from tamis.data.rejects import RAW_CHARACTERS, REJECTS_SCHEMA


def test_long_rows_are_cut_and_the_order_is_that_of_the_source():
    rejects = Rejects()
    rejects.add("b", 1, "late", "x" * 5000)
    rejects.add("a", 7, "second", b"\xff\xfe" * 5000)
    rejects.add("a", 3, "first", "\ud800")
    assert dict(rejects.frame.schema) == REJECTS_SCHEMA
    assert rejects.frame["reason"].to_list() == ["first", "second", "late"]
    assert rejects.frame["raw"].str.len_chars().max() == RAW_CHARACTERS
    assert rejects.frame["raw"][0] == "\\ud800"
    assert rejects.first == "a, line 3: first"


def test_without_rows():
    assert (len(Rejects()), Rejects().first, Rejects().frame.height) == (0, None, 0)
