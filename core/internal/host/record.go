package host

import (
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// ReadRecord reads a record from a file, which must be its reader's own and nobody
// else's to read: who can write it chooses the process that is spoken to.
func ReadRecord(path string) (r wire.Record, err error) {
	data, err := readOwn(path)
	if err == nil {
		r, err = wire.ParseRecord(data)
	}
	if err != nil {
		return r, fmt.Errorf("read record %s: %w", path, err)
	}
	return r, nil
}

// readOwn reads a small file of mode 0600 and of this user.
func readOwn(path string) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 || int(stat.Uid) != os.Geteuid() {
		return nil, fmt.Errorf("it must be a file of mode 0600 and of user %d, and is %v of %d", os.Geteuid(), info.Mode(), stat.Uid)
	}
	return io.ReadAll(io.LimitReader(file, wire.MaxRecord+1))
}

// Record is what Reattach needs. It is the zero Record for a process that was not
// started with Command.Detach.
func (p *Process) Record() wire.Record {
	p.recording.Lock()
	defer p.recording.Unlock()
	if p.record.PID != 0 && p.record.Image == "" {
		p.record.Image = p.command.Image
	}
	if p.record.PID != 0 && p.record.Image == "" {
		var err error
		if p.record.Image, err = wire.ImageOf(p.record.PID); err != nil {
			p.command.Log.Warn("the record of a driver process is without its executable's hash", "pid", p.record.PID, "err", err)
		}
	}
	return p.record
}
