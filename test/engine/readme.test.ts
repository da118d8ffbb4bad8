/** The commands of the README for Compose, with the files where it says that they are. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { IMAGES } from '../lab/engine.ts';
import { waitFor } from '../lab/namespaces.ts';
import { application, Site } from './site.ts';

const checkout = resolve(import.meta.dirname, '../..');
const commands = [...readFileSync(join(checkout, 'README.md'), 'utf8').matchAll(/^```sh\n(.*?)^```$/gms)]
  .flatMap((block) => (block[1] ?? '').split('\n'))
  .filter((line) => /(^| )docker /.test(line));

let site: Site;
before(async () => {
  site = await Site.create();
  const home = join(site.folder, '.ssh');
  mkdirSync(home);
  copyFileSync(site.sshd.clientKeyFile, join(home, 'id_ed25519'));
  copyFileSync(site.sshd.knownHostsFile, join(home, 'known_hosts'));
  await site.engine.docker(['create', '--name', 'made', IMAGES.node]);
  await site.engine.docker(['cp', application, 'made:/app.ts']);
  await site.engine.docker(['commit', '--change', 'CMD ["node", "/app.ts"]', 'made', 'example/app']);
  await site.engine.docker(['rm', 'made']);
});
after(() => site?.close());

test('are as they are written', async () => {
  const [build = '', ...rest] = commands;
  // What it builds is there already: the builder needs the package registries, which this machine does not reach.
  assert.equal(build, 'docker build -f docker/Dockerfile -t netproxy .');
  assert.ok(readFileSync(join(checkout, 'docker/Dockerfile'), 'utf8').includes(`#   ${build}\n`));
  assert.ok(rest.length >= 2);
  let said = '';
  for (const line of rest) {
    const words = line.replace('deploy@', `${site.sshd.user}@`);
    const env = { ...site.engine.environment, HOME: site.folder };
    const script = `cd ${checkout} && ${words}`;
    ({ stdout: said } = await site.lab.app.run(['sh', '-c', script], { env, timeoutMs: 120_000 }));
  }
  assert.match(said, /^netproxy \S+, ready,/);
  const answer = await waitFor('the application', async () => {
    const { addresses } = await site.app('compose-app-1', 'lookup', 'web.example');
    return addresses;
  });
  assert.equal(answer.length, 1);
});
