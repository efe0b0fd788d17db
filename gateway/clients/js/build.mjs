// What the package holds, under dist/: ESM, CJS, types, and one file for a page. It fails where that is too large.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const BYTES_MAX = 6000;
const require = createRequire(import.meta.url);
const esbuild = require('esbuild');
const here = dirname(fileURLToPath(import.meta.url));
const at = (...names) => join(here, ...names);
const LICENSE = '/* @fanwire/client, MIT OR Apache-2.0. Built by gateway/clients/js/build.mjs. */';

rmSync(at('dist'), { recursive: true, force: true });
const bundle = (outfile, format, from = 'index.ts', options = {}) => esbuild.buildSync({
  absWorkingDir: here, entryPoints: [at('src', from)], bundle: true, target: 'es2022', outfile, format, ...options,
});
bundle(at('dist', 'index.js'), 'esm');
bundle(at('dist', 'cjs', 'index.js'), 'cjs');
bundle(at('dist', 'fanwire.js'), 'iife', 'global.ts', { minify: true, banner: { js: LICENSE } });
const tsc = join(dirname(require.resolve('typescript/package.json')), 'bin', 'tsc');
execFileSync(process.execPath, [tsc, '-p', at('tsconfig.json')], { stdio: 'inherit' });
// The same types, for who requires it.
mkdirSync(at('dist', 'cjs'), { recursive: true });
writeFileSync(at('dist', 'cjs', 'package.json'), '{ "type": "commonjs" }\n');
for (const name of readdirSync(at('dist'))) {
  if (name.endsWith('.d.ts')) cpSync(at('dist', name), at('dist', 'cjs', name));
}

const module = esbuild.buildSync({ absWorkingDir: here, entryPoints: [at('dist', 'index.js')], minify: true, write: false });
for (const [name, text] of [['index.js', module.outputFiles[0].contents], ['fanwire.js', readFileSync(at('dist', 'fanwire.js'))]]) {
  const bytes = gzipSync(text, { level: 9 }).length;
  console.log(`dist/${name}, minified and gzipped: ${bytes} bytes, at most ${BYTES_MAX}`);
  if (bytes > BYTES_MAX) process.exitCode = 1;
}
