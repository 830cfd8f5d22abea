"""Malformed and ambiguous HTTP/1 requests: refused, forwarded in one normal form, or a danger to others?

The origin server keeps what it gets byte by byte, and `support.strict` reads it again. After each case two
victims ask for something of their own, over the connections to the origin server that it has left behind.
"""

import time

from support.client import ask, must_serve, read_until_quiet
from support.measure import processor_seconds
from support.origin import Origin, echo
from support.responses import read_responses
from support.strict import INCOMPLETE, Reading
from support.suite import Suite

from . import (
    chunks,
    connection,
    content_length,
    fields,
    host,
    request_line,
    transfer_encoding,
)
from .case import IDENTITY, TRAP
from .evidence import Evidence

CASES = [
    *transfer_encoding.CASES,
    *content_length.CASES,
    *chunks.CASES,
    *request_line.CASES,
    *host.CASES,
    *fields.CASES,
    *connection.CASES,
    *fields.HEAVY_CASES,
]

#: Seconds that are waited for an answer, and for the first of two where more is sent after it.
ANSWER, FIRST_ANSWER = 2.0, 0.5


def run(stage):
    with Origin(stage.origin_port, _answer) as origin, Origin(stage.trap_port) as trap:
        must_serve(stage.plain)
        for number, case in enumerate(CASES):
            if stage.wants(case):
                evidence = _Trial(stage, origin, trap, case, number).evidence()
                stage.report.add(case, evidence.verdict().value, evidence.is_passed(), str(evidence))
                origin.forget()
                trap.forget()


def _answer(request, connection):
    if b"/cache-" in request.target:
        return [echo(request, connection, b"Cache-Control: public, max-age=300\r\n")]
    return None


class _Trial:
    """One case against the running program."""

    def __init__(self, stage, origin, trap, case, number):
        self._stage, self._origin, self._trap, self._case = stage, origin, trap, case
        # Nothing that an earlier case has left in the cache, or in a connection, is mistaken for this one's.
        self._identity = f"{int(time.time()) & 0xFFFFF:05x}{number:03}"

    def evidence(self):
        if self._case.is_stored:
            for _ in range(2):
                ask(self._stage.plain, f"/cache-{self._identity}")
        mark, trap_mark = self._origin.mark(), self._trap.mark()
        cost = processor_seconds(self._stage.seawall.pid)
        raw, is_closed = self._converse()
        victims = self._send_victims()
        heard = self._settled(mark)
        evidence = Evidence(
            case=self._case,
            statuses=[response.status for response in read_responses(raw, self._case.methods, is_closed)],
            is_closed=is_closed,
            victims=victims,
            cost=processor_seconds(self._stage.seawall.pid) - cost,
            is_trapped=bool(self._trap.since(trap_mark)),
            is_alive=self._is_alive(victims),
        )
        for connection_to_origin, received in heard:
            evidence.hear(connection_to_origin, received)
        return evidence

    def _converse(self):
        """Sends the case; what came back, and whether the connection has ended."""
        raw, case = b"", self._case
        try:
            with self._stage.plain.open(timeout=ANSWER) as client:
                client.sendall(self._filled(case.payload))
                if case.then is not None:
                    raw, is_closed, _ = read_until_quiet(client, FIRST_ANSWER, 1, case.methods)
                    if is_closed:
                        return raw, True
                    client.sendall(self._filled(case.then))
                if case.leaves:
                    time.sleep(0.2)
                    return raw, False
                more, is_closed, _ = read_until_quiet(client, ANSWER, case.answers, case.methods)
                return raw + more, is_closed
        except OSError:
            return raw, True

    def _filled(self, payload):
        port = b"%5d" % self._stage.trap_port
        return payload.replace(IDENTITY, self._identity.encode()).replace(TRAP, port)

    def _send_victims(self):
        paths = [f"/victim-{self._identity}-{number}" for number in (1, 2)]
        return {path: ask(self._stage.plain, path) for path in paths}

    def _settled(self, mark):
        """What came to the origin server once requests that are not whole were dropped, or a second later."""
        # What is sent on without an answer may still be under way.
        time.sleep(0.05)
        deadline = time.monotonic() + 1.0
        while True:
            heard = self._origin.since(mark)
            is_settled = all(peer.is_closed or not _is_cut(raw) for peer, raw in heard)
            if is_settled or time.monotonic() > deadline:
                return heard
            time.sleep(0.1)

    def _is_alive(self, victims):
        if any(response.status for response in victims.values()):
            return True
        return ask(self._stage.plain, f"/alive-{self._identity}", timeout=8).status != 0


def _is_cut(raw):
    return any(violation in INCOMPLETE for violation in Reading(raw).violations)


SUITE = Suite("smuggle", CASES, run, mostly_waits=True)
