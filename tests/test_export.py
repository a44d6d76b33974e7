"""Copies, and handing on: clone, export, create --from, registries, and engines on other machines.

What is handed over is made by somebody else, with a home and a prefix of their own. `PYDOCK_TEST_REGISTRY` names a registry
(tests/engines.sh registry); without it, the tests that push are skipped.
"""
from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import re
import shutil
import socket
import signal
import struct
import subprocess
import sys
import tarfile
import unittest
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple
from unittest import mock

from support import ENGINE, PYTHON, ROOT, Case, Disturbed, Result, SharedCase, engine, is_podman, make_wheel, needs, pydock, signals_as_usual

FAR = "192.0.2.1"  # an address that nobody has (RFC 5737)
SITE = "opt/venv/lib/python%s/site-packages/" % PYTHON
# What the inventory says of the small image.
FOUND = b'pydock-inventory: {"python": "3.11.2", "packages": {"six": ["1.16.0", "six==1.16.0", []]}, "elsewhere": [], "hashes": ""}\n'
# A program of x86-64 that prints it, whatever its arguments: write(1, FOUND, len(FOUND)), exit(0).
CODE = bytes.fromhex("b801000000 bf01000000 488d3510000000 ba") + struct.pack("<I", len(FOUND)) + bytes.fromhex("0f05 b83c000000 31ff 0f05") + FOUND
ELF = b"\x7fELF\2\1\1".ljust(16, b"\0") + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0x400078, 64, 0, 0, 64, 56, 1, 0, 0, 0)
ELF += struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, 120 + len(CODE), 120 + len(CODE), 4096) + CODE
SMALL = {"opt/pydock/dockerfile": b"FROM scratch\nCOPY . /\n", "opt/pydock/requirements.txt": b"six==1.16.0\n", SITE + "six.py": b"",
         SITE + "six-1.16.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: six\nVersion: 1.16.0\n", "bin/sh": ELF}
SOMEBODY = """import os, sys
sys.path.insert(0, %r)
uid, gid, real = %d, %d, os.fstat
os.getuid, os.getgid = lambda: uid, lambda: gid
os.fstat = lambda fd: os.stat_result((*real(fd)[:4], uid, *real(fd)[5:10]))  # to whom the files belong, then
import pydock
sys.exit(pydock.main(sys.argv[1:]))
"""
OWNERS = "import os, six; print(os.getuid(), *sorted({os.lstat(os.path.join(top, n)).st_uid for top, d, f in os.walk('/opt/venv') for n in d + f}))"
PEAK = "import resource, subprocess, sys; done = subprocess.call(sys.argv[1:]); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(done)"
Member = Tuple[tarfile.TarInfo, bytes]


def content(folder: Path) -> Dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"" for p in sorted(folder.rglob("*"))}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def entry(name: str, data: bytes = b"", **more: Any) -> Member:
    """A member of an archive, with attributes of TarInfo that may be lies."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in more.items():
        setattr(info, key, value)
    return info, data


def members(path: Path) -> List[Member]:
    with tarfile.open(str(path)) as archive:
        return [(info, getattr(archive.extractfile(info), "read", bytes)() if info.isfile() else b"") for info in archive]


def packed(entries: Sequence[Member]) -> bytes:
    """A tar, byte by byte: tarfile itself would refuse some."""
    blocks = [info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape") + data + b"\0" * (-len(data) % 512) for info, data in entries]
    return b"".join(blocks) + b"\0" * 1024


class Handing(Case):
    """What is looked at in images, other people, and small images."""

    def clean(self) -> None:
        super().clean()
        for id_ in self.marked():
            engine("rmi", "-f", id_, check=False)

    def image(self, name: str = "e") -> str:
        return "%s-%s:latest" % (self.prefix, name)

    def inspect(self, reference: str) -> Dict[str, Any]:
        return dict(json.loads(engine("image", "inspect", reference))[0])

    def layers(self, reference: str) -> List[str]:
        return list(self.inspect(reference)["RootFS"]["Layers"])

    def labels(self, name: str) -> Dict[str, str]:
        return dict(self.inspect(self.image(name))["Config"]["Labels"])

    def assert_no_bytes(self, reference: str, layers: List[str], size: int) -> None:
        """An image adds nothing to these layers (podman's commit: an empty one)."""
        mine = self.layers(reference)
        if is_podman():
            self.assertEqual(mine[:len(layers)], layers)
            self.assertLess(self.inspect(reference)["Size"], size + 10000)
        else:
            self.assertEqual((mine, self.inspect(reference)["Size"]), (layers, size))

    def assert_shares(self, reference: str, other: str) -> None:
        self.assert_no_bytes(reference, self.layers(other), self.inspect(other)["Size"])

    def marked(self) -> List[str]:
        """The ids of all images that come from one of this test's own bases, tagged or not."""
        return sorted(set(engine("image", "ls", "-aq", "--no-trunc", "--filter", "label=test.of=" + self.shared_prefix).split()))

    def everything(self) -> List[Any]:
        return [self.snapshot(), self.tags(), self.containers(), self.marked()]

    def folder_label(self, name: str) -> str:
        return pydock.quote(str(self.folder(name)))

    @contextlib.contextmanager
    def somebody(self, name: str, uid: Optional[int] = None) -> Iterator[None]:
        """Another person's pydock: a home and a prefix, and perhaps a uid, of their own."""
        before = self.home, self.prefix, self.environ, self.program
        self.home, self.prefix = self.base / ("home of " + name), self.prefix + name
        self.home.mkdir(exist_ok=True)
        self.environ = {**self.environ, "HOME": str(self.home), "PYDOCK_PREFIX": self.prefix, "PYDOCK_USER": name}
        if uid is not None:
            self.program = [sys.executable, "-ISc", SOMEBODY % (str(ROOT), uid, uid)]
        try:
            yield
        finally:
            self.home, self.prefix, self.environ, self.program = before

    def imported(self, name: str, files: Dict[str, bytes], *changes: str) -> str:
        """An image of these files, under a tag of this test's."""
        tag = "%s--%s:1" % (self.prefix, name)
        archive = self.base / (name + ".import")
        archive.write_bytes(packed([entry(path, data, mode=0o755) for path, data in files.items()]))
        words = [word for change in ("LABEL test.of=%s" % self.shared_prefix, *changes) for word in ("--change", change)]
        engine("import", *words, str(archive), tag)
        archive.unlink()
        return tag

    @property
    def shared_prefix(self) -> str:
        return str(self.environ["PYDOCK_PREFIX"])[:9]

    def small_image(self, files: Optional[Dict[str, bytes]] = None) -> str:
        """What pydock looks at in the image of an environment of somebody's, in a few kilobytes."""
        if os.uname().machine != "x86_64":
            self.skipTest("the program in this image is one of x86-64")
        files = {**SMALL, "salt": os.urandom(8), **(files or {})}  # so that nobody else has its layer
        labels = {"pydock": "1", "pydock.name": "small", "pydock.folder": "/nowhere/small", "pydock.python": PYTHON, "pydock.packages": "six==1.16.0",
                  "pydock.dockerfile": sha256(files["opt/pydock/dockerfile"]), "pydock.requirements": sha256(files["opt/pydock/requirements.txt"])}
        return self.imported("small", files, 'CMD ["python3"]', "USER 0:0", "WORKDIR /root", "LABEL " + " ".join("%s=%s" % pair for pair in labels.items()))

    def assert_small(self, name: str, layers: List[str]) -> None:
        """A whole environment of the small image, and nothing beside it."""
        self.assert_clean(name)
        self.assertEqual((self.listed()[name]["state"], self.labels(name)["pydock.packages"]), ("ready", "six==1.16.0"))
        self.assertEqual(self.layers(self.image(name))[:len(layers)], layers)
        self.assertEqual(sorted(tag.split(":")[1] for tag in self.tags(name)), ["1", "latest"])
        self.assertEqual(self.labels(name)["pydock.folder"], self.folder_label(name))
        self.assertEqual({"dockerfile", "requirements.txt"} - set(content(self.folder(name))), set())


class CopyTest(SharedCase, Handing):
    """One environment with a package from the index and one from a wheel; its tests make copies of it and leave it alone."""

    @classmethod
    def prepare(cls, case: Case) -> None:
        wheel = make_wheel(case.base, "pydocktiny")
        case.ok("create", "e", "six", str(wheel))

    def setUp(self) -> None:
        super().setUp()
        before = content(self.folder("e")), self.tags("e")
        self.addCleanup(lambda: self.assertEqual((content(self.folder("e")), self.tags("e")), before))

    def held_install(self, name: str, call: str) -> subprocess.Popen[str]:
        """An install into a new clone, held at each call of that command until `let_go`."""
        self.ok("clone", "e", name)
        self.fake("hold", call)
        self.addCleanup(self.no_fake)
        process = self.start("install", name, "iniconfig")
        self.addCleanup(self.let_go, process)
        self.wait_for(lambda: [line for line in self.calls() if line.startswith(call + " ")], 60)
        return process

    def test_a_clone_has_the_files_and_layers_of_the_original_and_labels_of_its_own(self) -> None:
        result = self.run_pydock("clone", "e", "n")
        self.assertEqual((result.status, result.out), (0, ""), result)
        self.assertEqual(result.err.splitlines()[-1], "cloned e to n; next: pydock shell n")
        self.assertEqual(content(self.folder("n")), content(self.folder("e")))
        self.assertIn("wheels/pydocktiny-1.0-py3-none-any.whl", content(self.folder("n")))
        self.assert_shares(self.image("n"), self.image("e"))
        labels, of_e = self.labels("n"), self.labels("e")
        self.assertEqual([labels["pydock.name"], labels["pydock.folder"], pydock.unquote(labels["pydock.command"])], ["n", self.folder_label("n"), "clone e n"])
        for key in ("pydock.dockerfile", "pydock.requirements", "pydock.packages", "pydock.python"):
            self.assertEqual(labels[key], of_e[key], key)
        self.assertEqual(sorted(tag.split(":")[1] for tag in self.tags("n")), ["1", "latest"])
        config, of_e_too = self.inspect(self.image("n"))["Config"], self.inspect(self.image("e"))["Config"]
        self.assertEqual([config[key] for key in ("User", "WorkingDir", "Cmd", "Env")], [of_e_too[key] for key in ("User", "WorkingDir", "Cmd", "Env")])
        self.assert_agree("n")
        self.assertEqual(self.ok("run", "n", "python", "-c", "import pydocktiny; print(pydocktiny.version)"), "1.0\n")
        self.assert_clean("n")

    def test_an_install_into_a_clone_adds_only_that(self) -> None:
        self.ok("clone", "e", "more")
        before = self.layers(self.image("more"))
        self.ok("install", "more", "iniconfig==2.0.0")
        layers = self.layers(self.image("more"))
        self.assertEqual((layers[:len(before)], len(layers)), (before, len(before) + 1))
        self.assertLess(self.inspect(self.image("more"))["Size"] - self.inspect(self.image("e"))["Size"], 1000000)
        self.assertEqual(set(self.requirements("more").splitlines()) - set(self.requirements("e").splitlines()), {"iniconfig==2.0.0"})
        self.assert_agree("more")
        self.assertEqual(self.ok("run", "e", "python", "-c", "import importlib.util; print(importlib.util.find_spec('iniconfig'))"), "None\n")

    def test_from_global_to_local_and_back(self) -> None:
        project = self.work / "project"
        project.mkdir()
        folder = project / ".pydock" / "envs" / "here"
        self.assertIn("cloned e to here in %s; next: " % folder, self.run_pydock("--local", "clone", "e", "here", cwd=project).err)
        self.assertEqual(content(folder), content(self.folder("e")))
        repository = "%s-here__%s" % (self.prefix, sha256(os.fsencode(str(folder)))[:8])
        self.assert_shares(repository + ":latest", self.image("e"))
        self.assertEqual(self.inspect(repository + ":latest")["Config"]["Labels"]["pydock.folder"], pydock.quote(str(folder)))
        self.assertFalse(self.folder("here").exists())
        self.assertEqual(self.ok("run", "here", "python", "-c", "import six, os; print(os.path.basename(os.getcwd()))", cwd=project), "project\n")
        self.ok("--global", "clone", "here", "back", cwd=project)
        self.assertEqual(content(self.folder("back")), content(self.folder("e")))
        self.assert_shares(self.image("back"), self.image("e"))
        self.assert_agree("back")
        self.ok("clone", "e", "e", cwd=project)  # of one name, in the other mode
        self.assertEqual(content(project / ".pydock" / "envs" / "e"), content(self.folder("e")))

    def test_a_clone_while_the_original_runs_a_program(self) -> None:
        program = self.start("run", "e", "python", "-c", "import sys; print('open', flush=True); sys.stdin.readline(); import six; print(six.__name__)", stdin=subprocess.PIPE)
        assert program.stdout
        self.assertEqual(program.stdout.readline(), "open\n")
        self.ok("clone", "e", "meanwhile")
        self.ok("run", "meanwhile", "python", "-c", "import six")
        self.assertIsNone(program.poll())
        out, err = program.communicate("\n", timeout=60)
        self.assertEqual((program.returncode, out), (0, "six\n"), err)

    def test_a_clone_while_packages_are_installed_into_the_original_is_the_old_one(self) -> None:
        process = self.held_install("busy", "run")
        self.no_fake()
        self.ok("clone", "busy", "old")
        self.assertIsNone(process.poll())
        self.assertEqual(content(self.folder("old")), content(self.folder("e")))
        self.assertEqual(self.listed()["old"]["state"], "ready")
        self.ok("run", "old", "python", "-c", "import six")
        result = self.let_go(process)
        self.assertEqual((result.out, result.status), ("", 0), result)
        self.assertIn("iniconfig", self.requirements("busy"))
        self.assertNotIn("iniconfig", self.requirements("old"))
        self.assert_agree("busy")
        self.assert_clean("old")

    def test_a_clone_at_the_moment_when_the_original_changes_is_whole(self) -> None:
        process = self.held_install("turning", "tag")
        self.assertIn("iniconfig", self.requirements("turning"))  # the files are new, and the image is not yet
        before = len(self.calls())
        clone = self.start("clone", "turning", "whole")
        self.wait_for(lambda: clone.poll() is not None or len(self.calls()) > before + 3)  # it has seen the moment
        self.assertEqual(self.let_go(process).status, 0)
        self.assertEqual(clone.communicate(timeout=120)[0:1] + (clone.returncode,), ("", 0))
        self.assert_agree("whole")
        self.assert_agree("turning")
        self.assert_clean("whole")

    def test_a_clone_of_one_that_was_never_built_builds_it_first(self) -> None:
        self.ok("create", "unbuilt", "--no-build")
        (self.folder("unbuilt") / "requirements.txt").write_text("# mine\n", encoding="utf-8")
        result = self.run_pydock("clone", "unbuilt", "built")
        self.assertEqual(result.status, 0, result)
        self.assertIn("building the image of unbuilt", result.err)
        self.assertEqual(self.requirements("built"), "# mine\n")
        rows = self.listed()
        self.assertEqual([rows[name]["state"] for name in ("unbuilt", "built")], ["ready", "ready"])
        self.assert_shares(self.image("built"), self.image("unbuilt"))
        self.ok("run", "built", "python", "-c", "pass")

    def test_an_edit_that_was_not_built_is_cloned_too(self) -> None:
        self.ok("clone", "e", "edited")
        path = self.folder("edited") / "requirements.txt"
        path.write_text(self.requirements("e") + "iniconfig\n", encoding="utf-8")
        self.assertIn("edited is older than its files", self.run_pydock("clone", "edited", "edited-too").err)
        self.assertEqual(self.requirements("edited-too"), self.requirements("edited"))
        self.assertEqual(self.listed()["edited-too"]["state"], "stale")
        self.ok("build", "edited-too")
        self.ok("run", "edited-too", "python", "-c", "import six, iniconfig, pydocktiny")
        self.assertEqual(self.listed()["edited"]["state"], "stale")

    def test_a_name_that_is_taken_or_none_changes_nothing(self) -> None:
        self.ok("create", "taken", "--no-build")
        before = self.snapshot(), self.tags()
        for argv, says in ((["clone", "e", "taken"], "'taken' already exists"), (["clone", "e", "e"], "'e' already exists"),
                           (["clone", "nothing", "new"], "no global environment 'nothing'"), (["clone", "e", "Bad Name"], "Bad Name"),
                           (["clone", "e", "../up"], "../up"), (["clone", "../e", "new"], "../e"), (["clone", "e", "New"], "New")):
            with self.subTest(" ".join(argv)):
                self.fails(*argv, says=says)
                self.assertEqual((self.snapshot(), self.tags()), before)

    def test_a_clone_has_the_services_of_its_source(self) -> None:
        self.ok("create", "data", "-p", "8888", "-v", "data:/data", "-e", "WHO=data", "--no-build")  # which needs no compose
        self.ok("build", "data")
        text = (self.folder("data") / "docker-compose.yml").read_text(encoding="utf-8")
        more = "  worker:\n    image: data\n"
        text = text.replace("\nvolumes:\n", "\n" + more + "volumes:\n")
        self.assertIn(more, text)
        (self.folder("data") / "docker-compose.yml").write_text("# data: mine\n" + text, encoding="utf-8")
        self.ok("clone", "data", "other")
        cloned = (self.folder("other") / "docker-compose.yml").read_text(encoding="utf-8")
        self.assertEqual(cloned, "# data: mine\n" + text)
        self.assertEqual(self.listed()["other"]["state"], "ready")

    def test_environments_of_equal_files_share_all_their_layers(self) -> None:
        for name in ("one", "two"):
            self.ok("create", name)
        self.assert_shares(self.image("two"), self.image("one"))
        for name in ("one", "two"):
            (self.folder(name) / "requirements.txt").write_text("six==1.16.0\ncolorama==0.4.6\n", encoding="utf-8")
            self.ok("build", name)
        self.assert_shares(self.image("two"), self.image("one"))
        self.ok("clone", "two", "three")
        self.assert_shares(self.image("three"), self.image("one"))
        self.assertEqual(len({self.inspect(self.image(name))["Config"]["Labels"]["pydock.folder"] for name in ("one", "two", "three")}), 3)
        self.ok("delete", "-y", "one")
        for name in ("two", "three"):
            self.ok("run", name, "python", "-c", "import six, colorama")

    def test_a_bundle_without_an_image_is_built_from_its_files(self) -> None:
        path = self.work / "files.tar"
        self.ok("export", "e", str(path))
        with self.somebody("taker"):
            result = self.run_pydock("create", "n", "--from", "files.tar")
            self.assertEqual(result.status, 0, result)
            self.assertIn("created n from files.tar; next: pydock shell n", result.err)
            self.assertIn("building the image of n", result.err)
            self.assertEqual(content(self.folder("n")), content(self.shared.folder("e")))
            self.assert_agree("n")
            self.assertEqual(self.ok("run", "n", "sh", "-c", "id -un; python -c 'import six, pydocktiny'"), "taker\n")
            self.assert_clean("n")
            project = self.work / "theirs"
            project.mkdir()
            self.ok("--local", "create", "n", "--from", "../files.tar", cwd=project)
            self.assertEqual(content(project / ".pydock" / "envs" / "n"), content(self.shared.folder("e")))

    def test_an_image_goes_through_a_registry(self) -> None:
        registry = os.environ.get("PYDOCK_TEST_REGISTRY")
        if not registry:
            self.skipTest("no registry: eval \"$(tests/engines.sh registry)\"")
        reference = "%s/%s/e:1" % (registry, self.prefix)
        self.addCleanup(engine, "rmi", reference, check=False)
        folder = self.shared.folder("e")  # type: ignore[attr-defined]
        engine("build", "-q", "-t", reference, "-f", str(folder / "dockerfile"), str(folder))
        engine("push", reference)
        told = engine("image", "inspect", reference) + engine("history", "--no-trunc", reference)
        for word in (str(self.shared.base), socket.gethostname(), "pydock create", "pydock.folder"):  # type: ignore[attr-defined]
            self.assertNotIn(word, told)
        digest = next(digest for digest in self.inspect(reference)["RepoDigests"] if digest.startswith("%s/%s/" % (registry, self.prefix)))
        for source in (reference, digest):
            with self.subTest(source), self.somebody("puller"):
                engine("rmi", reference, check=False)
                self.assertEqual(engine("image", "ls", "-q", reference), "")
                self.fake()
                self.ok("create", "n", "--from", source)
                self.assertIn("pull " + source, self.calls())
                self.assertFalse([call for call in self.calls() if call.startswith("build")])
                self.no_fake()
                self.assertEqual(engine("image", "ls", "-q", reference), "", "the tag that was pulled is left")
                self.assertEqual(content(self.folder("n")), content(self.shared.folder("e")))
                self.assertEqual(self.ok("run", "n", "sh", "-c", "id -un; python -c 'import six, pydocktiny'"), "puller\n")
                self.assert_agree("n")
                self.assert_clean("n")
                self.ok("delete", "-y", "n")
        with self.somebody("here"):  # one that is here already is not pulled, and stays
            engine("tag", self.shared.image("e"), reference)  # type: ignore[attr-defined]
            self.fake()
            self.ok("create", "n", "--from", reference)
            self.assertFalse([call for call in self.calls() if call.startswith("pull")])
            self.no_fake()
            self.assertNotEqual(engine("image", "ls", "-q", reference), "")

    def test_what_a_registry_has_not_or_is_not_pydocks_makes_nothing(self) -> None:
        registry = os.environ.get("PYDOCK_TEST_REGISTRY")
        if not registry:
            self.skipTest("no registry: eval \"$(tests/engines.sh registry)\"")
        plain = self.imported("plain", {"file": b"mine"}, 'CMD ["x"]')
        reference = "%s/%s/plain:1" % (registry, self.prefix)
        engine("tag", plain, reference)
        engine("push", reference)
        engine("rmi", reference)
        before = self.everything()
        self.fails("create", "pulled", "--from", reference, says="is not the image of an environment", hint="pydock create pulled --image")
        self.assertEqual(self.everything(), before)
        self.assertEqual(engine("image", "ls", "-q", reference), "")
        self.fails("create", "pulled", "--from", "%s/%s/nothing:1" % (registry, self.prefix), says="cannot pull")
        self.assertEqual(self.everything(), before)


class Editor(Case):
    """A file for VS Code and PyCharm, and what the Dev Containers CLI makes of it."""

    def setUp(self) -> None:
        super().setUp()
        self.ok("--local", "create", "dev", PYTHON, "--no-build")
        self.env = self.work / ".pydock" / "envs" / "dev"
        wheel = make_wheel(self.env / "wheels", "pydocktiny")
        (self.env / "requirements.txt").write_text(f"./wheels/{wheel.name}\n", encoding="utf-8")

    def export(self) -> Dict[str, Any]:
        result = self.run_pydock("export", "dev", ".devcontainer/devcontainer.json")
        self.assertEqual((result.status, result.out), (0, ""), result)
        return dict(json.loads((self.work / ".devcontainer" / "devcontainer.json").read_bytes()))

    def test_it_names_the_dockerfile_and_is_written_once(self) -> None:
        (self.work / "setup.py").touch()
        with open(self.env / "requirements.txt", "a", encoding="utf-8") as file:
            file.write("-e '.[test]'  # mine\n")
        said = self.export()
        self.assertEqual(said["build"], {"dockerfile": "../.pydock/envs/dev/dockerfile", "context": "../.pydock/envs/dev"})
        self.assertEqual((said["name"], said["remoteUser"]), ("dev", "user"))
        self.assertEqual(said["postCreateCommand"], ["pip", "install", "--no-deps", "-e", ".[test]"])
        self.assertNotIn(str(self.base), json.dumps(said), "a colleague has it elsewhere")
        self.fails("export", "dev", ".devcontainer/devcontainer.json", says="already exists")
        self.fails("export", "dev", "no/such/devcontainer.json", says="cannot create the folder")
        self.assertEqual(sorted(os.listdir(self.work)), [".devcontainer", ".pydock", "setup.py"])

    @needs(lambda: bool(shutil.which("devcontainer")) and not is_podman(), "no Dev Containers CLI for docker here (tests/engines.sh tools)")
    def test_a_dev_container_has_the_packages_and_the_project(self) -> None:
        self.export()
        self.addCleanup(self.remove)
        self.work.chmod(0o777)  # root's is no ordinary user's, who is inside
        for words in (["up"], ["exec", "python", "-c", "import os, pydocktiny, sys; open('made', 'w').write(sys.prefix + ' ' + os.getcwd())"]):
            argv = ["devcontainer", words[0], "--workspace-folder", str(self.work), *words[1:]]
            done = subprocess.run(argv, env={**self.environ, "DOCKER_BUILDKIT": "1"}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
            self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual((self.work / "made").read_text(encoding="utf-8"), f"/opt/venv {self.work}")
        self.assertEqual((self.work / "made").stat().st_uid, os.getuid() or 1000)

    def remove(self) -> None:
        for id_ in engine("ps", "-aq", "--filter", f"label=devcontainer.local_folder={self.work}").split():
            image = engine("inspect", "--format", "{{.Config.Image}}", id_)
            engine("rm", "-f", id_)
            engine("rmi", "-f", image, image.replace("-uid", ""), check=False)


class ExportTest(SharedCase, Handing):
    """Of an environment of a few kilobytes."""

    @classmethod
    def prepare(cls, case: Case) -> None:
        assert isinstance(case, ExportTest)
        case.ok("create", "e", "--from", case.small_image())
        for name, text in (("docker-compose.yml", "services:\n  e:\n    image: x\n"), ("requirements.txt.orig", "mine"), (".env", "SECRET=1"), ("notes", "mine")):
            (case.folder("e") / name).write_text(text, encoding="utf-8")
        make_wheel(case.folder("e") / "wheels", "pydocktiny")
        (case.folder("e") / "wheels" / ".half.whl").write_text("half", encoding="utf-8")

    STANDARD = ["e/docker-compose.yml", "e/dockerfile", "e/requirements.txt", "e/wheels/pydocktiny-1.0-py3-none-any.whl"]

    def target(self, name: str) -> Path:
        folder = self.base / ("target " + name)
        folder.mkdir()
        return folder

    def test_a_file_of_export_holds_the_standard_files_and_nothing_of_the_host(self) -> None:
        folder = self.target("files")
        result = self.run_pydock("export", "e", str(folder / "e.tar"))
        self.assertEqual((result.status, result.out), (0, ""), result)
        self.assertIn("exported e to %s (" % (folder / "e.tar"), result.err)
        self.assertIn("next: pydock create NAME --from e.tar", result.err)
        self.assertRegex(result.err, "not exported, as they are not standard files: notes, requirements.txt.orig\n")
        with tarfile.open(str(folder / "e.tar")) as archive:
            self.assertEqual(sorted(archive.getnames()), self.STANDARD)
            for info in archive:
                self.assertTrue(info.isreg(), info.name)
                self.assertEqual((info.uid, info.gid, info.uname, info.gname, info.mode), (0, 0, "", "", 0o644), info.name)
                stream = archive.extractfile(info)
                assert stream
                self.assertEqual(stream.read(), (self.folder("e").parent / info.name).read_bytes())
        self.assertNotIn(os.fsencode(str(self.base)), (folder / "e.tar").read_bytes())
        umask = os.umask(0)
        os.umask(umask)
        self.assertEqual((folder / "e.tar").stat().st_mode & 0o777, 0o666 & ~umask)
        self.assertEqual(os.listdir(str(folder)), ["e.tar"])

    def test_an_image_says_nothing_of_where_it_was_made(self) -> None:
        before = self.tags()
        self.ok("export", "e", "e.tar", "--image")
        self.assertEqual(self.tags(), before)
        with tarfile.open(str(self.work / "e.tar")) as archive:
            texts = [stream.read() for member in archive if member.size < 1 << 20 for stream in [archive.extractfile(member)] if stream]
        configs = [text for text in texts if b"pydock.packages" in text]
        self.assertNotEqual(configs, [])
        for word in (str(self.shared.base), str(self.home), "pydock create", "pydock%20create"):  # type: ignore[attr-defined]
            self.assertEqual([text for text in configs if word.encode() in text], [])

    def test_with_the_image_tar_and_docker_load_are_enough(self) -> None:
        folder = self.target("image")
        self.ok("export", "e", "whole.tar", "--image", cwd=folder)
        self.assertEqual(os.listdir(str(folder)), ["whole.tar"])
        subprocess.run(["tar", "xf", "whole.tar", "e"], cwd=str(folder), check=True)
        names = [name for name in content(folder) if name.startswith("e/") and name != "e/wheels"]
        self.assertEqual(names, self.STANDARD)
        text = engine("load", "-i", str(folder / "whole.tar"))
        id_ = text.split()[-1]
        self.addCleanup(engine, "rmi", id_, check=False)
        layers = [engine("image", "inspect", "--format", "{{json .RootFS.Layers}}", image) for image in (id_, "%s-e:latest" % self.prefix)]
        self.assertEqual(layers[0], layers[1])
        manifest = json.loads({info.name: data for info, data in members(folder / "whole.tar")}["manifest.json"])
        self.assertEqual([image["RepoTags"] for image in manifest if image["RepoTags"]], [], "a tag goes along")
        self.assertEqual(len(manifest), 1)

    def test_an_image_that_is_loaded_runs_without_pydock(self) -> None:
        folder = self.target("real")
        self.ok("create", "real", "six")
        self.ok("export", "real", "real.tar", "--image", cwd=folder)
        self.ok("delete", "-y", "real")
        self.assertFalse(self.tags("real"))
        id_ = engine("load", "-i", str(folder / "real.tar")).split()[-1]
        self.addCleanup(engine, "rmi", id_, check=False)
        self.assertEqual(engine("run", "--rm", "--pull", "never", id_, "python", "-c", "import six; print(six.__name__)"), "six")

    def test_what_is_there_already_is_never_written_over(self) -> None:
        folder = self.target("taken")
        (folder / "file.tar").write_text("mine", encoding="utf-8")
        (folder / "link.tar").symlink_to("nowhere")
        (folder / "folder.tar").mkdir()
        for name in ("file.tar", "link.tar", "folder.tar"):
            with self.subTest(name):
                self.fails("export", "e", str(folder / name), says="already exists")
        self.assertEqual(content(folder), {"file.tar": b"mine", "link.tar": b"", "folder.tar": b""})
        self.assertEqual(os.readlink(str(folder / "link.tar")), "nowhere")

    def test_a_file_that_appears_meanwhile_is_not_written_over(self) -> None:
        folder = self.target("meanwhile")
        self.fake("hold", "save")
        process = self.start("export", "e", str(folder / "e.tar"), "--image")
        self.no_fake()
        self.wait_for(lambda: [call for call in self.calls() if call.startswith("save")])
        (folder / "e.tar").write_text("mine", encoding="utf-8")
        (self.base / "fake" / "go").write_text("")
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 1, err)
        self.assertRegex(err, "(?m)^pydock: error: .*e.tar")
        self.assertEqual((folder / "e.tar").read_text(encoding="utf-8"), "mine")
        self.assertEqual(os.listdir(str(folder)), ["e.tar"])

    def test_a_target_that_cannot_be_written(self) -> None:
        folder = self.target("refused")
        (folder / "file").write_text("", encoding="utf-8")
        (folder / "locked").mkdir(mode=0o555)
        targets = [folder / "none" / "e.tar", folder / "file" / "e.tar", Path("/proc/e.tar")]
        targets += [folder / "locked" / "e.tar"] if os.geteuid() else []
        before = content(folder)
        for target in targets:
            for more in ([], ["--image"]):
                with self.subTest(target=str(target), more=more):
                    self.fails("export", "e", str(target), *more, says="cannot write")
                    self.assertEqual(content(folder), before)
        self.fails("export", "nothing", str(folder / "e.tar"), says="no global environment 'nothing'")
        self.assertEqual(content(folder), before)

    def test_a_full_disk(self) -> None:
        folder = self.target("full")
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], stderr=subprocess.DEVNULL).returncode:
            self.skipTest("only root may mount a file system here")
        self.addCleanup(subprocess.run, ["umount", "-l", str(folder)], check=True)
        self.ok("create", "large", "--from", self.small_image({"opt/large": os.urandom(300000)}))
        self.fails("export", "large", str(folder / "e.tar"), "--image")
        self.assertEqual(os.listdir(str(folder)), [])
        make_wheel(self.folder("large") / "wheels", "pydocklarge", files={"data.txt": os.urandom(100000).hex()})
        self.fails("export", "large", str(folder / "e.tar"), says="cannot write")
        self.assertEqual(os.listdir(str(folder)), [])
        self.ok("export", "e", str(folder / "e.tar"))

    def test_files_that_were_edited_and_not_built(self) -> None:
        folder = self.target("edited")
        self.ok("clone", "e", "edited")
        path = self.folder("edited") / "requirements.txt"
        path.write_text("# mine\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
        self.fails("export", "edited", str(folder / "e.tar"), "--image", says="the image of edited was not built from its files", hint="pydock build edited")
        self.assertEqual(os.listdir(str(folder)), [])
        self.ok("export", "edited", str(folder / "e.tar"))
        found = {info.name: data for info, data in members(folder / "e.tar")}
        self.assertEqual(found["edited/requirements.txt"], path.read_bytes())

    def test_an_image_larger_than_the_memory_it_takes(self) -> None:
        size, folder = 200 << 20, self.target("large")
        tag = self.small_image({SITE + "large.bin": bytes(size)})
        self.measured(["create", "huge", "--from", tag], size)
        self.measured(["export", "huge", str(folder / "e.tar"), "--image"], size)
        self.assertGreater((folder / "e.tar").stat().st_size, size)
        self.ok("delete", "-y", "huge")
        engine("rmi", tag)
        self.measured(["create", "huge", "--from", str(folder / "e.tar")], size)
        self.assertEqual(self.listed()["huge"]["state"], "ready")
        self.ok("delete", "-y", "huge")

    def measured(self, argv: List[str], size: int) -> None:
        """Runs pydock, no process of which may need as much memory as there are bytes to move. Between it and the tests is a process, or
        it would begin with their memory."""
        done = subprocess.run([sys.executable, "-ISc", PEAK, *self.program, *argv], env=self.environ, cwd=str(self.work), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertLess(int(done.stdout.split()[-1]) * (1 if sys.platform == "darwin" else 1024), size * 3 // 4, argv)


class TakeTest(SharedCase, Handing):
    """What somebody made on a base image that this engine has never seen: they are gone, and so is every layer of it."""

    made: Dict[str, Any]

    @classmethod
    def prepare(cls, case: Case) -> None:
        assert isinstance(case, TakeTest)
        base = "%s--base:1" % case.prefix
        container = case.prefix + "--base"
        engine("create", "--name", container, "python:%s-slim" % PYTHON)
        giving = subprocess.Popen([*ENGINE, "export", container], stdout=subprocess.PIPE)
        subprocess.run([*ENGINE, "import", "--change", "LABEL test.of=" + case.prefix, "--change", 'CMD ["python3"]', "-", base], stdin=giving.stdout, check=True,
                       stdout=subprocess.DEVNULL)
        assert giving.stdout
        giving.stdout.close()
        case.assertEqual(giving.wait(), 0)
        engine("rm", container)
        with case.somebody("maker"):
            case.ok("create", "ds", "--image", base, "six", str(make_wheel(case.base, "pydocktiny")))
            case.ok("export", "ds", str(case.base / "files.tar"))
            case.ok("export", "ds", str(case.base / "ds.tar"), "--image")
            cls.made = {"files": content(case.folder("ds")), "layers": case.layers(case.image("ds")), "size": case.inspect(case.image("ds"))["Size"]}
            case.ok("delete", "-y", "ds")
        engine("rmi", base)
        case.assertEqual(case.marked(), [])
        shutil.rmtree(str(case.base / "home of maker"))
        case.fake()
        case.ok("create", "ds", "--from", "../ds.tar")
        cls.made["calls"] = case.calls()
        case.no_fake()

    def setUp(self) -> None:
        super().setUp()
        before = content(self.folder("ds")), self.tags("ds")
        self.addCleanup(lambda: self.assertEqual((content(self.folder("ds")), self.tags("ds")), before))

    def test_it_runs_and_clones_with_nothing_built_and_nothing_pulled(self) -> None:
        first = {call.split()[0] for call in self.made["calls"]}
        self.assertIn("load", first)
        self.assertEqual(first & {"build", "buildx", "pull"}, set())
        self.assertEqual(content(self.folder("ds")), self.made["files"])
        self.assertEqual(self.ok("run", "ds", "python", "-c", OWNERS + "; import pydocktiny"), "%d %d\n" % (os.getuid(), os.getuid()))
        self.assert_agree("ds")
        self.fake()
        self.ok("clone", "ds", "cloned")
        self.assertEqual({call.split()[0] for call in self.calls()} & {"build", "buildx", "pull", "run"}, set())
        self.no_fake()
        self.assert_shares(self.image("cloned"), self.image("ds"))
        self.ok("run", "cloned", "python", "-c", "import six, pydocktiny")
        self.ok("install", "cloned", "iniconfig")
        self.assert_agree("cloned")

    def test_for_the_same_user_it_is_the_same_image_with_labels_of_the_takers(self) -> None:
        with self.somebody("maker"):
            self.ok("create", "same", "--from", "../ds.tar")
            self.assert_no_bytes(self.image("same"), self.made["layers"], self.made["size"])
            labels = self.labels("same")
            self.assertEqual((labels["pydock.name"], labels["pydock.folder"]), ("same", self.folder_label("same")))
            self.assertEqual(sorted(tag.split(":")[1] for tag in self.tags("same")), ["1", "latest"])
            self.assert_clean("same")

    def test_another_uid_gets_the_packages_as_a_copy_and_is_told_so(self) -> None:
        if os.getuid() and (is_podman() or pydock.Engine(ENGINE).root_is_caller()):
            self.skipTest("this engine has one user")
        with self.somebody("other", 4321):
            for source in ("../ds.tar", self.shared.prefix + "-ds:latest"):
                with self.subTest(source):
                    result = self.run_pydock("create", "n", "--from", source)
                    self.assertEqual(result.status, 0, result)
                    self.assertRegex(result.err, r"(?m)^changing the owner of the packages from uid %d to you; this copies up to [0-9.]+[kMG]B$" % os.getuid())
                    self.assertEqual(self.ok("run", "n", "python", "-c", OWNERS), "4321 4321\n")
                    self.assertEqual(self.ok("run", "n", "sh", "-c", "id -un; id -gn; echo $HOME; touch $HOME/x /opt/venv/x"), "other\nother\n/home/other\n")
                    self.assertEqual(content(self.folder("n")), self.made["files"])
                    self.assert_agree("n")
                    self.assert_clean("n")
                    self.ok("delete", "-y", "n")

    def test_another_name_costs_no_copy_of_the_packages(self) -> None:
        with self.somebody("jane"):
            result = self.run_pydock("create", "n", "--from", "../ds.tar")
            self.assertEqual(result.status, 0, result)
            self.assertNotIn("copies", result.err)
            self.assertEqual(self.ok("run", "n", "sh", "-c", "id -un; echo $HOME; python -c 'import six'"), "jane\n/home/jane\n")
            self.assertLess(self.inspect(self.image("n"))["Size"] - self.made["size"], 1000000)
            self.assertEqual(self.layers(self.image("n"))[:len(self.made["layers"])], self.made["layers"])

    def test_without_its_image_it_needs_the_base_and_says_so(self) -> None:
        before = self.everything()
        self.fails("create", "n", "--from", "../files.tar", says="cannot pull %s--base:1, and there is no local copy" % self.prefix)
        self.assertEqual(self.everything(), before)

    def test_what_goes_with_from_and_a_dry_run_change_nothing(self) -> None:
        before = self.everything()
        for more in (["six"], ["--image", "x"], ["--apt", "git"], ["--user", "me"], ["--no-build"], ["-p", "1"], ["-r", "x"],
                     ["--editable", "."], ["-c", "x"], ["--extra", "x"], ["--group", "x"], ["--pre"], ["--index-url", "https://x.example/simple"], ["--", "--no-deps"]):
            with self.subTest(more):
                self.fails("create", "n", "--from", "../ds.tar", *more, status=2, says="--from cannot be combined with other options")
        self.fails("create", "ds", "--from", "../ds.tar", says="'ds' already exists")
        self.fails("create", "Bad", "--from", "../ds.tar", says="Bad")
        for source in ("../none.tar", "./none", "/none", "..", "~/none", ""):
            with self.subTest(source):
                self.fails("create", "n", "--from", source, says="no such file: %r" % source)
        for source in ("../ds.tar", self.image("ds")):
            with self.subTest(dry_run=source):
                self.assertIn("commit", self.ok("-n", "create", "n", "--from", source))
        self.assertEqual(self.everything(), before)

    def test_the_dry_run_of_a_file_with_wheels_is_a_script_that_does_it(self) -> None:
        wheel = make_wheel(self.work, "pydocktiny")
        self.ok("create", "wheels", str(wheel))
        self.addCleanup(self.ok, "delete", "-y", "wheels")
        for more in ([], ["--image"]):
            with self.subTest(more):
                path = self.base / "wheels.tar"
                path.unlink(missing_ok=True)
                self.ok("export", "wheels", str(path), *more)
                script = self.ok("-n", "create", "n", "--from", str(path))
                done = subprocess.run(["sh", "-e"], input=script, env=self.environ, cwd=str(self.work), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                self.assertEqual(done.returncode, 0, script + done.stdout)
                self.assertEqual((self.folder("n") / "wheels" / wheel.name).read_bytes(), wheel.read_bytes())
                self.ok("run", "n", "python", "-c", "import pydocktiny")
                self.ok("delete", "-y", "n")


class HostileTest(SharedCase, Handing):
    """Bundles and images that lie. The good one that they are made from has a few kilobytes."""

    good: List[Member]
    layers_of_good: List[str]

    @classmethod
    def prepare(cls, case: Case) -> None:
        assert isinstance(case, HostileTest)
        with case.somebody("maker"):
            tag = case.small_image()
            cls.layers_of_good = case.layers(tag)
            case.ok("create", "e", "--from", tag)
            case.ok("export", "e", str(case.base / "good.tar"), "--image")
            case.ok("delete", "-y", "e")
            engine("rmi", tag)
        shutil.rmtree(str(case.base / "home of maker"))
        cls.good = members(case.base / "good.tar")
        case.assertEqual(case.marked(), [])
        case.imported("victim", {"victim": b"mine"}, 'CMD ["victim"]')
        case.folder("n").parent.mkdir(parents=True)

    def setUp(self) -> None:
        super().setUp()
        self.fake()
        self.victim = self.prefix + "--victim:1"
        self.before = self.of_all()

    def of_all(self) -> List[Any]:
        """All that a bundle could have changed: also beside the home."""
        files = sorted(str(path) for path in self.base.rglob("*") if path.parts[len(self.base.parts)] not in ("fake", "x.tar"))
        return [self.everything(), files, self.inspect(self.victim)["Id"]]

    def standard(self) -> List[Member]:
        return [member for member in self.good if member[0].name.startswith("e/")]

    def saved(self) -> List[Member]:
        """The part that `docker save` wrote."""
        return [member for member in self.good if not member[0].name.startswith("e/")]

    def written(self, data: bytes) -> str:
        (self.base / "x.tar").write_bytes(data)
        return str(self.base / "x.tar")

    def refused(self, data: bytes, says: str = "") -> Result:
        """Of this bundle nothing is made, with one line, and nothing is built, pulled or run."""
        self.fake()
        try:
            result = self.fails("create", "n", "--from", self.written(data), says=says, timeout=60)
            self.assertLess(len(result.err), 1000, result)
            self.assertNotRegex(result.err, "[^\n -~…]", result)
            self.assertEqual({call.split()[0] for call in self.calls()} & {"build", "buildx", "pull", "run"}, set(), result)
            self.assertEqual(self.of_all(), self.before, result)
            return result
        except BaseException:
            self.tidy()
            raise

    def harmless(self, data: bytes) -> None:
        """This bundle is refused, or what is made of it is what it holds; nothing else is touched, and nothing stays."""
        try:
            result = self.run_pydock("create", "n", "--from", self.written(data), timeout=60)
            self.assertEqual(self.inspect(self.victim)["Id"], self.before[-1], "somebody else's tag was moved")
            if result.status:
                self.assertEqual(len([line for line in result.err.splitlines() if line.startswith("pydock: error: ")]), 1, result)
            else:
                self.assert_small("n", self.layers_of_good)
                self.ok("delete", "-y", "n")
            self.assertEqual(self.of_all(), self.before, result)
        except BaseException:
            self.tidy()
            raise

    def tidy(self) -> None:
        """After a failure, so that the next case is judged by itself."""
        if self.folder("n").exists():
            self.run_pydock("delete", "-y", "n")
        for id_ in self.marked():
            if id_ != self.before[-1]:
                engine("rmi", "-f", id_, check=False)
        engine("tag", self.before[-1], self.victim)

    def test_a_word_that_came_out_empty_makes_nothing(self) -> None:
        self.fails("create", "n", "--from", "")
        self.assertFalse(self.folder("n").exists())

    def test_the_good_one_is_taken(self) -> None:
        self.ok("create", "n", "--from", self.written(packed(self.good)))
        self.assert_small("n", self.layers_of_good)
        self.assertEqual(self.requirements("n"), "six==1.16.0\n")
        self.ok("delete", "-y", "n")
        self.assertEqual(self.of_all(), self.before)

    def test_a_bundle_brings_its_services_and_says_so(self) -> None:
        compose = entry("e/docker-compose.yml", b"services:\n  app:\n    image: nothing\n")
        result = self.run_pydock("create", "n", "--from", self.written(packed([*self.standard(), compose, *self.saved()])))
        self.assertEqual(result.status, 0, result)
        self.assertIn("it contains a docker-compose.yml; to review and allow it: pydock trust n", result.err)
        self.assertEqual((self.folder("n") / "docker-compose.yml").read_text(encoding="utf-8"),
                         pydock.HANDED_OVER + "services:\n  app:\n    image: nothing\n")
        self.assert_small("n", self.layers_of_good)
        self.ok("delete", "-y", "n")
        (self.home / ".local/share/pydock/trust").rmdir()
        self.assertEqual(self.of_all(), self.before)

    def hostile(self) -> Iterator[Tuple[str, Member]]:
        sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "e/requirements.txt", "GNU.sparse.realsize": str(1 << 40)}
        yield "an absolute path", entry("/tmp/%s-escaped" % self.prefix, b"x")
        yield "an absolute path to a wheel", entry("/wheels/x-1-py3-none-any.whl", b"x")
        yield "up", entry("../escaped", b"x")
        yield "up from inside", entry("e/../../escaped", b"x")
        yield "a wheel, up", entry("e/wheels/../../../x-1-py3-none-any.whl", b"x")
        yield "a folder, up", entry("e/..", type=tarfile.DIRTYPE)
        yield "a symbolic link out", entry("e/wheels", type=tarfile.SYMTYPE, linkname="../../../..")
        yield "a symbolic link to the root", entry("e/requirements.txt", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        yield "a hard link out", entry("e/requirements.txt", type=tarfile.LNKTYPE, linkname="/etc/passwd")
        yield "a hard link inside", entry("e/docker-compose.yml", type=tarfile.LNKTYPE, linkname="e/dockerfile")
        yield "a device", entry("e/requirements.txt", type=tarfile.CHRTYPE, devmajor=1, devminor=5)
        yield "a block device", entry("e/sda", type=tarfile.BLKTYPE, devmajor=8)
        yield "a fifo", entry("e/requirements.txt", type=tarfile.FIFOTYPE)
        yield "a sparse file of a terabyte", entry("e/requirements.txt", b"1\n%d\n1\n".ljust(512, b"\0") % ((1 << 40) - 1) + b"x", pax_headers=sparse)
        yield "a file of a terabyte", entry("e/requirements.txt", b"six\n", size=1 << 40)
        yield "a name that speaks to the terminal", entry("../\x1b[31mred\r\u202e", b"x")

    def test_what_does_not_belong_into_a_bundle(self) -> None:
        for title, member in self.hostile():
            with self.subTest(title, among="the files"):
                self.refused(packed([*self.standard()[:1], member, *self.standard()[1:], *self.saved()]), says="cannot read ")
            with self.subTest(title, among="what docker saved"):
                self.refused(packed([*self.standard(), *self.saved()[:-1], member, *self.saved()[-1:]]), says="cannot read ")
        self.assertFalse(os.path.exists("/tmp/%s-escaped" % self.prefix))

    def test_a_wheel_that_promises_more_than_there_is(self) -> None:
        self.refused(packed([*self.standard(), entry("e/wheels/x-1-py3-none-any.whl", b"x", size=1 << 40), *self.saved()]), says="cannot read ")

    def test_parts_that_are_missing_or_belong_to_two(self) -> None:
        dockerfile, requirements = sorted(self.standard(), key=lambda member: member[0].name)
        other = entry("f/requirements.txt", requirements[1])
        for title, entries in (("nothing", []), ("no requirements.txt", [dockerfile, *self.saved()]), ("no dockerfile", [requirements, *self.saved()]),
                               ("no files", self.saved()), ("two names", [dockerfile, other, *self.saved()]), ("too deep", [entry("e/e/dockerfile", b"x"), requirements]),
                               ("not in a folder", [entry("dockerfile", b"x"), entry("requirements.txt", b"x")])):
            with self.subTest(title):
                self.refused(packed(entries), says="cannot read ")
        with self.subTest("a file that nobody knows, and no image"):
            self.refused(packed([*self.standard(), entry("e/README", b"x")]))
        with self.subTest("an image that lacks its layers"):
            self.refused(packed([*self.standard(), *(member for member in self.saved() if b"Metadata-Version" not in member[1])]))
        with self.subTest("a second environment behind the first"):
            self.harmless(packed([*self.standard(), entry("f/dockerfile", b"FROM evil\n"), entry("f/requirements.txt", b"evil\n"), *self.saved()]))
        for name in ("e/requirements.txt", "e/dockerfile"):
            with self.subTest("files that are not the image's", file=name):
                changed = [member if member[0].name != name else entry(name, b"# changed\n" + member[1]) for member in self.standard()]
                self.refused(packed(changed + self.saved()), says="the image was not built from the %s" % name[2:])

    def test_what_is_no_bundle(self) -> None:
        whole = packed(self.good)
        for title, data in (("empty", b""), ("text", b"FROM python\n" * 1000), ("noise", os.urandom(20000)), ("compressed", gzip.compress(whole)),
                            ("zeros", bytes(20480))):
            with self.subTest(title):
                self.refused(data, says="cannot read ")

    def test_a_bundle_that_ends_too_early(self) -> None:
        ends, offset = [], 0
        for member in self.good:
            offset += len(packed([member])) - 1024
            ends.append(offset)
        files = len(self.standard())
        for title, end in (("in the first header", 100), ("in a header", ends[0] + 100), ("in a file", ends[0] + 512 + 3), ("behind the first file", ends[0]),
                           ("behind the files", ends[files - 1]), ("in a header behind the files", ends[files - 1] + 100), ("in the image", ends[-1] - 513),
                           ("before its last member", ends[-2])):
            with self.subTest(title):
                self.refused(packed(self.good)[:end])
        compose = entry("e/docker-compose.yml", b"services: {}\n")
        with self.subTest("between files of one without an image"):
            self.refused(packed([*self.standard(), compose])[:-1024 - 1024], says="cannot read ")

    def manifest(self, change: Callable[[List[Any]], Any], name: str = "manifest.json") -> Member:
        data = next(data for info, data in self.good if info.name == "manifest.json")
        return entry(name, json.dumps(change(json.loads(data))).encode())

    def without(self, *names: str) -> List[Member]:
        return [member for member in self.good if member[0].name not in names]

    def test_a_tag_that_the_bundle_does_not_own_is_not_moved(self) -> None:
        def steal(data: List[Any]) -> List[Any]:
            return [{**image, "RepoTags": [self.victim]} for image in data]

        rest = self.without("manifest.json")
        layer = next(image["Layers"][0] for info, data in self.good if info.name == "manifest.json" for image in json.loads(data))
        repositories = json.dumps({self.victim.split(":")[0]: {"1": layer.split("/")[0]}}).encode()
        for title, entries in (
                ("plainly", [self.manifest(steal)]),
                ("under a longer name", [self.manifest(steal, "./manifest.json")]),
                ("under another longer name", [self.manifest(steal, "x/./../manifest.json")]),
                ("twice", [self.manifest(lambda data: data), self.manifest(steal, "./manifest.json")]),
                ("by a link", [self.manifest(steal, "other.json"), entry("manifest.json", type=tarfile.SYMTYPE, linkname="other.json")]),
                ("by a link that comes first", [entry("manifest.json", type=tarfile.SYMTYPE, linkname="other.json"), self.manifest(steal, "other.json")]),
                ("through a link to the top", [entry("d", type=tarfile.SYMTYPE, linkname="."), self.manifest(steal, "d/manifest.json")]),
                ("through a link deeper down", [entry("d/up", type=tarfile.SYMTYPE, linkname=".."), self.manifest(steal, "d/up/manifest.json")]),
                ("by the old format", [entry("repositories", repositories)]),
                ("by the old format as well", [self.manifest(lambda data: data), entry("repositories", repositories)]),
                ("by the old format under a longer name", [self.manifest(lambda data: data), entry("./repositories", repositories)])):
            with self.subTest(title):
                self.harmless(packed(rest + entries))
        index = next((json.loads(data) for info, data in self.good if info.name == "index.json"), None)
        if index:
            for image in index["manifests"]:
                image["annotations"] = {"io.containerd.image.name": "docker.io/library/" + self.victim, "org.opencontainers.image.ref.name": "1"}
            with self.subTest("by the newer format"):
                self.harmless(packed([*self.without("index.json"), entry("index.json", json.dumps(index).encode())]))

    def test_a_manifest_that_makes_no_sense(self) -> None:
        rest = self.without("manifest.json")
        for text in ("", "{", "[]", "{}", "null", '"x"', "5", "[1]", '{"a": 1}', "[[]]", '[{"Config": 5}]', '[{"Config": "../../../etc/passwd", "Layers": []}]', "[" * 100000,
                     '[{"Config": "%s"}]' % ("0" * 64)):
            with self.subTest(text[:40]):
                self.refused(packed([*rest, entry("manifest.json", text.encode())]))
        with self.subTest("too large"):
            self.refused(packed([*rest, entry("manifest.json", b" " * ((1 << 24) + 1))]), says="cannot read ")

    def test_of_two_images_or_a_wrong_name_nothing_stays(self) -> None:
        config = json.loads(next(data for info, data in self.good if info.name == "manifest.json"))[0]["Config"]
        text = next(data for info, data in self.good if info.name == config)
        second = text.replace(b'"six==1.16.0"', b'"six==1.16.1"')
        self.assertNotEqual(second, text)
        name = config.replace(sha256(text), sha256(second))
        with self.subTest("two images"):
            self.harmless(packed([*self.without("manifest.json"), entry(name, second), self.manifest(lambda data: data + [{**data[0], "Config": name}])]))
        with self.subTest("two images of which one is not there"):
            self.harmless(packed([*self.without("manifest.json"), self.manifest(lambda data: data + [{**data[0], "Config": "f" * 64 + ".json"}])]))
        for title, claimed in (("somebody else's", self.inspect(self.victim)["Id"].split(":")[-1]), ("nobody's", "f" * 64), ("a path", "x")):
            wrong = config.replace(sha256(text), claimed)
            with self.subTest("named as " + title):
                rest = [member for member in self.without("manifest.json") if member[0].name != config]
                self.harmless(packed([*rest, entry(wrong, text), self.manifest(lambda data, wrong=wrong: [{**data[0], "Config": wrong}])]))  # type: ignore[misc]

    def changed(self, files: Dict[str, bytes], labels: Dict[str, str]) -> str:
        """The good image with other files or labels, as anybody can make it by `docker commit`."""
        container, tag = self.prefix + "--change", self.prefix + "--changed:1"
        put = self.base / "put"
        for path, data in files.items():
            (put / path).parent.mkdir(parents=True, exist_ok=True)
            (put / path).write_bytes(data)
            (put / path).chmod(0o755)
        engine("create", "--name", container, self.prefix + "--small:1")
        if files:
            engine("cp", str(put) + "/.", container + ":/")
            shutil.rmtree(str(put))
        engine("commit", *(word for pair in labels.items() for word in ("--change", "LABEL %s=%s" % pair)), container, tag)
        engine("rm", container)
        return tag

    def test_of_an_image_s_labels_nothing_is_believed(self) -> None:
        small = self.small_image()
        for labels in ({"pydock.packages": "six==1.17.0,evil==1"}, {"pydock.packages": "", "pydock.python": "3.99.1"}, {"pydock.python": '"1.1.1 pydock.folder=/elsewhere"'},
                       {"pydock.requirements": "0" * 64}, {"pydock.dockerfile": "0" * 64}, {"pydock.folder": str(self.folder("victim"))}):
            with self.subTest(labels=labels):
                tag = self.changed({}, labels)
                self.ok("create", "n", "--from", tag)
                self.assert_small("n", self.layers(small))
                self.assertEqual(self.labels("n")["pydock.python"], "3.11.2")
                self.ok("delete", "-y", "n")
                engine("rmi", tag)
        with self.subTest("files that changed since"):
            tag = self.changed({"opt/pydock/requirements.txt": b"six==1.16.0\n# mine\n"}, {})
            self.ok("create", "n", "--from", tag)
            self.assert_small("n", [])
            self.assertEqual(self.requirements("n"), "six==1.16.0\n# mine\n")
            self.ok("delete", "-y", "n")
            engine("rmi", tag)
        for title, answer in (("nothing", b""), ("nonsense", b"six"), ("another label", FOUND.replace(b"3.11.2", b"3.11.2 x=/")[:-4] + b"}"),
                              ("words for the terminal", FOUND.replace(b"six==1.16.0", b"six\x1b[31mxx")), ("too little", b'pydock-inventory: {}')):
            with self.subTest("a Python that says " + title):
                tag = self.changed({"bin/sh": ELF.replace(FOUND, answer.ljust(len(FOUND), b" ")[:len(FOUND)])}, {})
                before = self.everything()
                self.fails("create", "n", "--from", tag, says="cannot list the installed packages")
                self.assertEqual(self.everything(), before)
                engine("rmi", tag)
        before = self.everything()
        for tag, says in ((self.victim, "is not the image of an environment"), ("python:%s-slim" % PYTHON, "is not the image of an environment")):
            self.fails("create", "n", "--from", tag, says=says, hint="pydock create n --image " + tag)
            self.assertEqual(self.everything(), before)
        self.ok("create", "n", "--from", small)
        self.ok("delete", "-y", "n")
        engine("rmi", small)


class BadEnds(Disturbed, Handing):
    """The engine fails, hangs or dies with pydock at each of its calls, by turns; what is begun is finished or undone."""

    def state(self, name: str) -> List[Any]:
        return [*super().state(name), self.marked()]

    def new(self, argv: Sequence[str], turn: int, *untouched: str) -> None:
        """A command that makes `n`: there is all of it in the end, or nothing."""
        layers = self.layers(self.prefix + "--small:1")
        before = [self.state(name)[:-1] for name in untouched]

        def look_at_it(result: Result) -> None:
            self.next_command_of("n")
            self.assert_small("n", layers)
            self.assertEqual(self.hidden(), [])

        self.all_or_nothing("n", argv, look_at_it, turn)
        self.assertEqual([self.state(name)[:-1] for name in untouched], before)

    def original(self) -> None:
        self.bystanders()
        self.ok("create", "e", "--from", self.small_image())

    def test_clone(self) -> None:
        self.original()
        make_wheel(self.folder("e") / "wheels", "pydocktiny")
        self.new(["clone", "e", "n"], 0, "e")

    def test_create_from_a_bundle(self) -> None:
        self.original()
        self.ok("export", "e", str(self.base / "e.tar"), "--image")
        self.ok("delete", "-y", "e")
        self.new(["create", "n", "--from", str(self.base / "e.tar")], 1)

    def test_create_from_an_image(self) -> None:
        self.bystanders()
        self.new(["create", "n", "--from", self.small_image()], 2)

    def test_an_image_that_is_here_stays_when_the_engine_fails_to_show_it(self) -> None:
        tag = self.small_image()
        before = self.marked()
        self.fake()
        self.ok("create", "n", "--from", tag)
        for number, call in enumerate(self.calls(), 1):
            if call.startswith("image "):
                with self.subTest("%d: %s" % (number, call)):
                    self.no_fake()
                    self.ok("delete", "-y", "n")
                    self.fake("fail", str(number))
                    result = self.run_pydock("create", "n", "--from", tag)
                    self.no_fake()
                    self.assertIn(tag, self.tags(), result)
                    if not self.folder("n").exists():
                        self.ok("create", "n", "--from", tag)
        self.ok("delete", "-y", "n")
        self.assertEqual(self.marked(), before)

    def shape(self, path: Path) -> List[str]:
        """The names of what is in a bundle, whose image is made for it."""
        return sorted(re.sub("[0-9a-f]{64}", "ID", info.name) for info, _ in members(path))  # which stand in the order of their ids

    def test_export(self) -> None:
        self.original()
        folder = self.base / "target"
        folder.mkdir()
        path = folder / "e.tar"
        self.ok("export", "e", str(path), "--image")
        good, before = self.shape(path), self.state("e")
        path.unlink()
        ends = set()

        def restore() -> None:
            for file in folder.iterdir():
                file.unlink()

        def look(way: str, call: str, result: Result) -> None:
            if result.status == 0 or path.exists():
                self.assertEqual(self.shape(path), good)
            self.assertEqual(os.listdir(str(folder)), ["e.tar"] if path.exists() else [], "something half-written is left")
            ends.add(path.exists())
            if self.state("e") != before:  # the next one removes what it left
                self.ok("export", "e", str(self.work / "next.tar"), "--image")
                (self.work / "next.tar").unlink()
            self.assertEqual(self.state("e"), before, result)

        self.every_call(["export", "e", str(path), "--image"], restore, look, 0, ways=4)
        self.assertIn(False, ends)

    def test_an_export_that_is_killed_while_it_writes(self) -> None:
        self.ok("create", "e", "--from", self.small_image({"opt/large": bytes(50 << 20)}))
        folder = self.base / "target"
        folder.mkdir()
        for by, status in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 143), (signal.SIGINT, 130)):
            with self.subTest(by.name):
                self.fake("hold", "save")
                process = self.start("export", "e", str(folder / "e.tar"), "--image", start_new_session=True, preexec_fn=signals_as_usual)
                self.wait_for(lambda: [call for call in self.calls() if call.startswith("save")])
                os.killpg(process.pid, by)
                process.communicate(timeout=60)
                self.assertEqual(process.returncode, status)
                self.no_fake()
                self.assertEqual(os.listdir(str(folder)), [])

    def test_two_clones_to_one_name_make_one_environment(self) -> None:
        self.original()
        layers = self.layers(self.image("e"))
        for _turn in range(3):
            running = [self.start("clone", "e", "n") for _ in range(2)]
            results = [process.communicate(timeout=120)[1] for process in running]
            self.assertEqual(sorted(process.returncode for process in running), [0, 1], results)
            lost = results[[process.returncode for process in running].index(1)]
            self.assertEqual(len([line for line in lost.splitlines() if line.startswith("pydock: error: ")]), 1, results)
            self.assert_small("n", layers)
            self.assertEqual(self.hidden(), [])
            self.next_command_of("n")
            self.ok("delete", "-y", "n")
        self.assert_nothing_else_touched()

    def test_two_people_take_one_bundle_at_once(self) -> None:
        self.original()
        self.ok("export", "e", str(self.base / "e.tar"), "--image")
        layers = self.layers(self.image("e"))
        self.ok("delete", "-y", "e")
        running = [self.start("create", name, "--from", str(self.base / "e.tar")) for name in ("n", "m")]
        for process in running:
            self.assertEqual((process.communicate(timeout=120)[1].count("error"), process.returncode), (0, 0))
        for name in ("n", "m"):
            self.assert_small(name, layers)
            self.ok("delete", "-y", name)
        engine("rmi", self.prefix + "--small:1")
        self.assertEqual(self.marked(), [])


class ElsewhereTest(Case):
    """An engine on another machine has not the folder that a program is to see."""

    def setUp(self) -> None:
        super().setUp()
        self.podman = is_podman()
        self.variable = "CONTAINER_HOST" if self.podman else "DOCKER_HOST"

    def context(self, name: str, host: str) -> Path:
        """A folder of the client's settings whose present context this is."""
        folder = self.base / ("config of " + name)
        meta = folder / "contexts" / "meta" / sha256(name.encode())
        meta.mkdir(parents=True)
        (meta / "meta.json").write_text(json.dumps({"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False}}}), encoding="utf-8")
        (folder / "config.json").write_text(json.dumps({"currentContext": name}), encoding="utf-8")
        plugins = Path(self.environ.get("DOCKER_CONFIG", "/nowhere")) / "cli-plugins"
        if plugins.exists():
            (folder / "cli-plugins").symlink_to(plugins)
        return folder

    def assert_refused(self, environ: Dict[str, str]) -> None:
        before = self.snapshot()
        for argv in (["run", "e", "true"], ["shell", "e"], ["start", "e"], ["activate", "e"], ["run", "--fresh", "e", "true"]):
            with self.subTest(" ".join(argv)):
                self.fake()
                result = self.fails(*argv, says="the engine is on another machine", hint="pydock export --image", environ=environ, timeout=60)
                self.assertIn(FAR, result.err)
                self.assertEqual(set(self.calls()) - {"context inspect"}, set(), "an engine that cannot be meant was asked")
                self.assertEqual(self.snapshot(), before)

    def test_of_an_engine_that_a_variable_names(self) -> None:
        self.ok("create", "e", "--no-build")
        for address in ("tcp://%s:2375" % FAR, "ssh://somebody@" + FAR):
            self.assert_refused({self.variable: address})

    def test_of_an_engine_that_a_context_names(self) -> None:
        if self.podman:
            self.skipTest("this engine has no contexts")
        self.ok("create", "e", "--no-build")
        self.environ.pop("DOCKER_HOST", None)
        self.environ.pop("DOCKER_CONTEXT", None)
        for host in ("tcp://%s:2375" % FAR, "ssh://somebody@" + FAR):
            folder = self.context("far-" + host[:3], host)
            self.assert_refused({"DOCKER_CONFIG": str(folder)})
            (folder / "config.json").write_text('{"currentContext": "default"}', encoding="utf-8")
            self.assert_refused({"DOCKER_CONFIG": str(folder), "DOCKER_CONTEXT": "far-" + host[:3]})

    def test_a_context_of_this_machine_is_no_other_one(self) -> None:
        if self.podman:
            self.skipTest("this engine has no contexts")
        self.ok("create", "e")
        address = self.environ.pop("DOCKER_HOST", "unix:///var/run/docker.sock")
        self.environ.pop("DOCKER_CONTEXT", None)
        environ = {"DOCKER_CONFIG": str(self.context("near", address))}
        self.assertEqual(self.ok("run", "e", "python", "-c", "print('here')", environ=environ), "here\n")

    def test_which_addresses_are_of_another_machine(self) -> None:
        here = pydock.Engine(ENGINE)
        for address, elsewhere in (("unix:///var/run/docker.sock", False), ("tcp://localhost:2375", False), ("tcp://127.0.0.1:2375", False), ("tcp://[::1]:2375", False),
                                   ("ssh://me@localhost", False), ("tcp://10.0.0.2:2375", True), ("ssh://me@server", True), ("tcp://localhost.example.com:2375", True),
                                   ("tcp://127.0.0.1.example.com:2375", True), ("ssh://localhost@server/run/docker.sock", True), ("https://[2001:db8::1]:2376", True)):
            with self.subTest(address), mock.patch.dict(os.environ, {self.variable: address}):
                self.assertEqual(here.remote_address(), address if elsewhere else "")


if __name__ == "__main__":
    unittest.main()
