"""Does the library speak through its logger alone, and are lists and counts plain English?"""

from __future__ import annotations

import io
import logging
from typing import Any

import pytest
from absl import logging as absl_logging

from finetunekit.foundation import messages


def test_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "finetunekit")
    messages.say("done")
    messages.say("aloud", 2)
    messages.say("quietly", 0)
    messages.warn("odd")
    found = [(record.name, record.levelname, record.message) for record in caplog.records]
    assert found == [
        ("finetunekit", "INFO", "done"),
        ("finetunekit", "INFO", "aloud"),
        ("finetunekit", "DEBUG", "quietly"),
        ("finetunekit", "WARNING", "odd"),
    ]


def test_it_is_seen_until_the_program_sets_up_logging(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    messages.say("seen")
    messages.say("not seen", 0)
    assert capsys.readouterr().err == "finetunekit: seen\n"
    monkeypatch.setattr(root, "handlers", [logging.NullHandler()])
    messages.say("left to the program")
    assert capsys.readouterr() == ("", "")


def bare(monkeypatch: pytest.MonkeyPatch) -> logging.Logger:
    """The root logger as a program has it that has not set up logging."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", logging.WARNING)
    return root


def test_a_library_that_logs_first_changes_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bare_root = bare(monkeypatch)
    messages.say("before")
    absl_logging.warning("of absl")  # Gives the root logger a handler.
    assert bare_root.handlers
    messages.say("after")
    messages.warn("again")
    shown = [line for line in capsys.readouterr().err.splitlines() if "absl" not in line]
    assert shown == [f"finetunekit: {text}" for text in ("before", "after", "again")]


@pytest.mark.parametrize(
    "options", [{"level": logging.INFO}, {"format": "%(levelname)s %(message)s"}], ids=str
)
def test_a_program_that_sets_up_logging_later_gets_all_of_it(
    options: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(monkeypatch)
    logging.basicConfig()
    messages.say("before")
    logging.basicConfig(force=True, **options)
    messages.warn("after")
    first, second = capsys.readouterr().err.splitlines()
    assert first == "finetunekit: before"
    assert second in {"WARNING:finetunekit:after", "WARNING after"}


def test_a_second_handler_hears_what_the_bare_one_does_not_write_twice(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bare_root = bare(monkeypatch)
    logging.basicConfig()
    messages.say("once")
    heard = io.StringIO()
    bare_root.addHandler(logging.StreamHandler(heard))
    messages.say("for all")
    assert heard.getvalue() == "for all\n"
    assert capsys.readouterr().err == "finetunekit: once\nINFO:finetunekit:for all\n"


@pytest.mark.parametrize(
    ("outer", "inner", "said"),
    [("auto", "auto", True), (2, 1, True), (0, "auto", False), ("auto", 0, False), (0, 2, False)],
)
def test_a_quiet_verb_keeps_what_it_calls_quiet(
    outer: Any, inner: Any, said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    @messages.obeys_verbose
    def called(*, verbose: Any = "auto") -> None:
        messages.say("done")
        messages.warn("odd")

    @messages.obeys_verbose
    def verb(*, verbose: Any = "auto") -> None:
        called(verbose=inner)

    caplog.set_level(logging.INFO, "finetunekit")
    verb(verbose=outer)
    assert caplog.messages == ["done", "odd"] if said else ["odd"]
    caplog.clear()
    messages.say("afterwards")
    assert caplog.messages == ["afterwards"]


def test_a_warning_comes_once_in_each_call_of_a_verb(caplog: pytest.LogCaptureFixture) -> None:
    @messages.obeys_verbose
    def stage() -> None:
        messages.warn("odd")

    @messages.obeys_verbose
    def verb() -> None:
        stage()
        stage()
        messages.warn("odd, too")

    verb()
    assert caplog.messages == ["odd", "odd, too"]
    verb()
    assert caplog.messages == ["odd", "odd, too"] * 2


def test_tensorflow_does_not_warn_of_what_a_verb_traces(caplog: pytest.LogCaptureFixture) -> None:
    text = "5 out of the last 5 calls to <f> triggered tf.function retracing. Tracing is expensive"
    tensorflow = logging.getLogger("tensorflow")
    with messages.one_call():
        tensorflow.warning(text)
        tensorflow.warning("another matter")
    assert [record.getMessage() for record in caplog.records] == ["another matter"]
    tensorflow.warning(text)
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (1, "layer", "1 layer"),
        (0, "layer", "0 layers"),
        (1234567, "parameter", "1,234,567 parameters"),
        (2, "class", "2 classes"),
        (4, "batch", "4 batches"),
        (1, "class", "1 class"),
        (3, "epoch", "3 epochs"),
    ],
)
def test_plural(count: int, noun: str, text: str) -> None:
    assert messages.plural(count, noun) == text


def test_lists_end_where_they_grow_long() -> None:
    assert messages.listed([]) == ""
    assert messages.listed(["a", "b"]) == "'a', 'b'"
    assert messages.listed(range(12)) == ", ".join(map(str, range(12)))
    assert messages.listed(range(13)).endswith("11, ... (1 more)")
    assert messages.listed("abcde", 2) == "'a', 'b', ... (3 more)"


def test_the_nearest_names_are_offered() -> None:
    known = ["MobileNetV2", "ResNet50", "ResNet50", "VGG16"]
    assert messages.closest("resnet50", known) == "Did you mean 'ResNet50'? "
    assert messages.closest("VGG17", known) == "Did you mean 'VGG16'? "
    assert messages.closest("something else", known) == ""
