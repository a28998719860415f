# Everything a contributor types. Needs Python 3.10 or newer and git; brings its own uv where there is none.

PYTHON ?= python3
TEST_WORKERS ?= 4
PYTEST_ARGS ?=
BENCH_ARGS ?=
SCALE_ARGS ?=

ifneq ($(origin PYTHON),file)
export UV_PYTHON := $(PYTHON)
endif

# The uv on PATH, or one of our own in .uv.
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
BIN := .venv/bin
SYNCED := .venv/.synced

# Trust what the machine trusts, where it says: behind a company's proxy, uv's own list is not enough.
export UV_SYSTEM_CERTS ?= $(if $(wildcard /etc/ssl/certs/ca-certificates.crt /etc/ssl/cert.pem /etc/pki/tls/certs),true,false)

# Demo and tests start Meltano and the plugins dozens of times: twice as slow where Python may not keep its bytecode.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help sync demo test lives smoke test-resolution install-test bench scale airflow-test lint format docs picture keep dist clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

sync: $(SYNCED) ## install the workspace and its tools into .venv

demo: $(SYNCED) ## run the whole pipeline on this machine: sandbox API, Meltano, PostgreSQL
	@$(BIN)/python -m demo

test: $(SYNCED) ## run all tests
	$(BIN)/pytest -n $(TEST_WORKERS) --maxschedchunk 1 $(PYTEST_ARGS)

lives: $(SYNCED) ## live through LIVES=1000 random histories of each plugin, and find faults that are put back
	LIVES=$(or $(LIVES),1000) $(BIN)/pytest -q -p no:cacheprovider -n $(TEST_WORKERS) --timeout 0 -k "life or lives" \
	  tests/hustle tests/hubstaff tests/harkster tests/pipelines/test_changes.py $(PYTEST_ARGS)

smoke: $(SYNCED) ## ask the real APIs, with the credentials in the environment, whether they are as the plugins know them
	@$(BIN)/python -m tests.smoke

test-resolution: | $(UV) ## run all tests with the lowest versions of what is needed, or RESOLUTION=highest
	$(UV) venv --quiet --clear .venv-resolution
	$(UV) pip install --quiet --python .venv-resolution --resolution $(or $(RESOLUTION),lowest-direct) --group dev \
	  $(addprefix -e ,./singer-http ./tap-hustle ./tap-hubstaff ./target-harkster[postgres] ./sandbox)
	.venv-resolution/bin/pytest -n $(TEST_WORKERS) --maxschedchunk 1 $(PYTEST_ARGS)

install-test: dist ## install the wheels in empty folders, with pip and through Meltano, and run them
	WHEELS=$(CURDIR)/dist PATH="$(dir $(abspath $(UV))):$$PATH" $(BIN)/pytest -q -n 0 tests/install $(PYTEST_ARGS)

bench: $(SYNCED) ## measure the plugins against their peers, which it installs: bench/RESULTS.md
	@$(UV) sync --project bench --python $(BIN)/python --locked --quiet
	@$(BIN)/python -m bench $(BENCH_ARGS)

scale: $(SYNCED) ## measure eight processes that share one limit, and run shards by Airflow, which it installs
	@$(BIN)/python -m bench.scale $(SCALE_ARGS)
	@$(SYNC_AIRFLOW)
	@$(BIN)/python -m bench.airflow

airflow-test: $(SYNCED) ## install Airflow, and test the DAGs in it
	@$(SYNC_AIRFLOW)
	AIRFLOW=orchestrate/.venv $(BIN)/pytest -q -n 0 tests/orchestrate $(PYTEST_ARGS)

SYNC_AIRFLOW = $(UV) sync --project orchestrate --python $(BIN)/python --locked --quiet

lint: $(SYNCED) ## check style, types and the lock file
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(UV) lock --check

format: $(SYNCED) ## format the code and fix what can be fixed
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

docs: $(SYNCED) ## regenerate what is made from the plugins: meltano.yml, tables
	$(BIN)/python -m docs.meltano_plugins
	$(BIN)/python -m docs.hub
	$(BIN)/python -m docs.generate

picture: $(SYNCED) ## draw the posts in the README, as the sandbox has them
	$(BIN)/python -m docs.picture

keep: $(SYNCED) ## keep what this version offers and stores, for the tests of later ones (before a release)
	@$(BIN)/python -m tests.compatibility

dist: $(SYNCED) ## build every distribution into dist/
	rm -rf dist
	$(UV) build --all-packages --out-dir dist

clean: ## remove what was built or installed here
	rm -rf .venv .venv-resolution .uv bench/.venv orchestrate/.venv .demo .meltano dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(SYNCED): uv.lock pyproject.toml $(wildcard */pyproject.toml) | $(UV)
	@echo "Installing the workspace into .venv"
	@$(UV) sync --all-packages --locked --quiet
	@touch $@

.uv/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
	  echo "Python 3.10 or newer is needed, but '$(PYTHON)' says: $$($(PYTHON) --version 2>&1 | tail -n 1)."; \
	  echo "Install one, or name it: make PYTHON=/path/to/python3.12"; exit 1; }
	@echo "uv is not installed here: fetching it into .uv"
	@rm -rf .uv
	@if $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
	  $(PYTHON) -m venv .uv && .uv/bin/python -m pip install --quiet --disable-pip-version-check '$(UV_REQUIREMENT)'; \
	else \
	  $(PYTHON) -m pip install --quiet --disable-pip-version-check --target .uv '$(UV_REQUIREMENT)'; \
	fi || { rm -rf .uv; \
	  echo "uv could not be installed. Install it yourself (https://docs.astral.sh/uv), or give '$(PYTHON)' its venv"; \
	  echo "and pip modules (Debian and Ubuntu: apt install python3-venv), see that a package index can be reached,"; \
	  echo "and run make again."; exit 1; }

UV_REQUIREMENT := uv>=0.8
