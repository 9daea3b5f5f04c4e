# `make` alone lists what there is. Every target sets up .venv first if it has to.
# PYTHON=/path/to/python3.12 chooses the Python; ARGS="..." is handed on.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup run stop test check format lock docs bench clean
PYTHON ?=
ARGS ?=
export PYTHON

bin := .venv/bin
# Two at a time, as most of them wait for a kernel; ARGS="-n 0" runs them in one process.
tests := $(bin)/python -m pytest -n 2 --dist loadgroup
compile := $(bin)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

setup: ## set up .venv as locked (all others do it themselves)
	@sh .make/setup.sh

run: setup ## start Cellmate; ARGS="--file sales.csv --run cells.py" runs cells and ends
	@exec $(bin)/python -m bot $(ARGS)

stop: ## end Cellmate with all of its kernels, also what a killed one has left
	@if [ -x $(bin)/python ]; then exec $(bin)/python -m interpreter stop $(ARGS); \
	else echo "Nothing was ever started here: there is no .venv."; fi

test: setup ## run the tests; ARGS="-k files" some of them
	@exec $(tests) $(ARGS)

check: setup ## everything a change has to pass: linter, format, types, tests
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	@exec $(tests) $(ARGS)

format: setup ## format the code and mend what the linter can
	$(bin)/ruff check --fix-only .
	$(bin)/ruff format .

lock: setup ## pin the requirements again; UPGRADE=1 takes the newest versions
	$(compile) interpreter/kernel-requirements.in --output-file interpreter/kernel-requirements.lock
	$(compile) pyproject.toml --all-extras --constraints interpreter/kernel-requirements.lock \
		--output-file requirements.lock

docs: setup ## write .env.example and the tables in docs/ anew from the code
	$(bin)/python .make/env_example.py > .env.example.new
	mv .env.example.new .env.example
	$(bin)/python deploy/make_profile.py > deploy/seccomp.json.new
	mv deploy/seccomp.json.new deploy/seccomp.json
	$(bin)/python .make/file_types.py > docs/file-types.md.new
	mv docs/file-types.md.new docs/file-types.md

bench: setup ## measure against stock Jupyter; prints a table, writes JSON
	@exec $(bin)/python -m benchmarks $(ARGS)

clean: ## remove .venv and all that tools left here (not users' data)
	rm -rf .venv .boot .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
