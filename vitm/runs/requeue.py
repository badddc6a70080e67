"""Runs in a job of Slurm: back to the queue before the time limit."""

from __future__ import annotations

import os
import signal
import subprocess

from vitm.console import console


def go_on_later(trained: bool, measuring: bool = False) -> int:
    """Put this job, or this element of an array, back into the queue; return an exit status.

    Args:
        trained: Whether this process has made a step: a job that comes no nearer to its end must not start again.
        measuring: Whether its training was over.

    Raises:
        ValueError: Slurm refused.
    """
    out = console()
    if not trained:
        early = "the measurement, which begins anew each time, was not done" if measuring else "no step was made"
        out.print(f"error: {early} within the job's time limit; give it a longer one", style="bold red", soft_wrap=True)
        return 1
    element = [os.environ[k] for k in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID") if k in os.environ]
    job = "_".join(element) if len(element) == 2 else os.environ["SLURM_JOB_ID"]
    out.print("The time limit is near: the run is saved and goes back to the queue.")
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # by which Slurm ends this process when it obeys
    done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"scontrol requeue {job} failed: {done.stderr.strip()}; submit the same script to go on")
    return 0
