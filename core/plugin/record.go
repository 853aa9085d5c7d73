package plugin

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// A Record is what a later core needs to find a process again and to know it for what
// it was. It holds a private key: it is kept in a file of mode 0600.
type Record struct {
	Driver   string   `json:"driver"`
	Version  string   `json:"version"`        // of the driver
	PID      int      `json:"pid"`            // and what tells it from another process of this number:
	Start    uint64   `json:"start"`          // when it started, in ticks since the boot
	Boot     string   `json:"boot"`           // which boot
	Image    string   `json:"image"`          // SHA-256 of its executable, in hexadecimal digits
	Epoch    uint64   `json:"epoch"`          // its process epoch
	Dir      string   `json:"dir"`            // its private directory: socket and lines
	Note     string   `json:"note,omitempty"` // the path of its note
	Hand     bool     `json:"hand,omitempty"` // somebody started it by hand: it is never ended by a core
	Identity Identity `json:"identity"`       // address, version of the API, keys
}

// maxRecord bounds the file of a record.
const maxRecord = 64 << 10

// ReadRecord reads a record from a file, which must be its reader's own and nobody
// else's to read: who can write it chooses the process that is spoken to.
func ReadRecord(path string) (r Record, err error) {
	data, err := readOwn(path)
	if err == nil {
		r, err = ParseRecord(data)
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
	return io.ReadAll(io.LimitReader(file, maxRecord+1))
}

// ParseRecord reads the JSON of a record and checks that it can be one.
func ParseRecord(data []byte) (r Record, err error) {
	if len(data) > maxRecord {
		return r, fmt.Errorf("a record has at most %d bytes", maxRecord)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return Record{}, err
	}
	switch {
	case r.Driver == "" || r.PID <= 1 || r.PID != r.Identity.PID || r.Start == 0 || r.Boot == "":
		return Record{}, errors.New("it does not name a process")
	case !filepath.IsAbs(r.Dir):
		return Record{}, fmt.Errorf("its directory %s is no absolute path", quoted(r.Dir))
	}
	if err := checkAddress(r.Identity.Network, r.Identity.Address); err != nil {
		return Record{}, err
	}
	return r, nil
}

// WriteFile writes the record for ReadRecord, whole or not at all.
func (r Record) WriteFile(path string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".record-*") // of mode 0600
	if err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	_, err = file.Write(data)
	err = errors.Join(err, file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write record: %w", err), os.Remove(file.Name()))
	}
	return nil
}

// Record is what Reattach needs. It is the zero Record for a process that was not
// started with Command.Detach.
func (p *Process) Record() Record {
	p.recording.Lock()
	defer p.recording.Unlock()
	if p.record.PID != 0 && p.record.Image == "" {
		p.record.Image = p.command.Image
	}
	if p.record.PID != 0 && p.record.Image == "" {
		var err error
		if p.record.Image, err = imageOf(p.record.PID); err != nil {
			p.command.Log.Warn("the record of a driver process is without its executable's hash", "pid", p.record.PID, "err", err)
		}
	}
	return p.record
}

// observe fills in what tells the process from others.
func (r *Record) observe(pid int) (err error) {
	if r.Boot, err = bootID(); err != nil {
		return err
	}
	stat, err := statOf(pid)
	r.PID, r.Start = pid, stat.start
	return err
}

func bootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read which boot this is: %w", err)
	}
	return strings.TrimSpace(string(id)), nil
}

// stat is what is of use in /proc/PID/stat.
type stat struct {
	session int
	start   uint64 // ticks since the boot
}

func statOf(pid int) (stat, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return stat{}, err
	}
	return parseStat(data)
}

// parseStat reads a /proc/PID/stat; see proc(5). The name in parentheses may hold
// anything, so the fields are counted from its end.
func parseStat(data []byte) (s stat, err error) {
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(fields) < 20 {
		return s, errors.New("the kernel's account of a process is too short")
	}
	if s.session, err = strconv.Atoi(string(fields[3])); err != nil {
		return stat{}, err
	}
	s.start, err = strconv.ParseUint(string(fields[19]), 10, 64)
	return s, err
}

// imageOf hashes what the process executes, also when that has no name any more.
func imageOf(pid int) (string, error) {
	file, err := os.Open("/proc/" + strconv.Itoa(pid) + "/exe")
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}
