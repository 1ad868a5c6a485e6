"""HTTP/1.1 over asyncio streams: only what the toy endpoint needs, kept alive."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Request:
    """One request; header names in lower case, the path without its query."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON values; ValueError if it is none."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Response:
    """One response. ``cut`` sends half the body under the length of the whole and closes the connection."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    kind: str = "application/json"
    cut: bool = False

    def encoded(self) -> bytes:
        """Return the bytes on the wire."""
        reason = HTTPStatus(self.status).phrase if self.status in HTTPStatus._value2member_map_ else "Unknown"
        more = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        head = f"HTTP/1.1 {self.status} {reason}\r\ncontent-type: {self.kind}\r\ncontent-length: {len(self.body)}\r\n"
        sent = self.body[: len(self.body) // 2] if self.cut else self.body
        return f"{head}{more}\r\n".encode("latin-1") + sent


def json_response(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response whose body is ``value`` in JSON."""
    return Response(status, json.dumps(value).encode(), headers or {})


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """Read the next request; None when the client has left or speaks something else."""
    try:
        head = (await reader.readuntil(_END)).decode("latin-1")
        first, *lines = head[: -len(_END)].split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError):
        return None
    return Request(method, target.partition("?")[0], headers, body)
