package tar

import (
	gotar "archive/tar"
	"bytes"
	"errors"
	"io"
	"testing"

	"vaultfs/repo"
)

func TestNumber(t *testing.T) {
	for field, want := range map[string]int64{
		"0000644\x00": 0o644, "  644 \x00\x00": 0o644, "\x00\x00\x00\x00\x00\x00\x00\x00": 0, "77777777": 0o77777777, "7\x00000000": 7,
		"\x80\x00\x00\x00\x00\x00\x10\x00": 4096, "\xff\xff\xff\xff\xff\xff\xff\xfe": -2,
		"\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff": 1<<63 - 1, "\xff\xff\xff\xff\x80\x00\x00\x00\x00\x00\x00\x00": -1 << 63,
	} {
		if got, err := number([]byte(field)); err != nil || got != want {
			t.Errorf("%q: %d, %v", field, got, err)
		}
	}
	for _, field := range []string{"00008000", "abc\x00", "-1\x00\x00", "\x80\x00\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00", "\xff\xff\xff\xff\x7f\x00\x00\x00\x00\x00\x00\x00", "\x80\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"} {
		if got, err := number([]byte(field)); err == nil {
			t.Errorf("%q: %d", field, got)
		}
	}
}

func TestPaxTime(t *testing.T) {
	for s, want := range map[string]repo.Timestamp{
		"0": {}, "1350244992.023960108": {Sec: 1350244992, Nsec: 23960108}, "1.5": {Sec: 1, Nsec: 5e8}, "-1": {Sec: -1}, "-1.5": {Sec: -2, Nsec: 5e8},
		"-0.25": {Sec: -1, Nsec: 75e7}, "1.0123456789999": {Sec: 1, Nsec: 12345678}, "7.": {Sec: 7}, ".5": {Nsec: 5e8},
	} {
		if got, err := paxTime(s); err != nil || got != want {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"x", "1.x", "1.2.3", "99999999999999999999", "1.-5", "-9223372036854775808.5"} {
		if got, err := paxTime(s); err == nil {
			t.Errorf("%s: %v", s, got)
		}
	}
}

// all reads an archive to its end.
func all(archive []byte) (members []*member, contents [][]byte, err error) {
	r := &reader{r: bytes.NewReader(archive)}
	for {
		m, err := r.next()
		if errors.Is(err, io.EOF) {
			return members, contents, nil
		} else if err != nil {
			return members, contents, err
		}
		b, err := io.ReadAll(r)
		if err != nil {
			return members, contents, err
		}
		members, contents = append(members, m), append(contents, b)
	}
}

// resealed gives blocks that look like headers the right checksum, so that what
// was changed in them is seen.
func resealed(archive []byte) []byte {
	out := new(made)
	for ; len(archive) >= blockSize; archive = archive[blockSize:] {
		if b := block(archive[:blockSize]); string(b.magic()[:5]) == "ustar" {
			out.raw(&b, "")
		} else {
			out.Write(archive[:blockSize])
		}
	}
	out.Write(archive)
	return out.Bytes()
}

// Where archive/tar of Go and this reader both take an archive, they find the
// same in it.
func FuzzReader(f *testing.F) {
	f.Add(new(made).add('5', "./", "", "").add('0', "a", "", "content").add('1', "b", "a", "").end())
	f.Add(new(made).add('L', "././@LongLink", "", "name\x00").add('K', "././@LongLink", "", "link\x00").add('2', "a", "b", "").end())
	f.Add(new(made).add('x', "", "", pax("path=name", "size=7", "uid=12", "mtime=-1.5", "SCHILY.xattr.user.x=y")).add('0', "a", "", "content").end())
	f.Add(new(made).add('x', "", "", pax("GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=n", "GNU.sparse.realsize=20")).
		add('0', "a", "", "1\n10\n5\n"+string(make([]byte, 502))+"12345").end())
	f.Add(new(made).add('x', "", "", pax("GNU.sparse.size=20", "GNU.sparse.numblocks=1", "GNU.sparse.map=10,5")).add('0', "a", "", "12345").end())
	f.Add(new(made).add('g', "", "", pax("uid=5")).add('V', "label", "", "").add('D', "d/", "", "Yf\x00\x00").end())
	f.Fuzz(func(t *testing.T, archive []byte) {
		archive = resealed(archive)
		members, contents, err := all(archive)
		if err != nil {
			return
		}
		theirs := gotar.NewReader(bytes.NewReader(archive))
		for i, m := range members {
			h, err := theirs.Next()
			if err != nil || m.kind == typeVolume || h.Typeflag == gotar.TypeXGlobalHeader {
				return // it refuses more, and gives global headers as members
			}
			if m.name != h.Name && m.name+"/" != h.Name || m.link != h.Linkname || modeTypes[m.kind] == 0 && m.kind != typeLink && m.size() != h.Size {
				t.Errorf("member %d: %q -> %q, %d bytes; Go finds %q -> %q, %d", i, m.name, m.link, m.size(), h.Name, h.Linkname, h.Size)
			}
			if m.sparse.is {
				continue
			}
			if b, err := io.ReadAll(theirs); err != nil || !bytes.Equal(b, contents[i]) {
				t.Errorf("member %d, %q: %d bytes; Go finds %d, %v", i, m.name, len(contents[i]), len(b), err)
			}
		}
	})
}
