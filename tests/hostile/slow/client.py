"""One slow client, which never waits for anything."""

import time

from support.client import NOT_NOW
from support.responses import STATUS_LINE

from .modes import Reads

#: Bytes of a system's buffer that has little room.
LITTLE_ROOM = 2048


class SlowClient:
    """A connection in some mode. Raises OSError if there is none."""

    def __init__(self, address, mode):
        connect = address.open if mode.shakes_hands else address.open_tcp
        room = LITTLE_ROOM if mode.has_little_room else None
        self._mode, self._beginning = mode, b""
        self._connection = connect(timeout=5, receive_buffer=room)
        self._connection.setblocking(False)
        self._began, self._ended = time.monotonic(), None
        self.port = self._connection.getsockname()[1]
        self._send(mode.first)

    @property
    def is_closed(self):
        return self._ended is not None

    @property
    def seconds(self):
        """How long it was let alone, once it is closed."""
        return self._ended - self._began

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

    def end(self):
        """Takes note of the end."""
        if not self.is_closed:
            self._ended = time.monotonic()
            self._connection.close()

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
