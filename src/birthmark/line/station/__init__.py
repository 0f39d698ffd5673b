# SPDX-License-Identifier: Apache-2.0
"""
The station: what stays open at a rig between panels, for the people who work there.

scan      what a scanner typed: a unit, a badge, a command, or nothing that is known
floor     what the station's screen shows, and what each scan and each event of a run makes of it; pure
pace      how fast the station works; pure
calls     panels that programs run, each under a key; pure
desk      the running station: takes scans, runs panels, tells who watches
reader    a scanner at the rig itself: lines of a character device
overview  what it can say of more than its own floor: yields of all rigs, the outbox, the order, the CA
ca_watch  how the CA is, as far as it tells anybody
lead_desk what a lead decides about a unit, with a PIN and a reason
"""
