"""Many clients that ask for the same at the same time."""

import selectors
import time
from collections import Counter

from support.client import HOST, NOT_NOW
from support.responses import read_responses

from .script import CONTENT

#: Seconds until each must have its answer.
LONGEST = 20.0
#: The first one is a little ahead of the others, so that it is the one for whom the origin server is asked.
AHEAD = 0.1


class Crowd:
    """Asks once; `results` counts statuses, and what was no whole answer."""

    def __init__(self, address, path, count, first_leaves=False):
        self.results, self.seconds = Counter(), 0.0
        self._received, self._selector = {}, selectors.DefaultSelector()
        connections = self._open(address, count)
        self._began = time.monotonic()
        self._ask(connections, path, first_leaves)
        self._read(connections[1:] if first_leaves else connections)

    def __str__(self):
        return f"{dict(self.results)} in {self.seconds:.1f} s"

    def _open(self, address, count):
        connections = []
        for _ in range(count):
            try:
                connections.append(address.open(timeout=LONGEST))
            except OSError:
                self.results["connect"] += 1
        return connections

    def _ask(self, connections, path, first_leaves):
        request = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()
        for connection in connections:
            try:
                connection.sendall(request)
            except OSError:
                # What it reads will tell.
                continue
            if connection is connections[0]:
                time.sleep(AHEAD)
                if first_leaves:
                    connection.close()

    def _read(self, connections):
        for connection in connections:
            connection.setblocking(False)
            self._received[connection] = b""
            self._selector.register(connection, selectors.EVENT_READ)
        while self._received and time.monotonic() - self._began < LONGEST:
            for key, _ in self._selector.select(0.5):
                self._read_from(key.fileobj)
        self.results["timeout"] += len(self._received)
        for connection in self._received:
            connection.close()
        self._selector.close()
        self.results = +self.results

    def _read_from(self, connection):
        try:
            received = connection.recv(1 << 16)
        except NOT_NOW:
            return
        except OSError:
            received = b""
        self._received[connection] += received
        responses = read_responses(self._received[connection], ("GET",), is_closed=not received)
        is_whole = bool(responses) and responses[0].is_complete
        if received and not is_whole:
            return
        self._selector.unregister(connection)
        connection.close()
        del self._received[connection]
        is_right = is_whole and (responses[0].status != 200 or responses[0].content == CONTENT)
        self.results[responses[0].status if is_right else "cut"] += 1
        self.seconds = time.monotonic() - self._began
