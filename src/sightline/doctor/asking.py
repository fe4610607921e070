"""Whether the servers of sinks can be reached: the only part that uses the network, and only when told to."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from sightline.doctor.findings import Finding, ok, skipped, wrong
from sightline.doctor.installation import installed


def servers(settings: Mapping[str, Any]) -> dict[str, str]:
    """By sink the address of its server, by the environment and the settings of a run.

    Args:
        settings: of the sinks, as ``run.json`` has them; empty where there is no run.

    Example:
        >>> servers({"mlflow": {"tracking_uri": "http://127.0.0.1:5000"}})["mlflow"]
        'http://127.0.0.1:5000'
    """
    found = {}
    if installed("wandb") or settings.get("wandb"):
        found["wandb"] = os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai"
    if installed("swanlab") or settings.get("swanlab"):
        found["swanlab"] = os.environ.get("SWANLAB_API_HOST") or "https://api.swanlab.cn"
    section = settings.get("mlflow")
    uri = (section or {}).get("tracking_uri") if isinstance(section, dict) else None
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI")
    if isinstance(uri, str) and urlsplit(uri).scheme in ("http", "https"):
        found["mlflow"] = uri
    return found


def server_checks(settings: Mapping[str, Any], *, online: bool, timeout: float) -> list[Finding]:
    """One for each server: whether something listens there."""
    asked = servers(settings)
    if not online:
        if not asked:
            return []
        return [skipped("servers", f"not asked: {', '.join(asked)}", fix="sightline doctor --online")]
    return [_asked(sink, url, timeout) for sink, url in asked.items()]


def _asked(sink: str, url: str, timeout: float) -> Finding:
    parts = urlsplit(url)
    try:
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        with socket.create_connection((host, port), timeout):
            return ok("servers", f"{sink}: {host}:{port} answers", data={"sink": sink})
    except (OSError, ValueError) as error:
        return wrong(
            "servers",
            f"{sink}: {parts.hostname} cannot be reached: {error}",
            "the sink will try again for as long as a run lasts; the journal keeps what waits",
            f"look at the network and proxies, or set {sink} to mode offline",
            {"sink": sink},
        )
