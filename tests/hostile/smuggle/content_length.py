"""Ways to write Content-Length, and content where none is looked for (RFC 9110 s8.6)."""

from .case import HIDDEN, Case, Want, length, request

GROUP = "cl"

#: Values that are no number of bytes.
VALUES = {
    "plus": b"+5",
    "minus": b"-5",
    "hex": b"0x5",
    "space": b"5 5",
    "suffix": b"5abc",
    "underscore": b"0_5",
    "dot": b"5.0",
    "exp": b"5e0",
    "semicolon": b"5;",
    "quoted": b'"5"',
    "vt": b"\x0b5",
    "nul": b"5\x00",
    "x85": b"\x855",
    "arabic": "\u0665".encode(),
    "two-differ": b"5, 6",
    "comma": b"5,",
    "huge-20": b"99999999999999999999",
    "2e64+5": b"18446744073709551621",
    "2e63": b"9223372036854775808",
    "2e32+5": b"4294967301x",
    "empty": b"",
    "comma-only": b",",
}


def _hello(name, fields, want=Want.REJECT, **more):
    return Case(f"cl-{name}", GROUP, request(fields, b"hello"), want, **more)


def _holding(name, fields, want=Want.REJECT, **more):
    return Case(f"cl-{name}", GROUP, request(fields, HIDDEN), want, **more)


def _unusual(name, method):
    payload = request(length(HIDDEN), HIDDEN, method)
    return Case(f"cl-{name}", GROUP, payload, Want.SAFE, (method.decode(),))


CASES = [
    *(_hello(name, b"Content-Length: " + value + b"\r\n") for name, value in VALUES.items()),
    _holding("empty-then-valid", b"Content-Length:\r\n" + length(HIDDEN)),
    _hello("two-same-list", b"Content-Length: 5, 5\r\n", Want.SAFE),
    _hello("dup-same", b"Content-Length: 5\r\nContent-Length: 5\r\n", Want.SAFE),
    _holding("dup-differ-small-first", b"Content-Length: 0\r\n" + length(HIDDEN)),
    _holding("dup-differ-big-first", length(HIDDEN) + b"Content-Length: 0\r\n"),
    _hello("leading-zero", b"Content-Length: 0000000005\r\n", Want.SAFE),
    Case("cl-octal-look", GROUP, request(b"Content-Length: 010\r\n", b"0123456789"), Want.SAFE),
    _hello("space-colon", b"Content-Length : 5\r\n"),
    _hello("fold", b"Content-Length:\r\n 5\r\n"),
    _hello("x85-name", b"Content-Length\x85: 5\r\n"),
    _hello("no-colon", b"Content-Length 5\r\n"),
    Case(
        "cl-underscored-name",
        GROUP,
        request(b"Content_Length: %d\r\nContent-Length: 0\r\n" % len(HIDDEN)),
        Want.SAFE,
    ),
    _unusual("get-body", b"GET"),
    _unusual("head-body", b"HEAD"),
    _unusual("delete-body", b"DELETE"),
    Case("cl-http10", GROUP, request(b"Content-Length: 5\r\n", b"hello", version=b"1.0"), Want.ACCEPT),
    _hello("valid", b"Content-Length: 5\r\n", Want.ACCEPT),
    _hello("short-then-close", b"Content-Length: 500\r\n", Want.SAFE, leaves=True),
    _holding("none-post-inner", b"", Want.SAFE, answers=2, methods=("POST", "GET")),
]
