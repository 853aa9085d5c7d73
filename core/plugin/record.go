package plugin

import (
	"context"
	"errors"
	"fmt"
)

var (
	// ErrGone is in the tree of Reattach's error when the process has ended.
	ErrGone = errors.New("the driver process has ended")
	// ErrNotTheSame is in the tree of Reattach's error when a process is there that is
	// not the one of the record. It was not touched.
	ErrNotTheSame = errors.New("the process is not the one of the record")
)

// A Record is what a later core needs to find a detached process again and to know it
// for what it was. It holds a private key: it is kept in a file of mode 0600.
type Record struct {
	Driver   string   `json:"driver"`
	Version  string   `json:"version"`  // of the driver
	PID      int      `json:"pid"`      // and what tells it from another process of this number:
	Start    uint64   `json:"start"`    // when it started, in ticks since the boot
	Boot     string   `json:"boot"`     // which boot
	Image    string   `json:"image"`    // SHA-256 of its executable, in hexadecimal digits
	Epoch    uint64   `json:"epoch"`    // its process epoch
	Dir      string   `json:"dir"`      // its private directory: socket and output
	Identity Identity `json:"identity"` // address, version of the API, keys
}

// Record is empty for a process that was not started with Command.Detach.
func (p *Process) Record() Record { return Record{} }

// Release lets the process go without ending it.
func (p *Process) Release() error {
	return fmt.Errorf("release driver %s: process %d is not detached", p.command.Name, p.PID())
}

// Reattach takes a detached process over from an earlier core.
func Reattach(_ context.Context, r Record, _ Command) (*Process, error) {
	return nil, fmt.Errorf("reattach driver %s: process %d: %w", r.Driver, r.PID, ErrGone)
}
