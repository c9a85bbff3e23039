"""The command line: `python -m finetunekit quickstart`."""

import argparse
import logging
import sys
from collections.abc import Sequence

from finetunekit import __version__
from finetunekit.foundation import native_messages


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status.

    Args:
        arguments: The words after `python -m finetunekit`; those of the process by default.

    Returns:
        0, or 1 after an error that the user can fix, which is printed in one line.
    """
    options = _parser().parse_args(arguments)
    _log_to_stdout()
    return _quickstart(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m finetunekit", description="Fine-tune pretrained Keras models."
    )
    parser.add_argument("--version", action="version", version=f"finetunekit {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    quickstart = commands.add_parser(
        "quickstart",
        help="fine-tune a first model, in about a minute and without a download",
        description="Fine-tunes the built-in MobileNetV2, compares it with simpler methods, draws "
        "a plot, and opens the saved model with Keras alone.",
    )
    quickstart.add_argument(
        "--data",
        metavar="FOLDER",
        help="your own images, one subfolder per class (default: crops of scikit-image's photos)",
    )
    quickstart.add_argument(
        "--output",
        metavar="FOLDER",
        default="finetunekit-quickstart",
        help="where the model and the plot are saved (default: %(default)s)",
    )
    quickstart.add_argument(
        "--seed", type=_natural, default=0, metavar="N", help="random seed (default: 0)"
    )
    quickstart.add_argument(
        "--epochs", type=_positive, metavar="N", help="epochs of each of the two phases"
    )
    return parser


def _natural(text: str) -> int:
    """A seed that numpy and Keras both take."""
    number = int(text)
    if not 0 <= number < 2**32:
        raise argparse.ArgumentTypeError(f"must be in 0 to 2**32 - 1. Received: {text}")
    return number


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1. Received: {text}")
    return number


# argparse names the type in its message about text that is not a number.
_natural.__name__ = _positive.__name__ = "number"


def _log_to_stdout() -> None:
    """What the verbs say belongs among the lines of the job, in their order."""
    if not logging.getLogger().handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("  %(message)s"))
        logging.getLogger().addHandler(handler)


def _quickstart(options: argparse.Namespace) -> int:
    from finetunekit.quickstart import job
    from finetunekit.quickstart.comparison import EPOCHS
    from finetunekit.quickstart.folder import load_folder
    from finetunekit.quickstart.surfaces import load_surfaces

    try:
        if options.data is None:
            examples = load_surfaces(seed=options.seed)
        else:
            examples = load_folder(options.data, seed=options.seed)
        job.prepare(options.output)
    except (ImportError, OSError, ValueError) as error:
        print(f"finetunekit: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    job.run(examples, output=options.output, seed=options.seed, epochs=options.epochs or EPOCHS)
    return 0


if __name__ == "__main__":
    with native_messages.filtered():
        status = main()
    sys.exit(status)
