"""Configurations of servers in peers/, with @NAMES@ for what differs from run to run."""

import re
from pathlib import Path

PEERS = Path(__file__).parent / "peers"


def fill(name, target, values):
    """Writes the configuration to `target`, which it returns. A name without a value is an error."""
    text = (PEERS / name).read_text()
    target.write_text(re.sub(r"@([A-Z_]+)@", lambda found: str(values[found[1]]), text))
    return target
