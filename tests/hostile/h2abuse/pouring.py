"""How floods are sent."""

import time

from .case import Result

#: Seconds that a flood goes on unless it is through, or cut off, before.
LONGEST = 6.0


def stream(number):
    """The stream of a client's request, which are counted from nought."""
    return 2 * number + 1


def pour(client, count, frames, batch, seconds=LONGEST, pause=0.0):
    """Sends `frames(0)` to `frames(count - 1)`, so many at a time. What became of it, in words."""
    began, sent = time.monotonic(), 0
    while sent < count and not client.is_over() and time.monotonic() - began < seconds:
        together = range(sent, min(count, sent + batch))
        if not client.send(b"".join(frames(number) for number in together)):
            break
        sent = together.stop
        client.read_for(pause)
    client.read_for(0.3)
    return f"{sent} of {count} in {time.monotonic() - began:.1f} s, {client.fate()}"


def poured(client, *arguments, **options):
    """As `pour`, for a flood that is nothing else."""
    return Result(pour(client, *arguments, **options), (client,))
