"""What a run is made on: the machine, its cores and who gets which, the system."""

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

GIB = 1 << 30


@dataclass(frozen=True)
class Cores:
    """Cores of a server, and of the client and the origin server."""

    server: list[int]
    client: list[int]


@cache
def available():
    """The cores that this process had when it began."""
    return sorted(os.sched_getaffinity(0))


def cores_for(workers, cores=None):
    """Who gets which cores: each worker one, the client as many; where that is too many, all have all."""
    cores = available() if cores is None else cores
    if len(cores) <= workers:
        return Cores(cores, cores)
    return Cores(cores[:workers], cores[workers : 2 * workers])


def shared(workers):
    """Whether the client runs on the server's cores."""
    return cores_for(workers).server == cores_for(workers).client


def description():
    """Name and value of what is worth knowing about the machine."""
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    kib = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1])
    system = os.uname()
    release = re.search(r'^PRETTY_NAME="?([^"\n]*)', Path("/etc/os-release").read_text(), re.MULTILINE)
    return {
        "CPU": f"{cpu[1] if cpu else system.machine}, {len(available())} cores",
        "Memory": f"{kib * 1024 / GIB:.0f} GiB",
        "Load before": f"{os.getloadavg()[0]:.1f} (mean of one minute)",
        "System": f"{release[1] if release else system.sysname}, Linux {system.release}",
    }


def scratch_parent():
    """Where files go: to memory where there is room for them, so that no server waits for a disk."""
    memory = Path("/dev/shm")
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 4 * GIB:
        return memory
    return Path(tempfile.gettempdir())
