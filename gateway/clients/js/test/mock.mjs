// A small gateway for what the tests want to decide themselves: who is let in, what is cut off, and when. It speaks
// fanwire.json.v1 with publish, and /sse; all topics are latest ones, but those of `keyed`. It has no intervals.
import { once } from 'node:events';
import http from 'node:http';
import { createRequire } from 'node:module';

const { WebSocketServer } = createRequire(import.meta.url)('ws');
const EPOCH = '00000000000000e1';

export class Mock {
  /** `tokens`: token to subject; with any, one is needed. `sockets` false: WebSockets are cut off, as some proxies do. */
  static async start({ tokens, sockets = true, sse = true, keyed = [] } = {}) {
    const mock = new Mock();
    Object.assign(mock, { tokens, sockets, sse, keyed, version: 0, topics: new Map(), log: [], written: [], known: new Map() });
    mock.clients = new Set();
    mock.publishes = 0;
    mock.losesAnswer = () => false;
    mock.seen = [];
    const wss = new WebSocketServer({ noServer: true, handleProtocols: (offered) => [...offered][0] });
    mock.server = http.createServer((request, response) => mock.request(request, response));
    mock.server.on('upgrade', (request, socket, head) => {
      mock.seen.push('upgrade');
      if (!mock.sockets) return socket.destroy();
      wss.handleUpgrade(request, socket, head, (ws) => mock.connected(ws, request));
    });
    mock.server.listen(0, '127.0.0.1');
    await once(mock.server, 'listening');
    mock.url = `ws://127.0.0.1:${mock.server.address().port}/ws`;
    return mock;
  }

  async stop() {
    for (const client of this.clients) client.cut();
    this.server.close();
    this.server.closeAllConnections();
    await once(this.server, 'close');
  }

  subject(token) {
    if (!this.tokens) return { ok: true };
    return Object.hasOwn(this.tokens, token) ? { ok: true, as: this.tokens[token] } : { ok: false };
  }

  connected(ws, request) {
    const token = /fanwire\.token\.([^,\s]+)/.exec(request.headers['sec-websocket-protocol'])?.[1];
    const { ok, as } = this.subject(token);
    if (!ok) return ws.close(4401, 'a bad token');
    const client = new Client(this, (message) => ws.send(JSON.stringify(message)), () => ws.terminate(), (code, reason) => ws.close(code, reason));
    client.as = as;
    ws.on('message', (text) => client.op(JSON.parse(text)));
    ws.on('close', () => this.clients.delete(client));
    if (as) client.send({ op: 'authorized', sub: as, as, conn: 'c1', exp: 1 });
  }

  request(request, response) {
    const url = new URL(request.url, 'http://mock');
    this.seen.push(url.pathname);
    const refuse = (code) => response.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify({ code, reason: 'no' }));
    if (url.pathname !== '/sse' || !this.sse) return refuse(404);
    const { ok, as } = this.subject(request.headers.authorization?.replace('Bearer ', ''));
    if (!ok) return refuse(401);
    if (url.searchParams.get('topics').startsWith('closed.')) return refuse(403);
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const write = (message) => response.write(`event: ${message.op}\r\ndata: ${JSON.stringify(message)}\r\nid: ${EPOCH}:${this.version}\r\n\r\n`);
    const end = (code, reason) => response.end(`event: close\ndata: ${JSON.stringify({ op: 'close', code, reason })}\n\n`);
    const client = new Client(this, write, () => response.destroy(), end);
    request.on('close', () => this.clients.delete(client));
    if (as) client.send({ op: 'authorized', sub: as, as, conn: 'c2', exp: 1 });
    response.write(': a comment\n\n');
    const [topics, since, interval] = ['topics', 'since', 'interval_ms'].map((name) => url.searchParams.get(name) ?? undefined);
    client.op({ op: 'subscribe', sub: '', topics: topics.split(','), since, interval_ms: interval && Number(interval) });
  }

  /** Writes, and sends it to all who want it. */
  write(topic, { data, set, del }, by) {
    const old = this.topics.get(topic) ?? { v: 0, table: {} };
    const version = ++this.version, v = old.v + 1, ts = 1;
    const table = { ...old.table, ...set };
    for (const key of del ?? []) delete table[key];
    this.topics.set(topic, { v, data, table });
    const update = this.keyed.includes(topic) ? { topic, v, ts, set, del } : { topic, v, ts, data, ...(by && { by }) };
    this.log.push({ version, update });
    for (const client of this.clients) client.tell();
    return { v, version };
  }

  snapshot(patterns) {
    const wanted = [...this.topics].filter(([topic]) => selects(patterns, topic));
    return wanted.map(([topic, { v, data, table }]) =>
      this.keyed.includes(topic) ? { topic, v, ts: 1, reset: true, set: table } : { topic, v, ts: 1, data });
  }
}

class Client {
  constructor(mock, send, cut, close) {
    Object.assign(this, { mock, send, cut, close, subs: new Map(), own: new Map() });
    mock.clients.add(this);
  }

  op(op) {
    const { mock } = this, { id, sub = '', topics } = op;
    mock.seen.push(op);
    if (op.op === 'ping') return this.send({ op: 'pong', id, ts: 1 });
    if (op.op === 'publish') return this.publish(op);
    if (op.op === 'unsubscribe') {
      this.subs.delete(sub);
      return this.send({ op: 'unsubscribed', id, sub, version: mock.version, topics: [] });
    }
    const [epoch, version] = op.since?.split(':') ?? [];
    const resumes = epoch === EPOCH && Number(version) <= mock.version;
    // As of a gateway, streams of the same patterns have the same class.
    const held = { patterns: topics, class: 7 + [...this.subs].length, version: resumes ? Number(version) : mock.version };
    this.subs.set(sub, held);
    this.send({ op: 'subscribed', id, sub, class: held.class, topics, interval_ms: op.interval_ms ?? 0, epoch: EPOCH, version: held.version });
    if (resumes) this.batch(held);
    else this.send({ op: 'snapshot', class: held.class, ts: 1, version: mock.version, updates: mock.snapshot(topics) });
  }

  publish({ id, once: repeat, topic, data, set, del }) {
    const { mock } = this, key = `${this.as} ${topic} ${repeat}`;
    if (topic.startsWith('closed.')) return this.send({ op: 'error', id, code: 4403, reason: 'not granted' });
    let written = this.as && mock.known.get(key);
    const isFirst = !written;
    if (isFirst) {
      mock.written.push({ topic, data, set, del, as: this.as });
      written = mock.write(topic, { data, set, del }, this.as);
      mock.known.set(key, written);
    }
    // The answer is lost with the connection.
    if (mock.losesAnswer(++mock.publishes, isFirst)) return this.cut();
    this.send({ op: 'published', id, topic, ...written });
  }

  tell() {
    for (const held of this.subs.values()) this.batch(held);
  }

  batch(held) {
    const { mock } = this, updates = mock.log.filter(({ version, update }) => version > held.version && selects(held.patterns, update.topic));
    this.send({ op: 'batch', class: held.class, ts: 1, from: held.version, version: mock.version, updates: updates.map(({ update }) => update) });
    held.version = mock.version;
  }
}

function selects(patterns, topic) {
  return patterns.some((pattern) => pattern === topic || (pattern.endsWith('*') && topic.startsWith(pattern.slice(0, -1))));
}
