"""Runs each suite in a process of its own, against a process of the program of its own, and ends them all."""

import multiprocessing
import signal
import sys
import tempfile
import time
import traceback
from contextlib import ExitStack
from pathlib import Path

from .client import Address
from .ports import free_ports
from .process import adopt_orphans
from .report import Counts, Report
from .seawall import Seawall
from .storage import SmallDisk
from .suite import Stage

#: Seconds that a suite may take, and those that it gets to end when it is told to.
LONGEST, END = 900.0, 60.0


class Runs:
    """Runs suites in processes of their own, which it ends whatever happens."""

    def __init__(self, options, reasons):
        self._options, self._reasons = options, reasons
        self._ports, self._running = free_ports(), []

    def perform(self, suites):
        """The counts of all. Those that mostly wait are run at a time, and then the others one by one."""
        total = Counts()
        try:
            for run in [self._start(suite) for suite in suites if suite.mostly_waits]:
                total += self._finish(run)
            for suite in suites:
                if not suite.mostly_waits:
                    total += self._finish(self._start(suite))
        finally:
            self._end()
        return total

    def _start(self, suite):
        context = multiprocessing.get_context("fork")
        receiver, sender = context.Pipe(duplex=False)
        ports = [next(self._ports) for _ in range(4)]
        run = context.Process(
            name=suite.name,
            target=_perform,
            args=(suite, self._options, ports, self._reasons[suite.name], sender),
        )
        run.start()
        sender.close()
        self._running.append(run)
        return run, receiver

    def _finish(self, started):
        run, receiver = started
        try:
            counts, seconds = receiver.recv() if receiver.poll(LONGEST) else (Counts(failed=1), LONGEST)
        except EOFError:
            print(f"FAIL  {run.name} has ended without a word", flush=True)
            counts, seconds = Counts(failed=1), 0.0
        print(f"hostile {run.name}: {counts} in {seconds:.0f} s", flush=True)
        return counts

    def _end(self):
        for run in self._running:
            run.terminate()
        for run in self._running:
            run.join(END)
            run.kill()


def _perform(suite, options, ports, reasons, counts):
    """Runs one suite, and sends its counts and seconds. What it starts ends with it, whatever happens."""
    # A terminal's interrupt is for all processes: this one is told by the one above.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_once)
    adopt_orphans()
    report, began = Report(suite.name, reasons), time.monotonic()
    try:
        with ExitStack() as stack:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="seawall-hostile-")))
            suite.run(_prepare(stack, suite, options, place, ports, report))
    except Exception:
        report.fail("the suite itself", traceback.format_exc())
    counts.send((report.counts, time.monotonic() - began))


def _end_once(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(1)


def _prepare(stack, suite, options, place, ports, report):
    plain, encrypted, origin, trap = ports
    seawall = Seawall(options.binary, place, plain, encrypted, origin)
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
        only=options.only,
        is_short=options.short,
        small_disk=small_disk,
    )


def _look_for_panics(seawall, report):
    """What a panic costs the others is a matter of luck: there is to be none."""
    for line in seawall.log().splitlines():
        if "panicked" in line:
            report.fail("panic", line)
