package host

import (
	"bufio"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// running is the process behind a Process: one that this core started, or one that it
// took over.
type running interface {
	state() *life
	// kill kills it, and then all that it started; it does not wait.
	kill()
	signal(syscall.Signal) error
	// release ends the watch over a process that goes on. Nothing of it is left here then.
	release() error
}

// life is what is known of a process, from its start to its end.
type life struct {
	log    *slog.Logger
	keep   *tail
	onLine func(Line)
	pumps  sync.WaitGroup

	exit     Exit          // set before done is closed
	done     chan struct{} // the process is dead
	finished chan struct{} // and nothing of it is left; or it was released
}

func newLife(c Command) life {
	return life{
		log: c.Log, keep: newTail(c.TailLines), onLine: oneAtATime(c.OnLine),
		done: make(chan struct{}), finished: make(chan struct{}),
	}
}

func (l *life) state() *life { return l }

func (l *life) pump(pid int, source string) *pump {
	return newPump(l.log.With("pid", pid), source, l.keep, l.onLine, pid)
}

// read logs what a process that was taken over writes.
func (l *life) read(out output, pid int) {
	for source, from := range map[string]*bufio.Reader{
		fileStdout: bufio.NewReaderSize(out.stdout(), maxLine), fileStderr: bufio.NewReaderSize(out.stderr(), maxLine),
	} {
		p := l.pump(pid, source)
		p.oldest = oldestLine
		l.pumps.Go(func() { p.run(from) })
	}
}

// settle tells the death, with the last lines, and ends what reads them. stop frees
// whoever else may be waiting.
func (l *life) settle(out output, exit Exit, stop func()) {
	out.ended()
	drained := make(chan struct{})
	go func() { l.pumps.Wait(); close(drained) }()
	select {
	case <-drained:
	case <-time.After(drainLimit):
	}
	exit.Stderr = l.keep.last()
	l.exit = exit
	close(l.done)
	stop()
	out.stop()
	<-drained
	out.close()
}

// leave ends the reading of what a process writes that goes on.
func (l *life) leave(out output) {
	out.stop()
	l.pumps.Wait()
	out.close()
}

// An Exit is how a process ended.
type Exit struct {
	Code    int    // -1 where a signal ended it, or where it is not known
	Signal  string // "killed", "segmentation fault" ...; empty: none
	Unknown bool   // it was not this core's child, and the kernel does not tell
	At      time.Time
	Stderr  []string // its last lines; one of a panic begins with the panic's first
}

func (e Exit) String() string {
	how := "exit code " + strconv.Itoa(e.Code)
	switch {
	case e.Unknown:
		how = "it ended, and how is not known: an earlier gateway process started it"
	case e.Signal != "":
		how = "signal: " + e.Signal
	}
	for _, line := range e.Stderr {
		if isPanic(line) {
			return how + ": " + line
		}
	}
	if n := len(e.Stderr); n > 0 {
		return how + "; its last line: " + e.Stderr[n-1]
	}
	return how
}

func isPanic(line string) bool {
	return strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ")
}

func exitOf(state *os.ProcessState, err error) Exit {
	e := Exit{Code: -1, At: time.Now()}
	if state == nil {
		e.Signal = fmt.Sprintf("unknown (%v)", err)
		return e
	}
	e.Code = state.ExitCode()
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		e.Signal = status.Signal().String()
	}
	return e
}
