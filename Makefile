# The main commands are `make demo` and `make test`. Both set up .venv first if it is missing or older than the pins.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: setup demo test lowest lint types rooms wheel docs site dist clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   set up, train PPO and CAMAL on the toy grid, evaluate both on held-out levels, print the results"
	@echo "make test   set up, run the tests"
	@echo "make lint | types | rooms | wheel   the other checks of continuous integration"
	@echo "make lowest test agents, runs and the command line with the oldest supported versions"
	@echo "make docs   serve the documentation site on this machine; make site builds it strictly into build/docs"
	@echo "make dist   build and check the source distribution and the wheel of a release"
	@echo "make clean  remove .venv and build products (not runs/)"

# $(call simulators_and_opencv,FOLDER,CONSTRAINTS): install OCAtari and dm_control without requirements that are not needed
# and cannot be installed on every Python, and an OpenCV that loads on this machine.
define simulators_and_opencv
	$(1)/python -m pip install --quiet --no-deps -c constraints.txt ocatari dm_control
	@$(1)/python -c 'import cv2' 2>/dev/null || { \
	  echo "OpenCV cannot load (libGL or glib is missing: apt-get install libgl1 libglib2.0-0); installing its headless build instead"; \
	  $(1)/python -m pip uninstall --quiet --yes opencv-python && \
	  $(1)/python -m pip install --quiet -c $(2) opencv-python-headless && \
	  $(1)/python -c 'import cv2'; }
endef

setup: $(STAMP)

$(STAMP): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not ((3, 10) <= sys.version_info[:2] <= (3, 13)))' \
	  || { echo "Python must be 3.10 to 3.13; try: make PYTHON=python3.11" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip setuptools wheel
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	$(call simulators_and_opencv,$(BIN),constraints.txt)
	@touch $@

demo: $(STAMP)
	$(BIN)/camal-rl compare demo --methods ppo,camal --seeds 1 --jobs 2 --out runs/demo

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile

# Tests with the oldest supported versions of everything except torch, in a separate environment. LOWEST_TESTS=tests
# runs all tests.
LOWEST := .venv-lowest
LOWEST_TESTS ?= tests/agents tests/runs tests/cli

$(LOWEST)/.ready: setup.cfg constraints.txt
	test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	$(PYTHON) tests/lowest_versions.py > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install --quiet -c $(LOWEST)/constraints.txt \
	  -e '.[procgen,minigrid,vizdoom,crafter,dm-control,supervised,onnx,video,explain]' ale-py scikit-image termcolor torchcam pytest pytest-xdist
	$(call simulators_and_opencv,$(LOWEST)/bin,$(LOWEST)/constraints.txt)
	@touch $@

lowest: $(LOWEST)/.ready
	$(LOWEST)/bin/python -m pytest -n 2 --dist loadfile -p no:cacheprovider $(LOWEST_TESTS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

wheel: $(STAMP)
	rm -rf build dist
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	$(BIN)/python -m pip install --quiet --no-deps --target build/site dist/*.whl

# Checks which packages may import which (the rooms of ARCHITECTURE.md), in the wheel's copy.
rooms: wheel
	cd build/site && $(CURDIR)/$(BIN)/lint-imports $(CURDIR)/setup.cfg --no-cache

# Type checkers cannot follow an editable install whose folders are mapped, so they check the wheel's copy.
types: wheel
	cd build/site && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/setup.cfg -p camal_rl
	cd build/site && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/setup.cfg $(CURDIR)/examples

# This silences Material's hint at its successor, which has no hooks yet.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs

docs: $(STAMP)
	$(MKDOCS) serve --strict

site: $(STAMP)
	$(MKDOCS) build --strict

dist: $(STAMP)
	rm -rf build dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/python -m twine check --strict dist/*

clean:
	rm -rf $(VENV) $(LOWEST) build dist .pytest_cache .mypy_cache .ruff_cache camal_rl.egg-info
