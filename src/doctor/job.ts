/** Whether `exec` could make a namespace for a command: it is made, and gone again. */
import { closeSync } from 'node:fs';
import { NetproxyError } from '../core/errors.ts';
import type { Finding } from '../core/finding.ts';
import { throughHelper } from '../core/native-view.ts';
import { loadNative } from '../core/native.ts';
import { diagnoseTun } from '../netns/diagnose.ts';
import { NetnsHelper } from '../netns/helper.ts';

const CHECK = 'exec';
const PROBE = 'tun0';

/** No failure where it cannot: `run` needs none of it. */
export async function examineJobs(uid: number): Promise<Finding> {
  let helper: NetnsHelper | undefined;
  try {
    const native = loadNative();
    helper = await NetnsHelper.start(native, { kind: 'new', resolvConf: '' });
    openTun(throughHelper(native, helper.channel));
    const how = uid === 0 ? 'as root' : `as user ${uid}, by a user namespace`;
    return { check: CHECK, status: 'ok', found: `could run a command in a namespace of its own, ${how}` };
  } catch (error) {
    if (!(error instanceof NetproxyError)) throw error;
    const found = `could not run a command, which "run" does not need: ${error.message}`;
    return { check: CHECK, status: 'skipped', found, fix: error.hint };
  } finally {
    await helper?.close();
  }
}

function openTun(inside: ReturnType<typeof throughHelper>): void {
  try {
    closeSync(inside.openTun(PROBE).fd);
  } catch (error) {
    throw diagnoseTun(error as NodeJS.ErrnoException);
  }
}
