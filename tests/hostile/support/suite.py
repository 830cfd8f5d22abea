"""What a suite is, and what it is given."""

from collections.abc import Callable
from dataclasses import dataclass
from re import Pattern

from .client import Address
from .report import Report
from .seawall import Seawall, Settings
from .storage import SmallDisk


@dataclass(frozen=True)
class Suite:
    """Cases that are run against one process of the program; `run` takes a `Stage`."""

    name: str
    #: Each with a `name`, a `group` and a `note`.
    cases: list
    run: Callable
    #: It waits more than it works: it can be run beside others that do.
    mostly_waits: bool = False
    needs_small_disk: bool = False
    settings: Settings = Settings()

    def chosen(self, pattern):
        """The cases whose names match."""
        return [case for case in self.cases if pattern.search(case.name)]


@dataclass
class Stage:
    """The running program, and what else a suite may need."""

    seawall: Seawall
    plain: Address
    encrypted: Address
    #: Where the program looks for its origin server: the suite is to play it.
    origin_port: int
    #: Where nothing is to be heard, or whoever else the suite plays is asked.
    trap_port: int
    report: Report
    only: Pattern
    is_short: bool
    small_disk: SmallDisk | None = None

    def wants(self, case):
        """Whether this case was asked for."""
        return self.only.search(case.name) is not None
