# SPDX-License-Identifier: Apache-2.0
"""
Keys in a PKCS#11 token: an HSM, a smart card, SoftHSM.

The rooms: `module` loads the library, `seats` lends its sessions, `meanings` says what each answer of a token means,
`ladder` how a token comes back, `connection` logs in and proves the keys, `policy` says how a key must be kept,
`objects` makes and finds them, `probe` asks what a token offers, `key` is what a builder signs with, `token` is what
all others use.
"""

from birthmark.pki.keys.pkcs11.connection import POOL_MAX_SESSIONS
from birthmark.pki.keys.pkcs11.key import TokenEd25519Key, TokenKey
from birthmark.pki.keys.pkcs11.ladder import Ending, Ladder, Outage, State
from birthmark.pki.keys.pkcs11.token import Token

__all__ = ["POOL_MAX_SESSIONS", "Ending", "Ladder", "Outage", "State", "Token", "TokenEd25519Key", "TokenKey"]
