"""Numbers in sentences and tables: counts, metrics, durations, moments, sizes, processes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence

_NOTHING = "–"


def counted(number: int, one: str, several: str | None = None) -> str:
    """A number of things.

    Args:
        number: how many.
        one: the word for one of them.
        several: the word for more; None: with an s.

    Example:
        >>> counted(1, "step"), counted(1200, "step"), counted(2, "process", "processes")
        ('1 step', '1,200 steps', '2 processes')
    """
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"


def number(value: float | None, digits: int = 5) -> str:
    """A number as people read it: whole ones in full unless they are enormous.

    Args:
        value: None is a dash.
        digits: that count, of others.

    Example:
        >>> [number(value) for value in (0.123456789, 123456789.0, 12345.67, 1.5e-7, math.nan, None)]
        ['0.12346', '123456789', '12346', '1.5e-7', 'nan', '–']
        >>> [number(value, 4) for value in (0.123456, 1234567.0, 12345678.0, 9999.99)]
        ['0.1235', '1234567', '1.235e7', '10000']
    """
    if value is None:
        return _NOTHING
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value):
        return str(float(value))
    size = abs(value)
    if size < 10 ** (2 * digits - 1) and (value.is_integer() or size >= 10**digits):
        return f"{value:.0f}"
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    if -3 <= int(exponent) < digits:
        return f"{value:.{digits}g}"
    if int(exponent) == digits:
        return f"{value:.0f}"
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def duration(seconds: float | None) -> str:
    """Seconds, with three digits, or in the two units that matter; eleven characters at most.

    Example:
        >>> [duration(s) for s in (0.00012, 0.0312, 3.214, 75, 600, 4000, 200_000, -4.5, None)]
        ['0.12 ms', '31.2 ms', '3.21 s', '75 s', '10 min', '1 h 07 min', '2 d 07 h', '−4.5 s', '–']
    """
    if seconds is None or math.isnan(seconds):
        return _NOTHING
    if seconds < 0:
        return f"−{duration(-seconds)}"
    if seconds < 1e-5:
        return "< 0.01 ms" if seconds else "0 s"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 119.5:
        return f"{seconds:.3g} s"
    minutes = round(min(seconds, 1e12) / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours:02d} h" if days < 1000 else "> 999 d"


def change(seconds: float | None) -> str:
    """By how many seconds something differs, with its sign where that can be seen.

    Example:
        >>> [change(s) for s in (0.25, -3, 1e-6, -1e-6, 0.0, None)]
        ['+250 ms', '−3 s', '< ±0.01 ms', '< ±0.01 ms', '0 s', '–']
    """
    if seconds and abs(seconds) < 1e-5:
        return "< ±0.01 ms"
    return f"+{duration(seconds)}" if seconds is not None and seconds > 0 else duration(seconds)


def ago(seconds: float | None) -> str:
    """How long since something.

    Example:
        >>> [ago(s) for s in (-3, 0.4, 12.3, 600, None)]
        ['just now', 'just now', '12 s ago', '10 min ago', '–']
    """
    if seconds is None or not math.isfinite(seconds):
        return _NOTHING
    return "just now" if seconds < 1 else f"{duration(math.floor(seconds))} ago"


def moment(epoch: float | None, *, now: float | None = None) -> str:
    """A time of day, in the time zone of whoever looks.

    Args:
        epoch: in s since the epoch.
        now: the same; of that day the time alone is given, to the second. None: the date always.
    """
    if epoch is None:
        return _NOTHING
    try:
        there = time.localtime(epoch)
        if now is not None and there[:3] == time.localtime(now)[:3]:
            return time.strftime("%H:%M:%S", there)
        return time.strftime("%Y-%m-%d %H:%M", there)
    except (OverflowError, ValueError, OSError):
        return _NOTHING


def size(count: float) -> str:
    """Bytes, with three digits.

    Example:
        >>> size(123), size(1 << 20), size(5.5e9)
        ('123 B', '1.05 MB', '5.5 GB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"


def ranges_of(numbers: Sequence[int]) -> str:
    """Ascending numbers as commands take them.

    Example:
        >>> ranges_of([0, 4, 5, 6, 9])
        '0,4-6,9'
    """
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in _ranges(numbers))


def processes(which: Iterable[int]) -> str:
    """Some processes, by number; those that are many in few words.

    Example:
        >>> processes([3]), processes([8, 7, 0, 1, 2, 3]), processes(range(0, 40, 2))
        ('process 3', 'processes 0-3, 7, 8', 'processes 0, 2, 4, 6, 8, 10 and 14 more')
    """
    numbers = sorted(set(which))
    if not numbers:
        return "an unknown process"
    parts = [part for first, last in _ranges(numbers) for part in _told(first, last)]
    shown = parts[:6]
    last = int(shown[-1].rpartition("-")[2])
    more = sum(each > last for each in numbers)
    name = "process" if len(numbers) == 1 else "processes"
    return f"{name} {', '.join(shown)}" + (f" and {more:,} more" if more else "")


def files_missing(
    where: object, expected: int, absent: Sequence[int], *, attempt: int | None = None
) -> list[str]:
    """That files of some processes are not here, as all commands say it; empty if all are.

    Args:
        where: the run directory.
        expected: how many processes there are.
        absent: those without files, ascending.
        attempt: of which attempt, if the run has several.

    Example:
        >>> files_missing("runs/grpo", 4, [1, 2, 3])
        ['runs/grpo: files of 1 of 4 processes are here, without processes 1-3']
    """
    if not absent:
        return []
    of = f" (attempt {attempt})" if attempt is not None else ""
    here = f"files of {expected - len(absent)} of {expected} processes are here"
    return [f"{where}: {here}{of}, without {processes(absent)}"]


def ended_silently(attempt: int, heard: float | None) -> str:
    """That an attempt was killed, or its machine, as all commands say it.

    Args:
        attempt: which.
        heard: when its journal got its last line, in s since the epoch; None if that is unknown.

    Example:
        >>> ended_silently(2, None)
        'attempt 2 ended without saying so'
    """
    last = "" if heard is None else f"; last heard {moment(heard, now=heard)}"
    return f"attempt {attempt} ended without saying so{last}"


def _told(first: int, last: int) -> list[str]:
    return [f"{first}-{last}"] if last > first + 1 else [str(each) for each in range(first, last + 1)]


def _ranges(numbers: Sequence[int]) -> list[tuple[int, int]]:
    parts: list[tuple[int, int]] = []
    for each in numbers:
        if parts and each == parts[-1][1] + 1:
            parts[-1] = parts[-1][0], each
        else:
            parts.append((each, each))
    return parts
