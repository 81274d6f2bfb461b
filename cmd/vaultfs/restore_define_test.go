package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"vaultfs/repo"
	"vaultfs/restore"
	"vaultfs/restore/vm"
)

func TestWhatIsToldOfADefinedVM(t *testing.T) {
	snap := &repo.Snapshot{ID: strings.Repeat("3f", 16), Source: "vm/win 11", Time: time.Unix(0, 0)}
	result := &vm.Result{
		Name: "win 11", UUID: "4082c95f-784b-4e9b-9763-65720efc0f5f", URI: "qemu:///system",
		Written:  []*restore.Written{{Item: "vda", Path: "/v/vda.qcow2", Format: "qcow2", Size: 2048, Data: 1024}, {Item: "nvram.fd", Path: "/v/n.fd", Size: 512, Data: 512}},
		Changes:  []string{"name: a instead of b"},
		Notes:    []string{"no checkpoints"},
		Warnings: []string{"no network"},
	}
	for name, c := range map[string]struct {
		started, quiet   bool
		want, wantNot    []string
		wantOnlyWarnings bool
	}{
		"defined": {want: []string{"restored /v/vda.qcow2: qcow2, 2.0 KiB, of which 1.0 KiB hold data\n", "restored /v/n.fd: file, 512 B",
			"changed  name: a instead of b\n", "note     no checkpoints\n", "is defined on qemu:///system", "start it with: virsh -c qemu:///system start 'win 11'\n"}},
		"started": {started: true, want: []string{"is defined and started on qemu:///system, from snapshot 3f3f3f3f of vm/win 11"}, wantNot: []string{"start it with"}},
		"quiet":   {quiet: true, wantOnlyWarnings: true},
	} {
		t.Run(name, func(t *testing.T) {
			var out, complaints bytes.Buffer
			p := &printer{out: &out, err: &complaints, quiet: c.quiet}
			result.Started = c.started
			p.defined(snap, result, time.Second)
			if got := complaints.String(); got != "vaultfs: warning: VM \"win 11\": no network\n" {
				t.Errorf("complaints: %q", got)
			}
			if c.wantOnlyWarnings && out.Len() > 0 {
				t.Errorf("printed: %q", out.String())
			}
			for _, w := range c.want {
				if !strings.Contains(out.String(), w) {
					t.Errorf("%q does not say %q", out.String(), w)
				}
			}
			for _, w := range c.wantNot {
				if strings.Contains(out.String(), w) {
					t.Errorf("%q says %q", out.String(), w)
				}
			}
		})
	}
	t.Run("json", func(t *testing.T) {
		var out, complaints bytes.Buffer
		p := &printer{out: &out, err: &complaints, json: true}
		p.defined(snap, &vm.Result{Name: "v", URI: "qemu:///system"}, time.Second)
		var got map[string]any
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got["event"] != "summary" || got["next"] != "virsh -c qemu:///system start v" || got["changes"] == nil || got["warnings"] == nil || got["started"] != false {
			t.Errorf("%s", out.String())
		}
	})
}
