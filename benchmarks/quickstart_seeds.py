"""Which accuracy does the quickstart reach? Mean and spread over five seeds.

    python benchmarks/quickstart_seeds.py [--seeds N]

Seed, crops, new head and order all change together. The table on stdout is Markdown. The exit
status is 1 if the head on the frozen backbone stays below 84 % on the mean, or fine-tuning brings
less than 1 point more.
"""

import argparse
import sys
import time
from functools import partial

import numpy as np

from finetunekit.quickstart.comparison import compare
from finetunekit.quickstart.surfaces import load_surfaces
from finetunekit.quickstart.table import Row

FROZEN_BAR, GAIN_BAR = 84.0, 1.0


def measure(seed: int) -> tuple[Row, ...]:
    """The rows of one seed.

    Args:
        seed: Seed of the crops and of the training.

    Returns:
        Majority class, raw pixels, frozen backbone + head, fine-tuned.
    """
    tell = partial(print, file=sys.stderr, flush=True)
    tell(f"\n=== seed {seed}")
    return compare(load_surfaces(seed=seed), seed=seed, tell=tell).rows


def markdown(runs: list[tuple[Row, ...]]) -> str:
    """All runs as a table: accuracy in %, one column per seed.

    Args:
        runs: The rows of each seed.

    Returns:
        The lines of a Markdown table.
    """
    seeds = [f"seed {seed}" for seed in range(len(runs))]
    lines = [
        "| " + " | ".join(["accuracy on 600 test crops, %", *seeds, "mean", "min to max"]) + " |",
        "|---|" + "---:|" * (len(seeds) + 2),
    ]
    for rows in zip(*runs, strict=True):
        values = 100 * np.array([row.accuracy for row in rows])
        spread = f"{values.min():.1f} to {values.max():.1f}"
        cells = [
            rows[0].name,
            *(f"{value:.1f}" for value in values),
            f"{values.mean():.1f}",
            spread,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """Measures all seeds and prints the table; returns the exit status."""
    parser = argparse.ArgumentParser(description="The quickstart's accuracy over several seeds.")
    parser.add_argument("--seeds", type=int, default=5, help="how many (default: %(default)s)")
    options = parser.parse_args()
    start = time.perf_counter()
    runs = [measure(seed) for seed in range(options.seeds)]
    frozen, tuned = (100 * np.mean([rows[way].accuracy for rows in runs]) for way in (2, 3))
    reached = frozen >= FROZEN_BAR and tuned - frozen >= GAIN_BAR
    print(markdown(runs))
    print(
        f"\nFrozen backbone + head: {frozen:.1f} % (bar: {FROZEN_BAR:.0f} %). Fine-tuning brings "
        f"{tuned - frozen:+.1f} points (bar: {GAIN_BAR:+.0f}). "
        f"{'Both bars are reached.' if reached else 'A BAR IS MISSED.'}"
    )
    print(f"{len(runs)} runs took {time.perf_counter() - start:.0f} s.")
    return int(not reached)


if __name__ == "__main__":
    sys.exit(main())
