"""How long does each engine take to get ready, and what does `auto` expect of it?

    python benchmarks/engines.py

Prints the seconds from a prefix to its first batch, tracing included, beside the estimate of
`finetunekit/caching/engines.py`. Each engine is measured in a process of its own.
"""

import os
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

WORKS = ("mobilenet", "resnet", "bert_512")
NAMES = ("graph", "xla", "litert")


def measured(work: str, name: str) -> tuple[float, float]:
    """Seconds of preparation, and those that are expected."""
    from finetunekit.caching import engines
    from finetunekit.caching.cut import split_frozen
    from workloads import WORK

    made = WORK[work]()
    split = split_frozen(made.model, like=made.x)
    batch, engine = [made.x[:32]], engines.Engine(name, split)
    start = time.perf_counter()
    engine(batch)
    first = time.perf_counter() - start
    return first - 32 * engines.seconds_a_row(engine, batch), engines.preparation(name, split)


def main() -> None:
    """Prints a line for each model and engine."""
    if len(sys.argv) == 3:
        found, expected = measured(*sys.argv[1:])
        print(f"{sys.argv[1]:10} {sys.argv[2]:7} {found:5.1f} s, expected {expected:5.1f} s")
        return
    for work in WORKS:
        for name in NAMES:
            subprocess.run([sys.executable, __file__, work, name], check=True)


if __name__ == "__main__":
    main()
