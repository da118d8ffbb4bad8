#include "helper/namespaces.h"

#include <fcntl.h>
#include <linux/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace netproxy::helper {

namespace {

[[noreturn]] void fail(int error, const char* what) {
  throw std::system_error(error, std::generic_category(), what);
}

void enter_one(const std::string& path, int kind, const char* what) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail(errno, "opening the namespace");
  const int error = setns(fd, kind) == 0 ? 0 : errno;
  close(fd);
  if (error != 0) fail(error, what);
}

bool write_file(const char* path, const std::string& text) {
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool good = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = errno;
  close(fd);
  errno = error;
  return good;
}

std::string same(unsigned id) { return std::to_string(id) + " " + std::to_string(id) + " 1\n"; }

std::string read_file(const std::string& path) {
  std::string text;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return text;
  char part[4096];
  for (ssize_t got; (got = read(fd, part, sizeof part)) > 0;) text.append(part, static_cast<size_t>(got));
  close(fd);
  return text;
}

// Of each line "inside outside count" of our own namespace: every user of it, as themselves.
std::string all_of(const std::string& map) {
  std::string all;
  unsigned long inside = 0;
  unsigned long outside = 0;
  unsigned long count = 0;
  int length = 0;
  for (const char* at = map.c_str(); sscanf(at, "%lu %lu %lu%n", &inside, &outside, &count, &length) == 3;
       at += length)
    all += std::to_string(inside) + " " + std::to_string(inside) + " " + std::to_string(count) + "\n";
  return all;
}

// Users keep their numbers. Who may (CAP_SETUID in the namespace left) maps all of them, which takes a
// process that stayed behind; everybody else maps himself alone (user_namespaces(7)).
void leave_user_namespace() {
  const uid_t uid = geteuid();
  const gid_t gid = getegid();
  const std::string users = all_of(read_file("/proc/self/uid_map"));
  const std::string groups = all_of(read_file("/proc/self/gid_map"));
  const std::string self = "/proc/" + std::to_string(getpid());
  int go[2];
  if (pipe2(go, O_CLOEXEC) < 0) fail(errno, "pipe");
  const pid_t mapper = fork();
  if (mapper < 0) fail(errno, "fork");
  if (mapper == 0) {
    close(go[1]);
    char byte;
    const bool told = read(go[0], &byte, 1) == 1;
    const bool good = told && write_file((self + "/uid_map").c_str(), users) &&
                      write_file((self + "/gid_map").c_str(), groups);
    _exit(good ? 0 : 1);
  }
  close(go[0]);
  const int refused = unshare(CLONE_NEWUSER) == 0 ? 0 : errno;
  if (refused == 0 && write(go[1], "", 1) != 1) fail(errno, "pipe");
  close(go[1]);
  int status = 1;
  while (waitpid(mapper, &status, 0) < 0 && errno == EINTR) {
  }
  if (refused != 0) fail(refused, "making a user namespace");
  if (status == 0) return;
  if (!write_file("/proc/self/setgroups", "deny")) fail(errno, "/proc/self/setgroups");
  // The first may have been written before the second was refused.
  if (!write_file("/proc/self/uid_map", same(uid)) && read_file("/proc/self/uid_map").empty())
    fail(errno, "mapping the user");
  if (!write_file("/proc/self/gid_map", same(gid))) fail(errno, "mapping the group");
}

void raise_loopback() {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail(errno, "socket");
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP;
  const int error = ioctl(fd, SIOCSIFFLAGS, &request) == 0 ? 0 : errno;
  close(fd);
  if (error != 0) fail(error, "raising the loopback");
}

// Sockets in the file system lead out of any network namespace: nss-resolve, nscd and nss-mdns would have
// names looked up by the machine.
constexpr const char* kLookupSockets[] = {"/run/systemd/resolve/io.systemd.Resolve", "/run/nscd/socket",
                                          "/run/avahi-daemon/socket"};

// Folders that every machine has, for the moment in which one is needed.
constexpr const char* kFolders[] = {"/tmp", "/run", "/var"};

}  // namespace

void enter(const std::string& network, const std::string& user) {
  // Both are opened by the rights of here.
  const int fd = open(network.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail(errno, "opening the network namespace");
  if (!user.empty()) enter_one(user, CLONE_NEWUSER, "entering the user namespace");
  const int error = setns(fd, CLONE_NEWNET) == 0 ? 0 : errno;
  close(fd);
  if (error != 0) fail(error, "entering the network namespace");
}

void leave_for_new() {
  constexpr int kKinds = CLONE_NEWNET | CLONE_NEWNS;
  if (unshare(kKinds) < 0) {
    if (errno != EPERM) fail(errno, "making a network namespace");
    leave_user_namespace();
    if (unshare(kKinds) < 0) fail(errno, "making a network namespace");
  }
  // What is mounted outside later is seen inside, and not the other way round.
  if (mount("", "/", nullptr, MS_REC | MS_SLAVE, nullptr) < 0 && errno != EACCES && errno != EPERM)
    fail(errno, "making the mounts private");
  raise_loopback();
}

int cover_resolv_conf(const std::string& text) {
  if (access("/etc/resolv.conf", F_OK) < 0) return errno;
  const char* folder = nullptr;
  for (const char* const candidate : kFolders) {
    if (mount("tmpfs", candidate, "tmpfs", MS_NOSUID | MS_NODEV, "size=64k,mode=755") == 0) {
      folder = candidate;
      break;
    }
  }
  if (folder == nullptr) return errno;
  const std::string file = std::string(folder) + "/resolv.conf";
  int error = 0;
  const int fd = open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0444);
  if (fd < 0 || write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      fchmod(fd, 0444) < 0)
    error = errno;
  if (fd >= 0) close(fd);
  if (error == 0 && mount(file.c_str(), "/etc/resolv.conf", nullptr, MS_BIND, nullptr) < 0) error = errno;
  for (const char* const path : kLookupSockets) {
    if (error == 0 && access(path, F_OK) == 0 && mount(file.c_str(), path, nullptr, MS_BIND, nullptr) < 0)
      error = errno;
  }
  if (umount2(folder, MNT_DETACH) < 0 && error == 0) error = errno;
  return error;
}

}  // namespace netproxy::helper
