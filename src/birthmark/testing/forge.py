# SPDX-License-Identifier: Apache-2.0
"""
The forge: chip makers, chips, evidence and device certificates from one call, with software keys.

```python
forge = Forge.at(now)
device = forge.device("BM-000001")                # an APDU chip's PKIX Evidence
device = forge.device("BM-000002", model=TPM)     # a TPM's TPM2_Certify
require(appraise(device.bundle, device.spki, forge.endorsements(), now))
```

For tests, attacks and whoever integrates: nothing here is endorsed by anyone who matters. What must be refused is made
by the same parts: lies (`statements.PKIX_LIES`, `TPM_LIES`), a second forge (an unendorsed maker), or parts mixed up.
"""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID

from birthmark.core.registry import (
    CHIP_MODEL_ARC,
    ID_PE_CMW,
    PKIX_EVIDENCE,
    TCG_ATTEST_TPM_CERTIFY,
    TCG_HW_TYPE_TPM20,
)
from birthmark.evidence.endorsements import Endorsements, EndorsementsFile, MakerEntry, ModelEntry, build
from birthmark.pki import extensions, names
from birthmark.pki.authorities import (
    BACKDATE,
    Authority,
    ChipName,
    TPMName,
    make_ak_ca,
    make_ak_certificate,
    make_root,
    make_sub_ca,
    new_serial,
)
from birthmark.pki.cmw import cmw_extension
from birthmark.pki.csr import build_csr
from birthmark.silicon.port import Evidence
from birthmark.testing import statements
from birthmark.testing.statements import DENIED_FIRMWARE, PKIXSays, TPMSays

ORGANIZATION: Final = "Forge"
PRODUCT: Final = "Controller"
DEVICE_DAYS: Final = 5 * 365
CHIP_SERIAL_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Model:
    """A chip model of the forge's maker, and the statement type that its chips make."""

    id: str
    hw_type: ObjectIdentifier
    statement_type: ObjectIdentifier
    tpm: TPMName | None = None


APDU: Final = Model("optiga-trust-m", ObjectIdentifier(f"{CHIP_MODEL_ARC}.1"), PKIX_EVIDENCE)
TPM: Final = Model("swtpm", TCG_HW_TYPE_TPM20, TCG_ATTEST_TPM_CERTIFY, TPMName("id:53575450", "swtpm", "id:00010000"))
MODELS: Final = (APDU, TPM)


@dataclass(frozen=True, slots=True)
class ChipMaker:
    """A chip maker: its root, and the CA under it that signs AK certificates."""

    name: str
    root: Authority
    ak_ca: Authority
    moment: datetime

    @classmethod
    def at(cls, moment: datetime, name: str = "Smith") -> Self:
        """Return a new maker whose CAs are valid from an hour before `moment`."""
        root = make_root(name, f"{name} root", new_key(), moment)
        return cls(name, root, make_ak_ca(root, f"{name} AK CA", new_key(), moment), moment)

    @property
    def trust_pem(self) -> bytes:
        """Root and AK CA: the file that an endorsement of this maker names."""
        return b"".join(each.certificate.public_bytes(Encoding.PEM) for each in (self.root, self.ak_ca))

    def certify(self, chip: ChipName, ak: ec.EllipticCurvePublicKey) -> x509.Certificate:
        """Return the AK certificate for a key that may live in a real TPM."""
        return make_ak_certificate(self.ak_ca, chip, ak, self.moment)

    def chip(self, model: Model = APDU, serial: str | None = None) -> "Chip":
        """Return a new chip of the model, with an attestation key of its own."""
        serial = serial or secrets.token_hex(CHIP_SERIAL_BYTES).upper()
        ak = new_key()
        certificate = self.certify(ChipName(serial, model.hw_type, model.tpm), ak.public_key())
        return Chip(model, serial, certificate, ak)


@dataclass(frozen=True, slots=True)
class Chip:
    """A chip whose attestation key the forge holds in software."""

    model: Model
    serial: str
    ak_certificate: x509.Certificate
    ak: ec.EllipticCurvePrivateKey = field(repr=False)

    def pkix_says(self, key: ec.EllipticCurvePublicKey, nonce: bytes) -> PKIXSays:
        """Return the truth about a good key, in the words of PKIX Evidence: change it with dataclasses.replace."""
        return PKIXSays(nonce=nonce, spki=spki(key), hw_model=self.model.id.encode(), hw_serial=self.serial)

    def tpm_says(self, key: ec.EllipticCurvePublicKey, nonce: bytes) -> TPMSays:
        """Return the truth about a good key, in the words of TPM2_Certify."""
        return TPMSays(nonce=nonce, public_key=key)

    def state(self, says: PKIXSays | TPMSays) -> Evidence:
        """Return what the chip says, true or not, signed by its AK."""
        if isinstance(says, PKIXSays):
            return Evidence(PKIX_EVIDENCE, statements.pkix_statement(says, self.ak))
        return Evidence(TCG_ATTEST_TPM_CERTIFY, statements.tpm_statement(says, self.ak))

    def attest(self, key: ec.EllipticCurvePublicKey, nonce: bytes) -> Evidence:
        """Return the model's own kind of evidence for a good key."""
        says = self.tpm_says(key, nonce) if self.model.tpm else self.pkix_says(key, nonce)
        return self.state(says)

    def bundle(self, evidence: Evidence, *others: x509.Certificate) -> bytes:
        """Return the AttestationBundle with the AK certificate, and other certificates behind it."""
        certificates = (certificate.public_bytes(Encoding.DER) for certificate in (self.ak_certificate, *others))
        return statements.bundle(evidence.statement_type, evidence.statement, certificates)


@dataclass(frozen=True, slots=True)
class Device:
    """A device with its identity: everything that moved while it was personalised."""

    unit: str
    chip: Chip
    nonce: bytes
    bundle: bytes
    csr: bytes
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def spki(self) -> bytes:
        """The device key's DER SubjectPublicKeyInfo."""
        return spki(self.key.public_key())


@dataclass(frozen=True, slots=True)
class Forge:
    """A chip maker and a customer's CA: all that it takes to make devices."""

    moment: datetime
    maker: ChipMaker
    root: Authority
    issuing: Authority

    @classmethod
    def at(cls, moment: datetime) -> Self:
        """Return a new forge; everything that it makes is valid at `moment`."""
        root = make_root(ORGANIZATION, f"{ORGANIZATION} root", new_key(), moment)
        issuing = make_sub_ca(root, f"{ORGANIZATION} issuing CA", new_key(), moment)
        return cls(moment, ChipMaker.at(moment), root, issuing)

    def endorsements(
        self, *, withdrawn: datetime | None = None, denied_aks: tuple[str, ...] = (), models: tuple[Model, ...] = MODELS
    ) -> Endorsements:
        """Return endorsements of the forge's maker and its models."""
        entries = tuple(_endorsed(model, self.maker.name, withdrawn) for model in models)
        maker = MakerEntry(name=self.maker.name, trust="maker.pem")
        file = EndorsementsFile(maker=(maker,), model=entries, denied_aks=denied_aks)
        return build(file, {"maker.pem": self.maker.trust_pem})

    def device(self, unit: str, *, model: Model = APDU, curve: ec.EllipticCurve | None = None) -> Device:
        """Return a device with a new chip and key, personalised as it should be."""
        chip, key, nonce = self.maker.chip(model), new_key(curve), secrets.token_bytes(32)
        bundle = chip.bundle(chip.attest(key.public_key(), nonce))
        csr = build_csr(key, names.request_subject(unit), bundle)
        certificate = self.certify(unit, chip, key.public_key(), cmw_extension(bundle).value)
        return Device(unit, chip, nonce, bundle, csr, certificate, key)

    def certify(self, unit: str, chip: Chip, key: ec.EllipticCurvePublicKey, cmw: bytes | None) -> x509.Certificate:
        """Return a device certificate with any content in id-pe-cmw, or without it: the CA that asks no questions."""
        builder = _device_builder(self.issuing.certificate, unit, key, self.moment)
        san = x509.SubjectAlternativeName([names.hardware_module_name(chip.model.hw_type, chip.serial)])
        builder = builder.add_extension(san, critical=False)
        if cmw is not None:
            builder = builder.add_extension(x509.UnrecognizedExtension(ID_PE_CMW, cmw), critical=False)
        return builder.sign(self.issuing.key, hashes.SHA256())


def new_key(curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    """Return a new software key, on P-256 unless told."""
    return ec.generate_private_key(curve or ec.SECP256R1())


def spki(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return the DER SubjectPublicKeyInfo of a key."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _endorsed(model: Model, maker: str, withdrawn: datetime | None) -> ModelEntry:
    return ModelEntry(
        id=model.id,
        hw_type=model.hw_type.dotted_string,
        maker=maker,
        certification="none: forged",
        statement_types=(model.statement_type.dotted_string,),
        withdrawn=withdrawn,
        denied_firmware=(DENIED_FIRMWARE,),
    )


def _device_builder(
    issuer: x509.Certificate, unit: str, key: ec.EllipticCurvePublicKey, moment: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(names.device_subject(unit, PRODUCT, ORGANIZATION))
        .issuer_name(issuer.subject)
        .public_key(key)
        .serial_number(new_serial())
        .not_valid_before(moment - BACKDATE)
        .not_valid_after(moment + timedelta(days=DEVICE_DAYS))
        .add_extension(extensions.END_ENTITY, critical=True)
        .add_extension(extensions.SIGNS_DATA, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(extensions.subject_key_identifier(key), critical=False)
        .add_extension(extensions.authority_key_identifier(issuer), critical=False)
    )
