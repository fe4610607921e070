"""Rows for sample tables: prompts, completions, rewards. Full text stays with the process; a few rows travel.

A process keeps all its rows in a file. Of each commit it posts at most three of a table, cut to 4 kB: the
best, the worst, and one drawn at random. The root chooses among those of all processes what sinks show.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sightline.errors import RecordError
from sightline.values.host_values import checked_key, where_are

RANKED_BY = "reward"  #: the column by which rows are best and worst, unless the call names another one
POSTED = 3  # rows of a table that a process posts with one commit
POSTED_BYTES = 4096  # of text in each of them
ADDED = ("process", "step")  #: columns that rows have in sinks besides those of the call
MOST_ROWS = 10_000  # held by a process between two commits

Cell = str | int | float | bool | None
Row = dict[str, Cell]


class Block(NamedTuple):
    """What one recording call gave.

    Attributes:
        table: its full name.
        rows: how many.
        columns: of each the values of all rows, or one value for all.
        ranked_by: the column by which rows are best and worst.
    """

    table: str
    rows: int
    columns: dict[str, Any]
    ranked_by: str = RANKED_BY


def block_of(table: str, columns: Mapping[str, Any], rank_by: Any = None) -> Block:
    """The columns of a call, checked and kept from what the caller does next; no row is made yet.

    Raises:
        RecordError: no columns, columns of unlike lengths or named as those that are added to each row,
            values on devices, a name that is none, rows that are to be ranked by no column of theirs.
    """
    if any(part in (".", "..") for part in checked_key(table).split("/")):
        raise RecordError(f"sample({table!r}): expected the name of a table; '.' and '..' are none")
    taken = [name for name in columns if name in ADDED]
    if taken:
        raise RecordError(
            f"sample({table!r}, {taken[0]}=…): sinks add a column {taken[0]!r} of their own to each row; "
            f"expected another name, as in {taken[0]}_of_task"
        )
    if not columns:
        raise RecordError(f"sample({table!r}): no columns; write sample({table!r}, prompt=…, reward=…)")
    if rank_by is not None and (not isinstance(rank_by, str) or rank_by not in columns):
        raise RecordError(
            f"sample({table!r}, rank_by={rank_by!r}): expected the name of a column of this call, of "
            f"{', '.join(columns)}"
        )
    kept: dict[str, Any] = {}
    lengths: dict[str, int] = {}
    for name, given in columns.items():
        if where_are([given if isinstance(given, (list, tuple)) else [given]]) != "host":
            raise RecordError(
                f"sample({table!r}, {name}=…): the values lie on a device, and a sample is text on the host. "
                f"Give it what has been fetched for other ends, as the rewards that were computed there"
            )
        if isinstance(given, np.ndarray) and given.ndim:
            given = given.tolist()
        if isinstance(given, (list, tuple)):
            kept[name] = list(given)
            lengths[name] = len(given)
        else:
            kept[name] = given
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise RecordError(
            f"sample({table!r}): columns of unlike lengths ({shown}); expected a value for each row, or one "
            f"for all"
        )
    return Block(table, next(iter(lengths.values()), 1), kept, RANKED_BY if rank_by is None else rank_by)


def rows_of(block: Block) -> Iterator[Row]:
    """The rows of a block, in values that JSON holds.

    Integers beyond 64 bits, which its readers cannot hold, are texts, so that no digit is lost; numbers that
    are not finite are, too, and whatever is neither number nor truth.

    Example:
        >>> list(rows_of(block_of("t", {"id": [7, 2**64], "reward": [0.5, float("nan")]})))
        [{'id': 7, 'reward': 0.5}, {'id': '18446744073709551616', 'reward': 'nan'}]
    """
    columns = {
        _text(name): [_cell(value) for value in values]
        if isinstance(values, list)
        else [_cell(values)] * block.rows
        for name, values in block.columns.items()
    }
    for cells in zip(*columns.values(), strict=True):
        yield dict(zip(columns, cells, strict=True))


def _cell(value: Any) -> Cell:
    try:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, np.bool_):
            return bool(value)
        if isinstance(value, (int, np.integer)) and not isinstance(value, np.timedelta64):
            number = int(value)
            return number if -(2**63) <= number < 2**64 else str(number)
        if isinstance(value, (float, np.floating)):
            real = float(value)
            return real if math.isfinite(real) else str(real)  # JSON has no NaN
        return _text(value if isinstance(value, str) else str(value))
    except Exception:  # noqa: BLE001 - a foreign object's own code, or more digits than Python writes out
        return _text(f"[{type(value).__name__}]")


def _text(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()  # a lone surrogate has no UTF-8


# --- choosing ----------------------------------------------------------------------------------------------


def candidates(rows: Sequence[Row], *, seed: str, ranked_by: str = RANKED_BY) -> list[Row]:
    """The rows that a process posts: the best, the worst, and one at random; each once, and cut.

    Args:
        rows: of one table and one commit.
        seed: of the draw; the same for the same commit of the same process.
        ranked_by: the column by which they are best and worst; the higher the better.
    """
    return [cut(rows[i], POSTED_BYTES) for i in _best_worst_random(rows, POSTED, seed, ranked_by)]


def choose(
    posted: Mapping[int, Sequence[Row]], per_step: int, *, seed: str, ranked_by: str = RANKED_BY
) -> list[Row]:
    """What sinks show of all that was posted: best, worst, and some at random; each with its process.

    Args:
        posted: rows by process.
        per_step: how many, at most.
        seed: of the draw.
        ranked_by: as of :func:`candidates`.
    """
    rows: list[Row] = [{**row, "process": process} for process in sorted(posted) for row in posted[process]]
    return [rows[i] for i in _best_worst_random(rows, per_step, seed, ranked_by)]


def _best_worst_random(rows: Sequence[Row], count: int, seed: str, ranked_by: str) -> list[int]:
    ranked = [(rank, i) for i, row in enumerate(rows) if (rank := rank_of(row, ranked_by)) is not None]
    chosen = dict.fromkeys([max(ranked)[1], min(ranked)[1]] if ranked else [])
    rest = [i for i in range(len(rows)) if i not in chosen]
    import random  # with what it loads, as long as a tenth of NumPy

    drawn = random.Random(seed).sample(rest, min(len(rest), max(count - len(chosen), 0)))
    return [*chosen, *sorted(drawn)][:count]


def rank_of(row: Mapping[str, Any], ranked_by: str) -> float | None:
    """By what a row is best or worst; None where that is no finite number.

    Example:
        >>> rank_of({"score": 2}, "score"), rank_of({"score": "nan"}, "score"), rank_of({}, "score")
        (2, None, None)
    """
    rank = row.get(ranked_by)
    return rank if isinstance(rank, (int, float)) and math.isfinite(rank) else None


# --- cutting -----------------------------------------------------------------------------------------------


def cut(row: Row, most_bytes: int) -> Row:
    """A row whose texts have ``most_bytes`` bytes of UTF-8 together, the longest cut first.

    Never inside what a reader takes for one character: letters with their marks, joined emoji, flags,
    syllables of Hangul, conjuncts of Indian scripts. What was cut is said at the place.

    Example:
        >>> cut({"prompt": "short", "completion": "x" * 100, "reward": 1.0}, 50)
        {'prompt': 'short', 'completion': 'xxxxxxxxxxxxxx… [86 of 100 characters cut]', 'reward': 1.0}
    """
    lengths = {name: len(text.encode()) for name, text in row.items() if isinstance(text, str)}
    room = most_bytes
    result = dict(row)
    for left, name in zip(range(len(lengths), 0, -1), sorted(lengths, key=lengths.__getitem__), strict=True):
        share = room // left  # what the shorter ones leave goes to the longer
        if lengths[name] > share:
            result[name] = _cut_text(str(row[name]), share)
        room -= min(lengths[name], share)
    return result


def _cut_text(text: str, most_bytes: int) -> str:
    room = most_bytes - len(_note(len(text), len(text)).encode())
    kept = text.encode()[: max(room, 0)].decode(errors="ignore")
    end = len(kept)
    while 0 < end < len(text) and _goes_on(text, end):
        end -= 1
    return text[:end] + _note(len(text) - end, len(text))


def _note(cut: int, length: int) -> str:
    return f"… [{cut} of {length} characters cut]"


_JOINER = "\u200d"
# What belongs to the letter before, though unicodedata does not say so: the non-joiner, vowels of Thai and
# Lao, sound marks of Katakana, tones of skin, tags of flags.
_TAILS = (
    (0x200C, 0x200C),
    (0x0E33, 0x0E33),
    (0x0EB3, 0x0EB3),
    (0xFF9E, 0xFF9F),
    (0x1F3FB, 0x1F3FF),
    (0xE0020, 0xE007F),
)
# And that it begins one: signs of numbers and of years in Arabic and Syriac, some letters of India.
_HEADS = (
    (0x0600, 0x0605), (0x06DD, 0x06DD), (0x070F, 0x070F), (0x0890, 0x0891), (0x08E2, 0x08E2),
    (0x0D4E, 0x0D4E), (0x110BD, 0x110BD), (0x110CD, 0x110CD), (0x111C2, 0x111C3), (0x113D1, 0x113D1),
    (0x1193F, 0x1193F), (0x11941, 0x11941), (0x11A84, 0x11A89), (0x11D46, 0x11D46), (0x11F02, 0x11F02),
)  # fmt: skip
_FLAGS = ((0x1F1E6, 0x1F1FF),)  # the letters that flags are made of, two for each
_LEADS, _VOWELS, _ENDS = (  # jamo: what syllables of Hangul are made of
    ((0x1100, 0x115F), (0xA960, 0xA97C)),
    ((0x1160, 0x11A7), (0xD7B0, 0xD7C6)),
    ((0x11A8, 0x11FF), (0xD7CB, 0xD7FB)),
)
_SYLLABLES = ((0xAC00, 0xD7A3),)
_VIRAMA = 9  #: the combining class of what joins two consonants into one sign


def _goes_on(text: str, at: int) -> bool:
    """Whether the code points before and at a place belong to one character.

    By the rules for extended grapheme clusters (Unicode Standard Annex 29), as far as ``unicodedata`` has
    what they need; where it has not, rather too much counts as one.
    """
    import unicodedata

    before, after = text[at - 1], text[at]
    if before.isascii() and after.isascii():
        return (before, after) == ("\r", "\n")
    if _JOINER in (before, after) or _is_mark(after) or _is_in(after, _TAILS) or _is_in(before, _HEADS):
        return True
    if _is_in(after, _FLAGS):
        return (at - len(_without_flags(text[:at]))) % 2 == 1
    if _is_in(after, (*_LEADS, *_VOWELS, *_ENDS, *_SYLLABLES)):
        return _is_one_syllable(before, after)
    if unicodedata.category(after) != "Lo":
        return False
    joins = False
    while at and (_is_mark(text[at - 1]) or text[at - 1] == _JOINER):
        joins = joins or unicodedata.combining(text[at - 1]) == _VIRAMA
        at -= 1
    return joins and at > 0 and unicodedata.category(text[at - 1]) == "Lo"


def _is_mark(char: str) -> bool:
    import unicodedata

    return unicodedata.category(char) in ("Mn", "Me", "Mc")


def _is_in(char: str, ranges: Iterable[tuple[int, int]]) -> bool:
    return any(first <= ord(char) <= last for first, last in ranges)


def _without_flags(text: str) -> str:
    return text.rstrip("".join(map(chr, range(_FLAGS[0][0], _FLAGS[0][1] + 1))))


def _is_one_syllable(before: str, after: str) -> bool:
    is_whole = _is_in(before, _SYLLABLES)
    has_end = _is_in(before, _ENDS) or (is_whole and (ord(before) - _SYLLABLES[0][0]) % 28 != 0)
    if _is_in(after, _ENDS):
        return is_whole or has_end or _is_in(before, _VOWELS)
    if _is_in(after, _VOWELS):
        return not has_end and (is_whole or _is_in(before, (*_LEADS, *_VOWELS)))
    return _is_in(before, _LEADS)
