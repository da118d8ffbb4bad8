/** `netproxy injector`: joins the webhook, its certificate, the profiles and the networks of the cluster. */
import { setTimeout as sleep } from 'node:timers/promises';
import { formatEndpoint } from '../core/address.ts';
import type { InjectorConfig } from '../config/injector.ts';
import {
  INJECTOR_CLOSE_DEADLINE_MS,
  INJECTOR_DRAIN_MS,
  NETWORKS_REFRESH_MS,
  NETWORKS_RETRY_MS,
  TLS_SYNC_MS,
} from '../core/limits.ts';
import type { Log } from '../core/log.ts';
import { admit } from './admission.ts';
import { KubernetesApi } from './api.ts';
import { ClusterNetworks } from './cluster.ts';
import { AdmissionEndpoint } from './endpoint.ts';
import { InjectorMetrics } from './metrics.ts';
import { Probes } from './probes.ts';
import type { Condition } from './probes.ts';
import { Profiles } from './profiles.ts';
import { openServing } from './serving.ts';

interface Io {
  readonly log: Log;
  readonly stop: AbortSignal;
  readonly version: string;
}

/** Answers until `io.stop`, then for as long as somebody may still ask. `ready` is called once, with the line to print. */
export async function injector(
  config: InjectorConfig,
  { log, stop, version }: Io,
  ready: (line: string) => void,
): Promise<void> {
  const { api: place, serviceAccount: folder } = config;
  const api = place && new KubernetesApi({ host: place.address, port: place.port, folder });
  const profiles = new Profiles(config.profiles, log);
  const networks = new ClusterNetworks(config.clusterCidrs, api, log);
  const metrics = new InjectorMetrics();
  const endpoint = new AdmissionEndpoint(
    {
      answer: (review, started) => admit(review, started, { profiles, networks, metrics, log }),
      bad: (status) => metrics.bad(status),
    },
    log,
  );
  const serving = await openServing(config, { api, log });
  const conditions = (): readonly Condition[] => [
    { name: 'running', problem: stop.aborted ? 'it was told to end' : undefined },
    ...serving.conditions(),
    { name: 'profiles', problem: undefined, remarks: profiles.problems },
    { name: 'networks', problem: networks.problem },
  ];
  const probes = new Probes({
    conditions,
    metrics: () =>
      metrics.text({
        ...{ version, conditions: conditions(), notAfter: serving.notAfter, certificatesMade: serving.made },
        ...{ profiles: profiles.names.length, broken: profiles.broken.length },
        networks: networks.networks?.length ?? 0,
      }),
  });
  const over = new AbortController();
  const loops: Promise<void>[] = [];
  try {
    await profiles.start();
    await probes.listen(config.statusListen);
    const port = await endpoint.listen(config.listen);
    let told = false;
    const tellReady = (): void => {
      if (told || conditions().some(({ problem }) => problem !== undefined)) return;
      told = true;
      ready(`netproxy injector is ready at ${formatEndpoint({ ...config.listen, port })}`);
    };
    loops.push(
      repeat(over.signal, async () => {
        const failed = await serving.sync((generation) => endpoint.use(generation));
        if (failed) metrics.syncFailed();
        tellReady();
        return TLS_SYNC_MS;
      }),
      repeat(over.signal, async () => {
        await networks.refresh();
        tellReady();
        return networks.networks === undefined ? NETWORKS_RETRY_MS : NETWORKS_REFRESH_MS;
      }),
    );
    await Promise.race([aborted(stop), ...loops]);
    log.info({ drainMs: INJECTOR_DRAIN_MS }, 'answering until nobody asks any more');
    endpoint.leave();
    await sleep(INJECTOR_DRAIN_MS);
  } finally {
    over.abort();
    await Promise.allSettled(loops);
    await endpoint.close(INJECTOR_CLOSE_DEADLINE_MS);
    await probes.close();
    profiles.close();
    api?.close();
  }
}

/** Does something again and again, after the milliseconds that it gives; ends with the signal, or what it throws. */
async function repeat(over: AbortSignal, act: () => Promise<number>): Promise<void> {
  while (!over.aborted) {
    const pause = await act();
    try {
      await sleep(pause, undefined, { signal: over });
    } catch (error) {
      if (!over.aborted) throw error;
    }
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
