"""`run --sandbox` and `shell --sandbox`: a program like any other that can do no harm (issue 13, section 2). Each attack is tried."""
from __future__ import annotations

import os
import signal
import time
import unittest
from pathlib import Path
from typing import List, Tuple

import contract
from support import ENGINE, SLEEP, RunCase, ask_once, engine, is_podman, needs, pydock

WAY = ("run", "--sandbox", "--write", ".", "e")


@ask_once
def holds_limits() -> bool:
    try:
        pydock.check_limits(engine(*pydock.limits_argv(pydock.Engine(ENGINE))))
    except pydock.PydockError:
        return False
    return True


boxed = needs(holds_limits, "an engine that holds limits")


class Boxed(RunCase):
    """The current folder can be written by whoever is inside: of root's sandbox, nobody."""

    way: Tuple[str, ...] = WAY

    def setUp(self) -> None:
        super().setUp()
        self.work.chmod(0o777)


@boxed
class Arguments(Boxed, contract.Arguments):
    pass


@boxed
class Streams(Boxed, contract.Streams):
    pass


@boxed
class Status(Boxed, contract.Status):
    pass


@boxed
class Signals(Boxed, contract.Signals):
    pass


@boxed
class OnATerminal(Boxed, contract.OnATerminal):
    pass


@boxed
class Closed(RunCase):
    """What code inside tries; `tried` is what it says it could do."""

    def setUp(self) -> None:
        super().setUp()
        self.work.chmod(0o755)  # root's sandbox reads it as nobody

    def tried(self, code: str, *options: str, status: int = 0) -> str:
        result = self.run_pydock("run", "--sandbox", *options, "e", "python", "-c", code)
        self.assertEqual(result.status, status, result)
        return result.out

    def cannot(self, code: str, *options: str) -> None:
        """Whether the last line of the code raises an OSError."""
        *before, last = code.splitlines()
        text = "\n".join([*before, "try:", "    " + last, "except OSError as error:", "    print('no')", "else:", "    print('done')"])
        self.assertEqual(self.tried(text, *options), "no\n", code)

    def test_nothing_can_be_written_but_its_home_and_tmp(self) -> None:
        for path in ("new", str(self.work / "new"), "/new", "/opt/venv/new", "/usr/bin/new", "/etc/passwd", "/var/tmp/new", "/run/new", "/proc/sys/kernel/core_pattern", "/sys/kernel/new"):
            self.cannot("open(%r, 'w')" % path)
        self.assertEqual(os.listdir(str(self.work)), [])
        self.assertEqual(self.tried("import os; open('/tmp/x', 'w').close(); open(os.path.expanduser('~/x'), 'w').close(); print(os.getcwd() != '/')"), "True\n")

    def test_there_is_no_network(self) -> None:
        self.cannot("import socket\nsocket.create_connection(('1.1.1.1', 53), 5)")
        self.cannot("import socket\nsocket.getaddrinfo('example.com', 80)")
        self.cannot("import socket\nsocket.create_connection(('%s', 1), 5)" % "127.0.0.1")
        self.assertEqual(self.tried("import os; print(os.listdir('/sys/class/net'))"), "['lo']\n")

    def test_it_is_nobody_of_consequence(self) -> None:
        code = "import os; print(os.getuid() != 0, os.getgroups() in ([], [os.getgid()])); print([l.split()[1] for l in open('/proc/self/status') if l[:6] in ('CapEff', 'CapPrm', 'CapBnd', 'NoNewP')])"
        self.assertEqual(self.tried(code), "True True\n%s\n" % (["0" * 16] * 3 + ["1"]))
        self.cannot("import os\nos.setuid(0)")
        self.cannot("import os\nos.chown('/tmp', 1, 1)")

    def test_none_of_the_callers_variables_and_files(self) -> None:
        secret = Path(str(self.home / "secret"))
        secret.write_text("of the host")
        self.cannot("open(%r)" % str(secret))
        self.environ["SECRET_OF_MINE"] = self.environ["HTTPS_PROXY"] = self.environ["TZ"] = "of-the-host"
        folder = self.base / "client"
        folder.mkdir(exist_ok=True)
        self.addCleanup(self.environ.pop, "DOCKER_CONFIG", None)
        if not is_podman():
            (folder / "config.json").write_text('{"proxies": {"default": {"httpProxy": "http://u:of-the-host@h"}}}')
            self.environ["DOCKER_CONFIG"] = str(folder)
        self.assertNotIn("of-the-host", self.tried("import os; print(os.environ)"))
        self.assertEqual(self.tried("import os; print(os.environ['A'])", "-e", "A=1"), "1\n")

    def test_the_engine_and_the_host_are_not_there(self) -> None:
        for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/podman/podman.sock", str(self.home)):
            self.assertEqual(self.tried("import os; print(os.path.exists(%r))" % path), "False\n")
        self.cannot("open('/proc/1/root/etc/passwd', 'w')")
        self.cannot("open('/proc/kcore', 'rb').read(1)")
        self.cannot("open('/proc/sysrq-trigger', 'w')")

    def test_a_setuid_program_gives_nothing(self) -> None:
        self.assertEqual(self.tried("import subprocess; print(subprocess.run(['su', '-c', 'id -u'], stdin=subprocess.DEVNULL, capture_output=True).stdout)"), "b''\n")

    def test_what_is_opened_by_name(self) -> None:
        for name in ("into", "from", "into/below"):
            (self.work / name).mkdir()
            (self.work / name).chmod(0o777)
        (self.work / "from" / "f").write_text("read me")
        other = self.base / "other"
        other.mkdir(exist_ok=True)
        (other / "f").write_text("of another folder")
        code = "open('into/x', 'w').write('1'); open('%s/into/below/y', 'w').write('2'); print(open('from/f').read(), open('%s/f').read())" % (self.work, other)
        self.assertEqual(self.tried(code, "--write", "into", "--read", str(other)), "read me of another folder\n")
        self.assertEqual([(self.work / "into" / name).read_text() for name in ("x", "below/y")], ["1", "2"])
        self.cannot("open('%s/f', 'w')" % other, "--read", str(other))
        self.cannot("open('from/f', 'w')", "--write", "into")
        # A link out of it leads to nothing of the host's.
        self.cannot("import os\nos.symlink('%s', 'into/link')\nopen('into/link/f', 'w')" % other, "--write", "into")
        self.assertEqual((other / "f").read_text(), "of another folder")

    def test_pydocks_own_cannot_be_opened(self) -> None:
        self.fails("run", "--sandbox", "e", "true", cwd=self.home, says="home folder")
        for option in ("--read", "--write"):
            for folder in (self.home, self.base, Path("/")):
                self.fails("run", "--sandbox", option, str(folder), "e", "true", says="home folder")
            self.fails("run", "--sandbox", option, "no-such", "e", "true", says="no such folder: no-such")
        project = self.work / "project"
        project.mkdir()
        self.ok("--local", "create", "mine", "--no-build", cwd=project)
        result = self.run_pydock("--global", "run", "--sandbox", "--write", ".", "e", "touch", ".pydock/new", cwd=project)
        self.assertEqual((result.status, os.listdir(str(project / ".pydock"))), (1, ["envs"]), result)

    def test_what_does_not_go_together(self) -> None:
        self.fails("run", "--sandbox", "--root", "e", "true", says="--root")
        self.fails("run", "--sandbox", "-v", ".:/x", "e", "true", says="-v", hint="--write")
        self.fails("run", "--sandbox", "-p", "80", "e", "true", hint="--network bridge")
        self.fails("run", "--memory", "1g", "e", "true", hint="--sandbox")
        for option, value in (("--memory", "2x"), ("--cpus", "all"), ("--pids-limit", "-1"), ("--timeout", "1h")):
            self.fails("run", "--sandbox", "%s=%s" % (option, value), "e", "true", says=value)
        self.assertEqual(self.containers(), [])


@boxed
class Limits(RunCase):
    """A limit that was met is told, and nothing is left."""

    def met(self, says: str, status: int, *words: str) -> str:
        result = self.run_pydock("run", "--sandbox", *words)
        self.assertEqual(result.status, status, result)
        self.assertIn(says, result.err.splitlines(), result)
        return result.out

    def test_memory(self) -> None:
        code = "x = 'a' * (1 << 30)"
        self.met("pydock: the container reached its limit of memory", 137, "--memory", "64m", "e", "python", "-c", code)
        # A /tmp that is filled counts; it ends before that, as a disk would.
        code = "with open('/tmp/x', 'wb') as file:\n    while True: file.write(bytes(1 << 20))"
        self.assertEqual(self.ok("run", "--sandbox", "e", "python", "-c", "import errno\ntry:\n    " + code.replace("\n", "\n    ") + "\nexcept OSError as error: print(errno.errorcode[error.errno])"), "ENOSPC\n")
        code = "for n in range(10000): open('/tmp/%d' % n, 'w').close()\nprint('made')"
        self.assertEqual(self.ok("run", "--sandbox", "e", "python", "-c", code), "made\n")

    def test_processes(self) -> None:
        code = "import os, sys, time\ntry:\n    while True:\n        if os.fork() == 0: time.sleep(100)\nexcept BlockingIOError: sys.exit(1)"
        self.met("pydock: the container reached its limit of processes", 1, "--pids-limit", "30", "e", "python", "-c", code)
        self.assertEqual(self.ok("run", "--sandbox", "--cpus", "9999", "e", "python", "-c", "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[1])"), "1024\n")

    def test_time(self) -> None:
        for program in (["sleep", "100"], ["sh", "-c", "trap '' TERM INT; while :; do :; done"]):
            began = time.monotonic()
            self.met("pydock: the container reached its time limit of 1 s", 124, "--timeout", "1", "e", *program)
            self.assertLess(time.monotonic() - began, 30)

    def test_killing_all_that_it_can_see_ends_it_alone(self) -> None:
        self.assertEqual(self.run_pydock("run", "--sandbox", "e", "sh", "-c", "(kill -9 -1); sleep 100").status, 137)

    def test_time_is_over_also_where_pydock_was_killed(self) -> None:
        self.work.chmod(0o777)
        process = self.start("run", "--sandbox", "--write", ".", "--timeout", "8", "e", *SLEEP, start_new_session=True)
        self.ready()
        self.assertTrue(self.containers())
        os.killpg(process.pid, signal.SIGKILL)
        self.finish(process)
        self.wait_for(lambda: not self.containers(), 30)

    def test_no_clock_is_left(self) -> None:
        seconds = str(10 ** 6 + os.getpid())
        self.ok("run", "--sandbox", "--timeout", seconds, "e", "true")
        def left() -> List[bytes]:
            words = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
            return [each for each in words if seconds.encode() in each]

        self.wait_for(lambda: not left(), 5)  # one that is killed goes a moment later


@needs(lambda: not holds_limits(), "an engine that holds no limits")
class Refused(RunCase):
    def test_there_is_no_sandbox_without_limits(self) -> None:
        self.fails("run", "--sandbox", "e", "touch", "ran", says="cannot limit memory")
        self.assertEqual((os.listdir(str(self.work)), self.containers()), ([], []))


class Settings(RunCase):
    def test_a_project_may_only_tighten(self) -> None:
        (self.work / ".pydock").mkdir()
        conf = self.work / ".pydock" / "pydock.conf"
        for text, warned in (("sandbox_memory = 100m", False), ("sandbox_memory = 3g", True), ("sandbox_pids = 9", False), ("sandbox_timeout = 9999", True)):
            conf.write_text("[pydock]\n%s\n" % text)
            local = self.run_pydock("config", text.split()[0])
            self.assertEqual("a project may only lower it" in local.err, warned, local)
            self.assertEqual(local.out.split()[0] == text.split()[-1], not warned, local)

    def test_what_the_engine_cannot_hold_is_said(self) -> None:
        pydock.check_limits("memory cpu pids\n")
        pydock.check_limits("[cpuset cpu io memory pids]\n")
        for told, lacking in (("[]\n", "memory and processors and processes"), ("memory  \n", "processors and processes"), ("", "memory")):
            with self.assertRaisesRegex(pydock.PydockError, "cannot limit " + lacking):
                pydock.check_limits(told)


if __name__ == "__main__":
    unittest.main()
