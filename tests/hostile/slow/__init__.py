"""Slow clients, by the hundred, that hold on to the program while others want to be served.

They must be dropped in time, cost little memory each, and nobody else must feel them.
"""

import time
from collections import Counter

from support.client import ask, must_serve
from support.good_client import GoodClients
from support.measure import MEBIBYTE, Usage
from support.origin import OriginProcess, response
from support.seawall import Settings
from support.suite import Suite

from .client import open_client
from .modes import MODES

#: Seconds in which they are to be dropped, and which part of them.
DEADLINE, DROPPED = 25.0, 0.99
#: How many there are, and the bytes of memory that each may cost.
CLIENTS, COSTLIEST = 300, 128 * 1024

#: Bytes of what is passed on and of what is stored: more than any buffer on the way to a client has room for.
LARGE = 10 << 20
NO_STORE, STORED = b"Cache-Control: no-store\r\n", b"Cache-Control: public, max-age=600\r\n"
RESPONSES = {
    b"/large": response(b"b" * LARGE, NO_STORE),
    b"/medium": response(b"b" * 65536, NO_STORE),
    b"/stored": response(b"c" * LARGE, STORED),
}


def run(stage):
    with OriginProcess(stage.origin_port, _answer) as origin:
        must_serve(stage.encrypted)
        _store(stage.encrypted)
        for mode in MODES:
            if not stage.wants(mode):
                continue
            if stage.is_short and mode.is_left_out:
                stage.report.skip(mode, "left out of a short run")
            else:
                _run(stage, origin, mode)
                # Nobody else is to begin on what this one has left.
                time.sleep(0.5)


def _answer(request, _):
    return [RESPONSES[request.target]] if request.target in RESPONSES else None


def _store(address):
    """Has the program store what some modes ask for. Raises RuntimeError if it does not."""
    ask(address, "/stored", timeout=30.0)
    found = ask(address, "/stored", "HEAD")
    if "hit" not in found.field("cache-status"):
        raise RuntimeError(f"nothing is stored: {found}")


def _run(stage, origin, mode):
    origin.begin_count()
    with GoodClients(stage) as good, Usage(stage.seawall.pid) as usage:
        clients = _open(stage, mode)
        _wait_until_dropped(stage, mode, clients)
    dropped = sorted(client.seconds for client in clients if client.is_closed)
    part = (len(dropped) + CLIENTS - len(clients)) / CLIENTS
    statuses = dict(Counter(client.status for client in clients if client.status))
    for client in clients:
        client.end()
    complaints = good.complaints()
    verdict = "hurt" if complaints else "held" if part < DROPPED else "dropped"
    if usage.growth > COSTLIEST * CLIENTS:
        complaints.append(f"{usage.growth // CLIENTS // 1024} KiB each")
    if part < DROPPED:
        complaints.append(f"not dropped in {DEADLINE:.0f} s")
    when = f" after {dropped[0]:.0f} to {dropped[-1]:.0f} s" if dropped else ""
    said = [
        f"{len(clients)} held, {part:.0%} dropped{when}",
        f"answers {statuses or '-'}, {origin.asked} requests sent on",
        f"+{usage.growth / MEBIBYTE:.1f} MiB",
        str(good.service),
        *complaints,
    ]
    stage.report.add(mode, verdict, not complaints, "; ".join(said))


def _open(stage, mode):
    clients = []
    for _ in range(CLIENTS):
        try:
            clients.append(open_client(stage.encrypted, mode))
        except OSError:
            # Refused: not held, either.
            continue
    return clients


def _wait_until_dropped(stage, mode, clients):
    next_second = time.monotonic() + 1
    deadline = time.monotonic() + DEADLINE
    while next_second < deadline and not all(client.is_closed for client in clients):
        time.sleep(max(0, next_second - time.monotonic()))
        next_second += 1
        for client in clients:
            client.spend_a_second()
        if mode.has_little_room:
            held = _held_ports(stage.encrypted.port)
            for client in clients:
                if client.port not in held:
                    client.end()


def _held_ports(port):
    """The ports of clients whose connections the program still has.

    Where a client takes nothing, no word of the end need reach it; but then the system's table has no such
    connection of the program's any more, or one that belongs to nobody.
    """
    held = set()
    for table in ("tcp", "tcp6"):
        with open(f"/proc/net/{table}") as file:
            next(file)
            for line in file:
                entry = line.split()
                local, remote, inode = entry[1], entry[2], entry[9]
                if int(local.rpartition(":")[2], 16) == port and inode != "0":
                    held.add(int(remote.rpartition(":")[2], 16))
    return held


#: Less than by default, as most of the time is spent on waiting for it. A client of HTTP/2 may take as long
#: for a piece of 8 KiB as the least rate allows, if that is longer.
SETTINGS = Settings(write_timeout="5s", min_rate="2000B/s")
SUITE = Suite("slow", MODES, run, mostly_waits=True, settings=SETTINGS)
