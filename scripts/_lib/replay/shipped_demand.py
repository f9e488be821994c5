"""The demand that ships with `aitbc marketplace price backtest`, derived from the trace.

Run as a program, it writes the file anew.

Rules: every TASK_STEP-th task of the trace's busy days, from FIRST_DAY on. It comes at its own
time, by a clock that shows CLOCK_AT_START at the trace's first second, so that the twelve busiest
hours in a row are 9:00 to 21:00. It stays as long as it did, in whole minutes, LEAST_HOURS at least
and MOST_HOURS at most. The most that its buyer pays, which the trace does not know, lies between
half and double of the base price, evenly on a logarithmic scale, drawn from SEED.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path

from replay import trace

SHIPPED = Path(__file__).resolve().parents[3] / "cli/src/aitbc/data/demand/openb-gpu-2023.csv"
TASK_STEP = 20
FIRST_DAY = 115
FIRST_DATE = datetime(2026, 1, 5)  # noqa: DTZ001  (on the clock of whatever region)
CLOCK_AT_START = timedelta(hours=16)
LEAST_HOURS, MOST_HOURS = 1, 24
SEED = 2023


def text() -> str:
    """The file's content."""
    draw = random.Random(SEED)  # noqa: S311  (no secret)
    lines = ["start,duration,max_percent"]
    busy = [task for task in trace.tasks() if task.created_at >= FIRST_DAY * 86_400]
    for task in sorted(busy, key=lambda task: (task.created_at, task.name))[::TASK_STEP]:
        start = FIRST_DATE + CLOCK_AT_START + timedelta(seconds=task.created_at, days=-FIRST_DAY)
        minutes = max(LEAST_HOURS * 60, min(MOST_HOURS * 60, -(-task.seconds // 60)))
        percent = round(100 * 2 ** draw.uniform(-1, 1))
        lines.append(f"{start.isoformat()},{minutes}m,{percent}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    SHIPPED.write_text(text(), encoding="utf-8")
