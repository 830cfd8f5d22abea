"""Requests that HTTP/2 forbids, or that would be another thing as HTTP/1 (RFC 9113 s8.1 to s8.5)."""

from .case import Message, Want
from .frames import (
    AUTHORITY,
    DATA,
    END_HEADERS,
    END_STREAM,
    fields,
    frame,
    headers,
    split_headers,
)

#: A request of HTTP/1 that is hidden in content.
HIDDEN = b"GET /smuggled-h2 HTTP/1.1\r\nHost: x\r\n\r\n"

FIELDS_OF_A_CONNECTION = {
    "connection": b"close",
    "transfer-encoding": b"chunked",
    "keep-alive": b"1",
    "upgrade": b"websocket",
    "proxy-connection": b"close",
    "te": b"gzip",
}
VALUES = {
    "crlf": b"a\r\nx-smuggled: 1",
    "lf": b"a\nx: 1",
    "cr": b"a\rb",
    "nul": b"a\x00b",
}
#: Blanks around a value are forbidden as well, but with them away it can be read in one way only.
TRIMMABLE_VALUES = {
    "lead-space": b" a",
    "trail-space": b"a ",
    "lead-tab": b"\ta",
}
NAMES = {
    "crlf": b"x\r\ny",
    "colon": b"x:y",
    "space": b"x y",
    "empty": b"",
    "nul": b"x\x00",
    "high": b"x\xff",
    "lf": b"x\ny",
    "te-colon": b"transfer-encoding: chunked\r\nx",
}
PATHS = {
    "no-slash": b"evil",
    "empty": b"",
    "space": b"/a HTTP/1.1",
    "crlf": b"/a HTTP/1.1\r\nX: y\r\n\r\nGET /smuggled-h2",
    "nul": b"/a\x00",
    "absolute": b"http://127.0.0.1:9/x",
    "at": b"@evil.test/",
    "high": b"/\xff",
    "tab": b"/a\tb",
    "star-get": b"*",
}
METHODS = {
    "crlf": b"GET /smuggled-h2 HTTP/1.1\r\nX: y\r\n\r\nGET",
    "space": b"GET /x",
    "empty": b"",
    "lower": b"g et",
}
AUTHORITIES = {
    "userinfo": b"u@site.test",
    "crlf": b"site.test\r\nX: y",
    "space": b"site.test x",
    "path": b"site.test/x",
    "empty": b"",
    "nul": b"site.test\x00",
    "two": b"site.test,evil.test",
    "bad-port": b"site.test:abc",
}


def block(*more, method=b"GET", path=b"/h2p", scheme=b"https", authority=AUTHORITY, without=None):
    """The fields of a request, with others after them."""
    pseudo = [(b":method", method), (b":path", path), (b":scheme", scheme), (b":authority", authority)]
    return fields(*(pair for pair in pseudo if pair[0] != without), *more)


def _request(name, *more, content=None, want=Want.REJECT, note="", **pseudo):
    if content is None:
        return Message(name, headers(1, block(*more, **pseudo)), want, note)
    raw = headers(1, block(*more, method=b"POST"), END_HEADERS) + frame(DATA, END_STREAM, 1, content)
    return Message(name, raw, want, note)


def _trailer(name, trailer, want=Want.REJECT):
    begun = headers(1, block(method=b"POST"), END_HEADERS) + frame(DATA, 0, 1, b"x")
    return Message(f"trailer-{name}", begun + headers(1, fields(trailer)), want)


def _length(name, value, content=b"hello", **more):
    return _request(f"h2-cl-{name}", (b"content-length", value), content=content, **more)


VALID = [
    _request("valid-get", want=Want.ACCEPT),
    _request("valid-post", content=b"hello", want=Want.ACCEPT),
    _request("valid-te-trailers", (b"te", b"trailers"), want=Want.ACCEPT),
    _request("valid-cookie-crumbs", (b"cookie", b"a=1"), (b"cookie", b"b=2"), want=Want.ACCEPT),
]

PSEUDO_FIELDS = [
    *(_request(f"missing-{name}", without=b":" + name.encode()) for name in ("method", "path", "scheme")),
    _request("no-authority-no-host", without=b":authority"),
    _request("dup-path", (b":path", b"/evil")),
    _request("dup-method", (b":method", b"POST")),
    _request("unknown-pseudo", (b":foo", b"bar")),
    _request("status-in-request", (b":status", b"200")),
    Message("pseudo-after-regular", headers(1, fields((b"x-v", b"a")) + block())),
    *(_request(f"path-{name}", path=value) for name, value in PATHS.items()),
    # What follows the path is not sent on, and the rest can be read in one way only.
    _request("path-fragment", path=b"/a#b", want=Want.SAFE),
    *(_request(f"method-{name}", method=value) for name, value in METHODS.items()),
    *(_request(f"authority-{name}", authority=value) for name, value in AUTHORITIES.items()),
    _request("authority-host-differ", (b"host", b"evil.test")),
    _request("host-dup", (b"host", b"site.test"), (b"host", b"evil.test"), without=b":authority"),
    _request("scheme-crlf", scheme=b"http\r\nx: y"),
    _request("scheme-odd", scheme=b"ftp"),
    _request("scheme-url", scheme=b"http://evil.test/?"),
]

FIELDS = [
    _request("upper-case-name", (b"X-Upper", b"a")),
    *(_request(f"hop-{name}", (name.encode(), value)) for name, value in FIELDS_OF_A_CONNECTION.items()),
    *(_request(f"value-{name}", (b"x-v", value)) for name, value in VALUES.items()),
    *(_request(f"value-{name}", (b"x-v", value), want=Want.SAFE) for name, value in TRIMMABLE_VALUES.items()),
    *(_request(f"name-{name}", (value, b"v")) for name, value in NAMES.items()),
    _request("underscore-alias", (b"x_forwarded_for", b"9.9.9.9"), want=Want.ANSWER),
]

CONTENT = [
    _request("h2-te-smuggle", (b"transfer-encoding", b"chunked"), content=b"0\r\n\r\n" + HIDDEN),
    _length("short", b"0", HIDDEN),
    _length("long", b"500", HIDDEN),
    _request(
        "h2-cl-end-stream", (b"content-length", b"10"), method=b"POST", note="CVE-2026-33555 over HTTP/2"
    ),
    _request("h2-cl-dup-differ", (b"content-length", b"5"), (b"content-length", b"6"), content=b"hello"),
    _length("plus", b"+5"),
    _length("list", b"5, 5"),
    _request("expect-100", (b"expect", b"100-continue"), content=b"hello", want=Want.ANSWER),
    # The pseudo-field among the trailers is not sent on.
    _trailer("pseudo", (b":path", b"/evil"), Want.SAFE),
    Message(
        "trailer-no-end",
        headers(1, block(method=b"POST"), END_HEADERS)
        + frame(DATA, 0, 1, b"x")
        + headers(1, fields((b"x", b"y")), END_HEADERS)
        + frame(DATA, END_STREAM, 1),
    ),
    _trailer("cl", (b"content-length", b"9"), Want.ANSWER),
    _trailer("te", (b"transfer-encoding", b"chunked")),
]

CONNECT = [
    _request("connect-with-path", method=b"CONNECT"),
    Message(
        "connect-plain",
        headers(1, fields((b":method", b"CONNECT"), (b":authority", b"127.0.0.1:9")), END_HEADERS),
    ),
    Message(
        "connect-body",
        headers(1, fields((b":method", b"CONNECT"), (b":authority", AUTHORITY + b":80")), END_HEADERS)
        + frame(DATA, END_STREAM, 1, HIDDEN),
        note="Traefik and Caddy 2026",
    ),
    _request("extended-connect-unasked", (b":protocol", b"websocket"), method=b"CONNECT"),
]

MESSAGES = VALID + PSEUDO_FIELDS + FIELDS + CONTENT + CONNECT

#: More than a field section may have. They come last: who chokes on them spoils what follows.
OVERSIZED = [
    Message("limit-one-header-64k", split_headers(block((b"x", b"a" * 65536)))),
    Message("limit-2000-headers", split_headers(block(*((b"x%d" % n, b"y") for n in range(2000))))),
    Message("limit-1m-headers", split_headers(block(*((b"x%d" % n, b"y" * 1000) for n in range(1000))))),
]
