"""What is served as a trace is one, whatever it is called."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

import sightline as sl
from sightline.errors import ConfigurationError
from sightline.timeline.formats import check_is_trace
from sightline.timeline.merging import merge
from tests.perfetto import Engine
from tests.timeline.live import Live


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    with sl.start(folder, name="run", sinks=[]) as started:
        for step in started.steps(2):
            with sl.trace_scope("a", text='{"traceEvents": ['):
                started.commit(step)
    return folder / "run"


@pytest.mark.parametrize("name", ["out.json", "out.json.gz", "out.pftrace", "out.tar"])
def test_all_that_a_merge_writes_for_perfetto_is_known_under_any_name(
    run: Path, name: str, tmp_path: Path
) -> None:
    kind = name.split(".")[1]
    out = tmp_path / name
    merge([run], out, kind)  # type: ignore[arg-type]
    assert check_is_trace(out.rename(tmp_path / "renamed.txt")) == kind


def test_live_files_are_traces_also_when_they_have_just_been_begun(run: Path, tmp_path: Path) -> None:
    (live,) = (run / "traces").iterdir()
    begun = tmp_path / "begun.json"
    begun.write_bytes(b"[\n")
    bare = Live(tmp_path / "bare").write() / "traces" / "p00000.a01.0000.json"
    assert {check_is_trace(path) for path in (live, begun, bare)} == {"json"}


@pytest.mark.parametrize(
    "data",
    [
        b'{"traceEvents":[{"ph":"X","name":"a","ts":1,"dur":2,"pid":1,"tid":1}]}',
        b' \n[ {"name": "a", "ph" : "X", "ts": 1, "dur": 2, "pid": 1, "tid": 1} ]',
        gzip.compress(b'[{"name":"a","args":{},"ph":"X","ts":1,"dur":2,"pid":1,"tid":1}]', mtime=0),
    ],
    ids=["object", "array", "compressed"],
)
def test_traces_of_others_are_known_that_the_engine_opens(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    assert check_is_trace(path) == "json"
    with Engine() as engine:
        assert engine.load(path).column("select name from slice") == ["a"]


def archive(**members: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return made.getvalue()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "it is empty"),
        (b'{"type":"run","format":1}\n{"type":"commit"}\n', "begins with"),
        (b'{"ph":"X","name":"a","ts":1,"pid":1}\n', "begins with"),
        (b"[1, 2, 3]", "begins with"),
        (b'[{"name": "no event"}]', "begins with"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "begins with"),
        (b"\n\n\nplain text\n", "begins with"),
        (b"\nplain text that begins with the tag of a packet", "begins with"),
        (gzip.compress(b"no trace", mtime=0), "begins with"),
        (b"\x1f\x8b" + bytes(100), "begins with"),
        (archive(readme=b"text", more=b"{}"), "begins with"),
        (archive(readme=b"text")[:600], "begins with"),
        (bytes(100_000), "begins with"),
    ],
    ids=lambda each: repr(each[:12]) if isinstance(each, bytes) else "",
)
def test_what_is_none_is_refused_in_one_line_with_what_to_give(
    data: bytes, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "out.json.gz"
    path.write_bytes(data)
    with pytest.raises(ConfigurationError, match=says) as refused:
        check_is_trace(path)
    assert "sightline trace merge RUN_DIR" in str(refused.value)
    assert "\n" not in str(refused.value)
