package vm

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"libvirt.org/go/libvirt"
)

// fakeGuest is an agent that fails as told; it notes what it was asked.
type fakeGuest struct {
	ping    error
	freezes []error // of the first orders to freeze, in turn; later ones succeed
	thaws   []error // likewise
	calls   []string
}

func (f *fakeGuest) GetTime(uint32) (int64, uint, error) { return 0, 0, f.ping }

func (f *fakeGuest) AgentSetResponseTimeout(int, uint32) error { return nil }

func (f *fakeGuest) lifeline() (*lifeline, error) { return nil, nil }

func (f *fakeGuest) FSFreeze([]string, uint32) error { return f.call("freeze", &f.freezes) }

func (f *fakeGuest) FSThaw([]string, uint32) error { return f.call("thaw", &f.thaws) }

func (f *fakeGuest) call(what string, errs *[]error) error {
	f.calls = append(f.calls, what)
	if len(*errs) == 0 {
		return nil
	}
	err := (*errs)[0]
	*errs = (*errs)[1:]
	return err
}

var (
	timeout = libvirt.Error{Code: libvirt.ERR_AGENT_COMMAND_TIMEOUT, Domain: libvirt.FROM_QEMU, Message: "no answer"}
	refusal = libvirt.Error{Code: libvirt.ERR_INTERNAL_ERROR, Domain: libvirt.FROM_QEMU, Message: "internal error: unable to execute QEMU agent command 'guest-fsfreeze-freeze': disabled"}
	broken  = libvirt.Error{Code: libvirt.ERR_INTERNAL_ERROR, Domain: libvirt.FROM_RPC, Message: "internal error: client socket is closed"}
)

func TestFreezeIsHeldAroundTheBeginningOnly(t *testing.T) {
	for name, c := range map[string]struct {
		guest   fakeGuest
		frozen  bool
		calls   string
		warning string
		unsure  bool
	}{
		"good":                       {fakeGuest{}, true, "freeze begin thaw", "", false},
		"hangs before":               {fakeGuest{ping: timeout}, false, "begin", "did not answer in time", false},
		"cannot tell the time":       {fakeGuest{ping: refusal}, true, "freeze begin thaw", "", false},
		"refuses":                    {fakeGuest{freezes: []error{refusal, refusal}}, false, "freeze thaw freeze thaw begin", "agent failed: disabled", false},
		"refuses that and to thaw":   {fakeGuest{freezes: []error{refusal}, thaws: []error{refusal}}, false, "freeze thaw begin", "agent failed: disabled", false},
		"was frozen":                 {fakeGuest{freezes: []error{refusal}}, true, "freeze thaw freeze begin thaw", "", false},
		"refuses, then hangs":        {fakeGuest{freezes: []error{refusal, timeout}, thaws: []error{nil, timeout}}, false, "freeze thaw freeze thaw begin", "agent failed", true},
		"refuses, hangs in the thaw": {fakeGuest{freezes: []error{refusal}, thaws: []error{timeout}}, false, "freeze thaw begin", "agent failed", true},
		"hangs in the freeze":        {fakeGuest{freezes: []error{timeout}}, false, "freeze thaw begin", "did not answer in time", false},
		"hangs in freeze and thaw":   {fakeGuest{freezes: []error{timeout}, thaws: []error{timeout}}, false, "freeze thaw begin", "did not answer in time", true},
		"hangs, refuses to thaw":     {fakeGuest{freezes: []error{timeout}, thaws: []error{refusal}}, false, "freeze thaw begin", "did not answer in time", true},
		"libvirt goes":               {fakeGuest{freezes: []error{broken}}, false, "freeze thaw begin", "libvirt failed: client socket is closed", false},
		"libvirt stays away":         {fakeGuest{freezes: []error{broken}, thaws: []error{broken}}, false, "freeze thaw begin", "libvirt failed", true},
		"thaws late":                 {fakeGuest{thaws: []error{timeout, timeout}}, true, "freeze begin thaw thaw thaw", "", false},
		"does not thaw":              {fakeGuest{thaws: []error{timeout, timeout, timeout}}, true, "freeze begin thaw thaw thaw", "virsh domfsthaw v", true},
	} {
		t.Run(name, func(t *testing.T) {
			g := &c.guest
			q, err := frozenWhile(t.Context(), "v", g, time.Minute, func() error {
				g.calls = append(g.calls, "begin")
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if calls := strings.Join(g.calls, " "); calls != c.calls {
				t.Errorf("calls %q, want %q", calls, c.calls)
			}
			if q.frozen != c.frozen || q.unsure != c.unsure || !strings.Contains(q.warning, c.warning) || (q.warning == "") != (c.warning == "") {
				t.Errorf("%+v", q)
			}
			if found := q.note != ""; found != (name == "was frozen") {
				t.Errorf("note %q", q.note)
			}
		})
	}
}

func TestThawAfterEveryEnd(t *testing.T) {
	for name, begin := range map[string]func() error{
		"error": func() error { return errors.New("no job") },
		"panic": func() error { panic("no job") },
	} {
		t.Run(name, func(t *testing.T) {
			g := &fakeGuest{}
			func() {
				defer func() { _ = recover() }()
				if _, err := frozenWhile(t.Context(), "v", g, time.Minute, begin); err == nil {
					t.Error("no error")
				}
			}()
			if !slices.Equal(g.calls, []string{"freeze", "thaw"}) {
				t.Errorf("calls %q", g.calls)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	g := &fakeGuest{}
	if _, err := frozenWhile(ctx, "v", g, time.Minute, nil); !errors.Is(err, context.Canceled) || g.calls != nil {
		t.Errorf("cancelled before: %v, calls %q", err, g.calls)
	}
}

func TestGuardThawsWhenTheJobIsLate(t *testing.T) {
	g := &fakeGuest{}
	q, err := frozenWhile(t.Context(), "v", g, 10*time.Millisecond, func() error {
		time.Sleep(200 * time.Millisecond)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if q.frozen || q.took > 100*time.Millisecond || !strings.Contains(q.warning, "took too long to begin") {
		t.Errorf("%+v", q)
	}
}

func TestThawerGoesOnUntilTheAgentAnswers(t *testing.T) {
	g := &fakeGuest{thaws: []error{timeout}}
	w := keepThawing(g)
	<-w.ended
	if err := w.finish("v"); err != nil || len(g.calls) != 2 {
		t.Errorf("%v after %d calls", err, len(g.calls))
	}
	g = &fakeGuest{thaws: []error{timeout, timeout}}
	w = keepThawing(g)
	wantError(t, w.finish("v"), "virsh domfsthaw v")
}

func TestWhyNotFrozen(t *testing.T) {
	connected, silent, none := agent{true, true}, agent{true, false}, agent{}
	for _, c := range []struct {
		agent     agent
		state     libvirt.DomainState
		no        bool
		why       string
		isWarning bool
	}{
		{connected, libvirt.DOMAIN_RUNNING, false, "", false},
		{connected, libvirt.DOMAIN_RUNNING, true, "not asked for", false},
		{connected, libvirt.DOMAIN_PAUSED, false, "the guest is paused", false},
		{none, libvirt.DOMAIN_RUNNING, false, "no guest agent", false},
		{silent, libvirt.DOMAIN_RUNNING, false, "the guest agent is not running", true},
	} {
		why, warning := whyNotFrozen(&guest{name: "v", agent: c.agent}, c.state, c.no)
		if why != c.why || (warning != "") != c.isWarning {
			t.Errorf("%+v: %q, %q", c, why, warning)
		}
	}
}
