package testpg

import (
	"os"
	"strings"
	"testing"
)

// shared is the server of all tests of a package that do not need one of their
// own.
var shared *Cluster

// Main is a package's TestMain, if its tests use Shared.
func Main(m *testing.M) {
	status := m.Run()
	if shared != nil {
		shared.remove()
	}
	os.Exit(status)
}

// Shared returns a server without a password that other tests use too, one after
// the other. The databases that a test makes are dropped at its end; roles and
// settings must not be made in it, nor the server be stopped.
func Shared(t testing.TB) *Cluster {
	t.Helper()
	if shared == nil {
		c := &Cluster{Port: freePort(t), t: t, bin: binaries(t)}
		defer func() {
			if shared == nil { // the test failed
				c.remove()
			}
		}()
		c.start(nil)
		shared = c
	}
	shared.t = t
	t.Cleanup(shared.empty)
	return shared
}

// empty drops all databases that somebody made.
func (c *Cluster) empty() {
	for name := range strings.Lines(c.SQL("postgres", "SELECT quote_ident(datname) FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'")) {
		c.SQL("postgres", "DROP DATABASE "+strings.TrimSpace(name)+" WITH (FORCE)")
	}
}
