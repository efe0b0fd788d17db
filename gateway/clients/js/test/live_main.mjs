// `node live_main.mjs URL`, or with another runtime: follows, and prints what it tells and the report, each as a line.
import process from 'node:process';
import { connect } from '../dist/index.js';
import { follow } from './live.mjs';

const say = (line) => console.log(JSON.stringify(line));
say(await follow(connect, process.argv[2], say));
process.exit(0);
