"""An origin server that keeps all it gets, byte by byte, and does as it is told with each request."""

import enum
import multiprocessing
import socket
import threading
import time
from contextlib import suppress

from .client import reset_on_close
from .ports import LOOPBACK
from .requests import read_request, waits_for_continue

#: No connection is held without a byte for longer than this, nor by `Step.HANG`.
PATIENCE = 60.0


class Step(enum.Enum):
    """What an origin server does apart from sending bytes and letting seconds pass."""

    CLOSE = enum.auto()
    RESET = enum.auto()
    HANG = enum.auto()


class Connection:
    """One from the program under test, and all that came over it."""

    def __init__(self, connection):
        self.socket, self.raw, self.requests, self.is_closed = connection, bytearray(), 0, False


class Origin:
    """Listens from the beginning until `close`.

    `answer(request, connection)` says what is done: a list of bytes to send, seconds to wait, and steps.
    Without it, or where it says None, requests are answered by `echo`.
    """

    def __init__(self, port, answer=None):
        self._answer, self._connections, self._lock = answer, [], threading.Lock()
        self._closing = threading.Event()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((LOOPBACK, port))
        self._listener.listen(4096)
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends the listener and every connection."""
        self._closing.set()
        _shut_down(self._listener)
        self._listener.close()
        # While it waits for connections, the system has the address taken.
        self._accepting.join()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            if not connection.is_closed:
                _shut_down(connection.socket)

    def mark(self):
        """A moment, for `since`."""
        with self._lock:
            return {connection: len(connection.raw) for connection in self._connections}

    def since(self, mark):
        """The connections over which something came after that moment, each with what it was."""
        with self._lock:
            connections = list(self._connections)
        heard = [(connection, bytes(connection.raw[mark.get(connection, 0) :])) for connection in connections]
        return [(connection, raw) for connection, raw in heard if raw]

    def forget(self):
        """Drops what is kept of connections that have ended."""
        with self._lock:
            self._connections = [connection for connection in self._connections if not connection.is_closed]

    def _accept(self):
        while not self._closing.is_set():
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            connection = Connection(accepted)
            with self._lock:
                self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.socket.settimeout(PATIENCE + 5)
        try:
            self._exchange(connection)
        # A number that does not fit is the fault of who forwarded it, and what came is kept.
        except (OSError, ValueError, OverflowError):
            pass
        finally:
            connection.is_closed = True
            connection.socket.close()

    def _exchange(self, connection):
        buffer = b""
        while True:
            request, used = read_request(buffer)
            if request is None:
                if waits_for_continue(buffer):
                    connection.socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                received = connection.socket.recv(1 << 16)
                if not received:
                    return
                connection.raw += received
                buffer += received
                continue
            buffer = buffer[used:]
            connection.requests += 1
            steps = self._answer(request, connection) if self._answer else None
            is_open = self._play(connection, [echo(request, connection)] if steps is None else steps)
            if not is_open or request.is_last:
                return

    def _play(self, connection, steps):
        """Does one step after the other; whether the connection goes on after them."""
        for step in steps:
            if isinstance(step, float):
                time.sleep(step)
            elif isinstance(step, bytes):
                connection.socket.sendall(step)
            else:
                if step is Step.RESET:
                    reset_on_close(connection.socket)
                elif step is Step.HANG:
                    self._closing.wait(PATIENCE)
                return False
        return True


def _shut_down(connection):
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


NO_STORE = b"Cache-Control: no-store\r\n"


def response(content, fields=NO_STORE, status=b"200 OK"):
    """A response of which the length is told."""
    length = b"Content-Length: %d\r\n" % len(content)
    return b"HTTP/1.1 " + status + b"\r\n" + length + fields + b"\r\n" + content


def head_of(message):
    """A message without its content."""
    return message[: message.find(b"\r\n\r\n") + 4]


def echo(request, connection, fields=NO_STORE):
    """A response that tells what was asked for."""
    said = (request.method, request.target[:200], connection.requests, len(request.content))
    whole = response(b"echo %s %s n=%d len=%d\n" % said, b"Content-Type: text/plain\r\n" + fields)
    return head_of(whole) if request.method == b"HEAD" else whole


class OriginProcess:
    """An origin server in a process of its own, so that it is not slowed by an attack from this one."""

    def __init__(self, port, answer):
        context = multiprocessing.get_context("fork")
        self._asked, listens = context.Value("i", 0), context.Event()
        self._process = context.Process(target=self._serve, args=(port, answer, listens), daemon=True)
        self._process.start()
        if not listens.wait(10):
            raise RuntimeError("the origin server does not start")

    def _serve(self, port, answer, listens):
        def counting(request, connection):
            if not request.target.startswith(b"/good"):
                with self._asked.get_lock():
                    self._asked.value += 1
            return answer(request, connection)

        with Origin(port, counting):
            listens.set()
            threading.Event().wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.join()

    @property
    def asked(self):
        """How many requests came since `begin_count`, those of good clients aside."""
        return self._asked.value

    def begin_count(self):
        """Counts anew."""
        with self._asked.get_lock():
            self._asked.value = 0
