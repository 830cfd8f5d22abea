"""That what the tools print is understood, what is wrong is seen, and figures are of what was measured."""

import unittest
import xml.etree.ElementTree
from types import SimpleNamespace

import checks
import clients
import figures
import plot
import report
import workloads
from clients import Wanted
from machine import Cores, cores_for
from rounds import Sample

WRK = """Running 2s test @ https://127.0.0.1:34819/c/1k.bin
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.24ms    1.73ms  22.91ms   93.07%
    Req/Sec    40.61k     5.02k   47.52k    80.00%
  Latency Distribution
     50%  653.00us
     75%    1.31ms
     90%    2.60ms
     99%    8.02ms
  80829 requests in 2.00s, 101.37MB read
Requests/sec:  40414.21
Transfer/sec:     50.68MB
"""

H2LOAD = """Application protocol: h2
TLS Protocol: TLSv1.3
Cipher: TLS_AES_128_GCM_SHA256
Server Temp Key: X25519 253 bits

finished in 1.01s, 1000.00 req/s, 1.00MB/s
requests: 1000 total, 1024 started, 1000 done, 1000 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 1000 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 1.00MB (1049000) total, 5.19KB (5437) headers (space savings 90.00%), 1000.00KB (1024000) data
"""

S_TIME = """Collecting connection statistics for 1 seconds
{marks}

5 connections in 0.01s; 500.00 connections/user sec, bytes read 6500
5 connections in 2 real seconds, 1300 bytes read per connection
"""

H2 = Wanted("h2", 2, 1024)


def samples(*costs):
    """One sample a round."""
    return [
        Sample(number, [], cost, user=cost, system=0, rate=1, busy=1) for number, cost in enumerate(costs)
    ]


class Tools(unittest.TestCase):
    def test_wrk_is_understood(self):
        answers = clients.read_wrk(WRK, 64, 1024)
        self.assertEqual((answers.requests, answers.seconds, answers.faults), (80829, 2.0, []))
        self.assertAlmostEqual(answers.median, 653)
        self.assertAlmostEqual(answers.p99, 8020)

    def test_wrong_answers_of_wrk_are_seen(self):
        for text, size, fault in (
            (WRK, 100 * 1024, "1315 bytes an answer instead of 102400"),
            (WRK + "  Non-2xx or 3xx responses: 7\n", 1024, "7 answers were errors"),
            (WRK + "  Socket errors: connect 0, read 3, write 0, timeout 0\n", 1024, "read 3"),
            (WRK.replace("80829 requests", "0 requests"), 1024, "no answer"),
            ("unable to connect", 1024, "no answer"),
        ):
            self.assertIn(fault, str(clients.read_wrk(text, 64, size).faults))

    def test_h2load_is_understood(self):
        answers = clients.read_h2load(H2LOAD, list(range(100)), 1, H2)
        self.assertEqual((answers.requests, answers.median, answers.p99, answers.faults), (1000, 50, 99, []))

    def test_wrong_answers_of_h2load_are_seen(self):
        for was, text, fault in (
            ("1000 2xx, 0 3xx", "990 2xx, 10 3xx", "10 answers were not 2xx"),
            ("protocol: h2", "protocol: http/1.1", "not Application protocol: h2"),
            ("AES_128", "AES_256", "not Cipher"),
            ("X25519", "P-256", "not Key: X25519"),
            ("(1024000) data", "(512000) data", "512 bytes an answer instead of 1024"),
            ("0 failed", "4 failed", "4 requests failed"),
        ):
            answers = clients.read_h2load(H2LOAD.replace(was, text), [1], 1, H2)
            self.assertIn(fault, str(answers.faults))

    def test_handshakes_are_told_apart(self):
        def read(marks, resume):
            return clients.read_handshakes([S_TIME.format(marks=marks)], 2, 1024, resume)

        self.assertEqual((read("*****", False).requests, read("*****", False).faults), (5, []))
        self.assertEqual(read("*rrrr", True).faults, [])
        self.assertIn("2 of 5 handshakes were full", read("**rrr", True).faults)
        self.assertIn("1 of 5 handshakes were resumed", read("***r*", False).faults)


class Source(unittest.TestCase):
    def test_requests_to_the_origin_server_are_held_against_a_workload(self):
        every = {workload.name: workload for workload in workloads.throughput(10)}
        cache, no_cache = SimpleNamespace(caches=True), SimpleNamespace(caches=False)
        for name, peer, asked, wrong in (
            ("cached-1k", cache, 0, False),
            ("cached-1k", cache, 500, True),
            ("passed-1k", cache, 10_000, False),
            ("passed-1k", cache, 9_000, True),
            ("passed-1k", no_cache, 9_000, True),
            ("handshake-full", cache, 10_000, True),
            ("handshake-full", no_cache, 10_000, False),
        ):
            with self.subTest(name=name, asked=asked):
                self.assertEqual(bool(checks.source(every[name], peer, 10_000, asked)), wrong)


class Figures(unittest.TestCase):
    def test_ratios_are_of_the_same_round(self):
        # The machine is three times as slow in the second round, for both.
        ratio = figures.ratio(samples(5, 15, 6), samples(10, 30, 10))
        self.assertEqual((ratio.middle, ratio.low, ratio.high), (0.5, 0.5, 0.6))

    def test_rounds_without_answers_do_not_count(self):
        ratio = figures.ratio([Sample(0, ["cut"]), Sample(1, [], 5)], samples(10, 20))
        self.assertEqual(ratio.middle, 0.25)
        self.assertIsNone(figures.ratio([Sample(0, ["cut"])], samples(10)))
        self.assertIsNone(figures.middle([Sample(0, ["cut"])], "cost"))

    def test_workers_and_clients_share_cores_only_where_there_are_too_few(self):
        self.assertEqual(cores_for(1, [0, 1]), Cores([0], [1]))
        self.assertEqual(cores_for(2, [0, 1, 2, 3]), Cores([0, 1], [2, 3]))
        self.assertEqual(cores_for(2, [0, 1]), Cores([0, 1], [0, 1]))
        self.assertEqual(cores_for(1, [5]), Cores([5], [5]))


class Page(unittest.TestCase):
    def table(self):
        """Two servers, and one that did not answer as it must."""
        bad = [Sample(0, ["7 answers were errors"], 1, 1, 0, 1, 1)]
        costs = {"Seawall": samples(5, 5), "nginx": samples(10, 10), "HAProxy": samples(70, 70), "Bad": bad}
        return report.Table("1 KiB & more", "wrk", costs)

    def test_only_what_is_between_the_markers_is_written(self):
        text = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
        written = report.page(text, "new")
        self.assertEqual(written, f"before\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter\n")
        self.assertEqual(report.page(written, "new"), written)

    def test_a_table_has_the_ratio_and_what_was_wrong(self):
        text = report.throughput(self.table())
        self.assertIn(
            "| Seawall | 5.0 µs | 5.0 µs | 0.0 µs | **0.50** | 0.50 to 0.50 | 1 | 100% | – | – |", text
        )
        self.assertIn("- Bad: 7 answers were errors.", text)

    def test_the_figure_has_a_bar_for_each_server_that_answered_as_it_must(self):
        figure = xml.etree.ElementTree.fromstring(plot.draw([self.table()]))
        texts = [node.text for node in figure.iter("{http://www.w3.org/2000/svg}text")]
        self.assertEqual(
            texts, ["1 KiB & more", "Seawall", "0.50", "HAProxy", "→ 7.00", "nginx = 1; shorter is better"]
        )
        bars = [float(node.get("width")) for node in figure.iter("{http://www.w3.org/2000/svg}rect")]
        self.assertEqual(len(bars), 2)
        self.assertLess(bars[1], plot.WIDTH)


if __name__ == "__main__":
    unittest.main()
