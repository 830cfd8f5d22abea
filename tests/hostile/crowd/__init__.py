"""Thousands of clients that are connected, and ask for nothing.

Each may cost a little memory, all of them together next to no time of processors, and nobody else may feel
them.
"""

import resource
import time
from dataclasses import dataclass

from support.client import ask, must_serve, seconds_until_served
from support.good_client import GoodClients
from support.measure import MEBIBYTE, memory, processor_seconds
from support.origin import OriginProcess, echo, response
from support.seawall import Settings
from support.suite import Suite

from .clients import CONTENT, HTTP_1, HTTP_2, PATH, Crowd

#: How many there are, if files can be opened for all of them and so many others.
MOST, FEWEST, FILES_OF_OTHERS = 15_000, 1_000, 1_000
#: One of so many speaks HTTP/2.
EACH_HTTP_2 = 10
#: Bytes of memory that one may cost, by its protocol.
COSTLIEST_HTTP_1, COSTLIEST_HTTP_2 = 15_872, 49_152
#: Seconds until nothing is left to do of their coming.
SETTLED = 1.0
#: Seconds over which they are watched, and the part of a processor that they may take.
WATCHED, BUSIEST = 5.0, 0.05
#: Seconds in which good clients ask.
BESIDE = 3.0
#: Seconds until others are served once all have gone, until their memory is given back, and what may be left.
SERVED, GIVEN_BACK, LEFT = 1.0, 5.0, 32 * MEBIBYTE


@dataclass(frozen=True)
class Case:
    """One of the things that are to be seen of the same crowd."""

    name: str
    note: str = ""
    group: str = "idle"


ACCEPTED = Case("accepted", "all of them, and nobody is disconnected")
MEMORY = Case("memory", "15.5 KiB each, 48 with HTTP/2")
PROCESSORS = Case("processors", "5 % of one")
OTHERS = Case("others", "a good client does not notice them")
LEAVING = Case("leaving", "others are served at once, and memory is given back")
CASES = [MEMORY, PROCESSORS, OTHERS, ACCEPTED, LEAVING]


def run(stage):
    with OriginProcess(stage.origin_port, _answer):
        must_serve(stage.encrypted)
        ask(stage.encrypted, PATH.decode())
        _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
        count = min(MOST, files - FILES_OF_OTHERS)
        if count >= FEWEST:
            _watch(stage, count)
            return
    for case in filter(stage.wants, CASES):
        stage.report.skip(case, f"no more than {files} files can be opened here")


def _answer(request, connection):
    if request.target == PATH:
        return [response(CONTENT, b"Cache-Control: public, max-age=600\r\n")]
    return [echo(request, connection)]


def _watch(stage, count):
    http_2 = count // EACH_HTTP_2
    alone = _memory(stage)
    with Crowd(stage.encrypted, HTTP_1, count - http_2) as first:
        with_first = _memory(stage)
        with Crowd(stage.encrypted, HTTP_2, http_2) as second:
            _compare(stage, (with_first - alone) / (count - http_2), (_memory(stage) - with_first) / http_2)
            _watch_processors(stage)
            _ask_beside(stage)
            came, there = first.came + second.came, first.still_there() + second.still_there()
    _add(stage, ACCEPTED, there == count, f"{came} of {count} accepted, {there} still there")
    _watch_leaving(stage, alone)


def _compare(stage, http_1, http_2):
    is_little = http_1 <= COSTLIEST_HTTP_1 and http_2 <= COSTLIEST_HTTP_2
    _add(stage, MEMORY, is_little, f"{http_1 / 1024:.1f} KiB each, {http_2 / 1024:.1f} KiB with HTTP/2")


def _memory(stage):
    time.sleep(SETTLED)
    return memory(stage.seawall.pid)


def _watch_processors(stage):
    before = processor_seconds(stage.seawall.pid)
    time.sleep(WATCHED)
    part = (processor_seconds(stage.seawall.pid) - before) / WATCHED
    _add(stage, PROCESSORS, part <= BUSIEST, f"{part:.1%} of a processor")


def _ask_beside(stage):
    with GoodClients(stage) as good:
        time.sleep(BESIDE)
    complaints = good.complaints()
    _add(stage, OTHERS, not complaints, "; ".join([str(good.service), *complaints]))


def _watch_leaving(stage, alone):
    back = seconds_until_served(stage.encrypted, 10 * SERVED)
    deadline = time.monotonic() + GIVEN_BACK
    while (left := memory(stage.seawall.pid) - alone) > LEFT and time.monotonic() < deadline:
        time.sleep(0.1)
    is_well = back <= SERVED and left <= LEFT
    _add(stage, LEAVING, is_well, f"served after {back:.1f} s, {left / MEBIBYTE:.0f} MiB left of them")


def _add(stage, case, is_passed, detail):
    if stage.wants(case):
        stage.report.add(case, "as wanted" if is_passed else "wrong", is_passed, detail)


SETTINGS = Settings(connections="16000", header_timeout="5m", idle_timeout="5m")
SUITE = Suite("crowd", CASES, run, settings=SETTINGS)
