"""A seeded generator of word problems in the shape of GSM8K: a short story, one to three sums, `#### n`.

    Ida buys 3 boxes with 6 stamps each. Mia gives Ida 2 more. How many stamps does Ida have?

    3*6=<<3*6=18>>18
    18+2=<<18+2=20>>20
    #### 20

As in a collection that many people have written, not every answer shows its working: three in five give
the number alone. A model trained on them does the same, more often than not, and is often wrong, since it
has no room to work. That is what GRPO can find out from the reward alone: writing the sums down pays, so
completions grow longer and the answers right. Set `TERSE` to 0 for a collection that always shows its
working; there is then little left for GRPO to find in minutes.

Two problems with the same sentences and numbers are the same problem, whoever plays in it; which split a
problem belongs to is a hash of that identity. So the training and the held-out problems are disjoint for
any seed and any size.
"""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass

NAMES = ("Mia", "Sam", "Ana", "Ben", "Zoe", "Tom", "Lea", "Max", "Ida", "Leo", "Eva", "Jon")
THINGS = ("apples", "books", "coins", "cards", "pens", "shells", "stamps", "eggs", "balls", "keys")
HELD_OUT_IN = 5  # one problem in five belongs to the held-out split
LARGEST = 20  # no quantity in a story is larger: what a small model can learn to add up in minutes
LARGEST_CHANGE = 6  # by how much a sum or a difference changes it
LARGEST_FACTOR = 3
TERSE = 0.6  # this share of the answers gives the number alone

STARTS = {
    "has": "{who} has {a} {things}.",
    "finds": "{who} finds {a} {things}.",
    "boxes": "{who} buys {b} boxes with {a} {things} each.",
    "bags": "{who} fills {b} bags with {a} {things} each.",
}
EVENTS = {
    "+": ("{other} gives {who} {b} more.", "{who} buys {b} more {things}."),
    "-": ("{who} gives {other} {b}.", "{who} loses {b} {things}."),
    "*": ("Soon {who} has {b} times as many.",),
    "/": ("{who} keeps one of {b} equal piles.",),
}
QUESTION = "How many {things} does {who} have?"


@dataclass(frozen=True)
class Problem:
    """One line of a GSM8K file. `answer` is the worked answer; it ends with `#### n`."""

    question: str
    answer: str


def generate(split: str, count: int, seed: int) -> list[Problem]:
    """`count` different problems of the split `train` or `test`, the same ones for the same seed.

    Raises:
        ValueError: there are not that many.
    """
    rng = random.Random(f"{split}/{seed}")
    problems: list[Problem] = []
    seen: set[str] = set()
    in_vain = 0
    while len(problems) < count:
        identity, problem = _draw(rng)
        held_out = zlib.crc32(identity.encode()) % HELD_OUT_IN == 0
        if held_out == (split == "test") and identity not in seen:
            seen.add(identity)
            problems.append(problem)
            in_vain = 0
        elif (in_vain := in_vain + 1) > 2000:
            raise ValueError(
                f"asked for {count} different {split} problems, found no more than {len(problems)}"
            )
    return problems


def _draw(rng: random.Random) -> tuple[str, Problem]:
    who, other = rng.sample(NAMES, 2)
    people = {"who": who, "other": other, "things": rng.choice(THINGS)}
    steps = rng.choice((1, 2, 2, 3))
    kind = rng.choice(list(STARTS))
    sums: list[str] = []
    a, b = rng.randint(2, LARGEST * 3 // 4), 0
    value = a
    if kind in ("boxes", "bags"):
        b = rng.randint(2, LARGEST_FACTOR)
        a = rng.randint(2, LARGEST // b)
        value = a * b
        sums.append(_sum(b, "*", a, value))
    identity = [f"{kind} {a} {b}"]
    story = [STARTS[kind].format(a=a, b=b, **people)]
    while len(sums) < steps:
        op, b, result = _step(rng, value)
        variant = rng.randrange(len(EVENTS[op]))
        story.append(EVENTS[op][variant].format(b=b, **people))
        sums.append(_sum(value, op, b, result))
        identity.append(f"{op}{variant} {b}")
        value = result
    story.append(QUESTION.format(**people))
    working = [] if rng.random() < TERSE else sums
    return " / ".join(identity), Problem(" ".join(story), "\n".join([*working, f"#### {value}"]))


def _step(rng: random.Random, value: int) -> tuple[str, int, int]:
    """An operation on `value` whose result is a whole number from 1 to LARGEST."""
    divisors = [d for d in range(2, LARGEST_FACTOR + 1) if value % d == 0 and value > d]
    possible = ["+"] * (value <= LARGEST - 2) + ["-"] * (value >= 4)
    possible += ["*"] * (value <= LARGEST // 2) + ["/"] * bool(divisors)
    op = rng.choice(possible)
    if op == "+":
        b = rng.randint(2, min(LARGEST_CHANGE, LARGEST - value))
        return op, b, value + b
    if op == "-":
        b = rng.randint(2, min(LARGEST_CHANGE, value - 1))
        return op, b, value - b
    if op == "*":
        b = rng.randint(2, min(LARGEST_FACTOR, LARGEST // value))
        return op, b, value * b
    b = rng.choice(divisors)
    return op, b, value // b


def _sum(a: int, op: str, b: int, result: int) -> str:
    return f"{a}{op}{b}=<<{a}{op}{b}={result}>>{result}"
