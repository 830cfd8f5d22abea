"""What a case of this suite is, and what it plays with."""

import itertools
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass

from support.client import ask, seconds_until_served
from support.events import bring_about
from support.origin import Origin

#: What the program answers by itself where an origin server fails.
GATEWAY_ERRORS = (502, 503, 504)

_identities = itertools.count(int(time.time() * 1000) & 0xFFFFFFF)


@dataclass(frozen=True)
class Fault:
    """`play` takes a `Play`, and returns whether all went well, and what happened in words."""

    name: str
    group: str
    play: Callable
    note: str = ""

    @staticmethod
    def of(group, play):
        """One that is called as its function is."""
        return Fault(play.__name__.replace("_", "-"), group, play, (play.__doc__ or "").partition("\n")[0])


class ReopenedOrigin:
    """An origin server that can go and come back at the same address, and does what the script says."""

    def __init__(self, port, script):
        self._port, self._script = port, script
        self._origin = Origin(port, script.answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._origin.close()

    def reopen(self):
        self._origin = Origin(self._port, self._script.answer)

    def forget(self):
        self._origin.forget()


class Play:
    """The origin server and the clients of one case, whose paths are its own."""

    def __init__(self, stage, script, origin):
        self.stage, self.script, self._origin = stage, script, origin
        self._identity = f"{next(_identities):07x}"

    def path(self, name, suffix=""):
        """A path for which the origin server does what that name stands for."""
        return f"/f/{name}/{self._identity}{suffix}"

    def get(self, name, suffix="", timeout=12.0, **options):
        """The response to a client that asks for it."""
        return ask(self.stage.plain, self.path(name, suffix), timeout=timeout, **options)

    def complaint_of_others(self, count=6):
        """What is wrong with the answers to others, who get what is left in connections to the origin."""
        for number in range(count):
            path = f"/v/{self._identity}/{number}"
            response = ask(self.stage.plain, path, timeout=6)
            if response.status != 200 or path.encode() not in response.content:
                return f"another client got {response} {response.content[:40]!r}"
        return ""

    def happens(self, event):
        """Has an event happen; whether it ended as it must."""
        return bring_about(self.stage, event)

    @contextmanager
    def origin_down(self):
        """Nobody listens at the origin server's address, until the end of the `with`."""
        self._origin.close()
        try:
            yield
        finally:
            self._origin.reopen()

    def seconds_until_served(self, limit):
        """How long it takes until a plain request is answered; infinity if longer than `limit`."""
        return seconds_until_served(self.stage.plain, limit)
