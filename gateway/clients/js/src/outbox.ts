// What the client publishes: sent in order, kept until it is answered, sent again where that writes nothing twice.

import type { Published, Refusal } from './message.js';

/** The gateway has so many of a connection under way, and reads no further. */
const IN_FLIGHT_MAX = 16;
const WAITING_MAX = 256;
/** The gateway knows a `once` again for two minutes by default. */
const ONCE_MS = 110_000;

/** A publish that was refused, or of which nobody knows whether it was written (`code` 0). */
export class PublishError extends Error {
  override name = 'PublishError';
  constructor(readonly code: number, reason: string, readonly retryAfterMs?: number) {
    super(reason);
  }
}

export type Done = (answer: Published | PublishError) => void;

interface Entry {
  id: number;
  op: Record<string, unknown>;
  done: Done;
  /** When it was first sent, and as whom. */
  sent?: { ms: number; as: string | undefined };
  inFlight: boolean;
}

export class Outbox {
  #entries: Entry[] = [];

  get empty(): boolean {
    return this.#entries.length === 0;
  }

  add(id: number, op: Record<string, unknown>, done: Done): void {
    if (this.#entries.length < WAITING_MAX) this.#entries.push({ id, op, done, inFlight: false });
    else done(new PublishError(4008, `${WAITING_MAX} publishes wait for their answers`));
  }

  /** What may be sent now, by a connection with this name. */
  flush(as: string | undefined, nowMs: number): Record<string, unknown>[] {
    const ops: Record<string, unknown>[] = [];
    let inFlight = this.#entries.filter((entry) => entry.inFlight).length;
    for (const entry of [...this.#entries]) {
      if (entry.inFlight) continue;
      // `once` is known by the subject; what a connection without one sent is known by that connection alone.
      if (entry.sent && (!as || entry.sent.as !== as || nowMs - entry.sent.ms > ONCE_MS)) {
        this.#end(entry, new PublishError(0, 'the connection ended before the answer: it may have been written or not'));
      } else if (inFlight < IN_FLIGHT_MAX) {
        inFlight++;
        entry.inFlight = true;
        entry.sent ??= { ms: nowMs, as };
        ops.push(entry.op);
      }
    }
    return ops;
  }

  /** Whether the message answers one of these. */
  answered(message: Published | Refusal): boolean {
    const entry = this.#entries.find(({ id, inFlight }) => inFlight && id === message.id);
    if (!entry) return false;
    this.#end(entry, message.op === 'published' ? message
      : new PublishError(message.code, message.reason, message.retry_after_ms));
    return true;
  }

  disconnected(): void {
    for (const entry of this.#entries) entry.inFlight = false;
  }

  /** Nothing will be sent any more. */
  close(code: number, reason: string): void {
    for (const entry of [...this.#entries]) this.#end(entry, new PublishError(entry.sent ? 0 : code, reason));
  }

  #end(entry: Entry, answer: Published | PublishError): void {
    this.#entries.splice(this.#entries.indexOf(entry), 1);
    entry.done(answer);
  }
}
