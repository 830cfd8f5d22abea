"""What the program under test takes of the machine: memory and time of processors."""

import os
import threading

SAMPLED_EVERY = 0.2
MEBIBYTE = 1 << 20


def memory(process):
    """Its own memory and its part of what is shared, in bytes; 0 for one that has ended."""
    try:
        with open(f"/proc/{process}/smaps_rollup") as file:
            kibibytes = [int(line.split()[1]) for line in file if line.startswith("Pss:")]
    except OSError:
        return 0
    return sum(kibibytes) * 1024


def processor_seconds(process):
    """What it has used of all processors so far; 0 for one that has ended."""
    try:
        with open(f"/proc/{process}/stat") as file:
            after_name = file.read().rpartition(")")[2].split()
    except OSError:
        return 0.0
    in_user, in_system = int(after_name[11]), int(after_name[12])
    return (in_user + in_system) / os.sysconf("SC_CLK_TCK")


class Usage:
    """What a process takes during a `with`: growth in bytes, seconds of processors."""

    def __init__(self, process):
        self._process, self._is_over = process, threading.Event()
        self.growth, self.seconds = 0, 0.0

    def __enter__(self):
        self._at_first, self._peak = memory(self._process), 0
        self._seconds_at_first = processor_seconds(self._process)
        self._watch = threading.Thread(target=self._sample, daemon=True)
        self._watch.start()
        return self

    def _sample(self):
        while not self._is_over.wait(SAMPLED_EVERY):
            self._peak = max(self._peak, memory(self._process))

    def __exit__(self, *_):
        self._is_over.set()
        self._watch.join()
        self._peak = max(self._peak, memory(self._process))
        self.growth = max(0, self._peak - self._at_first)
        self.seconds = processor_seconds(self._process) - self._seconds_at_first
