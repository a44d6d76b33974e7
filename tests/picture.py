#!/usr/bin/env python3
"""Draws the README's picture of a terminal, tests/terminal.svg, from a real run of the README's first environment.

It needs an engine with python:3.13-slim, and a package index; the environment is made in a throw-away home, and removed.
"""
from __future__ import annotations

import html
import itertools
import os
import pty
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Dict, List, Tuple

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "tests" / "terminal.svg"
COLUMNS, ROWS = 92, 60
Cell = Tuple[str, str]  # its class, and the character

ANALYSIS = """
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score

data = load_breast_cancer()
scores = cross_val_score(RandomForestClassifier(random_state=0), data.data, data.target)
print(f"right in {scores.mean():.1%} of the cases")
"""


def commands() -> List[str]:
    """Those of the first environment in the README, without their comments."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").split("## The first environment")[1]
    return [re.sub(r"\s+#.*", "", line) for line in text.split("```")[1].splitlines()[1:]]


def told(picture: str) -> List[Tuple[str, List[str]]]:
    """The commands that a picture shows, and the lines below each."""
    found: List[Tuple[str, List[str]]] = []
    for line in re.findall(r"<text .*?>(.*)</text>", picture):
        typed = re.search(r'<tspan class="typed">(.*?)</tspan>', line)
        if typed:
            found.append((html.unescape(typed[1]), []))
        else:
            found[-1][1].append(html.unescape(line))
    return found


def shown(commands: List[str]) -> str:
    """What a terminal shows of them, in which a bash runs them one after another."""
    steps = [f'printf "\\n%s\\033[1m%s\\033[0m\\n" "$PS1" {shlex.quote(command)}\n{command}' for command in commands]
    master, slave = pty.openpty()
    subprocess.run(["stty", "rows", str(ROWS), "columns", str(COLUMNS)], stdin=slave, check=True)
    with tempfile.TemporaryDirectory(prefix="pydock-picture-") as folder:
        (Path(folder) / "work").mkdir()
        (Path(folder) / "work" / "analysis.py").write_text(ANALYSIS, encoding="utf-8")
        (Path(folder) / "bin").mkdir()
        (Path(folder) / "bin" / "pydock").symlink_to(ROOT / "pydock.py")
        environ = {**os.environ, "HOME": folder, "PATH": f"{folder}/bin:{os.environ['PATH']}", "TERM": "xterm", "PYDOCK_PREFIX": Path(folder).name[-8:].replace("_", "x").lower()}
        environ.setdefault("DOCKER_CONFIG", os.path.expanduser("~/.docker"))
        end = "{ deactivate; pydock -q delete ds -y --force; } >/dev/null 2>&1"
        warm = "{ pydock create warm 3.13 six; pydock delete -y warm; } >/dev/null 2>&1"  # what docker shows of a first build is long
        script = "\n".join([warm, "PS1='$ '", *steps, end])
        process = subprocess.Popen(["bash", "-c", script], stdin=slave, stdout=slave, stderr=slave, cwd=f"{folder}/work", env=environ, start_new_session=True)
        os.close(slave)
        data = b""
        while True:
            try:
                chunk = os.read(master, 65536)
            except OSError:  # how Linux tells the end
                break
            data += chunk
        process.wait()
        shutil.rmtree(f"{folder}/.cache", ignore_errors=True)
    return data.decode(errors="replace")


def screen(text: str) -> List[Dict[int, Cell]]:
    """The lines that are left on a terminal, by column."""
    lines: List[Dict[int, Cell]] = [{}]
    row, column, style = 0, 0, ""
    for escape, character in re.findall(r"\033\[([?\d;]*[A-Za-z])|([^\033])", text):
        if escape.endswith("m"):
            style = {"1m": "typed", "0m": ""}.get(escape, style)
        elif escape.endswith("A"):
            row -= int(escape[:-1] or 1)
        elif escape.endswith("K"):
            lines[row] = {} if escape == "2K" else {at: cell for at, cell in lines[row].items() if at < column}
        elif escape.endswith("J"):
            del lines[row + 1:]
        elif character == "\r":
            column = 0
        elif character == "\n" or (character and column == COLUMNS):
            row, column = row + 1, 0
            lines += [{} for _ in range(row + 1 - len(lines))]
        if character and character not in "\r\n":
            lines[row][column] = (style, character)
            column += 1
    return lines


def drawn(lines: List[Dict[int, Cell]]) -> str:
    """The picture, as text of SVG."""
    texts = []
    for line in lines:
        cells = [line.get(column, ("", " ")) for column in range(max(line, default=-1) + 1)]
        runs = [(style, html.escape("".join(character for _, character in run))) for style, run in itertools.groupby(cells, lambda cell: cell[0])]
        texts.append("".join(f'<tspan class="{style}">{text}</tspan>' if style else text for style, text in runs))
    while texts and not texts[0].strip():
        del texts[0]
    while texts and not texts[-1].strip():
        del texts[-1]
    width, height = COLUMNS * 8.4 + 24, len(texts) * 18 + 24
    rows = [f'<text x="12" y="{number * 18 + 26}">{text}</text>' for number, text in enumerate(texts) if text]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" height="{height}">',
        "<!-- Made by tests/picture.py of a real run. -->",
        "<style>text { font: 14px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace; fill: #d8dee9; white-space: pre } .typed { fill: #a3be8c; font-weight: bold }</style>",
        f'<rect width="{width:.0f}" height="{height}" rx="6" fill="#242933"/>',
        *rows,
        "</svg>\n",
    ])


if __name__ == "__main__":
    PICTURE.write_text(drawn(screen(shown(commands()))), encoding="utf-8")
