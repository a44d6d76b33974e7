#!/usr/bin/env python3
"""Runs the tests: `tests/run.py [-k PATTERN] [--jobs N] [MODULE, its file, MODULE.Class.test, or a pattern of modules]…`

Modules run side by side, each in a process of its own. A line for each test class; at the end failures in full, the ten
slowest tests, skipped ones with their reasons, and as the last line the sum. A test that failed because the package index
did not answer runs once more, which is said.
"""
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
from typing import Any, Dict, List

HERE = Path(__file__).resolve().parent


class Timed(unittest.TestResult):
    """Knows how long each test took, by its id."""
    times: Dict[str, float] = {}

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self.times[test.id()] = -time.monotonic()

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        self.times[test.id()] += time.monotonic()


# Of a host name: the tests' own indexes are addresses.
NO_ANSWER = r"Failed to fetch: `?https://[a-z](.|\n)*operation timed out|ReadTimeoutError\(.*https"


def failures(result: unittest.TestResult) -> Dict[str, str]:
    """What failed, in full, by the test's id."""
    failed: Dict[str, str] = {}
    for test, text in result.failures + result.errors + [(test, "unexpected success") for test in result.unexpectedSuccesses]:
        key = getattr(test, "test_case", test).id()
        failed[key] = failed.get(key, "") + "%s\n%s" % (test, text)
    return failed


def run_module(names: List[str], patterns: List[str], report: str) -> None:
    """In the process of one module: runs it and writes the file `report`. A test counts once, whatever its subtests do."""
    loader, result = unittest.TestLoader(), Timed()
    loader.testNamePatterns = [p if "*" in p else "*%s*" % p for p in patterns] or None
    unittest.installHandler()  # Ctrl-C: the test at hand ends and cleans up, and no other one begins
    unittest.registerResult(result)
    loader.loadTestsFromNames(names).run(result)
    failed = failures(result)
    silent = [key for key, text in failed.items() if re.search(NO_ANSWER, text)]
    if silent and not result.shouldStop:
        print("once more, since the package index did not answer: " + ", ".join(silent), flush=True)
        again = Timed()
        loader.loadTestsFromNames([re.sub(r"^\w+ \((.*)\)$", r"\1", key) for key in silent]).run(again)  # `setUpClass (CLASS)`
        failed = {**{key: text for key, text in failed.items() if key not in silent}, **failures(again)}
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
    p.add_argument("names", nargs="*", metavar="TEST")
    p.add_argument("-k", action="append", default=[], dest="patterns", metavar="PATTERN", help="only tests with it in their names")
    p.add_argument("--jobs", type=int, default=2, help="how many modules at once (default 2)")
    p.add_argument("--report", help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.report:
        run_module(args.names, args.patterns, args.report)
        return 0
    words = [Path(word).stem if word.endswith(".py") else word for word in args.names]
    files = sorted(HERE.glob("test_*.py"), key=lambda file: -file.stat().st_size)  # the long ones first
    wanted = [[file.stem if fnmatch(file.stem, w) else w for w in words if fnmatch(file.stem, w.split(".")[0])] or [file.stem] * (not words) for file in files]
    lost = [word for word in words if not any(fnmatch(file.stem, word.split(".")[0]) for file in files)]
    stopped: List[int] = []
    signal.signal(signal.SIGINT, lambda number, _: stopped.append(number))
    with ThreadPoolExecutor(args.jobs) as pool:
        reports = list(pool.map(lambda names: start(names, args.patterns, stopped), filter(None, wanted)))
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
