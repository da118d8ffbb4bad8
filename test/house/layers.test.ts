import assert from 'node:assert/strict';
import { posix } from 'node:path';
import { test } from 'node:test';
import { lineAt, sourceFiles } from './repository.ts';
import type { SourceFile } from './repository.ts';

/**
 * Which folders of src a folder may import from, beside itself, and why no others. Type imports count:
 * a type from a sibling is knowledge of it all the same. A folder that is not here fails.
 */
const parts =
  'parts meet only through the contracts in core, so that each can be read, tested and replaced alone';
const LAYERS: Readonly<Record<string, { readonly may: readonly string[]; readonly why: string }>> = {
  core: { may: [], why: 'core is the vocabulary of all; whatever it knew, everybody would depend on' },
  policy: { may: ['core'], why: 'rules are pure: they see a flow and give a verdict' },
  config: { may: ['core', 'policy'], why: 'the configuration is read before any part exists' },
  engine: { may: ['core'], why: parts },
  netns: { may: ['core'], why: parts },
  dns: { may: ['core'], why: parts },
  process: { may: ['core'], why: parts },
  ssh: { may: ['core'], why: parts },
  direct: { may: ['core'], why: parts },
  relay: { may: ['core'], why: parts },
  owner: { may: ['core'], why: parts },
  job: { may: ['core', 'policy'], why: 'it watches the policy, and runs a command by what it is given' },
  'exec.ts': {
    may: ['core', 'policy', 'config', 'control', 'cli', 'netns', 'job'],
    why: 'the part of the composition that is about one command in a namespace of its own',
  },
  containers: { may: ['core'], why: parts },
  injector: {
    may: ['core', 'config'],
    why: 'its profiles are files that are read, watched and told of as those of the configuration are',
  },
  forward: {
    may: ['core', 'policy'],
    why: 'it joins a flow and a dialer, and must not know which engine or upstream they are',
  },
  control: {
    may: ['core', 'policy', 'config'],
    why: 'it shows and steers through interfaces that it declares itself',
  },
  cli: {
    may: ['core', 'policy', 'config', 'control'],
    why: 'help and errors must not load SSH or the addon; the parts come through the Commands interface',
  },
  upstreams: {
    may: ['core', 'policy', 'config', 'ssh'],
    why: 'the part of the composition that knows what a bastion of the configuration is made of',
  },
  doctor: {
    may: ['core', 'policy', 'config', 'cli', 'dns', 'netns', 'process', 'ssh', 'upstreams'],
    why: 'it asks each part what it would need',
  },
  'attach.ts': {
    may: ['core', 'config', 'control', 'containers', 'cli', 'netns'],
    why: 'it joins a container to a run, which it is handed, and must not know what a run is made of',
  },
  'app.ts': {
    may: [
      'exec.ts',
      'job',
      'attach.ts',
      'doctor',
      'upstreams',
      'core',
      'policy',
      'config',
      'engine',
      'netns',
      'dns',
      'process',
      'ssh',
      'direct',
      'relay',
      'owner',
      'containers',
      'forward',
      'control',
      'cli',
    ],
    why: 'the composition root knows every part, and no part knows it',
  },
  'start.ts': { may: ['core', 'cli', 'app.ts', 'injector'], why: 'the process shell only hands over' },
  'main.ts': {
    may: ['start.ts'],
    why: 'whatever it imported would be compiled before it can say from where',
  },
};

/** Static and dynamic imports and re-exports, types too. */
const IMPORT = /\b(?:from|import)\s*\(?\s*['"]([^'"]+)['"]/g;

/** Every import that the table forbids, as one line each. */
function violations(files: readonly SourceFile[]): string[] {
  return files.flatMap(({ path, text }) => {
    const layer = path.split('/')[1] ?? '';
    const rule = LAYERS[layer];
    if (rule === undefined) return [`${path}: the table of layers does not know "${layer}"`];
    return [...text.matchAll(IMPORT)].flatMap((match) => {
      const specifier = match[1] ?? '';
      if (!specifier.startsWith('.')) return [];
      const target = posix.normalize(posix.join(posix.dirname(path), specifier));
      const place = `${path}:${lineAt(text, match.index)}`;
      // package.json, and the addon's own types and binary, lie outside of src.
      if (!target.startsWith('src/')) return [`${place}: imports ${target}, outside of src`];
      const other = target.split('/')[1] ?? '';
      return other === layer || rule.may.includes(other)
        ? []
        : [`${place}: ${layer} may not import ${other}: ${rule.why}`];
    });
  });
}

test('each layer imports only what the table allows', () => {
  const files = sourceFiles(['src']).filter(({ path }) => path.endsWith('.ts'));
  assert.ok(files.length > 10);
  assert.deepEqual(violations(files), []);
});

test('the check finds a sibling, a type, an upward and a dynamic import, and an unknown folder', () => {
  const found = (path: string, text: string): number => violations([{ path, text }]).length;
  assert.equal(found('src/ssh/a.ts', "import { x } from '../engine/x.ts';"), 1);
  assert.equal(found('src/ssh/a.ts', "import type { X } from '../engine/x.ts';"), 1);
  assert.equal(found('src/ssh/a.ts', "export * from '../engine/x.ts';"), 1);
  assert.equal(found('src/core/a.ts', "import {\n  x,\n} from '../config/x.ts';"), 1);
  assert.equal(found('src/cli/a.ts', "const x = await import('../ssh/x.ts');"), 1);
  assert.equal(found('src/forward/a.ts', "import '../app.ts';"), 1);
  assert.equal(found('src/helpers/a.ts', ''), 1);
  assert.equal(
    found(
      'src/ssh/a.ts',
      "import { x } from '../core/x.ts';\nimport { y } from './y.ts';\nimport 'node:fs';",
    ),
    0,
  );
});
