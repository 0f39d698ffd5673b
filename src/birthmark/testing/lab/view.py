# SPDX-License-Identifier: Apache-2.0
"""Where everything in a lab is: for people and, with `--json`, for machines."""

import msgspec

from birthmark.testing.lab.errors import LabError
from birthmark.testing.lab.files import LEAD, LEAD_PIN, OPERATOR
from birthmark.testing.lab.record import Lab


def as_text(lab: Lab) -> str:
    """Return lab.json on one line."""
    return msgspec.json.encode(lab).decode()


def value_of(lab: Lab, name: str) -> str:
    """Return one value of lab.json, text as it is. Raises LabError for a name that lab.json does not have."""
    if name not in lab.__struct_fields__:
        raise LabError(f"lab.json has no {name!r}", hint=f"it has {', '.join(lab.__struct_fields__)}")
    value = getattr(lab, name)
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def as_table(lab: Lab) -> str:
    """Return the lab as aligned lines."""
    rows = [
        ("EST", f"{lab.ca_url}/.well-known/est/{lab.order}"),
        ("cloud", lab.cloud_url),
        ("trust anchors", lab.trust),
        ("chip maker", lab.chipmaker_trust),
        *((f"{rig} credential", f"{lab.rig_certificates[rig]}  {lab.rig_keys[rig]}") for rig in lab.rig_configs),
        *((f"{rig} journal", path) for rig, path in lab.rig_journals.items()),
        ("panel", lab.panel),
        ("births (MES)", lab.births),
        *((board.unit, f"{board.chip}  agent {board.device_config}") for board in lab.boards),
    ]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {value}" for name, value in rows]
    rig = next(iter(lab.rig_configs))
    lines.append(f"\nnext: birthmark line run --config {lab.rig_configs[rig]} --panel {lab.panel}")
    lines.append(f"or:   birthmark line serve --config {lab.rig_configs[rig]}")
    lines.append(f"      badges BM:OP:{OPERATOR} and BM:OP:{LEAD}, a lead with the PIN {LEAD_PIN}")
    return "\n".join(lines)
