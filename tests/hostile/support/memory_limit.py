"""A limit of memory for the program alone, by a cgroup of either version.

Only root may make one, and not in every container. Without it there is none, and what needs it is skipped.
"""

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
#: Joins a group by its list of processes, and becomes the program.
JOIN = 'echo 0 > "$0" && exec "$@"'
#: Seconds until a group has lost a process that was killed.
LEFT = 5.0


@dataclass(frozen=True)
class Version:
    """Where groups are, and what their files are called."""

    root: Path
    limit: str
    peak: str
    #: Lines of a name and a number, one of which is `oom_kill`.
    events: str


FIRST = Version(ROOT / "memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes", "memory.oom_control")
SECOND = Version(ROOT, "memory.max", "memory.peak", "memory.events")


class MemoryLimit:
    """There during a `with`, if it can be made; `missing` says why not."""

    def __init__(self, size):
        self._size, self.missing = size, ""
        self._version = FIRST if (FIRST.root / "cgroup.procs").exists() else SECOND
        self._place = self._version.root / f"seawall-hostile-{os.getpid()}"

    def __enter__(self):
        try:
            self._make()
        except OSError as error:
            self.missing = str(error)
            self._remove()
        return self

    def __exit__(self, *_):
        if not self.missing:
            self._remove()

    def around(self, command):
        """A command that is as this one, but within the limit."""
        return ["/bin/sh", "-c", JOIN, str(self._place / "cgroup.procs"), *command]

    @property
    def peak(self):
        """The most bytes that it had so far; 0 where the system does not say."""
        with suppress(OSError):
            return int((self._place / self._version.peak).read_text())
        return 0

    @property
    def kills(self):
        """How many processes were ended for want of memory."""
        return self._event("oom_kill")

    @property
    def refusals(self):
        """How often the limit was met, and something had to be given back first."""
        if self._version is FIRST:
            return int((self._place / "memory.failcnt").read_text())
        return self._event("max")

    def _event(self, name):
        lines = map(str.split, (self._place / self._version.events).read_text().splitlines())
        return sum(int(count) for found, count in lines if found == name)

    def _make(self):
        if self._version is SECOND:
            (ROOT / "cgroup.subtree_control").write_text("+memory")
        self._place.mkdir()
        (self._place / self._version.limit).write_text(str(self._size))
        # What does not fit must not go elsewhere, where there is such a place.
        for name, value in [("memory.swappiness", "0"), ("memory.swap.max", "0")]:
            if (self._place / name).exists():
                (self._place / name).write_text(value)

    def _remove(self):
        deadline = time.monotonic() + LEFT
        while self._place.exists():
            try:
                self._place.rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
