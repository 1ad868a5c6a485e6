"""Which optional parameters a server takes, learned from what it refuses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tamis.models.judging import JudgePrompt
from tamis.models.openai_errors import ErrorResponse

STRUCTURED = ("auto", "schema", "json", "off")
"""How the form of the reply is asked for: by schema as far as the server can, by schema, as JSON, in words only."""

_FORMS = {"auto": "json_schema", "schema": "json_schema", "json": "json_object", "off": None}
_WEAKER = {"json_schema": "json_object", "json_object": None}
_ABOUT_FORM = re.compile(r"response_format|json_(schema|object)|json schema|structured output|grammar|guided", re.I)
_REFUSED = re.compile(
    r"unsupported|not support|unknown|unrecogni[sz]ed|unexpected|forbidden|not (permitted|allowed|available)|extra|"
    r"unavailable|only the default|deprecated",
    re.I,
)
_READ_CHARACTERS = 400  # further on, vLLM repeats the request, and a prompt may speak of seeds and grammar


class Dialect:
    """How a request is worded for one server.

    A new dialect sends everything. :meth:`concede` takes back what the server refuses; it is never sent again.

    Parameters
    ----------
    structured : {"auto", "schema", "json", "off"}
        Only ``"auto"`` gives way.

    Attributes
    ----------
    conceded : list of str
        What was taken back, in words: ratings may depend on it.

    Examples
    --------
    >>> dialect = Dialect("auto")
    >>> sent = dialect.wording({"seed": 1}, schema={})
    >>> dialect.concede(sent, ErrorResponse(400, "Unknown parameter: 'seed'", param="seed"))
    True
    >>> "seed" in dialect.wording({"seed": 1}, schema={})
    False
    """

    def __init__(self, structured: str) -> None:
        self.conceded: list[str] = []
        self._gives_way = structured == "auto"
        self._form = _FORMS[structured]
        self._dropped: set[str] = set()
        self._renamed: dict[str, str] = {}

    def wording(self, options: Mapping[str, Any], *, schema: dict[str, Any]) -> dict[str, Any]:
        """Return the optional part of a request body."""
        body = {self._renamed.get(n, n): v for n, v in options.items() if n not in self._dropped}
        if self._form == "json_schema":
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "rating", "strict": True, "schema": schema},
            }
        elif self._form is not None:
            body["response_format"] = {"type": self._form}
        return body

    def concede(self, sent: Mapping[str, Any], error: ErrorResponse) -> bool:
        """Take back what the server refused.

        Parameters
        ----------
        sent : mapping
            The body that was refused. Another call may have conceded since; then nothing more is given up.
        error : ErrorResponse

        Returns
        -------
        bool
            Whether the request would now be worded otherwise, so that it is worth sending again.
        """
        if error.status not in (400, 422) or error.about_context:
            return False
        named = error.param.partition(".")[0]
        text = error.text[:_READ_CHARACTERS]
        for name in ("max_tokens", "temperature", "seed"):
            if name in sent and (named == name or (not named and re.search(rf"\b{name}\b", text))):
                return self._give_up(name, error)
        if "response_format" in sent and (named == "response_format" or _ABOUT_FORM.search(text)):
            return self._weaken(str(sent["response_format"]["type"]))
        return False

    def _give_up(self, name: str, error: ErrorResponse) -> bool:
        if name in self._dropped or name in self._renamed:
            return True
        # A value out of range is the user's to mend; only a parameter that is not taken at all is given up.
        if name != "seed" and not _REFUSED.search(f"{error.code} {error.text}"):
            return False
        if name == "max_tokens":
            self._renamed[name] = "max_completion_tokens"  # never dropped: an answer without an end costs money
        else:
            self._dropped.add(name)
            self.conceded.append(f"{name} is not sent: the server does not take it")
        return True

    def _weaken(self, sent_form: str) -> bool:
        if not self._gives_way:
            return False
        if sent_form == self._form:
            self._form = _WEAKER[sent_form]
            self.conceded.append(f"the form of the reply is not asked for by {sent_form}: the server does not take it")
        return True


def chat_request(
    prompt: JudgePrompt, dialect: Dialect, *, model: str, temperature: float, max_tokens: int, seed: int
) -> dict[str, Any]:
    """Return the body of a chat completion request."""
    options = {"temperature": temperature, "max_tokens": max_tokens, "seed": seed}
    return {"model": model, "messages": prompt.messages(), **dialect.wording(options, schema=prompt.schema())}
