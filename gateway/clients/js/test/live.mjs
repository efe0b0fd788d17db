// Follows live.* until live.end is there, in whichever runtime calls it, and reports what it holds and was told.

/** `tell` hears meanwhile whether it is live or stale. */
export function follow(connect, url, tell) {
  return new Promise((resolve, reject) => {
    const client = connect(url, { backoff: { min: 100, max: 1000 } });
    const all = client.subscribe('live.*', { interval: 50 });
    // Of live.stream: the v of each update, {missed} for a hole, {snapshot} where one took the place of updates.
    const stream = [], counts = { lost: 0, snapshots: 0, resumed: 0 };
    let turns = 0;
    client.on('closed', ({ code, reason }) => reject(new Error(`closed for good: ${code} ${reason}`)));
    all.on('stale', () => {
      counts.lost++;
      tell('stale');
    });
    all.on('gap', ({ topic, missed }) => {
      if (topic === undefined) stream.push({ snapshot: true });
      else if (topic === 'live.stream') stream.push({ missed });
    });
    all.on('update', ({ topic, v, gone }) => topic === 'live.stream' && !gone && stream.push(v));
    let back = false;
    all.on('live', () => { back = true; });
    all.on('batch', ({ snapshot }) => {
      if (back) counts[snapshot ? 'snapshots' : 'resumed']++;
      if (back) tell('live');
      back = false;
      if (!all.get('live.end')) return;
      const held = Object.fromEntries([...all.topics].map(([topic, { v, data, table }]) =>
        [topic, { v, data: table ? Object.fromEntries(table) : data }]));
      resolve({ held, stream, turns, ...counts });
      client.close();
    });
    (async () => {
      for await (const changed of all) turns += changed.size > 0;
    })();
  });
}
