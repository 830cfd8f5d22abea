"""Origin servers that misbehave or are gone, crowds, and what happens to the program while clients ask.

What is looked at is what clients get, and what the program asks of its origin server.
"""

from support.client import must_serve
from support.events import NotPossible
from support.suite import Suite

from . import answers, authority, down, limits, operations, reuse, stampede
from .fault import Play, ReopenedOrigin
from .script import Script

FAULTS = [
    *answers.FAULTS,
    *limits.FAULTS,
    *reuse.FAULTS,
    *down.FAULTS,
    *stampede.FAULTS,
    *operations.FAULTS,
    *authority.FAULTS,
    *limits.HEAVY,
]


def run(stage):
    script = Script()
    with ReopenedOrigin(stage.origin_port, script) as origin:
        must_serve(stage.plain)
        for fault in FAULTS:
            if stage.wants(fault):
                _play(stage, fault, Play(stage, script, origin))
                origin.forget()


def _play(stage, fault, play):
    try:
        is_passed, detail = fault.play(play)
    except NotPossible as reason:
        stage.report.skip(fault, str(reason))
    except Exception as error:
        stage.report.add(fault, "broken off", False, f"{type(error).__name__}: {error}")
    else:
        stage.report.add(fault, "as wanted" if is_passed else "wrong", is_passed, detail)


SUITE = Suite("faults", FAULTS, run, mostly_waits=True, needs_small_disk=True)
