import numpy as np
import polars as pl
import pytest

from tamis.data import Signal, Table
from tamis.errors import DataError, RecipeError

TABLE = Table.from_records([{"id": name, "text": name} for name in "abc"])


def rated(values, **options):
    table = Table.from_records([{"text": str(n), "score": value} for n, value in enumerate(values)])
    return Signal.from_column(table, "score", **options).frame.select("value", "status").rows()


def test_numbers_null_and_nan():
    assert rated([4, None, float("nan"), 0.0]) == [(4.0, "ok"), (None, "missing"), (None, "missing"), (0.0, "ok")]


def test_infinities_are_unparsed_and_counted():
    table = Table.from_records([{"text": "x", "s": float("inf")}, {"text": "y", "s": 1.0}])
    signal = Signal.from_column(table, "s")
    assert signal.frame["value"].to_list() == [None, 1.0]
    assert signal.counts().rows() == [("s", "overall", "ok", 1), ("s", "overall", "unparsed", 1)]


def test_text_cells():
    assert rated(["4", " 4.5 ", "", "  ", "nan", "four", "inf", "8/10"]) == [
        (4.0, "ok"),
        (4.5, "ok"),
        (None, "missing"),
        (None, "missing"),
        (None, "missing"),
        (None, "unparsed"),
        (None, "unparsed"),
        (None, "unparsed"),
    ]


def test_mixed_cells_and_booleans():
    assert rated([4, "5", [1], None, True, "n/a"]) == [
        (4.0, "ok"),
        (5.0, "ok"),
        (None, "unparsed"),
        (None, "missing"),
        (1.0, "ok"),
        (None, "unparsed"),
    ]
    assert rated([True, False]) == [(1.0, "ok"), (0.0, "ok")]


def test_rater_and_criterion_names():
    table = Table.from_records([{"text": "x", "gpt4": 1}])
    assert Signal.from_column(table, "gpt4").raters == ["gpt4"]
    signal = Signal.from_column(table, "gpt4", rater="judge", criterion="clarity")
    assert (signal.raters, signal.criteria, signal.frame["unit_id"][0]) == (["judge"], ["clarity"], table.ids[0])


def test_from_column_refuses():
    with pytest.raises(RecipeError, match=r"The 'column' 'txt' is no column of <records>. Did you mean 'text'\?"):
        Signal.from_column(TABLE, "txt")
    table = Table.from_frame(pl.DataFrame({"text": ["a"], "x": [[1]]}))
    with pytest.raises(
        DataError, match=r"The column 'x' must hold numbers or text to be a signal, found List\(Int64\)"
    ):
        Signal.from_column(table, "x")


def test_from_frame_keeps_all_columns():
    frame = pl.DataFrame(
        {
            "raw_ref": ["r1", None],
            "unit_id": [1, 2],
            "rater": ["x", "y"],
            "criterion": ["c", "c"],
            "value": [1, None],
            "status": ["ok", "refused"],
            "cost": [0.5, None],
            "extra": [0, 0],
        }
    )
    assert Signal.from_frame(frame).frame.rows() == [
        ("1", "x", "c", 1.0, "ok", 0.5, "r1"),
        ("2", "y", "c", None, "refused", None, None),
    ]


def test_units_and_raters_of_mixed_types_are_text():
    rows = [{"unit_id": 1, "rater": "x", "value": 1}, {"unit_id": "a", "rater": 2, "value": "n/a"}]
    frame = Signal.from_frame(rows).frame
    assert frame.select("unit_id", "rater", "status").rows() == [("1", "x", "ok"), ("a", "2", "unparsed")]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([{"unit": "a", "value": 1}], "must have a column unit_id .* found unit, value; rename the columns"),
        ([{"id": "a", "mark": 1}], "must have a column unit_id .* and a column value .* found id, mark"),
        ([{"id": "a", "value": 1, "status": "good"}], "must be one of ok, missing, refused, unparsed, found 'good'"),
        ([{"id": "a", "value": 1, "status": None}], "must be one of ok, missing, refused, unparsed, found 'null'"),
        ([{"id": "a", "value": 1, "status": "refused"}], r"have a value although .* \(first: unit 'a', refused\)"),
        ([{"id": "a", "value": "x", "status": "missing"}], r"have a value although .* \(first: unit 'a'\)"),
        ([{"id": "a", "value": None, "status": "ok"}], r"have status ok without a finite value \(first: unit 'a'\)"),
        ([{"id": "a", "value": float("inf"), "status": "ok"}], "have status ok without a finite value"),
        (
            [{"id": "a", "value": 1}, {"id": "a", "value": 2}],
            r"measured more than once .* \(first: a, value, overall\)",
        ),
        (
            [{"unit_id": 1.5, "value": 1}],
            "The column 'unit_id' of the signal must hold text or integer ids, found Float64",
        ),
        ([{"id": None, "value": 1}], "1 rows of the signal have no unit_id"),
        ([{"id": "a", "value": 1}, 7], "has a row that is no measurement: <records>, line 2: is no object"),
    ],
)
def test_from_frame_refuses(rows, sentence):
    with pytest.raises(DataError, match=sentence):
        Signal.from_frame(rows)


def test_the_frame_of_a_signal_is_checked():
    with pytest.raises(
        DataError, match=r"The frame of a Signal must have the columns unit_id, rater, .*; use Signal.from"
    ):
        Signal(pl.DataFrame({"unit_id": ["a"], "value": [1.0]}))


def test_aligned_follows_the_table():
    signal = Signal.from_frame(
        [
            {"id": "c", "value": 3, "status": "ok"},
            {"id": "z", "value": 9, "status": "ok"},
            {"id": "a", "value": None, "status": "refused"},
        ]
    )
    values, statuses = signal.aligned(TABLE)
    np.testing.assert_array_equal(values, [np.nan, np.nan, 3.0])
    assert values.dtype == np.float64
    assert statuses.tolist() == ["refused", "missing", "ok"]
    assert signal.unmatched(TABLE) == 1
    again, _ = signal.aligned(TABLE.take([2, 0]))
    np.testing.assert_array_equal(again, [3.0, np.nan])


def test_aligned_needs_a_choice_among_raters():
    parts = [Signal.from_frame([{"id": "a", "value": n}], rater=rater) for n, rater in enumerate(["x", "y"])]
    both = Signal.concat(parts)
    assert both.aligned(TABLE, rater="y")[0][0] == 1.0
    with pytest.raises(RecipeError, match=r"The signal has 2 values of rater \(x, y\); choose one with rater="):
        both.aligned(TABLE)
    with pytest.raises(RecipeError, match=r"The signal has no rater 'z'."):
        both.aligned(TABLE, rater="z")
    with pytest.raises(RecipeError, match=r"no criterion 'overal'. Did you mean 'overall'\?"):
        both.aligned(TABLE, rater="x", criterion="overal")


def test_no_match_says_how_ids_are_made():
    signal = Signal.from_frame([{"id": "7", "value": 1}])
    with pytest.raises(
        DataError, match=r"None of the 3 records .* called like '7', the records like 'a'. .* 'id'; rate"
    ):
        signal.aligned(TABLE)
    with pytest.raises(DataError, match="Ids of this table are made from the content of each record"):
        signal.aligned(Table.from_records([{"text": "x"}]))


def test_concat():
    first = Signal.from_frame([{"id": "a", "value": 1}], rater="x")
    with pytest.raises(DataError, match=r"measured more than once .* \(first: a, x, overall\); give repeats different"):
        Signal.concat([first, first])
    with pytest.raises(DataError, match="needs at least one signal, got none"):
        Signal.concat([])


def test_parquet_round_trip(tmp_path):
    signal = Signal.from_frame([{"id": "a", "value": 1.5, "cost": 0.1}, {"id": "b", "value": None}], rater="x")
    assert Signal.read(signal.write(tmp_path / "s.parquet")).frame.equals(signal.frame)
    with pytest.raises(RecipeError, match=r"give a name that ends in .parquet. Got s.csv instead"):
        signal.write("s.csv")
    with pytest.raises(DataError, match=r"to write s.parquet into does not exist; create it first"):
        signal.write(tmp_path / "no" / "s.parquet")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.csv", "id,rating\n01,4\nb,\nc,n/a\n"),
        ("r.tsv", "unit_id\tvalue\n01\t4\nb\t\nc\tn/a\n"),
        ("r.jsonl", '{"id": "01", "score": 4}\n{"id": "b", "score": null}\n{"id": "c", "score": "n/a"}\n'),
        ("r.csv", "id,value,rater,status,cost\n01,4,r,ok,1\nb,,r,missing,\nc,,r,unparsed,2\n"),
    ],
)
def test_minimal_files(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    signal = Signal.read(tmp_path / name, rater="r")
    assert signal.raters == ["r"]
    assert signal.frame.select("unit_id", "value", "status").rows() == [
        ("01", 4.0, "ok"),
        ("b", None, "missing"),
        ("c", None, "unparsed"),
    ]


def test_a_bad_line_is_an_error_and_not_a_missing_rating(tmp_path):
    (tmp_path / "r.jsonl").write_text('{"id": "a", "value": 1}\nbroken\n')
    with pytest.raises(DataError, match=r"r.jsonl has 1 lines that cannot be read \(first: .*line 2: is no JSON"):
        Signal.read(tmp_path / "r.jsonl")
