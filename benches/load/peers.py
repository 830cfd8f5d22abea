"""The servers that are compared: how each is configured and started, and what it is called.

Their configurations are in peers/, as an operator would write them.
"""

import os
import re
import resource
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from network import Connection, free_port, until
from processes import Processes
from templates import fill


@dataclass(frozen=True)
class Setting:
    """What a server is told of its place."""

    directory: Path
    tls_port: int
    origin_port: int
    certificate: Path
    key: Path
    certificate_and_key: Path
    workers: int

    def fill(self, name, **more):
        """The path of a configuration for this place."""
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        values = {
            "DIRECTORY": self.directory,
            "TLS_PORT": self.tls_port,
            "ORIGIN_PORT": self.origin_port,
            "CERTIFICATE": self.certificate,
            "KEY": self.key,
            "CERTIFICATE_AND_KEY": self.certificate_and_key,
            "WORKERS": self.workers,
            "OPEN_FILES": files * 3 // 4,
        }
        return fill(name, self.directory / name, values | more)


@dataclass(frozen=True)
class Command:
    """A program of a server."""

    words: list
    environment: dict


@dataclass(frozen=True)
class Peer:
    """A server to compare."""

    name: str
    title: str
    programs: tuple[str, ...]
    versions: tuple[tuple[str, ...], ...]
    commands: Callable[[Setting], list[Command]]
    caches: bool = True

    def missing(self):
        """Its programs that are not installed."""
        return [program for program in self.programs if shutil.which(program) is None]

    def version(self):
        """What its programs say of themselves, shortly."""
        return ", ".join(version(command) for command in self.versions)


class Server:
    """A peer that runs."""

    def __init__(self, processes, peer, setting, started):
        self.peer = peer
        self.setting = setting
        self._processes = processes
        self._started = started

    @classmethod
    def start(cls, processes: Processes, peer: Peer, setting: Setting, cores):
        """Starts it and returns once it answers; an error, with its last words, where it does not."""
        setting.directory.mkdir(mode=0o755)
        name = setting.directory.name
        started = [
            processes.serve(name, command.words, cores, command.environment)
            for command in peer.commands(setting)
        ]
        server = cls(processes, peer, setting, started)
        try:
            until(lambda: server.connect_and_ask("/c/1k.bin"), 20)
        except Exception as error:
            server.stop()
            said = " ".join(processes.log(name).split())
            raise RuntimeError(f"does not answer: {error!r} {said}") from error
        return server

    @property
    def pids(self):
        """The processes that were started; they may have started others."""
        return [process.pid for process in self._started]

    def url(self, path):
        """What a client asks for."""
        return f"https://127.0.0.1:{self.setting.tls_port}{path}"

    def connect(self):
        """A connection of its own."""
        return Connection(self.setting.tls_port)

    def connect_and_ask(self, path):
        """Status, fields and content, over a connection of its own."""
        with self.connect() as connection:
            return connection.get(path)

    def forget_log(self):
        """Empties the access log, so that a long run does not fill the file system."""
        log = self.setting.directory / "access.log"
        if log.exists():
            os.truncate(log, 0)

    def stop(self):
        """Ends it and removes what it wrote."""
        self._processes.end(self._started)
        shutil.rmtree(self.setting.directory, ignore_errors=True)


def version(command):
    """Name and version in the first lines of what a program says."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except OSError:
        return f"{command[0]} (unknown)"
    found = re.search(r"\bv?(\d+\.\d+[\w.+~-]*)", done.stdout + done.stderr)
    return f"{Path(command[0]).name} {found[1] if found else '(unknown)'}"


def seawall(binary):
    """Seawall, as built."""

    def commands(setting):
        config = setting.fill("seawall.toml", METRICS_PORT=free_port())
        return [Command([binary, "run", "-c", config], {})]

    return Peer("seawall", "Seawall", (str(binary),), ((str(binary), "--version"),), commands)


def _nginx(setting):
    config = setting.fill("nginx.conf")
    return [Command(["nginx", "-e", setting.directory / "error.log", "-c", config], {})]


def _haproxy(setting):
    return [Command(["haproxy", "-db", "-f", setting.fill("haproxy.cfg")], {})]


def _varnish(setting):
    port = free_port()
    varnish = ["varnishd", "-F", "-j", "none", "-n", setting.directory / "varnish"]
    varnish += ["-a", f"edge=127.0.0.1:{port},PROXY", "-f", setting.fill("varnish.vcl"), "-s", "malloc,1g"]
    varnish += ["-p", "feature=+http2", "-p", "timeout_idle=75"]
    hitch = ["hitch", "--config", setting.fill("hitch.conf", PROXY_PORT=port)]
    if os.geteuid() == 0:
        hitch += ["--user", "nobody", "--group", "nogroup"]
    return [Command(varnish, {}), Command(hitch, {})]


def _caddy(setting):
    here = str(setting.directory)
    environment = {"GOMAXPROCS": str(setting.workers), "XDG_DATA_HOME": here, "XDG_CONFIG_HOME": here}
    words = ["caddy", "run", "--adapter", "caddyfile", "--config", setting.fill("Caddyfile")]
    return [Command(words, environment)]


# The first one is what the others are compared with.
PEERS = (
    Peer("nginx", "nginx", ("nginx",), (("nginx", "-v"),), _nginx),
    Peer("haproxy", "HAProxy", ("haproxy",), (("haproxy", "-v"),), _haproxy),
    Peer("varnish", "Varnish", ("varnishd", "hitch"), (("varnishd", "-V"), ("hitch", "--version")), _varnish),
    Peer("caddy", "Caddy", ("caddy",), (("caddy", "version"),), _caddy, caches=False),
)
