"""The packages of openapi-python-client carry a user from the redirect to the last confirm."""

import base64
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "built" / "python"))

import campaign.api.tokens.issue_token
import campaign.api.tokens.verify_token
import campaign.models
import partner.api.partners.init_register_handshake
import platform_api.api.redirects.issue_redirect
import platform_api.models
import vendor.api.eai.change_points
import vendor.api.redemptions.redeem_token
import vendor.models

TOLD = json.loads(os.environ["PLATFORM"])


def client(package: Any, role: str) -> Any:
    keys = TOLD["clients"][role]
    credentials = base64.b64encode(f"{keys['client_id']}:{keys['client_secret']}".encode()).decode()
    return package.AuthenticatedClient(base_url=TOLD["gateway"], token=credentials, prefix="Basic")


def main() -> None:
    user, order = TOLD["customer"], f"python-{time.time_ns()}"
    shop = client(vendor, "vendor")
    wish = platform_api.models.RedirectOrderBody(user_id=user, vendor_id=TOLD["clients"]["vendor"]["vendor_id"])
    redirect = platform_api.api.redirects.issue_redirect.sync(client=client(platform_api, "platform"), body=wish)
    redeemed = vendor.api.redemptions.redeem_token.sync_detailed(
        client=shop, body=vendor.models.TokenBody(token=redirect.token)
    )
    assert redeemed.status_code == 200, redeemed
    held = vendor.api.eai.change_points.sync(
        client=shop,
        commit=vendor.models.ChangePointsCommit.VALUE_0,
        body=vendor.models.CommitBody(userid=user, transactionid=order, pointstodeduct=3, description="a cup"),
    )
    assert held.state == "held", held
    confirmed = vendor.api.eai.change_points.sync(
        client=shop,
        confirm=vendor.models.ChangePointsConfirm.VALUE_0,
        body=vendor.models.ConfirmBody(userid=user, transactionid=order),
    )
    assert confirmed.state == "confirmed", confirmed
    back_end = client(campaign, "campaign")
    wanted = {"base_url": "https://shop.example", "customer_id": "c", "campaign_id": "drill", "duration": "PT1H"}
    issued = campaign.api.tokens.issue_token.sync(client=back_end, body=wanted)
    verified = campaign.api.tokens.verify_token.sync(issued.token, client=back_end, body=campaign.models.VisitBody())
    assert verified.customer_id == "c", verified
    codes = partner.api.partners.init_register_handshake.sync(client=client(partner, "partner"))
    assert len(codes.register_code) == 22, codes
    print("all as it should be")


main()
