package supervise

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/fieldloom/fieldloom/core/internal/durable"
	"github.com/fieldloom/fieldloom/core/internal/host"
)

// maxRecord bounds the file of a record, which has all that the process was granted: ten
// thousand ports, or some thousand files.
const maxRecord = 1 << 20

// A Record is what a later core needs to adopt a process. It holds a private key.
type Record struct {
	Driver  string          `json:"kind"`
	Member  int             `json:"member"` // of its pool; its shard, or -1
	Version string          `json:"version"`
	Hash    string          `json:"hash"`
	Next    bool            `json:"next,omitempty"` // it was being put in the place of another version
	Process json.RawMessage `json:"process"`        // as Process.Record gave it

	OnLine func(host.Line) `json:"-"` // as in LaunchSpec
}

// stored is a record and the path that it was read from.
type stored struct {
	Record
	path string
}

const (
	recordSuffix = ".process.json"
	draftPrefix  = ".record-" // of one that an older version was writing
)

// Records returns the records in a directory.
func Records(dir string, log *slog.Logger) (list []Record) {
	for _, found := range readRecords(dir, log) {
		for _, r := range found {
			list = append(list, r.Record)
		}
	}
	return list
}

// readRecords reads every record in a directory, by driver. What is no record is
// reported and removed: nothing could be done with it ever.
func readRecords(dir string, log *slog.Logger) map[string][]stored {
	if dir == "" {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			log.Error("read the records of detached processes: drivers that still run are not found, and end by themselves", "err", err)
		}
		return nil
	}
	found := make(map[string][]stored)
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if strings.HasSuffix(entry.Name(), durable.DraftSuffix) || strings.HasPrefix(entry.Name(), draftPrefix) {
			_ = os.Remove(path) // of a core that was killed; it holds a key
			continue
		}
		if !strings.HasSuffix(entry.Name(), recordSuffix) || !entry.Type().IsRegular() {
			continue
		}
		r, err := readRecord(path)
		if err != nil {
			log.Warn("record of a detached process is useless and is removed", "err", err)
			_ = os.Remove(path) // the next start tries again
			continue
		}
		found[r.Driver] = append(found[r.Driver], stored{r, path})
	}
	return found
}

// readRecord reads a file that must be the reader's own and nobody else's to write:
// who can write it chooses the process that is spoken to.
func readRecord(path string) (r Record, err error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return r, fmt.Errorf("read record: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return r, fmt.Errorf("read record: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 || int(stat.Uid) != os.Geteuid() || info.Size() > maxRecord {
		return r, fmt.Errorf("read record %s: it must be a file of mode 0600, of user %d and of at most %d bytes", path, os.Geteuid(), maxRecord)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxRecord))
	if err != nil {
		return r, fmt.Errorf("read record %s: %w", path, err)
	}
	if r, err = parseRecord(data); err != nil {
		return r, fmt.Errorf("read record %s: %w", path, err)
	}
	return r, nil
}

func parseRecord(data []byte) (r Record, err error) {
	if err := json.Unmarshal(data, &r); err != nil {
		return Record{}, err
	}
	if r.Driver == "" || filepath.Base(r.Driver) != r.Driver || len(r.Process) == 0 || r.Member < -1 || r.Member >= maxMembers {
		return Record{}, errors.New("it names no driver or no process")
	}
	return r, nil
}

// recordPause is the time between two attempts to write a record.
const recordPause = 10 * time.Second

// lifeRecord is the record of one process. The pool's mu guards it.
type lifeRecord struct {
	detached bool          // the process outlives the core
	path     string        // "": there is none; constant once the life has begun, as is written
	written  chan struct{} // closed when it is written; nil: it was by an earlier core
	writing  bool          // the first attempt to write it is in hand
}

// writeRecord keeps what a later core needs to find the process, which gets no links
// before that was tried. As long as there is none, on a full disk say, the process is not
// let go: it would poll beside its successor.
func (l *life) writeRecord() {
	p, m := l.m.pool, l.m
	dir := p.s.o.Records
	if dir == "" {
		return
	}
	r := Record{Driver: p.driver, Member: m.index, Version: l.version, Hash: l.hash, Next: m.candidate}
	path := filepath.Join(dir, fmt.Sprintf("%s-%d%s", p.driver, l.proc.PID(), recordSuffix))
	written := make(chan struct{})
	l.record.path, l.record.written, l.record.writing = path, written, true
	p.work.Go(func() {
		defer close(written)
		for failed := false; ; failed = true {
			err := r.write(path, l.proc)
			p.do(func() { l.record.detached, l.record.writing = err == nil, false })
			switch {
			case err != nil && !failed:
				p.log.Error("record of a detached process is not written: until it is, the process does not outlive the gateway", "err", err)
			case err == nil && failed:
				p.log.Info("record of a detached process is written at last", "pid", l.proc.PID())
			}
			if err == nil || !l.lives(recordPause) {
				return
			}
		}
	})
}

// lives waits, and reports whether the life is not over by then.
func (l *life) lives(pause time.Duration) bool {
	wait := time.NewTimer(pause)
	defer wait.Stop()
	select {
	case <-wait.C:
		return true
	case <-l.gone:
	case <-l.proc.Done():
	}
	return false
}

// write puts the record in its place by a rename, synced, so that it is there
// wholly or not.
func (r Record) write(path string, proc Process) (err error) {
	if r.Process, err = proc.Record(); err != nil {
		return err
	}
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if len(data) > maxRecord {
		return fmt.Errorf("it takes %d bytes, %d are possible", len(data), maxRecord)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return durable.Replace(path, data)
}

// remove forgets a process that is dead.
func (r *lifeRecord) remove(log *driverLog) {
	if r.path == "" {
		return
	}
	if r.written != nil {
		<-r.written
	}
	if err := os.Remove(r.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("remove the record of a process that has ended", "err", err)
	}
}
