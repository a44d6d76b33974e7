"""The one reader of requirements files, and the freeze that it serves: what is written, by whom, and what of it stays. No engine."""
from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional, Tuple
from unittest import mock

from support import ROOT, pydock

try:
    from pip._internal.models.format_control import FormatControl
    from pip._internal.models.search_scope import SearchScope
    from pip._internal.network.session import PipSession
    from pip._internal.req.constructors import install_req_from_line
    from pip._internal.req.req_file import parse_requirements
    HAS_PIP = True
except ImportError:
    HAS_PIP = False

Record = Tuple[Any, ...]


def read(text: str) -> List[Any]:
    return pydock.read_requirements(text, "r.txt")


def one(text: str) -> Any:
    lines = [line for line in read(text) if line.kind]
    assert len(lines) == 1, lines
    return lines[0]


class Reading(unittest.TestCase):
    """By hand: what each line is, and that nothing of it is lost."""

    def test_a_requirement_in_all_its_parts(self) -> None:
        line = one("Foo.Bar [A_b, c] >= 1 , <2 ; python_version > '3' \\\n   --hash=sha256:aa --hash sha256:bb  # why")
        self.assertEqual((line.kind, line.name, line.extras, line.specifier, line.marker, line.hashes, line.comment),
                         ("requirement", "foo-bar", ["a-b", "c"], ">=1,<2", "python_version > '3'", ["sha256:aa", "sha256:bb"], "# why"))
        self.assertEqual(one("foo (>=1)").specifier, ">=1")

    def test_urls_paths_and_names(self) -> None:
        for text, name, url, extras in (
                ("x @ https://h/x.whl#sha256=aa", "x", "https://h/x.whl#sha256=aa", []), ("x@https://h/a;os_name=='nt'", "x", "https://h/a", []),
                ("git+ssh://git@h/m.git@v1#egg=My_lib", "my-lib", "git+ssh://git@h/m.git@v1#egg=My_lib", []),
                ("https://h/My_pkg-1.0-py3-none-any.whl", "my-pkg", "https://h/My_pkg-1.0-py3-none-any.whl", []),
                ("./wheels/a_b-1-py3-none-any.whl[x]", "a-b", "./wheels/a_b-1-py3-none-any.whl", ["x"]), ("dist/x.tar.gz", "", "dist/x.tar.gz", []),
                (".[dev]", "", ".", ["dev"]), ("x.whl", "", "x.whl", []), ("file:./x", "", "file:./x", []), ("/a/b", "", "/a/b", [])):
            with self.subTest(text):
                line = one(text)
                self.assertEqual((line.kind, line.name, line.url, line.extras), ("requirement", name, url, extras))

    def test_options_includes_and_editables(self) -> None:
        for text, kind, options in (
                ("--extra-index-url \\\n  http://H/simple", "option", [("--extra-index-url", "http://H/simple")]), ("-ihttp://h", "option", [("--index-url", "http://h")]),
                ("--pre --no-binary :all:", "option", [("--pre", ""), ("--no-binary", ":all:")]), ('-r "a b.txt"', "include", [("--requirement", "a b.txt")]),
                ("--constraint=c.txt", "include", [("--constraint", "c.txt")]), ("-e .[x]", "editable", [("--editable", ".[x]")])):
            with self.subTest(text):
                self.assertEqual((one(text).kind, one(text).options), (kind, options))
        self.assertEqual(one("-e git+http://H/mylib.git#egg=mylib").name, "mylib")
        self.assertEqual((one("-e './a b[x, Y]'").url, one("-e './a b[x, Y]'").extras), ("./a b", ["x", "y"]))

    def test_what_cannot_be_understood_is_named_by_file_and_line(self) -> None:
        for text in ("==1", "six &", "six six", "-q", "--index-url", "--pre=1", "six --pre", "--hash=sha256:aa", "-r a -r b", "six; nothing", "six; os_name", "six[",
                     "six==", "$(x)", "https://h/a b.whl", "-r 'a", "x>1,", "s\udcffix", "-e a b", "-r a b"):
            with self.subTest(text), self.assertRaisesRegex(pydock.PydockError, r"^line 2 of r\.txt: "):
                read("# first\n%s\n" % text)
        with self.assertRaises(pydock.PydockError) as caught:
            read("--nonsense https://me:secret@h/\n")
        self.assertNotIn("secret", str(caught.exception))

    def test_what_it_says_together_is_what_stood_there(self) -> None:
        text = "# a\r\n\r\nsix==1 \\\r\n  --hash=sha256:aa # b\r\n  -i x\\\n  \n\x0c# größer \\\nend"
        self.assertEqual("".join(line.text for line in read(text)), text)
        self.assertEqual([line.number for line in read(text) if line.kind], [3, 5, 9])

    def test_what_is_a_login(self) -> None:
        for text in ("git+https://git@github.com/a/b.git", "git+ssh://git@github.com/a/b.git", "six  # https://h/a@b", "https://h/@x"):
            pydock.no_password(text, text)
        for text in ("https://token@h/x", "git+https://token@h/x.git", "git+https://git:token@h/x.git", "ssh://a:b@h/"):
            with self.assertRaises(pydock.PydockError):
                pydock.no_password(text, text)

    def test_variables_stay_as_they_are(self) -> None:
        self.assertEqual(one("alpha==${VERSION}").specifier, "==${VERSION}")

    def test_a_login_is_looked_for_in_no_time(self) -> None:
        begin = time.process_time()
        pydock.no_password("https://" + "a:" * 100000, "x")
        with self.assertRaises(ValueError):
            pydock.fits("3.11", "==" + "1." * 100000 + "!")
        self.assertLess(time.process_time() - begin, 2)

    def test_byte_order_marks(self) -> None:
        for codec in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
            self.assertEqual(pydock.decode_requirements("six # größer\r\n".encode(codec)), "six # größer\r\n")
        for codec, mark in (("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff")):
            self.assertEqual(pydock.decode_requirements(mark + "six".encode(codec)), "six")
        data = b"six # gr\xf6\xdfer\n"
        self.assertEqual(pydock.decode_requirements(data).encode(errors="surrogateescape"), data)
        self.assertRaises(UnicodeError, pydock.decode_requirements, b"\xff\xfesix")

    def test_what_was_asked_for_is_told_from_what_a_person_says(self) -> None:
        for text, word, via, comment in (
                ("requests[socks]==2.32.3  # requests[socks]>=2.31", "requests[socks]>=2.31", [], ""), ("six==1  # via a, b", "six", ["a", "b"], ""),
                ("urllib3==1  # urllib3<2  # via requests  # mine", "urllib3<2", ["requests"], "# mine"), ("six==1  # six is needed", "six", [], "# six is needed"),
                ("six==1  # tabulate>2", "six", [], "# tabulate>2"), ("six==1  # via -r requirements.in", "six", [], "# via -r requirements.in"),
                ("six==1  # pinned: 1.17 breaks us", "six", [], "# pinned: 1.17 breaks us"), ("pandas>=2", "pandas>=2", [], ""), ("x==1.*", "x==1.*", [], ""),
                ("six==1; os_name == 'nt'  # six<2", "six<2; os_name == 'nt'", [], "")):
            with self.subTest(text):
                self.assertEqual((one(text).word, one(text).via, one(text).comment), (word, via, comment))

    def test_five_hundred_lines_are_read_and_merged_in_a_moment(self) -> None:
        import time
        text = "".join("package-%d==1.%d  # package-%d>=1\n" % (i, i, i) for i in range(500))
        found = inventory({"package-%d" % i: "1.%d" % i for i in range(500)})
        start = time.process_time()
        self.assertEqual(pydock.Freeze(read(text), found, pydock.Wanted()).text(), text)
        self.assertLess(time.process_time() - start, 0.2)


@unittest.skipUnless(HAS_PIP, "this Python has no pip, whose reader is the measure")
class AsPip(unittest.TestCase):
    """The same file, read by pip's own code: 400 generated ones, and shapes by hand."""

    GOOD = ["six", "Six == 1.16", "tabulate[widechars]<0.10,>=0.8", "foo [ a , b ] ~=1.0", "a.b_c (>=1,<2)", "x===1.0+local", "x==1.*", "x!=1.0,>0.5",
            "six; python_version >= '3'", 'six==1; (os_name == "nt" or os_name=="posix") and python_version<"4"', "six ;", "six;extra == 'x'",
            "y @ https://h/y-1-py3-none-any.whl", "y@git+https://h/y.git@main#subdirectory=sub", "y[a] @ https://h/y.zip ; python_version > '2'",
            "git+https://h/z.git@v1#egg=z", "https://h/w-1.0-py3-none-any.whl", "https://h/w-1.0-py3-none-any.whl ; os_name == 'nt'", "./v-1.0-py3-none-any.whl",
            "dist/v-1.0-py3-none-any.whl[e]", "six==1 --hash=sha256:" + "a" * 64, "six==1 --hash sha256:%s --hash=sha256:%s" % ("a" * 64, "b" * 64), "n==${PYDOCK_V}",
            "# comment", "   ", "", "-i https://i/", "--index-url=https://i/", "--extra-index-url https://e/", "--pre",
            "--prefer-binary", "-f https://f/", "--find-links=https://f/", "--trusted-host h:80", "--require-hashes", "--no-binary :all:",
            "--only-binary=six,foo", "-e git+https://h/e.git#egg=e", "--editable=git+https://h/e.git#egg=e", "-e 'git+https://h/e.git#egg=e'", "\t six\t"]
    BAD = ["==1", "six &", "six six", "-q", "six[", "six; nothing", "--index-url", "--pre=1", "-i 'a", "six=1", "six; os_name", "$x", "six[a"]

    def pips(self, path: Path) -> Optional[Tuple[List[Record], Record]]:
        """What pip makes of the file; None where it refuses it."""
        class Finder:
            def __init__(self) -> None:
                self.search_scope = SearchScope([], [], False)
                self.format_control = FormatControl(set(), set())
                self.said: List[str] = []

            find_links = property(lambda self: self.search_scope.find_links)
            index_urls = property(lambda self: self.search_scope.index_urls)

            def set_allow_all_prereleases(self) -> None:
                self.said.append("--pre")

            def set_prefer_binary(self) -> None:
                self.said.append("--prefer-binary")

        class Options:
            require_hashes = False
            features_enabled: List[str] = []

        finder: Any = Finder()
        options: Any = Options()
        found: List[Record] = []
        try:
            for item in parse_requirements(str(path), session=self.session, finder=finder, options=options):
                if item.is_editable:
                    found.append(("editable", item.requirement))
                    continue
                line = install_req_from_line(item.requirement, isolated=True)
                hashes = [h for kind, values in (item.options or {}).get("hashes", {}).items() for h in ["%s:%s" % (kind, v) for v in values]]
                req = line.req
                wheel = line.link is not None
                found.append((pydock.canonical(req.name) if req else "", sorted(map(pydock.canonical, line.extras)),
                              set(str(req.specifier).split(",")) - {""} if req and not wheel else set(), line.link.filename if line.link else "",
                              str(line.markers or "").replace('"', "'"), sorted(hashes)))
        except Exception:
            return None
        return found, (finder.index_urls, sorted(set(finder.find_links)), sorted(set(finder.said)), options.require_hashes)

    def ours(self, data: bytes, environ: Dict[str, str]) -> Optional[Tuple[List[Record], Record]]:
        from urllib.parse import urlsplit
        try:
            text = pydock.decode_requirements(data)  # with the variables that pip puts in
            for name, value in environ.items():
                text = text.replace("${%s}" % name, value)
            lines = pydock.read_requirements(text, "r.txt")
        except (pydock.PydockError, UnicodeError):
            return None
        found: List[Record] = []
        index: List[str] = []
        links, said, hashes = set(), set(), False
        for line in lines:
            if line.kind == "editable":
                found.append(("editable", line.url))
            elif line.kind == "requirement":
                file = os.path.basename(urlsplit(line.url.partition("#")[0]).path) if line.url else ""
                found.append((line.name, line.extras, set(line.specifier.split(",")) - {""}, file, line.marker, sorted(line.hashes)))
            options = dict(line.options) if line.kind == "option" else {}
            if "--index-url" in options:
                index = [options["--index-url"]]
            if "--extra-index-url" in options:
                index.append(options["--extra-index-url"])
            links |= {options["--find-links"]} if "--find-links" in options else set()
            said |= {"--pre", "--prefer-binary"} & set(options)
            hashes |= "--require-hashes" in options
        return found, (index, sorted(links), sorted(said), hashes)

    def plain(self, records: Optional[Tuple[List[Record], Record]]) -> Any:
        """Markers in pip's own words."""
        if records is None:
            return None
        from pip._vendor.packaging.markers import Marker
        return [r if len(r) == 2 else (*r[:4], str(Marker(r[4])).replace('"', "'") if r[4] else "", r[5]) for r in records[0]], records[1]

    def test_generated_files(self) -> None:
        r = random.Random(9)
        self.session = PipSession()
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        accepted = 0
        os.environ["PYDOCK_V"] = "2.0"
        self.addCleanup(os.environ.pop, "PYDOCK_V", None)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "r.txt"
            here = os.getcwd()
            os.chdir(folder)
            try:
                for number in range(400):
                    lines = [r.choice(self.GOOD if r.random() < 0.97 else self.BAD) for _ in range(r.randint(1, 8))]
                    for i, line in enumerate(lines):
                        if " " in line.strip() and r.random() < 0.2 and "#" not in line and "'" not in line:
                            lines[i] = line.replace(" ", " \\\n  ", 1)
                        elif r.random() < 0.2 and not line.startswith("#"):
                            lines[i] += "  # said \\" if r.random() < 0.3 else "\t# said"
                    end = r.choice(["\n", "\n", "\r\n"])
                    text = end.join(line.replace("\n", end) for line in lines) + r.choice(["", end, " \\" + end])
                    data = text.encode(r.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16"]))
                    path.write_bytes(data)
                    with self.subTest(number=number, text=text):
                        with contextlib.redirect_stderr(io.StringIO()):
                            theirs = self.pips(path)
                        ours = self.ours(data, dict(os.environ))
                        accepted += theirs is not None
                        self.assertEqual(self.plain(ours), theirs)
            finally:
                os.chdir(here)
        self.assertGreater(accepted, 250)


def inventory(packages: Dict[str, Any], elsewhere: Tuple[str, ...] = (), hashes: str = "", python: str = "3.12.1") -> Any:
    """Packages by name: a version, or (version, pin), or (version, pin, needed by)."""
    found = {}
    for name, what in packages.items():
        version, pin, by = (*((what,) if isinstance(what, str) else what), None, None)[:3]
        found[name] = [version, pin or "%s==%s" % (name, version), by or []]
    said = {"python": python, "packages": found, "elsewhere": list(elsewhere), "hashes": hashes}
    return pydock.Inventory("noise\npydock-inventory: " + json.dumps(said))


def wanted(*words: str, **more: Any) -> Any:
    """What is asked for by these words."""
    asked = pydock.Wanted()
    for word in words:
        line = one(word)
        asked.packages[line.name] = line
    for key, value in more.items():
        setattr(asked, key, value)
    return asked


class FreezeCase(unittest.TestCase):
    def freeze(self, text: str, packages: Dict[str, Any], *words: str, **more: Any) -> str:
        found = inventory(packages, more.pop("elsewhere", ()), more.pop("hashes", ""))
        self.made = pydock.Freeze(read(text), found, wanted(*words, **more))
        return str(self.made.text())

    def check(self, text: str, packages: Dict[str, Any], expected: str, *words: str, **more: Any) -> None:
        """The freeze gives `expected`, and a second one changes nothing more."""
        self.assertEqual(self.freeze(text, packages, *words, **more), expected)
        self.assertEqual(self.freeze(expected, packages, *words, **{**more, "removed": []}), expected)


class TheFreeze(FreezeCase):
    """requirements.txt after a change: what is installed, in the words and the order of whoever wrote it."""

    def test_what_is_installed_by_name_in_order(self) -> None:
        self.check("", {"six": "1.16", "attrs": "23.1"}, "attrs==23.1\nsix==1.16\n")

    def test_a_last_line_that_a_backslash_ends_joins_nothing(self) -> None:
        self.check("six==1.16 \\\n", {"six": "1.16", "zipp": "3"}, "six==1.16\nzipp==3\n", "zipp")
        self.check("six==1.16\n# a comment \\\n", {"six": "1.16"}, "six==1.16\n# a comment \\\n")
        self.check("six==1.16 \\\r\n", {"six": "1.16", "zipp": "3"}, "six==1.16\r\nzipp==3\r\n", "zipp")
        blanks = " " * 1000000  # in a time that grows with its length
        self.check("six==1.16  # a%sb\n" % blanks, {"six": "1.16"}, "six==1.16  # a%sb\n" % blanks)

    def test_the_line_of_a_project_keeps_its_path_and_its_extras(self) -> None:
        for url in ("packages/app", "./packages/app", "/abs/app", "~/app", "."):
            self.assertEqual(pydock.project_text(url, ["b", "a"]), "-e %s[a,b]" % url)
            self.assertEqual(pydock.project_text(url, []), "-e " + url)

    def test_what_was_asked_for_survives(self) -> None:
        packages = {"requests": "2.32.3", "pysocks": ("1.7", None, ["requests"]), "six": "1.17", "python-dateutil": "2.9"}
        self.check("", packages, "pysocks==1.7  # via requests\npython-dateutil==2.9\nrequests[socks]==2.32.3  # requests[socks]>=2.31\nsix==1.17\n",
                   "requests[socks]>=2.31", "python-dateutil", "six")
        self.check("x==1  # x<2\n", {"x": "1.5"}, "x==1.5  # x<2\n")
        self.check("x>=1,<2  # mine\n", {"x": "1.5"}, "x==1.5  # x>=1,<2  # mine\n")

    def test_of_several_lines_for_one_package_the_one_for_this_system_counts(self) -> None:
        here, other = read("x==1; os_name == 'posix'\nx==2; os_name == 'nt'\n")
        here.index, other.index = "http://h/here", "http://h/other"
        asked = wanted()
        asked.packages, asked.marked = {"x": other}, [here, other]
        found = inventory({"x": "1"}, ("os_name == 'nt'",))
        self.assertEqual(pydock.Freeze([], found, asked).text(), "x==1; os_name == 'posix'  # --index-url http://h/here\n")

    def test_a_range_is_changed_by_another_one_and_kept_by_the_bare_name(self) -> None:
        self.check("x==1  # x<2  # mine\n", {"x": "2"}, "x==2  # x<3  # mine\n", "x<3")
        self.check("x==1  # x<2\n", {"x": "1"}, "x==1  # x<2\n", "x")
        self.check("x==1  # x<2\n", {"x": "4"}, "x==4\n", "x==4")
        self.check("x==1  # x<2\n", {"x": "1"}, "x[e]==1  # x[e]<2\n", "x[e]")

    def test_constraints_become_ranges(self) -> None:
        packages = {"a": "1", "b": ("1", None, ["a"]), "c": "1"}
        self.check("", packages, "a==1  # a>=1,<2\nb==1  # b<3  # via a\nc==1\n", "a>=1", "c", limits={"a": "<2", "b": "<3", "c": "==1", "z": "<9"})

    def test_what_came_along_is_asked_for_once_somebody_names_it(self) -> None:
        packages = {"a": "1", "six": ("1", None, ["a"])}
        self.check("a==1\nsix==1  # via a\n", packages, "a==1\nsix==1\n", "six")
        self.check("a==1\nsix==1\n", packages, "a==1\nsix==1\n")
        self.check("six==1  # via b\n", packages, "a==1\nsix==1  # via a\n")
        self.check("six==1  # via b\n", {"six": "1"}, "six==1  # via b\n")
        self.check("", packages, "a==1\nsix==1  # via a\n", "a", "six==1  # via a")

    def test_comments_blank_and_option_lines_keep_their_place(self) -> None:
        self.check("# mine\n\n--index-url https://i/\nb  # because\n\n# after b\n-c limits.txt\n", {"a": "1", "b": "2", "c": "3"},
                   "# mine\n\n--index-url https://i/\nb==2  # because\n\n# after b\n-c limits.txt\na==1\nc==3\n")

    def test_new_lines_come_in_order_and_old_ones_stay_where_they_are(self) -> None:
        self.check("z==1\nb==1\n", {"a": "1", "b": "2", "c": "3", "z": "1"}, "a==1\nz==1\nb==2\nc==3\n")

    def test_a_line_that_says_the_same_already_stays_as_it_was_written(self) -> None:
        for line in ("Six==1.16\n", "six == 1.16\n", "six[extra]==1.16\n", "six==1.16 \\\n  ; python_version > '3'\n", "six===1.16 # naïve\r\n"):
            self.check(line, {"six": "1.16"}, line)
        self.check("zope_interface==6.0  # why\n", {"zope-interface": "6.0"}, "zope_interface==6.0  # why\n")

    def test_an_extra_is_kept(self) -> None:
        self.check("uvicorn[standard]==1.0\n", {"uvicorn": "1.0"}, "uvicorn[standard]==1.0\n")
        self.check("FastAPI [all] >=1  # web\nrequests[socks,use_chardet]\n", {"fastapi": "2", "requests": "3"},
                   "fastapi[all]==2  # fastapi[all]>=1  # web\nrequests[socks,use-chardet]==3\n")
        url = "x @ https://h/x-1-py3-none-any.whl"
        self.check("x[a]==0.9\n", {"x": ("1", url)}, "x[a] @ https://h/x-1-py3-none-any.whl\n")
        self.check("./wheels/x-0.9-py3-none-any.whl[a]\n", {"x": ("1", "./wheels/x-1-py3-none-any.whl")}, "./wheels/x-1-py3-none-any.whl[a]\n")

    def test_hashes_are_kept_with_their_version_and_go_with_it(self) -> None:
        line = "six==1.16 \\\n    --hash=sha256:aaaa \\\n    --hash=sha256:bbbb\n"
        self.check(line, {"six": "1.16"}, line)
        self.check(line + "attrs==1\n", {"six": "1.17", "attrs": "1"}, "six==1.17\nattrs==1\n")
        self.check("", {"six": "1.16"}, "six==1.16 \\\n    --hash=sha256:aaaa\n", "six==1.16 --hash=sha256:aaaa")

    def test_a_line_whose_marker_is_false_here_stays(self) -> None:
        line = "pywin32==300; sys_platform == 'win32'\n"
        self.check(line + "six\n", {"six": "1"}, line + "six==1\n", elsewhere=("sys_platform == 'win32'",))
        text = "six==1.15; sys_platform == 'win32'\nsix==1.16; sys_platform != 'win32'\n"
        self.check(text, {"six": "1.16"}, text, elsewhere=("sys_platform == 'win32'",))

    def test_a_marker_that_is_true_here_stays_with_its_pin(self) -> None:
        self.check("six; python_version >= '3'  # old\n", {"six": "1.16"}, "six==1.16; python_version >= '3'  # old\n")
        self.check("six==1.16 ; python_version >= '3'\n", {"six": "1.16"}, "six==1.16 ; python_version >= '3'\n")

    def test_where_it_came_from_is_kept(self) -> None:
        url, git = "x @ https://h/x-1-py3-none-any.whl", "y @ git+https://h/y.git@abc#subdirectory=sub"
        self.check("", {"x": ("1", url), "y": ("2", git)}, "%s\n%s\n" % (url, git))
        for line in (url + "  # mine\n", url + "#sha256=aa\n", "https://h/x-1-py3-none-any.whl\n", "x@https://h/x-1-py3-none-any.whl\n"):
            self.check(line, {"x": ("1", url)}, line)
        self.check("x==0.9\n", {"x": ("1", url)}, url + "\n")
        self.check("git+https://h/y.git\n", {"y": ("2", git)}, git + "\n")
        self.check("# mine\n-e git+https://h/y.git#egg=y\n-e .\n", {"y": ("2", git)}, "# mine\n%s\n-e .\n" % git)
        self.check("-e git+https://h/y.git\n", {"y": ("2", git)}, git + "\n")
        self.check("", {"x": ("1", url)}, url + "#sha256=aa\n", url + "#sha256=aa")
        self.check("x==2\n", {"x": ("1", url)}, url + "#sha256=aa\n", url + "#sha256=aa")

    def test_a_local_wheel_is_named_where_the_dockerfile_finds_it(self) -> None:
        wheel = "./wheels/My_pkg-1.0+local-py3-none-any.whl"
        self.check("attrs==1\n", {"my-pkg": ("1.0+local", wheel), "attrs": "1"}, "attrs==1\n%s\n" % wheel)
        self.check(wheel.replace("1.0", "0.9") + "\n", {"my-pkg": ("1.0+local", wheel)}, wheel + "\n")
        self.check(wheel + "\n", {"my-pkg": "2.0"}, "my-pkg==2.0\n")  # the index's, later

    def test_what_was_uninstalled_goes_and_nothing_else(self) -> None:
        self.check("a==1\n# b is why\nb==1\nc==1  # not installed here\n", {"a": "1"}, "a==1\n# b is why\nc==1  # not installed here\n", removed=["b"])
        self.check("pandas>=2\nsix\n", {"six": "1"}, "pandas>=2\nsix==1\n")

    def test_one_line_for_a_package_that_stands_there_twice(self) -> None:
        self.check("six\nSIX>1\n", {"six": "1.16"}, "six==1.16  # six>1\n")

    def test_options_of_a_change_are_written_once(self) -> None:
        options = [("--index-url", "https://i/"), ("--extra-index-url", "https://e/")]
        self.check("six==1\n", {"six": "1"}, "--index-url https://i/\n--extra-index-url https://e/\nsix==1\n", options=options)
        self.check("# top\n-i https://old/\nsix==1\n", {"six": "1"}, "# top\n-i https://old/\n--extra-index-url https://e/\nsix==1\n", options=[("--extra-index-url", "https://e/")])

    def test_the_index_of_a_single_package_is_remembered(self) -> None:
        text = "torch==2.5+cpu  # torch<3  # --index-url https://t/cpu\n"
        self.check("", {"torch": "2.5+cpu"}, text, "torch<3  # --index-url https://t/cpu")
        self.check("torch==2.5+cpu\n", {"torch": "2.5+cpu"}, text, "torch<3  # --index-url https://t/cpu")
        self.check(text, {"torch": "2.6+cpu"}, text.replace("2.5", "2.6"), "torch")
        self.check(text, {"torch": "2.5+cpu"}, text)

    def test_line_ends(self) -> None:
        self.check("# end", {}, "# end\n")
        self.check("b==1", {"b": "1", "c": "1"}, "b==1\nc==1\n")
        self.check("# a\r\nsix\r\n", {"six": "1", "x": "1"}, "# a\r\nsix==1\r\nx==1\r\n")


class TheLock(FreezeCase):
    """The freeze of a locked environment: each line has the hashes of its version."""

    @staticmethod
    def hashes(spec: str) -> str:
        digests = [hashlib.sha256((spec + end).encode()).hexdigest() for end in ("", "again")]
        return "".join(" \\\n    --hash=sha256:" + digest for digest in sorted(digests))

    def lock(self, text: str, packages: Dict[str, Any], *specs: str, **more: Any) -> str:
        return self.freeze(text, packages, **{"lock": True, "hashes": "".join(spec + self.hashes(spec) + "\n" for spec in specs), **more})

    def test_every_line_gets_hashes_and_the_first_line_demands_them(self) -> None:
        text = "# mine\nsix  # why\n\n--index-url https://i/\nuvicorn[standard]==1.0\n"
        packages, specs = {"six": "1.16", "uvicorn": "1.0", "attrs": ("23", None, ["six"])}, ("six==1.16", "uvicorn==1.0", "attrs==23")
        expected = "--require-hashes\n# mine\nsix==1.16%s  # why\n\n--index-url https://i/\nuvicorn[standard]==1.0%s\nattrs==23%s  # via six\n" % tuple(map(self.hashes, specs))
        self.assertEqual(self.lock(text, packages, *specs), expected)
        self.assertEqual(self.lock(expected, packages), expected)

    def test_another_version_gets_other_hashes_and_the_rest_stays_byte_for_byte(self) -> None:
        mine = "attrs == 23 --hash=sha256:%s  # by hand\n" % ("0" * 64)
        text = "--require-hashes\nsix==1.16%s\n" % self.hashes("six==1.16") + mine
        self.assertEqual(self.lock(text, {"six": "1.17", "attrs": "23"}, "six==1.17"), "--require-hashes\nsix==1.17%s\n" % self.hashes("six==1.17") + mine)

    def test_the_demand_is_made_once_and_first_wherever_it_stood(self) -> None:
        for text in ("--require-hashes\n# a\n", "# a\n--require-hashes\n", "  --require-hashes\n# a\n--require-hashes\n"):
            self.assertEqual(self.lock(text, {}), "--require-hashes\n# a\n")
        self.assertEqual(self.lock("--require-hashes\n", {}, options=[("--pre", "")]), "--require-hashes\n--pre\n")

    def test_a_line_for_another_system_is_locked_too(self) -> None:
        marker = "sys_platform == 'win32'"
        text = "six==1.15; %s%s  # x\nsix==1.16%s\n"
        self.assertEqual(self.lock(text % (marker, "", ""), {"six": "1.16"}, "six==1.15", "six==1.16", elsewhere=(marker,)),
                         "--require-hashes\n" + text % (marker, self.hashes("six==1.15"), self.hashes("six==1.16")))

    def test_a_url_and_a_wheel_are_locked_as_they_stand(self) -> None:
        line, wheel = "x @ https://h/x-1-py3-none-any.whl", "./wheels/a-1-py3-none-any.whl"
        self.assertEqual(self.lock("", {"x": ("1", line)}, line), "--require-hashes\n%s%s\n" % (line, self.hashes(line)))
        text = ""
        for hash_ in ("sha256:aa", "sha256:aa", "sha256:bb"):
            text = self.lock(text, {"a": ("1", wheel)}, wheels={"a-1-py3-none-any.whl": hash_})
            self.assertEqual(text, "--require-hashes\n%s \\\n    --hash=%s\n" % (wheel, hash_))

    def test_what_has_no_hash_cannot_be_locked(self) -> None:
        with self.assertRaisesRegex(pydock.NoHash, r"repository.*y @ git\+https://h/y.git@abc"):
            self.lock("six\n", {"y": ("2", "y @ git+https://h/y.git@abc"), "six": "1"}, "six==1")
        with self.assertRaisesRegex(pydock.NoHash, "nonesuch==1"):
            self.lock("nonesuch\n", {"nonesuch": "1"})

    def test_what_is_not_installed_and_what_has_one_file_only_is_said(self) -> None:
        self.assertEqual(self.lock("later>=2  # soon\n", {}), "--require-hashes\nlater>=2  # soon\n")
        self.assertEqual(self.made.none, ["later>=2"])
        self.lock("single\n", {"single": "1"}, hashes="single==1 --hash=sha256:aa\n")
        self.assertEqual(self.made.few, ["single==1"])


class TheInventory(unittest.TestCase):
    """What the container tells: by the base system's Python, and believed by nobody."""

    def run_it(self, packages: Dict[str, Any], text: str = "", how: str = "tell", python: Tuple[int, int, int] = (3, 12, 1), noise: str = "", lock: bool = False,
               uv: str = "", words: Tuple[str, ...] = ()) -> str:
        """INVENTORY_PY over packages that seem to be installed: name to (version, direct_url, requires)."""
        with tempfile.TemporaryDirectory() as folder:
            for name, (version, direct, requires) in packages.items():
                info = Path(folder) / ("%s-%s.dist-info" % (name.replace("-", "_"), version))
                info.mkdir()
                (info / "METADATA").write_text("Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % (name, version) + "".join(requires), encoding="utf-8")
                if direct:
                    (info / "direct_url.json").write_text(json.dumps(direct), encoding="utf-8")
            start = noise + ("import sys\nfrom importlib import metadata\nreal = metadata.distributions\n"
                             "metadata.distributions = lambda path: real(path=[%r])\nsys.version_info = %r\n" % (folder, python))
            job = pydock.inventory_job(read(text), wanted(*words, lock=lock))
            done = subprocess.run([sys.executable, "-IBc", start + pydock.INVENTORY_PY, job, uv, how], stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    PACKAGES: Dict[str, Any] = {
        "Requests": ("2.32.3", None, ["Requires-Dist: idna\n", "Provides-Extra: socks\n", "Requires-Dist: PySocks; extra == 'socks'\n", "Requires-Dist: winx; os_name == 'nt'\n"]),
        "idna": ("3", None, []), "PySocks": ("1.7", None, []), "winx": ("1", None, []), "pip": ("23", None, [])}

    @unittest.skipUnless(HAS_PIP, "this Python has no pip, which reads markers")
    def test_packages_and_who_needs_them(self) -> None:
        for text, socks in (("requests[socks]==2.32.3\n", ["requests"]), ("requests==2.32.3\n", [])):
            found = pydock.Inventory(self.run_it(self.PACKAGES, text))
            self.assertEqual(found.python, "3.12.1")
            self.assertEqual({name: package.by for name, package in found.packages.items()}, {"requests": [], "idna": ["requests"], "pysocks": socks, "winx": []})
            self.assertEqual(found.labels()["pydock.packages"], "idna==3,pysocks==1.7,requests==2.32.3,winx==1")

    @unittest.skipUnless(HAS_PIP, "this Python has no pip, which reads markers")
    def test_what_came_along_and_nothing_needs(self) -> None:
        text = "requests==2.32.3\nidna==3  # via requests\npysocks==1.7  # via requests\nwinx==1\n"
        self.assertEqual(self.run_it(self.PACKAGES, text, "unneeded"), "pysocks")
        self.assertEqual(self.run_it(self.PACKAGES, text, "unneeded", words=("requests[socks]",)), "")
        loop = {"a": ("1", None, ["Requires-Dist: b\n"]), "b": ("1", None, ["Requires-Dist: a\n"])}
        self.assertEqual(self.run_it(loop, "a==1  # via b\nb==1  # via a\n", "unneeded"), "a b")

    @unittest.skipUnless(HAS_PIP, "this Python has no pip, which reads markers")
    def test_markers_that_are_false_here(self) -> None:
        found = pydock.Inventory(self.run_it({}, "a; os_name == 'nt'\nb; python_version > '3'\n"))
        self.assertEqual(found.elsewhere, {"os_name == 'nt'"})

    def test_where_they_come_from(self) -> None:
        git = {"url": "https://h/y.git", "vcs_info": {"vcs": "git", "commit_id": "abc", "requested_revision": "main"}, "subdirectory": "sub"}
        found = pydock.Inventory(self.run_it({"x": ("1", {"url": "https://h/x-1-py3-none-any.whl"}, []), "y": ("2", git, []),
                                              "my-pkg": ("1.0+l", {"url": "file:///opt/pydock/wheels/My_pkg-1.0%2Bl-py3-none-any.whl"}, []),
                                              "src": ("3", {"url": "file:///src"}, [])}))
        self.assertEqual([package.pin.pin for package in found.packages.values()],
                         ["./wheels/My_pkg-1.0+l-py3-none-any.whl", "src==3", "x @ https://h/x-1-py3-none-any.whl", "y @ git+https://h/y.git@abc#subdirectory=sub"])

    def test_setuptools_is_python_s_own_up_to_3_11_unless_somebody_names_it(self) -> None:
        tools: Dict[str, Any] = {name: ("1", None, []) for name in ("setuptools", "wheel", "pip")}
        needs = {"a": ("1", None, ["Requires-Dist: setuptools\n"])}
        for python, text, words, more, lock, names in (((3, 11, 4), "", (), {}, False, []), ((3, 12, 0), "", (), {}, False, ["setuptools", "wheel"]),
                                                       ((3, 11, 4), "setuptools<70\n", (), {}, False, ["setuptools"]), ((3, 11, 4), "", ("wheel",), {}, False, ["wheel"]),
                                                       ((3, 11, 4), "", (), needs, False, ["a"]), ((3, 11, 4), "", (), needs, True, ["a", "setuptools"])):
            with self.subTest(python=python, text=text, lock=lock):
                found = pydock.Inventory(self.run_it({**tools, **more}, text, python=python, words=words, lock=lock))
                self.assertEqual(list(found.packages), names)

    def test_a_package_that_prints_is_not_heard(self) -> None:
        noise = ("print('noise'); print('pydock-inventory: {}'); print('no end', end='')\nimport atexit, sys\natexit.register(print, 'pydock-inventory: {}')\n")
        self.assertEqual(list(pydock.Inventory(self.run_it({"a": ("1", None, [])}, noise=noise)).packages), ["a"])

    def test_anything_else_than_its_answer_is_an_error(self) -> None:
        good = {"python": "3.12.1", "packages": {"a": ["1", "a==1", []]}, "elsewhere": [], "hashes": ""}
        pydock.Inventory("pydock-inventory: " + json.dumps(good))
        for key, value in (("python", "3.12"), ("python", "٣.12.1"), ("packages", {"A": ["1", "a==1", []]}), ("packages", {"a": ["1", "b==1", []]}), ("packages", []),
                           ("packages", {"a": ["1 2", "a==1 2", []]}), ("packages", {"a": ["1", "a==1\n-i https://evil/", []]}), ("packages", {"a": ["1", "a @ file:///etc", []]}),
                           ("packages", {"a": ["1", "-i https://evil/", []]}), ("packages", {"a": ["1", "a @ https://h/${SECRET}", []]}),
                           ("packages", {"a": ["1", "a==1 # x", []]}), ("packages", {"a": ["1", "./wheels/../../x.whl", []]}), ("packages", {"a": ["1", "/etc/x.whl", []]}),
                           ("packages", {"a": ["1", "a==1", ["b\n"]]}), ("packages", {"a": ["1", "a==1"]}), ("packages", {"a\n": ["1", "a==1", []]}), ("elsewhere", 1),
                           ("hashes", "a==1 --hash=sha256:x\\n"), ("hashes", "-q"), ("packages", {"a": [1, "a==1", []]})):
            with self.subTest(key=key, value=value), self.assertRaisesRegex(pydock.PydockError, "cannot list the installed packages"):
                pydock.Inventory("pydock-inventory: " + json.dumps({**good, key: value}))
        for text in ("", "pydock-inventory: ", "x pydock-inventory: {}", "pydock-inventory: [" * 2000, "pydock-inventory: %s\nx" % json.dumps(good)):
            with self.subTest(text=text[:40]), self.assertRaises(pydock.PydockError):
                pydock.Inventory(text)


class Projects(unittest.TestCase):
    """What a pyproject.toml asks for, as it stands there."""

    DATA: Dict[str, Any] = {"project": {"name": "App", "requires-python": ">=3.9,<4", "dependencies": ["six<2", "alpha[x]>1 ; python_version > '3'"], "optional-dependencies": {
        "cli": ["click"], "All_of": ["app[cli, more]"], "more": ["attrs"]}}, "dependency-groups": {"dev": ["pytest", {"include-group": "docs"}], "docs": ["sphinx"]}}

    def setUp(self) -> None:
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(str(ROOT))  # what lies in the current folder may be named

    def needs(self, data: Any, extras: Iterable[str] = (), groups: Iterable[str] = ()) -> pydock.Change:
        change = pydock.Change("install")
        with mock.patch.object(pydock.console, "info") as said:
            project = pydock.Pyproject("/p/pyproject.toml", data)
            wanted = [("extra", extra) for extra in extras] + [("group", group) for group in groups]
            for line in project.lines(change, wanted):
                here = pydock.Included(project.path, project.path, 1)
                pydock.check_variables(line, here.file)
                pydock.add_line(change, line, here)
            if project.built:
                project.add_build(change, wanted)
        self.said = " ".join(call.args[0] for call in said.call_args_list)
        return change

    def test_dependencies_extras_and_groups(self) -> None:
        self.assertEqual(self.needs(self.DATA).lines, ["six<2", "alpha[x]>1 ; python_version > '3'"])
        self.assertEqual(self.said, "pyproject.toml also has the extras cli, all-of, more and the groups dev, docs")
        change = self.needs(self.DATA, ["all-of"], ["dev"])
        self.assertEqual(change.lines[2:], ["click", "attrs", "pytest", "sphinx"])
        self.assertEqual((self.said, change.pythons, change.builds), ("", [("/p/pyproject.toml", ">=3.9,<4")], []))
        self.assertEqual({name: line.range for name, line in change.wanted.packages.items() if line.range}, {"six": "<2", "alpha": ">1"})
        for extras, groups in ((["no"], []), ([], ["no"])):
            with self.assertRaisesRegex(pydock.PydockError, "has no (extra|group) 'no'"):
                self.needs(self.DATA, extras, groups)

    def test_from_where_uv_takes_them(self) -> None:
        data: Dict[str, Any] = {**self.DATA, "tool": {"uv": {"index": [{"name": "a", "url": "http://h/a", "explicit": True}, {"name": "b", "url": "http://h/b"}], "sources": {
            "six": {"git": "http://h/six.git", "tag": "v1", "subdirectory": "s"}, "alpha": [{"url": "http://h/alpha.whl", "marker": "os_name == 'nt'"}, {"index": "a"}]}}}}
        change = self.needs(data)
        self.assertEqual(change.lines, ["six @ git+http://h/six.git@v1#subdirectory=s",
                                        "alpha[x] @ http://h/alpha.whl ; (python_version > '3') and (os_name == 'nt')", "alpha[x]>1 ; (python_version > '3')"])
        self.assertEqual(change.wanted.options, [("--extra-index-url", "http://h/a"), ("--extra-index-url", "http://h/b")])
        self.assertIn("other packages may come from http://h/a, too: requirements.txt cannot limit an index to a", self.said)
        change.settle_index(pydock.Env(pydock.Scope("local", "/p/.pydock", ""), "dev", "pydock"), [])
        self.assertEqual(change.wanted.served, {"http://h/a": {"alpha[x]>1 ; (python_version > '3')": "alpha"}})
        data["tool"]["uv"]["sources"].pop("alpha")  # which alone comes from the index that is for nothing else
        self.assertEqual(self.needs(data).wanted.options, [("--extra-index-url", "http://h/b")])
        data["tool"]["uv"]["sources"] = {"six": {"workspace": True}}
        with self.assertRaisesRegex(pydock.PydockError, "takes six from another folder of its workspace"):
            self.needs(data)
        data["tool"]["uv"]["sources"] = {"six": {"path": "../six"}}
        with self.assertRaisesRegex(pydock.PydockError, "no such file or folder: /six"):
            self.needs(data)

    def test_what_only_a_build_tells(self) -> None:
        change = self.needs({**self.DATA, "project": {"name": "app", "dynamic": ["dependencies"]}}, ["x"])
        self.assertEqual((change.builds, change.mounts), (["/p"], [("/p", "/dev/shm/projects/0/p")]))
        self.assertEqual(change.words, ["-r", "/tmp/projects/0/p/pyproject.toml", "--extra=x"])
        self.assertEqual(self.needs({"build-system": {}}).builds, ["/p"])
        self.assertEqual(self.needs({"tool": {}}).builds, [])

    def test_nothing_of_this_host_goes_where_a_stranger_says(self) -> None:
        for own in ("six @ http://h/${HOME}/six.whl", "six @ file:///etc/passwd", "six @ http://me:secret@h/six.whl", "six\n-r /etc/passwd", "-r /etc/passwd", "six @ git+/etc"):
            with self.subTest(own), self.assertRaises((pydock.PydockError, ValueError)):
                self.needs({"project": {"dependencies": [own]}})
        for url in ("http://h/${HOME}", "http://me:secret@h/simple", "http://h/simple\n-r /etc/passwd", "http://h/ --find-links=/etc", "file:///etc", "/etc", "http://h/\\"):
            with self.subTest(url), self.assertRaises((pydock.PydockError, ValueError)):
                self.needs({"tool": {"uv": {"index": [{"url": url}]}}})
        for source in ({"path": "/etc"}, {"url": "file:///etc"}, {"git": "/etc"}, {"git": "http://h/${HOME}"}, {"git": "http://h/x", "rev": "${HOME}"}):
            with self.subTest(source), self.assertRaises((pydock.PydockError, ValueError)):
                self.needs({"project": {"dependencies": ["six"]}, "tool": {"uv": {"sources": {"six": source}}}})

    def test_limits_that_have_an_address_hold_only_once(self) -> None:
        change = pydock.Change("install")
        with mock.patch.object(pydock.console, "info") as said:
            pydock.add_file(change, "https://h/c.txt", True)
            pydock.add_file(change, "https://h/r.txt")
        self.assertEqual((change.limits, change.lines), (["-c https://h/c.txt"], ["-r https://h/r.txt"]))
        said.assert_called_once_with("-c https://h/c.txt applies only this time: requirements.txt cannot record it")

    def test_groups_that_name_each_other(self) -> None:
        change = self.needs({"dependency-groups": {"a": [{"include-group": "b"}], "b": ["six", {"include-group": "a"}]}}, [], ["a"])
        self.assertEqual(change.lines, ["six"])

    def test_what_is_of_another_type_is_an_error(self) -> None:
        bad: List[Any] = [{"project": []}, {"project": {"dependencies": "six"}}, {"project": {"dependencies": [1]}}, {"project": {"dependencies": ["--index-url x"]}},
                     {"project": {"requires-python": "soon"}}, {"project": {"requires-python": "<3, soon"}}, {"dependency-groups": {"": 1}}, {"tool": {"uv": {"sources": 1}}},
                     {"tool": {"uv": {"index": [1]}}}, {"project": {"dependencies": ["six"]}, "tool": {"uv": {"sources": {"six": [1]}}}}]
        for data in bad:
            with self.subTest(data), self.assertRaises((pydock.PydockError, ValueError, KeyError, TypeError, AttributeError)):
                self.needs(data)

    def test_what_a_gitignore_leaves_out(self) -> None:
        remedy = ["!/.pydock/envs/*/wheels/", "!/.pydock/envs/*/wheels/*"]
        wheel = "a-1-py3-none-any.whl"
        for line in ("wheels/", "wheels", "*.whl", "/.pydock/envs/*/wheels/", ".pydock/envs/dev/wheels", "**/wheels/", "wheels/ ", ".pydock/envs/dev/wheels/" + wheel, "**/dev/**/*.whl"):
            with self.subTest(line):
                self.assertIn("/wheels/", pydock.ignored(["# a", "", line], "dev", wheel))
                self.assertEqual(pydock.ignored([line, *remedy], "dev", wheel), "")
        for line, left_out in ((".pydock/", "/.pydock/"), (".pydock", "/.pydock/"), ("/.pydock", "/.pydock/"), ("**/.pydock/", "/.pydock/"), (".*", "/.pydock/"), ("/*", "/.pydock/"),
                               (".pydock/envs", "/.pydock/envs/"), ("dev/", "/.pydock/envs/dev/"), (".pydock/*", "/.pydock/envs/"), ("envs", "/.pydock/envs/")):
            with self.subTest(line):
                self.assertEqual(pydock.ignored([line], "dev", wheel), left_out)
                self.assertEqual(pydock.ignored([line, "!" + left_out], "dev", wheel), "")
        for line in ("**a" * 40 + "b", "*a" * 40 + "b", "**/" * 20000 + "b", "[a" * 30000, "*" * 60000 + "b"):  # which would take for ever
            self.assertEqual(pydock.ignored([line], "a" * 60, wheel), "")
        for line in ("", "# wheels/", "/wheels/", "build/", "*.egg", "lib/wheels/", "/*/*.whl"):
            self.assertEqual(pydock.ignored([line], "dev", wheel), "", line)

    def test_which_python_fits(self) -> None:
        for specifier, good, bad in ((">=3.9", "3.9 3.13 3.9.1", "3.8"), (">=3.10,<3.13", "3.10 3.12", "3.9 3.13"), ("==3.11.*", "3.11 3.11.4", "3.12"),
                                     ("~=3.11", "3.11 3.14", "3.10"), ("~=3.11.2", "3.11 3.11.2", "3.11.1 3.12"), ("!=3.11.*", "3.12", "3.11"), ("", "3.9", ""),
                                     ("> 3.9 , < 4", "3.9 3.13", "3.8"), ("==3.12.4", "3.12.4", "3.12.5"), (">=3.13.0rc1", "3.13", "3.12")):
            for version in (good + " " + bad).split():
                self.assertEqual(pydock.fits(version, specifier), version in good.split(), (version, specifier))


if __name__ == "__main__":
    unittest.main()
