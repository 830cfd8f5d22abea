"""What an origin server was sent, read as RFC 9112 says and no other way.

Whatever two recipients could read differently is a violation. That is the oracle of the suites: if what
reached an origin server has none, nothing can be hidden in it.
"""

import re
from dataclasses import dataclass, field

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([\x21-\xff]+) HTTP/(1\.[01])")
HOST = re.compile(rb"[0-9A-Za-z.\-_~]*(:\d{0,5})?|\[[0-9A-Fa-f:.]+\](:\d{0,5})?")
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})((?:;[\t\x20-\x7e\x80-\xff]+)?)")
FORBIDDEN_IN_TRAILERS = set(
    b"content-length transfer-encoding host authorization cookie set-cookie content-encoding content-type"
    b" content-range trailer cache-control te max-forwards expect connection".split()
)
#: Names that servers of CGI and its kin take for trusted ones with hyphens.
ALIASES = set(
    b"content_length transfer_encoding x_forwarded_for x_forwarded_host x_forwarded_proto x_real_ip".split()
)
#: What Connection may name although the field is still there.
OF_THE_CONNECTION = {b"connection", b"upgrade", b"close", b"keep-alive", b"te"}
#: Of a request of which only the beginning came. Harmless, unless somebody else's follows in its place.
INCOMPLETE = ("incomplete-head", "incomplete-content")


@dataclass
class StrictRequest:
    """A request that could be read so far."""

    method: bytes
    target: bytes
    version: bytes
    #: Names in lower case with values, in their order.
    fields: list = field(default_factory=list)
    content: bytes = b""

    def values(self, name):
        """All values of a field."""
        return [value for found, value in self.fields if found == name]


class Reading:
    """What is in some bytes: requests, violations, and the rest that could not be read.

    A violation that begins with `~` is reported, and not held against who forwarded it.
    """

    def __init__(self, raw):
        self.requests, self.violations, self.rest = [], [], b""
        self._raw, self._position = raw, 0
        while self._position is not None and self._position < len(raw):
            self._position = self._read_request(self._position)

    def _object(self, violation, about=None):
        self.violations.append(violation if about is None else f"{violation} {about!r}")

    def _end(self, rest_from=None):
        """No request can be found after this."""
        if rest_from is not None:
            self.rest = self._raw[rest_from:]

    def _read_request(self, start):
        end = self._raw.find(b"\r\n\r\n", start)
        if end < 0:
            return self._end_inside_head(start)
        request_line, *lines = self._raw[start:end].split(b"\r\n")
        matched = REQUEST_LINE.fullmatch(request_line)
        if not matched:
            self._object("request-line", request_line[:48])
            return self._end(start)
        request = StrictRequest(*matched.groups())
        self._check_target(request)
        self._read_fields(request, lines)
        self._check_hosts(request)
        self._check_connection(request)
        return self._read_content(request, end + 4)

    def _end_inside_head(self, start):
        head = self._raw[start:]
        if head.strip(b"\r\n") == b"":
            return None
        if re.search(rb"[^\r]\n\r?\n", head):
            self._object("bare-lf")
        self._object("incomplete-head")
        return self._end(start)

    def _check_target(self, request):
        target = request.target
        if not target.startswith(b"/") and (request.method, target) != (b"OPTIONS", b"*"):
            self._object("target-form", target[:40])
        if b"#" in target:
            self._object("fragment")
        if re.search(rb"[\x80-\xff]", target):
            self._object("raw-nonascii-target")
        if re.search(rb"[\"<>\\^`{|}]", target):
            self._object("~odd-target")

    def _read_fields(self, request, lines):
        for line in lines:
            if line.startswith((b" ", b"\t")):
                self._object("obs-fold")
                continue
            name, colon, value = line.partition(b":")
            if not colon:
                self._object("no-colon", line[:30])
                continue
            if not re.fullmatch(TOKEN, name):
                self._object("field-name", name[:30])
            if re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value):
                self._object("control-in-value", value[:30])
            if name.lower() in ALIASES:
                self._object("alias", name)
            request.fields.append((name.lower(), value.strip(b" \t")))

    def _check_hosts(self, request):
        hosts = request.values(b"host")
        if len(hosts) != 1 and request.version == b"1.1":
            self._object("host-count", len(hosts))
        for host in hosts:
            if not HOST.fullmatch(host):
                self._object("bad-host", host[:30])

    def _check_connection(self, request):
        lists = request.values(b"connection")
        nominated = {option.strip().lower() for value in lists for option in value.split(b",")}
        for name, _ in request.fields:
            if name in nominated and name not in OF_THE_CONNECTION:
                self._object("hop-by-hop", name)
        wants_h2c = any(value.lower().startswith(b"h2c") for value in request.values(b"upgrade"))
        if wants_h2c or request.values(b"http2-settings"):
            self._object("h2c-upgrade")

    def _read_content(self, request, start):
        lengths, codings = request.values(b"content-length"), request.values(b"transfer-encoding")
        if len(lengths) > 1:
            self._object("two-lengths")
        if len(codings) > 1:
            self._object("two-codings")
        if lengths and codings:
            self._object("length-and-coding")
        if codings and request.version == b"1.0":
            self._object("coding-in-1.0")
        self.requests.append(request)
        if codings:
            if codings[-1].lower() != b"chunked":
                self._object("bad-coding", codings[-1][:30])
            return self._read_chunks(request, start)
        return self._read_counted(request, start, lengths[0]) if lengths else start

    def _read_counted(self, request, start, length):
        if not re.fullmatch(rb"\d{1,19}", length):
            self._object("bad-length", length[:30])
            return self._end(start)
        end = start + int(length)
        request.content = self._raw[start:end]
        return end if end <= len(self._raw) else self._object("incomplete-content")

    def _read_chunks(self, request, position):
        while True:
            end = self._raw.find(b"\r\n", position)
            if end < 0:
                return self._object("incomplete-content")
            line = CHUNK_LINE.fullmatch(self._raw[position:end])
            if not line:
                self._object("chunk-line", self._raw[position:end][:30])
                request.content += self._raw[position:]
                return self._end(position)
            size, start = int(line[1], 16), end + 2
            if size == 0:
                return self._read_trailers(start)
            request.content += self._raw[start : start + size]
            position = start + size + 2
            if len(self._raw) < position:
                return self._object("incomplete-content")
            if self._raw[start + size : position] != b"\r\n":
                self._object("chunk-end", self._raw[start + size : position + 2])
                return self._end(end)

    def _read_trailers(self, position):
        while True:
            end = self._raw.find(b"\r\n", position)
            if end < 0:
                return self._object("incomplete-content")
            line, position = self._raw[position:end], end + 2
            if line == b"":
                return position
            name, colon, value = line.partition(b":")
            if not colon or not re.fullmatch(TOKEN, name) or re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value):
                self._object("trailer", line[:30])
            if name.lower() in FORBIDDEN_IN_TRAILERS:
                self._object("forbidden-trailer", name)


def violations_of(raw, is_cut_harmless):
    """The violations in `raw`; a beginning without an end is none where that does no harm."""
    found = Reading(raw).violations
    return [violation for violation in found if not (is_cut_harmless and violation in INCOMPLETE)]
