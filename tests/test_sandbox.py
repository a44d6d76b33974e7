"""`run --sandbox` and `shell --sandbox`: a program like any other that can do no harm (issue 13, section 2). Each attack is tried."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any, Dict, List, Tuple
from unittest import mock

import contract
from support import ENGINE, PYDOCK, ROOT, SLEEP, Case, RunCase, ask_once, engine, is_podman, needs, pydock

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

    def cannot(self, *codes: str, options: Tuple[str, ...] = ()) -> None:
        """Whether each of these raises an OSError."""
        code = "import os, socket\nfor code in %r:\n    try: exec(code)\n    except OSError: pass\n    else: print(code)" % (codes,)
        self.assertEqual(self.tried(code, *options), "")

    def test_nothing_can_be_written_but_its_home_and_tmp(self) -> None:
        paths = ("new", str(self.work / "new"), "/new", "/opt/venv/new", "/usr/bin/new", "/etc/passwd", "/var/tmp/new", "/run/new", "/proc/sys/kernel/core_pattern", "/sys/kernel/new")
        self.cannot(*("open(%r, 'w')" % path for path in paths))
        self.assertEqual(os.listdir(str(self.work)), [])
        self.assertEqual(self.tried("import os; open('/tmp/x', 'w').close(); open(os.path.expanduser('~/x'), 'w').close(); print(os.getcwd() != '/')"), "True\n")

    def test_there_is_no_network(self) -> None:
        addresses = ("1.1.1.1", "127.0.0.1", "::1", "2606:4700:4700::1111")
        self.cannot("socket.getaddrinfo('example.com', 80)", *("socket.create_connection(('%s', 53), 5)" % address for address in addresses))
        self.assertEqual(self.tried("import os; print(os.listdir('/sys/class/net'))"), "['lo']\n")

    def test_it_is_nobody_of_consequence(self) -> None:
        code = "import os; print(os.getuid() != 0, os.getgroups() in ([], [os.getgid()])); print([l.split()[1] for l in open('/proc/self/status') if l[:6] in ('CapEff', 'CapPrm', 'CapBnd', 'NoNewP')])"
        self.assertEqual(self.tried(code), "True True\n%s\n" % (["0" * 16] * 3 + ["1"]))
        self.cannot("os.setuid(0)", "os.chown('/tmp', 1, 1)", "os.kill(%d, 0)" % os.getpid())

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
        paths = ("/var/run/docker.sock", "/run/docker.sock", "/run/podman/podman.sock", str(self.home))
        self.cannot(*("os.stat(%r)" % path for path in paths), "open('/proc/1/root/etc/passwd', 'w')", "open('/proc/kcore', 'rb').read(1)", "open('/proc/sysrq-trigger', 'w')")
        self.assertEqual(self.tried("import ctypes; print(ctypes.CDLL(None).ptrace(16, %d, 0, 0))" % os.getpid()), "-1\n")

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
        self.cannot("open('%s/f', 'w')" % other, "open('from/f', 'w')", options=("--read", str(other), "--write", "into"))
        # A link out of it leads to nothing of the host's.
        self.cannot("os.symlink('%s', 'into/link')\nopen('into/link/f', 'w')" % other, options=("--write", "into"))
        self.assertEqual((other / "f").read_text(), "of another folder")

    def test_a_folder_of_the_same_name_is_not_the_current_one(self) -> None:
        for name in ("a/data", "b/data"):
            (self.work / name).mkdir(parents=True)
            (self.work / name / "f").write_text(name)
        code = "import os; print(open('f').read(), open('%s/b/data/f').read())" % self.work
        result = self.run_pydock("run", "--sandbox", "--read", "../../b/data", "e", "python", "-c", code, cwd=self.work / "a" / "data")
        self.assertEqual((result.status, result.out), (0, "a/data b/data\n"), result)

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

    def test_a_link_in_the_current_folder_opens_no_other(self) -> None:
        other = self.base / "keys"
        (other / "below").mkdir(parents=True, exist_ok=True)
        (self.work / "real").mkdir()
        (self.work / "real").chmod(0o777)
        for name, target in (("out", other), ("in", "real"), ("real/up", "../../keys")):
            (self.work / name).symlink_to(target)
        for option in ("--read", "--write"):
            for path in ("out", "out/below", "real/up", str(self.work / "out"), "./in/up/below"):
                self.fails("run", "--sandbox", option, path, "e", "true", says="is a symbolic link to %s" % other)
        self.tried("open('real/x', 'w').close()", "--write", "in")
        self.assertEqual(sorted(os.listdir(str(self.work / "real"))), ["up", "x"])

    def test_what_programs_of_the_host_share_cannot_be_opened(self) -> None:
        self.work.chmod(0o1777)  # as /tmp
        self.fails("run", "--sandbox", "e", "true", says="is shared with other programs")
        self.work.chmod(0o777)
        for path in ("/var/tmp", "/run", "/var/run", "/proc/self", "/dev/shm"):
            self.fails("run", "--sandbox", "--read", path, "e", "true", says=path + " is shared with other programs")

    def test_a_hostile_image(self) -> None:
        self.ok("clone", "e", "v")
        image, container = self.prefix + "-v:latest", self.prefix + "-v-hostile"
        engine("create", "--name", container, image)
        changes = ['VOLUME ["/data", "/tmp", "/new,readonly=false"]', "ENV HOME=/data LD_PRELOAD=/data/x.so PYTHONSTARTUP=/data/f A=of-the-image",
                   "LABEL com.docker.compose.project=x", "WORKDIR /w:exec,size=9g", 'ENTRYPOINT ["/bin/sh", "-c", "touch /data/x /opt/venv/x 2>/dev/null; exec \\"$@\\"", "sh"]']
        changes += ["HEALTHCHECK --interval=1s CMD touch /data/health"] * (not is_podman())
        engine("commit", *(word for change in changes for word in ("--change", change)), container, image)
        engine("rm", container)
        volumes = engine("volume", "ls", "-q")
        code = "import os; print(sorted(os.listdir('/data')), os.environ['HOME'], os.path.exists('/opt/venv/x'), os.environ['A'])"
        result = self.run_pydock("run", "--sandbox", "-e", "A=mine", "v", "python", "-c", code)
        self.assertEqual((result.status, result.out), (0, "['x'] /tmp False mine\n"), result)
        code = "import os\nfor path in ('/data', '/new,readonly=false'):\n    open(path + '/x', 'w')\n    print(os.statvfs(path).f_blocks * os.statvfs(path).f_frsize >> 20)"
        self.assertEqual(self.ok("run", "--sandbox", "--timeout", "9", "v", "python", "-c", code), "256\n256\n")
        self.assertEqual(engine("volume", "ls", "-q"), volumes)

    def test_the_ten_lines_of_the_readme(self) -> None:
        text = (ROOT / "README.md").read_text(encoding="utf-8").split("### Code that you do not trust")[1]
        names: Dict[str, Any] = {}
        exec(text.split("```python\n")[1].split("```")[0].replace('"ds"', '"e"'), names)
        (self.base / "bin").mkdir(exist_ok=True)
        (self.base / "bin" / "pydock").symlink_to(PYDOCK)
        with mock.patch.dict(os.environ, {**self.environ, "PATH": "%s:%s" % (self.base / "bin", os.environ["PATH"])}):
            self.assertEqual(names["run"]("print(6 * 7)", str(self.work)), (0, "42\n"))
            self.assertEqual(names["run"]("open('x', 'w')", str(self.work))[0], 1)
            status, output = names["run"]("while True: print('x' * 9999)", str(self.work))
            self.assertEqual((status not in (0, 124), len(output)), (True, 10 ** 6))

    def test_what_does_not_go_together(self) -> None:
        self.fails("run", "--sandbox", "--root", "e", "true", says="--root")
        self.fails("run", "--sandbox", "-v", ".:/x", "e", "true", says="-v", hint="--write")
        self.fails("run", "--sandbox", "-p", "80", "e", "true", hint="--network bridge")
        self.fails("run", "--memory", "1g", "e", "true", hint="--sandbox")
        for option, values in (("--memory", "2x 1 15m 0 -1 1025g 99999999999g"), ("--cpus", "all 0 0.00 -1 99999"), ("--pids-limit", "-1 0 9 9999999"),
                               ("--timeout", "1h 0 0.5 -1 99999999")):
            for value in values.split():
                self.fails("run", "--sandbox", option, value, "e", "true", says=repr(value))
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

    def test_endless_output_is_kept_nowhere(self) -> None:
        with open(os.devnull, "w") as nowhere:
            process = self.start("run", "--sandbox", "--timeout", "6", "e", "python", "-c", "while True: print('x' * 10000)", stdout=nowhere)
        self.wait_for(self.containers, 6)
        self.assertEqual(engine("inspect", "--format", "{{.HostConfig.LogConfig.Type}}", *self.containers()), "none")
        self.assertEqual(self.finish(process), 124)

    def test_the_smallest_ones_are_enough_to_start(self) -> None:
        options = ("--memory", "16m", "--cpus", "0.3", "--pids-limit", "10")
        self.assertEqual(self.ok("run", "--sandbox", *options, "e", "echo", "yes", environ={"PYDOCK_SANDBOX_FILES": "100"}), "yes\n")

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


class Clock(unittest.TestCase):
    """What ends it, by the file `end` instead of the engine."""

    def test_it_waits_for_a_container_that_is_late(self) -> None:
        with tempfile.TemporaryDirectory(prefix="pydock-clock-") as folder:
            def start(parent: int) -> subprocess.Popen[bytes]:
                kill = "echo >>%s/tried; [ -e %s/end ]" % (folder, folder)
                return subprocess.Popen(["/bin/sh", "-c", pydock.CLOCK_SH.replace("sleep 0.1", "sleep 0"), "pydock-clock", "0", kill, str(parent)])

            tried = Path(folder, "tried")
            clock = start(os.getpid())
            while not tried.exists() or tried.stat().st_size < 700:
                time.sleep(0.05)
            self.assertIsNone(clock.poll(), "its parent lives")
            Path(folder, "end").touch()
            self.assertEqual(clock.wait(10), 9)
            Path(folder, "end").unlink()
            clock = start(os.getpid())
            while tried.stat().st_size < 800:
                time.sleep(0.05)
            clock.terminate()
            self.assertEqual(clock.wait(10), 0, "there is none any more")
            self.assertEqual(start(2 ** 22 + 1).wait(60), 0, "nobody is there any more")


@ask_once
def has_index() -> bool:
    with tempfile.TemporaryDirectory(prefix="pydock-index-") as folder:
        argv = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--retries", "0", "-d", folder, "six"]
        return not subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode


@boxed
class Science(RunCase):
    """Real packages, with the limits that a sandbox has by itself."""

    @classmethod
    def prepare(cls, case: Case) -> None:
        if not has_index():
            raise unittest.SkipTest("no package index can be reached from here")
        case.ok("create", "e", "numpy", "pandas", "matplotlib")

    def test_a_plot_of_many_processes(self) -> None:
        (self.work / "plots").mkdir()
        (self.work / "plots").chmod(0o777)
        (self.work / "plot.py").write_text(PLOT, encoding="utf-8")
        self.work.chmod(0o755)
        self.assertEqual(self.ok("run", "--sandbox", "--write", "plots", "e", "python", "plot.py", input=""), "[300, 300, 300, 300]\n")
        self.assertEqual((self.work / "plots" / "plot.png").read_bytes()[:4], b"\x89PNG")

    def test_no_thread_for_each_processor_of_the_host(self) -> None:
        code = "import os, numpy; numpy.ones((500, 500)) @ numpy.ones((500, 500)); print(len(os.listdir('/proc/self/task')))"
        self.assertEqual(self.ok("run", "--sandbox", "--cpus", "0.9", "e", "python", "-c", code), "1\n")
        self.assertEqual(self.ok("run", "--sandbox", "-e", "OMP_NUM_THREADS=1", "e", "python", "-c", code), "1\n")


PLOT = """
import matplotlib
matplotlib.use("agg")
import matplotlib.pyplot, multiprocessing, numpy, pandas

def size(seed):
    values = numpy.random.default_rng(seed).random((300, 300))
    return len(numpy.linalg.inv(values) @ values)

if __name__ == "__main__":
    with multiprocessing.Pool(8) as pool:
        sizes = pool.map(size, range(4))
    print(sizes)
    pandas.DataFrame({"size": sizes}).plot(title="a font is found").figure.savefig("plots/plot.png")
"""


class Settings(Case):
    def test_a_project_may_only_tighten(self) -> None:
        (self.work / ".pydock").mkdir()
        self.assertEqual(pydock.amount("2G"), pydock.amount("2048m"))
        conf = self.work / ".pydock" / "pydock.conf"
        for text, warned in (("sandbox_memory = 100m", False), ("sandbox_memory = 3g", True), ("sandbox_pids = 99", False), ("sandbox_timeout = 9999", True)):
            conf.write_text("[pydock]\n%s\n" % text)
            local = self.run_pydock("config", text.split()[0])
            self.assertEqual("a project may only lower it" in local.err, warned, local)
            self.assertEqual(local.out.split()[0] == text.split()[-1], not warned, local)
        conf.write_text("[pydock]\nsandbox_cpus = 0\n")  # for an engine: no limit
        self.fails("config", says="bad value '0' for the setting 'sandbox_cpus'")

    def test_what_the_engine_cannot_hold_is_said(self) -> None:
        pydock.check_limits("memory cpu pids\n")
        pydock.check_limits("[cpuset cpu io memory pids]\n")
        for told, lacking in (("[]\n", "memory and processors and processes"), ("memory  \n", "processors and processes"), ("", "memory")):
            with self.assertRaisesRegex(pydock.PydockError, "cannot limit " + lacking):
                pydock.check_limits(told)


if __name__ == "__main__":
    unittest.main()
