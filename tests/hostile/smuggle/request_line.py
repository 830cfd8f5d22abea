"""Request lines: separators, versions, targets, methods (RFC 9112 s3)."""

from .case import HOST, IDENTITY, Case, Want

GROUP = "line"
PATH = b"/c-" + IDENTITY
HTTP_1_1 = b" HTTP/1.1\r\n"


def _line(name, line, want=Want.REJECT, method="GET", after=HOST + b"\r\n"):
    return Case(f"line-{name}", GROUP, line + after, want, (method,))


def _target(name, target, want=Want.REJECT, method="GET"):
    return _line(name, method.encode() + b" " + target + HTTP_1_1, want, method)


def _version(name, version, want=Want.REJECT):
    return _line(name, b"GET " + PATH + b" " + version + b"\r\n", want)


CASES = [
    _line("lower-method", b"get " + PATH + HTTP_1_1, Want.SAFE),
    _line("tab", b"GET\t" + PATH + HTTP_1_1),
    _line("two-spaces", b"GET  " + PATH + HTTP_1_1),
    _version("two-spaces-version", b" HTTP/1.1"),
    _line("lead-crlf", b"\r\nGET " + PATH + HTTP_1_1, Want.SAFE),
    _line("lead-lf", b"\nGET " + PATH + HTTP_1_1, Want.SAFE),
    _line("lead-space", b" GET " + PATH + HTTP_1_1),
    _line("lead-cr", b"\rGET " + PATH + HTTP_1_1),
    _line("lead-nul", b"\x00GET " + PATH + HTTP_1_1),
    _version("trail-space", b"HTTP/1.1 "),
    _version("version-1.2", b"HTTP/1.2", Want.SAFE),
    _version("version-2.0", b"HTTP/2.0"),
    _version("version-1.32", b"HTTP/1.32"),
    _version("version-0.9", b"HTTP/0.9"),
    _version("version-lower", b"http/1.1"),
    _version("version-space", b"HTTP/ 1.1"),
    _version("version-overflow", b"HTTP/4294967295.255"),
    _line("version-none", b"GET " + PATH + b"\r\n"),
    _line("http09", b"GET " + PATH + b"\r\n", after=b"\r\n"),
    _version("version-junk", b"XTTP/1.1"),
    _line("lf-end", b"GET " + PATH + b" HTTP/1.1\n", Want.SAFE),
    _line("all-lf", b"GET " + PATH + b" HTTP/1.1\nHost: site.test\n\n", Want.SAFE, after=b""),
    _line("cr-inside", b"GET " + PATH + b"\rHTTP/1.1\r\n"),
    _line("lf-inside", b"GET " + PATH + b"\nHTTP/1.1\r\n"),
    _line("crcrlf", b"GET " + PATH + b" HTTP/1.1\r\r\n"),
    _target("nul-target", PATH + b"\x00x"),
    _target("ctl-target", PATH + b"\x01x"),
    _target("del-target", PATH + b"\x7fx"),
    _target("space-target", PATH + b" x"),
    _target("nonascii-target", PATH + b"\xc3\xa9"),
    _target("fragment", PATH + b"#frag"),
    _target("star-get", b"*"),
    _target("star-options", b"*", Want.SAFE, "OPTIONS"),
    _target("no-slash", b"c-" + IDENTITY),
    _target("at-target", b"@evil.test" + PATH),
    _target("backslash", b"\\c-" + IDENTITY),
    _target("bad-percent", PATH + b"/%zz", Want.SAFE),
    _target("percent-00", PATH + b"/%00", Want.SAFE),
    _target("percent-crlf", PATH + b"/%0d%0aX:%20y", Want.SAFE),
    _target("percent-lf-space", PATH + b"%20HTTP/1.1%0aX:y", Want.SAFE),
    _target("dotdot", PATH + b"/../../etc/passwd", Want.SAFE),
    _target("double-slash-host", b"//evil.test" + PATH, Want.SAFE),
    _target("uri-64k", PATH + b"a" * 65536),
    _line("method-junk", b'G=":<>(e),[T];?" ' + PATH + HTTP_1_1),
    _line("method-nul", b"G\x00T " + PATH + HTTP_1_1),
    _line("method-1000", b"G" * 1000 + b" " + PATH + HTTP_1_1, Want.SAFE),
    _line("method-only", b"GET\r\n"),
    _line("vt-sep", b"GET\x0b" + PATH + HTTP_1_1),
    _line("preface-then-h1", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET " + PATH + HTTP_1_1, Want.SAFE),
    _target("trace", PATH, Want.SAFE, "TRACE"),
    _line(
        "trace-body",
        b"TRACE " + PATH + HTTP_1_1 + b"Content-Length: 5\r\n",
        method="TRACE",
        after=HOST + b"\r\nhello",
    ),
]
