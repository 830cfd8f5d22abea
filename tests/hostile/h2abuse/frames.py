"""Frames of HTTP/2 and blocks of HPACK, byte by byte, whether they may be so or not (RFC 9113, RFC 7541)."""

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY = range(8)
WINDOW_UPDATE, CONTINUATION = 8, 9
ACK, END_STREAM, END_HEADERS, PADDED, WITH_PRIORITY = 1, 1, 4, 8, 32
WHOLE = END_HEADERS | END_STREAM
#: Settings.
ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 2, 3, 4, 5
CANCEL = 8
LARGEST_WINDOW = 0x7FFFFFFF

AUTHORITY = b"site.test"
#: The newest field of the dynamic table, in one byte.
NEWEST = b"\xbe"


def frame(kind, flags=0, stream=0, payload=b""):
    """One frame."""
    return frame_head(len(payload), kind, flags, stream) + payload


def frame_head(length, kind, flags=0, stream=0):
    """The beginning of a frame, which says how long the rest is."""
    return struct.pack(">I", length)[1:] + bytes([kind, flags]) + struct.pack(">I", stream)


def number(value):
    """Four bytes of a payload."""
    return struct.pack(">I", value)


def setting(name, value):
    """A setting in a payload."""
    return struct.pack(">HI", name, value)


def priority(depends_on, weight=15):
    """A priority in a payload."""
    return struct.pack(">IB", depends_on, weight)


def reset(stream, error=CANCEL):
    """RST_STREAM."""
    return frame(RST_STREAM, 0, stream, number(error))


def window_update(stream, increment):
    """WINDOW_UPDATE."""
    return frame(WINDOW_UPDATE, 0, stream, number(increment))


def prefixed(value, bits):
    """An integer behind some bits that are nought (RFC 7541 s5.1)."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([value])
    out, value = bytes([most]), value - most
    while value >= 128:
        out += bytes([value % 128 + 128])
        value //= 128
    return out + bytes([value])


def text(value):
    """A string that is not coded."""
    return prefixed(len(value), 7) + value


def literal(name, value):
    """A field that goes into no table."""
    return b"\x00" + text(name) + text(value)


def indexed_literal(name, value):
    """A field that goes into the dynamic table, where it is the `NEWEST`."""
    return b"\x40" + text(name) + text(value)


def fields(*pairs):
    """A block of fields, in their order and as they are."""
    return b"".join(literal(name, value) for name, value in pairs)


def get(path=b"/h2"):
    """The block of a valid GET, in few bytes and without the dynamic table."""
    return b"\x82\x87\x04" + text(path) + b"\x01" + text(AUTHORITY)


def post(path=b"/h2"):
    """As `get`, but for POST."""
    return b"\x83" + get(path)[1:]


def headers(stream, block, flags=WHOLE):
    """HEADERS."""
    return frame(HEADERS, flags, stream, block)


def split_headers(block, stream=1):
    """HEADERS and as many CONTINUATION as a long block needs."""
    size = 16_000
    first, *rest = [block[start : start + size] for start in range(0, len(block), size)]
    out = headers(stream, first, END_STREAM if rest else WHOLE)
    for place, part in enumerate(rest, 1):
        out += frame(CONTINUATION, END_HEADERS if place == len(rest) else 0, stream, part)
    return out
