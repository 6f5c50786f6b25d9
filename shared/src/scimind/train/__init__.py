"""Training: optimizer, schedule, jitted step, loop, checkpoints, logs, signals."""
