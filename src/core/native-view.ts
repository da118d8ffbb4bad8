/** The same addon, used for another network namespace or without rights. */
import type { Native } from './native.ts';

/** Sockets and the TUN are made in the namespace of the helper at `helper`, by its rights. */
export function throughHelper(native: Native, helper: number): Native {
  return {
    ...native,
    openTun: (name) => native.openTun(name, helper),
    connectTcp: (address, port, mark, userTimeoutMs) =>
      native.connectTcp(address, port, mark, userTimeoutMs, helper),
    openUdp: (family, mark) => native.openUdp(family, mark, helper),
    openDatagram: (kind, family, mark) => native.openDatagram(kind, family, mark, helper),
    bindTcp: (address, port) => native.bindTcp(address, port, helper),
    bindUdp: (address, port) => native.bindUdp(address, port, helper),
    socketOwner: (protocol, source, sourcePort, destination, destinationPort, device) =>
      native.socketOwner(protocol, source, sourcePort, destination, destinationPort, device, helper),
    watchNamespace: (onChange) => native.watchNamespace(onChange, helper),
  };
}

/** Sockets carry no mark, which takes a capability and is of no use where nothing is taken over. */
export function withoutMarks(native: Native): Native {
  return {
    ...native,
    connectTcp: (address, port, _mark, userTimeoutMs) => native.connectTcp(address, port, 0, userTimeoutMs),
    openUdp: (family) => native.openUdp(family, 0),
    openDatagram: (kind, family) => native.openDatagram(kind, family, 0),
  };
}
