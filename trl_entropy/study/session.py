"""A study from beginning to end: what there is to do, the queue with its live table, what came of it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table

from ..tasks import TASKS
from .matrix import START, Study, TaskPlan
from .outcome import Outcome, read_outcomes
from .run_arguments import check, check_bases
from .run_queue import Job, jobs_of, sole_owner, work_through


def processes(jobs: int | None, device: str) -> int:
    """Runs at a time: as asked, else one a core, or one on a GPU.

    Raises:
        ValueError: for less than one.
    """
    if jobs is not None and jobs < 1:
        raise ValueError(f"--jobs must be at least 1, got {jobs}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return jobs or (cores if device == "cpu" else 1)


def seconds_per_batch(job: Job, finished: Sequence[Outcome]) -> tuple[float, bool]:
    """Seconds a batch with its evaluations, and whether they are measured: by runs of the method, else of the task."""
    runs = [run for run in finished if run.plan["task"] == job.plan.task and run.plan["batches"]]
    runs = [run for run in runs if run.plan["method"] == job.plan.method] or runs
    if runs:
        return sum(run.content["seconds"] / run.plan["batches"] for run in runs) / len(runs), True
    return TASKS[job.plan.task].seconds_per_batch * job.plan.prompts_per_batch / TaskPlan.prompts_per_batch, False


def hours_left(jobs: Sequence[Job], finished: Sequence[Outcome], at_once: int) -> tuple[float, bool]:
    """Hours until all waiting and running jobs are done, and whether every one of them rests on a measurement."""
    seconds, measured = 0.0, True
    for job in jobs:
        if job.state in ("waiting", "running") and job.plan.method != START:
            each, known = seconds_per_batch(job, finished)
            seconds += each * (job.plan.batches - job.progress.get("done", 0.0))
            measured &= known
    return seconds / at_once / 3600, measured


def describe(study: Study, at_once: int | None, device: str, console: Console) -> None:
    """Print what there is to do, and how long it takes."""
    jobs, finished, count = jobs_of(study), read_outcomes(study.results), processes(at_once, device)
    table = Table("task", "method", "runs", "done", "s a batch", "hours of one process", title=study.name)
    groups: dict[tuple[str, str], list[Job]] = {}
    for job in jobs:
        if job.plan.method != START:
            groups.setdefault((job.plan.task, job.plan.label), []).append(job)
    for (task, label), group in groups.items():
        (seconds, measured), (hours, _) = seconds_per_batch(group[0], finished), hours_left(group, finished, 1)
        done = sum(job.state == "done" for job in group)
        note = "" if measured else " (estimate)"
        table.add_row(task, label, str(len(group)), str(done), f"{seconds:.1f}{note}", f"{hours:.2f}")
    console.print(table)
    hours, measured = hours_left(jobs, finished, count)
    basis = "measured" if measured else "partly the tasks' estimates, for one thread of a quiet machine"
    console.print(f"{hours:.1f} hours are left with {count} at a time: {basis}.", highlight=False)


def live_table(name: str, jobs: Sequence[Job], hours: float) -> Table:
    """One row a running or failed job, and the counts; a study of hundreds of runs fits a screen."""
    states = [job.state for job in jobs]
    counts = ", ".join(f"{states.count(s)} {s}" for s in ("done", "running", "waiting", "failed") if s in states)
    left = f"; about {hours:.1f} h left" if hours >= 1 else f"; about {60 * hours:.0f} min left" if hours else ""
    table = Table(title=f"{name}: {counts}{left}", title_justify="left")
    for column in ("task", "run", "progress", "s a batch", ""):
        table.add_column(column, justify="right" if column == "s a batch" else "left", no_wrap=column != "")
    for job in jobs:
        if job.state == "running":
            done, total = job.progress.get("done", 0), max(1, job.progress.get("total", 1))
            bar = f"{'━' * round(12 * done / total):<12} {done:.0f}/{total:.0f}" if job.progress else "starting"
            here = done - (job.first or 0)
            speed = f"{(time.monotonic() - job.began) / here:.1f}" if here and job.plan.method != START else ""
            table.add_row(job.plan.task, job.plan.name, bar, speed, job.progress.get("note", ""))
        elif job.state == "failed":
            table.add_row(job.plan.task, job.plan.name, "[red]failed[/red]", "", job.error)
    return table


def carry_out(study: Study, at_once: int | None, device: str, console: Console) -> int:
    """Carry out what is left of a study; the exit status: 0, 1 where a run failed, 130 on Ctrl-C.

    Raises:
        ValueError: for a study that would be refused, before anything is trained, or that runs already.
    """
    count = processes(at_once, device)
    check(study)
    check_bases(study)
    jobs = jobs_of(study)
    finished: list[Outcome] = []
    known = -1

    def show() -> None:
        nonlocal known, finished
        done = sum(job.state == "done" for job in jobs)
        if done != known:
            known, finished = done, read_outcomes(study.results)
        live.update(live_table(study.name, jobs, hours_left(jobs, finished, count)[0]))

    try:
        with sole_owner(study.output, wait=False), Live(console=console, refresh_per_second=2) as live:
            work_through(jobs, study.cache_dir, count, device, show)
    except BlockingIOError as error:
        raise ValueError(f"{study.output} belongs to a study that is running: wait, or give --output") from error
    except KeyboardInterrupt:
        console.print("Stopped. The same command goes on from the checkpoints.", highlight=False)
        return 130
    failed = [job for job in jobs if job.state == "failed"]
    for job in failed:
        console.print(f"failed: {job.plan.task} {job.plan.name}: {job.error}", highlight=False, markup=False)
    done = sum(job.state == "done" for job in jobs)
    console.print(f"{done} of {len(jobs)} runs are in {study.results}", highlight=False)
    return 1 if failed else 0
