"""Going back: each change of an environment is a state that is told of truly, can be named, and comes back whole, at once
and with nothing rebuilt; a frozen environment refuses every change; and whatever fails, nothing is lost."""
from __future__ import annotations

import calendar
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence, Set

from support import PYTHON, ROOT, STRANGER, Case, Disturbed, Result, SharedCase, engine, make_wheel

BASE = "python:%s-slim" % PYTHON
EMPTY = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"  # a layer of nothing: podman's commits add it
DATA = 1000000  # bytes that the wheel of the tests brings
DEARER = {"build", "buildx", "builder", "run", "start", "exec", "pull"}  # calls of the engine that going back can do without
LOOK = "import json; from importlib import metadata; print(json.dumps({d.metadata['Name']: d.version for d in metadata.distributions()}))"
MAIN = "import os, sys; sys.path.insert(0, %r); import pydock; %%s; sys.exit(pydock.main(sys.argv[1:]))" % str(ROOT)


class Prepared(SharedCase, Disturbed):
    """One environment, `e`, with a past of five states, made once for the module; each test finds it as it was."""

    written: Dict[int, Dict[str, bytes]] = {}  # its files in each state
    packages: Dict[int, Dict[str, str]] = {}
    commands: Dict[int, str] = {}
    times: Dict[int, Sequence[float]] = {}  # before and after
    restore: Callable[[], None]

    @classmethod
    def setUpClass(cls) -> None:
        if "shared" not in Prepared.__dict__:
            case = cls()
            Case.setUp(case)
            unittest.addModuleCleanup(case.doCleanups)
            case.ran = {}
            case.make()
            Prepared.shared = case

    def setUp(self) -> None:
        super().setUp()
        self.ran = {}
        shared = self.shared
        assert isinstance(shared, Prepared)
        self.restore = shared.restore
        self.addCleanup(self.restore)

    def make(self) -> None:
        wheel = make_wheel(self.base, "pydocktiny", files={"pydocktiny_data.txt": os.urandom(DATA // 2).hex()})
        self.change(1, "create", "e", "six==1.16.0")
        self.change(2, "install", "e", str(wheel), "iniconfig==2.0.0")
        self.ok("snapshot", "e", "paper")
        self.change(3, "update", "e", "six")
        six = re.findall("(?m)^six==(.*)$", self.requirements("e"))[0]
        self.edit("dockerfile", "# by hand: é\n")
        self.edit("requirements.txt", "# why: é\ncolorama==0.4.6\n")
        edited = self.files()
        self.change(5, "uninstall", "e", "pydocktiny")  # which builds the edit first
        self.written[4], self.commands[4], self.times[4] = edited, "build e", self.times[5]
        self.packages.update({1: {"six": "1.16.0"}, 2: {"six": "1.16.0", "iniconfig": "2.0.0", "pydocktiny": "1.0"}})
        self.packages[3] = {**self.packages[2], "six": six}
        self.packages[4] = {**self.packages[3], "colorama": "0.4.6"}
        self.packages[5] = {name: version for name, version in self.packages[4].items() if name != "pydocktiny"}
        self.next_command_of("e")  # which tidies up
        self.restore = self.restorer("e")

    def change(self, number: int, *argv: str) -> None:
        start = time.time()
        self.ok(*argv)
        self.times[number] = start, time.time()
        self.written[number], self.commands[number] = self.files(), " ".join(argv)

    def edit(self, file: str, text: str, name: str = "e") -> bytes:
        """Adds a line to a file of the environment's, as a person does; what it holds then."""
        with open(str(self.folder(name) / file), "a", encoding="utf-8") as opened:
            opened.write(text)
        return (self.folder(name) / file).read_bytes()

    def files(self, name: str = "e") -> Dict[str, bytes]:
        folder = self.folder(name)
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def image(self, tag: object = "latest", name: str = "e") -> str:
        return "%s-%s:%s" % (self.prefix, name, tag)

    def inspect(self, tag: object = "latest", name: str = "e") -> Dict[str, Any]:
        found: Dict[str, Any] = json.loads(engine("image", "inspect", self.image(tag, name)))[0]
        return found

    def layers(self, tag: object = "latest", name: str = "e") -> List[str]:
        return [layer for layer in self.inspect(tag, name)["RootFS"]["Layers"] if layer != EMPTY]

    def depth(self, tag: object = "latest", name: str = "e") -> int:
        return len(self.inspect(tag, name)["RootFS"]["Layers"])

    def stands_on(self, upper: object, lower: object) -> bool:
        below = self.layers(lower)
        return self.layers(upper)[:len(below)] == below

    def history(self, name: str = "e") -> Dict[int, Dict[str, Any]]:
        return {row["revision"]: row for row in json.loads(self.ok("history", name, "--json"))}

    def numbers(self, name: str = "e") -> Set[int]:
        """The numbers of the states that the engine has."""
        return {int(tag.split(":")[-1]) for tag in self.tags(name) if tag.split(":")[-1].isdigit()}

    def installed(self, name: str = "e") -> Dict[str, str]:
        found = json.loads(self.ok("run", name, "python", "-c", LOOK))
        return {package: found[package] for package in self.packages[4] if package in found}

    def assert_whole(self, number: int, edited: bool = False) -> None:
        """Files and image are those of that state, the image by its layers, and nothing is left over; but for copies of what was
        edited, and wheels that it might have named."""
        files = {file: text for file, text in self.files().items() if not (edited and (".orig" in file or "/" in file and file not in self.written[number]))}
        self.assertEqual(files, self.written[number])
        self.assertTrue(self.stands_on("latest", number), "the image is not the one of state %d" % number)
        self.assertEqual(self.listed()["e"]["state"], "ready")
        self.assertEqual((self.hidden(), self.untagged("e")), ([], []))
        self.assert_clean("e")

    def assert_comes_back(self, number: int) -> None:
        """What `assert_whole` looks at, what is installed, and how the image runs."""
        self.assert_whole(number)
        self.assertEqual(self.installed(), self.packages[number])
        now, then = [self.inspect(tag)["Config"] for tag in ("latest", number)]
        for key in ("Cmd", "User", "WorkingDir", "Entrypoint"):
            self.assertEqual(now.get(key) or None, then.get(key) or None, key)
        self.assertEqual(sorted(now["Env"]), sorted(then["Env"]))

    def held(self, call: str, *argv: str) -> subprocess.Popen[str]:
        """A pydock that is held at this call of the engine, until `let_go`; the fake engine is then off again."""
        self.fake("hold", call)
        process = self.start(*argv)
        self.no_fake()
        self.wait_for(lambda: call in [line.split()[0] for line in self.calls()])
        return process

    def unbuilt(self) -> None:
        """An environment `n` without an image."""
        self.ok("create", "n", "--no-build")
        self.addCleanup(self.ok, "delete", "-y", "n")

    def patched(self, code: str, *argv: str) -> Result:
        """Runs pydock in a process that first does `code` to it."""
        done = subprocess.run([sys.executable, "-c", MAIN % code, *argv], env=self.environ, cwd=str(self.work),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return Result(list(argv), done.returncode, done.stdout, done.stderr)


class History(Prepared):
    def test_every_change_is_a_state_with_number_time_command_and_label(self) -> None:
        rows = self.history()
        self.assertEqual(list(rows), [1, 2, 3, 4, 5])
        for number, row in rows.items():
            with self.subTest(state=number):
                self.assertEqual(row["command"], self.commands[number])
                made = calendar.timegm(time.strptime(row["time"], "%Y-%m-%dT%H:%M:%SZ"))
                self.assertGreaterEqual(made, int(self.times[number][0]))
                self.assertLessEqual(made, self.times[number][1])
                self.assertEqual((row["labels"], row["present"]), (["paper"] if number == 2 else [], number == 5))
                self.assertIn(row["id"], self.inspect(number)["Id"])

    def test_packages_added_removed_and_changed_are_told_apart(self) -> None:
        six = self.packages[3]["six"]
        self.assertNotEqual(six, "1.16.0")
        expected = {1: [{"six": "1.16.0"}, {}, {}], 2: [{"iniconfig": "2.0.0", "pydocktiny": "1.0"}, {}, {}], 3: [{}, {}, {"six": ["1.16.0", six]}],
                    4: [{"colorama": "0.4.6"}, {}, {}], 5: [{}, {"pydocktiny": "1.0"}, {}]}
        self.assertEqual({number: [row["added"], row["removed"], row["changed"]] for number, row in self.history().items()}, expected)

    def test_bytes_are_what_a_state_added(self) -> None:
        added = {number: row["bytes"] for number, row in self.history().items()}
        size = {number: self.inspect(number)["Size"] for number in added}
        base = int(engine("image", "inspect", "--format", "{{.Size}}", BASE))
        self.assertEqual(added[1], size[1] - base, "the base image was there before")
        self.assertEqual(added[1] + added[2] + added[3], size[3] - base)
        self.assertEqual(added[5], size[5] - size[4])
        self.assertGreaterEqual(added[2], DATA)
        self.assertLess(added[2], 3 * DATA)
        self.assertLess(added[5], DATA, "an uninstall adds next to nothing")
        self.assertGreaterEqual(added[4], DATA)
        self.assertLessEqual(added[4], size[4] - base, "what was built from files has at least its base image in common with the others")

    def test_no_container_is_started_and_nothing_is_changed(self) -> None:
        before = self.state("e")
        for options in ([], ["--json"]):
            self.fake()
            self.ok("history", "e", *options)
            self.assertEqual([call for call in self.calls() if not call.startswith("image ")], [])
            self.assertLessEqual(len(self.calls()), 4, "the more states, the more calls?")
            self.no_fake()
        self.assertEqual(self.state("e"), before)

    def test_the_table_says_the_same(self) -> None:
        _, *lines = self.ok("history", "e").splitlines()
        self.assertEqual([line.split()[0] for line in lines], ["1", "2", "3", "4", "5"])
        self.assertEqual([line.split()[:2][-1] for line in lines if "paper" in line], ["paper"])
        self.assertEqual(["*" in line for line in lines], [False, False, False, False, True])
        for number, line in enumerate(lines, 1):
            self.assertIn("pydock " + self.commands[number], line)
            self.assertIn(" ago", line)
        for line, words in zip(lines, (["+six 1.16.0"], ["+iniconfig 2.0.0", "+pydocktiny 1.0"], ["1.16.0", self.packages[3]["six"]], ["+colorama 0.4.6"], ["-pydocktiny"])):
            for word in words:
                self.assertIn(word, line)

    def test_an_edit_that_was_not_built_is_said(self) -> None:
        rows = self.history()
        self.assertNotIn("build", self.run_pydock("history", "e").err)
        self.edit("requirements.txt", "toml==0.10.2\n")
        self.assertIn("pydock build e", self.run_pydock("history", "e").err)
        self.assertEqual(self.history(), rows)

    def test_one_that_was_never_built_has_no_states(self) -> None:
        self.unbuilt()
        self.assertEqual(self.history("n"), {})
        self.fails("history", "nothing", says="no global environment 'nothing'")


class Kept(Prepared):
    """The first state, labelled ones, the present one and the newest `history` before it."""

    def go(self, state: str, history: int, labelled: Set[int], **environ: str) -> Set[int]:
        """A rollback; which states went."""
        numbers = sorted(self.numbers(), reverse=True)
        result = self.run_pydock("rollback", "e", state, environ=environ)
        self.assertEqual(result.status, 0, result)
        expected = {min(numbers)} | labelled | {max(numbers) + 1, *numbers[:history]}
        self.assertEqual(self.numbers(), expected)
        self.assertEqual(set(self.history()), expected)
        self.assertEqual(self.untagged("e"), [])
        gone = set(numbers) - expected
        self.assertEqual(re.findall(r"(?m)^removed revisions? (.*); `pydock snapshot` keeps one$", result.err), [", ".join(map(str, sorted(gone, reverse=True)))] * bool(gone))
        return gone

    def test_the_setting_says_how_many(self) -> None:
        gone: Set[int] = set()
        for state in ("1", "paper", "1", "paper", "1", "paper"):
            gone |= self.go(state, 2, {2}, PYDOCK_HISTORY="2")
        self.assertLessEqual({3, 4}, gone)
        self.assertIn(2, self.numbers(), "a label keeps its state")
        conf = self.home / ".pydock" / "pydock.conf"
        self.addCleanup(conf.unlink)
        self.ok("config", "history", "1")
        self.assertTrue(self.go("1", 1, {2}) | self.go("paper", 1, {2}) | self.go("1", 1, {2}))
        self.go("paper", 3, {2}, PYDOCK_HISTORY="3")
        engine("rmi", self.image("paper"))  # without the label, it goes when its turn comes
        self.go("1", 1, set())
        self.assertNotIn(2, self.numbers())

    def test_ten_where_nothing_else_is_set(self) -> None:
        for _ in range(11):
            self.edit("requirements.txt", "toml==0.10.2\n")
            self.ok("rollback", "e", "paper")
        self.edit("requirements.txt", "toml==0.10.2\n")
        self.assertTrue(self.go("paper", 10, {2}))
        self.assertEqual(max(self.numbers()), 17)


class Snapshot(Prepared):
    def test_a_label_names_the_present_state_and_costs_nothing(self) -> None:
        before = self.tags("e")
        labels = ["camera-ready", "v1.0", "_x", "A_b", "7up", "x" * 128]
        for label in labels:
            with self.subTest(label):
                self.fake()
                result = self.run_pydock("snapshot", "e", label)
                self.assertEqual((result.status, result.out), (0, ""), result)
                self.assertEqual({call.split()[0] for call in self.calls()} & (DEARER | {"commit", "create"}), set())
                self.no_fake()
                self.assertIn("pydock rollback e " + label, result.err.splitlines()[-1])
        latest = before[self.image()]
        self.assertEqual(self.tags("e"), {**before, **{self.image(label): latest for label in labels}})
        self.assertEqual(self.history()[5]["labels"], sorted(labels))
        self.assertIn(" camera-ready ", self.ok("history", "e"))

    def test_without_a_label_it_is_the_time(self) -> None:
        start = int(time.time())
        self.ok("snapshot", "e")
        label, = self.history()[5]["labels"]
        made = time.mktime(time.strptime(label, "%Y-%m-%d-%H%M%S"))
        self.assertTrue(start <= made <= time.time(), label)
        self.ok("rollback", "e", "1")
        self.ok("rollback", "e", label)
        self.assert_whole(5)

    def test_what_is_no_label_is_refused(self) -> None:
        before = self.state("e")
        for label in ("", "1", "007", "latest", "tmp-12345678", ".x", "a b", "a/b", "a:b", "ä", "a\n", "x" * 129, "$(id)"):
            with self.subTest(label):
                self.fails("snapshot", "e", label, says="is not a valid label", hint="letters")
        self.fails("snapshot", "e", "-x", status=2)
        self.fails("snapshot", "nothing", "x", says="no global environment 'nothing'")
        self.assertEqual(self.state("e"), before)

    def test_a_label_is_never_taken_from_another_state(self) -> None:
        before = self.state("e")
        self.fails("snapshot", "e", "paper", says="has the label paper", hint=self.image("paper"))
        self.assertEqual(self.state("e"), before)
        self.ok("snapshot", "e", "mine")
        after = self.state("e")
        self.ok("snapshot", "e", "mine")
        self.assertEqual(self.state("e"), after)

    def test_an_edit_that_was_not_built_is_not_in_it_and_that_is_said(self) -> None:
        edited = self.edit("requirements.txt", "toml==0.10.2\n")
        result = self.run_pydock("snapshot", "e", "mine")
        self.assertEqual(result.status, 0, result)
        self.assertIn("have changed since this revision", result.err)
        self.assertIn("pydock build e", result.err)
        self.assertEqual(self.files()["requirements.txt"], edited)
        self.assertEqual(self.tags("e")[self.image("mine")], self.tags("e")[self.image(5)])

    def test_what_was_never_built_has_no_state_to_name(self) -> None:
        self.unbuilt()
        for command in ("snapshot", "rollback"):
            self.fails(command, "n", "x", says="not built", hint="pydock build n")
        self.assertEqual(self.tags("n"), {})

    def test_labels_go_with_the_environment(self) -> None:
        self.ok("delete", "-y", "e")
        self.assertEqual(self.state("e"), [{}, [], {}, [], []])


class Rollback(Prepared):
    def test_a_state_comes_back_by_number_and_by_label(self) -> None:
        for state, number in (("1", 1), ("paper", 2), ("3", 3)):
            with self.subTest(state):
                result = self.run_pydock("rollback", "e", state)
                self.assertEqual((result.status, result.out), (0, ""), result)
                self.assertIn("revision " + state, result.err.splitlines()[-1])
                self.assert_comes_back(number)
                row = self.history()[6]
                self.assertEqual((row["command"], row["present"], row["labels"]), ("rollback e " + state, True, []))
                self.assertEqual(self.history()[number]["present"], False)
            self.restore()

    def test_without_a_state_it_is_the_one_before_and_the_next_one_undoes_that(self) -> None:
        self.ok("rollback", "e")
        self.assert_comes_back(4)
        self.ok("rollback", "e")
        self.assert_comes_back(5)
        self.ok("rollback", "e")
        self.assert_whole(4)
        self.assertEqual([row["command"] for number, row in self.history().items() if number > 5], ["rollback e"] * 3)

    def test_nothing_is_rebuilt(self) -> None:
        for state in ("1", "paper"):
            self.fake()
            self.ok("rollback", "e", state)
            self.assertEqual({call.split()[0] for call in self.calls()} & DEARER, set())
            self.assertLess(len(self.calls()), 20)
            self.no_fake()
            self.assertLess(self.history()[max(self.numbers())]["bytes"], 10000)

    def test_what_was_gone_back_to_can_be_changed(self) -> None:
        self.ok("rollback", "e", "paper")
        self.ok("uninstall", "e", "iniconfig")
        self.assertEqual(self.installed(), {"six": "1.16.0", "pydocktiny": "1.0"})
        self.assertEqual(self.history()[7]["removed"], {"iniconfig": "2.0.0"})
        self.assertEqual(self.listed()["e"]["state"], "ready")
        self.assert_clean("e")

    def test_the_present_state_is_no_step_back_but_undoes_an_edit(self) -> None:
        before = self.state("e")
        self.assertIn("e is already at revision 5", self.run_pydock("rollback", "e", "5").err)
        self.assertEqual(self.state("e"), before, "a rollback to what is there made a new state")
        edited = self.edit("dockerfile", "# an idea\n")
        self.ok("rollback", "e", "5")
        self.assert_whole(5, edited=True)
        self.assertEqual(self.files()["dockerfile.orig"], edited)

    def test_hand_edits_that_were_not_built_are_kept_beside_it(self) -> None:
        for ending, state in ((".orig", "1"), (".orig2", "paper"), (".orig3", "1")):
            with self.subTest(ending):
                there = {file: text for file, text in self.files().items() if ".orig" in file}
                edited = {file: self.edit(file, "# idea %s: é" % ending) for file in ("dockerfile", "requirements.txt")}
                result = self.run_pydock("rollback", "e", state)
                self.assertEqual(result.status, 0, result)
                kept = {file: text for file, text in self.files().items() if ".orig" in file}
                self.assertEqual(kept, {**there, **{file + ending: text for file, text in edited.items()}})
                for file in edited:
                    self.assertIn(str(self.folder("e") / (file + ending)), result.err)
                self.assert_whole(1 if state == "1" else 2, edited=True)

    def test_what_a_state_holds_is_not_kept_beside_it(self) -> None:
        (self.folder("e") / "requirements.txt").write_bytes(self.written[1]["requirements.txt"])  # as git does
        (self.folder("e") / "dockerfile").write_bytes(self.written[1]["dockerfile"])
        self.ok("rollback", "e", "1")
        self.assertEqual(self.files(), self.written[1])
        self.ok("rollback", "e", "paper")
        self.assertEqual(self.files(), self.written[2])

    def test_the_same_edit_is_kept_once(self) -> None:
        for _ in range(2):
            edited = self.edit("requirements.txt", "toml==0.10.2\n")
            self.ok("rollback", "e", "5")
        self.assertEqual({file: text for file, text in self.files().items() if ".orig" in file}, {"requirements.txt.orig": edited})

    def test_a_wheel_that_was_put_there_and_not_built_stays(self) -> None:
        wheel = make_wheel(self.folder("e") / "wheels", "pydockmine")
        data = wheel.read_bytes()
        edited = self.edit("requirements.txt", "./wheels/%s\n" % wheel.name)
        self.ok("rollback", "e", "1")
        self.assertEqual(self.files()["requirements.txt.orig"], edited)
        self.assertEqual(self.files().get("wheels/" + wheel.name), data)

    def test_an_unknown_state_is_an_error_that_changes_nothing(self) -> None:
        engine("tag", BASE, self.image("foreign"))  # which is no state of pydock's
        before = self.state("e")
        for state in ("", "0", "6", "007", "1.0", "latest", "nothing", "Paper", "../1", "tmp-12345678", "foreign"):
            with self.subTest(state):
                self.fails("rollback", "e", state, says="no revision " + state, hint="pydock history e")
        self.fails("rollback", "nothing", says="no global environment 'nothing'")
        self.assertEqual(self.state("e"), before)

    def test_one_that_was_just_made_has_no_state_before(self) -> None:
        self.ok("clone", "e", "c")
        self.addCleanup(self.ok, "delete", "-y", "c")
        self.fails("rollback", "c", says="no revision before", hint="pydock history c")
        self.ok("rollback", "c", "1")
        self.assertEqual(self.numbers("c"), {1})

    def test_a_started_environment_follows(self) -> None:
        self.ok("start", "e")
        self.addCleanup(self.run_pydock, "stop", "e")
        warm = "%s-e--background" % self.prefix
        old = engine("container", "inspect", "--format", "{{.Image}}", warm)
        self.ok("rollback", "e", "1")
        new = engine("container", "inspect", "--format", "{{.Image}} {{.State.Running}}", warm)
        self.assertEqual(new.split(":")[-1], "%s true" % self.inspect()["Id"].split(":")[-1])
        self.assertNotIn(old, new)
        self.assertEqual(self.installed(), self.packages[1])
        found = engine("exec", warm, "/opt/venv/bin/python", "-c", "import six; print(six.__version__)")
        self.assertEqual(found, "1.16.0")

    def test_the_dry_run_is_a_script_that_does_it(self) -> None:
        before = self.state("e")
        script = self.ok("-n", "rollback", "e", "1")
        self.assertEqual(self.state("e"), before)
        done = subprocess.run(["sh", "-e"], input=script, env=self.environ, cwd=str(self.work), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 0, script + done.stderr)
        self.assertEqual({file: self.files()[file] for file in self.written[1]}, self.written[1])
        self.assertEqual(self.installed(), self.packages[1])
        self.assertEqual(self.listed()["e"]["state"], "ready")
        self.assertEqual(self.history()[6]["command"], "rollback e 1")
        self.assert_clean("e")

    def test_no_proxy_of_the_host_gets_into_an_image(self) -> None:
        secret = "s3cr3t" + os.urandom(6).hex()
        proxy = "http://somebody:%s@proxy.invalid:3128" % secret
        old = Path(self.environ.get("DOCKER_CONFIG") or self.home / ".docker")
        folder = self.base / "docker"
        folder.mkdir()
        self.addCleanup(shutil.rmtree, str(folder))
        settings = json.loads((old / "config.json").read_text(encoding="utf-8")) if (old / "config.json").exists() else {}
        settings["proxies"] = {"default": {"httpProxy": proxy, "httpsProxy": proxy}}
        (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
        for more in ("cli-plugins", "contexts"):
            if (old / more).exists():
                (folder / more).symlink_to(old / more)
        environ = {"DOCKER_CONFIG": str(folder), "HTTP_PROXY": proxy, "http_proxy": proxy, "NO_PROXY": "*"}
        self.ok("rollback", "e", "1", environ=environ)
        self.ok("clone", "e", "c", environ=environ)
        self.addCleanup(self.ok, "delete", "-y", "c")
        for name in "e", "c":
            found = self.inspect(name=name)
            self.assertEqual([key for key, value in found.items() if secret in json.dumps(value)], [], name)
            self.assertNotIn(secret, engine("history", "--no-trunc", "--format", "{{.CreatedBy}} {{.Comment}}", self.image(name=name)))

    def test_a_local_environment_goes_back_too(self) -> None:
        project = self.base / "project"
        project.mkdir()
        self.addCleanup(shutil.rmtree, str(project))
        self.ok("--local", "clone", "e", "dev", cwd=project)
        self.addCleanup(self.ok, "delete", "-y", "dev", cwd=project)
        (project / ".pydock" / "envs" / "dev" / "requirements.txt").write_text("# nothing\n", encoding="utf-8")
        self.ok("build", "dev", cwd=project)
        below = project / "src"
        below.mkdir()
        self.ok("rollback", "dev", cwd=below)
        text = (project / ".pydock" / "envs" / "dev" / "requirements.txt").read_bytes()
        self.assertEqual(text, self.written[5]["requirements.txt"])
        rows = json.loads(self.ok("history", "dev", "--json", cwd=below))
        self.assertEqual([row["command"].split()[0] for row in rows], ["clone", "build", "rollback"])


class Frozen(Prepared):
    CHANGES = (["install", "e", "toml==0.10.2"], ["install", "e", "six"], ["uninstall", "e", "six"], ["update", "e"], ["update", "e", "six"],
               ["build", "e"], ["build", "e", "--no-cache"], ["delete", "-y", "e"], ["delete", "-y", "--force", "e"],
               ["rollback", "e"], ["rollback", "e", "1"], ["rollback", "e", "paper"], ["lock", "e"], ["-n", "install", "e", "toml"], ["-n", "rollback", "e"])

    def modes(self, name: str = "e") -> List[str]:
        return ["%o" % (os.stat(str(self.folder(name) / file)).st_mode & 0o7777) for file in ("dockerfile", "requirements.txt")]

    def test_every_change_is_refused_with_one_line_and_allowed_again(self) -> None:
        names = set(self.files())
        result = self.run_pydock("freeze", "e")
        self.assertEqual((result.status, result.out), (0, ""), result)
        self.assertIn(str(self.folder("e") / "requirements.txt"), result.err, "what pip's freeze prints is there")
        self.assertIn("pydock unfreeze e", result.err)
        self.assertEqual(set(self.files()), names, "no file says it")
        before = self.state("e")
        for argv in self.CHANGES:
            with self.subTest(" ".join(argv)):
                result = self.fails(*argv, says="e is frozen", hint="pydock unfreeze e")
                self.assertEqual(len(result.err.splitlines()), 2, result)
                self.assertEqual(self.state("e"), before)
        self.ok("unfreeze", "e")
        self.ok("rollback", "e", "1")
        self.assert_whole(1)

    def test_a_change_that_waits_while_it_is_frozen_is_refused(self) -> None:
        first = self.held("tag", "rollback", "e", "1")
        second = self.waiting("install", "e", "toml==0.10.2")
        for file in ("dockerfile", "requirements.txt"):
            (self.folder("e") / file).chmod(0o444)
        self.assertEqual(self.let_go(first).status, 0)
        refused = self.ended(second)
        self.assertEqual(refused.status, 1, refused)
        self.assertIn("e is frozen", refused.err)
        self.assert_whole(1)

    def test_it_still_runs_and_tells_of_itself(self) -> None:
        self.assertEqual(self.listed()["e"]["frozen"], False)
        self.ok("freeze", "e")
        self.assertEqual(self.installed(), self.packages[5])
        self.assertEqual((self.listed()["e"]["frozen"], self.listed()["e"]["state"]), (True, "ready"))
        self.assertIn("frozen", self.ok("list"))
        self.assertEqual(set(self.history()), {1, 2, 3, 4, 5})
        self.ok("start", "e")
        self.assertEqual(self.installed(), self.packages[5])
        self.ok("stop", "e")
        self.ok("snapshot", "e", "mine")
        self.ok("unfreeze", "e")
        self.assertEqual(self.listed()["e"]["frozen"], False)
        self.assertNotIn("frozen", self.ok("list"))

    def test_it_is_said_by_the_mode_bits_and_by_nothing_else(self) -> None:
        before = self.files()
        for file, mode in (("dockerfile", 0o644), ("requirements.txt", 0o664)):
            (self.folder("e") / file).chmod(mode)
        self.ok("freeze", "e")
        self.ok("freeze", "e")
        self.assertEqual(self.modes(), ["444", "444"])
        old = os.umask(0o027)
        try:
            self.ok("unfreeze", "e")
            self.ok("unfreeze", "e")
        finally:
            os.umask(old)
        self.assertEqual(self.modes(), ["644", "644"])
        for file in ("dockerfile", "requirements.txt"):
            (self.folder("e") / file).chmod(0o440)
        self.assertEqual(self.listed()["e"]["frozen"], True, "a person's chmod does it, too")
        self.fails("rollback", "e", "1", says="frozen")
        (self.folder("e") / "dockerfile").chmod(0o640)
        self.assertEqual(self.listed()["e"]["frozen"], False)
        self.assertEqual(self.files(), before)

    def test_a_clone_of_a_frozen_one_may_change(self) -> None:
        self.ok("freeze", "e")
        self.ok("clone", "e", "c")
        self.addCleanup(self.ok, "delete", "-y", "c")
        self.assertEqual((self.listed()["c"]["frozen"], self.listed()["e"]["frozen"]), (False, True))
        self.ok("uninstall", "c", "colorama")
        self.assertEqual(sorted(self.installed("c")), ["iniconfig", "six"])

    def test_none_is_deleted_where_one_is_frozen(self) -> None:
        self.ok("clone", "e", "c")
        self.addCleanup(self.run_pydock, "delete", "-y", "c")
        self.ok("freeze", "e")
        before = self.tags()
        self.fails("delete", "-y", "c", "e", says="e is frozen")
        self.assertTrue(self.folder("c").is_dir())
        self.assertEqual(self.tags(), before)



class Flattened(Prepared):
    def test_states_from_before_an_image_is_flattened_stay_reachable(self) -> None:
        self.ok("create", "f")
        self.addCleanup(self.ok, "delete", "-y", "f")
        most = self.depth(name="f") + 2
        limit = "pydock.MAX_LAYERS = %d" % most

        def limited(*argv: str) -> Dict[str, bytes]:
            done = self.patched(limit, *argv)
            self.assertEqual(done.status, 0, done)
            return self.files("f")

        written = {1: self.files("f"), 2: limited("install", "f", "six==1.16.0")}
        self.ok("snapshot", "f", "middle")
        written[3] = limited("install", "f", "iniconfig==2.0.0")
        self.assertEqual(self.depth(name="f"), most)
        written[5] = limited("install", "f", "colorama==0.4.6")
        self.assertLess(self.depth(4, "f"), most)
        self.assertEqual(self.installed("f"), {"six": "1.16.0", "iniconfig": "2.0.0", "colorama": "0.4.6"})
        rows = self.history("f")
        self.assertEqual({number: row["command"].split()[0] for number, row in rows.items()}, {1: "create", 2: "install", 3: "install", 4: "build", 5: "install"})
        self.assertEqual((rows[4]["added"], rows[4]["removed"], rows[4]["changed"]), ({}, {}, {}))
        for state, number, packages in (("3", 3, {"six", "iniconfig"}), ("5", 5, {"six", "iniconfig", "colorama"}), ("middle", 2, {"six"}), ("1", 1, set())):
            with self.subTest(state):
                self.assertEqual(limited("rollback", "f", state), written[number])
                self.assertEqual(set(self.installed("f")), packages)
        self.assert_clean("f")


class AtOnce(Prepared):
    def test_of_two_rollbacks_the_second_waits_and_finds_it_done(self) -> None:
        first = self.held("commit", "rollback", "e", "1")
        second = self.waiting("rollback", "e", "1")
        self.assertEqual(self.let_go(first).status, 0)
        self.assertEqual(self.ended(second).status, 0)
        self.assert_whole(1)
        self.assertEqual(max(self.numbers()), 6)

    def test_two_rollbacks_to_different_states_come_one_after_the_other(self) -> None:
        running = [self.start("rollback", "e", state) for state in ("1", "paper")]
        for process in running:
            _, err = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 0, err)
        rows = self.history()
        self.assertEqual(sorted(rows[number]["command"] for number in (6, 7)), ["rollback e 1", "rollback e paper"])
        self.assert_comes_back(1 if rows[7]["command"] == "rollback e 1" else 2)

    def test_a_rollback_during_an_install_waits_and_undoes_it(self) -> None:
        first = self.held("commit", "install", "e", "toml==0.10.2")
        second = self.waiting("rollback", "e")
        self.assertIn("toml", self.let_go(first).err)
        self.assertEqual(self.ended(second).status, 0)
        self.assertEqual([self.history()[number]["command"] for number in (6, 7)], ["install e toml==0.10.2", "rollback e"])
        self.assert_comes_back(5)

    def test_an_install_during_a_rollback_stands_on_what_came_back(self) -> None:
        first = self.held("tag", "rollback", "e", "1")
        second = self.waiting("install", "e", "toml==0.10.2")
        self.assertEqual(self.let_go(first).status, 0)
        self.assertEqual(self.ended(second).status, 0)
        self.assertEqual(self.requirements("e").split(), ["six==1.16.0", "toml==0.10.2"])
        self.assertTrue(self.stands_on("latest", 1))
        self.assertEqual(self.listed()["e"]["state"], "ready")
        self.assert_clean("e")

    def test_a_program_that_runs_goes_on(self) -> None:
        script = "import sys; print('open', flush=True); sys.stdin.readline(); import colorama; print(colorama.__version__)"
        program = self.start("run", "e", "python", "-c", script, stdin=subprocess.PIPE)
        assert program.stdout
        self.assertEqual(program.stdout.readline(), "open\n")
        self.ok("rollback", "e", "1")
        self.assertIsNone(program.poll())
        out, err = program.communicate("\n", timeout=60)
        self.assertEqual((program.returncode, out), (0, "0.4.6\n"), err)
        self.assert_whole(1)


class BadEnds(Prepared):
    """Whatever happens to a rollback or a snapshot, the environment is wholly in the one state or wholly in the other, once
    the next command has run."""

    def test_a_rollback_with_every_call_failing_or_killed(self) -> None:
        self.bystanders()
        self.addCleanup(self.ok, "delete", "-y", "by")
        before, seen = self.state("e"), set()

        def look(way: str, call: str, result: Result) -> None:
            if way == "fail" and call.split()[0] not in ("rm", "rmi") and self.files() == self.written[5]:
                self.assert_clean("e")  # what can still be undone is undone at once
            new = False
            if self.state("e") != before:
                self.next_command_of("e")
                new = self.files() == self.written[2]
            if new:
                self.assert_whole(2)
            else:
                self.assertEqual(self.state("e"), before, result)
                self.assertNotEqual(result.status, 0, result)
            seen.add((way, new))

        self.every_call(["rollback", "e", "paper"], self.restore, look, chosen=("fail", "kill"))
        self.assertLessEqual({("fail", False), ("fail", True), ("kill", False), ("kill", True)}, seen)

    def test_a_rollback_that_is_interrupted(self) -> None:
        before = self.state("e")
        self.fake()
        self.ok("rollback", "e", "paper")
        calls = self.calls()
        self.no_fake()
        self.restore()
        for call in ("create", "commit"):
            number = next(i for i, line in enumerate(calls, 1) if line.startswith(call))
            with self.subTest(call):
                self.disturb("hang", number, "rollback", "e", "paper", by=signal.SIGTERM if call == "create" else signal.SIGINT)
                if self.state("e") != before:
                    self.ok("run", "e", "python", "-c", "pass")
                    self.next_command_of("e")
                self.assert_whole(2 if self.files() == self.written[2] else 5)
            self.restore()

    def test_a_rollback_that_is_killed_between_its_two_files(self) -> None:
        for edit in ("", "toml==0.10.2\n"):
            with self.subTest("with an edit" if edit else "without an edit"):
                edited = self.edit("requirements.txt", edit)
                before = self.files()
                done = self.patched("pydock.keep_files = lambda *_, **more: os.kill(os.getpid(), 9)", "rollback", "e", "paper")
                self.assertEqual(done.status, -9, done)
                self.assertNotEqual(self.files(), before)
                self.ok("run", "e", "python", "-c", "pass")
                if edit:
                    self.assertIn(edited, self.files().values(), "what a person wrote is lost")
                self.assert_whole(2, bool(edit))
            self.restore()

    def test_an_edit_is_there_wherever_a_rollback_is_killed(self) -> None:
        edited = self.edit("requirements.txt", "toml==0.10.2\n")
        self.fake()
        self.ok("rollback", "e", "paper")
        calls = self.calls()
        self.no_fake()
        for call in ("commit", "tag", "rmi"):  # before the files are written, after, and after the tags
            number = next(i for i, line in enumerate(calls, 1) if line.startswith(call))
            self.restore()
            self.edit("requirements.txt", "toml==0.10.2\n")
            with self.subTest(call):
                self.disturb("kill", number, "rollback", "e", "paper")
                self.ok("run", "e", "python", "-c", "pass")
                if self.files()["requirements.txt"] == edited:
                    others = {file: text for file, text in self.files().items() if "requirements.txt" not in file}
                    self.assertEqual({**others, "requirements.txt": self.written[5]["requirements.txt"]}, self.written[5])
                    self.assertEqual(self.tags("e")[self.image()], self.tags("e")[self.image(5)])
                else:
                    self.assertEqual(self.files().get("requirements.txt.orig"), edited)
                    self.next_command_of("e")
                    self.assert_whole(2, edited=True)

    def test_a_snapshot_with_every_call_failing_or_killed(self) -> None:
        self.bystanders()
        self.addCleanup(self.ok, "delete", "-y", "by")
        before, ends = self.state("e"), set()

        def look(way: str, call: str, result: Result) -> None:
            named = self.image("mine") in self.tags("e")
            self.assertEqual(result.status == 0, named and way == "fail", result)
            if named:
                self.assertEqual(self.tags("e")[self.image("mine")], self.tags("e")[self.image()])
                engine("rmi", self.image("mine"))
            self.assertEqual(self.state("e"), before, result)
            ends.add((way, named))

        self.every_call(["snapshot", "e", "mine"], self.restore, look, chosen=("fail", "after"))
        self.assertLessEqual({("fail", False), ("after", False), ("after", True)}, ends)

    def test_no_file_can_grow(self) -> None:
        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (8, 8))

        before = self.state("e")
        for state in ("1", "paper"):
            with self.subTest(state):
                self.assertRegex(self.fails("rollback", "e", state, preexec_fn=limit).err, "cannot |[Ff]ile too large")  # podman writes files, too
                self.assertEqual(self.state("e"), before)
        self.edit("requirements.txt", "toml==0.10.2\n")
        before = self.state("e")
        self.fails("rollback", "e", "1", preexec_fn=limit)
        self.assertEqual(self.state("e"), before)

    def test_a_folder_that_may_not_be_written(self) -> None:
        user = self.user()
        places = [self.home, self.work, *self.home.glob(".pydock/**/*"), self.home / ".pydock"]
        for path in places:
            self.addCleanup(os.chown, str(path), os.getuid(), -1)
            os.chown(str(path), STRANGER if user else -1, -1)
        self.addCleanup(self.folder("e").chmod, 0o755)
        (self.folder("e")).chmod(0o555)
        before = self.state("e")
        for state in ("1", "paper"):
            with self.subTest(state):
                result = self.fails("rollback", "e", state, says="cannot ", **user)
                self.assertRegex(result.err, "Permission denied|Read-only")
                self.assertEqual(self.state("e"), before)
        self.assertEqual([row["revision"] for row in json.loads(self.ok("history", "e", "--json", **user))], [1, 2, 3, 4, 5])
        self.ok("snapshot", "e", "mine", **user)
        self.assertIn(self.image("mine"), self.tags("e"))
        if user:  # a file of somebody else's is not even read
            os.chown(str(self.folder("e") / "dockerfile"), 0, -1)
            for command in ("freeze", "unfreeze"):
                self.fails(command, "e", says="dockerfile belongs to another user", **user)


if __name__ == "__main__":
    unittest.main()
