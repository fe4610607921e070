"""A W&B run, written by W&B's SDK: what the W&B sink's child process does.

The axis of all metrics is our ``step``. W&B's own axis ``_step``, which must never go back (W&B leaves out a
row that does), is the same as long as ours does not.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sightline.sinks.base import Record, SinkRun
from sightline.sinks.commits import SEQ, together, values_of
from sightline.sinks.lineage import Rewind
from sightline.sinks.names import Names
from sightline.sinks.wandb import WandbConfig
from sightline.sinks.wandb_file import last_row, mentions
from sightline.support.redaction import redacted

log = logging.getLogger("sightline")

_MOST_BINS = 512
_LONGEST = 1 << 20  # characters of a key


class WandbRun:
    """A sink that stores: its run in one process, once opened.

    Args:
        config: which run, and how; its mode is set.
    """

    name = "wandb"
    stores_at_close = True

    def __init__(self, config: WandbConfig) -> None:
        self.rewind: Rewind = config.rewind
        self._config = config
        self._run: Any = None
        self._is_shared = config.mode == "shared"
        self._folder = Path()
        self._resume_hint = ""
        self._step: int | None = None  # ours, of the last row
        self._row = -1  # W&B's
        self._seq = 0  # of the last commit that W&B was given
        self._names = _names({})
        self._has_written = False
        self._failed = False

    def open(self, run: SinkRun) -> int | None:
        """Begins the run or goes on with it; returns the ``seq`` of the last commit that it has."""
        self._folder = Path(self._config.dir or run.dir).absolute()
        self._resume_hint = f"sightline sync {run.dir} --to wandb"
        id_ = self._id(run)
        stored: int | None = None
        if self._config.mode != "offline" and self._begin_online(run, id_):
            stored = self._asked()
            run.kept["is_online"] = True
        else:
            stored, self._row = self._read(id_, run.run_id)
            self._begin(run, "offline", id_)
        run.kept["id"] = self._run.id
        self._names = _names(run.kept.setdefault("names", {}))
        self._seq = stored or 0
        return stored

    def write(self, records: Sequence[Record]) -> None:
        """Hands each commit to W&B. Commits of one step share a row."""
        self._failed |= any(record.get("event") == "failed" for record in records)
        names = self._names
        for commit, histograms, samples in together(records):
            step, seq = commit["step"], commit["seq"]
            row = {
                **{names[key]: value for key, value in values_of(commit).items()},
                **{names[key]: text for key, text in (commit.get("texts") or {}).items()},
                **{names[line["key"]]: _histogram(line["counts"], line["edges"]) for line in histograms},
                **{f"samples/{line['table']}": _table(step, line["rows"]) for line in samples},
                **{"step": step, SEQ: seq, "_timestamp": commit["time"]},
            }
            self._run.log(row, **({} if self._is_shared else {"step": self._row_of(step)}))
            self._seq, self._has_written = seq, True

    def close(self) -> None:
        """Waits until all is stored.

        Raises:
            TimeoutError: the server did not take it in time.
            OSError: it is not all in W&B's file.
        """
        self._finish(1 if self._failed else 0)

    def abandon(self) -> None:
        """The same, when training was cut off."""
        self._finish(1)

    def _finish(self, exit_code: int) -> None:
        run, self._run = self._run, None
        if run is None:
            return
        is_offline, file = run.offline, Path(run.settings.sync_file)
        try:
            run.finish(exit_code=exit_code)
        except TimeoutError:
            raise TimeoutError(
                f"the server has not taken everything within {self._config.finish_timeout_s:g} s; "
                f"to bring up the rest: {self._resume_hint}"
            ) from None
        _sdk().teardown()  # waits for W&B's service, which closes the file
        if is_offline and self._has_written:
            row = last_row(file, SEQ)
            stored = int(row[SEQ]) if row else 0
            if stored < self._seq:
                raise OSError(
                    f"W&B has stored the commits up to {stored} of {self._seq} in {file}; to bring up the "
                    f"rest: {self._resume_hint}"
                )

    # --- beginning -----------------------------------------------------------------------------------------

    def _id(self, run: SinkRun) -> str:
        suffix = _fork_suffix(run)
        if self._config.id is not None:
            return self._config.id + suffix
        return str(run.kept.get("id") or (os.environ.get("WANDB_RUN_ID") or run.run_id) + suffix)

    def _begin_online(self, run: SinkRun, id_: str) -> bool:
        """Whether there is an API key to do it with."""
        before = _run_folders(self._folder)
        try:
            self._begin(run, str(self._config.mode), id_)
        except Exception as error:
            for folder in _run_folders(self._folder) - before:  # or an outage leaves hundreds
                shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, _sdk().errors.UsageError) and _is_about_the_key(error):
                log.warning(
                    "sightline: sink wandb is offline, since there is no API key (%s). To bring the run up "
                    "later: wandb login, and %s", redacted(str(error)), self._resume_hint,
                )  # fmt: skip
                return False
            raise
        return True

    def _begin(self, run: SinkRun, mode: str, id_: str) -> None:
        config = self._config
        if mode == "offline":
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # is offline too
        # Tables wait there to be uploaded: in the home directory they might not outlive the machine.
        os.environ.setdefault("WANDB_DATA_DIR", str(self._folder / "wandb" / "data"))
        wanted = {
            "console": "off",
            "silent": True,
            "quiet": True,
            "save_code": False,
            "disable_code": True,
            "disable_git": True,  # run.facts has it
            "disable_job_creation": True,
            "label_disable": True,
            "x_save_requirements": False,
            "x_disable_meta": not config.system_metrics,
            "x_disable_machine_info": not config.system_metrics,
            "x_disable_stats": not config.system_metrics,
            "x_stats_pid": os.getppid(),  # training
            "init_timeout": config.init_timeout_s,
            "finish_timeout": config.finish_timeout_s,
            "finish_timeout_raises": True,
            "stop_fn": lambda: None,
        }
        # What people may have changed at the server since the run began there.
        shown: dict[str, Any] = {
            "name": (config.name or run.name) + _fork_suffix(run),
            "notes": redacted(config.notes),
            "tags": redacted(list(config.tags)) or None,
        }
        if mode != "offline" and run.kept.get("is_online"):
            shown = {}
        sdk = _sdk()
        known = sdk.Settings.model_fields
        self._run = sdk.init(
            mode=mode,
            id=id_,
            project=config.project,
            entity=config.entity,
            group=config.group,
            job_type=config.job_type,
            dir=str(self._folder),
            config=run.described(),
            resume="allow",
            **shown,
            settings=sdk.Settings(**{name: value for name, value in wanted.items() if name in known}),
        )
        if Path(self._run.settings.root_dir) != self._folder:  # it goes to /tmp, without a word
            raise OSError(f"W&B cannot write to {self._folder}")
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
        self._run.define_metric(SEQ, hidden=True)

    # --- what is stored ------------------------------------------------------------------------------------

    def _read(self, id_: str, run_id: str) -> tuple[int, int]:
        """The last ``seq`` and the last ``_step`` in the run's files of all attempts; 0 and -1 for none.

        Another run with the same W&B id and folder counts for ``_step``, which both share, alone.
        """
        seq, row = 0, -1
        for path in run_files(self._folder, id_):
            found = last_row(path, SEQ)
            if found is not None:
                row = max(row, int(found.get("_step", -1)))
                if mentions(path, run_id):
                    seq = max(seq, int(found[SEQ]))
        return seq, row

    def _asked(self) -> int | None:
        """The last ``seq`` that the server has; None if it does not say."""
        run = self._run
        if not run.resumed:
            return 0
        self._row = int(run.starting_step) - 1
        summary = dict(run.summary)
        if summary.get("_step") == self._row and SEQ in summary:
            return int(summary[SEQ])  # the summary is of the last row that has arrived
        try:
            api = _sdk().Api(timeout=20)
            scan = api.run(run.path).scan_history
            try:
                found = scan(keys=[SEQ], use_cache=False)
            except TypeError:  # an older version, which has no cache
                found = scan(keys=[SEQ])
            return max((int(each[SEQ]) for each in found), default=0)
        except Exception as error:  # noqa: BLE001 - whatever there is in the way
            log.warning(
                "sightline: sink wandb: the server does not say what it has (%s)", redacted(str(error))
            )
            return None

    def _row_of(self, step: int) -> int:
        if step != self._step:
            self._step, self._row = step, max(step, self._row + 1)
        return self._row


def make(settings: Mapping[str, Any]) -> WandbRun:
    """From plain data."""
    return WandbRun(WandbConfig(**settings))


def run_files(folder: Path, id_: str) -> list[Path]:
    """W&B's files of a run, of all attempts, in a folder of ``dir=``."""
    found = (each / f"run-{id_}.wandb" for each in _run_folders(folder))
    return sorted(path for path in found if path.exists())


def _run_folders(folder: Path) -> set[Path]:
    folders = (each for place in ("wandb", ".wandb") for each in (folder / place).glob("*run-*"))
    return {each for each in folders if not each.is_symlink()}


def _names(kept: dict[str, str]) -> Names:
    """Keys as they are, but for one that is called as ours."""
    return Names("wandb", str, longest=_LONGEST, taken=[SEQ], kept=kept)


def _sdk() -> Any:
    import wandb

    return wandb


def _fork_suffix(run: SinkRun) -> str:
    return f"-fork{run.fork:02d}" if run.fork else ""


def _is_about_the_key(error: Exception) -> bool:
    return re.search(r"api.?key", str(error), re.IGNORECASE) is not None


# --- a commit's parts as W&B has them ----------------------------------------------------------------------


def _histogram(counts: Sequence[int], edges: Sequence[float]) -> Any:
    """With neighbouring bins put together, if there are more than W&B takes."""
    each = -(-len(counts) // _MOST_BINS)
    return _sdk().Histogram(
        np_histogram=(
            [sum(counts[i : i + each]) for i in range(0, len(counts), each)],
            [*edges[:-1:each], edges[-1]],
        )
    )


def _table(step: int, rows: Sequence[Mapping[str, Any]]) -> Any:
    """The rows of one commit; W&B puts the tables of a key together by their steps."""
    columns = list(dict.fromkeys(column for row in rows for column in row if column != "step"))
    return _sdk().Table(
        columns=["step", *columns],
        data=[[step, *(row.get(column) for column in columns)] for row in rows],
        allow_mixed_types=True,
    )
