"""What is wrong is said in one clear line, with a hint where there is a remedy, and nothing is changed."""
from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any, Dict, List, Tuple

from support import ENGINE, PYDOCK, PYTHON, ROOT, Case, Result, SharedCase, as_user, docker_groups, engine, is_podman, needs

BASE = "python:%s-slim" % PYTHON
LONG = "a" * 65


class BadCase(SharedCase):
    """One environment, `e`, that every error leaves as it is."""

    @classmethod
    def prepare(cls, case: Case) -> None:
        case.ok("create", "e")

    def state(self) -> Tuple[Dict[str, str], Dict[str, str], List[str]]:
        return self.snapshot(), self.tags(), self.containers()

    def refused(self, *argv: str, short: bool = True, **options: Any) -> Result:
        """pydock must fail with one error line and at most a hint, and change nothing. Not `short` is what shows the
        output of a tool that failed above it."""
        before = self.state()
        result = self.fails(*argv, **options)
        self.assertEqual(self.state(), before, result)
        self.assertEqual(result.out, "", result)
        if short:
            others = [line for line in result.err.splitlines() if not line.startswith(("pydock: error: ", "hint: "))]
            self.assertEqual(others, [], result)
        return result

    def not_started(self, *argv: str, **options: Any) -> Result:
        """As refused, without one call of the engine."""
        self.fake()
        try:
            result = self.fails(*argv, **options)
            self.assertEqual(self.calls(), [], result)
        finally:
            self.no_fake()
        return result


class TheEngine(BadCase):
    COMMANDS = (["list"], ["create", "x"], ["build", "e"], ["run", "e", "true"], ["shell", "e"], ["install", "e", "six"], ["uninstall", "e", "six"],
                ["update", "e", "six"], ["delete", "-y", "e"])

    def test_an_engine_that_is_not_installed(self) -> None:
        empty = self.base / "empty"
        empty.mkdir()
        for command in self.COMMANDS:
            with self.subTest(command=command):
                self.refused(*command, status=127, says="not installed", hint="install", environ={"PATH": str(empty)})

    def test_an_engine_that_cannot_be_started(self) -> None:
        folder = self.base / "bad"
        folder.mkdir()
        (folder / ENGINE[-1]).write_text("", encoding="utf-8")
        (folder / ENGINE[-1]).chmod(0o644)
        self.refused("list", status=127, says=ENGINE[-1], environ={"PATH": str(folder)})
        self.refused("run", "e", "true", status=127, says=ENGINE[-1], environ={"PATH": str(folder)})

    @needs(lambda: not is_podman(), "podman has no daemon")
    def test_a_daemon_that_is_not_running(self) -> None:
        for command in self.COMMANDS:
            with self.subTest(command=command):
                self.refused(*command, status=127, says="not running", hint="start", environ={"DOCKER_HOST": "unix://%s/no.sock" % self.base})

    @needs(lambda: not is_podman(), "podman has no daemon")
    def test_config_tells_what_is_wrong_with_the_engine(self) -> None:
        result = self.run_pydock("config", environ={"DOCKER_HOST": "unix://%s/no.sock" % self.base})
        self.assertEqual(result.status, 1, result)
        self.assertIn("pydock: error: the docker daemon is not running", result.err)
        self.assertIn("hint: ", result.err)

    @needs(lambda: not is_podman(), "podman has no daemon")
    def test_a_socket_without_permission(self) -> None:
        user = UserCase("setUp")
        user.setUp()
        self.addCleanup(user.doCleanups)
        me = user.become(54321)
        user.ok("create", "e", "--no-build", **me)
        path = user.base / "docker.sock"
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
            server.listen(50)
            path.chmod(0o600)
            for command in self.COMMANDS:
                with self.subTest(command=command):
                    before = user.snapshot()
                    result = user.fails(*command, status=127, says="permission", hint="docker", environ={"DOCKER_HOST": "unix://%s" % path}, **me)
                    self.assertEqual(len(result.err.splitlines()), 2, result)
                    self.assertEqual(user.snapshot(), before)


class UserCase(Case):
    """As another user of this machine."""

    def become(self, uid: int) -> Dict[str, Any]:
        self.give_to(uid)
        return {"preexec_fn": as_user(uid, uid, docker_groups())}

    def test_no_home_and_no_account_to_ask_for_one(self) -> None:
        me = self.become(54321)
        del self.environ["HOME"]
        self.fails("list", says="home", hint="HOME", **me)
        self.fails("create", "x", says="home", hint="HOME", **me)
        for bad in ("", "relative/home"):
            self.fails("list", says="home", hint="HOME", environ={"HOME": bad}, **me)

    def test_no_home_with_an_account_that_has_one(self) -> None:
        me = self.become(33)
        del self.environ["HOME"]
        self.assertEqual(self.ok("list", "--json", **me), "[]\n")

    def test_a_home_that_cannot_be_written(self) -> None:
        me = self.become(54321)
        self.home.chmod(0o555)
        result = self.fails("create", "x", says=".pydock", **me)
        self.assertEqual(len([line for line in result.err.splitlines() if line.startswith("pydock: error")]), 1)
        self.assertEqual((self.snapshot(), self.tags(), self.containers()), ({}, {}, []))

    def test_files_that_cannot_be_read(self) -> None:
        me = self.become(54321)
        self.ok("create", "e", "--no-build", **me)
        file = self.folder("e") / "dockerfile"
        file.chmod(0)
        self.fails("build", "e", says=str(file), **me)
        file.chmod(0o644)
        conf = self.home / ".pydock" / "pydock.conf"
        conf.write_text("[pydock]\n", encoding="utf-8")
        conf.chmod(0)
        os.chown(str(conf), 54321, -1)
        self.fails("list", says=str(conf), **me)


class Names(BadCase):
    BAD = ("..", ".", "../x", "/abs", "", " ", "A B", "Ünï", "ünï", LONG, "a.", "a..b", "a--b", "a/b", "a\nb", "a\n", ".a", "_a", "DataScience",
           "a;b", "$(id)", "*", "\udcff", "日本")

    def test_a_bad_name_is_refused_before_anything_happens(self) -> None:
        before = self.state()
        for name in self.BAD:
            with self.subTest(name=name):
                result = self.not_started("create", name, says="is not a valid environment name")
                self.assertEqual(len(result.err.splitlines()), 2, result)
                self.not_started("run", name, "true", says="there is no file" if "/" in name else "is not a valid environment name")
        for command in (["build", "../e"], ["shell", "../e"], ["install", "../e", "six"], ["uninstall", "../e", "six"], ["update", "../e"], ["delete", "-y", "../e"],
                        ["delete", "-y", "e", ".."], ["delete", "-y", ""]):
            self.not_started(*command, says="is not a valid environment name")
        self.assertEqual(self.state(), before)
        found = set(os.listdir(str(self.home))) - {".docker", ".local"}  # of docker's client, and for the tests' uv
        self.assertEqual(found, {".pydock"})

    def test_a_name_like_an_option_is_a_usage_error(self) -> None:
        for command in (["create", "-x"], ["run", "-x", "true"], ["build", "--nope"], ["delete", "-y", "-x"]):
            self.not_started(*command, status=2, says=command[-1] if command[-1].startswith("-") else "-x")
        self.assertEqual(sorted(self.listed()), ["e"])

    def test_64_characters_are_a_name(self) -> None:
        name = "a" * 64
        self.ok("create", name, "--no-build")
        self.ok("delete", "-y", name)

    def test_capital_letters_get_the_right_name_as_a_hint(self) -> None:
        self.not_started("create", "DataScience", hint="did you mean 'datascience'?")
        self.not_started("create", "Data Science", hint="did you mean 'data-science'?")

    def test_an_unknown_environment_gets_the_nearest_name(self) -> None:
        self.ok("create", "datascience", "--no-build")
        for command in (["run", "datasience", "true"], ["build", "datasience"], ["delete", "-y", "datasience"], ["install", "datasience", "six"], ["shell", "datasience"]):
            self.not_started(*command, says="no global environment 'datasience'", hint="did you mean 'datascience'?")
        self.not_started("run", "quite-other", "true", says="quite-other", hint="pydock create quite-other")
        self.ok("delete", "-y", "datascience")

    def test_a_name_of_the_other_mode_gets_the_line_to_type(self) -> None:
        project = self.work / "project"
        project.mkdir()
        self.ok("--local", "create", "mine", "--no-build", cwd=project)
        self.not_started("--global", "build", "mine", cwd=project, says="no global environment 'mine'", hint="pydock --local")
        self.not_started("build", "e", cwd=project, says="no local environment 'e'", hint="pydock --global")
        self.assertEqual(self.ok("--global", "run", "e", "echo", "ran", cwd=project), "ran\n")
        self.ok("--local", "delete", "-y", "mine", cwd=project)

    def test_delete_checks_all_names_first(self) -> None:
        self.refused("delete", "-y", "e", "nope", says="nope")
        self.refused("delete", "e", hint="-y")

    def test_a_name_that_is_taken(self) -> None:
        self.refused("create", "e", says="already exists")
        engine("tag", BASE, self.prefix + "-foreign:latest")
        self.addCleanup(engine, "rmi", self.prefix + "-foreign:latest", check=False)
        self.refused("create", "foreign", says="not made by pydock")


class Words(BadCase):
    """Commands, options, values."""

    def test_unknown_commands_get_the_nearest_or_the_right_word(self) -> None:
        for word, hint in (("instal", "install"), ("crate", "create"), ("exec", "run"), ("add", "install"), ("remove", "delete"), ("upgrade", "update"),
                           ("sync", "build"), ("info", "config"), ("env", "list"), ("qwertz", "--help")):
            self.not_started(word, "e", status=2, says="unknown command '%s'" % word, hint=hint)

    def test_unknown_and_abbreviated_options(self) -> None:
        for command in (["list", "--nope"], ["--nope", "list"], ["run", "--nope", "e", "true"], ["create", "x", "--ima", "y"], ["build", "e", "--no-cach"], ["--nope"],
                        ["list", "extra"], ["build", "e", "extra"], ["run", "e"], ["install", "e"], ["create", "x", "--image"]):
            with self.subTest(command=command):
                result = self.not_started(*command, status=2, hint="pydock")
                self.assertEqual(len(result.err.splitlines()), 2, result)

    def test_a_command_without_its_arguments_shows_its_help_and_the_names(self) -> None:
        for command in ("create", "build", "delete", "shell", "run", "install", "uninstall", "update"):
            result = self.run_pydock(command)
            self.assertEqual((result.status, result.out), (2, ""), result)
            self.assertIn("usage: pydock " + command, result.err)
            if command != "create":
                self.assertRegex(result.err, r"environments: .*\be\b")

    def test_versions_that_do_not_exist(self) -> None:
        self.not_started("create", "x", "2.99", says="2.99", hint="pydock create x")
        self.not_started("create", "x", "2.7", says="2.7", hint="pydock create x")
        self.refused("create", "x", "3.99", says="3.99", hint="version", short=False)
        self.assert_clean("x")

    def test_packages_that_do_not_exist(self) -> None:
        name = "no-such-package-of-anybody-4711"
        self.refused("install", "e", name, says=name, short=False)
        self.refused("uninstall", "e", name, says="is not installed", short=False)
        self.refused("create", "x", PYTHON, name, short=False)
        self.assert_clean("x")
        self.assert_clean("e")
        self.assertEqual(self.ok("run", "e", "echo", "ran"), "ran\n")

    def test_files_that_do_not_exist(self) -> None:
        for words in (["-r", "no.txt"], ["-r", "pyproject.toml"], ["-r", "."], ["./no-folder"], ["no.whl"], ["/no/such/folder"]):
            self.refused("install", "e", *words, says=words[-1].lstrip("./") or str(self.work))

    def test_no_requirement_is_read_by_a_shell(self) -> None:
        canary = self.base / "canary"
        for text in ("six; touch %s", "$(touch %s)", "six && touch %s", "`touch %s`", "six | touch %s", "six\ntouch %s", "six' ; touch %s '", '"; touch %s; "', "six>=1; touch %s"):
            with self.subTest(text=text):
                self.refused("install", "e", text % canary, short=False)
                self.assertFalse(canary.exists())
        self.assertEqual(self.requirements("e"), "")
        self.refused("uninstall", "e", "six; touch %s" % canary)
        self.refused("install", "e", "--index-url=http://127.0.0.1:1/x;touch %s" % canary, "six", short=False)
        for command in (["create", "x", "--apt", "git; touch x"], ["create", "x", "--user", "a b"], ["create", "x", "--user", "$(id)"], ["create", "x", "--user", "x:ada"],
                        ["create", "x", "--image", "a b"], ["create", "x", "--image", "python\nRUN id"], ["create", "x", "--apt=-o=x"]):
            self.refused(*command)

    def test_words_that_are_options_of_the_installer(self) -> None:
        self.refused("install", "e", "six", "--target", "x", status=2, says="packages always go into the environment")
        self.refused("install", "e", "", says="not a requirement")
        self.refused("install", "e", "-e", ".", says="'-e .' in the command line needs a local environment", hint="pydock --local create e --editable .")

    def test_a_port_that_is_taken(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen(1)
            port = str(taken.getsockname()[1])
            for inside, value in ((port, port), ("80", port + ":80"), ("80", "127.0.0.1:%s:80" % port)):
                result = self.refused("run", "-p", value, "e", "echo", "-p", value, says="port %s is taken" % port)
                hint = result.err.splitlines()[-1]
                self.assertRegex(hint, r"^hint: pydock run --publish=\d+:%s e echo -p %s$" % (inside, value))
                self.assertIn("-p " + value, self.ok(*hint.split()[2:]), "the line works when it is pasted")
        self.refused("run", "-p", "99999", "e", "true", says="99999")
        self.assertFalse((self.work / "ran").exists())

    def test_a_port_that_is_no_port(self) -> None:
        for value in ("banana", "", "80:banana", "1:2:3:4:5"):
            self.refused("run", "-p", value, "e", "true")

    def test_settings(self) -> None:
        self.refused("config", "nope", says="nope", hint="settings")
        self.refused("config", "pyton", hint="did you mean 'python'?")
        for key, value in (("python", "banana"), ("installer", "conda"), ("history", "0"), ("history", "many"), ("prefix", "A B"), ("user", "x y"), ("image", ""),
                           ("engine", ""), ("engine", "'"), ("repository", "a b")):
            self.refused("config", key, value, says=key)


class Images(BadCase):
    def test_a_base_image_without_python(self) -> None:
        image = self.prefix + "-nopython:latest"
        engine("build", "-t", image, "-", input="FROM %s\nRUN rm -f /usr/bin/python* /usr/local/bin/python*\n" % BASE)
        self.addCleanup(engine, "rmi", image, check=False)
        self.refused("create", "x", "--image", image, short=False, hint="Python")
        self.assert_clean("x")

    def test_a_base_image_that_is_not_there(self) -> None:
        self.refused("create", "x", "--image", "%s.invalid/none:1" % self.prefix, short=False, says="none:1", hint="--image")
        self.assert_clean("x")

    def test_a_dockerfile_that_is_none(self) -> None:
        self.ok("create", "bad", "--no-build")
        file = self.folder("bad") / "dockerfile"
        for text in ("", "NONSENSE\n", "FROM\n", "\x00\x01\n", "RUN true\n"):
            file.write_text(text, encoding="utf-8")
            self.refused("build", "bad", short=False)
            self.refused("run", "bad", "true", short=False)
        self.ok("delete", "-y", "bad")


class Files(BadCase):
    def test_a_folder_without_a_dockerfile(self) -> None:
        folder = self.folder("broken")
        folder.mkdir()
        for command in (["run", "broken", "true"], ["build", "broken"], ["shell", "broken"], ["install", "broken", "six"], ["update", "broken"]):
            self.refused(*command, says="has no ", hint="pydock delete broken")
        self.assertEqual(self.listed()["broken"]["state"], "broken")
        self.assertIn("broken", self.ok("list"))
        (folder / "dockerfile").write_text("FROM %s\n" % BASE, encoding="utf-8")
        self.refused("build", "broken", says="has no requirements.txt")
        self.ok("delete", "-y", "broken")
        self.assertFalse(folder.exists())

    def test_what_is_no_folder_is_no_environment(self) -> None:
        file = self.folder("file")
        file.write_text("", encoding="utf-8")
        self.addCleanup(file.unlink)
        self.refused("run", "file", "true", says="envs/file is not a folder")
        self.refused("create", "file")
        self.assertNotIn("file", self.listed())

    def test_a_file_in_place_of_the_envs_folder(self) -> None:
        home = self.base / "other-home"
        (home / ".pydock").mkdir(parents=True)
        (home / ".pydock" / "envs").write_text("", encoding="utf-8")
        self.fails("create", "x", says="envs", environ={"HOME": str(home)})
        self.fails("list", "--json", says="envs is not a folder", environ={"HOME": str(home)})

    def test_broken_settings_files(self) -> None:
        conf = self.home / ".pydock" / "pydock.conf"
        self.addCleanup(lambda: conf.unlink() if conf.is_file() else None)
        for text, says in ((b"\n", "section"), (b"engine = docker\n", "pydock.conf"), (b"[other]\nx = 1\n", "section"), (b"[pydock\n", "pydock.conf"),
                           (b"\xff\xfe\x00", "pydock.conf"),
                           (b"[pydock]\nnope = 1\n", "nope"), (b"[pydock]\npython = banana\n", "python"), (b"[pydock]\ninstaller = conda\n", "installer"),
                           (b"[pydock]\nhistory = -1\n", "history"), (b"[pydock]\nprefix = ../x\n", "prefix"), (b"[pydock]\npython = 3.11\npython = 3.12\n", "line 3"),
                           (b"[pydock]\nengine = 'docker\n", "engine"), (b"[pydock]\nuser = root:x\n", "user"), (b"[pydock]\npython\n", "pydock.conf"),
                           (b"[pydock]\nimage = a\n  b\n", "image")):
            conf.write_bytes(text)
            for command in (["list"], ["create", "x"], ["run", "e", "true"]):
                with self.subTest(text=text, command=command):
                    result = self.refused(*command, says=says)
                    self.assertIn(str(conf), result.err)
        conf.unlink()
        conf.mkdir()
        self.addCleanup(shutil.rmtree, str(conf), True)
        self.refused("list", says=str(conf))

    def test_bad_settings_in_the_environment(self) -> None:
        self.not_started("list", says="PYDOCK_HISTORY", environ={"PYDOCK_HISTORY": "many"})
        self.not_started("list", says="PYDOCK_INSTALLER", environ={"PYDOCK_INSTALLER": ""})

    def test_a_current_folder_that_was_deleted(self) -> None:
        for words, status in (("run e true", 1), ("--local create x", 1), ("list", 0), ("--version", 0), ("config history", 0)):
            gone = self.work / "gone"
            gone.mkdir()
            command = "rmdir %s; exec %s %s" % (shlex.quote(str(gone)), " ".join(map(shlex.quote, self.program)), words)
            done = subprocess.run(["sh", "-c", command], cwd=str(gone), env=self.environ, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
            with self.subTest(words=words):
                self.assertEqual(done.returncode, status, done.stderr)
                self.assertEqual(len([line for line in done.stderr.splitlines() if line.startswith("pydock: error: ")]), status, done.stderr)
                self.assertLessEqual(len(done.stderr.splitlines()), 2 * status, done.stderr)


class Streams(BadCase):
    def sh(self, redirection: str, *argv: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(["sh", "-c", 'exec "$@" ' + redirection, "sh", *self.program, *argv], cwd=str(self.work), env=self.environ, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)

    def test_closed_standard_streams(self) -> None:
        for redirection in ("<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"):
            for argv in (["list"], ["run", "e", "true"], ["build", "e"], ["config", "history"], ["--version"], []):
                with self.subTest(redirection=redirection, argv=argv):
                    done = self.sh(redirection, *argv)
                    self.assertEqual(done.returncode, 0, done.stderr)
                    self.assertNotIn("Traceback", done.stderr)
            if ">&-" not in redirection.replace("2>&-", ""):
                self.assertEqual(self.sh(redirection, "run", "e", "echo", "out").stdout, "out\n")
            self.assertEqual(self.sh(redirection, "run", "e", "sh", "-c", "exit 3").returncode, 3)
        self.assertEqual(self.sh("<&-", "run", "e", "cat").stdout, "")
        self.assertEqual(self.listed()["e"]["state"], "ready")
        self.assertEqual(self.containers(), [])

    def test_errors_with_closed_streams_keep_their_status(self) -> None:
        for redirection in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
            self.assertEqual(self.sh(redirection, "run", "nope", "true").returncode, 1)
            self.assertEqual(self.sh(redirection, "nope").returncode, 2)
            self.assertEqual(self.sh(redirection, "create").returncode, 2)

    def test_a_reader_that_went_away_is_no_error(self) -> None:
        for argv in (["list"], ["list", "--json"], [], ["--help"], ["run", "--help"], ["--version"], ["config"], ["config", "history"],
                     ["-n", "run", "e", "true"], ["-n", "create", "x"]):
            read, write = os.pipe()
            os.close(read)
            process = self.start(*argv, stdout=write)
            os.close(write)
            _, err = process.communicate(timeout=60)
            with self.subTest(argv=argv):
                self.assertEqual((process.returncode, err), (0, ""))

    def test_a_full_disk_behind_stdout_is_said(self) -> None:
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        for argv in (["list"], ["config", "history"], []):
            with open("/dev/full", "w") as full:
                process = self.start(*argv, stdout=full)
                _, err = process.communicate(timeout=60)
            with self.subTest(argv=argv):
                self.assertEqual(process.returncode, 1, err)
                self.assertNotIn("Traceback", err)
                self.assertEqual(len([line for line in err.splitlines() if line.startswith("pydock: error: ")]), 1, err)


class Hosts(unittest.TestCase):
    def test_native_windows_is_pointed_to_wsl(self) -> None:
        code = "import runpy, sys; sys.platform = 'win32'; sys.argv = ['pydock', 'list']; runpy.run_path(%r, run_name='__main__')" % str(PYDOCK)
        done = subprocess.run([sys.executable, "-IS", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual((done.returncode, len(done.stderr.splitlines())), (1, 1), done.stderr)
        self.assertIn("WSL", done.stderr)

    def test_a_python_that_is_too_old_is_told(self) -> None:
        found = [str(path) for path in Path.home().glob(".pyenv/versions/3.7*/bin/python3.7")] + [p for p in [shutil.which("python3.7")] if p]
        if not found:
            self.skipTest("no Python 3.7 here")
        done = subprocess.run([found[0], "-IS", str(ROOT / "pydock.py"), "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=60)
        self.assertEqual((done.returncode, len(done.stderr.splitlines())), (1, 1), done.stderr)
        self.assertIn("3.9", done.stderr)


if __name__ == "__main__":
    unittest.main()
