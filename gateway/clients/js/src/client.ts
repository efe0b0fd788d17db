// A client: the core with a clock, a network and what a page tells.

import { Core, type CoreEvents, type State, type Why } from './core.js';
import type { Published } from './message.js';
import type { Own } from './own.js';
import { socket } from './socket.js';
import { sse } from './sse.js';
import type { Subscription, SubscriptionOptions } from './subscription.js';
import type { Transport } from './transport.js';

export interface Options {
  /** Gives a token, or none where none is needed yet. It is asked again before that expires, and after a refusal. */
  token?: (why: Why) => string | null | undefined | Promise<string | null | undefined>;
  /** How long to wait before the next try: a random time up to `min`, doubled at each, up to `max`. In ms. */
  backoff?: { min?: number; max?: number };
  /** `"auto"`: events where no WebSocket could be made. */
  transport?: 'auto' | 'websocket' | 'sse';
}

/** So many tries without a message, of a client that never had one by WebSocket, and events are tried. */
const SOCKET_TRIES = 2;

export class Client {
  #core: Core;
  #url: string;
  #options: Options;
  #transport: Transport | undefined;
  #busy = false;
  #dueMs = Infinity;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #unheard = 0;
  #socketWorks = false;

  constructor(url: string, options: Options = {}) {
    this.#url = new URL(url, globalThis.location?.href).href;
    this.#options = options;
    const tab = crypto.getRandomValues(new Uint32Array(3)).reduce((text, n) => text + n.toString(36), '');
    const { min = 500, max = 20_000 } = options.backoff ?? {};
    this.#core = new Core({ hasToken: !!options.token, backoff: { min, max }, random: Math.random, tab, acted: () => this.#acted() });
    globalThis.addEventListener?.('online', this.#wake);
    globalThis.document?.addEventListener('visibilitychange', this.#wake);
    this.#do((core) => core.start());
  }

  get state(): State {
    return this.#core.state;
  }

  /** What the gateway grants without being asked. */
  get auto(): Subscription {
    return this.#core.auto;
  }

  /** The key that this client alone writes in topics of own keys; only a client with a name has one. */
  get ownKey(): string | undefined {
    return this.#core.ownKey;
  }

  on<Name extends keyof CoreEvents>(name: Name, listener: (value: CoreEvents[Name]) => void): () => void {
    return this.#core.on(name, listener);
  }

  subscribe(patterns: string | string[], options?: SubscriptionOptions): Subscription {
    return this.#do((core) => core.subscribe([patterns].flat(), options));
  }

  /** Writes a value, or of a keyed topic (an object of nothing but `set` and `del`) keys. */
  publish(topic: string, value: unknown): Promise<Published> {
    return new Promise((resolve, reject) => {
      const change = isChange(value) ? value : { data: value };
      const done = (answer: Published | Error) => (answer instanceof Error ? reject(answer) : resolve(answer));
      this.#do((core) => core.publish(topic, change, done));
    });
  }

  /** Holds a key of one's own in a keyed topic for as long as it is not closed, whatever becomes of the connection. */
  own(topic: string, value: unknown): Own {
    return this.#do((core) => core.own(topic, value));
  }

  /** Connects again after a close that was for good. */
  reconnect(): void {
    this.#do((core) => core.start());
  }

  close(): void {
    globalThis.removeEventListener?.('online', this.#wake);
    globalThis.document?.removeEventListener('visibilitychange', this.#wake);
    this.#do((core) => core.close());
  }

  #wake = () => {
    if (globalThis.document?.visibilityState !== 'hidden') this.#do((core) => core.wake());
  };

  /** What a subscription or a key brought, which know nothing of this. */
  #acted(): void {
    if (!this.#busy) queueMicrotask(() => this.#do(() => {}));
  }

  /** Gives the core something, then does what it says. */
  #do<T>(give: (core: Core) => T): T {
    const core = this.#core;
    this.#busy = true;
    core.time(performance.now());
    const given = give(core);
    this.#busy = false;
    for (let action = core.next(); action; action = core.next()) {
      if (action.do === 'send') this.#transport?.send(action.text);
      else if (action.do === 'connect') this.#connect(action.token);
      else if (action.do === 'token') void this.#token(action.why);
      else this.#transport?.close();
    }
    if (core.due !== this.#dueMs) {
      this.#dueMs = core.due;
      clearTimeout(this.#timer);
      if (this.#dueMs < Infinity) this.#timer = setTimeout(this.#late, this.#dueMs - performance.now());
    }
    return given;
  }

  #late = () => {
    this.#dueMs = Infinity;
    this.#do(() => {});
  };

  async #token(why: Why): Promise<void> {
    try {
      const token = await this.#options.token!(why);
      this.#do((core) => core.token(token ?? undefined));
    } catch (error) {
      this.#do((core) => core.tokenFailed(String(error)));
    }
  }

  #connect(token: string | undefined): void {
    const kind = this.#choose();
    const open = kind === 'sse' ? sse : socket;
    const handlers = {
      opened: () => this.#do((core) => core.opened()),
      received: (text: string) => {
        this.#unheard = 0;
        this.#core.alive();
        if (kind === 'socket') this.#socketWorks = true;
        this.#do((core) => core.received(text));
      },
      alive: () => this.#core.alive(),
      closed: (code: number, reason: string) => this.#do((core) => core.closed(code, reason)),
    };
    this.#unheard++;
    try {
      this.#transport = open(this.#url, token, handlers);
    } catch (error) {
      queueMicrotask(() => handlers.closed(1006, String(error)));
    }
  }

  #choose(): 'socket' | 'sse' {
    const { transport = 'auto' } = this.#options;
    if (transport !== 'auto') return transport === 'sse' ? 'sse' : 'socket';
    if (typeof WebSocket === 'undefined') return 'sse';
    // Each in its turn, beginning with a WebSocket whenever the one before had worked.
    return !this.#socketWorks && this.#unheard >= SOCKET_TRIES && (this.#unheard - SOCKET_TRIES) % 2 === 0 ? 'sse' : 'socket';
  }
}

function isChange(value: unknown): value is { set?: Record<string, unknown>; del?: string[] } {
  if (typeof value !== 'object' || value === null) return false;
  const keys = Object.keys(value);
  return keys.length > 0 && keys.every((key) => key === 'set' || key === 'del');
}

/** Connects to a gateway: `ws://HOST:PORT/ws`, or of a page's own host `/ws`. */
export function connect(url: string, options?: Options): Client {
  return new Client(url, options);
}
