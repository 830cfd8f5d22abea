"""Clients that want more memory than there is.

The program must not be ended for it. It may turn others away meanwhile, if it says so, and serves them once
the attackers have gone.
"""

import time
from dataclasses import dataclass

from support.client import ask, must_serve, seconds_until_served
from support.good_client import GoodClients
from support.measure import MEBIBYTE, Usage
from support.memory_limit import MemoryLimit
from support.origin import OriginProcess
from support.seawall import Settings
from support.suite import Suite

from . import attacks
from .attackers import Attackers
from .origin import answer

#: All the memory there is.
LIMIT = 256 * MEBIBYTE
#: Seconds that attackers stay when they have done all they want, and until others must be served again.
STAY, RECOVERY = 2.0, 2.0
#: How a client is turned away, if not by 503: its connection is not taken on.
REFUSED = ("ConnectionRefusedError", "ConnectionResetError", "SSLEOFError", "SSLZeroReturnError")


@dataclass(frozen=True)
class Case:
    """Attacks that are made at the same time, upon a process that has seen no other."""

    name: str
    attacks: tuple
    note: str = ""
    group: str = "memory"


ALONE = [
    Case("objects", (attacks.OBJECTS,), "400 MiB that may be stored"),
    Case("h2-unread", (attacks.STREAMS,), "100,000 streams that ask for 7 MiB, which are stored"),
    Case("h2-unread-open-window", (attacks.STREAMS_WITH_WINDOW,), "the same, with room for all of it"),
    Case("half-requests", (attacks.HALF_HEADS, attacks.SLOW_UPLOADS)),
    Case("unread-content", (attacks.RESPONSES, attacks.UPLOADS, attacks.H2_UPLOADS), "in both directions"),
]
CASES = [*ALONE, Case("all-at-once", tuple(attack for case in ALONE for attack in case.attacks))]


def run(stage):
    with OriginProcess(stage.origin_port, answer) as origin:
        for case in CASES:
            if not stage.wants(case):
                continue
            with MemoryLimit(LIMIT) as limit:
                if limit.missing:
                    stage.report.skip(case, f"memory cannot be limited here: {limit.missing}")
                    continue
                try:
                    _run(stage, origin, case, limit)
                finally:
                    # The group can only be removed without it.
                    stage.seawall.kill()


def _run(stage, origin, case, limit):
    stage.seawall.kill()
    stage.seawall.start(limit)
    must_serve(stage.encrypted)
    ask(stage.encrypted, attacks.STORED)
    origin.begin_count()
    with GoodClients(stage) as good:
        with Usage(stage.seawall.pid) as usage, Attackers(stage, case.attacks) as attackers:
            attackers.begin()
            time.sleep(STAY)
        is_killed = limit.kills > 0 or not stage.seawall.is_running()
        back = 0.0 if is_killed else seconds_until_served(stage.encrypted, 5 * RECOVERY)
    complaints = complaints_of(is_killed, good, back)
    said = [
        ", ".join(attackers.notes),
        f"peak {limit.peak / MEBIBYTE:.0f} MiB, met the limit {limit.refusals} times",
        f"+{usage.growth / MEBIBYTE:.0f} MiB, {usage.seconds:.1f} s of processors",
        f"{origin.asked} requests sent on",
        f"{good.service}, {_turned_away(good.service)} turned away",
        "" if is_killed else f"served again after {back:.1f} s",
        *complaints,
    ]
    verdict = "killed" if is_killed else "hurt" if complaints else "held"
    stage.report.add(case, verdict, not complaints, "; ".join(filter(None, said)))


def complaints_of(is_killed, good, back):
    """What is wrong, if good clients were served so, and again so many seconds after the attack."""
    if is_killed:
        return ["ended for want of memory"]
    complaints, lost = [], good.service.lost - _turned_away(good.service)
    # Where the origin server alone loses some, too, the machine has more to do than it can.
    if lost > good.of_the_origin.lost:
        complaints.append(f"a good client lost {lost}: {dict(good.service.errors)}")
    if back > RECOVERY:
        complaints.append("nobody is served once they have gone")
    return complaints


def _turned_away(service):
    """How many requests ended in a way that says that one may ask again."""
    return sum(n for error, n in service.errors.items() if error == "503" or error.startswith(REFUSED))


SETTINGS = Settings(connections="16000", memory="auto", has_disk=False, origin_connections=4096)
SUITE = Suite("memory", CASES, run, settings=SETTINGS)
