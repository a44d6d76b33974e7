#!/usr/bin/env python3
"""Feeds pydock what nobody would write: `make fuzz`, or `FUZZ=100 FUZZ_SEED=7 tests/fuzz.py [KIND…]`.

FUZZ inputs of each kind (default 500), made from a seed that is printed; the first hundred as whole processes, the others in a
fork of this one. `FUZZ_ONLY=17` tries one input again and shows it. No engine is needed: one that answers from files, and fails
where the input says so, stands first on PATH. What must hold of each: no traceback, no end by a bug, no hang, an exit status
that is one of pydock's, and nothing written but in that input's own home and folder.
"""
from __future__ import annotations

import hashlib
import io
import json
import os
import py_compile
import random
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence, Tuple

import run
from support import PYDOCK, pydock

COUNT = int(os.environ.get("FUZZ") or 500)
SEED = os.environ.get("FUZZ_SEED") or str(random.SystemRandom().randrange(10 ** 6))
ONLY = os.environ.get("FUZZ_ONLY", "")
PROCESSES = 100
LIMIT = 60  # seconds; a busy machine is no hang
BAD = re.compile(rb"Traceback \(most recent|a bug in pydock|Fatal Python error|Exception ignored")
STATUSES = {0, 1, 2, 127, 130}

ENGINE = r"""#!/bin/sh
# Answers from the files in $FUZZ_DATA, notes the calls there, and fails at the commands named in $FUZZ_FAILS.
case ${0##*/} in sudo) while case $1 in *=*) ;; *) false ;; esac; do shift; done; exec "$@" ;; esac
d=$FUZZ_DATA
printf '%s\n' "$1 $2" >>"$d/calls"
case " $FUZZ_FAILS " in *" $1 "*) echo "the fake engine fails" >&2; exit 1 ;; esac
case $1:$2:$3:$4 in
buildx:*) echo v0.13.1 ;;
version:*) echo 26.1.5 ;;
info:*) echo '["name=seccomp"]' ;;
image:ls:-aq*) cut -d' ' -f2 "$d/ls" ;;
image:ls:*) cat "$d/ls" ;;
image:inspect:--format:*) cat "$d/ready" ;;
image:inspect:python*) cat "$d/base" ;;
image:inspect:*) cat "$d/images" ;;
container:inspect:--format:*Created*) cat "$d/created" ;;
container:inspect:--format:*) echo '["PATH=/usr/bin","LANG=C"]' ;;
container:inspect:*) cat "$d/containers"; [ -s "$d/containers" ] ;;
ps:-a:--format:*.ID*) while read -r name state; do echo "0123456789ab $state $name"; done <"$d/ps" ;;
ps:*) cat "$d/ps" ;;
top:*) printf 'PID PPID COMMAND\n1 0 sleep\n' ;;
cp:*:-:* | cp:*:*:-) cat "$d/tar" ;;
cp:* | load:*) cat >/dev/null ;;
save:*) cat "$d/tar" ;;
run:* | start:*) cat >/dev/null; cat "$d/found" ;;
compose:*) cat >/dev/null; cat "$d/compose" ;;
esac
"""
DOCKERFILE = pydock.render_dockerfile("python:{version}-slim", "3.11", [], "")
REQUIREMENTS = "# by hand\nsix==1.16.0  # six>=1\nurllib3==2.0.1; python_version >= '3.8'\n./wheels/demo-1.0-py3-none-any.whl\n"
ODD = ["", " ", "-", "--", "---", "-x", "-yq", "--=", "=", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\a\b\r", "a\nb", "\t", "\x7f\x9b1m",
        "\u202egpj.\u202c", "\u2066\u200b\ufeff",
       "\udcff\udcfe", "é", "名前", "\U0001f600", "²", "٣", "x" * 65, "y" * 5000, "a/" * 300, "..", "../..", "./", "~", "//", "/dev/null", "/proc/self/mem",
               "$HOME", "$(touch x)", "`touch x`",
       "';touch x;'", "%s%d%n", "%(x)s", "{}", "{version}", "{0.__class__}", "@NAME@", "a:b", "a=b", "a@b", "1" * 400, "-1", "0", "00", "1e999", ":007",
               "007", "99999999999999999999", "*", "[", "]",
       "[a", "(?", "\\", "#", "!", "nan", "null", "true", "sha256:" + "0" * 64, "<none>", "<none>:<none>", "\u2028", "K=" + "v" * 3000]
NAMES = ["e", "e", "e", "f", "nosuch", "E", "e.f", "e--f", "e" * 64]


def some(r: random.Random, words: Sequence[str]) -> str:
    return r.choice(words)


def bent(r: random.Random, text: str, pieces: Sequence[str]) -> bytes:
    """A text with some lines changed, moved, doubled or gone, odd pieces put in; or with some bytes changed."""
    lines = text.split("\n")
    for _ in range(r.choice((1, 1, 2, 3, 8))):
        at = r.randrange(len(lines) + 1)
        what = r.randrange(8)
        if what == 0 and at < len(lines):
            del lines[at]
        elif what == 1 and at < len(lines):
            lines.insert(at, lines[at])
        elif what == 2 and at < len(lines):
            lines[at] = lines[at][:r.randrange(len(lines[at]) + 1)] + some(r, ODD) + lines[at][r.randrange(len(lines[at]) + 1):]
        elif what == 3 and at < len(lines):
            lines[at] += some(r, ("\\", " \\", "\r", " ", "\x00", ";", " #"))
        else:
            lines.insert(at, some(r, pieces) if r.random() < 0.8 else some(r, ODD))
    data = "\n".join(lines).encode("utf-8", "surrogateescape")
    how = r.randrange(24)
    if how == 0:
        data = r.choice((b"", b"\x00", b"\xef\xbb\xbf" + data, data.decode("utf-8", "replace").encode("utf-16"), data.replace(b"\n", b"\r\n"),
                data.replace(b"\n", b"\r"), data * 50,
                         r.choice((b"A", b"#", b"\\\n", b" ")) * 200000, os.fsencode("\udcff") * 99))
    elif how == 1:
        spoilt = bytearray(data or b"x")
        for _ in range(5):
            spoilt[r.randrange(len(spoilt))] = r.randrange(256)
        data = bytes(spoilt)
    return data


class Input:
    """One input: a home, a current folder and answers of the engine, as files; and a command line."""

    def __init__(self, kind: str, number: int, base: Path, program: List[str]) -> None:
        self.kind, self.number, self.base, self.program = kind, number, base, program
        self.r = random.Random("%s %s %d" % (SEED, kind, number))
        self.home, self.work, self.data = base / "home", base / "work", base / "data"
        self.argv: List[str] = []
        self.environ: Dict[str, str] = {}
        self.fails = ""
        self.shown: List[object] = []  # what an eye wants to see of it
        for folder in (self.home, self.work, self.data):
            shutil.rmtree(folder, ignore_errors=True)
        for folder in (self.home, self.work / "deep" / "down", self.data):
            folder.mkdir(parents=True)
        self.cwd = self.work / "deep" / "down"
        self.local = self.r.random() < 0.3
        self.root = (self.cwd if self.local else self.home) / ".pydock"
        self.folder = self.root / "envs" / "e"
        self.folder.mkdir(parents=True)
        self.files = {"dockerfile": DOCKERFILE.encode(), "requirements.txt": REQUIREMENTS.encode()}

    def images(self, tags: Sequence[str], labels: Sequence[Dict[str, str]], **more: object) -> List[Dict[str, Any]]:
        """What `image inspect` tells of images with these tags."""
        return [{"Id": "sha256:" + hashlib.sha256(str(at).encode()).hexdigest(), "RepoTags": [tag], "Created": "2026-01-01T00:00:00.5Z", "Size": 10 ** 8,
                 "RootFS": {"Layers": ["sha256:%064d" % layer for layer in range(at + 1)]},
                 "Config": {"User": "%d:%d" % (os.getuid(), os.getgid()), "WorkingDir": "/home/user", "Env": ["PATH=/usr/bin"], "Labels": labels[at],
                         "Cmd": ["python3"]}, **more}
                for at, tag in enumerate(tags)]

    def labels(self, number: int = 1) -> Dict[str, str]:
        shas = [hashlib.sha256(self.files[file]).hexdigest() for file in ("dockerfile", "requirements.txt")]
        return {"pydock": "1", "pydock.name": "e", "pydock.folder": pydock.quote(os.path.realpath(self.folder)), "pydock.dockerfile": shas[0],
                "pydock.requirements": shas[1],
                "pydock.command": "pydock%%20create%%20e%%20%d" % number, "pydock.time": "2026-01-01T00:00:0%dZ" % number, "pydock.python": "3.11.4",
                        "pydock.packages": "six==1.16.0,urllib3==2.0.1"}

    def answer(self, images: List[Dict[str, Any]], containers: str = "") -> None:
        """Lays out what the engine is to answer."""
        first = (images or self.images(["x:latest"], [{}]))[0]
        config = first.get("Config") or {}
        labels = config.get("Labels") or {}
        ready = [first["Id"], config.get("User") or "", config.get("WorkingDir") or "", *(labels.get("pydock." + key, "") for key in ("folder", "dockerfile",
                "requirements")),
                 json.dumps(config.get("Volumes"))]
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name, data in self.files.items():
                add(tar, "./" + name, data)
        base = self.images(["python:3.11-slim"], [{}])
        texts: Dict[str, str] = {
            "ls": "".join("%s %s\n" % (image["RepoTags"][0], image["Id"]) for image in images), "images": json.dumps(images), "base": json.dumps(base),
                    "ready": "\n".join(ready) + "\n",
            "containers": containers, "ps": "", "found": "3.11.4 six==1.16.0\n", "compose": "{}", "created": '"2026-01-01T00:00:00Z"\n'}
        for name, text in texts.items():
            (self.data / name).write_bytes(text.encode("utf-8", "surrogateescape"))
        (self.data / "tar").write_bytes(archive.getvalue())

    def usual(self) -> None:
        """A built environment with three states."""
        repo = "pydock-e" + ("__" + pydock.sha256(os.fsencode(os.path.realpath(self.folder)))[:8] if self.local else "")
        self.repo = repo
        self.answer(self.images([repo + ":latest", repo + ":2", repo + ":1"], [self.labels(3), self.labels(2), self.labels(1)]))

    def lay_out(self) -> None:
        for name, data in self.files.items():
            (self.folder / name).write_bytes(data)

    def command(self) -> List[str]:
        """A command as people type it, that reads what this kind spoils."""
        return list(self.r.choice([
            ["list"], ["list", "--all"], ["list", "--json"], ["history", "e"], ["history", "--json", "e"], ["run", "e", "true"],
                    ["run", "--fresh", "-e", "A=b", "e", "python", "-c", "1"], ["shell", "e"],
            ["build", "e"], ["build", "--no-cache", "--pull", "e"], ["install", "e", "six"], ["install", "-U", "e", "six>=1"], ["uninstall", "e", "six"],
                    ["update", "e"], ["update", "e", "six"],
            ["start", "e"], ["stop", "e"], ["reset", "e"], ["activate", "--shell", "bash", "e"], ["link", "e", "python"], ["link"], ["kernel", "e"], ["kernel"], ["clone", "e", "f"], ["rename", "e", "f"],
                    ["delete", "-y", "e"], ["config"],
            ["config", "--json"], ["snapshot", "e", "paper"], ["rollback", "e"], ["rollback", "e", "1"], ["freeze", "e"], ["lock", "e"],
                    ["lock", "--check", "e"], ["digest", "e"], ["verify", "e"],
            ["export", "e", "out.tar"], ["export", "--image", "e", "out.tar"], ["prune", "-y"], ["prune"], ["completion", "--words", "run", ""],
                    ["completion", "--words", "rollback", "e", ""],
            ["create", "f", "3.11", "six"], ["create", "f", "--from", "python:3.11-slim"], ["create", "f", "--from", "some:image"],
                    ["-n", "run", "e", "true"], ["-n", "install", "e", "six"],
            ["-n", "build", "e"], ["-n", "rollback", "e"], ["-n", "clone", "e", "f"], ["trust", "-y", "e"], ["trust", "--remove", "e"]]))

    def env(self) -> Dict[str, str]:
        return {"HOME": str(self.home), "PATH": "%s:/usr/bin:/bin" % (self.base / "bin"), "FUZZ_DATA": str(self.data), "FUZZ_FAILS": self.fails,
                "TMPDIR": str(self.base / "tmp"), "LANG": "C.UTF-8",
                **self.environ}

    def describe(self, why: str) -> str:
        usual = (DOCKERFILE.encode(), REQUIREMENTS.encode())
        files = {str(path.relative_to(self.base)): path.read_bytes()[:2000] for folder in (self.home, self.work) for path in sorted(folder.rglob("*"))
                 if path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 24 and path.read_bytes() not in usual}
        return "%s, input %d: %s\n  pydock %r\n  in %s, with %r, the engine fails at %r\n  %s\n  files %r" % (
            self.kind, self.number, why, self.argv, self.cwd.relative_to(self.base), self.environ, self.fails, str(self.shown or "")[:6000], files)


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def command_lines(it: Input) -> None:
    it.usual()
    it.lay_out()
    r = it.r
    known = sorted({option for command in pydock.COMMANDS.values() for names, _ in command.arguments for option in names if option.startswith("-")} | pydock.EVERYWHERE)
    words = [*pydock.COMMANDS, *pydock.ALIASES, *pydock.OTHER_WORDS, "help", "--help", "-h", "--version", "-V"]
    it.argv = [some(r, list(pydock.COMMANDS)) if r.random() < 0.8 else some(r, words)] if r.random() < 0.9 else []
    for _ in range(r.randrange(7)):
        it.argv.append(r.choice((lambda: some(r, ODD), lambda: some(r, known), lambda: some(r, NAMES), lambda: some(r, known) + "=" + some(r, ODD),
                lambda: some(r, words),
                                 lambda: some(r, ("six", "3.11", "six==1.16", "-r", "e:/x", "8888", "latest", "1", "out.tar", "true", "bash", "--words",
                                         "completion"))))())
    if r.random() < 0.15:
        r.shuffle(it.argv)
    if r.random() < 0.1:
        it.argv[:0] = ["completion", "--words"]
    if {"export", "link", "--to"} & set(it.argv):  # these write where they are told to
        it.argv = [word for word in it.argv if ".." not in word]
    if r.random() < 0.1:
        it.environ = {some(r, ("PYDOCK_PYTHON", "PYDOCK_USER", "PYDOCK_IMAGE", "PYDOCK_HISTORY", "PYDOCK_LOCAL", "COLUMNS", "NO_COLOR", "DOCKER_HOST",
                "DOCKER_CONTEXT", "XDG_DATA_HOME", "PYDOCK_ENV")):
                      some(r, [word for word in ODD if not re.search("[/.~]", word)])}


def settings(it: Input) -> None:
    r = it.r
    it.usual()
    it.lay_out()
    values = ODD + ["uv", "pip", "3.11", "10", "0", "docker", "podman", "sudo docker", "sudo -n docker", "'docker", "a b c", "localhost:5000", "pydock"]
    pieces = ["%s%s%s" % (some(r, [*pydock.SETTINGS, "nosuch", "Engine"]), some(r, (" = ", "=", ": ", " ", "")), some(r, values)) for _ in range(20)]
    pieces += ["[pydock]", "[DEFAULT]", "[", "[]", "[x]", "[pydock", "  continued", "; x", "= x", "a = %(a)s", "a = ${a}", "image", "[DEFAULT]\nengine = x"]
    text = "[pydock]\n" + "".join("%s = %s\n" % (key, some(r, [default] * 6 + values)) for key, (default, *_) in pydock.SETTINGS.items() if r.random() < 0.3)
    conf = bent(r, text, pieces)
    place = r.choice((it.home / ".pydock", it.root))
    place.mkdir(exist_ok=True)
    (place / "pydock.conf").write_bytes(conf)
    it.argv = it.command() if r.random() < 0.7 else ["config", *r.sample(["--global", "--local"], r.randrange(2)), some(r, [*pydock.SETTINGS, *ODD]),
            *[some(r, values)] * r.randrange(2)]
    if r.random() < 0.2:
        it.environ = {"PYDOCK_" + some(r, list(pydock.SETTINGS)).upper(): some(r, values)}


def dockerfiles(it: Input) -> None:
    r = it.r
    froms = ["FROM", "FROM ", "FROM $X", "FROM ${REPOSITORY}x:${V:-1}", "FROM scratch AS base", "FROM a@sha256:x", "from python:3.12 as x",
            "FROM --platform=$P python", "FROM python:²", "FROM \\", "FROM\tpython:3.11"]
    pieces = froms + ["# escape=`", "# syntax=x/y", "#", "ARG", "ARG =", "ARG X", "ARG USERNAME", "ARG USER_UID=", "ARG A=1 B=2", "ARG PYDOCK_AGAIN",
            "LABEL pydock=2", "ONBUILD RUN x", "HEALTHCHECK", "SHELL",
                      "RUN --mount=type=cache,id=../../x,target=/x true", "RUN <<EOF\nx\nEOF", "RUN <<EOF", "COPY --from=x / /", "ADD http://x /", "USER 0",
                              "ENV A", "ENTRYPOINT [", "CMD [\"x\"", "\\", "RUN a \\\n# c\n b"]
    it.files["dockerfile"] = bent(r, DOCKERFILE, pieces)
    it.usual()
    it.lay_out()
    if r.random() < 0.3:  # older than the image
        (it.folder / "dockerfile").write_bytes(DOCKERFILE.encode())
    it.argv = it.command()


def requirements(it: Input) -> None:
    r = it.r
    pieces = ["-e .", "-e", "--editable=../../..", "-r", "-r /etc/passwd", "-r ../x", "-c x", "--index-url", "--index-url https://u:p@h/", "-i", "--hash",
            "six==1 --hash=sha256:x", "six==1 \\\n    --hash=sha256:00 \\",
              "--require-hashes", "six[", "six[a,b]>=1,<2", "six @ file:///etc/passwd", "six@https://u:p@h/x.whl",
                      "x @ git+https://h/x@y#egg=z&subdirectory=..", "./wheels/../../../x-1.0-py3-none-any.whl",
              "./wheels//x.whl", "wheels/x.whl", "/x-1-py3-none-any.whl", "six; python_version", "six; ", ";", "six ; 'a'", "six==1 # via x", "# via",
                      "six==", "===", "SIX==1", "s-i_x.==1", "six==1.0+local",
              "six==1\x0b2", "--find-links ../..", "--no-binary :all:", "${A}", "six==1 ; extra == 'x'", "ſix==1", "six==١"]
    data = bent(r, REQUIREMENTS, pieces)
    it.files["requirements.txt"] = data
    it.usual()
    it.lay_out()
    for name in ("more.txt", "pyproject.toml", "pylock.toml"):
        (it.cwd / name).write_bytes(data)
    (it.folder / "wheels").mkdir()
    (it.folder / "wheels" / "demo-1.0-py3-none-any.whl").write_bytes(b"x")
    if r.random() < 0.3:
        (it.folder / "requirements.txt").write_bytes(REQUIREMENTS.encode())
    spec = some(r, pieces + ODD)
    it.argv = it.command() if r.random() < 0.5 else list(r.choice([["install", "e", "-r", "more.txt"], ["install", "e", spec], ["update", "e", spec],
            ["uninstall", "e", spec], ["create", "f", "3.11", "-r", "more.txt"],
                                                                    ["create", "f", "3.11", spec],
                                                                            ["install", "e", "-r", some(r, ("pyproject.toml", "pylock.toml"))],
                                                                            ["-n", "install", "e", spec]]))


def labels(it: Input) -> None:
    r = it.r
    outside = pydock.quote(str(it.base / "outside"))
    values = ODD + ["%", "%zz", "%00", "%ff%fe", "%1b[31m", "%0a", outside, outside + "/envs/e", "/", "2026-02-30T00:00:00Z", "0000-00-00T00:00:00Z",
            "99999-01-01", "2026-01-01T00:00:00+02:00", "six==1,,=,==,a==b==c",
                    "six", "==", "%2c%2c", "3", "3.11.4.5.6", "3.x", "[]", "{", "%5B%22/%22%2C%5B%5D%2C%22-%22%5D", "%5B1,2,3%5D", "[[],[],[]]",
                            "pydock%20create%20%1b"]
    tags = ["latest", "1", "2", "007", "0", "00", "1_0", "9" * 30, "tmp-12345678", "tmp-x", "tmp-12345678-base", "tmp-12345678-build", "paper", "Paper_1.-",
            "x" * 128, "2026", "-"]
    it.usual()
    chosen = ["latest"] * (r.random() < 0.8) + r.sample(tags[1:], r.randrange(1, 6))
    names = [it.repo, it.repo, it.repo, it.repo, "pydock-ds", "localhost/pydock-e", "other/x", "pydock-", "pydock-a__00000000", "h:5000/x"]
    made = []
    for number in range(len(chosen)):
        its = it.labels(number % 9)
        for _ in range(r.randrange(4)):
            its[some(r, [*its, "pydock.start", "pydock.x", "com.docker.compose.project"])] = some(r, values)
        for _ in range(r.randrange(3)):
            its.pop(some(r, list(its)), None)
        made.append(its)
    images = it.images(["%s:%s" % (it.repo if not at or r.random() < 0.7 else some(r, names), tag) for at, tag in enumerate(chosen)], made)
    for image in images:
        changes: List[Dict[str, Any]] = [{}, {}, {}, {"Created": some(r, ["", "0001-01-01T00:00:00Z", "2026-01-01T00:00:00.123456789+05:30", "x",
                "99999-01-01T00:00:00Z", *ODD])}, {"Size": some(r, [0, 10 ** 18, -1])},  # type: ignore[list-item]
                               {"RootFS": {"Layers": None}}, {"RepoDigests": None}, {"RepoDigests": ["x", "a@", "@"]},
                                       {"Config": {**image["Config"], "Labels": None}}, {"Config": None},
                               {"Config": {**image["Config"], "User": some(r, ODD), "WorkingDir": some(r, ODD),
                                       "Env": some(r, [None, [], ["A", "=", "B="]])}}]  # type: ignore[list-item]
        image.update(r.choice(changes))
    container = ""
    if r.random() < 0.4:
        its = {**it.labels(), "pydock.start": some(r, values)}
        container = json.dumps([{"Name": "/%s--background" % it.repo, "State": {"Running": r.random() < 0.7, "StartedAt": some(r, ["2026-01-01T00:00:00Z", "", "x",
                "2026-01-01T00:00:00+02:00"]), "Pid": 1}, "Image": images[0]["Id"],
                                 "Mounts": [{"Type": "bind", "Source": str(it.cwd), "Destination": "/home/user/x"}] * r.randrange(2),
                                         "Config": {"Labels": {**its, some(r, list(its)): some(r, values)}}}])
    it.answer(images, container)
    if r.random() < 0.3:
        (it.data / "found").write_bytes(some(r, ["", "3.11.4", "hello\n3.11.4 six==1\n", "\x1b[31m 3 \n", "x" * 100000, " ", "3.11.4 a b c",
                *ODD]).encode("utf-8", "surrogateescape"))
    if r.random() < 0.3:
        (it.data / "ps").write_bytes("".join("%s %s\n" % (some(r, [it.repo + "--background", it.repo + "--tmp-12345678", it.repo + "--x"]),
                some(r, ["running", "created", "Created", "exited"])) for _ in range(3)).encode("utf-8", "surrogateescape"))
        (it.data / "created").write_text(some(r, ['"2026-01-01T00:00:00.1+02:00"\n', '"x"\n', "", "null\n", '"2026-01-01 00:00:00 +0200 EET"\n']))
    it.shown = [images, container]
    it.lay_out()
    it.argv = it.command()


def bundles(it: Input) -> None:
    r = it.r
    it.usual()
    it.lay_out()
    config = json.dumps({"config": {"Labels": it.labels()}, "rootfs": {"type": "layers", "diff_ids": []}}).encode()
    manifest: List[object] = [{"Config": "x.json", "RepoTags": ["pydock-victim:latest"], "Layers": ["a/layer.tar"]}]
    broken: List[object] = [manifest * 2, {}, None, 1, "x", [], [[]], [None], [{"RepoTags": 1}], {"manifests": [1]}, {"manifests": {}},
            [{"Config": "../../x", "Layers": ["/etc/passwd"]}]]
    members: List[Tuple[str, Any]] = [("e/dockerfile", DOCKERFILE.encode()), ("e/requirements.txt", REQUIREMENTS.encode()),
            ("e/wheels/demo-1.0-py3-none-any.whl", b"x")]
    if r.random() < 0.6:
        members += [("x.json", config), ("a/layer.tar", bytes(2048)), ("manifest.json", json.dumps(manifest).encode()),
                ("index.json", b'{"manifests": [{}]}'), ("repositories", b"{}")]
    names = ["../x", "/x", "e/../../x", "e//dockerfile", "e/wheels/../../x.whl", "e/wheels/x.whl", "e/wheels/.whl", "e/wheels/a\nb.whl",
            "e/docker-compose.yml", "e/.env", "f/dockerfile", "e/dockerfile", "e", "", ".", "dockerfile",
             "manifest.json", "index.json", "e/" + "x" * 300, "\x1b[31m", "é", "\udcff", "e/wheels", "oci-layout", "blobs/sha256/x"]
    for _ in range(r.choice((0, 1, 1, 2, 4))):
        at, what = r.randrange(len(members)), r.randrange(6)
        if what == 0:
            del members[at]
        elif what == 1:
            members[at] = (some(r, names), members[at][1])
        elif what == 2:
            members[at] = (members[at][0], r.choice((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE,
                    tarfile.GNUTYPE_SPARSE, tarfile.CONTTYPE, b"Z", b"V")))
        elif what == 3:
            members[at] = (members[at][0], r.choice((json.dumps(r.choice(broken)).encode(), b"[" * 100000, b'{"a":' * 5000, b"\xff", b"NaN", b"",
                    bytes(70000), bent(r, DOCKERFILE, ["FROM", "ARG"]))))
        else:
            members.insert(at, (some(r, names), r.choice((b"x", b"FROM x\n", tarfile.SYMTYPE, b"services:\n  e: {}\n"))))
        members = members or [("e", b"")]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=r.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT)), errors="surrogateescape") as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            if len(data) == 1 and data != b"x":
                member.type, member.linkname = data, some(r, ("../../../outside/file", "/etc/passwd", "e/dockerfile", "a/layer.tar", "../a/layer.tar", ""))
                data = b""
            if r.random() < 0.05:
                member.pax_headers = {some(r, ("GNU.sparse.map", "GNU.sparse.size", "size", "path", "linkpath", "mtime", "uid", "GNU.sparse.major",
                        "hdrcharset", "comment")):
                                      some(r, ("0,1", "99999999999", "-1", "x", "../../x", "1", "BINARY", "a" * 5000))}
            member.size = len(data)
            try:
                tar.addfile(member, io.BytesIO(data))
            except ValueError:  # a name too long for that format
                pass
    spoilt = bytearray(out.getvalue())
    how = r.randrange(8)
    if how == 0:
        spoilt = spoilt[:r.randrange(len(spoilt))]
    elif how == 1:
        for _ in range(r.randrange(1, 9)):
            spoilt[r.randrange(min(len(spoilt), 8192))] = r.randrange(256)
    elif how == 2:  # a header's field, with a checksum that fits
        at = r.randrange(0, max(len(spoilt) // 512, 1)) * 512
        where, value = r.choice(((124, b"77777777777\0"), (124, b"\x80\0\0\0\1\x80\0\0\0\0\0\0"), (124, b"\xff" * 12), (124, b"-1\0"), (156, b"S"),
                (156, b"L"), (156, b"x"), (156, b"g"), (136, b"99999999999\0"), (100, b"\xff" * 8), (257, b"ustar  \0")))
        spoilt[at + where:at + where + len(value)] = value
        head = spoilt[at:at + 512]
        head[148:156] = b" " * 8
        spoilt[at + 148:at + 156] = b"%06o\0 " % sum(head)
    elif how == 3:
        spoilt += r.choice((b"x", bytes(512), bytes(20000), bytes(spoilt)))
    (it.cwd / "in.tar").write_bytes(bytes(spoilt))
    it.shown = [members, how]
    it.argv = list(r.choice([["create", "f", "--from", "in.tar"]] * 4 + [["-n", "create", "f", "--from", "in.tar"], ["create", "e", "--from", "in.tar"],
            ["create", "f", "--from", "./in.tar", "--no-build"],
                             ["create", "f", "--from", "in.tar", "-p", "80"]]))


KINDS: Dict[str, Callable[[Input], None]] = {"CommandLines": command_lines, "Settings": settings, "Dockerfiles": dockerfiles, "Requirements": requirements,
        "Labels": labels, "Bundles": bundles}


def outcome(it: Input, whole: bool) -> Tuple[int, bytes]:
    """Runs pydock for an input: its status, negative for a signal, and what it wrote to stderr. Whatever it has started ends with it."""
    with open(it.base / "stdout", "wb") as out, open(it.base / "stderr", "wb") as err:
        environ = it.env()
        if whole:
            words = [os.fsencode(word) for word in it.argv]
            process = subprocess.Popen([*it.program, *words], cwd=it.cwd, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True,
                                       preexec_fn=lambda: signal.alarm(LIMIT) and None)
            pid, code = process.pid, process.wait()
        else:
            pid = os.fork()
            if not pid:
                inside(it, environ, out.fileno(), err.fileno())
            status = os.waitpid(pid, 0)[1]
            code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    return code, (it.base / "stderr").read_bytes()


def inside(it: Input, environ: Dict[str, str], out: int, err: int) -> None:
    """In the fork: becomes a pydock that has just been started, but for the imports."""
    status = 99
    try:
        os.setsid()
        signal.alarm(LIMIT)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (out, 1), (err, 2)):
            os.dup2(source, target)
        os.chdir(it.cwd)
        os.environ.clear()
        os.environ.update(environ)
        sys.stdin, sys.stdout, sys.stderr = open(0, closefd=False), open(1, "w", closefd=False), open(2, "w", closefd=False, errors="backslashreplace")
        sys.argv = ["pydock", *it.argv]
        status = pydock.main(it.argv)
        sys.stdout.flush()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        import traceback

        os.write(2, traceback.format_exc().encode(errors="backslashreplace"))
    finally:
        os._exit(status)


def tree(base: Path) -> List[Tuple[str, object]]:
    """What lies beside the folders in which an input may write, and what is in there."""
    mine = {"home", "work", "data", "tmp", "stdout", "stderr"}
    found = [path for path in sorted(base.rglob("*")) if path.relative_to(base).parts[0] not in mine]
    return [(str(path), path.read_bytes() if path.is_file() else os.lstat(path).st_mode) for path in found]


class Fuzz(unittest.TestCase):
    """All inputs of one kind; a failure shows the first of each sort."""

    def fuzz(self) -> None:
        kind = type(self).__name__
        base = Path(tempfile.mkdtemp(prefix="pydock-fuzz-")).resolve()
        self.addCleanup(shutil.rmtree, base, ignore_errors=True)
        (base / "bin").mkdir()
        for name in ("docker", "podman", "sudo"):
            (base / "bin" / name).write_text(ENGINE)
            (base / "bin" / name).chmod(0o755)
        (base / "outside").mkdir()
        (base / "outside" / "file").write_text("mine\n")
        (base / "pydock.pyc").parent.mkdir(exist_ok=True)
        py_compile.compile(str(PYDOCK), cfile=str(base / "pydock.pyc"), doraise=True)
        program = [sys.executable, "-IS", str(base / "pydock.pyc")]
        before = tree(base)
        found: Dict[str, str] = {}
        started = time.monotonic()
        for number in [int(ONLY)] if ONLY else range(COUNT):
            shutil.rmtree(base / "tmp", ignore_errors=True)
            (base / "tmp").mkdir()
            it = Input(kind, number, base, program)
            it.fails = " ".join(it.r.sample(["run", "build", "commit", "tag", "cp", "rmi", "load", "create", "image", "version", "ps", "pull"],
                    it.r.choice((0, 0, 0, 1, 2))))
            KINDS[kind](it)
            if ONLY:
                print(it.describe("shown"))
            began = time.monotonic()
            status, err = outcome(it, number < PROCESSES)
            if ONLY:
                print("status %d, %.1f s\n%s" % (status, time.monotonic() - began, err.decode(errors="backslashreplace")))
            after = tree(base)
            why, sort = "", ""
            if BAD.search(err):
                lines = err.decode(errors="backslashreplace").strip().splitlines()
                where = [line.strip() for line in lines if line.startswith("  File")][-1:]
                why, sort = "a traceback, or its word for one\n" + "\n".join(lines[-12:]), " ".join(where + lines[-1:])[:150]
            elif status == -signal.SIGALRM:
                why = sort = "no end within %d s" % LIMIT
            elif status not in STATUSES:
                why = sort = "the exit status %d" % status
                why += "\n" + err.decode(errors="backslashreplace")[-500:]
            elif after != before:
                why = sort = "written outside"
                why += ": %r" % [item for item in after if item not in before][:3]
            elif os.listdir(base / "tmp"):
                why = sort = "left in the folder for temporary files"
                why += ": %r" % os.listdir(base / "tmp")
            if why:
                found.setdefault(sort, it.describe(why))
                for path in base.iterdir():
                    if str(path) not in dict(before) and path.name not in ("home", "work", "data", "tmp", "stdout", "stderr"):
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
        print("%s: %d inputs in %.0f s" % (kind, 1 if ONLY else COUNT, time.monotonic() - started), flush=True)
        if found:
            self.fail("with FUZZ_SEED=%s: %d sorts\n%s" % (SEED, len(found), "\n\n".join(found.values())))


for _kind in KINDS:
    globals()[_kind] = type(_kind, (Fuzz,), {"test_" + _kind.lower(): Fuzz.fuzz, "__module__": __name__})


def main() -> int:
    os.environ["FUZZ_SEED"] = SEED
    print("seed %s, %d inputs of each kind" % (SEED, COUNT), flush=True)
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda kind: run.start(["fuzz." + kind], [], []), sys.argv[1:] or list(KINDS)))
    failed = {key: text for report in reports for key, text in report["failed"].items()}
    for key, text in failed.items():
        print("\n%s\nFAILED %s\n%s" % ("=" * 100, key, text.rstrip()))
    print("%d passed, %d failed, %d skipped" % (sum(len(report["passed"]) for report in reports), len(failed), 0))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
