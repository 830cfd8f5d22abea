"""Clients that behave well, and what they suffer while others do not.

Each is a process of its own and makes a connection for each request. Beside one that asks the program another
one asks the origin server: what that one has to wait is the machine's fault, or the suite's.
"""

import multiprocessing
from collections import Counter
from dataclasses import dataclass, field

from .client import Address, ask

#: Seconds that 99 of 100 answers may take, unless the origin server alone takes a third of that.
SLOWEST = 1.0
BETWEEN_REQUESTS = 0.05


@dataclass
class Service:
    """How a good client was served; `ninety_ninth` is in seconds."""

    requests: int = 0
    lost: int = 1
    ninety_ninth: float = 99.0
    errors: Counter = field(default_factory=lambda: Counter(["the client is stuck"]))

    def __str__(self):
        answered = f"{self.requests - self.lost}/{self.requests}"
        return f"good client {answered} p99 {self.ninety_ninth * 1000:.0f} ms"


class GoodClient:
    """Asks until `stop`."""

    def __init__(self, address):
        context = multiprocessing.get_context("fork")
        self._stopping, self._result = context.Event(), context.SimpleQueue()
        self._process = context.Process(target=self._ask_on, args=(address,), daemon=True)
        self._process.start()

    def _ask_on(self, address):
        seconds, errors = [], Counter()
        while not self._stopping.is_set():
            response = ask(address, f"/good-{len(seconds)}", timeout=5.0)
            seconds.append(response.seconds)
            if response.status != 200 or not response.is_complete:
                errors[response.error or str(response.status)] += 1
            self._stopping.wait(BETWEEN_REQUESTS)
        seconds.sort()
        ninety_ninth = seconds[min(len(seconds) - 1, len(seconds) * 99 // 100)] if seconds else 0.0
        self._result.put(Service(len(seconds), errors.total(), ninety_ninth, errors))

    def stop(self):
        """How it was served."""
        self._stopping.set()
        self._process.join(12)
        service = Service() if self._result.empty() else self._result.get()
        self._process.kill()
        return service


class GoodClients:
    """One that asks the program and one that asks its origin server, during a `with`."""

    def __init__(self, stage):
        self._addresses = stage.encrypted, Address(stage.origin_port)
        self.service = self.of_the_origin = None

    def __enter__(self):
        self._clients = [GoodClient(address) for address in self._addresses]
        return self

    def __exit__(self, *_):
        self.service, self.of_the_origin = [client.stop() for client in self._clients]

    def complaints(self):
        """What the one had to suffer that the other had not."""
        complaints = []
        if self.service.lost > self.of_the_origin.lost:
            complaints.append(f"a good client lost {self.service.lost}: {dict(self.service.errors)}")
        alone = self.of_the_origin.ninety_ninth
        if self.service.ninety_ninth > max(SLOWEST, 3 * alone):
            complaints.append(f"a good client waited (the origin server alone: p99 {alone:.2f} s)")
        return complaints
