"""The origin server of this suite: /NAME-SIZE/IDENTITY has so many bytes, which may be stored or not."""

from functools import cache

from support.origin import NO_STORE, Step, response

STORED = b"Cache-Control: public, max-age=600\r\n"
FIELDS = {b"stored": STORED, b"large": NO_STORE}


def answer(request, _):
    name, _, size = request.target.split(b"/")[1].partition(b"-")
    if name == b"early":
        # The content is never read.
        return [Step.HANG]
    return [_response(name, int(size))] if name in FIELDS else None


@cache
def _response(name, size):
    """Made once, however many ask."""
    return response(bytes(size), FIELDS[name])
