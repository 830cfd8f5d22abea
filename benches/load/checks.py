"""Whether answers are right and come from where they must: each before measuring, by number after it."""

from clients import CIPHER
from network import FAILURES
from origin import SIZES
from workloads import Source


def objects(server, origin):
    """Asks for each object as it will be asked for, and returns what is not as it must be."""
    faults = []
    try:
        with server.connect() as connection:
            if connection.tls() != ("TLSv1.3", CIPHER):
                faults.append(f"TLS is {connection.tls()}")
            for folder in ("c", "nc"):
                for name, content in origin.content.items():
                    faults += _object(server.peer, origin, connection, f"/{folder}/{name}.bin", content)
    except FAILURES as error:
        faults.append(repr(error))
    return faults


def _object(peer, origin, connection, path, content):
    faults = []
    for _ in range(3):
        before = origin.requests()
        status, _, got = connection.get(path)
        asked = origin.requests() - before
        if status != 200 or got != content:
            faults.append(f"{path}: status {status}, {len(got)} bytes")
    # By the third time it is stored, if it may be.
    wanted = 0 if path.startswith("/c/") and peer.caches else 1
    if asked != wanted:
        faults.append(f"{path}: {asked} requests to the origin server instead of {wanted}")
    return faults


def store(server, keys):
    """Asks for each of so many small objects once, and returns what is not as it must be."""
    wrong = 0
    try:
        with server.connect() as connection:
            for key in range(keys):
                status, _, content = connection.get(f"/k/{key}")
                wrong += status != 200 or len(content) != SIZES["4k"]
    except FAILURES as error:
        return [repr(error)]
    return [f"{wrong} of {keys} small objects were not answered"] if wrong else []


def source(workload, peer, requests, asked):
    """What is wrong with so many requests to the origin server for so many of clients."""
    cached = workload.source is not Source.ORIGIN
    if cached and peer.caches and asked > max(5, requests // 1000):
        return [f"{asked} of {requests} requests went to the origin server"]
    if not cached and asked < requests * 0.99:
        return [f"only {asked} of {requests} requests went to the origin server"]
    return []
