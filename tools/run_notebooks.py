"""Do the notebooks run? python tools/run_notebooks.py [notebook ...], by default all of notebooks/.

Each runs from top to bottom in an empty folder; the files stay as they are, without outputs. The
exit status is 1 when a cell fails, or when a notebook is stored with outputs.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
SECONDS_PER_CELL = 600


def stored_outputs(notebook: nbformat.NotebookNode) -> list[int]:
    """Return the numbers of the cells that are stored with outputs, counted from 0."""
    return [
        number
        for number, cell in enumerate(notebook.cells)
        if cell.get("outputs") or cell.get("execution_count") is not None
    ]


def problem(path: Path) -> str | None:
    """Execute one notebook; return what is wrong with it, or None."""
    notebook = nbformat.read(path, as_version=4)
    if cells := stored_outputs(notebook):
        return f"cells {cells} are stored with outputs: clear them"
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=SECONDS_PER_CELL,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
        )
        try:
            client.execute()
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            return str(error)
    return None


def main(arguments: list[str]) -> int:
    """Execute the named notebooks, or all; return the exit status."""
    paths = [Path(argument) for argument in arguments] or sorted(NOTEBOOKS.glob("*.ipynb"))
    if not paths:
        print(f"There are no notebooks in {NOTEBOOKS}.")
        return 1
    failed = 0
    for path in paths:
        start = time.perf_counter()
        error = problem(path)
        print(f"{path.name}: {error or 'ok'} ({time.perf_counter() - start:.0f} s)", flush=True)
        failed += error is not None
    print(f"{len(paths) - failed} notebooks executed, {failed} failed")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
