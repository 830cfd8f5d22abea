"""What is known after a case, and the verdict that follows from it. Nothing is sent or awaited here."""

import enum
from dataclasses import dataclass, field

from support.strict import Reading, violations_of

from .case import Case, Want

#: Seconds of processors that one request may cost.
COSTLIEST = 1.0


class Verdict(enum.Enum):
    """What became of a case."""

    #: An error or a closed connection for the client, and not a byte of it at the origin server.
    REJECTED = "rejected"
    #: No answer in time, and not a byte of it at the origin server.
    STALLED = "stalled"
    #: Forwarded as one valid message that cannot be read in two ways.
    NORMALIZED = "normalized"
    #: Forwarded with something in it that can be read in two ways, or somebody else was touched.
    DANGEROUS = "dangerous"
    #: Nobody is served any more.
    CRASHED = "crashed"


@dataclass
class Evidence:
    """What the client, the origin server, the trap and two victims saw of a case."""

    case: Case
    #: Of the answers that the client of the case got.
    statuses: list
    is_closed: bool
    #: The path of each victim that followed on a connection of its own, with the response it got.
    victims: dict
    #: Seconds of processors it took.
    cost: float
    is_trapped: bool
    is_alive: bool = True
    is_reached: bool = False
    is_hidden_found: bool = False
    requests: list = field(default_factory=list)
    violations: set = field(default_factory=set)

    def hear(self, connection, raw):
        """Takes in what came to the origin server over one connection."""
        victims = [raw.find(b"GET " + path.encode()) for path in self.victims]
        end = min((start for start in victims if start >= 0), default=len(raw))
        own, is_followed, whole = raw[:end], end < len(raw), Reading(raw)
        mine = [request for request in whole.requests if not self._is_of_others(request)]
        self.requests += mine
        if mine or own.strip(b"\r\n"):
            self.is_reached = True
        # Half a message matters where somebody else's request comes after it.
        is_cut_harmless = connection.is_closed or self.case.leaves or not is_followed
        self.violations.update(violations_of(own, is_cut_harmless))
        self.is_hidden_found |= _is_hidden_in(whole)

    def _is_of_others(self, request):
        paths = [path.encode() for path in self.victims] + [b"/warm"]
        return any(path in request.target for path in paths)

    def dangers(self):
        """What harm it could do, or has done."""
        dangers = sorted(violation for violation in self.violations if not violation.startswith("~"))
        if self.is_hidden_found and self.case.answers == 1 and self.case.want is not Want.ACCEPT:
            dangers.append("a hidden request reached the origin server")
        if self.is_hidden_found and self.statuses and self.statuses[0] >= 400:
            dangers.append("a request was served after the one before it was refused")
        if self.is_trapped:
            dangers.append("an address was connected to that a client chose")
        for path, response in self.victims.items():
            if response.status == 200 and path.encode() not in response.content:
                dangers.append(f"a victim got another's answer: {response.content[:50]!r}")
        if self.case.target_rules and self.requests:
            hosts = self.requests[0].values(b"host") or [b""]
            if hosts[-1].split(b":")[0].lower() not in (b"site.test", b"127.0.0.1", b"localhost"):
                dangers.append(f"the Host that was forwarded is not that of the target: {hosts[-1]!r}")
        return dangers

    def verdict(self):
        """What became of the case."""
        if not self.is_alive:
            return Verdict.CRASHED
        if self.dangers():
            return Verdict.DANGEROUS
        if self.is_reached:
            return Verdict.NORMALIZED
        return Verdict.REJECTED if self.statuses or self.is_closed else Verdict.STALLED

    def is_passed(self):
        """Whether that is what is asked of the program, at a fair price, and the victims were served."""
        are_served = all(response.status == 200 for response in self.victims.values())
        return are_served and self.cost <= COSTLIEST and self._is_as_wanted()

    def _is_as_wanted(self):
        verdict, want = self.verdict(), self.case.want
        if want is Want.REJECT:
            # An answer of the program's own, as if the request were valid, is no refusal.
            return verdict is Verdict.REJECTED and all(status >= 400 for status in self.statuses[:1])
        if want is Want.SAFE:
            return verdict in (Verdict.REJECTED, Verdict.NORMALIZED, Verdict.STALLED)
        answers = self.statuses[: self.case.answers]
        are_good = len(answers) == self.case.answers and all(200 <= status < 300 for status in answers)
        return verdict is Verdict.NORMALIZED and are_good

    def __str__(self):
        got = self.statuses or ("close" if self.is_closed else "nothing")
        said = [f"want {self.case.want.value}, got {got}", *self.dangers()]
        said += [violation for violation in sorted(self.violations) if violation.startswith("~")]
        said += [f"a victim got {victim}" for victim in self.victims.values() if victim.status != 200]
        if self.cost > COSTLIEST:
            said.append(f"one request cost {self.cost:.1f} s of processors")
        return "; ".join(said)


def _is_hidden_in(reading):
    """Whether the hidden request stands at the beginning of a message, well formed or not."""
    if any(b"/smuggled-" in request.target for request in reading.requests):
        return True
    is_broken = any("request-line" in found or "incomplete-head" in found for found in reading.violations)
    return is_broken and b"GET /smuggled-" in reading.rest[:40]
