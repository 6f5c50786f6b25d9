"""Folders that exist completely or not at all, and notice every changed bit."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from scimind.errors import CheckpointError, EnvironmentProblem
from scimind.train import storage

FILES = {"model.safetensors": b"\x00\x01weights\xff" * 3, "state.json": b'{"step": 7}'}


def read_all(folder):
    manifest = storage.read_manifest(folder)
    return {name: storage.read_file(folder, name, manifest) for name in manifest}


@pytest.fixture
def folder(tmp_path):
    storage.write_folder(tmp_path / "step-0000007", FILES.items())
    return tmp_path / "step-0000007"


def test_what_is_written_is_read(folder):
    assert read_all(folder) == FILES
    assert sorted(item.name for item in folder.parent.iterdir()) == [folder.name]
    assert len(storage.manifest_digest(folder)) == 64


def test_every_flipped_bit_of_every_file_is_noticed(folder):
    flips = 0
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        for position in range(len(content) * 8):
            changed = bytearray(content)
            changed[position // 8] ^= 1 << (position % 8)
            path.write_bytes(changed)
            with pytest.raises(CheckpointError):
                read_all(folder)
            flips += 1
        path.write_bytes(content)
    assert flips > 2000
    assert read_all(folder) == FILES


def test_a_cut_at_every_offset_and_an_appended_byte_are_noticed(folder):
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        for changed in [content[:end] for end in range(len(content))] + [content + b"\n"]:
            path.write_bytes(changed)
            with pytest.raises(CheckpointError):
                read_all(folder)
        path.write_bytes(content)


def test_a_file_of_another_checkpoint_is_never_mixed_in(folder):
    other = folder.with_name("step-0000008")
    storage.write_folder(other, {**FILES, "model.safetensors": b"\x00\x01WEIGHTS\xff" * 3}.items())
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
        read_all(folder)


def test_a_missing_file_or_manifest_is_named(folder):
    (folder / "state.json").unlink()
    with pytest.raises(CheckpointError, match=r"state\.json is missing: .*incomplete"):
        read_all(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=r"manifest\.json is missing"):
        read_all(folder)
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        read_all(folder.with_name("step-0000099"))


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b", "..", ".hidden", "a\x00b", ""])
def test_a_manifest_cannot_lead_out_of_its_folder(folder, name):
    (folder.parent / "secret").write_bytes(b"s")
    digest = storage.hashlib.sha256(b"s").hexdigest()
    forged = storage._manifest_bytes({name: {"bytes": 1, "sha256": digest}})
    (folder / "manifest.json").write_bytes(forged)
    with pytest.raises(CheckpointError, match="not a plain name"):
        storage.read_manifest(folder)
    with pytest.raises(CheckpointError, match="not a plain name"):
        storage.write_folder(folder.with_name("step-0000009"), [(name, b"")])


@pytest.mark.timeout(20)
def test_links_pipes_and_folders_are_not_read(folder, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(FILES["state.json"])
    target = folder / "state.json"
    for make in (lambda: target.symlink_to(secret), lambda: os.mkfifo(target), target.mkdir):
        target.rmdir() if target.is_dir() and not target.is_symlink() else target.unlink()
        make()
        with pytest.raises(CheckpointError, match=r"symbolic link|not a regular file"):
            read_all(folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b"[]", b'{"files": 3}', b'{"files": {"a": 1}}', b"[" * 100000, b"\xff"],
)
def test_any_other_content_of_the_manifest_is_damage(folder, content):
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        read_all(folder)


def test_a_folder_is_never_overwritten(folder):
    with pytest.raises(FileExistsError, match="never overwritten"):
        storage.write_folder(folder, FILES.items())
    assert read_all(folder) == FILES


def test_a_failing_source_leaves_nothing_behind(folder):
    def broken():
        yield "model.safetensors", b"123"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        storage.write_folder(folder.with_name("step-0000008"), broken())
    assert [item.name for item in folder.parent.iterdir()] == [folder.name]


def test_an_unwritable_place_is_said_with_the_way_out(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(EnvironmentProblem, match="set output= to a folder that can be written"):
        storage.write_folder(tmp_path / "file" / "step-0000001", FILES.items())


# storage.py is loaded by itself, so that the process has no threads when it forks.
WRITER = """
    import importlib.util, os, resource, signal, sys
    from pathlib import Path
    spec = importlib.util.spec_from_file_location("storage", sys.argv[1])
    storage = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(storage)
    parent = Path(sys.argv[2])
    files = [("model.safetensors", b"m" * 100_000), ("state.json", b"{}")]
"""


def run_writer(folder, code):
    source = textwrap.dedent(WRITER) + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", source, storage.__file__, str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_kill_at_any_system_call_leaves_the_old_state_or_the_new_one(tmp_path):
    code = """
        import builtins
        def watched(number, call):
            def wrapper(*arguments, **keywords):
                count[0] += 1
                if count[0] == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                result = call(*arguments, **keywords)
                return result
            return wrapper
        outcomes = []
        for number in range(1, 60):
            folder = parent / f"run-{number}"
            storage.write_folder(folder / "step-0000001", files)
            child = os.fork()
            if child == 0:
                count = [0]
                for name in ("fsync", "open", "close", "rename", "mkdir", "replace"):
                    setattr(os, name, watched(number, getattr(os, name)))
                for name in ("mkdir", "rename", "open"):
                    setattr(Path, name, watched(number, getattr(Path, name)))
                storage.write_folder(folder / "step-0000002", files)
                os._exit(0)
            _, status = os.waitpid(child, 0)
            outcomes.append(os.WIFSIGNALED(status))
            for step in ("step-0000001", "step-0000002"):
                if (folder / step).exists():
                    manifest = storage.read_manifest(folder / step)
                    for name, content in files:
                        assert storage.read_file(folder / step, name, manifest) == content
                else:
                    assert step == "step-0000002"
            storage.remove_litter(folder)
            left = {item.name for item in folder.iterdir()}
            assert left <= {"step-0000001", "step-0000002"}, left
            if not outcomes[-1]:
                break
        print(sum(outcomes), outcomes[-1], end=" ")
    """
    told = run_writer(tmp_path, code)
    assert told.returncode == 0, told.stderr
    kills, last = told.stdout.split()
    assert int(kills) >= 12, "each system call of the protocol is a place to die"
    assert last == "False", "the last child came through without being killed"


def test_a_full_disk_keeps_the_previous_checkpoint_and_leaves_no_litter(tmp_path):
    code = """
        storage.write_folder(parent / "step-0000001", files)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        try:
            storage.write_folder(parent / "step-0000002", files)
        except storage.EnvironmentProblem as error:
            print(error.exit_code, error)
    """
    told = run_writer(tmp_path, code)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("4 cannot write")
    assert "earlier checkpoints are untouched; free space" in told.stdout
    assert [item.name for item in tmp_path.iterdir()] == ["step-0000001"]
    assert len(read_all(tmp_path / "step-0000001")["model.safetensors"]) == 100_000


def test_removal_is_never_half_done(tmp_path, monkeypatch, folder):
    # Killed between the rename and the removal of the files: only litter is left.
    monkeypatch.setattr(storage.shutil, "rmtree", lambda *a, **k: os.kill)
    storage.remove_folder(folder)
    assert not folder.exists()
    monkeypatch.undo()
    assert storage.remove_litter(folder.parent) == 1
    assert list(folder.parent.iterdir()) == []


def test_manifests_are_plain_json(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["files"]["state.json"]["bytes"] == len(FILES["state.json"])
