"""`sightline launch`: run one command as several JAX processes on this machine.

The main thread starts the ranks, then waits for what happens first: a rank ends, a signal arrives, a grace
period is over. One thread per rank waits for its end, one per pipe turns its bytes into prefixed lines, and a
single writer puts them out, so that a reader of our output who stalls holds up neither signals nor deadlines.
"""

import contextlib
import os
import queue
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

import click

from sightline.cli.frame import next_lines
from sightline.cli.next_steps import next_steps
from sightline.runs.run_directory import JOURNAL

_HOST = "127.0.0.1"
_LINE_END = re.compile(rb"\r*\n|\r+")  # a progress bar's bare \r ends a line too: else its updates never show
_LONGEST_LINE = 1 << 20
_LATEST = ("latest", "*/latest", "*/*/latest")  # where sl.start leaves a link to a run, below runs/
_NEXT_S = 2.0  # to look at the run
_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)

# Ends the ranks if the launcher is killed outright: its stdin then closes, and it kills the groups it was
# told of. PR_SET_PDEATHSIG would reach the direct children only, fire when the *thread* that started them
# ends, need code between fork and exec, and exist on Linux alone.
_LIFELINE = """
while read -r group; do
    [ "$group" = done ] && exit 0
    groups="$groups -$group"
done
[ -z "$groups" ] || kill -s KILL -- $groups
"""


class _Output:
    """Puts whole lines on our stdout and stderr, from one thread, in the order in which they came."""

    def __init__(self) -> None:
        self._queue: queue.Queue[tuple[int, bytes] | None] = queue.Queue(maxsize=256)
        self._closed: set[int] = set()
        self.writer = threading.Thread(target=self._write_all, name="sightline-launch-output", daemon=True)
        self.writer.start()

    def put(self, fd: int, lines: bytes) -> None:
        """Waits while the reader of our output does, as a pipe would."""
        self._queue.put((fd, lines))

    def say(self, message: str, prefix: str = "sightline launch: ") -> None:
        """A line of the launcher's own, on stderr; dropped if our output has been stuck for a second."""
        line = f"{prefix}{message}\n".encode(errors="backslashreplace")
        with contextlib.suppress(queue.Full):
            self._queue.put((2, line), timeout=1)

    def behind(self) -> bool:
        """Whether anything waits to be written."""
        return self._queue.unfinished_tasks > 0

    def end(self) -> None:
        """Let the writer end when it has written everything."""
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)

    def _write_all(self) -> None:
        while (item := self._queue.get()) is not None:
            self._write(*item)
            self._queue.task_done()

    def _write(self, fd: int, data: bytes) -> None:
        while data and fd not in self._closed:
            try:
                data = data[os.write(fd, data) :]
            except BlockingIOError:  # somebody else has made the terminal non-blocking
                select.select([], [fd], [])
            except OSError:
                # Whoever read us is gone (`| head`). A run is worth more than its print-out: it goes on.
                self._closed.add(fd)
                if fd == 1:
                    self._write(2, b"sightline launch: nobody reads stdout any more; the run goes on\n")


def _forward(pipe: IO[bytes], fd: int, prefix: bytes, output: _Output) -> None:
    """Send the pipe's lines to `fd`, each behind `prefix`, until it closes. Bytes are never decoded."""
    rest = b""
    with pipe:
        while chunk := os.read(pipe.fileno(), 1 << 16):
            # A \r at the very end may be half of \r\n: it waits for what follows.
            held = rest + chunk
            cut = len(held.rstrip(b"\r"))
            lines = _LINE_END.split(held[:cut])
            rest = lines.pop() + held[cut:]
            if len(rest) > _LONGEST_LINE:
                lines.append(rest)
                rest = b""
            if lines:
                output.put(fd, b"".join(prefix + line + b"\n" for line in lines))
    if rest := rest.rstrip(b"\r"):
        output.put(fd, prefix + rest + b"\n")


def _prefix(rank: int, fd: int) -> bytes:
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not os.isatty(fd)
    return f"[{rank}] ".encode() if plain else f"\x1b[0;{_COLOURS[rank % 10]}m[{rank}]\x1b[0m ".encode()


def _free_port(port: int | None) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port or 0))
        except OSError as error:
            raise click.UsageError(
                f"--port {port}: {error.strerror}. Leave --port out to have a free one chosen."
            ) from None
        return int(probe.getsockname()[1])


def _settings(pairs: Iterable[str]) -> dict[str, str]:
    settings = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise click.UsageError(f"--env {pair!r}: expected NAME=VALUE, as in --env XLA_FLAGS=--xla_foo=1")
        settings[name] = value
    return settings


def _named(ranks: Sequence["_Rank"]) -> str:
    """`rank 1`, `ranks 0, 2`, `8 ranks`."""
    if len(ranks) > 4:
        return f"{len(ranks)} ranks"
    return f"rank{'s' if len(ranks) > 1 else ''} {', '.join(str(rank.rank) for rank in ranks)}"


def _how(code: int) -> str:
    """An exit code as subprocess gives it, in words."""
    if code >= 0:
        return f"exited with code {code}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-code).name}"
    return f"was killed by signal {-code}"


def _next_steps(began: float) -> list[str]:
    """What is useful next for the run below ``runs/`` that was written last, if that was since then.

    Args:
        began: in s since the epoch.
    """
    found = []
    for link in (path for pattern in _LATEST for path in Path("runs").glob(pattern)):
        with contextlib.suppress(OSError):
            found.append(((link / JOURNAL).stat().st_mtime, link))
    written, run_dir = max(found, default=(0.0, Path()))
    return next_steps(run_dir) if written >= began else []


class _Rank:
    """One process of the run, the leader of a process group of its own."""

    def __init__(self, rank: int, command: Sequence[str], env: dict[str, str]) -> None:
        self.rank = rank
        self.running = True
        self.process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            process_group=0,
        )

    def wait(self) -> int:
        """Wait for the end, and where the platform can, leave the zombie.

        Its process id, which is the group's id, then stays ours until the launcher ends: no signal can
        reach a stranger who was given the number anew.
        """
        if not hasattr(os, "waitid"):
            return self.process.wait()
        end = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        assert end is not None
        return end.si_status if end.si_code == os.CLD_EXITED else -end.si_status

    def signal(self, number: int) -> None:
        """Signal the whole group: the rank and what it has started. Harmless when all of it has ended."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    def group_lives(self) -> bool:
        """Whether any process of the group still runs. Zombies do not count: not every init reaps them."""
        try:
            os.killpg(self.process.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        if not os.path.exists("/proc/self/stat"):
            return True
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, _, group = stat.read_bytes().rpartition(b")")[2].split()[:3]
                if int(group) == self.process.pid and state not in b"ZX":
                    return True
        return False


class _Launcher:
    def __init__(
        self, command: Sequence[str], count: int, port: int, env: dict[str, str], grace: float
    ) -> None:
        self.command, self.count, self.port, self.env, self.grace = command, count, port, env, grace
        self.output = _Output()
        self.ranks: list[_Rank] = []
        self.readers: list[threading.Thread] = []
        self.lifeline: subprocess.Popen[bytes] | None = None
        # What the main thread waits for: a signal's number, or a rank and its exit code. A SimpleQueue,
        # because a signal handler may put into it while the same thread is inside get().
        self.events: queue.SimpleQueue[int | tuple[_Rank, int]] = queue.SimpleQueue()
        self.exit_code: int | None = None  # decided by what ends the run first
        self.began = time.time()
        self.deadline: float | None = None
        self.signalled = False
        self.sent: set[int] = set()

    def run(self) -> int:
        """Run to the end; the exit code is that of the launcher."""
        # Before the first rank starts: a handled signal is reset to its default in a new program, whereas
        # the ignored SIGINT of a shell's background job would be passed on.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue  # nohup
            signal.signal(number, lambda number, _: self.events.put(number))
        self._start_lifeline()
        try:
            if (failure := self._start_ranks()) is not None:
                self.exit_code = failure
                self._stop(signal.SIGTERM)
            self._watch()
            self._clear()
        except BaseException:
            self._kill()
            raise
        finally:
            self._end_lifeline()
        for rank in self.ranks:
            rank.process.wait()
        if not self.signalled:
            self._say_next()
        self._drain()
        return self.exit_code or 0

    def _start_ranks(self) -> int | None:
        """Start all ranks; the exit code if one could not be started (said on stderr), else None."""
        address = f"{_HOST}:{self.port}"
        for number in range(self.count):
            env = {"PYTHONUNBUFFERED": "1"} | dict(os.environ)
            env |= {
                "JAX_COORDINATOR_ADDRESS": address,
                "JAX_COORDINATOR_BIND_ADDRESS": address,
                "JAX_NUM_PROCESSES": str(self.count),
                "JAX_PROCESS_ID": str(number),
            }
            try:
                rank = _Rank(number, self.command, env | self.env)
            except OSError as error:
                missing = isinstance(error, FileNotFoundError)
                if missing and not os.path.exists(self.command[0]):
                    reason = "command not found"
                elif missing:
                    reason = "the interpreter that its first line names does not exist"
                else:
                    reason = f"cannot be started: {error.strerror}"
                self.output.say(f"{self.command[0]}: {reason}")
                return 127 if missing else 126
            self.ranks.append(rank)
            self._tell_lifeline(f"{rank.process.pid}")
            assert rank.process.stdout is not None
            assert rank.process.stderr is not None
            for pipe, fd in ((rank.process.stdout, 1), (rank.process.stderr, 2)):
                work = (pipe, fd, _prefix(number, fd), self.output)
                self.readers.append(threading.Thread(target=_forward, args=work, daemon=True))
                self.readers[-1].start()
            threading.Thread(target=lambda r=rank: self.events.put((r, r.wait())), daemon=True).start()
        return None

    def _watch(self) -> None:
        """Until every rank has ended: pass signals on, stop all at the first failure, keep the deadline."""
        while running := [rank for rank in self.ranks if rank.running]:
            left = None if self.deadline is None else max(0, self.deadline - time.monotonic())
            try:
                event = self.events.get(timeout=left)
            except queue.Empty:
                self.output.say(f"killing {_named(running)}: still there after {self.grace:g} s")
                self._kill()
                continue
            if isinstance(event, tuple):
                rank, code = event
                rank.running = False
                if code != 0 and self.exit_code is None:
                    running.remove(rank)
                    stopping = f"; stopping {_named(running)}" if running else ""
                    self.output.say(f"rank {rank.rank} {_how(code)}{stopping}")
                    self.exit_code = code if code > 0 else 128 - code
                    self._stop(signal.SIGTERM)
            elif event == signal.SIGINT and self.exit_code is not None:
                self.output.say(f"interrupted again: killing {_named(running)}")
                self._kill()
            elif self.exit_code is None:
                again = "; again to kill" if event == signal.SIGINT else ""
                what = "interrupted" if event == signal.SIGINT else signal.Signals(event).name
                self.output.say(f"{what}: stopping {_named(running)}{again}")
                self.exit_code, self.signalled = 128 + event, True
                self._stop(event)
            elif event not in self.sent:
                self._stop(event)

    def _clear(self) -> None:
        """Stop what the ranks have left running in their groups: SIGTERM, and SIGKILL after the grace."""
        if signal.SIGKILL in self.sent:
            return
        left = [rank for rank in self.ranks if rank.group_lives()]
        if left and signal.SIGTERM not in self.sent:
            self.output.say(f"stopping what {_named(left)} left running")
            for rank in left:
                rank.signal(signal.SIGTERM)
        deadline = self.deadline or time.monotonic() + self.grace
        while left and time.monotonic() < deadline and self.events.empty():  # any further signal: at once
            time.sleep(0.05)
            left = [rank for rank in left if rank.group_lives()]
        for rank in left:
            rank.signal(signal.SIGKILL)

    def _drain(self) -> None:
        """Wait for the print-out, however slow its reader; after a signal for 5 s, at a new one no longer."""
        limit = time.monotonic() + (5 if self.signalled else float("inf"))
        idle_since = time.monotonic()
        while (reading := [reader for reader in self.readers if reader.is_alive()]) and self.events.empty():
            now = time.monotonic()
            if self.output.behind():
                idle_since = now
            # Idle for long with an open pipe: a process that left its group still holds it.
            if now > min(limit, idle_since + 2):
                break
            reading[0].join(0.05)
        self.output.end()
        while self.output.writer.is_alive() and self.events.empty() and time.monotonic() < limit:
            self.output.writer.join(0.05)

    def _say_next(self) -> None:
        """Names what is useful for the run that the job has written, if it is one of sightline's."""
        from sightline.doctor.bounded import Late, within

        with contextlib.suppress(Late):  # its disk hangs
            for line in next_lines(within(_NEXT_S, lambda: _next_steps(self.began))):
                self.output.say(line, prefix="")

    def _stop(self, number: int) -> None:
        self.sent.add(number)
        if self.deadline is None:
            self.deadline = time.monotonic() + self.grace
        for rank in self.ranks:
            rank.signal(number)

    def _kill(self) -> None:
        self.deadline = None
        self.sent.add(signal.SIGKILL)
        for rank in self.ranks:
            rank.signal(signal.SIGKILL)

    def _start_lifeline(self) -> None:
        with contextlib.suppress(OSError):  # no sh: the ranks of a killed launcher then run on
            self.lifeline = subprocess.Popen(
                ["/bin/sh", "-c", _LIFELINE],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )

    def _tell_lifeline(self, line: str) -> None:
        if self.lifeline is not None and self.lifeline.stdin is not None:
            with contextlib.suppress(OSError):
                self.lifeline.stdin.write(f"{line}\n".encode())

    def _end_lifeline(self) -> None:
        self._tell_lifeline("done")
        if self.lifeline is not None and self.lifeline.stdin is not None:
            self.lifeline.stdin.close()
            self.lifeline.wait()


@click.command(
    short_help="A job of several processes on this machine.",
    context_settings={"allow_interspersed_args": False},
)
@click.option(
    "-n", "count", type=click.IntRange(1), required=True, metavar="N", help="How many processes to run."
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="Port of JAX's coordinator.  [default: a free one]",
)
@click.option(
    "--env", "pairs", multiple=True, metavar="K=V", help="Set a variable for every process; repeatable."
)
@click.option(
    "--grace",
    type=click.FloatRange(0, 1_000_000),
    default=10,
    show_default=True,
    metavar="SECONDS",
    help="From asking the processes to stop until killing them.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def launch(
    count: int, port: int | None, pairs: tuple[str, ...], grace: float, command: tuple[str, ...]
) -> None:
    """Run COMMAND as N processes of one JAX job on this machine.

    \b
      sightline launch -n 2 -- python -m my.train --config c.yaml

    Each process finds in its environment JAX_COORDINATOR_ADDRESS, JAX_COORDINATOR_BIND_ADDRESS,
    JAX_NUM_PROCESSES and JAX_PROCESS_ID (its rank), and PYTHONUNBUFFERED=1 unless that is set already.
    JAX reads the addresses by itself; hand it the other two:

    \b
      jax.distributed.initialize(
          num_processes=int(os.environ["JAX_NUM_PROCESSES"]),
          process_id=int(os.environ["JAX_PROCESS_ID"]))

    Output comes line by line behind the rank ("[0] …"), stdout and stderr each to its own; coloured on a
    terminal unless NO_COLOR is set. The processes read nothing: their stdin is /dev/null.

    The first process that fails stops the others (SIGTERM, after --grace SIGKILL), and its exit code becomes
    the launcher's, 128+N for one killed by signal N; 127 if COMMAND is not found. Ctrl-C is passed on once
    and stops all (exit code 130), a second one kills; so does SIGTERM (143), as when a job is preempted.
    Whatever the processes have started goes with them, unless it has left their process group. At the end
    it is said what is useful next for the run that the job has written below runs/.
    """
    settings = _settings(pairs)
    sys.exit(_Launcher(command, count, _free_port(port), settings, grace).run())
