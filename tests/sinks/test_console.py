"""The console sink: golden pages for terminals of several widths, and lines that stay lines."""

import io
import math
import os
import pty
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.sinks.console import ConsoleConfig, ConsoleSink, _number


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def plain_surroundings(monkeypatch):
    """What a terminal is worth is read from the environment: here none has colours, and 80 columns."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "80")


def commit(step=12, k=0, values=None, **fields):
    record = {"type": "commit", "seq": step, "attempt": 1, "step": step, "k": k, "time": 1000.0 + 1.5 * step}
    return record | {"expected": 2, "reported": 2, "values": values or {}, "counts": {}, "texts": {}} | fields


def statistics(key, mean, std, low, high):
    return {f"{key}/mean": mean, f"{key}/std": std, f"{key}/min": low, f"{key}/max": high}


def lines(*records, **config):
    """What the sink prints for these records where nobody looks at it live."""
    stream = io.StringIO()
    sink = ConsoleSink(ConsoleConfig(**config), stream=stream)
    sink.write(records)
    sink.close()
    return stream.getvalue()


def page(*records, **config):
    stream = Terminal()
    sink = ConsoleSink(ConsoleConfig(**config), stream=stream)
    sink.write(records)
    sink.close()
    return stream.getvalue()


TRAINING = {
    "train/loss": -0.0123456,
    "train/entropy": 2.5,
    "train/lr": 1e-6,
    **statistics("train/reward/total", 0.3125, 0.4635, 0.0, 1.0),
    "train/valid_tokens": 123456789.0,
    **statistics("train/completion_length", 87.34, 12.5, 3.0, 128.0),
    "time/train/rollout_s": 1.2034,
    "time/train/rollout_s_max": 1.5,
    "time/train/rollout_s_slowest": 1.0,
    "time/train/update_s": 0.51,
    "throughput/train/tokens_per_s": 45231.26,
    "obs/late_snapshots": 0,
}
EVALUATION = {
    "eval/accuracy/test": 0.4375,
    **statistics("eval/reward", 0.44, 0.2, 0.0, 1.0),
    "time/eval/all_s": 12.25,
}
STEPS = {"type": "event", "event": "steps", "attempt": 1, "start": 0, "total": 200, "time": 1000.0}


# Lines


def test_a_commit_is_one_line_that_grep_finds():
    """step= first, then key=value in the journal's order; noise and healthy counters left out."""
    assert lines(commit(values=TRAINING)) == (
        "step=12 train/loss=-0.012346 train/entropy=2.5 train/lr=1e-06 train/reward/total/mean=0.3125 "
        "train/reward/total/std=0.4635 train/reward/total/min=0 train/reward/total/max=1 "
        "train/valid_tokens=123456789 train/completion_length/mean=87.34 train/completion_length/std=12.5 "
        "train/completion_length/min=3 train/completion_length/max=128 time/train/rollout_s=1.2034 "
        "time/train/update_s=0.51 throughput/train/tokens_per_s=45231.3\n"
    )


def test_what_is_wrong_with_a_commit_is_on_its_line():
    """Non-finite values, missing processes, late snapshots, counters of obs/ that are not zero."""
    values = {"train/loss": None, "train/kl": None, "obs/nonfinite": 2}
    odd = commit(values=values, nonfinite={"train/loss": "nan", "train/kl": "-inf"}, missing=[1, 3], k=2)
    late = {"type": "late", "process": 1, "step": 3}
    assert lines(late, late, odd, commit(13)) == (
        "step=12 k=2 train/loss=nan train/kl=-inf obs/nonfinite=2 missing=1,3 late=2\nstep=13\n"
    )


def test_a_value_is_not_shown_again_under_its_aliases():
    """Old dashboards read aliases from the journal; a person wants each number once, or asks for it."""
    run = {"type": "run", "attempt": 1, "aliases": {"train/": ["old/"]}}
    both = commit(values={"train/loss": 0.5, "old/loss": 0.5, "old/other": 1})
    assert lines(run, both) == "step=12 train/loss=0.5 old/other=1\n"
    assert lines(run, both, format="{old/loss}") == "0.5\n"


def test_texts_are_words_or_quoted():
    """A text with spaces, quotes or an equals sign is one quoted word; long ones are cut."""
    texts = {"eval/split": "test", "a": "two words", "b": 'say "x"', "c": "k=v", "d": "", "e": "x" * 1000}
    assert lines(commit(texts=texts)) == (
        f'step=12 eval/split=test a="two words" b="say \\"x\\"" c="k=v" d="" e={"x" * 197}...\n'
    )


def test_include_and_exclude_choose_the_keys():
    """Patterns choose what lines and tables show, texts too."""
    record = commit(values={"train/loss": 1.0, "train/kl": 2.0, "eval/loss": 3.0}, texts={"eval/split": "x"})
    assert lines(record, include=("train/*",), exclude=["*/kl"]) == "step=12 train/loss=1\n"
    assert lines(record, include=()) == "step=12\n"
    assert lines(record, exclude=()) == "step=12 train/loss=1 train/kl=2 eval/loss=3 eval/split=x\n"
    assert "kl" not in page(record, exclude=("*/kl",))


def test_unknown_records_and_fields_are_skipped():
    """A journal of a later version, and one with parts left out, is read as far as it is understood."""
    future = {"type": "hologram", "step": 1}
    event = {"type": "event", "event": "eclipse"}
    histogram = {"type": "histogram", "seq": 12, "step": 12, "key": "b", "edges": [0, 1], "counts": [2]}
    assert lines(commit(values={"a": 1.0}), histogram) == "step=12 a=1\n"
    assert page(commit(values={"a": 1.0}), histogram) == page(commit(values={"a": 1.0}))
    assert lines(future, {}, event, commit(values={"a": 1.0}, colour="blue")) == "step=12 a=1\n"
    assert lines({"type": "commit", "step": 3}) == "step=3\n"
    assert page({"type": "commit", "step": 3}) == "\nstep 3\n"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (123456789.0, "123456789"),
        (123456789, "123456789"),
        (2.0**53 - 1, "9007199254740991"),
        (-0.0, "0"),
        (0.0, "0"),
        (1e300, "1e+300"),
        (0.123456789, "0.12346"),
        (-0.5, "-0.5"),
        (12345.678, "12345.7"),
        (1234567.25, "1234567.2"),
        (1234567890.5, "1.2346e+09"),
        (0.000123456, "0.00012346"),
        (1.5e-7, "1.5e-07"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (None, "-"),
    ],
)
def test_numbers_are_written_for_people(value, shown):
    """Whole numbers in full and never with an exponent, others to some five digits, extremes with one."""
    assert _number(value) == shown


@given(st.integers(-(2**53) + 1, 2**53 - 1))
def test_a_whole_number_is_its_digits(number):
    """However large, as an int or as the float that JSON made of it."""
    assert _number(number) == _number(float(number)) == str(number)


@given(st.floats(-1e300, 1e300))
def test_a_number_is_right_to_four_digits_and_short(value):
    """What is shown reads back as the value, and fits a column."""
    assert float(_number(value)) == pytest.approx(value, rel=1e-4, abs=0)
    assert len(_number(value)) <= 17


anything = st.text() | st.text('\x1b[0m\n\r\x00\x85\u2028\u202e\ud800= "\\{}/[red]', max_size=20)


@given(
    values=st.dictionaries(anything, st.none() | st.floats(allow_nan=False) | st.integers()),
    texts=st.dictionaries(anything, anything),
    step=st.integers(),
    missing=st.lists(st.integers(0, 9)),
)
def test_every_line_is_one_line(values, texts, step, missing):
    """Whatever keys and texts hold, a commit is one printable line that starts with its step."""
    record = commit(step, values=values, texts=texts, missing=missing)
    printed = lines(record, exclude=(), style="line")
    assert printed.endswith("\n")
    assert printed[:-1].isprintable()
    assert printed.startswith(f"step={step}")
    assert len(printed.splitlines()) == 1


@given(
    values=st.dictionaries(anything, st.floats(allow_nan=False)), texts=st.dictionaries(anything, anything)
)
def test_a_page_holds_only_what_it_drew(values, texts):
    """No text leaves the table's lines: each is printable and no wider than the terminal."""
    from rich.cells import cell_len

    for line in page(commit(values=values, texts=texts), exclude=()).split("\n"):
        assert line.isprintable()
        assert cell_len(line) <= 80


# Formats


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("step={step} loss={train/loss:.4f}", "step=12 loss=-0.0123"),
        ("{pass@1} {a.b[0].c} {train/valid_tokens}", "0.5 7 123456789"),
        ("{{{step:>5}}}", "{   12}"),
        ("{absent} {train/loss}", "- -0.012346"),
        ("{train/valid_tokens:d} {train/valid_tokens:,}", "123456789 123,456,789.0"),
        ("{train/loss:d} {split:.2f} {absent:.4f} {pass@1:d}", "-0.012346 test - 0.5"),
        ("{bad} {bad:.2f} {bad:d}", "nan nan nan"),
        ("{split:>6}|{counted:05d}", "  test|00042"),
        ("{step} {k} {attempt} {seq} {time} {reported}/{expected} {missing}", "12 0 1 12 1018 2/2 1"),
        ("only words", "only words"),
        ("{step}\t\x1b[31m{split}\n", "12\t\\x1b[31mtest\\n"),
    ],
)
def test_a_format_is_filled_from_the_journals_keys(text, shown):
    """Any key can be a field; what is missing prints `-`, and a spec that does not fit gives way."""
    values = TRAINING | {"pass@1": 0.5, "a.b[0].c": 7.0, "bad": None}
    record = commit(
        values=values, nonfinite={"bad": "nan"}, counts={"counted": 42}, texts={"split": "test"}, missing=[1]
    )
    assert lines(record, format=text) == shown + "\n"


def test_a_commit_without_any_metric_of_the_format_prints_the_default_line():
    """An evaluation between training steps shows what it has, not a row of dashes."""
    train, evaluation = commit(values={"train/loss": 1.5}), commit(k=1, values={"eval/loss": 2.5})
    assert lines(train, evaluation, format="step={step} loss={train/loss} {train/kl}") == (
        "step=12 loss=1.5 -\nstep=12 k=1 eval/loss=2.5\n"
    )
    assert lines(train, evaluation, format="step={step}") == "step=12\nstep=12\n"


def test_words_of_a_format_that_a_commit_has_nothing_for_are_left_out():
    """One format serves training steps and evaluations: `name={field}` shows where the field is there."""
    form = "loss={train/loss:.2f} step={step} eval={eval/loss:.2f} ({train/kl})"
    train, evaluation = commit(values={"train/loss": 1.5}), commit(k=1, values={"eval/loss": 2.5})
    assert lines(train, evaluation, format=form) == "loss=1.50 step=12 (-)\nstep=12 eval=2.50 (-)\n"


def test_a_format_can_show_the_progress():
    """last_step and eta come from the loop's announcement and the commits' times; without them, nothing."""
    records = [commit(step=step, values={"loss": 0.5}) | {"time": 100.0 + 2 * step} for step in (0, 1)]
    form = "step={step}/{last_step} loss={loss} eta={eta}"
    steps = {"type": "event", "event": "steps", "start": 0, "total": 32}
    assert lines(steps, *records, format=form) == "step=0/31 loss=0.5\nstep=1/31 loss=0.5 eta=1:00\n"
    assert lines(*records, format=form) == "step=0/- loss=0.5\nstep=1/- loss=0.5\n"


def test_a_format_holds_on_a_terminal_too():
    """Whoever gives a format, or asks for lines, gets lines."""
    assert page(commit(values={"a": 1.0}), format="at {step}") == "at 12\n"
    assert page(commit(values={"a": 1.0}), style="line") == "step=12 a=1\n"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("loss={train/loss", "expected '}' before end of string"),
        ("loss=}", "Single '}' encountered"),
        ("{}", "a field has no name"),
        ("{:.4f}", "a field has no name"),
        ("{train/loss:.4q}", "{train/loss:.4q} has a spec that fits neither a number nor a text"),
        ("{train/loss:{width}}", "has a spec that fits neither"),
        ("{train/loss!r}", "{train/loss!r} has a conversion"),
    ],
)
def test_a_wrong_format_is_refused_at_once(text, wrong):
    """The error has the text, what is wrong with it, and the right form."""
    with pytest.raises(ValueError, match=re.escape(wrong)) as caught:
        ConsoleConfig(format=text)
    assert repr(text) in str(caught.value)
    assert "as in 'step={step} loss={train/loss:.4f}'" in str(caught.value)


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        ({"include": "train/*"}, "include='train/*': expected a tuple of patterns"),
        ({"exclude": (1,)}, "exclude=(1,): expected a tuple of patterns"),
        ({"interval": -1}, "interval=-1: expected seconds"),
        ({"interval": math.nan}, "interval=nan: expected seconds"),
        ({"style": "tabel"}, "style='tabel': expected 'auto', 'table' or 'line'"),
        ({"style": "table", "format": "{step}"}, "style='table' has no format"),
    ],
)
def test_a_wrong_setting_is_refused_at_once(config, wrong):
    """The error names the setting, its value, and what it may be."""
    with pytest.raises(ValueError, match=re.escape(wrong)):
        ConsoleConfig(**config)


# Tables


def test_a_page_at_80_columns():
    """Groups, columns, statistics in rows, progress with the time left; an evaluation has its own table."""
    evaluation = commit(11, k=1, values=EVALUATION, texts={"eval/split": "test [red]set"})
    expected = """
step 11 k=1
eval
  accuracy/test  0.4375
          mean  std  min  max
  reward  0.44  0.2    0    1
  split  test [red]set
time/eval
  all_s  12.25

step 12 of 199  ━━────────────────────────────────────  6%  1.5 s/step  ETA 4:40
train
  loss  -0.012346   entropy  2.5   lr  1e-06   valid_tokens  123456789
                       mean     std  min  max
  reward/total       0.3125  0.4635    0    1
  completion_length   87.34    12.5    3  128
time/train
  rollout_s  1.2034   update_s  0.51
throughput/train
  tokens_per_s  45231.3
"""
    assert page(STEPS, commit(10), evaluation, commit(12, values=TRAINING)) == expected


def test_a_page_at_32_columns(monkeypatch):
    """One column, and names cut at the head, where keys are alike."""
    monkeypatch.setenv("COLUMNS", "32")
    values = TRAINING | {"train/reward/zero_variance_groups_of_all": 3.0}
    expected = """
step 12 of 199  ──────  ETA 4:40
train
  loss                 -0.012346
  entropy                    2.5
  lr                       1e-06
  valid_tokens         123456789
  …ance_groups_of_all          3
                    mean     std
  reward/total    0.3125  0.4635
  …letion_length   87.34    12.5
time/train
  rollout_s  1.2034
  update_s     0.51
throughput/train
  tokens_per_s  45231.3
"""
    assert page(STEPS, commit(10), commit(12, values=values)) == expected


def test_a_page_with_trouble():
    """Missing processes, values that are not finite and late snapshots stand above the metrics."""
    values = {"train/loss": None, "train/kl": 0.25}
    troubled = commit(values=values, nonfinite={"train/loss": "nan"}, missing=[1, 3], expected=4)
    expected = """
step 12
! step 12: processes 1, 3 missing (2 of 4 reported)
! step 12: train/loss is nan
! 1 late: sent for a commit that was closed already
train
  loss  nan   kl  0.25
"""
    assert page({"type": "late", "process": 1, "step": 3}, troubled) == expected


def test_trouble_of_a_commit_that_no_table_shows_is_said_in_the_next(monkeypatch):
    """Steps between two tables are not drawn, but what went wrong in them is."""
    troubled = [commit(step, missing=[1], reported=1) for step in (3, 4, 5)]
    shown = page(commit(2), *troubled, commit(6))
    assert "! steps 3 to 5: process 1 missing (1 of 2 reported)\n" in shown
    assert "step 4" not in shown


def test_a_hundred_metrics_stay_compact():
    """A hundred keys, all scalars or all statistics, take less than a screen at 80 columns."""
    values = {f"train/metric_{i}": i / 7 for i in range(100)}
    assert len(page(commit(values=values)).splitlines()) <= 30
    spread = {key: x for i in range(25) for key, x in statistics(f"train/part_{i}", i, 1.5, 0, 9).items()}
    assert len(page(commit(values=spread)).splitlines()) <= 30


def test_tables_come_at_most_once_per_interval_and_the_last_one_always(monkeypatch):
    """Fast steps do not flood the terminal; closing shows the last commit, once."""
    now = [0.0]
    monkeypatch.setattr("sightline.sinks.console.time.monotonic", lambda: now[0])
    stream = Terminal()
    sink = ConsoleSink(ConsoleConfig(interval=1.0), stream=stream)
    for step in range(24):
        sink.write([commit(step)])
        now[0] += 0.125
    assert re.findall(r"step (\d+)", stream.getvalue()) == ["0", "8", "16"]
    sink.close()
    sink.close()
    assert re.findall(r"step (\d+)", stream.getvalue()) == ["0", "8", "16", "23"]


def test_an_evaluation_is_not_overtaken(monkeypatch):
    """A commit with k > 0 that came too soon for a table is drawn with the next one."""
    now = [0.0]
    monkeypatch.setattr("sightline.sinks.console.time.monotonic", lambda: now[0])
    stream = Terminal()
    sink = ConsoleSink(stream=stream)
    for record in (commit(1), commit(1, k=1, values={"eval/x": 1.0}), commit(2), commit(3)):
        sink.write([record])
    now[0] = 2.0
    sink.write([commit(4)])
    assert re.findall(r"^step (\d+(?: k=1)?)", stream.getvalue(), re.MULTILINE) == ["1", "1 k=1", "4"]


def test_progress_starts_anew_with_an_attempt():
    """The pause between two attempts is nobody's step time."""
    run = {"type": "run", "attempt": 2}
    resumed = [STEPS | {"start": 12, "attempt": 2}, commit(12, time=9000.0), commit(13, time=9002.0)]
    shown = page(STEPS, commit(10), commit(11), run, *resumed)
    assert "2 s/step  ETA 6:12" in shown
    assert "step 13 of 199" in shown


def test_the_last_step_is_all_of_them():
    """At the end the bar is full and no time is left."""
    shown = page(STEPS, commit(198), commit(199))
    assert "step 199 of 199" in shown
    assert "100%" in shown
    assert "ETA" not in shown
    assert "─" not in shown


def test_colours_only_for_those_who_have_them(monkeypatch):
    """A colour terminal gets colours and bold, NO_COLOR takes the colours away again."""
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[1;36mtrain" in page(commit(values=TRAINING))
    monkeypatch.setenv("NO_COLOR", "1")
    assert "36m" not in page(commit(values=TRAINING))


def test_a_terminal_without_unicode_gets_plain_signs():
    """An ASCII stream shows # and - for the bar, and escapes what it cannot write."""

    class Ascii(Terminal):
        encoding = "ascii"

    stream = Ascii()
    ConsoleSink(stream=stream).write([STEPS, commit(100, values={"train/größe": 1.0})])
    assert stream.getvalue().isascii()
    assert "#---" in stream.getvalue()
    assert "gr\\xf6\\xdfe" in stream.getvalue()


# Streams


@pytest.mark.parametrize("error", [BrokenPipeError, OSError, ValueError])
def test_a_stream_that_fails_is_left_alone(error):
    """No exception comes out, and nothing is tried again."""
    tried = []

    class Broken(io.StringIO):
        def write(self, text):
            tried.append(text)
            raise error("gone")

    sink = ConsoleSink(stream=Broken())
    sink.write([commit(1), commit(2)])
    sink.write([commit(3)])
    sink.close()
    assert len(tried) == 1


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_a_closed_stream_is_no_error(kind):
    """Closed before the sink was made, or after: silence."""
    stream = kind()
    sink = ConsoleSink(stream=stream)
    stream.close()
    sink.write([commit()])
    sink.close()
    ConsoleSink(stream=stream).write([commit()])


PRINTING = """
import sys
from sightline.sinks.console import ConsoleSink
sink = ConsoleSink()
for step in range(int(sys.argv[1])):
    sink.write([{"type": "commit", "step": step, "k": 0, "values": {"train/loss": 0.5}}])
    if step == 0:
        assert "rich" not in sys.modules, "rich was imported for a line"
        sys.stdout.write("not flushed")
        sys.stdin.read()
sink.close()
"""


def test_a_reader_who_leaves_does_not_fail_the_program():
    """`python train.py | head -1`: the program ends well, also in the interpreter's own last flush."""
    process = subprocess.Popen(
        [sys.executable, "-c", PRINTING.replace('sys.stdout.write("not flushed")', "pass"), "100000"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"step=0 train/loss=0.5\n"  # at once: it is flushed
    process.stdout.close()
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, b"")


def test_lines_keep_their_place_among_what_else_is_printed():
    """What the program printed before a commit, flushed or not, stands before it."""
    shown = subprocess.run(
        [sys.executable, "-c", PRINTING, "2"], input=b"", capture_output=True, check=True, timeout=120
    )
    assert shown.stdout == b"step=0 train/loss=0.5\nnot flushedstep=1 train/loss=0.5\n"


def test_a_real_terminal_gets_a_table_of_its_own_width(monkeypatch):
    """On a pseudo-terminal the sink finds out by itself that it is one and how wide."""
    import fcntl
    import struct
    import termios

    monkeypatch.delenv("COLUMNS")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 50, 0, 0))
    with open(theirs, "w", encoding="utf-8") as stream:
        ConsoleSink(stream=stream).write([STEPS, commit(10), commit(12, values={"train/loss": 0.5})])
        shown = os.read(ours, 10_000).decode().replace("\r\n", "\n")
    os.close(ours)
    assert shown == "\nstep 12 of 199  ────────  6%  1.5 s/step  ETA 4:40\ntrain\n  loss  0.5\n"


# Samples


def test_the_best_and_the_worst_sample_have_a_line_each():
    """Numbers first, then the beginning of each text; nothing in it moves the cursor or breaks the line."""
    rows = [
        {
            "prompt": "What is 2 + 2?",
            "completion": "It is\n4" + " and so on" * 50,
            "reward": 1.0,
            "process": 1,
        },
        {"prompt": "What is 2 + 2?", "completion": "\x1b[2J5", "reward": 0.0, "process": 0},
        {"prompt": "not shown", "completion": "", "reward": 0.5, "process": 0},
    ]
    sample = {
        "type": "sample",
        "seq": 12,
        "step": 12,
        "table": "train/rollouts",
        "recorded": 64,
        "rows": rows,
    }
    assert page(commit(values={"train/loss": 0.5}), sample).splitlines()[-3:] == [
        "train/rollouts  step 12  64 rows",
        "  reward 1  process 1  prompt: What is 2 + 2?  completion: It is\\n4 and so on a…",
        "  reward 0  process 0  prompt: What is 2 + 2?  completion: \\x1b[2J5",
    ]
    assert "rollouts" not in lines(commit(), sample)
    assert "rollouts" not in page(commit(), sample, exclude=("train/rollouts",))


def test_a_format_that_is_no_text_is_refused():
    with pytest.raises(ValueError, match="console format=7: expected text"):
        ConsoleConfig(format=7)
