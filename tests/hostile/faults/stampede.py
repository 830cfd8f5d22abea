"""Crowds: one request to the origin server is enough for all, and what becomes of it does not hurt them."""

import time

from .crowd import Crowd
from .fault import GATEWAY_ERRORS, Fault
from .script import CONTENT

MANY, SOME = 1000, 100
#: Requests to the origin server for one response that many wait for.
ENOUGH = 2


def stampede_cold(play):
    crowd = _crowd(play, "slow-cacheable", MANY)
    asked = play.script.asked(play.path("slow-cacheable"))
    return _all_served(crowd, MANY) and asked <= ENOUGH, f"{crowd}, the origin server asked {asked} times"


def stampede_expired(play):
    for _ in range(2):
        play.get("expiring")
    before = play.script.asked(play.path("expiring"))
    time.sleep(1.6)
    crowd = _crowd(play, "expiring", MANY)
    asked = play.script.asked(play.path("expiring")) - before
    return _all_served(crowd, MANY) and asked <= ENOUGH, f"{crowd}, the origin server asked {asked} times"


def stampede_uncacheable_not_serialised(play):
    crowd = _crowd(play, "private-slow", SOME)
    return _all_served(crowd, SOME) and crowd.seconds < 4, str(crowd)


def stampede_leader_dies(play):
    """Nobody hangs, nobody gets half an answer as a whole one, and the next client is served."""
    crowd = _crowd(play, "leader-dies", SOME)
    after = play.get("leader-dies")
    is_well = set(crowd.results) <= {200, "cut", *GATEWAY_ERRORS} and crowd.seconds < 15
    return is_well and after.status == 200 and after.content == CONTENT, f"{crowd}; then {after}"


def stampede_leader_client_leaves(play):
    crowd = _crowd(play, "slow-cacheable", SOME, first_leaves=True)
    return _all_served(crowd, SOME - 1), str(crowd)


def _crowd(play, name, count, **options):
    return Crowd(play.stage.plain, play.path(name), count, **options)


def _all_served(crowd, count):
    return crowd.results == {200: count}


FAULTS = [
    Fault.of("stampede", stampede_cold),
    Fault.of("stampede", stampede_expired),
    Fault.of("stampede", stampede_uncacheable_not_serialised),
    Fault.of("stampede", stampede_leader_dies),
    Fault.of("stampede", stampede_leader_client_leaves),
]
