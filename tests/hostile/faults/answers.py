"""Origin servers whose answers are malformed, cut, late or too much: what may a client get, and when?"""

import time

from .fault import GATEWAY_ERRORS, Fault
from .script import CONTENT, GARBAGE, SECOND

#: A client that is told where an answer ends does not get to there.
CUT = "cut"
OK_OR_ERROR = (200, *GATEWAY_ERRORS)


def _truncated(name):
    """What was cut is never passed on as if it were whole, nor stored."""

    def run(play):
        first, second = play.get(name), play.get(name)
        has_lied = first.status == 200 and first.is_complete and first.content != CONTENT
        is_well = second.status == 200 and second.is_complete and second.content == CONTENT
        lie = "; a truncated answer was passed on as a whole one" if has_lied else ""
        return is_well and not has_lied, f"first {first}; second {second}{lie}"

    return Fault(name, "truncate", run)


def _answer(name, group, allowed, within=None, others_after=0.0, asks_others=True, never=()):
    """The client gets a status that is allowed, in time, and nothing of `never`; nobody else notices."""

    def run(play):
        response = play.get(name)
        time.sleep(others_after)
        complaints = []
        is_whole = response.is_complete or response.status >= 400
        if (response.status if response.status and is_whole else CUT) not in allowed:
            complaints.append(f"want one of {allowed}")
        if within and not within[0] <= response.seconds <= within[1]:
            complaints.append(f"want {within[0]} to {within[1]} s")
        complaints += [f"a client got {evil!r}" for evil in never if _has(response, evil)]
        complaints += [play.complaint_of_others()] if asks_others else []
        complaints = [complaint for complaint in complaints if complaint]
        return not complaints, "; ".join([str(response), *complaints])

    return Fault(name, group, run)


def _has(response, evil):
    """Whether something is in an answer that the program did not make itself."""
    fields = b"\n".join(name + b": " + value for name, value in response.fields)
    # A byte or two are in contents by chance.
    return response.status < 500 and (evil in fields or (len(evil) > 3 and evil in response.content))


def _malformed(name, allowed=GATEWAY_ERRORS, never=()):
    return _answer(name, "malformed", allowed, never=never)


TRUNCATED = [
    _truncated("die-mid-body"),
    _truncated("die-mid-chunk"),
    _truncated("no-last-chunk"),
    _truncated("rst-mid-body"),
    _truncated("close-delimited-rst"),
]

#: The first byte is waited for five seconds, and each further one as long.
ANSWERS = [
    _answer("close-delimited", "shape", (200,)),
    _answer("rst-at-once", "shape", GATEWAY_ERRORS, (0, 4)),
    _answer("close-at-once", "shape", GATEWAY_ERRORS, (0, 4)),
    _answer("never-answers", "time", GATEWAY_ERRORS, (0.5, 9), asks_others=False),
    _answer("late", "time", GATEWAY_ERRORS, (0.5, 8), asks_others=False),
    _answer("stall-mid-body", "time", (CUT, *GATEWAY_ERRORS), (0.5, 12), asks_others=False),
    _answer("drip", "time", (200,), (4, 10)),
    _answer("extra-bytes", "desync", OK_OR_ERROR, never=[GARBAGE]),
    _answer("second-response", "desync", OK_OR_ERROR, never=[SECOND]),
    _answer("second-response-late", "desync", (200,), others_after=0.5, never=[SECOND]),
    _answer("short-cl", "desync", OK_OR_ERROR),
    _answer("204-with-body", "desync", (204, *GATEWAY_ERRORS), never=[SECOND]),
    _answer("304-unasked", "desync", (304, *GATEWAY_ERRORS)),
    _malformed("cl-dup-differ"),
    _malformed("cl-negative"),
    _malformed("cl-junk"),
    _malformed("cl-huge"),
    _malformed("cl-and-te", OK_OR_ERROR),
    _malformed("te-gzip-chunked", OK_OR_ERROR),
    _malformed("te-unknown", OK_OR_ERROR),
    _malformed("chunk-junk", (CUT, *GATEWAY_ERRORS)),
    _malformed("chunk-overflow", (CUT, *GATEWAY_ERRORS)),
    _malformed("chunk-negative", (CUT, *GATEWAY_ERRORS)),
    _malformed("status-junk"),
    _malformed("status-99"),
    _malformed("status-1000"),
    _malformed("not-http"),
    _malformed("http09"),
    _malformed("version-2"),
    _malformed("nul-in-header", OK_OR_ERROR, never=[b"\x00"]),
    _malformed("cr-in-header", OK_OR_ERROR, never=[b"\r"]),
    _malformed("ctl-in-header", OK_OR_ERROR, never=[b"\x01"]),
    _malformed("lf-lines", OK_OR_ERROR),
    _malformed("fold-in-header", OK_OR_ERROR, never=[b"\nX-Evil", b"\r\n X-Evil"]),
    _malformed("space-in-name", OK_OR_ERROR, never=[b"X A"]),
    _malformed("space-before-colon", OK_OR_ERROR, never=[b"Content-Length :"]),
    _malformed("no-colon", OK_OR_ERROR, never=[b"nonsense"]),
    _malformed("switching-unasked"),
    _malformed("continue-then-close"),
    _answer("early-hints", "shape", (200,)),
    _answer("continue-flood", "limit", OK_OR_ERROR, (0, 6)),
]

FAULTS = TRUNCATED + ANSWERS
