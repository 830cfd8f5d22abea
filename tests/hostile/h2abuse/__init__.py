"""HTTP/2 that is malformed, and HTTP/2 that is too much.

What is malformed must be refused, and what reaches the origin server is read again by `support.strict`. What
is too much must cost neither memory nor the origin server much, nor a good client its answers.
"""

from support.suite import Suite

from . import connections, messages
from .attacks import make_attacks
from .bombs import BOMBS
from .floods import FLOODS
from .holds import HOLDS
from .malformed import send_messages

MESSAGES = messages.MESSAGES + connections.MESSAGES
ATTACKS = FLOODS + BOMBS + HOLDS


def run(stage):
    send_messages(stage, MESSAGES)
    if make_attacks(stage, ATTACKS):
        send_messages(stage, messages.OVERSIZED)


SUITE = Suite("h2abuse", MESSAGES + ATTACKS + messages.OVERSIZED, run)
