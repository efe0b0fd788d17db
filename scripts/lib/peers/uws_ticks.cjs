// Broadcasts the lines of a file to every client, one after the other at a rate, with uWebSockets' `publish`:
// uws_ticks.cjs FILE PER_S. Who offers permessage-deflate gets the lines compressed by the shared compressor.
// The first line on stdout is `listening data=127.0.0.1:PORT`.
'use strict';
const fs = require('node:fs');
const uws = require('@trufflesuite/uws-js-unofficial');

// Without a binary for this Node.js the package takes another WebSocket server in its place.
if (uws.SHARED_COMPRESSOR === undefined) throw new Error(`uWebSockets has no binary for Node.js ${process.version}`);
const [file, perS] = process.argv.slice(2);
const lines = fs.readFileSync(file, 'utf8').split('\n');
const server = uws.App().ws('/*', {
  compression: uws.SHARED_COMPRESSOR,
  open: (socket) => socket.subscribe('ticks'),
});
server.listen('127.0.0.1', 0, (listener) => {
  console.log(`listening data=127.0.0.1:${uws.us_socket_local_port(listener)}`);
});
let n = 0;
setInterval(() => server.publish('ticks', lines[n++ % lines.length], false, true), 1000 / Number(perS));
