"""What is served on the loopback, to whom; and that a browser that leaves is nothing to tell of."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sightline.support.loopback import Answer, LoopbackServer
from tests.harness import until


class Served(LoopbackServer):
    """A text, one with a tag, a file of 64 MB, and something that fails."""

    def __init__(self, folder: Path) -> None:
        self.large = folder / "large"
        with open(self.large, "wb") as file:
            file.truncate(64 << 20)
        self.whole: list[str] = []
        super().__init__(0)

    def at(self, path: str) -> Answer | None:
        if path == "/fails":
            raise ZeroDivisionError("the answer")
        return {
            "/a text": Answer("text/plain", b"hello", headers={"X-Own": "yes"}),
            "/tagged": Answer("text/plain", b"hello", '"t1"'),
            "/large": Answer("application/octet-stream", self.large),
        }.get(path)

    def sent(self, path: str) -> None:
        self.whole.append(path)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    serving = Served(tmp_path)
    yield serving
    serving.close()


def ask(
    server: Served, path: str, method: str = "GET", **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request(method, path, headers={name.replace("_", "-"): each for name, each in headers.items()})
    got = connection.getresponse()
    body = got.read()
    connection.close()
    return got.status, got.headers, body


def test_paths_have_texts_files_and_tags(server: Served) -> None:
    """HEAD has no body; what a browser has already is not sent again."""
    status, headers, body = ask(server, "/a%20text?x=1")
    assert (status, headers["Content-Type"], headers["X-Own"], body) == (200, "text/plain", "yes", b"hello")
    assert headers["Cache-Control"] == "no-store"
    assert (ask(server, "/tagged")[1]["ETag"], ask(server, "/tagged", If_None_Match='"t1"')[0]) == (
        '"t1"',
        304,
    )
    status, headers, body = ask(server, "/large", "HEAD")
    assert (status, headers["Content-Length"], body) == (200, str(64 << 20), b"")
    assert len(ask(server, "/large")[2]) == 64 << 20
    assert ask(server, "/none")[0] == 404
    until(lambda: sorted(server.whole) == ["/a text", "/large", "/tagged"])  # each on a thread of its own


def test_a_page_may_ask_if_it_is_ours_or_the_guest_s(server: Served) -> None:
    for method in ("GET", "HEAD"):
        assert ask(server, "/a%20text", method, Host="evil.example")[0] == 403
        assert ask(server, "/a%20text", method, Origin="https://guest.example")[0] == 403
        assert ask(server, "/a%20text", method, Origin=f"http://localhost:{server.port}")[0] == 200
    assert ask(server, "/a%20text", "OPTIONS")[0] == 501
    server.guest = "https://guest.example"
    for method, status in (("GET", 200), ("OPTIONS", 204)):
        got, headers, _ = ask(server, "/a%20text", method, Origin="https://guest.example")
        assert (got, headers["Access-Control-Allow-Origin"]) == (status, "https://guest.example")
        assert ask(server, "/a%20text", method, Origin="https://evil.example")[0] == 403


def test_a_port_may_be_forwarded_and_a_name_may_not(server: Served) -> None:
    """As `ssh -L 9000:127.0.0.1:PORT` does; who asks for another name that leads here is told the names."""
    for name in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]"):
        for port in (server.port, 9000):
            own = {"Host": f"{name}:{port}", "Origin": f"http://{name}:{port}"}
            assert ask(server, "/a%20text", **own)[0] == 200
        assert ask(server, "/a%20text", Host=name)[0] == 200
    foreign_names = [
        "evil.example:9000", f"evil.example:{server.port}", "127.0.0.1.evil.example", "localhost.evil:80",
        "evil.localhost:80", "127.0.0.1:80@evil.example", "127.0.0.1:", "::1", "127.0.0.2:80", "",
    ]  # fmt: skip
    for foreign in foreign_names:
        status, _, body = ask(server, "/a%20text", Host=foreign)
        assert (status, b"hello" in body) == (403, False), foreign
        assert b"open this address under one of these names" in body
        assert ask(server, "/a%20text", Origin=f"http://{foreign}")[0] == 403, foreign
    for origin in ("null", "127.0.0.1:9000", "file://", "http://localhost:9000/path", "ftp://localhost"):
        assert ask(server, "/a%20text", Origin=origin)[0] == 403, origin


def test_a_browser_that_leaves_is_no_error(server: Served, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is printed, the file does not count as sent, and the next one is answered."""
    with socket.create_connection(("127.0.0.1", server.port)) as browser:
        browser.sendall(f"GET /large HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
        assert browser.recv(100)
        browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # resets
    until(lambda: not [each for each in threading.enumerate() if "process_request_thread" in each.name])
    assert server.whole == []
    assert ask(server, "/a%20text")[0] == 200
    assert capfd.readouterr().err == ""


def test_what_fails_is_told(server: Served, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(http.client.RemoteDisconnected):
        ask(server, "/fails")
    assert "ZeroDivisionError: the answer" in capfd.readouterr().err
    assert ask(server, "/a%20text")[0] == 200
