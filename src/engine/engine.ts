/**
 * The TypeScript face of the native datapath: flows in, bytes both ways.
 *
 * Hop 2 of 8 (docs/data-path.md): before it, native/engine reads the TUN; after it, src/forward
 * decides what becomes of a flow.
 */
import type { AnyDatagram } from '../core/datagram.ts';
import type { Flow } from '../core/flow.ts';
import type { Native, NativeEngine, TunDevice } from '../core/native.ts';
import { readDatagrams } from './datagrams.ts';
import {
  EVENT_CLOSED,
  EVENT_DATAGRAMS,
  EVENT_DEVICE_LOST,
  EVENT_DRAINED,
  EVENT_OPENED,
  EVENT_READABLE,
  eventReader,
  RECORD_BYTES,
  type EventReader,
} from './events.ts';
import { EngineFlow } from './flow.ts';

export interface EngineHandlers {
  /** A connect waits for its answer. Sets `flow.handlers` before it returns. */
  flow(flow: Flow): void;
  /** A DNS question by UDP, or a ping. */
  datagram(datagram: AnyDatagram): void;
  /** The TUN device was removed: no flow will ever be heard of again. */
  deviceLost(): void;
}

export class Engine {
  readonly #native: NativeEngine;
  readonly #memory: Uint8Array;
  readonly #events: EventReader;
  readonly #capacity: number;
  readonly #flows = new Map<number, EngineFlow>();
  readonly #handlers: EngineHandlers;
  #owing = false;
  /** Called by flows: the engine sends at the end of this turn what the turn's calls left owed. */
  readonly #owe = (): void => {
    if (this.#owing) return;
    this.#owing = true;
    process.nextTick(this.#settle);
  };
  readonly #settle = (): void => {
    this.#owing = false;
    if (this.#native.settle()) this.#drain();
  };

  /** Takes ownership of the device. */
  constructor(native: Native, device: TunDevice, mtu: number, handlers: EngineHandlers) {
    this.#handlers = handlers;
    this.#native = new native.Engine(device.fd, mtu, () => this.#drain());
    // A Buffer, not a bare Uint8Array: ssh2 asks Buffer.isBuffer of what it is given.
    this.#memory = Buffer.from(this.#native.memory);
    this.#events = eventReader(this.#native.events);
    this.#capacity = this.#native.events.byteLength / RECORD_BYTES;
  }

  /** Flows that are open or wait for their answer. */
  get flows(): number {
    return this.#flows.size;
  }

  /** For whatever native code moves flows' bytes by itself. */
  get native(): NativeEngine {
    return this.#native;
  }

  counters(): Readonly<Record<string, number>> {
    return this.#native.counters();
  }

  /** Resets every flow; the application sees ECONNRESET. */
  abortAll(): void {
    for (const flow of this.#flows.values()) flow.abort();
  }

  /** Ends the engine thread; the TUN device vanishes. */
  close(): void {
    this.#native.close();
    this.#flows.clear();
  }

  #drain(): void {
    for (;;) {
      const count = this.#native.poll();
      for (let index = 0; index < count; index++) this.#dispatch(index);
      if (count < this.#capacity) return;
    }
  }

  #readDatagrams(): void {
    for (;;) {
      const count = this.#native.datagrams();
      if (count === 0) return;
      const batch = readDatagrams(this.#native.datagramMemory, count, this.#native);
      for (const datagram of batch) this.#handlers.datagram(datagram);
    }
  }

  #dispatch(index: number): void {
    const id = this.#events.flow(index);
    switch (this.#events.type(index)) {
      case EVENT_OPENED: {
        const flow = new EngineFlow(id, this.#events.tuple(index), this.#native, this.#memory, this.#owe);
        this.#flows.set(id, flow);
        this.#handlers.flow(flow);
        break;
      }
      case EVENT_READABLE:
        this.#flows.get(id)?.handlers?.readable();
        break;
      case EVENT_DRAINED:
        this.#flows.get(id)?.handlers?.drained();
        break;
      case EVENT_CLOSED: {
        const flow = this.#flows.get(id);
        this.#flows.delete(id);
        flow?.handlers?.closed(this.#events.end(index));
        break;
      }
      case EVENT_DATAGRAMS:
        this.#readDatagrams();
        break;
      case EVENT_DEVICE_LOST:
        this.#handlers.deviceLost();
        break;
      default:
        break;
    }
  }
}
