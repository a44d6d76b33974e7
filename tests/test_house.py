"""The house of pydock.py (design.md, section 7), proved by the syntax tree: what stands where, who may do what, how long things are;
and that CI runs every test. It needs no engine and calls nothing of pydock's.

LIMITS is a ratchet: a number says what holds today and may only become smaller, down to the goal beside it.
"""
from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Iterator

import run
from support import PYDOCK, ROOT

LIMITS = {
    "lines": 11850,  # goal: 5800; more by projects, pip's options, rename, what is being done, sandboxes, scripts, kernels, templates
    "lines of the ground floor": 5182,  # goal: 1800
    "lines of a slice": 450,  # goal: 450
    "lines of the texts that run elsewhere": 682,  # goal: 330
    "lines of a function": 60,  # goal: 60
    "lines of half of the functions": 11,  # goal: 12
    "arguments of a function": 6,  # goal: 6
    "conditional expressions inside others": 0,  # goal: 0
    "messages by %": 0,  # goal: 0
    "annotations by Optional, Union, Dict, List, Set, Tuple": 0,  # goal: 0
}

# The sections, in their order. A section uses only what stands above it; a slice may use operations of other slices by name, and the
# texts at the end are for all.
GROUND_FLOOR = """
    Console and errors
    The engine's client: the only code that starts a process
    Files and folders: the only code that reads or writes them
    Scopes and settings
    Requirements
    The environment's folder, and its lock
    The dockerfile
    The host's settings for an installer
    Images and revisions
    Containers
    Building
    Words of the command line
"""
AFTER_THE_SLICES = ["The parser", "Main", "Texts that run elsewhere"]

# What stands further below than who uses it; a goal of none.
FROM_BELOW = {"EVERYWHERE", "ALIASES", "make_parser", "mode_of", "WHEEL"}

# What only these may do: the outermost class or function, and why. Whoever is taken out of pydock.py goes here, too; nobody is added
# without being one answer to "what starts a process, reads a stranger's file, changes my files, becomes root?".
ONLY = {
    # starts a process, or becomes one
    r"subprocess\.(Popen|run|call|check_call|check_output|getoutput|getstatusoutput)|pty\.\w+"
    r"|os\.(exec\w+|spawn\w+|posix_spawn\w*|system|popen|fork\w*)": {
        "Engine": "its client",
    },
    # reads or writes a file
    r"open|io\.open|os\.(open|fdopen)|tempfile\.\w+|[\w.]+\.(read_text|read_bytes|write_text|write_bytes)": {
        "Folder": "reads a project's files",
        "NewFile": "writes them",
        "Lock": "of a folder",
        "open_lock_file": "of a file system without flock",
        "Engine": "the first process's copy of itself",
        "Secret": "for a build, in memory",
        "allowed_copy": "pydock's own: what compose reads of what was allowed",
        "client_config": "docker's own settings",
        "host_file": "of the user's own settings",
        "read_named": "of -r FILE, which the user named",
        "foreground": "/dev/tty",
        "silence": "/dev/null",
        "prepare": "/dev/null",
    },
    # changes what lies in a folder
    r"os\.(mkdir|makedirs|rename|renames|replace|link|symlink|unlink|remove|rmdir|removedirs|chmod|chown|lchown|truncate|mkfifo|mknod|utime)"
    r"|shutil\.(rmtree|move|copy\w*|chown|unpack_archive|make_archive)": {
        "Folder": "a project's files",
        "NewFile": "a project's files",
        "Env": "a project's files, and pydock's own of it",
        "make_folder": "a project's files",
        "remove_empty_wheels": "a project's files",
        "undo_create": "a project's files",
        "make_link": "programs on the host",
        "unlink_shims": "programs on the host",
        "write_programs": "pydock's own",
        "save_note": "pydock's own",
        "forget_note": "pydock's own",
        "remove_caches": "pydock's own",
        "Engine": "pydock's own",
        "Secret": "pydock's own",
        "allowed_copy": "pydock's own",
    },
    # becomes another user on the host
    r"os\.(set\w*[ug]id|setgroups|initgroups|chroot|unshare)": {},
}

# Who names root as the user of a container.
AS_ROOT = {
    "temporary_argv": "the one-off container of a change, where nothing but pydock's own program is root",
    "cmd_run": "an image without USER",
    "describe": "run --root",
    "build_args": "an image that a caller whom the engine maps onto root builds",
    "run_as": "an image without USER",
    "commit_argv": "an image without USER",
    "Change": "an image without USER",
    "Background": "an image without USER",
    "shim_library_sh": "an image without USER",
    "tree_of": "an image without USER",
    "remap_user": "an image without USER",
}


def dotted(node: ast.AST) -> str:
    """a.b.c of a name or attribute."""
    if isinstance(node, ast.Attribute):
        return dotted(node.value) + "." + node.attr
    return node.id if isinstance(node, ast.Name) else "?"


def names_of(node: ast.stmt) -> list[str]:
    """What a statement of the module defines."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, ast.AnnAssign):
        return [dotted(node.target)]
    return [dotted(target) for target in node.targets] if isinstance(node, ast.Assign) else []


def notes(tree: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        for found in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if found is not None:
                yield found


class House:
    """One file, by its sections."""

    def __init__(self, source: str) -> None:
        self.source, self.tree = source, ast.parse(source)
        lines = source.splitlines()
        heads = [number for number, line in enumerate(lines, 1) if re.match(r"# -{50,}$", line)]
        self.titles = [lines[number].lstrip("# ") for number in heads]
        self.starts = heads
        self.ends = [number - 1 for number in heads[1:]] + [len(lines)]
        self.functions = [node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef)]

    def section(self, line: int) -> int:
        """The number of a line's section, from 0; -1 above all of them."""
        return len([start for start in self.starts if start <= line]) - 1

    def length(self, first: int, last: int) -> int:
        return self.ends[last] - self.starts[first] + 1

    def globals(self) -> Iterator[ast.Name]:
        """Every use of a name that is no variable of a function."""

        def walk(node: ast.AST, local: frozenset[str]) -> Iterator[ast.Name]:
            if isinstance(node, (ast.FunctionDef, ast.Lambda)):
                inside = list(ast.walk(node))
                local |= {each.arg for each in inside if isinstance(each, ast.arg)}
                local |= {each.id for each in inside if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.Name) and child.id not in local and isinstance(child.ctx, ast.Load):
                    yield child
                yield from walk(child, local)

        return walk(self.tree, frozenset())

    def calls(self, wanted: str) -> set[str]:
        """The outermost definitions that call what the pattern matches, or name it without a call."""
        found = set()
        for top in self.tree.body:
            for node in ast.walk(top):
                if isinstance(node, (ast.Attribute, ast.Name)) and re.fullmatch(wanted, dotted(node)):
                    found.update(names_of(top) or [f"line {top.lineno}"])
        return found


HOUSE = House(PYDOCK.read_text(encoding="utf-8"))
FLOOR = [line.strip() for line in GROUND_FLOOR.strip().splitlines()]


def lines_of(node: ast.FunctionDef) -> int:
    return int(node.end_lineno or 0) - node.lineno + 1


def arguments_of(node: ast.FunctionDef) -> int:
    words = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return len([word for word in words if word.arg not in ("self", "cls")])


class Limits(unittest.TestCase):
    def check(self, what: str, measured: int, where: object = "") -> None:
        self.assertLessEqual(measured, LIMITS[what], f"{what}: {where}")

    def test_the_file(self) -> None:
        self.check("lines", len(HOUSE.source.splitlines()))

    def test_ground_floor_and_slices(self) -> None:
        self.check("lines of the ground floor", HOUSE.length(0, len(FLOOR) - 1))
        for number in range(len(FLOOR), len(HOUSE.titles) - 1):
            with self.subTest(section=HOUSE.titles[number]):
                self.check("lines of a slice", HOUSE.length(number, number))

    def test_texts(self) -> None:
        self.check("lines of the texts that run elsewhere", HOUSE.length(len(HOUSE.titles) - 1, len(HOUSE.titles) - 1))

    def test_functions(self) -> None:
        self.assertGreater(len(HOUSE.functions), 100)
        for node in HOUSE.functions:
            with self.subTest(function=node.name):
                self.check("lines of a function", lines_of(node), node.name)
                self.check("arguments of a function", arguments_of(node), node.name)
        lengths = sorted(lines_of(node) for node in HOUSE.functions)
        self.check("lines of half of the functions", lengths[len(lengths) // 2])

    def test_conditional_expressions(self) -> None:
        whole = [node for node in ast.walk(HOUSE.tree) if isinstance(node, ast.IfExp)]
        nested = {inner.lineno for node in whole for inner in ast.walk(node) if isinstance(inner, ast.IfExp) and inner is not node}
        self.check("conditional expressions inside others", len(nested), sorted(nested))

    def test_messages(self) -> None:
        found = [node.lineno for node in ast.walk(HOUSE.tree) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod)
                 and isinstance(node.left, (ast.Constant, ast.JoinedStr)) and not isinstance(getattr(node.left, "value", ""), int)]
        self.check("messages by %", len(found), found)

    def test_annotations(self) -> None:
        old = {"Optional", "Union", "Dict", "List", "Set", "FrozenSet", "Tuple", "Type"}
        found = [name.lineno for note in notes(HOUSE.tree) for name in ast.walk(note) if isinstance(name, ast.Name) and name.id in old]
        self.check("annotations by Optional, Union, Dict, List, Set, Tuple", len(found), found)
        bare = [node.name for node in HOUSE.functions if node.returns is None]
        self.assertEqual(bare, [], "functions without annotations")


class Sections(unittest.TestCase):
    def test_they_stand_in_their_order(self) -> None:
        self.assertEqual(HOUSE.titles[:len(FLOOR)], FLOOR)
        self.assertEqual(HOUSE.titles[-3:], AFTER_THE_SLICES)

    def test_each_uses_only_what_stands_above_it(self) -> None:
        """But for a slice that names an operation of another slice. A text at the end is a constant, which is there when it is used."""
        defined = {name: HOUSE.section(node.lineno) for node in HOUSE.tree.body for name in names_of(node)}
        texts, first = len(HOUSE.titles) - 1, len(FLOOR)
        used = [(node.lineno, node.id) for node in HOUSE.globals() if node.id in defined]
        self.assertGreater(len(used), 1000)
        wrong = []
        for line, name in used:
            mine, its = HOUSE.section(line), defined[name]
            between_slices = first <= mine and its < texts - 2
            if its > mine and its != texts and not between_slices and name not in FROM_BELOW:
                wrong.append(f"line {line} ({HOUSE.titles[mine]}): {name} ({HOUSE.titles[its]})")
        self.assertEqual(wrong, [])

    def test_a_slice_takes_no_private_word_of_another(self) -> None:
        """An operation is a function or class; constants of a slice are its own."""
        first, last = len(FLOOR), len(HOUSE.titles) - 3
        constants = {name: HOUSE.section(node.lineno) for node in HOUSE.tree.body if isinstance(node, (ast.Assign, ast.AnnAssign)) for name in names_of(node)}
        wrong = [f"line {node.lineno}: {node.id}" for node in HOUSE.globals()
                 if first <= constants.get(node.id, -1) < last and HOUSE.section(node.lineno) not in (constants[node.id], last, last + 1)]
        self.assertEqual(wrong, [])


class WhoMay(unittest.TestCase):
    def test_only_these_do_it(self) -> None:
        for pattern, allowed in ONLY.items():
            with self.subTest(pattern=pattern):
                self.assertEqual(HOUSE.calls(pattern) - set(allowed), set())

    def test_nobody_takes_a_name_out_of_a_module_that_could_do_it(self) -> None:
        found = [node.lineno for node in ast.walk(HOUSE.tree) if isinstance(node, ast.ImportFrom) and node.module in ("subprocess", "os", "pty", "shutil", "tempfile", "io")]
        self.assertEqual(found, [])

    def test_no_shell_parses_what_a_user_typed(self) -> None:
        self.assertEqual([node.value.lineno for node in ast.walk(HOUSE.tree) if isinstance(node, ast.keyword) and node.arg == "shell"], [])

    def test_root_inside_a_container_has_one_name(self) -> None:
        """Every user of a container that is written down in the code as root."""
        found = set()
        for top in HOUSE.tree.body:
            for node in ast.walk(top):
                if isinstance(node, ast.Constant) and node.value in ("0", "0:0", "root"):
                    found.update(names_of(top))
        self.assertEqual(found - set(AS_ROOT), set())


class Engine(unittest.TestCase):
    """The engine's client, and the twin that writes a script for --dry-run."""

    ASK = "builder endpoint has_init raise_if_down remote_address root_is_caller prefetch"  # what only reads
    PARTS = "environ command shown start finish check end relay cancel"  # what the others are made of

    def test_the_twin_does_whatever_changes_something_in_its_own_way(self) -> None:
        methods = {node.name: {each.name for each in node.body if isinstance(each, ast.FunctionDef)} for node in HOUSE.tree.body if isinstance(node, ast.ClassDef)}
        self.assertEqual(methods["Engine"] - methods["ScriptEngine"], {*self.ASK.split(), *self.PARTS.split()})
        self.assertEqual(methods["ScriptEngine"] - methods["Engine"], set())


class TheProof(unittest.TestCase):
    """The rules above find what breaks them."""

    BAD = "# " + "-" * 98 + """
# One
def early(): return late()
def spawns(): subprocess.run(["x"])
class Engine:
    def f(self): keep = os.execvp
# """ + "-" * 98 + """
# Two
def late(): return open("x")
"""

    def test_who_calls_what(self) -> None:
        house = House(self.BAD)
        spawn, read = list(ONLY)[:2]
        self.assertEqual(house.calls(spawn), {"spawns", "Engine"})
        self.assertEqual(house.calls(read), {"late"})
        self.assertTrue(HOUSE.calls(spawn) and HOUSE.calls(read))

    def test_sections(self) -> None:
        house = House(self.BAD)
        self.assertEqual([name.id for name in house.globals() if name.id in ("early", "late", "keep")], ["late"])
        self.assertEqual((house.titles, house.section(3), house.section(9)), (["One", "Two"], 0, 1))


class Tests(unittest.TestCase):
    """The tests' own order."""

    def test_the_table_of_the_readme_names_every_class_of_attacks(self) -> None:
        security = (ROOT / "README.md").read_text(encoding="utf-8").split("## Security")[1].split("## Limits")[0]
        rows = re.findall(r"(?m)^\| .* \|$", security)[1:]
        named = {name for row in rows for name in re.findall(r"`([A-Z]\w+)`", row.split(" | ")[-1])}
        self.assertEqual(named, {name.split(".")[1] for name in run.classes("test_attacks")})

    MODULES = sorted((ROOT / "tests").glob("test_*.py"))

    def test_ci_runs_every_class_of_every_module(self) -> None:
        """A lane that .ci/run names, by itself or by make test, runs it."""
        ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
        commands = re.findall(r"tests/run\.py (?:--jobs \d+ )?([a-z ]+)$|TESTS='([a-z ]+)'", ci, re.M)
        runs = [(one or other).split() for one, other in commands]
        self.assertEqual({lane for lanes in runs for lane in lanes}, set(run.LANES))
        ran = {name for lanes in runs for line in run.processes(lanes) for name in line}
        every = {name for path in self.MODULES for name in run.classes(path.stem)}
        self.assertGreater(len(every), 100)
        self.assertEqual(sorted(every - ran), [], "no lane of .ci/run runs them")
        self.assertEqual(sorted(ran - every), [], "a lane names what is not there")

    def test_what_builds_without_the_cache_comes_alone(self) -> None:
        found = []
        for path in self.MODULES:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for cls in [node for node in tree.body if isinstance(node, ast.ClassDef)]:
                for test in cls.body:
                    calls = [node for node in ast.walk(test) if isinstance(node, ast.Call) and dotted(node.func) in ("self.ok", "self.start", "self.run_pydock")]
                    words = [{getattr(word, "value", "") for word in call.args if isinstance(word, ast.Constant)} for call in calls]
                    if isinstance(test, ast.FunctionDef) and any({"build", "--no-cache"} <= said for said in words):
                        found.append(f"{path.stem}.{cls.name}.{test.name}")
        self.assertEqual(sorted(found), sorted(run.ALONE))

    def test_no_module_imports_the_tests_of_another(self) -> None:
        found = [f"{path.name}: {line}" for path in self.MODULES for line in path.read_text(encoding="utf-8").splitlines()
                 if re.match(r"(from|import) test_", line)]
        self.assertEqual(found, [])

    def test_importing_a_module_calls_no_engine(self) -> None:
        with tempfile.TemporaryDirectory(prefix="pydock-house-") as folder:
            for name in ("docker", "podman", "sudo"):
                (Path(folder) / name).write_text(f'#!/bin/sh\necho "$0 $*" >>{folder}/calls\nexit 1\n', encoding="utf-8")
                (Path(folder) / name).chmod(0o755)
            code = "import sys; sys.path[:0] = [sys.argv[1]]; [__import__(name) for name in sys.argv[2:]]"
            environ = {**os.environ, "PATH": folder + os.pathsep + os.environ["PATH"], "PYDOCK_ENGINE": "docker"}
            subprocess.run([sys.executable, "-c", code, str(ROOT / "tests"), *(path.stem for path in self.MODULES)], env=environ, check=True)
            self.assertFalse((Path(folder) / "calls").exists())


if __name__ == "__main__":
    unittest.main()
