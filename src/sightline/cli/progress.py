"""A bar on the terminal while something long goes on; nothing elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

_WORTH_IT = 50_000_000  # bytes
_AT_ONCE = 1_000_000


@contextlib.contextmanager
def progress(
    what: str, total: int, *, least: int = _WORTH_IT, is_shown: bool = True
) -> Iterator[Callable[[int], object]]:
    """A bar of bytes on stderr, where that is a terminal and they are many.

    Args:
        what: is done.
        total: bytes.
        least: bytes from which on they are many.
        is_shown: False for none in any case.

    Yields:
        what takes numbers of bytes that are done.
    """
    if not is_shown or not sys.stderr.isatty() or total < least:
        yield lambda size: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    waiting = 0
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)

        def advance(size: int) -> None:
            nonlocal waiting
            waiting += size
            if waiting > _AT_ONCE:
                bar.advance(task, waiting)
                waiting = 0

        yield advance
