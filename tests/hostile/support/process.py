"""A process of the program, whoever has started it: in an upgrade one of them starts the next."""

import ctypes
import os
import signal
import time
from contextlib import suppress

LOOKED_AT_EVERY = 0.05
#: Seconds until the system has ended a process that was killed.
KILLED = 10.0
#: From <linux/prctl.h>.
PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans():
    """Processes whose parents were started by this one, and have ended, become its own children."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no orphans can be adopted")


class Process:
    """One that `spawn` has started, or a successor of it: they are in one group."""

    def __init__(self, pid, group):
        self.pid, self._group, self._code = pid, group, None

    @staticmethod
    def spawn(command, log, surroundings):
        """Starts one that writes to the end of `log`."""
        to_log = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        pid = os.posix_spawn(
            command[0],
            command,
            surroundings,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, to_log, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            # What a terminal sends to the suites is not for it.
            setsid=True,
        )
        return Process(pid, pid)

    def successor(self, pid):
        """One that this one has started."""
        return Process(pid, self._group)

    def exit_code(self):
        """None while it runs; that of a signal is negative."""
        # A successor is no child of this process before the one that has started it has ended.
        with suppress(ChildProcessError):
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def wait(self, seconds):
        """Its exit code. Raises TimeoutError if it runs on."""
        deadline = time.monotonic() + seconds
        while self.exit_code() is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"process {self.pid} does not end")
            time.sleep(LOOKED_AT_EVERY)
        return self.exit_code()

    def send(self, number):
        """Sends it a signal, if it is there."""
        if self.exit_code() is None:
            os.kill(self.pid, number)

    def kill(self):
        """Ends it, and all of its group, without a word."""
        if self.exit_code() is None:
            os.killpg(self._group, signal.SIGKILL)
            self.wait(KILLED)
