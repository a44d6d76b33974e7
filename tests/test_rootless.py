"""Who is inside: files in the mounted folder belong to the caller on a rootless engine too (podman's `keep-id`, a docker whose
root is the caller), and the caller's further groups go along (issue 3, section 4).

The first classes want a rootless engine: eval "$(tests/engines.sh rootless)"; tests/as_user.sh tests/run.py test_rootless
"""
from __future__ import annotations

import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any, Dict, List, Sequence

from support import (
    COUNT, ENGINE, PYDOCK, SLEEP, Case, Result, SharedCase, as_user, docker_groups, engine, is_podman, is_rootless_docker, make_wheel, needs,
    needs_compose, one_engine_for_all, pydock, signals_as_usual,
)

GREET = "import sys\ndef main():\n    open('greeted', 'w').close()\n    print('hello', *sys.argv[1:])\n    sys.exit(len(sys.argv) - 1)\n"
MAKE = "import os; os.mkdir('folder', 0o700); open('folder/file', 'w').close(); os.symlink('file', 'link'); os.mkfifo('pipe'); open('made', 'w').close()"
WHO = "import os; print(os.getuid(), os.getgid())"

SHARED = Case()


def is_rootless() -> bool:
    return is_rootless_docker() or is_podman() and os.geteuid() != 0


def caller() -> List[str]:
    """The caller's uid and gid, inside."""
    return ["0", "0"] if is_rootless_docker() else [str(os.getuid()), str(os.getgid())]


def setUpModule() -> None:
    """On a rootless engine: one home, with the environment e, which has the program greet."""
    if is_rootless():
        Case.setUp(SHARED)
        unittest.addModuleCleanup(SHARED.doCleanups)
        put_on_path(SHARED, [sys.executable, "-IS", str(PYDOCK)])
        wheel = make_wheel(SHARED.base, "greeter", files={"greeter.py": GREET}, scripts=["greet = greeter:main"])
        SHARED.ok("create", "e", str(wheel))


def put_on_path(case: Case, command: Sequence[str]) -> None:
    """Makes `pydock` a command, as `activate` is typed."""
    folder = case.base / "bin"
    folder.mkdir()
    (folder / "pydock").write_text("#!/bin/sh\nexec %s \"$@\"\n" % " ".join(map(shlex.quote, command)), encoding="utf-8")
    (folder / "pydock").chmod(0o755)
    case.environ["PATH"] = str(folder) + os.pathsep + case.environ["PATH"]
    for name in ("VIRTUAL_ENV", "PYDOCK_ENV", "XDG_DATA_HOME", "PS1"):
        case.environ.pop(name, None)


def bash(case: Case, script: str, cwd: Any = None, **options: Any) -> Result:
    """What a bash does with it."""
    argv = ["bash", "--norc", "--noprofile", "-c", script]
    done = subprocess.run(argv, cwd=str(cwd or case.work), env=case.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=120, **options)
    case.assertNotIn("Traceback", done.stderr)
    return Result([script], done.returncode, done.stdout, done.stderr)


@needs(is_rootless, "not a rootless engine (tests/engines.sh rootless, tests/as_user.sh)")
class RootlessCase(Case):
    """Each test has two current folders of its own, `work` outside the home and `own` below it; no container is left by any."""

    def setUp(self) -> None:
        self.__dict__.update({key: getattr(SHARED, key) for key in ("prefix", "base", "home", "program")})
        self.environ = dict(SHARED.environ)
        self.work = Path(tempfile.mkdtemp(prefix="work-", dir=str(self.base)))
        self.own = Path(tempfile.mkdtemp(prefix="own-", dir=str(self.home)))
        self.addCleanup(self.assert_none_left)

    @property
    def warm(self) -> str:
        return self.prefix + "-e--background"

    def start_e(self, folder: Path) -> None:
        self.ok("start", "e", cwd=folder)
        self.addCleanup(self.run_pydock, "stop", "--force", "e")

    def assert_mine(self, folder: Path) -> None:
        """All that lies there is the caller's, and there is something."""
        found = [folder, *folder.rglob("*")]
        self.assertGreater(len(found), 1, folder)
        others = {str(path): (path.lstat().st_uid, path.lstat().st_gid) for path in found if path.lstat().st_uid != os.getuid() or path.lstat().st_gid != os.getgid()}
        self.assertEqual(others, {})


class Fresh(RootlessCase):
    """What a program of `run` may expect; in a container of its own."""

    def begin(self, folder: Path) -> None:
        """Before the first `run` in a folder."""

    def test_the_caller_is_the_same_one_inside(self) -> None:
        self.begin(self.work)
        self.assertEqual(self.ok("run", "e", "sh", "-c", "id -u; id -g; whoami; echo ~").split(), [*caller(), pydock.login_name(), "/home/" + pydock.login_name()])

    def test_what_is_made_in_the_folder_belongs_to_the_caller(self) -> None:
        for folder in (self.work, self.own):
            with self.subTest(folder=folder.name):
                self.begin(folder)
                self.ok("run", "e", "python", "-c", MAKE, cwd=folder)
                self.assertEqual(sorted(os.listdir(str(folder))), ["folder", "link", "made", "pipe"])
                self.assert_mine(folder)
                self.ok("run", "e", "sh", "-c", 'touch "$1"', "sh", str(folder / "by its path here"), cwd=folder)
                self.assert_mine(folder)

    def test_the_callers_files_are_read_and_written_whatever_their_modes(self) -> None:
        for folder in (self.work, self.own):
            with self.subTest(folder=folder.name):
                self.begin(folder)
                closed = folder / "closed"
                closed.mkdir(0o700)
                (closed / "file").write_text("text\n", encoding="utf-8")
                (closed / "file").chmod(0o600)
                self.assertEqual(self.ok("run", "e", "sh", "-c", "cat closed/file; echo more >>closed/file; chmod 400 closed/file", cwd=folder), "text\n")
                self.assertEqual((closed / "file").read_text(encoding="utf-8"), "text\nmore\n")
                self.assertEqual((closed / "file").stat().st_mode & 0o777, 0o400)
                self.assert_mine(folder)

    def test_the_home_and_the_packages_inside_are_the_callers_too(self) -> None:
        self.begin(self.work)
        make_wheel(self.work, "extra")
        self.ok("run", "e", "sh", "-c", "mkdir ~/own && pip install -q --no-index ./extra-1.0-py3-none-any.whl && python -c 'import extra'")

    def test_what_root_inside_makes_can_be_changed_and_removed_by_the_caller(self) -> None:
        self.begin(self.work)
        self.addCleanup(self.run_pydock, "run", "--root", "--fresh", "e", "rm", "-rf", "folder")
        self.assertEqual(self.ok("run", "--root", "e", "id", "-u"), "0\n")
        self.ok("run", "--root", "e", "sh", "-c", "mkdir -m 700 folder; touch folder/file")
        self.assert_mine(self.work)
        shutil.rmtree(str(self.work / "folder"))

    def test_the_exit_status_is_the_programs_own(self) -> None:
        self.begin(self.work)
        self.assertEqual(self.run_pydock("run", "e", "sh", "-c", "exit 7").status, 7)

    def test_a_megabyte_goes_in_and_comes_out(self) -> None:
        self.begin(self.work)
        text = "0123456789abcde\n" * 65536
        self.assertEqual(self.ok("run", "e", "cat", input=text), text)

    def test_signals_reach_the_program(self) -> None:
        self.begin(self.work)
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=number.name):
                process = self.start("run", "e", "python", "-c", COUNT, str(int(number)), preexec_fn=signals_as_usual)
                self.wait_for((self.work / "ready").exists, 60)
                process.send_signal(number)
                _, err = process.communicate(timeout=20)
                self.assertEqual((process.returncode, (self.work / "count").read_text()), (5, "1"), err)
                process = self.start("run", "e", *SLEEP, preexec_fn=signals_as_usual)
                (self.work / "ready").unlink()
                self.wait_for((self.work / "ready").exists, 60)
                began = time.monotonic()
                process.send_signal(number)
                _, err = process.communicate(timeout=20)
                self.assertIn(process.returncode, (128 + number, -number), err)
                self.assertLess(time.monotonic() - began, 5)
                for name in ("ready", "count"):
                    (self.work / name).unlink()


class Warm(Fresh):
    """The same in the container of a started environment."""

    def begin(self, folder: Path) -> None:
        self.run_pydock("stop", "e")
        self.start_e(folder)
        engine("exec", "-u", "0:0", self.warm, "touch", "/warm")
        self.assertEqual(self.ok("run", "e", "sh", "-c", "test -e /warm && echo warm", cwd=folder), "warm\n")

    def test_stop_is_quick_and_leaves_nothing(self) -> None:
        self.start_e(self.work)
        began = time.monotonic()
        self.ok("stop", "e")
        self.assertLess(time.monotonic() - began, 5)
        self.assertEqual(self.containers(), [])

    def test_stop_names_what_runs_and_force_ends_it_by_sigterm(self) -> None:
        self.start_e(self.work)
        code = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(print('ended', flush=True))); open('ready', 'w'); time.sleep(600)"
        process = self.start("run", "e", "python", "-c", code)
        self.wait_for((self.work / "ready").exists, 60)
        self.fails("stop", "e", says="python", hint="--force")
        began = time.monotonic()
        self.ok("stop", "--force", "e")
        self.assertLess(time.monotonic() - began, 6)
        self.assertEqual(process.communicate(timeout=20)[0], "ended\n")
        self.assertEqual(self.containers(), [])

    def test_reset_begins_anew_and_the_folder_stays(self) -> None:
        self.begin(self.own)
        self.ok("run", "e", "touch", "kept", cwd=self.own)
        self.ok("reset", "e", cwd=self.own)
        self.assertEqual(self.ok("run", "e", "sh", "-c", "ls; test -e /warm || echo anew", cwd=self.own), "kept\nanew\n")
        self.assert_mine(self.own)

    def test_what_a_file_holds_is_seen_at_once_on_both_sides(self) -> None:
        self.begin(self.work)
        for number in range(3):
            (self.work / "file").write_text("%d\n" % number, encoding="utf-8")
            self.assertEqual(self.ok("run", "e", "sh", "-c", "cat file; echo %d0 >file" % number), "%d\n" % number)
            self.assertEqual((self.work / "file").read_text(encoding="utf-8"), "%d0\n" % number)


class Activated(RootlessCase):
    def says(self, script: str, **options: Any) -> str:
        """The stdout of a bash in which e is activated; it must succeed, and say nothing on stderr."""
        result = bash(self, 'eval "$(pydock activate e)"\n%s\ndeactivate' % script, **options)
        self.assertEqual((result.status, result.err), (0, ""), result)
        self.assertEqual(self.containers(), [])
        return result.out

    def test_programs_work_as_the_caller_in_the_current_folder(self) -> None:
        for folder in (self.work, self.own):
            with self.subTest(folder=folder.name):
                shown = self.says("python -c %s; python -c %s; greet a b; echo $?; echo text | python -c 'print(input())'" % (shlex.quote(MAKE), shlex.quote(WHO)), cwd=folder)
                self.assertEqual(shown, "%s %s\nhello a b\n2\ntext\n" % tuple(caller()))
                self.assertIn("greeted", os.listdir(str(folder)))
                self.assert_mine(folder)

    def test_programs_in_another_folder_too(self) -> None:
        self.assertEqual(self.says("cd %s; python -c %s; greet; pwd" % (self.own, shlex.quote(MAKE))), "hello\n%s\n" % self.own)
        self.assert_mine(self.own)

    def test_signals_reach_a_program(self) -> None:
        self.start_e(self.work)
        self.ok("activate", "--shell", "sh", "e")
        python = self.home / ".local" / "share" / "pydock" / (self.prefix + "-e") / "bin" / "python"
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=number.name):
                process = subprocess.Popen([str(python), "-c", COUNT, str(int(number))], cwd=str(self.work), env=self.environ, stdin=subprocess.DEVNULL,
                                           preexec_fn=signals_as_usual)
                self.wait_for((self.work / "ready").exists, 60)
                process.send_signal(number)
                self.assertEqual((process.wait(20), (self.work / "count").read_text()), (5, "1"))
                for name in ("ready", "count"):
                    (self.work / name).unlink()
        self.ok("stop", "e")  # no program is left that would hold it

    def test_pip_install_stays(self) -> None:
        make_wheel(self.work, "kept", files={"kept.py": "def main():\n    print('kept')\n"}, scripts=["kept = kept:main"]).chmod(0o600)
        result = bash(self, 'eval "$(pydock activate e)"; pip install ./kept-1.0-py3-none-any.whl; hash -r; kept; deactivate')
        self.assertEqual((result.status, result.out.splitlines()[-1:]), (0, ["kept"]), result)
        self.assertEqual(self.ok("run", "e", "kept"), "kept\n")
        self.assert_mine(self.folder("e"))

    def test_a_linked_program(self) -> None:
        self.ok("link", "e", "greet")
        self.addCleanup(self.ok, "link", "--remove", "greet")
        done = subprocess.run([str(self.home / ".local" / "bin" / "greet"), "x"], cwd=str(self.work), env=self.environ, stdout=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout), (1, "hello x\n"))
        self.assert_mine(self.work)


class Packages(RootlessCase):
    def project(self, folder: Path) -> Path:
        """A package, of its folder's name, that nobody but the caller can read."""
        folder.mkdir(0o700)
        (folder / "setup.py").write_text("from setuptools import setup\nsetup(name=%r, version='1', py_modules=[%r])\n" % (folder.name, folder.name), encoding="utf-8")
        (folder / (folder.name + ".py")).write_text("answer = 42\n", encoding="utf-8")
        for file in folder.iterdir():
            file.chmod(0o600)
        return folder

    def test_an_environment_of_folders_that_only_the_caller_can_read_until_it_is_deleted(self) -> None:
        inside, outside = self.project(self.own / "first"), self.project(self.work / "second")
        self.ok("create", "f", str(outside), "./first", cwd=self.own)
        self.assertEqual(self.ok("run", "f", "python", "-c", "import first, second; print(first.answer + second.answer)"), "84\n")
        for folder in (inside, outside):
            self.assertEqual(sorted(path.name for path in folder.iterdir()), [folder.name + ".py", "setup.py"])
        for folder in (self.folder("f"), self.own, self.work):
            self.assert_mine(folder)

        self.ok("start", "f")
        self.ok("uninstall", "f", "first")
        self.assertEqual(self.ok("run", "f", "python", "-c", "from importlib.util import find_spec; print(find_spec('first'), find_spec('second') is not None)"), "None True\n")
        self.assertNotIn("first", self.requirements("f"))

        process = self.start("run", "f", *SLEEP)
        self.wait_for((self.work / "ready").exists, 60)
        self.fails("delete", "-y", "f", says="sleep 1000", hint="--force")
        self.ok("delete", "-y", "--force", "f")
        process.communicate(timeout=20)
        self.assert_clean("f")
        self.assertEqual((self.folder("f").exists(), self.tags("f")), (False, {}))
        self.assertFalse((self.home / ".local" / "share" / "pydock" / (self.prefix + "-f")).exists())

    def test_the_project_of_a_local_environment_is_there_from_each_of_its_folders(self) -> None:
        self.ok("--local", "create", "g", cwd=self.own)
        (self.own / "src").mkdir()
        (self.own / "file").write_text("text\n", encoding="utf-8")
        for begin in ("run", "start"):
            if begin == "start":
                self.ok("start", "g", cwd=self.own)
            self.assertEqual(self.ok("run", "g", "sh", "-c", "cat ../file; touch made-%s" % begin, cwd=self.own / "src"), "text\n")
        self.assertEqual(sorted(os.listdir(str(self.own / "src"))), ["made-run", "made-start"])
        self.assert_mine(self.own)
        self.ok("delete", "-y", "g", cwd=self.own)  # an idle container is no reason to ask
        self.assertEqual([tag for tag in self.tags() if tag.startswith(self.prefix + "-g")], [])


class KeptGroups(unittest.TestCase):
    def test_a_rootless_podman_is_told_to_keep_the_callers_groups(self) -> None:
        """Only its runtime can: the numbers of this host mean nothing in there."""
        container = pydock.Container("c", "img", "ds", "7:8")
        container.groups, container.keep_id = [9], True
        argv = container.argv()
        self.assertEqual((argv.count("--group-add"), argv[argv.index("--group-add") + 1]), (1, "keep-groups"))
        container.keep_id = False
        self.assertNotIn("keep-groups", container.argv())


@one_engine_for_all
@unittest.skipUnless(os.geteuid() == 0, "only root can become other users")
class OtherCase(SharedCase):
    """As an ordinary user, `me`, who as `member` is in one group more; each test has a current folder of its own."""

    uid: int
    group: int
    me: Dict[str, Any]
    member: Dict[str, Any]

    @classmethod
    def prepare(cls, case: Case) -> None:
        cls.uid, cls.group = random.randrange(20000, 30000), random.randrange(30000, 40000)
        cls.me = {"preexec_fn": as_user(cls.uid, cls.uid, docker_groups())}
        cls.member = {"preexec_fn": as_user(cls.uid, cls.uid, [*docker_groups(), cls.group])}
        case.give_to(cls.uid)
        put_on_path(case, case.program)

    def setUp(self) -> None:
        super().setUp()
        self.work = Path(tempfile.mkdtemp(prefix="work-", dir=str(self.base)))
        os.chown(str(self.work), self.uid, self.uid)
        self.addCleanup(self.assert_none_left)


class Groups(OtherCase):
    """A file and a folder of root's that only a further group of the caller's may use."""

    @classmethod
    def prepare(cls, case: Case) -> None:
        super().prepare(case)
        wheel = make_wheel(case.work, "extra")
        os.chown(str(wheel), 0, cls.group)
        wheel.chmod(0o640)
        case.ok("create", "e", "./" + wheel.name, **cls.member)

    def setUp(self) -> None:
        super().setUp()
        (self.work / "secret").write_text("text\n", encoding="utf-8")
        (self.work / "shared").mkdir()
        for name, mode in (("secret", 0o640), ("shared", 0o2770)):
            os.chown(str(self.work / name), 0, self.group)
            (self.work / name).chmod(mode)

    def check(self, out: str, made: str) -> None:
        """What `cat secret; touch shared/MADE` did."""
        self.assertEqual(out, "text\n")
        found = (self.work / "shared" / made).stat()
        self.assertEqual((found.st_uid, found.st_gid), (self.uid, self.group))

    def test_they_go_along_into_fresh_and_started_containers_and_activated_programs(self) -> None:
        result = self.run_pydock("run", "e", "cat", "secret", **self.me)
        self.assertEqual((result.status, result.out), (1, ""), "who is not in the group must not read it")
        self.check(self.ok("run", "e", "sh", "-c", "cat secret; touch shared/fresh", **self.member), "fresh")

        self.ok("start", "e", **self.member)
        self.check(self.ok("run", "e", "sh", "-c", "cat secret; touch shared/warm", **self.member), "warm")
        self.assertEqual(self.containers(), [self.prefix + "-e--background"])
        self.ok("stop", "e", **self.member)

        code = "print(open('secret').read(), end=''); open('shared/%s', 'w')"
        script = 'eval "$(pydock activate e)"; python -c "%s"; deactivate' % code
        result = bash(self, script % "activated", **self.member)
        self.assertEqual(result.err, "")
        self.check(result.out, "activated")
        result = bash(self, 'cd /; mkdir %s; cd %s; eval "$(pydock activate e)"; cd %s; python -c "%s"; deactivate' % (
            self.home / "elsewhere", self.home / "elsewhere", self.work, code % "outside"), **self.member)
        self.check(result.out, "outside")
        self.assertEqual(self.containers(), [])

    def test_a_group_that_the_caller_joined_after_the_start_goes_along_too(self) -> None:
        self.ok("start", "e", **self.me)
        self.addCleanup(self.ok, "stop", "e", **self.member)
        self.assertEqual(self.ok("run", "e", "cat", "secret", **self.member), "text\n")

    def test_a_wheel_that_only_the_group_may_read_is_installed(self) -> None:
        self.assertEqual(self.ok("run", "e", "python", "-c", "import extra", **self.member), "")

    @needs_compose
    def test_they_go_along_where_there_is_a_compose_file(self) -> None:
        self.ok("create", "c", "-e", "A=1", **self.me)
        self.check(self.ok("run", "c", "sh", "-c", "cat secret; touch shared/fresh", **self.member), "fresh")
        self.ok("start", "c", **self.member)
        self.check(self.ok("run", "c", "sh", "-c", "cat secret; touch shared/warm", **self.member), "warm")
        self.ok("delete", "-y", "c", **self.member)


PROGRAM = """#!/bin/sh
# Answers as a rootless docker where the file `rootless` is beside it, notes what it is asked, and passes it on.
echo "$1 $2" >>{folder}/asked
if [ -e {folder}/rootless ] && [ "$*" = 'info --format {{{{json .SecurityOptions}}}}' ]; then echo '["name=seccomp,profile=default","name=rootless"]'; exit; fi
exec {real} "$@"
"""


class RootlessDocker(OtherCase):
    """One that is imitated: what is done for it, and that nothing of it is done elsewhere. It made the environment e."""

    fakes: Path

    @classmethod
    def prepare(cls, case: Case) -> None:
        super().prepare(case)
        cls.fakes = case.base / "fakes"
        cls.fakes.mkdir()
        real = shutil.which(ENGINE[-1])
        assert real
        program = cls.fakes / ENGINE[-1]
        program.write_text(PROGRAM.format(folder=cls.fakes, real=shlex.quote(real)), encoding="utf-8")
        program.chmod(0o755)
        (cls.fakes / "asked").touch()
        (cls.fakes / "asked").chmod(0o666)
        (cls.fakes / "rootless").touch()
        case.environ["PATH"] = str(cls.fakes) + os.pathsep + case.environ["PATH"]
        case.ok("create", "e", **cls.me)

    def ordinary(self) -> None:
        """From here on it is a docker as any other."""
        (self.fakes / "rootless").unlink()
        self.addCleanup((self.fakes / "rootless").touch)

    def asked(self) -> List[str]:
        """What was asked since the last time."""
        text = (self.fakes / "asked").read_text(encoding="utf-8")
        (self.fakes / "asked").write_text("", encoding="utf-8")
        return text.splitlines()

    def words(self, *argv: str, **options: Any) -> List[str]:
        script = re.sub(r" <<'(.+)' > \S*/helper\n[\s\S]*?\n\1\n", "\n", self.ok("-n", *argv, **{**self.me, **options}))  # without pydock's own file
        return shlex.split(script, comments=True)

    def config_user(self, name: str = "e") -> Any:
        return json.loads(engine("image", "inspect", "%s-%s" % (self.prefix, name)))[0]["Config"]["User"]

    def assert_no_user(self, words: List[str]) -> None:
        self.assertIn("--pull", words)
        self.assertEqual([word for word in words if re.match("-u|--user|--group-add|--userns", word)], [], words)

    def test_root_inside_is_the_caller(self) -> None:
        words = self.words("create", "new")
        self.assertIn("USER_UID=0", words)
        self.assertIn("USER_GID=0", words)
        self.assertEqual(self.config_user(), "0:0")
        self.assert_no_user(self.words("run", "e", "true", **self.member))
        self.assert_no_user(self.words("start", "e", **self.member))
        self.assertEqual(self.ok("run", "e", "python", "-c", WHO, **self.me), "0 0\n")
        self.assertEqual(self.ok("run", "e", "sh", "-c", "whoami; echo ~; touch ~/own", **self.me), "user\n/home/user\n")

        self.ok("start", "e", **self.member)
        started = json.loads(engine("container", "inspect", self.prefix + "-e--background"))[0]
        self.assertEqual((started["Config"]["User"], started["HostConfig"]["GroupAdd"] or []), ("0:0", []))
        self.assertEqual(self.ok("run", "e", "python", "-c", WHO, **self.me), "0 0\n")
        self.ok("stop", "e", **self.me)
        result = bash(self, 'eval "$(pydock activate e)"; python -c "%s"; deactivate' % WHO, **self.me)
        self.assertEqual((result.out, result.err), ("0 0\n", ""), result)

        wheel = make_wheel(self.work, "extra")
        self.ok("install", "e", "./" + wheel.name, **self.me)
        self.assertEqual(self.config_user(), "0:0")
        self.assertEqual(self.ok("run", "e", "python", "-c", "import extra", **self.me), "")
        self.assertEqual(json.loads(self.ok("list", "--json", **self.me))[0]["state"], "ready")

    def test_a_user_that_the_dockerfile_fixes_stays(self) -> None:
        words = self.words("create", "new", "--user", "4711:ada")
        self.assertIn("INSTALLER=uv", words)
        self.assertNotIn("USER_UID=0", words)
        self.assertNotIn("USER_GID=0", words)

    def test_an_ordinary_docker_gets_the_caller_and_is_not_asked_by_run(self) -> None:
        self.ordinary()
        words = self.words("create", "new")
        self.assertIn("USER_UID=%d" % self.uid, words)
        self.assertIn("USER_GID=%d" % self.uid, words)
        self.ok("create", "f", **self.me)
        self.assertEqual(self.config_user("f"), "%d:%d" % (self.uid, self.uid))
        self.asked()
        words = self.words("run", "f", "true", **self.member)
        self.assertEqual(words[words.index("-u") + 1], "%d:%d" % (self.uid, self.uid))
        groups = [words[at + 1] for at, word in enumerate(words) if word == "--group-add"]
        self.assertEqual(sorted(groups), sorted(map(str, [*docker_groups(), self.group])))
        self.assertNotIn("--userns", words)
        self.assertEqual(self.ok("run", "f", "python", "-c", WHO, **self.me), "%d %d\n" % (self.uid, self.uid))
        self.ok("start", "f", **self.me)
        self.ok("run", "f", "true", **self.me)
        self.ok("stop", "f", **self.me)
        self.assertEqual([line for line in self.asked() if line.startswith("info")], [], "an answer costs milliseconds")

    def test_its_image_on_an_ordinary_docker_is_an_error_whose_hint_helps(self) -> None:
        self.ok("create", "g", **self.me)
        self.ordinary()
        self.fails("run", "g", "true", hint="pydock build g", **self.me)
        self.ok("build", "g", **self.me)
        self.assertEqual(self.ok("run", "g", "id", "-u", **self.me), "%d\n" % self.uid)

    def test_for_root_it_is_a_docker_as_any_other(self) -> None:
        root: Dict[str, Any] = {"preexec_fn": None, "environ": {"HOME": str(self.work), "BUILDX_CONFIG": str(self.work / "buildx")}}
        self.ok("create", "r", **root)
        words = self.words("run", "r", "true", **root)
        self.assertEqual(words[words.index("-u") + 1], "0:0")
        self.assertEqual(self.ok("run", "r", "python", "-c", WHO, **root), "0 0\n")


if __name__ == "__main__":
    unittest.main()
