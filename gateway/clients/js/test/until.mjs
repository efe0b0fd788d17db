// Waits for something to hold, and says what did not: a text, or what gives one then.

export async function until(what, holds, ms = 20_000) {
  const ends = performance.now() + ms;
  for (;;) {
    const found = await holds();
    if (found) return found;
    if (performance.now() > ends) throw new Error(`not within ${ms} ms: ${typeof what === 'string' ? what : what()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
