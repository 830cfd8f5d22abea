"""Sends messages one by one, and judges what the client and the origin server saw of each."""

import time

from support.client import ask, must_serve
from support.origin import Origin
from support.strict import Reading, violations_of

from .case import Want
from .client import Client

#: Seconds that an answer is waited for.
ANSWER = 2.0
#: So many ask for something of their own after each message.
OTHERS = 3
#: Fields that are hidden in values and targets. Of all other fields the names are in lower case.
HIDDEN_FIELDS = (b"\r\nx-smuggled: 1", b"\r\nX: y")

#: The verdicts with which a message passes.
PASSED = {
    Want.REJECT: {"rejected"},
    Want.SAFE: {"rejected", "normalized"},
    Want.GOAWAY: {"ended"},
    Want.ANSWER: {"rejected", "normalized", "answered"},
    Want.ACCEPT: {"normalized"},
}


def send_messages(stage, messages):
    with Origin(stage.origin_port) as origin:
        must_serve(stage.encrypted)
        for message in messages:
            if stage.wants(message):
                _send(stage, origin, message)
                origin.forget()


def _send(stage, origin, message):
    mark = origin.mark()
    try:
        client = _converse(stage, message)
    except OSError as error:
        stage.report.add(message, "no-http2", False, str(error))
        return
    # What is sent on without an answer may still be under way.
    time.sleep(0.05)
    are_served = [ask(stage.encrypted, "/alive").status == 200 for _ in range(OTHERS)]
    dangers, is_reached = _look_at(origin, mark)
    if not any(are_served):
        verdict = "crashed"
    elif dangers:
        verdict = "dangerous"
    else:
        verdict = _verdict(message, client, is_reached)
    detail = "; ".join([_said(client), *dangers])
    stage.report.add(message, verdict, verdict in PASSED[message.want], detail)


def _converse(stage, message):
    client = Client(stage.encrypted)
    client.send(message.raw)
    deadline = time.monotonic() + ANSWER
    while time.monotonic() < deadline and not client.is_over() and not client.ended:
        client.read_for(0.05)
    # The end of the connection may follow the answer.
    if message.want is Want.GOAWAY or message.name.startswith("conn-"):
        client.read_for(0.15)
    client.close()
    return client


def _look_at(origin, mark):
    """The dangers in what came to the origin server, and whether a request of the message did."""
    dangers, is_reached = set(), False
    for _, raw in origin.since(mark):
        own, is_followed, _ = raw.partition(b"GET /alive")
        requests = Reading(own).requests
        is_reached |= bool(requests)
        violations = violations_of(own, is_cut_harmless=not is_followed)
        dangers.update(violation for violation in violations if not violation.startswith("~"))
        if any(field in raw for field in HIDDEN_FIELDS):
            dangers.add("a hidden field reached the origin server")
        if any(b"/smuggled-h2" in request.target for request in requests):
            dangers.add("a hidden request reached the origin server")
    return sorted(dangers), is_reached


def _verdict(message, client, is_reached):
    """What became of a message that did no harm."""
    if message.want is Want.GOAWAY:
        return "ended" if client.is_over() else "tolerated"
    if any(200 <= status < 300 for status in client.statuses.values()):
        return "normalized" if is_reached else "answered"
    return "rejected" if client.statuses or client.ended or client.is_over() else "ignored"


def _said(client):
    statuses, errors = list(client.statuses.values()), sorted(set(client.resets.values()))
    return f"status {statuses or '-'} RST {errors or '-'} {client.fate()}"
