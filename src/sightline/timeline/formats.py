"""Of which format a trace file is, by what stands in it: names are given by people."""

from __future__ import annotations

import re
import tarfile
import zlib
from pathlib import Path
from typing import Literal

from sightline.errors import ConfigurationError
from sightline.timeline.archive import MANIFEST

Kind = Literal["json", "pftrace", "tar"]

_HEAD = 64 << 10  # bytes in which it must show
_MEMBERS = 100  # of an archive, that are looked at
_EVENT = re.compile(rb'"ph"\s*:\s*"')


def check_is_trace(path: Path) -> Kind:
    """Which of the formats that Perfetto opens, and a merge writes, a file has; compressed or not.

    Raises:
        ConfigurationError: none of them.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    kind = _kind_of(head)
    if kind == "tar" and not _holds_traces(path):
        kind = None
    if kind is None:
        what = f"begins with {head[:24]!r}" if head else "is empty"
        raise ConfigurationError(
            f"{path} is no trace that Perfetto opens (it {what}): expected Chrome's JSON, Perfetto's own "
            f"format or an archive of them; `sightline trace merge RUN_DIR` makes one, or give RUN_DIR itself"
        )
    return kind


def _kind_of(head: bytes) -> Kind | None:
    if head.startswith(b"\x1f\x8b"):
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, _HEAD)
        except zlib.error:
            return None
    if head[257:262] == b"ustar":
        return "tar"
    text = head.lstrip()
    if text.startswith(b"{"):
        return "json" if b'"traceEvents"' in text else None
    if text.startswith(b"["):
        rest = text[1:].lstrip()  # of a file that has just been begun there is no more
        return "json" if not rest or (rest.startswith(b"{") and _EVENT.search(rest)) else None
    return "pftrace" if _is_packets(head) else None


def _is_packets(head: bytes) -> bool:
    """Whether it begins with two of Perfetto's packets: field 1, of a length, and then its fields."""
    at = 0
    for _ in range(2):
        if at >= len(head):
            return 0 < at == len(head) or len(head) == _HEAD
        if head[at] != 0x0A:
            return False
        length = shift = 0
        for at in range(at + 1, min(at + 6, len(head))):  # noqa: B020 - the length follows the tag
            length |= (head[at] & 0x7F) << shift
            shift += 7
            if head[at] < 0x80:
                break
        else:
            return False
        at += 1
        # What begins there is a field of the packet: of one of the four types that there are.
        if not length or at >= len(head) or head[at] & 7 not in (0, 1, 2, 5):
            return False
        at += length
    return at <= len(head) or len(head) == _HEAD


def _holds_traces(path: Path) -> bool:
    try:
        with tarfile.open(path) as archive:
            for _, member in zip(range(_MEMBERS), archive, strict=False):
                file = archive.extractfile(member) if member.isfile() else None
                if member.name == MANIFEST or (file is not None and _kind_of(file.read(_HEAD))):
                    return True
    except (tarfile.TarError, OSError, EOFError, zlib.error):
        return False
    return False
