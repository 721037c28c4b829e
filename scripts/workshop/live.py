"""A training job as a picture that is drawn again while it runs, for notebooks.

    description = live.watch(session, job_name)

Everything comes from AWS (DescribeTrainingJob, CloudWatch Logs), so it works for any training job
in the account, whoever started it. Interrupting the cell does not stop the job.
"""

from __future__ import annotations

import textwrap
import time
from datetime import datetime, timezone
from typing import Any

from workshop import costs, jobs
from workshop.sdk_version import Session

WIDTH = 88  # characters; a longer line of the log is cut


def watch(session: Session, job_name: str, lines: int = 6, poll_s: float = 1.0) -> jobs.Description:
    """Show a job until it has ended, and return its last description.

    The picture holds its statuses, the seconds and dollars so far, its metrics, and the last
    ``lines`` of its log. It is drawn every ``poll_s`` seconds. A job that failed or was stopped has
    ended too. Raises jobs.JobError when there is no job of that name.
    """
    tail = jobs.LogTail(session, job_name)
    log: list[str] = []
    metrics: dict[str, list[float]] = {}
    picture = _Picture()
    while True:
        job = jobs.describe(session, job_name)
        new = tail.new()  # after the description: when that is final, this is the complete log
        log.extend(new)
        for name, value in jobs.metric_values(job, new):
            metrics.setdefault(name, []).append(value)
        picture.show(draw(job, metrics, log, datetime.now(timezone.utc), lines))
        if job["TrainingJobStatus"] not in jobs.RUNNING:
            return job
        time.sleep(poll_s)


def draw(
    job: jobs.Description,
    metrics: dict[str, list[float]],
    log: list[str],
    now: datetime,
    lines: int,
) -> str:
    """Return the picture as text."""
    parts = [
        f"{job['TrainingJobName']}   {job['TrainingJobStatus']}",
        "  " + "   ".join(_statuses(job, now)),
        f"  {_money(job, now)}",
    ]
    if reason := job.get("FailureReason"):
        parts += textwrap.wrap(" ".join(reason.split()), WIDTH, initial_indent="  ", max_lines=4)
    width = max(map(len, metrics), default=0)
    for name, values in sorted(metrics.items()):
        least, most = min(values), max(values)
        parts.append(
            f"  {name:{width}}  {values[-1]:10.5g}   "
            f"({len(values)} values, {least:.5g} to {most:.5g})"
        )
    if log:
        parts.append(f"  the last of {len(log)} lines:")
        filled = [line for line in log[-10 * lines :] if line.strip()]
        parts += [f"  | {line}"[:WIDTH] for line in filled[-lines:]]
    return "\n".join(parts)


def _statuses(job: jobs.Description, now: datetime) -> list[str]:
    """Return `Starting 3 s`, `Training 12 s` …; of the last status its name alone."""
    steps = job.get("SecondaryStatusTransitions") or []
    texts = []
    for step in steps:
        seconds = (step.get("EndTime", now) - step["StartTime"]).total_seconds()
        ended = step is steps[-1] and job["TrainingJobStatus"] not in jobs.RUNNING
        texts.append(step["Status"] if ended else f"{step['Status']} {max(seconds, 0):.0f} s")
    return texts


def _money(job: jobs.Description, now: datetime) -> str:
    try:
        cost = costs.so_far(job, now)
    except costs.CostError:
        kind = job["ResourceConfig"]["InstanceType"]
        return f"no price is known for {kind}"
    return f"billable so far: {cost}"


class _Picture:
    """An area of the notebook's output that can be drawn again."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, text: str) -> None:
        from IPython.display import display

        content = {"text/plain": text}
        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)
