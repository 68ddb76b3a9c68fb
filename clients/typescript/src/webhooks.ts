// Events that the platform sends you, signed after Standard Webhooks.

import type { PlatformEvent } from "./schemas.js";
import { subtle } from "./web_crypto.js";

/** The request does not come from the platform, or came too late. Answer 400. */
export class WebhookRejected extends Error {
  override name = "WebhookRejected";
}

const TOLERANCE_SECONDS = 300;

/**
 * The event. Ignore it if you know its `id`: events come at least once, in any order.
 *
 * @param body the bytes as they came, before any parser.
 * @param secrets those of the endpoint (`whsec_…`); two while one replaces the other.
 * @throws WebhookRejected
 */
export async function checkWebhook(
  body: string,
  headers: { get(name: string): string | null },
  secrets: readonly string[],
): Promise<PlatformEvent> {
  const id = headers.get("webhook-id");
  const timestamp = headers.get("webhook-timestamp") ?? "";
  const signatures = (headers.get("webhook-signature") ?? "").split(" ");
  if (id === null || !/^\d{1,12}$/.test(timestamp)) throw new WebhookRejected("headers are missing");
  if (Math.abs(Date.now() / 1000 - Number(timestamp)) > TOLERANCE_SECONDS) throw new WebhookRejected("it is too old");
  const signed = new TextEncoder().encode(`${id}.${timestamp}.${body}`);
  for (const secret of secrets) {
    const key = await subtle.importKey(
      "raw",
      bytesOf(secret.replace(/^whsec_/, "")),
      { name: "HMAC", hash: "SHA-256" },
      false,
      ["verify"],
    );
    for (const signature of signatures) {
      const [version, value] = signature.split(",");
      // `verify` compares in constant time.
      if (version === "v1" && value && (await subtle.verify("HMAC", key, bytesOf(value), signed))) {
        return JSON.parse(body) as PlatformEvent;
      }
    }
  }
  throw new WebhookRejected("no secret of yours signed this");
}

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  try {
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  } catch {
    return new Uint8Array();
  }
}
