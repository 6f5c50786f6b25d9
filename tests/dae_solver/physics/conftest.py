"""Cases that ANDES ships."""

from __future__ import annotations

import json
from typing import Any

import pytest

from andes_process import andes


@pytest.fixture(scope="session")
def kundur(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("kundur") / "kundur.json"
    andes("convert", "kundur/kundur_full.xlsx", path)
    return json.loads(path.read_text())
