from __future__ import annotations

import enum
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from scimind.config import ConfigSource, RunConfig, compose, compose_tree, expand_sweep
from scimind.errors import ConfigError


class Norm(enum.Enum):
    RMS = "rms"
    LAYER = "layer"


@dataclass(kw_only=True)
class ModelConfig:
    """Size of the network.

    Attributes:
        name: Preset.
        width: Channels; a multiple of ``heads``.
        heads: Attention heads.
    """

    name: str = "tiny"
    width: int = 16
    heads: int = 4
    norm: Norm = Norm.RMS
    update: Literal["none", "full"] = "none"
    dropout: float = 0.0
    sizes: tuple[int, ...] = (1, 2)
    span: tuple[int, float] = (1, 2.0)
    labels: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width={self.width} is not a multiple of heads={self.heads}")


@dataclass(kw_only=True)
class TrainConfig(RunConfig):
    steps: int
    name: str = "run"
    root: Path | None = None
    limit: int | str = 3
    model: ModelConfig = field(default_factory=ModelConfig)


@dataclass(kw_only=True)
class NeedsInput(RunConfig):
    input: str
    steps: int = 1


@pytest.fixture
def composed(config_package: str):
    return lambda *overrides: compose(config_package, "train", list(overrides), TrainConfig)


def test_defaults_come_from_dataclass_then_yaml_then_overrides(composed) -> None:
    config = composed()
    assert (config.model.heads, config.model.width, config.steps) == (4, 32, 5)
    assert composed("model=base").model.width == 64
    assert composed("model=base", "model.width=128").model.width == 128


def test_an_experiment_overrides_the_primary_file_and_the_command_line_overrides_both(
    composed,
) -> None:
    config = composed("experiment=smoke")
    assert (config.steps, config.model.width, config.model.heads) == (7, 64, 2)
    assert composed("experiment=smoke", "steps=9").steps == 9


def test_a_group_that_the_primary_file_does_not_list_can_be_chosen(composed) -> None:
    assert composed().log.level == "info"
    assert (composed("log=loud").log.level, composed("log=loud").log.every) == ("debug", 1)
    assert composed("log=loud", "log.every=3").log.every == 3


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("steps=1e4", "steps", 10000),
        ("name=2024", "name", "2024"),
        ("name='1.10'", "name", "1.10"),
        ("root=some/folder", "root", Path("some/folder")),
        ("root=null", "root", None),
        ("limit=all", "limit", "all"),
        ("limit=7", "limit", 7),
        ("deterministic=false", "deterministic", False),
    ],
)
def test_values_take_the_type_of_their_field(composed, override: str, key: str, value) -> None:
    found = getattr(composed(override), key)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("model.dropout=1", "dropout", 1.0),
        ("model.dropout=1e-1", "dropout", 0.1),
        ("model.norm=layer", "norm", Norm.LAYER),
        ("model.sizes=[3,4,5]", "sizes", (3, 4, 5)),
        ("model.span=[3,4]", "span", (3, 4.0)),
        ("model.labels.helix=3", "labels", {"helix": 3}),
        ("model.labels={a: 1, b: 2}", "labels", {"a": 1, "b": 2}),
    ],
)
def test_nested_values_take_the_type_of_their_field(composed, override, key, value) -> None:
    assert getattr(composed(override).model, key) == value


def test_interpolations_reach_fields_that_stand_in_no_file(composed) -> None:
    assert composed("experiment=reference", "seed=4").name == "run-4-32"


# Override, and what the message must contain: the full key, what is allowed, the nearest spelling.
MISTAKES = [
    ("modle=base", ["modle", "did you mean model"]),
    ("model=bse", ["model=bse", "did you mean base", "base, tiny"]),
    ("experiment=nope", ["experiment=nope", "smoke"]),
    ("model.widht=3", ["model.widht", "did you mean model.width", "heads"]),
    ("width=3", ["width", "did you mean model.width"]),
    ("+colour=red", ["unknown key colour", "keys:"]),
    ("steps=abc", ["steps='abc'", "an integer", "found text"]),
    ("steps=1.5", ["steps=1.5", "an integer"]),
    ("steps=true", ["steps=true", "an integer"]),
    ("steps=null", ["steps=null", "an integer"]),
    ("deterministic=1", ["deterministic=1", "true or false"]),
    ("model.dropout=nan", ["model.dropout", "a number"]),
    ("name=1.10", ["name=1.1", "to pass it as text"]),
    ("precision=fp8", ["precision='fp8'", "fp32, fp16, bf16"]),
    ("model.norm=batch", ["model.norm='batch'", "rms, layer"]),
    ("model.update=ful", ["model.update='ful'", "none, full", "did you mean full"]),
    ("model.sizes=3", ["model.sizes=3", "a list"]),
    ("model.sizes=[1,x]", ["model.sizes[1]='x'", "an integer"]),
    ("model.span=[1]", ["model.span", "2 items"]),
    ("model.labels.a=x", ["model.labels.a='x'", "an integer"]),
    ("limit=[1]", ["limit=", "an integer or text"]),
    ("model={width: 3}", ["model is a group", "base, tiny"]),
    ("seed.x=1", ["seed.x", "single value"]),
    ("seed=-1", ["seed=-1"]),
    ("model.heads=3", ["model.width=32 is not a multiple of model.heads=3"]),
    ("log.level=INFO", ["log.level='INFO'", "debug, info, warning, error"]),
    ("~steps", ["steps", "cannot be removed"]),
    ("steps", ["'steps'", "key=value"]),
    ("name=[a", ["'name=[a'", "key=value"]),
    ("seed=0,1", ["-m"]),
    ("hydra.run.dir=x", ["output="]),
    ("experiment=misspelt", ["model.widht", "did you mean model.width"]),
    ("experiment=broken", ["YAML", "broken.yaml"]),
    ("experiment=dangling", ["model.depht"]),
]


@pytest.mark.parametrize(("override", "parts"), MISTAKES, ids=[case[0] for case in MISTAKES])
def test_a_mistake_is_named_with_its_key_its_rule_and_the_way_out(
    composed, override: str, parts: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        composed(override)
    for part in parts:
        assert part in str(caught.value)
    assert caught.value.exit_code == 2


def test_all_mistakes_are_told_at_once(composed) -> None:
    with pytest.raises(ConfigError) as caught:
        composed("steps=x", "precision=fp8", "model.heads=two")
    assert all(key in str(caught.value) for key in ("steps=", "precision=", "model.heads="))


def test_a_missing_primary_file_names_it(config_package: str) -> None:
    with pytest.raises(ConfigError, match="evaluate"):
        compose(config_package, "evaluate", [], TrainConfig)


def test_a_missing_package_names_it() -> None:
    with pytest.raises(ConfigError, match="no_such_package"):
        compose("no_such_package.configs", "train", [], TrainConfig)


def test_a_required_field_is_asked_for(config_package: str, tmp_path: Path) -> None:
    (tmp_path / config_package / "predict.yaml").write_text("steps: 2\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"input is required: set input=…"):
        compose(config_package, "predict", [], NeedsInput)
    assert compose(config_package, "predict", ["input=a.cif"], NeedsInput).input == "a.cif"


def test_a_private_folder_adds_options_but_does_not_replace_ours(
    config_package: str, tmp_path: Path
) -> None:
    private = tmp_path / "mine"
    (private / "model").mkdir(parents=True)
    (private / "model" / "huge.yaml").write_text("width: 512\n", encoding="utf-8")
    (private / "model" / "tiny.yaml").write_text("width: 4\n", encoding="utf-8")

    def width(option: str) -> int:
        config = compose(config_package, "train", [f"model={option}"], TrainConfig, [private])
        return config.model.width

    assert width("huge") == 512
    assert width("tiny") == 32


def test_a_missing_private_folder_is_an_error(config_package: str) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        compose(config_package, "train", [], TrainConfig, ["no/such/folder"])


def test_groups_and_choices_are_reported(config_package: str) -> None:
    source = ConfigSource(package=config_package, name="train")
    composition = compose_tree(source, ["model=base"], TrainConfig)
    assert composition.options["model"] == ["base", "tiny"]
    assert composition.chosen["model"] == "base"
    assert "hydra" not in composition.options


def test_a_sweep_is_the_product_of_its_lists_in_order() -> None:
    assert expand_sweep(["a=1,2", "b=x", "c=p,q"]) == [
        ["a=1", "b=x", "c=p"],
        ["a=1", "b=x", "c=q"],
        ["a=2", "b=x", "c=p"],
        ["a=2", "b=x", "c=q"],
    ]


def test_values_that_look_like_code_stay_text(composed) -> None:
    assert composed("name='__import__(\"os\").getcwd()'").name.startswith("__import__")


def test_reading_dataclasses_imports_neither_hydra_nor_mindspore() -> None:
    code = (
        "import scimind.config, sys; print([m for m in ('hydra', 'mindspore') if m in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
