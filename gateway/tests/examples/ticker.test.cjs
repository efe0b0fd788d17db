// The ticker in two pages with symbols of their own: at most ten frames a second, with the newest of what each chose.
'use strict';
const test = require('node:test');
const assert = require('node:assert/strict');
const { Example } = require('./example.cjs');

const SECONDS = 5;

const symbols = (page) => page.$$eval('#rows tr', (rows) => rows.map((row) => row.dataset.symbol));
const numbers = (page) => page.$$eval('#rows tr', (rows) => rows.map((row) => row.cells[3].textContent).join());
const filled = (page, count) => page.waitForFunction(
  (wanted) => [...document.querySelectorAll('#rows tr')].filter((row) => row.cells[3].textContent).length === wanted, count);

/** A page, and the batches that it gets: [when, topics]. */
async function watching(example, hash) {
  const page = await example.page(), batches = [];
  page.on('websocket', (socket) => socket.on('framereceived', ({ payload }) => {
    const message = JSON.parse(payload);
    if (message.op === 'batch') batches.push([Date.now(), message.updates.map(({ topic }) => topic)]);
  }));
  await page.goto(`${example.url}${hash}`);
  await page.reload();
  return { page, batches };
}

test('the ticker', { timeout: 60_000 }, async (t) => {
  const example = await Example.start(t, 'ticker');
  const one = await watching(example, '#S0001,S0002'), two = await watching(example, '#S0030');
  await filled(one.page, 2);
  await filled(two.page, 1);

  await t.test('at most ten frames a second, though each symbol changes a hundred times', async () => {
    for (const { batches } of [one, two]) batches.length = 0;
    const before = await Promise.all([numbers(one.page), numbers(two.page)]);
    await one.page.waitForTimeout(SECONDS * 1000);
    for (const [n, { page, batches }] of [one, two].entries()) {
      const frames = batches.length;
      assert.ok(frames <= SECONDS * 10 + 2 && frames >= SECONDS * 5, `${frames} frames in ${SECONDS} s`);
      assert.notEqual(await numbers(page), before[n]);
    }
    // Many changes were left out, and the page says how many.
    const left = await one.page.$$eval('#rows tr', (rows) => rows.map((row) => Number(row.cells[4].textContent)));
    assert.ok(left.every((count) => count > SECONDS * 50), left.join());
  });

  await t.test('each page gets the symbols that it chose, and no others', async () => {
    const got = ({ batches }) => [...new Set(batches.flatMap(([, topics]) => topics))].sort();
    assert.deepEqual(got(one), ['tick.S0001', 'tick.S0002']);
    assert.deepEqual(got(two), ['tick.S0030']);
  });

  await t.test('a symbol is added, and taken away', async () => {
    await two.page.fill('#symbol', 'S0049');
    await two.page.click('#add button');
    await filled(two.page, 2);
    await two.page.click('#rows tr[data-symbol=S0030] button');
    assert.deepEqual(await symbols(two.page), ['S0049']);
    const before = await numbers(two.page);
    await two.page.waitForFunction(
      (old) => document.querySelector('#rows tr').cells[3].textContent !== old, before);
    assert.deepEqual(await symbols(one.page), ['S0001', 'S0002']);
  });

  await t.test('no page gets more by asking for a shorter interval', async () => {
    const interval = await one.page.evaluate(() => new Promise((resolve) => {
      client.subscribe('tick.S0003', { interval: 1 }).on('subscribed', (answer) => resolve(answer.interval_ms));
    }));
    assert.equal(interval, 100);
  });

  await example.picture(one.page);
  assert.deepEqual(example.errors, []);
});
