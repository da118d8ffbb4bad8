#include "tun/tun.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace netproxy::tun {

namespace {

// Many UDP datagrams of an application in one packet (linux/if_tun.h of Linux 6.2 and newer).
constexpr unsigned kUso4 = 0x20;
constexpr unsigned kUso6 = 0x40;

[[noreturn]] void fail(int fd, const char* what) {
  const int error = errno;
  if (fd >= 0) close(fd);
  throw std::system_error(error, std::generic_category(), what);
}

}  // namespace

Device open(const std::string& name) {
  const int fd = ::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) fail(fd, "open /dev/net/tun");

  ifreq request{};
  if (name.size() >= sizeof request.ifr_name) {
    errno = ENAMETOOLONG;
    fail(fd, "interface name");
  }
  std::memcpy(request.ifr_name, name.data(), name.size());
  request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
  if (ioctl(fd, TUNSETIFF, &request) < 0) fail(fd, "TUNSETIFF");

  constexpr unsigned kTcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
  const bool segmentation =
      ioctl(fd, TUNSETOFFLOAD, kTcp | kUso4 | kUso6) == 0 || ioctl(fd, TUNSETOFFLOAD, kTcp) == 0;
  return {fd, request.ifr_name, segmentation};
}

}  // namespace netproxy::tun
