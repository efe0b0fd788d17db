// The updates that an application of `scripts/compare` takes in: lines `STAMP TOPIC DATA` on stdin. SIGUSR2 has it
// collect garbage, before its memory is looked at.
'use strict';

/** Options of the command line, `--name value` or `--name`. */
exports.options = (argv = process.argv.slice(2)) => {
  const options = {};
  for (let at = 0; at < argv.length; at += 1) {
    const name = argv[at].replace(/^--/, '');
    options[name] = argv[at + 1] === undefined || argv[at + 1].startsWith('--') ? true : argv[(at += 1)];
  }
  return options;
};

/** Calls `take(stamp, topic, data)` with each update, all of them text. */
exports.read = (take) => {
  let rest = '';
  process.stdin.setEncoding('latin1');
  process.stdin.on('data', (chunk) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      const topic = line.indexOf(' ');
      const data = line.indexOf(' ', topic + 1);
      take(line.slice(0, topic), line.slice(topic + 1, data), line.slice(data + 1));
    }
  });
  process.stdin.on('end', () => process.exit(0));
  process.on('SIGUSR2', () => (globalThis.gc ?? globalThis.Bun.gc)(true));
};

/** What each update is published as, as it comes. */
exports.message = (stamp, topic, data) => `{"ts":${stamp},"topic":"${topic}","data":${data}}`;
