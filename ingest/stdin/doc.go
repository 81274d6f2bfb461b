// Package stdin backs up a stream as one file: standard input, or what a command
// prints.
//
// The end of standard input looks the same whether the program at the other end
// of the pipe has finished or died. So a command can be given: its output is
// committed only if it exits with status 0.
package stdin
