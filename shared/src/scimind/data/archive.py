"""The one place that unpacks archives; every member is checked and copied by hand.

Archives come from the network, so nothing in them is believed: names may point outside, links may
redirect a later member, headers may lie about sizes, and a small file may expand without end.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeVar, runtime_checkable

from scimind.errors import InputError

T = TypeVar("T")

_CHUNK = 1 << 20
_RATIO_FREE_BYTES = 16 << 20
_LARGEST_HEADER = 16 << 20
_OPENERS: dict[bytes, Callable[[Path, str], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZ": bz2.open,
    b"\xfd7": lzma.open,
}


@dataclass(frozen=True)
class ArchiveLimits:
    """What an archive may expand to.

    Attributes:
        max_bytes: Bytes of all members together.
        max_members: Files and folders.
        max_ratio: Expanded bytes per byte of archive, applied beyond the first 16 MiB.
        max_name_bytes: Bytes of one member's path.
    """

    max_bytes: int = 64 << 30
    max_members: int = 1_000_000
    max_ratio: float = 100.0
    max_name_bytes: int = 1024


def extract(path: Path, target: Path, limits: ArchiveLimits = ArchiveLimits()) -> list[Path]:
    """Unpacks a zip, tar, tar.gz, tar.bz2 or tar.xz archive into a new folder.

    The folder appears under its name only when every member is in it. Files get mode 0644 whatever
    the archive says.

    Args:
        path: The archive; its kind is told from its content.
        target: The folder to make; it must not exist.
        limits: What the archive may expand to.

    Returns:
        The files, in archive order.

    Raises:
        InputError: A member is a link, a device or encrypted, points outside the folder, or comes
            twice; a limit is passed; the archive is damaged or of an unknown kind.
        FileExistsError: ``target`` exists.
    """
    if target.exists() or target.is_symlink():
        raise FileExistsError(f"{target} exists; remove it, or extract into another folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        copier = _Copier(path, staging, limits)
        try:
            if zipfile.is_zipfile(path):
                _copy_zip(copier)
            else:
                _copy_tar(copier)
        except InputError:
            raise
        # What the readers raise for damage is not documented; these were found by fuzzing.
        except (
            tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError,
            NotImplementedError, RuntimeError, OverflowError, IndexError, UnicodeError,
        ) as error:  # fmt: skip
            raise InputError(
                f"damaged or unknown archive: {error}; download it again", path=path,
                rule="archive.damaged",
            ) from error  # fmt: skip
        staging.chmod(0o755)
        os.rename(staging, target)  # noqa: PTH104 - Path.rename would follow nothing else either
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return [target / name for name in copier.files]


@runtime_checkable
class _Readable(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...


class _Copier:
    """Checks members and writes them below the staging folder, counting what it writes."""

    def __init__(self, archive: Path, staging: Path, limits: ArchiveLimits) -> None:
        self.archive = archive
        self.limits = limits
        self.files: list[PurePosixPath] = []
        self._staging = staging
        self._archive_bytes = max(1, archive.stat().st_size)
        self._members = 0
        self._written = 0

    def refuse(self, name: str, reason: str, rule: str) -> InputError:
        return InputError(
            f"member {name[:200]!r} {reason}; do not use this archive",
            path=self.archive,
            rule=f"archive.{rule}",
        )

    def folder(self, name: str) -> None:
        (self._staging / self._checked(name)).mkdir(parents=True, exist_ok=True)

    def file(self, name: str, content: _Readable) -> None:
        relative = self._checked(name)
        destination = self._staging / relative
        try:
            destination.parent.mkdir(parents=True, exist_ok=True)
            # "x": a second member of this name, or of one that this file system holds equal, fails.
            with destination.open("xb") as file:
                while chunk := content.read(_CHUNK):
                    self._count(name, len(chunk))
                    file.write(chunk)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise self.refuse(name, "comes twice", "duplicate") from error
        self.files.append(relative)

    def _checked(self, name: str) -> PurePosixPath:
        self._members += 1
        if self._members > self.limits.max_members:
            raise self.refuse(name, f"is beyond the {self.limits.max_members} allowed", "members")
        if len(os.fsencode(name)) > self.limits.max_name_bytes:
            raise self.refuse(name, f"has a path over {self.limits.max_name_bytes} bytes", "name")
        path = PurePosixPath(name)
        outside = path.is_absolute() or ".." in path.parts
        if outside or "\\" in name or "\0" in name or ":" in (path.parts or ("",))[0]:
            raise self.refuse(name, "points outside the folder", "slip")
        return path

    def _count(self, name: str, size: int) -> None:
        self._written += size
        if self._written > self.limits.max_bytes:
            raise self.refuse(name, f"passes the {self.limits.max_bytes} bytes allowed", "bytes")
        ratio = self._written / self._archive_bytes
        if self._written > _RATIO_FREE_BYTES and ratio > self.limits.max_ratio:
            raise self.refuse(
                name, f"expands the archive more than {self.limits.max_ratio:g} times", "bomb"
            )


def _copy_zip(copier: _Copier) -> None:
    with zipfile.ZipFile(copier.archive) as archive:
        for member in archive.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
                raise copier.refuse(member.filename, "is a link or a device", "link")
            if member.flag_bits & 0x1:
                raise copier.refuse(member.filename, "is encrypted", "encrypted")
            if member.is_dir():
                copier.folder(member.filename)
            else:
                with archive.open(member) as content:
                    copier.file(member.filename, content)


def _copy_tar(copier: _Copier) -> None:
    with _decompressed(copier) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
        while (member := archive.next()) is not None:
            # Without this the reader keeps every header it has seen in memory.
            archive.members = []  # type: ignore[attr-defined]
            if member.isdir():
                copier.folder(member.name)
            elif member.isreg() and not member.issparse():
                content = archive.extractfile(member)
                assert content is not None
                copier.file(member.name, content)
            else:
                raise copier.refuse(member.name, "is a link, a device or a sparse file", "link")
        # The reader takes a damaged header, or the end of a truncated file, for the end of the
        # archive, and would lose the members behind it.
        stream.seek(archive.offset)
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError(f"no valid header at byte {archive.offset}")


@contextmanager
def _decompressed(copier: _Copier) -> Iterator[Any]:
    with copier.archive.open("rb") as file:
        opener = _OPENERS.get(file.read(2))
    opened: Any = opener(copier.archive, "rb") if opener else copier.archive.open("rb")
    with opened:
        yield _Bounded(opened, copier)


class _Bounded:
    """Refuses the single huge reads by which a lying header would fill the memory."""

    def __init__(self, stream: Any, copier: _Copier) -> None:
        self._stream = stream
        self._copier = copier

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LARGEST_HEADER:
            raise self._copier.refuse("header", f"claims {size} bytes", "header")
        return bytes(self._guarded(self._stream.read, size))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        limit = self._copier.limits.max_bytes
        if offset > 2 * limit + (1 << 30):
            raise self._copier.refuse("header", f"claims an offset of {offset} bytes", "header")
        return int(self._guarded(self._stream.seek, offset, whence))

    def tell(self) -> int:
        return int(self._stream.tell())

    @staticmethod
    def _guarded(call: Callable[..., T], *arguments: int) -> T:
        try:
            return call(*arguments)
        except OSError as error:
            # bz2 and gzip report damage as OSError, without the number that a failing disk has.
            if error.errno is None:
                raise tarfile.ReadError(str(error)) from error
            raise
