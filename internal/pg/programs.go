package pg

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A Version is a version of PostgreSQL as its server_version_num has it: 15.18 is
// 150018, 9.6.24 is 90624.
type Version int

// Major is the release that programs and servers are matched by: 150000, 90600.
func (v Version) Major() Version {
	if v >= 100000 {
		return v / 10000 * 10000
	}
	return v / 100 * 100
}

// Release is the name of the major version: "15", "9.6".
func (v Version) Release() string {
	if v >= 100000 {
		return strconv.Itoa(int(v) / 10000)
	}
	return fmt.Sprintf("%d.%d", v/10000, v/100%100)
}

func (v Version) String() string {
	if v >= 100000 {
		return fmt.Sprintf("%d.%d", v/10000, v%10000)
	}
	return fmt.Sprintf("%d.%d.%d", v/10000, v/100%100, v%100)
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)(?:\.(\d+))?(?:\.(\d+))?`)

// ParseVersion reads what a program prints for --version. One of a version to
// come, "16beta1", counts as its first.
func ParseVersion(printed string) (Version, bool) {
	m := versionPattern.FindStringSubmatch(printed)
	if m == nil {
		return 0, false
	}
	var n [3]int
	for i, s := range m[1:] {
		n[i], _ = strconv.Atoi(s)
	}
	if n[0] >= 10 {
		return Version(n[0]*10000 + n[1]), true
	}
	return Version(n[0]*10000 + n[1]*100 + n[2]), true
}

// places are where packages of Debian and of the PostgreSQL project put the
// programs of one major version.
var places = []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin"}

// Programs are PostgreSQL's client programs of one version.
type Programs struct {
	dir     string
	Version Version
	Printed string // "pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"
}

// Path is where a program of that name is.
func (p *Programs) Path(name string) string { return filepath.Join(p.dir, name) }

// ErrNoProgram says that a program of PostgreSQL is not installed.
var ErrNoProgram = errors.New("was not found")

// Find returns programs that fit a server: those of its own major version, or
// else of the next newer one, because what a newer pg_dump writes an older server
// may not take back. They are looked for in bindir alone if that is given, and
// otherwise where packages put them and in PATH.
func Find(ctx context.Context, bindir string, server Version) (*Programs, error) {
	all, err := programs(ctx, bindir)
	if err != nil {
		return nil, err
	}
	var best, latest *Programs
	for _, p := range all {
		if latest == nil || p.Version > latest.Version {
			latest = p
		}
		if p.Version.Major() >= server.Major() && (best == nil || p.Version.Major() < best.Version.Major()) {
			best = p
		}
	}
	if best == nil {
		return nil, fmt.Errorf("%s is of version %s and cannot dump a server of version %s, which is newer: install postgresql-client-%s (from apt.postgresql.org if the distribution does not have it), or say with --pg-bindir where a newer one is",
			latest.Path("pg_dump"), latest.Version, server, server.Release())
	}
	return best, nil
}

// Newest returns the newest programs that are installed, for what has been
// dumped already: they read all that older ones write.
func Newest(ctx context.Context, bindir string) (*Programs, error) {
	all, err := programs(ctx, bindir)
	if err != nil {
		return nil, err
	}
	return slices.MaxFunc(all, func(a, b *Programs) int { return int(a.Version - b.Version) }), nil
}

// programs lists what is installed.
func programs(ctx context.Context, bindir string) (all []*Programs, err error) {
	for _, dir := range directories(bindir) {
		path := filepath.Join(dir, "pg_dump")
		out, err := exec.CommandContext(ctx, path, "--version").Output()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		v, ok := ParseVersion(string(out))
		if err != nil || !ok {
			continue
		}
		all = append(all, &Programs{dir, v, strings.TrimSpace(string(out))})
	}
	if len(all) > 0 {
		return all, nil
	}
	if bindir != "" {
		return nil, fmt.Errorf("pg_dump %w in %s, or cannot be run there: check --pg-bindir", ErrNoProgram, bindir)
	}
	return nil, fmt.Errorf("pg_dump %w: install postgresql-client, or say with --pg-bindir where it is", ErrNoProgram)
}

// directories are those that hold a pg_dump. Debian's wrapper in PATH, which
// chooses by its own rules, is passed over where it has something to choose from.
func directories(bindir string) []string {
	if bindir != "" {
		return []string{bindir}
	}
	var dirs []string
	for _, place := range places {
		found, _ := filepath.Glob(place + "/pg_dump")
		for _, f := range found {
			dirs = append(dirs, filepath.Dir(f))
		}
	}
	if path, err := exec.LookPath("pg_dump"); err == nil {
		real, err := filepath.EvalSymlinks(path)
		if err == nil && filepath.Base(real) == "pg_wrapper" && len(dirs) > 0 {
			return dirs
		}
		dirs = slices.Insert(dirs, 0, filepath.Dir(path))
	}
	return dirs
}

// findPsql returns a psql for the first contact, when the server's version is
// not known yet: any will do.
func findPsql(bindir string) (string, error) {
	if bindir != "" {
		path := filepath.Join(bindir, "psql")
		if _, err := exec.LookPath(path); err != nil {
			return "", fmt.Errorf("psql %w in %s: check --pg-bindir", ErrNoProgram, bindir)
		}
		return path, nil
	}
	if path, err := exec.LookPath("psql"); err == nil {
		return path, nil
	}
	for _, place := range places {
		if found, _ := filepath.Glob(place + "/psql"); len(found) > 0 {
			return found[len(found)-1], nil
		}
	}
	return "", fmt.Errorf("psql %w: install postgresql-client, or say with --pg-bindir where it is", ErrNoProgram)
}
