# A fresh machine needs python3.11 (or newer), make and git; all else is made here, in .venv.
#
#   make demo    sets up, reads real and synthetic DICOM, leaves maps in demo_output/
#   make test    the whole test suite          make lint    ruff and mypy
#   make docs    the manual, notebooks run     make bench   speed and memory against other readers
#   make fuzz    damaged files of every kind, for MINUTES=10

SYSTEM_PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
PYTHON = $(VENV)/bin/python
WORKERS ?= auto
MINUTES ?= 10

# apt packages that some tests use as judges of what the package writes and reads
JUDGES = dicom3tools dcmtk

.PHONY: help env demo test lint format docs bench fuzz constraints judges clean
.NOTPARALLEL:

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -6

# One stamp per group, so that `make demo` installs no more than a user would.
$(VENV)/.pip:
	$(SYSTEM_PYTHON) -m venv $(VENV)
	$(PYTHON) -m pip install -q --disable-pip-version-check --upgrade "pip>=25.1"
	@touch $@

$(VENV)/.demo: $(VENV)/.pip pyproject.toml constraints.txt
	$(PYTHON) -m pip install -q -c constraints.txt -e ".[plot]"
	@touch $@

$(VENV)/.%: $(VENV)/.pip pyproject.toml constraints.txt
	$(PYTHON) -m pip install -q -c constraints.txt -e ".[all]" --group $*
	@touch $@

env: $(VENV)/.dev

demo: $(VENV)/.demo
	$(PYTHON) docs/examples/demo.py

test: $(VENV)/.test judges
	$(PYTHON) -m pytest -n $(WORKERS) $(ARGS)

lint: $(VENV)/.lint
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

format: $(VENV)/.lint
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

docs: $(VENV)/.docs
	$(PYTHON) -m sphinx -W --keep-going -b html docs docs/_build/html
	@echo "The manual is in docs/_build/html/index.html"

bench: $(VENV)/.test
	$(PYTHON) -m benchmarks $(ARGS)

fuzz: $(VENV)/.test
	$(PYTHON) -m tests.fuzz --minutes $(MINUTES) $(ARGS)

# Never fails: the tests that need a judge that is missing are skipped, and say so.
judges:
	@if command -v dciodvfy >/dev/null && command -v dcmdump >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		export DEBIAN_FRONTEND=noninteractive; \
		{ apt-get install -qq -y $(JUDGES) || { apt-get update -qq && apt-get install -qq -y $(JUDGES); }; } \
		</dev/null >/dev/null 2>&1 \
		|| echo "Could not install $(JUDGES); the tests that need them are skipped."; \
	else echo "Some tests need: $(JUDGES) (apt-get install $(JUDGES)); they are skipped."; fi

# The versions that CI uses: what the floors of pyproject.toml resolve to today.
constraints:
	rm -rf build/constraints && $(SYSTEM_PYTHON) -m venv build/constraints
	build/constraints/bin/python -m pip install -q --upgrade pip
	build/constraints/bin/python -m pip install -q -e ".[all]" --group dev
	build/constraints/bin/python -m pip list --format=freeze --exclude-editable --exclude pip \
		--exclude setuptools | LC_ALL=C sort -f > constraints.txt
	rm -rf build/constraints

clean:
	rm -rf $(VENV) build dist docs/_build docs/api/generated demo_output .mypy_cache .ruff_cache .pytest_cache
