"""Each family's answers against formulas written here: decoding, labels, weights, losses."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest

from finetunekit.models.metadata import Task
from finetunekit.tasks import families, family_of
from finetunekit.tasks.class_family import balanced, sigmoid
from finetunekit.tasks.label_shapes import fits, has_rows_of_0_and_1, is_wide, one_each, text

BINARY = Task(name="binary", num_classes=1)
MULTICLASS = Task(name="multiclass", num_classes=3)
MULTILABEL = Task(name="multilabel", num_classes=3)
REGRESSION = Task(name="regression", num_classes=1)


def decode(task: Task, outputs: Any, *, logits: bool = True, threshold: Any = None) -> list[Any]:
    return family_of(task).decode(np.array(outputs, "float64"), task, logits, threshold)


# Decoding.


def test_sigmoid_without_overflow() -> None:
    logits = np.array([-1000.0, -40, -1, 0, 1, 40, 1000])
    wanted = [0.0, math.exp(-40), 1 / (1 + math.e), 0.5, 1 / (1 + math.exp(-1)), 1.0, 1.0]
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_allclose(sigmoid(logits), wanted, rtol=1e-12)


@pytest.mark.parametrize(
    ("logit", "label", "p"),
    [(-1000.0, "0", 0.0), (-0.1, "0", 0.47502), (0.0, "1", 0.5), (0.1, "1", 0.52498),
     (1000.0, "1", 1.0)],
)  # fmt: skip
def test_binary(logit: float, label: str, p: float) -> None:
    with np.errstate(all="raise", under="ignore"):
        (found,) = decode(BINARY, [[logit]])
    assert found.label == label
    assert found.probabilities == pytest.approx({"0": 1 - p, "1": p}, abs=1e-5)
    (plain,) = decode(BINARY, [[p]], logits=False)
    assert plain.probabilities == pytest.approx({"0": 1 - p, "1": p})
    assert next(iter(found.probabilities)) == max(found.probabilities, key=found.probabilities.get)


@pytest.mark.parametrize(("threshold", "label"), [(0.25, "1"), (0.251, "0"), (0, "1"), (1.0, "0")])
def test_a_threshold_holds_from_itself_on(threshold: float, label: str) -> None:
    assert decode(BINARY, [[0.25]], logits=False, threshold=threshold)[0].label == label
    found = decode(MULTILABEL, [[0.25, 0.0, 0.0]], logits=False, threshold=threshold)[0]
    assert ("0" in found.labels) == (label == "1")


def test_multiclass() -> None:
    with np.errstate(all="raise", under="ignore"):
        far, tie, near = decode(MULTICLASS, [[-1000, 0, 1000], [2, 5, 5], [0.1, 0.2, 0]])
    assert (far.label, far.probability) == ("2", 1.0)
    assert far.probabilities == {"2": 1.0, "1": 0.0, "0": 0.0}
    assert tie.label == "1"
    assert list(tie.probabilities) == ["1", "2", "0"]
    total = math.exp(0.1) + math.exp(0.2) + 1
    assert near.probabilities == pytest.approx(
        {"1": math.exp(0.2) / total, "0": math.exp(0.1) / total, "2": 1 / total}
    )
    assert decode(MULTICLASS, [[0.2, 0.7, 0.1]], logits=False)[0].probability == 0.7


def test_multilabel_decides_each_class_by_itself() -> None:
    named = Task(name="multilabel", num_classes=3, class_names=("a", "b", "c"))
    rows = decode(named, [[1000, -1000, 0.0], [-0.01, -2, -3], [0.1, 0.2, 0.3]])
    assert [row.labels for row in rows] == [("a", "c"), (), ("c", "b", "a")]
    assert rows[0].probabilities == {"a": 1.0, "c": 0.5, "b": 0.0}
    assert rows[1].probability == pytest.approx(1 / (1 + math.exp(0.01)))
    assert str(rows[0]) == "a 1.00, c 0.50"


def test_half_precision_outputs_are_decoded() -> None:
    p = np.array([[0.1, 0.7, 0.2]], "float16")
    (found,) = family_of(MULTICLASS).decode(p.astype("float64"), MULTICLASS, False, None)
    assert found.probabilities["1"] == pytest.approx(0.7, abs=1e-3)


@pytest.mark.parametrize("threshold", [0, 1, 0.5, np.float32(0.3), None])
def test_thresholds(threshold: Any) -> None:
    family_of(BINARY).check_threshold(threshold)


@pytest.mark.parametrize(
    ("task", "threshold", "words"),
    [
        ("binary", -0.01, "in .0, 1."),
        ("binary", 1.01, "in .0, 1."),
        ("multilabel", True, "in .0, 1."),
        ("multilabel", "0.5", "in .0, 1."),
        ("multiclass", 0.5, "most probable class"),
        ("regression", 0.5, "has no effect"),
    ],
)
def test_thresholds_refused(task: str, threshold: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        family_of(task).check_threshold(threshold)
    family_of(task).check_threshold(None)


# Losses and metrics.

LOGITS = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0], [1.0, 1.0, 1.0], [-3.0, 0.2, 0.1]])
CLASSES = np.array([0, 2, 1, 1])


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("logits", [True, False])
def test_cross_entropy_of_integers_and_one_hot_labels(logits: bool, smoothing: float) -> None:
    rows = np.eye(3)[CLASSES]
    smooth = rows * (1 - smoothing) + smoothing / 3
    wanted = -(smooth * np.log(softmax(LOGITS))).sum(axis=1).mean()
    outputs = (LOGITS if logits else softmax(LOGITS)).astype("float32")
    family = family_of(MULTICLASS)
    for one_hot, y in ((True, rows), (False, CLASSES), (None, CLASSES[:, None])):
        task = Task(name="multiclass", num_classes=3, one_hot=one_hot)
        found = float(family.loss(task, logits, smoothing)(y.astype("float32"), outputs))
        assert found == pytest.approx(wanted, rel=1e-5)
        (accuracy,) = family.metrics(task, logits)
        accuracy.update_state(y, outputs)
        assert accuracy.name == "accuracy"
        assert float(accuracy.result()) == pytest.approx((LOGITS.argmax(axis=1) == CLASSES).mean())


def auc_of(y: np.ndarray, scores: np.ndarray) -> float:
    """The share of pairs in the right order (Mann and Whitney)."""
    pairs = scores[y == 1][:, None] - scores[y == 0]
    return float((pairs > 0).mean() + 0.5 * (pairs == 0).mean())


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("logits", [True, False])
@pytest.mark.parametrize("task", [BINARY, MULTILABEL])
def test_binary_cross_entropy(task: Task, logits: bool, smoothing: float) -> None:
    width = task.num_classes
    scores = np.array([[0.2, -1.5, 3], [-0.3, 2, 1], [0.4, -0.2, -2], [-2, 1, 0.3]])[:, :width]
    y = np.array([[1, 0, 1], [0, 1, 0], [0, 1, 1], [1, 0, 0]])[:, :width]
    p = 1 / (1 + np.exp(-scores))
    smooth = y * (1 - smoothing) + smoothing / 2
    wanted = -(smooth * np.log(p) + (1 - smooth) * np.log(1 - p)).mean()
    outputs = (scores if logits else p).astype("float32")
    family = family_of(task)
    assert float(family.loss(task, logits, smoothing)(y, outputs)) == pytest.approx(wanted, 1e-5)
    accuracy, auc = family.metrics(task, logits)
    for metric in (accuracy, auc):
        metric.update_state(y, outputs)
    assert (accuracy.name, auc.name) == ("accuracy", "auc")
    assert float(accuracy.result()) == pytest.approx(((p > 0.5) == y).mean())
    wanted = np.mean([auc_of(y[:, k], scores[:, k]) for k in range(width)])
    assert float(auc.result()) == pytest.approx(wanted, abs=0.01)


def test_regression_losses() -> None:
    family = family_of(REGRESSION)
    y, found = np.array([[1.0], [2.0], [4.0]]), np.array([[1.5], [2.0], [1.0]])
    assert float(family.loss(REGRESSION, False)(y, found)) == pytest.approx((0.25 + 9) / 3)
    mae, rmse = family.metrics(REGRESSION, False)
    for metric in (mae, rmse):
        metric.update_state(y, found)
    assert (mae.name, rmse.name) == ("mae", "rmse")
    assert float(mae.result()) == pytest.approx(3.5 / 3)
    assert float(rmse.result()) == pytest.approx(math.sqrt(9.25 / 3))
    with pytest.raises(ValueError, match="label_smoothing"):
        family.loss(REGRESSION, False, 0.1)


def test_what_is_watched_is_logged() -> None:
    for family in families():
        task = Task(name=family.name, num_classes=family.fixed_count or 3)
        assert family.monitor in [metric.name for metric in family.metrics(task, False)]


# Labels.


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        (BINARY, [0, 1, 1]),
        (BINARY, [[0.0], [1.0], [0.3]]),
        (BINARY, [True, False, True]),
        (MULTICLASS, [0, 2, 1]),
        (MULTICLASS, [[0.0], [2.0], [2.0]]),
        (MULTICLASS, [[0, 1, 0], [0.2, 0.3, 0.5], [0.3333, 0.3333, 0.3333]]),
        (MULTILABEL, [[0, 1, 0], [1, 1, 1], [0.5, 0, 0]]),
        (REGRESSION, [-1.5, 7, 1e6]),
        (REGRESSION, [[-1.5], [7], [0]]),
    ],
)
def test_labels_taken(task: Task, labels: Any) -> None:
    family_of(task).check_labels(np.array(labels), task, (None, task.num_classes))


@pytest.mark.parametrize(
    ("task", "labels", "words"),
    [
        (BINARY, [0, 1.01], "between 0 .*Write `y = .y > 0"),
        (BINARY, [0, -0.01], "Write `y = .y > 0"),
        (BINARY, [1, 2, 1], "Write `y = y - 1`"),
        (BINARY, [0, 1, 2], "more than two classes"),
        (BINARY, [[0, 1], [1, 0]], "must have shape .n,. or .n, 1."),
        (MULTICLASS, [0, 1, 3], r"num_classes=4"),
        (MULTICLASS, [1, 2, 3], r"`y = y - 1`"),
        (MULTICLASS, [2, 3, 4], r"num_classes=5"),
        (MULTICLASS, [-1, 0, 1], r"`y = y \+ 1`"),
        (MULTICLASS, [-1, 0, 2], "Drop the samples"),
        (MULTICLASS, [-2, 0, 1], "Drop the samples"),
        (MULTICLASS, [0, 0.5], "integer labels"),
        (MULTICLASS, [[0.0, 1.0, 0.01]], "sum to 1.*from 1.01 to 1.01"),
        (MULTICLASS, [[0.0, 1.0, -0.01], [0, 1.01, -0.01]], "sum to 1"),
        (MULTICLASS, [[0, 1], [1, 0]], "shape .n,. or rows of shape .n, 3."),
        (MULTILABEL, [[0, 1, 1.5]], "0 .absent. and 1"),
        (MULTILABEL, [[0, 1, -1]], "0 .absent. and 1"),
        (MULTILABEL, [[0, 1]], "one column a label"),
        (MULTILABEL, [0, 1, 1], "one column a label"),
        (REGRESSION, [[0, 1]], "num_classes"),
    ],
)
def test_labels_refused(task: Task, labels: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        family_of(task).check_labels(np.array(labels), task, (None, task.num_classes))


def test_regression_of_two_takes_rows_only() -> None:
    two = Task(name="regression", num_classes=2)
    family_of(two).check_labels(np.zeros((4, 2)), two, (None, 2))
    for shape in ((4,), (4, 1), (4, 3)):
        with pytest.raises(ValueError, match="2 output"):
            family_of(two).check_labels(np.zeros(shape), two, (None, 2))


def test_hinge_labels() -> None:
    for task in (BINARY, MULTILABEL):
        family = family_of(task)
        for loss in ("Hinge", "SquaredHinge"):
            found = family.labels_for_check(np.array([[-1, 1, -1]]), loss)
            assert found.tolist() == [[0, 1, 0]]
            assert family.labels_for_check(np.array([[0, 1]]), loss).tolist() == [[0, 1]]
        raw = np.array([-1, 1])
        assert family.labels_for_check(raw, "BinaryCrossentropy") is raw
    assert family_of("multiclass").labels_for_check(raw, "Hinge") is raw


def test_class_ids() -> None:
    def ids(task: Task, labels: Any) -> Any:
        shape = (None, task.num_classes)
        return family_of(task).class_ids(np.array(labels), task, shape).tolist()

    assert ids(BINARY, [0.0, 0.5, 0.51, 1.0]) == [0, 0, 1, 1]
    assert ids(MULTICLASS, [0.0, 2.0]) == [0, 2]
    assert ids(MULTICLASS, [[0.2, 0.5, 0.3], [1, 0, 0]]) == [1, 0]
    assert ids(MULTILABEL, [[0.5, 0.6, 1.0]]) == [[0, 1, 1]]
    numbers, y = family_of("regression"), np.zeros(2)
    with pytest.raises(ValueError, match="predicts numbers"):
        numbers.class_ids(y, REGRESSION, (None, 1))
    with pytest.raises(ValueError, match="predicts numbers"):
        numbers.class_weights(y, "balanced", REGRESSION, (None, 1))
    with pytest.raises(ValueError, match="predicts numbers"):
        family_of("regression").class_count(REGRESSION)
    assert decode(REGRESSION, [[1.0]])[0].value == 1.0


@pytest.mark.parametrize(
    ("shape", "one_hot"),
    [((8,), False), ((8, 1), False), ((8, 3), True), ((None, 3), True), ((8, 2), False)],
)
def test_label_form(shape: Any, one_hot: bool) -> None:
    family = family_of("multiclass")
    for known in (None, False, True):
        task = Task(name="multiclass", num_classes=3, one_hot=known)
        found = family.task_for_labels(task, shape, (None, 3))
        assert bool(found.one_hot) is one_hot
        assert (found is task) == (bool(known) == one_hot)
        assert family.label_form(found) == ("one-hot labels" if one_hot else "integer labels")
    for other in (BINARY, MULTILABEL, REGRESSION):
        assert family_of(other).task_for_labels(other, shape, (None, 3)) is other


@pytest.mark.parametrize(
    ("loss", "one_hot"),
    [
        ("SparseCategoricalCrossentropy", False),
        ("CategoricalCrossentropy", True),
        ("CategoricalFocalCrossentropy", True),
        ("CategoricalHinge", True),
        ("KLDivergence", True),
        ("", None),
        ("MeanSquaredError", None),
    ],
)
def test_label_form_of_a_loss(loss: str, one_hot: bool | None) -> None:
    for known in (None, True, False):
        task = Task(name="multiclass", num_classes=3, one_hot=known)
        found = family_of("multiclass").task_for_loss(task, loss)
        assert found.one_hot is (known if one_hot is None else one_hot)
        assert one_hot is not None or found is task
    assert family_of("binary").task_for_loss(BINARY, loss) is BINARY


def test_labels_as_probabilities() -> None:
    def rows(task: Task, labels: Any) -> Any:
        found = family_of(task).as_probabilities(np.array(labels), task, (None, task.num_classes))
        assert found.dtype == "float32"
        return found.tolist()

    assert rows(MULTICLASS, [2, 0]) == [[0, 0, 1], [1, 0, 0]]
    assert rows(MULTICLASS, [[2.0], [0.0]]) == [[0, 0, 1], [1, 0, 0]]
    assert rows(MULTICLASS, [[0.5, 0.5, 0]]) == [[0.5, 0.5, 0]]
    assert rows(BINARY, [1, 0]) == [[1], [0]]
    assert rows(MULTILABEL, [[1, 0, 1]]) == [[1, 0, 1]]
    assert [family_of(n).can_mix for n in ("binary", "multiclass", "multilabel", "regression")] == [
        True, True, True, False
    ]  # fmt: skip


# Weights.


@pytest.mark.parametrize(
    ("task", "labels", "weights"),
    [
        # Absent classes are not counted: n / (classes present * count).
        (MULTICLASS, [0, 0, 0, 2], [4 / 6, 4 / 6, 4 / 6, 2]),
        (MULTICLASS, [1, 1], [1, 1]),
        (BINARY, [0, 0, 0], [1, 1, 1]),
        (BINARY, [0, 1, 0], [3 / 4, 3 / 2, 3 / 4]),
        (
            MULTILABEL,
            [[0, 0, 1], [0, 1, 1], [0, 0, 1], [0, 0, 0]],
            [(1 + 4 / 6 + 4 / 6) / 3, (1 + 2 + 4 / 6) / 3, (1 + 4 / 6 + 4 / 6) / 3,
             (1 + 4 / 6 + 2) / 3],
        ),
    ],
)  # fmt: skip
def test_balanced_with_absent_classes(task: Task, labels: Any, weights: Any) -> None:
    y = np.array(labels)
    found = family_of(task).class_weights(y, "balanced", task, (None, task.num_classes))
    assert found == pytest.approx(weights)


def test_balanced_weights_have_mean_one() -> None:
    ids = np.random.default_rng(0).integers(0, 5, 100) ** 2
    weights = balanced(ids, 20)
    assert len(weights) == 20
    assert weights[ids].mean() == pytest.approx(1)


def test_given_weights() -> None:
    family = family_of(BINARY)
    assert family.class_weights(np.array([0, 1]), {0: 0.5}, BINARY, (None, 1)).tolist() == [0.5, 1]
    family.check_class_weight({0: 0.0, 1: np.float32(2)}, BINARY)
    for wrong, words in (
        ({2: 1.0}, "0 to 1"),
        ({-1: 1.0}, "0 to 1"),
        ({0: -0.1}, "finite numbers of at least 0"),
        ({0: math.inf}, "finite numbers of at least 0"),
        ({0: math.nan}, "finite numbers of at least 0"),
        ({0: True}, "finite numbers of at least 0"),
        ({0: "1"}, "finite numbers of at least 0"),
        ("even", "'balanced'"),
        ([1.0, 2.0], "a dict"),
    ):
        with pytest.raises(ValueError, match=words):
            family.check_class_weight(wrong, BINARY)
    for wrong in ({0: 1.0}, "even"):
        with pytest.raises(ValueError, match="must be 'balanced'"):
            family_of(MULTILABEL).check_class_weight(wrong, MULTILABEL)
    family_of(MULTILABEL).check_class_weight("balanced", MULTILABEL)


# Counts, names and activations.


@pytest.mark.parametrize(
    ("task", "number", "names", "count"),
    [
        ("binary", None, None, 1),
        ("binary", 1, ("a", "b"), 1),
        ("multiclass", 2, None, 2),
        ("multiclass", None, ("a", "b", "c"), 3),
        ("multilabel", 1, None, 1),
        ("multilabel", 2, ("a", "b"), 2),
        ("regression", None, None, 1),
        ("regression", 4, None, 4),
    ],
)
def test_counts(task: str, number: Any, names: Any, count: int) -> None:
    assert family_of(task).count(number, names) == count


@pytest.mark.parametrize(
    ("task", "number", "names", "words"),
    [
        ("binary", 2, None, "one output"),
        ("binary", None, ("a",), "two names"),
        ("multiclass", 1, None, "at least 2.*'binary'"),
        ("multiclass", None, ("a",), "at least 2"),
        ("multiclass", None, None, "needs `num_classes`"),
        ("multilabel", None, None, "needs `num_classes`"),
        ("multilabel", 0, None, "at least 1"),
        ("multilabel", 3, ("a", "b"), "must equal"),
        ("regression", 0, None, "at least 1"),
    ],
)
def test_counts_refused(task: str, number: Any, names: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        family_of(task).count(number, names)


ACTIVATIONS = (None, "linear", "sigmoid", "softmax", "tanh")


@pytest.mark.parametrize(
    ("task", "head", "model"),
    [
        ("binary", (None, "linear", "sigmoid"), (None, "sigmoid")),
        ("multilabel", (None, "linear", "sigmoid"), (None, "sigmoid")),
        ("multiclass", (None, "linear", "softmax"), (None, "softmax")),
        ("regression", (None, "linear", "sigmoid", "tanh"), (None, "linear", "sigmoid", "tanh")),
    ],
)
def test_activations(task: str, head: Any, model: Any) -> None:
    family, of = family_of(task), Task(name=task, num_classes=family_of(task).fixed_count or 2)
    for activation in ACTIVATIONS:
        for allowed, check in (
            (head, lambda a: family.check_activation(a)),
            (model, lambda a: family.check_output(a, of, "model")),
        ):
            if activation in allowed:
                check(activation)
            else:
                with pytest.raises(ValueError, match=f"'{task}'"):
                    check(activation)


# Recognition.


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        ([0, 1, 1], "binary"),
        ([[0], [1]], "binary"),
        ([0, 1, 2], "multiclass"),
        ([0], "multiclass"),
        ([[0], [1], [2]], "multiclass"),
        ([[0.0], [1.0], [2.0]], None),
        ([*range(1000)] * 5, "multiclass"),
        (range(1000), None),
        ([*range(1001)] * 5, None),
        ([0, 2, 3], None),
        ([1, 2], None),
        ([-1, 0, 1], None),
        ([[1, 0], [0, 1]], "multiclass"),
        ([[1, 0], [0, 0]], "multilabel"),
        ([[1, 1], [0, 1]], "multilabel"),
        ([[1, 2], [0, 1]], "regression"),
        ([0, 0.5, 1], "regression"),
    ],
)
def test_labels_are_of_one_kind(labels: Any, task: str | None) -> None:
    y = np.array(labels)
    found = [family.name for family in families() if family.recognises_labels(y) is not None]
    assert found == ([task] if task else [])


def test_counts_in_labels_and_names() -> None:
    def count(task: str, labels: Any) -> int | None:
        return family_of(task).count_in_labels(np.array(labels))

    assert count("binary", [[0, 1]]) is None
    assert (count("multiclass", [0, 4]), count("multiclass", [[0, 1, 0]])) == (5, 3)
    assert (count("multilabel", [[0, 1]]), count("multilabel", [[0], [1]])) == (2, 1)
    with pytest.raises(ValueError, match="a row of 0 and 1 for each sample"):
        count("multilabel", [0, 1])
    assert (count("regression", [[0.5, 1, 2]]), count("regression", [5])) == (3, None)
    assert (count("regression", [[5]]), count("multiclass", [[5]])) == (None, 6)
    for names, task in ((("a", "b"), "binary"), (("a", "b", "c"), "multiclass")):
        assert [f.name for f in families() if f.recognises_names(names)] == [task]


def test_outputs_are_of_one_kind() -> None:
    for activation, width, task in (
        ("sigmoid", 1, "binary"), ("sigmoid", 2, "multilabel"), ("softmax", 2, "multiclass"),
        ("softmax", 1, None), (None, 1, "regression"), (None, 2, None), ("tanh", 1, None),
    ):  # fmt: skip
        found = [f.name for f in families() if f.recognises_output(activation, width)]
        assert found == ([task] if task else [])
    for loss, activation, width, task in (
        ("Hinge", "tanh", 1, "binary"), ("Hinge", "tanh", 2, "multilabel"),
        ("BinaryCrossentropy", "softmax", 1, None), ("BinaryCrossentropy", "softmax", 2, None),
        ("SparseCategoricalCrossentropy", None, 2, "multiclass"),
        ("SparseCategoricalCrossentropy", None, 1, None),
        ("Poisson", "exponential", 2, "regression"), ("Poisson", "sigmoid", 2, None),
        ("Poisson", "softmax", 2, None), ("", None, 1, None),
    ):  # fmt: skip
        found = [f.name for f in families() if f.recognises_loss(loss, activation, width)]
        assert found == ([task] if task else [])


def test_label_shapes() -> None:
    assert fits((2, 3), (None, 3))
    assert fits((None, None), (None, 3)), "a size that is not known may be the one"
    assert not fits((2, 3), (None, 2))
    assert not fits((2,), (None, 2))
    assert one_each((2, 4, 4), (None, 4, 4, 3))
    assert one_each((None, 4, 4, 1), (None, 4, 4, 3))
    assert not one_each((2, 4, 4, 3), (None, 4, 4, 3))
    assert (text((None, 10)), text((None,)), text((5,))) == ("(n, 10)", "(n,)", "(5,)")
    assert is_wide(np.zeros((3, 2)))
    assert not is_wide(np.zeros((3, 1)))
    assert not is_wide(np.zeros(3))
    assert has_rows_of_0_and_1(np.array([[0, 1], [1, 1]]))
    assert has_rows_of_0_and_1(np.zeros((2, 2)))
    assert not has_rows_of_0_and_1(np.array([0, 1]))
    assert not has_rows_of_0_and_1(np.array([[0, 2]]))


def test_keras_takes_the_activations() -> None:
    for family in families():
        assert callable(keras.activations.get(family.activation))


def test_what_each_kind_can() -> None:
    found = [(f.name, f.has_classes, f.can_stratify, f.can_mix, f.fixed_count) for f in families()]
    assert found == [
        ("binary", True, True, True, 1),
        ("multiclass", True, True, True, None),
        ("multilabel", True, False, True, None),
        ("regression", False, False, False, None),
    ]
