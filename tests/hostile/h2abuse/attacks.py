"""Makes one attack after the other, and judges what each cost the program, its origin server and others."""

import time

from support.client import must_serve, seconds_until_served
from support.good_client import GoodClients
from support.measure import MEBIBYTE, Usage
from support.origin import OriginProcess, echo, response

from .case import Result

#: Seconds that an attack takes at least, so that there is something to say about good clients.
SHORTEST = 1.5
#: What one attack may add to the memory, and how many requests of it may be sent on.
MOST_GROWTH, MOST_REQUESTS = 64 * MEBIBYTE, 5_000
#: Seconds until the program must serve again.
RECOVERY = 120.0


def make_attacks(stage, attacks):
    """Whether the program still serves after them."""
    with OriginProcess(stage.origin_port, _answer) as origin:
        must_serve(stage.encrypted)
        for flood in attacks:
            if stage.wants(flood):
                _make(stage, origin, flood)
                if seconds_until_served(stage.encrypted, RECOVERY) > RECOVERY:
                    stage.report.fail(flood.name, "nobody is served any more; the rest is not run")
                    return False
    return True


def _answer(request, connection):
    name, _, number = request.target[1:].partition(b"-")
    if name == b"big":
        return [response(b"b" * int(number))]
    if name == b"slow":
        return [float(number), echo(request, connection)]
    return None


def _make(stage, origin, flood):
    origin.begin_count()
    with GoodClients(stage) as good, Usage(stage.seawall.pid) as usage:
        began = time.monotonic()
        try:
            result = flood.attack(stage)
        except OSError as error:
            result = Result(str(error), complaint="no attack could be made")
        time.sleep(max(0.3, SHORTEST - (time.monotonic() - began)))
    is_cut_off = any(client.is_over() for client in result.clients)
    for client in result.clients:
        client.close()
    complaints = good.complaints()
    if result.complaint:
        complaints.append(result.complaint)
    if usage.growth > MOST_GROWTH:
        complaints.append("too much memory")
    if origin.asked > MOST_REQUESTS:
        complaints.append("too many requests sent on")
    verdict = "hurt" if complaints else "cut-off" if is_cut_off else "survived"
    said = [
        result.note,
        f"+{usage.growth / MEBIBYTE:.0f} MiB, {usage.seconds:.1f} s of processors",
        f"{origin.asked} requests sent on",
        str(good.service),
        *complaints,
    ]
    stage.report.add(flood, verdict, not complaints, "; ".join(said))
