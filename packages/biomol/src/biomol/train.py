"""Train one multimodal model: ``python -m biomol.train``.

Without arguments, the ``tiny`` model learns from the Chemical Component Dictionary that comes
along; ``data=real data.root=<folder>`` takes structures, molecules, sequences and tables of yours.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from biomol.config.train import TrainConfig
from scimind.cli import command
from scimind.errors import EXIT_OK

if TYPE_CHECKING:
    from biomol.data.preparation import Prepared
    from biomol.sampling.engine import BioMolEngine
    from scimind.train import FitReport, RunFolder

_log = logging.getLogger(__name__)

VALIDATION_RECORDS = 128
"""Validation records per data set that are scored during training."""


def train(config: TrainConfig) -> int:
    """Train, select on validation data, score on test data, and write a report.

    The run folder (``output``) gets ``config.yaml``, ``provenance.json``, ``rejected.jsonl``,
    ``metrics.jsonl``, ``tensorboard/``, ``plots/``, ``checkpoints/``, and at the end
    ``results.json``, ``predictions.csv``, ``structures/`` and ``report.html``.

    Args:
        config: The settings.

    Returns:
        The exit code.
    """
    from scimind.parallel.launch import relaunch

    output = Path(config.output)
    code = relaunch(config.parallel, log_dir=output / "workers", arguments=[f"output={output}"])
    if code is not None:
        return code

    from biomol.data.preparation import prepare
    from biomol.io.rejection import write_rejected
    from scimind import device, provenance
    from scimind.parallel import is_main, process_group
    from scimind.train import RunFolder

    device.setup(
        config.device,
        config.precision,
        deterministic=config.deterministic,
        threads=config.threads,
    )
    with process_group(), RunFolder(output, writer=is_main()) as run:
        prepared = prepare(config.data)
        config.model = prepared.scale.configure(config.model)

        def record() -> None:
            if run.writer:
                provenance.write(output, config)
                write_rejected(output / "rejected.jsonl", prepared.rejected)

        fitted, engine = run_training(config, prepared, run, started=record)
        if run.writer:
            from biomol.finish import finish

            finish(config, prepared, engine, run, fitted)
            provenance.finish(output)
    return EXIT_OK


def run_training(
    config: TrainConfig,
    prepared: Prepared,
    run: RunFolder,
    *,
    started: Callable[[], None] | None = None,
) -> tuple[FitReport, BioMolEngine]:
    """Fit the network and return it with the parameters of the best checkpoint.

    Args:
        config: The settings, with the outputs of the model filled in.
        prepared: The data.
        run: The entered run folder.
        started: Called once the folder is known to belong to this run.
    """
    from biomol.data.sources import stream
    from biomol.losses import BioMolLoss
    from biomol.model.network import BioMol
    from biomol.sampling.engine import BioMolEngine
    from biomol.sampling.loading import describe
    from biomol.validation import evaluate_part, summary
    from scimind.data import FailureLog, Mixture, Prefetch, Shard
    from scimind.parallel import rank, world
    from scimind.parallel.data_parallel import gradient_reducer, largest
    from scimind.train import Hooks, fit, load_network, make_train_step, read_state

    network = BioMol(config.model, config.seed)
    network.denoiser.prior.start_at(prepared.offsets())
    step = make_train_step(
        BioMolLoss(network, config.loss),
        config.optimizer,
        accumulate=config.accumulate,
        loss_scale=config.precision == "fp16",
        reduce_gradients=gradient_reducer(config.parallel.fuse_mb),
    )
    failures = FailureLog()
    used = [source for source in prepared.sources if source.weight > 0]
    streams = {
        source.name: stream(
            source,
            prepared.scale,
            seed=config.seed,
            max_batch=config.data.max_batch,
            max_pairs=config.data.max_pairs,
            shard=Shard(rank(), world()),
            failures=failures,
        )
        for source in used
    }
    mixture = Mixture(streams, {source.name: source.weight for source in used}, config.seed)
    data = Prefetch(mixture) if config.data.workers else mixture
    engine = BioMolEngine(network, prepared.scale)

    def evaluate(_: object) -> dict[str, float]:
        return summary(evaluate_part(engine, prepared, "valid", limit=VALIDATION_RECORDS))

    _log.info(
        "%s: %.2f M parameters, %d sources, %d tasks on the property track",
        config.model.name, sum(p.size for p in network.get_parameters()) / 1e6, len(used),
        len(config.model.properties),
    )  # fmt: skip
    fitted = fit(
        step,
        data,
        config,
        run,
        Hooks(evaluate=evaluate, started=started, agree=largest if world() > 1 else None),
    )
    if failures.failures:
        _log.warning("%d training examples could not be used", len(failures.failures))
    if run.writer:
        load_network(network, fitted.best)
        engine = BioMolEngine(
            network,
            prepared.scale,
            describe(network, fitted.best, read_state(fitted.best), config.precision),
        )
    return fitted, engine


main = command(
    train,
    schema=TrainConfig,
    config_package="biomol.configs",
    config_name="train",
    prog="python -m biomol.train",
    examples=[
        ("", "train the tiny model on the data that comes along"),
        ("experiment=smoke", "a small network on 200 components, to see that it works"),
        ("data=real data.root=my_data", "structures, molecules, sequences and tables of yours"),
        ("model=small device=ascend precision=fp16", "a larger model on an NPU"),
    ],
)

if __name__ == "__main__":
    sys.exit(main())
