package wire

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

// MaxRecord bounds the file of a record.
const MaxRecord = 64 << 10

// ParseRecord reads the JSON of a record and checks that it can be one.
func ParseRecord(data []byte) (r Record, err error) {
	if len(data) > MaxRecord {
		return r, fmt.Errorf("a record has at most %d bytes", MaxRecord)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return Record{}, err
	}
	switch {
	case r.Driver == "" || r.PID <= 1 || r.PID != r.Identity.PID || r.Start == 0 || r.Boot == "":
		return Record{}, errors.New("it does not name a process")
	case !filepath.IsAbs(r.Dir):
		return Record{}, fmt.Errorf("its directory %s is no absolute path", Quoted(r.Dir))
	}
	if err := CheckAddress(r.Identity.Network, r.Identity.Address); err != nil {
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

// Observe fills in what tells the process from others.
func (r *Record) Observe(pid int) (err error) {
	if r.Boot, err = BootID(); err != nil {
		return err
	}
	stat, err := StatOf(pid)
	r.PID, r.Start = pid, stat.Start
	return err
}

// BootID returns what the kernel calls this boot of the machine.
func BootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read which boot this is: %w", err)
	}
	return strings.TrimSpace(string(id)), nil
}

// Stat is what is of use in /proc/PID/stat.
type Stat struct {
	Session int
	Start   uint64 // ticks since the boot
}

// StatOf reads what the kernel says of a process.
func StatOf(pid int) (Stat, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Stat{}, err
	}
	return parseStat(data)
}

// parseStat reads a /proc/PID/stat; see proc(5). The name in parentheses may hold
// anything, so the fields are counted from its end.
func parseStat(data []byte) (s Stat, err error) {
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(fields) < 20 {
		return s, errors.New("the kernel's account of a process is too short")
	}
	if s.Session, err = strconv.Atoi(string(fields[3])); err != nil {
		return Stat{}, err
	}
	s.Start, err = strconv.ParseUint(string(fields[19]), 10, 64)
	return s, err
}

// ImageOf hashes what the process executes, also when that has no name any more.
func ImageOf(pid int) (string, error) {
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

// NoteSuffix ends the names of notes, which begin with that of the process's directory.
const NoteSuffix = ".start"

// NoteOf is the path of the note of a process by its private directory.
func NoteOf(notes, dir string) string { return filepath.Join(notes, filepath.Base(dir)+NoteSuffix) }
