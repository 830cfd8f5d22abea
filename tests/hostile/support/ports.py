"""Free ports for what must be told one.

They lie below the range from which the system takes the ports of outgoing connections, so that none of these
takes a port away while nobody listens there.
"""

import itertools
import random
import socket

LOOPBACK = "127.0.0.1"
LOWEST = 10_000


def free_ports():
    """Ports of the loopback address where nobody listens, none of them twice."""
    limit = _first_outgoing()
    start = random.randrange(LOWEST, limit)
    for port in itertools.chain(range(start, limit), range(LOWEST, start)):
        if _is_free(port):
            yield port


def _is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _first_outgoing():
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
            first = int(file.read().split()[0])
    except (OSError, ValueError, IndexError):
        first = 0
    return first if first > LOWEST + 1_000 else 32_768
