package repo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/index"
	"vaultfs/repo/seal"
	"vaultfs/repo/store"
)

const (
	configObject = "config"

	// SegmentSize is the segment size of new repositories, in bytes. A segment
	// is the unit that an incremental backup rewrites and that is cut in
	// parallel; its full map is about 24 KB.
	SegmentSize = 64 << 20

	chunkCacheSize = 64 << 20 // decoded chunks, bytes
	mapCacheSize   = 16 << 20 // decoded maps and nodes, bytes
)

// A Repo is an open repository. It may be used by several goroutines at once.
type Repo struct {
	store   *store.Dir
	config  *format.Config
	secrets *seal.Secrets
	slot    string // the key slot that opened the repository
	warn    func(string)
	// cacheDir is where the local copies of indexes are kept; "" if they are temporary.
	cacheDir string

	dataNames, structureNames *chunk.Namer

	index  *index.Index
	chunks *chunkCache
	ahead  atomic.Int64 // bytes that are being read ahead
	maps   *cache[chunk.ID, any]
	boxes  *cache[format.PackHash, *seal.Box]

	syncing sync.Mutex   // held while the index is brought in step; before mu
	head    *format.Head // that the index is in step with; nil before the first use
	rebuilt bool         // the index was made from pack footers: head or runs are of no use
	lostSeq uint64       // of the head when that was done
	frozen  bool         // the index stays as it is

	mu        sync.Mutex
	secret    map[format.SnapshotID]seal.Key
	manifests map[format.SnapshotID]*format.Manifest
}

// OpenOptions says how to open a repository.
type OpenOptions struct {
	Password []byte       // nil: none was given
	CacheDir string       // of the local copy of the index; "" makes a temporary one
	Warn     func(string) // is told what a person should know; may be nil
}

// Open opens the repository in a store. ErrNotRepository, ErrPasswordNeeded,
// ErrWrongPassword, ErrUnencrypted, ErrNewerFormat and ErrDamaged are told
// apart.
func Open(ctx context.Context, st *store.Dir, o OpenOptions) (*Repo, error) {
	raw, err := st.Get(ctx, configObject, format.MaxConfigSize)
	if errors.Is(err, store.ErrNotFound) {
		return nil, notRepository(ctx, st)
	} else if err != nil {
		return nil, damage("config", err)
	}
	config, err := format.DecodeConfig(raw)
	if errors.Is(err, format.ErrNewer) {
		return nil, fmt.Errorf("config: %w", err)
	} else if err != nil {
		return nil, damage("config", err)
	}
	if err := format.CheckFeatures("reading", config.Read); err != nil {
		return nil, err
	}
	secrets, slot, err := unlock(ctx, st, config, raw, o.Password)
	if err != nil {
		return nil, err
	}
	return newRepo(st, config, secrets, slot, o)
}

// notRepository tells a directory that lost its config from one that never
// was a repository.
func notRepository(ctx context.Context, st *store.Dir) error {
	found := errors.New("found")
	for _, dir := range []string{"keys", "packs", "snapshots"} {
		err := st.List(ctx, dir, func(store.Info) error { return found })
		if errors.Is(err, found) {
			return &DamageError{"config", errors.New("missing; `vaultfs key import` puts it back from a recovery file")}
		}
		if err != nil {
			return err
		}
	}
	return ErrNotRepository
}

func newRepo(st *store.Dir, config *format.Config, secrets *seal.Secrets, slot string, o OpenOptions) (*Repo, error) {
	dir := ""
	if o.CacheDir != "" {
		dir = fmt.Sprintf("%s/%x", o.CacheDir, config.Repo[:8])
	}
	x, err := index.Open(dir)
	if err != nil {
		return nil, err
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	for _, w := range st.Warnings() {
		o.Warn(w)
	}
	return &Repo{
		store: st, config: config, secrets: secrets, slot: slot, warn: o.Warn, index: x, cacheDir: o.CacheDir,
		dataNames:      chunk.NewNamer(secrets.DataIDKey()),
		structureNames: chunk.NewNamer(secrets.StructureIDKey()),
		chunks:         newChunkCache(chunkCacheSize),
		maps:           newCache[chunk.ID, any](mapCacheSize),
		boxes:          newCache[format.PackHash, *seal.Box](4096),
		secret:         map[format.SnapshotID]seal.Key{},
		manifests:      map[format.SnapshotID]*format.Manifest{},
	}, nil
}

// Close releases what the repository holds. The store stays open.
func (r *Repo) Close() error { return r.index.Close() }

// ID names the repository: 64 hex digits.
func (r *Repo) ID() string { return fmt.Sprintf("%x", r.config.Repo) }

// Encrypted is false for a repository made with --no-encryption.
func (r *Repo) Encrypted() bool { return r.config.Encrypted }

// SegmentSize is the size of the segments of the repository's disks, in bytes.
func (r *Repo) SegmentSize() int64 { return int64(r.config.SegmentSize) }

// DiskCutter cuts disks for this repository.
func (r *Repo) DiskCutter() *chunk.Disk { return chunk.NewDisk(r.secrets.GrainKey) }

// Identify returns the ID that a data chunk of these bytes has. It may be called
// by several goroutines at once.
func (r *Repo) Identify(plain []byte) chunk.ID { return r.name(format.Data, plain) }

// name is the ID of a chunk of a kind. Data and structure are named under
// different keys, so no guest can write a block that has the ID of a map.
func (r *Repo) name(k format.Kind, plain []byte) chunk.ID {
	if k.Structured() {
		return r.structureNames.Name(plain)
	}
	return r.dataNames.Name(plain)
}
