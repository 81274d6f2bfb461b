package store

import (
	"testing"
	"testing/synctest"
	"time"
)

// A pack that nobody reads any more is closed after a while: one that another process
// deletes would else take its space as long as this one lives. One that is read
// stays open.
func TestIdleHandlesAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMem()
		d, err := m.Store()
		must(t, err)
		must(t, d.Put(ctx, "packs/s/idle", []byte{1}))
		must(t, d.Put(ctx, "packs/s/busy", []byte{2}))
		read := func(name string) {
			t.Helper()
			if _, err := d.ReadAt(ctx, name, make([]byte, 1), 0); err != nil {
				t.Fatal(err)
			}
		}
		read("packs/s/idle")
		read("packs/s/busy")
		open := func() (n int, busy any, sweep bool) {
			d.handles.mu.Lock()
			defer d.handles.mu.Unlock()
			return d.handles.recent.Len(), d.handles.byName["packs/s/busy"], d.handles.sweep != nil
		}
		_, busy, _ := open()
		for range 20 {
			time.Sleep(idleHandle / 10)
			read("packs/s/busy")
		}
		if n, same, _ := open(); n != 1 || same != busy {
			t.Errorf("%d files are open; that which is read is the same: %v", n, same == busy)
		}
		time.Sleep(2 * idleHandle)
		synctest.Wait()
		if n, _, sweep := open(); n != 0 || sweep {
			t.Errorf("%d files are open; they are looked at again: %v", n, sweep)
		}
		read("packs/s/idle")
		must(t, d.Close())
		if _, _, sweep := open(); sweep {
			t.Error("a closed store looks at its files")
		}
	})
}
