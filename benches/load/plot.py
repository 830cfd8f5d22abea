"""The figure: how dear each server was against nginx, by workload, as SVG for light and dark pages."""

from html import escape

from figures import faults

NAME = "benchmarks.svg"

WIDTH, LEFT, RIGHT = 820, 110, 60
BAR, GAP, HEAD, GROUP = 14, 4, 26, 16
# What is dearer is drawn up to here, with its figure beside it.
MOST = 2.0

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 }
.value { font-variant-numeric: tabular-nums }
.axis { fill: #59636e }
.line { stroke: #59636e; stroke-width: 1 }
.range { stroke: #1f2328; stroke-width: 1.5 }
.bar { fill: #a3acb6 }
.own { fill: #1f77d0 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .axis { fill: #9198a1 }
  .line { stroke: #9198a1 }
  .range { stroke: #e6edf3 }
  .bar { fill: #5c6570 }
  .own { fill: #4a9eff }
}
"""


def draw(tables, base="nginx", own="Seawall"):
    """Draws the ratios of all tables; a bar that ends at the line costs what nginx costs."""
    parts, y = [], 30
    for table in tables:
        # What did not answer as it must has no cost.
        names = [name for name, samples in table.samples.items() if name != base and not faults(samples)]
        bars = [(name, ratio) for name in names if (ratio := table.ratio(name))]
        if not bars:
            continue
        parts.append(f'<text class="title" x="8" y="{y + 14}">{escape(table.title)}</text>')
        y += HEAD
        for name, ratio in bars:
            parts += _bar(name, ratio, y, "own" if name == own else "bar")
            y += BAR + GAP
        y += GROUP
    head = [
        f'<text class="axis" x="{_x(1) + 4}" y="16">{escape(base)} = 1; shorter is better</text>',
        f'<line class="line" x1="{_x(1)}" y1="6" x2="{_x(1)}" y2="{y - GROUP}"/>',
    ]
    size = f'width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}"'
    start = [f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', f"<style>{STYLE}</style>"]
    return "\n".join([*start, *parts, *head, "</svg>\n"])


def _bar(name, ratio, y, kind):
    """A bar with its name, its range and its figure."""
    end, middle = _x(ratio.middle), y + BAR / 2
    low, high = _x(ratio.low), _x(ratio.high)
    beyond = "→ " if ratio.middle > MOST else ""
    value = max(end, high) + 6
    return [
        f'<text x="{LEFT - 8}" y="{y + 11}" text-anchor="end">{escape(name)}</text>',
        f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{end - LEFT:.1f}" height="{BAR}" rx="2"/>',
        f'<line class="range" x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}"/>',
        f'<text class="value" x="{value:.1f}" y="{y + 11}">{beyond}{ratio.middle:.2f}</text>',
    ]


def _x(ratio):
    """Where a ratio is, from the left."""
    return LEFT + min(ratio, MOST) / MOST * (WIDTH - LEFT - RIGHT)
