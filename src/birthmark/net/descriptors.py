# SPDX-License-Identifier: Apache-2.0
"""How many descriptors (files, sockets) a process may have open: RLIMIT_NOFILE, getrlimit(2)."""

import resource


def allowed(wanted: int) -> int:
    """Return how many a process can have that wants so many: no more than the system's hard limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


def obtain(wanted: int) -> int:
    """Let this process have so many, or what the system allows; return how many it may have. None are given back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = allowed(wanted)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most
