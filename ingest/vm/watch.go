package vm

import (
	"context"
	"time"
)

// watchPause is between two looks at a guest that is being read.
const watchPause = time.Second

// watch looks at the guest while it is read, and ends the reading at once when that is of no use any more: the images
// changed, or the job cannot go on. finish gives the reason, if there was one.
func watch(ctx context.Context, src source) (watched context.Context, finish func() error) {
	watched, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	var reason error
	go func() {
		defer close(ended)
		for {
			select {
			case <-watched.Done():
				return
			case <-time.After(watchPause):
			}
			if reason = src.check(watched); reason != nil {
				cancel()
				return
			}
		}
	}()
	return watched, func() error {
		cancel()
		<-ended
		return reason
	}
}
