"""Care: what pydock made and nothing needs any more goes, asked for and nothing else; and words are completed in the real shells."""
from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tarfile
import unittest
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from support import ENGINE, PYTHON, STRANGER, Case, Disturbed, Result, SharedCase, Terminal, as_user, docker_groups, engine, make_wheel, pydock

READING = {"image ls", "image inspect", "volume inspect", "volume ls", "ps -aq", "ps -a", "context inspect", "version --format", "buildx version"}


class PruneCase(Disturbed):
    """Most images here are made by hand, of files that no other image has: pydock sees their tags, labels, layers and sizes."""

    def setUp(self) -> None:
        super().setUp()
        (self.home / ".pydock" / "envs").mkdir(parents=True)
        self.environ["PYDOCK_HISTORY"] = "1"

    def states(self, name: str, *below: int, folder: Optional[Path] = None, repo: str = "") -> None:
        """Images as if of an environment: for each number a state that stands on the state of that number, or on none (0). The
        last one is the present."""
        repo = repo or "%s-%s" % (self.prefix, name)
        labels = {"pydock": "1", "pydock.name": name, "pydock.folder": pydock.quote(str(folder or self.folder(name))), "pydock.dockerfile": "0",
                  "pydock.requirements": "0", "pydock.packages": "", "pydock.command": "build%20" + name, "pydock.time": "2026-01-01T00:00:00Z"}
        changes = [word for pair in labels.items() for word in ("--change", "LABEL %s=%s" % pair)]
        data, archive, tag = self.base / "data", self.base / "data.tar", ""
        for number, parent in enumerate(below, 1):
            tag = "%s:%d" % (repo, number)
            data.write_bytes(os.urandom(100000 * (number + 1)))
            if parent:
                container = repo + "--made"
                engine("create", "--name", container, "%s:%d" % (repo, parent), "/nothing")
                engine("cp", str(data), "%s:/data%d" % (container, number))
                engine("commit", *changes, container, tag)
                engine("rm", container)
            else:
                with tarfile.open(str(archive), "w") as tar:
                    tar.add(str(data), "data%d" % number)
                engine("import", *changes, str(archive), tag)
        engine("tag", tag, repo + ":latest")

    def environment(self, name: str, *below: int) -> None:
        """One whose folder is there, with such states."""
        self.ok("create", name, "--no-build")
        self.states(name, *below)

    def in_project(self, *below: int) -> Tuple[Path, str]:
        """A project with an environment `dev` of such states: its folder, and the name of the images."""
        project = self.work / "project"
        (project / "src").mkdir(parents=True)
        self.ok("--local", "create", "dev", "--no-build", cwd=project)
        env = pydock.Env(pydock.Scope("local", str(project / ".pydock"), ""), "dev", self.prefix)
        self.states("dev", *below, folder=project / ".pydock" / "envs" / "dev", repo=env.repo)
        return project, env.repo

    def tagged(self, name: str, *tags: Any) -> Set[str]:
        return {"%s-%s:%s" % (self.prefix, name, tag) for tag in tags}

    def size(self, tag: str) -> int:
        return int(engine("image", "inspect", "--format", "{{.Size}}", tag))

    def rows(self, out: str) -> Dict[str, Tuple[str, str, str]]:
        """What prune shows, by tag: why, own and shared size."""
        return {tag: (why, own, shared) for tag, why, own, shared in re.findall(r"(?m)^(\S+:\S+)  +(\S.*?)  +(\S+)  +(\S+)  +[/~]\S+$", out)}

    def engine_that(self, does: str) -> None:
        """Puts an engine first on PATH that does this, in sh, before it passes a call on to the real one."""
        folder = self.base / "engine"
        folder.mkdir(exist_ok=True)
        real = shutil.which(ENGINE[-1])
        assert real
        program = folder / ENGINE[-1]
        program.write_text("#!/bin/sh\n%s\nexec %s \"$@\"\n" % (does, shlex.quote(real)), encoding="utf-8")
        program.chmod(0o755)
        self.environ["PATH"] = str(folder) + os.pathsep + os.environ["PATH"]


class Pruned(PruneCase):
    """What goes, what it is said to take, and that nothing else does."""

    def others(self) -> Callable[[], List[Any]]:
        """What other people have on the engine: a volume, a network, an untagged image, and one of a build whose steps are in the
        builder's cache. A function that looks at all of it, and builds that again."""
        self.bystanders()
        mark, empty = self.stranger, self.base / "empty"
        empty.mkdir()
        for kind in ("volume", "network"):
            engine(kind, "create", mark)
            self.addCleanup(engine, kind, "rm", mark, check=False)
        untagged = engine("import", str(self.base / "empty.tar")).splitlines()[-1]
        text = "FROM python:%s-slim\nLABEL test.of=%s\nRUN head -c 9 /dev/urandom >/random\nRUN echo two >/two\n" % (PYTHON, mark)

        def build() -> str:
            return engine("build", "-q", "-f", "-", str(empty), input=text).splitlines()[-1]

        built = build()
        self.addCleanup(engine, "rmi", "-f", untagged, built, check=False)

        def look() -> List[Any]:
            found = [engine(kind, "inspect", "--format", "{{.Name}}", mark) for kind in ("volume", "network")]
            found += [engine("image", "inspect", "--format", "{{.Id}} {{.RepoTags}}", image) for image in (untagged, built)]
            return [found, build().split(":")[-1], self.of_bystanders()]

        self.assertEqual(look()[1], built.split(":")[-1], "a build that changes nothing is no test of the cache")
        return look

    def test_a_project_has_no_say_in_what_is_kept_of_others(self) -> None:
        del self.environ["PYDOCK_HISTORY"]
        wheels = [str(make_wheel(self.base / "wheels", "pydocktiny%d" % number)) for number in range(1, 5)]
        self.ok("create", "e", wheels[0])
        for wheel in wheels[1:]:
            self.ok("install", "e", wheel)
        project = self.work / ".pydock"
        project.mkdir()
        (project / "pydock.conf").write_text("[pydock]\nhistory = 1\n", encoding="utf-8")
        before = self.tags()
        self.ok("prune", "-y")
        self.assertEqual(self.tags(), before)
        (self.home / ".pydock" / "pydock.conf").write_text("[pydock]\nhistory = 1\n", encoding="utf-8")
        self.ok("prune", "-y")
        self.assertEqual(set(before) - set(self.tags()), self.tagged("e", 2))

    def test_what_nothing_needs_goes_and_everything_else_on_the_engine_stays(self) -> None:
        look = self.others()
        wheels = [str(make_wheel(self.base / "wheels", "pydocktiny%d" % number)) for number in range(1, 6)]
        self.environ["PYDOCK_HISTORY"] = "10"
        self.ok("create", "e", wheels[0])
        for number in (2, 3, 4, 5):
            self.ok("install", "e", wheels[number - 1])
            if number == 2:
                self.ok("snapshot", "e", "paper")
        self.environ["PYDOCK_HISTORY"] = "1"
        self.ok("create", "gone")
        shutil.rmtree(str(self.folder("gone")))
        before, tags, files = look(), self.tags(), self.snapshot()
        result = self.run_pydock("prune", "-y")
        self.assertEqual(result.status, 0, result)
        gone = self.tagged("gone", 1, "latest") | self.tagged("e", 3)
        self.assertEqual({tag: tags[tag] for tag in set(tags) - gone}, self.tags())
        self.assertEqual(set(self.rows(result.out)), gone, result)
        self.assertEqual({why for tag, (why, _, _) in self.rows(result.out).items() if "-gone:" in tag}, {"orphaned"})
        self.assertEqual(look(), before)
        self.assertEqual(self.snapshot(), files)
        self.assert_works("e", *("pydocktiny%d" % number for number in range(1, 6)))
        self.assertEqual([row["revision"] for row in json.loads(self.ok("history", "e", "--json"))], [1, 2, 4, 5])
        again = self.run_pydock("prune")
        self.assertEqual((again.status, again.out), (0, ""), again)
        self.assertIn("nothing to remove", again.err)
        self.ok("rollback", "e", "paper")
        self.assertEqual(self.ok("run", "e", "python", "-c", "import pydocktiny2; print(pydocktiny2.version)"), "1.0\n")

    def test_own_and_shared_are_what_the_engine_says(self) -> None:
        self.states("gone", 0, 1)
        self.environment("line", 0, 1, 2, 3, 4)
        self.environment("fan", 0, 1, 1, 1, 1)  # such as five installs, each rolled back
        size = {tag: self.size(tag) for tag in self.tags()}

        def sizes(name: str, state: int, shared: int) -> List[Tuple[str, str]]:
            """Own and shared size of a state of which so much stays."""
            total = size["%s-%s:%d" % (self.prefix, name, state)]
            return [(pydock.human_size(total - shared), pydock.human_size(shared))]

        first, second = (size["%s-gone:%d" % (self.prefix, number)] for number in (1, 2))
        result = self.run_pydock("prune", "-y")
        rows = self.rows(result.out)
        self.assertEqual(set(rows), self.tagged("gone", 1, 2, "latest") | self.tagged("line", 2, 3) | self.tagged("fan", 2, 3), result)
        shown = {tag.split("-", 1)[1]: row[1:] for tag, row in rows.items()}
        self.assertEqual([shown["gone:1"]], sizes("gone", 1, 0))
        self.assertEqual(sorted([shown["gone:2"], shown["gone:latest"]]), sorted(sizes("gone", 2, first) + sizes("gone", 2, second)), "counted once, and only once")
        for number in (2, 3):
            with self.subTest("what the present state stands on", state=number):
                self.assertEqual([shown["line:%d" % number]], sizes("line", number, size["%s-line:%d" % (self.prefix, number)]))
            with self.subTest("what nothing stands on", state=number):
                self.assertEqual([shown["fan:%d" % number]], sizes("fan", number, size[self.prefix + "-fan:1"]))
        freed = second + sum(size["%s-fan:%d" % (self.prefix, number)] - size[self.prefix + "-fan:1"] for number in (2, 3))
        self.assertIn(pydock.human_size(freed), result.err)

    def test_images_of_a_project_that_was_deleted(self) -> None:
        project, _ = self.in_project(0)
        self.assertIn("nothing to remove", self.run_pydock("prune").err)
        shutil.rmtree(str(project))
        self.ok("prune", "-y")
        self.assertEqual(self.tags(), {})

    def test_links_and_kernels_of_what_is_gone_go_and_nobody_elses(self) -> None:
        data, links, kernels = self.home / ".local/share/pydock", self.home / "links", self.home / ".local/share/jupyter/kernels"
        precious = self.base / "precious"
        precious.mkdir()
        (precious / "file").write_text("", encoding="utf-8")
        wheel = make_wheel(self.base, "ipykernel")
        names = [f"{self.prefix}-{name}" for name in ("gone", "stays")]
        for name in ("gone", "stays"):
            self.ok("create", name, str(wheel))
            self.ok("link", name, "python", "--to", str(links / name))
            self.ok("kernel", name)
        shims, spec = (folder / names[0] for folder in (data, kernels))
        whole, own = shims / "kernel" / "kernel.json", kernels / "own"
        own.mkdir()  # somebody's, which starts what pydock made
        (own / "kernel.json").write_text(whole.read_text(encoding="utf-8"), encoding="utf-8")
        (kernels / "mine").symlink_to(shims / "kernel")
        (shims / "precious").symlink_to(precious)
        enter = (shims / "enter").read_text(encoding="utf-8")
        for name, text in ((f"{self.prefix}other-gone", enter), (f"{self.prefix}-", "")):  # of another prefix, and of nobody
            (data / name).mkdir()
            (data / name / "enter").write_text(text, encoding="utf-8")
        for name in ("gone__", "gone__00000000"):
            (data / f"{self.prefix}-{name}").symlink_to(precious)
        self.assertIn("nothing to remove", self.run_pydock("prune", "-y").err)
        gone, away = {shims, spec, links / "gone" / "python"}, self.base / "away"
        self.folder("gone").rename(away)
        terminal = Terminal(self, [*self.program, "prune"], self.work, self.environ, (24, 200))
        terminal.expect("[y/N]")
        away.rename(self.folder("gone"))
        terminal.type("y\n")
        self.assertEqual((terminal.wait(), [path for path in gone if not os.path.lexists(path)]), (0, []), terminal.shown)
        shutil.rmtree(str(self.folder("gone")))
        shown = self.terminal("prune", answer="n\n", columns=200)
        for path in gone:
            self.assertRegex(shown.out, rf"(?m)^ +orphaned +{re.escape(str(path)).replace(re.escape(str(self.home)), '~')}\r?$")
            self.assertTrue(os.path.lexists(path))
        before = {path for folder in (data, links, kernels) for path in folder.rglob("*")}
        for theirs in ("a folder", "a link elsewhere"):  # in the kernel's place
            with self.subTest(theirs):
                spec.unlink()
                if theirs == "a folder":
                    (spec / "kernels").mkdir(parents=True)
                else:
                    spec.symlink_to(precious)
                self.assertNotIn(str(spec).replace(str(self.home), "~"), self.terminal("prune", answer="n\n", columns=200).out)
                if theirs == "a folder":
                    shutil.rmtree(spec)
                else:
                    spec.unlink()
                spec.symlink_to(shims / "kernel")
        self.ok("prune", "-y")
        left = {path for folder in (data, links, kernels) for path in folder.rglob("*")}
        self.assertEqual(before - left, {path for path in before if path in gone or shims in path.parents})
        self.assertTrue((precious / "file").exists())
        self.assertIn("nothing to remove", self.run_pydock("prune", "-y").err)
        self.assertEqual({line.split()[1] for line in self.ok("kernel").splitlines()[1:]}, {"stays"})

    def test_old_states_of_a_project_go_from_within_it(self) -> None:
        project, repo = self.in_project(0, 1, 2, 3, 4)
        self.environment("e", 0, 1, 2, 3, 4)
        self.ok("prune", "-y", cwd=project / "src")
        self.assertEqual(set(self.tags()), {"%s:%s" % (repo, tag) for tag in (1, 4, 5, "latest")} | self.tagged("e", 1, 4, 5, "latest"))

    def test_another_homes_environments_keep_every_state(self) -> None:
        other = self.base / "other-home"
        other.mkdir()
        self.ok("create", "theirs", "--no-build", environ={"HOME": str(other)})
        self.states("theirs", 0, 1, 2, 3, 4, folder=other / ".pydock" / "envs" / "theirs")
        before = self.tags()
        self.assertIn("nothing to remove", self.run_pydock("prune", "-y").err)
        self.assertEqual(self.tags(), before)
        self.ok("prune", "-y", environ={"HOME": str(other)})
        self.assertEqual(set(self.tags()), self.tagged("theirs", 1, 4, 5, "latest"))

    def test_another_users_environments_stay_though_nobody_may_look_at_their_folders(self) -> None:
        here = pydock.Engine(ENGINE)
        if here.podman or here.sudo:
            self.skipTest("this engine has one user at a time")
        self.give_to(STRANGER)
        shutil.rmtree(str(self.home / ".pydock"))  # of this test's user
        secret = self.base / "secret"
        folder = secret / ".pydock" / "envs" / "theirs"
        folder.mkdir(parents=True)
        secret.chmod(0o700)
        become = as_user(STRANGER, STRANGER, docker_groups())
        if subprocess.run([*ENGINE, "version"], preexec_fn=become, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
            self.skipTest("an ordinary user cannot use this engine")
        self.states("theirs", 0, 1, 2, 3, 4, folder=folder)
        self.states("gone", 0)
        before = self.tags("theirs")
        result = self.run_pydock("prune", "-y", preexec_fn=become)
        self.assertEqual((result.status, self.tags()), (0, before), result)

    def test_on_an_engine_elsewhere_nobody_knows_which_folders_are_gone(self) -> None:
        self.states("gone", 0)
        before = self.tags()
        back = "export DOCKER_HOST=%s" % shlex.quote(os.environ["DOCKER_HOST"]) if "DOCKER_HOST" in os.environ else "unset DOCKER_HOST"
        self.engine_that(back + "; unset CONTAINER_HOST")
        self.environ.update(DOCKER_HOST="tcp://192.0.2.1:2376", CONTAINER_HOST="ssh://me@192.0.2.1/run/podman.sock")
        result = self.run_pydock("prune", "-y")
        self.assertEqual((result.status, result.out, self.tags()), (0, "", before), result)

    def test_with_its_image_goes_the_container_that_waits_for_programs_of_what_is_gone(self) -> None:
        self.states("gone", 0)
        self.environment("e", 0)
        for name in ("gone", "e"):
            engine("create", "--name", "%s-%s--background" % (self.prefix, name), "%s-%s:latest" % (self.prefix, name), "/nothing")
        kept = self.tags("e")
        self.ok("prune", "-y")
        self.assertEqual((self.tags(), self.containers()), (kept, [self.prefix + "-e--background"]))

    def test_another_prefix_is_another_owner(self) -> None:
        self.states("gone", 0)
        before = self.tags()
        for prefix in (self.prefix[:-1], self.prefix + "-gone", "pydock"):
            with self.subTest(prefix=prefix):
                shown = self.run_pydock("prune", environ={"PYDOCK_PREFIX": prefix}).out
                self.assertNotIn(self.prefix + "-gone:", shown)
        self.assertEqual(self.tags(), before)

    def test_what_somebody_made_from_an_environment_is_theirs(self) -> None:
        self.states("gone", 0)
        tags = (self.stranger_tag("web"), "%s-web:1" % self.prefix)
        for tag in tags:
            engine("create", "--name", self.prefix + "-web", self.prefix + "-gone:1", "/nothing")
            engine("commit", self.prefix + "-web", tag)
            engine("rm", self.prefix + "-web")
        engine("tag", self.prefix + "-gone:1", self.stranger_tag("mine"))
        before = [engine("image", "inspect", "--format", "{{.Id}}", tag) for tag in (*tags, self.stranger_tag("mine"))]
        self.ok("prune", "-y")
        self.assertEqual(self.tags("gone"), {})
        for tag, id_ in zip((*tags, self.stranger_tag("mine")), before):
            with self.subTest(tag=tag):
                self.assertEqual(engine("image", "inspect", "--format", "{{.Id}}", tag, check=False), id_)

    def stranger_tag(self, name: str) -> str:
        tag = "x%s-%s:1" % (self.prefix, name)
        self.addCleanup(engine, "rmi", "-f", tag, check=False)
        return tag

    def test_another_name_of_the_same_image_is_no_state(self) -> None:
        """As after `docker tag`, which the README shows for registries; podman lists all names of what it finds by one of them."""
        self.environment("e", 0, 1, 2, 3)
        for number in (1, 2, 4):
            engine("tag", "%s-e:%d" % (self.prefix, number), "%smirror:%d" % (self.prefix, number + 5))
        mirrors = {tag: id_ for tag, id_ in self.tags().items() if "mirror:" in tag}
        self.assertEqual([row["revision"] for row in json.loads(self.ok("history", "e", "--json"))], [1, 2, 3, 4])
        self.ok("prune", "-y")
        self.assertEqual(set(self.tags("e")), self.tagged("e", 1, 3, 4, "latest"))
        self.assertEqual({tag: id_ for tag, id_ in self.tags().items() if "mirror:" in tag}, mirrors)

    def test_what_a_container_uses_stays_and_is_not_said_to_have_gone(self) -> None:
        self.states("gone", 0)
        self.states("other", 0)
        container = "x" + self.prefix
        id_ = engine("create", "--name", container, self.prefix + "-gone:latest", "/nothing")
        self.addCleanup(engine, "rm", "-f", container, check=False)
        image = engine("container", "inspect", "--format", "{{.Image}}", container)
        result = self.run_pydock("prune", "-y")
        self.assertEqual(engine("container", "inspect", "--format", "{{.Id}}", container), id_.splitlines()[-1])
        self.assertTrue(engine("image", "inspect", "--format", "{{.Id}}", image), result)
        left = set(self.tags())
        self.assertEqual(len(left & self.tagged("gone", 1, "latest")), len(left), result)
        self.assertGreater(len(left), 0, result)
        self.assertNotIn("Traceback", result.err)
        self.assertNotIn("removed 4", result.err, "one of them is still there")
        self.assertTrue([tag for tag in left if tag in result.err], "what stays is not told: %r" % result)


class Asked(PruneCase):
    """It removes what it showed, and only when somebody said so."""

    def setUp(self) -> None:
        super().setUp()
        self.environment("e", 0, 1, 2, 3, 4)
        self.states("gone", 0)
        self.before = self.tags()
        self.unneeded = self.tagged("e", 2, 3) | self.tagged("gone", 1, "latest")
        self.needed = {tag: id_ for tag, id_ in self.before.items() if tag not in self.unneeded}

    def test_on_a_terminal_it_shows_them_and_asks_first(self) -> None:
        for answer in ("n\n", "\n", "maybe\n", "\x04"):
            with self.subTest(answer=answer):
                result = self.terminal("prune", answer=answer, columns=160)
                self.assertEqual((result.status, self.tags()), (1, self.before), result)
                self.assertEqual(set(self.rows(result.out)), self.unneeded, result)
                self.assertIn("[y/N]", result.out[result.out.rindex("SHARED"):])
                self.assertIn("nothing removed", result.out)
        result = self.terminal("prune", answer="y\n", columns=160)
        self.assertEqual((result.status, self.tags()), (0, self.needed), result)

    def test_where_nobody_can_be_asked_it_is_an_error_that_says_how(self) -> None:
        for typed in (None, "y\n"):
            self.fails("prune", says="without confirmation (no terminal)", hint="-y", input=typed)
            self.assertEqual(self.tags(), self.before)

    def test_what_is_needed_again_by_the_time_of_the_answer_stays(self) -> None:
        self.ok("create", "moved", "--no-build")
        self.states("moved", 0)
        away = self.base / "moved"
        self.folder("moved").rename(away)
        terminal = Terminal(self, [*self.program, "prune"], self.work, self.environ, (24, 160))
        terminal.expect("[y/N]")
        self.assertIn("-moved:1", terminal.shown)
        away.rename(self.folder("moved"))
        self.ok("create", "gone")
        tags = self.tags("gone")
        terminal.type("y\n")
        self.assertEqual(terminal.wait(), 0, terminal.shown)
        self.assertEqual(set(self.tags("moved")), self.tagged("moved", 1, "latest"), terminal.shown)
        self.assertEqual(self.tags("gone"), tags, terminal.shown)
        self.assertEqual(self.listed()["gone"]["state"], "ready")
        self.assertEqual(set(self.tags("e")), self.tagged("e", 1, 4, 5, "latest"))

    def test_downloads_go_only_when_asked_for(self) -> None:
        """The volume is everybody's here, so that the engine of this test only notes that it was to be removed."""
        self.ok("prune", "-y")
        noted = self.base / "noted"
        there = engine("volume", "inspect", pydock.CACHE, check=False)
        self.engine_that("case \"$1 $2\" in\n'volume ls') test -e '%s/none' || echo %s; exit ;;\n"
                         "'volume '*) echo \"$@\" >>'%s'; test ! -e '%s/used' || { echo 'volume is in use' >&2; exit 1; }; exit ;;\nesac"
                         % (self.base, pydock.CACHE, noted, self.base))
        self.assertIn("nothing to remove", self.run_pydock("prune", "-y").err)
        self.fails("prune", "--cache", says="without confirmation (no terminal)", hint="-y")
        self.assertIn("nothing removed", self.terminal("prune", "--cache", answer="n\n").out)
        uv = self.home / ".local" / "share" / "pydock" / "uv"
        self.assertFalse(noted.exists())
        self.assertIn(pydock.CACHE, self.ok("prune", "--cache", "-y"))
        self.assertEqual(noted.read_text(encoding="utf-8"), "volume rm %s\n" % pydock.CACHE)
        (self.base / "used").write_text("")
        self.fails("prune", "--cache", "-y", says="in use")
        (self.base / "none").write_text("")
        uv.unlink()
        self.assertIn("nothing to remove", self.run_pydock("prune", "--cache").err)
        self.assertEqual(engine("volume", "inspect", pydock.CACHE, check=False), there)


class PruneDisturbed(PruneCase):
    """Whatever happens to it, and whoever works at the same time."""

    def test_it_fails_hangs_or_dies_at_any_call_and_the_next_one_finishes(self) -> None:
        self.bystanders()
        self.environment("e", 0, 1, 2, 3)
        self.states("gone", 0)
        before = self.tags()
        kept = {tag: "%skeep:%d" % (self.prefix, number) for number, tag in enumerate(before)}
        for tag, other in kept.items():
            engine("tag", tag, other)
        expected = {tag: id_ for tag, id_ in before.items() if tag not in self.tagged("gone", 1, "latest") | self.tagged("e", 2)}

        def now() -> Dict[str, str]:
            return {tag: id_ for tag, id_ in self.tags().items() if tag not in kept.values()}

        def restore() -> None:
            for tag in set(before) - set(now()):
                engine("tag", kept[tag], tag)
            self.assertEqual(now(), before)

        def look(way: str, call: str, result: Result) -> None:
            left = now()
            self.assertEqual({**expected, **left}, left, result)
            self.assertEqual({**before, **left}, before, result)
            if result.status == 0:
                self.assertLessEqual(len(left), len(expected) + 1, "it did not go on with the others: %r" % result)
                for tag in set(left) - set(expected):
                    self.assertIn(tag, result.err)
            self.ok("prune", "-y")
            self.assertEqual(now(), expected, result)

        self.every_call(["prune", "-y"], restore, look, turn=0)

    def test_two_at_once(self) -> None:
        self.environment("e", 0, 1, 2, 3, 4)
        for name in ("gone", "lost"):
            self.states(name, 0, 1)
        running = [self.start("prune", "-y") for _ in range(2)]
        for process in running:
            out, err = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 0, err)
            self.assertNotIn("error", err)
        self.assertEqual(set(self.tags()), self.tagged("e", 1, 4, 5, "latest"))

    def test_an_environment_that_is_being_created_is_none_whose_folder_is_gone(self) -> None:
        wheel = str(make_wheel(self.base, "pydocktiny"))
        self.fake()
        self.ok("create", "sibling", wheel)
        calls = self.calls()
        at = next(number for number, call in enumerate(calls, 1) if call.startswith("rm -f") and any(other.startswith("commit") for other in calls[:number]))
        self.fake("hold", str(at))
        process = self.start("create", "e", wheel)
        self.no_fake()
        self.wait_for(lambda: len(self.calls()) == at, 60)
        made = self.tags("e")
        self.assertTrue([tag for tag in made if ":tmp-" in tag])
        result = self.run_pydock("prune", "-y")
        (self.base / "fake" / "go").write_text("")
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, err)
        self.assertNotIn(self.prefix + "-e:", result.out + result.err)
        self.assertEqual(result.status, 0, result)
        self.assert_works("e", "pydocktiny")


# ------------------------------------------------------------------------------------------------------------


class WordsCase(SharedCase):
    """Environments alpha-one, alpha-two and beta, which has states; a project with one called inner; and a `pydock` on PATH that
    completes words, and shows the words of any other call."""

    project: Path

    @classmethod
    def prepare(cls, case: Case) -> None:
        for name in ("alpha-one", "alpha-two", "beta"):
            case.ok("create", name, "--no-build")
        for odd in ("a b", "$(touch ran)", "Upper", "-n", "*"):
            (case.folder(odd)).mkdir()
        cls.project = case.base / "project"
        cls.project.mkdir()
        case.ok("--local", "create", "inner", "--no-build", cwd=cls.project)
        archive = case.base / "empty.tar"
        archive.write_bytes(b"\0" * 10240)
        repo = "%s-beta:" % case.prefix
        engine("import", "--change", "LABEL pydock.folder=" + pydock.quote(str(case.folder("beta"))), str(archive), repo + "1")
        for tag in ("2", "latest", "paper", "v1.0", "tmp-01234567"):
            engine("tag", repo + "1", repo + tag)
        engine("tag", repo + "1", case.prefix + "mirror:77")
        (case.work / "notes.txt").write_text("")
        (cls.project / "notes.txt").write_text("")
        folder = case.base / "bin"
        folder.mkdir()
        real = " ".join(map(shlex.quote, case.program))
        (folder / "pydock").write_text("#!/bin/sh\ncase $1 in completion) exec %s \"$@\" ;; esac\nprintf '<%%s>' \"$@\"\necho\n" % real, encoding="utf-8")
        (folder / "pydock").chmod(0o755)
        case.environ["PATH"] = str(folder) + os.pathsep + case.environ["PATH"]

    ENVS = ["alpha-one", "alpha-two", "beta"]
    STATES = ["1", "2", "paper", "v1.0"]


class Words(WordsCase):
    """What may stand at a place, as the shells ask for it."""

    def words(self, *typed: str, **options: Any) -> List[str]:
        result = self.run_pydock("completion", "--words", *typed, timeout=60, **options)
        self.assertEqual((result.status, result.err), (0, ""), result)
        return sorted(result.out.split("\n")[:-1])

    def check(self, typed: str, expected: List[str], **options: Any) -> None:
        """`typed` is split at each blank, so that one at the end begins a new word."""
        with self.subTest(typed=typed):
            self.assertEqual([word for word in self.words(*typed.split(" "), **options) if word], sorted(expected))

    def test_commands(self) -> None:
        self.check("", list(pydock.COMMANDS))
        self.check("ro", ["rollback"])
        self.check("-q st", ["start", "stop"])
        self.check("--dr", ["--dry-run"])
        self.check("build --dr", ["--dry-run"])
        self.check("list --dr", [])
        self.check("nosuch ", [])
        self.check("xyz", [])

    def test_create(self) -> None:
        for line in ("run ", "shell ", "install ", "rollback ", "clone ", "-n --global build ", "rm ", "export ", "run -p 8888 ", "run -e A=1 --root ", "freeze ", "lock --check ", "kernel ", "kernel --remove "):
            self.check(line, self.ENVS)
        self.check("run al", ["alpha-one", "alpha-two"])
        self.check("verify b", ["beta"])
        self.assertIn("alpha-one", self.words("delete", "beta", ""))
        for line in ("create ", "clone beta ", "snapshot beta ", "list "):
            self.check(line, [])

    def test_of_this_project_or_of_the_home_as_the_mode_says(self) -> None:
        self.check("run ", ["inner"], cwd=self.project)
        self.check("--global run ", self.ENVS, cwd=self.project)
        self.check("run --global ", self.ENVS, cwd=self.project)
        self.check("--local run i", ["inner"], cwd=self.project)
        self.check("--local run ", [])

    def test_states(self) -> None:
        self.check("rollback beta ", self.STATES)
        self.check("rollback beta p", ["paper"])
        self.check("rollback alpha-one ", [])
        self.check("rollback beta 1 ", [])
        self.check("rollback nosuch ", [])

    def test_values_with_choices(self) -> None:
        self.check("activate --shell ", list(pydock.SHELLS))
        self.check("activate --shell f", ["fish"])
        self.check("completion ", ["bash", "fish", "zsh"])
        self.check("config ", list(pydock.SETTINGS))
        self.check("config hi", ["history"])

    def test_what_is_a_file_or_anything_is_left_to_the_shell(self) -> None:
        for line in ("run beta ", "run beta pyth", "run beta python no", "run beta ls --", "run beta -- ", "install beta ", "install beta ./no", "export beta ",
                     "run --env-file ", "install -r ", "create x --from "):
            self.check(line, [])

    def test_options_are_those_of_the_commands_help(self) -> None:
        for name in (*pydock.COMMANDS, *pydock.ALIASES):
            with self.subTest(command=name):
                parser = pydock.make_parser(pydock.ALIASES.get(name, name))
                told = {option for action in parser._actions if action.help != argparse.SUPPRESS for option in action.option_strings if option.startswith("--")}
                self.assertEqual(sorted(pydock.complete([name, "--"])), sorted(told))
                self.assertLessEqual({"--local", "--help"}, told)
        self.check("create --fr", ["--from"])
        self.check("rm --y", ["--yes"])
        self.check("export beta out.tar --im", ["--image"])

    def test_no_engine_is_asked_for_names(self) -> None:
        self.fake()
        for line in ("", "run ", "rm ", "create --", "activate --shell ", "config ", "run beta "):
            self.words(*line.split(" "))
        self.assertEqual(self.calls(), [])
        self.words("rollback", "beta", "")
        self.assertEqual(len(self.calls()), 1)

    def test_an_engine_that_is_not_there_is_no_states_and_no_word(self) -> None:
        for program in ("/nosuch/docker", "false"):
            with self.subTest(program=program):
                result = self.run_pydock("completion", "--words", "rollback", "beta", "", environ={"PYDOCK_ENGINE": program})
                self.assertEqual(result.out.strip(), "", result)
                self.check("run b", ["beta"], environ={"PYDOCK_ENGINE": program})

    def test_an_engine_that_does_not_answer_holds_nobody_up(self) -> None:
        self.fake("hang", "1,2,3,4,5,6")
        process = self.start("completion", "--words", "rollback", "beta", "", start_new_session=True)
        try:
            out, err = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self.fail("it waits for the engine")
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.communicate()
        self.assertEqual(out.strip(), "", err)

    def test_nothing_of_a_damaged_home_reaches_the_terminal_as_a_word(self) -> None:
        conf = self.home / ".pydock" / "pydock.conf"
        conf.write_text("nonsense", encoding="utf-8")
        try:
            result = self.run_pydock("completion", "--words", "rollback", "beta", "")
            self.assertEqual(result.out.strip(), "", result)
            self.check("run b", ["beta"])
        finally:
            conf.unlink()


class InShells(WordsCase):
    """The real shells, with nothing but what `pydock completion` prints."""

    def shell(self, name: str) -> str:
        found = shutil.which(name)
        if not found:
            self.skipTest("there is no %s on this machine" % name)
        return found

    def said(self, *command: str, cwd: Optional[Path] = None, **environ: str) -> List[str]:
        """The lines that a shell prints, without a word on stderr."""
        done = subprocess.run(command, cwd=str(cwd or self.work), env={**self.environ, **environ}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        self.assertFalse((self.work / "ran").exists())
        return done.stdout.splitlines()

    def bash(self, *typed: str, **options: Any) -> List[str]:
        """What bash's own function makes of words, the last of which is being typed."""
        script = ('eval "$(pydock completion bash)"; function=$(complete -p pydock); function=${function##* -F }; COMP_WORDS=(pydock "$@"); COMP_CWORD=$#; '
                  'COMP_LINE="${COMP_WORDS[*]}"; COMP_POINT=${#COMP_LINE}; ${function%% *} pydock "${!#}" "${COMP_WORDS[COMP_CWORD-1]}"; printf "%s\\n" "${COMPREPLY[@]}"')
        return [line for line in self.said(self.shell("bash"), "--norc", "--noprofile", "-c", script, "bash", *typed, **options) if line]

    def fish(self, line: str, **options: Any) -> List[str]:
        """What fish offers at the end of a line."""
        script = "pydock completion fish | source; complete -C $argv[1]"
        return [line.split("\t")[0] for line in self.said(self.shell("fish"), "--no-config", "-c", script, line, **options)]

    def test_bash_is_told_the_same_words(self) -> None:
        for typed, expected in ((("ro",), ["rollback"]), (("run", ""), self.ENVS), (("rollback", "beta", ""), self.STATES), (("activate", "--shell", "f"), ["fish"]), (("ker",), ["kernel"]), (("kernel", ""), self.ENVS),
                                (("rm", "al"), ["alpha-one", "alpha-two"]), (("create", "--fr"), ["--from"]), (("run", "beta", ""), []), (("install", "beta", "*"), [])):
            with self.subTest(typed=typed):
                self.assertEqual(sorted(self.bash(*typed)), expected)
        self.assertEqual(self.bash("run", "", cwd=self.project), ["inner"])
        self.assertEqual(self.bash("rollback", "beta", "", PYDOCK_ENGINE="/nosuch/docker"), [])

    def test_fish_offers_them_and_files_where_files_go(self) -> None:
        self.assertEqual(set(self.fish("pydock ")), set(pydock.COMMANDS))
        for line, expected in (("pydock ro", ["rollback"]), ("pydock run ", self.ENVS), ("pydock rollback beta ", self.STATES), ("pydock activate --shell f", ["fish"]), ("pydock ker", ["kernel"]), ("pydock kernel ", self.ENVS),
                               ("pydock rm al", ["alpha-one", "alpha-two"]), ("pydock create --fr", ["--from"]), ("pydock --global run b", ["beta"]),
                               ("pydock run beta no", ["notes.txt"]), ("pydock run beta cat no", ["notes.txt"]), ("pydock install beta ./no", ["./notes.txt"])):
            with self.subTest(line=line):
                self.assertEqual(sorted(self.fish(line)), expected)
        self.assertEqual(self.fish("pydock run ", cwd=self.project), ["inner"])
        self.assertEqual(self.fish("pydock rollback beta zz", PYDOCK_ENGINE="/nosuch/docker"), [])

    TYPED = {"roll\t": "<rollback>", "run be\ttrue": "<run><beta><true>", "run al\ttw\t": "<run><alpha-two>", "rollback beta pa\t": "<rollback><beta><paper>",
             "activate --shell fi\tbeta": "<activate><--shell><fish><beta>", "create x --fr\t": "<create><x><--from>", "rm al\to\tbe\t": "<rm><alpha-one><beta>",
             "run beta cat no\t": "<run><beta><cat><notes.txt>", "run beta no\t": "<run><beta><notes.txt>", "config his\t": "<config><history>", "ker\tbe\t": "<kernel><beta>"}

    def at_the_prompt(self, setup: str, *command: str, **environ: str) -> Terminal:
        terminal = Terminal(self, command, self.work, {**self.environ, **environ}, (24, 200))
        terminal.type(setup + "echo rea''dy\n")
        terminal.expect("\nready\n")
        return terminal

    def tab(self, terminal: Terminal) -> None:
        """Types each line with its TABs, and looks at the words that came of it."""
        for line, words in self.TYPED.items():
            with self.subTest(line=line):
                terminal.shown = ""
                terminal.type("pydock %s\n" % line)
                terminal.expect("<", 30)
                terminal.expect(">\n", 10)
                self.assertEqual(re.findall(r"(?m)^(?:.*?)((?:<[^<>]*>)+)$", terminal.shown)[-1:], [words], terminal.shown)

    def listed_at_tab(self, terminal: Terminal) -> None:
        """Where there are several, all of them are shown."""
        terminal.shown = ""
        terminal.type("pydock run \t\t")
        for name in self.ENVS:
            terminal.expect(name, 30)
        terminal.type("\x15echo do''ne\n")
        terminal.expect("done\n")
        self.assertNotIn("Upper", terminal.shown)
        self.assertNotIn("touch", terminal.shown)

    def test_tab_in_bash(self) -> None:
        setup = "PS1='$ '; bind 'set bell-style none'; bind 'set enable-bracketed-paste off'; bind 'set page-completions off'; eval \"$(pydock completion bash)\"\n"
        terminal = self.at_the_prompt(setup, self.shell("bash"), "--norc", "--noprofile", "-i")
        self.tab(terminal)
        self.listed_at_tab(terminal)
        terminal.type("exit\n")
        self.assertEqual(terminal.wait(), 0)

    def test_tab_in_zsh(self) -> None:
        dump = shlex.quote(str(self.base / "zcompdump"))
        setup = "PS1='%%%% '; unsetopt beep; unset zle_bracketed_paste; autoload -Uz compinit; compinit -u -d %s; eval \"$(pydock completion zsh)\"\n" % dump
        terminal = self.at_the_prompt(setup, self.shell("zsh"), "-f", "-i")
        self.tab(terminal)
        self.listed_at_tab(terminal)
        terminal.type("exit\n")
        self.assertEqual(terminal.wait(), 0)

    def test_what_completion_prints_is_a_script_of_that_shell_and_any_other_is_refused(self) -> None:
        for name in ("bash", "zsh", "fish"):
            with self.subTest(shell=name):
                script = self.ok("completion", name)
                done = subprocess.run([self.shell(name), "-n"], input=script, env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.fails("completion", "csh", status=2, says="csh")
        self.assertIn("usage: pydock completion", self.run_pydock("completion").err)


if __name__ == "__main__":
    unittest.main()
