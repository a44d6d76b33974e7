"""Nothing is lost: whatever fails, is interrupted or runs twice at once, an environment is wholly the old one or wholly
the new one, and nothing else is touched.

`PYDOCK_TEST_SLOW=1` adds what takes minutes: every way to fail at every call of every command, and 130 installs in a row.
`PYDOCK_TEST_SEED` repeats the random moments of an earlier run.
"""
from __future__ import annotations

import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence

from support import (
    ROOT, SLOW, STRANGER, Disturbed, Index, Result, as_user, catches, docker_groups, engine, host_address, make_wheel, pydock,
    signals_as_usual, undoes,
)

SEED = int(os.environ.get("PYDOCK_TEST_SEED") or random.randrange(10**6))
IMPORTS = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"


class Indexed(Disturbed):
    """With a package index of its own on this host, where containers reach that: these tests install some hundred times."""

    PACKAGES = ("six 1.16.0", "six 1.17.0", "iniconfig 2.0.0", "iniconfig 2.1.0", "attrs 25.1.0", "colorama 0.4.6", "idna 3.10", "packaging 25.0", "toml 0.10.2", "wcwidth 0.2.13")

    def setUp(self) -> None:
        super().setUp()
        address = host_address()
        if address:
            for name, version in map(str.split, self.PACKAGES):
                make_wheel(self.base / "packages", name, version, files={"attr.py": ""} if name == "attrs" else None)
            index = Index(address, self.base / "packages")
            self.addCleanup(index.close)
            self.environ.update(PIP_INDEX_URL=index.url, PIP_TRUSTED_HOST=address)


class EveryCall(Indexed):
    """The engine fails, hangs or dies with pydock at the n-th call, for every n. Install, uninstall and update make the same
    calls: together they go through all four ways at each."""

    def change(self, argv: Sequence[str], modules: Sequence[str], turn: int, ways: int = 1) -> None:
        """An install, uninstall or update of `e`, at every call."""
        old, before = self.requirements("e"), self.state("e")
        restore = self.restorer("e")
        self.ok(*argv)
        new = self.requirements("e")
        self.assertNotEqual(new, old)
        restore()
        self.assertEqual(self.state("e"), before)
        seen = set()

        def look(way: str, call: str, result: Result) -> None:
            if undoes(way, call) and (result.status == 0 or self.requirements("e") == old):
                self.assert_clean("e")  # what can still be undone is undone at once
            if self.state("e") != before:
                self.assert_runs("e", *modules)
                self.next_command_of("e")
            now = self.requirements("e")
            self.assertIn(now, (old, new), result)
            if result.status == 0:
                self.assertEqual(now, new, result)
            if now == old:
                self.assertEqual(self.tags("e"), before[2], result)
            self.assert_works("e", *modules)
            seen.add((way, now == new))

        self.every_call(argv, restore, look, turn, ways)
        self.assertEqual({new for _, new in seen}, {False, True})

    def test_install(self) -> None:
        self.bystanders()
        self.ok("create", "e", "six")
        self.change(["install", "e", "iniconfig"], ["six"], turn=0, ways=2)

    def test_uninstall(self) -> None:
        self.bystanders()
        self.ok("create", "e", "six", "iniconfig")
        self.change(["uninstall", "e", "iniconfig"], ["six"], turn=2)

    def test_update(self) -> None:
        self.bystanders()
        self.ok("create", "e", "six", "iniconfig==2.0.0")
        self.change(["update", "e", "iniconfig"], ["six", "iniconfig"], turn=3)

    def test_update_to_another_python(self) -> None:
        self.bystanders()
        self.ok("create", "e", "six==1.16.0")
        self.change(["update", "e", "--python", "3.13"], ["six"], turn=1)

    def test_install_of_system_packages(self) -> None:
        """The dockerfile is the old one with the old image, or the new one, which the same command brings to its end."""
        self.bystanders()
        self.ok("create", "e", "six")
        argv, dockerfile = ["install", "e", "--apt", "libc-bin"], self.folder("e") / "dockerfile"
        old, before, restore = dockerfile.read_text(encoding="utf-8"), self.state("e"), self.restorer("e")
        self.ok(*argv)
        new = dockerfile.read_text(encoding="utf-8")
        self.assertNotEqual(new, old)
        for tag in list(self.tags("e")):  # so that the builder has its steps in the cache
            engine("tag", tag, "%s-built:%s" % (self.prefix, tag.split(":")[1]))
        restore()
        ends = set()

        def look(way: str, call: str, result: Result) -> None:
            now = dockerfile.read_text(encoding="utf-8")
            self.assertIn(now, (old, new), result)
            if undoes(way, call):
                self.assert_clean("e")
            if self.state("e") != before:
                self.ok("run", "e", "python", "-c", "import six")
                self.next_command_of("e")
            if now == old:
                self.assertEqual(self.state("e"), before, result)
            else:
                self.ok(*argv)
            self.assert_works("e", "six")
            ends.add(now == new)

        self.every_call(argv, restore, look, turn=1)
        self.assertEqual(ends, {False, True})

    def test_create(self) -> None:
        self.bystanders()

        def look_at_it(result: Result) -> None:
            self.assert_runs("e", "six")
            self.next_command_of("e")
            self.assert_works("e", "six")

        self.all_or_nothing("e", ["create", "e", "six"], look_at_it, turn=1)

    def test_build(self) -> None:
        self.bystanders()
        self.ok("create", "e")
        with open(str(self.folder("e") / "dockerfile"), "a", encoding="utf-8") as file:
            file.write("LABEL test.of=%s\n" % self.prefix)
        wheel = make_wheel(self.folder("e") / "wheels", "pydocktiny")
        requirements = self.folder("e") / "requirements.txt"
        requirements.write_text("# by hand\n./wheels/%s\n" % wheel.name, encoding="utf-8")
        before = self.state("e")
        restore = self.restorer("e")
        self.ok("build", "e")
        for tag in list(self.tags("e")):  # so that the builder has its steps in the cache
            engine("tag", tag, "%s-built:%s" % (self.prefix, tag.split(":")[1]))
        restore()
        self.assertEqual(self.state("e"), before)
        ends = set()

        def look(way: str, call: str, result: Result) -> None:
            self.assertEqual(requirements.read_text(encoding="utf-8"), before[0][".pydock/envs/e/requirements.txt"], result)
            if undoes(way, call):
                self.assert_clean("e")
            if self.state("e") != before:
                self.ok("run", "e", "python", "-c", "pass")
                self.next_command_of("e")
            if result.status == 0:
                self.assertEqual(self.listed()["e"]["state"], "ready", result)
            if self.listed()["e"]["state"] == "ready":
                self.assert_works("e", "pydocktiny")
                ends.add("new")
            else:
                self.assertEqual(self.state("e"), before, result)
                self.ok("run", "e", "python", "-c", "pass")
                ends.add("old")

        self.every_call(["build", "e"], restore, look, turn=2)
        self.assertEqual(ends, {"old", "new"})
        dangling = engine("image", "ls", "-q", "--filter", "dangling=true", "--filter", "label=test.of=" + self.prefix).split()
        self.assertEqual(dangling, [])

    def test_rename(self) -> None:
        self.bystanders()
        self.ok("create", "e", "six")
        self.ok("install", "e", "iniconfig")
        self.ok("snapshot", "e", "both")
        before = self.state("e")
        restore_old = self.restorer("e")

        def everything() -> List[Any]:
            """All on which the next commands can depend."""
            return [self.snapshot(), self.tags(), self.containers(), self.untagged("e"), self.untagged("new")]

        untouched = everything()
        nothing: List[Any] = [{}, [], {}, [], []]
        tags = {"%s-new:%s" % (self.prefix, tag) for tag in ("1", "2", "both", "latest")}
        ends = set()

        def restore() -> None:
            shutil.rmtree(str(self.folder("new")), ignore_errors=True)
            made = list(self.tags("new"))
            if made:
                engine("rmi", *made)
            restore_old()

        def look(way: str, call: str, result: Result) -> None:
            renamed, found = self.folder("new").exists(), everything()
            if undoes(way, call) and not renamed:
                self.assertEqual(found, untouched, result)  # what can still be undone is undone at once
            if result.status == 0:
                self.assertTrue(renamed, result)
            self.assertNotEqual(renamed, self.folder("e").exists())
            ends.add(renamed)
            if found == untouched:
                return
            self.next_command()
            self.next_command_of("new" if renamed else "e")
            self.assertEqual(self.state("new" if not renamed else "e"), nothing, result)
            if renamed:
                self.assertEqual(set(self.tags("new")), tags)
                self.assert_works("new", "six", "iniconfig")
            else:
                self.assertEqual(self.state("e"), before, result)

        self.every_call(["rename", "e", "new"], restore, look, turn=2)
        self.assertEqual(ends, {False, True})

    def test_delete(self) -> None:
        self.bystanders()
        self.ok("create", "e", "six")
        self.ok("install", "e", "iniconfig")
        before = self.state("e")
        restore = self.restorer("e")
        ends = set()

        def look(way: str, call: str, result: Result) -> None:
            if result.status == 0:
                self.assertFalse(self.folder("e").exists(), result)
            self.next_command()
            if self.folder("e").exists():
                self.assertEqual(self.state("e"), before, result)
                self.assert_works("e", "six", "iniconfig")
            else:
                self.assertEqual(self.state("e"), [{}, [], {}, [], []], result)
            ends.add(self.folder("e").exists())

        self.every_call(["delete", "-y", "e"], restore, look, turn=0, ways=2)
        self.assertEqual(ends, {False, True})

    def test_kernel(self) -> None:
        self.bystanders()
        self.ok("create", "e", str(make_wheel(self.base, "ipykernel")))
        for registered in (False, True):
            self.kernel(registered)
        self.fake()
        self.ok("kernel", "--remove", "e")
        self.assertEqual(self.calls(), [])

    def kernel(self, registered: bool) -> None:
        """Jupyter sees none, or a whole one; one that was there stays."""
        before, name = self.state("e"), self.prefix + "-e"
        shims, spec = self.home / ".local/share/pydock" / name, self.home / ".local/share/jupyter/kernels" / name

        def restore() -> None:
            shutil.rmtree(str(shims), ignore_errors=True)
            if os.path.lexists(spec):
                spec.unlink()
            if registered:
                self.ok("kernel", "e")

        def look(way: str, call: str, result: Result) -> None:
            self.assertEqual(self.state("e"), before, result)
            self.assertEqual(os.path.lexists(spec), registered or result.status == 0, result)
            listed = [line.split()[:2] for line in self.ok("kernel").splitlines()[1:]]
            self.assertEqual(listed, [[str(spec), "e"]] * os.path.lexists(spec), result)
            if listed:
                _, start, _ = json.loads((spec / "kernel.json").read_text(encoding="utf-8"))["argv"]
                self.assertIn("kernel --connection", Path(start).read_text(encoding="utf-8"), result)
            self.ok("kernel", "e")

        restore()
        self.every_call(["kernel", "e"], restore, look, turn=0, ways=2)


class EveryCallOfAProject(Indexed):
    """The same for a project that is installed as it lies there, in an environment of its folder."""

    BACKEND = """import zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "mylib-1.0-py3-none-any.whl"
    with zipfile.ZipFile(folder + "/" + name, "w") as wheel:
        wheel.writestr("mylib.pth", %r)
        wheel.writestr("mylib-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: mylib\\nVersion: 1.0\\n")
        wheel.writestr("mylib-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("mylib-1.0.dist-info/RECORD", "")
    return name
"""

    def folder(self, name: str) -> Path:
        return self.work / ".pydock/envs/e" if name == "e" else super().folder(name)

    def tags(self, name: str = "") -> Dict[str, str]:
        return super().tags("e__" + pydock.text_hash(str(self.folder("e")))[:8] if name == "e" else name)

    def test_install(self) -> None:
        self.bystanders()
        (self.work / "pyproject.toml").write_text('[project]\nname = "mylib"\nversion = "1.0"\n[build-system]\nrequires = []\nbuild-backend = "backend"\n'
                                                  'backend-path = ["."]\n', encoding="utf-8")
        (self.work / "backend.py").write_text(self.BACKEND % str(self.work), encoding="utf-8")
        (self.work / "mylib.py").write_text("", encoding="utf-8")
        self.ok("--local", "create", "e", "six")
        old, tags, restore = self.requirements("e"), self.tags("e"), self.restorer("e")
        ends = set()

        def look(way: str, call: str, result: Result) -> None:
            if undoes(way, call) and self.requirements("e") == old:
                self.assert_clean("e")
            self.next_command_of("e")
            self.assert_clean("e")
            self.assertEqual(self.listed()["e"]["state"], "ready", result)
            whole = self.requirements("e") != old
            self.assertEqual(self.requirements("e"), "-e .\n" * whole + old, result)
            if result.status == 0:
                self.assertTrue(whole, result)
            if not whole:
                self.assertEqual(self.tags("e"), tags, result)
            found = self.ok("run", "e", "python", "-Ic", "import six, importlib.util as u; print(bool(u.find_spec('mylib')))")
            self.assertEqual(found, "%s\n" % whole, result)
            ends.add(whole)

        self.every_call(["install", "e", "-e", "."], restore, look, turn=1)
        self.assertEqual(ends, {False, True})


class RandomMoments(Indexed):
    """Ctrl-C and SIGKILL, whenever."""

    def setUp(self) -> None:
        super().setUp()
        self.bystanders()
        self.ok("create", "e", "six")
        self.old = self.requirements("e")
        self.restore = self.restorer("e")
        start = time.monotonic()
        self.ok("install", "e", "iniconfig")
        self.length = time.monotonic() - start
        self.new = self.requirements("e")
        self.restore()

    def moments(self, number: signal.Signals, count: int) -> None:
        chance = random.Random("%d %s" % (SEED, number))
        for turn in range(count):
            moment, all_of_them = chance.uniform(0, self.length), bool(turn % 2)
            with self.subTest(seed=SEED, signal=number.name, moment=round(moment, 3), to="all of its processes" if all_of_them else "pydock"):
                process = self.start("install", "e", "iniconfig", start_new_session=True, preexec_fn=signals_as_usual)
                while process.poll() is None and not catches(process.pid, signal.SIGTERM):  # until then it is Python that is interrupted
                    time.sleep(0.001)
                try:
                    process.wait(moment)
                except subprocess.TimeoutExpired:
                    (os.killpg if all_of_them else os.kill)(process.pid, number)
                out, err = process.communicate(timeout=60)
                self.wait_for_end_of(process)
                result = Result(["install"], process.returncode, out, err)
                self.assertNotIn("Traceback", err, result)
                self.assertIn(result.status, (0, 130 if number == signal.SIGINT else -number), result)
                self.ok("run", "e", "python", "-c", IMPORTS, "six")
                self.settle()
            self.restore()
        self.assert_nothing_else_touched()

    def settle(self) -> None:
        """Two next commands: a commit whose client is dead goes on in the engine, and may come after the first."""
        self.ok("install", "e", "six")
        if self.tags("e").keys() - {"%s-e:%s" % (self.prefix, tag) for tag in ("1", "2", "latest")}:
            self.next_command_of("e")
        self.assertIn(self.requirements("e"), (self.old, self.new))
        self.assert_works("e", "six")

    def test_an_install_that_is_interrupted(self) -> None:
        self.moments(signal.SIGINT, 4)

    def test_an_install_that_is_killed(self) -> None:
        self.moments(signal.SIGKILL, 4)

    def test_an_install_that_is_killed_with_its_client_while_the_engine_commits(self) -> None:
        for _ in range(6):
            self.fake()
            process = self.start("install", "e", "iniconfig", start_new_session=True)
            self.wait_for(lambda: any(call.startswith("commit") for call in self.calls()))
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=60)
            self.no_fake()
            if self.requirements("e") == self.old:
                break
            self.settle()  # too late: on a busy machine the commit was over
            self.restore()
        self.assertEqual(self.requirements("e"), self.old)
        self.ok("run", "e", "python", "-c", IMPORTS, "six")
        end = time.monotonic() + 4  # the engine makes the image seconds later, or never got to hear of it
        while time.monotonic() < end and not [tag for tag in self.tags("e") if ":tmp-" in tag]:
            time.sleep(0.1)
        self.settle()
        self.assertEqual(self.requirements("e"), self.old)
        self.assert_nothing_else_touched()

    def test_a_file_that_a_person_put_back_after_a_crash_stays(self) -> None:
        self.fake()
        self.ok("install", "e", "iniconfig")
        number = next(i for i, call in enumerate(self.calls(), 1) if call.startswith("tag "))
        self.restore()
        self.disturb("kill", number, "install", "e", "iniconfig")
        self.assertEqual(self.requirements("e"), self.new)
        (self.folder("e") / "requirements.txt").write_text(self.old, encoding="utf-8")
        self.next_command_of("e")
        self.assertEqual(self.requirements("e"), self.old)
        self.assert_works("e", "six")


class FullDisk(Indexed):
    def attempts(self, full: Dict[str, Any], free: Callable[[], None] = lambda: None, fill: Callable[[], None] = lambda: None) -> None:
        """`fill` makes the disk full, or the `full` options of Popen do, and `free` empties it again."""
        self.bystanders()
        self.ok("create", "e", "six")
        wheel = make_wheel(self.base, "pydocklarge", files={"pydocklarge_data.txt": os.urandom(150000).hex()})
        before = self.state("e")
        for argv in (["install", "e", "iniconfig", "attrs"], ["install", "e", str(wheel)], ["create", "new"]):
            with self.subTest(" ".join(argv)):
                fill()
                process = self.start(*argv, **full)
                out, err = process.communicate(timeout=120)
                result = Result(argv, process.returncode, out, err)
                self.assertEqual(result.status, 1, result)
                self.assertRegex(err, "(?m)^pydock: error: cannot ", result)
                self.assertNotIn("Traceback", err, result)
                free()
                self.assertEqual(self.state("e"), before, result)
                self.assertEqual(self.tags("new"), {}, result)
                self.assertFalse(self.folder("new").exists(), result)
                self.next_command()
                self.assert_works("e", "six")
        self.ok("install", "e", "iniconfig")
        self.assert_works("e", "six", "iniconfig")
        self.assert_nothing_else_touched()

    def test_no_file_can_grow(self) -> None:
        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (8, 8))

        self.attempts({"preexec_fn": limit})

    def test_a_full_file_system(self) -> None:
        disk = self.home / ".pydock"
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], stderr=subprocess.DEVNULL).returncode:
            self.skipTest("only root may mount a file system here")
        self.addCleanup(subprocess.run, ["umount", "-l", str(disk)], check=True)
        filler = disk / "filler"

        def fill() -> None:
            with open(str(filler), "wb", buffering=0) as file:
                try:
                    while True:
                        file.write(b"\0" * 4096)
                except OSError:
                    pass

        self.attempts({}, filler.unlink, fill)


class AtOnce(Indexed):
    """Several pydocks, or several people, at one time."""

    def setUp(self) -> None:
        super().setUp()
        self.known: Dict[Sequence[str], List[str]] = {}

    def held(self, call: str, *argv: str) -> subprocess.Popen[str]:
        """A pydock that is held at its first call that begins so, until `let_go`; the fake engine is then off again."""
        count = self.count(call, *argv)
        self.fake("hold", str(count))
        process = self.start(*argv)
        self.no_fake()
        self.wait_for(lambda: len(self.calls()) == count)
        return process

    def count(self, call: str, *argv: str) -> int:
        """The number of the call in a sibling's undisturbed run of the same command."""
        if argv not in self.known:
            if not self.folder("sibling").exists():
                self.ok("create", "sibling", "six")
            self.fake()
            self.ok(*[word if word != "e" else "sibling" for word in argv])
            self.no_fake()
            self.known[argv] = self.calls()
        return next(i for i, line in enumerate(self.known[argv], 1) if line.startswith(call))

    def test_two_installs_come_one_after_the_other_and_the_second_says_that_it_waits(self) -> None:
        self.ok("create", "e", "six")
        first = self.held("run", "install", "e", "iniconfig")
        second = self.start("install", "e", "colorama")
        assert second.stderr
        line = second.stderr.readline()
        self.assertIn("waiting for ", line)
        self.assertIn(" e", line)
        if os.path.exists("/proc/locks"):
            self.assertIn("that is changing e", line)
        self.assertIsNone(first.poll())
        self.assertEqual(self.requirements("e").count("=="), 1)
        self.assertEqual(self.let_go(first).status, 0)
        out, err = second.communicate(timeout=60)
        self.assertEqual(second.returncode, 0, err)
        self.assert_works("e", "six", "iniconfig", "colorama")

    def test_eight_installs_at_once_all_succeed(self) -> None:
        self.ok("create", "e")
        packages = ["six", "attrs", "iniconfig", "packaging", "colorama", "idna", "toml", "wcwidth"]
        running = [self.start("install", "e", package) for package in packages]
        for process in running:
            out, err = process.communicate(timeout=240)
            self.assertEqual(process.returncode, 0, err)
        lines = self.requirements("e").splitlines()
        self.assertEqual([line.split("==")[0] for line in lines], sorted(packages))
        self.assert_works("e", "six", "attr", *packages[2:])

    def test_the_installs_of_two_environments_do_not_wait_for_each_other(self) -> None:
        self.ok("create", "e", "six")
        self.ok("create", "other")
        for call in ("run", "commit", "tag"):
            with self.subTest(held_at=call):
                first = self.held(call, "install", "e", "iniconfig")
                result = self.run_pydock("install", "other", "colorama", timeout=60)
                self.assertEqual(result.status, 0, result)
                self.assertIsNone(first.poll())  # so the other one was begun and done while this one was at work
                self.assertEqual(self.let_go(first).status, 0)
                self.ok("uninstall", "e", "iniconfig")
                self.ok("uninstall", "other", "colorama")
        self.assert_works("e", "six")
        self.assert_works("other")

    def test_a_program_that_runs_goes_on_while_packages_are_installed(self) -> None:
        self.ok("create", "e", "six")
        script = "import six, sys; print('open', flush=True); sys.stdin.readline(); import os; print(os.listdir('/opt/pydock'))"
        program = self.start("run", "e", "python", "-c", script, stdin=subprocess.PIPE)
        assert program.stdout
        self.assertEqual(program.stdout.readline(), "open\n")
        self.ok("install", "e", "iniconfig")
        self.ok("uninstall", "e", "six")
        self.assertIsNone(program.poll())
        out, err = program.communicate("\n", timeout=60)
        self.assertEqual(program.returncode, 0, err)
        self.assertIn("requirements.txt", out)
        self.assert_works("e", "iniconfig")

    def test_a_build_and_a_delete_wait_for_an_install(self) -> None:
        self.ok("create", "e", "six")
        first = self.held("commit", "install", "e", "iniconfig")
        second = self.waiting("build", "e")
        self.assertEqual(self.let_go(first).status, 0)
        second.communicate(timeout=120)
        self.assertEqual(second.returncode, 0)
        self.assert_works("e", "six", "iniconfig")

    def test_two_creates_of_one_name_make_one_environment(self) -> None:
        running = [self.start("create", "e", package) for package in ("six", "iniconfig")]
        results = [process.communicate(timeout=120)[1] for process in running]
        self.assertEqual(sorted(process.returncode for process in running), [0, 1], results)
        won = ("six", "iniconfig")[[process.returncode for process in running].index(0)]
        self.assert_works("e", won)
        self.assertEqual(self.requirements("e").split("==")[0], won)


class ByHand(Indexed):
    """What a person wrote is never thrown away."""

    def test_a_line_that_was_added_and_not_built_is_built_by_the_next_install(self) -> None:
        self.ok("create", "e", "six")
        path = self.folder("e") / "requirements.txt"
        path.write_text("# tests\niniconfig  # small\n\n# the rest\n" + self.requirements("e"), encoding="utf-8")
        self.ok("install", "e", "colorama")
        lines = [re.sub(r"==[0-9.]+ *", "", line) for line in self.requirements("e").splitlines()]
        self.assertIn("colorama", lines)
        self.assertEqual([line for line in lines if line != "colorama"], ["# tests", "iniconfig# small", "", "# the rest", "six"])
        self.assert_works("e", "six", "iniconfig", "colorama")

    def test_comments_outlive_install_uninstall_and_update(self) -> None:
        self.ok("create", "e", "six")
        path = self.folder("e") / "requirements.txt"
        path.write_text("# first\n\n%s# why six\n# last, no newline" % self.requirements("e").replace("\n", "  # pinned by hand\n"), encoding="utf-8")
        for argv in (["install", "e", "iniconfig"], ["update", "e"], ["uninstall", "e", "iniconfig"]):
            self.ok(*argv)
            text = self.requirements("e")
            for comment in ("# first\n\n", "# pinned by hand\n", "# why six\n", "# last, no newline"):
                self.assertIn(comment, text, argv)
        self.assert_works("e", "six")

    def test_a_line_that_cannot_be_built_stops_an_install_and_stays(self) -> None:
        self.ok("create", "e", "six")
        before = self.tags("e")
        path = self.folder("e") / "requirements.txt"
        text = self.requirements("e") + "six==0.0.0.0.1  # a mistake\n"
        path.write_text(text, encoding="utf-8")
        self.fails("install", "e", "iniconfig", says="cannot build e")
        self.assertEqual(self.requirements("e"), text)
        self.assertEqual(self.tags("e"), before)
        self.ok("run", "e", "python", "-c", IMPORTS, "six")
        self.assert_clean("e")


class ManyInstalls(Indexed):
    def layers(self, name: str) -> int:
        return len(json.loads(engine("image", "inspect", "--format", "{{json .RootFS.Layers}}", "%s-%s:latest" % (self.prefix, name))))

    def test_an_image_of_many_layers_is_built_anew_and_stays_whole(self) -> None:
        self.ok("create", "e", "six")
        path = self.folder("e") / "requirements.txt"
        path.write_text("# mine\n" + self.requirements("e"), encoding="utf-8")
        self.ok("build", "e")
        most = self.layers("e") + 2
        code = "import sys; sys.path.insert(0, %r); import pydock; pydock.MAX_LAYERS = %d; sys.exit(pydock.main(sys.argv[1:]))" % (str(ROOT), most)
        counts = []
        for turn in range(5):
            verb = ("install", "uninstall")[turn % 2]
            done = subprocess.run([sys.executable, "-c", code, verb, "e", "iniconfig"], env=self.environ, cwd=str(self.work),
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            counts.append(self.layers("e"))
            self.assertEqual("iniconfig" in self.requirements("e"), verb == "install")
        self.assertLessEqual(max(counts), most)
        self.assertIn(True, [after < before for before, after in zip(counts, counts[1:])], counts)
        self.assertTrue(self.requirements("e").startswith("# mine\n"))
        self.assert_works("e", "six", "iniconfig")

    @unittest.skipUnless(SLOW, "takes minutes; PYDOCK_TEST_SLOW=1 asks for it")
    def test_130_installs_in_a_row(self) -> None:
        self.ok("create", "e", "six")
        for turn in range(130):
            self.ok("install" if turn % 2 == 0 else "uninstall", "e", "iniconfig")
            self.assertLess(self.layers("e"), 125)
        self.ok("install", "e", "iniconfig")
        self.assert_works("e", "six", "iniconfig")


class Links(Disturbed):
    def test_a_symbolic_link_in_envs_is_not_followed(self) -> None:
        self.bystanders()
        self.ok("create", "e", "six")
        elsewhere = self.base / "elsewhere"
        shutil.copytree(str(self.folder("e")), str(elsewhere))
        self.folder("link").symlink_to(elsewhere)
        self.folder("sibling").symlink_to("e")
        self.folder("broken").symlink_to(self.base / "nowhere")
        before, tags = self.snapshot(), self.tags()
        target = {path.name: path.read_bytes() for path in elsewhere.iterdir()}
        for name in ("link", "sibling", "broken"):
            for argv in (["run", name, "true"], ["shell", name], ["install", name, "iniconfig"], ["uninstall", name, "six"],
                         ["update", name], ["build", name], ["delete", "-y", name], ["delete", "-y", "e", name], ["create", name]):
                with self.subTest(" ".join(argv)):
                    self.fails(*argv, says="symbolic link" if argv[0] != "create" else "")
        self.assertNotIn("link", self.listed())
        self.assertEqual(self.snapshot(), before)
        self.assertEqual(self.tags(), tags)
        self.assertEqual({path.name: path.read_bytes() for path in elsewhere.iterdir()}, target)
        self.assertEqual(os.readlink(str(self.folder("link"))), str(elsewhere))
        self.assert_works("e", "six")
        self.assert_nothing_else_touched()

    def test_links_inside_an_environment_are_not_deleted_through(self) -> None:
        self.ok("create", "e")
        precious = self.base / "precious"
        precious.mkdir()
        (precious / "data").write_text("mine", encoding="utf-8")
        (self.folder("e") / "wheels").symlink_to(precious)
        self.ok("delete", "-y", "e")
        self.assertEqual((precious / "data").read_text(encoding="utf-8"), "mine")
        self.assertEqual(self.state("e"), [{}, [], {}, [], []])


class OtherPeople(Disturbed):
    """Several users, several homes, and what was fetched from the net."""

    def other_home(self) -> Dict[str, str]:
        home = self.base / "other-home"
        home.mkdir(exist_ok=True)
        return {"HOME": str(home)}

    def test_of_two_homes_with_one_name_the_second_is_told_and_the_first_untouched(self) -> None:
        self.bystanders()
        self.ok("create", "e", "six")
        before, mine = self.state("e"), self.snapshot()
        environ = self.other_home()
        clash: Dict[str, Any] = {"says": str(self.folder("e")), "hint": "config --global prefix", "environ": environ}
        self.fails("create", "e", **clash)
        self.assertEqual(list((self.base / "other-home").rglob("*")), [])
        theirs = self.base / "other-home" / ".pydock" / "envs" / "e"
        shutil.copytree(str(self.folder("e")), str(theirs))
        for argv in (["build", "e"], ["install", "e", "iniconfig"], ["uninstall", "e", "six"], ["update", "e"],
                     ["delete", "-y", "e"], ["delete", "-y", "--force", "e"], ["run", "e", "true"]):
            with self.subTest(" ".join(argv)):
                self.fails(*argv, **clash)
                self.assertTrue((theirs / "dockerfile").exists())
        self.assertEqual((self.state("e"), self.snapshot()), (before, mine))
        self.assert_works("e", "six")
        other = "%s-2" % self.prefix  # the remedy
        self.ok("run", "e", "python", "-c", IMPORTS, "six", environ={**environ, "PYDOCK_PREFIX": other})
        self.ok("delete", "-y", "e", environ={**environ, "PYDOCK_PREFIX": other})
        self.assertEqual((self.state("e"), self.snapshot()), (before, mine))
        self.assert_nothing_else_touched()

    def test_a_read_only_home(self) -> None:
        user = self.user()
        self.as_they(user, "create", "e", "six")
        self.as_they(user, "create", "by")
        folders = [self.folder("e"), self.folder("e").parent, self.home / ".pydock", self.home]
        before, files = self.state("e"), self.snapshot()
        for folder in folders:
            folder.chmod(0o555)
        for argv in (["install", "e", "iniconfig"], ["uninstall", "e", "six"], ["create", "new"], ["delete", "-y", "e"],
                     ["config", "history", "3"]):
            with self.subTest(" ".join(argv)):
                result = self.as_they(user, *argv, status=1)
                errors = [line for line in result.err.splitlines() if line.startswith("pydock: error: ")]
                self.assertEqual(len(errors), 1, result)
                self.assertRegex(errors[0], "cannot .*(Permission denied|Read-only)")
                self.assertEqual((self.state("e"), self.snapshot()), (before, files))
        self.assertEqual(self.tags("new"), {})
        self.as_they(user, "run", "e", "python", "-c", IMPORTS, "six")
        self.assertIn("ready", self.as_they(user, "list").out)
        for folder in reversed(folders):
            folder.chmod(0o755)
        self.as_they(user, "install", "e", "iniconfig")
        self.as_they(user, "run", "e", "python", "-c", IMPORTS, "six", "iniconfig")
        self.assert_clean("e")

    def test_a_home_without_any_pydock_that_is_read_only(self) -> None:
        user = self.user()
        self.home.chmod(0o555)
        result = self.as_they(user, "create", "e", status=1)
        self.assertRegex(result.err, "(?m)^pydock: error: cannot create the folder .*: Permission denied$")
        self.assertEqual(self.as_they(user, "list", "--json").out.strip(), "[]")
        self.assertEqual((self.tags(), self.containers(), self.snapshot()), ({}, [], {}))

    def test_two_users_with_one_name_on_one_engine(self) -> None:
        if os.getuid():
            self.skipTest("only root can be two users")
        user = self.user()
        self.as_they(user, "create", "e", "six")
        before = self.state("e")
        self.home.chmod(0o700)
        other = self.base / "other-home"
        other.mkdir()
        os.chown(str(other), STRANGER + 1, STRANGER + 1)
        second = {"preexec_fn": as_user(STRANGER + 1, STRANGER + 1, docker_groups())}
        mine, self.environ["HOME"] = self.environ["HOME"], str(other)
        for argv in (["create", "e"], ["--global", "create", "e", "six"]):
            result = self.as_they(second, *argv, status=1, cwd=other)
            self.assertIn(str(self.folder("e")), result.err)
            self.assertRegex(result.err, "(?m)^hint: .*config --global prefix")
        self.assertEqual(list(other.rglob("*")), [])
        self.environ["HOME"] = mine
        self.assertEqual(self.state("e"), before)
        self.as_they(user, "run", "e", "python", "-c", IMPORTS, "six")

    def test_a_pydock_folder_above_that_belongs_to_somebody_else_is_not_used(self) -> None:
        if os.getuid():
            self.skipTest("only root can make a folder somebody else's")
        project = self.work / "project"
        below = project / "src"
        below.mkdir(parents=True)
        self.ok("--local", "create", "theirs", "--no-build", cwd=project)
        self.assertIn("theirs", self.ok("list", cwd=below))
        subprocess.run(["chown", "-R", "%d" % STRANGER, str(project / ".pydock")], check=True)
        self.assertEqual(json.loads(self.ok("list", "--json", cwd=below)), [])
        self.fails("run", "theirs", "true", cwd=below, says="no global environment 'theirs'")
        self.ok("create", "mine", "--no-build", cwd=below)
        self.assertTrue(self.folder("mine").is_dir())
        self.assertEqual(self.tags("theirs"), {})

    def test_a_cloned_repository_never_chooses_what_runs_on_the_host(self) -> None:
        evil = self.base / "evil"
        evil.write_text("#!/bin/sh\ntouch '%s/ran'\nexit 1\n" % self.base, encoding="utf-8")
        evil.chmod(0o755)
        project = self.work / "project"
        project.mkdir()
        self.ok("--local", "create", "dev", "--no-build", cwd=project)
        shutil.copy(str(evil), str(project / "docker"))
        for text in ("engine = %s" % evil, "engine = ./docker", "engine = sudo %s" % evil, "ENGINE: %s" % evil):
            (project / ".pydock" / "pydock.conf").write_text("[pydock]\n%s\n" % text, encoding="utf-8")
            for argv in (["list"], ["run", "dev", "true"], ["build", "dev"], ["install", "dev", "six"], ["config"]):
                with self.subTest(text=text, command=argv[0]):
                    result = self.run_pydock(*argv, cwd=project)
                    self.assertEqual(result.status, 0, result)
                    self.assertIn("ignoring engine in", result.err, result)
                    self.assertFalse((self.base / "ran").exists())


if __name__ == "__main__":
    unittest.main()
