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
# The texts of pydock.py that run elsewhere. They have no first line, their variables are set by whoever runs them, and an unquoted
# variable in them holds a number, a path without blanks, or words.
texts=$(mktemp -d)
trap 'rm -rf "$texts"' EXIT
python3 -ISB - "$texts" <<'END'
import os, sys
sys.path.insert(0, os.getcwd())
import pydock
for name, text in vars(pydock).items():
    if name.endswith(("_SH", "_PY")):
        with open(f"{sys.argv[1]}/{name}{'.py' if name.endswith('_PY') else '.sh'}", "w") as file:
            file.write(text)
END
check shellcheck -s dash -S warning -e SC1007,SC1090,SC2034,SC2064,SC2115,SC2154,SC2164 "$texts"/*.sh
check "$venv/bin/ruff" check -q --isolated --target-version py37 --output-format concise --select E,F,W --ignore E401,E501 "$texts"/*.py
check shellcheck install/*.sh tests/*.sh .ci/run
exit "$status"
