"""Problems: GSM8K's file format, the generator, the arrays."""

from __future__ import annotations

import json
import operator
import re
from pathlib import Path

import numpy as np
import pytest

import runners.grpo_gsm8k.problems as problems_module
from runners.common.batches import batch_indices
from runners.common.errors import DataError
from runners.grpo_gsm8k.data import (
    encode,
    load_problems,
    read_jsonl,
    split_answer,
    target_text,
)
from runners.grpo_gsm8k.problems import NAMES, THINGS, Problem, generate
from runners.grpo_gsm8k.tokenizer import BOS, EOS, train_tokenizer

NATALIA = {
    "question": "Natalia sold clips to 48 of her friends in April, and then half as many in May. How many?",
    "answer": "She sold 48/2 = <<48/2=24>>24 clips in May.\nIn all 48+24 = <<48+24=72>>72 clips.\n#### 1,072",
}


def test_a_gsm8k_line_is_read_and_its_calculator_marks_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps(NATALIA) + "\n\n" + json.dumps(NATALIA) + "\n")
    first, _ = load_problems("train", str(path), 0, seed=0)
    assert split_answer(first.answer) == (
        "She sold 48/2 = 24 clips in May.\nIn all 48+24 = 72 clips.",
        "1072",
    )
    assert target_text(first).endswith("72 clips.</think><answer>1072</answer>")
    assert len(load_problems("train", str(path), 1, seed=0)) == 1


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"question": "How many?"', "bad.jsonl:2: expected one JSON object"),
        ("[1]", "bad.jsonl:2: expected a JSON object, found '[1]'"),
        ('{"question": "How many?"}', "bad.jsonl:2: expected a string 'answer', found 'None'"),
        ('{"question": 3, "answer": "#### 3"}', "bad.jsonl:2: expected a string 'question', found '3'"),
        (
            '{"question": "?", "answer": "It is 3."}',
            "bad.jsonl:2: expected the answer to end with '#### <number>'",
        ),
        ('{"question": "?", "answer": "#### three"}', "bad.jsonl:2: expected the answer to end with"),
        ('{"question": ' + "[" * 100_000, "bad.jsonl:2: expected one JSON object, found"),
        ('{"question": ' + "7" * 5000 + "}", "bad.jsonl:2: expected one JSON object, found"),
        (
            '{"question": "\\ud83d?", "answer": "#### 3"}',
            "bad.jsonl:2: 'question': expected text, found the lone surrogate \\ud83d in it",
        ),
    ],
)
def test_a_bad_line_is_named_with_file_number_and_what_was_expected(
    tmp_path: Path, line: str, expected: str
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps(NATALIA) + "\n" + line + "\n")
    with pytest.raises(DataError, match=re.escape(expected)):
        read_jsonl(path)


def test_a_bad_byte_is_named_with_its_line_and_separators_of_unicode_end_no_line(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    question = "How\u2028many\x85?"
    path.write_text("\n" + json.dumps({"question": question, "answer": "#### 3"}, ensure_ascii=False))
    assert [problem.question for problem in read_jsonl(path)] == [question]
    path.write_bytes(path.read_bytes().replace(b"many", b"m\xe4ny"))
    with pytest.raises(DataError, match=r"train.jsonl:2: cannot be read as UTF-8 text: byte 0xe4, "):
        read_jsonl(path)


def test_a_missing_or_empty_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_jsonl(tmp_path / "nothing.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(DataError, match="no problems in it"):
        read_jsonl(tmp_path / "empty.jsonl")


def test_generated_problems_are_the_same_for_the_same_seed_and_differ_for_another() -> None:
    assert generate("train", 50, 3) == generate("train", 50, 3)
    assert generate("train", 50, 3) != generate("train", 50, 4)


def test_asking_for_more_problems_than_there_are_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problems_module, "LARGEST", 6)
    with pytest.raises(DataError, match=r"asked for 10000 different test problems, found no more than \d+$"):
        load_problems("test", None, 10_000, seed=0)


def test_training_and_held_out_problems_are_disjoint_for_any_seeds_and_players() -> None:
    def story(problem: Problem) -> str:
        """The problem without its people and things: what is asked, not of whom."""
        return re.sub("|".join((*NAMES, *THINGS)), "_", problem.question)

    train = {p.question for seed in (0, 1) for p in generate("train", 3000, seed)}
    test = {p.question for seed in (0, 7) for p in generate("test", 500, seed)}
    assert not train & test
    assert len({p.question for p in generate("test", 500, 0)}) == 500
    stories = {story(p) for p in generate("train", 3000, 0)}
    assert not stories & {story(p) for p in generate("test", 500, 0)}


def test_worked_answers_hold_and_have_one_to_three_steps() -> None:
    lengths = set()
    for problem in generate("train", 500, 0):
        working, final = split_answer(problem.answer)
        for a, op, b, result in re.findall(r"^(\d+)([-+*/])(\d+)=(\d+)$", working, re.MULTILINE):
            operation = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}[op]
            assert operation(int(a), int(b)) == int(result)
        if working:
            assert working.endswith(f"={final}")
        lengths.add(len(working.splitlines()))
    assert lengths == {0, 1, 2, 3}


def test_arrays_pad_prompts_on_the_left_and_completions_on_the_right() -> None:
    problems = generate("train", 20, 0)
    tokenizer = train_tokenizer([p.question for p in problems], 100)
    data = encode(problems, tokenizer, prompt_length=48, completion_length=64)
    for i, problem in enumerate(problems):
        prompt, target = data.prompts[i][data.prompt_valid[i]], data.targets[i][data.target_valid[i]]
        assert prompt[0] == BOS
        assert data.prompt_valid[i, -1]
        assert tokenizer.decode(prompt.tolist()) == problem.question
        assert target[-1] == EOS
        assert data.target_valid[i, 0]
        assert tokenizer.decode(target.tolist()) == target_text(problem)
    short = encode(problems, tokenizer, prompt_length=8, completion_length=4)
    assert short.prompt_valid.all()
    assert problems[0].question.endswith(tokenizer.decode(short.prompts[0].tolist()))


def test_batches_walk_through_every_problem_once_an_epoch_from_any_position() -> None:
    whole = batch_indices(0, 20, total=10, seed=5)
    assert sorted(whole[:10]) == sorted(whole[10:]) == list(range(10))
    assert list(whole[:10]) != list(whole[10:])
    np.testing.assert_array_equal(batch_indices(7, 6, total=10, seed=5), whole[7:13])
