/** What the files of a bastion hold, parsed and judged. */
import type { Config } from '../config/config.ts';
import type { JudgedBastion } from '../config/load.ts';
import { NetproxyError } from '../core/errors.ts';
import type { Problem } from '../core/errors.ts';
import { KnownHosts } from '../ssh/known-hosts.ts';
import { checkAgent, loadLogin } from '../ssh/login.ts';
import type { Login, Wrong } from '../ssh/login.ts';
import { processTerminal } from '../ssh/terminal.ts';

export function loginOf(bastion: JudgedBastion, wrong: Wrong): Login {
  return loadLogin({ ...bastion.credentials, auth: bastion.auth }, processTerminal(), wrong);
}

export function knownHostsOf(bastion: JudgedBastion): KnownHosts {
  return KnownHosts.of(bastion.credentials.knownHosts.map(({ file, text }) => KnownHosts.parse(text, file)));
}

/** Judges the keys, certificates and known_hosts of all bastions. Touches no network. */
export async function judgeBastions(config: Config): Promise<readonly Problem[]> {
  const found = config.bastions.map(async (bastion, index) =>
    (await judgeBastion(bastion)).map((problem) => ({
      ...problem,
      where: `bastions[${index}].${problem.where}`,
    })),
  );
  return (await Promise.all(found)).flat();
}

/** The same of one bastion, of which some files may lack; places are its keys. */
export async function judgeBastion(bastion: JudgedBastion): Promise<readonly Problem[]> {
  const problems: Problem[] = [];
  const wrong: Wrong = (key, { code, message, hint }) => {
    problems.push({ code, where: key, message, hint });
  };
  await checkAgent(loginOf(bastion, wrong), wrong);
  try {
    knownHostsOf(bastion);
  } catch (error) {
    if (!(error instanceof NetproxyError)) throw error;
    wrong('knownHostsFile', error);
  }
  return problems;
}
