package pgarchive

import "strings"

// An entry is what is kept of an entry of the contents that has data.
type entry struct {
	name  string // "TABLE DATA public.orders"
	place int64  // of its offset's state in the archive
	found bool
	// stated is where its data begins according to the entry; -1 if the entry
	// does not say.
	stated int64
}

// The states of an offset, K_OFFSET_… of pg_backup_archiver.h.
const (
	offsetUnknown = 1
	offsetKnown   = 2
	offsetNoData  = 3
)

// maxEntries bounds the count of the contents: dump IDs are C ints.
const maxEntries = 1<<31 - 1

// contents reads the table of contents.
func (c *checker) contents() error {
	n, err := c.int()
	if err != nil {
		return err
	}
	if n < 0 || n > maxEntries {
		return c.bad("a table of contents with %d entries", n)
	}
	for range n {
		if err := c.entry(); err != nil {
			return err
		}
	}
	c.sum.Entries = int(n)
	return nil
}

// entry reads one entry: its ID, whether it has data, its OIDs, tag,
// description, section, three statements, schema, tablespace, access method, kind
// of relation, owner, an obsolete flag, the entries it depends on, its offset.
func (c *checker) entry() error {
	id, err := c.int()
	if err != nil {
		return err
	}
	if id <= 0 {
		return c.bad("an entry numbered %d", id)
	}
	hasData, err := c.int()
	if err != nil {
		return err
	}
	if hasData != 0 && hasData != 1 {
		return c.bad("an entry whose data flag is %d", hasData)
	}
	var tag, kind, schema, owner string
	for _, keep := range []*string{nil, nil, &tag, &kind} {
		if err := c.text(keep); err != nil {
			return err
		}
	}
	if _, err := c.int(); err != nil { // section
		return err
	}
	for _, keep := range []*string{nil, nil, nil, &schema, nil} {
		if err := c.text(keep); err != nil {
			return err
		}
	}
	if err := c.storage(); err != nil {
		return err
	}
	for _, keep := range []*string{&owner, nil} {
		if err := c.text(keep); err != nil {
			return err
		}
	}
	for depends := true; depends; {
		if depends, err = c.skipString(); err != nil {
			return err
		}
	}
	c.owners.add(owner)
	c.database.add(ofDatabase(kind, schema, tag))
	return c.offset(int(id), hasData == 1, name(kind, schema, tag))
}

// ofDatabase tells what of the database itself an entry holds; "" for nothing.
// PostgreSQL 11 and newer write them, dumpDatabase in pg_dump.c.
func ofDatabase(kind, schema, tag string) string {
	if kind == "DATABASE PROPERTIES" {
		return "settings"
	}
	if schema != "" || !strings.HasPrefix(tag, "DATABASE ") {
		return ""
	}
	return map[string]string{"ACL": "privileges", "COMMENT": "comment", "SECURITY LABEL": "security label"}[kind]
}

// text reads a string into keep, or over it.
func (c *checker) text(keep *string) error {
	if keep == nil {
		_, err := c.skipString()
		return err
	}
	s, _, err := c.string(maxText)
	*keep = s
	return err
}

// storage reads what versions have added about a table.
func (c *checker) storage() error {
	if c.sum.Version >= tableAM {
		if _, err := c.skipString(); err != nil {
			return err
		}
	}
	if c.sum.Version >= relKind {
		_, err := c.int()
		return err
	}
	return nil
}

// offset reads where the data of an entry begins.
func (c *checker) offset(id int, hasData bool, name string) error {
	e := &entry{name: name, place: c.off, stated: -1}
	b := make([]byte, 1+c.offSize)
	if err := c.full(b); err != nil {
		return err
	}
	at := int64(0)
	for i, v := range b[1:] {
		at |= int64(v) << (8 * i)
	}
	switch state := b[0]; {
	case state != offsetUnknown && state != offsetKnown && state != offsetNoData:
		return c.bad("an offset in the state %d", state)
	case (state == offsetNoData) == hasData:
		return c.bad("an entry, %s, that says both that it has data and that it has none", name)
	case state == offsetKnown:
		e.stated = at
	}
	if !hasData {
		return nil
	}
	if c.data[id] != nil {
		return c.bad("a second entry numbered %d", id)
	}
	c.data[id] = e
	c.order = append(c.order, id)
	return nil
}

func name(kind, schema, tag string) string {
	if schema != "" {
		tag = schema + "." + tag
	}
	if tag == "" || tag == kind {
		return kind
	}
	return kind + " " + tag
}

// A set keeps strings in the order in which they came.
type set struct {
	seen map[string]bool
	list []string
}

func (s *set) add(v string) {
	if v == "" || s.seen[v] {
		return
	}
	if s.seen == nil {
		s.seen = map[string]bool{}
	}
	s.seen[v] = true
	s.list = append(s.list, v)
}
