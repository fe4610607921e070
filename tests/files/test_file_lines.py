"""Whole lines of files, past what a crash of a machine has left between them."""

from __future__ import annotations

import os
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.files import file_lines
from sightline.files.file_lines import WholeLines
from sightline.runs.journal import lines_backwards
from tests.holes import BOUND, HOLE, put_hole, read_bytes

PARTS = st.lists(st.sampled_from([b"a", b"{", b"bc", b"\n", b"\0", b"\0\0\0\0"]), max_size=40).map(b"".join)


def read(data: bytes, place: int = 0, end: int | None = None) -> tuple[list[tuple[int, bytes]], WholeLines]:
    """The lines, each with the place behind it."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        lines = WholeLines(file.fileno(), place, end)
        return [(lines.place, line) for line in lines], lines


@given(data=PARTS, block=st.integers(1, 9))
def test_each_whole_line_is_given_as_it_is_or_what_stands_behind_zeros(data: bytes, block: int) -> None:
    """However the file is read, and nothing is given twice or out of its place."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_lines, "_BLOCK", block)
        found, lines = read(data)
    *whole, rest = data.split(b"\n")
    expected, place = [], 0
    for line in whole:
        place += len(line) + 1
        _, zero, behind = line.rpartition(b"\0")
        if not zero or behind.startswith(b"{"):
            expected.append((place, behind))
    assert found == expected
    assert (lines.place, lines.number, lines.cut) == (place, len(whole), len(rest))
    assert lines.zeros == data.count(b"\0")
    assert lines.torn == sum(b"\0" in line for line in whole)
    assert lines.cut_zeros == rest.count(b"\0")


@given(data=PARTS, at=st.integers(0, 20))
def test_no_more_is_read_than_counts(data: bytes, at: int) -> None:
    assert read(data, end=at)[0] == read(data[:at])[0]


def test_a_line_that_is_too_long_costs_itself_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_lines, "LONGEST", 100)
    monkeypatch.setattr(file_lines, "_BLOCK", 64)
    found, lines = read(b"before\n" + b"x" * 1000 + b"\nbehind\n")
    assert [line for _, line in found] == [b"before", b"behind"]
    assert lines.torn == 1


def test_a_hole_is_neither_read_nor_taken_for_anything(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"before\ncut in the mid")
    put_hole(path, b"dle\n", b"behind\n")
    put_hole(path, b"{at once}\n")
    put_hole(path)
    begin = read_bytes()
    with path.open("rb") as file:
        lines = WholeLines(file.fileno())
        assert list(lines) == [b"before", b"behind", b"{at once}"]
    assert (lines.torn, lines.zeros, lines.cut) == (2, 3 * HOLE, HOLE)
    assert read_bytes() - begin < BOUND


@given(data=PARTS)
def test_backwards_there_are_the_same_lines(data: bytes) -> None:
    """And a NUL byte in place of what zeros have taken."""
    whole = data[: data.rfind(b"\n") + 1]
    with tempfile.TemporaryFile() as file:
        file.write(whole)
        file.flush()
        backwards = list(lines_backwards(file.fileno(), len(whole)))
    forwards = [line for _, line in read(whole)[0]]
    assert [line for line in reversed(backwards) if line != b"\0"] == [line for line in forwards if line]
    assert backwards.count(b"\0") == read(whole)[1].torn


def test_zeros_that_are_bytes_are_not_kept_backwards(tmp_path: Path) -> None:
    """A copy of a hole is bytes."""
    path = tmp_path / "lines"
    path.write_bytes(b"before\ncut" + bytes(64 << 20) + b"{behind}\n")
    with path.open("rb") as file:
        tracemalloc.start()
        assert list(lines_backwards(file.fileno(), os.fstat(file.fileno()).st_size)) == [
            b"{behind}", b"\0", b"before"
        ]  # fmt: skip
        assert list(WholeLines(file.fileno())) == [b"before", b"{behind}"]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 16 << 20
