package vm

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"vaultfs/internal/testguest"
)

// pauseEnv makes TestLongestPause as long as that, a Go duration, with ten incremental backups; without it there are two
// in a few seconds.
const pauseEnv = "VAULTFS_TEST_PAUSE"

// pauseScript writes 4 KiB with O_DSYNC to a file of 8 MiB again and again, as a database's log does, and notes in
// memory each write that took longer than 50 ms: when it ended and what it took, in ms of the guest's clock. Linux's
// call 228 is clock_gettime.
const pauseScript = `
sub now { my $b = "\0" x 16; syscall(228, $_[0], $b); my ($s, $n) = unpack("q2", $b); return $s * 1000 + $n / 1e6 }
sysopen(my $f, "/data/log", 1 | 010000) or die;
open(my $out, ">", "/run/pauses") or die;
select($out); $| = 1;
my ($n, $last) = (0, now(1));
until (-e "/run/stop") {
	sysseek($f, ($n * 7919 % 2048) * 4096, 0);
	syswrite($f, sprintf("%08d", $n) . "x" x 4088) == 4096 or die;
	my $now = now(1);
	printf("%d %d\n", now(0), $now - $last) if $now - $last > 50;
	($n, $last) = ($n + 1, $now);
}
printf("writes %d\n", $n);
`

// TestLongestPause measures for how long a guest's writes stand still while it is backed up: it writes all the time,
// and is never held up for longer than it takes to freeze it and to begin the job.
func TestLongestPause(t *testing.T) {
	length, backups := 6*time.Second, 2
	if s := os.Getenv(pauseEnv); s != "" {
		var err error
		if length, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
		backups = 10
	}
	g := testguest.Define(t, testguest.Spec{Disks: []testguest.Disk{
		{Base: true, Format: "qcow2", Bus: "virtio"},
		{Format: "qcow2", Bus: "virtio", Size: "256M"},
	}})
	g.Start()
	g.WaitAgent()
	g.Run(`mkfs.ext4 -q /dev/vdb; mkdir -p /data; mount /dev/vdb /data; head -c 8388608 /dev/zero >/data/log; sync
cat >/run/pauses.pl <<'END'
` + pauseScript + `
END
setsid perl /run/pauses.pl >/run/errors 2>&1 &`)
	r := repoIn(t, t.TempDir())
	o := Options{Connect: uri, StateDir: testguest.Dir(t)}
	if _, err := Ingest(t.Context(), r, g.Name, o); err != nil {
		t.Fatal(err)
	}
	var spans []span
	began := time.Now()
	for i := range backups {
		time.Sleep(time.Until(began.Add(time.Duration(i) * length / time.Duration(backups))))
		one := span{from: guestTime(t, g)}
		result, err := Ingest(t.Context(), r, g.Name, o)
		if err != nil {
			t.Fatal(err)
		}
		one.to, one.frozen = guestTime(t, g), result.Frozen
		if !strings.HasPrefix(result.Quiesced, "yes") || !strings.HasPrefix(diskOfResult(t, result, "vdb").How, incrementally) {
			t.Errorf("quiesced %q, %+v", result.Quiesced, result.Disks)
		}
		spans = append(spans, one)
	}
	time.Sleep(time.Until(began.Add(length)))
	pauses := strings.Split(strings.TrimSpace(g.Run(`touch /run/stop; while ! grep -q writes /run/pauses; do sleep 0.1; done; cat /run/errors /run/pauses`)), "\n")
	judgePauses(t, spans, pauses)
	wantNoJob(t, g, filepath.Join(o.StateDir, "scratch"))
}

// span is the time of a backup, in ms of the guest's clock.
type span struct {
	from, to int64
	frozen   time.Duration // from the order to freeze to the answer to thaw; the job begins in between
	longest  time.Duration // that a write took
}

func guestTime(t *testing.T, g *testguest.Guest) int64 {
	t.Helper()
	ms, err := strconv.ParseInt(g.Run("date +%s%3N"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return ms
}

// judgePauses finds the longest pause of each backup, and of the time between them, which is the machine's own.
func judgePauses(t *testing.T, spans []span, lines []string) {
	t.Helper()
	var between time.Duration
	for _, line := range lines[:len(lines)-1] {
		var at, took int64
		if _, err := fmt.Sscan(line, &at, &took); err != nil {
			t.Fatalf("the guest says %q: %v", line, err)
		}
		pause, inside := time.Duration(took)*time.Millisecond, false
		for i := range spans {
			if at >= spans[i].from && at-took <= spans[i].to {
				spans[i].longest, inside = max(spans[i].longest, pause), true
			}
		}
		if !inside {
			between = max(between, pause)
		}
	}
	var longest span
	for i, one := range spans {
		t.Logf("backup %d: %d ms, frozen for %d ms, longest pause %d ms", i+1, one.to-one.from, one.frozen.Milliseconds(), one.longest.Milliseconds())
		// What the guest waits for its processor is no pause of ours; the machine of a test is busy.
		if slack := between + time.Second; one.longest > one.frozen+slack {
			t.Errorf("backup %d: a write took %v, and the guest was frozen for %v only", i+1, one.longest, one.frozen)
		}
		if one.longest > longest.longest {
			longest = one
		}
	}
	t.Logf("%s; longest pause %v, with %v frozen; between the backups %v", lines[len(lines)-1], longest.longest, longest.frozen, between)
}
