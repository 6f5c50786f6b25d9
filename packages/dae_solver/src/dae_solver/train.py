"""Train a trajectory operator for a grid: ``python -m dae_solver.train``.

Without arguments, the built-in nine-bus system is learned from trajectories that the classical
engine makes; ``case=…`` takes another one.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from dae_solver.config.train import TrainConfig
from scimind.cli import command
from scimind.errors import EXIT_OK

log = logging.getLogger(__name__)


def train(config: TrainConfig) -> int:
    """Simulate, train, calibrate the certificate, test on lines never seen, and write a report.

    The run folder (``output``) gets ``config.yaml``, ``provenance.json``, ``metrics.jsonl``,
    ``tensorboard/``, ``plots/``, ``checkpoints/``, and at the end ``operator.safetensors`` (which
    ``PowerSystem.simulate(solver="hybrid")`` and the commands take), ``results.json`` and
    ``report.html``.

    Args:
        config: The settings.

    Returns:
        The exit code.

    Raises:
        InputError: The case or a setting is wrong.
    """
    from scimind.parallel.launch import relaunch

    output = Path(config.output)
    code = relaunch(config.parallel, log_dir=output / "workers", arguments=[f"output={output}"])
    if code is not None:
        return code

    from dae_solver.fitting import fit_operator, prepare
    from scimind import device, provenance
    from scimind.parallel import is_main, process_group
    from scimind.provenance import cpu_seconds
    from scimind.train import RunFolder

    device.setup(
        config.device, config.precision, deterministic=config.deterministic, threads=config.threads
    )
    with process_group(), RunFolder(output, writer=is_main()) as run:
        begun = cpu_seconds()
        prepared = prepare(config)
        simulated = cpu_seconds()
        log.info(
            "%d windows of %d trajectories, %.0f s of CPU time",
            len(prepared.windows), config.data.scenarios, simulated - begun,
        )  # fmt: skip

        def record() -> None:
            if run.writer:
                provenance.write(output, config)

        fitted, operator = fit_operator(config, prepared, run, started=record)
        if run.writer:
            from dae_solver.finish import finish

            spent = {"simulation": simulated - begun, "training": fitted.progress.cpu_s}
            finish(config, prepared, operator, run, fitted, spent)
            provenance.finish(output)
    return EXIT_OK


main = command(
    train,
    schema=TrainConfig,
    config_package="dae_solver.configs",
    config_name="train",
    prog="python -m dae_solver.train",
    examples=(
        ("", "the built-in nine-bus system"),
        ("experiment=smoke", "a small network on few trajectories, to see that it works"),
        ("case=ieee39.json load='zip 0.4 0.3 0.3' model=small", "a larger grid from a file"),
        ("data.held_out='[5-7, 8-9]'", "choose the lines that training does not see"),
    ),
)

if __name__ == "__main__":
    sys.exit(main())
