# SPDX-License-Identifier: Apache-2.0
"""
Why the cloud says no.

CloudError
├── CloudRefused        this device, this certificate or this claim is not accepted; asking again changes nothing
├── RevocationUnknown   no revocation list in force: nobody is let in until there is one
├── RevocationFetch     one attempt to fetch the revocation list failed; the next may succeed
├── CommandUnknown      no such command waits for this unit
└── TelemetryRefused    the message is not JSON or is too large
    └── TelemetryTooLarge
"""

from birthmark.core.errors import BirthmarkError


class CloudError(BirthmarkError):
    """Root of what the cloud service raises."""

    default_finding = "cloud.failed"


class CloudRefused(CloudError):
    """The finding says which numbered step or rule refused (docs/reference/cloud-verification.md)."""

    default_finding = "cloud.refused"


class RevocationUnknown(CloudError):
    """There is no revocation list, or the one there is has run out."""

    default_finding = "cloud.revocation-unknown"


class RevocationFetch(CloudError):
    """The revocation list could not be fetched or is not one that we accept."""

    default_finding = "cloud.revocation-fetch"


class CommandUnknown(CloudError):
    """The command does not exist or belongs to another unit."""

    default_finding = "cloud.command-unknown"


class TelemetryRefused(CloudError):
    """The body is not a JSON text."""

    default_finding = "cloud.telemetry.malformed"


class TelemetryTooLarge(TelemetryRefused):
    """The body is larger than the service takes."""

    default_finding = "cloud.telemetry.too-large"
