#!/usr/bin/env python3
"""Runs the tests: `tests/run.py [-k PATTERN] [--jobs N] [LANE, MODULE, its file, MODULE.Class.test, or a pattern of modules]…`

Each module, or each line of a lane, is a process of its own, and so many of them run side by side. A line for each test class; at the
end failures in full, the ten slowest tests, skipped ones with their reasons, and as the last line the sum. A test that failed because
the package index did not answer, or the engine lost what a program wrote, runs once more, which is said.
"""
from __future__ import annotations

import argparse
import itertools
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Dict, Iterator, List

HERE = Path(__file__).resolve().parent

# What runs where. A line is one process; those that take long stand first. A module stands for those of its classes that no other
# line of the lanes at hand names. `make check` runs `check`, `make test` that and `test`, on one engine; .ci/run runs them all:
# `classic` goes on with what `test` began on the same engine. On more than one engine is what differs by engine (build, run, exec,
# commit, cp, save and load, compose, and what an engine lets others do); what does not is on one of them. tests/test_house.py proves
# that no class is forgotten.
LANES = {
    "check": """
        test_installer
        test_pure test_requirements
        test_house
        test_trust.Passed test_kernel.Words test_bad_input.Hosts test_rootless.KeptGroups test_run.EveryPython test_readme.Words test_script.Metadata""",
    "test": """
        test_start.StartStopReset
        test_install.InstallTest
        test_create.CreateTest
        test_history.Rollback test_history.History
        test_activate.Programs test_activate.Activated test_activate.InBash
        test_create.BuildTest
        test_lock.Digest test_lock.Verify
        test_bad_input
        test_export.ExportTest test_export.TakeTest test_export.Editor
        test_lock.Lock
        test_create.DeleteTest test_create.RenameTest test_create.ListTest test_create.ConfigTest test_create.TemplateTest test_create.WordsTest
        test_install.FileTest test_install.UninstallTest test_install.UpdateTest test_install.DryRunTest
        test_prune.Asked test_prune.Words
        test_run.Signals test_run.Status test_run.OnATerminal
        test_run.Arguments test_run.Options test_run.Streams
        test_readme.Run test_readme.Job
        test_tour
        test_attacks.NoNewPrivileges test_compose.Parsed test_compose.Written""",
    "classic": """
        test_activate
        test_export.BadEnds
        test_history
        test_export.HostileTest
        test_lock.BadEnds
        test_prune
        test_lock
        test_nothing_lost.OtherPeople test_nothing_lost.Links
        test_attacks.Domains
        test_files
        test_create
        test_nothing_lost.ByHand test_nothing_lost.FullDisk test_nothing_lost.AtOnce
        test_export
        test_run
        test_install.SecretTest
        test_sandbox.Limits
        test_rootless""",
    "modern": """
        test_nothing_lost.EveryCall test_nothing_lost.EveryCallOfAProject
        test_compose.Services test_compose.Parsed test_compose.Users
        test_start.Signals test_start.Mended test_start.Inside
        test_sandbox
        test_script
        test_compose
        test_attacks.ComposeOfOthers test_attacks.ComposeTricks test_attacks.Shipped
        test_attacks
        test_kernel.Kernel
        test_trust.Real
        test_trust.Words
        test_activate.Servers
        test_readme.Run
        test_start
        test_compose.File
        test_nothing_lost.RandomMoments test_nothing_lost.ManyInstalls
        test_install.PipTest test_install.IndexTest test_install.HostTest test_install.RepositoryTest test_install.SharedInstallTest
        test_lock.Digest test_lock.Verify
        test_install.LocalTest test_install.SecretTest
        test_install.EditableTest
        test_export.ExportTest test_export.TakeTest
        test_run.Signals test_run.Status test_run.OnATerminal
        test_run.Options test_run.Streams test_run.Images
        test_tour
        test_create.BuildTest""",
    "podman": """
        test_attacks.Files test_attacks.Strangers test_attacks.RootsFiles test_attacks.Terminals
        test_attacks
        test_history.Rollback test_history.History test_history.Snapshot
        test_sandbox.Closed test_sandbox.Limits
        test_script.Asked
        test_tour test_create.DeleteTest""",
    "rootless": """
        test_rootless
        test_kernel.OnPodman
        test_sandbox.Refused
        test_tour""",
}
# Docker 20.10's daemon can die of builds at once that share steps, one of them with --no-cache ("panic: failed to get edge",
# moby/moby#42414): so these come last, one after another.
ALONE = """
    test_create.BuildTest.test_no_cache_builds_anew_and_pull_is_handed_on
    test_install.IndexTest.test_an_index_of_the_command_line_is_kept_as_an_option_line
    test_install.InstallTest.test_setuptools_counts_where_it_was_asked_for
    test_install.LocalTest.test_a_folder_is_built_and_left_as_it_was
    test_install.LocalTest.test_a_wheel_is_kept_and_the_environment_can_be_built_elsewhere
    test_install.UpdateTest.test_it_stays_within_what_was_asked_for_and_drops_what_nothing_needs
    test_install.PipTest.test_a_folder_and_a_wheel
    test_install.PipTest.test_install_update_uninstall_build
    test_lock.Lock.test_it_builds_from_clean
    test_lock.Twice.test_made_twice_in_two_folders_by_two_users_it_is_the_same
""".split()


LIMIT = 600  # seconds for one test, or for what is set up for a class


class Timed(unittest.TestResult):
    """Knows how long each test took, by its id. One that hangs is an error, whose traceback says where; the others go on."""
    times: Dict[str, float] = {}

    def of(self, suite: unittest.TestSuite) -> Timed:
        signal.signal(signal.SIGALRM, too_long)
        self.wait_anew()
        suite.run(self)
        signal.setitimer(signal.ITIMER_REAL, 0)
        return self

    def wait_anew(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, LIMIT, 60)  # again, where cleaning up hangs too

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self.times[test.id()] = -time.monotonic()
        self.wait_anew()

    def stopTest(self, test: unittest.TestCase) -> None:
        self.wait_anew()
        super().stopTest(test)
        self.times[test.id()] += time.monotonic()


def too_long(number: int, frame: Any) -> None:
    raise TimeoutError("a test is not done after %d s" % LIMIT)


# Why a test may run once more, and how its failure looks then. The index's is a host name: the tests' own indexes are addresses.
ONCE_MORE = {
    "the package index did not answer": r"Failed to fetch: `?https://[a-z](.|\n)*operation timed out|ReadTimeoutError\(.*https",
    # Of some 20,000 programs in containers of docker 26.1 two ended with status 0 and nothing on stdout, on a busy machine; not
    # explained. Whoever expects an output and gets none in both runs has failed.
    "a program's whole output was lost": r"(?m)^AssertionError: '' != '",
}


def failures(result: unittest.TestResult) -> Dict[str, str]:
    """What failed, in full, by the test's id."""
    failed: Dict[str, str] = {}
    for test, text in result.failures + result.errors + [(test, "unexpected success") for test in result.unexpectedSuccesses]:
        key = getattr(test, "test_case", test).id()
        failed[key] = failed.get(key, "") + "%s\n%s" % (test, text)
    return failed


def tests_of(suite: unittest.TestSuite | unittest.TestCase) -> Iterator[unittest.TestCase]:
    if isinstance(suite, unittest.TestSuite):
        for inner in suite:
            yield from tests_of(inner)
    else:
        yield suite


def chosen(suite: unittest.TestSuite, names: List[str]) -> unittest.TestSuite:
    """Without those that have to be alone, but where they were named themselves."""
    return unittest.TestSuite(test for test in tests_of(suite) if test.id() not in ALONE or test.id() in names)


def classes(module: str) -> List[str]:
    """The classes of a module that have tests; of one that cannot be imported its own name, so that this will be a failure."""
    sys.path.insert(0, str(HERE))
    try:
        ids = [test.id() for test in tests_of(unittest.TestLoader().loadTestsFromName(module))]
    except Exception:
        return [module]
    finally:
        del sys.path[0]
    found = list(dict.fromkeys(id_.rpartition(".")[0] for id_ in ids))
    return found if all(name.startswith(module + ".") for name in found) else [module]


def processes(words: List[str]) -> List[List[str]]:
    """What each process runs, of lanes, modules and tests; those that have to be alone are not left out yet."""
    files = sorted(HERE.glob("test_*.py"), key=lambda file: -file.stat().st_size)  # the long ones first
    modules = [file.stem for file in files]
    lines = [line.split() for word in words for line in LANES.get(word, "").strip().splitlines()]
    named = {name for line in lines for name in line}
    whole = {name: [each for each in classes(name) if each not in named] for name in named if "." not in name}
    lines = [[each for name in dict.fromkeys(line) for each in whole.get(name, [name])] for line in lines]
    given = [word for word in words if word not in LANES]
    for module in modules:
        lines.append([module if fnmatch(module, word) else word for word in given if fnmatch(module, word.split(".")[0])])
    return [line for line in lines if line] if words else [[module] for module in modules]


def run_module(names: List[str], patterns: List[str], report: str) -> None:
    """In the process of one module: runs it and writes the file `report`. A test counts once, whatever its subtests do."""
    loader, result = unittest.TestLoader(), Timed()
    loader.testNamePatterns = [p if "*" in p else "*%s*" % p for p in patterns] or None
    unittest.installHandler()  # Ctrl-C: the test at hand ends and cleans up, and no other one begins
    unittest.registerResult(result)
    result.of(chosen(loader.loadTestsFromNames(names), names))
    failed = failures(result)
    for why, looks in ONCE_MORE.items():
        hit = [key for key, text in failed.items() if re.search(looks, text)]
        if hit and not result.shouldStop:
            print("once more, since %s: %s" % (why, "\n".join(map(failed.__getitem__, hit))), flush=True)
            again = Timed().of(loader.loadTestsFromNames([re.sub(r"^\w+ \((.*)\)$", r"\1", key) for key in hit]))  # `setUpClass (CLASS)`
            failed = {**{key: text for key, text in failed.items() if key not in hit}, **failures(again)}
            result.skipped += again.skipped
    skipped = {test.id(): reason for test, reason in result.skipped if test.id() not in failed}
    passed = [key for key in result.times if key not in failed and key not in skipped]
    for title, keys in itertools.groupby(result.times, lambda key: key.rpartition(".")[0]):
        mine = list(keys)
        bad = len([key for key in mine if key in failed])
        print("%7.1f s  %s: %d tests%s" % (sum(map(result.times.__getitem__, mine)), title, len(mine), ", %d FAILED" % bad if bad else ""), flush=True)
    Path(report).write_text(json.dumps({"failed": failed, "skipped": skipped, "passed": passed, "times": result.times}), encoding="utf-8")


def start(names: List[str], patterns: List[str], stopped: List[int]) -> Dict[str, Any]:
    if stopped:
        return {"failed": {names[0]: "interrupted"}, "skipped": {}, "passed": [], "times": {}}
    with tempfile.NamedTemporaryFile("r", encoding="utf-8", prefix="pydock-report-") as report:
        command = [sys.executable, __file__, "--report", report.name, *names, *("-k=" + pattern for pattern in patterns)]
        status = subprocess.run(command).returncode
        died = {names[0]: "its process ended with status %d and without a report" % status}
        return dict(json.loads(report.read() or json.dumps({"failed": died, "skipped": {}, "passed": [], "times": {}})))


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("names", nargs="*", metavar="TEST", help="or one of the lanes: " + ", ".join(LANES))
    p.add_argument("-k", action="append", default=[], dest="patterns", metavar="PATTERN", help="only tests with it in their names")
    p.add_argument("--jobs", type=int, default=2, help="how many processes at once (default 2)")
    p.add_argument("--report", help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.report:
        run_module(args.names, args.patterns, args.report)
        return 0
    words = [Path(word).stem if word.endswith(".py") else word for word in args.names]
    lines = processes(words)
    alone = [test for test in ALONE if any((test + ".").startswith(name + ".") for line in lines for name in line)]
    named = {name.split(".")[0] for line in lines for name in line}
    lost = [word for word in words if word not in LANES and not any(fnmatch(module, word.split(".")[0]) for module in named)]
    stopped: List[int] = []
    signal.signal(signal.SIGINT, lambda number, _: stopped.append(number))
    with ThreadPoolExecutor(args.jobs) as pool:
        reports = list(pool.map(lambda names: start(names, args.patterns, stopped), lines))
    if alone:
        reports.append(start(alone, args.patterns, stopped))
    failed = {key: text for report in reports for key, text in report["failed"].items()}
    failed.update((word, "there is no such test module") for word in lost)
    times = [(seconds, key) for report in reports for key, seconds in report["times"].items()]
    for key, text in failed.items():
        print("\n%s\nFAILED %s\n%s" % ("=" * 100, key, text.rstrip()))
    print("\n%s\nthe slowest:" % ("=" * 100) if times else "no test was run")
    for seconds, key in sorted(times, reverse=True)[:10]:
        print("%7.1f s  %s" % (seconds, key))
    skipped = ["skipped: %s: %s" % item for report in reports for item in report["skipped"].items()]
    passed = sum(len(report["passed"]) for report in reports)
    print("\n".join(skipped + ["%d passed, %d failed, %d skipped" % (passed, len(failed), len(skipped))]))
    return 1 if failed or stopped or not passed else 0


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    sys.exit(main())
