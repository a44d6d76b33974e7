"""A docker-compose.yml of others: not one byte of it, or of what lies beside it, is obeyed before the user has allowed it (`pydock trust`)."""
import json
import os
import shutil
import stat
import subprocess
import unittest
from pathlib import Path
from typing import Any, Dict, List, Optional
from unittest import mock

from support import ENGINE, Case, engine, needs_compose, pydock


STARTING = (["run", "dev", "true"], ["shell", "dev"], ["start", "dev"], ["activate", "--shell", "sh", "dev"], ["reset", "dev"], ["link", "dev", "python"],
            ["kernel", "dev"])


class AllowedCase(Case):
    """A clone with an environment that somebody else wrote."""

    def setUp(self) -> None:
        super().setUp()
        self.clone = self.work / "clone"
        self.clone.mkdir()
        self.dev = self.clone / ".pydock" / "envs" / "dev"
        self.marker = self.base / "marker"

    def make(self, **service: Any) -> None:
        """What a clone brings, on a machine that has never seen it."""
        self.ok("--local", "create", "dev", "--no-build", cwd=self.clone)
        shutil.rmtree(str(self.home / ".local"), ignore_errors=True)
        self.write(**service)

    def write(self, services: Optional[Dict[str, Any]] = None, **service: Any) -> None:
        whole = {"services": {"app": {"build": ".", "command": ["/bin/sleep", "infinity"], **service}, **(services or {})}}
        (self.dev / "docker-compose.yml").write_text(json.dumps(whole, indent=1), encoding="utf-8")

    def refused(self, *argv: str, says: str = "docker-compose.yml is not trusted yet", cwd: Optional[Path] = None, **options: Any) -> None:
        self.fails(*argv, says=says, hint="pydock trust dev", cwd=cwd or self.clone, **options)

    def fake_compose(self) -> None:
        """An engine that notes each time that it is asked for compose."""
        self.fake()

    def composed(self) -> List[str]:
        return [line for line in self.calls() if line.startswith("compose")]


class Words(AllowedCase):
    """What the user sees and says. Nothing is started."""

    def test_what_starts_something_is_one_error_and_compose_is_not_asked(self) -> None:
        self.make(privileged=True)
        self.fake_compose()
        for argv in STARTING:
            for dry_run in ([], ["-n"])[:1 + (argv[0] in pydock.DRY_RUN)]:
                with self.subTest(argv, dry_run=dry_run):
                    self.refused(*dry_run, *argv)
        self.assertEqual(self.composed(), [])
        self.assertNotIn(self.prefix + "-dev", " ".join(self.tags()))  # nor is it built

    def test_what_starts_nothing_needs_no_word(self) -> None:
        self.make()
        self.fake_compose()
        for argv in (["list"], ["freeze", "dev"], ["unfreeze", "dev"], ["export", "dev", "x.tar"], ["stop", "dev"], ["delete", "-y", "dev"]):
            self.ok(*argv, cwd=self.clone)
        self.assertEqual(self.composed(), [])

    def test_it_shows_every_file_asks_and_notes_these_bytes(self) -> None:
        self.make(environment={"A": "\u202eevil"})
        (self.dev / ".env").write_text("COMPOSE_EXPERIMENTAL_GIT_REMOTE=1\n\x1b[2Jx\n", encoding="utf-8")
        (self.dev / "HEAD").write_bytes(b"\xff\x00")
        (self.dev / "objects").mkdir()
        (self.dev / "objects" / "deep").write_text("deep down\n", encoding="utf-8")
        self.fails("trust", "dev", says="without confirmation (no terminal)", hint="-y", cwd=self.clone)
        self.refused("run", "dev", "true")
        shown = self.terminal("trust", "dev", answer="n\n", cwd=self.clone)
        self.assertEqual(shown.status, 1, shown)
        for text in ("docker-compose.yml", "COMPOSE_EXPERIMENTAL_GIT_REMOTE=1", "\\x1b[2Jx", "deep down", "HEAD: 2 bytes, not text", "nothing allowed"):
            self.assertIn(text, shown.out)
        self.assertNotIn("\x1b[2J", shown.out)
        self.assertNotIn("\u202e", shown.out)
        self.refused("run", "dev", "true")
        self.assertEqual(self.terminal("trust", "dev", answer="y\n", cwd=self.clone).status, 0)
        self.assertIn("is trusted already", self.run_pydock("trust", "dev", cwd=self.clone).err)
        note, = (self.home / ".local" / "share" / "pydock" / "trust").iterdir()
        self.assertEqual((stat.S_IMODE(note.stat().st_mode), stat.S_IMODE(note.parent.stat().st_mode)), (0o600, 0o700))

    def test_whatever_changes_is_to_be_read_again_and_the_difference_is_shown(self) -> None:
        self.make()
        (self.dev / "more").mkdir()
        (self.dev / "more" / "part.yml").write_text("one\ntwo\n", encoding="utf-8")

        def change(path: str, text: str) -> Any:
            return lambda: (self.dev / path).write_text(text, encoding="utf-8")

        for what, says in ((change("more/part.yml", "one\n2\n"), "part.yml was changed since"), (change("more/new", "x"), "more/new is not trusted yet"),
                           (change(".hidden.new", "x"), ".hidden.new is not trusted yet"), (lambda: (self.dev / "more" / "part.yml").unlink(), "part.yml was deleted since")):
            self.ok("trust", "-y", "dev", cwd=self.clone)
            self.assertEqual(self.run_pydock("-n", "run", "dev", "true", cwd=self.clone).status, 0)
            what()
            self.refused("-n", "run", "dev", "true", says=says)
        self.ok("trust", "-y", "dev", cwd=self.clone)
        self.write(ports=["1:1"])
        out = self.ok("trust", "-y", "dev", cwd=self.clone)
        self.assertIn('+   "ports": [', out)
        self.assertNotIn("-   \"build\"", out)
        self.assertIn("==> dockerfile is unchanged since you allowed it", out)

    def test_packages_are_no_part_of_it(self) -> None:
        self.make()
        self.ok("trust", "-y", "dev", cwd=self.clone)
        (self.dev / "requirements.txt").write_text("six\n", encoding="utf-8")
        (self.dev / "wheels").mkdir()
        (self.dev / "wheels" / "x-1-py3-none-any.whl").write_bytes(b"x")
        (self.dev / "dockerfile").write_text("FROM python:3.12-slim\n# x\n", encoding="utf-8")
        self.ok("-n", "start", "dev", cwd=self.clone)

    def test_links_and_special_files_are_an_error(self) -> None:
        self.make()
        for make, says in ((lambda path: path.symlink_to("/etc/passwd"), "is a symbolic link"), (lambda path: os.mkfifo(str(path)), "is not a regular file"),
                           (lambda path: path.symlink_to("/"), "is a symbolic link")):
            make(self.dev / "x")
            for argv in (["trust", "-y", "dev"], ["run", "dev", "true"], ["start", "dev"]):
                self.fails(*argv, says="x " + says, cwd=self.clone)
            (self.dev / "x").unlink()
        (self.dev / "docker-compose.yml").unlink()
        (self.dev / "docker-compose.yml").symlink_to("../../../other.yml")
        for argv in (["trust", "-y", "dev"], ["run", "dev", "true"]):
            self.fails(*argv, says="docker-compose.yml is a symbolic link", cwd=self.clone)

    def test_it_can_be_taken_back_and_goes_with_the_environment(self) -> None:
        self.make()
        self.ok("trust", "-y", "dev", cwd=self.clone)
        self.ok("-n", "start", "dev", cwd=self.clone)
        self.ok("trust", "--remove", "dev", cwd=self.clone)
        self.refused("-n", "start", "dev")
        self.ok("delete", "-y", "dev", cwd=self.clone)
        self.assertEqual(list((self.home / ".local" / "share" / "pydock" / "trust").iterdir()), [])

    def test_what_was_made_here_needs_no_word_and_what_is_written_beside_it_does(self) -> None:
        self.ok("--global", "create", "mine", "--no-build", "-p", "8000")
        self.ok("-n", "start", "mine")
        (self.folder("mine") / "x").write_text("x", encoding="utf-8")
        self.ok("-n", "start", "mine")
        self.assertIn("is trusted", self.run_pydock("trust", "mine").err)
        self.ok("--local", "create", "dev", "--no-build", "-p", "8000", cwd=self.clone)
        self.ok("-n", "start", "dev", cwd=self.clone)
        (self.dev / ".env").write_text("A=1\n", encoding="utf-8")
        self.refused("-n", "start", "dev", says=".env is not trusted yet")

    def test_a_folder_deeper_than_anybody_reads_is_one_line(self) -> None:
        self.make()
        path = str(self.dev)
        for _ in range(300):
            path += "/a"
            os.mkdir(path)
        self.fails("trust", "-y", "dev", says="is not a regular file", cwd=self.clone)

    def test_two_that_create_one_name_share_no_note(self) -> None:
        """What others wrote is theirs while it is built, whatever becomes of another command's; and the second one changes no note of the first."""
        with mock.patch.dict(os.environ, {"HOME": str(self.home)}):
            scope = pydock.global_scope()
            of_others, own = pydock.Env(scope, "e", "x"), pydock.Env(scope, "e", "x")
            of_others.stage()
            own.stage()
            own.made_here = True
            for env in (of_others, own):
                env.write("dockerfile", "FROM x\n")
                env.write("requirements.txt", "")
            self.assertEqual([pydock.domain_of(of_others) != "", pydock.domain_of(own)], [True, ""])
            pydock.publish(own, {}, None)
            with self.assertRaisesRegex(pydock.PydockError, "was created by another command meanwhile"):
                pydock.publish(of_others, {"dockerfile": "FROM x\n"}, [])
            pydock.undo_create(mock.Mock(), of_others, [], True)
            self.assertEqual((pydock.read_note(own), pydock.domain_of(pydock.Env(scope, "e", "x"))), (None, ""))

    def test_another_folder_with_the_same_bytes_is_another(self) -> None:
        self.make()
        self.ok("trust", "-y", "dev", cwd=self.clone)
        other = self.work / "other"
        shutil.copytree(str(self.clone), str(other))
        self.refused("-n", "start", "dev", cwd=other)

    def test_a_note_that_others_wrote_or_that_is_broken_allows_nothing(self) -> None:
        self.make()
        self.ok("trust", "-y", "dev", cwd=self.clone)
        note, = (self.home / ".local" / "share" / "pydock" / "trust").iterdir()
        for text in ("", "[]", "{}", '{"files": {"docker-compose.yml": 1}}', '{"files": []}', "\udcff"):
            note.write_bytes(os.fsencode(text))
            self.refused("-n", "start", "dev")

    @needs_compose
    def test_dry_run_prints_compose_s_lines_and_asks_it_only_what_the_file_says(self) -> None:
        self.make()
        self.ok("trust", "-y", "dev", cwd=self.clone)
        self.fake_compose()
        for command in (["run", "dev", "true"], ["start", "dev"]):
            script = self.ok("-n", *command, cwd=self.clone)
            self.assertIn("cd /; COMPOSE_EXPERIMENTAL_GIT_REMOTE=0 COMPOSE_EXPERIMENTAL_OCI_REMOTE=0 docker compose -p", script)
            self.assertIn("--project-directory %s" % self.dev, script)
            self.assertEqual(subprocess.run(["sh", "-n"], input=script, text=True).returncode, 0)
        self.assertEqual(len(self.composed()), 4, "the file as JSON, and its services")
        self.assertEqual(self.containers(), [])


class Passed(unittest.TestCase):
    def test_what_builds_of_a_dockerfile_that_was_changed(self) -> None:
        for build, refused in (({"context": "/e/db", "dockerfile": "Dockerfile"}, False), ({"context": "/e/db", "dockerfile": "../Dockerfile"}, True), ({"context": "/e"}, True),
                               ({"context": "/other", "dockerfile": "/e/dockerfile"}, True), ({"context": "/other"}, False)):
            with self.subTest(build), mock.patch.object(pydock, "read_note", return_value={}):
                whole = {"services": {"dep": {"build": build}, "app": {"build": {"context": "/e"}}}}
                said = None
                try:
                    pydock.check_builds(mock.Mock(folder="/e"), whole, {"dockerfile": b""})
                except pydock.PydockError as error:
                    said = str(error)
                self.assertEqual(bool(said), refused)

    def test_the_ports_that_compose_opens_on_this_host(self) -> None:
        db = {"ports": [{"target": 5432, "published": "5432", "protocol": "udp"}, {"target": 1}]}
        app = {"ports": [{"host_ip": "127.0.0.1", "target": 80, "published": "8080"}]}
        self.assertEqual(pydock.published_ports({"services": {"db": db, "app": app, "idle": {"ports": None}}}),
                         ["-p", "0.0.0.0:5432:5432/udp", "-p", "127.0.0.1:8080:80/tcp"])


@needs_compose
class Real(AllowedCase):
    """With a real engine and compose."""

    def tearDown(self) -> None:
        for name in self.containers():
            engine("rm", "-f", name, check=False)
        for network in engine("network", "ls", "--format", "{{.Name}}").split():
            if network.startswith(self.prefix):
                engine("network", "rm", network, check=False)

    def repository(self) -> None:
        """The environment's folder as a bare git repository, whose settings name a program."""
        script = self.base / "evil"
        script.write_text("#!/bin/sh\necho >> %s\n" % self.marker, encoding="utf-8")
        script.chmod(0o755)
        subprocess.run(["git", "init", "-q", "--bare", str(self.base / "bare")], check=True)
        for path in (self.base / "bare").iterdir():
            path.rename(self.dev / path.name)
        with (self.dev / "config").open("a", encoding="utf-8") as config:
            config.write('[protocol "ext"]\n\tallow = always\n[url "ext::%s "]\n\tinsteadOf = https://127.0.0.1:1/\n' % script)
        (self.dev / ".env").write_text("COMPOSE_EXPERIMENTAL_GIT_REMOTE=1\nCOMPOSE_EXPERIMENTAL_OCI_REMOTE=true\n", encoding="utf-8")
        whole = {"include": ["https://127.0.0.1:1/x.git"], "services": {"dev": {"build": "."}}}
        (self.dev / "docker-compose.yml").write_text(json.dumps(whole), encoding="utf-8")

    @unittest.skipUnless(shutil.which("git"), "no git here")
    def test_no_git_of_the_host_is_started_before_or_after_the_word(self) -> None:
        self.make()
        self.repository()
        subprocess.run([*ENGINE, "compose", "config"], cwd=str(self.dev), env=self.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if not self.marker.exists():
            self.skipTest("this compose starts no git by itself")
        self.marker.unlink()
        for argv in (["-n", "run", "dev", "true"], ["run", "dev", "true"], ["start", "dev"]):
            self.refused(*argv)
        self.ok("trust", "-y", "dev", cwd=self.clone)
        for argv in (["run", "dev", "true"], ["start", "dev"], ["-n", "run", "dev", "true"], ["-n", "start", "dev"]):
            for folder in (self.clone, self.dev):
                self.assertNotIn("rm -f ''", self.fails(*argv, says="docker-compose.yml", cwd=folder).out)
        self.assertFalse(self.marker.exists())

    def test_what_was_allowed_runs_and_what_changed_since_does_not(self) -> None:
        self.make(environment={"A": "${B}"})
        (self.dev / ".env").write_text("B=from the file\n", encoding="utf-8")
        self.ok("trust", "-y", "dev", cwd=self.clone)
        self.assertEqual(self.ok("run", "dev", "printenv", "A", cwd=self.clone), "from the file\n")
        self.ok("start", "dev", cwd=self.clone)
        self.assertEqual(self.ok("run", "dev", "printenv", "A", cwd=self.clone), "from the file\n")
        self.write(volumes=["%s:/host" % self.home])
        self.assertEqual(self.ok("run", "dev", "printenv", "A", cwd=self.clone), "from the file\n")  # as it was started
        for argv in (["run", "--fresh", "dev", "true"], ["reset", "dev"], ["start", "dev"]):
            self.refused(*argv, says="docker-compose.yml was changed since")
        self.assertEqual(self.ok("run", "dev", "sh", "-c", "ls /host 2>&1 || true; printenv A", cwd=self.clone).splitlines()[-1], "from the file")
        self.ok("stop", "dev", cwd=self.clone)
        self.refused("run", "dev", "true", says="docker-compose.yml was changed since")

    def test_code_inside_cannot_change_what_compose_reads_next(self) -> None:
        self.make()
        self.ok("trust", "-y", "dev", cwd=self.clone)
        for started in (False, True):
            if started:
                self.ok("start", "dev", cwd=self.clone)
            for line in ("echo >> .pydock/envs/dev/docker-compose.yml", "rm .pydock/envs/dev/docker-compose.yml", "mv .pydock x", "mv .pydock/envs/dev .pydock/envs/x",
                         "touch .pydock/envs/dev/.env", "ln -sf /etc/passwd .pydock/envs/dev/y"):
                self.assertNotEqual(self.run_pydock("run", "dev", "sh", "-c", line, cwd=self.clone).status, 0, line)
            self.ok("run", "dev", "touch", "file", cwd=self.clone)
        self.ok("reset", "dev", cwd=self.clone)

    def test_a_copy_is_allowed_as_its_source_is(self) -> None:
        self.make()
        self.ok("build", "dev", cwd=self.clone)
        self.ok("--global", "clone", "dev", "copy", cwd=self.clone)
        self.fails("--global", "-n", "start", "copy", says="is not trusted yet", hint="pydock trust copy")
        self.ok("--local", "clone", "dev", "local", cwd=self.clone)
        self.fails("-n", "start", "local", says="is not trusted yet", cwd=self.clone)
        self.ok("trust", "-y", "dev", cwd=self.clone)
        self.ok("--global", "clone", "dev", "second", cwd=self.clone)
        self.ok("--global", "-n", "start", "second", cwd=self.work)
        self.write(privileged=True)
        self.ok("--global", "clone", "dev", "third", cwd=self.clone)
        self.fails("--global", "-n", "start", "third", says="is not trusted yet")
        self.ok("--global", "trust", "-y", "third")
        self.ok("--global", "-n", "start", "third")
        self.ok("--global", "trust", "--remove", "third")  # it never becomes one that was made here
        self.fails("--global", "-n", "start", "third", says="is not trusted yet")

    def test_what_somebody_handed_over_is_not_allowed(self) -> None:
        self.ok("--global", "create", "mine", "-e", "A=1")
        self.ok("export", "mine", "mine.tar")
        self.ok("--global", "create", "theirs", "--from", "mine.tar")
        self.fails("--global", "-n", "start", "theirs", says="is not trusted yet", hint="pydock trust theirs")
        self.fails("--global", "run", "theirs", "true", says="is not trusted yet", hint="pydock trust theirs")
        self.assertIn('- "A=1"', self.ok("--global", "trust", "-y", "theirs"))
        self.assertEqual(self.ok("--global", "run", "theirs", "printenv", "A"), "1\n")
        self.ok("delete", "-y", "theirs")
        self.ok("--global", "create", "theirs", "--no-build", "-e", "A=1")
        self.ok("-n", "start", "theirs")

    def test_the_helper_for_a_dockerfile(self) -> None:
        self.make()
        with mock.patch.dict(os.environ, self.environ), mock.patch("os.getcwd", return_value=str(self.clone)):
            env = pydock.Env(pydock.Scope("local", str(self.clone / ".pydock"), ""), "dev", "x")
            self.assertFalse(pydock.is_allowed(env, "dockerfile"))
            pydock.write_note(env, pydock.watched_files(env))
            self.assertTrue(pydock.is_allowed(env, "dockerfile"))
            self.assertFalse(pydock.is_allowed(env, "dockerfile", "0" * 64), "an image of another one")
            (self.dev / "script").touch()
            self.assertEqual(pydock.domain_of(env), "", "which copies nothing of it")
            (self.dev / "dockerfile").write_text("FROM x\nCOPY script .\nRUN ./script", encoding="utf-8")
            self.assertFalse(pydock.is_allowed(env, "dockerfile"))
            pydock.write_note(env, pydock.watched_files(env))
            self.assertEqual(pydock.domain_of(env), "")
            for change in (lambda: (self.dev / "script").write_text("evil", encoding="utf-8"), (self.dev / "script").unlink):
                change()
                self.assertNotEqual(pydock.domain_of(env), "")


if __name__ == "__main__":
    unittest.main()
