// The load generator's HTML report in headless Chromium: drawn, complete, and in need of nothing else.
// A screenshot is left in target/report.png.
'use strict';
const test = require('node:test');
const assert = require('node:assert/strict');
const { execFile } = require('node:child_process');
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { pathToFileURL } = require('node:url');
const { promisify } = require('node:util');
const { chromium } = require('playwright-core');
const { Gateway } = require('../../../gateway/tests/clients/gateway.cjs');

const CONFIG = `
[[source]]
kind = "synthetic"
symbols = 20
updates_per_s = 200
`;
const SCREENSHOT = join(__dirname, '../../../target/report.png');

test('the report as a page', { timeout: 120_000 }, async (t) => {
  const gateway = await Gateway.start(CONFIG);
  t.after(() => gateway.kill());
  const [html, json] = ['html', 'json'].map((kind) => join(gateway.directory, `report.${kind}`));
  const flags = ['--url', `ws://${gateway.data}/ws`, '--admin', `http://${gateway.admin}`, '--topics', 'tick.*'];
  const load = ['--connections', '50', '--duration', '5s', '--expect', 'updates.lost==0'];
  await promisify(execFile)(process.env.LOADGEN_BIN, [...flags, ...load, '--html', html, '--report', json]);
  const report = JSON.parse(readFileSync(json));

  const executablePath = process.env.CHROMIUM || '/usr/bin/chromium';
  // A container's root has no user namespaces for the browser's own sandbox.
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
  t.after(() => browser.close());
  const page = await browser.newPage({ viewport: { width: 1000, height: 900 } });
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('console', (message) => errors.push(message.text()));
  const requests = [];
  page.on('request', (request) => requests.push(request.url()));
  await page.goto(pathToFileURL(html).href);
  await page.screenshot({ path: SCREENSHOT, fullPage: true });
  const text = await page.innerText('body');

  await t.test('its figures are those of the JSON report', () => {
    assert.match(text, /50 connections to/);
    assert.match(text, /every expectation holds/);
    const row = text.split('\n').find((line) => line.startsWith('visible\t'));
    const shown = row.split('\t').slice(1).map(Number);
    const { p50, p90, p95, p99, p999, max } = report.visible_ms;
    [p50, p90, p95, p99, p999, max].forEach((ms, at) => assert.ok(Math.abs(shown[at] - ms) <= 0.06, `${row} ${ms}`));
  });

  await t.test('every plot has its lines, within its bounds', async () => {
    const plots = await page.$$eval('figure', (figures) => figures.map((figure) => {
      const svg = figure.querySelector('svg');
      const box = svg?.getBoundingClientRect();
      const lines = [...(svg?.querySelectorAll('polyline') ?? [])].filter((line) => line.points.length > 3);
      const inside = (line) => {
        const at = line.getBoundingClientRect();
        return at.left >= box.left && at.right <= box.right && at.top >= box.top && at.bottom <= box.bottom;
      };
      return { caption: figure.innerText.split('\n')[0], lines: lines.length, inside: lines.every(inside) };
    }));
    assert.equal(plots.length, 6);
    for (const plot of plots) assert.ok(plot.lines >= 1 && plot.inside, JSON.stringify(plot));
  });

  await t.test('nothing failed, nothing was fetched, and nothing is wider than the page', async () => {
    assert.deepEqual(errors, []);
    assert.deepEqual(requests, [pathToFileURL(html).href]);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth));
  });
});
