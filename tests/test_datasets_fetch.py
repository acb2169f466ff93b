"""Downloads against a server that cuts connections, ignores ranges or sends the wrong file."""

import hashlib
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from filelock import FileLock

from crvae3d.datasets.fetch import Download, fetch
from crvae3d.errors import InputError

CONTENT = bytes(range(256)) * 4000


class Server(ThreadingHTTPServer):
    """Serves CONTENT; notes the ranges that are asked for."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges, self.cut_after, self.with_ranges, self.stall = [], None, True, 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/x.zip"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        server.ranges.append(asked)
        begun = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and server.with_ranges else 0
        if "missing" in self.path:
            return self.send_error(404)
        if begun >= len(CONTENT):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        body = CONTENT[begun:]
        self.send_response(206 if begun else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.cut_after])
        time.sleep(server.stall)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.shutdown()


def test_two_that_fetch_the_same_both_have_it(server, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: fetch(wanted(server), tmp_path, progress=False), range(2)))
    assert found == [tmp_path / "x.zip"] * 2 and found[0].read_bytes() == CONTENT
    assert server.ranges == [None] and [path.name for path in tmp_path.iterdir()] == ["x.zip"]


def wanted(server, **changes) -> Download:
    known = {"sha256": hashlib.sha256(CONTENT).hexdigest(), "size": len(CONTENT)}
    return Download(**{"url": server.url, "file": "x.zip", **known, **changes})


def get(download, folder):
    return fetch(download, folder, progress=False, timeout=5)


def test_a_download_arrives_whole_and_is_fetched_once(server, tmp_path):
    path = get(wanted(server), tmp_path / "new" / "folder")
    assert path.read_bytes() == CONTENT and [p.name for p in path.parent.iterdir()] == ["x.zip"]
    assert get(wanted(server), path.parent) == path and len(server.ranges) == 1


def test_a_cut_connection_is_gone_on_with_where_it_broke_off(server, tmp_path):
    server.cut_after = 300_000
    path = get(wanted(server), tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]


def test_a_later_call_resumes_what_an_earlier_one_left(server, tmp_path):
    server.cut_after = 0
    (tmp_path / "x.zip.part").write_bytes(CONTENT[:5000])
    with pytest.raises(InputError, match=f"put it at {tmp_path / 'x.zip'}"):
        get(wanted(server), tmp_path)
    assert (tmp_path / "x.zip.part").read_bytes() == CONTENT[:5000] and not (tmp_path / "x.zip").exists()
    server.cut_after = None
    assert get(wanted(server), tmp_path).read_bytes() == CONTENT
    assert set(server.ranges) == {"bytes=5000-"}


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    server.with_ranges = False
    (tmp_path / "x.zip.part").write_bytes(b"something else entirely")
    assert get(wanted(server), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("rest", [b"", b"and more than the server has"])
def test_a_complete_part_is_finished_and_a_longer_one_begun_anew(server, tmp_path, rest):
    (tmp_path / "x.zip.part").write_bytes(CONTENT + rest)
    assert get(wanted(server), tmp_path).read_bytes() == CONTENT


def test_a_part_of_another_file_is_found_by_the_checksum_and_replaced(server, tmp_path):
    (tmp_path / "x.zip.part").write_bytes(b"?" * 5000)
    assert get(wanted(server), tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=5000-", None]


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"size": 7}])
def test_the_wrong_file_never_stands_under_the_right_name(server, tmp_path, change):
    with pytest.raises(InputError, match="expected .* got .*by hand") as caught:
        get(wanted(server, **change), tmp_path)
    assert server.url in str(caught.value) and [path.name for path in tmp_path.iterdir()] == [".x.zip.lock"]


def test_who_waits_for_a_download_says_so_and_leaves_the_lock_to_its_holder(server, tmp_path, monkeypatch, capsys):
    def stopped(self, timeout=None):
        if timeout == 0:
            return acquire(self, timeout=0)
        raise KeyboardInterrupt

    with FileLock(tmp_path / ".x.zip.lock"):
        acquire = FileLock.acquire
        monkeypatch.setattr(FileLock, "acquire", stopped)
        with pytest.raises(KeyboardInterrupt):
            fetch(wanted(server), tmp_path)
        assert (tmp_path / ".x.zip.lock").exists() and server.ranges == []
    assert "another process fetches x.zip: waiting for it" in capsys.readouterr().err


def test_what_was_kept_outlives_an_answer_that_cannot_be_the_file(server, tmp_path):
    (tmp_path / "x.zip.part").write_bytes(b"?" * 5000)
    server.with_ranges = False
    with pytest.raises(InputError, match=f"offers {len(CONTENT):,} bytes in place of 9,999,999"):
        get(wanted(server, size=9_999_999), tmp_path)
    assert (tmp_path / "x.zip.part").read_bytes() == b"?" * 5000


def test_what_arrives_before_a_connection_stalls_is_kept(server, tmp_path):
    server.cut_after, server.stall = 100_000, 3
    with pytest.raises(InputError, match="timed out|ended after"):
        fetch(wanted(server), tmp_path, attempts=0, timeout=0.3, progress=False)
    assert (tmp_path / "x.zip.part").stat().st_size == 100_000


def test_without_size_or_checksum_the_announced_length_counts(server, tmp_path):
    server.cut_after = 600_000
    assert get(wanted(server, size=None, sha256=None), tmp_path).read_bytes() == CONTENT


def test_no_server_and_no_file_say_what_to_do_by_hand(server, tmp_path):
    missing = f"{server.url}/missing"
    with pytest.raises(InputError, match=f"{missing} could not be fetched .*by hand"):
        get(wanted(server, url=missing), tmp_path)
    assert server.ranges == [None]
    with pytest.raises(InputError, match="by hand and put it at"):
        get(wanted(server, url="http://127.0.0.1:9/x.zip"), tmp_path)
