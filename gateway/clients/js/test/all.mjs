// All vectors, in whichever runtime this runs: `node all.mjs`, `deno run --allow-read all.mjs`, `bun all.mjs`.
import { readFileSync, readdirSync } from 'node:fs';
import process from 'node:process';
import { Core } from '../dist/index.js';
import { runAll } from './vectors.mjs';

const DIRECTORY = new URL('../../vectors/', import.meta.url);

/** Vectors by the names of their files. */
export function readFiles() {
  const names = readdirSync(DIRECTORY).filter((name) => name.endsWith('.json')).sort();
  return names.map((name) => [name, JSON.parse(readFileSync(new URL(name, DIRECTORY), 'utf8'))]);
}

/** Says how they ended, and ends. */
export function summary({ passed, failures }) {
  failures.forEach((failure) => console.error(failure));
  console.log(`${passed} vectors passed, ${failures.length} failed`);
  process.exit(failures.length || !passed ? 1 : 0);
}

if (import.meta.main ?? process.argv[1] === new URL(import.meta.url).pathname) summary(runAll(readFiles(), Core));
