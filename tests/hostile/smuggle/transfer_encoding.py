"""Content-Length and Transfer-Encoding together, and every way to write the latter.

Who heeds the one and who heeds the other see different ends of the same message (RFC 9112 s6.3).
"""

from .case import CHUNKED, HIDDEN, LAST_CHUNK, Case, Want, chunk, length, request

GROUP = "cl-te"

#: By its length one content, by its chunks nothing, and a request after it.
HIDING = LAST_CHUNK + HIDDEN
#: By its chunks one content, in which a request stands.
HOLDING = chunk(HIDDEN) + LAST_CHUNK
HELLO = chunk(b"hello") + LAST_CHUNK

#: Values of Transfer-Encoding, beside a Content-Length.
CODINGS_WITH_LENGTH = {
    "identity-chunked": b"identity, chunked",
    "chunked-identity": b"chunked, identity",
    "chunked-chunked": b"chunked, chunked",
    "comma-chunked": b",chunked",
    "chunked-comma": b"chunked,",
    "xchunked": b"xchunked",
    "chunkedx": b"chunkedx",
    "param": b"chunked;q=1",
    "quoted": b'"chunked"',
    "vt": b"\x0bchunked",
    "ff": b"\x0cchunked",
    "nul": b"chunked\x00",
    "nbsp": b"\xa0chunked",
    "x85": b"chunked\x85",
    "xff": b"\xffchunked\xff",
    "empty": b"",
    "cow": b"cow",
    "identity": b"identity",
    "chunked-space-x": b"chunked x",
    "semicolon": b";chunked",
}

#: Values of Transfer-Encoding, alone.
CODINGS_ALONE = {
    "gzip-chunked": b"gzip, chunked",
    "chunked-gzip": b"chunked, gzip",
    "gzip": b"gzip",
    "comma-chunked": b",chunked",
    "chunked-chunked": b"chunked, chunked",
    "unknown": b"blegh",
}

#: Lines that some recipients take for Transfer-Encoding, beside a Content-Length.
LINES_WITH_LENGTH = {
    "space-colon": b"Transfer-Encoding : chunked\r\n",
    "tab-colon": b"Transfer-Encoding\t: chunked\r\n",
    "fold": b"Transfer-Encoding:\r\n chunked\r\n",
    "lf-fold": b"Transfer-Encoding:\n chunked\r\n",
    "split-name": b"Transfer-\r\nEncoding: chunked\r\n",
    "bare-lf": b"X: y\nTransfer-Encoding: chunked\r\n",
    "bare-cr": b"X: y\rTransfer-Encoding: chunked\r\n",
    "crlfcr": b"X: y\r\n\rTransfer-Encoding: chunked\r\n",
    "lead-space": b" Transfer-Encoding: chunked\r\n",
    "nul-name": b"Transfer-Encoding\x00: chunked\r\n",
    "no-colon": b"Transfer-Encoding chunked\r\n",
    "x85-name": b"Transfer-Encoding\x85: chunked\r\n",
}


def _coding(value):
    return b"Transfer-Encoding: " + value + b"\r\n"


def _hidden_behind(name, line, want=Want.REJECT):
    return Case(f"te-{name}+cl", GROUP, request(length(HIDING) + line, HIDING), want)


def _alone(name, fields, content=HELLO, want=Want.REJECT, **more):
    return Case(f"te-{name}", GROUP, request(fields, content), want, **more)


CASES = [
    Case("cl-te", GROUP, request(length(HIDING) + CHUNKED, HIDING)),
    Case("te-cl", GROUP, request(CHUNKED + b"Content-Length: 4\r\n", HOLDING)),
    Case("te-cl-agree", GROUP, request(CHUNKED + b"Content-Length: 15\r\n", HELLO)),
    *(_hidden_behind(name, _coding(value)) for name, value in CODINGS_WITH_LENGTH.items()),
    *(_alone(name, _coding(value)) for name, value in CODINGS_ALONE.items()),
    _alone("dup", CHUNKED + CHUNKED, HIDING),
    _alone("dup-identity", _coding(b"identity") + CHUNKED, HIDING),
    _alone("dup-cow", CHUNKED + _coding(b"cow")),
    _alone("case", b"tRANSFER-eNCODING: ChUnKeD\r\n", want=Want.ACCEPT),
    _alone("tab", b"Transfer-Encoding:\tchunked\r\n", want=Want.ACCEPT),
    _alone("trailing-space", b"Transfer-Encoding: chunked \r\n", want=Want.ACCEPT),
    _alone("valid", CHUNKED, want=Want.ACCEPT),
    *(_hidden_behind(name, line) for name, line in LINES_WITH_LENGTH.items()),
    _hidden_behind("underscore", b"Transfer_Encoding: chunked\r\n", Want.SAFE),
    Case("te-http10", GROUP, request(CHUNKED, HELLO, version=b"1.0"), note="CVE-2026-2835"),
    Case(
        "te-http10-keepalive+cl",
        GROUP,
        request(b"Connection: keep-alive\r\n" + length(HIDING) + CHUNKED, HIDING, version=b"1.0"),
    ),
    Case("te-get-inner", GROUP, request(CHUNKED, HOLDING, method=b"GET"), Want.SAFE, ("GET",)),
    _alone(
        "connection-nominated",
        b"Connection: Transfer-Encoding\r\n" + CHUNKED,
        HOLDING,
        Want.SAFE,
        note="CVE-2026-26365",
    ),
    Case(
        "cl-connection-nominated",
        GROUP,
        request(b"Connection: Content-Length\r\n" + length(HIDDEN), HIDDEN),
        Want.SAFE,
    ),
    _alone(
        "chunked-head-only-inner",
        CHUNKED,
        HIDING,
        Want.SAFE,
        answers=2,
        methods=("POST", "GET"),
        note="a second request after the first; it can be read in one way only",
    ),
]
