package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"
)

// slow is a log whose writer takes its time.
type slow struct{}

func (slow) Enabled(context.Context, slog.Level) bool { return true }
func (s slow) WithAttrs([]slog.Attr) slog.Handler     { return s }
func (s slow) WithGroup(string) slog.Handler          { return s }

func (slow) Handle(context.Context, slog.Record) error {
	time.Sleep(time.Millisecond)
	return nil
}

// What a process wrote before its death is told with it, however long a busy core takes to
// read it, and whoever else holds the pipe.
func TestLastLinesOfAPipe(t *testing.T) {
	p, stdout, stderr, err := newPipes()
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close() // what a stranger holds
	defer stderr.Close()
	l := newLife(Command{Log: slog.New(slow{}), TailLines: 20})
	l.read(p, 1)
	for i := range 300 {
		if _, err := fmt.Fprintf(stderr, "line %d of 300\n", i+1); err != nil {
			t.Fatal(err)
		}
	}
	l.settle(p, Exit{Code: 3}, func() {})
	if want := "exit code 3; its last line: line 300 of 300"; l.exit.String() != want {
		t.Errorf("%q, want %q", l.exit, want)
	}
	if n := len(l.exit.Stderr); n != 20 {
		t.Errorf("%d lines are kept", n)
	}
}

// A stranger who goes on writing holds up no death for ever.
func TestPipeThatIsNeverEmpty(t *testing.T) {
	p, stdout, stderr, err := newPipes()
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		for {
			if _, err := fmt.Fprintln(stderr, "still here"); err != nil {
				return
			}
		}
	}()
	l := newLife(Command{Log: slog.New(slog.DiscardHandler), TailLines: 20})
	l.read(p, 1)
	l.settle(p, Exit{}, func() {})
	<-writing // the pipe was closed
}

func TestPipeEndsWhereItIsEmpty(t *testing.T) {
	p, stdout, stderr, err := newPipes()
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	defer stderr.Close()
	defer p.close()
	if _, err := io.WriteString(stderr, "one\ntwo"); err != nil {
		t.Fatal(err)
	}
	p.ended()
	from := bufio.NewReader(p.stderr())
	for _, want := range []string{"one", "two"} {
		if line, _, err := readLine(from); err != nil || string(line) != want {
			t.Errorf("%q, %v; want %q", line, err, want)
		}
	}
	if _, _, err := readLine(from); !errors.Is(err, io.EOF) {
		t.Errorf("%v at the end", err)
	}
}
