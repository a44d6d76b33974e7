"""The tour: what a person does with an environment, from its creation to its end, on whatever engine there is."""
from __future__ import annotations

import json
import os
import shutil
import sys
import unittest

from support import PYDOCK, Case, engine, pydock


class Tour(Case):
    def setUp(self) -> None:
        super().setUp()
        self.program = [sys.executable, "-IS", str(PYDOCK)]  # the file itself, as a person starts it

    def test_the_life_of_an_environment(self) -> None:
        self.ok("create", "ds", "3.11")
        self.assertEqual(sorted(os.listdir(str(self.folder("ds")))), ["dockerfile", "requirements.txt"])
        self.assertEqual(self.listed()["ds"]["state"], "ready")

        self.ok("install", "ds", "six==1.16.0", "iniconfig")
        self.assertIn("six==1.16.0\n", self.requirements("ds"))
        self.assertEqual(self.ok("run", "ds", "python", "-c", "import six, iniconfig; print(six.__version__)"), "1.16.0\n")
        self.assert_agree("ds")

        (self.work / "in put.txt").write_text("from outside\n", encoding="utf-8")
        self.assertEqual(self.ok("run", "ds", "sh", "-c", 'cat "$1"; echo inside >out; exit 0', "sh", "in put.txt"), "from outside\n")
        self.assertEqual((self.work / "out").read_text(encoding="utf-8"), "inside\n")
        self.assertEqual((self.work / "out").stat().st_uid, os.getuid())
        self.assertEqual(self.run_pydock("run", "ds", "python", "-c", "raise SystemExit(7)").status, 7)

        row = self.listed()["ds"]
        self.assertEqual((row["mode"], row["python"].split(".")[:2], row["path"]), ("global", ["3", "11"], str(self.folder("ds"))))
        self.assertIn("ds", self.ok("list"))

        with open(str(self.folder("ds") / "requirements.txt"), "a", encoding="utf-8") as file:
            file.write("# written by hand\nattrs\n")
        self.assertEqual(self.listed()["ds"]["state"], "stale")
        self.ok("build", "ds")
        self.assertEqual(self.listed()["ds"]["state"], "ready")
        self.assertEqual(self.ok("run", "ds", "python", "-c", "import attr, six; print('both')"), "both\n")

        self.ok("uninstall", "ds", "iniconfig")
        self.assertNotIn("iniconfig", self.requirements("ds"))
        self.assertIn("# written by hand\n", self.requirements("ds"))
        self.assertEqual(self.ok("run", "ds", "python", "-c", "from importlib.util import find_spec; print(find_spec('iniconfig'))"), "None\n")

        self.ok("update", "ds", "six")
        self.assertNotIn("six==1.16.0", self.requirements("ds"))
        self.assert_agree("ds")
        self.assert_clean("ds")

        self.ok("delete", "ds", "-y")
        self.assertFalse(self.folder("ds").exists())
        self.assertEqual((self.containers(), self.tags("ds")), ([], {}))
        self.assertEqual(json.loads(self.ok("list", "--json")), [])

    def test_the_image_works_without_pydock(self) -> None:
        self.ok("create", "ds", "3.11", "six")
        image = self.prefix + "-ds"
        self.assertEqual(engine("run", "--rm", image, "python", "-c", "import six, os; print(os.getuid())"), str(os.getuid()))
        config = json.loads(engine("image", "inspect", image))[0]["Config"]
        self.assertEqual(config["Cmd"], ["python3"])

    def test_a_project_that_somebody_else_cloned_needs_only_run(self) -> None:
        self.ok("--local", "create", "dev", "3.11", "six")
        clone = self.base / "clone"
        shutil.copytree(str(self.work), str(clone))
        (clone / "src").mkdir()
        self.assertEqual(self.ok("run", "dev", "python", "-c", "import six, os; print(os.path.basename(os.getcwd()))", cwd=clone / "src"), "src\n")
        rows = {row["path"]: row["state"] for row in json.loads(self.ok("list", "--json", cwd=clone))}
        self.assertEqual(rows, {str(clone / ".pydock" / "envs" / "dev"): "ready"})
        for folder in (clone, self.work):
            self.ok("delete", "dev", "-y", cwd=folder)
        self.assertEqual(self.tags(), {})

    def test_what_cannot_be_done_is_one_line_and_changes_nothing(self) -> None:
        self.ok("create", "science", "3.11", "--no-build")
        before = self.snapshot()
        self.fails("run", "sience", "true", says="no global environment 'sience'", hint="did you mean 'science'?")
        self.fails("create", "science", says="already exists")
        self.fails("create", "x", "2.99", says="2.99")
        self.fails("delete", "science", says="without confirmation", hint="-y")
        self.assertEqual(self.snapshot(), before)

    def test_config_finds_nothing_wrong_here(self) -> None:
        found = json.loads(self.ok("config", "--json"))
        self.assertEqual(found["problems"], [])
        self.assertIn(found["builder"], ("buildkit", "buildx", "podman"))
        self.assertEqual(found["settings"]["prefix"]["value"], self.prefix)
        self.assertEqual(found["pydock"], pydock.__version__)


if __name__ == "__main__":
    unittest.main()
