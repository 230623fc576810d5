# Needs make and Python 3.11 or newer; everything else is installed into .venv and .data.

# The distribution's comes first: it is built with every optimisation, and takes a tenth less than what pyenv builds.
first_with = $(shell for p in /usr/bin/python3 python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys, $(1); sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)
PYTHON ?= $(or $(call first_with,ensurepip),$(call first_with,sys),python3)
VENV   ?= .venv
DATA   ?= .data
BIN    := $(VENV)/bin
LOCK   := requirements/dev.lock
CLIENTS := tests/system/clients
export DATA
# Each server process would compile all of the code anew.
unexport PYTHONDONTWRITEBYTECODE

STACK_OPTIONS = $(if $(NODES),--nodes $(NODES)) $(if $(filter new,$(PORTS)),--new-ports)

.DEFAULT_GOAL := help
.PHONY: help setup run test packages soak bench check lint types layers lock clean

help: ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "Variables: DATA=folder (.data), NODES=3 (a real replica set), PORTS=new, PYTHON=python3.12;"
	@echo "MONGO_URI, DATABASE_URL, REDIS_URL in the environment use servers that run already."

setup: ## make .venv from the hash-locked requirements
	@"$(PYTHON)" infra/bootstrap.py $(VENV) $(LOCK)

run: setup ## start everything with a demo of two tenants; Ctrl-C stops it
	@$(BIN)/eider stack run $(STACK_OPTIONS)

test: packages ## run every test in its short form (ARGS="-k name" to choose)
	@$(BIN)/python -m tests $(ARGS)

packages: setup $(CLIENTS)/node_modules/.package-lock.json
	@sh infra/test_packages.sh

# Where npm cannot reach its registry the tests of these clients say so.
$(CLIENTS)/node_modules/.package-lock.json: $(CLIENTS)/package-lock.json | setup
	-@$(BIN)/python $(CLIENTS)/packages.py ci

soak: setup ## run the long tests: minutes of fuzz and faults
	@$(BIN)/python -m pytest -q -m soak --timeout 3600 $(ARGS)
	@$(BIN)/python -m pytest -q --hypothesis-profile explore tests/fuzz tests/unit

bench: setup ## compare with WildDuck and Dovecot, write docs/performance.md (BENCH="--quick")
	@$(BIN)/python -m infra.devstack.bench_report $(BENCH)

check: lint types layers ## all linters

lint: setup
	@$(BIN)/ruff check .

types: setup
	@$(BIN)/mypy

layers: setup
	@$(BIN)/lint-imports --no-logo 2>&1

lock: setup ## write requirements/*.lock anew
	@$(PYTHON) -m venv $(VENV)/uv && $(VENV)/uv/bin/pip install --quiet uv
	@for part in "core:" "dev:stack test check"; do \
		extras=$$(for extra in $${part#*:}; do echo "--extra $$extra"; done); \
		$(VENV)/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
			--no-emit-index-url --no-emit-find-links $$extras pyproject.toml -o requirements/$${part%%:*}.lock; done
	@$(BIN)/python $(CLIENTS)/packages.py lock

clean: ## remove .venv, the data folder and caches
	rm -rf $(VENV) $(DATA) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info
