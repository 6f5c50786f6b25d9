"""Configurations: composed from YAML by Hydra, checked against keyword-only dataclasses, saved.

Example:
    >>> from scimind.config import compose, save_resolved, load_resolved
    >>> config = compose("biomol.configs", "train", ["model=base", "seed=1"], TrainConfig)
    >>> save_resolved(config, "outputs/run/config.yaml")
    >>> load_resolved("outputs/run/config.yaml", TrainConfig) == config
    True
"""

from scimind.config.binding import bind
from scimind.config.composition import (
    Composition,
    ConfigSource,
    compose,
    compose_tree,
    expand_sweep,
)
from scimind.config.parallel import ParallelConfig
from scimind.config.run import (
    DeviceConfig,
    DeviceTarget,
    LogConfig,
    LogLevel,
    Precision,
    RunConfig,
)
from scimind.config.saved import load_resolved, read_yaml, save_resolved
from scimind.config.schema import default_tree, to_plain, walk
from scimind.config.training import (
    CheckpointConfig,
    LoopConfig,
    NanPolicy,
    OptimizerConfig,
    OptimizerName,
    ScheduleConfig,
    ScheduleName,
)

__all__ = [
    "CheckpointConfig",
    "Composition",
    "ConfigSource",
    "DeviceConfig",
    "DeviceTarget",
    "LogConfig",
    "LogLevel",
    "LoopConfig",
    "NanPolicy",
    "OptimizerConfig",
    "OptimizerName",
    "ParallelConfig",
    "Precision",
    "RunConfig",
    "ScheduleConfig",
    "ScheduleName",
    "bind",
    "compose",
    "compose_tree",
    "default_tree",
    "expand_sweep",
    "load_resolved",
    "read_yaml",
    "save_resolved",
    "to_plain",
    "walk",
]
