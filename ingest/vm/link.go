package vm

import (
	"fmt"
	"sync"
	"time"

	"vaultfs/internal/virt"

	"libvirt.org/go/libvirt"
)

const (
	// awayTime is how long libvirt may be away, as it is when its daemon is restarted, before it is given up.
	awayTime = 20 * time.Second
	// redialPause is between two tries to reach it again.
	redialPause = 200 * time.Millisecond
)

// link is a running domain, and the connection it is reached over. A restart of libvirt's daemon breaks the connection
// but neither stops the guest nor ends its job, so the domain is then found again over a new one. It is the freezer of
// a real guest.
type link struct {
	uri, uuid string

	mu     sync.Mutex
	conn   *libvirt.Connect // a reference of its own
	domain *libvirt.Domain  // the caller's, or the last of redialled
	since  time.Time        // since when libvirt is away; zero while it is there

	redialled []*libvirt.Domain
	hosts     []*virt.Host // of redialled
}

// newLink begins with a domain and a connection that stay the caller's.
func newLink(d *libvirt.Domain) (*link, error) {
	uuid, err := d.GetUUIDString()
	if err != nil {
		return nil, virt.Sentence(err)
	}
	conn, err := d.DomainGetConnect()
	if err != nil {
		return nil, virt.Sentence(err)
	}
	uri, err := conn.GetURI()
	if err != nil {
		conn.Close()
		return nil, virt.Sentence(err)
	}
	return &link{uri: uri, uuid: uuid, conn: conn, domain: d}, nil
}

// reach is the domain, over a new connection if the old one is broken. If libvirt stays away it is the domain that
// cannot be reached: the next call on that says so.
func (l *link) reach() *libvirt.Domain {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.alive() {
		if l.since.IsZero() {
			l.since = time.Now()
		}
		if l.redial() == nil {
			break
		}
		if time.Since(l.since) > awayTime {
			return l.domain
		}
		time.Sleep(redialPause)
	}
	l.since = time.Time{}
	return l.domain
}

// alive asks libvirt something: a connection is known to be broken only once it has been used.
func (l *link) alive() bool {
	if _, err := l.domain.IsActive(); err == nil {
		return true
	}
	alive, err := l.conn.IsAlive()
	return err == nil && alive
}

// redial finds the domain over a new connection. The old one is kept until close: somebody may be in a call.
func (l *link) redial() error {
	h, err := virt.Connect(l.uri)
	if err != nil {
		return err
	}
	d, err := h.Conn.LookupDomainByUUIDString(l.uuid)
	if err != nil {
		h.Close()
		return fmt.Errorf("VM %s: %w", l.uuid, virt.Sentence(err))
	}
	l.conn.Close()
	h.Conn.Ref()
	l.conn, l.domain = h.Conn, d
	l.hosts, l.redialled = append(l.hosts, h), append(l.redialled, d)
	return nil
}

// close gives back what was dialled here; the link is not used after it.
func (l *link) close() {
	for _, d := range l.redialled {
		d.Free()
	}
	for _, h := range l.hosts {
		h.Close()
	}
	l.conn.Close()
}

func (l *link) FSFreeze(mounts []string, flags uint32) error {
	return l.reach().FSFreeze(mounts, flags)
}

func (l *link) FSThaw(mounts []string, flags uint32) error { return l.reach().FSThaw(mounts, flags) }

func (l *link) GetTime(flags uint32) (int64, uint, error) { return l.reach().GetTime(flags) }

func (l *link) AgentSetResponseTimeout(seconds int, flags uint32) error {
	return l.reach().AgentSetResponseTimeout(seconds, flags)
}

// lifeline is for the time that the guest is frozen.
func (l *link) lifeline() (*lifeline, error) { return startLifeline(l.uri, l.uuid, lifelineWait) }
