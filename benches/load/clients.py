"""The tools that put load on a server, and what they say of it.

wrk for HTTP/1.1, h2load for HTTP/2 and 304, `openssl s_time` for a connection a request. What each of them
prints is looked through for what was not as it must be; what follows from that is decided elsewhere.
"""

import re
import time
from dataclasses import dataclass, field
from pathlib import Path

import processes

# What the fields of a response, TLS and framing add to a small content, at most.
OVERHEAD = 1000
HANDSHAKE_CLIENTS = 8
# What openssl.cnf has.
CIPHER = "TLS_AES_128_GCM_SHA256"


@dataclass(frozen=True)
class Load:
    """For how long a client asks, and from where."""

    seconds: int
    cores: list[int]
    scratch: Path

    @property
    def deadline(self):
        """Seconds after which a client is ended that should have ended by itself."""
        return self.seconds + 60


@dataclass
class Answers:
    """What a client got: complete responses, and in how many seconds; latencies in microseconds."""

    requests: int
    seconds: float
    median: float | None = None
    p99: float | None = None
    faults: list[str] = field(default_factory=list)


def wrk(url, load, connections, size, script=()):
    """Asks over kept connections, one request at a time on each."""
    command = [
        "wrk",
        f"-t{len(load.cores)}",
        f"-c{connections}",
        f"-d{load.seconds}s",
        "--timeout",
        "10s",
        "--latency",
    ]
    if script:
        command += ["-s", script[0], url, "--", *script[1:]]
    else:
        command.append(url)
    return read_wrk(processes.run([command], load.cores, load.deadline)[0], connections, size)


def read_wrk(text, connections, size):
    """What wrk printed, as answers of so many bytes of content."""
    total = re.search(r"(\d+) requests in ([\d.]+\w+), ([\d.]+)([KMG]?B) read", text)
    if total is None or int(total[1]) == 0:
        return Answers(0, 1, faults=[f"wrk got no answer: {ending(text)}"])
    requests = int(total[1])
    each = float(total[3]) * 1024 ** "BKMG".index(total[4][0]) / requests
    # Of each connection a response may be half read at the end.
    most = size * (1.005 + connections / requests) + OVERHEAD
    faults = []
    if not size * 0.995 <= each <= most:
        faults.append(f"{each:.0f} bytes an answer instead of {size}")
    if bad := re.search(r"Non-2xx or 3xx responses: (\d+)", text):
        faults.append(f"{bad[1]} answers were errors")
    if (broken := re.search(r"Socket errors: (.*)", text)) and re.search(r"[1-9]", broken[1]):
        faults.append(f"connections failed: {broken[1]}")
    latency = dict(re.findall(r"^\s+(50|99)%\s+(\S+)\s*$", text, re.MULTILINE))
    return Answers(
        requests, seconds(total[2]), seconds(latency["50"]) * 1e6, seconds(latency["99"]) * 1e6, faults
    )


def ending(text):
    """The last that a tool printed, on one line."""
    return " ".join(text.split())[-150:]


def seconds(text):
    """A duration as wrk and h2load print it."""
    value, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m|h)", text).groups()
    return float(value) * {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}[unit]


@dataclass(frozen=True)
class Wanted:
    """What an answer has to be: its protocol, its class of status (2 for 200), its bytes of content."""

    protocol: str
    status: int
    size: int


def h2load(url, load, connections, streams, wanted, fields=(), rate=None):
    """Asks over kept connections, so many requests at a time on each; with a rate, so many a second on each."""
    log = load.scratch / "h2load.log"
    log.unlink(missing_ok=True)
    command = ["h2load", f"-t{len(load.cores)}", f"-c{connections}", f"-m{streams}", f"-D{load.seconds}"]
    # It has lists of its own for what openssl.cnf says.
    command += ["--tls13-ciphers=TLS_AES_128_GCM_SHA256", "--groups=X25519", f"--npn-list={wanted.protocol}"]
    for name, value in fields:
        command += ["-H", f"{name}: {value}"]
    if rate is not None:
        command.append(f"--rps={rate}")
    command += ["--warm-up-time=0", f"--log-file={log}", url]
    text = processes.run([command], load.cores, load.deadline)[0]
    lines = log.read_text().splitlines() if log.exists() else []
    return read_h2load(text, sorted(int(line.rsplit("\t", 1)[1]) for line in lines), load.seconds, wanted)


def read_h2load(text, latencies, duration, wanted):
    """What h2load printed, and how long each request took in microseconds, shortest first."""
    codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text)
    content = re.search(r"traffic: .*\((\d+)\) data", text)
    requests = sum(map(int, codes.groups())) if codes else 0
    if requests == 0 or not latencies:
        return Answers(0, 1, faults=[f"h2load got no answer: {ending(text)}"])
    faults = []
    if others := requests - int(codes[wanted.status - 1]):
        faults.append(f"{others} answers were not {wanted.status}xx")
    if (failed := re.search(r"(\d+) failed, (\d+) errored", text)) and (int(failed[1]) or int(failed[2])):
        faults.append(f"{failed[1]} requests failed")
    # Of an HTTP/2 stream a response may be half read at the end.
    if abs(int(content[1]) / requests - wanted.size) > wanted.size * 0.03:
        faults.append(f"{int(content[1]) / requests:.0f} bytes an answer instead of {wanted.size}")
    for line in (
        f"Application protocol: {wanted.protocol}\n",
        "Protocol: TLSv1.3\n",
        f"Cipher: {CIPHER}\n",
        "Key: X25519",
    ):
        if line not in text:
            faults.append(f"not {line.strip()}")
    median, p99 = (latencies[int(len(latencies) * share)] for share in (0.5, 0.99))
    return Answers(requests, duration, median, p99, faults)


def handshakes(server, path, load, size, resume):
    """Asks for something on a connection of its own each time, with a full or a resumed handshake."""
    address = f"127.0.0.1:{server.setting.tls_port}"
    # s_time writes "GET PATH HTTP/1.0": what it takes for a path brings its own version and fields.
    request = f"{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nUser-Agent: s_time"
    kind = "-reuse" if resume else "-new"
    command = ["openssl", "s_time", "-connect", address, kind, "-time", load.seconds, "-www", request]
    command += ["-no-CAfile", "-no-CApath", "-no-CAstore"]
    began = time.monotonic()
    texts = processes.run([command] * HANDSHAKE_CLIENTS, load.cores, load.deadline)
    return read_handshakes(texts, time.monotonic() - began, size, resume)


def read_handshakes(texts, duration, size, resume):
    """What each `openssl s_time` printed: a mark for each connection, r where its session was resumed."""
    faults, full, resumed = [], 0, 0
    for text in texts:
        marks = "".join(re.findall(r"^[*r]+$", text, re.MULTILINE))
        end = re.search(r"connections in \d+ real seconds, (\d+) bytes read per connection", text)
        if end is None or not marks:
            faults.append(f"s_time ended early: {ending(text)}")
            continue
        full, resumed = full + marks.count("*"), resumed + marks.count("r")
        if not size <= int(end[1]) <= size + OVERHEAD:
            faults.append(f"{end[1]} bytes an answer instead of {size}")
    if resume and full > len(texts):
        faults.append(f"{full} of {full + resumed} handshakes were full")
    if not resume and resumed:
        faults.append(f"{resumed} of {full + resumed} handshakes were resumed")
    return Answers(full + resumed, duration, faults=faults)
