"""What a request leaves in a connection for the next one: upgrades, stored and early answers, pipelines."""

from .case import (
    CHUNKED,
    HIDDEN,
    HOST,
    IDENTITY,
    LAST_CHUNK,
    Case,
    Want,
    chunk,
    length,
    request,
)

GROUP = "state"

#: No proxy forwards this once it has parsed it.
MALFORMED = b"GET /smuggled-" + IDENTITY + b" HTTP/1.1\r\nHost : raw\r\nX: a\x00b\r\n\r\n"
WEBSOCKET = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
WRONG_WEBSOCKET = WEBSOCKET.replace(b"13", b"9999", 1)

GET = request(method=b"GET")
SECOND = b"GET /c-" + IDENTITY + b"-b HTTP/1.1\r\n" + HOST + b"\r\n"
SECOND_POST = b"POST /c-" + IDENTITY + b"-b HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc"


def _state(name, payload, want=Want.SAFE, methods=("GET",), answers=1, **more):
    return Case(f"state-{name}", GROUP, payload, want, methods, answers, **more)


def _upgrade(name, fields, after, version=b"1.1", note=""):
    return _state(f"upgrade-{name}", request(fields, after, b"GET", version), note=note)


def _stored(name, fields, content, note=""):
    payload = request(fields, content, b"GET", path=b"/cache-")
    return _state(f"cache-hit-{name}", payload, is_stored=True, note=note)


CASES = [
    _upgrade("premature", WEBSOCKET, MALFORMED, note="CVE-2026-2833"),
    _upgrade("bad-version", WRONG_WEBSOCKET, MALFORMED),
    _upgrade("foo", b"Connection: Upgrade\r\nUpgrade: foo\r\n", MALFORMED),
    _upgrade("cl-body", WEBSOCKET + length(HIDDEN), HIDDEN, note="CVE-2026-58055"),
    _state(
        "upgrade-post-chunked", request(WEBSOCKET + CHUNKED, chunk(HIDDEN) + LAST_CHUNK), methods=("POST",)
    ),
    _upgrade("http10", WEBSOCKET, MALFORMED, b"1.0"),
    _stored("body", length(HIDDEN), HIDDEN, "CVE-2025-4366"),
    _stored("chunked", CHUNKED, chunk(HIDDEN) + LAST_CHUNK),
    _state("early-response", request(length(HIDDEN), path=b"/early-"), methods=("POST",), then=HIDDEN),
    _state("pipeline-2", GET + SECOND, Want.ACCEPT, ("GET", "GET"), 2),
    _state("pipeline-cl0", request(b"Content-Length: 0\r\n") + SECOND_POST, Want.ACCEPT, ("POST", "POST"), 2),
    _state("pipeline-after-bad", request(b"X : y\r\n", HIDDEN, b"GET"), Want.REJECT),
    _state("bad-after-good", GET + MALFORMED, methods=("GET", "GET"), answers=2),
    _state("after-close", request(b"Connection: close\r\n", HIDDEN, b"GET")),
    _state("http10-pipeline", request(b"", HIDDEN, b"GET", b"1.0")),
    _state("garbage-after", GET + b"\x16\x03\x01\x00\xff"),
    _state("head-then-get", request(method=b"HEAD") + SECOND, Want.ACCEPT, ("HEAD", "GET"), 2),
    _state("valid", GET, Want.ACCEPT),
]
