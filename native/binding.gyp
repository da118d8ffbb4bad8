{
  "targets": [
    {
      "target_name": "netproxy",
      "sources": [
        "addon.cc",
        "bindings/cipher.cc",
        "bindings/engine.cc",
        "bindings/link.cc",
        "bindings/owner.cc",
        "bindings/process.cc",
        "bindings/system.cc",
        "bindings/watch.cc",
        "engine/datagrams.cc",
        "engine/engine.cc",
        "engine/read.cc",
        "netlink/diag.cc",
        "netlink/watch.cc",
        "packet/datagram.cc",
        "packet/ip.cc",
        "packet/out.cc",
        "packet/reassembly.cc",
        "packet/tcp.cc",
        "process/filter.cc",
        "process/holder.cc",
        "process/memory.cc",
        "process/privileges.cc",
        "socket/make.cc",
        "socket/socket.cc",
        "ssh/chacha.cc",
        "ssh/cipher.cc",
        "ssh/credit.cc",
        "ssh/gcm.cc",
        "ssh/link.cc",
        "ssh/opener.cc",
        "ssh/receive.cc",
        "ssh/sealer.cc",
        "ssh/send.cc",
        "tcp/input.cc",
        "tcp/isn.cc",
        "tcp/output.cc",
        "tcp/receive_queue.cc",
        "tcp/send_queue.cc",
        "tcp/stack.cc",
        "tcp/timers.cc",
        "tun/tun.cc"
      ],
      "include_dirs": [
        ".",
        "<!(node -p \"require('node-addon-api').include_dir\")"
      ],
      "defines": [
        "NAPI_VERSION=9",
        "NAPI_CPP_EXCEPTIONS",
        "NODE_ADDON_API_DISABLE_DEPRECATED"
      ],
      "cflags_cc!": ["-fno-exceptions", "-fno-rtti"],
      "cflags_cc": [
        "-std=c++20",
        "-fexceptions",
        "-D_GNU_SOURCE",
        "-fvisibility=hidden",
        "-O2",
        "-Wall",
        "-Wextra"
      ]
    },
    {
      "target_name": "health",
      "type": "executable",
      "sources": ["health/health.c"],
      "cflags": ["-Os", "-Wall", "-Wextra"]
    },
    {
      "target_name": "netns-helper",
      "type": "executable",
      "sources": [
        "helper/commands.cc",
        "helper/descriptors.cc",
        "helper/main.cc",
        "helper/namespaces.cc",
        "socket/make.cc",
        "tun/tun.cc"
      ],
      "include_dirs": ["."],
      "cflags_cc!": ["-fno-exceptions", "-fno-rtti"],
      "cflags_cc": ["-std=c++20", "-fexceptions", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra"]
    },
    {
      "target_name": "anchor",
      "type": "executable",
      "sources": ["anchor/anchor.c"],
      "cflags": ["-Os", "-Wall", "-Wextra"]
    }
  ]
}
