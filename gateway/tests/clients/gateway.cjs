// A gateway process with its admin listener, for the checks written for Node.
'use strict';
const { execFileSync, spawn } = require('node:child_process');
const { mkdtempSync, rmSync, writeFileSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { once } = require('node:events');
const readline = require('node:readline');

class Gateway {
  /** Starts GATEWAY_BIN with `config` (TOML without [server]) and resolves once it listens. */
  static async start(config, { data = '127.0.0.1:0', admin = '127.0.0.1:0', tls = false } = {}) {
    const gateway = new Gateway();
    gateway.directory = mkdtempSync(join(tmpdir(), 'fanwire-'));
    const path = join(gateway.directory, 'gateway.toml');
    const server = tls ? gateway.withTls() : '';
    writeFileSync(path, `[server]\ndata = "${data}"\nadmin = "${admin}"\n${server}${config}\n`);
    gateway.process = spawn(process.env.GATEWAY_BIN, ['--config', path], { stdio: ['ignore', 'pipe', 'inherit'] });
    gateway.exited = once(gateway.process, 'exit');
    const lines = readline.createInterface({ input: gateway.process.stdout });
    const first = await Promise.race([once(lines, 'line'), gateway.exited.then(([code]) => [`exit code ${code}`])]);
    const match = /^listening data=(\S+) admin=(\S+)(?: tls=(\S+))?/.exec(first[0]);
    if (!match) throw new Error(`the gateway's first line is: ${first[0]}`);
    [, gateway.data, gateway.admin, gateway.tls] = match;
    return gateway;
  }

  /** Keys of [server] for both listeners to speak TLS. */
  withTls() {
    const { cert, key } = certificate(this.directory);
    this.cert = cert;
    return `tls = "127.0.0.1:0"\ntls_cert = "${cert}"\ntls_key = "${key}"\nadmin_tls = true\n`;
  }

  publish(topic, data) {
    return this.post('/publish', { topic, data });
  }

  async post(path, value) {
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(`http://${this.admin}${path}`, { method: 'POST', headers, body: JSON.stringify(value) });
    if (answer.status !== 200) throw new Error(`${path} answered ${answer.status} ${await answer.text()}`);
  }

  async kill() {
    this.process.kill('SIGKILL');
    await this.exited;
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Files with a certificate for localhost and 127.0.0.1, and with its key. */
function certificate(directory) {
  const [cert, key] = ['cert.pem', 'key.pem'].map((name) => join(directory, name));
  const names = 'subjectAltName=DNS:localhost,IP:127.0.0.1';
  const args = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  args.push('-subj', '/CN=localhost', '-addext', names, '-keyout', key, '-out', cert);
  execFileSync('openssl', args, { stdio: 'ignore' });
  return { cert, key };
}

module.exports = { Gateway, certificate };
