"""MindSpore's memory in large pages on CPU.

Linux maps memory in pages of 4 KiB, except for those who ask for larger ones (the mode ``madvise``
of transparent huge pages, the default of most distributions). MindSpore takes its memory in blocks
of 1 GiB and does not ask, so that reading and writing much of it waits for the translation of
addresses (https://docs.kernel.org/admin-guide/mm/transhuge.html).
"""

from __future__ import annotations

import ctypes
import logging
import re
from pathlib import Path

_log = logging.getLogger("scimind.device")

MAPS = Path("/proc/self/maps")
# Smaller blocks are left alone: a large page that is hardly used is wasted.
SMALLEST = 256 << 20
_MADV_HUGEPAGE, _MADV_COLLAPSE = 14, 25
_PRIVATE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw-p 00000000 00:00 0 *$")
_advised: set[tuple[int, int]] = set()


def blocks() -> list[tuple[int, int]]:
    """First and last addresses of this process's large blocks of memory; none outside Linux."""
    try:
        lines = MAPS.read_text().splitlines()
    except OSError:
        return []
    found = (tuple(int(part, 16) for part in m.groups()) for m in map(_PRIVATE.match, lines) if m)
    return [(begin, end) for begin, end in found if end - begin >= SMALLEST]


def use_huge_pages() -> int:
    """Ask for large pages in the blocks that are new since the last call.

    Returns:
        How many blocks get them.
    """
    new = [block for block in blocks() if block not in _advised]
    if not new:
        return 0
    _advised.update(new)
    libc, given = ctypes.CDLL(None, use_errno=True), 0
    for begin, end in new:
        place = ctypes.c_void_p(begin), ctypes.c_size_t(end - begin)
        if libc.madvise(*place, _MADV_HUGEPAGE):
            _log.debug("no large pages: madvise ended with errno %d", ctypes.get_errno())
            continue
        libc.madvise(*place, _MADV_COLLAPSE)  # what is used already; Linux before 6.1 waits with it
        given += 1
    return given
