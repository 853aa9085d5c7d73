package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// hundred is how many MiB the large deeds are of.
const hundred = 100

// envChild makes this program the child of one that forks.
const envChild = "NASTY_CHILD"

// childLives bounds a child that nobody kills.
const childLives = 2 * time.Minute

// deeds are what a driver on the engine can do wrong.
func deeds() map[string]func(*link) error {
	return map[string]func(*link) error{
		"hang":     hang,
		"deadlock": func(l *link) error { l.driver.lock.Lock(); return nil },
		"spin":     spin,
		"eat":      eat,
		"flood":    flood,
		"chatter":  chatter,
		"fork":     func(*link) error { return fork(&syscall.SysProcAttr{}) },
		"escape":   func(*link) error { return fork(&syscall.SysProcAttr{Setsid: true}) },
		"huge":     huge,
		"fault":    hugeFault,
		"stay":     func(l *link) error { l.stays.Store(true); return nil },
		"exit":     exit,
		"panic":    crash,
	}
}

func (l *link) do(deed string) error {
	if path, ok := strings.CutPrefix(deed, "reach "); ok {
		return reach(path)
	}
	f := deeds()[deed]
	if f == nil {
		return driver.Errorf(driver.BadValue, "there is no deed %q", deed)
	}
	return f(l)
}

// hang has one call never return, and those after it on the same link neither.
func hang(l *link) error {
	answer := func() driver.Sample { select {} }
	l.reads.Store(&answer)
	return nil
}

// spin keeps every processor busy, beside all calls.
func spin(*link) error {
	runtime.GOMAXPROCS(runtime.NumCPU())
	for range 2 * runtime.NumCPU() {
		go func() {
			for n := uint64(1); ; n = n*6364136223846793005 + 1 {
				if n == 0 {
					runtime.Gosched()
				}
			}
		}()
	}
	return nil
}

// eat takes memory and writes to all of it, up to 2 GiB.
func eat(*link) error {
	var eaten [][]byte
	for range 2 << 10 {
		eaten = append(eaten, bytes.Repeat([]byte{1}, 1<<20))
	}
	runtime.KeepAlive(eaten)
	return errors.New("2 GiB were not too much")
}

// flood writes 100 MB to standard error: lines, lines that kill a careless parser, one
// that does not end, and bytes that are no text. The last line comes when there is room
// for it: where standard error is a file, it is bounded.
func flood(*link) error {
	line := strings.Repeat("x", 1000) + "\n"
	block := []byte("{\"@message\":1}\n{\"@message\":{}}\n{\"msg\":\n[[[[[[\n\x00\xff\xfe\n" + strings.Repeat(line, 100))
	for range hundred * 10 {
		_, _ = os.Stderr.Write(block)
	}
	_, _ = os.Stderr.WriteString(strings.Repeat("y", 8<<20))
	for range 1000 {
		if _, err := os.Stderr.WriteString("\nthe flood is over\n"); err == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return driver.Errorf(driver.Internal, "nobody reads standard error")
}

// chatter writes 300 lines and exits: what is kept of it is the last of them.
func chatter(*link) error {
	for i := range 300 {
		fmt.Fprintf(os.Stderr, "line %d of 300\n", i+1)
	}
	os.Exit(4)
	return nil
}

// fork starts a child that keeps both pipes, and tells its number on standard error.
func fork(how *syscall.SysProcAttr) error {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{envChild + "=1"}
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = os.NewFile(1, "stdout"), os.NewFile(2, "stderr"), how
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "no child:", err)
		return driver.Errorf(driver.Denied, "%w", err)
	}
	fmt.Fprintln(os.Stderr, "child", strconv.Itoa(cmd.Process.Pid))
	return nil
}

// child holds the pipes and ignores what it can.
func child() { time.Sleep(childLives) }

// huge answers every read with a value of 100 MB.
func huge(l *link) error {
	text := strings.Repeat("z", hundred<<20)
	answer := func() driver.Sample { return driver.GoodSample(driver.StringValue(text)) }
	l.reads.Store(&answer)
	return nil
}

// hugeFault answers every read with a fault whose text has 100 MB.
func hugeFault(l *link) error {
	err := &driver.Error{Code: driver.Protocol, Text: strings.Repeat("f", hundred<<20)}
	answer := func() driver.Sample { return driver.Faulted(err) }
	l.reads.Store(&answer)
	return nil
}

func exit(*link) error {
	fmt.Fprintln(os.Stderr, "no such device")
	os.Exit(3)
	return nil
}

// crash panics where nobody can catch it.
func crash(*link) error {
	go panic("the driver has a bug")
	return nil
}
