// Package testpg gives tests PostgreSQL servers of their own: real ones, each
// with a directory and a port for itself, which are gone when the test ends.
package testpg

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A Cluster is a running server. Its superuser is postgres.
type Cluster struct {
	Dir      string // with the socket in it
	Port     string
	Password string // "" lets everybody in

	t      testing.TB
	bin    string
	server *syscall.Credential
}

// Start makes a cluster and starts it. With a password it asks everybody for one,
// by SCRAM. Options are lines of postgresql.conf.
func Start(t testing.TB, password string, options ...string) *Cluster {
	t.Helper()
	c := &Cluster{Password: password, Port: freePort(t), t: t, bin: binaries(t)}
	t.Cleanup(c.remove)
	c.start(options)
	return c
}

func (c *Cluster) start(options []string) {
	c.t.Helper()
	c.directory()
	args := []string{"-D", c.data(), "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-A", "trust"}
	if c.Password != "" {
		file := filepath.Join(c.Dir, "password")
		if err := os.WriteFile(file, []byte(c.Password+"\n"), 0o644); err != nil {
			c.t.Fatal(err)
		}
		args = append(args[:len(args)-1], "scram-sha-256", "--pwfile="+file)
	}
	c.run("initdb", args...)
	c.configure(append([]string{"unix_socket_directories = '" + c.Dir + "'", "port = " + c.Port, "listen_addresses = '127.0.0.1'",
		"fsync = off", "max_connections = 40", "shared_buffers = 64MB"}, options...)...)
	c.Up()
}

// directory makes a directory whose path is short, as that of a socket must be.
func (c *Cluster) directory() {
	c.t.Helper()
	var err error
	if c.Dir, err = os.MkdirTemp("/var/tmp", "vaultfs-pg-"); err != nil {
		c.t.Fatal(err)
	}
	c.become()
}

// remove ends the server and takes away all that is of it.
func (c *Cluster) remove() {
	if c.Dir != "" {
		_ = c.command("pg_ctl", "-D", c.data(), "-m", "immediate", "-w", "stop").Run()
		_ = os.RemoveAll(c.Dir)
	}
}

func (c *Cluster) data() string { return filepath.Join(c.Dir, "data") }

// become has the server run as somebody else than root, which it insists on.
func (c *Cluster) become() {
	if os.Getuid() != 0 {
		return
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		c.t.Fatalf("the tests run as root, and there is no user postgres for the server: %v", err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	c.server = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	if err := errors.Join(os.Chown(c.Dir, uid, gid), os.Chmod(c.Dir, 0o755)); err != nil {
		c.t.Fatal(err)
	}
}

// Up starts the server again.
func (c *Cluster) Up() {
	c.t.Helper()
	c.run("pg_ctl", "-D", c.data(), "-l", filepath.Join(c.Dir, "log"), "-w", "start")
}

// Down stops it without any care, as a crash does.
func (c *Cluster) Down() {
	c.t.Helper()
	c.run("pg_ctl", "-D", c.data(), "-m", "immediate", "-w", "stop")
}

// command prepares a program of PostgreSQL that runs as the server's user.
func (c *Cluster) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(c.bin, name), args...)
	cmd.Dir = c.Dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "PGHOST="+c.Dir, "PGPORT="+c.Port, "PGUSER=postgres", "PGPASSWORD="+c.Password)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.server}
	return cmd
}

func (c *Cluster) run(name string, args ...string) string {
	c.t.Helper()
	cmd := c.command(name, args...)
	out, err := os.CreateTemp("", "vaultfs-pg-") // a pipe would stay open in the server
	if err != nil {
		c.t.Fatal(err)
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	err = cmd.Run()
	said, readErr := os.ReadFile(out.Name())
	if err != nil || readErr != nil {
		log, _ := os.ReadFile(filepath.Join(c.Dir, "log"))
		c.t.Fatalf("%s %v: %v %v: %s\n%s", name, args, err, readErr, said, log[max(0, len(log)-2000):])
	}
	return string(said)
}

// SQL runs statements in a database as the superuser, and returns what they
// give, without alignment.
func (c *Cluster) SQL(database, sql string) string {
	c.t.Helper()
	return strings.TrimRight(c.run("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", sql, "-d", quoted(database)), "\n")
}

// Create makes a database of any name.
func (c *Cluster) Create(database string) {
	c.t.Helper()
	c.SQL("postgres", `CREATE DATABASE "`+strings.ReplaceAll(database, `"`, `""`)+`"`)
}

// Bench fills a database with pgbench's tables.
func (c *Cluster) Bench(database string, scale int) {
	c.t.Helper()
	c.run("pgbench", "-i", "-q", "-s", fmt.Sprint(scale), database)
}

// Dump returns what pg_dump writes.
func (c *Cluster) Dump(database string, args ...string) []byte {
	c.t.Helper()
	out, err := c.command("pg_dump", append(args, "-d", quoted(database))...).Output()
	if err != nil {
		c.t.Fatalf("pg_dump: %v", err)
	}
	return out
}

// Tables gives each table of a database with a checksum of its rows, in the order
// of their text.
func (c *Cluster) Tables(database string) []string {
	c.t.Helper()
	var sums []string
	for table := range strings.Lines(c.SQL(database, `SELECT oid::regclass FROM pg_class WHERE relkind = 'r' AND relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_' OR nspname = 'information_schema')`)) {
		table = strings.TrimSpace(table)
		if table != "" {
			sums = append(sums, table+" "+c.SQL(database, `SELECT count(*), md5(string_agg(t::text, E'\n' ORDER BY t::text)) FROM `+table+` t`))
		}
	}
	slices.Sort(sums)
	return sums
}

// quoted makes a connection string of a database's name.
func quoted(database string) string {
	return "dbname='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(database) + "'"
}

// binaries is where the newest server is installed.
func binaries(t testing.TB) string {
	t.Helper()
	for _, place := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin"} {
		if found, _ := filepath.Glob(place + "/initdb"); len(found) > 0 {
			return filepath.Dir(found[len(found)-1])
		}
	}
	t.Fatal("these tests need a PostgreSQL server: install postgresql")
	return ""
}

func freePort(t testing.TB) string {
	t.Helper()
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		return port
	}
	t.Fatal("no port is free")
	return ""
}

// Standby makes a server that follows c and cannot be written to.
func (c *Cluster) Standby() *Cluster {
	c.t.Helper()
	s := &Cluster{Password: c.Password, Port: freePort(c.t), t: c.t, bin: c.bin}
	c.t.Cleanup(s.remove)
	s.directory()
	c.run("pg_basebackup", "--checkpoint=fast", "--no-sync", "--write-recovery-conf", "-D", s.data())
	s.configure("unix_socket_directories = '"+s.Dir+"'", "port = "+s.Port)
	s.Up()
	return s
}

// configure adds lines to postgresql.conf.
func (c *Cluster) configure(lines ...string) {
	c.t.Helper()
	f, err := os.OpenFile(filepath.Join(c.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(strings.Join(lines, "\n") + "\n")
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// Dumpall returns what pg_dumpall writes.
func (c *Cluster) Dumpall(args ...string) string {
	c.t.Helper()
	out, err := c.command("pg_dumpall", args...).Output()
	if err != nil {
		c.t.Fatalf("pg_dumpall: %v", err)
	}
	return string(out)
}

// Hold runs statements in a session that stays open until release is called.
func (c *Cluster) Hold(database, sql string) (release func()) {
	c.t.Helper()
	cmd := c.command("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", quoted(database))
	in, err := cmd.StdinPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err == nil {
		_, err = fmt.Fprintf(in, "%s;\n\\echo held\n", sql)
	}
	said := ""
	if err == nil {
		_, err = fmt.Fscan(out, &said)
	}
	if err != nil || said != "held" {
		c.t.Fatalf("psql %q: %v", sql, err)
	}
	return func() { _ = in.Close(); _ = cmd.Wait() }
}
