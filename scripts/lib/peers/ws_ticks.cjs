// Broadcasts {"ts": µs since the epoch, "n": N} to every client at a rate, with the npm package `ws`.
// The first line on stdout is `listening data=127.0.0.1:PORT`.
'use strict';
const { WebSocket, WebSocketServer } = require('ws');

const PER_S = Number(process.argv[2]);
const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false }, () => {
  console.log(`listening data=127.0.0.1:${server.address().port}`);
});
let n = 0;
setInterval(() => {
  const ts = Math.round((performance.timeOrigin + performance.now()) * 1000);
  const tick = JSON.stringify({ ts, n: n++ });
  for (const client of server.clients) if (client.readyState === WebSocket.OPEN) client.send(tick);
}, 1000 / PER_S);
