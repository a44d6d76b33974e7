#!/bin/sh
# Installs pydock, one file, for everyone (as root: /usr/local/bin) or for you (~/.local/bin):
#   curl -fsSL https://raw.githubusercontent.com/apiad/pydock/main/install/linux.sh | sudo bash
# or install/linux.sh from a checkout. The file is pydock.py as it is. An older one stays until the new
# one has run. All is in functions, the last line apart, so that a download which was cut short runs nothing.
marker='pydock, put here by install/linux.sh'
# The SHA-256 of each release's pydock.py: a line `VERSION SUM` for each.
sums='
'

usage() {
    cat <<'EOF'
usage: linux.sh [--prefix DIR] [--version X] [--sha256 SUM] [--uninstall]
  --prefix DIR   install DIR/bin/pydock (default: /usr/local as root, else ~/.local)
  --version X    download release X (default: this checkout, or else the newest)
  --sha256 SUM   install only a file with this SHA-256; that of known releases is checked anyway
  --uninstall    remove it; your environments stay
PYDOCK_URL in the environment is the address of a mirror with main/pydock.py and vX/pydock.py (https:// or file://;
http:// only on 127.0.0.1). As root, all programs come from /usr/bin and /bin; Python also from /usr/local/bin, if only root can change it.
EOF
}

say() { printf 'pydock: %s\n' "$*" >&2; }
die() { code=$1; shift; say "error: $*"; exit "$code"; }

# A pydock.py (its head has this line), or `make dev`'s link to one. Nothing else.
is_pydock() {
    [ -f "$1" ] || return
    if [ -L "$1" ]; then
        case $(readlink "$1") in /*/pydock.py) ;; *) return 1 ;; esac
    fi
    head -n 80 "$1" | LC_ALL=C grep -qxF https://github.com/apiad/pydock
}

# Whether nobody but root can change what this path names: every folder, link and file on the way to it.
trusted() (
    rest=${1#/}/ at='' links=0
    only_root / || return
    while [ -n "$rest" ]; do
        name=${rest%%/*} rest=${rest#*/}
        case $name in '' | .) continue ;; ..) at=${at%/*}; continue ;; esac
        if [ -L "$at/$name" ]; then
            links=$((links + 1)); [ "$links" -le 40 ] || return
            to=$(readlink "$at/$name") || return
            case $to in /*) at='' ;; esac
            rest=$to/$rest
        else
            at=$at/$name
            only_root "$at" || return
        fi
    done
)
# shellcheck disable=SC2012  # the name is not read, and stat has other options elsewhere
only_root() {
    LC_ALL=C ls -ldn "$1" 2>/dev/null | {
        IFS=' ' read -r mode _ owner _ && [ "$owner" = 0 ] && case $mode in ?????w* | ????????w*) false ;; esac
    }
}

# Prints the checkout that this file was started in, by its path. By a pipe, -c or `.` there is none, whatever $0 says and
# whatever lies in the current folder.
checkout() (
    case $- in *[cs]*) return 1 ;; esac
    case $self in linux.sh) at=. ;; */linux.sh) at=${self%/*}/ ;; *) return 1 ;; esac
    LC_ALL=C grep -qxF "marker='$marker'" "$self" || return
    # Not every shell says in $- that it runs -c; this script's text is then among its arguments.
    if LC_ALL=C grep -qF "$marker" "/proc/$$/cmdline" 2>/dev/null; then return 1; fi
    unset CDPATH
    at=$(cd -- "$at" && pwd -P) || return
    case $at in */install) [ -f "${at%/*}/pydock.py" ] && echo "${at%/*}" ;; *) return 1 ;; esac
)

download() { # url file
    host=${1#http://} host=${host%%/*} proto=${1%%:*}
    case $1 in
        https://* | file:///*) ;;
        http://127.0.0.1[:/]*) no_proxy=127.0.0.1; export no_proxy
            case $host in *[!0-9.:]*) proto='' ;; esac ;;
        *) proto='' ;;
    esac
    [ -n "$proto" ] || die 1 "$1 is refused: only https://, file://, and http:// on 127.0.0.1"
    if command -v curl >/dev/null; then
        curl -fsSL --proto "=$proto" --proto-redir =https -o "$2" "$1"
    elif [ "$proto" != file ] && wget --version 2>/dev/null | grep -q '^GNU Wget'; then  # busybox's does not look at certificates
        wget -q -t 3 --max-redirect=0 -O "$2" "$1"
    else die 1 'needs curl or GNU wget'
    fi </dev/null >&2 || die 1 "could not download $1"
}

sha256() { { sha256sum 2>/dev/null || shasum -a 256 2>/dev/null || die 1 'needs sha256sum or shasum'; } <"$1" | head -c 64; }

main() {
    set -eu && umask 022
    prefix='' version='' uninstall='' sum='' callers=$PATH
    uid=$(PATH=/usr/bin:/bin; id -u 2>/dev/null) || uid=$([ ! -O / ] || echo 0)
    if [ "$uid" = 0 ]; then
        PATH=/usr/bin:/bin
        { trusted /usr/bin && trusted /bin; } || die 1 'will not run as root: others can write to /usr/bin or /bin'
        ! trusted /usr/local/bin/python3 || PATH=$PATH:/usr/local/bin
        trusted "${HOME:-/}" || HOME=/  # where curl and wget find their settings
    fi
    while [ $# -gt 0 ]; do
        case $1 in
            --prefix=* | --version=* | --sha256=*) arg=$1; shift; set -- "${arg%%=*}" "${arg#*=}" "$@"; continue ;;
            --prefix) prefix=${2-}; [ -n "$prefix" ] || die 2 '--prefix needs a folder'; shift ;;
            --version) version=${2-}; version=${version#v}; shift
                case $version in '' | -* | *[!0-9A-Za-z.+_-]*) die 2 '--version needs one, such as 0.2.0' ;; esac ;;
            --sha256) sum=${2-}; shift
                case $sum in *[!0-9A-Fa-f]*) sum='' ;; esac
                [ ${#sum} = 64 ] || die 2 '--sha256 needs a sum, 64 hexadecimal digits' ;;
            --uninstall) uninstall=1 ;;
            -h | --help) usage; return ;;
            *) die 2 "unknown option $1 (--help shows them)" ;;
        esac
        shift
    done
    if [ -z "$prefix" ] && [ "$uid" = 0 ]; then prefix=/usr/local; fi
    prefix=${prefix:-${HOME:+$HOME/.local}}
    case $prefix in '') die 1 'HOME is not set: add --prefix DIR' ;; /*) ;; *) prefix=$PWD/$prefix ;; esac
    bin=${prefix%/}/bin dest=${prefix%/}/bin/pydock

    if [ -e "$dest" ] || [ -L "$dest" ]; then
        is_pydock "$dest" || die 1 "$dest is not a pydock.py, nor a link to one by 'make dev'; left unchanged"
        if [ -n "$uninstall" ]; then
            rm -f "$dest" || die 1 "could not remove $dest"
            say "removed $dest; your environments (~/.pydock, a project's .pydock), their images and ~/.cache/pydock stay"
        fi
    elif [ -n "$uninstall" ]; then say "$dest is not installed"
    fi
    [ -z "$uninstall" ] || return 0

    if [ -n "$version" ] && [ -z "$sum" ]; then
        sum=$(printf '%s\n' "$sums" | while read -r name hash; do [ "$name" != "$version" ] || echo "$hash"; done)
        [ -n "$sum" ] || die 1 "unknown checksum of version $version: add --sha256 SUM"
    fi
    mkdir -p "$bin" || die 1 "could not create $bin"
    tmp=$(mktemp -d "$bin/.pydock.XXXXXX") || die 1 "could not write to $bin"
    trap 'rm -rf "$tmp"' EXIT; trap 'exit 130' INT; trap 'exit 143' HUP TERM
    if [ -z "$version" ] && source=$(checkout); then
        cat "$source/pydock.py" >"$tmp/pydock" || die 1 "could not write to $bin"
    else
        url=${PYDOCK_URL:-https://raw.githubusercontent.com/apiad/pydock}
        download "${url%/}/${version:+v}${version:-main}/pydock.py" "$tmp/pydock"
    fi
    if [ -n "$sum" ]; then
        found=$(sha256 "$tmp/pydock")
        [ "$found" = "$(printf %s "$sum" | tr A-F a-f)" ] || die 1 "not installed: its SHA-256 is $found, not $sum"
    fi
    is_pydock "$tmp/pydock" || die 1 'not installed: this is not a pydock.py'
    chmod 755 "$tmp/pydock"
    said=$(XDG_CACHE_HOME=/dev/null "$tmp/pydock" --version </dev/null) || die 1 'not installed: the new copy does not run'
    case $said in 'pydock '[0-9]*) ;; *) die 1 "not installed: the new copy reports the version '$said'" ;; esac
    mv -f "$tmp/pydock" "$dest" || die 1 "could not replace $dest"
    other=$(PATH=$callers; command -v pydock) || other=''
    case $other in
        "$dest") ;;
        '')
            say "note: $bin is not on your PATH"
            printf 'hint: for this shell, and in ~/.profile for all: export PATH="%s"\n' "$bin:\$PATH" >&2 ;;
        *) say "note: on your PATH, pydock is $other" ;;
    esac
    printf 'installed %s in %s; next: pydock create NAME\n' "$said" "$dest" >&2
}

{ [ -z "${ZSH_VERSION-}" ] || emulate sh; self=$0; main "$@"; exit; }
