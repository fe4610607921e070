"""A process's files are put elsewhere beside its work; a place that fails or hangs touches nothing else."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import sightline as sl
from sightline.files.process_files import Place, ProcessFiles
from sightline.files.uploading import Uploader
from sightline.gathering import carry_out, plan
from tests.harness import until


class Hanging(MemoryFileSystem):  # type: ignore[misc]
    """A store that takes a file and never says so."""

    protocol = "hanging"
    store: dict[str, Any] = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    waits = threading.Event()

    def put_file(self, *args: Any, **kwargs: Any) -> None:
        self.waits.wait()


fsspec.register_implementation("hanging", Hanging, clobber=True)


@pytest.fixture
def files(tmp_path: Path) -> ProcessFiles:
    place = Place(tmp_path / "runs" / "run", "r1", 1)
    return ProcessFiles(lambda: place)


def header(facts: dict[str, Any]) -> bytes:
    return b'{"type":"header","run_id":"%s","segment":%d}\n' % (facts["run_id"].encode(), facts["segment"])


def test_a_run_is_uploaded_to_a_url_and_collected_from_there(tmp_path: Path) -> None:
    with sl.start(
        tmp_path, name="uploaded", sinks=[], naming="off", upload_to="memory://bucket/runs",
        logging={"console_processes": "9"},
    ) as run:  # fmt: skip
        sl.sample("rows", prompt=["a"], completion=["b"])
        sl.get_logger("talk").info("hello")
        run.commit(0)
    out = tmp_path / "out"
    made = plan(out, ["memory://bucket/runs/uploaded"])
    assert sum(carry_out(made, out)) > 0
    fsspec.filesystem("memory").rm("/bucket", recursive=True)
    here = {path.relative_to(run.wait_dir()) for path in run.wait_dir().rglob("*") if path.is_file()}
    there = {path.relative_to(out) for path in out.rglob("*") if path.is_file()}
    assert here - {Path(".lock")} == there - {Path(".collect.lock")}
    assert all((run.wait_dir() / each).read_bytes() == (out / each).read_bytes() for each in here & there)


def test_segments_go_when_they_are_full_and_the_rest_at_the_end(tmp_path: Path, files: ProcessFiles) -> None:
    to = tmp_path / "to"
    file = files.open("logs/{name}.jsonl", header, segment_bytes=10)
    files.add_source(lambda: False)
    uploader = Uploader(files, str(to))
    for i in range(3):
        file.put(b'{"time":%d,"message":"0123456789"}\n' % i)
        assert files.flush()
    until(lambda: len(list(to.glob("run/logs/p00000.a01.0*.jsonl"))) == 2)
    assert not (to / "run" / "logs" / "p00000.a01.jsonl").exists()
    assert files.close()
    assert uploader.close()
    assert {path.name: path.read_bytes() for path in (to / "run" / "logs").iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "runs" / "run" / "logs").iterdir()
    }


def test_a_place_that_hangs_is_left_behind(files: ProcessFiles, caplog: pytest.LogCaptureFixture) -> None:
    file = files.open("logs/{name}.jsonl", header, segment_bytes=10)
    files.add_source(lambda: False)
    uploader = Uploader(files, "hanging://bucket")
    file.put(b"{}\n")
    assert files.close()
    assert not uploader.close(0.1)
    assert "not all files are uploaded to hanging://bucket" in caplog.text
    Hanging.waits.set()


def test_a_segment_that_was_deleted_as_the_oldest_is_no_failure(tmp_path: Path, files: ProcessFiles) -> None:
    file = files.open("logs/{name}.jsonl", header, segment_bytes=10, keep_bytes=1)
    files.add_source(lambda: False)
    failures: list[None] = []
    uploader = Uploader(files, str(tmp_path / "to"), lambda: failures.append(None))
    for i in range(20):
        file.put(b'{"time":%d,"message":"0123456789"}\n' % i)
        assert files.flush()
    assert files.close()
    assert uploader.close()
    assert failures == []
