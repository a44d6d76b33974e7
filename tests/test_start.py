"""Warm containers: what holds for `run` and `shell` in a fresh container holds in that of a started environment too, and
`start`, `stop` and `reset` lose nothing (design.md, section 5)."""
from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path
from typing import Any, Dict, Sequence, Tuple

import contract
from contract import Started, WarmCase
from support import (
    COUNT, INNER_HOME, ROOT, SLEEP, Case, Result, Terminal, as_user, docker_groups, engine, make_wheel, one_engine_for_all,
    pydock, signals_as_usual,
)


# Says by files when it is there and which signals came; ends at the second one.
TWICE = """
import os, signal, sys, time
got = []
signal.signal(int(sys.argv[1]), lambda *_: got.append(1))
open("ready", "w").close()
end, seen = time.time() + 30, 0
while len(got) < 2 and time.time() < end:
    time.sleep(0.02)
    if len(got) > seen:
        seen = len(got)
        open("seen%d" % seen, "w").close()
sys.exit(5 if len(got) == 2 else 6)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class StartedAlone(WarmCase):
    """Each test has a container of its own."""

    def setUp(self) -> None:
        super().setUp()
        self.ok("start", "e")


# ------------------------------------------------------------------------------------------------------------


class StartStopReset(WarmCase):
    def test_start_brings_a_container_into_which_run_and_shell_go(self) -> None:
        result = self.run_pydock("start", "e")
        self.assertEqual((result.status, result.out, len(result.err.splitlines())), (0, "", 1), result)
        self.assertIn("pydock stop e", result.err)
        self.assertEqual(Case.containers(self), [self.warm])
        self.mark()
        self.assertTrue(self.is_warm())
        self.assertEqual(self.ok("shell", "e", input="test -e /warm && echo here; pwd\n"), "here\n%s/%s\n" % (INNER_HOME, self.work.name))

    def test_starting_twice_is_no_error_and_changes_nothing(self) -> None:
        self.ok("start", "e")
        before = self.state()
        self.assertIn("already", self.run_pydock("start", "e").err)
        self.assertEqual(self.state(), before)

    def test_stopping_twice_is_no_error(self) -> None:
        self.ok("start", "e")
        self.ok("stop", "e")
        self.assertEqual(self.state(), "")
        self.assertIn("not started", self.run_pydock("stop", "e").err)
        self.ok("stop", "e")

    def test_stop_of_an_unknown_name_stops_none(self) -> None:
        self.ok("start", "e")
        before = self.state()
        self.fails("stop", "e", "nope", says="nope")
        self.assertEqual(self.state(), before)

    def test_stop_of_several_names(self) -> None:
        self.ok("create", "other")
        self.ok("start", "e")
        self.ok("start", "other")
        self.ok("stop", "other", "e", "other")
        self.assertEqual(Case.containers(self), [])
        self.ok("delete", "-y", "other")

    def test_start_with_another_option_says_what_differs_and_changes_nothing(self) -> None:
        port = free_port()
        self.ok("start", "-p", str(port), "-e", "A=1", "e")
        before = self.state()
        for options, shown in ((("-p", str(port), "-e", "A=2"), "A=2"), (("-p", str(port)), "A=1"), (("-e", "A=1"), str(port))):
            self.fails("start", *options, "e", says=shown, hint="pydock reset")
        self.assertEqual(self.state(), before)
        for same in (["-p", str(port), "-e", "A=1"], []):  # who asks for none gets what there is
            self.assertIn("already", self.run_pydock("start", *same, "e").err)
        self.assertEqual(self.state(), before)

    def test_start_with_an_option_where_none_was_says_which(self) -> None:
        self.ok("start", "e")
        lines = self.fails("start", "-e", "DIFFERS=1", "e", hint="pydock reset ").err.splitlines()
        self.assertRegex(lines[0], "DIFFERS|no options|without")  # to name the folder alone, which is the same, would mislead
        self.assertIn("DIFFERS=1 e", lines[1])

    def test_start_elsewhere_says_which_folder_it_has(self) -> None:
        self.ok("start", "e")
        before = self.state()
        result = self.run_pydock("start", "e", cwd=self.home)
        self.assertEqual(result.status, 0, result)
        self.assertRegex(result.err, "warning: .*%s.*pydock reset e" % self.work)
        self.assertEqual(self.state(), before)

    def test_start_below_its_folder_is_no_other_folder(self) -> None:
        self.ok("start", "e")
        before = self.state()
        (self.work / "sub").mkdir()
        self.ok("start", "e", cwd=self.work / "sub")
        self.assertEqual(self.state(), before)

    def test_reset_loses_the_containers_own_state_and_starting_again_keeps_it(self) -> None:
        self.ok("start", "-e", "A=kept", "e")
        self.mark()
        self.ok("start", "-e", "A=kept", "e")
        self.assertTrue(self.is_warm())
        engine("kill", self.warm)
        self.ok("start", "-e", "A=kept", "e")
        self.assertTrue(self.is_warm())
        before = self.state()
        self.ok("reset", "e")
        self.assertNotEqual(self.state(), before)
        self.assertFalse(self.is_warm())
        self.assertEqual(self.ok("run", "e", "printenv", "A"), "kept\n", "the options that it was started with")
        self.ok("reset", "-e", "A=new", "e")
        self.assertEqual(self.ok("run", "e", "printenv", "A"), "new\n")

    def test_reset_of_what_was_not_started_starts_it(self) -> None:
        self.ok("reset", "e")
        self.mark()
        self.assertTrue(self.is_warm())

    def test_options_of_start_hold_for_every_run(self) -> None:
        (self.work / "vars").write_text("FROM_FILE=of the file\n", encoding="utf-8")
        (self.base / "data x").mkdir(exist_ok=True)
        (self.base / "data x" / "f").write_text("of the volume\n", encoding="utf-8")
        self.ok("start", "-e", "A=a b", "-e", "B", "--env-file", "vars", "-v", "../data x:/mnt/x", "--network", "none", "-o", "--shm-size=23m", "e",
                environ={"B": "of the host"})
        self.mark()
        self.assertTrue(self.is_warm())
        self.assertEqual(self.ok("run", "e", "sh", "-c", "printenv A B FROM_FILE; cat /mnt/x/f; ls /sys/class/net; df -m /dev/shm | grep -c ' 23 '"),
                         "a b\nof the host\nof the file\nof the volume\nlo\n1\n")

    def test_a_volume_that_is_missing_is_an_error_before_anything_starts(self) -> None:
        self.fails("start", "-v", "./no:/mnt/x", "e", says="no")
        self.assertEqual(Case.containers(self), [])
        self.assertEqual(os.listdir(str(self.work)), [])

    def test_a_port_is_open_on_this_host_alone_for_what_runs_inside(self) -> None:
        port = free_port()
        self.ok("start", "-p", str(port), "e")
        self.assertEqual(engine("port", self.warm), "%d/tcp -> 127.0.0.1:%d" % (port, port))
        code = ("import socket; s = socket.socket(); s.setsockopt(1, 2, 1); s.bind(('', %d)); s.listen(); open('ready', 'w').close()\n"
                "c, _ = s.accept(); c.sendall(b'hello'); c.close()" % port)
        process = self.busy("python", "-c", code)
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            self.assertEqual(connection.recv(10), b"hello")
        self.assertEqual(process.wait(20), 0)

    def test_a_taken_port_is_one_clear_error_and_leaves_nothing(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            self.fails("start", "-p", port, "e", says="port %s is taken" % port)
            self.assertEqual(Case.containers(self), [])
        self.ok("start", "-p", port, "e")
        self.ok("start", "-p", port, "e")  # by its own container it is not
        self.ok("reset", "e")

    def test_reset_to_a_taken_port_keeps_what_runs(self) -> None:
        self.ok("start", "e")
        before = self.state()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            self.fails("reset", "-p", str(taken.getsockname()[1]), "e", says="is taken")
        self.assertEqual(self.state(), before)

    def test_a_wrong_option_of_docker_s_leaves_nothing(self) -> None:
        result = self.run_pydock("start", "-o", "--no-such-option", "e")
        self.assertNotEqual(result.status, 0, result)
        self.assertIn("no-such-option", result.err)
        self.assertEqual(Case.containers(self), [])
        self.ok("start", "e")

    def test_stop_does_not_wait_where_nothing_holds_on(self) -> None:
        self.ok("start", "e")
        begin = time.monotonic()
        self.ok("stop", "e")
        self.assertLess(time.monotonic() - begin, 8)
        self.assertEqual(Case.containers(self), [])

    def test_stop_and_reset_while_programs_run_say_which_and_change_nothing(self) -> None:
        self.ok("start", "e")
        before = self.state()
        process = self.busy("sh", "-c", ": > ready; exec sleep 1234")
        shown = self.clients()  # by ps
        self.assertTrue(any(" /run/pydock exec " in words for words in shown), shown)
        self.assertNotIn("\n", "".join(shown))
        for command in ("stop", "reset"):
            self.fails(command, "e", says="sleep 1234", hint="pydock %s --force e" % command)
        self.assertEqual(self.state(), before)
        self.assertIsNone(process.poll())
        self.ok("stop", "--force", "e")
        self.finish(process)

    def test_force_ends_programs_by_sigterm_first_and_without_a_long_wait(self) -> None:
        for command in ("stop", "reset"):
            self.ok("start", "e")
            handles = self.busy("python", "-c", COUNT, str(int(signal.SIGTERM)))
            sleeps = self.busy()
            begin = time.monotonic()
            self.ok(command, "--force", "e")
            self.assertLess(time.monotonic() - begin, 8)
            self.assertEqual((self.work / "count").read_text(), "1")
            self.assertEqual(self.finish(handles), 5, "its own last words")
            self.assertIn(self.finish(sleeps), (143, 137))
            self.assertEqual(self.containers(), [])
            (self.work / "count").unlink()

    def test_force_ends_what_ignores_sigterm(self) -> None:
        self.ok("start", "e")
        process = self.busy("sh", "-c", "trap '' TERM; : > ready; while :; do sleep 1; done")
        self.ok("stop", "--force", "e")
        self.assertNotEqual(self.finish(process), 0)
        self.assertEqual(Case.containers(self), [])

    def test_a_program_left_in_the_background_counts_as_running(self) -> None:
        self.ok("start", "e")
        self.ok("run", "e", "sh", "-c", "sleep 4321 >/dev/null 2>&1 & exit 0")
        self.fails("stop", "e", says="sleep 4321")
        self.ok("stop", "--force", "e")

    def test_any_program_is_seen_named_and_ended(self) -> None:
        """Whatever its arguments are: a backslash, the container's own first program."""
        programs: Sequence[Tuple[Sequence[str], str]] = (
            (("sh", "-c", ": > ready; exec python -c 'import time; time.sleep(99)' 'a\\nb\\cd'"), "a\\nb\\cd"),
            (("sh", "-c", ": > ready; exec sleep infinity"), "sleep infinity"),
            (("sh", "-c", ": > ready; exec env -i sleep 99"), "sleep 99"),
            (("sh", "-c", ": > ready; exec python -c 'import time; time.sleep(99)' ' pydock-signal '"), "pydock-signal"),
        )
        self.ok("start", "e")
        for program, shown in programs:
            with self.subTest(program=program):
                process = self.busy(*program)
                self.fails("stop", "e", says=shown)
                self.ok("reset", "--force", "e")
                self.assertIn(self.finish(process), (143, 137))

    def test_force_ends_all_of_several_programs(self) -> None:
        self.ok("start", "e")
        processes = [self.busy("sh", "-c", ": > ready; exec python -c 'import time; time.sleep(99)' %s" % word) for word in ("a", "'\\c'", "'\\n0'", "'\\c'", "z")]
        begin = time.monotonic()
        self.ok("reset", "--force", "e")
        self.assertLess(time.monotonic() - begin, 8)
        self.assertEqual([self.finish(process) for process in processes], [143] * 5, "each by SIGTERM")

    def test_dry_run_prints_what_can_be_pasted_and_changes_nothing(self) -> None:
        def paste(script: str) -> bytes:
            done = subprocess.run(["sh", "-c", script], cwd=str(self.work), env=self.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=60)
            return done.stdout

        files = self.snapshot()
        script = self.ok("-n", "start", "-e", "A=a 'b'", "e")
        self.assertEqual((Case.containers(self), self.snapshot()), ([], files))
        paste(script)
        self.mark()
        self.assertIn("already", self.run_pydock("start", "-e", "A=a 'b'", "e").err)
        self.assertEqual(paste(self.ok("-n", "run", "e", "sh", "-c", 'cat /warm; echo "$A" "$1"', "sh", "$(id) é")), b"a 'b' $(id) \xc3\xa9\n")
        before = self.state()
        script = self.ok("-n", "stop", "e")
        self.assertEqual(self.state(), before)
        paste(script)
        self.assertEqual(Case.containers(self), [])

    def test_start_in_folders_with_awkward_names(self) -> None:
        for name in ("été 日本", "a'b \"c\", $(id)", "-dash", "%41\\n"):
            with self.subTest(name=name):
                folder = self.work / name / "sub"
                folder.mkdir(parents=True)
                self.ok("start", "e", cwd=folder.parent)
                self.mark()
                code = "import os, sys; print(os.getcwd(), os.path.exists('/warm'), sys.argv[1]); open('out', 'w').close()"
                self.assertEqual(self.ok("run", "e", "python", "-c", code, name, cwd=folder), "%s/%s/sub True %s\n" % (INNER_HOME, name, name))
                self.assertTrue((folder / "out").exists())
                self.assertIn("already", self.run_pydock("start", "e", cwd=folder.parent).err)
                self.ok("stop", "e")

    def test_without_an_init_of_the_engines(self) -> None:
        program = self.work / "without_init.py"
        text = "import sys\nsys.path.insert(0, %r)\nimport pydock\npydock.Engine.has_init = lambda self: False\nraise SystemExit(pydock.main())\n"
        program.write_text(text % str(ROOT), encoding="utf-8")
        self.program = [sys.executable, "-IS", str(program)]
        self.ok("start", "e")
        self.assertNotIn("docker-init", engine("container", "inspect", "--format", "{{.Path}} {{.HostConfig.Init}}", self.warm).replace("true", "docker-init"))
        self.assertEqual(self.ok("run", "e", "python", "-c", contract.ORPHAN), "False\n")
        self.assertIn(self.signalled(signal.SIGTERM), (143,))
        self.assert_idle()
        engine("kill", self.warm)
        self.mark_after_run()
        begin = time.monotonic()
        self.ok("stop", "e")
        self.assertLess(time.monotonic() - begin, 8)

    def mark_after_run(self) -> None:
        self.ok("run", "e", "true")
        self.mark()
        self.assertTrue(self.is_warm())


# ------------------------------------------------------------------------------------------------------------


class Inside(Started, contract.Arguments, contract.Options, contract.Streams, contract.Status):
    """What test_run asks of a fresh container."""

    def tearDown(self) -> None:
        try:
            self.assertEqual(self.state(), self.before)  # no test made a fresh one of it
        finally:
            super().tearDown()

    def setUp(self) -> None:
        super().setUp()
        self.before = self.state()

    def test_run_and_shell_are_there(self) -> None:
        self.assertTrue(self.is_warm())
        self.assertFalse(self.is_warm("--root"))  # nothing is exec'd as root
        self.assertTrue(self.is_warm("-e", "A=1"))
        (self.work / "vars").write_text("A=1\n", encoding="utf-8")
        self.assertTrue(self.is_warm("--env-file", "vars"))

    def test_a_missing_program_says_which_and_what_brings_it(self) -> None:
        result = self.run_pydock("run", "e", "no such program")
        self.assertEqual((result.status, result.out, len(result.err.splitlines())), (127, "", 3), result)
        self.assertIn("\npydock: error: no such program is not in e\nhint: pydock install e 'no such program'; ", result.err)
        self.assertNotIn("is not in", self.run_pydock("run", "e", "sh", "-c", "exit 127").err)

    def test_what_a_program_is_told_is_the_same_as_in_a_fresh_container(self) -> None:
        """But for what the sh before it says."""
        code = ("import os\nfor key in sorted(set(os.environ) - {'PWD'}): print(key, os.environ[key])\n"
                "print(os.getuid(), os.getgid(), os.getuid() and sorted({*os.getgroups(), os.getgid()}), os.path.basename(os.getcwd()))\n"
                "print(open('/proc/self/status').read().split('SigIgn:')[1].split()[0])")
        for options in ((), ("--root",), ("-e", "A=x y")):
            self.assertEqual(self.ok("run", *options, "e", "python", "-c", code), self.ok("run", "--fresh", *options, "e", "python", "-c", code))

    def test_a_megabyte_comes_back_while_it_still_goes_in(self) -> None:
        data = bytes(range(256)) * 4096
        code = "import sys\nfor n in range(256): sys.stdout.buffer.write(sys.stdin.buffer.read(4096)); sys.stdout.buffer.flush()"
        self.assertEqual(self.bytes_of("run", "e", "python", "-c", code, input=data), data)

    def test_a_program_that_does_not_read_its_stdin_ends(self) -> None:
        with subprocess.Popen(["sleep", "60"], stdout=subprocess.PIPE) as silent:
            try:
                self.assertEqual(self.finish(self.start("run", "e", "true", stdin=silent.stdout)), 0)
            finally:
                silent.kill()

    def test_streams_that_are_closed(self) -> None:
        for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
            command = "exec %s run e sh -c ': > made; exit 7' %s" % (" ".join(map(shlex.quote, self.program)), closed)
            done = subprocess.run(["sh", "-c", command], cwd=str(self.work), env=self.environ, stderr=subprocess.PIPE, timeout=60)
            self.assertEqual(done.returncode, 7, (closed, done.stderr))
            (self.work / "made").unlink()

    def test_programs_in_a_pipeline(self) -> None:
        program = " ".join(map(shlex.quote, self.program))
        command = "%s run e seq 100000 | %s run e sort -rn | %s run e sed '1!d'" % (program, program, program)  # podman's exec loses words of a head
        done = subprocess.run(["sh", "-c", command], cwd=str(self.work), env=self.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=60)
        self.assertEqual(done.stdout, b"100000\n")

    def test_output_in_any_letters(self) -> None:
        self.assertEqual(self.bytes_of("run", "e", "printf", "é 日本 %s\\377\\n", "\"'$(id)"), "é 日本 \"'$(id)".encode() + b"\xff\n")

    def test_fifty_programs_at_once(self) -> None:
        code = "import sys; data = sys.stdin.read(); print(sys.argv[1], data, end=''); print(sys.argv[1], file=sys.stderr); sys.exit(int(sys.argv[2]))"
        processes = [self.start("run", "e", "python", "-c", code, "number %d" % n, str(n), stdin=subprocess.PIPE) for n in range(50)]
        results: Dict[int, Tuple[int, str, str]] = {}

        def finish(n: int) -> None:
            out, err = processes[n].communicate("input of %d" % n * 100, timeout=120)
            results[n] = (processes[n].returncode, out, err)

        threads = [threading.Thread(target=finish, args=(n,)) for n in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(results, {n: (n, "number %d %s" % (n, "input of %d" % n * 100), "number %d\n" % n) for n in range(50)})
        self.assertEqual(Case.containers(self), [self.warm])


class Folders(WarmCase):
    def test_the_current_folder_and_those_below(self) -> None:
        sub = self.work / "sub x" / "é"
        sub.mkdir(parents=True)
        (sub / "f").write_text("here\n", encoding="utf-8")
        self.ok("start", "e")
        self.mark()
        out = self.ok("run", "e", "sh", "-c", "cat /warm; pwd; cat f; cat %s; echo 1 > made" % shlex.quote(str(sub / "f")), cwd=sub)
        self.assertEqual(out, "%s/%s/sub x/é\nhere\nhere\n" % (INNER_HOME, self.work.name))
        self.assertEqual((sub / "made").read_text(), "1\n")

    def test_the_home_and_what_is_below(self) -> None:
        (self.home / "proj" / "sub").mkdir(parents=True, exist_ok=True)
        self.ok("start", "e", cwd=self.home)
        self.mark()
        self.assertTrue(self.is_warm(cwd=self.home))
        self.assertEqual(self.ok("run", "e", "sh", "-c", "cat /warm; pwd", cwd=self.home / "proj" / "sub"), INNER_HOME + "/proj/sub\n")

    def test_a_folder_that_it_does_not_have_gets_a_fresh_container(self) -> None:
        self.ok("start", "e")
        self.mark()
        before = self.state()
        above, beside = self.work.parent, self.work.with_name(self.work.name + "-beside")
        beside.mkdir()
        for folder in (above, beside, self.home):
            out = self.ok("run", "e", "sh", "-c", "test -e /warm || pwd; : > made", cwd=folder)
            self.assertEqual(out, "%s\n" % (INNER_HOME if folder == self.home else "%s/%s" % (INNER_HOME, folder.name)))
            (folder / "made").unlink()
        self.assertEqual(self.state(), before)
        self.assertTrue(self.is_warm())

    def test_a_folder_that_start_mounted_as_a_volume_is_in_it(self) -> None:
        data = self.base / "volume"
        (data / "sub").mkdir(parents=True, exist_ok=True)
        self.ok("start", "-v", "%s:/mnt/data" % data, "e")
        self.mark()
        self.assertEqual(self.ok("run", "e", "sh", "-c", "cat /warm; pwd", cwd=data / "sub"), "/mnt/data/sub\n")

    def test_a_folder_hidden_inside_by_another_mount_is_not_taken_for_it(self) -> None:
        (self.work / "hidden").mkdir()
        (self.work / "hidden" / "f").write_text("right", encoding="utf-8")
        (self.work / "other").mkdir()
        (self.work / "other" / "f").write_text("wrong", encoding="utf-8")
        target = "%s/%s/hidden" % (INNER_HOME, self.work.name)
        self.ok("start", "-v", "./other:" + target, "-v", "./other:%s" % (self.work / "hidden"), "e")
        self.assertEqual(self.ok("run", "e", "cat", "f", cwd=self.work / "hidden"), "right")

    def test_a_link_to_a_folder_is_that_folder(self) -> None:
        self.ok("start", "e")
        self.mark()
        link = self.base / ("link-" + self.work.name)
        link.symlink_to(self.work)
        self.assertTrue(self.is_warm(cwd=link))

    def test_a_folder_that_was_deleted_and_made_anew_is_the_new_one(self) -> None:
        folder = self.work / "project"
        folder.mkdir()
        self.ok("start", "e", cwd=folder)
        shutil.rmtree(str(folder))
        folder.mkdir()
        (folder / "new").write_text("of the new one", encoding="utf-8")
        self.assertEqual(self.ok("run", "e", "sh", "-c", "cat new; echo 1 > made", cwd=folder), "of the new one")
        self.assertEqual((folder / "made").read_text(), "1\n")

    def test_a_folder_that_took_anothers_name_is_that_folder(self) -> None:
        folder = self.work / "project"
        folder.mkdir()
        self.ok("start", "e", cwd=folder)
        folder.rename(self.work / "moved")
        folder.mkdir()
        self.ok("run", "e", "sh", "-c", "echo 1 > made", cwd=folder)
        self.assertEqual((os.listdir(str(folder)), os.listdir(str(self.work / "moved"))), (["made"], []))
        self.ok("run", "e", "sh", "-c", "echo 1 > made-there", cwd=self.work / "moved")
        self.assertEqual(os.listdir(str(self.work / "moved")), ["made-there"])

    def test_a_deleted_folder_is_one_clear_error(self) -> None:
        self.ok("start", "e")
        command = "rmdir %s; exec %s run e true" % (shlex.quote(str(self.work)), " ".join(map(shlex.quote, self.program)))
        done = subprocess.run(["sh", "-c", command], cwd=str(self.work), env=self.environ, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr.count("pydock: error: ")), (1, 1), done.stderr)
        self.assertEqual(self.inside(), [])
        self.ok("stop", "e", cwd=self.home)
        self.work.mkdir()

    def test_options_that_need_it_and_fresh_get_a_fresh_container(self) -> None:
        self.ok("start", "e")
        self.mark()
        before = self.state()
        for options in (("--fresh",), ("-v", ".:/mnt/x"), ("-p", str(free_port())), ("--network", "none"), ("-o", "--shm-size=23m")):
            self.assertFalse(self.is_warm(*options), options)
        self.assertEqual(self.ok("shell", "--fresh", "e", input="test -e /warm || echo fresh\n"), "fresh\n")
        self.assertEqual(self.state(), before)

    def test_a_local_environment_has_its_project(self) -> None:
        project = self.work / "project x"
        sub, other = project / "a" / "b", project / "c"
        sub.mkdir(parents=True)
        other.mkdir()
        self.ok("--local", "create", "dev", cwd=project)
        self.ok("start", "dev", cwd=sub)
        name = next(name for name in Case.containers(self) if "-dev__" in name)
        engine("exec", "-u", "0:0", name, "touch", "/warm")
        self.assertEqual(self.ok("run", "dev", "sh", "-c", "cat /warm; pwd", cwd=other), "%s/project x/c\n" % INNER_HOME)
        self.assertEqual(self.ok("run", "dev", "sh", "-c", "cat /warm; pwd", cwd=project), "%s/project x\n" % INNER_HOME)
        self.assertIn("already", self.run_pydock("start", "dev", cwd=other).err)
        self.assertIn("pydock stop dev", self.run_pydock("start", "dev", cwd=other).err)
        self.ok("stop", "dev", cwd=other)
        self.ok("delete", "-y", "dev", cwd=project)


# ------------------------------------------------------------------------------------------------------------


class Signals(Started, contract.Signals, contract.EarlySignals):
    """`docker exec` passes no signal on; pydock does."""

    first_calls = (1,)
    by_sigterm = (143, -15, 137)  # the first call is `exec` already, and a client that does not answer is killed

    def test_each_signal_to_it_ends_the_program_inside(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            for stdout in (subprocess.PIPE, subprocess.DEVNULL):
                with self.subTest(signal=number, stdout=stdout):
                    self.assertEqual(abs(self.signalled(number, stdout=stdout)) % 128, number)
                    self.assertEqual(self.inside(), [])
                    self.assert_idle()

    def test_each_signal_to_pydock_on_a_terminal_ends_the_program_inside(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            with self.subTest(signal=number):
                terminal = self.terminal("run", "e", *SLEEP)
                self.ready()
                (self.work / "ready").unlink()
                terminal.process.send_signal(number)
                self.assertEqual(abs(terminal.wait()) % 128, number)
                self.assert_idle()

    def test_ctrl_c_ends_a_program_that_does_not_handle_it(self) -> None:
        terminal = self.terminal("run", "e", *SLEEP)
        self.ready()
        terminal.type("\x03")
        self.assertIn(terminal.wait(), (130, -2))

    def test_root_s_programs_too(self) -> None:
        self.assertEqual(self.signalled(signal.SIGTERM, options=("--root",)), 143)
        self.assertEqual(self.inside(), [])

    def test_any_program_gets_them(self) -> None:
        """Also one that is called as the container's own, or has put its environment away."""
        for program in ("sleep infinity", "env -i sleep 99", "sh -c 'sleep 98; true'", "setpriv --reuid=12345 --regid=12345 --clear-groups sleep 99"):
            with self.subTest(program=program):
                self.assertEqual(self.signalled(signal.SIGTERM, "sh", "-c", ": > ready; exec " + program, options=("--root",)), 143)
                self.assert_idle()

    def test_a_program_that_overwrites_its_environment_gets_them(self) -> None:
        """As setproctitle does, and PostgreSQL."""
        code = ("import ctypes, time\nfields = open('/proc/self/stat').read().rpartition(')')[2].split()\nstart, end = int(fields[47]), int(fields[48])\n"
                "ctypes.memset(start, 0, end - start)\nopen('ready', 'w').close()\ntime.sleep(60)")
        self.assertIn(self.signalled(signal.SIGTERM, "python", "-c", code), (143,))
        self.assert_idle()

    def test_a_pipeline_inside_is_ended_as_a_whole(self) -> None:
        self.assertEqual(self.signalled(signal.SIGTERM, "sh", "-c", "sleep 91 & sleep 92 | cat & : > ready; wait"), 143)
        self.assertEqual(self.inside(), [])

    def test_a_program_gets_each_of_two_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            process = self.start("run", "e", "python", "-c", TWICE, str(int(number)), preexec_fn=signals_as_usual)
            self.ready()
            process.send_signal(number)
            self.wait_for((self.work / "seen1").exists)
            process.send_signal(number)
            self.assertEqual(self.finish(process), 5)
            for file in ("ready", "seen1", "seen2"):
                (self.work / file).unlink()

    def test_last_words_arrive(self) -> None:
        code = ("import sys, time\ntry:\n    open('ready', 'w').close()\n    for _ in range(1200): time.sleep(0.05)\n"
                "except KeyboardInterrupt:\n    time.sleep(0.5); print('last ' * 2000 + 'words'); print('err', file=sys.stderr); sys.exit(9)")
        process = self.start("run", "e", "python", "-c", code, preexec_fn=signals_as_usual)
        self.ready()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        self.assertEqual((process.returncode, out, err), (9, "last " * 2000 + "words\n", "err\n"))

    def test_a_program_that_ignores_sigterm_goes_on_and_pydock_waits(self) -> None:
        process = self.start("run", "e", "sh", "-c", "trap '' TERM; : > ready; while [ ! -e go ]; do sleep 0.1; done; echo done; exit 6")
        self.ready()
        process.terminate()
        time.sleep(1)
        self.assertIsNone(process.poll())
        self.assertTrue(self.inside())
        (self.work / "go").touch()
        out, _ = process.communicate(timeout=20)
        self.assertEqual((process.returncode, out), (6, "done\n"))

    def test_what_a_caller_ignores_stays_ignored(self) -> None:
        def nohup() -> None:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

        process = self.start("run", "e", "sh", "-c", ": > ready; while [ ! -e go ]; do sleep 0.1; done; exit 6", preexec_fn=nohup)
        self.ready()
        process.send_signal(signal.SIGHUP)
        time.sleep(0.7)
        self.assertIsNone(process.poll())
        (self.work / "go").touch()
        self.assertEqual(self.finish(process), 6)

    def test_timeout_ends_the_program_inside(self) -> None:
        waited = []
        for options, status in (((), 124), (("-s", "INT"), 124), (("--foreground",), 124), (("--preserve-status",), 143)):
            folder = self.work / "-".join(("in", *options))
            folder.mkdir()
            process = subprocess.Popen(["timeout", *options, "3", *self.program, "run", "e", *SLEEP], cwd=str(folder), env=self.environ, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, preexec_fn=signals_as_usual)
            waited.append((options, folder, process, status))
        for options, folder, process, status in waited:
            with self.subTest(options=options):
                self.assertEqual(process.wait(30), status)
                self.assertTrue((folder / "ready").exists())
        self.assert_idle()

    def test_a_signal_to_the_whole_group_comes_once(self) -> None:
        process = self.start("run", "e", "python", "-c", COUNT, "15", start_new_session=True)
        self.ready()
        os.killpg(process.pid, signal.SIGTERM)
        self.assertEqual(self.finish(process), 5)
        self.assertEqual((self.work / "count").read_text(), "1")

    def test_a_signal_soon_after_the_start_leaves_nothing(self) -> None:
        for n in range(18):
            number = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)[n % 3]
            with self.subTest(delay=n * 0.01, signal=number):
                process = self.start("run", "e", "sleep", "77", preexec_fn=signals_as_usual)
                time.sleep(n * 0.01)
                process.send_signal(number)
                assert process.stderr
                said = process.stderr.read()
                of_python = said == "KeyboardInterrupt\n" or said.startswith("Fatal Python error: init_")  # before it has read pydock
                if (self.finish(process), of_python) != (1, True):
                    self.assertIn(process.returncode, (128 + number, -number), said)
        self.assert_idle()

    def test_a_reader_that_goes_ends_a_program_that_writes_now_and_then(self) -> None:
        process = self.start("run", "e", "sh", "-c", "while echo line; do sleep 0.2; done", stderr=subprocess.DEVNULL)
        assert process.stdout
        self.assertEqual(process.stdout.readline(), "line\n")
        process.stdout.close()
        self.assertNotEqual(self.finish(process), 0)
        self.assert_idle()

    def test_a_killed_client_s_program_is_told(self) -> None:
        """Of pydock's parts only the client is killed: by the kernel for its memory, or by somebody."""
        process = self.start("run", "e", *SLEEP)
        self.ready()
        children = Path("/proc/%d/task/%d/children" % (process.pid, process.pid)).read_text().split()
        self.assertEqual(len(children), 1)
        os.kill(int(children[0]), signal.SIGKILL)
        self.assertEqual(self.finish(process), 137)
        self.assert_idle()


class OnATerminal(Started, contract.OnATerminal, contract.Shell):
    def bash(self) -> Terminal:
        terminal = Terminal(self, ["bash", "--norc", "--noprofile", "-i"], self.work, {**self.environ, "HISTFILE": "/dev/null"})
        terminal.type("PS1=; bind 'set enable-bracketed-paste off'; stty -echo; pydock() { %s \"$@\"; }; export -f pydock\n" % " ".join(map(shlex.quote, self.program)))
        terminal.type("echo bash is; echo ready\n")
        terminal.expect("bash is\nready\n")
        return terminal

    def prompt(self, terminal: Terminal) -> None:
        """Waits until bash is there again."""
        terminal.type("echo again is; echo here\n")
        terminal.expect("again is\nhere\n", 20)
        terminal.shown = ""

    def command(self, *words: str) -> str:
        return " ".join(map(shlex.quote, [*self.program, *words]))

    def test_ctrl_c_in_a_pipeline_ends_the_program_inside(self) -> None:
        terminal = self.bash()
        for end in ("| cat", "2>&1 | cat", ">out", "</dev/null | cat"):
            with self.subTest(end=end):
                terminal.type(self.command("run", "e", *SLEEP) + " %s; echo status ${PIPESTATUS[0]}.\n" % end)
                self.ready()
                (self.work / "ready").unlink()
                terminal.type("\x03")
                self.assert_idle()  # and then nobody reads what is typed but bash
                self.prompt(terminal)
        terminal.type("exit 3\n")
        self.assertEqual(terminal.wait(), 3)

    def test_ctrl_c_in_a_pipeline_is_handled_by_the_program_itself(self) -> None:
        terminal = self.bash()
        for end in ("| cat", "</dev/null | cat", "", "</dev/null"):
            with self.subTest(end=end):
                terminal.type(self.command("run", "e", "python", "-c", COUNT, "2") + " %s\n" % end)
                self.ready()
                (self.work / "ready").unlink()
                terminal.type("\x03")
                self.wait_for((self.work / "count").exists)
                self.wait_for(lambda: (self.work / "count").read_text())
                self.assertEqual((self.work / "count").read_text(), "1")
                (self.work / "count").unlink()
                self.assert_idle()

    def test_a_script_around_it_gets_ctrl_c_as_on_the_host(self) -> None:
        script = self.work / "script"
        script.write_text("%s\necho went on > on\n" % self.command("run", "e", *SLEEP), encoding="utf-8")
        terminal = self.bash()
        terminal.type("bash ./script | cat\n")
        self.ready()
        terminal.type("\x03")
        self.assert_idle()
        self.prompt(terminal)
        self.assertFalse((self.work / "on").exists(), "as with any program that Ctrl-C ends")

    def test_a_loop_around_it_gets_ctrl_c_as_on_the_host(self) -> None:
        terminal = self.bash()
        for end in ("", ">out"):
            with self.subTest(end=end):
                terminal.type("for i in 1 2 3; do %s %s; done\n" % (self.command("run", "e", *SLEEP), end))
                self.ready()
                (self.work / "ready").unlink()
                terminal.type("\x03")
                time.sleep(2)
                went_on = (self.work / "ready").exists()
                for _ in range(2 if went_on else 0):
                    self.ready()
                    (self.work / "ready").unlink()
                    terminal.type("\x03")
                    time.sleep(1)
                self.assertFalse(went_on)
                self.assert_idle()

    def test_a_background_job_is_ended_by_kill_and_by_ctrl_c_once_in_front(self) -> None:
        terminal = self.bash()
        for stop in ("kill %1; wait %1", "fg"):
            with self.subTest(stop=stop):
                terminal.type(self.command("run", "e", *SLEEP) + " &\n")
                self.ready()
                (self.work / "ready").unlink()
                terminal.type(stop + "\n")
                if stop == "fg":
                    time.sleep(0.5)
                    terminal.type("\x03")
                self.assert_idle()
                self.prompt(terminal)

    def test_closing_the_terminal_ends_a_pipeline_and_a_background_job(self) -> None:
        for end in ("| cat", "&"):
            with self.subTest(end=end):
                terminal = self.bash()
                terminal.type(self.command("run", "e", *SLEEP) + " %s\n" % end)
                self.ready()
                (self.work / "ready").unlink()
                terminal.hang_up()
                terminal.wait(20)
                self.assert_idle()

    def test_stdin_of_a_terminal_reaches_a_program_in_a_pipeline(self) -> None:
        terminal = self.bash()
        terminal.type(self.command("run", "e", "sh", "-c", "read line; echo \"got $line\"") + " | cat\n")
        time.sleep(0.5)
        terminal.type("some words\n")
        terminal.expect("got some words\n", 20)

    def test_ctrl_backslash_and_ctrl_d(self) -> None:
        terminal = self.terminal("run", "e", *SLEEP)
        self.ready()
        terminal.type("\x1c")
        self.assertIn(terminal.wait(), (131, -3))
        self.assert_idle()
        terminal = self.terminal("run", "e", "cat")
        terminal.type("a line\n")
        terminal.expect("a line\na line\n")
        terminal.type("\x04")
        self.assertEqual(terminal.wait(), 0)

    def test_the_terminal_is_as_before_afterwards(self) -> None:
        terminal = self.bash()
        terminal.type("stty -g > before\n")
        for how in ("true", "sh -c 'kill -KILL $$'"):
            terminal.type(" ".join(map(shlex.quote, self.program)) + " run e %s; stty -g > after; : > ready\n" % how)
            self.ready()
            (self.work / "ready").unlink()
            self.assertEqual((self.work / "after").read_text(), (self.work / "before").read_text(), how)


# ------------------------------------------------------------------------------------------------------------


class Mended(StartedAlone):
    def test_a_container_that_died_is_started_again_by_the_next_run_or_start(self) -> None:
        for command in (["run", "e", "true"], ["start", "e"], ["shell", "e"]):
            self.mark()
            engine("kill", self.warm)
            self.wait_for(lambda: self.state().endswith("false"))
            self.ok(*command)
            self.assertTrue(self.state().endswith("true"))
            self.assertTrue(self.is_warm(), "its own files are there")

    def test_a_container_that_was_stopped_is_no_trouble_for_stop_and_reset(self) -> None:
        engine("kill", self.warm)
        self.ok("reset", "e")
        self.assertTrue(self.state().endswith("true"))
        engine("stop", "-t", "1", self.warm)
        self.ok("stop", "e")
        self.assertEqual(Case.containers(self), [])

    def test_a_dead_container_is_started_with_the_options_that_are_asked_now(self) -> None:
        engine("kill", self.warm)
        self.ok("start", "-e", "A=1", "e")
        self.assertEqual(self.ok("run", "e", "printenv", "A"), "1\n")

    def test_a_container_that_was_removed_behind_its_back_is_no_trouble(self) -> None:
        for command in (["run", "e", "true"], ["start", "e"], ["stop", "e"], ["reset", "e"]):
            engine("rm", "-f", self.warm)
            self.ok(*command)
        self.ok("stop", "e")
        self.assertEqual(Case.containers(self), [])

    def test_a_container_that_is_killed_during_a_run(self) -> None:
        for how in (["kill", self.warm], ["rm", "-f", self.warm]):
            process = self.start("run", "e", *SLEEP)
            self.ready()
            (self.work / "ready").unlink()
            engine(*how)
            out, err = process.communicate(timeout=30)
            self.assertNotIn(process.returncode, (0, None))
            self.assertNotIn("Traceback", err)
            self.assertLessEqual(len(err.splitlines()), 2, err)
            self.assertEqual(self.ok("run", "e", "echo", "works"), "works\n")
        self.ok("start", "e")

    def test_runs_at_once_mend_a_dead_container_once(self) -> None:
        engine("kill", self.warm)
        processes = [self.start("run", "e", "echo", str(n)) for n in range(8)]
        for n, process in enumerate(processes):
            out, err = process.communicate(timeout=60)
            self.assertEqual((process.returncode, out), (0, "%d\n" % n), err)
        self.assertEqual(Case.containers(self), [self.warm])

    def test_a_dead_container_whose_port_was_taken_is_one_clear_error(self) -> None:
        port = free_port()
        self.ok("reset", "-p", str(port), "e")
        engine("kill", self.warm)
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", port))
            taken.listen()
            self.fails("start", "-p", str(port), "e")
            result = self.run_pydock("run", "e", "echo", "ran")  # as an error, or somewhere else
            self.assertIn((result.status, result.out), ((0, "ran\n"), (1, "")), result)
            self.assertLessEqual(len(result.err.splitlines()), 2, result)
        self.assertEqual(self.ok("run", "e", "echo", "ran"), "ran\n")
        self.ok("start", "-p", str(port), "e")

    def test_two_starts_at_once_make_one_container(self) -> None:
        for round in range(2):
            self.ok("stop", "e")
            processes = [self.start("start", "e") for _ in range(3)]
            for process in processes:
                _, err = process.communicate(timeout=60)
                self.assertEqual(process.returncode, 0, (round, err))
            self.assertEqual(Case.containers(self), [self.warm])
            self.assertEqual(self.ok("run", "e", "echo", "works"), "works\n")

    def test_start_stop_and_reset_at_once_leave_one_or_none(self) -> None:
        for _ in range(2):
            processes = [self.start(command, "e") for command in ("start", "stop", "reset", "stop", "start")]
            for process in processes:
                _, err = process.communicate(timeout=60)
                self.assertEqual(process.returncode, 0, err)
            self.assertIn(Case.containers(self), ([], [self.warm]))
            self.assertEqual(self.ok("run", "e", "echo", "works"), "works\n")
            self.ok("start", "e")
            self.assertTrue(self.state().endswith("true"))

    def test_a_folder_that_goes_away_keeps_no_signal_out(self) -> None:
        self.ok("stop", "e")
        away, volume = self.work / "away", self.work / "volume"
        away.mkdir()
        volume.mkdir()
        self.ok("start", "-v", "%s:/mnt/x" % volume, "e", cwd=away)
        process = self.start("run", "e", *SLEEP, cwd=volume)
        self.wait_for((volume / "ready").exists)
        away.rmdir()
        self.fails("stop", "e", says="sleep 1000")
        process.terminate()
        self.assertEqual(self.finish(process), 143)

    def test_stop_keeps_out_what_pydock_did_not_start(self) -> None:
        """Another container of the same image is none of its business."""
        other = self.prefix + "-other"
        engine("run", "-d", "--name", other, "--pull", "never", "--init", "%s-e:latest" % self.prefix, "sleep", "600")
        try:
            self.ok("stop", "--force", "e")
            self.assertEqual(engine("container", "inspect", "--format", "{{.State.Running}}", other), "true")
        finally:
            engine("rm", "-f", other)


class BadEngine(WarmCase):
    """The engine fails, hangs, or pydock is killed, at every call of start, stop and reset."""

    def changed(self, begin: Sequence[str], *argv: str) -> None:
        """That command, from what `begin` leaves, at every call; the next start works."""
        looked = []

        def restore() -> None:
            if begin[0] == "stop" or not self.state().endswith("true"):
                self.ok(*begin)

        def look(way: str, call: str, result: Result) -> None:
            looked.append(call)
            self.assertLessEqual(result.err.count("pydock: error: "), 1, result)
            if result.status == 0 and argv[0] in ("start", "reset"):
                self.assertTrue(self.state().endswith("true"), result)
            if result.status == 0 and argv[0] == "stop" and way != "fail":
                self.assertEqual(self.state(), "", result)
            self.ok("start", "e")
            self.assertEqual(Case.containers(self), [self.warm])
            self.assertTrue(self.state().endswith("true"))

        restore()
        self.every_call(argv, restore, look, ways=2)
        self.assertGreaterEqual(len(looked), 4)
        self.assertEqual(self.ok("run", "e", "echo", "works"), "works\n")

    def test_start(self) -> None:
        self.changed(["stop", "e"], "start", "e")

    def test_stop(self) -> None:
        self.changed(["start", "e"], "stop", "e")

    def test_reset(self) -> None:
        self.changed(["start", "e"], "reset", "e")

    def test_a_stop_that_could_not_remove_the_container_says_so(self) -> None:
        self.ok("start", "e")
        self.fake("fail", "rm")
        self.fails("stop", "e", says="cannot remove the container " + self.warm)
        self.no_fake()
        self.assertTrue(self.state().endswith("true"))

    def test_a_failed_restart_forgets_nothing_of_what_was_asked_for(self) -> None:
        self.ok("start", "e", "-e", "WORD=kept")
        notes = [self.home / ".local/share/pydock" / (self.prefix + "-e") / name for name in ("started", "kept")]
        before = notes[0].read_bytes()
        engine("rm", "-f", self.warm)
        self.fake("fail", "run")
        self.fails("start", "e", "-e", "WORD=kept")
        self.no_fake()
        self.assertEqual([notes[0].read_bytes(), notes[1].exists()], [before, True])
        self.ok("stop", "e")
        self.assertEqual([note.exists() for note in notes], [False, False])

    def test_a_variable_that_the_caller_does_not_have_is_not_there(self) -> None:
        self.ok("start", "e", "-e", "NOT_SET_HERE", "-e", "SET_HERE", environ={"SET_HERE": "x y"})
        self.assertEqual(self.ok("run", "e", "sh", "-c", 'echo "${NOT_SET_HERE-none} $SET_HERE"'), "none x y\n")
        self.ok("stop", "e")

    def test_a_stop_tries_once_more_to_remove_the_container(self) -> None:
        self.ok("start", "e")
        self.fake()
        self.ok("stop", "e")
        number = len(self.calls())
        self.assertEqual(self.calls()[-1].split()[0], "rm")
        self.ok("start", "e")
        self.fake("fail", str(number))
        self.ok("stop", "e")
        self.assertEqual([call.split()[0] for call in self.calls()[-3:]], ["rm", "ps", "rm"])
        self.no_fake()
        self.assertEqual(self.state(), "")

    def test_run_where_the_engine_does_not_tell_of_the_warm_container(self) -> None:
        self.ok("start", "e")
        for number in (1, 2):
            self.fake("fail", str(number))
            result = self.run_pydock("run", "e", "echo", "ran")
            self.assertIn((result.status, result.out), ((0, "ran\n"), (1, "")), result)
            self.no_fake()
        self.assertEqual(Case.containers(self), [self.warm])


# ------------------------------------------------------------------------------------------------------------


class Changes(StartedAlone):
    """After a change the next `run` sees the new state."""

    def setUp(self) -> None:
        super().setUp()
        self.mark()

    def wheel(self, name: str) -> str:
        return "./" + make_wheel(self.work, name).name

    def newer_image(self) -> None:
        """Moves the tag to another image, as another pydock or somebody by hand may."""
        name = "%s--made-by-hand" % self.prefix
        engine("run", "--name", name, "--pull", "never", "-u", "0:0", "%s-e:latest" % self.prefix, "sh", "-c", "echo newer > /newer")
        user = engine("image", "inspect", "--format", "{{.Config.User}}", "%s-e:latest" % self.prefix)
        engine("commit", "--change", "USER %s" % (user or "0"), name, "%s-e:latest" % self.prefix)
        engine("rm", name)

    def test_install_replaces_an_idle_one_with_the_same_options(self) -> None:
        self.ok("reset", "-e", "A=kept", "e")
        before = self.state()
        self.ok("install", "e", self.wheel("warm-idle"))
        self.assertNotEqual(self.state(), before)
        self.assertTrue(self.state().endswith("true"))
        self.mark()
        self.assertTrue(self.is_warm())
        self.assertEqual(self.ok("run", "e", "sh", "-c", "printenv A; python -c 'import warm_idle; print(warm_idle.version)'"), "kept\n1.0\n")
        self.ok("uninstall", "e", "warm-idle")
        self.assertEqual(self.run_pydock("run", "e", "sh", "-c", "python -c 'import warm_idle' 2>/dev/null").status, 1)
        self.assertFalse(self.is_warm(), "it was replaced once more")

    def test_install_leaves_a_busy_one_alone_and_says_so(self) -> None:
        before = self.state()
        process = self.busy("sh", "-c", ": > ready; while [ ! -e go ]; do sleep 0.1; done; test -e /warm && exit 6")
        result = self.run_pydock("install", "e", self.wheel("warm-busy"))
        self.assertEqual(result.status, 0, result)
        self.assertIn("while [ ! -e go ]", result.err)
        self.assertIn("pydock reset --force e", result.err)
        self.assertEqual(self.state(), before)
        code = "import os, warm_busy; print(warm_busy.version, os.path.exists('/warm'))"
        result = self.run_pydock("run", "e", "python", "-c", code)
        self.assertEqual((result.status, result.out), (0, "1.0 False\n"), result)
        self.assertIsNone(process.poll())
        (self.work / "go").touch()
        self.assertEqual(self.finish(process), 6)
        self.assertEqual(self.ok("run", "e", "python", "-c", code), "1.0 False\n")
        self.assertNotEqual(self.state(), before)
        self.assertTrue(self.state().endswith("true"))

    def test_build_after_an_edit_is_seen_by_the_next_run(self) -> None:
        text = self.requirements("e")
        (self.folder("e") / "requirements.txt").write_text(text + "# edited\n", encoding="utf-8")
        result = self.run_pydock("run", "e", "sh", "-c", "test -e /warm")
        self.assertEqual((result.status, len(result.err.splitlines())), (0, 1), result)
        self.assertIn("pydock build e", result.err)
        self.ok("build", "e")
        result = self.run_pydock("run", "e", "sh", "-c", "test ! -e /warm")
        self.assertEqual((result.status, result.err), (0, ""), result)

    def test_a_tag_that_was_moved_is_noticed_where_it_is_idle(self) -> None:
        before = self.state()
        self.newer_image()
        self.mark()
        self.ok("start", "e")  # `run` does not ask the engine
        self.assertEqual(self.ok("run", "e", "cat", "/newer"), "newer\n")
        self.assertNotEqual(self.state(), before)
        self.assertFalse(self.is_warm())

    def test_a_tag_that_was_moved_is_noticed_where_it_is_busy(self) -> None:
        process = self.busy("sh", "-c", ": > ready; while [ ! -e go ]; do sleep 0.1; done; exit 6")
        before = self.state()
        self.newer_image()
        self.assertIn("pydock reset --force e", self.run_pydock("start", "e").err)
        result = self.run_pydock("run", "e", "cat", "/newer")
        self.assertEqual((result.status, result.out), (0, "newer\n"), result)
        self.assertIn("pydock reset --force e", result.err)
        self.assertLessEqual(len(result.err.splitlines()), 2, result)
        self.assertEqual(self.state(), before)
        (self.work / "go").touch()
        self.assertEqual(self.finish(process), 6)

    def test_start_of_a_busy_one_of_an_older_image_ends_no_program(self) -> None:
        process = self.busy("sh", "-c", ": > ready; while [ ! -e go ]; do sleep 0.1; done; exit 6")
        self.newer_image()
        self.run_pydock("start", "e")
        time.sleep(0.3)
        self.assertIsNone(process.poll())
        (self.work / "go").touch()
        self.assertEqual(self.finish(process), 6)

    def test_a_change_succeeds_where_the_container_cannot_be_started_again(self) -> None:
        """Its folder has gone since; the package is there all the same."""
        away = self.work / "away"
        away.mkdir()
        self.ok("stop", "e")
        self.ok("start", "e", cwd=away)
        away.rmdir()
        result = self.run_pydock("install", "e", self.wheel("warm-away"))
        self.assertEqual(result.status, 0, result)
        self.assertIn("away", result.err)
        self.assertEqual(self.ok("run", "e", "python", "-c", "import warm_away; print(warm_away.version)"), "1.0\n")
        self.ok("start", "e")

    def test_a_missing_image_is_built_and_seen(self) -> None:
        for tag in self.tags("e"):
            engine("rmi", "-f", tag)
        result = self.run_pydock("run", "e", "echo", "ran")
        self.assertEqual((result.status, result.out), (0, "ran\n"), result)
        self.ok("start", "e")
        self.assertEqual(self.ok("run", "e", "echo", "ran"), "ran\n")


class Deleted(WarmCase):
    def test_delete_ends_an_idle_one_without_asking_and_refuses_a_busy_one(self) -> None:
        self.ok("create", "d")
        self.ok("start", "d")
        process = self.start("run", "d", "python", "-c", COUNT, "15")
        self.ready()
        files = self.snapshot()
        self.fails("delete", "-y", "d", says="python", hint="pydock delete --force d")
        self.assertEqual(self.snapshot(), files)
        self.assertIsNone(process.poll())
        self.ok("delete", "-y", "--force", "d")
        self.assertEqual((self.work / "count").read_text(), "1", "SIGTERM came first")
        self.assertEqual(self.finish(process), 5)
        self.ok("create", "d")
        self.ok("start", "d")
        begin = time.monotonic()
        self.ok("delete", "-y", "d")
        self.assertLess(time.monotonic() - begin, 9)
        self.assertEqual((Case.containers(self), self.tags("d")), ([], {}))

    def test_a_container_of_a_deleted_environment_is_not_taken_for_a_new_one_s(self) -> None:
        self.ok("create", "d")
        self.ok("start", "d")
        shutil.rmtree(str(self.folder("d")))  # behind pydock's back
        self.ok("create", "d")
        self.assertEqual(self.ok("run", "d", "echo", "ran"), "ran\n")
        self.ok("start", "d")
        self.ok("delete", "-y", "d")
        self.assertEqual(Case.containers(self), [])


@one_engine_for_all
@unittest.skipUnless(os.geteuid() == 0, "only root can become other users")
class Users(Case):
    def test_an_ordinary_user_is_the_same_one_inside(self) -> None:
        self.give_to(54321)
        me: Dict[str, Any] = {"preexec_fn": as_user(54321, 54322, docker_groups())}
        self.ok("create", "e", **me)
        self.ok("start", "e", **me)
        warm = self.prefix + "-e--background"
        engine("exec", "-u", "0:0", warm, "touch", "/warm")
        code = "import getpass, os; print(getpass.getuser(), os.path.expanduser('~'), os.environ['HOME'], os.getuid(), os.getgid(), os.path.exists('/warm'))"
        self.assertEqual(self.ok("run", "e", "python", "-c", code, **me), "user /home/user /home/user 54321 54322 True\n")
        groups = "import os; print(sorted(os.getgroups()))"
        self.assertEqual(self.ok("run", "e", "python", "-c", groups, **me), self.ok("run", "--fresh", "e", "python", "-c", groups, **me))
        self.ok("run", "e", "sh", "-c", "touch made ~/own; mkdir folder; rm ~/own", **me)
        for made in ("made", "folder"):
            stat = (self.work / made).stat()
            self.assertEqual((stat.st_uid, stat.st_gid), (54321, 54322), made)
        self.assertEqual(self.ok("run", "--root", "e", "sh", "-c", "cat /warm; id -u", **me), "0\n")
        for number in (signal.SIGTERM, signal.SIGINT):
            for options in ((), ("--root",)):
                process = self.start("run", *options, "e", *SLEEP, **me)
                self.wait_for((self.work / "ready").exists)
                (self.work / "ready").unlink()
                process.send_signal(number)
                out, err = process.communicate(timeout=20)
                self.assertIn(process.returncode, (128 + number, -number), err)
        process = self.start("run", "e", *SLEEP, **me)
        self.wait_for((self.work / "ready").exists)
        self.fails("stop", "e", says="sleep 1000", **me)
        self.ok("stop", "--force", "e", **me)
        process.communicate(timeout=20)
        self.assertEqual(self.containers(), [])

    def test_a_container_that_another_user_started_is_no_way_to_their_files(self) -> None:
        """The same files and the same image, in a folder that both may see: who runs a program is who owns what it makes."""
        self.give_to(54321)
        me: Dict[str, Any] = {"preexec_fn": as_user(54321, 54321, docker_groups())}
        other: Dict[str, Any] = {"preexec_fn": as_user(54323, 54323, docker_groups())}
        self.ok("create", "e", **me)
        self.ok("start", "e", **me)
        self.fails("run", "e", "true", says="belongs to another user (uid 54321)", hint="chown", **other)


class Listed(WarmCase):
    def test_list_shows_what_runs_since_when_and_with_which_ports(self) -> None:
        row = self.listed()["e"]
        self.assertEqual((row["running"], row["ports"]), (None, []))
        port = free_port()
        self.ok("start", "-p", str(port), "-p", "%d:80" % free_port(), "e")
        row = self.listed()["e"]
        self.assertRegex(row["running"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
        self.assertLess(abs(pydock.age_of(row["running"]) or 999), 60)
        self.assertEqual(len(row["ports"]), 2)
        self.assertIn("127.0.0.1:%d->%d/tcp" % (port, port), row["ports"])
        shown = self.ok("list")
        self.assertIn("RUNNING", shown)
        self.assertRegex(shown, r"\d+ s .*127\.0\.0\.1:%d" % port)
        engine("kill", self.warm)
        self.assertIsNone(self.listed()["e"]["running"])
        self.ok("stop", "e")
        self.assertNotIn("RUNNING", self.ok("list"))


if __name__ == "__main__":
    unittest.main()
