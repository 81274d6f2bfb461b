package report

// Rows of the benchmark.
const (
	First       = "first"
	Next        = "next"
	Third       = "third"
	Other       = "other"
	Again       = "again"
	LargeFirst  = "large-first"
	LargeAgain  = "large-again"
	Bitmap      = "bitmap"
	Sequential  = "mount-sequential"
	SecondRead  = "mount-again"
	RandomReads = "mount-random"
	Boot        = "boot"
	Restore     = "restore"
	TreeFirst   = "tree-first"
	TreeAgain   = "tree-again"
	DumpFirst   = "dump-first"
	DumpNext    = "dump-next"
	Unlock      = "unlock"
)

// Names under which samples stand that are no peers'.
const (
	Own         = "vaultfs"
	OwnNoVerify = "vaultfs --no-verify"
	Restic      = "restic"
	Borg        = "borg"
	BorgFixed   = "borg, fixed 4 MiB"
	Kopia       = "kopia"
	Pipeline    = "bare pipeline"
	ReadHash    = "read and hash"
	Copy        = "cp --sparse=always"
	Local       = "local file"
	Dirty1      = "bitmap, 1 % dirty"
	DirtyTenth  = "bitmap, 0.1 % dirty"
	FullRead    = "full read"
)

// titles of the rows, for tables and plots.
var titles = map[string]string{
	First:       "first backup of a guest's disk",
	Next:        "its next generation",
	Third:       "its third generation",
	Other:       "another guest",
	Again:       "the first generation again, with a new mtime",
	LargeFirst:  "a large disk, first backup",
	LargeAgain:  "a large disk, unchanged, with a new mtime",
	Bitmap:      "increments of the large disk",
	Sequential:  "reading in order, cold",
	SecondRead:  "reading the same again",
	RandomReads: "single reads of 4 KiB, cold",
	Boot:        "a guest's boot behind an overlay, cold",
	Restore:     "restoring a disk to a file, cold",
	TreeFirst:   "a Debian root as a tree, first backup",
	TreeAgain:   "the tree, unchanged",
	DumpFirst:   "a PostgreSQL dump, first backup",
	DumpNext:    "the next day's dump",
	Unlock:      "unlocking the repository",
}

// A section is a table: a line a row, a column a tool.
type section struct {
	title, about string
	rows         []string
	metric       metric
	cell         func(spread) string
}

var sections = []section{
	{"Backups: seconds", "What is backed up is in the page cache. In brackets the fastest and the slowest round.",
		[]string{First, Next, Third, Other, Again, LargeFirst, LargeAgain, TreeFirst, TreeAgain, DumpFirst, DumpNext}, seconds, secondsCell},
	{"Backups: rate", "MB a second of the source's bytes on its disk.",
		[]string{First, Next, Third, Other, Again, LargeFirst, LargeAgain, TreeFirst, TreeAgain, DumpFirst, DumpNext}, rate, megaCell},
	{"Backups: processor seconds", "User and system, of the program and all that it starts.",
		[]string{First, Next, Third, Other, Again, LargeFirst, LargeAgain, TreeFirst, TreeAgain, DumpFirst, DumpNext}, cpu, secondsCell},
	{"Peak memory: MB", "The sum of what each process of the program had resident at most.",
		[]string{First, Next, LargeFirst, LargeAgain, TreeFirst, DumpFirst, Sequential, RandomReads, Restore}, peak, megaCell},
	{"Stored: MB", "The repository on the disk after each of these backups, in this order.",
		[]string{First, Next, Third, Other, LargeFirst, TreeFirst, DumpFirst, DumpNext}, stored, megaCell},
	{"Growth: MB", "What each of these backups added.",
		[]string{First, Next, Third, Other, Again, LargeAgain, TreeAgain, DumpNext}, grown, megaCell},
	{"Increments: seconds", "From the opening of the session to the commit, of an image that qemu-nbd serves with a dirty bitmap, as in backing up a running VM; unlocking apart.",
		[]string{Bitmap}, seconds, secondsCell},
	{"Mount: MB a second", "The disk as qcow2, through each program's mount; cold is with nothing of the repository, or of the file, in the page cache.",
		[]string{Sequential, SecondRead}, rate, megaCell},
	{"Mount: single reads a second", "One at a time, at the same random places of the file for all, and at most as many: what has been read warms what is read next.",
		[]string{RandomReads}, reads, countCell},
	{"Boot: seconds", "Until the login prompt is on the serial port; QEMU, an empty overlay, cold.",
		[]string{Boot}, seconds, secondsCell},
	{"Restore: seconds", "Until all is on the disk (with sync), cold. vaultfs makes a raw file with holes, the others the qcow2 file that they were given; cp copies the raw file.",
		[]string{Restore}, seconds, secondsCell},
	{"Unlocking: seconds", "A command that does little else. It is part of all times above but those of increments and mounts.",
		[]string{Unlock}, seconds, secondsCell},
}

// A goal is a ratio that vaultfs is to reach.
type goal struct {
	row     string
	what    string // "" is the row's title
	metric  metric
	cell    func(spread) string
	tool    string
	than    string // the tool it is compared with; "" is a bound of the figure itself
	thanRow string // of than; "" is row
	want    float64
	most    bool // ratio = tool / than, at most want; else times as good, at least want
	higher  bool // a higher figure is better
}

var goals = []goal{
	{row: First, metric: seconds, cell: secondsCell, tool: OwnNoVerify, than: Restic, want: 4},
	{row: First, metric: seconds, cell: secondsCell, tool: OwnNoVerify, than: Kopia, want: 2.5},
	{row: First, metric: seconds, cell: secondsCell, tool: OwnNoVerify, than: Borg, want: 2.5},
	{row: First, metric: seconds, cell: secondsCell, tool: OwnNoVerify, than: BorgFixed, want: 2.5},
	{row: First, metric: seconds, cell: secondsCell, tool: OwnNoVerify, than: Pipeline, want: 1.15, most: true},
	{row: First, what: "first backup with reading back", metric: seconds, cell: secondsCell, tool: Own, than: OwnNoVerify, want: 1.35, most: true},
	{row: Next, metric: seconds, cell: secondsCell, tool: OwnNoVerify, than: Restic, want: 6},
	{row: LargeAgain, metric: seconds, cell: secondsCell, tool: Own, than: Restic, want: 6},
	{row: LargeAgain, metric: seconds, cell: secondsCell, tool: Own, than: ReadHash, want: 1.5, most: true},
	{row: Bitmap, what: "increment with 1 % dirty", metric: seconds, cell: secondsCell, tool: Dirty1, than: FullRead, want: 20},
	{row: Other, what: "stored bytes of all guests", metric: stored, cell: storedCell, tool: OwnNoVerify, than: Restic, want: 0.92, most: true},
	{row: Next, what: "growth by the next generation", metric: grown, cell: storedCell, tool: OwnNoVerify, than: Restic, want: 1, most: true},
	{row: Third, what: "growth by the third generation", metric: grown, cell: storedCell, tool: OwnNoVerify, than: Restic, want: 1, most: true},
	{row: Sequential, what: "mount: reading in order, cold", metric: rate, cell: rateCell, tool: Own, than: Restic, want: 4, higher: true},
	{row: Sequential, what: "mount: reading in order, cold", metric: rate, cell: rateCell, tool: Own, want: 700e6, higher: true},
	{row: RandomReads, what: "mount: single reads of 4 KiB, cold", metric: reads, cell: readsCell, tool: Own, than: Restic, want: 12, higher: true},
	{row: SecondRead, what: "mount: reading the same again", metric: rate, cell: rateCell, tool: Own, than: Local, want: 0.8, higher: true},
	{row: Boot, metric: seconds, cell: secondsCell, tool: Own, than: Local, want: 1.15, most: true},
	{row: Restore, metric: seconds, cell: secondsCell, tool: Own, than: Restic, want: 3},
	{row: Restore, metric: seconds, cell: secondsCell, tool: Own, than: Copy, want: 0.7},
	{row: TreeFirst, metric: seconds, cell: secondsCell, tool: Own, than: Restic, want: 2},
	{row: TreeAgain, metric: seconds, cell: secondsCell, tool: Own, than: Restic, want: 2},
	{row: First, what: "peak memory of the first backup", metric: peak, cell: storedCell, tool: Own, than: Restic, want: 1, most: true},
	{row: LargeFirst, what: "peak memory, large disk beside the guest's", metric: peak, cell: storedCell, tool: Own, than: Own, thanRow: First, want: 1.25, most: true},
	{row: Sequential, what: "peak memory of the mount", metric: peak, cell: storedCell, tool: Own, than: Restic, want: 1, most: true},
}
