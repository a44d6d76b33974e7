"""The contract of a program, however it is called: by `run` in a container of its own (test_run), in a background container (test_start)
or beside a compose file (test_compose), by an activated program or by a linked one (test_activate). Arguments arrive byte for byte,
streams pass as they are, the exit status is the program's own, and signals and terminals work."""
from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, List, Tuple

from support import COUNT, PRINT, SLEEP, Case, RunCase, Terminal, engine, pydock, signals_as_usual

WORDS = ["a b", "", "'", '"', "\\", "\\n", "\\c", "$HOME", "${A}", "$$", "$(id)", "`id`", "*", "a\nb", "\t", "\r", "é 日本", os.fsdecode(b"\xff\xfe"), "--flag", "--flag=x y",
         "-p", "80", "-n", "--dry-run", "--help", "-h", "--version", "--local", "-q", "-d", "--rm", "--", "--", "-", "-e", "A=B", ";", "&&", "!", "{a,b}", "~", "%s",
         "\x01\x7f", ""]
# The code of an activated or linked `python` that becomes any other program of the environment.
EXEC = "import os, sys; os.execvp('env', ['env', *sys.argv[1:]])"


# Whether the child of a dead program is still there after a while, since nobody buried it.
ORPHAN = ("import os, time\n"
          "r, w = os.pipe()\n"
          "if os.fork() == 0:\n    pid = os.fork()\n    if pid == 0: os._exit(0)\n    os.write(w, b'%d' % pid); os._exit(0)\n"
          "os.wait()\nend = time.time() + 20\norphan = '/proc/' + os.read(r, 20).decode()\n"
          "while os.path.exists(orphan) and time.time() < end: time.sleep(0.05)\n"
          "print(os.path.exists(orphan))")
# What runs in a container beside its first processes and this: a line for each; a way that pydock does not know of.
LOOK = r"""
import os
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        words = open("/proc/%s/cmdline" % pid, errors="replace").read().replace("\0", " ").replace("\n", " ").strip()
        parent = open("/proc/%s/stat" % pid, errors="replace").read().rpartition(")")[2].split()[1]
    except OSError:
        continue
    if words and int(pid) not in (1, os.getpid()) and (words, parent) != ("/bin/sleep infinity", "1"):
        print(words)
"""


class WarmCase(RunCase):
    """One environment, `e`, of which each test may start a container; none is left, and no client on this host."""

    @property
    def warm(self) -> str:
        return "%s-e--background" % self.prefix

    def inside(self) -> List[str]:
        """The programs in the warm container."""
        return engine("exec", "-w", "/", "-u", "0:0", self.warm, "python3", "-ISc", LOOK, check=False).splitlines()

    def clients(self) -> List[str]:
        """The programs of this host that have to do with containers of this test's."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if self.prefix + "-" in words and not words.startswith(("conmon", "/usr/bin/conmon")):
                found.append(words[:200])
        return found

    def containers(self) -> List[str]:
        """What must be gone when a test ends: all containers but the warm one, and what runs in that."""
        found = super().containers()
        return [name for name in found if name != self.warm] + (self.inside() if self.warm in found else [])

    def assert_idle(self) -> None:
        """Nothing runs in the warm container, nor a client on this host."""
        self.wait_for(lambda: not self.containers() and not self.clients(), 20)

    def tearDown(self) -> None:
        try:
            super().tearDown()
            self.wait_for(lambda: not self.clients(), 20)
        finally:
            self.tidy()

    def tidy(self) -> None:
        for name in Case.containers(self):
            engine("rm", "-f", name, check=False)

    def clean(self) -> None:
        WarmCase.tidy(self)
        super().clean()

    def mark(self) -> None:
        """Leaves a file in the warm container's own state, by which a program can tell that it is there."""
        engine("exec", "-u", "0:0", self.warm, "touch", "/warm")

    def is_warm(self, *options: str, name: str = "e", **more: Any) -> bool:
        """Whether `run` goes into the container that was marked."""
        result = self.run_pydock("run", *options, name, "sh", "-c", "test -e /warm", **more)
        self.assertIn(result.status, (0, 1), result)
        return result.status == 0

    def state(self) -> str:
        """The id of the warm container, and whether it runs; '' where there is none."""
        return engine("container", "inspect", "--format", "{{.Id}} {{.State.Running}}", self.warm, check=False)

    def busy(self, *program: str) -> subprocess.Popen[str]:
        """A program in the warm container, that is there."""
        process = self.start("run", "e", *(program or SLEEP), preexec_fn=signals_as_usual)
        self.addCleanup(self.finish, process)
        self.addCleanup(process.kill)
        self.ready()
        (self.work / "ready").unlink()
        return process

    def signalled(self, number: int, *program: str, stdout: Any = subprocess.PIPE, **options: Any) -> int:
        """The status of `run` with a program that says `ready`, after that signal to pydock."""
        process = self.start("run", *options.pop("options", ()), "e", *(program or SLEEP), stdout=stdout, preexec_fn=signals_as_usual, **options)
        self.ready()
        (self.work / "ready").unlink()
        process.send_signal(number)
        return self.finish(process)


class Started(WarmCase):
    """All tests of the class share a container, which has each one's folder."""

    @classmethod
    def prepare(cls, case: Case) -> None:
        super().prepare(case)
        cls.begin(case)

    @classmethod
    def begin(cls, case: Case) -> None:
        case.ok("start", "e", cwd=case.base)
        engine("exec", "-u", "0:0", "%s-e--background" % case.prefix, "touch", "/warm")

    def tidy(self) -> None:
        if self.containers() or not self.state().endswith("true"):
            super().tidy()
            self.begin(self.shared)


class Called(RunCase):
    """Says how the program is called: by `program` and `way`, and then its own words."""

    way: Tuple[str, ...] = ("run", "e")
    outputs: Tuple[Any, ...] = (subprocess.PIPE, subprocess.DEVNULL)  # the kinds of stdout between which it makes a difference

    def line(self, *words: str) -> str:
        """The call, for a shell."""
        return " ".join(map(shlex.quote, [*self.program, *self.way, *words]))


class Arguments(Called):
    def test_arguments_arrive_byte_for_byte(self) -> None:
        self.assertEqual(self.words_of(*self.way, *PRINT, *WORDS), [os.fsencode(word) for word in WORDS])

    def test_a_locale_without_utf8_keeps_bytes_too(self) -> None:
        word = os.fsdecode("é".encode() + b"\xff")
        for locale in ("C", "en_US.ISO-8859-1"):
            self.assertEqual(self.words_of(*self.way, *PRINT, word, environ={"LC_ALL": locale}), [os.fsencode(word)])

    def test_python_programs_get_them_as_sys_argv(self) -> None:
        code = "import os, sys; sys.stdout.buffer.write(b'|'.join(map(os.fsencode, sys.argv[1:])))"
        self.assertEqual(self.bytes_of(*self.way, "python", "-c", code, "--x", "", "a b", os.fsdecode(b"\xe9")), b"--x||a b|\xe9")


class Options(RunCase):
    """Of `run`."""

    def test_one_double_dash_is_pydocks_and_a_second_the_programs(self) -> None:
        self.assertEqual(self.words_of("run", "e", "--", *PRINT, *WORDS), [os.fsencode(word) for word in WORDS])
        self.assertEqual(self.words_of("run", "e", "--", *PRINT, "--", "x"), [b"--", b"x"])
        self.assertEqual(self.words_of("run", "--", "e", *PRINT, "--", "x"), [b"--", b"x"])
        self.assertEqual(self.bytes_of("run", "e", "--", "sh", "-c", "echo $#", "sh", "--", "--"), b"2\n")

    def test_variables(self) -> None:
        (self.work / "vars").write_text("FROM_FILE=of the file\n", encoding="utf-8")
        code = "import os; print([os.environ.get(k) for k in ('A', 'B', 'C', 'FROM_FILE', 'OTHER')])"
        out = self.ok("run", "-e", "A=1 2\n3", "-e", "B", "--env=C=x=y", "--env-file", "vars", "e", "python", "-c", code, environ={"B": "of the host", "OTHER": "stays out"})
        self.assertEqual(out, "['1 2\\n3', 'of the host', 'x=y', 'of the file', None]\n")

    def test_root_inside(self) -> None:
        self.assertEqual(self.ok("run", "--root", "e", "id", "-u"), "0\n")
        self.assertEqual(self.ok("run", "e", "id", "-u"), "%d\n" % os.getuid())

    def test_the_hostname_is_the_environments_name(self) -> None:
        self.assertEqual(self.ok("run", "e", "hostname"), "e\n")

    def test_dry_run_prints_a_command_that_can_be_pasted(self) -> None:
        script = self.ok("-n", "run", "-e", "A=a b", "e", *PRINT, "x y", "$(id)", "'")
        self.assertEqual(self.containers(), [])
        done = subprocess.run(["sh", "-c", script], cwd=str(self.work), env=self.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=60)
        self.assertEqual(done.stdout.split(b"\0")[:-1], [b"x y", b"$(id)", b"'"])


class Streams(Called):
    def test_a_megabyte_goes_both_ways_unchanged(self) -> None:
        data = os.urandom(1 << 20)
        self.assertEqual(self.bytes_of(*self.way, "cat", input=data), data)
        with open(str(self.work / "out"), "wb") as out, open(str(self.work / "in"), "wb+") as file:
            file.write(data)
            file.seek(0)
            self.assertEqual(self.finish(self.start(*self.way, "cat", stdin=file, stdout=out)), 0)
        self.assertEqual((self.work / "out").read_bytes(), data)

    def test_stderr_is_apart_from_stdout(self) -> None:
        result = self.run_pydock(*self.way, "sh", "-c", "echo out; echo err >&2")
        self.assertEqual((result.out, result.err), ("out\n", "err\n"))

    def test_a_closed_pipe_ends_program_and_container(self) -> None:
        for program in (["yes"], ["python", "-c", "while True: print('y' * 100)"]):
            process = self.start(*self.way, *program, stderr=subprocess.DEVNULL)
            assert process.stdout
            self.assertIn("y", process.stdout.readline())
            process.stdout.close()
            self.assertNotEqual(self.finish(process), 0)
            self.assertEqual(self.containers(), [])

    def test_run_to_head_in_a_shell_pipeline(self) -> None:
        done = subprocess.run(["sh", "-c", self.line("seq", "1000000") + " | head -1"], cwd=str(self.work), env=self.environ, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(done.stdout, b"1\n")
        self.assertEqual(self.containers(), [])

    def test_the_end_of_stdin_is_the_end_inside(self) -> None:
        self.assertEqual(self.ok(*self.way, "wc", "-c", input="").strip(), "0")
        self.assertEqual(self.ok(*self.way, "python", input="print(6 * 7)\n"), "42\n")


class Status(Called):
    def test_the_exit_status_is_the_programs_own(self) -> None:
        cases = [(["sh", "-c", "exit %d" % n], n) for n in (0, 1, 3, 125, 255)]
        cases += [(["no-such-program"], 127), (["/etc/passwd"], 126), (["sh", "-c", "kill -TERM $$"], 143), (["sh", "-c", "kill -KILL $$"], 137)]
        for command, status in cases:
            for stdout in self.outputs:
                with self.subTest(command=command, stdout=stdout):
                    process = self.start(*self.way, *command, stdout=stdout)
                    _, err = process.communicate(timeout=60)
                    self.assertEqual(process.returncode, status, err)

    def test_a_dead_programs_children_are_reaped(self) -> None:
        self.assertEqual(self.ok(*self.way, "python", "-c", ORPHAN), "False\n")


class Signals(Called):
    def test_a_program_that_handles_a_signal_gets_it_once_and_goes_on(self) -> None:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1):
            for stdout in self.outputs:
                if number == signal.SIGUSR1 and stdout == subprocess.PIPE:
                    continue
                with self.subTest(signal=number, stdout=stdout):
                    process = self.start(*self.way, "python", "-c", COUNT, str(int(number)), stdout=stdout)
                    self.ready()
                    (self.work / "ready").unlink()
                    process.send_signal(number)
                    self.assertEqual(self.finish(process), 5)
                    self.assertEqual((self.work / "count").read_text(), "1")

    def test_each_signal_to_it_ends_the_program_inside(self) -> None:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            for stdout in self.outputs:
                with self.subTest(signal=number, stdout=stdout):
                    process = self.start(*self.way, *SLEEP, stdout=stdout, preexec_fn=signals_as_usual)
                    self.ready()
                    (self.work / "ready").unlink()
                    process.send_signal(number)
                    self.assertIn(self.finish(process), (128 + number, -number))
                    self.wait_for(lambda: not self.containers())

    def test_ctrl_c_on_a_terminal_is_a_keyboard_interrupt(self) -> None:
        # Not one long sleep: a signal that comes in the moment before the system call would not end that.
        code = "import sys, time\ntry:\n    print('at' + ' work', flush=True)\n    for _ in range(1200): time.sleep(0.05)\nexcept KeyboardInterrupt:\n    print('caught' + ' it', flush=True); sys.exit(7)"
        terminal = self.terminal(*self.way, "python", "-c", code)
        terminal.expect("at work")
        terminal.type("\x03")
        terminal.expect("caught it")
        self.assertEqual(terminal.wait(), 7)

    def test_ctrl_c_comes_once(self) -> None:
        for name, stdout in (("terminal", None), ("pipe", subprocess.PIPE), ("file", subprocess.DEVNULL)):
            with self.subTest(stdout=name):
                terminal = self.terminal(*self.way, "python", "-c", COUNT, "2", **({} if stdout is None else {"stdout": stdout}))
                self.ready()
                (self.work / "ready").unlink()
                terminal.type("\x03")
                self.assertEqual(terminal.wait(), 5, terminal.shown)
                self.assertEqual((self.work / "count").read_text(), "1")

    def test_sigterm_ends_a_program_on_a_terminal(self) -> None:
        terminal = self.terminal(*self.way, *SLEEP)
        self.ready()
        terminal.process.terminate()
        terminal.wait()
        self.wait_for(lambda: not self.containers())

    def test_closing_the_terminal_ends_program_and_container(self) -> None:
        terminal = self.terminal(*self.way, *SLEEP)
        self.ready()
        terminal.hang_up()
        terminal.wait()
        self.wait_for(lambda: not self.containers())


class OnATerminal(Called):
    def test_a_terminal_only_when_stdin_and_stdout_are_one(self) -> None:
        code = "import os; open('ttys', 'w').write(str([os.isatty(i) for i in (0, 1)])); open('ready', 'w')"
        for pipes, expected in (({}, "[True, True]"), ({"stdin": subprocess.DEVNULL}, "[False, False]"), ({"stdout": subprocess.DEVNULL}, "[False, False]")):
            terminal = self.terminal(*self.way, "python", "-c", code, **pipes)
            self.assertEqual(terminal.wait(), 0, terminal.shown)
            self.assertEqual((self.work / "ttys").read_text(), expected)

    def test_the_window_size_passes_and_its_changes(self) -> None:
        code = ("import os, signal, time\nchanged = []\nsignal.signal(signal.SIGWINCH, lambda *_: changed.append(1))\nold = (33, 101)\n"
                "def until(size):\n    end = time.time() + 20\n    while tuple(os.get_terminal_size())[::-1] != size and time.time() < end: time.sleep(0.05)\n"
                "    told = len(changed)\n    del changed[:]\n    print('size', *os.get_terminal_size(), flush=True)\n    return told\n"
                "until((33, 101))\ntold = until((20, 60))\nprint('told' if told else 'not told', flush=True)")
        terminal = self.terminal(*self.way, "python", "-c", code, size=(33, 101))
        terminal.expect("size 101 33\n")
        end = time.monotonic() + 15
        while "size 60 20\n" not in terminal.shown and time.monotonic() < end:  # docker's client may not watch for it yet
            terminal.resize(20, 61)
            terminal.resize(20, 60)
            for _ in range(10):
                terminal.pump()
        terminal.expect("size 60 20\n")
        terminal.expect("told\n")
        self.assertNotIn("not told", terminal.shown)
        self.assertEqual(terminal.wait(), 0)

    def test_a_background_job_of_a_shell_has_no_terminal_and_runs(self) -> None:
        script = self.work / "job"
        script.write_text("exec %s\n" % self.line("sh", "-c", "if [ -t 1 ]; then echo has a tty; else echo has no tty; fi"), encoding="utf-8")
        terminal = Terminal(self, ["sh", "-i"], self.work, {**self.environ, "ENV": ""})
        terminal.type("set -m; sh ./job &\n")
        terminal.expect("has no tty\n", 30)
        terminal.type("wait; exit 3\n")
        self.assertEqual(terminal.wait(), 3)


class Program(Arguments, Streams, Status, Signals, OnATerminal):
    """All of it, for a way of running that has nothing to add."""


class EarlySignals(RunCase):
    """To `run`, before the program is there."""

    by_sigterm: tuple[int, ...] = (143, -15)  # the status of a program that SIGTERM ended
    first_calls: tuple[int, ...] = (1, 2)  # of the engine, when a program starts: one for the image, and the client

    def test_a_signal_at_the_very_start_leaves_nothing(self) -> None:
        for call in self.first_calls:
            self.fake("hang", str(call))
            process = self.start("run", "e", *SLEEP)
            self.wait_for(lambda wanted=call: len(self.calls()) >= wanted)
            process.terminate()
            self.assertIn(self.finish(process), self.by_sigterm)
            self.no_fake()


class Shell(RunCase):
    """`shell`, as `run`."""

    def test_shell_opens_bash_and_tells_how_to_keep_packages(self) -> None:
        with open(str(self.work / "err"), "wb") as err:
            terminal = self.terminal("shell", "e", stderr=err)
        terminal.type("echo ${BASH_VERSION:+this is bash}; [ -t 0 ] && stty -echo; exit 9\n")
        terminal.expect("this is bash\n")
        self.assertEqual(terminal.wait(), 9)
        note = (self.work / "err").read_text(encoding="utf-8")
        self.assertIn("pydock install e", note)
        self.assertIn("pip install", note)

    def test_shell_opens_sh_where_there_is_no_bash(self) -> None:
        without = 'rm -f "$(command -v bash)"; exec "$@"'
        self.assertEqual(self.ok("run", "--root", "e", "sh", "-c", without, "sh", *pydock.SHELL, input="echo ${BASH_VERSION:-this is sh}\n"), "this is sh\n")
        terminal = self.terminal("run", "--root", "e", "sh", "-c", without, "sh", pydock.HELPER, "shell", "e")
        terminal.expect("(e) ")
        terminal.type("exit 9\n")
        self.assertEqual(terminal.wait(), 9)

    def test_shell_takes_options_and_no_program(self) -> None:
        self.assertEqual(self.ok("shell", "-e", "A=x y", "e", input='echo "$A"\n'), "x y\n")
        self.fails("shell", "e", "ls", status=2, hint="pydock run e ls")

    def test_a_shell_on_a_terminal_has_job_control(self) -> None:
        terminal = self.terminal("shell", "e")
        terminal.type("PS1=; stty -echo\n")
        terminal.type("sh -c 'echo begin; exec sleep 1000'\n")  # the job itself tells that it is there to be stopped
        terminal.expect("begin\n")
        terminal.type("\x1a")
        terminal.expect("Stopped")
        terminal.type("exit 4\nexit 4\n")  # the first one warns of the stopped job
        self.assertEqual(terminal.wait(), 4)
        self.assertNotIn("job control", terminal.shown)
