"""Problems from GSM8K-format files or the generator, as token arrays for training and sampling."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runners.common.errors import DataError
from runners.common.text_files import lone_surrogate, read_text
from runners.grpo_gsm8k.problems import Problem, generate
from runners.grpo_gsm8k.tokenizer import BOS, EOS, PAD, Tokenizer

_CALCULATOR = re.compile(r"<<[^<>]*>>")
_NUMBER = re.compile(r"-?\d[\d,]*(\.\d+)?")


def read_jsonl(path: str | Path) -> list[Problem]:
    """Problems of a GSM8K file: a JSON object a line with `question` and `answer`, ending `#### n`."""
    problems: list[Problem] = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as e:  # no JSON; a number too long, or nested too deeply
            raise DataError(f"{where}: expected one JSON object, found {_short(line)} ({e})") from e
        if not isinstance(row, dict):
            raise DataError(f"{where}: expected a JSON object, found {_short(line)}")
        for key in ("question", "answer"):
            if not isinstance(row.get(key), str):
                raise DataError(f"{where}: expected a string {key!r}, found {_short(repr(row.get(key)))}")
            if half := lone_surrogate(row[key]):
                raise DataError(f"{where}: {key!r}: expected text, found the lone surrogate {half} in it")
        try:
            split_answer(row["answer"])
        except ValueError as e:
            raise DataError(f"{where}: {e}") from e
        problems.append(Problem(row["question"], row["answer"]))
    if not problems:
        raise DataError(f"{path}: no problems in it; expected JSON lines with 'question' and 'answer'")
    return problems


def load_problems(split: str, file: str | None, count: int, seed: int) -> list[Problem]:
    """The file's problems (the first `count`; 0: all), or `count` generated ones when there is no file."""
    if file is None:
        try:
            return generate(split, count, seed)
        except ValueError as e:
            raise DataError(f"generated problems: {e}") from e
    problems = read_jsonl(file)
    return problems[:count] if count else problems


def split_answer(answer: str) -> tuple[str, str]:
    """The working (calculator marks `<<…>>` removed) and the final number, without thousands commas."""
    working, marks, final = answer.rpartition("####")
    if not marks or not _NUMBER.fullmatch(final.strip()):
        raise ValueError(f"expected the answer to end with '#### <number>', found {_short(answer[-40:])}")
    return _CALCULATOR.sub("", working).strip(), final.strip().replace(",", "")


def target_text(problem: Problem) -> str:
    """The completion that the warm-up teaches."""
    working, final = split_answer(problem.answer)
    return f"<think>{working}</think><answer>{final}</answer>"


@dataclass(frozen=True)
class Encoded:
    """Problems as arrays. N rows; P and C are the configured lengths."""

    prompts: np.ndarray  # (N, P) int32, left-padded: bos and the question
    prompt_valid: np.ndarray  # (N, P) bool
    targets: np.ndarray  # (N, C) int32, right-padded: the worked completion and eos
    target_valid: np.ndarray  # (N, C) bool
    finals: tuple[str, ...]  # the N final numbers

    def __len__(self) -> int:
        return len(self.finals)


def encode(
    problems: Sequence[Problem], tokenizer: Tokenizer, prompt_length: int, completion_length: int
) -> Encoded:
    """All problems as arrays. A prompt too long keeps its end (there is the question); a target is cut."""
    n = len(problems)
    prompts = np.full((n, prompt_length), PAD, np.int32)
    targets = np.full((n, completion_length), PAD, np.int32)
    prompt_valid, target_valid = np.zeros_like(prompts, bool), np.zeros_like(targets, bool)
    for i, problem in enumerate(problems):
        ids = [BOS, *tokenizer.encode(problem.question)[-(prompt_length - 1) :]]
        prompts[i, prompt_length - len(ids) :] = ids
        prompt_valid[i, prompt_length - len(ids) :] = True
        ids = [*tokenizer.encode(target_text(problem)), EOS][:completion_length]
        targets[i, : len(ids)] = ids
        target_valid[i, : len(ids)] = True
    finals = tuple(split_answer(p.answer)[1] for p in problems)
    return Encoded(prompts, prompt_valid, targets, target_valid, finals)


def _short(text: str, limit: int = 80) -> str:
    text = text.strip()
    return repr(text if len(text) <= limit else text[:limit] + "…")
