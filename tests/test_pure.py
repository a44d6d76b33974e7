"""What pydock computes, by value: no engine is needed, so that these tests run under every Python in moments.

The programs that pydock hands to containers (the freeze, the first process, the parent of a client whose stdout is a
pipe) run here as processes of their own.
"""
from __future__ import annotations

import ast
import contextlib
import csv
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import unittest
import warnings
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Set, Tuple
from unittest import mock

from support import PYDOCK, STARTER, Terminal, catches, pydock

SOURCE = PYDOCK.read_text(encoding="utf-8")
TREE = ast.parse(SOURCE)


class Folder(unittest.TestCase):
    """A test with a folder of its own, which is the home of a process with few variables."""

    def setUp(self) -> None:
        self.tmp = Path(tempfile.mkdtemp(prefix="pydock-pure-")).resolve()
        self.addCleanup(shutil.rmtree, str(self.tmp))
        self.environ({})

    def environ(self, variables: Dict[str, str]) -> None:
        """From here on the process has these variables, and what a home needs, but no other."""
        patch = mock.patch.dict(os.environ, {"PATH": os.environ["PATH"], "HOME": str(self.tmp), **variables}, clear=True)
        patch.start()
        self.addCleanup(patch.stop)

    def write(self, path: str, text: str) -> Path:
        file = self.tmp / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    @contextlib.contextmanager
    def inside(self, folder: Path) -> Iterator[None]:
        before = os.getcwd()
        os.chdir(str(folder))
        try:
            yield
        finally:
            os.chdir(before)


def sh(script: str, **options: Any) -> bytes:
    """What a shell prints that reads a script."""
    return subprocess.run(["sh"], input=os.fsencode(script), stdout=subprocess.PIPE, check=True, **options).stdout


# ------------------------------------------------------------------------------------------------------------


class WhatDockerGets(unittest.TestCase):
    def build(self, builder: str, values: Sequence[str] = (), stdin: bool = False, **build: Any) -> List[str]:
        return pydock.build_argv(builder, "/h/ds", pydock.Build("pydock-ds:tmp", **{"labels": {}, **build}), values, stdin)

    def test_each_builder_gets_the_dockerfile_in_its_way(self) -> None:
        named = ["build", "-t", "pydock-ds:tmp", "-f", "/h/ds/dockerfile"]
        self.assertEqual(self.build("buildkit"), named + ["/h/ds"])
        self.assertEqual(self.build("podman"), named + ["/h/ds"])
        self.assertEqual(self.build("buildx"), named + ["--load", "/h/ds"])
        self.assertEqual(self.build("buildkit", stdin=True), ["build", "-t", "pydock-ds:tmp", "-f", "-", "/h/ds"])

    def test_a_client_from_20_to_22_builds_by_itself_and_a_newer_one_by_buildx_only(self) -> None:
        for version, buildx, expected in (("20.10.24+dfsg1 20.10.24+dfsg1", None, "buildkit"), ("20.10.24 26.1.5", "v0.8.2", "buildkit"), ("22.06.0-beta.0", None, "buildkit"),
                                          ("23.0.1", "v0.10.2", "buildx"), ("28.2.2", "v0.24.0", "buildx"), ("28.2.2", None, ""), ("19.03.15", None, "")):
            with self.subTest(version, buildx=buildx), mock.patch.object(pydock.Engine, "output", return_value=version), \
                    mock.patch.object(pydock.Engine, "try_output", return_value=buildx), mock.patch("os.access", return_value=False):
                if expected:
                    self.assertEqual(pydock.Engine(["docker"]).builder(), expected)
                else:
                    self.assertRaises(pydock.PydockError, pydock.Engine(["docker"]).builder)

    def test_who_keeps_images_of_environments_back(self) -> None:
        """Only a server from 24 on that a client's buildx from 0.11 on tells so."""
        for versions, buildx, expected in (("20.10.24+dfsg1 20.10.24+dfsg1", None, False), ("20.10.24 26.1.5", "v0.13.1", False), ("26.1.5 20.10.24", "v0.13.1", False), ("23.0.1 23.0.1", "v0.11.2", False),
                                           ("24.0.2 24.0.2", "v0.10.5", False), ("24.0.2 24.0.2", "github.com/docker/buildx v0.11.2 9872040", True), ("26.1.5+dfsg1 26.1.5+dfsg1\n", "github.com/docker/buildx 0.13.1+ds1", True),
                                           ("28.2.2 \n", "v0.24.0", False), ("28.2.2 dev\n", "v0.24.0", False)):
            client = pydock.Engine(["docker"])
            with self.subTest(versions, buildx=buildx), mock.patch.object(client, "output", return_value=versions), mock.patch.object(client, "try_output", return_value=buildx):
                client.builder()
                self.assertEqual(client.holds_policy, expected)

    def remedy(self, present: Sequence[str], program: str = "docker") -> str:
        """Where only these commands and files of the system are there, and the docker on PATH is none of the system's."""
        with mock.patch("shutil.which", lambda name: "/opt/docker" if name == "docker" else name if name in present else None), \
                mock.patch("os.path.exists", lambda path: path in present), mock.patch("os.access", lambda path, mode: path in present), \
                mock.patch.object(pydock.Engine, "try_output", lambda self, *argv: None), \
                mock.patch.object(pydock.Engine, "output", lambda self, *argv: "20.10.24" if "the client of Debian 12" in present else "26.1.5"):
            return pydock.buildx_remedy([*program.split()])

    def test_what_brings_buildx_is_one_line_for_a_shell(self) -> None:
        lines = {
            ("apt-get",): "sudo apt-get install docker-buildx || sudo apt-get install docker.io",
            ("apt-get", "/usr/bin/docker"): "sudo apt-get install docker-buildx || sudo apt-get install docker.io",
            ("apt-get", "/usr/share/doc/docker-ce-cli"): "sudo apt-get install docker-buildx-plugin",
            ("apt-get", "/usr/bin/docker", "the client of Debian 12"): "pydock config --global engine /usr/bin/docker",
            ("dnf",): "sudo dnf install docker-buildx-plugin || sudo dnf install docker-buildx",
            ("pacman",): "sudo pacman -S docker-buildx", ("apk",): "sudo apk add docker-cli-buildx", ("brew",): "brew install docker-buildx"}
        for present, line in lines.items():
            with self.subTest(present):
                self.assertEqual(self.remedy(present), line)
                subprocess.run(["sh", "-n", "-c", line], check=True)
        self.assertEqual(self.remedy(["/usr/bin/docker", "the client of Debian 12"], "sudo docker"), "pydock config --global engine 'sudo /usr/bin/docker'")
        self.assertEqual(self.remedy([]), "https://docs.docker.com/go/buildx/")

    def test_what_brings_compose_is_one_line_for_a_shell(self) -> None:
        download = "sudo curl -fsSL --create-dirs -o /usr/local/lib/docker/cli-plugins/docker-compose https://github.com/docker/compose/releases/latest/download/"
        for release, present, line in (
                ('ID=debian\nVERSION_ID="13"', ["apt-get"], "sudo apt-get install docker-compose"),
                ('ID=debian\nVERSION_ID="12"', ["apt-get"], download),
                ('ID=debian\nVERSION_ID="12"', ["apt-get", "/usr/share/doc/docker-ce-cli"], "sudo apt-get install docker-compose-plugin"),
                ('ID=linuxmint\nID_LIKE="ubuntu debian"', ["apt-get"], "sudo apt-get install docker-compose-v2"),
                ("ID=alpine", ["apk"], "sudo apk add docker-cli-compose"), ("", [], download)):
            with self.subTest(release, present=present), mock.patch.object(pydock, "host_file", return_value=release), \
                    mock.patch("shutil.which", lambda name, there=present: name if name in there else None), \
                    mock.patch("os.path.exists", lambda path, there=present: path in there):
                found = pydock.compose_remedy(pydock.Engine(["docker"]))
                self.assertEqual(found[:len(line)], line)
                subprocess.run(["sh", "-n", "-c", found], check=True)

    def test_build_options_stand_before_the_folder(self) -> None:
        got = self.build("buildkit", ["USER_UID=7", "HTTP_PROXY"], labels={"pydock.name": "ds"}, options=["--no-cache", "--pull"])
        self.assertEqual(got[5:], ["--no-cache", "--pull", "--build-arg", "USER_UID=7", "--build-arg", "HTTP_PROXY", "--label", "pydock.name=ds", "/h/ds"])

    def test_a_change_is_made_by_root_with_no_variable_and_no_pull(self) -> None:
        got = pydock.temporary_argv("c", "img", {"User": "1000:1000"}, ["sh", "-s"], ["-w", "/x"])
        self.assertEqual(got, ["run", "-i", "--name", "c", "--pull", "never", "-u", "0:0", "-w", "/x", "img", "sh", "-s"])
        self.assertFalse({"-e", "--env", "--rm"} & set(got))

    def test_what_the_client_would_set_is_taken_away(self) -> None:
        with mock.patch.object(pydock, "client_proxies", lambda: {"HTTP_PROXY": "x", "no_proxy": "y"}):
            self.assertIn("-e HTTP_PROXY= -e no_proxy= ", " ".join(pydock.temporary_argv("c", "img", {}, ["sh"])))
            self.assertEqual(pydock.create_argv("c", "img"), ["create", "--name", "c", "--pull", "never", "-e", "HTTP_PROXY=", "-e", "no_proxy=", "img"])

    def test_an_entrypoint_is_set_aside_only_where_there_is_one(self) -> None:
        self.assertEqual(pydock.temporary_argv("c", "img", {"Entrypoint": ["/tini", "--"]}, ["sh", "-s", "x"])[-5:], ["--entrypoint", "sh", "img", "-s", "x"])
        self.assertNotIn("--entrypoint", pydock.temporary_argv("c", "img", {"Entrypoint": None}, ["sh"]))

    def test_what_an_installer_is_given_is_read_only(self) -> None:
        got = pydock.install_options("cache", [("/h/a b.whl", "/dev/shm/src/0/a b.whl")])
        self.assertEqual(got, ["-w", "/opt/pydock", "-v", "cache:/cache", "--mount", "type=bind,source=/h/a b.whl,target=/dev/shm/src/0/a b.whl,readonly"])

    def test_a_commit_puts_back_what_the_image_was(self) -> None:
        config = {"Cmd": ["jupyter", "lab"], "User": "1000:1000", "WorkingDir": "/home/ada", "Entrypoint": ["/tini", "--"]}
        got = pydock.commit_argv("c", "img:1", config, {"pydock.name": "ds"}, ["HTTP_PROXY"])
        self.assertEqual((got[0], got[-2:]), ("commit", ["c", "img:1"]))
        self.assertEqual(set(got[1:-2:2]), {"--change"})
        self.assertEqual(got[2:-2:2], ['CMD ["jupyter", "lab"]', "USER 1000:1000", "WORKDIR /home/ada", 'ENTRYPOINT ["/tini", "--"]', "ENV HTTP_PROXY=",
                                       "LABEL pydock.name=ds"])

    def test_a_commit_of_a_bare_image_still_starts_python(self) -> None:
        got = pydock.commit_argv("c", "img:1", {}, {"a": "b"})
        self.assertEqual(got[2:-2:2], ['CMD ["python3"]', "USER 0", "WORKDIR /", "LABEL a=b"])

    def test_labels_are_one_line_that_holds_any_value(self) -> None:
        self.assertEqual(pydock.label_words({"a": pydock.quote("x y\n'$`\"\\"), "b": "c"}), "LABEL a=x%20y%0A%27%24%60%22%5C b=c")
        script = pydock.shell_join(["--change", pydock.label_words({"a": "b", "c": pydock.Shell("$found")})])
        self.assertEqual(script, '--change "LABEL a=b c=$found"')  # in the script of --dry-run

    def container(self, **changes: Any) -> Any:
        container = pydock.Container("c", "img", changes.pop("hostname", "ds"), changes.pop("user", "7:8"))
        container.folder = "/home/u/p"
        for key, value in changes.items():
            self.assertTrue(hasattr(container, key), key)
            setattr(container, key, value)
        return container

    def run_argv(self, command: Sequence[str] = ("ls", "-l"), tty: bool = False, **changes: Any) -> List[str]:
        given = {"mounts": [pydock.Mount("/h/p", "/home/u/p", False)], **changes}
        return list(self.container(**given).run_argv(pydock.Program(command, [], True, tty)))

    def test_run(self) -> None:
        self.assertEqual(self.run_argv(), ["run", "--rm", "-i", "--init", "--name", "c", "--pull", "never", "--hostname", "ds", "-u", "7:8",
                                           "--security-opt", "no-new-privileges", "--mount", "type=bind,source=/h/p,target=/home/u/p", "-w", "/home/u/p", "img", "ls", "-l"])

    def test_run_at_a_terminal_has_one(self) -> None:
        self.assertIn("-t", self.run_argv(tty=True))
        self.assertNotIn("-t", self.run_argv())

    def test_without_an_init_of_the_engine_pydock_brings_one(self) -> None:
        for got in (self.run_argv(helper=True, init=False), self.run_argv(helper=True, tty=True)):
            self.assertNotIn("--init", got)
            self.assertEqual(got[got.index("img") + 1:], ["/run/pydock", "init", "ls", "-l"])

    def test_what_a_script_runs_is_the_users_words_alone(self) -> None:
        got = self.run_argv(tty=True)
        self.assertIn("--init", got)
        self.assertEqual(got[got.index("img") + 1:], ["ls", "-l"])
        self.assertEqual(self.container().exec_argv(pydock.Program(["ls"], [], True, False), "")[-2:], ["c", "ls"])

    def test_where_the_dockerfile_says_who_the_user_is_nobody_else_does(self) -> None:
        self.assertNotIn("-u", self.run_argv(user=""))

    def test_the_callers_groups_go_along(self) -> None:
        self.assertIn("--hostname ds --group-add 9 --group-add 10 -u 7:8 ", " ".join(self.run_argv(groups=[9, 10])))
        self.assertIn("--hostname ds --userns keep-id --group-add keep-groups -u 7:8 ", " ".join(self.run_argv(groups=[9], keep_id=True)))

    def test_nobody_becomes_more_than_the_user_is_unless_root_is_asked_for(self) -> None:
        self.assertIn("--security-opt no-new-privileges=false ", " ".join(self.run_argv(root=True)))
        for root in (False, True):
            self.assertEqual(self.container(root=root).service()["security_opt"], ["no-new-privileges:%s" % ("false" if root else "true")])

    def test_start(self) -> None:
        got = self.container(labels={"a": "b"}).start_argv(pydock.WAIT, False)
        self.assertEqual((got[:6], got[-3:]), (["run", "-d", "--init", "--label", "a=b", "--name"], ["img", "/bin/sleep", "infinity"]))
        got = self.container(init=False).start_argv(pydock.idle_argv("7", "c", 60), True)
        self.assertEqual(got[:4], ["run", "-d", "--rm", "--name"])
        self.assertEqual(got[got.index("img") + 1:], ["/run/pydock", "init", "/run/pydock", "idle", "7", "c", "60"])

    def test_exec(self) -> None:
        self.assertEqual(self.container().exec_argv(pydock.Program(["ls", ""], ["-e", "A=1"], True, False), "m"),
                         ["exec", "-i", "-u", "7:8", "-w", "/home/u/p", "-e", "A=1", "c", "/run/pydock", "exec", "c.m", "ls", ""])
        self.assertEqual(self.container().exec_argv(pydock.Program(["ls"], [], False, True), "m")[:4], ["exec", "-t", *pydock.DETACH_KEYS])

    def test_the_users_own_options_come_last_and_so_win(self) -> None:
        got = self.run_argv(options=["-w", "/elsewhere", "--network", "none"])
        self.assertEqual(got[got.index("img") - 4:got.index("img")], ["-w", "/elsewhere", "--network", "none"])

    def test_arguments_of_a_program_stay_byte_for_byte(self) -> None:
        words = ["p", "", " a  b ", "'", '"', "$HOME", "*", "--rm", "-n", "\n", "\udcff", "é", "--", "\\"]
        self.assertEqual(self.run_argv(command=words)[-len(words):], words)

    def test_shared_memory_has_a_size_unless_the_user_says_otherwise(self) -> None:
        self.assertIn("--shm-size 2g -w ", " ".join(self.run_argv(shm_size="2g")))
        got = self.run_argv(shm_size="2g", options=["--shm-size=1g"])
        self.assertLess(got.index("--shm-size"), got.index("--shm-size=1g"), "docker takes the last one")
        self.assertNotIn("--shm-size", self.run_argv(shm_size="2g", options=["--ipc=host"]), "podman refuses both")
        self.assertNotIn("shm_size", self.container(shm_size="2g").service(), "only where the file says nothing")

    def test_a_long_name_is_still_a_hostname(self) -> None:
        self.assertIn("a" * 63, self.run_argv(hostname="a" * 64))

    def test_a_port_opens_on_this_host_only_unless_an_address_is_given(self) -> None:
        for given, expected in {"8888": "127.0.0.1:8888:8888", "8080:80": "127.0.0.1:8080:80", "0.0.0.0:80:80": "0.0.0.0:80:80", "53/udp": "127.0.0.1:53:53/udp",
                                "5353:53/udp": "127.0.0.1:5353:53/udp", "[::1]:80:80": "[::1]:80:80", "127.0.0.1::80": "127.0.0.1::80"}.items():
            self.assertEqual(pydock.publish_value(given), expected)

    def test_any_folder_can_be_mounted(self) -> None:
        for folder in ("/a", "/a b", "/a,b", '/a"b', '/"', "/a,target=/etc,readonly", "/a'b", "/a:b", "/a=b", "/a\nb", "/é", "/a\\b", "/,"):
            value = pydock.mount_value(folder, "/in" + folder)
            fields = next(csv.reader(io.StringIO(value, newline="")))  # as the engine reads it
            self.assertEqual(fields, ["type=bind", "source=" + folder, "target=/in" + folder])
        self.assertEqual(pydock.mount_value("/a", "/b", True), "type=bind,source=/a,target=/b,readonly")
        argv = self.run_argv(mounts=[], volumes={"v": "/x,type=bind,source=/,target=/y"})
        self.assertEqual(next(csv.reader([argv[argv.index("--mount") + 1]])), ["type=volume", "source=v", "target=/x,type=bind,source=/,target=/y"])


class WhereTheCurrentFolderIs(unittest.TestCase):
    def mounts(self, folder: str, current: str = "") -> Tuple[List[Tuple[str, str]], str]:
        return pydock.folder_mounts(folder, current or folder, "/home/ada", "/home/user")

    def test_below_the_home_it_keeps_its_path(self) -> None:
        self.assertEqual(self.mounts("/home/ada/a/b"), ([("/home/ada/a/b", "/home/user/a/b"), ("/home/ada/a/b", "/home/ada/a/b")], "/home/user/a/b"))

    def test_the_home_itself_is_the_home(self) -> None:
        self.assertEqual(self.mounts("/home/ada"), ([("/home/ada", "/home/user"), ("/home/ada", "/home/ada")], "/home/user"))

    def test_any_other_is_in_the_home_by_its_name_and_at_its_own_path(self) -> None:
        self.assertEqual(self.mounts("/srv/data"), ([("/srv/data", "/home/user/data"), ("/srv/data", "/srv/data")], "/home/user/data"))
        self.assertEqual(self.mounts("/home/adam/x")[0][0], ("/home/adam/x", "/home/user/x"))  # not below /home/ada

    def test_where_host_and_image_agree_there_is_one_mount(self) -> None:
        self.assertEqual(pydock.folder_mounts("/home/ada/x", "/home/ada/x", "/home/ada", "/home/ada"), ([("/home/ada/x", "/home/ada/x")], "/home/ada/x"))

    def test_what_the_image_needs_is_never_hidden(self) -> None:
        for path in ("/usr", "/usr/local/src", "/etc", "/opt", "/opt/venv", "/opt/venv/lib", "/opt/pydock", "/home", "/tmp", "/var", "/var/lib/x", "/root", "/lib64/x", "/bin"):
            self.assertFalse(pydock.hides_nothing(path), path)
            self.assertNotIn(path, [target for _, target in self.mounts(path)[0]])
        for path in ("/srv/x", "/opt/mine", "/opt/venv2", "/home/bob", "/Users/ada/x", "/data", "/tmp/x", "/root/x", "/var/www"):
            self.assertTrue(pydock.hides_nothing(path), path)

    def test_a_local_environment_mounts_its_project_and_starts_in_the_current_folder(self) -> None:
        self.assertEqual(self.mounts("/srv/p", "/srv/p/src/deep"), ([("/srv/p", "/home/user/p"), ("/srv/p", "/srv/p")], "/home/user/p/src/deep"))
        self.assertEqual(self.mounts("/home/ada/p", "/home/ada/p/src")[1], "/home/user/p/src")

    def test_the_name_of_a_symbolic_link_is_known(self) -> None:
        with tempfile.TemporaryDirectory() as top:
            top = os.path.realpath(top)
            os.makedirs(top + "/real/sub")
            os.symlink("real", top + "/link")
            os.symlink("sub", top + "/real/within")
            for typed, folder, other in (("/link/sub", "/real", "/link"), ("/link/sub", "/real/sub", "/link/sub"), ("/real/within", "/real/sub", "/real/within"),
                                         ("/real/within", "/real", ""), ("/link", "/real/sub", ""), ("/real/sub", "/real/sub", ""), ("/nowhere", "/real", "")):
                with self.subTest(typed=typed, folder=folder), mock.patch.dict(os.environ, {"PWD": top + typed}):
                    self.assertEqual(pydock.other_name(top + folder, top + "/real/sub"), other and top + other)
            for typed in ("", "link", "."):
                with mock.patch.dict(os.environ, {"PWD": typed}):
                    self.assertEqual(pydock.other_name(top + "/real", top + "/real"), "")

    def test_what_code_inside_may_not_change_is_read_only_and_what_is_above_it_cannot_be_renamed(self) -> None:
        mounts = [("/h/ada", "/home/user"), ("/h/ada", "/h/ada")]
        got = pydock.guarded_mounts(mounts, ["/h/ada/.pydock", "/h/ada/.local/share/pydock", "/elsewhere"], False)
        expected = [(source, "/home/user" + source[len("/h/ada"):], readonly) for source, readonly in (
            ("/h/ada", False), ("/h/ada/.pydock", True), ("/h/ada/.local", False), ("/h/ada/.local/share", False), ("/h/ada/.local/share/pydock", True))]
        self.assertEqual(sorted(mount for mount in got if mount.target.startswith("/home")), sorted(expected))
        self.assertEqual(sorted(mount for mount in got if mount.target.startswith("/h/")), sorted((source, source, readonly) for source, _, readonly in expected))
        self.assertLess([mount.target for mount in got].index("/home/user"), [mount.target for mount in got].index("/home/user/.local"))

    def test_nothing_below_what_is_read_only_can_be_written(self) -> None:
        for guarded in (["/p/.pydock", "/p/.pydock/data/pydock"], ["/p/.pydock/data/pydock", "/p/.pydock"]):
            got = pydock.guarded_mounts([("/p", "/home/user/p")], guarded, False)
            self.assertEqual([mount.source for mount in got if not mount.readonly], ["/p"])

    def test_a_folder_within_what_is_guarded_is_read_only(self) -> None:
        self.assertEqual(pydock.guarded_mounts([("/p", "/t")], ["/p/.pydock"], True), [("/p", "/t", True)])

    def test_a_home_that_is_the_root_folder(self) -> None:
        self.assertEqual(pydock.folder_mounts("/data/x", "/data/x", "/", "/home/user")[0][0], ("/data/x", "/home/user/data/x"))


# ------------------------------------------------------------------------------------------------------------


class TheDockerfile(Folder):
    def render(self, image: str = "python:{version}-slim", version: str = "3.12", apt: Sequence[str] = (), user: str = "") -> str:
        return pydock.render_dockerfile(image, version, apt, user)

    def test_no_placeholder_is_left_and_it_fits_one_minute(self) -> None:
        text = self.render(apt=["git"], user="7:ada")
        self.assertFalse(re.search(r"@[A-Z]+@", text))
        self.assertLess(len(text.splitlines()), 70)

    def test_what_environments_have_in_common_comes_first(self) -> None:
        words = [line.split()[0] for line in self.render().splitlines() if re.match(r"[A-Z]+ ", line)]
        self.assertEqual(words, "ARG FROM USER FROM ARG RUN FROM LABEL ARG ARG ARG RUN ENV RUN COPY RUN COPY USER WORKDIR ENTRYPOINT CMD".split())

    def test_the_repository_stands_before_a_base_image_without_a_registry(self) -> None:
        for image, line in {"python:{version}-slim": "${REPOSITORY}python:3.12-slim", "library/python:{version}": "${REPOSITORY}library/python:3.12",
                            "example.org/python:{version}": "example.org/python:3.12", "localhost:5000/x": "localhost:5000/x", "localhost/x": "localhost/x"}.items():
            self.assertIn("\nFROM %s AS base\n" % line, self.render(image))

    def test_system_packages_are_one_line_and_a_comment_where_none_are_wanted(self) -> None:
        self.assertRegex(self.render(apt=["git", "libgomp1"]), r"(?m)^RUN apt-get update && apt-get install -y --no-install-recommends git libgomp1 && ")
        self.assertNotRegex(self.render(), r"(?m)^RUN apt-get")
        self.assertRegex(self.render(), r"(?m)^# RUN apt-get")

    def test_the_file_is_the_same_for_everyone_unless_a_user_is_named(self) -> None:
        self.assertEqual(pydock.open_args(self.render()), ["REPOSITORY", "USERNAME", "USER_UID", "USER_GID", "INSTALLER"])
        text = self.render(user="1234:ada")
        for line in ("ARG USERNAME=ada\n", "ARG USER_UID=1234\n", "ARG USER_GID=1234\n"):
            self.assertIn(line, text)
        self.assertEqual(pydock.open_args(text), ["REPOSITORY", "INSTALLER"])
        self.assertEqual(pydock.open_args(self.render(user="ada")), ["REPOSITORY", "USER_UID", "USER_GID", "INSTALLER"])

    def test_a_user_that_is_called_as_in_the_template_is_named_too(self) -> None:
        self.assertEqual(pydock.open_args(self.render(user="1000:user")), ["REPOSITORY", "INSTALLER"])

    def test_build_args_are_the_callers_for_what_is_open_and_nothing_else(self) -> None:
        self.environ({"PYDOCK_REPOSITORY": "mirror.example/hub", "PYDOCK_USER": "eve", "PYDOCK_INSTALLER": "pip"})
        settings = pydock.Settings(pydock.global_scope())
        self.assertEqual(pydock.build_args(self.render(), settings), {"REPOSITORY": "mirror.example/hub/", "USERNAME": "eve", "USER_UID": str(os.getuid()),
                                                                     "USER_GID": str(os.getgid()), "INSTALLER": "pip"})
        self.assertEqual(pydock.build_args("FROM x\nARG USERNAME=ada\n", settings), {})

    def test_its_base_is_found(self) -> None:
        self.assertEqual(pydock.base_of(self.render()), ("${REPOSITORY}python:3.12-slim", "3.12"))
        self.assertEqual(pydock.base_of("# FROM x\nfrom --platform=linux/arm64 python:3.11.4\n"), ("python:3.11.4", "3.11.4"))
        self.assertEqual(pydock.base_of("FROM debian:12\n"), ("debian:12", ""))
        self.assertEqual(pydock.base_of(""), ("", ""))
        self.assertEqual(pydock.base_of("FROM node:20 AS web\nFROM python:3.11 AS base\nFROM Base AS more\nFROM more\nCOPY --from=web /a /a\n"), ("python:3.11", "3.11"))


class WhatPodmanMayBuild(unittest.TestCase):
    """A dockerfile of others, before the user has allowed it: podman gives this host's files to who asks for a mount."""

    EVIL = "--mount=type=cache,id=../../../home/x,target=/x"
    IMAGES = r"\$\{REPOSITORY\}python:[\d.]+-slim"

    def plain(self, text: str) -> bool:
        return pydock.is_plain(text, self.IMAGES)

    def test_the_template_and_what_people_put_into_it(self) -> None:
        text = pydock.render_dockerfile("python:{version}-slim", "3.11", ["git"], "")
        self.assertTrue(self.plain(text))
        self.assertTrue(self.plain(text.replace("# The virtual", "ENV A=1\nRUN echo --mount=x && \\\n    true\nCOPY --chown=1 x /x\n# The virtual")))

    def test_no_run_has_a_flag_of_its_own_however_it_is_written(self) -> None:
        head = "FROM ${REPOSITORY}python:3.11-slim AS base\nFROM base\n"
        for line in ("RUN %s true", "run\t%s true", "  RUN  %s true", "RUN \\\n %s true", "RU\\\nN %s true", "RUN \\\n# a comment\n\n%s true", "RUN \r%s true",
                     "ONBUILD RUN %s true", "RUN " + pydock.SECRET_MOUNT + "%s true", "RUN " + pydock.CACHE_MOUNTS + "%s true", "RUN \xa0%s true",
                     "RUN --mo" + pydock.CACHE_MOUNTS + "unt=type=cache,id=../x true#%s", "LABEL a=`\nRUN %s true", "ONBUILD \\\nRUN %s true"):
            with self.subTest(line=line):
                self.assertFalse(self.plain(head + line % self.EVIL))
        self.assertFalse(self.plain("# escape=`\n" + head + "RUN `\n%s true" % self.EVIL))
        self.assertFalse(self.plain(head + "RUN --security=insecure true"))

    def test_what_a_reader_may_pass_over_hides_nothing(self) -> None:
        for text in ("\ufeffFROM evil\n", "\ufeff" + self.IMAGES, "FROM ${REPOSITORY}python:3.11-slim\n\0RUN true\n", "RUN true\n", ""):
            with self.subTest(text=text):
                self.assertFalse(self.plain(text))

    def test_it_starts_from_the_users_own_images(self) -> None:
        for line in ("FROM evil/python:3.11-slim", "FROM ${REPOSITORY}python:3.11-slim-evil", "FROM $X", "FROM --platform=x ${REPOSITORY}python:3.11-slim",
                     "FROM \\\n evil", "FROM ${REPOSITORY}python:3.11-slim AS evil\nFROM evil2", "FROM"):
            with self.subTest(line=line):
                self.assertFalse(self.plain(line + "\nRUN true\n"))

    def test_it_copies_from_no_other_image_and_fetches_nothing(self) -> None:
        """What is pulled for a dockerfile is what podman takes for any image whose name ends so, and it fetches as this host."""
        head = "FROM ${REPOSITORY}python:3.11-slim AS base\nFROM base AS more\nCOPY a b\nCOPY --chown=1 --from=base /a AS b\n"
        self.assertTrue(self.plain(head + "copy --from=Base /a /b\nCOPY --from=${REPOSITORY}python:3.11-slim /a /b\n"))
        for line in ("COPY --from=evil/python:3.11-slim /a /b", "copy --chown=1\t--from=pydock-other /a /b", "COPY --fr\\\nom=evil /a /b", "COPY --from=$X /a /b", "COPY --fr\\om=evil /a /b", 'COPY --fr"om=evil" /a /b',
                     "RUN <<E\nFROM base AS evil\nE\nCOPY --from=evil /a /b",
                     "COPY \\\n# a comment\n--from=evil /a /b", "COPY --from=base --from=evil /a /b", "COPY --from=b /a /b", 'COPY --from="evil" /a /b',
                     "COPY --from=later /a /b\nFROM base AS later", "ADD https://evil.example/x.git /x", "add \\\n git@evil.example:x /x", "ADD x.tar /"):
            with self.subTest(line=line):
                self.assertFalse(self.plain(head + line + "\n"))


class WhatOthersCannotChange(Folder):
    """Names of images in a bundle, the definition of an environment, what runs on this host."""

    def bundle(self, **files: object) -> str:
        """The path of an archive with these files, of which a text is taken as it is."""
        with tarfile.open(str(self.tmp / "x.tar"), mode="w") as archive:
            for name, data in {"c.json": "{}", **files}.items():
                text = (data if isinstance(data, str) else json.dumps(data)).encode()
                member = tarfile.TarInfo(name)
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text))
        return str(self.tmp / "x.tar")

    def saved(self, path: str) -> Tuple[List[str], Dict[str, bytes]]:
        with tarfile.open(path, "r:", tarinfo=pydock.strict_members()) as archive:
            return pydock.saved_image(archive, pydock.saved_members(archive))

    def ids(self, path: str) -> List[str]:
        return self.saved(path)[0]

    def test_the_engine_gets_the_names_that_were_looked_at(self) -> None:
        image = {"Config": "c.json", "RepoTags": None, "Layers": ["l/layer.tar"]}
        evil = json.dumps([{**image, "RepoTags": ["victim:latest"]}])
        with tarfile.open(str(self.tmp / "x.tar"), mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name, text, headers in (("c.json", "{}", {}), ("manifest.json", evil, {"path": "a/harmless"}),
                                        ("manifest.json", json.dumps([image]), {}), ("dockerfile", "FROM scratch", {}), ("n/wheels/a-1-py3-none-any.whl", "", {})):
                member = tarfile.TarInfo(name)
                member.size, member.pax_headers = len(text), headers
                archive.addfile(member, io.BytesIO(text.encode()))
        got = io.BytesIO()
        engine, env = mock.Mock(), mock.Mock()
        engine.try_output = lambda *argv: None
        engine.load = lambda path, write: write(got)
        with tarfile.open(str(self.tmp / "x.tar"), "r:", tarinfo=pydock.strict_members()) as archive:
            pydock.load_image(engine, env, archive, pydock.saved_members(archive), "t:1")
        got.seek(0)
        with tarfile.open(fileobj=got) as archive:
            seen = {member.name: member.pax_headers for member in archive}
            self.assertNotIn("RepoTags", json.load(archive.extractfile("manifest.json") or io.BytesIO())[0])
        self.assertFalse(any(seen.values()), "no header that somebody else reads in another way")
        self.assertLessEqual(set(seen), {"c.json", "a/harmless", "manifest.json"})

    def test_a_name_behind_a_name_is_refused(self) -> None:
        with tarfile.open(str(self.tmp / "x.tar"), mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name, headers in (("manifest.json", {}), ("junk", {"GNU.sparse.name": "manifest.json"})):
                member = tarfile.TarInfo(name)
                member.pax_headers = headers
                archive.addfile(member)
        with self.assertRaises(ValueError):
            self.ids(str(self.tmp / "x.tar"))

    def test_a_header_for_all_members_is_refused(self) -> None:
        path = str(self.tmp / "g.tar")
        with tarfile.open(path, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"path": "manifest.json"}) as archive:
            archive.addfile(tarfile.TarInfo("x/a.json"))
        with self.assertRaises(tarfile.ReadError):
            self.ids(path)

    def test_a_bundle_names_no_image_in_whatever_letters(self) -> None:
        image = {"Config": "c.json", "RepoTags": None, "Layers": ["l/layer.tar"]}
        id_, digest = "sha256:" + hashlib.sha256(b"{}").hexdigest(), "sha256:" + "a" * 64
        manifest: Any = {"manifest.json": [image]}
        self.assertEqual(self.ids(self.bundle(**manifest)), [id_])
        listed = {"mediaType": "m", "digest": digest, "size": 1}
        index = {"schemaVersion": 2, "mediaType": "m", "manifests": [listed]}
        self.assertEqual(self.ids(self.bundle(**manifest, **{"index.json": index, "repositories": {}})), [id_, digest])
        twice = json.dumps([image]).replace('"Layers"', '"RepoTags": ["v:1"], "RepoTags": null, "Layers"')
        named = {**listed, "ANNOTATIONS": {"io.containerd.image.name": "v:1"}}
        harmless: Dict[str, Dict[str, Any]] = {
                "in other letters": {"manifest.json": [{**image, "repotags": ["v:1"]}]}, "twice": {"manifest.json": twice},
                "the newer format in other letters": {**manifest, "index.json": {**index, "manifests": [named], "Manifests": [named]}}}
        for title, files in harmless.items():
            with self.subTest(title):
                ids, lists = self.saved(self.bundle(**files))
                self.assertEqual(ids[0], id_)
                self.assertEqual({name: json.loads(text) for name, text in lists.items()},
                                 {"manifest.json": [{"Config": "c.json", "Layers": ["l/layer.tar"]}], **({"index.json": {"schemaVersion": 2, "manifests": [listed]}} if len(ids) > 1 else {})})
        wrong: Dict[str, Dict[str, Any]] = {
                "a name": {"manifest.json": [{**image, "RepoTags": ["v:1"]}]},
                "two images": {"manifest.json": [image, image]}, "none": {"manifest.json": []}, "no manifest": {}, "no list": {"manifest.json": image},
                "no configuration": {"manifest.json": [{**image, "Config": "d.json"}]}, "a list": {"manifest.json": [{**image, "Config": ["c.json"]}]},
                "numbers": {"manifest.json": [1]}, "the old format": {**manifest, "repositories": {"victim": {"1": "l"}}},
                "the newer format": {**manifest, "index.json": {**index, "manifests": [{**listed, "annotations": {"io.containerd.image.name": "v:1"}}]}},
                "two in the newer format": {**manifest, "index.json": {**index, "manifests": [listed, listed]}}}
        for title, files in wrong.items():
            with self.subTest(title), self.assertRaises(ValueError):
                self.ids(self.bundle(**files))

    def test_the_user_of_an_image_is_no_code_of_this_host(self) -> None:
        known = {"container": "c", "engine": "/bin/true", "mark": "m", "user": "x;>%s/PWNED;$(>%s/PWNED)" % (self.tmp, self.tmp), "terminal": "", "remove": ""}
        done = subprocess.run(["/bin/sh", "-c", pydock.parent_sh(known), "pydock", "/bin/sh", "-c", "exit 200"], cwd=str(self.tmp), stdin=subprocess.DEVNULL)
        self.assertEqual((done.returncode, list(self.tmp.glob("PWNED"))), (200, []))

    def test_a_requirements_file_is_no_link_that_leads_out(self) -> None:
        self.write("secret", "the secret")
        (self.tmp / "clone").mkdir()
        os.symlink("../secret", str(self.tmp / "clone" / "r.txt"))
        os.symlink("own.txt", str(self.tmp / "clone" / "inner.txt"))
        self.write("clone/own.txt", "six\n")
        os.chdir(str(self.tmp / "clone"))
        self.addCleanup(os.chdir, "/")
        with self.assertRaisesRegex(pydock.PydockError, "symbolic link to .*secret"):
            pydock.add_file(pydock.Change("install"), "r.txt")
        change = pydock.Change("install")
        pydock.add_file(change, "inner.txt")
        self.assertEqual(list(change.wanted.packages), ["six"])

    def test_links_of_ones_own_are_guarded_where_they_lead(self) -> None:
        self.environ({"HOME": str(self.tmp)})
        for folder in (".pydock", "real/envs", "dots"):
            (self.tmp / folder).mkdir(parents=True)
        os.symlink("../real/envs", str(self.tmp / ".pydock/envs"))
        os.symlink("../dots/pydock.conf", str(self.tmp / ".pydock/pydock.conf"))
        mounts, _ = pydock.place_mounts(pydock.Place(str(self.tmp), str(self.tmp)), "/home/u", pydock.make_folder)
        closed = {mount.source for mount in mounts if mount.readonly}
        self.assertLessEqual({str(self.tmp / path) for path in (".pydock", "real/envs", "dots")}, closed)


class WhatALockIsMadeOf(unittest.TestCase):
    """The base image's digest in the dockerfile; lines and first line of requirements.txt."""

    DIGEST = "sha256:" + "ab" * 32

    def test_the_base_image_is_named_by_its_digest_and_nothing_else_changes(self) -> None:
        for line, image in {"FROM python:3.12-slim": "python:3.12-slim", "FROM ${REPOSITORY}python:3.12-slim": "${REPOSITORY}python:3.12-slim",
                            "from --platform=linux/arm64 localhost:5000/x": "localhost:5000/x", "FROM  python:3.12  AS base": "python:3.12"}.items():
            with self.subTest(line=line):
                text = "# FROM nowhere\nARG REPOSITORY=\nFROM other AS first\n%s\nRUN echo FROM x\nCOPY --from=first /a /a\n"
                self.assertEqual(pydock.pinned(text % line, self.DIGEST), text % line.replace(image, image + "@" + self.DIGEST))

    def test_a_digest_that_stands_there_is_replaced(self) -> None:
        text = "FROM python:3.12-slim@sha256:%s AS x\n"
        self.assertEqual(pydock.pinned(text % "old", self.DIGEST), text % self.DIGEST[len("sha256:"):])

    def test_the_template_is_pinned_in_one_line(self) -> None:
        text = pydock.render_dockerfile("python:{version}-slim", "3.12", [], "")
        pinned = pydock.pinned(text, self.DIGEST)
        self.assertEqual([line for line in pinned.splitlines() if line not in text.splitlines()], ["FROM ${REPOSITORY}python:3.12-slim@%s AS base" % self.DIGEST])
        self.assertEqual(pydock.base_of(pinned), ("${REPOSITORY}python:3.12-slim@" + self.DIGEST, "3.12"))

    def test_the_script_of_a_dry_run_reads_the_same(self) -> None:
        for listing in ("", "a==1,b==2%2Bx"):
            with mock.patch("sys.stdout", io.StringIO()) as script:
                labels = pydock.found_labels(pydock.Shell("$found"))
            setup = "found=$(printf 'pydock-found: 9.9.9 evil==1\\nno end\\npydock-found: 3.12.1 %s\\n')\n" % listing.replace("%", "%%")
            asks = 'printf "%%s|%%s" "%s" "%s"' % (labels["pydock.python"], labels["pydock.packages"])
            self.assertEqual(sh(setup + script.getvalue() + asks).decode(), "3.12.1|" + listing)

    def test_a_file_is_locked_by_its_first_line_as_pip_and_uv_read_it(self) -> None:
        for text, locked in {"--require-hashes\nsix==1\n": True, "--require-hashes": True, "--require-hashes  \n": True, "": False, "six==1 --hash=sha256:aa\n": False,
                             "# --require-hashes\n": False, "\n--require-hashes\n": False}.items():
            self.assertEqual(pydock.is_locked(pydock.read_requirements(text, "r.txt")), locked, text)


# ------------------------------------------------------------------------------------------------------------


class SettingsOfTheHost(Folder):
    """Indexes, proxies, credentials: they reach an installer as they are, and no path of this host does."""

    NASTY = "it's \"$(touch nope)\" `id` $HOME \\ & ; | é #"

    def setUp(self) -> None:
        super().setUp()
        self.bare = pydock.host_settings()  # of this machine's own /etc/pip.conf

    def exported(self) -> Dict[str, str]:
        """The variables of a shell that has read settings_sh(), as an installer would see them."""
        text = pydock.settings_sh(True).replace("/dev/shm/", str(self.tmp) + "/shm-")
        out = sh(text + "exec env -0\n", env={"PATH": os.environ["PATH"]})
        pairs = dict(os.fsdecode(item).split("=", 1) for item in out.split(b"\0") if item)
        return {key: value for key, value in pairs.items() if key not in ("PATH", "PWD", "SHLVL", "_", "OLDPWD")}

    def test_with_nothing_set_nothing_is_said(self) -> None:
        with mock.patch.object(pydock, "pip_conf", dict):
            self.assertEqual(pydock.host_settings(), {})
            self.assertEqual(pydock.settings_sh(True).strip(), "")

    def test_any_value_survives_the_shell(self) -> None:
        self.environ({"PIP_INDEX_URL": "https://u:p'w$x@example.org/simple", "HTTPS_PROXY": "http://proxy:1", "no_proxy": "a,b", "UV_KEYRING_PROVIDER": self.NASTY})
        self.assertEqual(pydock.host_settings()["UV_KEYRING_PROVIDER"], " ".join(self.NASTY.split()))
        expected, got = pydock.host_settings(), self.exported()
        self.assertEqual({key: got.get(key) for key in expected}, expected)

    def test_what_pip_is_told_uv_is_told_too_and_the_other_way_round(self) -> None:
        self.environ({"PIP_INDEX_URL": "https://a/", "PIP_EXTRA_INDEX_URL": "https://b/ https://c/"})
        found = pydock.host_settings()
        self.assertEqual((found["UV_DEFAULT_INDEX"], found["UV_EXTRA_INDEX_URL"]), ("https://a/", "https://b/ https://c/"))
        self.environ({"UV_DEFAULT_INDEX": "https://d/", "PIP_EXTRA_INDEX_URL": "https://pip/", "UV_EXTRA_INDEX_URL": "https://uv/"})
        found = pydock.host_settings()
        self.assertEqual(found["PIP_INDEX_URL"], "https://d/")
        self.assertEqual((found["PIP_EXTRA_INDEX_URL"], found["UV_EXTRA_INDEX_URL"]), ("https://pip/", "https://uv/"))

    def test_paths_of_this_host_stay_here(self) -> None:
        self.environ({"PIP_FIND_LINKS": "/opt/wheels https://links/ file:///x ./y ~/z", "PIP_CACHE_DIR": "/c", "PIP_TARGET": "t", "UV_CACHE_DIR": "/u",
                      "UV_PYTHON": "3.9", "UV_PROJECT_ENVIRONMENT": "e", "PIP_REQUIRE_VIRTUALENV": "1", "PIP_USER": "1"})
        self.assertEqual(pydock.host_settings(), {**self.bare, "PIP_FIND_LINKS": "https://links/", "UV_FIND_LINKS": "https://links/"})
        self.environ({"PIP_FIND_LINKS": "/opt/wheels"})
        self.assertNotIn("PIP_FIND_LINKS", pydock.host_settings())

    def test_variables_that_are_none_of_an_installers_stay_here(self) -> None:
        self.environ({"AWS_SECRET_ACCESS_KEY": "x", "PYTHONPATH": "/p", "MY_PIP_INDEX_URL": "y"})
        self.assertEqual(pydock.host_settings(), self.bare)

    def test_pip_conf_counts_and_a_variable_counts_more(self) -> None:
        self.write(".config/pip/pip.conf", "[global]\nindex-url = https://conf/\ntimeout = 9\nextra-index-url =\n    https://one/\n    https://two/\n[install]\npre = true\n")
        found = pydock.host_settings()
        self.assertEqual((found["PIP_INDEX_URL"], found["PIP_TIMEOUT"], found["PIP_EXTRA_INDEX_URL"], found["PIP_PRE"]),
                         ("https://conf/", "9", "https://one/ https://two/", "true"))
        self.environ({"PIP_INDEX_URL": "https://variable/"})
        self.assertEqual(pydock.host_settings()["PIP_INDEX_URL"], "https://variable/")
        self.environ({"PIP_CONFIG_FILE": os.devnull})
        self.assertNotIn("PIP_INDEX_URL", pydock.host_settings())
        self.environ({"PIP_CONFIG_FILE": str(self.write("mine.conf", "[global]\nindex-url = https://named/\n"))})
        self.assertEqual(pydock.host_settings()["PIP_INDEX_URL"], "https://named/")

    def test_the_host_s_uv_toml_is_handed_over_as_it_is(self) -> None:
        self.write(".config/uv/uv.toml", "[[index]]\nurl = \"https://it's/\"\n")
        with open(self.exported()["UV_CONFIG_FILE"], encoding="utf-8") as file:
            self.assertEqual(file.read(), "[[index]]\nurl = \"https://it's/\"\n")
        self.environ({"UV_CONFIG_FILE": str(self.write("other.toml", "offline = true\n"))})
        self.assertIn("offline = true", pydock.settings_sh(True))

    def test_constraints_are_handed_over_by_content(self) -> None:
        self.write(".config/pip/pip.conf", "[global]\nconstraint = %s https://h/c.txt\n" % self.write("c.txt", "six<2"))
        self.environ({"UV_CONSTRAINT": str(self.write("d.txt", "alpha<3\n")), "UV_OVERRIDE": (self.write("o.txt", "beta==1\n")).as_uri()})
        got = self.exported()
        self.assertEqual(Path(got["PIP_CONSTRAINT"]).read_text(encoding="utf-8").split("\n")[:3], ["six<2", "-c https://h/c.txt", "alpha<3"])
        self.assertEqual((got["UV_CONSTRAINT"], Path(got["UV_OVERRIDE"]).read_text(encoding="utf-8").strip()), (got["PIP_CONSTRAINT"], "beta==1"))
        self.environ({"UV_CONSTRAINT": str(self.tmp / "none")})
        with self.assertRaisesRegex(pydock.PydockError, "^UV_CONSTRAINT names %s, which cannot be read$" % (self.tmp / "none")):
            pydock.settings_sh(True)
        (self.tmp / "c.txt").unlink()
        self.environ({})
        with self.assertRaisesRegex(pydock.PydockError, "^constraint of pip.conf names "):
            pydock.settings_sh(True)

    def test_a_certificate_in_any_encoding(self) -> None:
        (self.tmp / "ca.pem").write_bytes(b"# Autorit\xe9\n")
        self.environ({"PIP_CERT": str(self.tmp / "ca.pem")})
        self.assertEqual(pydock.host_file(str(self.tmp / "ca.pem")).encode(errors="surrogateescape"), b"# Autorit\xe9\n")

    def test_an_address_of_this_host_is_told(self) -> None:
        for text, address in (("PIP_INDEX_URL=http://localhost:3141/simple", "localhost:3141"), ("'http://u:p@127.0.0.1'", "127.0.0.1"), ("-i http://[::1]:80/\n", "[::1]:80"),
                              ("NO_PROXY=localhost,127.0.0.1", ""), ("https://localhost.example.org/", ""), ("https://example.org/localhost", "")):
            found = re.search(pydock.LOCALHOST, text)
            self.assertEqual(found.group(1) if found else "", address, text)

    def test_a_broken_pip_conf_is_not_ours_to_report(self) -> None:
        self.write(".config/pip/pip.conf", "no section\n")
        self.assertNotIn("PIP_INDEX_URL", pydock.host_settings())

    def test_places_of_packages_are_parted_as_each_installer_parts_them(self) -> None:
        for variables in ({"PIP_FIND_LINKS": "https://a/ ../w https://b/"}, {"UV_FIND_LINKS": "https://a/,../w,https://b/"}):
            self.environ(variables)
            found = pydock.host_settings()
            self.assertEqual((found["PIP_FIND_LINKS"], found["UV_FIND_LINKS"]), ("https://a/ https://b/", "https://a/,https://b/"), variables)

    def test_a_timeout_of_pip_conf_is_uv_s_too(self) -> None:
        self.write(".config/pip/pip.conf", "[global]\ntimeout = 60\n")
        self.assertEqual(pydock.host_settings()["UV_HTTP_TIMEOUT"], "60")

    def test_the_login_of_a_proxy_without_a_scheme_is_told_to_nobody(self) -> None:
        for login in ("bob:s3cret@", " bob:s3cret@", "bob:s3c/s3cret@", "http://bob:s3c/s3cret@"):
            self.environ({"HTTPS_PROXY": login + "proxy:3128", "PIP_PROXY": login + "proxy:3128", "PIP_INDEX_URL": "https://x/a@b"})
            self.assertIn("s3cret", pydock.settings_sh(True))
            text, proxy = pydock.settings_sh(False), "http://" * login.startswith("http") + "proxy:3128"
            self.assertEqual(("bob:" in text, text.count("=" + proxy), "https://x/a@b" in text), (False, 3, True), text)
            self.assertIn("HTTPS_PROXY=" + proxy, pydock.proxy_values(False))

    def test_a_login_with_blanks_or_without_a_name(self) -> None:
        self.write(".netrc", "machine h login l password p\n")
        with mock.patch("netrc.netrc") as read:  # of Python 3.11 and newer
            read.return_value.authenticators.side_effect = [("l", None, "my word"), ("", "", "token")]
            self.assertEqual(pydock.host_netrc("https://h/ https://g/"), 'machine h login l password "my word"\nmachine g password token\n')

    def test_a_file_of_secrets_is_gone_after_a_failed_write(self) -> None:
        engine = mock.Mock(sudo=True, podman=False, **{"secret.side_effect": str})
        self.environ({"TMPDIR": str(self.tmp)})
        with mock.patch.object(tempfile, "tempdir", str(self.tmp)):
            with pydock.Secret(engine, "login\n") as secret:
                self.assertEqual((Path(secret.path).read_text(encoding="utf-8"), os.stat(secret.path).st_mode & 0o777), ("login\n", 0o600))
            self.assertEqual(os.listdir(str(self.tmp)), [])
            with self.assertRaises(UnicodeEncodeError):
                pydock.Secret(engine, "\ud800")
            self.assertEqual(os.listdir(str(self.tmp)), [])

    def test_certificates_and_netrc_arrive_as_files_whatever_is_in_them(self) -> None:
        word = "p$(exit&|;)>%"  # what the netrc of Python 3.9 can read
        netrc = "machine a.b login l password %s\nmachine other login o password %s\ndefault login d password d\n" % (word, word)
        self.environ({"PIP_CERT": str(self.write("ca.pem", "-----BEGIN-----\nx\n")), "NETRC": str(self.write("my netrc", netrc)), "PIP_INDEX_URL": "https://u@a.b:80/simple"})
        got = self.exported()
        self.assertEqual(Path(got["NETRC"]).read_text(encoding="utf-8"), "machine a.b login l password %s\n" % word)
        for key in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO"):
            self.assertEqual(Path(got[key]).read_text(encoding="utf-8"), "-----BEGIN-----\nx\n")
        self.assertEqual(os.stat(got["NETRC"]).st_mode & 0o077, 0)

    def test_the_home_folders_netrc_is_found(self) -> None:
        self.write(".netrc", "machine h login l password p\n")
        self.assertNotIn("password p", pydock.settings_sh(True))
        self.assertIn("password p", pydock.settings_sh(True, "alpha @ git+https://h/alpha.git"))
        self.assertIn("/dev/shm/netrc", pydock.settings_sh(True, "--index-url http://h:80/"))
        self.assertNotIn("password p", pydock.settings_sh(False, "--index-url http://h:80/"))

    def test_a_broken_netrc_is_said_without_a_word_of_it(self) -> None:
        self.write(".netrc", "machine h login l password p\nsecret secret\n")
        with mock.patch.object(pydock.console, "warn") as warn:
            self.assertNotIn("secret", pydock.settings_sh(True, "https://h/"))
        self.assertIn("netrc; its logins are not used", str(warn.call_args))
        self.assertNotIn("secret", str(warn.call_args))

    def test_what_others_build_gets_no_login(self) -> None:
        self.write(".config/uv/uv.toml", "[[index]]\nurl = \"https://u:secret@h/\"\n")
        self.environ({"PIP_INDEX_URL": "https://u:secret@a/ ", "HTTPS_PROXY": "http://u:secret@p:1", "UV_INDEX_MINE_PASSWORD": "secret", "UV_PUBLISH_PASSWORD": "token", "UV_GITHUB_TOKEN": "token"})
        self.assertNotIn("secret", pydock.settings_sh(False))
        self.assertIn("https://a/", pydock.settings_sh(False))
        self.assertEqual((pydock.settings_sh(True).count("secret") > 3, "token" in pydock.settings_sh(True)), (True, False))

    def test_what_runs_as_root_while_packages_are_installed_can_write_nothing_of_this_host(self) -> None:
        """A package, or a project as it lies there, can have put a link or a start-up file into the environment that it finds then."""
        mounts = pydock.install_options("pydock-cache", [("/home/me/project", "/dev/shm/projects/0/x"), ("/home/me/uv", "/uv")])
        argv = pydock.temporary_argv("c", "i", {}, ["/bin/sh"], mounts)
        self.assertEqual([argv[i + 1] for i, word in enumerate(argv) if word == "-v"], ["pydock-cache:/cache"])
        self.assertEqual([argv[i + 1].endswith(",readonly") for i, word in enumerate(argv) if word == "--mount"], [True, True])

    def test_each_stage_of_a_dockerfile_is_of_a_domain_of_its_own(self) -> None:
        text = "FROM a\nRUN x\n  from --platform=q b  as c\t\nRUN <<E\nfrom d import e\nE\n\u2003FROM f"
        self.assertEqual(pydock.in_domain(text, "D").count("\nARG PYDOCK_DOMAIN_D=1\n"), 2)
        self.assertTrue(pydock.in_domain(text, "D").endswith("FROM f\nARG PYDOCK_DOMAIN_D=1"))
        for hidden in ("FROM a \\\nAS b\n", "FR\\\nOM a\n", "FR\\\n# c\nOM a\n", "# escape=`\nFROM `\n a\n", "\ufeffFROM a\n", "F\\\n\nROM a\n",
                       'FROM a\nFROM --platform="linux/amd64${NONE:+ }" b\n', "FROM a\nFROM ${B:-b}${NONE:+\xa0}\n", "FROM a\nRUN <<'E\\'\nE\\\nFR\\\nOM b\n",
                       "FROM a\nRUN \\\nFROM decoy\nFR\\\nOM b\n", '{"syntax": "h/evil"}', "#!x\n"):
            with self.subTest(hidden):
                with self.assertRaises(ValueError):
                    pydock.in_domain(hidden, "D")
        for builder in ("# syntax=h/evil", "#\tSYNTAX = h/evil\r", " //syntax=h/evil\n# syntax=h/more"):
            self.assertEqual(pydock.in_domain(builder + "\n# escape=`\nFROM a\n", "D"), "# escape=`\nFROM a\nARG PYDOCK_DOMAIN_D=1\n")

    def test_a_dockerfile_that_create_wrote_is_known(self) -> None:
        for text in (pydock.render_dockerfile("python:{version}-slim", "3.12", [], ""), pydock.render_dockerfile("h.io/python:{version}", "3.12", ["git", "libpq-dev=1:2~x"], "5:me")):
            self.assertTrue(pydock.is_generated(text))
            self.assertTrue(pydock.is_generated(text.replace("# Packages.", "# Mine.")))
            for old, new in (("USER 0:0\n", "USER 0:0\nRUN true\n"), ("# A Python", "# syntax=h/evil\n# A Python"), ("# A Python", "#Syntax = h/evil\n# A Python"), ("# A Python", "//syntax=h/evil\n# A Python"),
                             ("# A Python", "#!x\n# A Python"), ("# A Python", "# escape=`\n# A Python"), ("ARG USERNAME=", "ARG USERNAME=$(x)"), ("ENTRYPOINT []", "ENTRYPOINT [\"x\"]"),
                             (" AS base\n", " AS base\nONBUILD RUN x\n"), ("# Packages.", "# Packages.\rRUN x"), ("--only-binary", "--index-url http://h --only-binary"), ("USER 0:0", "\ufeffUSER 0:0")):
                self.assertIn(old, text)
                self.assertFalse(pydock.is_generated(text.replace(old, new, 1)), new)
        self.assertFalse(pydock.is_generated(pydock.render_dockerfile("python:3", "", ["git"], "").replace("recommends git", "recommends git;x")))
        text = pydock.render_dockerfile("python:3", "", ["git"], "")
        for step in ("apt-get update; evil #-recommends git && rm -rf x", "apt-get update && evil --no-install-recommends git && rm -rf /var/lib/apt/lists/*",
                     "apt-get update && apt-get install -y --no-install-recommends git && rm -rf $(evil)", "apt-get update && apt-get install -y --no-install-recommends -oX=y && rm -rf /var/lib/apt/lists/*"):
            self.assertFalse(pydock.is_generated(text.replace("LABEL pydock=1\n", "LABEL pydock=1\nRUN %s\n" % step)), step)
        self.assertFalse(pydock.is_generated(""))
        # What would take hours if it were read again from each line.
        for text in ("\n" * (1 << 20), "#\n" * (1 << 19), "#" + " " * (1 << 20), "FROM" + " " * (1 << 20), "FROM a" + " " * (1 << 20) + "b", "FROM " + "a" * (1 << 20) + " b", "RUN apt-get update -recommends a" * (1 << 15)):
            self.assertFalse(pydock.is_generated("FROM a\n" + text))
            try:
                pydock.in_domain("FROM a\n" + text, "D")
            except ValueError:
                pass


class Digest(Folder):
    """What a digest leaves out of an environment that has a project as it lies there."""

    def tree(self, members: Dict[str, Any]) -> Dict[str, str]:
        """Of files by path, and of links, which are given as (target,)."""
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as archive:
            for path, content in members.items():
                member = tarfile.TarInfo("venv/" + path)
                if isinstance(content, tuple):
                    member.type, member.linkname = tarfile.SYMTYPE, content[0]
                member.size = 0 if isinstance(content, tuple) else len(content)
                archive.addfile(member, None if isinstance(content, tuple) else io.BytesIO(content))
        made.seek(0)

        def copy_out(engine: Any, argv: Any, failed: str, take: Any) -> None:
            with tarfile.open(fileobj=made, mode="r|") as archive:
                for member in archive:
                    take(archive, member)

        env = mock.Mock(temporary="t", **{"projects.return_value": {"/a b/p": None}})
        with mock.patch.object(pydock, "copy_out", copy_out), mock.patch.object(pydock, "existing_image"):
            return pydock.tree_of(mock.Mock(), env, "image")

    NOTE = b'{"url": "file:///a%20b/p", "dir_info": {"editable": true}}'

    def test_the_notes_of_the_project_alone(self) -> None:
        members = {"x.dist-info/direct_url.json": self.NOTE, "x.dist-info/METADATA": b"1", "x.dist-info/licenses/L": b"2", "x.pth": b"/a b/p", "x.dist-info2": b"3"}
        self.assertEqual(set(self.tree(members)), {"x.pth", "x.dist-info2"})

    def test_no_package_hides_by_what_it_says(self) -> None:
        mine = {"x.dist-info/direct_url.json": self.NOTE, "x.dist-info/METADATA": b"1"}
        evil: Any
        for evil in ({"evil/y": ("project:/a%20b/p",)}, {"evil/y": ("project:/a b/p",)}, {"evil/direct_url.json": self.NOTE}, {"evil.dist-info/y.json": self.NOTE},
                     {"evil.dist-info/direct_url.json": ("project:/a%20b/p",)}, {"evil.dist-info/direct_url.json": self.NOTE.replace(b"/p", b"/q")},
                     {"evil.dist-info/direct_url.json": b"[" * 60000}, {"evil.dist-info/direct_url.json": self.NOTE + b" " * 70000}):
            with self.subTest(evil):
                self.assertEqual(set(self.tree({**mine, **evil})), set(evil))
        twice = {**mine, "evil.dist-info/direct_url.json": self.NOTE, "evil.dist-info/evil.py": b""}
        self.assertEqual(set(self.tree(twice)), set(twice), "only one is the project's")


class Interrupted(unittest.TestCase):
    def test_a_client_that_was_just_started_is_ended(self) -> None:
        start, pids = subprocess.Popen._execute_child, []  # type: ignore[attr-defined]

        def interrupted(process: Any, *args: Any) -> None:
            start(process, *args)
            pids.append(process.pid)
            raise KeyboardInterrupt

        with mock.patch.object(subprocess.Popen, "_execute_child", interrupted), self.assertRaises(KeyboardInterrupt):
            pydock.Engine(["/bin/sleep"]).start(["60"])
        with self.assertRaises(ProcessLookupError):
            os.kill(pids[0], 0)

    def test_one_whose_words_are_about_to_be_shown_is_ended(self) -> None:
        engine = pydock.Engine(["/bin/sleep"])
        process = engine.start(["60"], err="keep")
        with mock.patch("threading.Thread.start", side_effect=KeyboardInterrupt), self.assertRaises(KeyboardInterrupt):
            engine.relay(process, None)
        self.assertIsNotNone(process.returncode)


class Words(Folder):
    def test_any_bytes_survive_a_label(self) -> None:
        for data in (bytes(range(1, 256)), b"", b"%41", b"/home/x y", "é€\U0001f600".encode(), b"\xff\xfe"):
            text = os.fsdecode(data)
            quoted = pydock.quote(text)
            self.assertEqual(pydock.unquote(quoted), text)
            self.assertRegex(quoted, r"\A[A-Za-z0-9/:=,.\-_+@%]*\Z")

    def test_what_stands_for_no_bytes_is_no_error(self) -> None:
        self.assertEqual((pydock.unquote("a\ud800%41"), pydock.unquote("\udcff%ff")), ("a?A", "?\udcff"))

    def test_names_of_environments(self) -> None:
        for name in ("a", "1", "datascience", "a-b", "a_b", "a.b", "py3.12-x", "a" * 64):
            self.assertEqual(pydock.check_name(name), name)
        for name in ("", ".", "..", "../x", "/abs", "a/b", "A", "A B", "Ünï", "-x", "x-", "a--b", "a..b", "a\n", "a" * 65, "_a", "a b", "ａ", "²"):
            with self.subTest(name=name), self.assertRaises(pydock.PydockError) as raised:
                pydock.check_name(name)
            self.assertTrue(raised.exception.hint)

    def test_a_port_has_an_address_of_this_host(self) -> None:
        for port in (":8080:80", "::80", "1:2:3:4", "x", "70000"):
            with self.subTest(port=port), self.assertRaises(pydock.PydockError):
                pydock.publish_value(port)
        self.assertEqual([pydock.publish_value(port) for port in ("80", "[::1]:80:80", "0.0.0.0::80")], ["127.0.0.1:80:80", "[::1]:80:80", "0.0.0.0::80"])

    def test_a_port_of_a_container_has_it_too(self) -> None:
        hosts = [{"HostIp": "::1", "HostPort": "8000"}, {"HostIp": "127.0.0.1", "HostPort": "8000"}, {"HostPort": "9"}]
        data = {"Name": "/x", "State": {"Running": True, "StartedAt": ""}, "Image": "sha256:0", "NetworkSettings": {"Ports": {"80/tcp": hosts}}}
        self.assertEqual(pydock.Background(data).published(), ["[::1]:8000", "127.0.0.1:8000", "0.0.0.0:9"])

    def test_a_time_zone_that_is_a_path_of_this_host_is_none_inside(self) -> None:
        for zone, link, name in ((":Europe/Berlin", "", "Europe/Berlin"), (":/etc/localtime", "/usr/share/zoneinfo/Asia/Tokyo", "Asia/Tokyo"),
                                 ("", "../usr/share/zoneinfo/Asia/Tokyo", "Asia/Tokyo"), ("", "/var/local", "of the file")):
            self.environ({"TZ": zone})
            with mock.patch("os.path.islink", return_value=bool(link)), mock.patch("os.readlink", return_value=link), mock.patch.object(pydock, "host_file", return_value="of the file\n"):
                self.assertEqual(pydock.host_zone(), name)

    def test_a_shell_whose_package_was_upgraded_is_still_that_shell(self) -> None:
        with mock.patch("os.readlink", return_value="/usr/bin/fish (deleted)"):
            self.assertEqual(pydock.parent_shell(), "fish")

    def test_a_python_that_does_not_fit_is_said_with_what_it_does_not_fit(self) -> None:
        session, change = mock.Mock(settings={"python": "3.12"}, line=["create", "ds", "3.9"]), pydock.Change("install")
        change.pythons = [("a", ">=3.10"), ("b", "<3.14")]
        with mock.patch.object(pydock, "versions_here", return_value=["3.11"]), self.assertRaisesRegex(pydock.PydockError, r"^a needs Python >=3.10, not 3.9$") as raised:
            pydock.fitting_python(session, change, "3.9", True)
        self.assertEqual(raised.exception.hint, "pydock create ds 3.12")

    def test_all_steps_of_a_build_are_done_again_but_the_installer(self) -> None:
        (self.tmp / ".pydock/envs/e").mkdir(parents=True)
        env = pydock.Env(pydock.global_scope(), "e", "x")
        env.write("dockerfile", "from a as base\n  FROM base AS installer\nFROM --platform=x base\nRUN <<E python3\nfrom os import path\nE\n")
        text = pydock.text_to_build(env, pydock.Build("tag", {}, again=True), "", False)
        mark = "ARG PYDOCK_AGAIN=%s\n" % env.id
        self.assertEqual(text, "from a as base\n%s  FROM base AS installer\nFROM --platform=x base\n%sRUN <<E python3\nfrom os import path\nE\n" % (mark, mark))

    def test_a_name_that_is_refused_gets_one_that_would_do(self) -> None:
        for name, better in {"DataScience": "datascience", "my env": "my-env", "-x": "x", "a" * 65: "a" * 64}.items():
            with self.assertRaises(pydock.PydockError) as raised:
                pydock.check_name(name)
            self.assertIn("did you mean '%s'?" % better, raised.exception.hint)
            pydock.check_name(better)

    def test_a_password_is_refused_where_it_would_be_written(self) -> None:
        for text in ("https://u:p@h/simple", "x @ https://token@h/x.whl", "git+https://u:p@h/x.git", "http://:p@h/", "--index-url=https://u:@h/", "git+https://token@h/x"):
            with self.subTest(text=text), self.assertRaises(pydock.PydockError) as raised:
                pydock.no_password(text, "it")
            self.assertIn("netrc", raised.exception.hint)
        for text in ("pandas", "https://h/simple", "https://h:8080/a@b", "git+https://h/x@v1.0", "git+ssh://git@h/x.git", "x @ git+https://h/a/b@main#egg=x", "file:///a@b"):
            pydock.no_password(text, "it")

    def test_sizes_are_short(self) -> None:
        for size, text in {0: "0B", 999: "999B", 1000: "1kB", 1234: "1.23kB", 189_000_000: "189MB", 2_345_000_000: "2.35GB", 999_700: "1MB", 999_900_000: "1GB",
                           1_500_000_000_000: "1.5TB"}.items():
            self.assertEqual(pydock.human_size(size), text)

    def table(self, width: int, lines: Sequence[Sequence[str]], narrow: Sequence[int] = ()) -> List[str]:
        with mock.patch.dict(os.environ, {"COLUMNS": str(width or 20)}), mock.patch("sys.stdout", io.StringIO()) as out:
            out.isatty = lambda: bool(width)  # type: ignore[method-assign]
            pydock.console.table(lines, narrow)
            return out.getvalue().splitlines()

    def test_tables_fit_the_terminal_and_a_pipe_has_all(self) -> None:
        history = [["REVISION", "WHEN", "SIZE", "COMMAND", "PACKAGES"], ["1", "2 h ago", "+22MB", "pydock create ds 3.12", ""],
                   ["2 paper *", "1 h ago", "+103MB", "pydock install ds pandas scikit-learn matplotlib seaborn", "+numpy 2.4.6, +pandas 3.0.1, +six 1.17.0"]]
        self.assertIn("matplotlib seaborn  +numpy 2.4.6, +pandas 3.0.1, +six 1.17.0", self.table(0, history, (2,))[2])
        for width in range(30, 200):
            self.assertLessEqual(max(map(len, self.table(width, history, (2,)))), width)
        narrow = self.table(80, history, (2,))
        self.assertRegex(narrow[2], r"^2 paper \*  1 h ago  pydock install ds pandas.*…  \+numpy 2.4.6, .*…$")
        self.assertEqual(self.table(200, history, (2,)), self.table(0, history, (2,)))
        found = self.table(60, [["NAME", "REASON", "PATH"], ["pydock-ds:1", "old revision", "/home/ana/a/long/path/to/a/project/.pydock/envs/ds"]])
        self.assertRegex(found[1], r"^pydock-ds:1  old revision  ….*/.pydock/envs/ds$")
        self.assertEqual(self.table(80, [["NAME", "PATH"], ["a\x1bb", "/x\ny"]])[1], "a\\x1bb  /x\\ny")

    def test_ages_are_short(self) -> None:
        for seconds, text in {-5: "0 s", 0: "0 s", 59: "59 s", 60: "1 min", 7200: "2 h", 86400 * 3 + 5: "3 d"}.items():
            self.assertEqual(pydock.human_age(seconds), text)

    def test_times_of_the_engine_in_any_zone(self) -> None:
        now = time.time()
        for zone in ("UTC", "America/Los_Angeles", "Asia/Kolkata"):
            with self.subTest(zone=zone), mock.patch.dict(os.environ, {"TZ": zone}):
                time.tzset()
                for ago in (0, 90, 86400 * 200):
                    for offset, shown in ((0, "Z"), (0, "+00:00"), (-8 * 3600, "-08:00"), (19800, "+05:30"), (-12600, "-03:30")):
                        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now - ago + offset))
                        for part in ("", ".1", ".123456789"):
                            age = pydock.age_of(text + part + shown)
                            assert age is not None
                            self.assertLess(abs(age - ago), 5, text + part + shown)
        time.tzset()
        for text in ("", "x", "2026-01-31", "2026-01-31T23:59:59", "2026-13-31T23:59:59Z", "2026-01-31T23:59:59Zz", "0000-01-01T00:00:00Z", "a" * 99):
            self.assertIsNone(pydock.age_of(text), text)
        self.assertEqual(pydock.human_age(None), "?")

    def test_the_script_of_a_dry_run_can_be_pasted(self) -> None:
        words = ["", "a b", "'", '"', "$HOME", "`id`", "\n", "*", "é", "\\", "--"]
        self.assertEqual(sh(pydock.shell_join(["printf", r"%s\0", *words])).decode().split("\0")[:-1], words)
        for text in ("", "x", "x\n", "$HOME `id` \\ '\n", "a\nEND-OF-INPUT\necho hijacked\n"):
            with self.subTest(text=text):
                self.assertEqual(sh(pydock.heredoc(["cat"], text)).decode(), text + ("\n" if text and not text.endswith("\n") else ""))
        target = str(self.tmp / "it's here")
        sh(pydock.heredoc(["cat"], "x\n", target))
        with self.assertRaisesRegex(pydock.PydockError, "NUL"):  # which a shell leaves out, and then sees the end
            pydock.heredoc(["cat"], "# \\\nEND-OF\0-INPUT\nid\n")
        self.assertEqual(Path(target).read_text(encoding="utf-8"), "x\n")


class LocksOfNFS(Folder):
    """Where a folder has no flock, a file in the data folder has it."""

    CODE = """import errno, fcntl, os, stat, sys
sys.path.insert(0, {root!r})
import pydock
real = fcntl.flock
def flock(fd, how):
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        raise OSError(errno.{name}, os.strerror(errno.{name}))
    real(fd, how)
fcntl.flock = flock
with pydock.Lock(sys.argv[2], "ds", wait=sys.argv[1] == "wait") as lock:
    print("held" if lock.held() else "not held", flush=True)
    sys.stdin.readline()
"""

    def start(self, folder: str, name: str, how: str) -> subprocess.Popen[str]:
        code = self.CODE.format(root=str(PYDOCK.parent), name=name)
        (self.tmp / "pydock-test").write_text(code, encoding="utf-8")
        process = subprocess.Popen([sys.executable, str(self.tmp / "pydock-test"), how, str(self.tmp / folder)],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def line(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout
        return process.stdout.readline().strip()

    def test_one_at_a_time(self) -> None:
        (self.tmp / "envs/ds").mkdir(parents=True)
        (self.tmp / "envs/other").mkdir()
        for name in ("EBADF", "ENOLCK", "EOPNOTSUPP", "EINVAL"):
            with self.subTest(name):
                first = self.start("envs/ds", name, "wait")
                self.assertEqual(self.line(first), "held")
                self.assertEqual([self.start("envs/" + env, name, "no").communicate("\n", timeout=20)[0] for env in ("ds", "other")], ["not held\n", "held\n"])
                second = self.start("envs/ds", name, "wait")
                assert second.stderr
                self.assertRegex(second.stderr.readline(), r"^waiting for another pydock command that is changing ds$")
                first.kill()
                self.assertEqual(self.line(second), "held")
                second.communicate("\n", timeout=20)
                self.assertEqual(second.returncode, 0)
        files = list((self.tmp / ".local/share/pydock/locks").iterdir())
        self.assertEqual({file.name for file in files}, {hashlib.sha256(os.fsencode(self.tmp / "envs" / env)).hexdigest() for env in ("ds", "other")})
        self.assertEqual({file.stat().st_mode & 0o777 for file in files}, {0o600})

    def test_it_stays_where_create_and_delete_rename_the_folder(self) -> None:
        (self.tmp / "envs/.ds.new-0123abcd").mkdir(parents=True)
        first = self.start("envs/.ds.new-0123abcd", "EBADF", "wait")
        self.assertEqual(self.line(first), "held")
        (self.tmp / "envs/.ds.new-0123abcd").rename(self.tmp / "envs/ds")
        self.assertEqual(self.start("envs/ds", "EBADF", "no").communicate("\n", timeout=20)[0], "not held\n")

    def test_another_error_is_said(self) -> None:
        (self.tmp / "ds").mkdir()
        for patch in (OSError(5, "Input/output error"), OSError(37, "No locks available")):
            with mock.patch("fcntl.flock", side_effect=patch), self.assertRaisesRegex(pydock.PydockError, "cannot lock .*/ds: " + str(patch.strerror)):
                pydock.Lock(str(self.tmp / "ds"), "ds").take()

    def test_a_look_at_the_lock_gives_it_back(self) -> None:
        (self.tmp / ".pydock/envs/ds").mkdir(parents=True)
        env = pydock.ScriptEnv(pydock.global_scope(), "ds", "pydock")
        self.assertEqual([pydock.is_changing(env), pydock.is_changing(env)], [False, False])

    def test_elsewhere_nothing_is_written(self) -> None:
        (self.tmp / "ds").mkdir()
        with pydock.Lock(str(self.tmp / "ds"), "ds") as lock:
            self.assertTrue(lock.held())
            self.assertFalse(pydock.Lock(str(self.tmp / "ds"), "ds", wait=False).take())
        self.assertFalse((self.tmp / ".local").exists())


class WrittenFiles(Folder):
    def test_a_file_with_a_mode_has_it_from_its_first_moment(self) -> None:
        self.addCleanup(os.umask, os.umask(0))
        path, seen = str(self.tmp / "started"), []
        real = os.open

        def watched(*args: Any, **more: Any) -> int:
            fd = real(*args, **more)
            seen.extend([os.fstat(fd).st_mode & 0o777] * stat.S_ISREG(os.fstat(fd).st_mode))
            return fd

        for mode in (0o600, 0o644, 0o755):
            with mock.patch("os.open", watched):
                pydock.write_file(path, "K=secret", mode)
            self.assertEqual((seen.pop(), seen, os.stat(path).st_mode & 0o777), (mode, [], mode))

    def test_one_without_a_mode_keeps_its_own(self) -> None:
        os.chmod(str(self.write("f", "x")), 0o640)
        pydock.write_file(str(self.tmp / "f"), "y")
        self.assertEqual((os.stat(str(self.tmp / "f")).st_mode & 0o777, (self.tmp / "f").read_text(encoding="utf-8")), (0o640, "y"))

    def test_one_that_many_write_at_once_is_whole_at_any_moment(self) -> None:
        """As the helper is, by the first two commands of a user."""
        path, text, failed, seen = self.tmp / "helper", "x" * 100000, [], set()

        def write() -> None:
            try:
                for _ in range(50):
                    pydock.write_file(str(path), text, 0o755)
            except pydock.PydockError as error:
                failed.append(str(error))

        write()
        writers = [threading.Thread(target=write) for _ in range(4)]
        for writer in writers:
            writer.start()
        while any(writer.is_alive() for writer in writers):
            seen.add(path.read_text(encoding="utf-8"))
        self.assertEqual((failed, seen, os.listdir(self.tmp)), ([], {text}, ["helper"]))

    def test_a_folder_whose_parent_another_makes_at_that_moment_is_made(self) -> None:
        real = os.mkdir

        def taken(path: str, *args: Any, **more: Any) -> None:
            real(path, *args, **more)
            if path == str(self.tmp / "a"):
                raise FileExistsError(17, "File exists")

        with mock.patch("os.mkdir", taken):
            made = pydock.make_folder(str(self.tmp / "a/b/c"))
        self.assertEqual((made, (self.tmp / "a/b/c").is_dir()), ([str(self.tmp / "a/b/c"), str(self.tmp / "a/b")], True))


class SettingsFiles(Folder):
    def changed(self, text: str, key: str = "history", value: str = "7") -> str:
        new = pydock.with_setting(text, key, value)
        self.assertEqual(pydock.parse_conf(new, "x").get(key), value, new)
        return new

    def test_a_line_is_replaced_however_it_is_written(self) -> None:
        for line in ("history = 5", "History=5", "HISTORY : 5", "history=", "  history = 5"):
            self.assertEqual(self.changed("[pydock]\n%s\n; mine\n" % line), "[pydock]\nhistory = 7\n; mine\n")

    def test_all_else_stays_as_it_was_written(self) -> None:
        for before, after in (("", "[pydock]\nhistory = 7\n"), ("[pydock] ; mine\n", "[pydock] ; mine\nhistory = 7\n"), ("[pydock]", "[pydock]\nhistory = 7\n"),
                              ("[a]\nhistory = 1\n", "[a]\nhistory = 1\n[pydock]\nhistory = 7\n"),
                              ("[pydock]\nidle = 3\n[b]\nx = 1\n", "[pydock]\nidle = 3\nhistory = 7\n[b]\nx = 1\n"),
                              ("[pydock]\n# a\x0cb\x85c\nidle = 3\r\n", "[pydock]\n# a\x0cb\x85c\nidle = 3\r\nhistory = 7\n"),
                              (" [pydock]\nhistory = 5\n", " [pydock]\nhistory = 7\n")):
            self.assertEqual(self.changed(before), after)

    def test_a_value_of_several_lines_is_not_made_another_one(self) -> None:
        conf = self.write(".pydock/pydock.conf", "[pydock]\nmounts = /a\n  /b\n")
        with self.assertRaisesRegex(pydock.PydockError, "^cannot replace the mounts in "):
            pydock.set_setting(mock.Mock(scope=pydock.global_scope()), "mounts", "/c")
        self.assertEqual(conf.read_text(encoding="utf-8"), "[pydock]\nmounts = /a\n  /b\n")

    def test_blanks_in_a_value_are_one(self) -> None:
        for value in ("A  B", "A B "):
            pydock.set_setting(mock.Mock(scope=pydock.global_scope()), "pass_env", value)
            self.assertEqual(pydock.read_conf(pydock.global_scope())["pass_env"], "A B")

    def test_one_with_a_byte_order_mark_is_read(self) -> None:
        self.write(".pydock/pydock.conf", "\ufeff[pydock]\nhistory = 5\n")
        self.assertEqual(pydock.read_conf(pydock.global_scope()), {"history": "5"})


class WhereASettingComesFrom(Folder):
    def setUp(self) -> None:
        super().setUp()
        self.project = self.tmp / "project"
        (self.project / ".pydock").mkdir(parents=True)

    def settings(self, mode: str = "local") -> Any:
        with self.inside(self.project):
            return pydock.Settings(pydock.find_scope(mode))

    def conf(self, text: str, local: bool = False) -> None:
        self.write("project/.pydock/pydock.conf" if local else ".pydock/pydock.conf", text)

    def test_a_local_file_overrides_the_global_one_key_by_key_and_a_variable_both(self) -> None:
        self.assertEqual(self.settings()["python"], pydock.SETTINGS["python"][0])
        self.conf("[pydock]\npython = 3.9\nhistory = 3\nuser = ada\n")
        self.conf("[pydock]\npython = 3.10\nhistory = 4\n", local=True)
        self.environ({"PYDOCK_PYTHON": "3.11"})
        found = self.settings()
        self.assertEqual((found["python"], found["history"], found["user"]), ("3.11", "4", "ada"))
        self.assertEqual(found.values["python"][1], "PYDOCK_PYTHON")
        self.assertEqual(found.values["history"][1], str(self.project / ".pydock" / "pydock.conf"))
        self.assertEqual(found.values["prefix"][1], "default")
        self.assertEqual(self.settings("global")["history"], "3")

    def test_a_project_never_chooses_the_engine(self) -> None:
        self.conf("[pydock]\nengine = podman\n")
        self.conf("[pydock]\nengine = ./evil\n", local=True)
        with mock.patch.object(pydock.console, "warn") as warned:
            self.assertEqual(self.settings().engine().program, ["podman"])
        self.assertEqual(warned.call_count, 1)
        self.environ({"PYDOCK_ENGINE": "sudo docker"})
        with mock.patch.object(pydock.console, "warn"):
            self.assertEqual(self.settings().engine().program, ["sudo", "docker"])

    def test_a_project_opens_nothing_of_the_host(self) -> None:
        self.conf("[pydock]\npass_env = API_*\n")
        self.conf("[pydock]\npass_env = *\nmounts = /data\n", local=True)
        with mock.patch.object(pydock.console, "warn") as warned:
            found = self.settings()
        self.assertEqual((found["pass_env"], found["mounts"], warned.call_count), ("API_*", "", 2))
        with self.inside(self.project):
            session = mock.Mock(scope=pydock.find_scope("local"))
            for key, value in (("pass_env", "X"), ("mounts", "/data"), ("engine", "podman")):
                with self.assertRaises(pydock.PydockError) as raised:
                    pydock.set_setting(session, key, value)
                self.assertEqual(raised.exception.hint, "pydock config --global %s %s" % (key, value))

    def test_what_was_set_since_an_activation_in_a_shell_of_no_variables(self) -> None:
        """As of a login on the console, or by `su -`, which has PATH, HOME and the like alone."""
        text = pydock.CHANGED_AWK.replace("@NEVER@", pydock.NEVER_PASSED).replace("@PASS@", "")

        def told(*options: str, **variables: str) -> str:
            environ = {"HOME": "/", "PATH": "/bin", "USER": "ana", **variables}
            return subprocess.run(["awk", *options, text], env=environ, stdout=subprocess.PIPE, text=True, check=True).stdout

        was = told("-v", "snapshot=1")
        self.assertEqual((was, told(_PYDOCK_WAS=was, DEBUG="1"), told(DEBUG="1")), ("- ", " -e DEBUG", ""))

    def test_what_programs_get_of_the_hosts_variables(self) -> None:
        session = mock.Mock(settings={"pass_env": "AWS_*, ?OKEN PATH name"}, engine=mock.Mock(sudo=False))
        environ = {"AWS_KEY": "a\nb", "TOKEN": "t", "XTOKEN": "t", "PATH": "/bin", "name": "n", "SECRET": "s", "AWS_F%%": "() { :; }", "TERM": "vt220", "NO_COLOR": ""}
        with mock.patch.dict(os.environ, environ, clear=True):
            self.assertEqual(pydock.environment_options(session, ["DEBUG", "TOKEN", "HOME", "_PYDOCK_WAS"]),
                             ["-e", "TERM=vt220", "-e", "NO_COLOR=", "-e", "DEBUG", "-e", "TOKEN", "-e", "AWS_KEY"])

    def test_folders_that_are_always_there(self) -> None:
        for name in ("data", "a b", "home/.pydock"):
            (self.tmp / name).mkdir(parents=True)
        (self.tmp / "link").symlink_to("data")
        value = "%s/link '%s/a b' ~ /nowhere" % (self.tmp, self.tmp)
        with mock.patch.object(pydock.console, "warn") as warned:
            self.environ({"HOME": str(self.tmp / "home"), "PYDOCK_MOUNTS": value})
            mounts = pydock.own_mounts(self.settings(), pydock.make_folder)
        self.assertEqual(warned.call_count, 1)
        real = os.path.realpath(str(self.tmp))
        found = {mount.target: (mount.source, mount.readonly) for mount in mounts}
        for source, target, readonly in (("data", "link", False), ("data", "data", False), ("a b", "a b", False), ("home", "home", False), ("home/.pydock", "home/.pydock", True)):
            self.assertEqual(found.get("%s/%s" % (real, target)), ("%s/%s" % (real, source), readonly), target)
        closed = pydock.merge_mounts([pydock.Mount("/a/b", "/a/b", True), pydock.Mount("/x", "/y", False), pydock.Mount("/a", "/a", False), pydock.Mount("/a/b", "/a/b", False), pydock.Mount("/z", "/y", False)])
        self.assertEqual(closed, [pydock.Mount("/z", "/y", False), pydock.Mount("/a", "/a", False), pydock.Mount("/a/b", "/a/b", True)])

    def test_a_bad_value_is_one_error_that_names_its_source(self) -> None:
        for key, value in {"python": "two", "history": "0", "installer": "conda", "prefix": "A B", "user": "A b", "image": "", "repository": "a b", "engine": "'", "pass_env": "A-B",
                           "mounts": "data"}.items():
            with self.subTest(key=key), self.assertRaises(pydock.PydockError) as raised:
                self.environ({"PYDOCK_" + key.upper(): value})
                self.settings()
            self.assertIn("PYDOCK_" + key.upper(), str(raised.exception))
            os.environ.pop("PYDOCK_" + key.upper(), None)

    def test_what_the_image_needs_is_no_folder_of_ones_own(self) -> None:
        for value in ("/", "/etc", "/data/../usr", "~nobody-here", "'/a", "/data etc", "/home"):
            with self.subTest(value=value), self.assertRaises(pydock.PydockError):
                pydock.checked("mounts", value, "this command")
        for value in ("", "/data", "~/x '/a b'"):
            self.assertEqual(pydock.checked("mounts", value, "this command"), value)

    def test_a_broken_file_is_one_error(self) -> None:
        for text in ("python = 3.9\n", "[pydock\n", "[other]\n", "[pydock]\npyhton = 3.9\n", "[pydock]\npython = 3.9\npython = 3.8\n"):
            self.conf(text)
            with self.subTest(text=text), self.assertRaises(pydock.PydockError) as raised:
                self.settings()
            self.assertIn("pydock.conf", str(raised.exception))
        self.assertNotIn("\n", str(raised.exception))

    def test_a_mistyped_key_gets_the_right_one(self) -> None:
        self.conf("[pydock]\npyhton = 3.9\n")
        with self.assertRaises(pydock.PydockError) as raised:
            self.settings()
        self.assertEqual(raised.exception.hint, "did you mean 'python'?")

    def test_a_repository_ends_in_a_slash(self) -> None:
        for value in ("mirror.example/hub", "mirror.example/hub/"):
            self.conf("[pydock]\nrepository = %s\n" % value)
            self.assertEqual(self.settings()["repository"], "mirror.example/hub/")


# ------------------------------------------------------------------------------------------------------------


class States(unittest.TestCase):
    """The images of an environment by their tags. A state is given as its layers, a letter for each, of which each takes 10 bytes;
    further tags as the number of their state."""

    def images(self, *states: str, packages: Sequence[str] = (), **tags: str) -> Dict[str, pydock.Image]:
        found = {}
        for number, layers in enumerate(states, 1):
            labels = {"pydock.folder": "/h/ds", "pydock.time": "2026-01-0%dT00:00:00Z" % number, "pydock.command": pydock.quote("install ds 'a b' %d" % number)}
            labels.update({"pydock.packages": pydock.quote(packages[number - 1])} if packages else {})
            data = {"Id": "sha256:%064x" % number, "Size": 10 * len(layers), "RootFS": {"Layers": list(layers)}, "Config": {"Labels": labels}}
            for tag in [str(number), *(tag.replace("_", "-") for tag, state in tags.items() if state == str(number))]:
                found[tag] = pydock.Image(tag, data)
        return found

    def old(self, history: int, *states: str, **tags: str) -> List[int]:
        settings: Any = {"history": str(history)}
        return sorted(pydock.old_revisions(self.images(*states, **tags), settings))

    def test_kept_are_the_first_the_present_and_as_many_before_it_as_are_set(self) -> None:
        line = ("a", "ab", "abc", "ax", "axy", "b")  # what they stand on is all the same
        for history, old in {1: [2, 3, 4], 2: [2, 3], 3: [2], 4: [], 100: []}.items():
            self.assertEqual(self.old(history, *line, latest="6"), old)

    def test_a_state_with_a_label_is_kept_and_so_is_the_present_one(self) -> None:
        self.assertEqual(self.old(1, "a", "ab", "abc", "abcd", "abcde", latest="5", paper="3"), [2])
        self.assertEqual(self.old(1, "a", "ab", "abc", "abcd", "abcde", latest="5", paper="3", v1="2"), [])
        self.assertEqual(self.old(1, "a", "ab", "abc", "abcd", "abcde", latest="2"), [3])

    def test_a_temporary_tag_is_no_label(self) -> None:
        self.assertEqual(self.old(1, "a", "ab", "abc", "abcd", "abcde", latest="5", tmp_01234567="3"), [2, 3])

    def test_an_environment_of_one_state_or_none_loses_nothing(self) -> None:
        self.assertEqual(self.old(1, "a", latest="1"), [])
        self.assertEqual(self.old(1), [])
        self.assertEqual(self.old(1, "a", "ab"), [])  # not yet tagged

    def test_history_shows_each_state_against_the_one_before(self) -> None:
        rows = pydock.revision_rows(self.images("a", "abc", "abd", latest="3", paper="2", b="2", tmp_01234567="2",
                                             packages=["", "six==1.16,attrs==23", "six==1.17,x==1"]), None)
        self.assertEqual([row["revision"] for row in rows], [1, 2, 3])
        self.assertEqual([row["added"] for row in rows], [{}, {"six": "1.16", "attrs": "23"}, {"x": "1"}])
        self.assertEqual([row["removed"] for row in rows], [{}, {}, {"attrs": "23"}])
        self.assertEqual([row["changed"] for row in rows], [{}, {}, {"six": ["1.16", "1.17"]}])
        self.assertEqual([row["labels"] for row in rows], [[], ["b", "paper"], []])
        self.assertEqual([row["present"] for row in rows], [False, False, True])
        self.assertEqual([row["command"] for row in rows], ["install ds 'a b' %d" % number for number in (1, 2, 3)])
        self.assertEqual([row["time"] for row in rows], ["2026-01-0%dT00:00:00Z" % number for number in (1, 2, 3)])
        self.assertEqual([row["id"] for row in rows], [("%064x" % number)[:12] for number in (1, 2, 3)])

    def test_the_bytes_of_a_state_are_what_it_added_to_what_it_stands_on(self) -> None:
        images = self.images("ba", "bac", "bacde", "bac", "bacf", "bz", "y", latest="7")
        base = self.images("b")["1"]
        self.assertEqual([row["bytes"] for row in pydock.revision_rows(images, base)], [10, 10, 20, 0, 10, 10, 10])
        self.assertEqual([row["bytes"] for row in pydock.revision_rows(images, None)], [20, 10, 20, 0, 10, 20, 10])

    def test_numbers_are_no_text(self) -> None:
        images = self.images(*["a"] * 11, latest="11")
        self.assertEqual(pydock.revision_numbers(images), list(range(11, 0, -1)))
        self.assertEqual([row["revision"] for row in pydock.revision_rows(images, None)], list(range(1, 12)))

    def test_a_number_that_somebody_gave_to_an_image_of_his_own_is_no_state(self) -> None:
        images = {**self.images("a", "ab", latest="2"), "3": pydock.Image("3", {"Id": "sha256:3"})}
        self.assertEqual(pydock.revision_numbers(images), [2, 1])
        self.assertEqual([row["revision"] for row in pydock.revision_rows(images, None)], [1, 2])

    def own(self, layers: str, *others: str) -> int:
        images = self.images(layers, *others)
        return pydock.unique_sizes(images, ["1"])["1"]

    def test_own_is_what_goes_with_an_image(self) -> None:
        self.assertEqual(self.own("abc"), 30)
        self.assertEqual(self.own("abc", "xyz"), 30)
        self.assertEqual(self.own("abc", "a", "ab"), 10)
        self.assertEqual(self.own("abc", "abc"), 0)

    def test_what_another_image_stands_on_is_not_its_own(self) -> None:
        self.assertEqual(self.own("ab", "abc"), 0)
        self.assertEqual(self.own("ab", "a", "abcdef"), 0)


class Digests(unittest.TestCase):
    TREE = {"lib": "5 755 user -", "lib/x.py": "0 644 user 11", "bin/python": "2 777 user /usr/bin/python3"}

    def test_it_is_that_of_the_sorted_lines(self) -> None:
        lines = "bin/python 2 777 user /usr/bin/python3\nlib 5 755 user -\nlib/x.py 0 644 user 11\n"
        self.assertEqual(pydock.digest_of(self.TREE), "sha256:" + hashlib.sha256(lines.encode()).hexdigest())
        self.assertEqual(pydock.digest_of(dict(reversed(list(self.TREE.items())))), pydock.digest_of(self.TREE))

    def test_every_difference_is_another_one(self) -> None:
        changes: List[Dict[str, str]] = [{}, {"lib/x.py": "0 644 user 12"}, {"lib/x.py": "0 644 0 11"}, {"lib/x.py": "0 600 user 11"}, {"lib/y.py": "0 644 user 11"},
                                         {"a b": ""}, {"a": "b"}, {"\udcff": "b"}]
        trees = [{**self.TREE, **change} for change in changes] + [{}, {path: line for path, line in self.TREE.items() if path != "lib"}]
        self.assertEqual(len({pydock.digest_of(tree) for tree in trees}), len(trees))

    def test_no_name_and_no_link_can_look_like_another_path(self) -> None:
        self.assertNotEqual(pydock.digest_of({"a": "x", "b": "y"}), pydock.digest_of({"a x\nb": "y"}))
        link = tarfile.TarInfo("venv/a")
        link.type, link.linkname = tarfile.SYMTYPE, "x\nlib/y.py 0 644 user 11"
        self.assertNotIn("\n", pydock.content_of(None, link, {}))

    def image(self, *digests: str) -> pydock.Image:
        return pydock.Image("x", {"Id": "sha256:00", "RepoDigests": list(digests)})

    def test_a_base_image_has_the_digest_of_the_name_that_it_was_pulled_by(self) -> None:
        for reference, digest in {"python:3.12-slim": "python@sha256:aa", "python": "python@sha256:aa", "library/python:3": "docker.io/library/python@sha256:aa",
                                  "docker.io/library/python:3": "docker.io/library/python@sha256:aa", "ana/python:3": "docker.io/ana/python@sha256:aa",
                                  "localhost:5000/x:1": "localhost:5000/x@sha256:aa", "localhost:5000/x": "localhost:5000/x@sha256:aa"}.items():
            self.assertEqual(self.image("other@sha256:bb", digest).digest_of(reference), "sha256:aa", reference)
        self.assertEqual(self.image("docker.io/library/python@sha256:aa").digest_of("python:3.12-slim"), "sha256:aa")  # as podman says it

    def test_an_image_that_came_from_no_registry_or_by_another_name_has_none(self) -> None:
        self.assertEqual(self.image().digest_of("python:3.12-slim"), "")
        self.assertEqual(self.image("mirror.example/python@sha256:aa", "python-x@sha256:bb", "x/python@sha256:cc").digest_of("python:3.12-slim"), "")


class WhatAnImageSays(Folder):
    """Labels are somebody's word, as soon as an image comes from elsewhere."""

    def image(self, **labels: str) -> pydock.Image:
        return pydock.Image("x", {"Id": "sha256:1", "Config": {"Labels": {key.replace("_", "."): value for key, value in labels.items()}}})

    def test_it_is_ours_under_the_name_that_its_labels_make_and_under_no_other(self) -> None:
        image = self.image(pydock_folder="/h/.pydock/envs/ds", pydock_name="ds")
        local = "pydock-ds__%s:1" % hashlib.sha256(b"/h/.pydock/envs/ds").hexdigest()[:8]
        for tag, ours in {"pydock-ds:latest": True, "pydock-ds:7": True, local: True, "pydock-web:latest": False, "registry.example/ds:1": False,
                          "other-ds:1": False, "pydock-ds__00000000:1": False}.items():
            self.assertEqual(image.is_ours(tag, "pydock"), ours, tag)
        self.assertFalse(self.image(pydock_name="ds").is_ours("pydock-ds:1", "pydock"))

    def test_a_label_that_would_set_others_is_not_taken_over(self) -> None:
        self.assertEqual(self.image(pydock_python="3.12.1", pydock_packages="a==1%2B2,b==1!2").found(), {"pydock.python": "3.12.1", "pydock.packages": "a==1%2B2,b==1!2"})
        for value in ("3.12 pydock.folder=/x", "3.12\nUSER 0", '3.12"', "$HOME"):
            self.assertEqual(self.image(pydock_python=value, pydock_packages="").found(), {"pydock.packages": ""}, value)

    def test_the_values_of_variables_are_not_in_it(self) -> None:
        for words, kept in ((["create", "x", "-e", "KEY=secret", "six"], ["create", "x", "-e", "KEY", "six"]), (["create", "x", "--env=KEY=a\nb"], ["create", "x", "--env=KEY"]),
                            (["create", "x", "-eKEY=secret"], ["create", "x", "-eKEY"]), (["install", "x", "six==1.16"], ["install", "x", "six==1.16"])):
            self.assertEqual(pydock.without_values(words), kept)

    def test_a_folder_of_another_machine_may_exist(self) -> None:
        env, engine = pydock.Env(pydock.Scope("global", str(self.tmp / ".pydock"), ""), "ds", "pydock"), pydock.Engine(["docker"])
        images = {"latest": self.image(pydock_folder="/no/such/.pydock/envs/ds", pydock_name="ds")}
        pydock.check_owner(engine, env, images)
        with mock.patch.object(engine, "remote_address", return_value="ssh://big"), self.assertRaisesRegex(pydock.PydockError, "belongs to the environment in /no/such"):
            pydock.check_owner(engine, env, images)


class Archives(unittest.TestCase):
    """What may stand in a bundle that somebody handed over."""

    def member(self, name: str, kind: bytes = tarfile.REGTYPE, **more: Any) -> tarfile.TarInfo:
        member = tarfile.TarInfo(name)
        member.type = kind
        for key, value in more.items():
            setattr(member, key, value)
        return member

    def test_what_export_and_docker_save_write_is_let_through(self) -> None:
        for member in (self.member("ds/dockerfile"), self.member("ds/wheels/a-1-py3-none-any.whl"), self.member("manifest.json"), self.member("blobs", tarfile.DIRTYPE),
                       self.member("0a1b/layer.tar", size=1 << 33), self.member("0a1b/layer.tar", tarfile.SYMTYPE, linkname="../2c3d/layer.tar"),
                       self.member("a..b/..c")):
            self.assertEqual(pydock.check_member(member, 0), member.name)

    def test_what_could_reach_out_or_is_no_file_is_refused(self) -> None:
        for member in (self.member("/etc/passwd"), self.member("../x"), self.member("a/../../x"), self.member("a//b"), self.member(""), self.member(".."),
                       self.member("a/x", tarfile.SYMTYPE, linkname="../../x"), self.member("x", tarfile.SYMTYPE, linkname=".."),
                       self.member("a/x", tarfile.SYMTYPE, linkname="/etc/passwd"), self.member("/x", tarfile.SYMTYPE, linkname="y"),
                       self.member("x", tarfile.LNKTYPE, linkname="y"), self.member("x", tarfile.CHRTYPE), self.member("x", tarfile.BLKTYPE),
                       self.member("x", tarfile.FIFOTYPE), self.member("x", sparse=[(0, 1)])):
            with self.subTest(name=member.name, type=member.type, link=member.linkname), self.assertRaises(ValueError) as raised:
                pydock.check_member(member, 0)
            self.assertNotIn("\n", str(raised.exception))

    def test_what_would_fill_the_memory_is_refused(self) -> None:
        for name in ("ds/dockerfile", "ds/requirements.txt", "ds/docker-compose.yml", "manifest.json", "index.json"):
            pydock.check_member(self.member(name, size=1 << 20), 0)
            with self.subTest(name=name), self.assertRaises(ValueError):
                pydock.check_member(self.member(name, size=1 << 40), 0)
        with self.assertRaises(ValueError):
            pydock.check_member(self.member("x"), 10**9)


class StrangersArchives(Folder):
    """What tarfile would do with a header of an archive before anybody could look at it."""

    def archive(self, *members: Tuple[bytes, int, bytes]) -> Path:
        """A sparse file with members of (type, size that the header tells, content)."""
        path = self.tmp / "b.tar"
        with open(str(path), "wb") as file:
            for kind, size, content in members:
                member = tarfile.TarInfo("x")
                member.type, member.size = kind, size
                file.write(member.tobuf(tarfile.GNU_FORMAT) + content)
                file.seek(-len(content) % 512 + max(size - len(content), 0), 1)
            file.truncate(file.tell() + 1024)
        return path

    def read(self, path: Path) -> List[str]:
        with tarfile.open(str(path), "r:", tarinfo=pydock.strict_members()) as archive:
            return [member.name.rstrip("/") for member in archive]

    def test_a_header_of_gigabytes_is_not_read(self) -> None:
        for kind in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
            for size in (6 << 30, 1 << 20):
                with self.subTest(kind=kind, size=size), self.assertRaisesRegex(tarfile.ReadError, "too large"):
                    self.read(self.archive((kind, size, b"")))

    def test_nor_one_that_goes_backwards_or_has_holes(self) -> None:
        for members in ([(tarfile.REGTYPE, -512, b"")], [(tarfile.GNUTYPE_SPARSE, 0, b"")], [(tarfile.XHDTYPE, 13, b"13 size=-512\n"), (tarfile.REGTYPE, 0, b"")],
                        [(tarfile.XHDTYPE, 46, b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"), (tarfile.REGTYPE, 1 << 20, b"99999999\n")]):
            with self.subTest(members=members), self.assertRaises((tarfile.TarError, ValueError)):
                self.read(self.archive(*members))

    def test_long_names_are_read(self) -> None:
        path = self.tmp / "good.tar"
        for format in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
            with tarfile.open(str(path), "w", format=format) as archive:
                archive.addfile(tarfile.TarInfo("größe/" * 300))
                archive.addfile(tarfile.TarInfo("b"))
            self.assertEqual(self.read(path), [("größe/" * 300).rstrip("/"), "b"])


class WhereTheEngineIs(Folder):
    """An engine on another machine cannot mount the current folder; one behind a local address can."""

    def elsewhere(self, program: str = "docker", answer: Optional[str] = None, **variables: str) -> Tuple[str, int]:
        """What it says, and how often it asked the client, whose answer to that would be `answer`."""
        self.environ(variables)
        engine = pydock.Engine([program])
        with mock.patch.object(engine, "try_output", return_value=answer) as asked:
            return engine.remote_address(), asked.call_count

    def test_a_local_address_is_here(self) -> None:
        for address in ("", "unix:///var/run/docker.sock", "fd://", "npipe:////./pipe/docker_engine", "tcp://localhost:2375", "tcp://127.0.0.1:2376", "tcp://127.1.2.3",
                        "tcp://[::1]:2375", "ssh://me@localhost", "ssh://me@localhost:22/run/docker.sock", "http://localhost/"):
            self.assertEqual(self.elsewhere(DOCKER_HOST=address), ("", 0), address)

    def test_any_other_address_is_elsewhere_and_said(self) -> None:
        for address in ("tcp://10.0.0.5:2376", "ssh://me@far.example", "tcp://localhost.example.org:2375", "tcp://127.0.0.1.example.org", "ssh://localhost@far.example",
                        "tcp://[fe80::1]:2375", "https://far.example"):
            self.assertEqual(self.elsewhere(DOCKER_HOST=address), (address, 0), address)

    def test_the_client_is_asked_only_for_a_context_that_its_settings_name(self) -> None:
        self.assertEqual(self.elsewhere(), ("", 0))
        self.assertEqual(self.elsewhere(DOCKER_CONTEXT="default", answer="tcp://10.0.0.5:1\n"), ("", 0))
        self.assertEqual(self.elsewhere(DOCKER_CONTEXT="far", answer="tcp://10.0.0.5:1\n"), ("tcp://10.0.0.5:1", 1))
        self.assertEqual(self.elsewhere(DOCKER_CONTEXT="near", answer="unix:///run/user/7/docker.sock\n"), ("", 1))
        self.assertEqual(self.elsewhere(DOCKER_CONTEXT="gone"), ("", 1))
        self.assertEqual(self.elsewhere(DOCKER_CONTEXT="far", DOCKER_HOST="unix:///x", answer="tcp://10.0.0.5:1\n"), ("", 0))  # which wins, as with docker

    def test_a_context_that_docker_context_use_has_set(self) -> None:
        file = self.write(".docker/config.json", '{"auths": {}, "currentContext" : "far"}')
        self.assertEqual(self.elsewhere(answer="ssh://me@far\n"), ("ssh://me@far", 1))
        self.assertEqual(self.elsewhere("podman", answer="ssh://me@far\n"), ("", 0))
        self.assertEqual(self.elsewhere(DOCKER_CONFIG=str(self.tmp / "other"), answer="ssh://me@far\n"), ("", 0))
        self.assertEqual(self.elsewhere(DOCKER_CONFIG=str(file.parent), HOME="/nowhere", answer="ssh://me@far\n"), ("ssh://me@far", 1))
        for text in ("", "no json", '{"currentContext": ""}', '{"currentContext": "default"}'):
            self.write(".docker/config.json", text)
            self.assertEqual(self.elsewhere(answer="ssh://me@far\n"), ("", 0), text)
        file.write_bytes(b"\xff\xfe")
        self.assertEqual(self.elsewhere(), ("", 0))

    def test_an_option_of_the_client_counts_as_well(self) -> None:
        for words in (["docker", "--context", "far"], ["docker", "-H", "tcp://10.0.0.5:1"], ["sudo", "docker", "-c", "far"]):
            engine = pydock.Engine(words)
            with mock.patch.object(engine, "try_output", return_value="tcp://10.0.0.5:1\n"):
                self.assertEqual(engine.remote_address(), "tcp://10.0.0.5:1", words)

    def test_podman_has_a_variable_of_its_own(self) -> None:
        self.assertEqual(self.elsewhere("podman", CONTAINER_HOST="ssh://me@far/run/podman.sock"), ("ssh://me@far/run/podman.sock", 0))
        self.assertEqual(self.elsewhere("podman", CONTAINER_HOST="unix:///run/podman.sock"), ("", 0))
        self.assertEqual(self.elsewhere("podman", DOCKER_HOST="tcp://10.0.0.5:2376"), ("", 0))


# ------------------------------------------------------------------------------------------------------------


class WhatEndsInAMoment(unittest.TestCase):
    """What the engine is still busy with is looked at again."""

    def test_a_container_that_removes_itself(self) -> None:
        for removed, listed, calls in (([True], [], 1), ([False, False, True], ["c running\n", "c removing\n"], 3), ([False], ["c2 running\n"], 1), ([False], [""], 1)):
            engine = mock.Mock(**{"try_run.side_effect": removed, "output.side_effect": listed})
            with self.subTest(removed), mock.patch("time.sleep"):
                pydock.remove_container(engine, "c")
                self.assertEqual(engine.try_run.call_count, calls)
        engine = mock.Mock(client="docker", **{"try_run.return_value": False, "output.return_value": "c running\n"})
        with mock.patch("time.sleep"), self.assertRaisesRegex(pydock.PydockError, "^docker cannot remove the container c$"):
            pydock.remove_container(engine, "c")

    def test_a_look_at_the_health_of_a_container_is_no_program(self) -> None:
        background = mock.Mock(running=True)
        with mock.patch("time.sleep"), mock.patch.object(pydock, "processes", side_effect=[["runc init"], ["true"], []]):
            pydock.check_idle(mock.Mock(), mock.Mock(), background, False, "stop")
        with mock.patch("time.sleep"), mock.patch.object(pydock, "processes", return_value=["cat"]), self.assertRaisesRegex(pydock.PydockError, "still running in .*: cat$"):
            pydock.check_idle(mock.Mock(), mock.Mock(), background, False, "stop")
        with mock.patch.object(pydock, "processes", side_effect=AssertionError):
            pydock.check_idle(mock.Mock(), mock.Mock(), background, True, "stop")


    def test_a_client_that_belongs_to_root_is_left_to_sudo(self) -> None:
        process = mock.Mock(**{"terminate.side_effect": PermissionError})
        pydock.Engine.end(process)
        process.kill.assert_not_called()

    def test_a_cache_that_is_in_use_keeps_no_other_one(self) -> None:
        engine = mock.Mock(**{"run.side_effect": [pydock.EngineError("volume is in use"), None]})
        with mock.patch.object(pydock.console, "info") as said, self.assertRaisesRegex(pydock.EngineError, "in use"):
            pydock.remove_caches(engine, ["a", "b"])
        said.assert_called_once_with("removed b")

    def test_what_a_copy_ended_with_is_told(self) -> None:
        with tempfile.NamedTemporaryFile() as file:
            with tarfile.open(file.name, "w") as archive:
                member = tarfile.TarInfo("large")
                member.size = 5 << 20
                archive.addfile(member, io.BytesIO(bytes(member.size)))
            for script, says in (("echo no such container >&2; exit 1", "^failed: no such container$"),
                                 ("trap 'echo canceled >&2; exit 1' TERM; cat %s & wait" % file.name, "^failed: .*No space left on device$")):
                engine = pydock.Engine(["sh", "-c", script])
                with self.subTest(script), mock.patch.object(engine, "raise_if_down"), self.assertRaisesRegex(pydock.PydockError, says):
                    pydock.copy_out(engine, ["cp"], "failed", mock.Mock(side_effect=OSError(28, "No space left on device")))

    def test_a_folder_that_goes_between_two_looks_is_none(self) -> None:
        with tempfile.TemporaryDirectory() as path, pydock.Folder(path, own=False) as folder, mock.patch.object(folder, "has", return_value=True):
            self.assertFalse(folder.is_folder("gone"))


class HowTheEngineIsCalled(unittest.TestCase):
    def test_variables_stand_right_before_the_client(self) -> None:
        for words, at in (("sudo docker", 1), ("sudo -n docker", 2), ("sudo -u x docker", 3), ("sudo -n /usr/bin/docker --context c", 2), ("sudo -u x podman", 3), ("sudo -u docker podman", 3),
                          ("/usr/bin/sudo -nu x -- docker", 4), ("sudo --user=x -E --group y docker", 5), ("sudo --preserve-env=A A=b docker", 3),
                          ("sudo -ux docker -H tcp://h", 2), ("sudo -uroot docker --context x", 2)):
            with self.subTest(words):
                program = words.split()
                engine = pydock.Engine(program)
                self.assertEqual(engine.command(["compose"]), program[:at] + pydock.ENVIRON["compose"] + program[at:] + ["compose"])
                self.assertEqual((engine.client, engine.podman), (program[at], "podman" in program[at]))

    def test_without_sudo_they_are_none_of_its_words(self) -> None:
        for words, client in (("docker", "docker"), ("docker --context c", "docker"), ("/usr/bin/podman --remote", "/usr/bin/podman"), ("nerdctl", "nerdctl")):
            engine = pydock.Engine(words.split())
            self.assertEqual((engine.command(["compose"]), engine.client), ([*words.split(), "compose"], client))
            self.assertEqual(engine.podman, "podman" in client)

    def test_a_command_line_that_is_not_whole(self) -> None:
        for words in ("sudo", "sudo -n", "sudo -u", "sudo -u x", "sudo --"):
            pydock.Engine(words.split()).command(["compose"])


class CommandLines(unittest.TestCase):
    def split(self, line: str) -> Tuple[List[str], List[str]]:
        return pydock.split_command(line.split())

    def test_what_follows_the_name_is_the_programs(self) -> None:
        self.assertEqual(self.split("ds python -c x"), (["ds"], ["python", "-c", "x"]))
        self.assertEqual(self.split("-p 8888 -v /a:/b ds x -p 1"), (["--publish=8888", "--volume=/a:/b", "ds"], ["x", "-p", "1"]))
        self.assertEqual(self.split("--root -e K=V --network none ds x"), (["--root", "--env=K=V", "--network=none", "ds"], ["x"]))
        self.assertEqual(self.split("-o --shm-size=1g ds x"), (["--option=--shm-size=1g", "ds"], ["x"]))

    def test_one_double_dash_is_dropped_and_a_second_stays(self) -> None:
        self.assertEqual(self.split("ds -- ls --all"), (["ds"], ["ls", "--all"]))
        self.assertEqual(self.split("ds ls -- x"), (["ds"], ["ls", "--", "x"]))
        self.assertEqual(self.split("ds -- -- x"), (["ds"], ["--", "x"]))
        self.assertEqual(self.split("-- ds ls"), (["ds"], ["ls"]))

    def test_arguments_of_a_program_are_never_options_of_pydock(self) -> None:
        words = ["prog", "-n", "--local", "--help", "-h", "--version", "--verbose", "-q", "", "a b", "--", "-y"]
        args = pydock.parse(["run", "ds", *words])
        self.assertEqual((args.name, args.command), ("ds", words))
        self.assertEqual((args.mode, args.dry_run, args.verbose, args.quiet), (None, False, False, False))
        self.assertEqual(pydock.parse(["run", "ds", "--", *words]).command, words)

    def test_options_stand_before_or_after_the_command(self) -> None:
        for line in (["--local", "-n", "run", "ds", "x"], ["run", "--local", "-n", "ds", "x"], ["-n", "run", "--local", "ds", "x"]):
            args = pydock.parse(line)
            self.assertEqual((args.mode, args.dry_run, args.name, args.command), ("local", True, "ds", ["x"]))
        self.assertEqual(pydock.parse(["list", "--global"]).mode, "global")

    def test_dockers_options_in_every_spelling(self) -> None:
        for line in ("-v /a:/b", "-v/a:/b", "--volume /a:/b", "--volume=/a:/b"):
            self.assertEqual(pydock.parse(["run", *line.split(), "ds", "x"]).volume, ["/a:/b"], line)
        args = pydock.parse("run -e A=1 -e B=2 -p 1 --gpus all ds x".split())
        self.assertEqual((args.env, args.publish, args.gpus), (["A=1", "B=2"], ["1"], ["all"]))
        self.assertEqual(pydock.parse(["run", "-e", "-x=--local", "ds", "y"]).env, ["-x=--local"])

    def test_the_line_that_an_image_remembers_is_the_one_typed(self) -> None:
        self.assertEqual(pydock.parse(["install", "ds", "six", "--verbose", "-q", "--", "--no-deps"]).line, ["install", "ds", "six", "--", "--no-deps"])

    def test_arguments_for_the_installer(self) -> None:
        args = pydock.parse(["install", "ds", "six", "--", "--no-deps", "-v"])
        self.assertEqual((args.packages, args.installer_args), (["six"], ["--no-deps", "-v"]))

    def test_options_of_pip_are_for_the_installer_wherever_they_stand(self) -> None:
        args = pydock.parse(["install", "--user", "ds", "-f", "https://h/", "six", "-vv", "-c", "c.txt", "--no-binary=six", "-U", "--", "--no-deps"])
        self.assertEqual((args.name, args.packages, args.constraint, args.upgrade), ("ds", ["six"], ["c.txt"], True))
        self.assertEqual(args.installer_args, ["--user", "-f", "https://h/", "-vv", "--no-binary=six", "--no-deps"])
        self.assertEqual(pydock.first_word("install", ["-f", "https://h/", "--user", "-c", "c.txt", "six"]), 5)
        self.assertEqual(pydock.parse(["create", "-v", "/a:/b", "ds", "--no-input"]).volume, ["/a:/b"])
        for words, fate in ((["--target", "x"], "packages always go"), (["-I"], "packages always go"), (["--proxy=x"], "HTTPS_PROXY"), (["--find-links"], "needs a value"), (["--user=x"], "takes no value")):
            with self.assertRaisesRegex(pydock.PydockError, fate):
                pydock.add_installer_words(pydock.Change("install"), words)

    def test_how_far_an_upgrade_goes(self) -> None:
        for strategy, words in (("eager", ["--upgrade"]), ("only-if-needed", ["--upgrade-package=six"])):
            change = pydock.Change("install", ["--upgrade"])
            pydock.add_word(change, "six")
            pydock.add_installer_words(change, ["--upgrade-strategy", strategy])
            self.assertEqual(change.words, ["--upgrade", "--upgrade-strategy=" + strategy], "as pip has it")
            change.settle_strategy()
            self.assertEqual(change.words, words, "as uv has it")

    def test_a_version_is_no_package(self) -> None:
        for words, hint in (("install ds requests 2.0 six", "pydock install ds requests==2.0 six"), ("install ds 2.0", "")):
            args = pydock.parse(words.split())
            with self.subTest(words), self.assertRaisesRegex(pydock.PydockError, "^'2.0' is a version, not a package$") as caught:
                pydock.check_no_version(args, "2.0")
            self.assertEqual(caught.exception.hint, hint)

    def test_what_a_file_says_to_uninstall_need_not_be_there(self) -> None:
        env, change = pydock.Env(pydock.global_scope(), "ds", "pydock"), pydock.Change("uninstall", ["six", "none"])
        change.wanted.removed, change.listed = ["six", "none"], ["none"]
        with mock.patch.object(pydock.console, "info") as said:
            change.check(env, {"six": "1"}, None)
            self.assertEqual((change.words, change.wanted.removed, change.is_empty()), (["six"], ["six"], False))
            change.listed = ["six"]
            change.check(env, {}, None)
        self.assertTrue(change.is_empty())
        self.assertEqual([call.args[0] for call in said.call_args_list], ["none is not installed in ds", "six is not installed in ds"])
        change.words = change.wanted.removed = ["none"]
        with self.assertRaisesRegex(pydock.PydockError, "^none is not installed in ds$"):
            change.check(env, {"six": "1"}, None)

    def test_aliases_and_lists_of_names(self) -> None:
        self.assertIs(pydock.parse(["ls"]).func, pydock.cmd_list)
        self.assertIs(pydock.parse(["envs"]).func, pydock.cmd_list)
        args = pydock.parse(["rm", "a", "b", "-y"])
        self.assertEqual((args.func, args.names, args.yes), (pydock.cmd_delete, ["a", "b"], True))

    def test_create_takes_a_version_or_none(self) -> None:
        self.assertEqual(pydock.parse(["create", "ds", "3.12", "six"]).packages, ["3.12", "six"])
        for word, is_version in {"3.12": True, "3.12.1": True, "3": True, "3.14.0a1": True, "six": False, "3to2": False, "3.12.1.1": False, "2.99": True}.items():
            self.assertEqual(bool(re.fullmatch(pydock.VERSION, word)), is_version, word)

    def error(self, *line: str) -> Any:
        with self.assertRaises(pydock.PydockError) as raised:
            pydock.parse(list(line))
        return raised.exception

    def test_a_mistyped_command_gets_the_nearest_one(self) -> None:
        self.assertEqual((self.error("craete", "x").hint, self.error("craete").status), ("did you mean 'create'?", 2))

    def test_words_of_other_tools_get_the_right_one(self) -> None:
        for line, right in (("exec ds ls", "pydock run ds ls"), ("add ds six", "pydock install ds six"), ("remove ds six", "pydock uninstall ds six"),
                            ("env list", "pydock list"), ("--local upgrade ds", "pydock --local update ds"), ("init", "pydock create NAME [VERSION] [PKG…]"),
                            ("version", "pydock --version"), ("ps", "pydock list"), ("logs", "docker logs CONTAINER"), ("deactivate", "deactivate (alone")):
            with self.subTest(line=line):
                self.assertTrue(self.error(*line.split()).hint.startswith(right), self.error(*line.split()).hint)
        for right in pydock.OTHER_WORDS.values():
            self.assertTrue(right in pydock.COMMANDS or " " in right, right)
        self.assertFalse(set(pydock.OTHER_WORDS) & set(pydock.COMMANDS), "a command became real, and is still taken for another tool's word")

    def test_wrong_usage_is_status_2(self) -> None:
        for line in (["run", "ds"], ["shell", "ds", "x"], ["list", "x"], ["build", "a", "b"], ["list", "--nope"], ["build", "a", "--no-c"],
                     ["list", "--", "x"], ["run", "--nope", "ds", "x"]):
            with self.subTest(line=line):
                self.assertEqual(self.error(*line).status, 2)

    def test_a_command_without_its_arguments_is_told_from_a_wrong_one(self) -> None:
        for name, command in pydock.COMMANDS.items():
            if command.usage and not command.usage.startswith("["):
                with self.subTest(command=name):
                    self.assertRaisesRegex(SystemExit, "2", pydock.parse, [name])


# ------------------------------------------------------------------------------------------------------------




class WhatPodmanTripsOver(Folder):
    """That `podman image ls` fails where another process removes an image meanwhile."""

    def podman(self, text: str) -> pydock.Engine:
        program = self.tmp / "podman"
        program.write_text("#!/bin/sh\ncd %s\n%s\n" % (self.tmp, text), encoding="utf-8")
        program.chmod(0o755)
        return pydock.Engine([str(program)])

    def test_it_is_asked_again(self) -> None:
        engine = self.podman("echo x >>calls; [ $(wc -l <calls) -gt 2 ] || { echo 'Error: locating image: image not known' >&2; exit 125; }; echo fine")
        self.assertEqual(engine.output("image", "ls"), "fine\n")

    def test_but_not_for_ever_and_for_nothing_else(self) -> None:
        for cause, calls in (("image not known", 6), ("no space left", 1)):
            with self.subTest(cause):
                (self.tmp / "calls").write_text("", encoding="utf-8")
                engine = self.podman("echo x >>calls; echo 'Error: %s' >&2; exit 125" % cause)
                with mock.patch.object(engine, "raise_if_down"), self.assertRaisesRegex(pydock.EngineError, cause):
                    engine.output("image", "ls")
                self.assertEqual((self.tmp / "calls").read_text(encoding="utf-8").count("x"), calls)


class Process(Folder):
    """pydock as a process of its own, with an engine that a few lines of shell make up."""

    command = [sys.executable, "-IS", str(STARTER)]

    def engine(self, text: str, name: str = "docker") -> None:
        program = self.write("bin/" + name, "#!/bin/sh\n" + text)
        program.chmod(0o755)

    def pydock(self, *argv: str, cwd: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "PATH": "%s:%s" % (self.tmp / "bin", os.environ["PATH"])}
        given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environ, "cwd": cwd or str(self.tmp), **options}
        return subprocess.run([*self.command, *argv], encoding="utf-8", errors="surrogateescape", timeout=60, **given)

    def images(self, *images: Dict[str, Any]) -> None:
        """An engine that has these images: `tag`, and what `image inspect` tells."""
        listed = "".join("%s sha256:%064d\n" % (image["tag"], at) for at, image in enumerate(images))
        self.write("listed", listed)
        self.write("inspected", json.dumps([{"Id": "sha256:%064d" % at, "RepoTags": [image["tag"]], **image} for at, image in enumerate(images)]))
        self.engine("case \"$1 $2\" in\n'image ls') cat '%s/listed' ;;\n'image inspect') cat '%s/inspected' ;;\n'volume ls') ;;\n*) exit 1 ;;\nesac\n" % (self.tmp, self.tmp))


class NoSilence(Process):
    """What is done, and for how long, is told on a terminal where nothing else is for a second; through a pipe once."""

    def setUp(self) -> None:
        super().setUp()
        self.engine("case $1 in commit) sleep 3.2 ;; save) printf 12345; sleep 2 ;; run) echo one >&2; sleep 2; echo two >&2 ;; esac\n"
                    "case $1 in build) echo picture; [ \"$2\" != slow ] || { sleep 2.2; [ -t 1 ] && echo on a terminal; } ;; esac; [ \"$2\" != bad ]")
        self.code = "import sys; sys.path.insert(0, %r); import pydock, time; e = pydock.Engine(['docker']); info = pydock.console.info\n" % str(PYDOCK.parent)

    def terminal(self, code: str) -> Terminal:
        environ = {**os.environ, "PATH": "%s:%s" % (self.tmp / "bin", os.environ["PATH"])}
        return Terminal(self, [sys.executable, "-c", self.code + code], self.tmp, environ)

    def shown(self, code: str) -> str:
        terminal = self.terminal(code + "\ninfo('END')")
        terminal.expect("END")
        return terminal.shown.partition("END")[0].replace("\r\n", "\n")

    def test_a_line_that_goes_again(self) -> None:
        shown = self.shown("e.run('commit'); info('done'); e.run('run', capture='x', show=True)")
        self.assertRegex(shown, r"^(\rcommitting the image \.\.\. [1-9] s\x1b\[K)+\r\x1b\[Kdone\n"
                                r"one\n(\rstarting a container \.\.\. [1-9] s\x1b\[K)+\r\x1b\[Ktwo\n$")

    def test_what_an_installer_does_after_its_last_word(self) -> None:
        self.engine("echo ' + six' >&2; sleep 0.3; echo %s >&2; sleep 2.2; echo fine" % pydock.COMPILING)
        shown = self.shown("e.run('run', capture='x', show=True, doing='installing')")
        self.assertRegex(shown, r"^ \+ six\n[^\n]*(\rcompiling byte code \.\.\. [1-9] s\x1b\[K)+\r\x1b\[K$")

    def test_how_much_of_it(self) -> None:
        code = "from unittest import mock; out = open('out', 'wb'); pydock.stream_image(e, mock.Mock(id='x', size=2e6), out)"
        self.assertRegex(self.shown(code), r"^(\rsaving the image \.\.\. [1-9] s, 5B of about 2MB\x1b\[K)+\r\x1b\[K$")

    def test_through_a_pipe_one_line(self) -> None:
        environ = {**os.environ, "PATH": "%s:%s" % (self.tmp / "bin", os.environ["PATH"])}
        said = {"e.run('commit'); e.begin('next'); time.sleep(2.5)": "committing the image\n", "info('x'); e.run('commit')": "x\n",
                "e.run('tag'); time.sleep(2.5)": ""}  # what a start of a program takes does not speak into the output of a program
        running = {code: subprocess.Popen([sys.executable, "-c", self.code + code.replace("e.begin", "pydock.console.begin")], stderr=subprocess.PIPE, env=environ) for code in said}
        self.assertEqual({code: process.communicate()[1].decode() for code, process in running.items()}, said)

    def test_nothing_where_a_password_or_an_answer_is_awaited(self) -> None:
        code = "import termios; mode = termios.tcgetattr(2); mode[3] &= ~termios.ECHO; termios.tcsetattr(2, 0, mode); e.run('run'); mode[3] |= termios.ECHO\n"
        self.assertEqual(self.shown(code + "pydock.console.write('password? '); termios.tcsetattr(2, 0, mode); e.run('run')"), "password? ")

    def test_the_picture_of_a_build_comes_after_two_seconds_or_where_it_fails(self) -> None:
        self.assertEqual(self.shown("e.run('build', show=True)"), "")
        shown = self.shown("e.run('build', 'slow', show=True)")
        self.assertRegex(shown, r"^(\rbuilding the image \.\.\. [1-9] s\x1b\[K)+\r\x1b\[Kpicture\non a terminal\n$")
        self.assertEqual(self.shown("\ntry: e.run('build', 'bad', show=True)\nexcept pydock.EngineError: pass"), "picture\n")

    def test_an_interruption_takes_it_away(self) -> None:
        self.engine("sleep 60")
        self.environ({"NO_COLOR": "1"})
        terminal = self.terminal("sys.exit(pydock.main(['list', '--all']))")
        terminal.expect(" s\x1b[K")
        terminal.type("\x03")
        self.assertEqual(terminal.wait(), 130)
        terminal.expect("interrupted\n")
        self.assertRegex(terminal.shown, r"^\rwaiting for docker \.\.\. [1-9] s\x1b\[K[^\n]*\^C\r\x1b\[Kpydock: error: interrupted\n$")


class WhatWasMissing(unittest.TestCase):
    """The hint of a failed build names what was missing, and nothing where something else went wrong."""

    def package(self, output: str) -> str:
        found = (package for pattern, _, package in pydock.CAUSES if re.search(pattern, output, re.M))
        return next(found, "")

    def test_what_real_builds_say(self) -> None:
        for output, package in (
                ("error: command 'gcc' failed: No such file or directory", "build-essential"),
                ("error: command 'x86_64-linux-gnu-gcc' failed: No such file or directory", "build-essential"),
                ("unable to execute 'gcc': No such file or directory", "build-essential"),
                ("error: [Errno 2] No such file or directory: 'gcc'", "build-essential"),
                ("configure: error: no acceptable C compiler found in $PATH", "build-essential"),
                ("../meson.build:1:0: ERROR: Unknown compiler(s): [['icc'], ['cc'], ['gcc'], ['clang']]", "build-essential"),
                ("/bin/sh: 1: make: not found", "build-essential"),
                ("CMake Error at CMakeLists.txt:2 (project):\n  No CMAKE_CXX_COMPILER could be found.", "build-essential"),
                ("error: linker `cc` not found", "build-essential"),
                ("Exception: Can not find valid pkg-config name.\nSpecify MYSQLCLIENT_CFLAGS and MYSQLCLIENT_LDFLAGS env vars manually", "default-libmysqlclient-dev"),
                ("Error: Please make sure the libxml2 and libxslt development packages are installed.", "libxslt1-dev"),
                ("/bin/sh: 1: xml2-config: not found", "libxslt1-dev"),
                ("Cargo, the Rust package manager, is not installed or is not on PATH.", "cargo"),
                ("Cargo metadata failed. Do you have cargo in your PATH?", "cargo"), ("FileNotFoundError: [Errno 2] No such file or directory: 'cargo'", "cargo"),
                ("Error: pg_config executable not found.", "libpq-dev"),
                ("/bin/sh: 1: mysql_config: not found", "default-libmysqlclient-dev"),
                ("Error: Please make sure the libxml2 and libxslt development packages are installed.\n/bin/sh: xslt-config: not found", "libxslt1-dev"),
                ("c/_cffi_backend.c:15:10: fatal error: ffi.h: No such file or directory", "libffi-dev"),
                ("fatal error: Python.h: No such file or directory", "python3-dev"),
                ("The headers or library files could not be found for jpeg,\nRequiredDependencyException: required dependency: jpeg", "libjpeg-dev"),
                ("error: can't find Rust compiler\ncargo, the Rust package manager, is not installed", "cargo"),
                ("CMake must be installed: cmake: not found", "cmake"),
                ("Git executable not found. Ensure that Git is installed and available.", "git"),
                ("ERROR: Cannot find command 'git' - do you have 'git' installed and in your PATH?", "git"),
                ("FileNotFoundError: [Errno 2] No such file or directory: 'git'", "git"),
                ("Versioning for this project requires either an sdist tarball, or access to an upstream git repository.", "git"),
                ("RuntimeError: Unable to detect version control system.", "git"), ("ConfigError: Cannot find the version from SCM or SCM isn't detected.", "git"),
                ("LookupError: setuptools-scm was unable to detect version for /x", "git")):
            with self.subTest(output=output):
                self.assertEqual(self.package(output), package)

    def test_another_fault_has_no_such_hint(self) -> None:
        for output in ("error: command '/usr/bin/gcc' failed with exit code 1", "FileNotFoundError: [Errno 2] No such file or directory: 'cc/ext.c'",
                       "gcc: error: src/ext.c: No such file or directory", "cc1plus: fatal error: ext.cpp: No such file or directory", "fatal error: cffi.h: No such file or directory",
                       "make: *** No rule to make target 'gcc'.  Stop.",
                       "Because cargo-tool was not found in the package registry, it is", "FileNotFoundError: [Errno 2] No such file or directory: 'README.md'",
                       "src/x.c:1:10: fatal error: missing_of_ours.h: No such file or directory", "No matching distribution found for gcc",
                       "gcc -pthread -B /x -Wno-unused-result -c ext.c\next.c:1:1: error: unknown type name 'itn'", "ModuleNotFoundError: No module named 'make'",
                       "error: subprocess-exited-with-error"):
            with self.subTest(output=output):
                self.assertEqual(self.package(output), "")

    def test_the_line_for_system_packages_is_the_one_that_create_writes(self) -> None:
        bare, one = (pydock.render_dockerfile("python:3.12", "3.12", apt, "") for apt in ((), ("tree",)))
        self.assertEqual(pydock.with_apt(bare, ["tree"]), one)
        self.assertEqual(pydock.with_apt(one, ["tree"]), one)
        self.assertEqual(pydock.with_apt(one, ["jq", "tree"]), pydock.render_dockerfile("python:3.12", "3.12", ("tree", "jq"), ""))
        self.assertIsNone(pydock.with_apt("FROM x\n", ["tree"]))


class AFailedChange(Process):
    """What is said of an installer that failed, and the line that is to be typed next."""

    GCC = "error: command 'gcc' failed: No such file or directory"

    def error(self, said: str, *line: str, base: str = "python:3.12-slim", apt: Sequence[str] = ()) -> Tuple[str, str]:
        for file, text in (("dockerfile", pydock.render_dockerfile(base, "3.12", apt, "")), ("requirements.txt", ""), ("r.txt", "six\nattrs\n")):
            self.write(".pydock/envs/ds/" + file if file != "r.txt" else file, text)
        with self.inside(self.tmp):
            args = pydock.parse(["install", "ds", *line])
            env = pydock.Env(pydock.global_scope(), "ds", "pydock")
            change = pydock.package_change(pydock.Session(env.scope), env, ["install"], args.packages, args)
            error = pydock.change_error(env, change, pydock.EngineError("", output=said), args.line)
        return str(error), error.hint

    def test_a_line_that_brings_what_was_missing(self) -> None:
        said, hint = self.error(self.GCC, "-r", "r.txt", "x")
        self.assertEqual((said, hint), ("the image of ds lacks the compiler that a package needs (see above)",
                                        "pydock install --apt build-essential ds -r r.txt x"))

    def test_the_headers_come_along_where_pythons_base_has_them_apart(self) -> None:
        self.assertIn("--apt build-essential --apt python3-dev ds x", self.error(self.GCC, "x", base="debian:12")[1])

    def test_a_variable_in_its_own_file_is_one_that_the_dockerfile_sets(self) -> None:
        env = pydock.Env(pydock.global_scope(), "ds", "pydock")
        self.write(".pydock/envs/ds/requirements.txt", "# ${X}\nsix==${VERSION}\n")
        for dockerfile in ("FROM x\n", "FROM x\nENV OTHER=1\n# VERSION\n"):
            self.write(".pydock/envs/ds/dockerfile", dockerfile)
            with self.assertRaisesRegex(pydock.PydockError, r"^line 2 of /.*/envs/ds/requirements.txt uses \$\{VERSION\}, but files get") as caught:
                env.requirements()
            self.assertIn("write the value itself", caught.exception.hint)
        for line in ("ENV VERSION=1.16.0", "ARG VERSION", "ENV OTHER=1 \\\n    VERSION=1.16.0", "env VERSION 1.16.0"):
            self.write(".pydock/envs/ds/dockerfile", "FROM x\n%s\n" % line)
            self.assertEqual(env.requirements()[1].specifier, "==${VERSION}")

    def test_a_folder_that_goes_away_with_the_error_is_not_named(self) -> None:
        env = pydock.Env(pydock.global_scope(), "ds", "pydock")
        self.write(".pydock/envs/ds/dockerfile", "FROM x\n")
        self.write(".pydock/envs/ds/requirements.txt", "six\n??\n")
        with self.assertRaisesRegex(pydock.PydockError, "line 2 of /.*/envs/ds/requirements.txt:"):
            env.requirements()
        env.staging = self.write(".pydock/envs/.ds.new-12345678/requirements.txt", "./wheels/../x.whl\n??\n").parent.as_posix()
        with self.assertRaisesRegex(pydock.PydockError, "^line 2 of the requirements.txt of ds:"):
            env.requirements()
        self.write(".pydock/envs/.ds.new-12345678/dockerfile", "FROM x\n")
        with self.assertRaisesRegex(pydock.PydockError, "^line 1 of the requirements.txt of ds leads outside wheels"):
            env.hashes()

    def test_what_is_there_is_not_asked_for_again(self) -> None:
        self.assertEqual(self.error(self.GCC, "x", apt=("build-essential",)), ("cannot install x in ds (see above)", ""))

    def test_a_file_is_named_and_not_what_it_holds(self) -> None:
        self.assertEqual(self.error("no", "-r", "r.txt", "x")[0], "cannot install x r.txt in ds (see above)")


class NameLeftOut(Process):
    """NAME may be left out where only one can be meant, and a slip of the finger changes nothing."""

    def setUp(self) -> None:
        super().setUp()
        self.engine("exit 1\n")
        for place, name in (("p", "dev"), ("q", "a-one"), ("q", "b-two"), (".", "datasci")):
            for file in ("dockerfile", "requirements.txt"):
                self.write("%s/.pydock/envs/%s/%s" % (place, name, file), "")
        (self.tmp / "p/below").mkdir()
        self.environ({"PYDOCK_ENV": ""})

    def line(self, *argv: str, folder: str = "p/below") -> Tuple[str, List[str]]:
        """The name that is implied, and the whole command line that this makes."""
        with self.inside(self.tmp / folder):
            args = pydock.parse(list(argv))
        return args.implied, args.line + ["…", *args.command] if args.command else args.line

    def wrong(self, *argv: str, folder: str = "p/below") -> Tuple[str, str]:
        with self.inside(self.tmp / folder), self.assertRaises(pydock.PydockError) as caught:
            pydock.parse(list(argv))
        return str(caught.exception), caught.exception.hint

    def test_it_is_the_projects_only_one(self) -> None:
        for typed, line in ((["run", "pytest", "-q"], ["run", "dev", "pytest", "-q", "…", "pytest", "-q"]),
                            (["run", "-p", "8000", "-e", "dev", "--", "dev"], ["run", "--publish=8000", "--env=dev", "dev", "dev", "…", "dev"]),
                            (["install", "pandas"], ["install", "dev", "pandas"]), (["install", "--index-url", "dev", "x"], ["install", "--index-url", "dev", "dev", "x"]),
                            (["install", "-r", "dev"], ["install", "-r", "dev", "dev"]), (["install", "--", "dev"], ["install", "dev", "dev"]),
                            (["install", "--", "dve", "--pre"], ["install", "dev", "dve", "--", "--pre"]), (["uninstall", "--", "dve"], ["uninstall", "dev", "dve"]),
                            (["update", "x<3"], ["update", "dev", "x<3"]), (["uninstall", "x"], ["uninstall", "dev", "x"]), (["shell"], ["shell", "dev"]),
                            (["build", "--no-cache"], ["build", "--no-cache", "dev"]), (["start"], ["start", "dev"]), (["stop"], ["stop", "dev"]),
                            (["history", "--json"], ["history", "--json", "dev"]), (["lock", "--check"], ["lock", "--check", "dev"])):
            with self.subTest(typed=typed):
                self.assertEqual(self.line(*typed), ("dev", line))

    def test_a_name_that_is_there_is_the_name(self) -> None:
        self.assertEqual(self.line("run", "dev", "dev"), ("", ["run", "dev", "dev", "…", "dev"]))
        self.assertEqual(self.line("install", "datasci", "x"), ("", ["install", "datasci", "x"]), "there is a global one: an error will say so")
        self.assertEqual(self.line("history", "nope"), ("", ["history", "nope"]), "where only a name can stand, a word is one")

    def test_never_one_of_several_nor_a_global_one(self) -> None:
        for folder in ("q", "."):
            with self.subTest(folder=folder):
                self.assertEqual(self.line("install", "six", "x", folder=folder), ("", ["install", "six", "x"]))
                self.assertEqual(self.wrong("run", "pytest", folder=folder)[0], "no environment given")
        self.assertEqual(self.line("--global", "install", "six"), ("", ["install", "six"]))

    def test_the_activated_one_comes_first(self) -> None:
        self.environ({"PYDOCK_ENV": "datasci"})
        self.assertEqual(self.line("install", "six"), ("datasci", ["install", "datasci", "six"]))
        self.environ({"PYDOCK_ENV": "nope"})
        self.assertEqual(self.wrong("install", "six")[0], "PYDOCK_ENV is nope, but there is no such environment here")

    def test_what_a_project_has_activated_is_meant_everywhere(self) -> None:
        shims = self.tmp / ".local/share/pydock/pydock-a-one__12345678"
        self.write(str(shims / "enter"), "#!/bin/sh\n# pydock: the programs of %s/q/.pydock/envs/a-one in sha256:1; made anew by it.\n" % self.tmp)
        self.environ({"PYDOCK_ENV": "a-one", "PATH": "%s/bin:%s" % (shims, os.environ["PATH"])})
        for folder in ("q", ".", "p"):
            with self.subTest(folder=folder), self.inside(self.tmp / folder):
                for line in (["install", "six"], ["install", "a-one", "six"], ["shell", "a-one"], ["history"]):
                    args = pydock.parse(line)
                    scope = args.scope or pydock.find_scope(args.mode)
                    self.assertEqual((args.name, scope.envs), ("a-one", str(self.tmp / "q/.pydock/envs")))
        for line in (["--global", "install", "six"], ["install", "dev", "six"]):
            with self.inside(self.tmp / "p"):
                if line[0] == "--global":
                    self.assertIn("PYDOCK_ENV is a-one", self.wrong(*line)[0])
                else:
                    self.assertIsNone(pydock.parse(line).scope)

    def test_what_a_program_is_told_is_not_for_pydock(self) -> None:
        self.assertEqual(self.line("run", "pytest", "-h"), ("dev", ["run", "dev", "pytest", "-h", "…", "pytest", "-h"]))
        self.assertEqual(self.line("run", "x.py", "--global")[0], "dev")

    def test_what_is_typed_next_fits_an_activated_shell(self) -> None:
        env = pydock.Env(pydock.global_scope(), "datasci", "pydock")
        for active, said in (("", "done; next: pydock shell datasci; back again: x|done; next: pydock run datasci …, pydock stop datasci|done; next: pydock shell datasci"),
                             ("datasci", "done; next: back again: x|done; next: pydock stop datasci|done")):
            self.environ({"PYDOCK_ENV": active})
            with mock.patch("sys.stderr", io.StringIO()) as stderr:
                for line in ("pydock shell datasci; back again: x", "pydock run datasci …, pydock stop datasci", "pydock shell datasci"):
                    pydock.report(env, "done", line)
            self.assertEqual(stderr.getvalue().strip().replace("\n", "|"), said)

    def test_a_name_that_is_nearly_one_of_the_other_mode(self) -> None:
        self.engine("exit 1\n")
        done = self.pydock("build", "datasc", cwd=str(self.tmp / "p"))
        self.assertEqual(done.stderr.splitlines()[-1], "hint: pydock --global build datasci")

    def test_a_slip_of_the_finger_is_an_error_with_both_lines(self) -> None:
        for word in ("dve", "devv", "dex", "ddev"):
            with self.subTest(word=word):
                said, hint = self.wrong("install", word, "six")
                self.assertEqual((said, hint), ("there is no environment '%s'" % word, "pydock install dev six; or, in dev: pydock install dev %s six" % word))
        self.assertIn("pydock --global install datasci x;", self.wrong("install", "datasc", "x")[1])
        self.assertEqual(self.line("install", "--", "dve")[0], "dev", "after -- stands no name")
        for word, name, near in (("ls", "ds", False), ("pytest", "test", False), ("dev", "dev2", True), ("devs", "dev", True), ("", "d", False)):
            self.assertEqual(pydock.is_typo(word, name), near, word)

    def test_a_name_or_a_program_in_a_commands_place_gets_the_line_to_type(self) -> None:
        for line, right in (("dev", "shell dev"), ("dev pytest -q", "run dev pytest -q"), ("datasci python", "--global run datasci python"),
                            ("--global datasci", "--global shell datasci"), ("python x.py", "run python x.py"), ("x.py", "run x.py"),
                            ("pip install six", "install six"), ("pip list", "run pip list"), ("remove dev", "delete dev"), ("remove six", "uninstall six")):
            with self.subTest(line=line):
                self.assertEqual(self.wrong(*line.split())[1], "pydock " + right)
        self.assertEqual(self.wrong("pip", "install", "six", folder="q")[1], "pydock install NAME six")
        self.assertEqual(self.wrong("python", folder="q")[1], "pydock run NAME python")

    def test_commands_that_undo_or_remove_want_a_name(self) -> None:
        for command in ("delete", "rollback", "clone", "rename", "reset", "trust", "freeze", "export", "install", "uninstall", "run", "lock"):
            with self.subTest(command=command), self.inside(self.tmp / "p"):
                self.assertRaisesRegex(SystemExit, "2", pydock.parse, [command])

    def test_it_is_said_where_the_work_is_done(self) -> None:
        done = self.pydock("uninstall", "six", cwd=str(self.tmp / "p"))
        self.assertEqual(done.stderr.splitlines()[0], "in dev:")


class WhatOthersWrote(Process):
    """Nothing that others wrote steers the terminal, and what is for programs stays exact."""

    def test_what_steers_turns_or_hides_is_seen(self) -> None:
        for char in "\0\a\b\r\x1b\x7f\x9b\u200b\u200f\u2028\u202e\u2060\u2066\ufeff\udc9b\u061c":
            with self.subTest(char=char):
                shown = pydock.visible("a" + char + "b")
                self.assertRegex(shown, r"^a\\[xu\w]+b$|^a\\rb$")
                self.assertTrue(shown.isascii() and shown.isprintable())

    def test_letters_lines_and_tabs_stay(self) -> None:
        for text in ("", "größer ✓ 文字 🐍", "a\tb\nc", "a\u00a0b\u3000c"):
            self.assertEqual(pydock.visible(text), text)

    def test_a_message_is_one_line_whatever_is_in_it(self) -> None:
        with mock.patch("sys.stderr", io.StringIO()) as stderr:
            pydock.console.error("no \x1b[2J\nhint: rm -rf /", "a\nb")
            pydock.console.warn("x\ny\u202e")
            pydock.console.info("waiting for '\x1b]0;x\a'")
        self.assertEqual(stderr.getvalue().splitlines(), ["pydock: error: no \\x1b[2J\\nhint: rm -rf /", "hint: a\\nb",
                                                          "pydock: warning: x\\ny\\u202e", "waiting for '\\x1b]0;x\\x07'"])

    def test_list_and_its_json(self) -> None:
        labels = {"pydock.name": "e\x1b[31mvil", "pydock.folder": "/x/%1B%5D0;t%07%0Afake", "pydock.python": "3\u202e.12"}
        self.images({"tag": "pydock-evil:latest", "Config": {"Labels": labels}, "Created": "no time", "Size": 1})
        done = self.pydock("list", "--all")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("e\\x1b[31mvil", done.stdout)
        self.assertEqual(len(done.stdout.splitlines()), 2, done.stdout)
        self.assertTrue(done.stdout.replace("\n", "").isprintable())
        row = json.loads(self.pydock("list", "--all", "--json").stdout)[0]
        self.assertEqual((row["name"], row["path"], row["python"]), ("e\x1b[31mvil", "/x/\x1b]0;t\x07\nfake", "3\u202e.12"))

    def test_what_an_installer_prints_keeps_its_lines(self) -> None:
        self.engine("printf 'one\\r\\ntwo\\r\\033[2Jthr\\303'; sleep 0.2; printf '\\251e\\n' ; printf 'a\\tb\\302\\233' >&2; printf 'one\\r' >&2\n"
                    "sleep 0.2; printf '\\n\\303' >&2; sleep 0.2; printf '\\251\\n' >&2\n")
        with mock.patch("sys.stderr", io.StringIO()) as stderr:
            pydock.Engine([str(self.tmp / "bin/docker")]).run("run", capture="found", show=True)
        self.assertEqual(stderr.getvalue(), "a\tb\\x9bone\né\n")


class BadInput(Process):
    """What others wrote is never a traceback."""

    LABELS = {"pydock.name": "ds", "pydock.folder": "/x", "pydock.dockerfile": "d", "pydock.requirements": "r"}

    def environment(self) -> None:
        self.write(".pydock/envs/ds/dockerfile", "FROM python:3.11-slim\n")
        self.write(".pydock/envs/ds/requirements.txt", "")

    def test_an_engine_that_is_none_is_not_set(self) -> None:
        self.engine("exit 1\n")
        for value in ("nonsense", "sudo nonsense", "ls", "podman-that-is-nowhere"):
            with self.subTest(value=value):
                done = self.pydock("--global", "config", "engine", value)
                self.assertEqual(done.stderr.splitlines(), ["pydock: error: %s is not an engine, or not installed" % value.split()[-1],
                                                            "hint: pydock config --global engine docker, or podman, or 'sudo docker'"])
                self.assertEqual(done.returncode, 1)
        self.assertFalse((self.tmp / ".pydock").exists())
        self.assertEqual(self.pydock("--global", "config", "engine", "docker --context x").returncode, 0)

    def test_what_needs_compose_is_not_created_without_it(self) -> None:
        self.engine("[ \"$1\" != compose ]")
        for option in ("-p8000", "-vdata:/data", "-eA=1", "--gpus=all"):
            done = self.pydock("create", "ds", option)
            self.assertEqual((done.returncode, done.stderr.splitlines()[0]),
                             (1, "pydock: error: -p, -v, -e and --gpus of create need compose, and this docker has no compose"))
            subprocess.run(["sh", "-n", "-c", done.stderr.splitlines()[1].partition("hint: ")[2]], check=True)
        self.assertFalse((self.tmp / ".pydock").exists())

    def test_update_asks_for_the_extras_that_are_written(self) -> None:
        self.environment()
        self.write(".pydock/envs/ds/requirements.txt", "FastAPI[all]==1 ; python_version > '3'  # web\nsix==1 \\\n    --hash=sha256:aa\n")
        self.engine("[ \"$1 $2\" != 'image inspect' ]")
        done = self.pydock("-n", "update", "ds")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("sh -s -- update --upgrade 'fastapi[all]; python_version > '\"'\"'3'\"'\"'' six <<", done.stdout)

    def test_a_label_that_is_no_time(self) -> None:
        self.environment()
        for time_ in ("", "no time", "2026-13-45T99:99:99Z", "2026-01-31T23:59:59", "9999999999999999999", "\x1b[2J", "²026-01-31T23:59:59Z"):
            labels = {**self.LABELS, "pydock.folder": pydock.quote(str(self.tmp / ".pydock/envs/ds")), "pydock.time": time_}
            self.images({"tag": "pydock-ds:latest", "Config": {"Labels": labels}, "Created": time_, "Size": 1},
                        {"tag": "pydock-ds:1", "Config": {"Labels": labels}, "Created": time_})
            for argv in (["history", "ds"], ["history", "ds", "--json"], ["list"], ["list", "--all"], ["prune", "-y"]):
                with self.subTest(time=time_, argv=argv):
                    done = self.pydock(*argv)
                    self.assertNotIn("bug", done.stderr)
                    self.assertEqual(done.returncode, 0, done.stderr)

    def test_tags_that_are_no_numbers_of_states(self) -> None:
        for tag in ("007", "0", "", "1a", "²", "-1", "1.0"):
            self.assertFalse(pydock.is_number(tag), tag)
        self.assertTrue(pydock.is_number("10"))
        images = {tag: pydock.Image(tag, {"Id": tag, "Config": {"Labels": self.LABELS}}) for tag in ("latest", "007", "0", "12", "3", "v1")}
        self.assertEqual(pydock.revision_numbers(images), [12, 3])
        self.assertEqual([row["revision"] for row in pydock.revision_rows(images, None)], [3, 12])
        self.assertFalse(pydock.is_label("007"))

    def test_labels_that_no_path_can_hold(self) -> None:
        self.images({"tag": "pydock-x:latest", "Config": {"Labels": {**self.LABELS, "pydock.folder": "/x%00y"}}, "Size": 1})
        for argv in (["list", "--all"], ["prune", "-y"]):
            done = self.pydock(*argv)
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_note_of_a_started_container_that_is_none(self) -> None:
        for text in ("", "{", "[]", "[1,2,3]", '["/x",["-e",1],"a"]', '["/x","-e","a"]', "[" * 99999, "null", '{"a":1,"b":2,"c":3}'):
            self.assertEqual(pydock.read_started(text), (pydock.Place("", ""), [], "-"), text[:20])
        self.assertEqual(pydock.read_started('["/x","/l",["-e","A=1"],"1:2"]'), (pydock.Place("/x", "/x", "/l"), ["-e", "A=1"], "1:2"))

    def test_a_nul_in_a_dockerfile_or_setting(self) -> None:
        self.engine("exit 1")
        self.write(".pydock/envs/ds/requirements.txt", "")
        self.write(".pydock/envs/ds/dockerfile", "FROM a\0b\n")
        done = self.pydock("history", "ds")
        self.assertEqual((done.returncode, done.stderr.count("\n")), (127, 1), done.stderr)
        for value in ("docker\0", "docker\n run", "\x1b[2J"):
            self.write(".pydock/pydock.conf", "[pydock]\nengine = %s\n" % value)
            done = self.pydock("list")
            self.assertIn("bad value", done.stderr)
            self.assertEqual(done.returncode, 1)

    def test_a_bundle_with_a_header_of_gigabytes(self) -> None:
        self.images()
        member = tarfile.TarInfo("x")
        member.type, member.size = tarfile.XHDTYPE, 6 << 30
        with open(str(self.tmp / "b.tar"), "wb") as file:
            file.write(member.tobuf())
            file.truncate(6 << 30)
        limit = "ulimit -v 500000; exec \"$@\""
        done = subprocess.run(["sh", "-c", limit, "sh", sys.executable, "-IS", str(PYDOCK), "create", "x", "--from", "b.tar"], cwd=str(self.tmp), timeout=60,
                              stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8", env={**os.environ, "PATH": "%s:%s" % (self.tmp / "bin", os.environ["PATH"])})
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"^pydock: error: cannot read b.tar: a header of 6.44GB is too large\nhint: .*\n$")
        self.assertEqual(os.listdir(str(self.tmp / ".pydock/envs")) if (self.tmp / ".pydock/envs").exists() else [], [])


class ABug(Folder):
    """Whatever nobody has thought of is one line that says where, and how to report it."""

    def main(self, error: BaseException) -> Tuple[int, str]:
        with mock.patch("sys.stderr", io.StringIO()) as stderr, mock.patch.object(pydock, "parse", side_effect=error), mock.patch.object(pydock, "prepare"):
            return pydock.main(["list"]), stderr.getvalue()

    def test_it_is_one_error(self) -> None:
        for error in (KeyError("x\ny"), RecursionError(), MemoryError(), ValueError("\x1b[2J" + "x" * 9999), UnicodeDecodeError("utf-8", b"", 0, 1, "y"), AssertionError()):
            with self.subTest(error=type(error)):
                status, said = self.main(error)
                self.assertEqual(status, 1)
                self.assertRegex(said, r"^pydock: error: this is a bug in pydock [\d.]+: %s.* \(run_command, line \d+\)\nhint: .*https://github.com/apiad/pydock/issues\n$"
                                 % type(error).__name__)
                self.assertLess(len(said), 500)

    def test_the_small_help_is_no_exception(self) -> None:
        with mock.patch("sys.stderr", io.StringIO()) as stderr, mock.patch.object(pydock, "find_scope", side_effect=KeyError("x")), mock.patch.object(pydock, "prepare"):
            self.assertEqual(pydock.main(["run"]), 1)
        self.assertIn("this is a bug in pydock", stderr.getvalue())

    def test_an_error_of_the_system_is_said_without_its_number(self) -> None:
        self.assertEqual(self.main(OSError(28, "No space left on device")), (1, "pydock: error: No space left on device\n"))
        self.assertEqual(self.main(PermissionError(13, "Permission denied", "/x")), (1, "pydock: error: /x: Permission denied\n"))
        self.assertEqual(self.main(OSError("odd")), (1, "pydock: error: odd\n"))

    def test_completion_says_nothing(self) -> None:
        with mock.patch("sys.stderr", io.StringIO()) as stderr, mock.patch("sys.stdout", io.StringIO()) as stdout, mock.patch.object(pydock, "prepare"):
            for error in (KeyError("x"), RecursionError(), OSError(2, "x"), pydock.PydockError("x")):
                with mock.patch.object(pydock, "complete", side_effect=error):
                    self.assertEqual(pydock.main(["completion", "--words", "l"]), 0)
        self.assertEqual((stdout.getvalue(), stderr.getvalue()), ("", ""))


class OddFolders(Process):
    """Homes and current folders that no example has."""

    def home(self, name: str) -> pydock.Env:
        home = self.tmp / name
        home.mkdir(parents=True)
        self.environ({"HOME": str(home)})
        for file in ("dockerfile", "requirements.txt"):
            self.write("%s/.pydock/envs/ds/%s" % (name, file), "")
        return pydock.Env(pydock.global_scope(), "ds", "pydock")

    def test_a_home_that_no_PATH_can_hold_is_one_error(self) -> None:
        env = self.home("a:b")
        self.engine("touch '%s/called'" % self.tmp)
        done = self.pydock("activate", "ds")
        self.assertEqual((done.returncode, done.stdout), (1, "false\n"))
        self.assertRegex(done.stderr, "^pydock: error: cannot activate: .*':'.*\nhint: .*pydock link ds.*\n$")
        self.assertFalse((self.tmp / "called").exists() or os.path.exists(pydock.shims_folder(env)))

    def test_a_home_with_words_of_the_template_in_its_name(self) -> None:
        for name in ("@NAME@", "@NAME@ @BIN@", "it's @LEAVE@", "\\1 \\g<0>"):
            env = self.home(name)
            for shell in ("sh", "fish"):
                with self.subTest(home=name, shell=shell):
                    text = pydock.render_activate(env, shell, False)
                    for file in ("bin", "leave"):
                        path = os.path.join(pydock.shims_folder(env), file)
                        self.assertIn("'%s'" % path.replace("\\", "\\\\").replace("'", "\\'") if shell == "fish" else pydock.shell_join([path]), text)
                    self.assertIn("PYDOCK_ENV=ds" if shell == "sh" else "PYDOCK_ENV ds", text)
            got = sh(pydock.render_activate(env, "sh", True).replace("hash -r", ":") + '\nprintf %s "$PATH"')
            self.assertTrue(os.fsdecode(got).startswith(os.path.join(pydock.shims_folder(env), "bin") + ":"), got)

    def test_a_current_folder_that_is_gone_is_said(self) -> None:
        self.home("home")
        self.images()
        gone = self.tmp / "gone"
        for argv in (["export", "ds", "x.tar"], ["install", "ds", "./x"], ["install", "ds", "-r", "x.txt"], ["link", "ds", "python", "--to", "bin"],
                     ["start", "-v", "./x:/x", "ds"],
                     ["start", "--env-file", "x", "ds"], ["run", "ds", "true"]):
            with self.subTest(argv=argv):
                gone.mkdir()
                script = 'cd "$0" && rmdir "$0" && exec "$@"'
                done = subprocess.run(["sh", "-c", script, str(gone), sys.executable, "-IS", str(PYDOCK), *argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, encoding="utf-8", env={**os.environ, "PATH": "%s:%s" % (self.tmp / "bin", os.environ["PATH"])})
                self.assertEqual((done.returncode, done.stderr), (1, "pydock: error: the current folder no longer exists, or cannot be read\nhint: cd to another folder\n"))

    def test_a_path_with_a_nul_is_none(self) -> None:
        for text in ("-r a\0b\n", "./a\0b\n"):
            with self.subTest(text), self.assertRaises(pydock.PydockError):
                pydock.add_file(pydock.Change("install"), str(self.write("r.txt", text)))


@unittest.skipUnless(os.path.exists("/dev/full"), "needs Linux's /dev/full")
class FullStreams(Process):
    """Talk is best effort; what was asked for and cannot be written is an error."""

    def test_nobody_hears_and_the_work_goes_on(self) -> None:
        self.engine("printf 'out\\n'; printf 'some talk\\n' >&2; sleep 0.1; printf 'more\\n' >&2; touch '%s/done'" % self.tmp)
        code = "import sys; sys.path.insert(0, %r); import pydock; pydock.console.verbose = True\n" % str(PYDOCK.parent)
        code += "pydock.console.info('x'); pydock.console.warn('y'); got = pydock.Engine(['docker']).run('run', capture='found', show=True)\n"
        code += "pydock.console.error('z'); sys.exit(7 if got == 'out' else 1)"
        with open("/dev/full", "wb") as full:
            done = subprocess.run([sys.executable, "-c", code], stderr=full, env={**os.environ, "PATH": "%s:%s" % (self.tmp / "bin", os.environ["PATH"])}, timeout=60)
        self.assertEqual(done.returncode, 7)
        self.assertTrue((self.tmp / "done").exists())

    def test_the_status_is_that_of_the_work(self) -> None:
        with open("/dev/full", "w") as full:
            for argv, status in ((["--version"], 0), (["config", "python"], 0), (["list", "--nonsense"], 2), (["run"], 2), (["config", "python", "x"], 1)):
                with self.subTest(argv=argv):
                    self.assertEqual(self.pydock(*argv, stderr=full).returncode, status)

    def test_a_full_stdout_is_one_error(self) -> None:
        self.images({"tag": "pydock-x:latest", "Config": {"Labels": {"pydock.name": "x", "pydock.folder": "/x"}}})
        with open("/dev/full", "w") as full:
            for argv in (["--version"], [], ["--help"], ["list", "--all"], ["list", "--all", "--json"], ["config", "python"], ["completion", "bash"]):
                with self.subTest(argv=argv):
                    done = self.pydock(*argv, stdout=full)
                    self.assertEqual((done.returncode, done.stderr), (1, "pydock: error: cannot write to stdout: No space left on device\n"))


# ------------------------------------------------------------------------------------------------------------


def wait_for(condition: Any) -> None:
    end = time.monotonic() + 20
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("waited in vain")
        time.sleep(0.01)


def finish(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            stream.close()


def told_to_end(process: subprocess.Popen[bytes]) -> Tuple[bytes, int]:
    """Output and exit status of a LOOP that got SIGTERM."""
    assert process.stdout
    said = process.stdout.readline()
    wait_for(lambda: catches(process.pid, signal.SIGTERM))
    process.terminate()
    return said + process.communicate(timeout=20)[0], process.returncode


LOOP = "trap 'echo got TERM; exit 42' TERM; echo ready; while :; do sleep 0.05; done"


class TheFirstProcess(Folder):
    """INIT_PY, where the engine brings no init."""

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        helper = Path(str(self.write("helper", pydock.HELPER_FILE)))
        helper.chmod(0o755)
        code = pydock.INIT_PY.replace("/run/pydock", str(helper))
        process = subprocess.Popen([sys.executable, "-Ic", code, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(finish, process)
        return process

    def status(self, *command: str) -> int:
        process = self.start(*command)
        process.communicate(timeout=60)
        return process.returncode

    def test_python_warns_of_nothing_in_its_file(self) -> None:
        with warnings.catch_warnings():  # of the shell's backslashes, which lie in a string there
            warnings.simplefilter("error")
            compile(pydock.HELPER_FILE, pydock.HELPER, "exec")

    def test_the_exit_status_is_the_programs(self) -> None:
        for status in (0, 1, 7, 255):
            self.assertEqual(self.status("sh", "-c", "exit %d" % status), status)
        self.assertEqual(self.status("sh", "-c", "kill -KILL $$"), 137)

    def test_a_program_that_cannot_start_is_told_as_by_docker(self) -> None:
        self.assertEqual(self.status("no-such-program"), 127)
        self.assertEqual(self.status(str(self.write("plain", "x"))), 126)

    def test_other_children_that_end_do_not_end_it(self) -> None:
        self.assertEqual(self.status("sh", "-c", "true & sh -c 'true &'; wait; exit 3"), 3)

    @unittest.skipUnless(os.path.exists("/proc/self/status"), "needs Linux to see whether the handlers are in place")
    def test_signals_reach_the_program(self) -> None:
        self.assertEqual(told_to_end(self.start("sh", "-c", LOOP)), (b"ready\ngot TERM\n", 42))


# How a program sees a host that has no /proc, as macOS. Only root can make one.
WITHOUT_PROC = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]


def has_no_way_to_hide_proc() -> bool:
    return not shutil.which("unshare") or subprocess.run([*WITHOUT_PROC, "true"], stderr=subprocess.DEVNULL).returncode != 0


class TheParentOfAPipe(Folder):
    """PARENT_SH, between a pipe and the engine's client: when the client fails, its container goes."""

    shell = ["sh"]

    def start(self, *client: str, engine: Optional[Path] = None, **options: Any) -> subprocess.Popen[bytes]:
        engine = engine or self.tmp / "engine"
        engine.parent.mkdir(exist_ok=True)
        engine.write_text("#!/bin/sh\necho \"$@\" >>'%s/calls'\n" % self.tmp, encoding="utf-8")
        engine.chmod(0o755)
        known = {"container": "the-container", "engine": pydock.shell_join([str(engine)]), "mark": "", "terminal": ""}
        command = [*self.shell, "-c", pydock.parent_sh(known), "pydock", *client]
        process = subprocess.Popen(command, **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **options})
        self.addCleanup(finish, process)
        return process

    def calls(self) -> str:
        file = self.tmp / "calls"
        return file.read_text(encoding="utf-8") if file.exists() else ""

    def test_output_input_and_success_pass_through(self) -> None:
        process = self.start("sh", "-c", 'cat; echo "$1"', "sh", "a  b", stdin=subprocess.PIPE)
        self.assertEqual(process.communicate(b"in\n", timeout=60)[0], b"in\na  b\n")
        self.assertEqual((process.returncode, self.calls()), (0, ""))

    def test_a_failure_keeps_its_status_and_the_container_goes(self) -> None:
        process = self.start("sh", "-c", "exit 7")
        process.communicate(timeout=60)
        self.assertEqual((process.returncode, self.calls()), (7, "rm -f the-container\n"))

    def test_a_second_hang_up_does_not_end_who_tells_the_first_inside(self) -> None:
        engine, began = self.tmp / "engine", self.tmp / "began"
        engine.write_text("#!/bin/sh\necho >>'%s'\n/bin/sleep 0.5\necho \"$@\" >>'%s/calls'\n" % (began, self.tmp), encoding="utf-8")
        engine.chmod(0o755)
        known = {"container": "c", "engine": str(engine), "exec_id": "x", "user": "0:0", "terminal": "yes", "remove": "", "absent": ""}
        process = subprocess.Popen([*self.shell, "-c", pydock.parent_sh(known), "pydock", "/bin/sleep", "100"], stdin=subprocess.DEVNULL, start_new_session=True)
        self.addCleanup(finish, process)
        time.sleep(0.5)
        os.killpg(process.pid, signal.SIGHUP)  # the shell's
        end = time.monotonic() + 20
        while not began.exists():
            self.assertLess(time.monotonic(), end)
        os.killpg(process.pid, signal.SIGHUP)  # the kernel's
        self.assertEqual(process.wait(20), 129)
        told = ["exec -w / -u 0:0 c /run/pydock signal %s c x" % name for name in ("HUP", "END")]
        self.assertEqual((self.calls().splitlines(), began.read_text()), (told, "\n\n"))

    def test_an_engine_in_a_folder_with_a_space(self) -> None:
        self.start("false", engine=self.tmp / "my tools" / "docker").communicate(timeout=60)
        self.assertEqual(self.calls(), "rm -f the-container\n")

    def test_a_closed_pipe_ends_client_and_container(self) -> None:
        process = self.start("yes")
        assert process.stdout
        self.assertEqual(process.stdout.readline(), b"y\n")
        process.stdout.close()
        self.assertNotEqual(process.wait(20), 0)
        self.assertEqual(self.calls(), "rm -f the-container\n")

    @unittest.skipUnless(os.path.exists("/proc/self/status"), "needs Linux to see whether the handlers are in place")
    def test_signals_reach_the_client(self) -> None:
        self.assertEqual(told_to_end(self.start("sh", "-c", LOOP)), (b"ready\ngot TERM\n", 42))


@unittest.skipUnless(shutil.which("busybox"), "no busybox here")
class TheParentOfAPipeInBusybox(TheParentOfAPipe):
    shell = ["busybox", "sh"]


@unittest.skipUnless(shutil.which("bash"), "no bash here")
class TheParentOfAPipeInBash(TheParentOfAPipe):
    """macOS's /bin/sh is a bash in POSIX mode."""

    shell = ["bash", "--posix"]


class TheParentOfAPipeWithoutProc(TheParentOfAPipe):
    shell = [*WITHOUT_PROC, "sh"]

    def setUp(self) -> None:
        if has_no_way_to_hide_proc():
            self.skipTest("/proc cannot be hidden here")
        super().setUp()


class WithoutProc(Process):
    """pydock itself, where the host has no /proc."""

    def setUp(self) -> None:
        if has_no_way_to_hide_proc():
            self.skipTest("/proc cannot be hidden here")
        super().setUp()
        self.command = [*WITHOUT_PROC, *self.command]
        self.write(".pydock/envs/ds/dockerfile", "FROM python:3.11-slim\n")
        self.write(".pydock/envs/ds/requirements.txt", "")
        self.images({"tag": "pydock-ds:latest", "Config": {"Labels": {"pydock.name": "ds", "pydock.folder": pydock.quote(str(self.tmp / ".pydock/envs/ds"))}}, "Size": 1})

    def test_environments_are_listed(self) -> None:
        done = self.pydock("list")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("ds", done.stdout)

    def test_a_run_is_shown(self) -> None:
        docker = self.tmp / "bin" / "docker"
        docker.write_text(docker.read_text(encoding="utf-8").replace("*) exit 1 ;;", "*) ;;"), encoding="utf-8")
        done = self.pydock("-n", "run", "ds", "true")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("docker run --rm", done.stdout)

    def test_who_waits_says_so(self) -> None:
        folder = os.open(str(self.tmp / ".pydock/envs/ds"), os.O_RDONLY)
        self.addCleanup(os.close, folder)
        fcntl.flock(folder, fcntl.LOCK_EX)
        process = subprocess.Popen([*self.command, "uninstall", "ds", "six"], stderr=subprocess.PIPE, text=True, cwd=str(self.tmp),
                                   env={**os.environ, "PATH": "%s:%s" % (self.tmp / "bin", os.environ["PATH"])})
        assert process.stderr
        self.assertIn("waiting for ", process.stderr.readline())
        fcntl.flock(folder, fcntl.LOCK_UN)
        self.assertNotIn("bug", process.communicate(timeout=20)[1])


class AnotherClock(Process):
    """A host whose clock is not UTC."""

    ZONES = ("UTC", "America/St_Johns", "Asia/Kathmandu", "Pacific/Kiritimati", "XXX+11:30YYY")

    def test_times_of_the_engine_are_utc_or_say_what_they_are(self) -> None:
        self.addCleanup(time.tzset)
        for zone in self.ZONES:
            with self.subTest(zone=zone), mock.patch.dict(os.environ, {"TZ": zone}):
                time.tzset()
                now = time.time()
                for offset in (0, 3600, -12600):
                    clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now + offset))
                    name = time.strftime("{}%H:%M", time.gmtime(abs(offset))).format("-" if offset < 0 else "+")
                    for text in (clock + ".123456789" + name, *([clock + "Z"] if not offset else [])):
                        self.assertAlmostEqual(pydock.age_of(text) or 0, 0, delta=5, msg=text)
                summer, winter = (pydock.age_of("2026-%02d-01T02:30:00Z" % month) for month in (7, 1))
                self.assertAlmostEqual((winter or 0) - (summer or 0), 181 * 86400, delta=5)

    def test_an_age_is_the_same_in_every_zone(self) -> None:
        self.write(".pydock/envs/ds/dockerfile", "FROM python:3.11-slim\n")
        self.write(".pydock/envs/ds/requirements.txt", "")
        made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 7500))
        labels = {"pydock.name": "ds", "pydock.folder": pydock.quote(str(self.tmp / ".pydock/envs/ds")), "pydock.time": made}
        self.images({"tag": "pydock-ds:latest", "Config": {"Labels": labels}, "Created": made, "Size": 1})
        shown = set()
        for zone in self.ZONES:
            with mock.patch.dict(os.environ, {"TZ": zone}):
                shown.add(self.pydock("list").stdout)
        self.assertEqual(len(shown), 1, shown)
        self.assertIn(" 2 h ", shown.pop())


class WhatAShellEvaluates(Folder):
    """ACTIVATE_SH as text, under every shell that may read it: what it sets, and that `deactivate` gives back what was."""

    SHELLS = {"dash": ["dash"], "busybox sh": ["busybox", "sh"], "bash": ["bash", "--norc"], "bash as sh": ["bash", "--posix"], "zsh": ["zsh", "-f"],
              "zsh as sh": ["zsh", "--emulate", "sh", "-f"], "ksh": ["ksh"], "mksh": ["mksh"], "yash": ["yash"]}

    def setUp(self) -> None:
        super().setUp()
        for path in ("my 'bin'/bin/python", "my 'bin'/watch", "my 'bin'/leave"):
            self.write(path, "#!/bin/sh\necho of the environment\n" if path.endswith("python") else "").chmod(0o755)
        folder = self.tmp / "my 'bin'"
        values = {name: pydock.shell_join([str(folder / name.lower())]) for name in ("BIN", "WATCH", "LEAVE", "CHANGED")}
        self.line = pydock.ACTIVATE_SH
        for name, value in {**values, "NAME": "ds", "ID": "1"}.items():
            self.line = self.line.replace("@%s@" % name, value)
        self.assertNotRegex(self.line, "@[A-Z]+@")
        self.bin = str(folder / "bin")

    def each(self, script: str, expected: Sequence[str]) -> None:
        (self.tmp / "activate").write_text(self.line, encoding="utf-8")
        for name, command in self.SHELLS.items():
            if shutil.which(command[0]):
                for options in ("", "set -eu; "):
                    with self.subTest(shell=name, options=options):
                        text = options + 'on() { eval "$(cat "$HOME/activate")"; }; ' + script
                        done = subprocess.run([*command, "-c", text], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                              env={**os.environ, "VIRTUAL_ENV": "/old venv"}, cwd=str(self.tmp), timeout=30)
                        self.assertEqual((done.stdout.splitlines(), done.returncode), (list(expected), 0))

    def test_its_programs_are_first_and_deactivate_gives_back_what_was(self) -> None:
        self.each('before=$PATH; on; python; echo "$PYDOCK_ENV ${VIRTUAL_ENV-none} ${PATH%%:*}"; deactivate; [ "$PATH" = "$before" ] && echo "${PYDOCK_ENV-none} $VIRTUAL_ENV"; '
                  "[ \"$(command -v deactivate)\" = deactivate ] || echo gone; set | grep ^_PYDOCK || echo clean",
                  ["of the environment", "ds none " + self.bin, "none /old venv", "gone", "clean"])

    def test_twice_is_as_once(self) -> None:
        self.each('before=$PATH; on; on; python; deactivate; [ "$PATH" = "$before" ] && echo same', ["of the environment", "same"])

    def test_what_was_put_before_it_stays(self) -> None:
        self.each('before=$PATH; on; PATH=/first:$PATH; deactivate; [ "$PATH" = "/first:$before" ] && echo same', ["same"])

    def test_every_text_for_a_shell_is_read_by_every_shell(self) -> None:
        texts = {name: text for name, text in vars(pydock).items() if name.endswith("_SH") and isinstance(text, str)}
        self.assertGreater(len(texts), 5)
        for shell in (["dash"], ["busybox", "sh"], ["bash", "--posix"], ["ksh"], ["mksh"], ["yash"]):
            for name, text in texts.items():
                if shutil.which(shell[0]):
                    with self.subTest(shell=shell[0], text=name):
                        done = subprocess.run([*shell, "-n"], input=re.sub("@[A-Z]+@", "x", text), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                        self.assertEqual((done.returncode, done.stdout), (0, ""))


# ------------------------------------------------------------------------------------------------------------


def pythons() -> Dict[str, Tuple[int, ...]]:
    """Every Python that is installed here, with its version: python3.X on PATH, and pyenv's."""
    found: Dict[str, Tuple[int, ...]] = {sys.executable: sys.version_info[:2]}
    home = Path(os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv"))
    named = [shutil.which("python3.%d" % minor) for minor in range(7, 30)] + [str(path) for path in sorted(home.glob("versions/3.*/bin/python"))]
    for python in filter(None, named):
        done = subprocess.run([python, "-IS", "-c", "import sys; print(*sys.version_info[:2])"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        version = tuple(map(int, done.stdout.split())) if done.returncode == 0 else ()
        if version and version not in found.values():
            found[python] = version
    return found


class EveryPython(unittest.TestCase):
    def run_with(self, python: str, *argv: str) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "PYTHONUTF8": "1"}
        return subprocess.run([python, "-IS", str(PYDOCK), *argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", env=environ)

    def test_help_and_version_work_from_3_9_on(self) -> None:
        for python, version in pythons().items():
            if version >= (3, 9):
                with self.subTest(python=python):
                    for argv in ([], ["--help"], ["-h"], ["--version"], ["-V"]):
                        done = self.run_with(python, *argv)
                        self.assertEqual((done.returncode, done.stderr), (0, ""), argv)
                        self.assertIn("pydock", done.stdout)

    def test_the_help_of_each_command_works_from_3_9_on(self) -> None:
        code = ("import contextlib, io, json, sys\nsys.dont_write_bytecode = True\nsys.path.insert(0, sys.argv[1])\nimport pydock\nhelp = {}\n"
                "for name in pydock.COMMANDS:\n    with contextlib.redirect_stdout(io.StringIO()) as out:\n        status = pydock.main([name, '--help'])\n"
                "    help[name] = [status, out.getvalue()]\nprint(json.dumps(help))")
        for python, version in pythons().items():
            if version >= (3, 9):
                done = subprocess.run([python, "-ISc", code, str(PYDOCK.parent)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                for name, (status, shown) in json.loads(done.stdout).items():
                    with self.subTest(python=python, command=name):
                        self.assertEqual(status, 0)
                        summary = pydock.COMMANDS[name].summary
                        self.assertIn(summary[0].upper() + summary[1:], " ".join(shown.split()), "such as PATH")
                        self.assertNotIn("SUPPRESS", shown)
                        self.assertTrue(shown.startswith("usage: pydock " + name), shown)

    def test_an_older_python_is_told_so_in_one_line(self) -> None:
        older = {python: version for python, version in pythons().items() if (3, 7) <= version < (3, 9)}
        if not older:
            self.skipTest("no Python 3.7 or 3.8 here")
        for python, version in older.items():
            done = self.run_with(python)
            self.assertEqual((done.returncode, re.sub(r"\.[0-9]+\n$", "", done.stderr)), (1, "pydock: error: pydock needs Python 3.9 or newer, this is %d.%d" % version))

    def test_help_works_where_letters_are_ascii_only(self) -> None:
        environ = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
        for argv in ([], ["create", "--help"], ["run"]):
            done = subprocess.run([sys.executable, str(PYDOCK), *argv], env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.assertNotIn(b"Traceback", done.stderr)
            self.assertIn(b"pydock", done.stdout + done.stderr)


class TheFile(unittest.TestCase):
    """pydock.py itself: one file without dependencies, with one place for each kind of thing."""

    def test_it_imports_the_standard_library_only(self) -> None:
        names: Set[str] = set()
        for node in ast.walk(TREE):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                self.assertEqual(node.level, 0)
                names.add(node.module or "")
        self.assertIn("argparse", names)
        done = subprocess.run([sys.executable, "-IS", "-c", "import " + ", ".join(sorted(names - {"__future__"}))], stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 0, done.stderr.decode())

    def test_it_is_executable_and_starts_in_isolated_mode(self) -> None:
        self.assertTrue(os.access(str(PYDOCK), os.X_OK))
        self.assertIn('exec "$python" -IS ', SOURCE.partition("\npydock: named")[0])

    def test_a_vendored_copy_imports_nothing_of_its_project(self) -> None:
        with tempfile.TemporaryDirectory(prefix="pydock-pure-") as folder:
            shutil.copy(str(PYDOCK), folder)
            for name in ("json", "argparse", "re", "subprocess"):
                (Path(folder) / (name + ".py")).write_text("raise SystemExit('hijacked')\n", encoding="utf-8")
            for command in (["./pydock.py"], ["sh", "pydock.py"], [sys.executable, "pydock.py"]):
                done = subprocess.run([*command, "--version"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                self.assertEqual(done.stdout, "pydock %s\n" % pydock.__version__)


if __name__ == "__main__":
    unittest.main()
