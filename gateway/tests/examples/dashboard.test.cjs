// The dashboard in two pages: what moved by its threshold is shown at once, what moved less waits for ten seconds.
'use strict';
const test = require('node:test');
const assert = require('node:assert/strict');
const { Example, freePort } = require('./example.cjs');

const CARD = '[data-topic="app.queue"] .value';

test('the dashboard', { timeout: 90_000 }, async (t) => {
  const admin = `127.0.0.1:${await freePort()}`;
  const example = await Example.start(t, 'dashboard', { FANWIRE_SERVER__ADMIN: admin });
  const pages = [await example.page(), await example.page()];
  const publish = async (data) => {
    const headers = { 'content-type': 'application/json' };
    const body = JSON.stringify({ topic: 'app.queue', data });
    const answer = await fetch(`http://${admin}/publish`, { method: 'POST', headers, body });
    assert.equal(answer.status, 200, await answer.text());
  };
  /** Waits until every page shows the value; gives how long that took, in ms. */
  const shown = async (value, timeout = 15_000) => {
    const began = Date.now();
    for (const page of pages) {
      await page.waitForFunction(([of, wanted]) => document.querySelector(of)?.textContent === wanted, [CARD, value], { timeout });
    }
    return Date.now() - began;
  };

  await t.test('this machine is shown', async () => {
    for (const page of pages) {
      for (const topic of ['host.cpu', 'host.load', 'host.memory']) await page.waitForSelector(`[data-topic="${topic}"]`);
    }
  });

  await t.test('what moved by more than its threshold is shown at once', async () => {
    await publish(100);
    await shown('100');
    await publish(110);
    const tookMs = await shown('110');
    assert.ok(tookMs < 3000, `after ${tookMs} ms`);
  });

  await t.test('what moved by less waits until ten seconds have passed; then the newest is shown', async () => {
    const toldAt = Date.now();
    await publish(120);
    await shown('120');
    await publish(122);
    await publish(123);
    await pages[0].waitForTimeout(5000);
    for (const page of pages) assert.equal(await page.textContent(CARD), '120');
    await shown('123');
    const tookMs = Date.now() - toldAt;
    assert.ok(tookMs > 9500 && tookMs < 13_000, `after ${tookMs} ms`);
  });

  await t.test('who comes later sees what the others see', async () => {
    pages.push(await example.page());
    await publish(125);
    await shown('123');
    await publish(140);
    await shown('140');
  });

  await pages[0].waitForTimeout(1000);
  await example.picture(pages[0]);
  assert.deepEqual(example.errors, []);
});
