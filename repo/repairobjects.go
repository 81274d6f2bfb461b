package repo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"vaultfs/repo/format"
	"vaultfs/repo/store"
)

// ForgotByRepair is what the mark says that stands in for a manifest which was
// set aside.
const ForgotByRepair = "its manifest was damaged, and set aside by a repair"

// mendManifests sets manifests aside that cannot be read, and puts in their
// place, and in that of missing ones, what a copy of the repository has.
func (p *repair) mendManifests(ctx context.Context) error {
	ids, err := p.repo.listIDs(ctx, "snapshots/")
	if err != nil {
		return err
	}
	for _, id := range ids {
		err := p.readTwice(ctx, snapshotObject(id), format.MaxManifestSize, func(b []byte) error {
			_, err := p.repo.decodeManifest(id, b)
			return err
		})
		if err == nil || errors.Is(err, store.ErrNotFound) {
			continue
		}
		if !isDamage(err) {
			return err
		}
		if err := p.replaceManifest(ctx, id, err); err != nil {
			return err
		}
	}
	if err := p.fillGaps(ctx); err != nil {
		return err
	}
	if len(p.result.PutBack) == 0 {
		return nil
	}
	// A collector that has not seen these manifests must look again.
	return p.publish(ctx, editOnce())
}

// editOnce is an edit for publish that changes nothing but the epoch.
func editOnce() func(*format.Head) bool {
	var first *format.Head
	return func(h *format.Head) bool {
		if first == nil {
			first = &format.Head{Epoch: h.Epoch}
		}
		return h.Epoch == first.Epoch
	}
}

// readTwice reads an object and has it decoded; a second time if that fails,
// because a medium may give the right bytes then.
func (p *repair) readTwice(ctx context.Context, name string, limit int64, decode func([]byte) error) (err error) {
	for range 2 {
		var b []byte
		if b, err = p.repo.store.GetCold(ctx, name, limit, nil); err == nil {
			err = decode(b)
		}
		if err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, ErrNewerFormat) {
			return err
		}
	}
	return damage(name, err)
}

// replaceManifest sets a manifest aside. If no copy has it, a mark says from
// then on that the snapshot is no more: so it is no gap in its source's row, and
// what only it needed may be collected.
func (p *repair) replaceManifest(ctx context.Context, id format.SnapshotID, why error) error {
	source := p.sourceOf(ctx, snapshotObject(id))
	if source == "" {
		source = p.sourceBehind(ctx, id)
	}
	if err := p.aside(ctx, snapshotObject(id)); err != nil {
		return err
	}
	back, err := p.manifestFromCopy(ctx, id)
	if err != nil || back {
		return err
	}
	p.result.Snapshots = append(p.result.Snapshots, LostSnapshot{id.String(), source, why})
	return p.entomb(ctx, id, source)
}

// sourceOf is the source of a damaged manifest, if its structure part opens.
func (p *repair) sourceOf(ctx context.Context, name string) string {
	b, err := p.repo.store.Get(ctx, name, format.MaxManifestSize)
	if err != nil {
		return ""
	}
	id, err := format.ParseSnapshotID(name[strings.LastIndexByte(name, '/')+1:])
	if err != nil {
		return ""
	}
	m, err := format.DecodeManifest(id, p.repo.manifestKey(id), nil, b)
	if err != nil {
		return ""
	}
	return m.Structure.Source
}

// sourceBehind is the source of a snapshot that another one names as the one
// before it; "" if none does.
func (p *repair) sourceBehind(ctx context.Context, id format.SnapshotID) string {
	all, _ := p.repo.Snapshots(ctx) // those that can be read
	for _, s := range all {
		if s.Previous == id.String() {
			return s.Source
		}
	}
	return ""
}

// unknownSource is what a mark says where the source of its snapshot is lost. No
// source has such a name.
const unknownSource = "unknown"

// entomb puts a mark in the place of a manifest.
func (p *repair) entomb(ctx context.Context, id format.SnapshotID, source string) error {
	host, _ := os.Hostname()
	if source == "" {
		source = unknownSource
	}
	m := format.Mark{Snapshot: id, Source: source, Time: wallClock().Unix(), Host: host, Reason: ForgotByRepair}
	name := forgottenObject(id)
	err := p.repo.store.Put(ctx, name, m.Encode(newSalt(), p.repo.markKey, name))
	if errors.Is(err, store.ErrExists) {
		return nil
	}
	return err
}

// isCopy tells whether From is a copy of this repository.
func (p *repair) isCopy() bool {
	return p.options.From != nil && p.options.From.config.Repo == p.repo.config.Repo
}

// manifestFromCopy puts a manifest back from a copy of the repository.
func (p *repair) manifestFromCopy(ctx context.Context, id format.SnapshotID) (bool, error) {
	if !p.isCopy() {
		return false, nil
	}
	name := snapshotObject(id)
	b, err := p.options.From.store.Get(ctx, name, format.MaxManifestSize)
	if err == nil {
		_, err = p.repo.decodeManifest(id, b)
	}
	if err != nil {
		return false, nil // it does not have it either
	}
	if err := p.repo.store.Put(ctx, name, b); err != nil && !errors.Is(err, store.ErrExists) {
		return false, fmt.Errorf("putting snapshot %v back: %w", id, err)
	}
	p.result.PutBack = append(p.result.PutBack, name)
	return true, nil
}

// fillGaps looks after the snapshots that others name as the one before them
// and that are not there: they are put back from a copy, or, if an interrupted
// repair has set them aside, get their mark.
func (p *repair) fillGaps(ctx context.Context) error {
	all, err := p.repo.Snapshots(ctx)
	if err != nil {
		return err
	}
	marks, err := p.repo.marks(ctx)
	if err != nil {
		return err
	}
	for _, s := range all {
		id, err := format.ParseSnapshotID(s.Previous)
		if err != nil || marks[id] {
			continue
		}
		if _, err := p.repo.store.Size(ctx, snapshotObject(id)); !errors.Is(err, store.ErrNotFound) {
			continue
		}
		back, err := p.manifestFromCopy(ctx, id)
		if err != nil {
			return err
		}
		if back {
			continue
		}
		_, err = p.repo.store.Size(ctx, quarantine+snapshotObject(id))
		if errors.Is(err, store.ErrNotFound) {
			continue // it is simply missing: verify says so
		}
		if err == nil {
			err = p.entomb(ctx, id, s.Source)
		}
		if err != nil {
			return err
		}
		p.result.Snapshots = append(p.result.Snapshots, LostSnapshot{id.String(), s.Source, errors.New("set aside by an earlier repair")})
	}
	return nil
}

// mendMarks sets marks of forgotten snapshots aside that cannot be read. A
// snapshot that is still there is listed again then, and can be forgotten anew;
// of one that is gone the mark is made anew, so that there is no gap.
func (p *repair) mendMarks(ctx context.Context) error {
	ids, err := p.repo.listIDs(ctx, "forgotten/")
	if err != nil {
		return err
	}
	for _, id := range ids {
		name := forgottenObject(id)
		err := p.readTwice(ctx, name, format.MaxMarkSize, func(b []byte) error {
			m, err := format.DecodeMark(p.repo.markKey, name, b)
			if err == nil && m.Snapshot != id {
				err = fmt.Errorf("%w: it is of snapshot %v", ErrDamaged, m.Snapshot)
			}
			return err
		})
		if !isDamage(err) {
			continue
		}
		if err := p.aside(ctx, name); err != nil {
			return err
		}
		_, err = p.repo.store.Size(ctx, snapshotObject(id))
		if errors.Is(err, store.ErrNotFound) {
			err = p.entomb(ctx, id, p.sourceBehind(ctx, id))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mendLedger sets parts of the ledger aside that cannot be read: what they said
// is verified sooner than it need be. A damaged policy is left as it is: the one
// before it, or the default, may keep less, and a person has to set it anew.
func (p *repair) mendLedger(ctx context.Context) error {
	var names []string
	if err := p.repo.store.List(ctx, "ledger", func(i store.Info) error { names = append(names, i.Name); return nil }); err != nil {
		return err
	}
	for _, name := range names {
		err := p.readTwice(ctx, name, format.MaxLedgerSize, func(b []byte) error {
			_, err := format.DecodeLedger(p.repo.ledgerKey, name, b)
			return err
		})
		if !isDamage(err) {
			continue
		}
		if err := p.aside(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// mendStrays sets aside what lies among the packs and cannot be one.
func (p *repair) mendStrays(ctx context.Context) error {
	var strays []string
	err := p.repo.store.List(ctx, "packs", func(i store.Info) error {
		if _, _, ok := parsePack(i.Name); !ok {
			strays = append(strays, i.Name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.Sort(strays)
	for _, name := range strays {
		if err := p.aside(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// takePacks takes the packs that are missing or damaged from a copy of the
// repository, as they are, if they are whole there.
func (p *repair) takePacks(ctx context.Context) error {
	if !p.isCopy() {
		return nil
	}
	proved := map[format.PackHash]bool{}
	for i, s := range p.suspects {
		p.count("taking from the copy: pack", i, len(p.suspects))
		taken, err := p.takePack(ctx, s)
		if err != nil {
			return err
		}
		if taken {
			proved[s.hash] = true
		}
	}
	if len(proved) == 0 {
		return nil
	}
	p.suspects = slices.DeleteFunc(p.suspects, func(s suspect) bool { return proved[s.hash] })
	if err := p.publish(ctx, editDamaged(nil, func(h format.PackHash) bool { return proved[h] })); err != nil {
		return err
	}
	return p.probe(ctx)
}

// takePack puts one pack back, and reads it back.
func (p *repair) takePack(ctx context.Context, s suspect) (bool, error) {
	from := p.options.From.store
	b, err := from.Get(ctx, s.object(), format.MaxPackSize)
	if err != nil {
		return false, nil
	}
	entries, err := p.repo.checkPack(s.hash, b)
	if err != nil {
		return false, nil // it is damaged there as well
	}
	if err := p.aside(ctx, s.object()); err != nil {
		return false, err
	}
	if err := p.repo.store.Put(ctx, s.object(), b); err != nil {
		return false, fmt.Errorf("putting %s back: %w", packLabel(s.hash), err)
	}
	pack := &writtenPack{size: len(b), entries: entries, hash: s.hash}
	if err := p.repo.readBack(ctx, s.object(), pack); err != nil {
		return false, fmt.Errorf("putting %s back: %w: the storage did not keep what was written", packLabel(s.hash), err)
	}
	p.result.PutBack = append(p.result.PutBack, s.object())
	return true, nil
}
