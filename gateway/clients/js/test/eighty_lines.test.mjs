// The client that ../../README.md tells how to write, and the package's own example, against a gateway.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import test from 'node:test';
import { Proxy } from './proxy.mjs';
import { until } from './until.mjs';

const { Gateway } = createRequire(import.meta.url)('../../../tests/clients/gateway.cjs');
const LIMIT = { timeout: 60_000 };
const CONFIG = '[fanout]\ninterval_ms = 20\n[[topic]]\npattern = "a.book"\nmode = "keyed"\n';

/** The first block of JavaScript of a file. */
function example(path) {
  return /```js\n(.*?)```/s.exec(readFileSync(new URL(path, import.meta.url), 'utf8'))[1];
}

function imported(text) {
  return import(`data:text/javascript,${encodeURIComponent(text)}`);
}

test('the client of 80 lines holds what the gateway has, over cuts, a kill and a drain', LIMIT, async (t) => {
  const text = example('../../README.md');
  assert.ok(text.trimEnd().split('\n').length <= 80, 'it has more than 80 lines');
  const { connect } = await imported(text);
  let gateway = await Gateway.start(CONFIG);
  t.after(() => gateway.kill());
  const { data, admin } = gateway;
  const proxy = await Proxy.start(Number(data.split(':')[1]));
  t.after(() => proxy.stop());
  const { held, close } = connect(`ws://127.0.0.1:${proxy.port}/ws`, ['a.*']);
  t.after(close);
  let n = 0;
  const round = async () => {
    await gateway.publish('a.x', ++n);
    await gateway.post('/publish', { topic: 'a.book', set: { [`k${n}`]: n }, del: [`k${n - 2}`] });
  };
  const holds = () => until(`it holds ${n}`, () => held.get('a.x')?.data === n && held.get('a.book')?.table.has(`k${n}`));
  await round();
  await holds();
  for (let cut = 0; cut < 3; cut++) {
    proxy.cut();
    for (let rounds = 0; rounds < 5; rounds++) await round();
    await holds();
  }
  for (const how of ['kill', 'drain']) {
    if (how === 'drain') {
      gateway.process.kill('SIGTERM');
      await gateway.exited;
    }
    await gateway.kill();
    gateway = await Gateway.start(CONFIG, { data, admin });
    await round();
    await holds();
    const { data: table } = await (await fetch(`http://${gateway.admin}/topics/a.book`)).json();
    assert.deepEqual(Object.fromEntries(held.get('a.book').table), table);
  }
});

test("the package's example", LIMIT, async (t) => {
  const gateway = await Gateway.start('');
  t.after(() => gateway.kill());
  await gateway.publish('desk.fx.EURUSD', { bid: 1.0841 });
  const logged = [];
  t.mock.method(console, 'log', (...words) => logged.push(words));
  const dist = new URL('../dist/index.js', import.meta.url);
  const text = example('../README.md').replace("'@fanwire/client'", `'${dist}'`).replace('127.0.0.1:9001', gateway.data);
  // It never ends by itself.
  imported(`${text.replace(/^const client = /m, 'const client = globalThis.exampleClient = ')}`).catch(() => {});
  t.after(() => globalThis.exampleClient?.close());
  await until('it logs the value', () => logged.some(([topic, bid]) => topic === 'desk.fx.EURUSD' && bid === 1.0841));
});
