//go:build peers

// Package peers_test runs the whole gateway against programs that others wrote, as
// Debian has them.
package peers_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/test/plant"
)

func TestMain(m *testing.M) { os.Exit(plant.Run(m)) }

// patience bounds every wait; it is a hang that it finds, not slowness.
const patience = 60 * time.Second

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A program is a running process whose standard error is watched.
type program struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string
}

// startProgram starts a program. Its standard error must be waited for with
// printed, and is read to its end in any case.
func startProgram(t *testing.T, name string, args ...string) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.Command(name, args...), lines: make(chan string, 1000)}
	stderr, err := p.cmd.StderrPipe()
	check(t, err)
	check(t, p.cmd.Start())
	go p.read(stderr)
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait() // closes the pipe, which ends read
		}
	})
	return p
}

// read keeps the newest lines when nobody takes them.
func (p *program) read(stderr io.Reader) {
	defer close(p.lines)
	for s := bufio.NewScanner(stderr); s.Scan(); {
		for sent := false; !sent; {
			select {
			case p.lines <- s.Text():
				sent = true
			default:
				<-p.lines
			}
		}
	}
}

// printed waits until the program prints a line with text in it.
func (p *program) printed(text string) {
	p.t.Helper()
	var seen []string
	for late := time.After(patience); ; {
		select {
		case line, ok := <-p.lines:
			if seen = append(seen, line); strings.Contains(line, text) {
				return
			}
			if !ok {
				p.t.Fatalf("%s ended without %q:\n%s", p.cmd.Path, text, strings.Join(seen, "\n"))
			}
		case <-late:
			p.t.Fatalf("%s did not print %q:\n%s", p.cmd.Path, text, strings.Join(seen, "\n"))
		}
	}
}

// interrupt ends the program as Ctrl-C does. It presses again when nothing happens:
// tshark loses one that comes while it starts its capture.
func (p *program) interrupt() {
	p.t.Helper()
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for late := time.After(patience); ; {
		check(p.t, p.cmd.Process.Signal(os.Interrupt))
		for waiting := true; waiting; {
			select {
			case _, ok := <-p.lines:
				if !ok {
					_ = p.cmd.Wait()
					return
				}
			case <-again.C:
				waiting = false
			case <-late:
				p.t.Fatalf("%s does not end", p.cmd.Path)
			}
		}
	}
}

// must runs a command of the gateway's command line that has to go well.
func must(t *testing.T, g *plant.Gateway, args ...string) []byte {
	t.Helper()
	out, err := g.CLI(args...)
	check(t, err)
	return out
}
