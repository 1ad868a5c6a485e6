import pytest

from tamis.data import Table, normalise_chat
from tamis.errors import DataError


def test_sharegpt_speakers():
    told = [("system", "s"), ("human", "h"), ("gpt", "g"), ("function_call", "f"), ("tool", "t"), ("observation", "o")]
    chat = normalise_chat([{"from": who, "value": what} for who, what in told])
    assert [message["role"] for message in chat] == ["system", "user", "assistant", "assistant", "tool", "tool"]
    assert [message["content"] for message in chat] == [what for _, what in told]


def test_openai_messages_with_parts_and_tool_calls():
    chat = normalise_chat(
        [
            {"role": "Developer", "content": "be brief"},
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "?"}],
            },
            {"role": "assistant", "content": None, "tool_calls": [{"name": "f"}]},
        ]
    )
    assert chat == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "<image>\n?"},
        {"role": "assistant", "content": '[{"name":"f"}]'},
    ]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], "has no messages"),
        (None, "has no messages"),
        ("[", "has messages that are no JSON"),
        (["hi"], "has a message 1 that is no object"),
        ([{"content": "hi"}], "has a message 1 without a role"),
        ([{"role": "user", "content": "hi"}, {"role": "narrator"}], "has a message 2 with the unknown role 'narrator'"),
        ([{"role": "user", "content": " "}], "has messages without content"),
    ],
)
def test_what_is_no_chat(value, reason):
    with pytest.raises(DataError) as error:
        normalise_chat(value)
    assert str(error.value) == reason


def test_alpaca_context_follows_the_prompt():
    table = Table.from_records(
        [
            {"instruction": "Translate.", "input": "Oui", "output": "Yes"},
            {"instruction": "Say hi.", "input": "", "output": "hi"},
        ]
    )
    assert table.texts() == ["###user: Translate.\n\nOui\n###assistant: Yes", "###user: Say hi.\n###assistant: hi"]
    assert table.prompts() == ["Translate.\n\nOui", "Say hi."]
    assert table.responses() == ["Yes", "hi"]


def test_conversational_prompt_and_completion():
    table = Table.from_records(
        [
            {
                "prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}],
                "completion": [{"role": "assistant", "content": "a"}],
            }
        ]
    )
    assert table.texts() == ["###system: s\n###user: q\n###assistant: a"]
    assert (table.prompts(), table.responses()) == (["q"], ["a"])


def test_prompt_of_several_turns_stops_at_the_last_answer():
    turns = [("user", "1"), ("assistant", "2"), ("user", "3"), ("assistant", "4"), ("user", "5")]
    table = Table.from_records([{"messages": [{"role": who, "content": what} for who, what in turns]}])
    assert (table.prompts(), table.responses()) == (["1\n\n3"], ["4"])


def test_numbers_and_mixed_cells_are_text():
    table = Table.from_records([{"question": "1+1?", "answer": 2}, {"question": "Why?", "answer": "so"}])
    assert table.responses() == ["2", "so"]


def test_without_text_columns_the_sentence_says_what_to_do():
    table = Table.from_records([{"item": 1, "label": 0}])
    with pytest.raises(DataError) as error:
        table.texts()
    assert str(error.value) == (
        "No column of <records> is known to hold a prompt, response or messages (columns: item, label); name them, "
        "for example roles={'prompt': ..., 'response': ...}."
    )
