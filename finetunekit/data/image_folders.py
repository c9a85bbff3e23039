"""Folders of images: which classes and files they hold, and what is left out."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from finetunekit.foundation.messages import listed, plural, say, warn

KINDS = (
    ".bmp",
    ".gif",
    ".jfif",
    ".jpe",
    ".jpeg",
    ".jpg",
    ".png",
    ".tif",
    ".tiff",
    ".webp",
)
"""Endings of the files that are read."""

PARTS: dict[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""The parts of a data set, and what their folders are called."""

# Left by macOS, Windows and file servers beside what people put there.
_NOISE = {"__macosx", "@eadir", "thumbs.db", "desktop.ini"}
_SHAPE = "must be a folder with a subfolder of images for each class"


@dataclass(frozen=True)
class ClassFolder:
    """What a folder with one subfolder for each class holds.

    Attributes:
        path: The folder.
        files: Class -> its image files, both sorted.
        empty: Class -> what its subfolder holds instead of images, in words.
        skipped: Kind of file -> how many there are that are not read.
        broken: Links that lead nowhere.
    """

    path: str
    files: dict[str, list[str]]
    empty: dict[str, str]
    skipped: Counter[str] = field(default_factory=Counter)
    broken: tuple[str, ...] = ()

    def report(self) -> None:
        """Logs what is left out, once."""
        if self.skipped:
            count = sum(self.skipped.values())
            say(f"{self.path}: {plural(count, 'other file')} left out: {_kinds(self.skipped)}")
        if self.broken:
            warn(
                f"{self.path}: {plural(len(self.broken), 'broken link')} left out: "
                f"{listed(self.broken, 5)}"
            )
        for name, words in self.empty.items():
            warn(f"{self.path}: the subfolder {name!r} holds {words} and is not taken for a class")


def read_classes(
    path: str | os.PathLike[str], name: str = "folder", *, least: int = 2
) -> ClassFolder:
    """Lists the image files of a folder by class; reads none of them.

    Classes are the subfolders, sorted; files may lie deeper. Hidden files and folders, such as
    `.ipynb_checkpoints` and `._photo.jpg`, are not looked at.

    Args:
        path: The folder.
        name: What the user calls it.
        least: How many classes must have images: two to train on, one to test on.

    Returns:
        A `ClassFolder`; classes without images are not among its `files`.

    Raises:
        FileNotFoundError: If it is not there.
        NotADirectoryError: If it is a file.
        ValueError: If it holds fewer classes with images.

    Example:
        ```python
        from finetunekit.data.image_folders import read_classes

        found = read_classes("photos")
        assert list(found.files) == ["blue", "green", "red"]
        ```
    """
    folder = _checked(path, name)
    files: dict[str, list[str]] = {}
    empty: dict[str, str] = {}
    skipped: Counter[str] = Counter()
    broken: list[str] = []
    for entry in _subfolders(folder):
        images, others, gone = _sorted_out(os.path.join(folder, entry))
        # A name typed on a Mac and one typed elsewhere may differ in bytes only.
        label = unicodedata.normalize("NFC", entry)
        if images:
            files.setdefault(label, []).extend(images)
        else:
            empty[label] = f"no images that can be read ({_kinds(others) or 'nothing'})"
        skipped += others
        broken += gone
    if len(files) < least:
        raise ValueError(_too_few(folder, name, files, empty))
    return ClassFolder(folder, files, empty, skipped, tuple(broken))


def _sorted_out(folder: str) -> tuple[list[str], Counter[str], list[str]]:
    """The images below a folder, the kinds of other files, and links that lead nowhere."""
    images: list[str] = []
    others: Counter[str] = Counter()
    gone: list[str] = []
    for path in _files(folder):
        if not os.path.exists(path):
            gone.append(path)
        elif path.lower().endswith(KINDS):
            images.append(path)
        else:
            others[_kind(path)] += 1
    return images, others, gone


def list_images(path: str | os.PathLike[str], name: str = "folder") -> list[str]:
    """The image files of a folder and below it, sorted folder by folder; reads none of them.

    Args:
        path: The folder.
        name: What the user calls it.

    Raises:
        ValueError: If there are none.

    Example:
        ```python
        from finetunekit.data.image_folders import list_images

        assert len(list_images("photos")) == 36
        ```
    """
    folder = os.fspath(path)
    found = [f for f in _files(folder) if f.lower().endswith(KINDS) and os.path.exists(f)]
    if not found:
        raise ValueError(
            f"`{name}` holds no images that can be read ({', '.join(KINDS)}). "
            f"Received: {name}={folder!r}"
        )
    return found


def read_parts(path: str | os.PathLike[str], name: str = "folder") -> dict[str, str]:
    """Finds the parts of a data set that lies in subfolders such as `train`, `val` and `test`.

    Args:
        path: The folder.
        name: What the user calls it.

    Returns:
        `"train"`, `"validation"`, `"test"` -> the folder with the classes, as far as they are
        there; empty if the subfolders are classes.

    Raises:
        FileNotFoundError: If the folder is not there.
        NotADirectoryError: If it is a file.
        ValueError: If its subfolders are parts and something else too.

    Example:
        ```python
        from finetunekit.data.image_folders import read_parts

        assert read_parts("photos") == {}
        ```
    """
    folder = _checked(path, name)
    found: dict[str, list[str]] = {}
    others = []
    for entry in _subfolders(folder):
        part = next((part for part, names in PARTS.items() if entry.lower() in names), None)
        if part is None:
            others.append(entry)
        else:
            found.setdefault(part, []).append(entry)
    if len(found) < 2:
        return {}
    problem = _problem_of_parts(folder, found, others)
    if problem:
        raise ValueError(
            f"The subfolders of `{name}` are called like parts of a data set, but {problem}. "
            f"Received: {name}={folder!r} with the subfolders {listed(_subfolders(folder))}"
        )
    return {part: os.path.join(folder, names[0]) for part, names in found.items()}


def _problem_of_parts(folder: str, found: dict[str, list[str]], others: list[str]) -> str:
    """Why these are not the parts of a data set, with the remedy; empty if they are."""
    if "train" not in found:
        return "none of them is called 'train'. Rename one, or give each folder by itself"
    twice = [entry for names in found.values() if len(names) > 1 for entry in names]
    if twice:
        return f"{listed(twice)} mean the same part. Keep one of them, or give each by itself"
    entries = [names[0] for names in found.values()]
    flat = [entry for entry in entries if not _subfolders(os.path.join(folder, entry))]
    if flat:
        return (
            f"{listed(flat)} hold no subfolder for each class. Sort the images into one for each, "
            "or rename the folders if they are classes"
        )
    mixed = [entry for entry in others if _holds_images(os.path.join(folder, entry))]
    return f"{listed(mixed)} beside them hold images too. Move them out" if mixed else ""


def _checked(path: str | os.PathLike[str], name: str) -> str:
    folder = os.fspath(path)
    if not os.path.exists(folder):
        raise FileNotFoundError(
            f"`{name}` {_SHAPE}; there is no such folder. Received: {name}={folder!r}"
        )
    if not os.path.isdir(folder):
        raise NotADirectoryError(f"`{name}` {_SHAPE}; this is a file. Received: {name}={folder!r}")
    return folder


def _too_few(folder: str, name: str, files: dict[str, list[str]], empty: dict[str, str]) -> str:
    found = [*files, *empty]
    more = "".join(f" {entry!r} holds {words}." for entry, words in list(empty.items())[:5])
    (only,) = files if len(files) == 1 else ("",)
    if only and len(_subfolders(os.path.join(folder, only))) > 1:
        more += f" If the classes lie in {only!r}, give that folder."
    return (
        f"`{name}` must have a subfolder of images for each class, at least two to train on. Its "
        f"subfolders are: {listed(found) or 'none'}.{more} Received: {name}={folder!r}"
    )


def _subfolders(folder: str) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and _meant(entry.name))


def _meant(name: str) -> bool:
    """Whether a person put it there."""
    return not name.startswith(".") and name.lower() not in _NOISE


def _files(folder: str) -> Iterator[str]:
    """All files below a folder, sorted folder by folder."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(filter(_meant, folders))
        yield from (os.path.join(root, name) for name in sorted(filter(_meant, names)))


def _holds_images(folder: str) -> bool:
    return any(path.lower().endswith(KINDS) for path in _files(folder))


def _kind(path: str) -> str:
    return os.path.splitext(path)[1].lower() or "without an ending"


def _kinds(counts: Counter[str]) -> str:
    """`2 .heic, 1 .txt`."""
    return ", ".join(f"{count:,} {kind}" for kind, count in sorted(counts.items()))
