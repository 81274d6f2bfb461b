package vm

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/beevik/etree"

	"vaultfs/repo"
)

const (
	// definitionLimit is the longest definition that is read, in bytes. Libvirt's own messages hold 4 MiB.
	definitionLimit = 4 << 20
	// depthLimit is how deep its elements may lie in one another.
	depthLimit = 100
)

// readDefinition reads domain.xml of a snapshot.
func readDefinition(ctx context.Context, r *repo.Repo, snap *repo.Snapshot) (*etree.Document, error) {
	it := snap.Item(definitionItem)
	if it == nil || it.Kind != repo.ItemFile {
		return nil, fmt.Errorf("snapshot %s of %s holds no %s, so there is no VM to define: restore its disks with --to DEST, and define one around them", snap.Short(), snap.Source, definitionItem)
	}
	text, err := readItem(ctx, r, *it, definitionLimit)
	if err != nil {
		return nil, err
	}
	doc, err := parseDefinition(text)
	if err != nil {
		return nil, fmt.Errorf("%s of snapshot %s: %w: restore the disks with --to DEST, and define a VM around them", definitionItem, snap.Short(), err)
	}
	return doc, nil
}

// readItem reads a file of the snapshot that has at most limit bytes.
func readItem(ctx context.Context, r *repo.Repo, it repo.Item, limit int64) ([]byte, error) {
	f, err := r.OpenFile(ctx, it)
	if err != nil {
		return nil, err
	}
	if f.Size() > limit {
		return nil, fmt.Errorf("%s has %d bytes, and at most %d are plausible: restore it by itself and look at it", it.Name, f.Size(), limit)
	}
	return io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
}

// parseDefinition reads a domain's XML, keeping all that is in it.
func parseDefinition(text []byte) (*etree.Document, error) {
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(text); err != nil {
		return nil, fmt.Errorf("not XML: %w", err)
	}
	root := doc.Root()
	if root == nil || root.Tag != "domain" {
		return nil, errors.New("not the definition of a domain")
	}
	if deeper(root, depthLimit) {
		return nil, fmt.Errorf("its elements lie more than %d deep in one another", depthLimit)
	}
	return doc, checkPlain(root)
}

// single is what libvirt reads once: of two it takes one, and that may not be the one that is looked at here.
var single = map[string][]string{
	"domain": {"name", "uuid", "genid", "os"},
	"os":     {"type", "loader", "nvram", "kernel", "initrd", "dtb"},
	"disk":   {"driver", "source", "target"},
	"nvram":  {"source"},
}

// checkPlain refuses what libvirt would read otherwise than it is read here: elements that are there twice, and those that
// belong, as their attributes may, to another namespace though their names are libvirt's own.
func checkPlain(domain *etree.Element) error {
	all := []*etree.Element{domain}
	for _, tag := range []string{"os", "devices"} {
		for _, e := range domain.SelectElements(tag) {
			all = append(append(all, e), e.FindElements(".//*")...)
		}
	}
	for _, e := range all {
		if e.Space != "" || e.NamespaceURI() != "" {
			return fmt.Errorf("its element %s is of another namespace, which libvirt never writes there", e.FullTag())
		}
		for _, a := range e.Attr {
			if a.Space != "" && e != domain {
				return fmt.Errorf("its attribute %s of %s is of another namespace, which libvirt never writes there", a.FullKey(), e.Tag)
			}
		}
		for _, tag := range single[e.Tag] {
			if n := len(e.SelectElements(tag)); n > 1 {
				return fmt.Errorf("it has %d elements %s in one %s, and libvirt writes one", n, tag, e.Tag)
			}
		}
	}
	return nil
}

func deeper(e *etree.Element, limit int) bool {
	if limit == 0 {
		return true
	}
	for _, c := range e.ChildElements() {
		if deeper(c, limit-1) {
			return true
		}
	}
	return false
}

// devices are the elements of <devices> with a tag.
func devices(domain *etree.Element, tag string) (all []*etree.Element) {
	for _, d := range domain.SelectElements("devices") {
		all = append(all, d.SelectElements(tag)...)
	}
	return all
}

// attr is an attribute of a child, "" where either is missing.
func attr(e *etree.Element, child, name string) string {
	return e.SelectElement(child).NotNil().SelectAttrValue(name, "")
}

// remove takes an element away from its parent.
func remove(e *etree.Element) {
	if parent := e.Parent(); parent != nil {
		parent.RemoveChild(e)
	}
}

func removeAll(e *etree.Element, tags ...string) {
	for _, tag := range tags {
		for _, c := range e.SelectElements(tag) {
			e.RemoveChild(c)
		}
	}
}
