"""Numbers, times and foreign texts as a terminal may show them."""

from __future__ import annotations

import math
import time
import unicodedata

_DROPPED = ("Mn", "Me")  # what changes the character before: terminals disagree on how wide that is then


def clean(text: object, limit: int = 500) -> str:
    r"""The beginning of a text, in which nothing acts on a terminal: no control, no change of direction.

    Args:
        text: anybody's.
        limit: characters at most, so that a long one costs no more than a short one.

    Example:
        >>> clean("a\x1b[2J\u202eb\nc"), clean("x" * 1000, 3)
        ('a\\x1b[2J\\u202eb⏎c', 'xx…')
    """
    shown = str(text[: limit + 1] if isinstance(text, str) else text)
    shown = shown if len(shown) <= limit else shown[: limit - 1] + "…"
    if shown.isascii() and shown.isprintable():
        return shown
    return "".join(_shown(char) for char in unicodedata.normalize("NFC", shown))[: 2 * limit]


def _shown(char: str) -> str:
    if char == "\n":
        return "⏎"
    if char == "\t":
        return " "
    if unicodedata.category(char) in _DROPPED or "\U0001f3fb" <= char <= "\U0001f3ff":
        return ""
    return char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode()


def number(value: float | None) -> str:
    """A number in at most eight characters, with four digits that count.

    Example:
        >>> [number(value) for value in (0.123456, 1234567.0, 12345678.0, -1.5e-7, 3, math.nan, None)]
        ['0.1235', '1234567', '1.235e7', '-1.5e-7', '3', 'nan', '–']
    """
    if value is None:
        return "–"
    if not math.isfinite(value):
        return str(float(value))
    if value == int(value) and abs(value) < 1e7:
        return str(int(value))
    if 1e-3 <= abs(value) < 1e4:
        return f"{value:.4g}"
    if 1e4 <= abs(value) < 1e7:
        return f"{value:.0f}"
    mantissa, _, exponent = f"{value:.3e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def whole(value: int) -> str:
    """A count with thousands apart.

    Example:
        >>> whole(1234567)
        '1,234,567'
    """
    return f"{value:,}"


def span(seconds: float | None) -> str:
    """A duration, in the one or two units that matter.

    Example:
        >>> [span(s) for s in (0.00012, 0.0312, 3.2, 75, 4000, 200_000, None)]
        ['0.12 ms', '31 ms', '3.2 s', '75 s', '1 h 06 min', '2 d 07 h', '–']
    """
    if seconds is None or math.isnan(seconds):
        return "–"
    seconds = max(0.0, seconds)
    if seconds < 1e-5:
        return "< 0.01 ms" if seconds else "0 s"
    if seconds < 1:
        return f"{seconds * 1e3:.2g} ms" if seconds < 0.0995 else f"{seconds * 1e3:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = int(min(seconds, 1e12) / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours:02d} h" if days < 1000 else "> 999 d"


def ago(seconds: float) -> str:
    """How long since something.

    Example:
        >>> [ago(s) for s in (-3, 0.4, 12.3, 600)]
        ['just now', 'just now', '12 s ago', '10 min ago']
    """
    return "just now" if seconds < 1 else f"{span(math.floor(seconds))} ago"


def moment(epoch: float, *, now: float) -> str:
    """A time of day, with its date if that is another one; in the time zone of whoever looks."""
    try:
        there, here = time.localtime(epoch), time.localtime(now)
    except (OverflowError, ValueError, OSError):
        return "–"
    if there[:3] == here[:3]:
        return time.strftime("%H:%M:%S", there)
    return time.strftime("%Y-%m-%d %H:%M", there)


def change(relative: float | None) -> str:
    """A change as a share, with its direction.

    Example:
        >>> [change(share) for share in (0.314, -0.0234, 0.0001, 1.5, None)]
        ['↗ +31 %', '↘ -2.3 %', '→ 0 %', '↗ ×2.5', '']
    """
    if relative is None or not -1 <= relative < math.inf:
        return ""
    if abs(relative) < 0.005:
        return "→ 0 %"
    arrow = "↗" if relative > 0 else "↘"
    if relative >= 0.995:
        return f"{arrow} ×{1 + relative:.2g}" if relative < 99 else f"{arrow} ×{1 + relative:.0e}"
    return f"{arrow} {relative * 100:+.{0 if abs(relative) >= 0.0995 else 1}f} %"


def processes(which: list[int] | tuple[int, ...]) -> str:
    """Some processes, by number.

    Example:
        >>> processes([3]), processes([0, 1, 2, 3, 7]), processes(range(0, 40, 2))
        ('process 3', 'processes 0–3, 7', 'processes 0, 2, 4, 6, 8, 10 and 14 more')
    """
    if not which:
        return "an unknown process"
    runs: list[list[int]] = []
    for each in sorted(set(which)):
        if runs and each == runs[-1][1] + 1:
            runs[-1][1] = each
        else:
            runs.append([each, each])
    parts = [f"{first}–{last}" if last > first else str(first) for first, last in runs]
    more = sum(last - first + 1 for first, last in runs[6:])
    plural = "process" if len(set(which)) == 1 else "processes"
    return f"{plural} {', '.join(parts[:6])}" + (f" and {more} more" if more else "")
