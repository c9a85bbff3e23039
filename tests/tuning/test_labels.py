"""Labels speak of one task, with words for why; names become numbers, and doubt is an error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas
import pytest

import finetunekit as ftk
from finetunekit.tuning.labels import names_in_order, task_of_labels


@pytest.mark.parametrize(
    ("given", "task", "why"),
    [
        ([0, 1, 1], ("binary", 1), "the labels are 0 and 1"),
        ([[0.0], [1.0]], ("binary", 1), "the labels are 0 and 1"),
        ([True, False], ("binary", 1), "the labels are 0 and 1"),
        ([2, 0, 1], ("multiclass", 3), "the labels are the numbers 0 to 2"),
        ([[0, 1], [1, 0]], ("multiclass", 2), "each row of 0 and 1 has one 1"),
        ([[0, 1], [1, 1]], ("multilabel", 2), "rows of 0 and 1 have several 1s, or none"),
        ([0.5, 2], ("regression", 1), "the labels are not whole numbers"),
        ([[0, 1, 2.5]], ("regression", 3), "the labels are not whole numbers"),
    ],
)
def test_numbers_say_the_task_and_why(given: Any, task: tuple[str, int], why: str) -> None:
    found, numbers, words = task_of_labels(given, "auto", None)
    assert found == ftk.Task(name=task[0], num_classes=task[1])
    assert words == why
    assert numbers.tolist() == np.array(given).tolist()
    assert numbers.dtype == np.array(given).dtype


@pytest.mark.parametrize(
    ("given", "task", "outputs"),
    [
        ([0, 1], "multiclass", 2),
        ([0, 4], "multiclass", 5),
        ([3, 7, 12], "regression", 1),
        ([0, 1], "binary", 1),
        ([[0, 1], [1, 0]], "multilabel", 2),
        ([[0, 1], [1, 0]], "regression", 2),
    ],
)
def test_a_task_that_is_named_takes_the_number_of_outputs_from_the_labels(
    given: Any, task: str, outputs: int
) -> None:
    found, numbers, why = task_of_labels(given, task, None)
    assert found == ftk.Task(name=task, num_classes=outputs)
    assert numbers.tolist() == given
    assert why == "given"


def test_names_beside_numbers_say_how_many_classes_there_are() -> None:
    names = ["a", "b", "c", "d"]
    found, _, why = task_of_labels([0, 1, 2], "auto", names)
    assert found == ftk.Task(name="multiclass", num_classes=4, class_names=tuple(names))
    assert why == "the labels are the numbers 0 to 2"
    found, _, why = task_of_labels([0, 3], "multiclass", names)
    assert found == ftk.Task(name="multiclass", num_classes=4, class_names=tuple(names))
    assert why == "given"
    found, _, _ = task_of_labels([0, 1], "auto", ["no", "yes"])
    assert found == ftk.Task(name="binary", num_classes=1, class_names=("no", "yes"))
    with pytest.raises(ValueError, match="`class_names` must be two names"):
        task_of_labels([0, 1], "auto", names)


def test_a_whole_task_stays_whatever_the_labels_are() -> None:
    task = ftk.Task(name="multiclass", num_classes=7, one_hot=True)
    given = np.array([0.5, 20])
    found, numbers, why = task_of_labels(given, task, None)
    assert found == task
    assert numbers is given
    assert why == "given"
    named = ftk.Task(name="multiclass", num_classes=2, class_names=("a", "b"), one_hot=True)
    bare = ftk.Task(name="multiclass", num_classes=2, one_hot=True)
    assert task_of_labels(given, bare, ["a", "b"])[0] == named


@pytest.mark.parametrize(
    ("given", "task", "class_names", "wanted", "numbers"),
    [
        (["b", "a", "b"], "auto", None, ("binary", 1, ("a", "b")), [1, 0, 1]),
        (["b", "a", "b"], "auto", ["b", "a"], ("binary", 1, ("b", "a")), [0, 1, 0]),
        (["b", "c", "a"], "auto", None, ("multiclass", 3, ("a", "b", "c")), [1, 2, 0]),
        (["b", "a"], "auto", ["a", "x", "b"], ("multiclass", 3, ("a", "x", "b")), [2, 0]),
        (["b", "b"], "auto", ["a", "b"], ("binary", 1, ("a", "b")), [1, 1]),
        (["b", "a"], "multiclass", None, ("multiclass", 2, ("a", "b")), [1, 0]),
        (["10", "9"], "auto", None, ("binary", 1, ("10", "9")), [0, 1]),
        ([["b"], ["a"]], "auto", None, ("binary", 1, ("a", "b")), [[1], [0]]),
    ],
)
def test_names_become_numbers(
    given: Any, task: str, class_names: Any, wanted: tuple[str, int, Any], numbers: list[Any]
) -> None:
    name, outputs, names = wanted
    for labels in (given, np.array(given), np.array(given, object)):
        found, ids, why = task_of_labels(labels, task, class_names)
        assert found == ftk.Task(name=name, num_classes=outputs, class_names=names)
        assert ids.tolist() == numbers
        assert ids.dtype.kind == "i"
        assert why == f"the labels are {len(names)} names"


def test_objects_that_are_no_strings_are_names_too() -> None:
    found, ids, _ = task_of_labels(np.array([1, "a", 1], object), "auto", None)
    assert found.class_names == ("1", "a")
    assert ids.tolist() == [0, 1, 0]


@pytest.mark.parametrize("shape", [(0,), (0, 3), (4, 0)])
def test_no_labels(shape: tuple[int, ...]) -> None:
    for kind in ("float32", "U1"):
        with pytest.raises(ValueError, match="`train` holds no labels") as caught:
            task_of_labels(np.zeros(shape, kind), "auto", None)
        assert str(caught.value).endswith(f"Received: labels of shape {shape}")


def test_labels_that_are_not_among_the_names() -> None:
    given = ["g", "f", "e", "d", "c", "b", "a", "a"]
    with pytest.raises(ValueError, match="`class_names` must hold every label") as caught:
        task_of_labels(given, "auto", ["a", "x"])
    assert str(caught.value).endswith(
        "Received: labels ['b', 'c', 'd', 'e', 'f'] not in class_names=('a', 'x')"
    )


def test_one_name_is_no_task() -> None:
    with pytest.raises(ValueError, match="at least two classes to tell apart") as caught:
        task_of_labels(["a", "a"], "auto", None)
    assert str(caught.value).endswith("Received: labels ('a',)")
    with pytest.raises(ValueError, match="at least two classes to tell apart"):
        task_of_labels(["a", "a"], "multiclass", ["a"])


@pytest.mark.parametrize("task", ["regression", "multilabel"])
def test_names_are_for_tasks_with_one_class_a_sample(task: str) -> None:
    with pytest.raises(ValueError, match="names say one class a sample, which task") as caught:
        task_of_labels(list("gfedcba"), task, None)
    assert str(caught.value).endswith(f"Received: task={task!r}, labels ['a', 'b', 'c', 'd', 'e']")


def test_whole_numbers_with_gaps_could_be_either() -> None:
    with pytest.raises(ValueError, match="cannot tell whether these whole numbers") as caught:
        task_of_labels([7, 3, 12, 3], "auto", None)
    assert str(caught.value).endswith("dtype int64 from 3 to 12, 3 different ones of 4")


def test_the_order_of_names_is_that_of_the_list_or_of_the_task() -> None:
    named = ftk.Task(name="multiclass", num_classes=2, class_names=("b", "a"))
    bare = ftk.Task(name="multiclass", num_classes=2)
    assert names_in_order("auto", None) is None
    assert names_in_order("auto", ["b", "a"]) == ("b", "a")
    assert names_in_order("regression", np.array(["b", "a"])) == ("b", "a")
    assert names_in_order(named, None) == ("b", "a")
    assert names_in_order(named, ["b", "a"]) == ("b", "a")
    assert names_in_order(bare, None) is None
    assert names_in_order(bare, ["b", "a"]) == ("b", "a")
    with pytest.raises(ValueError, match="`class_names` contradicts the Task"):
        names_in_order(named, ["a", "b"])
    with pytest.raises(ValueError, match="'b' stand twice"):
        names_in_order("auto", ["b", "b"])
    with pytest.raises(TypeError, match="must be a list of strings"):
        names_in_order("auto", "ab")


@pytest.mark.parametrize(
    ("given", "task", "outputs", "kind"),
    [
        ([0, 1, 10, 2] * 20 + list(range(11)), "multiclass", 11, "i"),
        ([0, 1, 1], "binary", 1, "i"),
        ([True, False], "binary", 1, "b"),
        ([0.5, 2, 3], "regression", 1, "f"),
        ([np.int64(2), 0, 1], "multiclass", 3, "i"),
        ([[1, 5], [2, 3]], "regression", 2, "i"),
    ],
)
def test_numbers_in_objects_stay_numbers(given: Any, task: str, outputs: int, kind: str) -> None:
    """As a column of a table with a hole that was filled has them."""
    found, numbers, _ = task_of_labels(np.array(given, object), "auto", None)
    assert found == ftk.Task(name=task, num_classes=outputs)
    assert numbers.dtype.kind == kind
    assert numbers.tolist() == given


@pytest.mark.parametrize("hole", [None, float("nan"), "", "  ", pandas.NA, np.float32("nan")])
@pytest.mark.parametrize("others", [["b", "a", "b"], [0, 1, 1], [0.5, 1.5, 2.5]])
def test_a_missing_label_is_no_class(hole: Any, others: list[Any]) -> None:
    labels = [*others, hole, *others, hole]
    with pytest.raises(ValueError, match=r"without a label.*: rows 3 and 7\. Give them") as caught:
        task_of_labels(np.array(labels, object), "auto", None)
    assert "`train` has samples" in str(caught.value)
    assert str(caught.value).endswith("in row 3")
    if hole is not pandas.NA and isinstance(hole, float):
        numbers = [0.0, 1.0, hole]
        with pytest.raises(ValueError, match=r"`validation_data` has samples without .* row 2\."):
            task_of_labels(numbers, "multiclass", None, "validation_data")


@pytest.mark.parametrize("made", [list, np.array, lambda given: np.array(given, object)])
def test_bytes_are_text(made: Any) -> None:
    found, numbers, _ = task_of_labels(made([b"cat", "h\u00f6rse".encode(), b"cat"]), "auto", None)
    assert found.class_names == ("cat", "h\u00f6rse")
    assert numbers.tolist() == [0, 1, 0]


def test_lists_of_classes_say_what_to_do() -> None:
    with pytest.raises(ValueError, match="several classes a sample give a row of 0 and 1"):
        task_of_labels([[0], [1, 2]], "auto", None)
    _, _, why = task_of_labels([[3, 4], [1, 2]], "auto", None)
    assert why == "the labels are 2 numbers a sample"


def test_the_argument_at_fault_is_named() -> None:
    task = ftk.Task(name="multiclass", num_classes=3, class_names=("a", "b", "c"))
    with pytest.raises(ValueError, match="`validation_data` holds no labels"):
        task_of_labels([], task, task.class_names, "validation_data")
    with pytest.raises(ValueError, match=r"every label of `test_data`.*\['d'\]"):
        task_of_labels(["a", "d"], task, task.class_names, "test_data")
