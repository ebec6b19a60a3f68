// Verifies wxgate's assertion of who calls, with jose.
//
//   node verify.js JWKS ISSUER AUDIENCE < token
//
// JWKS is a file or an address, best that of the gateway with /.well-known/jwks.json. Prints the claims, or says why not.
// A backend keeps what `createVerifier` gives, and gives that the value of X-WX-ASSERTION of each request.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { createLocalJWKSet, createRemoteJWKSet, jwtVerify } from 'jose';

// Never what the token says. With HS256 in this list, whoever has the public key could sign.
const algorithms = ['EdDSA', 'ES256'];

export function createVerifier(jwks, issuer, audience) {
  const keys = /^https?:/.test(jwks)
    ? // Keeps the keys for five minutes, and fetches them when it meets one that it doesn't know, but not more than twice a
      // minute: strangers can make up as many as they like.
      createRemoteJWKSet(new URL(jwks), { cacheMaxAge: 300_000, cooldownDuration: 30_000 })
    : createLocalJWKSet(JSON.parse(readFileSync(jwks, 'utf8')));
  // Without maxTokenAge jose lets a token pass that was made in the future.
  const options = { algorithms, issuer, audience, clockTolerance: 10, maxTokenAge: '5m', requiredClaims: ['sub', 'app', 'exp'] };
  return async (token) => {
    const { payload, protectedHeader } = await jwtVerify(token, keys, options);
    // Where there is one key, jose takes it for a token that names none.
    if (typeof protectedHeader.kid !== 'string') throw new Error('no kid');
    // jose lets a list pass that has our name in it. What is meant for others too could be sent on by one of them.
    if (typeof payload.aud !== 'string') throw new Error('"aud" is not one text');
    return payload;
  };
}

async function main([jwks, issuer, audience]) {
  const verify = createVerifier(jwks, issuer, audience);
  console.log(JSON.stringify(await verify(readFileSync(0, 'utf8').trim())));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main(process.argv.slice(2)).catch((error) => {
    console.error(`refused: ${error.message}`);
    process.exitCode = 1;
  });
}
