# Everything a person does with this repository; `make help` lists it. Each target installs what it needs into .venv.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.stamp

# Ray starts a Python a worker: with .pyc files in place that takes 0.5 s, without them seconds.
export UV_COMPILE_BYTECODE := 1
export UV_NO_PROGRESS := 1
# Settings of one machine must not end in a lock file or decide what is installed.
unexport PIP_FIND_LINKS PIP_INDEX_URL PIP_EXTRA_INDEX_URL UV_FIND_LINKS UV_EXTRA_INDEX_URL
# Environments that draw do so without a screen.
export SDL_VIDEODRIVER ?= dummy
export SDL_AUDIODRIVER ?= dummy

.DEFAULT_GOAL := help

.PHONY: help
help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# ---- the environment ------------------------------------------------------------------------------------------------

.PHONY: venv
venv: $(STAMP)  ## make .venv with everything pinned and hashed

# uv comes by pip, so that Python is all a machine has to bring.
$(BIN)/uv: requirements/uv.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	touch $@

# The build runs with the setuptools of the lock (no isolation), so it too needs nothing that is not pinned.
$(STAMP): $(BIN)/uv requirements/dev.txt pyproject.toml
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links

.PHONY: lock
lock: $(BIN)/uv  ## compile requirements/*.txt anew; UPGRADE=1 takes newer versions
	$(COMPILE) $(if $(UPGRADE),--upgrade) requirements/uv.in -o requirements/uv.txt
	$(COMPILE) $(if $(UPGRADE),--upgrade) pyproject.toml --all-extras --group dev -c requirements/uv.txt \
		-o requirements/dev.txt
