// An empty page in Chromium that may import this package's files.
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';

const { chromium } = createRequire(import.meta.url)('playwright-core');
// A container's root has no user namespaces for the browser's own sandbox.
const ARGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking'];

/** What `use` makes of the page; both end with it. */
export async function inPage(use) {
  const server = http.createServer((request, response) => {
    if (request.url === '/') return response.setHeader('content-type', 'text/html').end('<!doctype html>');
    if (!/^\/(dist|test)\/[a-z_]+\.m?js$/.test(request.url)) return response.writeHead(404).end();
    response.setHeader('content-type', 'text/javascript').end(readFileSync(new URL(`..${request.url}`, import.meta.url)));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ARGS });
  try {
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    return await use(page);
  } finally {
    await browser.close();
    server.close();
  }
}
