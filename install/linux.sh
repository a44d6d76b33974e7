#!/bin/sh
# Installs pydock, one file, for everyone (as root: /usr/local/bin) or for you (~/.local/bin):
#   curl -fsSL https://raw.githubusercontent.com/apiad/pydock/main/install/linux.sh | sudo bash
# or install/linux.sh from a checkout. The file is an executable zip: pydock.py as it is, and compiled,
# so that it starts faster. An older one stays until the new one has run. All is in functions, the
# last line apart, so that a download which was cut short runs nothing.
marker='# pydock, https://github.com/apiad/pydock'

usage() {
    cat <<'EOF'
usage: linux.sh [--prefix DIR] [--version X] [--uninstall]
  --prefix DIR   install DIR/bin/pydock (default: /usr/local as root, else ~/.local)
  --version X    download release X (default: this checkout, or else the newest)
  --uninstall    remove it; your environments stay
PYDOCK_URL in the environment is a mirror's address: it has main/pydock.py and vX/pydock.py.
EOF
}

say() { printf 'pydock: %s\n' "$*" >&2; }
die() { code=$1; shift; say "error: $*"; exit "$code"; }

# Told by its text: a stranger of that name is never run. A link to any pydock.py is ours (`make dev`).
is_pydock() {
    if [ -L "$1" ]; then case /$(readlink "$1") in */pydock.py) [ ! -d "$1" ]; return ;; esac; fi
    [ -f "$1" ] || return
    head -n 2 "$1" | LC_ALL=C grep -q "^$marker" && return
    head -n 1 "$1" | LC_ALL=C grep -q '^#!.*python' && LC_ALL=C grep -Eq "apiad/pydock|[\"'/]\\.pydock" "$1"
}

# Prints real path and version of the first Python 3.8+ on PATH that a #! line can name (127 bytes, no
# spaces). Strict: none of a virtual environment, which may go; for root, none that others cannot reach.
find_python() ( # 1 (strict) or 0
    probe='import os, sys
exe = sys.executable or ""
ok = sys.version_info >= (3, 8) and exe.startswith("/") and not set(exe) & set(" \t\n")
ok = ok and len(os.fsencode("#!%s -IS" % exe)) <= 127
if ok and sys.argv[1] == "1":
    ok = not os.path.exists(os.path.dirname(os.path.dirname(exe)) + "/pyvenv.cfg")
    path = os.path.realpath(exe)
    while ok and os.geteuid() == 0 and path != "/":
        ok, path = os.stat(path).st_mode & 1, os.path.dirname(path)
print("%s %d.%d.%d" % ((exe,) + sys.version_info[:3])) if ok else sys.exit(1)'
    IFS=: && set -f
    for name in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python3.9 python3.8 python; do
        for dir in $PATH; do
            case $dir in /*) [ -x "$dir/$name" ] || continue ;; *) continue ;; esac
            found=$("$dir/$name" -IS -c "$probe" "$1" 2>/dev/null </dev/null) || continue
            case $found in /*' 3.'*) echo "$found"; return ;; esac
        done
    done
    return 1
)

download() { # url file
    if command -v curl >/dev/null; then curl -fsSL -o "$2" "$1"
    elif command -v wget >/dev/null; then wget -q -t 3 -O "$2" "$1"
    else die 1 'needs curl or wget'
    fi </dev/null >&2 || die 1 "could not download $1"
}

# The .pyc is of the kind that is not compared with its source's time (PEP 552), as times in a zip are
# local and even. Another version of Python passes it over and reads the source.
build() { # python source result destination
    "$1" -IS - "$@" "$marker" <<'EOF'
import marshal, os, sys, zipfile
from importlib.util import MAGIC_NUMBER, source_hash
python, source, result, destination, marker = sys.argv[1:]
try:
    with open(source, "rb") as f:
        text = f.read()
    code = compile(text, destination + "/pydock.py", "exec", dont_inherit=True)
    if b"__main__" not in text[-500:]:
        raise ValueError("its end is missing")
    pyc = MAGIC_NUMBER + b"\1\0\0\0" + source_hash(text) + marshal.dumps(code)
    start = b"import sys\nfrom pydock import main\nsys.exit(main())\n"
    with open(result, "wb") as f:
        f.write(os.fsencode("#!%s -IS\n%s\n" % (python, marker)))
        with zipfile.ZipFile(f, "w") as z:  # stored, not compressed
            for name, data in ("__main__.py", start), ("pydock.py", text), ("pydock.pyc", pyc):
                info = zipfile.ZipInfo(name)
                info.external_attr = 0o100644 << 16
                z.writestr(info, data)
except (OSError, SyntaxError, ValueError) as e:
    sys.exit("pydock: %s: %s" % (source, e))
EOF
}

main() {
    set -eu && umask 022
    prefix='' version='' uninstall=''
    while [ $# -gt 0 ]; do
        case $1 in
            --prefix=* | --version=*) arg=$1; shift; set -- "${arg%%=*}" "${arg#*=}" "$@"; continue ;;
            --prefix) prefix=${2-}; [ -n "$prefix" ] || die 2 '--prefix needs a folder'; shift ;;
            --version) version=${2-}; version=${version#v}; shift
                case $version in '' | -* | *[!0-9A-Za-z.+_-]*) die 2 '--version needs one, such as 0.1.0' ;; esac ;;
            --uninstall) uninstall=1 ;;
            -h | --help) usage; return ;;
            *) die 2 "unknown option $1 (--help shows them)" ;;
        esac
        shift
    done
    if [ -z "$prefix" ] && [ "$(id -u)" = 0 ]; then prefix=/usr/local; fi
    prefix=${prefix:-${HOME:+$HOME/.local}}
    case $prefix in '') die 1 'HOME is not set: say --prefix DIR' ;; /*) ;; *) prefix=$PWD/$prefix ;; esac
    bin=${prefix%/}/bin dest=${prefix%/}/bin/pydock

    if [ -e "$dest" ] || [ -L "$dest" ]; then
        is_pydock "$dest" || die 1 "$dest is another program, not this pydock: left as it is"
        if [ -n "$uninstall" ]; then
            rm -f "$dest" || die 1 "could not remove $dest"
            say "removed $dest; your environments (~/.pydock, a project's .pydock) and their images stay"
        fi
    elif [ -n "$uninstall" ]; then say "there is no $dest"
    fi
    [ -z "$uninstall" ] || return 0

    if ! found=$(find_python 1); then
        found=$(find_python 0) || die 1 'no Python 3.8+ on PATH (of a path without spaces, at most 120 long)'
        say "note: ${found% *} is in a virtual environment, or closed to other users"
    fi
    mkdir -p "$bin" || die 1 "could not make $bin"
    tmp=$(mktemp -d "$bin/.pydock.XXXXXX") || die 1 "could not write to $bin"
    trap 'rm -rf "$tmp"' EXIT; trap 'exit 130' INT; trap 'exit 143' HUP TERM
    here=$(unset CDPATH; cd "$(dirname "$0")" && pwd) || here=''
    if [ -z "$version" ] && [ -f "$0" ] && [ "${here##*/}" = install ] && [ -f "$here/../pydock.py" ]; then
        source=${here%/*}/pydock.py
    else
        source=$tmp/pydock.py url=${PYDOCK_URL:-https://raw.githubusercontent.com/apiad/pydock}
        download "${url%/}/${version:+v}${version:-main}/pydock.py" "$source"
    fi
    build "${found% *}" "$source" "$tmp/pydock" "$dest" || die 1 'not installed: see above'
    chmod 755 "$tmp/pydock"
    said=$("$tmp/pydock" --version </dev/null) || die 1 'not installed: the new copy does not run'
    case $said in 'pydock '[0-9]*) ;; *) die 1 "not installed: as its version, the new copy says '$said'" ;; esac
    mv -f "$tmp/pydock" "$dest" || die 1 "could not replace $dest"
    case $(command -v pydock) in
        "$dest") ;;
        '') say "note: $bin is not on your PATH" ;;
        *) say "note: on your PATH, pydock is $(command -v pydock)" ;;
    esac
    printf 'installed %s in %s (Python %s); next: pydock create NAME\n' "$said" "$dest" "${found##* }" >&2
}

{ main "$@"; exit; }
