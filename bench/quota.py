# SPDX-License-Identifier: Apache-2.0
"""A share of the machine's cores for a process and its children, held by the kernel (cgroup, version 1 or 2)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PERIOD_US = 10_000
_ROOTS = (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup"))


@contextmanager
def cpu_quota(cores: float) -> Iterator[Path]:
    """
    Make a group that gets so many cores' time; yield the file to which a process id is written to join it.

    Raises:
        OSError: this user cannot make CPU groups here.

    """
    root = next((each for each in _ROOTS if (each / "cpu.cfs_quota_us").exists()), _ROOTS[-1])
    group = root / f"birthmark-bench-{os.getpid()}"
    group.mkdir()
    try:
        if (group / "cpu.cfs_quota_us").exists():
            (group / "cpu.cfs_period_us").write_text(f"{PERIOD_US}")
            (group / "cpu.cfs_quota_us").write_text(f"{round(cores * PERIOD_US)}")
        else:
            (group / "cpu.max").write_text(f"{round(cores * PERIOD_US)} {PERIOD_US}")
        yield group / "cgroup.procs"
    finally:
        group.rmdir()
