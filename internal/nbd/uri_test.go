package nbd

import "testing"

func TestParseURI(t *testing.T) {
	for _, c := range []struct{ uri, network, addr, export string }{
		{"nbd://host", "tcp", "host:10809", ""},
		{"nbd://host/", "tcp", "host:10809", ""},
		{"nbd://host:99/disk", "tcp", "host:99", "disk"},
		{"nbd://[::1]:99/a%20b", "tcp", "[::1]:99", "a b"},
		{"nbd://host//abs", "tcp", "host:10809", "/abs"},
		{"nbd+unix:///?socket=/run/a,b%20c", "unix", "/run/a,b c", ""},
		{"nbd+unix:///vda?socket=/run/s", "unix", "/run/s", "vda"},
	} {
		network, addr, export, err := ParseURI(c.uri)
		if err != nil || network != c.network || addr != c.addr || export != c.export {
			t.Errorf("%s: %q %q %q %v", c.uri, network, addr, export, err)
		}
	}
	for _, bad := range []string{
		"", "host", "http://host/", "nbds://host/", "nbd:///x", "nbd:host:1", "nbd+unix:///x", "nbd+unix://host/x?socket=/s",
		"nbd://user@host/", "nbd://host:port/", "nbd://%zz",
	} {
		if _, _, _, err := ParseURI(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
