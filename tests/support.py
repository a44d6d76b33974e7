"""What the tests share: a throw-away home, names of their own, the real pydock.py, and an engine that fails on command.

The engine is whatever `PYDOCK_ENGINE` names (default docker), for real. Each test case has a random image prefix, so
that the suite can run twice at once, and removes what it made.
"""
from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shlex
import shutil
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

ROOT = Path(__file__).resolve().parent.parent
PYDOCK = ROOT / "pydock.py"
ENGINE = shlex.split(os.environ.get("PYDOCK_ENGINE", "docker"))
PYTHON = "3.11"  # the base image that every engine of the tests has

sys.path.insert(0, str(ROOT))
import pydock as pydock  # noqa: E402

FAKE = """#!{python} -IS
# Passes everything on to the real engine, but for the calls named by FAKE_AT (comma-separated numbers from 1, or first words): there
# FAKE_DO says: fail, hang, hold (until the file `go` is there), kill (SIGKILL to pydock before the call), after (SIGKILL
# after the call has done its work).
import fcntl, os, signal, subprocess, sys, time
folder = {folder!r}
with open(folder + "/calls", "a+") as calls:
    fcntl.flock(calls, fcntl.LOCK_EX)
    calls.seek(0)
    number = len(calls.read().splitlines()) + 1
    calls.write(" ".join(sys.argv[1:3]).replace(chr(10), " ") + chr(10))
at = open(folder + "/at").read().split() if os.path.exists(folder + "/at") else []
do = at[0] if at[1:] and {{str(number), *sys.argv[1:2]}} & set(at[1].split(",")) else ""
if do == "fail":
    sys.exit("the fake engine fails at call %d" % number)
if do == "hang":
    time.sleep(600)
while do == "hold" and not os.path.exists(folder + "/go"):
    time.sleep(0.05)
if do == "kill":
    os.kill(os.getppid(), signal.SIGKILL)
    sys.exit(1)
if do == "after":
    subprocess.run([{real!r}, *sys.argv[1:]])
    os.kill(os.getppid(), signal.SIGKILL)
    sys.exit(1)
os.execv({real!r}, [{real!r}, *sys.argv[1:]])
"""

# What `pip freeze` says, but for what came from a local file, in a fifth of the time.
INSTALLED = """
import importlib.metadata, sys
for module in sys.argv[1:]:
    importlib.import_module(module)
for package in importlib.metadata.distributions():
    if package.metadata["Name"] not in ("pip", "setuptools", "wheel") and "file://" not in (package.read_text("direct_url.json") or ""):
        print(package.metadata["Name"] + "==" + package.version)
"""


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
        self.program = [sys.executable, "-IS", str(ROOT / "tests" / "start_pydock.py")]

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
            for name in self.containers():
                engine("rm", "-f", name, check=False)
            tags = [tag for tag in engine("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split() if self.mine(tag)]
            for tag in tags:
                engine("rmi", "-f", tag, check=False)
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
        folder.mkdir(exist_ok=True)
        name = ENGINE[-1]
        real = shutil.which(name)
        assert real
        program = folder / name
        program.write_text(FAKE.format(python=sys.executable, folder=str(folder), real=real), encoding="utf-8")
        program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        for file, text in (("at", "%s %s" % (do, at) if do else ""), ("calls", "")):
            (folder / file).write_text(text, encoding="utf-8")
        if (folder / "go").exists():
            (folder / "go").unlink()
        self.environ["PATH"] = str(folder) + os.pathsep + os.environ["PATH"]

    def calls(self) -> List[str]:
        """The first two words of each call of the fake engine since `fake`."""
        return (self.base / "fake" / "calls").read_text(encoding="utf-8").splitlines()

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

    def assert_clean(self, name: str) -> None:
        """No container and no temporary or untagged image of this environment's is left."""
        self.assertEqual(self.containers(), [])
        self.assertEqual([tag for tag in self.tags(name) if ":tmp-" in tag], [])
        label = "label=pydock.folder=" + pydock.quote(str(self.folder(name)))
        left = engine("image", "ls", "-q", "--filter", "dangling=true", "--filter", label).split()
        self.assertEqual(left, [])

    def assert_agree(self, name: str, *modules: str) -> None:
        """The image holds exactly what requirements.txt says, and its labels know it; these modules can be imported there."""
        self.assertEqual(self.listed()[name]["state"], "ready")
        installed = self.ok("run", name, "python", "-Ic", INSTALLED, *modules).splitlines()
        written = [line for line in self.requirements(name).splitlines() if line and not line.startswith(("#", "-"))]
        self.assertEqual(sorted(line.lower().replace("_", "-") for line in installed),
                         sorted(re.sub(r"\[.*\]", "", line.split(" #")[0].split(";")[0].strip()) for line in written if "./wheels/" not in line))


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
