"""A real HTTP server on the loopback, with a small archive in CIFAR-10's place."""

import errno
import hashlib
import http.client
import io
import os
import random
import re
import socket
import sys
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from torchvision.datasets import CIFAR10

from era8.data import download, files
from era8.data.download import FetchError, fetch, find_or_fetch
from era8.data.files import ARCHIVE, FOLDER, DataError

NAMES = tuple(files.FILES)
REAL_DATA = os.environ.get("ERA8_DATA")  # read before `small_archive` hides it


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture(scope="session")
def contents() -> dict[str, bytes]:
    return {name: random.Random(name).randbytes(8_000) for name in NAMES}


@pytest.fixture(scope="session")
def archive(contents) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"{FOLDER}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def small_archive(monkeypatch, tmp_path_factory, contents, archive):
    """Put the small archive in CIFAR-10's place, away from the user's folders and proxies."""
    monkeypatch.setattr(files, "MD5", md5(archive))
    for name, value in {"SIZE": len(archive), "TIMEOUT": 2.0}.items():
        monkeypatch.setattr(download, name, value)
    monkeypatch.setattr(files, "FILES", {name: md5(c) for name, c in contents.items()})
    monkeypatch.delenv("ERA8_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.chdir(tmp_path_factory.mktemp("work"))
    return archive


class Handler(BaseHTTPRequestHandler):
    """Answers ``/<behaviour>/...`` and notes every request's behaviour and range."""

    def log_message(self, *args):
        pass

    def do_GET(self):
        behaviour = self.path.split("/")[1]
        wanted = self.headers.get("Range")
        self.server.requests.append((behaviour, wanted))
        try:
            getattr(self, behaviour)(self.server.archive, wanted)
        except ConnectionError:
            pass  # the client left, as some tests want it to

    def answer(self, body, status=200, length=None, headers=()):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def good(self, archive, wanted):
        if wanted is None:
            return self.answer(archive)
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
        if start >= len(archive):
            return self.answer(b"", 416)
        span = f"bytes {start}-{len(archive) - 1}/{len(archive)}"
        self.answer(archive[start:], 206, headers=[("Content-Range", span)])

    def rangeless(self, archive, wanted):
        self.answer(archive)

    def misplaced(self, archive, wanted):  # 206, but not the range that was asked for
        span = f"bytes 0-99/{len(archive)}"
        self.answer(archive[:100], 206, headers=[("Content-Range", span)])

    def lengthless(self, archive, wanted):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(archive)

    def unavailable(self, archive, wanted):
        self.answer(b"later", 503)

    def wrong(self, archive, wanted):
        self.answer(archive[:2] + bytes(len(archive) - 2))

    def portal(self, archive, wanted):  # a page of unknown length
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>please log in</html>" * 2_000)

    def rangeless_cut_off(self, archive, wanted):
        self.answer(archive[:1_000], length=len(archive))

    def nowhere(self, archive, wanted):
        self.answer(b"", 302, headers=[("Location", "http://[::1")])

    def ssh(self, archive, wanted):
        self.wfile.write(b"SSH-2.0-\x1b[31mOpenSSH\r\n")

    def login_page(self, archive, wanted):
        self.answer(b"<html>please log in</html>")

    def cut_off(self, archive, wanted):
        self.answer(archive[:20_000], length=len(archive))

    def silent(self, archive, wanted):
        self.answer(archive[:1_000], length=len(archive))
        self.server.closing.wait(5)

    def dribbles(self, archive, wanted):  # at most 50 kB/s
        self.answer(b"", length=len(archive))
        for i in range(0, len(archive), 1_000):
            self.wfile.write(archive[i : i + 1_000])
            time.sleep(0.02)


@pytest.fixture
def server(small_archive):
    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def url(self, behaviour):
            return f"http://127.0.0.1:{self.server_port}/{behaviour}/{ARCHIVE}"

        def urls(self, *behaviours):
            return [self.url(behaviour) for behaviour in behaviours]

    server = Server(("127.0.0.1", 0), Handler)
    server.archive, server.requests, server.closing = small_archive, [], threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def dead_url() -> str:
    with socket.socket() as unused:  # a port that was free a moment ago refuses connections
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}/{ARCHIVE}"


@pytest.fixture
def named(tmp_path, contents, small_archive) -> Path:
    """A folder that holds an intact copy."""
    folder = tmp_path / "named"
    (folder / FOLDER).mkdir(parents=True)
    for name, content in contents.items():
        (folder / FOLDER / name).write_bytes(content)
    return folder


def assert_whole(found: Path, contents: dict[str, bytes]) -> None:
    assert found.name == FOLDER
    assert {path.name: path.read_bytes() for path in found.iterdir()} == contents


def leftovers(folder: Path) -> set[str]:
    """Return what lies in a folder beside the locks, which are empty and stay."""
    return {path.name for path in folder.iterdir()} - {f"{ARCHIVE}.lock", ".unpack.lock"}


def test_constants_are_those_of_torchvision():
    assert (files.ARCHIVE, files.FOLDER) == (CIFAR10.filename, CIFAR10.base_folder)
    assert files.MD5 == CIFAR10.tgz_md5
    meta = {CIFAR10.meta["filename"]: CIFAR10.meta["md5"]}
    assert dict(CIFAR10.train_list + CIFAR10.test_list) | meta == files.FILES
    assert download.MIRRORS[-1] == CIFAR10.url


def test_fetches_and_leaves_only_the_folder(server, tmp_path, contents, capsys):
    assert_whole(fetch(tmp_path / "new" / "place", server.urls("good")), contents)
    assert leftovers(tmp_path / "new" / "place") == {FOLDER}
    assert capsys.readouterr().err.count("\n") == 1  # no progress bar where there is no terminal


def test_lines_say_how_far_it_is_where_no_bar_moves(server, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(download, "PULSE", 0)
    fetch(tmp_path, server.urls("good"))
    assert capsys.readouterr().err.splitlines()[-1] == "100% of CIFAR-10"


def test_a_bar_moves_in_a_notebook(server, tmp_path, capsys, monkeypatch):
    asked = {"content": {"allow_stdin": True}}
    shell = SimpleNamespace(kernel=SimpleNamespace(get_parent=lambda channel: asked))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    fetch(tmp_path, server.urls("good"))
    assert "100%" in capsys.readouterr().err


def test_fetches_nothing_that_is_there(server, named, contents):
    assert_whole(fetch(named, server.urls("good")), contents)
    assert server.requests == []


@pytest.mark.parametrize("bad", ["unavailable", "wrong", "login_page", "portal", "nowhere", "ssh"])
def test_leaves_a_bad_mirror(server, tmp_path, contents, bad):
    assert_whole(fetch(tmp_path, server.urls(bad, "good")), contents)
    assert server.requests == [(bad, None), ("good", None)]  # the second starts clean


@pytest.mark.parametrize(("bad", "sent"), [("silent", 1_000), ("cut_off", 20_000)])
def test_asks_the_next_mirror_only_for_the_rest(server, tmp_path, contents, bad, sent):
    assert_whole(fetch(tmp_path, server.urls(bad, "good")), contents)
    assert server.requests == [(bad, None), ("good", f"bytes={sent}-")]


def test_goes_on_in_the_next_call(server, tmp_path, contents):
    with pytest.raises(DataError, match="broke off after 20000 of"):
        fetch(tmp_path, server.urls("cut_off"))
    assert leftovers(tmp_path) == {f"{ARCHIVE}.part"}
    assert_whole(fetch(tmp_path, server.urls("good")), contents)
    assert server.requests[-1] == ("good", "bytes=20000-")


@pytest.mark.parametrize("answer", ["rangeless", "lengthless"])
def test_starts_again_where_ranges_are_ignored(server, tmp_path, contents, answer):
    assert_whole(fetch(tmp_path, server.urls("cut_off", answer)), contents)
    assert server.requests[-1] == (answer, "bytes=20000-")


@pytest.mark.parametrize(
    "bad", ["misplaced", "login_page", "unavailable", "portal", "rangeless_cut_off"]
)
def test_a_bad_answer_costs_nothing_that_has_arrived(server, tmp_path, contents, bad):
    assert_whole(fetch(tmp_path, server.urls("cut_off", bad, "good")), contents)
    assert server.requests[-1] == ("good", "bytes=20000-")


def test_what_a_killed_unpacking_left_is_cleared(server, tmp_path, contents):
    (tmp_path / ".unpack-old" / FOLDER).mkdir(parents=True)
    assert_whole(fetch(tmp_path, server.urls("good")), contents)
    assert leftovers(tmp_path) == {FOLDER}


@pytest.mark.parametrize(
    ("make", "asked"),
    [
        (lambda archive: b"something else", ["bytes=14-", None]),
        (lambda archive: bytes(len(archive) + 10), [None]),
        (lambda archive: archive, []),
    ],
    ids=["wrong", "too much", "whole"],
)
def test_a_partial_that_is_wrong_is_dropped_and_one_that_is_whole_is_enough(
    server, tmp_path, contents, archive, make, asked
):
    (tmp_path / f"{ARCHIVE}.part").write_bytes(make(archive))
    assert_whole(fetch(tmp_path, server.urls("good")), contents)
    assert server.requests == [("good", wanted) for wanted in asked]


def test_says_why_every_mirror_failed(server, dead_url, tmp_path):
    with pytest.raises(DataError) as caught:
        fetch(tmp_path, [dead_url, *server.urls("unavailable", "wrong", "ssh", "nowhere")])
    reasons = ("refused", "HTTP 503", "wrong MD5", "no HTTP (BadStatusLine)", "(ValueError)")
    for words in (*reasons, "ERA8_DATA", "synthetic"):
        assert words in str(caught.value)
    assert "\x1b" not in str(caught.value)  # nor anything else that a server said
    assert leftovers(tmp_path) <= {f"{ARCHIVE}.part"}


def test_an_interrupt_leaves_only_the_partial(server, tmp_path, monkeypatch, contents):
    read1, calls = http.client.HTTPResponse.read1, []

    def interrupted(self, size):
        calls.append(size)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return read1(self, 5_000)

    monkeypatch.setattr(http.client.HTTPResponse, "read1", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(tmp_path, server.urls("good", "good"))
    assert leftovers(tmp_path) == {f"{ARCHIVE}.part"}
    assert_whole(fetch(tmp_path, server.urls("good")), contents)
    assert [wanted for _, wanted in server.requests][0] is None
    assert server.requests[1][1] not in (None, "bytes=0-")


def test_an_interrupt_while_unpacking_leaves_only_the_partial(server, tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        (tmp_path / "unpacking").write_text("was reached")
        raise KeyboardInterrupt

    monkeypatch.setattr(tarfile.TarFile, "extractall", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(tmp_path, server.urls("good"))
    assert leftovers(tmp_path) == {f"{ARCHIVE}.part", "unpacking"}


def test_a_full_disk_is_explained_and_freed(server, tmp_path, monkeypatch):
    class FullDisk(io.FileIO):
        def write(self, content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(download, "open", FullDisk, raising=False)
    with pytest.raises(DataError, match=f"{re.escape(str(tmp_path))} .No space left on device"):
        fetch(tmp_path, server.urls("good", "good"))
    assert leftovers(tmp_path) == set()


def test_a_place_that_is_no_folder_is_explained(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="could not be written"):
        fetch(tmp_path / "file" / "era8", server.urls("good"))


def test_two_at_once_fetch_once(server, tmp_path, contents):
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(fetch, tmp_path, server.urls("dribbles")) for _ in range(2)]
        for future in both:
            assert_whole(future.result(timeout=10), contents)
    assert len(server.requests) == 1
    assert leftovers(tmp_path) == {FOLDER}


def test_finds_a_named_folder(named, contents):
    assert_whole(find_or_fetch(named), contents)
    assert_whole(find_or_fetch(str(named / FOLDER)), contents)


def test_honours_era8_data(named, contents, monkeypatch, tmp_path):
    monkeypatch.setenv("ERA8_DATA", str(named))
    assert_whole(find_or_fetch(), contents)
    with pytest.raises(FileNotFoundError):
        find_or_fetch(tmp_path / "elsewhere")  # what is given goes before what is set


@pytest.mark.parametrize("state", ["missing", "empty", "hollow"])
def test_a_named_folder_without_data(tmp_path, monkeypatch, small_archive, state):
    folder = tmp_path / "nothing"
    if state != "missing":
        folder.mkdir()
    if state == "hollow":
        (folder / FOLDER).mkdir()
    with pytest.raises(FileNotFoundError, match=re.escape(str(folder))) as given:
        find_or_fetch(folder)
    assert "ERA8_DATA" not in str(given.value)
    monkeypatch.setenv("ERA8_DATA", str(folder))
    with pytest.raises(FileNotFoundError, match=re.escape(f"{folder} (from ERA8_DATA)")):
        find_or_fetch()


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_missing_or_changed_is_named_and_nothing_is_to_be_deleted(
    named, contents, name
):
    path = named / FOLDER / name
    path.unlink()
    for root in (named, named / FOLDER):
        with pytest.raises(DataError, match=re.escape(f"{path} is missing")):
            find_or_fetch(root)
    path.write_bytes(contents[name][:-1] + bytes([contents[name][-1] ^ 1]))
    message = f"{re.escape(str(path))} is damaged.*move .* away"
    with pytest.raises(DataError, match=message) as caught:
        find_or_fetch(named)
    assert "delete " not in str(caught.value)


def test_a_damaged_default_copy_is_not_fetched_over(named, monkeypatch):
    monkeypatch.setattr(download, "MIRRORS", ())
    named.rename("data")
    path = Path("data", FOLDER, NAMES[0])
    path.write_bytes(b"damaged")
    with pytest.raises(DataError, match=re.escape(f"{path} is damaged")):
        find_or_fetch()
    assert path.read_bytes() == b"damaged"


def test_unpacks_a_named_archive(tmp_path, small_archive, contents):
    (tmp_path / ARCHIVE).write_bytes(small_archive)
    with ThreadPoolExecutor(2) as pool:  # two at once do not harm each other
        for found in pool.map(find_or_fetch, [tmp_path, tmp_path], timeout=10):
            assert_whole(found, contents)
    assert leftovers(tmp_path) == {ARCHIVE, FOLDER}  # the user's archive stays


@pytest.mark.parametrize("make", [lambda path: path.write_bytes(b"wrong"), os.mkfifo])
def test_refuses_a_wrong_archive_and_waits_for_no_pipe(tmp_path, small_archive, make):
    make(tmp_path / ARCHIVE)
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / ARCHIVE} is damaged")):
        find_or_fetch(tmp_path)
    assert leftovers(tmp_path) == {ARCHIVE}


def test_looks_in_data_then_in_the_cache_then_fetches(named, server, contents, monkeypatch):
    cache = Path(os.environ["XDG_CACHE_HOME"]) / "era8"
    monkeypatch.setattr(download, "fetch", lambda folder: fetch(folder, server.urls("good")))
    assert find_or_fetch() == cache / FOLDER
    assert find_or_fetch() == cache / FOLDER
    assert server.requests == [("good", None)]
    named.rename("data")
    assert find_or_fetch() == Path("data", FOLDER)


def test_a_folder_of_something_else_is_passed_over(named, monkeypatch, contents, capsys):
    cache = Path(os.environ["XDG_CACHE_HOME"]) / "era8"
    named.rename(cache)
    Path("data").mkdir()
    Path("data", "test_batch").write_text("of another project")
    assert_whole(find_or_fetch(), contents)
    assert capsys.readouterr().err == "data is passed over: its test_batch is not CIFAR-10's\n"
    assert Path("data", "test_batch").exists()


def test_no_home_directory(monkeypatch, small_archive):
    def nobody():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", nobody)
    with pytest.raises(FetchError, match="no home directory .*; set XDG_CACHE_HOME to a folder"):
        find_or_fetch()
    with pytest.raises(FileNotFoundError, match="no CIFAR-10 in ~nosuchuser/x"):
        find_or_fetch("~nosuchuser/x")


@pytest.mark.skipif(not REAL_DATA, reason="ERA8_DATA does not point to the real CIFAR-10")
def test_accepts_the_real_data(monkeypatch):
    monkeypatch.setenv("ERA8_DATA", REAL_DATA)
    assert (find_or_fetch() / "data_batch_1").stat().st_size > 30_000_000
