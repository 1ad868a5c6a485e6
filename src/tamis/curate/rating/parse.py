"""From a judge's reply to ratings: tolerant in form, strict in value. What is no rating of the scale is no rating."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from tamis.models.judging import FAILED, REFUSED, Reply

RatingStatus = Literal["ok", "missing", "refused", "unparsed"]

_LAST_CHARACTERS = 20_000
_MOST_OBJECTS = 200
_NUMBER = r"[+-]?[0-9]{1,9}(?:\.[0-9]{1,15})?"
_VALUE = re.compile(rf"\s*({_NUMBER})\s*(?:(?:/|out of)\s*([0-9]{{1,9}}))?\s*", re.IGNORECASE)
_SCORE_KEYS = ("score", "rating", "value")
_CURLY = str.maketrans({"\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'"})
_TRAILING_COMMA = re.compile(r",(\s*[}\]])")
_SINGLE_QUOTED = re.compile(r"(?<=[{,:\[\s])'([^'\"\\\n]*)'(?=\s*[,:}\]])")
_BARE_KEY = re.compile(r"([{,]\s*)([A-Za-z_][A-Za-z0-9_ ]*?)(\s*:)")
_THINK = re.compile(r"<(/?)think(?:ing)?>", re.IGNORECASE)
_DECLINED = r"""
    (?:assist|help(?!\s+but\b)|comply|rate|score|judge|evaluate|assess|grade|review|provide|fulfil|fulfill|continue
        |engage|process|complete|respond|answer|do\s+(?:this|that|so)
        |(?:give|offer|assign)\s+(?:\w+\s+){0,4}(?:rating|score|grade|evaluation|assessment|answer))s?\b
    (?![^.\n]{0,20}\b(?:higher|lower|(?:more|less|better|worse)\s+than)\b)
"""
_REFUSAL = re.compile(
    rf"""
    \b(?:
        (?:\A|(?:i|we)\s*(?:'m|\s+am|'re|\s+are)?\s*(?:really\s+|very\s+|so\s+|terribly\s+)?)(?:sorry|afraid)\b
            [^.\n]{{0,60}}\b(?:must\s+decline
            | (?:can(?:no|')?t|can\s+not|unable\s+to|won't|not\s+able\s+to)
              (?:\s*(?:[.!]|$) | \s+(?:\w+\s+){{0,4}}?{_DECLINED}))
      | (?:i|we)\s*(?:'m|\s+am|'re|\s+are)?\s*(?:(?:must|have\s+to|respectfully)\s+){{0,2}}(?:decline|refuse)\b
      | (?:i|we)\s*(?:'m|\s+am|'re|\s+are)?\s*
            (?:can(?:no|')?t|can\s+not|won't|will\s+not|unable\s+to|not\s+(?:able|willing)\s+to)
            \s+(?:\w+\s+){{0,4}}?{_DECLINED}
      | (?:my\s+guidelines|content\s+polic(?:y|ies))\b[^.\n]{{0,60}}\b(?:not\s+allow|prevent|prohibit|violat)
      | (?:violates?|against)\s+(?:my|our|the)\s+(?:\w+\s+)?(?:guidelines|polic(?:y|ies))
    )
    """,
    re.IGNORECASE | re.VERBOSE,
)


def parse_reply(text: str, *, criteria: Sequence[str], low: int, high: int) -> dict[str, float | None]:
    """Return the rating of each criterion in a reply, None where there is none on the scale.

    The last JSON object of the text that names a criterion counts, in a code fence or not; single quotes, trailing
    commas, unquoted keys and other spellings of the names (``Overall Rating``) are understood. Without such an
    object, the last ``name: 7`` of each criterion counts, unless the text ends in a number that may have been going to
    be another one. What stands between ``<think>`` and ``</think>``, or after a ``<think>`` that was never closed, is
    a draft and does not count. Values are numbers, numbers as text, ``8/10`` where 10 is the top of the scale, or an
    object with a score. Decimals are kept as they were said; nothing is clipped.

    Parameters
    ----------
    text : str
    criteria : sequence of str
    low, high : int
        Ends of the scale.

    Examples
    --------
    >>> parse_reply('Sure! {"Rarity": "3/10", "overall": 11}', criteria=["rarity", "overall"], low=1, high=10)
    {'rarity': 3.0, 'overall': None}
    """
    text = _spoken(text)[-_LAST_CHARACTERS:]
    found: dict[str, Any] | None = None
    for candidate in _objects(text, criteria):
        found = candidate
    if found is None:
        return {name: _stated(text, name, low, high) for name in criteria}
    return {name: _rating(found.get(name), low, high) for name in criteria}


def is_refusal(text: str) -> bool:
    """Whether a reply declines. Ask only about one without a rating: judges also quote samples that decline.

    Examples
    --------
    >>> is_refusal("I'm sorry, but I can't rate this content."), is_refusal("The sample is short.")
    (True, False)
    """
    return bool(_REFUSAL.search(text[:600].translate(_CURLY)))


def reply_ratings(
    reply: Reply, criteria: Sequence[str], low: int, high: int
) -> dict[str, tuple[RatingStatus, float | None]]:
    """Return status and rating of each criterion; the rating is None unless the status is ok.

    Examples
    --------
    >>> reply_ratings(Reply("answered", '{"overall": 7}'), ["rarity", "overall"], 1, 10)
    {'rarity': ('unparsed', None), 'overall': ('ok', 7.0)}
    """
    if reply.status == FAILED:
        return dict.fromkeys(criteria, ("missing", None))
    if reply.status == REFUSED:
        return dict.fromkeys(criteria, ("refused", None))
    values = parse_reply(reply.text, criteria=criteria, low=low, high=high)
    nothing: RatingStatus = "unparsed"
    if all(value is None for value in values.values()) and is_refusal(_spoken(reply.text)):
        nothing = "refused"
    return {name: (nothing, None) if value is None else ("ok", value) for name, value in values.items()}


def _spoken(text: str) -> str:
    """The text without what a model thought before it answered.

    Some chat templates write the opening tag themselves, so a closing one without it ends a thought as well.
    """
    said: list[str] = []
    start, thinking = 0, False
    for tag in _THINK.finditer(text):
        if tag[1]:
            said = said if thinking else []
            start, thinking = tag.end(), False
        elif not thinking:
            said.append(text[start : tag.start()])
            thinking = True
    if not thinking:
        said.append(text[start:])
    return "\n".join(said)


def _objects(text: str, criteria: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Objects of the text that name a criterion, outer before inner ones, with their keys as the criteria's names."""
    starts = [match.start() for match in re.finditer(r"\{", text)][-_MOST_OBJECTS:]
    beyond = 0
    for start in starts:
        if start < beyond:
            continue
        value, end = _decoded(text, start)
        named = _by_criterion(value, criteria) if isinstance(value, dict) else {}
        if named:
            beyond = end
            yield named


def _decoded(text: str, start: int) -> tuple[Any, int]:
    """The JSON value that begins at ``start`` and where it ends; (None, start) if there is none."""
    try:
        value, end = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        pass
    else:
        return value, end
    closing = _closing_brace(text, start)
    if closing is None:
        return None, start
    repaired = _SINGLE_QUOTED.sub(r'"\1"', text[start:closing].translate(_CURLY))
    repaired = _BARE_KEY.sub(r'\1"\2"\3', _TRAILING_COMMA.sub(r"\1", repaired))
    try:
        return json.loads(repaired), closing
    except (ValueError, RecursionError):
        return None, start


def _closing_brace(text: str, start: int) -> int | None:
    depth = 0
    for match in re.compile(r"[{}]").finditer(text, start):
        depth += 1 if match[0] == "{" else -1
        if depth == 0:
            return match.end()
    return None


def _by_criterion(value: Mapping[str, Any], criteria: Sequence[str]) -> dict[str, Any]:
    """Values under the names of the criteria; a key that is the name itself comes before another spelling."""
    spelt: dict[str, Any] = {}
    for key, item in value.items():
        plain = _plain(key)
        for form in (plain, re.sub(r"(?:rating|score)$", "", plain), re.sub(r"^(?:rating|score)", "", plain)):
            spelt.setdefault(form, item)
    named = {}
    for name in criteria:
        if name in value:
            named[name] = value[name]
        elif _plain(name) in spelt:
            named[name] = spelt[_plain(name)]
    return named


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _rating(value: Any, low: int, high: int) -> float | None:
    if isinstance(value, dict):
        value = next((item for key, item in value.items() if _plain(key) in _SCORE_KEYS), None)
    if isinstance(value, str):
        return _from_text(_VALUE.fullmatch(value), low, high)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if low <= value <= high else None


def _from_text(match: re.Match[str] | None, low: int, high: int) -> float | None:
    if match is None or (match[2] is not None and int(match[2]) != high):
        return None
    value = float(match[1])
    return value if low <= value <= high else None


def _stated(text: str, name: str, low: int, high: int) -> float | None:
    """The last ``name: 7`` of a text without a usable object."""
    words = r"[\s_]*".join(map(re.escape, name.split("_")))
    pattern = re.compile(
        rf"(?<![A-Za-z0-9])(?<![A-Za-z0-9]_){words}(?:[\s_]*(?:rating|score))?[\"'*_`]*\s*(?:\([^)\n]{{0,20}}\))?[\"'*_`]*"
        rf"\s*[:=|][\s\"'*_`]*"
        # a percentage, a range ("1-10") or an anchor ("1 = poor") is no rating, nor is a part of a longer number
        rf"({_NUMBER})(?![0-9.]*[0-9%])(?!\s*%)(?!\s*(?:-|\u2013|\.\.|to\b)\s*[0-9])(?!\s*=)"
        rf"(?:\s*(?:/|out\s+of\b)\s*([0-9]{{1,9}}))?",
        re.IGNORECASE,
    )
    last = None
    for last in pattern.finditer(text):  # noqa: B007 the last match is what is wanted
        pass
    if last is not None and "{" in text and text[last.end() :].strip() in ("", ".", "/"):
        # an object that breaks off in a number: "1" may have been going to be "10"
        return None
    at_the_end = last is not None and last[2] is None and text[last.end() :].strip(" \t") in ("", "/")
    if last is not None and at_the_end and _may_go_on(last[1], low, high):
        return None
    return _from_text(last, low, high)


def _may_go_on(number: str, low: int, high: int) -> bool:
    """Whether further digits could make a whole number into another rating of the scale.

    Examples
    --------
    >>> _may_go_on("1", 1, 10), _may_go_on("7", 1, 10), _may_go_on("7", 0, 100), _may_go_on("0", 0, 10)
    (True, False, True, False)
    """
    if "." in number or not float(number):
        return False
    sign, size = (-1 if number.startswith("-") else 1), abs(int(number))
    for digits in range(1, len(str(max(abs(low), abs(high))))):
        first = size * 10**digits
        ends = sorted((sign * first, sign * (first + 10**digits - 1)))
        if ends[0] <= high and ends[1] >= low:
            return True
    return False
