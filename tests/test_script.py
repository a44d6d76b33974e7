"""`run SCRIPT.py` with inline metadata (PEP 723): what is read as such, what environment it makes, and how the script runs in it."""
from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path
from typing import List, Sequence
from unittest import mock

from support import SECRET, Case, Index, Result, SharedCase, engine, host_address, make_wheel, pydock, serve_git

# Of the specification, "inline script metadata".
BLOCK = r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$"
NONE = "# /// script\n# dependencies = []\n# ///\n"
MAIN = """# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "alpha[more]<2",
#   "beta; python_version >= '3'",
#   "mylib",
# ]
# [[tool.uv.index]]
# url = "%s"
# [tool.uv.sources]
# mylib = {git = "%s"}
# ///
import alpha, beta, gamma, mylib, os, sys
print(alpha.version, beta.version, gamma.version, mylib.version, sys.argv[1:], sys.stdin.read())
print(sys.argv[0], os.path.basename(sys.path[0]), file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""


class Metadata(unittest.TestCase):
    """What is read of a file, without an engine."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pydock-script-")).resolve()
        self.addCleanup(shutil.rmtree, str(self.folder))
        before = os.getcwd()
        os.chdir(self.folder)
        self.addCleanup(os.chdir, before)
        environ = {key: value for key, value in os.environ.items() if key not in ("PYDOCK_ENV", "PYDOCK_LOCAL", "XDG_DATA_HOME")}
        patch = mock.patch.dict(os.environ, {**environ, "HOME": str(self.folder / "home")}, clear=True)
        patch.start()
        self.addCleanup(patch.stop)

    def block(self, text: str) -> str:
        Path("x.py").write_bytes(text.encode())
        return pydock.metadata_of("x.py")

    def env(self, name: str, place: str = ".") -> None:
        folder = Path(place, ".pydock", "envs", name)
        folder.mkdir(parents=True)
        for file in ("dockerfile", "requirements.txt"):
            (folder / file).touch()

    def wrong(self, *argv: str) -> pydock.PydockError:
        with self.assertRaises(pydock.PydockError) as caught:
            pydock.parse(["run", *argv])
        return caught.exception

    def test_it_is_what_the_specification_finds(self) -> None:
        lines = ["# /// script", "# ///", "# x", "#", "#x", "code", "", "# /// a", "# /// ", "#  y", " # ///", "# /// script ", "\t"]
        chance, found = random.Random(723), 0
        for _ in range(20000):
            text = "\n".join(chance.choice(lines) for _ in range(chance.randrange(1, 9))) + chance.choice(["", "\n", "\n\n"])
            blocks = [(block["type"], block.start(), block["content"]) for block in re.finditer(BLOCK, text)]
            self.assertEqual(list(pydock.metadata_blocks(text)), blocks, text)
            found += len(blocks)
        self.assertGreater(found, 100)

    def test_it_stands_on_its_own_lines(self) -> None:
        self.assertEqual(self.block("#!/usr/bin/env -S pydock run\n\n# /// script\n# a = 1\n#\n#  b = 2\n# ///\nprint()\n"), "\n\n\na = 1\n\n b = 2\n")

    def test_crlf_and_a_byte_order_mark_say_the_same(self) -> None:
        text = "# /// script\n# a = 1\n# ///\n"
        for other in (text.replace("\n", "\r\n"), "\ufeff" + text, text.rstrip("\n")):
            self.assertEqual(self.block(other), self.block(text))

    def test_in_a_string_or_behind_code_it_is_one_too(self) -> None:
        """So the specification has it: an expression at the beginnings of lines."""
        self.assertEqual(self.block('print("""\n# /// script\n# a = 1\n# ///\n""")\n'), "\n\na = 1\n")

    def test_what_is_none(self) -> None:
        for text in ("", "print()\n", "# /// script\n# a = 1\n", "# /// script\n# ///\n", " # /// script\n # a = 1\n # ///\n", "# /// other\n# a = 1\n# ///\n", "# /// script\n#a = 1\n# ///\n", "\0\xff"):
            self.assertEqual(self.block(text), "", text)

    def test_two_are_an_error_that_names_the_lines(self) -> None:
        with self.assertRaisesRegex(pydock.PydockError, "x.py has two blocks of metadata, in lines 1 and 5"):
            self.block(NONE + "\n" + NONE)

    def test_what_is_no_text_is_one(self) -> None:
        Path("x.py").write_bytes(b"# /// script\n# a = '\xff'\n# ///\n")
        with self.assertRaisesRegex(pydock.PydockError, "the metadata of x.py is not UTF-8"):
            pydock.metadata_of("x.py")

    def test_nothing_makes_it_hang_or_eat_memory(self) -> None:
        os.mkfifo("pipe.py")
        Path("folder.py").mkdir()
        Path("device.py").symlink_to("/dev/zero")
        for name in ("pipe.py", "folder.py", "device.py"):
            self.assertEqual(str(self.wrong(name)), "there is no file " + name)
        for text in ("# /// script\n" * 400000, "# /// script\n" + "# x\n" * 2000000, (NONE + "\n") * 100000, "# /// script\n# " + "x" * 9000000, "\0" * 9000000):
            start = time.monotonic()
            with contextlib.suppress(pydock.PydockError):
                self.assertEqual(self.block(text), "")
            self.assertLess(time.monotonic() - start, 20)
        with open("x.py", "wb") as file:
            file.truncate(1 << 40)
        self.assertIn("x.py is a sparse file", str(self.wrong("x.py")))
        os.rename("x.py", "program")
        self.env("dev")
        self.assertEqual(pydock.parse(["run", "./program"]).command, ["./program"], "no script, whatever it is")

    def test_which_word_is_one(self) -> None:
        Path("x.py").write_text(NONE)
        Path("plain.py").write_text("print()\n")
        Path("tool").write_text("#!/usr/bin/env -S pydock run\n" + NONE)
        for words in (["x.py", "a"], ["./x.py"], ["./tool", "--", "-p"], [str(self.folder / "x.py"), "--help"]):
            args = pydock.parse(["run", "-p", "1", *words])
            self.assertEqual((args.scope.mode, args.scope.script, args.command, args.line[2:]), ("script", words[0], words[1:], words))
        self.assertEqual(str(self.wrong("nope.py", "a")), "there is no file nope.py")
        self.assertEqual((str(self.wrong("plain.py", "a")), self.wrong("plain.py", "a").hint),
                         ("no environment given, and plain.py has no metadata (# /// script)", "pydock run NAME python plain.py a (names: pydock list)"))
        self.env("dev")
        args = pydock.parse(["run", "plain.py", "-a"])
        self.assertEqual((args.implied, args.command), ("dev", ["python", "plain.py", "-a"]), "it runs in what is meant")
        self.assertEqual(pydock.parse(["run", "nope.py"]).command, ["nope.py"], "a package may have such a program")
        self.assertEqual(pydock.parse(["run", "x.py"]).scope.mode, "script", "its own environment is what is meant, whatever the project has")
        self.env("x.py")
        args = pydock.parse(["run", "x.py", "true"])
        self.assertEqual((args.name, args.scope, args.command), ("x.py", None, ["true"]), "a NAME that is there is the name")

    def test_where_it_is_inside(self) -> None:
        home = self.folder / "home"
        (home / "bin").mkdir(parents=True)
        for path in ("a/x.py", "-x.py", "home/x.py", "home/bin/x.py"):
            Path(path).parent.mkdir(exist_ok=True)
            Path(path).touch()
        Path("link.py").symlink_to("home/bin/x.py")
        here = str(self.folder)
        away = here + "/a"
        for script, current, inside in (("a/x.py", here, ("a/x.py", "")), (here + "/a/x.py", away, ("x.py", "")), ("./-x.py", here, ("./-x.py", "")), ("./a/x.py", here, ("./a/x.py", "")),
                                        (here + "/-x.py", here, ("./-x.py", "")), ("a/../a/x.py", here, ("a/x.py", "")), ("link.py", here, ("home/bin/x.py", "")),
                                        ("a/x.py", here + "/home", (here + "/a/x.py", away)), ("link.py", away, (here + "/home/bin/x.py", here + "/home/bin")), ("a/x.py", "", (here + "/a/x.py", away)),
                                        ("home/x.py", away, (here + "/home/x.py",) * 2), ("-x.py", away, (here + "/-x.py",) * 2), ("/usr/bin/x.py", here, ("/usr/bin/x.py",) * 2)):
            with self.subTest(script=script, current=current):
                self.assertEqual(pydock.place_script(script, current), inside)
        with self.assertRaisesRegex(pydock.PydockError, "its name is not UTF-8"):
            pydock.place_script("/a/\udcff/x.py", here)


class ScriptCase(Case):
    def put(self, text: str, name: str = "x.py") -> Path:
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def scripts(self) -> List[str]:
        return [row["name"] for row in json.loads(self.ok("list", "--scripts", "--json"))]


class Made(SharedCase, ScriptCase):
    """One environment of a script, in which all of them run: with a range of Pythons, an extra, a marker and two indexes."""

    @classmethod
    def prepare(cls, case: Case) -> None:
        address = host_address()
        if address is None or not shutil.which("git"):
            raise unittest.SkipTest("no git here, or no address of this host that containers reach and a server can listen on")
        make_wheel(case.base / "one", "alpha", "1.5", requires=["gamma; extra == 'more'"], extras=["more"])
        for name, version in (("alpha", "2.0"), ("gamma", "1.0")):
            make_wheel(case.base / "one", name, version)
        make_wheel(case.base / "two", "beta", "3.0")
        first, second = Index(address, case.base / "one"), Index(address, case.base / "two")
        for index in (first, second):
            cls.addClassCleanup(index.close)
        case.environ["UV_DEFAULT_INDEX"] = case.environ["PIP_INDEX_URL"] = first.url
        case.environ["PIP_TRUSTED_HOST"] = address  # where uv cannot be had
        (case.work / "x.py").write_text(MAIN % (second.url, serve_git(case, address)[0][4:]), encoding="utf-8")
        cls.first = case.run_pydock("run", "x.py", "3", "-v", input="piped")

    first: Result

    def run_x(self, *argv: str, status: int = 3, **options: str) -> Result:
        result = self.run_pydock("run", *argv, input=options.get("input", ""), cwd=Path(options.get("cwd", self.work)))
        self.assertEqual(result.status, status, result)
        self.assertEqual(self.scripts(), self.made(), "none was made")
        self.assertNotIn("building", result.err)
        return result

    def made(self) -> List[str]:
        block = pydock.metadata_of(str(self.work / "x.py")).strip("\n")
        return ["script-" + pydock.sha256(block.encode())[:12]]

    def test_the_first_run_makes_it_and_says_so(self) -> None:
        self.assertEqual((self.first.status, self.first.out), (3, "1.5 3.0 1.0 1.0 ['3', '-v'] piped\n"), self.first)
        self.assertIn("building the image of script-", self.first.err)
        self.assertEqual(self.scripts(), self.made())
        self.assertFalse((self.work / ".pydock").exists() or (self.home / ".pydock").exists(), "nothing lies in a project")

    def test_every_further_one_runs_at_once_as_any_program(self) -> None:
        self.assertEqual(self.run_x("x.py", "3", "--", "-a b", input="in").out, "1.5 3.0 1.0 1.0 ['3', '--', '-a b'] in\n")
        other = self.put("#!/usr/bin/env -S pydock run\n" + (self.work / "x.py").read_text(encoding="utf-8").replace("\n", "\r\n"), "bin/other")
        self.assertEqual(self.run_x("./bin/other", "0", status=0).err, "./bin/other bin\n", "what says the same has the same, whatever it is")
        other.chmod(0o755)
        links = self.base / "links"
        links.mkdir()
        (links / "pydock").symlink_to(Path(pydock.__file__))
        other.write_text(other.read_text(encoding="utf-8"), encoding="utf-8")  # the kernel wants no CR
        done = subprocess.run([str(other), "4"], env={**self.environ, "PATH": f"{links}:{self.environ['PATH']}"}, cwd=str(self.work), input="sh", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.assertEqual((done.returncode, done.stdout), (4, "1.5 3.0 1.0 1.0 ['4'] sh\n"))

    def test_from_elsewhere_its_folder_is_there_to_read(self) -> None:
        away = self.base / "away"
        away.mkdir(exist_ok=True)
        self.assertEqual(self.run_x(str(self.work / "x.py"), "3", cwd=str(away)).err, f"{self.work}/x.py work\n")
        self.put((self.work / "x.py").read_text(encoding="utf-8").replace("sys.exit", "try:\n    open(os.path.dirname(__file__) + '/new', 'w')\nexcept OSError:\n    print(sys._getframe().f_code.co_filename)\nsys.exit"), "w.py")
        self.assertIn(f"\n{self.work}/w.py\n", self.run_x("../work/w.py", "3", cwd=str(away)).out, "a traceback means the host's file")
        self.assertFalse((self.work / "new").exists())
        shutil.copy(self.work / "x.py", self.home / "x.py")
        self.assertIn("x.py home\n", self.run_x(str(self.home / "x.py"), "3", cwd=str(away)).err)

    def test_beside_uv(self) -> None:
        uv = next(iter((self.home / ".local/share/pydock/uv").glob("*/bin/uv")), None)
        if not uv:
            self.skipTest("no uv on this host")
        done = subprocess.run([str(uv), "run", "-q", "x.py", "3", "-v"], cwd=str(self.work), env={**self.environ, "UV_CACHE_DIR": str(self.base / "uv")}, input="in", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if "No interpreter found" in done.stderr:
            self.skipTest("uv finds no Python that fits on this host")
        mine = self.run_x("x.py", "3", "-v", input="in")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (mine.status, mine.out, mine.err))

    def test_it_is_of_a_domain_of_its_own(self) -> None:
        with mock.patch.dict(os.environ, self.environ):
            scope = pydock.ScriptScope("x.py")
            env = pydock.Env(scope, self.made()[0], self.prefix)
            self.assertRegex(pydock.domain_of(env), "^[0-9a-f]{8}$")
            self.assertFalse(pydock.has_secrets(pydock.Session(scope), env), "its second index is none of the user's")
            self.assertIn(f"{env.repo}:latest", self.tags())

    def test_list_prune_and_what_docker_removed(self) -> None:
        name, = self.made()
        text = self.ok("list", "--scripts")
        for word in (name, "ready", "alpha[more]<2, beta; python_version >= '3', mylib @ git+http"):
            self.assertIn(word, text)
        self.assertNotIn(name, self.ok("list"))
        self.assertIn("nothing to remove", self.run_pydock("prune", "-y").err)
        folder = self.home / ".local/share/pydock/scripts/envs" / name
        old = time.time() - pydock.MAX_UNUSED - 9
        os.utime(folder, (old, old))
        self.run_x("-n", "x.py", "3", status=0)
        self.assertLess(folder.stat().st_mtime, old + 1, "a dry run uses nothing")
        self.run_x("x.py", "3")
        self.assertGreater(folder.stat().st_mtime, old + 9)
        os.utime(folder, (old, old))
        self.assertRegex(self.ok("prune", "-y"), f"{name}.*:latest +unused script")
        self.assertEqual((self.scripts(), self.tags("script")), ([], {}))
        result = self.run_pydock("run", "x.py", "3", "-v", input="piped")
        self.assertEqual((result.status, result.out), (3, self.first.out))

    def test_in_a_sandbox(self) -> None:
        self.work.chmod(0o755)
        self.base.chmod(0o755)
        away = self.base / "boxed"
        away.mkdir(exist_ok=True)
        self.put((self.work / "x.py").read_text(encoding="utf-8").split("import alpha")[0] + "import alpha, socket\ntry:\n    socket.create_connection(('1.1.1.1', 53), 2)\nexcept OSError:\n    print('closed')\n", "net.py")
        self.assertEqual(self.run_x("--sandbox", "net.py", status=0).out, "closed\n")
        self.assertEqual(self.run_x("--sandbox", "../work/net.py", status=0, cwd=str(away)).out, "closed\n")


class Asked(ScriptCase):
    """What an environment is made of, and what cannot be."""

    def metadata(self, *lines: str) -> str:
        return "".join(f"# {line}\n" for line in ("/// script", *lines, "///"))

    def dry(self, *lines: str, options: Sequence[str] = ()) -> str:
        self.put(self.metadata(*lines))
        out = self.ok("-n", "run", *options, "x.py", "a b")
        self.assertEqual(self.scripts(), [], "a dry run makes nothing")
        return out

    def test_what_it_would_be_made_of(self) -> None:
        here = pydock.versions_here(pydock.Session(pydock.global_scope()), pydock.Settings(pydock.global_scope()))
        newest = [version for version in here if re.fullmatch(r"3[\d.]*", version)][-1]
        out = self.dry('requires-python = ">=3.9"')
        self.assertIn(f"FROM ${{REPOSITORY}}python:{newest}-slim ", out)
        self.assertTrue(out.rstrip().endswith(" python x.py 'a b'"), out)
        out = self.dry(f'requires-python = "=={newest}.*"', 'dependencies = ["six @ git+https://host.invalid/six.git@v1", "a-b [x] >= 1"]', "[tool.uv]",
                       "index = [{url = 'https://one.invalid/simple'}, {url = 'https://two.invalid/simple', default = true}]")
        self.assertIn("apt-get install -y --no-install-recommends git ", out)
        for line in ("six @ git+https://host.invalid/six.git@v1\n", "--extra-index-url https://one.invalid/simple\n", "--index-url https://two.invalid/simple\n"):
            self.assertIn(line, out)
        self.assertIn("--network none", self.dry("dependencies = []", options=["--sandbox"]))
        (self.work / ".pydock").mkdir()
        for value, limit in (("100m", "--memory 100m "), ("3g", "--memory 2g ")):
            (self.work / ".pydock" / "pydock.conf").write_text(f"[pydock]\nsandbox_memory = {value}\n", encoding="utf-8")
            self.assertIn(limit, self.dry("dependencies = []", options=["--sandbox"]), "a project only tightens it")
        (self.work / ".pydock" / "pydock.conf").write_text("[pydock]\nsandbox_memory = 100m\n", encoding="utf-8")
        self.assertIn("--memory 1g ", self.dry("dependencies = []", options=["--sandbox", "--memory", "1g"]))
        shutil.rmtree(self.work / ".pydock")
        done = subprocess.run(["sh", "-n"], input=out, text=True)
        self.assertEqual(done.returncode, 0)

    def test_what_is_not_understood_is_one_line(self) -> None:
        (self.work / "own").mkdir()
        for lines, says in ((["dependencies = 'six'"], "x.py is invalid: dependencies is 'six'"), (["dependencies = [1]"], "dependencies has 1"), (["requires-python = 3.11"], "requires-python is 3.11"),
                            (["requires-python = 'new'"], "requires-python = 'new'"), (["a = 1", "b = "], "line 3"), (["requires-python = '<3'"], "x.py needs Python <3"),
                            (["dependencies = ['-r /etc/passwd']"], "'-r /etc/passwd' is"), (["dependencies = ['six\\n--index-url http://evil']"], "is "), (["dependencies = ['$(touch x)']"], "is "),
                            (["dependencies = ['x @ https://h/${HOME}']"], "HOME"), (["dependencies = ['x @ https://u:secret@h/x.whl']"], "x.py"), (["dependencies = ['x @ file:///etc/passwd']"], "takes x from a folder of this host"),
                            (["dependencies = ['own']", "[tool.uv.sources]", "own = {path = 'own'}"], "takes own from a folder of this host"), (["tool = 1"], "tool"), (["[[tool.uv.index]]", "url = 'ftp://x y'"], "is not an index"),
                            (['dependencies = ["\\u001b[2J\\u202e"]'], "\\x1b[2J\\u202e")):
            with self.subTest(lines=lines):
                self.put(self.metadata(*lines))
                result = self.fails("run", "x.py", says=says)
                self.assertNotIn("secret", result.err)
        self.assertEqual((self.scripts(), self.tags()), ([], {}))
        self.put(self.metadata("[tool.uv]", "exclude-newer = '2020-01-01'"))
        self.assertIn("ignoring exclude-newer of [tool.uv] in x.py", self.run_pydock("-n", "run", "x.py").err)
        self.put("print(1)\n")
        self.fails("create", "ds", "--from", "x.py", says="has no metadata")

    def test_two_at_once_make_one(self) -> None:
        self.put(NONE + "print(1)\n")
        results: List[Result] = []
        threads = [threading.Thread(target=lambda: results.append(self.run_pydock("run", "x.py"))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([(result.status, result.out) for result in results], [(0, "1\n")] * 2, results)
        self.assertEqual(sum("building the image" in result.err for result in results), 1)
        engine("rmi", *self.tags())
        self.assertIn("building the image", self.run_pydock("run", "x.py").err, "what docker removed is made again")

    def test_it_gets_no_login_of_an_index_that_it_names_and_what_failed_is_not_there(self) -> None:
        address = host_address()
        if address is None:
            self.skipTest("no address of this host that containers reach and a server can listen on")
        make_wheel(self.base / "packages", "alpha")
        index = Index(address, self.base / "packages", login=True)
        self.addCleanup(index.close)
        (self.home / ".netrc").write_text(f"machine {address} login somebody password {SECRET}\n", encoding="utf-8")
        self.environ.update(PIP_TRUSTED_HOST=address, PYDOCK_INSTALLER="pip")
        self.put(self.metadata('dependencies = ["alpha"]', "[[tool.uv.index]]", f'url = "{index.url}"', "default = true") + "import alpha\nprint(alpha.version)\n")
        self.fails("run", "x.py", says="cannot build x.py (see above)", hint="pydock create NAME --from x.py")
        self.assertEqual((self.scripts(), self.tags(), (self.home / ".local/share/pydock/scripts/envs").exists()), ([], {}, False))
        self.ok("create", "ds", "--from", "x.py")
        self.assertIn("alpha==1.0", self.requirements("ds"), "whoever types that means it, with the logins that it needs")
        self.assertEqual((self.ok("run", "ds", "python", "x.py"), self.scripts()), ("1.0\n", []))


if __name__ == "__main__":
    unittest.main()
