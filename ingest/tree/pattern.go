package tree

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
)

// Patterns say what is left out of a tree, in the manner of gitignore(5):
//
//   - A pattern without a slash matches a name at any depth: "*.tmp".
//   - One with a slash matches the path from the directory that is backed up:
//     "var/cache", "/var/cache" and "/swapfile". It is no path of the host.
//   - "*", "?" and "[a-z]", "[!a-z]" match within a name, "**" any number of
//     names: "home/**/.cache", "logs/**".
//   - A slash at the end makes it match directories only: "build/".
//   - "!" before it takes in again what an earlier pattern left out; the last
//     pattern that matches decides.
//   - "\" takes the meaning from the character behind it.
//
// A directory that is left out is not looked into: nothing below it can be taken
// in again. Bytes are compared, with regard to case.
type Patterns struct {
	list  []pattern
	paths bool // one of them needs more than the name
}

type pattern struct {
	names    []string // of which a path consists, "**" among them
	anywhere bool     // one name, at any depth
	dirs     bool     // directories only
	include  bool     // takes in again
}

// ErrPattern says that a pattern makes no sense.
var ErrPattern = errors.New("is no pattern")

// Add adds a pattern behind the others.
func (p *Patterns) Add(text string) error {
	one, rest := pattern{}, text
	rest, one.include = strings.CutPrefix(rest, "!")
	rest, one.dirs = strings.CutSuffix(rest, "/")
	one.anywhere = !strings.Contains(rest, "/")
	rest = strings.TrimPrefix(rest, "/")
	rest = strings.ReplaceAll(rest, "[!", "[^") // as path.Match has it
	one.names = strings.Split(rest, "/")
	for _, name := range one.names {
		if name == "" || name == "." || name == ".." {
			return fmt.Errorf("%q %w: one of its names is %q", text, ErrPattern, name)
		}
		if _, err := path.Match(name, ""); err != nil {
			return fmt.Errorf("%q %w: a bracket or a backslash is not complete", text, ErrPattern)
		}
	}
	if one.anywhere && rest == "**" {
		one.anywhere = false
	}
	p.list = append(p.list, one)
	p.paths = p.paths || !one.anywhere
	return nil
}

// AddFile adds the patterns of a file, one a line. Empty lines and lines that
// begin with "#" are none; "\#" begins a pattern with "#", and spaces at the
// end belong to it only behind a backslash.
func (p *Patterns) AddFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if n == 1 {
			line = strings.TrimPrefix(line, "\ufeff") // what editors of Windows write first
		}
		if short := strings.TrimRight(line, " \t"); !strings.HasSuffix(short, `\`) {
			line = short
		}
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := p.Add(line); err != nil {
			return fmt.Errorf("%s, line %d: %w", name, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// empty tells that nothing is left out.
func (p *Patterns) empty() bool { return p == nil || len(p.list) == 0 }

// match tells whether something is left out: its name, the path to it from the
// root, which is asked for only if a pattern needs it, and whether it is a
// directory.
func (p *Patterns) match(name string, full func() string, dir bool) bool {
	if p.empty() {
		return false
	}
	var names []string
	if p.paths {
		names = strings.Split(full(), "/")
	}
	for i := len(p.list) - 1; i >= 0; i-- {
		one := &p.list[i]
		if one.dirs && !dir {
			continue
		}
		if one.anywhere && matchName(one.names[0], name) || !one.anywhere && matchNames(one.names, names) {
			return !one.include
		}
	}
	return false
}

func matchName(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

// matchNames matches a path, "**" standing for any number of names. At the end
// it stands for one at least: what is below, not the directory itself. It goes
// back to the last "**" only, so that its time is at most the product of the
// lengths.
func matchNames(pattern, names []string) bool {
	p, n, retry, tried := 0, 0, -1, 0
	for n < len(names) {
		switch {
		case p < len(pattern) && pattern[p] == "**":
			if p == len(pattern)-1 {
				return true
			}
			p, retry, tried = p+1, p, n
		case p < len(pattern) && matchName(pattern[p], names[n]):
			p, n = p+1, n+1
		case retry >= 0:
			tried++
			p, n = retry+1, tried
		default:
			return false
		}
	}
	return p == len(pattern)
}
