# SPDX-License-Identifier: Apache-2.0
"""
What can go wrong in the device agent, beside chip (silicon.errors), network (net.errors) and CA (est.errors).

DeviceError
├── NoIdentity              the chip holds no identity in use, or one of another unit
├── CertificateRejected     the CA's new certificate is not the one that was asked for; it is not installed
├── CloudAnswerUnreadable   the cloud answered with something that is not in our protocol
├── RefusedByCloud          the cloud says no to this identity; the finding is the cloud's own
└── CloudBusy               the cloud cannot judge now; try again later
"""

from birthmark.core.errors import BirthmarkError


class DeviceError(BirthmarkError):
    """Root of what the device agent raises by itself."""

    default_finding = "device.failed"


class NoIdentity(DeviceError):
    """There is no certificate to connect with."""

    default_finding = "device.no-identity"
    default_hint = "personalise this unit at the line"


class CertificateRejected(DeviceError):
    """A certificate that this device must not use."""

    default_finding = "device.certificate"
    default_hint = "the identity in use stays in use; see the operator of the CA"


class CloudAnswerUnreadable(DeviceError):
    """Not the JSON, or not the status, that the call has."""

    default_finding = "device.cloud-answer"
    default_hint = "is cloud_url the right service?"


class RefusedByCloud(DeviceError):
    """A 4xx answer."""

    default_finding = "device.refused"
    default_hint = "see the operator of the cloud"


class CloudBusy(DeviceError):
    """A 5xx answer."""

    default_finding = "device.cloud-busy"
    default_hint = "try again later"
