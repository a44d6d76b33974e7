"""What the tests share: a throw-away home, names of their own, the real pydock.py, and an engine that fails on command.

The engine is whatever `PYDOCK_ENGINE` names (default docker), for real. Each test case has a random image prefix, so
that the suite can run twice at once, and removes what it made.
"""
from __future__ import annotations

import base64
import fcntl
import functools
import http.server
import itertools
import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import socket
import ssl
import stat
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import unittest
import urllib.request
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
PYDOCK = ROOT / "pydock.py"
STARTER = ROOT / "tests" / "start_pydock.py"
ENGINE = shlex.split(os.environ.get("PYDOCK_ENGINE", "docker"))
PYTHON = "3.11"  # the base image that every engine of the tests has

sys.path.insert(0, str(ROOT))
import pydock as pydock  # noqa: E402

SLOW = bool(os.environ.get("PYDOCK_TEST_SLOW"))
WAYS = ("fail", "kill", "hang", "after")
STRANGER = 12345  # the uid of somebody else, whom this machine need not know

SECRET = "s3cr3t" + os.urandom(6).hex()
LOGIN = "Basic " + base64.b64encode(("somebody:" + SECRET).encode()).decode()

USER = pydock.login_name()
INNER_HOME = "/home/" + USER
PRINT = ("printf", "%s\\0")  # the arguments after it, each ended by a NUL
# A program that tells by files of the current folder what it got, so that stdout can be anything.
COUNT = """
import os, signal, sys, time
number, got = int(sys.argv[1]), []
signal.signal(number, lambda *_: got.append(1))
open("ready", "w").close()
end = time.time() + 60
while not got and time.time() < end:
    time.sleep(0.02)
time.sleep(0.5)  # a second delivery of the same signal would come now
open("count", "w").write(str(len(got)))
sys.exit(5)
"""
SLEEP = ("sh", "-c", ": > ready; exec sleep 1000")

REDIS = "pydock-test-redis:latest"
# A service that is there and does nothing, of an image that every engine of the tests has.
IDLE: Dict[str, Any] = {"image": "python:%s-slim" % PYTHON, "pull_policy": "never", "init": True, "command": ["sleep", "infinity"]}

FAKE = """#!/bin/sh
# Passes everything on to the real engine, but for the calls named by `at` (comma-separated numbers from 1, or first words): there
# it fails, hangs, holds (until the file `go` is there), kills (SIGKILL to pydock before the call), or does so after (when the call
# has done its work). A file for each call, made by one process alone. It starts no other program: some commands call it thirty times.
set -C  # what is there is not written to
number=1
until {{ printf '%s\\n' "$1 $2" >"{folder}/calls/$number"; }} 2>/dev/null; do number=$((number + 1)); done
read -r do at <"{folder}/at"
case ",$at," in *",$number,"* | *",$1,"*) ;; *) do= ;; esac
case $do in
    fail) echo "the fake engine fails at call $number" >&2; exit 1 ;;
    hang) exec sleep 600 ;;
    hold) until [ -e "{folder}/go" ]; do sleep 0.05; done ;;
    kill) kill -KILL "$PPID"; exit 1 ;;
    after) "{real}" "$@"; kill -KILL "$PPID"; exit 1 ;;
esac
exec "{real}" "$@"
"""

RUNS = "{{json .RootFS.Layers}} {{json .Config.Env}} {{json .Config.Cmd}} {{json .Config.Entrypoint}} {{.Config.User}} {{.Config.WorkingDir}}"

# What `pip freeze` says, but for what came from a local file, in a fifth of the time.
INSTALLED = """
import importlib.metadata, sys
for module in sys.argv[1:]:
    importlib.import_module(module)
for package in importlib.metadata.distributions():
    if package.metadata["Name"] not in ("pip", "setuptools", "wheel") and "file://" not in (package.read_text("direct_url.json") or ""):
        print(package.metadata["Name"] + "==" + package.version)
"""


def ask_once(question: Callable[[], bool]) -> Callable[[], bool]:
    """The question, which is answered once: what an engine is does not change. No module asks it when it is imported."""
    return functools.lru_cache(maxsize=None)(question)


@ask_once
def has_compose() -> bool:
    return subprocess.run([*ENGINE, "compose", "version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


@ask_once
def has_redis() -> bool:
    return bool(engine("image", "ls", "-q", REDIS))


@ask_once
def is_podman() -> bool:
    return pydock.Engine(ENGINE).podman


@ask_once
def is_rootless_docker() -> bool:
    return pydock.Engine(ENGINE).root_is_caller()


def needs(condition: Callable[[], bool], reason: str) -> Callable[[Any], Any]:
    """Skips a test, or a class of them, where this is not so: asked when it begins, as importing a module calls no engine."""

    def for_class(cls: Any) -> Any:
        inherited = cls.__dict__.get("setUpClass")

        def begin(case: Any) -> None:
            if not condition():
                raise unittest.SkipTest(reason)
            if inherited:
                inherited.__func__(case)
            else:
                super(cls, case).setUpClass()

        cls.setUpClass = classmethod(begin)
        return cls

    def for_test(test: Any) -> Any:
        @functools.wraps(test)
        def begin(case: unittest.TestCase) -> None:
            if not condition():
                case.skipTest(reason)
            test(case)

        return begin

    return lambda decorated: for_class(decorated) if isinstance(decorated, type) else for_test(decorated)


needs_compose = needs(has_compose, "no docker compose here")
needs_redis = needs(has_redis, f"no {REDIS} here (tests/engines.sh)")
one_engine_for_all = needs(lambda: not is_podman(), "each user has a podman of their own")


class Result:
    """A finished pydock: status, stdout and stderr as text."""

    def __init__(self, argv: List[str], status: int, out: str, err: str) -> None:
        self.argv, self.status, self.out, self.err = argv, status, out, err

    def __repr__(self) -> str:
        return "pydock %s: status %s\n--- stdout\n%s--- stderr\n%s" % (" ".join(self.argv), self.status, self.out, self.err)


def engine(*argv: str, check: bool = True, input: Optional[str] = None) -> str:
    """Calls the real engine: stdout, stripped."""
    for _ in range(5):
        done = subprocess.run([*ENGINE, *argv], env=by_hand(), input=input, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if argv[:2] != ("image", "ls") or "image not known" not in done.stderr:  # what podman trips over, beside other tests
            break
    if check and done.returncode:
        raise AssertionError("%s %s: %s" % (ENGINE[-1], " ".join(argv), done.stderr))
    return done.stdout.strip()


def by_hand() -> Dict[str, str]:
    """The variables under which the engine's client builds with BuildKit when a test calls it: docker's, up to 22, wants to be told."""
    return {**os.environ, "DOCKER_BUILDKIT": "1"}


def docker_groups() -> List[int]:
    """The group that may use the engine's socket, where it has one."""
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    path = address.split("://")[-1]
    return [os.stat(path).st_gid] if address.startswith("unix:") and os.path.exists(path) else []


def as_user(uid: int, gid: int, groups: Sequence[int]) -> Callable[[], None]:
    """For Popen's preexec_fn: another user of this machine, known or not, with these further groups."""
    def become() -> None:
        os.setgroups(list(groups))
        os.setgid(gid)
        os.setuid(uid)

    return become


class Case(unittest.TestCase):
    """A test case with a home, a current folder and an image prefix of its own."""

    def setUp(self) -> None:
        self.prefix = "t" + os.urandom(4).hex()
        self.base = Path(tempfile.mkdtemp(prefix="pydock-test-")).resolve()
        self.addCleanup(self.clean)
        self.home = self.base / "home"
        self.work = self.base / "work"
        self.home.mkdir()
        self.work.mkdir()
        self.environ = {k: v for k, v in os.environ.items() if not k.startswith("PYDOCK_") or k == "PYDOCK_ENGINE"}
        client = os.path.expanduser("~/.docker")  # which engine its context names, and its plugins
        if os.path.exists(client + "/config.json") or os.path.exists(client + "/cli-plugins"):
            self.environ.setdefault("DOCKER_CONFIG", client)
        self.environ.update(HOME=str(self.home), PYDOCK_PREFIX=self.prefix, PYDOCK_PYTHON=PYTHON)
        self.share_installer()
        buildx = self.base / "buildx"  # whoever a test becomes must be able to write there
        buildx.mkdir()
        buildx.chmod(0o777)
        self.environ["BUILDX_CONFIG"] = str(buildx)
        self.program = [sys.executable, "-IS", str(STARTER)]

    def share_installer(self) -> None:
        """Lets all tests have one uv on this host: its download, once for each home, would take longer than the test."""
        shared = Path(tempfile.gettempdir()) / "pydock-test-uv"
        shared.mkdir(exist_ok=True)
        if shared.stat().st_uid == os.getuid():
            shared.chmod(0o777)
        data = self.home / ".local" / "share" / "pydock"
        data.mkdir(parents=True)
        (data / "uv").symlink_to(shared)

    def clean(self) -> None:
        try:
            for verb, names in (("rm", self.containers()), ("rmi", list(self.tags()))):
                if names:
                    engine(verb, "-f", *names, check=False)
        finally:
            subprocess.run(["chmod", "-R", "u+rwx", str(self.base)], check=False)
            shutil.rmtree(self.base, ignore_errors=True)

    def mine(self, name: str) -> bool:
        return name.split("localhost/")[-1].startswith(self.prefix)

    def containers(self) -> List[str]:
        """The names of all containers of this test's environments, running or not."""
        return [name for name in engine("ps", "-a", "--format", "{{.Names}}").split() if self.mine(name)]

    def tags(self, name: str = "") -> Dict[str, str]:
        """Image ids by `repository:tag`, of this test's images (of one environment)."""
        lines = engine("image", "ls", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").splitlines()
        found = dict(line.split("localhost/")[-1].split() for line in lines)
        return {tag: id_ for tag, id_ in found.items() if tag.startswith(self.prefix + ("-%s:" % name if name else ""))}

    def start(self, *argv: str, cwd: Optional[Path] = None, environ: Optional[Dict[str, str]] = None, **options: Any) -> subprocess.Popen[str]:
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen([*self.program, *argv], cwd=str(cwd or self.work), text=True,
                                env={**self.environ, **(environ or {})}, **options)

    def give_to(self, uid: int) -> None:
        """Hands home and work to another user, who can then run pydock by `preexec_fn=as_user(…)`."""
        if os.geteuid() != 0:
            self.skipTest("only root can become another user")
        copy = self.base / "pydock.py"
        shutil.copy(PYDOCK, copy)
        copy.chmod(0o755)
        self.base.chmod(0o755)
        for folder in (self.home, self.work, *self.home.glob(".local/**/")):
            os.chown(folder, uid, -1)
        self.environ.pop("PYENV_VERSION", None)
        for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
            try:
                subprocess.run([python, "-IS", "-c", "pass"], check=True, preexec_fn=as_user(uid, uid, []), cwd="/")
                self.program = [python, "-IS", str(copy)]
                return
            except OSError:
                continue
        self.skipTest("no Python that every user can run")

    def run_pydock(self, *argv: str, cwd: Optional[Path] = None, environ: Optional[Dict[str, str]] = None, input: Optional[str] = None,
                   timeout: float = 300, **options: Any) -> Result:
        process = self.start(*argv, cwd=cwd, environ=environ, stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL, **options)
        out, err = process.communicate(input, timeout=timeout)
        self.assertNotIn("Traceback", err, "a traceback reached the user")
        return Result(list(argv), process.returncode, out, err)

    def ok(self, *argv: str, **options: Any) -> str:
        """Runs pydock, which must succeed; its stdout."""
        result = self.run_pydock(*argv, **options)
        self.assertEqual(result.status, 0, result)
        return result.out

    def fails(self, *argv: str, status: int = 1, says: str = "", hint: str = "", **options: Any) -> Result:
        """Runs pydock, which must fail with one clear error line (and perhaps a hint)."""
        result = self.run_pydock(*argv, **options)
        self.assertEqual(result.status, status, result)
        errors = [line for line in result.err.splitlines() if line.startswith("pydock: error: ")]
        self.assertEqual(len(errors), 1, result)
        self.assertIn(says, errors[0], result)
        if hint:
            self.assertIn(hint, "\n".join(line for line in result.err.splitlines() if line.startswith("hint: ")), result)
        return result

    def listed(self) -> Dict[str, Dict[str, Any]]:
        """The rows of `list --json`, by name."""
        return {row["name"]: row for row in json.loads(self.ok("list", "--json"))}

    def folder(self, name: str) -> Path:
        return self.home / ".pydock" / "envs" / name

    def requirements(self, name: str) -> str:
        return (self.folder(name) / "requirements.txt").read_text(encoding="utf-8")

    def snapshot(self) -> Dict[str, str]:
        """Every file below the home, by path, for `nothing was changed`; not what docker's client keeps there for itself, and not the tests' uv."""
        shared = {".local", ".local/share", ".local/share/pydock", ".local/share/pydock/uv"}
        return {str(path.relative_to(self.home)): path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
                for path in sorted(self.home.rglob("*")) if path.relative_to(self.home).parts[0] != ".docker" and str(path.relative_to(self.home)) not in shared}

    def fake(self, do: str = "", at: str = "") -> None:
        """Puts an engine first on PATH that misbehaves at the calls `at` ('' for none) in the way `do`; see FAKE. Starts
        counting anew."""
        folder = self.base / "fake"
        shutil.rmtree(str(folder), ignore_errors=True)
        (folder / "calls").mkdir(parents=True)
        name = ENGINE[-1]
        real = shutil.which(name)
        assert real
        program = folder / name
        program.write_text(FAKE.format(folder=folder, real=real), encoding="utf-8")
        program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        (folder / "at").write_text("%s %s\n" % (do, at), encoding="utf-8")
        self.environ["PATH"] = str(folder) + os.pathsep + os.environ["PATH"]

    def calls(self) -> List[str]:
        """The first two words of each call of the fake engine since `fake`."""
        files = sorted((self.base / "fake" / "calls").iterdir(), key=lambda file: int(file.name))
        return [file.read_text(encoding="utf-8").rstrip("\n").replace("\n", " ") for file in files]

    def no_fake(self) -> None:
        self.environ["PATH"] = os.environ["PATH"]

    def let_go(self, process: subprocess.Popen[str]) -> Result:
        """The end of a pydock that the fake engine holds."""
        (self.base / "fake" / "go").write_text("")
        return self.ended(process)

    def ended(self, process: subprocess.Popen[str]) -> Result:
        out, err = process.communicate(timeout=60)
        return Result([], process.returncode, out, err)

    def waiting(self, *argv: str) -> subprocess.Popen[str]:
        """A pydock that says that it waits for another one."""
        process = self.start(*argv)
        assert process.stderr
        self.assertIn("waiting for ", process.stderr.readline())
        return process

    def terminal(self, *argv: str, answer: str = "", columns: int = 80, cwd: Optional[Path] = None) -> Result:
        """Runs pydock in a terminal of that width, and types the answer; all it shows is `out`."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = self.start(*argv, cwd=cwd, stdin=slave, stdout=slave, stderr=slave, environ={"TERM": "xterm"}, start_new_session=True)
        os.close(slave)
        os.write(master, answer.encode())
        shown = b""
        while True:
            try:
                chunk = os.read(master, 65536)
            except OSError:  # how Linux tells the end
                chunk = b""
            if not chunk:
                break
            shown += chunk
        os.close(master)
        return Result(list(argv), process.wait(), shown.decode().replace("\r\n", "\n"), "")

    def wait_for(self, condition: Any, seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end, "waited in vain")
            time.sleep(0.05)

    def wait_for_end_of(self, process: subprocess.Popen[str]) -> None:
        """Waits for the clients that a dead pydock has left at work, too; it must have been started in its own session."""
        self.wait_for(lambda: not alive(process.pid), 60)

    def disturb(self, do: str, number: int, *argv: str, by: signal.Signals = signal.SIGINT) -> Result:
        """Runs pydock with an engine that misbehaves at one call; a hanging one is ended by a signal to pydock."""
        self.fake(do, str(number))
        process = self.start(*argv, start_new_session=True, preexec_fn=signals_as_usual)
        if do == "hang":
            self.wait_for(lambda: len(self.calls()) >= number or process.poll() is not None, 60)
            time.sleep(0.2)  # until pydock waits for it: the moment before is test_pure.Interrupted's
            process.send_signal(by)
        out, err = process.communicate(timeout=120)
        self.wait_for_end_of(process)
        self.no_fake()
        result = Result(list(argv), process.returncode, out, err)
        self.assertNotIn("Traceback", err, result)
        if len(self.calls()) < number:  # it had less to tidy up than when the calls were counted
            self.assertEqual(result.status, 0, result)
            return result
        expected = {"fail": (0, 1, 127), "hang": (128 + by,), "kill": (-signal.SIGKILL,), "after": (-signal.SIGKILL,)}[do]
        self.assertIn(result.status, expected, result)
        if result.status == 1:
            self.assertRegex(err, "(?m)^pydock: error: ", result)
        return result

    def every_call(self, argv: Sequence[str], restore: Callable[[], None], look: Callable[[str, str, Result], None],
                   turn: int = 0, ways: int = 1, chosen: Sequence[str] = ()) -> None:
        """Does a command once undisturbed, to count its calls of the engine, and then with each call disturbed in so many
        of the four ways, by turns that begin with `turn`, or in those chosen. `look` judges what came of it, by (way, call, result); `restore`
        puts back what was."""
        self.fake()
        self.ok(*argv)
        calls = self.calls()
        self.no_fake()
        restore()
        for number, call in enumerate(calls, 1):
            for way in WAYS if SLOW else chosen or [WAYS[(turn + number + i) % 4] for i in range(ways)]:
                by = (signal.SIGINT, signal.SIGTERM)[number // 4 % 2]
                with self.subTest(command=argv[0], way=way, call="%d of %d: %s" % (number, len(calls), call)):
                    result = self.disturb(way, number, *argv, by=by)
                    if len(self.calls()) >= number:
                        look(way, call, result)
                restore()

    def assert_clean(self, name: str) -> None:
        """No container and no temporary or untagged image of this environment's is left."""
        self.assertEqual(self.containers(), [])
        self.assertEqual([tag for tag in self.tags(name) if ":tmp-" in tag], [])
        self.assertEqual(self.untagged(name), [])

    def untagged(self, name: str) -> List[str]:
        label = "label=pydock.folder=" + pydock.quote(str(self.folder(name)))
        return engine("image", "ls", "-q", "--filter", "dangling=true", "--filter", label).split()

    def assert_none_left(self) -> None:
        """No container is left; one that is does not stay."""
        left = self.containers()
        if left:
            engine("rm", "-f", *left, check=False)
        self.assertEqual(left, [])

    def inventory(self, name: str, *modules: str) -> List[str]:
        """What is installed in the environment, where these modules can be imported."""
        return self.ok("run", name, "python", "-Ic", INSTALLED, *modules).splitlines()

    def assert_holds(self, name: str, installed: List[str]) -> None:
        """That is exactly what requirements.txt says, and the labels of the image know it."""
        self.assertEqual(self.listed()[name]["state"], "ready")
        written = [line for line in self.requirements(name).splitlines() if line and not line.startswith(("#", "-"))]
        self.assertEqual(sorted(line.lower().replace("_", "-") for line in installed),
                         sorted(re.sub(r"\[.*\]", "", line.split(" #")[0].split(";")[0].strip()) for line in written if "./wheels/" not in line))

    def assert_agree(self, name: str, *modules: str) -> None:
        """The image holds exactly what requirements.txt says, and its labels know it; these modules can be imported there."""
        self.assert_holds(name, self.inventory(name, *modules))


class SharedCase(Case):
    """Tests that share one home and what `prepare` makes in it, once for the class; they must not disturb each other."""

    shared: Case

    @classmethod
    def setUpClass(cls) -> None:
        cls.shared = cls()
        Case.setUp(cls.shared)
        cls.addClassCleanup(cls.shared.doCleanups)
        cls.prepare(cls.shared)

    @classmethod
    def prepare(cls, case: Case) -> None:
        """What the tests of the class find there."""

    def setUp(self) -> None:
        self.__dict__.update({key: getattr(self.shared, key) for key in ("prefix", "base", "home", "work", "program")})
        self.environ = dict(self.shared.environ)


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal, by the kernel."""
    mask = re.search(r"SigCgt:\s*(\w+)", Path("/proc/%d/status" % pid).read_text(encoding="utf-8"))
    return bool(mask and int(mask.group(1), 16) >> (number - 1) & 1)


def make_wheel(folder: Path, name: str, version: str = "1.0", requires: Sequence[str] = (), extras: Sequence[str] = (),
               files: Optional[Dict[str, str]] = None, scripts: Sequence[str] = ()) -> Path:
    """A wheel as small as can be; `requires` and `extras` are values of Requires-Dist and Provides-Extra."""
    module = name.replace("-", "_")
    info = "%s-%s.dist-info/" % (module, version)
    lines = ["Metadata-Version: 2.1", "Name: " + name, "Version: " + version]
    lines += ["Provides-Extra: " + extra for extra in extras] + ["Requires-Dist: " + text for text in requires]
    content = {module + ".py": "version = %r\n" % version, **(files or {}), info + "METADATA": "\n".join(lines) + "\n",
               info + "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
    if scripts:
        content[info + "entry_points.txt"] = "[console_scripts]\n%s\n" % "\n".join(scripts)
    content[info + "RECORD"] = "".join("%s,,\n" % path for path in [*content, info + "RECORD"])
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / ("%s-%s-py3-none-any.whl" % (module, version))
    with zipfile.ZipFile(str(wheel), "w") as archive:
        for path, text in content.items():
            archive.writestr(path, text)
    return wheel


@functools.lru_cache(maxsize=None)
def host_address() -> Optional[str]:
    """This host's address as containers see it, if it is one that a server here can listen on."""
    routes = engine("run", "--rm", "--pull", "never", "python:%s-slim" % PYTHON, "cat", "/proc/net/route").splitlines()[1:]
    gateway = next((line.split()[2] for line in routes if line.split()[1] == "00000000"), "00000000")
    address = socket.inet_ntoa(bytes.fromhex(gateway)[::-1])
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return None
    return None if address == "0.0.0.0" else address


class Terminal:
    """A process on a pseudo-terminal of its own; every wait ends."""

    def __init__(self, case: unittest.TestCase, command: Sequence[str], cwd: Path, environ: Dict[str, str], size: Tuple[int, int] = (24, 80),
                 **pipes: Any) -> None:
        self.case = case
        self.master, slave = pty.openpty()
        self.resize(*size)
        self.shown = ""

        def control() -> None:
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        pipes = {"stdin": slave, "stdout": slave, "stderr": slave, **pipes}
        self.process = subprocess.Popen(command, cwd=str(cwd), env={**environ, "TERM": "xterm"}, preexec_fn=control, **pipes)
        os.close(slave)
        case.addCleanup(self.end)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def pump(self) -> None:
        if self.master >= 0 and select.select([self.master], [], [], 0.05)[0]:
            try:
                self.shown += os.read(self.master, 65536).decode(errors="replace").replace("\r\n", "\n")
            except OSError:  # how Linux tells the end
                time.sleep(0.02)

    def expect(self, text: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while text not in self.shown:
            self.case.assertLess(time.monotonic(), end, "%r did not come; shown: %r" % (text, self.shown))
            self.pump()

    def wait(self, seconds: float = 60) -> int:
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            self.case.assertLess(time.monotonic(), end, "it did not end; shown: %r" % self.shown)
            self.pump()
        return self.process.returncode

    def hang_up(self) -> None:
        os.close(self.master)
        self.master = -1

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.master >= 0:
            os.close(self.master)
        if self.process.stdout:
            self.process.stdout.close()


class RunCase(SharedCase):
    """One environment, `e`; each test has a current folder of its own, outside the home. No container is left by any."""

    @classmethod
    def prepare(cls, case: Case) -> None:
        case.ok("create", "e")

    def setUp(self) -> None:
        super().setUp()
        self.work = Path(tempfile.mkdtemp(prefix="work-", dir=str(self.base)))

    def tearDown(self) -> None:
        try:
            self.wait_for(lambda: not self.containers(), 30)
        finally:  # one that is left is this test's failure, not the next one's
            for name in self.containers():
                engine("rm", "-f", name, check=False)

    def bytes_of(self, *argv: str, input: bytes = b"", status: int = 0, **options: Any) -> bytes:
        """stdout of pydock, with binary pipes."""
        process = subprocess.Popen([*self.program, *argv], cwd=str(options.pop("cwd", self.work)), env={**self.environ, **options.pop("environ", {})},
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
        out: bytes
        out, err = process.communicate(input, timeout=120)
        self.assertEqual(process.returncode, status, err.decode(errors="replace"))
        self.assertNotIn(b"Traceback", err)
        return out

    def words_of(self, *argv: str, **options: Any) -> List[bytes]:
        return self.bytes_of(*argv, **options).split(b"\0")[:-1]

    def terminal(self, *argv: str, **options: Any) -> Terminal:  # type: ignore[override]
        return Terminal(self, [*self.program, *argv], options.pop("cwd", self.work), self.environ, **options)

    def fetched(self, port: int) -> bool:
        """Whether a server of the folder `work` answers at this port of the host."""
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open("http://127.0.0.1:%d/page" % port, timeout=5) as page:
                return bool(page.read() == b"the page")
        except OSError:
            return False

    def ready(self) -> None:
        self.wait_for((self.work / "ready").exists, 60)

    def finish(self, process: subprocess.Popen[str]) -> int:
        try:
            return process.wait(20)
        finally:
            if process.poll() is None:
                process.kill()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    stream.close()


def signals_as_usual() -> None:
    """For preexec_fn: whoever started the tests in the background may have made them ignore these."""
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def alive(group: int) -> bool:
    """Whether a process of this group is at work. (Those that are dead but not buried do not count: in a container it can take
    the first process two seconds to notice them.)"""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            state, _, its = Path("/proc/%s/stat" % pid).read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(its) == group and state != "Z":
            return True
    return False


def undoes(way: str, call: str) -> bool:
    """Whether a pydock that is disturbed in this way, at this call, can still undo what it did."""
    return way in ("fail", "hang") and call.split()[0] not in ("rm", "rmi")


class Disturbed(Case):
    """What disturbs a pydock, and what is looked at afterwards."""

    def setUp(self) -> None:
        super().setUp()
        self.ran: Dict[Tuple[str, ...], List[str]] = {}

    def bystanders(self) -> None:
        """An environment, an image and a container that no test has to do with; all are looked at again in the end."""
        self.ok("create", "by")
        self.stranger = "x" + self.prefix
        archive = self.base / "empty.tar"
        archive.write_bytes(b"\0" * 10240)
        self.addCleanup(engine, "rmi", "-f", self.stranger + ":1", check=False)
        self.addCleanup(engine, "rm", "-f", self.stranger, check=False)
        engine("import", "--change", 'CMD ["/nothing"]', str(archive), self.stranger + ":1")
        engine("create", "--name", self.stranger, self.stranger + ":1")
        self.untouched = self.of_bystanders()

    def of_bystanders(self) -> List[Any]:
        files = {name: text for name, text in self.snapshot().items() if "/by" in name}
        return [files, self.tags("by"), engine("image", "inspect", "--format", "{{.Id}}", self.stranger + ":1"),
                engine("container", "inspect", "--format", "{{.Id}} {{.State.Status}}", self.stranger)]

    def assert_nothing_else_touched(self) -> None:
        self.assertEqual(self.of_bystanders(), self.untouched)

    def hidden(self) -> List[str]:
        """What lies in envs/ and is no environment, and half-written files of environments."""
        envs = self.home / ".pydock" / "envs"
        return [str(path.relative_to(envs)) for path in envs.rglob(".*")]

    def state(self, name: str) -> List[Any]:
        """All that there is of an environment, in files and in the engine."""
        files = {path: text for path, text in self.snapshot().items() if "/envs/%s/" % name in path}
        return [files, self.hidden(), self.tags(name), self.containers(), self.untagged(name)]

    def next_command(self) -> None:
        """A command that changes something, of another environment, and finds nothing to do."""
        self.fails("uninstall", "by", "no-such-package", says="no-such-package is not installed in by")

    def next_command_of(self, name: str) -> None:
        self.fails("uninstall", name, "no-such-package", says="no-such-package is not installed in " + name)

    def content(self, name: str) -> str:
        """All of its image that decides what runs in it; the labels do not."""
        return engine("image", "inspect", "--format", RUNS, "%s-%s:latest" % (self.prefix, name))

    def assert_runs(self, name: str, *modules: str) -> None:
        """It runs, in whatever state it is."""
        installed = self.inventory(name, *modules)
        self.ran[(name, self.content(name), *modules)] = installed

    def assert_works(self, name: str, *modules: str) -> None:
        """The environment is clean, image and files agree, and it runs (once for each image)."""
        self.assert_clean(name)
        self.assertEqual(self.hidden(), [])
        if (name, self.content(name), *modules) not in self.ran:
            self.assert_runs(name, *modules)
        self.assert_holds(name, self.ran[(name, self.content(name), *modules)])

    def every_call(self, *args: Any, **options: Any) -> None:
        super().every_call(*args, **options)
        self.assert_nothing_else_touched()

    def all_or_nothing(self, name: str, argv: Sequence[str], look_at_it: Callable[[Result], None], turn: int) -> None:
        """A command that makes an environment, at every call: there is all of it in the end, at which `look_at_it` looks, or nothing."""
        nothing, ends = self.state(name), set()

        def restore() -> None:
            left = [container for container in self.containers() if container.startswith("%s-%s--" % (self.prefix, name))]
            tags = list(self.tags(name))
            if left:
                engine("rm", "-f", *left)
            if tags:
                engine("rmi", "-f", *tags)
            shutil.rmtree(str(self.folder(name)), ignore_errors=True)

        def look(way: str, call: str, result: Result) -> None:
            exists = self.folder(name).exists()
            if undoes(way, call) and not exists:
                self.assertEqual(self.state(name), nothing, result)
            if result.status == 0:
                self.assertTrue(exists, result)
            if exists:
                look_at_it(result)
            else:
                self.next_command()
                self.assertEqual(self.state(name), nothing, result)
            ends.add(exists)

        self.every_call(argv, restore, look, turn)
        self.assertIn(False, ends)  # that the whole is made, too, is for the last calls; which of them are disturbed how is chance

    def user(self) -> Dict[str, Any]:
        """The options of Popen for an ordinary user of this engine, to whom home and work belong; skips where there is none."""
        if os.geteuid():
            return {}
        engine_here = pydock.Engine(ENGINE)
        if engine_here.podman or engine_here.sudo:
            self.skipTest("this engine has one user at a time")
        self.give_to(STRANGER)
        become = as_user(STRANGER, STRANGER, docker_groups())
        if subprocess.run([*ENGINE, "version"], preexec_fn=become, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
            self.skipTest("an ordinary user cannot use this engine")
        return {"preexec_fn": become}

    def as_they(self, options: Dict[str, Any], *argv: str, status: int = 0, cwd: Any = None) -> Result:
        process = self.start(*argv, cwd=cwd, **options)
        out, err = process.communicate(timeout=120)
        result = Result(list(argv), process.returncode, out, err)
        self.assertEqual(result.status, status, result)
        self.assertNotIn("Traceback", err, result)
        return result

    def restorer(self, name: str) -> Callable[[], None]:
        """What puts an environment back as it is now, files and tags, without pydock."""
        folder, saved = self.folder(name), self.base / ("saved-" + name)
        shutil.copytree(str(folder), str(saved))
        tags = self.tags(name)
        kept = {tag: "%s-keep-%s:%d" % (self.prefix, name, i) for i, tag in enumerate(tags)}
        for tag in tags:
            engine("tag", tag, kept[tag])

        def restore() -> None:
            for container in self.containers():
                engine("rm", "-f", container)
            for path in self.hidden():
                shutil.rmtree(str(folder.parent / path), ignore_errors=True)
            shutil.rmtree(str(folder), ignore_errors=True)
            shutil.copytree(str(saved), str(folder))
            now = self.tags(name)
            for tag, id_ in tags.items():
                if now.get(tag) != id_:
                    if tag in now:
                        engine("rmi", tag)
                    engine("tag", kept[tag], tag)
            away = [tag for tag in now if tag not in tags]
            if away:
                engine("rmi", *away)

        return restore


def mine(case: Case, *argv: str) -> List[str]:
    return [name for name in engine(*argv, "--format", "{{.Name}}").split() if case.mine(name)]


def remove(case: Case, volumes: bool = True) -> None:
    """Containers, networks and volumes of this test's, by the engine alone."""
    for kind, names in (("rm", Case.containers(case)), ("network", mine(case, "network", "ls")), ("volume", mine(case, "volume", "ls") if volumes else [])):
        if names:
            engine(*(["rm", "-f"] if kind == "rm" else [kind, "rm"]), *names, check=False)


def new_port() -> int:
    """A port that no test had before, so that no download that an installer keeps by its address is another test's. Below those that
    the system gives out."""
    with open(os.path.join(tempfile.gettempdir(), "pydock-test-port-%d" % os.getuid()), "a+", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        for number in itertools.count(int(file.read() or 0) + 1):
            port = 20000 + number % 12000
            try:
                socket.create_server(("", port)).close()
                break
            except OSError:
                pass
        file.truncate(0)
        file.write(str(number))
    return port


class Index:
    """A package index (PEP 503) over the wheels of a folder, on an address that containers reach; it may ask for a login,
    speak TLS, be a proxy for any address, or say that its files never change. `seen` holds the paths asked for."""

    def __init__(self, address: str, folder: Path, login: bool = False, proxy: bool = False, tls: Optional[ssl.SSLContext] = None,
                 immutable: bool = False) -> None:
        self.seen: List[str] = []
        index = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.seen.append(self.path)
                if login and self.headers.get("Proxy-Authorization" if proxy else "Authorization") != LOGIN:
                    self.send_response(407 if proxy else 401)
                    self.send_header("Proxy-Authenticate" if proxy else "WWW-Authenticate", 'Basic realm="test"')
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                words = unquote(urlsplit(self.path).path).strip("/").split("/")
                wheels = sorted(folder.glob("*.whl"))
                data: Optional[bytes] = None
                if words[0] == "simple":
                    found = [w.name for w in wheels if len(words) > 1 and pydock.canonical(w.name.split("-")[0]) == words[1]]
                    data = "".join('<a href="/files/%s">%s</a>\n' % (name, name) for name in found).encode() if found else None
                elif words[0] == "files" and (folder / words[1]).exists():
                    data = (folder / words[1]).read_bytes()
                self.send_response(404 if data is None else 200)
                self.send_header("Content-Type", "text/html" if words[0] == "simple" else "application/octet-stream")
                if immutable and words[0] == "files":
                    self.send_header("Cache-Control", "max-age=31536000, immutable, public")
                self.send_header("Content-Length", str(len(data or b"")))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(data or b"")

            do_HEAD = do_GET

            def log_message(self, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer((address, new_port()), Handler)
        self.server.daemon_threads = True
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.host = "%s:%d" % (address, self.server.server_port)
        self.url = "%s://%s/simple" % ("https" if tls else "http", self.host)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def serve_git(case: Case, address: str) -> Tuple[str, str]:
    """A git repository with the package mylib: its address for an installer, and its commit."""
    source, served = case.base / "source", case.base / "git"
    source.mkdir()
    wheel = make_wheel(source, "mylib")  # which its build, that needs nothing from an index, hands out
    backend = f"import shutil\ndef build_wheel(folder, *rest):\n    shutil.copy('{wheel.name}', folder)\n    return '{wheel.name}'\n"
    (source / "backend.py").write_text(backend, encoding="utf-8")
    (source / "pyproject.toml").write_text('[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n', encoding="utf-8")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"], ["clone", "-q", "--bare", ".", str(served / "mylib.git")],
                  ["-C", str(served / "mylib.git"), "update-server-info"]):
        subprocess.run([*git, *words], cwd=str(source), check=True, stdin=subprocess.DEVNULL)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], cwd=str(source), check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(served))

        def log_message(self, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer((address, new_port()), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    case.addCleanup(server.server_close)
    case.addCleanup(server.shutdown)
    return "git+http://%s:%d/mylib.git" % (address, server.server_port), commit
