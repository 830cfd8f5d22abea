"""Runs each suite in a process of its own, against a process of the program of its own, and ends them all."""

import multiprocessing
import re
import signal
import sys
import tempfile
import time
import traceback
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from .client import Address
from .ports import free_ports
from .process import adopt_orphans
from .report import Counts, Report
from .seawall import Seawall
from .storage import SmallDisk
from .suite import Stage, Suite

#: Seconds that a suite may take, and those that it gets to end when it is told to.
LONGEST, END = 900.0, 60.0


@dataclass(frozen=True)
class Ended:
    """A suite that has ended: its counts, and which of its cases failed."""

    suite: Suite
    counts: Counts
    failed: list[str]
    seconds: float


class Runs:
    """Runs suites in processes of their own, which it ends whatever happens."""

    def __init__(self, options, reasons):
        self._options, self._reasons = options, reasons
        self._ports, self._running = free_ports(), []

    def perform(self, suites):
        """The counts of all. Those that mostly wait are run at a time, and then the others one by one.

        A case that fails is run once more, with nothing beside it: on a busy machine a good client may have
        had to wait for others than the program.
        """
        total, ended = Counts(), []
        only = self._options.only
        try:
            for started in [self._start(suite, only) for suite in suites if suite.mostly_waits]:
                ended.append(self._finish(started))
            for suite in suites:
                if not suite.mostly_waits:
                    ended.append(self._finish(self._start(suite, only)))
            for end in ended:
                counts, seconds = self._once_more(end)
                print(f"hostile {end.suite.name}: {counts} in {seconds:.0f} s", flush=True)
                total += counts
        finally:
            self._end()
        return total

    def _once_more(self, end):
        """The counts and seconds of a suite, once its cases that failed were run again."""
        if not end.failed:
            return end.counts, end.seconds
        print(f"again {end.suite.name}: {', '.join(end.failed)}", flush=True)
        names = re.compile(f"^(?:{'|'.join(map(re.escape, end.failed))})$")
        again = self._finish(self._start(end.suite, names))
        first = replace(end.counts, failed=end.counts.failed - len(end.failed))
        return first + again.counts, end.seconds + again.seconds

    def _start(self, suite, only):
        context = multiprocessing.get_context("fork")
        receiver, sender = context.Pipe(duplex=False)
        ports = [next(self._ports) for _ in range(4)]
        run = context.Process(
            name=suite.name,
            target=_perform,
            args=(suite, self._options, only, ports, self._reasons[suite.name], sender),
        )
        run.start()
        sender.close()
        self._running.append(run)
        return suite, receiver

    def _finish(self, started):
        suite, receiver = started
        try:
            said = receiver.recv() if receiver.poll(LONGEST) else (Counts(failed=1), [], LONGEST)
        except EOFError:
            print(f"FAIL  {suite.name} has ended without a word", flush=True)
            said = Counts(failed=1), [], 0.0
        return Ended(suite, *said)

    def _end(self):
        for run in self._running:
            run.terminate()
        for run in self._running:
            run.join(END)
            run.kill()


def _perform(suite, options, only, ports, reasons, said):
    """Runs one suite, and says how it ended. What it starts ends with it, whatever happens."""
    # A terminal's interrupt is for all processes: this one is told by the one above.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_once)
    adopt_orphans()
    report, began = Report(suite.name, reasons), time.monotonic()
    try:
        with ExitStack() as stack:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="seawall-hostile-")))
            suite.run(_prepare(stack, suite, options, only, place, ports, report))
    except Exception:
        report.fail("the suite itself", traceback.format_exc())
    said.send((report.counts, report.failed, time.monotonic() - began))


def _end_once(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(1)


def _prepare(stack, suite, options, only, place, ports, report):
    plain, encrypted, origin, trap = ports
    seawall = Seawall(options.binary, place, plain, encrypted, origin, suite.settings)
    small_disk = stack.enter_context(SmallDisk(seawall.cache)) if suite.needs_small_disk else None
    # The last words of the program count, too.
    stack.callback(_look_for_panics, seawall, report)
    stack.enter_context(seawall).start()
    return Stage(
        seawall=seawall,
        plain=Address(plain),
        encrypted=Address(encrypted, is_encrypted=True),
        origin_port=origin,
        trap_port=trap,
        report=report,
        only=only,
        is_short=options.short,
        small_disk=small_disk,
    )


def _look_for_panics(seawall, report):
    """What a panic costs the others is a matter of luck: there is to be none."""
    for line in seawall.log().splitlines():
        if "panicked" in line:
            report.fail("panic", line)
