import type { FileItem } from './file.ts';
import type { BastionUrl } from './kind.ts';
import type { SettingReader } from './reader.ts';
import { setting } from './settings.ts';
import type { SettingId } from './settings.ts';
import { readValue } from './value.ts';
import type { Given } from './value.ts';

/** What a URL gives. */
const PARTS = [
  'bastions[].host',
  'bastions[].port',
  'bastions[].user',
] as const satisfies readonly SettingId[];

/**
 * The bastions that flags or variables give by URL, as if they stood in the file: those to use, and those to go
 * through, in order. None: the file has them.
 */
export function urlItems(reader: SettingReader, sshConfig: boolean): FileItem[] {
  const bastions = reader.given('bastion', undefined) ?? [];
  const hops = (reader.given('jump', undefined) ?? []).flatMap(({ text, where }) =>
    text.split(',').map((hop) => ({ text: hop, where })),
  );
  if (hops.length > 0 && bastions.length === 0 && !reader.flagged('bastion')) {
    reader.problems.push({
      code: 'CONFIG_INVALID',
      where: hops[0]!.where,
      message: 'found without --bastion, to which it is the way; allowed: both, or none of them',
      hint: 'In the file, list the bastion to go through and give its name as "jump" of the other.',
    });
  }
  const numbered = (name: string, index: number): string => (index === 0 ? name : `${name}${index + 1}`);
  const item = (id: 'bastion' | 'jump', given: Given, name: string, behind: number): FileItem => {
    const fields = urlGiven(reader, id, given, sshConfig);
    fields.set('bastions[].name', [{ text: name, where: given.where }]);
    if (behind > 0)
      fields.set('bastions[].jump', [{ text: numbered('jump', behind - 1), where: hops[behind - 1]!.where }]);
    return { where: given.where, given: fields };
  };
  return [
    ...bastions.map((given, index) => item('bastion', given, numbered('main', index), hops.length)),
    ...hops.map((given, index) => item('jump', given, numbered('jump', index), index)),
  ];
}

/** The settings of a bastion that a URL stands for. A user may lack where ssh_config can have one. */
export function urlGiven(
  reader: SettingReader,
  id: 'bastion' | 'jump',
  given: Given,
  userMayLack: boolean,
): Map<SettingId, Given[]> {
  const url: BastionUrl | undefined = readValue(setting(id), given, reader.problems);
  const { where } = given;
  // What is wrong has been told, and is not also missing.
  if (url === undefined) return new Map(PARTS.map((part) => [part, []]));
  const fields = new Map<SettingId, Given[]>([['bastions[].host', [{ text: url.host, where }]]]);
  if (url.port !== undefined) fields.set('bastions[].port', [{ text: String(url.port), where }]);
  if (url.user !== undefined) fields.set('bastions[].user', [{ text: url.user, where }]);
  else if (!userMayLack) {
    fields.set('bastions[].user', []);
    reader.problems.push({
      code: 'CONFIG_INVALID',
      where,
      message: `found "${given.text}": the user is missing; allowed: ${setting(id).kind.allowed}`,
      hint: 'Write USER@ before the host, or have ssh_config read (--ssh-config) if it knows the user.',
    });
  }
  return fields;
}
