# SPDX-License-Identifier: Apache-2.0
"""
The key ceremony: roots, CAs and signers, made from one reviewed file, and what rolls one root over to the next.

```text
file  ──▶ plan ──▶ problems        what would be made, and what stands in its way; nothing is touched
            └────▶ run ──▶ acts    each journalled before it is done, each repeatable, none overwrites
                    └────▶ transcript, signed by the roots
```
"""
