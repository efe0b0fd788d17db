// All vectors, in whichever runtime this runs: `node all.mjs`, `deno run --allow-read all.mjs`, `bun all.mjs`.
import { readFileSync, readdirSync } from 'node:fs';
import process from 'node:process';
import { Core } from '../dist/index.js';
import { run } from './vectors.mjs';

const directory = new URL('../../vectors/', import.meta.url);
let passed = 0, failed = 0;
for (const file of readdirSync(directory).filter((name) => name.endsWith('.json')).sort()) {
  for (const vector of JSON.parse(readFileSync(new URL(file, directory), 'utf8'))) {
    try {
      run(vector, Core);
      passed++;
    } catch (error) {
      failed++;
      console.error(`${file}: ${vector.name}: ${error.message}`);
    }
  }
}
console.log(`${passed} vectors passed, ${failed} failed`);
process.exit(failed || !passed ? 1 : 0);
