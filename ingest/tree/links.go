package tree

import (
	"sync"

	"vaultfs/repo"
)

// links are the files with several names. Each is read once.
type links struct {
	mu      sync.Mutex
	read    map[inode]linked
	reading map[inode][]*job // and who waits for it
}

// An inode is a file, whatever its names.
type inode struct {
	device uint32
	number uint64
}

// linked is what was read of a file, and the state that it was in. Another name
// that shows another state is read on its own: the file has changed since, or
// the file system gives one number to several files.
type linked struct {
	content      repo.Content
	size         int64
	mtime, ctime repo.Timestamp
}

func linkedBy(e *repo.Entry, c repo.Content) linked {
	return linked{c, e.Content.Size, e.Mtime, e.Ctime}
}

// of tells whether an entry shows the state that was read.
func (l linked) of(e *repo.Entry) bool { return l == linkedBy(e, l.content) }

func newLinks() *links {
	return &links{read: map[inode]linked{}, reading: map[inode][]*job{}}
}

// claim tells what is to be done for a name of a file: its content is known; or
// the caller is to read it; or neither, and settle hands the job out again.
func (l *links) claim(j *job) (c repo.Content, known, first bool) {
	key := j.key
	l.mu.Lock()
	defer l.mu.Unlock()
	if have, read := l.read[key]; read && have.of(j.slot.entry) {
		return have.content, true, false
	}
	others, reading := l.reading[key]
	if !reading {
		l.reading[key] = nil
		return c, false, true
	}
	l.reading[key] = append(others, j)
	return c, false, false
}

// settle says what became of a file that was claimed, and returns those that
// have waited for it. If it could not be read, that is one: the next to try.
func (l *links) settle(j *job, c repo.Content, ok bool) (waiting []*job) {
	key := j.key
	l.mu.Lock()
	defer l.mu.Unlock()
	waiting = l.reading[key]
	switch {
	case ok:
		l.read[key] = linkedBy(j.slot.entry, c)
		delete(l.reading, key)
	case len(waiting) == 0:
		delete(l.reading, key)
	default:
		l.reading[key], waiting = waiting[1:], waiting[:1]
	}
	return waiting
}
