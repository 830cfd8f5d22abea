"""A client of HTTP/2 that sends whatever it is given, and keeps what the server makes of it."""

import ssl
import struct
import time

import hpack

from support.client import NOT_NOW

from .frames import (
    ACK,
    DATA,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WITH_PRIORITY,
    frame,
    setting,
    window_update,
)

#: Seconds that a send may be stuck before the server counts as closed.
STUCK = 3.0
#: Seconds in which the settings of the server are awaited.
GREETING = 2.0


class Client:
    """One connection, on which the server's settings are awaited first.

    Raises OSError if there is none, or none with HTTP/2.
    """

    def __init__(self, address, settings=(), window=0, receive_buffer=None, waits=True):
        self._socket = address.open(timeout=STUCK, protocol="h2", receive_buffer=receive_buffer)
        if self._socket.selected_alpn_protocol() != "h2":
            raise OSError("no HTTP/2 by ALPN")
        self._decoder, self._buffer = hpack.Decoder(), b""
        self._decoder.max_header_list_size = 1 << 20
        self.is_closed = False
        #: The error code of GOAWAY, once there is one.
        self.goaway = None
        #: Streams with the error code of their reset, and with their status.
        self.resets, self.statuses = {}, {}
        #: Streams on which nothing more can come.
        self.ended = set()
        #: Those of the server, and how many settings and pings it has acknowledged.
        self.settings, self.acknowledged, self._is_greeted = {}, 0, False
        self.send(PREFACE + frame(SETTINGS, payload=b"".join(setting(*pair) for pair in settings)))
        if window:
            self.send(window_update(0, window))
        deadline = time.monotonic() + GREETING
        while waits and not self._is_greeted and not self.is_closed and time.monotonic() < deadline:
            self.read_for(0.01)

    def send(self, raw):
        """Whether it went out."""
        if self.is_closed:
            return False
        try:
            self._socket.sendall(raw)
        except OSError:
            self.is_closed = True
        return not self.is_closed

    def become_impatient(self):
        """No send is stuck for more than a second any more."""
        self._socket.settimeout(1.0)

    def is_over(self):
        """Whether the server has ended the connection, or says that it will."""
        return self.is_closed or self.goaway is not None

    def read_for(self, seconds):
        """Takes in what comes in some seconds, and at least what is there already."""
        deadline = time.monotonic() + seconds
        while not self.is_closed:
            left = deadline - time.monotonic()
            self._socket.settimeout(max(left, 0.001))
            try:
                received = self._socket.recv(1 << 16)
            except NOT_NOW:
                if left <= 0:
                    break
                continue
            except (OSError, ssl.SSLError):
                received = b""
            self.is_closed = not received
            self._take_in(received)
            if left <= 0:
                break
        if not self.is_closed:
            self._socket.settimeout(STUCK)

    def close(self):
        """Leaves."""
        self._socket.close()

    def fate(self):
        """What has become of the connection."""
        if self.goaway is not None:
            return f"GOAWAY code {self.goaway}"
        return "closed" if self.is_closed else "open"

    def _take_in(self, received):
        self._buffer += received
        while len(self._buffer) >= 9:
            length = int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < 9 + length:
                return
            kind, flags = self._buffer[3], self._buffer[4]
            stream = int.from_bytes(self._buffer[5:9], "big") & 0x7FFFFFFF
            payload, self._buffer = self._buffer[9 : 9 + length], self._buffer[9 + length :]
            self._handle(kind, flags, stream, payload)

    def _handle(self, kind, flags, stream, payload):
        if kind in (SETTINGS, PING) and flags & ACK:
            self.acknowledged += 1
        elif kind == SETTINGS:
            self._is_greeted = True
            self.settings.update(struct.iter_unpack(">HI", payload))
            self.send(frame(SETTINGS, ACK))
        elif kind == PING:
            # Whoever holds on to a connection answers what asks whether it is alive.
            self.send(frame(PING, ACK, 0, payload))
        elif kind == GOAWAY:
            self.goaway = int.from_bytes(payload[4:8], "big")
        elif kind == RST_STREAM:
            self.resets[stream] = int.from_bytes(payload[:4], "big")
            self.ended.add(stream)
        elif kind == HEADERS:
            self._read_status(flags, stream, payload)
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            self.ended.add(stream)

    def _read_status(self, flags, stream, payload):
        if flags & PADDED:
            payload = payload[1 : len(payload) - payload[0]]
        if flags & WITH_PRIORITY:
            payload = payload[5:]
        try:
            decoded = dict(self._decoder.decode(payload))
        except hpack.HPACKError:
            return
        if ":status" in decoded:
            self.statuses.setdefault(stream, int(decoded[":status"]))
