// The core of the contract as the Node package `ws` sees it.
'use strict';
const test = require('node:test');
const assert = require('node:assert/strict');
const { once } = require('node:events');
const { readFileSync } = require('node:fs');
const WebSocket = require('ws');
const { Gateway } = require('./gateway.cjs');

const CONFIG = '[fanout]\ninterval_ms = 20';
const LIMIT = { timeout: 30_000 };

/** An open socket whose frames are read one by one with `next()`. */
async function connect(url, protocols, options) {
  const socket = new WebSocket(url, protocols ?? [], options);
  const frames = [];
  let wake = () => {};
  socket.on('message', (payload) => { frames.push(JSON.parse(payload)); wake(); });
  socket.next = async () => {
    while (!frames.length) await new Promise((resolve) => { wake = resolve; });
    return frames.shift();
  };
  socket.until = async (wanted) => {
    for (;;) {
      const frame = await socket.next();
      if (wanted(frame)) return frame;
    }
  };
  socket.op = (op) => socket.send(JSON.stringify(op));
  // An error that comes instead is thrown.
  await once(socket, 'open');
  return socket;
}

const holds = (topic, value) => (frame) =>
  frame.updates?.some((update) => update.topic === topic && JSON.stringify(update.data) === JSON.stringify(value));

test('wss', LIMIT, async (t) => {
  const gateway = await Gateway.start(CONFIG, { tls: true });
  t.after(() => gateway.kill());
  const ca = readFileSync(gateway.cert);
  const [, port] = gateway.tls.split(':');
  for (const perMessageDeflate of [false, true]) {
    const socket = await connect(`wss://localhost:${port}/ws?topics=a`, 'fanwire.json.v1', { ca, perMessageDeflate });
    const { epoch } = await socket.next();
    const { version } = await socket.next();
    socket.op({ op: 'ping', id: 1 });
    assert.equal((await socket.until((frame) => frame.op === 'pong')).id, 1);
    socket.close(1000);
    const [code] = await once(socket, 'close');
    assert.equal(code, 1000);
    const again = await connect(`wss://localhost:${port}/ws?topics=a&since=${epoch}:${version}`, [], { ca, perMessageDeflate });
    await again.next();
    assert.equal((await again.next()).op, 'batch');
    again.terminate();
  }
  await assert.rejects(connect(`wss://localhost:${port}/ws`, []), /self-signed certificate/);
});

test('ws', LIMIT, async (t) => {
  const gateway = await Gateway.start(CONFIG);
  t.after(() => gateway.kill());
  const url = `ws://${gateway.data}/ws`;

  await t.test('subscribes, gets the snapshot and then batches', LIMIT, async () => {
    await gateway.publish('node.a', 1);
    const socket = await connect(url, 'fanwire.json.v1');
    assert.equal(socket.protocol, 'fanwire.json.v1');
    socket.op({ op: 'subscribe', id: 'x', topics: ['node.*'] });
    const subscribed = await socket.next();
    assert.deepEqual([subscribed.op, subscribed.id], ['subscribed', 'x']);
    const snapshot = await socket.next();
    assert.equal(snapshot.op, 'snapshot');
    assert.ok(holds('node.a', 1)(snapshot));
    await gateway.publish('node.a', 2);
    const batch = await socket.until(holds('node.a', 2));
    assert.equal(batch.op, 'batch');
    assert.ok(batch.from <= snapshot.version && batch.oldest <= batch.ts);
    socket.close();
  });

  await t.test('adds a second subscription and leaves the first', LIMIT, async () => {
    const socket = await connect(url);
    socket.op({ op: 'subscribe', topics: ['pair.a'] });
    const one = await socket.until((frame) => frame.op === 'subscribed');
    socket.op({ op: 'subscribe', sub: 'two', topics: ['pair.b'] });
    const two = await socket.until((frame) => frame.op === 'subscribed');
    assert.notEqual(one.class, two.class);
    await gateway.publish('pair.b', 'b');
    assert.equal((await socket.until(holds('pair.b', 'b'))).class, two.class);
    socket.op({ op: 'unsubscribe' });
    const left = await socket.until((frame) => frame.op === 'unsubscribed');
    assert.deepEqual(left.topics, ['pair.a']);
    socket.close();
  });

  await t.test('reconnects with since and misses nothing', LIMIT, async () => {
    await gateway.publish('again.t', 1);
    const first = await connect(url);
    first.op({ op: 'subscribe', topics: ['again.*'] });
    const { epoch } = await first.next();
    const { version } = await first.next();
    first.close();
    await gateway.publish('again.t', 2);
    const second = await connect(`${url}?topics=again.*&since=${epoch}:${version}`);
    const subscribed = await second.next();
    assert.equal(subscribed.version, version);
    const batch = await second.next();
    assert.deepEqual([batch.op, batch.from], ['batch', version]);
    assert.ok(holds('again.t', 2)(batch));
    second.close();
  });

  await t.test('gets compressed frames and sends compressed fragments', LIMIT, async () => {
    const options = { perMessageDeflate: { threshold: 0 } };
    const socket = await connect(url, 'fanwire.json.v1', options);
    assert.match(socket.extensions, /^permessage-deflate/);
    const topics = Array.from({ length: 60 }, (_, n) => `node.deflate.of.a.long.name.${n}`);
    const op = JSON.stringify({ op: 'subscribe', topics: [...topics, 'deflated.t'] });
    socket.send(op.slice(0, 100), { fin: false, compress: true });
    socket.send(op.slice(100), { fin: true, compress: true });
    assert.equal((await socket.next()).topics.length, 61);
    await socket.next();
    for (let round = 0; round < 5; round++) {
      const value = Array.from({ length: 60 }, (_, n) => ({ bid: n + round, ask: n + round + 1 }));
      await gateway.publish('deflated.t', value);
      await socket.until(holds('deflated.t', value));
    }
    const before = socket._socket.bytesRead;
    const plain = await connect(`${url}?topics=deflated.t`, [], { perMessageDeflate: false });
    await plain.until((frame) => frame.op === 'snapshot');
    assert.ok(before < 5 * plain._socket.bytesRead, `${before} bytes for five frames, ${plain._socket.bytesRead} for one`);
    plain.close();
    socket.close();
  });

  await t.test('answers pings and closes in order', LIMIT, async () => {
    const socket = await connect(url);
    socket.ping('beat');
    const [payload] = await once(socket, 'pong');
    assert.equal(payload.toString(), 'beat');
    socket.op({ op: 'ping', id: 4 });
    const pong = await socket.next();
    assert.deepEqual([pong.op, pong.id, Number.isInteger(pong.ts)], ['pong', 4, true]);
    socket.close(1000);
    const [code] = await once(socket, 'close');
    assert.equal(code, 1000);
  });
});
