"""One process owns a run folder."""

import json
import os
import socket

import pytest

from scimind.errors import EnvironmentProblem, RunLockedError
from scimind.train import RunFolder


def test_the_owner_is_named_to_a_second_run(tmp_path):
    with RunFolder(tmp_path) as run:
        assert run.locked
        told = f"in use by process {os.getpid()} on {socket.gethostname()}, started"
        with pytest.raises(RunLockedError, match=told) as error, RunFolder(tmp_path):
            pass
        assert error.value.exit_code == 2
    with RunFolder(tmp_path):
        pass


def test_a_lock_left_by_a_dead_process_is_taken_over_and_said(tmp_path, caplog):
    owner = {"pid": 999999, "host": "node7", "started": "2026-01-01T00:00:00+00:00"}
    (tmp_path / "lock").write_text(json.dumps(owner))
    with RunFolder(tmp_path):
        assert "left locked by process 999999 on node7" in caplog.text
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    assert (tmp_path / "lock").read_text() == ""


@pytest.mark.parametrize("content", ["{", "[]", "\x00" * 100, '{"pid": 1}'])
def test_a_damaged_lock_file_is_no_obstacle(tmp_path, content):
    (tmp_path / "lock").write_text(content)
    with RunFolder(tmp_path), pytest.raises(RunLockedError), RunFolder(tmp_path):
        pass


def test_unfinished_checkpoints_are_cleared_by_the_owner_only(tmp_path):
    litter = tmp_path / "checkpoints" / ".tmp-step-0000001-12"
    litter.mkdir(parents=True)
    (litter / "model.safetensors").write_bytes(b"half")
    with RunFolder(tmp_path, writer=False) as reader:
        assert not reader.locked
        assert litter.exists()
    with RunFolder(tmp_path):
        assert not litter.exists()


def test_a_folder_that_cannot_be_made_is_an_environment_problem(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(EnvironmentProblem, match="set output= to a folder that can be written"),
        RunFolder(tmp_path / "file" / "run"),
    ):
        pass
