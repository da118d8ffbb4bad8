// CoreDNS with the plugins that a cluster's DNS is made of, and no others: most of the rest are clients of clouds.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/ready"
)

// In the order in which a question passes through them, as in CoreDNS's plugin.cfg.
func init() {
	dnsserver.Directives = []string{"ready", "errors", "cache", "loadbalance", "kubernetes", "forward"}
}

func main() { coremain.Run() }
