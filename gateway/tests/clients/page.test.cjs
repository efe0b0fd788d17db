// The live page in headless Chromium: rows appear, values change, a gateway restart is survived; behind a key it asks for
// that. README's lines for the console work there. A screenshot is left in target/page.png.
'use strict';
const test = require('node:test');
const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { chromium } = require('playwright-core');
const { Gateway } = require('./gateway.cjs');

const CONFIG = `
[[source]]
kind = "synthetic"
symbols = 40
updates_per_s = 400
[[source]]
kind = "host"
interval = "200ms"
[[topic]]
pattern = "*.book.*"
mode = "keyed"
`;
const SCREENSHOT = join(__dirname, '../../../target/page.png');
const WAIT = { timeout: 20_000 };

test('the live page over TLS', { timeout: 60_000 }, async (t) => {
  const gateway = await Gateway.start(CONFIG, { tls: true });
  t.after(() => gateway.kill());
  const executablePath = process.env.CHROMIUM || '/usr/bin/chromium';
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--ignore-certificate-errors'] });
  t.after(() => browser.close());
  const page = await browser.newPage();
  await page.goto(`https://${gateway.admin}/`);
  const values = () => page.$$eval('[data-topic]', (rows) => rows.map((row) => row.innerText).join());
  await page.waitForFunction(() => document.querySelectorAll('[data-topic]').length >= 44, null, WAIT);
  const before = await values();
  await page.waitForFunction(
    (old) => [...document.querySelectorAll('[data-topic]')].map((row) => row.innerText).join() !== old, before, WAIT);
  const text = await page.evaluate(async () => (await fetch('/metrics')).text());
  const counted = (name) => Number(new RegExp(`^${name} (\\d+)`, 'm').exec(text)[1]);
  assert.equal(counted('fanwire_tls_sessions'), 1);
  assert.ok(counted('fanwire_compressed_frames_total\\{result="smaller"\\}') > 0, text);
});

async function pageOf(t, gateway) {
  const executablePath = process.env.CHROMIUM || '/usr/bin/chromium';
  // A container's root has no user namespaces for the browser's own sandbox.
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
  t.after(() => browser.close());
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  await page.goto(`http://${gateway.admin}/`);
  return page;
}

/** A key of the admin listener, and its table. */
function adminKey(name, allow) {
  const key = `fw_${name}_${name}_${name}_${name}_${name}`;
  const sha256 = createHash('sha256').update(key).digest('hex');
  return [key, `[[admin.key]]\nname = "${name}"\nsha256 = "${sha256}"\nallow = ["${allow}"]\n`];
}

function filled(page) {
  return page.waitForFunction(() => document.querySelectorAll('[data-topic]').length >= 44, null, WAIT);
}

test('the live page behind a key', { timeout: 60_000 }, async (t) => {
  const [key, table] = adminKey('page', 'admin');
  const gateway = await Gateway.start(`${CONFIG}${table}`);
  t.after(() => gateway.kill());
  const page = await pageOf(t, gateway);
  // Where everybody may read, nobody is asked for it.
  await filled(page);
  assert.equal(await page.$eval('#login', (form) => form.hidden), true);
  const status = (shown) =>
    page.evaluate(async (headers) => (await fetch('/metrics', { headers })).status, shown);
  assert.deepEqual([await status({}), await status({ 'x-api-key': key })], [401, 200]);
});

test('the live page where clients need a token', { timeout: 60_000 }, async (t) => {
  process.env.TOKEN_SECRET = 'a secret of thirty-two bytes, or a little more than that';
  const access = '[access]\nclients = "token"\n[[access.key]]\nalg = "HS256"\nsecret_env = "TOKEN_SECRET"\n';
  const [[key, all], [reader, little]] = [adminKey('page', 'admin'), adminKey('reader', 'read')];
  const config = `${CONFIG}${access}${all}${little}`;
  let gateway = await Gateway.start(config);
  t.after(() => gateway.kill());
  const page = await pageOf(t, gateway);

  /** Types a key, where the page asks for one. */
  const type = async (typed) => {
    await page.waitForSelector('#login:not([hidden])', WAIT);
    await page.fill('#key', typed);
    await page.click('#login button');
  };
  const says = (text) => page.waitForFunction(
    (wanted) => document.querySelector('#message').textContent.includes(wanted), text, WAIT);

  await t.test('asks for a key, again after one that may not make tokens', async () => {
    await type('fw_none');
    await says('key');
    await type(reader);
    await says('admin');
    assert.equal(await page.$$eval('[data-topic]', (rows) => rows.length), 0);
    await type(key);
    await filled(page);
    assert.equal(await page.$eval('#login', (form) => form.hidden), true);
  });

  await t.test('keeps it in the tab alone, and gets new tokens with it', async () => {
    const kept = await page.evaluate(() => [location.href, document.cookie, { ...localStorage }]);
    assert.deepEqual(kept, [`http://${gateway.admin}/`, '', {}]);
    // Tokens that the gateway made before are not good any more.
    const { data, admin } = gateway;
    await gateway.kill();
    await page.waitForFunction(() => !document.querySelector('#state').textContent.includes('open'), null, WAIT);
    gateway = await Gateway.start(config, { data, admin });
    await page.waitForFunction(() => document.querySelector('#state').textContent === 'open', null, WAIT);
    await filled(page);
  });
});

test("README's lines for the console of a browser that has the page open", { timeout: 60_000 }, async (t) => {
  const readme = readFileSync(join(__dirname, '../../../README.md'), 'utf8');
  const [, lines] = /```js\n(.*?)```/s.exec(readme);
  const [publish] = /^curl .*\/publish$/m.exec(readme);
  const gateway = await Gateway.start(CONFIG);
  t.after(() => gateway.kill());
  const here = (text) => text.replace('127.0.0.1:9001', gateway.data).replace('127.0.0.1:9002', gateway.admin);
  const page = await pageOf(t, gateway);
  const logged = page.waitForEvent('console', { predicate: (line) => line.text().includes('EURUSD'), ...WAIT });
  await page.evaluate(here(lines));
  execFileSync('sh', ['-c', here(publish)], { stdio: 'ignore' });
  const values = await Promise.all((await logged).args().map((value) => value.jsonValue()));
  assert.deepEqual(values, ['desk.fx.EURUSD', 1, { bid: 1.0841 }]);
});

test('the live page', { timeout: 120_000 }, async (t) => {
  let gateway = await Gateway.start(CONFIG);
  t.after(() => gateway.kill());
  const page = await pageOf(t, gateway);
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  const requests = [];
  page.on('request', (request) => requests.push(new URL(request.url()).host));

  const state = (wanted) =>
    page.waitForFunction((text) => document.querySelector('#state')?.textContent.includes(text), wanted, WAIT);
  const texts = () => page.$$eval('[data-topic]', (rows) => rows.map((row) => [row.dataset.topic, row.innerText]));
  const changed = async () => {
    // Between "open" and the snapshot of a restarted gateway the table is empty.
    await filled(page);
    const before = new Map(await texts());
    await page.waitForFunction(
      (old) => [...document.querySelectorAll('[data-topic]')].filter(
        (row) => old[row.dataset.topic] && old[row.dataset.topic] !== row.innerText).length >= 10,
      Object.fromEntries(before), WAIT);
  };

  await t.test('rows of every source appear', async () => {
    await page.goto(`http://${gateway.admin}/`);
    await state('open');
    await filled(page);
    const topics = (await texts()).map(([topic]) => topic);
    assert.ok(topics.includes('tick.S0000') && topics.includes('host.cpu'), topics.join(' '));
    assert.equal(new Set(topics).size, topics.length, 'a topic has one row');
  });

  await t.test('values change', changed);

  await t.test('frames come compressed', async () => {
    const metrics = await (await fetch(`http://${gateway.admin}/metrics`)).text();
    const [, frames] = /^fanwire_compressed_frames_total\{result="smaller"\} (\d+)/m.exec(metrics);
    assert.ok(Number(frames) > 0, metrics);
  });

  await t.test('a table is kept key by key, and what is stale is marked', async () => {
    const row = '[data-topic="x.book.a"]';
    // Keys have no order.
    const shows = (...texts) => page.waitForFunction(
      ([of, wanted]) => wanted.every((text) => document.querySelector(of)?.innerText.includes(text)), [row, texts], WAIT);
    await gateway.post('/publish', { topic: 'x.book.a', set: { b1: 1, b2: 2 } });
    await shows('2 keys', '"b1":1', '"b2":2');
    await gateway.post('/publish', { topic: 'x.book.a', set: { b3: 3 }, del: ['b1'] });
    await shows('2 keys', '"b2":2', '"b3":3');
    await gateway.post('/status', { topics: ['x.book.*'], state: 'stale', reason: 'the line is down' });
    await page.waitForSelector(`${row}.stale`, WAIT);
    assert.equal(await page.$eval(`${row} .age`, (cell) => cell.title), 'stale: the line is down');
    await gateway.post('/status', { topics: ['x.book.*'], state: 'live' });
    await page.waitForSelector(`${row}:not(.stale)`, WAIT);
  });

  await t.test('a gateway restart is survived without a reload', async () => {
    const { data, admin } = gateway;
    await gateway.kill();
    await page.waitForFunction(() => !document.querySelector('#state').textContent.includes('open'), null, WAIT);
    gateway = await Gateway.start(CONFIG, { data, admin });
    await state('open');
    await changed();
  });

  await t.test('nothing failed, and nothing was fetched from elsewhere', async () => {
    // The rates on the page cover the last second.
    await page.waitForTimeout(2000);
    await page.screenshot({ path: SCREENSHOT });
    assert.deepEqual(errors, []);
    assert.deepEqual([...new Set(requests)], [gateway.admin]);
  });
});
