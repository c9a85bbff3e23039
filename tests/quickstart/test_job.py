"""Does the quickstart do all that it promises, from the images to the fresh process?"""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import finetunekit
import snippets
from finetunekit.__main__ import main
from finetunekit.quickstart import job, reopen
from finetunekit.quickstart.comparison import Comparison
from finetunekit.quickstart.examples import Examples
from finetunekit.quickstart.job import Result
from finetunekit.quickstart.plot import confusion, draw
from finetunekit.quickstart.surfaces import load_surfaces
from finetunekit.quickstart.table import Row, table_text

ROWS = (
    Row(name="majority class", accuracy=0.1, seconds=0.0, trainable=0),
    Row(name="fine-tuned", accuracy=0.9125, seconds=12.34, trainable=1_676_170),
)


def test_the_table() -> None:
    assert table_text(ROWS).splitlines() == [
        "                accuracy  seconds  trainable parameters",
        "majority class   10.0%      0.0                     0",
        "fine-tuned       91.2%     12.3             1,676,170",
    ]


def test_the_confusion_matrix() -> None:
    counts = confusion(np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 2, 2]), 4)
    assert counts.tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("classes", [2, 25])
def test_the_picture_for_few_and_many_classes(classes: int, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (2 * classes, 16, 16, 3)).astype("uint8")
    y = np.arange(2 * classes) % classes
    names = tuple(f"a class with a long name {number}" for number in range(classes))
    examples = Examples(x_train=x, y_train=y, x_test=x, y_test=y, class_names=names, question="?")
    curve = {"loss": [2.0, 1.0], "accuracy": [0.2, 0.5]}
    probabilities = random.dirichlet(np.ones(classes), len(y))
    found = Comparison(model=None, rows=ROWS, curves=(curve,) * 2, probabilities=probabilities)
    with Image.open(draw(examples, found, tmp_path / "x.png")) as image:
        assert image.size == (1200, 800)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, list[str]]:
    """The whole job with three crops a class for each part, and one epoch a phase."""
    told: list[str] = []
    folder = tmp_path_factory.mktemp("tiny") / "made" / "by the job"
    result = job.run(load_surfaces(train=3, test=3), output=folder, epochs=1, tell=told.append)
    return result, told


@pytest.mark.slow
def test_the_job_compares_four_ways(tiny: tuple[Result, list[str]]) -> None:
    result, told = tiny
    assert [row.name for row in result.rows] == [
        "majority class",
        "logistic regression on raw pixels",
        "frozen backbone + head",
        "fine-tuned from block_13 up",
    ]
    assert [row.trainable for row in result.rows] == [0, 276_490, 12_810, 1_676_170]
    assert result.rows[0].accuracy == pytest.approx(0.1)
    assert all(0 <= row.accuracy <= 1 for row in result.rows)
    assert table_text(result.rows) in "\n".join(told)


@pytest.mark.slow
def test_the_job_leaves_a_model_and_a_picture(tiny: tuple[Result, list[str]]) -> None:
    result, told = tiny
    assert zipfile.is_zipfile(result.model_path)
    with Image.open(result.plot_path) as image:
        assert (image.format, image.size) == ("PNG", (1200, 800))
    for path in (result.model_path, result.plot_path):
        assert str(path) in told[-1]
    assert sorted(path.name for path in result.model_path.parent.iterdir()) == [
        "model.keras",
        "quickstart.png",
    ]


@pytest.mark.slow
def test_a_process_without_the_library_predicts_the_same(tiny: tuple[Result, list[str]]) -> None:
    result, told = tiny
    assert result.difference == 0
    assert result.same_labels == 30
    assert "30 of 30 labels are the same" in told[-1]


@pytest.mark.slow
def test_the_saved_model_knows_its_classes(tiny: tuple[Result, list[str]]) -> None:
    model = finetunekit.load(tiny[0].model_path)
    examples = load_surfaces(train=1, test=1)
    (prediction,) = finetunekit.predict(model, examples.x_test[:1])
    assert set(prediction.probabilities) == set(examples.class_names)


def test_an_output_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"output folder .*Give another one. Received: output="):
        job.prepare(tmp_path / "file")


def test_matplotlib_missing_is_found_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "finetunekit\[quickstart\]"'):
        job.prepare(tmp_path)


def test_an_error_of_the_user_is_one_line_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["quickstart", "--data", "nowhere"]) == 1
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    assert "there is no such folder" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["quickstart", "--seed", "-1"], "must be in 0 to"),
        (["quickstart", "--epochs", "0"], "must be at least 1. Received: 0"),
        (["quickstart", "--epochs", "many"], "invalid number value: 'many'"),
    ],
)
def test_wrong_arguments(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert message in capsys.readouterr().err


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"finetunekit {finetunekit.__version__}\n"


def command(*arguments: str, folder: Path) -> tuple[str, float]:
    """What a person types; its output, and the seconds that it takes two idle cores at most."""
    start = _processor_seconds()
    kept = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-m", "finetunekit", "quickstart", *arguments],
        cwd=folder,
        env={**kept, "PYTHONUTF8": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert not done.stderr  # Nothing of TensorFlow's.
    return done.stdout, (_processor_seconds() - start) / 2


def _processor_seconds() -> float:
    """Of all processes that were started here and have ended."""
    spent = os.times()
    return spent.children_user + spent.children_system


def accuracies(out: str) -> list[float]:
    return [
        float(share) for share in re.findall(r"^\S.* {2,}([\d.]+)% +[\d.]+ +[\d,]+$", out, re.M)
    ]


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    out, seconds = command(folder=tmp_path)
    assert seconds < 90
    majority, pixels, frozen, tuned = accuracies(out)
    assert majority == 10
    assert pixels < 40
    assert frozen > 80
    assert tuned > 82
    assert (
        "600 of 600 labels are the same, the largest difference between probabilities is 0" in out
    )
    made = tmp_path / "finetunekit-quickstart"
    assert zipfile.is_zipfile(made / "model.keras")
    assert 50_000 < (made / "quickstart.png").stat().st_size < 300_000


@pytest.mark.slow
def test_the_command_on_own_pictures(tmp_path: Path) -> None:
    snippets.write_photos(tmp_path / "photos", each=12)
    out, _ = command("--data", "photos", "--output", "mine", "--epochs", "4", folder=tmp_path)
    assert "which of 3 classes does an image show?\nblue, green, red\n" in out
    assert len(accuracies(out)) == 4
    assert accuracies(out)[-1] > 80
    assert "12 of 12 labels are the same" in out
    assert (tmp_path / "mine" / "model.keras").exists()


@pytest.mark.slow
def test_a_fresh_process_that_fails_says_why(tmp_path: Path) -> None:
    (tmp_path / "broken.keras").write_bytes(b"no model")
    wait = reopen.start(tmp_path / "broken.keras", np.zeros((1, 8, 8, 3), "uint8"))
    with pytest.raises(RuntimeError, match=r"could not open .*broken\.keras"):
        wait()
