// Where no WebSocket can be made: server-sent events, one stream for each subscription, read by fetch, which unlike
// EventSource shows a token. To the core they are one connection that understands `subscribe` and `unsubscribe`.

import { closeOf } from './codes.js';
import type { Message } from './message.js';
import type { Open } from './transport.js';

interface Op {
  op: string;
  id?: number;
  sub: string;
  topics: string[];
  interval_ms?: number;
  since?: string;
}

export const sse: Open = (url, token, handlers) => {
  const streams = new Map<string, AbortController>();
  let classes = 0, open = true;
  const close = () => {
    open = false;
    for (const stream of streams.values()) stream.abort();
  };
  const closed = (code: number, reason: string) => {
    if (!open) return;
    close();
    handlers.closed(code, reason);
  };
  const say = (message: object) => open && handlers.received(JSON.stringify(message));

  /** Reads the events of a subscription until it or all end. */
  const read = async ({ id, sub, topics, interval_ms, since }: Op, signal: AbortSignal) => {
    const of = ++classes;
    const answer = await fetch(streamUrl(url, topics, interval_ms, since), {
      signal, cache: 'no-store', headers: { accept: 'text/event-stream', ...(token && { authorization: `Bearer ${token}` }) },
    });
    if (!answer.ok || !answer.body) {
      const told = (await answer.json().catch(() => ({}))) as { reason?: string };
      const { status } = answer, reason = told.reason ?? `HTTP ${status}`;
      // What is wrong with this subscription alone, an op would be answered.
      const code = { 400: 4000, 403: 4403 }[status];
      if (code) return say({ op: 'error', id, code, reason });
      return closed(closeOf(status), reason);
    }
    for await (const message of messages(answer.body, handlers.alive)) {
      if (message.op === 'close') return closed(message.code, message.reason ?? '');
      // Streams of the same patterns share a class, and here each has one of its own.
      if ('class' in message) message.class = of;
      if (message.op === 'subscribed') Object.assign(message, { id, sub });
      say(message);
    }
    closed(1006, 'the stream has ended');
  };

  queueMicrotask(() => open && handlers.opened());
  return {
    close,
    send: (text) => {
      const op = JSON.parse(text) as Op;
      if (op.op === 'subscribe') {
        const stream = new AbortController();
        streams.set(op.sub, stream);
        read(op, stream.signal).catch((error) => stream.signal.aborted || closed(1006, String(error)));
      } else if (op.op === 'unsubscribe') {
        streams.get(op.sub)?.abort();
        streams.delete(op.sub);
      } else if (op.op !== 'ping') {
        queueMicrotask(() => say({ op: 'error', id: op.id, code: 4008, reason: `${op.op} needs a WebSocket` }));
      }
    },
  };
};

function streamUrl(url: string, topics: string[], intervalMs?: number, since?: string): URL {
  const stream = new URL(url.replace(/^ws/, 'http'));
  stream.pathname = stream.pathname.replace(/\/ws$/, '/sse');
  const { searchParams } = stream;
  searchParams.set('topics', topics.join());
  if (intervalMs !== undefined) searchParams.set('interval_ms', String(intervalMs));
  if (since) searchParams.set('since', since);
  return stream;
}

type Told = Message | { op: 'close'; code: number; reason?: string };

/** The messages of a stream: what stands in `data`, which the gateway writes in one line. */
async function* messages(body: ReadableStream<Uint8Array>, alive: () => void): AsyncGenerator<Told> {
  const reader = body.getReader(), decoder = new TextDecoder();
  let line = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    alive();
    const lines = (line + decoder.decode(value, { stream: true })).split(/\r\n|\n|\r/);
    line = lines.pop()!;
    for (const each of lines) if (each.startsWith('data:')) yield JSON.parse(each.slice(5)) as Told;
  }
}
