package tree

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"vaultfs/repo"
)

// A walk stores one directory, with all below it, as a tree of a session.
type walk struct {
	session  *repo.Session
	o        *Options
	base     string // the directory's path, for messages
	device   uint64 // of the file system it lies on
	previous *previous
	leave    []inodeNumber // directories that are not looked into
	devices  devices
	window   chan struct{}
	jobs     chan *job
	links    *links
	remarks  *remarks
	counts   counts
	expected expected

	// Of the goroutine that walks.
	lister     *lister
	attributes *attributes
}

// An inodeNumber is what tells one directory of the host from all others.
type inodeNumber struct{ device, inode uint64 }

// devices numbers file systems in the order in which they are met.
type devices struct {
	mu      sync.Mutex
	numbers map[uint64]uint32
}

func (d *devices) number(device uint64) uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.numbers[device]
	if !ok {
		n = uint32(len(d.numbers))
		d.numbers[device] = n
	}
	return n
}

func newWalk(s *repo.Session, o *Options, base string, root *unix.Stat_t) *walk {
	return &walk{
		session: s, o: o, base: base, device: root.Dev, devices: devices{numbers: map[uint64]uint32{}},
		window: make(chan struct{}, window), jobs: make(chan *job, jobsAhead), links: newLinks(), remarks: new(remarks),
		lister: newLister(), attributes: newAttributes(s.NewFileWriter()),
	}
}

// run stores the tree below an open directory and returns its entry.
func (w *walk) run(ctx context.Context, root *handle, st *unix.Stat_t) (*repo.Entry, error) {
	top := &directory{w: w, handle: root, entry: entryOf("", st, w.devices.number(st.Dev)), writer: w.session.NewDir()}
	all, ctx := errgroup.WithContext(ctx)
	for range readers() {
		all.Go(func() error { return newReader(w).work(ctx) })
	}
	all.Go(func() error {
		defer close(w.jobs)
		if err := w.describeDirectory(ctx, top); err != nil {
			return err
		}
		err := w.contents(ctx, top, w.previous.root())
		w.expected.settle(w.o.Progress)
		return err
	})
	if err := all.Wait(); err != nil {
		w.abandon()
		return nil, err
	}
	return top.entry, nil
}

// abandon closes the directories of files that nobody reads any more.
func (w *walk) abandon() {
	for j := range w.jobs {
		j.handle.release()
	}
	for _, waiting := range w.links.reading {
		for _, j := range waiting {
			j.handle.release()
		}
	}
}

// contents stores what is in a directory.
func (w *walk) contents(ctx context.Context, d *directory, was *repo.Entry) error {
	names, err := w.lister.list(d.handle.fd)
	if err != nil {
		w.unread(d.path(""), fmt.Sprintf("cannot be listed (%v): what is in it is left out", err))
	}
	if w.o.ExcludeCaches {
		names = w.withoutCache(d, names)
	}
	if (d.depth == maxDepth || d.length > maxPath) && names.len() > 0 {
		w.unread(d.path(""), fmt.Sprintf("lies in %d directories, one in the other, with a path of %d bytes: what is in it is left out", d.depth, d.length))
		names = new(listing)
	}
	c := w.previous.open(ctx, was)
	defer c.close()
	for i := range names.len() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.visit(ctx, d, names.at(i), c); err != nil {
			return err
		}
	}
	return d.close(ctx)
}

// maxName is the length of the longest name that can be stored, in bytes.
const maxName = 255

// maxDepth is how many directories may lie one in the other, the root included,
// and maxPath how long the path of one may be, in bytes, of which something is
// stored. The kernel takes no path of 4096 bytes, but who goes from one
// directory into the next can make any: each takes memory and an open file as
// long as the walk is in it, and a path that long whoever names it afterwards.
const (
	maxDepth = 4096
	maxPath  = 32 << 10
)

// visit stores what a name in a directory stands for.
func (w *walk) visit(ctx context.Context, d *directory, name string, c *cursor) error {
	st, err := lookAt(d.handle.fd, name)
	if err != nil {
		w.missing(d.path(name), err)
		return nil
	}
	if len(name) > maxName { // as some file systems that are not of Linux allow
		w.unread(d.path(name), fmt.Sprintf("is left out: its name has %d bytes, more than %d", len(name), maxName))
		return nil
	}
	kind := st.Mode & unix.S_IFMT
	if w.o.Exclude.match(name, func() string { return d.path(name) }, kind == unix.S_IFDIR) {
		w.remarks.exclude()
		return nil
	}
	switch kind {
	case unix.S_IFDIR:
		return w.enter(ctx, d, name, c.find(name))
	case unix.S_IFREG:
		return w.file(ctx, d, name, &st, c.find(name))
	}
	e, err := w.describe(ctx, w.attributes, d, name, &st)
	if err != nil || e == nil {
		return err
	}
	return d.add(ctx, e)
}

// enter stores a directory.
func (w *walk) enter(ctx context.Context, parent *directory, name string, was *repo.Entry) error {
	h, st, err := openBelow(parent.handle.fd, name)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		err = errReplaced
	}
	if err != nil {
		return w.unopened(ctx, parent, name, err)
	}
	defer h.release()
	d := &directory{w: w, parent: parent, depth: parent.depth + 1, length: parent.length + len(name) + 1, name: name, handle: h, writer: w.session.NewDir()}
	d.entry = entryOf(name, &st, w.devices.number(st.Dev))
	d.slot = &slot{entry: d.entry}
	if err := w.describeDirectory(ctx, d); err != nil {
		return err
	}
	parent.wait(d.slot)
	if why := w.notEntered(parent, h, &st); why != "" {
		w.remarks.note("%q is left empty: %s", w.full(d.path("")), why)
		return d.close(ctx)
	}
	return w.contents(ctx, d, was)
}

// unopened keeps the attributes of a directory that cannot be opened.
func (w *walk) unopened(ctx context.Context, parent *directory, name string, why error) error {
	path := parent.path(name)
	st, err := lookAt(parent.handle.fd, name)
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR || errors.Is(why, unix.ENOENT) {
		w.missing(path, why)
		return nil
	}
	w.unread(path, fmt.Sprintf("cannot be opened (%v): what is in it is left out", why))
	e := entryOf(name, &st, w.devices.number(st.Dev))
	if e.Xattrs, err = w.xattrs(ctx, w.attributes, parent, name); err != nil {
		return err
	}
	if err := w.session.NewDir().Finish(ctx, e); err != nil {
		return err
	}
	return parent.add(ctx, e)
}

// notEntered says why a directory is kept without what is in it; "" if it is not.
func (w *walk) notEntered(parent *directory, h *handle, st *unix.Stat_t) string {
	for _, other := range w.leave {
		if (inodeNumber{st.Dev, st.Ino}) == other {
			return "it is the repository that the backup goes to"
		}
	}
	if w.devices.number(st.Dev) == parent.entry.Device {
		return ""
	}
	return w.foreign(h, st)
}

// file stores a regular file, now or when a reader comes to it.
func (w *walk) file(ctx context.Context, d *directory, name string, st *unix.Stat_t, was *repo.Entry) error {
	if w.o.OneFileSystem && st.Dev != w.device && isMount(d.handle.fd, name) {
		w.remarks.note("%q is left out: it lies on another file system, which --one-file-system leaves out", w.full(d.path(name)))
		return nil
	}
	e, err := w.describe(ctx, w.attributes, d, name, st)
	if err != nil || e == nil {
		return err
	}
	w.expected.add(w.o.Progress, st.Size)
	if st.Size == 0 {
		w.counts.file(e, was)
		return d.add(ctx, e)
	}
	if w.previous.same(e, was) && w.session.Holds(ctx, was.Content) {
		e.Content = was.Content
		w.counts.file(e, was)
		w.o.Progress.Done.Add(st.Size)
		return d.add(ctx, e)
	}
	s, err := d.expect(ctx, e)
	if err != nil {
		return err
	}
	return w.read(ctx, &job{dir: d, handle: d.handle.share(), slot: s, was: was, key: inode{e.Device, e.Inode}})
}

// read hands a file to the readers, unless another of its names was.
func (w *walk) read(ctx context.Context, j *job) error {
	if j.slot.entry.Links > 1 {
		c, known, first := w.links.claim(j)
		if known {
			return w.stored(ctx, j, c)
		}
		if !first {
			return nil
		}
		j.shared = true
	}
	select {
	case w.jobs <- j:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// describe makes the entry of anything but a directory; a file's content is not
// in it. It is nil if there is none to be made, which has been said.
func (w *walk) describe(ctx context.Context, a *attributes, d *directory, name string, st *unix.Stat_t) (*repo.Entry, error) {
	e := entryOf(name, st, w.devices.number(st.Dev))
	var err error
	if e.IsSymlink() {
		if e.Target, err = target(d.handle.fd, name); err != nil {
			w.missing(d.path(name), err)
			return nil, nil
		}
	}
	e.Xattrs, err = w.xattrs(ctx, a, d, name)
	return e, err
}

func (w *walk) describeDirectory(ctx context.Context, d *directory) (err error) {
	d.entry.Xattrs, err = w.xattrs(ctx, w.attributes, d, ".")
	return err
}

// xattrs reads the extended attributes of a name in an open directory, "." for
// its own. That they cannot be read is told; an error is one of storing them.
func (w *walk) xattrs(ctx context.Context, a *attributes, d *directory, name string) ([]repo.Xattr, error) {
	all, err := a.read(ctx, at(d.handle.fd, name))
	var store storeError
	switch {
	case errors.As(err, &store):
		return nil, store.error
	case errors.Is(err, unix.ENOENT), err == nil:
		return all, nil
	}
	w.unread(d.path(name), fmt.Sprintf("is kept without its extended attributes: %v", err))
	return nil, nil
}

// missing says that something is left out: because it has vanished, or because
// it cannot be read.
func (w *walk) missing(path string, err error) {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESTALE):
		w.remarks.vanished(w.full(path))
	case errors.Is(err, errReplaced):
		w.unread(path, err.Error()+", and is left out")
	default:
		w.unread(path, fmt.Sprintf("cannot be read (%v), and is left out", err))
	}
}

func (w *walk) unread(path, what string) {
	w.counts.unread.Add(1)
	w.remarks.warn(w.full(path), what)
}

// full is the path on the host of one in the tree, for a person.
func (w *walk) full(path string) string {
	switch {
	case path == "":
		return w.base
	case w.base == "/":
		return "/" + shortened(path)
	}
	return w.base + "/" + shortened(path)
}

// maxShown is the length of the longest path that is shown as it is, in bytes. A
// path may have a million, and what a walk remarks becomes part of the snapshot.
const maxShown = 2048

func shortened(path string) string {
	if len(path) <= maxShown {
		return path
	}
	return path[:maxShown/2] + "…" + path[len(path)-maxShown/2:]
}
