"""Text and JSON from files of others: what cannot be used is one line that names the file and its line."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runners.common.errors import DataError

_SURROGATE = re.compile("[\ud800-\udfff]")
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)  # strings too, so that none in them counts


def read_text(path: str | Path) -> str:
    """The whole of a UTF-8 file, with or without a mark at its start; line ends stay as they are.

    Raises:
        DataError: it is not there, or it is no such text.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as e:
        raise DataError(f"{path}: cannot be read: {e.strerror}") from e
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = e.object.count(b"\n", 0, e.start) + 1
        raise DataError(
            f"{path}:{line}: cannot be read as UTF-8 text: byte 0x{e.object[e.start]:02x}, {e.reason}"
        ) from e


def parse_json(
    text: str, path: str | Path, pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> Any:
    """What a JSON text says.

    Args:
        path: of the file that the text is the whole of.
        pairs_hook: as `object_pairs_hook` of `json.loads`.

    Raises:
        DataError: it is no JSON, or more than Python reads.
    """
    try:
        return json.loads(text, object_pairs_hook=pairs_hook)
    except DataError:
        raise
    except json.JSONDecodeError as e:
        raise DataError(f"{path}:{e.lineno}: not valid JSON: {e.msg}") from e
    except RecursionError as e:
        raise DataError(f"{path}:{_deepest_line(text)}: the JSON is nested too deeply to be read") from e
    except ValueError as e:
        most = sys.get_int_max_str_digits()
        found = re.search(rf"\d{{{most + 1},}}", text)
        at, digits = (found.start(), len(found[0])) if found else (0, most + 1)
        line = text.count("\n", 0, at) + 1
        raise DataError(f"{path}:{line}: a number of {digits} digits; expected at most {most}") from e


def lone_surrogate(text: str) -> str | None:
    r"""Half of a pair of surrogates as JSON escapes it, which no file can hold as text; None: there is none.

    Example:
        >>> lone_surrogate("\ud83d Hammer"), lone_surrogate("Hammer")
        ('\\ud83d', None)
    """
    found = _SURROGATE.search(text)
    return None if found is None else found[0].encode("unicode_escape").decode()


def _deepest_line(text: str) -> int:
    depth, deepest, at = 0, 0, 0
    for found in _BRACKETS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if depth > deepest:
            deepest, at = depth, found.start()
    return text.count("\n", 0, at) + 1
