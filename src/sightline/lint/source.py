"""One file as the lint reads it: its text, its syntax tree, and places in it as a reader counts them."""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
import warnings
from dataclasses import dataclass
from pathlib import Path

from sightline.lint.findings import Finding, Rule

_NEWLINE = re.compile("\r\n|\r|\n")
#: Which reads files here: those for a newer one may be none to it.
_PYTHON = f"Python {sys.version_info.major}.{sys.version_info.minor}"
_LONGEST = 60  # characters of an expression that is quoted


class UnreadableError(Exception):
    """A file that cannot be checked.

    Attributes:
        line: where it is wrong, from 1; 0 where that is not known.
    """

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Source:
    """A parsed file.

    Args:
        path: how the file is called in findings.
        text: its text, with ``\\n`` at the end of each line.
        tree: its syntax tree.
    """

    path: str
    text: str
    tree: ast.Module
    lines: list[str]

    @classmethod
    def read(cls, path: str) -> Source:
        """Reads and parses a file.

        Raises:
            UnreadableError: it cannot be read, decoded or parsed; the message is one line.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise UnreadableError(f"cannot be read: {error.strerror}") from None
        return cls.parse(path, data)

    @classmethod
    def parse(cls, path: str, data: bytes) -> Source:
        """The same for the bytes of a file: PEP 263 cookies, byte order marks and all ends of lines."""
        try:
            encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
            text = _NEWLINE.sub("\n", data.decode(encoding))
        except SyntaxError as error:
            raise UnreadableError(f"cannot be decoded: {error.msg}") from None
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            raise UnreadableError(f"is not {error.encoding}: {error.reason}", line) from None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # "\d" in a string is not our affair
                tree = ast.parse(text)
        except SyntaxError as error:
            raise UnreadableError(f"is no {_PYTHON}: {error.msg}", error.lineno or 0) from None
        except ValueError as error:  # a NUL, before Python 3.12
            raise UnreadableError(f"is no {_PYTHON}: {error}") from None
        except (RecursionError, MemoryError):
            raise UnreadableError("is nested too deeply to be parsed") from None
        return cls(path, text, tree, text.split("\n"))

    def finding(self, rule: Rule, node: ast.expr | ast.keyword, instead: str, why: str = "") -> Finding:
        """A finding of a rule at a node."""
        return Finding(
            self.path, node.lineno, self.column(node), rule.code, rule.name, why or rule.why, instead
        )

    def column(self, node: ast.expr | ast.keyword) -> int:
        """The column of a node, from 1, in characters."""
        before = self.lines[node.lineno - 1].encode()[: node.col_offset]
        return len(before.decode(errors="replace")) + 1

    def expression(self, node: ast.expr) -> str:
        """An expression as it is written, for quoting; a long one is cut short."""
        if node.end_lineno == node.lineno and node.end_col_offset is not None:
            line = self.lines[node.lineno - 1].encode()
            text = line[node.col_offset : node.end_col_offset].decode()
        else:
            text = ast.unparse(node)
        return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
