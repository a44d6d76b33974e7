#!/usr/bin/env bash
# Starts a real engine for the tests, beside whatever runs on this machine:   eval "$(tests/engines.sh NAME)"
#   classic   the system's own docker, as install/engine.sh sets it up (Debian 12: 20.10, whose client has BuildKit)
#   modern    Debian 13's docker 26.1 with buildx and compose, unpacked into the private folder, with a daemon of its own
#   podman    the system's podman, with a storage of its own
#   rootless  the same for an ordinary user, $PYDOCK_TEST_USER: what follows runs as that user, by tests/as_user.sh COMMAND…
#   registry  Debian's docker-registry on a loopback port
#   tools     no engine: shells (busybox too), direnv, the Dev Containers CLI where there is npm, and a Redis server's image on the engine at hand, for the tests that want them
# Only `export` lines go to stdout. A second call finds the engine running. Debian, as root.
set -euo pipefail
exec 3>&1 1>&2 </dev/null               # daemons must not inherit fd 3, or the caller's $(…) would wait for them

here=$(cd "$(dirname "$0")" && pwd)
base=${PYDOCK_TEST_ENGINES:-/var/tmp/pydock-engines}
export DEBIAN_FRONTEND=noninteractive
name=${1:-}
# Whatever an earlier `eval` chose: in here, plain `docker` is the classic engine. (But tools are for the one that was chosen.)
path=$PATH
if [ "$name" != tools ]; then
    path=${PATH#"$base/modern/bin:"}
    unset DOCKER_HOST DOCKER_CONFIG DOCKER_CONTEXT
fi
PATH=$path:/usr/sbin:/sbin
registry=127.0.0.1:5055
redis=pydock-test-redis:latest
versions=(3.11 3.13)
images=("${versions[@]/#/python:}")
images=("${images[@]/%/-slim}")

say() { printf 'engines.sh: %s\n' "$*"; }
die() { say "$*"; exit 1; }
emit() { printf "export %s='%s'\n" "$1" "${2//\'/\'\\\'\'}" >&3; }

# wait_for LOG COMMAND…: until the command succeeds, as long as the daemon just started lives, and for a minute at most.
wait_for() {
    local log=$1 pid=$!
    shift
    for _ in {1..240}; do
        ! "$@" >/dev/null 2>&1 || return 0
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.25
    done
    tail -n 15 "$log"
    die "$name does not answer; its log is $log"
}

# daemon LOG COMMAND…: in the background, in a session of its own, holding none of our files.
daemon() {
    local log=$1
    shift
    setsid "$@" >"$log" 2>&1 3>&- 9>&- &
}

# fetch FOLDER PACKAGE…: Debian 13's packages, unpacked into FOLDER; apt's state is kept there too, and the system's left alone.
fetch() {
    local root=$1 tmp=$1.part mirror
    shift
    [ ! -d "$root" ] || return 0
    say "fetching $*"
    rm -rf "$tmp"
    mkdir -p "$tmp"/apt/{lists,cache/archives}/partial
    # shellcheck disable=SC2016        # apt's own variable
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $(sed -n s/^VERSION_CODENAME=//p /etc/os-release)" | head -n 1)
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror:?apt knows no mirror of Debian} trixie main" >"$tmp/apt/sources.list"
    local apt=(apt-get -qq -o "Dir::Etc::sourcelist=$tmp/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o "Dir::State::lists=$tmp/apt/lists" -o "Dir::Cache=$tmp/apt/cache" -o APT::Sandbox::User=root -o Acquire::Languages=none)
    "${apt[@]}" update
    (cd "$tmp/apt" && "${apt[@]}" download "$@")
    for deb in "$tmp"/apt/*.deb; do dpkg -x "$deb" "$tmp"; done
    rm -rf "$tmp/apt"
    mv "$tmp" "$root"
}

# missing COMMAND…: prints the base images that this docker-like command does not have.
missing() { for image in "${images[@]}"; do "$@" image inspect "$image" >/dev/null 2>&1 || echo "$image"; done; }

# bring COMMAND…: brings the base images that it does not have over from the classic engine.
bring() {
    local wanted
    mapfile -t wanted < <(missing "$@")
    [ ${#wanted[@]} -gt 0 ] || return 0
    system
    say "loading ${wanted[*]} into $name"
    docker save "${wanted[@]}" | "$@" load -q >/dev/null
}

# rule TABLE CHAIN RULE…: puts a rule into the packet filter, once.
rule() { iptables -w -t "$1" -C "${@:2}" 2>/dev/null || iptables -w -t "$1" -I "${@:2}"; }

# packages COMMAND PACKAGE…: installs the packages of the system where the command is missing.
packages() {
    ! type -P "$1" >/dev/null || return 0       # (not command -v: that finds the functions of this script)
    say "installing ${*:2}"
    apt-get -qq update || say "apt-get update failed in part, going on"
    apt-get -qq install -y --no-install-recommends "${@:2}" >/dev/null
}

# redis_image COMMAND…: makes the image of a Redis server, of Debian's package, where this docker-like command does not have it.
redis_image() {
    ! "$@" image inspect "$redis" >/dev/null 2>&1 || return 0
    say "making $redis"
    DOCKER_BUILDKIT=1 "$@" build -q -t "$redis" - <<-END >/dev/null
	FROM ${images[0]}
	RUN apt-get -qq update && apt-get -qq install -y --no-install-recommends redis-server >/dev/null && rm -rf /var/lib/apt/lists/*
	EXPOSE 6379
	USER redis
	CMD ["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", "", "--dir", "/tmp"]
	END
}

# as_pulled COMMAND…: names the base images as if pulled: Debian's list of short names makes docker.io/library/python:… of a FROM python:….
as_pulled() {
    for image in "${images[@]}"; do
        ! "$@" image exists "localhost/$image" || {
            "$@" tag "localhost/$image" "docker.io/library/$image"
            "$@" rmi "localhost/$image"
        }
    done
}

# podman_conf FOLDER RUNROOT: podman's packages, settings and storage, in that folder; exports what makes podman use them.
podman_conf() {
    local dir=$1
    packages /usr/lib/podman/netavark podman runc iptables netavark aardvark-dns
    packages catatonit catatonit        # for --init
    mkdir -p "$dir"
    # runc: crun refuses a machine with mixed cgroups. The limits: podman's own are above what an unprivileged container may have.
    cat >"$dir/containers.conf" <<-END
	[engine]
	runtime = "runc"
	[containers]
	default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
	[network]
	network_backend = "netavark"
	network_config_dir = "$dir/networks"
	END
    # Both: an ordinary user's podman reads the second, and the first once it is root in a user namespace of its own.
    cat >"$dir/storage.conf" <<-END
	[storage]
	driver = "overlay"
	graphroot = "$dir/storage"
	rootless_storage_path = "$dir/storage"
	runroot = "$2"
	END
    printf '[[registry]]\nlocation = "%s"\ninsecure = true\n' "$registry" >"$dir/registries.conf"
    export CONTAINERS_CONF=$dir/containers.conf CONTAINERS_STORAGE_CONF=$dir/storage.conf CONTAINERS_REGISTRIES_CONF=$dir/registries.conf
}

podman_emit() {
    emit CONTAINERS_CONF "$CONTAINERS_CONF"
    emit CONTAINERS_STORAGE_CONF "$CONTAINERS_STORAGE_CONF"
    emit CONTAINERS_REGISTRIES_CONF "$CONTAINERS_REGISTRIES_CONF"
    emit PYDOCK_ENGINE podman
}

# What engine.sh says to export, if the docker first on PATH cannot build, goes to stdout.
system() { "$here/../install/engine.sh" "${versions[@]}" 9>&- 3>&-; }
classic() { system >&3; }

modern() {
    local dir=$base/modern net=10.213 docker
    local root=$dir/root sock=unix://$dir/docker.sock ctd=$dir/containerd.sock
    docker=("$dir/bin/docker" --config "$dir/config" -H "$sock")
    fetch "$root" docker.io docker-cli docker-buildx docker-compose containerd tini
    mkdir -p "$dir/bin" "$dir/config/cli-plugins"
    ln -sf "$root/usr/bin/docker" "$dir/bin/"
    ln -sf "$root"/usr/libexec/docker/cli-plugins/* "$dir/config/cli-plugins/"
    if ! "${docker[@]}" version >/dev/null 2>&1; then
        packages runc runc
        packages iptables iptables
        packages ip iproute2
        # A bridge and addresses of its own. Two daemons that both write docker's chains of the packet filter flush each other's
        # rules, so this one writes none (published ports go through docker-proxy), and NAT for all its networks is made here.
        # Made anew, without what containers of a killed daemon still hold, whose addresses are given out again; and with a MAC address
        # of its own, or it takes that of one of its ports: with every container that came or went, others would send to nobody.
        ip link delete pydock1 2>/dev/null || :
        ip link add pydock1 address 02:42:0a:d5:00:01 type bridge
        ip addr replace "$net.0.1/24" dev pydock1
        ip link set pydock1 up
        rule filter FORWARD -s "$net.0.0/16" -j ACCEPT
        rule filter FORWARD -d "$net.0.0/16" -j ACCEPT
        rule nat POSTROUTING -s "$net.0.0/16" ! -d "$net.0.0/16" -j MASQUERADE
        # Debian 12's runc, and everything else from Debian 13.
        mkdir -p "$dir/runtime"
        ln -sf "$(command -v runc)" "$dir/runtime/runc"
        local PATH=$dir/runtime:$root/usr/bin:$root/usr/sbin:$PATH
        if ! ctr --address "$ctd" version >/dev/null 2>&1; then
            printf 'version = 2\nroot = "%s"\nstate = "%s"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "%s"\n' \
                "$dir/containerd" "$dir/containerd-state" "$ctd" >"$dir/containerd.toml"
            daemon "$dir/containerd.log" containerd --config "$dir/containerd.toml"
            wait_for "$dir/containerd.log" ctr --address "$ctd" version
        fi
        echo '{}' >"$dir/daemon.json"       # not the system's
        rm -rf "$dir/data/network"          # a daemon that finds its default network there from last time deletes docker0, which is the classic engine's
        getent group docker >/dev/null || groupadd --system docker
        daemon "$dir/dockerd.log" dockerd --config-file "$dir/daemon.json" --data-root "$dir/data" --exec-root "$dir/exec" \
            --pidfile "$dir/dockerd.pid" -H "$sock" --group docker --containerd "$ctd" --iptables=false --ip6tables=false \
            --bridge pydock1 --default-address-pool "base=$net.128.0/17,size=24"
        wait_for "$dir/dockerd.log" "${docker[@]}" version
    fi
    bring "${docker[@]}"
    redis_image "${docker[@]}"
    emit PATH "$dir/bin:$path"
    emit DOCKER_HOST "$sock"
    emit DOCKER_CONFIG "$dir/config"
}

podman() {
    podman_conf "$base/podman" /run/pydock-podman
    bring command podman
    as_pulled command podman
    command podman run --rm --network none "${images[0]}" true || die "podman cannot run a container"
    podman_emit
}

rootless() {
    local dir=$base/rootless user=pydock-test run=/run/pydock-rootless
    podman_conf "$dir" "$run/containers"
    packages newuidmap uidmap
    packages slirp4netns slirp4netns
    touch /etc/subuid /etc/subgid       # useradd gives a new user ranges of ids only where these are
    id "$user" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$user"
    for file in /etc/sub{u,g}id; do grep -q "^$user:" "$file" || die "$user has no range in $file"; done
    mount --make-rshared /              # as systemd does; or podman warns at every call
    # The network of a rootless container is a tap device of the user's.
    [ -e /dev/net/tun ] || { mkdir -p /dev/net; mknod /dev/net/tun c 10 200; }
    chmod 666 /dev/net/tun
    install -d -m 700 -o "$user" -g "$user" "$run" "$dir/storage" "$dir/networks"
    # Podman leaves a process behind that holds the user's namespace: it must not have our files.
    as_user() (
        cd /                            # the current folder may be one that the user cannot enter
        exec setpriv --reuid "$user" --regid "$user" --init-groups env HOME=/home/"$user" TMPDIR=/var/tmp XDG_RUNTIME_DIR="$run" "$@" 3>&- 9>&-
    )
    bring as_user podman
    as_pulled as_user podman
    as_user podman run --rm --userns keep-id "${images[0]}" true || die "podman cannot run a container as $user"
    podman_emit
    emit XDG_RUNTIME_DIR "$run"
    emit PYDOCK_TEST_USER "$user"
}

registry() {
    local dir=$base/registry
    if ! (exec 4<>"/dev/tcp/${registry/://}") 2>/dev/null; then
        fetch "$dir/root" docker-registry
        mkdir -p "$dir/data"
        cat >"$dir/config.yml" <<-END
		version: 0.1
		storage: {filesystem: {rootdirectory: '$dir/data'}, delete: {enabled: true}}
		http: {addr: '$registry'}
		END
        daemon "$dir/log" "$dir/root/usr/bin/docker-registry" serve "$dir/config.yml"
        wait_for "$dir/log" bash -c "exec 4<>/dev/tcp/${registry/://}"
    fi
    emit PYDOCK_TEST_REGISTRY "$registry"
}

tools() {
    packages zsh zsh
    packages fish fish
    packages direnv direnv
    packages busybox busybox
    command -v devcontainer >/dev/null || ! command -v npm >/dev/null || npm install -gs @devcontainers/cli || say "no Dev Containers CLI"
    docker image inspect "$redis" >/dev/null 2>&1 || {      # on the engine at hand, whichever it is
        client=$(system)
        eval "$client"
        redis_image docker
    }
}

case $name in
    classic | modern | podman | rootless | registry) ;;
    tools) [ "$(id -u)" = 0 ] || { say "only root gets tools"; exit 0; } ;;
    *) die "usage: tests/engines.sh classic|modern|podman|rootless|registry|tools" ;;
esac
[ "$(id -u)" = 0 ] || die "engines are set up by root"
umask 022
mkdir -p "$base"
exec 9>"$base/$name.lock"
flock 9                                 # two calls at once: the second waits, and finds it running
"$name"
