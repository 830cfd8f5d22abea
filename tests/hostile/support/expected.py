"""The cases that are known not to pass: a ratchet that only goes up."""

import tomllib
from pathlib import Path

LIST = Path(__file__).parent.parent / "expected.toml"


def known_not_to_pass(suites):
    """What the list says: reasons by case, by suite.

    Raises ValueError where it names no case of these suites, or no reason.
    """
    names = {suite.name: {case.name for case in suite.cases} for suite in suites}
    reasons = {suite.name: {} for suite in suites}
    for listed in tomllib.loads(LIST.read_text())["not_passed"]:
        suite, case = listed["suite"], listed["case"]
        if case not in names.get(suite, ()):
            raise ValueError(f"{LIST.name}: {suite} has no case {case}")
        if not listed["reason"].strip():
            raise ValueError(f"{LIST.name}: no reason for {case}")
        reasons[suite][case] = listed["reason"]
    return reasons
