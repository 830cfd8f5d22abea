"""The origin server: what it serves, and how often it was asked."""

import http.client
import re
import secrets
import subprocess

from network import until
from templates import fill

KIB = 1024
SIZES = {"1k": KIB, "4k": 4 * KIB, "100k": 100 * KIB, "10m": 10 * KIB * KIB}


class Origin:
    """A running origin server. Answers under /c/ and /k/ may be stored, those under /nc/ may not."""

    def __init__(self, port, content):
        self.port = port
        self.content = content
        self._own = 0

    @classmethod
    def start(cls, processes, directory, port, cores):
        """Writes its files and starts it; `directory` is its own."""
        content = {name: secrets.token_hex(size // 2).encode() for name, size in SIZES.items()}
        for folder in ("c", "nc"):
            (directory / "files" / folder).mkdir(parents=True)
            for name, text in content.items():
                (directory / "files" / folder / f"{name}.bin").write_bytes(text)
        config = fill("origin.conf", directory / "origin.conf", {"DIRECTORY": directory, "ORIGIN_PORT": port})
        command = ["nginx", "-e", directory / "error.log", "-c", config]
        processes.serve("origin", command, cores, {})
        origin = cls(port, content)
        until(origin.requests, 10)
        return origin

    def requests(self):
        """Requests that it has answered, but for those that ask this."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/status")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        self._own += 1
        return int(re.search(r"^ *\d+ \d+ (\d+)", text, re.MULTILINE)[1]) - self._own


def make_certificate(directory):
    """Makes an ECDSA P-256 certificate for this machine, and returns the paths of it, its key, and both.

    hitch ends where a certificate has no DNS name and a client names the host.
    """
    certificate, key, both = (directory / name for name in ("certificate.pem", "key.pem", "both.pem"))
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-days", "30", *curve, *names, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    both.write_text(certificate.read_text() + key.read_text())
    return certificate, key, both
