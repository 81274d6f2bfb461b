package vma

import "fmt"

// NewDescribedView computes the archive that a description is of. It asks for the
// configs and the drives by the names of their items, in the archive's order. An
// error of theirs is wrapped with what it is of.
func NewDescribedView(d *Description, config func(item string) ([]byte, error), drive func(item string) (Source, error)) (*View, error) {
	if d.Format != FormatVMA {
		return nil, fmt.Errorf("the archive %s is of the format %q: only a VMA is computed", d.Name, d.Format)
	}
	h, err := d.Header()
	if err != nil {
		return nil, err
	}
	for i, c := range d.Configs {
		if h.Configs[i].Data, err = config(c.Item); err != nil {
			return nil, fmt.Errorf("configuration file %s: %w", c.Name, err)
		}
	}
	sources := make([]Source, len(d.Drives))
	for i := range d.Drives {
		if sources[i], err = drive(d.Drives[i].Item); err != nil {
			return nil, fmt.Errorf("%v: %w", &h.Drives[i], err)
		}
	}
	return NewView(h, sources)
}
