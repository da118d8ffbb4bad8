import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import ssh2 from 'ssh2';
import { startSshd } from '../lab/sshd.ts';
import type { Sshd } from '../lab/sshd.ts';
import { bastionFor } from './harness.ts';
import { login } from './login-lab.ts';
import type { LoginFiles } from './login-lab.ts';

const PASSWORD = 'cOrrect-horse';
const DEADLINE_MS = 30_000;

let sshd: Sshd;
before(async () => {
  sshd = await startSshd({ password: PASSWORD });
});
after(() => sshd.stop());

/** A program at a terminal of its own, by script(1). */
class AtTerminal {
  readonly child: ChildProcess;
  readonly #closed: Promise<unknown>;
  shown = '';

  constructor(server: { readonly port: number; readonly knownHostsFile: string; readonly user: string }) {
    const client = path.join(import.meta.dirname, 'terminal-client.ts');
    const command = [process.execPath, client, server.port, server.user, server.knownHostsFile].join(' ');
    this.child = spawn('script', ['-qefc', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'ignore'] });
    this.#closed = once(this.child, 'close');
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => (this.shown += text));
  }

  async sees(text: string): Promise<void> {
    const end = Date.now() + DEADLINE_MS;
    while (!this.shown.includes(text)) {
      assert.ok(Date.now() < end && this.child.exitCode === null, `no "${text}" in:\n${this.shown}`);
      await sleep(10);
    }
  }

  type(text: string): void {
    this.child.stdin!.write(text);
  }

  async ended(): Promise<number | null> {
    await this.#closed;
    return this.child.exitCode;
  }
}

test('a password is asked for at the terminal, and not shown', async () => {
  const program = new AtTerminal(sshd);
  await program.sees(`Log in to 127.0.0.1 as ${sshd.user}.`);
  await program.sees('Password: ');
  // A wrong character taken back, and a wrong line.
  program.type(`nonsense\u0015${PASSWORD}x\u007f\r`);
  await program.ended();
  assert.match(program.shown, /LOGGED IN/);
  assert.ok(
    !program.shown.includes(PASSWORD.slice(0, 4)) && !program.shown.includes('nonsense'),
    program.shown,
  );
});

test('a wrong password typed is refused', async () => {
  const program = new AtTerminal(sshd);
  await program.sees('Password: ');
  program.type('wrong\r');
  await program.ended();
  assert.match(program.shown, /refused user .*: tried keyboard-interactive; the server allows/);
});

test('Ctrl-C at a question ends the program', async () => {
  const program = new AtTerminal(sshd);
  await program.sees('Password: ');
  program.type('half\u0003');
  assert.equal(await program.ended(), 130);
});

/** A server that asks `rounds` of questions and takes `expected`. */
async function inquisitor(
  rounds: readonly (readonly { prompt: string; echo: boolean }[])[],
  expected: readonly string[],
): Promise<{ port: number; close(): void }> {
  const given: string[] = [];
  const server = new ssh2.Server({ hostKeys: [readFileSync(sshd.hostKeyFile)] }, (client) => {
    client.on('error', () => {});
    client.on('authentication', (context) => {
      if (context.method !== 'keyboard-interactive') return context.reject(['keyboard-interactive']);
      given.length = 0;
      const next = (index: number): void => {
        const round = rounds[index];
        if (round === undefined) {
          if (given.join('|') === expected.join('|')) context.accept();
          else context.reject(['keyboard-interactive']);
          return;
        }
        context.prompt([...round], 'Two steps\u001b[2J', 'Follow the\r\nlight', (answers) => {
          given.push(...answers);
          next(index + 1);
        });
      };
      next(0);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  return { port, close: () => server.close() };
}

const QUESTIONS = [
  [{ prompt: 'Password: ', echo: false }],
  [],
  [
    { prompt: 'Code: ', echo: true },
    { prompt: 'Colour: ', echo: false },
  ],
];

/** The error, or undefined when it logs in. */
async function outcome(port: number, files: LoginFiles): Promise<Error | undefined> {
  const endpoints = [{ address: '127.0.0.1', port }];
  const bastion = bastionFor(sshd, { endpoints: () => endpoints, login: login(files) });
  bastion.start();
  try {
    await bastion.whenReady();
    return undefined;
  } catch (error) {
    return error as Error;
  } finally {
    await bastion.stop();
  }
}

test('several rounds of questions are answered in order from a file', async () => {
  const server = await inquisitor(QUESTIONS, ['one', '123456', 'blue']);
  assert.equal(await outcome(server.port, { answers: ['one', '123456', 'blue'] }), undefined);
  const short = await outcome(server.port, { answers: ['one', '123456'] });
  assert.match(short?.message ?? '', /the file has no answer to "Colour:"/);
  const password = await outcome(server.port, { password: 'one', auth: ['keyboard-interactive'] });
  assert.match(password?.message ?? '', /nothing is given to answer "Code:" with/);
  server.close();
});

test('several rounds of questions are asked at the terminal, echoed as the server wants', async () => {
  const server = await inquisitor(QUESTIONS, ['one', '123456', 'blue']);
  const hosts = path.join(sshd.directory, 'known_here');
  writeFileSync(
    hosts,
    readFileSync(sshd.knownHostsFile, 'utf8').replace(`:${sshd.port} `, `:${server.port} `),
  );
  const program = new AtTerminal({ port: server.port, user: 'u', knownHostsFile: hosts });
  await program.sees('Two steps [2J\r\nFollow the light\r\nPassword: ');
  program.type('one\r');
  await program.sees('Code: ');
  program.type('12345\b\b456\r');
  await program.sees('Colour: ');
  program.type('blue\r');
  await program.ended();
  server.close();
  assert.match(program.shown, /LOGGED IN/);
  assert.ok(!/one\r|blue/.test(program.shown), program.shown);
  assert.match(program.shown, /Code: 12345/);
});

test('a server that does not stop asking is left', async () => {
  const endless = Array.from({ length: 40 }, () => [{ prompt: 'Again: ', echo: true }]);
  const server = await inquisitor(endless, []);
  const error = await outcome(server.port, { answers: Array.from({ length: 40 }, () => 'yes') });
  assert.match(error?.message ?? '', /the server does not stop asking/);
  server.close();
});
