package main

import (
	"bufio"
	"context"
	"strings"
)

// confirm asks a question that is answered with y or n; anything but y is no.
// It is called only where canAsk says that there is somebody to answer.
func (a *app) confirm(ctx context.Context, question string) (bool, error) {
	a.print.prompt(question + " [y/N] ")
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(a.stdin).ReadString('\n')
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case line := <-answer:
		return line == "y" || line == "yes", nil
	}
}
