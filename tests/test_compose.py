"""docker-compose.yml: what `create` writes there and what a person writes there later hold for `start`, `run` and `shell`,
other services included; compose is never asked where there is no such file (issue 3, section 5)."""
from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import unittest
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import contract
from support import (
    ENGINE, IDLE, INNER_HOME, PRINT, REDIS, SLEEP, Case, RunCase, SharedCase, as_user, docker_groups, engine, mine, needs_compose,
    needs_redis, one_engine_for_all, pydock, remove, signals_as_usual,
)

# One that never becomes ready for those that wait for it.
NEVER: Dict[str, Any] = {**IDLE, "healthcheck": {"test": ["CMD", "false"], "interval": "1s", "retries": 1000}}

# An engine whose compose is not there, as docker's client says it.
NO_COMPOSE = """#!{python} -IS
import os, sys
if sys.argv[1:2] == ["compose"]:
    sys.stderr.write("docker: 'compose' is not a docker command.\\nSee 'docker --help'\\n")
    sys.exit(1)
os.execv({real!r}, [{real!r}, *sys.argv[1:]])
"""
# One that hangs for a while when `compose {verb}` has done its work.
SLOW = """#!{python} -IS
import os, subprocess, sys, time
if sys.argv[1:2] == ["compose"] and {verb!r} in sys.argv:
    subprocess.run([{real!r}, *sys.argv[1:]])
    open({done!r}, "w").close()
    time.sleep(60)
os.execv({real!r}, [{real!r}, *sys.argv[1:]])
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def put_engine(case: Case, program: str) -> None:
    """Puts another engine first on PATH; `no_fake` takes it away."""
    path = case.base / "fake" / ENGINE[-1]
    path.parent.mkdir(exist_ok=True)
    path.write_text(program, encoding="utf-8")
    path.chmod(0o755)
    case.environ["PATH"] = str(path.parent) + os.pathsep + os.environ["PATH"]


def real_engine() -> str:
    real = shutil.which(ENGINE[-1])
    assert real
    return real


# ------------------------------------------------------------------------------------------------------------


class Written(SharedCase):
    """What `create` writes, by its text; with --no-build, so no engine is asked."""

    count = 0

    def text(self, *options: str, **more: Any) -> str:
        Written.count += 1
        self.name = "e%d" % Written.count
        self.ok("create", self.name, "--no-build", *options, **more)
        return (self.folder(self.name) / "docker-compose.yml").read_text(encoding="utf-8")

    def test_it_is_one_service_that_builds_from_the_dockerfile_beside_it(self) -> None:
        self.fake()
        text = self.text("-p", "8888")
        self.assertNotIn("compose -p", self.calls())
        self.assertEqual([line for line in text.splitlines() if re.match(r"\S|  \S", line) and not line.startswith("#")], ["services:", "  app:"])
        self.assertIn("dockerfile: dockerfile", text)
        self.assertIn('- "127.0.0.1:8888:8888"', text)
        self.assertEqual(sorted(os.listdir(str(self.folder(self.name)))), ["docker-compose.yml", "dockerfile", "requirements.txt"])

    def test_without_ports_volumes_and_variables_there_is_none(self) -> None:
        self.ok("create", "none", "--no-build", "--user", "4711:ada")
        self.assertEqual(sorted(os.listdir(str(self.folder("none")))), ["dockerfile", "requirements.txt"])

    def test_what_compose_could_not_read_is_one_clear_error_and_leaves_nothing(self) -> None:
        self.addCleanup(shutil.rmtree, str(self.folder("bad")), ignore_errors=True)
        for options in (("-v", "data:"), ("-v", ""), ("-v", "da$ta:/x"), ("-v", "dät:/x"), ("-v", "no/such:/x"), ("-v", "./no:/x"), ("-p", "x"), ("-p", "80:"),
                        ("-p", "999999"), ("-p", ""), ("-e", os.fsdecode(b"A=\xff")), ("-e", ""), ("-e", "=x"), ("--gpus", "some"), ("--gpus", "")):
            with self.subTest(options=options):
                shutil.rmtree(str(self.folder("bad")), ignore_errors=True)
                self.fails("create", "bad", "--no-build", *options)
                self.assertFalse(self.folder("bad").exists())

    @needs_compose
    def test_dry_run_shows_the_file_and_writes_none(self) -> None:
        out = self.ok("-n", "create", "dry", "-p", "8888", "-e", "A=it's $5")
        self.assertIn("127.0.0.1:8888:8888", out)
        self.assertIn("docker-compose.yml", out)
        self.assertFalse(self.folder("dry").exists())

    def test_the_options_are_in_the_help(self) -> None:
        out = self.ok("create", "--help")
        for option in ("-p", "-v", "-e", "--gpus"):
            self.assertIn(option, out)


@needs_compose
class Parsed(SharedCase):
    """What `create` writes, as compose understands it."""

    count = 0

    def service(self, *options: str, name: str = "", **more: Any) -> Dict[str, Any]:
        Parsed.count += 1
        name = name or "e%d" % Parsed.count
        self.ok("create", name, "--no-build", *options, **more)
        return dict(self.parse(self.folder(name))["services"]["app"])

    def parse(self, folder: Path, **environ: str) -> Dict[str, Any]:
        done = subprocess.run([*ENGINE, "compose", "-f", str(folder / "docker-compose.yml"), "config", "--format", "json"], env={**self.environ, **environ},
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""), (folder / "docker-compose.yml").read_text(encoding="utf-8"))
        return dict(json.loads(done.stdout))

    def test_values_arrive_byte_for_byte(self) -> None:
        values = ["$", "$$", "${X}", '"', "'", "a: b", "# x", "- x", "é日本", "😀", "a\nb", "\t", "\\n", "\u2028", "\ufeffx", "\x01", "\x7f", "\x85", "\x9f", " x ", "", "%41",
                  "{a}", "[", "`id`", "$(id)", "yes", "null", "*a", "&a", "!a", "|", "@", "=x=y", "x" * 5000]
        service = self.service(*(word for i, value in enumerate(values) for word in ("-e", "V%d=%s" % (i, value))))
        got = {key: value.replace("$$", "$") for key, value in service["environment"].items()}
        self.assertEqual(got, {"V%d" % i: value for i, value in enumerate(values)})

    def test_a_variable_without_a_value_is_the_callers(self) -> None:
        self.service("-e", "OF_HOST", name="of-host")
        self.assertNotIn("secret", (self.folder("of-host") / "docker-compose.yml").read_text(encoding="utf-8"))
        self.assertEqual(self.parse(self.folder("of-host"), OF_HOST="secret")["services"]["app"]["environment"]["OF_HOST"], "secret")

    def test_ports_are_open_on_this_host_alone_unless_said_otherwise(self) -> None:
        ports = self.service("-p", "8888", "-p", "8080:80", "-p", "53:53/udp", "-p", "0.0.0.0:81:80", "-p", "[::1]:82:80", "-p", "9000-9001:7000-7001")["ports"]
        self.assertEqual([(port.get("host_ip"), port["published"], port["target"], port["protocol"]) for port in ports],
                         [("127.0.0.1", "8888", 8888, "tcp"), ("127.0.0.1", "8080", 80, "tcp"), ("127.0.0.1", "53", 53, "udp"), ("0.0.0.0", "81", 80, "tcp"),
                          ("::1", "82", 80, "tcp"), ("127.0.0.1", "9000", 7000, "tcp"), ("127.0.0.1", "9001", 7001, "tcp")])

    def test_volumes_are_named_ones_and_folders_of_the_host(self) -> None:
        odd = self.work / 'da$ta "x" é # y'
        odd.mkdir()
        (self.home / "below").mkdir()
        service = self.service("-v", "data:/data", "-v", "data:/again", "-v", "123:/number", "-v", "null:/null", "-v", "%s:/odd:ro" % odd, "-v", "~/below:/below", "-v", ".:/here",
                               name="volumes")
        got = {v["target"]: (v["type"], v.get("source", "").replace("$$", "$"), v.get("read_only", False)) for v in service["volumes"]}
        self.assertEqual(got, {"/data": ("volume", "data", False), "/again": ("volume", "data", False), "/number": ("volume", "123", False), "/null": ("volume", "null", False),
                               "/odd": ("bind", str(odd), True), "/below": ("bind", str(self.home / "below"), False), "/here": ("bind", str(self.work), False)})
        self.assertEqual(sorted(self.parse(self.folder("volumes"))["volumes"]), ["123", "data", "null"])

    def test_gpus_as_docker_has_them(self) -> None:
        for given, expected in (("all", {"count": -1}), ("2", {"count": 2}), ("device=0", {"device_ids": ["0"]}), ("device=0,1", {"device_ids": ["0", "1"]}),
                                ('"device=0,1"', {"device_ids": ["0", "1"]}), ("device=GPU-3a23", {"device_ids": ["GPU-3a23"]})):
            with self.subTest(gpus=given):
                devices = self.service("--gpus", given)["deploy"]["resources"]["reservations"]["devices"]
                self.assertEqual(devices, [{"driver": "nvidia", "capabilities": ["gpu"], **expected}])

    def test_names_that_are_other_things_in_yaml(self) -> None:
        for name in ("true", "null", "on", "no", "0x1f", "1e3", "1_000", "my.env", "my-env", "e.1"):
            with self.subTest(name=name):
                self.assertEqual(self.service("-e", "A=1", name=name)["environment"], {"A": "1"})

    def test_folders_of_a_project_are_named_from_it_so_that_a_clone_has_its_own(self) -> None:
        project, outside = self.work / "project", self.work / "outside"
        (project / "data" / "sub").mkdir(parents=True)
        outside.mkdir()
        (project / "data" / ".keep").write_text("", encoding="utf-8")
        volumes = ("./data:/data", "data/sub:/sub", ".:/top", "../outside:/outside", "named:/named")
        self.ok("--local", "create", "dev", "--no-build", *("--volume=" + volume for volume in volumes), cwd=project)
        clone = self.work / "a clone"
        shutil.copytree(str(project), str(clone))
        for place in (project, clone):
            service = self.parse(place / ".pydock" / "envs" / "dev")["services"]["app"]
            self.assertEqual({v["target"]: v["source"] for v in service["volumes"]},
                             {"/data": str(place / "data"), "/sub": str(place / "data" / "sub"), "/top": str(place), "/outside": str(outside), "/named": "named"})


class NeverCalled(RunCase):
    """Compose costs a quarter of a second: where there is no docker-compose.yml, no command asks it anything."""

    def test_without_the_file_no_command_calls_compose(self) -> None:
        self.fake()
        shell = "eval \"$(%s activate --shell sh e)\"; python -c pass; deactivate" % " ".join(map(shlex.quote, self.program))
        for argv in (("run", "e", "true"), ("start", "e"), ("run", "e", "true"), ("list",), ("install", "e", "iniconfig==2.0.0"), ("reset", "e"), ("stop", "e"), ("build", "e")):
            self.ok(*argv)
        done = subprocess.run(["sh", "-c", shell], cwd=str(self.work), env=self.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([call for call in self.calls() if call.startswith("compose")], [])
        self.wait_for(lambda: not self.containers(), 20)

    def test_without_the_plugin_the_file_is_one_clear_error(self) -> None:
        (self.folder("e") / "docker-compose.yml").write_text("services:\n  app:\n    build: .\n", encoding="utf-8")
        self.addCleanup(os.unlink, str(self.folder("e") / "docker-compose.yml"))
        put_engine(self, NO_COMPOSE.format(python=sys.executable, real=real_engine()))
        for argv in (("run", "e", "touch", "ran"), ("shell", "e"), ("start", "e"), ("reset", "e"), ("activate", "--shell", "sh", "e")):
            result = self.fails(*argv, says="compose", hint="compose")
            self.assertEqual(len(result.err.splitlines()), 2, result)
        self.assertEqual(self.containers(), [])
        self.assertEqual(os.listdir(str(self.work)), [])
        self.assertEqual(self.listed()["e"]["state"], "ready")
        self.ok("build", "e")


# ------------------------------------------------------------------------------------------------------------


@needs_compose
class ComposeCase(RunCase):
    """One environment `e`, for which each test writes a docker-compose.yml. After each, `stop` leaves nothing of it."""

    @classmethod
    def prepare(cls, case: Case) -> None:
        case.addCleanup(remove, case)
        case.ok("create", "e")

    @property
    def file(self) -> Path:
        return self.folder("e") / "docker-compose.yml"

    @property
    def warm(self) -> str:
        return "%s-e--background" % self.prefix

    def write(self, text: str = "", volumes: Sequence[str] = (), e: Optional[Dict[str, Any]] = None, **services: Dict[str, Any]) -> None:
        """The file by its text, or by its services (JSON is YAML), of which `app`, with `e`, is there anyway."""
        content = {"services": {"app": {"build": ".", **(e or {})}, **services}, "volumes": {name: {} for name in volumes}}
        self.file.write_text(text or json.dumps(content, indent=1), encoding="utf-8")

    def worker(self, **more: Any) -> Dict[str, Any]:
        """A service of the environment's own image that shows in the file `beat` that it lives."""
        return {"image": "%s-e:latest" % self.prefix, "pull_policy": "never", "init": True, "command": ["sh", "-c", "while :; do date +%s%N > /beat/beat; sleep 0.1; done"],
                "volumes": ["%s:/beat" % self.work], **more}

    def beats(self) -> bool:
        """Whether the worker is at work, now."""
        def seen() -> str:
            return (self.work / "beat").read_text(encoding="utf-8") if (self.work / "beat").exists() else ""

        before, end = seen(), time.monotonic() + 1
        while time.monotonic() < end:
            if seen() not in ("", before):
                return True
            time.sleep(0.05)
        return False

    def running(self) -> List[str]:
        return [name for name in engine("ps", "--format", "{{.Names}}").split() if self.mine(name)]

    def names(self) -> List[str]:
        """The services that run, and `background`; the containers of `run` by that word."""
        return sorted(re.sub(r"^-|-1$|-[0-9a-f]{8}$", "", name.partition("-e-")[2]) for name in self.running())

    def networks(self) -> List[str]:
        return mine(self, "network", "ls")

    def id_of(self, name: str) -> str:
        """Of a service's container, or the warm one: its id and whether it runs."""
        return engine("container", "inspect", "--format", "{{.Id}} {{.State.Running}}", self.warm if name == "background" else "%s-e-%s-1" % (self.prefix, name), check=False)

    def output(self, *command: str, cwd: Optional[Path] = None) -> str:
        """stdout of another program, which must succeed."""
        done = subprocess.run(command, cwd=str(cwd or self.work), env=self.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=200)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def mark(self) -> None:
        """Leaves a file in the warm container's own state."""
        engine("exec", "-u", "0:0", self.warm, "touch", "/warm")

    def is_warm(self) -> bool:
        return self.run_pydock("run", "e", "test", "-e", "/warm").status == 0

    def busy(self, *options: str) -> subprocess.Popen[str]:
        """A program in the environment, that is there."""
        process = self.start("run", *options, "e", *SLEEP, preexec_fn=signals_as_usual)
        self.addCleanup(self.finish, process)
        self.addCleanup(process.kill)
        self.ready()
        (self.work / "ready").unlink()
        return process

    def check_port(self, port: int, *publish: str) -> None:
        """A server in the environment, on port 8000 there, is reached at this port of the host."""
        (self.work / "page").write_text("the page", encoding="utf-8")
        words = [*publish, "%d:8000" % port] if publish else []
        process = self.start("run", *words, "e", "python", "-m", "http.server", "8000", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self.wait_for(lambda: self.fetched(port), 20)
        finally:
            process.terminate()
            status = self.finish(process)
        self.assertEqual(status, 143)

    def no_runs(self, seconds: float = 8) -> None:
        """No container of a `run` is left."""
        self.wait_for(lambda: not [name for name in Case.containers(self) if "--run-" in name], seconds)

    def assert_stopped(self) -> None:
        """Nothing runs; other services' containers may be there, with what they hold."""
        self.assertEqual((self.running(), [name for name in Case.containers(self) if "--" in name]), ([], []))

    def assert_nothing(self) -> None:
        self.assertEqual((Case.containers(self), self.networks()), ([], []))

    def tearDown(self) -> None:
        try:
            self.no_fake()
            self.no_runs()
            if self.running():
                self.ok("stop", "--force", "e")
                self.assert_stopped()
        finally:
            remove(self)
            started = self.home / ".local" / "share" / "pydock"  # what a failed test leaves there is not the next one's
            shutil.rmtree(str(started), ignore_errors=True)
            if self.file.exists():
                self.file.unlink()


class File(ComposeCase):
    """The file is a person's: used as it is, never changed, and where it is wrong, said so."""

    def test_no_command_ever_rewrites_it(self) -> None:
        text = "# mine\nservices: {app: {build: {context: ., dockerfile: dockerfile},   environment: [\"A=1\"]}}   # odd, but mine\n\n\n"
        self.write(text)
        before = self.file.stat()
        for argv in (("run", "e", "true"), ("start", "e"), ("install", "e", "iniconfig==2.0.0"), ("reset", "e"), ("build", "e"), ("list",), ("stop", "e"),
                     ("uninstall", "e", "iniconfig")):
            self.ok(*argv)
            after = self.file.stat()
            self.assertEqual((after.st_mtime_ns, after.st_ino, self.file.read_text(encoding="utf-8")), (before.st_mtime_ns, before.st_ino, text), argv)

    def test_one_written_by_hand_holds_for_an_environment_that_was_made_without(self) -> None:
        self.assertEqual(self.run_pydock("run", "e", "printenv", "A").status, 1)
        self.write("services:\n  app:\n    build: .\n    environment:\n      A: by hand\n")
        self.assertEqual(self.ok("run", "e", "printenv", "A"), "by hand\n")
        self.assertEqual(self.ok("shell", "e", input="printenv A\n"), "by hand\n")
        self.ok("start", "e")
        self.assertEqual(self.ok("run", "e", "printenv", "A"), "by hand\n")

    def test_one_written_while_started_holds_from_the_next_start_or_reset_on(self) -> None:
        self.ok("start", "e")
        self.write(e={"environment": ["A=new"]}, db=IDLE)
        self.ok("reset", "e")
        self.assertEqual(self.ok("run", "e", "printenv", "A"), "new\n")
        self.assertEqual(self.names(), ["background", "db"])

    def test_an_edit_while_started_holds_from_the_next_start_on(self) -> None:
        self.write(e={"environment": ["A=old"]}, db=IDLE)
        self.ok("start", "e")
        db = self.id_of("db")
        self.write(e={"environment": ["A=new"]}, db=IDLE, cache=IDLE)
        self.ok("start", "e")
        self.assertEqual(self.ok("run", "e", "printenv", "A"), "new\n")
        self.assertEqual(self.names(), ["background", "cache", "db"])
        self.assertEqual(self.id_of("db"), db)

    def test_an_edit_while_a_program_runs_does_not_end_that(self) -> None:
        self.write(e={"environment": ["A=old"]})
        self.ok("start", "e")
        process = self.busy()
        self.write(e={"environment": ["A=new"]})
        result = self.run_pydock("start", "e")
        self.assertIn("sleep 1000", result.err)
        self.assertIsNone(process.poll())

    def test_a_file_without_the_environments_service_is_a_clear_error(self) -> None:
        self.write("services:\n  other:\n    image: %s\n" % IDLE["image"])
        for argv in (("run", "e", "touch", "ran"), ("start", "e"), ("reset", "e"), ("activate", "--shell", "sh", "e")):
            result = self.fails(*argv, says="'app'")
            self.assertIn(str(self.file), result.err)
            self.assertLessEqual(len(result.err.splitlines()), 2, result)
        self.assert_nothing()
        self.assertEqual(os.listdir(str(self.work)), [])

    def test_an_error_in_the_file_is_told_in_composes_words_with_the_path(self) -> None:
        for text, says in (("services:\n  app:\n   build: .\n  \t- x\n", "line"), ("services:\n  app:\n    build: .\n    nonsense: 1\n", "nonsense"),
                           ("services:\n  app:\n    build: .\n    depends_on: [nobody]\n", "nobody"),
                           ("services:\n  app:\n    build: .\n    environment: ['A=${NOT_SET:?must be set}']\n", "must be set"),
                           ("services: 5\n", "services"), ("", ""), ("services:\n  app:\n    build: .\n    volumes: ['undeclared:/x']\n", "undeclared")):
            with self.subTest(text=text):
                self.file.write_text(text, encoding="utf-8")
                result = self.fails("run" if text else "start", "e", *["true"] * bool(text), says=says)
                self.assertIn(str(self.file), result.err.splitlines()[0])
                self.assertLessEqual(len(result.err.splitlines()), 2, result)
                self.assert_nothing()

    def test_stop_and_delete_need_no_readable_file(self) -> None:
        self.write(db=IDLE)
        self.ok("start", "e")
        self.file.write_text("services: {", encoding="utf-8")
        self.ok("stop", "e")
        self.assert_stopped()

    def test_a_file_that_was_removed_while_started_leaves_no_service_behind(self) -> None:
        for command in ("stop", "reset"):
            self.write(db=IDLE)
            self.ok("start", "e")
            self.file.unlink()
            self.ok(command, "e")
            self.assertEqual(self.names(), ["background"] if command == "reset" else [], command)
            self.ok("stop", "e")

    def test_reset_with_an_error_in_the_file_keeps_what_runs(self) -> None:
        self.write(db=IDLE)
        self.ok("start", "e")
        before = (self.id_of("background"), self.id_of("db"))
        self.file.write_text("services: {", encoding="utf-8")
        self.fails("reset", "e", says=str(self.file))
        self.assertEqual((self.id_of("background"), self.id_of("db")), before)

    def test_files_of_the_current_folder_choose_nothing(self) -> None:
        self.write(db=IDLE)
        for name in ("docker-compose.yml", "compose.yaml"):
            (self.work / name).write_text("services: {", encoding="utf-8")
        (self.work / ".env").write_text("COMPOSE_PROJECT_NAME=other\nCOMPOSE_FILE=/nope\n", encoding="utf-8")
        self.ok("run", "e", "true")
        self.ok("start", "e")
        self.assertEqual(self.names(), ["background", "db"])
        self.ok("stop", "e")
        self.assert_stopped()

    def test_composes_own_settings_in_the_callers_environment_do_not_disturb(self) -> None:
        self.write(db=IDLE)
        more = {"COMPOSE_PROJECT_NAME": "other", "COMPOSE_FILE": "/nope/compose.yml"}
        self.ok("run", "e", "true", environ=more)
        self.ok("start", "e", environ=more)
        self.ok("stop", "e", environ=more)
        self.assert_stopped()

    def test_an_env_file_beside_it_fills_in_its_variables(self) -> None:
        (self.folder("e") / ".env").write_text("COLOUR=blue\n", encoding="utf-8")
        self.addCleanup(os.unlink, str(self.folder("e") / ".env"))
        self.write("services:\n  app:\n    build: .\n    environment: ['A=${COLOUR}', 'B=$$x', 'C=${UNSET}']\n")
        self.assertEqual(self.ok("run", "e", "sh", "-c", 'echo "$A $B $C|"'), "blue $x |\n")

    def test_what_people_usually_write_for_a_service_is_no_obstacle(self) -> None:
        (self.folder("e") / "vars").write_text("FROM_FILE=yes\n", encoding="utf-8")
        self.addCleanup(os.unlink, str(self.folder("e") / "vars"))
        self.write("""version: '3.8'
services:
  app:
    build: {context: ., dockerfile: dockerfile}
    image: whatever
    container_name: %s-other
    restart: unless-stopped
    tty: true
    stdin_open: true
    healthcheck: {test: [CMD, 'true'], interval: 1s}
    shm_size: 33m
    user: nobody
    hostname: other
    working_dir: /nope
    env_file: vars
    networks: [front]
    labels: {a: b}
networks: {front: {}}
""" % self.prefix)
        code = "id -u; pwd; df -m /dev/shm | grep -c ' 33 '; printenv FROM_FILE; touch made; hostname"
        expected = "%d\n%s/%s\n1\nyes\ne\n" % (os.getuid(), INNER_HOME, self.work.name)
        self.assertEqual(self.ok("run", "e", "sh", "-c", code), expected)
        self.ok("start", "e")
        self.assertEqual(self.ok("run", "e", "sh", "-c", code), expected)
        time.sleep(1.5)  # the health check has come by
        self.ok("stop", "e")

    def test_dry_run_prints_what_can_be_pasted(self) -> None:
        self.write(e={"environment": ["A=it's $$5"]}, db=IDLE)

        def paste(*argv: str) -> str:
            script = self.ok("-n", *argv)
            return self.output("sh", "-c", script)

        self.ok("-n", "start", "e")
        self.assert_nothing()
        self.assertIn("x y\0$(id)\0", paste("run", "e", *PRINT, "x y", "$(id)"))
        self.no_runs()
        paste("start", "e")
        self.assertEqual(self.ok("run", "e", "printenv", "A"), "it's $5\n")
        paste("stop", "e")
        self.assert_stopped()


class Honoured(ComposeCase):
    """Ports, volumes and variables of the file hold in a started container and in a fresh one."""

    def test_a_port_is_reachable_from_the_host(self) -> None:
        port = free_port()
        self.write(e={"ports": ["127.0.0.1:%d:8000" % port]})
        self.check_port(port)
        self.ok("start", "e")
        self.check_port(port)
        self.assertIn("127.0.0.1:%d->8000/tcp" % port, json.dumps(self.listed()["e"]))

    def test_a_second_run_works_while_the_first_has_the_port(self) -> None:
        self.write(e={"ports": ["127.0.0.1:%d:8000" % free_port()]})
        process = self.busy()
        self.assertEqual(self.ok("run", "e", "echo", "second"), "second\n")
        process.terminate()
        self.finish(process)

    def test_a_pipe_of_two_runs_works(self) -> None:
        self.write(e={"ports": ["127.0.0.1:%d:8000" % free_port()], "depends_on": ["db"]}, db=IDLE)
        self.assertEqual(self.output("sh", "-c", "{0} run e echo through | {0} run e cat".format(shlex.join(self.program))), "through\n")

    def test_volumes_and_variables(self) -> None:
        data = self.work / "da ta"
        data.mkdir()
        (data / "f").write_text("in the folder\n", encoding="utf-8")
        self.write(e={"volumes": ["%s:/mnt/x" % data, "kept:/mnt/y"], "environment": {"A": "a b", "OF_HOST": None}}, volumes=["kept"])
        code = "cat /mnt/x/f; printenv A OF_HOST; ls -d /mnt/y"
        expected = "in the folder\na b\nof the host\n/mnt/y\n"
        more = {"OF_HOST": "of the host"}
        self.assertEqual(self.ok("run", "e", "sh", "-c", code, environ=more), expected)
        self.ok("start", "e", environ=more)
        self.assertEqual(self.ok("run", "e", "sh", "-c", code), expected)
        self.assertEqual(self.ok("run", "e", "sh", "-c", code, cwd=self.home, environ=more), expected, "a fresh one beside it")

    def test_ports_volumes_and_variables_on_the_command_line_come_on_top(self) -> None:
        (self.work / "data").mkdir()
        (self.work / "data" / "f").write_text("of the line\n", encoding="utf-8")
        self.write(e={"environment": ["A=of the file", "B=of the file"], "volumes": ["kept:/mnt/y"]}, volumes=["kept"])
        volume = self.prefix + "-own"
        for started in (False, True):
            if started:
                self.ok("start", "e")
            out = self.ok("run", "-e", "A=$x \"y\"", "-e", "OF_HOST", "-v", "./data:/mnt/x:ro", "-v", volume + ":/mnt/z", "e", "sh", "-c",
                          "printenv A B OF_HOST; cat /mnt/x/f; ls -d /mnt/y /mnt/z", environ={"OF_HOST": "h"})
            self.assertEqual(out, '$x "y"\nof the file\nh\nof the line\n/mnt/y\n/mnt/z\n')
            self.check_port(free_port(), "-p")
        self.assertEqual(self.ok("run", "-e", "A=alone", "e", "printenv", "A"), "alone\n", "in the started one")
        self.assertIn(volume, mine(self, "volume", "ls"), "a volume's name is docker's own")

    def test_other_options_are_a_clear_error_that_names_the_file(self) -> None:
        self.write()
        for options in (("--gpus", "all"), ("--network", "none"), ("--platform", "linux/amd64"), ("-o", "--shm-size=1g"), ("--env-file", "/dev/null")):
            self.fails("run", *options, "e", "touch", "ran", says=str(self.file))
        for options in (("-p", "80"), ("-e", "A=1"), ("-v", ".:/x"), ("--gpus", "all"), ("--network", "none")):
            for command in ("start", "reset"):
                self.fails(command, *options, "e", says=str(self.file), hint="pydock reset e")
        self.assert_nothing()
        self.assertEqual(os.listdir(str(self.work)), [])

    def test_user_folder_and_name_are_those_of_any_run(self) -> None:
        self.write(e={"environment": ["A=1"]})
        for name in ('a$b ${c} "d" \'e\' é # f', "a:b"):
            folder = self.work / name
            folder.mkdir()
            code = "id -u; hostname; pwd; echo 1 > made; printenv A"
            expected = "%d\ne\n%s/%s\n1\n" % (os.getuid(), INNER_HOME, name)
            self.assertEqual(self.ok("run", "e", "sh", "-c", code, cwd=folder), expected)
            self.ok("start", "e", cwd=folder)
            self.assertEqual(self.ok("run", "e", "sh", "-c", code, cwd=folder), expected)
            self.assertEqual(os.listdir(str(folder)), ["made"])
            self.ok("stop", "e")
        self.assertEqual(self.ok("run", "--root", "e", "id", "-u"), "0\n")

    def test_run_goes_into_the_started_one_and_elsewhere_into_its_own(self) -> None:
        self.write(e={"ports": ["127.0.0.1:%d:8000" % free_port()]})
        self.ok("start", "e")
        self.mark()
        self.assertTrue(self.is_warm())
        self.assertEqual(self.run_pydock("run", "--fresh", "e", "test", "-e", "/warm").status, 1)
        self.assertEqual(self.ok("run", "e", "pwd", cwd=self.home), INNER_HOME + "\n")
        self.no_runs()
        self.assertEqual(self.names(), ["background"])

    def test_data_in_a_named_volume_survives_stop_reset_and_delete(self) -> None:
        self.ok("create", "vol", "-v", "data:/data")
        self.ok("start", "vol")
        engine("exec", "-u", "0:0", "%s-vol--background" % self.prefix, "sh", "-c", "echo kept > /data/f")
        self.ok("stop", "vol")
        self.assertEqual(self.ok("run", "vol", "cat", "/data/f"), "kept\n")
        self.ok("reset", "vol")
        self.ok("delete", "-y", "vol")
        self.assert_nothing()
        self.ok("create", "vol", "-v", "data:/data")
        self.assertEqual(self.ok("run", "vol", "cat", "/data/f"), "kept\n")
        self.ok("delete", "-y", "vol")
        self.assert_nothing()

    def test_a_name_with_dots(self) -> None:
        self.ok("create", "my.env", "-e", "A=1")
        self.ok("start", "my.env")
        self.assertEqual(self.ok("run", "my.env", "sh", "-c", "hostname; printenv A"), "my.env\n1\n")
        self.ok("stop", "my.env")
        self.assertEqual(self.ok("run", "my.env", "printenv", "A"), "1\n")
        self.ok("delete", "-y", "my.env")
        self.assert_nothing()

    def test_no_two_names_are_one_project_of_composes(self) -> None:
        names = ("my.env", "my-env", "my_env", "myenv")
        projects = {pydock.compose_project(pydock.Env(pydock.global_scope(), name, "pydock")) for name in names}
        self.assertEqual(len(projects), len(names))
        for project in projects:
            self.assertRegex(project, "^[a-z0-9][a-z0-9_-]*$")

    def test_a_local_environment_and_its_clone_are_two(self) -> None:
        project, clone = self.work / "project", self.work / "clone"
        (project / "data").mkdir(parents=True)
        (project / "sub").mkdir()
        self.ok("--local", "create", "dev", "-v", "./data:/data", "-e", "A=1", cwd=project)
        shutil.copytree(str(project), str(clone))
        self.fails("start", "dev", says="is not trusted yet", hint="pydock trust dev", cwd=clone)
        self.ok("trust", "-y", "dev", cwd=clone)
        for place in (project, clone):
            (place / "data" / "f").write_text(place.name, encoding="utf-8")
            self.ok("start", "dev", cwd=place / "sub")
        for place in (project, clone):
            out = self.ok("run", "dev", "sh", "-c", "pwd; cat /data/f ../data/f", cwd=place / "sub")
            self.assertEqual(out, "{0}/{1}/sub\n{1}{1}".format(INNER_HOME, place.name))
        self.ok("stop", "dev", cwd=clone)
        self.assertEqual(len(Case.containers(self)), 1)
        self.assertEqual(self.ok("run", "dev", "cat", "/data/f", cwd=clone), "clone")
        for place in (project, clone):
            self.ok("delete", "-y", "dev", cwd=place)
        self.assert_nothing()

    def test_a_command_of_the_service_runs_while_it_is_started(self) -> None:
        port = free_port()
        (self.work / "page").write_text("the page", encoding="utf-8")
        self.write(e={"command": ["python", "-m", "http.server", "8000"], "ports": ["127.0.0.1:%d:8000" % port]})
        self.assertEqual(self.ok("run", "e", "echo", "a program of its own"), "a program of its own\n")
        self.ok("start", "e")
        self.wait_for(lambda: self.fetched(port), 20)
        before = self.id_of("background")
        self.assertEqual(self.ok("run", "e", "echo", "beside it"), "beside it\n")
        self.ok("install", "e", "iniconfig==2.0.0")
        self.assertNotEqual(self.id_of("background"), before, "it is nobody's program: the container is replaced")
        self.wait_for(lambda: self.fetched(port), 20)
        self.ok("stop", "e")
        self.assert_stopped()

    def test_docker_compose_up_in_that_folder_works_without_pydock(self) -> None:
        name = self.prefix + "-hand"  # the name of compose's project, by which the rest is known as this test's
        port = free_port()
        self.ok("create", name, "--no-build", "-p", "%d:8000" % port, "-v", "data:/data", "-e", "A=it's $5", "-v", "%s:/mnt/work" % self.work)
        (self.work / "page").write_text("the page", encoding="utf-8")
        self.work.chmod(0o755)  # inside is the dockerfile's own user, who is nobody here

        def compose(*argv: str) -> str:
            return self.output(*ENGINE, "compose", *argv, cwd=self.folder(name))

        compose("up", "-d")
        self.assertEqual(compose("exec", "-T", "app", "sh", "-c", "printenv A; python -c 'import sys; print(sys.prefix)'"), "it's $5\n/opt/venv\n")
        compose("exec", "-d", "-w", "/mnt/work", "app", "python", "-m", "http.server", "8000")
        self.wait_for(lambda: self.fetched(port), 20)
        compose("down", "-t", "5")
        self.assert_nothing()
        self.ok("delete", "-y", name)


class Services(ComposeCase):
    """Other services start with the environment, stop with it, and are left alone by everything else."""

    def test_a_worker_starts_with_start_and_stops_with_stop(self) -> None:
        self.write(worker=self.worker())
        self.ok("start", "e")
        self.wait_for(self.beats, 20)
        self.ok("stop", "e")
        self.assertFalse(self.beats())
        self.assert_stopped()

    def test_a_worker_starts_with_activate_and_stops_with_deactivate(self) -> None:
        self.write(worker=self.worker())
        out = self.output("sh", "-c", "eval \"$(%s activate --shell sh e)\" || exit 1\nfor i in 1 2 3 4 5 6 7 8 9; do [ -s beat ] || sleep 0.5; done\n"
                          "cat beat; python -c 'print(\"inside\")'; deactivate" % shlex.join(self.program))
        self.assertRegex(out, r"^\d+\ninside\n$")
        self.wait_for(lambda: not self.running(), 20)
        self.assertFalse(self.beats())

    def test_what_a_service_holds_without_a_volume_survives_stop_and_start(self) -> None:
        self.write(db=IDLE)
        self.ok("start", "e")
        engine("exec", "%s-e-db-1" % self.prefix, "touch", "/rows")
        self.ok("stop", "e")
        self.ok("start", "e")
        engine("exec", "%s-e-db-1" % self.prefix, "ls", "/rows")

    def test_starting_twice_changes_nothing(self) -> None:
        self.write(db=IDLE)
        self.ok("start", "e")
        before = (self.id_of("background"), self.id_of("db"))
        self.assertIn("already", self.run_pydock("start", "e").err)
        self.assertEqual((self.id_of("background"), self.id_of("db")), before)

    def test_start_brings_back_what_has_died(self) -> None:
        self.write(db=IDLE, cache=IDLE)
        self.ok("start", "e")
        cache = self.id_of("cache")
        engine("rm", "-f", "%s-e-db-1" % self.prefix)
        self.ok("start", "e")
        self.assertIn("true", self.id_of("db"))
        engine("kill", self.warm, "%s-e-db-1" % self.prefix)
        self.ok("start", "e")
        self.assertIn("true", self.id_of("background"))
        self.assertIn("true", self.id_of("db"))
        self.assertEqual(self.id_of("cache"), cache)

    def test_run_mends_a_started_one_that_died_or_was_removed(self) -> None:
        self.write(e={"environment": ["A=1"]}, db=IDLE)
        self.ok("start", "e")
        db = self.id_of("db")
        for verb in ("kill", "rm"):
            engine(*([verb] if verb == "kill" else [verb, "-f"]), self.warm)
            self.assertEqual(self.ok("run", "e", "printenv", "A"), "1\n")
            self.no_runs()
            self.assertEqual(self.id_of("db"), db)

    def test_a_change_of_packages_replaces_the_idle_container_and_leaves_the_database_alone(self) -> None:
        self.write(e={"depends_on": ["db"]}, db=IDLE, worker=self.worker())
        self.ok("start", "e")
        before, db, worker = self.id_of("background"), self.id_of("db"), self.id_of("worker")
        self.ok("install", "e", "iniconfig==2.0.0")
        self.assertNotEqual(self.id_of("background"), before)
        self.assertEqual(self.id_of("db"), db)
        self.assertNotEqual(self.id_of("worker"), worker, "it is of the environment's image, and has the new package")
        self.assertEqual(self.ok("run", "e", "python", "-c", "import iniconfig; print('new')"), "new\n")
        before = self.id_of("background")
        self.ok("uninstall", "e", "iniconfig")
        self.assertNotEqual(self.id_of("background"), before)
        self.assertEqual(self.id_of("db"), db)
        self.assertEqual(self.names(), ["background", "db", "worker"])

    def test_a_change_while_a_program_runs_is_told_and_ends_nothing(self) -> None:
        self.write(db=IDLE)
        self.ok("start", "e")
        before, db = self.id_of("background"), self.id_of("db")
        process = self.busy()
        result = self.run_pydock("install", "e", "six==1.16.0")
        self.assertEqual(result.status, 0, result)
        self.assertIn("sleep 1000", result.err)
        self.assertIn("pydock reset --force e", result.err)
        self.assertEqual((self.id_of("background"), self.id_of("db")), (before, db))
        self.assertEqual(self.ok("run", "e", "python", "-c", "import six; print('new')"), "new\n", "in a container of its own")
        process.terminate()
        self.finish(process)
        self.ok("run", "e", "true")
        self.assertNotEqual(self.id_of("background"), before)
        self.assertEqual(self.id_of("db"), db)

    def test_reset_starts_everything_anew_and_says_which_programs_run(self) -> None:
        self.write(db=IDLE)
        self.ok("start", "e")
        self.mark()
        process = self.busy()
        for command in ("stop", "reset"):
            self.fails(command, "e", says="sleep 1000", hint="pydock %s --force e" % command)
        self.assertIsNone(process.poll())
        self.assertIn("true", self.id_of("db"))
        self.ok("reset", "--force", "e")
        self.assertIn(self.finish(process), (143, 137))
        self.assertFalse(self.is_warm())
        self.assertEqual(self.names(), ["background", "db"])

    def test_stop_of_what_only_a_run_has_started(self) -> None:
        self.write(e={"depends_on": ["db"]}, db=IDLE)
        self.ok("run", "e", "true")
        self.assertEqual(self.names(), ["db"], "it is kept for the next run")
        self.assertEqual((self.listed()["e"]["services"], self.listed()["e"]["running"]), (["db"], None))
        self.assertRegex(self.ok("list"), r"(?m)RUNNING +PATH$(.|\n)* db +\S+$")
        self.ok("stop", "e")
        self.assert_stopped()

    def test_stop_leaves_a_program_in_a_container_of_its_own_alone(self) -> None:
        self.write(db=IDLE)
        process = self.busy("--fresh")
        self.ok("start", "e")
        self.ok("stop", "e")
        self.assertIsNone(process.poll())
        process.terminate()
        self.assertEqual(self.finish(process), 143)

    def test_several_first_runs_at_once(self) -> None:
        self.write(e={"depends_on": ["db"]}, db=IDLE)
        processes = [self.start("run", "e", "echo", str(number)) for number in range(4)]
        results = [(*process.communicate(timeout=60), process.returncode) for process in processes]
        self.assertEqual([(out, status) for out, _, status in results], [("%d\n" % number, 0) for number in range(4)], results)
        self.assertEqual((self.names(), len(self.networks())), (["db"], 1))

    def test_several_starts_at_once(self) -> None:
        self.write(db=IDLE)
        processes = [self.start("start", "e") for _ in range(3)]
        results = [(*process.communicate(timeout=60), process.returncode) for process in processes]
        self.assertEqual([status for _, _, status in results], [0, 0, 0], results)
        self.assertEqual((self.names(), len(self.networks())), (["background", "db"], 1))

    def test_delete_takes_everything_down(self) -> None:
        self.ok("create", "gone", "-e", "A=1")
        image = "%s-gone:latest" % self.prefix
        content = {"services": {"app": {"build": "."}, "db": {**IDLE, "volumes": ["data:/data", "/anonymous"]}, "worker": self.worker(image=image)},
                   "volumes": {"data": {}}}
        (self.folder("gone") / "docker-compose.yml").write_text(json.dumps(content), encoding="utf-8")
        self.ok("start", "gone")
        self.wait_for(self.beats, 20)
        anonymous = engine("container", "inspect", "--format", "{{range .Mounts}}{{.Name}} {{end}}", "%s-gone-db-1" % self.prefix).split()
        self.assertEqual(len(anonymous), 2)
        said = self.run_pydock("delete", "-y", "gone").err.splitlines()
        names = {"%s-gone-%s-1" % (self.prefix, service) for service in ("db", "worker")}
        self.assertEqual(set(re.split("also deleting the services of gone, and the data in their containers: |, ", said[0])), {"", *names})
        self.assertEqual(said[1:], ["keeping volumes of gone; to remove them: docker volume rm %s-gone_data" % self.prefix, "deleted gone"])
        self.assertEqual(engine("volume", "ls", "-q").split().count(min(anonymous, key=lambda name: "gone" in name)), 0)
        self.assert_nothing()
        self.assertEqual(self.tags("gone"), {})
        self.assertFalse(self.folder("gone").exists())

    def test_delete_takes_everything_down_that_was_stopped_and_whose_file_is_gone(self) -> None:
        self.ok("create", "lost", "-e", "A=1")
        (self.folder("lost") / "docker-compose.yml").write_text(json.dumps({"services": {"app": {"build": "."}, "db": IDLE}}), encoding="utf-8")
        self.ok("start", "lost")
        self.ok("stop", "lost")
        (self.folder("lost") / "docker-compose.yml").unlink()
        self.ok("delete", "-y", "lost")
        self.assert_nothing()

    def test_delete_says_which_program_runs(self) -> None:
        self.ok("create", "used", "-e", "A=1")
        process = self.start("run", "used", *SLEEP)
        self.addCleanup(self.finish, process)
        self.ready()
        self.fails("delete", "-y", "used", says="running", hint="--force")
        self.assertIsNone(process.poll())
        self.ok("delete", "-y", "--force", "used")
        self.assert_nothing()


@needs_redis
class Redis(ComposeCase):
    """A real server of Debian's, and a client library that `install` brought."""

    @classmethod
    def prepare(cls, case: Case) -> None:
        ComposeCase.prepare.__func__(cls, case)  # type: ignore[attr-defined]
        case.ok("install", "e", "redis")

    SET = "import redis; r = redis.Redis('redis', retry=redis.retry.Retry(redis.backoff.ConstantBackoff(0.1), 50)); r.set('k', 'v')"
    GET = "import redis; print(redis.Redis('redis').get('k').decode())"

    def test_it_is_reached_by_name_when_started(self) -> None:
        self.write(redis={"image": REDIS})
        self.ok("start", "e")
        self.ok("run", "e", "python", "-c", self.SET)
        self.assertEqual(self.ok("run", "e", "python", "-c", self.GET), "v\n")
        self.assertEqual(self.ok("run", "e", "python", "-c", self.GET, cwd=self.home), "v\n", "from a container of its own too")
        before = self.id_of("redis")
        self.ok("install", "e", "iniconfig==2.0.0")
        self.assertEqual(self.ok("run", "e", "python", "-c", "import iniconfig; " + self.GET), "v\n")
        self.assertEqual(self.id_of("redis"), before)
        begin = time.monotonic()
        self.ok("stop", "e")
        self.assertLess(time.monotonic() - begin, 8)
        self.assert_stopped()

    def test_it_is_reached_by_name_when_not_started(self) -> None:
        self.write(e={"depends_on": {"redis": {"condition": "service_healthy"}}},
                   redis={"image": REDIS, "healthcheck": {"test": ["CMD", "redis-cli", "ping"], "interval": "200ms", "retries": 50}})
        self.ok("run", "e", "python", "-c", self.SET)
        self.assertEqual(self.ok("run", "e", "python", "-c", self.GET), "v\n")

    def test_its_data_in_a_named_volume_survives_stop_and_start(self) -> None:
        command = ["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--dir", "/data", "--appendonly", "yes"]
        self.write(redis={"image": REDIS, "command": command, "volumes": ["data:/data"], "user": "0"}, volumes=["data"])
        self.ok("start", "e")
        self.ok("run", "e", "python", "-c", self.SET)
        self.ok("stop", "e")
        self.ok("start", "e")
        self.assertEqual(self.ok("run", "e", "python", "-c", self.SET.replace("r.set('k', 'v')", "print(r.get('k').decode())")), "v\n")


class BadEnds(ComposeCase):
    def test_a_taken_port_is_an_error_leaves_nothing_and_the_next_start_works(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            self.write(e={"ports": ["127.0.0.1:%d:8000" % port]}, db=IDLE)
            result = self.fails("start", "e")
            self.assertIn(str(port), result.err)
            self.assert_stopped()
            self.fails("run", "e", "touch", "ran", says="port %d is taken" % port, hint="another one in %s, such as " % self.file)
            self.no_runs()
        self.ok("start", "e")
        self.ok("start", "e")

    def test_a_service_that_cannot_start_is_told_and_leaves_nothing(self) -> None:
        self.write(db=IDLE, bad={**IDLE, "image": self.prefix + "/no-such-image"})
        result = self.fails("start", "e")
        self.assertIn("no-such-image", result.err)
        self.assertIn(str(self.file), result.err)
        self.assert_stopped()
        self.write(e={"depends_on": {"bad": {"condition": "service_healthy"}}}, bad={**IDLE, "command": ["false"], "healthcheck": {"test": ["CMD", "true"]}})
        for argv in (("start", "e"), ("run", "e", "touch", "ran")):
            result = self.fails(*argv)
            self.assertIn("bad", result.err)
            self.no_runs()
        self.assertEqual(os.listdir(str(self.work)), [])

    def test_what_failed_to_start_does_not_end_the_programs_of_others(self) -> None:
        self.write(db=IDLE)
        process = self.busy("--fresh")
        self.write(db=IDLE, bad={**IDLE, "image": self.prefix + "/no-such-image"})
        self.fails("start", "e")
        self.assertIsNone(process.poll())
        process.terminate()
        self.finish(process)

    def test_start_that_is_interrupted_leaves_nothing(self) -> None:
        self.write(e={"depends_on": {"db": {"condition": "service_healthy"}}}, db=NEVER)
        for number, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
            process = self.start("start", "e", preexec_fn=signals_as_usual)
            self.wait_for(lambda: "true" in self.id_of("db"), 20)
            process.send_signal(number)
            self.assertEqual(process.wait(30), status)
            self.finish(process)
            self.assert_stopped()

    def test_run_that_is_interrupted_while_it_waits_leaves_no_container_of_its_own(self) -> None:
        self.write(e={"depends_on": {"db": {"condition": "service_healthy"}}}, db=NEVER)
        for number, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
            process = self.start("run", "e", "true", preexec_fn=signals_as_usual)
            self.wait_for(lambda: "true" in self.id_of("db"), 20)
            process.send_signal(number)
            self.assertEqual(process.wait(30), status)
            self.finish(process)
            self.no_runs()
            remove(self)

    def slow(self, verb: str, *argv: str) -> subprocess.Popen[str]:
        """pydock when compose has just done that."""
        done = self.base / "done"
        put_engine(self, SLOW.format(python=sys.executable, verb=verb, real=real_engine(), done=str(done)))
        process = self.start(*argv, preexec_fn=signals_as_usual)
        self.wait_for(done.exists, 30)
        done.unlink()
        return process

    def test_run_that_is_interrupted_when_its_container_is_just_there_removes_it(self) -> None:
        self.write()
        process = self.slow("run", "run", "e", "true")
        self.assertEqual(self.names(), ["run"])
        process.terminate()
        self.assertEqual(process.wait(30), 143)
        self.finish(process)
        self.no_runs()

    def test_start_that_is_interrupted_when_its_container_is_just_there_removes_it(self) -> None:
        self.write(db=IDLE)
        process = self.slow("up", "start", "e")
        process.terminate()
        self.assertEqual(process.wait(30), 143)
        self.finish(process)
        self.assert_stopped()

    def test_a_run_that_is_killed_before_its_program_began_leaves_a_container_for_a_moment_only(self) -> None:
        self.write()
        process = self.slow("run", "run", "e", "true")
        process.kill()
        self.finish(process)
        name = next(name for name in Case.containers(self) if "--run-" in name)
        waits = json.loads(engine("container", "inspect", "--format", "{{json .Config.Cmd}}", name))
        self.assertEqual(waits, pydock.idle_argv("20", name, 1))  # test_activate.Idle: it ends, then
        engine("rm", "-f", name)

    def test_an_engine_that_fails_at_any_call_of_compose_leaves_the_next_start_working(self) -> None:
        self.write(db=IDLE)
        self.fake()
        self.ok("start", "e")
        calls = self.calls()
        self.ok("stop", "e")
        numbers = [number for number, call in enumerate(calls, 1) if call.startswith("compose")]
        self.assertIn(len(numbers), (2, 3), calls)
        for do, number in [("fail", number) for number in numbers] + [("kill", numbers[-1]), ("after", numbers[-1])]:
            with self.subTest(do=do, call=number):
                result = self.disturb(do, number, "start", "e")
                self.assertEqual(result.status, 1 if do == "fail" else -9, result)
                if do == "fail":
                    self.assert_stopped()
                if number != numbers[-1]:
                    continue
                self.ok("start", "e")
                self.assertEqual(self.names(), ["background", "db"])
                self.ok("stop", "e")
                self.assert_stopped()

    def test_an_engine_that_fails_at_any_call_of_compose_leaves_the_next_run_working(self) -> None:
        self.write()
        self.fake()
        self.ok("run", "e", "true")
        numbers = [number for number, call in enumerate(self.calls(), 1) if call.startswith("compose")]
        for number in numbers:
            with self.subTest(call=number):
                self.fake("fail", str(number))
                self.fails("run", "e", "touch", "ran")
                self.no_fake()
                self.assertFalse((self.work / "ran").exists())
                self.no_runs()
                self.assertEqual(self.ok("run", "e", "echo", "works"), "works\n")

    def test_stop_that_could_not_stop_does_not_say_it_did(self) -> None:
        self.write(db=IDLE)
        self.ok("start", "e")
        self.fake()
        self.ok("stop", "e")
        count = len(self.calls())
        self.no_fake()
        self.ok("start", "e")
        self.fake("fail", ",".join(map(str, range(2, count + 9))))  # all but the first, by which it knows that it is started
        result = self.run_pydock("stop", "e")
        self.assertNotEqual(result.status, 0, result)
        self.assertNotIn("stopped ", result.err)
        self.no_fake()
        self.ok("stop", "e")
        self.assert_stopped()


class Programs(ComposeCase, contract.Program):
    """What holds for the program of a `run` in a fresh container, holds in one of compose's; which then is gone."""

    outputs = (subprocess.PIPE,)

    def setUp(self) -> None:
        super().setUp()
        self.write(e={"environment": ["A=1"]})

    def test_a_shell_in_a_terminal_that_is_hung_up_leaves_no_container(self) -> None:
        terminal = self.terminal("shell", "e")
        terminal.type("echo $((40 + 2)) $A\n")
        terminal.expect("42 1")
        terminal.hang_up()
        terminal.wait()
        self.no_runs()

    def test_a_container_that_is_killed_during_a_run_ends_it(self) -> None:
        process = self.busy()
        name = next(name for name in Case.containers(self) if "--run-" in name)
        engine("kill", name)
        self.assertEqual(self.finish(process), 137)
        self.no_runs()

    def test_a_pydock_that_is_killed_leaves_no_container_when_the_program_has_ended(self) -> None:
        process = self.start("run", "e", "sh", "-c", ": > ready; sleep 2", start_new_session=True)
        self.ready()
        for path in Path("/proc").glob("[0-9]*/cmdline"):  # whatever has to do with it, the client of `exec` too
            try:
                words, pid = path.read_bytes().decode(errors="replace"), int(path.parent.name)
                if self.prefix + "-e--run-" in words and pid != process.pid:
                    os.kill(pid, signal.SIGKILL)
            except OSError:  # it has ended
                continue
        process.kill()
        self.finish(process)
        self.no_runs()


@needs_compose
@unittest.skipUnless(os.geteuid() == 0, "only root can become other users")
@one_engine_for_all
class Users(Case):
    def test_files_belong_to_an_ordinary_caller_in_a_fresh_container_and_a_started_one(self) -> None:
        self.give_to(54321)
        self.addCleanup(remove, self)
        me: Dict[str, Any] = {"preexec_fn": as_user(54321, 12345, docker_groups())}
        (self.work / "data").mkdir(mode=0o777)
        (self.work / "data").chmod(0o777)
        self.ok("create", "e", "-v", "./data:/data", "-e", "A=1", **me)
        file = self.folder("e") / "docker-compose.yml"
        self.assertEqual((file.stat().st_uid, file.stat().st_gid), (54321, 12345))
        code = "id -u; id -g; printenv A; echo 1 > made$0; echo 1 > /data/made$0"
        self.assertEqual(self.ok("run", "e", "sh", "-c", code, "1", **me), "54321\n12345\n1\n")
        self.ok("start", "e", **me)
        self.assertEqual(self.ok("run", "e", "sh", "-c", code, "2", **me), "54321\n12345\n1\n")
        for path in [*self.work.glob("made*"), *(self.work / "data").glob("made*")]:
            self.assertEqual((path.stat().st_uid, path.stat().st_gid), (54321, 12345), path)
        self.assertEqual(len(list(self.work.glob("**/made*"))), 4)
        self.ok("stop", "e", **me)
        self.ok("delete", "-y", "e", **me)
        self.assertEqual((self.containers(), mine(self, "network", "ls")), ([], []))


if __name__ == "__main__":
    unittest.main()
