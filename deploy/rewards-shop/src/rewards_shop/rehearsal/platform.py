"""What the stand-in remembers and decides, without HTTP."""

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from standardwebhooks import Webhook

VENDOR = "rehearsal-shop"
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"only-for-rehearsals").decode()  # It opens nothing but a rehearsing shop.
CLOSED = {
    "confirmed": "points_already_deducted",
    "rolled_back": "transaction_rolled_back",
    "expired": "hold_expired",
    "rejected": "transaction_rejected",
}


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class Transaction:
    user_id: str
    points: int
    state: str


@dataclass
class RehearsalPlatform:
    """The platform's memory: one key, one balance a person, one state a transaction."""

    url: str
    clock: Callable[[], float] = time.time
    balances: dict[str, int] = field(default_factory=lambda: {"ada": 1250})
    transactions: dict[str, Transaction] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    redeemed: set[str] = field(default_factory=set)
    answers: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    kid: str = "rehearsal-1"

    @property
    def issuer(self) -> str:
        return f"{self.url}/tenants/demo"

    def public_keys(self) -> dict[str, Any]:
        numbers = self.key.public_key().public_numbers()
        x, y = (base64url(n.to_bytes(32)) for n in (numbers.x, numbers.y))
        return {"keys": [{"kty": "EC", "crv": "P-256", "kid": self.kid, "alg": "ES256", "use": "sig", "x": x, "y": y}]}

    def claims(self, user_id: str) -> dict[str, Any]:
        now = int(self.clock())
        return {
            "iss": self.issuer,
            "aud": VENDOR,
            "iat": now,
            "exp": now + 60,
            "jti": str(uuid4()),
            "userid": user_id,
            "firstname": user_id.title(),
            "lastname": "Lovelace",
            "email": f"{user_id}@example.com",
            "points": self.balances[user_id],
        }

    def token(self, claims: dict[str, Any], header: dict[str, Any] | None = None) -> str:
        header = header or {"alg": "ES256", "kid": self.kid, "typ": "JWT"}
        signed = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
        r, s = decode_dss_signature(self.key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{base64url(r.to_bytes(32) + s.to_bytes(32))}"

    def redeem(self, token: str) -> tuple[int, dict[str, Any]]:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        if claims["jti"] in self.redeemed:
            return 409, {"code": "token_already_redeemed"}
        self.redeemed.add(claims["jti"])
        return 200, {**claims, "points_now": self.balances[claims["userid"]]}

    def operate(self, operation: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        transaction_id = body["transactionid"]
        transaction = self.transactions.get(transaction_id)
        if operation == "commit":
            return self._commit(transaction_id, transaction, body)
        if transaction is None:
            if operation == "rollback":
                self.cancelled.add(transaction_id)
            return failed(404, "transaction_not_found")
        if transaction.state != "held":
            return failed(409, CLOSED[transaction.state], transaction.state)
        if operation == "rollback":
            self.balances[transaction.user_id] += transaction.points
        transaction.state = "confirmed" if operation == "confirm" else "rolled_back"
        return succeeded(transaction_id, transaction)

    def _commit(
        self, transaction_id: str, transaction: Transaction | None, body: dict[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        if transaction_id in self.cancelled:
            return failed(409, "transaction_rolled_back", "cancelled")
        if transaction is None:
            user_id, points = body["userid"], body["pointstodeduct"]
            if user_id not in self.balances:
                return failed(404, "invalid_user")
            enough = self.balances[user_id] >= points
            transaction = Transaction(user_id, points, "held" if enough else "rejected")
            self.balances[user_id] -= points if enough else 0
            self.transactions[transaction_id] = transaction
        if transaction.state == "rejected":
            return failed(400, "insufficient_points", "rejected")
        return succeeded(transaction_id, transaction)

    def event(self, transaction_id: str, **other: Any) -> tuple[dict[str, str], bytes]:
        """Headers and body of the event that a transaction has come to its state; each call makes a new one."""
        transaction, now = self.transactions[transaction_id], datetime.now(UTC)
        event = {
            "id": f"evt_{uuid4().hex[:24]}",
            "type": f"points.{transaction.state}",
            "timestamp": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "data": {"transactionid": transaction_id, "userid": transaction.user_id, "state": transaction.state},
        } | other
        body = json.dumps(event)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": event["id"],
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(WEBHOOK_SECRET).sign(event["id"], now, body),
        }
        return headers, body.encode()

    def reconcile(self, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The findings about a vendor's list, and a summary."""
        findings: list[dict[str, Any]] = []
        for line in lines:
            yours = {"state": line["state"], "points": line["points"]}
            ours = self.stand(line["transactionid"])
            if ours is None:
                findings.append({"finding": "only_yours", "yours": yours})
            elif ours["state"] == "held":
                findings.append({"finding": "still_held", "yours": yours, "ours": ours})
            elif ours != yours:
                kind = "points_differ" if ours["state"] == yours["state"] else "state_differs"
                findings.append({"finding": kind, "yours": yours, "ours": ours})
            else:
                continue
            findings[-1]["transactionid"] = line["transactionid"]
        named = {line["transactionid"] for line in lines}
        findings += [
            {"finding": "only_ours", "transactionid": id_, "ours": self.stand(id_)}
            for id_ in self.transactions
            if id_ not in named
        ]
        return [*findings, {"summary": {"yours": len(lines), "agreed": len(lines) - len(findings)}}]

    def stand(self, transaction_id: str) -> dict[str, Any] | None:
        """Where a transaction stands, as a reconciliation says it."""
        found = self.transactions.get(transaction_id)
        if found is None:
            return {"state": "cancelled", "points": 0} if transaction_id in self.cancelled else None
        return {"state": found.state, "points": found.points if found.state in {"held", "confirmed"} else 0}

    def expire(self, transaction_id: str) -> None:
        """Ends a hold, as time would."""
        transaction = self.transactions[transaction_id]
        transaction.state = "expired"
        self.balances[transaction.user_id] += transaction.points


def succeeded(transaction_id: str, transaction: Transaction) -> tuple[int, dict[str, Any]]:
    return 200, {
        "status": "success",
        "transactionid": transaction_id,
        "state": transaction.state,
        "points": transaction.points,
    }


def failed(status: int, code: str, state: str | None = None) -> tuple[int, dict[str, Any]]:
    return status, {"status": "failed", "message": code, "code": code, **({"state": state} if state else {})}
