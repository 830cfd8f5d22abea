"""What the origin server does, by the name in the path: /f/NAME/IDENTITY.

Some do one thing the first time that a path is asked for, and another one from then on.
"""

import gzip
import threading
from collections import Counter

from support.origin import NO_STORE, Step, head_of, response

#: 1,024 bytes, of which half is easy to tell from all.
CONTENT = b"0123456789abcdef" * 64
HALF = CONTENT[:512]
#: What nobody has asked for.
SECOND = b"SECOND-RESPONSE-FOR-NOBODY"
GARBAGE = b"GARBAGE-AFTER-THE-CONTENT"

OK = b"HTTP/1.1 200 OK\r\n"
STORED = b"Cache-Control: public, max-age=60\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
WHOLE = response(CONTENT, STORED)
SHORT_LIVED = b"Cache-Control: public, max-age=1, "

#: 4 MiB that are 4 GiB without their coding.
BOMB = gzip.compress(bytes(1 << 20), 9) * 4096

LATE = 8.0


def _message(fields, content=b""):
    return OK + fields + b"\r\n" + content


def _soon_closed(message):
    """Something that no length ends for sure."""
    return [message, 0.3, Step.CLOSE]


HALF_COUNTED = _message(STORED + b"Content-Length: 1024\r\n", HALF)
CHUNK = b"400\r\n" + CONTENT + b"\r\n"

#: The answers that are always the same.
ALWAYS = {
    "good": [response(CONTENT)],
    "cacheable": [WHOLE],
    "close-delimited": [b"HTTP/1.0 200 OK\r\n" + NO_STORE + b"\r\n" + CONTENT, Step.CLOSE],
    "rst-at-once": [Step.RESET],
    "close-at-once": [Step.CLOSE],
    "stall-mid-body": [HALF_COUNTED, Step.HANG],
    "never-answers": [Step.HANG],
    "late": [LATE, response(CONTENT)],
    "drip": [_message(NO_STORE + b"Content-Length: 12\r\n")]
    + [step for number in range(12) for step in (0.5, b"%x" % number)],
    "extra-bytes": [response(CONTENT) + GARBAGE],
    "second-response": [response(CONTENT) + response(SECOND)],
    "second-response-late": [response(CONTENT), 0.15, response(SECOND)],
    "short-cl": [_message(NO_STORE + b"Content-Length: 10\r\n", CONTENT)],
    "204-with-body": [b"HTTP/1.1 204 No Content\r\nContent-Length: 26\r\n\r\n" + SECOND],
    "304-unasked": [b"HTTP/1.1 304 Not Modified\r\n\r\n"],
    "head-with-body": [_message(b"Content-Length: 26\r\n", SECOND)],
    "early-413": [response(b"no", b"Connection: close\r\n", b"413 Too Big"), 0.5, Step.CLOSE],
    "early-hints": [b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n" + response(CONTENT)],
    "continue-then-close": [b"HTTP/1.1 100 Continue\r\n\r\n", Step.CLOSE],
    "must-revalidate": [response(CONTENT, SHORT_LIVED + b"must-revalidate\r\n")],
    "slow-cacheable": [0.5, WHOLE],
    "private-slow": [0.3, response(CONTENT)],
    "slow-2": [2.0, response(CONTENT)],
}

#: Lengths and codings that are none, or that contradict each other.
FRAMING = {
    "cl-dup-differ": _soon_closed(_message(b"Content-Length: 10\r\nContent-Length: 1024\r\n", CONTENT)),
    "cl-negative": _soon_closed(_message(b"Content-Length: -5\r\n", CONTENT)),
    "cl-junk": _soon_closed(_message(b"Content-Length: 10x\r\n", CONTENT)),
    "cl-huge": _soon_closed(_message(b"Content-Length: 99999999999999999999\r\n", CONTENT)),
    "cl-and-te": _soon_closed(_message(b"Content-Length: 5\r\n" + CHUNKED, b"3\r\nabc\r\n0\r\n\r\n")),
    "te-gzip-chunked": _soon_closed(
        _message(b"Transfer-Encoding: gzip, chunked\r\n", b"3\r\nabc\r\n0\r\n\r\n")
    ),
    "te-unknown": _soon_closed(_message(b"Transfer-Encoding: blah\r\n", b"abc")),
    "chunk-junk": _soon_closed(_message(CHUNKED, b"zz\r\nabc\r\n0\r\n\r\n")),
    "chunk-overflow": _soon_closed(_message(CHUNKED, b"fffffffffffffffff\r\nabc")),
    "chunk-negative": _soon_closed(_message(CHUNKED, b"-3\r\nabc\r\n0\r\n\r\n")),
}

HI = b"Content-Length: 2\r\n"

#: Heads that are none, or too much.
HEADS = {
    "status-junk": [b"HTTP/1.1 abc OK\r\n" + HI + b"\r\nhi", Step.CLOSE],
    "status-99": [b"HTTP/1.1 99 OK\r\n" + HI + b"\r\nhi", Step.CLOSE],
    "status-1000": [b"HTTP/1.1 1000 OK\r\n" + HI + b"\r\nhi", Step.CLOSE],
    "not-http": _soon_closed(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
    "http09": [b"<html>no header at all</html>", Step.CLOSE],
    "version-2": [b"HTTP/2.0 200 OK\r\n" + HI + b"\r\nhi", Step.CLOSE],
    "nul-in-header": [_message(b"X-A: a\x00b\r\n" + HI, b"hi")],
    "cr-in-header": [_message(b"X-A: a\rX-Evil: 1\r\n" + HI, b"hi")],
    "ctl-in-header": [_message(b"X-A: a\x01b\r\n" + HI, b"hi")],
    "lf-lines": [b"HTTP/1.1 200 OK\nX-A: b\nContent-Length: 2\n\nhi"],
    "fold-in-header": [_message(b"X-A: a\r\n X-Evil: 1\r\n" + HI, b"hi")],
    "space-in-name": [_message(b"X A: a\r\n" + HI, b"hi")],
    "space-before-colon": _soon_closed(_message(b"Content-Length : 2\r\n", b"hi")),
    "no-colon": [_message(b"nonsense\r\n" + HI, b"hi")],
    "switching-unasked": _soon_closed(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: foo\r\nConnection: Upgrade\r\n\r\nRAWBYTES"
    ),
}

LARGE = {
    "header-1m": [_message(b"X-A: " + b"a" * (1 << 20) + b"\r\n" + HI, b"hi"), Step.CLOSE],
    "headers-20000": [_message(b"".join(b"X-%d: a\r\n" % n for n in range(20_000)) + HI, b"hi"), Step.CLOSE],
    "headers-endless": [OK, *[b"X-A: " + b"a" * 8000 + b"\r\n"] * 5_000, Step.CLOSE],
    "continue-flood": [b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000 + response(CONTENT)],
    "gzip-bomb": [response(BOMB, STORED + b"Content-Encoding: gzip\r\n")],
    "huge": [_message(NO_STORE + b"Content-Length: %d\r\n" % (200 << 20)), *[b"z" * (1 << 20)] * 200],
}

#: What is done the first time, and from then on.
FIRST_AND_THEN = {
    "die-mid-body": ([HALF_COUNTED, 0.05, Step.CLOSE], [WHOLE]),
    "die-mid-chunk": ([_message(STORED + CHUNKED, b"400\r\n" + HALF), 0.05, Step.CLOSE], [WHOLE]),
    "no-last-chunk": ([_message(STORED + CHUNKED, CHUNK), 0.05, Step.CLOSE], [WHOLE]),
    "rst-mid-body": ([HALF_COUNTED, 0.05, Step.RESET], [WHOLE]),
    "close-delimited-rst": ([_message(STORED + b"Connection: close\r\n", HALF), 0.05, Step.RESET], [WHOLE]),
    "206-unasked": (
        [
            b"HTTP/1.1 206 Partial Content\r\n"
            + STORED
            + b"Content-Range: bytes 0-4/1024\r\nContent-Length: 5\r\n\r\n01234"
        ],
        [WHOLE],
    ),
    "expiring": (
        [response(CONTENT, SHORT_LIVED + b"stale-if-error=600\r\n")],
        [0.3, response(CONTENT, SHORT_LIVED + b"stale-if-error=600\r\n")],
    ),
    "swr": (
        [response(CONTENT, SHORT_LIVED + b"stale-while-revalidate=60\r\n")],
        [3.0, response(CONTENT, SHORT_LIVED + b"stale-while-revalidate=60\r\n")],
    ),
    "sie-500": (
        [response(CONTENT, SHORT_LIVED + b"stale-if-error=600\r\n")],
        [response(b"broken", b"", b"500 Oops")],
    ),
    "leader-dies": ([0.4, HALF_COUNTED, 0.1, Step.CLOSE], [0.1, WHOLE]),
}

STEPS = {**ALWAYS, **FRAMING, **HEADS, **LARGE}


class Script:
    """What has been asked for so far, and so what is done next. Many connections ask it at a time."""

    def __init__(self):
        self._asked, self._lock = Counter(), threading.Lock()
        #: The targets of POST, each as often as it was processed.
        self.posts = []
        #: Whether a connection that is used again is closed instead of answered, and how many were.
        self.drops_reused, self.dropped = False, 0

    def asked(self, path):
        """How often a path was asked for."""
        return self._asked[path.encode()]

    def asked_under(self, prefix):
        """How often all paths that begin so were asked for."""
        with self._lock:
            return sum(count for path, count in self._asked.items() if path.startswith(prefix.encode()))

    def answer(self, request, connection):
        """The steps for one request; None where it is only to be told what it was."""
        name = request.target.split(b"/")[2].decode() if request.target.startswith(b"/f/") else ""
        with self._lock:
            if name == "stale-conn" and self.drops_reused and connection.requests > 1:
                self.dropped += 1
                return [Step.CLOSE]
            if request.method == b"POST":
                self.posts.append(request.target)
            self._asked[request.target] += 1
            is_first = self._asked[request.target] == 1
        first, then = FIRST_AND_THEN.get(name) or (STEPS.get(name),) * 2
        steps = first if is_first else then
        if steps and request.method == b"HEAD" and name != "head-with-body":
            return [head_of(step) if isinstance(step, bytes) else step for step in steps]
        return steps
