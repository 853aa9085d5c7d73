package caller

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
)

// status is what the kernel says of a process.
type status struct {
	command string
	dead    bool // a zombie: nobody has taken note of its end
	parent  int  // 0: it has none here
	group   int
	session int
	start   uint64 // ticks since the boot: with it, a number means one process for ever
}

func look(pid int) (status, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return status{}, err
	}
	return parseStatus(text)
}

var errShort = errors.New("the kernel's account of a process is too short")

// parseStatus reads /proc/PID/stat; see proc(5). The name in parentheses may hold
// anything, so the fields are counted from its end.
func parseStatus(text []byte) (s status, err error) {
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return status{}, errShort
	}
	fields := bytes.Fields(text[end+1:])
	if len(fields) < 20 {
		return status{}, errShort
	}
	s.command = string(text[open+1 : end])
	s.dead = bytes.ContainsAny(fields[0], "ZXx")
	for i, number := range []*int{&s.parent, &s.group, &s.session} {
		if *number, err = strconv.Atoi(string(fields[1+i])); err != nil {
			return status{}, err
		}
	}
	s.start, err = strconv.ParseUint(string(fields[19]), 10, 64)
	return s, err
}

// processes are the numbers of all processes that can be seen.
func processes() (list []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			list = append(list, pid)
		}
	}
	return list
}
