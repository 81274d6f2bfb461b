package fusefs

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

const (
	// subtype shows in the list of mounts as fuse.vaultfs.
	subtype = "vaultfs"

	maxRead       = 1 << 20 // bytes of one read request; what kernels allow unless told otherwise
	maxBackground = 64      // read-ahead requests that the kernel may have under way

	// releaseTimeout bounds the giving back of the lease after unmounting.
	releaseTimeout = 10 * time.Second
)

// Options of a mount.
type Options struct {
	AllowOther bool         // other users may read the tree too
	Exclude    string       // a directory that the mount point must not be in: the repository's; "" for none
	Log        func(string) // is told what failed, a line at a time, concurrently; may be nil
	Debug      bool         // have every request of the kernel logged
}

// Server is a mounted tree.
type Server struct {
	dir  string
	done chan struct{} // closed when nothing of the mount is left
}

// Mount shows the snapshots of a repository in the empty directory dir, which is
// ready when Mount returns. ctx bounds Mount alone: the tree stays until it is
// unmounted, by whomever.
func Mount(ctx context.Context, r Repository, dir string, o Options) (*Server, error) {
	dir, err := checkMountPoint(dir, o.Exclude)
	if err != nil {
		return nil, err
	}
	pinned := func(ctx context.Context) (Pin, error) { return r.Pin(ctx, "mount "+dir) }
	pin, err := pinned(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening a read lease: %w", err)
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	t := newTree(life, r, pin, pinned, owner{uint32(os.Geteuid()), uint32(os.Getegid())}, o.Log)
	served, err := t.mount(ctx, dir, o)
	if err != nil {
		end()
		t.close()
		return nil, err
	}
	keepFromChildren()
	raiseReadAhead(dir)

	s := &Server{dir: dir, done: make(chan struct{})}
	var sweeping sync.WaitGroup
	sweeping.Go(func() { t.leases.sweepUntil(life, t.catalog.listed) })
	go func() {
		defer close(s.done)
		served.Wait()
		end()
		sweeping.Wait()
		t.close()
	}()
	return s, nil
}

func (t *tree) mount(ctx context.Context, dir string, o Options) (*fuse.Server, error) {
	if _, err := t.catalog.root(ctx); err != nil {
		return nil, fmt.Errorf("listing the snapshots: %w", err)
	}
	// fs.Mount would open a file of the tree by itself. A process must not use its
	// own mount: if it is killed at that moment, its request waits for an answer
	// that it can no longer give, so that it never ends, and with it the mount hangs
	// for everybody.
	options := fuseOptions(o)
	served, err := fuse.NewServer(fs.NewNodeFS(t.root, options), dir, &options.MountOptions)
	if err != nil {
		return nil, mountError(dir, o, err)
	}
	go served.Serve()
	return served, nil
}

// Wait returns when the tree has been unmounted and everything it held is free.
func (s *Server) Wait() { <-s.done }

// Unmount takes the tree away. It fails if files on it are open.
func (s *Server) Unmount() error {
	select {
	case <-s.done: // already unmounted by someone else
		return nil
	default:
	}
	if err := Unmount(s.dir, false); err != nil {
		return err
	}
	s.Wait()
	return nil
}

// close frees what the tree holds once no request is left.
func (t *tree) close() {
	t.flights.abandoned.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	if err := t.leases.release(ctx); err != nil {
		t.report.problem("giving back the read lease", "", err)
	}
}

func fuseOptions(o Options) *fs.Options {
	logger := log.New(lines(func(line string) {
		if o.Log != nil {
			o.Log(line)
		}
	}), "", 0)
	options := []string{"ro", "nosuid", "nodev"}
	if o.AllowOther {
		options = append(options, "default_permissions")
	}
	return &fs.Options{
		RootStableAttr:  &fs.StableAttr{Ino: fuse.FUSE_ROOT_ID},
		NullPermissions: true, // a file may have none
		Logger:          logger,
		MountOptions: fuse.MountOptions{
			AllowOther:               o.AllowOther,
			Options:                  options,
			DirectMount:              true, // as root; fusermount3 otherwise
			DirectMountFlags:         unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV,
			FsName:                   subtype,
			Name:                     subtype,
			MaxWrite:                 maxRead,
			MaxBackground:            maxBackground,
			EnableAcl:                o.AllowOther, // of what others may do, the kernel asks modes and access control lists
			EnableSymlinkCaching:     true,
			DisableSplice:            true, // answers come from memory; go-fuse would try a pipe first
			ExplicitDataCacheControl: true,
			Logger:                   logger,
			Debug:                    o.Debug,
		},
	}
}

// lines is an io.Writer that is called with each line.
type lines func(string)

func (l lines) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		l(strings.TrimSuffix(line, "\n"))
	}
	return len(p), nil
}
