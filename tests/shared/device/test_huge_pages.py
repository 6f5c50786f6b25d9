"""MindSpore's memory lies in large pages where Linux gives them."""

import re
from pathlib import Path

import mindspore as ms
import pytest

from scimind import device
from scimind.device import huge_pages

MODE = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def flags_at(address: int) -> set[str]:
    """What the system says of the block at an address: ``hg`` where large pages were asked for."""
    found, inside = set(), False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if block := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(block[1], 16) <= address < int(block[2], 16)
        elif inside and line.startswith("VmFlags:"):
            found = set(line.split()[1:])
    return found


@pytest.mark.skipif(not MODE.exists(), reason="a system without transparent huge pages")
def test_tensors_lie_in_large_pages_after_setup():
    device.setup("cpu", threads=1)
    tensor = ms.ops.zeros((1024, 1024)) + 1.0
    assert "hg" in flags_at(tensor.data_ptr())


def test_a_block_is_asked_for_once():
    device.setup("cpu", threads=1)
    huge_pages.use_huge_pages()
    assert huge_pages.use_huge_pages() == 0


def test_a_system_without_a_list_of_blocks_has_none(monkeypatch, tmp_path):
    monkeypatch.setattr(huge_pages, "MAPS", tmp_path / "absent")
    assert huge_pages.blocks() == []
    assert huge_pages.use_huge_pages() == 0


def test_only_large_private_blocks_without_a_file_count(monkeypatch, tmp_path):
    maps = tmp_path / "maps"
    maps.write_text(
        "7f0000000000-7f0040000000 rw-p 00000000 00:00 0 \n"  # 1 GiB
        "7f1000000000-7f1000400000 rw-p 00000000 00:00 0 \n"  # small
        "7f2000000000-7f2040000000 r--p 00000000 00:00 0 \n"  # read only
        "7f3000000000-7f3040000000 rw-p 00000000 08:01 7      /some/file\n"
        "7f4000000000-7f4040000000 rw-s 00000000 00:00 0 \n"  # shared
    )
    monkeypatch.setattr(huge_pages, "MAPS", maps)
    assert huge_pages.blocks() == [(0x7F0000000000, 0x7F0040000000)]
