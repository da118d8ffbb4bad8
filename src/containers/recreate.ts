/**
 * A container made anew from what the engine tells of it, in the network namespace of another provider. Pure. What
 * the engine makes up itself and then refuses is left out; all else is handed back as it came.
 */
import type { Container, Mount, Passed } from './container.ts';

/** Those of the provider, which nobody else may give ("conflicting options: … and the network mode"). */
const OF_THE_NETWORK = ['Hostname', 'Domainname', 'MacAddress', 'ExposedPorts'];

/** Modes beside the network's that may name a container. */
const MODES = ['IpcMode', 'PidMode'] as const;

/**
 * The body of POST /containers/create. `image` is the text by which the engine still finds the very image. What else
 * shared namespaces with `gone` shares them with `provider` from then on.
 */
export function recreateBody(
  container: Container,
  { image, gone, provider }: { readonly image: string; readonly gone: string; readonly provider: string },
): Passed {
  const { config, hostConfig, mounts } = container;
  const kept = Object.fromEntries(Object.entries(config).filter(([key]) => !OF_THE_NETWORK.includes(key)));
  const modes = Object.fromEntries(
    MODES.filter((mode) => hostConfig[mode] === `container:${gone}`).map((mode) => [
      mode,
      `container:${provider}`,
    ]),
  );
  return {
    ...kept,
    Image: image,
    HostConfig: {
      ...hostConfig,
      ...modes,
      NetworkMode: `container:${provider}`,
      PortBindings: {},
      PublishAllPorts: false,
      Binds: [...binds(hostConfig), ...anonymous(container).map(bindOf)],
      Mounts: namedMounts(hostConfig, mounts),
    },
    NetworkingConfig: {},
  };
}

/** `SOURCE:DESTINATION[:OPTIONS]` each; a destination alone is a volume without a name. */
function binds(hostConfig: Passed): string[] {
  const { Binds: given } = hostConfig;
  return Array.isArray(given) ? given.map(String).filter((bind) => bind.includes(':')) : [];
}

function mountsGiven(hostConfig: Passed): Passed[] {
  const { Mounts: given } = hostConfig;
  return Array.isArray(given) ? given.map((each) => each as Passed) : [];
}

/**
 * Volumes that were made without a name, because the image declares them or a destination alone was given: the new
 * container would get empty ones.
 */
function anonymous({ hostConfig, mounts }: Container): readonly Mount[] {
  const given = new Set([
    ...binds(hostConfig).map((bind) => bind.split(':')[1]),
    ...mountsGiven(hostConfig).map((mount) => mount['Target']),
  ]);
  return mounts.filter(
    ({ type, name, destination }) => type === 'volume' && name !== '' && !given.has(destination),
  );
}

const bindOf = ({ name, destination, writable }: Mount): string =>
  `${name}:${destination}${writable ? '' : ':ro'}`;

/** The mounts, those of volumes without a name with the name that the volume got. */
function namedMounts(hostConfig: Passed, mounts: readonly Mount[]): Passed[] {
  return mountsGiven(hostConfig).map((mount) => {
    if (mount['Type'] !== 'volume' || (mount['Source'] ?? '') !== '') return mount;
    const volume = mounts.find(({ destination }) => destination === mount['Target']);
    return volume === undefined ? mount : { ...mount, Source: volume.name };
  });
}
