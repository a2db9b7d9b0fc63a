# Everything a person does with this repository; `make help` lists it. Each target installs what it needs into .venv.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.stamp

# Ray starts a Python a worker: with .pyc files in place that takes 0.5 s, without them seconds. Our own are compiled
# before they are run, because some images tell Python not to write them (PYTHONDONTWRITEBYTECODE).
export UV_COMPILE_BYTECODE := 1
export UV_NO_PROGRESS := 1
# Environments that draw do so without a screen.
export SDL_VIDEODRIVER ?= dummy
export SDL_AUDIODRIVER ?= dummy

.DEFAULT_GOAL := help

.PHONY: help
help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# ---- what it is for -------------------------------------------------------------------------------------------------

.PHONY: demo
demo: compiled  ## record real environments and show what was recorded
	$(BIN)/python -m rolltape.scripts.demo $(ARGS)

.PHONY: bench
bench: compiled $(if $(PEERS),.venv-peers/.stamp)  ## what recording costs; PEERS=1 measures others too, ARGS="--help"
	$(BIN)/python -m rolltape.scripts.bench $(if $(PEERS),--peers) $(ARGS)

# ---- is it right ----------------------------------------------------------------------------------------------------

# Tests with Ray wait for processes to start, so more at a time than there are cores. docs/decisions/0011-how-tests-run.md.
JOBS ?= 3
SHARED = -n $(JOBS) --dist worksteal

.PHONY: test
test: lint browser compiled  ## lint, then every test but the long ones; ARGS="-k name" picks, JOBS=0 runs them in one process
	$(BIN)/python -m pytest $(SHARED) -m "not long" $(ARGS)

.PHONY: test-long
test-long: lint browser compiled  ## the long tests as well
	$(BIN)/python -m pytest $(SHARED) --hypothesis-profile=long $(ARGS)

# pyright names a file by the link that it is imported through; a person wants the file.
.PHONY: lint
lint: $(STAMP)  ## ruff, pyright, and whether generated pages are up to date
	$(BIN)/ruff check
	$(BIN)/pyright --project .importmap | sed -e 's#$(CURDIR)/##; s#\.importmap/rolltape/\([a-z]*/\)#\1#; s#\.importmap/##'
	$(BIN)/python -m rolltape.scripts.reference --check

.PHONY: page
page:  ## build dashboards/static/ from dashboards/web/; needs Node 20 or newer
	cd dashboards/web && npm ci --no-audit --no-fund && npm run build && npm test

.PHONY: docs
docs: $(STAMP)  ## write the generated pages anew
	$(BIN)/python -m rolltape.scripts.reference

# Tests of the page drive Debian's Chromium. Where it is missing and this may install it, it does; elsewhere those tests
# are skipped, and say so.
.PHONY: browser
browser:
	@command -v chromium >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
		&& apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; } \
		|| echo "No chromium: tests of the page in a browser will be skipped. Install the package chromium."

# ---- the environment ------------------------------------------------------------------------------------------------

.PHONY: venv
venv: $(STAMP)  ## make .venv with everything pinned and hashed

.PHONY: compiled
compiled: $(STAMP)
	@$(BIN)/python -m compileall -q rolltape schema storage actors dashboards scripts tests

# uv comes by pip, so that Python is all a machine has to bring.
$(BIN)/uv: requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Rolltape needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	touch $@

PARTS_IN_C := actors/_row.c actors/_tape.c schema/_changes.c
HEADERS := actors/_film.h actors/_record.h actors/_values.h schema/_changes.h

# The build runs with the setuptools of the lock (no isolation), so it too needs nothing that is not pinned. It compiles
# the parts in C in place, and goes on without where it cannot: a library of before must not stay then.
$(STAMP): $(BIN)/uv requirements/dev.txt pyproject.toml setup.py $(PARTS_IN_C) $(HEADERS)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	rm -f $(PARTS_IN_C:.c=.*.so)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

# Peers of the benchmarks: heavy, and not needed for anything else, so they have an environment of their own.
.venv-peers/.stamp: $(STAMP) requirements/peers.txt
	test -x .venv-peers/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python .venv-peers
	$(BIN)/uv pip install --quiet --python .venv-peers/bin/python --require-hashes -r requirements/peers.txt
	$(BIN)/uv pip install --quiet --python .venv-peers/bin/python --no-deps --no-build-isolation --editable .
	touch $@

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links

.PHONY: lock
lock: $(BIN)/uv  ## compile requirements/*.txt anew; UPGRADE=1 takes newer versions
	$(COMPILE) $(if $(UPGRADE),--upgrade) requirements/uv.in -o requirements/uv.txt
	$(COMPILE) $(if $(UPGRADE),--upgrade) pyproject.toml --all-extras --group dev -c requirements/uv.txt \
		-o requirements/dev.txt
	$(COMPILE) $(if $(UPGRADE),--upgrade) requirements/peers.in -o requirements/peers.txt

.PHONY: clean
clean:  ## remove .venv, caches and build outputs; recordings stay
	rm -rf $(PARTS_IN_C:.c=.*.so) .venv .venv-peers build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
