import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { repository } from './repository.ts';

const readme = readFileSync(new URL('README.md', repository), 'utf8');
const manifest = JSON.parse(readFileSync(new URL('package.json', repository), 'utf8')) as {
  scripts: Record<string, string>;
};

/** The contents of the fenced blocks of a language. */
function blocks(language: string): string[] {
  return [...readme.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map(
    (match) => match[1] ?? '',
  );
}

const commands = blocks('sh').flatMap((block) => block.split('\n').filter((line) => line !== ''));
const configurations = blocks('yaml').filter((block) => block.startsWith('bastions:'));

describe('the commands of the README', () => {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'netproxy-readme-'));
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, 'key')]);
    const [type, key] = readFileSync(join(folder, 'key.pub'), 'utf8').split(' ');
    writeFileSync(join(folder, 'known_hosts'), `bastion.example ${type} ${key}\n`);
  });
  after(() => rmSync(folder, { recursive: true }));

  /** Runs a command line with the secrets where this test keeps them. */
  const run = (line: string): void => {
    const [program, ...args] = line.replaceAll('/run/secrets', folder).split(' ');
    assert.equal(program, 'node', line);
    const done = spawnSync(process.execPath, args, { cwd: fileURLToPath(repository), encoding: 'utf8' });
    assert.equal(done.status, 0, `${line}\n${done.stdout}${done.stderr}`);
  };

  test('are there', () => {
    assert.ok(commands.length >= 5);
    assert.ok(commands.includes('npm run demo'));
    assert.ok(commands.includes('npm test'));
    assert.equal(configurations.length, 1);
  });

  for (const line of commands) {
    test(line, () => {
      const script = /^npm (?:run )?([a-z:]+)$/.exec(line)?.[1];
      if (script !== undefined) {
        // Running `npm test` here would run this test again, and the demo has a test of its own.
        const files = manifest.scripts[script]?.split(' ').filter((word) => /\.(mjs|ts)$/.test(word));
        assert.ok(files !== undefined && files.length > 0, `package.json has no script "${script}"`);
        for (const file of files) assert.ok(existsSync(new URL(file, repository)), `${file} is missing`);
        return;
      }
      if (/^(helm|kubectl) /.test(line)) {
        // test/kubernetes/release.test.ts runs them.
        const [, chart] = /^helm install \S+ (\S+)/.exec(line) ?? [];
        if (chart !== undefined) assert.ok(existsSync(new URL(`${chart}/Chart.yaml`, repository)), line);
        return;
      }
      if (/(^| )docker /.test(line)) {
        // test/engine/readme.test.ts runs them.
        for (const [, file = ''] of line.matchAll(/ -f (\S+)/g))
          assert.ok(existsSync(new URL(file, repository)), `${file} is missing`);
        return;
      }
      // A command that would take over this machine's routes, or connect, is checked by its configuration.
      run(line.replace(/main\.js (run|exec) (.*?)( -- .*)?$/, 'main.js check $2'));
    });
  }

  for (const [index, text] of configurations.entries()) {
    test(`configuration ${index + 1}`, () => {
      const file = join(folder, `${index}.yaml`);
      writeFileSync(file, text.replaceAll('/run/secrets', folder));
      run(`node dist/main.js check -c ${file}`);
    });
  }

  test('name only files that exist', () => {
    const links = [...readme.matchAll(/\]\((?!https?:)([^)#]+)/g)].map((match) => match[1] ?? '');
    assert.ok(links.length > 3);
    for (const link of links) assert.ok(existsSync(new URL(link, repository)), `${link} is missing`);
  });
});
