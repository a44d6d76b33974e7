"""What makes an environment reproducible and lets anybody audit it: lock, digest, verify."""
from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import unittest
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

from support import (
    ENGINE, PYTHON, ROOT, Case, Disturbed, Index, Result, SharedCase, alive, as_user, by_hand, docker_groups, engine, host_address, is_podman,
    make_wheel, pydock, signals_as_usual, undoes,
)

BASE = "python:%s-slim" % PYTHON
SITE = "lib/python%s/site-packages" % PYTHON
SOMEBODY = 23456  # the uid of somebody else, whom this machine need not know
SIX = ["sha256:1e61c37477a1626458e36f7b1d82aa5c9b094fa4802892072e49de9c60c4c926",  # six-1.16.0.tar.gz
       "sha256:8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254"]  # six-1.16.0-py2.py3-none-any.whl
NOWHERE = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "UV_HTTP_RETRIES": "0", "PIP_RETRIES": "0"}  # a port where nobody listens

# A dockerfile of a person's own, which is built in a moment, and which can tell when `verify` builds it.
QUICK = """FROM %s
LABEL pydock=1
LABEL test.of=@MARK@
RUN mkdir -p /opt/venv/bin && echo text > /opt/venv/bin/file && ln -s file /opt/venv/bin/link
RUN if [ -n "$PYDOCK_AGAIN" ]; then @AGAIN@; fi
""" % BASE


def registry_address() -> str:
    """Of the real registry, which is started where nobody did that; '' where that cannot be."""
    if "PYDOCK_TEST_REGISTRY" not in os.environ and os.geteuid() == 0:
        done = subprocess.run([str(ROOT / "tests" / "engines.sh"), "registry"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        os.environ["PYDOCK_TEST_REGISTRY"] = "".join(re.findall("PYDOCK_TEST_REGISTRY='(.*)'", done.stdout))
    return os.environ.get("PYDOCK_TEST_REGISTRY", "")


def registry_says(method: str, address: str, path: str) -> Tuple[int, str]:
    """Its status, and the digest that it names."""
    kinds = ["application/vnd.docker.distribution.manifest.v2+json", "application/vnd.oci.image.manifest.v1+json"]
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request(method, "/v2/" + path, headers={"Accept": ", ".join(kinds)})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("Docker-Content-Digest") or ""
    finally:
        connection.close()


def joined(text: str) -> List[str]:
    """The lines of a requirements.txt, where a backslash ends none."""
    return [" ".join(line.split()) for line in re.sub(r"\\\n", " ", text).splitlines()]


def hashes(line: str) -> List[str]:
    return re.findall(r"--hash=(\S+)", line)


def file_hash(path: Path) -> str:
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def spoiled(text: str, name: str) -> str:
    """The requirements with all hashes of one package wrong."""
    return re.sub(r"(?m)^(\./wheels/)?%s(.*\\\n)*.*$" % name, lambda found: re.sub(r"(?<=sha256:).{8}", "0" * 8, found.group()), text)


def bare(text: str, name: str) -> str:
    """The requirements with no hash of one package."""
    return re.sub(r"(?m)^((?:\./wheels/)?%s\S*)(.*\\\n)*.*$" % name, r"\1", text)


class TrustCase(Case):
    digest = ""  # of the base image, by its registry

    def image(self, name: str = "e") -> str:
        return "%s-%s:latest" % (self.prefix, name)

    def file(self, name: str, file: str) -> Path:
        return self.folder(name) / file

    def state(self, name: str = "e") -> Any:
        """What a command that changes nothing must leave as it was."""
        folder = self.folder(name)
        return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}, self.tags(name), self.containers()

    def registry(self) -> str:
        """Makes base images come from a real registry, under a name of the test's own; the digest by which it knows them."""
        address = registry_address()
        if not address:
            return ""
        path = "%s/python" % self.prefix
        reference = "%s/%s:%s" % (address, path, BASE.split(":")[1])
        engine("tag", BASE, reference)
        self.addCleanup(engine, "rmi", "-f", reference, check=False)
        engine("push", reference)
        engine("rmi", reference)
        engine("pull", reference)
        status, digest = registry_says("HEAD", address, "%s/manifests/%s" % (path, BASE.split(":")[1]))
        self.assertEqual(status, 200)
        self.addCleanup(registry_says, "DELETE", address, "%s/manifests/%s" % (path, digest))
        self.environ["PYDOCK_REPOSITORY"] = "%s/%s" % (address, self.prefix)
        return digest

    def quick(self, name: str, again: str = "true") -> None:
        """An environment that is built in a moment; `again` is what only `verify` does there."""
        self.ok("create", "--no-build", name)
        self.file(name, "dockerfile").write_text(QUICK.replace("@MARK@", self.prefix).replace("@AGAIN@", again), encoding="utf-8")
        self.ok("build", name)

    def left_of_builds(self) -> List[str]:
        """Untagged images and containers of the builds of `quick`."""
        mark = "label=test.of=" + self.prefix
        return engine("image", "ls", "-q", "--filter", "dangling=true", "--filter", mark).split() + engine("ps", "-aq", "--filter", mark).split()

    def assert_nothing_left_of_builds(self) -> None:
        """Nothing of a build is left, once the engine has ended it."""
        self.wait_for(lambda: not self.left_of_builds(), 60)

    @contextlib.contextmanager
    def forged(self, script: str, name: str = "e") -> Iterator[None]:
        """While it lasts, the environment's image is what a script, run as root, has made of it; the labels are as before."""
        image, container = self.image(name), "%s-%s--forger" % (self.prefix, name)
        original, user = engine("image", "inspect", "--format", "{{.Id}} {{.Config.User}}", image).partition(" ")[::2]
        engine("run", "--name", container, "--pull", "never", "-u", "0:0", "-w", "/opt/venv", image, "sh", "-ec", script)
        engine("commit", "--change", "USER " + (user or "0"), container, image)
        engine("rm", container)
        made = engine("image", "inspect", "--format", "{{.Id}}", image)
        try:
            yield
        finally:
            engine("tag", original, image)
            engine("rmi", made)

    def assert_locked(self, name: str) -> None:
        """Every package by version and hash, local wheels by their own, and `--check` says so too."""
        text = self.requirements(name)
        self.assertEqual(text.splitlines()[0], "--require-hashes")
        self.assertEqual(text.count("--require-hashes"), 1, text)
        for line in (line for line in joined(text) if line[:1] not in ("", "#", "-")):
            self.assertRegex(line, r"^(\./wheels/\S+\.whl|[\w.\[\]-]+==\S+).* --hash=sha256:[0-9a-f]{64}", text)
            if line.startswith("./"):
                self.assertEqual(hashes(line), [file_hash(self.folder(name) / line.split()[0])])
        self.assertEqual(self.ok("lock", "--check", name), "")
        self.assertEqual(self.listed()[name]["state"], "ready")


class SharedTrustCase(SharedCase, TrustCase):
    def setUp(self) -> None:
        super().setUp()
        self.digest = getattr(self.shared, "digest", "")


REQUIREMENTS = """# mine
--prefer-binary

six==1.16.0  # pinned: 1.17 breaks us
./wheels/pydocklocal-1.0-py3-none-any.whl
# elsewhere
colorama==0.4.6; sys_platform == "win32"
six==1.15.0; sys_platform == "win32"
markupsafe==2.1.5

# the end
"""


class Lock(SharedTrustCase):
    """One locked environment with all that a requirements.txt has: what is in it, and what becomes of who tampers with it."""

    before: Dict[str, str]
    said: str

    @classmethod
    def prepare(cls, case: Any) -> None:
        case.digest = case.registry()
        case.ok("create", "--no-build", "e")
        make_wheel(case.folder("e") / "wheels", "pydocklocal", requires=["six"])
        case.file("e", "requirements.txt").write_text(REQUIREMENTS, encoding="utf-8")
        cls.before = {file: case.file("e", file).read_text(encoding="utf-8") for file in ("dockerfile", "requirements.txt")}
        result = case.run_pydock("lock", "e")
        case.assertEqual((result.status, result.out), (0, ""), result)
        cls.said = result.err

    def locked(self, start: str) -> str:
        """The line that starts so."""
        found = [line for line in joined(self.requirements("e")) if line.startswith(start)]
        self.assertEqual(len(found), 1, found)
        return found[0]

    def test_require_hashes_comes_first_and_what_a_person_wrote_stays(self) -> None:
        self.assertRegex(self.said.splitlines()[-1], "^locked e: [0-9]+ packages; next: pydock lock --check e$")
        self.assertEqual(self.requirements("e").splitlines()[0], "--require-hashes")
        left = [re.sub(r"( --hash=\S+)+", "", line) for line in joined(self.requirements("e"))]
        self.assertEqual(left, ["--require-hashes"] + joined(REQUIREMENTS))

    def test_each_package_has_the_hashes_of_all_files_of_its_version(self) -> None:
        self.assertEqual(sorted(hashes(self.locked("six==1.16.0"))), SIX)
        self.assertEqual(len(set(hashes(self.locked("six==1.15.0")))), 2)
        self.assertEqual(len(set(hashes(self.locked("colorama==")))), 2)
        self.assertGreater(len(set(hashes(self.locked("markupsafe==")))), 50, "one wheel for each platform and version of Python")

    def test_a_local_wheel_has_the_hash_of_its_file(self) -> None:
        name = "wheels/pydocklocal-1.0-py3-none-any.whl"
        self.assertEqual(hashes(self.locked("./" + name)), [file_hash(self.file("e", name))])

    def test_the_base_image_is_pinned_by_the_digest_that_its_registry_knows(self) -> None:
        if not self.digest:
            self.skipTest("no registry")
        reference = "FROM ${REPOSITORY}" + BASE
        self.assertEqual(self.file("e", "dockerfile").read_text(encoding="utf-8"), self.before["dockerfile"].replace(reference, reference + "@" + self.digest))
        self.assertNotIn("has no digest", self.said)

    def test_a_second_lock_has_nothing_to_do(self) -> None:
        before = self.state()
        self.assertIn("locked e: ", self.run_pydock("lock", "e").err)
        self.assertEqual(self.state(), before)

    def test_check_passes_and_changes_nothing(self) -> None:
        before = self.state()
        result = self.run_pydock("lock", "--check", "e")
        self.assertEqual((result.status, result.out), (0, ""), result)
        self.assertIn("e is locked; next: pydock verify e", result.err)
        self.assertEqual("is not pinned: its digest is not known here" in result.err, not self.digest)
        self.assertEqual(self.state(), before)

    def assert_fault(self, file: str, change: Callable[[bytes], bytes], says: str) -> None:
        """While a file is changed so, `--check` fails, and a line names what is wrong; nothing is changed by that."""
        path = self.file("e", file)
        data = path.read_bytes()
        self.assertNotEqual(change(data), data)
        path.write_bytes(change(data))
        try:
            before = self.state()
            result = self.fails("lock", "--check", "e", says="the lock of e does not match", hint="pydock lock e")
            self.assertRegex(result.out, "(?m)^%s$" % says)
            self.assertEqual(self.state(), before)
        finally:
            path.write_bytes(data)

    def test_check_fails_for_each_thing_in_which_files_and_lock_disagree(self) -> None:
        def edited(edit: Callable[[str], str]) -> Callable[[bytes], bytes]:
            return lambda data: edit(data.decode()).encode()

        file = "requirements.txt"
        for what, change, says in (
                ("no hash", lambda text: bare(text, "six==1.16"), "requirements.txt: no hash of six==1.16.0"),
                ("no hash of a wheel", lambda text: bare(text, "pydocklocal"), r"requirements.txt: no hash of ./wheels/pydocklocal\S+"),
                ("no version", lambda text: text.replace("markupsafe==2.1.5", "markupsafe>=2.1.5"), "requirements.txt: no version of markupsafe>=2.1.5"),
                ("a line more", lambda text: text + "iniconfig\n", "requirements.txt: no hash of iniconfig"),
                ("an edit", lambda text: text + "# by hand\n", "the image was not built from these files: pydock build e")):
            with self.subTest(what):
                self.assert_fault(file, edited(change), says)
        wheel = "wheels/pydocklocal-1.0-py3-none-any.whl"
        with self.subTest("another wheel"):
            self.assert_fault(wheel, lambda data: data + b"\0", wheel + ": does not match its hash")
        if self.digest:
            with self.subTest("base image"):
                self.assert_fault("dockerfile", edited(lambda text: text.replace("@" + self.digest, "")), r"dockerfile: FROM \S+ without its digest")

    def test_check_fails_where_there_is_no_lock_at_all(self) -> None:
        self.ok("create", "plain", "six==1.16.0")
        self.assertEqual(self.fails("lock", "--check", "plain", says="plain is not locked", hint="pydock lock plain").out, "")

    def test_plain_pip_and_plain_uv_demand_the_hashes(self) -> None:
        folder, text = self.work / "plain", self.requirements("e")
        folder.mkdir()
        shutil.copytree(str(self.file("e", "wheels")), str(folder / "wheels"))
        for name, changed in (("good", text), ("wrong", spoiled(text, "six==1.16")), ("wheel", spoiled(text, "pydocklocal")), ("none", bare(text, "markupsafe"))):
            self.assertEqual(changed == text, name == "good")
            (folder / (name + ".txt")).write_text(changed, encoding="utf-8")
        script = """export UV_CACHE_DIR=/cache/uv PIP_CACHE_DIR=/cache/pip UV_LINK_MODE=copy
ca=/etc/ssl/certs/ca-certificates.crt; [ ! -f $ca ] || export SSL_CERT_FILE=$ca
cd /plain
for name in good wrong wheel none; do
    for attempt in 1 2 3; do  # an index may not answer at once
        @TOOL@ --target /tmp/$name -r $name.txt </dev/null >/tmp/said 2>&1 && status=0 || status=1
        if [ $status = 0 ] || grep -qi hash /tmp/said; then break; fi
    done
    echo $name $status $(grep -qi hash /tmp/said && echo hash)
    [ $name != good ] || [ $status = 0 ] || cat /tmp/said
done
"""
        uv = next((self.home / ".local" / "share" / "pydock" / "uv").resolve().glob(pydock.UV + "-*"))
        for tool in ("pip install", "/uv/bin/uv pip install"):
            with self.subTest(tool):
                # Plain, but for where this engine's containers find certificates, and keep downloads.
                said = engine("run", "--rm", "-i", "--pull", "never", "-u", "0:0", "-v", pydock.CACHE + ":/cache", "-v", "%s:/uv:ro" % uv, "-v", "%s:/plain:ro" % folder,
                              self.image(), "sh", "-s", input=script.replace("@TOOL@", tool))
                self.assertEqual(said.splitlines(), ["good 0", "wrong 1 hash", "wheel 1 hash", "none 1 hash"])

    def test_build_fails_where_a_file_is_not_what_its_hash_says(self) -> None:
        path = self.file("e", "requirements.txt")
        text, before = path.read_text(encoding="utf-8"), self.state()
        self.addCleanup(path.write_text, text, encoding="utf-8")
        path.write_text(spoiled(text, "six==1.16"), encoding="utf-8")
        result = self.fails("build", "e", says="cannot build e")
        self.assertIn("hash", result.err.lower())
        path.write_text(text, encoding="utf-8")
        self.assertEqual(self.state(), before)
        self.assert_clean("e")

    def test_it_builds_from_clean(self) -> None:
        tags = self.tags("e")
        self.ok("build", "--no-cache", "e")
        self.assertNotEqual(self.tags("e"), tags)
        self.assert_locked("e")
        self.ok("run", "e", "python", "-c", "import six, markupsafe, pydocklocal")
        self.assert_clean("e")

    def test_it_builds_by_hand(self) -> None:
        argv = [*ENGINE, "build", "-f", "dockerfile", "-t", self.prefix + "-hand:latest"]
        argv += ["--build-arg", "REPOSITORY=%s/" % self.environ["PYDOCK_REPOSITORY"]] if self.digest else []
        done = subprocess.run([*argv, "."], cwd=str(self.folder("e")), env=by_hand(),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual(done.returncode, 0, done.stdout)
        engine("run", "--rm", "--pull", "never", self.prefix + "-hand:latest", "python", "-c", "import six, markupsafe, pydocklocal")


class Keeping(TrustCase):
    """What later changes make of a lock, and what cannot be locked."""

    def test_install_uninstall_and_update_keep_the_lock_whole_local_wheels_included(self) -> None:
        self.ok("create", "e", "six==1.16.0")
        self.ok("lock", "e")
        wheel = make_wheel(self.base / "made", "pydocklocal")
        for argv, line in ((["install", "e", "iniconfig==2.0.0", str(wheel)], "iniconfig==2.0.0"), (["update", "e", "six"], "six=="),
                           (["uninstall", "e", "iniconfig"], "./wheels/pydocklocal")):
            with self.subTest(" ".join(argv[:3])):
                self.ok(*argv)
                self.assert_locked("e")
                self.assertEqual(len([text for text in joined(self.requirements("e")) if text.startswith(line)]), 1)
        self.assertNotIn("six==1.16.0", self.requirements("e"))
        self.assertNotIn("iniconfig", self.requirements("e"))
        old = file_hash(self.file("e", "wheels/" + wheel.name))
        make_wheel(self.base / "made", "pydocklocal", files={"pydocklocal_more.py": "more = 1\n"})
        self.assertNotEqual(file_hash(wheel), old)
        self.ok("install", "e", str(wheel))
        self.assertEqual(file_hash(self.file("e", "wheels/" + wheel.name)), file_hash(wheel))
        self.assert_locked("e")
        self.assert_clean("e")

    def test_lines_for_other_systems_and_pythons_are_locked_too_and_no_update_installs_them(self) -> None:
        lines = ['audioop-lts==0.2.1; python_version >= "3.13"', 'colorama==0.4.5; sys_platform == "win32"', 'tomli==2.0.1; python_version < "3.11"']
        self.ok("create", "--no-build", "e", "3.11")
        self.file("e", "requirements.txt").write_text("\n".join(lines) + "\niniconfig==2.0.0\n", encoding="utf-8")
        self.ok("lock", "e")
        for changed in ([], ["update", "e"]):
            with self.subTest(changed):
                self.ok(*changed or ["lock", "e"])
                self.assert_locked("e")
                self.assertEqual([re.sub(r"( --hash=\S+)+", "", line) for line in joined(self.requirements("e"))[1:4]], lines)
        self.assertEqual(self.ok("run", "e", "pip", "freeze", "--exclude", "setuptools").split("==")[0], "iniconfig")

    def test_what_needs_the_setuptools_of_the_virtual_environment_builds_from_clean(self) -> None:
        wheel = make_wheel(self.base / "made", "pydockneeds", requires=["setuptools", "six"])
        self.ok("create", "e", "3.11", str(wheel), "six==1.16.0")
        self.ok("lock", "e")
        self.assert_locked("e")
        for installer in ("uv", "pip"):
            with self.subTest(installer):
                self.ok("build", "e", environ={"PYDOCK_INSTALLER": installer})
                self.ok("run", "e", "python", "-c", "import setuptools, six, pydockneeds")
                self.assert_locked("e")

    def test_a_base_image_without_a_digest_is_told_and_stays_as_it_is(self) -> None:
        engine("tag", BASE, "%s/%s" % (self.prefix, BASE))
        self.environ["PYDOCK_REPOSITORY"] = self.prefix
        self.ok("create", "e", "six==1.16.0")
        dockerfile = self.file("e", "dockerfile").read_text(encoding="utf-8")
        result = self.run_pydock("lock", "e")
        self.assertEqual(result.status, 0, result)
        told = [line for line in result.err.splitlines() if "has no digest" in line]
        self.assertEqual(len(told), 1, result)
        self.assertIn("%s/%s" % (self.prefix, BASE), told[0])
        self.assertEqual(self.file("e", "dockerfile").read_text(encoding="utf-8"), dockerfile)
        self.assert_locked("e")

    def test_what_comes_from_a_repository_is_refused_and_nothing_changed(self) -> None:
        self.ok("create", "e", "six==1.16.0")
        origin = {"url": "https://host.invalid/some/six.git", "vcs_info": {"vcs": "git", "commit_id": "a" * 40}}
        with self.forged("cat >%s/six-1.16.0.dist-info/direct_url.json <<'END'\n%s\nEND" % (SITE, json.dumps(origin))):
            before = self.state()
            result = self.fails("lock", "e", says="cannot lock e", hint="wheel")
            self.assertIn("six @ git+https://host.invalid/some/six.git@" + "a" * 40, result.err)
            self.assertEqual(self.state(), before)
        self.ok("lock", "e")
        self.assert_locked("e")

    def test_a_lock_needs_uv(self) -> None:
        self.ok("create", "e", "six==1.16.0")
        self.environ["PYDOCK_INSTALLER"] = "pip"
        before = self.state()
        self.fails("lock", "e", says="cannot lock e without uv", hint="installer uv")
        self.assertEqual(self.state(), before)
        del self.environ["PYDOCK_INSTALLER"]
        self.ok("lock", "e")
        before = self.state()
        self.fails("install", "e", "iniconfig==2.0.0", says="cannot lock e without uv", environ={"PYDOCK_INSTALLER": "pip"})
        self.assertEqual(self.state(), before)

    def test_a_package_of_which_its_index_tells_no_hash_is_refused_with_the_remedy(self) -> None:
        address = host_address()
        if address is None:
            self.skipTest("no address of this host that containers reach and a server can listen on")
        wheel = make_wheel(self.base / "packages", "pydockalone")
        index = Index(address, self.base / "packages")
        self.addCleanup(index.close)
        self.ok("create", "e")
        self.ok("install", "e", "pydockalone", "six==1.16.0", "--extra-index-url", index.url)
        before = self.state()
        self.fails("lock", "e", says="cannot lock e: its index has no hash of pydockalone==1.0", hint="pydock install e ./FILE.whl")
        self.assertEqual(self.state(), before)
        self.ok("install", "e", str(wheel))
        self.ok("lock", "e")
        self.assertIn("--hash=" + file_hash(wheel), self.requirements("e"))
        self.assertIn("--extra-index-url %s\n" % index.url, self.requirements("e"))
        self.assert_locked("e")

    def test_two_locks_at_once_make_one_and_a_lock_and_an_install_keep_it_whole(self) -> None:
        self.ok("create", "e", "six==1.16.0")
        for commands, states in (([["lock", "e"], ["lock", "e"]], 2), ([["lock", "e"], ["install", "e", "iniconfig==2.0.0"]], 3)):
            with self.subTest(commands):
                processes = [self.start(*argv) for argv in commands]
                ends = [(process.communicate(timeout=120)[1], process.returncode) for process in processes]
                self.assertEqual([status for _, status in ends], [0, 0], ends)
                self.assert_locked("e")
                self.assert_clean("e")
                self.assertEqual(len([tag for tag in self.tags("e") if tag.split(":")[1].isdigit()]), states)
        self.assertIn("iniconfig==2.0.0", self.requirements("e"))

    def test_an_index_that_cannot_be_reached_changes_nothing(self) -> None:
        self.ok("create", "e", "six==1.16.0")
        before = self.state()
        result = self.fails("lock", "e", environ=NOWHERE)
        self.assertNotIn("the index gives no hash", result.err)
        self.assertEqual(self.state(), before)
        for argv in (["verify", "e"], ["lock", "--check", "e"]):
            self.fails(*argv, environ=NOWHERE)
            self.assertEqual(self.state(), before)
        self.assert_clean("e")
        self.assertRegex(self.ok("digest", "e", environ=NOWHERE), "^sha256:")


class Digest(SharedTrustCase):
    @classmethod
    def prepare(cls, case: Any) -> None:
        case.ok("create", "e", "six==1.16.0")
        cls.known = case.ok("digest", "e")

    known: str

    def test_it_is_one_line_and_the_same_whenever_it_is_asked_and_nothing_is_left_behind(self) -> None:
        self.assertRegex(self.known, r"^sha256:[0-9a-f]{64}\n$")
        before = self.state()
        processes = [self.start("digest", "e") for _ in range(2)]
        self.assertEqual([process.communicate(timeout=60)[0] for process in processes], [self.known] * 2)  # one may say that it waits
        self.assertEqual(self.state(), before)
        self.assert_clean("e")

    def test_it_differs_where_anything_in_the_environment_does(self) -> None:
        keep = " && chown -h $(stat -c %%u:%%g .) %s"
        found = {self.known: "as it was"}
        for what, script in (("a byte", "printf x >>%s/six.py" % SITE), ("a mode", "chmod 600 %s/six.py" % SITE),
                             ("the mode of a folder", "chmod 700 %s" % SITE), ("a link", "ln -sfn /usr/bin/python3 bin/python3" + keep % "bin/python3"),
                             ("an owner", "chown 4321 %s/six.py" % SITE), ("a new file", "touch %s/new.pth" % SITE + keep % (SITE + "/new.pth")),
                             ("no file", "rm %s/six.py" % SITE), ("another name", "mv {0}/six.py {0}/seven.py".format(SITE)),
                             ("byte code that has no source", "touch %s/sitecustomize.pyc" % SITE + keep % (SITE + "/sitecustomize.pyc")),
                             ("a file for a link", "rm bin/python3 && cp /bin/true bin/python3" + keep % "bin/python3")):
            with self.subTest(what), self.forged(script):
                digest = self.ok("digest", "e")
                self.assertRegex(digest, r"^sha256:[0-9a-f]{64}\n$")
                self.assertNotIn(digest, found)
                found[digest] = what
        self.assertEqual(self.ok("digest", "e"), self.known)

    def test_times_and_byte_code_make_no_difference(self) -> None:
        for what, script in (("times and other byte code", "printf x >%s/__pycache__/six.cpython-38.pyc; find . -exec touch -h -d 2001-01-01 {} +" % SITE),
                             ("no byte code, and files elsewhere", "find . -name __pycache__ -exec rm -r {} +; touch /opt/elsewhere /home/elsewhere")):
            with self.subTest(what), self.forged(script):
                self.assertEqual(self.ok("digest", "e"), self.known)



class Twice(TrustCase):
    def test_made_twice_in_two_folders_by_two_users_it_is_the_same(self) -> None:
        wheel = make_wheel(self.base / "made", "pydocklocal", requires=["six"], scripts=["local = pydocklocal:version"])
        self.ok("create", "e", "six==1.16.0", "markupsafe==2.1.5")
        self.ok("lock", "e")
        self.ok("install", "e", "iniconfig==2.0.0", str(wheel))
        known = self.ok("digest", "e")
        shutil.copytree(str(self.folder("e")), str(self.folder("again")))
        self.ok("build", "--no-cache", "again")
        self.assertEqual(self.ok("digest", "again"), known)
        if os.geteuid() or is_podman() or pydock.Engine(ENGINE).sudo:
            self.skipTest("one user only")
        home = self.base / "other-home"
        theirs = home / ".pydock" / "envs" / "theirs"
        shutil.copytree(str(self.folder("e")), str(theirs))
        self.give_to(SOMEBODY)
        subprocess.run(["chown", "-R", "%d:%d" % (SOMEBODY, SOMEBODY), str(home)], check=True)
        home.chmod(0o700)
        they: Dict[str, Any] = {"preexec_fn": as_user(SOMEBODY, SOMEBODY, docker_groups()), "cwd": home, "environ": {"HOME": str(home), "BUILDX_CONFIG": str(home / "buildx")}}
        if self.run_pydock("list", **they).status == 127:
            self.skipTest("an ordinary user cannot use this engine")
        self.ok("build", "theirs", **they)
        owner = engine("run", "--rm", "--pull", "never", self.image("theirs"), "stat", "-c", "%u", "/opt/venv/%s/six.py" % SITE)
        self.assertEqual(owner, str(SOMEBODY))
        self.assertEqual(self.ok("digest", "theirs", **they), known)
        self.assertEqual(self.ok("lock", "--check", "theirs", **they), "")


class Verify(SharedTrustCase):
    """Of an environment as pydock makes them: what is built again is really the same, and what is not is found."""

    @classmethod
    def prepare(cls, case: Any) -> None:
        case.ok("create", "e", "six==1.16.0")
        case.ok("lock", "e")

    def test_equal_is_said_and_the_present_image_is_left_alone(self) -> None:
        before = self.state()
        result = self.run_pydock("--verbose", "verify", "e")
        self.assertEqual((result.status, result.out), (0, ""), result)
        self.assertIn("e rebuilt is equal to its image", result.err.splitlines()[-1])
        builds = [line for line in result.err.splitlines() if re.match(r"\+ .*\bbuild -t ", line)]
        self.assertEqual(len(builds), 1, result)
        self.assertNotIn("--no-cache", builds[0], "that would empty the cache of downloads, too")
        self.assertEqual(self.state(), before)
        self.assert_clean("e")

    def test_whatever_was_changed_in_the_image_is_found_and_named(self) -> None:
        script = ("printf x >>{0}/six.py; touch $(printf 'bin/a\\033b'); chmod 600 bin/activate; rm {0}/six-1.16.0.dist-info/top_level.txt; echo import evil >{0}/evil.pth; "
                  "ln -sfn /tmp/python bin/python3; chown -h $(stat -c %u:%g .) bin/python3").format(SITE)
        with self.forged(script):
            before = self.state()
            result = self.fails("verify", "e", says="e rebuilt is not equal to its image")
            self.assertEqual(result.out.splitlines(), ["- bin/a%1Bb", "~ bin/activate", "~ bin/python3", "- %s/evil.pth" % SITE,
                                                       "+ %s/six-1.16.0.dist-info/top_level.txt" % SITE, "~ %s/six.py" % SITE])
            self.assertEqual(self.state(), before)
        self.assert_clean("e")

    def test_what_was_downloaded_is_not_downloaded_again(self) -> None:
        address = host_address()
        if address is None:
            self.skipTest("no address of this host that containers reach and a server can listen on")
        if is_podman():
            self.skipTest("no builder here that keeps downloads")
        name = "pydockcached" + self.prefix
        wheel = make_wheel(self.base / "packages", name)
        index = Index(address, self.base / "packages", immutable=True)
        self.addCleanup(index.close)
        self.ok("create", "--no-build", "f")
        self.file("f", "requirements.txt").write_text("--extra-index-url %s\n%s==1.0\n" % (index.url, name), encoding="utf-8")
        self.ok("build", "f")
        self.assertIn("/files/" + wheel.name, index.seen)
        index.seen.clear()
        self.ok("verify", "f")
        self.assertNotIn("/files/" + wheel.name, index.seen)


class VerifyAgainst(SharedTrustCase):
    """The same command where only it matters, of environments that are built in a moment."""

    @classmethod
    def prepare(cls, case: Any) -> None:
        for name in ("e", "other"):
            case.quick(name)
        case.quick("slow", "sleep 600")
        case.quick("broken", "echo cannot do that; exit 1")

    def tearDown(self) -> None:
        for name in ("e", "other", "slow", "broken"):
            self.assertEqual([tag for tag in self.tags(name) if ":tmp-" in tag], [])
        self.assertEqual(self.containers(), [])

    def test_a_word_that_came_out_empty_proves_nothing(self) -> None:
        self.fails("verify", "e", "--against", "")

    def test_a_digest(self) -> None:
        before, digest = self.state(), self.ok("digest", "e").strip()
        self.assertIn("e rebuilt is " + digest, self.run_pydock("verify", "e", "--against", digest).err)
        with self.forged("printf x >>bin/file"):  # the present image is not asked
            self.ok("verify", "e", "--against", digest)
        wrong = "sha256:" + "0" * 64
        self.assertEqual(self.fails("verify", "e", "--against", wrong, says="e rebuilt is not " + wrong).out, "")
        self.assertEqual(self.state(), before)

    def test_another_environment(self) -> None:
        before = self.state(), self.state("other")
        self.assertIn("equal to the image of other", self.run_pydock("verify", "e", "--against", "other").err)
        with self.forged("printf x >>bin/file", "other"):
            result = self.fails("verify", "e", "--against", "other", says="e rebuilt is not equal to the image of other")
            self.assertEqual(result.out, "~ bin/file\n")
            self.ok("verify", "e")
        self.fails("verify", "e", "--against", "nobody", says="no global environment 'nobody'")
        self.fails("verify", "e", "--against", "sha256:123", says="'sha256:123' is not a complete digest")
        self.assertEqual((self.state(), self.state("other")), before)

    def test_a_hint_at_the_lock_where_there_is_none(self) -> None:
        with self.forged("printf x >>bin/file"):
            self.fails("verify", "e", hint="pydock lock e")

    def test_where_it_cannot_be_built_again_that_is_said_and_nothing_stays(self) -> None:
        before = self.state("broken")
        result = self.fails("verify", "broken", says="cannot build broken (see above)")
        self.assertIn("cannot do that", result.err)
        self.assertEqual(self.state("broken"), before)
        self.assert_nothing_left_of_builds()

    def test_ctrl_c_while_it_builds_leaves_everything_as_it_was(self) -> None:
        before = self.state("slow")
        self.fake()
        process = self.start("verify", "slow", start_new_session=True, preexec_fn=signals_as_usual)
        self.wait_for(lambda: [call for call in self.calls() if call.startswith("build ")], 60)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.wait_for(lambda: not alive(process.pid), 60)
        self.no_fake()
        self.assertEqual((process.returncode, out), (130, ""), err)
        self.assertNotIn("Traceback", err)
        self.assertEqual(self.state("slow")[:2], before[:2])
        self.assert_nothing_left_of_builds()
        self.assertEqual(self.state("slow"), before)


class BadEnds(Disturbed, TrustCase):
    """The engine fails, hangs or dies with pydock at the n-th call, for every n."""

    def state(self, name: str = "e") -> List[Any]:
        return Disturbed.state(self, name)

    def test_digest_and_verify(self) -> None:
        self.bystanders()
        self.quick("e")
        before = self.state()
        restore = self.restorer("e")

        def look(way: str, call: str, result: Result) -> None:
            if undoes(way, call):
                self.assertEqual(self.state(), before, result)
            self.assertEqual(self.tags("e")[self.image()], before[2][self.image()], result)
            self.next_command_of("e")
            self.assertEqual(self.state(), before, result)

        self.every_call(["digest", "e"], restore, look, turn=0, ways=2)
        self.every_call(["verify", "e"], restore, look, turn=1)
        self.assert_nothing_left_of_builds()

    def test_lock(self) -> None:
        self.bystanders()
        digest = self.registry()
        self.ok("create", "e", str(make_wheel(self.base / "made", "pydocklocal")))
        before = self.state()
        restore = self.restorer("e")
        ends = set()

        def look(way: str, call: str, result: Result) -> None:
            if self.state() != before:
                self.next_command_of("e")
            files = {Path(path).name: text for path, text in self.state()[0].items()}
            new = "--hash=" in files["requirements.txt"]
            self.assertEqual(bool(digest) and digest in files["dockerfile"], bool(digest) and new, "one file is new and the other old")
            if result.status == 0:
                self.assertTrue(new, result)
            if new:
                self.assert_locked("e")
                self.assert_clean("e")
            else:
                self.assertEqual(self.state(), before, result)
            if new not in ends:
                self.ok("run", "e", "python", "-c", "import pydocklocal")
            ends.add(new)

        self.every_call(["lock", "e"], restore, look, turn=2)
        self.assertEqual(ends, {False, True})

    def test_a_lock_that_died_between_its_two_files_is_finished(self) -> None:
        if not self.registry():
            self.skipTest("no registry: a lock has one file only")
        self.ok("create", "e", "six==1.16.0")
        old = self.requirements("e")
        restore = self.restorer("e")
        self.fake()
        self.ok("lock", "e")
        number = next(i for i, call in enumerate(self.calls(), 1) if call.startswith("tag "))
        restore()
        self.disturb("kill", number, "lock", "e")
        self.file("e", "requirements.txt").write_text(old, encoding="utf-8")  # it is written after the dockerfile
        self.next_command_of("e")
        self.assertIn("@sha256:", self.file("e", "dockerfile").read_text(encoding="utf-8"))
        self.assert_locked("e")
        self.assert_clean("e")


if __name__ == "__main__":
    unittest.main()
