"""One slow client, which waits for nothing, or for no time that would matter."""

import time

from h2abuse.client import Client
from support.client import NOT_NOW
from support.responses import STATUS_LINE

from .modes import STREAM, Reads

#: Bytes of a system's buffer that has little room.
LITTLE_ROOM = 2048
#: Seconds until there is a connection.
CONNECTING = 5.0


def open_client(address, mode):
    """One in some mode. Raises OSError if there is none."""
    kind = StalledClient if mode.reads is Reads.FIRST_WINDOW else SlowClient
    return kind(address, mode)


class _Held:
    """What has a `_connection` to `close`, and how long the program left it that."""

    def __init__(self, connection):
        self._connection = connection
        self._began, self._ended = time.monotonic(), None

    @property
    def is_closed(self):
        return self._ended is not None

    @property
    def seconds(self):
        """How long it was let alone, once it is closed."""
        return self._ended - self._began

    def end(self):
        """Takes note of the end."""
        if not self.is_closed:
            self._ended = time.monotonic()
            self._connection.close()


class SlowClient(_Held):
    """A connection that sends and reads bytes, whatever they say."""

    def __init__(self, address, mode):
        room = LITTLE_ROOM if mode.has_little_room else None
        if mode.shakes_hands:
            connection = address.open(CONNECTING, mode.protocol, room)
        else:
            connection = address.open_tcp(CONNECTING, room)
        super().__init__(connection)
        self._mode, self._beginning = mode, b""
        connection.setblocking(False)
        self.port = connection.getsockname()[1]
        self._send(mode.first)

    @property
    def status(self):
        """That of the answer, or an empty text."""
        matched = STATUS_LINE.match(self._beginning)
        return matched[1].decode() if matched else ""

    def spend_a_second(self):
        """Does what is to be done every second."""
        self._send(self._mode.each_second)
        if self._mode.reads is Reads.ALL:
            self._read(1 << 16)
        elif self._mode.reads is Reads.ONE_BYTE:
            self._read(1)

    def _send(self, raw):
        if raw and not self.is_closed:
            try:
                self._connection.send(raw)
            except NOT_NOW:
                pass
            except OSError:
                self.end()

    def _read(self, most):
        if self.is_closed:
            return
        try:
            received = self._connection.recv(most)
        except NOT_NOW:
            return
        except OSError:
            received = b""
        if not received:
            self.end()
        elif len(self._beginning) < 16:
            self._beginning += received[:16]


class StalledClient(_Held):
    """A client of HTTP/2 that takes all that comes and answers pings, but opens no window for more.

    The end of its stream is the end of what it holds.
    """

    def __init__(self, address, mode):
        super().__init__(Client(address, waits=False))
        self._connection.send(mode.first)

    @property
    def status(self):
        """That of the answer, or an empty text."""
        return str(self._connection.statuses.get(STREAM, ""))

    def spend_a_second(self):
        """Takes what has come."""
        if self.is_closed:
            return
        self._connection.read_for(0)
        if self._connection.is_closed or STREAM in self._connection.ended:
            self.end()
