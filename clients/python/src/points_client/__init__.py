"""The points platform for vendors, partners and campaign back ends.

- `Points`, `AsyncPoints`: hold, confirm, roll back, and `redeem` an order with all that may go wrong.
- `TokenVerifier`: the token that carries a user to your shop.
- `Points.reconcile`: your books against the platform's, once a day.
- `check_receipt`, `check_webhook`: whether the platform signed it; both work without a network.
- `handshake`, `campaigns`: exchanges for partners and campaign back ends, for `Points.run`.
"""

from points_client import campaigns, handshake
from points_client.clients import AsyncPoints, Points
from points_client.exchanges import Refused, Unanswered
from points_client.receipts import ReceiptRejected, check_receipt, receipt_keys
from points_client.reconciliation import Entry, Reconciliation
from points_client.redemptions import Order, State, Step
from points_client.tokens import TokenRejected, TokenVerifier, Visitor
from points_client.webhooks import WebhookRejected, check_webhook

__all__ = [
    "AsyncPoints",
    "Entry",
    "Order",
    "Points",
    "ReceiptRejected",
    "Reconciliation",
    "Refused",
    "State",
    "Step",
    "TokenRejected",
    "TokenVerifier",
    "Unanswered",
    "Visitor",
    "WebhookRejected",
    "campaigns",
    "check_receipt",
    "check_webhook",
    "handshake",
    "receipt_keys",
]
