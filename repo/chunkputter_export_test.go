package repo

// Helpers is how many goroutines put chunks of streams beside their callers.
func Helpers() int { return int(helpers.Load()) }
