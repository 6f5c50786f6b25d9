"""The reader is chosen by suffix and content; everything else is refused with what is possible."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dae_solver.physics.io import read_case, write_native
from scimind.errors import InputError


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(
        InputError, match=r"did you mean 'wscc9'\? built-in cases are: .*wscc9.*; files that are"
    ):
        read_case("wscc")


def test_a_missing_file_is_answered_with_what_is_read(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"there is no file .* ANDES \.xlsx or \.json, PSS/E \.raw"
    ):
        read_case(tmp_path / "nothing.raw")


@pytest.mark.parametrize("name", ["case.txt", "case", "case.pdf"])
def test_an_unknown_suffix_is_answered_with_what_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("0")
    with pytest.raises(InputError, match=r"the suffix '.*' is unknown; what is read: ANDES"):
        read_case(tmp_path / name)


def test_a_dyr_alone_is_answered_with_its_use(tmp_path: Path) -> None:
    (tmp_path / "a.dyr").write_text("")
    with pytest.raises(InputError, match=r"stands beside a \.raw: give that, and this as dyr="):
        read_case(tmp_path / "a.dyr")


def test_a_dyr_belongs_to_a_raw(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"belongs beside a \.raw or \.m file"):
        read_case("wscc9", dyr=tmp_path / "a.dyr")


def test_json_is_told_apart_by_its_content(tmp_path: Path) -> None:
    own = tmp_path / "own.JSON"
    write_native(read_case("wscc9"), own)
    assert read_case(own).name == "wscc9"
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"Bus": [{"idx": 1}]}))
    with pytest.raises(InputError, match="there is no Slack in the file"):
        read_case(other)
    other.write_text(json.dumps({"note": "x", "nbus": 9, "branch": [[0, 3, 0.0, 0.0576]]}))
    with pytest.raises(InputError, match=r"neither ours, .* its keys are: note, nbus, branch"):
        read_case(other)
    other.write_text("[1, 2]")
    with pytest.raises(InputError, match="no object of tables such as Bus"):
        read_case(other)
