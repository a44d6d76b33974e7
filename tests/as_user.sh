#!/usr/bin/env bash
# Runs a command as the user of a rootless engine, in a copy of this repository that this user can read and write:
#   eval "$(tests/engines.sh rootless)"; tests/as_user.sh tests/run.py test_tour
# (Without it, root's own podman would write into that user's storage.)
set -euo pipefail
shopt -s extglob dotglob

here=$(cd "$(dirname "$0")/.." && pwd)
user=${PYDOCK_TEST_USER:?eval "\$(tests/engines.sh rootless)" first}
home=$(getent passwd "$user" | cut -d : -f 6)
copy=$(mktemp -d /var/tmp/pydock-copy.XXXXXX)
trap 'rm -rf "$copy"' EXIT
trap 'exit 130' INT TERM HUP

mkdir "$copy/pydock" "$copy/tmp"
cp -R "$here"/!(.git|.*_cache) "$copy/pydock"
chown -R "$user:" "$copy"
cd "$copy/pydock"
# The PATH of the system: Python, or an engine's client, in a folder of root's is none for that user.
setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups \
    env -u DOCKER_HOST -u DOCKER_CONFIG -u DOCKER_CONTEXT -u XDG_CONFIG_HOME -u XDG_CACHE_HOME -u XDG_DATA_HOME -u XDG_STATE_HOME \
    HOME="$home" USER="$user" LOGNAME="$user" SHELL=/bin/bash TMPDIR="$copy/tmp" PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin "$@"
