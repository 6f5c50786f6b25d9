from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scimind.config import RunConfig, load_resolved, read_yaml, save_resolved
from scimind.errors import ConfigError


@dataclass(kw_only=True)
class ModelConfig:
    width: int = 16
    scale: float = 1.0
    update: Literal["none", "full"] = "none"
    sizes: tuple[int, ...] = (1, 2)
    labels: dict[str, int] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class TrainConfig(RunConfig):
    name: str = "run"
    root: Path | None = None
    model: ModelConfig = field(default_factory=ModelConfig)


# "???" is OmegaConf's mark of a missing value and cannot be one.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(
    lambda text: text != "???"
)
CONFIGS = st.builds(
    TrainConfig,
    name=TEXT,
    seed=st.integers(0, 2**31 - 1),
    root=st.none() | st.sampled_from([Path("data"), Path("/a b/ü")]),
    model=st.builds(
        ModelConfig,
        width=st.integers(),
        scale=st.floats(allow_nan=False),
        update=st.sampled_from(["none", "full"]),
        sizes=st.lists(st.integers()).map(tuple),
        labels=st.dictionaries(TEXT, st.integers(), max_size=3),
        names=st.lists(TEXT, max_size=3),
    ),
)


@given(config=CONFIGS)
def test_a_saved_configuration_is_read_back_equal(
    tmp_path_factory: pytest.TempPathFactory, config: TrainConfig
) -> None:
    path = tmp_path_factory.mktemp("saved") / "config.yaml"
    save_resolved(config, path)
    assert load_resolved(path, TrainConfig) == config


@pytest.mark.parametrize("name", ["${seed}", "null", "1e-3", "2026-01-01", "on", " a: b #c"])
def test_text_that_yaml_could_misread_survives(tmp_path: Path, name: str) -> None:
    save_resolved(TrainConfig(name=name), tmp_path / "config.yaml")
    assert load_resolved(tmp_path / "config.yaml", TrainConfig).name == name


def test_fields_of_a_saved_configuration_can_be_changed(tmp_path: Path) -> None:
    saved = TrainConfig(name="a", model=ModelConfig(width=7))
    save_resolved(saved, tmp_path / "config.yaml")
    overrides = ["seed=3", "model.labels.x=2", "model.names=[\"'1'\",b]"]
    changed = load_resolved(tmp_path / "config.yaml", TrainConfig, overrides)
    model = replace(saved.model, labels={"x": 2}, names=["'1'", "b"])
    assert changed == replace(saved, seed=3, model=model)
    with pytest.raises(ConfigError, match="unknown key sede"):
        load_resolved(tmp_path / "config.yaml", TrainConfig, ["sede=3"])


def test_a_hand_written_exponent_is_a_number(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("model:\n  scale: 1e-3\n  width: 1e2\n", encoding="utf-8")
    model = load_resolved(tmp_path / "config.yaml", TrainConfig).model
    assert math.isclose(model.scale, 1e-3)
    assert model.width == 100


REFUSED = {
    "object tag": "name: !!python/object/apply:os.system ['true']\n",
    "alias": "a: &x [1]\nb: *x\n",
    "doubling aliases": "a: &a [1,1]\nb: &b [*a,*a]\nc: [*b,*b]\n",
    "repeated key": "seed: 1\nseed: 2\n",
    "two documents": "seed: 1\n---\nseed: 2\n",
    "tab": "model:\n\twidth: 3\n",
    "unclosed": "model: {width: 3\n",
    "depth": "[" * 5000 + "]" * 5000,
    "list at the top": "- 1\n- 2\n",
    "empty": "",
    "unknown key": "model:\n  widht: 3\n",
    "list as key": "? [1, 2]\n: 3\n",
    "binary prefix without digits": "seed: 0b\n",
    "huge integer": "seed: " + "9" * 5000 + "\n",
    "control character": "name: a\x07b\n",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_unsafe_or_wrong_yaml_is_refused_with_the_name_of_the_file(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        load_resolved(path, TrainConfig)


def test_the_line_of_a_syntax_error_is_given(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("seed: 1\nname: x\nseed: 2\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"config\.yaml:3: .*'seed'"):
        read_yaml(path)


def test_missing_oversized_and_undecodable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_yaml(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="directory"):
        read_yaml(tmp_path)
    (tmp_path / "large.yaml").write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(ConfigError, match="at most"):
        read_yaml(tmp_path / "large.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_yaml(tmp_path / "latin.yaml")
