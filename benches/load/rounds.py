"""The measuring itself: which server when, what it used up meanwhile, and whether the answers were right.

Servers are measured in turn, in every round in the other direction, so that what else happens on the machine
meets all of them. What comes of it is compared round by round (figures).
"""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import checks
import idle
from clients import Answers, Load
from machine import cores_for
from network import FAILURES, free_port
from origin import Origin
from peers import Server, Setting
from processes import Processes, cpu_time


@dataclass
class Sample:
    """One server in one round. What it cost: CPU time in microseconds a request, or bytes a connection.

    Where nothing was answered there are only faults.
    """

    round: int
    faults: list[str]
    cost: float | None = None
    user: float | None = None
    system: float | None = None
    rate: float | None = None
    busy: float | None = None
    median: float | None = None
    p99: float | None = None


@dataclass
class Bench:
    """What a run has: an origin server, and servers before it."""

    processes: Processes
    scratch: Path
    origin: Origin
    # Paths of the certificate, its key, and both in one file.
    certificate: tuple[Path, Path, Path]
    rounds: int
    seconds: int
    # What was wrong before anything was measured, by server.
    notes: dict = field(default_factory=dict)

    def start(self, peer, workers):
        """Starts a peer, or notes why it does not start and returns nothing."""
        port = free_port()
        directory = self.scratch / f"{peer.name}-{port}"
        setting = Setting(directory, port, self.origin.port, *self.certificate, workers)
        try:
            return Server.start(self.processes, peer, setting, cores_for(workers).server)
        except RuntimeError as error:
            self._note(peer, [str(error)])
            return None

    def check(self, server):
        """Notes what of a server's answers is not as it must be."""
        self._note(server.peer, checks.objects(server, self.origin))

    def store(self, server, keys):
        """Has a server store so many small objects."""
        self._note(server.peer, checks.store(server, keys))

    def _note(self, peer, faults):
        for fault in faults:
            print(f"{peer.title}: {fault}", file=sys.stderr)
            self.notes.setdefault(peer.title, []).append(fault)

    def throughput(self, workload, servers):
        """Measures a workload; returns the samples of each server by its title."""
        samples = {}
        for number, server in self._turns(servers):
            load = Load(self.seconds, cores_for(server.setting.workers).client, self.scratch)
            samples.setdefault(server.peer.title, []).append(self._sample(workload, server, load, number))
        return samples

    def two_workers(self, workload, pairs):
        """Measures servers with one worker beside those with two; returns the samples of either kind."""
        samples = {}, {}
        # The client is the same for both.
        load = Load(self.seconds, cores_for(2).client, self.scratch)
        for number, pair in self._turns(pairs):
            for of_kind, server in zip(samples, pair, strict=True):
                of_kind.setdefault(server.peer.title, []).append(self._sample(workload, server, load, number))
        return samples

    def _turns(self, servers):
        for number in range(self.rounds):
            for server in servers if number % 2 == 0 else reversed(servers):
                yield number, server

    def _sample(self, workload, server, load, number):
        asked = self.origin.requests()
        user, system = cpu_time(server.pids)
        try:
            answers = workload.ask(server, load)
        except (*FAILURES, subprocess.TimeoutExpired) as error:
            answers = Answers(0, 1, faults=[repr(error)])
        after = cpu_time(server.pids)
        asked = self.origin.requests() - asked
        server.forget_log()
        user, system = after[0] - user, after[1] - system
        faults = answers.faults + checks.source(workload, server.peer, answers.requests, asked)
        self._say(workload.name, server, number, faults)
        if answers.requests == 0:
            return Sample(number, faults)
        each = 1e6 / answers.requests
        return Sample(
            round=number,
            faults=faults,
            cost=(user + system) * each,
            user=user * each,
            system=system * each,
            rate=answers.requests / answers.seconds,
            busy=(user + system) / answers.seconds,
            median=answers.median,
            p99=answers.p99,
        )

    def idle(self, peers, connections):
        """Measures what a connection that waits costs in memory, with a new process in every round."""
        samples = {}
        for number, peer in self._turns(peers):
            server = self.start(peer, 1)
            if server is None:
                continue
            try:
                cost, faults = idle.held(server, connections)
            except FAILURES as error:
                cost, faults = None, [repr(error)]
            server.stop()
            self._say("idle", server, number, faults)
            samples.setdefault(peer.title, []).append(Sample(number, faults, cost))
        return samples

    def _say(self, name, server, number, faults):
        for fault in faults:
            print(f"{name}, {server.peer.title}, round {number + 1}: {fault}", file=sys.stderr)
