# SPDX-License-Identifier: Apache-2.0
"""
What can stop a panel because of the factory. That a message cannot be published is a DeliveryError (`core.delivery`).

Away (see line.errors)
└── InterlockUnanswered     the factory was asked whether work may begin and gave no usable answer: the line holds
"""

from birthmark.line.errors import Away


class InterlockUnanswered(Away):
    """No usable answer to the interlock's question, in time. Nothing was done to the panel."""

    default_finding = "cfx.interlock.unanswered"
    default_hint = "see whether the MES runs and answers ValidateUnitsRequest; it is asked again"
