package tar

import (
	"fmt"
	"os/user"
	"strconv"

	"vaultfs/internal/acl"
)

// A named is a user or a group: acl.User or acl.Group, and its name.
type named struct{ kind, name string }

// maxNames bounds how many names are kept of an archive, maxNameLen how long they
// are, in bytes; Linux takes shorter ones.
const (
	maxNames   = 1 << 14
	maxNameLen = 255
)

// names are the users and groups whose names and numbers the archive tells, as
// owners of members, and those that this host was asked for.
type names struct {
	owners map[named]uint32
	host   map[named]string // numbers; "" is not known
}

func newNames() names { return names{map[named]uint32{}, map[named]string{}} }

// learn takes in the owner of a member.
func (n names) learn(m *member) {
	n.set(named{acl.User, m.uname}, m.uid)
	n.set(named{acl.Group, m.gname}, m.gid)
}

func (n names) set(who named, id int64) {
	if who.name != "" && len(who.name) <= maxNameLen && len(n.owners) < maxNames {
		n.owners[who] = uint32(id)
	}
}

// lookUp finds the number of a name in an access control list, which tar writes
// without it unless it is told --numeric-owner. If the archive does not tell it,
// it is that of this host, as it is for tar; that is noted.
func (s *storing) lookUp(kind, name string) (uint32, bool) {
	if len(name) > maxNameLen {
		return 0, false
	}
	who := named{kind, name}
	if id, ok := s.names.owners[who]; ok {
		return id, true
	}
	number, asked := s.names.host[who]
	if !asked && len(s.names.host) < maxNames {
		number = ofHost(who)
		s.names.host[who] = number
		if number != "" {
			s.report.Notes = append(s.report.Notes, fmt.Sprintf(
				"access control lists name the %s %q without a number: it is taken for %s, which it is on this host", kind, name, number))
		}
	}
	id, err := strconv.ParseUint(number, 10, 32)
	return uint32(id), err == nil
}

// ofHost is the number that a name has on this host, or "".
func ofHost(who named) string {
	if who.kind == acl.Group {
		if g, err := user.LookupGroup(who.name); err == nil {
			return g.Gid
		}
		return ""
	}
	if u, err := user.Lookup(who.name); err == nil {
		return u.Uid
	}
	return ""
}
