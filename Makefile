# Each target makes the environment it needs in .venv, from the versions in requirements.lock.

PYTHON ?= python3
# Constraints given in the environment also bind what is installed only to build the package. Nothing
# is compiled ahead: most of it is never imported.
PIP := PIP_CONSTRAINT=requirements.lock PIP_BUILD_CONSTRAINT=requirements.lock \
	.venv/bin/python -m pip --quiet --disable-pip-version-check install --no-compile
ZH := $(filter zh%,$(firstword $(ZIGPT_LANG) $(LC_ALL) $(LC_MESSAGES) $(LANG)))
PYTEST := OMP_NUM_THREADS=1 .venv/bin/pytest --numprocesses 2 --dist worksteal

MINUTES ?= 30
SEED ?= 1
TYPESCRIPT := 5.9.3
TSC := .venv/typescript-$(TYPESCRIPT)/node_modules/.bin/tsc

.PHONY: help train test lowest newest test-web check types catalogue bench torture clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

train: .venv/run ## learn input.txt (or a default text) for three minutes, show what it writes
	.venv/bin/zigpt train --minutes 3

test: .venv/dev ## run the tests, but for the page
	$(PYTEST) --ignore-glob='*/test_web_*'

lowest: ## run the tests with the lowest versions that pyproject.toml allows (takes gigabytes)
newest: ## the same with the newest; with PYTHON=python3.13, on another Python
lowest newest:
	rm -rf .venv-$@ && $(PYTHON) -m venv .venv-$@
	[ $@ = newest ] || sed -n 's/^    "\([a-z-]*\)>=\([0-9.]*\).*/\1==\2/p' pyproject.toml > .venv-$@/bounds
	touch .venv-$@/bounds
	.venv-$@/bin/python -m pip --quiet install --upgrade pip
	.venv-$@/bin/python -m pip --quiet install --constraint .venv-$@/bounds --editable '.[dev]'
	$(subst .venv,.venv-$@,$(PYTEST)) --ignore-glob='*/test_web_*'

test-web: .venv/dev ## run those of the page, in a real browser (ZIGPT_BROWSER, or chromium in the path)
	$(PYTEST) tests/test_web_*.py

check: .venv/dev ## check format, lint, imports, types, translations
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/lint-imports --no-logo
	.venv/bin/mypy
	.venv/bin/python -m tests.catalogue --check

types: $(TSC) ## check the types of the page's JavaScript (needs npm; the only one that asks its registry)
	$(TSC)

catalogue: .venv/dev ## collect the sentences that are to be translated, and compile their translations
	.venv/bin/python -m tests.catalogue

bench: .venv/run ## measure speed against a plain reference and the machine's own limit
	.venv/bin/zigpt bench

torture: .venv/dev ## kill, starve, damage and mislead zigpt, for MINUTES=30 from SEED=1
	.venv/bin/python -m stress.torture $(MINUTES) $(SEED)

clean: ## remove the environments
	rm -rf .venv .venv-lowest .venv-newest

# Written last: without these files, .venv holds what is left of an attempt that failed.
.venv/run: EXTRA := web,texts
.venv/dev: EXTRA := dev
.venv/run .venv/dev: pyproject.toml requirements.lock
	@echo "$(if $(ZH),安装到 .venv（只需一次）,installing into .venv (once))"
	@[ -e .venv/run ] || $(PYTHON) -m venv --clear .venv
	@$(PIP) pip # the one Python came with may need twice the time
	@index=$$(.venv/bin/python torch_index.py); [ -z "$$index" ] || \
		$(PIP) --no-deps --index-url "$$index" torch || echo "$(if $(ZH),改用默认的源,trying the usual index instead)"
	@$(PIP) --editable '.[$(EXTRA)]'
	@touch .venv/run $@

# After .venv/dev, which may clear the folder.
$(TSC): | .venv/dev
	npm install --silent --no-save --no-audit --no-fund --prefix .venv/typescript-$(TYPESCRIPT) typescript@$(TYPESCRIPT)
