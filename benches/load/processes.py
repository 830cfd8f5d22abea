"""The programs that a run starts: on which cores, what they use up, and that none of them outlives it.

What they are is for others to say (origin, peers, clients).
"""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
END_DEADLINE = 5


class Processes:
    """All programs of one run. As a context it ends them, whatever happens."""

    def __init__(self, logs):
        self._logs = logs
        self._servers = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end(self._servers)

    def serve(self, name, command, cores, environment):
        """Starts a server and returns its process; what it says goes to `log(name)`."""
        with open(self._log_path(name), "ab") as log:
            process = subprocess.Popen(
                pinned(command, cores),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=own_environment() | environment,
                start_new_session=True,
            )
        self._servers.append(process)
        return process

    def log(self, name):
        """The end of what a server said."""
        path = self._log_path(name)
        return path.read_text(errors="replace")[-1000:] if path.exists() else ""

    def end(self, servers):
        """Ends servers with all that they started: at once those that have not gone after some seconds."""
        pids = descendants([process.pid for process in servers])
        for pid in pids:
            _signal(pid, signal.SIGTERM)
        _wait(servers, END_DEADLINE)
        # Also those whose parent has gone before them.
        for pid in pids:
            _signal(pid, signal.SIGKILL)
        _wait(servers, END_DEADLINE)
        self._servers = [process for process in self._servers if process not in servers]

    def _log_path(self, name):
        return Path(self._logs, f"{name}.log")


def run(commands, cores, seconds):
    """Runs clients beside each other and returns what each printed. They are ended after so many seconds."""
    deadline = time.monotonic() + seconds
    clients = []
    try:
        for command in commands:
            # To a file: what nobody reads in time would hold a client up.
            output = tempfile.TemporaryFile("w+")
            process = subprocess.Popen(
                pinned(command, cores), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
            clients.append((process, output))
        printed = []
        for process, output in clients:
            process.wait(max(0.1, deadline - time.monotonic()))
            output.seek(0)
            printed.append(output.read())
        return printed
    finally:
        for process, output in clients:
            if process.poll() is None:
                process.kill()
                process.wait()
            output.close()


def own_environment():
    """The environment, without what clients alone are told about TLS."""
    return {name: value for name, value in os.environ.items() if name != "OPENSSL_CONF"}


def pinned(command, cores):
    """The command, kept to some cores."""
    return ["taskset", "-c", ",".join(map(str, cores)), *map(str, command)]


def descendants(pids):
    """These processes, and those that they started, directly or not."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(entry)):
            children.setdefault(int(fields[1]), []).append(int(entry))
    found, left = [], list(pids)
    while left:
        pid = left.pop()
        found.append(pid)
        left += children.get(pid, [])
    return found


def cpu_time(pids):
    """Seconds that these processes and their descendants have run: outside the kernel, and in it."""
    user = system = 0
    for pid in descendants(pids):
        if fields := _stat(pid):
            user += int(fields[11])
            system += int(fields[12])
    return user / TICKS, system / TICKS


def memory(pids):
    """Bytes that these processes and their descendants have in memory; what they share counts once (PSS)."""
    total = 0
    for pid in descendants(pids):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def _stat(pid):
    """The fields of /proc/PID/stat from the third on; the second, a name, may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rsplit(")", 1)[1].split()
    except OSError:
        return None


def _signal(pid, number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _wait(processes, seconds):
    """Waits until processes have ended, so long in all."""
    deadline = time.monotonic() + seconds
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.05, deadline - time.monotonic()))
