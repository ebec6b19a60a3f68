// Tokens that look like wxgate's, and what somebody might make of them to be taken for another.

'use strict';

const { createHash, createHmac, generateKeyPairSync, sign } = require('node:crypto');

const KINDS = {
  EdDSA: () => generateKeyPairSync('ed25519'),
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
};

// A new key, with what is known of it.
function newKey(alg) {
  const { privateKey, publicKey } = KINDS[alg]();
  const { kty, crv, x, y } = publicKey.export({ format: 'jwk' });
  // RFC 7638: the needed members, in alphabetical order.
  const kid = createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url');
  const jwk = { kty, crv, x, y, kid, alg, use: 'sig' };
  return { alg, kid, jwk, privateKey, publicKey, pem: privateKey.export({ type: 'pkcs8', format: 'pem' }) };
}

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

// A token of these parts, signed as the key signs.
function token(key, claims, head = {}) {
  const message = `${part({ alg: key.alg, typ: 'JWT', kid: key.kid, ...head })}.${part(claims)}`;
  const digest = key.alg === 'ES256' ? 'sha256' : null;
  const signature = sign(digest, Buffer.from(message), { key: key.privateKey, dsaEncoding: 'ieee-p1363' });
  return `${message}.${signature.toString('base64url')}`;
}

// The same, signed as with a shared secret.
function withHmac(key, claims, secret) {
  const message = `${part({ alg: 'HS256', typ: 'JWT', kid: key.kid })}.${part(claims)}`;
  return `${message}.${createHmac('sha256', secret).update(message).digest('base64url')}`;
}

// What the samples and their libraries say of each sort of forgery.
const AUDIENCE = /aud|meant for/i;
const LIST = /aud|meant for|claim format/i;
const ISSUER = /iss/i;
const ALGORITHM = /alg|no applicable key/;
const KEY = /key|kid/;
const SIGNATURE = /signature/i;
const FORM = /segments|Compact|three parts/;

// What a verifier has to refuse, each by a name, and how it says why. `claims` are good ones.
function forgeries(key, claims) {
  const now = claims.iat;
  const stranger = newKey(key.alg);
  const other = newKey(key.alg === 'EdDSA' ? 'ES256' : 'EdDSA');
  const [head, , signature] = token(key, claims).split('.');
  const without = (name) => Object.fromEntries(Object.entries(claims).filter(([key]) => key !== name));
  const none = (alg) => `${part({ alg, typ: 'JWT', kid: key.kid })}.${part(claims)}.`;
  const hmac = (secret) => withHmac(key, claims, secret);
  const spki = (format) => key.publicKey.export({ type: 'spki', format });
  return {
    'another audience': [token(key, { ...claims, aud: 'another' }), AUDIENCE],
    'no audience': [token(key, without('aud')), AUDIENCE],
    'a list of audiences': [token(key, { ...claims, aud: [claims.aud, 'another'] }), LIST],
    'a list of one audience': [token(key, { ...claims, aud: [claims.aud] }), LIST],
    'another issuer': [token(key, { ...claims, iss: 'https://gate.example.org' }), ISSUER],
    'no issuer': [token(key, without('iss')), ISSUER],
    'alg none': [none('none'), ALGORITHM],
    'alg None': [none('None'), ALGORITHM],
    'alg nOnE, with a signature': [`${none('nOnE')}${signature}`, ALGORITHM],
    'HS256 with the public key as PEM': [hmac(spki('pem')), ALGORITHM],
    'HS256 with the public key as DER': [hmac(spki('der')), ALGORITHM],
    'HS256 with the public key as JWK': [hmac(JSON.stringify(key.jwk)), ALGORITHM],
    'HS256 with the coordinate of the public key': [hmac(Buffer.from(key.jwk.x, 'base64url')), ALGORITHM],
    'HS256 with nothing': [hmac(''), ALGORITHM],
    'an unknown kid': [token(stranger, claims), KEY],
    'no kid': [token(key, claims, { kid: undefined }), KEY],
    'the key under another kid': [token(key, claims, { kid: stranger.kid }), KEY],
    'a stranger with the key in the token': [token(stranger, claims, { jwk: stranger.jwk }), KEY],
    'a stranger under our kid': [token(stranger, claims, { kid: key.kid }), SIGNATURE],
    'another kind of key under our kid': [token(other, claims, { kid: key.kid }), ALGORITHM],
    'the name of another algorithm': [token(key, claims, { alg: other.alg }), ALGORITHM],
    'an end in the past': [token(key, { ...claims, iat: now - 180, exp: now - 60 }), /exp/],
    'no end': [token(key, without('exp')), /exp/],
    'no beginning': [token(key, without('iat')), /iat|not yet/],
    'a beginning in the future by iat': [token(key, { ...claims, iat: now + 600, exp: now + 720 }), /not yet|iat/],
    'a beginning in the future by nbf': [token(key, { ...claims, nbf: now + 600 }), /not yet|nbf/],
    'no subject': [token(key, without('sub')), /sub|nobody/],
    'no app': [token(key, without('app')), /app|nobody/],
    'a changed payload': [`${head}.${part({ ...claims, sub: 'oVictim' })}.${signature}`, SIGNATURE],
    'half a signature': [`${head}.${part(claims)}.${signature.slice(0, 43)}`, /signature|padding/i],
    'no signature': [`${head}.${part(claims)}`, FORM],
    garbage: ['garbage', FORM],
    nothing: ['', FORM],
  };
}

module.exports = { forgeries, newKey, token };
