/** The demo's web server: a page, and 64 MiB of bytes. Prints who asked, one JSON object a line. */
import { createServer } from 'node:http';

const MIB = 1024 * 1024;
const FILE_MIB = 64;
const page =
  '<!doctype html><title>far away</title><p>This page is served where only the bastion reaches.</p>\n';
const block = Buffer.alloc(MIB, 'netproxy ');

createServer((request, response) => {
  console.log(
    JSON.stringify({ path: request.url, peer: request.socket.remoteAddress?.replace('::ffff:', '') }),
  );
  if (request.url !== '/file') {
    response.setHeader('content-length', page.length);
    response.end(page);
    return;
  }
  response.setHeader('content-length', FILE_MIB * MIB);
  let left = FILE_MIB;
  const more = (): void => {
    while (left > 0) {
      left--;
      if (!response.write(block)) {
        response.once('drain', more);
        return;
      }
    }
    response.end();
  };
  more();
}).listen(80, '::');
