"""Files and batches of the toy endpoint: enough of the OpenAI Batch API to be paid half for nothing."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

from tamis.toy.answers import error_body
from tamis.toy.wire import Request, Response, json_response

_BOUNDARY = re.compile(r'boundary="?([^";]+)"?')
_FIELD = re.compile(rb'name="([^"]*)"')

AnswerLine = Callable[[Any], "Response | None"]
"""Answer to one chat request, None where there never is one."""


class Batches:
    """Uploaded files and batches, in memory.

    Parameters
    ----------
    answer : callable
        From the body of a chat request to the response, or None where none ever comes: such a batch expires.
    seconds : float
        How long a batch takes.
    """

    def __init__(self, answer: AnswerLine, *, seconds: float = 0.0) -> None:
        self.answer = answer
        self.seconds = seconds
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}

    def respond(self, request: Request) -> Response:
        """Answer a request below ``/v1/files`` or ``/v1/batches``."""
        parts = request.path.strip("/").split("/")[1:]
        match (request.method, *parts):
            case ("POST", "files"):
                return self._upload(request)
            case ("GET", "files", name, "content") if name in self.files:
                return Response(200, self.files[name], kind="application/octet-stream")
            case ("POST", "batches"):
                return self._create(request.json())
            case ("GET", "batches"):
                return json_response({"object": "list", "data": list(self.batches.values()), "has_more": False})
            case ("GET", "batches", name) if name in self.batches:
                return json_response(self._state(self.batches[name]))
            case _:
                return json_response(error_body(f"No such thing: {request.path}", code="not_found"), status=404)

    def _upload(self, request: Request) -> Response:
        found = _BOUNDARY.search(request.headers.get("content-type", ""))
        if not found:
            return json_response(error_body("A multipart form is expected."), status=400)
        form = {}
        for part in request.body.split(b"--" + found.group(1).encode())[1:-1]:
            head, _, content = part.partition(b"\r\n\r\n")
            name = _FIELD.search(head)
            form[name.group(1) if name else b""] = content[: -len(b"\r\n")]
        return json_response(self._keep(form.get(b"file", b"")))

    def _keep(self, content: bytes) -> Any:
        name = f"file-{len(self.files)}"
        self.files[name] = content
        return {"id": name, "object": "file", "bytes": len(content), "created_at": 0, "filename": name}

    def _create(self, asked: Any) -> Response:
        lines = [json.loads(line) for line in self.files[asked["input_file_id"]].splitlines()]
        answered: list[bytes] = []
        failed: list[bytes] = []
        left = 0
        for line in lines:
            response = self.answer(line["body"])
            if response is None:
                left += 1
                continue
            body = json.loads(response.body)
            said = {"status_code": response.status, "request_id": "toy", "body": body}
            record = {"id": f"out-{line['custom_id']}", "custom_id": line["custom_id"], "response": said, "error": None}
            (answered if response.status == 200 else failed).append(json.dumps(record).encode())
        name = f"batch_{len(self.batches)}"
        self.batches[name] = {
            "id": name,
            "object": "batch",
            "endpoint": asked["endpoint"],
            "completion_window": asked["completion_window"],
            "input_file_id": asked["input_file_id"],
            "created_at": int(time.time()),
            "status": "validating",
            "metadata": asked.get("metadata"),
            "output_file_id": self._keep(b"\n".join(answered) + b"\n")["id"] if answered else None,
            "error_file_id": self._keep(b"\n".join(failed) + b"\n")["id"] if failed else None,
            "request_counts": {"total": len(lines), "completed": len(answered), "failed": len(failed)},
            "ready": time.monotonic() + self.seconds,
            "end": "expired" if left else "completed",
        }
        return json_response({**self.batches[name], "output_file_id": None, "error_file_id": None})

    @staticmethod
    def _state(batch: dict[str, Any]) -> dict[str, Any]:
        if time.monotonic() < batch["ready"]:
            return {**batch, "status": "in_progress", "output_file_id": None, "error_file_id": None}
        return {**batch, "status": batch["end"]}
