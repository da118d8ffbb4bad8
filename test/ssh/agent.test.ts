import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { NetproxyError } from '../../src/core/errors.ts';
import { Agent } from '../../src/ssh/agent.ts';
import { checkAgent } from '../../src/ssh/login.ts';
import { wireString } from '../../src/ssh/wire.ts';
import { waitFor } from '../lab/namespaces.ts';
import { makeKey, startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import { connected } from './harness.ts';
import { certify, login, refusal } from './login-lab.ts';
import type { LoginFiles } from './login-lab.ts';

let sshd: Sshd;
let agent: ChildProcess;
let socket: string;

before(async () => {
  sshd = await startSshd({ start: false });
  await makeKey(file('authority'));
  const config = readFileSync(sshd.configFile, 'utf8');
  writeFileSync(sshd.configFile, `TrustedUserCAKeys ${file('authority.pub')}\n${config}`);
  await sshd.start();
  socket = file('agent.sock');
  agent = spawn('ssh-agent', ['-D', '-a', socket], { stdio: 'ignore' });
  // The file is there before anybody listens; 2: no agent answers.
  await waitFor(
    'the agent',
    () => existsSync(socket) && spawnSync('ssh-add', ['-l'], { env: env() }).status !== 2,
  );
});

after(async () => {
  agent.kill();
  await sshd.stop();
});

const file = (name: string): string => path.join(sshd.directory, name);

const env = (): NodeJS.ProcessEnv => ({ ...process.env, SSH_AUTH_SOCK: socket });

/** Empties the agent, and gives it these keys. */
function hold(...names: readonly string[]): void {
  execFileSync('ssh-add', ['-q', '-D'], { env: env(), stdio: 'ignore' });
  for (const name of names) execFileSync('ssh-add', ['-q', file(name)], { env: env(), stdio: 'ignore' });
}

async function logsIn(files: LoginFiles): Promise<void> {
  const bastion = await connected(sshd, { login: login(files) });
  await bastion.stop();
}

async function agentFaults(files: LoginFiles): Promise<string[]> {
  const found: string[] = [];
  await checkAgent(login(files), (key, { code, message }) => found.push(`${key} ${code} ${message}`));
  return found;
}

for (const type of ['ed25519', 'ecdsa', 'rsa']) {
  test(`logs in with the ${type} key of an agent, also where RSA needs SHA-2`, async () => {
    await makeKey(file(`agent-${type}`), type);
    writeFileSync(sshd.authorizedKeysFile, readFileSync(file(`agent-${type}.pub`)), { flag: 'a' });
    hold(`agent-${type}`);
    await logsIn({ agent: socket });
    assert.deepEqual(await agentFaults({ agent: socket }), []);
  });

  test(`logs in with the ${type} certificate of an agent`, async () => {
    await makeKey(file(`held-${type}`), type);
    certify(file('authority'), file(`held-${type}`), '-n', sshd.user);
    hold(`held-${type}`);
    await logsIn({ agent: socket });
    // sshd lets us in before it writes so.
    await waitFor('the line of the login', () => {
      const lines = sshd.log().split('\n');
      return /-CERT /.test(lines.findLast((line) => line.includes('Accepted publickey')) ?? '');
    });
  });

  test(`logs in with the ${type} key of an agent and a certificate in a file`, async () => {
    await makeKey(file(`apart-${type}`), type);
    hold(`apart-${type}`);
    certify(file('authority'), file(`apart-${type}`), '-n', sshd.user);
    const files = { agent: socket, certificates: [file(`apart-${type}-cert.pub`)] };
    await logsIn(files);
    assert.deepEqual(await agentFaults(files), []);
  });
}

test('of many keys of an agent only those are used whose public halves are given', async () => {
  const names: string[] = [];
  for (let i = 0; i < 8; i++) {
    names.push(`crowd-${i}`);
    await makeKey(file(`crowd-${i}`));
  }
  hold(...names, 'agent-ed25519');
  const error = await refusal(sshd, { agent: socket });
  assert.match(error.message, /3 more not tried/);
  assert.match(error.hint, /name its \.pub file/);
  await logsIn({ agent: socket, keys: [file('agent-ed25519.pub')] });
});

test('a key that is both in a file and in the agent is tried once', async () => {
  hold('crowd-0');
  const error = await refusal(sshd, { agent: socket, keys: [file('crowd-0')] });
  assert.equal(error.message.match(/publickey with/g)?.length, 1, error.message);
});

test('an agent that holds nothing, or not what is named, is told before connecting', async () => {
  hold();
  assert.match((await agentFaults({ agent: socket })).join(), /agent AGENT_FAILED .* holds no keys/);
  const named = await agentFaults({ agent: socket, keys: [file('crowd-0.pub')] });
  assert.match(named.join(), /identityFile AGENT_FAILED .* does not hold the ssh-ed25519 key SHA256:/);
  const loose = await agentFaults({ agent: socket, certificates: [file('held-rsa-cert.pub')] });
  assert.match(loose.join('\n'), /certificateFile CERTIFICATE_INVALID .* those of the agent included/);
});

test('an agent that is not there is told, and other ways are still tried', async () => {
  const absent = file('absent.sock');
  assert.match((await agentFaults({ agent: absent })).join(), /agent AGENT_FAILED .*absent\.sock .*ENOENT/);
  await logsIn({ agent: absent, keys: [sshd.clientKeyFile] });
  const error = await refusal(sshd, { agent: absent });
  assert.match(error.message, /tried nothing; The SSH agent at .* ENOENT; the server allows: publickey/);
});

test('an agent that lost its key meanwhile is told in the refusal', async () => {
  hold('agent-ed25519');
  const fading = await serve((request, socketOfClient) => {
    if (request[0] === 13) return socketOfClient.end(wireString(Buffer.of(5)));
    const blob = Buffer.from(readFileSync(file('agent-ed25519.pub'), 'utf8').split(' ')[1]!, 'base64');
    const answer = [Buffer.of(12, 0, 0, 0, 1), wireString(blob), wireString('fading')];
    return socketOfClient.end(wireString(Buffer.concat(answer)));
  });
  const error = await refusal(sshd, { agent: fading.path });
  fading.close();
  assert.match(error.message, /gave up publickey with .*\(agent: fading\): .* it refused; the server allows/);
});

/** An agent of our own making, for what a right one does not do. */
async function serve(
  answer: (request: Buffer, socket: net.Socket) => unknown,
): Promise<{ path: string; close(): void }> {
  const at = file(`made-${serve.count++}.sock`);
  const server = net.createServer((client) => {
    client.on('error', () => {});
    client.once('data', (data: Buffer) => answer(data.subarray(4), client));
  });
  await new Promise<void>((resolve) => server.listen(at, resolve));
  return { path: at, close: () => server.close() };
}
serve.count = 0;

for (const [what, bytes, why] of [
  ['closes at once', Buffer.alloc(0), /closed the connection/],
  ['speaks HTTP', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), /does not speak the agent protocol/],
  ['refuses', wireString(Buffer.of(5)), /it refused/],
  ['answers something else', wireString(Buffer.of(99)), /message 99/],
  ['cuts its list short', wireString(Buffer.of(12, 0, 0, 0, 9)), /cut short/],
] as const) {
  test(`an agent that ${what} is told to do so`, async () => {
    const server = await serve((_, client) => client.end(bytes));
    await assert.rejects(new Agent(server.path).list(), (error) => {
      assert.ok(error instanceof NetproxyError && error.code === 'AGENT_FAILED', String(error));
      assert.match(error.message, why);
      return true;
    });
    server.close();
  });
}

test('an agent that signs by SHA-1 all the same is told to do so', async () => {
  const server = await serve((_, client) => {
    const signature = Buffer.concat([wireString('ssh-rsa'), wireString(Buffer.alloc(256))]);
    client.end(wireString(Buffer.concat([Buffer.of(14), wireString(signature)])));
  });
  await assert.rejects(
    new Agent(server.path).sign(Buffer.from('key'), Buffer.from('data'), 'rsa-sha2-512'),
    /signed by ssh-rsa where rsa-sha2-512 was asked for/,
  );
  server.close();
});
