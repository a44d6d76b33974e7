#!/bin/sh
""":"
for python in python3 python3.15 python3.14 python3.13 python3.12 python3.11 python3.10 python3.9 python; do
    command -v "$python" >/dev/null || continue
    [ "$python" != python ] || python -Ic "" 2>/dev/null || continue
    exec "$python" -IS -c '# pydock: runs the file named first, and keeps its byte code
import gc, os, stat, sys
for minor in range(15, 8, -1) if sys.version_info < (3, 9) else ():
    try:
        os.execvp("python3.%d" % minor, ["python3.%d" % minor, "-IS"] + sys.argv[1:])
    except OSError:
        pass
if sys.version_info < (3, 9):
    sys.exit("pydock: error: pydock needs Python 3.9 or newer, this is %d.%d" % sys.version_info[:2])
from _frozen_importlib_external import SourceFileLoader  # noqa: E402  # quicker than importlib.machinery

del sys.argv[0]
path = os.path.realpath(sys.argv[0])
loader = SourceFileLoader("__main__", path)
gc.disable()  # 10,000 objects are read that stay: not to look for cycles saves a millisecond
before = os.umask(0o077)
try:  # who can write to the cache, or put another in its place, would run code as this user
    cache, user = os.environ.get("XDG_CACHE_HOME", ""), os.geteuid()
    if not os.path.isabs(cache):
        cache = os.path.expanduser("~/.cache")
    if not os.path.isabs(cache):
        raise OSError(cache)
    folders = [os.path.join(os.path.realpath(cache), "pydock", "bytecode")]
    while folders[-1] != os.path.dirname(folders[-1]):
        folders.append(os.path.dirname(folders[-1]))
    for folder in reversed(folders):
        if folder in folders[:3] and not os.path.lexists(folder):
            os.mkdir(folder)
        found = os.lstat(folder)
        others = 0o022  # but a group of the number of the user is this user alone, further up
        if found.st_gid == user and folder not in folders[:2]:
            others = 0o002
        if found.st_mode & stat.S_ISVTX and folder not in folders[:2]:
            others = 0
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (0, user) or found.st_mode & others:
            raise OSError(folder)
    sys.pycache_prefix = os.path.join(folders[0], os.path.basename(path))
    code = loader.get_code("__main__")
except Exception:  # no such folder, or damaged byte code in it
    code = loader.source_to_code(loader.get_data(path), path)
os.umask(before)
sys.pycache_prefix = None  # the library keeps its own
gc.enable()
try:
    exec(code, {"__name__": "__main__", "__file__": path})
finally:
    gc.freeze()  # nothing is searched for cycles at the end: another millisecond
' "$0" "$@"
done
echo "pydock: error: pydock needs Python 3.9 or newer, and there is none on the PATH" >&2
exit 127

pydock: named Python environments over real images; one file that needs a Python 3.9+ and docker.
https://github.com/apiad/pydock

An environment is a folder of standard files, `dockerfile` and `requirements.txt`, and the image that they
make. Everything else is derived: from labels and tags of images, from names of containers.

The map. The ground floor, each part using only those above it: console and errors; the engine's client; files
and folders; scopes and settings; requirements; the environment's folder, and its lock; the dockerfile; the host's
settings; images and revisions; containers; building; words of the command line. Then a section for each
capability, with its commands first; then the parser, main, and the texts that run elsewhere.
`pydock install`: main, parse, cmd_install, package_change (what was asked for), change_packages (lock, recover,
tag), commit_change (container, installer, files), and CHANGE_SH, which runs inside.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and not sys.flags.isolated:  # as `python3 pydock.py`
    del sys.path[0]  # beside a vendored pydock.py, a project's own json.py is not ours to import
if sys.version_info < (3, 9):
    sys.exit(f"pydock: error: pydock needs Python 3.9 or newer, this is {sys.version.split()[0]}")
if sys.platform == "win32":
    sys.exit("pydock: error: pydock runs on Linux and macOS; on Windows run it inside WSL 2")

import _thread
import errno
import io
import os
import re
import shlex
import stat
import time
from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    import subprocess
    import tempfile
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from typing import IO, Any, Callable, NoReturn

    Argument = tuple[Sequence[str], dict[str, Any]]
    Operation = Callable[["Session", argparse.Namespace], int]

__version__ = "0.2.0"
START_PY = (__doc__ or "''").split("'")[1]  # the program by which a shell starts pydock


# --------------------------------------------------------------------------------------------------
# Console and errors


class PydockError(Exception):
    """What a user can cause: one line that names it, a hint where there is a remedy, an exit
    status."""

    def __init__(self, message: str, hint: str = "", status: int = 1) -> None:
        super().__init__(message)
        self.hint = hint
        self.status = status


class EngineError(PydockError):
    """A call of the engine that failed: its exit status, and the end of what it said."""

    def __init__(self, message: str, code: int = 1, output: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.output = output


class Shell(str):
    """Text for the script of --dry-run that is shell syntax already, and must not be quoted."""


def visible(text: str) -> str:
    """What others wrote, for a terminal: all that would steer it, or turn or hide what stands
    beside it, as an escape; \\n and \\t stay."""
    if text.isprintable():
        return text
    return re.sub(
        "[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]",
        lambda found: found.group().encode("unicode_escape").decode(),
        text,
    )


def visible_picture(text: str) -> str:
    """As `visible`, for what the engine's client draws with words of others in it: lines, colours
    and the cursor's ways in it stay."""
    parts = re.split(r"(\r|\x1b\[[\d;]*[mABCDGJK]|\x1b\[\?25[hl])", text)
    return "".join(part if i % 2 else visible(part) for i, part in enumerate(parts))


def one_line(text: str) -> str:
    return visible(text).replace("\n", "\\n")


class Console:
    """Everything that is said, on stderr: best effort, for no work ends because nobody can hear of
    it. And what was asked for, on stdout, which is an error where it cannot be written. On a
    terminal, once nothing was said for a second, a line that goes away again tells what is being
    done, and for how long."""

    quiet = False
    verbose = False
    step: tuple[str, float, bool, Callable[[], str]] | None = None  # see `begin`
    heard = 0.0  # when something was said
    at_start = True  # whether nothing of others stands where the line would come
    drawn = False  # whether it is there
    watched = False

    def __init__(self) -> None:
        self.lock = _thread.allocate_lock()

    @staticmethod
    def coloured(text: str, code: str) -> str:
        if sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
            return f"\033[{code}m{text}\033[0m"
        return text

    def write(self, text: str) -> None:
        """To stderr, as it is."""
        with self.lock:
            if text:
                self.heard, self.at_start = time.monotonic(), text.endswith("\n")
            try:
                sys.stderr.write("\r\033[K" * self.drawn + text)
                sys.stderr.flush()
            except OSError:
                silence(2)
            self.drawn = False

    def begin(self, what: str, aloud: bool = True, amount: Callable[[], str] = str) -> None:
        """What is done from now on; `amount` tells how much of it was. Where there is no terminal,
        what is `aloud` is said once, unless something was said before."""
        self.step = (what, time.monotonic(), aloud, amount)
        if not self.watched and not self.quiet:
            self.watched = True
            terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
            _thread.start_new_thread(self.watch, (terminal, time.monotonic()))

    def end(self) -> bool:
        """Takes the line away for good. Whether it was there."""
        with self.lock:
            self.step, drawn = None, self.drawn
        if drawn:
            self.write("")
        return drawn

    def watch(self, terminal: bool, since: float) -> None:
        while terminal or not self.heard:
            time.sleep(0.25)
            silent = time.monotonic() - max(since, self.heard)
            step = self.step
            if terminal and silent >= 1:
                self.draw()
            elif step and step[2] and silent >= 2:
                self.info(step[0])

    def draw(self) -> None:
        with self.lock:
            if not (self.step and self.at_start and may_draw()):
                return
            what, since, _, amount = self.step
            took = time.monotonic() - since
            if self.drawn and took < 1:  # the line before stays so long
                return
            try:
                parts = [f"{what} ... {took:.0f} s", amount()]
                width = os.get_terminal_size(2).columns or 80
                line = one_line(", ".join(filter(None, parts)))[: width - 1]
                sys.stderr.write(f"\r{line}\033[K")
                sys.stderr.flush()
                self.drawn = True
            except (OSError, ValueError):  # it was hung up; or a file is closed by now
                self.step = None

    def ask(self, question: str) -> str:
        self.write(one_line(question) + " ")
        answer = sys.stdin.readline().strip().lower()
        self.at_start = True
        return answer

    def put(self, text: str) -> None:
        """What may have lines, such as those of an engine."""
        self.write(visible(text))

    def info(self, text: str, before: str = "") -> None:
        if not self.quiet:
            self.write(before + one_line(text) + "\n")

    def warn(self, text: str, hint: str = "") -> None:
        before = self.coloured("pydock: warning: ", "33")
        self.info(text + (f" (hint: {hint})" if hint else ""), before)

    def error(self, text: str, hint: str = "") -> None:
        lines = one_line(text) + "\n" + (f"hint: {one_line(hint)}\n" if hint else "")
        self.write(self.coloured("pydock: error: ", "31") + lines)

    def emit(self, text: str, end: str = "\n") -> None:
        """For programs: as it is, but on a terminal."""
        if self.drawn:
            self.write("")
        try:
            sys.stdout.write((visible(text) if sys.stdout.isatty() else text) + end)
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            silence(1)
            raise PydockError(f"cannot write to stdout: {error.strerror}") from None

    def show(self, line: str) -> None:
        """For people."""
        self.emit(one_line(line))

    def table(self, lines: Sequence[Sequence[str]], narrow: Sequence[int] = ()) -> None:
        """For people, the heads first. On a terminal too small for them, without the columns
        `narrow`, one by one, then with the widest one cut, and the last one: a PATH at its
        beginning."""
        import shutil

        lines = [[one_line(cell) for cell in line] for line in lines]
        widths = [max(map(len, column)) for column in zip(*lines)]
        columns = list(range(len(widths) - 1))
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
        room = width - min(widths[-1], 20)  # for all but the last
        for column in narrow:
            if width and sum(widths[i] + 2 for i in columns) > room:
                columns.remove(column)
        over = sum(widths[i] + 2 for i in columns) - room
        if width and over > 0:
            widest = max(columns, key=lambda i: widths[i])
            widths[widest] = max(widths[widest] - over, 8)
        room = width - sum(widths[i] + 2 for i in columns) if width else widths[-1]
        for line in lines:
            cells = [cut(line[i], widths[i]).ljust(widths[i]) for i in columns]
            last = cut(line[-1], room, at_start=lines[0][-1] == "PATH")
            text = "  ".join([*cells, last]).rstrip()
            self.emit(text[:width] if width else text)


def cut(text: str, width: int, at_start: bool = False) -> str:
    if len(text) <= width:
        return text
    if width < 2:
        return ""
    return "…" + text[1 - width :] if at_start else text[: width - 1] + "…"


def may_draw() -> bool:
    """Whether the terminal is not another job's, nor that of somebody who asks for a password, which
    it does not show."""
    import termios

    try:
        return os.tcgetpgrp(2) == os.getpgrp() and bool(termios.tcgetattr(2)[3] & termios.ECHO)
    except OSError:  # not that of our session, which has none
        return True
    except termios.error:
        return False


def silence(fd: int) -> None:
    """Lets what is written there vanish from now on, Python's own last word included."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), fd)


console = Console()


def shell_join(argv: Sequence[str]) -> str:
    return " ".join(word if isinstance(word, Shell) else shlex.quote(word) for word in argv)


def assignments(values: dict[str, str]) -> str:
    """Shell text that sets these variables."""
    return "".join(f"{name}={shell_join([value])}\n" for name, value in values.items())


def heredoc(command: Sequence[str], text: str, target: str = "") -> str:
    """A shell command with its standard input; no line of the text can end it early. PydockError
    where a shell would read another text, as it leaves out a NUL."""
    if "\0" in text:
        raise PydockError("cannot print the script: a text in it has a NUL byte")
    end = "END-OF-INPUT"
    while end in text.splitlines():
        end += "-"
    text += "\n" if text and not text.endswith("\n") else ""
    return f"{shell_join(command)} <<'{end}'{' > ' + shell_join([target]) if target else ''}\n{text}{end}"


def quote(text: str) -> str:
    """URL-quoted, so that it is one word to a dockerfile, to the engine's filters and to a
    shell."""
    return "".join(
        chr(b) if chr(b).isalnum() and b < 128 or chr(b) in "/:=,.-_+@" else f"%{b:02X}"
        for b in os.fsencode(text)
    )


def unquote(text: str) -> str:
    data = text.encode(errors="replace")  # a stranger's label can hold half a character
    return os.fsdecode(
        re.sub(rb"%([0-9A-Fa-f]{2})", lambda found: bytes.fromhex(found[1].decode()), data)
    )


def is_utf8(text: str) -> bool:
    return not re.search("[\ud800-\udfff]", text)


def human_size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g}{unit}"
        size /= 1000
    return f"{size:.3g}TB"


def age_of(created: str) -> float | None:
    """Seconds since a time as the engine's JSON writes it, 2026-01-31T23:59:59.…Z, or with an
    offset; None where it is no time."""
    from datetime import datetime, timezone

    try:
        then = datetime.strptime(re.sub(r"\.\d+", "", created), "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:
        return None
    return (datetime.now(timezone.utc) - then).total_seconds()


def count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def human_age(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(max(seconds, 0))} s"


def closest(word: str, words: Iterable[str]) -> str:
    import difflib

    return "".join(difflib.get_close_matches(word.lower(), list(words), 1))


def nearest(word: str, words: Iterable[str]) -> str:
    found = closest(word, words)
    return f"did you mean '{found}'?" if found else ""


def from_json(text: str | bytes) -> Any:
    """ValueError. The library is a tenth of the time of `--version`."""
    import json

    return json.loads(text)


def to_json(data: Any, **how: Any) -> str:
    import json

    return json.dumps(data, **how)


def text_hash(text: str) -> str:
    return sha256(text.encode(errors="surrogateescape"))


def sha256(data: bytes) -> str:
    """Hexadecimal digest, by the module below hashlib where it is: hashlib loads OpenSSL, a quarter
    of the time of `run`."""
    for name in ("_sha2", "_sha256", "hashlib"):
        try:
            return str(__import__(name).sha256(data).hexdigest())
        except ImportError:
            continue
    raise AssertionError


# --------------------------------------------------------------------------------------------------
# The engine's client: the only code that starts a process


MAX_ANSWER = 1 << 26  # bytes
DETACH_KEYS = ("--detach-keys", "ctrl-^,ctrl-_,ctrl-^,ctrl-_")  # the default takes Ctrl-P away


# what says to a client which engine it is to ask
ENGINE_VARIABLES = "DOCKER_HOST DOCKER_CONTEXT DOCKER_CONFIG DOCKER_TLS_VERIFY DOCKER_CERT_PATH CONTAINER_HOST CONTAINER_CONNECTION CONTAINERS_CONF CONTAINERS_STORAGE_CONF".split()


# What a command of the client finds in its environment: nothing of others makes it start the host's
# git. A compose file's .env cannot undo this.
ENVIRON = {
    "build": ["DOCKER_BUILDKIT=1", "BUILDX_GIT_INFO=false"],
    "compose": ["COMPOSE_EXPERIMENTAL_GIT_REMOTE=0", "COMPOSE_EXPERIMENTAL_OCI_REMOTE=0"],
}
# What a command of the client does, for the console.
DOING = {
    "build": "building the image",
    "commit": "committing the image",
    "compose": "waiting for compose",
    "cp": "copying files",
    "create": "making a container",
    "load": "loading the image",
    "pull": "pulling the base image",
    "rm": "removing a container",
    "rmi": "removing an image",
    "run": "starting a container",
    "save": "saving the image",
    "start": "starting the container",
    "stop": "stopping the container",
    "tag": "tagging the image",
}
COMPILING = "compiling byte code"  # what CHANGE_SH says before that, for the console
BUILDX = ("buildx", "version")
SECURITY = ("info", "--format", "{{json .SecurityOptions}}")
VERSIONS = ("version", "--format", "{{.Client.Version}} {{with .Server}}{{.Version}}{{end}}")


def version_key(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def client_config() -> str:
    """The text of the docker client's own settings, which are JSON."""
    folder = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    try:
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return ""


def client_proxies() -> dict[str, str]:
    """The proxies in the docker client's settings, which it sets in each container that it makes;
    by variable."""
    text = client_config()
    try:
        proxies = from_json(text)["proxies"] if '"proxies"' in text else {}
        chosen = proxies.get(os.environ.get("DOCKER_HOST", ""), proxies.get("default", {}))
        names = [key for key in chosen if key.endswith("Proxy")]
        found = {key[: -len("Proxy")] + "_proxy": str(chosen[key]) for key in names}
    except (ValueError, KeyError, AttributeError, TypeError):  # the client will say so
        return {}
    return {**found, **{key.upper(): value for key, value in found.items()}}


def client_index(program: Sequence[str]) -> int:
    """Where the client stands in a command line: after sudo with its options, if need be."""
    names = [os.path.basename(word) for word in program]
    start = 0
    if names[0] == "sudo":
        start = 1
        while start < len(program) - 1 and re.match("-|.*=", program[start]):
            start += 2 if re.fullmatch("-[ABbEeHiKklNnPSsVv]*[CDghpRrTtUu]", program[start]) else 1
    known = [i for i, name in enumerate(names) if re.match("docker|podman", name) and i >= start]
    return [*known, len(program) - 1][0]


class Engine:
    """A Docker-compatible command line, such as ['docker'], ['podman'] or ['sudo', '-n', 'docker',
    '--context', 'x']."""

    def __init__(self, program: list[str]) -> None:
        self.program = program
        self.sudo = os.path.basename(program[0]) == "sudo"
        self.has_parent = False  # whether its client needs the sh parent in any case
        self.index = client_index(program)
        self.client = program[self.index]
        self.podman = os.path.basename(self.client).startswith("podman")
        # Podman does with a container, and with units of this host, what a label of its image says.
        self.labels = {"io.containers.autoupdate": "disabled"} if self.podman else {}
        self.policy = ""  # the file that says what a build may not start from
        self.holds_policy = False  # whether its builder obeys that, once `builder` was asked
        self.prefetched: dict[tuple[str, ...], subprocess.Popen[bytes]] = {}
        self.made: set[str] = set()  # images and containers of the script of --dry-run

    def environ(self, argv: Sequence[str]) -> list[str]:
        """The variables that a command must see, as 'K=V'."""
        if self.podman and argv[0] == "build":
            return []
        policy = ["EXPERIMENTAL_BUILDKIT_SOURCE_POLICY=" + self.policy] * bool(self.policy)
        return ENVIRON.get(argv[0], []) + policy * (argv[0] == "build")

    def command(self, argv: Sequence[str]) -> list[str]:
        """sudo passes on only the variables that stand on its own command line."""
        sudo, client = self.program[: self.index], self.program[self.index :]
        return [*sudo, *(self.environ(argv) if self.sudo else ()), *client, *argv]

    def env_options(self, name: str) -> list[str]:
        """What sets a variable of the caller's, which sudo keeps to itself: by a file in memory, as
        a command line would show its value."""
        import fcntl

        value = os.environ.get(name, "")
        if "\n" in value or not hasattr(os, "memfd_create"):
            raise PydockError(
                f"sudo would show the value of {name} to other users", f"-e {name}=VALUE"
            )
        fd = fcntl.fcntl(os.memfd_create("pydock"), fcntl.F_DUPFD, 10)  # none that PARENT_SH uses
        os.write(fd, f"{name}={value}\n".encode(errors="surrogateescape"))
        self.has_parent = True  # in which it stays open
        return ["--env-file", f"/proc/{os.getpid()}/fd/{fd}"]

    def shown(self, argv: Sequence[str]) -> list[str]:
        """A command as it is typed into a shell."""
        pairs = [] if self.sudo else [pair.partition("=") for pair in self.environ(argv)]
        return [*[Shell(f"{name}={shlex.quote(v)}") for name, _, v in pairs], *self.command(argv)]

    def start(
        self,
        argv: Sequence[str],
        feed: bool = False,
        out: str | IO[bytes] = "keep",
        err: str = "drop",
        doing: str = "",
    ) -> subprocess.Popen[bytes]:
        """`out` and `err` say what becomes of stdout and stderr: keep (on a `screen`, as the client
        would show it on our terminal), drop, merge into stdout, or a file; `feed`, that there will
        be a stdin; `doing`, what the console says of it. Compose, which looks around in the current
        folder, runs in /."""
        import subprocess

        pipe, drop = subprocess.PIPE, subprocess.DEVNULL
        to: dict[Any, Any] = {"keep": pipe, "drop": drop, "merge": subprocess.STDOUT}
        command = self.command(argv)
        master, to["screen"] = pseudo_terminal() if out == "screen" else (-1, pipe)
        if console.verbose:
            console.put("+ " + shell_join(self.shown(argv)) + "\n")
        usual = DOING.get(argv[0], f"waiting for {os.path.basename(self.client)}")
        console.begin(doing or usual, bool(doing) or argv[0] in ("commit", "load", "save"))
        pairs = [pair.partition("=")[::2] for pair in self.environ(argv)]
        new = subprocess.Popen.__new__
        process: subprocess.Popen[bytes] = new(subprocess.Popen)  # type: ignore[arg-type]
        try:
            process.__init__(  # type: ignore[misc]
                command,
                env={**os.environ, **dict(pairs)},
                stdin=pipe if feed else drop,
                stdout=to.get(out, out),
                stderr=to[err],
                cwd="/" if argv[0] == "compose" else None,
            )
            if master >= 0:
                os.close(to["screen"])
                process.stdout = os.fdopen(master, "rb", 0)
            return process
        except (OSError, ValueError) as error:  # a NUL, in what others wrote
            raise cannot_start(command[0], error) from None
        except BaseException:  # an interruption, while the client runs already
            if process.pid:
                self.end(process)
            raise

    @staticmethod
    def end(process: subprocess.Popen[bytes]) -> None:
        """What interrupts pydock ends the client too; a second interruption ends it at once."""
        try:
            process.terminate()
            process.wait(3)
        except PermissionError:  # sudo's process is root's
            return
        except BaseException:
            process.kill()
            process.wait()

    def finish(
        self,
        process: subprocess.Popen[bytes],
        timeout: float | None = None,
        data: str | None = None,
    ) -> tuple[bytes, str]:
        """Feeds a process and waits for it: what is kept of its stdout, and of its stderr. Code of
        others may stand behind it, which never comes to an end."""
        import subprocess

        late, out, err = time.monotonic() + (timeout or 1e9), None, None
        try:
            if process.stdin and data is not None:
                # `communicate` forgets what it has not written yet when its time is over.
                stdin, process.stdin = process.stdin, None
                _thread.start_new_thread(feed, (stdin, data.encode(errors="surrogateescape")))
            while process.returncode is None:
                try:
                    out, err = process.communicate(timeout=0.1)
                except subprocess.TimeoutExpired as waits:
                    if len(waits.output or b"") + len(waits.stderr or b"") > MAX_ANSWER:
                        raise PydockError(f"the answer of {self.client} is too large") from None
                    if time.monotonic() > late:
                        raise EngineError(f"{self.client} did not answer") from None
        except BaseException:
            self.end(process)
            raise
        console.begin("working", False)
        return out or b"", (err or b"").decode(errors="replace")

    def check(
        self, process: subprocess.Popen[bytes], what: str, said: str = "", show: bool = False
    ) -> None:
        """EngineError where it failed, with the cause if it can be told; `show`: the user is to see
        the end of what it said."""
        if not process.returncode:
            return
        self.raise_if_down()
        if show:
            console.put("\n".join(line[:200] for line in said.splitlines()[-30:]) + "\n")
        message = f"{self.client} {what} failed: {last_line(said)}"
        raise EngineError(message, process.returncode, said)

    def prefetch(self, *argv: str) -> None:
        """Starts a reading command whose answer will be wanted soon."""
        self.prefetched[argv] = self.start(argv, err="keep")

    def cancel(self) -> None:
        """Ends what was started ahead and not wanted after all."""
        for process in self.prefetched.values():
            self.end(process)
        self.prefetched.clear()

    def output(self, *argv: str, timeout: float | None = None, data: str | None = None) -> str:
        """What the engine answers to a reading command, with `data` on its stdin."""
        process = self.prefetched.pop(argv, None) or self.start(
            argv, feed=data is not None, err="keep"
        )
        out, err = self.finish(process, timeout, data)
        turns = 5 if self.podman and argv[:2] == ("image", "ls") else 0
        while process.returncode and turns and "image not known" in err:
            turns -= 1  # podman trips over an image that somebody removes while it lists them
            process = self.start(argv, err="keep")
            out, err = self.finish(process, timeout)
        self.check(process, " ".join(argv[:2]), err)
        return out.decode(errors="surrogateescape")

    def try_output(self, *argv: str) -> str | None:
        """As `output`, but None where the engine says no."""
        process = self.prefetched.pop(argv, None) or self.start(argv)
        out, _ = self.finish(process)
        return None if process.returncode else out.decode(errors="surrogateescape")

    def run(
        self,
        *argv: str,
        data: str | None = None,
        capture: str = "",
        show: bool | None = None,
        doing: str = "",
    ) -> str:
        """Runs a changing command. `data` goes to its stdin. `capture` names what its stdout is
        kept as: the text is returned. `show` lets the user see what it says: while it runs (through
        a pipe only with `capture`, or --verbose), or else where it fails. EngineError then, with
        what it said."""
        see = show and not console.quiet
        if not capture:
            see = see and (sys.stderr.isatty() or console.verbose)
        to = "screen" if see and not (capture or self.podman) else "keep"
        err = "keep" if capture else "merge"
        process = self.start(argv, data is not None, to, err, doing)
        out, said = (self.relay if see else self.finish)(process, data=data)
        text = out.decode(errors="surrogateescape")
        self.check(process, argv[0], said or text, show is not None and not see)
        return text.strip()

    def relay(self, process: subprocess.Popen[bytes], data: str | None) -> tuple[bytes, str]:
        """As `finish`, where the user sees stderr on its way; its end is returned. Where it is
        merged into stdout, what takes less than two seconds and goes well is not seen."""
        import codecs
        import threading

        patience = 0 if process.stderr or console.verbose else 2
        said, held, late = bytearray(), [""], time.monotonic() + patience
        stream, process.stderr = process.stderr, None
        if not stream:
            stream, process.stdout = process.stdout, None
        assert stream
        raw = stream.isatty()
        utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        lines = utf8 if raw else io.IncrementalNewlineDecoder(utf8, translate=True)

        def show() -> None:
            text, held[0] = held[0], ""
            console.write(visible_picture(text) if raw else visible(text))
            console.at_start &= not raw  # where its picture goes on

        def drain(stream: IO[bytes]) -> None:
            for chunk in chunks(stream.fileno()):
                said.extend(chunk)
                del said[:-65536]
                text, step, rest = (held[0] + lines.decode(chunk)).partition(COMPILING + "\n")
                held[0] = text + rest
                if step:
                    console.begin(COMPILING, False)
                if time.monotonic() >= late and not re.search(r"\x1b[^A-Za-z]{0,20}$", held[0]):
                    show()
            held[0] += lines.decode(b"", final=True)

        thread = threading.Thread(target=drain, args=(stream,), daemon=True)
        try:
            thread.start()  # waits for it
            out, _ = self.finish(process, data=data)
        except BaseException:
            self.end(process)
            if thread.is_alive():
                thread.join(1)
            raise
        thread.join()
        if process.returncode or time.monotonic() >= late:
            show()
        console.at_start |= raw
        return out, said.decode(errors="replace")

    def fetch(self, argv: Sequence[str], data: str, path: str) -> None:
        """Makes an executable file of what a command prints that gets `data` on its stdin: whole,
        or not at all."""
        import tempfile

        with tempfile.TemporaryDirectory(prefix=".new-", dir=os.path.dirname(path)) as folder:
            new = os.path.join(folder, "new")
            with open(new, "wb") as file:
                process = self.start(argv, True, file, "keep", "fetching the installer")
                _, said = self.finish(process, data=data)
            self.check(process, "run", said)
            os.chmod(new, 0o755)
            os.rename(new, path)

    def load(self, path: str, write: Callable[[IO[bytes]], None]) -> None:
        """`docker load` of what `write` writes: of the file `path`, what is safe of it."""
        process = self.start(["load", "-q"], feed=True, out="drop", err="keep")
        try:
            assert process.stdin
            write(process.stdin)
        except BrokenPipeError:  # the engine will say why
            pass
        except BaseException:
            self.end(process)
            raise
        _, said = self.finish(process)
        self.check(process, "load", said)

    def try_run(self, *argv: str) -> bool:
        """A removal that may find nothing, or an engine that is gone: never waits long and never
        raises."""
        try:
            process = self.start(argv, out="drop")
            self.finish(process, timeout=60)
            return process.returncode == 0
        except PydockError:
            return False

    def exec(self, argv: Sequence[str], told: dict[str, str], tty: bool) -> NoReturn:
        """Replaces this process by the client; by its small sh parent where the client alone would
        leave something running: `exec`, or a pipe or a terminal on stdout that is closed; or where
        somebody reads what was wrong. `told` is what PARENT_SH is to know."""

        command = self.command(argv)
        if console.verbose:
            console.put("+ " + shell_join(command) + "\n")
        exec_id = told["exec_id"]
        closes = stat.S_ISFIFO(os.fstat(1).st_mode) or os.isatty(1) or os.isatty(2)
        if exec_id or self.has_parent or closes or told.get("seek") or told.get("limit"):
            terminal = "yes" if tty or not exec_id and foreground() else ""
            known = {**told, "engine": shell_join(self.program), "terminal": terminal}
            os.environ["PYDOCK_TOLD"] = parent_sh(known)  # not what `ps` shows before the command
            command = ["/bin/sh", "-c", 'eval "$PYDOCK_TOLD"', "pydock", *command]
        self.exec_command(command)

    @staticmethod
    def exec_command(command: list[str]) -> NoReturn:
        import signal

        console.end()
        # Python ignores it, and the client would inherit that
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        try:
            os.execvp(command[0], command)
        except (OSError, ValueError) as error:
            raise cannot_start(command[0], error) from None

    def secret(self, text: str) -> str:
        """What a command is told and nobody else may read."""
        return text

    def remote_address(self) -> str:
        """The address of an engine on another machine, or else empty. Asks a client only where its
        settings name a context."""
        address = os.environ.get("CONTAINER_HOST" if self.podman else "DOCKER_HOST", "")
        context = os.environ.get("DOCKER_CONTEXT", "")
        if not (address or context or self.podman):
            context = (re.findall(r'"currentContext"\s*:\s*"([^"]+)"', client_config()) + [""])[0]
        if self.program[self.index + 1 :] and not self.podman:  # such as --context
            address = self.endpoint() or address
        elif context and not address and context != "default":
            address = self.endpoint(context)
        here = re.match(
            r"(unix|npipe|fd):|\w+://([^/@]*@)?(localhost|127\.[\d.]+|\[::1\])(:|/|$)", address
        )
        return "" if here else address

    def endpoint(self, *context: str) -> str:
        argv = ("context", "inspect", "--format", "{{.Endpoints.docker.Host}}", *context)
        return (self.try_output(*argv) or "").strip()

    def raise_if_down(self) -> None:
        """Raises the reason why no engine answers, where it is none of the command's: found by
        connecting to its socket, never by reading messages."""
        if self.podman or self.sudo:
            return
        address = os.environ.get("DOCKER_HOST") or self.endpoint()
        path = address.partition("unix://")[2]
        said = f"the engine at {address or 'its address'} does not answer"
        hint = "docker version"
        if path:
            import socket

            try:
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.settimeout(10)
                    connection.connect(path)
                return
            except PermissionError:
                said = f"permission denied on the docker socket {path}"
                hint = "sudo usermod -aG docker $USER, then log in again; or: pydock config --global engine 'sudo docker'"
            except OSError:
                said = f"the docker daemon is not running (nothing answers at {path})"
                hint = {"darwin": "open -a Docker"}.get(sys.platform, "sudo systemctl start docker")
        elif self.try_output("version", "--format", "{{.Server.Version}}") is not None:
            return
        raise PydockError(said, hint, status=127)

    def has_init(self) -> bool:
        """Whether --init works, by the program that it needs, where this engine's files are this
        host's; else assumed."""
        # Podman's init, catatonit, exits with 1 where there is no such program, and names none.
        if self.podman:
            return False
        here = sys.platform == "linux" and os.path.exists("/var/run/docker.sock")
        folders = "/usr/bin /usr/local/bin /usr/libexec/docker /usr/libexec /usr/lib/docker"
        folders += " /usr/local/libexec/docker /snap/docker/current/bin"
        if not here or os.environ.get("DOCKER_HOST"):
            return True
        return any(os.access(folder + "/docker-init", os.X_OK) for folder in folders.split())

    def root_is_caller(self) -> bool:
        """Whether root inside is the caller outside, as with a rootless docker: the user of its
        images is root, then. (Podman can map the caller onto the same uid.)"""
        if self.podman or not os.getuid():
            return False
        return "rootless" in (self.try_output(*SECURITY) or "")

    def builder(self) -> str:
        """'buildx', 'buildkit' (in docker's own client, up to 22, which wants a variable for it) or
        'podman'. PydockError where there is none: the builder that docker had before is about to
        go, and cannot keep a secret."""
        if self.podman:
            return "podman"
        client, _, server = self.output(*VERSIONS).partition(" ")
        if [20] <= version_key(client)[:1] < [23]:
            return "buildkit"  # also where it has buildx, as its `build` does not know --load
        buildx = self.try_output(*BUILDX)
        if buildx is not None:
            self.holds_policy = version_key(buildx) >= [0, 11] and version_key(server) >= [24]
            return "buildx"
        raise PydockError("this docker cannot build: it has no buildx", buildx_remedy(self.program))


class ScriptEngine(Engine):
    """The engine's twin of --dry-run: prints what would change something, as a shell script, and
    asks the engine itself what only reads. Of what the script makes it answers what can be told
    beforehand."""

    def __init__(self, program: list[str], user: str) -> None:
        super().__init__(program)
        self.user = user

    def run(
        self,
        *argv: str,
        data: str | None = None,
        capture: str = "",
        show: bool | None = None,
        doing: str = "",
    ) -> str:
        """With `capture`, a reference to the shell variable of this name."""
        compose, words = argv[0] == "compose", self.shown(argv)
        if data is None and argv[:2] == ("run", "-i"):  # or it reads what is left of the script
            words.append(Shell("</dev/null"))
        line = "cd /; " * compose + (shell_join(words) if data is None else heredoc(words, data))
        if capture:
            line = f"{capture}=$({line}\n)"
        elif compose:
            line = f"({line}\n)"
        console.emit(line)
        self.made |= {word for option, word in zip(argv, argv[1:]) if option in ("-t", "--name")}
        if argv[0] in ("commit", "pull", "tag"):
            self.made.add(argv[-1])
        return Shell("$" + capture) if capture else ""

    def fetch(self, argv: Sequence[str], data: str, path: str) -> None:
        console.emit(heredoc(self.command(argv), data, path))
        console.emit(shell_join(["chmod", "755", path]))

    def load(self, path: str, write: Callable[[IO[bytes]], None]) -> None:
        self.run("load", "-q", "-i", path)

    def try_run(self, *argv: str) -> bool:
        self.run(*argv)
        return True

    def env_options(self, name: str) -> list[str]:
        return ["--env", Shell(f'{name}="${name}"') if name.isidentifier() else name]

    def exec(self, argv: Sequence[str], *_: object, **__: object) -> NoReturn:
        self.exec_command(self.command(argv))

    @staticmethod
    def exec_command(command: list[str]) -> NoReturn:
        console.emit(shell_join(command))
        sys.exit(0)

    def output(self, *argv: str, timeout: float | None = None, data: str | None = None) -> str:
        if argv[:2] == ("container", "inspect") and argv[-1] in self.made:
            return "null"
        return super().output(*argv, timeout=timeout, data=data)

    def try_output(self, *argv: str) -> str | None:
        found = super().try_output(*argv)
        if found is None and argv[:2] == ("image", "inspect") and argv[-1] in self.made:
            config = {
                "Cmd": ["python3"],
                "User": f"{os.getuid()}:{os.getgid()}",
                "WorkingDir": "/home/" + self.user,
                "Labels": {"pydock": "1", "pydock.name": "", "pydock.folder": ""},
            }
            return to_json([{"Id": argv[-1], "Config": config}])
        return found

    def secret(self, text: str) -> str:
        return ""


def parent_sh(known: dict[str, str]) -> str:
    """The text of a client's sh parent, with what it is to know."""
    if known.get("limit"):
        known = {**known, "clock": CLOCK_SH}
    known = {"limit": "", "seek": "", **known}
    parts = ["unset PYDOCK_TOLD\n", assignments(known), FOREGROUND_SH, OUTSIDE_SH, PARENT_SH]
    return "".join(parts)


def feed(stream: IO[bytes], data: bytes) -> None:
    """Writes it, as far as somebody reads it."""
    try:
        with stream:
            stream.write(data)
    except OSError:
        pass


def pseudo_terminal() -> tuple[int, int]:
    """What is shown there, and where; a pipe in its place where the system has none."""
    try:
        fit(2)  # which may be none
        master, client = os.openpty()
        fit(master)
        return master, client
    except OSError:
        return -1, -1  # subprocess.PIPE


def chunks(fd: int) -> Iterator[bytes]:
    """What comes there, until its end."""
    try:
        for chunk in iter(lambda: os.read(fd, 65536), b""):
            if os.isatty(fd):
                fit(fd)
            yield chunk
    except OSError:  # how Linux tells the end of a terminal
        pass


def fit(fd: int) -> None:
    """Gives a pseudo-terminal the size of ours."""
    import fcntl
    import termios

    fcntl.ioctl(fd, termios.TIOCSWINSZ, fcntl.ioctl(2, termios.TIOCGWINSZ, bytes(8)))


def foreground() -> bool:
    """Whether our process group is what the controlling terminal sends its signals to."""
    try:
        fd = os.open("/dev/tty", os.O_RDONLY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(fd)


def cannot_start(program: str, error: Exception) -> PydockError:
    if not isinstance(error, FileNotFoundError):
        why = getattr(error, "strerror", None) or error
        return PydockError(f"cannot start {program}: {why}", status=127)
    return PydockError(
        f"{program} is not installed, or not on PATH",
        "https://docs.docker.com/engine/install/ (Debian, Ubuntu: sudo apt-get install docker.io)",
        status=127,
    )


def buildx_remedy(program: Sequence[str]) -> str:
    """The line that brings BuildKit to this system: another client that is here and has it, or else
    a package."""
    import shutil

    other, name = "/usr/bin/docker", program[-1]
    here = os.path.realpath(shutil.which(name) or "")
    another = os.path.basename(name) == "docker" and here != os.path.realpath(other)
    if another and os.access(other, os.X_OK):
        client = Engine([*program[:-1], other])
        try:
            client.builder()
            words = [shell_join(client.program)] if client.sudo else client.program
            return "pydock config --global engine " + shell_join(words)
        except PydockError:
            pass
    # Docker's own packages have another name for it; Debian 12 has none, but its docker.io is a
    # client with BuildKit.
    debian = "docker-buildx || sudo apt-get install docker.io"
    names = {
        "apt-get": "docker-buildx-plugin" if from_docker() else debian,
        "dnf": "docker-buildx-plugin || sudo dnf install docker-buildx",
        "pacman": "docker-buildx",
        "apk": "docker-cli-buildx",
        "brew": "docker-buildx",
    }
    return package_line(names) or "https://docs.docker.com/go/buildx/"


def from_docker() -> bool:
    """Whether the client is of Docker's own packages for Debian or Ubuntu."""
    return os.path.exists("/usr/share/doc/docker-ce-cli")


def package_line(names: Mapping[str, str]) -> str:
    """The line that installs a package here, by its name for each package manager; '' where there
    is none."""
    import shutil

    how = {"pacman": "sudo pacman -S", "apk": "sudo apk add", "brew": "brew install"}
    lines = [
        f"{how.get(manager, f'sudo {manager} install')} {name}"
        for manager, name in names.items()
        if name and shutil.which(manager)
    ]
    return "".join(lines[:1])


def last_line(text: str) -> str:
    """What a failed client said last, but for its advice to ask for help."""
    lines = [line for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not re.match("(Run|See) '|Usage:", line)]
    return lines[-1].strip() if lines else "no message"


# --------------------------------------------------------------------------------------------------
# Files and folders: the only code that reads or writes them


MAX_TEXT = 16 << 20  # bytes of a file that a person writes
HALF_WRITTEN = r"\.[0-9a-f]{8}\.new"  # how the name of a file ends while pydock writes it


def home_folder() -> str:
    """The host user's home, as a real path."""
    home = os.path.expanduser("~") if os.environ.get("HOME") != "" else ""
    if not os.path.isabs(home):
        raise PydockError("there is no home folder: HOME is not set", "export HOME=/some/folder")
    return os.path.realpath(home)


def xdg_folder(variable: str, usual: str) -> str:
    base = os.environ.get(variable, "")
    return os.path.join(
        base if os.path.isabs(base) else os.path.join(home_folder(), usual), "pydock"
    )


def data_folder() -> str:
    return xdg_folder("XDG_DATA_HOME", ".local/share")


def cache_folder() -> str:
    """Where this file's byte code is (see START_PY), and downloads are."""
    return xdg_folder("XDG_CACHE_HOME", ".cache")


def current_folder() -> str:
    try:
        return os.getcwd()
    except OSError:
        raise PydockError(
            "the current folder no longer exists, or cannot be read", "cd to another folder"
        ) from None


def absolute_path(path: str, real: bool = False) -> str:
    """A path that a user gave, from the current folder on; `real`: through links."""
    path = path if os.path.isabs(path) else os.path.join(current_folder(), path)
    try:
        return os.path.realpath(path) if real else os.path.normpath(path)
    except ValueError:  # a NUL, in a file
        raise PydockError(f"{path!r} is not a path") from None


def without_scheme(path: str) -> str:
    """The path that a file: URL names; anything else as it is."""
    return re.sub("^file:(//)?(?=/)", "", path)


def is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def host_file(*candidates: str | None) -> str:
    for path in candidates:
        if path and os.path.isfile(path):
            try:
                with open(path, encoding="utf-8", errors="surrogateescape") as file:
                    return file.read()
            except OSError:
                continue
    return ""


class Folder:
    """A folder in which a stranger may have put things, held open; the only way to the files of an
    environment. Nothing in it is reached through a symbolic link, nothing but regular files is
    read, and each level belongs to the caller. PydockError names what is otherwise,
    FileNotFoundError says that there is nothing."""

    def __init__(self, path: str, *below: str, own: bool = True) -> None:
        """`path` is the user's own word, and may be a link; what is `below` may not. `own`: whether
        it matters who the owner is."""
        self.path, self.own = path, own
        try:
            self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(2, os.strerror(2), path) from None
        except OSError as error:
            raise PydockError(f"cannot open {path}: {error.strerror}") from None
        try:
            for name in below:
                fd = self.descriptor(name, os.O_DIRECTORY)
                os.close(self.fd)
                self.fd, self.path = fd, os.path.join(self.path, name)
        except BaseException:
            os.close(self.fd)
            raise

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def stat(self, name: str) -> os.stat_result:
        return os.stat(name, dir_fd=self.fd, follow_symlinks=False)

    def names(self) -> list[str]:
        return sorted(os.listdir(self.fd))

    def has(self, name: str) -> bool:
        """Whether there is anything of this name."""
        try:
            self.stat(name)
        except FileNotFoundError:
            return False
        return True

    def is_folder(self, name: str) -> bool:
        try:
            return stat.S_ISDIR(self.stat(name).st_mode)
        except FileNotFoundError:
            return False

    def descriptor(self, name: str, flags: int = 0, own: bool = True) -> int:
        """Of a regular file, or with O_DIRECTORY of a folder, to be read."""
        path, folder = os.path.join(self.path, name), bool(flags & os.O_DIRECTORY)
        is_kind, kind = (stat.S_ISDIR, "folder") if folder else (stat.S_ISREG, "regular file")
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | flags, dir_fd=self.fd)
        except FileNotFoundError:
            raise FileNotFoundError(2, os.strerror(2), path) from None
        except OSError as error:
            mode = self.stat(name).st_mode if self.has(name) else 0
            if stat.S_ISLNK(mode):
                raise PydockError(
                    f"{path} is a symbolic link, which pydock does not follow",
                    f"replace it by the {'folder' if folder else 'file'} itself",
                ) from None
            why = f"cannot read {path}: {error.strerror}"
            raise PydockError(why if is_kind(mode) else f"{path} is not a {kind}") from None
        found = os.fstat(fd)
        if not is_kind(found.st_mode):
            os.close(fd)
            raise PydockError(f"{path} is not a {kind}")
        if own and self.own and found.st_uid != os.getuid():
            os.close(fd)
            raise PydockError(
                f"{path} belongs to another user (uid {found.st_uid})",
                f"if you trust its contents: sudo chown -R {os.getuid()} {shell_join([path])}",
            )
        return fd

    def below(self, name: str, own: bool = True) -> Folder:
        folder = Folder.__new__(Folder)
        folder.own, folder.path = own, os.path.join(self.path, name)
        folder.fd = self.descriptor(name, os.O_DIRECTORY, own)
        return folder

    def open(self, name: str) -> IO[bytes]:
        """A regular file, to be read. One of gigabytes that are not there is refused: whoever
        copies it would never come to its end."""
        file = open(self.descriptor(name), "rb")
        found = os.fstat(file.fileno())
        if found.st_size > 1 << 30 and found.st_blocks * 512 < found.st_size >> 6:
            file.close()
            raise PydockError(f"{os.path.join(self.path, name)} is a sparse file")
        return file

    def read(self, name: str) -> bytes:
        with self.open(name) as file:
            data = file.read(MAX_TEXT + 1)
        if len(data) > MAX_TEXT:
            raise PydockError(f"{os.path.join(self.path, name)} is larger than 16 MiB")
        return data

    def create(self, name: str, mode: int = 0o666) -> IO[bytes]:
        """A new file, to be written; what has its name goes away first, unless it is a folder."""
        self.remove(name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        return open(os.open(name, flags, mode, dir_fd=self.fd), "wb")

    def write(self, name: str, text: str, mode: int | None = None, durable: bool = False) -> None:
        """Replaces a file at once: a crash leaves the old one or the new one, and so do two who write
        it. One with a `mode` can be made again, and need not be durable."""
        new = f".{name}.{os.urandom(4).hex()}.new"  # as HALF_WRITTEN says
        try:
            with self.create(new, 0o666 if mode is None else mode) as file:
                file.write(text.encode(errors="surrogateescape"))
                file.flush()
                if mode is None or durable:
                    os.fsync(file.fileno())
                if mode is None and self.has(name) and stat.S_ISREG(self.stat(name).st_mode):
                    mode = self.stat(name).st_mode & 0o7777
                if mode is not None:
                    os.fchmod(file.fileno(), mode)
            self.rename(new, name)
        except BaseException as error:
            self.clear(new)
            if not isinstance(error, OSError):
                raise
            path = os.path.join(self.path, name)
            raise PydockError(f"cannot write {path}: {error.strerror}") from None

    def rename(self, name: str, new: str) -> None:
        os.rename(name, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def remove(self, name: str) -> None:
        """A file, if it is there."""
        try:
            os.unlink(name, dir_fd=self.fd)
        except FileNotFoundError:
            pass

    def make(self, name: str) -> None:
        """A folder in it, if it is not there."""
        try:
            os.mkdir(name, dir_fd=self.fd)
        except FileExistsError:
            pass
        except OSError as error:
            path = os.path.join(self.path, name)
            raise PydockError(f"cannot create the folder {path}: {error.strerror}") from None

    def clear(self, name: str) -> None:
        """Removes whatever has this name, with all that is in it, as far as that can be done."""
        try:
            if not self.is_folder(name):
                self.remove(name)
                return
            with self.below(name, own=False) as folder:
                for entry in os.listdir(folder.fd):
                    folder.clear(entry)
            os.rmdir(name, dir_fd=self.fd)
        except (OSError, PydockError, RecursionError):
            pass


def write_file(path: str, text: str, mode: int | None = None) -> None:
    """As `Folder.write`, for a file of the user's own."""
    with Folder(os.path.dirname(path), own=False) as folder:
        folder.write(os.path.basename(path), text, mode)


def make_link(target: str, path: str) -> None:
    """A symbolic link, in place of one that is there."""
    if not os.path.islink(path) or os.readlink(path) != target:
        new = f"{path}.new-{os.getpid()}"
        os.symlink(target, new)
        os.replace(new, path)


class NewFile:
    """A file that is there once it is whole, under a name that must be free. Where the system has
    files without a name, nothing stays of it even if pydock is killed."""

    def __init__(self, path: str) -> None:
        import tempfile

        self.path, self.folder = path, os.path.dirname(path)
        try:
            try:
                fd, self.new = os.open(self.folder, os.O_TMPFILE | os.O_WRONLY, 0o666), ""
            except (OSError, AttributeError):
                prefix = f".{os.path.basename(path)}.new-"
                fd, self.new = tempfile.mkstemp(prefix=prefix, dir=self.folder)
        except OSError as error:
            raise PydockError(f"cannot write to {self.folder}: {error.strerror}") from None
        self.file = open(fd, "wb")

    def __enter__(self) -> IO[bytes]:
        return self.file

    def __exit__(self, kind: object, error: object, *_: object) -> None:
        try:
            if isinstance(error, OSError):
                raise error
            if not kind:
                self.file.flush()
                self.give_name()
        except OSError as problem:
            raise PydockError(f"cannot write {self.path}: {problem.strerror}") from None
        finally:
            if self.new:
                os.unlink(self.new)
            self.file.close()

    def give_name(self) -> None:
        if not self.new:
            # Without a folder, Python takes a call that does not follow the link.
            root = os.open("/", os.O_RDONLY)
            unnamed = f"/proc/self/fd/{self.file.fileno()}"
            try:
                os.link(unnamed, self.path, src_dir_fd=root, follow_symlinks=True)
            finally:
                os.close(root)
            return
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(self.new, 0o666 & ~umask)
        if os.path.lexists(self.path):
            raise FileExistsError(17, os.strerror(17))
        os.rename(self.new, self.path)
        self.new = ""


def make_folder(path: str, parents: bool = True) -> list[str]:
    """Makes a folder, and those above it; returns what it made, deepest first."""
    made: list[str] = []
    missing = [path]
    while parents and not os.path.isdir(os.path.dirname(missing[-1])):
        missing.append(os.path.dirname(missing[-1]))
    for folder in reversed(missing):
        try:
            os.mkdir(folder)
            made.insert(0, folder)
        except FileExistsError:
            pass
        except OSError as error:
            raise PydockError(f"cannot create the folder {path}: {error.strerror}") from None
    return made


def may_exist(folder: str) -> bool:
    try:
        os.lstat(folder)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):  # no permission to look: somebody's
        pass
    return True


def file_id(path: str) -> str:
    """Tells a folder from another one that took its name; '' where there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # a label can hold what no path can
        return ""
    return f"{found.st_dev}:{found.st_ino}"


def copy_out(
    engine: Engine, argv: Sequence[str], failed: str, take: Callable[[Any, Any], None]
) -> None:
    """Calls `take` with the archive that `docker cp` streams and with each of its members.
    PydockError where that breaks off."""
    import subprocess
    import tarfile

    process, said = engine.start(argv, err="keep"), ""
    try:
        with tarfile.open(
            fileobj=process.stdout, mode="r|", bufsize=1 << 20, tarinfo=strict_members()
        ) as archive:
            console.begin("reading files", amount=lambda: human_size(archive.offset))
            for member in archive:
                take(archive, member)
        _, said = engine.finish(process)
    except (tarfile.TarError, OSError, ValueError, EOFError, RecursionError) as error:
        try:
            if process.wait(1) and process.stderr:  # it ended by itself, and says why
                said = process.stderr.read().decode(errors="replace")
        except subprocess.TimeoutExpired:
            engine.end(process)
        engine.raise_if_down()
        raise PydockError(f"{failed}: {last_line(said) if said else error}") from None
    except BaseException:
        engine.end(process)
        raise
    engine.check(process, "cp", said)


def strict_members() -> Any:
    """The class of an archive's members, for one of strangers: tarfile reads what stands before a
    member at once, however long it says that it is; in a time that grows with the square of that;
    and backwards."""
    import tarfile

    class Member(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Member:
            member = super().frombuf(buf, encoding, errors)
            if member.type in b"xgXLK" and member.size > 1 << 16:  # what stands before a member
                raise tarfile.ReadError(f"a header of {human_size(member.size)} is too large")
            if member.type in b"gX":
                raise tarfile.ReadError("unexpected global header")
            if member.type == tarfile.GNUTYPE_SPARSE:
                raise tarfile.ReadError(f"{member.name!r} is sparse")
            return member

        def _block(self, count: int) -> int:
            if count < 0:
                raise tarfile.ReadError("a member has a negative size")
            return -(-count // 512) * 512

        def _proc_gnusparse_10(self, *_: object) -> None:
            raise tarfile.ReadError(f"{self.name!r} is sparse")

    return Member


# --------------------------------------------------------------------------------------------------
# Scopes and settings


NAME = r"[a-z0-9]+(?:[._-][a-z0-9]+)*"
VERSION = r"\d+(?:\.\d+){0,2}(?:-rc|(?:a|b|rc)\d+)?"
USERNAME = r"[a-z_][a-z0-9_.-]{0,31}"
SETTINGS = {  # key: (default, what it can be, what it is)
    "image": ("python:{version}-slim", r"\S+", "base image of new environments"),
    "repository": ("", r"\S*", "prefix of base images, such as a mirror's address"),
    "user": ("", f"(?:{USERNAME})?", "user name inside the container; default: your login name"),
    "installer": ("uv", "uv|pip", "uv or pip"),
    "python": ("3.12", VERSION, "default Python version"),
    "history": ("10", r"[1-9]\d{0,2}", "number of older revisions to keep"),
    "idle": ("30", r"[1-9]\d{0,4}", "minutes until an idle activated container stops"),
    "cache": ("none", "none|volume", "volume: keeps ~/.cache, such as models, in a volume"),
    "shm_size": ("", r"(?:\d+[bkmg]?)?", "size of /dev/shm, as 2g; default: half of the memory"),
    "prefix": ("pydock", NAME, "prefix of image names"),
    "sandbox_memory": ("2g", r"(?i)[1-9]\d{0,9}[bkmg]?", "memory limit of a sandbox, 16m to 999g"),
    "sandbox_cpus": ("2", r"(?=.*[1-9])\d{1,4}(\.\d\d?)?", "processors that a sandbox may use"),
    "sandbox_pids": ("256", r"[1-9]\d{1,5}", "processes and threads in a sandbox, at least 10"),
    "sandbox_files": ("1024", r"[1-9]\d{2,5}", "open files per process in a sandbox, 100 or more"),
    "sandbox_timeout": ("300", r"[1-9]\d{0,6}", "whole seconds until a sandbox is stopped"),
    "engine": ("docker", ".+", "docker, podman or 'sudo docker'; ignored in a project's file"),
    "pass_env": (
        "",
        r"(?:[A-Za-z_*?][A-Za-z0-9_*?]*(?:[ ,]+|$))*",
        "variables that programs get from the host, such as 'API_KEY AWS_*'; ignored in a project's file",
    ),
    "mounts": (
        "",
        r"(?:[/~'\"].*)?",
        "folders that programs always have at their own path, such as '/data ~/sets'; ignored in a project's file",
    ),
}

# What runs on the host, and what gets the user's logins and downloads: no project chooses that.
USERS_OWN = ("engine", "image", "repository", "mounts", "pass_env")


class Scope:
    """A `.pydock` folder: the global one of the home folder, or a local one of a project."""

    def __init__(self, mode: str, root: str, why: str) -> None:
        self.mode = mode
        self.root = root
        self.why = why
        self.conf = os.path.join(root, "pydock.conf")
        self.template = os.path.join(root, "template.dockerfile")
        if mode == "local":
            self.envs = os.path.join(os.path.realpath(os.path.dirname(root)), ".pydock", "envs")
        else:  # the user's own, who may have put links there
            self.envs = os.path.realpath(os.path.join(root, "envs"))

    def open(self, *below: str) -> Folder:
        """The folder `envs`, or what is below it. FileNotFoundError where it is not there."""
        if self.mode == "local":
            return Folder(os.path.dirname(os.path.dirname(self.envs)), ".pydock", "envs", *below)
        return Folder(*os.path.split(self.envs), *below)

    def open_beside(self, path: str) -> tuple[Folder, str]:
        """The folder of a file beside `envs`, such as the settings, and the file's name."""
        if self.mode == "local":
            return Folder(os.path.dirname(self.root), ".pydock"), os.path.basename(path)
        folder, name = os.path.split(os.path.realpath(path))
        return Folder(folder, own=False), name

    def text_beside(self, path: str) -> str:
        """The text of a file beside `envs`; empty where there is none."""
        data = b""
        try:
            folder, name = self.open_beside(path)
            with folder:
                data = folder.read(name)
            return data.decode("utf-8-sig")
        except FileNotFoundError:
            return ""
        except UnicodeDecodeError as error:
            raise PydockError(
                f"cannot read {path}: line {1 + data.count(10, 0, error.start)} is not UTF-8"
            ) from None

    def names(self) -> list[str]:
        try:
            with self.open() as folder:
                names = [name for name in folder.names() if re.fullmatch(NAME, name)]
                return [name for name in names if folder.is_folder(name)]
        except FileNotFoundError:
            return []

    def has(self, name: str) -> bool:
        try:
            with self.open() as folder:
                return bool(re.fullmatch(NAME, name)) and folder.is_folder(name)
        except FileNotFoundError:
            return False


def global_scope() -> Scope:
    return Scope("global", os.path.join(home_folder(), ".pydock"), "")


def folders_up(folder: str) -> Iterator[str]:
    """A folder, and those above it."""
    while folder:
        yield folder
        folder = os.path.dirname(folder) if folder != "/" else ""


def local_scope() -> Scope | None:
    """The `.pydock` of the current folder, or of the nearest above, that is a folder of the
    caller's. Above the current folder it does not count in / and where everybody may write, such as
    /tmp."""
    try:
        # PYDOCK_LOCAL: a program of a local environment, wherever it is called.
        start = os.environ.get("PYDOCK_LOCAL") or os.getcwd()
        home = home_folder()
    except (OSError, PydockError):
        return None
    for folder in folders_up(start):
        root = os.path.join(folder, ".pydock")
        try:
            found = os.lstat(root)
            shared = folder == "/" or os.stat(folder).st_mode & stat.S_IWOTH
        except OSError:
            continue
        own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
        if own and folder != home and (folder == start or not shared):
            where = "the current folder" if folder == start else folder
            return Scope("local", root, f"{where} has a .pydock")
    return None


def find_scope(mode: str | None) -> Scope:
    """Local or global mode: as the options say, else local where a project is found (design: what
    lies where)."""
    local = local_scope() if mode != "global" else None
    if mode == "local" and not local:
        local = Scope("local", os.path.join(current_folder(), ".pydock"), "")
        if local.root == global_scope().root:
            raise PydockError(
                "the home folder's .pydock is the global one",
                "leave out --local, or cd into a project",
            )
        if os.path.lexists(local.root):
            # Opening it raises what is wrong with it.
            Folder(os.path.dirname(local.root), ".pydock").__exit__()
    if local:
        local.why = "--local" if mode else local.why
        return local
    scope = global_scope()
    scope.why = "--global" if mode else "no .pydock of yours in this folder or its parents"
    if not mode and os.path.lexists(".pydock") and os.path.realpath(".") != home_folder():
        why = "belongs to another user" if os.path.isdir(".pydock") else "is not a folder"
        why = "is a symbolic link" if os.path.islink(".pydock") else why
        console.warn(f"ignoring .pydock in this folder, which {why}")
    return scope


def strange_pydock() -> str:
    """The `.pydock` of the current folder, or of the nearest above that has one, where that is
    another user's."""
    for folder in folders_up(current_folder()):
        path = os.path.join(folder, ".pydock")
        if os.path.lexists(path):
            return path if os.lstat(path).st_uid != os.getuid() else ""
    return ""


class Settings:
    """Where each setting comes from, last wins: default, global file, local file, PYDOCK_… of the
    process."""

    def __init__(self, scope: Scope) -> None:
        self.values: dict[str, tuple[str, str]] = {
            key: (value, "default") for key, (value, _, _) in SETTINGS.items()
        }
        for source in [global_scope()] + [scope] * (scope.mode == "local"):
            for key, value in read_conf(source).items():
                if key in USERS_OWN and source.mode == "local":
                    console.warn(f"ignoring {key} in {source.conf}: a project may not choose it")
                elif source.mode == "local" and loosens(
                    key, checked(key, value, source.conf), self[key]
                ):
                    console.warn(
                        f"ignoring {key} in {source.conf}: a project may only lower it, and it is {self[key]}"
                    )
                else:
                    self.values[key] = (checked(key, value, source.conf), source.conf)
        for key in SETTINGS:
            variable = "PYDOCK_" + key.upper()
            if variable in os.environ:
                self.values[key] = (checked(key, os.environ[variable], variable), variable)

    def __getitem__(self, key: str) -> str:
        value = self.values[key][0]
        return value or login_name() if key == "user" else value

    def engine(self, dry_run: bool = False) -> Engine:
        program = shlex.split(self["engine"])
        return ScriptEngine(program, self["user"]) if dry_run else Engine(program)


def loosens(key: str, value: str, present: str) -> bool:
    """Whether a project's value would loosen a limit of the sandbox."""
    return key.startswith("sandbox_") and amount(value) > amount(present)


def amount(text: str) -> float:
    """The number of a limit; of bytes where it has docker's unit."""
    text = text.lower().rstrip("b")
    return float(text.rstrip("kmg")) * 1024.0 ** (1 + "kmg".find(text[-1]))


def login_name() -> str:
    import pwd

    try:
        name = re.sub(r"[^a-z0-9_.-]", "-", pwd.getpwuid(os.getuid()).pw_name.lower())[:32]
    except KeyError:
        return "user"
    return name if re.fullmatch(USERNAME, name) else "user"


def read_conf(scope: Scope) -> dict[str, str]:
    text = scope.text_beside(scope.conf)
    return parse_conf(text, scope.conf) if text else {}


def parse_conf(text: str, path: str) -> dict[str, str]:
    import configparser

    parser = configparser.ConfigParser(interpolation=None)
    try:
        # It looks for a sign from each of many blanks on.
        parser.read_string(re.sub(r"[^\S\n]+", " ", text))
    except configparser.Error as error:  # whose words repeat what is in the file
        line = getattr(error, "lineno", None) or [*getattr(error, "errors", ()), (0,)][0][0]
        why = "is neither [pydock] nor KEY = VALUE"
        if type(error).__name__.startswith("Duplicate"):
            why = "repeats a key or section"
        raise PydockError(f"cannot read {path}: line {line} {why}") from None
    if not parser.has_section("pydock"):
        raise PydockError(f"{path} has no [pydock] section")
    return dict(parser.items("pydock"))


def checked(key: str, value: str, source: str) -> str:
    """The value of a setting, or one clear error."""
    if key not in SETTINGS:
        raise PydockError(
            f"unknown setting {key!r} in {source}",
            nearest(key, SETTINGS) or "settings: " + ", ".join(SETTINGS),
        )
    default, pattern, what = SETTINGS[key]
    try:
        words = shlex.split(value) if key in ("engine", "mounts") else [value]
        good = (words or not default) and re.fullmatch(pattern, value) and value.isprintable()
        if key == "mounts":
            good = good and all(
                path[0] == "/" and hides_nothing(path) for path in own_folders(value)
            )
        if key == "sandbox_memory":  # docker wants 6m, and its first process some more
            good = good and 1 << 24 <= amount(value) < 1 << 40
    except ValueError:
        good = False
    if not good:
        raise PydockError(
            f"bad value {value!r} for the setting '{key}' in {source}",
            f"{key}: {what}; default '{default}'",
        )
    return value.rstrip("/") + "/" if key == "repository" and value else value


SYSTEM = set("bin boot dev etc lib lib32 lib64 libx32 proc run sbin sys usr".split())
TOP = set("home media mnt opt root srv tmp var".split())


def hides_nothing(path: str) -> bool:
    """Whether a folder of the host can be mounted at its own path without hiding what the image
    needs."""
    parts = path.strip("/").split("/")
    if not parts[0] or parts[0] in SYSTEM or len(parts) == 1 and parts[0] in TOP:
        return False
    if parts[0] == "var" and parts[1] in ("cache", "lib", "lock", "log", "run", "spool"):
        return False
    return parts[:2] not in (["opt", "venv"], ["opt", "pydock"])


def own_folders(value: str) -> list[str]:
    """The folders of the setting `mounts`."""
    return [os.path.normpath(os.path.expanduser(word)) for word in shlex.split(value)]


def check_name(name: str) -> str:
    if re.fullmatch(NAME, name) and len(name) <= 64:
        return name
    close = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:64].strip("-")
    raise PydockError(
        f"{name!r} is not a valid environment name",
        (f"did you mean '{close}'? " if 2 * len(close) >= len(name) > 0 else "")
        + "(lowercase letters, digits, and single . _ - between them; at most 64 characters)",
    )


def lies_in(path: str, folder: str) -> bool:
    """Whether a real path is in this folder, the current one or the project's."""
    project = local_scope()
    folders = [folder, current_folder(), *([os.path.dirname(project.root)] if project else [])]
    return any(is_in(path, os.path.realpath(folder)) for folder in folders)


# --------------------------------------------------------------------------------------------------
# Requirements

WHEEL = r"[A-Za-z0-9_+!-][A-Za-z0-9_.+!-]*\.whl"
IDENTIFIER = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
EXTRAS = rf"\[\s*(?:{IDENTIFIER}(?:\s*,\s*{IDENTIFIER})*)?\s*\]"
NAMED = rf"{IDENTIFIER}\s*(?:{EXTRAS})?\s*@"
LOCAL = rf"[./~]|\S*/|.*\.(?:whl|zip|tgz|tbz|txz|tlz|tar|tar\.(?:gz|bz2|xz|lz|lzma))(?:{EXTRAS})?$"
URL = rf"(?P<url>.*?)(?P<extras>{EXTRAS})?$"
CLAUSE = r"(?:===\s*[^\s;,)]+|(?:~=|==|!=|<=|>=|<|>)\s*[A-Za-z0-9._*+!${}-]+)"
SPECIFIER = rf"{CLAUSE}(?:\s*,\s*{CLAUSE})*"
REQUIREMENT = (
    rf"(?P<name>{IDENTIFIER})\s*(?P<extras>{EXTRAS})?\s*"
    rf"(?:@\s*(?P<url>[^\s;]+)|\(\s*(?P<inner>{SPECIFIER})\s*\)|(?P<specifier>{SPECIFIER}))?"
    r"\s*(?:;\s*(?P<marker>.*))?"
)
OPERAND = "(?:''|[a-z_.]+)"
COMPARISON = rf"{OPERAND}\s*(?:===|[<>=!~]=|[<>]|\bin\b|\bnot\s+in\b)\s*{OPERAND}"
MARKER = rf"\s*{COMPARISON}(?:\s*\b(?:and|or)\b\s*{COMPARISON})*\s*"
OPTIONS = {  # by every name: the one that is written
    **dict.fromkeys("--no-index --pre --prefer-binary --require-hashes".split(), ""),
    **{
        option: option
        for option in (
            "--index-url --extra-index-url --constraint --requirement --editable --find-links --no-binary --only-binary "
            "--trusted-host --use-feature --hash --global-option --config-settings"
        ).split()
    },
    "-i": "--index-url",
    "--pypi-url": "--index-url",
    "-c": "--constraint",
    "-r": "--requirement",
    "-e": "--editable",
    "-f": "--find-links",
    "-C": "--config-settings",
    "--config-setting": "--config-settings",
}
OF_ONE_REQUIREMENT = ("--hash", "--global-option", "--config-settings")


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def masked(text: str, mark: str = "***@") -> str:
    """With a mark in the place of the logins in its URLs."""
    return re.sub(r"://[^/?#\s]*@", f"://{mark}", text)


def without_login(key: str, value: str) -> str:
    """The value of a variable, which may be a proxy without a scheme."""
    proxy = key.lower().endswith("_proxy")
    return re.sub(r"^\s*(\w+://)?.*@", r"\1", value) if proxy else masked(value, "")


class Requirement:
    """What a word, or a logical line of a requirements file, asks for. `kind` is requirement,
    editable, include, option, or empty for a comment or a blank line. `url` is an address, or a
    path of this host; `name` is empty where that does not tell it."""

    def __init__(self, text: str = "", number: int = 0) -> None:
        self.text, self.number = text, number  # as it stands there, with its line ends
        self.kind = self.body = ""
        self.name = self.specifier = self.url = self.marker = ""
        self.extras: list[str] = []
        self.hashes: list[str] = []
        self.options: list[tuple[str, str]] = []
        self.trailing = self.comment = ""  # all that stands after it; what a person says there
        self.range = ""  # within which the asked-for version may be
        self.index = ""  # that serves it, where the environment's own does not
        self.via: list[str] = []  # who needs it, where nobody asked for it

    @property
    def pin(self) -> str:
        """The requirement in its plainest words, without extras and hashes."""
        if self.url:
            return self.url if self.url.startswith("./") else f"{self.name} @ {self.url}"
        return self.name + self.specifier

    @property
    def wheel(self) -> str:
        """The wheel in the environment's `wheels/` that it names, or else empty."""
        found = re.fullmatch(rf"\./wheels/({WHEEL})", self.url)
        return found.group(1) if found else ""

    @property
    def is_project(self) -> bool:
        """Whether it asks for a folder as it lies there, and not for a copy."""
        return self.kind == "editable" and "://" not in self.url

    @property
    def word(self) -> str:
        """What an installer is asked for."""
        return self.within(self.range)

    def within(self, specifier: str) -> str:
        """The requirement with another specifier."""
        marker = f"; {self.marker}" if self.marker else ""
        return with_extras(self.name, self.extras) + specifier + marker


def with_extras(pin: str, extras: Iterable[str]) -> str:
    """The pin of a requirement with these extras."""
    if not extras:
        return pin
    text = f"[{','.join(sorted(extras))}]"
    return pin + text if pin.startswith(".") else re.sub(f"^{IDENTIFIER}", rf"\g<0>{text}", pin)


def ranged(specifier: str) -> str:
    """A specifier that is a range; empty where it is a single version."""
    exact = [clause for clause in specifier.split(",") if re.match(r"==(?!.*\*$)", clause)]
    return "" if exact else specifier


def joined(specifiers: Iterable[str]) -> str:
    """One specifier of several, each clause once."""
    return ",".join(dict.fromkeys(",".join(filter(None, specifiers)).split(","))).strip(",")


def decode_requirements(data: bytes) -> str:
    """As pip: by the byte order mark, or else UTF-8. Other bytes go through as they are, since a
    comment may have any. ValueError where the mark is wrong."""
    marks = ((b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"))
    for mark, codec in (*marks, (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig")):
        if data.startswith(mark):
            return data.decode(codec)
    return data.decode(errors="surrogateescape")


def logical_lines(text: str) -> Iterator[tuple[int, str, str]]:
    """Number, text, and what that says, of each: a backslash ends none, but in a comment."""
    whole, said, start = "", "", 1
    for number, line in enumerate(text.splitlines(True), 1):
        bare = line.splitlines()[0]
        whole += line
        comment = bare.lstrip().startswith("#")
        if bare.endswith("\\") and not comment:
            said += bare.strip("\\")
            continue
        yield start, whole, said + (" " if comment else "") + bare
        whole, said, start = "", "", number + 1
    if whole:
        yield start, whole, said


def read_requirements(text: str, path: str) -> list[Requirement]:
    """The logical lines of a requirements file, after pip's format. PydockError names what cannot
    be understood by file and line."""
    lines = []
    for number, whole, said in logical_lines(text):
        line = Requirement(whole, number)
        found = re.search(r"(?:^|(?<=\s))#.*$", said)
        line.comment = line.trailing = found.group().strip() if found else ""
        line.body = (said[: found.start()] if found else said).strip()
        try:
            read_line(line)
        except ValueError as error:
            raise PydockError(
                f"line {number} of {path}: {error}: {masked(line.body)[:200]!r}"
            ) from None
        lines.append(line)
    return lines


def read_line(line: Requirement) -> None:
    """Finds out what a line is. ValueError says what it is not."""
    if len(line.body) > 1 << 16:
        raise ValueError("too long")
    words = line.body.split(" ")
    start = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    asked = " ".join(" ".join(words[:start]).split())
    line.options = read_options(" ".join(words[start:])) if words[start:] else []
    names = {name for name, _ in line.options}
    if asked:
        if names - set(OF_ONE_REQUIREMENT):
            raise ValueError("this option cannot follow a requirement")
        line.kind = "requirement"
        line.hashes = [value for name, value in line.options if name == "--hash"]
        read_requirement(line, asked)
        read_marks(line)
        return
    for kind, of_kind in (
        ("editable", {"--editable"}),
        ("include", {"--requirement", "--constraint"}),
    ):
        if names & of_kind:
            line.kind, line.url = kind, line.options[0][1]
            if len(line.url) > 4096:
                raise ValueError("too long")
            if len(line.options) > 1:
                raise ValueError("more than one option in a line")
            egg = re.search(rf"#(?:.*&)?egg=({IDENTIFIER})", line.url)
            line.name = canonical(egg.group(1)) if egg else ""
            found = re.match(URL, line.url)
            if line.is_project and found:
                line.url, line.extras = found.group("url"), extras_of(found)
            return
    if names & set(OF_ONE_REQUIREMENT):
        raise ValueError("this option needs a requirement before it")
    line.kind = "option" if names else ""


def read_options(text: str) -> list[tuple[str, str]]:
    """Options by their long names, with their values. ValueError where one is unknown or lacks
    its value."""
    words, found = shlex.split(text), []
    while words:
        if option_name(words[0]) not in OPTIONS:
            name = masked(option_name(words[0]))
            raise ValueError(f"{name} is not an option of requirements files")
        found.append(next_option(words, OPTIONS))
    return found


def option_name(word: str) -> str:
    return word.partition("=")[0] if word.startswith("--") else word[:2]


def next_option(words: list[str], known: Mapping[str, str]) -> tuple[str, str]:
    """Takes an option and its value off the front of the words. ValueError where it lacks one."""
    word = words.pop(0)
    name = option_name(word)
    value = word[len(name) :]
    if known[name] and not value:
        if not words:
            raise ValueError(f"{name} needs a value")
        value = words.pop(0)
    elif value.strip(name[1:]) and not known[name]:  # -vv is twice -v
        raise ValueError(f"{name} takes no value")
    elif word.startswith("--"):
        value = value[1:]
    return known[name] or name, value


def read_requirement(line: Requirement, asked: str) -> None:
    """Name, extras, specifier or URL, and marker. ValueError where it is no requirement."""
    if len(asked) > 4096:
        raise ValueError("too long")
    address = re.match(r"(?i)(?:(?:git|hg|svn|bzr)\+[a-z+]+|https?|ftp|file):", asked)
    bare = re.split("; " if address else ";", asked, maxsplit=1)[0].strip()
    if address or re.match(LOCAL, bare) and not re.match(NAMED, bare):
        line.marker = asked[len(bare) :].strip().lstrip(";").strip()
        found = re.match(URL, bare)
        if not found or address and re.search(r"\s", bare):
            raise ValueError("not a URL")
        line.url = found.group("url")
        line.name = name_of_url(line.url)
    else:
        found = re.fullmatch(REQUIREMENT, asked, re.A)
        if not found:
            raise ValueError("not a requirement")
        line.name, line.url = canonical(found.group("name")), found.group("url") or ""
        specifier = found.group("specifier") or found.group("inner") or ""
        line.specifier = re.sub(r"\s", "", specifier)
        line.range = ranged(line.specifier)
        line.marker = (found.group("marker") or "").strip()
    line.extras = extras_of(found)
    if line.marker:
        plain = re.sub(r"'[^']*'|\"[^\"]*\"", "''", line.marker)
        if not re.fullmatch(MARKER, re.sub("[()]", " ", plain)):
            raise ValueError("not a marker")


def extras_of(found: re.Match[str]) -> list[str]:
    extras = re.findall(IDENTIFIER, found.group("extras") or "")
    return sorted({canonical(extra) for extra in extras})


def name_of_url(url: str) -> str:
    """The package that a URL or a path names, or else empty."""
    egg = re.search(rf"#(?:.*&)?egg=({IDENTIFIER})", url)
    wheel = re.match(
        r"([A-Za-z0-9][A-Za-z0-9_.]*)-[^/]*\.whl$", re.split("[?#]", url)[0].split("/")[-1]
    )
    found = egg or wheel
    return canonical(found.group(1)) if found else ""


def read_marks(line: Requirement) -> None:
    """What pydock wrote after a pin: the range that was asked for, and who needs it."""
    parts = re.split(r"(?<!\s)\s+(?=#)", line.comment) if line.comment else []
    first = " ".join(parts[0].split()) if parts else ""
    found = re.fullmatch(rf"# ?(?:{REQUIREMENT})", first, re.A)
    if found and canonical(found.group("name")) == line.name and found.group("specifier"):
        line.range = re.sub(r"\s", "", found.group("specifier"))
        parts.pop(0)
    found = re.fullmatch(r"#\s*--index-url\s+(\S+)", parts[0]) if parts else None
    if found:
        line.index = found.group(1)
        parts.pop(0)
    if parts and re.match(r"#\s*via\s", parts[0]):
        by = [word.strip() for word in parts[0].partition("via")[2].split(",")]
        if all(re.fullmatch(IDENTIFIER, word) for word in by):
            line.via = by
            parts.pop(0)
    line.comment = "  ".join(parts)


def is_locked(lines: Sequence[Requirement]) -> bool:
    return bool(lines) and ("--require-hashes", "") in lines[0].options


class Package:
    """An installed package: its version, its pin, and the packages that need it."""

    def __init__(self, version: str, pin: Requirement, by: list[str]) -> None:
        self.version, self.pin, self.by = version, pin, by


class Inventory:
    """What INVENTORY_PY found. It ran beside packages, so what it says is believed as little as
    they are: PydockError where it is anything but what it should be."""

    def __init__(self, output: str, projects: Collection[str] = ()) -> None:
        line, self.projects = output.rpartition("\n")[2], projects
        try:
            if not line.startswith("pydock-inventory: "):
                raise ValueError
            found = from_json(line.partition(" ")[2])
            self.python = self.checked(r"\d+\.\d+\.\d+", found["python"])
            self.packages = {
                self.checked(r"[a-z0-9]+(?:-[a-z0-9]+)*", name): self.package(name, *package)
                for name, package in sorted(found["packages"].items())
            }
            self.elsewhere = {str(marker) for marker in found["elsewhere"]}  # markers false here
            self.hashes: dict[str, list[str]] = {}
            for asked in read_requirements(str(found["hashes"]), "the lock"):
                for hash_ in asked.hashes:
                    self.checked("sha(256|384|512):[0-9a-f]+", hash_)
                if asked.hashes:
                    self.hashes[asked.pin] = sorted(set(asked.hashes))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, PydockError):
            raise PydockError(
                "cannot list the installed packages with the environment's Python",
                "one of its packages may change how Python starts",
            ) from None

    @staticmethod
    def checked(pattern: str, text: str) -> str:
        if not re.fullmatch(pattern, text, re.A):
            raise ValueError(text)
        return text

    def package(self, name: str, version: str, pin: str, by: list[str]) -> Package:
        self.checked(r"[A-Za-z0-9!+._-]+", version)
        if pin in self.projects:
            return Package(version, read_requirements(pin, name)[0], [])
        line = Requirement()
        read_requirement(line, self.checked(r"[A-Za-z0-9\-._~:/?#@!&'()*+,=% \[\]]+", pin))
        good = line.wheel or line.url and not line.url.startswith((".", "/", "~", "file:"))
        more = line.marker or line.extras and not line.wheel
        if not (good or line.pin == f"{name}=={version}") or more:
            raise ValueError(pin)
        line.name = name
        return Package(version, line, [self.checked("[a-z0-9-]+", other) for other in by])

    def labels(self) -> dict[str, str]:
        listing = ",".join(f"{name}=={found.version}" for name, found in self.packages.items())
        return {"pydock.python": self.python, "pydock.packages": quote(listing)}


class Wanted:
    """What a change asks of requirements.txt."""

    def __init__(self) -> None:
        self.packages: dict[str, Requirement] = {}  # asked for, by name
        self.marked: list[Requirement] = []  # of these and others of their names: with a marker
        self.limits: dict[str, str] = {}  # the specifiers of constraints, by name
        self.removed: list[str] = []
        self.options: list[tuple[str, str]] = []
        self.projects: dict[str, str] = {}  # lines of those installed as they lie there, by path
        self.served: dict[str, dict[str, str]] = {}  # by index: names of what it serves, by word
        self.lock = False
        self.wheels: dict[str, str] = {}  # hashes of those in wheels/, where it is a lock


class NoHash(PydockError):
    """What keeps an environment from being locked."""


class Freeze:
    """The next requirements.txt: what is installed, in the words and the order of whoever wrote
    the present one. A line that says the same already stays byte for byte."""

    def __init__(self, lines: Sequence[Requirement], found: Inventory, wanted: Wanted) -> None:
        self.lines, self.found, self.wanted = lines, found, wanted
        here = [line for line in wanted.marked if line.marker not in found.elsewhere]
        wanted.packages.update((line.name, line) for line in here)
        self.end = "\r\n" if lines and lines[0].text.endswith("\r\n") else "\n"
        present = {option for line in lines if line.kind == "option" for option in line.options}
        self.options = [o for o in dict.fromkeys(wanted.options) if o not in present]
        self.few: list[str] = []  # pins of which one file is known only
        self.none: list[str] = []  # lines of which none is

    def text(self) -> str:
        kept: list[tuple[str, str]] = []
        of_package: dict[str, list[Requirement]] = {}
        for line in self.lines:
            name = self.package_of(line)
            if name:
                of_package.setdefault(name, []).append(line)
        seen = set(self.wanted.removed)
        options = "".join(option_text(*option) + self.end for option in self.options)
        index = [line for line in self.lines if "--index-url" in dict(line.options)][-1:]
        for line in self.lines:
            name = self.package_of(line)
            if not name:
                if not self.replaced(line):
                    kept.append(("", self.other_line(line)))
                if line in index:  # which ends, for pip, what extra indexes stand above it
                    kept.append(("", options))
            elif name not in self.found.packages:
                if name not in self.wanted.removed:
                    kept.append((name, self.other_line(line)))
            elif name not in seen:
                seen.add(name)
                kept.append((name, self.line_of(name, of_package[name])))
        self.add_new(kept, seen)
        start = ("--require-hashes" + self.end) * self.wanted.lock + options * (not index)
        return start + "".join(text for _, text in kept)

    def package_of(self, line: Requirement) -> str:
        """The package that a line decides about; empty where it does not, such as a line for
        another system."""
        if line.kind not in ("requirement", "editable") or line.marker in self.found.elsewhere:
            return ""
        if line.name:
            return line.name
        for name, package in self.found.packages.items():  # what does not tell its name
            if line.is_project and package.pin.is_project and package.pin.url == line.url:
                return name
            if package.pin.url and without_revision(package.pin.url) == without_revision(line.url):
                return name
        return ""

    def replaced(self, line: Requirement) -> bool:
        """Whether a line is left out: a project that was uninstalled, or `--require-hashes`, which a
        lock puts first."""
        if line.is_project:
            return bool(self.wanted.removed)
        names = {name for name, _ in line.options} if line.kind == "option" else set()
        return names == {"--require-hashes"} and self.wanted.lock

    def other_line(self, line: Requirement) -> str:
        """A line about nothing that is installed, with its hashes where it is a lock."""
        text = line.text if line.text.endswith(("\n", "\r")) else line.text + self.end
        body = text.rstrip("\r\n")
        if line is self.lines[-1] and line.kind and body.endswith("\\"):
            text = body.rstrip("\\ \t") + self.end  # it would join what comes after
        if not self.wanted.lock or line.kind != "requirement" or line.hashes:
            return text
        hashes = self.found.hashes.get(line.pin)
        if not hashes:
            self.none.append(line.body)
            return text
        return self.rendered(line.pin, line.extras, line.marker, hashes, line.trailing)

    def line_of(self, name: str, lines: Sequence[Requirement]) -> str:
        """The line of an installed package that has lines, or that is new."""
        line = lines[0] if lines else Requirement()
        package, asked = self.found.packages[name], self.wanted.packages.get(name)
        if package.pin.is_project and line.body == package.pin.body:
            return self.other_line(line)
        if package.pin.is_project:
            return self.rendered(package.pin.body, [], "", [], line.trailing)
        givers = [*lines, *([asked] if asked else [])]
        extras = sorted({extra for giver in [*givers, package.pin] for extra in giver.extras})
        range_, via = self.range_of(name, lines, asked), self.via_of(name, givers)
        index = next((giver.index for giver in reversed(givers) if giver.index), "")
        same = len(lines) == 1 and says_same(line, package.pin) and line.kind != "editable"
        pin = line.pin if same and line.name else package.pin.pin
        if asked and asked.name and asked.url and says_same(asked, package.pin):
            pin = asked.pin  # with its hash
        hashes = self.hashes_of(name, line if same else None, asked)
        if same and (extras, range_, index, via, hashes) == (
            line.extras,
            line.range,
            line.index,
            line.via,
            line.hashes,
        ):
            return self.other_line(line)
        marks = [f"# {with_extras(name, extras)}{range_}"] * bool(range_)
        marks += [f"# --index-url {index}"] * bool(index)
        marks += [f"# via {', '.join(via)}"] * bool(via) + [line.comment] * bool(line.comment)
        marker = line.marker or (asked.marker if asked and not lines else "")
        return self.rendered(pin, extras, marker, hashes, "  ".join(marks))

    def range_of(self, name: str, lines: Sequence[Requirement], asked: Requirement | None) -> str:
        """The range within which a package may be updated; empty where any version will do."""
        if asked and (asked.specifier or asked.url):
            ranges = [asked.range or asked.specifier]
        else:
            ranges = [line.range for line in lines]
        return ranged(joined([*ranges, self.wanted.limits.get(name, "")]))

    def via_of(self, name: str, givers: Sequence[Requirement]) -> list[str]:
        """Who needs a package that nobody asked for."""
        if any(not giver.via for giver in givers):
            return []
        return self.found.packages[name].by or [other for giver in givers for other in giver.via]

    def hashes_of(
        self, name: str, line: Requirement | None, asked: Requirement | None
    ) -> list[str]:
        pin = self.found.packages[name].pin
        if self.wanted.lock and pin.wheel:  # perhaps another one of the same name
            return [self.wanted.wheels[pin.wheel]] if pin.wheel in self.wanted.wheels else []
        if line and line.hashes:
            return line.hashes
        if asked and asked.hashes and says_same(asked, pin):
            return asked.hashes
        if not self.wanted.lock:
            return []
        if re.match(r"[a-z]+\+", pin.url):
            raise NoHash(
                f"a repository has no hash: {pin.pin}",
                "build a wheel of it (pip wheel --no-deps …)",
            )
        hashes = self.found.hashes.get(pin.pin, [])
        if not hashes:
            raise NoHash(f"its index has no hash of {pin.pin}")
        self.few += [pin.pin] * (len(hashes) == 1)
        return hashes

    def rendered(
        self, pin: str, extras: Sequence[str], marker: str, hashes: Sequence[str], comment: str
    ) -> str:
        semicolon = " ;" if re.match(r"\./|\S+ @ ", pin) else ";"
        text = with_extras(pin, extras) + (f"{semicolon} {marker}" if marker else "")
        lines = [text, *(f"--hash={hash_}" for hash_ in hashes)]
        return f" \\{self.end}    ".join(lines) + (f"  {comment}" if comment else "") + self.end

    def add_new(self, kept: list[tuple[str, str]], seen: Iterable[str]) -> None:
        """The lines of packages that have none: in order of name, or last where a person's
        comments arrange the lines."""
        arranged = any(line.comment and not line.kind for line in self.lines)
        for name in sorted(set(self.found.packages) - set(seen)):
            pins = [(other, i) for i, (other, _) in enumerate(kept) if other and not arranged]
            before = [i for other, i in pins if other < name]
            place = pins[0][1] if pins else len(kept)
            place = before[-1] + 1 if before else place
            kept.insert(place, (name, self.line_of(name, [])))


def says_same(line: Requirement, pin: Requirement) -> bool:
    """Whether a line names this very version, or this very file."""
    if pin.url:
        return line.url.partition("#")[0] == pin.url.partition("#")[0]
    return not line.url and line.specifier in (pin.specifier, "=" + pin.specifier)


def without_revision(url: str) -> str:
    """The address of a repository or file."""
    return re.sub(r"(?<=[^/:])@[^/@]*$", "", url.partition("#")[0])


def project_text(url: str, extras: Iterable[str]) -> str:
    """The line for a project that is installed as it lies there."""
    return option_text("-e", url + with_extras(".", extras)[1:])


def option_text(name: str, value: str) -> str:
    plain = re.fullmatch(r"[^\s'\"\\]*", value)
    return f"{name} {value if plain else shlex.quote(value)}".strip()


def inventory_job(lines: Sequence[Requirement], wanted: Wanted) -> str:
    """What INVENTORY_PY is told about requirements.txt, and what a change asks of it."""
    asked = [line for line in lines if line.name and line.kind in ("requirement", "editable")]
    asked += wanted.packages.values()
    unasked = {line.name for line in asked if line.via} - {
        line.name for line in asked if not line.via
    }
    extras: dict[str, list[str]] = {}
    for line in asked:
        extras.setdefault(line.name, []).extend(line.extras)
    todo = asked if wanted.lock else []
    return to_json(
        {
            "extras": extras,
            "unasked": sorted(unasked),
            "markers": sorted({line.marker for line in [*lines, *wanted.marked] if line.marker}),
            "options": installer_options(lines, wanted),
            "projects": wanted.projects,
            "served": [name for asked in wanted.served.values() for name in asked.values()],
            "lock": wanted.lock,
            "hashed": sorted({line.pin for line in todo if line.hashes}),
            "others": [[line.pin, line.marker] for line in todo if line.marker and not line.hashes],
        }
    )


def installer_options(lines: Sequence[Requirement], wanted: Wanted) -> str:
    """The option lines that an installer is given; of several indexes to start with, the last."""
    options = [option for line in lines if line.kind == "option" for option in line.options]
    options += wanted.options
    index = [option for option in options if option[0] == "--index-url"][-1:]
    options = [option for option in options if option[0] not in ("--index-url", "--require-hashes")]
    return "".join(option_text(*option) + "\n" for option in [*index, *options])


def place_in(file: str, number: int) -> str:
    """How a line is named; where there are no lines to be counted, the file is."""
    return f"line {number} of {file}" if number else file


def check_variables(line: Requirement, file: str, known: Collection[str] = ()) -> None:
    """PydockError where there is a ${VARIABLE}, but a `known` one: a stranger's line could send this
    host's to a server of theirs, and requirements.txt must not hold its value."""
    for name in re.findall(r"\$\{([A-Z0-9_]+)\}", line.body):
        if name not in known:
            raise PydockError(
                f"{place_in(file, line.number)} uses ${{{name}}}, but files get no variables of this host",
                "write the value itself; put a login in ~/.netrc: machine HOST login USER password SECRET",
            )


def no_password(text: str, what: str) -> None:
    what = masked(what)
    if re.search(r"://[^/@\s:]*:[^/@\s]*@|https?://(?!git@)[^/@\s]+@", text):
        raise PydockError(
            f"{what} contains a login, which would be written to requirements.txt",
            "put it in ~/.netrc: machine HOST login USER password SECRET",
        )


# --------------------------------------------------------------------------------------------------
# The environment's folder, and its lock


COMPOSE = "docker-compose.yml"
# The images that are about to come in without a name; `remove_half_written` removes it.
LOADING = ".loading.new"
STANDARD = ("dockerfile", "requirements.txt", COMPOSE)


class Env:
    """One environment: the folder `envs/NAME`, and the image named after it. `staging` is where its
    files are now: the folder itself, or a hidden one beside it while it is being created."""

    scripted = False

    def __init__(self, scope: Scope, name: str, prefix: str) -> None:
        self.scope = scope
        self.name = check_name(name)
        self.folder = self.staging = os.path.join(scope.envs, name)
        path_hash = "__" + sha256(os.fsencode(self.folder))[:8] if scope.mode != "global" else ""
        self.repo = f"{prefix}-{name}{path_hash}"
        self.latest = self.repo + ":latest"
        self.made_here = False  # by this command, of the user's own words
        self.held: dict[str, str] = {}  # texts of files that are read no more
        self.background = self.repo + "--background"
        # The volume of ~/.cache: no other folder's, whatever environments share an engine.
        self.cache = f"{self.repo}--cache-{sha256(os.fsencode(self.folder))[:8]}"
        self.take_id(os.urandom(4).hex())

    def take_id(self, id_: str) -> None:
        """The temporary things of this command are named by it."""
        self.id = id_
        self.temporary = f"{self.repo}--tmp-{id_}"
        self.temporary_tag = f"{self.repo}:tmp-{id_}"

    def rename_id(self) -> str:
        """The id by which a `rename` makes images: of the folder itself, whatever its name is."""
        return sha256(file_id(self.folder).partition(":")[2].encode())[:8]

    @property
    def title(self) -> str:
        """The name as it is to be typed here; of the environment of a script, that."""
        if self.scope.mode == "script":
            return self.scope.why
        usual = local_scope() or global_scope()
        return self.name if usual.mode == self.scope.mode else f"--{self.scope.mode} {self.name}"

    @property
    def where(self) -> str:
        """What is said of a new one beside its name."""
        return f" in {self.folder}" if self.scope.mode == "local" else ""

    def path(self, file: str) -> str:
        return os.path.join(self.staging, file)

    def said(self, file: str) -> str:
        """A file as a message names it: an error takes the folder of a new environment away."""
        new = self.staging != self.folder
        return f"the {file} of {self.name}" if new else self.path(file)

    def exists(self) -> bool:
        """Whether there is anything of its name."""
        try:
            with self.scope.open() as envs:
                return envs.has(self.name)
        except FileNotFoundError:
            return False

    def open(self, *below: str) -> Folder:
        """The folder in which its files are now."""
        return self.scope.open(os.path.basename(self.staging), *below)

    def touch(self) -> bool:
        """Notes in its folder that it is used now; whether there is one."""
        try:
            with self.open() as folder:
                if not self.scripted:
                    os.utime(folder.fd)
            return True
        except FileNotFoundError:
            return False

    def wheels(self, make: bool = False) -> list[str]:
        """What lies in `wheels/`; or that folder made."""
        try:
            with self.open() as folder:
                if make:
                    folder.make("wheels")
                with folder.below("wheels") as wheels:
                    return wheels.names()
        except FileNotFoundError:
            return []

    def has(self, file: str) -> bool:
        try:
            with self.open() as folder:
                return folder.has(file)
        except FileNotFoundError:
            return False

    def hold(self) -> None:
        """Until the lock ends, the dockerfile is what it is now, whoever writes to it: what was
        decided of it holds for what is built of it."""
        self.held["dockerfile"] = self.read("dockerfile")

    def read(self, file: str) -> str:
        if file in self.held:
            return self.held[file]
        try:
            with self.open() as folder:
                return folder.read(file).decode(errors="surrogateescape")
        except FileNotFoundError:
            raise PydockError(
                f"{self.staging} has no {file}",
                f"restore or write it; or: pydock delete {self.title}",
            ) from None

    def hashes(self) -> tuple[str, str]:
        """SHA-256 of the dockerfile and of requirements.txt, as they are on disk now."""
        dockerfile, requirements = self.read("dockerfile"), self.read("requirements.txt")
        for found in re.finditer(r"(?m)^[ \t]*((?:\./+)*wheels/\S*)", requirements):
            if ".." in found.group(1).split("/"):
                number = requirements.count("\n", 0, found.start()) + 1
                raise PydockError(
                    f"line {number} of {self.said('requirements.txt')} leads outside wheels/: {found.group(1)!r}",
                    f"pydock install {self.title} /PATH/TO/THE.whl copies a wheel",
                )
        return text_hash(dockerfile), text_hash(requirements)

    def requirements(self) -> list[Requirement]:
        """The lines of requirements.txt. PydockError names one that cannot be understood."""
        path = self.said("requirements.txt")
        try:
            data = self.read("requirements.txt").encode(errors="surrogateescape")
            lines = read_requirements(decode_requirements(data), path)
        except UnicodeError:
            raise PydockError(f"{path} does not match its byte order mark") from None
        if any("$" in line.body for line in lines):
            joined = re.sub(r"\\[ \t\r]*\n", " ", self.read("dockerfile"))
            sets = re.findall(r"(?im)^[ \t]*(?:ARG|ENV)[ \t](.*)$", joined)
            known = set(re.findall(r"\w+", "\n".join(sets)))  # of the dockerfile
            for line in lines:
                check_variables(line, path, known)
        return lines

    def projects(self) -> dict[str, Requirement]:
        """The lines of requirements.txt for projects that are installed as they lie there, by the
        real path of each."""
        lines = [line for line in self.requirements() if line.is_project]
        return {self.project_of(line, self.said("requirements.txt")): line for line in lines}

    def check_local(self, line: Requirement, file: str) -> None:
        if self.scope.mode != "local":
            raise PydockError(
                f"'{line.body}' in {file} needs a local environment; {self.name} is global",
                f"in the project's folder: pydock --local create {self.name} --editable .",
            )

    def project_of(self, line: Requirement, file: str) -> str:
        """The folder that a line names, as seen from the folder in which .pydock is. PydockError
        where it is not in there: nothing else is in every container of the environment."""
        self.check_local(line, file)
        top = os.path.realpath(os.path.dirname(self.scope.root))
        path = os.path.realpath(os.path.join(top, os.path.expanduser(line.url)))
        if not is_in(path, top):
            raise PydockError(f"'{line.body}' in {file} names {path}, which is outside {top}")
        if not any(os.path.isfile(f"{path}/{name}") for name in ("pyproject.toml", "setup.py")):
            raise PydockError(f"{path} is not a project: it has no pyproject.toml or setup.py")
        return path

    def write(self, file: str, text: str) -> None:
        """Replaces a file at once, and durably: a crash leaves the old one or the new one."""
        with self.open() as folder:
            folder.write(file, text)
        if file == "dockerfile":
            self.held[file] = text

    def lock(self, wait: bool = True) -> Lock:
        return Lock(self.staging, self.name, wait, self.held)

    def add_wheel(self, name: str, content: IO[bytes], origin: Sequence[str] = ()) -> None:
        """`origin` is a command that prints it, for a script."""
        import shutil

        self.wheels(make=True)
        with self.open("wheels") as folder, folder.create(name) as wheel:
            shutil.copyfileobj(content, wheel)

    def copy_wheels(self, source: Env) -> None:
        for name in source.wheels():
            if not name.startswith("."):  # of an install that goes on
                with source.open("wheels") as wheels, wheels.open(name) as wheel:
                    self.add_wheel(name, wheel)

    def fetch(
        self, engine: Engine, wheels: bool, dockerfile: bool = False
    ) -> tuple[dict[str, str], list[str]]:
        """What lies in /opt/pydock of the temporary container: the texts of its files by name, and
        the names of its wheels, which lie as `wheels/.NAME` then. One stream, one call."""
        texts: dict[str, str] = {}
        found: list[str] = []

        def keep(archive: Any, member: Any) -> None:
            name = os.path.normpath(member.name)
            stream = archive.extractfile(member) if member.isfile() else None
            if stream and name in ("dockerfile", "requirements.txt") and member.size < 1 << 24:
                texts[name] = stream.read().decode(errors="surrogateescape")
            elif stream and re.fullmatch(WHEEL, name):
                self.add_wheel("." + name, stream)
                found.append(name)

        argv = ["cp", self.temporary + ":/opt/pydock/.", "-"]
        copy_out(engine, argv, f"cannot save the files of {self.name}", keep)
        if "requirements.txt" not in texts:
            raise EngineError(f"{engine.client} cp failed")
        return texts, found

    def stage(self) -> list[str]:
        """Makes a hidden folder for the files, beside what will be theirs. The folders above it
        that were made, too."""
        made = make_folder(self.scope.envs)
        self.staging = os.path.join(self.scope.envs, f".{self.name}.new-{self.id}")
        with self.scope.open() as envs:
            envs.make(os.path.basename(self.staging))
        return made

    def retire(self) -> str:
        """From now on the environment is gone; the new name of its folder."""
        away = f".{self.name}.old-{self.id}"
        try:
            with self.scope.open() as envs:
                envs.rename(self.name, away)
        except OSError as error:
            raise PydockError(f"cannot delete {self.folder}: {error.strerror}") from None
        return away

    def move(self, new: Env) -> str:
        """From now on the environment has the new one's name; a folder that says, as that of
        `retire`, that what is left of the old name goes."""
        away = f".{self.name}.old-{self.id}"
        try:
            with self.scope.open() as envs:
                envs.make(away)
                envs.rename(self.name, new.name)
        except OSError as error:
            raise PydockError(f"cannot rename {self.folder}: {error.strerror}") from None
        return away

    def clear(self, entry: str) -> None:
        """Removes a folder beside the environment's."""
        with self.scope.open() as envs:
            envs.clear(entry)

    def clear_project(self) -> None:
        """Removes the project's `.pydock`, if nothing is left in it."""
        project = os.path.dirname(os.path.dirname(self.scope.envs))
        try:
            with Folder(project, own=False) as above, above.below(".pydock") as folder:
                os.rmdir("envs", dir_fd=folder.fd)
                os.rmdir(".pydock", dir_fd=above.fd)
        except OSError:
            pass

    def make_folder(self, path: str) -> None:
        make_folder(path)

    def write_file(self, path: str, text: str, mode: int) -> None:
        write_file(path, text, mode)

    def remove(self, path: str) -> None:
        """A file, or a folder with what is in it, of pydock's own, if it is there."""
        import shutil

        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
        elif os.path.lexists(path):
            os.unlink(path)


class ScriptEnv(Env):
    """The environment's twin of --dry-run: prints what would write or remove something, as a shell
    script. What it wrote can be read, but for what the script fetches."""

    scripted = True

    def __init__(self, scope: Scope, name: str, prefix: str) -> None:
        super().__init__(scope, name, prefix)
        self.fetched: set[str] = set()

    def read(self, file: str) -> str:
        if file in self.fetched and not self.has(file):
            return self.held.get(file, "")
        return super().read(file)

    def hashes(self) -> tuple[str, str]:
        dockerfile, requirements = (
            Shell(f"$(sha256sum < {shell_join([self.path(file)])} | cut -c1-64)")
            if file in self.fetched
            else text_hash(self.read(file))
            for file in ("dockerfile", "requirements.txt")
        )
        return dockerfile, requirements

    def write(self, file: str, text: str) -> None:
        self.held[file] = text
        console.emit(heredoc(["cat"], text, self.path(file)))

    def lock(self, wait: bool = True) -> Lock:
        return NoLock(self.staging, self.name, wait)

    def add_wheel(self, name: str, content: IO[bytes], origin: Sequence[str] = ()) -> None:
        wheels = self.path("wheels")
        self.make_folder(wheels)
        console.emit(f"{shell_join(origin)} > {shell_join([os.path.join(wheels, name)])}")

    def copy_wheels(self, source: Env) -> None:
        if source.has("wheels"):
            console.emit(shell_join(["cp", "-R", source.path("wheels"), self.path("wheels")]))

    def fetch(
        self, engine: Engine, wheels: bool, dockerfile: bool = False
    ) -> tuple[dict[str, str], list[str]]:
        for file in ["requirements.txt"] + ["dockerfile"] * dockerfile:
            argv = ["cp", f"{self.temporary}:/opt/pydock/{file}", self.path(file)]
            console.emit(shell_join(engine.command(argv)))
            self.fetched.add(file)
        if wheels:
            self.make_folder(self.path("wheels"))
            copy = shell_join(engine.command(["cp", self.temporary + ":/opt/pydock/.", "-"]))
            folder = shell_join([self.path("wheels")])
            console.emit(f"{copy} | tar -x -C {folder} --wildcards '*.whl' 2>/dev/null || true")
        return {}, []

    def stage(self) -> list[str]:
        self.make_folder(self.staging)
        return []

    def retire(self) -> str:
        return self.name

    def clear(self, entry: str) -> None:
        self.remove(os.path.join(self.scope.envs, entry))
        self.held.clear()

    def make_folder(self, path: str) -> None:
        console.emit(shell_join(["mkdir", "-p", path]))

    def write_file(self, path: str, text: str, mode: int) -> None:
        console.emit(heredoc(["cat"], text, path))
        console.emit(shell_join(["chmod", f"{mode:o}", path]))

    def remove(self, path: str) -> None:
        console.emit(shell_join(["rm", "-rf", path]))


def remove_half_written(env: Env) -> None:
    """Files that a writer which was killed has left; only under the environment's lock."""
    if env.scripted:
        return
    for below, pattern in (([], rf"\..*{HALF_WRITTEN}|\{LOADING}"), (["wheels"], r"\..*\.whl")):
        try:
            with env.open(*below) as folder:
                for name in folder.names():
                    if re.fullmatch(pattern, name, re.S) and not folder.is_folder(name):
                        folder.remove(name)
        except FileNotFoundError:
            pass
    remove_empty_wheels(env)


def remove_empty_wheels(env: Env) -> None:
    try:
        with env.open() as folder:
            os.rmdir("wheels", dir_fd=folder.fd)
    except OSError:  # not empty, or not there
        pass


def keep_files(env: Env, text: str, wheels: Sequence[str], held: bool = True) -> None:
    """Puts a change's files into the environment's folder: new wheels, requirements.txt, and only
    then away with the wheels that it no longer names, if an image holds them."""
    named = {line.wheel for line in read_requirements(text, env.said("requirements.txt"))}
    present = env.read("requirements.txt")  # perhaps with a line that nobody understands
    unused = set(re.findall(rf"(?m)^[^\S\n]*\./wheels/({WHEEL})", present)) - named
    if wheels:
        with env.open("wheels") as folder:
            for wheel in wheels:  # an image may still have one that was uninstalled
                if wheel in named:
                    folder.rename("." + wheel, wheel)
                else:
                    folder.remove("." + wheel)
    env.write("requirements.txt", text)
    if unused and held and env.has("wheels"):
        with env.open("wheels") as folder:
            for wheel in unused:
                folder.remove(wheel)
        remove_empty_wheels(env)


def temporary_folders(scope: Scope) -> Iterator[tuple[str, str, str]]:
    """(entry, name, kind) of what a `create` or `delete` that died has left in `envs/`; kind is
    'new' or 'old'."""
    try:
        with scope.open() as envs:
            entries = envs.names()
    except FileNotFoundError:
        return
    for entry in entries:
        found = re.fullmatch(r"\.(.+)\.(new|old)-[0-9a-f]{8}", entry)
        if found and re.fullmatch(NAME, found.group(1)):
            yield entry, found.group(1), found.group(2)


def is_frozen(env: Env) -> bool:
    """By the mode bits of the files: access(2) would let root write."""
    try:
        with env.open() as folder:
            modes = [folder.stat(file).st_mode for file in ("dockerfile", "requirements.txt")]
        return not any(mode & 0o222 for mode in modes)
    except OSError:
        return False


def check_frozen(env: Env) -> None:
    if is_frozen(env):
        raise PydockError(f"{env.name} is frozen", f"pydock unfreeze {env.title}")


class Lock:
    """An flock of an environment's folder, held while it changes; of a file in pydock's data folder
    where the file system, such as NFS, has none of folders. It ends with the process, however that
    ends."""

    def __init__(
        self, folder: str, title: str, wait: bool = True, texts: dict[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.title = title
        self.wait = wait
        self.texts = texts  # which the environment holds as long as this
        self.patience = 20
        self.fd = -1

    def __enter__(self) -> Lock:
        while not self.held() and not self.take() and self.wait:
            pass
        return self

    def held(self) -> bool:
        return self.fd >= 0

    def take(self) -> bool:
        import fcntl

        try:
            self.fd = os.open(self.folder, os.O_RDONLY)
        except OSError as error:
            raise PydockError(f"cannot open {self.folder}: {error.strerror}") from None
        there = os.fstat(self.fd)
        if not self.flock(fcntl.LOCK_EX | fcntl.LOCK_NB):
            if not self.wait:
                return self.release()
            self.patience -= 1
            if self.patience > 0:  # it may soon be free
                time.sleep(0.05)
                return self.release()
            console.info(f"waiting for another pydock command that is changing {self.title}")
            console.begin("waiting")
            self.flock(fcntl.LOCK_EX)
        if os.path.isdir(self.folder) and os.path.samestat(os.stat(self.folder), there):
            return True
        return self.release()  # deleted, perhaps made anew, while this one waited

    def flock(self, how: int) -> bool:
        """Whether it has the lock now: of the folder, or of the file in its place."""
        import fcntl

        try:
            fcntl.flock(self.fd, how)
        except BlockingIOError:
            return False
        except OSError as error:
            of_folder = stat.S_ISDIR(os.fstat(self.fd).st_mode)
            self.release()
            none = (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
            if not of_folder or error.errno not in none:
                raise PydockError(f"cannot lock {self.folder}: {error.strerror}") from None
            self.fd = open_lock_file(self.folder)
            return self.flock(how)
        return True

    def release(self) -> bool:
        os.close(self.fd)
        self.fd = -1
        return False

    def __exit__(self, *_: object) -> None:
        if self.held():
            self.release()
            if self.texts:
                self.texts.clear()


class NoLock(Lock):
    """The lock's twin of --dry-run, which changes nothing that another could."""

    def held(self) -> bool:
        return True

    def release(self) -> bool:
        return False


def open_lock_file(folder: str) -> int:
    """A descriptor of the file whose lock stands for that of a folder: the same one where `create`
    or `delete` renames it."""
    final = re.sub(r"/\.([^/]+)\.(?:new|old)-[0-9a-f]{8}$", r"/\1", os.path.realpath(folder))
    path = os.path.join(data_folder(), "locks", sha256(os.fsencode(final)))
    make_folder(os.path.dirname(path))
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise PydockError(f"cannot open {path}: {error.strerror}") from None


def is_changing(env: Env) -> bool:
    """Whether somebody holds the environment's lock."""
    lock = Lock(env.staging, env.name, wait=False)
    return not lock.take() or lock.release()


# Such a file is not trusted, even where the note of that is lost.
HANDED_OVER = "# Handed over by others: pydock starts nothing of it before you have allowed it (pydock trust).\n"


def trust_file(env: Env) -> str:
    return os.path.join(data_folder(), "trust", sha256(os.fsencode(env.folder)) + ".json")


def read_note(env: Env) -> dict[str, dict[str, str]] | None:
    """What the user has allowed of an environment's files: digest, and text where it is short, by
    path. None where nothing was noted."""
    if env.staging != env.folder:  # a note of this name would be that of another command
        return None if env.made_here else {}
    folder, name = os.path.split(trust_file(env))
    try:
        with Folder(folder) as notes:
            files = from_json(notes.read(name))["files"]
        known = ("sha256", "text")
        return {
            path: {"sha256": entry["sha256"], **{k: str(entry[k]) for k in known if k in entry}}
            for path, entry in files.items()
        }
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, PydockError):
        return {}


def is_own(env: Env, note: dict[str, dict[str, str]] | None) -> bool:
    """Whether an environment is the user's own, so that nothing of it needs to be allowed: a global
    one that nobody has handed over."""
    handed_over = env.has(COMPOSE) and env.read(COMPOSE).startswith(HANDED_OVER)
    return note is None and env.scope.mode == "global" and not handed_over


def is_allowed(env: Env, file: str, digest: str = "") -> bool:
    """Whether the user has allowed this file, as it is or was with this digest, or made it on this
    machine."""
    note = read_note(env)
    if env.made_here or note is None:
        return env.made_here or is_own(env, note)
    return file in note and note[file]["sha256"] == (digest or text_hash(env.read(file)))


def unallowed(note: dict[str, dict[str, str]], files: dict[str, bytes]) -> list[str]:
    """The paths of what was changed, came or went since the user allowed it; compose's first."""
    found = {*files, *note}
    for path in {*files} & {*note}:
        if note[path]["sha256"] == sha256(files[path]):
            found.remove(path)
    return sorted(found, key=lambda path: (path != COMPOSE, path))


def watched_files(env: Env) -> dict[str, bytes]:
    """What has to be allowed before compose may read it: all files of an environment, by path, but
    requirements.txt, wheels and what another pydock is writing. PydockError where one of them is a
    link, or none that can be read to its end."""
    found: dict[str, bytes] = {}
    unwatched = r"requirements\.txt|wheels/\.?" + WHEEL
    half = r"\.(requirements\.txt|dockerfile)(\.orig\d*)?" + HALF_WRITTEN

    def look(folder: Folder, above: str) -> None:
        for name in folder.names():
            path = above + name
            try:
                if folder.is_folder(name) and above.count("/") < 100:
                    with folder.below(name) as inner:
                        look(inner, path + "/")
                elif re.fullmatch(unwatched, path) or re.fullmatch(half, path) and is_changing(env):
                    folder.open(name).close()
                else:
                    found[path] = folder.read(name)
            except FileNotFoundError:  # it was another pydock's for a moment
                continue
            if len(found) > 1000 or sum(map(len, found.values())) > 4 * MAX_TEXT:
                raise PydockError(
                    f"{env.folder} has too many files to review",
                    "move what is not part of the environment elsewhere",
                )

    with env.open() as folder:
        look(folder, "")
    return found


# --------------------------------------------------------------------------------------------------
# The dockerfile


UV = "0.13.9"  # the installer


# The mounts of the dockerfile's step for packages. Podman would give a dockerfile more than it asks
# for by these words: there, pydock says what is mounted (`run_build`).
CACHE_MOUNTS = "--mount=type=cache,id=pydock,target=/cache --mount=type=bind,from=installer,source=/uv,target=/uv "
SECRET_MOUNT = "--mount=type=secret,id=pydock "
TEMPLATE_ARGS = {
    "REPOSITORY": "",
    "USERNAME": "user",
    "USER_UID": "1000",
    "USER_GID": "1000",
    "INSTALLER": "uv",
}


def render_dockerfile(
    image: str, version: str, apt: Sequence[str], user: str, template: str = ""
) -> str:
    """`user` is [ID:]NAME or empty. A base image that names its registry gets no other one in
    front."""
    image = image.replace("{version}", version)
    named = re.match(r"(?=[^/]*/)[^/]*[.:]|localhost/", image)
    text = template or DOCKERFILE
    if not apt:  # an example
        text = re.sub(rf"(?m)^(?=.*{placeholder('packages')})", "# ", text)
    values = {
        "image": image if named else "${REPOSITORY}" + image,
        "version": version,
        "packages": " ".join(apt) or "git build-essential",
    }
    text = re.sub(placeholder(r"(\w+)"), lambda found: values.get(found[1], found[0]), text)
    for mark, value in {
        "@MOUNTS@": CACHE_MOUNTS + SECRET_MOUNT,
        "@FETCH@": FETCH_SH,
        "@FINISH@": FINISH_SH,
        "@UV@": UV,
        "@PATH@": BASE_PATH_SH,
    }.items():
        text = text.replace(mark, value)
    uid, _, name = user.rpartition(":")
    for key, value in (("USERNAME", name), ("USER_UID", uid), ("USER_GID", uid)):
        if value:
            shown = f'"{value}"' if value == TEMPLATE_ARGS[key] else value
            text = text.replace(f"ARG {key}={TEMPLATE_ARGS[key]}\n", f"ARG {key}={shown}\n")
    return text


def placeholder(name: str) -> str:
    """The pattern of {NAME} in a template, which is no ${NAME}."""
    return rf"(?<!\$)\{{{name}\}}"


def has_place(name: str, template: str, image: str) -> bool:
    """Whether a template, with this base image, has a {NAME}."""
    text = re.sub(placeholder("image"), lambda _: image + "{image}", template)
    return bool(re.search(placeholder(name), text))


# A line of a template with each placeholder.
PLACES = {
    "image": "FROM {image}",
    "version": "FROM python:{version}-slim",
    "packages": "RUN apt-get update && apt-get install -y {packages}",
}


def check_template(template: str, image: str, named: Sequence[str]) -> None:
    """ValueError where a template lacks a line that pydock needs, or a placeholder for what was
    `named`."""
    lines = re.sub(r"(?m)^(ARG \w+)=.*", r"\1", template).split("\n")
    there = {" ".join(line.split()) for line in lines}
    for line in re.findall(r"(?m)^(?:ARG USER\w+|(?:ENV|COPY|USER \$).*)", DOCKERFILE):
        if line not in there:
            raise ValueError(f"lacks the line: {line}")
    if not base_from(template):
        raise ValueError(f"lacks the line: {PLACES['image']}")
    for name in named:
        if not has_place(name, template, image):
            raise ValueError(f"has no {{{name}}} for what you asked for, as in: {PLACES[name]}")


def open_args(dockerfile: str) -> list[str]:
    """The ARGs that pydock fills in: those whose default is still the template's."""
    return [
        key
        for key, value in TEMPLATE_ARGS.items()
        if re.search(rf"(?m)^ARG {key}={value}\s*$", dockerfile)
    ]


def build_args(dockerfile: str, settings: Settings, root: bool = False) -> dict[str, str]:
    values = {
        "REPOSITORY": settings["repository"],
        "USERNAME": settings["user"],
        "USER_UID": "0" if root else str(os.getuid()),
        "USER_GID": "0" if root else str(os.getgid()),
        "INSTALLER": settings["installer"],
    }
    return {key: values[key] for key in open_args(dockerfile)}


def label_words(labels: dict[str, str]) -> str:
    """The text of a LABEL instruction; values are quoted for URLs, so they need no other quotes."""
    text = "LABEL " + " ".join(f"{key}={value}" for key, value in labels.items())
    return (
        Shell(f'"{text}"') if any(isinstance(value, Shell) for value in labels.values()) else text
    )


def base_from(dockerfile: str) -> re.Match[str] | None:
    """The FROM line of the image that the last stage stands on, in the end: group 2 is the
    image."""
    lines = list(
        re.finditer(r"(?mi)^(FROM\s+(?:--\S+\s+)*)(\S+)(?:[ \t]+AS[ \t]+(\S+))?", dockerfile)
    )
    for line in reversed(lines[:-1]):
        if line.group(3) and line.group(3).lower() == lines[-1].group(2).lower():
            lines[-1] = line
    return lines[-1] if lines else None


def base_of(dockerfile: str) -> tuple[str, str]:
    """(image, Python version) of the base image; the version is empty where the tag does not tell
    it."""
    found = base_from(dockerfile)
    image = found.group(2) if found else ""
    version = re.search(r"python:(\d+\.\d+(?:\.\d+)?)", image)
    return image, version.group(1) if version else ""


def base_reference(dockerfile: str, settings: Settings) -> str:
    """The base image as the engine is to be asked for it."""
    return base_of(dockerfile)[0].replace("${REPOSITORY}", settings["repository"])


def readings(dockerfile: str) -> list[str]:
    """A dockerfile without comments: its lines as they are, and joined as whoever reads it may join
    them."""
    comment = r"[^\S\x1c-\x1f]*(#|$)"  # with the blanks of Go
    lines = [line for line in dockerfile.split("\n") if not re.match(comment, line)]
    text = "\n".join(lines)
    return [text, re.sub(r"\\[ \t\r]*\n", "", text), re.sub(r"`[ \t\r]*\n", "", text)]


FROM_LINE = r"(?mi)^([^\S\n]*FROM(?:[^\S\n]+--\S+)*[^\S\n]+\S*[^\s\\`](?:[^\S\n]+AS[^\S\n]+(\S+))?[^\S\n]*)$"


def in_domain(dockerfile: str, domain: str) -> str:
    """A dockerfile whose steps share no layer with those of another domain, for the engine's own
    builder: another one (`# syntax=`) need not keep the caches apart. (Of an ARG, a dockerfile can
    set the value, but not take back the name.) ValueError where a FROM is hidden."""
    mark = f"\nARG PYDOCK_DOMAIN_{domain}=1"
    text = re.sub(r"(?mi)^[^\S\n]*(#|//)[^\S\n]*syntax[^\S\n]*=.*\n?", "", dockerfile)
    text, count = re.subn(FROM_LINE, rf"\1{mark}", text)
    other = rf"FROM\b(?!.*{mark}$)(?![ \t]+[\w.]+[ \t]+import )"  # but not in the text of a program
    if not count or re.search(rf"(?mi)^[^\S\n]*(?:FR?O?[\\`][^\S\n]*$|{other})", text):
        raise ValueError("it has no FROM, or one that spans several lines")
    if re.search("[\ufeff\0]", dockerfile):
        raise ValueError("it contains invisible characters")
    return text


def takes_only(dockerfile: str, image_pattern: str) -> bool:
    """Whether each image that a dockerfile takes anything from fits the pattern, or is a stage above.
    `from=` counts wherever it stands, as do quotes and escapes that leave it; a FROM that may be the
    text of a heredoc makes no stage. `in_domain` refuses a FROM of several lines."""
    for read in readings(dockerfile):
        stages: list[str] = []
        for line in re.sub("[\\\\`\"']", "", read).split("\n"):
            named = re.findall(r"(?i)from=([^\s,]*)", line)
            base = r"(?ai)FROM(?=\s|$)(?:\s+--\S+)*\s*(\S*)(?:\s+AS\s+(\S+)$)?"
            found = re.match(base, line.strip())
            named += [found[1]] if found else []
            others = {name.lower() for name in named if not re.fullmatch(image_pattern, name)}
            if not others <= {*stages}:
                return False
            if found and found[2] and "<<" not in dockerfile:
                stages.append(found[2].lower())
    return True


def is_plain(dockerfile: str, image_pattern: str) -> bool:
    """Whether podman can build a dockerfile of others without giving it this host: each image that
    it takes anything from fits the pattern (others may have ONBUILD, and what is pulled for them is
    taken for each image whose name ends so), no RUN has a flag but the template's, and nothing is
    fetched, which this host would do."""
    text = dockerfile.replace(CACHE_MOUNTS, "").replace(SECRET_MOUNT, "")
    refused = r"(?mi)[\ufeff\0]|^\s*(ONBUILD\s|(RUN|FROM)\s+--|ADD\s)"
    reads = readings(text)
    if any(re.search(refused, read) or not base_from(read) for read in reads):
        return False
    return takes_only(text, image_pattern)


def is_generated(dockerfile: str) -> bool:
    """Whether a dockerfile is what `create` writes for its base image; comments, system packages and
    the user aside. (A comment that names a builder is none.)"""

    def plain(text: str) -> list[str]:
        text = re.sub(r"(?m)^ARG (USERNAME|USER_UID|USER_GID)=\"?[\w.-]+\"?$", r"ARG \1", text)
        start = "RUN apt-get update && apt-get install -y --no-install-recommends"
        apt = rf"(?m)^{start}( [a-z0-9][a-z0-9+.:=~-]*)+ && rm -rf /var/lib/apt/lists/\*$"
        lines = re.sub(apt, "", text).split("\n")
        return [line for line in lines if line and not line.startswith("#")]

    found, builder = base_from(dockerfile), r"(?m)^[^\S\n]*(#[^\S\n]*\w+[^\S\n]*=|//|#!)"
    if not found or re.search(builder + r"|[\r\ufeff\0]", dockerfile):
        return False
    image = found.group(2).replace("${REPOSITORY}", "")
    return plain(render_dockerfile(image, "", ["git"], "")) == plain(dockerfile)


def pinned(dockerfile: str, digest: str) -> str:
    """The dockerfile with its base image at this digest."""
    found = base_from(dockerfile)
    if not found:
        return dockerfile
    image = found.group(2).partition("@")[0] + "@" + digest
    return dockerfile[: found.start(2)] + image + dockerfile[found.end(2) :]


# --------------------------------------------------------------------------------------------------
# The host's settings for an installer


HOST_ONLY = (
    r"PIP_(CONFIG_FILE|CACHE_DIR|NO_CACHE_DIR|TARGET|USER|PREFIX|ROOT|PYTHON|LOG|SRC|REQUIREMENT|CONSTRAINT|"
    r"REQUIRE_VIRTUALENV|BREAK_SYSTEM_PACKAGES|CERT|CLIENT_CERT|REPORT|EDITABLE|BUILD_CONSTRAINT)|"
    r"UV_(CACHE_DIR|NO_CACHE|PYTHON.*|PROJECT.*|TOOL.*|LINK_MODE|SYSTEM_PYTHON|CONFIG_FILE|TARGET|PREFIX|"
    r"BREAK_SYSTEM_PACKAGES|ENV_FILE|WORKING_.*|OFFLINE|CONSTRAINT|OVERRIDE|BUILD_CONSTRAINT|EXCLUDE|PUBLISH_.*)|"
    r".*_TOKEN"
)


SAME_SETTING = (
    ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"),
    ("PIP_INDEX_URL", "UV_INDEX_URL"),
    ("PIP_EXTRA_INDEX_URL", "UV_EXTRA_INDEX_URL"),
    ("PIP_FIND_LINKS", "UV_FIND_LINKS"),
    ("PIP_TRUSTED_HOST", "UV_INSECURE_HOST"),
    ("PIP_DEFAULT_TIMEOUT", "UV_HTTP_TIMEOUT"),
    ("PIP_TIMEOUT", "UV_HTTP_TIMEOUT"),
    ("PIP_PROXY", "HTTPS_PROXY"),
    ("PIP_PROXY", "HTTP_PROXY"),
)


PROXIES = [
    name
    for word in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (word, word.lower())
]


def pip_conf() -> dict[str, str]:
    """The host's pip configuration files as PIP_… variables, a later file over an earlier one."""
    import configparser

    home = home_folder()
    named = os.environ.get("PIP_CONFIG_FILE")
    files = [
        "/etc/pip.conf",
        home + "/.pip/pip.conf",
        os.path.join(os.environ.get("XDG_CONFIG_HOME") or home + "/.config", "pip/pip.conf"),
    ]
    found: dict[str, str] = {}
    files += [named] if named else []
    for path in [] if named == os.devnull else files:
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue
        for section in ("global", "install"):
            if parser.has_section(section):
                found.update(
                    ("PIP_" + k.upper().replace("-", "_"), " ".join(v.split()))
                    for k, v in parser.items(section)
                )
    return found


def host_settings() -> dict[str, str]:
    """The host's settings for an installer, by variable: indexes, proxies, timeouts. What names a
    path of this host is left out, since no container has it."""
    environ = {**pip_conf(), **client_proxies(), **os.environ}
    found = {}
    for key, value in environ.items():
        value = value.replace(",", " ") if key == "UV_FIND_LINKS" else value  # as pip parts it
        if key in PROXIES or key.startswith(("PIP_", "UV_")) and not re.fullmatch(HOST_ONLY, key):
            words = (
                [word for word in value.split() if not word.startswith(("/", "~", ".", "file:"))]
                if re.search("INDEX|LINKS", key)
                else [value]
            )
            if words:
                found[key] = " ".join(words)
    for pip, uv in SAME_SETTING:
        if pip in found:
            found.setdefault(uv, found[pip])
        elif uv in found and pip != "PIP_PROXY":
            found[pip] = found[uv]
    if "UV_FIND_LINKS" in found:
        found["UV_FIND_LINKS"] = found["UV_FIND_LINKS"].replace(" ", ",")
    if "UV_DEFAULT_INDEX" in found:
        found.pop("UV_INDEX_URL", None)
    return found


def host_netrc(text: str) -> str:
    """The host's netrc file, of the hosts alone whose addresses stand in a text."""
    import netrc

    candidates = [os.environ.get("NETRC"), os.path.join(home_folder(), ".netrc")]
    path = next((path for path in candidates if path and os.path.isfile(path)), "")
    if not path:
        return ""
    try:
        logins = netrc.netrc(path)
    except (netrc.NetrcParseError, OSError, ValueError) as error:  # which may say a password
        where = place_in(path, getattr(error, "lineno", None) or 0)
        console.warn(f"cannot read {where}; its logins are not used")
        return ""
    lines = []
    for host in dict.fromkeys(re.findall(r"://(?:[^/?#\s]*@)?([\w.-]+|\[[\w:]+\])", text)):
        login, _, password = [each or "" for each in logins.authenticators(host) or ("", "", "")]
        user, word = (f'"{each}"' if re.search(r"\s", each) else each for each in (login, password))
        if password:
            lines.append(f"machine {host} " + f"login {user} " * bool(login) + f"password {word}\n")
    return "".join(lines)


def limits_of(environ: Mapping[str, str], variables: str) -> str:
    """The text of the files that these variables of the host name; an address as it is. PydockError
    names one that cannot be read: without it, other versions would come."""
    words = {word: name for name in variables.split() for word in environ.get(name, "").split()}
    texts = []
    for word, name in words.items():
        path = without_scheme(word)
        if "://" not in path and (os.path.isdir(path) or not os.access(path, os.R_OK)):
            option = name[4:].lower().replace("_", "-")
            origin = name if name in os.environ else f"{option} of pip.conf"
            raise PydockError(f"{origin} names {path}, which cannot be read")
        texts.append(f"-c {path}" if "://" in path else host_file(path).rstrip())
    return "".join(text + "\n" for text in texts)


def settings_sh(secrets: bool, named: str = "") -> str:
    """The host's settings as shell text: exports, and files on the container's /dev/shm, which no
    image ever holds. With `secrets`, the logins for the addresses in these settings, and in the text
    `named`."""
    settings = host_settings()
    if not secrets:
        login = r"UV_INDEX_\w+_(USERNAME|PASSWORD)"
        settings = {
            key: without_login(key, value)
            for key, value in settings.items()
            if not re.fullmatch(login, key)
        }
    lines = [f"export {key}={shlex.quote(value)}" for key, value in sorted(settings.items())]
    environ = {**pip_conf(), **os.environ}
    ca = host_file(
        environ.get("PIP_CERT"), environ.get("SSL_CERT_FILE"), environ.get("REQUESTS_CA_BUNDLE")
    )
    config = os.environ.get("XDG_CONFIG_HOME") or home_folder() + "/.config"
    uv_toml = host_file(os.environ.get("UV_CONFIG_FILE"), config + "/uv/uv.toml", "/etc/uv/uv.toml")
    uv_toml = uv_toml if secrets else masked(uv_toml, "")
    addresses = "\n".join([*settings.values(), uv_toml, named])
    limits = (
        ("constraint.txt", "PIP_CONSTRAINT UV_CONSTRAINT"),
        ("build.txt", "PIP_BUILD_CONSTRAINT UV_BUILD_CONSTRAINT"),
        ("override.txt", "UV_OVERRIDE"),
        ("exclude.txt", "UV_EXCLUDE"),
    )
    for text, file, names in (
        (ca, "ca.pem", "SSL_CERT_FILE PIP_CERT REQUESTS_CA_BUNDLE GIT_SSL_CAINFO"),
        (host_netrc(addresses) if secrets else "", "netrc", "NETRC"),
        (uv_toml, "uv.toml", "UV_CONFIG_FILE"),
        *((limits_of(environ, names), file, names) for file, names in limits),
    ):
        if text:
            lines += ["umask 077", heredoc(["cat"], text, "/dev/shm/" + file), "umask 022"]
            lines += [f"export {name}=/dev/shm/{file}" for name in names.split()]
    return "\n".join(lines) + "\n"


class Secret:
    """The host's settings as a file for `--secret`: in memory where this system and the engine's
    client allow that, so that nothing stays behind even if pydock is killed. `path` is empty where
    there is nothing to hand over."""

    def __init__(self, engine: Engine, settings: str) -> None:
        import tempfile

        self.path = ""
        self.file: IO[bytes] = io.BytesIO()
        text = engine.secret(settings)
        if not text.strip():
            return
        # sudo and a rootless podman could not open this process's memory.
        if hasattr(os, "memfd_create") and not engine.sudo and not (engine.podman and os.getuid()):
            self.file = open(os.memfd_create("pydock"), "wb")
            self.path = f"/proc/{os.getpid()}/fd/{self.file.fileno()}"
        else:
            named = tempfile.NamedTemporaryFile(prefix="pydock-")
            self.file, self.path = named, named.name
        self.file.write(text.encode(errors="surrogateescape"))
        self.file.flush()

    def __enter__(self) -> Secret:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


# --------------------------------------------------------------------------------------------------
# Images and revisions


MAX_LAYERS = 110  # the engine stops at 125


# 1024 zeros: podman adds such a layer at each commit.
EMPTY_LAYER = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"


# What `run` asks of an image.
READY = """{{.Id}}
{{.Config.User}}
{{.Config.WorkingDir}}
{{index .Config.Labels "pydock.folder"}}
{{index .Config.Labels "pydock.dockerfile"}}
{{index .Config.Labels "pydock.requirements"}}
{{json .Config.Volumes}}"""


class Image:
    """What `image inspect` tells of one image, under one of its tags."""

    def __init__(self, tag: str, data: dict[str, Any]) -> None:
        self.tag = tag
        self.id: str = data["Id"]
        self.config: dict[str, Any] = data.get("Config") or {}
        self.labels: dict[str, str] = self.config.get("Labels") or {}
        layers: list[str] = (data.get("RootFS") or {}).get("Layers") or []
        self.depth = len(layers)
        self.layers = [layer for layer in layers if layer != EMPTY_LAYER]
        self.size: int = data.get("Size") or 0
        self.created: str = data.get("Created") or ""
        self.digests: list[str] = data.get("RepoDigests") or []
        self.names: list[str] = data.get("RepoTags") or []

    def digest_of(self, reference: str) -> str:
        """The digest under which a registry knows the image, by the name that it was pulled by; or
        else empty."""

        def short(name: str) -> str:
            return re.sub("^(docker.io/)?(library/)?", "", name)

        digests = dict(digest.split("@", 1) for digest in self.digests if "@" in digest)
        known = {short(name): digest for name, digest in digests.items()}
        return known.get(short(re.sub(r":[^/:]*$", "", reference)), "")

    def of(self, env: Env) -> bool:
        return self.labels.get("pydock.folder") == quote(env.folder)

    @property
    def hashes(self) -> tuple[str, str]:
        """SHA-256 of the dockerfile and of requirements.txt that it was made of, as its labels
        say."""
        return self.labels.get("pydock.dockerfile", ""), self.labels.get("pydock.requirements", "")

    def is_descendant_of(self, other: Image) -> bool:
        return self.layers[: len(other.layers)] == other.layers

    def added_size(self, others: Iterable[Image]) -> int:
        """Its bytes above the largest of these that it stands on."""
        return self.size - max([0, *(o.size for o in others if self.is_descendant_of(o))])

    def is_ours(self, tag: str, prefix: str) -> bool:
        """Whether it lies under the name that its labels make. What somebody built from it, or
        pulled, does not."""
        folder = unquote(self.labels.get("pydock.folder", ""))
        repo = f"{prefix}-{self.labels.get('pydock.name', '')}"
        local = f"{repo}__{sha256(os.fsencode(folder))[:8]}"
        return bool(folder) and tag.rpartition(":")[0] in (repo, local)

    def found(self) -> dict[str, str]:
        """The labels that tell what is in it, for an image that is made from it; nothing of them
        that pydock would not write."""
        labels = {
            k: self.labels[k] for k in ("pydock.python", "pydock.packages") if k in self.labels
        }
        return {k: v for k, v in labels.items() if re.fullmatch(r"[\w.%=,!+~-]*", v)}

    def packages(self) -> dict[str, str]:
        listing = unquote(self.labels.get("pydock.packages", ""))
        return dict(item.partition("==")[::2] for item in listing.split(",") if item)


class Session:
    """What a command works with: place, settings, engine."""

    def __init__(self, scope: Scope, line: Sequence[str] = (), dry_run: bool = False) -> None:
        self.scope = scope
        self.line = line
        self.settings = Settings(scope)
        self.engine = self.settings.engine(dry_run)
        self.kind = ScriptEnv if dry_run else Env
        self.network = ""  # of what downloads packages

    def new_env(self, name: str, scope: Scope | None = None) -> Env:
        """An environment that need not be there."""
        return self.kind(scope or self.scope, name, self.settings["prefix"])

    def env(self, name: str, other: bool = False) -> Env:
        """The environment of this name, perhaps of the `other` mode; an error that helps where
        there is none."""
        scope, env = self.scope, self.new_env(name)
        beside = global_scope() if scope.mode == "local" else local_scope()
        there = beside if beside and name in beside.names() else None
        if other and there and not env.exists():
            return self.new_env(name, there)
        try:
            env.open().__exit__()  # or an error that says what is wrong with it
        except FileNotFoundError:
            raise PydockError(
                f"no {scope.mode} environment '{name}'", self.other_name(env, beside, there)
            ) from None
        chosen = scope.mode == "global" or scope.why == "--local"
        if there and not chosen and read_note(env) is None:
            console.warn(
                f"using {name} of {os.path.dirname(scope.root)}, which was not created here, instead of your global one",
                f"pydock --global {shell_join(self.line)}",
            )
        return env

    def other_name(self, env: Env, beside: Scope | None, there: Scope | None) -> str:
        """The hint where there is no environment of a name."""
        if there:
            return f"there is a {there.mode} one: pydock --{there.mode} {shell_join(self.line)}"
        strange = strange_pydock() if self.scope.mode == "global" else ""
        if strange:
            mine = f"sudo chown -R {os.getuid()} {shell_join([strange])}"
            return f"{strange} belongs to another user and is ignored; if you trust its contents: {mine}"
        names = self.scope.names()
        close = closest(env.name, beside.names()) if beside else ""
        if beside and close and not closest(env.name, names):
            line = shell_join([close if word == env.name else word for word in self.line])
            return f"pydock --{beside.mode} {line}"
        known = f"existing: {', '.join(names[:8])}; to create it: " if names else ""
        return nearest(env.name, names) or f"{known}pydock create {env.title}"


def tags_argv(*which: str) -> tuple[str, ...]:
    return ("image", "ls", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}", *which)


def tagged(engine: Engine, *which: str, timeout: float | None = None) -> dict[str, str]:
    """The ids of images, all or those of a name or filter, by `repository:tag`; without podman's
    word for what comes from no registry."""
    lines = engine.output(*tags_argv(*which), timeout=timeout).splitlines()
    rows = [line.split() for line in lines if "<none>" not in line]
    return {re.sub("^localhost/", "", tag) if engine.podman else tag: id_ for tag, id_ in rows}


def tags_of(engine: Engine, env: Env, timeout: float | None = None) -> dict[str, str]:
    """The ids of the images under the environment's name, by tag; podman lists all names of an
    image."""
    found, start = tagged(engine, env.repo, timeout=timeout), env.repo + ":"
    return {tag[len(start) :]: id_ for tag, id_ in found.items() if tag.startswith(start)}


def images_of(engine: Engine, env: Env) -> dict[str, Image]:
    """All images under the environment's name, by tag: two calls."""
    return inspect(engine, tags_of(engine, env))


def inspect(engine: Engine, references: dict[str, str]) -> dict[str, Image]:
    """The images that these ids or tags name, by the same keys; one call. One that is not there is
    left out, but not for lack of an answer."""

    def plain(name: str) -> str:
        return re.sub("^(localhost/|sha256:)" if engine.podman else "^sha256:", "", name)

    if not references:
        return {}
    argv = inspect_argv(references.values())
    process = engine.prefetched.pop(argv, None) or engine.start(argv)
    out, _ = engine.finish(process)
    found: dict[str, dict[str, Any]] = {}
    for data in from_json(out or b"[]"):
        found.update({plain(name): data for name in [data["Id"], *(data.get("RepoTags") or [])]})
    wanted = {key: plain(name) for key, name in references.items()}
    if process.returncode:
        there = set(map(plain, engine.output(*tags_argv("-a")).split()))
        if there & set(wanted.values()) - set(found):
            raise EngineError(f"{engine.client} image inspect failed")
    return {key: Image(key, found[name]) for key, name in wanted.items() if name in found}


def inspect_argv(references: Iterable[str]) -> tuple[str, ...]:
    return ("image", "inspect", *sorted(set(references)))


def find_image(engine: Engine, reference: str) -> Image | None:
    text = engine.try_output("image", "inspect", reference)
    return Image(reference, from_json(text)[0]) if text else None


def existing_image(engine: Engine, reference: str) -> Image:
    """An image that was there a moment ago."""
    image = find_image(engine, reference)
    if image:
        return image
    raise PydockError(f"the image {reference} no longer exists")


def check_owner(engine: Engine, env: Env, images: dict[str, Image]) -> None:
    """No tag is moved or removed that names another folder which exists: two homes, two users, or
    two machines, on one engine."""
    for image in images.values():
        if is_others(engine, env, image):
            mine = login_name() if re.fullmatch(NAME, login_name()) else "mine"
            raise PydockError(
                f"the image {env.repo} belongs to the environment in {unquote(image.labels['pydock.folder'])}",
                f"use another prefix for your images: pydock config --global prefix {mine}",
            )
        if image.tag in ("latest", env.latest) and "pydock.folder" not in image.labels:
            raise PydockError(
                f"the image {env.latest} was not made by pydock",
                f"{shell_join(engine.command(['rmi', env.latest]))}, or choose another name",
            )


def is_others(engine: Engine, env: Env, image: Image) -> bool:
    """Whether an image under the environment's name is of another folder, which exists."""
    folder = unquote(image.labels.get("pydock.folder", ""))
    if folder in ("", env.folder):
        return False
    return may_exist(folder) or bool(engine.remote_address())


def remove_tag(engine: Engine, env: Env, tag: str) -> bool:
    """Removes a tag of the environment's name if it is of its making, as it is in this moment.
    False where the engine refuses."""
    reference = f"{env.repo}:{tag}"
    image = find_image(engine, reference)
    if not image:  # it is gone, or the engine did not answer
        return engine.try_output("image", "ls", "-q", reference) == ""
    if "pydock.folder" not in image.labels or is_others(engine, env, image):
        return True
    return engine.try_run("rmi", reference)


def remove_images(engine: Engine, env: Env, images: dict[str, Image]) -> bool:
    """Removes every tag of the environment's name that pydock made for it; whether all of them
    went."""
    return all([remove_tag(engine, env, tag) for tag in images])


def labels_for(env: Env, hashes: tuple[str, str], command: Sequence[str]) -> dict[str, str]:
    return {
        "pydock": "1",
        "pydock.name": env.name,
        "pydock.folder": quote(env.folder),
        "pydock.dockerfile": hashes[0],
        "pydock.requirements": hashes[1],
        "pydock.command": quote(shell_join(without_values(command))),
        "pydock.time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def without_values(command: Sequence[str]) -> list[str]:
    """A command line without the values of the variables that it sets: an image is handed on."""
    words = []
    for before, word in zip(["", *command], command):
        word = word.partition("=")[0] if before in ("-e", "--env") else word
        words.append(re.sub(r"^(-e|--env=)([^=]*)=.*", r"\1\2", word, flags=re.S))
    return words


def found_labels(found: str) -> dict[str, str]:
    """The labels of a dry run's image, which INVENTORY_PY prints as its last line: Python's
    version, a blank, the packages."""
    console.emit(f"{found[1:]}=$(printf '%s\\n' \"{found}\" | sed -n '$s/^pydock-found: //p')")
    return {
        "pydock.python": Shell(f"${{{found[1:]}%% *}}"),
        "pydock.packages": Shell(f"${{{found[1:]}#* }}"),
    }


def is_number(tag: str) -> bool:
    """Whether a tag is one that pydock counts revisions by; others may have made 007."""
    return bool(re.fullmatch("[1-9][0-9]*", tag))


def is_label(tag: str) -> bool:
    """Whether a tag is one that `snapshot` gave."""
    return not tag.isdigit() and tag != "latest" and not tag.startswith("tmp-")


def revision_numbers(images: dict[str, Image]) -> list[int]:
    """The numbers of the revisions, newest first."""
    return sorted(
        (int(tag) for tag in images if is_number(tag) and "pydock.folder" in images[tag].labels),
        reverse=True,
    )


def old_revisions(images: dict[str, Image], settings: Settings) -> list[int]:
    """The numbers of the revisions of an environment that are not kept. Kept are the first one,
    those with a label, the present one, and the newest `history` beside it."""
    named = {images[tag].id for tag in images if is_label(tag) or tag == "latest"}
    older = revision_numbers(images)[int(settings["history"]) + 1 : -1]
    return [number for number in older if images[str(number)].id not in named]


def drop_old_revisions(session: Session, env: Env) -> None:
    try:
        images = images_of(session.engine, env)
    except PydockError:  # what was asked for is done; the next change tidies up
        return
    old = [str(number) for number in old_revisions(images, session.settings)]
    gone = [tag for tag in old if remove_tag(session.engine, env, tag) and images[tag].of(env)]
    if gone:
        plural = "s" * (len(gone) > 1)
        report(env, f"removed revision{plural} {', '.join(gone)}; `pydock snapshot` keeps one")


def create_argv(container: str, image: str, *options: str) -> list[str]:
    """`docker create` of a container that is only committed or read; without the variables that the
    client would set there (proxies)."""
    blank = [word for name in client_proxies() for word in ("-e", name + "=")]
    return ["create", "--name", container, "--pull", "never", *blank, *options, image]


def temporary_argv(
    container: str,
    image: str,
    config: dict[str, Any],
    command: Sequence[str],
    options: Sequence[str] = (),
) -> list[str]:
    """`docker run` of a container whose result is committed: by root, and nothing by -e but to take
    away what the client would set."""
    argv = ["run", "-i", *create_argv(container, image)[1:-1], "-u", "0:0", *options]
    return argv + in_image(config, image, command)


def in_image(config: dict[str, Any], image: str, command: Sequence[str]) -> list[str]:
    """The end of `docker run` of a command. --entrypoint only where the image has one: a commit can
    put an entrypoint back, but not take one away."""
    if config.get("Entrypoint"):
        return ["--entrypoint", command[0], image, *command[1:]]
    return [image, *command]


def look_argv(image: str) -> list[str]:
    """`docker run` of a command that only looks at what is in an image."""
    options = "--rm --pull never --network none --security-opt no-new-privileges"
    return ["run", *options.split(), image]


def commit_argv(
    container: str,
    tag: str,
    config: dict[str, Any],
    labels: dict[str, str],
    blank: Sequence[str] = (),
) -> list[str]:
    """`docker commit` with the environment's own CMD, USER and so on put back, which it would take
    from the container."""
    user, folder = config.get("User") or "0", config.get("WorkingDir") or "/"
    if re.search(r"[\x00-\x1f\x7f]", user + folder):
        raise PydockError(
            f"the image has an unsupported user or working directory: {user}, {folder}"
        )
    changes = ["CMD " + to_json(config.get("Cmd") or ["python3"])]
    changes += ["USER " + user, "WORKDIR " + folder]
    if config.get("Entrypoint"):
        changes.append("ENTRYPOINT " + to_json(config["Entrypoint"]))
    changes += [f"ENV {key}=" for key in blank]
    changes += [label_words({key: value}) for key, value in labels.items()]
    options = [word for change in changes for word in ("--change", change)]
    return ["commit", *options, container, tag]


def commit(
    engine: Engine, env: Env, tag: str, config: dict[str, Any], labels: dict[str, str]
) -> None:
    """Makes an image of the temporary container, without the variables that the engine's client
    added to it of its own accord (the proxies of its configuration file, which may have
    passwords)."""
    for path in config.get("Volumes") or {}:
        if any(is_in(own, path) or is_in(path, own) for own in ("/opt/venv", "/opt/pydock")):
            raise PydockError(
                f"the image of {env.name} has a volume at {path}, whose files a commit leaves out",
                "choose a base image without that VOLUME",
            )
    variables = ("container", "inspect", "--format", "{{json .Config.Env}}", env.temporary)
    found = from_json(engine.output(*variables)) or []
    usual = {item.split("=")[0] for item in config.get("Env") or []}
    usual |= {"PATH", "HOME", "HOSTNAME", "TERM", "container"}
    blank = sorted({item.split("=")[0] for item in found} - usual)
    engine.run(*commit_argv(env.temporary, tag, config, {**labels, **engine.labels}, blank))


def remove_temporary(engine: Engine, env: Env, temporary_id: str) -> None:
    container = f"{env.repo}--tmp-{temporary_id}"
    engine.try_run("rm", "-fv", container, container + "-tree")
    tags = [f"{env.repo}:tmp-{temporary_id}{end}" for end in ("", "-base", "-build", "-project")]
    engine.try_run("rmi", *tags)


def finish_rename(engine: Engine, env: Env, images: dict[str, Image]) -> dict[str, Image]:
    """Gives the images that a `rename` of this very folder made their tags, the present one's last;
    all images, then."""
    for tag in sorted(images, key=lambda tag: tag.endswith(".latest")):
        name = tag.partition(f"tmp-{env.rename_id()}.")[2]
        if name and images[tag].of(env):
            engine.run("tag", f"{env.repo}:{tag}", f"{env.repo}:{name}")
            remove_tag(engine, env, tag)
    return images_of(engine, env)


def remove_unfinished(engine: Engine, env: Env, temporary_id: str) -> None:
    """What a `create` or `rename` that did not come to its end has left in the engine."""
    said = ""
    try:
        said = env.read(LOADING) if env.has(LOADING) else ""
    except PydockError:
        pass
    for id_ in re.findall(r"\bsha256:[0-9a-f]{64}\b", said):
        image = find_image(engine, id_)
        if image and "pydock.name" in image.labels:  # it is a stranger's word, in a project
            engine.try_run("tag", id_, f"{env.repo}:tmp-{temporary_id}-base")
    remove_temporary(engine, env, temporary_id)
    for tag in [] if env.exists() else tags_of(engine, env):
        if tag.startswith(f"tmp-{temporary_id}."):
            remove_tag(engine, env, tag)


def remove_stale_temporaries(engine: Engine, env: Env, images: dict[str, Image]) -> None:
    """What a command that died has left: its temporary container and tags. Only under the
    environment's lock."""
    for name, state in containers_named(engine, f"name={env.repo}--"):
        temporary = name.startswith(env.repo + "--tmp-")
        if not temporary and not (name.startswith(env.repo + "--") and state == "created"):
            continue
        inspect = ("container", "inspect", "--format", "{{json .Created}}", name)
        created = (engine.try_output(*inspect) or "").strip().strip('"')
        # A client that was killed at once leaves a container of `run` that never starts; a new one
        # may be about to.
        if temporary or (age_of(created) or 0) > 60:
            engine.try_run("rm", "-f", name)
    remove_half_written(env)
    for tag in [tag for tag in images if tag.startswith("tmp-")]:
        remove_tag(engine, env, images.pop(tag).tag)


def containers_named(engine: Engine, *filters: str) -> list[tuple[str, str]]:
    """(name, state in one word) of the containers that filters of `docker ps` let through."""
    options = [word for filter in filters for word in ("--filter", filter)]
    out = engine.output("ps", "-a", "--format", "{{.Names}} {{.State}}", *options)
    rows = [row.split() for row in out.splitlines()]
    return [(row[0], row[1].lower()) for row in rows if len(row) > 1]


# What a change leaves that ends in the middle, by a failure, a signal, a full disk or a crash, and
# what then happens: where pydock still lives at once, else by the next command that takes the lock.
# A row for each test that ends it there (tests/test_nothing_lost.py; time: tests/test_history.py).
#
# command, died after       left behind                      what recovers from it
# install, uninstall, update (EveryCall, RandomMoments, FullDisk)
#   container, installer    container                        removed; files and tags are the old ones
#   commit                  container, :tmp                  both removed: the files are not of :tmp
#   a client that is killed while the engine commits         :tmp, which came later, removed
#   wheels                  wheels/.NAME.whl                 removed (remove_half_written)
#   a write that fails      .FILE.ID.new                     removed (remove_half_written)
#   requirements.txt        :tmp, which the files match      tagged as N+1 and latest
#   :N+1                    :tmp, :N+1                       latest moves to N+1
#   latest                  :tmp, container                  removed
#   a person who puts requirements.txt back (ByHand)         the file stays; :tmp is removed
# install -e FOLDER (EveryCallOfAProject); the rest is as install
#   project                 container, :tmp-project          removed
# install --apt PKG (EveryCall.test_install_of_system_packages)
#   dockerfile              the new one, and the old image   stays, as if a person had edited it
#   build                   :tmp-build, :tmp                 :tmp tagged, the rest removed
# build (EveryCall)
#   build                   :tmp-build, :tmp                 :tmp tagged, the rest removed
# rollback (time.BadEnds)
#   copies of edits         requirements.txt.orig            stays: nobody else has it
#   dockerfile alone        :tmp, one file of two            restore_requirements, then tagged
#   both files              :tmp, which the files match      tagged as N+1 and latest
# create, clone, create --from (EveryCall.test_create; tests/test_export.py BadEnds)
#   files, image            envs/.NAME.new-ID, :tmp          removed (collect_garbage)
#   load of a bundle        an image without a name          removed by envs/.NAME.new-ID/.loading.new
#   rename                  envs/NAME, :tmp                  tagged as 1 and latest
# rename (EveryCall.test_rename)
#   images of the new name  envs/.NEW.new-ID, :tmp-ID.TAG…   removed (collect_garbage)
#   rename                  envs/NEW, :tmp-ID.TAG…           tagged as TAG… (finish_rename)
#   tags                    envs/.OLD.old-ID, images of OLD  removed (collect_garbage)
# delete (EveryCall.test_delete)
#   rename                  envs/.NAME.old-ID, images        removed (collect_garbage)
# snapshot (time.BadEnds), freeze: one step each
def recover(engine: Engine, env: Env) -> dict[str, Image]:
    """Finishes or undoes what died, and returns the images. Files that match a newer revision than
    the present one say that it was only not tagged yet; anything else of a temporary name goes.
    Only under the environment's lock."""
    env.wheels()  # an error where that is a link
    images = images_of(engine, env)
    if env.scripted:
        return images
    check_owner(engine, env, images)
    if any(tag.startswith("tmp-") and "." in tag for tag in images):
        images = finish_rename(engine, env, images)
    latest, newest = images.get("latest"), [str(n) for n in revision_numbers(images)[:1]]
    if not latest or latest.hashes != env.hashes():
        made = [tag for tag in newest if not latest or images[tag].id != latest.id]
        made += [tag for tag in images if re.fullmatch("tmp-[0-9a-f]{8}", tag)]
        for image in [images[tag] for tag in made if images[tag].of(env)]:
            if has_its_files(engine, env, image, latest):
                tag_revision(engine, env, images, image)
                images = images_of(engine, env)
                break
    remove_stale_temporaries(engine, env, images)
    return images


def has_its_files(engine: Engine, env: Env, image: Image, latest: Image | None) -> bool:
    """Whether the files are those of an image that was not tagged yet. A rollback writes the
    dockerfile, then requirements.txt: if it died between them, the second is written now, unless
    somebody has changed that file since."""
    dockerfile, requirements = env.hashes()
    if latest and image.hashes[0] == dockerfile and image.hashes[1] != requirements:
        with env.open() as folder:
            copies = [n for n in folder.names() if re.fullmatch(r"requirements\.txt\.orig\d*", n)]
            copies.sort(key=lambda name: folder.stat(name).st_mtime)
        kept = [text_hash(env.read(copy)) for copy in copies[-1:]]
        if requirements in (latest.hashes[1], *kept):
            restore_requirements(engine, env, image)
    return image.hashes == env.hashes()


def tag_revision(
    engine: Engine, env: Env, images: dict[str, Image], image: Image | None = None
) -> None:
    """Makes an image the present revision: the next number, then latest. Then what no revision
    needs any more goes."""
    source = f"{env.repo}:{image.tag}" if image else env.temporary_tag
    present = find_image(engine, env.latest)
    check_owner(engine, env, {"latest": present} if present else {})
    new = not image or not is_number(image.tag)
    if new:
        made = [tag.partition(":")[2] for tag in engine.made if tag.startswith(env.repo + ":")]
        number = max([0, *(int(tag) for tag in [*images, *made] if is_number(tag))]) + 1
        engine.run("tag", source, f"{env.repo}:{number}")
    engine.run("tag", source, env.latest)
    if new:
        engine.try_run("rmi", source)


def collect_garbage(session: Session) -> None:
    """Removes what commands that died have left: half-made and half-deleted folders."""
    engine = session.engine
    for entry, name, kind in temporary_folders(session.scope):
        env = session.new_env(name)
        if env.scripted:
            return
        lock = Lock(os.path.join(session.scope.envs, entry), name, wait=False)
        try:
            session.scope.open(entry).__exit__()
            if not lock.take():
                continue
        except (FileNotFoundError, PydockError):  # not ours, or gone
            continue
        with lock:
            if kind == "new":
                env.staging = os.path.join(session.scope.envs, entry)
                remove_unfinished(engine, env, entry[-8:])
            if kind == "new" or env.exists() or remove_images(engine, env, images_of(engine, env)):
                env.clear(entry)


def report(env: Env, done: str, next_line: str = "") -> None:
    if os.environ.get("PYDOCK_ENV") == env.name:  # its programs are typed without pydock, there
        next_line = re.sub(r"^pydock (shell|run) [^;,]*([;,] )?", "", next_line)
    if not env.scripted:
        console.info(done + (f"; next: {next_line}" if next_line else ""))


def restore_requirements(engine: Engine, env: Env, image: Image) -> None:
    try:
        engine.run(*create_argv(env.temporary, f"{env.repo}:{image.tag}"))
        texts, wheels = env.fetch(engine, wheels=True)
        keep_files(env, texts["requirements.txt"], wheels, False)
    finally:
        engine.try_run("rm", "-fv", env.temporary)


# --------------------------------------------------------------------------------------------------
# Containers


HELPER = "/run/pydock"  # a file of pydock's own in a container, which stands before programs
INIT = [HELPER, "init"]
WAIT = ["/bin/sleep", "infinity"]  # what a container does that waits for programs
Mount = namedtuple("Mount", "source target readonly")


class Place(namedtuple("Place", "folder current other own", defaults=("", False))):
    """Where the caller is on the host: the folder to mount, '' for none; the one in it to start in;
    another name of the first, by a symbolic link; and whether programs start in it at the same path
    as outside, or else below the home inside."""

    @property
    def top(self) -> Place:
        return self._replace(current=self.folder)


def mount_value(
    source: str, target: str, readonly: bool = False, kind: str = "bind", *more: str
) -> str:
    """The value of --mount, which the engine reads as one line of CSV."""
    fields = ["type=" + kind, *["source=" + source] * bool(source), "target=" + target]
    fields += [*["readonly"] * readonly, *more]
    quoted = ['"' + field.replace('"', '""') + '"' for field in fields]
    return ",".join(
        quote if re.search(r'[,"\r\n]', field) else field for field, quote in zip(fields, quoted)
    )


def publish_value(port: str) -> str:
    """-p 8888 is 127.0.0.1:8888:8888, and 8080:80 is 127.0.0.1:8080:80; an address that is given
    stays."""
    if not port.startswith("[") and port.count(":") < 2:
        port = "127.0.0.1:" + (port if ":" in port else f"{port.split('/')[0]}:{port}")
    if not re.fullmatch(
        r"(\[[0-9a-fA-F:]+\]|[0-9.]+):(\d+(-\d+)?)?:\d+(-\d+)?(/(tcp|udp|sctp))?", port
    ):
        raise PydockError(
            f"'{port}' is not a port", "-p 8888, -p HOST:INSIDE, or -p ADDRESS:HOST:INSIDE"
        )
    numbers = re.findall(r"\d+", re.sub(r"^(\[.*\]|[0-9.]+):", "", port))
    if any(int(number) > 65535 for number in numbers):
        raise PydockError(f"{port} is not a port: the highest is 65535")
    return port


def folder_mounts(
    folder: str, current: str, host_home: str, home: str
) -> tuple[list[tuple[str, str]], str]:
    """((source, target) …, working folder) for a folder of the host in a container whose user's
    home is `home`."""
    if is_in(folder, host_home):
        target = os.path.normpath(os.path.join(home, os.path.relpath(folder, host_home)))
    else:
        target = os.path.join(home, os.path.basename(folder))
    mounts = [(folder, target)]
    if target != folder and hides_nothing(folder):
        mounts.append((folder, folder))
    return mounts, os.path.normpath(os.path.join(target, os.path.relpath(current, folder)))


def parts_of(path: str) -> list[str]:
    """A relative path, and all that it leads through."""
    names = path.split("/")
    return ["/".join(names[:count]) for count in range(1, len(names) + 1)]


def guarded_mounts(
    mounts: Sequence[tuple[str, str]], guarded: Sequence[str], whole: bool
) -> list[Mount]:
    """The mounts of a folder, in which these folders of the host can be read only. A folder above
    one of them is a mount of its own: what is mounted cannot be renamed, or else code inside would
    put another one in its place. `whole`: all of it can be read only."""
    found: dict[str, Mount] = {}
    for source, target in mounts:
        found[target] = Mount(source, target, whole)
        for path in () if whole else [path for path in guarded if is_in(path, source)]:
            for part in parts_of(os.path.relpath(path, source)):
                above = [guard for guard in guarded if is_in(os.path.join(source, part), guard)]
                inside = os.path.join(target, part)
                found[inside] = Mount(os.path.join(source, part), inside, bool(above))
    return [found[target] for target in sorted(found, key=lambda target: target.count("/"))]


def place_mounts(place: Place, home: str, make: Callable[[str], object]) -> tuple[list[Mount], str]:
    """As `folder_mounts`, guarded."""
    folder = place.folder
    mounts, inside = folder_mounts(folder, place.current, home_folder(), home)
    if place.own and (folder, folder) in mounts:
        inside = place.current
    mounts += [(folder, place.other)] * bool(place.other)
    return guarded_folder(folder, mounts, make), inside


def own_mounts(settings: Settings, make: Callable[[str], object]) -> list[Mount]:
    """The folders of the setting `mounts`, guarded."""
    found = []
    for path in own_folders(settings["mounts"]):
        folder = os.path.realpath(path)
        if os.path.isdir(folder):
            targets = [target for target in {path, folder} if hides_nothing(target)]
            found += guarded_folder(folder, [(folder, target) for target in targets], make)
        else:
            console.warn(f"the setting 'mounts' names {path}, which is not there")
    return found


def merge_mounts(mounts: Sequence[Mount]) -> list[Mount]:
    """The last one of a target counts, but what one of them closes stays closed; those above come
    first."""
    found = {mount.target: mount for mount in mounts}
    closed = {mount.target for mount in mounts if mount.readonly}
    targets = sorted(found, key=lambda target: target.count("/"))
    return [found[target]._replace(readonly=target in closed) for target in targets]


def guarded_folder(
    folder: str, mounts: Sequence[tuple[str, str]], make: Callable[[str], object]
) -> list[Mount]:
    """These mounts of a folder, where code inside can neither change an environment (but the
    packages of its own in there) nor what pydock keeps for itself: they can be read only. What is
    not there yet is made, or else that code could make it."""
    own, whole = os.path.join(folder, ".pydock"), ".pydock" in os.path.realpath(folder).split("/")
    guarded = [own] if os.path.isdir(own) and not os.path.islink(own) else []
    scope = global_scope()
    paths = [scope.root, data_folder(), cache_folder(), scope.envs]
    if os.path.islink(scope.conf):
        paths.append(os.path.dirname(os.path.realpath(scope.conf)))
    for way in [way for path in paths for way in {os.path.normpath(path), os.path.realpath(path)}]:
        whole = whole or is_in(folder, way)
        if not is_in(way, folder):
            continue
        parts = parts_of(os.path.relpath(way, folder))
        if any(os.path.islink(os.path.join(folder, part)) for part in parts):
            console.warn(
                f"{folder} is read-only inside: programs there could replace the symbolic link {way}"
            )
            whole = True
        elif not os.path.isdir(way):
            make(way)
        guarded.append(way)
    return guarded_mounts(mounts, guarded, whole)


# What is to run in a container: its words, the user's own options for it, and its streams.
Program = namedtuple("Program", "words options stdin tty")


def stream_options(program: Program) -> list[str]:
    return ["-i"] * program.stdin + (["-t", *DETACH_KEYS] if program.tty else [])


class Container:
    """The one description of a container in which programs of an environment run: from it come the
    arguments of `docker run` and `docker exec`, and the service of compose."""

    def __init__(self, name: str, image: str = "", hostname: str = "", user: str = "") -> None:
        self.name, self.image, self.hostname = name, image, hostname[:63]
        self.user = user  # uid:gid; '' is the image's own
        self.groups: list[int] = []  # the caller's further ones
        self.keep_id = False  # a rootless podman maps the caller onto the same uid
        self.init = True  # the engine has a first process
        self.helper = False  # HELPER is there for what `run` starts
        self.sandbox = False  # what runs there may do harm
        self.root = False  # programs may become more than the user is
        self.mounts: list[Mount] = []
        self.folder = "/"  # where programs start
        self.zone = ""  # the host's time zone
        self.options: list[str] = []  # the user's own, ready for docker; they win
        self.labels: dict[str, str] = {}
        self.shm_size = ""
        self.volumes: dict[str, str] = {}  # by name, where they are inside

    def argv(self) -> list[str]:
        """What `docker run` is told of it, whatever it is for."""
        argv = ["--name", self.name, "--pull", "never", "--hostname", self.hostname]
        groups = [str(group) for group in self.groups]
        if self.keep_id:  # the groups by crun; runc takes the word and does nothing
            argv += ["--userns", "keep-id"]
            groups = ["keep-groups"] * bool(groups)
        argv += [word for group in groups for word in ("--group-add", group)]
        argv += ["-u", self.user] if self.user else []
        argv += ["--security-opt", "no-new-privileges" + "=false" * self.root]
        for source, target, readonly in self.mounts:
            argv += ["--mount", mount_value(source, target, readonly)]
        argv += ["-e", f"TZ={self.zone}"] if self.zone else []
        for name, target in self.volumes.items():
            argv += ["--mount", mount_value(name, target, kind="volume")]
        if self.shm_size and not any(word.startswith("--ipc") for word in self.options):
            argv += ["--shm-size", self.shm_size]
        return [*argv, "-w", self.folder, *self.options]

    def run_argv(self, program: Program) -> list[str]:
        """`docker run` of a program in a container of its own."""
        own = self.helper and (program.tty or not self.init)
        argv = ["run", "--rm", *stream_options(program), *["--init"] * (self.init and not own)]
        first = [HELPER, "box"] if self.sandbox and not program.tty else INIT
        return [*argv, *self.argv(), self.image, *first * own, *program.words]

    def start_argv(self, first: Sequence[str], end: bool) -> list[str]:
        """`docker run` of a background container, with its first program; nothing of it stays when
        that has ended, if `end`."""
        argv = ["run", "-d", *["--rm"] * end, *["--init"] * self.init]
        argv += [word for item in self.labels.items() for word in ("--label", "=".join(item))]
        return [*argv, *self.argv(), self.image, *INIT * (not self.init), *first]

    def exec_argv(self, program: Program, exec_id: str) -> list[str]:
        """`docker exec` of a program in it; the helper is there for the exec id, and for the exit
        status where there is no such program."""
        argv = ["exec", *stream_options(program), "-u", self.user, "-w", self.folder]
        note = [HELPER, "exec", f"{self.name}.{exec_id}"] if exec_id else []
        return [*argv, *program.options, self.name, *note, *program.words]

    def service(self) -> dict[str, Any]:
        """The service of compose, whose `options` are its file."""

        def plain(text: str) -> str:
            return text.replace("$", "$$")

        volumes = [
            {
                "type": "bind",
                "source": plain(source),
                "target": plain(target),
                "read_only": readonly,
            }
            for source, target, readonly in self.mounts
        ]
        volumes += [
            {"type": "volume", "source": name, "target": plain(target)}
            for name, target in self.volumes.items()
        ]
        service = {
            "image": self.image,
            "container_name": self.name,
            "pull_policy": "never",
            "hostname": self.hostname,
            "init": True,
            "user": self.user,
            "group_add": [str(group) for group in self.groups],
            "userns_mode": "keep-id" if self.keep_id else "",
            "working_dir": plain(self.folder),
            "labels": self.labels,
            "volumes": volumes,
            "security_opt": [f"no-new-privileges:{str(not self.root).lower()}"],
        }
        return {key: value for key, value in service.items() if value}


def has_cache(engine: Engine, env: Env) -> bool:
    return engine.try_output("volume", "inspect", env.cache) is not None


def cache_volumes(session: Session, env: Env, home: str, mounts: Sequence[Mount]) -> dict[str, str]:
    """The volume of an environment's ~/.cache, where the settings ask for one and the host's own is
    not there; made where it is missing, by one call: docker gives a new volume the owner of the
    folder on which it is mounted first, and the home is the user's."""
    engine, target = session.engine, os.path.join(home, ".cache")
    if session.settings["cache"] == "none" or any(is_in(target, mount.target) for mount in mounts):
        return {}
    if not has_cache(engine, env):
        label = "pydock.folder=" + quote(env.folder)
        if engine.podman:  # which gives it to the user of its first container
            engine.run("volume", "create", "--label", label, env.cache)
            return {env.cache: target}
        mount = mount_value(env.cache, home, False, "volume", "volume-label=" + label)
        engine.run(*create_argv(env.temporary, env.latest, "--mount", mount))
        engine.try_run("rm", "-f", env.temporary)
    return {env.cache: target}


def add_helper(env: Env, container: Container) -> None:
    """Mounts the file HELPER: the container keeps the one that it began with, whatever becomes of
    that on the host."""
    path = os.path.join(data_folder(), "helper")
    if env.scripted or host_file(path) != HELPER_FILE:
        env.make_folder(data_folder())
        env.write_file(path, HELPER_FILE, 0o755)
    container.mounts.append(Mount(path, HELPER, True))
    container.helper = True


def further_groups(user: str) -> list[int]:
    return [group for group in os.getgroups() if group != os.getgid()] if user else []


def run_folder(session: Session, env: Env, required: bool = True) -> Place:
    """The current folder; in local mode the project around it is mounted. Where that cannot be
    mounted, none; an error where it is `required`."""
    folder = current = current_folder()
    if env.scope.mode == "local":
        project = os.path.dirname(env.scope.root)
        if is_in(current, project):
            folder = project
    if folder.strip("/").split("/")[0] in ("", "proc", "sys", "dev"):
        if not required:
            return Place("", "/")
        raise PydockError(
            f"the folder {folder} cannot be mounted into an environment",
            "cd to a folder of your own",
        )
    if not is_utf8(folder):
        raise PydockError(f"the folder {folder!r} cannot be mounted: its name is not UTF-8")
    require_local_engine(
        session.engine,
        folder,
        "take the environment there: pydock export --image, then pydock create --from",
    )
    return Place(folder, current, other_name(folder, current))


def other_name(folder: str, current: str) -> str:
    """The name that a folder has for the caller, who came into it by a symbolic link; else empty."""
    typed = os.environ.get("PWD", current)
    for name in folders_up(typed) if typed != current and typed.startswith("/") else ():
        if name != folder and os.path.realpath(name) == folder:
            usable = is_utf8(name) and hides_nothing(name) and not is_in(name, folder)
            return os.path.normpath(name) if usable else ""
    return ""


def require_local_engine(engine: Engine, path: str, hint: str) -> None:
    """An error where the engine is on another machine, and so cannot mount this path."""
    address = engine.remote_address()
    if address:
        raise PydockError(
            f"the engine is on another machine ({address}) and cannot mount {path}", hint
        )


def describe_for_programs(
    session: Session, env: Env, config: dict[str, Any], name: str, place: Place, root: bool = False
) -> Container:
    """A new container of an environment's image in which programs run for the caller, or for
    `root`, with what the caller's settings add and the host's time zone."""
    container = describe(session, env, config, name, place, root)
    mounts = own_mounts(session.settings, env.make_folder)
    container.mounts = merge_mounts([*mounts, *container.mounts])
    home = config.get("WorkingDir") or "/"
    container.volumes = cache_volumes(session, env, home, container.mounts)
    if not any(value.startswith("TZ=") for value in config.get("Env") or ()):
        container.zone = host_zone()
    return container


def describe(
    session: Session, env: Env, config: dict[str, Any], name: str, place: Place, root: bool = False
) -> Container:
    """A container of an environment's image with the caller's folder."""
    engine = session.engine
    user = "0:0" if root else run_as(engine, env, config)
    container = Container(name, env.latest, env.name, user)
    container.root = root
    container.groups = further_groups(container.user)
    # A rootless podman is to map the caller onto the same uid; root it maps onto the caller.
    container.keep_id = engine.podman and os.getuid() != 0 and not container.user.startswith("0:")
    container.init = engine.has_init()
    # As outside; it is memory only where a program uses it.
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    container.shm_size = session.settings["shm_size"] or f"{memory >> 21}m"
    home = config.get("WorkingDir") or "/"
    container.folder = "/" if place.own else home
    if place.folder:
        container.mounts, container.folder = place_mounts(place, home, env.make_folder)
    return container


# What a program never gets from the host's environment: what names a place or a person there, what
# pydock sets itself, and what `enter` uses, in lower case.
NEVER_PASSED = "PATH|HOME|PWD|OLDPWD|PS[0-9]|_|SHLVL|IFS|ENV|BASH_ENV|SHELL|USER|LOGNAME|MAIL|HOSTNAME|TMPDIR|TERM|COLUMNS|LINES|LANG|LC_ALL|TZ|NO_COLOR|LS_COLORS|XDG_DATA_HOME|PYTHONHOME|VIRTUAL_ENV.*"
NEVER_PASSED += "|".join(["|_?PYDOCK_.*|LD_.*|DYLD_.*|[a-z]+|exec_id", *ENGINE_VARIABLES])
AS_OUTSIDE = ("TERM", "LANG", "NO_COLOR")  # what every program gets; and the time zone


def host_zone() -> str:
    """The name of the host's time zone; '' where it has none."""
    zone = os.environ.get("TZ", "").lstrip(":")
    if zone in ("", "/etc/localtime") and os.path.islink("/etc/localtime"):
        zone = os.readlink("/etc/localtime").partition("/zoneinfo/")[2]
    return one_line(zone or host_file("/etc/timezone").strip())


def pass_pattern(settings: Settings) -> str:
    """The setting `pass_env` as an expression for Python and awk."""
    words = re.split("[ ,]+", settings["pass_env"].strip(" ,"))
    return "|".join(words).replace("*", ".*").replace("?", ".")


def environment_options(session: Session, names: Iterable[str] = ()) -> list[str]:
    """The caller's variables for a program: those that every one gets, those of the setting
    `pass_env`, and these."""
    found = [f"{name}={os.environ[name]}" for name in AS_OUTSIDE if name in os.environ]
    options = [word for value in found for word in ("-e", value)]
    wanted = pass_pattern(session.settings)
    names = [*names, *[name for name in os.environ if wanted and re.fullmatch(wanted, name)]]
    for name in dict.fromkeys(names):
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) and not re.fullmatch(NEVER_PASSED, name):
            options += session.engine.env_options(name) if session.engine.sudo else ["-e", name]
    return options


def run_as(engine: Engine, env: Env, config: dict[str, Any]) -> str:
    """The caller's uid and gid for -u, or '' where the dockerfile itself says who the user is, and
    may."""
    user = str(config.get("User") or "0")
    mine = f"{os.getuid()}:{os.getgid()}"
    if user.split(":")[0] == str(os.getuid()):
        return mine
    if user.split(":")[0] == "0" and engine.root_is_caller():
        return ""
    if "USER_UID" not in open_args(env.read("dockerfile")):
        made_of, root = config.get("made_of", ""), not os.getuid()  # who can become no more
        if root or is_allowed(env, "dockerfile", made_of):
            return ""
        console.warn(
            f"ignoring the user {user} of the dockerfile of {env.name}, which others wrote; programs run as you",
            f"pydock trust {env.title}",
        )
        return mine
    raise PydockError(
        f"the image of {env.name} was built for user id {user.split(':')[0]}; yours is {os.getuid()}",
        f"pydock build {env.title}",
    )


# --------------------------------------------------------------------------------------------------
# Building


# What is built, and how: the tag and the labels of the result; `options` of docker's; `again`: every
# step anew, but with the cache of downloads, which --no-cache would empty.
Build = namedtuple("Build", "tag labels options again", defaults=((), False))


def build_argv(
    builder: str, context: str, build: Build, values: Sequence[str], stdin: bool
) -> list[str]:
    """`docker build`; with the dockerfile of the context, or another text from stdin. `values` are
    build arguments: of proxies only the name, whose value the engine's client takes from its own
    environment and the engine keeps out of the history."""
    argv = ["build", "-t", build.tag, "-f", "-" if stdin else os.path.join(context, "dockerfile")]
    argv += ["--load"] * (builder == "buildx") + list(build.options)
    argv += [word for value in values for word in ("--build-arg", value)]
    argv += [word for pair in build.labels.items() for word in ("--label", "=".join(pair))]
    return [*argv, context]


def run_build(session: Session, env: Env, build: Build) -> None:
    """`docker build` of the environment's folder, by whatever builder there is. PydockError where it
    fails."""
    env.hold()
    engine, dockerfile = session.engine, env.read("dockerfile")
    builder = engine.builder()
    for name in ("", "dockerfile"):  # which the client reads
        for ignore in (name + ".dockerignore", name + ".containerignore"):
            if env.has(ignore):
                env.read(ignore)
    args = build_args(dockerfile, session.settings, engine.root_is_caller())
    if "INSTALLER" in args and not any(line.kind for line in env.requirements()):
        args["INSTALLER"] = "pip"  # nothing to install
    domain, secrets = domain_of(env), has_secrets(session, env)
    text, options = text_to_build(env, build, domain, secrets), list(build.options)
    if engine.podman:
        get_base(session, env, text)
    if engine.podman and CACHE_MOUNTS in dockerfile:
        text = text.replace(CACHE_MOUNTS, "")
        options += podman_volumes(session, env)
        args.update(dict.fromkeys({"INSTALLER"} & set(args), "pip"))
    if not engine.podman:
        args["BUILDKIT_CACHE_MOUNT_NS"] = domain or str(os.getuid())
        engine.policy = source_policy(env) if domain else ""
        check_plain(session, env, text)
    values = [f"{key}={value}" for key, value in args.items()] + proxy_values(secrets)
    settings = env_settings(session, env)
    options += network_options(session, settings + env.read("requirements.txt"))
    try:
        with Secret(engine, settings) as secret:
            if secret.path:
                options += ["--secret", "id=pydock,src=" + secret.path]
            # what others may write to is not read once more
            stdin = text != dockerfile or not (env.scripted or is_own(env, read_note(env)))
            build = build._replace(options=options, labels={**build.labels, **engine.labels})
            argv = build_argv(builder, env.staging, build, values, stdin)
            console.info(f"building the image of {env.name}")
            engine.run(*argv, data=text if stdin else None, show=True)
    except EngineError as error:
        why = f"cannot build {env.name} (see above)" if error.code != 130 else str(error)
        hint = login_hint(session, env, error.output) or build_hint(env)
        raise PydockError(why, hint) from None


def source_policy(env: Env) -> str:
    """The file by which BuildKit gives a dockerfile of others no image of an environment, by
    whatever words it asks."""
    image = f"docker-image://docker.io/library/{Settings(global_scope())['prefix']}-*"
    text = to_json({"rules": [{"action": "DENY", "selector": {"identifier": image}}]})
    path = os.path.join(data_folder(), "policy.json")
    if env.scripted or host_file(path) != text:
        env.make_folder(data_folder())
        env.write_file(path, text, 0o644)
    return path


def text_to_build(env: Env, build: Build, domain: str, own: bool) -> str:
    """The dockerfile; with an ARG that no step has seen yet where all is built again, and others that
    keep apart the layers of others, and each index's installer. If `own`, only packages are others'."""
    text = env.read("dockerfile")
    if build.again:
        mark = f"\nARG PYDOCK_AGAIN={env.id}"
        text = re.sub(FROM_LINE, lambda line: line[1] + mark * (line[2] != "installer"), text)
    packages = "\nCOPY requirements.txt"
    asked = host_settings() if own else {}  # an index, which may have no uv
    mark = f"\nARG PYDOCK_INDEX_{text_hash(masked(to_json(asked), ''))[:8]}=1" * bool(asked)
    text = text.replace("\nARG INSTALLER=", mark + "\nARG INSTALLER=")
    if domain and own and packages in text:
        return text.replace(packages, f"\nARG PYDOCK_DOMAIN_{domain}=1{packages}")
    try:
        return in_domain(text, domain) if domain else text
    except ValueError as error:
        hint = f"to review and allow it: pydock trust {env.title}"
        raise PydockError(f"cannot build {env.said('dockerfile')}: {error}", hint) from None


def proxy_values(secrets: bool) -> list[str]:
    """The build arguments of proxies; where no login may be told, with their values, or else the
    client adds those of its settings."""
    if secrets:
        return [name for name in PROXIES if os.environ.get(name)]
    proxies = {**client_proxies(), **{name: os.environ.get(name, "") for name in PROXIES}}
    return [f"{name}={without_login(name, value)}" for name, value in proxies.items() if value]


LOCALHOST = r"https?://(?:[^/@\s]*@)?((?:localhost|127(?:\.\d+){3}|\[::1\])(?::\d+)?)(?=[/\s'\"]|$)"


def network_options(session: Session, text: str) -> list[str]:
    """What docker is told of the network. Says so where the text names an index or a proxy that no
    container reaches."""
    found = re.search(LOCALHOST, text)
    if found and session.network != "host":
        console.warn(
            f"an index or proxy is at {found.group(1)}, this host's own address, which containers cannot reach",
            "add --network host",
        )
    return ["--network", session.network] if session.network else []


def own_bases() -> str:
    """The pattern of the base images of the user's own settings, also by digest."""
    own = Settings(global_scope())
    repository = f"(?:{re.escape(own['repository'])})?"
    return f"{repository}{own_images('', own)}(?:@sha256:[0-9a-f]{{64}})?"


def domain_of(env: Env) -> str:
    """The environment's domain of trust: '' is the user's own. Another one, named by its folder, is
    where the dockerfile, or a file that it can COPY, is others', and the user has not allowed it."""
    allowed, note = is_allowed(env, "dockerfile"), read_note(env)
    if allowed and note is not None and not (env.made_here or is_generated(env.read("dockerfile"))):
        allowed = not unallowed(note, watched_files(env))
    return "" if allowed else sha256(os.fsencode(env.folder))[:8]


def names_servers(lines: Sequence[Requirement]) -> bool:
    """Whether packages come from others than the user's own settings name: these are to see no login
    of those."""
    known = set(" ".join(host_settings().values()).split())
    known |= {masked(word, "") for word in known}
    named = [line.index or ("" if line.wheel else line.url) for line in lines]
    servers = ("--index-url", "--extra-index-url", "--find-links")
    named += [value for line in lines for name, value in line.options if name in servers]
    return not known.issuperset(filter(None, named))


def has_secrets(session: Session, env: Env) -> bool:
    """Whether the host's logins may be told to what is built or installed by its dockerfile."""
    if not domain_of(env):
        return True
    dockerfile = env.read("dockerfile")
    base = base_reference(dockerfile, session.settings)
    own = is_generated(dockerfile) and bool(re.fullmatch(own_bases(), base))
    return own and not names_servers(env.requirements())


def env_settings(session: Session, env: Env, named: str = "") -> str:
    """The host's settings for a build or an installer of an environment. `named` is what the user
    has typed; in their own domain, requirements.txt counts like it."""
    if not domain_of(env):
        named += env.read("requirements.txt")
    return settings_sh(has_secrets(session, env), named)


def others_images() -> str:
    """The pattern of names in a dockerfile that are no environment's image, whatever a variable says
    in what follows the first colon."""
    prefix = re.escape(Settings(global_scope())["prefix"])
    hub = r"(?:(?:index\.)?docker\.io/)?(?:library/)?"
    return rf"(?ai)(?!{hub}{prefix}-)[\w./-]+(?:[:@].*)?"


def check_plain(session: Session, env: Env, dockerfile: str) -> None:
    """PydockError where an engine would give others' images or this host to a dockerfile of others
    that the user has not allowed: podman, and a docker that does not hold the policy."""
    engine, texts = session.engine, {dockerfile}
    if engine.holds_policy or not domain_of(env):
        return
    if "REPOSITORY" in open_args(dockerfile):  # which may not hold at each place
        values = ("", session.settings["repository"])
        texts = {dockerfile.replace("${REPOSITORY}", value) for value in values}
    if engine.podman:
        good = all(is_plain(text, own_bases()) for text in texts)
        why = "has flags, an ADD or an image with which podman may expose this host"
    else:
        good = all(takes_only(text, others_images()) for text in texts)
        why = "has an environment's image or a variable after FROM or from=, and this docker keeps none back"
    if not good:
        unpack = f"unpack it into {env.scope.envs}, " if env.staging != env.folder else ""
        hint = f"{unpack}review it, then: pydock trust {env.title}"
        raise PydockError(f"{env.said('dockerfile')} {why}", hint)


def get_base(session: Session, env: Env, dockerfile: str, **usual: str) -> str:
    """Gets the base image of a dockerfile that others may have written."""
    base = base_reference(dockerfile, session.settings)
    if session.engine.podman:
        check_plain(session, env, dockerfile)
    base_image(session, base, **usual)
    return base


def check_meant(engine: Engine, base: str, names: Sequence[str]) -> None:
    """PydockError where podman takes an image of these names for a base image that is not here: any
    whose name ends so will do."""
    full = base if ":" in base else base + ":latest"
    names = [name for name in names if name.endswith("/" + full)]
    if not names or "@" in base or re.match("localhost/|[^/]*[.:][^/]*/", base):
        return
    places = ["localhost", "docker.io", "docker.io/library"]
    if {f"{place}/{full}" for place in places}.isdisjoint(names):
        info = from_json(engine.output("info", "--format", "{{json .Registries}}"))
        if {f"{place}/{full}" for place in info.get("search", [])}.isdisjoint(names):
            raise PydockError(
                f"podman takes {names[0]} for {base}, which is not here",
                f"podman pull docker.io/{'' if '/' in base else 'library/'}{base}",
            )


def podman_volumes(session: Session, env: Env) -> list[str]:
    """What podman mounts into the steps of a build, in place of CACHE_MOUNTS: the downloads, which
    are the caller's own, and uv."""
    if session.engine.remote_address():
        return []
    cache, uv = downloads_folder(domain_of(env)), uv_folder(session, env)
    if ":" in cache + uv:  # which podman's word for it cannot say
        return []
    env.make_folder(cache)
    return ["-v", cache + ":/cache"] + (["-v", uv + ":/uv:ro"] if uv else [])


OPTIONS_FILE = "/dev/shm/options"  # of requirements.txt, in a container that installs

# The volume of downloads, one for each user of the engine and each domain: root installs packages,
# whoever asks.
CACHE = f"pydock-cache-{os.getuid()}"


def cache_volume(env: Env) -> str:
    return "-".join(filter(None, (CACHE, domain_of(env))))


def uv_folders() -> str:
    return os.path.join(data_folder(), "uv")


def downloads_folder(domain: str = "") -> str:
    """The downloads of builds by podman, which are mounted from here; docker's are BuildKit's
    own."""
    return os.path.join(cache_folder(), "-".join(filter(None, ("downloads", domain))))


def uv_folder(session: Session, env: Env) -> str:
    """A folder of this host, made where it is not there, with the installer in it as bin/uv; ''
    where pip has to do. Nobody's code can write into it: it is mounted read-only. What fetches it
    is a base image of the user's own settings, never one that a project or an image chose."""
    engine = session.engine
    folder = os.path.join(uv_folders(), f"{UV}-{os.uname().machine}")
    if session.settings["installer"] != "uv" or engine.remote_address():
        return ""
    if os.path.exists(os.path.join(folder, "bin", "uv")):
        return folder
    image = fetcher_image(session, env)
    if not image:
        return ""
    console.info(f"downloading the installer (uv {UV}), once")
    options = "--rm -i --pull never --security-opt no-new-privileges"
    argv = ["run", *options.split(), *network_options(session, ""), image, "/bin/sh", "-s"]
    uv = os.path.join(folder, "bin", "uv")
    env.make_folder(os.path.dirname(uv))
    try:
        engine.fetch(argv, engine.secret(settings_sh(True)) + FETCH_UV_SH, uv)
    except EngineError as error:
        console.warn(
            f"cannot download uv {UV} ({last_line(error.output)}); using pip, which is slower",
            "to always use pip: pydock config --global installer pip",
        )
        return ""
    return folder


def own_images(repository: str, own: Settings) -> str:
    """The pattern of the base images that the user's own settings name, for any version."""
    return re.escape(repository + own["image"]).replace(re.escape("{version}"), VERSION)


def fetcher_image(session: Session, env: Env) -> str:
    """A base image of the user's own settings that is here, or can be pulled: best the
    environment's own base image."""
    own = Settings(global_scope())
    base = base_reference(env.read("dockerfile"), own) if env.has("dockerfile") else ""
    here = images_here(session, own)
    usual = own["repository"] + own["image"].replace("{version}", own["python"])
    for image in (base, usual, *here[-1:]):
        if image in here:
            return image
    try:
        base_image(session, usual)
        return usual
    except PydockError:
        return ""


def images_here(session: Session, own: Settings) -> list[str]:
    """The base images that the user's own settings name, for any version, and the engine has."""
    tags = sorted(tag.replace("docker.io/library/", "") for tag in tagged(session.engine))
    return [tag for tag in tags if re.fullmatch(own_images(own["repository"], own), tag)]


def base_image(session: Session, image: str, hint: str = "", **usual: str) -> bool:
    """Gets the base image where it is not here yet, so that an unknown version is told from a
    broken build. Whether it was pulled."""
    if "$" in image:
        return False
    present = find_image(session.engine, image)
    if present:
        check_meant(session.engine, image, present.names if session.engine.podman else [])
        return False
    console.info(f"pulling {image}")
    try:
        session.engine.run("pull", image, show=True)
        return True
    except EngineError:
        said = f"cannot pull {image}, and there is no local copy"
        raise PydockError(said, hint or base_hint(session, image, **usual)) from None


def base_hint(
    session: Session, image: str, line: str = "config --global python", present: str = ""
) -> str:
    """What to take instead of a base image that cannot be had: what a line of pydock's ends with, but
    not the present version."""
    own = Settings(global_scope())
    versions = [version for version in versions_here(session, own) if version != present]
    if not (re.fullmatch(own_images(own["repository"], own), image) and versions):
        return f"docker pull {image} tells why; or choose another version, or --image"
    usual = f"pydock {line} {versions[-1]}"
    return f"choose another version (here: Python {', '.join(versions)}): {usual}"


def versions_here(session: Session, own: Settings) -> list[str]:
    """The versions of Python whose base images, of the user's own settings, are here: oldest
    first."""
    before, _, after = (own["repository"] + own["image"]).partition("{version}")
    versions = {tag[len(before) : len(tag) - len(after)] for tag in images_here(session, own)}
    return sorted(filter(None, versions), key=version_key)


def build_image(session: Session, env: Env, command: Sequence[str], build: Build) -> None:
    """Builds the files as they are; the result, with all its labels, is the build's tag."""
    env.hold()
    engine, hashes = session.engine, env.hashes()
    version = base_of(env.read("dockerfile"))[1]
    labels = labels_for(env, hashes, command)
    if version and not re.search(r"(?m)^[^\S\n]*[^#\s]", env.read("requirements.txt")):
        labels.update({"pydock.python": version, "pydock.packages": ""})
        run_build(session, env, build._replace(labels=labels))
        return
    built = env.temporary_tag + "-build"
    owner = {"pydock.folder": labels["pydock.folder"]}
    run_build(session, env, build._replace(tag=built, labels=owner))
    config = existing_image(engine, built).config
    try:
        whole = install_projects(session, env, built, env.projects(), check=True)
    except EngineError:
        why = f"cannot build {env.name}: its project cannot be installed (see above)"
        raise PydockError(why, build_hint(env)) from None
    packages = inventory(engine, env, whole, config)
    commit(engine, env, build.tag, config, {**labels, **packages})
    engine.try_run("rm", "-fv", env.temporary)
    engine.try_run("rmi", *dict.fromkeys([built, whole]))


def install_projects(
    session: Session, env: Env, image: str, paths: Iterable[str], check: bool = False
) -> str:
    """An image with these folders of the host on top of another one, each as `pip install -e` makes
    it: by the user, where it lies, as any program that runs in the environment. `check`: says so
    where packages are missing that they need."""
    engine, words = session.engine, [f"file://{quote(path)}" for path in paths]
    if not words:
        return image
    config = existing_image(engine, image).config
    top = os.path.realpath(os.path.dirname(env.scope.root))
    require_local_engine(engine, top, "remove the -e line from requirements.txt")
    container = describe(session, env, config, env.temporary, Place(top, top))
    uv = uv_folder(session, env)
    options = installer_options(env.requirements(), Wanted())
    script = f"{BASE_PATH_SH}\n{engine.secret(env_settings(session, env))}"
    script += f"{heredoc(['cat'], options, OPTIONS_FILE)}\n" * bool(options) + PROJECT_SH
    container.mounts += [Mount(uv, "/uv", True)] * bool(uv)
    container.options = network_options(session, script)
    command = in_image(config, image, ["/bin/sh", "-s", "--", "check" * check, *words])
    argv = ["run", "-i", *container.argv(), *command]
    doing = "installing the project"
    unfit = engine.run(*argv, data=script, capture="unfit", show=True, doing=doing)
    if check and unfit.endswith("unfit") and not env.scripted:
        line = next(iter(env.projects().values()))
        console.warn(
            f"{env.name} lacks packages that its project needs (see above)",
            f"pydock install {env.title} {project_text(line.url, line.extras)}",
        )
    commit(engine, env, env.temporary_tag + "-project", config, {})
    engine.try_run("rm", "-fv", env.temporary)
    return env.temporary_tag + "-project"


def inventory(engine: Engine, env: Env, image: str, config: dict[str, Any]) -> dict[str, str]:
    """The labels that say what is installed in an image, by its own Python, in the temporary
    container."""
    how = "found" if env.scripted else "tell"
    command = [*PYTHON, INVENTORY_PY, inventory_job(env.requirements(), Wanted()), "", how]
    argv = temporary_argv(env.temporary, image, config, command)
    found = engine.run(*argv, capture="found", doing="listing the packages")
    return found_labels(found) if env.scripted else Inventory(found).labels()


def login_hint(session: Session, env: Env, said: str) -> str:
    """What to type where a login may have been missing that the user has, or an image was kept
    back."""
    what = "your logins"
    if "due to policy: source" in said:
        what = "images of other environments"
    elif has_secrets(session, env) or settings_sh(True) == settings_sh(False):
        return ""
    return f"{what} are not given to a dockerfile of others; to review and allow it: pydock trust {env.title}"


def build_hint(env: Env) -> str:
    dockerfile = env.read("dockerfile")
    if env.staging == env.folder:
        return f"dockerfile and requirements.txt are in {env.folder}"
    if re.search(r"(?m)^RUN apt-get", dockerfile):
        return "--apt needs a base image of Debian or Ubuntu, and names of its packages"
    return f"the base image {base_of(dockerfile)[0].replace('${REPOSITORY}', '')} needs Python 3 with venv"


def rebuild(
    session: Session,
    env: Env,
    images: dict[str, Image],
    command: Sequence[str],
    options: Sequence[str] = (),
) -> bool:
    """Makes the image of the environment anew from its files, as its next revision. False where it
    came out the same."""
    engine, latest = session.engine, images.get("latest")
    fresh = latest and latest.of(env) and latest.hashes == env.hashes()
    try:
        build_image(session, env, command, Build(env.temporary_tag, {}, options))
        made = find_image(engine, env.temporary_tag)
        contents = [(image.layers, image.config.get("User")) for image in (latest, made) if image]
        if fresh and made and contents[0] == contents[1]:
            engine.try_run("rmi", env.temporary_tag)
            return False
        tag_revision(engine, env, images)
        return True
    except BaseException:
        remove_temporary(engine, env, env.id)
        raise


def ready_image(session: Session, env: Env) -> dict[str, Any]:
    """Config, and Id, of the image to run: the present one; made first, and said so, where there is
    none (design: running)."""
    question = ("image", "inspect", "--format", READY, env.latest)
    session.engine.prefetch(*question)
    hashes = env.hashes()  # while the engine looks
    answer = (session.engine.try_output(*question) or "") + "\n" * 6
    id_, user, home, folder, *made_of, volumes = answer.split("\n")[:7]
    if folder != quote(env.folder):
        with env.lock():
            images = recover(session.engine, env)
            if "latest" not in images or not images["latest"].of(env):
                rebuild(session, env, images, ["build", env.name])
        made = existing_image(session.engine, env.latest)
        return {"Id": made.id, **made.config, "made_of": made.hashes[0]}
    if tuple(made_of) != hashes:
        with env.lock(wait=False) as lock:  # a change that died may only lack its tag
            image = recover(session.engine, env).get("latest") if lock.held() else None
        if image and image.hashes == hashes:
            return {"Id": image.id, **image.config, "made_of": hashes[0]}
        console.warn(
            f"the image of {env.name} is older than its files", f"pydock build {env.title}"
        )
    config = {"User": user, "WorkingDir": home, "made_of": made_of[0]}
    return {"Id": id_, "Volumes": volumes[:1] == "{" and from_json(volumes), **config}


def consistent_image(session: Session, env: Env) -> tuple[Image, dict[str, str]]:
    """Image and files that belong together, of an environment that somebody may be changing:
    between its files and its tag there is a moment. An edit that was not built stays what it is."""
    for _ in range(20):
        files = {file: env.read(file) for file in ("dockerfile", "requirements.txt")}
        hashes = text_hash(files["dockerfile"]), text_hash(files["requirements.txt"])
        image = find_image(session.engine, env.latest)
        if image and image.of(env) and image.hashes == hashes:
            return image, files
        with env.lock(wait=False) as lock:
            if lock.held():
                break
        time.sleep(0.1)
    config = ready_image(session, env)
    made = find_image(session.engine, env.latest)
    files = {file: env.read(file) for file in files}
    if env.scripted and made and not made.of(env):  # which the script has built by then
        made.labels.update(
            {f"pydock.{k.split('.')[0]}": text_hash(text) for k, text in files.items()}
        )
    return made or Image("", {"Id": env.latest, "Config": config}), files


# What a failed build of a package says, what the image lacks then, and Debian's package that has it.
# A row stands before one that would fit too.
CAUSES = (
    (r"pg_config", "pg_config", "libpq-dev"),
    (
        r"mysql_config|mysqlclient-dev|MYSQLCLIENT_CFLAGS",
        "mysql_config",
        "default-libmysqlclient-dev",
    ),
    (r"xml2-config|xslt-config|libxml/\w+\.h|libxslt devel", "libxml2", "libxslt1-dev"),
    (r"gdal-config", "gdal-config", "libgdal-dev"),
    (r"geos-config|geos_c\.h", "geos", "libgeos-dev"),
    (r"\bffi\.h", "ffi.h", "libffi-dev"),
    (r"openssl/\w+\.h", "OpenSSL's headers", "libssl-dev"),
    (r"zlib\.h|required.{0,20}zlib", "zlib.h", "zlib1g-dev"),
    (r"jpeglib\.h|required.{0,20}jpeg", "jpeglib.h", "libjpeg-dev"),
    (r"hdf5\.h|HDF5.{0,40}not (be )?found", "HDF5", "libhdf5-dev"),
    (r"portaudio\.h", "portaudio.h", "portaudio19-dev"),
    (r"\bPython\.h", "Python's headers", "python3-dev"),
    (r"(?i)\bgfortran\b.*not found|unknown compiler.*fortran", "a Fortran compiler", "gfortran"),
    (
        r"(?i)(find|requires) rust\b|rust not found|have cargo in your path|or directory: '?(cargo|rustc)\b"
        r"|(?<![\w-])(cargo|rustc|rust toolchain)(?![\w-]).{0,60}not (found|installed|on path)",
        "Rust",
        "cargo",
    ),
    (r"(?i)cmake\b.*(not found|not installed|no such file)|find cmake", "CMake", "cmake"),
    (
        r"(?i)pkg-config.*(not found|not installed|no such file)|pkg-config script",
        "pkg-config",
        "pkg-config",
    ),
    (
        r"(?i)(unable to execute|command|cannot find|no such file or directory:|sh: \d+:|linker) [`']?"
        r"(\S*-gcc|gcc|g\+\+|cc|c\+\+|clang|make)[`']?(: not found| failed: no such| not found|: no such|$)"
        r"|unknown compiler|no acceptable c compiler|no cmake_\w+_compiler could be found|compiler.{0,40}not found|need a c\S* compiler",
        "the compiler that a package needs",
        "build-essential",
    ),
    (
        r"git executable|[Gg]it.{0,40}not found|Cannot find command 'git'|or directory: '?git\b"
        r"|setuptools.scm was unable to detect|access to an upstream git|[Uu]nable to detect version control"
        r"|version from SCM or SCM",
        "git",
        "git",
    ),
)


def with_apt(dockerfile: str, packages: Sequence[str]) -> str | None:
    """The dockerfile with more system packages on the line that `create` writes for them; None
    where it has none."""
    line = r"(?m)^(# ?)?(RUN apt-get update && apt-get install \S+ --no-install-recommends)(.*?) &&"
    found = re.search(line, dockerfile)
    if not found:
        return None
    names = dict.fromkeys([*([] if found.group(1) else found.group(3).split()), *packages])
    start, end = dockerfile[: found.start()], dockerfile[found.end() :]
    return f"{start}{found.group(2)} {' '.join(names)} &&{end}"


# --------------------------------------------------------------------------------------------------
# Words of the command line


Command = namedtuple("Command", "group usage operation summary arguments")
COMMANDS: dict[str, Command] = {}
GROUPS = ("environments", "run", "packages", "time", "trust", "share, clean up")


def command(
    group: str, line: str, summary: str, *arguments: Argument
) -> Callable[[Operation], Operation]:
    """Registers the function of a command, with its line of the help and its arguments. `line` is
    its name and its usage: a NAME, or NAME…, that comes first need not be told again."""
    name, _, usage = line.partition(" ")
    names = {"NAME": [ARG_NAME], "NAME…": [ARG_NAMES]}.get(usage.split(" ")[0], [])

    def register(operation: Operation) -> Operation:
        COMMANDS[name] = Command(group, usage, operation, summary, (*names, *arguments))
        return operation

    return register


def arg(*names: str, **options: Any) -> tuple[Sequence[str], dict[str, Any]]:
    """What `add_argument` gets."""
    return names, options


def flag(*names: str, help: str) -> tuple[Sequence[str], dict[str, Any]]:
    return arg(*names, action="store_true", help=help)


def many(*names: str, metavar: str, help: str) -> tuple[Sequence[str], dict[str, Any]]:
    return arg(*names, action="append", default=[], metavar=metavar, help=help)


ARG_NAME = arg("name", metavar="NAME")
ARG_NAMES = arg("names", metavar="NAME", nargs="+")
OPT_JSON = flag("--json", help="print JSON")
OPT_YES = flag("-y", "--yes", help="do not ask for confirmation")
OPT_NETWORK = arg(
    "--network", default="", metavar="NET", help="network for downloads; see docker run --help"
)
OPT_FORCE = flag("--force", help="end programs that still run in it")
KEPT_OPTIONS = [
    many(
        "-p",
        "--publish",
        metavar="PORT",
        help="publish a port on 127.0.0.1: 8888, HOST:INSIDE or ADDRESS:HOST:INSIDE",
    ),
    many("-v", "--volume", metavar="SRC:DST", help="mount a folder or volume"),
    many("-e", "--env", metavar="K=V", help="set an environment variable"),
    many("--gpus", metavar="X", help="see docker run --help"),
]


RUN_OPTIONS = KEPT_OPTIONS + [
    *(
        many(option, metavar="X", help="see docker run --help")
        for option in ("--env-file", "--network", "--platform")
    ),
    many(
        "-o",
        "--option",
        metavar="OPTION",
        help="any other option of docker run, such as -o --init",
    ),
]


SANDBOX_OPTIONS = [
    flag(
        "--sandbox",
        help="for code you do not trust: no network, this folder read-only, with limits",
    ),
    many("--write", metavar="DIR", help="let the sandbox change this folder"),
    many("--read", metavar="DIR", help="let the sandbox read this folder, too"),
    *(
        arg(option, default="", metavar=metavar, help=text + " of the sandbox")
        for option, metavar, text in (
            ("--memory", "SIZE", "memory limit, such as 512m or 2g,"),
            ("--cpus", "N", "number of processors"),
            ("--pids-limit", "N", "limit of processes"),
            ("--timeout", "SECONDS", "time limit"),
        )
    ),
]


FRESH_OPTIONS = RUN_OPTIONS + [
    flag("--root", help="run as root"),
    flag("--fresh", help="run in a new container, even if the environment is started"),
    *SANDBOX_OPTIONS,
]


# What becomes of pip's options that are no arguments of a command: `kept` as a line of
# requirements.txt, as a `file`, `passed` to the installer, for `once` only, `idle` where there is nothing
# to do; or why it cannot be.
FATES = (
    ("kept", "-i= --index-url= --extra-index-url= -f= --find-links= --trusted-host= --no-index"),
    ("kept", "--no-binary= --only-binary= --pre --prefer-binary"),
    ("file", "-c= --constraint= -r= --requirement="),
    ("passed", "--force-reinstall --upgrade-strategy="),
    ("once", "--no-deps --no-build-isolation"),
    ("idle", "--no-cache-dir --cache-dir= --user --no-warn-script-location --no-warn-conflicts"),
    ("idle", "-v --verbose -q --quiet --debug --no-color --progress-bar= --no-input --no-clean"),
    ("idle", "--isolated --use-pep517 --compile --no-compile --no-python-version-warning"),
    ("idle", "--disable-pip-version-check --root-user-action="),
    ("idle", "--break-system-packages --require-virtualenv --exists-action="),
    (
        "packages always go into the environment",
        "-t= --target= --prefix= --root= --src= -I --ignore-installed",
    ),
    (
        "the environment's Python is that of its base image",
        "--python= --platform= --python-version= --implementation= --abi= --ignore-requires-python",
    ),
    (
        "set it in pip.conf, or in a variable such as HTTPS_PROXY, PIP_CERT or PIP_DEFAULT_TIMEOUT",
        "--proxy= --cert= --client-cert= --timeout= --retries=",
    ),
    ("use pydock lock, or a file with hashes", "--require-hashes"),
)
FATE = {word.rstrip("="): fate for fate, words in FATES for word in words.split()}
PIP_OPTIONS = {
    name: OPTIONS.get(name) or (name if name + "=" in words.split() else "")
    for _, words in FATES
    for name in words.replace("=", "").split()
}


def split_pip_options(words: Sequence[str], known: set[str]) -> tuple[list[str], list[str]]:
    """The words without options of pip's that the command does not know itself, and those."""
    left, taken, rest = [], [], list(words)
    while rest:
        word = rest.pop(0)
        name = option_name(word)
        if name in known or name not in PIP_OPTIONS:
            left.append(word)
            continue
        taken.append(word)
        if PIP_OPTIONS[name] and word == name:
            taken += rest[:1]
            del rest[:1]
    return left, taken


EDITABLE = "install this project in place: edits take effect at once"
PACKAGE_OPTIONS = [
    many(
        "-r",
        "--requirement",
        metavar="FILE",
        help="requirements.txt, pyproject.toml, uv.lock or pylock.toml",
    ),
    many("--extra", metavar="X", help="also install this extra of the project"),
    many("--group", metavar="G", help="also install this dependency group of it"),
    flag("--pre", help="allow pre-releases; kept in requirements.txt"),
    many("-c", "--constraint", metavar="FILE", help="constrain versions, now and in later changes"),
    arg(
        "-i", "--index-url", metavar="URL", help="index of these packages; kept in requirements.txt"
    ),
    many("--extra-index-url", metavar="URL", help="additional index; kept in requirements.txt"),
    OPT_NETWORK,
]


def confirmed(args: argparse.Namespace, what: str, short: str, no: str = "nothing removed") -> bool:
    """Asks whether to do it; an error where there is nobody to be asked."""
    if args.yes or args.dry_run:
        return True
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        raise PydockError(f"not {short} without confirmation (no terminal)", "add -y")
    if console.ask(f"{what}? [y/N]") in ("y", "yes"):
        return True
    console.info(no)
    return False


def typed_line(line: Sequence[str], env: Env) -> str:
    """The arguments of a command line, with the name as it is to be typed here."""
    return " ".join(env.title if word == env.name else shell_join([word]) for word in line[1:])


# --------------------------------------------------------------------------------------------------
# Environments: create


@command(
    "environments",
    "create NAME [VERSION] [PKG…]",
    "create an environment",
    arg(
        "packages",
        metavar="[VERSION] PKG",
        nargs="*",
        help="Python version, such as 3.12, and packages to install",
    ),
    arg("--image", default="", help="base image; {version} stands for the Python version"),
    many("--apt", metavar="PKG", help="system package to install"),
    arg("--user", default="", metavar="[ID:]NAME", help="user inside the container; default: you"),
    flag("--no-build", help="only write the files"),
    arg(
        "--from",
        dest="source",
        metavar="IMAGE|FILE",
        help="image of an environment, a file made by `pydock export`, or a SCRIPT.py with metadata",
    ),
    many("--editable", metavar="FOLDER", help=EDITABLE),
    *KEPT_OPTIONS,
    *PACKAGE_OPTIONS,
)
def cmd_create(session: Session, args: argparse.Namespace) -> int:
    session.network = args.network
    if re.fullmatch(VERSION, args.name):
        raise PydockError(
            f"{args.name} is a version; the name comes first", f"pydock create NAME {args.name}"
        )
    env = session.new_env(args.name)
    if args.source is not None and not args.source.endswith(".py"):
        return create_from(session, env, args)
    args.requirement += [args.source] * bool(args.source)
    words = list(args.packages)
    given = words.pop(0) if words and re.fullmatch(VERSION, words[0]) else ""
    check_packages(env, words)
    change = package_change(session, env, ["install"], words, args)
    check_new(env)
    kept = compose_of(env, args)
    if kept and not args.no_build:
        check_compose(session.engine, "-p, -v, -e and --gpus of create need compose")
    text, origin = new_dockerfile(session, env, args, given, change)
    others = env.scope.mode == "local" and origin == env.scope.template  # it came with the project
    allowed = list(kept) if others else None
    files = {"dockerfile": text, "requirements.txt": "", **kept}
    packages = change if change.is_any() else None
    if change.wanted.options and not packages:
        raise PydockError("no package given, only options for packages", "name one, or -r FILE")
    if args.no_build and packages:
        raise PydockError("--no-build cannot install packages", "list them in requirements.txt")
    if args.no_build:
        create(session, env, files, None, {}, allowed)
    else:
        old = before_create(session, env, text)
        create(
            session, env, files, lambda: build_new(session, env, packages, args.line), old, allowed
        )
    image, version = base_of(text)
    python = "Python " + version if version else image.replace("${REPOSITORY}", "")
    next_word = "build" if args.no_build else "shell"
    made = f"created {env.name} ({python}){env.where}" + f" from {origin}" * bool(origin)
    report(env, made, f"pydock {next_word} {env.title}")
    return 0


def new_dockerfile(
    session: Session, env: Env, args: argparse.Namespace, given: str, change: Change
) -> tuple[str, str]:
    """A dockerfile, and the template that it comes from, if that is not pydock's own."""
    image = checked("image", args.image or session.settings["image"], "--image")
    version = given or python_version_file() or session.settings["python"]
    path, template = find_template(env.scope)
    if template:
        wanted = {"image": args.image, "version": given, "packages": args.apt}
        try:
            check_template(template, image, [name for name, asked in wanted.items() if asked])
        except ValueError as error:
            raise PydockError(f"{path} {error}") from None
    if has_place("version", template or DOCKERFILE, image):
        version = fitting_python(session, change, version, bool(given))
    if not re.match(r"3(\.|$)", version):
        raise PydockError(
            f"Python {version} is not supported",
            f"pydock create {env.title} {session.settings['python']}",
        )
    packages = [checked_apt(package) for package in args.apt]
    text = render_dockerfile(image, version, packages, checked_user(args.user), template)
    return text, path


def fitting_python(session: Session, change: Change, version: str, given: bool) -> str:
    """The Python of a new environment: `version` if it fits what the files ask for; else the first
    that fits of the default, of those whose base image is here, and of all; the newest first."""

    def good(version: str) -> bool:
        return all(fits(version, specifier) for _, specifier in change.pythons)

    if version and good(version):
        return version
    unmet = [pair for pair in change.pythons if version and not fits(version, pair[1])]
    path, specifier = [("", ""), *change.pythons, *unmet][-1]
    others = [session.settings["python"]] * bool(version)
    here = reversed(versions_here(session, session.settings))
    others += [other for other in here if re.fullmatch(r"3[\d.]*", other)]
    others += [f"3.{minor}" for minor in range(14, 8, -1)]
    fitting = [other for other in others if good(other)]
    if given or not fitting:
        words = [fitting[0] if word == version else word for word in session.line if fitting]
        hint = f"pydock {shell_join(words)}" if given and fitting else ""
        instead = f", not {version}" * bool(version)
        raise PydockError(f"{path} needs Python {specifier}{instead}", hint)
    if specifier:
        console.info(f"using Python {fitting[0]}: {path} requires {specifier}")
    return fitting[0]


def find_template(scope: Scope) -> tuple[str, str]:
    """The path and text of the dockerfile that `create` starts from; empty for pydock's own."""
    for source in (scope, global_scope()):
        text = source.text_beside(source.template)
        if text:
            return source.template, text
    return "", ""


def check_packages(env: Env, words: Sequence[str]) -> None:
    for word in words:
        if re.fullmatch("python|(python)?=*" + VERSION, word):
            raise PydockError(
                f"'{word}' is not a package",
                f"the version comes right after the name: pydock create {env.title} 3.12 PKG…",
            )


def check_new(env: Env) -> None:
    if env.exists():
        raise PydockError(
            f"the environment '{env.name}' already exists, in {env.folder}",
            f"choose another name, or: pydock delete {env.title}",
        )


def before_create(session: Session, env: Env, dockerfile: str, hint: str = "") -> dict[str, Image]:
    """Whether the environment can be built at all. The images of one of this name whose folder is
    gone."""
    base = base_reference(dockerfile, session.settings)
    if not session.engine.podman:
        questions = [BUILDX, VERSIONS, ("image", "inspect", base), *[SECURITY] * bool(os.getuid())]
        for question in questions:
            session.engine.prefetch(*question)
    collect_garbage(session)
    images = images_of(session.engine, env)
    check_owner(session.engine, env, images)
    base_image(session, base, hint, line=f"create {env.title}")
    return images


def create(
    session: Session,
    env: Env,
    files: dict[str, str],
    make: Callable[[], object] | None,
    old: dict[str, Image],
    allowed: Sequence[str] | None = None,
) -> None:
    """Everything is made in a hidden folder beside the final one, which it becomes by one rename.
    `make` makes the image as the temporary tag; `old` are the images of an environment of this name
    whose folder is gone; `allowed` are the files that the user trusts, where others wrote them
    (`pydock trust`)."""
    engine = session.engine
    made = env.stage()
    env.made_here = allowed is None
    try:
        with env.lock():
            for file, text in files.items():
                env.write(file, text)
            if make:
                make()
            remove_half_written(env)
            publish(env, files, allowed)
            if make:
                remove_images(engine, env, old)
                tag_revision(engine, env, {})
    except BaseException:
        undo_create(engine, env, made, not make)
        raise


def undo_create(engine: Engine, env: Env, made: Sequence[str], no_build: bool) -> None:
    if env.scripted:
        return
    renamed = env.staging == env.folder
    if not no_build:
        remove_unfinished(engine, env, env.id)
    if renamed:
        forget_note(env)
    env.clear(os.path.basename(env.staging))
    for folder in made:
        try:
            os.rmdir(folder)
        except OSError:
            break
    if renamed and not no_build:
        for tag in ("latest", "1"):
            remove_tag(engine, env, tag)


def build_new(session: Session, env: Env, change: Change | None, command: Sequence[str]) -> None:
    build_image(session, env, command, Build(env.temporary_tag + "-base" * bool(change), {}))
    if change:
        try:
            commit_change(session, env, change, command, env.temporary_tag + "-base")
        finally:
            session.engine.try_run("rm", "-fv", env.temporary)
        session.engine.try_run("rmi", *change.bases, env.temporary_tag + "-base")


def publish(env: Env, texts: dict[str, str], allowed: Sequence[str] | None) -> None:
    """The folder in which a new environment was made becomes its own, with a note of what the user
    trusts of it: of what pydock wrote there, and of nothing that somebody put beside it."""
    if env.scripted:
        return
    written = {file: text.encode(errors="surrogateescape") for file, text in texts.items()}
    written.pop("requirements.txt", None)
    taken = f"the environment '{env.name}' was created by another command meanwhile"
    if env.exists():
        raise PydockError(taken, "pydock list")
    if allowed is not None:
        write_note(env, {file: data for file, data in written.items() if file in allowed})
    try:
        with env.scope.open() as envs:
            envs.rename(os.path.basename(env.staging), env.name)
    except OSError:
        raise PydockError(taken, "pydock list") from None
    env.staging = env.folder
    if allowed is None and env.scope.mode == "local":
        write_note(env, written)
    elif allowed is None:
        forget_note(env)


def python_version_file() -> str:
    try:
        with Folder(current_folder(), own=False) as folder:
            lines = folder.read(".python-version").decode().splitlines() or [""]
    except (FileNotFoundError, UnicodeDecodeError):
        return ""
    except PydockError as error:
        console.warn(f"ignoring .python-version: {error}")
        return ""
    if not re.fullmatch(VERSION, lines[0].strip()):
        console.warn(
            f"ignoring .python-version: {lines[0].strip()[:40]!r} is not a CPython version"
        )
        return ""
    return lines[0].strip()


def checked_apt(package: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9+.:=~-]*", package):
        raise PydockError(f"{package!r} is not a valid name of a system package")
    return package


def checked_user(user: str) -> str:
    uid, _, name = user.rpartition(":")
    if user and not (re.fullmatch(USERNAME, name) and (not uid or re.fullmatch(r"\d{1,9}", uid))):
        raise PydockError(
            f"{user!r} is not a valid user",
            "--user NAME or --user ID:NAME; lowercase letters, digits and _ . -",
        )
    return user


# --------------------------------------------------------------------------------------------------
# Environments: list, build, delete


@command(
    "environments",
    "list",
    "list environments",
    flag("--all", help="also those of all other folders"),
    flag("--scripts", help="those that pydock run SCRIPT.py made"),
    OPT_JSON,
)
def cmd_list(session: Session, args: argparse.Namespace) -> int:
    rows = script_rows(args) if args.scripts else listing(session, args)
    if args.json:
        console.emit(to_json(rows, indent=2))
    elif args.scripts:
        print_scripts(rows)
    elif rows:
        print_table(rows)
    else:
        console.info("no environments yet; next: pydock create NAME")
    return 0


def listing(session: Session, args: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of `list`: environments of both modes (of one, where an option says so). One or two
    engine calls; one more where one was started, and where one has services."""
    engine, scopes = session.engine, [session.scope]
    if not args.mode and not args.scripts:
        scopes = [scope for scope in (local_scope(), global_scope()) if scope]
    envs = [session.new_env(name, scope) for scope in scopes for name in scope.names()]
    wanted = {env.latest: env.latest for env in envs}
    if args.all:
        tags = tagged(engine, "--filter", "label=pydock.name")
        wanted = {tag: id_ for tag, id_ in tags.items() if tag.endswith(":latest")}
    elif envs:
        engine.prefetch(*inspect_argv(wanted))  # while the files are read
    files = [files_of(env) for env in envs]
    images = inspect(engine, wanted)
    rows = [list_row(env, images.get(env.latest), *read) for env, read in zip(envs, files)]
    known = {env.folder for env in envs}
    for image in images.values() if args.all else ():
        folder = unquote(image.labels.get("pydock.folder", ""))
        if folder not in known:
            mode = "local" if "__" in image.tag else "global"
            mode = "script" if "/pydock/scripts/envs/" in folder else mode
            state = "ready" if may_exist(folder) else "orphaned"
            name = image.labels.get("pydock.name", "")
            rows.append(image_row(image, name, mode, folder, state))
    volumes: list[str] = []
    if session.settings["cache"] != "none":
        volumes = engine.output("volume", "ls", "-q", "--filter", "label=pydock.folder").split()
    caches = {env.folder: env.cache for env in envs if env.cache in volumes}
    names = [env.background for env in envs if is_started(env)]
    if any(os.path.exists(env.path(COMPOSE)) for env in envs):
        names += engine.output("ps", "-q", "--filter", "label=com.docker.compose.project").split()
    found = [Background(data) for data in inspect_containers(engine, names)]
    started = {background.name: background for background in found if background.running}
    for row in rows:
        repo = (row["image"] or "").split(":")[0]
        background = started.get(repo + "--background")
        beside = [other for other in found if not other.name.startswith(repo + "--")]
        services = {other.service for other in beside if other.project == repo.replace(".", "__")}
        row.update(
            services=sorted(services - {""}),
            cache=caches.get(row["path"]),
            running=background.since if background else None,
            ports=background.ports if background else [],
            active=is_active(row["name"], repo),
        )
    return rows


def is_active(name: str, repo: str) -> bool:
    """Whether the caller's shell has activated the environment of this name and image."""
    shims = os.path.join(data_folder(), repo, "bin")
    path = os.environ.get("PATH", "").split(os.pathsep)
    return os.environ.get("PYDOCK_ENV") == name and shims in path


def files_of(env: Env) -> tuple[tuple[str, str], str]:
    """The hashes of an environment's files, empty where they cannot be read, and its version."""
    try:
        return env.hashes(), base_of(env.read("dockerfile"))[1]
    except PydockError:
        return ("", ""), ""


def list_row(
    env: Env, image: Image | None, hashes: tuple[str, str], version: str
) -> dict[str, Any]:
    if not any(hashes):
        return image_row(None, env.name, env.scope.mode, env.folder, "broken")
    image = image if image and image.of(env) else None
    state = "stale" if image else "missing"
    if image and image.hashes == hashes:
        state = "ready"
    row = image_row(image, env.name, env.scope.mode, env.folder, state)
    return {**row, "python": row["python"] or version, "frozen": is_frozen(env)}


def image_row(image: Image | None, name: str, mode: str, path: str, state: str) -> dict[str, Any]:
    return {
        "name": name,
        "mode": mode,
        "path": path,
        "python": image.labels.get("pydock.python", "") if image else "",
        "image": image.tag if image else None,
        "id": image.id.split(":")[-1][:12] if image else None,
        "size": image.size if image else None,
        "created": (image.labels.get("pydock.time") or image.created) if image else None,
        "state": state,
        "frozen": False,
    }


def home_path(path: str) -> str:
    return re.sub(f"^{re.escape(home_folder())}(?=/)", "~", path)


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    lines = [["NAME", "MODE", "PYTHON", "STATE", "IMAGE", "SIZE", "AGE", "RUNNING", "PATH"]]
    for row in rows:
        since = [human_age(age_of(row["running"]))] if row["running"] else []
        line = [
            row["name"] + " *" * row["active"],
            row["mode"],
            row["python"] or "?",
            row["state"] + ", frozen" * row["frozen"] + ", cache" * bool(row["cache"]),
            row["id"] or "-",
            human_size(row["size"]) if row["size"] is not None else "-",
            human_age(age_of(row["created"])) if row["created"] else "-",
            " ".join([*since, *row["ports"], *row["services"]]),
            home_path(row["path"]),
        ]
        lines.append(line)
    if not any(line[7] for line in lines[1:]):
        lines = [line[:7] + line[8:] for line in lines]
    console.table(lines, narrow=(6, 4, 5, 2))


@command(
    "environments",
    "build NAME",
    "rebuild the image from its files",
    flag("--no-cache", help="do not use docker's build cache"),
    flag("--pull", help="pull a newer base image"),
    many("-o", "--option", metavar="OPTION", help="any other option of docker build"),
    OPT_NETWORK,
)
def cmd_build(session: Session, args: argparse.Namespace) -> int:
    session.network = args.network
    env = session.env(args.name)
    env.hashes()
    collect_garbage(session)
    with env.lock():
        check_frozen(env)
        images = recover(session.engine, env)
        options = ["--no-cache"] * args.no_cache + ["--pull"] * args.pull + args.option
        changed = rebuild(session, env, images, args.line, options)
        drop_old_revisions(session, env)
    reconcile_after_change(session, env)
    done = f"built {env.name}" if changed else f"{env.name} is up to date"
    report(env, done, f"pydock shell {env.title}")
    return 0


@command(
    "environments",
    "delete NAME…",
    "delete the folder, images and containers",
    OPT_YES,
    flag("--force", help="end programs that still run in it"),
)
def cmd_delete(session: Session, args: argparse.Namespace) -> int:
    envs = [session.env(name) for name in dict.fromkeys(args.names)]
    engine = session.engine
    for env in envs:
        check_frozen(env)
        images = images_of(engine, env)
        made = {tag: image for tag, image in images.items() if image.labels.get("pydock.folder")}
        check_owner(engine, env, made)
        in_use(engine, env, args.force)
        services, volumes = services_of(engine, env)
        if services:
            held = f"also deleting the services of {env.name}, and the data in their containers"
            console.info(f"{held}: {', '.join(services)}")
        if has_cache(engine, env):
            console.info(f"also deleting the ~/.cache of {env.name}: volume {env.cache}")
        if volumes:
            names = " ".join(volumes)
            console.info(f"keeping volumes of {env.name}; to remove them: docker volume rm {names}")
    if not confirmed(
        args,
        f"delete {', '.join(env.folder for env in envs)}, with images and containers",
        f"deleting {', '.join(args.names)}",
    ):
        return 1
    collect_garbage(session)
    for env in envs:
        with env.lock():
            delete(session, env, in_use(engine, env, args.force))
        report(env, f"deleted {env.name}")
    return 0


def in_use(engine: Engine, env: Env, force: bool) -> list[str]:
    """The names of the environment's containers. An error where a program runs in one, unless
    forced, and where one was not made by pydock: it is its maker's to remove."""
    found = []
    label = "label=pydock.folder=" + quote(env.folder)
    ids = engine.output("ps", "-aq", "--no-trunc", "--filter", label).split()
    for data in inspect_containers(engine, ids):
        name = data["Name"].lstrip("/")
        if not name.startswith(env.repo + "--"):
            check_others(engine, env, name, data["Config"])
            continue
        busy = running_in(engine, env, name, data) if data["State"]["Running"] and not force else []
        if busy:
            raise PydockError(
                f"a program is running in {env.name}: {', '.join(busy)}",
                f"end it first, or: pydock delete --force {env.title}",
            )
        found.append(name)
    return found


def check_others(engine: Engine, env: Env, name: str, config: dict[str, Any]) -> None:
    """PydockError where somebody made a container of the environment's own image: one of compose
    goes with the background one, one of an image that was made from this is no concern of ours."""
    project = (config.get("Labels") or {}).get("com.docker.compose.project")
    image = str(config.get("Image")).split("localhost/")[-1].split(":")[0]
    if image == env.repo and project != compose_project(env):
        raise PydockError(
            f"the container {name}, which pydock did not make, uses {env.name}",
            shell_join(engine.command(["rm", "-f", name])),
        )


def running_in(engine: Engine, env: Env, name: str, data: dict[str, Any]) -> list[str]:
    if name == env.background:
        return processes(engine, Background(data))
    words = [data["Path"], *data["Args"]]
    words = words[len(INIT) :] if words[:1] == [HELPER] else words
    return [f"{' '.join(words)[:60]} (container {name})"]


def delete(session: Session, env: Env, containers: Sequence[str]) -> None:
    """From the rename on the environment is gone; what the engine then fails to remove goes with
    the next command."""
    engine = session.engine
    remove_background(engine, env, "rm")
    others = [name for name in containers if name != env.background]
    if others:
        engine.try_run("stop", "-t", "5", *others)
        engine.try_run("rm", "-f", *others)
    if has_cache(engine, env):
        engine.try_run("volume", "rm", env.cache)
    away = env.retire()
    remove_shims(env)
    forget_note(env)
    if remove_images(engine, env, images_of(engine, env)):
        env.clear(away)
        if env.scope.mode == "local" and not env.scripted:
            env.clear_project()
    else:
        console.warn(f"some images of {env.name} could not be removed; the next change tries again")


# --------------------------------------------------------------------------------------------------
# Run and shell


@command(
    "run",
    "run NAME CMD…",
    "run a program, or a SCRIPT.py that names its packages",
    *FRESH_OPTIONS,
    arg("command", metavar="CMD", nargs="*", help="the program and its arguments"),
)
@command("run", "shell NAME", "open a shell", *FRESH_OPTIONS)
def cmd_run(session: Session, args: argparse.Namespace) -> int:
    """A program in the background container, if there is one that has the current folder, else in a
    fresh one."""
    limits = [args.memory, args.cpus, args.pids_limit, args.timeout, args.write, args.read]
    if any(limits) and not args.sandbox:
        raise PydockError(
            "limits, --read and --write need --sandbox",
            "add --sandbox; without it, use docker's own, such as -o --memory=2g",
        )
    env = asked_env(session, args)
    if args.sandbox:
        run_sandboxed(session, env, args)
    # `enter`, which cannot go on alone, and the variables that its program gets
    caller, *changed = os.environ.pop("PYDOCK_TOLD", "").split() or [""]
    apart = [args.fresh, args.root, args.publish, args.volume, args.gpus, args.network]
    fresh = any([*apart, args.platform, args.option]) or not is_started(env)
    if fresh and not args.root:
        check_trust(env)  # before it is built; what started before goes on
    options = run_options(session.engine, args)
    try:
        check_ports(session, env, options)
    except PydockError as error:
        options = without_ports(args, caller == "own", error)
    place = run_folder(session, env, required=False)._replace(own=caller == "own")
    passed = environment_options(session, changed[1::2])
    program = asked_program(env, args.command, passed + options)
    if not fresh and not options and not caller:
        enter(session, env, place.current, program)
    config = ready_image(session, env)
    container = None if fresh else background_container(session, env, config, place)
    if container:
        exec_program(session, env, container, program)
    container = describe_for_programs(
        session, env, config, f"{env.repo}--run-{env.id}", place, args.root
    )
    container.options = options if env.has(COMPOSE) else passed + options
    own = program.tty or not args.command or not container.init
    if env.has(COMPOSE) or own and not env.scripted:  # a script gets by without it
        add_helper(env, container)
    if env.has(COMPOSE):
        try:
            compose_one_off(session, env, container)
            container.user = container.user or config.get("User") or "0:0"
            exec_program(session, env, container, program._replace(options=passed), remove="yes")
        except BaseException:
            session.engine.try_run("rm", "-f", container.name)
            raise
    run_program(session, env, container, program)


def asked_program(env: Env, command: Sequence[str], options: Sequence[str]) -> Program:
    """What was typed, or else a shell, with the streams that it can have."""
    words = list(command) or (SHELL if env.scripted else [HELPER, "shell", env.name])
    if any(not is_utf8(word) for word in words):
        escaped = ["".join(f"\\0{byte:03o}" for byte in os.fsencode(word)) for word in words]
        words = ["/bin/sh", "-c", BYTES_SH, "pydock", *escaped]
    # In the background of a terminal, the client would be stopped for reading it.
    stdin = not os.isatty(0) or foreground()
    tty = os.isatty(0) and os.isatty(1) and stdin
    if not command and tty or words[:2] == ["pip", "install"]:
        console.info(
            f"{env.name}: what `pip install` adds is lost with its container; to keep it: pydock install {env.title} PKG"
        )
    return Program(words, options, stdin, tty)


def run_program(
    session: Session, env: Env, container: Container, program: Program, limit: str = ""
) -> NoReturn:
    """In a container of its own, which ends after `limit` seconds."""
    told = {"container": container.name, "user": container.user, "exec_id": "", "remove": ""}
    told.update(absent="", limit=limit)
    argv = container.run_argv(program)
    if not container.sandbox:  # as it is looked for in a container without limits
        container.name += "-look"
        told.update(told_absent(session.engine, env, program.words))
        told.update(told_outside(session.engine, env, program, container.run_argv))
    session.engine.exec(argv, told, program.tty)


def exec_program(
    session: Session, env: Env, container: Container, program: Program, remove: str = ""
) -> NoReturn:
    told = {"container": container.name, "user": container.user, "exec_id": env.id}
    told.update(told_absent(session.engine, env, program.words), remove=remove)
    argv = container.exec_argv(program, "" if env.scripted else env.id)
    told.update(
        told_outside(session.engine, env, program, lambda other: container.exec_argv(other, ""))
    )
    session.engine.exec(argv, told, program.tty)


def without_ports(args: argparse.Namespace, linked: bool, error: PydockError) -> list[str]:
    """The options of a link whose port is taken: it asks for that whatever its program does, and a
    second one may need none. Raises the error for who typed it."""
    if not linked:
        raise error
    console.warn(f"{error}, so {args.command[0]} runs without it", error.hint)
    return []


def leads_out(word: str) -> bool:
    """Whether an argument names something on this host that is not in the current folder."""
    path = word.partition("=")[2] if word.startswith("-") and "=" in word else word
    there = path.startswith(("/", "..")) and not is_in(path, os.getcwd()) or os.path.islink(path)
    return there and os.path.exists(path)


def told_outside(
    engine: Engine, env: Env, program: Program, argv: Callable[[Program], list[str]]
) -> dict[str, str]:
    """What PARENT_SH is told of arguments that may not be inside; `argv`: how a program is run
    there."""
    if not any(map(leads_out, program.words)):
        return {}
    look = argv(program._replace(words=SEEK, stdin=False, tty=False))
    words = str(len(program.words))
    return {"seek": shell_join(engine.command(look)), "words": words, "title": env.title}


def told_absent(engine: Engine, env: Env, words: Sequence[str]) -> dict[str, str]:
    """What PARENT_SH is told for the case that there is no such program."""
    word = words[0]
    look, absent = "", ""
    if "/" not in word:
        code = 'command -v -- "$0" >/dev/null || echo absent'
        look = shell_join(engine.command([*look_argv(env.latest), "/bin/sh", "-c", code, word]))
        line = shell_join([word])
        hint = f"pydock install {env.title} {line}; for a system program: pydock install {env.title} --apt {line}"
        if word.endswith(".py") and os.path.isfile(word):
            hint = f"pydock run {env.title} python {shell_join(words)}"
        absent = f"pydock: error: {one_line(word)} is not in {env.name}\nhint: {one_line(hint)}"
    return {"look": look, "absent": absent}


def run_options(engine: Engine, args: argparse.Namespace, keep: bool = False) -> list[str]:
    """The user's options for `docker run`, checked; `keep`: for a container that can be started
    anew when the caller's variables are not there."""
    options: list[str] = []
    for port in args.publish:
        options += ["-p", publish_value(port)]
    for volume in args.volume:
        options += ["-v", host_volume(volume)]
    for name in ("env", "env_file", "gpus", "network", "platform"):
        for value in getattr(args, name):
            if name == "env" and "=" not in value and keep:
                if value not in os.environ:
                    continue
                value = f"{value}={os.environ[value]}"
            elif name == "env" and "=" not in value and engine.sudo:
                options += engine.env_options(value)
                continue
            if name == "env_file" and keep:
                value = absolute_path(value)
            options += ["--" + name.replace("_", "-"), value]
    return options + [option if option.startswith("-") else "--" + option for option in args.option]


def host_volume(volume: str) -> str:
    """The value of -v with a folder of this host by its whole path; the engine would make one that
    is not there."""
    source, _, rest = volume.partition(":")
    # The name of a volume has no slash.
    if not rest or not (source.startswith((".", "~")) or "/" in source):
        return volume
    source = absolute_path(os.path.expanduser(source))
    if not os.path.exists(source):
        raise PydockError(
            f"cannot mount {source}: it does not exist", f"mkdir -p {shell_join([source])}"
        )
    return source + ":" + rest


def check_ports(
    session: Session, env: Env, options: Sequence[str], own: Sequence[str] = ()
) -> None:
    """An error where somebody on this host listens already on a port to be published: the engine's
    own comes late and long. `own`: ADDRESS:PORT of a container that is about to go."""
    remote = os.environ.get("DOCKER_HOST", "").startswith(("tcp:", "ssh:"))
    for pair in zip(options, options[1:]):
        port = r"-p (((?:\[[0-9a-f:]+\]|[0-9.]+):)(\d+))(:\d+)(/tcp)?"
        found = re.fullmatch(port, " ".join(pair))
        if remote or not found or found.group(1) in own:
            continue
        address, number = found.group(2), int(found.group(3))
        if is_taken(address, number):
            others = (str(n) for n in range(number + 1, 65536) if not is_taken(address, n))
            other = f"{address}{next(others, 'OTHER')}{found.group(4)}".replace("127.0.0.1:", "")
            raise PydockError(
                f"port {number} is taken on this host", port_hint(session, env, pair[1], other)
            )


def is_taken(address: str, port: int) -> bool:
    """Whether somebody on this host listens on a port of an address, which ends with a colon."""
    import socket

    host = address[:-1].strip("[]")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OverflowError:
            raise PydockError(f"{port} is not a port") from None
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def port_hint(session: Session, env: Env, taken: str, other: str) -> str:
    """The line to type where a port is taken: the same with another one, or what has it from
    elsewhere."""
    words = list(session.line)
    for i, word in enumerate(words):
        before, value = "", word
        found = re.fullmatch("(-p=?|--publish=)(.+)", word)
        if found:
            before, value = found.groups()
        if (found or words[i - 1] in ("-p", "--publish")) and publish_value(value) == taken:
            words[i] = before + other
            return f"pydock {words[0]} {typed_line(words, env)}"
    if env.has(COMPOSE):
        return f"another one in {env.path(COMPOSE)}, such as {other}"
    return f"pydock reset -p {other} {env.title}"


# --------------------------------------------------------------------------------------------------
# Sandbox: run --sandbox, shell --sandbox


NOBODY = "65534:65534"
Limits = namedtuple("Limits", "memory cpus pids files timeout")


def run_sandboxed(session: Session, env: Env, args: argparse.Namespace) -> NoReturn:
    """A program that may do harm: in a container of its own that has nothing but the current folder,
    to read, and what was opened by name."""
    engine, question = session.engine, limits_argv(session.engine)
    known = kernel_limits(engine)
    if not known:
        engine.prefetch(*question)
    network, args.network = (args.network or ["none"])[-1], []
    if args.root or args.volume:
        raise PydockError(
            "--sandbox does not work with --root or -v", "use --read DIR or --write DIR"
        )
    if args.publish and network == "none":
        raise PydockError("a port needs a network", "add --network bridge")
    limits = sandbox_limits(session, args)
    options = [*limit_options(limits), "--network", network, *run_options(engine, args)]
    folder = sandbox_folder(run_folder(session, env).current)
    program = asked_program(env, args.command, options)
    limit = limits.timeout if args.command or args.timeout else ""
    config = ready_image(session, env)
    check_limits(known or engine.output(*question))
    home = config.get("WorkingDir") or "/"
    if not re.fullmatch(r"/[\w./-]+", home):  # such as one that --tmpfs would read as options
        home = "/tmp"
    container = Container(f"{env.repo}--run-{env.id}", env.latest, env.name, NOBODY)
    user = run_as(engine, env, config)
    if user and not user.startswith("0:"):
        container.user, container.keep_id = user, engine.podman
    container.sandbox, container.init = True, env.scripted and engine.has_init()
    mounts, container.folder = folder_mounts(folder, folder, home_folder(), home)
    container.mounts = sandbox_mounts(env, mounts, args, home)
    if not env.scripted:
        add_helper(env, container)
    volumes = {*map(os.path.normpath, config.get("Volumes") or ())}
    volumes -= {"/tmp", home, *(mount.target for mount in container.mounts)}
    container.options = box_options(engine, container.user, home, volumes) + options
    run_program(session, env, container, program, limit)


def sandbox_mounts(
    env: Env, mounts: Sequence[tuple[str, str]], args: argparse.Namespace, home: str
) -> list[Mount]:
    """The current folder's mounts, to read, and what --read and --write name: at its own path, and
    below the current folder where it lies there."""
    found = {target: Mount(source, target, True) for source, target in mounts}
    for paths, closed in ((args.read, True), (args.write, False)):
        for path in map(sandbox_folder, paths):
            opened, _ = place_mounts(Place(path, path), home, env.make_folder)
            for source, target, readonly in opened:
                targets = [
                    os.path.normpath(os.path.join(inside, os.path.relpath(source, here)))
                    for here, inside in mounts
                    if is_in(source, here)
                ]
                if not any(is_in(target, inside) for _, inside in mounts):
                    targets.append(target)  # or it would hide a folder of the same name
                found.update((at, Mount(source, at, closed or readonly)) for at in targets)
    return sorted(found.values(), key=lambda mount: mount.target.count("/"))


def sandbox_folder(path: str) -> str:
    """The real path of a folder that code in a sandbox may see. A link in the current folder, which
    may be that code's own, does not choose another one."""
    path = os.path.expanduser(path)
    folder, here = os.path.realpath(path), os.getcwd()
    links = [way for way in folders_up(os.path.abspath(path)) if os.path.islink(way)]
    above = [os.path.realpath(os.path.dirname(link)) for link in links]
    if not is_in(folder, here) and any(is_in(way, here) for way in above):
        raise PydockError(f"{path} is a symbolic link to {folder}", "name that folder itself")
    if not os.path.isdir(folder):
        raise PydockError(f"no such folder: {path}", f"mkdir -p {shell_join([path])}")
    if is_in(os.path.realpath(home_folder()), folder):
        raise PydockError(
            f"{path} contains your home folder, which a sandbox may not see",
            "cd to the folder of the code, or name one",
        )
    # Such as /tmp: there are sockets of tmux, or of an agent for keys
    shared = os.stat(folder).st_mode & stat.S_ISVTX
    if shared or folder.split("/")[1] in ("dev", "proc", "run", "sys"):
        raise PydockError(
            f"{path} is shared with other programs of this host, which a sandbox may not reach",
            "a folder of its own: cd $(mktemp -d)",
        )
    return folder


def box_options(engine: Engine, user: str, home: str, volumes: Iterable[str]) -> list[str]:
    """What is closed: capabilities, the file system but for a home, a /tmp and the image's volumes,
    all in memory, the engine's log, which has no limit, and the proxies that the client hands on."""
    options = ["--cap-drop", "ALL", "--read-only", "--log-driver", "none", "-e", "HOME=" + home]
    size = "tmpfs-size=256m"
    for path in volumes:
        options += ["--mount", mount_value("", path, False, "tmpfs", "tmpfs-mode=1777", size)]
    for path in sorted({"/tmp", home}):
        if engine.podman:
            more = "U=true", "tmpfs-mode=0700", size
            options += ["--mount", mount_value("", path, False, "tmpfs", *more)]
        else:
            how = f"exec,uid={user.replace(':', ',gid=')},mode=0700,size=256m"
            options += ["--tmpfs", f"{path}:{how}"]
    if engine.podman:
        # Beside limits that are named, it sets others that can be more than the host allows.
        own = ["--read-only-tmpfs=false", "--http-proxy=false", "--ulimit", "nproc=4096:4096"]
        return options + own
    return options + [word for name in client_proxies() for word in ("-e", name + "=")]


def sandbox_limits(session: Session, args: argparse.Namespace) -> Limits:
    """Those of the command line, and else of the settings; for a script, too, of the project's."""
    script = session.scope.mode == "script"
    settings = Settings(find_scope(args.mode)) if script else session.settings
    typed = Limits(args.memory, args.cpus, args.pids_limit, "", args.timeout)
    named = {f"sandbox_{name}": text for name, text in typed._asdict().items()}
    return Limits(
        *(checked(k, v, "the command line") if v else settings[k] for k, v in named.items())
    )


def limit_options(limits: Limits) -> list[str]:
    cpus = min(float(limits.cpus), os.cpu_count() or 1)  # more than there are is an error
    threads = f"{-(-cpus // 1):g}"  # or else numpy starts one for each processor that is there
    return [
        *("-e", "OMP_NUM_THREADS=" + threads, "-e", "PYTHON_CPU_COUNT=" + threads),
        *("--memory", limits.memory, "--memory-swap", limits.memory),
        *("--cpus", f"{cpus:g}", "--pids-limit", limits.pids),
        *("--ulimit", f"nofile={limits.files}:{limits.files}", "--ulimit", "core=0:0"),
    ]


def limits_argv(engine: Engine) -> tuple[str, ...]:
    """The question which limits an engine can hold."""
    docker = "{{if .MemoryLimit}}memory{{end}} {{if .CPUCfsQuota}}cpu{{end}} {{if .PidsLimit}}pids{{end}}"
    return ("info", "--format", "{{.Host.CgroupControllers}}" if engine.podman else docker)


def kernel_limits(engine: Engine) -> str:
    """The answer where it is known to be the kernel's, as the engine is root's docker on this host:
    to ask takes a third of a start. Else empty."""
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").partition("unix://")[2]
    context = os.environ.get("DOCKER_CONTEXT") or '"currentContext"' in client_config()
    if engine.podman or context or not os.path.exists(address) or os.stat(address).st_uid:
        return ""
    groups = "/sys/fs/cgroup"
    version1 = os.listdir(groups) if os.path.isdir(groups) else ()
    return host_file(groups + "/cgroup.controllers") or " ".join(version1)


def check_limits(told: str) -> None:
    """An error where its answer lacks one that a sandbox must have."""
    names = {"memory": "memory", "cpu": "processors", "pids": "processes"}
    lacking = [name for word, name in names.items() if word not in told.strip("[]\n").split()]
    if lacking:
        raise PydockError(
            f"this engine cannot limit {' and '.join(lacking)}, which a sandbox needs",
            "use an engine that runs as root, or cgroup v2 with these controllers delegated",
        )


# --------------------------------------------------------------------------------------------------
# Scripts: run SCRIPT.py


MAX_UNUSED = 30 * 86400  # seconds until `prune` removes the environment of a script


class ScriptScope(Scope):
    """Where the environments of scripts are, each named after what its metadata says. Whoever wrote
    that, they count as handed over by others. `why` is the script as it is to be typed."""

    def __init__(self, script: str = "", block: str = "") -> None:
        super().__init__("script", os.path.join(data_folder(), "scripts"), shell_join([script]))
        self.script, self.block = script, block


def metadata_of(script: str) -> str:
    """The TOML of a script's metadata, in the lines where it stands; empty where there is none."""
    path = absolute_path(script, real=True)
    with Folder(os.path.dirname(path), own=False) as folder:
        data = folder.read(os.path.basename(path))
    if b"# /// script" not in data:
        return ""
    text = data.decode("utf-8-sig", "surrogateescape").replace("\r\n", "\n")
    blocks = [block for block in metadata_blocks(text) if block[0] == "script"]
    lines = [text.count("\n", 0, start) + 1 for _, start, _ in blocks[:2]]
    if len(blocks) > 1:
        raise PydockError(
            f"{script} has two blocks of metadata, in lines {lines[0]} and {lines[1]}"
        )
    if not blocks:
        return ""
    if not is_utf8(blocks[0][2]):
        raise PydockError(f"the metadata of {script} is not UTF-8")
    return "\n" * lines[0] + re.sub("(?m)^# ?", "", blocks[0][2])


def metadata_blocks(text: str) -> Iterator[tuple[str, int, str]]:
    """Type, start and content of the blocks that the specification's expression finds, which can take
    all memory for that: from such a line to the last that ends one, in comments alone."""
    first, code = re.compile(r"(?m)^# /// ([a-zA-Z0-9-]+)$"), re.compile(r"(?m)^(?!#$|# )")
    begin = first.search(text)
    while begin:
        after = code.search(text, begin.end())
        end = after.start() if after else len(text)
        comments = text[begin.end() : end].rstrip("\n") + "\n"
        content = comments[1 : comments.rfind("\n# ///\n") + 1]
        if content:
            yield begin.group(1), begin.start(), content
        begin = first.search(text, end)


def script_scope(word: str) -> ScriptScope | None:
    """What a word in the place of NAME means, where it is the path of a script with metadata."""
    if not (is_path(word) and os.path.isfile(word)):
        return None
    if not word.endswith(".py") and os.path.getsize(word) > MAX_TEXT:  # a program of another kind
        return None
    block = metadata_of(word)
    return ScriptScope(word, block) if block else None


def is_path(word: str) -> bool:
    return "/" in word or word.endswith(".py")


def asked_env(session: Session, args: argparse.Namespace) -> Env:
    """The environment of a name, or of a script, made where there is none. Of that, `args` get the
    program; and what is mounted, where the current folder does not have it."""
    scope = session.scope
    if not isinstance(scope, ScriptScope):
        return session.env(args.name)
    session.network = "host" * ("host" in args.network)
    env = session.new_env("script-" + sha256(scope.block.strip("\n").encode())[:12])
    word, mount = place_script(scope.script, run_folder(session, env, required=False).folder)
    args.command = ["python", word, *args.command]
    args.option += ["--mount=" + mount_value(mount, mount, True)] * bool(mount)
    if not env.touch():
        queue = os.path.join(scope.root, env.name[-1])  # two of them wait for each other
        if not env.scripted:
            make_folder(queue)
        with (NoLock if env.scripted else Lock)(queue, scope.script):
            if not env.touch():
                make_script_env(session, env, scope)
    return env


def place_script(script: str, current: str) -> tuple[str, str]:
    """The path of a script inside, and what is mounted at its own path for that: nothing where the
    current folder has it; it alone where its folder has the home folder, or would hide the image's."""
    path = absolute_path(script, real=True)
    inside = os.path.relpath(path, current or "/")
    if current and is_in(path, current):
        return script if script == "./" + inside else re.sub("^-", "./-", inside), ""
    if not is_utf8(path):
        raise PydockError(f"{path!r} cannot be mounted: its name is not UTF-8")
    folder = os.path.dirname(path)
    alone = is_in(home_folder(), folder) or not hides_nothing(folder)
    return path, path if alone else folder


def make_script_env(session: Session, env: Env, scope: ScriptScope) -> None:
    script, change, settings = scope.script, Change("install"), session.settings
    lines = valid_lines(script, lambda: script_lines(session, env, change, script, scope.block))
    for line in lines:
        no_password(line.body, f"the metadata of {script}")
        check_variables(line, script)
        if is_local(line):
            raise PydockError(
                f"{script} takes {line.name} from a folder of this host, which it may not choose",
                f"pydock create NAME --from {scope.why}",
            )
    image, version = settings["image"], settings["python"]
    if "{version}" in image:
        version = fitting_python(session, change, "", False)
    git = ["git"] * any(line.url.startswith("git+") for line in lines)
    text = render_dockerfile(image, version, git, "")
    needs = "".join(line.body + "\n" for line in lines)
    hint = (
        f"for another Python, system packages or your logins: pydock create NAME --from {scope.why}"
    )
    old = before_create(session, env, text, hint)

    def make() -> None:
        try:
            build_new(session, env, None, ["run", script])
        except PydockError as error:
            raise PydockError(str(error).replace(env.name, script), hint, error.status) from None

    files = {"dockerfile": text, "requirements.txt": needs}
    create(session, env, files, None if env.scripted else make, old, ())  # a dry run makes it later


def script_lines(
    session: Session, env: Env, change: Change, path: str, block: str
) -> list[Requirement]:
    """What the metadata of a script asks for: the same words as a project's, in other places."""
    if not block:
        raise PydockError(f"{path} has no metadata (# /// script)")
    data = read_toml(session, env, path, block)
    python, needs = entry(data, "requires-python", ""), entry(data, "dependencies", [])
    for item in needs:
        if not isinstance(item, str):
            raise ValueError(f"dependencies has {item!r:.40}, which is no text")
    others = sorted({*entry(data, "tool.uv", {})} - {"index", "sources"})
    if others:
        console.warn(f"ignoring {', '.join(others)} of [tool.uv] in {path}")
    project = {"requires-python": python, "dependencies": needs}
    return Pyproject(path, {"project": project, "tool": data.get("tool", {})}).lines(change, [])


def script_rows(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of `list --scripts`: with what was asked for, and when it was used."""
    session, args.all = Session(ScriptScope()), False
    rows = listing(session, args)
    for row in rows:
        env = session.new_env(row["name"])
        row["used"] = os.stat(env.folder).st_mtime
        row["asked"] = env.read("requirements.txt").splitlines() if row["state"] != "broken" else []
    return rows


def print_scripts(rows: Sequence[dict[str, Any]]) -> None:
    lines = [["NAME", "PYTHON", "STATE", "SIZE", "USED", "PACKAGES"]]
    for row in rows:
        size = human_size(row["size"]) if row["size"] is not None else "-"
        used = human_age(time.time() - row["used"])
        asked = ", ".join(row["asked"])
        lines.append([row["name"], row["python"] or "?", row["state"], size, used, asked])
    if rows:
        console.table(lines, narrow=(2, 1))
    else:
        console.info("no environments of scripts")


def is_unused(env: Env) -> bool:
    """Whether it is that of a script which did not run for a while."""
    try:
        age = time.time() - os.stat(env.folder).st_mtime
        return env.scope.mode == "script" and age > MAX_UNUSED
    except FileNotFoundError:
        return False


def remove_unused(session: Session, env: Env) -> None:
    try:
        with env.lock():
            if is_unused(env):  # whoever was asked may have taken a while
                env.remove(downloads_folder(domain_of(env) or env.id))
                delete(session, env, in_use(session.engine, env, False))
    except PydockError as error:
        console.warn(f"keeping {env.name}: {error}")


# --------------------------------------------------------------------------------------------------
# Packages: install, uninstall, update


@command(
    "packages",
    "install NAME PKG…",
    "install packages",
    arg(
        "packages",
        metavar="PKG",
        nargs="*",
        help="requirement, URL, or path of a local wheel or folder (with a /)",
    ),
    many(
        "--apt",
        metavar="PKG",
        help="system package; goes into the dockerfile, and the image is built",
    ),
    many("-e", "--editable", metavar="FOLDER", help=EDITABLE),
    flag("-U", "--upgrade", help="upgrade to the newest versions, as `update`"),
    *PACKAGE_OPTIONS,
)
def cmd_install(session: Session, args: argparse.Namespace) -> int:
    session.network = args.network
    env = session.env(args.name)
    verb = ["install"] + ["--upgrade"] * args.upgrade
    change = package_change(session, env, verb, args.packages, args)
    change.apt = [checked_apt(package) for package in args.apt]
    if not (change.is_any() or change.apt or args.requirement):
        raise PydockError("no package given", f"pydock install {env.title} PKG", 2)
    nothing = f"nothing to do: already installed in {env.name}"
    if change.is_empty():
        nothing = f"{env.name} has {', '.join(change.apt)}"
    return finish_change(session, env, change, args.line, nothing)


@command(
    "packages",
    "uninstall NAME PKG…",
    "uninstall packages",
    arg("packages", metavar="PKG", nargs="*"),
    many("-r", "--requirement", metavar="FILE", help="the packages that this file lists"),
    flag("-y", "--yes", help="no effect: nothing is asked"),
)
def cmd_uninstall(session: Session, args: argparse.Namespace) -> int:
    env = session.env(args.name)
    change = Change("uninstall")
    add_installer_words(change, args.installer_args)
    if change.words or change.wanted.options:
        raise PydockError("uninstall takes package names and -r FILE", status=2)
    files = [absolute_path(path) for path in args.requirement]
    lines = [line for path in files for line in read_requirements(file_text(path), path)]
    typed = {"", *map(canonical, args.packages)}
    change.listed = [line.name for line in lines if line.name not in typed]
    for word in dict.fromkeys([*args.packages, *change.listed]):
        if not re.fullmatch(IDENTIFIER, word):
            raise PydockError(f"{word!r} is not a package name")
        change.words.append(word)
        change.wanted.removed.append(canonical(word))
    if not change.words:
        raise PydockError("no package given", f"pydock uninstall {env.title} PKG", 2)
    return finish_change(session, env, change, args.line, f"{env.name} is unchanged")


@command(
    "packages",
    "update NAME [PKG…]",
    "update packages, within the ranges asked for",
    arg("packages", metavar="PKG", nargs="*", help="default: all packages"),
    arg(
        "--python",
        default="",
        metavar="VERSION",
        help="change the Python version; resolves all packages again",
    ),
    *PACKAGE_OPTIONS,
)
def cmd_update(session: Session, args: argparse.Namespace) -> int:
    session.network = args.network
    env = session.env(args.name)
    env.hashes()
    change = package_change(session, env, ["install", "--upgrade"], args.packages, args)
    if args.python:
        change.verb, change.python = "update", args.python
    elif not (args.packages or args.requirement or change.is_any()):
        change.verb = "update"
        if not asked_words(env.requirements()):
            console.info(f"{env.name} has no packages to update")
            return 0
    return finish_change(session, env, change, args.line, f"{env.name} is up to date")


def finish_change(
    session: Session, env: Env, change: Change, command: Sequence[str], nothing: str
) -> int:
    before = env.hashes()
    collect_garbage(session)
    changed = change_packages(session, env, change, command)
    reconcile_after_change(session, env)
    if change.verb == "lock":
        pins = [line for line in env.requirements() if line.kind == "requirement"]
        text = f"locked {env.name}: {count(len(pins), 'package')}"
        report(env, text, f"pydock lock --check {env.title}")
        return 0
    same = change.is_empty() or env.hashes() == before
    if not changed and not change.is_from_folders() and same:
        report(env, nothing, f"pydock run {env.title} …")
        return 0
    words = [f"Python {change.python}"] * bool(change.python) + changed[:8]
    if not words:
        words = ["installed" if change.is_from_folders() else "only requirements.txt changed"]
    more = f" and {len(changed) - 8} more" if len(changed) > 8 else ""
    report(env, f"{env.name}: {', '.join(words)}{more}", f"pydock shell {env.title}")
    return 0


def change_packages(
    session: Session, env: Env, change: Change, command: Sequence[str]
) -> list[str]:
    """install, uninstall, update (design: changing). Returns what became different, in words."""
    engine = session.engine
    with env.lock():
        check_frozen(env)
        images = recover(engine, env)
        env.hold()
        built = bool(change.apt) and add_apt(session, env, images, change, command)
        if built:
            drop_old_revisions(session, env)
            images = images_of(engine, env)
        latest = images.get("latest")
        fresh = latest and latest.of(env) and latest.hashes == env.hashes()
        stale = not fresh or latest and latest.depth >= MAX_LAYERS
        if stale and not built and not change.python:
            rebuild(session, env, images, ["build", env.name])
            images = images_of(engine, env)
            latest = images.get("latest")
        before, latest_hashes = latest.packages() if latest else {}, env.hashes()
        if env.scripted and not fresh:  # what the script has built by then
            before = {line.name: line.specifier for line in env.requirements() if line.name}
        change.check(env, before, latest)
        if change.is_empty():
            return []
        if change.verb == "lock":
            change.dockerfile = pin_base(session, env, latest)
        try:
            base = bare_image(session, env, change, command) if change.python else env.latest
            made = commit_change(session, env, change, command, base)
            after = made.packages() if made else {}
            same = made and after == before and made.hashes == latest_hashes
            if same and latest and not change.is_from_folders():
                remove_temporary(engine, env, env.id)
                return []
            tag_revision(engine, env, images)
            engine.try_run("rm", "-fv", env.temporary)
            if change.bases:
                engine.try_run("rmi", *change.bases)
            drop_old_revisions(session, env)
        except BaseException:
            engine.try_run("rm", "-fv", env.temporary)
            remove_half_written(env)
            if env.hashes() == latest_hashes:
                remove_temporary(engine, env, env.id)
                what = "the packages of " * built + env.name
                console.info(f"{what} {'are' if built else 'is'} unchanged")
            else:  # the next command finishes what may be left to do
                console.info(f"{env.name} has changed; the next command completes it")
            raise
        return [
            f"{name} {after[name]}" if name in after else f"removed {name} {before[name]}"
            for name in sorted({*before, *after})
            if before.get(name) != after.get(name)
        ]


# --------------------------------------------------------------------------------------------------
# A change of packages: what is asked for, installed and written down


LINES_FILE, LIMITS_FILE = "/dev/shm/lines", "/dev/shm/limits"
SERVED = "/dev/shm/served"


class Change:
    """What is to be done to the packages of an environment: the installer's verb and arguments, and
    what goes with it."""

    def __init__(self, verb: str, words: Sequence[str] = ()) -> None:
        self.verb = verb
        self.words = list(words)  # options
        self.named: list[str] = []  # packages and files, as they were typed
        self.title = "NAME"  # the environment, as it is to be typed
        self.listed: list[str] = []  # packages that only a file says to uninstall
        self.packages: list[Requirement] = []  # of the command line
        self.lines: list[str] = []  # of the files that it names, in one
        self.limits: list[str] = []  # and of the constraints that these name
        self.mounts: list[tuple[str, str]] = []
        self.files: dict[str, str] = {}  # text by path in the container
        self.project = ""  # a pyproject.toml or uv.lock among these files
        self.alone = False  # whether there is a pylock.toml, beside which uv reads no options
        self.projects: dict[str, Requirement] = {}  # by path: installed as they lie there
        self.builds: list[str] = []  # folders of projects whose needs only a build tells
        self.pythons: list[tuple[str, str]] = []  # which these files ask for: (file, specifier)
        self.apt: list[str] = []
        self.wanted = Wanted()
        self.dockerfile = ""  # where it becomes another one
        self.bases: list[str] = []  # images that are made on the way
        self.python = ""  # its version, where that becomes another one

    def is_any(self) -> bool:
        return any((self.packages, self.lines, self.mounts, self.files, self.projects))

    def is_empty(self) -> bool:
        """Whether no package is asked for, but perhaps one of the system, or to uninstall."""
        return not (self.words if self.verb == "uninstall" else self.is_any() or not self.apt)

    def is_from_folders(self) -> bool:
        """Whether the same versions may be something else than before."""
        return bool(self.mounts or self.projects)

    def settle_projects(self, env: Env) -> None:
        """The lines of projects as they are to stand in requirements.txt: with the extras that they
        had, too."""
        present = env.projects()
        for path, line in {**present, **self.projects}.items():
            old = present.get(path, line)
            more = {*line.extras} - {*old.extras}
            text = project_text(old.url, [*old.extras, *more])
            self.wanted.projects[path] = text if more else old.body

    def check(self, env: Env, packages: dict[str, str], latest: Image | None) -> None:
        python = self.python or (latest.labels.get("pydock.python", "") if latest else "")
        for file, specifier in self.pythons if python else ():
            if not fits(python, specifier):
                raise PydockError(
                    f"{file} needs Python {specifier}, but {env.name} has {python}",
                    "for an environment that fits: pydock create NAME -r pyproject.toml",
                )
        for name in [name for name in self.wanted.removed if name not in packages]:
            if name not in self.listed:
                raise PydockError(f"{name} is not installed in {env.name}", nearest(name, packages))
            console.info(f"{name} is not installed in {env.name}")
            self.wanted.removed.remove(name)
            self.words.remove(name)

    def settle_strategy(self) -> None:
        """Tells uv, which upgrades as pip does when it is `eager`, what to upgrade."""
        eager, lazy = "--upgrade-strategy=eager", "--upgrade-strategy=only-if-needed"
        if lazy in self.words and "--upgrade" in self.words and self.wanted.packages:
            self.words.remove("--upgrade")
            self.words += [f"--upgrade-package={name}" for name in self.wanted.packages]
        self.words = [word for word in self.words if word not in (eager, lazy)]

    def arguments(self, lines: Sequence[Requirement]) -> list[str]:
        """The words of the user and of requirements.txt, which no shell reads. A package that is
        asked for by its bare name stays within the range that it has there."""
        if self.verb not in ("install", "update"):
            return self.words
        words = [self.word(line, lines) for line in self.packages]
        return [*self.words, *words, *(asked_words(lines) if self.verb == "update" else [])]

    def word(self, asked: Requirement, lines: Sequence[Requirement]) -> str:
        ranges = {line.name: line.range for line in lines if line.kind == "requirement"}
        whole = asked.specifier or asked.url
        return asked.text if whole else asked.within(ranges.get(asked.name, ""))

    def settle_index(self, env: Env, lines: Sequence[Requirement]) -> None:
        """An index that packages are asked from becomes one more of an environment that has
        packages, or an index: its own stays. What comes from one of these is taken from there."""
        options = self.wanted.options
        given = [value for name, value in options if name == "--index-url"][-1:]
        present = [value for line in lines for o, value in line.options if o == "--index-url"][-1:]
        options[:] = [option for option in options if option[0] != "--index-url"]
        if given and not present and not any(line.kind == "requirement" for line in lines):
            options.insert(0, ("--index-url", given[0]))
        elif given and given != present:
            extra = ("--extra-index-url", given[0])
            options.append(extra)
            if not any(extra in line.options for line in lines):
                console.info(f"{given[0]} is now an additional index of {env.name}")
            for line in self.wanted.packages.values():
                line.index = line.index or given[0]
        of_line = {line.name: line.index for line in lines if line.index}
        asked = {
            line: line.body or self.word(line, lines)
            for line in [*self.wanted.packages.values(), *self.wanted.marked]
        }
        if self.verb == "update":
            asked = {line: line.word for line in lines if line.kind == "requirement"}
        for line, word in asked.items():
            index = line.index or of_line.get(line.name, "")
            if index and not line.url:
                self.wanted.served.setdefault(index, {})[word] = line.name

    def served_files(self, lines: Sequence[Requirement]) -> list[str]:
        """A requirements file for each index that serves some packages."""
        how = installer_options(lines, self.wanted).splitlines(True)
        how = [option for option in how if re.match("--(trusted|pre|no-b|only)", option)]
        how += [f"-c {LIMITS_FILE}\n"] * bool(self.limits)
        files = []
        for index, asked in self.wanted.served.items():
            words = [word + "\n" for word in asked]
            files.append("".join([option_text("--index-url", index) + "\n", *how, *words]))
        return files

    def served_sh(self, files: Sequence[str]) -> str:
        """The function `served`, which installs what comes from an index of its own from there alone;
        what that needs comes from any."""
        unset = "PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS UV_INDEX_URL UV_DEFAULT_INDEX UV_INDEX UV_EXTRA_INDEX_URL UV_FIND_LINKS"
        upgrade = "--upgrade " * any(word.startswith("--upgrade") for word in self.words)
        lines = [
            f"(unset {unset}; installer $pip install {upgrade}--no-deps -r {f})" for f in files
        ]
        lines += [f"inventory served >>{LIMITS_FILE}"] * bool(files)
        return "served() {\n" + "\n".join([*lines, ":"]) + "\n}\n"

    def script(self, session: Session, env: Env, config: dict[str, Any]) -> str:
        """What the container's shell reads from stdin."""
        lines, engine = env.requirements(), session.engine
        typed = [*(line.text for line in self.packages), *self.lines]
        typed += [value for _, value in self.wanted.options]
        settings = env_settings(session, env, "\n".join(typed))
        uid, _, gid = (config.get("User") or "0:0").partition(":")
        job = shell_join([INVENTORY_PY, inventory_job(lines, self.wanted)])
        git = "GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'"
        copy = f"copy={shlex.quote(COPY_PY)}\nexport {git}\n" * bool(self.mounts)
        options = "" if self.alone else installer_options(lines, self.wanted)
        files = {**self.files, OPTIONS_FILE: options}
        files[LINES_FILE] = "".join(line + "\n" for line in self.lines)
        files[LIMITS_FILE] = "".join(line + "\n" for line in self.limits)
        served = {f"{SERVED}/{i}": text for i, text in enumerate(self.served_files(lines))}
        texts = [
            f"mkdir -p {shell_join([os.path.dirname(path)])}\n{heredoc(['cat'], text, path)}\n"
            for path, text in {**files, **served}.items()
            if text
        ]
        how = shlex.quote("freeze" if env.scripted else "tell")
        return (
            f"{BASE_PATH_SH}\n{engine.secret(settings)}"
            f"USER_UID={uid} USER_GID={gid or uid}\n{copy}{''.join(texts)}"
            f'inventory() {{ python3 -BISc {job} "$uv" "$1"; }}\n{self.served_sh([*served])}{CHANGE_SH}inventory {how}\n'
        )


def asked_words(lines: Sequence[Requirement]) -> list[str]:
    """What `update` resolves anew: what was asked for, and the ranges of what came along."""
    return [
        line.word
        for line in lines
        if line.kind == "requirement" and not line.url and (line.range or not line.via)
    ]


def installer_for(session: Session, env: Env, change: Change) -> str:
    """As `uv_folder`. PydockError where pip cannot do it."""
    uv = uv_folder(session, env)
    if change.builds and not uv:
        raise PydockError(
            f"{change.builds[0]} has dynamic dependencies, which only uv can resolve",
            "pydock config --global installer uv",
        )
    if uv:
        change.settle_strategy()
    return uv


def commit_change(
    session: Session, env: Env, change: Change, command: Sequence[str], base: str
) -> Image | None:
    """Container, installer, freeze, commit to the temporary tag, then the files: until the tag
    moves, nothing is lost."""
    env.hold()
    engine, lines = session.engine, env.requirements()
    config = existing_image(engine, base).config
    change.wanted.lock |= change.verb == "lock" or is_locked(lines)
    if change.verb in ("install", "update"):
        change.settle_index(env, lines)
    change.settle_projects(env)
    for path, _ in change.mounts:
        require_local_engine(
            engine, path, "put it on an index, or a web server, that the engine can reach"
        )
    try:
        uv = installer_for(session, env, change)
        mounts = [*change.mounts, *[(uv, "/uv")] * bool(uv)]
        words = change.arguments(lines)
        projects = change.wanted.projects if change.python else change.projects
        if projects:
            base = install_projects(session, env, base, projects)
            change.bases.append(base)
        nothing = words == change.words and not (change.lines or change.mounts or change.files)
        nothing &= bool(change.python or change.projects)
        argv = ["/bin/sh", "-s", "--", *(["lock"] if nothing else [change.verb, *words])]
        options = install_options(cache_volume(env), mounts)
        script = change.script(session, env, config)
        options += network_options(session, script)
        argv = temporary_argv(env.temporary, base, config, argv, options)
        doing = change.verb.rstrip("e") + "ing the packages"
        found = engine.run(*argv, data=script, capture="found", show=True, doing=doing)
    except EngineError as error:
        failed = change_error(env, change, error, command)
        failed.hint = failed.hint or login_hint(session, env, "")
        raise failed from None
    if env.scripted:
        if change.dockerfile:
            env.write("dockerfile", change.dockerfile)
        env.fetch(engine, bool(change.mounts))
        labels = labels_for(env, env.hashes(), command)
        commit(engine, env, env.temporary_tag, config, {**labels, **found_labels(found)})
        return None
    inventory = Inventory(found, change.wanted.projects.values())
    wheels = env.fetch(engine, True)[1] if change.mounts else []
    text = frozen(env, change, lines, inventory, wheels, bool(uv))
    dockerfile = change.dockerfile or env.read("dockerfile")
    engine.run("cp", "-", env.temporary + ":/", data=archive_of(dockerfile, text), capture="-")
    labels = labels_for(env, (text_hash(dockerfile), text_hash(text)), command)
    commit(engine, env, env.temporary_tag, config, {**labels, **inventory.labels()})
    if dockerfile != env.read("dockerfile"):
        keep_dockerfile(env, dockerfile, True)
    keep_files(env, text, wheels)
    warn_ignored(env, wheels)
    return find_image(engine, env.temporary_tag)


def frozen(
    env: Env,
    change: Change,
    lines: Sequence[Requirement],
    found: Inventory,
    new: Sequence[str],
    uv: bool,
) -> str:
    """The next requirements.txt, and what is to be said of it. `new` are wheels that lie as
    `wheels/.NAME` yet."""
    wanted = change.wanted
    if change.verb == "update":  # which uninstalled them
        gone = [line.name for line in lines if line.via and line.name not in found.packages]
        wanted.removed += gone
    for wheel in new:
        asked = Requirement()
        asked.name = name_of_url(wheel)
        wanted.packages.setdefault(asked.name, asked)
    for pin in [package.pin for package in found.packages.values()] if wanted.lock else []:
        if pin.wheel:
            hidden = "." if pin.wheel in new else ""
            wanted.wheels[pin.wheel] = "sha256:" + wheel_hash(env, hidden + pin.wheel)
    freeze = Freeze(lines, found, wanted)
    try:
        text = freeze.text()
    except NoHash as error:
        if not uv and not error.hint:
            raise PydockError(
                f"cannot lock {env.name} without uv: {error}",
                "pydock config --global installer uv",
            ) from None
        how = error.hint or "get its wheel (pip download --no-deps …)"
        hint = f"{how}, then: pydock install {env.title} ./FILE.whl"
        raise PydockError(f"cannot lock {env.name}: {error}", hint) from None
    for what, pins in (
        ("locked for one platform, as only one file is known", freeze.few),
        ("not locked, as they are for other platforms", freeze.none),
    ):
        if pins:
            console.info(f"{what}: {', '.join(pins)}")
    unneeded = [
        line.name
        for line in lines
        if line.via and line.name in found.packages and not found.packages[line.name].by
    ]
    if unneeded and change.verb == "uninstall":
        names = " ".join(unneeded)
        console.info(f"no longer needed: {names}; to remove: pydock uninstall {env.title} {names}")
    return text


def archive_of(dockerfile: str, requirements: str) -> str:
    """The environment's files as `docker cp` takes them, whatever a package has made of them; from
    the root on: podman follows a link at the place itself to what is mounted from this host."""
    import tarfile

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, text in (("dockerfile", dockerfile), ("requirements.txt", requirements)):
            data = text.encode(errors="surrogateescape")
            member = tarfile.TarInfo("opt/pydock/" + name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue().decode(errors="surrogateescape")


def change_error(
    env: Env, change: Change, error: EngineError, command: Sequence[str]
) -> PydockError:
    """The error behind a failed installer. What it said decides nothing, it only helps to find a
    fitting hint."""
    if error.code == 41:
        hint = "give all of them in one command, with versions that fit"
        hint = "also uninstall what needs them" if change.wanted.removed else hint
        return PydockError("these packages are incompatible (see above)", hint)
    dockerfile = env.read("dockerfile")
    said = re.sub("(?m)^(.{500}).*", r"\1", error.output)  # or a line of others takes long
    for pattern, lack, package in CAUSES:
        wanted = [package]
        if package == "build-essential" and not base_of(dockerfile)[1]:  # a distribution's Python
            wanted.append("python3-dev")
        if re.search(pattern, said, re.M) and with_apt(dockerfile, wanted) != dockerfile:
            mode = "" if env.title == env.name else f"--{env.scope.mode} "
            words = command if command[0] in ("create", "install") else ["install", env.name]
            apt = " ".join(f"--apt {name}" for name in wanted)
            hint = f"pydock {mode}{words[0]} {apt} {shell_join(words[1:])}"
            return PydockError(f"the image of {env.name} lacks {lack} (see above)", hint)
    names = " ".join([*change.named, *change.wanted.removed]) or "the packages"
    return PydockError(f"cannot {change.verb} {names} in {env.name} (see above)")


# --------------------------------------------------------------------------------------------------
# System packages, and another Python: install --apt, update --python


def add_apt(
    session: Session, env: Env, images: dict[str, Image], change: Change, command: Sequence[str]
) -> bool:
    """Writes system packages into the dockerfile and builds it; where that fails, the dockerfile is
    the old one again. Whether it built. Only under the environment's lock."""
    old = env.read("dockerfile")
    new = with_apt(old, change.apt)
    if new is None:
        line = "RUN apt-get update && apt-get install -y --no-install-recommends "
        hint = f"add before ARG USERNAME: {line}{' '.join(change.apt)}"
        raise PydockError(f"{env.path('dockerfile')} has no apt-get line", hint)
    if new == old:
        return False
    try:
        keep_dockerfile(env, new, True)
        rebuild(session, env, images, command)
    except BaseException:
        latest = find_image(session.engine, env.latest)
        if not latest or latest.hashes != env.hashes():  # it has not become the new one yet
            keep_dockerfile(env, old, True)
        raise
    return True


def with_python(dockerfile: str, version: str) -> str:
    """The dockerfile with another Python; empty where its base image does not tell its version."""
    found = base_from(dockerfile)
    if not found or not base_of(dockerfile)[1] or not re.fullmatch(VERSION, version):
        return ""
    image = re.sub(rf"(python:){VERSION}", rf"\g<1>{version}", found.group(2).partition("@")[0])
    return dockerfile[: found.start(2)] + image + dockerfile[found.end(2) :]


def bare_image(session: Session, env: Env, change: Change, command: Sequence[str]) -> str:
    """An image of the environment with another Python and without its packages, built in a hidden
    folder beside it; the change then brings all that requirements.txt asks for. Only under the
    environment's lock."""
    old, lines = env.read("dockerfile"), env.requirements()
    env.made_here |= is_allowed(env, "dockerfile")
    new = with_python(old, change.python)
    if new == old:
        raise PydockError(f"{env.name} already has Python {change.python}")
    if not new:
        raise PydockError(
            f"cannot change {env.name} to Python {change.python}: its base image is {base_of(old)[0]}",
            f"edit the FROM in {env.path('dockerfile')}, then: pydock build {env.title}",
        )
    again = f"update {env.title} --python"
    reference = get_base(session, env, new, line=again, present=base_of(old)[1])
    image = find_image(session.engine, reference) if "@" in base_of(old)[0] else None
    digest = image.digest_of(reference) if image else ""
    change.dockerfile = pinned(new, digest) if digest else new
    for line in lines:
        if line.wheel and wheel_hash(env, line.wheel):
            add_local(change, line, env.path(f"wheels/{line.wheel}"))
        elif line.url and line.kind == "requirement":
            change.lines.append(line.body)
    base, folder = env.temporary_tag + "-base", env.staging
    env.stage()
    try:
        with env.lock():  # of the hidden folder, or another command would take it for a dead one's
            for file, text in (("dockerfile", change.dockerfile), ("requirements.txt", "")):
                env.write(file, text)
            build_image(session, env, command, Build(base, {}))
    finally:
        env.clear(os.path.basename(env.staging))
        env.staging = folder
    change.bases.append(base)
    return base


def install_options(cache: str, mounts: Sequence[tuple[str, str]]) -> list[str]:
    """The cache of downloads, and what is mounted for an installer, read-only."""
    argv = ["-w", "/opt/pydock", "-v", cache + ":/cache"]
    for source, target in mounts:
        argv += ["--mount", mount_value(source, target, True)]
    return argv


# --------------------------------------------------------------------------------------------------
# What packages are asked for: words, files, options of pip


def package_change(
    session: Session, env: Env, verb: Sequence[str], words: Sequence[str], args: argparse.Namespace
) -> Change:
    """The change that PKG…, -r FILE and the index options of a command line ask for."""
    change = Change(verb[0], verb[1:])
    change.title = env.title
    for word in words:
        no_password(word, f"'{word}'")
        if re.search(r"[\x00-\x1f\x7f]", word) or not word.strip():
            raise PydockError(f"{word!r} is not a requirement")
        check_no_file(args.line, word)
        check_no_version(args, word)
        add_word(change, word)
    for option, value in (
        ("--index-url", args.index_url),
        *(("--extra-index-url", url) for url in args.extra_index_url),
    ):
        if value:
            no_password(value, option)
            change.wanted.options.append((option, value))
    if args.pre:
        keep_option(change, ("--pre", ""))
    files = [("--requirement", file) for file in args.requirement]
    files += [("--constraint", file) for file in args.constraint]
    for option, file in files + add_installer_words(change, args.installer_args):
        if option == "--constraint":
            add_file(change, file, True)
        else:
            add_named(session, env, change, args, file)
    add_projects(session, env, change, args)
    if (args.extra or args.group) and not change.project:
        raise PydockError("--extra and --group need a project", "add -r pyproject.toml", 2)
    change.named = [*words, *args.requirement, *(line.body for line in change.projects.values())]
    return change


def add_projects(session: Session, env: Env, change: Change, args: argparse.Namespace) -> None:
    """-e FOLDER of the command line and of files: what the projects need."""
    for word in getattr(args, "editable", ()):
        line = read_requirements("-e " + shlex.quote(word), "the command line")[0]
        if line.is_project:
            change.projects[absolute_path(os.path.expanduser(line.url), real=True)] = line
        else:
            add_line(change, line, Included("", "the command line", 0))
    for path, line in list(change.projects.items()):
        env.check_local(line, "the command line")
        top = os.path.realpath(os.path.dirname(env.scope.root))
        line.url = re.sub("^[^.]", r"./\g<0>", os.path.relpath(path, top))
        line.body = project_text(line.url, line.extras)
        env.project_of(line, "the command line")
        wanted = [("extra", extra) for extra in line.extras]
        wanted += [("extra", name) for name in args.extra]
        wanted += [("group", name) for name in args.group]
        file = "pyproject.toml" if os.path.exists(path + "/pyproject.toml") else "setup.py"
        add_needs(session, env, change, f"{path}/{file}", wanted)


def add_installer_words(change: Change, given: Sequence[str]) -> list[tuple[str, str]]:
    """Options of pip's, and of whatever installs, which come after --; those that name files are
    the answer. PydockError names one that cannot be."""
    words, files = list(given), []
    once: list[str] = []
    while words:
        no_password(words[0], f"'{words[0]}'")
        name = option_name(words[0])
        fate = FATE.get(name, "")
        if not fate:
            if not words[0].startswith("-") and (not once or once[-1] in FATE):
                raise PydockError(f"'{words[0]}' is not an option", "packages go before --", 2)
            once.append(words.pop(0))
            continue
        try:
            option = next_option(words, PIP_OPTIONS)
        except ValueError as error:
            raise PydockError(str(error), status=2) from None
        if fate == "kept":
            no_password(option[1], name)
            keep_option(change, option)
        elif fate == "file":
            files.append(option)
        elif fate == "passed":
            change.words.append("=".join(filter(None, option)))
        elif fate == "once":
            once.append(name)
        elif fate != "idle":
            raise PydockError(f"{name} is not supported: {fate}", status=2)
    change.words += once
    say_once(once)
    return files


def say_once(words: Sequence[str]) -> None:
    if words:
        console.info(f"{' '.join(words)} applies only this time: requirements.txt cannot record it")


def add_word(change: Change, word: str) -> None:
    """A package of the command line."""
    if word.startswith("-"):
        raise PydockError(f"'{word}' is not a package", "put options of the installer after --")
    line = Requirement(word)
    try:
        read_requirement(line, word.strip())
    except ValueError as error:
        conda = re.fullmatch(rf"({IDENTIFIER}(?:{EXTRAS})?) ?= ?([^=\s]+)(=.*)?", word)
        hint = f"{conda.group(1)}=={conda.group(2)}" if conda else ""
        raise PydockError(f"'{word}' is {error}", hint) from None
    if is_local(line):
        add_local(change, line, check_link(os.path.expanduser(local_path(line))))
        return
    if os.path.isdir(word):
        console.info(
            f"installing '{word}' from the index; for the folder of this name, type ./{word}"
        )
    change.packages.append(line)
    if line.name:
        change.wanted.packages[line.name] = line


def is_local(line: Requirement) -> bool:
    return bool(line.url) and (line.url.startswith("file:") or "://" not in line.url)


def local_path(line: Requirement) -> str:
    found = re.fullmatch(r"file:(?://)?(/.*)", line.url)
    return unquote(found.group(1)) if found else re.sub("^file:", "", line.url)


def add_local(change: Change, line: Requirement, path: str) -> None:
    """A wheel or a folder of this host."""
    if not os.path.exists(path):
        hint = "give a name, a requirement, a URL, or a local wheel or folder"
        if line.name and line.url.startswith("file:"):
            hint = "for a list without local paths: conda run -n ENV pip list --format=freeze"
        raise PydockError(f"no such file or folder: {path}", hint)
    project = [name for name in ("pyproject.toml", "setup.py") if os.path.exists(f"{path}/{name}")]
    if os.path.isdir(path) and not project:
        raise PydockError(f"{path} is not a project: it has no pyproject.toml or setup.py")
    check_hashes(line, path)
    change.wanted.lock |= bool(line.hashes)
    extras = with_extras("./", line.extras)[2:] + (f" ; {line.marker}" if line.marker else "")
    number = str(len(change.mounts))
    if extras:
        change.files[f"/dev/shm/extras/{number}"] = extras
    visible = os.path.basename(path).lstrip(".") or "project"
    change.mounts.append((path, f"/dev/shm/src/{number}/{visible}"))
    asked = Requirement()
    asked.extras, asked.name = line.extras, line.name or name_of_url(path)
    asked.marker = line.marker
    if asked.name:
        change.wanted.packages[asked.name] = asked


def check_hashes(line: Requirement, path: str) -> None:
    """PydockError where a file of this host is none that its line allows."""
    if not line.hashes:
        return
    with Folder(os.path.dirname(path), own=False) as folder:
        with folder.open(os.path.basename(path)) as file:
            if "sha256:" + stream_hash(file) not in line.hashes:
                raise PydockError(f"{path} does not match its --hash")


def check_link(path: str) -> str:
    """The real path of what a user named. PydockError where a link, which may be a stranger's,
    leads out of where it lies."""
    real = absolute_path(path, real=True)
    if not lies_in(real, os.path.dirname(absolute_path(path).rstrip("/"))):
        raise PydockError(
            f"{path} is a symbolic link to {real}", "if you mean that one, give its own path"
        )
    return real


class Included:
    """A line of a requirements file that the user may not have written. What it names of this host
    must lie in the folder of the file that was named on the command line, in the current folder, or
    in the project's."""

    def __init__(self, top: str, file: str, number: int) -> None:
        self.top, self.file, self.number = top, file, number

    def check(self, path: str) -> None:
        if not lies_in(path, os.path.dirname(self.top)):
            raise PydockError(
                f"{place_in(self.file, self.number)} names {path}, which is outside its folder and the current one",
                "if you mean it, give it on the command line",
            )

    def read(self, file: str) -> bytes:
        """A file that this line includes."""
        path = absolute_path(file, real=True)
        self.check(path)
        with Folder(os.path.dirname(path), own=False) as folder:
            return folder.read(os.path.basename(path))


def add_file(change: Change, path: str, limits: bool = False) -> None:
    """-r FILE, or -c FILE: what it and the files that it includes say becomes one file of the
    container."""
    if re.match("https?://", path):
        no_password(path, path)
        (change.limits if limits else change.lines).append(f"-{'c' if limits else 'r'} {path}")
        say_once([f"-c {path}"] * limits)
        return
    path = absolute_path(without_scheme(path))
    pending: list[tuple[str, Included | None, bool]] = [(path, None, limits)]
    seen: set[tuple[str, bool]] = set()
    while pending:
        file, included_by, limits = pending.pop()
        if (file, limits) in seen:
            continue
        seen.add((file, limits))
        text = file_text(file, included_by)
        for line in read_requirements(text, file):
            here = Included(path, file, line.number)
            check_variables(line, here.file)
            if line.kind == "include" and "://" not in line.url:
                included = os.path.normpath(os.path.join(os.path.dirname(file), line.url))
                of_limits = limits or line.options[0][0] == "--constraint"
                pending.append((included, here, of_limits))
            elif limits and line.kind == "requirement":
                add_limit(change, line)
            else:
                add_line(change, line, here)


def file_text(file: str, included_by: Included | None = None) -> str:
    try:
        return decode_requirements(included_by.read(file) if included_by else read_named(file))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it does not match its byte order mark"
        raise PydockError(f"cannot read {file}: {why}") from None


def read_named(file: str) -> bytes:
    """A file that the user has named. PydockError where it is too large to be one of words."""
    # <(…) is a link whose real path is no file; a stranger's link to a pipe is one as any other.
    pipe = file.startswith(("/dev/", "/proc/")) and stat.S_ISFIFO(os.stat(file).st_mode)
    with open(file if pipe else check_link(file), "rb") as handle:
        data = handle.read(MAX_TEXT + 1)
    if len(data) > MAX_TEXT:
        raise PydockError(f"{file} is larger than 16 MiB")
    return data


def add_limit(change: Change, line: Requirement) -> None:
    """A constraint: a range for whatever it names."""
    change.limits.append(line.body)
    limits = change.wanted.limits
    if line.specifier:
        limits[line.name] = joined([limits.get(line.name, ""), line.specifier])


def keep_option(change: Change, option: tuple[str, str], origin: str = "") -> None:
    change.wanted.options.append(option)
    said = masked(option_text(*option))
    console.info(f"{said}{origin} will be kept for the environment")


def add_options(change: Change, line: Requirement, here: Included) -> None:
    """An option line of a requirements file, which holds for the environment from now on."""
    for option in line.options:
        if option[0] == "--find-links" and "://" not in option[1]:
            raise PydockError(
                f"{place_in(here.file, line.number)}: containers cannot see the folder {option[1]}",
                f"pydock install {change.title} /PATH/TO/THE.whl copies a wheel",
            )
        if option[0] == "--require-hashes":
            change.wanted.lock = True
        else:
            keep_option(change, option, f", a line of {here.file},")


def add_line(change: Change, line: Requirement, here: Included) -> None:
    """A line of a requirements file."""
    no_password(line.body, f"a line of {here.file}")
    if line.kind == "option":
        add_options(change, line, here)
    elif line.kind == "include":
        change.lines.append(option_text(*line.options[0]))
        say_once([line.body] * (line.options[0][0] == "--constraint"))
    elif line.is_project:
        path = absolute_path(os.path.join(os.path.dirname(here.file), line.url), real=True)
        here.check(path)
        change.projects[path] = line
    elif line.kind == "requirement" and is_local(line):
        named = os.path.expanduser(local_path(line))
        path = os.path.join(os.path.dirname(here.file), named)
        if not os.path.exists(path):  # as pip has it: from the current folder
            path = named
        path = absolute_path(path, real=True)
        if os.path.exists(path):
            here.check(path)
        add_local(change, line, path)
    elif line.kind:
        change.lines.append(line.url if line.kind == "editable" else line.body)
        change.wanted.lock |= bool(line.hashes)
        if line.name:
            change.wanted.packages[line.name] = line
            change.wanted.marked += [line] * bool(line.marker)


# --------------------------------------------------------------------------------------------------
# Projects: pyproject.toml, uv.lock, and the files of other tools


# Files that pydock does not read: what each is, and what makes something of it that pydock reads.
OTHER_FILES = (
    (r"poetry\.lock", "Poetry's lock file", "poetry export -o requirements.txt"),
    (r"pdm\.lock", "PDM's lock file", "pdm export -o requirements.txt"),
    (r"Pipfile", "Pipenv's list of packages", "pipenv requirements >requirements.txt"),
    (r"Pipfile\.lock", "Pipenv's lock file", "pipenv requirements --hash >requirements.txt"),
    (
        r"environment.*\.ya?ml",
        "conda's description of an environment",
        "conda run -n ENV pip list --format=freeze >requirements.txt",
    ),
    (r"setup\.(py|cfg)", "setuptools' description of a project", ""),
)


def typed_with(line: Sequence[str], word: str, *words: str) -> str:
    """A command line with these words in the place of one."""
    parts = [list(words) if typed == word else [typed] for typed in line]
    return f"pydock {shell_join([typed for part in parts for typed in part])}"


def check_other_file(line: Sequence[str], path: str) -> None:
    """PydockError where the name of a file says that it is another tool's. `line` has it as it would
    have a package."""
    for pattern, what, command in OTHER_FILES:
        if re.fullmatch(pattern, os.path.basename(path)):
            folder = os.path.join(os.path.dirname(path) or ".", "")
            hint = f"the project itself: {typed_with(line, path, folder)}"
            if command:
                hint = f"{command}; then: {typed_with(line, path, '-r', 'requirements.txt')}"
            raise PydockError(f"{path} is {what}, which pydock does not read", hint)


def check_no_file(line: Sequence[str], word: str) -> None:
    """PydockError where a word that should be a package is the name of a file of them."""
    if re.match(r"[./~]|\w+:", word) and not os.path.isfile(word):
        return
    if os.path.isfile(word) or re.fullmatch(
        r"Pipfile.*|environment.*\.ya?ml|setup\.(py|cfg)", word
    ):
        check_other_file(line, word)
    known = r"(.*/)?(requirements[\w.-]*\.txt|pyproject\.toml|pylock(\..+)?\.toml|uv\.lock)"
    listed = word.endswith((".txt", ".toml", ".lock")) and os.path.isfile(word)
    if listed or re.fullmatch(known, word):
        raise PydockError(f"'{word}' is a file, not a package", typed_with(line, word, "-r", word))


def check_no_version(args: argparse.Namespace, word: str) -> None:
    """PydockError where a word that should be a package is a version; `create` says more of one."""
    line = list(args.line)
    if line[0] == "create" or not re.fullmatch(r"v?\d+(\.\d+)+", word):
        return
    name = line[line.index(word) - 1]
    line[line.index(word) - 1 : line.index(word) + 1] = [f"{name}=={word}"]
    hint = f"pydock {shell_join(line)}" * (name in args.packages)
    raise PydockError(f"'{word}' is a version, not a package", hint)


def add_named(
    session: Session, env: Env, change: Change, args: argparse.Namespace, file: str
) -> None:
    """-r FILE, by its name."""
    pairs = zip(args.line, [*args.line[1:], ""])
    check_other_file([w for w, after in pairs if (w, after) != ("-r", file)], file)
    found = re.fullmatch(rf"(.*\.toml)({EXTRAS})", file)
    path = absolute_path(found.group(1) if found else file)
    wanted = [("extra", name) for name in re.findall(IDENTIFIER, found.group(2) if found else "")]
    wanted += [("extra", name) for name in args.extra] + [("group", name) for name in args.group]
    name = os.path.basename(path)
    if "://" in file or not (name.endswith((".toml", ".py")) or name == "uv.lock"):
        add_file(change, file)
        return
    add_needs(session, env, change, path, wanted)


def add_needs(
    session: Session, env: Env, change: Change, path: str, wanted: Sequence[tuple[str, str]]
) -> None:
    """What a pyproject.toml, with these extras and groups, a lock file or a script asks for."""

    def needs() -> Iterable[Requirement]:
        if os.path.basename(path) in ("pyproject.toml", "setup.py", "uv.lock"):
            return project_lines(session, env, change, path, wanted)
        if path.endswith(".py"):
            return script_lines(session, env, change, path, metadata_of(path))
        return pylock_lines(change, path, read_toml(session, env, path))

    for line in valid_lines(path, needs):
        line.number = 0  # none of this file
        here = Included(path, path, 0)
        check_variables(line, here.file)
        add_line(change, line, here)


def valid_lines(path: str, needs: Callable[[], Iterable[Requirement]]) -> list[Requirement]:
    """What a file asks for; one line where something in it is not of its type."""
    try:
        return list(needs())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PydockError(f"{path} is invalid: {error}") from None


FILES = "/dev/shm/files"


def pylock_lines(change: Change, path: str, data: dict[str, Any]) -> Iterator[Requirement]:
    """The indexes of a pylock.toml, which the installer itself reads."""
    add_python(change, path, entry(data, "requires-python", ""))
    change.files[FILES + path] = text = file_text(path)
    no_password(text, f"a line of {path}")
    change.words += ["-r", FILES + path]
    change.alone = True
    return index_lines(entry(package, "index", "") for package in entry(data, "packages", []))


def project_lines(
    session: Session, env: Env, change: Change, path: str, wanted: Sequence[tuple[str, str]]
) -> Iterable[Requirement]:
    """What a project needs, by its pyproject.toml, or by the uv.lock beside it."""
    change.project = path
    beside = re.sub(r"uv\.lock$", "pyproject.toml", path)
    project = Pyproject(beside, {} if path.endswith(".py") else read_toml(session, env, beside))
    if path != beside:
        project.chosen(wanted)
        return locked_lines(session, env, change, path, wanted)
    lines = project.lines(change, wanted)
    if project.built:
        project.add_build(change, wanted)
    return lines


def locked_lines(
    session: Session, env: Env, change: Change, path: str, wanted: Sequence[tuple[str, str]]
) -> Iterator[Requirement]:
    """What a uv.lock pins, as uv itself tells it, in a container without network; and the indexes
    that it came from. Other members of its workspace are built from copies."""
    data = read_toml(session, env, path)
    add_python(change, path, entry(data, "requires-python", ""))
    uv = uv_folder(session, env)
    image = fetcher_image(session, env) if uv else ""
    if not image:
        raise PydockError(f"reading {path} needs uv", "pydock config --global installer uv")
    files = [os.path.join(os.path.dirname(path), name) for name in ("pyproject.toml", "uv.lock")]
    script = "".join(
        heredoc(["cat"], file_text(file), os.path.basename(file)) + "\n" for file in files
    )
    script += (
        "exec /uv/bin/uv export -q --frozen --offline --no-emit-project --no-editable --no-header "
    )
    script += f"--no-annotate --no-default-groups {shell_join(uv_options(wanted))}\n"
    look = [*look_argv(image)[:-1], "-i", "-w", "/tmp", "--mount", mount_value(uv, "/uv", True)]
    try:
        pins = session.engine.output(*look, image, "/bin/sh", "-s", data=script)
    except EngineError as error:
        raise PydockError(f"uv cannot read {path}: {error.output}") from None
    packages = entry(data, "package", [])
    yield from index_lines(entry(package, "source.registry", "") for package in packages)
    yield from read_requirements(pins, path)


def uv_options(wanted: Sequence[tuple[str, str]]) -> list[str]:
    return [f"--{kind}={name}" for kind, name in wanted]


def add_python(change: Change, path: str, specifier: str) -> None:
    fits("3", specifier)
    if specifier:
        change.pythons.append((path, specifier))


def index_lines(urls: Iterable[str]) -> Iterator[Requirement]:
    """Those of the indexes, beside PyPI, that a lock file names."""
    for url in sorted({url for url in urls if url.startswith("http")}):
        if url != "https://pypi.org/simple":
            yield index_line("--extra-index-url", url)


def index_line(option: str, url: str) -> Requirement:
    """A line of options. ValueError where the index is none that a container reaches."""
    if not re.fullmatch(r"https?://[^\s\\'\"]+", url):
        raise ValueError(f"{url!r} is not an index")
    line = Requirement()
    line.kind, line.body, line.options = "option", f"{option} {url}", [(option, url)]
    return line


def read_toml(session: Session, env: Env, path: str, text: str = "") -> dict[str, Any]:
    """The TOML of a file, or a text of it, as the standard library reads it; where the host's Python
    is older than 3.11, by one in a container without network."""
    import importlib

    program = "import json, sys; from pip._vendor import tomli; json.dump(tomli.load(sys.stdin.buffer), sys.stdout, default=str)"
    text = text or file_text(path)
    try:
        library = importlib.import_module("tomllib")
    except ImportError:
        library = None
    try:
        if library:
            return dict(library.loads(text))
        image = fetcher_image(session, env)
        if not image:
            raise ValueError("that needs Python 3.11 or newer on this host, or a base image")
        argv = [*look_argv(image)[:-1], "-i", image, "python3", "-IBc", program]
        return dict(from_json(session.engine.output(*argv, data=text)))
    except (ValueError, RecursionError, EngineError) as error:
        said = (getattr(error, "output", "") or str(error)).splitlines()[-1]
        raise PydockError(f"cannot read {path}: {said}") from None


def entry(data: dict[str, Any], path: str, empty: Any) -> Any:
    """What stands under a dotted name, of the type of `empty`, which is the answer where it is not
    there. ValueError where it is something else."""
    *above, last = path.split(".")
    for key in above:
        data = entry(data, key, {})
    found = data.get(last, empty)
    if not isinstance(found, type(empty)):
        raise ValueError(f"{path} is {found!r:.40}")
    return found


class Pyproject:
    """What a pyproject.toml says of what its project needs: requirements by extra ('' for those of
    the project), and by group. ValueError where something is not of its type."""

    def __init__(self, path: str, data: dict[str, Any]) -> None:
        self.path, self.data = path, data
        self.name = canonical(entry(data, "project.name", ""))
        extras = entry(data, "project.optional-dependencies", {})
        self.extras = {canonical(extra): list(items) for extra, items in extras.items()}
        groups = entry(data, "dependency-groups", {})
        self.groups = {canonical(group): list(items) for group, items in groups.items()}
        self.own = entry(data, "project.dependencies", [])
        sources = entry(data, "tool.uv.sources", {})
        self.indexes = {
            index.get("name", ""): index["url"]
            for index in entry(data, "tool.uv.index", [])
            if not index.get("default")
        }
        self.sources = {
            canonical(name): source if isinstance(source, list) else [source]
            for name, source in sources.items()
        }
        dynamic = entry(data, "project.dynamic", [])
        self.built = not {"dependencies", "optional-dependencies"}.isdisjoint(dynamic)
        legacy = os.path.exists(os.path.join(os.path.dirname(path), "setup.py"))
        self.built |= "project" not in data and ("build-system" in data or legacy)  # also Poetry's

    def lines(self, change: Change, wanted: Sequence[tuple[str, str]]) -> list[Requirement]:
        """What its project needs, with these extras and groups, and from which indexes."""
        add_python(change, self.path, entry(self.data, "project.requires-python", ""))
        needs = self.chosen(wanted)
        lines = [found for line in needs for found in self.from_source(line, change.title)]
        used = [source.get("index") for line in needs for source in self.sources.get(line.name, [])]
        for index in entry(self.data, "tool.uv.index", []):
            if not index.get("explicit") or index.get("name") in used:
                option = "--index-url" if index.get("default") else "--extra-index-url"
                lines.append(index_line(option, index["url"]))
                if index.get("explicit"):
                    console.info(
                        f"other packages may come from {index['url']}, too: requirements.txt cannot limit an index to {index['name']}"
                    )
        return lines

    def chosen(self, wanted: Sequence[tuple[str, str]]) -> list[Requirement]:
        """What its project needs, with these extras and groups. Says what was left out."""
        seen: set[tuple[str, str]] = set()
        needs = list(self.needs([("extra", ""), *wanted], seen))
        left = []
        for kind, known in (("extra", self.extras), ("group", self.groups)):
            names = [name for name in known if (kind, name) not in seen]
            if names:
                left.append(f"the {kind}{'s' * (len(names) > 1)} {', '.join(names)}")
        if left:
            console.info(f"{os.path.basename(self.path)} also has {' and '.join(left)}")
        return needs

    def add_build(self, change: Change, wanted: Sequence[tuple[str, str]]) -> None:
        """What only its build tells is read by the installer, in a copy."""
        for name, sources in self.sources.items():
            if any({"path", "workspace"} & set(source) for source in sources):
                raise PydockError(
                    f"{self.path} takes {name} from a folder, and its dependencies are dynamic"
                )
        folder = os.path.dirname(self.path)
        place = f"/projects/{len(change.builds)}/{os.path.basename(folder) or 'project'}"
        change.builds.append(folder)
        change.mounts.append((folder, "/dev/shm" + place))
        extras = [(kind, name) for kind, name in wanted if kind == "extra"]
        file = f"/tmp{place}/{os.path.basename(self.path)}"
        change.words += ["-r", file, *uv_options(extras)]

    def needs(
        self, wanted: Sequence[tuple[str, str]], seen: set[tuple[str, str]]
    ) -> Iterator[Requirement]:
        """The requirements of these extras and groups, and of those that they name; `seen` has all
        of them at the end."""
        for kind, asked in wanted:
            name = canonical(asked)
            known = self.groups if kind == "group" else {**self.extras, "": self.own}
            if name not in known and not (self.built and kind == "extra"):
                names = ", ".join(sorted(known)).strip(", ")
                hint = f"it has: {names}" if names else ""
                raise PydockError(f"{self.path} has no {kind} '{name}'", hint)
            if (kind, name) in seen:
                continue
            seen.add((kind, name))
            for item in known.get(name, []):
                if isinstance(item, dict):
                    yield from self.needs([("group", item["include-group"])], seen)
                    continue
                line = requirement_of(item)
                if line.name == self.name:
                    yield from self.needs([("extra", extra) for extra in line.extras], seen)
                else:
                    yield line

    def from_source(self, line: Requirement, title: str) -> Iterator[Requirement]:
        """A requirement from where [tool.uv.sources] takes it, for this environment."""
        if line.name not in self.sources:
            yield line
        for source in self.sources.get(line.name, []):
            url, place = source.get("url", ""), source.get("path", "")
            if place:
                url = "file://" + quote(os.path.join(os.path.dirname(self.path), place))
            if "git" in source:
                revision = source.get("rev") or source.get("tag") or source.get("branch")
                url = "git+" + source["git"] + (f"@{revision}" if revision else "")
            if source.get("subdirectory"):
                url += "#subdirectory=" + source["subdirectory"]
            if source.get("workspace"):
                raise PydockError(
                    f"{self.path} takes {line.name} from another folder of its workspace",
                    f"remove that line, then: pydock install {title} ./THAT-FOLDER",
                )
            asked = f"{line.name} @ {url}" if url else line.name + line.specifier
            markers = [f"({text})" for text in (line.marker, source.get("marker")) if text]
            asked = with_extras(asked, line.extras)
            found = requirement_of(asked + " ; " * bool(markers) + " and ".join(markers))
            found.index = self.indexes.get(source.get("index"), "")
            yield found


def requirement_of(item: str) -> Requirement:
    """A requirement that is no line of a file. ValueError where it is none."""
    line = Requirement()
    line.kind, line.body = "requirement", " ".join(item.split())
    try:
        read_requirement(line, line.body)
    except ValueError as error:
        raise ValueError(f"{item!r} is {error}") from None
    return line


def warn_ignored(env: Env, wheels: Sequence[str]) -> None:
    """Says so where the project's .gitignore keeps these from whoever clones it."""
    if not wheels or env.scope.mode != "local":
        return
    try:
        with Folder(os.path.dirname(env.scope.root), own=False) as folder:
            lines = folder.read(".gitignore")[:65536].decode(errors="replace").splitlines()
        found = [ignored(lines, env.name, wheel) for wheel in wheels]
    except (OSError, PydockError, re.error):  # it may be a link, or hold what is no pattern
        return
    for path in [path for path in found if path][:1]:
        if "/wheels/" in path:
            what = f"{path.rpartition('/')[2] or wheels[0]}, and nobody else can build {env.name} without it"
            remedy = "printf '!/.pydock/envs/*/wheels%s\\n' / '/*' >>.gitignore"
        else:
            what, remedy = f"{path[1:]}, with {env.name} in it", f"echo '!{path}' >>.gitignore"
        console.warn(f"git ignores {what}", remedy)


def ignored(lines: Sequence[str], name: str, wheel: str) -> str:
    """What these lines of a .gitignore leave out of a wheel that an environment keeps, and of the
    folders above it; empty where they do not."""
    parts = [".pydock", "envs", name, "wheels", wheel]
    for end in range(1, 6):
        left_out, path = False, parts[:end]
        for line in lines:
            pattern = line.strip().lstrip("!")
            words = ["**"] * ("/" not in pattern.rstrip("/")) + pattern.lstrip("/").split("/")
            words += ["*"] * (words[-1] == "**")  # what is inside, and not the folder itself
            if pattern and fits_path(path + [""] * (words[-1] == "" and end < 5), words):
                left_out = not line.startswith("!")
        if left_out:
            return f"/{'/'.join(path)}{'/' * (end < 5)}"
    return ""


def fits_path(path: Sequence[str], words: Sequence[str]) -> bool:
    """Whether a path is what a pattern says, both by their parts; ** is any number of them."""
    from fnmatch import fnmatchcase

    ends = {0}
    for word in words:  # what is longer than a name can be takes fnmatch for ever
        fit = {i + 1 for i in ends if path[i:] and len(word) < 256 and fnmatchcase(path[i], word)}
        ends = set(range(min(ends, default=99), len(path) + 1)) if word == "**" else fit
    return len(path) in ends


def fits(version: str, specifier: str) -> bool:
    """Whether a Python is what requires-python asks for; of 3.12 the newest 3.12.N is meant.
    ValueError where nobody understands it."""
    if len(specifier) > 256:
        raise ValueError("requires-python is too long")
    has, fitting = version_key(version), True
    has += [999] * (3 - len(has))
    for clause in filter(None, (clause.strip() for clause in specifier.split(","))):
        found = re.fullmatch(r"(~=|===?|!=|<=?|>=?)\s*v?(\d+(?:\.\d+)*)(\.\*)?[a-z0-9.+-]*", clause)
        if not found:
            raise ValueError(f"requires-python = {specifier!r}")
        sign, want = found.group(1), version_key(found.group(2))
        start = want[:-1] if sign == "~=" else want
        same = has[: len(start)] == start
        if not found.group(3) and sign != "~=":
            want += [0] * (3 - len(want))
            same = has == want
        good = {
            "~=": same and has >= want,
            "!=": not same,
            "<": has < want,
            ">": has > want,
            "<=": has <= want,
            ">=": has >= want,
        }
        fitting &= good.get(sign, same)
    return fitting


# --------------------------------------------------------------------------------------------------
# Start, stop, reset


@command("run", "start NAME", "start a background container, for quick runs", *RUN_OPTIONS)
def cmd_start(session: Session, args: argparse.Namespace) -> int:
    env = session.env(args.name)
    check_trust(env)
    options = start_options(session, env, args)
    place = run_folder(session, env)
    config = ready_image(session, env)
    with env.lock():
        hint = f"to restart it with these: pydock reset {typed_line(session.line, env)}"
        background = usable_background(session, env, options, hint)
        reconcile(session, env, config, background, StartRequest(place, options, kept=True))
    if background and background.running and background.inside(place, config) is None:
        console.warn(
            f"{env.name} is running with the folder {background.folder}, not this one",
            f"pydock reset {typed_line(session.line, env)}",
        )
    running = background and background.running
    done = f"{env.name} is already running" if running else f"started {env.name}"
    report(env, done, f"pydock run {env.title} …, pydock stop {env.title}")
    return 0


@command("run", "stop NAME…", "stop the background container", OPT_FORCE)
def cmd_stop(session: Session, args: argparse.Namespace) -> int:
    for env in [session.env(name) for name in dict.fromkeys(args.names)]:
        with env.lock():
            background = find_background(session.engine, env)
            if background:
                check_idle(session.engine, env, background, args.force, "stop")
            else:
                session.engine.raise_if_down()
            if background or env.has(COMPOSE) or is_started(env):
                remove_background(session.engine, env)
                forget_started(env)
        stopped = background or env.has(COMPOSE)
        report(env, f"stopped {env.name}" if stopped else f"{env.name} was not started")
    return 0


@command(
    "run", "reset NAME", "replace the background container with a new one", *RUN_OPTIONS, OPT_FORCE
)
def cmd_reset(session: Session, args: argparse.Namespace) -> int:
    env = session.env(args.name)
    check_trust(env)
    options = start_options(session, env, args)
    place = run_folder(session, env)
    config = ready_image(session, env)
    with env.lock():
        background = find_background(session.engine, env)
        if background:
            check_idle(session.engine, env, background, args.force, "reset")
            options = options or background.options
        if env.has(COMPOSE):  # an error before anything ends
            compose_file(
                session, env, describe_for_programs(session, env, config, env.background, place)
            )
        check_ports(session, env, options, background.published() if background else [])
        kept = is_kept(env) or not background
        if background:
            remove_background(session.engine, env)
        start_background(session, env, config, StartRequest(place, options, kept))
    report(env, f"restarted {env.name}", f"pydock run {env.title} …, pydock stop {env.title}")
    return 0


def check_idle(engine: Engine, env: Env, background: Background, force: bool, command: str) -> None:
    busy = processes(engine, background) if background.running and not force else []
    for _ in range(3 * bool(busy)):  # the engine's own look at its health takes a moment
        time.sleep(0.2)
        busy = busy and processes(engine, background)
    if busy:
        raise PydockError(
            f"still running in {env.name}: {', '.join(busy)}",
            f"end it first, or: pydock {command} --force {env.title}",
        )


def start_options(session: Session, env: Env, args: argparse.Namespace) -> list[str]:
    """The user's options for a container that can be started anew."""
    options = run_options(session.engine, args, keep=True)
    if options and env.has(COMPOSE):
        raise PydockError(
            f"such options of {env.name} belong in {env.path(COMPOSE)}",
            f"edit it, then: pydock reset {env.title}",
        )
    return options


# --------------------------------------------------------------------------------------------------
# The background container


def read_started(text: str) -> tuple[Place, list[str], str]:
    """What `start_label` wrote: folder, options, and what tells the folder from another one; empty
    where it is none of ours."""
    try:
        folder, other, options, id_ = from_json(text)
        good = isinstance(options, list) and all(
            isinstance(word, str) for word in [folder, other, id_, *options]
        )
    except (ValueError, TypeError, RecursionError):
        good = False
    return (Place(folder, folder, other), options, id_) if good else (Place("", ""), [], "-")


class Background:
    """The background container of a started environment, as `container inspect` tells it."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.name: str = data["Name"].lstrip("/")
        self.running: bool = data["State"]["Running"]
        self.removes_itself = bool((data.get("HostConfig") or {}).get("AutoRemove"))
        self.groups: list[str] = (data.get("HostConfig") or {}).get("GroupAdd") or []
        self.since: str = data["State"]["StartedAt"]
        self.pid: int = data["State"].get("Pid") or 0
        self.image: str = data["Image"].split(":")[-1]
        mounts = [mount for mount in data.get("Mounts") or [] if mount.get("Destination") != HELPER]
        binds = [mount for mount in mounts if mount.get("Type") == "bind"]
        self.mounts = [(mount["Source"], mount["Destination"]) for mount in binds]
        self.readonly = [mount["Source"] for mount in binds if not mount.get("RW", True)]
        ports = (data.get("NetworkSettings") or {}).get("Ports") or {}
        self.ports = [
            f"{f'[{address}]' if ':' in address else address}:{host['HostPort']}->{port}"
            for port, hosts in ports.items()
            for host in hosts or []
            for address in [host.get("HostIp") or "0.0.0.0"]
        ]
        config = data.get("Config") or {}
        self.user: str = config.get("User") or "0:0"
        labels = config.get("Labels") or {}
        self.environment = unquote(labels.get("pydock.folder", ""))
        self.project: str = labels.get("com.docker.compose.project", "")
        self.service: str = labels.get("com.docker.compose.service", "")
        self.place, self.options, id_ = read_started(unquote(labels.get("pydock.start", "")))
        self.folder: str = self.place.folder
        # A .pydock may have been made since, which has to be guarded.
        local = os.path.join(self.folder, ".pydock")
        self.moved: bool = (
            id_ != file_id(self.folder)
            or bool(self.folder)
            and os.path.isdir(local)
            and not os.path.islink(local)
            and not self.guards(local)
        )

    def published(self) -> list[str]:
        """ADDRESS:PORT of this host that it has."""
        return [port.split("->")[0] for port in self.ports]

    def guards(self, path: str) -> bool:
        """Whether a folder is a mount of its own in here, or lies where nothing can be written."""
        sources = [source for source, _ in self.mounts]
        return path in sources or self.folder in self.readonly or self.folder not in sources

    def container(self, user: str, place: Place, config: dict[str, Any]) -> Container | None:
        """It, for a program that starts in this place of the host; None where that is not in it,
        or the caller has come into groups since."""
        inside = self.inside(place, config)
        joined = {str(group) for group in further_groups(user)} - set(self.groups)
        if inside is None or joined and "keep-groups" not in self.groups:
            return None
        container = Container(self.name, user=user or config.get("User") or "0:0")
        container.folder = inside
        return container

    def current(self, config: dict[str, Any]) -> bool:
        """Whether programs can be started in it as it is: it runs, with the present image, and with
        the folder that is there now."""
        return self.running and self.is_present(config)

    def is_present(self, config: dict[str, Any]) -> bool:
        return not self.moved and self.image == config["Id"].split(":")[-1]

    def inside(self, place: Place, config: dict[str, Any]) -> str | None:
        """Where the caller's current folder is in here; None where it is not."""
        home, folder = config.get("WorkingDir") or "/", place.current
        found = [
            (
                len(source),
                target == source if place.own else target.startswith(home),
                source,
                target,
            )
            for source, target in self.mounts
            if is_in(folder, source)
        ]
        if not found:
            return None
        _, _, source, target = max(found)
        inside = os.path.normpath(os.path.join(target, os.path.relpath(folder, source)))
        hidden = [
            other
            for _, other in self.mounts
            if len(other) > len(target) and (inside + "/").startswith(other.rstrip("/") + "/")
        ]
        return None if hidden else inside


def find_background(engine: Engine, env: Env) -> Background | None:
    text = engine.try_output("container", "inspect", env.background)
    background = Background(from_json(text)[0]) if text else None
    if background and background.environment != env.folder:
        background.moved = True
    if background and background.environment != env.folder and may_exist(background.environment):
        raise PydockError(
            f"the container {env.background} belongs to the environment in {background.environment or 'no folder'}",
            "pydock config --global prefix NAME",
        )
    return background


def usable_background(
    session: Session, env: Env, options: Sequence[str], hint: str
) -> Background | None:
    """The background container, for a caller that wants it with these options. One with others makes
    way where it is dead, or idle and not kept; else PydockError."""
    background, engine = find_background(session.engine, env), session.engine
    if not background or options in ([], background.options):
        return background
    if background.running and (is_kept(env) or processes(engine, background)):
        raise PydockError(
            f"{env.name} is already running with {shell_join(background.options) or 'no options'}, not {shell_join(options)}",
            hint,
        )
    check_ports(session, env, options, background.published())
    remove_background(engine, env)
    return None


def inspect_containers(engine: Engine, names: Sequence[str]) -> list[dict[str, Any]]:
    """What `container inspect` tells of these; one that has ended meanwhile is left out."""
    if not names:
        return []
    process = engine.start(["container", "inspect", *names])
    return list(from_json(engine.finish(process)[0] or b"[]"))


def signal_argv(background: Background, signal: str) -> list[str]:
    """`docker exec` of what ends or tells the programs in a background container, as their user."""
    words = [HELPER, "signal", signal, background.name]
    return ["exec", "-w", "/", "-u", background.user, background.name, *words]


def processes(engine: Engine, background: Background) -> list[str]:
    """The command lines of the programs in a background container: what `exec` started, and what
    such a program left behind. PydockError where that cannot be seen: nothing is ended unseen.
    (What a compose file's own command starts is none.)"""
    try:
        told = engine.output(*signal_argv(background, "TELL"), timeout=20)
    except EngineError:
        raise PydockError(
            f"cannot see what runs in the container {background.name}",
            f"to end it anyway: {shell_join(engine.command(['rm', '-f', background.name]))}",
        ) from None
    return [line.strip()[:60] for line in told.split("\n") if line.strip()]


def remove_container(engine: Engine, name: str) -> None:
    """PydockError where it stays. One that is removing itself refuses that for a moment."""
    for _ in range(20):
        gone = engine.try_run("rm", "-f", name)
        if gone or name not in dict(containers_named(engine, f"name={name}")):
            return
        time.sleep(0.2)
    raise PydockError(f"{engine.client} cannot remove the container {name}")


def remove_background(engine: Engine, env: Env, services: str = "stop") -> None:
    """Ends the programs in the background container, SIGTERM first, and then it. The services that
    started with it are stopped, and keep what they hold; `services` is `rm` where they go too."""
    background = find_background(engine, env)
    if background and background.running:
        engine.try_run(*signal_argv(background, "END"))
    if background:
        remove_container(engine, env.background)
    if env.has(COMPOSE) or background and background.project or services == "rm":
        end_services(engine, env, services)


def forget_started(env: Env) -> None:
    for path in filter(os.path.exists, [note_path(env, "started"), note_path(env, "kept")]):
        env.remove(path)


def start_label(place: Place, options: Sequence[str]) -> dict[str, str]:
    facts = [place.folder, place.other, list(options), file_id(place.folder)]
    return {"pydock.start": quote(to_json(facts))}


def idle_argv(times: str, container: str, seconds: int) -> list[str]:
    return [HELPER, "idle", times, container, str(seconds)]


class StartRequest(namedtuple("StartRequest", "place options kept make", defaults=(True,))):
    """What a command wants of the background container: the caller's place; the user's options;
    whether it goes on though nothing runs; whether one is to be made where there is none."""

    def replaces(self, background: Background, config: dict[str, Any]) -> bool:
        """Whether a dead container is no use, for it was asked for otherwise."""
        outside = background.inside(self.place, config) is None
        other = self.options not in ([], background.options)
        return bool(self.kept and not background.running and (outside or other))


def start_background(
    session: Session, env: Env, config: dict[str, Any], wanted: StartRequest
) -> None:
    """A new background container; what it was asked for is noted on it, so that another can take
    its place."""
    container = describe_for_programs(session, env, config, env.background, wanted.place.top)
    container.options = wanted.options
    container.labels = start_label(wanted.place, wanted.options)
    add_helper(env, container)
    noted = host_file(note_path(env, "started"))
    env.make_folder(shims_folder(env))
    first = WAIT if wanted.kept else idle_argv(session.settings["idle"], env.background, 60)
    try:
        # Readable by nobody else: the values of -e are in it.
        env.write_file(note_path(env, "started"), unquote(container.labels["pydock.start"]), 0o600)
        if env.has(COMPOSE):
            compose_up(session, env, container)
        else:
            session.engine.run(*container.start_argv(first, end=not wanted.kept))
    except BaseException:
        try:
            remove_background(session.engine, env)
            if noted:
                env.write_file(note_path(env, "started"), noted, 0o600)
            else:
                forget_started(env)
        except PydockError as error:  # what led to this is told, and decides the exit status
            console.warn(str(error), error.hint)
        raise
    if wanted.kept:
        env.write_file(note_path(env, "kept"), "", 0o644)
    write_shims(session, env, config)


def reconcile(
    session: Session,
    env: Env,
    config: dict[str, Any],
    background: Background | None,
    wanted: StartRequest,
) -> bool:
    """Brings the background container to what it should be, only under the environment's lock.
    Returns whether there is one, then, with the present image. It is present if it runs that image and
    has its folder and the file of compose as they are now; busy if a program runs in it.

        there is        what happens (`start`, `activate`, `run` where activated, after a change)
        none            one is made, as wanted; but not by a change, nor by `run` elsewhere
        present         it stays, also in another folder or with other options, which `start` says
        old, idle       another one takes its place, with its folder and options
        old, busy       it stays, with a warning
        dead            it is started again, with what it holds; but another one as wanted takes its
                        place where `start` wants another folder or other options, or where it is
                        about to remove itself
        dead, old       another one takes its place, with its folder and options
        compose         compose replaces what is different, and nothing where it is busy

    `wanted.kept` (`start`, `activate --persistent`): from now on it goes on though nothing runs."""
    check_trust(env)
    if background and wanted.replaces(background, config):
        remove_background(session.engine, env)
        background = None
    if not background:
        if wanted.make:
            check_ports(session, env, wanted.options)
            start_background(session, env, config, wanted)
        return bool(wanted.make)
    note_again(env, background)
    present = background.is_present(config) and bool(background.project) == env.has(COMPOSE)
    # Where the label says nothing, nobody knows the folder.
    place = background.place if background.folder else wanted.place.top
    looked = background.running and (env.has(COMPOSE) or not present)
    busy = processes(session.engine, background) if looked else []
    kept = is_kept(env) or wanted.kept
    if env.has(COMPOSE) and background.project:
        container = describe_for_programs(session, env, config, env.background, place)
        container.labels = start_label(place, background.options)
        add_helper(env, container)
        compose_up(session, env, container, *["--no-recreate"] * bool(busy))
        write_shims(session, env, config)
    elif present and not background.running and not background.removes_itself:
        session.engine.run("start", env.background)
        write_shims(session, env, config)
    elif not busy and not (present and background.running):
        remove_background(session.engine, env)
        start_background(session, env, config, StartRequest(place, background.options, kept))
    if busy:
        warn_busy(env, background, busy, present)
        if not present:
            write_shims(session, env, config)
    if wanted.kept:
        keep_background(session.engine, env, background)
    return present or not busy


def note_again(env: Env, background: Background) -> None:
    """Notes what the background container was asked for, where pydock's data folder was removed."""
    if not os.path.isdir(shims_folder(env)):
        env.make_folder(shims_folder(env))
        started = start_label(background.place, background.options)["pydock.start"]
        env.write_file(note_path(env, "started"), unquote(started), 0o600)


def warn_busy(env: Env, background: Background, busy: Sequence[str], present: bool) -> None:
    what = "the last change"
    if present:  # only compose asks, then
        what = f"an edit of its {COMPOSE}"
    elif background.moved:
        what = "its folder at the new place"
    console.warn(
        f"the container of {env.name} does not have {what} yet, as this is still running: {', '.join(busy)}",
        f"when it has ended, or to end it now: pydock reset --force {env.title}",
    )


def reconcile_after_change(session: Session, env: Env) -> None:
    """After a change: a background container that nobody uses gets the new revision."""
    if env.scripted or not is_started(env):
        return
    background = find_background(session.engine, env)
    image = find_image(session.engine, env.latest) if background else None
    if not background or not image:
        return
    with env.lock():
        try:
            place = background.place
            if not background.folder:
                place = run_folder(session, env)
            config = {"Id": image.id, **image.config}
            background = find_background(session.engine, env)
            reconcile(session, env, config, background, StartRequest(place, [], False, make=False))
        except PydockError as error:  # the change is made, all the same
            console.warn(f"the container of {env.name} is not up to date: {error}", error.hint)


def background_container(
    session: Session, env: Env, config: dict[str, Any], place: Place
) -> Container | None:
    """The background container as it is for a program that starts in the current folder, brought
    to the present where it needs that; None where a one-off container is to be taken."""
    background = find_background(session.engine, env)
    activated = is_active(env.name, env.repo) and place.folder
    if not background and not env.scripted and activated:
        noted, options, _ = read_started(host_file(note_path(env, "started")))
        noted = noted._replace(current=place.current) if noted.folder else place
        wanted = StartRequest(noted, options, is_kept(env))
        with env.lock():
            background = find_background(session.engine, env)
            if not background or not background.current(config):
                reconcile(session, env, config, background, wanted)
            background = find_background(session.engine, env)
        if not background:
            raise PydockError(f"the container of {env.name} exited at once")
    if not background or env.scripted and not background.running:
        return None
    container = background.container(run_as(session.engine, env, config), place, config)
    if container and not background.current(config):
        with env.lock(wait=False) as lock:
            wanted = StartRequest(place, [], False, make=False)
            if not lock.held() or not reconcile(session, env, config, background, wanted):
                return None
    return container


def way(session: Session, env: Env, pid: int) -> str:
    """What `enter` holds for `run`, which takes it while this process is the container's first: it
    is another word where anything of that may be different by now, such as the engine that a client
    would ask. Nothing is asked of the engine."""
    (folder, *_), _, id_ = read_started(host_file(note_path(env, "started")))
    facts = [
        session.engine.program,
        re.findall(r'"currentContext"\s*:\s*"[^"]*"', client_config()),
        [os.environ.get(name, "") for name in ENGINE_VARIABLES],
        start_time(pid),
        env.hashes(),
        [os.getuid(), *os.getgroups()],
        (id_ == file_id(folder), os.path.isdir(os.path.join(folder, ".pydock"))),
    ]
    return f"{pid} {text_hash(repr(facts))}"


def enter(session: Session, env: Env, current: str, program: Program) -> None:
    """Becomes a program in the background container by the way that activated programs take;
    returns where that may not be, or `enter` itself has said so."""
    path, words = note_path(env, "enter"), program.words
    found = re.search(r"(?m)^way='((\d+) \w+)'$", host_file(path))
    if (
        env.scripted
        or console.verbose
        or session.engine.has_parent  # with a file that only this process has
        or not found
        or not all(word.isascii() for word in [current, *words])
    ):
        return
    if found.group(1) == way(session, env, int(found.group(2))):
        told = {"engine": shell_join(session.engine.program)}
        told.update(told_absent(session.engine, env, words))
        told["passed"] = shell_join(program.options)
        os.environ["PYDOCK_TOLD"] = assignments(told)
        session.engine.exec_command(["/bin/sh", path, *words])


def note_path(env: Env, name: str) -> str:
    return os.path.join(shims_folder(env), name)


def is_started(env: Env) -> bool:
    """Whether there is, or was before it was removed behind pydock's back, a background container:
    a look at the engine would cost each `run` some milliseconds."""
    return os.path.exists(note_path(env, "started"))


def is_kept(env: Env) -> bool:
    """Whether the background container goes on though nothing runs."""
    return os.path.exists(note_path(env, "kept"))


def keep_background(engine: Engine, env: Env, background: Background) -> None:
    """Lets the background container go on though nothing runs: a mark of its first process stands
    for a program that does not end."""
    if env.scripted or is_kept(env):
        return
    env.write_file(note_path(env, "kept"), "", 0o644)
    if background.running and background.removes_itself:
        mark = f"/dev/shm/pydock.{env.background}.kept.1"
        where = ["exec", "-w", "/", "-u", background.user, env.background]
        engine.run(*where, "/bin/sh", "-c", 'true >"$0"', mark)


def start_time(pid: int) -> str:
    """When a process was started, in the kernel's ticks; '' where that cannot be seen. Numbers of
    processes come again."""
    return "".join(host_file(f"/proc/{pid}/stat").rpartition(")")[2].split()[19:20])


# --------------------------------------------------------------------------------------------------
# Activation and links: activate, link


SHELLS = ("bash", "zsh", "fish", "sh")


# What people type secrets into, or steer this host with: of these, activation puts none on the PATH
# of its own accord.
HOST_PROGRAMS = set(
    "sudo sudo-rs run0 sudoedit su doas pkexec ssh scp sftp gpg gpg2 git pydock direnv sh bash dash ksh zsh fish env login passwd".split()
)


# What those start by name.
HOST_HELPERS = tuple(
    "docker podman git-credential- git-remote- ssh- pinentry newuidmap newgidmap".split()
)


@command(
    "run",
    "activate NAME",
    "put its programs first on this shell's PATH",
    arg("--shell", choices=SHELLS, help="default: the calling shell"),
    flag("--persistent", help="keep running when idle, and after `deactivate`"),
    flag("--end", help=""),  # hidden: what `deactivate` calls
    *RUN_OPTIONS,
)
def cmd_activate(session: Session, args: argparse.Namespace) -> int:
    env = session.env(args.name)
    return deactivate(session, env) if args.end else activate(session, env, args)


def activate(session: Session, env: Env, args: argparse.Namespace) -> int:
    shell = args.shell or parent_shell()
    if os.pathsep in shims_folder(env):
        raise PydockError(
            f"cannot activate: PATH cannot hold a folder with a '{os.pathsep}' in its name, such as {data_folder()}",
            f"export XDG_DATA_HOME=/some/folder; or: pydock link {env.title} PROGRAM",
        )
    if sys.stdout.isatty():
        line = f"{shell_join([os.path.basename(sys.argv[0]) if '/bin/' in sys.argv[0] else sys.argv[0]])} activate {typed_line(session.line, env)}"
        console.show(f"{line} | source" if shell == "fish" else f'eval "$({line})"')
        return 0
    check_trust(env)
    options = start_options(session, env, args)
    place = run_folder(session, env)
    config = ready_image(session, env)
    with env.lock():
        make_folder(os.path.join(shims_folder(env), "bin"))
        background = usable_background(session, env, options, f"pydock stop {env.title}")
        current = background and background.current(config)
        kept = args.persistent or not background and is_kept(env)
        if not current or args.persistent:
            reconcile(session, env, config, background, StartRequest(place, options, kept))
        if current:
            write_shims(session, env, config)
    if background and background.inside(place, config) is None:
        console.info(
            f"{env.name} is running with the folder {background.folder}; in other folders its programs start more slowly, each in a new container"
        )
    console.emit(render_activate(env, shell, args.persistent), "")
    return 0


def deactivate(session: Session, env: Env) -> int:
    """Ends the container that an activation started, unless something runs there. That it was
    activated stays noted: the next program of another shell starts it again."""
    engine = session.engine
    with env.lock():
        background = None if is_kept(env) else find_background(engine, env)
        busy = processes(engine, background) if background and background.running else []
        if busy:
            console.info(
                f"{env.name} keeps running, with {', '.join(busy)} in it; to stop it: pydock stop --force {env.title}"
            )
        elif background:
            remove_background(engine, env)
    return 0


def parent_shell() -> str:
    """The shell that called, by the kernel's word for it; else the login shell."""
    try:
        path = os.readlink(f"/proc/{os.getppid()}/exe")
        name = os.path.basename(path.replace(" (deleted)", ""))  # of a package that was upgraded
    except OSError:
        name = os.path.basename(os.environ.get("SHELL", "sh"))
    return name if name in SHELLS else "sh"


def render_activate(env: Env, shell: str, persistent: bool) -> str:
    """What a shell evaluates to have the environment's programs first on its PATH."""
    folder = shims_folder(env)
    fish = shell == "fish"

    def quoted(name: str) -> str:
        path = os.path.join(folder, name)
        in_fish = "'" + re.sub(r"(['\\])", r"\\\1", path) + "'"
        return in_fish if fish else shell_join([path])

    values = {
        "BIN": quoted("bin"),
        "NAME": env.name,
        "LEAVE": "/dev/null" if persistent else quoted("leave"),
        "CHANGED": quoted("changed"),
    }
    return filled(ACTIVATE_FISH if fish else ACTIVATE_SH, values)


def filled(text: str, values: dict[str, str]) -> str:
    return re.sub(f"@({'|'.join(values)})@", lambda found: values[found.group(1)], text)


@command(
    "run",
    "link [NAME PROGRAM…]",
    "put single programs on your PATH",
    arg(
        "words",
        metavar="NAME PROGRAM",
        nargs="*",
        help="an environment and its programs; default: list the links",
    ),
    arg("--to", metavar="DIR", default="", help="folder of the links; default: ~/.local/bin"),
    KEPT_OPTIONS[0],
    flag("--remove", help="remove the links of these programs"),
)
def cmd_link(session: Session, args: argparse.Namespace) -> int:
    folder = absolute_path(
        os.path.expanduser(args.to or os.path.join(home_folder(), ".local", "bin"))
    )
    if args.remove and not args.words:
        raise PydockError("no program given", "pydock link (to list them)", 2)
    if args.remove:
        unlink_shims([os.path.join(folder, name) for name in args.words])
        return 0
    if not args.words:
        return print_links("LINK", "no links; next: pydock link NAME PROGRAM")
    env = session.env(args.words[0])
    if not args.words[1:]:
        raise PydockError("no program given", f"pydock link {env.title} PROGRAM", 2)
    check_trust(env)
    config = ready_image(session, env)
    paths = {os.path.join(folder, os.path.basename(word)): word for word in args.words[1:]}
    check_free(paths, "choose another folder: --to DIR")
    check_programs(session.engine, env, list(paths.values()))
    ports = [word for port in args.publish for word in ("-p", publish_value(port))]
    new = {path: [word, *ports] for path, word in paths.items()}
    with env.lock():
        add_links(session, env, config, new, "enter")
    report(env, f"linked {', '.join(paths)} to {env.name}", os.path.basename(args.words[-1]))
    if folder not in os.environ.get("PATH", "").split(os.pathsep):
        console.warn(f"{folder} is not on your PATH", f'export PATH={shlex.quote(folder)}:"$PATH"')
    return 0


def check_free(paths: Iterable[str], hint: str) -> None:
    links = all_links()
    for path in paths:
        if os.path.lexists(path) and path not in links:
            raise PydockError(f"{path} already exists, and is not a link made by pydock", hint)


def add_links(
    session: Session, env: Env, config: dict[str, Any], new: dict[str, list[str]], target: str
) -> None:
    """Links on the host to what `shims_folder` has of this name, noted with the words of each. They
    come last: what they lead to is whole."""
    make_folder(os.path.join(shims_folder(env), "bin"))
    record = {**linked(shims_folder(env)), **new}
    write_file(note_path(env, "links"), to_json(record), 0o644)
    write_shims(session, env, config, record)
    for path in new:
        make_folder(os.path.dirname(path))
        make_link(os.path.join(shims_folder(env), target), path)


def print_links(head: str, none: str, kernels: bool = False) -> int:
    """The links to programs, which are files, or those to kernels, which are folders."""
    lines = [
        [path, name, home_path(folder)]
        for path, (name, folder) in all_links().items()
        if os.path.isdir(path) == kernels
    ]
    if lines:
        console.table([[head, "ENVIRONMENT", "PATH"], *sorted(lines)])
    else:
        console.info(none)
    return 0


def all_links() -> dict[str, tuple[str, str]]:
    """The environments, name and folder, of all links that pydock made, by the links' paths."""
    return {path: shims_owner(folder) for folder in data_folders() for path in linked(folder)}


def data_folders() -> list[str]:
    data = data_folder()
    return [os.path.join(data, name) for name in os.listdir(data)] if os.path.isdir(data) else []


def shims_owner(folder: str) -> tuple[str, str]:
    """The name and folder of the environment whose `shims_folder` this is."""
    text = host_file(os.path.join(folder, "enter"))
    found = re.match(r"#!/bin/sh\n# pydock: the programs of (\S+/envs/([^\s;]+))", text)
    return (found.group(2), unquote(found.group(1))) if found else ("", "")


def unlink_shims(paths: Sequence[str]) -> None:
    links = all_links()
    for path in paths:
        if path not in links:
            raise PydockError(
                f"{path} is not a link made by pydock",
                "pydock link (to list them); --remove takes only programs",
            )
    for path in paths:
        os.unlink(path)
        console.info(f"removed {path}")


def check_programs(engine: Engine, env: Env, words: Sequence[str]) -> None:
    """An error where the image has no such program."""
    code = 'for word do found=$(command -v -- "$word"); case $found in /*) [ -f "$found" ] && [ -x "$found" ] ;; *) false ;; esac && echo yes || echo no; done'
    for word in words:
        if not is_utf8(word) or word.startswith("-") or word.endswith("/"):
            raise PydockError(f"{word!r} is not a program name")
    answers = engine.output(*look_argv(env.latest), "/bin/sh", "-c", code, "sh", *words).split()
    for word, answer in zip(words, answers):
        if answer != "yes":
            raise PydockError(
                f"there is no program {word} in {env.name}", f"pydock install {env.title} PKG"
            )


def shims_folder(env: Env) -> str:
    """What pydock keeps for the programs of an environment on the host, all of which can be made
    again: `enter`, what they all do; `bin`, a link to it by each program's name; `changed`,
    which tells the variables that they get; `leave`, what `deactivate` does; `kernel`, a kernel spec for Jupyter; `links` (program and ports by the path of the link, as JSON); `started` (what the
    background container was asked for: folder and options, as JSON); `kept`, where it goes on
    though nothing runs."""
    return os.path.join(data_folder(), env.repo)


def pydock_sh(session: Session, env: Env) -> str:
    """A shell function that becomes this pydock, with this environment's place and this process's
    settings."""
    import shutil

    names = ["PYDOCK_" + key.upper() for key in SETTINGS] + ["HOME", "XDG_DATA_HOME"]
    names += ENGINE_VARIABLES
    exports = [f"{name}={os.environ[name]}" for name in names if name in os.environ]
    if env.scope.mode == "local":
        exports.append("PYDOCK_LOCAL=" + os.path.dirname(env.scope.root))
    itself = os.path.realpath(sys.argv[0])
    command = shell_join([sys.executable, "-IS", "-c", START_PY, itself, "--" + env.scope.mode])
    client = os.path.dirname(shutil.which(session.engine.client) or "/usr/bin/docker")
    return f'exports() {{ export PATH="${{PATH:+$PATH:}}"{shell_join([client])} {shell_join(exports)}; }}\npydock() {{ exports; exec {command} "$@"; }}\n'


def place_sh(name: str, mounts: Sequence[tuple[str, str]]) -> str:
    """A shell function that sets `inside` to the current folder's place in the container, or to
    nothing; the last mount of a source wins."""
    arms = dict(mounts)
    for source, target in mounts:
        arms.update(
            (source + other[len(target) :], "")
            for host, other in mounts
            if other.startswith(target.rstrip("/") + "/") and host != source + other[len(target) :]
        )
    lines = []
    for source in sorted(arms, key=len, reverse=True):
        rest = f"${{PWD#{shlex.quote(source)}}}" if arms[source] else ""
        lines.append(f"    {shlex.quote(source)}/*) inside={shlex.quote(arms[source])}{rest} ;;")
    return "\n".join(
        [f"{name}() {{", "    case $PWD/ in", *lines, "    *) inside= ;;", "    esac", "}\n"]
    )


def shim_library_sh(
    session: Session,
    env: Env,
    config: dict[str, Any],
    background: Background | None,
    links: dict[str, list[str]],
) -> str:
    """The file `enter`: what all programs of an environment on the host do."""
    import shutil

    engine = session.engine
    mounts: list[tuple[str, str]] = []
    home = config.get("WorkingDir") or "/"
    alive, known_way = "false", ""
    if background and background.current(config):
        mounts = background.mounts
        alive = shell_join(engine.command(["container", "inspect", background.name]))
        alive += " >/dev/null 2>&1"
        if start_time(background.pid):
            known_way = way(session, env, background.pid)
            alive = f'{{ read -r line </proc/{background.pid}/stat; }} 2>/dev/null && set -- ${{line##*) }} && [ "${{20}}" = {start_time(background.pid)} ]'
        for source, target in mounts:
            there = f"/proc/{background.pid}/root{target}"
            # Only where this user may look into the container's files.
            if source == background.folder and file_id(source) == file_id(there):
                alive += f" && [ {shell_join([source])} -ef {shell_join([there])} ]"
    program = [shutil.which(engine.program[0]) or engine.program[0], *engine.program[1:]]
    options = background.options if background else []  # the others can be secrets
    ports = [word for pair in zip(options, options[1:]) if pair[0] == "-p" for word in pair]
    known = {
        "way": known_way,
        "absent": "",
        "name": env.name,
        "title": env.title,
        "seek_inside": shell_join(SEEK),
        "bin": os.path.join(shims_folder(env), "bin"),
        "container": env.background,
        "engine": shell_join(program),
        "user": background.user if background else "",
        "keys": " ".join(DETACH_KEYS),
        "passed": "",
        "pass": pass_pattern(session.settings),
        "python": sys.executable,
        "itself": os.path.realpath(sys.argv[0]),
        "open": shell_join(ports),
        "plain": "\t\n",
    }
    places = place_sh("place", sorted(mounts, key=lambda mount: mount[0] == mount[1]))
    places += place_sh("place_of_run", sorted(mounts, key=lambda mount: mount[1].startswith(home)))
    ways = {shlex.quote(path): words for path, words in links.items()}
    for path, words in links.items():  # a shell may name it otherwise
        ways.setdefault("*/" + shlex.quote(os.path.basename(path)), words)
    arms = "".join(
        f" {way}) program={shlex.quote(word)} ports='{' '.join(ports)}' ;;"
        for way, (word, *ports) in ways.items()
    )
    named = f'linked() {{ case ${{link%/*}}/$program in "$bin/$program") return 1 ;;{arms} *) return 1 ;; esac; }}\n'
    return f"#!/bin/sh\n# pydock: the programs of {quote(env.folder)} in {config['Id']}; made anew by it.\n{assignments(known)}{named}{pydock_sh(session, env)}{places}alive() {{ {alive}; }}\n{FOREGROUND_SH}{OUTSIDE_SH}{SHIM_SH}{PARENT_SH}"


def write_shims(
    session: Session, env: Env, config: dict[str, Any], links: dict[str, list[str]] | None = None
) -> None:
    """What is on the host of an environment that is, or was, activated, linked or started. `enter`
    comes last: where it is as it should be, so is the rest. `links`: with those that are about to
    be made."""
    if env.scripted:
        return
    background, programs = find_background(session.engine, env), note_path(env, "bin")
    activated = os.path.isdir(programs)
    if not activated and not background:
        return
    links = linked(shims_folder(env)) if links is None else links
    text = shim_library_sh(session, env, config, background, links)
    if activated and os.listdir(programs) and host_file(note_path(env, "enter")) == text:
        return
    if activated:
        start = pydock_sh(session, env)
        leave = f"{start}pydock activate --end {env.name}\n"
        write_file(note_path(env, "leave"), leave, 0o644)
        if os.path.isdir(note_path(env, "kernel")):
            write_kernel_start(session, env)
        values = {"NEVER": NEVER_PASSED, "PASS": pass_pattern(session.settings)}
        write_file(note_path(env, "changed"), filled(CHANGED_AWK, values), 0o644)
        if background and background.running:
            in_it = ["exec", "-u", background.user, env.background]
            write_programs(
                session.engine, env, in_it if background.current(config) else look_argv(env.latest)
            )
    write_file(note_path(env, "enter"), text, 0o755)


def write_programs(engine: Engine, env: Env, where: Sequence[str]) -> None:
    """A link for each program of the packages, as they are now. It says so where it leaves out one
    of HOST_PROGRAMS."""
    code = (
        'cd /opt/venv/bin && for f in *; do if [ -f "$f" ] && [ -x "$f" ]; then echo "$f"; fi; done'
    )
    out = engine.output(*where, "/bin/sh", "-c", code)
    found = {
        name for name in out.splitlines() if re.fullmatch(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]*", name)
    }
    wanted = {
        name
        for name in found
        if name.lower() not in HOST_PROGRAMS and not name.lower().startswith(HOST_HELPERS)
    }
    if wanted != found:
        names = sorted(found - wanted)
        console.warn(
            f"not replacing this host's own programs by those of {env.name}: {', '.join(names)}",
            f"pydock link {env.title} {' '.join(names)}",
        )
    for name in wanted:
        make_link(os.path.join("..", "enter"), os.path.join(note_path(env, "bin"), name))
    for name in set(os.listdir(note_path(env, "bin"))) - wanted:
        os.unlink(os.path.join(note_path(env, "bin"), name))


def remove_shims(env: Env) -> None:
    """With a deleted environment go its programs on the host, and its links."""
    for path in paths_on_host(env):
        env.remove(path)


def paths_on_host(env: Env) -> list[str]:
    """The links to its programs and its kernel; last what these lead to, where their list lies."""
    return [*linked(shims_folder(env)), shims_folder(env)]


def linked(folder: str) -> dict[str, list[str]]:
    """The links of an environment, to programs and to its kernel, that are still there and lead to
    `folder`, its `shims_folder`: by path, the program and the options of its ports."""
    text = host_file(os.path.join(folder, "links"))
    found: dict[str, list[str]] = from_json(text) if text else {}
    own = [os.path.join(folder, name) for name in ("enter", "kernel")]
    return {
        path: words
        for path, words in found.items()
        if os.path.islink(path) and os.readlink(path) in own
    }


# --------------------------------------------------------------------------------------------------
# Notebooks of this host: kernel


@command(
    "run",
    "kernel [NAME]",
    "use it in notebooks of this host's Jupyter",
    arg(
        "name",
        metavar="NAME",
        nargs="?",
        help="an environment with ipykernel (pydock install NAME ipykernel), which Jupyter, VS Code and PyCharm then offer; default: list the kernels",
    ),
    flag("--remove", help="take it out of Jupyter"),
    arg("--connection", default="", help=""),  # hidden: what Jupyter calls
)
def cmd_kernel(session: Session, args: argparse.Namespace) -> int:
    if args.remove and not args.name:
        raise PydockError("no environment given", "pydock kernel (to list them)", 2)
    if not args.name:
        return print_links("KERNEL", "no kernels; next: pydock kernel NAME", kernels=True)
    env = session.env(args.name)
    if args.connection:
        return run_kernel(session, env, args.connection)
    if args.remove:
        paths = [path for path in linked(shims_folder(env)) if os.path.isdir(path)]
        if not paths:
            raise PydockError(f"{env.name} is not a kernel of Jupyter", "pydock kernel")
        unlink_shims(paths)
        return 0
    require_local_engine(
        session.engine, "the folders of notebooks", "run Jupyter there, or in the environment"
    )
    check_trust(env)
    config = ready_image(session, env)
    if "ipykernel" not in existing_image(session.engine, env.latest).packages():
        raise PydockError(
            f"{env.name} has no ipykernel, which runs notebooks",
            f"pydock install {env.title} ipykernel",
        )
    path = os.path.join(jupyter_folder(), "kernels", env.repo)
    check_free([path], f"jupyter kernelspec remove {env.repo}")
    with env.lock():
        make_folder(note_path(env, "kernel"))
        write_kernel_start(session, env)
        write_file(note_path(env, "kernel/kernel.json"), kernel_spec(env), 0o644)
        add_links(session, env, config, {path: ["kernel"]}, "kernel")
    report(env, f"{env.name} is a kernel of Jupyter, {path}", "jupyter lab, or VS Code")
    return 0


def jupyter_folder() -> str:
    """Where Jupyter looks for what is the user's own."""
    usual = os.path.join(os.path.dirname(data_folder()), "jupyter")
    if sys.platform == "darwin":
        usual = os.path.join(home_folder(), "Library", "Jupyter")
    return absolute_path(os.environ.get("JUPYTER_DATA_DIR") or usual)


def write_kernel_start(session: Session, env: Env) -> None:
    """Without kernel.json, which a person may have edited."""
    start = f'{pydock_sh(session, env)}pydock -q kernel --connection "$1" {env.name}\n'
    write_file(note_path(env, "kernel/start"), start, 0o644)


def kernel_spec(env: Env) -> str:
    local = env.scope.mode == "local"
    where = home_path(os.path.dirname(env.scope.root)) if local else "pydock"
    spec = {
        "argv": ["/bin/sh", note_path(env, "kernel/start"), "{connection_file}"],
        "display_name": f"{env.name} ({where})",
        "language": "python",
        "interrupt_mode": "message",
        "metadata": {"debugger": True},
    }
    return to_json(spec)


def run_kernel(session: Session, env: Env, path: str) -> int:
    """A kernel for Jupyter, which wrote its connection file to `path`, in a container of its own. It
    ends with this process, or with its parent, however they end: only this process has the other end
    of its stdin."""
    engine, (connection, ports) = session.engine, read_connection(path)
    check_trust(env)
    place = run_folder(session, env)._replace(own=True)
    config = ready_image(session, env)
    name = f"{env.repo}--kernel-{sha256(os.fsencode(path))[:8]}"
    container = describe_for_programs(session, env, config, name, place)
    container.options = [word for port in ports for word in ("-p", port)]
    add_helper(env, container)
    file = f"/dev/shm/{name}.json"
    words = [HELPER, "kernel", file, "python", "-m", "ipykernel_launcher", "-f", file]
    passed = ["-e", "JPY_PARENT_PID=1", *environment_options(session)]  # looks for no parent inside
    program = Program(words, passed, True, False)
    remove_container(engine, name)  # the one before, where that was killed
    try:
        if env.has(COMPOSE):
            compose_one_off(session, env, container)
            container.user = container.user or config.get("User", "")
            argv = container.exec_argv(program, "")
        else:
            container.options += program.options
            argv = container.run_argv(program)
        parent, process = os.getppid(), engine.start(argv, True, sys.stderr.buffer, "merge")

        def watch() -> None:
            while os.getppid() == parent:
                time.sleep(1)
            os.close(stdin)

        assert process.stdin
        stdin = process.stdin.fileno()
        os.write(stdin, connection.encode() + b"\n")
        _thread.start_new_thread(watch, ())
        return process.wait()
    finally:
        engine.try_run("rm", "-f", name)


def read_connection(path: str) -> tuple[str, list[str]]:
    """Jupyter's connection file, as one line for a kernel in a container; its ports, to be
    published."""
    folder, name = os.path.split(absolute_path(path))
    with Folder(folder) as there:
        data = there.read(name)
    try:
        found = from_json(data)
        kinds = ("shell", "iopub", "stdin", "control", "hb")
        ports = [publish_value(f"{found[kind + '_port']:d}") for kind in kinds]
        local = found["transport"] == "tcp" and found["ip"].startswith("127.")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise PydockError(f"{path} is not a connection file of Jupyter") from None
    if not local:
        raise PydockError(
            "kernels in containers are reached by tcp on 127.0.0.1, and Jupyter asks for another way",
            "leave KernelManager.transport and KernelManager.ip as they are",
        )
    return to_json({**found, "ip": "0.0.0.0"}), ports


# --------------------------------------------------------------------------------------------------
# Compose


SERVICE = "app"  # the environment's own, in its docker-compose.yml


def render_compose(
    ports: Sequence[str], volumes: Sequence[str], variables: Sequence[str], gpus: str
) -> str:
    """What `create` writes for options that are to hold always; JSON's strings are YAML's."""

    def quoted(value: str) -> str:
        text = to_json(value.replace("$", "$$"), ensure_ascii=False)
        special = "[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]"
        return re.sub(special, lambda found: f"\\u{ord(found.group()):04x}", text)

    text = COMPOSE_FILE
    for title, values in (("ports", ports), ("volumes", volumes), ("environment", variables)):
        text += f"    {title}:\n" * bool(values)
        text += "".join(f"      - {quoted(value)}\n" for value in values)
    if gpus:
        which = f"count: {gpus}"
        if gpus.startswith("device="):
            which = "device_ids: " + to_json(gpus[len("device=") :].split(","))
        text += f"    deploy:\n      resources:\n        reservations:\n          devices:\n            - {{driver: nvidia, {which}, capabilities: [gpu]}}\n"
    named = sorted({volume.split(":")[0] for volume in volumes if "/" not in volume.split(":")[0]})
    return text + "volumes:\n" * bool(named) + "".join(f"  {to_json(v)}:\n" for v in named)


def compose_of(env: Env, args: argparse.Namespace) -> dict[str, str]:
    """The docker-compose.yml that -p, -v, -e and --gpus ask for, by its name. Folders of a project
    are named from it, so that they mean the same in every clone."""
    if not (args.publish or args.volume or args.env or args.gpus):
        return {}
    volumes = []
    volume = r"([A-Za-z0-9][\w.-]*|[^:]*[/~.][^:]*):[^:]+(:[\w,]+)?"
    for values, good, hint in (
        (args.env, r"[^=\s./][^=\s]*(?s:=.*)?", "-e KEY=VALUE; a project: --editable FOLDER"),
        (args.volume, volume, "-v FOLDER:/inside, or -v VOLUME:/inside"),
    ):
        for value in values:
            if not re.fullmatch(good, value, re.ASCII) or not is_utf8(value):
                raise PydockError(f"{hint[:2]} {value!r} cannot be stored in {COMPOSE}", hint)
    for volume in args.volume:
        source, colon, rest = host_volume(volume).partition(":")
        project = os.path.dirname(os.path.realpath(env.scope.root)) + "/"
        if env.scope.mode == "local" and (source + "/").startswith(project):
            source = "./" + os.path.relpath(source, env.folder)
        volumes.append(source + colon + rest)
    gpus = [gpu.strip('"') for gpu in args.gpus]
    if len(gpus) > 1 or gpus and not re.fullmatch(r"all|\d+|device=[\w,.-]+", gpus[0]):
        raise PydockError(
            f"{' '.join(args.gpus)} is not a valid value of --gpus",
            "--gpus all, --gpus 2 or --gpus device=0,1",
        )
    ports = [publish_value(port) for port in args.publish]
    return {COMPOSE: render_compose(ports, volumes, args.env, "".join(gpus))}


def compose_project(env: Env) -> str:
    """No dot is in a project's name, and no two underlines in an environment's."""
    return env.repo.replace(".", "__")


def compose_argv(env: Env, folder: str) -> list[str]:
    """`docker compose` of the environment; nothing else starts compose with a file."""
    return ["compose", "-p", compose_project(env), "--project-directory", folder]


def read_compose(engine: Engine, env: Env, text: str, top: str = "") -> tuple[dict[str, Any], str]:
    """What compose makes of the environment's file and of `text`, and the services that the file
    has: by a copy of the folder below `top`, if any, whose paths become the folder's own."""
    folder = top + env.folder
    argv = [*compose_argv(env, folder), "-f", os.path.join(folder, COMPOSE)]
    names = (*argv, "config", "--services")
    engine.prefetch(*names)
    try:
        whole = from_json(engine.output(*argv, "-f", "-", "config", "--format", "json", data=text))
        known = engine.output(*names)
    except EngineError as error:
        check_compose(engine, f"{env.name} has a {COMPOSE}")
        said = last_line(error.output).replace(top, "")
        raise PydockError(f"cannot use {env.path(COMPOSE)}: {said}") from None
    return from_json(to_json(whole).replace(to_json(top)[1:-1].replace("$", "$$"), "")), known


def allowed_copy(env: Env, files: dict[str, bytes]) -> tempfile.TemporaryDirectory[str]:
    """A folder below which is the environment's own one with these files; what lies above it, as far
    as a line of them leads up, is there by links."""
    import tempfile

    make_folder(cache_folder())
    made = tempfile.TemporaryDirectory(prefix="compose-", dir=cache_folder())
    top, folder, parts = made.name, "/", env.folder[1:].split("/")
    up = max(line.count(b"..") for data in files.values() for line in data.split(b"\n"))
    for left, name in zip(range(len(parts), 0, -1), parts):
        try:
            others = os.listdir(folder) if left <= up else []
        except OSError:
            others = []
        for other in {*others} - {name}:
            os.symlink(os.path.join(folder, other), os.path.join(top + folder, other))
        folder = os.path.join(folder, name)
        make_folder(top + folder)
    for path, data in files.items():
        below, name = os.path.split(os.path.join(top + folder, path))
        make_folder(below)
        with Folder(below) as inside, inside.create(name) as file:
            file.write(data)
    return made


def compose_file(session: Session, env: Env, container: Container) -> tuple[str, list[str]]:
    """What compose gets on stdin: all that is to be, of the environment's own file as it was allowed
    (nobody can write to the copy that is read), and pydock's word of its service; and the ports to
    be opened on this host, as options."""
    engine, path = session.engine, env.path(COMPOSE)
    service, files = container.service(), check_trust(env)
    volumes = {name: {"name": name, "external": True} for name in container.volumes}
    text = to_json({"services": {SERVICE: service}, "volumes": volumes})
    if files and not env.scripted:
        with allowed_copy(env, files) as top:
            whole, known = read_compose(engine, env, text, top)
    else:
        whole, known = read_compose(engine, env, text)
    if SERVICE not in known.split():
        raise PydockError(
            f"{path} has no service '{SERVICE}'", "the environment's own service has that name"
        )
    programs_of_host = [name for name, each in whole["services"].items() if "provider" in each]
    if programs_of_host and env.scope.mode == "local":
        raise PydockError(
            f"the service {programs_of_host[0]} of {path} runs a program on this host, which a project may not do",
            "start it yourself",
        )
    check_builds(env, whole, files)
    own = whole["services"][SERVICE]
    timed = not container.zone or "TZ" in (own.get("environment") or {})
    zone = {} if timed else {"TZ": container.zone.replace("$", "$$")}
    for each in (service, own):
        each["command"] = own.get("command") or WAIT
        each["environment"] = {**zone, **(each.get("environment") or {})}
        if not (own.get("shm_size") or own.get("ipc")):
            each["shm_size"] = container.shm_size
    shown = {"services": {SERVICE: service}, "volumes": volumes} if env.scripted else whole
    return to_json(shown), published_ports(whole)


def check_builds(env: Env, whole: dict[str, Any], files: dict[str, bytes]) -> None:
    """PydockError where compose would build another service of a dockerfile that was changed since
    the user allowed it. (The environment's own is built apart from theirs.)"""
    if "dockerfile" not in unallowed(read_note(env) or {}, files) or not files:
        return
    for name, each in whole["services"].items():
        build = each.get("build") or {}
        context = build.get("context") or ""
        file = os.path.normpath(os.path.join(context, build.get("dockerfile") or ""))
        same = file.lower() == os.path.join(env.folder, "dockerfile").lower()  # on macOS
        if name != SERVICE and context and (is_in(env.folder, context) or same):
            raise PydockError(
                f"{env.path('dockerfile')} was changed since you allowed it, and {COMPOSE} builds the service {name} there",
                f"to review and allow it: pydock trust {env.title}",
            )


def check_compose(engine: Engine, need: str) -> None:
    """PydockError where there is no compose to start what a file names."""
    if engine.try_output("compose", "version") is None:
        raise PydockError(
            f"{need}, and this {engine.client} has no compose", compose_remedy(engine)
        )


def compose_remedy(engine: Engine) -> str:
    """The line that brings compose to this system."""
    release, debian = host_file("/etc/os-release"), "docker-compose"
    if from_docker():
        debian = "docker-compose-plugin"
    elif re.search(r"(?m)^ID(_LIKE)?=.*ubuntu", release):
        debian = "docker-compose-v2"
    elif re.search(r'(?m)^VERSION_ID="?1[0-2]\b', release):  # another program, of that name
        debian = ""
    if engine.podman:
        return "podman 4.7 or newer, with docker-compose or podman-compose"
    names = {
        "apt-get": debian,
        "dnf": "docker-compose-plugin || sudo dnf install docker-compose",
        "pacman": "docker-compose",
        "apk": "docker-cli-compose",
        "brew": "docker-compose",
    }
    path = "/usr/local/lib/docker/cli-plugins/docker-compose"
    url = "https://github.com/docker/compose/releases/latest/download/docker-compose-linux-"
    download = f"sudo curl -fsSL --create-dirs -o {path} {url}{os.uname().machine} && sudo chmod 755 {path}"
    return package_line(names) or download


def published_ports(whole: dict[str, Any]) -> list[str]:
    """The ports that compose opens on this host, as options."""
    ports = [
        f"{port.get('host_ip') or '0.0.0.0'}:{port['published']}:{port['target']}/{port.get('protocol') or 'tcp'}"
        for service in whole["services"].values()
        for port in service.get("ports") or []
        if port.get("published")
    ]
    return [word for port in ports for word in ("-p", port)]


def compose_up(session: Session, env: Env, container: Container, *options: str) -> None:
    text, ports = compose_file(session, env, container)
    project = "label=com.docker.compose.project=" + compose_project(env)
    if not session.engine.output("ps", "-q", "--filter", project):
        check_ports(session, env, ports)
    try:
        run_compose(session.engine, env, ["up", "-d", *options], text, show=True)
    except BaseException:
        # What compose gave up, the engine may still make; only then can it be removed.
        time.sleep(1)
        raise


def run_compose(engine: Engine, env: Env, argv: Sequence[str], text: str, **more: Any) -> None:
    try:
        files = [*["-f", env.path(COMPOSE)] * env.scripted, "-f", "-"]
        words = [*compose_argv(env, env.folder), *files, *argv]
        engine.run(*words, data=text, **more)
    except EngineError:
        raise PydockError(
            f"cannot start {env.name} (see above)",
            f"its services are in {env.path(COMPOSE)}",
        ) from None


def compose_one_off(session: Session, env: Env, container: Container) -> None:
    """A container of the environment's service for one program, with the services that it depends
    on."""
    engine, options, name = session.engine, container.options, container.name
    if set(options[::2]) - {"-p", "-v", "--env"}:
        raise PydockError(
            f"such options of {env.name} belong in {env.path(COMPOSE)}",
            "only -p, -v and -e NAME=VALUE work here",
        )
    container.name = ""  # compose gives none but the one that `run` is told
    try:
        text, ports = compose_file(session, env, container)
    finally:
        container.name = name
    others = [
        word
        for label in ("project=" + compose_project(env), "service=" + SERVICE)
        for word in ("--filter", "label=com.docker.compose." + label)
    ]
    argv = ["--rm", "--name", name, *options, SERVICE, *idle_argv("20", name, 1)]
    # One at a time makes the network and starts the other services; the first has the ports.
    with env.lock():
        if "-p" not in options and not engine.output("ps", "-q", *others):
            # Otherwise the ports are those of the running services.
            if not engine.output("ps", "-q", *others[:2]):
                check_ports(session, env, ports)
            argv.insert(0, "-P")
        run = ["run", "-d", *argv]
        run_compose(engine, env, run, text, capture="container", show=console.verbose)


def services_of(engine: Engine, env: Env) -> tuple[list[str], list[str]]:
    """The containers of an environment's other services, and the volumes that compose made."""
    project = "label=com.docker.compose.project=" + compose_project(env)
    names = [name for name, _ in containers_named(engine, project)]
    volumes = engine.output("volume", "ls", "-q", "--filter", project).split()
    return [name for name in names if not name.startswith(env.repo + "--")], volumes


def end_services(engine: Engine, env: Env, how: str) -> None:
    """As `compose stop` or `compose down`, but by what is there: the file may be gone, or have an
    error by now."""
    project = "label=com.docker.compose.project=" + compose_project(env)
    # A program in a container of its own goes on, where services only stop.
    which = [project, *["label=com.docker.compose.oneoff=False"] * (how == "stop")]
    # The background container is gone, except in a dry run.
    services = {
        name: state for name, state in containers_named(engine, *which) if name != env.background
    }
    running = [name for name, state in services.items() if state == "running"]
    if running:
        engine.try_run("stop", *running)
    if how == "rm" and services:
        engine.try_run("rm", "-f", "-v", *services)  # with the volumes that have no name
    if how == "rm" and (services or env.has(COMPOSE)):
        networks = engine.output("network", "ls", "-q", "--filter", project).split()
        if networks:
            engine.try_run("network", "rm", *networks)
    left = dict(containers_named(engine, *which)) if running and not env.scripted else {}
    if "running" in map(left.get, running):  # docker may list a removed one for a moment
        raise PydockError(
            f"{engine.client} cannot stop the containers of {env.name}", "to see them: docker ps"
        )


# --------------------------------------------------------------------------------------------------
# Trust: trust


@command(
    "trust",
    "trust NAME",
    "review and allow files that others wrote",
    OPT_YES,
    flag("--remove", help="withdraw the permission"),
)
def cmd_trust(session: Session, args: argparse.Namespace) -> int:
    """Shows the files that decide what compose starts on this host, and what is built with the
    host's logins and downloads; asks, and notes these very bytes."""
    env = session.env(args.name)
    note = read_note(env)
    if is_own(env, note):
        console.info(f"{env.name} was created on this machine, and is trusted already")
        return 0
    if args.remove:
        write_note(env, {})
        report(env, f"{env.name} is no longer trusted", f"pydock trust {env.title}")
        return 0
    files = watched_files(env)
    if note is not None and not unallowed(note, files):
        report(env, f"{env.name} is trusted already", f"pydock run {env.title} …")
        return 0
    for line in trust_lines(note or {}, files):
        console.show(line)
    if not confirmed(
        args,
        "let these files use your logins and downloads, and start containers with access to this host",
        f"trusting {env.name}",
        "nothing allowed",
    ):
        return 1
    write_note(env, files)
    report(env, f"trusted {env.name}, until a file changes", f"pydock run {env.title} …")
    return 0


def trust_lines(note: dict[str, dict[str, str]], files: dict[str, bytes]) -> Iterator[str]:
    """What is to be read before one says yes: each file, or what changed in it since it was
    allowed."""
    import difflib

    # What matters most is read last.
    for path in sorted(
        {*note, *files}, key=lambda path: (path != "dockerfile", path == COMPOSE, path)
    ):
        old, data = note.get(path, {}), files.get(path)
        text = plain_text(data) if data is not None else None
        if data is None:
            yield f"==> {path} was deleted"
        elif old.get("sha256") == sha256(data):
            yield f"==> {path} is unchanged since you allowed it"
        elif text is None:
            yield f"==> {path}: {len(data)} bytes, not text, sha256 {sha256(data)}"
        elif "text" in old:
            yield f"==> {path} was changed:"
            yield from difflib.unified_diff(
                old["text"].split("\n"),
                text.split("\n"),
                path + " as allowed",
                path + " now",
                lineterm="",
            )
        else:
            yield f"==> {path}:"
            yield from text.split("\n")


def write_note(env: Env, files: dict[str, bytes]) -> None:
    """Notes that these files, as they are here, are allowed, and no others."""
    entries: dict[str, dict[str, str]] = {}
    room = 1 << 20  # for texts
    for path, data in files.items():
        entries[path] = {"sha256": sha256(data)}
        text = plain_text(data)
        if text is not None and len(data) <= min(room, 1 << 16):
            entries[path]["text"] = text
            room -= len(data)
    save_note(env, entries)


def save_note(env: Env, entries: dict[str, dict[str, str]]) -> None:
    if env.scripted:
        return
    folder, name = os.path.split(trust_file(env))
    make_folder(folder)
    os.chmod(folder, 0o700)
    text = to_json({"folder": env.folder, "files": entries}, indent=1)
    with Folder(folder) as notes:
        notes.write(name, text, 0o600, durable=True)


def keep_dockerfile(env: Env, text: str, pydocks_own: bool) -> None:
    """Replaces the dockerfile; what pydock itself wrote in place of an allowed one is allowed."""
    note = read_note(env) if pydocks_own else None
    allowed = note is not None and is_allowed(env, "dockerfile")
    env.write("dockerfile", text)
    if note is not None and allowed:
        save_note(env, {**note, "dockerfile": {"sha256": text_hash(text)}})


def forget_note(env: Env) -> None:
    if os.path.lexists(trust_file(env)):
        env.remove(trust_file(env))


def plain_text(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def check_trust(env: Env) -> dict[str, bytes]:
    """What compose may read of a local environment, or of one that was handed over; PydockError
    where the user has not allowed it."""
    note = read_note(env)
    if not env.has(COMPOSE) or is_own(env, note):
        return {}
    files, note = watched_files(env), note or {}
    for path in unallowed(note, files):
        why = "was changed" if path in files else "was deleted"
        why = why + " since you allowed it" if path in note else "is not trusted yet"
        if path != "dockerfile":
            raise PydockError(
                f"{env.path(path)} {why}",
                f"it decides what starts on this host; to review and allow it: pydock trust {env.title}",
            )
    return files


# --------------------------------------------------------------------------------------------------
# History: history, snapshot, rollback, freeze, unfreeze, clone


@command("time", "history NAME", "list the revisions of an environment", OPT_JSON)
def cmd_history(session: Session, args: argparse.Namespace) -> int:
    env = session.env(args.name)
    base = base_reference(env.read("dockerfile"), session.settings)
    session.engine.prefetch("image", "inspect", base)
    images = images_of(session.engine, env)
    rows = revision_rows(images, find_image(session.engine, base))
    if args.json:
        console.emit(to_json(rows, indent=2))
        return 0
    lines = [["REVISION", "WHEN", "SIZE", "COMMAND", "PACKAGES"]]
    for row in rows:
        names = " ".join([str(row["revision"]), *row["labels"]]) + " *" * row["present"]
        packages = [f"+{name} {version}" for name, version in row["added"].items()]
        packages += ["-" + name for name in row["removed"]]
        packages += [f"{name} {old}→{new}" for name, (old, new) in row["changed"].items()]
        more = f" and {len(packages) - 6} more" if len(packages) > 6 else ""
        age = age_of(row["time"])
        when = human_age(age) + " ago" if age is not None else "-"
        size, text = "+" + human_size(row["bytes"]), "pydock " + row["command"]
        lines.append([names, when, size, text, ", ".join(packages[:6]) + more])
    console.table(lines, narrow=(2,))
    if "latest" in images and images["latest"].hashes != env.hashes():
        console.info(f"the files of {env.name} have changed since; next: pydock build {env.title}")
    return 0


def revision_rows(images: dict[str, Image], base: Image | None) -> list[dict[str, Any]]:
    """What `history` shows, oldest first: each revision against the one before; its bytes against
    what it stands on: another revision, or the base image."""
    rows: list[dict[str, Any]] = []
    before: dict[str, str] = {}
    numbers = revision_numbers(images)[::-1]
    for index, number in enumerate(numbers):
        image, below = images[str(number)], [images[str(n)] for n in numbers[:index]]
        now = image.packages()
        both = [name for name in now if name in before and before[name] != now[name]]
        row = {
            "revision": number,
            "labels": sorted(t for t in images if is_label(t) and images[t].id == image.id),
            "present": "latest" in images and images["latest"].id == image.id,
            "time": image.labels.get("pydock.time", ""),
            "command": unquote(image.labels.get("pydock.command", "")),
            "id": image.id.split(":")[-1][:12],
            "bytes": image.added_size(below + ([base] if base else [])),
            "added": {name: now[name] for name in now if name not in before},
            "removed": {name: before[name] for name in before if name not in now},
            "changed": {name: [before[name], now[name]] for name in both},
        }
        rows.append(row)
        before = now
    return rows


def present_revisions(session: Session, env: Env) -> dict[str, Image]:
    """The images of an environment, after `recover`. PydockError where it is not built."""
    images = recover(session.engine, env)
    if "latest" not in images or not images["latest"].of(env):
        raise PydockError(f"{env.name} is not built yet", f"pydock build {env.title}")
    return images


@command(
    "time",
    "snapshot NAME [LABEL]",
    "label the current revision",
    arg("label", metavar="LABEL", nargs="?", help="a docker tag; default: the time"),
)
def cmd_snapshot(session: Session, args: argparse.Namespace) -> int:
    env = session.env(args.name)
    label = time.strftime("%Y-%m-%d-%H%M%S") if args.label is None else args.label
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", label) or not is_label(label):
        raise PydockError(
            f"{label!r} is not a valid label",
            "letters, digits and _ . -; not only digits, not latest, not tmp-…",
        )
    with env.lock():
        images = present_revisions(session, env)
        if label in images and images[label].id != images["latest"].id:
            line = shell_join(session.engine.command(["rmi", f"{env.repo}:{label}"]))
            raise PydockError(
                f"another revision of {env.name} already has the label {label}",
                f"choose another label, or: {line}",
            )
        session.engine.run("tag", env.latest, f"{env.repo}:{label}")
        if images["latest"].hashes != env.hashes():
            console.warn(
                f"the files of {env.name} have changed since this revision",
                f"pydock build {env.title}",
            )
    report(
        env,
        f"labelled the current revision of {env.name}: {label}",
        f"pydock rollback {env.title} {label}",
    )
    return 0


@command(
    "time",
    "rollback NAME [REVISION]",
    "go back to a revision, as a new revision",
    arg(
        "revision",
        metavar="REVISION",
        nargs="?",
        help="number or label from `history`; default: the one before",
    ),
)
def cmd_rollback(session: Session, args: argparse.Namespace) -> int:
    env = session.env(args.name)
    with env.lock():
        check_frozen(env)
        images = present_revisions(session, env)
        latest, numbers = images["latest"], map(str, revision_numbers(images))
        before = [number for number in numbers if images[number].id != latest.id]
        revision = [*before, "before this one"][0] if args.revision is None else args.revision
        known = revision in images and (is_number(revision) or is_label(revision))
        if not known or "pydock.requirements" not in images[revision].labels:
            raise PydockError(
                f"{env.name} has no revision {revision}", f"pydock history {env.title}"
            )
        image, next_line = images[revision], f"pydock history {env.title}"
        done = f"{env.name} is already at revision {revision}"
        if image.layers != latest.layers or image.hashes != env.hashes():
            restore(session, env, images, image, args.line)
            drop_old_revisions(session, env)
            done = f"rolled back {env.name} to revision {revision}"
            next_line = f"pydock shell {env.title}; to undo: pydock rollback {env.title}"
    reconcile_after_change(session, env)
    report(env, done, next_line)
    return 0


def restore(
    session: Session, env: Env, images: dict[str, Image], image: Image, command: Sequence[str]
) -> None:
    """Makes an older revision the present one, as a new one: image and files, nothing rebuilt. The
    image is there before the first file is written, and the tag moves when both are."""
    engine, latest, before = session.engine, images["latest"], env.hashes()
    files = ("dockerfile", "requirements.txt")
    try:
        if env.scripted:  # whose next step writes over them
            keep_edits(env, latest, dict.fromkeys(files, ""))
        engine.run(*create_argv(env.temporary, f"{env.repo}:{image.tag}"))
        texts, wheels = env.fetch(engine, wheels=True, dockerfile=True)
        if texts and tuple(text_hash(texts.get(file, "")) for file in files) != image.hashes:
            raise PydockError(
                f"revision {image.tag} of {env.name} does not contain its own files",
                "its dockerfile lacks COPY dockerfile /opt/pydock/"
                if "dockerfile" not in texts
                else f"pydock history {env.title}",
            )
        commit_again(engine, env, image, command)
        keep_edits(env, latest, texts)
        if texts and texts["dockerfile"] != env.read("dockerfile"):
            env.write("dockerfile", texts["dockerfile"])
        if texts:
            keep_files(env, texts["requirements.txt"], wheels, before[1] == latest.hashes[1])
        tag_revision(engine, env, images)
    except BaseException:
        remove_half_written(env)
        if env.hashes() == before:
            engine.try_run("rmi", env.temporary_tag)
        else:  # the next command finishes what may be left to do
            console.info(f"{env.name} has changed; the next command completes it")
        engine.try_run("rm", "-fv", env.temporary)
        raise


def keep_edits(env: Env, latest: Image, texts: dict[str, str]) -> None:
    """Copies of what a person wrote and no revision holds, beside the files that are about to be
    replaced."""
    for file, text in texts.items():
        present, label = env.read(file), "pydock." + file.split(".")[0]
        if present == text or text_hash(present) == latest.labels.get(label):
            continue
        copy, count = file + ".orig", 1
        while env.has(copy) and env.read(copy) != present:
            count += 1
            copy = f"{file}.orig{count}"
        env.write(copy, present)
        console.info(f"{file} had changes that were not built; saved as {env.path(copy)}")


@command("time", "unfreeze NAME", "allow changes again")
@command("time", "freeze NAME", "refuse every change")
def cmd_freeze(session: Session, args: argparse.Namespace) -> int:
    """freeze and unfreeze."""
    env = session.env(args.name)
    with env.lock():
        env.hashes()
        umask = os.umask(0)
        os.umask(umask)
        for name in ("dockerfile", "requirements.txt"):
            with env.open() as folder, folder.open(name) as file:
                mode = os.fstat(file.fileno()).st_mode & 0o7777
                mode = mode & ~0o222 if args.line[0] == "freeze" else mode | 0o222 & ~umask
                try:
                    os.fchmod(file.fileno(), mode)
                except OSError as error:
                    raise PydockError(
                        f"cannot {args.line[0]} {env.name}: {env.path(name)}: {error.strerror}"
                    ) from None
    if args.line[0] == "freeze":
        report(
            env,
            f"froze {env.name}; its packages are listed in {env.path('requirements.txt')}",
            f"pydock unfreeze {env.title}",
        )
    else:
        report(env, f"unfroze {env.name}", f"pydock install {env.title} PKG")
    return 0


@command(
    "environments",
    "clone NAME NEW",
    "copy an environment; takes no disk space",
    arg("new", metavar="NEW"),
)
def cmd_clone(session: Session, args: argparse.Namespace) -> int:
    """A copy of an environment, here or from the other mode: its files, and its image under labels
    of its own."""
    env = session.new_env(args.new)
    check_new(env)
    source = session.env(args.name, other=True)
    source.wheels()  # an error where that is a link
    session.engine.prefetch(*tags_argv(env.repo))
    image, files = consistent_image(session, source)
    if source.has(COMPOSE):
        files[COMPOSE] = source.read(COMPOSE)
    if env.scope.root != source.scope.root:
        check_no_project(source)
    note, allowed = read_note(source), None
    if not is_own(source, note):
        known = {file: entry["sha256"] for file, entry in (note or {}).items()}
        allowed = [file for file, text in files.items() if known.get(file) == text_hash(text)]
    old = images_of(session.engine, env)
    check_owner(session.engine, env, old)

    def make() -> None:
        """The image gets the new environment's labels, which adds no bytes."""
        env.copy_wheels(source)
        session.engine.run(*create_argv(env.temporary, image.id))
        commit_again(session.engine, env, image, args.line)

    create(session, env, files, make, old, allowed)
    report(env, f"cloned {source.name} to {env.name}{env.where}", f"pydock shell {env.title}")
    return 0


def check_no_project(env: Env) -> None:
    """PydockError where the environment has a project that lies in its own folder."""
    for path, line in env.projects().items():
        raise PydockError(
            f"{env.name} uses the project in {path} in place ('{line.body}')",
            f"to leave it out: pydock export {env.title} {env.name}.tar",
        )


def commit_again(engine: Engine, env: Env, image: Image, command: Sequence[str]) -> None:
    """The temporary container of an image becomes the same with new labels, and goes."""
    labels = {**labels_for(env, image.hashes, command), **image.found()}
    commit(engine, env, env.temporary_tag, image.config, labels)
    engine.try_run("rm", "-fv", env.temporary)


@command("environments", "rename NAME NEW", "rename an environment", arg("new", metavar="NEW"))
def cmd_rename(session: Session, args: argparse.Namespace) -> int:
    engine, env, new = session.engine, session.env(args.name), session.new_env(args.new)
    check_new(new)
    collect_garbage(session)
    with env.lock():
        check_frozen(env)
        images = recover(engine, env)
        check_apart(engine, env)
        rename(engine, env, new, images)
        if has_cache(engine, env):
            console.info(f"its ~/.cache stays in the volume {env.cache}, until pydock prune")
    report(new, f"renamed {env.name} to {new.name}", f"pydock shell {new.title}")
    return 0


def check_apart(engine: Engine, env: Env) -> None:
    """PydockError where something knows the environment by its name, and would lose it."""
    containers = in_use(engine, env, force=True)
    links = list(linked(shims_folder(env)))
    if is_active(env.name, env.repo):
        raise PydockError(f"{env.name} is activated in this shell", "deactivate")
    if is_started(env) or env.background in containers:
        raise PydockError(f"{env.name} is started or activated", f"pydock stop {env.title}")
    if containers:
        raise PydockError(f"a program is running in {env.name}: {containers[0]}", "end it first")
    if links:
        folder, word = os.path.split(links[0])
        hint = f"pydock link --to {shell_join([folder])} --remove {word}"
        if os.path.isdir(links[0]):
            hint = f"pydock kernel --remove {env.title}"
        raise PydockError(f"{links[0]} is a link to {env.name}", hint)
    services, volumes = services_of(engine, env)
    if services or volumes:
        raise PydockError(
            f"services of {env.name} have containers or volumes under its name: {', '.join([*services, *volumes])}",
            f"for a copy without them: pydock clone {env.title} NEW",
        )


def rename(engine: Engine, env: Env, new: Env, images: dict[str, Image]) -> None:
    """Each image is made again with labels of the new name, under a temporary tag; with the one
    rename of the folder the environment has its new name, and the rest is tidied up."""
    new.take_id(env.rename_id())
    old, note = images_of(engine, new), read_note(env)
    check_owner(engine, new, old)
    made = new.stage()
    try:
        with new.lock():
            relabel_all(engine, new, images)
            check_new(new)  # in the meantime
            if note is not None:
                save_note(new, note)
            remove_images(engine, new, old)
            away = env.move(new)
            if note is None:
                forget_note(new)
            new.clear(os.path.basename(new.staging))
            finish_rename(engine, new, images_of(engine, new))
    except BaseException:
        if env.exists():
            undo_create(engine, new, made, False)
        raise
    remove_shims(env)
    forget_note(env)
    if remove_images(engine, env, images):
        env.clear(away)


def relabel_all(engine: Engine, env: Env, images: dict[str, Image]) -> None:
    """The revisions of another name, and their tags, as temporary ones of this name."""
    labels = {"pydock.name": env.name, "pydock.folder": quote(env.folder)}
    made: dict[str, str] = {}
    for tag, image in images.items():
        if "pydock.folder" not in image.labels:
            continue
        reference = f"{env.temporary_tag}.{tag}"
        if image.id in made:
            engine.run("tag", made[image.id], reference)
            continue
        engine.run(*create_argv(env.temporary, image.id))
        commit(engine, env, reference, image.config, labels)
        engine.try_run("rm", "-fv", env.temporary)
        made[image.id] = reference


# --------------------------------------------------------------------------------------------------
# Lock, digest, verify


@command(
    "trust",
    "lock NAME",
    "pin the base image and all packages by hash",
    flag("--check", help="only check that files, lock and image match"),
)
def cmd_lock(session: Session, args: argparse.Namespace) -> int:
    env = session.env(args.name)
    if not args.check:
        return finish_change(session, env, Change("lock"), args.line, "")
    if not is_locked(env.requirements()):
        raise PydockError(f"{env.name} is not locked", f"pydock lock {env.title}")
    faults = lock_faults(session, env)
    for fault in faults:
        console.show(fault)
    if faults:
        raise PydockError(
            f"the lock of {env.name} does not match (see above)", f"pydock lock {env.title}"
        )
    report(env, f"{env.name} is locked", f"pydock verify {env.title}")
    return 0


def pin_base(session: Session, env: Env, latest: Image | None) -> str:
    """The dockerfile with the base image named by its digest, where the engine knows one."""
    dockerfile = env.read("dockerfile")
    reference = base_reference(dockerfile, session.settings)
    if "@" in reference:
        return dockerfile
    get_base(session, env, dockerfile)
    base = find_image(session.engine, reference)
    if not base and "$" not in reference:
        raise PydockError(f"cannot find the base image {reference}")
    if base and latest and not latest.is_descendant_of(base):
        raise PydockError(
            f"the base image {reference} has changed since {env.name} was built",
            f"pydock build {env.title}",
        )
    digest = base.digest_of(reference) if base else ""
    if not digest:
        console.info(
            f"the base image {reference} is not pinned: it comes from no registry, and has no digest"
        )
    return pinned(dockerfile, digest) if digest else dockerfile


def lock_faults(session: Session, env: Env) -> list[str]:
    """What is not pinned in the files, or is not what the image holds; a line each."""
    lines, image = env.requirements(), find_image(session.engine, env.latest)
    faults = base_faults(session, env)
    projects = len(env.projects())  # whose names their lines do not tell
    lines = [line for line in lines if line.kind == "requirement"]
    faults += [fault for line in lines for fault in line_faults(env, line)]
    if not image or not image.of(env):  # as where it was just checked out
        return faults
    if image.hashes != env.hashes():
        return [*faults, f"the image was not built from these files: pydock build {env.title}"]
    packages = image.packages()
    pins: dict[str, list[str]] = {}
    for line in lines:
        if line.specifier and not ranged(line.specifier):
            pins.setdefault(line.name, []).append(line.specifier.lstrip("="))
    faults += [
        f"{name}: {' and '.join(versions)} in requirements.txt, {packages[name]} in the image"
        for name, versions in pins.items()
        if packages.get(name, versions[0]) not in versions
    ]
    others = set(packages) - {line.name for line in lines} - {"setuptools", "wheel", "distribute"}
    if len(others) <= projects:
        return faults
    return faults + [
        f"{name}: in the image, but not in requirements.txt" for name in sorted(others)
    ]


def base_faults(session: Session, env: Env) -> list[str]:
    reference = base_reference(env.read("dockerfile"), session.settings)
    if "@" in reference:
        return []
    base = find_image(session.engine, reference)
    if base and base.digest_of(reference):
        return [f"dockerfile: FROM {reference} without its digest"]
    console.info(f"the base image {reference} is not pinned: its digest is not known here")
    return []


def line_faults(env: Env, line: Requirement) -> Iterator[str]:
    """What a line of a lock lacks."""
    if not line.hashes:
        yield f"requirements.txt: no hash of {line.pin}"
    elif line.wheel and "sha256:" + wheel_hash(env, line.wheel) not in line.hashes:
        yield f"wheels/{line.wheel}: does not match its hash"
    if not line.url and (not line.specifier or ranged(line.specifier)):
        yield f"requirements.txt: no version of {line.pin}"


def wheel_hash(env: Env, name: str) -> str:
    """The SHA-256 of a wheel; empty where there is none."""
    try:
        with env.open("wheels") as wheels, wheels.open(name) as file:
            return stream_hash(file)
    except FileNotFoundError:
        return ""


def stream_hash(file: IO[bytes]) -> str:
    import hashlib

    content = hashlib.sha256()
    for data in iter(lambda: file.read(1 << 20), b""):
        content.update(data)
    return content.hexdigest()


@command("trust", "digest NAME", "print a digest of what is installed")
def cmd_digest(session: Session, args: argparse.Namespace) -> int:
    env = session.env(args.name)
    image = ready_image(session, env)["Id"]
    with env.lock():
        tree = tree_of(session.engine, env, image)
    console.emit(digest_of(tree))
    return 0


@command(
    "trust",
    "verify NAME",
    "rebuild from the files, and compare",
    arg("--against", metavar="DIGEST|NAME", help="compare with this, not with its own image"),
)
def cmd_verify(session: Session, args: argparse.Namespace) -> int:
    """Builds the environment again beside the present one, and compares."""
    env = session.env(args.name)
    against = args.against or ""
    digest = against if against.startswith("sha256:") else ""
    if digest and not re.fullmatch("sha256:[0-9a-f]{64}", digest):
        raise PydockError(
            f"{digest!r} is not a complete digest",
            "sha256: and 64 hexadecimal digits, as `pydock digest` prints it",
        )
    other = env if args.against is None or digest else session.env(against, other=True)
    equal = "equal to its image" if other is env else f"equal to the image of {other.name}"
    equal = digest or equal
    image = ready_image(session, other)["Id"] if not digest else ""
    with env.lock():
        expected = tree_of(session.engine, env, image) if image else None
        try:
            labels = {"pydock.folder": quote(env.folder)}
            run_build(session, env, Build(env.temporary_tag, labels, again=True))
            whole = install_projects(session, env, env.temporary_tag, env.projects())
            tree = tree_of(session.engine, env, whole)
        finally:
            remove_temporary(session.engine, env, env.id)
    if digest_of(tree) == (digest or digest_of(expected or {})):
        console.info(f"{env.name} rebuilt is {equal}")
        return 0
    old = tree if expected is None else expected
    for path in sorted({*tree, *old}):
        if tree.get(path) != old.get(path):
            sign = "~" if path in old else "+"
            sign = sign if path in tree else "-"
            console.show(f"{sign} {quote(path)}")
    lock = f"only a locked environment can be reproduced exactly: pydock lock {env.title}"
    hashed = "--hash" in env.read("requirements.txt")
    raise PydockError(f"{env.name} rebuilt is not {equal}", "" if hashed else lock)


def tree_of(engine: Engine, env: Env, image: str) -> dict[str, str]:
    """The environment as it lies in an image: a line for each path of /opt/venv, by path: type,
    mode, owner (`user` for the image's own), and link target or SHA-256. Without byte code, times,
    what installers note of their caches and of who asked for a package, and what they note of
    projects that are installed as they lie there. Streamed. Only under the environment's lock,
    which keeps its container from being swept."""
    found: dict[str, str] = {}
    projects = env.projects()
    left_out: set[str] = set()
    container = env.temporary + "-tree"
    argv = ["cp", container + ":/opt/venv", "-"]
    user = (existing_image(engine, image).config.get("User") or "0").split(":")[0]
    engine.run(*create_argv(container, image))

    def note(archive: Any, member: Any) -> None:
        path = member.name.partition("/")[2]
        noted = r"(^|/)__pycache__(/[^/]*\.pyc)?$|\.dist-info/(uv_cache\.json|REQUESTED)$"
        if not re.search(noted, path):
            owner = "user" if str(member.uid) == user else str(member.uid)
            content = content_of(archive, member, found)
            if member.isfile() and unquote(content.partition("project:")[2]) in projects:
                left_out.add(os.path.dirname(path))
            found[path] = f"{member.type.decode()} {member.mode & 0o7777:o} {owner} {content}"

    try:
        copy_out(engine, argv, f"cannot read the image {image}", note)
    finally:
        engine.try_run("rm", "-fv", container)
    if found.get("", "5")[0] != "5":  # or the digest would be that of a link
        raise PydockError(f"the /opt/venv of {env.name} is no folder", f"pydock build {env.title}")
    if not left_out or len(left_out) > len(projects):  # a package may say to be what it is not
        return found
    return {path: line for path, line in found.items() if left_out.isdisjoint(parts_of(path))}


def content_of(archive: Any, member: Any, found: dict[str, str]) -> str:
    """What tells a file's content: a digest, the target of a link."""
    if member.issym():
        return quote(member.linkname)
    if member.islnk():
        return found.get(member.linkname.partition("/")[2], "").rpartition(" ")[2]
    stream = archive.extractfile(member)
    if stream and member.name.endswith(".dist-info/direct_url.json") and member.size < 65536:
        text = stream.read()
        return project_in(text) or sha256(text)
    if stream and member.name.endswith(".dist-info/RECORD"):
        noted = rb"(\.dist-info/(uv_cache\.json|REQUESTED)|__pycache__/[^,/]*\.pyc),"
        return sha256(b"".join(line for line in stream if not re.search(noted, line)))
    return stream_hash(stream) if stream else "-"


def project_in(text: bytes) -> str:
    """`project:` and the address that a package says to be installed from, as it lies there."""
    try:
        found = from_json(text)
        if found["dir_info"]["editable"] is True:
            return f"project:{quote(unquote(found['url'].partition('://')[2]))}"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    return ""


def digest_of(tree: dict[str, str]) -> str:
    return "sha256:" + text_hash("".join(f"{quote(path)} {tree[path]}\n" for path in sorted(tree)))


# --------------------------------------------------------------------------------------------------
# Export and import: export, create --from


@command(
    "share, clean up",
    "export NAME FILE",
    "write one file, for others or for an editor",
    arg("file", metavar="FILE", help="X.tar, or .devcontainer/devcontainer.json"),
    flag("--image", help="with its image, for machines without a network"),
)
def cmd_export(session: Session, args: argparse.Namespace) -> int:
    env, path = session.env(args.name), absolute_path(args.file)
    if os.path.lexists(path):
        raise PydockError(f"{path} already exists", "choose another name, or remove it")
    if path.endswith("devcontainer.json"):
        export_devcontainer(env, path)
    else:
        export_bundle(session, env, path, args.image)
    return 0


def export_bundle(session: Session, env: Env, path: str, with_image: bool) -> None:
    """One file with what another machine needs: the standard files, and the image as `docker save`
    gives it, in one tar."""
    import tarfile

    if with_image:
        check_no_project(env)
    image = ready_image(session, env)["Id"] if with_image else ""
    with env.open() as folder:
        left = [n for n in folder.names() if n[0] != "." and n not in (*STANDARD, "wheels")]
    if left:
        console.info(f"not exported, as they are not standard files: {', '.join(left)}")
    for line in env.projects().values():
        console.info(f"not exported: '{line.body}', a project in its own folder")
    if env.has(COMPOSE):
        console.info(f"{COMPOSE} is exported with the values of variables in it")
    with NewFile(path) as out, env.lock():
        held = find_image(session.engine, image) if image else None
        if image and (not held or held.hashes != env.hashes()):
            raise PydockError(
                f"the image of {env.name} was not built from its files", f"pydock build {env.title}"
            )
        archive = tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT)
        files = [file for file in STANDARD if env.has(file)]
        files += ["wheels/" + name for name in env.wheels() if re.fullmatch(WHEEL, name)]
        for file in files:
            *below, name = file.split("/")
            if not below:
                env.read(name)  # no larger than it may be
            with env.open(*below) as folder, folder.open(name) as content:
                member = archive.gettarinfo(arcname=f"{env.name}/{file}", fileobj=content)
                # Whose uid it was is no business of those who get it.
                member.uid, member.gid, member.uname, member.gname = 0, 0, "", ""
                member.mode = member.mode & 0o555 | 0o644
                archive.addfile(member, exported(env, member, content))
        if held:  # goes on in the same tar, whose end the engine writes
            save_image(session.engine, env, held, out)
        else:
            archive.close()
    report(
        env,
        f"exported {env.name} to {path} ({human_size(os.path.getsize(path))})",
        f"pydock create NAME --from {shell_join([os.path.basename(path)])}",
    )


def exported(env: Env, member: Any, content: IO[bytes]) -> IO[bytes]:
    """A file as it is handed on: requirements.txt without projects of this host."""
    if member.name.rpartition("/")[2] != "requirements.txt" or not env.projects():
        return content
    lines = [line.text for line in env.requirements() if not line.is_project]
    data = "".join(lines).encode(errors="surrogateescape")
    member.size = len(data)
    return io.BytesIO(data)


def export_devcontainer(env: Env, path: str) -> None:
    """What VS Code and PyCharm start a container of the dockerfile by. The project lies at its own
    path of the host, and the user inside takes its owner's uid."""
    import json

    context = os.path.relpath(env.folder, os.path.realpath(os.path.dirname(path)))
    user = re.search(r'(?m)^ARG USERNAME="?([\w.-]+)"?$', env.read("dockerfile"))
    work = "${localWorkspaceFolder}"
    python = {"python.defaultInterpreterPath": "/opt/venv/bin/python"}
    content = {
        "name": env.name,
        "build": {"dockerfile": context + "/dockerfile", "context": context},
        "workspaceMount": f"source={work},target={work},type=bind",
        "workspaceFolder": work,
        "securityOpt": ["no-new-privileges"],
        "customizations": {"vscode": {"extensions": ["ms-python.python"], "settings": python}},
    }
    if user:
        content["remoteUser"] = user[1]
    projects = [word for line in env.projects().values() for word in shlex.split(line.body)]
    if projects:
        content["postCreateCommand"] = ["pip", "install", "--no-deps", *projects]
    if env.has(COMPOSE):
        console.info(f"not included: {COMPOSE}; to start its services: pydock start {env.title}")
    make_folder(os.path.dirname(path), parents=False)
    with NewFile(path) as out:
        out.write(json.dumps(content, indent=2).encode() + b"\n")
    report(env, f"wrote {path}; VS Code and PyCharm open its folder in {env.name}")


def save_image(engine: Engine, env: Env, image: Image, out: IO[bytes]) -> None:
    """`docker save` of an image to the end of a file, without its tags and without the labels that
    say where it was made, and by which command. Only under the environment's lock."""
    recover(engine, env)
    try:
        bare = ["--label", "pydock.folder=", "--label", "pydock.command="]
        engine.run(*create_argv(env.temporary, image.id, *bare))
        commit(engine, env, env.temporary_tag, image.config, {})
        stream_image(engine, existing_image(engine, env.temporary_tag), out)
    finally:
        remove_temporary(engine, env, env.id)


def stream_image(engine: Engine, image: Image, out: IO[bytes]) -> None:
    out.flush()
    process = engine.start(["save", image.id], out=out, err="keep")

    def amount() -> str:
        return f"{human_size(os.fstat(out.fileno()).st_size)} of about {human_size(image.size)}"

    console.begin(DOING["save"], amount=amount)
    _, said = engine.finish(process)
    engine.check(process, "save", said)


def create_from(session: Session, env: Env, args: argparse.Namespace) -> int:
    """An environment of what somebody handed over: a file of `export`, or an image of pydock's,
    which may be in a registry."""
    others = "packages image apt user no_build publish volume env gpus requirement editable extra group constraint pre index_url extra_index_url installer_args".split()
    if any(getattr(args, key) for key in others):
        raise PydockError(
            "--from cannot be combined with other options",
            f"pydock create {env.title} --from {args.source}, then install, or edit its files",
            2,
        )
    check_new(env)
    bundle = args.source if os.path.isfile(args.source) else ""
    if not bundle and (
        re.search(r"\.tar$|^[./~]", args.source) or not re.fullmatch(r"[\w][\w.:/@-]*", args.source)
    ):
        raise PydockError(
            f"no such file: {args.source!r}", "a file made by pydock export, or an image"
        )
    collect_garbage(session)
    old = images_of(session.engine, env)
    check_owner(session.engine, env, old)
    pulled = not bundle and base_image(
        session,
        args.source,
        f"docker pull {args.source} tells why; for a private registry: docker login",
    )

    def make() -> None:
        if bundle:
            take_bundle(session, env, bundle, args.line)
        else:
            import_image(session, env, args.source, {}, args.line)

    try:
        create(session, env, {}, make, old, ())
    finally:
        if pulled:
            session.engine.try_run("rmi", args.source)
    report(env, f"created {env.name} from {args.source}", f"pydock shell {env.title}")
    return 0


def take_bundle(session: Session, env: Env, path: str, command: Sequence[str]) -> None:
    """The files of a bundle, in a new environment; and its image, or one that is built from
    them."""
    import tarfile

    engine, image = session.engine, env.temporary_tag + "-base"
    try:
        with tarfile.open(path, "r:", tarinfo=strict_members()) as archive:
            members = saved_members(archive)
            texts = read_bundle(env, archive, members)
            if members:
                load_image(engine, env, archive, members, image)
    except (tarfile.TarError, OSError, ValueError, EOFError, RecursionError) as error:
        raise PydockError(
            f"cannot read {path}: {getattr(error, 'strerror', None) or error}",
            "a file made by: pydock export NAME FILE.tar",
        ) from None
    for file, text in texts.items():
        env.write(file, text)
    if members:
        import_image(session, env, image, texts, command)
        engine.try_run("rmi", image)
    else:
        get_base(session, env, env.read("dockerfile"))
        build_image(session, env, command, Build(env.temporary_tag, {}))


def read_bundle(env: Env, archive: Any, members: dict[str, Any]) -> dict[str, str]:
    """The texts of the standard files, by name, with which a file of `export` begins, of which
    nobody knows what it holds; they go out of its members, and wheels to the environment's
    folder."""
    texts: dict[str, str] = {}
    top = next(iter(members), "").partition("/")[0] + "/"
    for name, member in list(members.items()):
        file = name[len(top) :] if name.startswith(top) else ""
        wheel = re.fullmatch("wheels/" + WHEEL, file)
        if not member.isfile() or not (wheel or file in STANDARD):
            break
        stream = archive.extractfile(members.pop(name))
        if wheel:
            origin = ["tar", "-xOf", archive.name, "--", name]
            env.add_wheel(os.path.basename(file), stream, origin)
        else:
            texts[file] = stream.read().decode(errors="surrogateescape")
    if not {"dockerfile", "requirements.txt"} <= set(texts):
        raise ValueError("it does not begin with a dockerfile and requirements.txt")
    if COMPOSE in texts:
        texts[COMPOSE] = HANDED_OVER + texts[COMPOSE].lstrip("\ufeff")
        console.info(f"it contains a {COMPOSE}; to review and allow it: pydock trust {env.title}")
    return texts


def load_image(engine: Engine, env: Env, archive: Any, members: dict[str, Any], tag: str) -> None:
    """Hands the image in a bundle to the engine, which then has it by this name only. The engine
    gets an archive of its own: it might read another name, or other bytes, out of the stranger's."""
    import tarfile

    ids, texts, size = *saved_image(archive, members), os.path.getsize(archive.name)
    if not env.scripted:
        env.write(LOADING, " ".join(id_ for id_ in ids if not find_image(engine, id_)))

    def amount() -> str:
        return f"{human_size(archive.fileobj.tell())} of {human_size(size)}"

    def write(stream: IO[bytes]) -> None:
        console.begin(DOING["load"], amount=amount)
        with tarfile.open(fileobj=stream, mode="w|") as forward:
            for name, member in members.items():
                if os.path.basename(name) in (*STANDARD, "repositories") or name.endswith(".whl"):
                    continue
                bare = tarfile.TarInfo(name)
                bare.size, bare.type = member.size, member.type
                bare.linkname, bare.mode = member.linkname, member.mode & 0o777
                content = archive.extractfile(member) if member.isfile() else None
                if name in texts:
                    content, bare.size = io.BytesIO(texts[name]), len(texts[name])
                forward.addfile(bare, content)

    try:
        engine.load(archive.name, write)
    finally:  # also where it came in after an interruption
        named = any(engine.try_run("tag", id_, tag) for id_ in ids)
    if not named:
        raise ValueError("this engine does not understand the image in it")


def saved_members(archive: Any) -> dict[str, Any]:
    """The members of a bundle, by name. ValueError where one does not belong there, or the end is
    not there."""
    members: dict[str, Any] = {}
    for count, member in enumerate(archive):
        if members.setdefault(check_member(member, count), member) is not member:
            raise ValueError(f"{member.name!r} is in it twice")
    check_end(archive)
    return members


def saved_image(archive: Any, members: dict[str, Any]) -> tuple[list[str], dict[str, bytes]]:
    """What the engine may call the one image in a bundle: the digest of its configuration, or of
    its manifest; and the lists that say which image it is, written anew: the engine takes a key in
    other letters, too. ValueError where there is another number of images, or where they have
    names: a tag might be somebody else's here."""

    def read(name: str) -> Any:
        return from_json(archive.extractfile(members[name]).read()) if name in members else None

    try:
        [image] = read("manifest.json")
        index = read("index.json")
        [listed] = index["manifests"] if index else [{}]
        tags = image.get("RepoTags") or read("repositories") or listed.get("annotations")
        config = archive.extractfile(members[image["Config"]]).read(MAX_TEXT)
        lists: dict[str, Any] = {
            "manifest.json": [{"Config": image["Config"], "Layers": image["Layers"]}]
        }
        if index:
            descriptor = {key: listed[key] for key in ("mediaType", "digest", "size")}
            lists["index.json"] = {"schemaVersion": 2, "manifests": [descriptor]}
    except (TypeError, KeyError, AttributeError, ValueError):
        raise ValueError("it does not contain one image by `docker save`") from None
    if tags:
        raise ValueError("the image in it has a name; save it by its id: docker save ID")
    ids = ["sha256:" + sha256(config), str(listed.get("digest"))]
    texts = {name: to_json(data).encode() for name, data in lists.items()}
    return [id_ for id_ in ids if re.fullmatch("sha256:[0-9a-f]{64}", id_)], texts


def check_member(member: Any, count: int) -> str:
    """The name of an archive's member. ValueError where that could reach out of its folder, or blow
    up. Of links only those are let in that `docker save` makes, from one layer to an equal one."""
    link = member.issym() and re.fullmatch(r"\w+/layer\.tar", member.name)
    link = link and re.fullmatch(r"\.\./\w+(/layer)?\.tar", member.linkname)
    kind = (member.isfile() or member.isdir() or link) and not member.issparse()
    if not kind or {"", ".", ".."} & set(member.name.split("/")):
        raise ValueError(f"{member.name!r} does not belong there")
    texts = (*STANDARD, "manifest.json", "index.json", "repositories")
    large = member.size > 1 << 24 and os.path.basename(member.name) in texts
    if count > 100000 or large:
        raise ValueError(f"{member.name!r} is too large")
    return str(member.name)


def check_end(archive: Any) -> None:
    """ValueError where an archive that was read to its end lacks the mark of it."""
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(512) != bytes(512):
        raise ValueError("it is incomplete")


def import_image(
    session: Session, env: Env, reference: str, texts: dict[str, str], command: Sequence[str]
) -> None:
    """Makes an image that somebody handed over the new environment's: its files are those that lie
    in it, its packages those that it lists, and none of its labels is believed; its user becomes
    the caller, where the dockerfile leaves that open. `texts` are files that came with it."""
    engine = session.engine
    image = find_image(engine, reference)
    if not image:
        raise PydockError(f"the image {reference} no longer exists")
    if "pydock" not in image.labels:
        raise PydockError(
            f"{reference} is not the image of an environment",
            f"to build on it: pydock create {env.title} --image {reference}",
        )
    try:
        engine.run(*create_argv(env.temporary, image.id))
        found, wheels = env.fetch(engine, wheels=True, dockerfile=True)
        engine.try_run("rm", "-fv", env.temporary)
        for file in ("dockerfile", "requirements.txt") if found else ():
            if file not in found:
                raise PydockError(f"{reference} does not contain its {file}")
            if texts.get(file, found[file]) != found[file]:
                raise PydockError(f"the image was not built from the {file} beside it")
            env.write(file, found[file])
        if found:
            keep_files(env, found["requirements.txt"], wheels)
        packages = inventory(engine, env, image.id, image.config)
        engine.try_run("rm", "-fv", env.temporary)
        config = remap_user(session, env, image)
        labels = {**labels_for(env, env.hashes(), command), **packages}
        commit(engine, env, env.temporary_tag, config, labels)
    finally:
        engine.try_run("rm", "-fv", env.temporary)


def remap_user(session: Session, env: Env, image: Image) -> dict[str, Any]:
    """A temporary container of the image, in which its user is whom a build would make. The config
    that its commit is to have."""
    engine, config = session.engine, image.config
    wanted = build_args(env.read("dockerfile"), session.settings, engine.root_is_caller())
    uid, _, gid = (config.get("User") or "0:0").partition(":")
    home = config.get("WorkingDir") or "/root"
    uid, gid = wanted.get("USER_UID", uid), wanted.get("USER_GID", gid or uid)
    name = wanted.get("USERNAME", os.path.basename(home))
    present = (config.get("User") or "0").partition(":")[0]
    if (uid + ":" + gid, name) == (config.get("User"), os.path.basename(home)):
        engine.run(*create_argv(env.temporary, image.id))
        return config
    if uid != present:
        console.info(
            f"changing the owner of the packages from uid {present} to you; this copies up to {human_size(image.size)}"
        )
    known = {"OLD": os.path.basename(home), "USERNAME": name, "USER_UID": uid, "USER_GID": gid}
    argv = temporary_argv(env.temporary, image.id, config, ["/bin/sh", "-s"])
    doing = "changing the owner of the packages"
    engine.run(*argv, data=assignments(known) + USER_SH, capture="ignored", doing=doing)
    return {**config, "User": uid + ":" + gid, "WorkingDir": "/home/" + name}


# --------------------------------------------------------------------------------------------------
# Care: prune, config, completion


@command(
    "share, clean up",
    "prune",
    "remove what is no longer needed",
    flag("--cache", help="also remove cached downloads"),
    OPT_YES,
)
def cmd_prune(session: Session, args: argparse.Namespace) -> int:
    """Removes what pydock made and nothing needs: revisions of the environments here beyond those
    that are kept, images, links and kernels of folders that are gone, environments of scripts that
    nobody runs; with --cache the downloads."""
    engine, prefix = session.engine, session.settings["prefix"]
    collect_garbage(session)
    images = inspect(engine, tagged(engine))
    ours = [] if engine.remote_address() else list(images)  # whose folders may be on that machine
    gone = [tag for tag in ours if is_orphaned(prefix, tag, images[tag])]
    # Each scope has its own settings.
    sessions = [Session(scope) for scope in (global_scope(), local_scope(), ScriptScope()) if scope]
    envs = [(owner, owner.new_env(name)) for owner in sessions for name in owner.scope.names()]
    unused = [(owner, env) for owner, env in envs if is_unused(env)]
    ends = [tag for _, env in unused for tag in images if tag.startswith(env.repo + ":")]
    old = [tag for owner, env in envs for tag in old_tags(owner, env, images)]
    caches = caches_of(engine) if args.cache else {}
    known = {env.cache for _, env in envs} if args.cache else set()
    caches.update(old_caches(engine, known))
    links = [path for env in orphans(session) for path in paths_on_host(env)]
    reasons = dict.fromkeys(old, "old revision")
    reasons.update({**dict.fromkeys(gone, "orphaned"), **dict.fromkeys(ends, "unused script")})
    own = unique_sizes(images, list(reasons))
    lines = [["NAME", "REASON", "UNIQUE", "SHARED", "PATH"], *image_lines(images, own, reasons)]
    bare = [env for _, env in unused if env.latest not in images]
    lines += [[env.name, "unused script", "", "", home_path(env.folder)] for env in bare]
    for path, reason in {**caches, **dict.fromkeys(links, "orphaned")}.items():
        folder = home_path(path) if "/" in path else ""
        lines.append(["" if folder else path, reason, "", "", folder])
    if not lines[1:]:
        console.info("nothing to remove")
        return 0
    console.table(lines)
    if not confirmed(args, "remove these", "removing these"):
        return 1
    for tag in gone:  # whoever was asked may have taken a while
        image = find_image(engine, tag)
        if image and image.id == images[tag].id and is_orphaned(prefix, tag, image):
            remove_orphaned(engine, tag, image)
    for owner, env in unused:
        remove_unused(owner, env)
    for owner, env in envs:
        if any(tag.startswith(env.repo + ":") for tag in old) and env.exists():
            with env.lock():
                drop_old_revisions(owner, env)
    report_removed(engine, own)
    for env in [env for env in orphans(session) if shims_folder(env) in links]:
        console.info(f"removing {', '.join(paths_on_host(env))}")
        remove_shims(env)
    remove_caches(engine, list(caches))
    return 0


def image_lines(
    images: dict[str, Image], own: dict[str, int], reasons: dict[str, str]
) -> Iterator[list[str]]:
    """What a table tells of these tags."""
    for tag, reason in reasons.items():
        sizes = [human_size(own[tag]), human_size(images[tag].size - own[tag])]
        folder = home_path(unquote(images[tag].labels["pydock.folder"]))
        yield [tag, reason, *sizes, folder]


def old_tags(session: Session, env: Env, images: dict[str, Image]) -> list[str]:
    """The tags of an environment's revisions that are not kept."""
    start = env.repo + ":"
    own = {tag: image for tag, image in images.items() if tag.startswith(start) and image.of(env)}
    revisions = {tag[len(start) :]: image for tag, image in own.items()}
    return [f"{start}{number}" for number in old_revisions(revisions, session.settings)]


def report_removed(engine: Engine, own: dict[str, int]) -> None:
    left = [tag for tag in own if engine.try_output("image", "inspect", tag)]
    if left:
        console.warn(f"still in use: {', '.join(left)}")
    if own:
        size = human_size(sum(size for tag, size in own.items() if tag not in left))
        console.info(f"removed {count(len(own) - len(left), 'image')}; about {size} reclaimed")


def old_caches(engine: Engine, known: Collection[str]) -> dict[str, str]:
    """The volumes of the ~/.cache of environments: of those whose folder is gone, and the known."""
    listed = engine.output("volume", "ls", "-q", "--filter", "label=pydock.folder")
    names = re.findall(r"(?m)^.+--cache-[0-9a-f]{8}$", listed)
    text = engine.try_output("volume", "inspect", *names) if names else None
    found = {}
    for row in from_json(text) if text else []:
        folder = unquote((row.get("Labels") or {}).get("pydock.folder", ""))
        ours = row["Name"].endswith("--cache-" + sha256(os.fsencode(folder))[:8])
        if ours and row["Name"] in known:
            found[row["Name"]] = "downloads"
        elif ours and not engine.remote_address() and not may_exist(folder):
            found[row["Name"]] = "orphaned"
    return found


def caches_of(engine: Engine) -> dict[str, str]:
    """What is kept of downloads, a volume or a folder, and what it is."""
    import glob

    volumes = engine.output("volume", "ls", "-q", "--filter", "name=" + CACHE).split()
    found = {name: "downloads" for name in volumes if re.fullmatch(CACHE + "(-[0-9a-f]{8})?", name)}
    paths = glob.glob(os.path.join(glob.escape(cache_folder()), "downloads*"))
    folders = {**dict.fromkeys(sorted(paths), "downloads"), uv_folders(): "the installer"}
    return {**found, **{path: what for path, what in folders.items() if os.path.isdir(path)}}


def remove_caches(engine: Engine, names: Sequence[str]) -> None:
    import shutil

    removed, refused = [], []
    for name in names:
        try:
            if "/" in name:
                shutil.rmtree(name, ignore_errors=True)
            else:
                engine.run("volume", "rm", name)
            removed.append(name)
        except EngineError as error:  # a started environment uses it
            refused.append(error)
    if removed:
        console.info(f"removed {', '.join(removed)}")
    if refused:
        raise refused[0]


def orphans(session: Session) -> list[Env]:
    """Environments that have links or kernels on the host, but no folder any more."""
    found = []
    for shims in data_folders():
        name, folder = shims_owner(shims)
        for mode in ("global", "local") if name and not os.path.islink(shims) else ():
            env = session.new_env(name, Scope(mode, os.path.dirname(os.path.dirname(folder)), ""))
            if (env.folder, shims_folder(env)) == (folder, shims) and not may_exist(folder):
                found.append(env)
    return found


def is_orphaned(prefix: str, tag: str, image: Image) -> bool:
    """Whether it is an image of an environment of this prefix whose folder is not there any more,
    nor about to be."""
    if not image.is_ours(tag, prefix):
        return False
    folder, name = unquote(image.labels["pydock.folder"]), image.labels["pydock.name"]
    word = tag.rpartition(":")[2]
    new = os.path.join(os.path.dirname(folder), f".{name}.new-{word[4:12]}")
    return not (may_exist(folder) or word.startswith("tmp-") and may_exist(new))


def remove_orphaned(engine: Engine, tag: str, image: Image) -> None:
    """Removes an image whose folder is gone, and what containers wait or lie there of it."""
    repo, label = tag.rpartition(":")[0], "label=pydock.folder=" + image.labels["pydock.folder"]
    for name, state in containers_named(engine, label):
        idle = state in ("created", "exited")
        if state == "running" and name == repo + "--background":
            found = inspect_containers(engine, [name])
            idle = bool(found) and not processes(engine, Background(found[0]))
        if name.startswith(repo + "--") and idle:
            engine.try_run("rm", "-f", name)
    engine.try_run("rmi", tag)


def unique_sizes(images: dict[str, Image], going: Sequence[str]) -> dict[str, int]:
    """Upper bounds of the bytes that go with each of these tags, the smallest images first, by tag:
    only what is another whole image is known to be shared."""
    own: dict[str, int] = {}
    others = [image for tag, image in images.items() if tag not in going]
    for tag in sorted(going, key=lambda tag: images[tag].size):
        image = images[tag]
        whole = any(other.is_descendant_of(image) for other in others)
        own[tag] = 0 if whole else image.added_size(others)
        others.append(image)
    return own


@command(
    "environments",
    "config [KEY [VALUE]]",
    "show settings, or change one",
    arg("key", metavar="KEY", nargs="?", help=", ".join(SETTINGS)),
    arg("value", metavar="VALUE", nargs="?"),
    OPT_JSON,
)
def cmd_config(session: Session, args: argparse.Namespace) -> int:
    if args.value is not None:
        set_setting(session, args.key, args.value)
        return 0
    if args.key:
        if args.key not in SETTINGS:
            checked(args.key, "", "this command")
        if args.json:
            console.emit(to_json(session.settings[args.key]))
        else:
            console.show(session.settings[args.key])
        return 0
    found, problems = diagnose(session)
    sources = {key: source for key, (_, source) in session.settings.values.items()}
    if args.json:
        settings = {k: {"value": session.settings[k], "source": v} for k, v in sources.items()}
        wrong = [{"problem": problem, "hint": hint} for problem, hint in problems]
        found = {**found, "settings": settings, "problems": wrong}
        console.emit(to_json(found, indent=2))
    else:
        for key, value in found.items():
            console.show(f"{key:<12} {value}")
        console.show("")
        for key, source in sources.items():
            console.show(f"{key:<15} {session.settings[key] or '(empty)':<24} {source}")
        for problem, hint in problems:
            console.error(problem, hint)
    return 1 if problems else 0


def diagnose(session: Session) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """What there is, and what is wrong with it, each with its remedy."""
    engine, problems = session.engine, []
    found = {
        "pydock": __version__,
        "python": f"{'.'.join(map(str, sys.version_info[:3]))} ({sys.executable})",
        "mode": f"{session.scope.mode}: {session.scope.why}",
        "environments": session.scope.envs,
        "settings": session.scope.conf,
    }
    try:
        version = engine.output("version", "--format", "{{.Server.Version}}", timeout=20).strip()
        found["engine"] = f"{session.settings['engine']} {version}"
        compose = engine.try_output("compose", "version", "--short")
        found["compose"] = compose.strip() if compose else "none"
        found["builder"] = engine.builder()
    except PydockError as error:
        problems.append((str(error), error.hint))
        found.setdefault("engine", f"{session.settings['engine']}: {error}")
    try:
        found["template"] = find_template(session.scope)[0] or "pydock's own"
    except PydockError as error:
        problems.append((str(error), error.hint))
    folder = session.scope.envs
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    if not os.access(folder, os.W_OK):
        hint = "change its owner, or work in another folder with --local"
        problems.append((f"{folder} is not writable", hint))
    for name in session.scope.names():
        try:
            Env(session.scope, name, session.settings["prefix"]).hashes()
        except PydockError as error:
            problems.append((str(error), error.hint))
    return found, problems


def check_engine(value: str) -> None:
    import shutil

    client = Engine(shlex.split(value)).client
    if not re.match("docker|podman", os.path.basename(client)) or not shutil.which(client):
        hint = "pydock config --global engine docker, or podman, or 'sudo docker'"
        raise PydockError(f"{client} is not an engine, or not installed", hint)


def set_setting(session: Session, key: str, value: str) -> None:
    """Puts one line into the settings file; all other lines stay as they were written."""
    checked(key, value, "this command")
    if key in USERS_OWN and session.scope.mode == "local":
        hint = f"pydock config --global {key} {shell_join([value])}"
        raise PydockError(f"a project may not choose the {key}", hint)
    if key == "engine":
        check_engine(value)
    path = session.scope.conf
    text = with_setting(session.scope.text_beside(path), key, value)
    if parse_conf(text, path).get(key) != " ".join(value.split()):  # it had one of several lines
        raise PydockError(f"cannot replace the {key} in {path}", f"edit it: {key} = {value}")
    make_folder(os.path.dirname(path))
    folder, name = session.scope.open_beside(path)
    with folder:
        folder.write(name, text)
    console.info(f"{key} = {value} in {path}")
    if key in ("pass_env", "mounts"):
        console.info("to apply it to a started environment: pydock reset NAME")


def with_setting(text: str, key: str, value: str) -> str:
    """The text of a settings file with this line in place of the one that sets the key, or else at
    the end of its section, which may be new."""
    lines = text.rstrip("\n").split("\n") if text else []
    if not any(re.match(r"\s*\[pydock\]", line) for line in lines):
        lines.append("[pydock]")
    section, index, count = "", len(lines), 0
    for number, line in enumerate(lines):
        head = re.match(r"\s*\[(.+?)\]", line)
        if head and section == "pydock":
            index = number
        section = head.group(1) if head else section
        if section == "pydock" and re.match(rf"\s*{key}\s*[=:]", line, re.IGNORECASE):
            index, count = number, 1
            break
    lines[index : index + count] = [f"{key} = {value}"]
    return "\n".join(lines) + "\n"


@command(
    "share, clean up",
    "completion SHELL",
    "print the completion script of a shell",
    arg("shell", metavar="SHELL", choices=("bash", "zsh", "fish"), help="bash, zsh or fish"),
)
def cmd_completion(session: Session, args: argparse.Namespace) -> int:
    console.emit(COMPLETION[args.shell], "")
    return 0


def complete(words: Sequence[str]) -> list[str]:
    """What may stand for the last of the words, which is begun; nothing where it is a file, or
    anything."""
    import argparse

    *before, last = words or [""]
    first = next((i for i, word in enumerate(before) if not word.startswith("-")), None)
    if first is None:
        found = [*COMMANDS, *(sorted(EVERYWHERE) if last.startswith("-") else [])]
        return [word for word in found if word.startswith(last)]
    name = ALIASES.get(before[first], before[first])
    if name not in COMMANDS:
        return []
    actions = [a for a in make_parser(name)._actions if a.help != argparse.SUPPRESS]
    known = {option: action for action in actions for option in action.option_strings}
    takes = {option for option, action in known.items() if action.nargs != 0}
    pairs = zip(before[first:], before[first + 1 :])
    values = [word for left, word in pairs if not word.startswith("-") and left not in takes]
    if name == "run" and values:
        return []
    if before[-1] in takes:
        found = list(known[before[-1]].choices or [])
    elif last.startswith("-"):
        found = [option for option in known if option.startswith("--")]
    else:
        found = complete_value(name, values, mode_of(before))
    return [word for word in found if word.startswith(last)]


def mode_of(words: Sequence[str]) -> str | None:
    """Which environments the options of a command line mean."""
    return next((word[2:] for word in words if word in ("--local", "--global")), None)


def complete_value(name: str, values: Sequence[str], mode: str | None) -> list[str]:
    """What may stand at an argument of a command, after these."""
    kinds = COMMANDS[name].usage.replace("[", "").replace("]", "").split()
    if kinds and kinds[-1].endswith("…"):
        kinds += kinds[-1:] * len(values)
    kind = kinds[len(values)] if len(values) < len(kinds) else ""
    scope = find_scope(mode)
    if kind in ("NAME", "NAME…") and name != "create":
        return scope.names()
    if kind == "REVISION":
        env = Env(scope, values[0], Settings(scope)["prefix"])
        engine = Settings(scope).engine()
        if engine.sudo:  # would ask for a password, in the middle of a line
            return []
        tags = tags_of(engine, env, timeout=2)
        return sorted(filter(is_number, tags), key=int) + sorted(filter(is_label, tags))
    return {"KEY": list(SETTINGS), "SHELL": list(COMPLETION)}.get(kind, [])


# --------------------------------------------------------------------------------------------------
# The parser


ALIASES = {"ls": "list", "envs": "list", "rm": "delete"}
OTHER_WORDS = {  # a command, or else a line that is typed as it stands here
    "exec": "run",
    "allow": "trust",
    "add": "install",
    "remove": "uninstall",
    "env": "list",
    "ps": "list",
    "upgrade": "update",
    "sync": "build",
    "info": "config",
    "new": "create",
    "init": "create",
    "enter": "shell",
    "destroy": "delete",
    "copy": "clone",
    "mv": "rename",
    "move": "rename",
    "undo": "rollback",
    "log": "history",
    "logs": "docker logs CONTAINER; docker ps -a shows its name",
    "version": "pydock --version",
    "deactivate": "deactivate (alone, in the activated shell); after `start`: pydock stop",
}


# Where NAME may be left out: where other words follow it, where none do, and where no word at all
# is enough.
TAKES_NAME_ONLY = set("shell build start stop history lock verify".split())
NAME_IMPLIED = {"run", "install", "uninstall", "update", *TAKES_NAME_ONLY}
ALONE = TAKES_NAME_ONLY - {"lock", "verify"}
DRY_RUN = "run shell create build install uninstall update start stop delete clone rollback".split()
OPTS_EVERYWHERE = (
    arg(
        "--local",
        dest="mode",
        action="store_const",
        const="local",
        help="use this project's environments",
    ),
    arg(
        "--global",
        dest="mode",
        action="store_const",
        const="global",
        help="use those of your home folder",
    ),
    flag("-n", "--dry-run", help="only print the docker commands, as a script"),
    flag("--verbose", help="show each docker command"),
    flag("-q", "--quiet", help="print only errors"),
)
EVERYWHERE = {name for names, _ in OPTS_EVERYWHERE for name in names}


# Options of docker's that take a value, by what they are called in full.
TAKE_VALUE = {name: names[-1] for names, how in FRESH_OPTIONS if "metavar" in how for name in names}


def make_parser(name: str) -> argparse.ArgumentParser:
    """The parser of one command: to build all of them would cost each start more than the command's
    own work. With errors as everywhere else: one line, a hint, status 2."""
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise PydockError(message, f"{self.prog} --help", 2)

    # Each argument makes a formatter, which asks for the terminal's width.
    width = None if {"-h", "--help"} & set(sys.argv) else 80
    command = COMMANDS[name]
    p = Parser(
        prog="pydock " + name,
        usage=f"pydock {name} [OPTIONS] {command.usage}".rstrip(),
        description=command.summary[0].upper() + command.summary[1:] + ".",
        allow_abbrev=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, width=width),
    )
    p.set_defaults(func=command.operation, command=[], dry_run=False)
    for names, options in command.arguments:
        hidden = {"help": argparse.SUPPRESS} if options.get("help") == "" else {}
        p.add_argument(*names, **{**options, **hidden})
    group = p.add_argument_group("everywhere")
    for names, options in OPTS_EVERYWHERE:
        if "-n" not in names or name in DRY_RUN:
            group.add_argument(*names, **options)
    return p


def split_command(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is pydock's, up to NAME, and the program with its arguments, byte for byte. One `--`
    between is dropped."""
    own: list[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--" and rest:
            word = rest.pop(0)
        elif word in TAKE_VALUE and rest:
            own.append(f"{TAKE_VALUE[word]}={rest.pop(0)}")
            continue
        own.append(word)
        if not word.startswith("-"):
            break
    return own, rest[1:] if rest[:1] == ["--"] else rest


def parse(argv: list[str]) -> argparse.Namespace:
    """The namespace of a command line, with `func`, the command to call, and `line`, the words as
    typed."""
    if argv[:1] == ["help"]:
        argv = argv[1:] + ["--help"]
    position = next((i for i, word in enumerate(argv) if not word.startswith("-")), None)
    if position is None:
        parse_no_command(argv)
    name = command_name(argv, position)
    before, after = argv[:position], argv[position + 1 :]
    after, implied, scope = with_name(name, before, after)
    own, rest = split_line(name, before, after)
    if COMMANDS[name].usage.split("[")[0].strip() and set(own) <= EVERYWHERE:
        raise SystemExit(show_needs(name, argv))
    p = make_parser(name)
    check_options(p, name, own)
    whole = rest or isinstance(scope, ScriptScope) or {"-h", "--help"} & set(own)
    if name == "run" and not whole:
        raise PydockError("no program given", f"pydock run {own[-1]} python", 2)
    args = p.parse_args(own) if name in ("run", "shell") else p.parse_intermixed_args(own)
    if name == "shell" and rest:
        hint = f"pydock run {args.name} {shell_join(rest)}"
        raise PydockError(f"shell takes no program: {rest[0]}", hint, 2)
    if name not in ("run", "install", "uninstall", "update", "create") and rest:
        raise PydockError(f"unexpected argument: {rest[0]}", f"pydock {name} --help", 2)
    if name == "run":
        args.command = rest
    args.implied, args.scope = implied, scope
    args.line = [name] + [word for word in own if word not in EVERYWHERE]
    args.line += (["--"] if rest and name != "run" else []) + rest
    args.installer_args = rest
    return args


def with_name(
    command: str, before: list[str], after: list[str]
) -> tuple[list[str], str, Scope | None]:
    """The words after a command, with NAME where that was left out and can only be one; this name,
    or ''; and its scope, if that is not the usual one. A word that is nearly the name of an
    environment is a PydockError: a typo installs nothing."""
    position = first_word(command, after) if command in NAME_IMPLIED else 0
    word = "".join(after[position : position + 1])
    words = [*before, *(after[:position] if command in ("run", "shell") else after)]
    bare = {*before, *after} <= EVERYWHERE and command not in ALONE
    if command not in NAME_IMPLIED or bare or {"-h", "--help"} & set(words):
        return after, "", None
    scopes = scopes_of(words)
    with_it = [scope for scope in scopes if scope.has(word)]
    if with_it or word and command in TAKES_NAME_ONLY:
        return after, "", with_it[0] if with_it and with_it[0].why == ACTIVATED else None
    script = script_scope(word) if command == "run" else None
    if script:  # whatever follows is its own
        return [*after[: position + 1], "--", *after[position + 1 :]], "", script
    python = ["python"] * (command == "run" and word.endswith(".py") and os.path.isfile(word))
    found, name = implied_name(scopes)
    if not found and command == "run" and (after == [word] or is_path(word)):
        check_given(word, [*python, *after[position:]])
    if not found:
        return after, "", None
    check_typo(command, scopes, name, after[position:])
    return [*after[:position], name, *python, *after[position:]], name, found


def check_given(word: str, program: Sequence[str]) -> None:
    """PydockError where a program stands alone, or a path, and there is no environment to run it."""
    if is_path(word) and not os.path.isfile(word):
        raise PydockError(f"there is no file {word}")
    what = "no environment given"
    what += f", and {word} has no metadata (# /// script)" * is_path(word)
    if not word.startswith("-"):
        hint = f"pydock run NAME {shell_join(program)} (names: pydock list)"
        raise PydockError(what, hint, 2)


def scopes_of(words: Sequence[str]) -> list[Scope]:
    """The scopes that a command line can mean, the usual one first."""
    mode = mode_of(words)
    scopes = [scope for scope in (local_scope(), global_scope(), activated_scope()) if scope]
    return [scope for scope in scopes if mode in (None, scope.mode)]


ACTIVATED = "activated in this shell"


def activated_scope() -> Scope | None:
    """The project whose environment the caller's shell has activated, wherever that is now."""
    name = os.environ.get("PYDOCK_ENV", "")
    data = data_folder() if name else ""
    for path in os.environ.get("PATH", "").split(os.pathsep) if name else ():
        folder, end = os.path.split(path)
        if os.path.dirname(folder) == data and end == "bin":
            owner, path = shims_owner(folder)
            root = path[: -len("/envs/" + name)] if owner == name else ""
            if os.path.basename(root) == ".pydock" and root != global_scope().root:
                return Scope("local", root, ACTIVATED)
    return None


def check_typo(command: str, scopes: Sequence[Scope], name: str, words: Sequence[str]) -> None:
    """PydockError where the first word is nearly an environment's name: which of both was meant,
    it or a program or package in the environment `name`."""
    for scope in scopes if words else ():
        for other in scope.names():
            if is_typo(words[0], other):
                start = "pydock" if scope is scopes[0] else f"pydock --{scope.mode}"
                right = f"{start} {command} {shell_join([other, *words[1:]])}"
                hint = f"{right}; or, in {name}: pydock {command} {name} {shell_join(words)}"
                raise PydockError(f"there is no environment '{words[0]}'", hint)


def first_word(command: str, words: Sequence[str]) -> int:
    """Where the first word stands that is no option, nor an option's value; or `--`, or the end."""
    single = {"store_true", "store_const"}
    known = COMMANDS[command].arguments
    valued = {name for names, o in known if o.get("action") not in single for name in names}
    valued |= {
        name for name, value in PIP_OPTIONS.items() if value and command not in ("run", "shell")
    }
    position = 0
    while position < len(words) and words[position].startswith("-") and words[position] != "--":
        position += 2 if words[position] in valued else 1
    return min(position, len(words))


def implied_name(scopes: Sequence[Scope]) -> tuple[Scope | None, str]:
    """The environment that is meant where none is named, and its scope: the activated one, else the
    project's only one."""
    active = os.environ.get("PYDOCK_ENV", "")
    if active:
        with_it = [scope for scope in scopes if scope.has(active)]
        if not with_it:
            hint = "give a name, or: unset PYDOCK_ENV (or deactivate)"
            raise PydockError(
                f"PYDOCK_ENV is {active}, but there is no such environment here", hint
            )
        on_path = os.environ.get("PATH", "").split(os.pathsep)
        for scope in with_it:
            env = Env(scope, active, Settings(scope)["prefix"])
            if os.path.join(shims_folder(env), "bin") in on_path:
                return scope, active
        return with_it[0], active
    local = next((scope for scope in scopes if scope.mode == "local"), None)
    names = local.names() if local else []
    return (local, names[0]) if len(names) == 1 else (None, "")


def is_typo(word: str, name: str) -> bool:
    """Whether a word of some length is one slip away from a name: a letter too many, too few,
    another one, or two that changed places."""
    start = len(os.path.commonprefix([word, name]))
    a, b = word[start:], name[start:]
    slips = (a[1:] == b[1:], a[1:] == b, a == b[1:], a[1::-1] + a[2:] == b)
    return len(word) > 2 and any(slips)


def command_name(argv: list[str], position: int) -> str:
    """The command that a line's first word means. PydockError, with the right line, where there is
    none."""
    name = ALIASES.get(argv[position], argv[position])
    if name in COMMANDS:
        return name
    hint = right_line(name, argv[:position], argv[position + 1 :])
    hint = hint or nearest(name, [*COMMANDS, *ALIASES]) or "pydock --help"
    raise PydockError(f"unknown command '{name}'", hint, 2)


def right_line(word: str, before: list[str], after: list[str]) -> str:
    """What is typed instead of a line that begins with a word of other tools, a program, or the name
    of an environment; or ''."""
    scopes = scopes_of([*before, *after])
    scope = next((scope for scope in scopes if scope.has(word)), None)
    right = OTHER_WORDS.get(word, "")
    if scope:
        before = before + ["--" + scope.mode] * (scope is not scopes[0])
        line = ["run", word, *after] if after else ["shell", word]
    elif re.fullmatch(r"pip3?|python3?|.*\.py", word):
        pip = word.startswith("pip") and after[:1] in (["install"], ["uninstall"])
        name = [] if word.endswith(".py") or implied_name(scopes)[0] else ["NAME"]
        line = [after[0], *name, *after[1:]] if pip else ["run", *name, word, *after]
    elif right in COMMANDS:
        if word == "remove" and len(after) == 1 and any(scope.has(after[0]) for scope in scopes):
            right = "delete"
        usage = COMMANDS[right].usage
        line = [right, *(after if usage else []), *([Shell(usage)] * (not after))]
    else:
        return right
    return shell_join(["pydock", *before, *line]).rstrip()


def split_line(name: str, before: list[str], after: list[str]) -> tuple[list[str], list[str]]:
    """The words before and after a command: those of pydock, and those of a program or of the
    installer, which are not looked at."""
    if name in ("run", "shell"):
        own, rest = split_command(after)
        if rest and rest[0].startswith("-") and "--" not in after:
            hint = f"put options before the name: pydock {name} {shell_join(rest[:1])} … {own[-1]}"
            raise PydockError(f"{rest[0]} comes after the name", hint, 2)
        return before + own, rest
    own = before + after
    if name in ("start", "reset", "build"):
        own, rest = split_command(own)
        while rest:  # options after NAME, too
            more, rest = split_command(rest)
            own += more
        return own, []
    end = own.index("--") if "--" in own else len(own)
    own, rest = own[:end], own[end + 1 :]
    if name in ("install", "update", "create", "uninstall"):
        while rest and not rest[0].startswith("-"):  # a package
            own.append(rest.pop(0))
        known = {word for words, _ in COMMANDS[name].arguments for word in words}
        own, taken = split_pip_options(own, {"-q", *known, *EVERYWHERE})
        rest = taken + rest
    return own, rest


def check_options(p: argparse.ArgumentParser, name: str, words: Sequence[str]) -> None:
    """PydockError where a word is an option that the parser does not know."""
    known = {option for action in p._actions for option in action.option_strings}
    for word in words:
        if word in ("-n", "--dry-run") and name not in DRY_RUN:
            raise PydockError(
                f"{name} does not support --dry-run", "it works with " + ", ".join(DRY_RUN), 2
            )
        if word.startswith("-") and word.split("=")[0] not in known and word[:2] not in known:
            raise PydockError(f"unknown option {word}", f"{p.prog} --help", 2)


def parse_no_command(argv: list[str]) -> NoReturn:
    for word in argv:
        if word not in {*EVERYWHERE, "-h", "--help", "-V", "--version"}:
            raise PydockError(f"unknown option {word}", "pydock --help", 2)
    version = {"-V", "--version"} & set(argv)
    console.emit("pydock " + __version__ if version else overview())
    raise SystemExit(0)


def overview() -> str:
    lines = [
        "usage: pydock [--local|--global] [-n] [--verbose] [-q] [--version] COMMAND …",
        "Named Python environments: a dockerfile, a requirements.txt and a docker image.",
    ]
    for group in GROUPS:
        lines += ["", group]
        for name, command in COMMANDS.items():
            if command.group == group:
                lines.append(f"  {name + ' ' + command.usage:<30} {command.summary}")
    lines += [
        "",
        "NAME is optional where an environment is activated or the project has only one.",
        "For more: pydock COMMAND --help. To see the docker commands: pydock -n COMMAND.",
    ]
    return "\n".join(lines)


def show_needs(name: str, argv: Sequence[str]) -> int:
    """The small help of a command that got no arguments, with the names that could stand there."""
    command = COMMANDS[name]
    console.put(f"usage: pydock {name} [OPTIONS] {command.usage}\n")
    console.put(
        f"{command.summary[0].upper()}{command.summary[1:]}; for more: pydock {name} --help\n"
    )
    if name != "create":
        try:
            scope = find_scope(mode_of(argv))
            names = ", ".join(scope.names()) or "none yet; pydock create NAME"
            console.put(f"{scope.mode} environments: {names}\n")
        except PydockError:
            pass
    return 2


# --------------------------------------------------------------------------------------------------
# Main


def prepare() -> None:
    """Standard streams that exist, whoever closed them, and signals that let what was begun be
    undone."""
    import signal

    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for name, fd, how in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(fd, how, encoding="utf-8", errors="surrogateescape"))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            exact = stream is sys.stdout and (stream.encoding or "").lower().startswith("utf")
            stream.reconfigure(errors="surrogateescape" if exact else "backslashreplace")
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, lambda number, frame: sys.exit(128 + number))


def flushed(status: int) -> int:
    """The status, once stdout is out; a reader that has gone is no error, and one error is
    enough."""
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError as error:
        silence(1)
        if not status and not isinstance(error, BrokenPipeError):
            console.error(f"cannot write to stdout: {error.strerror}")
            return 1
    return status


def main(argv: list[str] | None = None) -> int:
    """Runs a command line, and says what ended it; the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        status = flushed(run_command(argv))
    except SystemExit as error:  # a signal, --help, --version, a command without its arguments
        status = int(error.code or 0)
    except BrokenPipeError:
        status = 0
    except KeyboardInterrupt:
        if not console.end() and sys.stderr.isatty():
            console.put("\n")
        console.error("interrupted")
        status = 130
    except PydockError as error:
        console.error(str(error), error.hint)
        status = error.status
    except OSError as error:  # such as a full disk, or a folder without permission
        paths = [str(path) for path in (error.filename, error.filename2) if path is not None]
        reason = error.strerror or str(error)
        console.error(": ".join([*[" to ".join(paths)] * bool(paths), reason]))
        status = 1
    except Exception as error:
        console.error(*bug(error))
        status = 1
    console.end()
    command = [word for word in argv if not word.startswith("-")][:1]
    if status and command == ["activate"] and "--end" not in argv and not sys.stdout.isatty():
        # eval of nothing succeeds, and a script would go on with the host's programs.
        print("false")
    return flushed(status)


def run_command(argv: list[str]) -> int:
    """What a command line asks for; its exit status."""
    if argv == ["--version"]:
        if sys.stdout:
            console.emit("pydock " + __version__)
        return 0
    prepare()
    if argv[:2] == ["completion", "--words"]:
        try:
            print("".join(word + "\n" for word in complete(argv[2:])), end="")
        except Exception:  # nobody wants to read of it while typing
            pass
        return 0
    args = parse(argv)
    console.quiet, console.verbose = args.quiet, args.verbose
    console.begin("working", False)
    if args.implied:
        console.info(f"in {args.implied}:")
    session = Session(args.scope or find_scope(args.mode), args.line, args.dry_run)
    try:
        status: int = args.func(session, args)
    finally:
        session.engine.cancel()
    if args.dry_run:
        console.info("dry run: nothing was changed")
    return status


def bug(error: BaseException) -> tuple[str, str]:
    """What to say of an error that nobody has thought of."""
    trace = error.__traceback__
    where = "?"
    while trace:
        # The last place in this file, not that in a library.
        if trace.tb_frame.f_code.co_filename == main.__code__.co_filename:
            where = f"{trace.tb_frame.f_code.co_name}, line {trace.tb_lineno}"
        trace = trace.tb_next
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return (
        f"this is a bug in pydock {__version__}: {what[:200]} ({where})",
        "please report it, with what you typed: https://github.com/apiad/pydock/issues",
    )


# --------------------------------------------------------------------------------------------------
# Texts that run elsewhere


# What runs as root, or is pydock's own, finds the base system's programs and no package's.
BASE_PATH_SH = "PATH=${PATH#/opt/venv/bin:}"


# One line of shell for each thing that an installer must be told, shared by the dockerfile and
# `install`.
FETCH_SH = r"""export UV_CACHE_DIR=/cache/uv PIP_CACHE_DIR=/cache/pip UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never PIP_ROOT_USER_ACTION=ignore; \
    export UV_INDEX_STRATEGY=${UV_INDEX_STRATEGY:-unsafe-best-match} PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1; \
    for line in $(sed -n 's/^--trusted-host[ =]*//p; /^--pre *$/p' requirements.txt /dev/shm/options 2>/dev/null); do case $line in --pre) export UV_PRERELEASE=allow ;; *) export UV_INSECURE_HOST="$UV_INSECURE_HOST $line" ;; esac; done; \
    for line in $(sed -n -E 's/^(-i|--index-url)[ =]*//p' requirements.txt /dev/shm/options 2>/dev/null); do case ${UV_DEFAULT_INDEX-} in *@"${line#*://}") ;; *) unset UV_DEFAULT_INDEX UV_INDEX_URL ;; esac; done; \
    ca=/etc/ssl/certs/ca-certificates.crt; if [ -f $ca ]; then export SSL_CERT_FILE=${SSL_CERT_FILE:-$ca}; fi; \
    pip="/opt/venv/bin/python3 -m pip"; if /uv/bin/uv --version >/dev/null 2>&1; then pip="/uv/bin/uv pip"; fi; \
"""


FINISH_SH = r"""if [ ! -L /opt/venv/bin/python3 ]; then ln -sf "$(command -v python3)" /opt/venv/bin/python3; fi; \
    python3 -ISW ignore -m compileall -q -j0 -x '/tests?/' /opt/venv >/dev/null || true; \
    find /opt/venv ! -user $USER_UID -exec chown -h $USER_UID:$USER_GID {} +
"""


DOCKERFILE = r"""# A Python environment: this file and requirements.txt define it; edit both as you like.
# `pydock build` builds the image; without pydock: docker build -f dockerfile -t NAME .
ARG REPOSITORY=
FROM {image} AS base
USER 0:0

# The installer (uv, or else the image's own pip), in a stage of its own, so that it does not get into the image.
FROM base AS installer
ARG INSTALLER=uv
RUN --mount=type=secret,id=pydock \
    if [ -f /run/secrets/pydock ]; then . /run/secrets/pydock; fi; mkdir -p /uv; \
    if [ $INSTALLER = uv ]; then PIP_NO_INPUT=1 python3 -m pip install -q --no-compile --only-binary :all: --target /uv uv==@UV@ || rm -rf /uv/*; fi

FROM base
LABEL pydock=1

# System packages that Python packages need, such as git, build-essential or libgomp1, go on a line like this.
RUN apt-get update && apt-get install -y --no-install-recommends {packages} && rm -rf /var/lib/apt/lists/*

# The user inside is you: pydock fills in your name, uid and gid when it builds.
ARG USERNAME=user
ARG USER_UID=1000
ARG USER_GID=1000
RUN sed -i -e "1i $USERNAME:x:$USER_UID:$USER_GID::/home/$USERNAME:/bin/sh" -e "/^$USERNAME:/d" /etc/passwd && \
    sed -i -e "1i $USERNAME:x:$USER_GID:" -e "/^$USERNAME:/d" /etc/group && \
    mkdir -p /home/$USERNAME /cache /uv /run/secrets && chown $USER_UID:$USER_GID /home/$USERNAME

# The virtual environment, first on the PATH of every program.
ENV VIRTUAL_ENV=/opt/venv PATH=/opt/venv/bin:$PATH
RUN python3 -m venv /opt/venv && chown -R $USER_UID:$USER_GID /opt/venv && \
    mkdir -p /opt/pydock && ln -s . /opt/pydock/wheels

# Packages. Downloads stay in a cache outside the image; the settings of the host (indexes, credentials) come as a
# secret; byte code is compiled here, once. A repository is installed as it is, also after -e; the folder of a project
# (-e .) is not part of the image: pydock adds it from its place on the host.
COPY requirements.txt wheels* /opt/pydock/
RUN @MOUNTS@\
    set -e; @PATH@; cd /opt/pydock; if ! grep -q '^ *[^ #]' requirements.txt; then exit 0; fi; \
    if [ -f /run/secrets/pydock ]; then . /run/secrets/pydock; fi; \
    @FETCH@    sed -E -e ':a' -e '/^[ \t]*-(e|-editable).*\\$/{N;s/\\\n//;ba' -e '}' -e 's/^[ \t]*-(e|-editable)[ \t=]*([a-z]+\+)/\2/; /^[ \t]*-(e|-editable)/d' requirements.txt >lines; $pip install -r lines; rm lines; \
    @FINISH@
COPY dockerfile /opt/pydock/
USER $USER_UID:$USER_GID
WORKDIR /home/$USERNAME
ENTRYPOINT []
CMD ["python3"]
"""


COMPOSE_FILE = """# Ports, volumes, variables and other services of this environment, for `docker compose up` and for pydock; yours to edit.
# A database or a worker that is named here starts with the environment (pydock start, activate) and stops with it.
services:
  app:
    build:
      context: .
      dockerfile: dockerfile
    init: true
    command: ["/bin/sleep", "infinity"]
"""


# Prints uv, the program. Runs in a container of a base image of the user's own, which is there for
# that only.
FETCH_UV_SH = r"""umask 022; export PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1
python3 -m pip install -q --retries 3 --no-compile --only-binary :all: --target /tmp/uv uv==@UV@ </dev/null >&2 && cat /tmp/uv/bin/uv
""".replace("@UV@", UV)


# What runs in the container of install, uninstall and update; the arguments come as "$@", the
# settings and the function `inventory` before it. 41 tells that the packages do not fit together.
CHANGE_SH = (
    r"""set -e; umask 022; cd /opt/pydock; touch requirements.txt
"""
    + FETCH_SH
    + r"""
case $pip in /uv/*) uv=/uv/bin/uv; yes= eager=; sed -i '/^--\(pre$\|trusted-host\|prefer-binary\)/d' /dev/shm/options 2>/dev/null || : ;; *) uv= yes=-y eager="--upgrade-strategy eager" ;; esac
installer() { "$@" </dev/null >&2; }
take() { python3 -IBSc "$copy" "$1" "$2"; if [ -d "$1/.git" ]; then ln -s "$1/.git" "$2/.git"; fi; }
verb=$1; all=$1; again=; shift; build="${uv:+$uv build --wheel -o}"; build=${build:-$pip wheel --no-deps --use-pep517 -w}
fits=yes; installer $pip check >/dev/null 2>&1 || fits=no
case $verb in uninstall) set -- $yes "$@" ;; update) verb=install; set -- $eager "$@" ;; esac
if [ $verb = install ]; then served
    for file in options lines; do if [ -e /dev/shm/$file ]; then set -- -r /dev/shm/$file "$@"; fi; done
    if [ -e /dev/shm/limits ]; then set -- -c /dev/shm/limits ${UV_CONSTRAINT:+-c "$UV_CONSTRAINT"} "$@"; fi
fi
for source in /dev/shm/projects/*/*; do if [ -e "$source" ]; then take "$source" "/tmp${source#/dev/shm}"; fi; done
for source in /dev/shm/src/*/*; do  # what is no wheel is made one, from a copy: a build writes into its folder
    if [ -e "$source" ]; then mkdir -p /tmp/pydock/wheels; else continue; fi
    case $source in
    *.whl) cp "$source" /tmp/pydock/wheels ;;
    *) take "$source" "/tmp/pydock/${source##*/}"; installer $build /tmp/pydock/wheels "/tmp/pydock/${source##*/}" ;;
    esac
    number=${source%/*}; extras=; if [ -e "/dev/shm/extras/${number##*/}" ]; then IFS= read -r extras <"/dev/shm/extras/${number##*/}"; fi
    for wheel in /tmp/pydock/wheels/*.whl; do cp "$wheel" .; set -- "$@" "/opt/pydock/wheels/${wheel##*/}$extras"; case $extras in *";"*) ;; *) again="$again ./${wheel##*/}" ;; esac; done
    printf '%s\n' "${wheel##*/}$extras" >>/dev/shm/taken; rm -rf /tmp/pydock
done
if [ $verb != lock ]; then installer $pip "$verb" "$@"; rm -rf /tmp/projects; fi
if [ -n "$again" ] && [ -z "$uv" ]; then installer $pip install -q --force-reinstall --no-deps $again; fi  # of the same version, perhaps
if [ $all = update ]; then unneeded=$(inventory unneeded); if [ -n "$unneeded" ]; then installer $pip uninstall $yes $unneeded; fi; fi
if [ $fits = yes ] && ! installer $pip check 2>/dev/shm/check; then cat /dev/shm/check >&2; exit 41; fi
for source in /opt/venv/lib/python*/site-packages/*.py; do  # a module that uv replaces leaves its byte code, which fits if both are of one second
    code=${source##*/}; code=${source%/*}/__pycache__/${code%.py}
    for code in "$code".*.pyc; do if [ "$source" -nt "$code" ]; then rm -f "$code"; fi; done
done
"""
    + f"echo {COMPILING} >&2\n{FINISH_SH}"
)


# What runs as the user, in a container with the project, to install folders as they lie there, which
# are "$@" after the first word. If that is `check`, the last line is `unfit` where a package lacks
# another one that it needs.
PROJECT_SH = (
    r"""set -e; umask 022; cd /opt/pydock
"""
    + FETCH_SH
    + r"""
export UV_CACHE_DIR=/tmp/pydock-cache PIP_CACHE_DIR=/tmp/pydock-cache
how=$1; shift
for path; do shift; set -- "$@" -e "$path"; done
if [ -e /dev/shm/options ]; then set -- -r /dev/shm/options "$@"; fi
case $pip in /uv/*) sed -i '/^--\(pre$\|trusted-host\|prefer-binary\)/d' /dev/shm/options 2>/dev/null || : ;; esac
$pip install --no-deps "$@" </dev/null >&2
rm -rf /tmp/pydock-cache
if [ "$how" = check ] && ! $pip check </dev/null >/dev/shm/check 2>&1; then cat /dev/shm/check >&2; echo unfit; fi
"""
)


# Copies a project's folder, without what no build reads, and with links to large files. argv: from, to.
COPY_PY = r"""
import os, shutil, sys
def copy(path, new, **_):
    if os.path.isfile(path):
        (os.symlink if os.path.getsize(path) >> 24 else shutil.copy2)(path, new)
skipped = ".git .hg .pydock .venv venv node_modules __pycache__ .tox .nox .mypy_cache .pytest_cache .ruff_cache".split()
shutil.copytree(*sys.argv[1:], symlinks=True, ignore=shutil.ignore_patterns(*skipped), copy_function=copy)
"""


# Makes an image's user OLD another one, as the dockerfile does it.
USER_SH = (
    BASE_PATH_SH
    + r"""; set -e
sed -i -e "1i $USERNAME:x:$USER_UID:$USER_GID::/home/$USERNAME:/bin/sh" -e "/^$USERNAME:/d" -e "/^$OLD:/d" /etc/passwd
sed -i -e "1i $USERNAME:x:$USER_GID:" -e "/^$USERNAME:/d" -e "/^$OLD:/d" /etc/group
grep -q ^root: /etc/passwd || echo root:x:0:0:root:/root:/bin/sh >>/etc/passwd
grep -q ^root: /etc/group || echo root:x:0: >>/etc/group
if [ $OLD != $USERNAME ] && [ -d /home/$OLD ]; then rm -rf /home/$USERNAME; mv /home/$OLD /home/$USERNAME; fi
mkdir -p /home/$USERNAME
find /home/$USERNAME /opt/venv \( ! -user $USER_UID -o ! -group $USER_GID \) -exec chown -h $USER_UID:$USER_GID {} +
"""
)


# What is installed, told by the base system's Python without any code of a package. argv: the JSON of
# `inventory_job`; uv, or nothing; and what is wanted. `unneeded` prints the names of what came along
# and nothing needs any more; `served` the pins of those from an index of their own; `tell`, as its last line, `pydock-inventory: ` and the JSON that
# `Inventory` reads; in the place of that, for a dry run, `found` prints the labels, and `freeze`
# writes a plain requirements.txt, too. 1: there is no lock, and uv has said why.
INVENTORY_PY = r"""
import glob, json, os, re, site, subprocess, sys
from importlib import metadata
from urllib.parse import quote, unquote
job, uv, how = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
folders = glob.glob("/opt/venv/lib/python3*/site-packages") or site.getsitepackages()
sys.path += folders + site.getsitepackages()  # pip's
try:
    from pip._vendor.packaging.markers import Marker
    from pip._vendor.packaging.requirements import Requirement
except Exception:
    Marker = Requirement = None

def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()

def applies(marker):
    try:
        return Marker(marker).evaluate()
    except Exception:
        return False

def needs(dist, wanted):  # name and extras of each package that it needs, where these extras of it are wanted
    given = [""] + [extra for extra in dist.metadata.get_all("Provides-Extra") or [] if canonical(extra) in wanted]
    for text in dist.requires or []:
        try:
            need = Requirement(text)
            if not need.marker or any(need.marker.evaluate({"extra": extra}) for extra in given):
                yield canonical(need.name), set(map(canonical, need.extras))
        except Exception:  # without a pip: rather too many
            yield canonical(re.match(r"[\w.-]*", text).group()), set()

def pin(name, dist):
    direct = json.loads(dist.read_text("direct_url.json") or "{}")
    url, vcs = direct.get("url", ""), direct.get("vcs_info")
    if direct.get("dir_info", {}).get("editable") and unquote(url[7:]) in job.get("projects", ()):
        return job["projects"][unquote(url[7:])]
    if url.startswith("file:"):
        return "./wheels/" + os.path.basename(unquote(url)) if url.endswith(".whl") else "%s==%s" % (name, dist.version)
    if vcs:
        url = "%s+%s@%s" % (vcs["vcs"], url, vcs["commit_id"])
    if direct.get("subdirectory"):
        url += "#subdirectory=" + direct["subdirectory"]
    return "%s @ %s" % (name, url) if url else "%s==%s" % (name, dist.version)

def compiled(lines):
    text = job["options"] + "".join(line + "\n" for line in lines)
    return subprocess.run([uv, "pip", "compile", "-q", "--universal", "--no-deps", "--no-header", "--no-annotate", "--generate-hashes", "-"],
                          input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)

packages = {}
for dist in metadata.distributions(path=folders):
    name = canonical(dist.metadata["Name"] or "")
    if re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", name):
        packages.setdefault(name, dist)
needed, extras, taken = {}, {name: set(found) for name, found in job["extras"].items()}, {}
if os.path.exists("/dev/shm/taken"):
    taken = dict(re.findall(r"(?m)^(.*\.whl)(\[.*?\])", open("/dev/shm/taken").read()))
    taken = {name: taken.get(os.path.basename(pin(name, dist)), "") for name, dist in packages.items()}
    for name, more in taken.items():
        extras.setdefault(name, set()).update(map(canonical, re.findall(r"[\w.-]+", more)))
todo = [name for name in packages if name not in job["unasked"]]
while todo:
    name = todo.pop()
    for other, more in needs(packages[name], extras.get(name, ())):
        if other in packages and (other not in needed or not more <= extras.get(other, set())):
            todo.append(other)
        needed.setdefault(other, set()).add(name)
        extras.setdefault(other, set()).update(more)
named = set(job["extras"]) | (set(needed) if job["lock"] else set())  # uv wants a hash of what is needed, even if it is there
hidden = ({"pip", "setuptools", "wheel", "distribute"} if sys.version_info < (3, 12) else {"pip"}) - named
names = sorted(set(packages) - hidden)
if how in ("unneeded", "served"):
    served = ["%s==%s\n" % (name, packages[name].version) for name in job["served"] if name in packages]
    print(*served if how == "served" else [name for name in names if name in job["unasked"] and name not in needed])
    os._exit(sys.stdout.flush() or 0)
pins = {name: pin(name, packages[name]) for name in names}
if how == "freeze":
    with open("/opt/pydock/requirements.txt", "w") as file:
        file.write(job["options"] + "".join(pins[name] + "\n" for name in names))
if how != "tell":
    listing = ",".join("%s==%s" % (name, packages[name].version) for name in names)
    print("\npydock-found: %d.%d.%d" % sys.version_info[:3], quote(listing, safe="=,"), flush=True)
    os._exit(0)
elsewhere, hashes = [marker for marker in job["markers"] if not applies(marker)], ""
todo = [pin for pin in pins.values() if pin not in job["hashed"] and not re.match(r"\./|-e |\S+ @ [a-z]+\+", pin)]
if job["lock"] and uv and todo:
    done = compiled(todo)
    if done.returncode:
        sys.exit(done.stderr.decode(errors="replace"))
    hashes = done.stdout.decode()
for line, marker in job["others"] if job["lock"] and uv else ():
    if marker in elsewhere:  # of a Python that is older than this one, uv wants to hear nothing
        hashes += "\n" + (compiled([line + "; " + marker]).stdout or compiled([line]).stdout).decode()
found = {name: [packages[name].version, pins[name] + taken.get(name, ""), sorted(needed.get(name, set()) - {name})] for name in names}
print("\npydock-inventory: " + json.dumps({"python": "%d.%d.%d" % sys.version_info[:3], "packages": found, "elsewhere": elsewhere, "hashes": hashes}), flush=True)
os._exit(0)  # what a package has left for the end would come after the last line
"""


# Runs the text $0 by the base system's Python: `python3` may be a package's.
PYTHON = ["/bin/sh", "-c", f'exec "$({BASE_PATH_SH}; command -v python3)" -BISc "$0" "$@"']


# Runs a program whose words are escaped for printf: the engine's client passes on nothing but UTF-8.
BYTES_SH = 'for word do shift; word=$(printf %b_ "$word"); set -- "$@" "${word%_}"; done; exec "$@"'


# A shell for a dry run, whose script brings no helper.
SHELL = ["/bin/sh", "-c", f'exec "$({BASE_PATH_SH}; command -v bash || echo /bin/sh)"']


# HELPER in a container is this, with INIT_PY behind it; the environment's own user runs it there, by
# nothing but builtins of the base system's shell where that can be:
# - `exec CONTAINER.EXECID PROGRAM…` is what each program is started by. It leaves an empty file with its
#   exec id and process id, since its environment may change; with the container's name, since memory may
#   be shared. Those of ended programs go when they are many: a signal reads all of them.
# - `shell NAME` is bash, or sh, which reads it again, without a word, where it is interactive.
# - `init PROGRAM…` is INIT_PY; `box PROGRAM…` the same without a terminal, and sooner; `told STATUS` ends both.
# - `idle TIMES CONTAINER SECONDS` ends a container: when it looked so many times, SECONDS apart (not those
#   of a sleeping machine), and there was no process but 1, the engine's, and no mark of a program.
# - `kernel FILE PROGRAM…` writes the first line of stdin to FILE; the program ends where stdin does.
# - `signal SIGNAL CONTAINER [EXECID]`: to the process group of this program, or else to all; END is TERM,
#   and KILL for what is there 10 s later. Fails where it finds none. TELL prints the command lines of what
#   `exec` started and that left behind. Where a compose file names a command, only what `exec` started counts.
HELPER_SH = r"""case ${1-} in
exec)
    true 2>/dev/null >/dev/shm/pydock.$2.$$
    tidy() { [ $# -lt 65 ] || (for mark do shift; [ -d /proc/${mark##*.} ] || set -- "$@" "$mark"; done; exec /bin/rm -f "$@"); }
    tidy /dev/shm/pydock.${2%.*}.* 2>/dev/null
    shift 2
    exec "$@" ;;
'')
    unset ENV
    if [ -n "${BASH-}" ] && [ -r ~/.bashrc ]; then . ~/.bashrc; fi
    case $PATH in /opt/venv/bin:*) ;; *) PATH=/opt/venv/bin:$PATH ;; esac
    unalias python python3 pip pip3 2>/dev/null
    PS1="($VIRTUAL_ENV_PROMPT) $PS1"; return 0 ;;
esac
init() { exec "$(@BASE_PATH@; command -v python3)" -BIS /run/pydock "$@"; }
box() {
    /usr/bin/env --default-signal=INT,QUIT /bin/true 2>/dev/null || init "$@"
    exec 3<&0 4>&2 2>/dev/null; child= told= status=
    for number in HUP INT QUIT TERM USR1 USR2; do trap "told=$number; kill -s $number"' $child' $number; done
    /usr/bin/env --default-signal=INT,QUIT /bin/sh -c 'exec "$@"' pydock "$@" <&3 3<&- 2>&4 4>&- & child=$!; [ -z "$told" ] || kill -s $told $child
    while told=; wait $child; new=$?; do case $new:$status in 127:?* | -1:?*) ;; *) status=$new ;; esac; [ -n "$told" ] || break; done; told $status 2>&4
}
told() {
    reached="pydock: the container reached its limit of"; cd /sys/fs/cgroup
    for file in memory.events memory/memory.oom_control pids.events pids/pids.events; do [ ! -r $file ] || while read -r key count; do
        case $file:$key:$count in *:0) ;; m*:oom_kill:*) echo "$reached memory" ;; p*:max:*) echo "$reached processes" ;; esac; done <$file >&2; done; exit $1
}
shell() {
    export VIRTUAL_ENV_PROMPT="$1" ENV=/run/pydock
    set -- "$(@BASE_PATH@; command -v bash)"
    exec "${1:-/bin/sh}" ${1:+--rcfile /run/pydock}
}
idle() {
    true 2>/dev/null >/dev/shm/pydock.$2.waits.$$
    times=0
    while [ $times -lt $1 ]; do
        /bin/sleep $3; times=$((times + 1))
        for mark in /dev/shm/pydock.$2.*; do
            case $mark in *.waits.$$ | *'*') ;; *) times=0; [ -d /proc/${mark##*.} ] || /bin/rm -f "$mark" ;; esac
        done
        for process in /proc/[0-9]*; do case $process in /proc/1 | "/proc/$$") ;; *) times=0 ;; esac; done
    done
}
kernel() {
    (umask 077; IFS= read -r line && printf '%s\n' "$line" >"$1") || exit; shift
    ({ while read -r line; do :; done; kill -s TERM $$; /bin/sleep 5; kill -s KILL $$; } <&3 3<&- >/dev/null 2>&1 &) 3<&0
    exec "$@" </dev/null
}
stat() { parent= state=; read -r line </proc/$1/stat && set -- ${line##*) } && state=$1 parent=$2 && [ $state != Z ]; } 2>/dev/null
find() {
    found= waits= others= left= loop=
    if [ -n "$exec_id" ]; then
        for file in /dev/shm/pydock.$name.$exec_id.*; do if stat ${file##*.} && [ $parent = 0 ]; then found="$found -${file##*.}"; fi; done
        return
    fi
    for file in /dev/shm/pydock.$name.waits.*; do loop=${file##*.}; done
    for proc in /proc/[0-9]*; do
        pid=${proc#/proc/}
        if [ $pid = 1 ] || [ $pid = $$ ] || ! stat $pid || [ $parent = "$loop" ]; then continue; fi
        words=; { read -r words </proc/$pid/cmdline; } 2>/dev/null  # without the NUL between them
        case $parent-$pid-$words in
        0-/bin/sh/run/pydocksignal*) ;;  # another one like this
        0-*) found="$found $pid" ;;
        1-"$loop"-* | 1-*-/bin/sleepinfinity | 1-*-sleepinfinity) waits=yes ;;
        1-*) left="$left $pid" others="$others $pid" ;;
        *) others="$others $pid" ;;
        esac
    done
    told=$found
    if [ -n "$waits" ]; then told=$told$left found=$found$others; fi
}
signal() {
    signal=$1 name=$2 exec_id=${3-}
    find
    if [ $signal = TELL ]; then for pid in $told; do /usr/bin/tr '\0\n' '  ' </proc/$pid/cmdline && echo; done 2>/dev/null; exit 0; fi
    [ -n "$found" ] || exit 1
    if [ $signal != END ]; then kill -s $signal -- $found; exit; fi
    kill -s TERM -- $found
    tenths=0
    while find; [ -n "$found" ]; do
        tenths=$((tenths + 1)); if [ $tenths -gt 100 ]; then kill -s KILL -- $found; exit; fi
        /bin/sleep 0.1
    done
}
"$@"; exit
""".replace("@BASE_PATH@", BASE_PATH_SH)


# The first process where the engine brings none, or on a terminal, where the engine's would let
# Ctrl-Z stop the program with nobody to wake it: passes signals on, so that SIGTERM is obeyed.
INIT_PY = r"""
import os, signal, sys
child = os.fork()
if child == 0:
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.setpgid(0, 0)
    if os.isatty(0):
        os.tcsetpgrp(0, os.getpgrp())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv("/bin/sh", ["pydock", "-c", 'exec "$@"', "pydock", *sys.argv[1:]])  # says what it cannot start
for number in (1, 2, 3, 10, 12, 15):
    signal.signal(number, lambda n, frame: os.kill(child, n))
while True:
    pid, status = os.waitpid(-1, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        if pid == child and os.WSTOPSIG(status) == signal.SIGTSTP:
            os.killpg(child, signal.SIGCONT)
    elif pid == child:
        os.execv("/run/pydock", ["/run/pydock", "told", str(status >> 8 or (128 + (status & 127) if status & 127 else 0))])
"""


HELPER_FILE = f'#!/bin/sh\n""":"\n{HELPER_SH}"""{INIT_PY}'


# Whether this shell's process group is what the terminal sends its signals to, without a process
# for it.
FOREGROUND_SH = r"""foreground() { [ -e /proc/$$/stat ] || return 0; read -r line </proc/$$/stat; set -- ${line##*) }; [ "$3" = "$6" ]; }
"""


# What ends a sandbox that takes too long, with status 9, also where nobody else is left. One that is
# still to come is waited for as long as the parent lives, which says by SIGTERM when there is none.
CLOCK_SH = r"""trap '' HUP; trap 'kill -s KILL $!; exit' TERM
/bin/sleep $1 & wait
over= tries=0; trap over=yes TERM
until eval "$2"; do tries=$((tries + 1)); [ -z "$over" ] && { [ $tries -lt 600 ] || kill -s 0 $3; } || exit 0; /bin/sleep 0.1; done >/dev/null 2>&1
exit 9
"""


# What follows a program that failed: an argument that is on this host, but not inside, is said. Only
# where one leads out of the current folder is there a call of the engine: `seek`, the command that
# looks inside. The last `words` words are the program's; `title` is the environment.
OUTSIDE_SH = r"""outside() {
    if [ $status = 0 ] || [ $status -gt 128 ] || [ -z "$seek" ]; then return; fi
    while [ $# -gt $words ]; do shift; done
    for word do
        shift
        path=$word
        case $word in -*=*) path=${word#*=} ;; esac
        case $path in "$PWD" | "$PWD"/*) [ -L "$path" ] || continue ;; /* | ../* | ..) ;; *) [ -L "$path" ] || continue ;; esac
        case $path in *[[:cntrl:]]*) ;; *) if [ -e "$path" ]; then set -- "$@" "$path"; fi ;; esac
    done
    [ $# != 0 ] || return
    path=$(eval "$seek \"\$@\"" </dev/null 2>/dev/null)
    [ -n "$path" ] && word=$path || return
    case $path in /*) ;; *) word=$(readlink -f "$path") ;; esac
    case $word in *[!A-Za-z0-9/._+@%-]*) word="'$word'" ;; esac
    echo "pydock: warning: $path is on this host, but not in ${title##* } (hint: pydock run -v $word:$word $title ...; for always: pydock config --global mounts DIR)" >&2
}
"""
SEEK = ["/bin/sh", "-c", 'for path do [ -e "$path" ] || { echo "$path"; exit; }; done', "sh"]


# Which variables a program gets, as options of `docker exec`: those of the setting `pass_env`, and
# what was set or changed since `activate` noted the names and checksums of all, in _PYDOCK_WAS; with
# `snapshot`, that note. A checksum of another awk could not be compared: both are made here.
CHANGED_AWK = r"""BEGIN {
    for (i = 1; i < 256; i++) code[sprintf("%c", i)] = i
    count = split(ENVIRON["_PYDOCK_WAS"], was, " ")
    for (i = 1; i <= count; i++) known[was[i]] = 1
    pass = "@PASS@"; if (snapshot) printf "- "  # it is never empty
    for (name in ENVIRON) if (name ~ /^[A-Za-z_][A-Za-z0-9_]*$/ && name !~ /^(@NEVER@)$/) {
        value = ENVIRON[name]; sum = 0
        for (i = length(value); i; i--) sum = (sum * 257 + code[substr(value, i, 1)]) % 2147483647
        noted = name ":" sum
        if (snapshot) printf "%s ", noted
        else if (count && !(noted in known) || pass && name ~ "^(" pass ")$") printf " -e %s", name
    }
}
"""


# The parent of a client that cannot be left alone. A client of `run` that a closed pipe or terminal
# kills says no word to its container; one of `exec` (`exec_id` is set) passes no signal on, and is
# kept from those of the terminal's process group. The client is "$@"; set before are `container`, `engine`, `exec_id`, `user`,
# `terminal` (what its signals would reach), `remove` (the container ends with it), `absent` (said if `look` finds no such program).
PARENT_SH = r"""inside() { eval "$engine exec -w / -u \"\$user\" $container /run/pydock signal $1 $container $exec_id" </dev/null >/dev/null 2>&1; }
tell() {
    told=$1; [ $1 != HUP ] || trap '' HUP  # a terminal that closes says it twice, also to the client that tells it inside
    [ -n "$client" ] || return
    if [ -z "$exec_id" ]; then kill -s $1 $client 2>/dev/null; return; fi
    tries=0
    until inside $1; do
        kill -0 $client 2>/dev/null || break
        tries=$((tries + 1)); if [ $tries -gt 30 ]; then kill -s KILL $client; break; fi  # an engine that does not answer any more
        /bin/sleep 0.1
    done
}
{ command exec 3<&0; } 2>/dev/null || exec 3</dev/null
client= told=
setsid=/usr/bin/setsid; [ -x $setsid ] && case $engine in sudo* | */sudo*) false ;; esac || setsid=  # sudo asks on a terminal
detach=; if [ -n "$exec_id" ] && [ -z "$terminal" ]; then detach=$setsid; fi
for number in HUP INT QUIT TERM USR1 USR2; do trap "tell $number" $number; done
if [ -z "$exec_id" ] && [ -n "$terminal" ]; then trap told=yes INT QUIT; fi
if [ -n "$limit" ]; then
    $setsid /bin/sh -c "$clock" pydock-clock $limit "$engine kill $container" $$ </dev/null >/dev/null 2>&1 3<&- &
    watch=$!
fi
$detach "$@" <&3 3<&- &
client=$!
[ -z "$told" ] || tell $told
status=
while told=; wait $client; new=$?; do
    case $new:$status in 127:?* | -1:?*) ;; *) status=$new ;; esac  # it is gone already; -1 says bash
    [ -n "$told" ] || break
done
if [ -n "$limit" ]; then
    kill -s TERM $watch 2>/dev/null
    wait $watch
    if [ $? -eq 9 ]; then status=124; echo "pydock: the container reached its time limit of $limit s" >&2; fi
fi
if [ $status -eq 127 ] && [ -n "$absent" ] && [ "$(eval "$look" </dev/null 2>/dev/null)" = absent ]; then printf '%s\n' "$absent" >&2; fi
outside "$@"; if [ -n "$exec_id" ]; then
    if [ -n "$terminal" ] && [ ! -t 0 ]; then trap '' HUP; status=129; fi  # docker's client says 0 where the terminal has closed
    [ $status -le 128 ] || inside END
    [ -z "$remove" ] || eval "$engine rm -f $container" >/dev/null 2>&1
else
    [ $status -le 128 ] || [ $status -eq 141 ] || eval "$engine stop -t 3 $container" >/dev/null 2>&1
    [ $status -eq 0 ] || eval "$engine rm -f $container" >/dev/null 2>&1
fi
if [ $status -eq 130 ] && foreground; then trap - INT; kill -s INT $$; fi  # or a shell's loop, or script, would go on
exit $status
"""


# What stands before PARENT_SH in the file `enter`, to which all programs of an activated or linked
# environment on the host are symbolic links: the link's name is the program's, or one of `linked`.
# Nothing but builtins up to the engine's client: each process would cost a millisecond, and PATH
# may lead anywhere. Only a link of the user's own with another name has to be read.
SHIM_SH = r"""path=$PATH rest=:$PATH:
case $rest in *:"$bin":*) rest=${rest%%:"$bin":*}:${rest#*:"$bin":}; rest=${rest#:}; PATH=${rest%:} ;; esac
link=$0 ports=
case $link in "${bin%/bin}/enter") program=$1 link=; shift; eval "$PYDOCK_TOLD" ;; esac  # by `pydock run`
while [ -n "$link" ] && program=${link##*/}; do
    if linked || [ -L "$bin/$program" ] || [ ! -L "$link" ]; then break; fi
    next=$(readlink "$link")
    case $next in "${bin%/bin}/enter") break ;; /*) link=$next ;; *) link=${link%/*}/$next ;; esac
done
verb=
pip() { for word do case $word in -*) ;; install | uninstall) verb=$word; return ;; *) return ;; esac; done; }
module() { shift 2; pip "$@"; }
case ${link:+$program}:${1-}:${2-} in
pip:* | pip3:* | pip3.*:*) pip "$@" ;;
python:-m:pip | python3:-m:pip | python3.*:-m:pip) module "$@" ;;
python*:-IS:-c) case ${3-} in "# pydock: "*) PATH=$bin:$PATH; exec "$python" "$@" ;; esac ;;  # the head of pydock.py means this host's
python*:*/pydock.py:* | python*:pydock.py:*) if [ "$1" -ef "$itself" ]; then PATH=$bin:$PATH; exec "$python" "$@"; fi ;;
esac
if [ -n "$verb" ]; then  # what is installed is to stay
    case $program in python*) shift 2 ;; esac
    found=
    for word do shift; if [ -z "$found" ] && [ "$word" = "$verb" ]; then found=yes; else set -- "$@" "$word"; fi; done
    pydock "$verb" "$name" "$@"
fi
if [ -n "$link" ] && [ -n "${_PYDOCK_WAS-}$pass" ]; then passed=$(LC_ALL=C /usr/bin/awk -f "${bin%/bin}/changed"); fi 2>/dev/null
exports
remove= limit= LC_ALL=C typed=$PWD words=$(($# + 1)) seek="$engine exec -u \"\$user\" -w \"\$inside\" $container $seek_inside"
cd -P . 2>/dev/null
if [ -n "$link" ]; then place; else place_of_run; fi
case $inside$PWD$* in *[!"$plain"\ -~]*) inside= ;; esac; case $open in *"$ports"*) ;; *) inside= ;; esac
case $link$passed:$engine in ?*' -e '*:sudo* | ?*' -e '*:*/sudo*) inside= ;; esac  # which keeps variables to itself
if [ -z "$inside" ] || ! alive; then PATH=$path PYDOCK_TOLD=run; [ -z "$link" ] || PYDOCK_TOLD="own$passed"; export PWD="$typed" PYDOCK_TOLD; pydock run $ports "$name" "$program" "$@"; fi
if ! read -r exec_id </proc/sys/kernel/random/uuid; then exec_id=$PPID-$$; fi 2>/dev/null
stdin=-i terminal=
if [ -t 0 ] && ! foreground; then stdin=
elif [ -t 0 ] && [ -t 1 ]; then terminal=yes stdin="-i -t $keys"; fi
if [ -n "$link" ]; then passed="$passed${TERM+ -e \"TERM=\$TERM\"}${LANG+ -e \"LANG=\$LANG\"}${NO_COLOR+ -e \"NO_COLOR=\$NO_COLOR\"}"; fi
eval "set -- $engine exec $stdin $passed -u \"\$user\" -w \"\$inside\" $container /run/pydock exec $container.$exec_id \"\$program\" \"\$@\""
"""


# What a shell evaluates; `@BIN@` and so on are quoted for it. One environment at a time, as with
# virtualenv.
ACTIVATE_SH = r"""if [ -n "${PYDOCK_ENV-}${VIRTUAL_ENV-}" ] && [ "$(command -v deactivate)" = deactivate ]; then deactivate nondestructive || :; fi
_PYDOCK_BIN=@BIN@
_PYDOCK_OLD="${PYDOCK_ENV+p}${VIRTUAL_ENV+v}${VIRTUAL_ENV_PROMPT+m}"
_PYDOCK_OLD_ENV="${PYDOCK_ENV-}" _PYDOCK_OLD_VENV="${VIRTUAL_ENV-}" _PYDOCK_OLD_PROMPT="${VIRTUAL_ENV_PROMPT-}"
deactivate () {
    _PYDOCK_PATH=":${PATH-}:"
    case "$_PYDOCK_PATH" in *:"$_PYDOCK_BIN":*)
        _PYDOCK_PATH="${_PYDOCK_PATH%%:"$_PYDOCK_BIN":*}:${_PYDOCK_PATH#*:"$_PYDOCK_BIN":}"
        _PYDOCK_PATH="${_PYDOCK_PATH#:}"
        PATH="${_PYDOCK_PATH%:}" ;;
    esac
    if [ -n "${_PYDOCK_PS1+x}" ]; then PS1="$_PYDOCK_PS1"; fi
    case "$_PYDOCK_OLD" in *p*) export PYDOCK_ENV="$_PYDOCK_OLD_ENV" ;; *) unset PYDOCK_ENV ;; esac
    case "$_PYDOCK_OLD" in *v*) export VIRTUAL_ENV="$_PYDOCK_OLD_VENV" ;; esac
    case "$_PYDOCK_OLD" in *m*) export VIRTUAL_ENV_PROMPT="$_PYDOCK_OLD_PROMPT" ;; *) unset VIRTUAL_ENV_PROMPT ;; esac
    unset _PYDOCK_WAS _PYDOCK_BIN _PYDOCK_PATH _PYDOCK_PS1 _PYDOCK_OLD _PYDOCK_OLD_ENV _PYDOCK_OLD_VENV _PYDOCK_OLD_PROMPT
    unset -f deactivate
    hash -r 2>/dev/null || :
    if [ "${1-}" = nondestructive ]; then _PYDOCK_LEAVE=@LEAVE@; elif [ -e @LEAVE@ ]; then /bin/sh @LEAVE@ || :; fi
}
unset VIRTUAL_ENV
export PATH="$_PYDOCK_BIN:${PATH-}" PYDOCK_ENV=@NAME@ VIRTUAL_ENV_PROMPT=@NAME@
if [ -n "${PS1+x}" ] && [ -z "${VIRTUAL_ENV_DISABLE_PROMPT-}" ]; then _PYDOCK_PS1="$PS1"; PS1="(@NAME@) $PS1"; fi
hash -r 2>/dev/null || :
if [ -n "${_PYDOCK_LEAVE-}" ] && [ "$_PYDOCK_LEAVE" != @LEAVE@ ] && [ -e "$_PYDOCK_LEAVE" ]; then /bin/sh "$_PYDOCK_LEAVE" || :; fi
unset _PYDOCK_LEAVE
_PYDOCK_WAS="$(LC_ALL=C /usr/bin/awk -v snapshot=1 -f @CHANGED@ 2>/dev/null)" || :; export _PYDOCK_WAS
"""


ACTIVATE_FISH = r"""if functions -q deactivate; and test -n "$PYDOCK_ENV$VIRTUAL_ENV"; deactivate nondestructive; end
for _pydock_name in PYDOCK_ENV VIRTUAL_ENV VIRTUAL_ENV_PROMPT
    if set -q $_pydock_name; set -g _PYDOCK_OLD_$_pydock_name $$_pydock_name; end
end
set -g _PYDOCK_BIN @BIN@
function deactivate
    set -l at (contains -i -- $_PYDOCK_BIN $PATH); and set -e PATH[$at]
    if functions -q _pydock_prompt
        functions -e fish_prompt
        functions -c _pydock_prompt fish_prompt
        functions -e _pydock_prompt
    end
    for name in PYDOCK_ENV VIRTUAL_ENV VIRTUAL_ENV_PROMPT
        set -l old _PYDOCK_OLD_$name
        set -e $name
        if set -q $old; set -gx $name $$old; set -e $old; end
    end
    set -e _PYDOCK_BIN _PYDOCK_WAS
    functions -e deactivate
    if test "$argv[1]" = nondestructive; set -g _PYDOCK_LEAVE @LEAVE@; else if test -e @LEAVE@; /bin/sh @LEAVE@; or true; end
end
set -e VIRTUAL_ENV
set -gx PATH $_PYDOCK_BIN $PATH
set -gx PYDOCK_ENV @NAME@
set -gx VIRTUAL_ENV_PROMPT @NAME@
if not set -q VIRTUAL_ENV_DISABLE_PROMPT; and functions -q fish_prompt
    functions -c fish_prompt _pydock_prompt
    function fish_prompt
        set -l last $status
        printf '(%s) ' @NAME@
        /bin/sh -c "exit $last"
        _pydock_prompt
    end
end
if set -q _PYDOCK_LEAVE; and test $_PYDOCK_LEAVE != @LEAVE@; and test -e $_PYDOCK_LEAVE; /bin/sh $_PYDOCK_LEAVE; or true; end
set -e _PYDOCK_LEAVE; or true
set -gx _PYDOCK_WAS (/usr/bin/env LC_ALL=C /usr/bin/awk -v snapshot=1 -f @CHANGED@ 2>/dev/null)
"""


# What a shell evaluates to have words completed; all of them ask `pydock completion --words`.
COMPLETION = {
    "bash": r"""_pydock() {
    local IFS=$'\n'
    COMPREPLY=($(pydock completion --words "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o nosort -o default -F _pydock pydock 2>/dev/null || complete -o default -F _pydock pydock
""",
    "zsh": r"""_pydock() {
    local -a found
    found=("${(@f)$(pydock completion --words "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n $found ]]; then compadd -V pydock -a found; else _files; fi
}
(( $+functions[compdef] )) || { autoload -Uz compinit; compinit; }
compdef _pydock pydock
""",
    "fish": r"""function _pydock
    set -l tokens (commandline -opc) (commandline -ct)
    set -l found (pydock completion --words $tokens[2..] 2>/dev/null)
    if set -q found[1]; printf '%s\n' $found; else; __fish_complete_path (commandline -ct); end
end
complete -c pydock -f -k -a '(_pydock)'
""",
}


if __name__ == "__main__":
    raise SystemExit(main())
