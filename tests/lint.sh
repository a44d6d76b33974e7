#!/usr/bin/env bash
# ruff, mypy --strict for the oldest Python that pydock supports, shellcheck. The tools come into a virtual environment
# in the cache folder; as root on Debian and Ubuntu, what that needs of the system is installed too.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=(ruff==0.15.18 mypy==1.20.2)      # the last mypy that knows Python 3.9
venv=${XDG_CACHE_HOME:-$HOME/.cache}/pydock-lint
status=0

# system PACKAGE: installs it, or says how.
system() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        { apt-get -qq update || true; DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$1" >/dev/null; } >&2
    else
        echo "lint.sh: needs $1: sudo apt-get install $1" >&2
        exit 1
    fi
}

check() {
    echo "+ $*"
    "$@" || status=1
}

if [ "$(cat "$venv/tools" 2>/dev/null)" != "${tools[*]}" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv" >/dev/null 2>&1 || { system python3-venv; python3 -m venv --clear "$venv"; }
    "$venv/bin/pip" install -q --disable-pip-version-check "${tools[@]}"
    echo "${tools[*]}" >"$venv/tools"
fi
command -v shellcheck >/dev/null || system shellcheck

check "$venv/bin/ruff" format -q --check pydock.py
check "$venv/bin/ruff" check -q --output-format concise pydock.py tests
check "$venv/bin/mypy" --strict --python-version 3.9 pydock.py
check "$venv/bin/mypy" --python-version 3.9 tests
check shellcheck install/*.sh tests/*.sh .ci/run
exit "$status"
