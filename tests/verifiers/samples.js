// The verifiers in examples/verify, each as a command that reads a token and says what it thinks of it.

'use strict';

const { execFileSync, spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const FOLDER = path.join(__dirname, '../../examples/verify');

// Those whose language is here, built into `dir`, by name; and the names of the others.
function prepareSamples(dir) {
  const python = process.env.WXGATE_PYTHON;
  if (!python) throw new Error('set WXGATE_PYTHON: see the head of tests/verifiers/samples.test.js');
  const samples = {
    python: [python, path.join(FOLDER, 'python/verify.py')],
    node: [process.execPath, path.join(FOLDER, 'node/verify.js')],
  };
  const missing = [];
  if (isHere('go', 'version')) {
    const binary = path.join(dir, 'verify-go');
    // A sample that needs nothing must build where nothing can be fetched.
    const env = { ...process.env, GOFLAGS: '-mod=mod', GOPROXY: 'off', GOTOOLCHAIN: 'local' };
    execFileSync('go', ['build', '-o', binary, '.'], { cwd: path.join(FOLDER, 'go'), env, stdio: 'inherit' });
    samples.go = [binary];
  } else {
    missing.push('go');
  }
  if (isHere('javac', '-version')) {
    const classes = path.join(dir, 'verify-java');
    fs.mkdirSync(classes);
    const source = path.join(FOLDER, 'java/Verify.java');
    execFileSync('javac', ['-Xlint:all,-serial', '-Werror', '-d', classes, source], { stdio: 'inherit' });
    // The first answer matters, and no other comes.
    samples.java = ['java', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-cp', classes, 'Verify'];
  } else {
    missing.push('java');
  }
  return { samples, missing };
}

function isHere(command, argument) {
  return spawnSync(command, [argument]).status === 0;
}

// Resolves with the claims that a sample prints, or with why it refuses. Anything else is an error.
function ask([command, ...args], token, jwks, issuer, audience) {
  const child = spawn(command, [...args, jwks, issuer, audience], { stdio: ['pipe', 'pipe', 'pipe'] });
  const out = [];
  const err = [];
  child.stdout.on('data', (chunk) => out.push(chunk));
  child.stderr.on('data', (chunk) => err.push(chunk));
  // One that ends before it has read everything is heard of by its exit code.
  child.stdin.on('error', () => {});
  child.stdin.end(token);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      const [printed, said] = [out, err].map((chunks) => Buffer.concat(chunks).toString());
      if (code === 0) return resolve({ claims: JSON.parse(printed) });
      if (code === 1 && printed === '' && said.startsWith('refused: ')) return resolve({ refused: said.trim() });
      return reject(new Error(`${command} ended with ${code}: ${printed}${said}`));
    });
  });
}

// Has one verifier of each language that keeps its keys look at all of these tokens, none of which is to be believed.
function showAll(tokens, jwks, issuer, audience) {
  const words = [jwks, issuer, audience];
  const inPython = `
import sys
sys.path.insert(0, ${JSON.stringify(path.join(FOLDER, 'python'))})
from verify import Verifier
verifier = Verifier(*sys.argv[1:])
for token in sys.stdin:
    try:
        verifier.verify(token.strip())
    except Exception:
        continue
    sys.exit("it believes one")
`;
  const inNode = `
import { readFileSync } from 'node:fs';
import { createVerifier } from ${JSON.stringify(path.join(FOLDER, 'node/verify.js'))};
const verify = createVerifier(...process.argv.slice(1));
for (const token of readFileSync(0, 'utf8').split('\\n')) {
  const believed = await verify(token).then(() => true, () => false);
  if (believed) throw new Error('it believes one');
}
`;
  return {
    python: () => run([process.env.WXGATE_PYTHON, '-c', inPython, ...words], tokens.join('\n')),
    node: () => run([process.execPath, '--input-type=module', '-e', inNode, ...words], tokens.join('\n')),
  };
}

function run([command, ...args], input) {
  const child = spawn(command, args, { stdio: ['pipe', 'ignore', 'inherit'] });
  child.stdin.end(input);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => (code === 0 ? resolve() : reject(new Error(`${command} ended with ${code}`))));
  });
}

module.exports = { ask, prepareSamples, showAll };
