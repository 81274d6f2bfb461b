// Package retention decides which snapshots of a source are kept, and why. It
// reads no clock and no store: the same input has the same answer.
//
// # What displaces what
//
// The snapshots of a source have a number, which nobody can forge once later
// ones are there, and a time, which is what a clock said. A rule such as "7
// daily" keeps the newest snapshot of each of the last seven days that have
// one. Put the other way round, a snapshot of a day is displaced by a later one
// of that day, or by seven later days. Here, what displaces a snapshot must have
//
//   - a higher number,
//   - a time that is not before its time,
//   - and a time that is in order itself: not in the future, and not before that
//     of a snapshot with a lower number (those in the future aside).
//
// One in which damage was found displaces nothing either, and is not counted as one
// of the last: no snapshot is to go for another of which something is lost.
//
// Where clocks are right that changes nothing. Where one is wrong, or somebody
// who may add snapshots but not remove any chooses their times, too much is kept
// rather than too little:
//
//   - Snapshots from the future or with times before those that were there
//     already displace nothing at all, however many they are.
//   - Whatever is added, a snapshot stays as long as it would if there were an
//     honest backup in each hour, day, week … between its time and now, unless
//     another was made after it in the same hour, day, week …, while none with
//     a later time was there.
//   - All of the time of "within" before now stays.
//   - "last" counts snapshots, so that whoever can add some uses it up. It is for
//     the clumsy, not against the malicious; "within" is.
//
// "last" counts twice: by the number, and by the time of those that are not in the
// future. Where an archive of an earlier time is imported, both the archive and
// what is newer stay.
//
// Nothing is forgotten that restic, Borg or Proxmox Backup Server would keep by the
// same rule and the same times, those in the future aside.
//
// A snapshot in doubt goes when it is displaced like any other: by its own time,
// or, if that is in the future, as if it were made with the last one before it
// that is in order. So no garbage stays for ever. To let everybody see later too
// that its time was in doubt, the one before it that proves that is kept with it.
// By that what is kept is kept when the rule is applied again, and again.
//
// Archives that are imported in another order than they were made are in doubt
// by this, and are kept until later ones displace them; Options.TrustTimes says that
// their times are right.
package retention
