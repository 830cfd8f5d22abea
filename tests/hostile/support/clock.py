"""The time of day as the program sees it, which can be put forward and back while it runs.

That is done by libfaketime, which the program is started with for it. Its monotonic clock stays what it is.
"""

import os
from glob import glob

LIBRARY = "/usr/lib/*/faketime/libfaketimeMT.so.1"
DAY = 24 * 3600


class MovableClock:
    """The clock of one process; `file` says how far it is from the right time."""

    def __init__(self, file):
        self._file, found = file, glob(LIBRARY)
        self._library = found[0] if found else None
        #: Why there is none.
        self.missing = "" if found else "no libfaketime is installed"
        self.put(0)

    def put(self, seconds):
        """Puts it so far from the right time, at once."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}")
        os.replace(new, self._file)

    def surroundings(self):
        """Those in which a process goes by it."""
        return {
            "LD_PRELOAD": self._library,
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            # The file is looked at whenever the program asks for the time.
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
