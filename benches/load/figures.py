"""What a few samples come to: medians, and ratios to another server, round by round."""

from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Ratio:
    """How much dearer than the other: the median of the rounds, the lowest and the highest."""

    middle: float
    low: float
    high: float


def ratio(samples, base):
    """Compares samples with those of the same rounds of another server; nothing where there are none."""
    costs = {sample.round: sample.cost for sample in base if sample.cost}
    ratios = [
        sample.cost / costs[sample.round] for sample in samples if sample.cost and sample.round in costs
    ]
    return Ratio(median(ratios), min(ratios), max(ratios)) if ratios else None


def middle(samples, figure):
    """The median of a figure; nothing where no sample has it."""
    figures = [getattr(sample, figure) for sample in samples]
    return median([figure for figure in figures if figure is not None] or [None])


def faults(samples):
    """What was wrong in any of the samples, once each."""
    return list(dict.fromkeys(fault for sample in samples for fault in sample.faults))
