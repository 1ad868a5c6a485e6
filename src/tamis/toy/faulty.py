"""What goes over the wire under each fault."""

from __future__ import annotations

import json
from typing import Any

from tamis.toy.answers import completion, error_body
from tamis.toy.faults import is_status
from tamis.toy.wire import Response, json_response

SILENT = ("hang", "reset")
"""Faults under which there is no response."""


def faulty_response(fault: str, asked: Any, content: str, *, retry_after: str) -> Response | None:
    """Return the response to a request under a fault, None where there is none.

    Parameters
    ----------
    fault : str
        One of :data:`tamis.toy.faults.FAULTS` or a status.
    asked : dict
        Body of the request.
    content : str
        What would have been answered.
    retry_after : str
        Header under ``429-after``.
    """
    if fault in SILENT:
        return None
    if is_status(fault):
        return json_response(error_body(f"Fault {fault} on schedule."), status=int(fault))
    if fault == "quota":
        body = error_body("You exceeded your current quota.", code="insufficient_quota")
        return json_response(body, status=429)
    if fault == "429-after":
        body = error_body("Rate limit reached.", code="rate_limit_exceeded")
        return json_response(body, status=429, headers={"retry-after": retry_after})
    if fault == "html":
        return Response(200, b"<html><body>Bad gateway</body></html>", kind="text/html")
    if fault == "truncated":
        return Response(200, json.dumps(completion(asked, content)).encode(), cut=True)
    if fault == "non-utf8":
        whole = json.dumps(completion(asked, "\x00")).encode()
        return Response(200, whole.replace(b"\\u0000", b"\xff\xfe\x80"))
    return json_response(_faulty_completion(fault, asked, content))


def _faulty_completion(fault: str, asked: Any, content: str) -> Any:
    match fault:
        case "refuse":
            return completion(asked, None, refusal="I cannot rate this.")
        case "filter":
            return completion(asked, "", finish="content_filter")
        case "length":
            return completion(asked, content, finish="length")
        case "null":
            return completion(asked, None)
        case "empty":
            return {**completion(asked, ""), "choices": []}
        case "broken-json":
            return completion(asked, content[: len(content) // 2])
        case _:
            return completion(asked, json.dumps({"verdict": "rather good"}))
