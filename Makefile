# `make` shows the targets. demo, test, test-all and bench set up what they need on a fresh Debian or Ubuntu, as root.
# TESTS: lanes of tests/run.py, modules, classes or tests. JOBS: how many at once.
# install, dev and uninstall work in $(PREFIX)/bin.
PREFIX ?= /usr/local
JOBS ?= 2
TESTS ?= check test

.PHONY: help demo check test test-all fuzz bench lint install dev uninstall

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: ## see pydock at work: an environment, scikit-learn, an analysis; removed at the end (three minutes)
	@tests/demo.sh

check: lint ## lint, types, a small fuzz, and the tests that need no engine (a minute)
	@FUZZ=$${FUZZ:-50} python3 tests/fuzz.py
	@PYDOCK_ENGINE=no-engine python3 tests/run.py --jobs $(JOBS) check

test: ## the tests of one engine: each command, and how it fails (ten minutes)
	@client=$$(install/engine.sh 3.11 3.13) && eval "$$client" && tests/engines.sh tools && \
	registry=$$(tests/engines.sh registry) && eval "$$registry" && set -x && python3 tests/run.py --jobs $(JOBS) $(TESTS)

test-all: ## all tests on all engines: docker old and new, podman, rootless podman (45 minutes)
	@.ci/run

fuzz: ## 500 random inputs of each kind, without an engine (FUZZ=N, FUZZ_SEED=S)
	@python3 tests/fuzz.py

bench: ## time pydock against docker by hand
	@client=$$(install/engine.sh 3.11) && eval "$$client" && python3 tests/bench.py

lint: ## ruff, mypy --strict, shellcheck
	@tests/lint.sh

install: ## install pydock into $(PREFIX)/bin
	@install/linux.sh --prefix "$(PREFIX)"

dev: ## link this working copy as $(PREFIX)/bin/pydock
	@install/linux.sh --prefix "$(PREFIX)" --uninstall
	@mkdir -p "$(PREFIX)/bin"
	ln -s "$(CURDIR)/pydock.py" "$(PREFIX)/bin/pydock"

uninstall: ## remove $(PREFIX)/bin/pydock; keep the environments
	@install/linux.sh --prefix "$(PREFIX)" --uninstall
