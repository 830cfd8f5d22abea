"""An origin server that is not there, or says that it is broken: what is stored helps out, where it may."""

import time

from .fault import GATEWAY_ERRORS, Fault
from .script import CONTENT

#: Seconds after which a response that is fresh for one second no longer is.
NO_LONGER_FRESH = 2.2


def origin_down_fails_fast(play):
    with play.origin_down():
        for number in range(4):
            play.get("good", f"-{number}", timeout=8)
        response = play.get("good")
    back = play.seconds_until_served(10)
    is_well = response.status in GATEWAY_ERRORS and response.seconds < 3 and back < 5
    return is_well, f"down: {response}; served again after {back:.1f} s"


def stale_if_error_when_down(play):
    return _stale_when_down(play, "expiring", _is_content)


def must_revalidate_never_stale(play):
    return _stale_when_down(play, "must-revalidate", lambda response: response.status in GATEWAY_ERRORS)


def _stale_when_down(play, name, is_well):
    first = play.get(name)
    time.sleep(NO_LONGER_FRESH)
    with play.origin_down():
        response = play.get(name, timeout=8)
    play.seconds_until_served(5)
    return is_well(response), f"stored {first.status}; down: {response}"


def stale_if_error_on_500(play):
    first = play.get("sie-500")
    time.sleep(NO_LONGER_FRESH)
    statuses = [play.get("sie-500").status for _ in range(2)]
    return statuses == [200, 200], f"stored {first.status}; the origin server answers 500: {statuses}"


def stale_while_revalidate(play):
    first = play.get("swr")
    time.sleep(1.6)
    response = play.get("swr", timeout=8)
    is_well = response.status == 200 and response.seconds < 0.5
    return is_well, f"stored {first.status}; no longer fresh: {response}"


def fresh_hit_while_down(play):
    first = play.get("cacheable")
    play.get("cacheable")
    with play.origin_down():
        response = play.get("cacheable", timeout=8)
    play.seconds_until_served(5)
    return _is_content(response), f"stored {first.status}; down: {response}"


def _is_content(response):
    return response.status == 200 and response.content == CONTENT


FAULTS = [
    Fault.of("down", origin_down_fails_fast),
    Fault.of("down", stale_if_error_when_down),
    Fault.of("down", stale_if_error_on_500),
    Fault.of("down", must_revalidate_never_stale),
    Fault.of("down", stale_while_revalidate),
    Fault.of("down", fresh_hit_while_down),
]
