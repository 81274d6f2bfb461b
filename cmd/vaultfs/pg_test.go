package main

import (
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"vaultfs/internal/testpg"
)

// TestPGScripts runs the scripts that need a PostgreSQL server; each talks to
// the same, over its socket.
func TestPGScripts(t *testing.T) {
	c := testpg.Start(t, "")
	testscript.Run(t, testscript.Params{
		Dir:      "testdata/pg",
		Deadline: time.Now().Add(3 * time.Minute),
		Setup: func(env *testscript.Env) error {
			for name, value := range map[string]string{
				"HOME": env.WorkDir, "VAULTFS_REPO": env.WorkDir + "/repo", "TZ": "UTC", "LC_ALL": "C", "GORACE": "atexit_sleep_ms=0",
				"PGHOST": c.Dir, "PGPORT": c.Port, "PGUSER": "postgres",
			} {
				env.Setenv(name, value)
			}
			env.Defer(func() { unmountBelow(t, env.WorkDir) })
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"status": runStatus},
	})
}
