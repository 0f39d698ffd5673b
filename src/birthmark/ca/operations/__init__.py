# SPDX-License-Identifier: Apache-2.0
"""The operations CA at work: certificates of people, rigs, followers and servers, by named policies."""
