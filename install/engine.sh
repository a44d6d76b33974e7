#!/usr/bin/env bash
# A working docker engine and the base images pydock builds on, from Debian's or Ubuntu's own packages.
#   install/engine.sh [--group USER] [VERSION…]      (Python versions, default 3.11; what is there already is left alone)
# --group lets USER use docker without sudo, by the group docker: its members are as good as root.
# Base images are pulled; where no registry can be reached they are built from Debian packages instead.
# To stdout goes one `export` line, and only where another docker than the first on PATH is the one that can build.
set -euo pipefail
exec 3>&1 >&2 </dev/null                # all talk goes to stderr, and nothing here may ask
path=$PATH
PATH=$PATH:/usr/sbin:/sbin              # dockerd and debootstrap, where sbin is missing
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

bundle=/etc/ssl/certs/ca-certificates.crt
tmp='' jobs=() clock=''

say() { printf '%sengine.sh: %s\n' "${clock:+$'\r\e[K'}" "$*"; }
die() { say "$*"; exit 1; }
answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }
has_image() { docker image inspect "python:$1-slim" >/dev/null 2>&1; }
is_debian() { [ -r /etc/os-release ] && grep -qE '^ID(_LIKE)?=.*(debian|ubuntu)' /etc/os-release; }

apt_install() {
    # A third party's broken list must not stop this: the install itself tells whether it matters.
    apt-get -qq update || say "apt-get update failed in part; continuing"
    apt-get -qq install -y --no-install-recommends "$@" >/dev/null
}

# builds CLIENT: whether it has BuildKit: by buildx, or in itself, as docker 20 to 22 has.
builds() { "$1" buildx version >/dev/null 2>&1 || [[ $("$1" version --format '{{.Client.Version}}' 2>/dev/null) =~ ^2[0-2]\. ]]; }

# Sees to a client that can build: the first one, another one on PATH, or the first one with buildx of the system's packages.
client() {
    local folder folders package=docker-buildx
    ! builds docker || return 0
    IFS=: read -ra folders <<<"$path"
    for folder in "${folders[@]}"; do
        { [ -x "$folder/docker" ] && builds "$folder/docker"; } || continue
        say "$(command -v docker) cannot build (no buildx); using $folder/docker (for pydock: pydock config --global engine $folder/docker)"
        printf 'export PATH=%q\n' "$folder:$path" >&3
        return 0
    done
    ! dpkg -s docker-ce-cli >/dev/null 2>&1 || package=docker-buildx-plugin     # Docker's own packages
    if is_debian && [ "$(id -u)" = 0 ]; then
        say "installing $package"
        apt_install "$package" 3>&- || true
        ! builds docker || return 0
    fi
    die "$(command -v docker) cannot build: it needs buildx (sudo apt-get install $package, or https://docs.docker.com/go/buildx/)"
}

# Sees to compose, where the system's packages have it. Debian's docker-compose 1 is another program.
compose() {
    ! docker compose version >/dev/null 2>&1 || return 0
    local package=docker-compose candidate=''
    if is_debian && [ "$(id -u)" = 0 ]; then
        if dpkg -s docker-ce-cli >/dev/null 2>&1; then package=docker-compose-plugin
        elif grep -qE '^ID(_LIKE)?=.*ubuntu' /etc/os-release; then package=docker-compose-v2; fi
        candidate=$(apt-cache policy "$package" | sed -n 's/^ *Candidate: //p')
        case $candidate in '' | '(none)' | 1.*) ;; *) say "installing $package"; apt_install "$package" 3>&- || true ;; esac
        ! docker compose version >/dev/null 2>&1 || return 0
    fi
    say "docker has no compose here; only ports, volumes and services of environments need it (how to get it: pydock create -p)"
}

# Puts a user into the group docker, or says how.
join_group() {
    local user=${group:-${SUDO_USER:-root}}
    [ "$user" != root ] && ! id -nG "$user" | grep -qw docker || return 0
    if [ -n "$group" ]; then
        usermod -aG docker "$user" || die "could not put $user into the group docker"
        say "$user can use docker without sudo after the next login (or now: newgrp docker)"
    else
        say "to use docker without sudo: sudo usermod -aG docker $user, then log in again"
    fi
}

start_engine() {
    [ -z "${DOCKER_HOST:-}" ] || die "nothing answers at DOCKER_HOST=$DOCKER_HOST; start that engine, or unset DOCKER_HOST"
    is_debian || die "no docker engine answers; see https://docs.docker.com/engine/install/"
    [ "$(id -u)" = 0 ] || die "no docker engine answers to $(id -un); run: sudo install/engine.sh --group $(id -un)"
    if ! command -v dockerd >/dev/null; then
        say "installing docker.io"
        apt_install docker.io iptables ca-certificates
        # The client is a package of its own since Debian 13, and only recommended.
        command -v docker >/dev/null || apt_install docker-cli
    fi
    local log=/var/log/dockerd.log show=(tail -n 15 /var/log/dockerd.log)
    if [ -d /run/systemd/system ]; then
        show=(journalctl -u docker -n 15 --no-pager)
        systemctl enable --now docker || true
    elif ! answers; then
        setsid dockerd >"$log" 2>&1 </dev/null &
    fi
    for _ in {1..120}; do
        ! answers || return 0
        sleep 0.5
    done
    "${show[@]}" || true
    die "the docker engine was started, but does not answer after 60 s"
}

# Pulls python:$1-slim. A registry that says nothing for 20 s is out of reach; one that answers gets all the time it needs.
pull() {
    local pid log=$tmp/pull-$1
    say "pulling python:$1-slim"
    docker pull "python:$1-slim" >"$log" 2>&1 &
    pid=$!
    for _ in {1..100}; do
        if ! kill -0 "$pid" 2>/dev/null || grep -qs 'Pulling from' "$log"; then wait "$pid"; return; fi
        sleep 0.2
    done
    kill "$pid"
    return 1
}

# Builds python:$1-slim from the packages of Debian's release $2, with the face of the official image.
build() {
    local root=$tmp/$2 new
    debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates "$2" "$root"
    site=$(sed -n 's|^deb \(.*\)/debian .*|\1|p' "$root/etc/apt/sources.list")   # debootstrap's own default
    printf 'deb %s main\n' "$site/debian $2" "$site/debian $2-updates" "$site/debian-security $2-security" >"$root/etc/apt/sources.list"
    # Diverted, not removed: an upgrade of Python inside the image would bring the marker back.
    chroot "$root" dpkg-divert --quiet --rename --add "/usr/lib/python$1/EXTERNALLY-MANAGED"
    ln -s /usr/bin/python3 "$root/usr/local/bin/python3"
    ln -s python3 "$root/usr/local/bin/python"
    cp "$root/usr/bin/pip3" "$root/usr/local/bin/pip3"          # a copy: pip writes through a link when it upgrades itself
    ln -s pip3 "$root/usr/local/bin/pip"
    # A proxy that the host trusts must be trusted inside too; certificates added by hand also survive update-ca-certificates.
    [ ! -s "$bundle" ] || cmp -s "$bundle" "$root$bundle" || cp -L "$bundle" "$root$bundle"
    cp -RL /usr/local/share/ca-certificates/. "$root/usr/local/share/ca-certificates/" 2>/dev/null || true
    rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root""$root/debootstrap"
    find "$root"/usr/share/{man,locale} -type f -delete
    new=$(tar -C "$root" --numeric-owner -c . | docker import \
        --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8' --change 'CMD ["python3"]' -)
    docker tag "$new" "python:$1-slim"
}

base_image() {
    if pull "$1"; then say "pulled python:$1-slim"; return; fi
    local suite=''
    case $1 in 3.9) suite=bullseye ;; 3.11) suite=bookworm ;; 3.13) suite=trixie ;; esac
    [ -n "$suite" ] || die "cannot pull python:$1-slim, and no Debian release has Python $1 (only 3.9, 3.11 and 3.13)"
    { is_debian && [ "$(id -u)" = 0 ]; } || die "cannot pull python:$1-slim; only root on Debian or Ubuntu can build it from Debian packages"
    say "cannot reach a registry; building python:$1-slim from the packages of Debian $suite"
    (   # one of the jobs installs what is missing, the others wait for it
        flock 9
        { command -v debootstrap && [ -r /usr/share/keyrings/debian-archive-keyring.gpg ]; } >/dev/null ||
            apt_install debootstrap debian-archive-keyring
    ) 9>"$tmp/lock"
    build "$1" "$suite" >"$tmp/log-$1" 2>&1
    say "built python:$1-slim"
}

# On a terminal the last line tells for how long this has been at work.
tick() { while sleep 1; do printf '\r... %d s\e[K' "$SECONDS"; done; }

cleanup() {
    [ -z "$clock" ] || { kill "$clock" && printf '\r\e[K'; } 2>/dev/null
    for pid in "${jobs[@]}"; do kill -TERM -- "-$pid" 2>/dev/null || true; done
    [ ${#jobs[@]} = 0 ] || wait "${jobs[@]}" || true          # not all children: dockerd may be one
    [ -n "$tmp" ] || return 0
    for dir in "$tmp"/*/{proc,sys}; do ! mountpoint -q "$dir" || umount -l "$dir" || true; done   # debootstrap killed half-way
    rm -rf --one-file-system "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

group=''
case ${1-} in
    --group) group=${2-}; { [ -n "$group" ] && id "$group"; } >/dev/null 2>&1 || die "--group needs the name of a user"
        [ "$(id -u)" = 0 ] || die "--group needs root: sudo install/engine.sh $*"
        shift 2 ;;
    -*) die "unknown option $1; usage: install/engine.sh [--group USER] [VERSION…]" ;;
esac
if [ -t 2 ]; then tick 3>&- & clock=$!; disown; fi
answers || start_engine 3>&-            # what it starts must not hold the stdout of a caller's $(…)
client
compose
join_group
[ $# -gt 0 ] || set -- 3.11
tmp=$(mktemp -d /var/tmp/pydock-engine.XXXXXX)
set -m                                  # a process group for each job, so that cleanup ends all of it
versions=()
for version in "$@"; do
    case $version in *[!0-9A-Za-z._-]* | '') die "not a Python version: '$version'" ;; esac
    has_image "$version" && continue
    base_image "$version" 3>&- &        # all at once: one downloads while another unpacks
    jobs+=("$!") versions+=("$version")
done
failed=0
for i in "${!jobs[@]}"; do
    wait "${jobs[i]}" || { failed=1; tail -n 5 "$tmp/log-${versions[i]}" 2>/dev/null || true; }
done
jobs=()
[ "$failed" = 0 ]
say "ready: docker $(docker version --format '{{.Server.Version}}') with$(printf ' python:%s-slim' "$@")"
