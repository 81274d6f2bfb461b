package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Put stores data as a new object and returns once it is durable. It never
// replaces: ErrExists. On any error the object is not there, unless the
// medium failed so badly that it could not be taken back.
func (d *Dir) Put(ctx context.Context, name string, data []byte) error {
	if err := check(ctx, name); err != nil {
		return describe("put", "object", err)
	}
	return describe("put", name, d.put(ctx, name, data))
}

func (d *Dir) put(ctx context.Context, name string, data []byte) error {
	t, err := d.newTemp(path.Dir(name))
	if err != nil {
		return err
	}
	defer d.discard(t)
	if err := t.write(data, 0); err != nil {
		return err
	}
	return d.publish(ctx, t, name)
}

// publish makes a temporary durable, and then the object name.
func (d *Dir) publish(ctx context.Context, t *temp, name string) error {
	if err := t.sync(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return d.enter(name, func() error { return d.give(t, name) })
}

// fill writes data to an empty file and makes it durable.
func fill(f file, data []byte) error {
	if err := f.write(data, 0); err != nil {
		return err
	}
	return f.sync()
}

// enter makes name appear by calling give, and makes that durable. If it
// cannot be made durable, name is removed again.
func (d *Dir) enter(name string, give func() error) error {
	d.shape.RLock()
	defer d.shape.RUnlock()
	dir := path.Dir(name)
	if err := d.inDir(dir, give); err != nil {
		return err
	}
	if err := d.syncUp(dir); err != nil {
		if back := d.remove(name); back != nil {
			return fmt.Errorf("%w; taking it back: %v", err, back)
		}
		return err
	}
	return nil
}

// remove unlinks a file and makes that durable. If the directory is gone
// after the unlink, whoever removed it had synced it empty (removeIfEmpty).
func (d *Dir) remove(name string) error {
	if err := d.fs.unlink(name); err != nil {
		return err
	}
	err := d.fs.syncDir(path.Dir(name))
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// temp is a file that is not published yet. One with a name is locked, so
// that CleanTemp leaves it alone as long as its writer lives.
type temp struct {
	file
	name string // "" if it has none
}

// newTemp makes an empty file that can be published in dir.
func (d *Dir) newTemp(dir string) (*temp, error) {
	if !d.named.Load() {
		var f file
		err := d.inDir(dir, func() (err error) {
			f, err = d.fs.createNameless(dir)
			return err
		})
		if err == nil {
			return &temp{file: f}, nil
		}
		if !unsupported(err) {
			return nil, err
		}
		d.named.Store(true)
	}
	for range 10 {
		t, err := d.newNamedTemp()
		if t != nil || err != nil {
			return t, err
		}
	}
	return nil, errors.New("temporary files are taken away before they are locked")
}

// newNamedTemp returns nil if a CleanTemp took the file before it was locked.
func (d *Dir) newNamedTemp() (*temp, error) {
	t := &temp{name: path.Join(tmpDir, strings.ToLower(rand.Text()))}
	err := d.inDir(tmpDir, func() (err error) {
		t.file, err = d.fs.createNamed(t.name)
		return err
	})
	if err != nil {
		return nil, err
	}
	locked, err := t.tryLock(true)
	if err == nil && locked {
		locked, err = d.isNamed(t.file, t.name)
	}
	if err == nil && locked {
		return t, nil
	}
	d.discard(t)
	return nil, err
}

// give links a temporary to name, which must be free. Where that takes two
// steps, a crash between them leaves a second name that CleanTemp removes.
func (d *Dir) give(t *temp, name string) error {
	if t.name == "" {
		return d.fs.link(t.file, name)
	}
	err := d.fs.rename(t.name, name, false)
	if err == nil {
		t.name = ""
		return nil
	}
	if !unsupported(err) {
		return err
	}
	return d.fs.link(t.file, name) // discard removes t.name
}

// discard closes a temporary and removes its own name, if it has one. What
// cannot be removed is left to CleanTemp.
func (d *Dir) discard(t *temp) {
	if t.name != "" {
		_ = d.fs.unlink(t.name) // while it is locked
	}
	t.Close()
}
