package vma

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
)

// DescriptionItem is the name of the item of a snapshot that holds the
// description of the archive it was made of.
const DescriptionItem = "archive.json"

// MaxDescription bounds an encoded description, in bytes.
const MaxDescription = 1 << 20

// descriptionVersion is the only one there is.
const descriptionVersion = 1

// The formats of archives that are described.
const (
	FormatVMA = "vma" // of a virtual machine; the archive is computed from the description
	FormatTar = "tar" // of a container; its tree is kept, not the archive
)

// A Description is what a snapshot keeps of an archive beside the contents of
// its drives and its configuration files, so that the archive can be computed
// from them again. It is stored as JSON.
type Description struct {
	Version int    `json:"version"`
	Format  string `json:"format"`         // FormatVMA or FormatTar
	Name    string `json:"name"`           // the archive's file name without the suffix of its compression
	VMID    string `json:"vmid,omitempty"` // "" if its file name did not tell
	UUID    string `json:"uuid,omitempty"` // of a VMA, 32 hex digits
	Created int64  `json:"created,omitempty"`
	// Drives and Configs are in the archive's order. The names of items are not
	// always those in the archive: the items of a snapshot have one name space.
	Drives  []DescribedDrive  `json:"drives,omitempty"`
	Configs []DescribedConfig `json:"configs,omitempty"`
}

// A DescribedDrive is a drive and the item, a disk, that holds its contents.
type DescribedDrive struct {
	ID   uint8  `json:"id"`
	Name string `json:"name"`
	Size int64  `json:"size"` // bytes
	Item string `json:"item"`
}

// A DescribedConfig is a configuration file and the item, a file, that is it.
type DescribedConfig struct {
	Name string `json:"name"`
	Item string `json:"item"`
}

// Encode makes the JSON. A description that is not valid is an error.
func (d *Description) Encode() ([]byte, error) {
	d.Version = descriptionVersion
	if err := d.Validate(); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(d, "", "  ")
	return append(b, '\n'), err
}

// DecodeDescription reads and validates a description.
func DecodeDescription(b []byte) (*Description, error) {
	if len(b) > MaxDescription {
		return nil, fmt.Errorf("description of an archive: %d bytes, more than %d", len(b), MaxDescription)
	}
	d, in := new(Description), json.NewDecoder(bytes.NewReader(b))
	in.DisallowUnknownFields()
	if err := in.Decode(d); err != nil {
		return nil, fmt.Errorf("description of an archive: %w", err)
	}
	if _, err := in.Token(); err != io.EOF {
		return nil, errors.New("description of an archive: more follows it")
	}
	if err := d.Validate(); err != nil {
		return nil, err
	}
	return d, nil
}

// Validate tells what cannot be: a version or format that is not known, names
// that no archive may have, items that are named twice.
func (d *Description) Validate() error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("description of an archive: "+format, args...)
	}
	switch {
	case d.Version != descriptionVersion:
		return fail("it has version %d, this program knows %d", d.Version, descriptionVersion)
	case d.Format != FormatVMA && d.Format != FormatTar:
		return fail("format %q is not known", d.Format)
	case unfit(d.Name) != "":
		return fail("the archive's name %q %s", d.Name, unfit(d.Name))
	case d.Format == FormatVMA && path.Ext(d.Name) != ".vma":
		return fail("the name %q of a VMA does not end in .vma", d.Name)
	}
	items := map[string]bool{DescriptionItem: true}
	for _, name := range d.items() {
		if unfit(name) != "" || items[name] {
			return fail("an item cannot be called %q, or two are", name)
		}
		items[name] = true
	}
	if d.Format == FormatTar {
		return nil
	}
	if _, err := d.Header(); err != nil {
		return fail("%w", err)
	}
	return nil
}

func (d *Description) items() (names []string) {
	for _, c := range d.Configs {
		names = append(names, c.Item)
	}
	for _, v := range d.Drives {
		names = append(names, v.Item)
	}
	return names
}

// Header is the header of a VMA without the contents of its configs, which are
// in the order of Configs.
func (d *Description) Header() (*Header, error) {
	h := &Header{Created: d.Created}
	uuid, err := hex.DecodeString(d.UUID)
	if err != nil || len(uuid) != len(h.UUID) {
		return nil, fmt.Errorf("UUID %q is not of %d hex digits", d.UUID, 2*len(h.UUID))
	}
	copy(h.UUID[:], uuid)
	for _, c := range d.Configs {
		h.Configs = append(h.Configs, Config{Name: c.Name})
	}
	for _, v := range d.Drives {
		h.Drives = append(h.Drives, Drive{v.ID, v.Name, v.Size})
	}
	return h, h.Validate()
}
