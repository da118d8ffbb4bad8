/** What the kernel says of a process in /proc/PID/status (proc_pid_status(5)). Pure. */

/** Numbers of capabilities(7) that netproxy has to do with. */
export const CAPABILITY = {
  DAC_OVERRIDE: 1,
  DAC_READ_SEARCH: 2,
  SETGID: 6,
  SETUID: 7,
  SETPCAP: 8,
  NET_ADMIN: 12,
  SYS_PTRACE: 19,
  SYS_ADMIN: 21,
} as const;

export interface ProcessStatus {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups. */
  readonly groups: readonly number[];
  readonly effective: ReadonlySet<number>;
  readonly permitted: ReadonlySet<number>;
  readonly bounding: ReadonlySet<number>;
  readonly noNewPrivileges: boolean;
  /** A filter of system calls is in place, whoever made it; undefined where the kernel has none. */
  readonly seccomp: boolean | undefined;
}

/** Reads the text of a status file; what it does not tell is empty. */
export function parseStatus(text: string): ProcessStatus {
  const fields = new Map(
    text.split('\n').map((line): [string, string] => {
      const [key = '', value = ''] = line.split(/:\s*/, 2);
      return [key, value.trim()];
    }),
  );
  const numbers = (key: string): number[] => (fields.get(key) ?? '').split(/\s+/).filter(Boolean).map(Number);
  const seccomp = fields.get('Seccomp');
  return {
    uid: numbers('Uid')[1] ?? -1,
    gid: numbers('Gid')[1] ?? -1,
    groups: numbers('Groups'),
    effective: bitsOf(fields.get('CapEff')),
    permitted: bitsOf(fields.get('CapPrm')),
    bounding: bitsOf(fields.get('CapBnd')),
    noNewPrivileges: fields.get('NoNewPrivs') === '1',
    seccomp: seccomp === undefined ? undefined : seccomp !== '0',
  };
}

function bitsOf(hex: string | undefined): ReadonlySet<number> {
  if (hex === undefined || !/^[0-9a-f]{1,16}$/i.test(hex)) return new Set();
  const digits = BigInt(`0x${hex}`).toString(2);
  const last = digits.length - 1;
  return new Set(
    Array.from({ length: digits.length }, (_, bit) => bit).filter((bit) => digits[last - bit] === '1'),
  );
}
