"""What is measured: what a client asks for, how, and where the answer has to come from."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import clients
from clients import Answers, Load, Wanted
from origin import SIZES
from peers import Server

CONNECTIONS = 64
# Requests a second on each of them, where they come at a fixed rate: any server has time left.
RATE = 100
ZIPF = Path(__file__).parent / "zipf.lua"


class Source(Enum):
    """Where the answers have to come from."""

    CACHE = "the cache"
    # So that servers without one have a place in it, too.
    CACHE_IF_ANY = "the cache of those that have one"
    ORIGIN = "the origin server"


@dataclass(frozen=True)
class Workload:
    """One kind of load."""

    name: str
    title: str
    how: str
    ask: Callable[[Server, Load], Answers]
    source: Source = Source.CACHE
    # Whether the many small objects have to be in the cache.
    many_keys: bool = False

    def fits(self, peer):
        """Whether a server has a place in it."""
        return peer.caches or self.source is not Source.CACHE


def _http1(path, connections=CONNECTIONS):
    size = SIZES[Path(path).stem]
    return lambda server, load: clients.wrk(server.url(path), load, connections, size)


def _http2(path, connections, streams):
    size = SIZES[Path(path).stem]
    wanted = Wanted("h2", 2, size)
    return lambda server, load: clients.h2load(server.url(path), load, connections, streams, wanted)


def _at_fixed_rate(server, load):
    wanted = Wanted("http/1.1", 2, SIZES["1k"])
    return clients.h2load(server.url("/c/1k.bin"), load, CONNECTIONS, 1, wanted, rate=RATE)


def _handshakes(resume):
    return lambda server, load: clients.handshakes(server, "/c/1k.bin", load, SIZES["1k"], resume)


def _not_modified(server, load):
    # wrk waits for content after a 304 with Content-Length, which HAProxy sends and RFC 9110 s8.6 allows.
    _, fields, _ = server.connect_and_ask("/c/1k.bin")
    condition = ("If-None-Match", fields["ETag"])
    return clients.h2load(
        server.url("/c/1k.bin"), load, CONNECTIONS, 1, Wanted("http/1.1", 3, 0), [condition]
    )


def throughput(keys):
    """What is measured in CPU time a request; where there are many small objects, there are so many."""

    def zipf(server, load):
        return clients.wrk(server.url("/k/0"), load, CONNECTIONS, SIZES["4k"], script=(ZIPF, keys))

    kept = f"{CONNECTIONS} kept connections, wrk"
    validated = f"{CONNECTIONS} kept connections, h2load --h1, If-None-Match"
    each = "with one request for 1 KiB from the cache each"
    return (
        Workload("cached-1k", "1 KiB from the cache, HTTP/1.1", kept, _http1("/c/1k.bin")),
        Workload("cached-100k", "100 KiB from the cache, HTTP/1.1", kept, _http1("/c/100k.bin")),
        Workload(
            "cached-10m",
            "10 MiB from the cache, HTTP/1.1",
            "4 kept connections, wrk",
            _http1("/c/10m.bin", 4),
        ),
        Workload(
            "cached-1k-h2",
            "1 KiB from the cache, HTTP/2",
            "32 connections with 32 streams each, h2load",
            _http2("/c/1k.bin", 32, 32),
        ),
        Workload("not-modified", "304 from the cache, HTTP/1.1", validated, _not_modified),
        Workload(
            "fixed-rate",
            "1 KiB from the cache at a fixed rate, HTTP/1.1",
            f"{CONNECTIONS} kept connections with {RATE} requests a second each, h2load --h1",
            _at_fixed_rate,
        ),
        Workload(
            "zipf",
            f"{keys:,} objects of 4 KiB from the cache, HTTP/1.1",
            kept + ", which one by Zipf's law with exponent 1",
            zipf,
            many_keys=True,
        ),
        Workload(
            "passed-1k",
            "1 KiB that may not be stored, HTTP/1.1",
            kept,
            _http1("/nc/1k.bin"),
            Source.ORIGIN,
        ),
        Workload(
            "passed-100k",
            "100 KiB that may not be stored, HTTP/1.1",
            kept,
            _http1("/nc/100k.bin"),
            Source.ORIGIN,
        ),
        Workload(
            "handshake-full",
            "Full TLS handshakes",
            f"{clients.HANDSHAKE_CLIENTS} openssl s_time -new, {each}",
            _handshakes(resume=False),
            Source.CACHE_IF_ANY,
        ),
        Workload(
            "handshake-resumed",
            "Resumed TLS handshakes",
            f"{clients.HANDSHAKE_CLIENTS} openssl s_time -reuse, {each}",
            _handshakes(resume=True),
            Source.CACHE_IF_ANY,
        ),
    )


IDLE = "idle"
TWO_WORKERS = "two-workers"
# What is asked of servers with two workers and with one.
BY_TWO = ("cached-1k", "cached-1k-h2")
