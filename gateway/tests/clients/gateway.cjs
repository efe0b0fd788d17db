// A gateway process with its admin listener, for the checks written for Node.
'use strict';
const { spawn } = require('node:child_process');
const { mkdtempSync, rmSync, writeFileSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { once } = require('node:events');
const readline = require('node:readline');

class Gateway {
  /** Starts GATEWAY_BIN with `config` (TOML without [server]) and resolves once it listens. */
  static async start(config, { data = '127.0.0.1:0', admin = '127.0.0.1:0' } = {}) {
    const gateway = new Gateway();
    gateway.directory = mkdtempSync(join(tmpdir(), 'fanwire-'));
    const path = join(gateway.directory, 'gateway.toml');
    writeFileSync(path, `[server]\ndata = "${data}"\nadmin = "${admin}"\n${config}\n`);
    gateway.process = spawn(process.env.GATEWAY_BIN, ['--config', path], { stdio: ['ignore', 'pipe', 'inherit'] });
    gateway.exited = once(gateway.process, 'exit');
    const lines = readline.createInterface({ input: gateway.process.stdout });
    const first = await Promise.race([once(lines, 'line'), gateway.exited.then(([code]) => [`exit code ${code}`])]);
    const match = /^listening data=(\S+) admin=(\S+)/.exec(first[0]);
    if (!match) throw new Error(`the gateway's first line is: ${first[0]}`);
    [, gateway.data, gateway.admin] = match;
    return gateway;
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

module.exports = { Gateway };
