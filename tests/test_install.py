"""install/linux.sh: what it promises, on a small stand-in for pydock.py (and once on the real one).

Every test works in a folder of its own, with a PATH that holds this Python and the few tools that
the script may use. Neither /usr/local nor anyone's home is touched, and no engine is needed.
"""
from __future__ import annotations

import contextlib
import functools
import http.server
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import unittest
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
SCRIPT = REPOSITORY / "install" / "linux.sh"
TOOLS = "cat chmod curl dirname env grep head id mkdir mktemp mv readlink rm wget".split()
SHELLS = [s for s in ("sh", "bash", "dash", "ksh", "mksh", "yash") if shutil.which(s)]

SOURCE = '''\
#!/usr/bin/env python3
"""A stand-in for pydock, which keeps its environments in "~/.pydock"."""
import argparse, json, sys
__version__ = "0.1.0"
{extra}
def main(argv=None):
    if (argv or sys.argv[1:]) == ["--version"]:
        print("pydock", __version__)
    return 0

if __name__ == "__main__":
    sys.exit(main())
'''


def source(version: str = "0.1.0", extra: str = "") -> str:
    return SOURCE.format(extra=extra).replace("0.1.0", version)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; of a path with /cut/ in it, only one half arrives."""

    def log_message(self, *args: object) -> None:
        pass

    def copyfile(self, source, outputfile) -> None:  # type: ignore[no-untyped-def]
        data = source.read()
        outputfile.write(data[: len(data) // 2] if "/cut/" in self.path else data)


class Case(unittest.TestCase):
    def setUp(self) -> None:
        self.tmp = Path(os.path.realpath(tempfile.mkdtemp(prefix="pydock-install-")))
        self.addCleanup(shutil.rmtree, str(self.tmp))
        self.checkout = self.tmp / "checkout"
        (self.checkout / "install").mkdir(parents=True)
        self.script = self.checkout / "install" / "linux.sh"
        shutil.copy(str(SCRIPT), str(self.script))
        (self.checkout / "pydock.py").write_text(source())
        self.prefix = self.tmp / "pre fix"
        self.pydock = self.prefix / "bin" / "pydock"
        self.tools = self.tmp / "tools"
        self.tools.mkdir()
        for tool in TOOLS + SHELLS:
            found = shutil.which(tool)
            if found:
                (self.tools / tool).symlink_to(found)
        self.python = self.program("tools/python3", 'exec "%s" "$@"' % sys.executable)
        self.environ = {"PATH": str(self.tools), "HOME": str(self.tmp / "home"), "TMPDIR": str(self.tmp)}
        self.cwd = self.tmp / "cwd"
        self.cwd.mkdir()

    def program(self, path: str, script: str) -> Path:
        file = self.tmp / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("#!/bin/sh\n%s\n" % script)
        file.chmod(0o755)
        return file

    def run_script(self, *arguments: object, expect: int = 0, shell: str = "sh", piped: bool = False) -> str:
        """Standard error, after checking the exit status and that nothing was said on standard output."""
        command = [shutil.which(shell) or shell]
        command += ["-s", "--"] if piped else [str(self.script)]
        with open(str(self.script), "rb") as script:
            done = subprocess.run(
                command + [str(a) for a in arguments], stdin=script if piped else subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
                env=self.environ, cwd=str(self.cwd), timeout=120)
        self.assertEqual((done.returncode, done.stdout), (expect, ""), done.stderr)
        return done.stderr

    def install(self, *arguments: object, expect: int = 0, shell: str = "sh", piped: bool = False) -> str:
        return self.run_script("--prefix", self.prefix, *arguments, expect=expect, shell=shell, piped=piped)

    def output(self, *command: object, cwd: Path | None = None) -> str:
        return subprocess.run(
            [str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            universal_newlines=True, check=True, env=self.environ, cwd=str(cwd or self.cwd)).stdout

    def assert_only_pydock(self) -> None:
        self.assertEqual(os.listdir(str(self.pydock.parent)), ["pydock"])

    def interpreter(self) -> str:
        """The Python in the installed file's first line."""
        with open(str(self.pydock), "rb") as file:
            first = file.readline()
        match = re.match(rb"#!(/\S+) -IS\n$", first)
        assert match, first
        self.assertLessEqual(len(first) - 1, 127)
        return os.fsdecode(match.group(1))

    @contextlib.contextmanager
    def server(self):  # type: ignore[no-untyped-def]
        """A mirror: serves self.tmp/mirror; sets PYDOCK_URL."""
        mirror = self.tmp / "mirror"
        for folder, text in (("main", source("0.3.0")), ("v0.2.0", source("0.2.0"))):
            for base in (mirror, mirror / "cut"):
                (base / folder).mkdir(parents=True)
                (base / folder / "pydock.py").write_text(text)
        handler = functools.partial(Quiet, directory=str(mirror))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
            threading.Thread(target=httpd.serve_forever, daemon=True).start()
            self.environ["PYDOCK_URL"] = "http://127.0.0.1:%d" % httpd.server_address[1]
            try:
                yield mirror
            finally:
                httpd.shutdown()


class FromCheckout(Case):
    def test_the_installed_file_runs_anywhere_and_says_so(self) -> None:
        said = self.install()
        self.assertRegex(said.splitlines()[-1], r"^installed pydock 0\.1\.0 in %s \(Python 3\.\d+\.\d+\); "
                         r"next: pydock create NAME$" % re.escape(str(self.pydock)))
        for name in ("json.py", "argparse.py", "pydock.py", "zipfile.py"):  # a hostile current folder
            (self.cwd / name).write_text("raise SystemExit('hijacked')\n")
        self.environ["PYTHONPATH"] = str(self.cwd)
        self.assertEqual(self.output(self.pydock, "--version"), "pydock 0.1.0\n")
        self.assertIn("installed", self.install())  # and the installer is not hijacked either
        self.assert_only_pydock()

    def test_every_shell_will_do(self) -> None:
        for shell in SHELLS:
            with self.subTest(shell=shell):
                self.install(shell=shell)
                self.assertEqual(self.output(self.pydock, "--version"), "pydock 0.1.0\n")
                self.pydock.unlink()

    def test_the_source_stays_readable(self) -> None:
        self.install()
        with zipfile.ZipFile(str(self.pydock)) as archive:
            self.assertIsNone(archive.testzip())
            self.assertEqual(archive.namelist(), ["__main__.py", "pydock.py", "pydock.pyc"])
            self.assertEqual({i.compress_type for i in archive.infolist()}, {zipfile.ZIP_STORED})
            self.assertEqual(archive.read("pydock.py").decode(), source())

    def test_the_compiled_module_is_used_in_any_time_zone(self) -> None:
        self.install()
        # The proof: it runs as before when the source beside the .pyc is another one.
        data = self.pydock.read_bytes()
        changed = self.pydock.with_name("changed")
        changed.write_bytes(data.replace(b'__version__ = "0.1.0"', b'__version__ = "9.9.9"'))
        self.assertNotEqual(changed.read_bytes(), data)
        for zone in ("UTC", "Asia/Kolkata", "America/St_Johns", "XYZ-13:37"):
            self.environ["TZ"] = zone
            self.assertEqual(self.output(self.interpreter(), "-IS", changed, "--version"), "pydock 0.1.0\n")

    def test_another_python_falls_back_to_the_source(self) -> None:
        self.install()
        data = bytearray(self.pydock.read_bytes())
        with zipfile.ZipFile(str(self.pydock)) as archive:
            at = data.index(archive.read("pydock.pyc"))
        data[at:at + 2] = b"\0\0"  # no Python's magic number
        other = self.pydock.with_name("other")
        other.write_bytes(bytes(data))
        self.assertEqual(self.output(self.interpreter(), "-IS", other, "--version"), "pydock 0.1.0\n")

    def test_the_mode_does_not_depend_on_the_umask(self) -> None:
        old = os.umask(0o077)
        try:
            self.install()
        finally:
            os.umask(old)
        for path in (self.pydock, self.pydock.parent, self.prefix):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o755, path)

    def test_without_root_it_goes_to_the_home_folder(self) -> None:
        (self.tools / "id").unlink()
        self.program("tools/id", "echo 1000")
        said = self.run_script()
        dest = self.tmp / "home" / ".local" / "bin"
        self.assertIn("note: %s is not on your PATH\n" % dest, said)
        self.assertEqual(self.output(dest / "pydock", "--version"), "pydock 0.1.0\n")
        self.environ["PATH"] += ":%s" % dest
        self.assertNotIn("note: %s" % dest, self.run_script())
        self.program("tools/pydock", "exit 1")
        self.assertIn("on your PATH, pydock is %s" % (self.tools / "pydock"), self.run_script())
        del self.environ["HOME"]
        self.assertIn("--prefix", self.run_script(expect=1))

    def test_home_is_not_needed_with_a_prefix(self) -> None:
        del self.environ["HOME"]
        self.install()
        self.assertEqual(self.output(self.pydock, "--version"), "pydock 0.1.0\n")

    def test_a_relative_prefix(self) -> None:
        said = self.run_script("--prefix=here")
        self.assertIn("in %s " % (self.cwd / "here" / "bin" / "pydock"), said)

    def test_the_real_pydock(self) -> None:
        shutil.copy(str(REPOSITORY / "pydock.py"), str(self.checkout / "pydock.py"))
        self.install()
        self.assertRegex(self.output(self.pydock, "--version"), r"^pydock \d")
        self.assertIn("create", self.output(self.pydock, "--help"))
        # A plain copy, as `cp` would make, is known for pydock too.
        shutil.copy(str(REPOSITORY / "pydock.py"), str(self.pydock))
        self.install()
        self.assert_only_pydock()


class Piped(Case):
    def test_it_downloads_and_obeys_options(self) -> None:
        with self.server():
            for shell in SHELLS:
                with self.subTest(shell=shell):
                    self.assertIn("installed pydock 0.3.0", self.install(shell=shell, piped=True))
            self.assertIn("installed pydock 0.2.0", self.install("--version", "0.2.0", piped=True))
            self.assertIn("installed pydock 0.2.0", self.install("--version=v0.2.0"))  # not the checkout's
            self.assertIn("installed pydock 0.1.0", self.install())
            self.assertIn("/v7/pydock.py", self.install("--version", "7", expect=1, piped=True))
        self.assertEqual(self.output(self.pydock, "--version"), "pydock 0.1.0\n")
        self.assert_only_pydock()

    @unittest.skipUnless(shutil.which("curl"), "only curl reads file://")
    def test_a_mirror_may_be_a_folder(self) -> None:
        with self.server() as mirror:
            self.environ["PYDOCK_URL"] = "file://%s/" % mirror
            self.assertIn("installed pydock 0.3.0", self.install(piped=True))

    @unittest.skipUnless(shutil.which("wget"), "no wget here")
    def test_wget_will_do(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self.tools / "curl").unlink()
        with self.server():
            self.assertIn("installed pydock 0.3.0", self.install(piped=True))
            self.environ["PYDOCK_URL"] += "/cut"
            self.install(expect=1, piped=True)
        (self.tools / "wget").unlink()
        self.assertIn("needs curl or wget", self.install(expect=1, piped=True))
        self.assert_only_pydock()

    def test_a_script_that_was_cut_short_runs_nothing(self) -> None:
        whole = SCRIPT.read_bytes().rstrip(b"\n")
        for end in [*range(0, len(whole), 397), *range(len(whole) - 22, len(whole))]:
            self.script.write_bytes(whole[:end])
            subprocess.run(
                ["sh", "-s", "--", "--prefix", str(self.prefix)], input=whole[:end], env=self.environ,
                cwd=str(self.checkout), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
            self.assertFalse(self.prefix.exists(), end)


class Broken(Case):
    """Whatever fails: the older pydock stays as it was, and nothing is left beside it."""

    def setUp(self) -> None:
        super().setUp()
        self.install()
        self.before = self.pydock.read_bytes()

    def tearDown(self) -> None:
        self.assertEqual(self.pydock.read_bytes(), self.before)
        self.assert_only_pydock()

    def test_a_download_that_breaks_off(self) -> None:
        with self.server():
            self.environ["PYDOCK_URL"] += "/cut"
            self.assertIn("could not download http://", self.install(piped=True, expect=1))

    def test_no_such_address(self) -> None:
        with self.server():
            self.environ["PYDOCK_URL"] += "/nowhere"
            self.assertIn("/nowhere/main/pydock.py", self.install(piped=True, expect=1))

    def test_sources_that_are_not_whole(self) -> None:
        text = source()
        for broken in ("", "<html>Log in to this network</html>", text[: text.index("return 0") - 20],
                       text[: text.index("if __name__")], text.replace('"pydock",', '"docking",'),
                       text.replace("import json", "import nosuchmodule, json").replace("import argparse", "import nosuch"),
                       text.replace("sys.argv[1:]", "1 / 0"), "\0" + text):
            (self.checkout / "pydock.py").write_text(broken)
            self.assertIn("not installed", self.install(expect=1))

    def test_a_full_disk(self) -> None:
        (self.checkout / "pydock.py").write_text(source(extra="# much\n" * 30000))
        full = self.program("full", 'ulimit -f 64\nexec sh "$@"')  # no file above 32 or 64 KiB
        self.assertNotIn("Traceback", self.install(expect=1, shell=str(full)))

    def test_no_python(self) -> None:
        self.python.unlink()
        self.assertIn("error: no Python 3.8+ on PATH", self.install(expect=1))

    def test_an_interrupted_download(self) -> None:
        for tool in ("curl", "wget"):
            with contextlib.suppress(FileNotFoundError):
                (self.tools / tool).unlink()
        self.program("tools/curl", 'kill -TERM "$PPID"; sleep 0.2')
        self.environ["PYDOCK_URL"] = "http://127.0.0.1:9"
        self.install(piped=True, expect=143)


class Pythons(Case):
    def test_the_first_line_names_the_real_interpreter(self) -> None:
        self.install()  # python3 on this PATH is a wrapper, as pyenv's are
        python = self.interpreter()
        self.assertNotEqual(python, str(self.python))
        self.assertTrue(os.path.samefile(python, sys.executable))

    def test_any_name_will_do(self) -> None:
        for name in ("python", "python3.9"):
            self.python.rename(self.tools / name)
            self.python = self.tools / name
            self.assertIn("installed", self.install())

    def test_what_is_no_python_3_8_is_passed_over(self) -> None:
        self.python.rename(self.tools / "python")
        self.program("tools/python3", "echo hello")
        self.program("tools/python3.12", "echo Python 2.7; exit 2")
        (self.tools / "python3.11").mkdir()
        self.assertIn("installed", self.install())
        self.assertTrue(os.path.samefile(self.interpreter(), sys.executable))

    def test_a_path_that_no_first_line_can_hold_is_passed_over(self) -> None:
        (self.tools / "python").symlink_to(os.path.realpath(sys.executable))
        for folder in ("with space", "x" * 120):
            named = self.tmp / folder / "python3"
            named.parent.mkdir()
            named.symlink_to(os.path.realpath(sys.executable))
            self.program("tools/python3", 'exec "%s" "$@"' % named)
            self.environ["PATH"] = "%s:%s" % (named.parent, self.tools)
            self.assertIn("installed", self.install())
            self.assertNotIn(folder, self.interpreter())
        (self.tools / "python").unlink()
        self.assertIn("no Python", self.install(expect=1))

    def test_a_virtual_environment_is_the_last_choice(self) -> None:
        venv = self.tmp / "venv"
        self.output(sys.executable, "-m", "venv", "--without-pip", venv)
        self.environ["PATH"] = "%s/bin:%s" % (venv, self.tools)
        self.python.unlink()
        self.assertIn("note: %s/bin/python" % venv, self.install())
        self.assertIn(str(venv), self.interpreter())
        if sys.prefix == sys.base_prefix:
            (self.tools / "python").symlink_to(os.path.realpath(sys.executable))
            self.install()
            if os.geteuid() != 0:  # root's other wish: that others can reach it too
                self.assertNotIn(str(venv), self.interpreter())


class InTheWay(Case):
    def put(self, text: str) -> None:
        self.pydock.parent.mkdir(parents=True, exist_ok=True)
        self.pydock.write_text(text)
        self.pydock.chmod(0o755)

    def test_another_program_is_neither_run_nor_touched(self) -> None:
        for text in ("#!/bin/sh\necho pydock 0.1.0; touch '%s/ran'\n" % self.tmp, "",
                     "#!/usr/bin/env python3\n'''pyDock, protein docking'''\n", "\x7fELF\0\n\n"):
            self.put(text)
            for arguments in ([], ["--uninstall"]):
                said = self.install(*arguments, expect=1)
                self.assertEqual(said, "pydock: error: %s is another program, not this pydock: left as it is\n"
                                 % self.pydock)
            self.assertEqual(self.pydock.read_text(), text)
            self.assert_only_pydock()
        self.assertFalse((self.tmp / "ran").exists())

    def test_a_folder_or_a_link_to_a_stranger_stays(self) -> None:
        self.pydock.mkdir(parents=True)
        self.install(expect=1)
        self.pydock.rmdir()
        for target in (self.program("opt/other", "exit 0"), self.tmp / "opt", self.tmp / "gone"):
            self.pydock.symlink_to(target)
            self.install(expect=1)
            self.assertEqual(os.readlink(str(self.pydock)), str(target))
            self.pydock.unlink()

    def test_an_older_plain_script_is_replaced(self) -> None:
        self.put(source("0.0.1"))
        self.assertIn("installed pydock 0.1.0", self.install())

    def test_a_link_to_a_checkout_is_replaced_and_not_followed(self) -> None:
        for target in (self.checkout / "pydock.py", self.tmp / "gone" / "pydock.py"):
            self.pydock.parent.mkdir(parents=True, exist_ok=True)
            self.pydock.symlink_to(target)
            self.install()
            self.assertFalse(self.pydock.is_symlink())
            self.assertEqual((self.checkout / "pydock.py").read_text(), source())
            self.pydock.unlink()
            self.pydock.symlink_to(target)
            self.install("--uninstall")
            self.assertFalse(os.path.lexists(str(self.pydock)))
        self.assertTrue((self.checkout / "pydock.py").exists())


class Options(Case):
    def test_uninstall_removes_the_program_and_nothing_else(self) -> None:
        kept = self.tmp / "home" / ".pydock" / "envs"
        kept.mkdir(parents=True)
        self.install()
        self.python.unlink()  # it needs no Python
        self.assertRegex(self.install("--uninstall", piped=True), r"removed %s; .*~/\.pydock.* stay\n$"
                         % re.escape(str(self.pydock)))
        self.assertEqual(os.listdir(str(self.pydock.parent)), [])
        self.assertTrue(kept.exists())
        self.assertIn("there is no", self.install("--uninstall"))

    def test_wrong_options_are_one_line_and_exit_2(self) -> None:
        for arguments in (["--frobnicate"], ["extra"], ["--prefix"], ["--prefix="], ["--version"],
                          ["--version", "../main"], ["--version", "--uninstall"]):
            said = self.run_script(*arguments, expect=2)
            self.assertRegex(said, r"^pydock: error: [^\n]+\n$")

    def test_help(self) -> None:
        said = self.output("sh", self.script, "--help")
        for option in ("--prefix", "--version", "--uninstall", "PYDOCK_URL"):
            self.assertIn(option, said)

    @unittest.skipUnless(shutil.which("shellcheck"), "no shellcheck here")
    def test_shellcheck(self) -> None:
        subprocess.run(["shellcheck", str(SCRIPT)], check=True)


if __name__ == "__main__":
    unittest.main()
