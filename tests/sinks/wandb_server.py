"""As much of a W&B server as its SDK needs to write, resume and read runs; on loopback."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ENTITY = "someone"
API_KEY = "0123456789" * 4


class WandbServer(ThreadingHTTPServer):
    """Keeps runs as W&B's file stream writes them: lines of a file, by their numbers.

    Attributes:
        lines: of ``wandb-history.jsonl``, by run id.
        configs, summaries: as JSON, by run id.
        uploads: other files, by name.
        finished: the exit code of each run that has ended.
        answers: False: every request gets error 500.
    """

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.lines: dict[str, list[str]] = {}
        self.configs: dict[str, str] = {}
        self.summaries: dict[str, str] = {}
        self.uploads: dict[str, bytes] = {}
        self.finished: dict[str, int] = {}
        self.asked: list[str] = []
        self.answers = True
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def rows(self, run_id: str) -> list[dict[str, Any]]:
        """The rows of a run's history."""
        with self.lock:
            return [json.loads(line) for line in self.lines.get(run_id, [])]

    def config(self, run_id: str) -> dict[str, Any]:
        """The config of a run."""
        return {name: item["value"] for name, item in json.loads(self.configs[run_id]).items()}

    def graphql(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Answers one query."""
        name = variables.get("name") or variables.get("runName") or variables.get("run") or ""
        for word, answer in self._queries().items():
            if re.search(rf"\b{word}\b", query):
                self.asked.append(word)
                return answer(name, variables)
        self.asked.append(query)
        raise LookupError(query)  # told as GraphQL does, which W&B takes for a server that is older than it

    def _queries(self) -> dict[str, Callable[[str, dict[str, Any]], dict[str, Any]]]:
        return {
            "UpsertBucket": self._upsert,
            "RunResumeStatus": self._resume_status,
            "CreateRunFiles": self._create_files,
            "viewer": lambda name, variables: {"viewer": _VIEWER},
            "RunHistoryKeys": lambda name, variables: _run(historyKeys={"lastStep": self._last_step(name)}),
            "RunParquetHistory": lambda name, variables: _run(
                parquetHistory={"parquetUrls": [], "liveData": [{"_step": 0}]}
            ),
            "SampledHistoryPage": self._sampled,
            "Run": self._run_query,
        }

    def _upsert(self, name: str, variables: dict[str, Any]) -> dict[str, Any]:
        is_new = name not in self.lines
        lines = self.lines.setdefault(name, [])
        self.configs[name] = variables.get("config") or self.configs.get(name, "{}")
        bucket = {
            "id": f"id-{name}", "name": name, "displayName": variables.get("displayName") or name,
            "description": "", "config": self.configs[name], "sweepName": None,
            "project": {"id": "p", "name": variables["project"], "entity": {"id": "e", "name": ENTITY}},
            "historyLineCount": len(lines),
        }  # fmt: skip
        return {"upsertBucket": {"bucket": bucket, "inserted": is_new}}

    def _resume_status(self, name: str, variables: dict[str, Any]) -> dict[str, Any]:
        bucket = None
        if name in self.lines:
            lines = self.lines[name]
            bucket = {
                "id": f"id-{name}", "name": name, "displayName": name, "tags": [], "notes": None,
                "summaryMetrics": self.summaries.get(name, "{}"), "config": self.configs[name],
                "logLineCount": 0, "historyLineCount": len(lines), "eventsLineCount": 0,
                "historyTail": json.dumps(lines[-1:]), "eventsTail": "[]",
                "wandbConfig": json.dumps({"t": 1}),
            }  # fmt: skip
        project = {"id": "p", "name": variables["project"], "entity": {"id": "e", "name": ENTITY}}
        return {"model": {**project, "bucket": bucket}}

    def _create_files(self, name: str, variables: dict[str, Any]) -> dict[str, Any]:
        files = [{"name": each, "uploadUrl": f"{self.url}/upload/{each}"} for each in variables["files"]]
        return {"createRunFiles": {"runID": name, "uploadHeaders": [], "files": files}}

    def _last_step(self, name: str) -> int:
        return max((row["_step"] for row in self.rows(name)), default=-1)

    def _sampled(self, name: str, variables: dict[str, Any]) -> dict[str, Any]:
        spec = json.loads(variables["spec"])
        keys = spec["keys"]
        found = [
            {key: row[key] for key in keys}
            for row in self.rows(name)
            if all(key in row for key in keys) and spec["minStep"] <= row["_step"] <= spec["maxStep"]
        ]
        return _run(sampledHistory=[found])

    def _run_query(self, name: str, variables: dict[str, Any]) -> dict[str, Any]:
        if name not in self.lines:
            return {"project": {"run": None}}
        return _run(
            id=f"id-{name}", projectId=7, tags=[], name=name, displayName=name, sweepName=None,
            state="running", config="{}", group=None, jobType=None, commit=None, readOnly=False,
            createdAt="2026-01-01T00:00:00Z", heartbeatAt="2026-01-01T00:00:00Z", description="", notes="",
            systemMetrics="{}", summaryMetrics=self.summaries.get(name, "{}"),
            historyLineCount=len(self.lines[name]), user={"name": ENTITY, "username": ENTITY},
            historyKeys={"lastStep": self._last_step(name)},
        )  # fmt: skip

    def file_stream(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        """Takes lines of files."""
        for file, chunk in (request.get("files") or {}).items():
            if file == "wandb-history.jsonl":
                with self.lock:
                    first = chunk["offset"]
                    self.lines[name][first : first + len(chunk["content"])] = chunk["content"]
            elif file == "wandb-summary.json":
                self.summaries[name] = chunk["content"][-1]
        if request.get("complete"):
            self.finished[name] = request["exitcode"]
        return {"exitcode": None, "limits": {}}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients are killed here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WandbServer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, answer = 200, {}
        if not self.server.answers:
            status = 500
        elif self.path == "/graphql":
            request = json.loads(body)
            try:
                answer = {"data": self.server.graphql(request["query"], request.get("variables") or {})}
            except LookupError:
                answer = {"data": {}, "errors": [{"message": "no such query here"}]}
        elif self.path.endswith("/file_stream"):
            answer = self.server.file_stream(self.path.split("/")[-2], json.loads(body))
        self._answer(status, answer)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.uploads[self.path.rpartition("/")[2]] = body
        self._answer(200, {})

    def _answer(self, status: int, answer: dict[str, Any]) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


_VIEWER = {
    "id": "v", "entity": ENTITY, "username": ENTITY, "email": "", "flags": "{}", "teams": {"edges": []},
}  # fmt: skip


def _run(**fields: Any) -> dict[str, Any]:
    return {"project": {"run": fields}}


@contextmanager
def serving(port: int = 0) -> Iterator[WandbServer]:
    """A server that runs."""
    server = WandbServer(port)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
