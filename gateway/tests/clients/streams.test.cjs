// Other ways to listen as real clients have them: EventSource in headless Chromium over a connection that is cut again
// and again, curl, and the package `ws` on raw paths.
'use strict';
const test = require('node:test');
const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const http = require('node:http');
const net = require('node:net');
const readline = require('node:readline');
const { setTimeout: sleep } = require('node:timers/promises');
const { chromium } = require('playwright-core');
const WebSocket = require('ws');
const { Gateway } = require('./gateway.cjs');

const CONFIG = `
[fanout]
interval_ms = 20
[[topic]]
pattern = "s.*"
mode = "stream"
ring_updates = 10000
[[raw]]
path = "/chat/{room}"
topic = "chat.{room}"
[access.anonymous]
publish = ["chat.*"]
`;
const LIMIT = { timeout: 60_000 };
const CUTS = 4;

/** A listener of loopback; closed with the test. */
async function listen(t, server) {
  server.listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  return server.address().port;
}

/** Passes bytes on between clients and `target`, until `cut()` breaks all connections off. */
async function cutter(t, target) {
  const [host, port] = target.split(':');
  const open = new Set();
  const server = net.createServer((near) => {
    const far = net.connect(Number(port), host);
    for (const [socket, other] of [[near, far], [far, near]]) {
      open.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => { open.delete(socket); other.destroy(); });
    }
    near.pipe(far).pipe(near);
  });
  t.after(() => open.forEach((socket) => socket.destroy()));
  return { port: await listen(t, server), cut: () => open.forEach((socket) => socket.resetAndDestroy()) };
}

test('EventSource misses nothing over a connection that is cut', LIMIT, async (t) => {
  const gateway = await Gateway.start(CONFIG);
  t.after(() => gateway.kill());
  const proxy = await cutter(t, gateway.data);
  const page = await listen(t, http.createServer((_, answer) => {
    answer.setHeader('content-type', 'text/html');
    answer.end('<title>a page of another port</title>');
  }));
  const executablePath = process.env.CHROMIUM || '/usr/bin/chromium';
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
  t.after(() => browser.close());
  const tab = await browser.newPage();
  await tab.goto(`http://127.0.0.1:${page}/`);
  await tab.evaluate((url) => {
    Object.assign(window, { seen: [], held: null, opens: 0, snapshots: 0 });
    const feed = new EventSource(url);
    feed.onopen = () => { window.opens += 1; };
    const take = ({ data }) => {
      for (const { topic, data: value } of JSON.parse(data).updates) {
        if (topic === 's.n') window.seen.push(value); else window.held = value;
      }
    };
    feed.addEventListener('batch', take);
    feed.addEventListener('snapshot', (event) => { window.snapshots += 1; take(event); });
  }, `http://127.0.0.1:${proxy.port}/sse?topics=s.n,latest&interval_ms=20`);
  const told = (name) => tab.evaluate((of) => window[of], name);
  const until = async (is) => { while (!await is()) await sleep(20); };
  await until(async () => await told('snapshots') === 1);
  let n = 0;
  const publish = async () => {
    n += 1;
    await gateway.publish('s.n', n);
    await gateway.publish('latest', n);
  };
  for (let cuts = 1; cuts <= CUTS; cuts += 1) {
    for (let i = 0; i < 50; i += 1) await publish();
    proxy.cut();
    // While it is away, which is for 3 s in Chromium, more comes.
    for (let i = 0; i < 50; i += 1) await publish();
    await until(async () => await told('opens') === cuts + 1);
  }
  await until(async () => await told('held') === n);
  assert.deepEqual(await told('seen'), Array.from({ length: n }, (_, i) => i + 1));
  assert.equal(await told('snapshots'), 1, 'it came back by its last id');
});

test('curl shows lines as they come', LIMIT, async (t) => {
  const gateway = await Gateway.start(CONFIG);
  t.after(() => gateway.kill());
  const curl = spawn('curl', ['-sN', `http://${gateway.data}/stream?topics=a.*&interval_ms=0`], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => curl.kill());
  const lines = readline.createInterface({ input: curl.stdout })[Symbol.asyncIterator]();
  const next = async () => JSON.parse((await lines.next()).value);
  assert.deepEqual([(await next()).op, (await next()).op], ['subscribed', 'snapshot']);
  for (let n = 0; n < 20; n += 1) {
    await gateway.publish('a.b', n);
    assert.equal((await next()).updates[0].data, n);
  }
});

/** Messages of a raw path, one by one. */
async function raw(t, url) {
  const socket = new WebSocket(url);
  t.after(() => socket.terminate());
  const messages = [];
  let wake = () => {};
  socket.on('message', (data, isBinary) => { messages.push([String(data), isBinary]); wake(); });
  socket.next = async () => {
    while (!messages.length) await new Promise((resolve) => { wake = resolve; });
    return messages.shift();
  };
  await once(socket, 'open');
  return socket;
}

test('a plain client gets values, and says some where it may', LIMIT, async (t) => {
  const gateway = await Gateway.start(CONFIG);
  t.after(() => gateway.kill());
  const values = await raw(t, `ws://${gateway.data}/raw/a.b?interval_ms=0`);
  assert.equal(values.protocol, '');
  await gateway.publish('a.b', { bid: 1 });
  assert.deepEqual(await values.next(), ['{"bid":1}', false]);
  await gateway.publish('a.b', 'a "text"');
  assert.deepEqual(await values.next(), ['a "text"', false]);
  values.close(1000);
  assert.equal((await once(values, 'close'))[0], 1000);
  const room = `ws://${gateway.data}/chat/${encodeURIComponent('lobby/1')}?interval_ms=0`;
  const [one, two] = [await raw(t, room), await raw(t, room)];
  one.send('hello');
  assert.deepEqual([await one.next(), await two.next()], [['hello', false], ['hello', false]]);
  two.send('{"op":"publish"}');
  assert.deepEqual(await one.next(), ['{"op":"publish"}', false]);
});
