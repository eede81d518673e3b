# What a person types. `make help` lists it.

# The system's own Python first: it is built with optimizations, and one that was not costs a
# request 1.4 times as much. Another one: make PYTHON=python3.12 …
PYTHON ?= $(firstword $(foreach python,/usr/bin/python3 python3,\
	$(shell $(python) -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
		2>/dev/null && echo $(python))) python3)
PORT ?= 8000
ARGS ?=
LONG ?=
AIMOCK ?=
AGENTS ?=
SERVERS ?=
ON ?= sqlite postgresql

VENV := .venv/bin
PIP := $(VENV)/python -m pip install -qq --disable-pip-version-check --no-input --require-hashes
LOCK := uv pip compile --quiet --generate-hashes --universal --python-version 3.11 \
	--no-emit-index-url --no-header --no-strip-extras pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help setup run test lint format lock audit

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: .venv/requirements.txt ## make .venv and install the locked dependencies

run: setup ## serve on http://127.0.0.1:8000 (PORT=… for another port); the first time, make a demo
	@$(VENV)/python manage.py up --port $(PORT)

test: .venv/requirements-dev.txt ## the whole suite, on PostgreSQL what depends on the database (ARGS="tests/costs -k ledger", LONG=1, AIMOCK=1, AGENTS=seen|newest, SERVERS=seen|newest, ON=sqlite)
	@$(VENV)/python -W ignore:XDG_RUNTIME_DIR -m tests.run --on "$(ON)" $(if $(LONG),--long -o faulthandler_timeout=3600) $(if $(AIMOCK),--aimock) $(if $(AGENTS),--agents=$(AGENTS)) $(if $(SERVERS),--servers=$(SERVERS)) $(ARGS)

lint: .venv/requirements-dev.txt ## format, rules, types, directions of imports, missing migrations, words
	@$(VENV)/ruff format --check .
	@$(VENV)/ruff check .
	@$(VENV)/mypy
	@$(VENV)/lint-imports
	@$(VENV)/python manage.py makemigrations --check --dry-run
	@$(VENV)/python -m docs.words

format: .venv/requirements-dev.txt ## rewrite the code in the house's form
	@$(VENV)/ruff format .
	@$(VENV)/ruff check --fix .

lock: ## lock the dependencies of pyproject.toml again (needs uv)
	@$(LOCK) --output-file requirements.txt
	@$(LOCK) --group dev --output-file requirements-dev.txt

audit: ## look the locked dependencies up among known vulnerabilities (needs uv or pipx, and the network)
	@if command -v uvx >/dev/null; then run=uvx; \
	elif command -v pipx >/dev/null; then run="pipx run"; \
	else echo "make audit runs pip-audit by uvx or pipx; install one of them." >&2; exit 1; fi; \
	$$run pip-audit --disable-pip --require-hashes \
		--requirement requirements.txt --requirement requirements-dev.txt $(ARGS)

# The copy beside the environment tells which lock file it was made from.
.venv/requirements.txt: requirements.txt | $(VENV)/python
	@echo "Installing what requirements.txt locks; this takes a minute the first time."
	@$(PIP) --requirement $<
	@cp $< $@

.venv/requirements-dev.txt: requirements-dev.txt .venv/requirements.txt
	@echo "Installing what the tests need besides."
	@$(PIP) --requirement $<
	@cp $< $@

$(VENV)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Pulse AI Gateway needs Python 3.11 or newer as $(PYTHON); name another: make PYTHON=python3.12 …" >&2; \
		exit 1; }
	@$(PYTHON) -m venv .venv || { \
		rm -rf .venv; \
		echo "$(PYTHON) cannot make an environment; on Debian, install python3-venv." >&2; \
		exit 1; }
