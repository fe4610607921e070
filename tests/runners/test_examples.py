"""The examples in the runners' docstrings run, and print what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import runners

MODULES = [
    info.name
    for info in pkgutil.walk_packages(runners.__path__, "runners.")
    if not info.name.endswith(".__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name), extraglobs={"np": np}).failed == 0
