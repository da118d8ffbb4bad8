import { NetproxyError } from '../core/errors.ts';
import type { Problem } from '../core/errors.ts';
import { Secret } from '../core/secret.ts';
import type { BastionConfig, BastionCredentials } from './config.ts';
import type { ReadFile } from './read-file.ts';
import type { SettingId } from './settings.ts';

/**
 * Reads the files of a bastion. Only that they are there and hold something is judged here; what
 * they hold is the business of `ssh`. `where` says which source named each path.
 */
export function readCredentials(
  bastion: Partial<BastionConfig>,
  where: (id: SettingId) => string,
  readFile: ReadFile,
  problems: Problem[],
): BastionCredentials | undefined {
  const read = (id: SettingId, path: string | undefined): Buffer | undefined => {
    // A path that is missing or wrong has been reported already.
    if (path === undefined) return undefined;
    const wrong = (message: string, hint?: string): undefined => {
      const problem = { code: 'CREDENTIAL_UNREADABLE', where: where(id), message } as const;
      // One flag may name the file of every bastion: its problem is told once.
      if (problems.some((other) => other.where === problem.where && other.message === message)) return;
      problems.push(hint === undefined ? problem : { ...problem, hint });
    };
    try {
      const content = readFile(path);
      return content.length === 0 ? wrong(`${path}: the file is empty`) : content;
    } catch (error) {
      if (error instanceof NetproxyError) return wrong(error.message, error.hint);
      throw error;
    }
  };
  const identity = read('bastions[].identityFile', bastion.identityFile);
  const knownHosts = read('bastions[].knownHostsFile', bastion.knownHostsFile);
  const passphrase = read('bastions[].identityPassphraseFile', bastion.identityPassphraseFile);
  if (identity === undefined || knownHosts === undefined) return undefined;
  return {
    identity: new Secret(identity),
    identityPassphrase: passphrase === undefined ? undefined : new Secret(firstLine(passphrase)),
    knownHosts: knownHosts.toString('utf8'),
  };
}

/** Editors end a file with a newline that nobody means as part of the passphrase. */
function firstLine(content: Buffer): string {
  return content.toString('utf8').split(/\r?\n/, 1)[0] ?? '';
}
