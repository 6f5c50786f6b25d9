"""From YAML groups and ``key=value`` overrides to a checked dataclass.

Hydra composes; the dataclass decides. Defaults live in the dataclass, choices in YAML groups, and
neither Hydra's run-time settings nor ``_target_`` strings are used. OmegaConf's structured
configs are not used either, because they know no ``Literal``.
"""

from __future__ import annotations

import warnings
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from scimind.config.binding import bind, did_you_mean, unknown_key
from scimind.config.schema import default_tree, mapping_value, nested_schema, schema_types
from scimind.errors import ConfigError

if TYPE_CHECKING:
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.core.override_parser.types import Override

T = TypeVar("T")

SHARED_GROUPS = "scimind.configs"


@dataclass(frozen=True, kw_only=True)
class ConfigSource:
    """Where the YAML of one command lives.

    Attributes:
        package: Importable package that holds the primary file, such as ``biomol.configs``.
        name: Primary file without its suffix, such as ``train``.
        directories: Further folders of groups, searched after the package's own.
    """

    package: str
    name: str
    directories: tuple[str, ...] = ()


def compose(
    config_package: str,
    config_name: str,
    overrides: Sequence[str],
    schema: type[T],
    config_dirs: Sequence[str | Path] = (),
) -> T:
    """Compose a configuration and check it.

    Args:
        config_package: Package that holds the primary file, such as ``"biomol.configs"``.
        config_name: Primary file without its suffix.
        overrides: ``key=value`` for a field, ``group=option`` for a group of YAML files, in Hydra's
            grammar.
        schema: Keyword-only dataclass that the result must fit; it also holds the defaults.
        config_dirs: Folders with more groups; the package's own files come first.

    Returns:
        The configuration, with interpolations resolved.

    Raises:
        ConfigError: A key, type, choice, range, group, option or file is wrong; the message has the
            full key, what is allowed, and the nearest spelling.
    """
    source = ConfigSource(
        package=config_package, name=config_name, directories=tuple(map(str, config_dirs))
    )
    return bind(compose_tree(source, overrides, schema).tree, schema)


@dataclass(frozen=True, kw_only=True)
class Composition:
    """What Hydra made of the YAML and the overrides, before the schema has its say.

    Attributes:
        tree: Plain values with interpolations resolved; ``???`` where a value is required.
        options: The options of every group.
        chosen: The option taken, or none, in each group of the defaults list.
    """

    tree: dict[str, Any]
    options: dict[str, list[str]]
    chosen: dict[str, str | None]


def compose_tree(source: ConfigSource, overrides: Sequence[str], schema: type) -> Composition:
    """Compose without checking the values.

    Args:
        source: Where the YAML lives.
        overrides: As for `compose`; their keys, groups and options are checked.
        schema: Dataclass that holds the defaults.

    Raises:
        ConfigError: The YAML cannot be read, or an override names nothing that exists.
    """
    from hydra.types import RunMode
    from omegaconf import OmegaConf, open_dict

    with _hydra(source) as loader:
        options = _options(loader)
        listed = loader.compute_defaults_list(
            config_name=source.name, overrides=[], run_mode=RunMode.RUN
        ).overrides.known_choices
        config = loader.load_configuration(
            config_name=source.name,
            overrides=[
                _checked(override, options, schema, listed) for override in _parse(overrides)
            ],
            run_mode=RunMode.RUN,
            from_shell=False,
        )
        taken = config.hydra.runtime.choices
        chosen = {
            group: None if taken.get(group) is None else str(taken[group])
            for group in options
            if group in listed or group in taken
        }
        with open_dict(config):
            del config["hydra"]
        merged = OmegaConf.merge(OmegaConf.create(default_tree(schema)), config)
        tree = OmegaConf.to_container(merged, resolve=True, throw_on_missing=False)
    assert isinstance(tree, dict)
    return Composition(
        tree={str(key): value for key, value in tree.items()}, options=options, chosen=chosen
    )


def expand_sweep(overrides: Sequence[str]) -> list[list[str]]:
    """Every combination of comma lists, in order: ``a=1,2 b=x`` gives two lists of overrides.

    Raises:
        ConfigError: An override does not parse.
    """
    runs: list[list[str]] = [[]]
    for override in _parse(overrides):
        values = (
            [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
            if override.is_sweep_override()
            else [str(override.input_line)]
        )
        runs = [[*run, value] for run in runs for value in values]
    return runs


def override_values(overrides: Sequence[str], schema: type) -> list[tuple[list[str], Any]]:
    """Key parts and value of each ``key=value``, for fields that the schema has.

    Raises:
        ConfigError: An override does not parse, or names no field.
    """
    pairs: list[tuple[list[str], Any]] = []
    for override in _parse(overrides):
        _checked(override, {}, schema, ())
        pairs.append((str(override.key_or_group).split("."), _plain_value(override.value())))
    return pairs


def _plain_value(value: Any) -> Any:
    """An override's value without Hydra's record of its quotes."""
    from hydra.core.override_parser.types import QuotedString

    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_plain_value(item) for item in value]
    if isinstance(value, dict):
        return {_plain_value(key): _plain_value(item) for key, item in value.items()}
    return value


@contextmanager
def _hydra(source: ConfigSource) -> Iterator[ConfigLoaderImpl]:
    """A config loader over the package, the shared groups and the given folders.

    Raises:
        ConfigError: For every way in which reading or composing YAML fails.
    """
    # Imported here: half a second that a program which only reads dataclasses need not pay.
    import yaml
    from hydra import version
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.utils import create_config_search_path
    from hydra.core.utils import setup_globals
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    for folder in source.directories:
        if not Path(folder).is_dir():
            raise ConfigError(
                f"config folder {folder} does not exist; give a folder that holds groups such as "
                "experiment/my_run.yaml"
            )
    setup_globals()
    version.setbase("1.3")
    path = create_config_search_path(f"pkg://{source.package}")
    schema_entry = path.get_path().pop()
    path.append("scimind", f"pkg://{SHARED_GROUPS}")
    for folder in source.directories:
        path.append("command-line", f"file://{Path(folder).resolve()}")
    path.get_path().append(schema_entry)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield ConfigLoaderImpl(config_search_path=path)
    except yaml.YAMLError as error:
        raise ConfigError(f"a config file is not valid YAML: {error}") from error
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_first_cause(error)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"a config file is not UTF-8: {error}") from error
    except RecursionError as error:
        raise ConfigError("a config file is nested too deeply to read") from error


def _parse(overrides: Sequence[str]) -> list[Override]:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    parsed: list[Override] = []
    for text in overrides:
        try:
            parsed += parser.parse_overrides([text])
        except HydraException as error:
            raise ConfigError(
                f"cannot read {text!r} as key=value; quote values that hold spaces, commas or "
                f"brackets, as in key=\"'a, b'\" ({str(error).splitlines()[0]})"
            ) from error
    return parsed


def _checked(
    override: Override, options: dict[str, list[str]], schema: type, listed: Container[str]
) -> str:
    """The override for Hydra, after its group and option, or its field, was found to exist."""
    key = str(override.key_or_group)
    line = str(override.input_line)
    if override.is_sweep_override():
        raise ConfigError(
            f"{line} lists several values; add -m to run each, or write {key}=[…] for one list"
        )
    if key == "hydra" or key.startswith("hydra."):
        raise ConfigError(f"{line}: Hydra's own settings are not used; set output= and log.level=")
    if key in options:
        _check_option(override, options)
        # A group that the primary file does not list is appended; Hydra would want to be told.
        new = not override.is_delete() and key not in listed and not line.startswith("+")
        return f"+{line}" if new else line
    if override.is_delete():
        raise ConfigError(
            f"{line}: a field cannot be removed; set it to null where that is allowed"
        )
    _check_field(key, schema, options)
    # The schema has just vouched for the key, which need not stand in any YAML file.
    return "++" + line.lstrip("+")


def _check_option(override: Override, options: dict[str, list[str]]) -> None:
    group = str(override.key_or_group)
    chosen = override.value()
    for option in chosen if isinstance(chosen, list) else [chosen]:
        if isinstance(option, dict):
            raise ConfigError(
                f"{group} is a group: choose one of {', '.join(options[group])} and set its fields "
                f"as {group}.field=value"
            )
        if override.is_delete() or option is None or "/" in str(option):
            continue
        if str(option) not in options[group]:
            hint = did_you_mean(str(option), options[group])
            raise ConfigError(
                f"{group}={option}: no such option{hint} (options: {', '.join(options[group])})"
            )


def _check_field(key: str, schema: type, options: dict[str, list[str]]) -> None:
    kind: Any = schema
    path: list[str] = []
    for part in key.split("."):
        path.append(part)
        if kind is Any:
            return
        if inner := nested_schema(kind):
            kinds = schema_types(inner)
            if part not in kinds:
                message = unknown_key(".".join(path), schema, kinds)
                groups = sorted(set(options) - set(kinds))
                extra = f"; groups: {', '.join(groups)}" if len(path) == 1 and groups else ""
                raise ConfigError(message + extra)
            kind = kinds[part]
        elif (value_kind := mapping_value(kind)) is not None:
            kind = value_kind
        else:
            raise ConfigError(
                f"{'.'.join(path[:-1])} is a single value; {key} is not a field of it"
            )


def _options(loader: ConfigLoaderImpl) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}

    def visit(group: str) -> None:
        names = sorted(loader.get_group_options(group)) if group else []
        if names:
            found[group] = names
        for child in sorted(loader.list_groups(group)):
            visit(f"{group}/{child}" if group else child)

    for group in sorted(loader.list_groups("")):
        # Hydra adds its own groups, and Python its cache folder.
        if group != "hydra" and not group.startswith("_"):
            visit(group)
    return found


def _first_cause(error: BaseException) -> str:
    """Text of the innermost error that has one; Hydra wraps OmegaConf's in an empty one."""
    texts: list[str] = []
    current: BaseException | None = error
    while current is not None:
        if str(current).strip():
            texts.append(str(current).strip())
        current = current.__cause__
    lines = texts[-1].splitlines() if texts else [type(error).__name__]
    return "cannot compose the configuration: " + " ".join(
        line.strip() for line in lines if "full_key" not in line and "object_type" not in line
    )
