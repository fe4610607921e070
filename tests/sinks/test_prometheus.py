"""What a scrape over HTTP shows is the latest of the journal; the port is held and let go in time."""

from __future__ import annotations

import gc
import math
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import sightline as sl
from sightline.sinks.prometheus import PrometheusSink
from tests.harness import free_port, until
from tests.sinks import attempts
from tests.sinks.attempts import attempt, commits, paths, settings
from tests.sinks.readers.prometheus import OPENMETRICS, scraped


def started(folder: Path, **its: Any) -> tuple[sl.Run, int]:
    sink = PrometheusSink(sl.PrometheusConfig(port=0, **its))
    return sl.start(folder, name="run", sinks=[sink], naming="off", resume="allow"), sink.port


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@pytest.mark.parametrize("accept", ["*/*", OPENMETRICS])
def test_a_scrape_shows_the_latest_value_of_every_key(accept: str, tmp_path: Path) -> None:
    run, port = started(tmp_path)
    with run:
        values = {
            "train/loss": 0.1 + 0.2, "eval/pass@1": 0.5, "nan": math.nan, "train/inf": math.inf,
            "tokens_total": 2**60, "kl_count": 3, "größe": 1.0, "0_first": 2.0,
        }  # fmt: skip
        run.commit(3, values)
        run.commit(8, {"train/loss": 0.25, "note": "no number"})
        assert run.flush()
        found = scraped(port, accept)
    labels = {"run": run.logger.run_id, "name": "run"}
    last = commits(run.dir)[-1]
    own = {"step": 8, "seq": 2, "attempt": 1, "commit_time_seconds": last["time"]}
    expected = {f"sightline_{name}": value for name, value in own.items()} | {
        "sightline_train_loss": 0.25, "sightline_eval_pass_1": 0.5, "sightline_nan": math.nan,
        "sightline_train_inf": math.inf, "sightline_tokens_total": float(2**60), "sightline_kl_count": 3.0,
        "sightline_gr__e": 1.0, "sightline_0_first": 2.0, "sightline_obs_nonfinite": 2.0,
    }  # fmt: skip
    assert {name: repr(float(found[name][0])) for name in found} == {
        name: repr(float(value)) for name, value in expected.items()
    }
    assert all(each[1] == labels for each in found.values())
    assert found["sightline_eval_pass_1"][2] == "eval/pass@1"


def test_keys_that_would_get_one_name_are_told_apart(tmp_path: Path) -> None:
    with attempts.warnings_said() as said:
        run, port = started(tmp_path)
        with run:
            run.commit(1, {"a/b": 1.0, "a_b": 2.0, "step": 3.0})
            assert run.flush()
            found = scraped(port)
    assert found["sightline_a_b"][0] == 1.0
    assert found["sightline_step"][0] == 1.0
    others = {about: value for name, (value, _, about) in found.items() if name.count("_") > 1}
    assert others["a_b"] == 2.0
    assert others["step"] == 3.0
    assert any("shows 'a_b'" in each and "since 'a/b' has its name" in each for each in said)
    assert any("shows 'step'" in each and "since the sink itself has its name" in each for each in said)


def test_the_port_is_free_again_after_the_run(tmp_path: Path) -> None:
    run, port = started(tmp_path)
    assert not is_free(port)
    run.commit(1, {"loss": 1.0})
    run.finish()
    assert is_free(port)


def test_a_taken_port_is_refused_at_start_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(
            sl.ConfigurationError,
            match=rf"cannot listen on 127.0.0.1:{port}: .*in use.* Set another prometheus.port",
        ):
            attempts.start(tmp_path, settings("prometheus", port=port))
    assert not (tmp_path / "run").exists()


def test_a_run_that_cannot_start_lets_the_port_go(tmp_path: Path) -> None:
    """So that the program may try again."""
    port = free_port()
    with (
        sl.start(tmp_path, name="run", sinks=[]),
        pytest.raises(sl.RunDirectoryError, match="held by a live run"),
    ):
        attempts.start(tmp_path, settings("prometheus", port=port))
    gc.collect()
    assert is_free(port)


def test_it_listens_on_the_loopback_unless_told_otherwise(tmp_path: Path) -> None:
    sink = PrometheusSink(sl.PrometheusConfig(port=0))
    assert sink._server.socket.getsockname()[0] == "127.0.0.1"
    sink.close()
    sink = PrometheusSink(sl.PrometheusConfig(host="::1", port=0))
    assert sink._server.socket.getsockname()[0] == "::1"
    sink.close()
    with pytest.raises(
        sl.ConfigurationError, match=r"cannot listen on 192\.0\.2\.1"
    ):  # an address of nobody's
        PrometheusSink(sl.PrometheusConfig(host="192.0.2.1", port=0))


def test_a_scraper_that_says_nothing_holds_up_nobody(tmp_path: Path) -> None:
    run, port = started(tmp_path)
    with run, socket.create_connection(("127.0.0.1", port)) as silent:
        run.commit(1, {"loss": 1.0})
        assert run.flush()
        silent.sendall(b"GET /metr")
        for _ in range(3):
            assert scraped(port)["sightline_loss"][0] == 1.0
        assert run.finish()
    assert is_free(port)


def test_scrapes_in_the_middle_of_commits_are_whole(tmp_path: Path) -> None:
    """All values of a scrape are of one commit."""
    run, port = started(tmp_path)
    with run:
        seen = set()
        for step in range(300):
            run.commit(step, {f"k{i}": float(step) for i in range(20)})
            if step % 10 == 9 and run.flush():
                found = scraped(port)
                (value,) = {found[f"sightline_k{i}"][0] for i in range(20)}
                assert value == found["sightline_step"][0]
                seen.add(value)
    assert len(seen) == 30


def test_the_next_attempt_takes_the_port_after_a_kill_and_shows_where_it_goes_on(tmp_path: Path) -> None:
    """Also while a forked child of the killed one lives on."""
    port = free_port()
    script = """
import os, sys, time
import sightline as sl
logger = sl.StatsLoggerConfig(sinks=["prometheus"], prometheus=sl.PrometheusConfig(port=int(sys.argv[1])))
run = sl.start("runs", name="run", resume="allow", naming="off", logger=logger)
run.commit(run.next_step, {"loss": 0.5})
run.flush()
child = os.fork()
if child == 0:
    time.sleep(600)
    os._exit(0)
print(child, flush=True)
time.sleep(600)
"""
    with ExitStack() as stack:
        for number in (1, 2):
            process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", script, str(port)],
                cwd=tmp_path, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths()},
            )  # fmt: skip
            stack.callback(process.kill)
            assert process.stdout is not None
            stack.enter_context(process.stdout)
            child = int(process.stdout.readline())
            stack.callback(os.kill, child, signal.SIGKILL)
            found = scraped(port)
            shown = [found[f"sightline_{own}"][0] for own in ("attempt", "seq", "step")]
            assert [shown[0], shown[2]] == [number, number - 1]
            assert shown[1] == 1 if number == 1 else shown[1] > 1  # a gap behind the kill
            process.kill()
            process.wait()
            until(lambda: is_free(port), "the port")


def test_a_rewound_run_shows_where_it_is_now(tmp_path: Path) -> None:
    _, states = attempt(tmp_path, sl.StatsLoggerConfig(sinks=[], naming="off"), 10)
    sink = PrometheusSink(sl.PrometheusConfig(port=0))
    with sl.start(
        tmp_path, name="run", sinks=[sink], resume="allow", state_dict=states[4], naming="off"
    ) as run:
        run.commit(5, {"loss": 105.0})
        assert run.flush()
        found = scraped(sink.port)
    assert [found[f"sightline_{each}"][0] for each in ("step", "seq", "loss")] == [5, 11, 105.0]


@pytest.mark.parametrize(
    ("its", "said"),
    [
        ({"port": 65536}, "prometheus port=65536: expected 0 to 65535"),
        ({"prefix": "0x_"}, "prometheus prefix='0x_': expected letters"),
        ({"prefix": "a b"}, "prometheus prefix='a b': expected letters"),
    ],
)
def test_settings_that_cannot_be_are_refused(its: dict[str, Any], said: str) -> None:
    with pytest.raises(sl.ConfigurationError, match=said):
        settings("prometheus", **its)


def test_a_name_without_prefix_begins_with_no_digit(tmp_path: Path) -> None:
    run, port = started(tmp_path, prefix="")
    with run:
        run.commit(1, {"0/first": 1.0})
        assert run.flush()
        assert scraped(port)["_0_first"][0] == 1.0


def test_a_missing_extra_is_said_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sightline.sinks.extras.find_spec", lambda name: None)
    with pytest.raises(sl.ConfigurationError, match=r"pip install 'sightline\[prometheus\]'"):
        PrometheusSink()
