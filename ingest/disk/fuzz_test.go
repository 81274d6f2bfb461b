package disk

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vaultfs/ingest"
)

// FuzzQcow: no panic, and every name that is found is in the header.
func FuzzQcow(f *testing.F) {
	dir := f.TempDir()
	for i, options := range [][]string{
		{"-f", "qcow2"}, {"-f", "qcow2", "-o", "compat=0.10,backing_file=json:{},backing_fmt=raw"}, {"-f", "qcow"},
		{"-f", "qcow2", "-o", "data_file=x.bin,backing_file=/etc/passwd,backing_fmt=raw"},
		{"-f", "qcow2", "-o", "extended_l2=on,compression_type=zstd"}, {"-f", "qcow", "-b", "abc", "-F", "raw"},
	} {
		path := filepath.Join(dir, string(rune('a'+i)))
		args := append(append([]string{"create", "-q", "-u"}, options...), path, "1M")
		cmd := exec.Command("qemu-img", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			f.Fatalf("%q: %s", args, out)
		}
		image, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(image[:min(len(image), 1024)])
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		for _, format := range []string{qcow2Format, qcowFormat} {
			h, err := readQcow(bytes.NewReader(p), format)
			if err != nil {
				continue
			}
			for _, name := range []string{h.backing, h.backingFormat, h.dataFile} {
				if len(name) > maxBackingName || strings.ContainsRune(name, 0) || !bytes.Contains(p, []byte(name)) {
					t.Fatalf("%+v", h)
				}
			}
			if h.external && h.dataFile == "" {
				t.Fatalf("%+v", h)
			}
		}
	})
}

// FuzzSignatures: no panic on anything that is looked at without a parser, and on
// names.
func FuzzSignatures(f *testing.F) {
	footer := make([]byte, 512)
	copy(footer, vpcMagic)
	footer[vpcType+3] = vpcFixed
	f.Add(append(make([]byte, 512), footer...))
	f.Add([]byte(qcowMagic))
	f.Add([]byte("vhdxfile"))
	f.Fuzz(func(t *testing.T, p []byte) {
		format, err := headerFormat(bytes.NewReader(p), int64(len(p)))
		if err != nil || format != "" && !known(format) {
			t.Fatal(format, err)
		}
		if err := checkVPC(bytes.NewReader(p), int64(len(p))); err == nil && format == "" {
			t.Fatal("a VHD without a signature")
		}
		if s := ingest.Printable(string(p)); ingest.Printable(s) != s || strings.ContainsAny(s, "\n\x00") {
			t.Fatalf("%q", s)
		}
	})
}
