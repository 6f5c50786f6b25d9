"""Archives are believed in nothing."""

import contextlib
import io
import resource
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest

from scimind.data.archive import ArchiveLimits, extract
from scimind.errors import InputError

FILES = {"a.txt": b"alpha", "sub/b.bin": bytes(range(256)) * 50, "sub/结构.cif": b"data_1abc"}


def tar_with(path, members, mode="w:gz"):
    """Members are (name, content) or ready TarInfo headers."""
    with tarfile.open(path, mode) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member, io.BytesIO(b"x" * member.size))
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                info.mode = 0o4777
                archive.addfile(info, io.BytesIO(member[1]))
    return path


def zip_with(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def nothing_is_left(folder, *besides):
    return {p.name for p in folder.iterdir()} == set(besides)


@pytest.mark.parametrize("kind", ["zip", "w:", "w:gz", "w:bz2", "w:xz"])
def test_an_honest_archive_comes_out_as_it_went_in(tmp_path, kind):
    archive = tmp_path / "archive"
    if kind == "zip":
        zip_with(archive, FILES.items())
    else:
        tar_with(archive, FILES.items(), kind)
    files = extract(archive, tmp_path / "out")
    assert {str(p.relative_to(tmp_path / "out")): p.read_bytes() for p in files} == FILES
    assert all(p.stat().st_mode & 0o7111 == 0 for p in files)
    with pytest.raises(FileExistsError):
        extract(archive, tmp_path / "out")


def special(name, kind, link=""):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    return info


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "..\\evil", "C:/evil"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_path_outside_the_folder_is_refused(tmp_path, name, kind):
    members = [("good", b"1"), (name, b"2")]
    make = zip_with if kind == "zip" else tar_with
    archive = make(tmp_path / "archive", members)
    with pytest.raises(InputError, match="points outside") as caught:
        extract(archive, tmp_path / "deep" / "out")
    assert caught.value.rule == "archive.slip"
    assert nothing_is_left(tmp_path, "archive", "deep")
    assert nothing_is_left(tmp_path / "deep")


@pytest.mark.parametrize(
    "member",
    [
        special("link", tarfile.SYMTYPE, "/etc"),
        special("link", tarfile.LNKTYPE, "good"),
        special("fifo", tarfile.FIFOTYPE),
        special("device", tarfile.CHRTYPE),
    ],
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path, member):
    archive = tar_with(tmp_path / "archive", [("good", b"1"), member, ("link/passwd", b"2")])
    with pytest.raises(InputError, match="is a link, a device"):
        extract(archive, tmp_path / "out")
    assert nothing_is_left(tmp_path, "archive")


def test_a_symlink_in_a_zip_is_refused(tmp_path):
    info = zipfile.ZipInfo("link")
    info.external_attr = (0o120777) << 16
    archive = zip_with(tmp_path / "archive", [(info, "/etc")])
    with pytest.raises(InputError, match="link"):
        extract(archive, tmp_path / "out")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("make", [zip_with, tar_with])
@pytest.mark.parametrize("names", [("a", "a"), ("a", "a/b"), ("a", "./a")])
def test_a_member_that_comes_twice_is_refused(tmp_path, make, names):
    archive = make(tmp_path / "archive", [(name, b"1") for name in names])
    with pytest.raises(InputError, match="comes twice"):
        extract(archive, tmp_path / "out")


@pytest.mark.parametrize("make", [zip_with, tar_with])
def test_a_bomb_is_stopped_by_its_ratio(tmp_path, make):
    archive = make(tmp_path / "archive", [("zeros", bytes(40 << 20))])
    assert archive.stat().st_size < 200_000
    with pytest.raises(InputError, match="expands the archive more than 100 times"):
        extract(archive, tmp_path / "out")
    assert nothing_is_left(tmp_path, "archive")


def test_limits_on_bytes_members_and_names_hold(tmp_path):
    archive = tar_with(tmp_path / "archive", [("a", b"12345"), ("b", b"67890")])
    for limits, message in (
        (ArchiveLimits(max_bytes=9), "passes the 9 bytes"),
        (ArchiveLimits(max_members=1), "beyond the 1 allowed"),
        (ArchiveLimits(max_name_bytes=0), "path over 0 bytes"),
    ):
        with pytest.raises(InputError, match=message):
            extract(archive, tmp_path / "out", limits)
    assert len(extract(archive, tmp_path / "out", ArchiveLimits(max_bytes=10, max_members=2))) == 2


def test_a_header_that_claims_gigabytes_does_not_fill_the_memory(tmp_path):
    header = special("huge", tarfile.XHDTYPE)
    header.size = 4 << 30
    block = header.tobuf(tarfile.USTAR_FORMAT)
    with (tmp_path / "archive").open("wb") as file:
        file.write(block)
        file.truncate(4 << 30)
    script = f"""
import resource
from pathlib import Path
from scimind.data.archive import extract
from scimind.errors import InputError
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
try:
    extract(Path({str(tmp_path / "archive")!r}), Path({str(tmp_path / "out")!r}))
except InputError as error:
    print(error.rule)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "archive.header", done.stderr
    assert resource.getrlimit(resource.RLIMIT_AS)[0] != 2 << 30


@pytest.mark.parametrize("kind", ["zip", "w:", "w:gz", "w:bz2", "w:xz"])
def test_damaged_archives_are_input_errors_and_leave_nothing(tmp_path, kind):
    archive = tmp_path / "archive"
    if kind == "zip":
        zip_with(archive, FILES.items())
    else:
        tar_with(archive, FILES.items(), kind)
    good = archive.read_bytes()
    generator = np.random.default_rng(0)
    for trial in range(60):
        data = bytearray(good)
        if trial % 2:
            del data[int(generator.integers(len(data))) :]
        for at in generator.integers(len(data), size=3) if len(data) else []:
            data[at] = int(generator.integers(256))
        archive.write_bytes(data)
        # A plain tar has no checksum over contents, so some damage is not detectable here: the
        # download's sha256 is what guards contents.
        with contextlib.suppress(InputError):
            extract(archive, tmp_path / f"out{trial}")
            continue
        assert not (tmp_path / f"out{trial}").exists()
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("damage", ["truncated", "header"])
def test_a_tar_cut_between_members_is_damaged_not_short(tmp_path, damage):
    archive = tar_with(tmp_path / "archive", [("a", b"1"), ("b", b"2")], "w:")
    data = bytearray(archive.read_bytes())
    if damage == "truncated":
        del data[1024:]
    else:
        data[1024 + 3] ^= 1
    archive.write_bytes(data)
    with pytest.raises(InputError, match="no valid header at byte 1024"):
        extract(archive, tmp_path / "out")
