// The namespaces that a helper lives in.
#pragma once

#include <string>

namespace netproxy::helper {

// Enters the network namespace at `network`, and first the user namespace at `user` unless that is empty.
// Throws std::system_error whose what() names the step.
void enter(const std::string& network, const std::string& user);

// Moves into a network namespace of its own, which has nothing but a loopback that is up, and a mount
// namespace of its own; where that takes rights that the process does not have, into a user namespace too, in
// which it is the same user. Throws std::system_error.
void leave_for_new();

// Puts `text` in the place of /etc/resolv.conf for this mount namespace, and cuts the sockets of programs
// that look names up elsewhere. Gives errno, or 0.
int cover_resolv_conf(const std::string& text);

}  // namespace netproxy::helper
