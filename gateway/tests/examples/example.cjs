// An example as a reader starts it, by its one command, and pages of it in headless Chromium.
'use strict';
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const { mkdirSync } = require('node:fs');
const net = require('node:net');
const { join } = require('node:path');
const readline = require('node:readline');
const { chromium } = require('playwright-core');

const ROOT = join(__dirname, '../../..');
const ARGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking'];

class Example {
  /** Runs `gateway/examples/run NAME` on free ports until the test `t` ends; `more` are variables of the environment. */
  static async start(t, name, more = {}) {
    const example = new Example();
    Object.assign(example, { name, errors: [] });
    const env = { ...process.env, FANWIRE_SERVER__DATA: '127.0.0.1:0', ...more };
    const command = join(ROOT, 'gateway/examples/run');
    const running = spawn(command, [name, '--port', '0'], { stdio: ['ignore', 'pipe', 'inherit'], env });
    const exited = once(running, 'exit');
    t.after(async () => { running.kill(); await exited; });
    const lines = readline.createInterface({ input: running.stdout });
    const [first] = await Promise.race([once(lines, 'line'), exited.then(([code]) => [`exit code ${code}`])]);
    if (!first.startsWith('http://')) throw new Error(`its first line is: ${first}`);
    example.url = first;
    const executablePath = process.env.CHROMIUM || '/usr/bin/chromium';
    example.browser = await chromium.launch({ executablePath, args: ARGS });
    t.after(() => example.browser.close());
    return example;
  }

  /** A tab of its own browser profile. What fails in it is in `errors`. */
  async page(hash = '') {
    const page = await this.browser.newPage({ viewport: { width: 960, height: 600 } });
    page.setDefaultTimeout(15_000);
    page.on('pageerror', (error) => this.errors.push(String(error)));
    page.on('console', (line) => { if (line.type() === 'error') this.errors.push(line.text()); });
    await page.goto(this.url + hash);
    return page;
  }

  /** A picture of the page, in target/. */
  async picture(page, what = '') {
    mkdirSync(join(ROOT, 'target'), { recursive: true });
    await page.screenshot({ path: join(ROOT, 'target', `example-${this.name}${what}.png`) });
  }
}

/** A port that nobody listens on. */
async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

module.exports = { Example, freePort };
