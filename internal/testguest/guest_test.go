package testguest

import (
	"testing"
)

func TestGuestBootsAndAnswers(t *testing.T) {
	t.Parallel()
	g := Define(t, Spec{})
	if state := g.State(); state != "shut off" {
		t.Fatalf("defined guest is %q", state)
	}
	g.Start()
	g.WaitAgent()
	if got := g.Run("echo hello; cat /etc/hostname"); got != "hello\nguest" {
		t.Errorf("guest says %q", got)
	}
	if g.Frozen() {
		t.Error("guest is frozen")
	}
	g.Destroy()
	if state := g.State(); state != "shut off" {
		t.Errorf("destroyed guest is %q", state)
	}
}
