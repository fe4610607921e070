"""Reading files: whatever bytes they hold, a tree or one clear line of why not."""

import sys
from contextlib import suppress

import pytest

from sightline.lint import Source, UnreadableError, check

PYTHON = f"Python {sys.version_info.major}.{sys.version_info.minor}"
CODE = 'import wandb\nwandb.log({"train/größe": 1})\n'


@pytest.mark.parametrize(
    "data",
    [
        CODE.encode(),
        b"\xef\xbb\xbf" + CODE.encode(),
        CODE.replace("\n", "\r\n").encode(),
        CODE.replace("\n", "\r").encode(),
        CODE.rstrip("\n").encode(),
        f"# -*- coding: latin-1 -*-\n{CODE}".encode("latin-1"),
    ],
    ids=["utf-8", "bom", "crlf", "cr", "no newline", "cookie"],
)
def test_every_encoding_and_line_end_that_python_takes_is_read(data: bytes) -> None:
    """Byte order marks, coding cookies, Windows and old Mac line ends."""
    (found,) = check(Source.parse("train.py", data))
    assert found.code == "SL101"
    assert found.instead == 'sl.scalar("train/größe", 1)\nrun.commit(step)'


def test_lines_and_columns_are_those_of_an_editor() -> None:
    """Columns count characters, form feeds and odd separators begin no line."""
    text = "import wandb\nx = '\x0c\u2028ä€𝄞'; wandb.log({})\n"
    (found,) = check(Source.parse("train.py", text.encode()))
    assert (found.line, found.column) == (2, text.split("\n")[1].index("wandb") + 1)


@pytest.mark.parametrize("data", [b"", b"\n", b"\xef\xbb\xbf", b"# nothing\n", b"'''doc'''"])
def test_an_empty_file_is_clean(data: bytes) -> None:
    """Nothing in it, nothing found."""
    assert check(Source.parse("train.py", data)) == []


@pytest.mark.parametrize(
    ("data", "line", "said"),
    [
        (b"x = (\n", 1, f"is no {PYTHON}: '(' was never closed"),
        (b"def f(:\n    pass\n", 1, f"is no {PYTHON}: "),
        (b"print 'hello'\n", 1, f"is no {PYTHON}: "),
        (b"x = 1\ny = '\xff'\n", 2, "is not utf-8"),
        (b"# coding: klingon\n", 0, "cannot be decoded: unknown encoding"),
        (b"x = 1\x00\n", None, f"is no {PYTHON}: "),
        (b"(" * 5000 + b")" * 5000, None, ""),
    ],
    ids=["unclosed", "syntax", "python 2", "bytes", "cookie", "nul", "parentheses"],
)
def test_a_file_that_is_no_python_says_why_in_one_line(data: bytes, line: int | None, said: str) -> None:
    """And where, if that is known, and of which version: a file for a newer one is none to it."""
    with pytest.raises(UnreadableError) as caught:
        Source.parse("train.py", data)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert line is None or caught.value.line == line


@pytest.mark.parametrize(
    "text",
    [
        "x = " + " + ".join(["1"] * 3000),
        "x = " + "[" * 80 + "]" * 80,
        "import time\n" + "if time.time() - a:\n    pass\n" + "elif a:\n    pass\n" * 900,
        "import time\nx = a" + ".b(time.time())" * 300,
        "import time\n" + "".join("    " * depth + "if a:\n" for depth in range(90)) + "    " * 90 + "pass\n",
        "import time\n"
        + "".join("    " * n + f"def f{n}():\n" for n in range(60))
        + "    " * 60
        + "time.time()\n",
        "import time\nf = " + "lambda: " * 80 + "time.time()\n",
        "x = ()\n" + "x = (x, time.time())\n" * 3000,
        "x = {}\n" + "x = {'a': x, 'b': [x, wandb]}\n" * 3000,
        "import time\nx = time.time()\n" + "x = lambda y=x: y\n" * 500 + "x()\n",
    ],
    ids=["sum", "lists", "elifs", "chain", "ifs", "functions", "lambdas", "tuples", "dicts", "closures"],
)
def test_deep_code_is_read_or_refused_and_ends_nothing(text: str) -> None:
    """No depth that Python itself parses takes the check down."""
    with suppress(UnreadableError):
        found = check(Source.parse("train.py", (text + "\nimport wandb\nwandb.log({})\n").encode()))
        assert "SL101" in [each.code for each in found]


def test_calls_among_functions_that_call_each_other_end() -> None:
    """Recursion, mutual recursion, and many functions that call many."""
    chain = "".join(
        f"def f{n}(x):\n"
        + "".join(f"    f{m}(x)\n" for m in range(40) if m != n)
        + "    return time.time() - x\n"
        for n in range(40)
    )
    more = "def g(x):\n    return g(x) + h(x)\ndef h(x):\n    return g(x)\nlog = {'s': g(f0(time.time()))}\n"
    check(Source.parse("train.py", f"import time\n{chain}{more}".encode()))


def test_names_that_grow_from_turn_to_turn_end() -> None:
    """A value that holds itself is known well enough after two turns."""
    text = """
import time
from lib import train_step
x, y = (), time.time()
while True:
    x, y = (x, y, [x]), (y, x)
    a = {"a": x, **a}
    self.b = lambda b=x: self.b(b)
    s, x = train_step(x)
    del y
"""
    check(Source.parse("train.py", text.encode()))


def test_warnings_of_the_code_are_not_ours(recwarn: pytest.WarningsRecorder) -> None:
    """An odd escape in a string says nothing about logging."""
    check(Source.parse("train.py", b'import wandb\nx = "\\d"\nx is 3\n'))
    assert not recwarn.list
