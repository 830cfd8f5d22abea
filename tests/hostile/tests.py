"""That the suites see what they look for: an oracle that finds nothing would pass everything."""

import socket
import unittest
from collections import Counter
from io import BytesIO
from types import SimpleNamespace

import crowd
import faults
import h2abuse
import memory
import slow
import smuggle
from crowd.clients import is_there
from h2abuse.frames import prefixed, split_headers
from memory.attacks import is_answered, send_at_once
from smuggle.case import Case, Want
from smuggle.evidence import Evidence, Verdict
from support.expected import known_not_to_pass
from support.good_client import Service
from support.requests import read_request
from support.responses import Response, read_responses
from support.strict import Reading, violations_of

SUITES = [smuggle.SUITE, h2abuse.SUITE, slow.SUITE, faults.SUITE, crowd.SUITE, memory.SUITE]
HOST = b"Host: site.test\r\n"
VALID = b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc"
CHUNKED = b"POST /a HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"


def head(fields, request_line=b"GET / HTTP/1.1"):
    return request_line + b"\r\n" + fields + b"\r\n"


class StrictTest(unittest.TestCase):
    def test_valid_requests_have_no_violation_and_are_told_apart(self):
        reading = Reading(VALID + CHUNKED + b"3\r\nabc\r\n0\r\nX: y\r\n\r\n" + head(HOST))
        self.assertEqual(reading.violations, [])
        self.assertEqual([request.content for request in reading.requests], [b"abc", b"abc", b""])

    def test_what_can_be_read_in_two_ways_is_named(self):
        chunked, length = b"Transfer-Encoding: chunked\r\n", b"Content-Length: 0\r\n"
        for raw, violation in [
            (head(HOST, b"GET  / HTTP/1.1"), "request-line"),
            (head(HOST, b"GET http://site.test/ HTTP/1.1"), "target-form"),
            (head(HOST, b"GET /#a HTTP/1.1"), "fragment"),
            (head(HOST, b"GET /\xff HTTP/1.1"), "raw-nonascii-target"),
            (head(HOST + b" folded\r\n"), "obs-fold"),
            (head(HOST + b"nonsense\r\n"), "no-colon"),
            (head(HOST + b"X : y\r\n"), "field-name"),
            (head(HOST + b"X: a\x00\r\n"), "control-in-value"),
            (head(HOST + b"X: a\nY: b\r\n"), "control-in-value"),
            (head(HOST + b"X_Forwarded_For: a\r\n"), "alias"),
            (head(HOST + b"Connection: X\r\nX: y\r\n"), "hop-by-hop"),
            (head(HOST + b"Upgrade: h2c\r\n"), "h2c-upgrade"),
            (head(b""), "host-count"),
            (head(HOST + HOST), "host-count"),
            (head(b"Host: a/b\r\n"), "bad-host"),
            (head(HOST + length + length), "two-lengths"),
            (head(HOST + length + chunked) + b"0\r\n\r\n", "length-and-coding"),
            (head(HOST + chunked + chunked) + b"0\r\n\r\n", "two-codings"),
            (head(HOST + chunked, b"GET / HTTP/1.0") + b"0\r\n\r\n", "coding-in-1.0"),
            (head(HOST + b"Transfer-Encoding: x\r\n") + b"0\r\n\r\n", "bad-coding"),
            (head(HOST + b"Content-Length: +1\r\n") + b"a", "bad-length"),
            (CHUNKED + b"0x1\r\na\r\n0\r\n\r\n", "chunk-line"),
            (CHUNKED + b"1;a\nb\r\na\r\n0\r\n\r\n", "chunk-line"),
            (CHUNKED + b"1\r\nab\r\n0\r\n\r\n", "chunk-end"),
            (CHUNKED + b"0\r\nX Y: z\r\n\r\n", "trailer"),
            (CHUNKED + b"0\r\nContent-Length: 1\r\n\r\n", "forbidden-trailer"),
            (b"GET / HTTP/1.1\nHost: site.test\n\n", "bare-lf"),
        ]:
            with self.subTest(raw=raw):
                self.assertIn(violation, [found.partition(" ")[0] for found in Reading(raw).violations])

    def test_a_beginning_without_an_end_may_be_harmless(self):
        for raw in (VALID[:-1], VALID[:20], CHUNKED + b"3\r\na"):
            self.assertEqual(len(violations_of(raw, is_cut_harmless=False)), 1)
            self.assertEqual(violations_of(raw, is_cut_harmless=True), [])


class EvidenceTest(unittest.TestCase):
    HIDDEN = b"GET /smuggled-1 HTTP/1.1\r\n" + HOST + b"\r\n"
    VICTIM = b"GET /victim-1 HTTP/1.1\r\n" + HOST + b"\r\n"

    def evidence(self, raw=b"", want=Want.REJECT, statuses=(400,), content=b"/victim-1", **more):
        victims = {"/victim-1": Response(200, content=content)}
        case = Case("a", "b", b"", want)
        evidence = Evidence(case, list(statuses), False, victims, 0.0, more.pop("is_trapped", False), **more)
        if raw:
            evidence.hear(SimpleNamespace(is_closed=False), raw)
        return evidence

    def test_what_reached_no_origin_server_was_rejected(self):
        self.assertTrue(self.evidence().is_passed())
        self.assertEqual(self.evidence(self.VICTIM).verdict(), Verdict.REJECTED)
        self.assertEqual(self.evidence(statuses=[]).verdict(), Verdict.STALLED)
        self.assertFalse(self.evidence(statuses=[200]).is_passed())

    def test_one_valid_message_is_normalized(self):
        evidence = self.evidence(VALID + self.VICTIM, Want.SAFE)
        self.assertEqual(evidence.verdict(), Verdict.NORMALIZED)
        self.assertTrue(evidence.is_passed())
        self.assertFalse(self.evidence(VALID, Want.REJECT).is_passed())
        self.assertTrue(self.evidence(VALID, Want.ACCEPT, [200]).is_passed())
        self.assertFalse(self.evidence(VALID, Want.ACCEPT, [400]).is_passed())

    def test_what_harms_others_is_dangerous(self):
        for evidence in [
            self.evidence(VALID + self.HIDDEN, Want.SAFE),
            self.evidence(VALID[:-1] + self.VICTIM, Want.SAFE),
            self.evidence(b"GET /a HTTP/1.1\r\nX : y\r\n" + HOST + b"\r\n", Want.SAFE),
            self.evidence(content=b"/another"),
            self.evidence(is_trapped=True),
        ]:
            self.assertEqual(evidence.verdict(), Verdict.DANGEROUS, str(evidence))
            self.assertFalse(evidence.is_passed())

    def test_a_request_that_costs_a_second_is_too_expensive(self):
        evidence = self.evidence()
        evidence.cost = 1.5
        self.assertFalse(evidence.is_passed())


class PeersTest(unittest.TestCase):
    def test_a_forgiving_reader_takes_what_a_strict_one_does_not(self):
        raw = b"\nPOST /a HTTP/1.1\nContent-Length: 3\n\nabcGET"
        request, used = read_request(raw)
        self.assertEqual((request.target, request.content, raw[used:]), (b"/a", b"abc", b"GET"))
        self.assertEqual(read_request(VALID[:-1]), (None, 0))

    def test_a_client_knows_whether_a_response_is_whole(self):
        counted = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        for raw in (counted, chunked):
            for end in range(1, len(raw)):
                self.assertFalse(read_responses(raw[:end], ["GET"], is_closed=True)[0].is_complete, raw[:end])
            (response,) = read_responses(b"HTTP/1.1 100 Continue\r\n\r\n" + raw, ["GET"], is_closed=False)
            self.assertEqual((response.status, response.content, response.is_complete), (200, b"abc", True))

    def test_integers_of_hpack_are_those_of_the_standard(self):
        # RFC 7541 C.1
        self.assertEqual(prefixed(10, 5), b"\x0a")
        self.assertEqual(prefixed(1337, 5), b"\x1f\x9a\x0a")

    def test_a_long_block_ends_once(self):
        raw, flags = split_headers(b"x" * 40_000), []
        while raw:
            flags.append(raw[4])
            raw = raw[9 + int.from_bytes(raw[:3], "big") :]
        self.assertEqual(flags, [1, 0, 4])


class MemoryTest(unittest.TestCase):
    def complaints(self, is_killed=False, back=0.1, **errors):
        service = Service(20, sum(errors.values()), 0.1, Counter(errors))
        good = SimpleNamespace(service=service, of_the_origin=Service(20, 0, 0.1, Counter()))
        return memory.complaints_of(is_killed, good, back)

    def test_to_be_ended_is_never_right(self):
        self.assertTrue(self.complaints(is_killed=True))

    def test_who_is_turned_away_is_told_so(self):
        refused = "ConnectionResetError: [Errno 104] Connection reset by peer"
        self.assertEqual(self.complaints(**{"503": 3, refused: 2}), [])
        for lost in ("500", "504", "no response in time", "short content 3/10", "TimeoutError: timed out"):
            self.assertTrue(self.complaints(**{"503": 3, lost: 1}), lost)

    def test_everybody_is_served_once_the_attackers_have_gone(self):
        self.assertTrue(self.complaints(back=3.0))

    def test_an_answer_is_read_to_its_end_and_no_further(self):
        whole = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nabc"
        answers = BytesIO(whole + whole[:-1])
        self.assertTrue(is_answered(answers))
        self.assertEqual(answers.tell(), len(whole))
        self.assertFalse(is_answered(answers))
        self.assertFalse(is_answered(answers))

    def test_an_attacker_waits_for_nobody(self):
        here, there = socket.socketpair()
        with here, there:
            send_at_once(here, bytes(64 << 20))
            self.assertTrue(there.recv(1 << 16))


class CrowdTest(unittest.TestCase):
    def test_who_has_been_disconnected_is_not_there(self):
        here, there = socket.socketpair()
        with here:
            there.sendall(b"a last word")
            self.assertTrue(is_there(here))
            there.sendall(b"another one")
            there.close()
            self.assertFalse(is_there(here))


class CasesTest(unittest.TestCase):
    def test_no_two_cases_of_a_suite_have_one_name(self):
        for suite in SUITES:
            names = [case.name for case in suite.cases]
            self.assertEqual(len(names), len(set(names)), suite.name)

    def test_what_is_known_not_to_pass_are_cases(self):
        known_not_to_pass(SUITES)
