// Builds miniprogram_dist/: one file of JavaScript that a Mini Program can run, and its types.

'use strict';

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { buildSync } = require('esbuild');

const DIST = path.join(__dirname, 'miniprogram_dist');

fs.rmSync(DIST, { recursive: true, force: true });
const { outputFiles } = buildSync({
  entryPoints: [path.join(__dirname, 'src/index.ts')],
  write: false,
  bundle: true,
  format: 'esm',
  // What phones understand without the developer tools' help.
  target: 'es2015',
  charset: 'utf8',
});
// `require` is all that Mini Programs have, and what esbuild makes of exports for it is a fifth of the whole.
const code = outputFiles[0].text.replace(/^export \{([^}]*)\};\n$/m, (_, names) =>
  names.split(',').map((name) => `exports.${name.trim()} = ${name.trim()};\n`).join(''),
);
fs.mkdirSync(DIST);
fs.writeFileSync(path.join(DIST, 'index.js'), `'use strict';\n${code}`);
execFileSync(process.execPath, [require.resolve('typescript/bin/tsc'), '--project', __dirname], { stdio: 'inherit' });
for (const license of ['LICENSE-APACHE', 'LICENSE-MIT']) {
  fs.copyFileSync(path.join(__dirname, '..', license), path.join(__dirname, license));
}
