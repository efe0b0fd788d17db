// The live page in headless Chromium: rows appear, values change, a gateway restart is survived.
// A screenshot is left in target/page.png.
'use strict';
const test = require('node:test');
const assert = require('node:assert/strict');
const { createHash } = require('node:crypto');
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

test('the live page behind a key', { timeout: 60_000 }, async (t) => {
  const key = 'fw_page_page_page_page_page';
  const sha256 = createHash('sha256').update(key).digest('hex');
  const keys = `[[admin.key]]\nname = "page"\nsha256 = "${sha256}"\nallow = ["admin"]\n`;
  const gateway = await Gateway.start(`${CONFIG}${keys}`);
  t.after(() => gateway.kill());
  const executablePath = process.env.CHROMIUM || '/usr/bin/chromium';
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
  t.after(() => browser.close());
  const page = await browser.newPage();
  await page.goto(`http://${gateway.admin}/`);
  // Where everybody may read, nobody is asked for it.
  await page.waitForFunction(() => document.querySelectorAll('[data-topic]').length >= 44, null, WAIT);
  assert.equal(await page.$eval('#login', (form) => form.hidden), true);
  const status = (shown) =>
    page.evaluate(async (headers) => (await fetch('/metrics', { headers })).status, shown);
  assert.deepEqual([await status({}), await status({ 'x-api-key': key })], [401, 200]);
});

test('the live page', { timeout: 120_000 }, async (t) => {
  let gateway = await Gateway.start(CONFIG);
  t.after(() => gateway.kill());
  const executablePath = process.env.CHROMIUM || '/usr/bin/chromium';
  // A container's root has no user namespaces for the browser's own sandbox.
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
  t.after(() => browser.close());
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  const requests = [];
  page.on('request', (request) => requests.push(new URL(request.url()).host));

  const state = (wanted) =>
    page.waitForFunction((text) => document.querySelector('#state')?.textContent.includes(text), wanted, WAIT);
  const texts = () => page.$$eval('[data-topic]', (rows) => rows.map((row) => [row.dataset.topic, row.innerText]));
  const filled = () =>
    page.waitForFunction(() => document.querySelectorAll('[data-topic]').length >= 44, null, WAIT);
  const changed = async () => {
    // Between "open" and the snapshot of a restarted gateway the table is empty.
    await filled();
    const before = new Map(await texts());
    await page.waitForFunction(
      (old) => [...document.querySelectorAll('[data-topic]')].filter(
        (row) => old[row.dataset.topic] && old[row.dataset.topic] !== row.innerText).length >= 10,
      Object.fromEntries(before), WAIT);
  };

  await t.test('rows of every source appear', async () => {
    await page.goto(`http://${gateway.admin}/`);
    await state('open');
    await filled();
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
