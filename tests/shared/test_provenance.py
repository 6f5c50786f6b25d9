from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from scimind import provenance
from scimind.config import RunConfig, load_resolved
from scimind.errors import InputError


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    answer = subprocess.run(
        ["git", *identity, "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.strip()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    (root / "inner").mkdir(parents=True)
    (root / "a.txt").write_bytes(b"alpha")
    (root / "inner" / "b.txt").write_bytes(b"beta")
    return root


def test_a_commit_is_clean_until_a_file_changes_or_appears(folder: Path) -> None:
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    head = git(folder, "rev-parse", "HEAD")
    provenance.commit_state.cache_clear()
    assert provenance.commit_state(folder) == (head, False)
    (folder / "new.py").touch()
    provenance.commit_state.cache_clear()
    assert provenance.commit_state(folder) == (head, True)


def test_a_folder_outside_git_has_no_commit(folder: Path) -> None:
    provenance.commit_state.cache_clear()
    assert provenance.commit_state(folder) is None


def test_the_configuration_hash_ignores_the_folder_and_nothing_else() -> None:
    config = RunConfig(output="a")
    assert provenance.config_hash(config) == provenance.config_hash(replace(config, output="b"))
    others = [replace(config, seed=1), replace(config, precision="fp16")]
    assert len({provenance.config_hash(other) for other in [config, *others]}) == 3


def test_a_data_digest_follows_its_definition(folder: Path) -> None:
    lines = [
        f"{name}\0{len(content)}\0{hashlib.sha256(content).hexdigest()}\n"
        for name, content in (("a.txt", b"alpha"), ("inner/b.txt", b"beta"))
    ]
    digest = provenance.data_digest(folder)
    assert digest.sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert (digest.files, digest.bytes, digest.complete) == (2, 9, True)


def test_a_data_digest_changes_with_names_and_contents_but_not_with_the_place(
    folder: Path, tmp_path: Path
) -> None:
    before = provenance.data_digest(folder).sha256
    moved = folder.rename(tmp_path / "moved")
    assert provenance.data_digest(moved).sha256 == before
    (moved / ".hidden").write_bytes(b"not data")
    assert provenance.data_digest(moved).sha256 == before
    (moved / "a.txt").write_bytes(b"alphA")
    changed = provenance.data_digest(moved).sha256
    (moved / "a.txt").rename(moved / "c.txt")
    assert len({before, changed, provenance.data_digest(moved).sha256}) == 3


def test_a_digest_beyond_the_limit_says_that_it_is_incomplete(folder: Path) -> None:
    digest = provenance.data_digest(folder, max_bytes=6)
    assert (digest.complete, digest.files, digest.bytes) == (False, 2, 9)
    (folder / "inner" / "b.txt").write_bytes(b"longer")
    assert provenance.data_digest(folder, max_bytes=6).sha256 != digest.sha256


def test_missing_data_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        provenance.data_digest(tmp_path / "absent")


def test_a_record_says_what_the_run_was_made_of(folder: Path, tmp_path: Path) -> None:
    config = RunConfig(seed=7, output=str(tmp_path / "run"))
    path = provenance.write(config.output, config, data=[folder])
    provenance.finish(config.output)
    record = json.loads(path.read_text())
    assert record["seed"] == 7
    assert record["data"][0]["sha256"] == provenance.data_digest(folder).sha256
    assert record["versions"]["python"] == platform.python_version()
    assert record["versions"]["mindspore"].startswith("2.10")
    assert record["started"] <= record["finished"]
    assert record["cpu_seconds"] > 0
    assert load_resolved(tmp_path / "run" / "config.yaml", RunConfig) == config


def test_a_record_names_neither_the_machine_nor_the_folder_of_the_data(
    folder: Path, tmp_path: Path
) -> None:
    config = RunConfig(output=str(tmp_path / "run"))
    text = provenance.write(config.output, config, data=[folder]).read_text()
    record = json.loads(text)
    del record["arguments"]
    kept = json.dumps(record)
    assert platform.node() not in kept
    assert str(folder.parent) not in kept


def test_a_resumed_run_keeps_the_earlier_records(tmp_path: Path) -> None:
    config = RunConfig(output=str(tmp_path))
    for seed in range(3):
        provenance.write(tmp_path, replace(config, seed=seed))
    record = json.loads((tmp_path / "provenance.json").read_text())
    assert [record["seed"], *(old["seed"] for old in record["earlier"])] == [2, 0, 1]


def test_cpu_seconds_count_work_and_not_waiting() -> None:
    before = provenance.cpu_seconds()
    own = os.times()
    total = sum(range(2_000_000))
    assert total > 0
    after, later = provenance.cpu_seconds(), os.times()
    assert after - before <= later.user + later.system - own.user - own.system + 0.2
    assert after > before
