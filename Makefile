# On a machine with Python ≥ 3.11, git and make: `make demo` and `make test` do the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
# In what order, and on which of them, tests/scheduling.py says. A worker that is restarted would
# never be given what is left: xdist gives it finished files.
RUN_TESTS := $(BIN)/python -m pytest --numprocesses $(WORKERS) --no-loadscope-reorder \
	--max-worker-restart 0
# A good part of the tests' time is waiting; types are checked in what they leave.
BESIDE_TYPES = nice -n 19 $(BIN)/mypy & types=$$!; $(1); tests=$$?; wait $$types && exit $$tests

.PHONY: demo test lint types docs figures release-check help clean

help:
	@echo "make demo   set up, then run an Optuna study with and without the pruner (2 min)"
	@echo "make test   set up, then lint, type check and test (a good ten minutes on two cores)"
	@echo "make test ALL=1  as well what is slow, and more examples of random tests"
	@echo "make docs   set up, then build the documentation: docs/_build/html/index.html"
	@echo "make figures  set up, then write the figures in README and docs anew, from the result files"
	@echo "make release-check  build, and try what is built with the lowest and the newest versions"
	@echo "make clean  remove the environment, the built pages and what the demo wrote"

demo: $(VENV)/installed-demo
	$(BIN)/recent-prune demo

test: lint
	$(call BESIDE_TYPES,$(RUN_TESTS) $(if $(ALL),--hypothesis-profile thorough,-m "not slow"))

lint: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell

types: $(VENV)/installed-dev
	$(BIN)/mypy

docs: $(VENV)/installed-docs
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

figures: $(VENV)/installed-dev
	$(BIN)/python -m docs.figures

release-check: $(VENV)/installed-dev
	$(BIN)/python -m release.check

# installed-EXTRA marks an environment that holds the package with that extra.
$(VENV)/installed-%: pyproject.toml constraints.txt
	@echo "Installing into $(VENV): PyTorch is several GB, so the first time takes minutes …"
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[$*]'
	@touch $@

clean:
	rm -rf $(VENV) docs/_build recent_prune_demo.db recent_prune_demo.html
