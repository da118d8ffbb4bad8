#include "process/privileges.h"

#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

namespace netproxy::process {

namespace {

using Sets = std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3>;

[[noreturn]] void fail(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

// glibc has no wrapper for these (capget(2)).
Sets get_sets() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  Sets sets{};
  if (syscall(SYS_capget, &header, sets.data()) < 0) fail("capget");
  return sets;
}

void put_sets(const Sets& sets) {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  if (syscall(SYS_capset, &header, sets.data()) < 0) fail("capset");
}

void become(const Identity& identity) {
  // Through glibc, which has every thread do the same (nptl(7)). The groups first: afterwards nobody may.
  const std::vector<gid_t> groups(identity.groups.begin(), identity.groups.end());
  if (setgroups(groups.size(), groups.data()) < 0) fail("setgroups");
  if (setresgid(identity.gid, identity.gid, identity.gid) < 0) fail("setresgid");
  // Permitted capabilities then outlive the change of user, in this thread alone.
  if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0) fail("PR_SET_KEEPCAPS");
  if (setresuid(identity.uid, identity.uid, identity.uid) < 0) fail("setresuid");
  prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
}

}  // namespace

void reduce_privileges(const std::vector<uint32_t>& capabilities, const Identity* identity) {
  const auto kept = [&](uint32_t capability) {
    return std::find(capabilities.begin(), capabilities.end(), capability) != capabilities.end();
  };
  // EINVAL is the end of what this kernel knows; EPERM, the lack of CAP_SETPCAP, leaves the set as it is.
  for (uint32_t capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
    if (!kept(capability)) prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  }
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) fail("PR_SET_NO_NEW_PRIVS");
  if (identity != nullptr) become(*identity);

  Sets sets = get_sets();
  for (uint32_t word = 0; word < sets.size(); ++word) {
    uint32_t mask = 0;
    for (uint32_t bit = 0; bit < 32; ++bit) {
      if (kept(word * 32 + bit)) mask |= 1U << bit;
    }
    sets[word].permitted &= mask;
    sets[word].effective = sets[word].permitted;
    sets[word].inheritable = sets[word].permitted;
  }
  put_sets(sets);
  // Kernels before 4.3 have no ambient set, and then only uid 0 hands capabilities to what it starts.
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0) return;
  for (const uint32_t capability : capabilities) {
    if (capability / 32 >= sets.size()) continue;
    if ((sets[capability / 32].permitted >> (capability % 32) & 1U) == 0) continue;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) < 0) fail("PR_CAP_AMBIENT_RAISE");
  }
}

}  // namespace netproxy::process
