// Tokens against a gateway that wants them: got before they expire, and anew where one was refused.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { createRequire } from 'node:module';
import test from 'node:test';
import { connect } from '../dist/index.js';
import { until } from './until.mjs';

const { Gateway } = createRequire(import.meta.url)('../../../tests/clients/gateway.cjs');
const LIMIT = { timeout: 60_000 };
const SECRET = 'a secret of thirty-two bytes, or a little more than that';
const CONFIG = `
[access]
clients = "token"
leeway = "0s"
[[access.key]]
alg = "HS256"
secret_env = "CLIENT_TOKEN_SECRET"
`;

function token(ttlS, subscribe = ['a.*']) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const nowS = Date.now() / 1000;
  const claims = { sub: 'alice', iat: nowS, exp: nowS + ttlS, fanwire: { subscribe } };
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`;
}

async function start(t) {
  process.env.CLIENT_TOKEN_SECRET = SECRET;
  const gateway = await Gateway.start(CONFIG);
  t.after(() => gateway.kill());
  await gateway.publish('a.x', 1);
  return gateway;
}

function client(t, gateway, hook, transport) {
  const client = connect(`ws://${gateway.data}/ws`, { token: hook, transport, backoff: { min: 50, max: 200 } });
  t.after(() => client.close());
  return client;
}

test('a token is renewed before it expires, on the same connection', LIMIT, async (t) => {
  const gateway = await start(t);
  const asked = [], states = [];
  const held = client(t, gateway, (why) => { asked.push(why); return token(2); });
  held.on('state', (state) => states.push(state));
  const all = held.subscribe('a.*');
  await until('it is live', () => all.live);
  // Each lives for two seconds, so that the first ones have expired by then.
  await until('it was renewed four times', () => asked.length > 4);
  assert.deepEqual(asked.slice(0, 5), ['first', 'expiring', 'expiring', 'expiring', 'expiring']);
  assert.deepEqual(states, ['connecting', 'open']);
  assert.equal(all.get('a.x').data, 1);
});

test('after an expired or a bad token another one is asked for', LIMIT, async (t) => {
  const gateway = await start(t);
  const tokens = [token(-5), `${token(60)}x`, undefined, token(60)];
  const asked = [];
  const held = client(t, gateway, (why) => { asked.push(why); return tokens.shift(); }, 'websocket');
  const all = held.subscribe('a.*');
  await until('it is live', () => all.live);
  assert.equal(tokens.length, 0);
  // Refused by HTTP, which no client can read; the last was asked for on an open connection.
  assert.deepEqual(asked, ['first', 1006, 1006, 4401]);
});

test('a token that is not renewed is replaced when it has expired', LIMIT, async (t) => {
  const gateway = await start(t);
  const asked = [];
  const held = client(t, gateway, (why) => {
    asked.push(why);
    if (why === 'expiring') throw new Error('away');
    return token(2);
  });
  const all = held.subscribe('a.*');
  await until('it was closed for it', () => asked.includes(4005));
  await until('it is live again', () => all.live);
  assert.equal(all.get('a.x').data, 1);
});

test('what a token does not grant is refused, and asked for again with one that does', LIMIT, async (t) => {
  const gateway = await start(t);
  await gateway.publish('b.x', 2);
  const tokens = [token(2), token(60, ['a.*', 'b.*'])];
  const held = client(t, gateway, () => tokens.shift());
  const [granted, refused] = [held.subscribe('a.*'), held.subscribe('b.*')];
  const errors = [];
  refused.on('error', ({ code }) => errors.push(code));
  await until('one is live', () => granted.live);
  await until('the other too', () => refused.live);
  assert.deepEqual(errors, [4403]);
  assert.equal(refused.get('b.x').data, 2);
});
