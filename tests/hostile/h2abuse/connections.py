"""Frames that HTTP/2 forbids in a connection or in a stream (RFC 9113 s4 to s6)."""

from .case import Message, Want
from .frames import (
    ACK,
    CONTINUATION,
    DATA,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    LARGEST_WINDOW,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    PADDED,
    PING,
    PUSH_PROMISE,
    SETTINGS,
    WHOLE,
    WITH_PRIORITY,
    frame,
    headers,
    number,
    priority,
    reset,
    setting,
    window_update,
)
from .messages import block

BLOCK = block()
GET = headers(1, BLOCK)
PING_FRAME = frame(PING, 0, 0, b"12345678")


def _frames(name, raw, want=Want.REJECT):
    return Message(f"conn-{name}", raw, want)


def _settings(name, payload, flags=0, stream=0):
    return _frames(f"settings-{name}", frame(SETTINGS, flags, stream, payload))


STREAMS = [
    _frames("even-stream", headers(2, BLOCK)),
    _frames("stream-zero-headers", headers(0, BLOCK)),
    _frames("stream-backwards", headers(5, BLOCK) + headers(3, BLOCK), Want.GOAWAY),
    _frames("stream-reuse", GET + GET, Want.GOAWAY),
    _frames("data-on-idle", frame(DATA, END_STREAM, 7, b"x")),
    _frames("data-stream-zero", frame(DATA, 0, 0, b"x")),
    _frames("rst-idle", reset(9)),
]

WINDOWS = [
    _frames("window-idle", window_update(9, 8)),
    _frames("window-overflow", window_update(0, LARGEST_WINDOW) * 2),
    _frames("window-zero", window_update(0, 0)),
    _frames(
        "window-after-settings-negative",
        GET
        + frame(SETTINGS, payload=setting(INITIAL_WINDOW_SIZE, LARGEST_WINDOW))
        + window_update(1, LARGEST_WINDOW),
        Want.ANSWER,
    ),
]

CONTROL = [
    _settings("len-5", b"12345"),
    _settings("ack-payload", setting(MAX_CONCURRENT_STREAMS, 1), ACK),
    _settings("stream-1", b"", stream=1),
    _settings("push-2", setting(ENABLE_PUSH, 2)),
    _settings("window-big", setting(INITIAL_WINDOW_SIZE, LARGEST_WINDOW + 1)),
    _settings("frame-small", setting(MAX_FRAME_SIZE, 100)),
    _frames("ping-len-7", frame(PING, 0, 0, b"1234567")),
    _frames("ping-stream-1", frame(PING, 0, 1, b"12345678")),
    _frames("goaway-stream-1", frame(GOAWAY, 0, 1, bytes(8))),
    _frames("push-promise", frame(PUSH_PROMISE, END_HEADERS, 1, number(2) + BLOCK)),
]

BLOCKS = [
    _frames("frame-too-big", frame(DATA, 0, 1, b"x" * 20000)),
    _frames("bad-padding", headers(1, b"\xff" + BLOCK, WHOLE | PADDED)),
    _frames("continuation-alone", frame(CONTINUATION, END_HEADERS, 1, BLOCK)),
    _frames("frame-inside-headers", frame(HEADERS, END_STREAM, 1, BLOCK) + PING_FRAME),
    _frames(
        "continuation-other-stream",
        frame(HEADERS, END_STREAM, 1, BLOCK) + frame(CONTINUATION, END_HEADERS, 3),
    ),
    _frames("hpack-bad-index", headers(1, b"\xff\xff\xff\x7f")),
    _frames("hpack-index-zero", headers(1, b"\x80")),
    _frames("hpack-table-too-big", headers(1, b"\x3f\xff\xff\xff\x7f" + BLOCK)),
    _frames("hpack-truncated", headers(1, b"\x00\x05ab")),
    _frames("huffman-eos", headers(1, BLOCK + b"\x00\x01x\x84\xff\xff\xff\xff")),
    _frames(
        "headers-self-dependency", headers(1, priority(1, 0) + BLOCK, WHOLE | WITH_PRIORITY), Want.ANSWER
    ),
]

MESSAGES = STREAMS + WINDOWS + CONTROL + BLOCKS
