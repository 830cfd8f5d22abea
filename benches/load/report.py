"""What was measured, as Markdown: the part of docs/benchmarks.md between two markers, nothing else of it."""

from dataclasses import dataclass, field

from figures import faults, middle, ratio

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
BASE = "nginx"


@dataclass
class Table:
    """A workload with the samples of each server, by its name."""

    title: str
    how: str
    samples: dict
    notes: list[str] = field(default_factory=list)

    def ratio(self, name):
        """How much dearer than nginx a server was; nothing without nginx."""
        return ratio(self.samples[name], self.samples.get(BASE, []))


def page(text, measured):
    """The page with another measured part."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{measured.strip()}\n\n{END}{rest.split(END)[1]}"


def facts(pairs):
    """A table of names and values."""
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in pairs.items())])


def throughput(table):
    """What a request cost each server, with what the client saw beside it."""
    head = "server | CPU a request | user | system | to nginx | lowest to highest"
    head += " | requests/s | busy | p50 | p99"
    rows = []
    for name, samples in table.samples.items():
        cells = [name]
        cells += [micros(middle(samples, figure)) for figure in ("cost", "user", "system")]
        cells += compared(table.ratio(name))
        cells += [shown(middle(samples, "rate"), ",.0f"), shown(middle(samples, "busy"), ".0%")]
        cells += [micros(middle(samples, figure)) for figure in ("median", "p99")]
        rows.append(cells)
    return _section(table, head, rows)


def idle(table):
    """What a waiting connection cost each server."""
    rows = []
    for name, samples in table.samples.items():
        rows.append([name, kibibytes(middle(samples, "cost")), *compared(table.ratio(name))])
    return _section(table, "server | memory a connection | to nginx | lowest to highest", rows)


def two_workers(title, how, one, two, rates):
    """What a request cost servers with one worker and with two, and if wanted how many there were."""
    head = "server | CPU a request, 1 worker | 2 workers | 2 to 1 | lowest to highest"
    if rates:
        head += " | requests/s, 1 worker | 2 workers | 2 to 1"
    rows = []
    for name in two:
        costs, counts = (
            [middle(samples[name], figure) for samples in (one, two)] for figure in ("cost", "rate")
        )
        cells = [name, *map(micros, costs), *compared(ratio(two[name], one[name]))]
        if rates:
            gain = counts[1] / counts[0] if all(counts) else None
            cells += [shown(counts[0], ",.0f"), shown(counts[1], ",.0f"), shown(gain, ".2f")]
        rows.append(cells)
    both = Table(title, how, {name: one[name] + two[name] for name in two})
    return _section(both, head, rows)


def _section(table, head, rows):
    columns = head.split(" | ")
    lines = [f"### {table.title}", "", f"{table.how[0].upper()}{table.how[1:]}.", ""]
    lines += [_row(columns), _row(["---"] + ["---:"] * (len(columns) - 1)), *map(_row, rows)]
    notes = table.notes + [
        f"{name}: {fault}" for name, samples in table.samples.items() for fault in faults(samples)
    ]
    if notes:
        lines += ["", *(f"- {note}." for note in notes)]
    return "\n".join(lines)


def _row(cells):
    return f"| {' | '.join(cells)} |"


def compared(found):
    """A ratio and its range, as two cells."""
    if found is None:
        return ["–", "–"]
    return [f"**{found.middle:.2f}**", f"{found.low:.2f} to {found.high:.2f}"]


def shown(value, form):
    """A figure, or a dash where there is none."""
    return "–" if value is None else format(value, form)


def micros(value):
    """Microseconds, or milliseconds where they are many."""
    if value is None:
        return "–"
    value, unit = (value, "µs") if value < 1000 else (value / 1000, "ms")
    return f"{value:.{1 if value < 100 else 0}f} {unit}"


def kibibytes(value):
    """Bytes in KiB."""
    return "–" if value is None else f"{value / 1024:.1f} KiB"
