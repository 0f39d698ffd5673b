# SPDX-License-Identifier: Apache-2.0
"""
What a store can fail with.

StoreError
├── StoreFailed     the database did not do what was asked; nothing of it was done
├── StoreFull       the disk is full, or as full as we let it become
└── StoreVersion    the file was written by another release
"""

from birthmark.core.errors import BirthmarkError


class StoreError(BirthmarkError):
    """Root: a store did not do what was asked, and did nothing by halves."""

    default_finding = "store.failed"


class StoreFailed(StoreError):
    """Locked for too long, not writable, not a database, or broken."""


class StoreFull(StoreError):
    """No room."""

    default_finding = "store.full"


class StoreVersion(StoreError):
    """The schema is not the one that this program reads and writes."""

    default_finding = "store.version"
