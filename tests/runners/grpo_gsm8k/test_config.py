"""Configs are strict, and `--print-config` says what would run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from runners.common.config import ConfigError, load, to_yaml
from runners.grpo_gsm8k.__main__ import main
from runners.grpo_gsm8k.config import Config, check_divisible
from tests.runners.grpo_gsm8k.conftest import SMOKE
from tests.runners.jobs import ROOT


def test_later_overrides_win_over_earlier_ones_and_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("seed: 3\ngrpo:\n  steps: 7\n  group_size: 5\n")
    config = load(Config, file, ["grpo.steps=8", "grpo.steps=9", "grpo.learning_rate=1e-5", "output.name=x"])
    assert (config.seed, config.grpo.steps, config.grpo.group_size) == (3, 9, 5)
    assert config.grpo.learning_rate == 1e-5
    assert config.grpo.temperature == Config().grpo.temperature


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("grpo.step=3", "unknown config key 'grpo.step'. Did you mean 'steps'? Possible here: clip_high"),
        ("gpro.steps=3", "unknown config key 'gpro'. Did you mean 'grpo'? Possible here: checkpoint"),
        ("seed.x=3", "config key 'seed' is a value, not a section"),
        ("grpo.steps=many", "config key 'grpo.steps': expected int, found 'many'"),
        ("grpo.steps=true", "config key 'grpo.steps': expected int, found True"),
        ("grpo.steps=1.5", "config key 'grpo.steps': expected int, found 1.5"),
        ("grpo=3", "config key 'grpo': expected a mapping of keys, found 3"),
        (
            "grpo.schedule=step",
            "config key 'grpo.schedule': found 'step', possible: 'constant', 'linear', 'cosine'",
        ),
        ("output.sinks=console", "config key 'output.sinks': expected a list, found 'console'"),
        ("output.sinks=[1]", "config key 'output.sinks[0]': expected str, found 1"),
        ("grpo.group_size=1", "grpo.group_size: expected at least 2, found 1"),
        ("output.resume=must", "output.name: resume='must' needs the name"),
        ("grpo.steps", "expected key.path=value"),
        ("grpo.steps=[1", "--set 'grpo.steps=[1': not valid YAML: expected ',' or ']'"),
        ("grpo.learning_rate=.nan", "config key 'grpo.learning_rate': expected a finite number, found nan"),
        ("grpo.learning_rate=inf", "config key 'grpo.learning_rate': expected a finite number, found inf"),
        ("seed=-1", "seed: expected at least 0, found -1"),
        ("data.test_problems=0", "data.test_problems: expected at least 1, found 0"),
        ("data.train_problems=0", "data.train_problems: expected at least 1, found 0"),
        ("data.prompt_tokens=1", "data.prompt_tokens: expected at least 2, found 1"),
        ("data.completion_tokens=0", "data.completion_tokens: expected at least 1, found 0"),
        ("grpo.clip_low=-1", "grpo.clip_low: expected at least 0, found -1.0"),
        ("grpo.learning_rate=-1", "grpo.learning_rate: expected at least 0, found -1.0"),
        ("warmup.learning_rate=-1", "warmup.learning_rate: expected at least 0, found -1.0"),
    ],
)
def test_a_wrong_override_is_an_error_that_names_the_key_and_what_is_possible(
    override: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load(Config, None, [override])


def test_wrong_files_are_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the config file"):
        load(Config, tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match="expected a mapping of config keys, found list"):
        load(Config, tmp_path / "list.yaml")
    (tmp_path / "torn.yaml").write_text("seed: 1\ngrpo: [1\n")
    with pytest.raises(ConfigError, match=r"torn.yaml:3: not valid YAML: expected ',' or ']', [^\n]*$"):
        load(Config, tmp_path / "torn.yaml")
    (tmp_path / "twice.yaml").write_text("grpo:\n  steps: 1\n  steps: 2\n")
    with pytest.raises(ConfigError, match=r"twice.yaml:3: .*the key 'steps' is there twice$"):
        load(Config, tmp_path / "twice.yaml")


@pytest.mark.parametrize("name", ["demo", "smoke"])
def test_the_configs_in_the_repository_load_and_survive_printing(name: str, tmp_path: Path) -> None:
    config = load(Config, SMOKE.with_name(f"{name}.yaml"))
    check_divisible(config, devices=2, processes=2)
    (tmp_path / "printed.yaml").write_text(to_yaml(config))
    assert load(Config, tmp_path / "printed.yaml") == config


def test_a_batch_that_does_not_split_evenly_is_named() -> None:
    with pytest.raises(ConfigError, match=r"grpo.prompts_per_step: 32 rows do not split evenly into 3"):
        check_divisible(load(Config, None, ["warmup.batch_size=63"]), devices=3, processes=3)


def test_print_config_prints_the_whole_config_with_files_and_overrides(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert (
        main(["--config", str(SMOKE), "--set", "seed=5", "--train-file", "a b.jsonl", "--print-config"]) == 0
    )
    printed = yaml.safe_load(capsys.readouterr().out)
    assert (printed["seed"], printed["data"]["train_file"]) == (5, "a b.jsonl")
    assert printed["grpo"]["temperature"] == 1.0


def test_the_command_reports_a_wrong_key_in_one_line_and_exits_with_2() -> None:
    command = [sys.executable, "-m", "runners.grpo_gsm8k", "--set", "grpo.lr=1", "--print-config"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown config key 'grpo.lr'.")
    assert done.stderr.count("\n") == 1
