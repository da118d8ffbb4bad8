import { createHash } from 'node:crypto';

/** Who runs netproxy, and where. */
export interface LocalUser {
  readonly name: string;
  readonly home: string;
  readonly uid: number;
  readonly hostName: string;
}

/** What the tokens of ssh_config(5) stand for. */
export interface TokenValues {
  readonly local: LocalUser;
  readonly originalHost: string;
  readonly host: string;
  readonly port: string;
  readonly user: string;
  readonly hostKeyAlias: string | undefined;
  /** As written. */
  readonly jump: string | undefined;
}

/** A text that cannot be expanded, and why. */
export class BadToken extends Error {}

/** `%h` and the like (ssh_config(5), TOKENS). Throws BadToken for those that there are not. */
export function expandTokens(text: string, values: TokenValues): string {
  return text.replaceAll(/%(.?)/gs, (token, letter: string) => {
    const value = tokenOf(letter, values);
    if (value === undefined) throw new BadToken(`"${token}" is none of the tokens that are known`);
    return value;
  });
}

/** A path with tokens, `~`, `~/` and `${VARIABLE}`. Throws BadToken. */
export function expandPath(
  text: string,
  values: TokenValues,
  environment: Readonly<Record<string, string | undefined>>,
): string {
  const home = /^~([^/]*)/.exec(text);
  if (home !== null && home[1] !== '' && home[1] !== values.local.name)
    throw new BadToken(`"${home[0]}", the home of another user, is not looked up`);
  const path = home === null ? text : `${values.local.home}${text.slice(home[0].length)}`;
  const withVariables = path.replaceAll(/\$\{([^}]*)\}/g, (_, name: string) => {
    const value = environment[name];
    if (value === undefined) throw new BadToken(`the variable ${name} is not set`);
    return value;
  });
  return expandTokens(withVariables, values);
}

function tokenOf(letter: string, values: TokenValues): string | undefined {
  const { local, originalHost, host, port, user, hostKeyAlias, jump = '' } = values;
  switch (letter) {
    case '%':
      return '%';
    case 'C':
      // The hash of %l%h%p%r%j.
      return createHash('sha1').update(`${local.hostName}${host}${port}${user}${jump}`).digest('hex');
    case 'd':
      return local.home;
    case 'h':
      return host;
    case 'i':
      return String(local.uid);
    case 'j':
      return jump;
    case 'k':
      return hostKeyAlias ?? originalHost;
    case 'L':
      return local.hostName.split('.')[0];
    case 'l':
      return local.hostName;
    case 'n':
      return originalHost;
    case 'p':
      return port;
    case 'r':
      return user;
    case 'u':
      return local.name;
    default:
      return undefined;
  }
}
