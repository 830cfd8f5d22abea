"""The syntax of chunked content: sizes, extensions, ends of lines, trailers (RFC 9112 s7.1)."""

from .case import CHUNKED, HIDDEN, LAST_CHUNK, Case, Want, chunk, request

GROUP = "chunk"

#: Sizes before five bytes that are no size.
SIZES = {
    "0x": b"0x5",
    "plus": b"+5",
    "minus": b"-5",
    "underscore": b"0_5",
    "lead-space": b" 5",
    "lead-tab": b"\t5",
    "suffix": b"5zz",
    "empty": b"",
    "17-digits": b"10000000000000005",
    "ffff": b"ffffffffffffffff",
    "7fff": b"7fffffffffffffff",
    "cr": b"5\r",
    "nul": b"5\x00",
    "x85": b"5\x85",
    "dot": b"5.0",
    "cr-cr-ext": b"5\r\r;a",
    "vt": b"\x0b5",
    "quote": b'"5"',
}

#: Trailers that must not rule anything (RFC 9110 s6.5.1).
MISPLACED_TRAILERS = {
    "cl": b"Content-Length: 9",
    "te": b"Transfer-Encoding: chunked",
    "host": b"Host: evil.test",
    "authorization": b"Authorization: Basic x",
    "xff": b"X-Forwarded-For: 9.9.9.9",
}

#: Trailers that are no fields, or too much.
MALFORMED_TRAILERS = {
    "bad-name": b"X Y: z",
    "no-colon": b"nonsense",
    "fold": b"X: y\r\n z",
    "lf": b"X: y\nZ: w",
    "nul": b"X: \x00",
    "cr": b"X: a\rb",
    "128k": b"X: " + b"y" * 131072,
}

MANY_EXTENSIONS = (b"1;a=" + b"x" * 4000 + b"\r\nz\r\n") * 60


def _chunked(name, content, want=Want.REJECT, **more):
    return Case(f"chunk-{name}", GROUP, request(CHUNKED, content), want, **more)


def _hello(name, line, want=Want.REJECT, **more):
    """Five bytes after a line that says so in its way."""
    return _chunked(name, line + b"\r\nhello\r\n0\r\n\r\n", want, **more)


def _trailer(name, line, want=Want.REJECT):
    return _chunked(f"trailer-{name}", b"5\r\nhello\r\n0\r\n" + line + b"\r\n\r\n", want)


CASES = [
    *(_hello(f"size-{name}", size) for name, size in SIZES.items()),
    _hello("size-trail-space", b"5 ", Want.SAFE),
    _hello("size-leading-zeros", b"00000005", Want.SAFE),
    _hello("size-many-zeros", b"0" * 300 + b"5", Want.SAFE),
    _chunked("size-upper", b"A\r\n0123456789\r\n0\r\n\r\n", Want.ACCEPT),
    _hello("ext-valid", b"5;a=b", Want.ACCEPT),
    _hello("ext-quoted", b'5;a="b;c"', Want.SAFE),
    _hello("ext-bare", b"5;", Want.SAFE),
    _chunked("ext-lf", b"5;a\nhello\r\n0\r\n\r\n", note="TERM.EXT, CVE-2025-55315"),
    _chunked("ext-lf-smuggle", b"2;\nxx\r\n" + chunk(LAST_CHUNK + HIDDEN) + LAST_CHUNK),
    _hello("ext-cr", b"5;a\rb"),
    _hello("ext-nul", b"5;a\x00"),
    _chunked("ext-quoted-crlf", b'5;a="\r\nhello\r\n0\r\n\r\n"\r\n', Want.SAFE),
    _hello("ext-64k", b"5;a=" + b"x" * 65536),
    _chunked("ext-flood", MANY_EXTENSIONS + LAST_CHUNK, Want.SAFE),
    _chunked("line-lf", b"5\nhello\r\n0\r\n\r\n"),
    _chunked("data-end-lf", b"5\r\nhello\n0\r\n\r\n"),
    _chunked("data-end-missing", b"5\r\nhello0\r\n\r\n"),
    _chunked("data-end-xx", b"5\r\nhelloXX0\r\n\r\n"),
    _chunked("data-long", b"3\r\nhello\r\n0\r\n\r\n"),
    _chunked("last-lf-lf", b"5\r\nhello\r\n0\n\n"),
    _chunked("last-zeros", b"5\r\nhello\r\n00000\r\n\r\n", Want.ACCEPT),
    _chunked("last-xx", b"0\r\nXX" + HIDDEN, Want.SAFE),
    _chunked("last-name-line", b"0\r\nX:" + HIDDEN, Want.SAFE),
    _chunked("last-no-crlf-close", b"5\r\nhello\r\n0\r\n", Want.SAFE, leaves=True),
    _chunked("truncated-close", b"ff\r\nhello", Want.SAFE, leaves=True),
    _chunked("extra-crlf", b"5\r\nhello\r\n\r\n0\r\n\r\n"),
    _chunked("invalid-then-request", b"INVALID!!!\r\n" + HIDDEN),
    _chunked("zz-body", b"Z\r\nZZ\r\nZZZ\r\n\r\n"),
    _chunked("many-1byte", chunk(b"z") * 2000 + LAST_CHUNK, Want.ACCEPT),
    _trailer("valid", b"X-Sum: abc", Want.ACCEPT),
    *(_trailer(name, line, Want.SAFE) for name, line in MISPLACED_TRAILERS.items()),
    *(_trailer(name, line) for name, line in MALFORMED_TRAILERS.items()),
]
