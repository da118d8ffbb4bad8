/** Does the commands that ask a running netproxy. They load neither the parts nor a whole configuration. */
import type { Environment } from '../config/environment.ts';
import { loadHostConfig } from '../config/load.ts';
import { NetproxyError } from '../core/errors.ts';
import type { Arguments } from './arguments.ts';
import { askedInput } from './asked.ts';
import { bundle } from './bundle.ts';
import type { Commands } from './commands.ts';
import { connections, connectionsInput } from './connections.ts';
import { logs } from './logs.ts';
import type { OperatorCommand } from './operator-commands.ts';
import type { Output } from './output.ts';
import { openScreen } from './screen.ts';
import { status } from './status.ts';
import { wantsColour } from './style.ts';
import type { Paint } from './style.ts';
import { top } from './top.ts';
import { wait } from './wait.ts';

export interface Operator {
  readonly args: Arguments;
  readonly environment: Environment;
  readonly stdout: Output;
  readonly paint: Paint;
  readonly version: string;
  loadCommands(): Promise<Commands>;
  /** Begins to listen for the signals that end a command. */
  stop(): AbortSignal;
}

/** Gives the exit code. */
export async function operate(command: OperatorCommand, operator: Operator): Promise<number> {
  const { args, stdout, paint } = operator;
  const asked = askedInput(args, operator.environment);
  const print = (text: string): void => stdout.write(text);
  switch (command) {
    case 'wait':
      await wait(asked, print);
      return 0;
    case 'status':
      await status({ ...asked, paint }, print);
      return 0;
    case 'logs': {
      const follow = args.switches.has('follow');
      const colour = wantsColour(stdout.terminal, operator.environment);
      const stop = follow ? operator.stop() : new AbortController().signal;
      await logs({ ...asked, follow, colour, stop }, print);
      return 0;
    }
    case 'debug':
      if (args.operands.length === 0) {
        const hint = { hint: 'Run "netproxy debug bundle".' };
        throw new NetproxyError('USAGE_INVALID', 'what to collect is missing; allowed: bundle', hint);
      }
      await bundle({
        ...asked,
        ...{ out: args.parameters.get('out'), version: operator.version, stdout },
        host: (await loadHostConfig({ flags: new Map(), environment: {} })).config,
        commands: await operator.loadCommands(),
      });
      return 0;
    case 'top':
      // The screen has its own signs of what matters; it needs colours only where they are wanted.
      await top({ socket: asked.socket, paint, open: openScreen, stop: () => operator.stop() });
      return 0;
    default: {
      const input = connectionsInput(args);
      const { columns } = stdout;
      // Signals end what is only asked once by themselves.
      const stop = input.watch ? operator.stop() : new AbortController().signal;
      await connections({ ...asked, ...input, columns, stop }, print);
      return 0;
    }
  }
}
