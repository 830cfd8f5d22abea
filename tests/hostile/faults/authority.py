"""Certificates that are ordered from an authority which is gone, or talks nonsense.

Nobody waits for it, and it is not asked again and again: until there is a certificate another one stands in.
"""

import itertools
import ssl
import subprocess
import time
from contextlib import ExitStack
from dataclasses import replace

from support.client import ask
from support.origin import Origin, Step, response

from .fault import Fault
from .load import Load

#: The sites whose certificates are ordered.
ON_ORDER = ("ordered-0.test", "ordered-1.test")
#: What the certificate that stands in is called, and what the log says of an order that failed.
STANDS_IN, NO_NEW_ONE = b"certificate on order", "no new certificate"
#: Seconds that clients go on asking, and that an answer of these may take.
ASKING, LONGEST = 5.0, 2.0
#: So often the authority may be asked in that time, in which there are thousands of handshakes.
MOST_ASKED = 2 * len(ON_ORDER)
NONSENSE = response(b"<html>It works!</html>")

CONFIG = """\
[acme]
directory = ["https://127.0.0.1:{port}/directory"]
ca = "{certificate}"
"""
SITE = """\
[site."{name}"]
pool = "app"
"""
#: For openssl: a certificate that vouches for itself.
CERTIFICATE = """\
[req]
prompt = no
distinguished_name = name
x509_extensions = extensions
[name]
CN = hostile authority
[extensions]
basicConstraints = critical, CA:FALSE
subjectAltName = IP:127.0.0.1
"""


class Authority(Origin):
    """Answers with nonsense over one connection, and over the next one never."""

    def __init__(self, port, place):
        certificate, key = place / "authority.pem", place / "authority.key"
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key]
        command = ["openssl", "req", "-x509", "-config", "/dev/stdin", *curve, "-out", certificate]
        subprocess.run(command, input=CERTIFICATE, text=True, check=True, capture_output=True, timeout=30)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate, key)
        #: What has the program order from it.
        self.config = CONFIG.format(port=port, certificate=certificate)
        self.config += "".join(SITE.format(name=name) for name in ON_ORDER)
        answers = itertools.cycle([[NONSENSE], [Step.HANG]])
        #: How many connections it was asked over.
        self.asked = 0
        super().__init__(port, lambda *_: next(answers))

    def _serve(self, connection):
        self.asked += 1
        connection.socket = self._tls.wrap_socket(connection.socket, server_side=True)
        super()._serve(connection)


def _fails(name, reason, at_least, is_down=False):
    """An authority that fails costs no request; of so many orders it is told why they failed."""

    def run(play):
        seawall = play.stage.seawall
        with Authority(play.stage.trap_port, seawall.place) as authority:
            if is_down:
                authority.close()
            before = seawall.log().count(NO_NEW_ONE)
            try:
                seawall.start_anew(authority.config)
                said, complaints = _served_meanwhile(play.stage)
                failed = [order for order in seawall.certificates() if order["last_error"]]
                asked = max(authority.asked, seawall.log().count(NO_NEW_ONE) - before)
            finally:
                seawall.start_anew()
        told = [order["last_error"] for order in failed]
        if len(told) < at_least or not all(reason in why for why in told):
            complaints.append(f"told of failures: {told}")
        if asked > MOST_ASKED:
            complaints.append("too often")
        afterwards = [ask(address, "/afterwards") for address in (play.stage.plain, play.stage.encrypted)]
        complaints += [f"afterwards: {answer}" for answer in afterwards if answer.status != 200]
        return not complaints, "; ".join([*said, f"asked {asked} times", *complaints])

    return Fault(name, "ops", run)


def _served_meanwhile(stage):
    """What clients got of all sites, and what is wrong with that."""
    on_order = [replace(stage.encrypted, host=name) for name in ON_ORDER]
    with ExitStack() as stack:
        addresses = (stage.plain, stage.encrypted, *on_order)
        loads = [stack.enter_context(Load(address)) for address in addresses]
        time.sleep(ASKING)
    complaints = []
    if not all(load.is_unhurt and load.requests and load.longest < LONGEST for load in loads):
        complaints.append("somebody was hurt")
    for address in on_order:
        with address.open() as connection:
            if STANDS_IN not in connection.getpeercert(binary_form=True):
                complaints.append(f"{address.host}: another certificate")
    return [str(load) for load in loads], complaints


FAULTS = [
    _fails("ops-acme-down", "refused", at_least=len(ON_ORDER), is_down=True),
    # Those that are never answered are under way.
    _fails("ops-acme-garbage", "expected value", at_least=1),
]
