// The client against a small gateway of the test's own: what it writes, how it comes back, and events in place of a
// WebSocket.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import test from 'node:test';
import { promisify } from 'node:util';
import { connect, PublishError } from '../dist/index.js';
import { Mock } from './mock.mjs';
import { until } from './until.mjs';

const BACKOFF = { min: 20, max: 100 };

/** A gateway and a client of it, both ended with the test. */
async function pair(t, settings = {}, options = {}) {
  const mock = await Mock.start(settings);
  t.after(() => mock.stop());
  const client = connect(mock.url, { backoff: BACKOFF, ...options });
  t.after(() => client.close());
  return { mock, client };
}

const LIMIT = { timeout: 30_000 };

test('a publish is written once, however often its answer is lost', LIMIT, async (t) => {
  const { mock, client } = await pair(t, { tokens: { T1: 'alice' } }, { token: () => 'T1' });
  const room = client.subscribe('room.*');
  mock.losesAnswer = (n) => n <= 3;
  const answer = await client.publish('room.a', { text: 'hi' });
  assert.equal(answer.v, 1);
  assert.deepEqual(mock.written.map(({ data }) => data), [{ text: 'hi' }]);
  await until('it is seen', () => room.get('room.a'));
  assert.deepEqual(room.get('room.a'), { v: 1, ts: 1, data: { text: 'hi' }, by: 'alice' });
});

test('many publishes over many cuts are written once each, in order', LIMIT, async (t) => {
  const { mock, client } = await pair(t, { tokens: { T1: 'alice' } }, { token: () => 'T1' });
  // Of none twice: answers that are on their way when their connection is cut are lost as well, so that others would
  // stand in the way for as long as it takes.
  mock.losesAnswer = (_, isFirst) => isFirst && mock.written.length % 7 === 0;
  const answers = [];
  for (let n = 0; n < 60; n++) answers.push(client.publish('log', n));
  const numbers = (await Promise.all(answers)).map(({ v }) => v);
  assert.deepEqual(numbers, Array.from({ length: 60 }, (_, n) => n + 1));
  assert.deepEqual(mock.written.map(({ data }) => data), Array.from({ length: 60 }, (_, n) => n));
});

test('without a subject a lost answer is told as what it is', LIMIT, async (t) => {
  const { mock, client } = await pair(t);
  mock.losesAnswer = (n) => n === 1;
  await assert.rejects(client.publish('a', 1), (error) => error instanceof PublishError && error.code === 0);
  assert.equal(mock.written.length, 1);
  await assert.rejects(client.publish('closed.a', 1), (error) => error.code === 4403 && error.message === 'not granted');
});

test('an object of set and del changes keys, any other is a value', LIMIT, async (t) => {
  const { mock, client } = await pair(t, { keyed: ['book'] });
  const books = client.subscribe(['book', 'value']);
  await client.publish('book', { set: { a: 1, b: 2 } });
  await client.publish('book', { del: ['a'] });
  await client.publish('value', { set: 1, other: 2 });
  await until('all is seen', () => books.get('value') && books.table('book')?.size === 1);
  assert.deepEqual([...books.table('book')], [['b', 2]]);
  assert.deepEqual(mock.topics.get('value').data, { set: 1, other: 2 });
});

test('a key of its own is there again after a cut, and goes when it is closed', LIMIT, async (t) => {
  const { mock, client } = await pair(t, { tokens: { T1: 'alice' }, keyed: ['room.1'] }, { token: () => 'T1' });
  const own = client.own('room.1', 'here');
  const table = () => mock.topics.get('room.1')?.table ?? {};
  await until('the key is written', () => Object.values(table())[0] === 'here');
  assert.ok(Object.keys(table())[0].startsWith('alice/'));
  const [key] = Object.keys(table());
  assert.equal(client.ownKey, key);
  for (const each of mock.clients) each.cut();
  // As the gateway does some time after the connection has gone.
  mock.write('room.1', { del: [key] });
  await until('the key is written again', () => table()[key] === 'here');
  own.set('away');
  await until('its value changes', () => table()[key] === 'away');
  own.close();
  await until('it goes', () => !(key in table()));
});

test('a turn of the iterator has what changed, and nothing queues', LIMIT, async (t) => {
  const { mock, client } = await pair(t);
  mock.write('a.x', { data: 0 });
  const all = client.subscribe('a.*');
  const turns = all[Symbol.asyncIterator]();
  assert.deepEqual([...(await turns.next()).value.keys()], ['a.x']);
  for (let n = 1; n <= 1000; n++) mock.write(n % 2 ? 'a.x' : 'a.y', { data: n });
  await until('all have come', () => all.get('a.y')?.data === 1000);
  const { value } = await turns.next();
  assert.deepEqual([...value].map(([topic, { data }]) => [topic, data]), [['a.x', 999], ['a.y', 1000]]);
  const waiting = turns.next();
  mock.write('a.z', { data: 1 });
  assert.deepEqual([...(await waiting).value.keys()], ['a.z']);
  const last = turns.next();
  all.close();
  assert.deepEqual(await last, { value: undefined, done: true });
  await until('the gateway is told', () => mock.seen.some(({ op }) => op === 'unsubscribe'));
});

test('a listener that fails does not keep the rest from going on', LIMIT, async (t) => {
  const mock = await Mock.start();
  t.after(() => mock.stop());
  mock.write('a', { data: 1 });
  const script = `
    import { connect } from '${new URL('../dist/index.js', import.meta.url)}';
    const told = new Promise((resolve) => process.once('uncaughtException', ({ message }) => resolve(message)));
    const all = connect('${mock.url}').subscribe('a');
    all.on('update', () => { throw new Error('of the application'); });
    all.on('batch', async () => { console.log(await told, all.get('a').data); process.exit(); });`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], LIMIT);
  assert.equal(stdout, 'of the application 1\n');
});

test('where no WebSocket can be made, events are read, with the token, and nothing is missed', LIMIT, async (t) => {
  const { mock, client } = await pair(t, { sockets: false, tokens: { T1: 'alice' }, keyed: ['k'] }, { token: () => 'T1' });
  mock.write('a.x', { data: 1 });
  const [values, tables] = [client.subscribe('a.*', { interval: 50 }), client.subscribe('k')];
  await until('both are live', () => values.live && tables.live);
  assert.equal(values.get('a.x').data, 1);
  for (let n = 2; n < 40; n++) {
    mock.write('a.x', { data: n });
    mock.write('k', { set: { [`k${n}`]: n } });
    if (n % 10 === 0) {
      const lost = new Promise((resolve) => values.on('stale', resolve));
      for (const each of mock.clients) each.cut();
      await lost;
      await until('both are back', () => values.live && tables.live);
    }
  }
  await until('all is there', () => values.get('a.x').data === 39 && tables.table('k')?.size === 38);
  assert.ok(mock.seen.includes('upgrade') && mock.seen.includes('/sse'));
  assert.ok(mock.seen.some(({ op, since, interval_ms }) => op === 'subscribe' && since && interval_ms === 50));
  // What may not be read is told of that subscription alone.
  const refused = await new Promise((resolve) => client.subscribe('closed.a').on('error', resolve));
  assert.deepEqual([refused.code, values.live], [4403, true]);
  // Nothing can be written by events.
  await assert.rejects(client.publish('a.x', 1), (error) => error.code === 4008);
  values.close();
  await until('its stream ends', () => mock.clients.size === 1);
});

test('events end with the code of a close, and HTTP refusals stand for one', LIMIT, async (t) => {
  let token = 'bad';
  const asked = [];
  const { mock, client } = await pair(t, { tokens: { T1: 'alice' } },
    { transport: 'sse', token: (why) => { asked.push(why); return token; } });
  const all = client.subscribe('a');
  await until('the refusal is told', () => asked.includes(4401));
  token = 'T1';
  await until('it is let in', () => all.live);
  for (const each of mock.clients) each.close(4005, 'the token has expired');
  await until('another token is asked for', () => asked.includes(4005));
  await until('it is let in again', () => all.live);
  const ended = new Promise((resolve) => client.on('closed', resolve));
  for (const each of mock.clients) each.close(4506, 'enough');
  assert.deepEqual(await ended, { code: 4506, reason: 'enough' });
  assert.equal(client.state, 'closed');
});

test('events are tried in turns with WebSockets, and left once those can be made', LIMIT, async (t) => {
  const { mock, client } = await pair(t, { sockets: false, sse: true });
  const all = client.subscribe('a');
  await until('it is live', () => all.live);
  mock.sockets = true;
  for (const each of mock.clients) each.cut();
  await until('it is back by a WebSocket', () => all.live && mock.seen.filter((seen) => seen === 'upgrade').length >= 3);
  const events = mock.seen.filter((seen) => seen === '/sse').length;
  for (const each of mock.clients) each.cut();
  await until('it is back again', () => all.live && mock.seen.filter((seen) => seen === 'upgrade').length >= 4);
  assert.equal(mock.seen.filter((seen) => seen === '/sse').length, events);
});

test('the package is an ES module, a CommonJS one, and one file for a page', LIMIT, async () => {
  const { createRequire } = await import('node:module');
  const required = createRequire(import.meta.url)('../dist/cjs/index.js');
  assert.equal(typeof required.connect, 'function');
  const { readFileSync } = await import('node:fs');
  const file = readFileSync(new URL('../dist/fanwire.js', import.meta.url), 'utf8');
  assert.doesNotMatch(file, /<\/script|\{\{/i);
  new Function('globalThis', file)(globalThis);
  assert.deepEqual(Object.keys(globalThis.fanwire), ['connect', 'matches']);
});
