"""Messages to the user, through the logger "finetunekit" and never through print."""

import contextlib
import difflib
import functools
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

logger = logging.getLogger("finetunekit")

_SAMPLE = {"levelname": "INFO", "name": "name", "msg": "text"}
_FORMATTED = {"levelname": "INFO", "name": "name", "message": "text"}


class _VisibleByDefault(logging.Handler):
    """Writes to stderr as long as the program has not set up logging itself."""

    def emit(self, record: logging.LogRecord) -> None:
        for handler in logging.getLogger().handlers:
            if _is_bare(handler):
                handler.addFilter(_left_to_the_root)  # A second time it does nothing.
        if not _is_set_up():
            sys.stderr.write(f"finetunekit: {record.getMessage()}\n")


def _is_set_up() -> bool:
    """Whether the program, and not only some library, has given the root logger a handler."""
    return not all(_is_bare(handler) for handler in logging.getLogger().handlers)


def _is_bare(handler: logging.Handler) -> bool:
    """Whether it is what `logging.basicConfig()` adds.

    absl, which TensorFlow's converters and Keras log with, calls that at its first message.
    """
    return (
        type(handler) is logging.StreamHandler
        and handler.format(logging.makeLogRecord(_SAMPLE)) == logging.BASIC_FORMAT % _FORMATTED
        and handler.level == logging.NOTSET
        and logging.getLogger().level == logging.WARNING
    )


def _left_to_the_root(record: logging.LogRecord) -> bool:
    """Keeps a bare handler from writing our lines a second time, in another format."""
    return record.name != logger.name or _is_set_up()


logger.addHandler(_VisibleByDefault())
logger.setLevel(logging.INFO)


@dataclass
class _Call:
    """A call of a verb, with all that it calls."""

    quiet: bool
    warned: set[str] = field(default_factory=set)


_CALL: ContextVar[_Call | None] = ContextVar("finetunekit_call", default=None)


@contextlib.contextmanager
def one_call(verbose: object = "auto") -> Iterator[None]:
    """While a verb runs: `verbose=0` keeps all but warnings to the debug level.

    Each warning is logged once in the outermost call, however often its parts find the same. And
    TensorFlow does not warn of tracing: models and stages that follow each other are traced one
    by one, which is meant.

    Args:
        verbose: What the verb was given.
    """
    outer = _CALL.get()
    quiet = not verbose or (outer is not None and outer.quiet)
    token = _CALL.set(_Call(quiet, outer.warned if outer else set()))
    try:
        yield
    finally:
        _CALL.reset(token)


def obeys_verbose(verb: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Runs a verb as `one_call`, with what it is given as the option `verbose`."""

    @functools.wraps(verb)
    def call(*args: _Arguments.args, **options: _Arguments.kwargs) -> _Result:
        # What a verb does not say when it is not asked is its own business: see `say`.
        with one_call(options.get("verbose", "auto")):
            return verb(*args, **options)

    return call


def _not_of_tracing(record: logging.LogRecord) -> bool:
    return _CALL.get() is None or "triggered tf.function retracing" not in str(record.msg)


logging.getLogger("tensorflow").addFilter(_not_of_tracing)


def say(message: str, verbose: object = "auto") -> None:
    """Logs what was done or chosen; `verbose=0`, here or of the verb, keeps it to debugging."""
    call = _CALL.get()
    quiet = not verbose or (call is not None and call.quiet)
    logger.log(logging.DEBUG if quiet else logging.INFO, message)


def warn(message: str) -> None:
    """Logs something that the user probably did not mean, once in each call of a verb."""
    call = _CALL.get()
    if call is None:
        logger.warning(message)
    elif message not in call.warned:
        call.warned.add(message)
        logger.warning(message)


def plural(count: int, noun: str) -> str:
    """`3 layers`, `1 layer`, `2 classes`, `4 batches`, `5 epochs`."""
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}es" if noun.endswith(("s", "tch")) else f"{count:,} {noun}s"


def listed(names: Iterable[object], limit: int = 12) -> str:
    """The first names of a list, quoted, with the number of those left out."""
    rows = [repr(name) for name in names]
    more = f", ... ({len(rows) - limit} more)" if len(rows) > limit else ""
    return ", ".join(rows[:limit]) + more


def closest(name: str, names: Iterable[str]) -> str:
    """`Did you mean ...? ` with the names nearest to a misspelt one, or an empty string."""
    near = difflib.get_close_matches(name, list(dict.fromkeys(names)), n=3, cutoff=0.5)
    return f"Did you mean {listed(near)}? " if near else ""
