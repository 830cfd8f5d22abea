"""What became of each case: a line when it has ended, and the count at the end."""

from dataclasses import dataclass


@dataclass
class Counts:
    """How many cases ended in which way."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    #: Listed in `expected.toml`, and not passed as it says.
    known: int = 0

    def __add__(self, other):
        return Counts(
            self.passed + other.passed,
            self.failed + other.failed,
            self.skipped + other.skipped,
            self.known + other.known,
        )

    def __str__(self):
        counted = f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"
        return counted + (f", {self.known} known not to pass" if self.known else "")


class Report:
    """That of one suite; `reasons` are those of its cases that are known not to pass."""

    def __init__(self, suite, reasons):
        self._suite, self._reasons = suite, reasons
        self.counts = Counts()
        #: The names of those that failed.
        self.failed = []

    def skip(self, case, reason):
        """A case that cannot be run here."""
        self.counts.skipped += 1
        self._print("skip", case.group, case.name, "skipped", reason)

    def add(self, case, verdict, is_passed, detail=""):
        """A case that was run."""
        if case.name in self._reasons:
            self._compare(case, verdict, is_passed, detail)
        elif is_passed:
            self.counts.passed += 1
            self._print("ok", case.group, case.name, verdict, detail)
        else:
            self.counts.failed += 1
            self.failed.append(case.name)
            self._print("FAIL", case.group, case.name, verdict, detail)

    def fail(self, name, detail):
        """Something that is no case went wrong."""
        self.counts.failed += 1
        print(f"FAIL  {self._suite:8} {name}: {detail}", flush=True)

    def _compare(self, case, verdict, is_passed, detail):
        if is_passed:
            self.fail(case.name, f"passes ({verdict}), and is listed in expected.toml: {detail}")
        else:
            self.counts.known += 1
            self._print("known", case.group, case.name, verdict, f"{self._reasons[case.name]} | {detail}")

    def _print(self, word, group, name, verdict, detail):
        line = f"{word:5} {self._suite:8} {group:10} {name:34} {verdict:12} {detail}"
        print(line.rstrip(), flush=True)
