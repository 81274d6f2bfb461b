package tar

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"

	"vaultfs/repo"
)

// A record is a line of a pax header: POSIX.1-2017, pax, "pax Extended Header".
type record struct{ key, value string }

var errPax = errors.New("a pax header that cannot be read")

// parsePax adds the records of a pax header to others: "LENGTH KEY=VALUE\n", where
// LENGTH counts all of it. A key may come several times.
func parsePax(records []record, b []byte) ([]record, error) {
	for len(b) > 0 && b[0] != 0 { // some pad with NULs
		digits, _, ok := bytes.Cut(b[:min(len(b), 20)], []byte(" "))
		n, err := strconv.Atoi(string(digits))
		if !ok || err != nil || n <= len(digits)+1 || n > len(b) || b[n-1] != '\n' {
			return nil, errPax
		}
		key, value, ok := strings.Cut(string(b[len(digits)+1:n-1]), "=")
		if !ok || key == "" {
			return nil, errPax
		}
		if len(records) == maxRecords {
			return nil, fmt.Errorf("pax headers with more than %d records", maxRecords)
		}
		records = append(records, record{key, value})
		b = b[n:]
	}
	return records, nil
}

// paxTime reads a time: seconds, with any number of decimals.
func paxTime(s string) (t repo.Timestamp, err error) {
	whole, decimals, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil && whole != "" && whole != "-" {
		return t, errNumber
	}
	if strings.Trim(decimals, "0123456789") != "" {
		return t, errNumber
	}
	nsec, _ := strconv.ParseUint((decimals + "000000000")[:9], 10, 32)
	if strings.HasPrefix(s, "-") && nsec > 0 {
		if sec == math.MinInt64 {
			return t, errNumber
		}
		sec, nsec = sec-1, 1e9-nsec
	}
	return repo.Timestamp{Sec: sec, Nsec: uint32(nsec)}, nil
}

// Keys of records, and how the keys of extended attributes begin: those of star,
// which GNU tar took over, and those of libarchive.
const (
	xattrPrefix         = "SCHILY.xattr."
	libarchivePrefix    = "LIBARCHIVE.xattr."
	accessACLKey        = "SCHILY.acl.access"
	defaultACLKey       = "SCHILY.acl.default"
	selinuxKey          = "RHT.security.selinux"
	selinuxAttribute    = "security.selinux"
	accessACLAttribute  = "system.posix_acl_access"
	defaultACLAttribute = "system.posix_acl_default"
)

// apply takes a record into a member.
func (m *member) apply(r record) (err error) {
	switch r.key {
	case "path":
		m.name, err = noNUL(r, m.name)
	case "linkpath":
		m.link, err = noNUL(r, m.link)
	case "size":
		m.stored, err = paxNumber(r.value, m.stored)
	case "uid":
		m.uid, err = paxNumber(r.value, m.uid)
	case "gid":
		m.gid, err = paxNumber(r.value, m.gid)
	case "SCHILY.devmajor":
		m.major, err = paxNumber(r.value, m.major)
	case "SCHILY.devminor":
		m.minor, err = paxNumber(r.value, m.minor)
	case "mtime":
		if r.value != "" {
			m.mtime, err = paxTime(r.value)
		}
	case "uname":
		m.uname = r.value
	case "gname":
		m.gname = r.value
	case "GNU.volume.offset", "GNU.volume.filename":
		return errVolume
	case "SCHILY.realsize", "SCHILY.offs":
		return errors.New("a sparse or continued file in the form of star, which is not read")
	case "GNU.dumpdir":
		m.dumpdir = true
	default:
		return m.applyOther(r)
	}
	if err != nil {
		return fmt.Errorf("%w: its %s", err, shortened(r.key))
	}
	return nil
}

// applyOther takes records with extended attributes, access control lists and
// the maps of sparse files. Others are passed over, as POSIX wants it.
func (m *member) applyOther(r record) error {
	switch name, star := strings.CutPrefix(r.key, xattrPrefix); {
	case star:
		m.setXattr(xattrKey(name), r.value)
		return nil
	case r.key == accessACLKey:
		m.accessACL = r.value
		return nil
	case r.key == defaultACLKey:
		m.defaultACL = r.value
		return nil
	case r.key == selinuxKey && r.value != "":
		// The kernel gives the name with the NUL that ends it.
		m.setXattr(selinuxAttribute, strings.TrimRight(r.value, "\x00")+"\x00")
		return nil
	case strings.HasPrefix(r.key, sparsePrefix):
		return m.sparse.apply(r)
	}
	if name, ok := strings.CutPrefix(r.key, libarchivePrefix); ok {
		name, err := url.PathUnescape(name)
		value, err2 := base64.RawStdEncoding.DecodeString(strings.TrimRight(r.value, "="))
		if err != nil || err2 != nil {
			return fmt.Errorf("%w: its %q", errPax, shortened(r.key))
		}
		m.setXattr(name, string(value))
	}
	return nil
}

// xattrKey is the name of an extended attribute as GNU tar writes it in a key,
// which cannot hold '='.
func xattrKey(s string) string { return xattrKeys.Replace(s) }

var xattrKeys = strings.NewReplacer("%3D", "=", "%25", "%")

// setXattr sets an extended attribute; the last value counts. Those above
// maxXattrs are only counted.
func (m *member) setXattr(name, value string) {
	if len(m.xattrs) == maxXattrs {
		m.surplus++
		return
	}
	for i := range m.xattrs {
		if m.xattrs[i].key == name {
			m.xattrs[i].value = value
			return
		}
	}
	m.xattrs = append(m.xattrs, record{name, value})
}

// noNUL is the value of a record that is a path; an empty one changes nothing.
func noNUL(r record, was string) (string, error) {
	if strings.ContainsRune(r.value, 0) {
		return "", errPax
	}
	if r.value == "" {
		return was, nil
	}
	return r.value, nil
}

// paxNumber reads a decimal number; an empty one changes nothing.
func paxNumber(s string, was int64) (int64, error) {
	if s == "" {
		return was, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, errNumber
	}
	return n, nil
}
