# Two commands matter: `make demo` and `make test`. Both make what they need.
#
# Nothing here names a package registry or a path of one machine: pip and npm use their own settings.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV   := .venv
BIN    := $(VENV)/bin
# A stamp is newer than pyproject.toml when nothing has to be installed again.
RUN    := $(VENV)/.hubbub-run
DEV    := $(VENV)/.hubbub-dev
# Measuring has a .venv of its own, for the systems that Hubbub is measured against.
BENCH  := .venv-bench/.hubbub-bench

# make test ARGS="tests/unit -k backlog"
ARGS   ?=

.PHONY: help setup demo test test-long lint format rules client bench bench-quick bench-large docs-check clean

help:  ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(DEV)  ## .venv with all that developing needs

$(RUN): pyproject.toml tools/setup.sh
	@tools/setup.sh run

$(DEV): pyproject.toml tools/setup.sh
	@tools/setup.sh dev

demo: $(RUN)  ## the chat, with its data in a file; Ctrl-C ends it
	@$(BIN)/python tools/foreground.py $(BIN)/hubbub demo chat $(ARGS)

test: $(DEV)  ## all tests, with all that they need; ARGS= goes to pytest
	@tools/test.sh $(ARGS)

test-long: $(DEV)  ## crashes at every write, a thousand kills, and what else takes minutes
	@tools/test.sh --long $(ARGS)

lint: $(DEV)  ## form, types, the order of rooms, rules without a test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_lengths.py
	$(BIN)/python tools/check_rules.py
	$(BIN)/python tools/api_report.py --check

format: $(DEV)  ## put the code into form
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

rules: $(DEV)  ## which rules have tests, which are owed
	@$(BIN)/python tools/check_rules.py

client:  ## build the browser client anew (needs Node)
	cd client && npm ci --no-audit --no-fund && npm run check && npm test && npm run build

$(BENCH): pyproject.toml tools/setup.sh
	@tools/setup.sh bench

bench: $(BENCH)  ## measure Hubbub and its peers, and how it grows; renews docs/topics/performance.md
	@.venv-bench/bin/python -m bench --page $(ARGS)

bench-quick: $(BENCH)  ## the starred metrics in short rounds; fails below 70 % of a goal
	@.venv-bench/bin/python -m bench --quick $(ARGS)

bench-large: $(BENCH)  ## a space of ten million objects
	@.venv-bench/bin/python -m bench --large $(ARGS)

docs-check: $(DEV)  ## run the code that the documentation shows
	@$(BIN)/python -m pytest tests/docs -rs $(ARGS)

clean:  ## forget .venv and caches; data stays
	rm -rf $(VENV) .venv-bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache client/node_modules
