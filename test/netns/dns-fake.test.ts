/** Names that only the bastion can look up (its /etc/hosts), and addresses that stand for them. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createLab, LAB, waitFor } from '../lab/namespaces.ts';
import type { Lab } from '../lab/namespaces.ts';
import { startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import { Resolving } from './dns-world.ts';
import type { Netproxy } from './world.ts';

const NAME = 'secret.inside.test';

let lab: Lab;
let sshd: Sshd;
let app: Resolving;
let bastion: Resolving;
let netproxy: Netproxy;
let directory: string;
let args: readonly string[];
before(async () => {
  lab = await createLab();
  bastion = new Resolving(lab.bastion, '', `${LAB.target.v4} ${NAME}\n`);
  sshd = await startSshd({ netns: lab.bastion.name, address: LAB.bastion.v4, etc: true });
  const web = `import socket
s = socket.create_server(('', 8080))
while True:
    c, a = s.accept(); c.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\nfrom inside\\n'); c.close()`;
  lab.target.spawn(['python3', '-c', web], { stdio: 'ignore' }).unref();
  app = new Resolving(lab.app, `nameserver ${LAB.target.v4}\n`);
  directory = mkdtempSync(join(tmpdir(), 'netproxy-fake-'));
  const { user, port, clientKeyFile, knownHostsFile } = sshd;
  const file = join(directory, 'netproxy.yaml');
  const settings = {
    bastions: [
      { name: 'main', host: LAB.bastion.v4, port, user, identityFile: clientKeyFile, knownHostsFile },
    ],
    rules: [{ names: ['*.inside.test'], via: 'main', resolve: 'fake' }],
    dns: { fakeFile: join(directory, 'fake.json') },
  };
  writeFileSync(file, JSON.stringify(settings));
  args = ['--config', file];
  netproxy = app.netproxy(args);
  await netproxy.ready();
});
after(async () => {
  await netproxy?.stop();
  await sshd?.stop();
  app?.remove();
  bastion?.remove();
  rmSync(directory, { recursive: true, force: true });
  await lab?.cleanup();
});

const addressOf = async (name: string, type = 'A'): Promise<string> =>
  (await app.run('dig', '+short', '+tries=1', name, type)).stdout.trim();

test('the application reaches the name, by IPv4 and by IPv6', async () => {
  assert.match(await addressOf(NAME), /^198\.19\./);
  assert.match(await addressOf(NAME, 'AAAA'), /^fd6e:7072:0:1:/);
  for (const family of ['-4', '-6']) {
    const { stdout, stderr } = await app.run('curl', '-sS', '-m10', family, `http://${NAME}:8080/`);
    assert.equal(stdout.trim(), 'from inside', stderr);
  }
});

test('a name that the bastion does not know is a failed connect', async () => {
  const { code } = await app.run('curl', '-sS', '-m10', 'http://unknown.inside.test:8080/');
  assert.equal(code, 7);
});

test('an address that stands for no name is refused at once, and the log says why', async () => {
  const taken = await addressOf(NAME);
  const free = taken.endsWith('.77') ? taken.replace(/\d+$/, '78') : taken.replace(/\d+$/, '77');
  const { code, stderr } = await app.run('curl', '-sS', '-m5', `http://${free}:8080/`);
  assert.equal(code, 7, stderr);
  await waitFor('the log', () => netproxy.stderr.includes('a fake address that stands for no name'));
});

test('UDP to a fake address is refused', async () => {
  const script = `import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2)
s.connect(('${await addressOf(NAME)}', 443)); s.send(b'x')
try: s.recv(1)
except OSError as error: print(type(error).__name__)`;
  assert.equal((await app.run('python3', '-c', script)).stdout.trim(), 'ConnectionRefusedError');
});

test('after a restart the same address stands for the same name', async () => {
  const before = await addressOf(NAME);
  await netproxy.stop();
  netproxy = app.netproxy(args);
  await netproxy.ready();
  const { stdout, stderr } = await app.run('curl', '-sS', '-m10', `http://${before}:8080/`);
  assert.equal(stdout.trim(), 'from inside', stderr);
  assert.equal(await addressOf(NAME), before);
});
