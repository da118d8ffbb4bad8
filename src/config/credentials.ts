import { NetproxyError } from '../core/errors.ts';
import type { Problem } from '../core/errors.ts';
import { Secret } from '../core/secret.ts';
import type { BastionCredentials, CredentialFile } from './config.ts';
import type { ReadFile } from './read-file.ts';

/** A value and the source that gave it. */
export interface Placed<T> {
  readonly value: T;
  /** As in `Given`. */
  readonly where: string;
}

/** Paths that the settings of a bastion name. One that is missing or wrong has been reported already. */
export interface CredentialPaths {
  readonly identities: readonly Placed<string>[];
  readonly passphrases: readonly Placed<string>[];
  readonly certificates: readonly Placed<string>[];
  readonly password: Placed<string> | undefined;
  readonly answers: Placed<string> | undefined;
  readonly knownHosts: readonly Placed<string>[];
  readonly hostKeys: readonly Placed<string>[];
}

/** What OpenSSH calls the certificate of a key (ssh(1), -i). */
const CERTIFICATE_SUFFIX = '-cert.pub';

/**
 * Reads the files of a bastion. Only that they are there and hold something is judged here; what
 * they hold is the business of `ssh`.
 */
export function readCredentials(
  paths: CredentialPaths,
  agentSocket: string | undefined,
  readFile: ReadFile,
  problems: Problem[],
): BastionCredentials {
  const wrong = (where: string, message: string, hint?: string): undefined => {
    // One flag may name the file of every bastion: its problem is told once.
    if (problems.some((other) => other.where === where && other.message === message)) return;
    const problem = { code: 'CREDENTIAL_UNREADABLE', where, message } as const;
    problems.push(hint === undefined ? problem : { ...problem, hint });
  };
  const read = ({ value, where }: Placed<string>): Buffer | undefined => {
    try {
      const content = readFile(value);
      return content.length === 0 ? wrong(where, `${value}: the file is empty`) : content;
    } catch (error) {
      if (error instanceof NetproxyError) return wrong(where, error.message, error.hint);
      throw error;
    }
  };
  const line = (path: Placed<string> | undefined): Secret<string> | undefined => {
    const content = path === undefined ? undefined : read(path);
    if (path === undefined || content === undefined) return undefined;
    const [text = ''] = linesOf(content);
    return text === '' ? wrong(path.where, `${path.value}: the first line is empty`) : new Secret(text);
  };
  const file = (path: Placed<string>): CredentialFile[] => {
    const content = read(path);
    return content === undefined ? [] : [{ file: path.value, contents: new Secret(content) }];
  };
  const identities = paths.identities.flatMap((path) =>
    file(path).map((identity) => {
      const certificate = certificateBeside(path.value, readFile);
      return certificate === undefined ? identity : { ...identity, certificate };
    }),
  );
  const certificates = paths.certificates.flatMap(file);
  const passphrases = paths.passphrases.flatMap((path) => line(path) ?? []);
  const password = line(paths.password);
  const answers = paths.answers === undefined ? undefined : read(paths.answers);
  const knownHosts = paths.knownHosts.flatMap((path) => {
    const content = read(path);
    return content === undefined ? [] : [{ file: path.value, text: content.toString('utf8') }];
  });
  return {
    identities,
    passphrases,
    certificates,
    agentSocket,
    password,
    answers: answers === undefined ? undefined : new Secret(linesOf(answers)),
    knownHosts,
    pins: paths.hostKeys.map(({ value, where }) => ({ text: value, where })),
  };
}

/** One that is not there is no problem; one that may not be read is as good as none. */
function certificateBeside(identity: string, readFile: ReadFile): CredentialFile | undefined {
  const file = `${identity}${CERTIFICATE_SUFFIX}`;
  try {
    const contents = readFile(file);
    return contents.length === 0 ? undefined : { file, contents: new Secret(contents) };
  } catch (error) {
    if (error instanceof NetproxyError) return undefined;
    throw error;
  }
}

/** Editors end a file with a newline that nobody means as part of a secret. */
function linesOf(content: Buffer): readonly string[] {
  return content
    .toString('utf8')
    .replace(/\r?\n$/, '')
    .split(/\r?\n/);
}
