# On a machine with Python ≥ 3.11, git and make: `make demo` and `make test` do the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A worker that is restarted would never be given what is left: xdist gives it finished files.
RUN_TESTS := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --max-worker-restart 0

.PHONY: demo test lint types docs help clean

help:
	@echo "make demo   set up, then run an Optuna study with and without the pruner (2 min)"
	@echo "make test   set up, then lint, type check and test"
	@echo "make docs   set up, then build the documentation: docs/_build/html/index.html"
	@echo "make clean  remove the environment, the built pages and what the demo wrote"

demo: $(VENV)/installed-demo
	$(BIN)/recent-prune demo

test: lint types
	$(RUN_TESTS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/installed-dev
	$(BIN)/mypy

docs: $(VENV)/installed-docs
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

# installed-EXTRA marks an environment that holds the package with that extra.
$(VENV)/installed-%: pyproject.toml constraints.txt
	@echo "Installing into $(VENV): PyTorch is several GB, so the first time takes minutes …"
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[$*]'
	@touch $@

clean:
	rm -rf $(VENV) docs/_build recent_prune_demo.db recent_prune_demo.html
