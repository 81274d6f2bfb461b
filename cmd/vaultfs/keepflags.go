package main

import (
	"fmt"
	"math"
	"time"

	"github.com/spf13/pflag"
	"vaultfs/internal/retention"
	"vaultfs/repo"
)

// A keepFlag is a flag that is a duration in days, weeks and so on.
type keepFlag struct{ value *time.Duration }

func (k keepFlag) String() string {
	if k.value == nil || *k.value == 0 {
		return ""
	}
	return retention.FormatDuration(*k.value)
}

// Set implements pflag.Value.
func (k keepFlag) Set(word string) (err error) {
	*k.value, err = retention.ParseDuration(word)
	return err
}

// Type implements pflag.Value.
func (keepFlag) Type() string { return "DURATION" }

// A tagsFlag is a flag that takes a tag each time it is given.
type tagsFlag struct{ tags *[]string }

func (tagsFlag) String() string { return "" }

// Set implements pflag.Value.
func (f tagsFlag) Set(tag string) error {
	if err := repo.CheckTag(tag); err != nil {
		return err
	}
	*f.tags = append(*f.tags, tag)
	return nil
}

// Type implements pflag.Value.
func (tagsFlag) Type() string { return "TAG" }

// keepFlagNames are the flags of addKeepFlags.
var keepFlagNames = []string{"keep-last", "keep-hourly", "keep-daily", "keep-weekly", "keep-monthly", "keep-yearly", "keep-within", "keep-tag"}

// addKeepFlags adds the flags that say what is kept.
func addKeepFlags(f *pflag.FlagSet, r *retention.Rule) {
	count := func(n *int, name, what string) { f.Var(countFlag{n}, name, "keep "+what) }
	count(&r.Last, "keep-last", "the last `N` snapshots")
	count(&r.Hourly, "keep-hourly", "the newest snapshot of each of the last `N` hours that have one")
	count(&r.Daily, "keep-daily", "the same of days, `N`")
	count(&r.Weekly, "keep-weekly", "the same of weeks, `N`, which begin on Mondays")
	count(&r.Monthly, "keep-monthly", "the same of months, `N`")
	count(&r.Yearly, "keep-yearly", "the same of years, `N`")
	f.Var(keepFlag{&r.Within}, "keep-within", "keep all of the time `DURATION` (30d, 8w, 1y6m) before the newest snapshot")
	f.Var(tagsFlag{&r.Tags}, "keep-tag", "keep all that have the `TAG`; may be repeated")
}

// A countFlag is a number of snapshots, 0 or more.
type countFlag struct{ value *int }

func (c countFlag) String() string {
	if c.value == nil || *c.value == 0 {
		return ""
	}
	return fmt.Sprint(*c.value)
}

// Set implements pflag.Value.
func (c countFlag) Set(word string) error {
	var n int
	if _, err := fmt.Sscanf(word+"\n", "%d\n", &n); err != nil || n < 0 || n > maxKept || fmt.Sprint(n) != word {
		return fmt.Errorf("it is a number of snapshots, from 0 to %d", maxKept)
	}
	*c.value = n
	return nil
}

// Type implements pflag.Value.
func (countFlag) Type() string { return "N" }

const maxKept = 1_000_000_000

// toRule is a rule of the policy as retention takes it.
func toRule(r repo.PolicyRule) retention.Rule {
	return retention.Rule{Last: int(r.Last), Hourly: int(r.Hourly), Daily: int(r.Daily), Weekly: int(r.Weekly), Monthly: int(r.Monthly), Yearly: int(r.Yearly),
		Within: time.Duration(min(r.Within, maxWithin)) * time.Second, Tags: r.Tags}
}

// maxWithin is the longest time that a rule can go back, in seconds: 292 years.
const maxWithin = int64(math.MaxInt64 / time.Second)

// setRule makes what a rule of the policy keeps that of another rule.
func setRule(to *repo.PolicyRule, r retention.Rule) {
	to.Last, to.Hourly, to.Daily, to.Weekly = uint64(r.Last), uint64(r.Hourly), uint64(r.Daily), uint64(r.Weekly)
	to.Monthly, to.Yearly = uint64(r.Monthly), uint64(r.Yearly)
	to.Within, to.Tags = int64(r.Within/time.Second), sortedTags(r.Tags)
}
