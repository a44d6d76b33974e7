"""The contract of a program, however it runs: in a container of its own (test_run) or in a background container (test_start). Arguments
arrive byte for byte, streams pass as they are, the exit status is the program's own, and signals and terminals work."""
from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time

from support import COUNT, PRINT, SLEEP, RunCase, Terminal, pydock


class Arguments(RunCase):
    def test_arguments_arrive_byte_for_byte(self) -> None:
        words = ["a b", "", "'", '"', "\\", "$HOME", "$(id)", "`id`", "*", "a\nb", "\t", "é", os.fsdecode(b"\xff\xfe"), "--flag", "--flag=x y", "-p", "80", "-n", "--dry-run",
                 "--help", "-h", "--version", "--local", "-q", "--", "--", "-", "-e", "A=B", ";", "&&", "!", "{a,b}", "~", "%s", "\x01\x7f", ""]
        self.assertEqual(self.words_of("run", "e", *PRINT, *words), [os.fsencode(word) for word in words])
        self.assertEqual(self.words_of("run", "e", "--", *PRINT, *words), [os.fsencode(word) for word in words])

    def test_one_double_dash_is_pydocks_and_a_second_the_programs(self) -> None:
        self.assertEqual(self.words_of("run", "e", "--", *PRINT, "--", "x"), [b"--", b"x"])
        self.assertEqual(self.words_of("run", "--", "e", *PRINT, "--", "x"), [b"--", b"x"])
        self.assertEqual(self.bytes_of("run", "e", "--", "sh", "-c", "echo $#", "sh", "--", "--"), b"2\n")

    def test_a_locale_without_utf8_keeps_bytes_too(self) -> None:
        word = os.fsdecode("é".encode() + b"\xff")
        self.assertEqual(self.bytes_of("run", "e", *PRINT, word, environ={"LC_ALL": "C"}), os.fsencode(word) + b"\0")

    def test_python_programs_get_them_as_sys_argv(self) -> None:
        code = "import os, sys; sys.stdout.buffer.write(b'|'.join(map(os.fsencode, sys.argv[1:])))"
        self.assertEqual(self.bytes_of("run", "e", "python", "-c", code, "--x", "", "a b", os.fsdecode(b"\xe9")), b"--x||a b|\xe9")


class Options(RunCase):
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


class Streams(RunCase):
    def test_a_megabyte_goes_both_ways_unchanged(self) -> None:
        data = os.urandom(1 << 20)
        self.assertEqual(self.bytes_of("run", "e", "cat", input=data), data)
        with open(str(self.work / "out"), "wb") as out, open(str(self.work / "in"), "wb+") as file:
            file.write(data)
            file.seek(0)
            self.assertEqual(self.finish(self.start("run", "e", "cat", stdin=file, stdout=out)), 0)
        self.assertEqual((self.work / "out").read_bytes(), data)

    def test_stderr_is_apart_from_stdout(self) -> None:
        result = self.run_pydock("run", "e", "sh", "-c", "echo out; echo err >&2")
        self.assertEqual((result.out, result.err), ("out\n", "err\n"))

    def test_a_closed_pipe_ends_program_and_container(self) -> None:
        for program in (["yes"], ["python", "-c", "while True: print('y' * 100)"]):
            process = self.start("run", "e", *program, stderr=subprocess.DEVNULL)
            assert process.stdout
            self.assertIn("y", process.stdout.readline())
            process.stdout.close()
            self.assertNotEqual(self.finish(process), 0)
            self.assertEqual(self.containers(), [])

    def test_run_to_head_in_a_shell_pipeline(self) -> None:
        command = "%s run e seq 1000000 | head -1" % " ".join(map(shlex.quote, self.program))
        done = subprocess.run(["sh", "-c", command], cwd=str(self.work), env=self.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(done.stdout, b"1\n")
        self.assertEqual(self.containers(), [])

    def test_the_end_of_stdin_is_the_end_inside(self) -> None:
        self.assertEqual(self.ok("run", "e", "wc", "-c", input="").strip(), "0")
        self.assertEqual(self.ok("run", "e", "python", input="print(6 * 7)\n"), "42\n")


class Status(RunCase):
    def test_the_exit_status_is_the_programs_own(self) -> None:
        cases = [(["sh", "-c", "exit %d" % n], n) for n in (0, 1, 3, 125, 255)]
        cases += [(["no-such-program"], 127), (["/etc/passwd"], 126), (["sh", "-c", "kill -TERM $$"], 143), (["sh", "-c", "kill -KILL $$"], 137)]
        for command, status in cases:
            for stdout in (subprocess.PIPE, subprocess.DEVNULL):
                with self.subTest(command=command, stdout=stdout):
                    process = self.start("run", "e", *command, stdout=stdout)
                    _, err = process.communicate(timeout=60)
                    self.assertEqual(process.returncode, status, err)

    def test_a_dead_programs_children_are_reaped(self) -> None:
        code = ("import os, time\n"
                "r, w = os.pipe()\n"
                "if os.fork() == 0:\n    pid = os.fork()\n    if pid == 0: os._exit(0)\n    os.write(w, b'%d' % pid); os._exit(0)\n"
                "os.wait()\nend = time.time() + 20\norphan = '/proc/' + os.read(r, 20).decode()\n"
                "while os.path.exists(orphan) and time.time() < end: time.sleep(0.05)\n"
                "print(os.path.exists(orphan))")
        self.assertEqual(self.ok("run", "e", "python", "-c", code), "False\n")


class Signals(RunCase):
    by_sigterm: tuple[int, ...] = (143, -15)  # the status of a program that SIGTERM ended
    first_calls: tuple[int, ...] = (1, 2)  # of the engine, when a program starts: one for the image, and the client

    def test_a_program_that_handles_a_signal_gets_it_once_and_goes_on(self) -> None:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1):
            for stdout in (subprocess.PIPE, subprocess.DEVNULL):
                if number == signal.SIGUSR1 and stdout == subprocess.PIPE:
                    continue
                with self.subTest(signal=number, stdout=stdout):
                    process = self.start("run", "e", "python", "-c", COUNT, str(int(number)), stdout=stdout)
                    self.ready()
                    (self.work / "ready").unlink()
                    process.send_signal(number)
                    self.assertEqual(self.finish(process), 5)
                    self.assertEqual((self.work / "count").read_text(), "1")

    def test_a_signal_at_the_very_start_leaves_nothing(self) -> None:
        for call in self.first_calls:
            self.fake("hang", str(call))
            process = self.start("run", "e", *SLEEP)
            self.wait_for(lambda wanted=call: len(self.calls()) >= wanted)
            process.terminate()
            self.assertIn(self.finish(process), self.by_sigterm)
            self.no_fake()

    def test_ctrl_c_on_a_terminal_is_a_keyboard_interrupt(self) -> None:
        # Not one long sleep: a signal that comes in the moment before the system call would not end that.
        code = "import sys, time\ntry:\n    print('wait' + 'ing', flush=True)\n    for _ in range(1200): time.sleep(0.05)\nexcept KeyboardInterrupt:\n    print('caught' + ' it', flush=True); sys.exit(7)"
        terminal = self.terminal("run", "e", "python", "-c", code)
        terminal.expect("waiting")
        terminal.type("\x03")
        terminal.expect("caught it")
        self.assertEqual(terminal.wait(), 7)

    def test_ctrl_c_comes_once(self) -> None:
        for name, stdout in (("terminal", None), ("pipe", subprocess.PIPE), ("file", subprocess.DEVNULL)):
            with self.subTest(stdout=name):
                terminal = self.terminal("run", "e", "python", "-c", COUNT, "2", **({} if stdout is None else {"stdout": stdout}))
                self.ready()
                (self.work / "ready").unlink()
                terminal.type("\x03")
                self.assertEqual(terminal.wait(), 5, terminal.shown)
                self.assertEqual((self.work / "count").read_text(), "1")

    def test_sigterm_ends_a_program_on_a_terminal(self) -> None:
        terminal = self.terminal("run", "e", *SLEEP)
        self.ready()
        terminal.process.terminate()
        terminal.wait()
        self.wait_for(lambda: not self.containers())

    def test_closing_the_terminal_ends_program_and_container(self) -> None:
        terminal = self.terminal("run", "e", *SLEEP)
        self.ready()
        terminal.hang_up()
        terminal.wait()
        self.wait_for(lambda: not self.containers())


class OnATerminal(RunCase):
    def test_a_terminal_only_when_stdin_and_stdout_are_one(self) -> None:
        code = "import os; open('ttys', 'w').write(str([os.isatty(i) for i in (0, 1)])); open('ready', 'w')"
        for pipes, expected in (({}, "[True, True]"), ({"stdin": subprocess.DEVNULL}, "[False, False]"), ({"stdout": subprocess.DEVNULL}, "[False, False]")):
            terminal = self.terminal("run", "e", "python", "-c", code, **pipes)
            self.assertEqual(terminal.wait(), 0, terminal.shown)
            self.assertEqual((self.work / "ttys").read_text(), expected)

    def test_the_window_size_passes_and_its_changes(self) -> None:
        code = ("import os, signal, time\nchanged = []\nsignal.signal(signal.SIGWINCH, lambda *_: changed.append(1))\nold = (33, 101)\n"
                "def until(size):\n    end = time.time() + 20\n    while tuple(os.get_terminal_size())[::-1] != size and time.time() < end: time.sleep(0.05)\n"
                "    told = len(changed)\n    del changed[:]\n    print('size', *os.get_terminal_size(), flush=True)\n    return told\n"
                "until((33, 101))\ntold = until((20, 60))\nprint('told' if told else 'not told', flush=True)")
        terminal = self.terminal("run", "e", "python", "-c", code, size=(33, 101))
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
        script.write_text("exec %s run e sh -c 'if [ -t 1 ]; then echo has a tty; else echo has no tty; fi'\n" % " ".join(map(shlex.quote, self.program)), encoding="utf-8")
        terminal = Terminal(self, ["sh", "-i"], self.work, {**self.environ, "ENV": ""})
        terminal.type("set -m; sh ./job &\n")
        terminal.expect("has no tty\n", 30)
        terminal.type("wait; exit 3\n")
        self.assertEqual(terminal.wait(), 3)

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
