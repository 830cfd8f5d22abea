"""Ports of this machine, and single requests over TLS."""

import http.client
import socket
import ssl
import time
from functools import cache

# What a connection that goes wrong ends in.
FAILURES = (OSError, http.client.HTTPException)

_given = set()


def free_port():
    """A port that nothing listens on; never the same one twice."""
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port


def until(attempt, seconds):
    """Tries again until it does not fail, and returns what comes of it; after so many seconds it fails."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except FAILURES:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@cache
def trusting():
    """A client of TLS that takes any certificate; what it offers is in openssl.cnf."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Connection:
    """A kept connection to a server; as a context it is closed."""

    def __init__(self, port):
        self._http = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=trusting())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._http.close()

    def get(self, path, fields=None):
        """Asks for a path and returns status, fields and content."""
        self._http.request("GET", path, headers=fields or {})
        response = self._http.getresponse()
        return response.status, response.headers, response.read()

    def tls(self):
        """Version and cipher suite."""
        if self._http.sock is None:
            self._http.connect()
        return self._http.sock.version(), self._http.sock.cipher()[0]

    def is_open(self):
        """Whether the server has left it open."""
        if self._http.sock is None:
            return False
        self._http.sock.settimeout(0)
        try:
            return self._http.sock.recv(1) != b""
        except (ssl.SSLWantReadError, BlockingIOError):
            return True
        except OSError:
            return False
