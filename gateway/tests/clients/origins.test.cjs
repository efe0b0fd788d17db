// Whose pages may connect, in headless Chromium: those of the host that is asked, not those of others, and not one whose
// name leads to this machine. A page that is refused for a limit hears why.
'use strict';
const test = require('node:test');
const assert = require('node:assert/strict');
const { once } = require('node:events');
const http = require('node:http');
const { setTimeout } = require('node:timers/promises');
const { chromium } = require('playwright-core');
const { Gateway } = require('./gateway.cjs');

const CONFIG = '[limits]\nconnections_per_ip = 1';
const HOSTS = 'MAP evil.example 127.0.0.1, MAP app.example 127.0.0.1';

test('pages', { timeout: 60_000 }, async (t) => {
  const gateway = await Gateway.start(CONFIG);
  t.after(() => gateway.kill());
  const site = http.createServer((request, answer) => {
    answer.setHeader('content-type', 'text/html');
    answer.end('<title>a page</title>');
  });
  site.listen(0, '127.0.0.1');
  await once(site, 'listening');
  t.after(() => site.close());
  const executablePath = process.env.CHROMIUM || '/usr/bin/chromium';
  const args = ['--no-sandbox', `--host-resolver-rules=${HOSTS}`];
  const browser = await chromium.launch({ executablePath, args });
  t.after(() => browser.close());
  const page = await browser.newPage();
  const [, data] = gateway.data.split(':');

  /** What a page of one host, asking another, hears: "open", or code and reason of the close. */
  const connect = async (of, asked) => {
    await page.goto(`http://${of}:${site.address().port}/`);
    return page.evaluate((url) => new Promise((resolve) => {
      const socket = new WebSocket(url, 'fanwire.json.v1');
      let opened = false;
      socket.onopen = () => { opened = true; setTimeout(() => resolve('open'), 300); };
      socket.onclose = ({ code, reason }) => resolve({ opened, code, reason });
      globalThis.kept = socket;
    }), `ws://${asked}:${data}/ws?topics=a`);
  };

  await t.test('of another host is refused, by name and by address', async () => {
    for (const asked of ['127.0.0.1', 'localhost']) {
      const heard = await connect('evil.example', asked);
      assert.deepEqual([heard.opened, heard.code], [false, 1006], JSON.stringify(heard));
    }
  });

  await t.test('whose own name leads here is refused', async () => {
    const heard = await connect('evil.example', 'evil.example');
    assert.deepEqual([heard.opened, heard.code], [false, 1006], JSON.stringify(heard));
    for (const address of [gateway.data, gateway.admin]) {
      const answer = await page.goto(`http://evil.example:${address.split(':')[1]}/`);
      assert.equal(answer.status(), 403);
    }
  });

  await t.test('of this host connects, and one more hears of the limit', async () => {
    // Those that were refused count until they are gone, for a second at most.
    await setTimeout(1500);
    assert.equal(await connect('localhost', '127.0.0.1'), 'open');
    const heard = await page.evaluate((url) => new Promise((resolve) => {
      new WebSocket(url, 'fanwire.json.v1').onclose = ({ code, reason }) => resolve({ code, reason });
    }), `ws://127.0.0.1:${data}/ws`);
    assert.deepEqual(heard, { code: 4429, reason: 'too many connections from this address' });
  });
});
