package postgres

import (
	"fmt"
	"net"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"vaultfs/ingest"
)

// defaultPort goes without saying.
const defaultPort = "5432"

// sourceName is the name of the source of a database of a server: pg/HOST/DB,
// with the port after HOST if it is not the usual one. A server on this machine is
// called by the machine's name.
func sourceName(host, port, database string) string {
	host = place(host)
	if port != "" && port != defaultPort {
		host = net.JoinHostPort(host, port)
	}
	return Kind + "/" + component(host) + "/" + component(database)
}

// place is the name of a host.
func place(host string) string {
	ip := net.ParseIP(host)
	local := host == "" || host == "localhost" || strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || ip != nil && ip.IsLoopback()
	if local {
		if name, err := os.Hostname(); err == nil && name != "" {
			return name
		}
		return "localhost"
	}
	return host
}

// component makes a part of a source's name, or of an item's, out of a name that
// may hold anything: what has a meaning there is percent-escaped.
func component(s string) string {
	if s == "." || s == ".." {
		return strings.ReplaceAll(s, ".", "%2E")
	}
	var b strings.Builder
	for i, r := range s {
		size := utf8.RuneLen(r)
		if r == utf8.RuneError {
			_, size = utf8.DecodeRuneInString(s[i:])
		}
		part := s[i : i+size]
		if unicode.IsPrint(r) && part != "/" && part != "@" && part != "%" && !(r == utf8.RuneError && size == 1) {
			b.WriteString(part)
			continue
		}
		for _, c := range []byte(part) {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// unfit says why a name that a person gave is none for a source; "" when it is.
func unfit(name string) string {
	for part := range strings.SplitSeq(name, "/") {
		if strings.TrimSpace(part) == "" || part == "." || part == ".." {
			return "is empty, or a part of it is"
		}
	}
	return ingest.Unfit(name)
}
