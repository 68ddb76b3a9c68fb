// Node 18 has the Web's cryptography, but not as a global.
const crypto = globalThis.crypto ?? (await import("node:crypto")).webcrypto;

export const { subtle } = crypto;

/** A key of one call alone: its retries are repetitions, and every other call is another one. */
export function freshKey(): string {
  return hexadecimal(crypto.getRandomValues(new Uint8Array(16)));
}

/** SHA-256 of a text, in hexadecimal. */
export async function digestOf(text: string): Promise<string> {
  return hexadecimal(new Uint8Array(await subtle.digest("SHA-256", new TextEncoder().encode(text))));
}

function hexadecimal(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
