# Everything happens in .venv; the tests import the built wheel, never the source tree.
PYTHON ?= python3
BIN    := .venv/bin
SRC    := $(shell find src -type f -not -name '*.pyc')

.DEFAULT_GOAL := help
.PHONY: help setup tools demo demo-sft demo-rl pictures test test-long test-oldest bench check clean

help:            ## this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: .venv/.wheel  ## prepare .venv (quick when nothing changed)

.venv/.deps: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "sightline needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V). Set PYTHON=…"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || \
	  { echo "python -m venv failed: on Debian, apt-get install python3-venv"; rm -rf .venv; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt hatchling setuptools wheel
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation ".[dev]"
	@touch $@

.venv/.wheel: .venv/.deps $(SRC) README.md
	@rm -rf dist && mkdir -p dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w dist .
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall dist/sightline-*.whl
	@touch $@

demo: setup      ## GRPO on two processes, for a few minutes: watch it learn
	$(BIN)/sightline launch -n 2 -- $(BIN)/python -m runners.grpo_gsm8k --config runners/grpo_gsm8k/configs/demo.yaml
	$(BIN)/sightline logs runs/demo/latest --tail 10
	$(BIN)/sightline trace summary runs/demo/latest
	$(BIN)/sightline trace merge runs/demo/latest
	$(BIN)/sightline report runs/demo/latest

demo-sft: setup  ## fine-tuning on semantic ids, two processes, a few minutes: a model learns to recommend
	$(BIN)/sightline launch -n 2 -- $(BIN)/python -m runners.sid_sft --config runners/sid_sft/configs/demo.yaml

demo-rl: setup   ## GRPO from demo-sft's policy (made first if there is none), two processes, a few minutes
	@test -e runs/demo-sft/latest/checkpoints || $(MAKE) demo-sft
	$(BIN)/sightline launch -n 2 -- $(BIN)/python -m runners.minionerec_rl \
	  --config runners/minionerec_rl/configs/demo.yaml

pictures: setup tools ## those of the README, from the demo's last run
	@test -e runs/demo/latest/metrics.jsonl || $(MAKE) demo
	$(BIN)/python tools/pictures.py runs/demo/latest docs/pictures

tools:           # what some tests look at things with; where they may not be installed, those tests fail
	@need=; for each in chromium tmux; do command -v $$each >/dev/null || need="$$need $$each"; done; \
	test -z "$$need" || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$need >/dev/null; } || \
	echo "not here:$$need; the tests that need them fail (on Debian: apt-get install$$need)"

test: setup tools ## the tests, against the built wheel
	$(BIN)/python -m pytest -rs -n 3 --dist loadscope --no-loadscope-reorder -m "not long"

test-long: setup tools ## all tests, the slow ones too
	$(BIN)/python -m pytest

test-oldest: setup ## the multi-process tests under the oldest JAX that is supported
	@test -x .venv-oldest/bin/python || $(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check "jax==0.9.*" pytest hypothesis pyyaml \
	  --force-reinstall dist/sightline-*.whl
	.venv-oldest/bin/python -m pytest -m "not long" tests/multiprocess

bench: setup     ## ratios against the usual ways, measured in pairs
	$(BIN)/python -m benchmarks

check: setup     ## formatting, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/sightline lint runners

clean:           ## remove .venv and what was built
	rm -rf .venv .venv-oldest build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache
