"""The environment: what is set is read, credentials are never shown, a launch that cannot work is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline.doctor import environment
from sightline.doctor.environment import environment_checks, launch_check
from sightline.doctor.findings import Finding

LAUNCH = {
    "JAX_COORDINATOR_ADDRESS": "10.0.0.1:8476",
    "JAX_NUM_PROCESSES": "4",
    "JAX_PROCESS_ID": "3",
}


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(environment, "several_processes", lambda: "")
    monkeypatch.setattr(environment, "installed", lambda name: "1.0")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (
        "WANDB_API_KEY",
        "WANDB_MODE",
        "WANDB_BASE_URL",
        "NETRC",
        "SWANLAB_API_KEY",
        "SIGHTLINE_DISABLED",
    ):
        monkeypatch.delenv(name, raising=False)


def by_check() -> dict[str, Finding]:
    return {each.check: each for each in environment_checks()}


def test_a_key_is_seen_and_not_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the environment, and in netrc for the server that is meant."""
    assert by_check()["wandb key"].level == "note"
    secret = "0123456789abcdef0123456789abcdef01234567"
    monkeypatch.setenv("WANDB_API_KEY", secret)
    found = by_check()["wandb key"]
    assert found.level == "ok"
    assert "WANDB_API_KEY" in found.what
    monkeypatch.delenv("WANDB_API_KEY")
    (tmp_path / ".netrc").write_text(f"machine wandb.local login user password {secret}\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert by_check()["wandb key"].level == "note"
    monkeypatch.setenv("WANDB_BASE_URL", "http://wandb.local:8080")
    found = by_check()["wandb key"]
    assert found.level == "ok"
    assert secret not in str(environment_checks())


def test_switches_that_stop_a_run_or_its_recording_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert by_check()["switches"].level == "ok"
    monkeypatch.setenv("SIGHTLINE_DISABLED", "1")
    assert by_check()["switches"].fix == "unset SIGHTLINE_DISABLED"
    monkeypatch.setenv("SIGHTLINE_DISABLED", "true")
    assert "does nothing" in by_check()["switches"].what
    monkeypatch.setenv("SIGHTLINE_LOG_LEVEL", "loud")
    assert by_check()["switches"].level == "wrong"
    monkeypatch.setenv("WANDB_MODE", "sometimes")
    assert by_check()["wandb key"].level == "wrong"


def test_a_whole_launch_is_fine() -> None:
    assert [each.level for each in launch_check(LAUNCH)] == ["ok"]
    assert [each.level for each in launch_check({})] == ["ok"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"JAX_COORDINATOR_ADDRESS": ""}, "without JAX_COORDINATOR_ADDRESS"),
        ({"JAX_PROCESS_ID": ""}, "without JAX_PROCESS_ID"),
        ({"JAX_PROCESS_ID": "4"}, "the process must be below 4"),
        ({"JAX_NUM_PROCESSES": "four"}, "JAX_NUM_PROCESSES is no number"),
        ({"JAX_COORDINATOR_ADDRESS": "10.0.0.1"}, "the address must be HOST:PORT"),
        (
            {"JAX_COORDINATOR_ADDRESS": "localhost:1", "SLURM_JOB_NUM_NODES": "2"},
            "which every host takes for itself",
        ),
    ],
)
def test_a_launch_that_cannot_work_is_wrong(changed: dict[str, str], said: str) -> None:
    found = launch_check(LAUNCH | changed)
    assert found[-1].level == "wrong"
    assert said in found[-1].what


def test_a_proxy_may_be_in_the_way() -> None:
    found = launch_check(LAUNCH | {"HTTPS_PROXY": "http://proxy"})
    assert (found[-1].level, found[-1].fix) == ("note", "export no_proxy=10.0.0.1, or unset them")
