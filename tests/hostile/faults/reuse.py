"""Connections that the origin server closes just as they are used again: what may be sent twice?"""

from collections import Counter

from .fault import GATEWAY_ERRORS, Fault


def stale_upstream_connection_get(play):
    """Every GET is answered all the same."""
    play.script.drops_reused, play.script.dropped = True, 0
    responses = [play.get("stale-conn", f"-{number}", timeout=6) for number in range(40)]
    play.script.drops_reused = False
    lost = [str(response) for response in responses if response.status != 200]
    return not lost, f"{len(lost)} of 40 lost, {play.script.dropped} connections dropped {lost[:3]}"


def stale_upstream_connection_post(play):
    """No POST is processed twice."""
    play.script.drops_reused, play.script.dropped = True, 0
    play.script.posts.clear()
    statuses = Counter(
        play.get("stale-conn", f"-p{number}", timeout=6, method="POST", content=b"pay").status
        for number in range(20)
    )
    play.script.drops_reused = False
    posts = play.script.posts
    twice = len(posts) - len(set(posts))
    is_well = not twice and set(statuses) <= {200, *GATEWAY_ERRORS}
    said = f"answers {dict(statuses)}, {play.script.dropped} connections dropped"
    return is_well, f"{said}, {twice} processed twice"


def post_not_retried_after_reset(play):
    play.script.posts.clear()
    response = play.get("rst-at-once", timeout=6, method="POST", content=b"pay")
    times = len(play.script.posts)
    return times <= 1 and response.status in GATEWAY_ERRORS, f"{response}, processed {times} times"


FAULTS = [
    Fault.of("reuse", stale_upstream_connection_get),
    Fault.of("reuse", stale_upstream_connection_post),
    Fault.of("reuse", post_not_retried_after_reset),
]
