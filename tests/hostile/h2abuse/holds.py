"""Clients that ask for much and take nothing, or that never get to the point."""

import time

from .case import Flood, Result
from .client import Client
from .frames import (
    INITIAL_WINDOW_SIZE,
    LARGEST_WINDOW,
    PREFACE,
    get,
    headers,
    window_update,
)
from .pouring import poured, stream

LARGE = get(b"/big-1048576")
#: Seconds after which no stream is to be held any more whose client does not read.
LONGEST_HOLD = 30
#: The window of a connection at its beginning.
FIRST_WINDOW = 65535


def _ask_for_much(client):
    for place in range(100):
        client.send(headers(stream(place), LARGE))


def zero_window_hold(stage):
    """500 streams ask for 1 MiB each and never open their windows."""
    seconds = 4 if stage.is_short else LONGEST_HOLD + 5
    clients = [Client(stage.encrypted, settings=[(INITIAL_WINDOW_SIZE, 0)]) for _ in range(5)]
    for client in clients:
        _ask_for_much(client)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for client in clients:
            client.read_for(0.1)
    held = sum(100 - len(client.ended) for client in clients if not client.is_over())
    complaint = "streams are not reset" if held and seconds > LONGEST_HOLD else ""
    note = f"5 connections of 100 streams for {seconds} s, {clients[0].fate()}, {held} still held"
    return Result(note, tuple(clients), complaint)


def one_byte_window_drip(stage):
    client = Client(stage.encrypted, settings=[(INITIAL_WINDOW_SIZE, 1)])
    _ask_for_much(client)
    return poured(client, 20_000, lambda place: window_update(stream(place % 100), 1), 100, seconds=5.0)


def tcp_unread_large_window(stage):
    """A window without end, while nothing is read from the connection (CVE-2019-9517)."""
    options = {
        "settings": [(INITIAL_WINDOW_SIZE, LARGEST_WINDOW)],
        "window": LARGEST_WINDOW - FIRST_WINDOW,
        "receive_buffer": 4096,
        "waits": False,
    }
    clients = [Client(stage.encrypted, **options) for _ in range(5)]
    for client in clients:
        _ask_for_much(client)
    time.sleep(5)
    return Result(f"500 responses of 1 MiB asked for and not read, {clients[0].fate()}", tuple(clients))


def half_open_preface(stage):
    connections = []
    for _ in range(200):
        connection = stage.encrypted.open(timeout=2, protocol="h2")
        connection.sendall(PREFACE[:10])
        connections.append(connection)
    time.sleep(3)
    for connection in connections:
        connection.close()
    return Result("200 connections with half a preface for 3 s")


HOLDS = [
    Flood.of(zero_window_hold),
    Flood.of(one_byte_window_drip),
    Flood.of(tcp_unread_large_window),
    Flood.of(half_open_preface),
]
