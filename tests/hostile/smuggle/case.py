"""What a case of this suite is: bytes that a client sends, and what may become of them."""

import enum
from dataclasses import dataclass

#: What stands for the identity of a case and for the port of the trap. Both are as long as what takes their
#: place, so that lengths can be counted before it is known.
IDENTITY, TRAP = b"IDENTITY", b"#PORT"

HOST = b"Host: site.test\r\n"
#: A request that is hidden in another one.
HIDDEN = b"GET /smuggled-" + IDENTITY + b" HTTP/1.1\r\n" + HOST + b"\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LAST_CHUNK = b"0\r\n\r\n"


class Want(enum.Enum):
    """What is asked of the program."""

    #: Refused, and nothing of it forwarded.
    REJECT = "reject"
    #: Refused, left unanswered, or forwarded as one message that cannot be read in two ways.
    SAFE = "safe"
    #: Valid: answered, and forwarded as one message that cannot be read in two ways.
    ACCEPT = "accept"


@dataclass(frozen=True)
class Case:
    """One connection: what is sent over it, and what is to come of that."""

    name: str
    group: str
    payload: bytes
    want: Want = Want.REJECT
    #: Of the requests that a client takes to be in it.
    methods: tuple = ("POST",)
    #: So many answers are waited for.
    answers: int = 1
    #: Sent after the first answer, or after half a second.
    then: bytes | None = None
    #: The client leaves without waiting for an answer.
    leaves: bool = False
    #: The response to `/cache-` and the identity is stored before.
    is_stored: bool = False
    #: The Host that is forwarded must be that of the target.
    target_rules: bool = False
    note: str = ""


def length(content):
    """The field that tells the length of some content."""
    return b"Content-Length: %d\r\n" % len(content)


def chunk(content):
    """A chunk with some content."""
    return b"%x\r\n" % len(content) + content + b"\r\n"


def request(fields=b"", content=b"", method=b"POST", version=b"1.1", path=b"/c-"):
    """A request that says who it is, with these fields after Host."""
    return method + b" " + path + IDENTITY + b" HTTP/" + version + b"\r\n" + HOST + fields + b"\r\n" + content
