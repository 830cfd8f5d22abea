"""The program under test as a process: its config and state are in one directory, its ports are told to it.

What an operator does to it one step at a time is here; what that amounts to in a case is `events`.
"""

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass

from .clock import MovableClock
from .process import Process

#: Seconds until it serves, and until it has drained: its own limit is thirty. When a suite is through,
#: there is nothing left that it would wait for.
START, END, END_OF_SUITE = 15.0, 40.0, 10.0
#: A line of the config that a reload adds or takes away, after the site that it belongs to.
OTHER_SITE, CHANGE = '[site."other.test"]\n', "hsts = true\n"

CONFIG = """\
state_dir = "{place}/state"
log = {{ access = "{place}/access.log" }}
[listen]
http = ["127.0.0.1:{plain}"]
https = ["127.0.0.1:{encrypted}"]
trusted_proxies = ["127.0.0.2/32"]
[limits]
header_timeout = "{settings.header_timeout}"
body_timeout = "10s"
idle_timeout = "{settings.idle_timeout}"
write_timeout = "{settings.write_timeout}"
min_rate = "{settings.min_rate}"
connections = {settings.connections}
connections_per_ip = 20000
[cache]
memory = "{settings.memory}"
{disk}[admin]
socket = "{place}/admin.sock"
[pool.app]
origins = ["127.0.0.1:{origin}"]
health = false
max_connections = {settings.origin_connections}
timeouts = {{ connect = "2s", first_byte = "5s", between_bytes = "5s" }}
[site."site.test"]
pool = "app"
tls = "internal"
redirect_http = false
[site."other.test"]
pool = "app"
tls = "internal"
redirect_http = false
"""

DISK = 'disk = {{ path = "{place}/cache", size = "1GiB" }}\n'


@dataclass(frozen=True)
class Settings:
    """What a suite may want otherwise than the others have it, as the config says it."""

    connections: str = '"auto"'
    header_timeout: str = "10s"
    idle_timeout: str = "15s"
    write_timeout: str = "10s"
    min_rate: str = "500B/s"
    #: Of the cache.
    memory: str = "256MiB"
    has_disk: bool = True
    origin_connections: int = 512


class Seawall:
    """Runs from `start` until the end of a `with` at the latest."""

    def __init__(self, binary, place, plain, encrypted, origin, settings=Settings()):
        self._binary, self._process = binary, None
        self._config, self._log = place / "seawall.toml", place / "seawall.log"
        #: What it goes by while it is started so.
        self.clock, self._is_clock_movable = MovableClock(place / "clock"), False
        #: Where its config, its log and its state are, and its disk cache.
        self.place, self.cache = place, place / "cache"
        ports = {"plain": plain, "encrypted": encrypted, "origin": origin}
        disk = DISK.format(place=place) if settings.has_disk else ""
        self._common = CONFIG.format(place=place, disk=disk, settings=settings, **ports)
        self._config.write_text(self._common)

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        if self._process is None:
            return
        # Where the suite was broken off, nobody has let go of his connections.
        if not error:
            self.drain()
            with suppress(TimeoutError):
                self._process.wait(END_OF_SUITE)
        self.kill()

    @property
    def pid(self):
        """That of the process that serves."""
        return self._process.pid

    def start(self, limit=None):
        """Begins once the one before has ended, and returns when it serves; or raises RuntimeError.

        With a `MemoryLimit` it has no more than that.
        """
        if self._process:
            self.exit_code()
        command, surroundings = self._command("run"), self._surroundings()
        if limit:
            command = limit.around(command)
        if self._is_clock_movable:
            surroundings |= self.clock.surroundings()
        self._process = Process.spawn(command, self._log, surroundings)
        deadline = time.monotonic() + START
        while not self._does("status"):
            if self._process.exit_code() is not None or time.monotonic() > deadline:
                raise RuntimeError("Seawall does not serve; its log:\n" + self.log())
            time.sleep(0.1)

    def start_anew(self, further="", with_movable_clock=False):
        """Ends it as an operator does, and starts it with more of a config, or so that it goes by `clock`."""
        self.drain()
        self._config.write_text(self._common + further)
        self._is_clock_movable = with_movable_clock
        self.start()

    def kill(self):
        """Ends it without a word, as a crash would."""
        self._process.kill()

    def drain(self):
        """Asks it to finish what is under way, and to end."""
        self._process.send(signal.SIGTERM)

    def is_running(self):
        """Whether the process is still there."""
        return self._process.exit_code() is None

    def exit_code(self):
        """That of a process which is about to end."""
        return self._process.wait(END)

    def reload(self):
        """Has it take a config that differs from the one before; whether it did."""
        now = self._config.read_text()
        is_there = OTHER_SITE + CHANGE in now
        old, new = (OTHER_SITE + CHANGE, OTHER_SITE) if is_there else (OTHER_SITE, OTHER_SITE + CHANGE)
        self._config.write_text(now.replace(old, new))
        return self._does("reload")

    def refuses_reload(self):
        """Whether it refuses a config that is wrong. The right one is there again afterwards."""
        right = self._config.read_text()
        self._config.write_text(right + "nonsense = 1\n")
        refused = not self._does("reload")
        self._config.write_text(right)
        return refused

    def upgrade(self):
        """Has another process of it take over; whether that serves, and the one before has ended well."""
        told = self._tell("upgrade", "--json")
        if told.returncode != 0:
            return False
        before = self._process
        self._process = before.successor(json.loads(told.stdout)["pid"])
        return before.wait(END) == 0

    def certificates(self):
        """What it tells of each."""
        return json.loads(self._tell("certs", "--json").stdout)

    def log(self):
        """All that it has said."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def _command(self, name, *options):
        return [str(self._binary), name, "-c", str(self._config), *options]

    def _tell(self, name, *options):
        command, surroundings = self._command(name, *options), self._surroundings()
        return subprocess.run(command, check=False, capture_output=True, timeout=END, env=surroundings)

    def _does(self, name):
        return self._tell(name).returncode == 0

    def _surroundings(self):
        leave_out = ("RUNTIME_DIRECTORY", "STATE_DIRECTORY", "RUST_LOG")
        return {name: value for name, value in os.environ.items() if name not in leave_out}
