package nbd

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// defaultPort is NBD's port at IANA.
const defaultPort = "10809"

// ParseURI takes an NBD URI apart: nbd://host[:port]/export or nbd+unix:///export?socket=/path, as in
// https://github.com/NetworkBlockDevice/nbd/blob/master/doc/uri.md. The network is "tcp" or "unix".
func ParseURI(uri string) (network, addr, export string, err error) {
	u, err := url.Parse(uri)
	if err != nil {
		return "", "", "", fmt.Errorf("nbd URI: %w", err)
	}
	if u.User != nil || u.Opaque != "" {
		return "", "", "", fmt.Errorf("nbd URI %q: want nbd://host:port/export or nbd+unix:///export?socket=/path", uri)
	}
	export = strings.TrimPrefix(u.Path, "/")
	switch u.Scheme {
	case "nbd":
		if u.Hostname() == "" {
			return "", "", "", fmt.Errorf("nbd URI %q: no host", uri)
		}
		port := u.Port()
		if port == "" {
			port = defaultPort
		}
		return "tcp", net.JoinHostPort(u.Hostname(), port), export, nil
	case "nbd+unix":
		socket := u.Query().Get("socket")
		if socket == "" {
			return "", "", "", fmt.Errorf("nbd URI %q: no socket=PATH", uri)
		}
		if u.Host != "" {
			return "", "", "", fmt.Errorf("nbd URI %q: a unix socket has no host", uri)
		}
		return "unix", socket, export, nil
	}
	return "", "", "", fmt.Errorf("nbd URI %q: scheme %q is not nbd or nbd+unix", uri, u.Scheme)
}
