"""What an operator orders, what breaks, and a crash, while clients go on asking."""

import threading
import time
from collections import Counter
from contextlib import suppress

from support.client import ask

from .fault import Fault
from .load import Load
from .script import CONTENT

#: Objects that are being stored when the program is killed, and connections that are too many for it.
STORED, TOO_MANY = 200, 9_500
#: Seconds that what is broken stays so.
BROKEN = 4.0
#: Seconds that the clock stays where it was put.
LEFT_ALONE = 2.0


def _ordered(event, times, pause):
    """An order of an operator's costs no request."""

    def run(play):
        with Load(play.stage.plain) as load:
            time.sleep(1.0)
            went_well = True
            for _ in range(times):
                went_well &= play.happens(event)
                time.sleep(pause)
        back = play.seconds_until_served(4)
        return went_well and load.is_unhurt and back < 4, f"{times} times: {load}"

    return Fault(f"ops-{event}", "ops", run)


def _broken(event, repair):
    """What the program can do without costs no request while it is missing."""

    def run(play):
        with Load(play.stage.plain) as load:
            time.sleep(0.5)
            play.happens(event)
            time.sleep(BROKEN)
            play.happens(repair)
            time.sleep(1.0)
        return load.is_unhurt, str(load)

    return Fault(f"ops-{event}", "ops", run)


def _jumps(*events):
    """The clock of the day is put forward and back: nobody is hurt, and nothing stays fresh by that."""

    def run(play):
        play.happens("clock-movable")
        try:
            complaints = [_complaint_of_jump(play, event) for event in (None, *events, "clock-right")]
            # Who shakes hands each time sees whatever becomes of certificates and tickets.
            with Load(play.stage.encrypted) as load:
                for event in (*events, "clock-right"):
                    play.happens(event)
                    time.sleep(LEFT_ALONE)
        finally:
            play.happens("clock-real")
        complaints = [complaint for complaint in complaints if complaint]
        return load.is_unhurt and not complaints, "; ".join([str(load), *complaints])

    return Fault(f"ops-{events[0]}", "ops", run)


def _complaint_of_jump(play, event):
    """What is wrong with a stored response after an event: it has to be fetched, and then to be stored."""
    if event:
        play.happens(event)
    before = play.script.asked(play.path("cacheable"))
    responses = [play.get("cacheable") for _ in range(3)]
    fetched = play.script.asked(play.path("cacheable")) - before
    ages = [response.field("age") for response in responses]
    if fetched == 1 and ages[0] in ("", "0") and all(age.isdecimal() and int(age) < 30 for age in ages[1:]):
        return ""
    return f"{event or 'before'}: fetched {fetched} times in three, of age {ages}, {responses[-1]}"


def ops_drain_in_flight(play):
    """Told to end while twenty answers are two seconds away: all of them arrive whole."""
    results = Counter()

    def ask_for(number):
        response = play.get("slow-2", f"-{number}")
        results["whole" if response.status == 200 and response.is_complete else str(response)] += 1

    threads = [threading.Thread(target=ask_for, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    time.sleep(0.7)
    play.happens("drain")
    for thread in threads:
        thread.join(14)
    code = play.stage.seawall.exit_code()
    with suppress(OSError):
        play.stage.plain.open(timeout=1).close()
        results["still accepts"] += 1
    play.happens("start")
    is_well = results == {"whole": 20} and code == 0 and play.seconds_until_served(4) < 4
    return is_well, f"{dict(results)}, exit code {code}"


def ops_kill9_restart(play):
    """Killed while it stores; once it is started again every stored answer is whole or not there."""
    _kill_while_storing(play)
    began = time.monotonic()
    play.happens("start")
    play.seconds_until_served(15)
    seconds = time.monotonic() - began
    before = play.script.asked_under(play.path("cacheable"))
    responses = [play.get("cacheable", f"-{number}", timeout=5) for number in range(STORED)]
    missing = play.script.asked_under(play.path("cacheable")) - before
    wrong = sum(response.status != 200 or response.content != CONTENT for response in responses)
    said = f"serves after {seconds:.1f} s, {wrong} of {STORED} wrong, {STORED - missing} still stored"
    return seconds < 10 and not wrong, said


def _kill_while_storing(play):
    is_over = threading.Event()

    def fill():
        number = 0
        while not is_over.is_set():
            play.get("cacheable", f"-{number % STORED}", timeout=3)
            number += 1

    threads = [threading.Thread(target=fill, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(1.5)
    play.happens("kill9")
    is_over.set()
    for thread in threads:
        thread.join(5)


def fd_exhaustion(play):
    """Thousands of idle connections; once they have gone others are served at once."""
    held, refused = _hold_too_many(play.stage.plain)
    during = ask(play.stage.plain, "/during", timeout=3)
    for connection in held:
        connection.close()
    back = play.seconds_until_served(20)
    return back < 5, f"{len(held)} held, {refused} refused, meanwhile: {during}; serves after {back:.1f} s"


def _hold_too_many(address):
    held, refused, deadline = [], 0, time.monotonic() + 30
    while len(held) + refused < TOO_MANY and refused <= 50 and time.monotonic() < deadline:
        try:
            held.append(address.open_tcp(timeout=0.3))
        except OSError:
            refused += 1
    return held, refused


FAULTS = [
    _ordered("reload", times=5, pause=1.5),
    _ordered("reload-bad", times=2, pause=1.5),
    _ordered("upgrade", times=3, pause=2.0),
    _broken("disk-full", "disk-ok"),
    _broken("store-readonly", "store-ok"),
    _jumps("clock-forward", "clock-back"),
    _jumps("clock-back", "clock-forward"),
    Fault.of("ops", ops_drain_in_flight),
    Fault.of("ops", ops_kill9_restart),
    Fault.of("ops", fd_exhaustion),
]
