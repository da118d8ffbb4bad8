/** Kinds of values that only rules have. */
import type { FlowTuple } from '../core/flow.ts';
import { BadPattern, parseNamePattern } from '../policy/name-pattern.ts';
import { parseVia, portsText, VIA_WORDS, viaText } from '../policy/rule.ts';
import type { PortRange, Via } from '../policy/rule.ts';
import { BadValue, cidr as network, integer, name, oneOf, port } from './kind.ts';
import type { Kind } from './kind.ts';

export { cidr } from './kind.ts';

/** A name of a bastion or group, which rules can name. */
export const upstreamName: Kind<string> = {
  ...name,
  allowed: `${name.allowed}, but none of ${VIA_WORDS.join(', ')}`,
  parse(text) {
    if (VIA_WORDS.includes(text)) throw new BadValue('the word has a meaning of its own in rules');
    return name.parse(text);
  },
};

/** YAML, which is read later. */
export const ruleText: Kind<string> = {
  placeholder: 'RULE',
  allowed: "a rule in YAML, such as 'to: 10.20.0.0/16, ports: [5432], via: main', or a list of them",
  parse: (text) => text,
};

export const protocol: Kind<FlowTuple['protocol']> = oneOf('tcp', 'udp', 'icmp');

/** A port, or the first and last of several. */
export const ports: Kind<PortRange> = {
  placeholder: 'PORTS',
  allowed: 'a port from 1 to 65535, or a range such as 8000-8999',
  parse(text) {
    const [first = '', last, ...more] = text.split('-').map((part) => part.trim());
    if (more.length > 0) throw new BadValue('neither a port nor a range of ports');
    const range = { first: port.parse(first), last: port.parse(last ?? first) };
    if (range.first > range.last)
      throw new BadValue('the range ends before it begins', { hint: `Write ${last}-${first}.` });
    return range;
  },
  format: portsText,
};

/** A number of a user or group; the last one stands for none (chown(2)). */
export const id: Kind<number> = integer('NUMBER', 0, 4_294_967_294, 'a number');

/** A pattern of host names, as written. */
export const namePattern: Kind<string> = {
  placeholder: 'NAME',
  allowed:
    'a host name, "*.NAME" for all names below it, a name with "*" in its labels, or /a regular expression/ for the whole name',
  parse(text) {
    try {
      parseNamePattern(text);
    } catch (error) {
      if (error instanceof BadPattern) throw new BadValue(error.message);
      throw error;
    }
    if (/^[\d.]+(\/\d+)?$/.test(text) && isNetwork(text))
      throw new BadValue('an address is no name', { hint: `Write to: ${text}.` });
    return text;
  },
};

function isNetwork(text: string): boolean {
  try {
    return network.parse(text) !== '';
  } catch {
    return false;
  }
}

/** A name of a process (proc_pid_comm(5)) or of a file. */
export const processName: Kind<string> = {
  placeholder: 'NAME',
  allowed: 'a name of a process or of its executable, without "/"',
  parse(text) {
    if (text.includes('/')) {
      throw new BadValue('a name is wanted, not a path', {
        hint: `Write ${text.slice(text.lastIndexOf('/') + 1)}.`,
      });
    }
    // NAME_MAX (limits.h).
    if (text.length > 255) throw new BadValue('longer than 255 characters');
    return text;
  },
};

/** Short numbers have 12 digits, as "docker ps" prints them. */
export const containerId: Kind<string> = {
  placeholder: 'ID',
  allowed: 'the number of a container, or its first 12 to 64 hexadecimal digits',
  parse(text) {
    if (!/^[0-9a-f]{12,64}$/.test(text))
      throw new BadValue('not a number of a container', {
        hint: 'Names of containers are known to the container engine only; "docker ps --no-trunc" prints the numbers.',
      });
    return text;
  },
};

export const cgroupPath: Kind<string> = {
  placeholder: 'PATH',
  allowed: 'the path of a control group, such as /system.slice/app.service',
  parse(text) {
    if (!text.startsWith('/')) throw new BadValue('the path does not begin with "/"');
    return text === '/' ? text : text.replace(/\/+$/, '');
  },
};

export const via: Kind<Via> = {
  placeholder: 'VIA',
  allowed:
    'the name of a bastion or group, direct, reject, reject:REASON with refused, prohibited, host-unreachable or network-unreachable, drop, relay, or relay:NAME',
  parse(text) {
    const found = parseVia(text);
    if (found === undefined) throw new BadValue('not what a rule can do');
    return found;
  },
  format: viaText,
};
