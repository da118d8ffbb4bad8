import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Terminal } from '../../src/ssh/terminal.ts';
import { makeKey, startSshd } from '../lab/sshd.ts';
import type { Sshd, SshdOptions } from '../lab/sshd.ts';
import { bastionFor, connected } from './harness.ts';
import { faults, login, refusal } from './login-lab.ts';
import type { LoginFiles } from './login-lab.ts';

const PASSWORD = 'correct horse é';

let sshd: Sshd;

before(async () => {
  sshd = await startSshd({ password: PASSWORD });
  for (const name of ['stranger', 'friend', 'third', 'fourth']) await makeKey(file(name));
  authorize('friend');
});

after(() => sshd.stop());

const file = (name: string): string => path.join(sshd.directory, name);

function authorize(name: string): void {
  writeFileSync(sshd.authorizedKeysFile, readFileSync(file(`${name}.pub`)), { flag: 'a' });
}

async function logsIn(server: Sshd, files: LoginFiles): Promise<void> {
  const bastion = await connected(server, { login: login(files) });
  await bastion.stop();
}

/** Another server with the same keys and password. */
async function withSshd(config: readonly string[], use: (server: Sshd) => Promise<void>): Promise<void> {
  const options: SshdOptions = {
    password: PASSWORD,
    config: [...config, `AuthorizedKeysFile ${sshd.authorizedKeysFile}`],
  };
  const server = await startSshd(options);
  try {
    await use(server);
  } finally {
    await server.stop();
  }
}

for (const [type, bits] of [
  ['ed25519', ''],
  ['ecdsa', '256'],
  ['ecdsa', '384'],
  ['ecdsa', '521'],
  ['rsa', '2048'],
] as const) {
  for (const form of type === 'ed25519' ? ['RFC4716'] : ['RFC4716', 'PEM', 'PKCS8']) {
    for (const passphrase of ['', 'open sesame']) {
      const what = `${type}${bits}${passphrase === '' ? '' : ', encrypted'}, in the form ${form}`;
      test(`logs in with a key of ${what}`, async () => {
        const name = file(`id-${type}${bits}-${form}-${passphrase.length}`);
        const size = bits === '' ? [] : ['-b', bits];
        execFileSync('ssh-keygen', ['-q', '-t', type, ...size, '-m', form, '-N', passphrase, '-f', name]);
        authorize(path.basename(name));
        await logsIn(sshd, { keys: [name], passphrases: ['not this one', passphrase] });
        if (passphrase === '') return;
        assert.match(faults({ keys: [name] }).join(), /identityFile KEY_PASSPHRASE_MISSING/);
        assert.match(faults({ keys: [name], passphrases: ['x'] }).join(), /KEY_PASSPHRASE_WRONG/);
        assert.match(faults({ keys: [name], passphrases: ['x', 'y'] }).join(), /No passphrase opens/);
      });
    }
  }
}

test('signs by RSA with SHA-2', async () => {
  const name = file('sha2');
  execFileSync('ssh-keygen', ['-q', '-t', 'rsa', '-b', '2048', '-N', '', '-f', name]);
  authorize('sha2');
  await withSshd(['PubkeyAcceptedAlgorithms rsa-sha2-512'], (server) => logsIn(server, { keys: [name] }));
});

test('tries the keys in order until one is taken', async () => {
  await logsIn(sshd, { keys: [file('stranger'), file('third'), file('friend')] });
});

test('logs in by password', async () => {
  await logsIn(sshd, { password: PASSWORD, auth: ['password'] });
});

test('a wrong password is refused, and stands in no message', async () => {
  const error = await refusal(sshd, { password: 'hunter2hunter2', auth: ['password'] });
  assert.equal(error.code, 'SSH_AUTH_REFUSED');
  assert.match(error.message, /tried password; the server allows: publickey,.*password/);
  assert.ok(!`${error.stack} ${error.hint}`.includes('hunter2'));
});

test('answers keyboard-interactive from a file, or a single hidden question by the password', async () => {
  await logsIn(sshd, { answers: [PASSWORD], auth: ['keyboard-interactive'] });
  await logsIn(sshd, { password: PASSWORD, auth: ['keyboard-interactive'] });
});

test('a question for which the file has no answer is told', async () => {
  const error = await refusal(sshd, { answers: [], auth: ['keyboard-interactive'] });
  assert.match(error.message, /gave up keyboard-interactive: the file has no answer to "Password:"/);
});

test('after a question without an answer the next method is tried', async () => {
  await logsIn(sshd, { answers: [], password: PASSWORD, auth: ['keyboard-interactive', 'password'] });
});

test('by default tries keys, then keyboard-interactive, then the password', async () => {
  const error = await refusal(sshd, { keys: [file('stranger')], answers: ['wrong'], password: 'wrong' });
  assert.match(error.message, /tried publickey with .*, keyboard-interactive, password; the server allows/);
});

test('follows the order that is given', async () => {
  const error = await refusal(sshd, {
    keys: [file('stranger')],
    password: 'wrong',
    auth: ['password', 'publickey'],
  });
  assert.match(error.message, /tried password, publickey with/);
});

test('goes on after partial success, whatever the order', async () => {
  await withSshd(['AuthenticationMethods publickey,password'], async (server) => {
    const both = { keys: [file('stranger'), file('friend')], password: PASSWORD };
    await logsIn(server, both);
    await logsIn(server, { ...both, auth: ['password', 'publickey'] });
    const half = await refusal(server, { keys: [file('friend')] });
    assert.match(half.message, /accepted publickey with .*, and wants more; the server allows: password/);
    assert.match(half.hint, /passwordFile/);
    const wrong = await refusal(server, {
      keys: [file('friend')],
      password: 'wrong',
      auth: ['publickey', 'password'],
    });
    assert.match(wrong.message, /accepted publickey with .*, and wants more; tried password; the server/);
  });
});

test('two keys and answers together are three steps', async () => {
  authorize('third');
  await withSshd(['AuthenticationMethods publickey,publickey,keyboard-interactive'], async (server) => {
    await logsIn(server, { keys: [file('friend'), file('third')], answers: [PASSWORD] });
    const error = await refusal(server, { keys: [file('friend')], answers: [PASSWORD] });
    assert.match(
      error.message,
      /accepted publickey with [^,]*, and wants more; the server allows: publickey/,
    );
  });
});

test('makes no more than six tries, and leaves one for each other method', async () => {
  const keys: string[] = [];
  for (let i = 0; i < 9; i++) {
    keys.push(file(`many-${i}`));
    await makeKey(file(`many-${i}`));
  }
  await withSshd([], async (server) => {
    const error = await refusal(server, { keys: [...keys, file('friend')] });
    assert.match(error.message, /tried (publickey with [^;]*){6}; 4 more not tried/);
    assert.match(error.hint, /fewer keys/);
  });
  // The fifth refusal is not the last: the password comes sixth.
  await logsIn(sshd, { keys, password: PASSWORD, auth: ['publickey', 'password'] });
});

test('a server that allows fewer tries is quoted', async () => {
  await withSshd(['MaxAuthTries 2'], async (server) => {
    const error = await refusal(server, {
      keys: ['stranger', 'third', 'fourth', 'many-0'].map(file).filter((_, i) => i !== 1),
    });
    assert.equal(error.code, 'SSH_AUTH_REFUSED');
    assert.match(error.message, /the server said "Too many authentication failures"/);
    assert.match(error.hint, /fewer keys/);
  });
});

test('a method that the server wants and that is not configured is named in the hint', async () => {
  await withSshd(['AuthenticationMethods password'], async (server) => {
    const error = await refusal(server, { keys: [file('friend')] });
    assert.match(error.message, /the server allows: password/);
    assert.match(error.hint, /give passwordFile/);
  });
});

test('what has nothing to log in with is told before connecting', () => {
  assert.match(faults({}).join(), /AUTH_UNCONFIGURED Nothing is given/);
  const all = faults({ auth: ['publickey', 'keyboard-interactive', 'password'] }).join('\n');
  assert.match(all, /auth AUTH_UNCONFIGURED publickey is in the list, but neither identityFile nor agent/);
  assert.match(all, /keyboard-interactive is in the list, but .* no terminal/);
  assert.match(all, /password is in the list, but passwordFile is not given/);
});

/** A terminal at which `answers` are typed. */
function typist(...answers: string[]): Terminal & { readonly asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    show: (lines) => void asked.push(...lines),
    ask: (prompt, echo) => {
      asked.push(`${prompt}|${echo}`);
      const answer = answers.shift();
      return answer === undefined ? Promise.reject(new Error('nobody answered')) : Promise.resolve(answer);
    },
  };
}

test('asks at the terminal for what no file holds', async () => {
  const interactive = typist(PASSWORD);
  await logsIn(sshd, { terminal: interactive });
  assert.deepEqual(interactive.asked, [`Log in to 127.0.0.1 as ${sshd.user}.`, 'Password: |false']);
  const password = typist(PASSWORD);
  await logsIn(sshd, { terminal: password, auth: ['password'] });
  assert.deepEqual(password.asked, [`Password for ${sshd.user}@127.0.0.1: |false`]);
  const error = await refusal(sshd, { terminal: typist(), auth: ['password'] });
  assert.match(error.message, /gave up password: nobody answered/);
});

test('a person may take longer than a handshake', async () => {
  const slow: Terminal = { show: () => {}, ask: () => sleep(1500, PASSWORD) };
  const bastion = await connected(sshd, {
    login: login({ terminal: slow, auth: ['password'] }),
    handshakeTimeoutMs: 1000,
  });
  await bastion.stop();
});

test('a question is withdrawn when the connection ends', async () => {
  const asked = Promise.withResolvers<void>();
  const withdrawn = Promise.withResolvers<void>();
  const absent: Terminal = {
    show: () => {},
    ask: (_prompt, _echo, signal) => {
      asked.resolve();
      return new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          withdrawn.resolve();
          reject(new Error('the connection ended'));
        });
      });
    },
  };
  const bastion = bastionFor(sshd, { login: login({ terminal: absent, auth: ['password'] }) });
  bastion.start();
  await asked.promise;
  sshd.dropConnections();
  await withdrawn.promise;
  await bastion.stop();
});
