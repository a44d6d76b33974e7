#!/usr/bin/env python3
"""What pydock costs, as a table: each row a ratio to the same thing by hand, interleaved in one run.

    tests/bench.py [--only run,list] [-n TIMES]

On the engine that answers, with pydock as install/linux.sh installs it, in a throw-away home. What it makes, it removes.
A missed limit is told, not an error: times belong to a machine and its day.
"""
from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
import pydock  # noqa: E402

VERSION = "3.11"
BASE = "python:%s-slim" % VERSION
PACKAGES = ["pandas", "scikit-learn"]
Row = Tuple[str, str, Optional[float], Tuple[float, float], float]  # what, against, ratio, its range, limit


class Bench:
    """A home, an installed pydock and a prefix of its own."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.program = shlex.split(os.environ.get("PYDOCK_ENGINE", "docker"))
        try:
            self.builder = pydock.Engine(self.program).builder()
        except pydock.PydockError as error:
            sys.exit("bench.py: %s; %s" % (error, error.hint))
        self.tmp = Path(tempfile.mkdtemp(prefix="pydock-bench-")).resolve()
        self.prefix = "bench" + os.urandom(4).hex()
        real = os.path.expanduser("~")
        self.environ = {key: value for key, value in os.environ.items() if not key.startswith("PYDOCK_") or key == "PYDOCK_ENGINE"}
        if os.path.exists(real + "/.docker/config.json") or os.path.exists(real + "/.docker/cli-plugins"):
            self.environ.setdefault("DOCKER_CONFIG", real + "/.docker")
        if os.path.exists(real + "/.config/pip/pip.conf"):
            self.environ.setdefault("PIP_CONFIG_FILE", real + "/.config/pip/pip.conf")
        self.environ.update(HOME=str(self.tmp / "home"), PYDOCK_PREFIX=self.prefix)
        self.work = self.tmp / "home" / "project"
        self.work.mkdir(parents=True)
        self.had_cache = self.quiet("volume", "inspect", pydock.CACHE)
        subprocess.run(["sh", str(ROOT / "install" / "linux.sh"), "--prefix", str(self.tmp / "prefix")], check=True, stderr=subprocess.DEVNULL, env=self.environ)
        self.pydock = str(self.tmp / "prefix" / "bin" / "pydock")
        self.python = os.path.realpath(sys.executable)
        (self.tmp / "bin").mkdir()
        (self.tmp / "bin" / "python3").symlink_to(self.python)  # a wrapper, such as pyenv's, would take longer than what is measured
        self.environ["PATH"] = "%s:%s" % (self.tmp / "bin", self.environ["PATH"])
        self.vendored = shutil.copy(str(ROOT / "pydock.py"), str(self.work))
        self.counter = 0
        self.filled = 0
        self.started = ""
        self.large = ""

    def run(self, argv: Sequence[str], data: Optional[str] = None, out: Any = subprocess.DEVNULL) -> str:
        """Runs a command that must succeed, in the project's folder."""
        done = subprocess.run(list(argv), input=data or "", stdout=out, stderr=subprocess.PIPE, text=True, env=self.environ, cwd=str(self.work))
        if done.returncode:
            sys.exit("bench.py: %s: status %d\n%s" % (shlex.join(argv), done.returncode, done.stderr))
        return (done.stdout or "").strip()

    def do(self, *argv: str) -> None:
        self.run([self.pydock, *argv])

    def engine(self, *argv: str, data: Optional[str] = None) -> str:
        return self.run([*self.program, *argv], data, subprocess.PIPE)

    def quiet(self, *argv: str) -> bool:
        return subprocess.run([*self.program, *argv], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=self.environ).returncode == 0

    def name(self) -> str:
        self.counter += 1
        return "e%d" % self.counter

    def image(self, name: str) -> str:
        return "%s-%s:latest" % (self.prefix, name)

    def folder(self, name: str) -> Path:
        return self.tmp / "home" / ".pydock" / "envs" / name

    def compare(self, what: str, against: str, limit: float, times: int, ours: Callable[[], Any], theirs: Callable[[], Any]) -> Row:
        """Runs both in turns, once for nothing; a callable may return how many seconds of its own count."""
        pairs = []
        for number in range(times + 1):
            turn = [ours, theirs] if number % 2 else [theirs, ours]
            took = {function: seconds(function) for function in turn}
            pairs.append((took[ours], took[theirs]))
        del pairs[0]
        ratios = [a / b for a, b in pairs]
        mine, other = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
        say("%s: %.3f s against %.3f s" % (what, mine, other))
        return what, against, mine / other, (min(ratios), max(ratios)), limit

    def fill(self) -> None:
        """200 environments, each with an image of its own: copies of one, labelled as theirs. By hand, as it is quicker."""
        if self.filled:
            return
        say("making 200 environments")
        self.do("create", "many", VERSION)
        container = self.prefix + "-many--source"
        self.engine("create", "--name", container, self.image("many"))

        def copy(number: int) -> None:
            name = "many%d" % number
            shutil.copytree(str(self.folder("many")), str(self.folder(name)))
            folder = pydock.quote(str(self.folder(name)))
            self.engine("commit", "--change", "LABEL pydock.name=" + name, "--change", "LABEL pydock.folder=" + folder, container, self.image(name))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(copy, range(199)))
        self.engine("rm", container)
        self.filled = 200
        rows = json.loads(self.run([self.pydock, "list", "--json"], out=subprocess.PIPE))
        assert len([row for row in rows if row["state"] == "ready"]) >= 200, "the copies are not what pydock knows as ready"

    def clean(self) -> None:
        names = self.engine("ps", "-a", "--format", "{{.Names}}").split()
        tags = [tag for tag in self.engine("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split() if self.prefix in tag]
        for argv in (["rm", "-f"], [name for name in names if self.prefix in name]), (["rmi", "-f"], tags), (["volume", "rm"], [self.prefix + "-pip"]):
            if argv[1]:
                self.quiet(*argv[0], *argv[1])
        if not self.had_cache:
            self.quiet("volume", "rm", pydock.CACHE)
        if self.builder in ("buildx", "buildkit"):
            self.clean_cache()
        shutil.rmtree(str(self.tmp), ignore_errors=True)

    def clean_cache(self) -> None:
        """Removes the steps of builds by hand, told by their text, and what stands on them first."""
        cache = json.loads(self.engine("system", "df", "-v", "--format", "{{json .BuildCache}}") or "[]")
        mine = [item["ID"] for item in cache if self.prefix in item.get("Description", "")]
        for id_ in mine:  # grows while it is read
            mine += [item["ID"] for item in cache if id_ in item.get("Parent", "") and item["ID"] not in mine]
        for id_ in reversed(mine):
            self.quiet("builder", "prune", "-f", "--filter", "id=" + id_)


def say(text: str) -> None:
    print("bench.py: " + text, file=sys.stderr, flush=True)


def seconds(function: Callable[[], Any]) -> float:
    began = time.perf_counter()
    own = function()
    return own if isinstance(own, float) else time.perf_counter() - began


# ------------------------------------------------------------------------------------------------------------
# The rows


def beside_docker(b: Bench, what: str, limit: float, times: int, *argv: str) -> Row:
    """A command of pydock's beside the one that it says it ends in."""
    line = shlex.split(b.run([b.pydock, "--dry-run", *argv], out=subprocess.PIPE).splitlines()[-1])

    def by_hand() -> None:
        line[line.index("--name") + 1] = "%s-%s" % (b.prefix, os.urandom(4).hex())
        b.run(line)

    return b.compare(what, "the `docker run` it ends in", limit, times * b.times, lambda: b.do(*argv), by_hand)


def row_run(b: Bench) -> Row:
    name = b.name()
    b.do("create", name, VERSION)
    return beside_docker(b, "`run NAME true`", 1.12, 5, "run", name, "true")


def row_sandbox(b: Bench) -> Row:
    name = b.name()
    b.do("create", name, VERSION)
    return beside_docker(b, "`run --sandbox NAME true`", 1.15, 5, "run", "--sandbox", name, "true")


def script(b: Bench, needs: str) -> str:
    """The path of a new script with inline metadata."""
    file = b.work / ("%s.py" % b.name())
    text = '# /// script\n# requires-python = ">=%s"\n# dependencies = ["%s"]\n# ///\nimport six\nprint(six.__version__)\n'
    file.write_text(text % (VERSION, needs), encoding="utf-8")
    return str(file)


def uv(b: Bench) -> str:
    """The path of a uv, with a cache of its own."""
    folder = b.tmp / "uv"
    if not folder.exists():
        b.run([b.python, "-m", "venv", str(folder)])
        b.run([str(folder / "bin" / "python"), "-m", "pip", "install", "uv"])
        b.environ.update(UV_CACHE_DIR=str(b.tmp / "uv-cache"), UV_PYTHON_DOWNLOADS="never")
    return str(folder / "bin" / "uv")


def row_script(b: Bench) -> Row:
    file = script(b, "six")
    b.do("run", file)
    return beside_docker(b, "`run SCRIPT.py`, second time", 1.15, 5, "run", file)


def row_script_uv(b: Bench) -> Row:
    file, program = script(b, "six"), uv(b)
    said = [b.run([*argv, file], out=subprocess.PIPE) for argv in ([b.pydock, "run"], [program, "run"])]
    assert said[0] == said[1], "they say %s" % said
    return b.compare("`run SCRIPT.py`, second time", "`uv run SCRIPT.py`, second time", 12, 5 * b.times, lambda: b.do("run", file), lambda: b.run([program, "run", file]))


def row_script_first(b: Bench) -> Row:
    program, pins = uv(b), ["six==1.%d.0" % minor for minor in range(10, 17)]

    def first(*argv: str) -> Callable[[], float]:
        files = [script(b, pin) for pin in pins]
        return lambda: seconds(lambda: b.run([*argv, files.pop()]))

    return b.compare("`run SCRIPT.py`, first time", "`uv run SCRIPT.py`, first time", 60, min(b.times, 6), first(b.pydock, "run"), first(program, "run"))


def row_devcontainer(b: Bench) -> Row:
    what, against = "`run NAME true`, started, in a project", "`devcontainer exec true`"
    if not shutil.which("devcontainer") or b.builder == "podman":
        say("devcontainer: needs the Dev Containers CLI, and docker")
        return what, against, None, (0, 0), 0.5
    folder = str(b.work / "editor")
    make = 'mkdir "$1" && cd "$1" && "$0" --local create dev %s && "$0" export dev .devcontainer/devcontainer.json && "$0" start dev' % VERSION
    b.run(["sh", "-c", make, b.pydock, folder])
    b.run(["devcontainer", "up", "--workspace-folder", folder])
    try:
        return b.compare(what, against, 0.5, 5 * b.times, lambda: b.run(["sh", "-c", 'cd "$1" && exec "$0" run dev true', b.pydock, folder]),
                         lambda: b.run(["devcontainer", "exec", "--workspace-folder", folder, "true"]))
    finally:
        for id_ in b.engine("ps", "-aq", "--filter", "label=devcontainer.local_folder=" + folder).split():
            image = b.engine("inspect", "--format", "{{.Config.Image}}", id_)
            b.engine("rm", "-f", id_)
            b.quiet("rmi", "-f", image, image.replace("-uid", ""))


def started(b: Bench) -> Tuple[str, List[str]]:
    """The name of an environment with a warm container that no shell ends, and `docker exec` of that."""
    if not b.started:
        b.started = b.name()
        b.do("create", b.started, VERSION)
        b.do("activate", "--persistent", b.started)
    return b.started, ["exec", "-i", "%s-%s--background" % (b.prefix, b.started)]


def row_warm(b: Bench) -> Row:
    name, line = started(b)
    return b.compare("`run NAME true`, started", "`docker exec`", 1.5, 10 * b.times, lambda: b.do("run", name, "true"), lambda: b.engine(*line, "true"))


def activated(b: Bench, what: str, limit: float, by_hand: Sequence[str]) -> Row:
    name, _ = started(b)
    python = str(b.tmp / "home/.local/share/pydock" / ("%s-%s" % (b.prefix, name)) / "bin" / "python")
    return b.compare("activated `python -c pass`", what, limit, 10 * b.times, lambda: b.run([python, "-c", "pass"]), lambda: b.engine(*by_hand, "python", "-c", "pass"))


def row_activated(b: Bench) -> Row:
    return activated(b, "`docker exec … python -c pass`", 1.15, started(b)[1])


def row_activated_run(b: Bench) -> Row:
    return activated(b, "`docker run … python -c pass`", 0.40, ["run", "--rm", "-i", b.image(started(b)[0])])


def row_activate(b: Bench) -> Row:
    name, _ = started(b)
    shell = ["bash", "-c", 'eval "$(%s activate --persistent %s)" && command -v deactivate' % (shlex.quote(b.pydock), name)]
    return b.compare("entering an activated shell again", "half a second", 1, 5 * b.times, lambda: b.run(shell), lambda: 0.5)


def row_vendored(b: Bench) -> Row:
    return b.compare("vendored `./pydock.py --version`", "the installed one", 1.2, 30 * b.times, lambda: b.run([b.vendored, "--version"]), lambda: b.do("--version"))


def row_version(b: Bench) -> Row:
    return b.compare("`--version`", "`python3 -IS -c pass`", 2.5, 30 * b.times, lambda: b.do("--version"), lambda: b.run([b.python, "-IS", "-c", "pass"]))


def row_list(b: Bench) -> Row:
    b.fill()
    return b.compare("`list`, 200 environments", "`docker images` with as many", 3.5, 5 * b.times, lambda: b.do("list"), lambda: b.run([*b.program, "images"]))


def pip_by_hand(b: Bench) -> str:
    """`docker run … pip install` with a cache volume, and `commit`; both ways see the host's index and certificates."""
    container = "%s-by-hand-%s" % (b.prefix, b.name())
    script = pydock.settings_sh(True) + "pip install %s" % " ".join(PACKAGES)
    b.engine("run", "-i", "--name", container, "-v", b.prefix + "-pip:/root/.cache/pip", BASE, "sh", data=script)
    b.engine("commit", container, container + ":latest")
    return container


def row_install(b: Bench) -> Row:
    def ours() -> float:
        name = b.name()
        b.do("create", name, VERSION)
        took = seconds(lambda: b.do("install", name, *PACKAGES))
        b.do("delete", "-y", name)
        return took

    def theirs() -> float:
        containers: List[str] = []
        took = seconds(lambda: containers.append(pip_by_hand(b)))
        b.engine("rm", *containers)
        return took

    return b.compare("`install NAME pandas scikit-learn`, warm cache", "`docker run … pip install`, warm cache, and `commit`", 0.40, b.times, ours, theirs)


def row_build(b: Bench) -> Row:
    what, against = "`build` after one pin changed, warm cache", "the same dockerfile with plain `pip install -r`, no cache mount"
    if b.builder == "podman":
        say("build: needs docker's BuildKit")
        return what, against, None, (0, 0), 0.30
    name, other = b.name(), b.tmp / "by-hand"
    b.do("create", name, VERSION, *PACKAGES, "six==1.10.0")
    shutil.copytree(str(b.folder(name)), str(other))
    plain = ("RUN --mount=type=secret,id=pydock : %s; if [ -f /run/secrets/pydock ]; then . /run/secrets/pydock; fi; "
             "pip install -r /opt/pydock/requirements.txt\n" % b.prefix)
    text, found = re.subn(r"(?ms)^RUN --mount=type=cache.*?\n(?=COPY )", lambda _: plain, (other / "dockerfile").read_text(encoding="utf-8"))
    assert found == 1, "the dockerfile's RUN was not found"
    (other / "dockerfile").write_text(text, encoding="utf-8")
    (b.tmp / "secret").write_text(pydock.settings_sh(True), encoding="utf-8")
    pins = {folder: iter("1.11.0 1.12.0 1.13.0 1.14.0 1.15.0 1.16.0 1.17.0".split()) for folder in (b.folder(name), other)}

    def change(folder: Path) -> None:
        file = folder / "requirements.txt"
        file.write_text(re.sub(r"(?m)^six==.*$", "six==" + next(pins[folder]), file.read_text(encoding="utf-8")), encoding="utf-8")

    def ours() -> float:
        change(b.folder(name))
        return seconds(lambda: b.do("build", name))

    def theirs() -> float:
        change(other)
        b.environ["DOCKER_BUILDKIT"] = "1"
        took = seconds(lambda: b.engine("build", "-q", "--secret", "id=pydock,src=%s" % (b.tmp / "secret"), "-t", "%s-plain:%s" % (b.prefix, b.name()),
                                        "-f", str(other / "dockerfile"), str(other)))
        del b.environ["DOCKER_BUILDKIT"]
        return took

    return b.compare(what, against, 0.30, min(b.times, 6), ours, theirs)


def row_create(b: Bench) -> Row:
    b.do("create", b.name(), VERSION)
    return b.compare("`create` of a second environment, same version", "`python3 -m venv`", 0.15, 2 * b.times, lambda: b.do("create", b.name(), VERSION),
                     lambda: b.run([b.python, "-m", "venv", str(b.tmp / "venvs" / b.name())]))


def archive_size(b: Bench, images: Sequence[str]) -> int:
    """Bytes of one archive of the images, which holds a layer once, however many of them share it."""
    many = ["-m"] if b.builder == "podman" else []
    with subprocess.Popen([*b.program, "save", *many, *images], stdout=subprocess.PIPE, env=b.environ) as process:
        assert process.stdout
        stream, size = process.stdout, 0
        for chunk in iter(lambda: stream.read(1 << 20), b""):
            size += len(chunk)
    assert process.returncode == 0
    return size


def row_disk(b: Bench) -> Row:
    names = [b.name() for _ in range(10)]
    b.do("create", names[0], VERSION, *PACKAGES)
    for name in names[1:]:
        b.do("create", name, VERSION, "--no-build")
        shutil.copy(str(b.folder(names[0]) / "requirements.txt"), str(b.folder(name)))
        b.do("build", name)
    ratio = archive_size(b, [b.image(name) for name in names]) / archive_size(b, [b.image(names[0])])
    return "disk of ten environments, same version and packages", "one", ratio, (ratio, ratio), 1.05


def peak(b: Bench, *argv: str) -> float:
    """Peak memory of pydock's own process (the engine's client is another one), of a bare Python without argv."""
    report = b.tmp / "peak"
    code = "import atexit, sys\natexit.register(lambda: open(%r, 'w').write(open('/proc/self/status').read()))\n" % str(report)
    if argv:  # from byte code, as the head of pydock.py does
        code += ("from importlib.machinery import SourceFileLoader\nsys.pycache_prefix = %r\n"
                 "exec(SourceFileLoader('__main__', %r).get_code('__main__'))\n" % (str(b.tmp / "bytecode"), b.pydock))
    b.run([b.python, "-IS", "-c", code, *argv])
    found = re.search(r"VmHWM:\s*(\d+)", report.read_text(encoding="utf-8"))
    assert found
    return float(found.group(1))


def row_memory(b: Bench) -> Row:
    b.fill()
    name = b.name()
    b.do("create", name, VERSION)
    ratios = []
    peak(b, "--version")  # writes the byte code
    for number in range(b.times):
        ours = max(peak(b, "list"), peak(b, "install", name, "six==1.1%d.0" % (number % 7)))
        ratios.append(ours / peak(b))
    return "pydock's peak memory (`list` of 200, `install`)", "a bare `python3`", statistics.median(ratios), (min(ratios), max(ratios)), 3


def row_import(b: Bench) -> Row:
    name = b.name()
    b.do("create", name, VERSION, *PACKAGES)
    by_hand = pip_by_hand(b)
    b.engine("rm", by_hand)
    line = ["run", "--rm", "--network", "none"]
    code = "import pandas, sklearn"
    return b.compare("`import pandas, sklearn` in a new container", "the same where pip compiled them", 1.05, 2 * b.times,
                     lambda: b.engine(*line, b.image(name), "python3", "-c", code), lambda: b.engine(*line, by_hand + ":latest", "python3", "-c", code))


def row_rollback(b: Bench) -> Row:
    name = b.name()
    b.do("create", name, VERSION)
    b.do("install", name, "six")
    return b.compare("`rollback NAME`", "half a second", 1, 5 * b.times, lambda: b.do("rollback", name), lambda: 0.5)


def row_clone(b: Bench) -> Row:
    name = b.name()
    b.do("create", name, VERSION, "six")
    return b.compare("`clone NAME NEW`", "0.3 seconds", 1, 5 * b.times, lambda: b.do("clone", name, b.name()), lambda: 0.3)


def row_history(b: Bench) -> Row:
    name = b.name()
    b.do("create", name, VERSION)
    container = "%s-%s--source" % (b.prefix, name)
    b.engine("create", "--name", container, b.image(name))
    for number in range(2, 51):  # by hand, as it is quicker
        b.engine("commit", "--change", "LABEL pydock.command=install%%20%s%%20p%d" % (name, number), "--change", "LABEL pydock.packages=p==%d" % number,
                 container, "%s-%s:%d" % (b.prefix, name, number))
    b.engine("rm", container)
    rows = json.loads(b.run([b.pydock, "history", name, "--json"], out=subprocess.PIPE))
    assert len(rows) == 50, "the copies are not what pydock knows as states"
    return b.compare("`history NAME`, 50 revisions", "`docker image ls` with as many", 4, 5 * b.times, lambda: b.do("history", name), lambda: b.engine("image", "ls"))


def large(b: Bench) -> str:
    """The name of an environment of some size."""
    if not b.large:
        b.large = b.name()
        b.do("create", b.large, VERSION, *PACKAGES)
    return b.large


def row_digest(b: Bench) -> Row:
    name = large(b)
    size = int(b.engine("run", "--rm", "--network", "none", b.image(name), "du", "-sb", "/opt/venv").split()[0])
    return b.compare("`digest NAME` of %d MB" % (size // 1000000), "100 MB/s", 1, b.times, lambda: b.do("digest", name), lambda: size / 100e6)


def row_export(b: Bench) -> Row:
    name, file = large(b), b.tmp / "export.tar"

    def once(write: Callable[[], Any]) -> float:
        took = seconds(write)
        file.unlink()
        return took

    return b.compare("`export NAME FILE --image`", "`docker save`", 1.15, b.times, lambda: once(lambda: b.do("export", name, str(file), "--image")),
                     lambda: once(lambda: b.run([*b.program, "save", "-o", str(file), b.image(name)])))


# Starts a kernel, and has it answer; prints how long that took. argv: its name.
FIRST_RESULT = """
import sys, time
from jupyter_client.manager import start_new_kernel
began = time.perf_counter()
manager, client = start_new_kernel(kernel_name=sys.argv[1])
client.execute_interactive("6 * 7", output_hook=lambda message: None)
print(time.perf_counter() - began)
manager.shutdown_kernel()
"""


def row_kernel(b: Bench) -> Row:
    jupyter, name = b.tmp / "jupyter", b.name()
    b.run([b.python, "-m", "venv", str(jupyter)])
    b.run([str(jupyter / "bin" / "python"), "-m", "pip", "install", "-q", "jupyter_client", "ipykernel"])
    b.do("create", name, VERSION, "ipykernel")
    b.do("kernel", name)

    def first_result(kernel: str) -> float:
        return float(b.run([str(jupyter / "bin" / "python"), "-c", FIRST_RESULT, kernel], out=subprocess.PIPE))

    return b.compare("first result of a notebook, `kernel NAME`", "that of a local kernel, and 1.2 seconds", 1, 2 * b.times,
                     lambda: first_result("%s-%s" % (b.prefix, name)), lambda: first_result("python3") + 1.2)


SMALL = ("attrs blinker cachetools certifi click colorama decorator filelock idna iniconfig itsdangerous mccabe packaging pluggy pyflakes tabulate toml "
         "typing-extensions wcwidth zipp").split()


def row_clones(b: Bench) -> Row:
    def size(folder: Path) -> int:
        return int(b.run(["du", "-sb", str(folder)], out=subprocess.PIPE).split()[0])

    def pip(folder: Path, *words: str) -> None:
        b.run([str(folder / "bin" / "python"), "-m", "pip", *words])

    venv, copy, total = b.tmp / "venv", b.tmp / "copy", 0
    b.run([b.python, "-m", "venv", str(venv)])
    pip(venv, "install", *PACKAGES)
    pip(venv, "download", "--no-deps", "--only-binary", ":all:", "-d", str(b.tmp / "wheels"), *SMALL)
    name, names = large(b), [b.name() for _ in SMALL]
    for new, wheel in zip(names, sorted((b.tmp / "wheels").iterdir())):
        b.do("clone", name, new)
        b.do("install", new, str(wheel))
        b.run(["cp", "-al", str(venv), str(copy)])  # linked, and one after the other, as only sizes are asked for
        pip(copy, "install", "--no-index", "--no-deps", str(wheel))
        total += size(copy)
        shutil.rmtree(str(copy))
    ratio = archive_size(b, [b.image(new) for new in names]) / archive_size(b, [b.image(name)])
    return ("disk of 20 environments cloned from one, each with a small package more", "one (20 virtualenvs: %.1f)" % (total / size(venv)),
            ratio, (ratio, ratio), 1.3)


def completion(b: Bench, what: str, *words: str) -> Row:
    b.fill()
    ask = [b.pydock, "completion", "--words", *words]
    assert len(b.run(ask, out=subprocess.PIPE).split()) > 1, "there is nothing to complete"
    return b.compare("completion of " + what, "0.1 seconds", 1, 10 * b.times, lambda: b.run(ask), lambda: 0.1)


def row_requirements(b: Bench) -> Row:
    """By a pydock.py of its own, whose byte code is there: reading a file of 500 lines with ranges, and making the next one of it."""
    names = ["package-%d" % i for i in range(500)]
    text = "".join("%s[extra]==1.%d; python_version > '3'  # %s[extra]>=1  # mine\n" % (name, i, name) for i, name in enumerate(names))
    packages = {name: ["1.%d" % (i + i % 2), "%s==1.%d" % (name, i + i % 2), []] for i, name in enumerate(names)}
    report = "pydock-inventory: " + json.dumps({"python": "3.11.2", "packages": packages, "elsewhere": [], "hashes": ""})
    found = pydock.Inventory(report)

    def merge() -> float:
        start = time.process_time()
        made = pydock.Freeze(pydock.read_requirements(text, "requirements.txt"), found, pydock.Wanted()).text()
        took = time.process_time() - start
        assert made != text and made.count("\n") == 500
        return took

    return b.compare("reading a `requirements.txt` of 500 lines, and merging it", "0.02 seconds of a processor", 1, 10 * b.times, merge, lambda: 0.02)


def row_completion(b: Bench) -> Row:
    return completion(b, "a name, 200 environments", "run", "many")


def row_completion_revision(b: Bench) -> Row:
    name = b.name()
    b.do("create", name, VERSION)
    b.do("snapshot", name, "first")
    return completion(b, "a state", "rollback", name, "")


ROWS: Dict[str, Callable[[Bench], Row]] = {
    "run": row_run, "sandbox": row_sandbox, "script": row_script, "script-uv": row_script_uv, "script-first": row_script_first,
    "devcontainer": row_devcontainer, "warm": row_warm, "activated": row_activated, "activated-run": row_activated_run, "activate": row_activate,
    "version": row_version, "vendored": row_vendored, "list": row_list, "install": row_install, "build": row_build, "create": row_create, "disk": row_disk,
    "memory": row_memory, "import": row_import, "rollback": row_rollback, "clone": row_clone, "history": row_history, "digest": row_digest,
    "export": row_export, "kernel": row_kernel, "clones": row_clones, "completion": row_completion, "completion-revision": row_completion_revision,
    "requirements": row_requirements}


def show(row: Row) -> str:
    what, against, ratio, (low, high), limit = row
    if ratio is None:
        return "| %s | %s | – | %.2f | not measured here |" % (what, against, limit)
    shown = "%.2f (%.2f–%.2f)" % (ratio, low, high) if low < high else "%.2f" % ratio
    return "| %s | %s | %s | %.2f | %s |" % (what, against, shown, limit, "yes" if ratio <= limit else "**no**")


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", default=",".join(ROWS), help="some of: " + ", ".join(ROWS))
    p.add_argument("-n", type=int, default=3, dest="times", help="times for the slow rows; quick ones run a multiple of it (default 3)")
    args = p.parse_args()
    wanted = args.only.split(",")
    if not set(wanted) <= set(ROWS):
        p.error("no such row: " + ", ".join(sorted(set(wanted) - set(ROWS))))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and so clean up
    bench = Bench(args.times)
    began, rows = time.monotonic(), []
    try:
        for name in wanted:
            rows.append(ROWS[name](bench))
        server = bench.engine("version", "--format", "{{.Server.Version}}")
    finally:
        say("cleaning up")
        bench.clean()
    print("\n| what | against | ratio (range) | at most | met |\n|---|---|---|---|---|")
    print("\n".join(show(row) for row in rows))
    print("\n%s %s, builder: %s, %d processors; in %.0f s" % (bench.program[-1], server, bench.builder, os.cpu_count() or 0, time.monotonic() - began))
    missed = [row[0] for row in rows if row[2] is not None and row[2] > row[4]]
    print("missed: " + "; ".join(missed) if missed else "every limit that was measured is met")
    return 0


if __name__ == "__main__":
    sys.exit(main())
