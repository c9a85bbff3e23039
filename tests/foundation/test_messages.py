"""Does the library speak through its logger alone, and are lists and counts plain English?"""

from __future__ import annotations

import logging

import pytest

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
