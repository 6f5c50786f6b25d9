from __future__ import annotations

import itertools
from pathlib import Path

import pytest

TREE = {
    "__init__.py": "",
    "train.yaml": """
        defaults:
          - _self_
          - model: tiny
          - experiment: null
        steps: 5
        """,
    "model/tiny.yaml": "name: tiny\nwidth: 32\n",
    "model/base.yaml": "name: base\nwidth: 64\n",
    "log/loud.yaml": "level: debug\nevery: 1\n",
    "experiment/smoke.yaml": """
        # @package _global_
        defaults:
          - override /model: base
        steps: 7
        model:
          heads: 2
        """,
    "experiment/misspelt.yaml": "# @package _global_\nmodel:\n  widht: 3\n",
    "experiment/broken.yaml": "# @package _global_\nmodel: [1, 2\n",
    "experiment/reference.yaml": "# @package _global_\nname: run-${seed}-${model.width}\n",
    "experiment/dangling.yaml": "# @package _global_\nname: ${model.depht}\n",
}

_numbers = itertools.count()


def write_tree(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = text.strip("\n").splitlines()
        margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
        path.write_text("\n".join(line[margin:] for line in lines) + "\n", encoding="utf-8")


@pytest.fixture
def config_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An importable package that holds the YAML tree above."""
    name = f"composed_configs_{next(_numbers)}"
    write_tree(tmp_path / name, TREE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name
