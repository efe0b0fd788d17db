// What a subscription holds: the newest of every topic, tables key by key.

import type { Frame, Update } from './message.js';

/** The newest of one topic. */
export interface Value {
  v: number;
  /** µs since the Unix epoch. */
  ts: number;
  /** Of a keyed topic there is none. */
  data?: unknown;
  /** Of a keyed topic alone. */
  table?: Map<string, unknown>;
  by?: string;
}

/** Updates of a `stream` topic that never came. */
export interface Hole {
  topic: string;
  missed: number;
}

export class Held {
  values = new Map<string, Value>();

  /** Takes a whole batch, in parts; gives what of it is news. */
  batch(frames: Frame[], holes: Hole[]): Update[] {
    return frames.flatMap((frame) => frame.updates).filter((update) => {
      const old = this.values.get(update.topic);
      if (old && update.v <= old.v) return false;
      if (update.gap) {
        const missed = old ? update.v - old.v - 1 : update.gap;
        if (missed > 0) holes.push({ topic: update.topic, missed });
      }
      this.#take(update);
      return true;
    });
  }

  /** Takes a whole snapshot, which replaces everything. `continues`: in the epoch of what is held. */
  snapshot(frames: Frame[], continues: boolean): Update[] {
    const before = this.values;
    this.values = new Map();
    const news: Update[] = [];
    for (const { updates } of frames) {
      for (const update of updates) {
        const old = before.get(update.topic);
        if (!(continues && old && update.v <= old.v)) news.push(update);
        this.#take(update);
      }
    }
    const { ts } = frames[0]!;
    for (const [topic, { v }] of before) {
      if (!this.values.has(topic)) news.push({ topic, v, ts, gone: true });
    }
    return news;
  }

  /** Drops the topics that `keep` does not want; gives them. */
  drop(keep: (topic: string) => boolean): Update[] {
    const gone = [...this.values].filter(([topic]) => !keep(topic));
    for (const [topic] of gone) this.values.delete(topic);
    return gone.map(([topic, { v, ts }]) => ({ topic, v, ts, gone: true }));
  }

  #take(update: Update): void {
    const { topic, v, ts, data, set, del, reset, gone, by } = update;
    if (gone) {
      this.values.delete(topic);
    } else if (set || del || reset) {
      const table = (reset ? null : this.values.get(topic)?.table) ?? new Map<string, unknown>();
      for (const key of del ?? []) table.delete(key);
      for (const key of Object.keys(set ?? {})) table.set(key, set![key]);
      this.values.set(topic, { v, ts, table });
    } else {
      this.values.set(topic, by === undefined ? { v, ts, data } : { v, ts, data, by });
    }
  }
}
