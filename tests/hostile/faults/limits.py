"""Answers without measure: they must not cost memory without measure."""

import time
from contextlib import suppress

from support.client import HOST, read_until_quiet
from support.measure import MEBIBYTE, Usage
from support.responses import read_responses

from .fault import GATEWAY_ERRORS, Fault
from .script import BOMB, CONTENT

MOST_GROWTH = 64 * MEBIBYTE


def _refused(name):
    def run(play):
        with Usage(play.stage.seawall.pid) as usage:
            response = play.get(name)
        complaint = play.complaint_of_others(3)
        is_well = response.status in GATEWAY_ERRORS and usage.growth < MOST_GROWTH and not complaint
        return is_well, f"{response}, +{usage.growth / MEBIBYTE:.1f} MiB {complaint}"

    return Fault(name, "limit", run)


def gzip_bomb(play):
    """4 MiB that hold 4 GiB, for a client that takes no coding."""
    with Usage(play.stage.seawall.pid) as usage:
        response = play.get("gzip-bomb", fields=[("Accept-Encoding", "identity")], timeout=20)
    complaint = play.complaint_of_others(2)
    is_well = usage.growth < MOST_GROWTH and response.seconds < 20 and not complaint
    return is_well, f"{response} of {len(BOMB)}, +{usage.growth / MEBIBYTE:.1f} MiB {complaint}"


def huge_slow_client(play):
    """200 MiB for a client that reads 1 MiB a second, three seconds long."""
    request = f"GET {play.path('huge')} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    received, deadline = 0, time.monotonic() + 3
    client = play.stage.plain.open(timeout=5, receive_buffer=65536)
    with client, Usage(play.stage.seawall.pid) as usage:
        client.sendall(request)
        while time.monotonic() < deadline:
            received += len(client.recv(65536))
            time.sleep(0.06)
    return usage.growth < MOST_GROWTH, f"{received >> 10} KiB read, +{usage.growth / MEBIBYTE:.1f} MiB"


def head_with_body(play):
    response = play.get("head-with-body", method="HEAD", timeout=6)
    complaint = play.complaint_of_others()
    return response.status in (200, *GATEWAY_ERRORS) and not complaint, f"{response} {complaint}"


def partial_unasked_not_stored(play):
    first, second = play.get("206-unasked"), play.get("206-unasked")
    return second.status == 200 and second.content == CONTENT, f"first {first}; second {second}"


def early_413(play):
    """The origin server refuses before the content is there: the client gets the 413, and nobody hangs."""
    size, began = 5_000_000, time.monotonic()
    head = f"POST {play.path('early-413')} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {size}\r\n\r\n"
    with play.stage.plain.open(timeout=2) as client:
        client.sendall(head.encode())
        # Nobody has to take what nobody wants.
        with suppress(OSError):
            client.sendall(b"x" * size)
        raw, is_closed, _ = read_until_quiet(client, 6, 1, ("POST",))
    statuses = [response.status for response in read_responses(raw, ("POST",), is_closed)]
    seconds = time.monotonic() - began
    is_well = bool(statuses) and statuses[0] in (413, 502, 503) and seconds < 8
    return is_well, f"{statuses or 'nothing'} in {seconds:.1f} s"


LIMITS = [
    _refused("header-1m"),
    Fault.of("limit", gzip_bomb),
    Fault.of("limit", huge_slow_client),
]
SHAPES = [
    Fault.of("shape", head_with_body),
    Fault.of("shape", partial_unasked_not_stored),
    Fault.of("shape", early_413),
]
FAULTS = LIMITS + SHAPES
#: They come last: who chokes on them spoils what follows.
HEAVY = [_refused("headers-20000"), _refused("headers-endless")]
