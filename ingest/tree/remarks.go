package tree

import (
	"fmt"
	"strings"
	"sync"
)

// maxNamed is how many paths are named for one reason; the rest is counted.
const maxNamed = 100

// remarks gathers what a person should know of a walk.
type remarks struct {
	mu       sync.Mutex
	warnings []string // something is missing, or not as it was
	unread   int      // warnings, with those that are not named
	notes    []string
	gone     group
	caches   group
	excluded int
}

// A group is paths of which the same is to be said.
type group struct {
	paths []string
	count int
}

// groupNamed is how many paths of a group are named.
const groupNamed = 5

func (g *group) add(path string) {
	if g.count++; len(g.paths) < groupNamed {
		g.paths = append(g.paths, fmt.Sprintf("%q", path))
	}
}

// String names a few and counts the rest.
func (g *group) String() string {
	s := strings.Join(g.paths, ", ")
	if more := g.count - len(g.paths); more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}

// warn says that something is missing, or not as it was at any one moment.
func (r *remarks) warn(path, what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.unread++; r.unread <= maxNamed {
		r.warnings = append(r.warnings, fmt.Sprintf("%q %s", path, what))
	}
}

// note says what is as it was asked for, but may surprise.
func (r *remarks) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.notes) < maxNamed {
		r.notes = append(r.notes, fmt.Sprintf(format, args...))
	}
}

// vanished says that something was deleted before it was read.
func (r *remarks) vanished(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone.add(path)
}

// cache says that what is in a directory is left out as a cache.
func (r *remarks) cache(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.caches.add(path)
}

// exclude counts what a pattern leaves out.
func (r *remarks) exclude() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.excluded++
}

// all returns the warnings and the notes of a walk that has ended.
func (r *remarks) all() (warnings, notes []string) {
	warnings, notes = r.warnings, r.notes
	if more := r.unread - maxNamed; more > 0 {
		warnings = append(warnings, fmt.Sprintf("so it is with %d more, which are not named here", more))
	}
	if r.gone.count > 0 {
		notes = append(notes, "deleted while the tree was read, and left out: "+r.gone.String())
	}
	if r.caches.count > 0 {
		notes = append(notes, "caches, of which only the directory and its tag are kept: "+r.caches.String())
	}
	if r.excluded > 0 {
		notes = append(notes, fmt.Sprintf("left out, with what is below them, because patterns say so: %d", r.excluded))
	}
	return warnings, notes
}
