"""Counts the instructions that a request costs Seawall, under callgrind, and compares them with golden figures.

Each figure is the difference of two runs that are alike but for the number of requests, so that neither the start
nor the handshakes are in it. What the kernel does is not in it either.
"""

import argparse
import json
import os
import re
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import peers
import processes
from network import free_port, until
from origin import Origin, make_certificate

GOLDEN = Path(__file__).parent / "golden.json"
BINARY = Path(__file__).parents[2] / "target/release/seawall"

# How much more than the golden figure fails, and how much less is told.
TOLERANCE = 0.05

FEW, MANY = 1000, 5000
CONNECTIONS = 8
# What valgrind passes on of a processor, and libraries choose their code by: golden figures are of one that has these.
FEATURES = {"aes", "avx2", "bmi2", "pclmulqdq"}

# Under callgrind a program is some fifty times slower.
DEADLINE = 120


@dataclass(frozen=True)
class Request:
    """A kind of request, and how h2load is told to send it."""

    name: str
    path: str
    options: tuple[str, ...]


REQUESTS = (
    Request("hit, 1 KiB, HTTP/1.1", "/c/1k.bin", ("--h1",)),
    Request("hit, 1 KiB, HTTP/2", "/c/1k.bin", ("-m", "32")),
    Request("passed on, 1 KiB, HTTP/1.1", "/nc/1k.bin", ("--h1",)),
)


class Counting:
    """Where the runs take place."""

    def __init__(self, running, binary, directory):
        self._running = running
        self._binary = binary
        self._directory = directory
        self._cores = sorted(os.sched_getaffinity(0))
        self._origin = Origin.start(running, directory, free_port(), self._cores)
        self._pem = make_certificate(directory)

    def instructions(self, request):
        """Instructions that one such request costs."""
        few, many = (self._run(request, requests) for requests in (FEW, MANY))
        return (many - few) / (MANY - FEW)

    def _run(self, request, requests):
        """Instructions of a whole run with so many requests."""
        place = self._directory / f"run-{free_port()}"
        counted = place.with_suffix(".callgrind")
        setting = peers.Setting(place, free_port(), self._origin.port, *self._pem, workers=1)
        server = peers.Server.start(self._running, self._under_callgrind(counted), setting, self._cores)
        url = server.url(request.path)
        load = ["h2load", "-n", requests, "-c", CONNECTIONS, "-t", 1, *request.options, url]
        printed = processes.run([load], self._cores, DEADLINE)[0]
        for pid in server.pids:
            os.kill(pid, signal.SIGTERM)
        instructions = until(lambda: total(counted), DEADLINE)
        server.stop()
        if f"{requests} succeeded" not in printed or f"{requests} 2xx" not in printed:
            raise RuntimeError(f"{request.name}: not every request was answered: {printed[-300:]}")
        return instructions

    def _under_callgrind(self, counted):
        words = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={counted}", self._binary]

        def commands(setting):
            config = setting.fill("seawall.toml", METRICS_PORT=free_port())
            return [peers.Command([*words, "run", "-c", config], {})]

        return peers.Peer("seawall", "Seawall", ("valgrind",), (), commands)


def total(counted):
    """What callgrind has counted; an error as long as it has not written that."""
    found = re.search(r"^(?:summary|totals): (\d+)", counted.read_text(), re.MULTILINE)
    if found is None:
        raise FileNotFoundError(counted)
    return int(found[1])


def judge(name, counted, golden):
    """What is said of a figure, and whether it may be so."""
    if golden is None:
        return f"{name}: {counted:,.0f} instructions; there is no golden figure", False
    change = counted / golden - 1
    text = f"{name}: {counted:,.0f} instructions, golden {golden:,.0f} ({change:+.1%})"
    if change > TOLERANCE:
        return f"{text}: more than {TOLERANCE:.0%} more", False
    if change < -TOLERANCE:
        return f"{text}: lower the golden figure with --update", True
    return text, True


def main():
    """Counts, and ends with 1 where a request costs more than it may."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, default=BINARY, help="a release build [target/release/seawall]")
    parser.add_argument("--update", action="store_true", help="write golden.json anew")
    options = parser.parse_args()
    if not options.binary.exists():
        sys.exit(f"there is no {options.binary}: cargo build --release --locked")
    if not FEATURES <= set(Path("/proc/cpuinfo").read_text().split()):
        print(f"instructions: not counted: golden figures are of a processor with {', '.join(sorted(FEATURES))}")
        return
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    counted, verdicts = {}, []
    with tempfile.TemporaryDirectory() as scratch, processes.Processes(scratch) as running:
        counting = Counting(running, options.binary, Path(scratch))
        for request in REQUESTS:
            counted[request.name] = round(counting.instructions(request))
            text, is_well = judge(request.name, counted[request.name], golden.get(request.name))
            if not is_well and request.name in golden:
                # How requests meet in one poll is chance.
                counted[request.name] = min(counted[request.name], round(counting.instructions(request)))
                text, is_well = judge(request.name, counted[request.name], golden[request.name])
            verdicts.append(is_well)
            print(f"instructions {text}", flush=True)
    if options.update:
        GOLDEN.write_text(json.dumps(counted, indent=4) + "\n")
        return
    print(f"instructions: {verdicts.count(True)} passed, {verdicts.count(False)} failed")
    if not all(verdicts):
        print("instructions: a build that has lost its profile costs a fifth more: benches/profile/run records it anew")
    sys.exit(0 if all(verdicts) else 1)


if __name__ == "__main__":
    main()
