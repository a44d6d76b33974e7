"""install/linux.sh, on a small stand-in for pydock.py (and once on the real one), and how pydock.py starts, wherever it lies.

Every test works in a folder of its own, with a PATH that holds a Python and the few tools that
the script may use; root becomes an ordinary user for it, but in AsRoot. Neither /usr/local nor
anyone's home is touched, and no engine is needed.
"""
from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import itertools
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

from support import as_user

REPOSITORY = Path(__file__).resolve().parent.parent
SCRIPT = REPOSITORY / "install" / "linux.sh"
TOOLS = "cat chmod curl env grep head mkdir mktemp mv readlink rm sha256sum tr wget".split()
SHELLS = [s for s in ("sh", "bash", "dash", "busybox", "ksh", "mksh", "yash", "zsh") if shutil.which(s)]
ROOT = os.geteuid() == 0
UID = 54321  # whom root becomes; nobody needs to know that user


def runs(python: str) -> bool:
    try:
        return subprocess.run([python, "-IS", "-c", "import sys; sys.exit(sys.version_info < (3, 9))"], cwd="/",
                              preexec_fn=as_user(UID, UID, []) if ROOT else None).returncode == 0
    except OSError:
        return False


PYTHON = next(filter(runs, (os.path.realpath(sys.executable), "/usr/local/bin/python3", "/usr/bin/python3")), sys.executable)

TEXT = (REPOSITORY / "pydock.py").read_text(encoding="utf-8")
VERSION = next(line for line in TEXT.splitlines() if line.startswith("__version__ = ")).split('"')[1]
SOURCE = TEXT[: TEXT.index("\npydock: named")] + '''
A stand-in for pydock, which keeps its environments in "~/.pydock".
https://github.com/apiad/pydock
"""
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
    return SOURCE.replace("{extra}", extra).replace("0.1.0", version)


SUM = hashlib.sha256(source("0.2.0").encode()).hexdigest()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; of a path with /cut/ in it, only one half arrives."""

    def log_message(self, *args: object) -> None:
        pass

    def copyfile(self, source, outputfile) -> None:  # type: ignore[no-untyped-def]
        data = source.read()
        outputfile.write(data[: len(data) // 2] if "/cut/" in self.path else data)


def command(shell: str) -> list[str]:
    found = shutil.which(shell) or shell
    return [found, "sh"] if shell == "busybox" else [found]


class Case(unittest.TestCase):
    as_root = False

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
        self.python = self.program("tools/python3", 'exec "%s" "$@"' % PYTHON)
        self.environ = {"PATH": str(self.tools), "HOME": str(self.tmp / "home"), "TMPDIR": str(self.tmp)}
        self.cwd = self.tmp / "cwd"
        self.cwd.mkdir()

    def become(self):  # type: ignore[no-untyped-def]
        """For preexec_fn: the ordinary user that root becomes, after all in self.tmp is handed to that one."""
        if not ROOT or self.as_root:
            return None
        subprocess.run(["chown", "-Rh", "%d:%d" % (UID, UID), str(self.tmp)], check=True)
        return as_user(UID, UID, [])

    def program(self, path: str, script: str) -> Path:
        file = self.tmp / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)  # it may be a link to this machine's own
        file.write_text("#!/bin/sh\n%s\n" % script)
        file.chmod(0o755)
        return file

    def run_script(self, *arguments: object, expect: int = 0, shell: str = "sh", piped: bool = False) -> str:
        """Standard error, after checking the exit status and that nothing was said on standard output."""
        argv = command(shell)
        argv += ["-s", "--"] if piped else [str(self.script)]
        with open(str(self.script), "rb") as script:
            done = subprocess.run(
                argv + [str(a) for a in arguments], stdin=script if piped else subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, preexec_fn=self.become(),
                env=self.environ, cwd=str(self.cwd), timeout=120)
        self.assertEqual((done.returncode, done.stdout), (expect, ""), done.stderr)
        return done.stderr

    def install(self, *arguments: object, expect: int = 0, shell: str = "sh", piped: bool = False) -> str:
        return self.run_script("--prefix", self.prefix, *arguments, expect=expect, shell=shell, piped=piped)

    def output(self, *command: object, cwd: Path | None = None) -> str:
        return subprocess.run(
            [str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            universal_newlines=True, check=True, env=self.environ, cwd=str(cwd or self.cwd), preexec_fn=self.become()).stdout

    def assert_only_pydock(self) -> None:
        self.assertEqual(os.listdir(str(self.pydock.parent)), ["pydock"])

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
        self.assertRegex(said.splitlines()[-1], r"^installed pydock 0\.1\.0 in %s; "
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

    def test_the_installed_file_is_the_source(self) -> None:
        self.install()
        self.assertEqual(self.pydock.read_text(), source())
        self.assertFalse((self.tmp / "home").exists())  # and trying it has left no byte code

    def test_the_mode_does_not_depend_on_the_umask(self) -> None:
        old = os.umask(0o077)
        try:
            self.install()
        finally:
            os.umask(old)
        for path in (self.pydock, self.pydock.parent, self.prefix):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o755, path)

    def test_without_root_it_goes_to_the_home_folder(self) -> None:
        said = self.run_script()
        dest = self.tmp / "home" / ".local" / "bin"
        self.assertIn("note: %s is not on your PATH\n" % dest, said)
        line = said.split("in ~/.profile for all: ")[1].splitlines()[0]
        self.assertEqual(self.output("sh", "-c", line + "; command -v pydock"), "%s/pydock\n" % dest)
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
        self.assertIn("in %s;" % (self.cwd / "here" / "bin" / "pydock"), said)

    def test_the_real_pydock(self) -> None:
        shutil.copy(str(REPOSITORY / "pydock.py"), str(self.checkout / "pydock.py"))
        self.install()
        self.assertRegex(self.output(self.pydock, "--version"), r"^pydock \d")
        self.assertIn("create", self.output(self.pydock, "--help"))
        self.pydock.unlink()
        self.pydock.symlink_to(self.checkout / "pydock.py")  # as `make dev` does
        self.install()
        self.assertFalse(self.pydock.is_symlink())
        self.assert_only_pydock()


class Piped(Case):
    def test_it_downloads_and_obeys_options(self) -> None:
        with self.server():
            for shell in SHELLS:
                with self.subTest(shell=shell):
                    self.assertIn("installed pydock 0.3.0", self.install(shell=shell, piped=True))
            self.assertIn("installed pydock 0.2.0", self.install("--version", "0.2.0", "--sha256", SUM, piped=True))
            self.assertIn("installed pydock 0.2.0", self.install("--version=v0.2.0", "--sha256=" + SUM.upper()))  # not the checkout's
            self.assertIn("installed pydock 0.1.0", self.install())
            self.assertIn("/v7/pydock.py", self.install("--version", "7", "--sha256", SUM, expect=1, piped=True))
        self.assertEqual(self.output(self.pydock, "--version"), "pydock 0.1.0\n")
        self.assert_only_pydock()

    def test_a_version_is_installed_only_with_its_checksum(self) -> None:
        with self.server() as mirror:
            self.assertIn("error: unknown checksum of version 0.2.0: add --sha256 SUM", self.install("--version", "0.2.0", expect=1, piped=True))
            self.assertFalse(self.prefix.exists())
            text = SCRIPT.read_text()
            table = text.replace("sums='\n'", "sums='\n0.1.9 %s\n0.2.0 %s\n'" % ("0" * 64, SUM))
            self.assertNotEqual(table, text)
            self.script.write_text(table)
            for shell in SHELLS:
                self.assertIn("installed pydock 0.2.0", self.install("--version", "0.2.0", shell=shell, piped=True))
            self.install("--version", "0.2", expect=1)
            before = self.pydock.read_bytes()
            self.assertIn("its SHA-256 is", self.install("--version", "0.2.0", "--sha256", "1" * 64, expect=1))
            (mirror / "v0.2.0" / "pydock.py").write_text(source("0.2.0", 'open("%s/ran", "w")' % self.tmp))
            for arguments in (["--version=0.2.0"], ["--version=0.2.0", "--sha256=" + SUM]):
                self.assertIn("its SHA-256 is", self.install(*arguments, expect=1))
            self.assertIn("its SHA-256 is", self.install("--sha256", SUM, expect=1, piped=True))  # the newest is another
            self.assertIn("its SHA-256 is", self.install("--sha256", SUM, expect=1))  # and so is the checkout's
            self.assertEqual(self.pydock.read_bytes(), before)
            self.assertFalse((self.tmp / "ran").exists())

    def test_only_https_but_on_this_machine(self) -> None:
        with self.server():
            port = self.environ["PYDOCK_URL"].rpartition(":")[2]
            for url in ("http://localhost:" + port, "http://127.0.0.1:%s@localhost:%s" % (port, port), "http://127.0.0.1.example.com",
                        "http://user@127.0.0.1:" + port, "http://example.com", "ftp://127.0.0.1:" + port, "HTTP://127.0.0.1:" + port,
                        "file:pydock", "127.0.0.1:" + port, "--version", "http://127.0.0.1:%s?x" % port):
                self.environ["PYDOCK_URL"] = url
                self.assertIn(" is refused: only https://, file://", self.install(expect=1, piped=True))
            self.environ.update(PYDOCK_URL="http://127.0.0.1:" + port, http_proxy="http://127.0.0.1:9", NO_PROXY="")
            self.assertIn("installed", self.install(piped=True))

    def test_a_redirect_goes_nowhere_but_to_https(self) -> None:
        class Redirect(Quiet):
            def do_GET(self) -> None:
                if "there" in self.path:
                    return super().do_GET()
                self.send_response(302)
                self.send_header("Location", "/there" + self.path)
                self.end_headers()

        there = self.tmp / "there" / "main"
        there.mkdir(parents=True)
        (there / "pydock.py").write_text(source("0.3.0"))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Redirect, directory=str(self.tmp))) as httpd:
            threading.Thread(target=httpd.serve_forever, daemon=True).start()
            self.addCleanup(httpd.shutdown)
            self.environ["PYDOCK_URL"] = "http://127.0.0.1:%d" % httpd.server_address[1]
            for tool in filter(shutil.which, ("curl", "wget")):
                self.assertIn("could not download", self.install(expect=1, piped=True))
                (self.tools / tool).unlink()
            httpd.shutdown()

    def test_a_program_that_checks_no_certificates_downloads_nothing(self) -> None:
        for tool in ("curl", "wget"):
            with contextlib.suppress(FileNotFoundError):
                (self.tools / tool).unlink()
        self.program("tools/wget", 'case $1 in --version) echo "wget: unrecognized option" >&2; exit 1 ;; esac; touch "%s/ran"' % self.tmp)
        with self.server():
            self.assertIn("needs curl or GNU wget", self.install(expect=1, piped=True))
        self.assertFalse((self.tmp / "ran").exists())

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
        self.assertIn("needs curl or GNU wget", self.install(expect=1, piped=True))
        self.assert_only_pydock()

    def test_a_script_that_was_cut_short_runs_nothing(self) -> None:
        whole = SCRIPT.read_bytes().rstrip(b"\n")
        for end in [*range(0, len(whole), 397), *range(len(whole) - 22, len(whole))]:
            self.script.write_bytes(whole[:end])
            subprocess.run(
                ["sh", "-s", "--", "--prefix", str(self.prefix)], input=whole[:end], env=self.environ,
                preexec_fn=self.become(), cwd=str(self.checkout), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
            self.assertFalse(self.prefix.exists(), end)


class InAHostileFolder(Case):
    """A checkout counts only where its linux.sh was started by its path: nothing else that lies in the current folder."""

    def setUp(self) -> None:
        super().setUp()
        self.ran = self.tmp / "ran"
        self.cwd = self.tmp / "evil" / "install"
        self.cwd.mkdir(parents=True)
        (self.cwd.parent / "pydock.py").write_text(source("6.6.6", 'open("%s", "w")' % self.ran))
        for name in [*SHELLS, "-bash", "-sh", "linux.sh", "main", "self"]:
            shutil.copy(str(SCRIPT), str(self.cwd / name))

    def check(self, version: str, argv: list[str], piped: bool = False) -> None:
        with open(str(self.script), "rb") as script, self.subTest(argv=[a[:60] for a in argv], piped=piped):
            if self.pydock.exists():
                self.pydock.unlink()
            done = subprocess.run(
                argv, stdin=script if piped else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                universal_newlines=True, env=self.environ, cwd=str(self.cwd), timeout=120, preexec_fn=self.become())
            self.assertIn("installed pydock %s in %s;" % (version, self.pydock), done.stdout)
            self.assertFalse(self.ran.exists())

    def test_by_a_pipe_nothing_there_is_taken(self) -> None:
        text, prefix = SCRIPT.read_text(), str(self.prefix)
        with self.server():
            for shell in SHELLS:
                sh = command(shell)
                for folder in (self.cwd, self.cwd.parent):
                    self.cwd = folder
                    self.check("0.3.0", [*sh, "-s", "--", "--prefix", prefix], piped=True)
                    # $0 is whatever follows
                    for name in (shell, "linux.sh", "./linux.sh", "install/linux.sh", str(self.tmp / "evil" / "install" / "linux.sh")):
                        self.check("0.3.0", [*sh, "-c", text, name, "--prefix", prefix])
                self.cwd = self.tmp / "evil" / "install"
                self.environ["HOME"] = prefix  # no options: ~/.local
                self.pydock, kept = self.prefix / ".local" / "bin" / "pydock", self.pydock
                if not self.as_root:
                    self.check("0.3.0", sh, piped=True)
                self.pydock = kept

    @unittest.skipUnless(shutil.which("bash"), "no bash here")
    def test_a_shell_of_another_name(self) -> None:
        with self.server():
            for name in ("-bash", "./bash", "install/linux.sh", "linux.sh"):
                self.check("0.3.0", ["bash", "-c", 'exec -a "$1" "$2" -s -- --prefix "$3"', "-", name, shutil.which("bash") or "", str(self.prefix)],
                           piped=True)

    def test_sourced_by_a_script_of_another_name(self) -> None:
        self.program("evil/install/other.sh", '. "%s"' % self.script)
        with self.server():
            for shell in SHELLS:  # zsh alone says in $0 which file is sourced
                self.check("0.1.0" if shell == "zsh" else "0.3.0", [*command(shell), str(self.cwd / "other.sh"), "--prefix", str(self.prefix)])

    def test_started_by_its_path_it_takes_its_own_checkout(self) -> None:
        prefix = ["--prefix", str(self.prefix)]
        self.script.chmod(0o755)
        for shell in SHELLS:
            sh = command(shell)
            self.check("0.1.0", [*sh, str(self.script), *prefix])
        self.check("0.1.0", [str(self.script), *prefix])
        self.cwd = self.checkout
        for shell in SHELLS:
            for path in ("install/linux.sh", "./install/linux.sh", "install/../install/linux.sh"):
                self.check("0.1.0", [*command(shell), path, *prefix])
        self.check("0.1.0", ["./install/linux.sh", *prefix])
        self.cwd = self.checkout / "install"
        self.environ["CDPATH"] = str(self.tmp / "evil")
        for shell in SHELLS:
            self.check("0.1.0", [*command(shell), "linux.sh", *prefix])
        self.check("0.1.0", ["./linux.sh", *prefix])


@unittest.skipUnless(ROOT, "only root can be attacked as root")
class InAHostileFolderAsRoot(InAHostileFolder):
    as_root = True


@unittest.skipUnless(ROOT, "only root can be attacked as root")
class AsRoot(Case):
    """Root's programs are the system's, whoever may write to the folders of PATH."""
    as_root = True

    def setUp(self) -> None:
        super().setUp()
        self.tmp.chmod(0o755)
        self.ran = self.tmp / "ran"
        self.mark = 'echo "$0" >>"%s"' % self.ran
        if not any(map(os.path.exists, ("/usr/bin/python3", "/usr/local/bin/python3"))):
            self.skipTest("no Python in a system folder")

    def evil(self, path: str, then: str = "exit 1") -> Path:
        return self.program(path, "%s\n%s" % (self.mark, then))

    def test_no_program_of_path_is_run(self) -> None:
        for name in ["python3", "python", "python3.%d" % sys.version_info[1], "id", "ls", "uname", "stat", *TOOLS]:
            with contextlib.suppress(FileNotFoundError):
                (self.tools / name).unlink()
            self.evil("tools/" + name)
            self.evil("cwd/" + name)
        paths = (str(self.tools), "%s:/usr/bin:/bin" % self.tools, ".:/usr/bin:/bin", ":/usr/bin")
        with self.server():
            for shell, path, (owner, mode) in zip(SHELLS * 4, itertools.cycle(paths), itertools.cycle(((0, 0o755), (UID, 0o755), (0, 0o777)))):
                os.chown(str(self.tools), owner, owner)
                self.tools.chmod(mode)
                self.environ["PATH"] = path
                with self.subTest(shell=shell, path=path):
                    self.assertIn("installed pydock 0.3.0", self.install(shell=shell, piped=True))
                    self.assertIn("installed pydock 0.1.0", self.install(shell=shell))
                    self.install("--uninstall", shell=shell)
        self.assertFalse(self.ran.exists(), self.ran.exists() and self.ran.read_text())

    def in_usr_local(self, folder: Path, prepare: str = "") -> subprocess.CompletedProcess[str]:
        """Installs where /usr/local/bin is `folder`, in a mount namespace."""
        script = 'mount --bind "$1" /usr/local/bin\n%s\nshift; exec "$@"' % prepare
        return subprocess.run(["unshare", "-m", "sh", "-ec", script, "-", str(folder), "sh", str(self.script), "--prefix", str(self.prefix)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, cwd=str(self.cwd), timeout=120,
                              env={"PATH": "/usr/local/bin:/usr/bin:/bin"})

    def test_a_python_that_others_can_change_is_not_run(self) -> None:
        if shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "mount", "--bind", "/usr/bin", "/usr/local/bin"],
                                                             stderr=subprocess.DEVNULL).returncode:
            self.skipTest("no mount namespaces here")
        python = os.path.realpath("/usr/bin/python3")
        folder, theirs = self.tmp / "local", self.tmp / "theirs"
        theirs.mkdir()
        os.chown(str(theirs), UID, UID)
        (theirs / "link").symlink_to(python)
        self.evil("theirs/python3", 'exec "%s" "$@"' % python)
        hide = 'for name in /usr/bin/python*; do mount --bind /dev/null "$name"; done'

        def case(name: str, link: object = None, owner: int = 0, mode: int = 0o755, folder_mode: int = 0o755, folder_owner: int = 0) -> None:
            shutil.rmtree(str(folder), ignore_errors=True)
            if link is None:
                self.evil("local/" + name, 'exec "%s" "$@"' % python)
                os.chown(str(folder / name), owner, owner)
                (folder / name).chmod(mode)
            else:
                folder.mkdir()
                (folder / name).symlink_to(str(link))
            os.chown(str(folder), folder_owner, folder_owner)
            folder.chmod(folder_mode)
            self.assertIn("installed pydock 0.1.0", self.in_usr_local(folder).stdout)
            self.assertIn("none on the PATH", self.in_usr_local(folder, hide).stdout)
            self.assertFalse(self.ran.exists())

        for name in ("python3", "python3.14"):
            case(name, folder_mode=0o777)
            case(name, folder_mode=0o775)
            case(name, folder_mode=0o1777)
            case(name, folder_owner=UID)
            case(name, owner=UID)
            case(name, mode=0o757)
            case(name, mode=0o775)
            case(name, link=theirs / "python3")
            case(name, link="../..%s/python3" % theirs)
            case(name, link=theirs / "link")  # right today
            case(name, link="python3")  # to itself
            case(name, link=self.tmp / "gone")
        (self.tmp / "usr").symlink_to("/usr")  # below /tmp, where all may write
        case("python3", link=self.tmp / "usr" / "bin" / "python3")
        # In a folder that is root's alone.
        shutil.rmtree(str(folder))
        folder.mkdir()
        shutil.copy(python, str(folder / "python3"))
        self.assertIn("installed pydock 0.1.0", self.in_usr_local(folder, hide).stdout)

    def test_settings_of_others_are_not_read(self) -> None:
        home = self.tmp / "home"
        home.mkdir()
        (home / ".curlrc").write_text('trace = "%s"\n' % self.ran)
        (home / ".wgetrc").write_text("output_document = %s\n" % self.ran)
        os.chown(str(home), UID, UID)
        with self.server():
            self.assertIn("installed pydock 0.3.0", self.install(piped=True))
        self.assertFalse(self.ran.exists())


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
        self.assertIn("error: pydock needs Python 3.9 or newer, and there is none on the PATH", self.install(expect=1))

    def test_an_interrupted_download(self) -> None:
        for tool in ("curl", "wget"):
            with contextlib.suppress(FileNotFoundError):
                (self.tools / tool).unlink()
        self.program("tools/curl", 'kill -TERM "$PPID"; sleep 0.2')
        self.environ["PYDOCK_URL"] = "http://127.0.0.1:9"
        self.install(piped=True, expect=143)


class Start(Case):
    """pydock.py by each of the ways that people start it: its own Python, arguments, streams and signals; nothing of the folder; and
    its byte code, which only this user can have written."""

    SHOW = '''
if sys.argv[1:2] == ["show"]:
    print(json.dumps([sys.argv, sys.stdin.read(), sys.flags.isolated or "del sys.path[0]", sys.pycache_prefix, __file__]))
    sys.exit(7)
'''
    NAMES = ("pydock.py", "pydock", "py dock.py", "it's \"$x\" `y`.py", "new\nline.py", "-n.py", "\u00e9", "pydock-0.1", "pydock-0.2")

    def setUp(self) -> None:
        super().setUp()
        self.file = self.put("clone/pydock.py")
        self.cache = self.tmp / "home" / ".cache" / "pydock" / "bytecode"
        (self.tmp / "home").mkdir()
        self.outside = Path(os.path.realpath(tempfile.mkdtemp(prefix="pydock-start-")))
        self.addCleanup(shutil.rmtree, str(self.outside))
        self.outside.chmod(0o755)

    def put(self, path: str, extra: str = SHOW, version: str = "0.1.0") -> Path:
        file = self.tmp / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source(version, extra))
        file.chmod(0o755)
        return file

    def start(self, *command: object, expect: int = 0, cwd: Path | None = None, data: str = "") -> str:
        done = subprocess.run([str(c) for c in command], input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.environ,
                              cwd=str(cwd or self.cwd), preexec_fn=self.become(), timeout=60)
        self.assertEqual(done.returncode, expect, done.stdout)
        return done.stdout

    def kept(self) -> list[Path]:
        return sorted(self.cache.rglob("*.pyc"))

    def poison(self, file: Path, word: str = "cached") -> None:
        """Byte code that prints a word, in place of that in the file, or of that of pydock.py."""
        code = ("import importlib.util, marshal, os, struct, sys; s = os.stat(sys.argv[2]); open(sys.argv[1], 'wb').write(importlib.util.MAGIC_NUMBER + "
                "struct.pack('<III', 0, int(s.st_mtime), s.st_size) + marshal.dumps(compile('print(%r)' % sys.argv[3], 'x', 'exec')))")
        subprocess.run([PYTHON, "-IS", "-c", code, str(file), str(self.file), word], check=True)

    def place(self, cache: Path) -> Path:
        """Where the byte code of pydock.py would be in a cache folder."""
        tag = subprocess.run([PYTHON, "-IS", "-c", "import sys; print(sys.implementation.cache_tag)"], stdout=subprocess.PIPE, text=True).stdout.strip()
        return Path("%s/pydock/bytecode/pydock.py%s/pydock.%s.pyc" % (cache, self.file.parent, tag))

    def test_each_way_gives_the_program_what_it_was_given(self) -> None:
        for name in self.NAMES:
            file = self.put("clone/" + name)
            link = self.tmp / "links" / name
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(file)
            ways = [[str(file)], ["./" + name], [str(link)], ["sh", "./" + name], *([*command(shell), str(file)] for shell in SHELLS if shell != "zsh"),
                    ["python3", str(file)], ["python3", "-IS", str(file)]]
            for way in ways:
                with self.subTest(way):
                    said = self.start(*way, "show", "", "a b", "-c", "*", "\n", expect=7, cwd=file.parent, data="in")
                    argv, data, _, prefix, path = json.loads(said)
                    self.assertEqual((argv, data, prefix), ([way[-1], "show", "", "a b", "-c", "*", "\n"], "in", None))
                    if way[0] != "python3":
                        self.assertEqual(path, str(file))
        self.assertEqual(len(self.kept()), len(self.NAMES))  # each its own; the links none
        self.environ["PATH"] = "%s:%s" % (self.tmp / "links", self.tools)
        self.assertEqual(json.loads(self.start("pydock", "show", expect=7))[0][0], str(self.tmp / "links" / "pydock"))

    def test_byte_code_is_used_and_is_that_of_this_very_file(self) -> None:
        self.start(self.file, "--version")
        (pyc,) = self.kept()
        self.assertEqual(pyc, self.place(self.tmp / "home" / ".cache"))
        self.assertEqual({stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (self.cache, pyc, pyc.parent)}, {0})
        self.assertEqual([path.name for path in self.file.parent.iterdir()], ["pydock.py"])
        self.poison(pyc)
        self.assertEqual(self.start(self.file, "--version"), "cached\n")
        other = self.put("other/pydock.py", version="0.2.0")
        for _ in range(2):
            self.assertEqual(self.start(other, "--version"), "pydock 0.2.0\n")
        self.assertEqual(self.start(self.file, "--version"), "cached\n")
        os.utime(str(self.file), (1, 1))
        self.assertEqual(self.start(self.file, "--version"), "pydock 0.1.0\n")
        for damage in (b"", b"\0" * 16, pyc.read_bytes()[:-9]):
            pyc.write_bytes(damage)
            self.assertEqual(self.start(self.file, "--version"), "pydock 0.1.0\n")

    def test_nothing_of_the_folder_or_of_the_environment_is_imported(self) -> None:
        hijack = "raise SystemExit('hijacked')\n"
        for name in "json argparse re os stat gc sys sitecustomize usercustomize encodings _frozen_importlib_external importlib pydock".split():
            (self.file.parent / name).mkdir()
            for path in (self.file.parent / name / "__init__.py", *([] if name == "pydock" else [self.file.parent / (name + ".py")])):
                path.write_text(hijack)
        (self.file.parent / "__pycache__").mkdir()
        self.poison(self.file.parent / "__pycache__" / self.place(self.tmp).name, "hijacked")
        evil = self.tmp / "evil"
        self.place(evil).parent.mkdir(parents=True)
        self.poison(self.place(evil), "hijacked")
        prefixed = Path("%s%s" % (evil, self.file.parent))
        prefixed.mkdir(parents=True)
        self.poison(prefixed / self.place(evil).name, "hijacked")
        self.environ.update(PYTHONPATH=str(self.file.parent), PYTHONPYCACHEPREFIX=str(evil), PYTHONSTARTUP=str(self.file.parent / "json.py"), PYTHONHOME="")
        for home in (str(self.tmp / "home"), str(self.tmp / "missing" / "home")):
            self.environ["HOME"] = home
            for way in ([self.file], ["./pydock.py"], ["sh", "pydock.py"], ["python3", "-IS", "pydock.py"]):
                self.assertEqual(self.start(*way, "--version", cwd=self.file.parent), "pydock 0.1.0\n")

    def test_odd_or_missing_cache_folders(self) -> None:
        (self.tmp / "file").write_text("")
        (self.tmp / "closed").mkdir(mode=0o500)
        (self.cwd / "rel/pydock/bytecode").mkdir(parents=True)
        for variable in ("XDG_CACHE_HOME", "HOME"):
            for value in ("", "rel", "./rel", "/", "//", "//tmp/../", "/dev/null", str(self.tmp / "file"), str(self.tmp / "missing" / "a" / "b"), "~",
                          str(self.tmp / "closed"), "/proc/self", "x" * 5000, "/" + "x" * 300, "a\nb", "/nonexistent/$(touch ran)", None):
                with self.subTest(variable=variable, value=value and value[:50]):
                    self.environ.update(HOME=str(self.tmp / "home"))
                    self.environ.pop("XDG_CACHE_HOME", None)
                    self.environ.pop(variable, None)
                    if value is not None:
                        self.environ[variable] = value
                    for _ in range(2):
                        self.assertEqual(self.start(self.file, "--version"), "pydock 0.1.0\n")
        self.assertEqual([path for folder in (self.file.parent, self.cwd) for path in folder.rglob("*.pyc")], [])
        self.assertFalse((self.tmp / "missing").exists())
        self.assertEqual(os.listdir(str(self.cwd)), ["rel"])

    def check_unused(self, cache: Path) -> None:
        """That planted byte code in a cache folder is neither run nor replaced."""
        self.environ["XDG_CACHE_HOME"] = str(cache)
        before = self.place(cache).read_bytes()
        self.assertEqual(self.start(self.file, "--version"), "pydock 0.1.0\n")
        self.assertEqual(self.place(cache).read_bytes(), before)

    def plant(self, cache: Path) -> Path:
        self.place(cache).parent.mkdir(parents=True)
        self.poison(self.place(cache))
        if ROOT:
            subprocess.run(["chown", "-R", "%d:%d" % (UID, UID), str(cache)], check=True)
        return cache

    def test_a_cache_that_others_can_write_to_is_not_used(self) -> None:
        cache = self.plant(self.outside / "cache")
        if ROOT:
            os.chown(str(self.outside), UID, UID)
        self.environ["XDG_CACHE_HOME"] = str(cache)
        self.assertEqual(self.start(self.file, "--version"), "cached\n")  # the proof that what follows proves something
        for folder in (self.outside, cache, cache / "pydock", cache / "pydock" / "bytecode"):
            mode = stat.S_IMODE(folder.stat().st_mode)
            for wrong in (0o777, 0o757):
                with self.subTest(folder=folder, wrong=oct(wrong)):
                    folder.chmod(wrong)
                    self.check_unused(cache)
            folder.chmod(mode)
        (cache / "pydock").chmod(0o1777)  # others could make the next
        self.check_unused(cache)
        (cache / "pydock").chmod(0o755)
        for name in ("pydock", "pydock/bytecode"):  # a link leads anywhere, such as into a clone
            with self.subTest(name):
                (cache / name).rename(self.outside / "moved")
                (cache / name).symlink_to(self.outside / "moved")
                self.check_unused(cache)
                (cache / name).unlink()
                (self.outside / "moved").rename(cache / name)
        (self.outside / "link").symlink_to(cache)  # but one's ~/.cache may be elsewhere
        self.environ["XDG_CACHE_HOME"] = str(self.outside / "link")
        self.assertEqual(self.start(self.file, "--version"), "cached\n")

    @unittest.skipUnless(ROOT, "only root can make what is somebody else's")
    def test_a_cache_of_somebody_else_is_not_used(self) -> None:
        cache = self.plant(self.outside / "cache")
        for folder in (cache, cache / "pydock", cache / "pydock" / "bytecode"):
            with self.subTest(folder):
                os.chown(str(folder), UID + 1, UID + 1)
                self.check_unused(cache)
                os.chown(str(folder), UID, UID)
        os.chmod(str(self.outside), 0o1777)  # as in /tmp: who comes first makes the folder
        os.chown(str(cache), UID + 1, UID + 1)
        self.check_unused(cache)

    @unittest.skipUnless(ROOT, "only root can be given another's home")
    def test_root_leaves_nothing_in_the_home_of_another(self) -> None:
        self.become()
        subprocess.run([str(self.file), "--version"], check=True, env=self.environ, stdout=subprocess.DEVNULL)
        self.assertEqual(os.listdir(str(self.tmp / "home")), [])

    def test_a_cache_that_can_only_be_read(self) -> None:
        cache = self.plant(self.outside / "cache")
        if ROOT:
            os.chown(str(self.outside), UID, UID)
        self.environ["XDG_CACHE_HOME"] = str(cache)
        folder = self.place(cache).parent
        folder.chmod(0o500)
        self.addCleanup(folder.chmod, 0o700)
        self.assertEqual(self.start(self.file, "--version"), "cached\n")
        os.utime(str(self.file), (1, 1))
        self.assertEqual(self.start(self.file, "--version"), "pydock 0.1.0\n")

    def test_any_python_by_its_name_will_do(self) -> None:
        for name in ("python", "python3.9", "python3.15"):
            self.python.rename(self.tools / name)
            self.python = self.tools / name
            self.assertEqual(self.start(self.file, "--version"), "pydock 0.1.0\n")

    def test_no_python_is_one_clear_line(self) -> None:
        self.python.unlink()
        error = "pydock: error: pydock needs Python 3.9 or newer, and there is none on the PATH\n"
        self.assertEqual(self.start(self.file, "--version", expect=127), error)
        self.program("tools/python", 'echo "Unknown option: -I" >&2; exit 2')  # Python 2
        self.assertEqual(self.start(self.file, "--version", expect=127), error)

    def test_a_python_too_old_gives_way_to_a_newer_one_or_says_so(self) -> None:
        code = "import sys; sys.version_info = (3, 8, 1); sys.argv = sys.argv[1:]; exec(sys.argv.pop(1))"
        self.program("tools/python3", 'shift 1; exec "%s" -IS -c "%s" "$@"' % (PYTHON, code))
        self.assertEqual(self.start(self.file, "--version", expect=1), "pydock: error: pydock needs Python 3.9 or newer, this is 3.8\n")
        self.program("tools/python3.11", 'exec "%s" "$@"' % PYTHON)
        self.assertEqual(json.loads(self.start(self.file, "show", "a b", expect=7, data="x"))[:2], [[str(self.file), "show", "a b"], "x"])

    def test_it_is_one_process_which_gets_the_signals(self) -> None:
        file = self.put("clone/wait.py", "import os, signal, time\nsignal.signal(signal.SIGINT, lambda *_: os._exit(42))\nprint(os.getpid(), flush=True)\ntime.sleep(60)\n")
        for _ in range(2):
            with subprocess.Popen([str(file)], stdout=subprocess.PIPE, text=True, env=self.environ, preexec_fn=self.become()) as process:
                assert process.stdout
                self.assertEqual(int(process.stdout.readline()), process.pid)
                process.send_signal(signal.SIGINT)
                self.assertEqual(process.wait(30), 42)

    def test_without_proc(self) -> None:
        if not ROOT or subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/proc"], stderr=subprocess.DEVNULL).returncode:
            self.skipTest("no mount namespaces here")
        for _ in range(2):
            said = subprocess.run(["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc; exec "$@"', "-", str(self.file), "--version"],
                                  stdout=subprocess.PIPE, text=True, env={**self.environ, "PATH": os.environ["PATH"]}).stdout
            self.assertEqual(said, "pydock 0.1.0\n")

    def test_the_head_is_posix_sh_of_twelve_lines(self) -> None:
        head = TEXT[: TEXT.index("\npydock: named")]
        before, code, after = head.split("'")
        self.assertLessEqual(len((before + after).splitlines()), 12)
        self.assertEqual(pydock_start(), code)
        if shutil.which("shellcheck"):
            subprocess.run(["shellcheck", "-s", "sh", "-e", "SC2093", "-"], input=head, text=True, check=True)


def pydock_start() -> str:
    """START_PY, by which programs of an activated environment start pydock."""
    code = "import sys; sys.path.insert(0, %r); sys.dont_write_bytecode = True; import pydock; print(pydock.START_PY, end='')" % str(REPOSITORY)
    return subprocess.run([sys.executable, "-IS", "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout


class InTheWay(Case):
    def put(self, text: str) -> None:
        self.pydock.parent.mkdir(parents=True, exist_ok=True)
        self.pydock.write_text(text)
        self.pydock.chmod(0o755)

    def test_another_program_is_neither_run_nor_touched(self) -> None:
        for text in ("#!/bin/sh\necho pydock 0.1.0; touch '%s/ran'\n" % self.tmp, "",
                     "#!/usr/bin/env python3\n'''pyDock, protein docking'''\n", "\x7fELF\0\n\n",
                     "#!/usr/bin/env python3\n# around https://github.com/apiad/pydock: reads ~/.pydock\n",
                     "#!/bin/sh\n" + "#\n" * 100 + "https://github.com/apiad/pydock\n"):
            self.put(text)
            for arguments in ([], ["--uninstall"]):
                said = self.install(*arguments, expect=1)
                self.assertEqual(said, "pydock: error: %s is not a pydock.py, nor a link to one by 'make dev'; left unchanged\n"
                                 % self.pydock)
            self.assertEqual(self.pydock.read_text(), text)
            self.assert_only_pydock()
        self.assertFalse((self.tmp / "ran").exists())

    def test_a_folder_or_a_link_to_a_stranger_stays(self) -> None:
        self.pydock.mkdir(parents=True)
        self.install(expect=1)
        self.pydock.rmdir()
        docking = self.program("opt/pydock.py", "exit 0")
        (self.pydock.parent / "pydock.py").write_text(source())
        for target in (self.program("opt/other", "exit 0"), self.tmp / "opt", self.tmp / "gone", docking, "pydock.py",
                       self.tmp / "gone" / "pydock.py"):
            self.pydock.symlink_to(target)
            self.install(expect=1)
            self.assertEqual(os.readlink(str(self.pydock)), str(target))
            self.pydock.unlink()

    def test_a_link_to_a_checkout_is_replaced_and_not_followed(self) -> None:
        self.pydock.parent.mkdir(parents=True, exist_ok=True)
        self.pydock.symlink_to(self.checkout / "pydock.py")
        self.install()
        self.assertFalse(self.pydock.is_symlink())
        self.assertEqual((self.checkout / "pydock.py").read_text(), source())
        self.pydock.unlink()
        self.pydock.symlink_to(self.checkout / "pydock.py")
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
        self.assertIn("is not installed", self.install("--uninstall"))

    def test_wrong_options_are_one_line_and_exit_2(self) -> None:
        for arguments in (["--frobnicate"], ["extra"], ["--prefix"], ["--prefix="], ["--version"],
                          ["--version", "../main"], ["--version", "--uninstall"], ["--sha256"], ["--sha256", "--uninstall"],
                          ["--sha256="], ["--sha256", SUM[1:]], ["--sha256", SUM + "0"], ["--sha256", "x" + SUM[1:]]):
            said = self.run_script(*arguments, expect=2)
            self.assertRegex(said, r"^pydock: error: [^\n]+\n$")

    def test_help(self) -> None:
        said = self.output("sh", self.script, "--help")
        for option in ("--prefix", "--version", "--sha256", "--uninstall", "PYDOCK_URL"):
            self.assertIn(option, said)

    @unittest.skipUnless(shutil.which("shellcheck"), "no shellcheck here")
    def test_shellcheck(self) -> None:
        subprocess.run(["shellcheck", str(SCRIPT)], check=True)


class EngineSh(Case):
    """What install/engine.sh does about docker compose and the group docker, with a system of its own."""

    def engine_sh(self, *argv: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(["bash", str(REPOSITORY / "install" / "engine.sh"), *argv], env={**self.environ, "PATH": "%s:/usr/bin:/bin" % (self.tmp / "system"), **environ},
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def brought(self, candidate: str, uid: str = "0") -> str:
        """What it installed, where a docker is there and compose is not."""
        self.program("system/docker", "case $* in 'compose version') exit 1 ;; esac")
        self.program("system/dpkg", "exit 1")
        self.program("system/id", "echo " + uid)
        self.program("system/grep", "case $* in *'debian|ubuntu'*) exit 0 ;; esac; exit 1")
        self.program("system/apt-cache", "echo '  Candidate: %s'" % candidate)
        self.program("system/apt-get", 'echo "$@" >>"%s/installed"' % self.tmp)
        done = self.engine_sh()
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)
        self.assertIn("docker has no compose here", done.stderr)
        path = self.tmp / "installed"
        return path.read_text().split()[-1] if path.exists() else ""

    def test_it_is_brought_where_the_system_has_it(self) -> None:
        self.assertEqual(self.brought("2.26.1-4"), "docker-compose")

    def test_a_program_of_that_name_is_no_compose(self) -> None:
        self.assertEqual([self.brought(candidate) for candidate in ("1.29.2-3", "(none)")], ["", ""])

    def test_who_is_not_root_is_only_told(self) -> None:
        self.assertEqual(self.brought("2.26.1-4", uid="1000"), "")

    def test_a_user_joins_the_group_only_where_that_is_asked(self) -> None:
        self.program("system/docker", "echo 26.1.5")
        self.program("system/id", "case $* in -u) echo ${UID_OF_TEST-0} ;; *nosuch) exit 1 ;; '-nG member') echo staff docker ;; *) echo staff ;; esac")
        self.program("system/usermod", 'echo "$@" >>"%s/joined"' % self.tmp)
        line = "engine.sh: to use docker without sudo: sudo usermod -aG docker %s, then log in again\n"
        for user, told in (("ana", line % "ana"), ("member", ""), ("root", "")):
            self.assertEqual(self.engine_sh(SUDO_USER=user).stderr, told + "engine.sh: ready: docker 26.1.5 with python:3.11-slim\n")
        self.assertFalse((self.tmp / "joined").exists())
        done = self.engine_sh("--group", "ana", "3.13", SUDO_USER="member")
        self.assertEqual((done.returncode, (self.tmp / "joined").read_text()), (0, "-aG docker ana\n"), done.stderr)
        self.assertRegex(done.stderr, "ana can use docker without sudo after the next login.*\n.* with python:3.13-slim\n$")
        for argv, environ, says in ((["--group", "nosuch"], {}, "name of a user"), (["--group"], {}, "name of a user"), (["--grop", "ana"], {}, "unknown option --grop"),
                                    (["--group", "ana"], {"UID_OF_TEST": "1000"}, "--group needs root: sudo install/engine.sh --group ana")):
            done = self.engine_sh(*argv, **environ)
            self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
            self.assertIn(says, done.stderr)
        self.assertEqual((self.tmp / "joined").read_text(), "-aG docker ana\n")


if __name__ == "__main__":
    unittest.main()
