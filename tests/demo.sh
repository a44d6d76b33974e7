#!/usr/bin/env bash
# What pydock does, shown on a real engine in a throw-away home: your own environments and images are not touched.
set -euo pipefail

colour='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then colour=$'\033[1;36m' plain=$'\033[0m'; fi
say() { printf '\n%s# %s%s\n' "$colour" "$*" "$plain"; }
# Shows a command as a person would type it, and runs it.
step() {
    printf '%s$ %s%s\n' "$colour" "$*" "$plain"
    eval "$*"
}

say 'The demo of pydock takes two to three minutes: docker and a base image (where they are missing), an environment,
# scikit-learn in it, an analysis, what is there now, and its removal.'
here=$(cd "$(dirname "$0")/.." && pwd)
cd "$here"
# shellcheck disable=SC2016  # it is evaluated there
step 'client=$(install/engine.sh 3.11) && eval "$client"'

tmp=$(mktemp -d "${TMPDIR:-/tmp}/pydock-demo.XXXXXX")
prefix=demo$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')
# The engine's client, and an installer, still have what they are told in the real home.
if [ -f "$HOME/.docker/config.json" ] || [ -d "$HOME/.docker/cli-plugins" ]; then export DOCKER_CONFIG=${DOCKER_CONFIG:-$HOME/.docker}; fi
if [ -f "$HOME/.config/pip/pip.conf" ]; then export PIP_CONFIG_FILE=${PIP_CONFIG_FILE:-$HOME/.config/pip/pip.conf}; fi
export HOME=$tmp/home PYDOCK_PREFIX=$prefix
mkdir -p "$HOME/project" "$tmp/bin"
ln -s "$here/pydock.py" "$tmp/bin/pydock"
PATH=$tmp/bin:$PATH

cleanup() {
    pydock -q --global delete datascience -y --force >/dev/null 2>&1 || true
    rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

cd "$HOME/project"
say "An environment, in a home folder for this demo alone: $HOME"
step pydock create datascience 3.11

say 'Packages go into the image, their exact versions into requirements.txt'
step pydock install datascience scikit-learn

say 'A program of your own, in the current folder'
cat >analysis.py <<'END'
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

data = load_breast_cancer()
print("%d tumours, %d measurements of each; malignant or benign?" % data.data.shape)
for model in (make_pipeline(StandardScaler(), LogisticRegression()), RandomForestClassifier(random_state=0)):
    scores = cross_val_score(model, data.data, data.target, cv=5)
    name = type(model[-1] if hasattr(model, "steps") else model).__name__
    line = "%-24s right in %.1f%% of the cases it had not seen" % (name, 100 * scores.mean())
    print(line)
    print(line, file=open("result.txt", "a"))
END
step cat analysis.py
step pydock run datascience python analysis.py
step ls -l

say 'What is there now: a folder with two standard files, and an image'
step pydock list
step 'cd ~/.pydock/envs/datascience && ls -l'
step cat requirements.txt
step cat dockerfile

say 'The docker command behind a run'
step 'cd ~/project && pydock --dry-run run datascience python analysis.py'

say 'Remove it'
step pydock delete datascience -y
step pydock list
sudo='sudo '
[ "$(id -u)" != 0 ] || sudo=''
say "Done in $SECONDS seconds. Next: ${sudo}make install, then in a folder of yours: pydock create NAME
# README.md has everything else: activate, notebooks, a team's repository, CI."
