"""Answer scenarios with a trained operator: ``python -m dae_solver.predict operator=… event=…``.

The output folder holds what ``python -m dae_solver.simulate`` writes: ``summary.csv`` (with the
certificate of each scenario and how it was found), ``trajectories.csv``, ``events.csv`` and
``report.html``.
"""

from __future__ import annotations

import logging
import time

from dae_solver.config.predict import PredictConfig
from scimind.cli import command

log = logging.getLogger(__name__)


def predict(config: PredictConfig) -> int:
    """Predicts the trajectories of scenarios, each with a bound of its error.

    Args:
        config: The settings.

    Returns:
        The exit code; 3 where a scenario could not be followed to its end.

    Raises:
        InputError: The operator, the case, an event, a relay or a number of scenarios is wrong.
    """
    from dae_solver.answers import asked, relays, write
    from dae_solver.trained import Trained

    trained = Trained.load(config.operator, case=config.case, load=config.load, dyr=config.dyr)
    scenarios = asked(trained.grid, config)
    started = time.process_time()
    runs = trained.grid.simulate(
        scenarios,
        t_end=config.t_end,
        every=config.every,
        solver="hybrid",
        operator=trained.operator,
        certify=config.certify,
        audit=config.audit,
        state_events=relays(trained.grid, config),
    )
    spent = time.process_time() - started
    return write(
        trained.grid, runs, config, spent, method=f"operator, within {config.certify:g} deg"
    )


main = command(
    predict,
    schema=PredictConfig,
    config_package="dae_solver.configs",
    config_name="predict",
    prog="python -m dae_solver.predict",
    examples=(
        ("operator=outputs/run", "a fault on the grid of the training"),
        (
            "operator=outputs/run event='[fault bus 7 t 1 clear 0.1, load_step bus 5 t 1 p 1.2]'",
            "two scenarios",
        ),
        (
            "operator=outputs/run event='load_step bus 5 t 1 p 1.5' "
            "relays='[shedding below 59.7 share 0.1]'",
            "under-frequency relays",
        ),
        ("operator=outputs/run certify=0.1 audit=1", "tighter, and all of it integrated again"),
    ),
)

if __name__ == "__main__":
    raise SystemExit(main())
