package repo_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"math/bits"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/klauspost/compress/zstd"
	"github.com/minio/highwayhash"
	"github.com/zeebo/blake3"
	"golang.org/x/crypto/argon2"
	"vaultfs/repo"
	"vaultfs/repo/store"
)

// This file reads a repository by FORMAT.md alone: none of the program's own
// code is used. That it gets a disk and files back proves that the page is true
// and enough.

// A spec is a reader of a repository that was written by FORMAT.md.
type spec struct {
	t       *testing.T
	objects map[string][]byte
	secrets map[uint64]any
	repoID  []byte
	session map[string][]byte    // secrets, by session ID
	chunks  map[string]specPlace // by kind byte and ID
	seen    map[string]bool      // names of objects that were understood
	tags    []string             // that every snapshot has
}

type specPlace struct {
	pack           string
	ordinal        uint64
	offset, sealed int
	plain          int
	kind           byte
	box            cipher.AEAD
}

func (s *spec) must(ok bool, format string, args ...any) {
	s.t.Helper()
	if !ok {
		s.t.Fatalf(format, args...)
	}
}

func specHKDF(secret, salt []byte, label string, parts ...[]byte) []byte {
	key, err := hkdf.Key(sha256.New, secret, salt, label+"\x00"+string(bytes.Join(parts, nil)), 32)
	if err != nil {
		panic(err)
	}
	return key
}

func specBox(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	box, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return box
}

func (s *spec) open(box cipher.AEAD, ordinal uint64, aad, sealed []byte) []byte {
	s.t.Helper()
	nonce := binary.BigEndian.AppendUint64(make([]byte, 4), ordinal)
	plain, err := box.Open(nil, nonce, sealed, aad)
	s.must(err == nil, "AEAD: %v", err)
	return plain
}

func (s *spec) cbor(b []byte) map[uint64]any {
	s.t.Helper()
	m := map[uint64]any{}
	if err := cbor.Unmarshal(b, &m); err != nil {
		s.t.Fatal(err)
	}
	mode, _ := cbor.CoreDetEncOptions().EncMode()
	again, err := mode.Marshal(m)
	s.must(err == nil && bytes.Equal(again, b), "not deterministic CBOR: %x", b)
	return m
}

// unpad: length 4 ‖ content ‖ zeros, of Padmé length.
func (s *spec) unpad(b []byte) []byte {
	s.t.Helper()
	n := int(binary.BigEndian.Uint32(b))
	e := bits.Len(uint(4+n)) - 1
	unit := 1 << (e - bits.Len(uint(e)))
	s.must((4+n+unit-1)/unit*unit == len(b), "%d bytes are padded to %d", n, len(b))
	s.must(len(bytes.Trim(b[4+n:], "\x00")) == 0, "padding is not zeros")
	return b[4 : 4+n]
}

func (s *spec) key(k uint64) []byte { return s.secrets[k].([]byte) }

// objectKey: HKDF(secret, salt = write key, label, repository ID, parts…).
func (s *spec) objectKey(secret []byte, label string, parts ...[]byte) cipher.AEAD {
	return specBox(specHKDF(secret, s.key(8), label, append([][]byte{s.repoID}, parts...)...))
}

func unhex(name string) []byte {
	b, err := hex.DecodeString(name)
	if err != nil {
		panic(err)
	}
	return b
}

// unlock reads config and the only key slot.
func (s *spec) unlock(password, label string) {
	config := s.objects["config"]
	n := len(config)
	s.must(string(config[:8]) == "vfsconf\x01", "config magic")
	sum := blake3.Sum256(config[:n-32])
	s.must(bytes.Equal(sum[:], config[n-32:]), "config checksum")
	c := s.cbor(config[8 : n-32])
	s.repoID = c[1].([]byte)
	s.must(c[2] == uint64(64<<20) && c[3] == true && c[4] == nil && c[5] == nil && c[6] == nil && len(c) == 6, "config %v", c)
	s.seen["config"] = true
	for name, b := range s.objects {
		if !strings.HasPrefix(name, "keys/") {
			continue
		}
		s.seen[name] = true
		n := len(b)
		s.must(string(b[:8]) == "vfsslot\x01", "slot magic")
		sum := blake3.Sum256(b[:n-32])
		s.must(bytes.Equal(sum[:], b[n-32:]), "slot checksum")
		slot := s.cbor(b[8 : n-32])
		s.must(slot[1] == uint64(1) && bytes.Equal(slot[2].([]byte), unhex(name[5:])), "slot %v", slot)
		lock := slot[4].(map[any]any)
		num := func(k uint64) uint64 { return lock[k].(uint64) }
		master := argon2.IDKey([]byte(password), slot[3].([]byte), uint32(num(2)), uint32(num(1)), uint8(num(3)), 32)
		s.must(bytes.Equal(specHKDF(master, nil, "vaultfs slot commitment"), lock[uint64(4)].([]byte)), "commitment")
		sealed := slot[6].([]byte)
		delete(slot, 6)
		mode, _ := cbor.CoreDetEncOptions().EncMode()
		aad, _ := mode.Marshal(slot)
		s.secrets = s.cbor(s.open(specBox(specHKDF(master, nil, "vaultfs slot key")), 0, append([]byte("vfsslot\x01"), aad...), sealed))
		hash := blake3.Sum256(config)
		s.must(bytes.Equal(s.key(1), s.repoID) && bytes.Equal(s.key(2), hash[:]), "the slot is of another config")
		key := specHKDF(s.key(7), slot[3].([]byte), "vaultfs slot label", s.repoID, slot[2].([]byte))
		plain := s.open(specBox(key), 0, nil, slot[5].([]byte))
		l := int(binary.BigEndian.Uint16(plain[8:]))
		s.must(len(plain) == 266 && string(plain[10:10+l]) == label, "label %q", plain[10:10+l])
	}
}

// sealed opens a sealed object.
func (s *spec) sealed(magic, name string, b []byte, label string, session []byte) []byte {
	s.t.Helper()
	s.must(string(b[:8]) == magic+"\x01", "%s: magic %q", name, b[:8])
	box := s.objectKey(s.key(7), label, session, b[8:40])
	return s.unpad(s.open(box, 0, append([]byte(magic+"\x01"), name...), b[40:]))
}

// openSecret opens a sealed session secret.
func (s *spec) openSecret(session, sealed []byte) []byte {
	s.t.Helper()
	s.must(len(sealed) == 1176, "sealed secret of %d bytes", len(sealed))
	identity := s.secrets[3].([]any)[0].(map[any]any)
	s.must(bytes.Equal(identity[uint64(1)].([]byte), sealed[:8]), "another identity")
	kem := hpke.MLKEM768X25519()
	private, err := kem.NewPrivateKey(identity[uint64(2)].([]byte))
	if err != nil {
		s.t.Fatal(err)
	}
	s.must(bytes.Equal(private.PublicKey().Bytes(), identity[uint64(3)].([]byte)), "public key")
	info := "vaultfs session\x00" + string(s.repoID) + string(session)
	secret, err := hpke.Open(private, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte(info), sealed[8:])
	if err != nil {
		s.t.Fatal(err)
	}
	return secret
}

// packBox is the key of a pack.
func (s *spec) packBox(kind byte, session, salt []byte) cipher.AEAD {
	if kind == 2 {
		return s.objectKey(s.key(7), "vaultfs structure pack", session, salt)
	}
	return s.objectKey(s.session[string(session)], "vaultfs data pack", session, salt)
}

func be32(b []byte) int { return int(binary.BigEndian.Uint32(b)) }

// index reads the newest head and its runs.
func (s *spec) index() {
	newest := ""
	for name, b := range s.objects {
		if strings.HasPrefix(name, "head/") {
			newest = max(newest, name)
			h := s.cbor(s.sealed("vfshead", name, b, "vaultfs head", nil))
			s.must(fmt.Sprintf("head/%020d", h[1]) == name && len(h) == 9, "head %v under the name %s", h, name)
			s.seen[name] = true
		}
	}
	h := s.cbor(s.sealed("vfshead", newest, s.objects[newest], "vaultfs head", nil))
	for _, r := range h[3].([]any) {
		run := r.([]any)
		name := fmt.Sprintf("runs/%x/%x", run[0], run[1])
		s.run(s.sealed("vfsirun", name, s.objects[name], "vaultfs run", run[0].([]byte)))
		s.seen[name] = true
	}
}

func (s *spec) run(b []byte) {
	var sessions, packs [][]byte
	n := be32(b)
	for b = b[4:]; n > 0; n-- {
		id, has := b[:16], b[16]
		if sessions, b = append(sessions, id), b[17:]; has == 1 {
			s.session[string(id)] = s.openSecret(id, b[:1176])
			b = b[1176:]
		}
	}
	n = be32(b)
	for b = b[4:]; n > 0; n-- {
		packs, b = append(packs, b[:73]), b[73:]
	}
	n = be32(b)
	s.must(len(b) == 4+53*n, "%d entries in %d bytes", n, len(b))
	before := ""
	for b = b[4:]; len(b) > 0; b = b[53:] {
		id, pack := b[:32], packs[be32(b[33:])]
		order := string(id) + string(b[33:41])
		s.must(order > before, "entries are not sorted")
		before = order
		session := sessions[be32(pack[64:])]
		place := specPlace{pack: fmt.Sprintf("packs/%x/%x", session, pack[:32]), ordinal: uint64(be32(b[37:])), offset: be32(b[41:]),
			sealed: be32(b[45:]), plain: be32(b[49:]), kind: b[32], box: s.packBox(pack[68], session, pack[32:64])}
		s.must(len(s.objects[place.pack]) == be32(pack[69:]), "%s: size", place.pack)
		s.chunks[string(b[32:33])+string(id)] = place
	}
}

// packs reads every pack by itself, and compares it with what the runs said.
func (s *spec) packs() {
	for name, b := range s.objects {
		if !strings.HasPrefix(name, "packs/") {
			continue
		}
		s.seen[name] = true
		n := len(b)
		hash := blake3.Sum256(b)
		session := unhex(name[6:38])
		s.must(name[39:] == hex.EncodeToString(hash[:]), "%s: hash", name)
		s.must(string(b[:8]) == "vfspack\x01" && bytes.Equal(b[9:16], make([]byte, 7)) && bytes.Equal(b[16:32], session), "%s: header", name)
		s.must(string(b[n-8:]) == "vfspend\x01", "%s: end", name)
		end := n - 12
		if b[8] == 1 {
			end -= 1176
			s.must(bytes.Equal(s.openSecret(session, b[end:n-12]), s.session[string(session)]), "%s: secret", name)
		}
		begin := end - be32(b[n-12:])
		box := s.packBox(b[8], session, b[32:64])
		footer := s.unpad(s.open(box, 1<<63, b[:64], b[begin:end]))
		offset := 64
		for i := 0; i < len(footer); i += 41 {
			e := footer[i : i+41]
			p := s.chunks[string(e[:33])]
			s.must(p.pack == name && p.ordinal == uint64(i/41) && p.offset == offset && p.sealed == be32(e[33:]) && p.plain == be32(e[37:]),
				"%s: chunk %d is elsewhere by the index", name, i/41)
			s.must(b[8] == 1 == (e[0] == 1 || e[0] >= 128), "%s: a chunk of kind %d", name, e[0])
			s.chunk(e[0], e[1:33])
			offset += be32(e[33:])
		}
		s.must(offset == begin, "%s: the chunks end at %d, the footer begins at %d", name, offset, begin)
	}
}

// chunk reads a chunk and proves its ID.
func (s *spec) chunk(kind byte, id []byte) []byte {
	s.t.Helper()
	p, ok := s.chunks[string([]byte{kind})+string(id)]
	s.must(ok, "chunk %x of kind %d is not listed", id, kind)
	payload := s.open(p.box, p.ordinal, append([]byte{kind}, id...), s.objects[p.pack][p.offset:p.offset+p.sealed])
	plain := payload[1:]
	if payload[0] == 1 {
		d, err := zstd.NewReader(nil)
		if err != nil {
			s.t.Fatal(err)
		}
		defer d.Close()
		if plain, err = d.DecodeAll(payload[1:], nil); err != nil {
			s.t.Fatal(err)
		}
	}
	key := s.key(4)
	if kind != 1 {
		key = specHKDF(key, nil, "vaultfs structured chunk id")
	}
	h, err := blake3.NewKeyed(key)
	if err != nil {
		s.t.Fatal(err)
	}
	h.Write(plain)
	s.must(bytes.Equal(h.Sum(nil), id) && len(plain) == p.plain && payload[0] <= 1, "chunk %x is another", id)
	return plain
}

// A specReader takes uvarints off what follows a child list.
type specReader struct {
	s        *spec
	children [][]byte
	rest     []byte
}

// structured reads a child list of structured and data chunks.
func (s *spec) structured(kind byte, id []byte) *specReader {
	s.t.Helper()
	b := s.chunk(kind, id)
	n := be32(b[1:]) + be32(b[5:])
	s.must(b[0] == kind && (be32(b[1:]) == 0 || be32(b[5:]) == 0), "chunk of kind %d", b[0])
	r := &specReader{s: s, rest: b[9+32*n:]}
	for i := range n {
		r.children = append(r.children, b[9+32*i:][:32])
	}
	return r
}

func (r *specReader) next() int64 {
	r.s.t.Helper()
	v, n := binary.Uvarint(r.rest)
	r.s.must(n > 0, "cut off")
	r.rest = r.rest[n:]
	return int64(v)
}

func (r *specReader) end() { r.s.must(len(r.rest) == 0, "%d bytes follow", len(r.rest)) }

// A specCount counts what a disk holds.
type specCount struct{ clusters, grains int64 }

// disk calls data for every chunk of a disk, and returns its size.
func (s *spec) disk(root []byte, data func(off int64, plain []byte)) int64 {
	r := s.structured(4, root)
	size, segment, pages := r.next(), r.next(), r.next()
	s.must(pages == (size+segment*1024-1)/(segment*1024), "%d pages", pages)
	for p := range pages {
		child := r.next()
		if child == 0 {
			continue
		}
		want := specCount{r.next(), r.next()}
		got := s.page(r.children[child-1], p*1024*segment, segment, data)
		s.must(got == want, "page %d holds %v, the root says %v", p, got, want)
	}
	r.end()
	return size
}

func (s *spec) page(id []byte, base, segment int64, data func(int64, []byte)) (sum specCount) {
	r := s.structured(3, id)
	for i := range r.next() {
		child := r.next()
		if child == 0 {
			continue
		}
		want := specCount{r.next(), r.next()}
		got := s.segment(r.children[child-1], base+i*segment, data)
		s.must(got == want, "segment %d holds %v, its page says %v", i, got, want)
		sum.clusters, sum.grains = sum.clusters+got.clusters, sum.grains+got.grains
	}
	r.end()
	return sum
}

func (s *spec) segment(id []byte, base int64, data func(int64, []byte)) (sum specCount) {
	r := s.structured(2, id)
	at, clusters, cut := int64(0), map[int64]bool{}, true
	for range r.next() {
		gap := r.next()
		s.must(gap > 0 || cut, "a chunk ends at grain %d without a reason", at)
		at += gap
		grains, child := r.next(), r.next()
		plain := s.chunk(1, r.children[child])
		s.must(int64(len(plain)) == 4096*grains && grains >= 1 && grains <= 128, "extent of %d grains, chunk of %d bytes", grains, len(plain))
		cut = s.cutAfter(plain)
		data(base+4096*at, plain)
		for g := at; g < at+grains; g++ {
			clusters[g/16] = true
		}
		at, sum.grains = at+grains, sum.grains+grains
	}
	r.end()
	sum.clusters = int64(len(clusters))
	return sum
}

// cutAfter tells whether a chunk ends for what it holds itself, which is so of
// no shorter part of it.
func (s *spec) cutAfter(plain []byte) (cut bool) {
	for n := 4096; n <= len(plain); n += 4096 {
		s.must(!cut, "a chunk goes on after %d bytes", n-4096)
		hash := highwayhash.Sum64(plain[n-4096:n], s.key(6))
		cut = n == 512<<10 || (n >= 32<<10 && hash>>59 == 0)
	}
	return cut
}

// stream returns what a node holds.
func (s *spec) stream(id []byte) (all []byte) {
	r := s.structured(5, id)
	level := r.next()
	for range r.next() {
		length, child := r.next(), r.children[r.next()]
		part := []byte(nil)
		if level == 0 {
			part = s.chunk(1, child)
		} else {
			part = s.stream(child)
		}
		s.must(int64(len(part)) == length, "an entry of %d bytes holds %d", length, len(part))
		all = append(all, part...)
	}
	r.end()
	return all
}

// manifest reads both parts of a snapshot.
func (s *spec) manifest(name string, b []byte) (structure, private map[uint64]any) {
	id := unhex(strings.TrimPrefix(name, "snapshots/"))
	s.must(string(b[:8]) == "vfsmani\x04", "manifest magic")
	salt, n := b[8:40], be32(b[40:])
	aad := append(append([]byte("vfsmani\x04"), id...), b[40:44]...)
	structure = s.cbor(s.unpad(s.open(s.objectKey(s.key(7), "vaultfs manifest", id, salt), 0, aad, b[44:44+n])))
	s.must(bytes.Equal(structure[1].([]byte), id) && len(structure) == 10+min(1, len(s.tags)), "manifest %v", structure)
	if len(s.tags) > 0 {
		s.must(fmt.Sprint(structure[11]) == fmt.Sprint(s.tags), "tags %v", structure[11])
	}
	secret := s.openSecret(id, structure[9].([]byte))
	private = s.cbor(s.unpad(s.open(s.objectKey(secret, "vaultfs manifest body", id, salt), 1, aad, b[44+n:])))
	s.must(len(private) == 9, "private part %v", private)
	s.seen[name] = true
	return structure, private
}

func TestFormatPageIsTrue(t *testing.T) {
	v := newVictim(t, "vm/a", 10)
	s := &spec{t: t, objects: v.objects, session: map[string][]byte{}, chunks: map[string]specPlace{}, seen: map[string]bool{}}
	s.unlock("secret", "test")
	s.index()
	s.packs()
	for i, snap := range v.snapshots {
		b := []backup{v.first, v.second}[i]
		name := "snapshots/" + snap.ID
		structure, private := s.manifest(name, v.objects[name])
		if structure[2] != "vm/a" || structure[3] != "vm" || structure[4] != uint64(i+1) || structure[10] != "m-vm/a" || private[2] != "test" || private[9] != "backup" {
			t.Errorf("snapshot %d: %v, %v", i, structure, private)
		}
		if time := structure[6].(uint64); int64(time) != snap.Time.UnixNano() {
			t.Errorf("time %d, want %v", time, snap.Time)
		}
		summary, below := private[8].(map[any]any), b.tree.totals()
		if summary[uint64(8)] != uint64(7) || summary[uint64(9)] != below.Files || summary[uint64(10)] != below.Dirs || summary[uint64(11)] != below.Others {
			t.Errorf("summary %v", summary)
		}
		var roots [][]byte
		for i, it := range structure[7].([]any) {
			item := it.(map[any]any)
			origin := private[7].([]any)[i].(map[any]any)
			root := item[uint64(4)].([]byte)
			roots = append(roots, root)
			switch item[uint64(1)] {
			case "vda":
				want := map[any]any{uint64(1): "/p", uint64(2): "raw", uint64(3): "", uint64(4): "full", uint64(5): uint64(8), uint64(6): uint64(7), uint64(7): uint64(6), uint64(8): uint64(5)}
				if !maps.Equal(origin, want) || item[uint64(5)] != "c-1" {
					t.Errorf("item %v, origin %v", item, origin)
				}
				stored := int64(0)
				size := s.disk(root, func(off int64, plain []byte) {
					want := make([]byte, len(plain))
					if b.disk.ReadAt(t.Context(), want, off); !bytes.Equal(plain, want) {
						t.Errorf("disk differs at byte %d", off)
					}
					stored += int64(len(plain))
				})
				data := int64(0)
				for _, d := range b.disk.data {
					data += int64(len(d))
				}
				if size != b.disk.size || item[uint64(3)] != uint64(size) || stored < data {
					t.Errorf("disk of %d bytes, %d stored of %d", size, stored, data)
				}
			case "stream":
				if len(origin) != 3 || item[uint64(5)] != "" {
					t.Errorf("item %v, origin %v", item, origin)
				}
				if !bytes.Equal(s.stream(root), b.stream) {
					t.Error("stream differs")
				}
			case "nvram.fd":
				if !bytes.Equal(s.stream(root), b.nvram) {
					t.Error("small file differs")
				}
			case "rootfs":
				s.tree(root, b.tree)
				if item[uint64(2)] != "tree" || item[uint64(3)] != b.tree.totals().Bytes {
					t.Errorf("item %v", item)
				}
			}
		}
		for i, child := range structure[8].([]any) {
			if !bytes.Equal(child.([]byte), roots[i]) {
				t.Errorf("child %d is not the root of an item", i)
			}
		}
	}
	for name := range v.objects {
		if !s.seen[name] {
			t.Errorf("FORMAT.md does not say what %s is for", name)
		}
	}
}

// readSpec is the reader of what a store holds, unlocked.
func readSpec(t *testing.T, st *store.Dir) *spec {
	t.Helper()
	s := &spec{t: t, objects: map[string][]byte{}, session: map[string][]byte{}, chunks: map[string]specPlace{}, seen: map[string]bool{}}
	for _, name := range objects(t, st) {
		b, err := st.Get(t.Context(), name, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		s.objects[name] = b
	}
	s.unlock("secret", "test")
	return s
}

func TestFormatPageIsTrueOfLeases(t *testing.T) {
	st := newStore(t)
	r := newRepo(t, st)
	previous := ingestDisk(t, r, "vm/a", nil)
	base := ingestDisk(t, r, "disk/b", nil)
	session, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "vm/a", Kind: "vm", Base: base})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Abort(t.Context())
	s := readSpec(t, st)
	leases, err := st.Leases(t.Context())
	if err != nil || len(leases) != 1 {
		t.Fatalf("%d leases, %v", len(leases), err)
	}
	l := s.cbor(s.sealed("vfsleas", "sessions/"+leases[0].Name, leases[0].Content, "vaultfs lease", unhex(leases[0].Name)))
	if l[1] != uint64(1) || l[7] != "ingest vm/a" || len(l) != 7 || leases[0].Name != session.ID() {
		t.Errorf("lease %v", l)
	}
	if named := fmt.Sprintf("%x", l[3]); named != "["+previous.ID+" "+base.ID+"]" {
		t.Errorf("the lease names %s, not %s and %s", named, previous.ID, base.ID)
	}
}
