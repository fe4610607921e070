"""A trace is served to Perfetto's interface, and to nobody else."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sightline.timeline.serving import TraceServer, offline_ui

WEB = "https://ui.perfetto.dev"
Serve = Callable[..., TraceServer]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    file = tmp_path / "a run.json.gz"
    file.write_bytes(bytes(range(256)) * 20_000)
    (tmp_path / "secret.txt").write_text("secret")
    return file


@pytest.fixture
def serve(trace: Path) -> Iterator[Serve]:
    servers: list[TraceServer] = []

    def serve(*, offline: bool = False) -> TraceServer:
        servers.append(TraceServer(trace, ui=offline_ui() if offline else None, port=0))
        return servers[-1]

    yield serve
    for each in servers:
        each.close()


def ask(
    server: TraceServer, path: str, *, method: str = "GET", host: str | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{server.port}")
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, {k.lower(): v for k, v in answer.getheaders()}, body


def test_the_interface_on_the_web_may_fetch_the_trace(serve: Serve, trace: Path) -> None:
    server = serve()
    assert server.url == f"{WEB}/#!/?url=http://127.0.0.1:{server.port}/a%20run.json.gz"
    status, headers, body = ask(server, "/a%20run.json.gz", Origin=WEB)
    assert (status, body) == (200, trace.read_bytes())
    assert headers["access-control-allow-origin"] == WEB
    assert server.fetched.wait(10)
    status, headers, _ = ask(
        server,
        "/a%20run.json.gz",
        method="OPTIONS",
        Origin=WEB,
        Access_Control_Request_Private_Network="true",
    )
    assert status == 204
    assert headers["access-control-allow-private-network"] == "true"


def test_a_look_is_not_a_fetch(serve: Serve, trace: Path) -> None:
    server = serve()
    status, headers, body = ask(server, "/a%20run.json.gz", method="HEAD")
    assert (status, headers["content-length"], body) == (200, str(trace.stat().st_size), b"")
    assert not server.fetched.is_set()


@pytest.mark.parametrize("offline", [False, True])
@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "evil.example:9001"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://ui.perfetto.dev"},
    ],
    ids=str,
)
def test_others_are_refused(serve: Serve, offline: bool, headers: dict[str, str]) -> None:
    """A page of somebody else's, or a name of somebody else's that leads to this machine."""
    server = serve(offline=offline)
    for method in ("GET", "HEAD", "OPTIONS"):
        status, answer, body = ask(server, "/a%20run.json.gz", method=method, **headers)
        assert status == 403
        assert "access-control-allow-origin" not in answer
        assert len(body) < 1000
    assert not server.fetched.is_set()


@pytest.mark.parametrize("offline", [False, True])
@pytest.mark.parametrize(
    "path",
    ["/secret.txt", "/../secret.txt", "/%2e%2e/secret.txt", "//etc/passwd", "/..%2f..%2fetc/passwd", "/v0/"],
)
def test_nothing_else_is_served(serve: Serve, offline: bool, path: str) -> None:
    status, _, body = ask(serve(offline=offline), path)
    assert status == 404
    assert b"secret" not in body
    assert b"root:" not in body


def test_the_offline_interface_is_whole_and_finds_its_trace(serve: Serve, trace: Path) -> None:
    server = serve(offline=True)
    ui = offline_ui()
    assert ui is not None
    assert server.url == f"http://127.0.0.1:{server.port}/"
    status, headers, body = ask(server, "/")
    assert (status, headers["content-type"], body) == (200, "text/html", (ui / "index.html").read_bytes())
    assert ask(server, "/vizviewer_info")[0] == 200
    for file in [each for each in ui.rglob("*") if each.suffix in (".js", ".wasm", ".css")]:
        status, headers, _ = ask(server, f"/{file.relative_to(ui)}", method="HEAD")
        assert (status, headers["content-length"]) == (200, str(file.stat().st_size))
        assert file.suffix != ".wasm" or headers["content-type"] == "application/wasm"
    assert not server.fetched.is_set()
    assert ask(server, "/localtrace", Origin=f"http://127.0.0.1:{server.port}")[2] == trace.read_bytes()
    assert server.fetched.wait(10)
    assert ask(server, "/file_info")[0] == 200


def test_only_the_loopback_is_listened_on(serve: Serve) -> None:
    assert serve()._server.server_address[0] == "127.0.0.1"
