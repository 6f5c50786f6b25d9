"""A download is complete and right, or absent; tested against a server that misbehaves."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from scimind.data.download import (
    DownloadError,
    DownloadPolicy,
    RemoteFile,
    fetch,
    load_registry,
)
from scimind.errors import EnvironmentProblem, InputError

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUICK = DownloadPolicy(timeout_s=0.3, attempts=3, backoff_s=0.01)


class Faulty(BaseHTTPRequestHandler):
    """Serves CONTENT; the path names the fault, ``requests`` what was asked for."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        fault = self.path.split("/")[1]
        asked = self.headers.get("Range")
        self.server.requests.append((self.path, asked))
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        body = CONTENT
        if fault == "missing":
            return self.answer(404, b"gone")
        if fault == "busy-twice" and len(self.server.requests) < 3:
            return self.answer(503, b"later")
        if fault == "wrong":
            body = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
        if fault == "long":
            body = CONTENT + b"more"
        if fault == "redirect-to-file":
            return self.answer(302, b"", {"Location": "file:///etc/hostname"})
        if fault == "no-range" or not asked:
            start = 0
        status = 206 if start else 200
        if fault == "wrong-range" and start:
            self.send_response(206)
            self.send_header("Content-Range", f"bytes 0-{len(body) - 1}/{len(body)}")
        elif start >= len(body):
            return self.answer(416, b"")
        else:
            self.send_response(status)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        if fault == "silent":
            time.sleep(1.5)
        if fault == "trickle":
            for at in range(start, len(body)):
                if at - start > 20:
                    break
                self.wfile.write(body[at : at + 1])
                self.wfile.flush()
                time.sleep(0.1)
            self.close_connection = True
            return None
        if fault == "slow":
            for at in range(start, len(body), 3000):
                self.wfile.write(body[at : at + 3000])
                self.wfile.flush()
                time.sleep(0.02)
            return None
        if fault == "short":
            self.wfile.write(body[start : start + 120_000])
            self.close_connection = True
            return None
        self.wfile.write(body[start:])
        return None

    def answer(self, status, body, headers=None):
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def handle(self):
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Faulty)
    server.requests = []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    server.address = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in ("SCIMIND_OFFLINE", "SCIMIND_MIRROR", "SCIMIND_CACHE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)


def entry(server, *faults, **changes):
    urls = tuple(f"{server.address}/{fault}/data.bin" for fault in faults)
    fields = {"name": "data.bin", "urls": urls, "sha256": SHA256, "size": len(CONTENT),
              "licence": "CC0-1.0"}  # fmt: skip
    return RemoteFile(**{**fields, **changes})


def final_and_part(cache):
    folder = cache / SHA256[:16]
    return folder / "data.bin", folder / "data.bin.part"


def test_a_file_is_fetched_once_announced_with_its_licence_and_then_cached(server, tmp_path):
    said: list[str] = []
    path = fetch(entry(server, "ok"), cache=tmp_path, policy=QUICK, announce=said.append)
    assert path.read_bytes() == CONTENT
    assert "CC0-1.0" in said[0]
    assert "0.3 MB" in said[0]
    assert fetch(entry(server, "ok"), cache=tmp_path, announce=said.append) == path
    assert len(server.requests) == 1
    assert len(said) == 1


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("missing", "HTTP 404"),
        ("wrong", "sha256 is"),
        ("long", "more than the expected 300000 bytes"),
        ("silent", "timed out"),
        ("redirect-to-file", "not allowed"),
    ],
)
def test_a_server_that_cannot_give_the_content_leaves_no_final_file(
    server, tmp_path, fault, reason
):
    with pytest.raises(DownloadError, match=reason) as caught:
        fetch(entry(server, fault), cache=tmp_path, policy=QUICK, announce=lambda _: None)
    assert server.address in str(caught.value)
    assert "SCIMIND_MIRROR" in str(caught.value)
    assert not final_and_part(tmp_path)[0].exists()


def test_a_trickling_server_is_given_up(server, tmp_path):
    start = time.monotonic()
    with pytest.raises(DownloadError, match="too slow"):
        fetch(entry(server, "trickle"), cache=tmp_path, announce=lambda _: None,
              policy=DownloadPolicy(timeout_s=0.4, attempts=1))  # fmt: skip
    assert time.monotonic() - start < 2


def test_permanent_failures_are_not_repeated_and_passing_ones_are(server, tmp_path):
    with pytest.raises(DownloadError):
        fetch(entry(server, "missing"), cache=tmp_path, policy=QUICK, announce=lambda _: None)
    assert len(server.requests) == 1
    server.requests.clear()
    fetch(entry(server, "busy-twice"), cache=tmp_path, policy=QUICK, announce=lambda _: None)
    assert len(server.requests) == 3


def test_a_short_read_is_continued_where_it_stopped(server, tmp_path):
    path = fetch(entry(server, "short"), cache=tmp_path, policy=QUICK, announce=lambda _: None)
    assert path.read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [None, "bytes=120000-", "bytes=240000-"]


@pytest.mark.parametrize("length", [1, 100_000, 299_999, 300_000, 300_001, 400_000])
def test_a_partial_file_of_any_length_is_completed(server, tmp_path, length):
    final, part = final_and_part(tmp_path)
    part.parent.mkdir(parents=True)
    part.write_bytes((CONTENT * 2)[:length])
    fetch(entry(server, "ok"), cache=tmp_path, policy=QUICK, announce=lambda _: None)
    assert final.read_bytes() == CONTENT
    assert not part.exists()


def test_a_partial_file_of_other_content_is_dropped_and_fetched_afresh(server, tmp_path):
    final, part = final_and_part(tmp_path)
    part.parent.mkdir(parents=True)
    part.write_bytes(b"other version" * 100)
    fetch(entry(server, "ok"), cache=tmp_path, policy=QUICK, announce=lambda _: None)
    assert final.read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == ["bytes=1300-", None]


def test_a_server_without_ranges_is_read_from_the_start(server, tmp_path):
    final, part = final_and_part(tmp_path)
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:1000])
    fetch(entry(server, "no-range"), cache=tmp_path, policy=QUICK, announce=lambda _: None)
    assert final.read_bytes() == CONTENT


def test_a_server_that_answers_another_range_is_not_believed(server, tmp_path):
    final, part = final_and_part(tmp_path)
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:1000])
    with pytest.raises(DownloadError, match="asked for byte 1000"):
        fetch(entry(server, "wrong-range"), cache=tmp_path, policy=QUICK, announce=lambda _: None)
    assert not final.exists()


def test_the_next_address_and_the_mirror_take_over(server, tmp_path, monkeypatch):
    fetch(entry(server, "missing", "ok"), cache=tmp_path / "a", policy=QUICK,
          announce=lambda _: None)  # fmt: skip
    server.requests.clear()
    monkeypatch.setenv("SCIMIND_MIRROR", f" {server.address}/missing/, {server.address}/ok")
    fetch(entry(server, "wrong"), cache=tmp_path / "b", policy=QUICK, announce=lambda _: None)
    assert [path for path, _ in server.requests] == ["/missing/data.bin", "/ok/data.bin"]


def test_a_damaged_cache_entry_is_noticed_and_replaced(server, tmp_path):
    path = fetch(entry(server, "ok"), cache=tmp_path, policy=QUICK, announce=lambda _: None)
    data = bytearray(CONTENT)
    data[77] ^= 4
    path.write_bytes(data)
    said: list[str] = []
    assert fetch(entry(server, "ok"), cache=tmp_path, announce=said.append).read_bytes() == CONTENT
    assert "no longer has the content" in said[0]


def test_offline_says_where_to_put_the_file_and_uses_the_cache(server, tmp_path, monkeypatch):
    monkeypatch.setenv("SCIMIND_OFFLINE", "1")
    final, _ = final_and_part(tmp_path)
    with pytest.raises(DownloadError, match="SCIMIND_OFFLINE is set") as caught:
        fetch(entry(server, "ok"), cache=tmp_path)
    assert str(final) in str(caught.value)
    assert caught.value.exit_code == 4
    assert server.requests == []
    # Doing as told works.
    final.write_bytes(CONTENT)
    assert fetch(entry(server, "ok"), cache=tmp_path) == final


def test_an_unreachable_server_is_an_environment_problem(tmp_path):
    file = RemoteFile(name="data.bin", urls=("http://127.0.0.1:9/x",), sha256=SHA256, size=1,
                      licence="CC0-1.0")  # fmt: skip
    with pytest.raises(DownloadError, match="Connection refused"):
        fetch(file, cache=tmp_path, policy=QUICK, announce=lambda _: None)


def test_the_cache_folder_follows_the_environment_and_must_be_writable(
    server, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "带 空格"))
    path = fetch(entry(server, "ok"), policy=QUICK, announce=lambda _: None)
    assert path.is_relative_to(tmp_path / "带 空格" / "scimind")
    monkeypatch.setenv("SCIMIND_CACHE", str(tmp_path / "own"))
    assert fetch(entry(server, "ok"), announce=lambda _: None).is_relative_to(tmp_path / "own")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SCIMIND_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(EnvironmentProblem, match="set SCIMIND_CACHE"):
        fetch(entry(server, "ok"))


FETCH_SCRIPT = """
import sys
from pathlib import Path
from scimind.data.download import DownloadPolicy, RemoteFile, fetch
url, sha256, size, cache = sys.argv[1:]
file = RemoteFile(name="data.bin", urls=(url,), sha256=sha256, size=int(size), licence="CC0-1.0")
print(fetch(file, cache=Path(cache), policy=DownloadPolicy(backoff_s=0.01)))
"""


def fetching(server, fault, cache):
    url = f"{server.address}/{fault}/data.bin"
    return subprocess.Popen(
        [sys.executable, "-c", FETCH_SCRIPT, url, SHA256, str(len(CONTENT)), str(cache)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_killed_download_leaves_no_final_file_and_the_next_one_continues(server, tmp_path):
    final, part = final_and_part(tmp_path)
    process = fetching(server, "slow", tmp_path)
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size > 20_000):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not final.exists()
    kept = part.stat().st_size
    assert 20_000 < kept < len(CONTENT)
    fetch(entry(server, "ok"), cache=tmp_path, policy=QUICK, announce=lambda _: None)
    assert final.read_bytes() == CONTENT
    assert server.requests[-1][1] == f"bytes={kept}-"


def test_two_processes_fetch_one_file_once(server, tmp_path):
    processes = [fetching(server, "slow", tmp_path) for _ in range(2)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert len(server.requests) == 1
    assert sum("waiting for another process" in errors for _, errors in outputs) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "../evil"}, "plain file name"),
        ({"sha256": "ABC"}, "64 lower-case"),
        ({"size": -1}, "number of bytes"),
        ({"licence": ""}, "licence is empty"),
        ({"urls": ("file:///etc/passwd",)}, "http or https"),
        ({"urls": ()}, "http or https"),
    ],
)
def test_a_wrong_registry_entry_is_refused(server, changes, message):
    with pytest.raises(InputError, match=message):
        entry(server, "ok", **changes)


def test_a_registry_is_read_strictly(tmp_path):
    row = {"name": "a", "urls": ["https://example.org/a"], "sha256": SHA256, "size": 3,
           "licence": "MIT"}  # fmt: skip
    path = tmp_path / "registry.json"
    path.write_text(json.dumps([row]))
    assert load_registry(path)["a"].size == 3
    for rows in ([{**row, "md5": ""}], [row, row], [1], {"a": 1}, [{**row, "urls": "https://x"}]):
        path.write_text(json.dumps(rows))
        with pytest.raises(InputError, match=r"registry\.json"):
            load_registry(path)
    path.write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        load_registry(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_cache_is_an_environment_problem(server, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(EnvironmentProblem, match="cannot be written"):
        fetch(entry(server, "ok"), cache=tmp_path / "cache")
