package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// family lists a process and all that descend from it.
func family(pid int) ([]int, error) {
	children := map[int][]int{}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	for _, name := range stats {
		fields, err := statFields(name)
		if err != nil {
			continue // it ended meanwhile
		}
		parent, _ := strconv.Atoi(fields[1])
		child, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		children[parent] = append(children[parent], child)
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all, nil
}

// statFields returns the fields of /proc/PID/stat after the command: state, ppid, ...
func statFields(name string) ([]string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	end := bytes.LastIndexByte(text, ')')
	fields := strings.Fields(string(text[end+1:]))
	if end < 0 || len(fields) < 22 {
		return nil, fmt.Errorf("%s: unknown form", name)
	}
	return fields, nil
}

// usage is what processes have used.
type usage struct {
	cpu      time.Duration
	resident int64 // bytes
}

// usageOf adds up the processes that descend from pid, itself included.
func usageOf(pid int) (usage, error) {
	pids, err := family(pid)
	if err != nil {
		return usage{}, err
	}
	var sum usage
	for _, pid := range pids {
		cpu, err := cpuOf(pid)
		if err != nil {
			return usage{}, err
		}
		bytes, err := residentOf(pid)
		if err != nil {
			return usage{}, err
		}
		sum.cpu += cpu
		sum.resident += bytes
	}
	return sum, nil
}

// cpuOf is what all threads of a process have run for, those included that have ended.
// Its clock counts nanoseconds, where /proc/PID/stat counts ticks of 10 ms: an idle
// process takes none of these in seconds.
func cpuOf(pid int) (time.Duration, error) {
	const allThreads = 2 // CPUCLOCK_SCHED: see MAKE_PROCESS_CPUCLOCK in Linux's posix-timers.h
	var t unix.Timespec
	if err := unix.ClockGettime(^int32(pid)<<3|allThreads, &t); err != nil {
		return 0, fmt.Errorf("CPU of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// residentOf is what of a process is in memory.
func residentOf(pid int) (int64, error) {
	fields, err := statFields(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	pages, err := strconv.ParseInt(fields[21], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// memory is what one process has of the machine's memory, in bytes.
type memory struct {
	resident int64 // its pages that are in memory
	held     int64 // of these, what is not a file's on a disk; and all of an executable in memory
}

// memoryOf reads it page by page, which is exact where /proc/PID/stat is not.
func memoryOf(pid int) (memory, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return memory{}, err
	}
	kilobytes := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 {
			kilobytes[fields[0]], _ = strconv.ParseInt(fields[1], 10, 64)
		}
	}
	if kilobytes["Rss:"] == 0 {
		return memory{}, fmt.Errorf("process %d: its memory map is of an unknown form", pid)
	}
	m := memory{resident: kilobytes["Rss:"] << 10, held: kilobytes["Anonymous:"] << 10}
	executable := fmt.Sprintf("/proc/%d/exe", pid)
	if name, err := os.Readlink(executable); err != nil || !strings.HasPrefix(name, "/memfd:") {
		return m, err
	}
	info, err := os.Stat(executable)
	if err != nil {
		return memory{}, err
	}
	m.held += info.Size()
	return m, nil
}
