"""`activate` and `link`: an environment's programs as if they were installed on the host (design.md, section 5)."""
from __future__ import annotations

import difflib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import contract
from support import (
    COUNT, ENGINE, INNER_HOME, PYDOCK, Case, Result, SharedCase, Terminal, as_user, docker_groups, engine, make_wheel, new_port, one_engine_for_all,
    pydock,
)

SHELLS = {"bash": ["bash", "--norc", "--noprofile"], "zsh": ["zsh", "-f"], "fish": ["fish", "--no-config"], "dash": ["dash"]}
HOST = "import socket; print(socket.gethostname())"  # inside, the name of the environment
WORDS = "import os, sys; sys.stdout.buffer.write(b''.join(os.fsencode(word) + b'\\0' for word in sys.argv[1:]))"
COPY = "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"
SLEEP = 'import time; open("ready", "w").close(); time.sleep(600)'
GREET = "import sys\ndef main():\n    print('hello', *sys.argv[1:])\n    sys.exit(len(sys.argv) - 1)\n"

# Prints all that a shell knows, and the names of what changes by itself.
STATE = {"bash": "declare -p; declare -f; alias; shopt; set +o", "zsh": "typeset -p; functions; alias; setopt", "dash": "set; export -p",
         "fish": "set -S; functions -n; functions fish_prompt fish_right_prompt mine | string match -v '# Defined*'"}
VOLATILE = r"BASH_\w+|FUNCNAME|LINENO|PIPESTATUS|RANDOM|SRANDOM|SECONDS|EPOCH\w+|_|TTYIDLE|status|pipestatus|\?|HISTCMD|status_generation|CMD_DURATION|fish_kill_signal"

SHARED = Case()


def setUpModule() -> None:
    """One home for all tests here, with the environments e, which has the programs greet and pipgreet, and f."""
    Case.setUp(SHARED)
    unittest.addModuleCleanup(SHARED.doCleanups)
    bin_folder = SHARED.base / "bin"
    bin_folder.mkdir()
    (bin_folder / "pydock").write_text("#!/bin/sh\nexec %s -IS %s \"$@\"\n" % (shlex.quote(sys.executable), shlex.quote(str(PYDOCK))), encoding="utf-8")
    (bin_folder / "deactivate").write_text("#!/bin/sh\necho this is no function >&2\nexit 1\n", encoding="utf-8")  # such as pyenv-virtualenv's
    for program in bin_folder.iterdir():
        program.chmod(0o755)
    SHARED.environ["PATH"] = str(bin_folder) + os.pathsep + SHARED.environ["PATH"]
    for name in ("VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT", "VIRTUAL_ENV_DISABLE_PROMPT", "XDG_DATA_HOME", "PS1"):
        SHARED.environ.pop(name, None)
    wheel = make_wheel(SHARED.base, "greeter", files={"greeter.py": GREET}, scripts=["greet = greeter:main", "pipgreet = greeter:main"])
    SHARED.ok("create", "e", str(wheel))
    SHARED.ok("create", "f")


class Live:
    """A shell that is told what to do line by line."""

    def __init__(self, case: unittest.TestCase, command: Sequence[str], cwd: Path, environ: Dict[str, str]) -> None:
        self.case = case
        self.process = subprocess.Popen(command, cwd=str(cwd), env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        start_new_session=True)
        case.addCleanup(self.end)

    def do(self, script: str) -> str:
        """Its output; it must end with status 0."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write("{ %s\n} </dev/null; echo \"END $?\"\n" % script)
        self.process.stdin.flush()
        watchdog = threading.Timer(60, os.killpg, (self.process.pid, signal.SIGKILL))
        watchdog.start()
        shown = ""
        try:
            for line in self.process.stdout:
                shown += line
                if line.startswith("END "):
                    break
        finally:
            watchdog.cancel()
        self.case.assertTrue(shown.endswith("END 0\n"), shown)
        return shown[:-len("END 0\n")]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass


class ActivateCase(Case):
    """Each test has a current folder of its own; the environments `started` run from the first test to the last one, with
    the folder above it, and no container of another is left."""

    shell = "bash"
    started: Tuple[str, ...] = ()

    @classmethod
    def setUpClass(cls) -> None:
        if not shutil.which(cls.shell):
            raise unittest.SkipTest("there is no %s on this machine" % cls.shell)
        for name in cls.started:
            SHARED.ok("activate", "--shell", "sh", name)  # makes the programs
            SHARED.ok("start", name)
            cls.addClassCleanup(SHARED.ok, "stop", "--force", name)

    def setUp(self) -> None:
        self.__dict__.update({key: getattr(SHARED, key) for key in ("prefix", "base", "home", "program")})
        self.environ = dict(SHARED.environ)
        self.work = Path(tempfile.mkdtemp(dir=str(SHARED.work)))
        self.addCleanup(self.tidy)

    def tidy(self) -> None:
        for name in set(self.containers()) - {self.warm(name) for name in self.started}:
            engine("rm", "-f", name, check=False)
        for note in (self.data(name) / file for name in set("efp") - set(self.started) for file in ("started", "kept")):
            if note.exists():
                note.unlink()

    def create(self, name: str, *packages: str) -> None:
        """An environment of this test's own."""
        self.ok("create", name, *packages)
        self.addCleanup(self.run_pydock, "delete", "-y", name)

    def warm(self, name: str = "e") -> str:
        return "%s-%s--background" % (self.prefix, name)

    def data(self, name: str = "e") -> Path:
        return self.home / ".local" / "share" / "pydock" / ("%s-%s" % (self.prefix, name))

    def bin(self, name: str = "e") -> Path:
        return self.data(name) / "bin"

    def runs(self, name: str = "e") -> bool:
        return self.warm(name) in engine("ps", "--format", "{{.Names}}").split()

    def wait_for_stop(self, name: str = "e", seconds: float = 15) -> None:
        self.wait_for(lambda: self.warm(name) not in self.containers(), seconds)

    def id_of(self, name: str = "e") -> str:
        return engine("container", "inspect", "--format", "{{.Id}}", self.warm(name))

    def minutes(self, name: str = "e") -> str:
        """After how many the container ends itself; '' for never."""
        words = json.loads(engine("container", "inspect", "--format", "{{json .Config.Cmd}}", self.warm(name)))
        return str(words[-3]) if words[-4:-3] == ["idle"] else ""

    def line(self, name: str = "e", *options: str) -> str:
        """What a person types to activate."""
        command = " ".join(["pydock activate", *options, name])
        return "%s | source" % command if self.shell == "fish" else 'eval "$(%s)"' % command

    def sh(self, script: str, cwd: Any = None, environ: Any = None, **options: Any) -> Result:
        """Runs a script in the shell; its status is no matter."""
        argv = [*SHELLS[self.shell], "-c", script]
        done = subprocess.run(argv, cwd=str(cwd or self.work), env={**self.environ, **(environ or {})}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, **options)
        result = Result(argv, done.returncode, os.fsdecode(done.stdout), os.fsdecode(done.stderr))
        self.assertNotIn("Traceback", result.err)
        return result

    def says(self, script: str, **options: Any) -> str:
        """Its stdout; it must succeed, and say nothing on stderr."""
        result = self.sh(script, **options)
        self.assertEqual((result.status, result.err), (0, ""), result)
        return result.out

    def live(self, environ: Any = None) -> Live:
        return Live(self, SHELLS[self.shell], self.work, {**self.environ, **(environ or {})})

    def on_terminal(self) -> Terminal:
        """An interactive shell in which e is activated."""
        terminal = Terminal(self, [*SHELLS[self.shell], "-i"], self.work, self.environ)
        terminal.type("%s; echo acti''vated\n" % self.line())
        terminal.expect("activated\n")
        return terminal

    def prompt(self, terminal: Terminal, after: str) -> None:
        """Waits until the interactive shell reads again: what is typed before goes to the program that ends."""
        end = time.monotonic() + 20
        while "(e) " not in terminal.shown.rpartition(after)[2]:
            self.assertLess(time.monotonic(), end, terminal.shown)
            terminal.pump()

    def called(self, *words: str, cwd: Any = None, input: bytes = b"", status: int = 0, environ: Any = None) -> bytes:
        """stdout of a program of e, called by its path."""
        done = subprocess.run([str(self.bin() / words[0]), *words[1:]], cwd=str(cwd or self.work), env=self.environ if environ is None else environ,
                              input=input, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(done.returncode, status, done.stderr.decode(errors="replace"))
        return done.stdout

    def process(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        """A running program of e, called by its path."""
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **options}
        process = subprocess.Popen([str(self.bin() / words[0]), *words[1:]], cwd=str(self.work), env=self.environ, **options)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def ready(self) -> None:
        """Waits for a program of COUNT or SLEEP."""
        self.wait_for((self.work / "ready").exists, 60)
        (self.work / "ready").unlink()

    def inside(self, name: str = "e") -> List[str]:
        """The command lines of the Python programs in the warm container."""
        code = "for p in /proc/[0-9]*; do tr '\\0\\n' '  ' <$p/cmdline; echo; done 2>/dev/null"
        lines = engine("exec", self.warm(name), "sh", "-c", code, check=False).splitlines()
        return [line for line in lines if line.startswith(("python", "/opt/venv")) and "sleep infinity" not in line]  # pydock's own first process


class EveryShell:
    """What holds in each of the shells."""

    def test_programs_come_from_the_environment_until_deactivate(self: Any) -> None:
        code = "import sys; print(sys.prefix)"
        script = "python3 -c pass; %s; command -v python; python -c '%s'; python3 -c '%s'; pip --version; greet; greet a 'b  c'; echo status %s; deactivate; command -v python3"
        out = self.says(script % (self.line(), code, code, "$status" if self.shell == "fish" else "$?")).splitlines()
        self.assertEqual(out[:3] + out[4:7], [str(self.bin() / "python"), "/opt/venv", "/opt/venv", "hello", "hello a b  c", "status 2"])
        self.assertIn("/opt/venv", out[3])
        self.assertEqual(out[7], shutil.which("python3", path=self.environ["PATH"]))
        self.assertEqual(self.containers(), [])

    def test_the_prompt_shows_the_name_and_variables_tell_it(self: Any) -> None:
        fish = self.shell == "fish"
        show = "fish_prompt" if fish else 'printf "%s" "$PS1"'
        setup = "function fish_prompt; printf 'mine> '; end" if fish else "PS1='mine> '"
        unset = "set -q VIRTUAL_ENV; or echo unset" if fish else "echo ${VIRTUAL_ENV-unset}"
        out = self.says("%s; %s; %s; echo; echo $PYDOCK_ENV $VIRTUAL_ENV_PROMPT; %s; deactivate; %s; echo" % (setup, self.line(), show, unset, show))
        self.assertEqual(out, "(e) mine> \ne e\nunset\nmine> \n")
        out = self.says("%s; %s; %s" % (setup, self.line(), show), environ={"VIRTUAL_ENV_DISABLE_PROMPT": "1"})
        self.assertEqual(out, "mine> ")

    def test_an_unknown_name_is_one_error_and_changes_nothing(self: Any) -> None:
        result = self.sh("%s; echo \"$PATH\"; echo on" % self.line("nosuch"))
        self.assertEqual(result.out.splitlines()[-1], "on")
        self.assertEqual(len([line for line in result.err.splitlines() if line.startswith("pydock: error: ")]), 1, result)
        self.assertLessEqual(len(result.err.splitlines()), 2, result)
        if self.shell != "fish":
            self.assertEqual(result.out.splitlines()[0], self.environ["PATH"])
            result = self.sh("set -e; %s; echo on" % self.line("nosuch"))  # with the host's programs
            self.assertEqual((result.status, result.out), (1, ""), result)

    def test_the_container_of_a_shell_that_just_ends_waits_and_will_end_itself(self: Any) -> None:
        self.says("%s; python -c pass; exit 0" % self.line(), environ={"PYDOCK_IDLE": "17"})
        self.assertTrue(self.runs())
        self.assertEqual(self.minutes(), "17")

    def test_a_running_container_stays_the_same_when_activated_again(self: Any) -> None:
        show = "%s container inspect --format '{{.Id}}' %s" % (" ".join(ENGINE), self.warm())
        out = self.sh("%s; %s; %s; %s; deactivate" % (self.line(), show, self.line(), show))
        first, second = out.out.split()
        self.assertEqual(first, second)
        self.assertEqual((out.status, out.err), (0, ""), out)
        self.assertEqual(self.containers(), [])

    def test_of_two_environments_the_last_one_counts(self: Any) -> None:
        out = self.says("%s; python -c '%s'; %s; python -c '%s'; command -v greet || %s ps --format '{{.Names}}'; deactivate"
                        % (self.line("f"), HOST, self.line("e"), HOST, " ".join(ENGINE)))
        self.assertEqual(out.splitlines(), ["f", "e", str(self.bin() / "greet")])
        self.assertEqual(self.containers(), [])


class InBash(EveryShell, ActivateCase):
    shell = "bash"


class InZsh(EveryShell, ActivateCase):
    shell = "zsh"


class InFish(EveryShell, ActivateCase):
    shell = "fish"


class InDash(EveryShell, ActivateCase):
    shell = "dash"


class GivenBack:
    """`deactivate` leaves no trace, in each of the shells, wherever one comes from."""

    started: Tuple[str, ...] = ("e", "f")

    def check(self: Any, *steps: str, setup: str = "", **environ: str) -> None:
        """All that the shell knows is the same before and after these steps."""
        more = "function mine; echo mine; end; set -g unexported 'a  b'" if self.shell == "fish" else "mine() { echo mine; }; unexported='a  b'; PS1='$(x) \"%1` \\$ '"
        script = "\n".join([more, setup, "eval $STATE >before"] + ["%s || echo FAILED" % step if self.shell != "fish" else "%s; or echo FAILED" % step for step in steps])
        script = (script + "\neval $STATE >after").replace("eval $STATE", 'eval "$STATE"' if self.shell != "fish" else "eval $STATE")
        result = self.sh(script, environ={"STATE": STATE[self.shell], "EXPORTED": "a\n b", **environ})
        self.assertEqual((result.status, result.out, result.err), (0, "", ""), result)
        before, after = ([line for line in (self.work / name).read_text(encoding="utf-8", errors="replace").splitlines()
                          if not re.match(r"(declare \S+ |typeset (-\S+ )*|export (-\S+ )*|\$)?(%s)(=|:|\[|$)" % VOLATILE, line)] for name in ("before", "after"))
        self.assertGreater(len(before), 10)
        self.assertEqual("\n".join(difflib.unified_diff(before, after, n=0)), "")

    def venv(self: Any) -> str:
        folder = SHARED.base / "venv"
        if not folder.exists():
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        return ". %s/bin/activate%s" % (folder, ".fish" if self.shell == "fish" else "")

    def test_after_one_activation(self: Any) -> None:
        self.check(self.line(), "deactivate")

    def test_after_activations_one_after_another(self: Any) -> None:
        self.check(self.line(), "deactivate", self.line("f"), "deactivate")

    def test_after_nested_ones(self: Any) -> None:
        self.check(self.line(), self.line("f"), "deactivate")

    def test_after_repeated_ones(self: Any) -> None:
        self.check(self.line(), self.line(), self.line(), "deactivate")

    def test_with_the_prompt_left_alone(self: Any) -> None:
        self.check(self.line(), "deactivate", VIRTUAL_ENV_DISABLE_PROMPT="1")

    def test_without_a_prompt(self: Any) -> None:
        self.check(self.line(), "deactivate", setup="functions -e fish_prompt" if self.shell == "fish" else "unset PS1")

    def test_with_an_exported_prompt(self: Any) -> None:
        self.check(self.line(), "deactivate", setup="" if self.shell == "fish" else "export PS1")

    def test_with_odd_entries_on_the_path(self: Any) -> None:
        path = self.environ["PATH"]
        for odd in ("%s:", ":%s", "%s::/x", "/with blank:%s:/with*star:/with'quote:/é", "%s:" + str(self.bin()), "/a:/a:%s:/a"):
            if self.shell != "fish" or "::" not in odd:
                with self.subTest(path=odd):
                    self.check(self.line(), "deactivate", PATH=odd % path)

    def test_in_a_shell_started_by_an_activated_one(self: Any) -> None:
        for name in ("e", "f"):
            with self.subTest(name=name):
                self.check(self.line(name), "deactivate", PATH="%s:%s" % (self.bin("f"), self.environ["PATH"]), PYDOCK_ENV="f", VIRTUAL_ENV_PROMPT="f")

    def test_in_a_shell_started_by_one_with_a_virtualenv(self: Any) -> None:
        self.venv()
        folder = str(SHARED.base / "venv")
        self.check(self.line(), "deactivate", PATH="%s/bin:%s" % (folder, self.environ["PATH"]), VIRTUAL_ENV=folder, VIRTUAL_ENV_PROMPT="(venv) ")

    def test_after_a_virtualenv_as_virtualenvs_do(self: Any) -> None:
        setup = "" if self.shell == "fish" else "export PS1"  # as virtualenv's script does
        self.check(self.venv(), self.line(), 'test "$PYDOCK_ENV" = e', 'test -z "$VIRTUAL_ENV"', "deactivate", setup=setup)

    def test_before_a_virtualenv_it_is_there_again_after_it(self: Any) -> None:
        out = self.says("%s; echo \"$PATH\"; %s; deactivate; echo \"$PATH\"; greet" % (self.line(), self.venv())).splitlines()
        self.assertEqual((out[0], out[2]), (out[1], "hello"))

    def test_with_a_shell_that_stops_at_each_error(self: Any) -> None:
        if self.shell != "fish":
            strict = "set -euo pipefail" if self.shell in ("bash", "zsh") else "set -eu"
            for setup in (strict, strict + "; unset PS1"):
                result = self.sh("%s; %s; %s; python -c 'print(1)'; deactivate; echo on" % (setup, self.line(), self.line("f")))
                self.assertEqual((result.status, result.out, result.err), (0, "1\non\n", ""), result)
            self.check(self.line(), "deactivate", setup=strict)


class GivenBackInBash(GivenBack, ActivateCase):
    shell = "bash"


class GivenBackInZsh(GivenBack, ActivateCase):
    shell = "zsh"


class GivenBackInFish(GivenBack, ActivateCase):
    shell = "fish"


class GivenBackInDash(GivenBack, ActivateCase):
    shell = "dash"


class Asking(ActivateCase):
    """What `activate` says, and `list` of it."""

    def test_a_terminal_is_told_the_line_and_nothing_starts(self) -> None:
        self.assertRegex(self.terminal("activate", "e").out, r'^eval "\$\(\S*pydock\S* activate e\)"\n$')
        self.assertRegex(self.terminal("activate", "--shell", "fish", "e").out, r"^\S*pydock\S* activate .*\| source\n$")
        self.assertEqual(self.containers(), [])

    def test_a_terminal_hears_of_an_unknown_name(self) -> None:
        result = self.terminal("activate", "nosuch")
        self.assertEqual(result.status, 1)
        self.assertIn("pydock: error: ", re.sub(r"\x1b\[\d+m", "", result.out))

    def test_the_shell_can_be_given(self) -> None:
        self.assertIn("set -gx PYDOCK_ENV e\n", self.ok("activate", "--shell", "fish", "e"))
        for shell in ("bash", "zsh", "sh"):
            self.assertIn("deactivate () {", self.ok("activate", "--shell", shell, "e"))
        self.fails("activate", "--shell", "tcsh", "e", status=2)

    def test_a_fish_script_is_known_as_fish(self) -> None:
        fish = shutil.which("fish")
        if not fish:
            self.skipTest("there is no fish on this machine")
        script = self.work / "script"
        script.write_text("#!%s --no-config\npydock activate e | source\npython -c '%s'\ndeactivate\n" % (fish, HOST), encoding="utf-8")
        script.chmod(0o755)
        self.assertEqual(self.says("./script"), "e\n")

    def test_the_text_can_be_sourced_from_a_file_by_any_shell(self) -> None:
        (self.work / "text").write_text(self.ok("activate", "--shell", "bash", "e"), encoding="utf-8")
        self.assertEqual(self.says(". ./text; python -c '%s'; deactivate" % HOST), "e\n")

    def test_list_marks_the_activated_environment(self) -> None:
        out = self.says("pydock list --json; %s; pydock list --json; pydock list; deactivate; pydock list --json" % self.line()).replace("][", "],[")
        parts = re.split(r"(?<=\])\n", out)
        before, during = json.loads(parts[0]), json.loads(parts[1])
        table, _, after = parts[2].partition("[\n")
        self.assertEqual([row["active"] for row in before], [False, False])
        self.assertEqual({row["name"]: row["active"] for row in during}, {"e": True, "f": False})
        self.assertTrue(during[0]["running"])
        self.assertEqual([row["active"] for row in json.loads("[" + after)], [False, False])
        marked, other = (next(line for line in table.splitlines() if re.match(r"\W*%s\b" % name, line)) for name in "ef")
        self.assertNotEqual(marked[:2].strip() or marked, other[:2].strip() or other, table)

    def test_without_a_name_it_shows_those_that_exist(self) -> None:
        result = self.run_pydock("activate")
        self.assertNotEqual(result.status, 0)
        self.assertNotIn("deactivate", result.out)

    def test_a_missing_image_is_built_first(self) -> None:
        self.ok("create", "--no-build", "later")
        result = self.sh("%s; python -c '%s'; deactivate; pydock delete -y later" % (self.line("later"), HOST))
        self.assertEqual((result.status, result.out), (0, "later\n"), result)


class Activated(contract.Started, contract.Program):
    """The contract, of a program in a background container."""

    way = ()
    outputs = (subprocess.DEVNULL,)

    @classmethod
    def prepare(cls, case: Case) -> None:
        super().prepare(case)
        case.ok("activate", "--shell", "sh", "e")

    def setUp(self) -> None:
        super().setUp()
        self.program = [str(self.home / ".local/share/pydock" / (self.prefix + "-e") / "bin/python"), "-c", contract.EXEC]


class Linked(contract.Program):
    """The contract, of a program in a container of its own, called with hardly any variables."""

    way = ()
    outputs = (subprocess.DEVNULL,)

    @classmethod
    def prepare(cls, case: Case) -> None:
        super().prepare(case)
        case.ok("link", "e", "python")

    def setUp(self) -> None:
        super().setUp()
        self.program = [str(self.home / ".local/bin/python"), "-c", contract.EXEC]
        self.environ = {"PATH": "/usr/bin:/bin", "HOME": str(self.home)}


class Programs(ActivateCase):
    """The programs of an environment whose container runs."""

    started = ("e",)
    NEARLY_EMPTY = {"PATH": "/usr/bin:/bin"}

    def elsewhere(self) -> Path:
        """A folder that the warm container does not have."""
        return Path(tempfile.mkdtemp(dir=str(self.base)))

    def test_a_shell_passes_them_unchanged(self) -> None:
        for shell in ("bash", "zsh", "dash", "fish"):
            if shutil.which(shell):
                self.shell = shell
                out = self.says("%s; python -c '%s' '$HOME *' \"a  b\" '' -- \"it's\"; deactivate" % (self.line(), WORDS.replace("'", '"').replace("\\0", "|")))
                self.assertEqual(out, "$HOME *|a  b||--|it's|", shell)

    def test_stdin_and_stdout_may_be_closed_or_nothing(self) -> None:
        script = "%s; python -c 'print(1)' <&-; python -c 'open(\"made\", \"w\")' >&- 2>&-; echo 'print(2)' | python; python <<'E'\nprint(3)\nE\npython - <<<'print(4)'; deactivate"
        out = self.says(script % self.line())
        self.assertEqual(out, "1\n2\n3\n4\n")
        self.assertTrue((self.work / "made").exists())

    def test_the_folder_is_the_callers(self) -> None:
        code = "import os; print(os.getcwd()); open('made', 'w').close()"
        elsewhere = self.elsewhere()
        for folder in (self.work, self.work / "sub" / "sub", self.work / "a 'b\" \\ $x\n*", self.work / "été 日本", elsewhere, elsewhere / "é x", self.home, self.home / "p"):
            with self.subTest(folder=folder):
                folder.mkdir(parents=True, exist_ok=True)
                self.assertEqual(self.called("python", "-c", code, cwd=folder).decode(), "%s\n" % folder)
                self.assertTrue((folder / "made").exists())
                (folder / "made").unlink()

    def test_a_folder_reached_by_a_link_is_the_one_it_leads_to(self) -> None:
        real = self.work / "real"
        real.mkdir()
        outside = self.elsewhere()
        (self.work / "within").symlink_to(real)
        (self.work / "out").symlink_to(outside)
        (outside / "back").symlink_to(real)
        code = "import os; open(\"made-\" + os.path.basename(os.getcwd()), \"w\").close()"
        for start in (self.work / "within", outside / "back", self.work / "out"):
            self.says("%s; cd %s; python -c '%s'; deactivate" % (self.line(), shlex.quote(str(start)), code))
            self.assertEqual([name for name in os.listdir(str(start)) if name.startswith("made-")], ["made-" + os.path.basename(os.path.realpath(str(start)))])
            for made in start.glob("made-*"):
                made.unlink()
        (outside / "f").write_text("here", encoding="utf-8")
        code = "%s; cd out; python -c 'import os, sys; print(os.getcwd(), *map(os.path.exists, sys.argv[1:]))' \"$PWD/f\" %s/f; deactivate"
        self.assertEqual(self.says(code % (self.line(), outside)), "%s True True\n" % outside)

    def test_what_was_set_or_changed_since_the_activation_arrives_and_nothing_else(self) -> None:
        code = 'import json, os; print(json.dumps(dict(os.environ)))'
        before = {"SECRET": "login", "LOGIN": "é old", "MULTI": "a\nb", "UNSET": "x", "LC_ALL": "C"}
        for shell in ("bash", "zsh", "dash", "fish"):
            if not shutil.which(shell):
                continue
            self.shell = shell
            export = "set -gx" if shell == "fish" else "export"
            setting = "{0} DEBUG 1; {0} URL 'a  b'; {0} LOGIN 'è old'; {0} HOME /nope; {0} PS1 x; set -e UNSET" if shell == "fish" else \
                "{0} DEBUG=1; {0} URL='a  b'; {0} LOGIN='è old'; {0} HOME=/nope; {0} PS1=x; unset UNSET"
            line = self.line()
            for folder in (self.work, self.elsewhere()):
                with self.subTest(shell=shell, folder=folder):
                    out = self.says("%s; %s; cd %s; python -c %s; deactivate" % (line, setting.format(export), folder, shlex.quote(code)), environ=before)
                    found = json.loads(out)
                    self.assertEqual({name: found[name] for name in ("DEBUG", "URL", "LOGIN")}, {"DEBUG": "1", "URL": "a  b", "LOGIN": "è old"})
                    self.assertFalse({"SECRET", "MULTI", "UNSET", "PS1", "_PYDOCK_WAS", "PYDOCK_ENV"} & set(found), found)
                    self.assertEqual(found["HOME"], INNER_HOME)

    def test_a_program_is_as_outside_and_gets_what_the_user_named(self) -> None:
        code = "import os; print(*[os.environ.get(name) for name in ('TERM', 'LANG', 'NO_COLOR', 'TZ', 'AWS_KEY', 'SECRET')])"
        environ = {"TERM": "vt220", "LANG": "de_DE.UTF-8", "NO_COLOR": "1", "TZ": "Asia/Tokyo", "AWS_KEY": "k", "SECRET": "s"}
        data = self.elsewhere()
        for key, value in (("pass_env", "AWS_*"), ("mounts", str(data))):
            self.ok("config", "--global", key, value)
        self.create("z")
        self.environ.update(environ)
        self.ok("start", "z")
        self.ok("link", "z", "python")
        program = str(self.home / ".local/bin/python")
        for argv in ([*self.program, "run", "z", "python"], [*self.program, "run", "--fresh", "z", "python"], [program]):
            for folder in (self.work, data):
                done = subprocess.run([*argv, "-c", code], cwd=str(folder), env=self.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=60)
                self.assertEqual(done.stdout, "vt220 de_DE.UTF-8 1 Asia/Tokyo k None\n", argv)
        subprocess.run([program, "-c", "open('made', 'w')"], cwd=str(data), env=self.environ, check=True, timeout=60)
        self.assertTrue((data / "made").exists())
        self.ok("delete", "-y", "z")
        (self.home / ".pydock/pydock.conf").unlink()

    def test_an_argument_that_is_on_the_host_and_not_inside_is_said(self) -> None:
        path = self.elsewhere() / "x.csv"
        path.write_text("here", encoding="utf-8")
        for word in (str(path), "--data=%s" % path):
            done = self.sh("%s; python -c 'import sys; sys.exit(5)' %s; echo $?; python -c 'import sys; sys.exit(5)' here /nowhere; deactivate" % (self.line(), word))
            self.assertEqual(done.out, "5\n")
            self.assertEqual(done.err.splitlines(), ["pydock: warning: %s is on this host, but not in e (hint: pydock run -v %s:%s e ...; for always: pydock config --global mounts DIR)" % ((path,) * 3)])

    def test_in_the_root_folder(self) -> None:
        self.assertEqual(self.called("python", "-c", "import os; print(os.getcwd())", cwd=Path("/")), b"/\n")

    def test_absolute_paths_of_the_host_lead_to_the_same_files(self) -> None:
        (self.work / "f").write_text("here", encoding="utf-8")
        self.assertEqual(self.called("python", "-c", "import sys; print(open(sys.argv[1]).read())", str(self.work / "f")), b"here\n")

    def test_called_by_path_with_hardly_any_environment(self) -> None:
        for environ in (self.NEARLY_EMPTY, {**self.NEARLY_EMPTY, "HOME": str(self.home)}, {}, {"PATH": "/nowhere", "HOME": "/", "LC_ALL": "C"}):
            with self.subTest(environ=environ):
                self.assertEqual(self.called("python", "-c", HOST, environ=environ), b"e\n")

    def test_called_by_path_with_hardly_any_environment_in_a_fresh_container(self) -> None:
        tools = self.base / "tools"  # all of the system's, but no docker
        if not tools.exists():
            tools.mkdir()
            for program in ("sh", "env", "setsid", "sleep", "cat"):
                (tools / program).symlink_to(str(shutil.which(program)))
        where = {"HOME": str(self.home)}
        for environ in ({**self.NEARLY_EMPTY, **where}, {"PATH": str(tools), **where}, where, self.NEARLY_EMPTY, {"HOME": "/", "LC_ALL": "C"}):
            with self.subTest(environ=environ):
                self.assertEqual(self.called("python", "-c", HOST, environ=environ, cwd=self.elsewhere()), b"e\n")

    def test_eight_at_once_by_xargs(self) -> None:
        out = self.says("%s; seq 24 | xargs -P 8 -n 1 python -c 'import sys; print(int(sys.argv[1]) ** 2)'; deactivate" % self.line())
        self.assertEqual(sorted(map(int, out.split())), [number ** 2 for number in range(1, 25)])

    def test_a_makefile_works_unchanged(self) -> None:
        if not shutil.which("make"):
            self.skipTest("there is no make on this machine")
        text = "PYTHON ?= python\nall: one two\none:\n\t@$(PYTHON) -c '%s' >$@\ntwo: one\n\t@cat $< | greet >$@\nfail:\n\t@python -c 'exit(3)'\n"
        (self.work / "Makefile").write_text(text % HOST, encoding="utf-8")
        self.says("%s; make -s -j2; deactivate" % self.line())
        self.assertEqual(((self.work / "one").read_text(), (self.work / "two").read_text()), ("e\n", "hello\n"))
        result = self.sh("%s; make -s fail; echo $?; deactivate" % self.line())
        self.assertEqual(result.out, "2\n", result)

    def test_a_script_with_env_python_works_unchanged(self) -> None:
        for name, first in (("tool one", "#!/usr/bin/env python"), ("tool3", "#!/usr/bin/env python3"), ("split", "#!/usr/bin/env -S python -u")):
            script = self.work / name
            script.write_text(first + "\nimport greeter, sys\nprint(sys.prefix, sys.argv[1:])\nsys.exit(4)\n", encoding="utf-8")
            script.chmod(0o755)
        (self.work / "sub").mkdir()
        for script_call in ("./'tool one' 'a b' c", "%s 'a b' c" % shlex.quote(str(self.work / "tool3")), "cd sub; ../split 'a b' c"):
            result = self.sh("%s; %s; status=$?; deactivate; exit $status" % (self.line(), script_call))
            self.assertEqual((result.status, result.out, result.err), (4, "/opt/venv ['a b', 'c']\n", ""), result)

    def test_while_another_environment_is_active(self) -> None:
        python, greet = (shlex.quote(str(self.bin() / name)) for name in ("python", "greet"))
        out = self.says("%s; python -c '%s'; %s -c '%s'; %s; deactivate" % (self.line("f"), HOST, python, HOST, greet))
        self.assertEqual(out, "f\ne\nhello\n")

    def test_a_path_without_docker(self) -> None:
        script = "%s; PATH=%s:/nowhere; python -c '%s'; PATH=%s:%s:/nowhere; pydock list; echo $?; deactivate"
        result = self.sh(script % (self.line(), self.bin(), HOST, self.bin(), SHARED.base / "bin"))
        self.assertEqual(result.out, "e\n127\n", result)
        errors = [line for line in result.err.splitlines() if line.startswith("pydock: error: ")]
        self.assertEqual(len(errors), 1, result)

    def test_a_vendored_pydock_runs_on_the_host(self) -> None:
        project = self.work / "project"
        project.mkdir()
        shutil.copy(str(PYDOCK), str(project / "pydock.py"))
        (project / "pydock.py").chmod(0o755)
        script = "./pydock.py --local create --no-build dev; ./pydock.py --global list --json >rows; python pydock.py --version; ../project/pydock.py --global run e python -c '%s'"
        result = self.sh("%s; %s; deactivate" % (self.line(), script % HOST), cwd=project)
        self.assertEqual((result.status, result.out.splitlines()), (0, ["pydock " + pydock.__version__, "e"]), result)
        self.assertTrue((project / ".pydock" / "envs" / "dev" / "dockerfile").exists(), result)
        self.assertIn("e", [row["name"] for row in json.loads((project / "rows").read_text(encoding="utf-8"))])

    def test_a_program_that_is_merely_told_of_pydock_py_runs_inside(self) -> None:
        for name in ("show.py", "mypydock.py"):
            (self.work / name).write_text("import sys; print(sys.prefix)\n", encoding="utf-8")
        for words in (["show.py", "pydock.py"], ["show.py", "a/pydock.py", "x"], ["-u", "show.py", "pydock.py", "x"], ["mypydock.py"],
                      ["-c", "import sys; print(sys.prefix)", "pydock.py", "x"]):
            with self.subTest(words=words):
                self.assertEqual(self.called("python", *words), b"/opt/venv\n")
        self.assertEqual(self.called("python", "-IS", "-c", "import sys; print(sys.executable)", "pydock.py", "x"), b"/opt/venv/bin/python\n")

    def test_only_pip_is_taken_for_pip(self) -> None:
        self.assertEqual(self.called("pipgreet", "install", "x", status=2), b"hello install x\n")
        self.assertEqual(self.called("python", "-c", "import sys; print(sys.argv[1:])", "-m", "pip", "install"), b"['-m', 'pip', 'install']\n")
        self.assertIn(b"Usage:", self.called("pip", "--help"))
        self.assertIn(b"greeter", self.called("pip", "list"))
        self.assertIn(b"Version: 1.0", self.called("python", "-m", "pip", "show", "greeter"))

    def test_settings_of_the_activation_hold_for_later_calls(self) -> None:
        share = self.work / "share"
        self.sh("pydock activate e >/dev/null", environ={"XDG_DATA_HOME": str(share)})
        program = share / "pydock" / ("%s-e" % self.prefix) / "bin" / "python"
        done = subprocess.run([str(program), "-c", HOST], cwd=str(self.elsewhere()), env={**self.NEARLY_EMPTY, "HOME": str(self.home)}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "e\n", ""))

    def test_a_program_that_is_gone_says_so_in_a_line(self) -> None:
        shim = self.bin() / "nosuch"
        shim.write_text((self.bin() / "greet").read_text().replace("program=greet", "program=nosuch"))
        shim.chmod(0o755)
        done = subprocess.run([str(shim)], cwd=str(self.work), env=self.environ, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60)
        shim.unlink()
        self.assertEqual(done.returncode, 127, done.stderr)
        self.assertLessEqual(len(done.stderr.splitlines()), 2, done.stderr)


class Signals(ActivateCase):
    """Whatever ends an activated program here ends it inside."""

    started = ("e",)

    def tearDown(self) -> None:
        self.wait_for(lambda: not self.inside())

    def test_a_signal_is_as_quick_after_5000_programs(self) -> None:
        code = "for pid in range(100000, 105000): open('/dev/shm/pydock.%s.x%%d.%%d' %% (pid, pid), 'w')" % self.warm()
        self.called("python", "-c", code)
        process = self.process("python", "-c", SLEEP)
        self.ready()
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        self.assertLess(time.monotonic() - begin, 5)
        self.assertLess(int(engine("exec", self.warm(), "sh", "-c", "set -- /dev/shm/pydock.*; echo $#")), 100)

    def test_timeout_ends_the_program(self) -> None:
        result = self.sh("%s; timeout 2 python -c '%s'; echo $?; deactivate" % (self.line(), "import time; time.sleep(600)"))
        self.assertEqual(result.out, "124\n", result)

    def test_ctrl_c_in_an_interactive_shell(self) -> None:
        for shell in ("bash", "zsh", "fish"):
            if shutil.which(shell):
                with self.subTest(shell=shell):
                    self.shell = shell
                    terminal = self.on_terminal()
                    terminal.type("python -c '%s'\n" % SLEEP)
                    self.ready()
                    terminal.type("\x03")
                    terminal.expect("KeyboardInterrupt")
                    self.prompt(terminal, "KeyboardInterrupt")
                    terminal.type("echo is''over=%s\n" % ("$status" if shell == "fish" else "$?"))
                    terminal.expect("isover=130")
                    terminal.type("deactivate; exit 3\n")
                    self.assertEqual(terminal.wait(), 3)

    def test_ctrl_c_comes_once_to_a_program_that_handles_it(self) -> None:
        (self.work / "count.py").write_text(COUNT)
        terminal = self.on_terminal()
        for more in ("", " | cat", " </dev/null", " >out", " 2>err"):
            with self.subTest(more=more):
                (self.work / "count").write_text("none")
                terminal.type("python count.py 2%s\n" % more)
                self.ready()
                terminal.type("\x03")
                self.wait_for(lambda: (self.work / "count").read_text() in ("1", "2"))
                self.assertEqual((self.work / "count").read_text(), "1")
                self.wait_for(lambda: not self.inside())
        self.prompt(terminal, more + "\n")
        terminal.type("deactivate; exit\n")
        terminal.wait()

    def test_a_closed_terminal_ends_program_and_shell(self) -> None:
        terminal = self.on_terminal()
        terminal.type("python -c '%s'\n" % SLEEP)
        self.ready()
        terminal.hang_up()
        terminal.wait()

    def test_a_closed_terminal_ends_the_program_whose_client_has_ended_before_a_shell_says_so(self) -> None:
        script = "trap : HUP; python -c '%s'; echo $? >ended"
        terminal = Terminal(self, ["sh", "-c", self.line() + "; " + script % SLEEP], self.work, self.environ)
        self.ready()
        terminal.hang_up()
        terminal.wait()
        self.assertEqual((self.work / "ended").read_text(), "129\n")


class Idle(ActivateCase):
    """The first process of an activated environment's container, with seconds for minutes."""

    def begin(self, minutes: int, *options: str) -> str:
        name = "%s-idle--background" % self.prefix
        helper = self.work / "helper"
        helper.write_text(pydock.HELPER_FILE, encoding="utf-8")
        helper.chmod(0o755)
        engine("run", "-d", "--rm", "--mount", pydock.mount_value(str(helper), pydock.HELPER, True), *(["--init"] if pydock.Engine(ENGINE).has_init() else []), *options, "--name", name, "%s-e:latest" % self.prefix,
               *([] if pydock.Engine(ENGINE).has_init() else pydock.INIT), *pydock.idle_argv(str(minutes), name, 1))
        return name

    def note_exec(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([*ENGINE, "exec", name, pydock.HELPER, "exec", name + ".x%d" % time.monotonic_ns(), *words])
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_it_ends_when_nothing_runs_and_nothing_of_it_stays(self) -> None:
        name = self.begin(2)
        self.assertIn(name, self.containers())
        self.wait_for(lambda: name not in self.containers(), 20)

    def test_a_program_that_runs_keeps_it_and_so_does_what_that_left_behind(self) -> None:
        for words in (["sleep", "8"], ["sh", "-c", "sleep 8 &"]):
            with self.subTest(words=words):
                name = self.begin(2)
                self.note_exec(name, *words)
                time.sleep(6)
                self.assertIn(name, self.containers())
                self.wait_for(lambda: not self.containers(), 20)

    def test_programs_shorter_than_its_look_keep_it(self) -> None:
        name = self.begin(3)
        for _ in range(6):
            self.note_exec(name, "true").wait()
            time.sleep(1)
        self.assertIn(name, self.containers())
        self.wait_for(lambda: name not in self.containers(), 20)

    def test_it_obeys_a_stop_and_holds_no_processor(self) -> None:
        name = self.begin(100)
        time.sleep(3)
        used = engine("exec", name, "sh", "-c", "for p in /proc/[0-9]*; do read -r line <$p/stat; set -- ${line##*) }; echo $((${12} + ${13})); done")
        self.assertLess(sum(map(int, used.split())), 30)  # hundredths of a second
        begin = time.monotonic()
        engine("stop", "-t", "30", name)
        self.assertLess(time.monotonic() - begin, 15)
        self.wait_for(lambda: name not in self.containers(), 10)


def fetched(port: int, path: str = "page") -> str:
    """What a server at this port of the host says; empty where there is none."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open("http://127.0.0.1:%d/%s" % (port, path), timeout=5) as page:
            return str(page.read().decode())
    except OSError:
        return ""


class Ports(ActivateCase):
    """`activate -p`, as the README has it."""

    def ports(self) -> str:
        return engine("container", "inspect", "--format", "{{json .HostConfig.PortBindings}}", self.warm())

    def test_a_server_is_reached_and_other_ports_are_for_an_idle_one_only(self) -> None:
        ports = [new_port(), new_port()]
        (self.work / "page").write_text("the page", encoding="utf-8")
        for port in ports:  # the first container makes way for the second: nothing runs in it
            shell = self.live()
            shell.do(self.line("e", "-p", "%d:8000" % port))
            shell.do("python -m http.server 8000 >log 2>&1 & server=$!")
            self.wait_for(lambda port=port: fetched(port) == "the page", 60)
            if port == ports[0]:
                shell.do("kill $server; wait $server || :")
        result = self.fails("activate", "--shell", "sh", "-p", "%d:8000" % ports[0], "e", says="e is already running with -p 127.0.0.1:%d:8000, not" % ports[1],
                            hint="pydock stop e")
        self.assertEqual(result.out, "false\n")
        self.ok("activate", "--shell", "sh", "e")
        self.assertEqual(fetched(ports[1]), "the page", "without options it is taken as it is")

    def test_whatever_ends_it_a_script_does_not_go_on(self) -> None:
        conf = self.home / ".pydock/pydock.conf"
        conf.write_text("broken\n", encoding="utf-8")
        self.addCleanup(conf.unlink)
        for argv in (["activate", "e"], ["--global", "activate", "e"], ["activate", "--bogus", "e"], ["activate"]):
            self.assertEqual(self.run_pydock(*argv).out, "false\n", argv)
        self.assertEqual(self.run_pydock("run", "activate", "x").out, "")

    def test_the_next_program_of_the_shell_has_the_port_again(self) -> None:
        port, shell = new_port(), self.live()
        shell.do(self.line("e", "-p", str(port)))
        before = self.ports()
        self.assertIn('"%d"' % port, before)
        engine("rm", "-f", self.warm())
        shell.do("python -c pass")
        self.assertEqual(self.ports(), before)

    def test_a_port_that_is_taken_changes_nothing(self) -> None:
        self.ok("activate", "--shell", "sh", "e")
        before = self.id_of()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            self.fails("activate", "--shell", "sh", "-p", str(port), "e", says="port %d is taken" % port, hint="pydock activate --shell sh -p ")
        self.assertEqual(self.id_of(), before)


class Servers(ActivateCase):
    """Real ones, as the README has them."""

    def test_flask_activated_and_jupyter_lab_linked(self) -> None:
        self.create("web", "flask", "jupyterlab")
        port, shell = new_port(), self.live()
        (self.work / "app.py").write_text("import flask\napp = flask.Flask(__name__)\n@app.route('/page')\ndef page():\n    return 'the page'\n", encoding="utf-8")
        shell.do(self.line("web", "-p", "%d:5000" % port))
        shell.do("flask run --host 0.0.0.0 >log 2>&1 & server=$!")
        self.wait_for(lambda: fetched(port) == "the page", 60)
        shell.do("kill $server; wait $server || :; deactivate")
        port = new_port()
        self.ok("link", "-p", "%d:8888" % port, "web", "jupyter")
        argv = [str(self.home / ".local" / "bin" / "jupyter"), "lab", "--ip", "0.0.0.0", "--no-browser", *["--allow-root"] * (os.getuid() == 0)]
        process = subprocess.Popen(argv, cwd=str(self.work), env={"PATH": "/usr/bin:/bin", "HOME": str(self.home)}, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.kill)
        self.wait_for(lambda: "version" in fetched(port, "api"), 90)
        process.terminate()
        process.wait(60)
        self.wait_for(lambda: not self.containers(), 30)


class Ending(ActivateCase):
    """The container ends with `deactivate` or by itself, and comes back with the next program."""

    def shells(self, number: int = 2) -> List[Live]:
        lives = [self.live() for _ in range(number)]
        for live in lives:
            live.do(self.line())
        return lives

    def test_another_shells_next_program_starts_it_again(self) -> None:
        one, two = self.shells()
        one.do("deactivate")
        self.assertEqual(self.containers(), [])
        self.assertEqual(two.do("python -c '%s'" % HOST), "e\n")
        self.assertTrue(self.runs())
        two.do("deactivate")
        self.assertEqual(self.containers(), [])
        self.ok("run", "e", "true")  # where it is not activated
        self.ok("run", "e", "true", environ={"PYDOCK_ENV": "e"})
        self.assertEqual(self.containers(), [])

    def test_one_that_ended_itself_is_started_again(self) -> None:
        (live,) = self.shells(1)
        loop = "for mark in /dev/shm/pydock.*.waits.*; do kill -s KILL ${mark##*.}; done"
        engine("exec", self.warm(), "sh", "-c", loop, check=False)
        self.wait_for_stop()
        self.assertEqual(live.do("python -c '%s'" % HOST), "e\n")
        self.assertEqual(self.minutes(), "30")
        live.do("deactivate")

    def test_a_program_that_still_runs_is_named_and_goes_on(self) -> None:
        one, two = self.shells()
        two.do("python -c '%s' & until [ -e ready ]; do sleep 0.1; done" % SLEEP)
        shown = one.do("deactivate")
        self.assertEqual(len(shown.splitlines()), 1, shown)
        self.assertIn("python -c ", shown)
        self.assertTrue(self.inside())
        two.do("kill %1; wait %1; true")
        self.assertEqual(two.do("deactivate"), "")
        self.assertEqual(self.containers(), [])

    def test_a_bad_number_of_minutes_is_one_error(self) -> None:
        for value in ("0", "x", "-1", "1.5"):
            self.assertIn("idle", self.sh(self.line(), environ={"PYDOCK_IDLE": value}).err)
        self.assertEqual(self.containers(), [])

    def test_persistent_goes_on(self) -> None:
        self.says("%s; python -c pass; deactivate" % self.line("e", "--persistent"))
        self.assertTrue(self.runs())
        live = self.live()
        live.do(self.line())
        live.do("deactivate")
        self.assertTrue(self.runs())
        self.assertEqual(self.minutes(), "")
        self.ok("stop", "e")
        self.assertEqual(self.containers(), [])

    def test_what_start_has_started_goes_on(self) -> None:
        self.create("g")  # never activated before
        for name in ("e", "g"):
            self.ok("start", name)
            first = self.id_of(name)
            self.says("%s; python -c pass; deactivate" % self.line(name))
            self.assertTrue(self.runs(name))
            self.assertEqual(self.id_of(name), first)
        self.ok("stop", "e")

    def test_activate_after_stop_ends_with_the_shell_again(self) -> None:
        self.ok("start", "e")
        self.ok("stop", "e")
        self.says("%s; deactivate" % self.line())
        self.assertEqual(self.containers(), [])

    def test_start_after_activate_keeps_it(self) -> None:
        self.says("%s; pydock -q start e; deactivate" % self.line())
        self.assertTrue(self.runs())
        marks = engine("exec", self.warm(), "sh", "-c", "ls /dev/shm")  # what its first process sees as a program
        self.assertIn("pydock.%s.kept.1" % self.warm(), marks)
        self.ok("stop", "e")

    def test_activations_race(self) -> None:
        script = "%s; python -c '%s'; read -r _; deactivate" % (self.line(), HOST)
        racing = [Live(self, [*SHELLS["bash"], "-c", script], self.work, self.environ) for _ in range(3)]
        for live in racing:
            assert live.process.stdout
            self.assertEqual([line for line in iter(live.process.stdout.readline, "e\n") if not line.startswith("waiting for ")], [])
        self.assertEqual(self.containers(), [self.warm()])
        for live in racing:
            self.assertEqual((live.process.communicate("\n", timeout=60)[0], live.process.returncode), ("", 0))
        self.assertEqual(self.containers(), [])

    def test_deactivate_after_delete_is_quiet(self) -> None:
        self.create("g")
        self.assertEqual(self.says("%s; pydock -q delete -y g; deactivate; command -v deactivate; echo on" % self.line("g")).splitlines()[-1], "on")
        self.assertEqual(self.containers(), [])
        self.assertFalse(self.data("g").exists())

    def test_the_container_removed_or_killed_behind_its_back(self) -> None:
        live = self.live()
        live.do(self.line())
        for words in (("rm", "-f"), ("kill",), ("stop", "-t", "0"), ("pause",)):
            if words == ("pause",):
                continue
            with self.subTest(words=words):
                engine(*words, self.warm())
                self.assertEqual(live.do("python -c '%s'; greet" % HOST), "e\nhello\n")
                self.assertTrue(self.runs())
                self.assertEqual(live.do("greet"), "hello\n")
        live.do("deactivate")
        self.assertEqual(self.containers(), [])

    def test_a_folder_that_is_deleted_meanwhile(self) -> None:
        folder = self.work / "folder"
        folder.mkdir()
        live = self.live()
        live.do("cd folder; %s; python -c pass; rmdir ../folder" % self.line())
        shown = live.do("python -c pass && echo WORKED; greet && echo WORKED; true")
        self.assertNotIn("WORKED", shown)
        self.assertEqual(len(re.findall("^pydock: error: ", shown, re.M)), 2, shown)
        self.assertNotIn("OCI", shown)
        self.assertEqual(live.do("cd ..; python -c '%s'" % HOST), "e\n")
        live.do("mkdir folder; cd folder; python -c 'open(\"made\", \"w\").close()'")
        self.assertTrue((folder / "made").exists())
        shown = live.do("cd ..; rm -r folder; mkdir folder; cd folder; rmdir ../folder; deactivate")
        self.assertEqual(shown.replace("sh: 0: getcwd() failed: No such file or directory\n", ""), "")  # dash's own word
        self.assertEqual(self.containers(), [])

    def test_a_folder_that_is_deleted_before(self) -> None:
        result = self.sh("mkdir d; cd d; rmdir ../d; %s; echo \"$PATH\"" % self.line())
        self.assertEqual(result.out, self.environ["PATH"] + "\n")
        self.assertEqual(len(re.findall("^pydock: error: ", result.err, re.M)), 1, result)
        self.assertEqual(self.containers(), [])

    def test_elsewhere_is_told_where_it_has_started(self) -> None:
        one = self.live()
        one.do(self.line())
        other = Path(tempfile.mkdtemp(dir=str(self.base)))
        result = self.sh("%s; python -c 'open(\"made\", \"w\")'; deactivate" % self.line(), cwd=other)
        self.assertEqual(result.status, 0, result)
        self.assertEqual(len(result.err.splitlines()), 1, result)
        self.assertIn(str(self.work), result.err)
        self.assertTrue((other / "made").exists())
        one.do("deactivate")


class Packages(ActivateCase):
    """Installing while activated; p is this class's own."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        SHARED.ok("create", "p")

    def written(self) -> str:
        return (self.folder("p") / "requirements.txt").read_text(encoding="utf-8")

    def test_install_brings_a_program_and_uninstall_takes_it(self) -> None:
        wheel = make_wheel(self.work, "newtool", files={"newtool.py": GREET}, scripts=["newtool = newtool:main"])
        live = self.live()
        live.do(self.line("p"))
        live.do("! newtool 2>/dev/null; pydock -q install p ./%s 2>/dev/null; hash -r" % wheel.name)
        self.assertEqual(live.do("newtool; command -v newtool"), "hello\n%s\n" % (self.bin("p") / "newtool"))
        self.assertEqual(live.do("pydock -q uninstall p newtool 2>/dev/null; hash -r; command -v newtool || echo gone"), "gone\n")
        live.do("deactivate")
        self.assertEqual(self.containers(), [])

    def test_pip_install_stays(self) -> None:
        wheels = [make_wheel(self.work, name, files={name + ".py": GREET}, scripts=["%s = %s:main" % (name, name)]) for name in ("pipone", "piptwo")]
        live = self.live()
        live.do(self.line("p"))
        live.do("pip install ./%s" % wheels[0].name)
        self.assertIn("pipone", self.written())
        self.assertEqual(live.do("pipone"), "hello\n")
        live.do("python -m pip install -q ./%s" % wheels[1].name)
        self.assertIn("piptwo", self.written())
        self.assertEqual(live.do("piptwo"), "hello\n")
        self.assertIn("piptwo", live.do("pip list; pip freeze"))
        live.do("pip uninstall -y pipone")
        self.assertNotIn("pipone", self.written())
        self.assertEqual(live.do("hash -r; command -v pipone || echo gone"), "gone\n")
        live.do("python3 -m pip uninstall --yes piptwo")
        self.assertNotIn("piptwo", self.written())
        live.do("deactivate")
        self.assertEqual(self.containers(), [])
        self.ok("run", "p", "pip", "--version")

    def test_the_forms_of_pip_install_that_people_know(self) -> None:
        wheels = [make_wheel(self.work, name) for name in ("formone", "formtwo")]
        (self.work / "requirements.txt").write_text("./%s\n" % wheels[0].name, encoding="utf-8")
        project = self.work / "project"
        project.mkdir()
        (project / "setup.py").write_text("from setuptools import setup\nsetup(name='formproject', version='1.0', py_modules=['formproject'])\n", encoding="utf-8")
        (project / "formproject.py").write_text("", encoding="utf-8")
        live = self.live()
        live.do(self.line("p"))
        for command, brings in (("pip install --no-cache-dir --user -r requirements.txt", "formone"),
                                ("pip -v install -U --quiet --no-deps %s" % wheels[1].name, "formtwo"),
                                ("cd project; pip install .", "formproject")):
            with self.subTest(command=command):
                shown = live.do(command + " || echo FAILED; true")
                self.assertNotIn("FAILED", shown)
                self.assertIn(brings, self.written())
        live.do("cd ..; echo formtwo >names.txt; pip uninstall -y -r names.txt; cd project")
        self.assertNotIn("formtwo", self.written())
        shown = live.do("pip install -e . && echo WORKED; true")
        self.assertTrue("WORKED" in shown or len(re.findall("^pydock: error: ", shown, re.M)) == 1, shown)
        live.do("deactivate")

    def test_pip_install_that_fails_is_an_error_and_changes_nothing(self) -> None:
        before = self.written()
        result = self.sh("%s; pip install ./no/such.whl; echo $?; pip install; echo $?; deactivate" % self.line("p"))
        self.assertRegex(result.out, r"\A[12]\n[12]\n\Z", result)
        self.assertEqual(self.written(), before)

    def test_a_started_program_keeps_its_state_and_the_next_one_is_new(self) -> None:
        wheel = make_wheel(self.work, "laterone")
        live = self.live()
        live.do(self.line("p"))
        live.do("python -c 'import time; open(\"ready\", \"w\"); time.sleep(600)' & until [ -e ready ]; do sleep 0.1; done")
        shown = live.do("pip install ./%s" % wheel.name)
        self.assertIn("pydock: warning: ", shown)
        self.assertEqual(live.do("python -c 'import laterone; print(laterone.version)'").splitlines()[-1], "1.0")
        live.do("kill %1; wait %1; true")
        self.assertEqual(live.do("python -c 'import laterone; print(laterone.version)'"), "1.0\n")
        live.do("deactivate")
        self.assertEqual(self.containers(), [])


class Local(ActivateCase):
    """A project's own environment."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.project = SHARED.base / "project é 'x'"
        (cls.project / "sub" / "sub").mkdir(parents=True)
        SHARED.ok("--local", "create", "dev", cwd=cls.project)

    project: Path

    def setUp(self) -> None:
        super().setUp()
        self.work = self.project

    def test_activated_in_the_project_below_and_outside_it(self) -> None:
        code = "import os, socket; print(socket.gethostname(), os.getcwd()); open(\"made\", \"w\").close()"
        outside = Path(tempfile.mkdtemp(dir=str(self.base)))
        for start in (self.project, self.project / "sub"):
            script = "%s; python -c '%s'; cd sub%s; python -c '%s'; cd %s; python -c '%s'; pydock -q history --json | grep -c 'revision.: 1'; deactivate"
            more = "/sub" if start == self.project else ""
            out = self.says(script % (self.line("dev"), code, more, code, shlex.quote(str(outside)), code), cwd=start)
            self.assertEqual(out.splitlines(), ["dev %s" % start, "dev %s/sub/sub" % self.project, "dev %s" % outside, "1"])
            for folder in (start, self.project / "sub" / "sub", outside):
                (folder / "made").unlink()
            self.assertEqual(self.containers(), [])

    def test_a_global_name_is_known_in_a_project_by_its_option(self) -> None:
        self.assertEqual(self.says("%s; python -c '%s'; deactivate" % (self.line("e", "--global"), HOST)), "e\n")

    def test_local_and_global_names_are_told_apart(self) -> None:
        self.ok("--local", "create", "e", cwd=self.project)
        code = "try:\n    import greeter; print(True)\nexcept ImportError: print(False)"
        script = "%s; python -c '%s'; pydock list --json >rows; deactivate; %s; python -c '%s'; deactivate"
        out = self.says(script % (self.line("e", "--local"), code, self.line("e", "--global"), code))
        self.assertEqual(out, "False\nTrue\n")
        rows = json.loads((self.project / "rows").read_text(encoding="utf-8"))
        self.assertEqual({(row["mode"], row["name"]) for row in rows if row["active"]}, {("local", "e")})
        self.ok("--local", "delete", "-y", "e", cwd=self.project)

    def test_pip_install_is_the_projects(self) -> None:
        make_wheel(self.project, "localone")
        result = self.sh("%s; cd sub; pip install ../localone-1.0-py3-none-any.whl; cd /; pip uninstall -y nosuch; pip list; deactivate" % self.line("dev"))
        self.assertIn("localone", (self.project / ".pydock" / "envs" / "dev" / "requirements.txt").read_text(encoding="utf-8"), result)


class Direnv(ActivateCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        if not shutil.which("direnv"):
            raise unittest.SkipTest("there is no direnv on this machine")

    def test_the_line_in_an_envrc(self) -> None:
        (self.work / ".envrc").write_text('eval "$(pydock activate e)"\n', encoding="utf-8")
        code = "import os, socket; print(socket.gethostname(), os.path.basename(os.getcwd()))"
        out = self.sh("direnv allow .; direnv exec . python -c '%s'; direnv exec . sh -c 'echo $PYDOCK_ENV; greet'; true" % code)
        self.assertEqual((out.status, out.out), (0, "e %s\ne\nhello\n" % self.work.name), out)
        self.assertNotIn("pydock: ", out.err)

    def test_a_shell_that_enters_and_leaves_the_folder(self) -> None:
        folder = self.work / "project"
        folder.mkdir()
        (folder / ".envrc").write_text('eval "$(pydock activate e)"\n', encoding="utf-8")
        live = self.live()
        live.do('eval "$(direnv hook bash)"; go() { cd "$1"; _direnv_hook 2>/dev/null; }; direnv allow project 2>/dev/null')
        live.do("env | grep -v -e ^_= -e DIRENV -e ^OLDPWD= | sort >before")
        self.assertEqual(live.do("go project; python -c '%s'; greet" % HOST), "e\nhello\n")
        self.assertTrue(self.runs())
        live.do("go ..; env | grep -v -e ^_= -e DIRENV -e ^OLDPWD= | sort >after; ! command -v greet")
        before, after = ((self.work / name).read_text() for name in ("before", "after"))
        self.assertEqual(before, after)


@one_engine_for_all
@unittest.skipUnless(os.geteuid() == 0, "only root can become other users")
class Users(SharedCase):
    """As an ordinary user."""

    @classmethod
    def prepare(cls, case: Case) -> None:
        case.give_to(1234)
        bin_folder = case.base / "bin"
        bin_folder.mkdir()
        (bin_folder / "pydock").write_text("#!/bin/sh\nexec %s \"$@\"\n" % " ".join(map(shlex.quote, case.program)), encoding="utf-8")
        (bin_folder / "pydock").chmod(0o755)
        case.environ["PATH"] = "%s:%s:/usr/local/bin:/usr/bin:/bin" % (bin_folder, os.path.dirname(shutil.which(ENGINE[-1]) or ""))
        case.ok("create", "e", preexec_fn=as_user(1234, 1234, docker_groups()))

    def setUp(self) -> None:
        super().setUp()
        self.me: Dict[str, Any] = {"preexec_fn": as_user(1234, 1234, docker_groups())}
        shutil.rmtree(str(self.home / ".local"), ignore_errors=True)  # as if nothing had been activated before

    def tearDown(self) -> None:
        for name in self.containers():
            engine("rm", "-f", name, check=False)

    def sh(self, script: str) -> Result:
        done = subprocess.run(["bash", "--norc", "--noprofile", "-c", script], cwd=str(self.work), env=self.environ, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120, **self.me)
        self.assertNotIn("Traceback", done.stderr)
        return Result([script], done.returncode, done.stdout, done.stderr)

    def test_files_belong_to_the_caller(self) -> None:
        result = self.sh('eval "$(pydock activate e)"; python -c \'import os; os.mkdir("folder"); print(os.getuid(), os.getgid())\'; deactivate')
        self.assertEqual((result.status, result.out, result.err), (0, "1234 1234\n", ""), result)
        made = (self.work / "folder").stat()
        self.assertEqual((made.st_uid, made.st_gid), (1234, 1234))
        for path in (self.home / ".local").rglob("*"):
            self.assertEqual(path.stat().st_uid, 1234, path)
        self.assertEqual(self.containers(), [])

    def test_a_read_only_home_is_one_clear_error_and_nothing_half_made(self) -> None:
        for closed in (self.home, self.home / ".local", self.home / ".local" / "share"):
            with self.subTest(closed=str(closed.relative_to(self.base))):
                closed.mkdir(exist_ok=True)
                os.chown(closed, 1234, -1)
                closed.chmod(0o555)
                before = self.snapshot()
                result = self.sh('eval "$(pydock activate e)"; echo "$PATH"')
                self.assertEqual(result.out, self.environ["PATH"] + "\n")
                self.assertEqual(len(re.findall("^pydock: error: ", result.err, re.M)), 1, result)
                self.assertLessEqual(len(result.err.splitlines()), 2, result)
                self.fails("link", "e", "python", **self.me)
                self.assertEqual(self.containers(), [])
                self.assertEqual(self.snapshot(), before)
                self.assertEqual(self.ok("run", "e", "python", "-c", "print(1)", **self.me), "1\n")
                closed.chmod(0o755)

    def test_a_home_that_became_read_only_is_activated_again_or_one_clear_error(self) -> None:
        self.sh('eval "$(pydock activate e)"; deactivate')
        folders = [self.home / ".local" / "share" / "pydock", *(self.home / ".local" / "share" / "pydock").rglob("*")]
        for folder in folders:
            if folder.is_dir():
                folder.chmod(0o555)
        result = self.sh('eval "$(pydock activate e)"; python3 -c \'import socket; print(socket.gethostname())\'')
        if result.out != "e\n":
            self.assertEqual(len(re.findall("^pydock: error: ", result.err, re.M)), 1, result)
            self.assertEqual(result.out, socket.gethostname() + "\n")
            self.assertEqual(self.containers(), [])


class Links(ActivateCase):
    """Single programs on the host's path."""

    def setUp(self) -> None:
        super().setUp()
        self.links = self.home / ".local" / "bin"

    def tidy(self) -> None:
        super().tidy()
        for path in self.linked():
            os.unlink(path)
        shutil.rmtree(str(self.links), ignore_errors=True)

    def linked(self) -> List[str]:
        return [line.split("  ")[0] for line in self.ok("link").splitlines()[1:]]

    def call(self, path: Path, *words: str, status: int = 0, cwd: Any = None, input: bytes = b"") -> str:
        done = subprocess.run([str(path), *words], cwd=str(cwd or self.work), env={"PATH": "/usr/bin:/bin", "HOME": str(self.home)}, input=input,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (status, b""))
        return done.stdout.decode()

    def test_a_program_by_name_and_one_by_path(self) -> None:
        result = self.run_pydock("link", "e", "greet", "/usr/bin/sort")
        self.assertEqual(result.status, 0, result)
        self.assertIn("%s is not on your PATH (hint: export PATH=%s:\"$PATH\")" % (self.links, self.links), result.err)
        self.assertEqual(self.linked(), [str(self.links / "greet"), str(self.links / "sort")])
        self.assertIn("%s to e;" % (self.links / "sort"), result.err)
        self.assertEqual(self.ok("link").splitlines()[1].split()[1:], ["e", "~/.pydock/envs/e"])
        self.assertEqual(self.call(self.links / "greet", "a  b", "é", status=2), "hello a  b é\n")
        self.assertEqual(self.call(self.links / "sort", "-r", input=b"1\n2\n"), "2\n1\n")
        self.assertEqual({os.readlink(str(self.links / name)) for name in ("greet", "sort")}, {str(self.data() / "enter")})
        (self.work / "f").write_text("b\na\n", encoding="utf-8")
        self.assertEqual(self.call(self.links / "sort", "f"), "a\nb\n")
        self.assertEqual(self.call(self.links / "sort", str(self.work / "f"), "-o", "out"), "")
        self.assertEqual((self.work / "out").read_text(), "a\nb\n")
        self.assertEqual(self.containers(), [])
        self.ok("link", "--remove", "greet", "sort")
        self.assertEqual((self.linked(), os.listdir(str(self.links))), ([], []))

    def test_two_of_one_name_are_two_programs(self) -> None:
        self.ok("link", "e", "/opt/venv/bin/python3", "--to", str(self.base / "a"))
        (self.base / "c").mkdir()
        (self.base / "c" / "python3").symlink_to(self.base / "a" / "python3")
        self.ok("link", "e", "/usr/local/bin/python3", "--to", str(self.base / "b"))
        code = "import sys; print(sys.executable)"
        self.assertEqual([self.call(self.base / name / "python3", "-c", code) for name in "abc"], ["/opt/venv/bin/python3\n", "/usr/local/bin/python3\n", "/opt/venv/bin/python3\n"])
        for name in "ab":
            self.ok("link", "--to", str(self.base / name), "--remove", "python3")

    def test_what_is_no_program_is_named_and_without_one_nothing_is_removed(self) -> None:
        self.fails("link", "e", "python", "\udcff", says="'\\udcff' is not a program name")
        self.fails("link", "--remove", status=2, says="no program given")
        self.fails("kernel", "--remove", status=2, says="no environment given")

    def test_a_link_uses_the_container_that_is_there(self) -> None:
        self.ok("link", "e", "python")
        self.ok("start", "e")
        self.assertEqual(self.call(self.links / "python", "-c", HOST), "e\n")
        self.call(self.links / "python", "-c", "open('/tmp/mark', 'w')")
        self.assertEqual(self.call(self.links / "python", "-c", "import os; print(os.path.exists('/tmp/mark'))"), "True\n")
        self.ok("stop", "e")
        self.assertEqual(self.call(self.links / "python", "-c", "import os; print(os.path.exists('/tmp/mark'))"), "False\n")

    def test_a_linked_server_is_reached_and_a_second_program_runs_beside_it(self) -> None:
        port = new_port()
        (self.work / "page").write_text("the page", encoding="utf-8")
        self.ok("link", "-p", "%d:8000" % port, "e", "python")
        argv, environ = [str(self.links / "python"), "-m", "http.server", "8000"], {"PATH": "/usr/bin:/bin", "HOME": str(self.home)}
        process = subprocess.Popen(argv, cwd=str(self.work), env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait_for(lambda: fetched(port) == "the page", 60)
        done = subprocess.run([argv[0], "-c", "print(1)"], cwd=str(self.work), env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.stdout, "1\n", done.stderr)
        self.assertRegex(done.stderr, r"^pydock: warning: port %d is taken on this host, so python runs without it \(hint: pydock run --publish=\d+:8000 e python -c " % port)
        process.terminate()
        self.assertEqual(process.wait(60), 143)
        self.ok("activate", "--shell", "sh", "-p", "%d:8000" % port, "e")
        self.assertEqual(self.call(self.links / "python", "-c", HOST), "e\n", "the container that is there has the port")
        self.assertEqual(self.containers(), [self.warm()])

    def test_to_another_folder(self) -> None:
        folder = self.work / "my bin"
        self.ok("link", "e", "greet", "--to", "my bin")
        self.assertEqual(self.call(folder / "greet"), "hello\n")
        self.assertEqual(self.linked(), [str(folder / "greet")])
        self.assertFalse((self.links / "greet").exists())
        self.ok("link", "e", "greet")
        self.assertEqual(self.linked(), sorted([str(self.links / "greet"), str(folder / "greet")]))
        self.ok("link", "--remove", "greet", "--to", str(folder))
        self.assertEqual(self.linked(), [str(self.links / "greet")])
        self.ok("link", "--remove", "greet")
        self.ok("link", "--to", "~/below", "e", "greet")
        self.assertEqual(self.call(self.home / "below" / "greet"), "hello\n")
        self.ok("link", "--remove", str(self.home / "below" / "greet"))
        self.assertEqual(self.linked(), [])

    def test_linking_again_and_from_another_environment(self) -> None:
        for _ in range(2):
            self.ok("link", "e", "python")
        self.assertEqual(self.linked(), [str(self.links / "python")])
        self.ok("link", "f", "python")
        self.assertEqual(self.linked(), [str(self.links / "python")])
        self.assertEqual(self.call(self.links / "python", "-c", HOST), "f\n")
        self.ok("link", "--remove", "python")

    def test_a_foreign_file_is_never_overwritten_or_removed(self) -> None:
        self.links.mkdir(parents=True)
        target = self.work / "target"
        target.write_text("mine\n", encoding="utf-8")
        (self.links / "file").write_text("mine\n", encoding="utf-8")
        (self.links / "symlink").symlink_to(target)
        (self.links / "dangling").symlink_to("nowhere")
        (self.links / "folder").mkdir()
        (self.links / "script").write_text("#!/bin/sh\nexec something\n", encoding="utf-8")
        (self.links / "fifo").symlink_to("/dev/null")
        for name in os.listdir(str(self.links)):
            with self.subTest(name=name):
                self.fails("link", "e", "/usr/bin/" + name, says=name)
                self.fails("link", "--remove", name, says=name)
        self.fails("link", "e", "greet", "/x/file", says="file")
        self.assertFalse((self.links / "greet").exists())
        self.assertEqual(target.read_text(), "mine\n")
        self.assertEqual((self.links / "file").read_text(), "mine\n")
        self.assertTrue((self.links / "dangling").is_symlink() and (self.links / "folder").is_dir())

    def test_a_symlink_to_a_link_of_pydocks_is_the_users(self) -> None:
        self.ok("link", "e", "greet")
        other = self.work / "greet"
        other.symlink_to(self.links / "greet")
        named = self.work / "named otherwise"
        named.symlink_to("greet")
        for path in (other, named):
            self.assertEqual(self.call(path), "hello\n")
        self.fails("link", "e", "greet", "--to", str(self.work), says="greet")
        self.assertTrue(other.is_symlink())

    def test_an_unknown_program_is_an_error_and_nothing_is_linked(self) -> None:
        for words in (["nosuch"], ["greet", "/usr/bin/nosuch"], ["/etc/passwd"], ["cd"], ["if"], ["-x"], [""], ["/usr/bin/"], ["/usr/bin"]):
            with self.subTest(words=words):
                result = self.run_pydock("link", "e", *words)
                self.assertIn(result.status, (1, 2), result)
                self.assertEqual(len(re.findall("^pydock: error: ", result.err, re.M)), 1, result)
        self.assertEqual(self.linked(), [])
        self.assertEqual(sorted(os.listdir(str(self.links))) if self.links.exists() else [], [])
        self.fails("link", "nosuch", "python", says="nosuch")
        self.fails("link", "e", status=2)
        self.fails("link", "--remove", "nosuch", says="nosuch")

    def test_removing_several_of_which_one_is_unknown_removes_none(self) -> None:
        self.ok("link", "e", "greet")
        self.fails("link", "--remove", "greet", "nosuch", says="nosuch")
        self.assertEqual(self.linked(), [str(self.links / "greet")])

    def test_a_deleted_environment_takes_its_links_along(self) -> None:
        self.create("g")
        self.ok("link", "g", "python", "pip", "python3")
        self.ok("link", "e", "greet")
        (self.links / "pip").unlink()
        (self.links / "pip").write_text("#!/bin/sh\necho mine\n", encoding="utf-8")
        (self.links / "python3").unlink()
        self.assertTrue(self.data("g").exists())
        self.ok("delete", "-y", "g")
        self.assertEqual(sorted(os.listdir(str(self.links))), ["greet", "pip"])
        self.assertEqual((self.links / "pip").read_text(), "#!/bin/sh\necho mine\n")
        self.assertFalse(self.data("g").exists())
        self.assertEqual(self.call(self.links / "greet"), "hello\n")

    def test_a_link_goes_on_after_a_change(self) -> None:
        wheel = make_wheel(self.work, "linkone")
        self.create("g")
        self.ok("link", "g", "python")
        self.ok("install", "g", str(wheel))
        self.assertEqual(self.call(self.links / "python", "-c", "import linkone; print(linkone.version)"), "1.0\n")

    def test_a_projects_program_everywhere(self) -> None:
        project = self.work / "project"
        project.mkdir()
        self.ok("--local", "create", "dev", cwd=project)
        self.ok("link", "dev", "python", "--to", str(self.work / "bin"), cwd=project)
        code = "import os, socket; print(socket.gethostname(), os.getcwd())"
        self.assertEqual(self.call(self.work / "bin" / "python", "-c", code), "dev %s\n" % self.work)
        self.assertEqual(self.call(self.work / "bin" / "python", "-c", code, cwd=project), "dev %s\n" % project)
        self.assertIn(str(self.work / "bin" / "python"), self.linked())
        self.ok("--local", "delete", "-y", "dev", cwd=project)
        self.assertEqual(self.linked(), [])


if __name__ == "__main__":
    unittest.main()
