import polars as pl
import pytest

from tamis.data import detect_roles
from tamis.data.roles import resolve_roles
from tamis.errors import RecipeError


def frame_of(*columns):
    return pl.DataFrame({name: ["a"] for name in columns})


@pytest.mark.parametrize(
    ("columns", "roles"),
    [
        (["instruction", "input", "output"], {"prompt": "instruction", "context": "input", "response": "output"}),
        (
            ["instruction", "context", "response"],
            {"prompt": "instruction", "context": "context", "response": "response"},
        ),
        (["prompt", "response"], {"prompt": "prompt", "response": "response"}),
        (["prompt", "completion"], {"prompt": "prompt", "response": "completion"}),
        (["question", "answer"], {"prompt": "question", "response": "answer"}),
        (["question", "answer", "context"], {"prompt": "question", "context": "context", "response": "answer"}),
        (["question", "text"], {"prompt": "question"}),
        (["text", "category"], {"response": "text"}),
        (["item", "worker", "label"], {"label": "label", "worker": "worker"}),
        (["images", "prompt"], {"prompt": "prompt", "image": "images"}),
        (["age", "income"], {}),
    ],
)
def test_shapes_are_known(columns, roles):
    assert detect_roles(frame_of(*columns)) == roles
    assert detect_roles(frame_of(*reversed(columns))) == roles


def test_messages_need_lists():
    lists = pl.DataFrame({"messages": [[{"role": "user", "content": "a"}]], "text": ["a"]})
    assert detect_roles(lists) == {"messages": "messages"}
    assert detect_roles(pl.DataFrame({"conversations": ["[]"]}), json_columns=["conversations"]) == {
        "messages": "conversations"
    }
    assert detect_roles(pl.DataFrame({"messages": ['[{"role": "user"}]']})) == {"messages": "messages"}
    assert detect_roles(pl.DataFrame({"messages": ["no list"], "text": ["a"]})) == {"response": "text"}


def test_given_roles_win():
    frame = frame_of("prompt", "response", "better")
    assert resolve_roles(frame, {"response": "better"}) == {"prompt": "prompt", "response": "better"}
    assert resolve_roles(frame, {"label": "response"}) == {"prompt": "prompt", "label": "response"}


def test_messages_and_fields_exclude_each_other():
    frame = pl.DataFrame({"messages": [[{"role": "user", "content": "a"}]], "q": ["a"], "prompt": ["b"]})
    assert resolve_roles(frame, {"prompt": "q"}) == {"prompt": "q"}
    fields = frame_of("prompt", "response", "talk")
    assert resolve_roles(fields, {"messages": "talk"}) == {"messages": "talk"}


def test_unknown_role():
    with pytest.raises(RecipeError) as error:
        resolve_roles(frame_of("q"), {"promt": "q"}, source="a.csv")
    assert str(error.value) == "The 'roles' of a.csv name the unknown role 'promt'. Did you mean 'prompt'?"


def test_unknown_column():
    with pytest.raises(RecipeError) as error:
        resolve_roles(frame_of("question_text"), {"prompt": "question_txt"}, source="a.csv")
    assert str(error.value) == (
        "The role 'prompt' is given to the column 'question_txt', which a.csv does not have. "
        "Did you mean 'question_text'?"
    )
