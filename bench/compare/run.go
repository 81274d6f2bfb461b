package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vaultfs/bench"
	"vaultfs/bench/data"
	"vaultfs/bench/peers"
	"vaultfs/bench/report"
)

// A part is a group of rows that are measured together.
type part struct {
	name string
	fn   func(*run, context.Context) error
}

var parts = []part{{"guests", (*run).guests}, {"large", (*run).large}, {"tree", (*run).tree}, {"dump", (*run).dump}}

func partNames() (names []string) {
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

func known(name string) bool { return slices.Contains(partNames(), name) }

// A run is one run of the benchmark.
type run struct {
	options options
	work    string // what is below it is removed at the end
	maker   data.Maker
	peers   []*peer
	res     *report.Results
}

// A peer is a program that takes part.
type peer struct {
	peers.Peer
	once     bool // measured in the first round only
	main     bool // takes part in all rows
	optional bool // its failure ends its part in the run, not the run
	failed   bool
}

// needed are programs beside the peers.
var needed = []string{"qemu-img", "qemu-nbd", "qemu-io", "qemu-system-x86_64", "cmp", "cp", "rsync"}

func measure(ctx context.Context, o options) (err error) {
	r := &run{options: o, res: &report.Results{Began: time.Now(), Rounds: o.rounds}}
	r.res.Slow = r.few()
	if os.Getuid() != 0 {
		return errors.New("must run as root: it mounts, and empties the page cache")
	}
	peers.Forget()
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	if r.work, err = os.MkdirTemp(o.dir, "run-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.work)) }()
	r.maker = data.Maker{Dir: o.dir, Tell: func(s string) { r.tell("%s", s) }}
	if err := r.findPrograms(ctx); err != nil {
		return err
	}
	if r.res.Machine, err = machine(o.dir); err != nil {
		return err
	}
	if err := r.checkSpace(); err != nil {
		return err
	}
	if err := r.prepare(ctx); err != nil {
		return err
	}
	for _, p := range parts {
		if o.measures(p.name) {
			if err := p.fn(r, ctx); err != nil {
				return err
			}
		}
	}
	r.res.Took = time.Since(r.res.Began).Seconds()
	if err := r.res.Save(filepath.Join(o.out, resultsFile)); err != nil {
		return err
	}
	r.tell("writing %s", filepath.Join(o.out, "RESULTS.md"))
	return write(r.res, o.out)
}

func (r *run) tell(format string, args ...any) {
	fmt.Printf("%s %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

func (r *run) remark(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	r.tell("%s", line)
	if !slices.Contains(r.res.Remarks, line) {
		r.res.Remarks = append(r.res.Remarks, line)
	}
}

// findPrograms finds the peers and their versions.
func (r *run) findPrograms(ctx context.Context) error {
	for _, name := range needed {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("%s is missing: `make bench` installs what is needed", name)
		}
	}
	for _, p := range []*peer{
		{Peer: peers.VaultfsNoVerify(r.options.vaultfs)},
		{Peer: peers.Vaultfs(r.options.vaultfs), main: true},
		{Peer: peers.Restic("restic"), main: true},
		{Peer: peers.Borg("borg"), main: true},
		{Peer: peers.BorgFixed("borg")},
		{Peer: peers.BorgZstd("borg"), once: true},
		{Peer: peers.Kopia("kopia"), main: true, optional: true},
	} {
		version, err := p.Version(ctx)
		if errors.Is(err, exec.ErrNotFound) {
			r.remark("%s is not installed, and was not measured", p.Name())
			continue
		}
		if err != nil {
			return err
		}
		r.peers = append(r.peers, p)
		r.res.Tools = append(r.res.Tools, report.Tool{Name: p.Name(), Version: version})
	}
	return nil
}

// few is the rounds of the large disk, the tree, the dumps and the boots.
func (r *run) few() int { return min(r.options.rounds, r.options.slow) }

// use is told what is backed up.
func (r *run) use(items ...data.Item) {
	for _, it := range items {
		r.res.Data = append(r.res.Data, report.Item{Name: it.Name, About: it.About, Bytes: it.Bytes})
	}
}

// turn is the peers of a round: each round another begins.
func (r *run) turn(round int, want func(*peer) bool) []*peer {
	var list []*peer
	for _, p := range r.peers {
		if want(p) && !p.failed && (!p.once || round == 1) {
			list = append(list, p)
		}
	}
	if len(list) == 0 {
		return nil
	}
	at := (round - 1) % len(list)
	return slices.Concat(list[at:], list[:at])
}

func everyone(*peer) bool   { return true }
func mainOnes(p *peer) bool { return p.main }

// create gives each peer of a round a new repository.
func (r *run) create(ctx context.Context, list []*peer) error {
	for _, p := range list {
		dir := r.repository(p)
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		p.Peer = p.At(dir)
		if err := r.pass(p, p.Create(ctx)); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) repository(p *peer) string {
	return filepath.Join(r.work, strings.Map(func(c rune) rune {
		if c < 'a' || c > 'z' {
			return '-'
		}
		return c
	}, p.Name()))
}

// remove takes the repositories of peers away.
func (r *run) remove(want func(*peer) bool) error {
	for _, p := range r.peers {
		if want(p) {
			if err := os.RemoveAll(r.repository(p)); err != nil {
				return err
			}
		}
	}
	return nil
}

// pass lets the error of a peer pass that need not be there, with a remark.
func (r *run) pass(p *peer, err error) error {
	if err == nil || !p.optional {
		return err
	}
	p.failed = true
	r.remark("%s failed, and was not measured further: %s", p.Name(), firstLine(err))
	return nil
}

func firstLine(err error) string {
	first, _, _ := strings.Cut(err.Error(), "\n")
	return first
}

// backUp measures a row: each of the peers backs the source up.
func (r *run) backUp(ctx context.Context, row string, round int, list []*peer, s peers.Source, size int64) error {
	for _, p := range list {
		if p.failed {
			continue
		}
		before, err := bench.DiskUsage(p.Repo())
		if err != nil {
			return err
		}
		// What the one before wrote may have driven the source out of memory.
		if err := warmAll(s.Path); err != nil {
			return err
		}
		bench.Settle()
		u, err := p.Backup(ctx, s)
		if err != nil {
			if err := r.pass(p, err); err != nil {
				return err
			}
			continue
		}
		after, err := bench.DiskUsage(p.Repo())
		if err != nil {
			return err
		}
		r.add(report.Sample{Row: row, Tool: p.Name(), Round: round, Bytes: size, Stored: after, Grown: after - before}, u)
	}
	return nil
}

// add keeps and tells what was measured.
func (r *run) add(s report.Sample, u bench.Usage) {
	s.Wall, s.CPU, s.Peak = u.Wall.Seconds(), u.CPU.Seconds(), u.Peak
	r.res.Add(s)
	r.tell("%-16s round %d  %-20s %8.3f s  %7.2f s CPU  %5.0f MB", s.Row, s.Round, s.Tool, s.Wall, s.CPU, float64(s.Peak)/1e6)
}

// step measures what this program does by itself.
func (r *run) step(ctx context.Context, row, tool string, round int, size int64, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	bench.Settle()
	u, err := bench.Run(ctx, nil, self, append([]string{"-step"}, args...)...)
	if err != nil {
		return err
	}
	r.add(report.Sample{Row: row, Tool: tool, Round: round, Bytes: size}, u)
	return nil
}

// warm reads files, so that they are in the page cache.
func warm(paths ...string) error {
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, f)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// touch gives a file the present as its mtime.
func touch(path string) error {
	now := time.Now()
	return os.Chtimes(path, now, now)
}
