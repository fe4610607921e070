"""The checks: each has a part on every process, and process 0 judges what all have found."""

from __future__ import annotations

import json
import queue
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import orjson

import sightline as sl
from sightline.config import PerfTracerConfig, StatsLoggerConfig
from sightline.doctor.disk import disk_checks
from sightline.posting.clock_sync import ClockSync
from sightline.run import Run
from sightline.selftest.meeting import Meeting
from sightline.selftest.reference import (
    DEVICE_TOLERANCE,
    HOST_TOLERANCE,
    HostData,
    compare,
    gathered,
    global_array,
)
from sightline.selftest.result import Failed, Result
from sightline.support import wording
from sightline.support.clock import Sync
from sightline.text_logging.config import TextLoggingConfig

_TRIPS = 8
_PING = "selftest.ping"
_NANS = 3
_SIZE = 1000
_OFF_S = 1.0


class Checks:
    """The self-test on one process.

    Args:
        meeting: with the others.
        log_dir: where runs would lie.
        deadline_s: how long a step waits for a process, in the run of this test.
        say: takes results: on process 0 those of all, elsewhere what fails on this process.
    """

    def __init__(
        self, meeting: Meeting, log_dir: Path, deadline_s: float, say: Callable[[Result], None]
    ) -> None:
        self._meeting = meeting
        self._transport = meeting.transport
        self._log_dir = log_dir
        self._deadline_s = deadline_s
        self._say = say
        self._folder: Path | None = None
        self._is_new = not log_dir.exists()
        self._run: Run | None = None
        self._pings: Counter[int] = Counter()
        self.is_root = self._transport.is_root
        self.process = self._transport.process
        self.processes = self._transport.processes
        self.has_jax = find_spec("jax") is not None
        self.passed = True
        self.is_bound = False  # waits in JAX for all others

    def run(self, begin: Callable[[str], None]) -> None:
        """Makes all checks.

        Args:
            begin: told of each as it begins.
        """
        for name, check in (
            ("transport", self._transport_check),
            ("files", self._files_check),
            ("clocks", self._clocks_check),
            ("exactness", self._exactness_check),
            ("stall", self._stall_check),
        ):
            begin(name)
            check()
        if self.is_root and self._meeting.absent:
            for process, meeting in sorted(self._meeting.absent.items()):
                self._result(
                    "processes", "FAIL", f"process {process} stopped answering, in {meeting}",
                    "it was killed, has crashed, or hangs", f"look at the output of process {process}",
                )  # fmt: skip

    def finish(self) -> None:
        """Ends the run."""
        if self._run is not None:
            self._run.finish(self._meeting.left(5.0))

    def remove(self) -> None:
        """Removes what was written, when all have read it."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            if self._is_new:
                with suppress(OSError):
                    self._log_dir.rmdir()

    @property
    def folder(self) -> Path | None:
        """Where this process writes, once it does."""
        return self._folder

    def _result(self, check: str, status: Any, what: str, why: str = "", fix: str = "", **data: Any) -> None:
        self.passed &= status != "FAIL"
        self._say(Result(check, status, what, why, fix, self.process, data))

    def _together(
        self, check: str, mine: Callable[[], dict[str, Any]], *, at: str = "", **options: Any
    ) -> dict[int, dict[str, Any]]:
        """Does this process's part, and meets the others with what it gave, or with why it failed.

        A failure of its own is said here, and on process 0 again.

        Args:
            check: which.
            mine: this process's part.
            at: the name of the meeting, where the check has several.
            options: of :meth:`Meeting.meet`.

        Returns:
            What each process has said; on process 0 only.
        """
        try:
            found = mine()
        except Failed as failed:
            found = {"failed": [failed.what, failed.why, failed.fix]}
        except Exception as error:  # noqa: BLE001 - the test goes on, and says so
            found = {"failed": [f"{type(error).__name__}: {error}"[:500], "", ""]}
        if "failed" in found and not self.is_root:
            self._result(check, "FAIL", *found["failed"])
        return self._meeting.meet(at or check, found, **options)[0]

    def _failures(self, check: str, said: Mapping[int, Mapping[str, Any]]) -> bool:
        """Says on process 0 what failed on which; returns whether anything did."""
        by_cause: dict[tuple[str, str, str], list[int]] = {}
        for process, found in sorted(said.items()):
            if "failed" in found:
                what, why, fix = found["failed"]
                by_cause.setdefault((what, why, fix), []).append(process)
        for (what, why, fix), where in by_cause.items():
            self._result(check, "FAIL", f"{wording.processes(where)}: {what}", why, fix, processes=where)
        return bool(by_cause)

    # --- transport -----------------------------------------------------------------------------------------

    def _transport_check(self) -> None:
        said = self._together("transport", self._ping, serve=self._pong)
        if not self.is_root:
            return None
        if self._failures("transport", said):
            return None
        if self.processes == 1:
            return self._result("transport", "SKIP", "one process: nothing has to travel")
        lost = {p: _TRIPS - self._pings[p] for p in range(1, self.processes) if self._pings[p] != _TRIPS}
        if lost:
            shown = ", ".join(f"{count} of process {p}" for p, count in list(lost.items())[:8])
            return self._result(
                "transport", "FAIL", f"posts did not arrive at process 0: {shown} (of {_TRIPS} each)",
                "the process is gone, or its way to the coordination service is broken",
                "look at its output; is the network between the hosts whole?",
            )  # fmt: skip
        by_process = {p: median(found["trips_ms"]) for p, found in said.items() if found.get("trips_ms")}
        slowest = max(by_process, key=lambda p: by_process[p])
        return self._result(
            "transport", "PASS",
            f"all {_TRIPS * (self.processes - 1)} posts arrived; there and back "
            f"in {median(by_process.values()):.3g} ms, {by_process[slowest]:.3g} ms from process {slowest}",
            round_trip_ms={str(p): trip for p, trip in by_process.items()},
        )  # fmt: skip

    def _ping(self) -> dict[str, Any]:
        if self.is_root:
            return {}
        trips = []
        for number in range(_TRIPS):
            sent = time.perf_counter()
            self._transport.post(_PING, json.dumps([self.process, number]).encode())
            self._meeting.hear(f"pong/{self.process}/{number}", 10.0)
            trips.append(1e3 * (time.perf_counter() - sent))
        return {"trips_ms": trips}

    def _pong(self) -> None:
        for post in self._transport.poll(_PING):
            process, number = json.loads(post)
            self._pings[process] += 1
            self._meeting.tell(f"pong/{process}/{number}", {})

    # --- files ---------------------------------------------------------------------------------------------

    def _files_check(self) -> None:
        token = f"{time.time_ns():x}"
        _, word = self._meeting.meet("folder", {}, word=lambda: self._begin_folder(token))
        token = word["token"]
        said = self._together("files", lambda: self._write(token))
        if not self.is_root or self._failures("files", said):
            return
        shared = [p for p, found in said.items() if found.get("sees_root")]
        own = sorted(set(said) - set(shared))
        slowest = max(said, key=lambda p: said[p].get("line_ms", 0.0))
        where = (
            "one shared disk" if not own else "disks of their own" if len(shared) == 1 else "several disks"
        )
        line_ms = said[slowest].get("line_ms", 0.0)
        self._result(
            "files", "PASS",
            f"{len(said)} of {self.processes} processes can write in {self._log_dir}"
            f"{f' ({where})' if self.processes > 1 else ''}; {line_ms:.2g} ms for a line"
            f"{f' on process {slowest}' if self.processes > 1 else ''}",
            fix="after a run: sightline collect RUN_DIR, to bring the files together" if own else "",
            shared=shared, own=own,
        )  # fmt: skip

    def _begin_folder(self, token: str) -> dict[str, Any]:
        """On process 0: makes the folder and leaves the token in it, before the others look."""
        try:
            folder = self._make_folder(token)
            (folder / "token").write_text(token)
        except OSError:
            pass  # said in the check itself
        return {"token": token}

    def _make_folder(self, token: str) -> Path:
        folder = self._log_dir / f".sightline-selftest-{token}"
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        return folder

    def _write(self, token: str) -> dict[str, Any]:
        try:
            folder = self._make_folder(token)
        except OSError as error:
            self._folder = Path(tempfile.mkdtemp(prefix="sightline-selftest-"))  # for the checks that follow
            raise Failed(
                f"cannot make a directory in {self._log_dir}: {error.strerror}", "a run could not be written",
                "another log_dir, or the right to write there",
            ) from error  # fmt: skip
        found = disk_checks(folder)
        for each in found:
            if each.level == "wrong":
                raise Failed(each.what, each.why, each.fix)
        end = time.monotonic() + 2.0  # a disk of the network may show a new file a little later
        while not (sees := self._sees(folder / "token", token)) and time.monotonic() < end:
            time.sleep(0.1)
        speed = next((each.data for each in found if each.check == "disk speed"), {})
        return {"sees_root": sees, "line_ms": speed.get("line_ms", 0.0)}

    @staticmethod
    def _sees(path: Path, token: str) -> bool:
        try:
            return path.read_text() == token
        except OSError:
            return False

    # --- clocks --------------------------------------------------------------------------------------------

    def _clocks_check(self) -> None:
        if self.processes == 1:
            if self.is_root:
                self._result("clocks", "SKIP", "one process: nothing to be compared with")
            return
        found: queue.SimpleQueue[Sync] = queue.SimpleQueue()
        sync = ClockSync(self._transport, lambda: "selftest", found.put, pause_s=3600.0)
        try:
            said = self._together("clocks", lambda: {} if self.is_root else self._compared(found))
        finally:
            sync.stop()
        if not self.is_root or self._failures("clocks", said):
            return
        offsets = {p: each["offset_s"] for p, each in said.items() if "offset_s" in each}
        if not offsets:
            return
        worst = max(offsets, key=lambda p: abs(offsets[p]))
        uncertain = max(each["uncertainty_s"] for each in said.values() if "offset_s" in each)
        is_off = abs(offsets[worst]) > _OFF_S
        within = f", within {wording.duration(uncertain)}" if uncertain else ": one clock"
        self._result(
            "clocks", "PASS",
            f"{len(offsets)} compared with process 0{within}; process {worst}'s time of day "
            f"is {wording.duration(abs(offsets[worst]))} {'ahead' if offsets[worst] > 0 else 'behind'}",
            "times in logs are each host's own; the timeline corrects them" if is_off else "",
            "sudo chronyc makestep on that host, or timedatectl set-ntp true" if is_off else "",
            offsets_s={str(p): each for p, each in offsets.items()}, uncertainty_s=uncertain,
        )  # fmt: skip

    def _compared(self, found: queue.SimpleQueue[Sync]) -> dict[str, Any]:
        try:
            sync = found.get(timeout=self._meeting.left(12.0))
        except queue.Empty:
            raise Failed(
                "its clock was not compared with process 0's", "process 0 did not ask in time",
                "is process 0's host overloaded? Else report it",
            ) from None  # fmt: skip
        own = time.time_ns() - (time.perf_counter_ns() - sync.perf_counter_ns)
        return {
            "offset_s": (own - sync.root_time_ns) / 1e9,
            "uncertainty_s": sync.uncertainty_ns / 1e9,
        }

    # --- exactness, and device values ----------------------------------------------------------------------

    def _exactness_check(self) -> None:
        """Records on all processes, commits once, and compares with a reference that JAX has gathered."""
        data = HostData.of(self.process)
        device: np.ndarray[Any, Any] | None = None

        def begin() -> dict[str, Any]:
            self._run = self._start()
            return {}

        def record() -> dict[str, Any]:
            nonlocal device
            assert self._run is not None
            for value in data.scalars:
                sl.scalar("selftest/scalar", float(value))
            sl.masked("selftest/masked", data.values, data.mask)
            sl.total("selftest/tokens", data.tokens)
            found: dict[str, Any] = {}
            if self.has_jax and is_whole:
                with self._bound():
                    array, device = global_array()
                sl.summary("selftest/device", array)
                found = _record_and_donate()
            self._run.commit(0)
            return found

        begun = self._together("exactness", begin, at="run")
        is_whole = self._meeting.is_whole  # else JAX's back end would wait for who is gone
        if self.is_root:
            failed = self._failures("exactness", begun)
            self._meeting.tell("begun", {"is_begun": not failed})
            if failed:
                return None
        elif not self._meeting.hear("begun", 10.0)["is_begun"]:
            return None
        said = self._together("exactness", record, at="recorded", most=40.0)
        is_whole = is_whole and self._meeting.is_whole
        references = [data]
        if self.has_jax and is_whole:
            with self._bound():
                references = gathered(data, self.processes)
        if not self.is_root:
            return None
        if self._failures("exactness", said):
            return self._result("device", "SKIP", "nothing was committed")
        if self.processes > 1 and not is_whole:  # nor is it committed before the first deadline
            self._result("exactness", "SKIP", "processes are gone: a gather would wait for them for ever")
            return self._result("device", "SKIP", "processes are gone")
        line = self._line_of(0)
        if line is None:
            return self._result(
                "exactness", "FAIL", "the step was not committed", "see process 0's disk", "sightline doctor"
            )
        self._judge_exactness(line, references, device)
        return self._judge_device(line, said)

    @contextmanager
    def _bound(self) -> Iterator[None]:
        self.is_bound = True
        yield
        self.is_bound = False

    def _judge_exactness(
        self, line: Mapping[str, Any], references: list[HostData], device: np.ndarray[Any, Any] | None
    ) -> None:
        found = compare(line["values"], line["counts"], references, device)
        if line.get("missing"):
            found.wrong.insert(0, f"{wording.processes(line['missing'])} did not post in time")
        if found.wrong:
            return self._result(
                "exactness", "FAIL", "; ".join(found.wrong[:4]),
                "a defect of sightline, or of what is below it",
                "report it, with the versions that `sightline doctor` names",
            )  # fmt: skip
        host, on_device = HOST_TOLERANCE * found.host, DEVICE_TOLERANCE * found.device
        on_devices = f", of devices by {on_device:.2g} ({DEVICE_TOLERANCE:g})" if device is not None else ""
        return self._result(
            "exactness", "PASS",
            f"all counts exact over {self.processes} process{'es' if self.processes > 1 else ''}; values off "
            f"by {host:.2g} at most (allowed: {HOST_TOLERANCE:g}){on_devices}",
            host=host, device=on_device,
        )  # fmt: skip

    def _judge_device(self, line: Mapping[str, Any], said: Mapping[int, Mapping[str, Any]]) -> None:
        if not self.has_jax:
            return self._result("device", "SKIP", "JAX is not installed", fix="pip install 'sightline[jax]'")
        wrong = []
        expected = {"selftest/nan__count": _SIZE * self.processes}
        for key, count in expected.items():
            if line["counts"].get(key) != count:
                wrong.append(f"{key} is {line['counts'].get(key)}, and must be {count}")
        noted = (line.get("nonfinite_records") or {}).get("selftest/nan") or {}
        if noted.get("nan") != _NANS * self.processes:
            wrong.append(f"{noted.get('nan', 0)} NaNs were counted of {_NANS * self.processes}")
        for name, value in (("min", float(_NANS)), ("max", _SIZE - 1.0)):
            if line["values"].get(f"selftest/nan/{name}") != value:
                wrong.append(
                    f"its {name} is {line['values'].get(f'selftest/nan/{name}')}, and must be {value}"
                )
        lost = {
            k: v
            for k, v in line["values"].items()
            if k in ("obs/failed_device_values", "obs/pending_device_values")
        }
        wrong += [f"{key} is {value}" for key, value in lost.items()]
        if wrong:
            return self._result(
                "device", "FAIL", "; ".join(wrong), "a device value was lost or is wrong",
                "report it, with the versions that `sightline doctor` names",
            )  # fmt: skip
        kinds = Counter(str(found.get("kind")) for found in said.values())
        devices = sum(int(found.get("devices", 0)) for found in said.values())
        donated = sum(bool(found.get("donated")) for found in said.values())
        slowest = max(float(found.get("record_ms", 0.0)) for found in said.values())
        return self._result(
            "device", "PASS",
            f"{devices} device{'s' if devices > 1 else ''} ({', '.join(kinds)}); recorded and given away on "
            f"the next line on {donated} of {len(said)} processes; {_NANS * self.processes} NaNs counted; "
            f"a call took {slowest:.2g} ms",
            kinds=dict(kinds), devices=devices, donated=donated, record_ms=slowest,
        )  # fmt: skip

    def _start(self) -> Run:
        folder = self._folder
        assert folder is not None
        settings = StatsLoggerConfig(
            deadline_s=self._deadline_s,
            first_deadline_s=self._meeting.left(40.0),
            logging=TextLoggingConfig(enabled=False),
            tracing=PerfTracerConfig(enabled=False),
        )
        return sl.start(
            folder, name="run", sinks=[], naming="off", logger=settings, transport=self._transport
        )

    def _lines(self) -> Iterator[dict[str, Any]]:
        assert self._run is not None
        assert self._run.dir is not None
        for line in (self._run.dir / "metrics.jsonl").read_bytes().splitlines():
            record = orjson.loads(line)
            if isinstance(record, dict):
                yield record

    def _line_of(self, step: int, kind: str = "commit", most: float = 40.0) -> dict[str, Any] | None:
        """Waits for the line of a step, on process 0."""
        end = time.monotonic() + self._meeting.left(most)
        while True:
            for record in self._lines():
                if record.get("type") == kind and record.get("step") == step:
                    return record
            if time.monotonic() > end:
                return None
            time.sleep(0.02)

    # --- a process that holds back -------------------------------------------------------------------------

    def _stall_check(self) -> None:
        """The last process holds back: its step is closed without it, no commit waits, and it comes back."""
        if self.processes == 1 or self._run is None:
            if self.is_root:
                what = "one process: nobody to wait for" if self.processes == 1 else "there is no run"
                self._result("stall", "SKIP", what)
            return None
        holder = self.processes - 1
        if self._meeting.present[-1:] != [holder] or holder in self._meeting.absent:
            if self.is_root:
                self._result("stall", "SKIP", f"process {holder}, which would hold back, is gone")
            return None
        run = self._run
        held: dict[str, Any] = {}

        def commit(step: int) -> float:
            sl.scalar("selftest/step", float(step))
            began = time.perf_counter()
            run.commit(step)
            return 1e3 * (time.perf_counter() - began)

        def part() -> dict[str, Any]:
            if self.process == holder:
                self._meeting.hear("closed", self._deadline_s + 20.0)
                return {"commit_ms": commit(1)}
            took = commit(1)
            if self.is_root:
                began = time.monotonic()
                line = self._line_of(1, most=self._deadline_s + 15.0)
                held.update(line=line, waited_s=time.monotonic() - began)
                self._meeting.tell("closed", {})
            return {"commit_ms": took}

        said = self._together("stall", part, most=self._deadline_s + 25.0)
        again = self._together("stall", lambda: {"commit_ms": commit(2)}, at="back")
        if not self.is_root or self._failures("stall", said) or self._failures("stall", again):
            return None
        if holder in self._meeting.absent:  # said by itself
            return self._result("stall", "SKIP", f"process {holder}, which held back, is gone")
        line, back = held["line"], self._line_of(2, most=self._deadline_s + 10.0)
        late = self._line_of(1, "late", most=5.0)
        slowest = max(found["commit_ms"] for found in (*said.values(), *again.values()))
        wrong = []
        if line is None:
            wrong.append("its step was never closed")
        elif line.get("missing") != [holder]:
            wrong.append(f"its step says that {line.get('missing') or 'nobody'} is missing")
        if back is None or back.get("missing"):
            missing = (
                "it was never closed" if back is None else f"{wording.processes(back['missing'])} missing"
            )
            wrong.append(f"the step after it is not whole: {missing}")
        if late is None or late.get("process") != holder:
            wrong.append("what it committed too late is not in the journal")
        if slowest > 500 * self._deadline_s:
            wrong.append(f"a commit took {slowest:.0f} ms")
        if wrong:
            return self._result(
                "stall", "FAIL", f"process {holder} held back: {'; '.join(wrong)}",
                "a host is overloaded, or a defect of sightline", "the same again with --seconds 120",
            )  # fmt: skip
        return self._result(
            "stall", "PASS",
            f"process {holder} held back: its step was closed after {held['waited_s']:.1f} s without it, no "
            f"commit took more than {slowest:.2g} ms, and it is present again",
            waited_s=held["waited_s"], commit_ms=slowest,
        )  # fmt: skip


def _record_and_donate() -> dict[str, Any]:
    """A device array with NaNs: recorded, and given away on the next line."""
    import jax
    import jax.numpy as jnp

    double = jax.jit(lambda array: 2 * array, donate_argnums=0)

    def made() -> jax.Array:
        numbers = jnp.arange(_SIZE, dtype=jnp.float32)
        return jnp.where(numbers < _NANS, jnp.nan, numbers)

    sl.summary("selftest/compiled", made())
    array = made()
    began = time.perf_counter()
    sl.summary("selftest/nan", array)
    took = 1e3 * (time.perf_counter() - began)
    double(array)
    devices = jax.local_devices()
    return {
        "donated": array.is_deleted(),
        "record_ms": took,
        "devices": len(devices),
        "kind": devices[0].device_kind,
    }
