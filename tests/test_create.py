"""What makes, shows and removes environments: create, list, build, delete, config, --dry-run, the two modes."""
from __future__ import annotations

import hashlib
import json
import os
import pty
import pwd
import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any, Dict, List

from support import ENGINE, PYTHON, ROOT, Case, SharedCase, by_hand, engine, is_podman, make_wheel, pydock

BASE = "python:%s-slim" % PYTHON
READING = ("image ls", "network ls", "volume ls", "volume inspect", "image inspect", "container inspect", "version", "ps", "buildx version", "compose version", "context inspect", "info", "container ls")


def image_config(image: str) -> Dict[str, Any]:
    config: Dict[str, Any] = json.loads(engine("image", "inspect", "--format", "{{json .Config}}", image))
    return config


def layers(image: str) -> List[str]:
    found: List[str] = json.loads(engine("image", "inspect", "--format", "{{json .RootFS.Layers}}", image))
    return found


class EnvironmentCase(Case):
    """With what these tests look at again and again."""

    def image(self, name: str) -> str:
        return "%s-%s:latest" % (self.prefix, name)

    def everything(self) -> Any:
        """What a command that fails or only shows must leave as it was."""
        return self.snapshot(), self.tags(), self.containers()

    def project(self, name: str = "project") -> Path:
        folder = self.base / name
        folder.mkdir()
        return folder


class SharedEnvironmentCase(SharedCase, EnvironmentCase):
    pass


class CreateTest(EnvironmentCase):
    def test_words_of_conda_and_options_alone_get_a_line_that_works(self) -> None:
        self.fails("create", "ds", "numpy", "python=3.12", says="'python=3.12' is not a package", hint="pydock create ds 3.12 PKG")
        self.fails("create", "ds", "--pre", says="no package given, only options for packages")
        self.fails("create", "ds", "3.99", says="cannot pull ", hint="pydock create ds 3.")
        self.assertEqual(self.snapshot(), {})

    def test_create_writes_two_files_and_one_image_and_says_what_to_type_next(self) -> None:
        result = self.run_pydock("create", "ds", PYTHON)
        self.assertEqual((result.status, result.out), (0, ""), result)
        self.assertIn("created ds (Python %s); next: pydock shell ds" % PYTHON, result.err)
        self.assertEqual(sorted(p.name for p in self.folder("ds").iterdir()), ["dockerfile", "requirements.txt"])
        self.assertEqual(sorted(self.tags()), ["%s-ds:1" % self.prefix, "%s-ds:latest" % self.prefix])
        self.assertEqual(sorted(p.name for p in (self.home / ".pydock").iterdir()), ["envs"])
        self.assertEqual(self.ok("run", "ds", "python", "-c", "print(6 * 7)"), "42\n")
        self.assert_clean("ds")

    def test_a_failed_create_leaves_nothing_not_even_the_pydock_folder(self) -> None:
        before = set(engine("image", "ls", "-q", "--filter", "dangling=true", "--filter", "label=pydock.name").split())
        for argv in (["create", "ds", PYTHON, "no-such-package-of-pydock"], ["create", "ds", "2.99"], ["create", "ds", "3.99"],
                     ["create", "ds", PYTHON, "--apt", "no-such-package-of-debian"], ["create", "ds", PYTHON, "./nothing-here"]):
            with self.subTest(argv=argv):
                self.fails(*argv)
                self.assertEqual(self.everything(), ({}, {}, []))
        self.assertEqual(set(engine("image", "ls", "-q", "--filter", "dangling=true", "--filter", "label=pydock.name").split()) - before, set())

    def test_a_base_image_without_python_is_told(self) -> None:
        image = self.prefix + "-base:latest"
        engine("build", "-t", image, "-", input="FROM %s\nRUN rm -f /usr/bin/python* /usr/local/bin/python*\n" % BASE)
        self.fails("create", "ds", "--image", image, hint="needs Python 3")
        self.assertEqual(self.snapshot(), {})
        self.assertEqual(self.tags("ds"), {})

    def test_a_taken_name_changes_nothing(self) -> None:
        self.ok("create", "ds", "--no-build")
        before = self.everything()
        self.fails("create", "ds", "3.13", "six", says="'ds' already exists")
        self.assertEqual(self.everything(), before)

    def test_the_version_is_the_argument_else_the_file_else_the_setting(self) -> None:
        self.ok("create", "a", "--no-build")
        (self.work / ".python-version").write_text("3.13\n", encoding="utf-8")
        self.ok("create", "b", "--no-build")
        self.ok("create", "c", "3.12.1", "--no-build")
        (self.work / ".python-version").write_text("pypy3.9\n", encoding="utf-8")
        self.assertIn("pypy3.9", self.run_pydock("create", "d", "--no-build").err)
        found = [next(line for line in (self.folder(name) / "dockerfile").read_text(encoding="utf-8").splitlines() if line.startswith("FROM"))
                 for name in "abcd"]
        self.assertEqual(found, ["FROM ${REPOSITORY}python:%s-slim AS base" % v for v in (PYTHON, "3.13", "3.12.1", PYTHON)])

    def test_no_build_writes_the_files_without_the_engine_and_build_builds_them(self) -> None:
        self.fake()
        self.ok("create", "ds", "--no-build")
        self.assertEqual(self.calls(), [])
        self.assertEqual(self.listed()["ds"]["state"], "missing")
        self.ok("build", "ds")
        self.assertEqual(self.listed()["ds"]["state"], "ready")

    def test_packages_and_files_are_installed_as_by_install(self) -> None:
        wheel = make_wheel(self.work, "alpha")
        (self.work / "more.txt").write_text("six==1.16.0\n", encoding="utf-8")
        self.ok("create", "ds", PYTHON, "./" + wheel.name, "-r", "more.txt")
        self.assertEqual(self.requirements("ds"), "./wheels/%s\nsix==1.16.0\n" % wheel.name)
        self.assertEqual(self.ok("run", "ds", "python", "-c", "import alpha, six; print(alpha.version, six.__version__)"), "1.0 1.16.0\n")
        self.assertEqual(self.listed()["ds"]["state"], "ready")
        self.assert_clean("ds")

    def test_apt_writes_one_line_that_installs_a_system_package(self) -> None:
        self.ok("create", "ds", PYTHON, "--apt", "tree")
        self.assertIn("tree v", self.ok("run", "ds", "tree", "--version"))
        text = (self.folder("ds") / "dockerfile").read_text(encoding="utf-8")
        self.assertEqual([line for line in text.splitlines() if line.startswith("RUN apt-get")],
                         ["RUN apt-get update && apt-get install -y --no-install-recommends tree && rm -rf /var/lib/apt/lists/*"])

    def test_apt_takes_names_only(self) -> None:
        for word in ("tree; touch /x", "$(id)", "-y", "", "a b"):
            with self.subTest(word=word):
                self.fails("create", "ds", "--no-build", "--apt=" + word, says="system package")
        self.assertEqual(self.snapshot(), {})

    def test_user_changes_the_default_and_pydock_then_does_not_fill_it_in(self) -> None:
        self.ok("create", "ds", PYTHON, "--user", "4321:alice")
        code = "import getpass, os; print(getpass.getuser(), os.getuid(), os.getgid(), os.path.expanduser('~'))"
        self.assertEqual(engine("run", "--rm", "--pull", "never", self.image("ds"), "python", "-c", code), "alice 4321 4321 /home/alice")
        self.assertEqual(self.ok("run", "ds", "python", "-c", code), "alice 4321 4321 /home/alice\n")

    def test_a_user_without_an_id_is_the_caller_by_another_name(self) -> None:
        self.ok("create", "ds", PYTHON, "--user", "alice", "--no-build")
        text = (self.folder("ds") / "dockerfile").read_text(encoding="utf-8")
        self.assertIn("ARG USERNAME=alice\n", text)
        script = self.ok("-n", "build", "ds")
        self.assertIn("--build-arg USER_UID=%d --build-arg USER_GID=%d" % (os.getuid(), os.getgid()), script)
        self.assertNotIn("--build-arg USERNAME=", script)

    @unittest.skipUnless(os.getuid() == 0, "only root can be somebody else")
    def test_a_caller_whose_name_uid_and_gid_the_base_image_has_too(self) -> None:
        address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
        python = next((p for p in ("/usr/bin/python3", "/usr/local/bin/python3") if os.path.exists(p)), "")
        if not address.startswith("unix://") or not python or not os.path.exists(address[7:]):
            self.skipTest("no python3 of the system, or no socket of the engine, that another user could use")
        socket_gid = os.stat(address[7:]).st_gid
        for folder in (self.base, self.home, self.work):
            os.chown(str(folder), 33, 33)
        program = shutil.copy(str(pydock.__file__), str(self.base / "pydock.py"))

        def become() -> None:
            os.setgroups([socket_gid])
            os.setgid(33)
            os.setuid(33)

        def as_33(*argv: str) -> str:
            done = subprocess.run([python, "-IS", program, *argv], cwd=str(self.work), env=self.environ, preexec_fn=become, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            return done.stdout

        as_33("create", "ds", PYTHON, "six")
        name = as_33("config", "user").strip()
        self.assertEqual(name, pwd.getpwuid(33).pw_name)
        self.assertEqual(as_33("run", "ds", "sh", "-c", "whoami; id -u; id -g; echo ~; touch made; python -c 'import six'"), "%s\n33\n33\n/home/%s\n" % (name, name))
        self.assertEqual((self.work / "made").stat().st_uid, 33)


class BaseImageTest(SharedEnvironmentCase):
    """A base with another layout: Python only in /usr/bin, a user, a folder and an entrypoint of its own."""

    @classmethod
    def prepare(cls, case: Case) -> None:
        tag = case.prefix + "-base:latest"
        engine("build", "-t", tag, "-", input="FROM %s\nRUN rm -f /usr/local/bin/python* /usr/local/bin/pip* && useradd -u 1234 guest\nWORKDIR /srv\nUSER guest\n"
               'ENTRYPOINT ["python3"]\nCMD ["-V"]\n' % BASE)
        case.ok("create", "ds", "--image", tag, "six")

    def test_an_environment_is_as_on_any_other_base(self) -> None:
        self.assertEqual(self.ok("run", "ds", "python", "-c", "import six, sys; print(six.__name__, sys.prefix)"), "six /opt/venv\n")
        config = image_config(self.image("ds"))
        self.assertEqual((config["Cmd"], config["User"]), (["python3"], "%d:%d" % (os.getuid(), os.getgid())))
        self.assertEqual(self.listed()["ds"]["state"], "ready")

    def test_an_entrypoint_of_the_base_does_not_get_between(self) -> None:
        self.assertEqual(self.ok("run", "ds", "echo", "yes"), "yes\n")
        self.ok("install", "ds", "iniconfig==2.0.0")
        self.assertEqual(self.ok("run", "ds", "echo", "yes"), "yes\n")
        self.assertEqual(engine("run", "--rm", "-i", "--pull", "never", self.image("ds"), input="import iniconfig; print(iniconfig.__name__)"), "iniconfig")

    def test_version_in_image_is_replaced_and_a_registry_gets_no_other_in_front(self) -> None:
        self.ok("create", "a", "3.13", "--no-build", "--image", "team/python:{version}-slim")
        self.ok("create", "b", "3.13", "--no-build", "--image", "registry.example:5000/python:{version}")
        lines = [(self.folder(name) / "dockerfile").read_text(encoding="utf-8").splitlines() for name in "ab"]
        self.assertIn("FROM ${REPOSITORY}team/python:3.13-slim AS base", lines[0])
        self.assertIn("FROM registry.example:5000/python:3.13 AS base", lines[1])


class ImageTest(SharedEnvironmentCase):
    """What is in an image, whether it was built or came from an install."""

    @classmethod
    def prepare(cls, case: Case) -> None:
        case.environ["PYDOCK_USER"] = case.prefix  # no other test has its steps in the builder's cache, nor removes them from there
        case.ok("create", "fresh", PYTHON)
        case.ok("create", "ds", PYTHON)
        case.ok("install", "ds", "six==1.16.0", "tabulate==0.9.0")
        case.ok("create", "built", PYTHON, "--no-build")
        shutil.copy(str(case.folder("ds") / "requirements.txt"), str(case.folder("built")))
        case.ok("build", "built")

    def test_by_hand_after_an_install_it_is_what_the_dockerfile_says(self) -> None:
        fresh, installed = image_config(self.image("fresh")), image_config(self.image("ds"))
        for config in (fresh, installed):
            self.assertEqual(config["Cmd"], ["python3"])
            self.assertFalse(config.get("Entrypoint"))
            self.assertEqual(config["User"], "%d:%d" % (os.getuid(), os.getgid()))
            self.assertTrue(config["WorkingDir"].startswith("/home/"))
        self.assertEqual(sorted(fresh["Env"]), sorted(installed["Env"]))
        self.assertEqual([fresh.get(k) for k in ("WorkingDir", "Volumes", "ExposedPorts")], [installed.get(k) for k in ("WorkingDir", "Volumes", "ExposedPorts")])
        out = engine("run", "--rm", "-i", "--pull", "never", self.image("ds"), input="import os, six, sys; print(os.getuid(), sys.executable, six.__version__)")
        self.assertEqual(out, "%d /opt/venv/bin/python3 1.16.0" % os.getuid())

    def test_scripts_of_packages_work_for_every_program(self) -> None:
        for name in ("ds", "built"):
            with self.subTest(name=name):
                self.assertIn("1  2", self.ok("run", name, "tabulate", input="1 2\n"))
                self.assertIn("1  2", engine("run", "--rm", "-i", "--pull", "never", self.image(name), "tabulate", input="1 2\n"))
                self.assertIn("/opt/venv/", self.ok("run", name, "pip", "--version"))

    def test_no_installer_and_no_cache_of_downloads_is_in_the_image(self) -> None:
        for name in ("ds", "built"):
            with self.subTest(name=name):
                found = engine("run", "--rm", "-u", "0", "--pull", "never", self.image(name), "sh", "-c",
                               "find / -xdev \\( -name uv -o -name .cache -o -path '/cache/*' -o -path '*/cache/pip' -o -name '*.whl' -o -path '/tmp/*' "
                               "-o -path '/run/secrets/*' \\) -not -path /uv -not -path '/proc/*' -not -path '/usr/*'; ls /dev/shm /uv | grep -v :$ || true")
                self.assertEqual(found, "")

    def test_byte_code_is_there(self) -> None:
        for name in ("ds", "built"):
            with self.subTest(name=name):
                found = engine("run", "--rm", "--pull", "never", self.image(name), "sh", "-c", "find /opt/venv -name '*.pyc'").splitlines()
                self.assertTrue(any("-packages/__pycache__/six." in f for f in found) and any("-packages/tabulate/__pycache__/__init__." in f for f in found), found)
                noise = self.run_pydock("run", name, "python", "-v", "-c", "import six").err
                self.assertRegex(noise, r"six\.cpython-\d+\.pyc matches")

    def test_everything_in_the_environment_belongs_to_its_user(self) -> None:
        for name in ("ds", "built"):
            out = engine("run", "--rm", "-u", "0", "--pull", "never", self.image(name), "find", "/opt/venv", "!", "-user", str(os.getuid()))
            self.assertEqual(out, "")

    def test_the_image_describes_itself(self) -> None:
        for name, command, number in (("ds", "install ds six==1.16.0 tabulate==0.9.0", "2"), ("built", "build built", "1")):
            with self.subTest(name=name):
                labels = image_config(self.image(name))["Labels"]
                files = [(self.folder(name) / file).read_bytes() for file in ("dockerfile", "requirements.txt")]
                self.assertEqual([labels["pydock.dockerfile"], labels["pydock.requirements"]], [hashlib.sha256(data).hexdigest() for data in files])
                self.assertEqual((labels["pydock.name"], pydock.unquote(labels["pydock.folder"])), (name, str(self.folder(name))))
                self.assertEqual(pydock.unquote(labels["pydock.packages"]), "six==1.16.0,tabulate==0.9.0")
                self.assertTrue(labels["pydock.python"].startswith(PYTHON + "."))
                self.assertEqual(pydock.unquote(labels["pydock.command"]), command)
                self.assertRegex(labels["pydock.time"], r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
                self.assertIn("%s-%s:%s" % (self.prefix, name, number), self.tags(name))
                inside = [engine("run", "--rm", "--pull", "never", self.image(name), "sh", "-c", "cat /opt/pydock/%s; echo END" % file)
                          for file in ("dockerfile", "requirements.txt")]
                self.assertEqual(inside, [data.decode() + "END" for data in files])

    def test_environments_of_equal_requirements_share_all_layers(self) -> None:
        self.ok("create", "twin", PYTHON, "--no-build")
        shutil.copy(str(self.folder("ds") / "requirements.txt"), str(self.folder("twin")))
        self.ok("build", "twin")
        self.assertEqual(layers(self.image("twin")), layers(self.image("built")))
        common = os.path.commonprefix([layers(self.image("ds")), layers(self.image("built"))])
        self.assertGreater(len(common), len(layers(BASE)) + 1, "the user and the virtual environment are not shared")
        self.assertEqual(layers(self.image("ds"))[:len(layers(self.image("fresh")))], layers(self.image("fresh")))

    def test_the_template_is_short_and_says_how_to_do_without_pydock(self) -> None:
        text = (self.folder("fresh") / "dockerfile").read_text(encoding="utf-8")
        self.assertLess(len(text.splitlines()), 60)
        self.assertIn("docker build -f dockerfile", text)
        self.assertNotIn(str(self.home), text)

    def test_plain_docker_build_makes_the_same_environment(self) -> None:
        tag = self.prefix + "-hand:latest"
        done = subprocess.run([*ENGINE, "build", "-f", "dockerfile", "-t", tag, "."], cwd=str(self.folder("ds")), env=by_hand(),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual(done.returncode, 0, done.stdout)
        found = engine("run", "--rm", "--pull", "never", tag, "sh", "-c", "pip freeze --exclude setuptools --exclude wheel; whoami; id -u")
        self.assertEqual(found + "\n", self.requirements("ds") + "user\n1000\n")
        self.assertEqual(image_config(tag)["Cmd"], ["python3"])
        self.assertIn("1  2", engine("run", "--rm", "-i", "--pull", "never", tag, "tabulate", input="1 2\n"))


class NoBuilderTest(EnvironmentCase):
    """A newer client of docker without buildx has only the builder that docker calls deprecated."""

    def setUp(self) -> None:
        super().setUp()
        if is_podman():
            self.skipTest("podman builds by itself")
        self.environ.pop("PYDOCK_ENGINE", None)

    def without_buildx(self) -> None:
        folder = self.base / "bin"
        folder.mkdir()
        program = folder / "docker"
        program.write_text("""#!/bin/sh
case "$*" in
    buildx*) echo "docker: unknown command: docker buildx" >&2; exit 1 ;;
    *Client.Version*) echo 28.2.2; exit ;;
    build*) echo build >>'%s/built' ;;
esac
exec '%s' "$@"
""" % (self.base, shutil.which("docker")), encoding="utf-8")
        program.chmod(0o755)
        self.environ["PATH"] = str(folder) + os.pathsep + self.environ["PATH"]

    def test_building_is_one_error_and_changes_nothing_and_everything_else_works(self) -> None:
        one, two = [str(make_wheel(self.base / "made", name)) for name in ("pydockone", "pydocktwo")]
        self.ok("create", "ds", PYTHON, one)
        self.ok("create", "stale", "--no-build")
        self.without_buildx()
        before = self.everything()
        for environ in ({}, {"DOCKER_BUILDKIT": "0"}, {"DOCKER_BUILDKIT": "1"}):
            for argv in (["create", "new", PYTHON], ["build", "stale"], ["build", "ds", "--no-cache"], ["run", "stale", "true"], ["-n", "build", "stale"],
                         ["install", "stale", "six"]):
                with self.subTest(argv, **environ):
                    self.fails(*argv, environ=environ, says="this docker cannot build: it has no buildx", hint="docker")
                    self.assertEqual(self.everything(), before)
        self.assertFalse((self.base / "built").exists())
        self.assertEqual(self.ok("run", "ds", "echo", "ran"), "ran\n")
        self.ok("install", "ds", two)
        self.assert_clean("ds")

    def test_config_says_so_beside_everything_that_is_there(self) -> None:
        version = json.loads(self.ok("config", "--json"))["engine"]
        self.without_buildx()
        result = self.run_pydock("config", "--json")
        found = json.loads(result.out)
        self.assertEqual((result.status, found["engine"], [p["problem"] for p in found["problems"]]), (1, version, ["this docker cannot build: it has no buildx"]))
        self.assertTrue(found["compose"])
        self.assertIn("\nhint: ", self.fails("config", says="it has no buildx").err)

    def test_the_hint_works_when_pasted_where_another_client_can_build(self) -> None:
        self.without_buildx()
        line = self.fails("create", "ds", PYTHON).err.splitlines()[-1][len("hint: "):]
        if not line.startswith("pydock "):
            self.skipTest("no other client here: " + line)
        script = 'pydock() { %s "$@"; }\n%s\n' % (pydock.shell_join(self.program), line)
        subprocess.run(["sh", "-ec", script], env=self.environ, cwd=str(self.work), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        self.ok("create", "ds", PYTHON)
        self.assertEqual(self.ok("run", "ds", "echo", "ran"), "ran\n")


class BuildTest(EnvironmentCase):
    def test_build_follows_files_edited_by_hand(self) -> None:
        self.ok("create", "ds", PYTHON)
        (self.folder("ds") / "requirements.txt").write_text("# mine\nsix==1.16.0\n", encoding="utf-8")
        self.assertEqual(self.listed()["ds"]["state"], "stale")
        result = self.run_pydock("run", "ds", "true")
        self.assertEqual(result.status, 0, result)
        self.assertIn("pydock build ds", result.err)
        self.ok("build", "ds")
        self.assertEqual(self.listed()["ds"]["state"], "ready")
        self.assertEqual(self.requirements("ds"), "# mine\nsix==1.16.0\n")
        self.assertEqual(self.ok("run", "ds", "python", "-c", "import six; print(six.__version__)"), "1.16.0\n")
        self.assert_clean("ds")

    def test_a_build_that_changes_nothing_makes_no_new_state(self) -> None:
        self.ok("create", "ds", PYTHON)
        before = self.tags()
        self.assertIn("up to date", self.run_pydock("build", "ds").err)
        self.assertEqual(self.tags(), before)
        self.assert_clean("ds")

    def test_a_failed_build_leaves_the_old_image_in_place(self) -> None:
        self.ok("create", "ds", PYTHON, "six==1.16.0")
        before = self.tags()
        for file, text in (("requirements.txt", "no-such-package-of-pydock\n"), ("dockerfile", "FROM nothing-here-at-all\n"), ("dockerfile", "what is this\n")):
            with self.subTest(text=text):
                path = self.folder("ds") / file
                good = path.read_text(encoding="utf-8")
                path.write_text(text, encoding="utf-8")
                self.fails("build", "ds", says="ds")
                self.assertEqual(path.read_text(encoding="utf-8"), text, "what a person wrote was thrown away")
                self.assertEqual(self.tags(), before)
                self.assertEqual(self.ok("run", "ds", "python", "-c", "import six; print(six.__version__)"), "1.16.0\n")
                path.write_text(good, encoding="utf-8")
        self.assert_clean("ds")

    def test_no_cache_builds_anew_and_pull_is_handed_on(self) -> None:
        self.ok("create", "ds", PYTHON, "six==1.16.0")
        before = layers(self.image("ds"))
        self.ok("build", "--no-cache", "ds")
        self.assertNotEqual(layers(self.image("ds"))[len(layers(BASE))], before[len(layers(BASE))])
        self.assert_agree("ds")
        build = next(line for line in self.ok("-n", "build", "ds", "--pull", "-o", "--cache-from=a", "-o--no-cache").splitlines() if " build -t " in line)
        self.assertIn(" --pull --cache-from=a --no-cache ", build)

    def test_a_moved_project_is_built_again_and_takes_no_image_of_another_folder(self) -> None:
        old = self.project("old")
        self.ok("--local", "create", "dev", PYTHON, "six==1.16.0", cwd=old)
        new = self.base / "new"
        old.rename(new)
        self.fake()
        self.ok("build", "dev", cwd=new)
        self.assertIn("build", {call.split()[0] for call in self.calls()})
        row = json.loads(self.ok("list", "--json", "--local", cwd=new))[0]
        self.assertEqual((row["name"], row["state"]), ("dev", "ready"))
        self.assertEqual(self.ok("run", "dev", "python", "-c", "import six; print(six.__version__)", cwd=new), "1.16.0\n")

    def test_a_fresh_clone_needs_only_run(self) -> None:
        first = self.project("first")
        self.ok("--local", "create", "dev", PYTHON, "six==1.16.0", cwd=first)
        second = self.base / "second"
        shutil.copytree(str(first), str(second))
        (second / ".pydock/envs/dev/requirements.txt").write_text("# %s\nsix==1.16.0\n" % self.prefix, encoding="utf-8")  # so that no image is the same
        self.ok("delete", "dev", "-y", cwd=first)
        self.assertEqual(self.tags(), {})
        result = self.run_pydock("run", "dev", "python", "-c", "import six; print(six.__version__)", cwd=second)
        self.assertEqual((result.status, result.out), (0, "1.16.0\n"), result)
        self.assertEqual(len([line for line in result.err.splitlines() if "build" in line and "dev" in line]), 1, result)


class ListTest(SharedEnvironmentCase):
    @classmethod
    def prepare(cls, case: Case) -> None:
        for name in ("ready", "missing", "stale", "broken"):
            case.ok("create", name, PYTHON, *(["--no-build"] if name in ("missing", "broken") else []))
        with open(str(case.folder("stale") / "dockerfile"), "a", encoding="utf-8") as file:
            file.write("# mine\n")
        (case.folder("broken") / "dockerfile").unlink()
        (case.base / "project").mkdir()
        case.ok("--local", "create", "ready", PYTHON, cwd=case.base / "project")

    def test_states_and_what_json_tells(self) -> None:
        rows = self.listed()
        self.assertEqual({name: row["state"] for name, row in rows.items()}, {"ready": "ready", "missing": "missing", "stale": "stale", "broken": "broken"})
        row = rows["ready"]
        self.assertLessEqual({"name", "mode", "path", "python", "image", "id", "size", "created", "state"}, set(row))
        self.assertEqual((row["mode"], row["path"]), ("global", str(self.folder("ready"))))
        self.assertTrue(row["python"].startswith(PYTHON))
        self.assertIn(row["id"], engine("image", "inspect", "--format", "{{.Id}}", row["image"]))
        self.assertEqual(row["size"], int(engine("image", "inspect", "--format", "{{.Size}}", row["image"])))
        self.assertEqual((rows["missing"]["id"], rows["missing"]["python"]), (None, PYTHON))

    def test_two_engine_calls_whatever_the_number(self) -> None:
        self.fake()
        for argv in (["list"], ["list", "--all", "--json"], ["ls"], ["envs"]):
            with self.subTest(argv=argv):
                counts = []
                for _ in range(5):  # a third is made where somebody else's image vanishes between the two
                    before = len(self.calls())
                    self.ok(*argv)
                    counts.append(len(self.calls()) - before)
                    if counts[-1] <= 2:
                        break
                self.assertLessEqual(counts[-1], 2, counts)

    def test_both_modes_are_shown_and_an_option_chooses_one(self) -> None:
        project = self.base / "project"
        modes = [[row["mode"] for row in json.loads(self.ok("list", "--json", *option, cwd=project)) if row["name"] == "ready"]
                 for option in ([], ["--local"], ["--global"])]
        self.assertEqual(modes, [["local", "global"], ["local"], ["global"]])

    def test_all_finds_the_local_environments_of_other_folders(self) -> None:
        rows = json.loads(self.ok("list", "--all", "--json"))
        local = [row for row in rows if row["path"] == str(self.base / "project/.pydock/envs/ready")]
        self.assertEqual([(row["name"], row["mode"], row["state"]) for row in local], [("ready", "local", "ready")])
        self.assertNotIn(str(self.base / "project"), self.ok("list", "--json"))

    def test_the_table_is_for_eyes_and_pipes(self) -> None:
        lines = self.ok("list").splitlines()
        self.assertEqual([line.split()[0] for line in lines], ["NAME", "broken", "missing", "ready", "stale"])
        again = self.ok("list", environ={"COLUMNS": "20"}).splitlines()
        self.assertEqual([re.sub(r"\d+ s ", "", line) for line in again], [re.sub(r"\d+ s ", "", line) for line in lines], "a pipe has no width")

    def test_the_table_fits_the_terminal(self) -> None:
        folder = self.base / "a-project-with-quite-a-long-name/and-a-folder-below-it-that-makes-it-longer"
        folder.mkdir(parents=True)
        self.ok("--local", "create", "an-environment-with-a-long-name", "--no-build", cwd=folder)
        for columns in (80, 132):
            shown = self.terminal("list", columns=columns, cwd=folder).out.splitlines()
            self.assertEqual([line for line in shown if len(line) > columns], [])
            self.assertTrue(any(line.startswith("an-environment") for line in shown), shown)
            self.assertTrue(any(line.split()[:2] == ["ready", "global"] for line in shown), shown)

    def test_nothing_there_is_said_and_makes_no_folder(self) -> None:
        home = self.base / "empty"
        home.mkdir()
        result = self.run_pydock("list", environ={"HOME": str(home)})
        self.assertEqual((result.status, result.out), (0, ""), result)
        self.assertIn("pydock create", result.err)
        self.assertEqual(self.ok("list", "--json", environ={"HOME": str(home)}), "[]\n")
        self.assertEqual(list(home.iterdir()), [])


class ModeTest(EnvironmentCase):
    def test_one_name_in_two_modes_is_two_environments(self) -> None:
        project = self.project()
        self.ok("create", "dev", PYTHON, cwd=project)
        self.ok("create", "dev", PYTHON, "--local", "six==1.16.0", cwd=project)
        code = ["python", "-c", "import importlib.util; print(bool(importlib.util.find_spec('six')))"]
        self.assertEqual(self.ok("run", "dev", *code, cwd=project), "True\n", "a folder with .pydock is local")
        self.assertEqual(self.ok("run", "--global", "dev", *code, cwd=project), "False\n")
        repositories = {tag.split(":")[0] for tag in self.tags()}
        mark = hashlib.sha256(os.fsencode(str(project / ".pydock/envs/dev"))).hexdigest()[:8]
        self.assertEqual(repositories, {self.prefix + "-dev", "%s-dev__%s" % (self.prefix, mark)})
        self.ok("delete", "dev", "-y", cwd=project)
        self.assertEqual({tag.split(":")[0] for tag in self.tags()}, {self.prefix + "-dev"})
        self.assertTrue(self.folder("dev").exists())

    def test_the_nearest_folder_above_counts_and_reading_creates_nothing(self) -> None:
        project = self.project()
        below = project / "src" / "deep"
        below.mkdir(parents=True)
        self.ok("--local", "list", cwd=project)
        self.assertEqual([p.name for p in project.iterdir()], ["src"])
        self.ok("--local", "create", "dev", "--no-build", cwd=project)
        self.assertEqual([row["name"] for row in json.loads(self.ok("list", "--json", cwd=below))], ["dev"])
        self.ok("create", "two", "--no-build", cwd=below)
        self.assertTrue((project / ".pydock/envs/two/dockerfile").exists())
        self.assertEqual({Path(path).parts[:4] for path in self.snapshot()}, {(".local", "share", "pydock", "trust")})  # of whom the user trusts

    def test_an_option_may_stand_before_or_after_the_command(self) -> None:
        project = self.project()
        self.ok("--local", "create", "a", "--no-build", cwd=project)
        self.ok("create", "--global", "b", "--no-build", cwd=project)
        self.ok("create", "c", "--no-build", "--global", cwd=project)
        self.assertEqual(sorted(p.name for p in (self.home / ".pydock/envs").iterdir()), ["b", "c"])

    def test_a_name_of_the_other_mode_is_told_with_the_line_to_type(self) -> None:
        project = self.project()
        self.ok("create", "far", "--no-build")
        self.ok("--local", "create", "near", "--no-build", cwd=project)
        for command, words in (("build", ["far"]), ("delete", ["-y", "far"]), ("install", ["far", "six"]), ("run", ["far", "true"])):
            with self.subTest(command=command):
                self.fails(command, *words, cwd=project, says="no local environment 'far'", hint="pydock --global %s" % command)
        self.fails("--global", "run", "near", "true", cwd=project, says="no global environment 'near'", hint="pydock --local run")

    def test_the_home_folders_own_is_the_global_one(self) -> None:
        self.ok("create", "a", "--no-build")
        below = self.home / "some" / "folder"
        below.mkdir(parents=True)
        for folder in (self.home, below):
            self.assertEqual([row["mode"] for row in json.loads(self.ok("list", "--json", cwd=folder))], ["global"])
        self.fails("--local", "create", "b", "--no-build", cwd=self.home, says="global")


class DryRunTest(EnvironmentCase):
    def test_nothing_changes_on_disk_or_in_the_engine(self) -> None:
        self.ok("create", "ds", PYTHON, "six==1.16.0")
        self.ok("create", "edited", PYTHON, "--no-build")
        make_wheel(self.work, "alpha")
        before = self.everything()
        self.fake()
        for argv in (["create", "new", PYTHON], ["create", "new", PYTHON, "attrs"], ["create", "new", "--no-build"], ["install", "ds", "attrs"],
                     ["install", "ds", "./alpha-1.0-py3-none-any.whl"], ["install", "edited", "attrs"], ["uninstall", "ds", "six"], ["update", "ds"],
                     ["build", "ds"], ["build", "edited", "--no-cache"], ["run", "ds", "true"], ["run", "edited", "true"], ["delete", "ds"],
                     ["--local", "create", "here", PYTHON]):
            with self.subTest(argv=argv):
                result = self.run_pydock(*argv, "-n") if argv[0] != "run" else self.run_pydock("-n", *argv)
                self.assertEqual(result.status, 0, result)
                self.assertNotEqual(result.out, "")
                self.assertEqual(subprocess.run(["sh", "-n"], input=result.out, text=True).returncode, 0, result)
        self.assertEqual([call for call in self.calls() if not call.startswith(READING)], [])
        self.assertEqual(self.everything(), before)
        self.assertEqual([p.name for p in self.work.iterdir()], ["alpha-1.0-py3-none-any.whl"])

    def paste(self, *argv: str) -> None:
        """What --dry-run shows, pasted into a shell: sh, since bash is a superset."""
        script = self.ok("--dry-run", *argv)
        done = subprocess.run(["sh", "-e"], input=script, cwd=str(self.work), env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual(done.returncode, 0, "%s\n%s" % (script, done.stdout))

    def test_what_it_shows_can_be_pasted_and_pydock_sees_the_result_as_its_own(self) -> None:
        code = "import importlib.util as u; print(*[m for m in ('six', 'iniconfig', 'alpha') if u.find_spec(m)])"

        def check(name: str, modules: str, requirements: str) -> None:
            self.assertEqual(self.listed()[name]["state"], "ready")
            self.assertEqual(self.ok("run", name, "python", "-c", code).strip(), modules)
            self.assertEqual(self.requirements(name), requirements)
            self.assert_clean(name)

        self.paste("create", "bare", PYTHON)
        check("bare", "", "")
        self.paste("create", "ds", PYTHON, "six==1.16.0")
        check("ds", "six", "six==1.16.0\n")
        self.paste("install", "ds", "iniconfig==2.0.0")
        check("ds", "six iniconfig", "iniconfig==2.0.0\nsix==1.16.0\n")
        make_wheel(self.work, "alpha")
        self.paste("install", "ds", "./alpha-1.0-py3-none-any.whl")
        check("ds", "six iniconfig alpha", "./wheels/alpha-1.0-py3-none-any.whl\niniconfig==2.0.0\nsix==1.16.0\n")
        self.paste("uninstall", "ds", "iniconfig")
        check("ds", "six alpha", "./wheels/alpha-1.0-py3-none-any.whl\nsix==1.16.0\n")
        (self.folder("ds") / "requirements.txt").write_text("six==1.15.0\n", encoding="utf-8")
        self.paste("build", "ds")
        check("ds", "six", "six==1.15.0\n")
        self.assertEqual(self.ok("run", "ds", "python", "-c", "import six; print(six.__version__)"), "1.15.0\n")
        script = self.ok("-n", "run", "ds", "echo", "it's  $HOME")
        self.assertEqual(subprocess.run(["sh"], input=script, cwd=str(self.work), env=self.environ, stdout=subprocess.PIPE, text=True).stdout, "it's  $HOME\n")
        self.ok("install", "ds", "tabulate==0.9.0")
        self.paste("delete", "ds")
        self.assertFalse(self.folder("ds").exists())
        self.assertEqual(self.tags("ds"), {})
        self.assertEqual(self.containers(), [])

    def test_what_is_not_built_yet(self) -> None:
        def edit(text: str) -> None:
            (self.folder("ds") / "requirements.txt").write_text(text, encoding="utf-8")

        def check(name: str, lines: List[str], revisions: List[str]) -> None:
            self.assertEqual(self.listed()[name]["state"], "ready")
            self.assertEqual([line.split("==")[0] for line in self.requirements(name).splitlines()], lines)
            self.assertEqual(sorted(tag.split(":")[1] for tag in self.tags(name)), [*revisions, "latest"])

        self.ok("create", "ds", PYTHON, "--no-build")
        edit("six\n")
        self.paste("uninstall", "ds", "six")
        check("ds", [], ["1", "2"])
        edit("six\n")
        self.paste("install", "ds", "iniconfig")
        check("ds", ["iniconfig", "six"], ["1", "2", "3", "4"])
        edit("six  # mine\n")
        self.paste("rollback", "ds", "2")
        check("ds", [], ["1", "2", "3", "4", "5"])
        self.assertEqual((self.folder("ds") / "requirements.txt.orig").read_text(), "six  # mine\n")
        self.ok("create", "other", PYTHON, "--no-build")
        self.paste("clone", "other", "copy")
        check("copy", [], ["1"])

    def test_run_from_home_makes_no_folder(self) -> None:
        project = self.home / "project"
        project.mkdir()
        self.ok("--local", "create", "ds", PYTHON, cwd=project)
        before = sorted(map(str, self.home.rglob("*")))
        self.assertIn("mkdir -p %s/.pydock\n" % self.home, self.ok("-n", "run", "ds", "true", cwd=self.home, environ={"PYDOCK_LOCAL": str(project)}))
        self.assertEqual(sorted(map(str, self.home.rglob("*"))), before)

    def test_verbose_echoes_the_docker_commands_and_quiet_says_nothing(self) -> None:
        result = self.run_pydock("create", "ds", PYTHON, "--verbose")
        echoed = [line for line in result.err.splitlines() if line.startswith("+ ")]
        self.assertTrue(any(" build " in line for line in echoed) and any(" tag " in line for line in echoed), result)
        result = self.run_pydock("-q", "install", "ds", "six")
        self.assertEqual((result.status, result.out, result.err), (0, "", ""), result)


class DeleteTest(EnvironmentCase):
    def test_delete_takes_folder_images_and_containers_and_nothing_else(self) -> None:
        self.ok("create", "ds", PYTHON)
        self.ok("install", "ds", "six==1.16.0")
        self.ok("create", "other", PYTHON)
        mine = self.prefix + "-mine:latest"
        engine("tag", self.image("ds"), mine)
        derived = self.prefix + "-derived:latest"
        engine("build", "-t", derived, "-", input="FROM %s\nLABEL mine=1\n" % self.image("ds"))
        kept = self.prefix + "-kept"
        engine("create", "--name", kept, derived)
        before = {tag: id_ for tag, id_ in self.tags().items() if not tag.startswith(self.prefix + "-ds:")}
        result = self.run_pydock("delete", "ds", "-y")
        self.assertEqual((result.status, result.out), (0, ""), result)
        self.assertFalse(self.folder("ds").exists())
        self.assertEqual(self.tags(), before)
        self.assertEqual(self.containers(), [kept])
        self.assertEqual(engine("run", "--rm", "--pull", "never", mine, "python", "-c", "import six; print(six.__version__)"), "1.16.0")
        self.assertEqual(sorted(p.name for p in (self.home / ".pydock/envs").iterdir()), ["other"])

    def test_all_names_are_checked_before_the_first_goes(self) -> None:
        self.ok("create", "one", "--no-build")
        self.ok("create", "two", "--no-build")
        before = self.everything()
        self.fails("delete", "one", "three", "-y", says="'three'")
        self.fails("delete", "one", "../two", "-y", says="../two")
        self.assertEqual(self.everything(), before)
        self.ok("rm", "one", "two", "one", "-y")
        self.assertEqual([row["name"] for row in json.loads(self.ok("list", "--json"))], [])

    def test_it_asks_on_a_terminal_and_needs_y_without(self) -> None:
        self.ok("create", "ds", "--no-build")
        before = self.everything()
        self.fails("delete", "ds", hint="-y")
        self.fails("delete", "ds", input="y\n", hint="-y")
        for answer in ("n\n", "\n", "\x04"):
            result = self.terminal("delete", "ds", answer=answer)
            self.assertEqual(result.status, 1, result)
            self.assertIn(str(self.folder("ds")), result.out)
            self.assertEqual(self.everything(), before)
        result = self.terminal("delete", "ds", answer="y\n")
        self.assertEqual(result.status, 0, result)
        self.assertFalse(self.folder("ds").exists())

    def test_with_a_program_running_it_refuses_names_it_and_force_stops_it(self) -> None:
        self.ok("create", "ds", PYTHON)
        self.ok("create", "idle", PYTHON)
        process = self.start("run", "ds", "sleep", "4711")
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.wait_for(lambda: [name for name in engine("ps", "--format", "{{.Names}}").split() if self.mine(name)])
        before = self.snapshot(), self.tags()
        self.fails("delete", "idle", "ds", "-y", says="sleep 4711 (container ", hint="--force")
        self.assertEqual((self.snapshot(), self.tags()), before)
        self.assertIsNone(process.poll())
        self.ok("delete", "ds", "-y", "--force")
        self.assertNotEqual(process.wait(timeout=30), 0)
        self.assertEqual((self.tags("ds"), self.containers(), self.folder("ds").exists()), ({}, [], False))
        self.assertTrue(self.folder("idle").exists())

    def test_a_program_on_a_terminal_is_named_without_pydock_s_own_first_process(self) -> None:
        self.ok("create", "ds", PYTHON)
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        process = self.start("run", "ds", "sleep", "4712", stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        self.wait_for(lambda: [name for name in engine("ps", "--format", "{{.Names}}").split() if self.mine(name)])
        self.fails("delete", "ds", "-y", says="a program is running in ds: sleep 4712 (container ")
        self.ok("delete", "ds", "-y", "--force")
        self.assertNotEqual(process.wait(timeout=30), 0)

    def test_a_user_s_own_container_of_the_image_is_not_removed(self) -> None:
        self.ok("create", "ds", PYTHON)
        name = self.prefix + "-my-own"
        engine("create", "--name", name, self.image("ds"))
        before = self.everything()
        self.fails("delete", "ds", "-y", says=name)
        self.assertEqual(self.everything(), before)

    def test_a_person_s_own_file_is_no_rest_of_a_crash(self) -> None:
        self.ok("create", "ds", PYTHON, "--no-build")
        for name in (".env.new", ".env.0123abcd.new"):
            (self.folder("ds") / name).write_text("mine", encoding="utf-8")
        self.ok("build", "ds")
        self.assertEqual([p.name for p in self.folder("ds").iterdir() if p.name.startswith(".")], [".env.new"])

    def test_with_a_projects_last_environment_goes_its_empty_folder_and_nothing_else(self) -> None:
        project = self.project()
        self.ok("--local", "create", "a", "--no-build", cwd=project)
        self.ok("create", "b", "--no-build", cwd=project)
        self.ok("delete", "-y", "a", cwd=project)
        self.assertTrue((project / ".pydock/envs/b").is_dir())
        self.ok("delete", "-y", "b", cwd=project)
        self.assertEqual(list(project.iterdir()), [])
        self.ok("--local", "create", "a", "--no-build", cwd=project)
        (project / ".pydock/pydock.conf").write_text("[pydock]\n")
        self.ok("delete", "-y", "a", cwd=project)
        self.assertEqual(os.listdir(project / ".pydock"), ["pydock.conf"])

    def test_an_environment_without_image_or_dockerfile_can_be_deleted(self) -> None:
        for name in ("a", "b"):
            self.ok("create", name, "--no-build")
        (self.folder("b") / "dockerfile").unlink()
        self.ok("delete", "a", "b", "-y")
        self.assertEqual(list((self.home / ".pydock/envs").iterdir()), [])


class RenameTest(EnvironmentCase):
    def test_files_revisions_labels_and_packages_come_along(self) -> None:
        project = self.project()
        for mode, cwd in (("--global", self.work), ("--local", project)):
            with self.subTest(mode=mode):
                envs = cwd / ".pydock/envs" if mode == "--local" else self.folder("x").parent
                self.ok(mode, "create", "ds", PYTHON, "six", cwd=cwd)
                self.ok(mode, "snapshot", "ds", "paper", cwd=cwd)
                self.ok(mode, "uninstall", "ds", "six", cwd=cwd)
                before = json.loads(self.ok(mode, "history", "ds", "--json", cwd=cwd))
                files = {path.name: path.read_text() for path in (envs / "ds").iterdir()}
                self.ok(mode, "create", "new", "--no-build", cwd=cwd)
                self.fails(mode, "rename", "ds", "new", says="already exists", cwd=cwd)
                self.ok(mode, "delete", "-y", "new", cwd=cwd)
                result = self.run_pydock(mode, "rename", "ds", "new", cwd=cwd)
                self.assertEqual((result.status, result.out), (0, ""), result)
                self.assertRegex(result.err, r"(?m)^renamed ds to new; next: pydock shell .*new\n$")
                after = json.loads(self.ok(mode, "history", "new", "--json", cwd=cwd))
                for row in before + after:
                    row.pop("id")
                self.assertEqual(after, before)
                self.assertEqual({path.name: path.read_text() for path in (envs / "new").iterdir()}, files)
                self.assertEqual([path.name for path in envs.iterdir()], ["new"])
                self.assertEqual([tag for tag in self.tags() if "-ds" in tag], [])
                labels = json.loads(engine("image", "inspect", "--format", "{{json .Config.Labels}}", next(tag for tag in self.tags() if tag.endswith(":paper"))))
                self.assertEqual((labels["pydock.name"], labels["pydock.folder"]), ("new", pydock.quote(os.path.realpath(envs / "new"))))
                self.assertEqual(json.loads(self.ok(mode, "list", "--json", cwd=cwd))[0]["state"], "ready")
                self.ok(mode, "rollback", "new", "paper", cwd=cwd)
                self.ok(mode, "run", "new", "python", "-c", "import six", cwd=cwd)
                self.ok(mode, "delete", "-y", "new", cwd=cwd)
        self.assertEqual((self.tags(), self.containers()), ({}, []))

    def test_what_goes_by_the_old_name_is_told_and_stays(self) -> None:
        self.ok("create", "ds", PYTHON)
        cases = ((["start", "ds"], "is started", "pydock stop ds", ["stop", "ds"]),
                 (["link", "ds", "python"], "is a link to ds", "--remove python", ["link", "--remove", "python"]),
                 (["freeze", "ds"], "is frozen", "pydock unfreeze ds", ["unfreeze", "ds"]))
        for first, says, hint, last in cases:
            with self.subTest(first=first):
                self.ok(*first)
                before = self.everything()
                self.fails("rename", "ds", "new", says=says, hint=hint)
                self.assertEqual(self.everything(), before)
                self.ok(*last)
        shims = self.home / ".local/share/pydock" / (self.prefix + "-ds")
        active = {"PYDOCK_ENV": "ds", "PATH": "%s/bin:%s" % (shims, self.environ["PATH"])}
        self.fails("rename", "ds", "new", says="is activated in this shell", hint="deactivate", environ=active)
        engine("volume", "create", "--label", "com.docker.compose.project=%s-ds" % self.prefix, self.prefix + "-ds_data")
        self.addCleanup(engine, "volume", "rm", self.prefix + "-ds_data", check=False)
        self.fails("rename", "ds", "new", says="_data", hint="pydock clone ds NEW")

    def test_one_that_was_not_built_and_one_that_was_allowed(self) -> None:
        project = self.project()
        self.ok("--local", "create", "dev", "-e", "A=1", "--no-build", cwd=project)
        self.ok("rename", "dev", "work", cwd=project)
        self.assertIn("work is trusted already", self.run_pydock("trust", "work", cwd=project).err)
        (project / ".pydock/envs/work").rename(project / ".pydock/envs/dev")
        self.assertNotIn("is trusted already", self.run_pydock("trust", "dev", cwd=project).err)


class ConfigTest(EnvironmentCase):
    def test_set_keeps_what_a_person_wrote(self) -> None:
        conf = self.home / ".pydock/pydock.conf"
        self.ok("config", "history", "5")
        self.assertEqual(conf.read_text(encoding="utf-8"), "[pydock]\nhistory = 5\n")
        conf.write_text("# about\n[other]\nhistory = 9\n\n[pydock]\n# how many\nhistory: 5\n; the end\n\n[more]\nx = 1\n", encoding="utf-8")
        self.ok("config", "history", "7")
        self.ok("config", "installer", "pip")
        text = conf.read_text(encoding="utf-8")
        self.assertEqual([line for line in text.splitlines() if "installer" not in line and line],
                         ["# about", "[other]", "history = 9", "[pydock]", "# how many", "history = 7", "; the end", "[more]", "x = 1"])
        self.assertEqual((self.ok("config", "history"), self.ok("config", "installer")), ("7\n", "pip\n"))

    def test_one_value_as_json(self) -> None:
        self.assertEqual((self.ok("config", "python", "--json"), self.ok("config", "mounts", "--json")), (json.dumps(PYTHON) + "\n", '""\n'))

    def test_the_last_source_wins_and_is_named(self) -> None:
        project = self.project()
        (project / ".pydock").mkdir()
        self.ok("config", "--global", "history", "3")
        self.ok("config", "--global", "python", "3.12")
        self.ok("config", "--local", "python", "3.13", cwd=project)

        def sources(**environ: str) -> Dict[str, Any]:
            found = self.run_pydock("config", "--json", cwd=project, environ=environ)
            self.assertEqual(found.status, 0, found)
            return dict(json.loads(found.out)["settings"])

        del self.environ["PYDOCK_PYTHON"]
        settings = sources()
        self.assertEqual(settings["history"], {"value": "3", "source": str(self.home / ".pydock/pydock.conf")})
        self.assertEqual(settings["python"], {"value": "3.13", "source": str(project / ".pydock/pydock.conf")})
        self.assertEqual(settings["installer"], {"value": "uv", "source": "default"})
        self.assertEqual(sources(PYDOCK_PYTHON="3.9")["python"], {"value": "3.9", "source": "PYDOCK_PYTHON"})

    def test_a_bad_value_is_one_clear_error_and_changes_nothing(self) -> None:
        for key, value in (("history", "many"), ("history", "0"), ("installer", "conda"), ("python", "latest"), ("user", "A B"), ("prefix", "../x"),
                           ("image", ""), ("repository", "a b"), ("engine", "")):
            with self.subTest(key=key, value=value):
                self.fails("config", key, value, says=key)
        self.fails("config", "histroy", "5", says="histroy", hint="history")
        self.fails("config", "histroy", hint="history")
        self.assertEqual(self.snapshot(), {})
        self.fails("list", environ={"PYDOCK_HISTORY": "many"}, says="PYDOCK_HISTORY")
        (self.home / ".pydock").mkdir()
        for text in ("history = 5\n", "[pydock\n", "[pydock]\nhistory = many\n", "[pydock]\nhistory = 1\nhistory = 2\n", "[pydock]\nengin = docker\n"):
            with self.subTest(text=text):
                (self.home / ".pydock/pydock.conf").write_text(text, encoding="utf-8")
                self.fails("list", says="pydock.conf")

    def test_a_local_file_may_not_choose_the_engine(self) -> None:
        project = self.project()
        (project / ".pydock").mkdir()
        self.fails("config", "engine", "podman", cwd=project, hint="--global")
        (project / ".pydock/pydock.conf").write_text("[pydock]\nengine = touch %s/bad\n" % self.base, encoding="utf-8")
        result = self.run_pydock("list", cwd=project)
        self.assertEqual(result.status, 0, result)
        self.assertIn("engine", result.err)
        self.assertFalse((self.base / "bad").exists())

    def test_everything_that_is_there_is_shown(self) -> None:
        project = self.project()
        self.ok("--local", "create", "dev", "--no-build", cwd=project)
        found = json.loads(self.ok("config", "--json", cwd=project))
        self.assertTrue(found["mode"].startswith("local"))
        self.assertEqual(found["environments"], str(project / ".pydock/envs"))
        version = engine("version", "--format", "{{.Server.Version}}", check=False) or engine("version", "--format", "{{.Client.Version}}")
        self.assertIn(version, found["engine"])
        self.assertTrue(found["builder"] and found["compose"])
        self.assertEqual(set(found["settings"]), set(pydock.SETTINGS))
        self.assertEqual(found["problems"], [])
        text = self.ok("config", cwd=project)
        for word in (version, str(project / ".pydock/envs"), *pydock.SETTINGS):
            self.assertIn(word, text)

    def test_what_is_wrong_is_told_with_the_remedy_and_status_1(self) -> None:
        self.ok("create", "ds", "--no-build")
        (self.folder("ds") / "requirements.txt").unlink()
        result = self.run_pydock("config", "--json")
        self.assertEqual(result.status, 1, result)
        problems = json.loads(result.out)["problems"]
        self.assertTrue(any("requirements.txt" in p["problem"] and p["hint"] for p in problems), problems)
        result = self.run_pydock("config", environ={"PYDOCK_ENGINE": "no-such-engine"})
        self.assertEqual(result.status, 1, result)
        self.assertIn("no-such-engine is not installed", result.err)


class TemplateTest(SharedEnvironmentCase):
    """What `create` starts from where there is a template.dockerfile, the user's own or a project's."""

    def template(self, folder: Path, *changes: str, write: bool = True) -> str:
        """Pydock's own, with each second word in the place of the one before it."""
        text = pydock.render_dockerfile("{image}", "", ["{packages}"], "").replace("${REPOSITORY}{image}", "{image}")
        for old, new in zip(changes[::2], changes[1::2]):
            self.assertIn(old, text)
            text = text.replace(old, new)
        (folder / ".pydock").mkdir(exist_ok=True)
        path = folder / ".pydock" / "template.dockerfile"
        path.write_text(text, encoding="utf-8")
        self.addCleanup(path.unlink, missing_ok=True)
        return str(path)

    def made(self, name: str, *words: str, cwd: Any = None) -> str:
        """The dockerfile that `create` writes; the environment is removed at once."""
        said = self.run_pydock("create", name, *words, "--no-build", cwd=cwd)
        self.assertEqual(said.status, 0, said)
        self.assertIn("template.dockerfile", said.err)
        folder = (Path(cwd) / ".pydock" / "envs" / name) if cwd else self.folder(name)
        text = (folder / "dockerfile").read_text(encoding="utf-8")
        self.ok("delete", "-y", name, cwd=cwd)
        return text

    def test_a_template_like_pydocks_own_gives_the_same(self) -> None:
        self.template(self.home)
        for words, apt in ((["3.13"], []), (["3.13", "--apt", "git"], ["git"])):
            self.assertEqual(self.made("a", *words), pydock.render_dockerfile("python:{version}-slim", "3.13", apt, ""))
        self.assertIn("\nFROM example.org/x:1 AS base\n", self.made("a", "--image", "example.org/x:1"))

    def test_what_it_says_is_built(self) -> None:
        path = self.template(self.home, "USER 0:0\n", "USER 0:0\nENV OF_TEMPLATE={version}-${version}\n")
        self.ok("create", "b", PYTHON)
        self.assertEqual(self.ok("run", "b", "python", "-c", "import os; print(os.environ['OF_TEMPLATE'])"), "%s-\n" % PYTHON)
        self.assertIn("template     %s\n" % path, self.run_pydock("config").out)

    def test_a_line_or_place_that_it_lacks(self) -> None:
        for line in ("ARG USERNAME=user", "ENV VIRTUAL_ENV=/opt/venv PATH=/opt/venv/bin:$PATH", "COPY requirements.txt wheels* /opt/pydock/",
                     "COPY dockerfile /opt/pydock/", "USER $USER_UID:$USER_GID"):
            path = self.template(self.home, line + "\n", "")
            self.fails("create", "c", "--no-build", says="%s lacks the line: %s" % (path, line.partition("=user")[0]))
        self.template(self.home, "{image}", "python:3.11-slim", "{packages}", "git")
        for words, what, line in ((["3.13"], "version", "FROM python:{version}-slim"), (["--image", "x"], "image", "FROM {image}"),
                                  (["--apt", "jq"], "packages", "RUN apt-get update && apt-get install -y {packages}")):
            self.fails("create", "c", "--no-build", *words, says="has no {%s} for what you asked for, as in: %s" % (what, line))
        self.assertIn("created c (Python 3.11)", self.run_pydock("create", "c", "--no-build").err)
        self.ok("delete", "-y", "c")
        Path(self.template(self.home)).write_bytes(b"FROM x\n\xff\n")
        self.fails("create", "c", "--no-build", says="template.dockerfile: line 2 is not UTF-8")

    def test_the_line_of_the_readme_makes_one_for_every_version(self) -> None:
        self.ok("create", "ds", "3.13", "--no-build")
        self.addCleanup((self.home / ".pydock" / "template.dockerfile").unlink)
        line = re.findall(r"(?m)^sed .*", (ROOT / "README.md").read_text(encoding="utf-8"))
        subprocess.run(line[0], shell=True, check=True, env=self.environ)
        self.ok("delete", "-y", "ds")
        self.assertIn("python:3.11-slim", self.made("i", "3.11"))

    def test_one_of_a_project_is_like_any_file_of_others(self) -> None:
        project = self.project()
        self.template(self.home, "USER 0:0\n", "USER 0:0\nENV OF=home\n")
        self.template(project, "USER 0:0\n", "USER 0:0\nENV OF=project\n")
        self.assertIn("OF=home", self.made("d", "--global"))
        self.assertIn("OF=project", self.made("d", cwd=project))
        self.ok("create", "-p", "8000", "--no-build", "d", cwd=project)
        self.assertIn("ENV OF=project", self.run_pydock("trust", "d", cwd=project).err + self.run_pydock("trust", "d", cwd=project).out)
        self.assertIn("trusted d", self.run_pydock("trust", "-y", "d", cwd=project).err)
        for bad in ("../../.netrc", "/dev/zero"):
            path = project / ".pydock" / "template.dockerfile"
            path.unlink()
            path.symlink_to(bad)
            self.fails("create", "f", "--no-build", cwd=project, says="template.dockerfile")
            self.assertEqual(self.run_pydock("config", cwd=project).status, 1)


class WordsTest(EnvironmentCase):
    """Help, mistyped words, exit statuses."""

    def test_no_command_lists_the_commands_grouped(self) -> None:
        out = self.ok()
        for name, (group, *_) in pydock.COMMANDS.items():
            self.assertRegex(out, r"(?m)^  %s\b" % name)
            self.assertRegex(out, r"(?m)^%s$" % group)
        self.assertEqual(self.ok("--help"), out)
        self.assertEqual(self.ok("--version"), "pydock %s\n" % pydock.__version__)

    def test_a_command_without_its_arguments_shows_its_help_and_the_names(self) -> None:
        self.ok("create", "ds", "--no-build")
        for name, (_, usage, *_rest) in pydock.COMMANDS.items():
            if not usage.startswith("NAME"):
                continue
            with self.subTest(command=name):
                result = self.run_pydock(name)
                self.assertEqual((result.status, result.out), (2, "false\n" * (name == "activate")), result)  # for eval
                self.assertIn("pydock %s" % name, result.err)
                if name != "create":
                    self.assertIn("ds", result.err.splitlines()[-1])
        self.assertEqual(sorted(p.name for p in self.home.iterdir()), [".local", ".pydock"])  # the first for the tests' uv

    def test_each_command_has_help_and_those_that_run_docker_a_dry_run(self) -> None:
        dry = "run shell create build install uninstall update start stop delete clone rollback rm".split()
        for name in [*pydock.COMMANDS, *pydock.ALIASES]:
            with self.subTest(name):
                text = self.ok(name, "--help")
                self.assertIn("--verbose", text)
                self.assertEqual("--dry-run" in text, name in dry)
                if name not in dry:
                    for argv in (["-n", name, "x", "y"], [name, "x", "--dry-run"]):
                        self.fails(*argv, status=2, says="does not support --dry-run", hint="it works with run, shell, create,")

    def test_the_nearest_command_and_name_are_suggested(self) -> None:
        self.ok("create", "datascience", "--no-build")
        self.fails("instal", "datascience", "six", status=2, says="unknown command 'instal'", hint="install")
        self.fails("creat", status=2, hint="create")
        self.fails("run", "datascienc", "true", says="no global environment 'datascienc'", hint="datascience")
        self.fails("create", "DataScience", says="DataScience", hint="datascience")
        self.fails("zzzzz", status=2, says="unknown command", hint="--help")

    def test_words_of_other_tools_get_the_right_word(self) -> None:
        for word, right in (("exec", "run"), ("add", "install"), ("remove", "uninstall"), ("env", "list"), ("upgrade", "update"), ("sync", "build"), ("info", "config")):
            with self.subTest(word=word):
                self.fails(word, "ds", status=2, says=word, hint="pydock %s" % right)

    def test_a_mistake_in_the_line_is_status_2_and_changes_nothing(self) -> None:
        self.ok("create", "ds", "--no-build")
        before = self.everything()
        for argv in (["create", "new", "--no-such-option"], ["list", "--no-such-option"], ["build", "ds", "more"], ["install", "ds"], ["uninstall", "ds"],
                     ["run", "ds"], ["shell", "ds", "true"], ["--no-such-option"], ["create", "new", "--imag", "x"], ["list", "ds"], ["delete", "--", "ds"]):
            with self.subTest(argv=argv):
                result = self.run_pydock(*argv)
                self.assertEqual((result.status, result.out), (2, ""), result)
                self.assertIn("pydock", result.err)
        self.assertEqual(self.everything(), before)

    def test_an_engine_that_is_not_there_is_status_127(self) -> None:
        self.ok("create", "ds", "--no-build")
        for argv in (["list"], ["build", "ds"], ["run", "ds", "true"], ["delete", "ds", "-y"], ["create", "new", PYTHON], ["install", "ds", "six"]):
            with self.subTest(argv=argv):
                self.fails(*argv, status=127, says="no-such-engine is not installed", environ={"PYDOCK_ENGINE": "no-such-engine"})
        self.assertEqual([p.name for p in (self.home / ".pydock/envs").iterdir()], ["ds"])

    def test_a_closed_pipe_ends_quietly(self) -> None:
        self.ok("create", "ds", "--no-build")
        for argv in ("list", "--help", "config", "-n create x"):
            done = subprocess.run(["bash", "-c", "set -o pipefail; %s -IS %s %s | true" % (sys.executable, pydock.__file__, argv)], cwd=str(self.work),
                                  env=self.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            self.assertNotIn("Traceback", done.stderr)
            self.assertNotIn("BrokenPipe", done.stderr)


if __name__ == "__main__":
    unittest.main()
