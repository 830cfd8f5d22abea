"""Clients by the thousand that come, perhaps ask once, and are silent from then on."""

import multiprocessing
import socket
from dataclasses import dataclass

from h2abuse.frames import ACK, PREFACE, SETTINGS, frame, get, headers

#: What is stored, and so costs no origin server anything.
PATH, CONTENT = b"/stored", b"what everybody asks for"
#: So many at a time; a process alone would spend more time on handshakes than the program does.
PROCESSES = 2
#: Seconds until all have come, and until they have looked who is there.
COMING, LOOKING = 120.0, 20.0


@dataclass(frozen=True)
class Manner:
    """What a client sends once it has shaken hands, and what it waits for before it falls silent."""

    protocol: str
    sent: bytes = b""
    awaited: bytes = b""
    #: Sent at last, and never answered.
    last: bytes = b""


_GREETING = PREFACE + frame(SETTINGS)
_GREETED = frame(SETTINGS, ACK)
_REQUEST = b"GET " + PATH + b" HTTP/1.1\r\nHost: site.test\r\n\r\n"

HTTP_1 = (Manner("http/1.1"), Manner("http/1.1", _REQUEST, CONTENT))
HTTP_2 = (
    Manner("h2", _GREETING, _GREETED, _GREETED),
    Manner("h2", _GREETING + headers(1, get(PATH)), CONTENT, _GREETED),
)


class Crowd:
    """So many clients of some manners by turns. They have come when a `with` begins, and leave at its end."""

    def __init__(self, address, manners, count):
        self._address, self._manners = address, manners
        context, self._processes = multiprocessing.get_context("fork"), []
        for place in range(PROCESSES):
            here, there = context.Pipe()
            share = (count + place) // PROCESSES
            process = context.Process(target=self._be_there, args=(share, there), daemon=True)
            process.start()
            there.close()
            self._processes.append((process, here))
        #: How many were accepted.
        self.came = 0

    def __enter__(self):
        self.came = self._told(COMING)
        return self

    def __exit__(self, *_):
        for process, _ in self._processes:
            process.kill()
        for process, _ in self._processes:
            process.join()

    def still_there(self):
        """How many have not been disconnected."""
        for _, pipe in self._processes:
            pipe.send("who is there?")
        return self._told(LOOKING)

    def _told(self, seconds):
        return sum(pipe.recv() if pipe.poll(seconds) else 0 for _, pipe in self._processes)

    def _be_there(self, count, pipe):
        connections = []
        for place in range(count):
            try:
                connections.append(_come(self._address, self._manners[place % len(self._manners)]))
            except OSError:
                continue
        pipe.send(len(connections))
        while pipe.recv():
            pipe.send(sum(map(is_there, connections)))


def _come(address, manner):
    """A connection after all that is said on it. Raises OSError if there is none."""
    connection, received = address.open(10.0, manner.protocol), b""
    connection.sendall(manner.sent)
    while manner.awaited not in received:
        more = connection.recv(1 << 14)
        if not more:
            raise ConnectionError("closed with no answer")
        received += more
    connection.sendall(manner.last)
    # Without what TLS keeps for it: nothing more is said.
    return socket.socket(fileno=connection.detach())


def is_there(connection):
    """Whether the other side has not ended it; what it has sent meanwhile is passed over."""
    connection.setblocking(False)
    try:
        while connection.recv(1 << 14):
            continue
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
