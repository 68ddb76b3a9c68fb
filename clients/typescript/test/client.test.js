// The client against the running platform, over a network that loses, doubles and delays. The drill gives the addresses.

import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { test } from "node:test";
import {
  checkReceipt,
  checkWebhook,
  isOpen,
  newOrder,
  Refused,
  TokenRejected,
  TokenVerifier,
  WebhookRejected,
} from "../dist/index.js";
import { client, platform, redirect, TROUBLES, unreliable } from "./platform.js";

const PRICE = 7;
const ORDERS = 40;

class Journal {
  orders = new Map();

  async save(order) {
    this.orders.set(order.orderId, order);
  }

  get open() {
    return [...this.orders.values()].filter(isOpen);
  }
}

const quiet = client("vendor");

test("every order ends once and right, whatever the network does", async () => {
  const { network, troubles } = unreliable(7);
  const shop = client("vendor", network);
  const user = platform.customer;
  const before = await quiet.balance(user);
  const journal = new Journal();
  const wanted = Array.from({ length: ORDERS }, (_, n) =>
    newOrder(`ts-${n}-${randomBytes(6).toString("hex")}`, user, PRICE, "a cup"),
  );
  const sold = new Set(wanted.filter((_, n) => n % 3 === 0).map((order) => order.orderId));
  await Promise.all(wanted.map((order) => shop.redeem(order, journal, async ({ orderId }) => !sold.has(orderId))));
  while (journal.open.length > 0) await Promise.all(journal.open.map((order) => shop.resume(order, journal)));
  assert.deepEqual([...troubles.keys()].sort(), [...TROUBLES].sort());
  const steps = [...journal.orders.values()].map((order) => order.step);
  assert.deepEqual(new Set(steps), new Set(["confirmed", "released"]));
  const confirmed = steps.filter((step) => step === "confirmed").length;
  assert.equal(await quiet.balance(user), before - PRICE * confirmed);
});

test("a refusal is told by its code, and a transaction is found in the list", async () => {
  const order = `ts-${randomBytes(6).toString("hex")}`;
  const held = await quiet.hold(order, platform.customer, 5, "a pen");
  assert.equal(held.state, "held");
  assert.equal((await quiet.confirm(order, platform.customer, 3)).state, "confirmed");
  await assert.rejects(quiet.rollBack(order, platform.customer), (error) => {
    assert(error instanceof Refused);
    assert.equal(error.code, "points_already_deducted");
    assert.equal(error.state, "confirmed");
    return true;
  });
  const found = [];
  for await (const one of quiet.transactions({ state: "confirmed" })) found.push(one.transactionid);
  assert(found.includes(order));
});

test("books are compared over any network, and each difference is found", async () => {
  const [agreed, less, forgotten, dreamt] = Array.from({ length: 4 }, () => `ts-${randomBytes(6).toString("hex")}`);
  for (const order of [agreed, less, forgotten]) {
    await quiet.hold(order, platform.customer, 5, "a pen");
    await quiet.confirm(order, platform.customer);
  }
  const books = [agreed, less, dreamt].map((orderId) => ({ orderId, state: "confirmed", points: orderId === less ? 4 : 5 }));
  const { network, troubles } = unreliable(11);
  const shop = client("vendor", network);
  for (let round = 0; round < 8; round++) {
    const { findings, summary } = await shop.reconcile(books);
    const kinds = new Map(findings.map((one) => [one.transactionid, one.finding]));
    assert.deepEqual(
      [agreed, less, forgotten, dreamt].map((order) => kinds.get(order)),
      [undefined, "points_differ", "only_ours", "only_yours"],
    );
    assert.deepEqual([summary.yours, summary.agreed], [3, 1]);
  }
  assert(troubles.size > 0);
});

test("a redirect token is believed, and a changed one is not", async () => {
  const { token, issuer, audience, algorithm } = await redirect();
  const jwksUri = `${platform.gateway}/.well-known/jwks.json`;
  const verifier = new TokenVerifier({ issuer, audience, algorithm, jwksUri });
  assert.equal((await verifier.verify(token)).userId, platform.customer);
  const [head, body, signature] = token.split(".");
  const turned = signature[10] === "A" ? "B" : "A";
  const forged = `${head}.${body}.${signature.slice(0, 10)}${turned}${signature.slice(11)}`;
  for (const [given, agreed, code] of [
    [forged, {}, "invalid_signature"],
    [token, { audience: "somebody-else" }, "wrong_audience"],
    [token, { issuer: "https://evil.example" }, "wrong_issuer"],
    ["no.token.at-all", {}, "malformed_token"],
  ]) {
    const other = new TokenVerifier({ issuer, audience, algorithm, jwksUri, ...agreed });
    await assert.rejects(other.verify(given), (error) => error instanceof TokenRejected && error.code === code);
  }
  assert.equal((await quiet.redeemToken(token)).userid, platform.customer);
  await assert.rejects(quiet.redeemToken(token), { code: "token_already_redeemed" });
});

test("a receipt is checked offline", async () => {
  const order = `ts-${randomBytes(6).toString("hex")}`;
  await quiet.hold(order, platform.customer, 2, "a pen");
  await quiet.rollBack(order, platform.customer);
  const receipt = await quiet.receipt(order);
  const keys = await quiet.receiptKeys(platform.tenant);
  const vendorId = platform.clients.vendor.vendor_id;
  assert.equal((await checkReceipt(receipt, keys, { vendorId })).state, "rolled_back");
  await assert.rejects(checkReceipt(receipt, keys, { vendorId: "somebody-else" }), { code: "wrong_audience" });
  await assert.rejects(checkReceipt((await redirect()).token, keys, { vendorId }), TokenRejected);
});

test("a webhook is believed with either secret, and not without one", async () => {
  const [former, present] = [randomBytes(24), randomBytes(24)].map((key) => `whsec_${key.toString("base64")}`);
  const body = JSON.stringify({ id: "evt_1", type: "points.expired", timestamp: "2026-11-01T00:00:00.000Z", data: {} });
  const headersOf = (secret, at = Math.floor(Date.now() / 1000)) => {
    const key = Buffer.from(secret.slice(6), "base64");
    const signature = createHmac("sha256", key).update(`evt_1.${at}.${body}`).digest("base64");
    return new Headers({ "webhook-id": "evt_1", "webhook-timestamp": String(at), "webhook-signature": `v1,${signature}` });
  };
  for (const secret of [former, present]) {
    assert.equal((await checkWebhook(body, headersOf(secret), [present, former])).id, "evt_1");
  }
  const stranger = `whsec_${randomBytes(24).toString("base64")}`;
  await assert.rejects(checkWebhook(body, headersOf(stranger), [present, former]), WebhookRejected);
  await assert.rejects(checkWebhook(`${body} `, headersOf(present), [present]), WebhookRejected);
  await assert.rejects(checkWebhook(body, headersOf(present, 1_700_000_000), [present]), WebhookRejected);
  await assert.rejects(checkWebhook(body, new Headers(), [present]), WebhookRejected);
});

test("partners and campaigns use the same client", async () => {
  const partner = client("partner");
  assert.equal((await partner.beginHandshake()).registerCode.length, 22);
  await assert.rejects(partner.activate("nobody-at-all"), { status: 404 });
  assert.equal((await partner.billing("2026-11")).month, "2026-11");
  assert.equal(typeof (await partner.eventList()), "object");
  const campaign = client("campaign");
  const order = { base_url: "https://shop.example/c", customer_id: "c", campaign_id: "ts", duration: "PT1H", max_uses: 1 };
  const key = randomBytes(6).toString("hex");
  const { token } = await campaign.issueToken(order, key);
  assert.equal((await campaign.issueToken(order, key)).token, token);
  assert.equal((await campaign.verifyToken(token, `${key}-1`)).customer_id, "c");
  await assert.rejects(campaign.verifyToken(token, `${key}-2`), { code: "token_used_up" });
  const { token: other } = await campaign.issueToken(order, `${key}-other`);
  assert.equal((await campaign.lookAtToken(other)).state, "unused");
  await campaign.revokeToken(other);
  await assert.rejects(campaign.verifyToken(other, `${key}-3`), { code: "token_revoked" });
});
