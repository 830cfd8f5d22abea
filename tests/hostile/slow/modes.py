"""The ways in which a client can be slow."""

import enum
import os
from dataclasses import dataclass

from h2abuse.frames import (
    INITIAL_WINDOW_SIZE,
    LARGEST_WINDOW,
    PREFACE,
    SETTINGS,
    frame,
    get,
    headers,
    setting,
    window_update,
)
from h2abuse.holds import FIRST_WINDOW

HOST = b"Host: site.test\r\n"
POST = b"POST /slow HTTP/1.1\r\n" + HOST
#: The beginning of a handshake that goes on byte by byte.
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(8)
#: The stream of HTTP/2 on which everything is asked for, and what opens all windows as far as they go.
STREAM = 1
LARGEST_WINDOWS = (
    PREFACE
    + frame(SETTINGS, payload=setting(INITIAL_WINDOW_SIZE, LARGEST_WINDOW))
    + window_update(0, LARGEST_WINDOW - FIRST_WINDOW)
)


class Reads(enum.Enum):
    """What a client takes of what it is sent, each second."""

    ALL = enum.auto()
    ONE_BYTE = enum.auto()
    NOTHING = enum.auto()
    #: What the windows of HTTP/2 have room for at first: it makes no more.
    FIRST_WINDOW = enum.auto()


@dataclass(frozen=True)
class Mode:
    """What each client sends at first and every second from then on."""

    name: str
    first: bytes = b""
    each_second: bytes = b""
    reads: Reads = Reads.ALL
    #: With less in its system there is room for than a response has.
    has_little_room: bool = False
    shakes_hands: bool = True
    protocol: str = "http/1.1"
    #: Of a short run, where another mode shows nearly the same.
    is_left_out: bool = False
    group: str = "slow"
    note: str = ""


def _get(path):
    return b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n"


def _unread(name, path, **more):
    """One that asks by HTTP/2 for all at once, and hardly reads any of it."""
    first = LARGEST_WINDOWS + headers(STREAM, get(path))
    return Mode(name, first, has_little_room=True, protocol="h2", **more)


def _stalled(name, path, **more):
    """One that asks by HTTP/2 for no more than its windows have room for at first."""
    return Mode(name, headers(STREAM, get(path)), reads=Reads.FIRST_WINDOW, protocol="h2", **more)


#: What trickles keeps every limit of a single read from passing: only one of the whole, or a rate, ends it.
MODES = [
    Mode("connect-silent", note="a handshake, then nothing"),
    Mode("tls-silent", shakes_hands=False),
    Mode("tls-partial", HELLO, b"\x00", shakes_hands=False),
    Mode("request-line", b"GET /slow", b"a"),
    Mode("headers", b"GET /slow HTTP/1.1\r\n" + HOST, b"X-Slow: a\r\n"),
    Mode("headers-silent", b"GET /slow HTTP/1.1\r\n" + HOST + b"X-A: b\r\n"),
    Mode("body", POST + b"Content-Length: 1000000\r\n\r\n", b"x"),
    Mode("body-silent", POST + b"Content-Length: 1000000\r\n\r\nx"),
    Mode("chunked", POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    Mode("read", _get(b"/large"), reads=Reads.ONE_BYTE, has_little_room=True),
    Mode("read-silent", _get(b"/large"), reads=Reads.NOTHING, has_little_room=True),
    Mode("read-cached", _get(b"/stored"), reads=Reads.ONE_BYTE, has_little_room=True),
    Mode("keepalive", _get(b"/tiny"), note="a request, then nothing"),
    Mode("pipeline-unread", _get(b"/medium") * 100, reads=Reads.NOTHING, has_little_room=True),
    _unread("h2-read", b"/large", reads=Reads.ONE_BYTE, is_left_out=True),
    _unread("h2-read-silent", b"/large", reads=Reads.NOTHING),
    _unread("h2-read-cached", b"/stored", reads=Reads.ONE_BYTE, is_left_out=True),
    _unread("h2-read-cached-silent", b"/stored", reads=Reads.NOTHING),
    _stalled("h2-stalled", b"/large"),
    _stalled("h2-stalled-cached", b"/stored", is_left_out=True),
]
