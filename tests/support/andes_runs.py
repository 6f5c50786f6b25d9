"""Runs ANDES; called with a Python that has it, so that nothing of it is imported by our own.

python andes_runs.py convert CASE OUT.json      CASE is a path, or relative to ANDES' cases
python andes_runs.py flow CASE                  prints the power flow as JSON
python andes_runs.py run CASE EVENTS.json OUT.npz T_END STEP
python andes_runs.py eigs CASE OUT.npz
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")


def load(case: str, setup: bool = True):
    import andes
    from andes.utils.paths import get_case

    andes.config_logger(50)
    path = case if Path(case).exists() else get_case(case)
    return andes.load(path, setup=setup, no_output=True, default_config=True)


def convert(case: str, out: str) -> None:
    from andes.io.json import write

    write(load(case), out, overwrite=True)


def run(case: str, events: str, out: str, t_end: str, step: str) -> None:
    import numpy as np

    system = load(case, setup=False)
    for model, row in json.loads(Path(events).read_text()):
        system.add(model, dict(row))
    system.setup()
    for model in (system.Toggle, system.Fault, system.Alter):
        for name in list(model.idx.v):
            if not str(name).startswith("my"):
                model.alter("u", name, 0)
    assert system.PFlow.run()
    config = system.TDS.config
    config.tf, config.tstep, config.tol = float(t_end), float(step), 1e-6
    config.no_tqdm, config.criteria, config.fixt = 1, 0, 1
    system.TDS.init()
    done = system.TDS.run()
    x, y = system.dae.ts.x, system.dae.ts.y
    delta, omega, names = [], [], []
    for model in (system.GENCLS, system.GENROU):
        if model.n:
            delta.append(x[:, model.delta.a])
            omega.append(x[:, model.omega.a])
            names += [str(name) for name in model.idx.v]
    p, q = [], []
    for model in (system.REGCA1, system.REGCP1):
        if model.n:
            p.append(y[:, model.Pe.a])
            q.append(y[:, model.Qe.a])
    none = np.zeros((len(y), 0))
    np.savez(
        out,
        p=np.concatenate([none, *p], 1),
        q=np.concatenate([none, *q], 1),
        done=bool(done),
        t=system.dae.ts.t,
        delta=np.concatenate(delta, 1),
        omega=np.concatenate(omega, 1),
        v=y[:, system.Bus.v.a],
        names=np.array(names),
    )


def eigs(case: str, out: str) -> None:
    import numpy as np

    system = load(case)
    assert system.PFlow.run()
    system.TDS.init()
    system.EIG.run()
    np.savez(out, values=np.asarray(system.EIG.mu).ravel())


if __name__ == "__main__":
    {"convert": convert, "run": run, "eigs": eigs}[sys.argv[1]](*sys.argv[2:])
