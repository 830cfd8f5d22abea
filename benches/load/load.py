"""The command: what is to be measured with what, in which order, and where the result goes."""

import argparse
import datetime
import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import plot
import report
import workloads
from machine import cores_for, description, scratch_parent, shared
from network import free_port
from origin import Origin, make_certificate
from peers import PEERS, seawall, version
from processes import Processes, own_environment
from report import Table
from rounds import Bench

ROOT = Path(__file__).resolve().parents[2]
# All of these wait on one address; Seawall takes 4096 from one by default.
MOST_IDLE = 4000
MOST_KEYS = 50_000
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def arguments(names):
    """What the command line says."""
    parser = argparse.ArgumentParser(
        prog="benches/load/run",
        description="Measures Seawall beside its peers and writes docs/benchmarks.md.",
        epilog=f"Workloads: {' '.join(names)}. Peers: {' '.join(peer.name for peer in PEERS)}.",
    )
    parser.add_argument(
        "--workloads", metavar="A,B", type=_list(names), default=names, help="print only these"
    )
    known = [peer.name for peer in PEERS]
    parser.add_argument("--peers", metavar="A,B", type=_list(known), default=known, help="only these")
    parser.add_argument("--rounds", metavar="N", type=_number, default=5, help="times for each (5)")
    parser.add_argument("--seconds", metavar="N", type=_number, default=2, help="of each round (2)")
    parser.add_argument(
        "--seawall", metavar="FILE", type=Path, help="the program (target/release/seawall, built)"
    )
    parser.add_argument("--print", action="store_true", help="print what was measured, and write nothing")
    return parser.parse_args()


def _list(known):
    def parse(text):
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
        return names

    return parse


def _number(text):
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"not a number above 0: {text}")
    return int(text)


def installed(names, binary):
    """Seawall and those of the peers that are installed, and what is to be said of the others."""
    peers, absent = [seawall(binary)], []
    if peers[0].missing():
        sys.exit(f"There is no program {binary}.")
    for peer in PEERS:
        if peer.name not in names:
            continue
        if missing := peer.missing():
            absent.append(f"{peer.title} ({', '.join(missing)} not installed)")
            print(f"{peer.title} is left out: {', '.join(missing)} not installed", file=sys.stderr)
        else:
            peers.append(peer)
    return peers, absent


def built():
    """The release build, made where there is none."""
    binary = ROOT / "target" / "release" / "seawall"
    if not binary.exists():
        command = ["cargo", "build", "--release", "--locked"]
        subprocess.run(command, cwd=ROOT, env=own_environment(), check=True)
    return binary


def conditions(peers, absent, options):
    """When and with what it was measured, beside the machine."""
    commit = ["git", "-C", ROOT, "describe", "--always", "--dirty"]
    commit = subprocess.run(commit, capture_output=True, text=True, timeout=10).stdout.strip()
    tools = [version(command) for command in (("wrk", "-v"), ("h2load", "--version"), ("openssl", "version"))]
    rows = {"Measured": f"{datetime.date.today()}, {options.rounds} rounds of {options.seconds} s"}
    rows["Servers"] = ", ".join(peer.version() for peer in peers)
    if commit and not options.seawall:
        rows["Servers"] += f" (Seawall of commit {commit})"
    rows["Clients"] = ", ".join(tools)
    if absent:
        rows["Left out"] = ", ".join(absent)
    return rows


class Run:
    """What is measured, in order. Each table is printed as soon as there is one."""

    def __init__(self, bench, peers):
        self.bench = bench
        self.peers = peers
        self.tables = []
        self.sections = []
        self.servers = self._started(1)

    def _started(self, workers):
        servers = [self.bench.start(peer, workers) for peer in self.peers]
        servers = [server for server in servers if server]
        for server in servers:
            self.bench.check(server)
        return servers

    def _report(self, section):
        self.sections.append(section)
        print(f"{section}\n", flush=True)

    def throughput(self, workload, keys):
        """Measures a workload on the servers that have a place in it."""
        servers = [server for server in self.servers if workload.fits(server.peer)]
        if workload.many_keys:
            for server in servers:
                self.bench.store(server, keys)
        table = Table(workload.title, workload.how, self.bench.throughput(workload, servers))
        if workload.source is workloads.Source.CACHE_IF_ANY:
            table.notes += [
                f"{server.peer.title} has no cache: its answers come from the origin server"
                for server in servers
                if not server.peer.caches
            ]
        self.tables.append(table)
        self._report(report.throughput(table))

    def idle(self, connections):
        """Measures what connections that wait cost."""
        how = f"{connections} connections over TLS after one request each; a new process in every round"
        table = Table("Memory of idle connections", how, self.bench.idle(self.peers, connections))
        self.tables.append(table)
        self._report(report.idle(table))

    def two_workers(self, every):
        """Measures what a second worker brings."""
        doubled = {server.peer.name: server for server in self._started(2)}
        pairs = [
            (one, doubled[one.peer.name])
            for one in self.servers
            if one.peer.caches and one.peer.name in doubled
        ]
        for workload in every:
            if workload.name in workloads.BY_TWO:
                one, two = self.bench.two_workers(workload, pairs)
                how = workload.how + ("; the client shares the cores of the two workers" if shared(2) else "")
                title = f"Two workers: {workload.title}"
                self._report(report.two_workers(title, how, one, two, rates=not shared(2)))


def main():
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    keys, connections = min(MOST_KEYS, files // 2), min(MOST_IDLE, files // 3)
    every = workloads.throughput(keys)
    names = [workload.name for workload in every] + [workloads.IDLE, workloads.TWO_WORKERS]
    options = arguments(names)
    for number in SIGNALS:
        signal.signal(number, leave)

    peers, absent = installed(options.peers, options.seawall or built())
    machine = description()
    with tempfile.TemporaryDirectory(prefix="seawall-load-", dir=scratch_parent()) as directory:
        scratch = Path(directory)
        # For servers that give up root.
        scratch.chmod(0o755)
        with Processes(scratch) as processes:
            run = Run(prepare(processes, scratch, options), peers)
            for workload in every:
                if workload.name in options.workloads:
                    run.throughput(workload, keys)
            if workloads.IDLE in options.workloads:
                run.idle(connections)
            if workloads.TWO_WORKERS in options.workloads:
                run.two_workers(every)
    write(run, machine | conditions(peers, absent, options), names, options)


def leave(number, _):
    """Ends the run: its servers are ended and their files removed on the way out, whatever signals follow."""
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    sys.exit(128 + number)


def prepare(processes, scratch, options):
    """What all servers have in common: an origin server, a certificate, the cores of who asks them."""
    cores = cores_for(1).client
    # This process is a client, too.
    os.sched_setaffinity(0, cores)
    (scratch / "origin").mkdir(mode=0o755)
    origin = Origin.start(processes, scratch / "origin", free_port(), cores)
    return Bench(processes, scratch, origin, make_certificate(scratch), options.rounds, options.seconds)


def write(run, head, names, options):
    """Puts what was measured into the page. A part of the workloads is only printed."""
    notes = [f"- {title}: {note}." for title, faults in run.bench.notes.items() for note in faults]
    if options.print or set(options.workloads) != set(names):
        print(report.facts(head), *notes, sep="\n")
        return
    figure = f"![CPU time against that of nginx]({plot.NAME})"
    measured = "\n\n".join([report.facts(head), *notes, figure, *run.sections])
    docs = ROOT / "docs"
    text = (docs / "benchmarks.md").read_text()
    (docs / "benchmarks.md").write_text(report.page(text, measured))
    (docs / plot.NAME).write_text(plot.draw(run.tables))
    print(f"Written to {docs}/benchmarks.md")


if __name__ == "__main__":
    main()
