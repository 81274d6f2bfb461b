package disk

import (
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vaultfs/internal/nbd"
	"vaultfs/internal/nbd/qemunbd"
)

// TestOpenChain: a chain that somebody states is read as qemu-img reads it, its
// bitmap is shown, and after Close the images can be written to.
func TestOpenChain(t *testing.T) {
	dir := chdir(t)
	in := func(name string) string { return filepath.Join(dir, name) }
	const size = 3<<20 + 512
	write(t, "base.raw", guest(1, 2<<20+100))
	create(t, "mid.qcow2", "qcow2", "2M", "-b", "base.raw", "-F", "raw")
	create(t, "top.qcow2", "qcow2", "3146240", "-b", "mid.qcow2", "-F", "qcow2", "-o", "cluster_size=4k")
	qemuIO(t, "qcow2", "mid.qcow2", scribbles(1, 2<<20, false)...)
	run(t, "qemu-img", "bitmap", "--add", "top.qcow2", "b0")
	qemuIO(t, "qcow2", "top.qcow2", scribbles(2, size, false)[:10]...)
	layers := []qemunbd.Layer{{Path: in("top.qcow2"), Format: "qcow2"}, {Path: in("mid.qcow2"), Format: "qcow2"}, {Path: in("base.raw"), Format: "raw"}}
	for _, bitmap := range []string{"", "b0"} {
		c, err := OpenChain(t.Context(), layers, ChainOptions{Bitmap: bitmap})
		if err != nil {
			t.Fatal(err)
		}
		sameMap(t, c, "qcow2", "top.qcow2")
		sameBytes(t, c, converted(t, "qcow2", "top.qcow2"))
		if c.served.server != nil {
			t.Error("qemu-nbd was started for nothing")
		}
		if bitmap != "" {
			client, err := c.Served()
			if err != nil {
				t.Fatal(err)
			}
			marks, err := client.BlockStatus(t.Context(), nbd.ContextDirtyBitmap+bitmap, 0, size)
			if err != nil || len(marks) < 3 {
				t.Error(marks, err)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if _, err := c.Served(); err == nil && bitmap == "" {
			t.Error("qemu-nbd starts after the end")
		}
	}
	qemuIO(t, "qcow2", "top.qcow2", "write 0 512")
}

// TestOpenChainRefused: QEMU tells why an image is not to be opened.
func TestOpenChainRefused(t *testing.T) {
	dir := chdir(t)
	create(t, "busy.qcow2", "qcow2", "1M")
	create(t, "data.qcow2", "qcow2", "1M", "-o", "data_file=data.bin")
	holder := exec.Command("qemu-io", "-f", "qcow2", "busy.qcow2")
	stdin, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer holder.Wait()
	defer stdin.Close()
	io.WriteString(stdin, "length\n")
	if _, err := io.ReadFull(stdout, make([]byte, len("qemu-io> 1 MiB"))); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, format, want string }{
		{"busy.qcow2", "qcow2", "lock"},
		{"data.qcow2", "qcow2", "keeps its data in another file"},
		{"data.bin", "qcow2", "qcow2"},
		{"gone.raw", "raw", "no such file"},
		{".", "raw", "neither a file"},
	} {
		got, err := OpenChain(t.Context(), []qemunbd.Layer{{Path: filepath.Join(dir, c.name), Format: c.format}}, ChainOptions{})
		if err == nil {
			got.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
