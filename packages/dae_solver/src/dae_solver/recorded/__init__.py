"""The equations of a grid as operations, from which MindSpore's and C++ code are written."""

from dae_solver.recorded.equations import Equations
from dae_solver.recorded.program import Program
from dae_solver.recorded.recording import Recorded, Recording, RecordingMath

__all__ = ["Equations", "Program", "Recorded", "Recording", "RecordingMath"]
