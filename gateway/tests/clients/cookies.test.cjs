// A token in a cookie, in headless Chromium: the browser sends it along from every page, and the gateway lets in only the
// page whose own server put the cookie's code into it.
'use strict';
const test = require('node:test');
const assert = require('node:assert/strict');
const { createHmac, randomBytes } = require('node:crypto');
const { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } = require('node:fs');
const { once } = require('node:events');
const https = require('node:https');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { chromium } = require('playwright-core');
const { Gateway, certificate } = require('./gateway.cjs');

const HOSTS = ['www.app.example', 'live.app.example', 'evil.example'].map((host) => `MAP ${host} 127.0.0.1`).join(', ');
const SECRETS = { token: randomBytes(32).toString('hex'), csrf: randomBytes(32).toString('hex') };

function hmac(secret, text, form) {
  return createHmac('sha256', secret).update(text).digest(form);
}

/** An HS256 token. */
function minted(claims) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const message = `${part({ alg: 'HS256' })}.${part({ exp: Math.floor(Date.now() / 1000) + 600, ...claims })}`;
  return `${message}.${hmac(SECRETS.token, message, 'base64url')}`;
}

/** The servers of both pages. That of www sets the cookie, and its page has the code. `cookies`: what came along with
 * WebSockets. */
async function serve(directory, token, cookies) {
  const { cert, key } = certificate(directory);
  const site = https.createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (request, answer) => {
    answer.setHeader('content-type', 'text/html');
    if (!request.headers.host.startsWith('www.app.example')) return answer.end('<title>another page</title>');
    answer.setHeader('set-cookie', `session=${token}; Domain=app.example; Path=/; Secure; HttpOnly; SameSite=None`);
    answer.end(`<title>the page</title><script>const code = '${hmac(SECRETS.csrf, token, 'hex')}';</script>`);
  });
  site.on('upgrade', (request, socket) => {
    cookies.push(request.headers.cookie);
    socket.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n');
  });
  site.listen(0, '127.0.0.1');
  await once(site, 'listening');
  return site;
}

test('a token in a cookie', { timeout: 60_000 }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'fanwire-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const path = (name) => join(directory, name);
  for (const name in SECRETS) writeFileSync(path(name), SECRETS[name]);
  const token = minted({ sub: 'alice' });
  const cookies = [];
  const site = await serve(directory, token, cookies);
  t.after(() => site.close());
  const { port } = site.address();
  const gateway = await Gateway.start(`
[access]
clients = "token"
token_from = ["cookie:session"]
origins = ["https://www.app.example:${port}"]
hosts = ["live.app.example"]
csrf_secret_file = "${path('csrf')}"
[access.everyone]
subscribe = ["user.{sub}.*"]
[[access.key]]
alg = "HS256"
secret_file = "${path('token')}"
[audit]
path = "${path('audit')}"
`, { tls: true });
  t.after(() => gateway.kill());
  const executablePath = process.env.CHROMIUM || '/usr/bin/chromium';
  const args = ['--no-sandbox', '--ignore-certificate-errors', `--host-resolver-rules=${HOSTS}`];
  // A profile that lets cookies pass to other sites, as most browsers do and Debian's does not.
  mkdirSync(path('profile/Default'), { recursive: true });
  writeFileSync(path('profile/Default/Preferences'), JSON.stringify({ profile: { cookie_controls_mode: 0 } }));
  const browser = await chromium.launchPersistentContext(path('profile'), { executablePath, args });
  t.after(() => browser.close());
  const page = await browser.newPage();
  const live = `wss://live.app.example:${gateway.tls.split(':')[1]}/ws`;
  const open = (host) => page.goto(`https://${host}:${port}/`);

  /** What the page hears first: a message, or the code of the close and whether it was open. */
  const heard = (url) => page.evaluate((to) => new Promise((resolve) => {
    const socket = new WebSocket(to, 'fanwire.json.v1');
    let opened = false;
    socket.onopen = () => { opened = true; };
    socket.onmessage = ({ data }) => { resolve(JSON.parse(data)); socket.close(); };
    socket.onclose = ({ code }) => resolve({ opened, code });
  }), url);
  const refusedBy = async (rule) => {
    let last;
    for (let tries = 0; tries < 50 && last?.by !== rule; tries++) {
      await page.waitForTimeout(100);
      last = JSON.parse(readFileSync(path('audit'), 'utf8').trim().split('\n').at(-1));
    }
    assert.deepEqual([last.event, last.status, last.by], ['refusal', 403, rule]);
  };
  const refused = { opened: false, code: 1006 };

  await open('www.app.example');
  const code = await page.evaluate('code');

  await t.test('with its code lets in the page of its own server', async () => {
    const first = await heard(`${live}?csrf=${code}&topics=user.alice.inbox`);
    assert.deepEqual([first.op, first.sub], ['authorized', 'alice']);
  });

  await t.test('without its code, or with another, lets nobody in', async () => {
    for (const query of ['', `?csrf=${hmac(SECRETS.token, token, 'hex')}`]) {
      assert.deepEqual(await heard(`${live}${query}`), refused);
      await refusedBy('csrf');
    }
  });

  await t.test('comes along from a page of another site, which is refused', async () => {
    await open('evil.example');
    await heard(`wss://live.app.example:${port}/`);
    assert.deepEqual(cookies, [`session=${token}`]);
    for (const query of ['', `?csrf=${code}`]) {
      assert.deepEqual(await heard(`${live}${query}`), refused);
      await refusedBy('origins');
    }
  });
});
