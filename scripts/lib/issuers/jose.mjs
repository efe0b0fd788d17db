// Tokens and a set of public keys, as jose makes them: {"keys": {ALG: FILE}, "claims": [CLAIMS, …]} on stdin.
import { createPublicKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { json } from 'node:stream/consumers';
import { exportJWK, importPKCS8, importSPKI, SignJWT } from 'jose';

const work = await json(process.stdin);
const tokens = {}, published = [];
for (const [alg, path] of Object.entries(work.keys)) {
  const file = await readFile(path);
  const isSecret = alg.startsWith('HS');
  const key = isSecret ? file : await importPKCS8(file.toString(), alg);
  const sign = (claims) => new SignJWT(claims).setProtectedHeader({ alg, kid: alg }).sign(key);
  tokens[alg] = await Promise.all(work.claims.map(sign));
  if (!isSecret) {
    const pem = createPublicKey(file).export({ type: 'spki', format: 'pem' });
    published.push({ ...await exportJWK(await importSPKI(pem, alg, { extractable: true })), kid: alg });
  }
}
const { version } = JSON.parse(await readFile('node_modules/jose/package.json'));
process.stdout.write(JSON.stringify({ version, tokens, keys: published }));
