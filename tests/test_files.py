"""Files of a project: they may be a stranger's, and lead nowhere else. What runs inside cannot change an environment's definition."""
import os
import shutil
import stat
import subprocess
import time
import unittest
from pathlib import Path
from typing import Any, List

from support import Case, SharedCase, make_wheel

DOCKERFILE = "FROM python:3.12-slim\n"
SECRET = "machine example.org login ana password hunter2"


class FilesCase(Case):
    """A home with an environment of the user's own, and a clone with one of a stranger's. No engine is needed."""

    def setUp(self) -> None:
        super().setUp()
        self.ok("--global", "create", "mine", "--no-build")
        (self.home / ".netrc").write_text(SECRET + "\n", encoding="utf-8")
        self.clone = self.work / "clone"
        self.dev = self.clone / ".pydock" / "envs" / "dev"
        self.dev.mkdir(parents=True)
        (self.dev / "dockerfile").write_text(DOCKERFILE, encoding="utf-8")
        (self.dev / "requirements.txt").write_text("", encoding="utf-8")

    def link(self, path: Path, target: str) -> None:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(str(path))
        elif path.is_symlink() or path.exists():
            path.unlink()
        path.symlink_to(target)

    def refused(self, *argv: str, says: str, cwd: Any = None) -> None:
        started = time.monotonic()
        result = self.fails(*argv, says=says, cwd=cwd or self.clone, timeout=30)
        self.assertLess(time.monotonic() - started, 10)
        self.assertNotIn("hunter2", result.out + result.err)
        self.assertNotIn("login", result.out + result.err)


class NoWayOut(FilesCase):
    COMMANDS = (["run", "dev", "true"], ["build", "dev"], ["install", "dev", "six"], ["freeze", "dev"], ["export", "dev", "x.tar"], ["-n", "run", "dev", "true"])

    def test_a_dockerfile_that_is_a_device_a_pipe_a_link_or_too_large(self) -> None:
        file = self.dev / "dockerfile"
        self.link(file, "/dev/zero")
        for argv in self.COMMANDS:
            with self.subTest(argv):
                self.refused(*argv, says="dockerfile is a symbolic link")
        self.assertEqual(self.ok("list", "--json", cwd=self.clone).count('"broken"'), 1)
        file.unlink()
        os.mkfifo(str(file))
        for argv in self.COMMANDS:
            with self.subTest(argv):
                self.refused(*argv, says="dockerfile is not a regular file")
        file.unlink()
        with file.open("wb") as handle:
            handle.truncate((16 << 20) + 1)
        self.refused("build", "dev", says="dockerfile is larger than 16 MiB")
        file.unlink()
        file.mkdir()
        self.refused("build", "dev", says="dockerfile is not a regular file")

    def test_settings_that_lead_elsewhere(self) -> None:
        conf = self.clone / ".pydock" / "pydock.conf"
        commands: List[List[str]] = [["list"], ["run", "dev", "true"], ["config"], ["--local", "config", "python", "3.12"], ["create", "new"]]
        for target in ("/dev/zero", "../../../home/.netrc", str(self.home / ".netrc")):
            self.link(conf, target)
            for argv in commands:
                with self.subTest(argv, target=target):
                    self.refused(*argv, says="pydock.conf is a symbolic link")
        conf.unlink()
        os.mkfifo(str(conf))
        for argv in commands:
            self.refused(*argv, says="pydock.conf is not a regular file")
        self.assertEqual((self.home / ".netrc").read_text(encoding="utf-8"), SECRET + "\n")

    def test_a_broken_settings_file_is_named_with_its_line_and_never_repeated(self) -> None:
        conf = self.clone / ".pydock" / "pydock.conf"
        for text, says in ((SECRET, "line 1 "), ("[pydock]\npython = 3.12\n%s\n" % SECRET, "line 3 "), ("[pydock]\nlogin = 1\nlogin = 2\n", "line 3 "),
                           ("[login]\n[login]\n", "line 2 "), ("[other]\n", "no [pydock] section")):
            conf.write_text(text, encoding="utf-8")
            self.refused("list", says=says)
        conf.write_bytes(b"[pydock]\npython = \xff\n")
        self.refused("list", says="line 2 ")
        conf.write_text("[pydock]\npython = 3\n x\n", encoding="utf-8")
        self.refused("list", says="bad value '3\\nx' for the setting 'python'")

    def test_words_on_tab_neither_hang_nor_show_anything(self) -> None:
        conf = self.clone / ".pydock" / "pydock.conf"
        os.mkfifo(str(conf))
        self.assertEqual(self.ok("completion", "--words", "run", "", cwd=self.clone, timeout=10), "dev\n")
        self.assertEqual(self.ok("completion", "--words", "rollback", "dev", "", cwd=self.clone, timeout=10), "")
        self.link(self.clone / ".pydock" / "envs", str(self.home / ".pydock" / "envs"))
        self.assertEqual(self.ok("completion", "--words", "run", "", cwd=self.clone, timeout=10), "")

    def test_freeze_changes_the_mode_of_no_other_file(self) -> None:
        other = self.home / "other"
        other.write_text("", encoding="utf-8")
        other.chmod(0o600)
        self.link(self.dev / "requirements.txt", "../../../../../home/other")
        for command in ("freeze", "unfreeze"):
            self.refused(command, "dev", says="requirements.txt is a symbolic link")
        self.assertEqual(stat.S_IMODE(other.stat().st_mode), 0o600)
        (self.dev / "requirements.txt").unlink()
        (self.dev / "requirements.txt").write_text("", encoding="utf-8")
        self.ok("freeze", "dev", cwd=self.clone)
        self.assertEqual(stat.S_IMODE((self.dev / "requirements.txt").stat().st_mode) & 0o222, 0)
        self.ok("unfreeze", "dev", cwd=self.clone)
        self.assertEqual(stat.S_IMODE((self.dev / "requirements.txt").stat().st_mode) & 0o200, 0o200)

    def test_envs_that_leads_to_the_global_environments(self) -> None:
        self.link(self.clone / ".pydock" / "envs", "../../../home/.pydock/envs")
        before = self.snapshot()
        for argv in (["delete", "-y", "mine"], ["run", "mine", "true"], ["freeze", "mine"], ["create", "new", "--no-build"], ["list"], ["prune", "-y"],
                     ["clone", "mine", "other"], ["install", "mine", "six"]):
            with self.subTest(argv):
                self.refused("--local", *argv, says="envs is a symbolic link")
        self.assertEqual(self.snapshot(), before)

    def test_an_environment_that_is_a_link_to_another(self) -> None:
        self.link(self.dev, str(self.home / ".pydock" / "envs" / "mine"))
        before = self.snapshot()
        for argv in (["delete", "-y", "dev"], ["run", "dev", "true"], ["freeze", "dev"]):
            self.refused(*argv, says="dev is a symbolic link")
        self.assertEqual(self.snapshot(), before)

    def test_a_pydock_folder_that_is_a_link_is_not_taken(self) -> None:
        self.link(self.clone / ".pydock", str(self.home / ".pydock"))
        before = self.snapshot()
        self.refused("--local", "delete", "-y", "mine", says=".pydock is a symbolic link")
        (self.clone / "sub").mkdir()
        self.refused("--local", "list", says=".pydock is a symbolic link")
        result = self.run_pydock("config", cwd=self.clone)
        self.assertIn("ignoring .pydock in this folder, which is a symbolic link", result.err)
        self.assertIn("mode         global", result.out)
        self.assertIn("mode         global", self.run_pydock("config", cwd=self.clone / "sub").out)
        self.assertEqual(self.snapshot(), before)

    def test_wheels_that_is_a_link(self) -> None:
        dist = self.home / "dist"
        wheel = make_wheel(dist, "demo")
        self.link(self.dev / "wheels", str(dist))
        for argv in (["export", "dev", "x.tar"], ["clone", "dev", "new"]):
            self.refused(*argv, says="wheels is a symbolic link")
        self.assertFalse((self.clone / "x.tar").exists())
        self.assertTrue(wheel.exists())
        (self.dev / "wheels").unlink()
        (self.dev / "wheels").mkdir()
        (self.dev / "wheels" / wheel.name).symlink_to(wheel)
        self.refused("export", "dev", "x.tar", says="whl is a symbolic link")
        self.assertFalse((self.clone / "x.tar").exists())

    def test_a_python_version_file_of_a_stranger(self) -> None:
        file = self.clone / ".python-version"
        for make in (lambda: file.symlink_to(self.home / ".netrc"), lambda: os.mkfifo(str(file)), lambda: file.symlink_to("/dev/zero")):
            make()
            result = self.run_pydock("create", "new", "--no-build", cwd=self.clone, timeout=20)
            self.assertEqual(result.status, 0, result)
            self.assertIn("ignoring .python-version: ", result.err)
            self.assertNotIn("hunter2", result.err)
            self.ok("delete", "-y", "new", cwd=self.clone)
            file.unlink()

    def test_what_an_included_line_names_lies_here(self) -> None:
        make_wheel(self.home / "dist", "demo")
        (self.clone / "more").mkdir()
        for line in ("-r ../../home/.netrc", "-c %s/.netrc" % self.home, "--requirement=../../home/.netrc", "-r more/link", "-r /dev/zero", "../../home/dist",
                     "%s/dist/demo-1.0-py3-none-any.whl" % self.home, "./more/folder", "./more/folder[extra]"):
            for name, target in (("link", self.home / ".netrc"), ("folder", self.home / "dist")):
                self.link(self.clone / "more" / name, str(target))
            (self.clone / "r.txt").write_text("six\n%s\n" % line, encoding="utf-8")
            for argv in (["install", "dev", "-r", "r.txt"], ["create", "new", "-r", "r.txt"]):
                with self.subTest(line, argv=argv):
                    self.refused(*argv, says="line 2 of %s" % (self.clone / "r.txt"))
        os.mkfifo(str(self.clone / "more" / "fifo"))
        (self.clone / "r.txt").write_text("-r more/fifo\n", encoding="utf-8")
        self.refused("install", "dev", "-r", "r.txt", says="not a regular file")

    def test_an_environment_of_somebody_else(self) -> None:
        if os.getuid():
            self.skipTest("only root can give files away")
        for path in (self.dev / "dockerfile", self.dev, self.clone / ".pydock" / "envs", self.clone / ".pydock"):
            os.chown(str(path), 12345, -1)
            self.refused("--local", "run", "dev", "true", says="%s belongs to another user (uid 12345)" % path)
            os.chown(str(path), 0, -1)
        os.chown(str(self.clone / ".pydock"), 12345, -1)
        self.assertIn("which belongs to another user", self.run_pydock("list", cwd=self.clone).err)
        (self.clone / "below").mkdir(exist_ok=True)
        self.fails("build", "nope", hint="sudo chown -R %d %s" % (os.getuid(), self.clone / ".pydock"), cwd=self.clone / "below")

    def test_above_the_current_folder_a_world_writable_one_does_not_count(self) -> None:
        (self.clone / "sub").mkdir()
        self.assertIn("mode         local", self.run_pydock("config", cwd=self.clone / "sub").out)
        self.clone.chmod(0o1777)
        self.assertIn("mode         global", self.run_pydock("config", cwd=self.clone / "sub").out)
        self.assertIn("mode         local", self.run_pydock("config", cwd=self.clone).out)

    def test_links_of_the_user_s_own_for_the_global_environments(self) -> None:
        dotfiles = self.home / "dotfiles"
        dotfiles.mkdir()
        (self.home / ".pydock").rename(dotfiles / "pydock")
        (self.home / ".pydock").symlink_to("dotfiles/pydock")
        (dotfiles / "pydock" / "envs").rename(dotfiles / "envs")
        (dotfiles / "pydock" / "envs").symlink_to("../envs")
        (dotfiles / "conf").write_text("[pydock]\n", encoding="utf-8")
        (dotfiles / "pydock" / "pydock.conf").symlink_to("../conf")
        self.ok("config", "python", "3.11")
        self.assertEqual((dotfiles / "conf").read_text(encoding="utf-8"), "[pydock]\npython = 3.11\n")
        self.assertTrue((dotfiles / "pydock" / "pydock.conf").is_symlink())
        self.ok("create", "new", "--no-build")
        self.assertTrue((dotfiles / "envs" / "new" / "dockerfile").is_file())
        self.ok("delete", "-y", "mine")
        self.assertFalse((dotfiles / "envs" / "mine").exists())

    def test_deleting_follows_nothing(self) -> None:
        precious = self.home / "precious"
        precious.mkdir()
        (precious / "data").write_text("mine", encoding="utf-8")
        (self.dev / "sub" / "deep").mkdir(parents=True)
        (self.dev / "sub" / "deep" / "out").symlink_to(precious)
        (self.dev / "out").symlink_to(precious)
        (self.dev / ".requirements.txt.new").symlink_to(precious / "data")
        self.ok("delete", "-y", "dev", cwd=self.clone)
        self.assertFalse(self.dev.exists())
        self.assertEqual((precious / "data").read_text(encoding="utf-8"), "mine")
        self.assertFalse((self.clone / ".pydock").exists())


class Wheels(FilesCase):
    """A requirement that names a wheel: that lies in `wheels/`, and nowhere else."""

    def test_a_line_that_leads_out_is_an_error_and_nothing_is_deleted(self) -> None:
        wheel = make_wheel(self.clone / "dist", "demo")
        for line in ("./wheels/../../../../dist/demo-1.0-py3-none-any.whl", "./wheels/x/../../../../../dist/demo-1.0-py3-none-any.whl",
                     " .//wheels/../../../../dist/demo-1.0-py3-none-any.whl", "wheels/../../../../dist/demo-1.0-py3-none-any.whl"):
            (self.dev / "requirements.txt").write_text("# x\n%s\n" % line, encoding="utf-8")
            for argv in (["install", "dev", "six"], ["uninstall", "dev", "demo"], ["update", "dev"], ["build", "dev"], ["run", "dev", "true"], ["lock", "dev"]):
                with self.subTest(line, argv=argv):
                    self.refused(*argv, says="line 2 of %s/requirements.txt leads outside wheels/" % self.dev)
        self.assertTrue(wheel.exists())


class Inside(SharedCase):
    """What runs inside cannot change an environment's definition, or what pydock keeps for itself; the rest of the folder it can."""

    @classmethod
    def prepare(cls, case: Case) -> None:
        case.ok("--global", "create", "e")
        project = case.work / "project"
        project.mkdir()
        case.ok("--local", "create", "dev", cwd=project)

    def check(self, env: str, folder: Path, at: str, fails: List[str], works: List[str]) -> None:
        for started in (False, True):
            if started:
                self.ok("start", env, cwd=folder)
            try:
                for where in (at, str(folder)):
                    for line in fails:
                        with self.subTest(line, where=where, started=started):
                            result = self.run_pydock("run", env, "sh", "-c", "cd %s && { %s; }" % (where, line), cwd=folder)
                            self.assertNotEqual(result.status, 0, result)
                    for line in works:
                        with self.subTest(line, where=where, started=started):
                            self.ok("run", env, "sh", "-c", "cd %s && { %s; }" % (where, line), cwd=folder)
            finally:
                if started:
                    self.ok("stop", "--force", env, cwd=folder)

    def test_a_project_s_own_definition(self) -> None:
        project = self.work / "project"
        fails = ["echo >> .pydock/envs/dev/dockerfile", "touch .pydock/envs/dev/docker-compose.yml", "touch .pydock/pydock.conf", "rm .pydock/envs/dev/dockerfile",
                 "mv .pydock x", "rm -rf .pydock", "mv .pydock/envs x", "mkdir .pydock/x"]
        works = ["cat .pydock/envs/dev/dockerfile", "touch file && rm file", "mkdir folder && mv folder other && rmdir other"]
        inner = self.ok("run", "dev", "pwd", cwd=project).strip()
        self.check("dev", project, inner, fails, works)
        self.assertTrue((project / ".pydock" / "envs" / "dev" / "dockerfile").is_file())

    def test_the_home_and_all_that_pydock_has_there(self) -> None:
        inner = self.ok("run", "e", "pwd", cwd=self.home).strip()
        self.assertTrue((self.home / ".local" / "share" / "pydock").is_dir())
        fails = ["echo >> .pydock/envs/e/dockerfile", "touch .pydock/pydock.conf", "mv .pydock x", "mv .local x", "mv .local/share x", "mv .local/share/pydock x",
                 "touch .local/share/pydock/x", "rm -rf .local/share"]
        works = ["touch .local/share/file && rm .local/share/file", "touch file && rm file", "ls .pydock/envs/e/dockerfile", "touch .local/file && rm .local/file"]
        self.check("e", self.home, inner, fails, works)
        self.assertTrue((self.home / ".local" / "share" / "pydock").is_dir())

    def test_a_folder_above_the_home(self) -> None:
        result = self.run_pydock("--global", "run", "e", "sh", "-c", "touch home/.pydock/x || mv home x || mv home/.local x || touch home/.local/share/pydock/x", cwd=self.base)
        self.assertNotEqual(result.status, 0, result)
        self.ok("--global", "run", "e", "touch", "home/file", cwd=self.base)
        self.assertTrue((self.home / "file").exists())

    def test_in_the_definition_s_folder_all_is_read_only(self) -> None:
        for env, folder in (("e", self.folder("e")), ("e", self.home / ".pydock"), ("e", self.work / "project" / ".pydock" / "envs")):
            self.assertNotEqual(self.run_pydock("--global", "run", env, "touch", "x", cwd=folder).status, 0)
            self.ok("--global", "run", env, "ls", cwd=folder)
        self.assertNotEqual(self.run_pydock("run", "dev", "touch", "x", cwd=self.work / "project" / ".pydock").status, 0)

    def test_a_link_of_the_user_s_own_makes_the_home_read_only_and_that_is_said(self) -> None:
        share = self.base / "data"
        share.mkdir(exist_ok=True)
        link = self.home / "data"
        link.symlink_to(share)
        try:
            environ = {"XDG_DATA_HOME": str(link)}
            result = self.run_pydock("run", "e", "touch", "x", cwd=self.home, environ=environ)
            self.assertNotEqual(result.status, 0)
            self.assertIn("is read-only inside", result.err)
        finally:
            link.unlink()

    def test_a_started_container_whose_folder_became_a_project_gets_a_new_one(self) -> None:
        folder = self.work / "later"
        folder.mkdir()
        self.ok("--global", "start", "e", cwd=folder)
        try:
            self.ok("--local", "create", "dev", "--no-build", cwd=folder)
            result = self.run_pydock("--global", "run", "e", "sh", "-c", "echo >> .pydock/envs/dev/dockerfile", cwd=folder)
            self.assertNotEqual(result.status, 0, result)
            self.ok("--global", "run", "e", "touch", "file", cwd=folder)
        finally:
            self.ok("--global", "stop", "--force", "e", cwd=folder)

    def test_an_activated_program_knows_its_way_within_the_definition(self) -> None:
        project = self.work / "project"
        script = 'eval "$(%s activate --shell sh dev)" && python -c "open(\'/tmp/mark\', \'w\')" && cd .pydock/envs/dev && python -c "%s"; deactivate'
        code = "import os; print(os.getcwd(), os.path.exists('/tmp/mark'), os.access('.', os.W_OK))"  # in the same container
        words = " ".join("'%s'" % word for word in self.program)
        done = subprocess.run(["sh", "-c", script % (words, code)], cwd=str(project), env=self.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
        self.assertIn("/.pydock/envs/dev True False\n", done.stdout, done.stderr)


if __name__ == "__main__":
    unittest.main()
