"""`sightline launch` as typed: the real command, real processes, real signals."""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 120  # seconds until a condition that must come true counts as failed: never part of a verdict

# A rank that notes the signals it gets and soon leaves, as training code that saves would.
GRACEFUL = """
import os, pathlib, signal, sys, time
here, rank = pathlib.Path(sys.argv[1]), os.environ["JAX_PROCESS_ID"]
got = []
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, frame: got.append(signal.Signals(number).name))
(here / f"ready.{rank}").touch()
while not got:
    time.sleep(0.05)
time.sleep(0.2)
(here / f"got.{rank}").write_text(" ".join(got))
"""

# A rank that cannot be asked to stop, with a child of its own.
STUBBORN = """
import os, pathlib, signal, subprocess, sys, time
here, rank = pathlib.Path(sys.argv[1]), os.environ["JAX_PROCESS_ID"]
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "100000"])
(here / f"pids.{rank}.tmp").write_text(f"{os.getpid()} {child.pid}")
(here / f"pids.{rank}.tmp").rename(here / f"pids.{rank}")
print("ready")
while True:
    time.sleep(60)
"""

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts `sightline launch …`; whatever a failing test leaves behind ends with it."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: Any, **options: Any) -> "subprocess.Popen[bytes]":
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        command = [sys.executable, "-m", "sightline.cli", "launch", *map(str, arguments)]
        process = subprocess.Popen(command, **options)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def launch(start: Start) -> Callable[..., tuple[int, str, str]]:
    """Runs `sightline launch …` to its end: exit code, stdout, stderr."""

    def launch(*arguments: Any, **options: Any) -> tuple[int, str, str]:
        process = start(*arguments, **options)
        stdout, stderr = process.communicate(timeout=PATIENCE)
        return process.returncode, (stdout or b"").decode(), (stderr or b"").decode()

    return launch


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE} s for {what}"
        time.sleep(0.02)


def exist(*paths: Path) -> Callable[[], bool]:
    return lambda: all(path.exists() for path in paths)


def gone(pid: int) -> bool:
    """Ended, reaped or not: an init that does not reap must not fail a test."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return True


def pids(here: Path, ranks: int) -> list[int]:
    files = [here / f"pids.{rank}" for rank in range(ranks)]
    wait_for(exist(*files), "the ranks to start")
    return [int(pid) for file in files for pid in file.read_text().split()]


def python(code: str, *arguments: Any) -> tuple[str, ...]:
    return ("--", sys.executable, "-c", code, *map(str, arguments))


def sh(code: str, *arguments: Any) -> tuple[str, ...]:
    return ("--", "sh", "-c", code, "sh", *map(str, arguments))


# What each rank is given


def test_each_rank_finds_its_place_in_the_environment(launch, tmp_path):
    """Coordinator, number of processes and rank are set; --env adds and overrides, the rest is inherited."""
    code = """
import json, os, sys
with open(os.path.join(sys.argv[1], os.environ["JAX_PROCESS_ID"]), "w") as file:
    json.dump(dict(os.environ), file)
"""
    env = os.environ | {"INHERITED": "yes", "OVERRIDDEN": "no"}
    env.pop("PYTHONUNBUFFERED", None)
    options = ("--env", "OVERRIDDEN=a=b c", "--env", "EMPTY=")
    assert launch("-n", 3, *options, *python(code, tmp_path), env=env) == (0, "", "")
    found = [json.loads((tmp_path / str(rank)).read_text()) for rank in range(3)]
    for rank, environment in enumerate(found):
        assert environment["JAX_PROCESS_ID"] == str(rank)
        assert environment["JAX_NUM_PROCESSES"] == "3"
        assert re.fullmatch(r"127\.0\.0\.1:\d+", environment["JAX_COORDINATOR_ADDRESS"])
        assert environment["JAX_COORDINATOR_BIND_ADDRESS"] == environment["JAX_COORDINATOR_ADDRESS"]
        assert environment["PYTHONUNBUFFERED"] == "1"
        assert (environment["INHERITED"], environment["OVERRIDDEN"], environment["EMPTY"]) == (
            "yes",
            "a=b c",
            "",
        )
    assert len({environment["JAX_COORDINATOR_ADDRESS"] for environment in found}) == 1


def test_a_set_pythonunbuffered_is_left_alone(launch):
    """Whoever has set PYTHONUNBUFFERED, if only to nothing, has decided."""
    code, out, _ = launch(
        "-n", 1, *sh('echo "<$PYTHONUNBUFFERED>"'), env=os.environ | {"PYTHONUNBUFFERED": ""}
    )
    assert (code, out) == (0, "[0] <>\n")


def test_the_port_can_be_chosen_and_a_taken_one_is_refused(launch):
    """--port is what the ranks get; one that is in use fails before anything starts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, out, err = launch("-n", 1, "--port", port, *sh("echo started"))
        assert (code, out) == (2, "")
        assert f"--port {port}: Address already in use" in err
    code, out, _ = launch("-n", 1, "--port", port, *sh("echo $JAX_COORDINATOR_ADDRESS"))
    assert (code, out) == (0, f"[0] 127.0.0.1:{port}\n")


def test_jax_processes_find_each_other(launch):
    """The environment is enough for jax.distributed.initialize as the help shows it."""
    pytest.importorskip("jax")
    code = """
import os, jax
jax.distributed.initialize(
    num_processes=int(os.environ["JAX_NUM_PROCESSES"]), process_id=int(os.environ["JAX_PROCESS_ID"]))
print(jax.process_index(), "of", jax.process_count())
"""
    status, out, err = launch("-n", 2, "--env", "JAX_PLATFORMS=cpu", *python(code))
    assert status == 0, err
    assert sorted(out.splitlines()) == ["[0] 0 of 2", "[1] 1 of 2"]


@pytest.mark.parametrize("failing", [0, 1])
def test_a_jax_process_that_raises_ends_the_job_though_the_other_waits_for_it(launch, tmp_path, failing):
    """JAX's barrier would hold the failed process for minutes, and its peer in a collective for ever."""
    pytest.importorskip("jax")
    code = """
import sys
import numpy as np
import sightline as sl
import sightline.jax
from jax.experimental import multihost_utils
sightline.jax.initialize()
with sl.start(sys.argv[1], name="run", sinks=[]) as run:
    for step in run.steps(1000):
        multihost_utils.process_allgather(np.ones(2))
        run.commit(step)
        if step == 3 and run.process == int(sys.argv[2]):
            raise ValueError("the reason")
"""
    status, _, err = launch("-n", 2, "--env", "JAX_PLATFORMS=cpu", *python(code, tmp_path, failing))
    assert status != 0
    assert f"[{failing}] ValueError: the reason" in err


def test_stdin_is_empty(launch):
    """A rank that reads its input finds the end of it at once, whatever the launcher's own stdin is."""
    read, write = os.pipe()
    try:
        assert launch("-n", 2, *sh("cat"), stdin=read) == (0, "", "")
    finally:
        os.close(read)
        os.close(write)


def test_options_after_the_command_are_the_commands(launch):
    """Nothing behind the command's name is read by the launcher, with or without `--`."""
    assert launch("-n", 1, "echo", "-n", "2", "--port")[:2] == (0, "[0] 2 --port\n")


# Output


def test_lines_are_never_mixed_under_heavy_output(launch):
    """Four ranks writing at once, in pieces, on both streams, into one pipe: each line whole, in order."""
    lines = 5000
    code = f"""
import os, sys
for i in range({lines}):
    for name, fd in (("out", 1), ("err", 2)):
        os.write(fd, b"%d %s " % (i, name.encode()))
        os.write(fd, b"x" * (i % 300) + b"\\n")
"""
    status, out, _ = launch("-n", 4, *python(code), stderr=subprocess.STDOUT)
    assert status == 0
    seen: dict[tuple[str, str], int] = {}
    for line in out.splitlines():
        match = re.fullmatch(r"\[(\d)\] (\d+) (out|err) (x*)", line)
        assert match, line
        rank, number, name, filling = match.groups()
        assert int(number) == seen.get((rank, name), 0)
        assert len(filling) == int(number) % 300
        seen[rank, name] = int(number) + 1
    assert seen == {(str(rank), name): lines for rank in range(4) for name in ("out", "err")}


def test_stdout_and_stderr_stay_apart(launch):
    """Each stream of a rank comes out on the launcher's own."""
    assert launch("-n", 1, *sh("echo out; echo err >&2")) == (0, "[0] out\n", "[0] err\n")


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (rb"no end", b"[0] no end\n"),
        (rb"a\n\nb\n", b"[0] a\n[0] \n[0] b\n"),
        (rb"1 of 2\r2 of 2\r\ndone\r\n", b"[0] 1 of 2\n[0] 2 of 2\n[0] done\n"),
        (rb"end\r", b"[0] end\n"),
        (rb"\377\376 \303\n", b"[0] \xff\xfe \xc3\n"),
        (rb"\000\n", b"[0] \x00\n"),
        (rb"", b""),
    ],
)
def test_bytes_of_every_kind_come_through(start, written, shown):
    """An unfinished last line, bare carriage returns, NUL and what is not UTF-8 are shown line by line."""
    process = start("-n", 1, *sh('printf "$1"', os.fsdecode(written)))
    assert process.communicate(timeout=PATIENCE) == (shown, b"")
    assert process.returncode == 0


def test_a_line_without_end_is_shown_in_pieces(start):
    """A rank that never ends its line does not fill the launcher's memory, and no byte is lost."""
    process = start("-n", 1, *sh("head -c 5000000 /dev/zero | tr '\\0' x"))
    out, _ = process.communicate(timeout=PATIENCE)
    assert out.replace(b"[0] ", b"").replace(b"\n", b"") == b"x" * 5_000_000
    assert max(map(len, out.splitlines())) < 1_200_000


@pytest.mark.parametrize("no_colour", [None, "1"])
def test_ranks_have_colours_on_a_terminal_unless_told_not_to(launch, no_colour):
    """The prefix is coloured by rank where a person looks; NO_COLOR is honoured, the text untouched."""
    ours, theirs = pty.openpty()
    env = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm"}
    if no_colour:
        env["NO_COLOR"] = no_colour
    try:
        assert launch("-n", 2, *sh("echo hello; echo err >&2"), stdout=theirs, env=env)[2].startswith("[")
    finally:
        os.close(theirs)
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    prefixes = {"[0] ", "[1] "} if no_colour else {"\x1b[0;36m[0]\x1b[0m ", "\x1b[0;33m[1]\x1b[0m "}
    assert {line.removesuffix("hello") for line in shown.splitlines()} == prefixes


def test_a_reader_who_leaves_does_not_end_the_run(launch, tmp_path):
    """`launch … | head -1`: the ranks go on to their end, and stderr says so once."""
    read, write = os.pipe()
    os.close(read)
    code = 'i=0; while [ $i -lt 100 ]; do echo $i; i=$((i+1)); done; touch "$1/$JAX_PROCESS_ID"'
    try:
        status, _, err = launch("-n", 2, *sh(code, tmp_path), stdout=write)
    finally:
        os.close(write)
    assert (status, exist(tmp_path / "0", tmp_path / "1")()) == (0, True)
    assert err == "sightline launch: nobody reads stdout any more; the run goes on\n"


def test_a_slow_reader_gets_everything(start, tmp_path):
    """Nothing is cut off because the reader takes its time after the ranks have ended."""
    process = start("-n", 2, *sh('seq 100000; touch "$1/$JAX_PROCESS_ID"', tmp_path))
    first = os.read(process.stdout.fileno(), 1)
    time.sleep(3)  # longer than the launcher waits for a pipe on which nothing comes
    out, _ = process.communicate(timeout=PATIENCE)
    assert len((first + out).splitlines()) == 200_000
    assert process.returncode == 0


RUN = """
import sys, time
import sightline as sl
with sl.start(sys.argv[1], name="run", sinks=[], naming="off") as run:
    sl.scalar(loss=1.0)
    run.commit(0)
    run.flush()
    if len(sys.argv) > 2:
        raise ValueError("the reason")
"""


@pytest.mark.parametrize("folder", ["runs", "runs/sweep"])
def test_what_is_next_for_the_run_of_the_job_is_named(launch, tmp_path, folder):
    """Of the run that it has written below runs/; nothing where it has written none."""
    log_dir = tmp_path / folder
    status, _, err = launch("-n", 1, *python(RUN, log_dir), cwd=tmp_path)
    assert (status, err.splitlines()[-2]) == (
        0,
        f"next: sightline report {folder}/latest  # all of it as a page",
    )
    _, _, err = launch("-n", 1, *sh("true"), cwd=tmp_path)
    assert err == ""


def test_of_a_run_that_has_failed_doctor_is_next(launch, tmp_path):
    status, _, err = launch("-n", 1, *python(RUN, tmp_path / "runs", "fail"), cwd=tmp_path)
    assert status == 1
    assert "next: sightline doctor runs/latest  # what is wrong with it" in err


# How a run ends


@pytest.mark.parametrize(
    ("death", "code", "how"),
    [
        ("exit 7", 7, "exited with code 7"),
        ("kill -KILL $$", 137, "was killed by SIGKILL"),
        ("kill -ABRT $$", 134, "was killed by SIGABRT"),
    ],
)
def test_the_first_failure_stops_the_rest_and_is_the_exit_code(launch, tmp_path, death, code, how):
    """One rank fails while the others would run for ever: they get SIGTERM, stderr says who and how."""
    script = f"""
if [ $JAX_PROCESS_ID = 1 ]; then
    while [ ! -e "$1/ready.0" ] || [ ! -e "$1/ready.2" ]; do sleep 0.05; done
    {death}
fi
exec "$2" -c "$3" "$1"
"""
    status, _, err = launch("-n", 3, *sh(script, tmp_path, sys.executable, GRACEFUL))
    assert status == code
    assert f"sightline launch: rank 1 {how}; stopping ranks 0, 2\n" in err
    assert [(tmp_path / f"got.{rank}").read_text() for rank in (0, 2)] == ["SIGTERM"] * 2


def test_a_lone_rank_hands_its_exit_code_on(launch):
    """`-n 1` behaves as any other number does."""
    status, out, err = launch("-n", 1, *sh("echo hi; exit 3"))
    assert (status, out, err) == (3, "[0] hi\n", "sightline launch: rank 0 exited with code 3\n")


def test_a_rank_that_ends_well_stops_nobody(launch, tmp_path):
    """Rank 0 may leave early; the others run to their own end, and the exit code is 0."""
    code = """
[ $JAX_PROCESS_ID = 0 ] && exec touch "$1/left"
while [ ! -e "$1/left" ]; do sleep 0.05; done
echo on
"""
    status, out, err = launch("-n", 3, *sh(code, tmp_path))
    assert (status, sorted(out.splitlines()), err) == (0, ["[1] on", "[2] on"], "")


def test_a_rank_that_does_not_stop_is_killed_after_the_grace(launch, tmp_path):
    """SIGTERM ignored: SIGKILL follows, to the rank and to what it has started."""
    script = """
if [ $JAX_PROCESS_ID = 1 ]; then
    while [ ! -e "$1/pids.0" ]; do sleep 0.05; done
    exit 5
fi
exec "$2" -c "$3" "$1"
"""
    status, _, err = launch("-n", 2, "--grace", 0.3, *sh(script, tmp_path, sys.executable, STUBBORN))
    assert status == 5
    assert "killing rank 0: still there after 0.3 s" in err
    for pid in pids(tmp_path, 1):
        wait_for(lambda pid=pid: gone(pid), f"process {pid} to end")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_is_passed_on_once_and_stops_all(start, tmp_path, number, code):
    """Ctrl-C, preemption, a closed terminal: every rank gets that signal, once, and time to finish."""
    process = start("-n", 2, *python(GRACEFUL, tmp_path))
    wait_for(exist(tmp_path / "ready.0", tmp_path / "ready.1"), "the ranks to start")
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code
    assert ": stopping ranks 0, 1" in err.decode()
    assert [(tmp_path / f"got.{rank}").read_text() for rank in (0, 1)] == [number.name] * 2


def test_a_second_interrupt_kills(start, tmp_path):
    """Ranks that ignore Ctrl-C, under a grace that never ends, are gone after the second one."""
    process = start("-n", 2, "--grace", 100_000, *python(STUBBORN, tmp_path))
    everyone = pids(tmp_path, 2)
    process.send_signal(signal.SIGINT)
    said = b""
    while b"again to kill" not in said:
        said += os.read(process.stderr.fileno(), 1000)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "interrupted again: killing ranks 0, 1" in err.decode()
    for pid in everyone:
        wait_for(lambda pid=pid: gone(pid), f"process {pid} to end")


def test_what_a_rank_leaves_running_is_stopped(launch, tmp_path):
    """All ranks end well but leave children behind: these end too, and the exit code stays 0."""
    code = 'sleep 100000 & echo $! > "$1/pid.$JAX_PROCESS_ID"'
    status, _, err = launch("-n", 2, *sh(code, tmp_path))
    assert (status, err) == (0, "sightline launch: stopping what ranks 0, 1 left running\n")
    for rank in range(2):
        pid = int((tmp_path / f"pid.{rank}").read_text())
        wait_for(lambda pid=pid: gone(pid), f"process {pid} to end")


def test_a_process_that_left_its_group_does_not_hold_the_launcher(start, tmp_path):
    """A daemon that holds a rank's pipe open outlives the run, and the launcher ends nevertheless."""
    code = """
import subprocess, sys
daemon = subprocess.Popen(["sleep", "100000"], start_new_session=True)
with open(sys.argv[1] + "/pid", "w") as file:
    file.write(str(daemon.pid))
"""
    process = start("-n", 1, *python(code, tmp_path))
    try:
        assert process.wait(timeout=PATIENCE) == 0
    finally:
        daemon = int((tmp_path / "pid").read_text())
        alive = not gone(daemon)
        os.kill(daemon, signal.SIGKILL)
    assert alive


def test_a_killed_launcher_takes_its_ranks_along(start, tmp_path):
    """SIGKILL to the launcher: ranks that ignore everything else, and their children, end with it."""
    process = start("-n", 2, *python(STUBBORN, tmp_path))
    everyone = pids(tmp_path, 2)
    shown = b""
    while shown.count(b"ready") < 2:  # passed on only once the launcher has made sure of the rank's end
        shown += os.read(process.stdout.fileno(), 1000)
    process.kill()
    for pid in everyone:
        wait_for(lambda pid=pid: gone(pid), f"process {pid} to end")


@pytest.mark.parametrize("command", ["no-such-command", "./no/such/path"])
def test_an_unknown_command_is_said_once(launch, command):
    """Exit code 127 and one line, not a traceback and not one line per rank."""
    assert launch("-n", 2, "--", command) == (127, "", f"sightline launch: {command}: command not found\n")


def test_a_command_that_cannot_run_says_why(launch, tmp_path):
    """No permission, and a first line that names no interpreter: told apart from a command not found."""
    script = tmp_path / "train"
    script.write_text("#!/no/such/python\n")
    assert launch("-n", 2, script) == (
        126,
        "",
        f"sightline launch: {script}: cannot be started: Permission denied\n",
    )
    script.chmod(0o755)
    status, _, err = launch("-n", 2, script)
    assert (status, err) == (
        127,
        f"sightline launch: {script}: the interpreter that its first line names does not exist\n",
    )


# The command line


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (("--", "true"), "Missing option '-n'"),
        (("-n", "0", "--", "true"), "0 is not in the range x>=1"),
        (("-n", "2"), "Missing argument 'COMMAND...'"),
        (("-n", "2", "--env", "NAME", "--", "true"), "--env 'NAME': expected NAME=VALUE"),
        (("-n", "2", "--env", "=x", "--", "true"), "--env '=x': expected NAME=VALUE"),
    ],
)
def test_wrong_usage_is_explained(launch, arguments, wrong):
    """Exit code 2, and a message that names the value and the right form."""
    status, out, err = launch(*arguments)
    assert (status, out) == (2, "")
    assert wrong in err


def test_help_and_version_answer_without_jax():
    """The command imports no JAX, and its help names what the ranks are given."""
    code = "import sys, sightline.cli; assert 'jax' not in sys.modules, 'jax was imported'"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE)
    command = [sys.executable, "-m", "sightline.cli"]
    shown = subprocess.run([*command, "launch", "--help"], check=True, capture_output=True, timeout=PATIENCE)
    for words in (b"JAX_COORDINATOR_ADDRESS", b"JAX_PROCESS_ID", b"--grace", b"/dev/null", b"NO_COLOR"):
        assert words in shown.stdout
    shown = subprocess.run([*command, "--version"], check=True, capture_output=True, timeout=PATIENCE)
    assert re.fullmatch(rb"sightline, version \d\S*\n", shown.stdout)
