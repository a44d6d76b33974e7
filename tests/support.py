"""What the tests share: a throw-away home, names of their own, the real pydock.py, and an engine that fails on command.

The engine is whatever `PYDOCK_ENGINE` names (default docker), for real. Each test case has a random image prefix, so
that the suite can run twice at once, and removes what it made.
"""
from __future__ import annotations

import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any, Dict, List, Optional

ROOT = Path(__file__).resolve().parent.parent
PYDOCK = ROOT / "pydock.py"
ENGINE = shlex.split(os.environ.get("PYDOCK_ENGINE", "docker"))
PYTHON = "3.11"  # the base image that every engine of the tests has

sys.path.insert(0, str(ROOT))
import pydock  # noqa: E402

FAKE = """#!{python} -IS
# Passes everything on to the real engine, but for the calls named by FAKE_AT (comma-separated numbers, from 1): there
# FAKE_DO says: fail, hang, kill (SIGKILL to pydock before the call), after (SIGKILL after the call has done its work).
import fcntl, os, signal, subprocess, sys, time
folder = {folder!r}
with open(folder + "/calls", "a+") as calls:
    fcntl.flock(calls, fcntl.LOCK_EX)
    calls.seek(0)
    number = len(calls.read().splitlines()) + 1
    calls.write(" ".join(sys.argv[1:3]).replace(chr(10), " ") + chr(10))
at = open(folder + "/at").read().split() if os.path.exists(folder + "/at") else []
do = at[0] if at[1:] and str(number) in at[1].split(",") else ""
if do == "fail":
    sys.exit("the fake engine fails at call %d" % number)
if do == "hang":
    time.sleep(600)
if do == "kill":
    os.kill(os.getppid(), signal.SIGKILL)
    sys.exit(1)
if do == "after":
    subprocess.run([{real!r}, *sys.argv[1:]])
    os.kill(os.getppid(), signal.SIGKILL)
    sys.exit(1)
os.execv({real!r}, [{real!r}, *sys.argv[1:]])
"""


class Result:
    """A finished pydock: status, stdout and stderr as text."""

    def __init__(self, argv: List[str], status: int, out: str, err: str) -> None:
        self.argv, self.status, self.out, self.err = argv, status, out, err

    def __repr__(self) -> str:
        return "pydock %s: status %s\n--- stdout\n%s--- stderr\n%s" % (" ".join(self.argv), self.status, self.out, self.err)


def engine(*argv: str, check: bool = True, input: Optional[str] = None) -> str:
    """Calls the real engine: stdout, stripped."""
    done = subprocess.run([*ENGINE, *argv], input=input, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if check and done.returncode:
        raise AssertionError("%s %s: %s" % (ENGINE[-1], " ".join(argv), done.stderr))
    return done.stdout.strip()


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
        self.environ.update(HOME=str(self.home), PYDOCK_PREFIX=self.prefix, PYDOCK_PYTHON=PYTHON)

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
        return subprocess.Popen([sys.executable, "-IS", str(PYDOCK), *argv], cwd=str(cwd or self.work), text=True,
                                env={**self.environ, **(environ or {})}, **options)

    def run_pydock(self, *argv: str, cwd: Optional[Path] = None, environ: Optional[Dict[str, str]] = None, input: Optional[str] = None,
                   timeout: float = 300) -> Result:
        process = self.start(*argv, cwd=cwd, environ=environ, stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL)
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
        """Every file below the home, by path, for `nothing was changed`."""
        return {str(path.relative_to(self.home)): path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
                for path in sorted(self.home.rglob("*"))}

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
        self.environ["PATH"] = str(folder) + os.pathsep + os.environ["PATH"]

    def calls(self) -> List[str]:
        """The first two words of each call of the fake engine since `fake`."""
        return (self.base / "fake" / "calls").read_text(encoding="utf-8").splitlines()

    def no_fake(self) -> None:
        self.environ["PATH"] = os.environ["PATH"]

    def wait_for(self, condition: Any, seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end, "waited in vain")
            time.sleep(0.05)

    def assert_clean(self, name: str) -> None:
        """No container and no temporary or untagged image of this environment's is left."""
        self.assertEqual(self.containers(), [])
        self.assertEqual([tag for tag in self.tags(name) if ":tmp-" in tag], [])
        dangling = engine("image", "ls", "-q", "--filter", "dangling=true", "--filter", "label=pydock.name=" + name).split()
        folder = pydock.quote(str(self.folder(name)))
        left = [i for i in dangling if engine("image", "inspect", "--format", '{{index .Config.Labels "pydock.folder"}}', i) == folder]
        self.assertEqual(left, [])

    def assert_agree(self, name: str) -> None:
        """The image holds exactly what requirements.txt says, and its labels know it."""
        self.assertEqual(self.listed()[name]["state"], "ready")
        installed = self.ok("run", name, "pip", "freeze", "--exclude", "setuptools", "--exclude", "wheel").splitlines()
        written = [line for line in self.requirements(name).splitlines() if line and not line.startswith(("#", "-"))]
        self.assertEqual(sorted(line.lower().replace("_", "-") for line in installed if "file://" not in line),
                         sorted(line.split(" #")[0].split(";")[0].strip() for line in written if "./wheels/" not in line))
