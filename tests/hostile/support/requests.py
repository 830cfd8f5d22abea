"""Requests as a forgiving origin server reads them: it makes the best of what it gets.

What may be read in two ways is found by `strict`, not here.
"""

import re
from dataclasses import dataclass, field


@dataclass
class Request:
    """A request as far as it could be made out."""

    method: bytes = b""
    target: bytes = b""
    version: bytes = b"0.9"
    #: By name in lower case; of fields with one name the first.
    fields: dict = field(default_factory=dict)
    content: bytes = b""

    @property
    def is_last(self):
        """Whether the connection ends with it."""
        return self.version == b"1.0" or b"close" in self.fields.get(b"connection", b"").lower()


def read_request(buffer):
    """The first request in `buffer` and how many bytes it took, or None and 0 if it is not whole yet."""
    request, position = _read_head(buffer)
    if request is None:
        return None, 0
    # Such a target is answered before its content is there, which is then left in the connection.
    if b"/early" in request.target:
        return request, position
    if b"chunked" in request.fields.get(b"transfer-encoding", b"").lower():
        position = _read_chunks(buffer, position, request)
        return (request, position) if position else (None, 0)
    length = re.match(rb"\d+", request.fields.get(b"content-length", b""))
    end = position + (int(length[0]) if length else 0)
    if len(buffer) < end:
        return None, 0
    request.content = buffer[position:end]
    return request, end


def waits_for_continue(buffer):
    """Whether a client may be waiting for 100 (Continue): its fields are all that is there."""
    request, position = _read_head(buffer)
    return request is not None and position == len(buffer) and b"expect" in request.fields


def _read_head(buffer):
    blank = len(buffer) - len(buffer.lstrip(b"\r\n"))
    end = re.search(rb"\r?\n\r?\n", buffer[blank:])
    if not end:
        return None, 0
    request_line, *lines = re.split(rb"\r?\n", buffer[blank : blank + end.start()])
    words = request_line.split()
    request = Request()
    if words:
        request.method = words[0]
    if len(words) > 1:
        request.target = words[1]
    if words and words[-1].upper().startswith(b"HTTP/"):
        request.version = words[-1][5:]
    for line in lines:
        name, _, value = line.partition(b":")
        request.fields.setdefault(name.strip().lower(), value.strip())
    return request, blank + end.end()


def _read_chunks(buffer, position, request):
    """Where the content ends; 0 if it is not whole yet."""
    while True:
        end = buffer.find(b"\n", position)
        if end < 0:
            return 0
        size = re.match(rb"\s*([0-9a-fA-F]+)", buffer[position:end])
        size, start = int(size[1], 16) if size else 0, end + 1
        if size == 0:
            return _skip_trailers(buffer, start)
        if len(buffer) < start + size + 1:
            return 0
        request.content += buffer[start : start + size]
        position = start + size
        position += 2 if buffer[position : position + 2] == b"\r\n" else 1


def _skip_trailers(buffer, position):
    while True:
        end = buffer.find(b"\n", position)
        if end < 0:
            return 0
        if buffer[position:end].strip() == b"":
            return end + 1
        position = end + 1
