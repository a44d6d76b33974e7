# make            shows the targets
# make demo       and `make test`, `make bench`: each sets up what it needs on a fresh Debian or Ubuntu, as root
# PREFIX          where install, dev and uninstall work: $(PREFIX)/bin/pydock
PREFIX ?= /usr/local
PYTHON ?= python3
TOOLS := ruff==0.14.6 mypy==1.18.2
VENV := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pydock-lint
SCRIPTS := $(wildcard install/*.sh tests/*.sh) .ci/run

.PHONY: help demo test bench lint install dev uninstall

help: ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: ## create an environment, install scikit-learn, run an analysis; in a throw-away home, in under three minutes
	@tests/demo.sh

test: ## all tests, on the engine that answers (one is set up where none does)
	@install/engine.sh 3.11 3.13
	$(PYTHON) tests/run.py

bench: ## what pydock costs against the same thing by hand, as a table
	@install/engine.sh 3.11
	$(PYTHON) tests/bench.py

lint: ## ruff, mypy --strict, shellcheck
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@test "$$(cat $(VENV)/tools 2>/dev/null)" = "$(TOOLS)" || { $(VENV)/bin/pip install -q $(TOOLS) && echo "$(TOOLS)" >$(VENV)/tools; }
	$(VENV)/bin/ruff check pydock.py tests
	$(VENV)/bin/mypy --strict pydock.py
	$(VENV)/bin/mypy tests
	@command -v shellcheck >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get -qq install -y shellcheck >/dev/null; } || \
		{ echo "shellcheck is missing: apt-get install shellcheck"; exit 1; }
	shellcheck $(SCRIPTS)

install: ## put pydock into $(PREFIX)/bin
	@install/linux.sh --prefix $(PREFIX)

dev: ## link this working copy as $(PREFIX)/bin/pydock
	@install/linux.sh --prefix $(PREFIX) --uninstall 2>/dev/null || install/linux.sh --prefix $(PREFIX) --uninstall
	@mkdir -p $(PREFIX)/bin
	ln -s $(CURDIR)/pydock.py $(PREFIX)/bin/pydock

uninstall: ## remove $(PREFIX)/bin/pydock; environments stay
	@install/linux.sh --prefix $(PREFIX) --uninstall
