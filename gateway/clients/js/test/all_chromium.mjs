// All vectors, in Chromium.
import { readFiles, summary } from './all.mjs';
import { inPage } from './page.mjs';

summary(await inPage((page) => page.evaluate(async (text) => {
  const [{ Core }, { runAll }] = await Promise.all([import('/dist/index.js'), import('/test/vectors.mjs')]);
  // As a text: on its way here an object would lose the key __proto__.
  return runAll(JSON.parse(text), Core);
}, JSON.stringify(readFiles()))));
