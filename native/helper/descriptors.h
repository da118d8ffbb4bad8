// The helper's part that makes sockets and TUN devices for netproxy.
#pragma once

namespace netproxy::helper {

// Answers one request that waits on `channel`. False when netproxy is gone.
bool serve_descriptor(int channel);

}  // namespace netproxy::helper
