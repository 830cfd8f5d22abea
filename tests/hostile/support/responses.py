"""Responses as a careful client reads them: which are there, which of them are whole, and what is wrong.

It never waits: what reads from sockets is `client`.
"""

import re
from dataclasses import dataclass, field

STATUS_LINE = re.compile(rb"HTTP/\d\.\d (\d\d\d)(?: .*)?", re.DOTALL)


@dataclass
class Response:
    """What came in answer to one request; without a status if nothing did."""

    status: int = 0
    fields: list = field(default_factory=list)
    content: bytes = b""
    is_complete: bool = False
    error: str = ""
    #: From before the request until it was read; set where somebody asks for it.
    seconds: float = 0.0

    def field(self, name):
        """The first value of a field, or an empty text."""
        for found, value in self.fields:
            if found.lower() == name.lower().encode():
                return value.decode("latin1")
        return ""

    def __str__(self):
        state = "complete" if self.is_complete else self.error
        return f"{self.status or '-'} {state} {len(self.content)} bytes {self.seconds:.1f} s"


def read_responses(raw, methods, is_closed):
    """All responses in `raw` to requests with these methods. Interim ones are passed over."""
    found, position, methods = [], 0, list(methods)
    while position < len(raw):
        response, position = _read_head(raw, position)
        if not response.error:
            if 100 <= response.status < 200 and response.status != 101:
                continue
            method = methods.pop(0) if methods else "GET"
            position = _read_content(raw, position, response, method, is_closed)
        found.append(response)
    return found


def _read_head(raw, position):
    response = Response()
    end = raw.find(b"\r\n\r\n", position)
    if end < 0:
        return response, _give_up(response, raw, position, "no end of fields")
    status_line, *lines = raw[position:end].split(b"\r\n")
    matched = STATUS_LINE.fullmatch(status_line)
    if not matched:
        return response, _give_up(response, raw, position, f"bad status line {status_line[:40]!r}")
    response.status = int(matched[1])
    for line in lines:
        name, _, value = line.partition(b":")
        response.fields.append((name, value.strip(b" \t")))
    return response, end + 4


def _give_up(response, raw, position, error):
    response.error, response.content = error, raw[position:]
    return len(raw)


def _read_content(raw, position, response, method, is_closed):
    if response.status in (101, 204, 304) or method == "HEAD":
        response.is_complete = True
        return position
    if "chunked" in response.field("transfer-encoding").lower():
        return _read_chunks(raw, position, response)
    if response.field("content-length").isdecimal():
        return _read_counted(raw, position, response, int(response.field("content-length")))
    response.content, response.is_complete = raw[position:], is_closed
    if not is_closed:
        response.error = "content until the end of the connection, still open"
    return len(raw)


def _read_counted(raw, position, response, length):
    response.content = raw[position : position + length]
    response.is_complete = len(response.content) == length
    if not response.is_complete:
        response.error = f"short content {len(response.content)}/{length}"
    return position + length


def _read_chunks(raw, position, response):
    while True:
        end = raw.find(b"\r\n", position)
        if end < 0:
            response.error = "truncated chunk"
            return len(raw)
        size_line = re.fullmatch(rb"([0-9A-Fa-f]+)[ \t]*(;.*)?", raw[position:end])
        if not size_line:
            response.error = "bad chunk"
            return len(raw)
        size, start = int(size_line[1], 16), end + 2
        if size == 0:
            return _read_trailers(raw, end, response)
        response.content += raw[start : start + size]
        position = start + size + 2
        if len(raw) < position:
            response.error = "truncated chunk"
            return len(raw)


def _read_trailers(raw, end_of_last_chunk, response):
    end = raw.find(b"\r\n\r\n", end_of_last_chunk)
    if end < 0:
        response.error = "truncated trailers"
        return len(raw)
    response.is_complete = True
    return end + 4
