// A newer OpenSSH server than Debian 12's, for tests: 9.8 and later punish clients by their address
// (PerSourcePenalties) and split sshd into three programs. It comes from the backports and is unpacked beside.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { codename, run, unpackPackages } from './debian.mjs';

/** The first release that has what the tests want. */
const WANTED = [9, 8];

/** The root of the unpacked package, below `cache`. */
const unpacked = (cache) => join(cache, 'openssh');

/** Why it is to be fetched; undefined when it is there, or the machine's own is new enough. */
export function lacksNewerSshd(cache) {
  if (existsSync(join(unpacked(cache), 'usr/sbin/sshd'))) return undefined;
  const asked = spawnSync('/usr/sbin/sshd', ['-V'], { encoding: 'utf8' });
  const [, major = 0, minor = 0] = /OpenSSH_(\d+)\.(\d+)/.exec(`${asked.stdout}${asked.stderr}`) ?? [];
  if (Number(major) > WANTED[0] || (Number(major) === WANTED[0] && Number(minor) >= WANTED[1]))
    return undefined;
  return `the machine's is ${major}.${minor}`;
}

/** Fetches it. Gives the reason when it cannot be had here; the tests then use the machine's alone. */
export function fetchNewerSshd(cache) {
  try {
    unpackPackages(`${codename()}-backports`, ['openssh-server'], unpacked(cache), (root) => {
      run(join(root, 'usr/sbin/sshd'), ['-V']);
    });
    return undefined;
  } catch (error) {
    return error.message;
  }
}
