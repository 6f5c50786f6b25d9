"""Power systems: records, readers, models, scenarios."""

from dae_solver.physics.abstention import Calibration
from dae_solver.physics.clearing import ClearingTimes, Fault
from dae_solver.physics.disturbances import (
    Disturbance,
    fault,
    generator_trip,
    line_trip,
    load_pulse,
    load_step,
    pref_step,
    trip_reclose,
    unsuccessful_reclose,
    vref_step,
)
from dae_solver.physics.grid import PowerSystem
from dae_solver.physics.models.loads import LoadModel
from dae_solver.physics.relays import under_frequency_shedding
from dae_solver.physics.scenarios import Scenarios
from dae_solver.physics.screening import Screening
from dae_solver.physics.smallsignal import Modes
from dae_solver.physics.trajectories import Trajectories

__all__ = [
    "Calibration",
    "ClearingTimes",
    "Disturbance",
    "Fault",
    "LoadModel",
    "Modes",
    "PowerSystem",
    "Scenarios",
    "Screening",
    "Trajectories",
    "fault",
    "generator_trip",
    "line_trip",
    "load_pulse",
    "load_step",
    "pref_step",
    "trip_reclose",
    "under_frequency_shedding",
    "unsuccessful_reclose",
    "vref_step",
]
