import { isIP } from 'node:net';
import { familyOf, formatEndpoint } from '../core/address.ts';
import { parseCidr } from '../core/cidr.ts';
import type { UserChoice } from '../core/user.ts';
import { destinationText, parseDestination } from '../core/destination.ts';
import type { Endpoint } from '../core/flow.ts';

/** Thrown by a kind: why the text is not a value, and, when it is clear, what to write instead. */
export class BadValue extends Error {
  readonly hint: string | undefined;
  /** False when the text may hold a secret and must not be repeated. */
  readonly mayEcho: boolean;

  constructor(why: string, options: { hint?: string; mayEcho?: boolean } = {}) {
    super(why);
    this.hint = options.hint;
    this.mayEcho = options.mayEcho ?? true;
  }
}

/** A kind of value: how people write it, and how it is read. */
export interface Kind<T> {
  /** Placeholder in the help, such as DURATION. */
  readonly placeholder: string;
  /** Ends the sentence "allowed: …". */
  readonly allowed: string;
  /** The words that a shell may offer, when there are few. */
  readonly words?: readonly string[];
  /** Throws BadValue. */
  parse(text: string): T;
  /** The reverse of `parse`, for print; absent when `String` does. */
  format?(value: T): string;
}

const MILLISECONDS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;

/** A length of time, given as milliseconds; bounds in milliseconds too. */
export function duration(min: number, max: number): Kind<number> {
  const allowed = `a duration from ${durationText(min)} to ${durationText(max)}, such as 500ms, 10s or 1m30s`;
  return {
    placeholder: 'DURATION',
    allowed,
    parse(text) {
      if (/^\d+(\.\d+)?$/.test(text)) {
        throw new BadValue('the unit is missing', { hint: `Write the unit, such as ${text}s or ${text}ms.` });
      }
      if (!/^(\d+(ms|s|m|h))+$/.test(text)) throw new BadValue('not a duration');
      let total = 0;
      for (const [, amount, unit] of text.matchAll(/(\d+)(ms|s|m|h)/g)) {
        total += Number(amount) * MILLISECONDS[unit as keyof typeof MILLISECONDS];
      }
      if (total < min || total > max) throw new BadValue('out of range');
      return total;
    },
    format: durationText,
  };
}

/** Milliseconds in the form that `duration` reads, in the largest units that are exact. */
export function durationText(milliseconds: number): string {
  let rest = milliseconds;
  let text = '';
  for (const unit of ['h', 'm', 's', 'ms'] as const) {
    const count = Math.floor(rest / MILLISECONDS[unit]);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * MILLISECONDS[unit];
  }
  return text === '' ? '0s' : text;
}

/** A whole number within bounds, in decimal digits. */
export function integer(placeholder: string, min: number, max: number, what: string): Kind<number> {
  return {
    placeholder,
    allowed: `${what} from ${min} to ${max}`,
    parse(text) {
      if (!/^\d{1,10}$/.test(text)) throw new BadValue('not a whole number in decimal digits');
      const value = Number(text);
      if (value < min || value > max) throw new BadValue('out of range');
      return value;
    },
  };
}

/** A TCP port that can be connected to. */
export const port: Kind<number> = integer('PORT', 1, 65_535, 'a port');

/** One of a few words. */
export function oneOf<const W extends string>(...words: readonly W[]): Kind<W> {
  return {
    placeholder: words.join('|'),
    allowed: words.join(', '),
    words,
    parse(text) {
      const word = words.find((candidate) => candidate === text);
      if (word !== undefined) return word;
      const folded = words.find((candidate) => candidate === text.toLowerCase());
      throw new BadValue('not one of the words', folded === undefined ? {} : { hint: `Write ${folded}.` });
    },
  };
}

/** A path of a file. Relative paths start at the working directory. */
export const file: Kind<string> = {
  placeholder: 'FILE',
  allowed: 'the path of a file',
  parse(text) {
    if (/-----BEGIN |PRIVATE KEY|[\r\n]/.test(text)) {
      throw new BadValue('a path is wanted here, not the contents of a file', {
        hint: 'Put the contents in a file that only netproxy can read, and give its path.',
        mayEcho: false,
      });
    }
    if (text.includes('\0')) throw new BadValue('holds a NUL byte');
    if (text.startsWith('~/')) {
      throw new BadValue('"~" is a habit of the shell and means nothing here', {
        hint: 'Write the whole path.',
      });
    }
    return text;
  },
};

/** Whether there is one, which is found by custom, or its path. */
export function trueOrFile(what: string): Kind<string> {
  return {
    placeholder: 'true|FILE',
    allowed: `true, false or the path of ${what}`,
    words: ['true', 'false'],
    parse(text) {
      if (text === 'true' || text === 'false') return text;
      if (!text.includes('/')) throw new BadValue('neither true nor false, nor a path with "/"');
      return file.parse(text);
    },
  };
}

/** An SSH agent: whether there is one, or its socket. */
export const agent: Kind<string> = trueOrFile('the socket of an agent');

/** A short name of ours, used in logs and metrics. */
export const name: Kind<string> = {
  placeholder: 'NAME',
  allowed: 'a name of 1 to 63 letters, digits, "-", "_" or ".", starting with a letter or digit',
  parse(text) {
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(text)) throw new BadValue('not a name');
    return text;
  },
};

/** A name of a network interface: IFNAMSIZ is 16 with the closing NUL (linux/if.h). */
export const interfaceName: Kind<string> = {
  placeholder: 'NAME',
  allowed: 'the name of a network interface: 1 to 15 letters, digits, "-", "_" or "."',
  parse(text) {
    if (!/^[A-Za-z0-9_.-]{1,15}$/.test(text) || /^\.{1,2}$/.test(text) || text.startsWith('-')) {
      throw new BadValue('not a name of an interface');
    }
    if (text === 'lo' || text === 'all' || text === 'default') {
      throw new BadValue('the name has a meaning of its own to the kernel');
    }
    return text;
  },
};

/** A user on the bastion. */
export const user: Kind<string> = {
  placeholder: 'USER',
  allowed: 'the name of a user on the bastion, without spaces, ":" or control characters',
  parse(text) {
    // oxlint-disable-next-line no-control-regex -- control characters are what is refused
    if (!/^[^\s:\u0000-\u001f\u007f]{1,255}$/u.test(text) || text.startsWith('-')) {
      throw new BadValue('not a name of a user', { mayEcho: !text.includes(':') });
    }
    return text;
  },
};

/** Highest number of a user or group; the one above means "no change" (setresuid(2)). */
const ID_MAX = 2 ** 32 - 2;

/** Who the process is to be. */
export const processUser: Kind<UserChoice> = {
  placeholder: 'auto|keep|UID[:GID]',
  allowed: 'auto, keep, or the number of a user, with or without that of a group, such as 1000:1000',
  words: ['auto', 'keep'],
  parse(text) {
    if (text === 'auto' || text === 'keep') return text;
    const [, user = '', group = user] = /^(\d{1,10})(?::(\d{1,10}))?$/.exec(text) ?? [];
    if (user === '') {
      throw new BadValue('not the number of a user', {
        hint: 'Names are not known here: "id -u NAME" gives the number.',
      });
    }
    const [uid, gid] = [Number(user), Number(group)];
    if (uid === 0)
      throw new BadValue('0 is root', { hint: 'Write keep, to stay who netproxy is started as.' });
    if (uid > ID_MAX || gid > ID_MAX) throw new BadValue('out of range');
    return { uid, gid };
  },
  format: (value) => (typeof value === 'string' ? value : `${value.uid}:${value.gid}`),
};

/** A host name (RFC 1123, and "_", which internal names use) or an IP address without brackets. */
export const host: Kind<string> = {
  placeholder: 'HOST',
  allowed: 'a host name or an IP address',
  parse(text) {
    if (text.startsWith('[') && text.endsWith(']') && isIP(text.slice(1, -1)) === 6) {
      throw new BadValue('brackets belong in a URL only', { hint: `Write ${text.slice(1, -1)}.` });
    }
    if (isIP(text) !== 0) return text;
    if (/^[\d.]+$/.test(text)) throw new BadValue('not an IPv4 address');
    if (text.includes('@'))
      throw new BadValue('the user has a key of its own', { mayEcho: !/:.*@/.test(text) });
    const labels = text.replace(/\.$/, '').split('.');
    const label = /^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/;
    if (text.length > 253 || !labels.every((part) => label.test(part))) throw new BadValue('not a host name');
    return text;
  },
};

/** A network; a single address stands for itself alone. The value is canonical text. */
export const cidr: Kind<string> = {
  placeholder: 'CIDR',
  allowed: 'a network such as 10.0.0.0/8 or fd00::/8, or one address',
  parse(text) {
    const parsed = parseCidr(text);
    if (parsed === undefined) throw new BadValue('not a network');
    if (parsed.network !== parsed.text) {
      throw new BadValue('bits are set after the prefix', { hint: `Write ${parsed.network}.` });
    }
    return parsed.text;
  },
};

/** A network, or some ports of it. The value is canonical text. */
export const destination: Kind<string> = {
  placeholder: 'CIDR[:PORTS]',
  allowed:
    'a network such as 10.0.0.0/8 or fd00::/8, one address, or ports of either such as 10.0.0.5:5432, 10.0.0.0/8:8000-8099/tcp or [fd00::/8]:53/udp',
  parse(text) {
    const parsed = parseDestination(text);
    if (parsed === undefined) throw new BadValue('neither a network nor ports of one');
    if (parsed.parsed.network !== parsed.parsed.text) {
      const hint = destinationText({ ...parsed, cidr: parsed.parsed.network });
      throw new BadValue('bits are set after the prefix', { hint: `Write ${hint}.` });
    }
    return destinationText(parsed);
  },
};

/** An address and a port. */
export const endpoint: Kind<Endpoint> = {
  placeholder: 'ADDRESS:PORT',
  allowed: 'an address and a port, such as 127.0.0.1:9180 or [::1]:9180',
  parse(text) {
    const match = /^(?:\[([^\]]+)\]|([^[\]:]+)):(\d{1,5})$/.exec(text);
    const address = match?.[1] ?? match?.[2] ?? '';
    const family = familyOf(address);
    if (family === undefined || (family === 6) !== (match?.[1] !== undefined)) {
      throw new BadValue('not an address with a port');
    }
    return { address, port: port.parse(match?.[3] ?? '') };
  },
  format: formatEndpoint,
};

/** An address of an interface of ours with the prefix of its network. The value is canonical text. */
export function interfaceAddress(family: 4 | 6): Kind<string> {
  const longest = family === 4 ? 30 : 126;
  const example = family === 4 ? '198.18.0.1/30' : 'fd6e:7072::1/126';
  return {
    placeholder: 'ADDRESS/PREFIX',
    allowed: `an IPv${family} address with a prefix of at most ${longest}, such as ${example}`,
    parse(text) {
      const parsed = parseCidr(text);
      if (parsed === undefined || !text.includes('/')) throw new BadValue('not an address with a prefix');
      if (parsed.family !== family) throw new BadValue(`not of IPv${family}`);
      if (parsed.prefix > longest) {
        throw new BadValue('leaves no room for a second address, which the engine needs');
      }
      if (parsed.prefix === 0) throw new BadValue('a prefix of 0 is the whole address space');
      if (parsed.network === parsed.text) throw new BadValue('is the network itself, not an address in it');
      return parsed.text;
    },
  };
}

/** What `ssh://user@host:port` says. */
export interface BastionUrl {
  readonly user: string | undefined;
  readonly host: string;
  readonly port: number | undefined;
}

/** The port of SSH (RFC 4253 section 4.1). */
export const SSH_PORT = 22;

/** `ssh://[user@]host[:port]`; whether the user may lack is for the caller to say. */
export const bastionUrl: Kind<BastionUrl> = {
  placeholder: 'URL',
  allowed: 'ssh://USER@HOST or ssh://USER@HOST:PORT, with an IPv6 address in brackets',
  parse(text) {
    const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(text)?.[1];
    const rest = scheme === undefined ? text : text.slice(scheme.length + 3);
    const at = rest.lastIndexOf('@');
    const userInfo = at === -1 ? '' : rest.slice(0, at);
    // Refused before anything else is looked at, and never repeated: whatever else is wrong, the
    // text holds a password.
    if (userInfo.includes(':')) {
      throw new BadValue('a password in a URL shows in the process list, in logs and in "docker inspect"', {
        hint: 'Leave the password out; netproxy logs in with a key (--identity), or a password in a file (--password-file).',
        mayEcho: false,
      });
    }
    if (scheme === undefined) throw new BadValue('the scheme is missing', { hint: `Write ssh://${text}.` });
    if (scheme.toLowerCase() !== 'ssh') throw new BadValue(`the scheme "${scheme}" is not ssh`);
    if (at !== -1 && userInfo === '') {
      throw new BadValue('the user is missing', { hint: `Write ssh://USER@${rest.slice(at + 1)}.` });
    }
    const authority = /^(?:\[([^\]]*)\]|([^:/?#[\]]*))(?::([^/?#]*))?(\/?)(.*)$/s.exec(rest.slice(at + 1));
    if (authority === null)
      throw new BadValue('host and port cannot be told apart', { hint: 'Put an IPv6 address in brackets.' });
    const [, bracketed, plain, portText, , tail] = authority;
    if (tail !== '') throw new BadValue('nothing may follow the host and port');
    if (bracketed !== undefined && isIP(bracketed) !== 6)
      throw new BadValue('what is in brackets is not an IPv6 address');
    return {
      user: at === -1 ? undefined : user.parse(decodePercent(userInfo)),
      host: bracketed ?? host.parse(plain ?? ''),
      port: portText === undefined ? undefined : port.parse(portText),
    };
  },
};

/** One hop of `ssh -J`, for which the scheme may be left out. */
export const jumpHost: Kind<BastionUrl> = {
  placeholder: 'USER@HOST[:PORT],…',
  allowed: 'USER@HOST or USER@HOST:PORT, several with commas between them, with an IPv6 address in brackets',
  parse: (text) => bastionUrl.parse(/^[A-Za-z][A-Za-z0-9+.-]*:\/\//.test(text) ? text : `ssh://${text}`),
};

function decodePercent(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new BadValue('a "%" in the user starts no escape', { hint: 'Write a literal "%" as %25.' });
  }
}
