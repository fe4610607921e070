"""Settings from a dict or a YAML file: what is wrong is said with its name, its value and what would do."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from sightline import ConfigurationError, ConsoleConfig, StatsLoggerConfig


def test_a_dict_becomes_typed_settings() -> None:
    """Nested settings are nested dicts, lists become tuples, and numbers may be ints."""
    config = StatsLoggerConfig.from_dict(
        {
            "log_dir": "out",
            "sinks": ["console"],
            "deadline_s": 5,
            "console": {"style": "line", "include": ["train/*"], "interval": 2},
            "aliases": {"train/": ["t/", "u/"]},
        }
    )
    assert config == StatsLoggerConfig(
        log_dir="out",
        sinks=("console",),
        deadline_s=5,
        console=ConsoleConfig(style="line", include=("train/*",), interval=2),
        aliases={"train/": ["t/", "u/"]},
    )


def test_no_settings_are_the_defaults() -> None:
    """So that every file may say only what it changes."""
    assert StatsLoggerConfig.from_dict({}) == StatsLoggerConfig()


def test_settings_are_frozen() -> None:
    """What a run was started with stays what it says."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        StatsLoggerConfig().name = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"sink": ["console"]}, "unknown setting sink; expected one of log_dir, name"),
        ({"console": {"stile": "line"}}, "unknown setting console.stile; expected one of format"),
        ({"console": {"style": "lines"}}, "console.style='lines'; expected 'auto', 'table' or 'line'"),
        ({"console": {"interval": "2"}}, "console.interval='2' is a str; expected float"),
        ({"console": "line"}, "console='line'; expected a mapping of its settings"),
        ({"name": 7}, "name=7 is a int; expected str or null"),
        ({"deadline_s": "60"}, "deadline_s='60' is a str; expected float"),
        ({"deadline_s": True}, "deadline_s=True is a bool; expected float"),
        ({"deadline_s": 0}, "deadline_s=0; expected a positive number"),
        ({"deadline_s": float("nan")}, "deadline_s=nan; expected a positive number"),
        ({"queue_size": 6.4}, "queue_size=6.4 is a float; expected int"),
        ({"on_lower_step": "ignore"}, "on_lower_step='ignore'; expected 'clamp', 'error' or 'drop'"),
        ({"resume": True}, "resume=True; expected 'never', 'allow' or 'must'"),
        ({"transport": "nccl"}, "transport='nccl'; expected 'auto'"),
        ({"sinks": "console"}, r"sinks='console'; expected a list, as in \['console'\]"),
        ({"aliases": ["a"]}, "aliases: 'a' is no ready table; expected one of verl, trl, areal"),
        ({"aliases": {"train/": "t"}}, "a prefix .* has prefixes or patterns"),
        ({"aliases": {"a": 3}}, "aliases: "),
        ({"aliases": {"a": "x", "b": "x"}}, "'a' -> 'x' and 'b' -> 'x' give one name to two keys"),
        ({"naming": "loud"}, "naming='loud'; expected 'warn', 'strict' or 'off'"),
        ({"namespaces": "actor"}, r"namespaces='actor'; expected first parts of keys, as in \('actor'"),
        ({"namespaces": ["a/b"]}, r"namespaces=\('a/b',\); expected first parts"),
        ({"namespaces": 3}, "namespaces=3; expected first parts"),
    ],
)
def test_a_wrong_setting_is_named_with_what_would_do(data: dict[str, Any], said: str) -> None:
    """Before anything starts."""
    with pytest.raises(ConfigurationError, match=said):
        StatsLoggerConfig.from_dict(data)


def test_aliases_may_be_a_list_of_names_and_mappings() -> None:
    """As a YAML file writes them."""
    data = {"aliases": ["trl", {"train/": "old/"}], "naming": "strict", "namespaces": ["actor"]}
    config = StatsLoggerConfig.from_dict(data)
    assert config.aliases == ("trl", {"train/": "old/"})
    assert (config.naming, config.namespaces) == ("strict", ("actor",))


def test_a_yaml_file_becomes_typed_settings(tmp_path: Path) -> None:
    """As a dict would."""
    pytest.importorskip("yaml")
    file = tmp_path / "sightline.yaml"
    file.write_text("log_dir: out\nname: null\nconsole:\n  format: 'step={step}'\nsinks: [console]\n")
    config = StatsLoggerConfig.from_yaml(file)
    assert (config.log_dir, config.name, config.sinks) == ("out", None, ("console",))
    assert config.console.format == "step={step}"


@pytest.mark.parametrize(
    ("content", "said"), [("- a\n", "got list"), ("a: [", "is no YAML"), ("", "NoneType")]
)
def test_a_file_that_holds_no_settings_is_named(tmp_path: Path, content: str, said: str) -> None:
    """A list, a syntax error, an empty file."""
    pytest.importorskip("yaml")
    file = tmp_path / "sightline.yaml"
    file.write_text(content)
    with pytest.raises(ConfigurationError, match=said) as raised:
        StatsLoggerConfig.from_yaml(file)
    assert str(file) in str(raised.value)
