# make train   read input.txt (or a default text), train the laptop preset, show what it writes
# make test    run the tests, but for the page
# make test-web   run those of the page, in a real browser (ZIGPT_BROWSER, or chromium in the path)
# make check   format, lint, types
# make types   check the types of the page's JavaScript (needs npm; the only one that asks its registry)
# make bench   measure speed against a plain reference and the machine's own limit
# make torture MINUTES=30 SEED=1   kill, starve, damage and mislead zigpt for as long as you like
# Each makes the environment it needs in .venv, from the versions in requirements.lock.

PYTHON ?= python3
# A constraint given in the environment also binds what is installed only to build the package.
PIP := PIP_CONSTRAINT=requirements.lock .venv/bin/python -m pip --quiet --disable-pip-version-check install

MINUTES ?= 30
SEED ?= 1
TYPESCRIPT := 5.9.3
TSC := .venv/typescript-$(TYPESCRIPT)/node_modules/.bin/tsc

.PHONY: train test test-web check types bench torture clean

train: .venv/run
	.venv/bin/zigpt train

PYTEST := OMP_NUM_THREADS=1 .venv/bin/pytest --numprocesses 2 --dist worksteal

test: .venv/dev
	$(PYTEST) --ignore-glob='*/test_web_*'

test-web: .venv/dev
	$(PYTEST) tests/test_web_*.py

check: .venv/dev
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

types: $(TSC)
	$(TSC)

bench: .venv/run
	.venv/bin/zigpt bench

torture: .venv/dev
	.venv/bin/python -m stress.torture $(MINUTES) $(SEED)

.venv/bin/python:
	$(PYTHON) -m venv .venv

$(TSC):
	npm install --silent --no-save --no-audit --no-fund --prefix .venv/typescript-$(TYPESCRIPT) typescript@$(TYPESCRIPT)

.venv/run: .venv/bin/python pyproject.toml requirements.lock
	@echo "installing into .venv (once)"
	$(PIP) --editable '.[web]'
	@touch $@

.venv/dev: .venv/run
	$(PIP) --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv
