/** Another mutating webhook: puts an init container before all others. Its arguments: port, certificate and key, in PEM. */
import { createServer } from 'node:https';

const [port, cert, key] = process.argv.slice(2);

createServer({ cert, key }, (request, response) => {
  let text = '';
  request.on('data', (chunk: Buffer) => (text += chunk.toString()));
  request.on('end', () => {
    const { uid, object } = (
      JSON.parse(text) as { request: { uid: string; object: { spec: { initContainers?: object[] } } } }
    ).request;
    const value = { name: 'mesh', image: 'docker.io/local/node:test' };
    const had = object.spec.initContainers;
    const patch =
      had === undefined
        ? [{ op: 'add', path: '/spec/initContainers', value: [value] }]
        : [{ op: 'add', path: '/spec/initContainers/0', value }];
    const answer = {
      apiVersion: 'admission.k8s.io/v1',
      kind: 'AdmissionReview',
      response: {
        ...{ uid, allowed: true, patchType: 'JSONPatch' },
        patch: Buffer.from(JSON.stringify(patch)).toString('base64'),
      },
    };
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(answer));
  });
}).listen(Number(port), '127.0.0.1', () => process.stdout.write('ready\n'));
