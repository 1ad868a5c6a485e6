import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.curate.rating.parse import is_refusal, parse_reply, reply_ratings
from tamis.models.judging import Reply

CRITERIA = ("rarity", "overall")


def parsed(text, *, criteria=CRITERIA, low=1, high=10):
    return parse_reply(text, criteria=criteria, low=low, high=high)


def overall(text):
    return parsed(text)["overall"]


@pytest.mark.parametrize(
    "text",
    [
        '{"rarity": 3, "overall": 7}',
        '```json\n{"rarity": 3, "overall": 7}\n```',
        'The form is {"rarity": 1, "overall": 1}. I say: {"rarity": 3, "overall": 7} as asked {not json}.',
        "{'rarity': 3, 'overall': 7}",
        '{"rarity": 3, "overall": 7,}',
        "{rarity: 3, overall: 7}",
        "{\u201crarity\u201d: 3, \u201coverall\u201d: 7}",
        '{"Rarity": "3", "Overall Rating": "7"}',
        '{"rarity_score": 3.0, "overall_rating": " 7/10 "}',
        '{"RARITY": {"score": 3}, "overall": {"reason": "fine", "Rating": "7"}}',
        '{"ratings": {"rarity": 3, "overall": 7}}',
        '{"reason": "a } brace and \\"overall\\": 2", "rarity": 3, "overall": 7}',
        '{"rarity": 3, "overall": 7} {"note": "done"}',
        "Rarity: 3\nOverall: 7",
        "**Rarity:** 3/10\n**Overall rating**: 7/10\n",
        "rarity = 3, overall = 7 out of 10.",
        "| rarity | 3 |\n| overall | 7 |",
        "Rarity (1-10): 3. Overall (1 to 10): 7.",
        '{"rarity": 3, "overall": 7, "why": "it ended he',
    ],
)
def test_forms_that_are_understood(text):
    assert parsed(text) == {"rarity": 3.0, "overall": 7.0}


@pytest.mark.parametrize(
    "value",
    ["0", "11", "-3", "true", "null", "NaN", "Infinity", '"7/5"', '"seven"', '"7 8"', "[7]", "{}", "1e400", '""'],
)
def test_what_is_no_rating_of_the_scale_is_no_rating(value):
    assert parsed(f'{{"rarity": 3, "overall": {value}}}') == {"rarity": 3.0, "overall": None}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I like it.",
        "overall: 7%",
        "overall: 1-10",
        "Rate overall: 1 to 10",
        "overall: 1 = worthless, 10 = excellent",
        "overall: 12345678901234567890",
        "overall: 70",
        "Overall: 4/5",
        "my_overall: 7",
        "overalls: 7",
        "{" * 30_000,
        '{"a":' * 5_000,
        "[" * 30_000 + "}",
        '{"overall": ' + "9" * 5_000 + "}",
    ],
)
def test_texts_without_a_rating(text):
    assert overall(text) is None


@pytest.mark.parametrize("text", ['{"rarity": 3, "overall": 1', '{"overall": 8.', '{"rarity": 3, "over', '{"overall":'])
def test_an_object_that_breaks_off_in_a_number_gives_none(text):
    assert overall(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Rarity: 3\nOverall rating: 1", None),
        ("Overall: 1 ", None),
        ("Overall: 1/", None),
        ("Overall: 4. In the end, overall: 1", None),
        ("Overall: 1\n", 1.0),
        ("Overall: 1.", 1.0),
        ("(Overall: 1)", 1.0),
        ("**Overall: 1**", 1.0),
        ("Overall: 1, as I said", 1.0),
        ("Overall: 1/10", 1.0),
        ("Overall: 7", 7.0),
        ("Overall: 10", 10.0),
        ("Overall: 1.5", 1.5),
    ],
)
def test_a_number_at_the_end_of_a_text_that_could_have_become_another_is_none(text, value):
    assert overall(text) == value


@pytest.mark.parametrize(
    ("number", "low", "high", "value"),
    [
        ("7", 0, 100, None),
        ("10", 0, 100, None),
        ("11", 0, 100, 11.0),
        ("0", 0, 100, 0.0),
        ("5", 0, 5, 5.0),
        ("-1", -10, 10, None),
        ("-2", -10, 10, -2.0),
        ("1", 1, 9, 1.0),
    ],
)
def test_which_numbers_can_go_on_depends_on_the_scale(number, low, high, value):
    assert parsed(f"Overall: {number}", low=low, high=high)["overall"] == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('<think>{"overall": 3}', None),
        ("<think>\nFirst thought. Overall: 3.\n", None),
        ('<think>{"overall": 3}</think>{"overall": 7}', 7.0),
        ("<think>Overall: 3.</think>\nI like it.", None),
        ('{"overall": 3} was a draft</think>{"overall": 7}', 7.0),
        ("Overall: 3.</think>\nOverall: 7.", 7.0),
        ('<THINKING>{"overall": 3}</THINKING>{"overall": 7}<think>{"overall": 4}', 7.0),
        ("<think>" + "hm " * 20_000 + "Overall: 3.\n", None),
        ('<think>a <think>b</think> {"overall": 3}</think> {"overall": 7}', 7.0),
    ],
)
def test_a_draft_is_no_rating(text, value):
    assert overall(text) == value


def test_a_refusal_that_was_only_thought_is_none():
    thought = "<think>I cannot rate this.</think>It is fine."
    assert reply_ratings(Reply("answered", thought), CRITERIA, 1, 10)["overall"] == ("unparsed", None)


def test_decimals_are_kept_and_the_scale_bounds_them():
    assert overall('{"overall": 8.5}') == 8.5
    assert overall('{"overall": 6.281734}') == 6.281734
    assert overall('{"overall": 10.01}') is None
    assert parsed('{"overall": 0}', low=0, high=5)["overall"] == 0.0
    assert parsed('{"overall": -2}', low=-3, high=3)["overall"] == -2.0


def test_the_name_itself_comes_before_another_spelling():
    assert overall('{"overall rating": 2, "overall": 7, "Overall": 3}') == 7.0


def test_underscored_criteria():
    text = '{"Clear Prose": 4, "clear": 9}'
    assert parsed(text, criteria=("clear_prose", "overall"))["clear_prose"] == 4.0
    assert parsed("Clear prose: 4", criteria=("clear_prose", "prose")) == {"clear_prose": 4.0, "prose": 4.0}


def test_a_scoring_judges_reply_keeps_its_decimals():
    text = json.dumps({"rarity": 2.25, "overall": 6.125, "probabilities": {"rarity": [0.5], "overall": [0.25, 0.75]}})
    assert parsed(text) == {"rarity": 2.25, "overall": 6.125}


@given(
    st.dictionaries(
        st.sampled_from(["rarity", "complexity", "overall"]), st.floats(1, 10) | st.integers(1, 10), min_size=1
    )
)
@settings(deadline=None)
def test_what_json_says_comes_back(values):
    criteria = ("rarity", "complexity", "overall")
    expected = {name: values.get(name) for name in criteria}
    assert parse_reply(json.dumps(values), criteria=criteria, low=1, high=10) == expected
    wrapped = f"Thinking {{...}}\n```json\n{json.dumps(values, indent=1)}\n```\nDone."
    assert parse_reply(wrapped, criteria=criteria, low=1, high=10) == expected


WORDS = [
    "{",
    "}",
    '"',
    "'",
    "overall",
    "rarity",
    ":",
    ",",
    "7",
    "10",
    "11",
    ".",
    "-",
    "/",
    "=",
    "[",
    "]",
    "score",
    "NaN",
    "true",
    "null",
    "e9",
    "out",
    "of",
    "\\",
    "|",
    "٣",
    "“",
    "(",
    ")",
    "*",
    "%",
]
PIECES = st.lists(
    st.sampled_from(["overall", "rarity", "score", "7", "10", "11", "NaN", "true", "null", "e9", "out of", "\n"])
    | st.sampled_from("{}\"':, .-/=[]\\|()*%\u0663\u201c"),
    max_size=40,
).map("".join)


@given(st.one_of(st.text(max_size=200), PIECES), st.integers(-3, 3), st.integers(1, 9))
@settings(max_examples=400, deadline=None)
def test_nothing_raises_and_nothing_leaves_the_scale(text, low, width):
    high = low + width
    values = parse_reply(text, criteria=CRITERIA, low=low, high=high)
    assert set(values) == set(CRITERIA)
    assert all(value is None or (isinstance(value, float) and low <= value <= high) for value in values.values())
    reply_ratings(Reply("answered", text), CRITERIA, low, high)


@given(st.integers(1, 10), st.integers(1, 10))
def test_no_beginning_of_a_reply_gives_another_rating(rarity, value):
    text = json.dumps({"rarity": rarity, "overall": value})
    for length in range(len(text)):
        assert overall(text[:length]) is None
        assert parsed(text[:length])["rarity"] in (None, rarity)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't assist with that.",
        "I\u2019m sorry, but I can\u2019t help with rating this content.",
        "I cannot rate this sample.",
        "I am unable to evaluate this text.",
        "Sorry, I won't provide a rating for this.",
        "I must decline.",
        "As an AI, I can not comply with this request.",
        "We're sorry, we are not able to process this.",
        "This request violates our usage policies.",
        "I cannot in good conscience rate this.",
        "I'm sorry, but I can't.",
        "Sorry, I can't do that.",
        "I respectfully decline.",
        "I will not be giving this a score; I refuse to.",
        "I can't give you a rating for this.",
    ],
)
def test_refusals(text):
    assert is_refusal(text)
    assert reply_ratings(Reply("answered", text), CRITERIA, 1, 10) == dict.fromkeys(CRITERIA, ("refused", None))


@pytest.mark.parametrize(
    "text",
    [
        "The sample is short and clear.",
        "I can rate this: it is good.",
        "I think it deserves a seven.",
        "The user is sorry for the delay.",
        "The user is sorry that nobody can't help, says the reply.",
        "I cannot see flaws in it.",
        "I can't find anything wrong here.",
        "I can't help but admire this.",
        "We cannot know whether the date is right.",
        "I cannot give it more than six points.",
        "I cannot rate it higher.",
        "I can't score this more than that.",
        "I'm afraid the date can't be right.",
        "overall: eleven",
        "",
    ],
)
def test_replies_that_are_only_no_ratings(text):
    assert not is_refusal(text)
    assert reply_ratings(Reply("answered", text), CRITERIA, 1, 10)["overall"] == ("unparsed", None)


def test_a_rating_beside_an_apology_counts():
    text = 'I\'m sorry, I cannot judge the rarity. {"overall": 4}'
    assert reply_ratings(Reply("answered", text), CRITERIA, 1, 10) == {
        "rarity": ("unparsed", None),
        "overall": ("ok", 4.0),
    }


@pytest.mark.parametrize(("status", "expected"), [("failed", "missing"), ("refused", "refused")])
def test_without_an_answer_the_text_is_not_looked_at(status, expected):
    reply = Reply(status, '{"rarity": 3, "overall": 7}', error="HTTP 500")
    assert reply_ratings(reply, CRITERIA, 1, 10) == dict.fromkeys(CRITERIA, (expected, None))
