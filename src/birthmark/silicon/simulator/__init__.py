# SPDX-License-Identifier: Apache-2.0
"""
A simulated secure element in its own process, on a simulated I2C bus: for tests, for the demo, never for products.

The keys are real and the evidence is truthful; what is missing is the silicon that keeps the keys in. The chip's own
code shares nothing with the host's: it frames, counts CRCs and encodes evidence by itself.
"""
