package data

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// Dumps makes two dumps of a database of pgbench: one of today, and one of
// tomorrow, when a share of the accounts has changed. They are in pg_dump's
// custom format and not compressed, for programs that deduplicate.
func (m Maker) Dumps(ctx context.Context, scale int) (dumps [2]Item, err error) {
	dir, err := m.make(fmt.Sprintf("dumps-%d", scale), func(temp string) error { return makeDumps(ctx, temp, scale) })
	if err != nil {
		return dumps, err
	}
	if dumps[0], err = item("dump", filepath.Join(dir, "day1.dump"), fmt.Sprintf("pgbench at scale %d, pg_dump -Fc -Z0", scale)); err != nil {
		return dumps, err
	}
	dumps[1], err = item("dump, next day", filepath.Join(dir, "day2.dump"), fmt.Sprintf("the same after %d transactions", transactions(scale)))
	return dumps, err
}

// transactions change about 2 % of the accounts.
func transactions(scale int) int { return scale * 2000 }

// A cluster is a server of PostgreSQL for a moment, run by the user postgres, for
// it refuses root.
type cluster struct{ bin, dir string }

func makeDumps(ctx context.Context, out string, scale int) (err error) {
	c := cluster{}
	if c.bin, err = binaries(); err != nil {
		return err
	}
	// A socket's path is to be short.
	if c.dir, err = os.MkdirTemp("/var/tmp", "vaultfs-bench-pg-"); err != nil {
		return err
	}
	defer os.RemoveAll(c.dir)
	if err := errors.Join(os.MkdirAll(out, 0o755), run(ctx, "chown", "postgres", c.dir)); err != nil {
		return err
	}
	if err := c.run(ctx, "initdb", "-D", c.dir+"/data", "-A", "trust", "--no-sync", "--locale=C.UTF-8"); err != nil {
		return err
	}
	settings := "-c fsync=off -c max_wal_size=4GB -c listen_addresses= -c unix_socket_directories=" + c.dir
	err = c.run(ctx, "pg_ctl", "-D", c.dir+"/data", "-w", "-l", c.dir+"/log", "-o", settings, "start")
	started := err == nil
	if started {
		err = c.fill(ctx, out, scale)
	}
	// A start that broke off may have left a server, too.
	if stop := c.run(context.WithoutCancel(ctx), "pg_ctl", "-D", c.dir+"/data", "-m", "immediate", "-w", "stop"); started {
		err = errors.Join(err, stop)
	}
	return err
}

func (c cluster) fill(ctx context.Context, out string, scale int) error {
	for _, step := range [][]string{
		{"pgbench", "-h", c.dir, "-q", "-i", "-s", strconv.Itoa(scale), "postgres"},
		{"pg_dump", "-h", c.dir, "-Fc", "-Z0", "-f", c.dir + "/day1.dump", "postgres"},
		{"pgbench", "-h", c.dir, "-n", "-c", "2", "-t", strconv.Itoa(transactions(scale) / 2), "postgres"},
		{"pg_dump", "-h", c.dir, "-Fc", "-Z0", "-f", c.dir + "/day2.dump", "postgres"},
	} {
		if err := c.run(ctx, step[0], step[1:]...); err != nil {
			return err
		}
	}
	return run(ctx, "mv", c.dir+"/day1.dump", c.dir+"/day2.dump", out)
}

// run runs a program of PostgreSQL as its user.
func (c cluster) run(ctx context.Context, program string, args ...string) error {
	return run(ctx, "runuser", append([]string{"-u", "postgres", "--", filepath.Join(c.bin, program)}, args...)...)
}

// binaries is where Debian puts the newest PostgreSQL.
func binaries() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	best, version := "", 0
	for _, f := range found {
		dir := filepath.Dir(f)
		if v, err := strconv.Atoi(filepath.Base(filepath.Dir(dir))); err == nil && v > version {
			best, version = dir, v
		}
	}
	if best == "" {
		return "", errors.New("PostgreSQL is not installed: apt-get install postgresql")
	}
	return best, nil
}
