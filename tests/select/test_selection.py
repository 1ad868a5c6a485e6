import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.data import Table
from tamis.errors import DataError, RecipeError
from tamis.select import Selection

VALUES = {"keep": True, "drop": False, None: None}


def make(decisions, **columns):
    ids = [f"u{i}" for i in range(len(decisions))]
    return Selection(pl.DataFrame({"unit_id": ids, "decision": pl.Series(decisions, dtype=pl.String), **columns}))


def kleene_and(a, b):
    if a is False or b is False:
        return False
    return None if a is None or b is None else True


def truth(selection):
    return {row["unit_id"]: VALUES[row["decision"]] for row in selection.frame.iter_rows(named=True)}


three_valued = st.lists(
    st.tuples(st.sampled_from(["keep", "drop", None]), st.sampled_from(["keep", "drop", None])), min_size=1, max_size=20
)


@given(three_valued)
def test_algebra_is_kleene_logic(pairs):
    a, b = make([x for x, _ in pairs]), make([y for _, y in pairs])
    left, right = truth(a), truth(b)
    negated = {u: None if v is None else not v for u, v in right.items()}
    assert truth(a & b) == {u: kleene_and(left[u], right[u]) for u in left}
    assert truth(a - b) == {u: kleene_and(left[u], negated[u]) for u in left}
    neither = kleene_or_inputs(left, right)
    assert truth(a | b) == neither
    assert truth(~~a) == left


def kleene_or_inputs(left, right):
    def either(a, b):
        if a is True or b is True:
            return True
        return None if a is None or b is None else False

    return {u: either(left[u], right[u]) for u in left}


def test_a_unit_named_by_one_side_only_is_dropped_there():
    a = make(["keep", "keep"])
    b = Selection(pl.DataFrame({"unit_id": ["u1", "u9"], "decision": ["keep", "keep"]}))
    assert truth(a & b) == {"u0": False, "u1": True, "u9": False}
    assert truth(a | b) == {"u0": True, "u1": True, "u9": True}
    assert (a & b).explain("u0")["reason"].endswith("not in the second selection")


def test_reasons_and_steps_of_both_sides_survive():
    a = make(["keep"], reason=["good"], step=["one"])
    b = make(["drop"], reason=["bad"], step=["two"])
    combined = (a & b).explain("u0")
    assert combined["reason"] == "good and bad"
    assert combined["step"] == "one and two"


def test_top_drops_the_rest_and_keeps_the_undecided():
    selection = make(["keep", "keep", None, "drop"], rank=[1, 0, None, 2])
    best = selection.top(1)
    assert best.chosen == ["u1"]
    assert best.undecided == ["u2"]
    assert best.explain("u0")["reason"] == "not among the top 1"
    with pytest.raises(RecipeError, match="'k' parameter of top"):
        selection.top(-1)


def test_apply_keeps_table_order_unless_told_otherwise():
    table = Table.from_records([{"id": f"u{i}", "text": str(i)} for i in range(3)])
    selection = make(["keep", "drop", "keep"], rank=[1, 2, 0])
    assert selection.apply(table).ids.to_list() == ["u0", "u2"]
    assert selection.apply(table, order="rank").ids.to_list() == ["u2", "u0"]
    assert selection.apply(table, decision="drop").ids.to_list() == ["u1"]
    with pytest.raises(RecipeError, match="'order' parameter"):
        selection.apply(table, order="best")
    with pytest.raises(DataError, match="not in the table"):
        make(["keep"] * 4).apply(table)


def test_parquet_round_trip(tmp_path):
    selection = make(["keep", None], score=[1.5, None], rank=[0, None], reason=["r", "none"], step=["s", "s"])
    selection.write(tmp_path / "selection.parquet")
    assert Selection.read(tmp_path) == selection
    assert [p.name for p in tmp_path.iterdir()] == ["selection.parquet"]


def test_bad_selections_are_refused(tmp_path):
    with pytest.raises(DataError, match="needs the column 'decision'"):
        Selection(pl.DataFrame({"unit_id": ["a"]}))
    with pytest.raises(DataError, match=r"once.*\['a'\]"):
        Selection(pl.DataFrame({"unit_id": ["a", "a"], "decision": ["keep", "drop"]}))
    with pytest.raises(DataError, match="Did you mean 'keep'"):
        make(["kepp"])
    with pytest.raises(DataError, match="There is no selection at"):
        Selection.read(tmp_path)
    (tmp_path / "selection.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(DataError, match="was it cut short"):
        Selection.read(tmp_path)
    with pytest.raises(DataError, match="no unit 'u7'"):
        make(["keep"]).explain("u7")


def test_and_never_revives_what_one_side_flags():
    def made(decisions):
        return Selection(pl.DataFrame({"unit_id": list("abcd"), "decision": decisions}))

    keep, audit = made(["keep"] * 4), made(["keep", "flag", "query", None])
    for both in (keep & audit, audit & keep):
        assert dict(both.frame.select("unit_id", "decision").iter_rows()) == {
            "a": "keep", "b": "flag", "c": "query", "d": None,
        }  # fmt: skip
    assert audit.kept == ["a"]
