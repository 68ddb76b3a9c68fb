// The SDKs of @hey-api/openapi-ts do the same.

import assert from "node:assert/strict";
import * as campaign from "./built/hey/campaign/index.js";
import { createClient, type Client } from "./built/hey/campaign/client/index.js";
import * as partner from "./built/hey/partner/index.js";
import * as platform from "./built/hey/platform/index.js";
import * as vendor from "./built/hey/vendor/index.js";

const told = JSON.parse(process.env["PLATFORM"] ?? "");

function as(role: string): Client {
  const { client_id: id, client_secret: secret } = told.clients[role];
  return createClient({ baseUrl: told.gateway, headers: { Authorization: `Basic ${btoa(`${id}:${secret}`)}` } });
}

const user: string = told.customer;
const order = `hey-${Date.now()}`;

const redirect = await platform.issueRedirect({
  client: as("platform"),
  body: { user_id: user, vendor_id: told.clients.vendor.vendor_id },
  throwOnError: true,
});
await vendor.redeemToken({ client: as("vendor"), body: { token: redirect.data.token }, throwOnError: true });

const committed = await vendor.changePoints({
  client: as("vendor"),
  query: { commit: "" },
  body: { userid: user, transactionid: order, pointstodeduct: 3, description: "a cup" },
  throwOnError: true,
});
assert.equal(committed.data.state, "held");
const confirmed = await vendor.changePoints({
  client: as("vendor"),
  query: { confirm: "" },
  body: { userid: user, transactionid: order },
  throwOnError: true,
});
assert.equal(confirmed.data.state, "confirmed");

const issued = await campaign.issueToken({
  client: as("campaign"),
  body: { base_url: "https://shop.example", customer_id: "c", campaign_id: "drill", duration: "PT1H" },
  throwOnError: true,
});
const verified = await campaign.verifyToken({
  client: as("campaign"),
  path: { token: issued.data.token },
  throwOnError: true,
});
assert.equal(verified.data.customer_id, "c");

const codes = await partner.initRegisterHandshake({ client: as("partner"), throwOnError: true });
assert.equal(codes.data.registerCode.length, 22);
console.log("all as it should be");
