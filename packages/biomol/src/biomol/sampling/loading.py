"""From a checkpoint to an engine."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from biomol.config.model import ModelConfig
from biomol.data.scaling import PropertyScale
from biomol.model.network import BioMol
from biomol.sampling.engine import BioMolEngine
from scimind import device as devices
from scimind import ops
from scimind.errors import CheckpointError
from scimind.provenance import config_hash
from scimind.train import find, load_network, manifest_digest, read_state

_log = logging.getLogger(__name__)


def load(checkpoint: str, *, device: str, precision: str) -> BioMolEngine:
    """See `biomol.sampling.load_engine`."""
    folder = find(checkpoint)
    state = read_state(folder)
    config = _model_config(folder, state)
    devices.setup(device, precision)
    network = BioMol(config)
    load_network(network, folder)
    _log.info("model %s of %s, step %d", config.name, folder, state["step"])
    return BioMolEngine(
        network, PropertyScale.of_model(config), describe(network, folder, state, precision)
    )


def describe(
    network: BioMol, folder: Path, state: dict[str, Any], precision: str
) -> dict[str, Any]:
    """Facts about a network in use and its checkpoint, for result files.

    Runs that differ in nothing but the seed have one ``config_hash``: a leaderboard averages them.
    """
    settings = state["settings"]
    shared = {key: value for key, value in settings.items() if key != "seed"}
    return {
        "model": f"biomol-{network.config.name}",
        "parameters": sum(int(p.size) for p in network.get_parameters()),
        "checkpoint_hash": manifest_digest(folder),
        "step": state["step"],
        "seed": state.get("seed"),
        "precision": precision,
        "settings": settings,
        "config_hash": config_hash(shared),
        "ops": ops.chosen(),
        "notes": [],
    }


def _model_config(folder: Path, state: dict[str, Any]) -> ModelConfig:
    try:
        return ModelConfig(**state["settings"]["model"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{folder} does not hold a biomol model ({error}); give a checkpoint written by "
            "python -m biomol.train"
        ) from error
