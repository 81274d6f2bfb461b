package tree

import (
	"testing"

	"vaultfs/repo"
)

// What was read of a file is that of its other names only as long as they show
// the state in which it was read.
func TestNamesOfAFileInAnotherState(t *testing.T) {
	named := func(change func(*repo.Entry)) *job {
		e := &repo.Entry{Mode: 0o100644, Inode: 5, Links: 3, Mtime: repo.Timestamp{Sec: 1}, Ctime: repo.Timestamp{Sec: 2}, Content: repo.Content{Size: 3}}
		change(e)
		return &job{slot: &slot{entry: e}, key: inode{0, 5}}
	}
	l, content := newLinks(), repo.Content{Kind: 1, Size: 3}
	first := named(func(*repo.Entry) {})
	if _, known, reads := l.claim(first); known || !reads {
		t.Fatal("the first name is not read")
	}
	l.settle(first, content, true)
	if c, known, _ := l.claim(named(func(*repo.Entry) {})); !known || c != content {
		t.Error("a second name in the same state is read again")
	}
	for what, change := range map[string]func(*repo.Entry){
		"size": func(e *repo.Entry) { e.Content.Size++ }, "mtime": func(e *repo.Entry) { e.Mtime.Nsec++ }, "ctime": func(e *repo.Entry) { e.Ctime.Nsec++ },
	} {
		j := named(change)
		if _, known, reads := l.claim(j); known || !reads {
			t.Errorf("a name with another %s gets what was read before", what)
		}
		l.settle(j, content, false)
	}
}
