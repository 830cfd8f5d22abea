"""Puts load on a Seawall that counts where it comes by, so that what is common for a proxy is common in the profile.

By numbers of requests, not by time: how fast the machine is must not matter. That the answers are right is for tests
to say; here each has to be a success.
"""

import argparse
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import clients
import peers
import processes
from network import free_port
from origin import Origin, make_certificate
from templates import fill

CONFIG = Path(__file__).parent / "seawall.toml"
CONNECTIONS = 32
KEYS = 20_000
# A program that counts is a few times slower.
DEADLINE = 120

# What browsers send with each request.
BROWSER = {
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "accept-language": "en-US,en;q=0.5",
    "accept-encoding": "gzip, deflate, br, zstd",
    "referer": "https://localhost/",
    "sec-fetch-dest": "empty",
    "sec-fetch-mode": "cors",
    "sec-fetch-site": "same-origin",
    "cookie": "session=0123456789abcdef",
}


@dataclass(frozen=True)
class Requests:
    """So many requests for a path, or for each of the keys in turn, and how they are sent."""

    number: int
    path: str
    fields: dict | None = None
    # Content to send, of this size.
    sends: int = 0
    http1: bool = True
    tls: bool = True
    status: str = "2xx"


def both(number, path, **more):
    """The same by HTTP/1.1 and by HTTP/2."""
    return [Requests(number, path, http1=http1, **more) for http1 in (True, False)]


def load(entity_tag):
    """What is asked, in order."""
    return [
        *both(60_000, "/c/1k.bin"),
        *both(30_000, "/c/1k.bin", fields=BROWSER),
        *both(30_000, "/c/1k.bin", fields={"if-none-match": entity_tag}, status="3xx"),
        *both(10_000, "/c/1k.bin", fields={"range": "bytes=100-299"}),
        Requests(20_000, "/c/1k.bin", tls=False),
        *both(10_000, "/c/100k.bin"),
        *both(100, "/c/10m.bin"),
        # At first none of them is stored.
        *both(2 * KEYS, "/k/"),
        *both(40_000, "/nc/1k.bin"),
        *both(20_000, "/nc/1k.bin", fields=BROWSER),
        Requests(20_000, "/nc/1k.bin", tls=False),
        *both(10_000, "/nc/100k.bin"),
        *both(50, "/nc/10m.bin"),
        *both(10_000, "/taken", sends=4096),
        Requests(1_000, "/taken", sends=200_000, http1=False),
    ]


class Recording:
    """A Seawall that counts, and an origin server behind it."""

    def __init__(self, running, program, directory):
        self._directory = directory
        self._cores = sorted(os.sched_getaffinity(0))
        self._origin = Origin.start(running, directory, free_port(), self._cores)
        self._plain_port = free_port()
        pem = make_certificate(directory)
        setting = peers.Setting(directory / "edge", free_port(), self._origin.port, *pem, workers=1)
        peer = peers.Peer("seawall", "Seawall", (), (), lambda setting: [self._command(program, setting)])
        self.server = peers.Server.start(running, peer, setting, self._cores)

    def _command(self, program, setting):
        values = {
            "DIRECTORY": setting.directory,
            "PORT": self._plain_port,
            "TLS_PORT": setting.tls_port,
            "ORIGIN_PORT": setting.origin_port,
            "CERTIFICATE": setting.certificate,
            "KEY": setting.key,
        }
        config = fill(CONFIG, setting.directory / "seawall.toml", values)
        return peers.Command([program, "run", "-c", config], {})

    def ask(self, requests):
        """Sends them, and fails unless each was answered as it should."""
        command = ["h2load", "-n", requests.number, "-c", CONNECTIONS, "-t", 1]
        command += ["--h1"] if requests.http1 else ["-m", 8]
        for name, value in (requests.fields or {}).items():
            command += ["-H", f"{name}: {value}"]
        if requests.sends:
            content = self._directory / "content"
            content.write_bytes(b"x" * requests.sends)
            command += ["-d", content]
        base = self.server.url("") if requests.tls else f"http://127.0.0.1:{self._plain_port}"
        if requests.path == "/k/":
            urls = self._directory / "urls"
            urls.write_text("".join(f"{base}/k/{key}\n" for key in range(KEYS)))
            command += ["-i", urls]
        else:
            command.append(base + requests.path)
        printed = processes.run([command], self._cores, DEADLINE)[0]
        if f"{requests.number} {requests.status}" not in printed:
            raise RuntimeError(f"{requests}: not every one was answered: {clients.ending(printed)}")

    def shake_hands(self, resume):
        """Opens connections for two seconds."""
        of_load = clients.Load(2, self._cores, self._directory)
        answers = clients.handshakes(self.server, "/c/1k.bin", of_load, 1024, resume)
        if answers.faults:
            raise RuntimeError("; ".join(answers.faults))


def main():
    """Runs a program that was built to count, and puts load on it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=Path)
    program = parser.parse_args().program
    with tempfile.TemporaryDirectory() as scratch, processes.Processes(scratch) as running:
        recording = Recording(running, program, Path(scratch))
        _, fields, _ = recording.server.connect_and_ask("/c/1k.bin")
        for requests in load(fields["ETag"]):
            recording.ask(requests)
        for resume in (False, True):
            recording.shake_hands(resume)
        # At its end it writes what it has counted.
        recording.server.stop()


if __name__ == "__main__":
    main()
