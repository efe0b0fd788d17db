// What a gateway says, as far as a client looks at it.

/** One update of a topic. `data` is of `latest` and `stream` topics, `set`, `del` and `reset` of keyed ones. */
export interface Update {
  topic: string;
  v: number;
  /** µs since the Unix epoch. */
  ts: number;
  data?: unknown;
  set?: Record<string, unknown>;
  del?: string[];
  reset?: boolean;
  /** The topic is no more. */
  gone?: boolean;
  /** Of a `stream` topic: so many updates before this one are missing from the batch. */
  gap?: number;
  /** Who wrote it, where a client with a name did. */
  by?: string;
}

/** A snapshot or batch, or a part of one. */
export interface Frame {
  op: 'snapshot' | 'batch';
  class: number;
  ts: number;
  version: number;
  from?: number;
  epoch?: string;
  oldest?: number;
  more?: boolean;
  updates: Update[];
}

export interface Status {
  op: 'status';
  topics: string[];
  state: 'live' | 'stale' | 'gap';
  since: number;
  reason?: string;
}

export interface Notice {
  op: 'notice';
  code: string;
  reconnect_after_ms?: number;
  exp?: number;
  active?: boolean;
  interval_ms_max?: number;
}

export interface Subscribed {
  op: 'subscribed';
  id?: Id;
  sub: string;
  class: number;
  topics: string[];
  interval_ms: number;
  epoch: string;
  version: number;
  more?: boolean;
}

export interface Unsubscribed {
  op: 'unsubscribed';
  id?: Id;
  sub: string;
  class?: number;
  version?: number;
  topics: string[];
  more?: boolean;
}

export interface Authorized {
  op: 'authorized';
  id?: Id;
  sub?: string;
  /** The subject as one segment of a topic, which keys of one's own begin with. */
  as?: string;
  conn: string;
  exp?: number;
}

export interface Published {
  op: 'published';
  id?: Id;
  topic: string;
  v: number;
  version: number;
  reply?: unknown;
}

export interface Refusal {
  op: 'error';
  id?: Id;
  code: number;
  reason: string;
  retry_after_ms?: number;
}

export type Id = number | string;

export type Message =
  | Frame | Status | Notice | Subscribed | Unsubscribed | Authorized | Published | Refusal | { op: 'pong'; id?: Id };
