"""Clients that ask without a pause while something happens to the program, and count what they miss."""

import itertools
import threading
import time
from collections import Counter

from support.client import ask, read_until_quiet
from support.responses import Response, read_responses

CLIENTS = 6
PAUSE = 0.01
#: Seconds that an answer may take.
LONGEST = 10.0


class Load:
    """During a `with`: half of the clients make a connection for each request, half of them keep theirs."""

    def __init__(self, address):
        self.requests, self.errors, self.longest = 0, Counter(), 0.0
        #: Connections that ended between two answers, where any client asks again.
        self.closed_idle = 0
        self._address, self._stopping, self._lock = address, threading.Event(), threading.Lock()
        ways = itertools.islice(itertools.cycle([self._ask_anew, self._ask_on]), CLIENTS)
        self._threads = [threading.Thread(target=way, daemon=True) for way in ways]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        for thread in self._threads:
            thread.join(LONGEST + 2)

    def __str__(self):
        said = f"{self.requests} requests, {self.errors.total()} failed {dict(self.errors) or ''}"
        return f"{said}, {self.closed_idle} closed while idle, longest {self.longest:.2f} s"

    @property
    def is_unhurt(self):
        """Whether every request got its answer."""
        return not self.errors

    def _ask_anew(self):
        for number in itertools.count():
            self._note(ask(self._address, f"/load/{number}", timeout=LONGEST))
            if self._stopping.wait(PAUSE):
                return

    def _ask_on(self):
        kept = KeptConnection(self._address)
        for number in itertools.count():
            began = time.monotonic()
            response = kept.ask(f"/load/k{number}")
            if response is None:
                with self._lock:
                    self.closed_idle += 1
            else:
                response.seconds = time.monotonic() - began
                self._note(response)
            if self._stopping.wait(PAUSE):
                kept.close()
                return

    def _note(self, response):
        with self._lock:
            self.requests += 1
            self.longest = max(self.longest, response.seconds)
            if response.status != 200 or not response.is_complete:
                self.errors[response.error or str(response.status)] += 1


class KeptConnection:
    """One request after the other over one connection, and over another one once that has ended."""

    def __init__(self, address):
        self._address, self._connection, self._answered = address, None, 0

    def close(self):
        """The next request opens another one."""
        if self._connection:
            self._connection.close()
        self._connection, self._answered = None, 0

    def ask(self, path):
        """The response. None where the connection ended between two answers: it may be asked again."""
        try:
            raw, is_closed = self._exchange(path)
        except OSError as error:
            was_idle = self._answered and isinstance(error, ConnectionError)
            self.close()
            return None if was_idle else Response(error=type(error).__name__)
        if not raw and is_closed and self._answered:
            self.close()
            return None
        response = (read_responses(raw, ("GET",), is_closed) or [Response(error="no response")])[0]
        self._answered += 1
        if is_closed or not response.status or response.field("connection").lower() == "close":
            self.close()
        return response

    def _exchange(self, path):
        if self._connection is None:
            self._connection = self._address.open(timeout=LONGEST)
        self._connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {self._address.host}\r\n\r\n".encode())
        raw, is_closed, _ = read_until_quiet(self._connection, LONGEST, linger=0)
        return raw, is_closed
