"""Host, targets with an authority, and CONNECT (RFC 9112 s3.2): whose request is it, and where does it go?"""

from .case import HIDDEN, HOST, IDENTITY, TRAP, Case, Want, length

GROUP = "host"
PATH = b"/c-" + IDENTITY
TO_TRAP = b"127.0.0.1:" + TRAP

#: Values of Host that name no host.
VALUES = {
    "space": b"site.test evil.test",
    "path": b"site.test/evil",
    "userinfo": b"u@site.test",
    "port-99999": b"site.test:99999",
    "port-abc": b"site.test:abc",
    "port-empty": b"site.test:",
    "nul": b"site.test\x00.evil.test",
    "comma": b"site.test, evil.test",
    "fold": b"site.test\r\n\t.evil.test",
    "quote": b'"site.test"',
    "xff-bytes": b"\xffsite.test\xff",
    "bracket": b"[::1",
    "percent": b"site.test%00",
    "question": b"site.test?x",
    "hash": b"site.test#x",
    "300-chars": b"a" * 300 + b".test",
}
#: Those of them that may be names of sites after all.
POSSIBLE = {"port-99999", "port-empty", "300-chars"}


def _fields(name, fields, want=Want.REJECT, target=PATH, **more):
    payload = b"GET " + target + b" HTTP/1.1\r\n" + fields + b"\r\n"
    return Case(f"host-{name}", GROUP, payload, want, ("GET",), **more)


def _value(name, value):
    return _fields(name, b"Host: " + value + b"\r\n", Want.SAFE if name in POSSIBLE else Want.REJECT)


def _target(name, target, want=Want.SAFE, fields=HOST, **more):
    return _fields(name, fields, want, target, **more)


def _connect(name, target, host, after, note=""):
    payload = b"CONNECT " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n" + after
    return Case(f"host-{name}", GROUP, payload, methods=("CONNECT",), note=note)


#: A target without a path says nothing of the case, so a field does.
NAMED = HOST + b"X-Case: c-" + IDENTITY + b"\r\n"

CASES = [
    _fields("none", b""),
    _fields("dup-same", HOST + HOST),
    _fields("dup-differ", HOST + b"Host: evil.test\r\n"),
    _fields("empty", b"Host:\r\n", Want.SAFE),
    *(_value(name, value) for name, value in VALUES.items()),
    _fields("lead-space", b" Host: site.test\r\n"),
    _fields("space-colon", b"Host : site.test\r\n"),
    _fields("trailing-dot", b"Host: site.test.\r\n", Want.SAFE),
    _fields("upper", b"Host: SITE.TEST\r\n", Want.ACCEPT),
    _target("abs-match", b"http://site.test" + PATH, Want.ACCEPT),
    _target("abs-differs", b"http://site.test" + PATH, fields=b"Host: evil.test\r\n", target_rules=True),
    _target("abs-evil-host-good", b"http://evil.test" + PATH),
    _target("abs-ssrf", b"http://" + TO_TRAP + b"/trap-" + IDENTITY),
    _target("host-ssrf", b"/trap-" + IDENTITY, fields=b"Host: " + TO_TRAP + b"\r\n"),
    _target("abs-no-path", b"http://site.test", fields=NAMED),
    _target("abs-root", b"http://site.test/", fields=NAMED, note="VSV00018"),
    _target("abs-https-scheme", b"https://site.test" + PATH),
    _target("abs-ftp", b"ftp://site.test" + PATH),
    _target("abs-file", b"file:///etc/passwd?c-" + IDENTITY),
    _target("abs-userinfo", b"http://a:b@site.test" + PATH),
    _target("abs-empty-host", b"http://" + PATH),
    _target(
        "abs-no-host-header",
        b"http://site.test" + PATH,
        Want.REJECT,
        fields=b"X-Case: c-" + IDENTITY + b"\r\n",
    ),
    _connect("connect", TO_TRAP, TO_TRAP, b"\r\nGET /trap-" + IDENTITY + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
    _connect("connect-self", b"site.test:80", b"site.test", b"\r\n" + HIDDEN, "Traefik 2026 CONNECT desync"),
    _connect("connect-path-body", PATH, b"site.test", length(HIDDEN) + b"\r\n" + HIDDEN),
]
