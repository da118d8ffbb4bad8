/** `netproxy doctor`: looks at everything that a run depends on. Changes nothing. */
import type { Examined } from '../cli/commands.ts';
import type { Config } from '../config/config.ts';
import { ERRORS } from '../core/errors.ts';
import type { Finding } from '../core/finding.ts';
import { loadNative } from '../core/native.ts';
import type { NetRunner } from '../netns/runner.ts';
import { ownStatus, planPrivileges } from '../process/privileges.ts';
import { isReadableBy } from '../process/readable.ts';
import { asksForProcess } from '../policy/rule.ts';
import { CAPABILITY } from '../process/status.ts';
import { examineConnections, examineCredentials } from './bastions.ts';
import { examineJobs } from './job.ts';
import { examineNetwork } from './network.ts';
import { examineProcess, examineProcSys } from './process.ts';

export async function examine(patient: Examined, runner: NetRunner): Promise<Finding[]> {
  const status = ownStatus();
  const privileged = status.effective.has(CAPABILITY.NET_ADMIN);
  const findings = [
    ...examineProcess(status),
    ...(await examineNetwork(runner, patient.host.tun.name, privileged)),
    examineProcSys(),
    await examineJobs(status.uid),
    ...examineConfiguration(patient),
  ];
  const { config } = patient;
  if (config === undefined || patient.problems.length > 0) return findings;
  findings.push(changeOfUser(patient, config));
  for (const bastion of config.bastions) findings.push(...examineCredentials(bastion));
  findings.push(...(await examineOnline(patient, config, privileged, findings)));
  return findings;
}

function examineConfiguration({ config, problems }: Examined): Finding[] {
  const check = 'configuration';
  if (problems.length > 0) {
    return problems.map(({ code, where, message, hint }) => ({
      ...{ check, status: 'fail', found: `${where}: ${message}` },
      fix: hint ?? ERRORS[code].hint,
    }));
  }
  if (config === undefined) {
    const found = 'none is given, so bastions and keys were not looked at: -c FILE, or the flags of "run"';
    return [{ check, status: 'skipped', found }];
  }
  return [
    {
      check,
      status: 'ok',
      found: `valid; all of its files can be read (${config.bastions.length} bastions)`,
    },
  ];
}

function changeOfUser({ files, host: { user } }: Examined, config: Config): Finding {
  const check = 'user';
  const status = ownStatus();
  const agent = config.bastions.some(({ credentials }) => credentials.agentSocket !== undefined);
  let kept: string | undefined;
  const { become, why, unwanted } = planPrivileges(user, status, {
    agent,
    tofu: config.bastions.some(({ tofu }) => tofu !== undefined),
    processes: config.rules.some(asksForProcess),
    unreadable: (reader) => (kept = files.find((file) => !isReadableBy(reader, file))),
  });
  if (become === undefined) {
    const found = `"run" stays user ${status.uid}: ${why}`;
    if (kept !== undefined) return { check, status: 'warn', found, fix: `chown 65534 ${kept}` };
    return { check, status: unwanted ? 'warn' : 'ok', found, ...(unwanted ? { fix: SETUID } : {}) };
  }
  const lost = files.find((file) => !isReadableBy(become, file));
  const found = `"run" becomes user ${become.uid}`;
  if (lost === undefined) return { check, status: 'ok', found };
  const more = `, who may not read ${lost}: a change of it needs a restart`;
  return { check, status: 'warn', found: `${found}${more}`, fix: `chown ${become.uid} ${lost}` };
}

const SETUID = 'Compose: cap_add: [NET_ADMIN, SETUID, SETGID]; or leave "user" out.';

async function examineOnline(
  { offline }: Examined,
  config: Config,
  privileged: boolean,
  findings: readonly Finding[],
): Promise<Finding[]> {
  const check = 'bastions';
  const skipped = (found: string): Finding[] => [{ check, status: 'skipped', found }];
  if (offline) return skipped('not connected to: --offline');
  if (!privileged) return skipped('not connected to: it takes CAP_NET_ADMIN to mark sockets');
  if (findings.some((one) => one.check === 'own parts' && one.status === 'fail'))
    return skipped('not connected to: parts are missing');
  // That would write its key to the file.
  const met = findings.find(
    ({ check: what, status }) => what.startsWith('host key of ') && status === 'warn',
  );
  if (met !== undefined)
    return skipped(`not connected to: there is no ${met.check} yet, and "tofu" would write it`);
  return examineConnections(config, loadNative());
}
