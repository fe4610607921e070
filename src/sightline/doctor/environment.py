"""What the environment says: switches, credentials (that they are there), and the variables of a launch."""

from __future__ import annotations

import netrc
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from sightline.doctor.findings import Finding, note, ok, wrong
from sightline.doctor.installation import installed
from sightline.errors import ConfigurationError
from sightline.sinks.wandb import checked_mode
from sightline.text_logging.config import ENVIRONMENT, parse_levels
from sightline.transports import several_processes

_LAUNCH = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def environment_checks() -> list[Finding]:
    """All that is read from the environment."""
    return [
        *_switches(os.environ),
        *_output(os.environ),
        *_wandb(os.environ),
        *_swanlab(os.environ),
        *launch_check(os.environ),
    ]


def _switches(env: Mapping[str, str]) -> list[Finding]:
    found = []
    if env.get("SIGHTLINE_DISABLED") == "1":
        found.append(
            note(
                "switches",
                "SIGHTLINE_DISABLED=1: nothing is recorded",
                "all of sightline is off",
                "unset SIGHTLINE_DISABLED",
            )
        )
    elif value := env.get("SIGHTLINE_DISABLED"):
        found.append(
            note(
                "switches",
                f"SIGHTLINE_DISABLED={value!r} does nothing",
                "only 1 switches it off",
                "export SIGHTLINE_DISABLED=1, or unset it",
            )
        )
    try:
        parse_levels(env.get(ENVIRONMENT, ""), ENVIRONMENT)
    except ConfigurationError as error:
        found.append(wrong("switches", str(error), "a run will not start", f"export {ENVIRONMENT}=info"))
    set_ = sorted(
        name for name in env if name.startswith("SIGHTLINE_") or name in ("NO_COLOR", "JAX_PLATFORMS")
    )
    return found or [ok("switches", ", ".join(set_) + " set" if set_ else "none set")]


def _output(env: Mapping[str, str]) -> list[Finding]:
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    if encoding and not encoding.startswith("utf8"):
        return [
            note(
                "output",
                f"prints in {sys.stdout.encoding}",
                "other characters are written as \\x…",
                "export PYTHONIOENCODING=utf-8, or a LANG that ends in .UTF-8",
            )
        ]
    return []


def _wandb(env: Mapping[str, str]) -> list[Finding]:
    if installed("wandb") is None:
        return []
    said = env.get("WANDB_MODE")
    try:
        mode = checked_mode(said or "online", "WANDB_MODE")
    except ConfigurationError as error:
        return [wrong("wandb key", str(error), "the sink will not start", "export WANDB_MODE=offline")]
    host = urlsplit(env.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname or ""
    key = "WANDB_API_KEY" if env.get("WANDB_API_KEY") else _in_netrc(host, env)
    data = {"mode": mode, "key": key, "host": host}
    if mode in ("online", "shared") and not key:
        return [
            note(
                "wandb key",
                f"no API key for {host}",
                "sink wandb writes its runs offline without one",
                "wandb login, or export WANDB_API_KEY=…, or WANDB_MODE=offline to have it so",
                data,
            )
        ]
    return [
        ok("wandb key", f"mode {mode}, {f'key in {key}' if key else 'no key, and none needed'}", data=data)
    ]


def _in_netrc(host: str, env: Mapping[str, str]) -> str:
    """The file that has credentials for a host; empty if none has."""
    for path in (env.get("NETRC"), "~/.netrc", "~/_netrc"):
        try:
            if path and netrc.netrc(os.path.expanduser(path)).authenticators(host):
                return path
        except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
            continue
    return ""


def _swanlab(env: Mapping[str, str]) -> list[Finding]:
    if installed("swanlab") is None:
        return []
    folder = Path(env.get("SWANLAB_SAVE_DIR") or "~/.swanlab").expanduser()
    key = "SWANLAB_API_KEY" if env.get("SWANLAB_API_KEY") else ""
    if not key and (folder / ".netrc").exists():
        key = str(folder / ".netrc")
    said = f"key in {key}" if key else "no key: sink swanlab writes offline (swanlab login)"
    return [ok("swanlab key", said, data={"key": key})]


def launch_check(env: Mapping[str, str]) -> list[Finding]:
    """The variables of a job of several processes: whole, and such as can be."""
    given = {name: env[name] for name in _LAUNCH if env.get(name)}
    if not given:
        sign = several_processes()
        if sign:
            return [
                ok(
                    "launch",
                    f"{sign}: a job of several processes",
                    fix="in the program: jax.distributed.initialize(), before sl.start",
                )
            ]
        return [ok("launch", "one process, by the environment")]
    shown = ", ".join(f"{name}={value}" for name, value in given.items())
    missing = [name for name in _LAUNCH if name not in given]
    fix = "sightline launch -n 2 -- COMMAND  # sets them all; or export them on every process"
    problems = []
    # An address alone is what JAX reads by itself on a cluster that says the rest.
    if missing and (set(given) - {"JAX_COORDINATOR_ADDRESS"} or not several_processes()):
        problems.append(f"without {' and '.join(missing)}")
    numbers = {name: env.get(name, "") for name in _LAUNCH[1:] if name in given}
    for name, value in numbers.items():
        if not value.isdecimal():
            problems.append(f"{name} is no number")
    count, index = (int(numbers[name]) if numbers.get(name, "").isdecimal() else None for name in _LAUNCH[1:])
    if count is not None and index is not None and not 0 <= index < count:
        problems.append(f"the process must be below {count}")
    address = given.get("JAX_COORDINATOR_ADDRESS", "")
    host, colon, port = address.rpartition(":")
    if address and not (colon and host and port.isdecimal() and 0 < int(port) < 65536):
        problems.append("the address must be HOST:PORT of process 0")
    if problems:
        return [
            wrong(
                "launch",
                f"{shown}: {'; '.join(problems)}",
                "the processes will not find each other",
                fix,
                dict(given),
            )
        ]
    found = [ok("launch", shown, data=dict(given))]
    if is_loopback(host) and several_hosts(env):
        found.append(
            wrong(
                "launch",
                f"the coordinator is {address}, which every host takes for itself",
                "the job has several hosts",
                "export JAX_COORDINATOR_ADDRESS=HOST_OF_PROCESS_0:PORT",
            )
        )
    proxies = sorted(
        name for name in env if name.lower() in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")
    )
    if proxies and not is_loopback(host):
        found.append(
            note(
                "launch",
                f"{', '.join(proxies)} set",
                "JAX may try to reach its coordinator through it",
                f"export no_proxy={host}, or unset them",
            )
        )
    return found


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's loopback, whatever machine it is."""
    return host.strip("[]") in ("localhost", "::1") or host.startswith("127.")


def several_hosts(env: Mapping[str, str]) -> bool:
    """Whether a launcher says that the job is on several hosts."""
    nodes = env.get("SLURM_STEP_NUM_NODES") or env.get("SLURM_JOB_NUM_NODES") or "1"
    return (nodes.isdecimal() and int(nodes) > 1) or "," in env.get("TPU_WORKER_HOSTNAMES", "")
