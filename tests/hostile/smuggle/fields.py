"""The field section: names, values, ends of lines, sizes, fields of one hop, Expect (RFC 9112 s5)."""

from .case import HIDDEN, HOST, IDENTITY, Case, Want, length, request

GROUP = "header"

#: Lines after Host that are no fields, or too much.
MALFORMED = {
    "name-space": b"Foo Bar: x\r\n",
    "name-empty": b": x\r\n",
    "name-none-none": b":\r\nI: am-chopped\r\n",
    "no-colon": b"nonsense\r\n",
    "nul-value": b"X: a\x00b\r\n",
    "cr-value": b"X: a\rb\r\n",
    "cr-header": b"X: a\rSmuggled: yes\r\n",
    "ctl-value": b"X: a\x01b\r\n",
    "del-value": b"X: a\x7fb\r\n",
    "vt-value": b"X: a\x0bb\r\n",
    "name-paren": b"(foo): x\r\n",
    "name-xef": b"\xeffoo: x\r\n",
    "name-nul": b"fo\x00o: x\r\n",
    "name-tab": b"foo\t: x\r\n",
    "name-ctl": b"\x01foo: x\r\n",
    "fold": b"X: a\r\n b\r\n",
    "fold-tab": b"X: a\r\n\tb\r\n",
    "crcrlf": b"X: a\r\r\n",
    "cr-end": b"X: a\r\n\rZGET /smuggled-" + IDENTITY + b" HTTP/1.1\r\n" + HOST,
    "value-64k": b"X: " + b"a" * 65536 + b"\r\n",
    "name-32k": b"X" * 32768 + b": a\r\n",
}

#: Lines after Host that can be repaired, or need not be.
REPAIRABLE = {
    "lf-value": b"X: a\nSmuggled: yes\r\n",
    "obs-text": b"X: caf\xc3\xa9\r\n",
    "lf-only-line": b"X: a\n",
    "end-lf-crlf": b"X: a\r\n\n",
    "hop-custom": b"Connection: close, X-Private\r\nX-Private: 1\r\n",
    "hop-keepalive": b"Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n",
    "hop-te-gzip": b"TE: gzip\r\nConnection: TE\r\n",
    "hop-host": b"Connection: Host\r\n",
    "hop-xff": b"Connection: X-Forwarded-For, X-Real-IP\r\n",
    "hop-cookie": b"Connection: Cookie\r\nCookie: a=b\r\n",
    "h2c-upgrade": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
    "expect-unknown": b"Expect: 200-ok\r\n",
    "expect-get": b"Expect: 100-continue\r\n",
    "max-forwards": b"Max-Forwards: 0\r\n",
    "range-1000": b"Range: bytes=" + b",".join(b"%d-%d" % (n, n) for n in range(1000)) + b"\r\n",
}

#: What took the processors of others for long. They come last: who chokes on them spoils what follows.
HEAVY = {
    "count-5000": b"".join(b"X%d: a\r\n" % n for n in range(5000)),
    "total-1m": b"".join(b"X%d: %s\r\n" % (n, b"a" * 1000) for n in range(1000)),
}

EXPECT = b"Expect: 100-continue\r\n"


def _fields(name, fields, want=Want.REJECT, note=""):
    return Case(f"header-{name}", GROUP, request(fields, method=b"GET"), want, ("GET",), note=note)


CASES = [
    *(_fields(name, fields) for name, fields in MALFORMED.items()),
    *(_fields(name, fields, Want.SAFE) for name, fields in REPAIRABLE.items()),
    Case(
        "header-first-lead-ws",
        GROUP,
        b"GET /c-" + IDENTITY + b" HTTP/1.1\r\n Foo: bar\r\n" + HOST + b"\r\n",
        methods=("GET",),
    ),
    _fields(
        "alias-xff",
        b"X_Forwarded_For: 9.9.9.9\r\nX_Forwarded_Proto: https\r\n",
        Want.SAFE,
        "names with underscores that some take for hyphens",
    ),
    Case("expect-100", GROUP, request(EXPECT + b"Content-Length: 5\r\n"), Want.ACCEPT, then=b"hello"),
    Case(
        "expect-obfuscated",
        GROUP,
        request(b"Expect: y 100-continue\r\nContent-Length: 5\r\n", b"hello"),
        Want.SAFE,
    ),
    Case("expect-fold", GROUP, request(b"Expect:\r\n 100-continue\r\nContent-Length: 5\r\n", b"hello")),
    Case(
        "expect-inner-eager",
        GROUP,
        request(EXPECT + length(HIDDEN), HIDDEN),
        Want.SAFE,
        note="content that does not wait for the answer",
    ),
    Case(
        "expect-then-inner",
        GROUP,
        request(EXPECT + b"Content-Length: 5\r\n"),
        Want.SAFE,
        then=HIDDEN,
        answers=2,
        methods=("POST", "GET"),
    ),
]

HEAVY_CASES = [_fields(name, fields) for name, fields in HEAVY.items()]
