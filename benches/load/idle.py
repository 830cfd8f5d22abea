"""What connections that wait cost a server in memory."""

import time
from contextlib import ExitStack

from origin import SIZES
from processes import memory


def held(server, count):
    """Bytes for each of so many connections that were used once and wait, and what is wrong with them."""
    connections = [server.connect() for _ in range(count)]
    before = settled(lambda: memory(server.pids))
    with ExitStack() as opened:
        wrong = 0
        for connection in connections:
            opened.enter_context(connection)
            status, _, content = connection.get("/c/1k.bin")
            wrong += status != 200 or len(content) != SIZES["1k"]
        after = settled(lambda: memory(server.pids))
        closed = sum(not connection.is_open() for connection in connections)
    faults = [f"{wrong} answers were wrong"] if wrong else []
    faults += [f"{closed} of {count} connections did not stay open"] if closed else []
    return (after - before) / count, faults


def settled(look):
    """A figure once it has stayed as it is for a second, to half a percent; as it is after ten seconds."""
    deadline = time.monotonic() + 10
    figure, since = look(), time.monotonic()
    while time.monotonic() < min(deadline, since + 1):
        time.sleep(0.1)
        now = look()
        if abs(now - figure) > figure * 0.005:
            figure, since = now, time.monotonic()
    return figure
