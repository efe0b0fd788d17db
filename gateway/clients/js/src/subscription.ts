// A subscription: its position, what it holds, and who is told of changes.

import { Emitter } from './emitter.js';
import { Held, type Hole, type Value } from './held.js';
import type { Frame, Notice, Status, Subscribed, Unsubscribed, Update } from './message.js';
import { matches } from './pattern.js';

/** A whole snapshot or batch: all that is told of it holds at `version`. */
export interface Batch {
  snapshot: boolean;
  version: number;
  /** When the gateway built it, in µs since the Unix epoch. */
  ts: number;
  /** Since when the oldest change in it waited, in µs since the Unix epoch. */
  oldest?: number;
  /** What is news: overlap is left out, topics that a snapshot lacks are `gone`. */
  updates: Update[];
}

/** Something is missing: updates of a stream, or, without a topic, all that a snapshot passed over. */
export interface Gap {
  topic?: string;
  missed?: number;
}

export interface SubscriptionEvents {
  update: Update;
  batch: Batch;
  gap: Gap;
  /** Nothing comes any more: what is held grows old. */
  stale: string;
  /** What is held is the gateway's newest again. */
  live: undefined;
  /** What the gateway says of topics: stale, with a gap, live again. */
  status: Status;
  notice: Notice;
  subscribed: Subscribed;
  /** It was refused, or patterns were taken from it. */
  error: { code: number; reason: string };
}

export interface SubscriptionOptions {
  /** How often at most, in ms; without it the gateway's own. */
  interval?: number;
}

export class Subscription extends Emitter<SubscriptionEvents> {
  /** Whether what is held is the gateway's newest. */
  live = false;
  /** @internal */
  class: number | undefined;
  #held = new Held();
  #statuses = new Map<string, Status>();
  #position: { epoch: string; version: number } | undefined;
  #epoch = '';
  #parts: Frame[] = [];
  #turns = new Set<() => void>();
  #changed = new Set<Set<string>>();
  #end: () => void;
  #ended = false;

  /** @internal */
  constructor(
    /** @internal */ readonly name: string,
    public patterns: string[],
    readonly interval: number | undefined,
    end: () => void,
  ) {
    super();
    this.#end = end;
  }

  /** The newest of a topic. */
  get(topic: string): Readonly<Value> | undefined {
    return this.#held.values.get(topic);
  }

  /** The table of a keyed topic. */
  table(topic: string): ReadonlyMap<string, unknown> | undefined {
    return this.get(topic)?.table;
  }

  /** All that is held, by topic. */
  get topics(): ReadonlyMap<string, Readonly<Value>> {
    return this.#held.values;
  }

  /** What the gateway says of a topic that is not live. */
  status(topic: string): Status | undefined {
    for (const [pattern, status] of this.#statuses) if (matches(pattern, topic)) return status;
    return undefined;
  }

  /** Ends it. */
  close(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.live = false;
    this.#end();
    for (const turn of this.#turns) turn();
  }

  /** Each turn gives what has changed since the one before, by topic; `undefined` is gone. It never queues. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Map<string, Readonly<Value> | undefined>, void, void> {
    const changed = new Set(this.#held.values.keys());
    this.#changed.add(changed);
    try {
      while (!this.#ended) {
        if (changed.size) {
          const turn = new Map([...changed].map((topic) => [topic, this.get(topic)] as const));
          changed.clear();
          yield turn;
        } else {
          await new Promise<void>((resolve) => this.#turns.add(resolve));
        }
      }
    } finally {
      this.#changed.delete(changed);
    }
  }

  /** @internal What to subscribe with. */
  ask(id: number): Record<string, unknown> {
    const at = this.#position;
    return {
      op: 'subscribe', id, sub: this.name, topics: this.patterns,
      ...(this.interval !== undefined && { interval_ms: this.interval }),
      ...(at && { since: `${at.epoch}:${at.version}` }),
    };
  }

  /** @internal */
  subscribed(answer: Subscribed): void {
    this.class = answer.class;
    this.#epoch = answer.epoch;
    this.#statuses.clear();
    if (!answer.more) this.emit('subscribed', answer);
  }

  /** @internal What the gateway took away, unasked. */
  unsubscribed({ topics, class: left, version = 0 }: Unsubscribed): void {
    this.class = left;
    this.#move(version);
    this.#parts = [];
    this.patterns = this.patterns.filter((pattern) => !topics.includes(pattern));
    const kept = (topic: string) => this.patterns.some((pattern) => matches(pattern, topic));
    this.#tell(this.#held.drop(kept));
    this.emit('error', { code: 4403, reason: `not permitted any more: ${topics.join(', ')}` });
  }

  /** @internal Takes a part of a snapshot or batch of its own class; false: something was left out before it. */
  take(frame: Frame): boolean {
    this.#parts.push(frame);
    if (frame.more) return true;
    const frames = this.#parts;
    this.#parts = [];
    const at = this.#position, holes: Hole[] = [];
    let updates: Update[] = [];
    const snapshot = frame.op === 'snapshot';
    if (snapshot) {
      this.#epoch = frame.epoch ?? this.#epoch;
      updates = this.#held.snapshot(frames, at?.epoch === this.#epoch);
      this.#position = { epoch: this.#epoch, version: frame.version };
    } else {
      if (!at || at.epoch !== this.#epoch || frame.from! > at.version) return false;
      // One that ends where this already is has nothing new, and may be older than what was removed since.
      if (frame.version > at.version) updates = this.#held.batch(frames, holes);
      this.#move(frame.version);
    }
    const { version, ts, oldest } = frame;
    this.#live();
    if (snapshot && at) this.emit('gap', {});
    for (const hole of holes) this.emit('gap', hole);
    this.#tell(updates);
    this.emit('batch', { snapshot, version, ts, updates, ...(oldest !== undefined && { oldest }) });
    return true;
  }

  /** @internal */
  told(status: Status): void {
    for (const topic of status.topics) {
      if (status.state === 'live') this.#statuses.delete(topic);
      else this.#statuses.set(topic, status);
    }
    this.emit('status', status);
  }

  /** @internal The connection is no more. */
  disconnected(reason: string): void {
    this.class = undefined;
    this.#parts = [];
    if (!this.live) return;
    this.live = false;
    this.emit('stale', reason);
  }

  /** A position never goes back. */
  #move(version: number): void {
    const at = this.#position;
    if (at) at.version = Math.max(at.version, version);
  }

  #live(): void {
    if (this.live) return;
    this.live = true;
    this.emit('live', undefined);
  }

  #tell(updates: Update[]): void {
    for (const update of updates) {
      for (const changed of this.#changed) changed.add(update.topic);
      this.emit('update', update);
    }
    if (!updates.length) return;
    for (const turn of this.#turns) turn();
    this.#turns.clear();
  }
}
