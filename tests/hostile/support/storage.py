"""A small file system of its own for the disk cache, which can be filled up and made read-only.

Only root may mount one. Without it there is none, and what needs it is skipped.
"""

import subprocess
from contextlib import suppress

SIZE = "64m"


class SmallDisk:
    """Mounted at `place` during a `with`, if that can be done; `missing` says why not."""

    def __init__(self, place):
        self._place, self.missing = place, ""

    def __enter__(self):
        self._place.mkdir()
        self.missing = _mount("-t", "tmpfs", "-o", f"size={SIZE}", "none", self._place)
        return self

    def __exit__(self, *_):
        if not self.missing:
            # Lazily: it goes even if somebody still has a file of it open.
            subprocess.run(["umount", "--lazy", self._place], check=True)

    def fill(self):
        """Leaves no room."""
        with open(self._filler, "wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(1 << 20)):
                pass

    def make_room(self):
        """Undoes `fill`."""
        self._filler.unlink()

    def allow_writes(self, are_allowed):
        """Whether anything can be written; raises RuntimeError if that cannot be changed."""
        failed = _mount("-o", "remount," + ("rw" if are_allowed else "ro"), self._place)
        if failed:
            raise RuntimeError(failed)

    @property
    def _filler(self):
        return self._place / "filler"


def _mount(*arguments):
    """Why it failed; nothing if it did not."""
    try:
        done = subprocess.run(["mount", *arguments], check=False, capture_output=True, text=True, timeout=30)
    except OSError as error:
        return str(error)
    if done.returncode == 0:
        return ""
    # Further lines only say where to look.
    return done.stderr.partition("\n")[0] or f"mount ends with {done.returncode}"
