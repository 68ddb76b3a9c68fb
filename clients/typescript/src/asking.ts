// Requests that survive a bad network: time-outs, retries with chance in their pauses, Retry-After.

import { digestOf } from "./web_crypto.js";

/** The platform gave no usable answer, again and again. What was asked for may or may not have happened. */
export class Unanswered extends Error {
  override name = "Unanswered";
}

/** The platform said no. `code` is stable: `/developers/codes` explains each. */
export class Refused extends Error {
  override name = "Refused";
  readonly code: string;
  /** Where the transaction stands, if the platform told it. */
  readonly state: string | undefined;

  constructor(
    readonly status: number,
    readonly body: Record<string, unknown>,
  ) {
    const code = typeof body["code"] === "string" ? body["code"] : "";
    super(`${status} ${code}: ${body["detail"] ?? body["message"] ?? "no reason given"}`);
    this.code = code;
    this.state = typeof body["state"] === "string" ? body["state"] : undefined;
  }
}

export interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

export interface Options {
  /** The cloud API URL. */
  readonly cloudApi: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** For tests and proxies. */
  readonly fetch?: typeof fetch;
  readonly attempts?: number;
  readonly timeoutMilliseconds?: number;
}

const FIRST_PAUSE = 200;
const LONGEST_PAUSE = 5000;
const ATTEMPTS = 5;
const TIMEOUT = 5000;
/** 4xx that say "not now" rather than "no". */
const NOT_NOW = new Set([408, 425, 429]);

/** An answer that came in as a whole. */
interface Heard {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** Asks the platform, as one client. */
export class Asking {
  readonly #options: Options;
  readonly #authorization: string;

  constructor(options: Options) {
    this.#options = options;
    const credentials = new TextEncoder().encode(`${options.clientId}:${options.clientSecret}`);
    this.#authorization = `Basic ${btoa(String.fromCharCode(...credentials))}`;
  }

  /**
   * The answer, refusals too. It is asked again while there is none: no connection, a time-out, an answer that broke
   * off, 5xx, 408, 425, 429.
   *
   * @param key any text that makes the repetition safe; the same one for another method or path is another key.
   * @throws Unanswered
   */
  async ask(method: string, path: string, body?: object, ...key: string[]): Promise<Answer> {
    const { status, text } = await this.#heard(method, path, body, key);
    return { status, body: objectOf(text) };
  }

  /** The JSON lines of an answer; undefined if it broke off. @throws Refused, Unanswered */
  async grantedLines(
    method: string,
    path: string,
    body: Blob,
    timeout: number,
  ): Promise<Record<string, unknown>[] | undefined> {
    const { status, text } = await this.#heard(method, path, body, [], timeout);
    if (status >= 400) throw new Refused(status, objectOf(text));
    try {
      const lines = text.split("\n").filter((line) => line !== "");
      return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    } catch {
      return undefined;
    }
  }

  /**
   * The same as `ask`, for those who need a yes: its body, of the shape that the OpenAPI document promises.
   *
   * @throws Refused, Unanswered
   */
  async granted<Body = unknown>(method: string, path: string, body?: object, ...key: string[]): Promise<Body> {
    const answer = await this.ask(method, path, body, ...key);
    if (answer.status >= 400) throw new Refused(answer.status, answer.body);
    return answer.body as Body;
  }

  async #heard(
    method: string,
    path: string,
    body: object | undefined,
    key: readonly string[],
    timeout?: number,
  ): Promise<Heard> {
    const headers: Record<string, string> = { authorization: this.#authorization, accept: "application/json" };
    if (body instanceof Blob) headers["content-type"] = headers["accept"] = body.type;
    else if (body !== undefined) headers["content-type"] = "application/json";
    // A digest, since a header takes no more than 255 characters of ASCII.
    if (key.length > 0) headers["idempotency-key"] = `"${await digestOf(JSON.stringify([method, path, ...key]))}"`;
    const { cloudApi, timeoutMilliseconds } = this.#options;
    return heard(
      cloudApi + path,
      {
        method,
        headers,
        ...(body === undefined ? {} : { body: body instanceof Blob ? body : JSON.stringify(body) }),
      },
      { ...this.#options, timeoutMilliseconds: timeout ?? timeoutMilliseconds ?? TIMEOUT },
    );
  }
}

/** What a public address tells: a JSON object. @throws Refused, Unanswered */
export async function publicObject(
  address: string,
  options: Pick<Options, "fetch"> = {},
): Promise<Record<string, unknown>> {
  const { status, text } = await heard(address, { headers: { accept: "application/json" } }, options);
  if (status >= 400) throw new Refused(status, objectOf(text));
  return objectOf(text);
}

async function heard(
  address: string,
  request: RequestInit,
  options: Pick<Options, "fetch" | "attempts" | "timeoutMilliseconds">,
): Promise<Heard> {
  const attempts = options.attempts ?? ATTEMPTS;
  let trouble = "";
  for (let attempt = 1; attempt <= attempts; attempt++) {
    const answer = await once(address, request, options.fetch ?? fetch, options.timeoutMilliseconds ?? TIMEOUT);
    if (answer !== undefined && answer.status < 500 && !NOT_NOW.has(answer.status)) return answer;
    trouble = answer === undefined ? "no answer" : `status ${answer.status}`;
    const wished = answer === undefined ? 0 : wishedPause(answer.headers);
    if (wished > LONGEST_PAUSE) break;
    if (attempt < attempts) {
      // Half of the pause is chance, so that many callers do not come back in one instant.
      const longest = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1));
      await pause(Math.max(wished, longest * (0.5 + Math.random() / 2)));
    }
  }
  throw new Unanswered(`${request.method ?? "GET"} ${address}: ${trouble}`);
}

async function once(
  address: string,
  request: RequestInit,
  ask: typeof fetch,
  timeout: number,
): Promise<Heard | undefined> {
  try {
    const answer = await ask(address, { ...request, signal: AbortSignal.timeout(timeout) });
    // An answer of which the rest never comes is none.
    return { status: answer.status, headers: answer.headers, text: await answer.text() };
  } catch {
    return undefined;
  }
}

function objectOf(text: string): Record<string, unknown> {
  try {
    const found: unknown = JSON.parse(text);
    return typeof found === "object" && found !== null ? (found as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** Milliseconds of `Retry-After`: a number of seconds, or a date. */
function wishedPause(headers: Headers): number {
  const value = headers.get("retry-after") ?? "";
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const at = Date.parse(value);
  return Number.isNaN(at) ? 0 : Math.max(0, at - Date.now());
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
