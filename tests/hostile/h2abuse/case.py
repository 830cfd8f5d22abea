"""What the cases of this suite are: messages that are forbidden, and floods of what is not."""

import enum
from collections.abc import Callable
from dataclasses import dataclass


class Want(enum.Enum):
    """What is asked of the program for one message."""

    #: GOAWAY, RST_STREAM, an error or a closed connection.
    REJECT = "protocol"
    #: As before, or forwarded as one message that cannot be read in two ways.
    SAFE = "safe"
    #: The end of the connection.
    GOAWAY = "goaway"
    #: Any answer at all.
    ANSWER = "forward"
    #: A valid request: answered 2xx.
    ACCEPT = "valid"


@dataclass(frozen=True)
class Message:
    """Frames that are sent on a connection of their own."""

    name: str
    raw: bytes
    want: Want = Want.REJECT
    note: str = ""

    @property
    def group(self):
        return self.want.value


@dataclass(frozen=True)
class Flood:
    """Something that is done over and over; `attack` takes a `Stage`, and returns a `Result`."""

    name: str
    attack: Callable
    note: str = ""
    group: str = "flood"

    @staticmethod
    def of(attack):
        """One that is called as its function is."""
        return Flood(attack.__name__.replace("_", "-"), attack, attack.__doc__ or "")


@dataclass(frozen=True)
class Result:
    """How an attack went, in words; the clients that are still there, and what it has shown to be wrong."""

    note: str
    clients: tuple = ()
    complaint: str = ""
