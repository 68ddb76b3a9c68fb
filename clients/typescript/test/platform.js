// The running platform, as the tests know it, and a network that loses, doubles and delays.

import { decodeJwt, decodeProtectedHeader } from "jose";
import { Points } from "../dist/index.js";

export const platform = JSON.parse(process.env.PLATFORM);
export const TROUBLES = ["request lost", "answer lost", "doubled", "late", "unavailable"];
const UNANSWERED = new Set(["request lost", "answer lost", "unavailable"]);
/** So often in a row there is no answer; a client asks once more. */
const PATIENCE = 3;

/** A network in which something happens to every second request. */
export function unreliable(seed) {
  let state = seed;
  const random = () => {
    // Mulberry32, so that a seed gives the same troubles again.
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const troubles = new Map();
  let inARow = 0;
  const network = async (url, init) => {
    const trouble = random() < 0.5 ? undefined : TROUBLES[Math.floor(random() * TROUBLES.length)];
    const isUnanswered = UNANSWERED.has(trouble);
    if (trouble === undefined || (isUnanswered && inARow === PATIENCE)) {
      inARow = 0;
      return fetch(url, init);
    }
    inARow = isUnanswered ? inARow + 1 : 0;
    troubles.set(trouble, (troubles.get(trouble) ?? 0) + 1);
    switch (trouble) {
      case "request lost":
        throw new TypeError("the request was lost");
      case "answer lost":
        await (await fetch(url, init)).text();
        throw new TypeError("the answer was lost");
      case "doubled":
        return (await Promise.all([fetch(url, init), fetch(url, init)]))[Math.floor(random() * 2)];
      case "late": {
        const answer = await fetch(url, init);
        await new Promise((resolve) => setTimeout(resolve, random() * 50));
        return answer;
      }
      default:
        return new Response("", { status: 503, headers: { "retry-after": "0" } });
    }
  };
  return { network, troubles };
}

export function client(role, network = fetch) {
  const { client_id: clientId, client_secret: clientSecret } = platform.clients[role];
  return new Points({ cloudApi: platform.gateway, clientId, clientSecret, fetch: network });
}

/** A fresh token of the platform, and what was agreed about it. */
export async function redirect() {
  const { client_id: id, client_secret: secret } = platform.clients.platform;
  const answer = await fetch(`${platform.gateway}/sso/v1/redirects`, {
    method: "POST",
    headers: { authorization: `Basic ${btoa(`${id}:${secret}`)}`, "content-type": "application/json" },
    body: JSON.stringify({ user_id: platform.customer, vendor_id: platform.clients.vendor.vendor_id }),
  });
  const { url, fields } = await answer.json();
  const token = fields?.token ?? new URL(url).searchParams.get("token");
  const { iss: issuer, aud: audience } = decodeJwt(token);
  return { token, issuer, audience, algorithm: decodeProtectedHeader(token).alg };
}
