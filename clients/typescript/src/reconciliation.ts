// Once a day: your books against the platform's, in one request however long they are.

import { type Asking, Unanswered } from "./asking.js";

/** What your books say of a transaction. */
export interface Entry {
  readonly orderId: string;
  readonly state: "confirmed" | "rolled_back" | "expired" | "rejected" | "held" | "cancelled";
  /** Those deducted, of a held one those held, else 0; refunds do not count. */
  readonly points: number;
}

export interface Side {
  readonly state: string;
  readonly points: number;
}

export interface Finding {
  readonly finding:
    | "only_yours"
    | "only_ours"
    | "state_differs"
    | "points_differ"
    | "still_held"
    | "malformed"
    | (string & {});
  readonly transactionid?: string;
  readonly yours?: Side;
  readonly ours?: Side;
  /** Of a malformed line. */
  readonly line?: number;
  readonly detail?: string;
}

export interface Reconciliation {
  readonly findings: readonly Finding[];
  /** How many of each kind there are. */
  readonly summary: Readonly<Record<string, number | null>>;
}

/** ISO 8601 with a zone. What you left out is looked for in this range; by default in the last 31 days. */
export interface Range {
  readonly since?: string;
  readonly until?: string;
}

// The platform may think for a while behind the last line.
const TIMEOUT = 120_000;
const ATTEMPTS = 3;

export async function reconcile(
  asking: Asking,
  books: Iterable<Entry> | AsyncIterable<Entry>,
  range: Range,
): Promise<Reconciliation> {
  const lines: string[] = [];
  for await (const { orderId, state, points } of books) {
    lines.push(`${JSON.stringify({ transactionid: orderId, state, points })}\n`);
  }
  // A blob can be sent again.
  const body = new Blob(lines, { type: "application/x-ndjson" });
  const query = new URLSearchParams({ ...range });
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const said = await asking.grantedLines("POST", `/eai/v1/reconciliations?${query}`, body, TIMEOUT);
    const last = said?.at(-1);
    if (said !== undefined && last !== undefined && "summary" in last) {
      return {
        findings: said.slice(0, -1) as unknown as Finding[],
        summary: last["summary"] as Reconciliation["summary"],
      };
    }
  }
  throw new Unanswered("The answer broke off before its summary, again and again.");
}
