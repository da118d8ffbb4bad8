/** Logins for tests, from files as an operator would give them. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { NetproxyError } from '../../src/core/errors.ts';
import { Secret } from '../../src/core/secret.ts';
import { loadLogin } from '../../src/ssh/login.ts';
import type { AuthMethod, Login, LoginSettings } from '../../src/ssh/login.ts';
import type { Terminal } from '../../src/ssh/terminal.ts';
import type { Sshd } from '../lab/sshd.ts';
import { bastionFor } from './harness.ts';

export interface LoginFiles {
  readonly keys?: readonly string[];
  readonly passphrases?: readonly string[];
  readonly certificates?: readonly string[];
  readonly agent?: string;
  readonly password?: string;
  readonly answers?: readonly string[];
  readonly auth?: readonly AuthMethod[];
  readonly terminal?: Terminal;
}

function settingsOf(files: LoginFiles): LoginSettings {
  const contents = (file: string): { file: string; contents: Secret<Buffer> } => ({
    file,
    contents: new Secret(readFileSync(file)),
  });
  return {
    identities: (files.keys ?? []).map((file) => {
      const beside = `${file}-cert.pub`;
      return existsSync(beside) ? { ...contents(file), certificate: contents(beside) } : contents(file);
    }),
    passphrases: (files.passphrases ?? []).map((text) => new Secret(text)),
    certificates: (files.certificates ?? []).map(contents),
    agentSocket: files.agent,
    password: files.password === undefined ? undefined : new Secret(files.password),
    answers: files.answers === undefined ? undefined : new Secret(files.answers),
    auth: files.auth ?? [],
  };
}

/** A login in which nothing may be wrong. */
export function login(files: LoginFiles): Login {
  return loadLogin(settingsOf(files), files.terminal, (key, error) => assert.fail(`${key}: ${error}`));
}

/** Everything that is wrong with a login: `setting CODE message`. */
export function faults(files: LoginFiles): string[] {
  const found: string[] = [];
  loadLogin(settingsOf(files), files.terminal, (key, { code, message }) =>
    found.push(`${key} ${code} ${message}`),
  );
  return found;
}

/** The error with which a first connection must fail. */
export async function refusal(sshd: Sshd, files: LoginFiles, user = sshd.user): Promise<NetproxyError> {
  const bastion = bastionFor(sshd, { login: login(files), user });
  bastion.start();
  try {
    await bastion.whenReady();
  } catch (error) {
    assert.ok(error instanceof NetproxyError, String(error));
    return error;
  } finally {
    await bastion.stop();
  }
  throw new Error('the connection succeeded');
}

/** Signs `file.pub`, the way an authority does; writes `file-cert.pub`. */
export function certify(authority: string, file: string, ...options: readonly string[]): void {
  execFileSync('ssh-keygen', ['-q', '-s', authority, '-I', 'lab', ...options, `${file}.pub`], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
}

/** How often the server counted a refused request of a method. */
export function refusals(sshd: Sshd, method: string): number {
  return sshd
    .log()
    .split('\n')
    .filter((line) => line.includes(`Failed ${method}`)).length;
}
