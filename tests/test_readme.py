"""The README is true: its commands run, one after another as they stand there, and say what stands below them.

A block of `sh` or `console` is run in one bash, with a package index of its own in which the packages have the versions that the README
shows. A comment before a block, `<!-- not run: REASON -->`, leaves it out; `<!-- in FOLDER -->` runs it there; `<!-- serves PORT -->` has a
page fetched from its command, which is then ended. What a `console` block shows below a command must be said in this order; `…` stands for anything, and what differs from run to
run (ids, sizes, times) is not compared.
"""
from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Tuple
from unittest import mock

import run
from picture import PICTURE, told
from support import INNER_HOME, PYDOCK, ROOT, Case, Index, engine, host_address, make_wheel, needs_compose, new_port, pydock

README = (ROOT / "README.md").read_text(encoding="utf-8")
SHOWN = told(PICTURE.read_text(encoding="utf-8"))

# The packages of the README, and what they need.
PACKAGES = {
    "scikit-learn": ("1.9.1", ["numpy"], {"sklearn.py": "__version__ = '1.9.1'\n"}, []),
    "numpy": ("2.4.6", [], {}, []),
    "tqdm": ("4.67.1", [], {"tqdm.py": "__version__ = '4.67.1'\n"}, []),
    "requests": ("2.32.3", ["urllib3", "pysocks; extra == 'socks'"], {}, []),
    "urllib3": ("2.2.1", [], {}, []),
    "pysocks": ("1.7.1", [], {}, []),
    "six": ("1.17.0", [], {}, []),
    "redis": ("6.4.0", [], {}, []),
    "pytest": ("9.0.1", [], {"pytest_stub.py": "def main():\n    print('1 passed')\n"}, ["pytest = pytest_stub:main"]),
}
# The files of the person who reads it.
FILES = {
    "analysis.py": "import sklearn\nprint('accuracy 0.93')\n",
    "generated.py": "print(6 * 7)\n",
    "greet.py": """\
#!/usr/bin/env -S pydock run
# /// script
# requires-python = ">=3.11"
# dependencies = ["tqdm"]
# ///
import sys, tqdm
print("tqdm", tqdm.__version__, *sys.argv[1:])
""",
    "team/requirements-dev.txt": "pytest\n",
    "project/pyproject.toml": """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "shop"
version = "1"
requires-python = ">=3.9"
dependencies = ["six"]
[dependency-groups]
test = ["pytest"]
""",
    "project/backend.py": """
import os, zipfile
def build_editable(folder, *rest):
    info = "shop-1.dist-info/"
    with zipfile.ZipFile(folder + "/shop-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("shop.pth", os.getcwd() + "/src")
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: shop\\nVersion: 1\\nRequires-Dist: six\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "RECORD", "")
    return "shop-1-py3-none-any.whl"
""",
    "project/src/shop.py": "",
}

GIT = {f"GIT_{who}_{what}": "ana@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


class Command(NamedTuple):
    line: int
    text: str
    shown: List[str]


class Block(NamedTuple):
    language: str
    comment: str
    commands: List[Command]


def blocks() -> Iterator[Block]:
    """Those of commands, in their order."""
    for found in re.finditer(r"(?m)^(?:<!-- (.*) -->\n)?```(sh|console)\n([\s\S]*?)^```$", README):
        comment, language, text = found.groups()
        first = README.count("\n", 0, found.start(3)) + 1
        commands: List[Command] = []
        for number, line in enumerate(text.splitlines(), first):
            prompt = re.match(r"(\(\w+\) )?\$ ", line)
            if language == "sh" or prompt:
                commands.append(Command(number, line[prompt.end():] if prompt else line, []))
            elif line:
                commands[-1].shown.append(line)
        yield Block(language, comment or "", commands)


def said(line: str) -> str:
    """A line, without what differs from run to run."""
    line = re.sub(r"\b[0-9a-f]{12,}\b", "ID", line)
    line = re.sub(r"[+-]?\b\d+(\.\d+)? ?([kMG]?B)\b", "SIZE", line)
    line = re.sub(r"\b\d+ (s|min|h|d)( ago)?\b", "TIME", line)
    return re.sub(r"(\b3\.\d+)\.\d+", r"\1", re.sub(r"\s+", " ", line)).strip()


def missing(shown: List[str], got: str) -> List[str]:
    """What should have been said and was not, or not in this order."""
    lines = iter([said(line) for line in got.splitlines()])
    patterns = [".*".join(map(re.escape, said(line).split("…"))) for line in shown]
    return [line for line, pattern in zip(shown, patterns) if not any(re.fullmatch(pattern, each) for each in lines)]


def calls(line: str) -> Iterator[List[str]]:
    """The arguments of each pydock in a line of shell."""
    lexer = shlex.shlex(re.sub(r'eval "\$\((.*?)\)"', r"\1", line), posix=True, punctuation_chars=";|&<>")
    lexer.whitespace_split = True
    for between, words in itertools.groupby(lexer, lambda word: word in (";", "|", "&&")):
        name, *argv = words
        if not between and name in ("pydock", "./pydock.py"):
            yield argv


def lines() -> Iterator[Tuple[int, str]]:
    """Each command of a block, and each piece of code in the text."""
    for block in blocks():
        for command in block.commands:
            yield command.line, command.text
    for found in re.finditer(r"- run: (.*)", README):
        yield README.count("\n", 0, found.start()) + 1, found.group(1)
    prose = re.sub(r"(?m)^```[\s\S]*?^```$", lambda found: "\n" * found.group().count("\n"), README)
    for found in re.finditer(r"`([^`]+)`", prose):
        if "pydock " in found.group(1):
            yield prose.count("\n", 0, found.start()) + 1, found.group(1).replace("\n", " ")


class Words(unittest.TestCase):
    """Without an engine."""

    def test_every_command_is_one_that_pydock_understands(self) -> None:
        with tempfile.TemporaryDirectory(prefix="pydock-readme-") as folder, mock.patch.dict(os.environ, HOME=folder):
            env = Path(folder, "work", ".pydock", "envs", "dev")
            env.mkdir(parents=True)
            for name in ("dockerfile", "requirements.txt"):
                (env / name).touch()
            before = os.getcwd()
            os.chdir(env.parents[2])
            self.addCleanup(os.chdir, before)
            found = [(line, argv) for line, text in lines() for argv in calls(text.replace(" …", ""))]
            self.assertGreater(len(found), 60)
            for line, argv in found:
                with self.subTest(line=line, argv=argv):
                    self.check(argv)
            os.chdir(before)

    def check(self, argv: List[str]) -> None:
        names = [word for word in argv if not word.startswith("-")]
        if len(names) == 1:  # a command that is talked about
            self.assertIn(pydock.ALIASES.get(names[0], names[0]), {*pydock.COMMANDS, "COMMAND"})
        elif "COMMAND" not in argv:
            self.assertTrue(pydock.parse(argv).func)

    def test_links_lead_somewhere(self) -> None:
        titles = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"(?m)^#+ (.*)$", README)}
        self.assertEqual(set(re.findall(r"\]\(#([^)]*)\)", README)) - titles, set())
        tasks = README.split("## Tasks")[1].split("\n## ")[0]
        self.assertEqual([title for title in re.findall(r"(?m)^### (.*)$", tasks) if f"](#{re.sub('[^a-z -]', '', title.lower()).replace(' ', '-')})" not in README], [])
        for path in re.findall(r"\]\((?!#|http)([^)]*)\)", README):
            self.assertTrue((ROOT / path).exists(), path)

    def test_what_is_not_run_says_why(self) -> None:
        for block in blocks():
            if block.comment.startswith("not"):
                self.assertRegex(block.comment, r"^not run: \w")
                for name in re.findall(r"\btest_\w+\.\w+", block.comment):
                    self.assertIn(name, run.classes(name.split(".")[0]))

    def test_the_picture_shows_what_the_first_environment_is_made_by(self) -> None:
        self.assertEqual([command for command, _ in SHOWN], [re.sub(r"\s+#.*", "", command.text) for command in list(blocks())[2].commands])

    def test_a_comparison_finds_what_is_not_so(self) -> None:
        self.assertEqual(missing(["a 1 s ago", "b…d"], "a 22 s ago\nx\nb c d\n"), [])
        self.assertEqual(missing(["b", "a"], "a\nb\n"), ["a"])


@needs_compose
class Run(Case):
    """On an engine, in a home of its own."""

    def script(self, ports: Dict[str, str]) -> str:
        """What bash runs, up to the first failure: each command between two lines that tell its place and its status."""
        lines = []
        for block in blocks():
            kind, _, value = block.comment.partition(" ")
            lines.append(f"cd {shlex.quote(str(self.work))}/{value if kind == 'in' else ''}")
            for command in block.commands * (kind != "not"):
                text = f"fetched {value} {command.text}" if kind == "serves" else command.text
                text = re.sub(r"\b(8000|8888)\b", lambda port: ports[str(port.group())], text)
                lines.append(f"echo; echo '@{command.line}'; {text}\nstatus=$?; echo; echo \"@@$status\"; [ $status = 0 ] || exit")
        return "\n".join(lines)

    def test_every_block(self) -> None:
        address = host_address()
        if not address:
            self.skipTest("no server of this host can be reached from a container")
        make_wheel(self.base / "packages", "six", "1.16.0")
        for name, (version, requires, files, scripts) in PACKAGES.items():
            make_wheel(self.base / "packages", name, version, requires, files=files, scripts=scripts, extras=["socks"] * (name == "requests"))
        index = Index(address, self.base / "packages")
        self.addCleanup(index.close)
        for file, text in FILES.items():
            (self.work / file).parent.mkdir(parents=True, exist_ok=True)
            (self.work / file).write_text(text, encoding="utf-8")
        (self.home / "data").mkdir()
        (self.base / "bin").mkdir()
        (self.base / "bin" / "pydock").symlink_to(PYDOCK)
        subprocess.run(["git", "init", "-q", str(self.work / "team")], check=True)
        environ = {**self.environ, **GIT, "PATH": f"{self.base}/bin:{os.environ['PATH']}", "UV_DEFAULT_INDEX": index.url, "PIP_INDEX_URL": index.url, "PIP_TRUSTED_HOST": address}
        ports = {"8888": str(new_port()), "8000": str(new_port())}
        script = self.base / "readme.sh"
        script.write_text(self.script(ports), encoding="utf-8")
        fetch = self.base / "bin" / "fetched"
        fetch.write_text(f"#!{sys.executable}\n{FETCH}", encoding="utf-8")
        fetch.chmod(0o755)
        done = subprocess.run(["bash", str(script)], env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
        ran = {int(line): (got, int(status)) for line, got, status in re.findall(r"(?m)^@(\d+)\n([\s\S]*?)^@@(\d+)$", done.stdout)}
        self.assertEqual(missing(SHOWN[0][1], next(iter(ran.values()))[0]), [], "the picture is old: tests/picture.py")
        for block in blocks():
            for command in block.commands:
                if command.line in ran:
                    got, status = ran[command.line]
                    with self.subTest(line=command.line, command=command.text):
                        self.assertEqual(status, 0, got)
                        shown = [line.replace("/home/ana", INNER_HOME) for line in command.shown]
                        self.assertEqual(missing(shown, got), [], got)


class Job(Case):
    """The job of CI, step by step, with a registry and the real pytest."""

    def test_it_builds_with_the_layers_of_the_job_before_and_runs_the_tests(self) -> None:
        registry = os.environ.get("PYDOCK_TEST_REGISTRY")
        if not registry:
            self.skipTest("no registry: eval \"$(tests/engines.sh registry)\"")
        shutil.copy(PYDOCK, self.work)
        self.ok("--local", "create", "--no-build", "dev")
        (self.work / ".pydock/envs/dev/requirements.txt").write_text("pytest\n", encoding="utf-8")
        (self.work / "test_shop.py").write_text("def test_shop(): pass\n", encoding="utf-8")
        cache, said = f"{registry}/{self.prefix}/ci", ""
        self.addCleanup(engine, "rmi", "-f", cache, check=False)
        for step in 2 * re.findall(r"- run: (.*)", README):
            done = subprocess.run(["bash", "-c", step], cwd=self.work, env={**self.environ, "CACHE": cache}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
            self.assertEqual(done.returncode, 0, done.stdout)
            said += done.stdout
        self.assertEqual(said.count("1 passed"), 2, said)


# Starts a server, fetches a page from it and ends it. argv: the port, the command.
FETCH = """
import subprocess, sys, time, urllib.request
server = subprocess.Popen(sys.argv[2:])
opener, status = urllib.request.build_opener(urllib.request.ProxyHandler({})), 0
for _ in range(600):
    try:
        status = opener.open(f"http://127.0.0.1:{sys.argv[1]}/", timeout=5).status
        break
    except OSError:
        time.sleep(0.1)
server.terminate()
server.wait()
sys.exit(status != 200)
"""


if __name__ == "__main__":
    unittest.main()
