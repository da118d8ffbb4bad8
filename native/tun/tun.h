// A TUN device with vnet headers and segmentation offload (Linux tun(4), Documentation/networking/tuntap).
#pragma once

#include <string>

namespace netproxy::tun {

struct Device {
  int fd;  // non-blocking, close-on-exec; the device vanishes when it is closed
  std::string name;
  bool segmentation;  // the kernel may hand over TCP packets of up to 64 KiB
};

// Makes the device `name` in the calling thread's network namespace. Throws std::system_error whose
// what() names the failing step.
Device open(const std::string& name);

}  // namespace netproxy::tun
