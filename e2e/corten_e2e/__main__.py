"""Runs all test modules, or those named; closes with one line `N passed, N failed`."""

import sys
import time
import unittest


# More than this is no longer single faults: the rest would only wait for its deadlines, for hours.
MAX_FAILED = 20


class Result(unittest.TextTestResult):
    """Prints each test with its duration, so that a slow step is seen; ends a run in which nothing works."""

    def startTest(self, test):
        self.began = time.monotonic()
        super().startTest(test)

    def stopTest(self, test):
        super().stopTest(test)
        self.stream.writeln(f"    {time.monotonic() - self.began:.1f} s")
        if len(self.failures) + len(self.errors) >= MAX_FAILED:
            self.stream.writeln(f"{MAX_FAILED} failed: the rest is not run")
            self.stop()


def main():
    loader = unittest.TestLoader()
    names = sys.argv[1:]
    if names:
        suite = loader.loadTestsFromNames([f"corten_e2e.{name}" for name in names])
    else:
        suite = loader.discover("corten_e2e", pattern="test_*.py", top_level_dir=".")
    result = unittest.TextTestRunner(verbosity=2, resultclass=Result, failfast=False).run(suite)
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed} passed, {failed} failed, {len(result.skipped)} skipped")
    sys.exit(1 if failed or result.testsRun == 0 else 0)


main()
