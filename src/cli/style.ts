import { styleText } from 'node:util';
import type { Environment } from '../config/environment.ts';

/** Marks a piece of text for a terminal, or returns it as it is. */
export type Paint = (format: 'bold' | 'red' | 'green' | 'yellow' | 'dim', text: string) => string;

/** Whether colours are wanted on a stream: it is a terminal and NO_COLOR (no-color.org) is not set. */
export function wantsColour(terminal: boolean, environment: Environment): boolean {
  return terminal && (environment['NO_COLOR'] ?? '') === '' && environment['TERM'] !== 'dumb';
}

/** A paint that colours, or one that does not. */
export function paint(colour: boolean): Paint {
  return colour ? (format, text) => styleText(format, text, { validateStream: false }) : (_, text) => text;
}
