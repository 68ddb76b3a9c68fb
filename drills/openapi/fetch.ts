// Clients of openapi-fetch, typed by openapi-typescript, carry a user from the redirect to the last confirm.

import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { paths as CampaignPaths } from "./built/types/campaign.js";
import type { paths as PartnerPaths } from "./built/types/partner.js";
import type { paths as PlatformPaths } from "./built/types/platform.js";
import type { paths as VendorPaths } from "./built/types/vendor.js";

const told = JSON.parse(process.env["PLATFORM"] ?? "");

function optionsOf(role: string) {
  const { client_id: id, client_secret: secret } = told.clients[role];
  return { baseUrl: told.gateway as string, headers: { Authorization: `Basic ${btoa(`${id}:${secret}`)}` } };
}

const vendor = createClient<VendorPaths>(optionsOf("vendor"));
const platform = createClient<PlatformPaths>(optionsOf("platform"));
const campaign = createClient<CampaignPaths>(optionsOf("campaign"));
const partner = createClient<PartnerPaths>(optionsOf("partner"));
const user: string = told.customer;
const order = `fetch-${Date.now()}`;

const redirect = await platform.POST("/sso/v1/redirects", {
  body: { user_id: user, vendor_id: told.clients.vendor.vendor_id },
});
assert(redirect.data, JSON.stringify(redirect.error));
const redeemed = await vendor.POST("/sso/v1/tokens/redeem", { body: { token: redirect.data.token } });
assert.equal(redeemed.response.status, 200);

const committed = await vendor.POST("/eai/v1/points", {
  params: { query: { commit: "" }, header: { "Idempotency-Key": `"${order}"` } },
  body: { userid: user, transactionid: order, pointstodeduct: 3, description: "a cup" },
});
assert.equal(committed.data?.state, "held");
const confirmed = await vendor.POST("/eai/v1/points", {
  params: { query: { confirm: "" } },
  body: { userid: user, transactionid: order },
});
assert.equal(confirmed.data?.state, "confirmed");
const found = await vendor.GET("/eai/v1/points/{transactionid}", { params: { path: { transactionid: order } } });
assert.equal(found.data?.pointsdeducted, 3);

const issued = await campaign.POST("/v1/tokens", {
  body: { base_url: "https://shop.example", customer_id: "c", campaign_id: "drill", duration: "PT1H" },
});
assert(issued.data, JSON.stringify(issued.error));
const verified = await campaign.POST("/v1/tokens/{token}/verify", { params: { path: { token: issued.data.token } } });
assert.equal(verified.data?.customer_id, "c");

const codes = await partner.GET("/user/partner/init-register-handshake");
assert.equal(codes.data?.registerCode.length, 22);
console.log("all as it should be");
