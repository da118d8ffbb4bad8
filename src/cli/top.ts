/** `netproxy top`: connections, their rates and the bastions, on the whole terminal. */
import { setTimeout as sleep } from 'node:timers/promises';

import { askJson } from '../control/client.ts';
import type { Connections } from '../control/connections.ts';
import { TOP_CONNECTIONS, WATCH_INTERVAL_MS } from '../core/limits.ts';
import { Rates } from './rates.ts';
import type { Screen, ScreenEvents } from './screen.ts';
import type { Status } from './status.ts';
import type { Paint } from './style.ts';
import { TopView } from './top-view.ts';
import type { Seen } from './top-view.ts';

export interface TopOptions {
  readonly socket: string | undefined;
  readonly paint: Paint;
  /** Takes the terminal. Throws TERMINAL_MISSING. */
  readonly open: (events: ScreenEvents) => Screen;
  /** Begins to listen for signals that end it. */
  readonly stop: () => AbortSignal;
}

/** Shows until `q` or a signal. Throws NOT_RUNNING when netproxy does not answer at the beginning. */
export async function top({ socket, paint, open, stop }: TopOptions): Promise<void> {
  const view = new TopView(paint);
  const rates = new Rates();
  const quit = new AbortController();
  const look = async (): Promise<Seen> => {
    const path = `/v1/connections?sort=bytes&limit=${TOP_CONNECTIONS}`;
    const [status, { total, connections }] = await Promise.all([
      askJson<Status>({ path: '/v1/status' }, socket),
      askJson<Connections>({ path }, socket),
    ]);
    return { status, total, connections: rates.rate(connections, performance.now()) };
  };
  const kill = async (id: number): Promise<void> => {
    try {
      await askJson({ method: 'DELETE', path: `/v1/connections/${id}` }, socket);
      view.message = `connection ${id} was ended`;
    } catch (error) {
      view.message = (error as Error).message;
    }
  };
  const draw = (): void => screen.draw(view.lines(screen.columns, screen.rows));
  const screen = open({
    resized: draw,
    key: (key) => {
      const wish = view.key(key);
      if (wish?.kind === 'quit') quit.abort();
      else if (wish?.kind === 'kill') void kill(wish.id).then(draw);
      draw();
    },
  });
  try {
    const stopped = AbortSignal.any([quit.signal, stop()]);
    view.see(await look());
    while (!stopped.aborted) {
      draw();
      await sleep(WATCH_INTERVAL_MS, undefined, { signal: stopped }).catch(() => {});
      if (stopped.aborted || view.paused) continue;
      try {
        view.see(await look());
      } catch (error) {
        // It may be started anew; what was seen last stays.
        view.message = (error as Error).message;
      }
    }
  } finally {
    screen.close();
  }
}
