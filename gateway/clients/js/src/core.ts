// The state machine of a client: what came and how time passes go in, what to do and events come out. It does no IO.

import { verdict } from './codes.js';
import { Emitter } from './emitter.js';
import type { Authorized, Message, Notice, Refusal, Subscribed, Unsubscribed } from './message.js';
import { Outbox, type Done } from './outbox.js';
import { Own } from './own.js';
import { Subscription, type SubscriptionOptions } from './subscription.js';

/** `resting`: nothing is wanted. `waiting`: for the next try. `closed`: for good. */
export type State = 'resting' | 'authorizing' | 'connecting' | 'open' | 'waiting' | 'closed';

/** Why a token is asked for: at first, before the one at hand expires, or after a refusal or a close with this code. */
export type Why = 'first' | 'expiring' | number;

export type Action =
  | { do: 'connect'; token?: string }
  | { do: 'send'; text: string }
  /** The connection is given up. */
  | { do: 'close' }
  /** Answered by `token` or `tokenFailed`. */
  | { do: 'token'; why: Why };

export interface CoreEvents {
  state: State;
  notice: Notice;
  authorized: Authorized;
  /** Something went wrong that no publish or subscription is told of. */
  error: { code: number; reason: string };
  /** It does not come back by itself. */
  closed: { code: number; reason: string };
}

export interface CoreOptions {
  /** Whether tokens can be asked for. */
  hasToken: boolean;
  backoff: { min: number; max: number };
  /** From 0 to below 1. */
  random: () => number;
  /** Unlike that of any other client. */
  tab: string;
  /** Called when there is something to do that no input of the caller's brought. */
  acted?: () => void;
}

/** After so long without a message the gateway is asked whether it is there, and has so long to answer. */
const QUIET_MS = 12_000, ANSWER_MS = 8_000;
/** A connection has so long to be made, and is a good one after so long. */
const CONNECT_MS = 15_000, GOOD_MS = 5_000;
/** A gateway that shuts down without a word on when to come back is left alone for up to so long. */
const DRAIN_MS = 2_000;
const RENEW_MS = 5_000;

export class Core extends Emitter<CoreEvents> {
  state: State = 'resting';
  /** What the gateway grants without being asked. */
  readonly auto = new Subscription('auto', [], undefined, () => this.#unsubscribe(this.auto));
  as: string | undefined;
  #actions: Action[] = [];
  #subscriptions = new Set<Subscription>();
  #asked = new Map<number, Subscription>();
  #outbox = new Outbox();
  #owns = new Set<Own>();
  #ids = 0;
  #now = 0;
  #tries = 0;
  #token: string | undefined;
  /** Set: another token is to be asked for. */
  #why: Why | undefined = 'first';
  #asking = false;
  #renewal = 0;
  /** Of this connection: whether anything came, and came since the last look; whether a ping is out. */
  #heard = false;
  #fresh = false;
  #pinged = false;
  #comeBackMs: number | undefined;
  /** The gateway has asked to be left alone for a while. */
  #sentAway = false;
  /** When something is due, in ms. */
  #due: { quiet?: number; good?: number; retry?: number; renew?: number } = {};

  constructor(readonly options: CoreOptions) {
    super();
  }

  /** What to do next; `undefined`: nothing. */
  next(): Action | undefined {
    return this.#actions.shift();
  }

  /** When `time` is to be called at the latest, in ms of its clock. */
  get due(): number {
    return Math.min(...Object.values(this.#due), Infinity);
  }

  /** Begins to connect. */
  start(): void {
    if (this.state === 'resting' || this.state === 'closed') this.#go();
  }

  subscribe(patterns: string[], options: SubscriptionOptions = {}): Subscription {
    const name = (++this.#ids).toString(36);
    const subscription = new Subscription(name, [...patterns], options.interval, () => this.#unsubscribe(subscription));
    this.#subscriptions.add(subscription);
    if (this.state === 'open') this.#ask(subscription);
    if (this.state === 'resting') this.#go();
    return subscription;
  }

  publish(topic: string, change: { data: unknown } | { set?: Record<string, unknown>; del?: string[] }, done: Done): void {
    const id = ++this.#ids;
    this.#outbox.add(id, { op: 'publish', id, once: `${this.options.tab}-${id}`, topic, ...change }, done);
    if (this.state === 'closed') this.#outbox.close(0, 'the client is closed');
    if (this.state === 'resting') this.#go();
    this.#flush();
  }

  /** A key of one's own in a keyed topic, written again after every return. */
  own(topic: string, value: unknown): Own {
    const own = new Own(topic, value, (change) => this.publish(topic, change, (answer) => {
      if (answer instanceof Error) this.emit('error', { code: answer.code, reason: answer.message });
    }), () => this.#owns.delete(own));
    this.#owns.add(own);
    if (this.#heard && this.state === 'open') own.named(this.ownKey);
    if (this.state === 'resting') this.#go();
    return own;
  }

  /** The key that this client alone writes; only a client with a name has one. */
  get ownKey(): string | undefined {
    return this.as && `${this.as}/${this.options.tab}`;
  }

  /** A token was got; without one the client goes on without. */
  token(token: string | undefined): void {
    this.#asking = false;
    this.#why = undefined;
    this.#token = token || undefined;
    if (this.state === 'authorizing') this.#connect();
    else if (this.state === 'open' && this.#token) {
      this.#renewal = ++this.#ids;
      this.#send({ op: 'auth', id: this.#renewal, token: this.#token });
    }
  }

  tokenFailed(reason: string): void {
    this.#asking = false;
    this.emit('error', { code: 4401, reason: `no token: ${reason}` });
    if (this.state === 'authorizing') this.#wait(this.#backoff());
    else if (this.state === 'open') this.#due.renew = this.#now + RENEW_MS;
  }

  /** The connection is made. */
  opened(): void {
    if (this.state !== 'connecting') return;
    this.#fresh = this.#pinged = false;
    this.#due = { quiet: this.#now + QUIET_MS, good: this.#now + GOOD_MS };
    this.#enter('open');
    for (const subscription of this.#subscriptions) this.#ask(subscription);
    // Its answer says that nothing stands in the way of what is to be published.
    if (!this.#subscriptions.size) this.#send({ op: 'ping' });
  }

  /** Bytes came that are no message. */
  alive(): void {
    this.#fresh = true;
  }

  received(text: string): void {
    if (this.state !== 'open') return;
    this.#fresh = true;
    let message: Message;
    try {
      message = JSON.parse(text) as Message;
    } catch {
      return this.#giveUp('a message is not JSON');
    }
    // Before it is answered anything, a client with a good token is told its name.
    if (message.op === 'authorized') this.#authorized(message);
    if (!this.#heard) {
      this.#heard = true;
      for (const own of this.#owns) own.named(this.ownKey);
    }
    this.#take(message);
    this.#flush();
  }

  closed(code: number, reason: string): void {
    if (this.state !== 'open' && this.state !== 'connecting') return;
    const heard = this.#heard;
    this.#ended(reason || `closed with ${code}`);
    const { hasToken } = this.options, told = verdict(code);
    if (told === 'final' || (told === 'token' && !hasToken)) return this.#close(code, reason);
    // An HTTP refusal is not told: the token may be why.
    if (hasToken && told === 'token') this.#why = code;
    else if (hasToken && !heard) this.#why ??= code;
    if (code === 4000 && this.#idle) return this.#enter('resting');
    const comeBackMs = this.#comeBackMs ?? (code === 1001 ? this.options.random() * DRAIN_MS : undefined);
    this.#comeBackMs = undefined;
    this.#wait(comeBackMs ?? this.#backoff(), comeBackMs !== undefined);
  }

  /** The clock, in ms from any moment on. */
  time(nowMs: number): void {
    this.#now = nowMs;
    const due = this.#due;
    const over = (name: keyof typeof due) => {
      if (due[name] === undefined || due[name]! > nowMs) return false;
      delete due[name];
      return true;
    };
    if (over('good')) this.#tries = 0;
    if (over('renew')) this.#askToken('expiring');
    if (over('retry')) this.#go();
    if (over('quiet')) this.#look();
  }

  /** The network is back, or the page is looked at again. */
  wake(): void {
    if (this.state === 'waiting' && !this.#sentAway) this.#go();
    else if (this.state === 'open' && !this.#pinged) this.#probe();
  }

  /** Ends it for good. */
  close(): void {
    if (this.state === 'closed') return;
    if (this.state === 'open' || this.state === 'connecting') this.#act({ do: 'close' });
    this.#ended('the client is closed');
    this.#close(1000, 'the client is closed');
  }

  get #idle(): boolean {
    return !this.#subscriptions.size && !this.#owns.size && this.#outbox.empty;
  }

  #take(message: Message): void {
    switch (message.op) {
      case 'snapshot':
      case 'batch': {
        const subscription = this.#all().find((each) => each.class === message.class);
        if (subscription && !subscription.take(message)) this.#giveUp('a batch is missing');
        break;
      }
      case 'subscribed':
        this.#subscribed(message);
        break;
      case 'unsubscribed':
        this.#unsubscribed(message);
        break;
      case 'status':
        for (const subscription of this.#all()) subscription.told(message);
        break;
      case 'notice':
        this.#noticed(message);
        break;
      case 'published':
        this.#outbox.answered(message);
        break;
      case 'error':
        this.#refused(message);
    }
  }

  #all(): Subscription[] {
    return [...this.#subscriptions, this.auto];
  }

  #subscribed(message: Subscribed): void {
    if (message.id !== undefined) this.#asked.delete(message.id as number);
    const subscription = this.#all().find(({ name }) => name === message.sub);
    if (subscription === this.auto) subscription.patterns = message.topics;
    subscription?.subscribed(message);
  }

  /** What was asked for is done already; the rest is what was taken away. */
  #unsubscribed(message: Unsubscribed): void {
    if (message.id !== undefined) return;
    const subscription = this.#all().find(({ name }) => name === message.sub);
    subscription?.unsubscribed(message);
    if (subscription && !subscription.patterns.length) this.#subscriptions.delete(subscription);
  }

  #noticed(notice: Notice): void {
    if (notice.code === 'draining') this.#comeBackMs = notice.reconnect_after_ms;
    if (notice.code === 'token_expiring') this.#askToken('expiring');
    this.emit('notice', notice);
    for (const subscription of this.#all()) subscription.emit('notice', notice);
  }

  #authorized(message: Authorized): void {
    this.as = message.as;
    this.emit('authorized', message);
    // What a token before did not grant, or what waited for one.
    for (const subscription of this.#subscriptions) {
      if (this.#heard && subscription.class === undefined && ![...this.#asked.values()].includes(subscription)) {
        this.#ask(subscription);
      }
    }
  }

  #refused(message: Refusal): void {
    const { code, reason } = message, id = message.id as number;
    const subscription = this.#asked.get(id);
    this.#asked.delete(id);
    if (id !== undefined && id === this.#renewal && this.options.hasToken) this.#due.renew = this.#now + RENEW_MS;
    else if (code === 4401 && this.options.hasToken) this.#askToken(code);
    if (subscription) subscription.emit('error', { code, reason });
    else if (!this.#outbox.answered(message)) this.emit('error', { code, reason });
  }

  #askToken(why: Why): void {
    if (!this.options.hasToken || this.#asking) return;
    this.#why = why;
    this.#asking = true;
    this.#act({ do: 'token', why });
  }

  #ask(subscription: Subscription): void {
    const id = ++this.#ids;
    this.#asked.set(id, subscription);
    this.#send(subscription.ask(id));
  }

  #unsubscribe(subscription: Subscription): void {
    const was = this.#subscriptions.delete(subscription);
    if (this.state === 'open' && (was || subscription === this.auto)) {
      this.#send({ op: 'unsubscribe', id: ++this.#ids, sub: subscription.name });
    }
    subscription.class = undefined;
  }

  #flush(): void {
    if (this.state !== 'open' || !this.#heard) return;
    for (const op of this.#outbox.flush(this.as, this.#now)) this.#send(op);
  }

  #send(op: Record<string, unknown>): void {
    this.#act({ do: 'send', text: JSON.stringify(op) });
  }

  #act(action: Action): void {
    this.#actions.push(action);
    this.options.acted?.();
  }

  #go(): void {
    this.#due = {};
    if (this.options.hasToken && this.#why !== undefined) {
      this.#enter('authorizing');
      this.#askToken(this.#why);
    } else this.#connect();
  }

  #connect(): void {
    this.#heard = false;
    this.as = undefined;
    this.#due = { quiet: this.#now + CONNECT_MS };
    this.#enter('connecting');
    this.#act({ do: 'connect', ...(this.#token && { token: this.#token }) });
  }

  /** Nothing came for a while, or only what came. */
  #look(): void {
    const { state } = this;
    if (state === 'connecting') return this.#giveUp('no connection');
    if (this.#fresh) {
      this.#fresh = this.#pinged = false;
      this.#due.quiet = this.#now + QUIET_MS;
    } else if (this.#pinged) this.#giveUp('nothing came any more');
    else this.#probe();
  }

  #probe(): void {
    this.#fresh = false;
    this.#pinged = true;
    this.#due.quiet = this.#now + ANSWER_MS;
    this.#send({ op: 'ping' });
  }

  #giveUp(reason: string): void {
    this.#act({ do: 'close' });
    this.closed(1006, reason);
  }

  #backoff(): number {
    const { min, max } = this.options.backoff;
    return this.options.random() * Math.min(max, min * 2 ** this.#tries++);
  }

  #wait(ms: number, sentAway = false): void {
    this.#sentAway = sentAway;
    this.#due = { retry: this.#now + ms };
    this.#enter('waiting');
  }

  /** Of what belonged to the connection nothing is left. */
  #ended(reason: string): void {
    this.#due = {};
    this.#asked.clear();
    this.#outbox.disconnected();
    for (const own of this.#owns) own.named(undefined);
    for (const subscription of this.#all()) subscription.disconnected(reason);
  }

  #close(code: number, reason: string): void {
    this.#due = {};
    this.#why = 'first';
    this.#enter('closed');
    this.#outbox.close(code, reason);
    this.emit('closed', { code, reason });
  }

  #enter(state: State): void {
    if (this.state === state) return;
    this.state = state;
    this.emit('state', state);
  }
}
