# Every target makes its own environment first: .venv, from requirements.lock, checked against its hashes.
# Needs make and a Python >= 3.11 with its venv module; PYTHON=/path/to/python chooses one.

.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# A container often sets it. Without compiled modules on disk, every process of the some hundred that a build
# and the tests start compiles torch and all the rest again, which takes longer than what most of them do.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help book test lab bench lock format clean

help:  ## show this list
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

book: $(READY)  ## execute the chapters and build the book into _build/html
	@$(BIN)/python -m hands_lib build

test: $(READY)  ## everything that has to hold: style, imports, units, chapters, pages in a browser
	@$(BIN)/python tests/run_all.py

lab: $(READY)  ## open the chapters as notebooks in JupyterLab
	@JUPYTER_CONFIG_DIR=$(VENV)/etc/jupyter $(BIN)/python -m jupytext_config set-default-viewer markdown myst >/dev/null
	@env -u JUPYTER_PATH JUPYTER_PREFER_ENV_PATH=1 $(BIN)/python -m hands_lib.pages.lab book

bench: $(READY)  ## speed of the library beside its peers, in the same run
	@$(BIN)/python -m pytest benchmarks -o addopts= -p no:cacheprovider --benchmark-only --benchmark-columns=min,median,rounds

lock: $(READY)  ## resolve pyproject.toml again into requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --extra book --extra sweep --extra photo --extra pretrained --extra simulation --extra test --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --quiet -o requirements.lock

format: $(READY)  ## bring the sources into their format and mend what ruff can mend
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

clean:  ## delete the built book; environment and runs stay
	rm -rf _build

# uv itself is pinned in the lock: pip installs that one, with its hash, and uv installs the rest.
$(READY): requirements.lock pyproject.toml
	@set -eu; python=""; \
	for name in "$(PYTHON)" python3.12 python3.11 python3.13 python3; do \
		if "$$name" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "make: no Python >= 3.11 found; install one, or say make PYTHON=/path/to/python"; exit 1; fi; \
	if [ ! -x $(BIN)/python ]; then \
		echo "making $(VENV) with $$("$$python" --version)"; \
		"$$python" -m venv $(VENV) || { rm -rf $(VENV); echo "make: $$python has no venv module (on Debian: apt-get install python3-venv)"; exit 1; }; \
	fi; \
	if [ ! -x $(BIN)/uv ]; then \
		sed -n '/^uv==/,/# via/p' requirements.lock | grep -v '# via' > $(VENV)/uv.lock; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.lock; \
	fi; \
	echo "installing the locked packages"; \
	export VIRTUAL_ENV="$$PWD/$(VENV)"; \
	$(BIN)/uv pip sync --quiet --require-hashes requirements.lock; \
	$(BIN)/uv pip install --quiet --no-deps --no-build-isolation -e .; \
	touch $@
