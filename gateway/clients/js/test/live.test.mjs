// The client in Node, Deno, Bun and Chromium against a gateway that is cut off, slowed, killed, restarted and drained:
// at the end each holds what the gateway has.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { inPage } from './page.mjs';
import { Proxy } from './proxy.mjs';
import { until } from './until.mjs';

const require = createRequire(import.meta.url);
const { Gateway } = require('../../../tests/clients/gateway.cjs');
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const MAIN = here('live_main.mjs');
const LIMIT = { timeout: 150_000 };

/** How the client is run in each runtime that the environment names; `tell` hears what it tells. */
const RUNTIMES = {
  node: (url, tell) => ran(tell, process.execPath, MAIN, url),
  deno: process.env.DENO_BIN && ((url, tell) => ran(tell, process.env.DENO_BIN, 'run', '--allow-net', '--allow-env', MAIN, url)),
  bun: process.env.BUN_BIN && ((url, tell) => ran(tell, process.env.BUN_BIN, MAIN, url)),
  chromium: process.env.CHROMIUM && inChromium,
};

async function ran(tell, program, ...words) {
  const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'inherit'], timeout: LIMIT.timeout });
  let report;
  for await (const line of createInterface({ input: child.stdout })) {
    const said = JSON.parse(line);
    if (typeof said === 'string') tell(said);
    else report = said;
  }
  return report ?? Promise.reject(new Error(`${program} ended without a report`));
}

function inChromium(url, tell) {
  return inPage(async (page) => {
    await page.exposeFunction('tell', tell);
    return page.evaluate(async (to) => {
      const [{ connect }, { follow }] = await Promise.all([import('/dist/index.js'), import('/test/live.mjs')]);
      return follow(connect, to, globalThis.tell);
    }, url);
  });
}

/** What writes to the gateway, and waits while it is away. */
class Publisher {
  constructor(gateway) {
    this.gateway = gateway;
    this.n = 0;
  }

  /** So many rounds: a value, a table's keys, an update of a stream, a topic that comes and goes. */
  async rounds(count) {
    for (let last = this.n + count; this.n < last;) {
      const n = ++this.n;
      await this.gateway.post('/publish', [
        { topic: `live.v${n % 10}`, data: { n, text: 'x'.repeat(n % 300) } },
        { topic: 'live.book', set: { [`k${n % 20}`]: n }, del: [`k${(n * 7) % 20}`].filter((key) => key !== `k${n % 20}`) },
        { topic: 'live.stream', data: n },
        { topic: `live.born${n % 5}`, data: n },
      ]);
      if (n % 3 === 0) await this.request('DELETE', `/topics/live.born${n % 5}`);
    }
  }

  request(method, path) {
    return fetch(`http://${this.gateway.admin}${path}`, { method });
  }

  async topics() {
    const listed = await (await this.request('GET', '/topics?prefix=live.')).json();
    const whole = await Promise.all(listed.map(async ({ topic }) => (await this.request('GET', `/topics/${topic}`)).json()));
    return Object.fromEntries(whole.map(({ topic, v, data }) => [topic, { v, data }]));
  }
}

test('what is held is what the gateway has, whatever happens in between', LIMIT, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'fanwire-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const config = `
[state]
path = "${join(directory, 'state')}"
checkpoint = "1s"
[[topic]]
pattern = "live.book"
mode = "keyed"
[[topic]]
pattern = "live.stream"
mode = "stream"
`;
  let gateway = await Gateway.start(config);
  t.after(() => gateway.kill());
  const { data, admin } = gateway;
  const proxy = await Proxy.start(Number(data.split(':')[1]));
  t.after(() => proxy.stop());
  const publisher = new Publisher(gateway);
  const again = async () => {
    publisher.gateway = gateway = await Gateway.start(config, { data, admin });
  };

  await publisher.rounds(50);
  const url = `ws://127.0.0.1:${proxy.port}/ws`;
  const told = [];
  const reports = Promise.all(Object.entries(RUNTIMES).filter(([, follow]) => follow).map(async ([name, follow]) => {
    const of = { name, live: 0, stale: 0 };
    told.push(of);
    return [name, await follow(url, (state) => { of[state]++; })];
  }));
  // A client that fails ends the test.
  let failed;
  reports.catch((error) => { failed = error; });
  /** Every client has lost its connection so often, and is back. */
  const back = (times) => until(() => `every client is back: ${JSON.stringify(told)}`, () => {
    if (failed) throw failed;
    return told.every(({ live, stale }) => stale === times && live === times + 1);
  }, 60_000);

  await back(0);
  for (let cut = 0; cut < 3; cut++) {
    await publisher.rounds(30);
    proxy.cut();
    await publisher.rounds(30);
    await back(cut + 1);
  }
  proxy.hold();
  await publisher.rounds(200);
  proxy.release();
  await publisher.rounds(50);
  await gateway.kill();
  await again();
  await publisher.rounds(50);
  await back(4);
  await publisher.rounds(50);
  // Drained: the state has all, and the numbers go on.
  gateway.process.kill('SIGTERM');
  await gateway.exited;
  await again();
  await publisher.rounds(50);
  await back(5);
  await publisher.rounds(20);
  await gateway.post('/publish', { topic: 'live.end', data: publisher.n });
  const truth = await publisher.topics();
  for (const [name, { held, stream, lost, snapshots, resumed, turns }] of await reports) {
    t.diagnostic(`${name}: lost ${lost}, resumed ${resumed}, snapshots ${snapshots}, turns ${turns}`);
    assert.deepEqual(held, truth, name);
    // After each cut and the drain it goes on; at first, and after the kill, the numbers are others.
    assert.deepEqual([lost, resumed, snapshots], [5, 4, 2], name);
    assert.ok(turns > 0, name);
    checkStream(stream, name);
  }
});

/** Every update of the stream came in order, or it was said how many did not. */
function checkStream(stream, name) {
  let last, missed = 0;
  for (const each of stream) {
    if (each.snapshot) last = undefined;
    else if (each.missed) missed += each.missed;
    else {
      if (last !== undefined) assert.equal(each, last + missed + 1, `${name}: ${JSON.stringify(stream)}`);
      [last, missed] = [each, 0];
    }
  }
}
