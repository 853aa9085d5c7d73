package spool_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/internal/spool"
)

// childEnv names the work that this test binary does when it runs itself.
const childEnv = "SPOOL_TEST_CHILD"

var children = map[string]func(){"append": func() { asGateway(smallFiles, appendForEver) }, "flood": func() { asGateway(thinFiles, floodForEver) }}

// rounds is how often a fault is tried: often with the build tag chaos.
func rounds(quick, often int) int {
	if chaos {
		return often
	}
	return quick
}

// smallFiles makes the log begin a new file every few groups, so that faults hit
// that too.
var smallFiles = spool.Options{FileBytes: 16 << 10}

// appendForEver is a gateway: it appends what its driver has, from the given
// sequence on, and acknowledges each stored record on its standard output.
func appendForEver(s *spool.Spool, from uint64) {
	for n := from; ; n++ {
		s.Append(record("modbus", n), acknowledge(n))
		switch { // all ways to the disk; the last is the committer's own time
		case n%7 == 0:
			s.Commit()
		case n%11 == 0:
			s.Gather()
		}
	}
}

func acknowledge(n uint64) func(error) {
	return func(err error) {
		if err == nil {
			_, err = os.Stdout.Write(binary.BigEndian.AppendUint64(nil, n))
		}
		if err != nil {
			os.Exit(1)
		}
	}
}

// asGateway opens the spool that the parent named and does the work.
func asGateway(o spool.Options, work func(s *spool.Spool, from uint64)) {
	s, err := spool.Open(os.Getenv("SPOOL_TEST_DIR"), o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	from, err := strconv.ParseUint(os.Getenv("SPOOL_TEST_FROM"), 10, 64)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	work(s, from)
}

// child is a gateway in a process of its own.
type child struct {
	cmd  *exec.Cmd
	pipe *os.File
	acks *bufio.Reader
	last uint64 // acknowledged
}

func startChild(t *testing.T, dir string, from uint64, work string) *child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: exec.Command(exe), last: from - 1}
	c.cmd.Env = append(os.Environ(), childEnv+"="+work, "SPOOL_TEST_DIR="+dir, fmt.Sprintf("SPOOL_TEST_FROM=%d", from))
	c.cmd.Stderr = os.Stderr
	pipe, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.pipe, c.acks = pipe.(*os.File), bufio.NewReader(pipe)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// read takes up to n acknowledgements; they have to be in order.
func (c *child) read(t *testing.T, n int) {
	t.Helper()
	for range n {
		var b [8]byte
		if _, err := io.ReadFull(c.acks, b[:]); err != nil {
			return
		}
		if got := binary.BigEndian.Uint64(b[:]); got != c.last+1 {
			t.Fatalf("acknowledged %d after %d", got, c.last)
		}
		c.last++
	}
}

func (c *child) kill(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

func (c *child) wait() { _ = c.cmd.Wait() } // it was killed

func TestFaultKill(t *testing.T) {
	dir := t.TempDir()
	var acked, unacked uint64
	n := rounds(20, 300)
	for range n {
		c := startChild(t, dir, acked+1, "append")
		c.read(t, 1+rand.IntN(400))
		c.kill(t)
		c.read(t, 1<<30)
		c.wait()

		s := open(t, dir, smallFiles)
		_, stored := s.Mark("modbus")
		if stored < c.last {
			t.Fatalf("%d records were acknowledged, %d are stored", c.last, stored)
		}
		got := readAll(t, s, 0)
		if d := cmp.Diff(sequence(1, stored), got.sequences["modbus"]); d != "" || got.lost > 0 || s.Stats().Lost > 0 {
			t.Fatalf("lost %+v\n%s", s.Losses(), d)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		acked, unacked = c.last, unacked+stored-c.last
	}
	t.Logf(`{"fault":"kill -9","rounds":%d,"acknowledged":%d,"lost":0,"twice":0,"stored_before_the_ack":%d}`, n, acked, unacked)
}
