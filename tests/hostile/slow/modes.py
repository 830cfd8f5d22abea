"""The ways in which a client can be slow."""

import enum
import os
from dataclasses import dataclass

HOST = b"Host: site.test\r\n"
POST = b"POST /slow HTTP/1.1\r\n" + HOST
#: The beginning of a handshake that goes on byte by byte.
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(8)


class Reads(enum.Enum):
    """What a client takes of what it is sent, each second."""

    ALL = enum.auto()
    ONE_BYTE = enum.auto()
    NOTHING = enum.auto()


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
    group: str = "slow"
    note: str = ""


def _get(path):
    return b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n"


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
]
