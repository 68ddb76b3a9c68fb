// What is not about orders, over a network that loses, doubles and delays: an answer that is lost after the deed must not
// look like a refusal when the client asks again.

import assert from "node:assert/strict";
import { once } from "node:events";
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { test } from "node:test";
import { checkReceipt, checkWebhook, TokenRejected, TokenVerifier, Unanswered, WebhookRejected } from "../dist/index.js";
import { client, platform, redirect, TROUBLES, unreliable } from "./platform.js";

const ROUNDS = 6;
const user = platform.customer;
const vendorId = platform.clients.vendor.vendor_id;
const jwksUri = `${platform.gateway}/.well-known/jwks.json`;
const name = (what = "ts") => `${what}-${randomBytes(6).toString("hex")}`;

/** Every trouble came, so nothing was spared. */
function assertTroubled({ troubles }) {
  assert.deepEqual([...troubles.keys()].sort(), [...TROUBLES].sort());
}

test("a token is redeemed once, and a lost answer is no refusal", async () => {
  const net = unreliable(13);
  const shop = client("vendor", net.network);
  for (let round = 0; round < 2 * ROUNDS; round++) {
    const { token, ...agreed } = await redirect();
    const verifier = new TokenVerifier({ ...agreed, jwksUri, fetch: net.network });
    assert.equal((await verifier.verify(token)).userId, user);
    assert.equal((await shop.redeemToken(token)).userid, user);
    await assert.rejects(shop.redeemToken(token), { code: "token_already_redeemed" });
  }
  assertTroubled(net);
});

test("a visit is asked about again by its own key alone", async () => {
  const shop = client("vendor", unreliable(17).network);
  const { token } = await redirect();
  const first = await shop.redeemToken(token, "a visit — besucht am 1. Mai");
  assert.deepEqual(await shop.redeemToken(token, "a visit — besucht am 1. Mai"), first);
  await assert.rejects(shop.redeemToken(token, "another visit"), { code: "token_already_redeemed" });
});

test("where the keys cannot be fetched, nobody is called a forger", async () => {
  const { token, ...agreed } = await redirect();
  const unavailable = async () => new Response("", { status: 503, headers: { "retry-after": "60" } });
  const lost = async () => {
    throw new TypeError("no connection");
  };
  for (const network of [unavailable, lost]) {
    await assert.rejects(new TokenVerifier({ ...agreed, jwksUri, fetch: network }).verify(token), Unanswered);
  }
  let asked = 0;
  const counting = (...request) => {
    asked += 1;
    return fetch(...request);
  };
  const verifier = new TokenVerifier({ ...agreed, jwksUri, fetch: counting });
  const visitors = await Promise.all(Array.from({ length: 8 }, () => verifier.verify(token)));
  assert.deepEqual(new Set(visitors.map(({ userId }) => userId)), new Set([user]));
  const [, body, signature] = token.split(".");
  const unknown = Buffer.from(JSON.stringify({ alg: agreed.algorithm, kid: "made-up", typ: "JWT" })).toString("base64url");
  await assert.rejects(verifier.verify(`${unknown}.${body}.${signature}`), { code: "invalid_signature" });
  assert.equal(asked, 1);
});

test("an answer of which the rest never comes is none", async () => {
  const order = name();
  await client("vendor").hold(order, user, 1, "a pen");
  let asked = 0;
  const cutOff = async (...request) => {
    const answer = await fetch(...request);
    asked += 1;
    if (asked > 1) return answer;
    const broken = new ReadableStream({
      start: (body) => {
        body.enqueue(new TextEncoder().encode('{"sta'));
        body.error(new TypeError("terminated"));
      },
    });
    return new Response(broken, { status: answer.status });
  };
  assert.equal((await client("vendor", cutOff).lookUp(order)).state, "held");
  assert.equal(asked, 2);
  await client("vendor").rollBack(order, user);
});

test("a receipt is checked without the platform, of orders with any id", async () => {
  const net = unreliable(19);
  const shop = client("vendor", net.network);
  const issuer = `${platform.gateway}/tenants/${platform.tenant}`;
  for (let round = 0; round < ROUNDS; round++) {
    const order = `${name()} für Müller`;
    await shop.hold(order, user, 5, "a pen");
    await shop.confirm(order, user, 3);
    await shop.refund(order, user, "r".repeat(128), 1);
    const receipt = await shop.receipt(order);
    const keys = await shop.receiptKeys(platform.tenant);
    const claims = await checkReceipt(receipt, keys, { vendorId, issuer });
    assert.deepEqual(
      [claims.transactionid, claims.userid, claims.state, claims.points_deducted, claims.points_refunded],
      [order, user, "confirmed", 3, 1],
    );
    const other = { vendorId, issuer: "https://evil.example" };
    await assert.rejects(checkReceipt(receipt, keys, other), { code: "wrong_issuer" });
  }
  assertTroubled(net);
});

test("a handshake is redeemed once, and what it gives is given and taken once", async () => {
  const net = unreliable(23);
  const partner = client("partner", net.network);
  for (const { authorizationCode, userId } of platform.handshakes) {
    assert.equal((await partner.beginHandshake()).authorizationCode.length, 22);
    assert.equal(await partner.redeemHandshake(authorizationCode), userId);
    await assert.rejects(partner.redeemHandshake(authorizationCode), { code: "handshake_already_redeemed" });
    await partner.activate(userId);
    await partner.remove(userId);
    await assert.rejects(partner.remove(userId), { code: "link_not_found" });
    const { activationDates, removalDates, assignments } = (await partner.eventList())[userId];
    assert.deepEqual([activationDates, removalDates, assignments].map((all) => all.length), [1, 1, 1]);
    const bill = await partner.billing(assignments[0].assignedAt.slice(0, 7));
    assert.equal(bill.assignments.filter((one) => one.userId === userId).length, 1);
  }
  assertTroubled(net);
});

test("a campaign's token is used up once for each visit", async () => {
  const net = unreliable(29);
  const campaign = client("campaign", net.network);
  const order = { base_url: "https://shop.example/c", customer_id: "c", campaign_id: name(), duration: "PT1H", max_uses: 2 };
  for (let round = 0; round < ROUNDS; round++) {
    const key = `Anna Müller, ${order.campaign_id}, ${round}`;
    const { token } = await campaign.issueToken(order, key);
    const first = await campaign.verifyToken(token, key);
    assert.deepEqual([first.customer_id, first.uses], ["c", 1]);
    assert.deepEqual(await campaign.verifyToken(token, key), first);
    assert.equal((await campaign.verifyToken(token, `${key}, again`)).uses, 2);
    await assert.rejects(campaign.verifyToken(token, `${key}, once more`), { code: "token_used_up" });
    await campaign.revokeToken(token);
    await assert.rejects(campaign.lookAtToken(token), { code: "token_revoked" });
  }
  assertTroubled(net);
});

test("events are read once each, and a delivery of the platform is believed", async () => {
  const net = unreliable(31);
  const shop = client("vendor", net.network);
  const deliveries = [];
  const receiver = createServer(async (request, response) => {
    const pieces = [];
    for await (const piece of request) pieces.push(piece);
    deliveries.push({ body: Buffer.concat(pieces).toString(), headers: new Headers(request.headers) });
    response.writeHead(204).end();
    receiver.emit("delivery");
  });
  receiver.listen(0, "127.0.0.1");
  await once(receiver, "listening");
  const { client_id: id, client_secret: password } = platform.clients.vendor;
  const call = async (method, path, body) => {
    const authorization = `Basic ${btoa(`${id}:${password}`)}`;
    const headers = { authorization, "content-type": "application/json" };
    const options = body === undefined ? { method, headers: { authorization } } : { method, headers, body: JSON.stringify(body) };
    const answer = await fetch(`${platform.gateway}/events/v1/points/endpoints${path}`, options);
    return answer.status === 204 ? undefined : answer.json();
  };
  let after;
  for await (const event of shop.events("points")) after = event.id;
  const url = `http://127.0.0.1:${receiver.address().port}/hook`;
  const { endpoint_id: endpoint, secret } = await call("POST", "", { url });
  try {
    const orders = Array.from({ length: ROUNDS }, () => name());
    for (const order of orders) {
      await shop.hold(order, user, 1, "x");
      await shop.rollBack(order, user);
    }
    const seen = [];
    while (seen.length < 2 * ROUNDS) {
      for await (const event of shop.events("points", after)) {
        after = event.id;
        if (orders.includes(event.data.transactionid)) seen.push(`${event.data.transactionid} ${event.type}`);
      }
    }
    const kinds = ["points.held", "points.rolled_back"];
    assert.deepEqual(seen, orders.flatMap((order) => kinds.map((kind) => `${order} ${kind}`)));
    while (deliveries.length === 0) await once(receiver, "delivery");
    const [{ body, headers }] = deliveries;
    const believed = await checkWebhook(body, headers, [secret]);
    assert(orders.includes(believed.data.transactionid));
    const { secret: present } = await call("POST", `/${endpoint}/secrets`, { overlap_seconds: 600 });
    assert.equal((await call("POST", `/${endpoint}/test`)).delivered, true);
    const tested = deliveries.find((one) => JSON.parse(one.body).type === "endpoint.test");
    for (const live of [secret, present]) {
      assert.equal((await checkWebhook(tested.body, tested.headers, [live])).type, "endpoint.test");
    }
    await assert.rejects(checkWebhook(body, headers, [present]), WebhookRejected);
    await assert.rejects(checkWebhook(`${body} `, headers, [secret]), WebhookRejected);
  } finally {
    await call("DELETE", `/${endpoint}`);
    receiver.close();
  }
  assertTroubled(net);
});

test("a token of another algorithm is refused before any key is asked for", async () => {
  const { token, ...agreed } = await redirect();
  const other = agreed.algorithm === "ES256" ? "RS256" : "ES256";
  const never = async () => assert.fail("no key is needed");
  const verifier = new TokenVerifier({ ...agreed, algorithm: other, jwksUri, fetch: never });
  await assert.rejects(verifier.verify(token), (error) => error instanceof TokenRejected && error.code === "invalid_signature");
});
