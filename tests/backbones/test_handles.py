"""URLs, archives and hub handles: each leads to a whole SavedModel folder, or to a clear error."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.server
import io
import os
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.backbones import handles
from finetunekit.backbones.handles import cache, download, hub, unpack
from models import images, labels

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


@pytest.fixture(scope="session")
def module_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel of one matrix."""
    module = tf.Module()
    module.matrix = tf.Variable(np.arange(12, dtype="float32").reshape(4, 3), name="matrix")
    module.call = tf.function(
        lambda x: x @ module.matrix, input_signature=[tf.TensorSpec((None, 4), tf.float32)]
    )
    folder = tmp_path_factory.mktemp("handles") / "module"
    tf.saved_model.save(module, str(folder), signatures=module.call)
    return folder


@pytest.fixture(scope="session")
def packed(module_folder: Path) -> bytes:
    """That SavedModel as .tar.gz, as tfhub.dev packs them."""
    return pack(module_folder)


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no proxy between the tests and their server."""
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "cache"


def pack(folder: Path, inside: str = ".") -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        tar.add(folder, arcname=inside)
    return target.getvalue()


def tar_of(*members: tuple[tarfile.TarInfo, bytes], compress: bool = True) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz" if compress else "w") as tar:
        for member, content in members:
            tar.addfile(member, io.BytesIO(content))
    return target.getvalue()


def member(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


@contextlib.contextmanager
def serving(answers: dict[str, bytes | Answer]) -> Iterator[tuple[str, list[str]]]:
    """A server on loopback: its address, and the paths asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            answer = answers.get(self.path.partition("?")[0])
            if answer is None:
                self.send_error(404)
            elif callable(answer):
                with contextlib.suppress(ConnectionError):
                    answer(self)
            else:
                reply(self, answer)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def reply(
    handler: http.server.BaseHTTPRequestHandler,
    content: bytes,
    *,
    claim: int | None = None,
    kind: str = "application/gzip",
) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(content) if claim is None else claim))
    handler.end_headers()
    handler.wfile.write(content)


def redirect(to: str) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", to)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def works(folder: str) -> bool:
    call = tf.saved_model.load(folder).signatures["serving_default"]
    (found,) = call(tf.ones((1, 4))).values()
    return found.numpy().tolist() == [[18.0, 22.0, 26.0]]


def nothing_is_left(folder: Path) -> bool:
    return not folder.exists() or not list(folder.iterdir())


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("https://tfhub.dev/google/nnlm-en-dim50/2", True),
        ("HTTP://example.com/any", True),
        ("kaggle://google/yamnet/tensorFlow2/yamnet/1", True),
        ("module.tar.gz", True),
        ("folder/Module.TGZ", True),
        ("module.tar", True),
        ("model.keras", False),
        ("resnet50", False),
        ("gs://bucket/module", False),
        ("folder", False),
    ],
)
def test_is_handle(source: str, expected: bool) -> None:
    assert handles.is_handle(source) is expected


def test_a_folder_is_given_back_as_it_is(module_folder: Path, cache_folder: Path) -> None:
    assert handles.resolve(str(module_folder)) == handles.Resolved(str(module_folder))
    assert not cache_folder.exists()


def test_a_folder_above_the_savedmodel_is_refused_with_its_name(module_folder: Path) -> None:
    with pytest.raises(ValueError, match=r"Give the folder '.*module' inside it") as error:
        handles.resolve(str(module_folder.parent), "path")
    assert str(error.value).startswith("`path` must be a SavedModel")


def test_a_folder_without_savedmodel_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"It holds 'notes.txt'. Received: source="):
        handles.resolve(str(tmp_path))


@pytest.mark.parametrize("ending", [".tar.gz", ".tgz", ".tar"])
@pytest.mark.parametrize("inside", [".", "top"])
def test_an_archive_is_unpacked_once(
    module_folder: Path, tmp_path: Path, ending: str, inside: str
) -> None:
    file = tmp_path / f"module{ending}"
    content = pack(module_folder, inside)
    file.write_bytes(gzip.decompress(content) if ending == ".tar" else content)
    first = handles.resolve(str(file))
    assert works(first.folder)
    assert first.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert not first.from_cache
    graph = Path(first.folder, "saved_model.pb")
    time_of_first = graph.stat().st_mtime_ns
    again = handles.resolve(str(file))
    assert again == handles.Resolved(first.folder, first.sha256, from_cache=True)
    assert graph.stat().st_mtime_ns == time_of_first


def test_a_changed_archive_is_another(module_folder: Path, packed: bytes, tmp_path: Path) -> None:
    file = tmp_path / "module.tar.gz"
    file.write_bytes(packed)
    first = handles.resolve(str(file))
    file.write_bytes(pack(module_folder, "top"))
    assert handles.resolve(str(file)).folder != first.folder


def test_long_paths_and_foreign_tar_formats(module_folder: Path, tmp_path: Path) -> None:
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        file = tmp_path / f"{form}.tar.gz"
        with tarfile.open(file, "w:gz", format=form) as tar:
            tar.add(module_folder, arcname="é" * 40)
            info = tarfile.TarInfo("d" * 60 + "/" + "f" * 90)
            if form != tarfile.USTAR_FORMAT:
                info.name += "/" + "g" * 120
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
        found = handles.resolve(str(file))
        assert works(found.folder)
        assert Path(found.folder).parent.joinpath(info.name).read_bytes() == b"abc"


def test_a_missing_archive_names_the_one_meant(tmp_path: Path) -> None:
    (tmp_path / "module.tar.gz").touch()
    with pytest.raises(FileNotFoundError, match=r"Did you mean 'module.tar.gz'"):
        handles.resolve(str(tmp_path / "modul.tar.gz"))


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "module.zip").touch()
    with pytest.raises(ValueError, match=r"an archive that ends in '\.tar\.gz'"):
        handles.resolve(str(tmp_path / "module.zip"))


BIG = member("variables/zeros", bytes(2**20))
HOSTILE = {
    "parent": (member("../outside", b"x"), "may lead outside"),
    "hidden parent": (member("a/../../outside", b"x"), "may lead outside"),
    "absolute": (member("/tmp/finetunekit_outside", b"x"), "may lead outside"),
    "backslash": (member("a\\..\\..\\outside", b"x"), "may lead outside"),
    "drive": (member("C:outside", b"x"), "may lead outside"),
    "folder outside": (member("../outside", type=tarfile.DIRTYPE), "may lead outside"),
    "symlink": (member("link", type=tarfile.SYMTYPE, linkname="/etc"), "is a link"),
    "hard link": (member("link", type=tarfile.LNKTYPE, linkname="/etc/passwd"), "is a link"),
    "device": (member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3), "a device"),
    "fifo": (member("pipe", type=tarfile.FIFOTYPE), "a device"),
    "deep": (member("d/" * 65 + "f", b"x"), "nested more than 64 deep"),
    "long name": (member("n" * 2**17, b"x"), "exceeds the size limit"),
    "sparse": (member("s", b"x", pax_headers={"GNU.sparse.major": "1"}), "sparse"),
    "over the graph": (member("saved_model.pb", b"x"), "twice"),
    "file as folder": (member("saved_model.pb/x", b"x"), "both a file and a folder"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_members_are_refused(kind: str, tmp_path: Path, cache_folder: Path) -> None:
    bad, words = HOSTILE[kind]
    file = tmp_path / "module.tar.gz"
    file.write_bytes(tar_of(member("saved_model.pb", b"graph"), bad))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match=words) as error:
        handles.resolve(str(file))
    assert "`source` is an archive that is not unpacked" in str(error.value)
    assert nothing_is_left(cache_folder)
    assert sorted(path for path in tmp_path.iterdir() if path != cache_folder) == before
    assert not Path("/tmp/finetunekit_outside").exists()


def test_bombs_are_stopped(
    tmp_path: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack, "_ALWAYS_FINE", 2**18)
    file = tmp_path / "module.tar.gz"
    file.write_bytes(tar_of(member("saved_model.pb", b"graph"), BIG))
    with pytest.raises(ValueError, match="far larger unpacked than packed"):
        handles.resolve(str(file))
    assert nothing_is_left(cache_folder)
    monkeypatch.setattr(unpack, "_MOST_MEMBERS", 10)
    file.write_bytes(tar_of(*(member(f"file{number}") for number in range(11))))
    with pytest.raises(ValueError, match="more than 10 members"):
        handles.resolve(str(file))
    assert nothing_is_left(cache_folder)


def test_a_bomb_behind_the_end_is_stopped(
    packed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack, "_ALWAYS_FINE", 2**22)
    file = tmp_path / "module.tar.gz"
    file.write_bytes(packed + gzip.compress(bytes(2**23)))
    with pytest.raises(ValueError, match="follows its end"):
        handles.resolve(str(file))


def test_a_size_that_lies_is_no_harm(tmp_path: Path, cache_folder: Path) -> None:
    for size, words in ((2**33, "far larger"), (2**20, "truncated"), (-5, "far larger")):
        info, content = member("saved_model.pb", b"graph")
        info.size = size
        block = info.tobuf(tarfile.GNU_FORMAT) + content.ljust(512, b"\0") + bytes(1024)
        file = tmp_path / "module.tar.gz"
        file.write_bytes(gzip.compress(block))
        with pytest.raises(ValueError, match=words):
            handles.resolve(str(file))
        assert nothing_is_left(cache_folder)


@pytest.mark.parametrize("compress", [True, False])
def test_truncated_at_any_place(
    module_folder: Path, tmp_path: Path, cache_folder: Path, compress: bool
) -> None:
    whole = pack(module_folder) if compress else gzip.decompress(pack(module_folder))
    # The end of a plain archive is 1024 zeros, padded; what is cut off there does no harm.
    end = len(whole) - 1 if compress else len(whole.rstrip(b"\0"))
    file = tmp_path / ("module.tar.gz" if compress else "module.tar")
    for length in np.linspace(0, end, 20).astype(int):
        file.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is not a complete tar archive"):
            handles.resolve(str(file))
        assert nothing_is_left(cache_folder)


def test_damage_in_the_middle_is_seen(
    module_folder: Path, packed: bytes, tmp_path: Path, cache_folder: Path
) -> None:
    flipped = bytearray(packed)
    flipped[len(flipped) // 2] ^= 0xFF
    (tmp_path / "gzip.tar.gz").write_bytes(flipped)
    plain = bytearray(gzip.decompress(packed))
    second = plain.index(b"ustar", 512)  # tarfile takes a broken second header for the end.
    plain[second - 200] ^= 0xFF
    (tmp_path / "plain.tar").write_bytes(plain)
    for name in ("gzip.tar.gz", "plain.tar"):
        with pytest.raises(ValueError, match="is not a complete tar archive"):
            handles.resolve(str(tmp_path / name))
    assert nothing_is_left(cache_folder)


def test_an_archive_of_something_else_says_what_it_holds(
    tmp_path: Path, cache_folder: Path
) -> None:
    file = tmp_path / "module.tar.gz"
    file.write_bytes(tar_of(member("weights.h5", b"x")))
    with pytest.raises(ValueError, match=r"archive of one SavedModel.*It holds 'weights\.h5'"):
        handles.resolve(str(file))
    two = [member("a/saved_model.pb", b"x"), member("b/saved_model.pb", b"x")]
    file.write_bytes(tar_of(*two))
    with pytest.raises(ValueError, match="It holds several: 'a', 'b'"):
        handles.resolve(str(file))
    assert nothing_is_left(cache_folder)


def test_a_url_is_downloaded_once(packed: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="finetunekit")
    with serving({"/m.tar.gz": packed}) as (address, asked):
        first = handles.resolve(f"{address}/m.tar.gz")
        again = handles.resolve(f"{address}/m.tar.gz")
        assert asked == ["/m.tar.gz"]
    assert works(first.folder)
    assert first.sha256 == hashlib.sha256(packed).hexdigest()
    assert (first.from_cache, again.from_cache) == (False, True)
    assert (again.folder, again.sha256) == (first.folder, first.sha256)
    said = [record.message for record in caplog.records]
    assert "downloading" in said[0]
    assert "MB) into" in said[0]
    assert "MB in" in said[1]
    entry = Path(first.folder)
    assert {path.name for path in entry.parent.iterdir()} == {
        entry.name,
        f"{entry.name}.descriptor.txt",
    }


def test_a_query_is_sent_but_not_told(packed: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="finetunekit")
    with serving({"/get": packed}) as (address, asked):
        found = handles.resolve(f"{address}/get?key=secret")
        assert asked == ["/get?key=secret"]
    assert "secret" not in caplog.text
    assert "secret" not in Path(f"{found.folder}.descriptor.txt").read_text()


def test_redirects_are_followed_on_http_only(packed: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.tar.gz").write_bytes(packed)
    answers: dict[str, bytes | Answer] = {
        "/m.tar.gz": packed,
        "/go": redirect("/m.tar.gz"),
        "/file": redirect(f"file://{tmp_path}/m.tar.gz"),
        "/ftp": redirect("ftp://127.0.0.1/m.tar.gz"),
        "/loop": redirect("/loop"),
    }
    with serving(answers) as (address, _):
        assert works(handles.resolve(f"{address}/go").folder)
        for path in ("/file", "/ftp", "/loop"):
            with pytest.raises(OSError, match="cannot be downloaded"):
                handles.resolve(address + path)


def test_no_way_from_https_to_http() -> None:
    request = download.urllib.request.Request("https://example.com/m.tar.gz")
    with pytest.raises(OSError, match="https:// to http://, which is not followed"):
        download._HttpOnly().redirect_request(request, None, 302, "", {}, "http://example.com/m")


def failing(status: int) -> Answer:
    return lambda handler: handler.send_error(status)


def broken_off(handler: http.server.BaseHTTPRequestHandler) -> None:
    reply(handler, gzip.compress(os.urandom(5000)), claim=10_000)


def broken_chunks(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.protocol_version = "HTTP/1.1"
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"1000\r\n\x1f\x8b only a part")
    handler.close_connection = True


def silent(handler: http.server.BaseHTTPRequestHandler) -> None:
    reply(handler, b"\x1f\x8b", claim=1000)
    handler.wfile.flush()
    time.sleep(1)


def no_http(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH\r\n")


def huge(handler: http.server.BaseHTTPRequestHandler) -> None:
    reply(handler, b"", claim=2**50)


def page(handler: http.server.BaseHTTPRequestHandler) -> None:
    reply(handler, b"<!doctype html><p>Log in", kind="text/html; charset=utf-8")


def image(handler: http.server.BaseHTTPRequestHandler) -> None:
    reply(handler, b"\x89PNG and so on", kind="image/png")


BROKEN: dict[str, tuple[Answer | None, type[Exception], str]] = {
    "404": (None, OSError, "answers 404"),
    "500": (failing(500), OSError, "answers 500"),
    "broken off": (broken_off, OSError, r"broke off after [\d,]+ of 10,000 bytes"),
    "broken chunks": (broken_chunks, OSError, "broke off after"),
    "silent": (silent, OSError, r"silent for 0\.3 s"),
    "no http": (no_http, OSError, "cannot be downloaded"),
    "huge": (huge, OSError, "at most 21,474.8 MB are taken"),
    "page": (page, ValueError, "the answer is a web page"),
    "image": (image, ValueError, "of type 'image/png', is neither gzip nor tar"),
    "empty": (lambda handler: reply(handler, b""), ValueError, "the answer is empty"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_failed_download_leaves_nothing(
    kind: str, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_TIMEOUT", 0.3)
    answer, error_type, words = BROKEN[kind]
    with serving({"/m.tar.gz": answer} if answer else {}) as (address, _):
        url = f"{address}/m.tar.gz"
        with pytest.raises(error_type, match=words) as error:
            handles.resolve(url, "path")
    assert type(error.value) is error_type
    assert f"Received: path={url!r}" in str(error.value)
    if error_type is OSError:
        assert cache.path(cache.url_key(url)) in str(error.value)
        assert "TFHUB_CACHE_DIR" in str(error.value)
    assert nothing_is_left(cache_folder)


def test_an_interrupted_download_leaves_nothing(
    packed: bytes, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(unpack, "unpack", interrupt)
    with serving({"/m.tar.gz": packed}) as (address, _), pytest.raises(KeyboardInterrupt):
        handles.resolve(f"{address}/m.tar.gz")
    assert nothing_is_left(cache_folder)


def test_hostile_archives_from_a_url(cache_folder: Path) -> None:
    with serving({"/m.tar.gz": tar_of(member("../outside", b"x"))}) as (address, _):
        with pytest.raises(ValueError, match="may lead outside"):
            handles.resolve(f"{address}/m.tar.gz")
    assert nothing_is_left(cache_folder)


def test_offline_names_the_cache_and_how_to_fill_it(module_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/m.tar.gz"
    with pytest.raises(OSError, match="cannot be downloaded") as error:
        handles.resolve(url)
    place = cache.path(cache.url_key(url))
    assert f"unpack it into {place!r}" in str(error.value)
    Path(place).symlink_to(module_folder)
    assert handles.resolve(url) == handles.Resolved(place, from_cache=True)


def test_tls_errors_are_in_words(cache_folder: Path) -> None:
    with serving({}) as (address, _):
        with pytest.raises(OSError, match="the secure connection fails"):
            handles.resolve(f"{address.replace('http', 'https')}/m.tar.gz")
    untrusted = download.ssl.SSLCertVerificationError("no")
    untrusted.verify_message = "self-signed certificate"
    words = download._in_words(download.urllib.error.URLError(untrusted))
    assert "not trusted here (self-signed certificate). Let SSL_CERT_FILE name" in words


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http://[bad/m.tar.gz",
        "http://host:port/m",
        "http://127.0.0.1:1/a b",
        "https://é.com/m",
    ],
)
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(ValueError, match="`source` must be a valid URL"):
        handles.resolve(url)


@pytest.mark.parametrize("url", ["ftp://example.com/m.tar.gz", "file:///m.tar.gz", "s3://b/m.tgz"])
def test_other_ways_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must start with 'https://'"):
        handles.resolve(url)


def test_a_cache_that_cannot_be_written(
    packed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "file" / "cache"))
    archive = tmp_path / "module.tar.gz"
    archive.write_bytes(packed)
    with pytest.raises(OSError, match=r"cannot be written .* TFHUB_CACHE_DIR to a folder of yours"):
        handles.resolve(str(archive))


def test_an_entry_that_lost_its_graph_is_named(packed: bytes) -> None:
    with serving({"/m.tar.gz": packed}) as (address, _):
        folder = handles.resolve(f"{address}/m.tar.gz").folder
        Path(folder, "saved_model.pb").unlink()
        with pytest.raises(ValueError, match="Remove the folder"):
            handles.resolve(f"{address}/m.tar.gz")


def test_the_slower_of_two_takes_the_entry_of_the_faster(cache_folder: Path) -> None:
    def write(target: str) -> None:
        Path(target, "saved_model.pb").write_text("slow")
        faster = cache_folder / "key"
        faster.mkdir()
        (faster / "saved_model.pb").write_text("fast")

    place = cache.fill("key", write, about="a module", argument="source='x'")
    assert Path(place, "saved_model.pb").read_text() == "fast"
    assert [path.name for path in cache_folder.iterdir()] == ["key"]


@pytest.mark.slow
def test_two_processes_at_once(packed: bytes, cache_folder: Path) -> None:
    code = (
        "import sys; from finetunekit.backbones import handles; "
        "print(handles.resolve(sys.argv[1]).folder)"
    )

    def slow(handler: http.server.BaseHTTPRequestHandler) -> None:
        time.sleep(1)
        reply(handler, packed)

    with serving({"/m.tar.gz": slow}) as (address, _):
        command = [sys.executable, "-c", code, f"{address}/m.tar.gz"]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        folders = {process.communicate(timeout=300)[0].strip() for process in running}
    assert all(process.returncode == 0 for process in running)
    assert len(folders) == 1
    assert works(folders.pop())
    assert len(list(cache_folder.iterdir())) == 2


@pytest.mark.filterwarnings("ignore:pkg_resources is deprecated:UserWarning")
def test_the_cache_is_shared_with_tensorflow_hub(packed: bytes) -> None:
    tensorflow_hub = pytest.importorskip("tensorflow_hub")
    with serving({"/ours.tar.gz": packed, "/theirs.tar.gz": packed}) as (address, asked):
        ours = handles.resolve(f"{address}/ours.tar.gz").folder
        assert tensorflow_hub.resolve(f"{address}/ours.tar.gz") == ours
        theirs = tensorflow_hub.resolve(f"{address}/theirs.tar.gz")
        found = handles.resolve(f"{address}/theirs.tar.gz")
    assert found == handles.Resolved(theirs, from_cache=True)
    assert len(asked) == 2


def test_without_a_name_the_cache_is_that_of_tensorflow_hub(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TFHUB_CACHE_DIR")
    resolver = pytest.importorskip("tensorflow_hub.resolver")
    assert cache.folder() == resolver.tfhub_cache_dir(use_temp=True)


KAGGLE = "https://www.kaggle.com/models/google/yamnet/tensorFlow2/yamnet/1"


@pytest.mark.parametrize(
    ("source", "url"),
    [
        ("https://tfhub.dev/google/yamnet/1", "https://tfhub.dev/google/yamnet/1"),
        (KAGGLE, KAGGLE),
        ("kaggle://google/yamnet/tensorFlow2/yamnet/1", KAGGLE),
    ],
)
def test_hub_handles_come_from_the_cache_or_name_it(
    source: str, url: str, module_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    place = Path(cache.path(hashlib.sha1(url.encode()).hexdigest()))
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", offline)
        with pytest.raises(OSError, match="cannot be downloaded from") as error:
            handles.resolve(source)
    assert repr(str(place)) in str(error.value)
    assert "TFHUB_CACHE_DIR" in str(error.value)
    assert ("kagglehub.model_download" in str(error.value)) == ("kaggle" in source)
    place.symlink_to(module_folder)
    assert handles.resolve(source) == handles.Resolved(str(place), from_cache=True)


@pytest.mark.parametrize(
    "source", ["kaggle://google/yamnet", "kaggle://keras/bert/keras/bert_base_en_uncased/3"]
)
def test_kaggle_handles_that_lead_to_no_savedmodel(source: str) -> None:
    with pytest.raises(ValueError, match="must be 'kaggle://owner/model/tensorFlow2/"):
        handles.resolve(source)


def test_without_tensorflow_hub_the_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow_hub", None)
    with pytest.raises(ImportError, match=r'pip install .* tf_keras "setuptools<82"'):
        handles.resolve(KAGGLE)


def test_other_pages_of_kaggle_are_plain_urls() -> None:
    assert hub.is_hub("https://www.kaggle.com/models/google/x/tensorFlow2/y/1")
    assert not hub.is_hub("https://www.kaggle.com/datasets/x")
    assert not hub.is_hub("https://example.com/tfhub.dev/m.tar.gz")


@pytest.mark.slow
def test_an_image_module_loads_by_url_and_fine_tunes(tmp_path: Path) -> None:
    original = ftk.load_backbone("builtin:mobilenet_v2", input_shape=(96, 96, 3))
    x, y = images(8, size=96), labels(8)
    expected = original.predict(x, verbose=0)
    folder = tmp_path / "image_module"
    export(original, folder)
    with serving({"/image_module.tar.gz": pack(folder)}) as (address, _):
        backbone = ftk.load_backbone(f"{address}/image_module.tar.gz")
    report = ftk.load_report(backbone)
    assert (backbone.name, report.format) == ("image_module", "SavedModel")
    assert len(report.sha256) == 64
    np.testing.assert_allclose(backbone.predict(x, verbose=0), expected, rtol=0, atol=1e-5)
    assert len(backbone.trainable_variables) == len(original.trainable_variables)
    assert len(backbone.variables) == len(original.variables)
    model = ftk.add_head(backbone, "binary")
    ftk.compile_for_task(model, learning_rate=1e-3)
    before = [v.numpy() for v in backbone.variables]
    model.fit(x, y, batch_size=4, epochs=2, verbose=0)
    moved = sum(
        not np.array_equal(old, new.numpy())
        for old, new in zip(before, backbone.variables, strict=True)
    )
    assert moved > 0.95 * len(original.trainable_variables)


def export(model: keras.Model, folder: Path) -> None:
    """Writes a reusable SavedModel, as TF-Hub's image modules are."""

    @tf.function
    def call(inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        return model(inputs, training=training)

    for training in (True, False):
        call.get_concrete_function(
            tf.TensorSpec((None, *model.input_shape[1:]), name="inputs"), training=training
        )
    module = tf.train.Checkpoint()
    module.variables = [variable.value for variable in model.variables]
    module.trainable_variables = [variable.value for variable in model.trainable_variables]
    module.regularization_losses = []
    module.__call__ = call
    tf.saved_model.save(module, str(folder))
