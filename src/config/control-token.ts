import { NetproxyError } from '../core/errors.ts';
import { CONTROL_TOKEN_MIN } from '../core/limits.ts';
import { Secret } from '../core/secret.ts';
import type { HostConfig } from './config.ts';
import type { SettingReader } from './reader.ts';

/** Reads the token of the control interface; what is wrong with its file goes to the reader's problems. */
export function readToken(reader: SettingReader): Secret<string> | undefined {
  const [path] = reader.placed('control.tokenFile', reader.file.given, 'control.tokenFile');
  if (path === undefined) return undefined;
  const wrong = (message: string, hint?: string): undefined => {
    const problem = { code: 'CREDENTIAL_UNREADABLE', where: path.where, message } as const;
    reader.problems.push(hint === undefined ? problem : { ...problem, hint });
  };
  try {
    const content = reader.files('CREDENTIAL_UNREADABLE')(path.value);
    const [line = ''] = content.toString('utf8').split(/\r?\n/);
    const token = line.trim();
    if (token.length >= CONTROL_TOKEN_MIN) return new Secret(token);
    const least = `at least ${CONTROL_TOKEN_MIN} characters are wanted`;
    return wrong(
      `${path.value}: the first line has ${token.length} characters, and ${least}`,
      'Make one by "openssl rand -hex 32".',
    );
  } catch (error) {
    if (error instanceof NetproxyError) return wrong(error.message, error.hint);
    throw error;
  }
}

/** The same settings, with the token. */
export function withToken<C extends HostConfig>(config: C, token: Secret<string> | undefined): C {
  return { ...config, control: { ...config.control, token } };
}
