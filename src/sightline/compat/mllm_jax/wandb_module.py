"""An object that behaves like the ``wandb`` module, and writes to the journal of a run."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sightline.committing.facts import plain, redacted
from sightline.compat.mllm_jax import media, wandb_errors
from sightline.compat.mllm_jax.logged_values import as_stats, flattened, say_left_out, without_folders
from sightline.compat.mllm_jax.saying import log, say_once
from sightline.config import StatsLoggerConfig
from sightline.errors import RunDirectoryError
from sightline.jax.distributed import backend_is_running, distributed
from sightline.posting.sample_files import SampleFiles
from sightline.run import Run, start
from sightline.support.foreign_text import quoted
from sightline.values.samples import block_of

#: Old names are what is wanted, the runner prints for itself, and what it logs is process 0's alone.
SETTINGS = StatsLoggerConfig(log_dir="runs", sinks=(), naming="off", transport="local")

_OFF = {"disabled", "disable", "off"}
_ON = {"online", "offline", "shared"}


def maybe_init_wandb(
    *,
    cfg: Any,
    project: str,
    name: str | None,
    mode: str,
    process_index: int | None = None,
    settings: StatsLoggerConfig = SETTINGS,
) -> JournalWandb | None:
    """What a runner takes for the ``wandb`` module: its ``log`` calls go to the journal of a run.

    The run lies in ``<log_dir>/<project>/<name>``; a name that is taken gets the time behind it. Best effort:
    what goes wrong is logged, and None comes back.

    Args:
        cfg: the run's configuration, for ``run.json`` and ``wandb.config``; credentials are taken out.
        project, name: as for W&B.
        mode: ``"online"`` or ``"offline"``, which are one here, since nothing is uploaded; ``"disabled"``,
            ``"disable"`` and ``"off"`` give None.
        process_index: None: found out, without starting a back end of JAX.
        settings: of the run; what is above comes first. ``dataclasses.replace(SETTINGS, ...)`` changes some.

    Returns:
        None on every process but the first, and when it is off.

    Example:
        >>> import dataclasses, sightline as sl, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     here = dataclasses.replace(SETTINGS, log_dir=folder)
        ...     wandb = maybe_init_wandb(cfg={"lr": 0.1}, project="p", name="n", mode="online", settings=here)
        ...     wandb.log({"train-other/loss": 0.5}, step=3)
        ...     wandb.finish()
        ...     [(r["step"], r["values"]) for r in sl.read_journal(f"{folder}/p/n") if r["type"] == "commit"]
        [(3, {'train-other/loss': 0.5})]
    """
    try:
        if (_process() if process_index is None else int(process_index)) != 0:
            return None
        mode = _mode(mode)
        if mode in _OFF:
            return None
        wandb = JournalWandb(settings)
        wandb._open(project=project, name=name, config=cfg, mode=mode)
    except Exception as error:  # noqa: BLE001 - the helper that this stands for is best effort too
        log.warning("sightline: wandb calls are not kept: no run could be started: %s", error)
        return None
    return wandb if wandb._run is not None else None


class JournalWandb:
    """The ``wandb`` module's calls that training loops make, over a sightline run. No call raises.

    ``log(data, step=, commit=)`` counts steps as W&B does, and each call is a line of the journal at once.
    Nested dicts are flattened with dots; what a journal does not hold is degraded as :func:`as_stats` says,
    and the rows of a ``Table`` are kept in ``samples/`` of the run directory. The media are classes, and
    ``errors`` has exceptions, for ``isinstance`` and ``except``.
    ``init`` gives the run that is open, or a new one after ``finish``, but with ``mode="disabled"`` none;
    ``run`` is this object while it is open, and None after. Other names of the module give objects that do
    nothing, and say so once.

    Attributes:
        config: a dict whose keys are attributes too; what ``update`` changes is an event of the journal.
        summary: the latest value of each key; what is set is an event of the journal.
        id, name, project, mode, dir: of the run. ``url`` and ``entity`` are None.
    """

    Audio, Histogram, Html, Image = media.Audio, media.Histogram, media.Html, media.Image
    Molecule, Object3D, Plotly, Video = media.Molecule, media.Object3D, media.Plotly, media.Video
    Table = media.Table
    errors = wandb_errors
    Error, CommError, UsageError = wandb_errors.Error, wandb_errors.CommError, wandb_errors.UsageError
    url = None
    entity = None

    def __init__(self, settings: StatsLoggerConfig = SETTINGS) -> None:
        self._settings = settings
        self._run: Run | None = None
        self._lock = threading.Lock()
        self._step = 0
        self._tables = SampleFiles(self._place, process=0, processes=1)
        self.config = Config(partial(self._note, "config"))
        self.summary = Summary(partial(self._note, "summary"))
        self.project: str | None = None
        self.name: str | None = None
        self.mode = "disabled"
        self._off = False  # whether nothing is to be kept, since `init` was told so

    # --- the run -------------------------------------------------------------------------------------------

    def init(
        self,
        *_: Any,
        project: str | None = None,
        name: str | None = None,
        config: Any = None,
        mode: str | None = None,
        **__: Any,
    ) -> JournalWandb:
        """The open run; after ``finish`` a new one, or none where ``mode`` is off.

        Other arguments of W&B's are not needed here.
        """
        try:
            mode = _mode(mode)
            if self._run is None and mode in _OFF:
                self._off, self.mode = True, "disabled"
                self.project, self.name = project or self.project, name
                self.config.fill(_mapping(config))
                self.summary.fill({})
            elif self._run is None:
                self._open(project=project or self.project or "wandb", name=name, config=config, mode=mode)
            elif config is not None:
                self.config.update(_mapping(config))
        except Exception as error:  # noqa: BLE001 - into training
            say_once("init", "wandb.init: no run could be started: %s", error)
        return self

    @property
    def run(self) -> JournalWandb | None:
        """The open run, or None."""
        return self if self._run is not None else None

    @property
    def id(self) -> str | None:
        """The run's id."""
        return None if self._run is None else self._run.run_id

    @property
    def dir(self) -> str | None:
        """The run's directory."""
        return None if self._run is None or self._run.dir is None else str(self._run.dir)

    @property
    def step(self) -> int:
        """The step that the next ``log`` without one counts for."""
        return self._step

    def finish(self, exit_code: int | None = None, quiet: bool | None = None) -> None:
        """Ends the run, once all is written."""
        run, self._run, self._off = self._run, None, False
        if run is not None:
            try:
                run.finish()
            except Exception:  # noqa: BLE001 - into training
                say_once("finish", "wandb.finish failed", exc_info=True)

    def __enter__(self) -> JournalWandb:
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    # --- what is logged ------------------------------------------------------------------------------------

    def log(
        self,
        data: Mapping[str, Any],
        step: int | None = None,
        commit: bool | None = None,
        sync: bool | None = None,
    ) -> None:
        """Writes the values to the journal, and returns at once.

        Args:
            data: names and values, also nested.
            step: what it counts for; None: the step that is open.
            commit: whether the next call without a step counts for the next one; None: yes, if this has none.
            sync: as W&B has it, without effect.
        """
        try:
            self._log(data, step, commit)
        except Exception:  # noqa: BLE001 - into training
            say_once("log", "a wandb.log call is not kept", exc_info=True)

    def get_url(self) -> None:
        """There is no page."""

    get_project_url = get_url

    def define_metric(self, name: str, *_: Any, **__: Any) -> None:
        """Without effect: the journal has each value with its step, and nothing else to be defined."""

    def _log(self, data: Mapping[str, Any], step: int | None, commit: bool | None) -> None:
        if self._run is None:
            if not self._off:
                say_once("closed", "wandb.log after wandb.finish, or before wandb.init, is not kept")
            return
        if not isinstance(data, Mapping):
            say_once("data", "wandb.log(%r) is not kept: expected a dict", data)
            return
        stats = as_stats(data)
        with self._lock:
            if step is not None:
                self._step = max(self._step, int(step))
            at = self._step if step is None else int(step)
            for part in without_folders(stats):
                self._commit(at, part)
            for key, value in flattened(data):
                if isinstance(value, media.Table):
                    self._keep_rows(at, key, value)
            if commit or (commit is None and step is None):
                self._step += 1
        self.summary.keep(stats)

    def _commit(self, step: int, stats: dict[str, Any]) -> None:
        """Writes what can be written. A step below the last one counts as that, with a warning."""
        if self._run is None or not stats:
            return
        try:
            self._run.commit(step, stats)
        except Exception as error:  # noqa: BLE001 - of one value, as of an array that has been donated
            if len(stats) == 1:
                say_left_out(next(iter(stats)), error)
            else:
                for key, value in stats.items():
                    self._commit(step, {key: value})

    def _keep_rows(self, step: int, key: str, table: media.Table) -> None:
        try:
            _, failed = self._tables.keep((step, 0), [block_of(key, table.by_column())])
            if failed:
                say_once(f"rows {key}", "%d rows of %r could not be kept (said once)", failed, key)
        except Exception as error:  # noqa: BLE001 - of a foreign object; into training
            say_once(f"rows {key}", "rows of %r are not kept: %s (said once)", key, error)

    # --- inside --------------------------------------------------------------------------------------------

    def _open(self, *, project: str, name: str | None, config: Any, mode: str | None) -> None:
        folder = Path(self._settings.log_dir) / (_component(project or "") or "wandb")
        wanted = None if name is None else _component(name) or None
        begin = partial(start, folder, config=config, resume="never", logger=self._settings)
        try:
            self._run = begin(name=wanted)
        except RunDirectoryError:
            if wanted is None:
                raise
            self._run = begin(name=f"{wanted}-{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 10**6:06d}")
        self.project, self.mode, self._off = project, mode or "online", False
        self.name = name if name is not None or self._run.dir is None else self._run.dir.name
        self._step = 0
        self.config.fill(_mapping(config))
        self.summary.fill({})
        log.info(
            "sightline: wandb.log calls are kept in %s, and nothing is uploaded: "
            "sightline sync %s --to wandb does that",
            self._run.dir, quoted(self._run.dir or "RUN_DIR"),
        )  # fmt: skip

    def _place(self) -> tuple[Path, str, int] | None:
        run = self._run
        return None if run is None or run.dir is None or run.run_id is None else (run.dir, run.run_id, 1)

    def _note(self, event: str, values: Mapping[str, Any]) -> None:
        if self._run is not None:
            self._run.logger.event(event, values=redacted(plain(values)))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        say_once(f"wandb.{name}", "wandb.%s does nothing here: the journal holds numbers and texts", name)
        return media.Nothing()


class Config(dict[str, Any]):
    """A dict whose keys are attributes too; whoever changes it is heard.

    Args:
        changed: called with what is set.
    """

    def __init__(self, changed: Callable[[Mapping[str, Any]], None]) -> None:
        super().__init__()
        object.__setattr__(self, "_changed", changed)

    def fill(self, values: Mapping[str, Any]) -> None:
        """Sets all of it anew; nobody is told."""
        self.clear()
        super().update(values)

    def update(self, values: Any = None, allow_val_change: bool | None = None, **more: Any) -> None:  # type: ignore[override]
        """Takes mappings, namespaces and dataclasses, as W&B does; values may change."""
        new = {**_mapping(values), **more}
        super().update(new)
        self._changed(new)

    def setdefaults(self, values: Any) -> None:
        """Takes what is not there yet."""
        self.update({key: value for key, value in _mapping(values).items() if key not in self})

    def as_dict(self) -> dict[str, Any]:
        """A copy."""
        return dict(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are plain dicts: what is changed in them is nobody else's affair."""
        return dict, (dict(self),)

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self.update({name: value})


class Summary(Config):
    """The latest value of each key, and what is set by hand."""

    def keep(self, values: Mapping[str, Any]) -> None:
        """What a ``log`` has brought; the journal has it already."""
        dict.update(self, values)


def _mode(mode: str | None) -> str:
    """As W&B spells it; what it does not have is said."""
    mode = str(mode or "online").strip().lower()
    if mode not in _OFF | _ON:
        log.warning("sightline: wandb mode %r is none that W&B has; taken for 'online'", mode)
    return mode


def _process() -> int:
    """This process's index, without starting a back end."""
    found = distributed()
    if found is not None:
        return found.process
    return int(sys.modules["jax"].process_index()) if backend_is_running() else 0


def _component(name: Any) -> str:
    """A name as one part of a path."""
    shown = str(name).replace("/", "-").replace("\0", "").strip()
    return f"run-{shown}" if shown in (".", "..", "latest") else shown


def _mapping(config: Any) -> dict[str, Any]:
    found = plain(config)
    return found if isinstance(found, dict) else {} if found is None else {"config": found}
