// Requests that survive a bad network: time-outs, retries with chance in their pauses, Retry-After.

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
/** 4xx that say "not now" rather than "no". */
const NOT_NOW = new Set([408, 425, 429]);

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
   * The answer, refusals too. It is asked again while there is none: no connection, a time-out, 5xx, 408, 425, 429.
   *
   * @param key goes into `Idempotency-Key`, so that the repetition is safe.
   * @throws Unanswered
   */
  async ask(method: string, path: string, body?: object, key?: string): Promise<Answer> {
    const answer = await this.#answered(method, path, body, key);
    return { status: answer.status, body: await objectOf(answer) };
  }

  /** The JSON lines of an answer; undefined if it broke off. @throws Refused, Unanswered */
  async grantedLines(
    method: string,
    path: string,
    body: Blob,
    timeout: number,
  ): Promise<Record<string, unknown>[] | undefined> {
    const answer = await this.#answered(method, path, body, undefined, timeout);
    if (answer.status >= 400) throw new Refused(answer.status, await objectOf(answer));
    try {
      const lines = (await answer.text()).split("\n").filter((line) => line !== "");
      return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    } catch {
      return undefined;
    }
  }

  async #answered(method: string, path: string, body?: object, key?: string, timeout?: number): Promise<Response> {
    const attempts = this.#options.attempts ?? 5;
    let trouble = "";
    for (let attempt = 1; attempt <= attempts; attempt++) {
      const answer = await this.#once(method, path, body, key, timeout);
      if (answer !== undefined && answer.status < 500 && !NOT_NOW.has(answer.status)) return answer;
      trouble = answer === undefined ? "no answer" : `status ${answer.status}`;
      const wished = answer === undefined ? 0 : wishedPause(answer);
      if (wished > LONGEST_PAUSE) break;
      if (attempt < attempts) {
        // Half of the pause is chance, so that many callers do not come back in one instant.
        const longest = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1));
        await pause(Math.max(wished, longest * (0.5 + Math.random() / 2)));
      }
    }
    throw new Unanswered(`${method} ${path}: ${trouble}`);
  }

  /**
   * The same, for those who need a yes: its body, of the shape that the OpenAPI document promises.
   *
   * @throws Refused, Unanswered
   */
  async granted<Body = unknown>(method: string, path: string, body?: object, key?: string): Promise<Body> {
    const answer = await this.ask(method, path, body, key);
    if (answer.status >= 400) throw new Refused(answer.status, answer.body);
    return answer.body as Body;
  }

  async #once(
    method: string,
    path: string,
    body?: object,
    key?: string,
    timeout?: number,
  ): Promise<Response | undefined> {
    const headers: Record<string, string> = { authorization: this.#authorization, accept: "application/json" };
    if (body instanceof Blob) headers["content-type"] = headers["accept"] = body.type;
    else if (body !== undefined) headers["content-type"] = "application/json";
    if (key !== undefined) headers["idempotency-key"] = `"${key}"`;
    try {
      return await (this.#options.fetch ?? fetch)(this.#options.cloudApi + path, {
        method,
        headers,
        ...(body === undefined ? {} : { body: body instanceof Blob ? body : JSON.stringify(body) }),
        signal: AbortSignal.timeout(timeout ?? this.#options.timeoutMilliseconds ?? 5000),
      });
    } catch {
      return undefined;
    }
  }
}

async function objectOf(answer: Response): Promise<Record<string, unknown>> {
  try {
    const found: unknown = await answer.json();
    return typeof found === "object" && found !== null ? (found as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** Milliseconds of `Retry-After`: a number of seconds, or a date. */
function wishedPause(answer: Response): number {
  const value = answer.headers.get("retry-after") ?? "";
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const at = Date.parse(value);
  return Number.isNaN(at) ? 0 : Math.max(0, at - Date.now());
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
