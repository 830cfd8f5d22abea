"""Connections to the program under test, and clean requests over them.

Only the loopback address is ever spoken to: what is sent from here is meant to do harm.
"""

import math
import socket
import ssl
import struct
import time
from dataclasses import dataclass
from functools import cache

from .ports import LOOPBACK
from .responses import Response, read_responses

#: The site that the program serves.
HOST = "site.test"
#: The errors of a socket that has nothing to read, or no room to write, just now.
NOT_NOW = (BlockingIOError, TimeoutError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


@dataclass(frozen=True)
class Address:
    """Where to connect to, with TLS or without."""

    port: int
    is_encrypted: bool = False
    #: The site that is asked there.
    host: str = HOST

    def open(self, timeout=3.0, protocol="http/1.1", receive_buffer=None):
        """A connection whose handshake is done. Raises OSError where there is none in time."""
        connection = self.open_tcp(timeout, receive_buffer)
        if not self.is_encrypted:
            return connection
        try:
            return _trusting_anyone(protocol).wrap_socket(connection, server_hostname=self.host)
        except BaseException:
            connection.close()
            raise

    def open_tcp(self, timeout=3.0, receive_buffer=None):
        """A connection without a handshake, whatever is expected there."""
        connection = socket.socket()
        try:
            if receive_buffer:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            connection.settimeout(timeout)
            connection.connect((LOOPBACK, self.port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            connection.close()
            raise
        return connection


@cache
def _trusting_anyone(protocol):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    return context


def read_until_quiet(connection, timeout, answers=1, methods=("GET",), linger=0.12):
    """The bytes that come until so many whole responses and a little more, an end, or the timeout.

    With them, whether the connection has ended, and whether by a reset.
    """
    raw, linger_until = b"", None
    deadline = time.monotonic() + timeout
    while True:
        limit = deadline if linger_until is None else min(deadline, linger_until)
        left = limit - time.monotonic()
        if left <= 0:
            return raw, False, False
        connection.settimeout(max(0.01, left))
        try:
            received = connection.recv(1 << 16)
        except NOT_NOW:
            continue
        except OSError:
            return raw, True, True
        if not received:
            return raw, True, False
        raw += received
        if linger_until is None:
            complete = sum(response.is_complete for response in read_responses(raw, methods, False))
            if complete >= answers:
                linger_until = time.monotonic() + linger


def ask(address, path, method="GET", fields=(), content=b"", timeout=5.0):
    """The response to one clean request on a connection of its own, with an error where none came."""
    began = time.monotonic()
    try:
        with address.open(timeout=timeout) as connection:
            connection.sendall(_request(address.host, method, path, fields, content))
            raw, is_closed, is_reset = read_until_quiet(connection, timeout, 1, (method,), linger=0)
        responses = read_responses(raw, (method,), is_closed and not is_reset)
        nothing = "closed with no response" if is_closed else "no response in time"
        response = responses[0] if responses else Response(error=nothing)
    except OSError as error:
        response = Response(error=f"{type(error).__name__}: {error}")
    response.seconds = time.monotonic() - began
    return response


def _request(host, method, path, fields, content):
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in fields]
    if content:
        lines.append(f"Content-Length: {len(content)}")
    return "\r\n".join(lines).encode("latin1") + b"\r\n\r\n" + content


def seconds_until_served(address, limit):
    """How long it takes until a plain request is answered within a second; infinity if over the limit."""
    began = time.monotonic()
    while time.monotonic() - began < limit:
        if ask(address, "/good-again", timeout=1.0).status == 200:
            return time.monotonic() - began
        time.sleep(0.1)
    return math.inf


def must_serve(address):
    """Raises RuntimeError unless a plain request is answered."""
    response = ask(address, "/warm", timeout=10.0)
    if response.status != 200:
        raise RuntimeError(f"a plain request is not served: {response}")


def reset_on_close(connection):
    """Has the end of a connection be a reset instead of an orderly one."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
