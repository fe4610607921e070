"""What is wrong with a run, by its directory."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from sightline.doctor.counters import MEANINGS, OTHER
from sightline.doctor.findings import Check, Finding, note, ok, wrong
from sightline.doctor.host_figures import host_findings
from sightline.doctor.installation import installed, release
from sightline.doctor.journal_health import Health, Span, health_of
from sightline.doctor.process_traces import clock_findings, dropped_findings
from sightline.doctor.run_files import RunFiles, files_of
from sightline.errors import RunDirectoryError, SightlineError
from sightline.files.file_lines import Unreadable
from sightline.runs.host_health import Stall
from sightline.runs.journal import commits_between
from sightline.runs.run_directory import JOURNAL, no_journal
from sightline.runs.run_state import RunState, state_of
from sightline.sinks.jsonl import JSONLConfig, JSONLSink
from sightline.sinks.syncing import Replay
from sightline.support.foreign_numbers import whole
from sightline.support.foreign_text import quoted
from sightline.support.wording import ago, counted, duration, processes, size

_SHOWN = 8
_BEHIND = 100  # commits that a sink of a live run may be behind


class ARun:
    """The checks of one run; what they read is read once.

    Args:
        directory: of the run.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state: RunState = state_of(directory)
        if not (directory / JOURNAL).exists() and any(directory.glob(f"*/{JOURNAL}")):
            raise RunDirectoryError(no_journal(directory))
        self._name = quoted(directory)
        self._health: Health | None = None
        self._files: RunFiles | None = None

    def checks(self) -> list[Check]:
        """In the order in which they are shown; of a journal that a newer sightline wrote nothing is told."""
        if self.state.newer:
            return [
                ("journal", self.newer_check),
                ("lock", self.lock_check),
                ("space", self.space_check),
                ("run.json", self.versions_check),
            ]
        return [
            ("state", self.state_check),
            ("lock", self.lock_check),
            ("journal", self.journal_check),
            ("attempts", self.attempts_check),
            ("processes", self.processes_check),
            ("stalls", self.stalls_check),
            ("late", self.late_check),
            ("counts", self.counts_check),
            ("sinks", self.sinks_check),
            ("files", self.files_check),
            ("newer", self.newer_files_check),
            ("clocks", lambda: clock_findings(self.directory, self._name)),
            ("dropped", lambda: dropped_findings(self.directory, self._name)),
            ("offline", self.offline_check),
            ("hosts", lambda: host_findings(self.health.hosts.of, self.state)),
            ("space", self.space_check),
            ("versions", self.versions_check),
        ]

    @property
    def health(self) -> Health:
        """Of the journal; empty if there is none."""
        if self._health is None:
            path = self.directory / JOURNAL
            self._health = health_of(path) if path.exists() else Health()
        return self._health

    @property
    def files(self) -> RunFiles:
        """What lies in the directory."""
        if self._files is None:
            self._files = files_of(self.directory)
        return self._files

    @property
    def absent(self) -> list[int]:
        """Processes of the latest attempt of which no files are here."""
        here = self.files.processes.get(self.state.attempt, set()) or set().union(
            *self.files.processes.values()
        )
        expected = self.expected
        return sorted(set(range(expected)) - here) if expected > 1 or here else []

    @property
    def expected(self) -> int:
        """How many processes there are, as far as journal and files tell."""
        return max(self.state.processes, self.files.expected)

    # --- the run -------------------------------------------------------------------------------------------

    def state_check(self) -> list[Finding]:
        state = self.state
        of = f" of {state.total_steps - 1}" if state.total_steps else ""
        where = f"step {state.last_step}{of}" if state.last_step is not None else "no step yet"
        if state.last_commit is not None:
            where += f", committed {ago(time.time() - state.last_commit)}"
        data = {
            "state": state.state,
            "attempt": state.attempt,
            "step": state.last_step,
            "total": state.total_steps,
            "processes": state.processes,
            "last_commit": state.last_commit,
            "step_s": state.step_s,
        }
        if state.state == "crashed":
            return [
                wrong(
                    "state",
                    f"crashed: {where}",
                    f"{state.reason}{self._last_words()}",
                    "start it again with resume='must' and its checkpoint's state_dict"
                    if state.last_step is not None
                    else "start it again with resume='allow': there is no step to go on from",
                    data,
                )
            ]
        if state.state == "stalled":
            who = state.missing[0] if state.missing else 0
            return [
                wrong(
                    "state",
                    f"stalled: {where}",
                    state.reason + self._stuck(),
                    f"tail {self._name}/logs/p{who:05d}.*.log",
                    data,
                )
            ]
        if state.state == "unknown":
            say = note if self.files.processes else wrong
            return [
                say(
                    "state",
                    state.reason,
                    "",
                    "look on process 0's host"
                    if self.files.processes
                    else "give a run's own directory, as in runs/latest",
                    data,
                )
            ]
        if state.state == "failed":
            return [
                wrong(
                    "state",
                    f"failed: {where}",
                    f"{state.error} ended it",
                    f"sightline logs {self._name} --tail 50 --level warning",
                    data,
                )
            ]
        if state.state == "finished" and state.missing:
            return [
                note(
                    "state",
                    f"finished without {processes(state.missing)}: {where}",
                    "they had not ended when the root did",
                    f"tail {self._name}/logs/p{state.missing[0]:05d}.*.log",
                    data,
                )
            ]
        return [ok("state", f"{state.state}: {where}; {state.reason}", data=data)]

    def _last_words(self) -> str:
        """The last line of process 0's log, if it is a warning or worse."""
        for path in sorted((self.directory / "logs").glob("p00000.*.log"), reverse=True)[:1]:
            with open(path, "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
                lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
            for line in reversed(lines):
                if any(f" {level} " in line for level in ("ERROR", "CRITICAL")):
                    return f"; its log ends with: {line[:2000]}"
        return ""

    def _stuck(self) -> str:
        """Where those who are waited for said that they were."""
        stall = self.health.stalls.current
        if stall is None:
            return ""
        now = time.time() if self.state.is_live else None
        return "".join(f"; {each}" for each in _places(stall, now))

    def lock_check(self) -> list[Finding]:
        lock, state = self.state.lock, self.state
        holder = f"process {lock.pid} on {lock.host}" if lock.pid is not None else "a process"
        data = {"held": lock.is_held, "pid": lock.pid, "host": lock.host}
        if lock.is_held and not state.is_live and state.state != "unknown":
            return [
                note(
                    "lock",
                    f"{holder} holds the directory, which is not the run",
                    "`sightline sync` does so, and lets it go at its end",
                    f"ps -p {lock.pid}",
                    data,
                )
            ]
        if lock.is_held:
            return [ok("lock", f"held by {holder}", data=data)]
        if lock.is_held is None and lock.pid is not None:
            return [
                note(
                    "lock",
                    lock.why,
                    "two runs could write one journal",
                    "a log_dir on a file system with locks",
                    data,
                )
            ]
        return [ok("lock", "free" if lock.is_held is False else "none", data=data)]

    # --- the journal ---------------------------------------------------------------------------------------

    def newer_check(self) -> list[Finding]:
        """In the place of all that is told of a journal."""
        return [
            wrong(
                "journal",
                f"it has format {self.state.newer}, which this sightline does not read",
                "a newer version wrote it, so nothing that it says is told here",
                "pip install --upgrade sightline",
                {"format": self.state.newer},
            )
        ]

    def journal_check(self) -> list[Finding]:
        health = self.health
        if not health.size:
            return []
        data = {
            "bytes": health.size,
            "lines": dict(health.kinds),
            **health.unreadable.plain(),
            "cut_bytes": health.cut,
            "lost_commits": health.lost,
            "skipped_bytes": health.skipped,
        }
        found = []
        if health.newer:
            found.append(
                wrong(
                    "journal",
                    f"it has format {health.newer}, which this sightline does not read",
                    "a newer version wrote it",
                    "pip install --upgrade sightline",
                    data,
                )
            )
        if self.state.cut:
            found.append(
                note(
                    "journal",
                    self.state.cut,
                    "the run was killed while it wrote; readers leave the line out",
                    "nothing: resume removes it",
                    data,
                )
            )
        lost, odd = replace(health.unreadable, odd=0), Unreadable(odd=health.unreadable.odd)
        if lost:
            found.append(
                wrong(
                    "journal",
                    lost.said(),
                    "the machine crashed, or somebody edited it; readers pass over what is damaged",
                    f"sinks may have what is lost; keep {self._name} as it is",
                    data,
                )
            )
        if odd:
            found.append(
                wrong(
                    "journal",
                    odd.said(),
                    "somebody edited it, or another program wrote it",
                    f"keep {self._name} as it is, and what wrote into it away",
                    data,
                )
            )
        if health.backwards:
            found.append(
                wrong(
                    "journal",
                    f"{counted(health.backwards, 'commit has', 'commits have')} a number of an earlier one",
                    "two runs wrote it, or files were put together",
                    "start such a run under another name",
                    data,
                )
            )
        if health.lost:
            found.append(
                wrong(
                    "journal",
                    f"{counted(health.lost, 'commit is', 'commits are')} not in it",
                    "the disk refused them, or a part of the file is gone",
                    f"df -h {self._name}; sinks may have them",
                    data,
                )
            )
        if health.gaps:
            found.append(
                note(
                    "journal",
                    f"numbers of commits leave {counted(len(health.gaps), 'gap')}",
                    "an attempt ended without saying so; a sink may hold commits that are not here",
                    "nothing: numbers are never used twice",
                    {**data, "gaps": health.gaps},
                )
            )
        part = f", of which the last {size(health.size - health.skipped)} were read" if health.skipped else ""
        said = f"{counted(health.commits, 'commit')} in {size(health.size)}{part}"
        return found or [ok("journal", said, data=data)]

    def attempts_check(self) -> list[Finding]:
        if not self.health.attempts:
            return []
        parts = []
        for number, (_, steps) in sorted(self.health.attempts.items())[-_SHOWN:]:
            parts.append(f"{number}: {steps.steps or 'no step'}")
        said = f"{self.state.attempt} ({'; '.join(parts)})"
        return [ok("attempts", said, data={"attempts": self.state.attempt})]

    def processes_check(self) -> list[Finding]:
        health, found = self.health, []
        for process, span in sorted(health.missing.items())[:_SHOWN]:
            is_gone = process in health.missing_now
            log = f"{self._name}/logs/p{process:05d}.*.log"
            found.append(
                Finding(
                    "processes",
                    "wrong" if is_gone else "note",
                    f"process {process} was missing in {_times(span)}"
                    f"{', and has not come back' if is_gone else ', and came back'}",
                    "the step was closed at its deadline without it",
                    f"tail {log}  # on its host",
                    {
                        "process": process,
                        "commits": span.count,
                        "first": span.first,
                        "last": span.last,
                        "is_back": not is_gone,
                    },
                )
            )
        if len(health.missing) > _SHOWN:
            found.append(
                note(
                    "processes",
                    f"{len(health.missing) - _SHOWN} more processes were missing now and then",
                    fix=f"sightline doctor {self._name} --json",
                    data={"missing": sorted(health.missing)},
                )
            )
        if not found and health.commits:
            found = [ok("processes", f"all were in every commit ({self.state.processes})")]
        return found

    def stalls_check(self) -> list[Finding]:
        """Those that are over; one that goes on is in the state."""
        past = [each for each in self.health.stalls.found if each.seconds is not None]
        if not past:
            return []
        longest = max(past, key=lambda each: each.seconds or 0.0)
        step = "" if longest.step is None else f", before step {longest.step}"
        waited = f", for {processes(longest.waiting_for)}" if longest.waiting_for else ""
        what = f"{counted(len(past), 'stall')}; the longest took {duration(longest.seconds)}{step}{waited}"
        data = [each._asdict() | {"places": sorted(each.places)} for each in past[-_SHOWN:]]
        why = "; ".join(_places(longest)) or "where they were is not known"
        return [note("stalls", what, why, f"sightline logs {self._name} --level warning", {"stalls": data})]

    def late_check(self) -> list[Finding]:
        late = self.health.late
        if not late:
            return []
        meaning = MEANINGS["late_snapshots"]
        who = ", ".join(
            f"process {p}: {span.count} ({span.steps})" for p, span in sorted(late.items())[:_SHOWN]
        )
        return [
            note(
                "late",
                f"{meaning.said(sum(each.count for each in late.values()))}: {who}",
                meaning.why,
                meaning.fix.format(run=self._name),
                {str(p): span.count for p, span in late.items()},
            )
        ]

    def counts_check(self) -> list[Finding]:
        found = []
        for name, span in sorted(self.health.obs.items()):
            if name == "late_snapshots" and self.health.late:
                continue
            meaning = MEANINGS.get(name, OTHER)
            why = meaning.why + (self._places() if name == "nonfinite" else "")
            found.append(
                Finding(
                    f"obs/{name}",
                    meaning.level,
                    f"{meaning.said(span.count)} ({span.steps})",
                    why,
                    meaning.fix.format(run=self._name),
                    {"count": span.count, "first": span.first, "last": span.last},
                )
            )
        if not found and self.health.commits:
            found = [ok("obs/*", "nothing was counted as gone wrong")]
        return found

    def _places(self) -> str:
        """Where the first NaNs come from."""
        parts = []
        for key, event in list(self.health.nonfinite.items())[:3]:
            listed = event.get("processes")
            where = [each for each in listed if whole(each) is not None] if isinstance(listed, list) else []
            site = f" at {event['site']}" if event.get("site") else ""
            parts.append(
                f"{key} first in step {event.get('step')}{f' on {processes(where)}' if where else ''}{site}"
            )
        more = len(self.health.nonfinite) - 3
        return f"; {'; '.join(parts)}{f'; {more} more keys' if more > 0 else ''}" if parts else ""

    # --- sinks ---------------------------------------------------------------------------------------------

    def sinks_check(self) -> list[Finding]:
        health = self.health
        found = []
        cursors = self._cursors()
        stores = {name for name, (_, stores) in health.sinks.items() if stores}
        for name in sorted({*cursors, *stores, *health.sinks}):
            errors = health.sinks.get(name, (Span(), False))[0]
            if name not in cursors and name not in stores:
                if errors.count:
                    found.append(
                        note(
                            "sink",
                            f"{name} failed {counted(errors.count, 'time')} ({errors.steps})",
                            "it stores nothing; the log says why",
                            f"grep -h 'sink {name}' {self._name}/logs/*.log",
                            {"sink": name, "errors": errors.count},
                        )
                    )
                continue
            at = cursors.get(name, 0)
            behind = commits_between(at, health.last_seq, health.gaps)
            data = {"sink": name, "behind": behind, "seq": at, "errors": errors.count}
            trouble = f"; it failed {counted(errors.count, 'time')} ({errors.steps})" if errors.count else ""
            if name == "jsonl" and not self.state.is_live:
                found.append(self._rows_found(trouble, data))
                continue
            if behind and not self.state.is_live:
                found.append(
                    wrong(
                        "sink",
                        f"{name} is {counted(behind, 'commit')} behind, by its cursor{trouble}",
                        "the run ended before it had stored them; the journal has them",
                        f"sightline sync {self._name} --to {shlex.quote(name)}",
                        data,
                    )
                )
            elif behind > _BEHIND or (behind and errors.count):
                found.append(
                    note(
                        "sink",
                        f"{name} is {counted(behind, 'commit')} behind{trouble}",
                        "it gets them as soon as it takes them again; training does not wait",
                        f"grep -h 'sink {name}' {self._name}/logs/*.log",
                        data,
                    )
                )
            else:
                found.append(ok("sink", f"{name} has {_all_but(behind)}{trouble}", data=data))
        return found

    def _rows_found(self, trouble: str, data: dict[str, Any]) -> Finding:
        """What the file of the sink ``jsonl`` has, whatever its cursor says."""
        section = (self.facts.get("sightline") or {}).get("jsonl")
        try:
            sink = JSONLSink(JSONLConfig(**section) if isinstance(section, dict) else None)
            replay = Replay(self.directory, sink)
            lacks = replay.missing()
        except (SightlineError, TypeError, OSError) as error:
            return note("sink", f"the rows of jsonl cannot be looked at: {error}", data=data)
        data = {**data, "behind": lacks.commits}
        if not lacks.commits and not replay.damage:
            return ok("sink", f"jsonl has everything{trouble}", data=data)
        said = f"jsonl lacks {counted(lacks.commits, 'commit')}, by its file"
        why = (
            replay.damage
            or "the run ended before it had stored them, or somebody has cut or removed the file"
        )
        fix = f"sightline sync {self._name} --to jsonl" if lacks.commits else f"keep {self._name} as it is"
        return wrong("sink", said + trouble, why, fix, data)

    def _cursors(self) -> dict[str, int]:
        """By sink the ``seq`` up to which it has stored the run; of its latest fork."""
        found: dict[str, int] = {}
        for path in sorted((self.directory / "cursors").glob("*.json")):
            name = path.stem.partition(".fork")[0]
            try:
                cursor = orjson.loads(path.read_bytes())
                if self.state.run_id in (None, cursor["run_id"]):
                    found[name] = max(found.get(name, 0), int(cursor["seq"]))
            except (ValueError, TypeError, LookupError):
                found.setdefault(name, 0)
        return found

    def offline_check(self) -> list[Finding]:
        found = []
        waiting = [each for each in self.files.wandb_offline if not each.is_uploaded]
        if waiting:
            folder = shlex.quote(str(waiting[0].path.parent))
            found.append(
                note(
                    "offline",
                    f"{counted(len(waiting), 'W&B run is', 'W&B runs are')} on disk only",
                    "they were written offline",
                    f"wandb sync {folder}/offline-run-*  # or: sightline sync {self._name} --to wandb --set "
                    "wandb.mode=online",
                    {"sink": "wandb", "runs": [str(each.path) for each in waiting[:64]]},
                )
            )
        if self.files.swanlab_runs and not self._swanlab_is_online():
            folder = shlex.quote(str(self.files.swanlab_runs[0].parent))
            found.append(
                note(
                    "offline",
                    f"{counted(len(self.files.swanlab_runs), 'SwanLab run is', 'SwanLab runs are')} on disk; "
                    "SwanLab does not note there what was uploaded",
                    "they were written offline",
                    f"swanlab sync {folder}/run-*",
                    {"sink": "swanlab", "runs": [str(each) for each in self.files.swanlab_runs[:64]]},
                )
            )
        return found

    def _swanlab_is_online(self) -> bool:
        section = (self.facts.get("sightline") or {}).get("swanlab")
        return isinstance(section, dict) and section.get("mode") == "online"

    # --- files ---------------------------------------------------------------------------------------------

    def files_check(self) -> list[Finding]:
        absent, expected = self.absent, self.expected
        data = {"here": sorted(set(range(expected)) - set(absent)), "absent": absent, "expected": expected}
        if not expected:
            return []
        if absent and self.state.state in ("crashed", "failed") and self.state.last_step is None:
            return [
                note(
                    "files",
                    f"files of {expected - len(absent)} of {expected} processes are here, "
                    f"without {processes(absent)}",
                    "the run ended before its first commit: as a rule they never began",
                    "look at what they printed where they were started",
                    data,
                )
            ]
        if absent:
            return [
                note(
                    "files",
                    f"files of {expected - len(absent)} of {expected} processes are here, "
                    f"without {processes(absent)}",
                    "each host has a disk of its own, or they wrote none",
                    f"sightline collect {self._name} FROM…",
                    data,
                )
            ]
        if not self.files.processes:
            return [ok("files", "no files of processes: neither logs nor traces", data=data)]
        return [ok("files", f"files of all processes are here ({expected})", data=data)]

    def newer_files_check(self) -> list[Finding]:
        newer = self.files.newer
        if not newer:
            return []
        shown = ", ".join(f"{path} ({written})" for path, written in newer[:3])
        more = f" and {len(newer) - 3} more" if len(newer) > 3 else ""
        return [
            wrong(
                "files",
                f"{counted(len(newer), 'file is', 'files are')} of a newer format, which is not read here: "
                f"{shown}{more}",
                "a newer version wrote them; what they say is left out",
                "pip install --upgrade sightline",
                {"newer": {str(path): written for path, written in newer}},
            )
        ]

    def space_check(self) -> list[Finding]:
        kinds, largest = self.files.by_kind, self.files.largest
        total = sum(kinds.values())
        shown = ", ".join(
            f"{name} {size(count)}" for name, count in sorted(kinds.items(), key=lambda each: -each[1])[:5]
        )
        biggest = f"; the largest is {largest[0][1]} ({size(largest[0][0])})" if largest else ""
        data = {"bytes": kinds, "largest": [{"path": str(path), "bytes": count} for count, path in largest]}
        disk = os.statvfs(self.directory)
        free = disk.f_bavail * disk.f_frsize
        if self.state.is_live and free < max(256 << 20, total // 10):
            return [
                wrong(
                    "space",
                    f"{size(free)} are free, and the run has {size(total)}: {shown}{biggest}",
                    "what the disk refuses waits in memory, and is lost beyond 64 MiB",
                    f"du -ah {self._name} | sort -h | tail",
                    data,
                )
            ]
        part = f" (of more than {self.files.count} files)" if self.files.is_partial else ""
        return [ok("space", f"{size(total)}{part}: {shown}{biggest}" if total else "empty", data=data)]

    def versions_check(self) -> list[Finding]:
        versions = self.facts.get("versions")
        if not isinstance(versions, dict):
            if self.state.state == "unknown":
                return []
            return [
                note(
                    "run.json",
                    "run.json is missing or cannot be read",
                    "the root could not write it, or this is a part of the run",
                    f"ls -l {self._name}",
                )
            ]
        had, have = versions.get("sightline"), installed("sightline")
        if isinstance(had, str) and have is not None and release(had) > release(have):
            return [
                note(
                    "run.json",
                    f"sightline {had} wrote it, and this is {have}",
                    "what the newer one writes may be left out",
                    f"pip install 'sightline>={had}'",
                    {"versions": versions},
                )
            ]
        said = ", ".join(
            f"{name} {version}"
            for name, version in versions.items()
            if name in ("python", "sightline", "jax")
        )
        return [ok("run.json", f"written by {said}", data={"versions": versions})]

    @property
    def facts(self) -> Mapping[str, Any]:
        """What ``run.json`` says; empty if it cannot be read."""
        try:
            found = orjson.loads((self.directory / "run.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def _places(stall: Stall, now: float | None = None) -> list[str]:
    """Where processes said that they were, and who could not; while it goes on, for how long by now."""
    is_over = now is None
    can = "could not" if is_over else "cannot"
    silent = [f"{processes(stall.silent)} {can} say where"] if stall.silent else []
    return [*(each.told(now, is_over=is_over) for each in stall.told[:3]), *silent]


def _times(span: Span) -> str:
    return (
        f"{counted(span.count, 'commit')} ({span.steps})" if span.count > 1 else f"one commit ({span.steps})"
    )


def _all_but(behind: int) -> str:
    return f"all but {counted(behind, 'commit')}" if behind else "everything"
