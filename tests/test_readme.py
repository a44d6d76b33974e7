"""The README is true: its commands are pydock's, and its links lead somewhere."""
from __future__ import annotations

import itertools
import os
import re
import shlex
import tempfile
import unittest
from pathlib import Path
from typing import Iterator, List, NamedTuple, Tuple
from unittest import mock

from support import ROOT, pydock

README = (ROOT / "README.md").read_text(encoding="utf-8")

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


if __name__ == "__main__":
    unittest.main()
