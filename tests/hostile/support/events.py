"""What happens to the program while it serves: an operator's orders, a crash, a disk that is full.

A new event is a line of `EVENTS`. Cases that need one which cannot be brought about here are skipped.
"""

from .clock import DAY


class NotPossible(Exception):
    """An event cannot be brought about here; says why."""


def bring_about(stage, event):
    """Has it happen; whether it ended as it must. Raises NotPossible."""
    return EVENTS[event](stage)


def _seawall(order):
    def happen(stage):
        return order(stage.seawall) is not False

    return happen


def _disk(deed):
    def happen(stage):
        if stage.small_disk.missing:
            raise NotPossible(f"no file system can be mounted here: {stage.small_disk.missing}")
        deed(stage.small_disk)
        return True

    return happen


def _clock(deed):
    def happen(stage):
        if stage.seawall.clock.missing:
            raise NotPossible(f"the clock of the program cannot be moved: {stage.seawall.clock.missing}")
        deed(stage.seawall)
        return True

    return happen


EVENTS = {
    "start": _seawall(lambda seawall: seawall.start()),
    "reload": _seawall(lambda seawall: seawall.reload()),
    "reload-bad": _seawall(lambda seawall: seawall.refuses_reload()),
    "drain": _seawall(lambda seawall: seawall.drain()),
    "upgrade": _seawall(lambda seawall: seawall.upgrade()),
    "kill9": _seawall(lambda seawall: seawall.kill()),
    "disk-full": _disk(lambda disk: disk.fill()),
    "disk-ok": _disk(lambda disk: disk.make_room()),
    "store-readonly": _disk(lambda disk: disk.allow_writes(False)),
    "store-ok": _disk(lambda disk: disk.allow_writes(True)),
    # The others move nothing before the first one.
    "clock-movable": _clock(lambda seawall: seawall.start_anew(with_movable_clock=True)),
    "clock-forward": _clock(lambda seawall: seawall.clock.put(400 * DAY)),
    "clock-back": _clock(lambda seawall: seawall.clock.put(-DAY)),
    "clock-right": _clock(lambda seawall: seawall.clock.put(0)),
    "clock-real": _clock(lambda seawall: seawall.start_anew()),
}
